//! A box that runs: a program, its parameters and a state, to which events happen one after the other.

use super::config::{Config, TableUpdate, check_entry};
use super::error::{ConfigError, ContentError, Defect, DefectKind, FeedError, UpdateError};
use super::maglev;
use super::oracle::Oracle;
use super::packet::MAX_FRAME;
use super::spec::{Bindings, Session};
use super::state::{self, Accounting, Due, END_OF_TIME, State};
use super::step::{Run, Scratch};
use super::table::{Indexed, SlotId, Store, table_name};
use super::trace::Observer;
use crate::ir::{ElementId, PortId, Program, ReasonId, Role, Scalar, TableId};
use crate::span::Span;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A running box. A clone is cheap and goes its own way.
#[derive(Debug)]
pub struct Machine {
    pub(crate) config: Arc<Config>,
    pub(crate) state: State,
    scratch: Scratch,
    stopped: Option<Box<Defect>>,
}

impl Clone for Machine {
    fn clone(&self) -> Machine {
        Machine {
            config: self.config.clone(),
            state: self.state.clone(),
            scratch: Scratch::default(),
            stopped: self.stopped.clone(),
        }
    }
}

/// What a step did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Packets that left, in order.
    pub out: Vec<(PortId, Vec<u8>)>,
    /// Packets that were dropped, in order.
    pub drops: Vec<Dropped>,
    /// Choices that were made, in order.
    pub choices: Vec<Chosen>,
}

/// A packet was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// By which element.
    pub element: ElementId,
    /// Why.
    pub reason: ReasonId,
    /// Where in the source.
    pub span: Span,
}

/// A choice was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The chosen variable.
    pub name: String,
    /// The value; none: `else`.
    pub value: Option<u128>,
    /// How many tiers were left before: tiers 0 to `left` - 1 were refused.
    pub left: u32,
    /// Where in the source.
    pub span: Span,
}

/// An entry of a table, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryView {
    /// The key's scalars (the index).
    pub key: Vec<u128>,
    /// The value's scalars; of a bucket its tokens as of now, in units of one bit divided by 10^9.
    pub value: Vec<u128>,
    /// When it dies, if it does.
    pub deadline: Option<u64>,
}

impl Machine {
    /// A box in its initial state at time 0, with one value (by column) per parameter; see [`super::with_defaults`].
    pub fn new(program: Arc<Program>, params: Vec<Vec<u128>>) -> Result<Machine, ConfigError> {
        let config = Config::new(program, params)?;
        let state = State::new(&config);
        Ok(Machine { config: Arc::new(config), state, scratch: Scratch::default(), stopped: None })
    }

    /// A box in a state.
    pub(crate) fn at(config: Arc<Config>, state: State) -> Machine {
        Machine { config, state, scratch: Scratch::default(), stopped: None }
    }

    /// The program.
    pub fn program(&self) -> &Arc<Program> {
        &self.config.program
    }

    /// The parameters' values, by parameter and column.
    pub fn params(&self) -> &[Vec<u128>] {
        &self.config.params
    }

    /// Nanoseconds since the start.
    pub fn now(&self) -> u64 {
        self.state.now
    }

    /// What became of all packets so far.
    pub fn accounting(&self) -> &Accounting {
        &self.state.accounting
    }

    /// Processes a packet that arrives at an external port.
    pub fn packet(
        &mut self,
        port: PortId,
        bytes: &[u8],
        oracle: &mut dyn Oracle,
        observer: Option<&mut dyn Observer>,
    ) -> Result<Outcome, Defect> {
        let mut outcome = Outcome::default();
        self.packet_into(port, bytes, oracle, observer, &mut outcome)?;
        Ok(outcome)
    }

    /// The same, into an outcome that is used again: its buffers are taken back first.
    pub fn packet_into(
        &mut self,
        port: PortId,
        bytes: &[u8],
        oracle: &mut dyn Oracle,
        observer: Option<&mut dyn Observer>,
        outcome: &mut Outcome,
    ) -> Result<(), Defect> {
        self.scratch.recycle(outcome);
        let ports = &self.config.program.ports;
        let Some(entry) = ports.get(port.index()).and_then(|port| port.entry) else {
            let name = ports.get(port.index()).map_or_else(|| port.0.to_string(), |port| port.name.clone());
            return Err(outside(DefectKind::NoEntry(name)));
        };
        if bytes.len() > MAX_FRAME {
            return Err(outside(DefectKind::FrameTooLong(bytes.len())));
        }
        self.run(oracle, observer, outcome, |run| run.packet(port, entry, bytes))
    }

