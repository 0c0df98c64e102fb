//! Sources on disk: where programs and the modules that they import are found.

use grv_lang::compile::{Compilation, compile};
use grv_lang::config::{self, Settings};
use grv_lang::ir::Program;
use grv_lang::source::{Loader, beside};
use std::path::{Path, PathBuf};

/// Finds modules beside the files that import them; folders above the working directory count, too.
pub(crate) struct Disk;

impl Loader for Disk {
    fn load(&self, module: &[&str], from: &str) -> Option<(String, Vec<u8>)> {
        let (path, bytes) = beside(module, &std::path::absolute(from).ok()?, |path| std::fs::read(path).ok())?;
        Some((shown(&path), bytes))
    }
}

/// A path as it is shown: relative to the working directory if it is below it.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}

/// Compiles a file.
pub(crate) fn load(path: &Path) -> Result<Compilation, String> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {}", path.display(), reason(&e)))?;
    Ok(compile(&path.display().to_string(), &bytes, &Disk))
}

/// An error of the operating system in plain words.
pub(crate) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or folder".to_string(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_string(),
        std::io::ErrorKind::IsADirectory => "this is a folder".to_string(),
        _ => error.to_string(),
    }
}

/// A configuration of a program; without a file, an empty one.
pub(crate) fn settings(path: Option<&Path>, program: &Program) -> Result<Settings, String> {
    let Some(path) = path else { return Ok(Settings::default()) };
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {}", path.display(), reason(&e)))?;
    config::parse(&bytes, program).map_err(|e| format!("{}: {e}", path.display()))
}

/// All programs among paths: files as they are, folders with all `.grv` files below them, in order.
pub(crate) fn sources(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = found.len();
            walk(path, &mut found)?;
            if found.len() == before {
                return Err(format!("{}: there are no .grv files in this folder", path.display()));
            }
        } else {
            found.push(path.clone());
        }
    }
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let error = |e: std::io::Error| format!("{}: {}", folder.display(), reason(&e));
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(error)? {
        entries.push(entry.map_err(error)?.path());
    }
    entries.sort();
    for path in entries {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "grv") {
            found.push(path);
        }
    }
    Ok(())
}
