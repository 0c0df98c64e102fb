//! Blocks and statements.

use super::Elab;
use super::body::{Binding, Body, Chain, Place, Val};
use super::expr::Thing;
use super::ops;
use super::types::Ty;
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::{self, Expr, LocalId, PacketId, StmtKind};
use crate::span::Span;
use crate::syntax::ast::{self, Block, ExprKind, PatternKind};
use rustc_hash::FxHashMap;

/// Turns that a loop of a program may have: it is unrolled.
const MAX_TURNS: u128 = 256;

impl Elab {
    /// Elaborates a block in the current scope. A block that leaves is of type `Never`.
    pub(super) fn block(&mut self, body: &mut Body, block: &Block, want: Option<&Ty>) -> Val {
        self.statements(body, &block.stmts, block.value.as_deref(), want)
    }

    fn statements(&mut self, body: &mut Body, stmts: &[ast::Stmt], value: Option<&ast::Expr>, want: Option<&Ty>) -> Val {
        for (at, stmt) in stmts.iter().enumerate() {
            let other = match &stmt.kind {
                ast::StmtKind::Let { other: Some(other), .. } => Some(other),
                ast::StmtKind::Choose(choose) => Some(&choose.other),
                _ => None,
            };
            if let (Some(other), false) = (other, body.diverged) {
                return self.or_else(body, stmt, other, (&stmts[at + 1..], value), want);
            }
            if body.diverged {
                self.report(Diagnostic::new(Code::UnreachableCode, stmt.span, "this is never reached"));
                // Checked all the same, and thrown away.
                let (_, ()) = body.nested(|body| self.stmt(body, stmt));
                continue;
            }
            self.stmt(body, stmt);
        }
        let Some(value) = value else {
            return if body.diverged { Val::never() } else { Val::unit() };
        };
        if body.diverged {
            self.report(Diagnostic::new(Code::UnreachableCode, value.span, "this is never reached"));
            return Val::never();
        }
        self.expr(body, value, want)
    }

    /// A statement with an `else` that runs in place of what follows it in the block.
    fn or_else(
        &mut self,
        body: &mut Body,
        stmt: &ast::Stmt,
        other: &Block,
        rest: (&[ast::Stmt], Option<&ast::Expr>),
        want: Option<&Ty>,
    ) -> Val {
        let (cond, bindings) = match &stmt.kind {
            ast::StmtKind::Let { pattern, ty, value, .. } => self.let_else(body, pattern, ty.as_deref(), value, other, stmt.span),
            ast::StmtKind::Choose(choose) => match self.choose(body, choose, stmt.span) {
                Some((ok, chosen)) => (ok, vec![(choose.var.name.clone(), chosen)]),
                None => (ops::TRUE, vec![(choose.var.name.clone(), Val::error())]),
            },
            _ => (ops::TRUE, Vec::new()),
        };
        let mut branches = Branches::new(body);
        branches.run(
            self,
            body,
            want,
            |elab, body, want| {
                for (name, val) in bindings {
                    body.bind(&name, Binding::Val(val));
                }
                elab.branch(body, stmt.span, false);
                elab.statements(body, rest.0, rest.1, want)
            },
            rest.1.map_or(stmt.span, |e| e.span),
        );
        let otherwise = |elab: &mut Elab, body: &mut Body, want: Option<&Ty>| {
            elab.branch(body, other.span, false);
            elab.block(body, other, want)
        };
        branches.run(self, body, want, otherwise, other.span);
        branches.join(body, stmt.span, |mut blocks| {
            let other = blocks.pop().unwrap_or_default();
            let then = blocks.pop().unwrap_or_default();
            StmtKind::If { cond, then, other }
        })
    }

    /// Takes a block's value as one of a type.
    pub(super) fn coerce_block(&mut self, body: &mut Body, val: Val, want: &Ty, block: &Block) -> Val {
        let span = match &block.value {
            Some(e) => e.span,
            None => Span { start: block.span.end.saturating_sub(1), ..block.span },
        };
        if *want == Ty::Unit && val.ty != Ty::Unit && val.ty != Ty::Never && val.ty != Ty::Error {
            self.error(Code::ValueUnused, span, "this value goes nowhere");
            return Val::unit();
        }
        self.coerce(body, val, want, span)
    }

