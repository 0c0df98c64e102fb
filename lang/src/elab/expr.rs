//! Expressions: literals, names, fields, conditionals. What reads state becomes statements; the value stays pure.

use super::Elab;
use super::body::{Binding, Body, HeaderBinding, PacketBinding, Place, Val, View};
use super::modules::{self, ItemRef};
use super::ops;
use super::types::{Ty, bits, max_value};
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::{self, Expr, Scalar, TableId, UnaryOp};
use crate::span::Span;
use crate::syntax::ast::{self, ExprKind, ItemKind};
use std::rc::Rc;

/// What an expression denotes, values or not.
pub(crate) enum Thing {
    Val(Val),
    Header(HeaderBinding),
    View(Rc<View>),
    Packet(Rc<PacketBinding>),
    Table(TableId),
    Instance(Rc<super::body::Env>),
    Fn,
}

impl Elab {
    /// Elaborates an expression. `want` is the type expected, which literals take.
    pub(super) fn expr(&mut self, body: &mut Body, e: &ast::Expr, want: Option<&Ty>) -> Val {
        let val = self.expr_untraced(body, e, want);
        if e.span.file == crate::compile::ROOT && !matches!(val.ty, Ty::Error | Ty::Unit | Ty::Never) {
            self.types.insert(e.span, val.ty.clone());
        }
        val
    }

    /// Elaborates an expression that must have a type.
    pub(super) fn expr_of(&mut self, body: &mut Body, e: &ast::Expr, ty: &Ty) -> Val {
        let val = self.expr(body, e, Some(ty));
        self.coerce(body, val, ty, e.span)
    }

    /// Elaborates a condition.
    pub(super) fn cond(&mut self, body: &mut Body, e: &ast::Expr) -> Expr {
        self.expr_of(body, e, &Ty::Bool).scalar()
    }

    /// Takes a value as one of another type, if it is that or can be taken for it.
    pub(super) fn coerce(&mut self, body: &mut Body, val: Val, want: &Ty, span: Span) -> Val {
        if val.ty == *want || *want == Ty::Error {
            return val;
        }
        match (&val.ty, want) {
            (Ty::Never | Ty::Error, _) => {
                let cols = self.zeros(want);
                Val { ty: want.clone(), cols }
            }
            (Ty::Bits(_) | Ty::Time | Ty::Duration, Ty::Int) if body.mathematical() => {
                let from = self.scalar(&val.ty);
                Val { ty: Ty::Int, cols: vec![ops::convert(val.scalar(), from, Scalar::Int)] }
            }
            (Ty::Int, Ty::Bits(w)) if body.mathematical() && ops::constant(&val.scalar()).is_some_and(|n| n <= max_value(*w)) => {
                Val { ty: want.clone(), cols: vec![ops::convert(val.scalar(), Scalar::Int, Scalar::Bits(*w))] }
            }
            _ => {
                let (found, wanted) = (self.show(&val.ty), self.show(want));
                let mut d = Diagnostic::new(Code::TypeMismatch, span, format!("expected {wanted}, but this is {found}"));
                if let (Ty::Bits(_) | Ty::Newtype(_), Ty::Bits(_) | Ty::Newtype(_)) = (&val.ty, want) {
                    d = d.note(format!("convert with `as {wanted}`: widening is free, narrowing must be proved to fit"));
                }
                self.report(d);
                let cols = self.zeros(want);
                Val { ty: want.clone(), cols }
            }
        }
    }

