//! Statements on symbolic variables, and the step of a packet as a whole. Where ways part, each side runs on a copy; where they
//! meet, what differs is chosen by the condition.

use super::env::{Branch, Choice, Dropped, Engine, Env, Happens, Known, Obliged, Output, StepResult, Unsupported};
use super::opened::Open;
use super::packet::Packet;
use super::state::{Change, World, is_keyed, root};
use super::value::Sym;
use super::wiring::Arrival;
use crate::term::{Op, Sort, Term};
use grv_lang::interp::Passage;
use grv_lang::ir::{
    Block, Body, ElementId, Expr, HandleId, HeaderId, LocalId, Obligation, PacketId, PortId, Scalar, Stmt, StmtKind, TableId,
    TableKind, Target,
};
use grv_lang::span::Span;
use std::rc::Rc;

/// An entry of a fed table that was set or removed.
pub(crate) struct Fed {
    pub(crate) after: World,
    pub(crate) key: Vec<Sym>,
    pub(crate) value: Vec<Sym>,
    /// Whether it is there now, if that is not always so.
    pub(crate) present: Option<Term>,
}

impl<'p> Engine<'p> {
    /// All that the step of a packet does in a state. The same packet in the same state does the same.
    pub fn step(&mut self, world: &World, packet: &Packet, port: PortId) -> Result<Rc<StepResult>, Unsupported> {
        let known = self.known.iter().find(|k| k.world == world.id && k.port == port && k.packet == *packet);
        if let Some(known) = known {
            return Ok(known.result.clone());
        }
        let span = self.program.span;
        let Some(entry) = self.program.ports.get(port.index()).and_then(|port| port.entry) else {
            return Err(Unsupported::new("a packet at a port where none can arrive", span));
        };
        let outer = std::mem::take(&mut self.happens);
        let way = self.terms.bool(true);
        let done = self.travel(Arrival { at: entry, packet: packet.clone(), args: Vec::new(), way, span }, world.clone());
        let Happens { out, drops, choices, obliged } = std::mem::replace(&mut self.happens, outer);
        let result = Rc::new(StepResult { out, drops, choices, obliged, after: done? });
        self.known.push(Known { world: world.id, port, packet: packet.clone(), result: result.clone() });
        Ok(result)
    }

    /// Lets the clocks of lifetimes follow the time that passed: `now - G <= tick <= now`, never back.
    fn ticks(&mut self, world: &mut World) {
        let mut ticks = world.ticks.to_vec();
        let mut moved = false;
        for id in (0..self.program.tables.len() as u32).map(TableId) {
            let of = root(self.program, id);
            let granularity = self.program.tables[of.index()].granularity;
            if granularity == 0 {
                moved |= ticks[id.index()] != world.now;
                ticks[id.index()] = world.now;
            } else if of == id {
                let tick = self.terms.fresh(&format!("{}.tick", self.program.tables[id.index()].name), Sort::Int);
                let lag = self.terms.int(granularity.into());
                let least = self.terms.op(Op::IntSub, world.now, lag);
                for (a, b) in [(ticks[id.index()], tick), (least, tick), (tick, world.now)] {
                    let fact = self.terms.op(Op::IntLe, a, b);
                    self.fact(fact);
                }
                ticks[id.index()] = tick;
                moved = true;
            }
        }
        for id in (0..self.program.tables.len() as u32).map(TableId) {
            ticks[id.index()] = ticks[root(self.program, id).index()];
        }
        if moved {
            world.id = self.stamp();
            world.ticks = ticks.into();
        }
    }

