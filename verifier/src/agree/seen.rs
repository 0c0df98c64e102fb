//! What a step of the interpreter decided where the rules leave something open, in the order in which it came by.

use grv_lang::interp::oracle::{Choice, Pick};
use grv_lang::interp::{Event, Machine, Observer, Oracle, Seeded, TableOp};
use grv_lang::ir::{HeaderId, TableId};
use grv_lang::span::Span;
use rustc_hash::FxHashSet;
use std::cell::RefCell;
use std::rc::Rc;

/// A decision.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen {
    /// A packet came into an element; its bytes.
    Enter { bytes: Vec<u8> },
    /// A header was looked for in these bytes.
    Fields { span: Span, header: HeaderId, bytes: Vec<u8> },
    /// A header was put in, or there was no room.
    Header { span: Span, ok: bool },
    /// A choice was made.
    Choice { span: Span, value: Option<u128>, left: u32 },
    /// The first element of an array was looked for.
    First { span: Span, index: u128, ok: bool },
    /// An entry was put in, or refused. Before that, after what was swept: how many were there, and one with this key among them.
    Entry { span: Span, table: TableId, key: Vec<u128>, ok: bool, there: usize, same: bool, contended: bool },
}

/// Decisions in order, and where a checksum of 0xffff stayed so.
pub(super) type Watched = (Vec<Seen>, FxHashSet<Span>);

/// A step, watched.
#[derive(Debug, Default)]
struct Watch {
    seen: Vec<Seen>,
    /// By table: the keys that are physically there.
    keys: Vec<FxHashSet<Box<[u128]>>>,
    /// Tables that were too busy to take an entry.
    busy: FxHashSet<TableId>,
    /// Where a checksum of 0xffff stayed so.
    ones: FxHashSet<Span>,
}

/// Decides, and is told what happens.
pub(super) struct Deciding {
    oracle: Seeded,
    watch: Rc<RefCell<Watch>>,
}

/// The other half of it.
pub(super) struct Watching(Rc<RefCell<Watch>>);

/// Both halves, before a step.
pub(super) fn watch(machine: &Machine, oracle: Seeded) -> (Deciding, Watching) {
    let tables = (0..machine.program().tables.len() as u32).map(TableId);
    let keys = tables.map(|t| machine.physical(t).into_iter().map(|e| e.key.into()).collect()).collect();
    let watch = Rc::new(RefCell::new(Watch { keys, ..Watch::default() }));
    (Deciding { oracle, watch: watch.clone() }, Watching(watch))
}

impl Watching {
    /// What was decided, and where a checksum of 0xffff stayed so.
    pub(super) fn seen(self) -> Watched {
        let Watch { seen, ones, .. } = self.0.take();
        (seen, ones)
    }
}

impl Observer for Watching {
    fn event(&mut self, event: Event<'_>) {
        let watch = &mut *self.0.borrow_mut();
        match event {
            Event::Enter { bytes, .. } => watch.seen.push(Seen::Enter { bytes: bytes.to_vec() }),
            Event::Header { header, bytes, span, .. } => {
                watch.seen.push(Seen::Fields { span, header, bytes: bytes.to_vec() });
            }
            Event::Push { ok, span, .. } => watch.seen.push(Seen::Header { span, ok }),
            Event::Choice { value, left, span, .. } => watch.seen.push(Seen::Choice { span, value, left }),
            Event::Sweep { table, gone } => watch.keys[table.index()].retain(|key| !gone.contains(key)),
            Event::SetField { old: 0xffff, new: 0xffff, span, .. } => {
                watch.ones.insert(span);
            }
            Event::Table { op: TableOp::First, key, ok, span, .. } => {
                watch.seen.push(Seen::First { span, index: key[0], ok });
            }
            Event::Table { op: TableOp::Remove, table, key, ok: true, .. } => {
                watch.keys[table.index()].remove(key);
            }
            Event::Table { op: op @ (TableOp::Insert | TableOp::Take), table, key, value, ok, span } => {
                let ok = if op == TableOp::Take { value[0] != 2 } else { ok };
                let keys = &mut watch.keys[table.index()];
                let (there, same, contended) = (keys.len(), keys.contains(key), watch.busy.remove(&table));
                watch.seen.push(Seen::Entry { span, table, key: key.to_vec(), ok, there, same, contended });
                if ok {
                    keys.insert(key.into());
                }
            }
            _ => {}
        }
    }
}

impl Oracle for Deciding {
    fn choose(&mut self, choice: &Choice<'_>) -> Pick {
        self.oracle.choose(choice)
    }

    fn contended(&mut self, table: TableId) -> bool {
        let busy = self.oracle.contended(table);
        if busy {
            self.watch.borrow_mut().busy.insert(table);
        }
        busy
    }

    fn no_room(&mut self) -> bool {
        self.oracle.no_room()
    }

    fn sweep(&mut self, table: TableId) -> bool {
        self.oracle.sweep(table)
    }

    fn tick_lag(&mut self, table: TableId, greatest: u64) -> u64 {
        self.oracle.tick_lag(table, greatest)
    }

    fn timer_lag(&mut self, greatest: u64) -> u64 {
        self.oracle.timer_lag(greatest)
    }
}
