//! What the tests of the command share.
#![allow(dead_code, reason = "each test uses a part of it")]

use grv_lang::compile::{Compilation, compile};
use grv_lang::ir::Program;
use grv_lang::random;
use grv_lang::source::{Beside, Loader};
use grv_verifier::cache::Cache;
use grv_verifier::desk::Desk;
use grv_verifier::prove::{Options, Report, Task, verify};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace is there")
}

/// All files below a folder whose names end so.
pub(crate) fn files(folder: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == ending) {
                found.push(path.strip_prefix(root()).expect("below the root").display().to_string());
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "nothing in {folder}");
    found
}

/// All programs below a folder.
pub(crate) fn programs(folder: &str) -> Vec<String> {
    files(folder, "grv")
}

/// Modules of this repository.
pub(crate) fn modules() -> impl Loader {
    Beside(|path: &Path| std::fs::read(root().join(path)).ok())
}

/// A program of this repository, compiled.
pub(crate) fn load(path: &str) -> Compilation {
    let bytes = std::fs::read(root().join(path)).expect("the program can be read");
    compile(path, &bytes, &modules())
}

/// What is found out about a box of a program: about all its properties, and perhaps what every program is obliged to.
pub(crate) fn verified(of: &Compilation, program: &Arc<Program>, automatic: bool) -> Report {
    let tests = random::scripts(program, &of.tests);
    let (name, program) = (program.name.clone(), program.clone());
    let task = Task { name, program, tests, wanted: &|_, _| true, first: &[], automatic, whole: automatic };
    let desk = Desk::open(env!("CARGO_BIN_EXE_grv-solver").into(), Cache::off(), None, None).expect("there is a solver");
    verify(&[task], &Options::default(), &desk, &|_| {}).expect("it is verified").remove(0)
}