    /// Runs the handler of an input; the state after it. What it sends at its end is waiting then.
    pub(crate) fn arrive(&mut self, arrival: Arrival, world: World) -> Result<World, Unsupported> {
        let Arrival { at, packet, args, way, span } = arrival;
        let program = self.program;
        let input = &program.elements[at.element.index()].inputs[at.input as usize];
        if self.depth > 64 {
            return Err(Unsupported::new("wiring this deep", span));
        }
        let mut env = self.enter(&input.body, Some(at.element), vec![packet], world, way);
        env.last = true;
        env.locals[..args.len()].copy_from_slice(&args);
        self.opens(&env, span, Open::Enter);
        let mut after = None;
        for (index, header) in input.contract.iter().enumerate() {
            let packet = env.packets[0].clone();
            let (ok, found) =
                self.parse(&packet, PacketId(0), *header, after.as_ref(), input.body.block.first().map_or(span, |s| s.span))?;
            self.looks(env.way, &packet, &found, true, span);
            // Those who send here have found it; what they wrote must leave it well formed.
            self.oblige(&env, ok, format!("`{}` is still well formed", program.headers[header.index()].name), None, span);
            env.found[index] = vec![found.clone()];
            after = Some(found);
        }
        self.depth += 1;
        let env = self.block(env, &input.body.block);
        self.depth -= 1;
        Ok(env?.world)
    }

    pub(crate) fn oblige(&mut self, env: &Env<'p>, holds: Term, what: String, kind: Option<Obligation>, span: Span) {
        if self.under(env.way, holds) == Some(true) {
            return;
        }
        self.happens.obliged.push(Obliged { guard: env.way, holds, what, kind, element: env.element, span });
    }

