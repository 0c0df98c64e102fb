//! Tests: scripts of packets and expectations.

use super::Elab;
use super::body::{Binding, Body, Place, Val};
use super::expr::Thing;
use super::middlebox::Built;
use super::ops;
use super::program::{Kind, TableInfo};
use super::types::Ty;
use crate::diagnostics::{Code, Diagnostic};
use crate::interp::judge;
use crate::ir::{self, Expr, PropertyId, Role, Scalar, StmtKind, TableContent, TableId, TestStmt};
use crate::span::Span;
use crate::syntax::Parsed;
use crate::syntax::ast::{self, BinaryOp, BlockKind, ExprKind, ItemKind, ParamRole};
use rustc_hash::FxHashMap;
use std::rc::Rc;

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

    pub(super) fn test(&mut self, body: &mut Body, stmt: TestStmt, span: Span) {
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
                self.expect_match(body, port, name, shape, cond.as_deref(), span)
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
            ast::StmtKind::AssertProperty(name, packets) => self.assert_property(body, name, packets, span),
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

    /// Properties are named as reports name them, or without the numbers of their parts; then all parts are meant that speak of
    /// packets at these ports.
    fn assert_property(&mut self, body: &mut Body, name: &ast::Str, packets: &[(ast::PortRef, ast::Expr)], span: Span) {
        let mut arrivals = Vec::new();
        for (port, packet) in packets {
            let (Some(port), Some(packet)) = (self.test_port(body, port), self.packet_value(body, packet)) else { return };
            arrivals.push((port, packet.id));
        }
        let of_name = |p: &ir::Property| p.name == *name.text || p.name.split(['/', '[']).next() == Some(&name.text);
        let all = (0..).map(PropertyId).zip(&self.prog.properties);
        let named: Vec<(PropertyId, Vec<ir::PortId>)> =
            all.filter(|(_, p)| of_name(p)).map(|(id, p)| (id, judge::arrivals(&p.form))).collect();
        if named.is_empty() {
            return self.error(Code::BadTest, name.span, format!("the box has no property `{}`", name.text));
        }
        let fits = |ports: &[ir::PortId]| ports.iter().eq(arrivals.iter().map(|(port, _)| port));
        let properties: Vec<PropertyId> = named.iter().filter(|(_, ports)| fits(ports)).map(|(id, _)| *id).collect();
        if properties.is_empty() {
            let ports = |ports: &[ir::PortId]| {
                let names: Vec<&str> = ports.iter().map(|p| self.prog.ports[p.index()].name.as_str()).collect();
                if names.is_empty() { "no packet".to_string() } else { format!("packets at {}", names.join(", ")) }
            };
            let wanted = ports(&named[0].1);
            let d = Diagnostic::new(Code::BadTest, span, format!("`{}` does not speak of these packets", name.text));
            return self.report(
                d.note(format!("it speaks of {wanted} beyond what happened: `assert property \"...\" for PORT packet;`")),
            );
        }
        self.test(body, TestStmt::Property { properties, packets: arrivals }, span);
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
}
