//! Operations on state: tables, cells and counters.

use super::Elab;
use super::body::{Binding, Body, Place, Val};
use super::expr::Thing;
use super::ops;
use super::program::{Kind, TableInfo};
use super::stmt::Branches;
use super::types::{Ty, max_value};
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::{self, BinaryOp as Op, Expr, Obligation, Role, Scalar, SpecStmt, StmtKind, TableId};
use crate::span::Span;
use crate::syntax::ast::{self, BinaryOp, ExprKind};
use std::rc::Rc;

pub(super) const INDEX: Scalar = Scalar::Bits(32);

impl Elab {
    /// Whether a table may be read here. Reports if not.
    pub(super) fn readable(&mut self, body: &Body, info: &TableInfo, span: Span) -> bool {
        match body.place {
            Place::Header(_) | Place::Const | Place::Pure => {
                self.error(Code::NotPure, span, format!("`{}` is state, and this is computed without", info.name));
                false
            }
            Place::Code if info.role == Role::Ghost => {
                self.error(
                    Code::GhostUsed,
                    span,
                    format!("`{}` is ghost state: handlers write it, specifications read it", info.name),
                );
                false
            }
            _ => true,
        }
    }

    /// Whether a table may be written here. Reports if not.
    fn writable(&mut self, body: &Body, info: &TableInfo, span: Span) -> bool {
        if let Some(place) = body.reading {
            self.error(Code::NotPure, span, format!("{place} only reads"));
        } else if body.place != Place::Code {
            self.error(Code::NotPure, span, "state is changed by handlers only");
        } else if info.role == Role::Control {
            let d = Diagnostic::new(
                Code::ControlWritten,
                span,
                format!("`{}` is a control table: only the control plane writes it", info.name),
            );
            self.report(d.note("declare it as `state` if handlers are to write it"));
        } else if info.role == Role::Feed {
            self.error(Code::ControlWritten, span, format!("`{}` is fed by the runtime, and read only here", info.name));
        } else {
            return true;
        }
        false
    }

    /// `base.name(args)`
    pub(super) fn method(&mut self, body: &mut Body, base: &ast::Expr, name: &ast::Ident, args: &[ast::Expr], span: Span) -> Val {
        if let ExprKind::Index(array, index) = &base.kind
            && &*name.name == "add"
            && let Thing::Table(t) = self.thing(body, array, None)
        {
            return self.count(body, t, Some(index), args, span);
        }
        match self.thing(body, base, None) {
            Thing::Table(t) => self.table_method(body, t, name, args, span),
            Thing::Instance(env) => match env.names.get(&name.name) {
                Some(Binding::Fn(f)) => {
                    self.used_members.insert(f.name.span);
                    let args: Vec<ast::Arg> = args.iter().map(|a| ast::Arg { name: None, value: a.clone() }).collect();
                    self.expand(body, f, &env, &args, span)
                }
                _ => {
                    let known: Vec<String> = env.names.keys().map(|n| n.to_string()).collect();
                    self.unknown_name(name, known);
                    Val::error()
                }
            },
            Thing::Val(Val { ty: Ty::Error, .. }) => Val::error(),
            _ => {
                self.error(
                    Code::UnknownMethod,
                    name.span,
                    format!("there is no operation `{}` here: operations are those of tables", name.name),
                );
                Val::error()
            }
        }
    }