    /// Statements in order.
    pub(crate) fn block(&mut self, mut env: Env<'p>, block: &'p [Stmt]) -> Result<Env<'p>, Unsupported> {
        let last = env.last;
        for (index, stmt) in block.iter().enumerate() {
            if self.terms.as_bool(env.way) == Some(false) {
                break;
            }
            env.last = last && block[index + 1..].iter().all(passes);
            if let StmtKind::Push { header, before, into, fields, ok } = &stmt.kind {
                env.last = last;
                return self.push_stmt(env, (*header, fields), (*before, *into, *ok), &block[index + 1..], stmt.span);
            }
            env = self.stmt(env, stmt)?;
        }
        env.last = last;
        Ok(env)
    }

    /// A header is put in, and what follows runs on the longer packet; or there is no room, and it runs on the old one.
    fn push_stmt(
        &mut self,
        env: Env<'p>,
        (header, fields): (HeaderId, &[Expr]),
        (before, into, ok): (HandleId, HandleId, LocalId),
        rest: &'p [Stmt],
        span: Span,
    ) -> Result<Env<'p>, Unsupported> {
        let fields = self.exprs(&env, fields, span)?;
        let [before] = &env.found[before.index()][..] else {
            return Err(Unsupported::new("a header put in before one that is found on several ways", span));
        };
        let before = before.clone();
        let room = self.open("room for a header");
        let length = self.number(self.program.headers[header.index()].fixed.into());
        let length = self.sum(env.packets[before.packet.index()].length, length);
        let longest = self.number(super::packet::longest());
        let fits = self.at_most(length, longest);
        let fact = self.terms.implies(room, fits);
        self.fact_about(fact, &[room]);
        self.opens(&env, span, Open::Header { room, fits });
        self.either(
            env,
            room,
            |e, mut env| {
                let mut packet = env.packets[before.packet.index()].clone();
                let new = e.push(&mut packet, (header, &fields), &before, &mut env.found, span);
                env.packets[before.packet.index()] = packet;
                env.found[into.index()] = vec![new];
                env.locals[ok.index()] = Sym::Bool(e.terms.bool(true));
                e.block(env, rest)
            },
            |e, mut env| {
                env.locals[ok.index()] = Sym::Bool(e.terms.bool(false));
                e.block(env, rest)
            },
            span,
        )
    }

    /// One block where a condition holds, another where it does not.
    pub(crate) fn either(
        &mut self,
        env: Env<'p>,
        cond: Term,
        then: impl FnOnce(&mut Self, Env<'p>) -> Result<Env<'p>, Unsupported>,
        other: impl FnOnce(&mut Self, Env<'p>) -> Result<Env<'p>, Unsupported>,
        span: Span,
    ) -> Result<Env<'p>, Unsupported> {
        match self.under(env.way, cond) {
            Some(true) => return then(self, env),
            Some(false) => return other(self, env),
            None => {}
        }
        let not = self.terms.not(cond);
        let (way, before) = (env.way, env.world.clone());
        let (yes, no) = (self.terms.and(&[way, cond]), self.terms.and(&[way, not]));
        let a = then(self, Env { way: yes, ..env.clone() })?;
        let b = other(self, Env { way: no, ..env })?;
        let whole = a.way == yes && b.way == no;
        let mut merged = self.merge(&before, cond, a, b, span)?;
        if whole {
            merged.way = way;
        }
        Ok(merged)
    }

    fn stmt(&mut self, mut env: Env<'p>, stmt: &'p Stmt) -> Result<Env<'p>, Unsupported> {
        let span = stmt.span;
        match &stmt.kind {
            StmtKind::Assign { dst, value } => {
                env.locals[dst.index()] = self.expr(&env, value, span)?;
                Ok(env)
            }
            StmtKind::If { cond, then, other } => {
                let cond = self.condition(&env, cond, span)?;
                self.either(env, cond, |e, env| e.block(env, then), |e, env| e.block(env, other), span)
            }
            StmtKind::Branch { implied } => {
                self.branches.push(Branch { guard: env.way, passage: Passage::Branch { span, implied: *implied } });
                Ok(env)
            }
            StmtKind::Switch { on, cases, default } => {
                let on = self.expr(&env, on, span)?;
                self.switch(env, on, cases, default, span)
            }
            StmtKind::Check { cond, what } => {
                let cond = self.condition(&env, cond, span)?;
                self.must(&mut env, cond, describe(*what).to_string(), Some(*what), span);
                Ok(env)
            }
            StmtKind::Parse { packet, header, after, into, ok, malformed } => {
                let bytes = env.packets.get(packet.index()).cloned();
                let bytes = bytes.ok_or_else(|| Unsupported::new("a header of no packet", span))?;
                let after = match after {
                    None => vec![None],
                    Some(handle) => env.found[handle.index()].iter().cloned().map(Some).collect(),
                };
                let (mut fits, mut all) = (self.terms.bool(false), Vec::new());
                if after.is_empty() {
                    return Err(Unsupported::new("a header behind one that is not found", span));
                }
                for place in after {
                    let (ok, mut found) = self.parse(&bytes, *packet, *header, place.as_ref(), span)?;
                    let guard = place.map_or_else(|| self.terms.bool(true), |f| f.guard);
                    found.guard = guard;
                    let way = self.terms.and(&[env.way, guard]);
                    self.looks(way, &bytes, &found, false, span);
                    let here = self.terms.and(&[guard, ok]);
                    fits = self.terms.or(&[fits, here]);
                    all.push(found);
                }
                let into = *into;
                self.either(
                    env,
                    fits,
                    |e, mut env| {
                        env.found[into.index()] = all;
                        e.block(env, ok)
                    },
                    |e, env| e.block(env, malformed),
                    span,
                )
            }
            StmtKind::SetField { handle, field, value } => {
                let value = self.expr(&env, value, span)?;
                for found in env.found[handle.index()].clone() {
                    let mut packet = env.packets[found.packet.index()].clone();
                    self.set_field(&mut packet, &found, *field, value, span)?;
                    env.packets[found.packet.index()] = packet;
                }
                Ok(env)
            }
            StmtKind::UpdateChecksum { handle, field, optional, changes } => {
                self.update_checksum(&mut env, *handle, *field, *optional, changes, span)?;
                Ok(env)
            }
            StmtKind::VerifyChecksums { handle, result } => {
                let valid = self.choose_found(&env, *handle, span, |engine, found| {
                    let packet =
                        env.packets.get(found.packet.index()).ok_or_else(|| Unsupported::new("a checksum of no packet", span))?;
                    engine.checksums_valid(&env, packet, found, span).map(Sym::Bool)
                })?;
                env.locals[result.index()] = valid;
                Ok(env)
            }
            StmtKind::Push { .. } => Err(Unsupported::new("a header put in here", span)),
            StmtKind::Pop { handle } => {
                let [gone] = &env.found[handle.index()][..] else {
                    return Err(Unsupported::new("a header taken out that is found on several ways", span));
                };
                let gone = gone.clone();
                env.found[handle.index()].clear();
                let mut packet = env.packets[gone.packet.index()].clone();
                self.pop(&mut packet, &gone, &mut env.found, span)?;
                env.packets[gone.packet.index()] = packet;
                Ok(env)
            }
            StmtKind::Emit { output, args } => {
                let args = self.exprs(&env, args, span)?;
                let Some(id) = env.element else { return Err(Unsupported::new("an output outside a handler", span)) };
                let target = self.program.elements[id.index()].outputs[*output as usize].target;
                self.branches.push(Branch { guard: env.way, passage: Passage::Edge(id, *output) });
                let packet = env.packets[0].clone();
                match target {
                    Target::Port(port) => {
                        self.happens.out.push(Output { guard: env.way, port, packet });
                        // Nothing follows: ways that end here need not meet.
                        if env.last {
                            env.way = self.terms.bool(false);
                        }
                    }
                    Target::Input(at) => {
                        let arrival = Arrival { at, packet, args, way: env.way, span };
                        if env.last {
                            self.waiting.push(arrival);
                            env.way = self.terms.bool(false);
                        } else {
                            env.world = self.travel(arrival, env.world)?;
                        }
                    }
                }
                Ok(env)
            }
            StmtKind::Drop { reason } => {
                let Some(element) = env.element else { return Err(Unsupported::new("a drop outside a handler", span)) };
                self.happens.drops.push(Dropped { guard: env.way, element, reason: *reason, span });
                env.way = self.terms.bool(false);
                Ok(env)
            }
            StmtKind::Spec(spec) => self.spec_stmt(env, spec, span),
            StmtKind::Test(_) => Err(Unsupported::new("a test's statement", span)),
            StmtKind::First { .. } | StmtKind::Choose { .. } => self.search(env, stmt),
            _ => self.table_stmt(env, stmt),
        }
    }

    /// An automatic obligation: behind it, it holds.
    pub(crate) fn must(&mut self, env: &mut Env<'p>, cond: Term, what: String, kind: Option<Obligation>, span: Span) {
        self.oblige(env, cond, what, kind, span);
        env.way = self.terms.and(&[env.way, cond]);
    }

    fn switch(
        &mut self,
        env: Env<'p>,
        on: Sym,
        cases: &'p [(u128, Span, Block)],
        default: &'p Block,
        span: Span,
    ) -> Result<Env<'p>, Unsupported> {
        let Some(((value, _, block), rest)) = cases.split_first() else { return self.block(env, default) };
        let value = match on {
            Sym::Bits(term) => match self.terms.sort(term) {
                Sort::Bits(width) => Sym::Bits(self.terms.bits(*value, width)),
                _ => return Err(Unsupported::new("a switch on this", span)),
            },
            Sym::Nat { width, .. } => Sym::Bits(self.terms.bits(*value, width)),
            Sym::Bool(_) => Sym::Bool(self.terms.bool(*value != 0)),
            Sym::Small { .. } | Sym::Int(_) => self.number(*value),
        };
        let cond = self.terms.equal(on, value);
        self.either(env, cond, |e, env| e.block(env, block), |e, env| e.switch(env, on, rest, default, span), span)
    }

    /// A choice that was made.
    pub(crate) fn chose(&mut self, guard: Term, name: &str, left: Term) {
        self.happens.choices.push(Choice { guard, name: name.to_string(), left });
    }

    /// The state a while later. Timers would fire on the way.
    pub(crate) fn later(&mut self, world: &World, now: Term, span: Span) -> Result<World, Unsupported> {
        if self.program.elements.iter().any(|e| !e.timers.is_empty()) {
            return Err(Unsupported::new("time that passes in a box with timers", span));
        }
        let mut after = world.clone();
        after.now = now;
        after.id = self.stamp();
        self.ticks(&mut after);
        Ok(after)
    }

    /// The state when the clocks are another's, and that they did not go back.
    pub(crate) fn when(&mut self, world: &World, clocks: &World, given: &mut Vec<Term>) -> World {
        let before = std::iter::once(world.now).chain(world.ticks.iter().copied());
        let after = std::iter::once(clocks.now).chain(clocks.ticks.iter().copied());
        let forward: Vec<(Term, Term)> = before.zip(after).collect();
        for (before, after) in forward {
            let fact = self.terms.op(Op::IntLe, before, after);
            if !given.contains(&fact) {
                given.push(fact);
            }
        }
        World { id: self.stamp(), now: clocks.now, ticks: clocks.ticks.clone(), tables: world.tables.clone() }
    }
}