    /// Lets time pass; timers that become due fire. Beyond the end of time: an error, and no time passes.
    pub fn advance(
        &mut self,
        nanoseconds: u64,
        oracle: &mut dyn Oracle,
        mut observer: Option<&mut dyn Observer>,
    ) -> Result<(), Defect> {
        let Some(end) = self.state.now.checked_add(nanoseconds).filter(|end| *end < END_OF_TIME) else {
            return Err(outside(DefectKind::TimeRange));
        };
        loop {
            let next = self.state.timers.iter().enumerate().min_by_key(|(_, due)| **due);
            let Some((index, due)) = next.map(|(index, due)| (index, *due)).filter(|(_, due)| due.at <= end) else {
                self.pass(end, oracle);
                return self.run(oracle, None, &mut Outcome::default(), |_| Ok(()));
            };
            self.pass(due.at, oracle);
            let observer: Option<&mut dyn Observer> = match &mut observer {
                Some(observer) => Some(&mut **observer),
                None => None,
            };
            self.run(oracle, observer, &mut Outcome::default(), |run| run.timer(due.element, due.timer))?;
            let timer = &self.config.program.elements[due.element.index()].timers[due.timer as usize];
            let next = due.due.saturating_add(timer.every.max(1));
            let at = next.saturating_add(oracle.timer_lag(timer.lag).min(timer.lag)).max(due.at);
            self.state.timers[index] = Due { at, due: next, ..due };
        }
    }

    /// Sets the clocks. Only here do they move, the coarse ones too (`now - G <= tick <= now`, never back): what is live when a packet
    /// arrives is live for its whole step.
    fn pass(&mut self, now: u64, oracle: &mut dyn Oracle) {
        self.state.now = self.state.now.max(now);
        for root in &self.config.exact {
            self.state.ticks[root.index()] = self.state.now;
        }
        for (root, greatest) in &self.config.coarse {
            let lag = oracle.tick_lag(*root, *greatest).min(*greatest);
            let tick = &mut self.state.ticks[root.index()];
            *tick = (*tick).max(self.state.now.saturating_sub(lag));
        }
    }

    /// Installs a new generation of control tables: these are replaced, the others stay. Refused: nothing happened.
    pub fn update(
        &mut self,
        tables: &[TableUpdate],
        oracle: &mut dyn Oracle,
        observer: Option<&mut dyn Observer>,
    ) -> Result<(), UpdateError> {
        let mut next = Machine { scratch: Scratch::default(), ..self.clone() };
        for update in tables {
            let declared = self.config.program.tables.get(update.table.index());
            if declared.is_none_or(|table| table.role != Role::Control || table.computed.is_some()) {
                let name = table_name(&self.config.program, update.table);
                return Err(ContentError::NotWritable(name).into());
            }
            next.state.tables[update.table.index()] = Arc::new(self.config.fill(update)?);
        }
        next.compute_tables();
        for require in &self.config.program.requires {
            let mut session = Session::new(&next);
            let mut bindings = Bindings::new(&require.body);
            session.run(&require.body, &mut bindings, &require.body.block, oracle)?;
            if session.eval(&require.body, &bindings, &require.holds, require.span)? == 0 {
                return Err(UpdateError::Refused { message: require.message.clone(), span: require.span });
            }
        }
        self.state.tables = next.state.tables;
        self.run(oracle, observer, &mut Outcome::default(), |run| run.update())?;
        Ok(())
    }

    /// Computes the tables that the control plane does not give.
    fn compute_tables(&mut self) {
        let program = self.config.program.clone();
        for (index, table) in program.tables.iter().enumerate() {
            let Some(of) = &table.computed else { continue };
            let Some(entries) = self.state.keyed(of.entries) else { continue };
            let columns: Vec<Scalar> = table.value.iter().map(|column| column.ty).collect();
            let named = of.groups.and_then(|map| Some((self.state.keyed(map)?, program.tables[map.index()].key.len())));
            let mut groups: BTreeMap<u128, Vec<&[u128]>> = BTreeMap::new();
            for key in entries.entries.keys() {
                let (name, backend) = key.split_at(named.map_or(1, |(_, columns)| columns));
                let number = match named {
                    Some((map, _)) => map.entries.get(name).and_then(|entry| entry.value.first()),
                    None => name.first(),
                };
                if let Some(number) = number {
                    groups.entry(*number).or_default().push(backend);
                }
            }
            let mut store = state::empty(table, &self.config.initial[index]);
            for (group, backends) in &mut groups {
                // Several names may have one number.
                backends.sort_unstable();
                backends.dedup();
                let first = group.saturating_mul(of.slots.into());
                let Some(slots) = maglev::table(backends, &columns, of.slots).filter(|_| first < u128::from(table.capacity))
                else {
                    continue;
                };
                if let Store::Indexed(store) = &mut store {
                    for (slot, backend) in (first as u64..).zip(slots) {
                        store.get_mut(slot).copy_from_slice(backends[backend as usize]);
                    }
                }
            }
            self.state.tables[index] = Arc::new(store);
        }
    }

