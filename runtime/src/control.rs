//! Control tables: a configuration becomes a generation, all at once.
//!
//! The interpreter decides whether a generation is right, and computes what is computed: it is given what the kernel holds, then what
//! changes. The generation that does not count is filled, then the number of the generation is set. Before that one is written again, no
//! step may be left that read its number: it is waited until each processor has been outside of any step.

use crate::error::{Error, Tried};
use crate::installed::Installed;
use crate::pins;
use crate::state::length;
use grv_codegen::ebpf::{FRONTS, TableInfo, flat, front, memory, near};
use grv_lang::config::Settings;
use grv_lang::interp::{Machine, Seeded, TableUpdate};
use grv_lang::ir::{Role, TableId};

impl Installed {
    /// Replaces the control tables that a configuration names, all at once, and sets the entries that it feeds. Parameters cannot change
    /// while a box runs.
    pub fn update(&self, settings: &Settings) -> Result<(), Error> {
        let given = settings.params.iter().zip(&self.params).zip(&self.description.program.params);
        if let Some((_, param)) = given.into_iter().find(|((new, old), _)| new.as_ref().is_some_and(|new| new != *old)) {
            let what = format!("the parameter `{}` cannot change while the box runs: load it anew", param.name);
            return Err(Error::Usage(what));
        }
        let generation = self.generation()?;
        let mut machine = self.machine()?;
        let mut now = Vec::new();
        for info in self.control_tables(false) {
            now.push(TableUpdate { table: TableId(info.table), entries: self.generation_of(info, generation)? });
        }
        let mut oracle = Seeded::exact(0);
        let odd = |e| Error::Usage(format!("the tables as they are do not fit the program: {e}"));
        machine.update(&now, &mut oracle, None).map_err(odd)?;
        let refused = |e| Error::Usage(format!("the new tables are refused: {e}"));
        machine.update(&settings.tables, &mut oracle, None).map_err(refused)?;
        self.install(&machine, 1 - generation)?;
        self.feed_all(settings)
    }

    /// Fills the tables of a box that has seen no packet.
    pub(crate) fn begin(&self, settings: &Settings) -> Result<(), Error> {
        let mut machine = self.machine()?;
        let refused = |e| Error::Usage(format!("the tables are refused: {e}"));
        machine.update(&settings.tables, &mut Seeded::exact(0), None).map_err(refused)?;
        // Elements that are not given have their initial values in both generations.
        self.install(&machine, 1)?;
        self.install(&machine, 0)?;
        self.near_again()?;
        self.feed_all(settings)
    }

    /// The interpreter with the box's parameters.
    fn machine(&self) -> Result<Machine, Error> {
        let machine = Machine::new(self.description.program.clone(), self.params.clone());
        machine.map_err(|e| Error::Usage(e.to_string()))
    }

    /// Control tables; with those that are computed, or without.
    fn control_tables(&self, computed: bool) -> impl Iterator<Item = &TableInfo> {
        self.description.manifest.tables.iter().filter(move |info| {
            let declared = self.description.table(info);
            declared.role == Role::Control && (computed || declared.computed.is_none())
        })
    }

    /// What a control table holds in a generation, as an update that makes it so.
    pub(crate) fn generation_of(&self, info: &TableInfo, generation: u32) -> Result<Vec<(Vec<u128>, Vec<u128>)>, Error> {
        let declared = self.description.table(info);
        if let ("control globals", Some(front)) = (info.keeping, &info.front) {
            let section = self.fronts()?.unwrap_or_default();
            let elements = front::elements(front, &section, generation).map(|bytes| memory::value_of(info, bytes));
            return Ok(in_order(info, length(declared), (0..).map(|index| vec![index]).zip(elements).collect()));
        }
        let blocks = info.keeping == "control blocks";
        let rows = info.keeping == "control rows";
        let array = blocks || rows || info.keeping == "control array";
        let map = self.table_map(info)?;
        let mut entries = Vec::new();
        for (key, value) in map.entries().tried(|| format!("table `{}` cannot be read", info.name))? {
            let (key, of) = memory::key_of(info, &key, length(declared));
            if of == generation && blocks {
                entries.extend(memory::elements_of(info, key.first().copied().unwrap_or(0), &value));
            } else if of == generation && rows {
                entries.extend(memory::elements_in(info, &value));
            } else if of == generation {
                let mut value = memory::value_of(info, &value);
                value.truncate(declared.value.len());
                entries.push((key, value));
            }
        }
        entries.sort_unstable();
        if array {
            return Ok(in_order(info, length(declared), entries));
        }
        Ok(entries)
    }

