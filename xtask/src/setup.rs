//! `cargo xtask setup`: what the tests and the verifier need beyond Rust, under `target/`. Quick when all is there.

use crate::run::{Result, at, command, root, run_command, succeeds, target};
use std::fs;
use std::path::{Path, PathBuf};

/// The packages from PyPI, with their hashes.
const REQUIREMENTS: &str = "xtask/requirements.txt";

/// Where Python finds them.
pub(crate) fn python_path() -> PathBuf {
    target().join("python")
}

pub(crate) fn setup() -> Result {
    packages()?;
    link_z3()
}

/// Installs the packages, unless the same list was installed before.
fn packages() -> Result {
    let wanted = fs::read_to_string(root().join(REQUIREMENTS)).map_err(at(Path::new(REQUIREMENTS)))?;
    let folder = python_path();
    let stamp = folder.join("requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    if !succeeds("python3", &["-m", "pip", "--version"]) {
        return Err("Python 3 with pip is needed (Debian: apt-get install python3-pip)".to_string());
    }
    println!("installing Z3 and scapy from PyPI");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(at(&folder))?;
    }
    let into = folder.display().to_string();
    let args = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--require-hashes",
        "--only-binary=:all:",
    ];
    let mut pip = command("python3", &args);
    pip.args(["--target", &into, "--requirement", REQUIREMENTS]);
    run_command("pip", &mut pip).map_err(|e| format!("{e}: are the package registries reachable?"))?;
    fs::write(&stamp, wanted).map_err(at(&stamp))
}

/// Puts libz3 and its headers at `target/z3`: the system's if it is new enough for the `z3` crate, else the wheel's. The stamp is
/// written last: a copy that was interrupted, or is of another version, is made anew.
fn link_z3() -> Result {
    if succeeds("pkg-config", &["--atleast-version=4.13.3", "z3"]) {
        return Ok(());
    }
    let place = target().join("z3");
    let stamp = place.join("requirements.txt");
    let installed = python_path().join("requirements.txt");
    let wanted = fs::read_to_string(&installed).map_err(at(&installed))?;
    if fs::read_to_string(&stamp).is_ok_and(|copied| copied == wanted) {
        return Ok(());
    }
    let wheel = python_path().join("z3");
    let library = wheel.join("lib/libz3.so");
    if !library.exists() {
        return Err(format!("{} is missing from the z3-solver package", library.display()));
    }
    if place.exists() {
        fs::remove_dir_all(&place).map_err(at(&place))?;
    }
    // The linker wants `libz3.so`; what it links asks for the library's own name, with a version.
    for part in ["lib", "include"] {
        copy_files(&wheel.join(part), &place.join(part))?;
    }
    fs::write(&stamp, wanted).map_err(at(&stamp))
}

/// Copies the files of a folder.
fn copy_files(from: &Path, to: &Path) -> Result {
    fs::create_dir_all(to).map_err(at(to))?;
    for entry in fs::read_dir(from).map_err(at(from))? {
        let path = entry.map_err(at(from))?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            fs::copy(&path, to.join(name)).map_err(at(&path))?;
        }
    }
    Ok(())
}
