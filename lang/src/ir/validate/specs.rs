//! Properties and conditions: types and places. Specifications are evaluated, with every variable zero and every header absent at
//! the start, and a formula that speaks of a header that is absent is an error of the evaluation; so only types are checked here.

use super::flow::{Layer, State, Walk};
use super::{Check, Fault};
use crate::ir::spec::{AfterEvent, EventPattern, Form, Property, Quantifier};
use crate::ir::{Block, Body, Expr, HandleId, LocalId, PacketId, PortId, ReasonId, Scalar, SpecStmt, TableKind};

impl<'a> Check<'a> {
    /// Checks all properties.
    pub(super) fn properties(&mut self) {
        for property in &self.program.properties {
            self.enter(format!("property {}", property.name), property.span);
            self.property(property);
        }
    }

    fn property(&mut self, property: &'a Property) {
        let body = &property.body;
        self.locals(body, Layer::Spec);
        let empty = body.block.is_empty();
        self.demand(empty, || Fault::Misplaced("a statement outside a property's blocks"));
        let mut state = State::known(body);
        let mut walk = Walk::new(self, body, Layer::Spec);
        match &property.form {
            Form::Always { block, holds } => walk.formula(&mut state, block, *holds),
            Form::Step { packets, block, premise, holds } => {
                for (packet, port) in packets {
                    walk.arrival(&state, *packet, *port);
                }
                walk.formula(&mut state, block, *holds);
                walk.result(Some(&state), *premise);
            }
            Form::Persists { once, then, outcome, since, condition, holds } => {
                walk.event(&mut state, once);
                walk.event(&mut state, then);
                if let Some(emission) = &outcome.emits {
                    walk.port(emission.port);
                    walk.use_packet(&state, emission.packet);
                    walk.formula(&mut state, &emission.block, emission.matches);
                }
                walk.reasons(&outcome.drops);
                for clock in since {
                    walk.event(&mut state, &clock.event);
                    walk.define(&mut state, "time since an event", clock.elapsed, Scalar::Int);
                }
                walk.formula(&mut state, condition, *holds);
            }
            Form::OnlyAfter { then, after, within, unless } => {
                walk.event(&mut state, then);
                walk.event(&mut state, after);
                if let Some(within) = within {
                    walk.expect(&state, "time", within, Scalar::Bits(64));
                }
                if let Some(unless) = unless {
                    walk.event(&mut state, unless);
                }
            }
            Form::Independent { observed, from, except } => {
                walk.event(&mut state, observed);
                walk.event(&mut state, from);
                walk.reasons(except);
            }
            Form::Bound { event, amount, key, interval, block, limit } => {
                walk.event(&mut state, event);
                walk.expect(&state, "amount", amount, Scalar::Int);
                for expr in key {
                    walk.expr(&state, expr);
                }
                walk.define(&mut state, "interval", *interval, Scalar::Int);
                walk.block(block, Some(state.clone()));
                walk.expect(&state, "limit", limit, Scalar::Int);
            }
            Form::Reachable { event } => walk.event(&mut state, event),
        }
    }
}

impl Walk<'_, '_> {
    /// A block that computes a boolean.
    pub(super) fn formula(&mut self, state: &mut State, block: &Block, holds: LocalId) {
        if let Some(end) = self.block(block, Some(state.clone())) {
            *state = end;
        }
        self.result(Some(state), holds);
    }

    fn event(&mut self, state: &mut State, event: &EventPattern) {
        self.check.span = event.span;
        self.arrival(state, event.packet, event.port);
        if let Some((port, packet)) = event.emits {
            self.port(port);
            self.use_packet(state, packet);
        }
        if let Some(reasons) = &event.drops {
            self.reasons(reasons);
        }
        self.formula(state, &event.block, event.matches);
    }

    /// A packet that arrives: where packets can.
    fn arrival(&mut self, state: &State, packet: PacketId, port: PortId) {
        self.use_packet(state, packet);
        match self.check.program.ports.get(port.index()) {
            None => self.report(Fault::NoSuch("port", port.0)),
            Some(declared) if declared.entry.is_none() => self.report(Fault::NoEntry(declared.name.clone())),
            Some(_) => {}
        }
    }

    pub(super) fn port(&mut self, port: PortId) {
        let known = port.index() < self.check.program.ports.len();
        self.check.demand(known, || Fault::NoSuch("port", port.0));
    }

    pub(super) fn reasons(&mut self, reasons: &[ReasonId]) {
        for reason in reasons {
            let known = reason.index() < self.check.program.reasons.len();
            self.check.demand(known, || Fault::NoSuch("reason", reason.0));
        }
    }

