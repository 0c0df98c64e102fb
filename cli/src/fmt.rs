//! `grv fmt`: brings programs into the one style.

use crate::{Status, files, render};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Programs, or folders of programs
    #[arg(required = true, value_name = "FILE")]
    paths: Vec<PathBuf>,
    /// Change nothing; say which files are not formatted
    #[arg(long)]
    check: bool,
}

pub(crate) fn main(args: &Args) -> Result<Status, String> {
    let mut status = Status::Good;
    for path in files::sources(&args.paths)? {
        let text = std::fs::read(&path).map_err(|e| format!("{}: {}", path.display(), files::reason(&e)))?;
        let text = String::from_utf8(text).map_err(|_| format!("{}: this is no UTF-8 text", path.display()))?;
        match grv_lang::fmt::format(&text) {
            Err(found) => {
                let mut sources = grv_lang::source::SourceMap::default();
                sources.add(path.display().to_string(), text);
                render::findings(&sources, &found, crate::Format::Full)?;
                status = Status::Bad;
            }
            Ok(formatted) if formatted == text => {}
            Ok(_) if args.check => {
                render::line(&format!("{} is not formatted", path.display()));
                status = Status::Bad;
            }
            Ok(formatted) => {
                std::fs::write(&path, formatted).map_err(|e| format!("{}: {}", path.display(), files::reason(&e)))?;
                render::line(&format!("{} formatted", path.display()));
            }
        }
    }
    Ok(status)
}
