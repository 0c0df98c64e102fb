//! See the library of this crate.

use std::process::ExitCode;

/// Trees and the IR are many small pieces, made on one thread and another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    grv::main()
}