    /// The type of a quantifier's result.
    fn quantified(&mut self, state: &mut State, quantifier: Quantifier, block: &Block, holds: LocalId, result: LocalId) {
        self.formula(state, block, holds);
        let ty = if quantifier == Quantifier::Count { Scalar::Int } else { Scalar::Bool };
        self.define(state, "result of a quantifier", result, ty);
    }

    pub(super) fn spec(&mut self, state: &mut State, stmt: &SpecStmt) {
        if self.layer == Layer::Require
            && !matches!(stmt, SpecStmt::Entries { .. } | SpecStmt::Range { .. } | SpecStmt::Size { .. })
        {
            return self.report(Fault::Misplaced("a formula about packets or time in a condition on control tables"));
        }
        match stmt {
            SpecStmt::Entries { quantifier, table, key, value, block, holds, result } => {
                let found = self.get_table(*table, |k| !matches!(k, TableKind::Cell | TableKind::Counter));
                if let Some(table) = found {
                    self.define_all(state, "key", key, &table.key);
                    if !value.is_empty() {
                        self.define_all(state, "value", value, &table.value);
                    }
                }
                self.quantified(state, *quantifier, block, *holds, *result);
            }
            SpecStmt::Range { quantifier, var, low, high, block, holds, result } => {
                self.expect(state, "least value", low, Scalar::Int);
                self.expect(state, "greatest value", high, Scalar::Int);
                self.define(state, "variable", *var, Scalar::Int);
                self.quantified(state, *quantifier, block, *holds, *result);
            }
            SpecStmt::Deadline { table, key, result } => {
                if let Some(table) =
                    self.get_table(*table, |k| matches!(k, TableKind::Map | TableKind::Set | TableKind::Bucket { .. }))
                {
                    self.key(state, table, key);
                }
                self.define(state, "deadline", *result, Scalar::Bits(64));
            }
            SpecStmt::Size { table, result } => {
                self.get_table(*table, |k| !matches!(k, TableKind::Cell | TableKind::Counter));
                self.define(state, "size", *result, Scalar::Int);
            }
            SpecStmt::Full { table, result } => {
                self.get_table(*table, |k| !matches!(k, TableKind::Cell | TableKind::Counter));
                self.define(state, "result", *result, Scalar::Bool);
            }
            SpecStmt::Tokens { table, key, result } => {
                if let Some(table) = self.get_table(*table, |k| matches!(k, TableKind::Bucket { .. })) {
                    self.key(state, table, key);
                }
                self.define(state, "tokens", *result, Scalar::Int);
            }
            SpecStmt::Emits { quantifier, packet, port, on, into, block, holds, result } => {
                self.arrival(state, *packet, *port);
                self.port(*on);
                self.use_packet(state, *into);
                self.quantified(state, *quantifier, block, *holds, *result);
            }
            SpecStmt::Drops { packet, port, reasons, result } => {
                self.arrival(state, *packet, *port);
                self.reasons(reasons);
                self.define(state, "result", *result, Scalar::Bool);
            }
            SpecStmt::Refused { packet, port, result, .. } => {
                self.arrival(state, *packet, *port);
                self.define(state, "result", *result, Scalar::Bool);
            }
            SpecStmt::After { event, block } => {
                match event {
                    AfterEvent::Packet(packet, port) => self.arrival(state, *packet, *port),
                    AfterEvent::Time(time) => self.expect(state, "time", time, Scalar::Bits(64)),
                }
                self.block(block, Some(state.clone()));
            }
            SpecStmt::Same { left, right, except, result } => {
                self.use_packet(state, *left);
                self.use_packet(state, *right);
                for (handle, field) in except {
                    let header = self.use_handle(state, *handle);
                    let known = header.is_none_or(|h| field.index() < h.fields.len());
                    self.check.demand(known, || Fault::NoSuch("field", field.0));
                }
                self.define(state, "result", *result, Scalar::Bool);
            }
            SpecStmt::SameBody { left, right, result } => {
                self.use_handles(state, &[*left, *right]);
                self.define(state, "result", *result, Scalar::Bool);
            }
        }
    }

    fn use_handles(&mut self, state: &State, handles: &[HandleId]) {
        for handle in handles {
            self.use_handle(state, *handle);
        }
    }

    /// An expression that must be an integer or a number of bits.
    pub(super) fn number(&mut self, state: &State, expr: &Expr) {
        self.expect_number(state, "number", expr);
    }
}

impl State {
    /// Everything is taken to be there.
    pub(super) fn known(body: &Body) -> State {
        let mut state = State::new(body);
        state.locals.fill(true);
        state.packets.fill(true);
        state.handles.fill(Some(super::flow::Place::Somewhere));
        state
    }
}
