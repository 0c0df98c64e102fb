//! What a box holds right now, in terms of its source.

use crate::error::{Error, Tried};
use crate::installed::Installed;
use grv_codegen::ebpf::{TableInfo, memory};
use grv_lang::ir::Lifetime;

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

/// The kernel's clock, which deadlines are told by.
fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    (time.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(time.tv_nsec as u64)
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
        let mut entries: Vec<Entry> = match info.keeping {
            "control" | "control array" | "prefixes" => {
                let entries = self.generation_of(info, self.generation()?)?;
                let array = info.keeping == "control array";
                let initial: Vec<u128> = info.initial.iter().map(|number| u128::from(*number)).collect();
                let numbered = entries.into_iter().enumerate();
                let all = numbered.map(|(n, (key, value))| forever((if array { vec![n as u128] } else { key }, value)));
                all.filter(|entry| !array || entry.value != initial).collect()
            }
            "counters" => {
                self.counters(info)?.into_iter().enumerate().map(|(n, c)| forever((vec![n as u128], vec![c]))).collect()
            }
            _ => {
                let all = self.table_map(info)?.entries().tried(|| format!("table `{}` cannot be read", info.name))?;
                let now = now();
                all.iter().filter_map(|(key, value)| self.entry(info, key, value, now)).collect()
            }
        };
        entries.sort_unstable();
        Ok(TableState { table: info.table as usize, capacity: declared.capacity, entries })
    }

    /// An entry of state or of a fed table; none, if it was given up and is about to be deleted.
    fn entry(&self, info: &TableInfo, key: &[u8], value: &[u8], now: u64) -> Option<Entry> {
        let declared = self.description.table(info);
        let (key, _) = memory::key_of(info, key, 0);
        let numbers = memory::value_of(info, value);
        let life = |deadline: u64| match deadline {
            _ if (now >> info.tick) + 1 >= deadline => Life::Dead,
            // Ticks are counted from 1.
            deadline => Life::Remaining(((deadline - 1) << info.tick).saturating_sub(now)),
        };
        match info.keeping {
            "buckets" => {
                let (full, deadline) = (*numbers.first()? as u64, *numbers.get(1)? as u64);
                let tokens = info.bucket.as_ref().map_or(0, |bucket| bucket.tokens(full, now));
                Some(Entry { key, value: vec![tokens.into()], life: life(deadline) })
            }
            "entries" => {
                let word = memory::word(info, value)?;
                let forever = matches!(declared.lifetime, Lifetime::Forever);
                if word == 0 && !forever {
                    return None;
                }
                let life = if forever { Life::Forever } else { life(word >> info.deadline_shift) };
                Some(Entry { key, value: numbers, life })
            }
            _ => Some(Entry { key, value: numbers, life: Life::Forever }),
        }
    }

    /// Counters, summed over processors.
    fn counters(&self, info: &TableInfo) -> Result<Vec<u128>, Error> {
        Ok(self.sums(&info.map)?.into_iter().map(u128::from).collect())
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
