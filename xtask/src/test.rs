//! `cargo xtask test`: everything that must hold before a commit.

use crate::demo::checksums;
use crate::run::{Result, at, cargo, grv, root, run};
use crate::setup;
use std::fs;
use std::path::Path;

pub(crate) fn test() -> Result {
    setup::setup()?;
    cargo(&["test", "--quiet", "--workspace"])?;
    let grv = grv()?;
    run(&grv, &["test", "--format", "concise", "examples"])?;
    captures(&grv)
}

/// Runs every example over its captures, and has scapy look at what leaves.
fn captures(grv: &str) -> Result {
    let examples = root().join("examples");
    let mut boxes: Vec<String> = Vec::new();
    for entry in fs::read_dir(&examples).map_err(at(&examples))? {
        boxes.push(entry.map_err(at(&examples))?.file_name().to_string_lossy().into_owned());
    }
    boxes.sort();
    for name in &boxes {
        let folder = format!("examples/{name}");
        let inputs = ports(&root().join(&folder))?;
        if inputs.is_empty() {
            return Err(format!("{folder} has no captures"));
        }
        println!("{name}: {} captures", inputs.len());
        let out = format!("target/captures/{name}");
        let mut args = vec!["run".to_string(), format!("{folder}/{name}.grv"), "--out".to_string(), out.clone()];
        args.extend(["--config".to_string(), format!("{folder}/config.json")]);
        for (port, file) in &inputs {
            args.extend(["--in".to_string(), format!("{port}={folder}/{file}")]);
        }
        run(grv, &args.iter().map(String::as_str).collect::<Vec<_>>())?;
        let mut written = Vec::new();
        for entry in fs::read_dir(root().join(&out)).map_err(at(Path::new(&out)))? {
            written.push(entry.map_err(at(Path::new(&out)))?.path().display().to_string());
        }
        checksums(&written.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// The captures of a folder with the ports that they are for: `p0.pcap` is for `p[0]`.
fn ports(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let file = entry.map_err(at(folder))?.file_name().to_string_lossy().into_owned();
        let Some(port) = file.strip_suffix(".pcap") else { continue };
        let index = port.strip_prefix('p').filter(|n| n.chars().all(|c| c.is_ascii_digit()) && !n.is_empty());
        found.push((index.map_or_else(|| port.to_string(), |n| format!("p[{n}]")), file.clone()));
    }
    found.sort();
    Ok(found)
}
