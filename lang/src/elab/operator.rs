//! Operators and casts: types of both sides, obligations, folding.

use super::Elab;
use super::body::{Body, Place, Val};
use super::ops;
use super::types::{Ty, bits, max_value};
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::{self, BinaryOp as Op, Expr, Obligation, Scalar, StmtKind};
use crate::span::Span;
use crate::syntax::ast::{self, BinaryOp, ExprKind};

impl Elab {
    /// Whether an expression is a number without a type of its own.
    fn untyped(e: &ast::Expr) -> bool {
        match &e.kind {
            ExprKind::Int(_) => true,
            ExprKind::Paren(inner) | ExprKind::Unary(ast::UnaryOp::Complement, inner) => Self::untyped(inner),
            ExprKind::Binary(_, a, b) => Self::untyped(a) && Self::untyped(b),
            ExprKind::Path(p) => p.single().is_some_and(|n| &*n.name == "none"),
            _ => false,
        }
    }

    /// Both operands of an operator; a number without a type takes the other's.
    fn pair(&mut self, body: &mut Body, l: &ast::Expr, r: &ast::Expr, want: Option<&Ty>) -> (Val, Val) {
        let literal_type = |val: &Val| match val.ty {
            Ty::Bits(_) | Ty::Newtype(_) | Ty::Option(_) | Ty::Int | Ty::Error => Some(val.ty.clone()),
            _ => None,
        };
        if Self::untyped(l) && !Self::untyped(r) {
            let right = self.expr(body, r, want);
            let left = self.expr(body, l, literal_type(&right).as_ref().or(want));
            (left, right)
        } else {
            let left = self.expr(body, l, want);
            let hint = literal_type(&left);
            let right = self.expr(body, r, hint.as_ref().or(want));
            (left, right)
        }
    }

    pub(super) fn binary(
        &mut self,
        body: &mut Body,
        op: BinaryOp,
        l: &ast::Expr,
        r: &ast::Expr,
        want: Option<&Ty>,
        span: Span,
    ) -> Val {
        match op {
            BinaryOp::And | BinaryOp::Or | BinaryOp::Implies => self.logical(body, op, l, r, span),
            BinaryOp::In => self.within(body, l, r, span),
            BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => {
                self.comparison(body, op, l, r, span)
            }
            BinaryOp::Div if body.place == Place::Test && want == Some(&Ty::Packet) => self.packet_join(body, l, r),
            BinaryOp::Div if body.place == Place::Test && self.names_packet(body, l) => self.packet_join(body, l, r),
            BinaryOp::Range | BinaryOp::RangeInclusive => {
                self.error(Code::BadRange, span, "a range is no value: it stands after `in`");
                Val::error()
            }
            _ => self.arithmetic(body, op, l, r, want, span),
        }
    }

    /// `and`, `or`, `implies`: the right side is evaluated only if it matters.
    fn logical(&mut self, body: &mut Body, op: BinaryOp, l: &ast::Expr, r: &ast::Expr, span: Span) -> Val {
        let left = self.cond(body, l);
        let chains = body.chains.clone();
        let (block, right) = body.nested(|body| self.cond(body, r));
        body.chains = chains;
        if block.is_empty() {
            return Val::bool(match op {
                BinaryOp::And => ops::and(left, right),
                BinaryOp::Or => ops::or(left, right),
                _ => ops::or(ops::not(left), right),
            });
        }
        let result = body.local("", Scalar::Bool);
        let left = if op == BinaryOp::Implies { ops::not(left) } else { left };
        body.push(StmtKind::Assign { dst: result, value: left }, l.span);
        let mut inner = block;
        inner.push(ir::Stmt { kind: StmtKind::Assign { dst: result, value: right }, span: r.span });
        let cond = if op == BinaryOp::And { Expr::Local(result) } else { ops::not(Expr::Local(result)) };
        body.push(StmtKind::If { cond, then: inner, other: Vec::new() }, span);
        Val::bool(Expr::Local(result))
    }

