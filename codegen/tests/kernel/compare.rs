//! One box twice: in the interpreter and in the kernel.

use crate::loaded::Loaded;
use grv_codegen::ebpf::memory;
use grv_codegen::ebpf::{ClockInfo, Hook, TableInfo};
use grv_lang::interp::oracle::{Choice, Oracle, Pick};
use grv_lang::interp::{EntryView, Machine, Outcome, Stimulus, UpdateError};
use grv_lang::ir::{Lifetime, PortId, Program, Role, TableId, TableKind};
use std::collections::HashMap;
use std::sync::Arc;

/// The verdict for what leaves by the port that it came from.
const BACK: u32 = 3;

/// The least frame that the kernel takes.
const LEAST: usize = 14;

/// Both.
pub(crate) struct Compared {
    hook: Hook,
    kernel: Loaded,
    machine: Machine,
    program: Arc<Program>,
    pub(crate) packets: usize,
    /// Packets that the kernel does not take.
    pub(crate) short: usize,
    /// Events since tables were compared.
    since: usize,
}

/// The decisions of the target: clocks in ticks, full tables swept once a second, nobody else there.
struct Target {
    now: u64,
    clocks: Vec<ClockInfo>,
    /// By table: when it may be swept.
    due: Vec<u64>,
    /// What the target chose.
    chosen: Option<Option<u64>>,
}

impl Oracle for Target {
    fn choose(&mut self, choice: &Choice<'_>) -> Pick {
        let chosen = self.chosen.take().unwrap_or_else(|| panic!("the target did not choose `{}`", choice.name));
        Pick::Given(chosen.map(u128::from))
    }

    fn contended(&mut self, _: TableId) -> bool {
        false
    }

    fn no_room(&mut self) -> bool {
        false
    }

    fn sweep(&mut self, table: TableId) -> bool {
        let clock = &self.clocks[table.index()];
        let now = if clock.coarse { clock.at(self.now) } else { self.now };
        now >= self.due[table.index()]
    }

    fn tick_lag(&mut self, table: TableId, greatest: u64) -> u64 {
        let lag = self.clocks[table.index()].lag(self.now);
        assert!(lag <= greatest, "the target's clock of lifetimes lags by more than is allowed");
        lag
    }

    fn timer_lag(&mut self, _: u64) -> u64 {
        0
    }
}

/// The shortest frame that the kernel can be asked to run a program on: at tc, IP headers that are there must be whole.
fn least(hook: Hook, bytes: &[u8]) -> usize {
    match (hook, bytes.get(12..14)) {
        (Hook::Tc, Some([0x08, 0x00])) => LEAST + 20,
        (Hook::Tc, Some([0x86, 0xdd])) => LEAST + 40,
        _ => LEAST,
    }
}

impl Compared {
    /// A box at its start.
    pub(crate) fn new(hook: Hook, kernel: Loaded, program: &Arc<Program>, params: &[Vec<u128>]) -> Compared {
        let machine = Machine::new(program.clone(), params.to_vec()).unwrap();
        let mut compared = Compared { hook, kernel, machine, program: program.clone(), packets: 0, short: 0, since: 0 };
        // Arrays have elements from the start.
        compared.install();
        compared
    }

    fn target(&self, passed: u64) -> Target {
        let clock = |table: &grv_lang::ir::Table| {
            let info = self.kernel.artefact.tables.iter().find(|info| info.name == table.name);
            info.map_or_else(ClockInfo::default, |info| info.clock)
        };
        let due = |table: &grv_lang::ir::Table| {
            let swept = |info: &&TableInfo| info.name == table.name && is_dynamic(info);
            let info = self.kernel.artefact.tables.iter().find(swept);
            // A mirror in slots has a place for each key.
            if info.is_some_and(|info| info.keeping == "slots" && info.owner.is_some()) {
                return 0;
            }
            info.filter(|_| !matches!(table.lifetime, Lifetime::Forever)).map_or(u64::MAX, |info| self.kernel.sweep_due(info))
        };
        Target {
            now: self.machine.now() + passed,
            clocks: self.program.tables.iter().map(clock).collect(),
            due: self.program.tables.iter().map(due).collect(),
            chosen: None,
        }
    }

