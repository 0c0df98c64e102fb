//! What is known at a place of the program: variables, headers and bytes that were read; and how that meets where ways meet.

use super::super::lir::{Arg, BlockId, Type, Value};
use super::linear::Linear;
use super::{Lower, Lowering, whence};
use grv_lang::ir::validate::ghost_locals;
use grv_lang::ir::{Body, ElementId, PortId, Program, TableId};
use std::collections::BTreeSet;
use std::rc::Rc;

/// Where a header is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// A pointer into the packet, and how many bytes before the header it points.
    pub(super) pointer: Value,
    pub(super) ahead: i32,
    /// Its first byte, counted from the frame's start.
    pub(super) start: Linear,
    /// Its bytes.
    pub(super) length: Linear,
    /// Where its body ends, and where the body ends that it is in.
    pub(super) end: Linear,
    pub(super) limit: Linear,
}

impl Place {
    /// Where the next header may start.
    pub(super) fn after(&self) -> Linear {
        self.start.plus(&self.length, 1)
    }
}

/// The variables of a handler that is being run.
#[derive(Clone)]
pub(super) struct Frame<'p> {
    pub(super) body: &'p Body,
    pub(super) element: ElementId,
    /// Which variables are there for specifications only.
    pub(super) ghost: Rc<[bool]>,
    pub(super) locals: Vec<Option<Arg>>,
    pub(super) places: Vec<Option<Place>>,
}

impl<'p> Frame<'p> {
    /// Nothing is assigned or found.
    pub(super) fn new(program: &Program, body: &'p Body, element: ElementId) -> Frame<'p> {
        let ghost = ghost_locals(program, body).into();
        Frame { body, element, ghost, locals: vec![None; body.locals.len()], places: vec![None; body.handles.len()] }
    }
}

/// Bytes of the packet that were read: the pointer, bits from there, width; and the number.
pub(super) type Read = (Value, i64, u8, Arg);

/// An entry that the step has looked at, and what is to become of it: changes of one entry are collected, and take effect
/// at once, see [`super::entries`].
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) table: TableId,
    pub(super) key: Vec<Arg>,
    /// The entry's value; null if it is not there.
    pub(super) entry: Value,
    /// Its word as it was read, or as it is by now, and as it is to be.
    pub(super) word: Arg,
    pub(super) new: Arg,
    /// By column: those beside the word, as they are to be; zero for the others.
    pub(super) beside: Vec<Arg>,
    /// Whether those in memory are others.
    pub(super) dirty: bool,
    /// Whether it is live as it is to be; not known where ways met on which it is and is not.
    pub(super) live: Option<bool>,
    /// Where to begin again if it has changed meanwhile; nowhere, if something was done since that cannot be done twice.
    pub(super) retry: Option<Retry>,
    /// If it is to be made, should it not be there: where to go on if there is no room.
    pub(super) failed: Option<BlockId>,
}

/// A cell that the step has read, and what is to become of it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct CellSeen {
    pub(super) table: TableId,
    pub(super) old: Arg,
    pub(super) new: Arg,
    pub(super) retry: Option<Retry>,
}

/// A loop that is gone through a number of times at most: its head, and how often that was.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Retry {
    pub(super) again: BlockId,
    pub(super) attempt: Arg,
}

/// What is known at a place.
#[derive(Clone)]
pub(super) struct Env<'p> {
    /// The handlers being run, the innermost last.
    pub(super) frames: Vec<Frame<'p>>,
    /// The packet's first byte and its end.
    pub(super) data: Value,
    pub(super) end: Value,
    /// Bytes of the frame.
    pub(super) length: Option<Arg>,
    /// The step's time, if it was read on any way to here.
    pub(super) now: Option<Arg>,
    /// Whether there are ways to here on which it was not: then it is 0.
    pub(super) unread: bool,
    /// Its time by the coarse clock.
    pub(super) coarse: Option<Arg>,
    /// The generation of the control tables.
    pub(super) generation: Option<Arg>,
    /// Cells of that generation that were read, with what is in them: it stays so.
    pub(super) settings: Vec<(TableId, Arg)>,
    /// Ports that the packet may have arrived at, a bit each.
    pub(super) ports: u64,
    /// Those that it may have arrived at as far as words tell ([`Env::told`]). Code is not made for them: it would be there once for each port.
    pub(super) from: u64,
    /// Words that are other numbers for packets of other ports: the word, a number, and the ports of packets for which it may be that.
    pub(super) told: Vec<(Value, u64, u64)>,
    /// Ports that the packet was sent to, a bit each.
    pub(super) sent: u64,
    /// Whether more will be sent of the packet as it is: it must not be changed.
    pub(super) kept: bool,
    /// Whether fields were written that the places of headers depend on.
    pub(super) moved: bool,
    pub(super) seen: Option<Seen>,
    pub(super) cell: Option<CellSeen>,
    /// Entries that handlers write, and that the step has only looked at.
    pub(super) looked: Vec<(TableId, Vec<Arg>)>,
    /// Whether the step has changed an entry.
    pub(super) written: bool,
    /// Elements that the packet came to.
    pub(super) visited: Rc<BTreeSet<ElementId>>,
    pub(super) reads: Vec<Read>,
    /// What is not negative.
    pub(super) facts: Vec<Linear>,
    /// How many bytes behind a pointer were compared with the packet's end.
    pub(super) checked: Vec<(Value, i32)>,
}

