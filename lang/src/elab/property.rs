//! Properties and invariants.

use super::Elab;
use super::body::{Binding, Body, Env, Place, Val};
use super::ops;
use super::types::Ty;
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::spec::{Emission, EventPattern, Form, Outcome};
use crate::ir::{self, Expr, Scalar, StmtKind};
use crate::syntax::ast::{self, Effect, ExprKind, Label, PropertyBody};
use std::rc::Rc;

impl Elab {
    /// Elaborates a property or an invariant into the program. `prefix` is the path of the element that it stands in.
    pub(super) fn property(&mut self, env: &Rc<Env>, prefix: &str, claim: Option<&str>, decl: &ast::Property) {
        let (mut sources, mut rows, mut gravel) = (Vec::new(), Vec::new(), None);
        for label in &decl.labels {
            match label {
                Label::Rfc(n, section) => sources.push(format!("rfc {n} {}", section.text)),
                Label::Source(s) => sources.push(s.text.clone()),
                Label::Rows(names) => rows.extend(names.iter().map(|n| n.name.to_string())),
                Label::Gravel(name) => gravel = Some(name.name.to_string()),
            }
        }
        let several = decl.bodies.len() > 1;
        for (n, property) in decl.bodies.iter().enumerate() {
            let mut name = if prefix.is_empty() { decl.name.name.to_string() } else { format!("{prefix}.{}", decl.name.name) };
            if several {
                name = format!("{name}/{}", n + 1);
            }
            let mut indices = Vec::new();
            free_indices(property, env, &mut indices);
            let mut all: Vec<(String, Vec<(Box<str>, u32)>)> = vec![(name, Vec::new())];
            for (index, count) in indices {
                all = all
                    .into_iter()
                    .flat_map(|(name, bound)| {
                        let index = index.clone();
                        (0..count).map(move |i| {
                            let mut bound = bound.clone();
                            bound.push((index.clone(), i));
                            (format!("{name}[{i}]"), bound)
                        })
                    })
                    .collect();
            }
            for (name, bound) in all {
                let mut body = Body::with_env(Place::Spec, env);
                for (index, i) in bound {
                    body.bind(&index, Binding::Val(Val { ty: Ty::Int, cols: vec![Expr::Const(u128::from(i), Scalar::Int)] }));
                }
                let (assumed, form) = match property {
                    PropertyBody::Assume(reason, inner) => (Some(reason.text.clone()), self.form(&mut body, inner)),
                    other => (None, self.form(&mut body, other)),
                };
                let Some(form) = form else { continue };
                let property = ir::Property {
                    name,
                    span: decl.name.span,
                    claim: claim.map(str::to_string),
                    sources: sources.clone(),
                    rows: rows.clone(),
                    gravel: gravel.clone(),
                    assumed,
                    body: body.finish(),
                    form,
                };
                self.prog.properties.push(property);
            }
        }
    }

