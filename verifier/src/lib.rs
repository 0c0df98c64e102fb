//! Proofs of what grv programs promise. The core IR is run on symbolic packets and states ([`sym`]), what a property says of that
//! becomes formulas ([`prove`]) over terms that simplify themselves ([`term`]), and a solver, which is another process, is asked
//! about their text ([`solve`]).
//!
//! The semantics is the reference interpreter's. Where the formulas leave something open, they allow more than the interpreter
//! does: a proof holds for it too, and what they refute is shown only after the interpreter has done it.

#[cfg(test)]
mod agree;
pub mod cache;
pub mod cross;
pub mod desk;
pub mod mutate;
pub mod prove;
pub mod solve;
pub mod sym;
pub mod term;
