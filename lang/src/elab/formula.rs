//! Formulas: what may be said of states, packets and steps beyond what handlers can compute.

use super::Elab;
use super::body::{Binding, Body, HeaderBinding, PacketBinding, Place, Val};
use super::expr::Thing;
use super::ops;
use super::program::Kind;
use super::types::Ty;
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::spec::AfterEvent;
use crate::ir::{self, Expr, LocalId, PacketId, PortId, Scalar, SpecStmt, StmtKind};
use crate::span::Span;
use crate::syntax::ast::{self, ExprKind};
use std::rc::Rc;

/// A packet in a formula, with the port that it arrives at.
type Arrival = (Rc<PacketBinding>, PortId);

impl Elab {
    pub(super) fn formula(&mut self, body: &mut Body, e: &ast::Expr) -> Val {
        let span = e.span;
        if body.place != Place::Spec {
            self.error(
                Code::SpecOnly,
                span,
                "this is said in specifications only: properties, invariants, and `assert` in tests",
            );
            return Val::error();
        }
        match &e.kind {
            ExprKind::Quantified { quantifier, vars, over, body: inner } => {
                self.quantified(body, *quantifier, vars, over, inner, span)
            }
            ExprKind::Whenever(emits, then) => {
                let result = self.whenever(body, emits, then);
                Val::bool(Expr::Local(result))
            }
            ExprKind::Emits(emits, cond) => {
                Val::bool(Expr::Local(self.emissions(body, ir::spec::Quantifier::Exists, emits, cond.as_deref(), span)))
            }
            ExprKind::Counted(emits, cond) => {
                let result = self.emissions(body, ir::spec::Quantifier::Count, emits, cond.as_deref(), span);
                Val { ty: Ty::Int, cols: vec![Expr::Local(result)] }
            }
            ExprKind::Drops(packet, reasons) => {
                let Some((packet, port)) = self.arrival(body, packet) else { return Val::error() };
                let reasons = reasons.iter().filter_map(|r| self.named_reason(&r.text, r.span)).collect();
                let result = body.local("", Scalar::Bool);
                body.push(StmtKind::Spec(Box::new(SpecStmt::Drops { packet: packet.id, port, reasons, result })), span);
                Val::bool(Expr::Local(result))
            }
            ExprKind::After(event, then) => self.after(body, event, then, span),
            ExprKind::Same(pair, except) => match pair.as_slice() {
                [l, r] => self.same_packets(body, l, r, except, false, span),
                _ => {
                    self.error(Code::ArgumentCount, span, "`same` compares two packets");
                    Val::error()
                }
            },
            ExprKind::Refused(args) => self.refused(body, args, span),
            ExprKind::Since(event) => {
                if !body.since_allowed {
                    self.error(Code::Misplaced, span, "`time since last` stands behind `for as long as` only");
                    return Val::error();
                }
                let elapsed = body.local("elapsed", Scalar::Int);
                let event = self.event_pattern(body, event);
                let Some(event) = event else { return Val::error() };
                body.since.push(ir::spec::Since { event, elapsed });
                Val { ty: Ty::Int, cols: vec![Expr::Local(elapsed)] }
            }
            _ => Val::error(),
        }
    }