    fn table_method(&mut self, body: &mut Body, t: TableId, name: &ast::Ident, args: &[ast::Expr], span: Span) -> Val {
        let info = self.table(t);
        let known: &[&str] = match info.kind {
            Kind::Map => &["get", "touch", "contains", "insert", "insert_or_update", "set", "expire_at", "remove"],
            Kind::Set => &["touch", "contains", "insert", "insert_or_update", "expire_at", "remove"],
            Kind::Lpm => &["lookup"],
            Kind::Bucket => &["take", "contains"],
            Kind::Counter => &["add"],
            Kind::Array | Kind::Cell => &[],
        };
        if !known.contains(&&*name.name) {
            let d = Diagnostic::new(Code::UnknownMethod, name.span, format!("`{}` has no operation `{}`", info.name, name.name));
            let d = match (info.kind, super::modules::nearest(&name.name, known.iter().map(|k| k.to_string()))) {
                (_, Some(near)) => d.fix(name.span, near.clone(), format!("did you mean `{near}`?")),
                (Kind::Array, _) => d.note("arrays are read and written by index: `a[i]`, `a[i] = e;`"),
                (Kind::Cell, _) => d.note("cells are read and written by name: `c`, `c = e;`"),
                _ => d.note(format!("it has {}", known.join(", "))),
            };
            self.report(d);
            return Val::error();
        }
        let arity = match &*name.name {
            "insert" | "insert_or_update" if info.kind == Kind::Set => 1,
            "insert" | "insert_or_update" | "set" | "expire_at" | "take" => 2,
            _ => 1,
        };
        if args.len() != arity {
            let s = if arity == 1 { "" } else { "s" };
            self.error(Code::ArgumentCount, span, format!("`{}` takes {arity} argument{s}, not {}", name.name, args.len()));
            return Val::error();
        }
        match &*name.name {
            "get" | "touch" | "contains" => self.look_up(body, t, &info, &name.name, &args[0], span),
            "insert" | "insert_or_update" => {
                let d = Diagnostic::new(Code::InsertUnchecked, span, format!("`{}` may be full: what then?", info.name));
                self.report(d.note("an insertion is a statement with `else { ... }`"));
                Val::error()
            }
            "lookup" => {
                if !self.readable(body, &info, span) {
                    return Val::error();
                }
                let Ty::Prefix(address) = info.key else { return Val::error() };
                let key = self.expr_of(body, &args[0], &Ty::Newtype(address)).scalar();
                let found = body.local("", Scalar::Bool);
                let length = body.local("", Scalar::Bits(8));
                let value = self.fresh(body, "", &info.value);
                body.push(StmtKind::Longest { table: t, key, found, length, value: value.clone() }, span);
                optional(&info.value, found, &value)
            }
            "take" => {
                if !self.writable(body, &info, span) {
                    return Val::error();
                }
                let key = self.expr_of(body, &args[0], &info.key).cols;
                let amount = self.expr(body, &args[1], Some(&Ty::Bits(32)));
                let Ty::Bits(width) = amount.ty else { return self.mismatch(&amount.ty, "a number of bytes", args[1].span) };
                let amount = ops::convert(amount.scalar(), Scalar::Bits(width), Scalar::Bits(64));
                let result = body.local("", Scalar::Bits(8));
                body.push(StmtKind::Take { table: t, key, amount, result }, span);
                Val { ty: Ty::Take, cols: vec![Expr::Local(result)] }
            }
            "add" => self.count(body, t, None, args, span),
            changing => {
                if !self.writable(body, &info, span) {
                    return Val::error();
                }
                let key = self.expr_of(body, &args[0], &info.key).cols;
                let kind = match changing {
                    "set" => {
                        let value = self.expr_of(body, &args[1], &info.value).cols;
                        StmtKind::SetValue { table: t, key, value }
                    }
                    "expire_at" => {
                        let at = self.expr_of(body, &args[1], &Ty::Time).scalar();
                        StmtKind::ExpireAt { table: t, key, at }
                    }
                    _ => StmtKind::Remove { table: t, key },
                };
                body.push(kind, span);
                Val::unit()
            }
        }
    }

    fn look_up(&mut self, body: &mut Body, t: TableId, info: &TableInfo, how: &str, key: &ast::Expr, span: Span) -> Val {
        let touch = how == "touch";
        if !(if touch { self.writable(body, info, span) } else { true }) || !self.readable(body, info, span) {
            return Val::error();
        }
        let key = self.expr_of(body, key, &info.key).cols;
        let found = body.local("", Scalar::Bool);
        let value = self.fresh(body, "", &info.value);
        body.push(StmtKind::Lookup { table: t, key, touch, found, value: value.clone() }, span);
        if how == "contains" || info.kind == Kind::Set {
            Val::bool(Expr::Local(found))
        } else {
            optional(&info.value, found, &value)
        }
    }

    fn count(&mut self, body: &mut Body, t: TableId, index: Option<&ast::Expr>, args: &[ast::Expr], span: Span) -> Val {
        let info = self.table(t);
        if info.kind != Kind::Counter || index.is_some() != info.indexed {
            let what = if info.kind == Kind::Counter {
                "a counter array is counted by index, a single counter without"
            } else {
                "only counters are added to"
            };
            self.error(Code::UnknownMethod, span, what);
            return Val::error();
        }
        let [amount] = args else {
            self.error(Code::ArgumentCount, span, "`add` takes one number");
            return Val::error();
        };
        if !self.writable(body, &info, span) {
            return Val::error();
        }
        let index = match index {
            Some(e) => self.checked_index(body, &info, e),
            None => Expr::Const(0, INDEX),
        };
        let amount_val = self.expr(body, amount, Some(&Ty::Bits(64)));
        let Ty::Bits(width) = amount_val.ty else { return self.mismatch(&amount_val.ty, "a number", amount.span) };
        let amount = ops::convert(amount_val.scalar(), Scalar::Bits(width), Scalar::Bits(64));
        body.push(StmtKind::Count { table: t, index, amount }, span);
        Val::unit()
    }

