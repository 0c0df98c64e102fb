//! Symbolic state. A table is a few functions of its key (is there an entry, its value, its deadline), and a log of what was
//! changed at which keys since: a look-up asks the log first. Deadlines are integers.

use super::env::{Engine, Slot};
use super::value::{Sym, most};
use crate::term::{Op, Sort, Term};
use grv_lang::ir::{Column, Expr, Lifetime, Program, Scalar, Show, TableId, TableKind};
use std::rc::Rc;

/// No packet looks up so many entries of one table.
const MANY_ENTRIES: u64 = 256;

/// A state of the box.
#[derive(Clone, Debug)]
pub struct World {
    /// States with the same number are the same.
    pub(crate) id: u32,
    /// Nanoseconds since the start, an integer.
    pub now: Term,
    /// By table: the clock that its lifetimes are judged by.
    pub(crate) ticks: Rc<Vec<Term>>,
    pub(crate) tables: Rc<Vec<TableState>>,
}

/// A table.
#[derive(Clone, Debug)]
pub(crate) struct TableState {
    /// The name of its functions; none: as at the start.
    pub(crate) base: Option<Rc<str>>,
    pub(crate) log: Log,
    /// Whether every key has an entry of the base.
    pub(crate) everywhere: bool,
    /// How many entries are physically there, an integer.
    pub(crate) count: Term,
    /// Of tables that share deadlines: the deadlines by number, at the root; the number of the next.
    pub(crate) shared: Option<Shared>,
}

/// Deadlines that several tables' entries may share, by number.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) base: Option<Rc<str>>,
    pub(crate) log: Log,
    /// Numbers from here on were not given yet.
    pub(crate) next: Term,
}

/// A change of one entry on some ways. What is not given stays.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) guard: Term,
    pub(crate) key: Vec<Sym>,
    pub(crate) present: Option<Term>,
    pub(crate) value: Option<Vec<Sym>>,
    /// The deadline, or where deadlines are shared, its number.
    pub(crate) deadline: Option<Term>,
}

/// Changes, the last one first. A copy costs nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Option<Rc<Link>>);

#[derive(Debug)]
struct Link {
    change: Change,
    before: Log,
}

impl Log {
    pub(crate) fn push(&mut self, change: Change) {
        *self = Log(Some(Rc::new(Link { change, before: self.clone() })));
    }