    fn quantified(
        &mut self,
        body: &mut Body,
        quantifier: ast::Quantifier,
        vars: &[ast::Ident],
        over: &ast::Expr,
        inner: &ast::Expr,
        span: Span,
    ) -> Val {
        let (quantifier, result_ty) = match quantifier {
            ast::Quantifier::All => (ir::spec::Quantifier::All, Ty::Bool),
            ast::Quantifier::Exists => (ir::spec::Quantifier::Exists, Ty::Bool),
            ast::Quantifier::Count => (ir::spec::Quantifier::Count, Ty::Int),
        };
        let result = body.local("", if result_ty == Ty::Bool { Scalar::Bool } else { Scalar::Int });
        let holds = body.local("", Scalar::Bool);
        let value = Val { ty: result_ty, cols: vec![Expr::Local(result)] };
        if let ExprKind::Range { low, high, inclusive } = &over.kind {
            let [name] = vars else {
                self.error(Code::ArgumentCount, span, "a range has one variable");
                return Val::error();
            };
            let low = self.expr_of(body, low, &Ty::Int).scalar();
            let high = self.expr_of(body, high, &Ty::Int).scalar();
            let high =
                if *inclusive { high } else { ops::binary(ir::BinaryOp::Sub, high, Expr::Const(1, Scalar::Int), Scalar::Int) };
            let var = body.local(&name.name, Scalar::Int);
            let block = self.instance(body, inner, holds, vec![(name, Val { ty: Ty::Int, cols: vec![Expr::Local(var)] })]);
            body.push(StmtKind::Spec(Box::new(SpecStmt::Range { quantifier, var, low, high, block, holds, result })), span);
            return value;
        }
        let table = match self.thing(body, over, None) {
            Thing::Table(t) => t,
            Thing::Val(Val { ty: Ty::Error, .. }) => return Val::error(),
            _ => {
                self.error(Code::WrongKind, over.span, "a quantifier ranges over a table or a range of numbers");
                return Val::error();
            }
        };
        let info = self.table(table);
        let most = match info.kind {
            Kind::Map | Kind::Lpm | Kind::Array => 2,
            Kind::Set | Kind::Bucket => 1,
            Kind::Cell | Kind::Counter => 0,
        };
        if most == 0 {
            self.error(Code::WrongKind, over.span, format!("`{}` has no entries to range over", info.name));
            return Val::error();
        }
        if vars.is_empty() || vars.len() > most {
            self.error(
                Code::ArgumentCount,
                span,
                format!("`{}` has {}", info.name, if most == 2 { "a key and a value" } else { "a key" }),
            );
            return Val::error();
        }
        let key = self.fresh(body, &vars[0].name, &info.key);
        let mut bound = vec![(&vars[0], Elab::loaded(&info.key, &key))];
        let mut columns = Vec::new();
        if let Some(name) = vars.get(1) {
            columns = self.fresh(body, &name.name, &info.value);
            bound.push((name, Elab::loaded(&info.value, &columns)));
        }
        let block = self.instance(body, inner, holds, bound);
        body.push(
            StmtKind::Spec(Box::new(SpecStmt::Entries { quantifier, table, key, value: columns, block, holds, result })),
            span,
        );
        value
    }

    fn instance(&mut self, body: &mut Body, inner: &ast::Expr, holds: LocalId, bound: Vec<(&ast::Ident, Val)>) -> ir::Block {
        let (block, ()) = body.nested(|body| {
            for (name, val) in bound {
                body.bind(&name.name, Binding::Val(val));
            }
            let value = self.cond(body, inner);
            body.push(StmtKind::Assign { dst: holds, value }, inner.span);
        });
        block
    }

    /// A packet variable and the port that it arrives at.
    fn arrival(&mut self, body: &mut Body, e: &ast::Expr) -> Option<Arrival> {
        match self.thing(body, e, None) {
            Thing::Packet(p) => match p.port {
                Some(port) => Some((p, port)),
                None => {
                    self.error(Code::BadProperty, e.span, "this packet does not arrive anywhere: it was emitted");
                    None
                }
            },
            Thing::Val(Val { ty: Ty::Error, .. }) => None,
            _ => {
                self.error(Code::WrongKind, e.span, "expected a packet");
                None
            }
        }
    }