impl<'p> Env<'p> {
    /// The port that the packet arrived at, if it is the same on all ways to here.
    pub(super) fn port(&self) -> Option<PortId> {
        (self.ports.count_ones() == 1).then(|| PortId(self.ports.trailing_zeros()))
    }

    /// The innermost handler's variables.
    pub(super) fn frame(&self) -> &Frame<'p> {
        // There is always one: a handler is entered with its frame, and left with its env.
        &self.frames[self.frames.len() - 1]
    }

    pub(super) fn frame_mut(&mut self) -> &mut Frame<'p> {
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }
}

/// A way that is not at its end: what is known, and the block that it goes on in.
#[derive(Clone)]
pub(super) struct Open<'p> {
    pub(super) env: Env<'p>,
    pub(super) block: BlockId,
}

/// Something that ways that meet may know differently.
enum Cell {
    Word(Arg),
    Pointer(Value),
}

impl<'p> Lower<'p> {
    /// Lets ways meet that sent the same; goes on in one block. There is at least one.
    pub(super) fn join(&mut self, mut opens: Vec<Open<'p>>) -> Lowering<Env<'p>> {
        if opens.len() == 1
            && let Some(open) = opens.pop()
        {
            self.b.enter(open.block);
            self.arrived_at(open.env.port());
            return Ok(open.env);
        }
        // What is asked of the target once a step must be the same on all ways.
        if opens.iter().any(|open| open.env.now.is_some()) {
            for open in &mut opens {
                // It is read when it is asked for: most ways that did not need it so far never do.
                open.env.unread |= open.env.now.is_none();
                open.env.now.get_or_insert(Arg::Number(0));
            }
        }
        if let Some(tick) = self.coarse.filter(|_| opens.iter().any(|open| open.env.coarse.is_some())) {
            for open in &mut opens {
                self.b.enter(open.block);
                self.coarse(&mut open.env, tick);
                open.block = self.b.here();
            }
        }
        if opens.iter().any(|open| open.env.generation.is_some()) {
            for open in &mut opens {
                self.b.enter(open.block);
                self.generation(&mut open.env);
                open.block = self.b.here();
            }
        }
        self.meet_seen(&mut opens)?;
        let block = self.b.block();
        let mut meet = Meet { params: Vec::new(), block };
        let mut env = opens[0].env.clone();
        env.kept = opens.iter().any(|open| open.env.kept);
        env.moved = opens.iter().any(|open| open.env.moved);
        env.written = opens.iter().any(|open| open.env.written);
        env.unread = opens.iter().any(|open| open.env.unread);
        env.ports = opens.iter().fold(0, |ports, open| ports | open.env.ports);
        env.from = opens.iter().fold(0, |ports, open| ports | open.env.from);
        self.arrived_at(env.port());
        for open in &opens[1..] {
            let more = open.env.looked.iter().filter(|looked| !opens[0].env.looked.contains(looked));
            env.looked.extend(more.cloned());
        }
        // Where the packet has been on all ways that depend on what it found there, or on all.
        let busy = |open: &&Open<'p>| open.env.written || !open.env.looked.is_empty();
        let any = opens.iter().any(|open| busy(&open));
        let mut visited = opens.iter().filter(|open| busy(open) == any).map(|open| &open.env.visited);
        if let Some(first) = visited.next() {
            let common = visited.fold((**first).clone(), |common, other| common.intersection(other).copied().collect());
            env.visited = Rc::new(common);
        }
        if let Some(cell) = &mut env.cell {
            let old = self.word(&mut meet, &opens, |env| env.cell.as_ref().map(|cell| cell.old));
            let new = self.word(&mut meet, &opens, |env| env.cell.as_ref().map(|cell| cell.new));
            (cell.old, cell.new) = (old.unwrap_or(cell.old), new.unwrap_or(cell.new));
        }
        if let Some(seen) = &mut env.seen {
            seen.failed = opens.iter().find_map(|open| open.env.seen.as_ref()?.failed);
            seen.dirty = opens.iter().any(|open| open.env.seen.as_ref().is_some_and(|seen| seen.dirty));
            let word = self.word(&mut meet, &opens, |env| env.seen.as_ref().map(|seen| seen.word));
            let new = self.word(&mut meet, &opens, |env| env.seen.as_ref().map(|seen| seen.new));
            (seen.word, seen.new) = (word.unwrap_or(seen.word), new.unwrap_or(seen.new));
            let entry = self.pointer(&mut meet, &opens, |env| env.seen.as_ref().map(|seen| seen.entry));
            seen.entry = entry.unwrap_or(seen.entry);
            for column in 0..seen.beside.len() {
                let met = self.word(&mut meet, &opens, |env| env.seen.as_ref()?.beside.get(column).copied());
                seen.beside[column] = met.unwrap_or(seen.beside[column]);
            }
            let live = |open: &Open<'p>| open.env.seen.as_ref().and_then(|seen| seen.live);
            seen.live = live(&opens[0]).filter(|first| opens.iter().all(|open| live(open) == Some(*first)));
        }
        env.data = self.pointer(&mut meet, &opens, |env| Some(env.data)).unwrap_or(env.data);
        env.end = self.pointer(&mut meet, &opens, |env| Some(env.end)).unwrap_or(env.end);
        env.length = self.word(&mut meet, &opens, |env| env.length);
        env.now = self.word(&mut meet, &opens, |env| env.now);
        env.coarse = self.word(&mut meet, &opens, |env| env.coarse);
        env.generation = self.word(&mut meet, &opens, |env| env.generation);
        env.settings.retain(|cell| opens.iter().all(|open| open.env.settings.contains(cell)));
        for depth in 0..env.frames.len() {
            for local in 0..env.frames[depth].locals.len() {
                let met = self.word(&mut meet, &opens, |env| env.frames.get(depth)?.locals.get(local).copied()?);
                env.frames[depth].locals[local] = met;
            }
            for handle in 0..env.frames[depth].places.len() {
                let met = self.place(&mut meet, &mut opens, |env| env.frames.get(depth)?.places.get(handle)?.as_ref());
                env.frames[depth].places[handle] = met;
            }
        }
        env.told = whence::met(&meet.params, &opens);
        env.reads = self.met_reads(&meet, &opens);
        env.facts = met_facts(&meet, &opens);
        let checked = |(p, n): &(Value, i32)| {
            let pointers = meet.back(*p, opens.len());
            let known = |(open, p): (&Open<'p>, &Value)| open.env.checked.iter().any(|(q, m)| p == q && n <= m);
            opens.iter().zip(&pointers).all(known)
        };
        let first = opens[0].env.checked.iter().map(|(p, n)| (meet.forth(*p), *n));
        env.checked = first.filter(checked).collect();
        for (index, open) in opens.iter().enumerate() {
            self.b.enter(open.block);
            self.b.jump(block, meet.params.iter().map(|(_, args)| args[index]).collect());
        }
        self.b.enter(block);
        Ok(env)
    }

    /// Where ways have not looked at the same entry, or know different things of it, what is to become of it takes effect now.
    fn meet_seen(&mut self, opens: &mut [Open<'p>]) -> Lowering<()> {
        let same = |a: &Seen, b: &Seen| (a.table, &a.key, a.retry) == (b.table, &b.key, b.retry);
        let same_cell = |a: &CellSeen, b: &CellSeen| (a.table, a.retry) == (b.table, b.retry);
        let (first, cell) = (opens[0].env.seen.clone(), opens[0].env.cell.clone());
        let alike = |open: &Open<'p>| {
            let entries = match (&first, &open.env.seen) {
                (Some(a), Some(b)) => same(a, b),
                (a, b) => a.is_none() && b.is_none(),
            };
            let cells = match (&cell, &open.env.cell) {
                (Some(a), Some(b)) => same_cell(a, b),
                (a, b) => a.is_none() && b.is_none(),
            };
            entries && cells
        };
        // One that is live is there: nothing is to be made on ways on which it is.
        let made = opens.iter().find_map(|open| open.env.seen.as_ref()?.failed);
        let as_made = |open: &Open<'p>| {
            let there = |seen: &Seen| seen.failed == made || seen.failed.is_none() && seen.live == Some(true);
            open.env.seen.as_ref().is_none_or(there)
        };
        if opens.iter().all(|open| alike(open) && as_made(open)) {
            return Ok(());
        }
        for open in opens {
            self.b.enter(open.block);
            self.settle(&mut open.env)?;
            self.forget(&mut open.env);
            open.block = self.b.here();
        }
        Ok(())
    }

    /// A word that all ways know: the same, or a parameter. Unknown if one does not know it.
    fn word(&mut self, meet: &mut Meet, opens: &[Open<'p>], of: impl Fn(&Env<'p>) -> Option<Arg>) -> Option<Arg> {
        let values: Vec<Arg> = opens.iter().map(|open| of(&open.env)).collect::<Option<_>>()?;
        let cells: Vec<Cell> = values.iter().map(|arg| Cell::Word(*arg)).collect();
        self.cell(meet, cells)
    }

    fn pointer(&mut self, meet: &mut Meet, opens: &[Open<'p>], of: impl Fn(&Env<'p>) -> Option<Value>) -> Option<Value> {
        let values: Vec<Value> = opens.iter().map(|open| of(&open.env)).collect::<Option<_>>()?;
        self.cell(meet, values.into_iter().map(Cell::Pointer).collect())?.value()
    }

    /// What is the same on all ways, or a parameter that is it.
    fn cell(&mut self, meet: &mut Meet, cells: Vec<Cell>) -> Option<Arg> {
        let args: Vec<Arg> = cells
            .iter()
            .map(|cell| match cell {
                Cell::Word(arg) => *arg,
                Cell::Pointer(value) => Arg::Value(*value),
            })
            .collect();
        let first = *args.first()?;
        if args.iter().all(|arg| *arg == first) {
            return Some(first);
        }
        if let Some((param, _)) = meet.params.iter().find(|(_, known)| *known == args) {
            return Some(Arg::Value(*param));
        }
        let bits = args.iter().map(|arg| self.b.bits(*arg)).max()?;
        let ty = if matches!(cells.first(), Some(Cell::Pointer(_))) { self.b.ty(first) } else { Type::Word };
        let param = self.b.param(meet.block, ty, bits);
        meet.params.push((param, args));
        Some(Arg::Value(param))
    }

    /// A header's place that all ways know.
    fn place(
        &mut self,
        meet: &mut Meet,
        opens: &mut [Open<'p>],
        of: impl for<'e> Fn(&'e Env<'p>) -> Option<&'e Place>,
    ) -> Option<Place> {
        let mut places: Vec<Place> = opens.iter().map(|open| of(&open.env).cloned()).collect::<Option<_>>()?;
        let first = places.first()?.clone();
        if places.iter().all(|place| *place == first) {
            return Some(first);
        }
        if places.iter().any(|place| place.ahead != first.ahead) {
            for (place, open) in places.iter_mut().zip(opens.iter_mut()) {
                self.b.enter(open.block);
                place.pointer = self.b.advance(place.pointer, Arg::Number(place.ahead as u64));
                place.ahead = 0;
            }
        }
        let ahead = places.first()?.ahead;
        let pointers = places.iter().map(|place| Cell::Pointer(place.pointer)).collect();
        let pointer = self.cell(meet, pointers)?.value()?;
        let mut sum = |of: &dyn Fn(&Place) -> &Linear| {
            let sums: Vec<Linear> = places.iter().map(|place| of(place).clone()).collect();
            self.sum(meet, opens, &sums)
        };
        Some(Place {
            pointer,
            ahead,
            start: sum(&|p| &p.start)?,
            length: sum(&|p| &p.length)?,
            end: sum(&|p| &p.end)?,
            limit: sum(&|p| &p.limit)?,
        })
    }

    /// A sum that all ways know. Where they differ in words only, the words meet: then it is still known what it is a multiple of.
    fn sum(&mut self, meet: &mut Meet, opens: &mut [Open<'p>], sums: &[Linear]) -> Option<Linear> {
        let first = sums.first()?;
        if sums.iter().all(|sum| sum == first) {
            return Some(first.clone());
        }
        let ordered: Vec<Vec<(i64, Value)>> = sums
            .iter()
            .map(|sum| {
                let mut terms: Vec<(i64, Value)> = sum.terms.iter().map(|(value, c)| (*c, *value)).collect();
                terms.sort_unstable();
                terms
            })
            .collect();
        let shape = |terms: &[(i64, Value)]| terms.iter().map(|(c, _)| *c).collect::<Vec<_>>();
        let alike =
            |(sum, terms): (&Linear, &Vec<(i64, Value)>)| sum.constant == first.constant && shape(terms) == shape(&ordered[0]);
        if sums.iter().zip(&ordered).all(alike) {
            let mut met = Linear::number(first.constant);
            for (index, (coefficient, _)) in ordered[0].iter().enumerate() {
                let cells = ordered.iter().map(|terms| Cell::Word(Arg::Value(terms[index].1))).collect();
                met = met.plus(&Linear::word(self.cell(meet, cells)?)?, *coefficient);
            }
            return Some(met);
        }
        let mut cells = Vec::new();
        for (sum, open) in sums.iter().zip(opens.iter_mut()) {
            self.b.enter(open.block);
            cells.push(Cell::Word(sum.value(&mut self.b)));
            open.block = self.b.here();
        }
        Linear::word(self.cell(meet, cells)?)
    }

    /// Bytes that were read on all ways, where what was read is the same or has met.
    fn met_reads(&self, meet: &Meet, opens: &[Open<'p>]) -> Vec<Read> {
        let mut met = Vec::new();
        for (pointer, at, width, value) in &opens[0].env.reads {
            let pointer = meet.forth(*pointer);
            let value = meet.forth_arg(*value);
            let (pointers, values) = (meet.back(pointer, opens.len()), meet.back_arg(value, opens.len()));
            let known =
                |(index, open): (usize, &Open<'p>)| open.env.reads.contains(&(pointers[index], *at, *width, values[index]));
            if opens.iter().enumerate().all(known) {
                met.push((pointer, *at, *width, value));
            }
        }
        met
    }
}

/// What is not negative on all ways.
fn met_facts(meet: &Meet, opens: &[Open<'_>]) -> Vec<Linear> {
    let moved = |fact: &Linear, of: &dyn Fn(Value) -> Arg| {
        fact.terms
            .iter()
            .try_fold(Linear::number(fact.constant), |sum, (value, c)| Some(sum.plus(&Linear::word(of(*value))?, *c)))
    };
    let mut met = Vec::new();
    for fact in &opens[0].env.facts {
        let Some(fact) = moved(fact, &|value| Arg::Value(meet.forth(value))) else { continue };
        let known = |(index, open): (usize, &Open<'_>)| {
            let there = moved(&fact, &|value| meet.back_arg(Arg::Value(value), opens.len())[index]);
            there.is_some_and(|there| there.is_known(&open.env.facts))
        };
        if opens.iter().enumerate().all(known) {
            met.push(fact);
        }
    }
    met
}

/// A block where ways meet: its parameters, and what each way gives for them.
struct Meet {
    params: Vec<(Value, Vec<Arg>)>,
    block: BlockId,
}

impl Meet {
    /// What a value of the first way is behind.
    fn forth(&self, value: Value) -> Value {
        let met = self.params.iter().find(|(_, args)| args.first() == Some(&Arg::Value(value)));
        met.map_or(value, |(param, _)| *param)
    }

    fn forth_arg(&self, arg: Arg) -> Arg {
        arg.value().map_or(arg, |value| Arg::Value(self.forth(value)))
    }

    /// What a value behind is on each way.
    fn back_arg(&self, arg: Arg, ways: usize) -> Vec<Arg> {
        let met = self.params.iter().find(|(param, _)| arg == Arg::Value(*param));
        met.map_or_else(|| vec![arg; ways], |(_, args)| args.clone())
    }

    fn back(&self, value: Value, ways: usize) -> Vec<Value> {
        self.back_arg(Arg::Value(value), ways).iter().map(|arg| arg.value().unwrap_or(value)).collect()
    }
}