    fn stmt(&mut self, body: &mut Body, stmt: &ast::Stmt) {
        let span = stmt.span;
        match &stmt.kind {
            ast::StmtKind::Error => {}
            ast::StmtKind::Let { pattern, ty, value, .. } => self.let_stmt(body, pattern, ty.as_deref(), value, span),
            ast::StmtKind::Var { name, ty, value } => {
                let ty = ty.as_ref().map(|t| self.ty(t));
                let val = self.expr(body, value, ty.as_ref());
                let val = match &ty {
                    Some(ty) => self.coerce(body, val, ty, value.span),
                    None => val,
                };
                if !self.storable(&val, value.span) {
                    return body.bind(&name.name, Binding::Val(Val::error()));
                }
                let locals = self.store(body, &name.name, &val, span);
                body.bind(&name.name, Binding::Var { ty: val.ty, locals, mutable: true });
            }
            ast::StmtKind::Assign(place, value) => self.assign(body, place, value, span),
            ast::StmtKind::Expr(e) => {
                let val = self.expr(body, e, None);
                let touches = matches!(&e.kind, ExprKind::Method(_, name, _) if &*name.name == "touch");
                if !matches!(val.ty, Ty::Unit | Ty::Never | Ty::Error) && !touches {
                    self.error(Code::ValueUnused, e.span, "this value goes nowhere");
                }
            }
            ast::StmtKind::Else(e, other) => self.insert_else(body, e, other, span),
            ast::StmtKind::For { var, range, body: inner } => self.for_stmt(body, var, range, inner, span),
            ast::StmtKind::Choose(choose) => {
                self.choose(body, choose, span);
            }
            ast::StmtKind::Push { header, before, name, other } => {
                self.push_header(body, header, before, name.as_ref(), other, span)
            }
            ast::StmtKind::Pop(names) => self.pop_headers(body, names, span),
            _ if body.place == Place::Test => self.test_stmt(body, stmt),
            ast::StmtKind::Assert(e) => {
                let cond = self.cond(body, e);
                self.check(body, cond, ir::Obligation::Assertion, span);
            }
            _ => self.error(Code::TestOnly, span, "this stands in tests only"),
        }
    }

    /// Whether a value can be kept in variables.
    pub(super) fn storable(&mut self, val: &Val, span: Span) -> bool {
        match val.ty {
            Ty::Unit => {
                self.error(Code::NoValue, span, "this has no value");
                false
            }
            Ty::Packet => {
                self.error(Code::WrongKind, span, "this is a packet, no value");
                false
            }
            Ty::Error => false,
            _ => true,
        }
    }

    fn let_stmt(&mut self, body: &mut Body, pattern: &ast::Pattern, ty: Option<&ast::Type>, value: &ast::Expr, span: Span) {
        if let PatternKind::Path(path, args) = &pattern.kind
            && let Some(name) = path.single()
            && args.is_empty()
            && (body.place == Place::Test || body.place == Place::Pure)
            && (ty.is_some_and(|t| self.ty(t) == Ty::Packet) || self.names_packet(body, value))
        {
            if let Some(packet) = self.packet_value(body, value) {
                body.bind(&name.name, Binding::Packet(packet));
            }
            return;
        }
        let Some(val) = self.let_value(body, pattern, ty, value, span) else { return };
        let (_, bindings) = self.pattern(body, pattern, &val);
        let simplified = super::usefulness::lower(self, body, pattern, &val.ty);
        if let Some(missing) = super::usefulness::missing(self, &val.ty, &[simplified]) {
            self.report(
                Diagnostic::new(Code::NotExhaustive, pattern.span, format!("`{missing}` does not match this pattern"))
                    .note("add `else { ... }` with what to do then"),
            );
        }
        for (name, val) in bindings {
            body.bind(&name.name, Binding::Val(val));
        }
    }