    /// `a emits PORT as q: SHAPE`: elaborates one instance; `f` gets whether the packet is of the shape, and where the instance's truth goes.
    fn emitted(
        &mut self,
        body: &mut Body,
        quantifier: ir::spec::Quantifier,
        emits: &ast::Emits,
        f: impl FnOnce(&mut Elab, &mut Body, Expr, LocalId),
    ) -> LocalId {
        let counts = quantifier == ir::spec::Quantifier::Count;
        let result = body.local("", if counts { Scalar::Int } else { Scalar::Bool });
        let arrival = self.arrival(body, &emits.packet);
        let on = self.port_of(body, &emits.port);
        let (Some((packet, port)), Some(on)) = (arrival, on) else { return result };
        let holds = body.local("", Scalar::Bool);
        let name = emits.bind.as_ref().map_or("emitted", |(n, _)| &*n.name).to_string();
        let into = body.packet(&name);
        let (block, ()) = body.nested(|body| {
            let default = if quantifier == ir::spec::Quantifier::All { ops::TRUE } else { ops::FALSE };
            body.push(StmtKind::Assign { dst: holds, value: default }, emits.span);
            let fits = self.bind_packet(body, &name, into, None, emits.bind.as_ref().and_then(|(_, s)| s.as_ref()), emits.span);
            f(self, body, fits, holds);
        });
        let stmt = SpecStmt::Emits { quantifier, packet: packet.id, port, on, into, block, holds, result };
        body.push(StmtKind::Spec(Box::new(stmt)), emits.span);
        result
    }

    /// Whether one of the packets that leave on a port satisfies a condition, or how many do.
    fn emissions(
        &mut self,
        body: &mut Body,
        quantifier: ir::spec::Quantifier,
        emits: &ast::Emits,
        cond: Option<&ast::Expr>,
        span: Span,
    ) -> LocalId {
        self.emitted(body, quantifier, emits, |elab, body, fits, holds| {
            let (block, value) = body.nested(|body| cond.map_or(ops::TRUE, |c| elab.cond(body, c)));
            let mut then = block;
            then.push(ir::Stmt { kind: StmtKind::Assign { dst: holds, value }, span });
            body.push(StmtKind::If { cond: fits, then, other: Vec::new() }, span);
        })
    }

    /// Binds a name to a packet, of a shape if one is given: whether it is of that shape.
    pub(super) fn bind_packet(
        &mut self,
        body: &mut Body,
        name: &str,
        id: PacketId,
        port: Option<PortId>,
        shape: Option<&ast::ShapeRef>,
        span: Span,
    ) -> Expr {
        match shape {
            Some(shape) => {
                let (binding, fits) = self.match_shape(body, id, port, shape, span);
                body.bind(name, Binding::Packet(binding));
                Expr::Local(fits)
            }
            None => {
                let binding = Rc::new(PacketBinding { id, port, layers: Default::default() });
                body.known.insert(id, binding.clone());
                body.bind(name, Binding::Packet(binding));
                ops::TRUE
            }
        }
    }

    fn whenever(&mut self, body: &mut Body, emits: &[ast::Emits], then: &ast::Expr) -> LocalId {
        let Some((first, rest)) = emits.split_first() else { return body.local("", Scalar::Bool) };
        self.emitted(body, ir::spec::Quantifier::All, first, |elab, body, fits, holds| {
            let (block, value) =
                body.nested(
                    |body| {
                        if rest.is_empty() { elab.cond(body, then) } else { Expr::Local(elab.whenever(body, rest, then)) }
                    },
                );
            let mut inner = block;
            inner.push(ir::Stmt { kind: StmtKind::Assign { dst: holds, value }, span: then.span });
            body.push(StmtKind::If { cond: fits, then: inner, other: Vec::new() }, then.span);
        })
    }

    fn after(&mut self, body: &mut Body, event: &ast::Expr, then: &ast::Expr, span: Span) -> Val {
        let event = match self.thing(body, event, Some(&Ty::Duration)) {
            Thing::Packet(p) => match p.port {
                Some(port) => AfterEvent::Packet(p.id, port),
                None => {
                    self.error(Code::BadProperty, event.span, "this packet does not arrive anywhere: it was emitted");
                    return Val::error();
                }
            },
            Thing::Val(val) => {
                let val = match val.ty {
                    Ty::Int => Val { ty: Ty::Duration, cols: vec![ops::convert(val.scalar(), Scalar::Int, Scalar::Bits(64))] },
                    _ => self.coerce(body, val, &Ty::Duration, event.span),
                };
                AfterEvent::Time(val.scalar())
            }
            _ => {
                self.error(Code::WrongKind, event.span, "`after` takes a packet that arrives, or a duration");
                return Val::error();
            }
        };
        let result = body.local("", Scalar::Bool);
        let (block, ()) = body.nested(|body| {
            let value = self.cond(body, then);
            body.push(StmtKind::Assign { dst: result, value }, then.span);
        });
        body.push(StmtKind::Spec(Box::new(SpecStmt::After { event, block })), span);
        Val::bool(Expr::Local(result))
    }

