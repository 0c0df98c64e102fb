//! Arrays of the control plane that handlers search: all elements of a generation are in one value, which is looked up once, and are gone through by a pointer. Before
//! them is the index from which on all are the same, mostly what the array began with: a search needs to go no further. Where a search compares with a
//! prefix, its mask is beside its length.

use super::super::lir::{Arg, Bin, BlockId, Builder, Cmp, Type, Value, mask};
use super::super::maps::{Kind, Layout, Map, Place};
use super::super::memory::ROWS_AT;
use super::env::{Env, Open};
use super::expr::reads_time;
use super::flow::mentions;
use super::ops::Outcome;
use super::tables::{Keeping, Table};
use super::{Lower, Lowering, uses};
use grv_lang::diagnostics::Code;
use grv_lang::ir::{self, BinaryOp, Body, Expr, LocalId, Stmt, StmtKind, TableId, TableKind};
use std::collections::BTreeSet;

/// Elements in one value.
#[derive(Clone)]
pub(super) struct Rows {
    /// How many there are.
    pub(super) length: u32,
    /// How each lies in memory: the columns, then the masks.
    pub(super) element: Layout,
    pub(super) masks: Vec<Mask>,
}

/// A mask beside the length of a prefix.
#[derive(Clone, Copy)]
pub(super) struct Mask {
    /// The column that is the length.
    pub(super) column: usize,
    /// The bits of the addresses.
    pub(super) width: u8,
    /// Which place of the layout it has.
    pub(super) place: usize,
}

impl<'p> Lower<'p> {
    /// The elements in one value, if handlers search them and they have room in one.
    pub(super) fn keep_rows(&mut self, id: TableId, table: &ir::Table) -> Lowering<Option<Table>> {
        if !matches!(table.kind, TableKind::Array) || table.computed.is_some() || !uses::is_searched(self.program, id) {
            return Ok(None);
        }
        let mut element = Layout::new();
        self.columns(&mut element, &table.value, table, "value")?;
        let mut masks = Vec::new();
        for (column, width) in lengths(self.program, id) {
            let place = element.push(&format!("mask_{column}"), width);
            masks.push(Mask { column, width, place });
        }
        // Elements begin at words.
        let size = element.size.next_multiple_of(8);
        element.size = size;
        let bytes = table.capacity.checked_mul(size.into()).and_then(|bytes| bytes.checked_add(ROWS_AT.into()));
        let (Some(Ok(bytes)), Ok(length)) = (bytes.map(u16::try_from), u32::try_from(table.capacity)) else { return Ok(None) };
        if size == 0 {
            return Ok(None);
        }
        let mut key = Layout::new();
        key.push("generation", 32);
        let map = Map { name: table.name.clone(), kind: Kind::Array, key, value: Layout::bytes(bytes), entries: 2, flags: 0 };
        let map = self.maps.push(map);
        Ok(Some(Table { map, keeping: Keeping::Rows(Rows { length, element, masks }), key: Vec::new() }))
    }

    /// The value with the elements of the generation that counts.
    fn rows(&mut self, env: &mut Env<'p>, table: &Table) -> Option<Value> {
        let generation = self.generation(env);
        let never = self.b.block();
        let value = self.at(table.map, generation, never);
        let here = self.b.here();
        self.b.enter(never);
        self.defect();
        self.b.enter(here);
        value.value()
    }