    /// An index into an array, 32 bits, known to be in bounds.
    fn checked_index(&mut self, body: &mut Body, info: &TableInfo, e: &ast::Expr) -> Expr {
        let val = self.expr(body, e, Some(if body.mathematical() { &Ty::Int } else { &Ty::Bits(32) }));
        let scalar = match val.ty {
            Ty::Bits(w) => Scalar::Bits(w),
            Ty::Int => Scalar::Int,
            _ => {
                self.mismatch(&val.ty, "an index", e.span);
                return Expr::Const(0, INDEX);
            }
        };
        let index = body.atom(val.scalar(), scalar, e.span);
        let fits = match scalar {
            Scalar::Bits(w) => u128::from(info.capacity) > max_value(w),
            _ => false,
        };
        if !fits {
            let limit = Expr::Const(u128::from(info.capacity), scalar);
            self.check(body, ops::binary(Op::Lt, index.clone(), limit, scalar), Obligation::Bounds, e.span);
        }
        ops::convert(index, scalar, INDEX)
    }

    /// `base[index]`
    pub(super) fn index(&mut self, body: &mut Body, base: &ast::Expr, index: &ast::Expr, span: Span) -> Val {
        match self.thing(body, base, None) {
            Thing::Table(t) => {
                let info = self.table(t);
                if !info.indexed {
                    let d = Diagnostic::new(Code::UnknownMethod, span, format!("`{}` is not indexed", info.name));
                    self.report(d.note("maps are read by `get`, which may find nothing"));
                    return Val::error();
                }
                if !self.readable(body, &info, span) {
                    return Val::error();
                }
                let index = self.checked_index(body, &info, index);
                if info.kind == Kind::Counter {
                    let value = body.local("", Scalar::Bits(64));
                    body.push(StmtKind::ReadCounter { table: t, index, value }, span);
                    return Val { ty: Ty::Bits(64), cols: vec![Expr::Local(value)] };
                }
                let value = self.fresh(body, "", &info.value);
                body.push(StmtKind::ReadArray { table: t, index, value: value.clone() }, span);
                Elab::loaded(&info.value, &value)
            }
            Thing::Val(Val { ty: Ty::Error, .. }) => Val::error(),
            _ => {
                self.error(Code::UnknownMethod, span, "only arrays and counters are indexed");
                Val::error()
            }
        }
    }

    /// `table.size`, `table.full`
    pub(super) fn table_member(&mut self, body: &mut Body, t: TableId, name: &ast::Ident) -> Val {
        let info = self.table(t);
        if !matches!(body.place, Place::Spec | Place::Test) {
            self.error(Code::SpecOnly, name.span, "how full a table is can be told in specifications and tests only");
            return Val::error();
        }
        let counted = !matches!(info.kind, Kind::Array | Kind::Cell | Kind::Counter);
        match &*name.name {
            "size" if counted => {
                let result = body.local("", Scalar::Int);
                body.push(StmtKind::Spec(Box::new(SpecStmt::Size { table: t, result })), name.span);
                Val { ty: Ty::Int, cols: vec![Expr::Local(result)] }
            }
            "full" if counted => {
                let result = body.local("", Scalar::Bool);
                body.push(StmtKind::Spec(Box::new(SpecStmt::Full { table: t, result })), name.span);
                Val::bool(Expr::Local(result))
            }
            _ => self.unknown_field(&info.name, name, if counted { vec!["size".into(), "full".into()] } else { Vec::new() }),
        }
    }

    /// The value of a cell or a counter by its name.
    pub(super) fn read_whole(&mut self, body: &mut Body, t: TableId, span: Span) -> Val {
        let info = self.table(t);
        match info.kind {
            Kind::Cell if self.readable(body, &info, span) => {
                let value = self.fresh(body, "", &info.value);
                body.push(StmtKind::ReadCell { table: t, value: value.clone() }, span);
                Elab::loaded(&info.value, &value)
            }
            Kind::Counter if !info.indexed && self.readable(body, &info, span) => {
                let value = body.local("", Scalar::Bits(64));
                body.push(StmtKind::ReadCounter { table: t, index: Expr::Const(0, INDEX), value }, span);
                Val { ty: Ty::Bits(64), cols: vec![Expr::Local(value)] }
            }
            Kind::Cell | Kind::Counter if !info.indexed => Val::error(),
            _ => self.no_value("a table", span),
        }
    }

