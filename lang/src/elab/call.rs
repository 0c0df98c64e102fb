//! Calls: functions, which are expanded where they are called, variants, hashes and built-in functions.

use super::Elab;
use super::body::{Binding, Body, Env, Place, Val};
use super::expr::Thing;
use super::modules::{self, ItemRef};
use super::ops;
use super::types::{Ty, bits};
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::{BinaryOp as Op, Expr, Scalar};
use crate::span::Span;
use crate::syntax::ast::{self, Arg, ExprKind, ItemKind};
use std::rc::Rc;

/// Functions may call functions so deep; more is taken for recursion through parameters.
const MAX_CALLS: usize = 32;

impl Elab {
    pub(super) fn call(&mut self, body: &mut Body, path: &ast::Path, args: &[Arg], want: Option<&Ty>, span: Span) -> Val {
        let [name] = path.segments.as_slice() else { return self.variant(body, path, args, span) };
        if let Some(Binding::Fn(f)) = body.find(&name.name) {
            let env = body.env.clone();
            self.used_members.insert(f.name.span);
            return self.expand(body, &f, &env, args, span);
        }
        if body.find(&name.name).is_some() {
            return self.no_value("no function", path.span());
        }
        if let Some(item) = self.lookup(span.file, &name.name) {
            return self.call_item(body, item, name, args, span);
        }
        match &*name.name {
            "some" => {
                let inner = match want {
                    Some(Ty::Option(inner)) => Some(&**inner),
                    _ => None,
                };
                let Some([arg]) = self.positional(args, 1, span) else { return Val::error() };
                let val = self.expr(body, &arg.value, inner);
                let val = match inner {
                    Some(ty) => self.coerce(body, val, &ty.clone(), arg.value.span),
                    None => val,
                };
                if matches!(val.ty, Ty::Error | Ty::Packet | Ty::Unit) {
                    return Val::error();
                }
                let mut cols = vec![ops::TRUE];
                cols.extend(val.cols);
                Val { ty: Ty::Option(Rc::new(val.ty)), cols }
            }
            "min" | "max" => {
                let Some([a, b]) = self.positional(args, 2, span) else { return Val::error() };
                let a_val = self.expr(body, &a.value, want);
                let hint = a_val.ty.clone();
                let b_val = self.expr(body, &b.value, Some(&hint));
                let b_val = self.coerce(body, b_val, &hint, b.value.span);
                if !matches!(hint, Ty::Bits(_) | Ty::Int | Ty::Time | Ty::Duration) {
                    return self.mismatch(&hint, "numbers", span);
                }
                let scalar = self.scalar(&hint);
                let (x, y) = (body.atom(a_val.scalar(), scalar, span), body.atom(b_val.scalar(), scalar, span));
                let less = ops::binary(Op::Le, x.clone(), y.clone(), scalar);
                let (t, f) = if &*name.name == "min" { (x, y) } else { (y, x) };
                let e = match less {
                    ops::TRUE => t,
                    ops::FALSE => f,
                    less => Expr::Select(Box::new(less), Box::new(t), Box::new(f)),
                };
                Val { ty: hint, cols: vec![e] }
            }
            "checksums_valid" if matches!(body.place, Place::Code | Place::Spec) => self.checksums_valid(body, args, span),
            "deadline" | "tokens" | "checksums_valid" | "same" | "body" => self.formula_call(body, name, args, span),
            "bytes" | "quote" | "truncate" if body.place == Place::Test => self.packet_call(body, name, args, span),
            _ => {
                let mut candidates = body.names();
                candidates.extend(["some", "min", "max"].map(String::from));
                candidates.extend(self.modules[span.file.0 as usize].names.keys().map(|n| n.to_string()));
                candidates.sort();
                self.unknown_name(name, candidates);
                Val::error()
            }
        }
    }

