//! Packets that tests build: headers with what is filled in, payloads, quotations.

use super::Elab;
use super::body::{Binding, Body, HeaderBinding, PacketBinding, Place, Val};
use super::expr::Thing;
use super::headers::HeaderInfo;
use super::modules::ItemRef;
use super::ops;
use super::types::Ty;
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::spec::{Fill, Part, Payload};
use crate::ir::{Expr, PacketId, Scalar, TestStmt};
use crate::span::Span;
use crate::syntax::ast::{self, BinaryOp, ExprKind};
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// Fields of a header that is built, as they are written.
type Given = [(ast::Ident, Option<ast::Expr>)];

/// A header of a packet that is built: its declaration, the fields given, its place.
type Layer = (ItemRef, Vec<(ast::Ident, Option<ast::Expr>)>, Span);

impl Elab {
    /// The packet that an expression is.
    pub(super) fn packet_value(&mut self, body: &mut Body, e: &ast::Expr) -> Option<Rc<PacketBinding>> {
        if let ExprKind::Path(_) = &e.kind
            && let Thing::Packet(p) = self.thing(body, e, None)
        {
            return Some(p);
        }
        let val = self.expr(body, e, Some(&Ty::Packet));
        match (&val.ty, val.cols.first()) {
            (Ty::Packet, Some(Expr::PacketLength(id))) => body.known.get(id).cloned(),
            (Ty::Error, _) => None,
            _ => {
                self.mismatch(&val.ty, "a packet", e.span);
                None
            }
        }
    }

    fn packet_val(&mut self, body: &mut Body, id: PacketId, layers: FxHashMap<Box<str>, Binding>) -> Val {
        body.known.insert(id, Rc::new(PacketBinding { id, port: None, layers }));
        Val { ty: Ty::Packet, cols: vec![Expr::PacketLength(id)] }
    }

    /// Bytes alone.
    pub(super) fn packet_literal(&mut self, body: &mut Body, e: &ast::Expr) -> Val {
        let Some(payload) = self.payload(body, e) else { return Val::error() };
        let id = body.packet("bytes");
        self.test(body, TestStmt::Build { packet: id, parts: Vec::new(), payload: vec![payload] }, e.span);
        self.packet_val(body, id, FxHashMap::default())
    }

    /// `A { } / B { } / "payload"`
    pub(super) fn packet_join(&mut self, body: &mut Body, l: &ast::Expr, r: &ast::Expr) -> Val {
        let span = l.span.to(r.span);
        let mut pieces = Vec::new();
        flatten(l, &mut pieces);
        flatten(r, &mut pieces);
        let (mut layers, mut payload): (Vec<Layer>, Vec<Payload>) = (Vec::new(), Vec::new());
        for piece in pieces {
            match &piece.kind {
                ExprKind::Struct(path, fields) => {
                    let Some(info) = self.header(path) else { return Val::error() };
                    if !payload.is_empty() {
                        self.error(Code::BadTest, piece.span, "headers stand before the payload");
                        return Val::error();
                    }
                    layers.push((info.item, fields.clone(), piece.span));
                }
                _ => match self.payload(body, piece) {
                    Some(p) => payload.push(p),
                    None => return Val::error(),
                },
            }
        }
        self.build_packet(body, layers, payload, span)
    }

    /// A packet of one header.
    pub(super) fn packet_header(&mut self, body: &mut Body, item: ItemRef, fields: &Given, span: Span) -> Val {
        self.build_packet(body, vec![(item, fields.to_vec(), span)], Vec::new(), span)
    }

    fn payload(&mut self, body: &mut Body, e: &ast::Expr) -> Option<Payload> {
        match &e.kind {
            ExprKind::Str(s) => Some(Payload::Bytes(s.as_bytes().to_vec())),
            ExprKind::Bytes(b) => Some(Payload::Bytes(b.clone())),
            ExprKind::Paren(inner) => self.payload(body, inner),
            ExprKind::Call(path, args) => match path.single().map(|n| &*n.name) {
                Some("bytes") => {
                    let [n] = self.positional(args, 1, e.span)? else { return None };
                    Some(Payload::Zeros(self.length(body, &n.value)))
                }
                Some("quote") => self.quote(body, args, e.span),
                _ => self.no_payload(e.span),
            },
            _ => self.no_payload(e.span),
        }
    }

    fn no_payload(&mut self, span: Span) -> Option<Payload> {
        let d = Diagnostic::new(Code::BadTest, span, "this is no part of a packet");
        self.report(d.note("a packet is headers, then payload: `\"text\"`, `hex\"00ff\"`, `bytes(n)`, `quote(q)`"));
        None
    }

