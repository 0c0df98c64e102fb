//! The grv language.
