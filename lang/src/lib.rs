//! The grv language: from source text to a checked program in the core IR, and the reference interpreter.
//!
//! This crate does no IO and never panics on input: sources, packets and configurations come in as bytes, and what is
//! wrong with them comes out as values.

pub mod compile;
pub mod config;
pub mod diagnostics;
mod elab;
pub mod fmt;
pub mod interp;
pub mod ir;
pub mod mutate;
pub mod random;
pub mod source;
pub mod span;
pub mod stf;
pub mod syntax;
pub mod text;