    /// The value of a `let`, kept in variables unless it is known; none after an error.
    fn let_value(
        &mut self,
        body: &mut Body,
        pattern: &ast::Pattern,
        ty: Option<&ast::Type>,
        value: &ast::Expr,
        span: Span,
    ) -> Option<Val> {
        let ty = ty.map(|t| self.ty(t));
        let val = self.expr(body, value, ty.as_ref());
        let val = match &ty {
            Some(ty) => self.coerce(body, val, ty, value.span),
            None => val,
        };
        if val.ty == Ty::Never {
            return None;
        }
        if !self.storable(&val, value.span) {
            self.bind_errors(body, pattern);
            return None;
        }
        let name = match &pattern.kind {
            PatternKind::Path(path, _) => path.single().map(|n| n.name.clone()).unwrap_or_default(),
            _ => "".into(),
        };
        // Known values stay values, so that they are known below.
        if val.cols.iter().all(|c| ops::constant(c).is_some()) {
            return Some(val);
        }
        let locals = self.store(body, &name, &val, span);
        Some(Elab::loaded(&val.ty, &locals))
    }

    /// When the pattern of a `let` with `else` matches, and what it binds.
    fn let_else(
        &mut self,
        body: &mut Body,
        pattern: &ast::Pattern,
        ty: Option<&ast::Type>,
        value: &ast::Expr,
        other: &Block,
        span: Span,
    ) -> (Expr, Vec<(Box<str>, Val)>) {
        let Some(val) = self.let_value(body, pattern, ty, value, span) else { return (ops::TRUE, Vec::new()) };
        let (cond, bindings) = self.pattern(body, pattern, &val);
        if cond == ops::TRUE {
            self.report(Diagnostic::new(
                Code::UnreachableArm,
                other.span,
                "this pattern always matches: the `else` is never taken",
            ));
        }
        (cond, bindings.into_iter().map(|(name, val)| (name.name, val)).collect())
    }

    fn bind_errors(&mut self, body: &mut Body, pattern: &ast::Pattern) {
        if let PatternKind::Path(path, args) = &pattern.kind {
            if args.is_empty()
                && let Some(name) = path.single()
            {
                body.bind(&name.name, Binding::Val(Val::error()));
            }
            args.iter().for_each(|a| self.bind_errors(body, a));
        }
    }

    /// A block that must leave the handler, as after `else`.
    pub(super) fn leaving_block(&mut self, body: &mut Body, block: &Block) {
        body.diverged = false;
        let val = self.block(body, block, None);
        if !body.diverged && val.ty != Ty::Never && val.ty != Ty::Error {
            let end = Span { start: block.span.end.saturating_sub(1), ..block.span };
            self.report(
                Diagnostic::new(Code::Diverges, end, "this block goes on, but there is nothing to go on with")
                    .note("end it with `drop \"reason\"`"),
            );
        }
    }

    fn for_stmt(&mut self, body: &mut Body, var: &ast::Ident, range: &ast::Expr, inner: &Block, span: Span) {
        let ExprKind::Range { low, high, inclusive } = &range.kind else {
            return self.error(Code::BadRange, range.span, "a loop goes over a range: `for i in 0..4`");
        };
        if body.place == Place::Test {
            return self.repeat(body, var, (low, high, *inclusive), inner, span);
        }
        let ty = self.loop_type(body, low, high);
        let (Some(low), Some(high)) = (self.constant_of(body, low, &ty), self.constant_of(body, high, &ty)) else { return };
        let high = if *inclusive { high.saturating_add(1) } else { high };
        if high.saturating_sub(low) > MAX_TURNS {
            let d = Diagnostic::new(Code::BadRange, range.span, format!("{} turns: {MAX_TURNS} is the most", high - low));
            return self.report(d.note("loops are unrolled; use `first x in T where P` to search a table"));
        }
        let scalar = self.scalar(&ty);
        for i in low..high {
            body.scopes.push(FxHashMap::default());
            body.bind(&var.name, Binding::Val(Val { ty: ty.clone(), cols: vec![Expr::Const(i, scalar)] }));
            let val = self.block(body, inner, Some(&Ty::Unit));
            self.coerce_block(body, val, &Ty::Unit, inner);
            body.scopes.pop();
            if body.diverged {
                break;
            }
        }
    }