    /// Writes a generation, and makes it count.
    fn install(&self, machine: &Machine, generation: u32) -> Result<(), Error> {
        quiet()?;
        let mut fronts = self.fronts()?;
        for info in self.control_tables(true) {
            let declared = self.description.table(info);
            let id = TableId(info.table);
            let mut in_front = |entries: &[(Vec<u128>, Vec<u128>)]| {
                if let (Some(of), Some(fronts)) = (&info.front, &mut fronts) {
                    front::fill(of, fronts, generation, entries.iter().map(|(key, value)| (key.as_slice(), value.as_slice())));
                }
            };
            let element = |index: u64| (vec![index.into()], machine.element(id, index).unwrap_or_default());
            let elements = || (0..length(declared)).map(element).collect::<Vec<(Vec<u128>, Vec<u128>)>>();
            if info.keeping == "control globals" {
                in_front(&elements());
                continue;
            }
            let map = self.table_map(info)?;
            let tried = || format!("table `{}` cannot be written", info.name);
            let put = |key: &[u128], value: &[u128]| {
                let bytes = memory::key(info, key, generation, length(declared));
                map.set(&bytes, &memory::value(info, key, value)).tried(tried)
            };
            if info.keeping == "control rows" {
                let elements: Vec<Vec<u128>> = elements().into_iter().map(|(_, element)| element).collect();
                map.set(&memory::key(info, &[], generation, 0), &memory::rows(info, &elements)).tried(tried)?;
                continue;
            }
            if info.keeping == "control array" {
                for (index, value) in elements() {
                    put(&index, &value)?;
                }
                continue;
            }
            for key in map.keys().tried(tried)? {
                let (_, of) = memory::key_of(info, &key, length(declared));
                if of == generation {
                    map.remove(&key).tried(tried)?;
                }
            }
            if info.keeping == "control blocks" {
                let elements: Vec<(Vec<u128>, Vec<u128>)> =
                    machine.elements(id).into_iter().map(|(index, value)| (vec![index.into()], value)).collect();
                for (key, block) in memory::blocks(info, generation, &elements) {
                    map.set(&key, &block).tried(tried)?;
                }
                continue;
            }
            let entries: Vec<(Vec<u128>, Vec<u128>)> =
                machine.entries(id).into_iter().map(|entry| (entry.key, entry.value)).collect();
            for (key, value) in &entries {
                put(key, value)?;
            }
            in_front(&entries);
            if let (Some(of), Some(fronts)) = (&info.flat, &mut fronts) {
                let map = self.map(&of.map)?;
                for (index, block) in flat::flat(of, fronts, generation, &entries) {
                    map.set(&index.to_le_bytes(), &block).tried(tried)?;
                }
            }
        }
        if let Some(fronts) = &fronts {
            self.map(FRONTS)?.set(&[0; 4], fronts).tried(|| "what is in front of tables cannot be written".to_string())?;
        }
        self.set_generation(generation)?;
        quiet()
    }

    /// The section of what is in front of tables, as it is, if the box has any. It is as large as the manifest says.
    fn fronts(&self) -> Result<Option<Vec<u8>>, Error> {
        let tables = &self.description.manifest.tables;
        let ends = tables.iter().flat_map(|info| [info.front.as_ref().map(front::end), info.flat.as_ref().map(flat::end)]);
        let Some(end) = ends.flatten().max() else { return Ok(None) };
        let section = self.map(FRONTS)?.get(&[0; 4]).tried(|| "what is in front of tables cannot be read".to_string())?;
        if section.as_ref().is_none_or(|section| section.len() < end) {
            let what = "it does not hold what is in front of tables".to_string();
            return Err(Error::Pins { path: self.folder.join(pins::map(FRONTS)), what });
        }
        Ok(section)
    }

    fn feed_all(&self, settings: &Settings) -> Result<(), Error> {
        for update in &settings.feeds {
            let found = self.description.manifest.tables.iter().find(|info| info.table == update.table.0);
            let Some(info) = found else { continue };
            for (key, value) in &update.entries {
                self.feed(info, key, Some(value))?;
            }
        }
        Ok(())
    }