    fn is(&self, other: &Log) -> bool {
        match (&self.0, &other.0) {
            (None, None) => true,
            (Some(a), Some(b)) => Rc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// The last change.
    #[cfg(test)]
    pub(crate) fn last(&self) -> Option<&Change> {
        self.0.as_ref().map(|link| &link.change)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The changes since an earlier log, the first one first.
    pub(crate) fn since(&self, earlier: &Log) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut at = self;
        while !at.is(earlier) {
            let Some(link) = &at.0 else { break };
            changes.push(link.change.clone());
            at = &link.before;
        }
        changes.reverse();
        changes
    }
}

/// An entry of a table.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Whether it is there and not dead.
    pub(crate) live: Term,
    pub(crate) value: Vec<Sym>,
    /// None: it never dies.
    pub(crate) deadline: Option<Term>,
    /// The number of a deadline that may be shared.
    pub(crate) slot: Option<Term>,
}

/// What kind of functions a table has.
pub(crate) fn is_keyed(kind: &TableKind) -> bool {
    matches!(kind, TableKind::Map | TableKind::Set | TableKind::Lpm | TableKind::Bucket { .. })
}

/// The table at the end of the chain of `idle with`.
pub(crate) fn root(program: &Program, table: TableId) -> TableId {
    let mut at = table;
    // The validator has seen to it that the chain ends.
    for _ in 0..program.tables.len() {
        match &program.tables[at.index()].lifetime {
            Lifetime::IdleWith { table, .. } => at = *table,
            _ => break,
        }
    }
    at
}

/// Whether entries of several tables may share deadlines with this one's.
pub(crate) fn shares(program: &Program, table: TableId) -> bool {
    let of = root(program, table);
    (0..program.tables.len() as u32).map(TableId).any(|other| other != of && root(program, other) == of)
}

/// The sort of a column in formulas: times are integers.
fn column_sort(column: &Column) -> Sort {
    match (column.ty, &column.show) {
        (Scalar::Bits(64), Show::Time | Show::Duration) => Sort::Int,
        (Scalar::Bool, _) => Sort::Bool,
        (Scalar::Bits(width), _) => Sort::Bits(width),
        (Scalar::Int, _) => Sort::Int,
    }
}

fn key_sort(column: &Column) -> Sort {
    match column.ty {
        Scalar::Bool => Sort::Bool,
        Scalar::Bits(width) => Sort::Bits(width),
        Scalar::Int => Sort::Int,
    }
}

/// The columns of a table's value; a bucket has tokens and the time of the last taking, a counter has its count.
fn value_sorts(program: &Program, table: TableId) -> Vec<(Sort, bool)> {
    let declared = &program.tables[table.index()];
    match declared.kind {
        TableKind::Bucket { .. } => vec![(Sort::Int, false), (Sort::Int, false)],
        TableKind::Counter => vec![(Sort::Bits(64), false)],
        _ => declared.value.iter().map(|c| (column_sort(c), c.ty == Scalar::Bits(64))).collect(),
    }
}

impl<'p> Engine<'p> {
    /// The state at the start.
    pub fn initial(&mut self) -> World {
        let zero = self.terms.int(0);
        let shared = |table| {
            (root(self.program, table) == table && shares(self.program, table)).then(|| Shared {
                base: None,
                log: Log::default(),
                next: zero,
            })
        };
        let tables = (0..self.program.tables.len() as u32)
            .map(|id| TableState { base: None, log: Log::default(), everywhere: false, count: zero, shared: shared(TableId(id)) })
            .collect();
        let id = self.stamp();
        World { id, now: zero, ticks: vec![zero; self.program.tables.len()].into(), tables: Rc::new(tables) }
    }

    /// A state of which nothing is known but what holds of all.
    pub fn any(&mut self, name: &str) -> World {
        let now = self.terms.var(&format!("{name}.now"), Sort::Int);
        self.time_bounds(now);
        let zero = self.terms.int(0);
        let mut tables = Vec::new();
        for id in (0..self.program.tables.len() as u32).map(TableId) {
            tables.push(self.any_table(name, id));
        }
        let mut ticks = Vec::new();
        for id in (0..self.program.tables.len() as u32).map(TableId) {
            let of = root(self.program, id);
            let granularity = self.program.tables[of.index()].granularity;
            ticks.push(if granularity == 0 {
                now
            } else {
                let tick = self.terms.var(&format!("{name}.{}.tick", self.program.tables[of.index()].name), Sort::Int);
                let lag = self.terms.int(granularity.into());
                let least = self.terms.op(Op::IntSub, now, lag);
                for (a, b) in [(zero, tick), (least, tick), (tick, now)] {
                    let fact = self.terms.op(Op::IntLe, a, b);
                    self.fact(fact);
                }
                tick
            });
        }
        let id = self.stamp();
        World { id, now, ticks: ticks.into(), tables: Rc::new(tables) }
    }

    /// A table of which nothing is known.
    pub(crate) fn any_table(&mut self, name: &str, id: TableId) -> TableState {
        let declared = &self.program.tables[id.index()];
        let base: Rc<str> = format!("{name}.{}", declared.name).into();
        let (zero, capacity) = (self.terms.int(0), self.terms.int(declared.capacity.into()));
        let count = self.terms.var(&format!("{base}.count"), Sort::Int);
        for (a, b) in [(zero, count), (count, capacity)] {
            let fact = self.terms.op(Op::IntLe, a, b);
            self.fact(fact);
        }
        let shared = (root(self.program, id) == id && shares(self.program, id)).then(|| {
            let next = self.terms.var(&format!("{base}.deadlines"), Sort::Int);
            let fact = self.terms.op(Op::IntLe, zero, next);
            self.fact(fact);
            Shared { base: Some(base.clone()), log: Log::default(), next }
        });
        TableState { base: Some(base), log: Log::default(), everywhere: false, count, shared }
    }

