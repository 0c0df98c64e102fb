//! Commands around tools that are installed under `target/tools` when they are first needed.

use crate::run::{Result, at, cargo, command, root, run, run_command, target};
use std::fs;

/// mdBook, by version.
const MDBOOK: &str = "0.5.1";
/// cargo-fuzz, by version.
const CARGO_FUZZ: &str = "0.13.1";

/// Installs a tool, unless it is there; gives its path.
fn tool(package: &str, version: &str) -> Result<String> {
    let place = target().join("tools");
    let program = place.join("bin").join(package);
    if !program.exists() {
        println!("installing {package} {version}");
        let place = place.display().to_string();
        cargo(&["install", "--quiet", "--locked", "--version", version, "--root", &place, package])?;
    }
    Ok(program.display().to_string())
}

pub(crate) fn book() -> Result {
    let mdbook = tool("mdbook", MDBOOK)?;
    run(&mdbook, &["build", "book"])
}

pub(crate) fn fuzz(seconds: &str) -> Result {
    if seconds.parse::<u32>().is_err() {
        return Err(format!("`{seconds}` is no number of seconds"));
    }
    let fuzz = tool("cargo-fuzz", CARGO_FUZZ)?;
    let targets = root().join("fuzz/targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&targets).map_err(at(&targets))? {
        let path = entry.map_err(at(&targets))?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    for name in names {
        println!("{name}: {seconds} seconds");
        let limit = format!("-max_total_time={seconds}");
        let args = ["run", "--fuzz-dir", "fuzz", &name, "--", &limit, "-max_len=4096", "-timeout=20"];
        // Sanitizers need unstable flags; the pinned compiler accepts them so.
        run_command("cargo fuzz", command(&fuzz, &args).env("RUSTC_BOOTSTRAP", "1"))?;
    }
    Ok(())
}

pub(crate) fn bench() -> Result {
    run("python3", &["bench/run.py"])
}

pub(crate) fn capture(boxes: &[&str]) -> Result {
    let mut args = vec!["xtask/capture.py", "examples"];
    args.extend(boxes);
    run("python3", &args)
}
