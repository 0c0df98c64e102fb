//! Collects the pages of the error catalogue, so that `grv explain` needs no files.

use std::fmt::Write;
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Where `cargo xtask setup` puts libz3, if the system has none that is new enough.
    println!("cargo::rerun-if-env-changed=Z3_LIBRARY_PATH_OVERRIDE");
    if let Ok(library) = std::env::var("Z3_LIBRARY_PATH_OVERRIDE") {
        println!("cargo::rustc-link-arg-bin=grv-solver=-Wl,-rpath,{library}");
    }
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("../book/src/errors");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(&root)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_some_and(|e| e == "md") && name.starts_with(['E', 'W']) {
            pages.push((name, path.canonicalize()?));
        }
    }
    pages.sort();
    let mut text = String::from("/// Codes and their pages.\nconst PAGES: &[(&str, &str)] = &[\n");
    for (name, path) in pages {
        writeln!(text, "    ({name:?}, include_str!({path:?})),")?;
    }
    text.push_str("];\n");
    std::fs::write(Path::new(&std::env::var("OUT_DIR")?).join("pages.rs"), text)?;
    Ok(())
}