    /// Makes a fed table's contents anything.
    pub(crate) fn feed_anything(&mut self, world: &mut World, id: TableId) {
        let table = self.any_table("fed", id);
        self.changed(world, id, |t| *t = table);
    }

    /// Puts an entry at every key of a fed table, if it has room for all that one packet looks up: then there are such contents, as far
    /// as the packet sees. Of a smaller one the contents are anything.
    pub(crate) fn feed_everything(&mut self, world: &mut World, id: TableId) {
        let declared = &self.program.tables[id.index()];
        let everywhere = matches!(declared.kind, TableKind::Map | TableKind::Set) && declared.capacity >= MANY_ENTRIES;
        let table = TableState { everywhere, ..self.any_table(if everywhere { "fed everywhere" } else { "fed" }, id) };
        self.changed(world, id, |t| *t = table);
    }

    /// Time is below 2^62 nanoseconds; that is part of the model.
    pub(crate) fn time_bounds(&mut self, now: Term) {
        let (zero, end) = (self.terms.int(0), self.terms.int(1 << 62));
        let (a, b) = (self.terms.op(Op::IntLe, zero, now), self.terms.op(Op::IntLt, now, end));
        self.fact(a);
        self.fact(b);
    }

    /// The time as a value of the language.
    pub(crate) fn time(&self, now: Term) -> Sym {
        Sym::Nat { term: now, width: 64, high: (1 << 62) - 1 }
    }

    /// A key's scalars as terms that functions take.
    pub(crate) fn key_terms(&mut self, key: &[Sym]) -> Vec<Term> {
        key.iter()
            .map(|part| match part {
                Sym::Bool(term) => *term,
                other => self.terms.as_vector(*other),
            })
            .collect()
    }

    /// A key of such terms.
    pub(crate) fn key_made_of(&self, parts: &[Term]) -> Vec<Sym> {
        let part = |term: &Term| match self.terms.sort(*term) {
            Sort::Bool => Sym::Bool(*term),
            Sort::Bits(_) => Sym::Bits(*term),
            Sort::Int => Sym::Int(*term),
        };
        parts.iter().map(part).collect()
    }

    fn key_sorts(&self, table: TableId) -> Vec<Sort> {
        let declared = &self.program.tables[table.index()];
        match declared.kind {
            TableKind::Array => vec![Sort::Bits(64)],
            TableKind::Counter if !declared.key.is_empty() => vec![Sort::Bits(64)],
            _ => declared.key.iter().map(key_sort).collect(),
        }
    }

    /// A function of a table's keys.
    fn function(&mut self, table: TableId, name: &str, key: &[Term], sort: Sort) -> Term {
        let sorts = self.key_sorts(table);
        let symbol = self.terms.symbol(name, &sorts, sort);
        self.terms.apply(symbol, key)
    }

    /// The value that a base function has, as a value of the language; what is known of it is a fact.
    fn base_value(&mut self, table: TableId, base: &str, column: usize, key: &[Term]) -> Sym {
        let (sort, time) = value_sorts(self.program, table)[column];
        let term = self.function(table, &format!("{base}.value{column}"), key, sort);
        match sort {
            Sort::Bool => Sym::Bool(term),
            Sort::Bits(_) => Sym::Bits(term),
            Sort::Int => {
                let zero = self.terms.int(0);
                let fact = self.terms.op(Op::IntLe, zero, term);
                self.fact(fact);
                if time {
                    let end = self.terms.int(1i128 << 64);
                    let fact = self.terms.op(Op::IntLt, term, end);
                    self.fact(fact);
                    Sym::Nat { term, width: 64, high: most(64) }
                } else {
                    Sym::Int(term)
                }
            }
        }
    }

