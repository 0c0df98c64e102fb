//! The bounded searches: `first` and `choose`.

use super::Elab;
use super::body::{Binding, Body, Place, Val};
use super::expr::Thing;
use super::ops;
use super::program::Kind;
use super::table::{INDEX, optional};
use super::types::{Ty, max_value};
use crate::diagnostics::Code;
use crate::ir::{self, BinaryOp as Op, Expr, Obligation, Scalar, StmtKind};
use crate::span::Span;
use crate::syntax::ast::{self, BinaryOp, ExprKind};

impl Elab {
    /// `first x in T where P`
    pub(super) fn first(&mut self, body: &mut Body, var: &ast::Ident, table: &ast::Expr, cond: &ast::Expr, span: Span) -> Val {
        let t = match self.thing(body, table, None) {
            Thing::Table(t) => t,
            Thing::Val(Val { ty: Ty::Error, .. }) => return Val::error(),
            _ => {
                self.error(Code::WrongKind, table.span, "`first` searches an array");
                return Val::error();
            }
        };
        let info = self.table(t);
        if info.kind != Kind::Array {
            self.error(Code::WrongKind, table.span, "`first` searches an array: the elements of other tables have no order");
            return Val::error();
        }
        if !self.readable(body, &info, span) {
            return Val::error();
        }
        let index = body.local("", INDEX);
        let value = self.fresh(body, &var.name, &info.value);
        let (test, holds) = self.search_test(body, "a search", cond.span, |elab, body| {
            body.bind(&var.name, Binding::Val(Elab::loaded(&info.value, &value)));
            elab.cond(body, cond)
        });
        let found = body.local("", Scalar::Bool);
        body.push(StmtKind::First { table: t, index, value: value.clone(), test, holds, found }, span);
        optional(&info.value, found, &value)
    }

    /// A block that computes a condition and changes nothing.
    fn search_test(
        &mut self,
        body: &mut Body,
        what: &'static str,
        span: Span,
        f: impl FnOnce(&mut Elab, &mut Body) -> Expr,
    ) -> (ir::Block, ir::LocalId) {
        let reading = body.reading.replace(what);
        let holds = body.local("", Scalar::Bool);
        let (block, ()) = body.nested(|body| {
            let value = f(self, body);
            body.push(StmtKind::Assign { dst: holds, value }, span);
        });
        body.reading = reading;
        (block, holds)
    }

    /// `choose`
    pub(super) fn choose(&mut self, body: &mut Body, choose: &ast::Choose, span: Span) -> Option<(Expr, Val)> {
        if body.place != Place::Code || body.reading.is_some() {
            self.error(Code::NotPure, span, "a choice is made in handlers");
            return None;
        }
        let ExprKind::Range { low, high, inclusive } = &choose.range.kind else {
            self.error(Code::BadRange, choose.range.span, "a choice is from a range: `choose x in 1024..=65_535`");
            return None;
        };
        let ty = self.choice_type(body, low, high);
        let Ty::Bits(width) = ty else { return None };
        let scalar = Scalar::Bits(width);
        let low_val = self.expr_of(body, low, &ty).scalar();
        let mut high_val = self.expr_of(body, high, &ty).scalar();
        if !inclusive {
            high_val = body.atom(high_val, scalar, high.span);
            let positive = ops::binary(Op::Lt, low_val.clone(), high_val.clone(), scalar);
            self.check(body, positive, Obligation::Bounds, choose.range.span);
            high_val = ops::binary(Op::Sub, high_val, Expr::Const(1, scalar), scalar);
        }
        if let (Expr::Const(a, _), Expr::Const(b, _)) = (&low_val, &high_val)
            && a > b
        {
            self.error(Code::BadRange, choose.range.span, "this range is empty");
        }
        let within = choose.within.as_ref().and_then(|e| self.constant_number(body, e, 32)).map(|n| n as u32);
        if within == Some(0) {
            self.error(Code::BadRange, span, "at least one value is tried");
        }
        let var = body.local(&choose.var.name, scalar);
        let bound = Binding::Val(Val { ty: ty.clone(), cols: vec![Expr::Local(var)] });
        let name = &choose.var.name;
        let (test, holds) = self.search_test(body, "a choice's condition", span, |elab, body| {
            body.bind(name, bound.clone());
            choose.cond.as_ref().map_or(ops::TRUE, |c| elab.cond(body, c))
        });
        let mut tiers = Vec::new();
        for prefer in &choose.prefer {
            if let Some(exact) = exactly(prefer, name) {
                let value = self.expr_of(body, exact, &ty).scalar();
                let value = body.atom(value, scalar, exact.span);
                tiers.push(ir::Tier::Exactly(value));
                continue;
            }
            let (test, holds) = self.search_test(body, "a preference", prefer.span, |elab, body| {
                body.bind(name, bound.clone());
                elab.cond(body, prefer)
            });
            tiers.push(ir::Tier::Test(test, holds));
        }
        let ok = body.local("", Scalar::Bool);
        body.push(StmtKind::Choose { var, low: low_val, high: high_val, within, test, holds, tiers, ok }, span);
        Some((Expr::Local(ok), Val { ty, cols: vec![Expr::Local(var)] }))
    }

    /// The type of a choice: that of a bound, or of numbers just wide enough: 8, 16, 32 or 64 bits.
    fn choice_type(&mut self, body: &mut Body, low: &ast::Expr, high: &ast::Expr) -> Ty {
        for bound in [low, high] {
            if !matches!(bound.kind, ExprKind::Int(_)) {
                let (_, val) = body.nested(|body| self.expr(body, bound, None));
                if let Ty::Bits(_) = val.ty {
                    return val.ty;
                }
            }
        }
        match high.kind {
            ExprKind::Int(n) => Ty::Bits(*[8, 16, 32, 64].iter().find(|w| n <= max_value(**w)).unwrap_or(&128)),
            _ => {
                self.error(Code::BadRange, high.span, "a choice is from a range of numbers");
                Ty::Error
            }
        }
    }
}

/// `e` of `name == e`, where `e` does not name it.
fn exactly<'a>(prefer: &'a ast::Expr, name: &str) -> Option<&'a ast::Expr> {
    let ExprKind::Binary(BinaryOp::Eq, l, r) = &prefer.kind else { return None };
    let is_var = |e: &ast::Expr| matches!(&e.kind, ExprKind::Path(p) if p.single().is_some_and(|n| &*n.name == name));
    (is_var(l) && !super::packet::mentions(r, name)).then_some(r)
}
