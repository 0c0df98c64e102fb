//! `grv explain`: the pages of the error catalogue, which are part of the program.

use crate::{Status, render};
use grv_lang::diagnostics::Code;

include!(concat!(env!("OUT_DIR"), "/pages.rs"));

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A code, e.g. E0301; without one, all codes are listed
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

pub(crate) fn main(args: &Args) -> Result<Status, String> {
    let Some(text) = &args.code else {
        for code in Code::ALL {
            render::line(&format!("{}  {}", code.name(), code.title()));
        }
        return Ok(Status::Good);
    };
    let code: Code = text.parse().map_err(|e| format!("{e}; `grv explain` lists all codes"))?;
    match PAGES.iter().find(|(name, _)| *name == code.name()) {
        Some((_, page)) => render::line(page.trim_end()),
        None => render::line(&format!("{}: {}", code.name(), code.title())),
    }
    Ok(Status::Good)
}
