//! Boxes in the running kernel: `grv load`, `unload`, `state`, `stats`, `update`, `sync`, `trace`.

pub(crate) mod load;
pub(crate) mod state;
pub(crate) mod stats;
pub(crate) mod sync;
pub(crate) mod trace;
pub(crate) mod update;

use crate::{Status, files, render};
use clap::ValueEnum;
use grv_lang::config::Settings;
use grv_runtime::{Description, Error, Installed, Pins};
use std::path::Path;

/// A box that is loaded.
#[derive(clap::Args)]
pub(crate) struct Named {
    /// The box, by the name that it was loaded under; not needed where only one is loaded
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// How reports are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Report {
    /// For people
    Full,
    /// One JSON object, see schemas/
    Json,
}

/// Finds a box to look at.
fn open(named: &Named) -> Result<Installed, String> {
    open_alone(named).map(|(_, installed)| installed)
}

/// Finds a box to change: nobody else changes boxes as long as the pins are held.
fn open_alone(named: &Named) -> Result<(Pins, Installed), String> {
    let pins = Pins::open().map_err(|e| e.to_string())?;
    let name = match &named.name {
        Some(name) => name.clone(),
        None => only(&pins)?,
    };
    let installed = Installed::open(&pins, &name).map_err(|e| e.to_string())?;
    Ok((pins, installed))
}

/// The only box that is loaded.
fn only(pins: &Pins) -> Result<String, String> {
    let names = pins.names().map_err(|e| e.to_string())?;
    match names.as_slice() {
        [name] => Ok(name.clone()),
        [] => Err("no box is loaded".to_string()),
        names => Err(format!("which box? There are {}", names.join(", "))),
    }
}

/// Reads a configuration.
fn settings(path: Option<&Path>, description: &Description) -> Result<Settings, String> {
    let Some(path) = path else {
        return description.settings(b"{}").map_err(|e| e.to_string());
    };
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {}", path.display(), files::reason(&e)))?;
    description.settings(&bytes).map_err(|e| format!("{}: {e}", path.display()))
}

/// Says why something is not done. What the kernel or an artefact is to blame for is no error of usage.
fn failed(error: Error) -> Result<Status, String> {
    match error {
        Error::Rejected(_) | Error::Object(_) => {
            render::complain(&error.to_string());
            Ok(Status::Bad)
        }
        other => Err(other.to_string()),
    }
}
