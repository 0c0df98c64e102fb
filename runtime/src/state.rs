//! What a box holds right now, in terms of its source.

use crate::clock;
use crate::error::{Error, Tried};
use crate::installed::Installed;
use grv_codegen::ebpf::{TableInfo, memory};
use grv_lang::ir::{Lifetime, Table, TableKind};
use std::collections::BTreeMap;

/// A table of a loaded box.
#[derive(Clone, Debug)]
pub struct TableState {
    /// Its index in the program.
    pub table: usize,
    /// How many entries it has room for.
    pub capacity: u64,
    /// Its entries by key; of an array, the elements that differ from what they are at first.
    pub entries: Vec<Entry>,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The key's scalars.
    pub key: Vec<u128>,
    /// The value's scalars; of a bucket, the bytes that may pass right now.
    pub value: Vec<u128>,
    /// How long it lives.
    pub life: Life,
}

/// How long an entry lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Life {
    /// Until it is removed.
    Forever,
    /// So many nanoseconds more, if nothing refreshes it.
    Remaining(u64),
    /// It is dead, and only its room is taken.
    Dead,
}

/// By key, tickets and deadlines.
type Owners = BTreeMap<Vec<u128>, (u64, u64)>;

/// How many entries a table has room for; a cell is an array of one.
pub(crate) fn length(table: &Table) -> u64 {
    if matches!(table.kind, TableKind::Cell) { 1 } else { table.capacity }
}

impl Installed {
    /// All its tables. They are read while packets come: each entry is as it was at an instant, not all at the same.
    pub fn state(&self) -> Result<Vec<TableState>, Error> {
        self.description.manifest.tables.iter().map(|info| self.table_state(info)).collect()
    }

    /// One table.
    pub(crate) fn table_state(&self, info: &TableInfo) -> Result<TableState, Error> {
        let declared = self.description.table(info);
        let forever = |(key, value)| Entry { key, value, life: Life::Forever };
        let numbered = |values: Vec<Vec<u128>>| (0..).zip(values).map(|(n, value)| forever((vec![n], value)));
        let mut entries: Vec<Entry> = match info.keeping {
            "control" | "prefixes" => self.generation_of(info, self.generation()?)?.into_iter().map(forever).collect(),
            "control array" | "control globals" | "control blocks" | "control rows" => {
                let initial: Vec<u128> = info.initial.iter().map(|number| u128::from(*number)).collect();
                let values = self.generation_of(info, self.generation()?)?.into_iter().map(|(_, value)| value).collect();
                numbered(values).filter(|entry| entry.value != initial).collect()
            }
            "counters" => numbered(self.sums(&info.map)?.into_iter().map(|count| vec![count.into()]).collect()).collect(),
            "cell" => {
                let section = self.map(&info.map)?.get(&[0; 4]).tried(|| format!("cell `{}` cannot be read", info.name))?;
                numbered(vec![memory::value_of(info, &section.unwrap_or_default())]).collect()
            }
            _ => {
                let owners = self.owners(info)?;
                let all = self.entries_of(info)?;
                let now = clock::now();
                all.iter().filter_map(|(key, value)| self.entry(info, &owners, key, value, now)).collect()
            }
        };
        entries.sort_unstable();
        Ok(TableState { table: info.table as usize, capacity: length(declared), entries })
    }