    fn form(&mut self, body: &mut Body, property: &PropertyBody) -> Option<Form> {
        match property {
            PropertyBody::Error => None,
            PropertyBody::Assume(reason, _) => {
                self.error(Code::BadProperty, reason.span, "one `assume` is enough");
                None
            }
            PropertyBody::Always(e) => {
                let holds = body.local("holds", Scalar::Bool);
                let (block, ()) = self.kept(body, |elab, body| {
                    let value = elab.cond(body, e);
                    body.push(StmtKind::Assign { dst: holds, value }, e.span);
                });
                Some(Form::Always { block, holds })
            }
            PropertyBody::Step { packets, cond, conclusion } => self.step(body, packets, cond.as_deref(), conclusion),
            PropertyBody::Persists(p) => self.persists(body, p),
            PropertyBody::OnlyAfter { event, after, within, unless } => {
                self.needs_emission(event);
                let then = self.event_pattern(body, event)?;
                let after = self.event_pattern(body, after)?;
                let unless = match unless {
                    Some(e) => Some(self.event_pattern(body, e)?),
                    None => None,
                };
                let within = within.as_ref().map(|e| self.nanoseconds(body, e));
                Some(Form::OnlyAfter { then, after, within, unless })
            }
            PropertyBody::Independent { observed, from, except } => {
                let observed = self.event_pattern(body, observed)?;
                let from = self.event_pattern(body, from)?;
                let except = except.iter().filter_map(|r| self.named_reason(&r.text, r.span)).collect();
                Some(Form::Independent { observed, from, except })
            }
            PropertyBody::Bound { amount, event, key, interval, limit } => {
                let (mut amount_expr, mut key_cols) = (Expr::Const(0, Scalar::Int), Vec::new());
                let event = self.event_pattern_with(body, event, |elab, body| {
                    amount_expr = elab.expr_of(body, amount, &Ty::Int).scalar();
                    amount_expr = body.atom(amount_expr.clone(), Scalar::Int, amount.span);
                    if let Some(key) = key {
                        let val = elab.expr(body, key, None);
                        let scalars = elab.scalars(&val.ty);
                        key_cols = val.cols.into_iter().zip(scalars).map(|(e, s)| body.atom(e, s, key.span)).collect();
                    }
                })?;
                let var = body.local(&interval.name, Scalar::Int);
                let (block, limit) = self.kept(body, |elab, body| {
                    body.bind(&interval.name, Binding::Val(Val { ty: Ty::Int, cols: vec![Expr::Local(var)] }));
                    elab.expr_of(body, limit, &Ty::Int).scalar()
                });
                Some(Form::Bound { event, amount: amount_expr, key: key_cols, interval: var, block, limit })
            }
            PropertyBody::Reachable(event) => {
                let event = self.event_pattern(body, event)?;
                Some(Form::Reachable { event })
            }
        }
    }

    fn needs_emission(&mut self, event: &ast::EventPattern) {
        if event.effect == Effect::Any && !event.cond.as_ref().is_some_and(is_about_steps) {
            let d = Diagnostic::new(Code::BadProperty, event.span, "what may happen only after something?");
            self.report(d.note("say what becomes of the packet: `r: Flow at outside emits inside only after ...`"));
        }
    }

    /// A block whose names stay in scope.
    fn kept<T>(&mut self, body: &mut Body, f: impl FnOnce(&mut Elab, &mut Body) -> T) -> (ir::Block, T) {
        body.blocks.push(Vec::new());
        let result = f(self, body);
        (body.blocks.pop().unwrap_or_default(), result)
    }

    fn nanoseconds(&mut self, body: &mut Body, e: &ast::Expr) -> Expr {
        let val = self.expr(body, e, Some(&Ty::Duration));
        match val.ty {
            Ty::Int => ops::convert(val.scalar(), Scalar::Int, Scalar::Bits(64)),
            _ => self.coerce(body, val, &Ty::Duration, e.span).scalar(),
        }
    }

    fn step(
        &mut self,
        body: &mut Body,
        packets: &[ast::PacketVar],
        cond: Option<&ast::Expr>,
        conclusion: &ast::Expr,
    ) -> Option<Form> {
        let premise = body.local("premise", Scalar::Bool);
        let holds = body.local("holds", Scalar::Bool);
        let mut arrivals = Vec::new();
        for var in packets {
            let port = self.port_of(body, &var.port)?;
            arrivals.push((body.packet(&var.name.name), port));
        }
        let (block, ()) = self.kept(body, |elab, body| {
            let span = conclusion.span;
            let mut fits = ops::TRUE;
            for (var, &(id, port)) in packets.iter().zip(&arrivals) {
                let one = elab.bind_packet(body, &var.name.name, id, Some(port), Some(&var.shape), var.name.span);
                fits = ops::and(fits, one);
            }
            let (inner, ()) = body.nested(|body| {
                let value = cond.map_or(ops::TRUE, |c| elab.cond(body, c));
                body.push(StmtKind::Assign { dst: premise, value }, span);
                let (then, ()) = body.nested(|body| {
                    let value = elab.cond(body, conclusion);
                    body.push(StmtKind::Assign { dst: holds, value }, span);
                });
                body.push(StmtKind::If { cond: Expr::Local(premise), then, other: Vec::new() }, span);
            });
            body.push(StmtKind::If { cond: fits, then: inner, other: Vec::new() }, span);
        });
        Some(Form::Step { packets: arrivals, block, premise, holds })
    }