    /// The value at the start of an array's element, a cell or a counter.
    fn start_value(&mut self, table: TableId, column: usize) -> Sym {
        let declared = &self.program.tables[table.index()];
        let ty = declared.value.get(column).map_or(Scalar::Bits(64), |c| c.ty);
        match declared.initial.get(column) {
            Some(Expr::Const(bits, ty)) => self.terms.constant(*bits, *ty),
            Some(Expr::Param(param, index)) => self.param(*param, *index),
            _ => self.terms.zero(ty),
        }
    }

    /// Takes note of a key that was looked up: what holds of all entries is said of it.
    pub(crate) fn touch_key(&mut self, table: TableId, key: &[Sym]) {
        let touched = &mut self.touched[table.index()];
        match touched.iter_mut().find(|(known, _)| known == key) {
            Some((_, generation)) => *generation = (*generation).min(self.generation),
            None => touched.push((key.to_vec(), self.generation)),
        }
    }

    /// An entry in a state, as it is seen on some ways.
    pub(crate) fn entry(&mut self, world: &World, table: TableId, key: &[Sym], way: Term) -> Entry {
        self.touch_key(table, key);
        let state = world.tables[table.index()].clone();
        let columns = value_sorts(self.program, table).len();
        let terms = self.key_terms(key);
        let sharing = shares(self.program, table);
        let forever = matches!(self.program.tables[table.index()].lifetime, Lifetime::Forever) && !sharing;
        let (mut present, mut value, mut deadline) = match &state.base {
            None => {
                let value = (0..columns).map(|c| self.start_value(table, c)).collect::<Vec<_>>();
                (self.terms.bool(false), value, self.terms.int(0))
            }
            Some(base) => {
                let present = if state.everywhere {
                    self.terms.bool(true)
                } else {
                    self.function(table, &format!("{base}.has"), &terms, Sort::Bool)
                };
                let value = (0..columns).map(|c| self.base_value(table, base, c, &terms)).collect::<Vec<_>>();
                let deadline = if forever {
                    self.terms.int(0)
                } else {
                    self.function(table, &format!("{base}.deadline"), &terms, Sort::Int)
                };
                if !forever {
                    let zero = self.terms.int(0);
                    let fact = self.terms.op(Op::IntLe, zero, deadline);
                    self.fact(fact);
                }
                if sharing && let Some(shared) = &world.tables[root(self.program, table).index()].shared {
                    // Numbers were given before.
                    let base_next = shared.base.clone().map(|b| self.terms.var(&format!("{b}.deadlines"), Sort::Int));
                    if let Some(next) = base_next {
                        let known = self.terms.op(Op::IntLt, deadline, next);
                        let fact = self.terms.implies(present, known);
                        self.fact_about(fact, &[deadline]);
                    }
                    if root(self.program, table) == table {
                        self.own_deadline(Slot { base: base.clone(), present, key: terms.clone(), number: deadline });
                    }
                }
                (present, value, deadline)
            }
        };
        for change in state.log.since(&Log::default()) {
            let here = self.terms.all_equal(&change.key, key);
            let guard = match self.under(way, change.guard) {
                Some(true) => here,
                Some(false) => continue,
                None => self.terms.and(&[change.guard, here]),
            };
            if let Some(new) = change.present {
                present = self.terms.ite(guard, new, present);
            }
            if let Some(new) = &change.value {
                for (old, new) in value.iter_mut().zip(new) {
                    *old = self.terms.select(guard, *new, *old);
                }
            }
            if let Some(new) = change.deadline {
                deadline = self.terms.ite(guard, new, deadline);
            }
        }
        if forever {
            return Entry { live: present, value, deadline: None, slot: None };
        }
        let slot = sharing.then_some(deadline);
        if let Some(slot) = slot {
            deadline = self.shared_deadline(world, table, slot, way);
        }
        let tick = world.ticks[table.index()];
        let alive = self.terms.op(Op::IntLt, tick, deadline);
        let live = self.terms.and(&[present, alive]);
        Entry { live, value, deadline: Some(deadline), slot }
    }