    /// The runtime sets one entry of a fed table, or removes it.
    pub fn feed(
        &mut self,
        table: TableId,
        key: &[u128],
        value: Option<&[u128]>,
        oracle: &mut dyn Oracle,
    ) -> Result<(), FeedError> {
        let program = self.config.program.clone();
        let Some(declared) = program.tables.get(table.index()).filter(|table| table.role == Role::Feed) else {
            return Err(ContentError::NotWritable(table_name(&program, table)).into());
        };
        let mut shown = vec![0; declared.value.len()];
        if let Some(value) = value {
            shown = value.to_vec();
        }
        let keyed = self.state.keyed(table).is_some();
        check_entry(declared, 0, keyed.then_some(key), &shown)?;
        let mut full = false;
        self.run(oracle, None, &mut Outcome::default(), |run| {
            full = !run.feed(table, key, value, declared.span)?;
            Ok(())
        })?;
        if full {
            let (table, capacity) = (declared.name.clone(), declared.capacity);
            return Err(ContentError::TooMany { table, capacity, given: capacity + 1 }.into());
        }
        Ok(())
    }

    /// Runs something on the state; a defect of the program stops the machine for good.
    fn run(
        &mut self,
        oracle: &mut dyn Oracle,
        observer: Option<&mut dyn Observer>,
        outcome: &mut Outcome,
        event: impl FnOnce(&mut Run<'_>) -> Result<(), Box<Defect>>,
    ) -> Result<(), Defect> {
        if let Some(defect) = &self.stopped {
            return Err((**defect).clone());
        }
        let mut run = Run {
            config: &self.config,
            state: &mut self.state,
            scratch: &mut self.scratch,
            oracle,
            observer: match observer {
                Some(observer) => Some(&mut *observer),
                None => None,
            },
            outcome,
            spec: None,
            depth: 0,
            emitted: 0,
        };
        let result = event(&mut run);
        if let Err(defect) = result {
            self.scratch = Scratch::default();
            if defect.kind.stops() {
                self.stopped = Some(defect.clone());
            }
            return Err(*defect);
        }
        Ok(())
    }

    /// The live entries of a table by key; of an array or counter array, the elements that differ from the start.
    pub fn entries(&self, table: TableId) -> Vec<EntryView> {
        let Some(store) = self.state.tables.get(table.index()) else { return Vec::new() };
        match &**store {
            Store::Indexed(store) => {
                let view =
                    |(index, value): (u64, &[u128])| EntryView { key: vec![index.into()], value: value.to_vec(), deadline: None };
                store.changed().into_iter().map(view).collect()
            }
            Store::Keyed(_) => {
                let live = self.state.live_entries(&self.config, table);
                live.into_iter().map(|(key, entry)| self.view(table, key, entry)).collect()
            }
        }
    }

    /// The live entry of a table with a key.
    pub fn live(&self, table: TableId, key: &[u128]) -> Option<EntryView> {
        self.state.live(&self.config, table, key).map(|entry| self.view(table, key, entry))
    }

    fn view(&self, table: TableId, key: &[u128], entry: &super::table::Entry) -> EntryView {
        EntryView {
            key: key.to_vec(),
            value: match (self.config.buckets[table.index()], &*entry.value) {
                (Some(bucket), [tokens, last]) => vec![bucket.tokens(*tokens, *last, self.state.now)],
                (_, value) => value.to_vec(),
            },
            deadline: if entry.slot == SlotId::FOREVER { None } else { self.state.deadlines.at(entry.slot) },
        }
    }

    /// How many entries are physically in a table, dead ones included.
    pub fn occupied(&self, table: TableId) -> usize {
        self.state.keyed(table).map_or(0, |store| store.entries.len())
    }

    /// The elements of an array, or of a cell, that differ from the start, by index.
    pub fn elements(&self, table: TableId) -> Vec<(u64, Vec<u128>)> {
        let changed = self.state.indexed(table).map(Indexed::changed).unwrap_or_default();
        changed.into_iter().map(|(index, element)| (index, element.to_vec())).collect()
    }

    /// How many elements of an array, or of a cell, differ from the start.
    pub fn written(&self, table: TableId) -> usize {
        self.state.indexed(table).map_or(0, Indexed::count_changed)
    }

    /// Sweeps a table: removes what is dead. Not an event; programs cannot see it but for the room.
    pub fn sweep(&mut self, table: TableId) -> usize {
        if table.index() >= self.state.tables.len() {
            return 0;
        }
        self.state.sweep(&self.config, table).len()
    }

    /// The scalars of an array's element, of a cell (index 0) or of a counter.
    pub fn element(&self, table: TableId, index: u64) -> Option<Vec<u128>> {
        self.state.indexed(table).map(|store| store.get(index).to_vec())
    }
}

/// An error that is not the program's.
fn outside(kind: DefectKind) -> Defect {
    Defect { kind, element: None, span: Span::default() }
}
