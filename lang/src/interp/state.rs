//! The state of a box: all tables, the deadlines, the clocks and the timers, and the counts of packets. A clone is cheap (the
//! stores are shared until one side writes), so that specifications can look at the state after a step.

use super::config::Config;
use super::table::{Deadlines, Entry, Indexed, Key, Keyed, SlotId, Store};
use crate::ir::{ElementId, Table, TableId, TableKind};
use std::sync::Arc;

/// Times stay below this many nanoseconds.
pub const END_OF_TIME: u64 = 1 << 62;

#[derive(Clone, Debug)]
pub(crate) struct State {
    /// By table. A generation of control tables is those of them that only updates write.
    pub(crate) tables: Vec<Arc<Store>>,
    pub(crate) deadlines: Arc<Deadlines>,
    /// Nanoseconds since the start.
    pub(crate) now: u64,
    /// The clock that lifetimes are judged by, of each table that others may share deadlines with.
    pub(crate) ticks: Vec<u64>,
    pub(crate) timers: Vec<Due>,
    pub(crate) accounting: Accounting,
}

/// A timer's next event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Due {
    /// When it fires.
    pub(crate) at: u64,
    /// When it would fire without lag.
    pub(crate) due: u64,
    pub(crate) element: ElementId,
    pub(crate) timer: u32,
}

/// What became of all packets: `received + copies = sent + dropped`, summed over ports and reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounting {
    /// Packets that arrived, by port.
    pub received: Vec<u64>,
    /// Packets that left, by port.
    pub sent: Vec<u64>,
    /// Packets that were dropped, by reason.
    pub dropped: Vec<u64>,
    /// Copies that were made.
    pub copies: u64,
}

impl Accounting {
    /// Whether no packet was lost: in = out - copies + dropped.
    pub fn balances(&self) -> bool {
        let sum = |counts: &[u64]| counts.iter().map(|n| u128::from(*n)).sum::<u128>();
        sum(&self.received) + u128::from(self.copies) == sum(&self.sent) + sum(&self.dropped)
    }
}

impl State {
    /// The initial state: tables are empty, arrays and cells have their initial values, the time is 0.
    pub(crate) fn new(config: &Config) -> State {
        let program = &config.program;
        let tables = program.tables.iter().zip(&config.initial);
        let mut timers = Vec::new();
        for (element, declared) in (0..).map(ElementId).zip(&program.elements) {
            for (timer, declared) in (0..).zip(&declared.timers) {
                timers.push(Due { at: declared.every, due: declared.every, element, timer });
            }
        }
        State {
            tables: tables.map(|(table, initial)| Arc::new(empty(table, initial))).collect(),
            deadlines: Arc::default(),
            now: 0,
            ticks: vec![0; program.tables.len()],
            timers,
            accounting: Accounting {
                received: vec![0; program.ports.len()],
                sent: vec![0; program.ports.len()],
                dropped: vec![0; program.reasons.len()],
                copies: 0,
            },
        }
    }

    /// The entries of a map, a set, a prefix table or a bucket table.
    pub(crate) fn keyed(&self, table: TableId) -> Option<&Keyed> {
        match &**self.tables.get(table.index())? {
            Store::Keyed(store) => Some(store),
            Store::Indexed(_) => None,
        }
    }

    pub(crate) fn keyed_mut(&mut self, table: TableId) -> Option<&mut Keyed> {
        match Arc::make_mut(self.tables.get_mut(table.index())?) {
            Store::Keyed(store) => Some(store),
            Store::Indexed(_) => None,
        }
    }

    /// The elements of an array, a cell or a counter.
    pub(crate) fn indexed(&self, table: TableId) -> Option<&Indexed> {
        match &**self.tables.get(table.index())? {
            Store::Indexed(store) => Some(store),
            Store::Keyed(_) => None,
        }
    }