    fn expr_untraced(&mut self, body: &mut Body, e: &ast::Expr, want: Option<&Ty>) -> Val {
        let span = e.span;
        match &e.kind {
            ExprKind::Error => Val::error(),
            ExprKind::Paren(inner) => self.expr(body, inner, want),
            ExprKind::Int(value) => self.int_literal(body, *value, want, span),
            ExprKind::Bool(b) => Val::bool(if *b { ops::TRUE } else { ops::FALSE }),
            ExprKind::Duration(ns) => Val { ty: Ty::Duration, cols: vec![Expr::Const(u128::from(*ns), Scalar::Bits(64))] },
            ExprKind::Ipv4(a) => self.address(span, "Ipv4Addr", u128::from(*a), 32),
            ExprKind::Ipv6(a) => self.address(span, "Ipv6Addr", *a, 128),
            ExprKind::Mac(a) => self.address(span, "Mac", u128::from(*a), 48),
            ExprKind::Prefix(a, len) => match self.address_type(span, "Ipv4Addr") {
                Ty::Newtype(item) => {
                    let cols =
                        vec![Expr::Const(u128::from(*a), Scalar::Bits(32)), Expr::Const(u128::from(*len), Scalar::Bits(8))];
                    Val { ty: Ty::Prefix(item), cols }
                }
                _ => Val::error(),
            },
            ExprKind::Str(_) | ExprKind::Bytes(_) if body.place == Place::Test => self.packet_literal(body, e),
            ExprKind::Str(_) | ExprKind::Bytes(_) | ExprKind::List(_) => {
                self.error(Code::Misplaced, span, "texts, bytes and lists stand in tests only");
                Val::error()
            }
            ExprKind::Path(_) | ExprKind::Field(..) => {
                let thing = self.thing(body, e, want);
                self.thing_value(body, thing, span)
            }
            ExprKind::Index(base, index) => self.index(body, base, index, span),
            ExprKind::Struct(path, fields) => self.struct_literal(body, path, fields, span),
            ExprKind::Call(path, args) => self.call(body, path, args, want, span),
            ExprKind::Method(base, name, args) => self.method(body, base, name, args, span),
            ExprKind::Unary(ast::UnaryOp::Not, inner) => {
                let val = self.cond(body, inner);
                Val::bool(ops::not(val))
            }
            ExprKind::Unary(ast::UnaryOp::Complement, inner) => {
                let val = self.expr(body, inner, want);
                match val.ty {
                    Ty::Bits(w) => {
                        let e = match val.scalar() {
                            Expr::Const(v, ty) => Expr::Const(!v & max_value(w), ty),
                            e => Expr::Unary(UnaryOp::Complement, Box::new(e)),
                        };
                        Val { ty: val.ty, cols: vec![e] }
                    }
                    Ty::Error => val,
                    _ => self.mismatch(&val.ty, "a number", span),
                }
            }
            ExprKind::Binary(op, l, r) => self.binary(body, *op, l, r, want, span),
            ExprKind::Range { .. } => {
                self.error(Code::BadRange, span, "a range is no value: it stands after `in`");
                Val::error()
            }
            ExprKind::Cast { value, ty, wrap } => self.cast(body, value, ty, *wrap, span),
            ExprKind::If(cond, then, other) => self.if_expr(body, cond, then, other.as_deref(), want, span),
            ExprKind::Match(scrutinee, arms) => self.match_expr(body, scrutinee, arms, want, span),
            ExprKind::Block(block) => {
                body.scopes.push(Default::default());
                let val = self.block(body, block, want);
                body.scopes.pop();
                val
            }
            ExprKind::Drop(reason) => self.drop_packet(body, reason.as_ref(), span),
            ExprKind::Emit(targets) => self.emit(body, targets, span),
            ExprKind::First { var, table, cond } => self.first(body, var, table, cond, span),
            ExprKind::Quantified { .. }
            | ExprKind::Whenever(..)
            | ExprKind::After(..)
            | ExprKind::Emits(..)
            | ExprKind::Counted(..)
            | ExprKind::Drops(..)
            | ExprKind::Same(..)
            | ExprKind::Refused(_)
            | ExprKind::Since(_) => self.formula(body, e),
        }
    }

    /// Reports a value of the wrong kind.
    pub(super) fn mismatch(&mut self, found: &Ty, wanted: &str, span: Span) -> Val {
        if *found != Ty::Error {
            let found = self.show(found);
            self.error(Code::TypeMismatch, span, format!("expected {wanted}, but this is {found}"));
        }
        Val::error()
    }

    fn int_literal(&mut self, body: &mut Body, value: u128, want: Option<&Ty>, span: Span) -> Val {
        let want = match want {
            Some(ty @ (Ty::Bits(_) | Ty::Newtype(_))) => ty.clone(),
            Some(Ty::Error) => return Val::error(),
            _ if body.mathematical() => {
                if value > i128::MAX as u128 {
                    self.error(Code::OutOfRange, span, "mathematical integers are written up to 2^127 - 1");
                    return Val::error();
                }
                return Val { ty: Ty::Int, cols: vec![Expr::Const(value, Scalar::Int)] };
            }
            Some(Ty::Int) | None => {
                let d = Diagnostic::new(Code::Untyped, span, "the width of this number cannot be told from what is around it");
                self.report(d.note(format!("write the type: `{value} as u16`, or `let x: u16 = {value};`")));
                return Val::error();
            }
            Some(other) => return self.mismatch_literal(other, "a number", span),
        };
        let scalar = self.scalar(&want);
        let width = bits(scalar).unwrap_or(128);
        if value > max_value(width) {
            let shown = self.show(&want);
            self.error(
                Code::OutOfRange,
                span,
                format!("{value} does not fit {shown}: the greatest value is {}", max_value(width)),
            );
        }
        Val { ty: want, cols: vec![Expr::Const(value & max_value(width), scalar)] }
    }

