//! Matches on values: patterns become conditions and names, arms become a chain of branches.

use super::Elab;
use super::body::{Binding, Body, Val};
use super::expr::Thing;
use super::ops;
use super::stmt::Branches;
use super::types::{TAKE, Ty};
use super::usefulness;
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::{BinaryOp as Op, Expr, Scalar, StmtKind};
use crate::span::Span;
use crate::syntax::ast::{self, ExprKind, ItemKind, PatternKind};

/// Names that a pattern binds.
pub(crate) type Bindings = Vec<(ast::Ident, Val)>;

impl Elab {
    pub(super) fn match_expr(
        &mut self,
        body: &mut Body,
        scrutinee: &ast::Expr,
        arms: &[ast::Arm],
        want: Option<&Ty>,
        span: Span,
    ) -> Val {
        if let ExprKind::Path(_) = &scrutinee.kind
            && let Thing::Packet(packet) = self.thing(body, scrutinee, None)
        {
            return self.packet_match(body, &packet, arms, want, span);
        }
        let val = self.expr(body, scrutinee, None);
        if val.ty == Ty::Error {
            return Val::error();
        }
        if !self.storable(&val, scrutinee.span) {
            return Val::error();
        }
        let scalars = self.scalars(&val.ty);
        let cols = val.cols.into_iter().zip(scalars).map(|(e, s)| body.atom(e, s, scrutinee.span)).collect();
        let val = Val { ty: val.ty, cols };
        self.check_arms(body, &val.ty, arms, span);
        let mut branches = Branches::new(body);
        let open = !val.cols.iter().all(|c| ops::constant(c).is_some());
        let mut conds = Vec::new();
        for (i, arm) in arms.iter().enumerate() {
            let (cond, bindings) = self.pattern(body, &arm.pattern, &val);
            let last = i + 1 == arms.len();
            // The last arm takes what is left: that the arms are exhaustive was checked.
            let mut cond = if last && arm.guard.is_none() { ops::TRUE } else { cond };
            if let Some(guard) = &arm.guard {
                body.scopes.push(bindings.iter().map(|(n, v)| (n.name.clone(), Binding::Val(v.clone()))).collect());
                let (block, guard_val) = body.nested(|body| self.cond(body, guard));
                body.scopes.pop();
                if !block.is_empty() {
                    self.error(Code::NotPure, guard.span, "a guard only compares: compute before the match");
                }
                cond = ops::and(cond, guard_val);
            }
            conds.push((cond, arm.span));
            branches.run(
                self,
                body,
                want,
                |elab, body, want| {
                    for (name, val) in bindings {
                        body.bind(&name.name, Binding::Val(val));
                    }
                    if open {
                        elab.branch(body, arm.pattern.span, false);
                    }
                    elab.expr(body, &arm.body, want)
                },
                arm.body.span,
            );
        }
        branches.join(body, span, |blocks| chain(conds, blocks))
    }

    fn check_arms(&mut self, body: &Body, ty: &Ty, arms: &[ast::Arm], span: Span) {
        let mut before = Vec::new();
        for arm in arms {
            let alternatives = match &arm.pattern.kind {
                PatternKind::Or(all) => all.as_slice(),
                _ => std::slice::from_ref(&arm.pattern),
            };
            let lowered: Vec<_> = alternatives.iter().map(|p| usefulness::lower(self, body, p, ty)).collect();
            let reached = lowered.iter().any(|p| usefulness::useful(self, ty, &before, p));
            self.arm(arm.pattern.span, reached);
            if arm.guard.is_none() {
                before.extend(lowered);
            }
        }
        if let Some(missing) = usefulness::missing(self, ty, &before) {
            self.report(
                Diagnostic::new(Code::NotExhaustive, span, format!("`{missing}` is not matched"))
                    .note("add an arm for it, or `_`"),
            );
        }
    }

    /// A constructor that a path names, among those of a type: its number and the types of its fields.
    pub(super) fn constructor(&mut self, _: &Body, path: &ast::Path, ty: &Ty) -> Option<(usize, Vec<Ty>)> {
        match (path.segments.as_slice(), ty) {
            ([name], Ty::Option(inner)) => match &*name.name {
                "none" => Some((0, Vec::new())),
                "some" => Some((1, vec![(**inner).clone()])),
                _ => None,
            },
            ([name], Ty::Take) => TAKE.iter().position(|t| **t == *name.name).map(|i| (i, Vec::new())),
            ([of, name], Ty::Enum(item)) => {
                let found = self.lookup(of.span.file, &of.name)?;
                let info = self.type_info(*item);
                let at = info.variants.iter().position(|v| *v.name == *name.name)?;
                (found == *item).then(|| (at, info.variants[at].fields.iter().map(|(_, t)| t.clone()).collect()))
            }
            _ => None,
        }
    }

    /// Whether a pattern's name is a constant's and so no new name.
    pub(super) fn is_constant(&mut self, body: &Body, path: &ast::Path) -> bool {
        let Some(name) = path.single() else { return false };
        if let Some(Binding::Val(v)) = body.env.names.get(&name.name) {
            return v.cols.iter().all(|c| ops::constant(c).is_some());
        }
        match self.modules[name.span.file.0 as usize].names.get(&name.name).copied() {
            Some(item) => {
                let (parsed, index) = self.item(item);
                matches!(parsed.file.items[index].kind, ItemKind::Const { .. })
            }
            None => false,
        }
    }