    /// An element at an index, which was checked.
    pub(super) fn row_at(&mut self, mut env: Env<'p>, table: &Table, rows: &Rows, index: Arg, widths: &[u8]) -> Vec<Outcome<'p>> {
        let Some(all) = self.rows(&mut env, table) else { return Vec::new() };
        // The kernel does not know that it was.
        let far = self.b.block();
        self.b.unless(Cmp::Lt, index, Arg::Number(rows.length.into()), far);
        let offset = self.b.bin(Bin::Mul, index, Arg::Number(rows.element.size.into()));
        let offset = self.b.bin(Bin::Add, offset, Arg::Number(ROWS_AT.into()));
        let row = self.b.advance(all, offset);
        let columns: Vec<Arg> = (0..widths.len()).map(|column| self.column(rows, row, column, widths[column])).collect();
        let there = self.b.here();
        self.b.enter(far);
        self.defect();
        vec![(Open { env, block: there }, columns)]
    }

    /// A column of an element; of a length, what its mask is, too.
    fn column(&mut self, rows: &Rows, row: Value, column: usize, width: u8) -> Arg {
        let place = &rows.element.places[column];
        let number = load(&mut self.b, row, place);
        let number = self.b.low(number, width);
        for mask in rows.masks.iter().filter(|mask| mask.column == column) {
            if let Some(length) = number.value() {
                let of = load(&mut self.b, row, &rows.element.places[mask.place]);
                let of = self.b.low(of, mask.width);
                self.masks.insert(length, (mask.width, of));
            }
        }
        number
    }

    /// The first element of an array of a generation for which a test holds: a loop, of as many turns at most as the array has elements.
    pub(super) fn first(&mut self, mut env: Env<'p>, stmt: &'p Stmt) -> Lowering<Vec<Open<'p>>> {
        let StmtKind::First { table, index, value, test, holds, found } = &stmt.kind else {
            return Err(self.broken(stmt.span, "a statement out of its place"));
        };
        let span = stmt.span;
        let kept = self.kept(*table, span)?;
        let Keeping::Rows(rows) = &kept.keeping else {
            let what = format!("a search through an array of more than {} bytes", u16::MAX);
            return Err(self.refuse(Code::TargetOperation, span, what));
        };
        let search = Search { rows, value, test, holds: *holds, widths: self.widths_of(*table) };
        // What is read once a step is read before the loop, and what is done once is done.
        self.settle(&mut env)?;
        self.fix_times(&mut env, test);
        let Some(all) = self.rows(&mut env, &kept) else { return Err(self.broken(span, "an array without a value")) };
        // Elements that are the same pass the same test, if it does not ask for their indexes.
        let asked = test.iter().any(|stmt| reads_local(stmt, *index));
        let last = if asked { Arg::Number(u64::from(rows.length) - 1) } else { self.b.load(Arg::Value(all), 0, 4) };
        let first = self.b.advance(all, Arg::Number(ROWS_AT.into()));
        let (head, next, none) = (self.b.block(), self.b.block(), self.b.block());
        let at = Arg::Value(self.b.param(head, Type::Word, 32));
        let row = self.b.param(head, Type::Entry, 64);
        self.b.jump(head, vec![Arg::Number(0), Arg::Value(first)]);
        self.b.enter(head);
        // So that the kernel sees an end.
        self.b.unless(Cmp::Lt, at, Arg::Number(rows.length.into()), none);
        self.b.unless(Cmp::Le, at, last, none);
        let mut turn = env.clone();
        turn.frame_mut().locals[index.index()] = Some(at);
        let mut ways = self.test_row(turn, &search, row, next)?;
        self.b.enter(next);
        let more = self.b.bin(Bin::Add, at, Arg::Number(1));
        let below = self.b.advance(row, Arg::Number(rows.element.size.into()));
        self.b.jump(head, vec![more, Arg::Value(below)]);
        for Open { env: hit, block } in &mut ways {
            self.b.enter(*block);
            self.read_row(hit, &search, row);
            hit.frame_mut().locals[found.index()] = Some(Arg::Number(1));
            // What tests of other elements looked at was looked at, too.
            let more = hit.looked.iter().filter(|looked| !env.looked.contains(looked)).cloned().collect::<Vec<_>>();
            env.looked.extend(more);
        }
        // Without one, all is zero.
        let frame = env.frame_mut();
        for local in value.iter().chain([index, found]) {
            frame.locals[local.index()] = Some(Arg::Number(0));
        }
        ways.push(Open { env, block: none });
        Ok(ways)
    }

