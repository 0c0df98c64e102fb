//! Tests: scripts of packets and expectations, and how packets are built in them.

use super::Elab;
use super::body::{Binding, Body, HeaderBinding, PacketBinding, Place, Val};
use super::expr::Thing;
use super::headers::HeaderInfo;
use super::middlebox::Built;
use super::modules::ItemRef;
use super::ops;
use super::program::{Kind, TableInfo};
use super::types::Ty;
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::spec::{Fill, Part, Payload};
use crate::ir::{self, Expr, PacketId, Role, Scalar, StmtKind, TableContent, TableId, TestStmt};
use crate::span::Span;
use crate::syntax::Parsed;
use crate::syntax::ast::{self, BinaryOp, BlockKind, ExprKind, ItemKind, ParamRole};
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// Fields of a header that is built, as they are written.
type Given = [(ast::Ident, Option<ast::Expr>)];

/// A header of a packet that is built: its declaration, the fields given, its place.
type Layer = (ItemRef, Vec<(ast::Ident, Option<ast::Expr>)>, Span);

impl Elab {
    /// Elaborates the tests of the first file; each with the number of the program that it runs on.
    pub(super) fn check_tests(&mut self, root: &Rc<Parsed>, built: &mut Vec<Built>) -> Vec<(ir::Test, usize)> {
        let mut tests = Vec::new();
        let mut names: FxHashMap<String, Span> = FxHashMap::default();
        for item in &root.file.items {
            let ItemKind::Test { name, target, args, body } = &item.kind else { continue };
            if let Some(first) = names.insert(name.text.clone(), name.span) {
                let d = Diagnostic::new(Code::DuplicateName, name.span, "there is a test of this name already");
                self.report(d.also(first, "here"));
            }
            let found = self.resolve_kind(target, "a middlebox", |k| match k {
                ItemKind::Block(b) => b.kind == BlockKind::Middlebox,
                ItemKind::Error => true,
                _ => false,
            });
            let Some(of) = found else { continue };
            let (parsed, index) = self.item(of);
            let Some(decl) = Elab::block_decl(&parsed, index) else { continue };
            let (consts, params) = self.test_arguments(decl, args, name.span);
            let at = match built.iter().position(|b| b.item == of && b.consts == consts) {
                Some(at) => at,
                None => {
                    let new = self.build(of, consts);
                    built.push(new);
                    built.len() - 1
                }
            };
            std::mem::swap(&mut self.prog, &mut built[at].builder);
            let mut script = Body::with_env(Place::Test, &built[at].env);
            let val = self.block(&mut script, body, Some(&Ty::Unit));
            self.coerce_block(&mut script, val, &Ty::Unit, body);
            std::mem::swap(&mut self.prog, &mut built[at].builder);
            tests.push((ir::Test { name: name.text.clone(), span: name.span, params, body: script.finish() }, at));
        }
        tests
    }

    /// The compile-time values and the parameters that a test gives to its box.
    fn test_arguments(&mut self, decl: &ast::BlockDecl, args: &[ast::Arg], span: Span) -> (Vec<Val>, Vec<Option<Vec<u128>>>) {
        let env = Rc::new(super::body::Env::default());
        let values = self.arguments(&env, &decl.params, args, span);
        let (mut consts, mut params) = (Vec::new(), Vec::new());
        for param in &decl.params {
            let val = values.get(&param.name.name).cloned().unwrap_or_else(Val::error);
            match param.role {
                ParamRole::Const => consts.push(val),
                ParamRole::Value => params.push(Some(val.cols.iter().map(|c| ops::constant(c).unwrap_or(0)).collect())),
                ParamRole::Port => {}
            }
        }
        (consts, params)
    }

    fn test(&mut self, body: &mut Body, stmt: TestStmt, span: Span) {
        body.push(StmtKind::Test(Box::new(stmt)), span);
    }