    /// The type of a loop's variable: that of its bounds, or `u32`.
    fn loop_type(&mut self, body: &mut Body, low: &ast::Expr, high: &ast::Expr) -> Ty {
        for bound in [low, high] {
            if !matches!(bound.kind, ExprKind::Int(_)) {
                let (_, val) = body.nested(|body| self.expr(body, bound, None));
                if let Ty::Bits(_) = val.ty {
                    return val.ty;
                }
            }
        }
        Ty::Bits(32)
    }

    fn constant_of(&mut self, body: &mut Body, e: &ast::Expr, ty: &Ty) -> Option<u128> {
        let val = self.expr_of(body, e, ty);
        let found = ops::constant(&val.scalar());
        if found.is_none() {
            self.error(Code::NotConstant, e.span, "the bounds of a loop must be known at compile time");
        }
        found
    }

    fn assign(&mut self, body: &mut Body, place: &ast::Expr, value: &ast::Expr, span: Span) {
        match &place.kind {
            ExprKind::Path(path) if path.single().is_some() => {
                let Some(name) = path.single() else { return };
                match body.find(&name.name) {
                    Some(Binding::Var { ty, locals, mutable: true }) => {
                        let val = self.expr_of(body, value, &ty);
                        // Through temporaries: the new value may read the old one.
                        let scalars = self.scalars(&ty);
                        let several = locals.len() > 1;
                        let cols: Vec<Expr> = val
                            .cols
                            .into_iter()
                            .zip(scalars)
                            .map(|(e, s)| if several { body.atom(e, s, span) } else { e })
                            .collect();
                        for (dst, value) in locals.iter().zip(cols) {
                            body.push(StmtKind::Assign { dst: *dst, value }, span);
                        }
                    }
                    Some(Binding::Table(t)) => self.write_cell(body, t, value, place.span, span),
                    Some(Binding::Val(Val { ty: Ty::Error, .. })) => {}
                    Some(_) => {
                        let d = Diagnostic::new(Code::Immutable, place.span, format!("`{}` does not change", name.name));
                        self.report(d.note("declare a variable with `var`"));
                    }
                    None => {
                        self.expr(body, place, None);
                    }
                }
            }
            ExprKind::Field(base, name) => match self.thing(body, base, None) {
                Thing::Header(h) => self.write_field(body, &h, name, value, span),
                Thing::Val(Val { ty: Ty::Error, .. }) => {}
                _ => self.error(
                    Code::Immutable,
                    place.span,
                    "only header fields, variables and state are assigned; a struct is replaced as a whole",
                ),
            },
            ExprKind::Index(base, index) => match self.thing(body, base, None) {
                Thing::Table(t) => self.write_array(body, t, index, value, span),
                Thing::Val(Val { ty: Ty::Error, .. }) => {}
                _ => self.error(Code::Immutable, place.span, "only arrays are assigned by index"),
            },
            _ => self.error(Code::Immutable, place.span, "this cannot be assigned"),
        }
    }

    pub(super) fn if_expr(
        &mut self,
        body: &mut Body,
        cond: &ast::Expr,
        then: &Block,
        other: Option<&ast::Expr>,
        want: Option<&Ty>,
        span: Span,
    ) -> Val {
        let cond_val = self.cond(body, cond);
        let mut branches = Branches::new(body);
        let open = ops::constant(&cond_val).is_none();
        let mark = |elab: &mut Elab, body: &mut Body, at: Span, implied: bool| {
            if open {
                elab.branch(body, at, implied);
            }
        };
        let yes = |elab: &mut Elab, body: &mut Body, want: Option<&Ty>| {
            mark(elab, body, then.span, false);
            elab.block(body, then, want)
        };
        branches.run(self, body, want, yes, then.span);
        let no = |elab: &mut Elab, body: &mut Body, want: Option<&Ty>| match other {
            Some(e) => {
                mark(elab, body, e.span, false);
                elab.expr(body, e, want)
            }
            None => {
                mark(elab, body, cond.span, true);
                Val::unit()
            }
        };
        branches.run(self, body, want, no, other.map_or(span, |e| e.span));
        branches.join(body, span, |mut blocks| {
            let other = blocks.pop().unwrap_or_default();
            let then = blocks.pop().unwrap_or_default();
            StmtKind::If { cond: cond_val, then, other }
        })
    }
}