    /// A number of bytes, 32 bits.
    fn length(&mut self, body: &mut Body, e: &ast::Expr) -> Expr {
        let val = self.expr(body, e, Some(&Ty::Bits(32)));
        match val.ty {
            Ty::Bits(w) => ops::convert(val.scalar(), Scalar::Bits(w), Scalar::Bits(32)),
            _ => {
                self.mismatch(&val.ty, "a number of bytes", e.span);
                Expr::Const(0, Scalar::Bits(32))
            }
        }
    }

    fn quote(&mut self, body: &mut Body, args: &[ast::Arg], span: Span) -> Option<Payload> {
        let [what, rest @ ..] = args else {
            self.error(
                Code::ArgumentCount,
                span,
                "`quote(q.ip, 28)`: a packet or one of its headers, and how many bytes at most",
            );
            return None;
        };
        if rest.len() > 1 {
            self.error(Code::ArgumentCount, span, "`quote` takes a packet or a header, and a number of bytes");
            return None;
        }
        let limit = rest.first().map(|n| self.length(body, &n.value));
        match self.thing(body, &what.value, Some(&Ty::Packet)) {
            Thing::Packet(p) => Some(Payload::Quote { packet: p.id, from: None, limit }),
            Thing::Header(h) => Some(Payload::Quote { packet: h.packet, from: Some(h.handle), limit }),
            Thing::Val(Val { ty: Ty::Packet, cols }) => match cols.first() {
                Some(Expr::PacketLength(id)) => Some(Payload::Quote { packet: *id, from: None, limit }),
                _ => None,
            },
            Thing::Val(Val { ty: Ty::Error, .. }) => None,
            _ => {
                self.error(
                    Code::BadTest,
                    what.value.span,
                    "what is quoted is a packet, or a header of one that is the same in all alternatives",
                );
                None
            }
        }
    }

    /// `truncate(p, n)`; payload makers alone are packets too.
    pub(super) fn packet_call(&mut self, body: &mut Body, name: &ast::Ident, args: &[ast::Arg], span: Span) -> Val {
        if &*name.name != "truncate" {
            let e = ast::Expr { kind: ExprKind::Call(ast::Path { segments: vec![name.clone()] }, args.to_vec()), span };
            return self.packet_literal(body, &e);
        }
        let Some([packet, length]) = self.positional(args, 2, span) else { return Val::error() };
        let Some(from) = self.packet_value(body, &packet.value) else { return Val::error() };
        let length = self.length(body, &length.value);
        let id = body.packet("truncated");
        self.test(body, TestStmt::Truncate { packet: id, from: from.id, length }, span);
        self.packet_val(body, id, FxHashMap::default())
    }

    fn build_packet(&mut self, body: &mut Body, layers: Vec<Layer>, payload: Vec<Payload>, span: Span) -> Val {
        let id = body.packet("packet");
        let mut parts = Vec::new();
        let mut names: FxHashMap<Box<str>, Binding> = FxHashMap::default();
        for (n, (item, fields, at)) in layers.iter().enumerate() {
            let Some(info) = self.header_info(*item) else { return Val::error() };
            let next = layers.get(n + 1).and_then(|(i, ..)| self.header_info(*i));
            let selectors = next.map(|next| self.selectors(&info, &next)).unwrap_or_default();
            let header = self.header_id(*item);
            let handle = body.handle(&info.name, header, id);
            let (fills, variable) = self.fills(body, &info, fields, &selectors, *at);
            parts.push(Part { header, handle, fields: fills, variable });
            names.entry(info.name.as_str().into()).or_insert(Binding::Header(HeaderBinding { item: *item, handle, packet: id }));
        }
        self.test(body, TestStmt::Build { packet: id, parts, payload }, span);
        self.packet_val(body, id, names)
    }

    /// The values of a header's fields that select another: `field == constant` of the first condition that is made of those.
    fn selectors(&mut self, info: &HeaderInfo, next: &HeaderInfo) -> Vec<(String, ast::Expr)> {
        for (parent, when) in &next.parents {
            if *parent != info.item {
                continue;
            }
            let mut all = Vec::new();
            if let Some(when) = when
                && equalities(when, &mut all)
            {
                return all;
            }
            // The first of several alternatives, e.g. of the types of an ICMP error.
            if let Some(when) = when {
                all.clear();
                first_equality(when, &mut all);
            }
            return all;
        }
        Vec::new()
    }