/// Whether a statement does nothing on ways that ended before it: a match's arms by number, of which there is none but after the
/// assignment of that number.
fn passes(stmt: &Stmt) -> bool {
    matches!(&stmt.kind, StmtKind::Switch { on: Expr::Local(_), default, .. } if default.is_empty())
}

/// What an automatic obligation says.
fn describe(what: Obligation) -> &'static str {
    match what {
        Obligation::Overflow => "no overflow",
        Obligation::DivisionByZero => "no division by zero",
        Obligation::Narrowing => "the value fits the narrower type",
        Obligation::Bounds => "the index is below the length",
        Obligation::Shift => "the shift is by less than the width",
        Obligation::Assertion => "the assertion",
    }
}

impl<'p> Engine<'p> {
    /// Runs a handler that has no packet; the state after it.
    pub(crate) fn aside(&mut self, element: ElementId, body: &'p Body, world: &World) -> Result<World, Unsupported> {
        let outer = std::mem::take(&mut self.happens);
        let way = self.terms.bool(true);
        let env = self.enter(body, Some(element), Vec::new(), world.clone(), way);
        let env = self.block(env, &body.block);
        let inner = std::mem::replace(&mut self.happens, outer);
        self.happens.obliged.extend(inner.obliged);
        Ok(env?.world)
    }

