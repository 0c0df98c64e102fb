//! `grv new`: a middlebox to begin with.

use crate::{Status, files, render};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The name of the folder and the middlebox
    #[arg(value_name = "NAME")]
    name: PathBuf,
}

const TEMPLATE: &str = include_str!("template.grv");

pub(crate) fn main(args: &Args) -> Result<Status, String> {
    let folder = &args.name;
    let base = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let plain = base.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if !plain || !base.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(format!("`{base}` is no name: letters, digits, `-` and `_`, a letter first"));
    }
    if folder.exists() {
        return Err(format!("{} exists already", folder.display()));
    }
    let title: String = base.split(['-', '_']).map(capitalised).collect();
    let error = |e: std::io::Error| format!("{}: {}", folder.display(), files::reason(&e));
    std::fs::create_dir_all(folder).map_err(error)?;
    let file = folder.join(format!("{base}.grv"));
    std::fs::write(&file, TEMPLATE.replace("Template", &title)).map_err(error)?;
    render::line(&format!("{} is there; now: grv test {}", file.display(), folder.display()));
    Ok(Status::Good)
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