    /// An event: a packet that arrives, and what becomes of it.
    pub(super) fn event_pattern(&mut self, body: &mut Body, event: &ast::EventPattern) -> Option<EventPattern> {
        self.event_pattern_with(body, event, |_, _| {})
    }

    fn event_pattern_with(
        &mut self,
        body: &mut Body,
        event: &ast::EventPattern,
        extra: impl FnOnce(&mut Elab, &mut Body),
    ) -> Option<EventPattern> {
        let port = self.port_of(body, &event.packet.port)?;
        let packet = body.packet(&event.packet.name.name);
        let (emits, drops, bind) = match &event.effect {
            Effect::Any => (None, None, None),
            Effect::Emits(on, bind) => {
                let on = self.port_of(body, on)?;
                let name = bind.as_ref().map_or("emitted", |(n, _)| &*n.name);
                (Some((on, body.packet(name))), None, Some((name, bind.as_ref().and_then(|(_, s)| s.as_ref()))))
            }
            Effect::Drops(reasons) => {
                (None, Some(reasons.iter().filter_map(|r| self.named_reason(&r.text, r.span)).collect()), None)
            }
        };
        let matches = body.local("matches", Scalar::Bool);
        let (block, ()) = self.kept(body, |elab, body| {
            let mut fits =
                elab.bind_packet(body, &event.packet.name.name, packet, Some(port), Some(&event.packet.shape), event.span);
            if let (Some((_, id)), Some((name, shape))) = (emits, bind) {
                let emitted = elab.bind_packet(body, name, id, None, shape, event.span);
                fits = ops::and(fits, emitted);
            }
            let (inner, ()) = body.nested(|body| {
                let value = event.cond.as_ref().map_or(ops::TRUE, |c| elab.cond(body, c));
                body.push(StmtKind::Assign { dst: matches, value }, event.span);
                extra(elab, body);
            });
            body.push(StmtKind::If { cond: fits, then: inner, other: Vec::new() }, event.span);
        });
        Some(EventPattern { span: event.span, packet, port, emits, drops, block, matches })
    }

    fn persists(&mut self, body: &mut Body, p: &ast::Persists) -> Option<Form> {
        let once = self.event_pattern(body, &p.once)?;
        let then =
            ast::EventPattern { packet: p.then.clone(), effect: Effect::Any, cond: p.cond.clone(), span: p.then.name.span };
        let then = self.event_pattern(body, &then)?;
        let emits = match &p.emits {
            None => None,
            Some((port, bind, cond)) => {
                let span = port.span;
                let on = self.port_of(body, port)?;
                let name = bind.as_ref().map_or("emitted", |(n, _)| &*n.name);
                let packet = body.packet(name);
                let matches = body.local("matches", Scalar::Bool);
                let (block, ()) = self.kept(body, |elab, body| {
                    let fits = elab.bind_packet(body, name, packet, None, bind.as_ref().and_then(|(_, s)| s.as_ref()), span);
                    let (inner, ()) = body.nested(|body| {
                        let value = cond.as_ref().map_or(ops::TRUE, |c| elab.cond(body, c));
                        body.push(StmtKind::Assign { dst: matches, value }, span);
                    });
                    body.push(StmtKind::If { cond: fits, then: inner, other: Vec::new() }, span);
                });
                Some(Emission { port: on, packet, block, matches })
            }
        };
        let drops = p.drops.iter().filter_map(|r| self.named_reason(&r.text, r.span)).collect();
        let holds = body.local("holds", Scalar::Bool);
        body.since_allowed = true;
        let (condition, ()) = self.kept(body, |elab, body| {
            let value = elab.cond(body, &p.condition);
            body.push(StmtKind::Assign { dst: holds, value }, p.condition.span);
        });
        body.since_allowed = false;
        let since = std::mem::take(&mut body.since);
        Some(Form::Persists { once, then, outcome: Outcome { emits, drops }, since, condition, holds })
    }
}