    /// Arguments without names, exactly so many.
    pub(super) fn positional<'a>(&mut self, args: &'a [Arg], count: usize, span: Span) -> Option<&'a [Arg]> {
        if let Some(named) = args.iter().find_map(|a| a.name.as_ref()) {
            self.error(Code::ArgumentCount, named.span, "these arguments have no names");
            return None;
        }
        if args.len() != count {
            let s = if count == 1 { "" } else { "s" };
            self.error(Code::ArgumentCount, span, format!("this takes {count} argument{s}, not {}", args.len()));
            return None;
        }
        Some(args)
    }

    fn call_item(&mut self, body: &mut Body, item: ItemRef, name: &ast::Ident, args: &[Arg], span: Span) -> Val {
        let (parsed, index) = self.item(item);
        match &parsed.file.items[index].kind {
            ItemKind::Fn(f) => self.expand(body, f, &Rc::new(Env::default()), args, span),
            ItemKind::Hash { params, result, .. } => self.call_hash(body, item, params, result, args, span),
            ItemKind::Error => Val::error(),
            kind => {
                let what = modules::kind_name(kind);
                self.error(Code::WrongKind, name.span, format!("`{}` is {what}, no function", name.name));
                Val::error()
            }
        }
    }

    fn call_hash(
        &mut self,
        body: &mut Body,
        item: ItemRef,
        params: &[ast::Param],
        result: &ast::Type,
        args: &[Arg],
        span: Span,
    ) -> Val {
        let Some(args) = self.positional(args, params.len(), span) else { return Val::error() };
        let result = self.ty(result);
        let mut cols = Vec::new();
        let mut scalars = Vec::new();
        for (arg, param) in args.iter().zip(params) {
            let Some(ty) = &param.ty else { continue };
            let ty = self.ty(ty);
            cols.extend(self.expr_of(body, &arg.value, &ty).cols);
            scalars.extend(self.scalars(&ty));
        }
        let Ty::Bits(width @ 1..=64) = result else { return Val::error() };
        let hash = self.hash_id(item, scalars, width);
        Val { ty: result, cols: vec![Expr::Hash(hash, cols)] }
    }

    /// Expands a function at its call.
    pub(super) fn expand(&mut self, body: &mut Body, f: &ast::Fn, env: &Rc<Env>, args: &[Arg], span: Span) -> Val {
        let result = f.result.as_ref().map(|t| self.ty(t)).unwrap_or(Ty::Unit);
        if self.open_fns.contains(&f.name.span) || self.open_fns.len() >= MAX_CALLS {
            self.report(
                Diagnostic::new(Code::Cycle, span, format!("`{}` calls itself", f.name.name))
                    .note("functions are expanded where they are called; recursion has no bound"),
            );
            let cols = self.zeros(&result);
            return Val { ty: result, cols };
        }
        let Some(args) = self.positional(args, f.params.len(), span) else {
            let cols = self.zeros(&result);
            return Val { ty: result, cols };
        };
        let mut bindings = Vec::new();
        for (param, arg) in f.params.iter().zip(args) {
            let binding = self.argument(body, param, &arg.value);
            bindings.push((param.name.name.clone(), binding));
        }
        // The function sees its parameters and the names of its own place, not those of the caller.
        let scopes = std::mem::replace(&mut body.scopes, vec![bindings.into_iter().collect()]);
        let caller = std::mem::replace(&mut body.env, env.clone());
        let outputs = body.outputs.take();
        self.open_fns.push(f.name.span);
        let val = self.block(body, &f.body, Some(&result));
        // In specifications numbers stay what they are: integers without bounds.
        let exact = body.mathematical() && val.ty == Ty::Int && matches!(result, Ty::Bits(_));
        let val = if exact { val } else { self.coerce_block(body, val, &result, &f.body) };
        self.open_fns.pop();
        body.outputs = outputs;
        body.env = caller;
        body.scopes = scopes;
        val
    }

    fn argument(&mut self, body: &mut Body, param: &ast::Param, value: &ast::Expr) -> Binding {
        let Some(ty) = &param.ty else { return Binding::Val(Val::error()) };
        if self.is_shape(body, ty) {
            return match self.thing(body, value, None) {
                Thing::Packet(p) => Binding::Packet(p),
                Thing::Val(Val { ty: Ty::Error, .. }) => Binding::Val(Val::error()),
                _ => {
                    self.error(Code::TypeMismatch, value.span, "expected a packet of a shape");
                    Binding::Val(Val::error())
                }
            };
        }
        let ty = self.ty(ty);
        if ty == Ty::Packet {
            return match self.packet_value(body, value) {
                Some(p) => Binding::Packet(p),
                None => Binding::Val(Val::error()),
            };
        }
        let val = self.expr(body, value, Some(&ty));
        let exact = body.mathematical() && val.ty == Ty::Int && matches!(ty, Ty::Bits(_));
        let ty = if exact { Ty::Int } else { ty };
        let val = self.coerce(body, val, &ty, value.span);
        // Into variables, so that what is computed once is written once.
        let scalars = self.scalars(&ty);
        let cols = val.cols.into_iter().zip(scalars).map(|(e, s)| body.atom(e, s, value.span)).collect();
        Binding::Val(Val { ty, cols })
    }

    /// Whether a parameter's type is a shape: the parameter is a packet.
    pub(super) fn is_shape(&mut self, body: &Body, ty: &ast::Type) -> bool {
        let ast::TypeKind::Named(path, args) = &ty.kind else { return false };
        let Some(name) = path.single() else { return false };
        if !args.is_empty() {
            return false;
        }
        if let Some(Binding::Shape(_)) = body.env.names.get(&name.name) {
            return true;
        }
        match self.modules[name.span.file.0 as usize].names.get(&name.name).copied() {
            Some(item) => {
                let (parsed, index) = self.item(item);
                let shape = matches!(parsed.file.items[index].kind, ItemKind::Shape(_));
                if shape {
                    self.used.insert(item);
                }
                shape
            }
            None => false,
        }
    }

    /// `Enum::variant`, `Enum::variant(fields)`
    pub(super) fn variant(&mut self, body: &mut Body, path: &ast::Path, args: &[Arg], span: Span) -> Val {
        let [of, name] = path.segments.as_slice() else {
            self.error(Code::UnknownName, path.span(), "a name is alone, or `Enum::variant`");
            return Val::error();
        };
        let of = ast::Path { segments: vec![of.clone()] };
        let Some(item) = self.resolve_kind(&of, "an enum", |k| matches!(k, ItemKind::Enum { .. } | ItemKind::Error)) else {
            return Val::error();
        };
        let info = self.type_info(item);
        let Some(tag) = info.variants.iter().position(|v| *v.name == *name.name) else {
            let known = info.variants.iter().map(|v| v.name.clone()).collect();
            return self.unknown_field(&info.name.clone(), name, known);
        };
        let mut cols = vec![Expr::Const(tag as u128, Scalar::Bits(8))];
        for (i, variant) in info.variants.iter().enumerate() {
            if i == tag {
                let fields = variant.fields.clone();
                if args.iter().all(|a| a.name.is_none()) && args.len() == fields.len() {
                    for (arg, (_, ty)) in args.iter().zip(&fields) {
                        cols.extend(self.expr_of(body, &arg.value, ty).cols);
                    }
                } else {
                    let given: Vec<(ast::Ident, Option<ast::Expr>)> = args
                        .iter()
                        .filter_map(|a| {
                            let name = a.name.clone().or_else(|| match &a.value.kind {
                                ExprKind::Path(p) => p.single().cloned(),
                                _ => None,
                            })?;
                            Some((name, Some(a.value.clone())))
                        })
                        .collect();
                    if given.len() != args.len() {
                        self.error(Code::ArgumentCount, span, format!("`{}` has {} fields", variant.name, fields.len()));
                    }
                    cols.extend(self.fields_literal(body, &variant.name, &fields, &given, span));
                }
            } else {
                for (_, ty) in &variant.fields {
                    cols.extend(self.zeros(ty));
                }
            }
        }
        Val { ty: Ty::Enum(item), cols }
    }

    /// Checks a hash function's declaration.
    pub(super) fn check_hash(&mut self, params: &[ast::Param], result: &ast::Type) {
        let ty = self.ty(result);
        if !matches!(ty, Ty::Bits(1..=64) | Ty::Error) {
            self.error(Code::BadWidth, result.span, "a hash function's result is u1 to u64");
        }
        for param in params {
            let Some(ty) = &param.ty else { continue };
            let checked = self.ty(ty);
            if self.scalars(&checked).iter().any(|s| bits(*s).is_none()) && checked != Ty::Error {
                self.error(Code::BadWidth, ty.span, "a hash function takes values with a layout");
            }
        }
    }
}