    /// The same happens to both; what it came to. What differs is a failure.
    pub(crate) fn happens(&mut self, event: &Stimulus, at: &str) -> Outcome {
        let outcome = match event {
            Stimulus::Packet(port, bytes) => self.packet(*port, bytes, at),
            Stimulus::Time(nanoseconds) => {
                let mut target = self.target(*nanoseconds);
                // What is beyond the end of time does not happen.
                if self.machine.now().checked_add(*nanoseconds).is_some_and(|end| end < grv_lang::interp::END_OF_TIME) {
                    self.machine.advance(*nanoseconds, &mut target, None).unwrap();
                }
                Outcome::default()
            }
            Stimulus::Update(tables) => {
                let mut target = self.target(0);
                match self.machine.update(tables, &mut target, None) {
                    Ok(()) => self.install(),
                    Err(UpdateError::Defect(defect)) => panic!("{at}: {defect}"),
                    Err(_) => {}
                }
                Outcome::default()
            }
            Stimulus::Feed(table, key, value) => {
                let mut target = self.target(0);
                if self.machine.feed(*table, key, value.as_deref(), &mut target).is_ok() {
                    let info = self.info(*table).clone();
                    self.kernel.feed(&info, key, value.as_deref());
                }
                Outcome::default()
            }
        };
        // Large tables are compared now and then: it takes two calls of the kernel for each entry.
        self.since += 1;
        let occupied: usize = (0..self.program.tables.len() as u32).map(|id| self.machine.occupied(TableId(id))).sum();
        if self.since * 128 > occupied {
            self.same_tables(at);
        }
        outcome
    }

    /// The box in the kernel, with which something else happens for a while.
    pub(crate) fn kernel(&mut self) -> &mut Loaded {
        &mut self.kernel
    }

    /// The time.
    pub(crate) fn now(&self) -> u64 {
        self.machine.now()
    }

    /// A packet came to the box in the kernel; now it comes to the interpreter.
    pub(crate) fn came(&mut self, port: PortId, bytes: &[u8]) {
        let mut target = self.target(0);
        self.machine.packet(port, bytes, &mut target, None).unwrap();
    }

    /// Nothing happens any more.
    pub(crate) fn ends(&mut self, at: &str) {
        self.same_tables(at);
    }

    fn info(&self, table: TableId) -> &TableInfo {
        self.kernel.table(&self.program.tables[table.index()].name)
    }

    /// The interpreter's generation, as the kernel's next one.
    fn install(&mut self) {
        let next = 1 - self.kernel.generation;
        let program = self.program.clone();
        for (id, table) in (0..).map(TableId).zip(&program.tables) {
            if table.role != Role::Control {
                continue;
            }
            let info = self.info(id).clone();
            let entries: Vec<(Vec<u128>, Vec<u128>)> = if info.keeping == "control blocks" {
                self.machine.elements(id).into_iter().map(|(index, element)| (vec![index.into()], element)).collect()
            } else if matches!(info.keeping, "control array" | "control globals" | "control rows") {
                let element = |index| (vec![u128::from(index)], self.machine.element(id, index).unwrap());
                (0..length(table)).map(element).collect()
            } else {
                self.machine.entries(id).into_iter().map(|entry| (entry.key, entry.value)).collect()
            };
            self.kernel.replace(&info, next, length(table), &entries);
        }
        self.kernel.generation = next;
    }

    fn packet(&mut self, port: PortId, bytes: &[u8], at: &str) -> Outcome {
        if bytes.len() < least(self.hook, bytes) || bytes.len() > 3_000 {
            // What the kernel cannot be given must not happen to the other side either.
            self.short += 1;
            return Outcome::default();
        }
        // When tables may be swept is said before.
        let mut target = self.target(0);
        let found = self.kernel.packet(port.0, self.machine.now(), bytes);
        target.chosen = found.chosen;
        let expected = self.machine.packet(port, bytes, &mut target, None).unwrap_or_else(|d| panic!("{at}: {d}"));
        assert_eq!(target.chosen, None, "{at}: a choice that nobody asked for");
        self.packets += 1;
        let sent = expected.out.iter().fold(0, |sent, (port, _)| sent | (1 << port.index()));
        let reason = expected.drops.last().map(|drop| u64::from(drop.reason.0));
        assert_eq!((found.sent, found.reason), (sent, reason), "{at}: ports and reason; {}", hex(bytes));
        for (_, bytes) in &expected.out {
            assert_eq!(hex(&found.bytes), hex(bytes), "{at}: what left");
        }
        let host = self.program.ports.iter().position(|port| port.name == "host").map_or(0, |index| 1 << index);
        let few = self.program.ports.iter().filter(|port| port.entry.is_some()).count() <= 2;
        // Nothing is in the maps of devices: what is sent to a port shows as the verdict for no device, but what is sent to several
        // is passed on to nobody.
        let verdict = match sent {
            0 => 1,
            sent if sent == host => 2,
            // To where it came from it goes without a device; boxes with many ports may not ask.
            sent if sent == 1 << port.0 && (few || found.verdict == BACK) => BACK,
            sent if sent.count_ones() == 1 => 1,
            _ => 4,
        };
        // At tc, nothing but the verdict says where to.
        let verdict = match (self.hook, sent) {
            (Hook::Xdp, _) => verdict,
            (Hook::Tc, 0) => 2,
            (Hook::Tc, sent) if sent == host => 0,
            (Hook::Tc, _) => 7,
        };
        assert_eq!(found.verdict, verdict, "{at}: the verdict");
        expected
    }

