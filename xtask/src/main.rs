//! Developer automation: `cargo xtask COMMAND`. It needs nothing but Rust, and installs what a command is missing under
//! `target/`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a command")]

mod demo;
mod run;
mod setup;
mod test;
mod tidy;
mod tools;
mod traffic;

use run::Result;
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask COMMAND

  setup     install what is missing: Z3 and scapy from PyPI, under target/
  demo      set up, then run the nat over a real capture, prove some of its promises, break it, mend it, and
            load it into the kernel
  test      set up, then run all tests
  tidy      formatting, lints, docs, links, file sizes, examples
  book      build the book (book/book/index.html)
  fuzz [N]  run each fuzz target for N seconds (60)
  bench     measure; figures go to standard output
  capture   make the captures of the examples anew (root, iproute2, nftables)
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match dispatch(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(words: &[&str]) -> Result {
    match words {
        ["setup"] => setup::setup(),
        ["demo"] => demo::demo(),
        ["test"] => test::test(),
        ["tidy"] => tidy::tidy(),
        ["book"] => tools::book(),
        ["fuzz"] => tools::fuzz("60"),
        ["fuzz", seconds] => tools::fuzz(seconds),
        ["bench"] => tools::bench(),
        ["capture", boxes @ ..] => tools::capture(boxes),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        [other, ..] => Err(format!("there is no command `{other}`\n\n{HELP}")),
    }
}
