//! Cells that handlers change: a number that is read, and becomes another one by a compare-and-swap of what was read. If that fails,
//! the step begins again where it read the cell, or where it looked at the entry that it changes together with it.
//!
//! A step that changes an entry and a cell holds the entry first; then the cell's change is the commit point of both.

use super::super::lir::{Arg, BlockId, Cmp, Effect};
use super::env::{CellSeen, Env};
use super::ops::bits_of;
use super::tables::Cell;
use super::{Lower, Lowering};
use grv_lang::diagnostics::Code;
use grv_lang::ir::TableId;
use grv_lang::span::Span;

impl<'p> Lower<'p> {
    fn global(&self, table: TableId) -> Arg {
        match self.map_of(table).map(|of| of.keeping) {
            Some(super::tables::Keeping::Cell(Cell { section, offset })) => Arg::Global(section, offset.into()),
            _ => Arg::Number(0),
        }
    }

    fn cell_bits(&self, table: TableId) -> u8 {
        self.program.tables[table.index()].value.first().map_or(1, |column| bits_of(column.ty))
    }

    /// What is in a cell.
    pub(super) fn read_cell(&mut self, env: &mut Env<'p>, table: TableId, span: Span) -> Lowering<Arg> {
        match &env.cell {
            Some(cell) if cell.table == table => return Ok(cell.new),
            Some(_) => return Err(self.refuse(Code::TargetOperation, span, "reading several cells in one step".to_string())),
            None => {}
        }
        let looked = (table, Vec::new());
        if env.looked.contains(&looked) {
            let what = "reading a cell again that was read on some of the ways to here".to_string();
            return Err(self.refuse(Code::TargetOperation, span, what));
        }
        let retry = match env.seen.as_ref().and_then(|seen| seen.retry) {
            Some(retry) => retry,
            None => self.retry(),
        };
        let value = self.b.load(self.global(table), 0, 8);
        let value = self.b.low(value, self.cell_bits(table));
        if !env.written {
            env.looked.push(looked);
        }
        env.cell = Some(CellSeen { table, old: value, new: value, retry: Some(retry) });
        Ok(value)
    }

    /// What is to be in a cell.
    pub(super) fn write_cell(&mut self, env: &mut Env<'p>, table: TableId, value: Arg, span: Span) -> Lowering<()> {
        self.read_cell(env, table, span)?;
        if let Some(cell) = &mut env.cell {
            cell.new = value;
        }
        Ok(())
    }

    /// A cell that is changed by itself.
    pub(super) fn settle_cell(&mut self, env: &mut Env<'p>, cell: &CellSeen) -> Lowering<()> {
        let span = self.b.span;
        self.writes_all(env, &[(cell.table, Vec::new())], span)?;
        let taken = self.b.block();
        self.swap_cell(cell, taken);
        let here = self.b.here();
        self.b.enter(taken);
        self.begin_again(cell.retry);
        self.b.enter(here);
        env.cell = Some(CellSeen { old: cell.new, ..cell.clone() });
        Ok(())
    }

    /// Changes a cell; goes on in `taken` if another processor has done so.
    pub(super) fn swap_cell(&mut self, cell: &CellSeen, taken: BlockId) {
        self.commit(cell.table, Effect::Change);
        let was = self.b.compare_swap(self.global(cell.table), 0, cell.old, cell.new);
        self.b.unless(Cmp::Eq, was, cell.old, taken);
    }
}