    /// Live entries are the same.
    fn same_tables(&mut self, at: &str) {
        self.since = 0;
        for (id, table) in (0..).map(TableId).zip(&self.program.tables) {
            if table.role != Role::State {
                continue;
            }
            let info = self.info(id);
            if info.keeping == "cell" {
                assert_eq!(Some(vec![self.kernel.cell(info)]), self.machine.element(id, 0), "{at}: cell {}", table.name);
            }
            if !is_dynamic(info) {
                continue;
            }
            let owners = self.owners(info);
            let ours = self.machine.entries(id);
            let all = self.kernel.entries(info);
            let occupied = match (&info.index, &info.owner) {
                (Some(_), None) => self.kernel.index(info).len(),
                (Some(_), Some(_)) => self.machine.occupied(id),
                (None, _) => all.len(),
            };
            assert_eq!(occupied, self.machine.occupied(id), "{at}: entries in table {}, dead ones too", table.name);
            let theirs: Vec<Vec<u128>> = all.iter().filter_map(|entry| self.live(info, &owners, entry)).collect();
            let mut theirs = theirs;
            theirs.sort();
            let expected: Vec<Vec<u128>> = ours.into_iter().map(|entry| shown(info, entry)).collect();
            assert_eq!(theirs, expected, "{at}: table {}", table.name);
        }
    }

    /// By key, tickets and deadlines of the entries that a mirror's share theirs with.
    fn owners(&self, info: &TableInfo) -> HashMap<Vec<u128>, (u64, u64)> {
        let Some(owner) = info.owner.as_ref().filter(|_| info.keeping == "mirror") else { return HashMap::new() };
        let owner = self.info(TableId(owner.table));
        let number = |value: &[u8], at: Option<u16>| word(value, at.unwrap());
        let entry = |(key, value): (Vec<u8>, Vec<u8>)| {
            let key = owner.key.iter().map(|column| memory::get(&key, column)).collect();
            (key, (number(&value, owner.ticket), number(&value, owner.word) >> owner.deadline_shift))
        };
        self.kernel.entries(owner).into_iter().map(entry).collect()
    }

    /// Key, value and deadline of a live entry in the kernel.
    fn live(
        &self,
        info: &TableInfo,
        owners: &HashMap<Vec<u128>, (u64, u64)>,
        (key, value): &(Vec<u8>, Vec<u8>),
    ) -> Option<Vec<u128>> {
        let now = self.machine.now();
        let key = memory::key_in(info, key, value);
        let mut scalars: Vec<u128> = info.key.iter().map(|column| memory::get(key, column)).collect();
        let deadline = match (info.word, info.owner.as_ref().filter(|_| info.keeping == "mirror")) {
            (Some(at), Some(owner)) => {
                let columns = scalars.iter().copied().chain(info.value.iter().map(|column| memory::get(value, column)));
                let all: Vec<u128> = columns.collect();
                let key: Vec<u128> = owner.key.iter().map(|column| all[*column]).collect();
                let (ticket, deadline) = owners.get(&key)?;
                if *ticket != word(value, at) {
                    return None;
                }
                *deadline
            }
            (Some(at), None) => word(value, at) >> info.deadline_shift,
            // Of buckets, the deadline is the second number.
            (None, _) => word(value, info.value[1].offset),
        };
        let forever = self.program.tables[info.table as usize].lifetime.clone();
        if matches!(forever, Lifetime::Forever) {
            scalars.extend(info.value.iter().map(|column| memory::get(value, column)));
            return Some(scalars);
        }
        if info.clock.at(now) >= deadline {
            return None;
        }
        if info.keeping != "buckets" {
            scalars.extend(info.value.iter().map(|column| memory::get(value, column)));
        }
        scalars.push(deadline.into());
        Some(scalars)
    }
}

/// Whether packets make entries in a table.
fn is_dynamic(info: &TableInfo) -> bool {
    matches!(info.keeping, "entries" | "mirror" | "slots" | "buckets")
}

/// An entry of the interpreter in the same form.
fn shown(info: &TableInfo, entry: EntryView) -> Vec<u128> {
    let mut scalars = entry.key;
    if info.keeping != "buckets" {
        scalars.extend(entry.value);
    }
    if let Some(deadline) = entry.deadline {
        scalars.push(info.clock.deadline(deadline).into());
    }
    scalars
}

/// Elements of an array; a cell is one of one.
fn length(table: &grv_lang::ir::Table) -> u64 {
    if matches!(table.kind, TableKind::Cell) { 1 } else { table.capacity }
}

/// Eight bytes of a value.
fn word(value: &[u8], at: u16) -> u64 {
    u64::from_le_bytes(value[at.into()..][..8].try_into().unwrap())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
