//! Changes of expressions.

use super::Operator;
use super::walk::Walk;
use crate::ir::print::Names;
use crate::ir::{BinaryOp, Body, Expr, FieldId, HandleId, Program, Scalar, Stmt, StmtKind, Tier, UnaryOp};

/// A condition turned round.
pub(super) fn negated(cond: &Expr) -> Expr {
    match cond {
        Expr::Unary(UnaryOp::Not, inner) => (**inner).clone(),
        Expr::Binary(BinaryOp::Eq, a, b) => Expr::Binary(BinaryOp::Ne, a.clone(), b.clone()),
        Expr::Binary(BinaryOp::Ne, a, b) => Expr::Binary(BinaryOp::Eq, a.clone(), b.clone()),
        Expr::Binary(BinaryOp::Lt, a, b) => Expr::Binary(BinaryOp::Le, b.clone(), a.clone()),
        Expr::Binary(BinaryOp::Le, a, b) => Expr::Binary(BinaryOp::Lt, b.clone(), a.clone()),
        other => Expr::Unary(UnaryOp::Not, Box::new(other.clone())),
    }
}

/// A number next to another.
pub(super) fn next(value: u128, width: u8) -> u128 {
    let greatest = if width >= 128 { u128::MAX } else { (1 << width) - 1 };
    if value < greatest { value + 1 } else { value.saturating_sub(1) }
}

/// A time, later by one of its unit.
pub(super) fn later(nanoseconds: u64) -> u64 {
    let unit = [1_000_000_000, 1_000_000, 1_000].into_iter().find(|unit| nanoseconds > 0 && nanoseconds.is_multiple_of(*unit));
    nanoseconds.saturating_add(unit.unwrap_or(1))
}

/// The field that is easily taken for another: its counterpart in the other direction, or else the next one as wide.
fn other_field(program: &Program, body: &Body, handle: HandleId, field: FieldId) -> Option<FieldId> {
    let header = program.headers.get(body.handles.get(handle.index())?.header.index())?;
    let own = header.fields.get(field.index())?;
    let count = header.fields.len();
    let alike = |at: &usize| header.fields[*at].width == own.width;
    let counterpart = match own.name.as_str() {
        name if name.contains("src") => Some(name.replace("src", "dst")),
        name if name.contains("dst") => Some(name.replace("dst", "src")),
        _ => None,
    };
    let by_name = (0..count).filter(alike).find(|at| Some(&header.fields[*at].name) == counterpart.as_ref());
    let next = (1..count).map(|step| (field.index() + step) % count).find(alike);
    by_name.or(next).map(|at| FieldId(at as u32))
}

impl Walk<'_> {
    /// The expressions that a statement evaluates itself. Checks and changes of checksums belong to what they go with.
    pub(super) fn expressions(&mut self, stmt: &mut Stmt, names: &Names<'_>, body: &Body) {
        let text = if self.looks() { self.text(stmt, body) } else { String::new() };
        self.begin(stmt.span);
        let mut walk = |expr: &mut Expr| self.expr(expr, &text, names, body);
        match &mut stmt.kind {
            StmtKind::Assign { value, .. } | StmtKind::SetField { value, .. } => walk(value),
            StmtKind::If { cond: Expr::Const(..), .. } => {}
            StmtKind::If { cond, .. } => walk(cond),
            StmtKind::Switch { on, .. } => walk(on),
            StmtKind::Push { fields, .. } => fields.iter_mut().for_each(walk),
            StmtKind::Emit { args, .. } => args.iter_mut().for_each(walk),
            StmtKind::Lookup { key, .. } | StmtKind::Remove { key, .. } => key.iter_mut().for_each(walk),
            StmtKind::Longest { key, .. } => walk(key),
            StmtKind::Insert { entries, .. } => {
                entries.iter_mut().for_each(|entry| entry.key.iter_mut().chain(&mut entry.value).for_each(&mut walk));
            }
            StmtKind::SetValue { key, value, .. } => key.iter_mut().chain(value).for_each(walk),
            StmtKind::ExpireAt { key, at, .. } => key.iter_mut().chain([at]).for_each(walk),
            StmtKind::Take { key, amount, .. } => key.iter_mut().chain([amount]).for_each(walk),
            StmtKind::ReadArray { index, .. } | StmtKind::ReadCounter { index, .. } => walk(index),
            StmtKind::WriteArray { index, value, .. } => [index].into_iter().chain(value).for_each(walk),
            StmtKind::WriteCell { value, .. } => value.iter_mut().for_each(walk),
            StmtKind::Count { index, amount, .. } => [index, amount].into_iter().for_each(walk),
            StmtKind::Choose { low, high, tiers, .. } => {
                let exact = tiers.iter_mut().filter_map(|t| if let Tier::Exactly(value) = t { Some(value) } else { None });
                [low, high].into_iter().chain(exact).for_each(walk);
            }
            StmtKind::Branch { .. }
            | StmtKind::Check { .. }
            | StmtKind::Parse { .. }
            | StmtKind::UpdateChecksum { .. }
            | StmtKind::VerifyChecksums { .. }
            | StmtKind::Pop { .. }
            | StmtKind::Drop { .. }
            | StmtKind::ReadCell { .. }
            | StmtKind::First { .. }
            | StmtKind::Spec(_)
            | StmtKind::Test(_) => {}
        }
    }

    /// An expression, what is inside of it first.
    fn expr(&mut self, expr: &mut Expr, text: &str, names: &Names<'_>, body: &Body) {
        match expr {
            Expr::Unary(_, inner) | Expr::Convert(inner, _) => self.expr(inner, text, names, body),
            Expr::Binary(_, a, b) => [a, b].into_iter().for_each(|e| self.expr(e, text, names, body)),
            Expr::Select(c, a, b) => [c, a, b].into_iter().for_each(|e| self.expr(e, text, names, body)),
            Expr::Hash(_, args) => args.iter_mut().for_each(|e| self.expr(e, text, names, body)),
            _ => {}
        }
        let changed = match &*expr {
            Expr::Const(value, ty @ Scalar::Bits(width)) => Some((Operator::OffByOne, Expr::Const(next(*value, *width), *ty))),
            Expr::Binary(BinaryOp::Lt, a, b) => Some((Operator::OffByOne, Expr::Binary(BinaryOp::Le, a.clone(), b.clone()))),
            Expr::Binary(BinaryOp::Le, a, b) => Some((Operator::OffByOne, Expr::Binary(BinaryOp::Lt, a.clone(), b.clone()))),
            Expr::Field(handle, field) => {
                other_field(self.of(), body, *handle, *field).map(|other| (Operator::SwapField, Expr::Field(*handle, other)))
            }
            Expr::Select(c, a, b) => Some((Operator::NegateGuard, Expr::Select(c.clone(), b.clone(), a.clone()))),
            _ => None,
        };
        if let Some((operator, changed)) = changed {
            let words = || {
                let (old, new) = (names.expr(expr), names.expr(&changed));
                if text == old { format!("`{old}` -> `{new}`") } else { format!("`{old}` -> `{new}` in `{text}`") }
            };
            if self.chance(operator, words) {
                *expr = changed;
            }
        }
    }
}