/// The names that stand for each index of a port array, with the array's length.
fn free_indices(property: &PropertyBody, env: &Env, out: &mut Vec<(Box<str>, u32)>) {
    let mut add = |port: &ast::PortRef| {
        let Some(index) = &port.index else { return };
        let (ExprKind::Path(path), Some((_, Some(count)))) = (&index.kind, env.ports.get(&port.name.name)) else { return };
        if let Some(name) = path.single()
            && !env.names.contains_key(&name.name)
            && !out.iter().any(|(n, _)| *n == name.name)
        {
            out.push((name.name.clone(), *count));
        }
    };
    let mut event = |e: &ast::EventPattern| {
        add(&e.packet.port);
        if let Effect::Emits(port, _) = &e.effect {
            add(port);
        }
    };
    match property {
        PropertyBody::Step { packets, cond, conclusion } => {
            packets.iter().for_each(|p| add(&p.port));
            if let Some(cond) = cond {
                emitted_ports(cond, &mut add);
            }
            emitted_ports(conclusion, &mut add);
        }
        PropertyBody::Persists(p) => {
            event(&p.once);
            add(&p.then.port);
            if let Some((port, ..)) = &p.emits {
                add(port);
            }
        }
        PropertyBody::OnlyAfter { event: then, after, unless, .. } => {
            event(then);
            event(after);
            if let Some(e) = unless {
                event(e);
            }
        }
        PropertyBody::Independent { observed, from, .. } => {
            event(observed);
            event(from);
        }
        PropertyBody::Bound { event: e, .. } | PropertyBody::Reachable(e) => event(e),
        PropertyBody::Assume(_, inner) => free_indices(inner, env, out),
        PropertyBody::Always(_) | PropertyBody::Error => {}
    }
}

/// The ports that a formula says packets leave on.
fn emitted_ports(e: &ast::Expr, add: &mut impl FnMut(&ast::PortRef)) {
    match &e.kind {
        ExprKind::Emits(emits, cond) | ExprKind::Counted(emits, cond) => {
            add(&emits.port);
            if let Some(c) = cond {
                emitted_ports(c, add);
            }
        }
        ExprKind::Whenever(all, then) => {
            all.iter().for_each(|x| add(&x.port));
            emitted_ports(then, add);
        }
        ExprKind::After(_, x) | ExprKind::Paren(x) | ExprKind::Unary(_, x) => emitted_ports(x, add),
        ExprKind::Quantified { body, .. } => emitted_ports(body, add),
        ExprKind::Binary(_, a, b) => {
            emitted_ports(a, add);
            emitted_ports(b, add);
        }
        _ => {}
    }
}

/// Whether a formula says what becomes of a packet.
fn is_about_steps(e: &ast::Expr) -> bool {
    match &e.kind {
        ExprKind::Emits(..) | ExprKind::Counted(..) | ExprKind::Whenever(..) | ExprKind::Drops(..) => true,
        ExprKind::After(_, x) | ExprKind::Paren(x) | ExprKind::Unary(_, x) => is_about_steps(x),
        ExprKind::Quantified { body, .. } => is_about_steps(body),
        ExprKind::Binary(_, a, b) => is_about_steps(a) || is_about_steps(b),
        _ => false,
    }
}
