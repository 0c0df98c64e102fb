//! See the library of this crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    grv::main()
}