    fn refused(&mut self, body: &mut Body, args: &[ast::Expr], span: Span) -> Val {
        let [packet, choice, tier] = args else {
            self.error(Code::ArgumentCount, span, "`refused(a, x, 1)`: a packet, the name of a choice, and a tier");
            return Val::error();
        };
        let Some((packet, port)) = self.arrival(body, packet) else { return Val::error() };
        let ExprKind::Path(path) = &choice.kind else {
            self.error(Code::WrongKind, choice.span, "expected the name of a choice");
            return Val::error();
        };
        let name = path.segments.last().map(|n| n.name.to_string()).unwrap_or_default();
        let known = self.prog.elements.iter().flat_map(|e| &e.inputs).any(|i| chooses(&i.body.block, &i.body.locals, &name));
        if !known {
            self.error(Code::UnknownName, choice.span, format!("nothing chooses a `{name}`"));
            return Val::error();
        }
        let Some(tier) = self.constant_number(body, tier, 32) else { return Val::error() };
        let Some(tier) = tier.checked_sub(1) else {
            self.error(Code::OutOfRange, span, "tiers are counted from 1: the first `prefer`");
            return Val::error();
        };
        let result = body.local("", Scalar::Bool);
        let stmt = SpecStmt::Refused { packet: packet.id, port, choice: name, tier: tier as u32, result };
        body.push(StmtKind::Spec(Box::new(stmt)), span);
        Val::bool(Expr::Local(result))
    }

    /// `deadline(T, k)`, `tokens(T, k)`, `body(h)`
    pub(super) fn formula_call(&mut self, body: &mut Body, name: &ast::Ident, args: &[ast::Arg], span: Span) -> Val {
        if body.place != Place::Spec {
            self.error(Code::SpecOnly, span, format!("`{}` is asked in specifications only", name.name));
            return Val::error();
        }
        match &*name.name {
            "deadline" | "tokens" => {
                let Some([table, key]) = self.positional(args, 2, span) else { return Val::error() };
                let Thing::Table(t) = self.thing(body, &table.value, None) else {
                    self.error(Code::WrongKind, table.value.span, "expected a table");
                    return Val::error();
                };
                let info = self.table(t);
                let key = self.expr_of(body, &key.value, &info.key).cols;
                let is_bucket = info.kind == Kind::Bucket;
                if &*name.name == "tokens" {
                    if !is_bucket {
                        self.error(Code::WrongKind, table.value.span, "only buckets hold tokens");
                        return Val::error();
                    }
                    let result = body.local("", Scalar::Int);
                    body.push(StmtKind::Spec(Box::new(SpecStmt::Tokens { table: t, key, result })), span);
                    return Val { ty: Ty::Int, cols: vec![Expr::Local(result)] };
                }
                if !matches!(info.kind, Kind::Map | Kind::Set) {
                    self.error(Code::WrongKind, table.value.span, "only entries of maps and sets have deadlines");
                    return Val::error();
                }
                let result = body.local("", Scalar::Bits(64));
                body.push(StmtKind::Spec(Box::new(SpecStmt::Deadline { table: t, key, result })), span);
                Val { ty: Ty::Time, cols: vec![Expr::Local(result)] }
            }
            "same" => {
                let Some([l, r]) = self.positional(args, 2, span) else { return Val::error() };
                self.same_packets(body, &l.value, &r.value, &[], false, span)
            }
            _ => {
                self.error(Code::Misplaced, span, "bodies are only compared: `body(a.l4) == body(b.l4)`");
                Val::error()
            }
        }
    }

