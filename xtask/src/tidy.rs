//! `cargo xtask tidy`: what a reviewer should not have to look for.

use crate::run::{Result, at, cargo, command, grv, root, run, run_command, succeeds};
use std::fs;
use std::path::{Path, PathBuf};

/// The most lines of a source file; a longer one has more than one idea.
const MOST_LINES: usize = 650;

pub(crate) fn tidy() -> Result {
    if !succeeds("cargo", &["fmt", "--version"]) || !succeeds("cargo", &["clippy", "--version"]) {
        run("rustup", &["component", "add", "rustfmt", "clippy"])?;
    }
    cargo(&["fmt", "--check"])?;
    cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"])?;
    let mut doc = command("cargo", &["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"]);
    run_command("cargo doc", doc.env("RUSTDOCFLAGS", "--deny warnings --allow rustdoc::private_intra_doc_links"))?;
    let files = files(&root())?;
    let mut wrong = Vec::new();
    for path in &files {
        let shown = path.strip_prefix(root()).unwrap_or(path).display().to_string();
        let Ok(text) = fs::read_to_string(path) else { continue };
        if path.extension().is_some_and(|e| e == "rs") && text.lines().count() > MOST_LINES {
            wrong.push(format!("{shown} has more than {MOST_LINES} lines"));
        }
        if path.extension().is_some_and(|e| e == "md") {
            wrong.extend(dead_links(path, &text).into_iter().map(|link| format!("{shown} links to {link}, which is not there")));
        }
    }
    wrong.extend(unnamed_folders()?);
    if !wrong.is_empty() {
        return Err(wrong.join("\n"));
    }
    let grv = grv()?;
    run(&grv, &["fmt", "--check", "examples", "specs"])?;
    run(&grv, &["check", "--deny-warnings", "--format", "concise", "examples", "specs"])
}

/// Folders of the repository that ARCHITECTURE.md does not name.
fn unnamed_folders() -> Result<Vec<String>> {
    let guide = root().join("ARCHITECTURE.md");
    let text = fs::read_to_string(&guide).map_err(at(&guide))?;
    let mut unnamed = Vec::new();
    for entry in fs::read_dir(root()).map_err(at(&root()))? {
        let path = entry.map_err(at(&root()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') && !text.contains(&format!("`{name}/`")) {
            unnamed.push(format!("ARCHITECTURE.md does not name {name}/"));
        }
    }
    unnamed.sort();
    Ok(unnamed)
}

/// All files that are not built.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with(".git") && path != root().join("book/book") {
            found.extend(files(&path)?);
        } else if path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Relative links of a Markdown file that lead nowhere.
fn dead_links(path: &Path, text: &str) -> Vec<String> {
    let folder = path.parent().unwrap_or(path);
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    links
        .map(|link| link.split('#').next().unwrap_or_default())
        .filter(|link| !link.is_empty() && !link.contains("://") && !link.contains(' ') && !folder.join(link).exists())
        .map(str::to_string)
        .collect()
}