    /// Keys and values as bytes; of slots, those that the index leads to.
    fn entries_of(&self, info: &TableInfo) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
        let tried = || format!("table `{}` cannot be read", info.name);
        let map = self.table_map(info)?;
        let Some(index) = &info.index else { return map.entries().tried(tried) };
        let mut entries = Vec::new();
        for (key, number) in self.map(index)?.entries().tried(tried)? {
            let Some(slot) = memory::slot_of(&number) else { continue };
            let slot = slot.to_le_bytes();
            // If it is another key's by now, the entry is dead.
            let value = map.get(&slot).tried(tried)?.filter(|value| value.starts_with(&key));
            entries.extend(value.map(|value| (slot.to_vec(), value)));
        }
        Ok(entries)
    }

    /// By key, tickets and deadlines of the entries that a mirror's share theirs with.
    fn owners(&self, info: &TableInfo) -> Result<Owners, Error> {
        let tables = &self.description.manifest.tables;
        let mirror = info.owner.as_ref().filter(|_| info.keeping == "mirror");
        let owner = mirror.and_then(|owner| tables.iter().find(|of| of.table == owner.table));
        let Some(owner) = owner else { return Ok(Owners::new()) };
        let entries = self.table_map(owner)?.entries().tried(|| format!("table `{}` cannot be read", owner.name))?;
        let entry = |(key, value): (Vec<u8>, Vec<u8>)| {
            let deadline = memory::word(owner.word, &value)? >> owner.deadline_shift;
            Some((memory::key_of(owner, &key, 0).0, (memory::word(owner.ticket, &value)?, deadline)))
        };
        Ok(entries.into_iter().filter_map(entry).collect())
    }

    /// An entry of state or of a fed table; none, if it was given up and is about to be deleted.
    fn entry(&self, info: &TableInfo, owners: &Owners, key: &[u8], value: &[u8], now: u64) -> Option<Entry> {
        let declared = self.description.table(info);
        let (key, _) = memory::key_of(info, memory::key_in(info, key, value), 0);
        let numbers = memory::value_of(info, value);
        let life = |deadline: u64| {
            let (tick, left) = if info.clock.coarse {
                let tick = clock::jiffies(info.clock.tick);
                (tick, deadline.saturating_sub(tick).saturating_mul(info.clock.tick))
            } else {
                // Ticks are counted from 1.
                (info.clock.at(now), deadline.saturating_sub(1).saturating_mul(info.clock.tick).saturating_sub(now))
            };
            if tick < deadline { Life::Remaining(left) } else { Life::Dead }
        };
        match info.keeping {
            "buckets" => {
                let (full, deadline) = (*numbers.first()? as u64, *numbers.get(1)? as u64);
                let tokens = info.bucket.as_ref().map_or(0, |bucket| bucket.tokens(full, now));
                Some(Entry { key, value: vec![tokens.into()], life: life(deadline) })
            }
            "entries" => {
                let word = memory::word(info.word, value)?;
                let forever = matches!(declared.lifetime, Lifetime::Forever);
                if word == 0 && !forever {
                    return None;
                }
                let life = if forever { Life::Forever } else { life(word >> info.deadline_shift) };
                Some(Entry { key, value: numbers, life })
            }
            // Words up to 1 are no entries'.
            "slots" => {
                let word = memory::word(info.word, value).filter(|word| *word > 1)?;
                Some(Entry { key, value: numbers, life: life(word >> info.deadline_shift) })
            }
            "mirror" => {
                let ticket = memory::word(info.word, value).filter(|ticket| *ticket != 0)?;
                let columns: Vec<u128> = key.iter().chain(&numbers).copied().collect();
                let owner: Vec<u128> = info.owner.iter().flat_map(|owner| &owner.key).map(|column| columns[*column]).collect();
                let of = owners.get(&owner).filter(|(of, _)| *of == ticket);
                Some(Entry { key, value: numbers, life: of.map_or(Life::Dead, |(_, deadline)| life(*deadline)) })
            }
            _ => Some(Entry { key, value: numbers, life: Life::Forever }),
        }
    }

    /// The numbers of an array of which each processor has its own, summed. They wrap.
    pub(crate) fn sums(&self, map: &str) -> Result<Vec<u64>, Error> {
        let of = self.map(map)?;
        let tried = || format!("counters in `{map}` cannot be read");
        let mut sums = Vec::new();
        for index in 0..of.max_entries {
            let bytes = of.get(&index.to_le_bytes()).tried(tried)?.unwrap_or_default();
            let (words, _) = bytes.as_chunks::<8>();
            sums.push(words.iter().fold(0, |sum: u64, word| sum.wrapping_add(u64::from_le_bytes(*word))));
        }
        Ok(sums)
    }
}