    pub(crate) fn indexed_mut(&mut self, table: TableId) -> Option<&mut Indexed> {
        match Arc::make_mut(self.tables.get_mut(table.index())?) {
            Store::Indexed(store) => Some(store),
            Store::Keyed(_) => None,
        }
    }

    /// The clock that the table's lifetimes are judged by.
    pub(crate) fn tick(&self, config: &Config, table: TableId) -> u64 {
        self.ticks[config.roots[table.index()].index()]
    }

    /// Whether an entry is live: iff `tick < deadline`.
    pub(crate) fn is_live(&self, config: &Config, table: TableId, entry: &Entry) -> bool {
        entry.slot == SlotId::FOREVER || self.deadlines.at(entry.slot).is_some_and(|deadline| self.tick(config, table) < deadline)
    }

    /// The live entry with that key. A dead one is absent, swept or not.
    pub(crate) fn live(&self, config: &Config, table: TableId, key: &[u128]) -> Option<&Entry> {
        let entry = self.keyed(table)?.entries.get(key)?;
        self.is_live(config, table, entry).then_some(entry)
    }

    /// All live entries, by key.
    pub(crate) fn live_entries(&self, config: &Config, table: TableId) -> Vec<(&[u128], &Entry)> {
        let Some(store) = self.keyed(table) else { return Vec::new() };
        let all = store.entries.iter().map(|(key, entry)| (&**key, entry));
        let mut live: Vec<_> = all.filter(|(_, entry)| self.is_live(config, table, entry)).collect();
        live.sort_unstable_by_key(|(key, _)| *key);
        live
    }

    /// Removes what is dead from a table, and says which keys that were.
    pub(crate) fn sweep(&mut self, config: &Config, table: TableId) -> Vec<Key> {
        let tick = self.tick(config, table);
        let Some(store) = self.keyed(table) else { return Vec::new() };
        if tick < store.next_death {
            return Vec::new();
        }
        let (mut dead, mut next_death) = (Vec::new(), u64::MAX);
        for (key, entry) in &store.entries {
            match self.deadlines.at(entry.slot).unwrap_or(u64::MAX) {
                at if at <= tick => dead.push(key.clone()),
                at => next_death = next_death.min(at),
            }
        }
        for key in &dead {
            self.take_out(table, key);
        }
        if let Some(store) = self.keyed_mut(table) {
            store.next_death = next_death;
        }
        dead
    }

    /// Takes an entry out, dead or alive.
    pub(crate) fn take_out(&mut self, table: TableId, key: &[u128]) {
        if let Some(entry) = self.keyed_mut(table).and_then(|store| store.take(key)) {
            self.release(entry.slot);
        }
    }

    /// Gives up a user's part of a deadline.
    pub(crate) fn release(&mut self, slot: SlotId) {
        if slot != SlotId::FOREVER {
            Arc::make_mut(&mut self.deadlines).release(slot);
        }
    }

    /// Moves a deadline, and tells the stores that share it.
    pub(crate) fn set_deadline(&mut self, config: &Config, table: TableId, slot: SlotId, at: u64) {
        if slot == SlotId::FOREVER {
            return;
        }
        Arc::make_mut(&mut self.deadlines).set(slot, at);
        for other in &config.families[config.roots[table.index()].index()] {
            if self.keyed(*other).is_some_and(|store| store.next_death > at)
                && let Some(store) = self.keyed_mut(*other)
            {
                store.next_death = at;
            }
        }
    }
}

/// A table's store before anything happened.
pub(crate) fn empty(table: &Table, initial: &[u128]) -> Store {
    match table.kind {
        TableKind::Map | TableKind::Set | TableKind::Bucket { .. } => Store::Keyed(Keyed::new(false)),
        TableKind::Lpm => Store::Keyed(Keyed::new(true)),
        TableKind::Array | TableKind::Cell => Store::Indexed(Indexed::new(initial.into())),
        TableKind::Counter => Store::Indexed(Indexed::new(Box::new([0]))),
    }
}