    /// `x in a..=b`, `addr in prefix`
    fn within(&mut self, body: &mut Body, l: &ast::Expr, r: &ast::Expr, span: Span) -> Val {
        let range = match &r.kind {
            ExprKind::Paren(inner) => &inner.kind,
            kind => kind,
        };
        if let ExprKind::Range { low, high, inclusive } = range {
            let ge = self.comparison(body, BinaryOp::Le, low, l, span);
            let op = if *inclusive { BinaryOp::Le } else { BinaryOp::Lt };
            let le = self.comparison(body, op, l, high, span);
            return Val::bool(ops::and(ge.scalar(), le.scalar()));
        }
        let prefix = self.expr(body, r, None);
        let Ty::Prefix(item) = prefix.ty else { return self.mismatch(&prefix.ty, "a range or a prefix", r.span) };
        let addr = self.expr_of(body, l, &Ty::Newtype(item));
        let width = self.newtype(item).0;
        let scalar = Scalar::Bits(width);
        let mask = prefix_mask(&prefix.cols[1], width);
        let masked = ops::binary(Op::And, addr.scalar(), mask, scalar);
        Val::bool(ops::eq(masked, prefix.cols[0].clone(), scalar))
    }

    fn comparison(&mut self, body: &mut Body, op: BinaryOp, l: &ast::Expr, r: &ast::Expr, span: Span) -> Val {
        if matches!(op, BinaryOp::Eq | BinaryOp::Ne)
            && let Some(same) = self.same_bodies(body, l, r)
        {
            return Val::bool(if op == BinaryOp::Eq { same.scalar() } else { ops::not(same.scalar()) });
        }
        let (mut left, mut right) = self.pair(body, l, r, None);
        if left.ty == Ty::Error || right.ty == Ty::Error || left.ty == Ty::Never || right.ty == Ty::Never {
            return Val::bool(ops::FALSE);
        }
        let numeric = |ty: &Ty| matches!(ty, Ty::Bits(_) | Ty::Int | Ty::Time | Ty::Duration);
        if left.ty != right.ty && body.mathematical() && numeric(&left.ty) && numeric(&right.ty) {
            left = self.coerce(body, left, &Ty::Int, l.span);
            right = self.coerce(body, right, &Ty::Int, r.span);
        }
        let ty = left.ty.clone();
        let right = self.coerce(body, right, &ty, r.span);
        if ty == Ty::Packet {
            return self.same_packets(body, l, r, &[], op == BinaryOp::Ne, span);
        }
        let scalars = self.scalars(&ty);
        let value = match op {
            BinaryOp::Eq | BinaryOp::Ne => {
                let equal = left
                    .cols
                    .into_iter()
                    .zip(right.cols)
                    .zip(scalars)
                    .fold(ops::TRUE, |all, ((a, b), s)| ops::and(all, ops::eq(a, b, s)));
                if op == BinaryOp::Eq { equal } else { ops::not(equal) }
            }
            _ if !numeric(&ty) && !matches!(ty, Ty::Newtype(_)) => {
                self.mismatch(&ty, "numbers, which have an order", span);
                ops::FALSE
            }
            BinaryOp::Lt => ops::binary(Op::Lt, left.scalar(), right.scalar(), scalars[0]),
            BinaryOp::Le => ops::binary(Op::Le, left.scalar(), right.scalar(), scalars[0]),
            BinaryOp::Gt => ops::binary(Op::Lt, right.scalar(), left.scalar(), scalars[0]),
            _ => ops::binary(Op::Le, right.scalar(), left.scalar(), scalars[0]),
        };
        Val::bool(value)
    }