    /// When a pattern matches a value, and the names it binds.
    pub(super) fn pattern(&mut self, body: &mut Body, pattern: &ast::Pattern, val: &Val) -> (Expr, Bindings) {
        let span = pattern.span;
        match &pattern.kind {
            PatternKind::Wildcard => (ops::TRUE, Vec::new()),
            PatternKind::Headers(_) => {
                self.error(Code::BadPattern, span, "headers are matched in packets, not in values");
                (ops::FALSE, Vec::new())
            }
            PatternKind::Or(alternatives) => {
                let mut cond = ops::FALSE;
                for alternative in alternatives {
                    let (c, bindings) = self.pattern(body, alternative, val);
                    if let Some((name, _)) = bindings.first() {
                        self.error(Code::BadPattern, name.span, "alternatives of values bind no names");
                    }
                    cond = ops::or(cond, c);
                }
                (cond, Vec::new())
            }
            PatternKind::Literal(e) => {
                if let ExprKind::Range { low, high, inclusive } = &e.kind {
                    let low = self.literal_of(body, low, &val.ty);
                    let high = self.literal_of(body, high, &val.ty);
                    let scalar = self.scalar(&val.ty);
                    let op = if *inclusive { Op::Le } else { Op::Lt };
                    let cond =
                        ops::and(ops::binary(Op::Le, low, val.scalar(), scalar), ops::binary(op, val.scalar(), high, scalar));
                    return (cond, Vec::new());
                }
                let wanted = self.expr_of(body, e, &val.ty);
                (self.equal(val, &wanted), Vec::new())
            }
            PatternKind::Path(path, args) => self.path_pattern(body, path, args, val, span),
        }
    }

    fn literal_of(&mut self, body: &mut Body, e: &ast::Expr, ty: &Ty) -> Expr {
        if !matches!(ty, Ty::Bits(_) | Ty::Newtype(_) | Ty::Time | Ty::Duration | Ty::Int) {
            self.mismatch(ty, "a number", e.span);
        }
        self.expr_of(body, e, ty).scalar()
    }

    fn path_pattern(
        &mut self,
        body: &mut Body,
        path: &ast::Path,
        args: &[ast::Pattern],
        val: &Val,
        span: Span,
    ) -> (Expr, Bindings) {
        if let Some((number, fields)) = self.constructor(body, path, &val.ty) {
            if args.len() != fields.len() {
                self.error(Code::BadPattern, span, format!("this has {} fields, not {}", fields.len(), args.len()));
                return (ops::FALSE, Vec::new());
            }
            let (mut cond, mut at) = match &val.ty {
                Ty::Option(_) if number == 1 => (val.scalar(), 1),
                Ty::Option(_) => (ops::not(val.scalar()), 1),
                Ty::Enum(item) => {
                    let info = self.type_info(*item);
                    let before: usize = info.variants[..number].iter().flat_map(|v| &v.fields).map(|(_, t)| self.width(t)).sum();
                    (ops::eq(val.scalar(), Expr::Const(number as u128, Scalar::Bits(8)), Scalar::Bits(8)), 1 + before)
                }
                _ => (ops::eq(val.scalar(), Expr::Const(number as u128, Scalar::Bits(8)), Scalar::Bits(8)), 1),
            };
            let mut bindings = Vec::new();
            for (arg, ty) in args.iter().zip(fields) {
                let width = self.width(&ty);
                let inner = Val { cols: val.cols[at..at + width].to_vec(), ty };
                at += width;
                let (c, b) = self.pattern(body, arg, &inner);
                cond = ops::and(cond, c);
                bindings.extend(b);
            }
            return (cond, bindings);
        }
        let Some(name) = path.single() else {
            let shown = self.show(&val.ty);
            self.error(Code::BadPattern, span, format!("`{}` is no value of type {shown}", super::modules::path_text(path)));
            return (ops::FALSE, Vec::new());
        };
        if !args.is_empty() || matches!(&*name.name, "some" | "none") {
            let shown = self.show(&val.ty);
            self.error(Code::BadPattern, span, format!("`{}` is no value of type {shown}", name.name));
            return (ops::FALSE, Vec::new());
        }
        if self.is_constant(body, path) {
            let e = ast::Expr { kind: ExprKind::Path(path.clone()), span };
            let wanted = self.expr_of(body, &e, &val.ty);
            return (self.equal(val, &wanted), Vec::new());
        }
        (ops::TRUE, vec![(name.clone(), val.clone())])
    }

    /// Whether two values of one type are equal.
    pub(super) fn equal(&mut self, a: &Val, b: &Val) -> Expr {
        let scalars = self.scalars(&a.ty);
        a.cols
            .iter()
            .zip(&b.cols)
            .zip(scalars)
            .fold(ops::TRUE, |all, ((x, y), s)| ops::and(all, ops::eq(x.clone(), y.clone(), s)))
    }
}

/// `if c0 { b0 } else if c1 { b1 } ... else { bn }`
fn chain(conds: Vec<(Expr, Span)>, blocks: Vec<crate::ir::Block>) -> StmtKind {
    let mut other = Vec::new();
    let mut pairs: Vec<_> = conds.into_iter().zip(blocks).collect();
    let first = if pairs.is_empty() { None } else { Some(pairs.remove(0)) };
    for (i, ((cond, span), block)) in pairs.into_iter().rev().enumerate() {
        other = if i == 0 && cond == ops::TRUE {
            block
        } else {
            vec![crate::ir::Stmt { kind: StmtKind::If { cond, then: block, other }, span }]
        };
    }
    match first {
        Some(((cond, _), then)) => StmtKind::If { cond, then, other },
        None => StmtKind::If { cond: ops::TRUE, then: Vec::new(), other: Vec::new() },
    }
}
