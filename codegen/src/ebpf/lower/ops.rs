//! Operations on tables: which is done how, keys in memory, and tables that handlers only read.

use super::super::lir::{Arg, Bin, BlockId, Cmp, Helper, Type};
use super::super::maps::{Kind, Layout, Place};
use super::entries::LATEST;
use super::env::{Env, Frame, Open, Retry};
use super::tables::{Blocks, Keeping, Table};
use super::{Lower, Lowering};
use grv_lang::diagnostics::Code;
use grv_lang::ir::{Expr, LifetimeFn, LocalId, Scalar, Stmt, StmtKind, TableId};
use grv_lang::span::Span;

/// How often an operation begins again because others changed the same entry meanwhile.
pub(super) const TRIES: u64 = 4;

/// A way on which an operation ended, and its results.
pub(super) type Outcome<'p> = (Open<'p>, Vec<Arg>);

impl<'p> Lower<'p> {
    /// An operation on a table: the ways on which it ended. What it found or did is known on each, and most often the next thing
    /// is to ask for it; so they stay apart.
    pub(super) fn table_stmt(&mut self, mut env: Env<'p>, stmt: &'p Stmt) -> Lowering<Vec<Open<'p>>> {
        let span = stmt.span;
        let refused = |lower: &Self, what: &str| Err(lower.refuse(Code::TargetOperation, span, what.to_string()));
        let mut assigned = Vec::new();
        let outcomes = match &stmt.kind {
            StmtKind::Lookup { table, key, touch, found, value } => {
                assigned.push(*found);
                assigned.extend(value);
                let key = self.evals(&mut env, key, span)?;
                let kept = self.kept(*table, span)?;
                match kept.keeping.clone() {
                    Keeping::Entries(entries) => self.look_up(env, *table, &entries, &key, *touch, span)?,
                    Keeping::Mirror(_) | Keeping::Image(_) if *touch => {
                        return refused(self, "refreshing an entry by another that shares its deadline");
                    }
                    Keeping::Mirror(mirror) => self.look_up_mirror(env, *table, &mirror, &key, span)?,
                    Keeping::Image(image) => self.look_up_image(env, *table, &image, &key, span)?,
                    Keeping::Control => self.control(env, &kept, &key, &self.widths_of(*table)),
                    Keeping::Feed(near) => self.feed_entry(env, &kept, near.as_ref(), &key, &self.widths_of(*table)),
                    _ => return refused(self, "looking such a table up"),
                }
            }
            StmtKind::Longest { table, key, found, length, value } => {
                assigned.extend([*found, *length]);
                assigned.extend(value);
                let key = self.evals(&mut env, std::slice::from_ref(key), span)?;
                let kept = self.kept(*table, span)?;
                let widths = [&[8], self.widths_of(*table).as_slice()].concat();
                match &kept.keeping {
                    Keeping::Prefixes(Some(flat)) => self.longest(env, &kept, flat, key[0], &widths),
                    _ => self.control(env, &kept, &key, &widths),
                }
            }
            StmtKind::ReadArray { table, index, value } => {
                let index = self.evals(&mut env, std::slice::from_ref(index), span)?;
                let kept = self.kept(*table, span)?;
                assigned.extend(value);
                match &kept.keeping {
                    Keeping::Control | Keeping::Globals(_) => self.control_element(env, &kept, index[0], &self.widths_of(*table)),
                    Keeping::Blocks(blocks) => self.element(env, &kept, blocks, index[0], &self.widths_of(*table)),
                    Keeping::Rows(rows) => self.row_at(env, &kept, rows, index[0], &self.widths_of(*table)),
                    _ => return refused(self, "reading such an array"),
                }
            }
            StmtKind::Insert { entries, ok } => {
                assigned.push(*ok);
                let [entry] = entries.as_slice() else {
                    let outcomes = self.insert_both(env, entries, span)?;
                    return Ok(assign(&assigned, outcomes));
                };
                let (key, value) = (self.evals(&mut env, &entry.key, span)?, self.evals(&mut env, &entry.value, span)?);
                let Keeping::Entries(kept) = self.kept(entry.table, span)?.keeping else {
                    return refused(self, "inserting into such a table");
                };
                self.insert(env, entry.table, &kept, &key, &value, entry.or_update, span)?
            }
            StmtKind::Remove { table, key } => {
                let key = self.evals(&mut env, key, span)?;
                let Keeping::Entries(kept) = self.kept(*table, span)?.keeping else {
                    return refused(self, "removing from such a table");
                };
                self.remove(env, *table, &kept, &key, span)?
            }
            StmtKind::Take { table, key, amount, result } => {
                assigned.push(*result);
                let key = self.evals(&mut env, key, span)?;
                let amount = self.eval(&mut env, amount, span)?;
                let Keeping::Bucket(bucket) = self.kept(*table, span)?.keeping else {
                    return refused(self, "taking from such a table");
                };
                self.take(env, *table, &bucket, &key, amount, span)?
            }
            StmtKind::Count { table, index, amount } => {
                let index = self.evals(&mut env, std::slice::from_ref(index), span)?;
                let amount = self.eval(&mut env, amount, span)?;
                let kept = self.kept(*table, span)?;
                self.goes_on(&mut env)?;
                self.write_key(&kept, &index, None);
                let entry = self.find(&kept);
                let (there, done) = (self.b.block(), self.b.block());
                self.b.branch(Cmp::Ne, entry, Arg::Number(0), there, done);
                self.b.enter(there);
                self.b.count(entry, 0, amount);
                self.b.jump(done, Vec::new());
                vec![(Open { env, block: done }, Vec::new())]
            }
            StmtKind::SetValue { table, key, value } => {
                let (key, value) = (self.evals(&mut env, key, span)?, self.evals(&mut env, value, span)?);
                let Keeping::Entries(kept) = self.kept(*table, span)?.keeping else {
                    return refused(self, "changing such a table");
                };
                self.set_value(env, *table, &kept, &key, &value, span)?
            }
            StmtKind::ExpireAt { table, key, at } => {
                let key = self.evals(&mut env, key, span)?;
                let Keeping::Entries(kept) = self.kept(*table, span)?.keeping else {
                    return refused(self, "setting deadlines in such a table");
                };
                let deadline = self.deadline_at(&mut env, kept.clock, at, span)?;
                self.expire_at(env, *table, &kept, &key, deadline, span)?
            }
            StmtKind::ReadCounter { .. } => return refused(self, "reading a counter"),
            StmtKind::ReadCell { table, value } => {
                assigned.extend(value);
                let kept = self.kept(*table, span)?;
                if let Keeping::Control | Keeping::Globals(_) = kept.keeping {
                    if let Some((_, value)) = env.settings.iter().find(|(of, _)| of == table).copied() {
                        return Ok(assign(&assigned, vec![(Open { env, block: self.b.here() }, vec![value])]));
                    }
                    let mut outcomes = self.control_element(env, &kept, Arg::Number(0), &self.widths_of(*table));
                    for (open, read) in &mut outcomes {
                        open.env.settings.extend(read.iter().map(|value| (*table, *value)));
                    }
                    return Ok(assign(&assigned, outcomes));
                }
                let value = self.read_cell(&mut env, *table, span)?;
                vec![(Open { env, block: self.b.here() }, vec![value])]
            }
            StmtKind::WriteCell { table, value } => {
                let value = self.evals(&mut env, value, span)?;
                let [value] = value.as_slice() else { return refused(self, "a cell of several numbers") };
                self.write_cell(&mut env, *table, *value, span)?;
                vec![(Open { env, block: self.b.here() }, Vec::new())]
            }
            StmtKind::WriteArray { .. } => return refused(self, "writing an array"),
            _ => return Err(self.broken(span, "a statement out of its place")),
        };
        Ok(assign(&assigned, outcomes))
    }

    /// An element of a generation, in its block; what is not there is as at the start.
    fn element(&mut self, mut env: Env<'p>, table: &Table, blocks: &Blocks, index: Arg, widths: &[u8]) -> Vec<Outcome<'p>> {
        let generation = self.generation(&mut env);
        let block = self.b.bin(Bin::Div, index, Arg::Number(blocks.elements.into()));
        let at = self.b.bin(Bin::Rem, index, Arg::Number(blocks.elements.into()));
        self.write_key(table, &[block], Some(generation));
        let entry = self.find(table);
        let (there, none, far) = (self.b.block(), self.b.block(), self.b.block());
        self.b.branch(Cmp::Ne, entry, Arg::Number(0), there, none);
        self.b.enter(there);
        // A remainder is small, but the kernel does not know.
        self.b.unless(Cmp::Lt, at, Arg::Number(blocks.elements.into()), far);
        let offset = self.b.bin(Bin::Mul, at, Arg::Number(blocks.element.size.into()));
        let element = entry.value().map_or(entry, |entry| Arg::Value(self.b.advance(entry, offset)));
        let found = self.numbers(element, &blocks.element, 0, widths).split_off(1);
        let there = self.b.here();
        self.b.enter(far);
        self.defect();
        let initial = blocks.initial.iter().map(|number| Arg::Number(*number)).collect();
        vec![(Open { env: env.clone(), block: there }, found), (Open { env, block: none }, initial)]
    }

    /// An element of an array of the generation that counts: its index was checked, and an array has all its elements, so that the other way is a defect.
    fn control_element(&mut self, mut env: Env<'p>, table: &Table, index: Arg, widths: &[u8]) -> Vec<Outcome<'p>> {
        if let Keeping::Globals(front) = table.keeping {
            let generation = self.generation(&mut env);
            let found = self.element_of(front, index, generation, widths);
            return vec![(Open { env, block: self.b.here() }, found)];
        }
        let mut outcomes = self.control(env, table, &[index], widths);
        if let Some((open, _)) = outcomes.pop() {
            self.b.enter(open.block);
            self.defect();
        }
        for (_, results) in &mut outcomes {
            results.remove(0);
        }
        outcomes
    }

    pub(super) fn evals(&mut self, env: &mut Env<'p>, exprs: &[Expr], span: Span) -> Lowering<Vec<Arg>> {
        exprs.iter().map(|expr| self.eval(env, expr, span)).collect()
    }

    pub(super) fn kept(&self, table: TableId, span: Span) -> Lowering<Table> {
        let kept = self.tables.get(table.index()).and_then(Option::as_ref).cloned();
        kept.ok_or_else(|| self.broken(span, "a table that is not kept"))
    }

    /// The map of a table that is kept.
    pub(super) fn map_of(&self, table: TableId) -> Option<Table> {
        self.tables.get(table.index()).and_then(Option::as_ref).cloned()
    }

    /// The widths of a value's columns.
    pub(super) fn widths_of(&self, table: TableId) -> Vec<u8> {
        self.program.tables[table.index()].value.iter().map(|column| bits_of(column.ty)).collect()
    }

    /// Numbers of a value that others wrote, of no more bits than they may have.
    pub(super) fn numbers(&mut self, entry: Arg, layout: &Layout, first: usize, widths: &[u8]) -> Vec<Arg> {
        let mut numbers = vec![Arg::Number(1)];
        for (place, width) in layout.places.iter().skip(first).zip(widths) {
            let number = self.b.load(entry, place.offset as i16, place.bytes);
            numbers.push(self.b.low(number, *width));
        }
        numbers
    }

    /// Which generation of the control tables counts, read once a step.
    pub(super) fn generation(&mut self, env: &mut Env<'p>) -> Arg {
        if let Some(generation) = env.generation {
            return generation;
        }
        let generation = match self.generation {
            Some((section, offset)) => {
                let number = self.b.load(Arg::Global(section, offset), 0, 8);
                self.b.low(number, 1)
            }
            None => Arg::Number(0),
        };
        env.generation = Some(generation);
        generation
    }

    /// Puts a key into its slot; of control tables with the number of the generation.
    pub(super) fn write_key(&mut self, table: &Table, key: &[Arg], generation: Option<Arg>) {
        let Some(map) = self.maps.map(table.map) else { return };
        let layout = map.key.clone();
        let base = Arg::Stack(self.key_slot, 0);
        self.zero_gaps(&layout, base);
        let number = |(index, place): (usize, &Place)| {
            let column = table.key.iter().position(|at| *at == index);
            match (column.and_then(|column| key.get(column)), generation) {
                (Some(value), _) => *value,
                (None, Some(generation)) if place.name == "generation" => generation,
                // The length of a key of a prefix table: all its bits.
                _ => Arg::Number(u64::from(layout.size - 4) * 8),
            }
        };
        let numbers: Vec<Arg> = layout.places.iter().enumerate().map(number).collect();
        self.store_numbers(&layout, base, &numbers);
    }

    /// Stores the first numbers of a layout.
    pub(super) fn store_numbers(&mut self, layout: &Layout, base: Arg, numbers: &[Arg]) {
        for (place, word) in self.grouped(layout, numbers) {
            if place.network {
                self.write_bytes(base, place.offset as i16, place.bytes, word);
            } else {
                self.b.store(base, place.offset as i16, place.bytes, word);
            }
        }
    }

    /// The first numbers of a layout as they are in memory: those that share bytes are one word.
    pub(super) fn grouped<'l>(&mut self, layout: &'l Layout, numbers: &[Arg]) -> Vec<(&'l Place, Arg)> {
        let mut words: Vec<(&Place, Arg)> = layout.places.iter().zip(numbers.iter().copied()).collect();
        // The upper bits first, which are moved up as the others come below them.
        words.sort_by_key(|(place, _)| (place.offset, std::cmp::Reverse(place.shift)));
        let mut whole: Vec<(&Place, Arg)> = Vec::new();
        for (place, number) in words {
            match whole.last_mut().filter(|(above, _)| above.offset == place.offset) {
                Some((above, word)) => {
                    let moved = self.b.bin(Bin::Shl, *word, Arg::Number(u64::from(above.shift - place.shift)));
                    *word = self.b.bin(Bin::Or, moved, number);
                    *above = place;
                }
                None => whole.push((place, number)),
            }
        }
        whole
    }

    /// A number in memory.
    pub(super) fn number(&mut self, entry: Arg, place: &Place) -> Arg {
        let word = self.b.load(entry, place.offset as i16, place.bytes);
        let shifted = self.b.bin(Bin::Shr, word, Arg::Number(place.shift.into()));
        self.b.low(shifted, place.bits)
    }

    /// Bytes that belong to no column are zero.
    pub(super) fn zero_gaps(&mut self, layout: &Layout, base: Arg) {
        let mut at = 0;
        for place in layout.members() {
            self.zero(base, at, place.offset);
            at = place.offset + u16::from(place.bytes);
        }
        self.zero(base, at, layout.size);
    }

    fn zero(&mut self, base: Arg, from: u16, to: u16) {
        let mut at = from;
        while at < to {
            let bytes = [8, 4, 2, 1].into_iter().find(|bytes| at.is_multiple_of(*bytes) && at + bytes <= to).unwrap_or(1);
            self.b.store(base, at as i16, bytes as u8, Arg::Number(0));
            at += bytes;
        }
    }

    /// Looks up the key in its slot.
    pub(super) fn find(&mut self, table: &Table) -> Arg {
        self.b.call(Helper::MapLookup, vec![Arg::Map(table.map), Arg::Stack(self.key_slot, 0)])
    }

    /// An entry of the generation that counts: whether it is there, and the first numbers of its value, of these widths. Not there: last.
    pub(super) fn control(&mut self, mut env: Env<'p>, table: &Table, key: &[Arg], widths: &[u8]) -> Vec<Outcome<'p>> {
        let generation = self.generation(&mut env);
        let Some(map) = self.maps.map(table.map) else { return Vec::new() };
        let (array, half, layout) = (map.kind == Kind::Array, map.entries / 2, map.value.clone());
        if let Some(front) = self.fronts.get(&table.map).copied() {
            let (far, none) = (self.b.block(), self.b.block());
            let there = self.b.block();
            let params = widths.iter().map(|width| Arg::Value(self.b.param(there, Type::Word, *width)));
            let found = std::iter::once(Arg::Number(1)).chain(params).collect();
            let numbers = self.look_in_front(front, key, generation, widths, far);
            self.b.jump(there, numbers[1..].to_vec());
            self.b.enter(far);
            self.write_key(table, key, Some(generation));
            let entry = self.find(table);
            self.b.unless(Cmp::Ne, entry, Arg::Number(0), none);
            let numbers = self.numbers(entry, &layout, 0, widths);
            self.b.jump(there, numbers[1..].to_vec());
            let none = Open { env: env.clone(), block: none };
            return vec![(Open { env, block: there }, found), (none, vec![Arg::Number(0); widths.len() + 1])];
        }
        if array {
            let shift = self.b.bin(Bin::Mul, generation, Arg::Number(half.into()));
            let index = self.b.bin(Bin::Add, key[0], shift);
            self.write_key(table, &[index], None);
        } else {
            self.write_key(table, key, Some(generation));
        }
        let entry = self.find(table);
        let (there, none) = (self.b.block(), self.b.block());
        self.b.branch(Cmp::Ne, entry, Arg::Number(0), there, none);
        self.b.enter(there);
        let found = self.numbers(entry, &layout, 0, widths);
        let none = Open { env: env.clone(), block: none };
        vec![(Open { env, block: there }, found), (none, vec![Arg::Number(0); widths.len() + 1])]
    }

    /// Goes on in a new block if the copy of the key in an entry's value is this key; in `other` if not.
    pub(super) fn same_key(&mut self, layout: &Layout, entry: Arg, key: &[Arg], other: BlockId) {
        for (place, word) in self.grouped(layout, key) {
            let copy = self.b.load(entry, place.offset as i16, place.bytes);
            self.b.unless(Cmp::Eq, copy, word, other);
        }
    }

    /// Begins a loop: goes on in its body.
    pub(super) fn retry(&mut self) -> Retry {
        let body = self.b.block();
        let attempt = Arg::Value(self.b.param(body, Type::Word, 64));
        self.b.jump(body, vec![Arg::Number(0)]);
        self.b.enter(body);
        Retry { attempt, again: body }
    }

    /// Goes through a loop once more; after too many times the packet is dropped.
    pub(super) fn try_again(&mut self, retry: &Retry) {
        let next = self.b.bin(Bin::Add, retry.attempt, Arg::Number(1));
        let (more, enough) = (self.b.block(), self.b.block());
        self.b.branch(Cmp::Lt, next, Arg::Number(TRIES), more, enough);
        self.b.enter(enough);
        self.contended();
        self.b.enter(more);
        self.b.jump(retry.again, vec![next]);
    }

    /// How long an entry with this key and value lives, in units of so many nanoseconds: at most [`LATEST`], which is as good as any time beyond it.
    #[allow(clippy::too_many_arguments, reason = "a table, an entry, and what is counted in")]
    pub(super) fn duration(
        &mut self,
        env: &mut Env<'p>,
        table: TableId,
        function: &'p LifetimeFn,
        scalars: &[Arg],
        unit: u64,
        span: Span,
    ) -> Lowering<Arg> {
        let element = self.program.tables[table.index()].element;
        let mut frame = Frame::new(self.program, &function.body, element);
        for (local, arg) in frame.locals.iter_mut().zip(scalars) {
            *local = Some(*arg);
        }
        env.frames.push(frame);
        let block = self.b.here();
        let mut opens = self.block(vec![Open { env: env.clone(), block }], &function.body.block, false)?;
        if opens.is_empty() {
            return Err(self.broken(span, "a lifetime without an end"));
        }
        let Some(result) = function.result.first() else { return Err(self.broken(span, "a lifetime without a value")) };
        self.shortest = opens.iter().map(|open| super::flow::known(&open.env, result).unwrap_or(0)).min().unwrap_or(0);
        let in_units = |lower: &mut Self, env: &mut Env<'p>| -> Lowering<Arg> {
            let most = Arg::Number(LATEST);
            let result = lower.eval(env, result, span)?;
            let result = lower.pick(Cmp::Gt, result, most, most, result, 63);
            Ok(lower.b.bin(Bin::Div, result, Arg::Number(unit)))
        };
        if let Expr::Local(local) = result {
            // Before ways meet most often a number is known.
            for open in &mut opens {
                self.b.enter(open.block);
                let units = in_units(self, &mut open.env)?;
                open.env.frame_mut().locals[local.index()] = Some(units);
                open.block = self.b.here();
            }
            *env = self.join(opens)?;
            let units = env.frame().locals[local.index()];
            env.frames.pop();
            return units.ok_or_else(|| self.broken(span, "a lifetime without a value"));
        }
        *env = self.join(opens)?;
        let units = in_units(self, env);
        env.frames.pop();
        units
    }
}

/// The ways on which an operation ended, with its results in variables.
fn assign<'p>(assigned: &[LocalId], outcomes: Vec<Outcome<'p>>) -> Vec<Open<'p>> {
    let way = |(mut open, results): Outcome<'p>| {
        for (local, result) in assigned.iter().zip(results) {
            open.env.frame_mut().locals[local.index()] = Some(result);
        }
        open
    };
    outcomes.into_iter().map(way).collect()
}

/// The width of a column's type.
pub(super) fn bits_of(ty: Scalar) -> u8 {
    match ty {
        Scalar::Bits(width) => width,
        Scalar::Bool | Scalar::Int => 1,
    }
}
