//! Specifications evaluated in a state: quantifiers over tables, numbers and emitted packets, and what holds after an event.
//! Nothing here changes the machine: steps that a specification speaks of happen to copies. Within one evaluation the step of
//! a packet in a state happens once, so that all that is said of it is said of the same choices.

use super::checksum;
use super::code::{Code, Leaves, Scope};
use super::config::Config;
use super::error::{Defect, DefectKind};
use super::machine::{Machine, Outcome};
use super::oracle::Oracle;
use super::packet::Place;
use super::state::State;
use super::step::{Frame, Run, Scratch, Step};
use super::table::{BYTE, SlotId};
use super::value::Fault;
use crate::ir::spec::{AfterEvent, Quantifier};
use crate::ir::{Body, Expr, FieldId, HandleId, HeaderId, LocalId, PacketId, PortId, SpecStmt, Stmt, TableId, TableKind};
use crate::span::Span;
use std::rc::Rc;
use std::sync::Arc;

/// The variables of a specification or a test: scalars, places of headers, packets.
#[derive(Clone, Debug, Default)]
pub struct Bindings {
    pub(crate) locals: Vec<u128>,
    pub(crate) places: Vec<Place>,
    pub(crate) packets: Vec<Vec<u8>>,
}

impl Bindings {
    /// Variables of a body; all zero, and no packets.
    pub fn new<E>(body: &Body<E>) -> Bindings {
        Bindings {
            locals: vec![0; body.locals.len()],
            places: vec![Place::NONE; body.handles.len()],
            packets: vec![Vec::new(); body.packets.len()],
        }
    }

    /// Binds a packet.
    pub fn set_packet(&mut self, packet: PacketId, bytes: &[u8]) {
        if let Some(slot) = self.packets.get_mut(packet.index()) {
            slot.clear();
            slot.extend_from_slice(bytes);
        }
    }

    /// A packet's bytes.
    pub fn packet(&self, packet: PacketId) -> &[u8] {
        self.packets.get(packet.index()).map_or(&[], Vec::as_slice)
    }

    /// Sets a scalar.
    pub fn set(&mut self, local: LocalId, bits: u128) {
        if let Some(slot) = self.locals.get_mut(local.index()) {
            *slot = bits;
        }
    }

    /// A scalar's bits.
    pub fn get(&self, local: LocalId) -> u128 {
        self.locals.get(local.index()).copied().unwrap_or(0)
    }

    /// Whether a boolean is true.
    pub fn holds(&self, local: LocalId) -> bool {
        self.get(local) != 0
    }
}

/// Evaluates specifications in a machine's state.
#[derive(Debug)]
pub struct Session {
    machine: Machine,
    scratch: Scratch,
    context: Context,
}

impl Session {
    /// Looks at a machine's state as it is now.
    pub fn new(machine: &Machine) -> Session {
        let context = Context { config: machine.config.clone(), state: 0, states: 1, steps: Vec::new() };
        Session { machine: machine.clone(), scratch: Scratch::default(), context }
    }

    /// Runs statements. Defects of the steps that they speak of are errors.
    pub fn run(&mut self, body: &Body, bindings: &mut Bindings, block: &[Stmt], oracle: &mut dyn Oracle) -> Result<(), Defect> {
        let block = self.machine.config.block(body, block);
        self.run_lowered(body, bindings, &block, oracle)
    }

    /// The same of statements that were lowered for the machine's configuration.
    pub(crate) fn run_lowered<E>(
        &mut self,
        body: &Body<E>,
        bindings: &mut Bindings,
        block: &[Stmt<Code>],
        oracle: &mut dyn Oracle,
    ) -> Result<(), Defect> {
        self.scratch.vars = std::mem::take(bindings);
        let frame = Frame::of(body, self.machine.now());
        let mut outcome = Outcome::default();
        let mut run = Run {
            config: &self.machine.config,
            state: &mut self.machine.state,
            scratch: &mut self.scratch,
            oracle,
            observer: None,
            outcome: &mut outcome,
            spec: Some(&mut self.context),
            depth: 0,
            emitted: 0,
        };
        let result = run.whole(&frame, Span::default(), block);
        *bindings = std::mem::take(&mut self.scratch.vars);
        bindings.locals.truncate(body.locals.len());
        bindings.places.truncate(body.handles.len());
        bindings.packets.truncate(body.packets.len());
        result.map_err(|defect| *defect)
    }

