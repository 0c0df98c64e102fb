//! Ghost state in handlers: what is computed from it must not be used for anything but writing it, so that an artefact can
//! leave both out.

use super::{Check, Fault};
use crate::ir::{Block, Body, Expr, LocalId, Program, Role, StmtKind, TableId, Tier};

/// Which variables of a handler hold what depends on ghost state. A back end leaves them out, with every statement that
/// only assigns them, writes ghost tables, or branches on them.
pub fn ghost_locals(program: &Program, body: &Body) -> Vec<bool> {
    let mut taint = Taint { program, ghost: vec![false; body.locals.len()], changed: true };
    // Each round marks one variable more or is the last.
    while taint.changed {
        taint.changed = false;
        taint.block(&body.block, false);
    }
    taint.ghost
}

/// Whether a statement of a handler belongs to ghost state: it names a ghost table, reads what depends on one, or only gives values to
/// such variables. `ghost` is what [`ghost_locals`] says of the handler.
pub fn is_ghost_stmt(program: &Program, ghost: &[bool], stmt: &StmtKind) -> bool {
    let p = parts(stmt);
    let marked = |id: &LocalId| ghost.get(id.index()).copied().unwrap_or(false);
    p.reads.iter().any(marked)
        || p.tables.iter().any(|id| is_ghost(program, *id))
        || (!p.sets.is_empty() && p.sets.iter().all(marked))
}

fn is_ghost(program: &Program, id: TableId) -> bool {
    program.tables.get(id.index()).is_some_and(|t| t.role == Role::Ghost)
}

/// The variables that an expression reads.
pub(crate) fn reads(expr: &Expr, into: &mut Vec<LocalId>) {
    match expr {
        Expr::Local(id) => into.push(*id),
        Expr::Unary(_, e) | Expr::Convert(e, _) => reads(e, into),
        Expr::Binary(_, a, b) => {
            reads(a, into);
            reads(b, into);
        }
        Expr::Select(a, b, c) => {
            reads(a, into);
            reads(b, into);
            reads(c, into);
        }
        Expr::Hash(_, args) => args.iter().for_each(|a| reads(a, into)),
        Expr::Const(..)
        | Expr::Param(..)
        | Expr::Field(..)
        | Expr::Own(_)
        | Expr::HeaderLength(_)
        | Expr::PacketLength(_)
        | Expr::Now => {}
    }
}

/// The variables that a statement gives values to, blocks inside of it left out.
pub fn assigned(stmt: &StmtKind) -> Vec<LocalId> {
    parts(stmt).sets
}

/// The variables that a statement reads, blocks inside of it left out.
pub fn read(stmt: &StmtKind) -> Vec<LocalId> {
    parts(stmt).reads
}

/// What a statement reads, assigns and touches, blocks inside of it left out.
struct Parts<'b> {
    reads: Vec<LocalId>,
    sets: Vec<LocalId>,
    tables: Vec<TableId>,
    blocks: Vec<&'b Block>,
    /// Whether it is visible to anyone but specifications, apart from writes to `tables`.
    effect: bool,
}

