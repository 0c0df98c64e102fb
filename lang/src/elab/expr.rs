//! Expressions: literals, operators, names, fields, conditionals. What reads state becomes statements; the value stays pure.

use super::Elab;
use super::body::{Binding, Body, HeaderBinding, PacketBinding, Place, Val, View};
use super::modules::{self, ItemRef};
use super::ops;
use super::types::{Ty, bits, max_value};
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::{self, BinaryOp as Op, Expr, Obligation, Scalar, StmtKind, TableId, UnaryOp};
use crate::span::Span;
use crate::syntax::ast::{self, BinaryOp, ExprKind, ItemKind};
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
        if !matches!(val.ty, Ty::Error | Ty::Unit | Ty::Never) {
            let shown = self.show(&val.ty);
            self.types.insert(e.span, shown);
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
                let from = self.scalars(&val.ty)[0];
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
        let scalar = self.scalars(&want)[0];
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

    fn binary(&mut self, body: &mut Body, op: BinaryOp, l: &ast::Expr, r: &ast::Expr, want: Option<&Ty>, span: Span) -> Val {
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
        let scalar = self.scalars(&ty)[0];
        let a = body.atom(left.scalar(), scalar, l.span);
        let right_ty = if shift { self.scalars(&right.ty)[0] } else { scalar };
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

    fn cast(&mut self, body: &mut Body, value: &ast::Expr, ty: &ast::Type, wrap: bool, span: Span) -> Val {
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
        let (from, to) = (self.scalars(&val.ty)[0], self.scalars(&target)[0]);
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
