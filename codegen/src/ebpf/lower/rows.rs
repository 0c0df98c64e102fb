//! Arrays of the control plane that handlers search: all elements of a generation are in one value, which is looked up once, and are gone through by a pointer. Before
//! them is the index from which on all are the same, mostly what the array began with: a search needs to go no further. Where a search compares with a
//! prefix, its mask is beside its length.

use super::super::lir::{Arg, Bin, Builder, Cmp, Value, mask};
use super::super::maps::{Kind, Layout, Map, Place};
use super::super::memory::ROWS_AT;
use super::env::{Env, Open};
use super::ops::Outcome;
use super::tables::{Keeping, Table};
use super::{Lower, Lowering, uses};
use grv_lang::ir::{self, BinaryOp, Body, Expr, StmtKind, TableId, TableKind};

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
    pub(super) fn rows(&mut self, env: &mut Env<'p>, table: &Table) -> Option<Value> {
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
    pub(super) fn column(&mut self, rows: &Rows, row: Value, column: usize, width: u8) -> Arg {
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
}

fn load(b: &mut Builder, row: Value, place: &Place) -> Arg {
    b.load(Arg::Value(row), place.offset as i16, place.bytes)
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
