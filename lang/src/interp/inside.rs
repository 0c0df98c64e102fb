//! The state as it physically is, dead entries and shared deadlines included: for those who hold another execution of a step
//! against this one.

use super::machine::Machine;
use super::table::SlotId;
use crate::ir::TableId;

/// An entry of a table, live or dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Physical {
    /// The key's scalars.
    pub key: Vec<u128>,
    /// The value's scalars; a bucket's tokens, in units of one bit divided by 10^9, and the time they were counted.
    pub value: Vec<u128>,
    /// The number of its deadline; entries with one number share it. None: it never dies.
    pub number: Option<u32>,
    /// The deadline.
    pub deadline: Option<u64>,
    /// Whether it is live.
    pub live: bool,
}

impl Machine {
    /// All entries of a table with keys, those included that are dead and not swept, in order of keys.
    pub fn physical(&self, table: TableId) -> Vec<Physical> {
        let Some(store) = self.state.keyed(table) else { return Vec::new() };
        let view = |(key, entry): (&super::table::Key, &super::table::Entry)| Physical {
            key: key.to_vec(),
            value: entry.value.to_vec(),
            number: (entry.slot != SlotId::FOREVER).then(|| entry.slot.number()),
            deadline: self.state.deadlines.at(entry.slot),
            live: self.state.is_live(&self.config, table, entry),
        };
        let mut all: Vec<Physical> = store.entries.iter().map(view).collect();
        all.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        all
    }

    /// The clock that a table's lifetimes are judged by.
    pub fn tick(&self, table: TableId) -> u64 {
        self.state.tick(&self.config, table)
    }
}
