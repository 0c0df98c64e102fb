//! The text form of the core IR, as `grv check --emit ir` shows it. For people only: nothing reads it back.