impl Elab {
    /// Says that a branch of the source begins here. Where events do not come, or in the standard library, none does.
    pub(super) fn branch(&mut self, body: &mut Body, span: Span, implied: bool) {
        let own = !super::modules::is_standard(&self.sources.file(span.file).path);
        if own && body.place == Place::Code && body.reading.is_none() {
            body.push(StmtKind::Branch { implied }, span);
        }
    }
}

/// Branches that come together again: their values go to common variables, and what is known of packets is what all know.
pub(crate) struct Branches {
    start: FxHashMap<PacketId, Chain>,
    ty: Option<Ty>,
    locals: Vec<LocalId>,
    blocks: Vec<ir::Block>,
    ends: Vec<FxHashMap<PacketId, Chain>>,
}

impl Branches {
    /// Before the first branch.
    pub(crate) fn new(body: &Body) -> Branches {
        Branches { start: body.chains.clone(), ty: None, locals: Vec::new(), blocks: Vec::new(), ends: Vec::new() }
    }

    /// Elaborates a branch.
    pub(crate) fn run(
        &mut self,
        elab: &mut Elab,
        body: &mut Body,
        want: Option<&Ty>,
        f: impl FnOnce(&mut Elab, &mut Body, Option<&Ty>) -> Val,
        span: Span,
    ) {
        body.chains = self.start.clone();
        body.diverged = false;
        let hint = self.ty.clone().or_else(|| want.cloned());
        let (block, diverged) = body.nested(|body| {
            let val = f(elab, body, hint.as_ref());
            let diverged = body.diverged || val.ty == Ty::Never;
            if !diverged && val.ty != Ty::Error {
                let first = self.ty.is_none();
                let ty = self.ty.get_or_insert_with(|| val.ty.clone()).clone();
                if ty == Ty::Unit && val.ty != Ty::Unit {
                    elab.error(Code::ValueUnused, span, "this value goes nowhere: another branch has none");
                } else if val.ty == Ty::Unit && ty != Ty::Unit {
                    elab.error(Code::NoValue, span, "this branch has no value, but another has");
                } else if ty != Ty::Unit {
                    let val = elab.coerce(body, val, &ty, span);
                    if first {
                        self.locals = elab.fresh(body, "", &ty);
                    }
                    for (dst, value) in self.locals.iter().zip(val.cols) {
                        body.push(StmtKind::Assign { dst: *dst, value }, span);
                    }
                }
            }
            diverged
        });
        self.blocks.push(block);
        if !diverged {
            self.ends.push(body.chains.clone());
        }
    }

    /// The block of the last branch, to be put elsewhere.
    pub(crate) fn take_last(&mut self) -> ir::Block {
        self.blocks.pop().unwrap_or_default()
    }

    /// After the last branch: adds the statement that holds them and gives the common value.
    pub(crate) fn join(self, body: &mut Body, span: Span, stmt: impl FnOnce(Vec<ir::Block>) -> StmtKind) -> Val {
        body.push(stmt(self.blocks), span);
        body.diverged = self.ends.is_empty();
        body.chains = self.start;
        let mut ends = self.ends.into_iter();
        let Some(mut known) = ends.next() else { return Val::never() };
        for end in ends {
            for (packet, chain) in &mut known {
                let same =
                    end.get(packet).map_or(0, |other| chain.layers.iter().zip(&other.layers).take_while(|(a, b)| a == b).count());
                chain.layers.truncate(same);
                chain.solid = chain.solid.min(same).min(end.get(packet).map_or(0, |o| o.solid));
            }
        }
        body.chains = known;
        match self.ty {
            Some(ty) if ty != Ty::Unit => Elab::loaded(&ty, &self.locals),
            _ => Val::unit(),
        }
    }
}