    /// The value of an expression.
    pub fn eval(&self, body: &Body, bindings: &Bindings, expr: &Expr, span: Span) -> Result<u128, Defect> {
        self.value(body, bindings, &self.machine.config.code(body, expr), span)
    }

    /// The same of an expression that was lowered.
    pub(crate) fn value<E>(&self, body: &Body<E>, bindings: &Bindings, code: &Code, span: Span) -> Result<u128, Defect> {
        let frame = Frame::of(body, self.machine.now());
        let value = Scope { frame: &frame, vars: bindings }.eval(code);
        value.map_err(|fault| Defect { kind: DefectKind::Fault(fault), element: None, span })
    }

    /// What the step of a packet that arrives in this state does: what formulas about it see.
    pub fn outcome(&mut self, packet: &[u8], port: PortId, oracle: &mut dyn Oracle) -> Result<Rc<Outcome>, Defect> {
        let at = self.context.step(&self.machine.state, packet, port, oracle)?;
        Ok(self.context.steps[at].outcome.clone())
    }
}

/// What one evaluation has found out so far.
#[derive(Debug)]
pub(crate) struct Context {
    config: Arc<Config>,
    /// The number of the state that formulas are evaluated in.
    state: u64,
    /// How many states were looked at.
    states: u64,
    steps: Vec<Known>,
}

/// The step of a packet in a state.
#[derive(Debug)]
struct Known {
    state: u64,
    port: PortId,
    packet: Vec<u8>,
    outcome: Rc<Outcome>,
    after: Rc<State>,
    /// The number of the state after it.
    next: u64,
}

impl Context {
    /// The place in `steps` of the step of a packet in the current state.
    fn step(&mut self, state: &State, packet: &[u8], port: PortId, oracle: &mut dyn Oracle) -> Result<usize, Defect> {
        let known = self.steps.iter().position(|k| k.state == self.state && k.port == port && k.packet == packet);
        if let Some(at) = known {
            return Ok(at);
        }
        let mut machine = Machine::at(self.config.clone(), state.clone());
        let outcome = Rc::new(machine.packet(port, packet, oracle, None)?);
        let known =
            Known { state: self.state, port, packet: packet.to_vec(), outcome, after: Rc::new(machine.state), next: self.states };
        self.states += 1;
        self.steps.push(known);
        Ok(self.steps.len() - 1)
    }
}

/// A quantifier under way.
struct Instances {
    quantifier: Quantifier,
    count: u128,
    decided: Option<bool>,
}

impl Instances {
    fn new(quantifier: Quantifier) -> Instances {
        Instances { quantifier, count: 0, decided: None }
    }

    /// Takes in one instance; true if no other can change the result.
    fn add(&mut self, holds: bool) -> bool {
        match self.quantifier {
            Quantifier::All if !holds => self.decided = Some(false),
            Quantifier::Exists if holds => self.decided = Some(true),
            Quantifier::Count => self.count += u128::from(holds),
            Quantifier::All | Quantifier::Exists => {}
        }
        self.decided.is_some()
    }

    fn result(self) -> u128 {
        match self.quantifier {
            Quantifier::All => u128::from(self.decided.is_none()),
            Quantifier::Exists => u128::from(self.decided.is_some()),
            Quantifier::Count => self.count,
        }
    }
}