    fn mismatch_literal(&mut self, want: &Ty, found: &str, span: Span) -> Val {
        let wanted = self.show(want);
        let mut d = Diagnostic::new(Code::TypeMismatch, span, format!("expected {wanted}, but this is {found}"));
        if matches!(want, Ty::Time | Ty::Duration) {
            d = d.note("durations have a unit: `300s`, `10ms`");
        }
        self.report(d);
        Val::error()
    }

    fn address(&mut self, span: Span, name: &str, value: u128, width: u8) -> Val {
        match self.address_type(span, name) {
            Ty::Error => Val::error(),
            ty => Val { ty, cols: vec![Expr::Const(value, Scalar::Bits(width))] },
        }
    }

    /// What a name or a field denotes.
    pub(super) fn thing(&mut self, body: &mut Body, e: &ast::Expr, want: Option<&Ty>) -> Thing {
        match &e.kind {
            ExprKind::Paren(inner) => self.thing(body, inner, want),
            ExprKind::Path(path) => self.path_thing(body, path, want),
            ExprKind::Field(base, name) => {
                let base_thing = self.thing(body, base, None);
                self.field(body, base_thing, name)
            }
            _ => Thing::Val(self.expr(body, e, want)),
        }
    }

    fn path_thing(&mut self, body: &mut Body, path: &ast::Path, want: Option<&Ty>) -> Thing {
        let span = path.span();
        let [name] = path.segments.as_slice() else { return Thing::Val(self.variant(body, path, &[], span)) };
        if let Place::Header(fields) = &body.place
            && let Some(i) = fields.iter().position(|(n, _)| **n == *name.name)
        {
            let ty = fields[i].1.clone();
            return Thing::Val(Val { ty, cols: vec![Expr::Own(ir::FieldId(i as u32))] });
        }
        if let Some(binding) = body.find(&name.name) {
            self.used_members.insert(body.env.declared.get(&name.name).copied().unwrap_or(name.span));
            return match binding {
                Binding::Val(val) => Thing::Val(val),
                Binding::Var { ty, locals, .. } => Thing::Val(Elab::loaded(&ty, &locals)),
                Binding::Header(h) => Thing::Header(h),
                Binding::View(v) => Thing::View(v),
                Binding::Packet(p) => Thing::Packet(p),
                Binding::Table(t) => Thing::Table(t),
                Binding::Instance(env) => Thing::Instance(env),
                Binding::Fn(_) => Thing::Fn,
                Binding::Shape(_) => {
                    self.error(Code::WrongKind, span, format!("`{}` is a shape, no value", name.name));
                    Thing::Val(Val::error())
                }
            };
        }
        match &*name.name {
            "now" if !matches!(body.place, Place::Const | Place::Header(_)) => {
                return Thing::Val(Val { ty: Ty::Time, cols: vec![Expr::Now] });
            }
            "none" => {
                let Some(Ty::Option(inner)) = want else {
                    self.error(Code::Untyped, span, "the type of this `none` cannot be told from what is around it");
                    return Thing::Val(Val::error());
                };
                let ty = Ty::Option(inner.clone());
                let cols = self.zeros(&ty);
                return Thing::Val(Val { ty, cols });
            }
            _ => {}
        }
        match self.lookup(span.file, &name.name) {
            Some(item) => Thing::Val(self.item_value(item, name)),
            None => {
                let mut candidates = body.names();
                candidates.extend(self.modules[span.file.0 as usize].names.keys().map(|n| n.to_string()));
                candidates.sort();
                self.unknown_name(name, candidates);
                Thing::Val(Val::error())
            }
        }
    }

