//! `grv update`: new control tables for a running box.

use super::{Named, failed, open_alone, settings};
use crate::{Status, render};
use std::path::PathBuf;

/// Replaces control tables of a running box by those of a configuration.
///
/// All at once: each packet meets either the old tables or the new ones. Tables that the configuration does not name stay as they are.
/// What the program requires of its tables is checked first; if that fails, nothing changes.
///
/// Exit status: 0 the tables are replaced; 2 the configuration is refused, or there is no such box.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    named: Named,
    /// The tables, as JSON
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(crate) fn main(args: &Args) -> Result<Status, String> {
    let (_alone, installed) = open_alone(&args.named)?;
    let settings = settings(Some(&args.config), &installed.description)?;
    if let Err(error) = installed.update(&settings) {
        return failed(error);
    }
    let count = settings.tables.len();
    render::line(&format!("{}: {count} control {} replaced", installed.name, if count == 1 { "table is" } else { "tables are" }));
    Ok(Status::Good)
}