impl Run<'_> {
    pub(crate) fn spec_stmt(&mut self, frame: &Frame<'_>, span: Span, stmt: &SpecStmt<Code>) -> Step<()> {
        match stmt {
            SpecStmt::Entries { quantifier, table, key, value, block, holds, result } => {
                let bits = self.entries(frame, span, *quantifier, *table, (key, value), (block, *holds))?;
                self.set(frame, *result, bits);
            }
            SpecStmt::Range { quantifier, var, low, high, block, holds, result } => {
                let low = self.eval(frame, span, low)? as i128;
                let high = self.eval(frame, span, high)? as i128;
                let mut instances = Instances::new(*quantifier);
                let mut at = low;
                while at <= high {
                    self.set(frame, *var, at as u128);
                    self.whole(frame, span, block)?;
                    if instances.add(self.get(frame, *holds) != 0) || at == i128::MAX {
                        break;
                    }
                    at += 1;
                }
                self.set(frame, *result, instances.result());
            }
            SpecStmt::Deadline { table, key, result } => {
                let key = self.key(frame, span, key)?;
                let live = self.state.live(self.config, *table, &key);
                let deadline = live.map_or(0, |e| {
                    if e.slot == SlotId::FOREVER { u64::MAX } else { self.state.deadlines.at(e.slot).unwrap_or(0) }
                });
                self.set(frame, *result, deadline.into());
            }
            SpecStmt::Size { table, result } => {
                let size = match self.state.indexed(*table) {
                    Some(_) => self.config.program.tables[table.index()].capacity as usize,
                    None => self.state.live_entries(self.config, *table).len(),
                };
                self.set(frame, *result, size as u128);
            }
            SpecStmt::Full { table, result } => {
                let capacity = self.config.program.tables.get(table.index()).map_or(0, |t| t.capacity);
                let full = self.state.keyed(*table).is_none_or(|store| store.entries.len() as u64 >= capacity);
                self.set(frame, *result, full.into());
            }
            SpecStmt::Tokens { table, key, result } => {
                let key = self.key(frame, span, key)?;
                let Some(bucket) = self.config.buckets.get(table.index()).copied().flatten() else {
                    return Err(self.wrong_kind(frame, span));
                };
                let tokens = match self.state.live(self.config, *table, &key).map(|entry| &*entry.value) {
                    Some([tokens, last]) => bucket.tokens(*tokens, *last, self.state.now),
                    _ => bucket.burst,
                };
                self.set(frame, *result, tokens);
            }
            SpecStmt::Emits { quantifier, packet, port, on, into, block, holds, result } => {
                let outcome = self.outcome_of(frame, span, *packet, *port)?;
                let mut instances = Instances::new(*quantifier);
                for (_, bytes) in outcome.out.iter().filter(|(left, _)| left == on) {
                    self.bind(frame, *into, bytes);
                    self.whole(frame, span, block)?;
                    if instances.add(self.get(frame, *holds) != 0) {
                        break;
                    }
                }
                self.set(frame, *result, instances.result());
            }
            SpecStmt::Drops { packet, port, reasons, result } => {
                let outcome = self.outcome_of(frame, span, *packet, *port)?;
                let dropped = outcome.drops.iter().any(|drop| reasons.is_empty() || reasons.contains(&drop.reason));
                self.set(frame, *result, dropped.into());
            }
            SpecStmt::Refused { packet, port, choice, tier, result } => {
                let outcome = self.outcome_of(frame, span, *packet, *port)?;
                let refused = outcome.choices.iter().any(|made| made.name == *choice && made.left > *tier);
                self.set(frame, *result, refused.into());
            }
            SpecStmt::After { event, block } => self.after(frame, span, event, block)?,
            SpecStmt::Same { left, right, except, result } => {
                let same = self.same(frame, span, *left, *right, except)?;
                self.set(frame, *result, same.into());
            }
            SpecStmt::SameBody { left, right, result } => {
                let (a, b) = (self.rest(frame, span, *left)?, self.rest(frame, span, *right)?);
                let same = a == b;
                self.set(frame, *result, same.into());
            }
        }
        Ok(())
    }

    fn key(&mut self, frame: &Frame<'_>, span: Span, key: &[Code]) -> Step<Vec<u128>> {
        let mut bits = Vec::with_capacity(key.len());
        self.values(frame, span, key, &mut bits)?;
        Ok(bits)
    }

    fn entries(
        &mut self,
        frame: &Frame<'_>,
        span: Span,
        quantifier: Quantifier,
        table: TableId,
        (key, value): (&[LocalId], &[LocalId]),
        (block, holds): (&[Stmt<Code>], LocalId),
    ) -> Step<u128> {
        let mut instances = Instances::new(quantifier);
        let capacity = self.config.program.tables.get(table.index()).map_or(0, |t| t.capacity);
        if self.state.indexed(table).is_some() {
            for index in 0..capacity {
                if let [key] = key {
                    self.set(frame, *key, index.into());
                }
                if let Some(store) = self.state.indexed(table) {
                    for (local, bits) in value.iter().zip(store.get(index)) {
                        self.scratch.vars.locals[frame.locals + local.index()] = *bits;
                    }
                }
                self.whole(frame, span, block)?;
                if instances.add(self.get(frame, holds) != 0) {
                    break;
                }
            }
            return Ok(instances.result());
        }
        let bucket = matches!(self.config.program.tables.get(table.index()).map(|t| &t.kind), Some(TableKind::Bucket { .. }));
        let live: Vec<(Vec<u128>, Vec<u128>)> = self
            .state
            .live_entries(self.config, table)
            .into_iter()
            .map(|(k, e)| (k.to_vec(), if bucket { Vec::new() } else { e.value.to_vec() }))
            .collect();
        for (k, v) in live {
            for (local, bits) in key.iter().zip(&k).chain(value.iter().zip(&v)) {
                self.scratch.vars.locals[frame.locals + local.index()] = *bits;
            }
            self.whole(frame, span, block)?;
            if instances.add(self.get(frame, holds) != 0) {
                break;
            }
        }
        Ok(instances.result())
    }

    /// Binds a packet variable; what was known of its headers is forgotten.
    fn bind(&mut self, frame: &Frame<'_>, packet: PacketId, bytes: &[u8]) {
        if let Some(slot) = self.scratch.vars.packets.get_mut(frame.packets + packet.index()) {
            slot.clear();
            slot.extend_from_slice(bytes);
        }
        for (index, _) in frame.handles.iter().enumerate().filter(|(_, handle)| handle.packet == packet) {
            self.scratch.vars.places[frame.places + index] = Place::NONE;
        }
    }

    /// The step of a packet in the current state, by its place among those that are known.
    fn known(&mut self, frame: &Frame<'_>, span: Span, packet: PacketId, port: PortId) -> Step<usize> {
        let Some(bytes) = self.scratch.vars.packets.get(frame.packets + packet.index()).cloned() else {
            return Err(self.defect(frame, span, Fault::NoPacket.into()));
        };
        let Some(context) = &mut self.spec else {
            return Err(self.defect(frame, span, Fault::Malformed("a formula outside a specification").into()));
        };
        context.step(self.state, &bytes, port, self.oracle).map_err(Box::new)
    }

    fn outcome_of(&mut self, frame: &Frame<'_>, span: Span, packet: PacketId, port: PortId) -> Step<Rc<Outcome>> {
        let at = self.known(frame, span, packet, port)?;
        match &self.spec {
            Some(context) => Ok(context.steps[at].outcome.clone()),
            None => Err(self.defect(frame, span, Fault::Malformed("a formula outside a specification").into())),
        }
    }

    fn after(&mut self, frame: &Frame<'_>, span: Span, event: &AfterEvent<Code>, block: &[Stmt<Code>]) -> Step<()> {
        let (next, number) = match event {
            AfterEvent::Packet(packet, port) => {
                let at = self.known(frame, span, *packet, *port)?;
                let Some(context) = &self.spec else {
                    return Err(self.defect(frame, span, Fault::Malformed("a formula outside a specification").into()));
                };
                let known = &context.steps[at];
                ((*known.after).clone(), known.next)
            }
            AfterEvent::Time(duration) => {
                let nanoseconds = self.eval(frame, span, duration)?;
                let nanoseconds = u64::try_from(nanoseconds).unwrap_or(u64::MAX);
                let Some(context) = &mut self.spec else {
                    return Err(self.defect(frame, span, Fault::Malformed("a formula outside a specification").into()));
                };
                let mut machine = Machine::at(context.config.clone(), self.state.clone());
                machine.advance(nanoseconds, self.oracle, None).map_err(Box::new)?;
                context.states += 1;
                (machine.state, context.states - 1)
            }
        };
        let before = std::mem::replace(self.state, next);
        let number = self.spec.as_mut().map(|context| std::mem::replace(&mut context.state, number));
        // The variables stay, and the time is that of the other state.
        let result = self.whole(&Frame { now: self.state.now, ..*frame }, span, block);
        *self.state = before;
        if let (Some(context), Some(number)) = (&mut self.spec, number) {
            context.state = number;
        }
        result.map(|_| ())
    }

    /// Whether two packets are the same but for some fields of the left one's headers.
    fn same(&self, frame: &Frame<'_>, span: Span, left: PacketId, right: PacketId, except: &[(HandleId, FieldId)]) -> Step<bool> {
        let scope = self.scope(frame);
        let a = self.sound(frame, span, scope.packet(left.index()))?;
        let b = self.sound(frame, span, scope.packet(right.index()))?;
        if a.len() != b.len() {
            return Ok(false);
        }
        let mut b = b.to_vec();
        for (handle, field) in except {
            let (header, _, place) = self.found_header(frame, span, *handle)?;
            let extent = self.entry(frame, span, header, *field)?.extent;
            if let Some(bits) = extent.get(a, place.start) {
                // The field is inside of `a`, and `b` is as long.
                let _inside = extent.set(&mut b, place.start, bits);
            }
        }
        Ok(a == b)
    }

    /// What follows a header, up to the end of its body.
    fn rest(&self, frame: &Frame<'_>, span: Span, handle: HandleId) -> Step<&[u8]> {
        let (_, packet, place) = self.found_header(frame, span, handle)?;
        let bytes = &self.scratch.vars.packets[packet];
        bytes
            .get(place.after() as usize..(place.end as usize).max(place.after() as usize))
            .ok_or_else(|| self.defect(frame, span, Fault::Malformed("a body outside its packet").into()))
    }

    /// Whether all checksums of a header are right.
    pub(crate) fn checksums_valid(&self, frame: &Frame<'_>, span: Span, handle: HandleId) -> Step<bool> {
        let (id, packet, place) = self.found_header(frame, span, handle)?;
        let Some(header) = self.config.program.headers.get(id.index()) else {
            return Err(self.defect(frame, span, Fault::Malformed("a header that is not declared").into()));
        };
        let bytes = &self.scratch.vars.packets[packet];
        let mut around: Vec<(HeaderId, Place)> = frame
            .handles
            .iter()
            .zip(self.scope(frame).places())
            .filter(|(other, at)| frame.packets + other.packet.index() == packet && at.is_some() && at.start < place.start)
            .map(|(other, at)| (other.header, *at))
            .collect();
        around.sort_by_key(|(_, at)| at.start);
        let valid = |sum| checksum::valid(&self.config.program, bytes, header, place, sum, &around).unwrap_or(false);
        Ok(header.checksums.iter().all(valid))
    }
}

/// Bits (divided by 10^9) in a byte: the unit of [`SpecStmt::Tokens`].
pub const TOKENS_PER_BYTE: u128 = BYTE;