    /// The value of an item: a constant.
    pub(super) fn item_value(&mut self, item: ItemRef, name: &ast::Ident) -> Val {
        let (parsed, index) = self.item(item);
        match &parsed.file.items[index].kind {
            ItemKind::Const { name: declared, ty, value } => {
                match self.constants.get(&item) {
                    Some(Some(val)) => return val.clone(),
                    Some(None) => {
                        self.error(Code::Cycle, declared.span, format!("the value of `{}` needs itself", declared.name));
                        return Val::error();
                    }
                    None => {}
                }
                self.constants.insert(item, None);
                let ty = self.ty(ty);
                let mut body = Body::new(Place::Const);
                let val = self.expr_of(&mut body, value, &ty);
                let val = self.constant(&body, val, value.span);
                self.constants.insert(item, Some(val.clone()));
                val
            }
            ItemKind::Error => Val::error(),
            kind => {
                let what = modules::kind_name(kind);
                self.error(Code::WrongKind, name.span, format!("`{}` is {what}, no value", name.name));
                Val::error()
            }
        }
    }

    /// Demands that a value is known.
    pub(super) fn constant(&mut self, body: &Body, val: Val, span: Span) -> Val {
        let known = val.cols.iter().all(|c| ops::constant(c).is_some());
        if val.ty == Ty::Error || (known && body.block_is_empty()) {
            return val;
        }
        self.error(Code::NotConstant, span, "this must be known at compile time");
        let cols = self.zeros(&val.ty);
        Val { ty: val.ty, cols }
    }

    /// A constant number that must be known, e.g. a capacity.
    pub(super) fn constant_number(&mut self, body: &mut Body, e: &ast::Expr, width: u8) -> Option<u128> {
        let before = self.diagnostics.len();
        let val = match e.kind {
            ExprKind::Int(_) => self.expr(body, e, Some(&Ty::Bits(width))),
            _ => self.expr(body, e, None),
        };
        if !matches!(val.ty, Ty::Bits(_) | Ty::Int) {
            self.mismatch(&val.ty, "a number", e.span);
            return None;
        }
        match ops::constant(&val.scalar()) {
            Some(n) => (self.diagnostics.len() == before || val.ty != Ty::Error).then_some(n),
            None => {
                self.error(Code::NotConstant, e.span, "this must be known at compile time");
                None
            }
        }
    }

    fn field(&mut self, body: &mut Body, base: Thing, name: &ast::Ident) -> Thing {
        match base {
            Thing::Instance(env) => match env.names.get(&name.name) {
                Some(Binding::Table(t)) => {
                    self.used_members.insert(env.declared.get(&name.name).copied().unwrap_or_default());
                    Thing::Table(*t)
                }
                Some(Binding::Instance(inner)) => Thing::Instance(inner.clone()),
                Some(Binding::Fn(_)) => Thing::Fn,
                Some(Binding::Val(v)) => Thing::Val(v.clone()),
                _ => {
                    let known: Vec<String> = env.names.keys().map(|n| n.to_string()).collect();
                    self.unknown_name(name, known);
                    Thing::Val(Val::error())
                }
            },
            Thing::Header(h) => Thing::Val(self.header_field(body, &h, name)),
            Thing::View(view) => match view.fields.iter().find(|(n, _)| **n == *name.name) {
                Some((_, val)) => Thing::Val(val.clone()),
                None => {
                    self.error(
                        Code::AmbiguousHeader,
                        name.span,
                        format!("not all alternatives have a field `{}` of one type", name.name),
                    );
                    Thing::Val(Val::error())
                }
            },
            Thing::Packet(p) => self.packet_member(body, &p, name),
            Thing::Table(t) => Thing::Val(self.table_member(body, t, name)),
            Thing::Fn => {
                self.error(Code::UnknownField, name.span, "a function has no fields");
                Thing::Val(Val::error())
            }
            Thing::Val(val) => Thing::Val(self.value_field(val, name)),
        }
    }

    fn value_field(&mut self, val: Val, name: &ast::Ident) -> Val {
        match &val.ty {
            Ty::Error => Val::error(),
            Ty::Struct(item) => {
                let info = self.type_info(*item);
                let mut at = 0;
                for (field, ty) in info.variants.iter().flat_map(|v| &v.fields) {
                    let width = self.width(ty);
                    if **field == *name.name {
                        return Val { ty: ty.clone(), cols: val.cols[at..at + width].to_vec() };
                    }
                    at += width;
                }
                let known = info.variants.iter().flat_map(|v| &v.fields).map(|(n, _)| n.clone()).collect::<Vec<_>>();
                self.unknown_field(&info.name, name, known)
            }
            Ty::Prefix(item) => match &*name.name {
                "address" => Val { ty: Ty::Newtype(*item), cols: vec![val.cols[0].clone()] },
                "length" => Val { ty: Ty::Bits(8), cols: vec![val.cols[1].clone()] },
                _ => self.unknown_field("prefix", name, vec!["address".to_string(), "length".to_string()]),
            },
            ty => {
                let shown = self.show(ty);
                self.error(Code::UnknownField, name.span, format!("a value of type {shown} has no fields"));
                Val::error()
            }
        }
    }

