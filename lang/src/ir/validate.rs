//! What every consumer of the core IR may rely on, checked.