    /// `cell = e;`
    pub(super) fn write_cell(&mut self, body: &mut Body, t: TableId, value: &ast::Expr, place: Span, span: Span) {
        let info = self.table(t);
        if info.kind != Kind::Cell {
            return self.error(Code::Immutable, place, "only cells are assigned as a whole");
        }
        if self.writable(body, &info, span) {
            let value = self.expr_of(body, value, &info.value).cols;
            body.push(StmtKind::WriteCell { table: t, value }, span);
        }
    }

    /// `array[i] = e;`
    pub(super) fn write_array(&mut self, body: &mut Body, t: TableId, index: &ast::Expr, value: &ast::Expr, span: Span) {
        let info = self.table(t);
        if info.kind != Kind::Array {
            return self.error(Code::Immutable, span, "only arrays are assigned by index");
        }
        if self.writable(body, &info, span) {
            let index = self.checked_index(body, &info, index);
            let value = self.expr_of(body, value, &info.value).cols;
            body.push(StmtKind::WriteArray { table: t, index, value }, span);
        }
    }

    /// `m.insert(k, v) and m2.insert(k, v) else { ... }`
    pub(super) fn insert_else(&mut self, body: &mut Body, e: &ast::Expr, other: &ast::Block, span: Span) {
        let mut parts = Vec::new();
        conjuncts(e, &mut parts);
        let (mut entries, mut ghost) = (Vec::new(), false);
        for part in parts {
            let ExprKind::Method(base, name, args) = &part.kind else {
                self.error(Code::Misplaced, part.span, "`else` stands behind insertions: `m.insert(k, v) else { ... }`");
                continue;
            };
            let Thing::Table(t) = self.thing(body, base, None) else { continue };
            let info = self.table(t);
            let arity = if info.kind == Kind::Set { 1 } else { 2 };
            if !matches!(&*name.name, "insert" | "insert_or_update") || !matches!(info.kind, Kind::Map | Kind::Set) {
                self.error(Code::Misplaced, part.span, "`else` stands behind insertions into maps and sets");
                continue;
            }
            if args.len() != arity {
                self.error(
                    Code::ArgumentCount,
                    part.span,
                    format!("`{}` takes {arity} arguments here, not {}", name.name, args.len()),
                );
                continue;
            }
            if !self.writable(body, &info, part.span) {
                continue;
            }
            ghost |= info.role == Role::Ghost;
            if info.role == Role::Ghost && (!other.stmts.is_empty() || other.value.is_some()) {
                self.error(Code::GhostUsed, other.span, "whether ghost state is full must not matter: leave this empty");
            }
            let key = self.expr_of(body, &args[0], &info.key).cols;
            let value = match args.get(1) {
                Some(v) => self.expr_of(body, v, &info.value).cols,
                None => Vec::new(),
            };
            entries.push(ir::InsertEntry { table: t, key, value, or_update: &*name.name == "insert_or_update" });
        }
        let ok = body.local("", Scalar::Bool);
        if !entries.is_empty() {
            body.push(StmtKind::Insert { entries, ok }, e.span);
        }
        let mut branches = Branches::new(body);
        branches.run(self, body, None, |_, _, _| Val::unit(), span);
        let full = |elab: &mut Elab, body: &mut Body, want: Option<&Ty>| {
            // Ghost tables have room.
            if !ghost {
                elab.branch(body, other.span, false);
            }
            elab.block(body, other, want)
        };
        branches.run(self, body, Some(&Ty::Unit), full, other.span);
        branches.join(body, span, |mut blocks| {
            let other = blocks.pop().unwrap_or_default();
            StmtKind::If { cond: Expr::Local(ok), then: Vec::new(), other }
        });
    }
}

/// A value that may not be there.
pub(super) fn optional(ty: &Ty, found: ir::LocalId, value: &[ir::LocalId]) -> Val {
    let mut cols = vec![Expr::Local(found)];
    cols.extend(value.iter().map(|l| Expr::Local(*l)));
    Val { ty: Ty::Option(Rc::new(ty.clone())), cols }
}

/// The parts of `a and b and c`.
fn conjuncts<'a>(e: &'a ast::Expr, out: &mut Vec<&'a ast::Expr>) {
    match &e.kind {
        ExprKind::Binary(BinaryOp::And, a, b) => {
            conjuncts(a, out);
            conjuncts(b, out);
        }
        ExprKind::Paren(inner) => conjuncts(inner, out),
        _ => out.push(e),
    }
}