    /// `checksums_valid(h)`
    pub(super) fn checksums_valid(&mut self, body: &mut Body, args: &[ast::Arg], span: Span) -> Val {
        let Some([header]) = self.positional(args, 1, span) else { return Val::error() };
        let result = body.local("", Scalar::Bool);
        body.push(StmtKind::Assign { dst: result, value: ops::FALSE }, span);
        for (flag, h) in self.alternatives(body, &header.value) {
            let wide = self.header_info(h.item).is_some_and(|i| i.checksums.iter().any(|c| c.body || !c.pseudo.is_empty()));
            if body.place == Place::Code && wide {
                let d =
                    Diagnostic::new(Code::SpecOnly, span, "a checksum over what follows the header is not computed in handlers");
                self.report(d.note("ask it in specifications and tests; handlers update checksums incrementally"));
            }
            self.established(body, &h, header.value.span);
            let one = body.local("", Scalar::Bool);
            let asked = vec![
                ir::Stmt { kind: StmtKind::VerifyChecksums { handle: h.handle, result: one }, span },
                ir::Stmt { kind: StmtKind::Assign { dst: result, value: Expr::Local(one) }, span },
            ];
            body.push(StmtKind::If { cond: flag, then: asked, other: Vec::new() }, span);
        }
        Val::bool(Expr::Local(result))
    }

    /// The headers that an expression may name, each with the condition under which it is this one.
    fn alternatives(&mut self, body: &mut Body, e: &ast::Expr) -> Vec<(Expr, HeaderBinding)> {
        match self.thing(body, e, None) {
            Thing::Header(h) => vec![(ops::TRUE, h)],
            Thing::View(view) => view.alternatives.iter().map(|(flag, h)| (Expr::Local(*flag), h.clone())).collect(),
            Thing::Val(Val { ty: Ty::Error, .. }) => Vec::new(),
            _ => {
                self.error(Code::WrongKind, e.span, "expected a header of a packet");
                Vec::new()
            }
        }
    }

    /// `body(a.h) == body(b.h)`, if it is that.
    pub(super) fn same_bodies(&mut self, body: &mut Body, l: &ast::Expr, r: &ast::Expr) -> Option<Val> {
        let (left, right) = (body_of(l)?, body_of(r)?);
        let span = l.span.to(r.span);
        if body.place != Place::Spec {
            self.error(Code::SpecOnly, span, "bodies are compared in specifications only");
            return Some(Val::error());
        }
        let result = body.local("", Scalar::Bool);
        body.push(StmtKind::Assign { dst: result, value: ops::FALSE }, span);
        let left = self.alternatives(body, left);
        let right = self.alternatives(body, right);
        for (a, l) in &left {
            for (b, r) in &right {
                let one = body.local("", Scalar::Bool);
                let asked = vec![
                    ir::Stmt {
                        kind: StmtKind::Spec(Box::new(SpecStmt::SameBody { left: l.handle, right: r.handle, result: one })),
                        span,
                    },
                    ir::Stmt { kind: StmtKind::Assign { dst: result, value: Expr::Local(one) }, span },
                ];
                body.push(StmtKind::If { cond: ops::and(a.clone(), b.clone()), then: asked, other: Vec::new() }, span);
            }
        }
        Some(Val::bool(Expr::Local(result)))
    }