    /// Tests an element: the ways on which it passes; others go on in `next`.
    fn test_row(&mut self, mut env: Env<'p>, search: &Search<'_, 'p>, row: Value, next: BlockId) -> Lowering<Vec<Open<'p>>> {
        let [Stmt { kind: StmtKind::Assign { dst, value: whole }, .. }] = search.test else {
            self.read_row(&mut env, search, row);
            let block = self.b.here();
            let mut ways = Vec::new();
            for open in self.block(vec![Open { env, block }], search.test, false)? {
                self.b.enter(open.block);
                let Some(holds) = open.env.frame().locals[search.holds.index()] else {
                    return Err(self.broken(self.b.span, "a test without a result"));
                };
                let hit = self.b.block();
                self.b.branch(Cmp::Ne, holds, Arg::Number(0), hit, next);
                ways.push(Open { block: hit, ..open });
            }
            return Ok(ways);
        };
        if *dst != search.holds {
            return Err(self.broken(self.b.span, "a test without a result"));
        }
        // Of most elements one column decides: the others are not read.
        let span = self.b.span;
        let mut read = BTreeSet::new();
        let mut terms = Vec::new();
        conjuncts(whole, &mut terms);
        for term in terms {
            for (column, local) in search.value.iter().enumerate() {
                if mentions(term, *local) && read.insert(column) {
                    let number = self.column(search.rows, row, column, search.widths[column]);
                    env.frame_mut().locals[local.index()] = Some(number);
                }
            }
            let met = self.b.block();
            self.cond(&mut env.clone(), term, None, span, met, next)?;
            self.b.enter(met);
        }
        let block = self.b.here();
        Ok(vec![Open { env, block }])
    }

    /// Reads all columns of an element.
    fn read_row(&mut self, env: &mut Env<'p>, search: &Search<'_, 'p>, row: Value) {
        for (column, local) in search.value.iter().enumerate() {
            let number = self.column(search.rows, row, column, search.widths[column]);
            env.frame_mut().locals[local.index()] = Some(number);
        }
    }

    /// A step has one time: what tests need of it is read before the loop.
    fn fix_times(&mut self, env: &mut Env<'p>, test: &'p [Stmt]) {
        if !test.iter().any(|stmt| !matches!(&stmt.kind, StmtKind::Assign { value, .. } if !reads_time(value))) {
            return;
        }
        self.now(env);
        if let Some(tick) = self.coarse {
            self.coarse(env, tick);
        }
    }
}

/// The parts of a search.
struct Search<'s, 'p> {
    rows: &'s Rows,
    value: &'p [LocalId],
    test: &'p [Stmt],
    holds: LocalId,
    widths: Vec<u8>,
}

fn load(b: &mut Builder, row: Value, place: &Place) -> Arg {
    b.load(Arg::Value(row), place.offset as i16, place.bytes)
}

/// The sides of an `and`, however many there are.
fn conjuncts<'e>(expr: &'e Expr, into: &mut Vec<&'e Expr>) {
    match expr {
        Expr::Binary(BinaryOp::And, a, b) => {
            conjuncts(a, into);
            conjuncts(b, into);
        }
        other => into.push(other),
    }
}

/// Whether a statement of a test reads a variable, as far as is known.
fn reads_local(stmt: &Stmt, local: LocalId) -> bool {
    match &stmt.kind {
        StmtKind::Assign { value, .. } => mentions(value, local),
        _ => true,
    }
}

/// The columns of an array that searches use as lengths of prefixes, with the bits of the addresses.
fn lengths(program: &ir::Program, id: TableId) -> Vec<(usize, u8)> {
    let mut found = Vec::new();
    uses::statements(program, &mut |_: &Body, stmt| {
        let StmtKind::First { table, value, test, .. } = &stmt.kind else { return };
        if *table != id {
            return;
        }
        let mut note = |expr: &Expr| {
            if let Some((width, Expr::Local(local))) = prefix_mask(expr)
                && let Some(column) = value.iter().position(|of| of == local)
                && !found.contains(&(column, width))
            {
                found.push((column, width));
            }
        };
        for stmt in test {
            if let StmtKind::Assign { value, .. } = &stmt.kind {
                each(value, &mut note);
            }
        }
    });
    found
}

/// An expression and all those in it.
fn each(expr: &Expr, visit: &mut dyn FnMut(&Expr)) {
    visit(expr);
    match expr {
        Expr::Unary(_, a) | Expr::Convert(a, _) => each(a, visit),
        Expr::Binary(_, a, b) => [a, b].into_iter().for_each(|expr| each(expr, visit)),
        Expr::Select(a, b, c) => [a, b, c].into_iter().for_each(|expr| each(expr, visit)),
        Expr::Hash(_, args) => args.iter().for_each(|expr| each(expr, visit)),
        _ => {}
    }
}

/// Of the mask of a prefix, `ones << (width -| length)`: the width, and the length.
pub(super) fn prefix_mask(expr: &Expr) -> Option<(u8, &Expr)> {
    let Expr::Binary(BinaryOp::Shl, ones, by) = expr else { return None };
    let (Expr::Const(ones, ir::Scalar::Bits(width)), Expr::Binary(BinaryOp::SatSub, all, length)) = (&**ones, &**by) else {
        return None;
    };
    let Expr::Const(all, _) = &**all else { return None };
    (*width <= 64 && *ones == mask(*width).into() && *all == u128::from(*width)).then_some((*width, length))
}