    fn fills(
        &mut self,
        body: &mut Body,
        info: &Rc<HeaderInfo>,
        given: &Given,
        selectors: &[(String, ast::Expr)],
        span: Span,
    ) -> (Vec<Fill>, Vec<u8>) {
        let mut variable = Vec::new();
        for (name, value) in given {
            if info.variable.as_ref().is_some_and(|(n, _)| **n == *name.name) {
                match value.as_ref().map(|v| &v.kind) {
                    Some(ExprKind::Bytes(b)) => variable = b.clone(),
                    _ => self.error(Code::BadTest, name.span, "the variable part is given as bytes: `hex\"...\"`"),
                }
            } else if info.field(&name.name).is_none() {
                self.unknown_field(&info.name, name, info.fields.iter().map(|f| f.name.clone()).collect());
            }
        }
        let mut fills = Vec::new();
        for (i, field) in info.fields.iter().enumerate() {
            let scalar = Scalar::Bits(field.width);
            let mut own = given.iter().filter(|(n, _)| *n.name == *field.name);
            if let Some((name, value)) = own.next() {
                if let Some((again, _)) = own.next() {
                    self.error(Code::FieldSet, again.span, format!("`{}` is given twice", again.name));
                }
                let shorthand = ast::Expr { kind: ExprKind::Path(ast::Path { segments: vec![name.clone()] }), span: name.span };
                let val = self.expr_of(body, value.as_ref().unwrap_or(&shorthand), &field.ty);
                fills.push(Fill::Value(val.scalar()));
                continue;
            }
            if info.checksums.iter().any(|c| c.field.index() == i) {
                fills.push(Fill::Checksum);
                continue;
            }
            let selector = selectors.iter().find(|(n, _)| *n == field.name).map(|(_, e)| e);
            fills.push(match (selector, &field.default) {
                (Some(e), _) => {
                    let mut inner = Body::new(Place::Const);
                    Fill::Value(self.expr_of(&mut inner, e, &field.ty).scalar())
                }
                (None, Some(default)) => self.default_fill(body, default, field.ty.clone(), span),
                (None, None) => Fill::Value(Expr::Const(0, scalar)),
            });
        }
        (fills, variable)
    }

    /// A default may use the lengths of the packet.
    fn default_fill(&mut self, body: &mut Body, default: &ast::Expr, ty: Ty, span: Span) -> Fill {
        if !super::packet::mentions(default, "header_length") && !super::packet::mentions(default, "packet_length") {
            let mut inner = Body::new(Place::Const);
            return Fill::Value(self.expr_of(&mut inner, default, &ty).scalar());
        }
        let header = body.local("header_length", Scalar::Int);
        let total = body.local("packet_length", Scalar::Int);
        let env = std::mem::take(&mut body.env);
        let place = std::mem::replace(&mut body.place, Place::Spec);
        let scopes = std::mem::replace(&mut body.scopes, vec![FxHashMap::default()]);
        let int = |l| Binding::Val(Val { ty: Ty::Int, cols: vec![Expr::Local(l)] });
        body.bind("header_length", int(header));
        body.bind("packet_length", int(total));
        let (block, value) = body.nested(|body| self.expr_of(body, default, &Ty::Int).scalar());
        if !block.is_empty() {
            self.error(Code::BadHeader, span, "a default computes with the lengths only");
        }
        body.scopes = scopes;
        body.place = place;
        body.env = env;
        Fill::Lengths { header, total, value }
    }
}

/// The pieces of `a / b / c`.
fn flatten<'a>(e: &'a ast::Expr, out: &mut Vec<&'a ast::Expr>) {
    match &e.kind {
        ExprKind::Binary(BinaryOp::Div, l, r) => {
            flatten(l, out);
            flatten(r, out);
        }
        ExprKind::Paren(inner) => flatten(inner, out),
        _ => out.push(e),
    }
}

/// The equalities that a condition is made of, if it is a conjunction of such.
fn equalities(e: &ast::Expr, out: &mut Vec<(String, ast::Expr)>) -> bool {
    match &e.kind {
        ExprKind::Paren(inner) => equalities(inner, out),
        ExprKind::Binary(BinaryOp::And, l, r) => equalities(l, out) && equalities(r, out),
        ExprKind::Binary(BinaryOp::Eq, l, r) => match &l.kind {
            ExprKind::Path(p) if p.single().is_some() => {
                out.push((p.single().map(|n| n.name.to_string()).unwrap_or_default(), (**r).clone()));
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// The first equality of a condition, and those that go with it.
fn first_equality(e: &ast::Expr, out: &mut Vec<(String, ast::Expr)>) {
    match &e.kind {
        ExprKind::Paren(inner) => first_equality(inner, out),
        ExprKind::Binary(BinaryOp::Or, l, _) => first_equality(l, out),
        ExprKind::Binary(BinaryOp::And, l, r) => {
            first_equality(l, out);
            first_equality(r, out);
        }
        _ => {
            equalities(e, out);
        }
    }
}