    /// A statement that stands in tests only.
    pub(super) fn test_stmt(&mut self, body: &mut Body, stmt: &ast::Stmt) {
        let span = stmt.span;
        match &stmt.kind {
            ast::StmtKind::Send(port, packet) => {
                let (port, packet) = (self.test_port(body, port), self.packet_value(body, packet));
                if let (Some(port), Some(packet)) = (port, packet) {
                    self.test(body, TestStmt::Send { port, packet: packet.id }, span);
                }
            }
            ast::StmtKind::Expect(port, packet) => {
                let (port, packet) = (self.test_port(body, port), self.packet_value(body, packet));
                if let (Some(port), Some(packet)) = (port, packet) {
                    self.test(body, TestStmt::ExpectPacket { port, packet: packet.id }, span);
                }
            }
            ast::StmtKind::ExpectMatch(port, name, shape, cond) => {
                self.expect_match(body, port, name, shape, cond.as_ref(), span)
            }
            ast::StmtKind::ExpectDrop(reason) => {
                let reason = match reason {
                    None => None,
                    Some(r) => match self.named_reason(&r.text, r.span) {
                        None => return,
                        some => some,
                    },
                };
                self.test(body, TestStmt::ExpectDrop { reason }, span);
            }
            ast::StmtKind::Ignore => self.test(body, TestStmt::Ignore, span),
            ast::StmtKind::Advance(e) => {
                let by = self.expr_of(body, e, &Ty::Duration).scalar();
                self.test(body, TestStmt::Advance(by), span);
            }
            ast::StmtKind::Assert(e) => {
                let holds = body.local("holds", Scalar::Bool);
                let (block, ()) = body.nested(|body| {
                    body.place = Place::Spec;
                    let value = self.cond(body, e);
                    body.place = Place::Test;
                    body.push(StmtKind::Assign { dst: holds, value }, e.span);
                });
                self.test(body, TestStmt::Assert { block, holds }, span);
            }
            ast::StmtKind::Choices(values) => {
                let mut all = Vec::new();
                for e in values {
                    let val = self.expr(body, e, Some(&Ty::Bits(64)));
                    match val.ty {
                        Ty::Bits(w) => all.push(ops::convert(val.scalar(), Scalar::Bits(w), Scalar::Bits(64))),
                        _ => drop(self.mismatch(&val.ty, "a number", e.span)),
                    }
                }
                self.test(body, TestStmt::Choices(all), span);
            }
            ast::StmtKind::Update { refused, tables } => {
                let mut contents = Vec::new();
                for (table, value) in tables {
                    if let Some(content) = self.table_content(body, table, value) {
                        contents.push(content);
                    }
                }
                self.test(body, TestStmt::Update { tables: contents, refused: *refused }, span);
            }
            ast::StmtKind::Feed(place, value) => {
                let ExprKind::Index(table, key) = &place.kind else {
                    return self.error(
                        Code::BadTest,
                        place.span,
                        "one entry is fed: `feed neighbours[203.0.113.2] = 02:00:00:00:02:02;`",
                    );
                };
                let Some((t, info)) = self.fed(body, table) else { return };
                let key = self.entry_key(body, &info, key);
                let value = self.expr_of(body, value, &info.value).cols;
                self.test(body, TestStmt::Feed { table: t, key, value: Some(value) }, span);
            }
            ast::StmtKind::FeedRemove(place) => {
                let ExprKind::Method(table, name, args) = &place.kind else {
                    return self.error(Code::BadTest, place.span, "an entry is removed by `feed T.remove(k);`");
                };
                let ("remove" | "insert", [key]) = (&*name.name, args.as_slice()) else {
                    return self.error(
                        Code::BadTest,
                        place.span,
                        "an entry is removed by `feed T.remove(k);`, and put into a set by `feed T.insert(k);`",
                    );
                };
                let Some((t, info)) = self.fed(body, table) else { return };
                let insert = &*name.name == "insert";
                if insert && info.kind != Kind::Set {
                    return self.error(Code::BadTest, place.span, format!("`{}` has values: `feed T[k] = v;`", info.name));
                }
                let key = self.entry_key(body, &info, key);
                self.test(body, TestStmt::Feed { table: t, key, value: insert.then(Vec::new) }, span);
            }
            _ => {}
        }
    }

    fn test_port(&mut self, body: &mut Body, port: &ast::PortRef) -> Option<ir::PortId> {
        self.port_of(body, port)
    }

    fn expect_match(
        &mut self,
        body: &mut Body,
        port: &ast::PortRef,
        name: &ast::Ident,
        shape: &ast::ShapeRef,
        cond: Option<&ast::Expr>,
        span: Span,
    ) {
        let Some(port) = self.test_port(body, port) else { return };
        let packet = body.packet(&name.name);
        let holds = body.local("holds", Scalar::Bool);
        // The names stay for what follows.
        body.blocks.push(Vec::new());
        body.place = Place::Spec;
        let fits = self.bind_packet(body, &name.name, packet, None, Some(shape), span);
        let (inner, ()) = body.nested(|body| {
            let value = cond.map_or(ops::TRUE, |c| self.cond(body, c));
            body.push(StmtKind::Assign { dst: holds, value }, span);
        });
        body.push(StmtKind::If { cond: fits, then: inner, other: Vec::new() }, span);
        body.place = Place::Test;
        let block = body.blocks.pop().unwrap_or_default();
        self.test(body, TestStmt::ExpectMatch { port, packet, block, holds }, span);
    }

    fn fed(&mut self, body: &mut Body, table: &ast::Expr) -> Option<(TableId, TableInfo)> {
        let Thing::Table(t) = self.thing(body, table, None) else {
            self.error(Code::WrongKind, table.span, "expected a fed table");
            return None;
        };
        let info = self.table(t);
        if info.role != Role::Feed {
            self.error(Code::BadTest, table.span, format!("`{}` is not fed by the runtime", info.name));
            return None;
        }
        Some((t, info))
    }

    fn entry_key(&mut self, body: &mut Body, info: &TableInfo, key: &ast::Expr) -> Vec<Expr> {
        self.expr_of(body, key, &info.key).cols
    }

