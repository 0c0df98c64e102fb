//! What is remembered of a loaded box, beside its maps: its manifest, and how it was loaded. It is held by a map, so that it is there as
//! long as the box.

use crate::error::{Error, Tried};
use crate::netlink::Traffic;
use crate::object::Description;
use crate::sys::Bytes;
use grv_codegen::ebpf::Manifest;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What is remembered of a loaded box.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) manifest: Manifest,
    pub(crate) mode: Mode,
    pub(crate) ports: Vec<Attached>,
    /// The parameters' numbers, in decimal: JSON has none of 128 bits.
    pub(crate) params: Vec<Vec<String>>,
}

/// How programs are run by a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By the driver where it can, else generic.
    #[default]
    Any,
    /// By the driver.
    Native,
    /// By the kernel, for each driver.
    Generic,
}

/// A port with its interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The port.
    pub port: String,
    /// The interface's name when it was attached.
    pub interface: String,
    /// Its number.
    pub ifindex: u32,
    /// Whether what leaves by the port that it came from may be turned back by the driver.
    pub turns_back: bool,
    /// What it had counted before the box was attached.
    pub before: Traffic,
}

const PLACE: &str = "record";

impl Record {
    /// Pins it in a box's folder.
    pub(crate) fn pin(&self, folder: &Path) -> Result<(), Error> {
        let bytes = serde_json::to_vec(self).map_err(|e| Error::Object(e.to_string()))?;
        let path = folder.join(PLACE);
        Bytes::holding(&bytes).and_then(|map| map.pin(&path)).tried(|| format!("{} cannot be pinned", path.display()))
    }

    /// Reads it from a box's folder.
    pub(crate) fn read(folder: &Path) -> Result<(Record, Description), Error> {
        let path = folder.join(PLACE);
        let map = Bytes::pinned(&path).tried(|| format!("{} cannot be opened", path.display()))?;
        let bad = |what: String| Error::Pins { path: path.clone(), what };
        if map.key_size() != 4 {
            return Err(bad("this is no record of a box".to_string()));
        }
        let bytes = map.get(&[0; 4]).tried(|| format!("{} cannot be read", path.display()))?.unwrap_or_default();
        let record: Record = serde_json::from_slice(&bytes).map_err(|e| bad(format!("this is no record of a box: {e}")))?;
        let description = Description::new(record.manifest.clone())?;
        Ok((record, description))
    }

    /// The parameters' numbers.
    pub(crate) fn params(&self) -> Option<Vec<Vec<u128>>> {
        self.params.iter().map(|columns| columns.iter().map(|number| number.parse().ok()).collect()).collect()
    }
}
