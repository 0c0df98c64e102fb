//! A box that is loaded: found by its pins, whoever loaded it.

use crate::error::{Error, Tried};
use crate::object::Description;
use crate::pins::{self, Pins};
use crate::record::{Attached, Mode, Record};
use crate::sys::Bytes;
use crate::{takeover, trace};
use grv_codegen::ebpf::{GENERATION_SECTION, TableInfo};
use std::path::PathBuf;

/// A box that is loaded.
#[derive(Debug)]
pub struct Installed {
    /// Its name.
    pub name: String,
    /// What it was built from.
    pub description: Description,
    /// Its ports and their interfaces.
    pub ports: Vec<Attached>,
    /// How its program is run.
    pub mode: Mode,
    pub(crate) params: Vec<Vec<u128>>,
    pub(crate) folder: PathBuf,
}

impl Installed {
    /// Finds a box.
    pub fn open(pins: &Pins, name: &str) -> Result<Installed, Error> {
        let folder = pins.existing(name)?;
        takeover::settle(pins, name)?;
        let (record, description) = Record::read(&folder)?;
        let params = record.params().unwrap_or_default();
        let counts = params.iter().map(Vec::len);
        if !counts.eq(description.program.params.iter().map(|param| param.columns.len())) {
            let what = "the parameters that are remembered are not the program's".to_string();
            return Err(Error::Pins { path: folder, what });
        }
        let installed = Installed { name: name.to_string(), description, ports: record.ports, mode: record.mode, params, folder };
        trace::recover(&installed)?;
        Ok(installed)
    }

    /// A number that is another one as soon as another box has its name; none, if no box has it.
    pub fn incarnation(&self) -> Option<u64> {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(&self.folder).ok().map(|folder| folder.ino())
    }

    /// Takes a box off its interfaces and forgets it.
    pub fn unload(pins: &Pins, name: &str) -> Result<(), Error> {
        // Whatever is pinned there: also what cannot be read.
        let folder = pins.existing(name)?;
        [folder, pins.next(name)?].iter().filter(|folder| folder.exists()).try_for_each(|folder| pins::remove(folder))
    }

    /// One of its maps.
    pub(crate) fn map(&self, name: &str) -> Result<Bytes, Error> {
        let path = self.folder.join(pins::map(name));
        Bytes::pinned(&path).tried(|| format!("{} cannot be opened", path.display()))
    }

    /// The map that holds a table. Its keys and values are as large as the manifest says.
    pub(crate) fn table_map(&self, info: &TableInfo) -> Result<Bytes, Error> {
        let map = self.map(&info.map)?;
        let counters = info.keeping == "counters";
        if map.key_size() != usize::from(info.key_bytes) || (!counters && map.value_size() != usize::from(info.value_bytes)) {
            let what = format!("it does not hold the table `{}`", info.name);
            return Err(Error::Pins { path: self.folder.join(pins::map(&info.map)), what });
        }
        Ok(map)
    }

    /// The map that holds the number of the generation, and nothing else.
    fn generation_map(&self) -> Result<Option<Bytes>, Error> {
        let variables = &self.description.manifest.variables;
        if variables.iter().all(|variable| variable.section != GENERATION_SECTION) {
            return Ok(None);
        }
        let map = self.map(GENERATION_SECTION)?;
        if (map.key_size(), map.value_size()) != (4, 8) {
            let what = "it does not hold the number of a generation".to_string();
            return Err(Error::Pins { path: self.folder.join(pins::map(GENERATION_SECTION)), what });
        }
        Ok(Some(map))
    }

    /// Which generation of the control tables counts.
    pub(crate) fn generation(&self) -> Result<u32, Error> {
        let Some(map) = self.generation_map()? else { return Ok(0) };
        let bytes = map.get(&[0; 4]).tried(|| "the generation cannot be read".to_string())?.unwrap_or_default();
        Ok(u32::from(bytes.first().copied().unwrap_or(0)) & 1)
    }

    /// Says which generation counts from now on. Packets see the old number or the new one: it is one word.
    pub(crate) fn set_generation(&self, generation: u32) -> Result<(), Error> {
        let Some(map) = self.generation_map()? else { return Ok(()) };
        map.set(&[0; 4], &u64::from(generation).to_le_bytes()).tried(|| "the generation cannot be set".to_string())
    }
}