    /// Each entry has a deadline of its own, which no other entry of its table has.
    fn own_deadline(&mut self, slot: Slot) {
        if self.generation > 1 || self.slots.iter().any(|known| known.present == slot.present) {
            return;
        }
        for other in self.slots.clone().iter().filter(|other| other.base == slot.base) {
            let same = self.terms.eq(other.number, slot.number);
            let given = self.terms.and(&[slot.present, other.present, same]);
            let one = self.terms.all_eq(&slot.key, &other.key);
            let fact = self.terms.implies(given, one);
            self.fact_about(fact, &[other.number, slot.number]);
        }
        self.slots.push(slot);
    }

    /// A deadline that may be shared, by its number.
    pub(crate) fn shared_deadline(&mut self, world: &World, table: TableId, slot: Term, way: Term) -> Term {
        let of = root(self.program, table);
        let Some(shared) = world.tables[of.index()].shared.clone() else { return self.terms.int(0) };
        let zero = self.terms.int(0);
        let mut deadline = match &shared.base {
            None => zero,
            Some(base) => {
                let symbol = self.terms.symbol(&format!("{base}.at"), &[Sort::Int], Sort::Int);
                let deadline = self.terms.apply(symbol, &[slot]);
                let fact = self.terms.op(Op::IntLe, zero, deadline);
                self.fact(fact);
                deadline
            }
        };
        for change in shared.log.since(&Log::default()) {
            let [Sym::Int(number)] = change.key[..] else { continue };
            let here = self.terms.eq(number, slot);
            let guard = match self.under(way, change.guard) {
                Some(true) => here,
                Some(false) => continue,
                None => self.terms.and(&[change.guard, here]),
            };
            if let Some(new) = change.deadline {
                deadline = self.terms.ite(guard, new, deadline);
            }
        }
        deadline
    }

    /// An array's element, a cell's or a counter's scalars.
    pub(crate) fn element(&mut self, world: &World, table: TableId, index: &[Sym], way: Term) -> Vec<Sym> {
        self.entry(world, table, index, way).value
    }

    /// A state with a change to one table.
    pub(crate) fn changed(&mut self, world: &mut World, table: TableId, change: impl FnOnce(&mut TableState)) {
        world.id = self.stamp();
        change(&mut Rc::make_mut(&mut world.tables)[table.index()]);
    }

    /// One state on the ways where `c` holds, another on the others; both came from `before`.
    pub(crate) fn merge_worlds(&mut self, before: &World, c: Term, a: &World, b: &World) -> World {
        if a.id == b.id {
            return a.clone();
        }
        let mut merged = b.clone();
        merged.id = self.stamp();
        let tables = Rc::make_mut(&mut merged.tables);
        for (index, table) in tables.iter_mut().enumerate() {
            let (then, from) = (&a.tables[index], &before.tables[index]);
            if then.log.is(&from.log) && then.count == from.count && then.shared.is_none() {
                continue;
            }
            for change in then.log.since(&from.log) {
                table.log.push(change);
            }
            table.count = self.terms.ite(c, then.count, table.count);
            if let (Some(shared), Some(then), Some(from)) = (&mut table.shared, &then.shared, &from.shared) {
                for change in then.log.since(&from.log) {
                    shared.log.push(change);
                }
                shared.next = self.terms.ite(c, then.next, shared.next);
            }
        }
        merged
    }
}
