//! Code generation: from the core IR of a checked program to what a machine runs. A back end refuses what it cannot do with a
//! diagnostic that names the target and the place; it never panics on a program that validates, and it never guesses.
//!
//! # Layout
//! One folder per back end. They share nothing but the core IR so far: what the kernel's verifier wants of a program is of
//! no use to others.

pub mod ebpf;