    /// Sets or removes an entry of a table that the runtime feeds.
    pub(crate) fn feed(&self, info: &TableInfo, key: &[u128], value: Option<&[u128]>) -> Result<(), Error> {
        let map = self.table_map(info)?;
        let bytes = memory::key(info, key, 0, 0);
        let tried = || format!("table `{}` cannot be written", info.name);
        let done = || match value {
            Some(value) => map.set(&bytes, &memory::value(info, key, value)),
            None => map.remove(&bytes),
        };
        let (Some(of), [key]) = (&info.near, key) else { return done().tried(tried) };
        let key = *key as u32;
        // One at a time: between the two maps nobody else changes the entry.
        let _lock = self.locked()?;
        let words = self.map(&of.map)?.words().tried(tried)?;
        let before = words.get(near::index(key));
        let others = if value.is_none() { self.fed(info)? } else { Vec::new() };
        let others = others.iter().map(|(key, value)| (*key, value.as_slice()));
        let word = near::after(of, before, (key, value), others);
        if value.is_some() {
            done().tried(tried)?;
            words.set(near::index(key), word);
        } else {
            words.set(near::index(key), word);
            done().tried(tried)?;
        }
        Ok(())
    }

    /// Has all that is fed near at hand, whatever became of who fed it. Where another version runs on the same maps, it may be fed meanwhile.
    fn near_again(&self) -> Result<(), Error> {
        for info in &self.description.manifest.tables {
            let Some(of) = &info.near else { continue };
            let tried = || format!("table `{}` cannot be read", info.name);
            let (map, words) = (self.table_map(info)?, self.map(&of.map)?.words().tried(tried)?);
            let filled = |(key, value): &(u32, Vec<u128>)| -> Result<bool, Error> {
                let (index, word, columns) = (near::index(*key), near::word(of, *key, value), [u128::from(*key)]);
                if !words.change(index, 0, word) {
                    return Ok(true);
                }
                let now = map.get(&memory::key(info, &columns, 0, 0)).tried(tried)?;
                let same =
                    now.is_some_and(|now| info.value.iter().map(|column| memory::get(&now, column)).eq(value.iter().copied()));
                Ok(same || !words.change(index, word, 0))
            };
            // If an entry changed, all are looked at again.
            while !self.fed(info)?.iter().map(filled).collect::<Result<Vec<bool>, Error>>()?.into_iter().all(|filled| filled) {}
        }
        Ok(())
    }

    /// The entries of a table with small keys that the runtime feeds.
    fn fed(&self, info: &TableInfo) -> Result<Vec<(u32, Vec<u128>)>, Error> {
        let entries = self.table_map(info)?.entries().tried(|| format!("table `{}` cannot be read", info.name))?;
        let read = |(key, value): &(Vec<u8>, Vec<u8>)| {
            let number = |bytes: &[u8], column| memory::get(bytes, column);
            let key = info.key.first().map_or(0, |column| number(key, column));
            (key as u32, info.value.iter().map(|column| number(value, column)).collect())
        };
        Ok(entries.iter().map(read).collect())
    }

    /// Nobody else who asks for it has it until it is dropped.
    fn locked(&self) -> Result<std::fs::File, Error> {
        let tried = || format!("{} cannot be locked", self.folder.display());
        let folder = std::fs::File::open(&self.folder).tried(tried)?;
        rustix::fs::flock(&folder, rustix::fs::FlockOperation::LockExclusive).map_err(std::io::Error::from).tried(tried)?;
        Ok(folder)
    }
}

/// The first elements of an array in order, up to the last that is not as at the start, from those that are there with their indexes.
fn in_order(info: &TableInfo, length: u64, elements: Vec<(Vec<u128>, Vec<u128>)>) -> Vec<(Vec<u128>, Vec<u128>)> {
    let initial: Vec<u128> = info.initial.iter().map(|number| u128::from(*number)).collect();
    let mut all = Vec::new();
    for (index, value) in elements {
        let index = index.first().copied().unwrap_or(0);
        if index < u128::from(length) {
            all.resize(index as usize, (Vec::new(), initial.clone()));
            all.push((Vec::new(), value));
        }
    }
    all
}

/// Waits until no step is left that had begun before.
pub(crate) fn quiet() -> Result<(), Error> {
    use rustix::thread::{MembarrierCommand, membarrier};
    // Programs run in read-side sections of RCU, whose end this command waits for.
    membarrier(MembarrierCommand::Global).tried(|| "the kernel does not wait for packets on their way".to_string())
}