    /// `same(a, b) except (fields)`, `a == b`
    pub(super) fn same_packets(
        &mut self,
        body: &mut Body,
        l: &ast::Expr,
        r: &ast::Expr,
        except: &[ast::Expr],
        negate: bool,
        span: Span,
    ) -> Val {
        if body.place != Place::Spec {
            self.error(Code::SpecOnly, span, "packets are compared in specifications only");
            return Val::error();
        }
        let (Some(left), Some(right)) = (self.packet_value(body, l), self.packet_value(body, r)) else { return Val::error() };
        // With alternatives among the excepted headers: one comparison for each that it may be.
        let mut cases: Vec<(Expr, Vec<(ir::HandleId, ir::FieldId)>)> = vec![(ops::TRUE, Vec::new())];
        let mut flags: Vec<Expr> = Vec::new();
        for e in except {
            let ExprKind::Field(base, name) = &e.kind else {
                self.error(Code::BadProperty, e.span, "`except` lists fields of headers of the first packet: `a.ip.src`");
                continue;
            };
            let alternatives = self.alternatives(body, base);
            let mut next = Vec::new();
            for (flag, h) in alternatives {
                if h.packet != left.id {
                    self.error(Code::BadProperty, e.span, "`except` lists fields of headers of the first packet");
                    continue;
                }
                let Some(info) = self.header_info(h.item) else { continue };
                let Some((field, _)) = info.field(&name.name) else {
                    // A field that only some alternatives have is excepted where it is there.
                    if flag == ops::TRUE {
                        self.unknown_field(&info.name, name, info.fields.iter().map(|f| f.name.clone()).collect());
                    }
                    for (cond, fields) in cases.iter().filter(|(c, _)| *c == ops::TRUE || *c == flag) {
                        next.push((ops::and(cond.clone(), if *cond == flag { ops::TRUE } else { flag.clone() }), fields.clone()));
                    }
                    continue;
                };
                for (cond, fields) in cases.iter().filter(|(c, _)| flag == ops::TRUE || *c == ops::TRUE || *c == flag) {
                    let mut fields = fields.clone();
                    fields.push((h.handle, field));
                    let both = if *cond == flag { flag.clone() } else { ops::and(cond.clone(), flag.clone()) };
                    next.push((both, fields));
                }
                if flag != ops::TRUE && !flags.contains(&flag) {
                    flags.push(flag);
                }
            }
            cases = next;
        }
        let result = body.local("", Scalar::Bool);
        for (cond, except) in cases {
            let stmt = SpecStmt::Same { left: left.id, right: right.id, except, result };
            let asked = vec![ir::Stmt { kind: StmtKind::Spec(Box::new(stmt)), span }];
            body.push(StmtKind::If { cond, then: asked, other: Vec::new() }, span);
        }
        let same = Expr::Local(result);
        Val::bool(if negate { ops::not(same) } else { same })
    }

    /// An external port by its name.
    pub(super) fn port_of(&mut self, body: &mut Body, port: &ast::PortRef) -> Option<PortId> {
        let Some(&(first, count)) = body.env.ports.get(&port.name.name) else {
            let known: Vec<String> = body.env.ports.keys().map(|n| n.to_string()).collect();
            let mut d =
                Diagnostic::new(Code::UnknownName, port.name.span, format!("`{}` is no port of this box", port.name.name));
            if let Some(near) = super::modules::nearest(&port.name.name, known) {
                d = d.fix(port.name.span, near.clone(), format!("did you mean `{near}`?"));
            }
            self.report(d);
            return None;
        };
        match (count, &port.index) {
            (None, None) => Some(first),
            (None, Some(index)) => {
                self.error(Code::BadRange, index.span, format!("`{}` is one port, no array", port.name.name));
                None
            }
            (Some(_), None) => {
                self.error(Code::BadRange, port.span, format!("`{}` is an array of ports: say which", port.name.name));
                None
            }
            (Some(count), Some(index)) => {
                let n = self.constant_number(body, index, 32)?;
                if n >= u128::from(count) {
                    self.error(Code::BadRange, index.span, format!("`{}` has {count} ports", port.name.name));
                    return None;
                }
                Some(PortId(first.0 + n as u32))
            }
        }
    }
}

/// `h` of `body(h)`.
fn body_of(e: &ast::Expr) -> Option<&ast::Expr> {
    let ExprKind::Call(path, args) = &e.kind else { return None };
    match args.as_slice() {
        [arg] if path.single().is_some_and(|n| &*n.name == "body") => Some(&arg.value),
        _ => None,
    }
}

/// Whether a block chooses a variable of this name.
fn chooses(block: &ir::Block, locals: &[ir::Local], name: &str) -> bool {
    block.iter().any(|s| match &s.kind {
        StmtKind::Choose { var, .. } => locals[var.index()].name == name,
        StmtKind::If { then, other, .. } => chooses(then, locals, name) || chooses(other, locals, name),
        StmtKind::Parse { ok, malformed, .. } => chooses(ok, locals, name) || chooses(malformed, locals, name),
        StmtKind::Switch { cases, default, .. } => {
            cases.iter().any(|c| chooses(&c.2, locals, name)) || chooses(default, locals, name)
        }
        _ => false,
    })
}