fn parts(stmt: &StmtKind) -> Parts<'_> {
    let mut p = Parts { reads: Vec::new(), sets: Vec::new(), tables: Vec::new(), blocks: Vec::new(), effect: false };
    let mut exprs: Vec<&Expr> = Vec::new();
    match stmt {
        StmtKind::Assign { dst, value } => {
            p.sets.push(*dst);
            exprs.push(value);
        }
        StmtKind::If { cond, then, other, .. } => {
            exprs.push(cond);
            p.blocks.extend([then, other]);
        }
        StmtKind::Switch { on, cases, default } => {
            exprs.push(on);
            p.blocks.extend(cases.iter().map(|(_, _, block)| block));
            p.blocks.push(default);
        }
        // A check of ghost values is an obligation of the ghost code, and goes with it.
        StmtKind::Check { cond, .. } => exprs.push(cond),
        StmtKind::Parse { ok, malformed, .. } => {
            p.effect = true;
            p.blocks.extend([ok, malformed]);
        }
        StmtKind::SetField { value, .. } => {
            p.effect = true;
            exprs.push(value);
        }
        StmtKind::UpdateChecksum { changes, .. } => {
            p.effect = true;
            exprs.extend(changes.iter().flat_map(|c| [&c.old, &c.new]));
        }
        StmtKind::Push { fields, ok, .. } => {
            p.effect = true;
            p.sets.push(*ok);
            exprs.extend(fields);
        }
        StmtKind::VerifyChecksums { result, .. } => p.sets.push(*result),
        StmtKind::Branch { .. } => {}
        StmtKind::Pop { .. } | StmtKind::Drop { .. } => p.effect = true,
        StmtKind::Emit { args, .. } => {
            p.effect = true;
            exprs.extend(args);
        }
        StmtKind::Lookup { table, key, found, value, .. } => {
            p.tables.push(*table);
            p.sets.push(*found);
            p.sets.extend(value);
            exprs.extend(key);
        }
        StmtKind::Longest { table, key, found, length, value } => {
            p.tables.push(*table);
            p.sets.extend([found, length]);
            p.sets.extend(value);
            exprs.push(key);
        }
        StmtKind::Insert { entries, ok } => {
            p.sets.push(*ok);
            for entry in entries {
                p.tables.push(entry.table);
                exprs.extend(entry.key.iter().chain(&entry.value));
            }
        }
        StmtKind::SetValue { table, key, value } => {
            p.tables.push(*table);
            exprs.extend(key.iter().chain(value));
        }
        StmtKind::Remove { table, key } => {
            p.tables.push(*table);
            exprs.extend(key);
        }
        StmtKind::ExpireAt { table, key, at } => {
            p.tables.push(*table);
            exprs.extend(key);
            exprs.push(at);
        }
        StmtKind::Take { table, key, amount, result } => {
            p.tables.push(*table);
            p.sets.push(*result);
            exprs.extend(key);
            exprs.push(amount);
        }
        StmtKind::ReadArray { table, index, value } => {
            p.tables.push(*table);
            p.sets.extend(value);
            exprs.push(index);
        }
        StmtKind::WriteArray { table, index, value } => {
            p.tables.push(*table);
            exprs.push(index);
            exprs.extend(value);
        }
        StmtKind::ReadCell { table, value } => {
            p.tables.push(*table);
            p.sets.extend(value);
        }
        StmtKind::WriteCell { table, value } => {
            p.tables.push(*table);
            exprs.extend(value);
        }
        StmtKind::Count { table, index, amount } => {
            p.tables.push(*table);
            exprs.extend([index, amount]);
        }
        StmtKind::ReadCounter { table, index, value } => {
            p.tables.push(*table);
            p.sets.push(*value);
            exprs.push(index);
        }
        StmtKind::First { table, index, value, test, holds, found } => {
            p.tables.push(*table);
            p.sets.extend([index, found]);
            p.sets.extend(value);
            p.reads.push(*holds);
            p.blocks.push(test);
        }
        StmtKind::Choose { var, low, high, test, holds, tiers, ok, .. } => {
            // A choice is seen by whoever replays choices.
            p.effect = true;
            p.sets.extend([var, ok]);
            p.reads.push(*holds);
            p.blocks.push(test);
            exprs.extend([low, high]);
            for tier in tiers {
                match tier {
                    Tier::Exactly(value) => exprs.push(value),
                    Tier::Test(block, holds) => {
                        p.blocks.push(block);
                        p.reads.push(*holds);
                    }
                }
            }
        }
        // Not in handlers.
        StmtKind::Spec(_) | StmtKind::Test(_) => {}
    }
    exprs.into_iter().for_each(|e| reads(e, &mut p.reads));
    p
}

struct Taint<'a> {
    program: &'a Program,
    ghost: Vec<bool>,
    changed: bool,
}

impl Taint<'_> {
    fn is(&self, id: LocalId) -> bool {
        self.ghost.get(id.index()).copied().unwrap_or(false)
    }

    fn block(&mut self, block: &Block, under: bool) {
        for stmt in block {
            let p = parts(&stmt.kind);
            let ghost = under || p.reads.iter().any(|id| self.is(*id)) || p.tables.iter().any(|id| is_ghost(self.program, *id));
            if ghost {
                for id in &p.sets {
                    if let Some(mark) = self.ghost.get_mut(id.index())
                        && !*mark
                    {
                        *mark = true;
                        self.changed = true;
                    }
                }
            }
            p.blocks.into_iter().for_each(|inner| self.block(inner, ghost));
        }
    }
}

impl Check<'_> {
    /// Checks that ghost state flows nowhere but into ghost state.
    pub(super) fn ghosts(&mut self, body: &Body) {
        if !self.program.tables.iter().any(|t| t.role == Role::Ghost) {
            return;
        }
        let ghost = ghost_locals(self.program, body);
        self.ghost_block(body, &ghost, &body.block, false);
    }

    fn ghost_block(&mut self, body: &Body, ghost: &[bool], block: &Block, under: bool) {
        for stmt in block {
            let p = parts(&stmt.kind);
            let read = p.reads.iter().find(|id| ghost.get(id.index()).copied().unwrap_or(false));
            let real = p.tables.iter().any(|id| !is_ghost(self.program, *id));
            let table = p.tables.iter().find(|id| is_ghost(self.program, **id));
            // Reading a real table with a ghost key is harmless; writing it is not.
            let writes = p.effect || (real && !is_read(&stmt.kind));
            let mixed = real && table.is_some();
            self.span = stmt.span;
            if (writes && (under || read.is_some())) || mixed {
                let name = read.and_then(|id| body.locals.get(id.index())).map(|l| l.name.clone());
                let name = name.or_else(|| {
                    let table = table.and_then(|id| self.program.tables.get(id.index()));
                    table.map(|t| t.name.clone())
                });
                self.report(Fault::GhostLeak(name.unwrap_or_else(|| "a branch".to_string())));
            }
            let inner = under || read.is_some() || (table.is_some() && !p.blocks.is_empty());
            p.blocks.into_iter().for_each(|block| self.ghost_block(body, ghost, block, inner));
        }
    }
}

/// Whether a statement only reads the tables that it names.
fn is_read(stmt: &StmtKind) -> bool {
    matches!(
        stmt,
        StmtKind::Lookup { touch: false, .. }
            | StmtKind::Longest { .. }
            | StmtKind::ReadArray { .. }
            | StmtKind::ReadCell { .. }
            | StmtKind::ReadCounter { .. }
            | StmtKind::First { .. }
    )
}
