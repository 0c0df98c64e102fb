//! From text to tokens to the syntax tree. Any bytes give a tree and diagnostics; nothing is resolved here.

pub mod ast;
pub mod build;
pub mod parser;
pub mod token;

#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::unwrap_used,
    missing_docs,
    unused,
    unreachable_pub,
    rust_2018_idioms,
    reason = "generated"
)]
mod grammar {
    include!(concat!(env!("OUT_DIR"), "/syntax/grammar.rs"));
}

pub use parser::{Parsed, parse};