    fn arithmetic(&mut self, body: &mut Body, op: BinaryOp, l: &ast::Expr, r: &ast::Expr, want: Option<&Ty>, span: Span) -> Val {
        let want = want.filter(|w| matches!(w, Ty::Bits(_)) || (**w == Ty::Int && body.mathematical()));
        let shift = matches!(op, BinaryOp::Shl | BinaryOp::Shr);
        let (left, right) = if shift {
            let left = self.expr(body, l, want);
            let hint = Ty::Bits(8);
            let right = self.expr(body, r, Some(&hint));
            (left, right)
        } else {
            self.pair(body, l, r, want)
        };
        if left.ty == Ty::Error || right.ty == Ty::Error {
            return Val::error();
        }
        let number = |ty: &Ty| matches!(ty, Ty::Bits(_) | Ty::Int | Ty::Time | Ty::Duration);
        let bitwise = matches!(op, BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor);
        if body.mathematical() && number(&left.ty) && number(&right.ty) && !bitwise && !shift {
            let left = self.coerce(body, left, &Ty::Int, l.span);
            let right = self.coerce(body, right, &Ty::Int, r.span);
            let op = match op {
                BinaryOp::Add | BinaryOp::AddWrap | BinaryOp::AddSat => Op::Add,
                BinaryOp::Sub | BinaryOp::SubWrap | BinaryOp::SubSat => Op::Sub,
                BinaryOp::Mul | BinaryOp::MulWrap => Op::Mul,
                BinaryOp::Div => Op::Div,
                _ => Op::Rem,
            };
            if matches!(op, Op::Div | Op::Rem) && ops::constant(&right.scalar()) == Some(0) {
                self.error(Code::ConstantFault, r.span, "division by zero");
            }
            return Val { ty: Ty::Int, cols: vec![ops::binary(op, left.scalar(), right.scalar(), Scalar::Int)] };
        }
        let (ty, left, right) = match (op, &left.ty, &right.ty) {
            (_, Ty::Bits(_), Ty::Bits(_)) if shift => (left.ty.clone(), left, right),
            (_, Ty::Bits(a), Ty::Bits(b)) if a == b => (left.ty.clone(), left, right),
            (BinaryOp::BitAnd | BinaryOp::BitOr | BinaryOp::BitXor, Ty::Bool, Ty::Bool) => (Ty::Bool, left, right),
            (BinaryOp::Add, Ty::Time, Ty::Duration) | (BinaryOp::Add, Ty::Duration, Ty::Time) => (Ty::Time, left, right),
            (BinaryOp::Sub, Ty::Time, Ty::Duration) => (Ty::Time, left, right),
            (BinaryOp::Sub, Ty::Time, Ty::Time) => (Ty::Duration, left, right),
            (BinaryOp::Add | BinaryOp::Sub | BinaryOp::AddSat | BinaryOp::SubSat, Ty::Duration, Ty::Duration) => {
                (Ty::Duration, left, right)
            }
            (BinaryOp::Mul | BinaryOp::Div, Ty::Duration, Ty::Bits(w)) if *w <= 64 => {
                let factor = ops::convert(right.scalar(), Scalar::Bits(*w), Scalar::Bits(64));
                (Ty::Duration, left, Val { ty: Ty::Duration, cols: vec![factor] })
            }
            (_, a, b) => {
                let (a, b) = (self.show(a), self.show(b));
                let mut d = Diagnostic::new(Code::TypeMismatch, span, format!("this operation does not take {a} and {b}"));
                if number(&left.ty) && number(&right.ty) {
                    d = d.note("numbers of different types do not mix: convert one with `as`");
                }
                self.report(d);
                return Val::error();
            }
        };
        let scalar = self.scalar(&ty);
        let a = body.atom(left.scalar(), scalar, l.span);
        let right_ty = if shift { self.scalar(&right.ty) } else { scalar };
        let b = body.atom(right.scalar(), right_ty, r.span);
        let check = |elab: &mut Elab, body: &mut Body, bad: Expr, what: Obligation| elab.check(body, ops::not(bad), what, span);
        let op = match op {
            BinaryOp::Add => {
                check(self, body, ops::binary(Op::AddOverflows, a.clone(), b.clone(), scalar), Obligation::Overflow);
                Op::Add
            }
            BinaryOp::Sub => {
                check(self, body, ops::binary(Op::SubOverflows, a.clone(), b.clone(), scalar), Obligation::Overflow);
                Op::Sub
            }
            BinaryOp::Mul => {
                check(self, body, ops::binary(Op::MulOverflows, a.clone(), b.clone(), scalar), Obligation::Overflow);
                Op::Mul
            }
            BinaryOp::Div | BinaryOp::Rem => {
                check(self, body, ops::eq(b.clone(), Expr::Const(0, right_ty), right_ty), Obligation::DivisionByZero);
                if op == BinaryOp::Div { Op::Div } else { Op::Rem }
            }
            BinaryOp::Shl | BinaryOp::Shr => {
                let width = bits(scalar).unwrap_or(128);
                if u128::from(width) <= max_value(bits(right_ty).unwrap_or(128)) {
                    let limit = Expr::Const(u128::from(width), right_ty);
                    check(self, body, ops::binary(Op::Le, limit, b.clone(), right_ty), Obligation::Shift);
                }
                if op == BinaryOp::Shl { Op::Shl } else { Op::Shr }
            }
            BinaryOp::AddWrap => Op::Add,
            BinaryOp::SubWrap => Op::Sub,
            BinaryOp::MulWrap => Op::Mul,
            BinaryOp::AddSat => Op::SatAdd,
            BinaryOp::SubSat => Op::SatSub,
            BinaryOp::BitAnd => Op::And,
            BinaryOp::BitOr => Op::Or,
            _ => Op::Xor,
        };
        let value = if shift {
            match (&a, &b) {
                (Expr::Const(..), Expr::Const(n, _)) => ops::binary(op, a.clone(), Expr::Const(*n, scalar), scalar),
                _ => Expr::Binary(op, Box::new(a), Box::new(b)),
            }
        } else {
            ops::binary(op, a, b, scalar)
        };
        Val { ty, cols: vec![value] }
    }