    /// Packets that no event has bound yet.
    pub(crate) fn unbound(&mut self, body: &Body) -> Vec<Packet> {
        body.packets.iter().map(|name| self.arriving(&format!("{name} (unbound)"))).collect()
    }

    /// The state after the runtime has set or removed an entry of a fed table.
    pub(crate) fn fed(&mut self, world: &World, table: TableId) -> Fed {
        let mut after = world.clone();
        let declared = &self.program.tables[table.index()];
        let name = declared.name.clone();
        let any = |e: &mut Engine<'p>, ty: Scalar| match ty {
            Scalar::Bool => Sym::Bool(e.terms.fresh(&name, Sort::Bool)),
            Scalar::Bits(width) => Sym::Bits(e.terms.fresh(&name, Sort::Bits(width))),
            Scalar::Int => Sym::Int(e.terms.fresh(&name, Sort::Int)),
        };
        let keyed = is_keyed(&declared.kind);
        let key = match declared.kind {
            TableKind::Array => vec![any(self, Scalar::Bits(64))],
            _ => declared.key.iter().map(|c| any(self, c.ty)).collect(),
        };
        let value: Vec<Sym> = declared.value.iter().map(|c| any(self, c.ty)).collect();
        let present = keyed.then(|| self.open(&format!("{name} is set")));
        let guard = self.terms.bool(true);
        self.touch_key(table, &key);
        let count = self.terms.fresh(&format!("{name}.count"), Sort::Int);
        let (zero, capacity) = (self.terms.int(0), self.terms.int(declared.capacity.into()));
        for (a, b) in [(zero, count), (count, capacity)] {
            let fact = self.terms.op(Op::IntLe, a, b);
            self.fact(fact);
        }
        let change = Change { guard, key: key.clone(), present, value: Some(value.clone()), deadline: None };
        self.changed(&mut after, table, |t| {
            t.log.push(change);
            t.count = count;
        });
        Fed { after, key, value, present }
    }
}