    /// Reports a field that is not there.
    pub(super) fn unknown_field(&mut self, of: &str, name: &ast::Ident, known: Vec<String>) -> Val {
        let mut d = Diagnostic::new(Code::UnknownField, name.span, format!("`{of}` has no field `{}`", name.name));
        if let Some(near) = modules::nearest(&name.name, known.iter().cloned()) {
            d = d.fix(name.span, near.clone(), format!("did you mean `{near}`?"));
        } else if !known.is_empty() {
            d = d.note(format!("it has {}", known.join(", ")));
        }
        self.report(d);
        Val::error()
    }

    fn thing_value(&mut self, body: &mut Body, thing: Thing, span: Span) -> Val {
        match thing {
            Thing::Val(val) => val,
            Thing::Table(t) => self.read_whole(body, t, span),
            Thing::Packet(p) if matches!(body.place, Place::Spec | Place::Test) => {
                Val { ty: Ty::Packet, cols: vec![Expr::PacketLength(p.id)] }
            }
            Thing::Packet(_) => self.no_value("a packet", span),
            Thing::Header(_) | Thing::View(_) => self.no_value("a header", span),
            Thing::Instance(_) => self.no_value("an instance", span),
            Thing::Fn => self.no_value("a function", span),
        }
    }

    pub(super) fn no_value(&mut self, what: &str, span: Span) -> Val {
        self.error(Code::WrongKind, span, format!("this is {what}, no value"));
        Val::error()
    }

    fn struct_literal(
        &mut self,
        body: &mut Body,
        path: &ast::Path,
        fields: &[(ast::Ident, Option<ast::Expr>)],
        span: Span,
    ) -> Val {
        let Some(item) = self
            .resolve_kind(path, "a struct", |k| matches!(k, ItemKind::Struct { .. } | ItemKind::Header { .. } | ItemKind::Error))
        else {
            return Val::error();
        };
        let (parsed, index) = self.item(item);
        match &parsed.file.items[index].kind {
            ItemKind::Struct { .. } => {}
            ItemKind::Header { .. } if body.place == Place::Test => return self.packet_header(body, item, fields, span),
            ItemKind::Header { .. } => {
                self.error(Code::TestOnly, span, "packets are built in tests only; `push` adds a header to a packet");
                return Val::error();
            }
            _ => return Val::error(),
        }
        let info = self.type_info(item);
        let empty = Vec::new();
        let declared = info.variants.first().map_or(&empty, |v| &v.fields);
        let cols = self.fields_literal(body, &info.name, declared, fields, span);
        Val { ty: Ty::Struct(item), cols }
    }

    /// The columns of fields given by name.
    pub(super) fn fields_literal(
        &mut self,
        body: &mut Body,
        of: &str,
        declared: &[(String, Ty)],
        given: &[(ast::Ident, Option<ast::Expr>)],
        span: Span,
    ) -> Vec<Expr> {
        let mut values: Vec<Option<Vec<Expr>>> = vec![None; declared.len()];
        for (name, value) in given {
            let Some(i) = declared.iter().position(|(n, _)| **n == *name.name) else {
                self.unknown_field(of, name, declared.iter().map(|(n, _)| n.clone()).collect());
                continue;
            };
            if values[i].is_some() {
                self.error(Code::FieldSet, name.span, format!("`{}` is given twice", name.name));
                continue;
            }
            let shorthand;
            let value = match value {
                Some(e) => e,
                None => {
                    shorthand = ast::Expr { kind: ExprKind::Path(ast::Path { segments: vec![name.clone()] }), span: name.span };
                    &shorthand
                }
            };
            values[i] = Some(self.expr_of(body, value, &declared[i].1.clone()).cols);
        }
        let missing: Vec<String> =
            declared.iter().zip(&values).filter(|(_, v)| v.is_none()).map(|((n, _), _)| format!("`{n}`")).collect();
        if !missing.is_empty() {
            self.error(Code::FieldSet, span, format!("`{of}` needs {} too", missing.join(", ")));
        }
        let mut cols = Vec::new();
        for (value, (_, ty)) in values.into_iter().zip(declared) {
            cols.extend(match value {
                Some(v) => v,
                None => self.zeros(ty),
            });
        }
        cols
    }
}