    /// Adds an automatic obligation, or reports one that is known to fail.
    pub(super) fn check(&mut self, body: &mut Body, cond: Expr, what: Obligation, span: Span) {
        match cond {
            ops::TRUE => {}
            ops::FALSE => {
                let message = match what {
                    Obligation::Overflow => "this always overflows",
                    Obligation::DivisionByZero => "division by zero",
                    Obligation::Narrowing => "this never fits",
                    Obligation::Bounds => "this index is out of bounds",
                    Obligation::Shift => "this shifts by the whole width or more",
                    Obligation::Assertion => "this never holds",
                };
                self.error(Code::ConstantFault, span, message);
            }
            // Specifications compute without limits.
            _ if body.mathematical() => {}
            cond => body.push(StmtKind::Check { cond, what }, span),
        }
    }

    pub(super) fn cast(&mut self, body: &mut Body, value: &ast::Expr, ty: &ast::Type, wrap: bool, span: Span) -> Val {
        let target = self.ty(ty);
        let hint = match target {
            Ty::Bits(_) | Ty::Newtype(_) if Self::untyped(value) && !wrap => Some(target.clone()),
            Ty::Time | Ty::Duration if Self::untyped(value) => Some(Ty::Bits(64)),
            _ => None,
        };
        let val = self.expr(body, value, hint.as_ref());
        if val.ty == Ty::Error || target == Ty::Error {
            return Val::error();
        }
        let allowed = match (&val.ty, &target) {
            (a, b) if a == b => true,
            (Ty::Bits(_) | Ty::Bool | Ty::Newtype(_) | Ty::Int | Ty::Time | Ty::Duration, Ty::Bits(_)) => true,
            (Ty::Bits(_) | Ty::Int, Ty::Newtype(_) | Ty::Time | Ty::Duration) => true,
            (Ty::Bits(_) | Ty::Newtype(_) | Ty::Time | Ty::Duration, Ty::Int) => body.mathematical(),
            _ => false,
        };
        if !allowed {
            let (from, to) = (self.show(&val.ty), self.show(&target));
            let mut d = Diagnostic::new(Code::BadCast, span, format!("{from} does not convert to {to}"));
            if matches!((&val.ty, &target), (Ty::Newtype(_), Ty::Newtype(_))) {
                d = d.note("convert to the number first, then to the other type: so that it is seen");
            }
            self.report(d);
            return Val::error();
        }
        let (from, to) = (self.scalar(&val.ty), self.scalar(&target));
        let mut e = val.scalar();
        if let (Some(a), Some(b)) = (bits(from), bits(to))
            && a > b
            && !wrap
        {
            e = body.atom(e, from, span);
            let limit = Expr::Const(max_value(b), from);
            self.check(body, ops::binary(Op::Le, e.clone(), limit, from), Obligation::Narrowing, span);
        }
        let e = if from == Scalar::Bool && to != Scalar::Bool {
            match e {
                Expr::Const(v, _) => Expr::Const(v, to),
                e => Expr::Select(Box::new(e), Box::new(Expr::Const(1, to)), Box::new(Expr::Const(0, to))),
            }
        } else {
            ops::convert(e, from, to)
        };
        Val { ty: target, cols: vec![e] }
    }
}

/// The mask of a prefix length.
pub(crate) fn prefix_mask(length: &Expr, width: u8) -> Expr {
    let scalar = Scalar::Bits(width);
    match length {
        Expr::Const(len, _) => {
            let len = (*len).min(u128::from(width)) as u32;
            Expr::Const(if len == 0 { 0 } else { max_value(width) << (u32::from(width) - len) & max_value(width) }, scalar)
        }
        len => {
            // A shift by the whole width gives 0.
            let by = Expr::Binary(Op::SatSub, Box::new(Expr::Const(u128::from(width), Scalar::Bits(8))), Box::new(len.clone()));
            Expr::Binary(Op::Shl, Box::new(Expr::Const(max_value(width), scalar)), Box::new(by))
        }
    }
}