    fn table_content(&mut self, body: &mut Body, table: &ast::Expr, value: &ast::Expr) -> Option<TableContent> {
        let t = match self.thing(body, table, None) {
            Thing::Table(t) => t,
            Thing::Val(Val { ty: Ty::Error, .. }) => return None,
            _ => {
                self.error(Code::WrongKind, table.span, "expected a control table");
                return None;
            }
        };
        let info = self.table(t);
        if info.role != Role::Control {
            self.error(Code::BadTest, table.span, format!("`{}` is not written by the control plane", info.name));
            return None;
        }
        if info.kind == Kind::Cell {
            let value = self.expr_of(body, value, &info.value).cols;
            return Some(TableContent { table: t, entries: vec![(Vec::new(), value)] });
        }
        let ExprKind::List(rows) = &value.kind else {
            self.error(Code::BadTest, value.span, "a table's content is a list: `[k => v, ...]`");
            return None;
        };
        if rows.len() as u64 > info.capacity {
            self.error(Code::BadTest, value.span, format!("`{}` has room for {}", info.name, info.capacity));
        }
        let mut entries = Vec::new();
        for (first, second) in rows {
            match (info.kind, second) {
                (Kind::Array, None) => entries.push((Vec::new(), self.expr_of(body, first, &info.value).cols)),
                (Kind::Set, None) => entries.push((self.entry_key(body, &info, first), Vec::new())),
                (Kind::Map | Kind::Lpm, Some(v)) => {
                    let key = self.entry_key(body, &info, first);
                    entries.push((key, self.expr_of(body, v, &info.value).cols));
                }
                (Kind::Map | Kind::Lpm, None) => self.error(Code::BadTest, first.span, "an entry has a value: `key => value`"),
                (_, Some(v)) => {
                    self.error(Code::BadTest, v.span, "an entry here has no key of its own: arrays list values, sets list keys")
                }
                _ => {}
            }
        }
        Some(TableContent { table: t, entries })
    }

    /// `for i in a..b { ... }` in a test: a real loop.
    pub(super) fn repeat(
        &mut self,
        body: &mut Body,
        var: &ast::Ident,
        range: (&ast::Expr, &ast::Expr, bool),
        inner: &ast::Block,
        span: Span,
    ) {
        let (low, high, inclusive) = range;
        let mut bound = |elab: &mut Elab, e: &ast::Expr| {
            let val = elab.expr(body, e, Some(&Ty::Bits(64)));
            match val.ty {
                Ty::Bits(w) if w <= 64 => ops::convert(val.scalar(), Scalar::Bits(w), Scalar::Bits(64)),
                _ => elab.mismatch(&val.ty, "a number", e.span).scalar(),
            }
        };
        let low = bound(self, low);
        let mut high = bound(self, high);
        if inclusive {
            high = ops::binary(ir::BinaryOp::SatAdd, high, Expr::Const(1, Scalar::Bits(64)), Scalar::Bits(64));
        }
        let local = body.local(&var.name, Scalar::Bits(64));
        let (block, ()) = body.nested(|body| {
            body.bind(&var.name, Binding::Val(Val { ty: Ty::Bits(64), cols: vec![Expr::Local(local)] }));
            let val = self.block(body, inner, Some(&Ty::Unit));
            self.coerce_block(body, val, &Ty::Unit, inner);
        });
        self.test(body, TestStmt::Repeat { var: local, low, high, block }, span);
    }

    /// Whether an expression is a packet.
    pub(super) fn names_packet(&mut self, body: &Body, e: &ast::Expr) -> bool {
        match &e.kind {
            ExprKind::Paren(inner) => self.names_packet(body, inner),
            ExprKind::Binary(BinaryOp::Div, l, _) => self.names_packet(body, l),
            ExprKind::Str(_) | ExprKind::Bytes(_) => true,
            ExprKind::Path(p) => p.single().is_some_and(|n| matches!(body.find(&n.name), Some(Binding::Packet(_)))),
            ExprKind::Struct(path, _) => {
                self.item_at(path).is_some_and(|(p, i)| matches!(p.file.items[i].kind, ItemKind::Header { .. }))
            }
            ExprKind::Call(path, _) => {
                let Some(name) = path.single() else { return false };
                if &*name.name == "truncate" {
                    return true;
                }
                let is_packet = |f: &ast::Fn| match f.result.as_ref().map(|t| &t.kind) {
                    Some(ast::TypeKind::Named(p, _)) => p.single().is_some_and(|n| &*n.name == "packet"),
                    _ => false,
                };
                match body.find(&name.name) {
                    Some(Binding::Fn(f)) => is_packet(&f),
                    Some(_) => false,
                    None => {
                        self.item_at(path).is_some_and(|(p, i)| matches!(&p.file.items[i].kind, ItemKind::Fn(f) if is_packet(f)))
                    }
                }
            }
            ExprKind::If(_, then, _) | ExprKind::Block(then) => then.value.as_ref().is_some_and(|v| self.names_packet(body, v)),
            _ => false,
        }
    }

    fn item_at(&self, path: &ast::Path) -> Option<(Rc<Parsed>, usize)> {
        let name = path.single()?;
        let item = self.modules[name.span.file.0 as usize].names.get(&name.name).copied()?;
        Some(self.item(item))
    }

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
