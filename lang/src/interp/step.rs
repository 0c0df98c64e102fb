//! A step: the whole way of one packet through the box, and the same machinery for timers and updates. Effects happen in
//! program order along the wiring; what is behind an `emit` runs before the next statement.

use super::checksum;
use super::config::Config;
use super::error::{Defect, DefectKind};
use super::expr::Scope;
use super::machine::{Dropped, Outcome};
use super::oracle::Oracle;
use super::packet::{self, MAX_FRAME, Place};
use super::spec::Context;
use super::state::State;
use super::trace::{Event, Observer};
use super::value::{Fault, Value};
use crate::ir::{Body, Change, ElementId, Expr, HandleId, HeaderId, InputRef, LocalId, PacketId, PortId, Stmt, StmtKind, Target};
use crate::span::Span;

/// A result, or the defect that stops the machine.
pub(crate) type Step<T> = Result<T, Box<Defect>>;

/// Headers one behind the other, with their places.
type Chain = Vec<(HeaderId, Place)>;

/// Stacks of variables, places and packets of the handlers that are being run, used again from step to step.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) locals: Vec<u128>,
    pub(crate) places: Vec<Place>,
    pub(crate) packets: Vec<Vec<u8>>,
    /// By packet: the headers that were found from its start on, as long as nothing changed that their places depend on.
    chains: Vec<Chain>,
    /// Buffers that are free.
    pool: Vec<Vec<u8>>,
    /// Evaluated keys and values.
    pub(crate) values: Vec<u128>,
}

impl Scratch {
    /// Takes back the buffers of an outcome and empties it.
    pub(crate) fn recycle(&mut self, outcome: &mut Outcome) {
        self.pool.extend(outcome.out.drain(..).map(|(_, buffer)| buffer));
        outcome.drops.clear();
        outcome.choices.clear();
    }

    fn copy(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut buffer = self.pool.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(bytes);
        buffer
    }
}

/// Whether a block fell through its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It did.
    Next,
    /// It ended with a drop.
    Dropped,
}

/// Where the variables of a body are.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'b> {
    pub(crate) body: &'b Body,
    pub(crate) element: Option<ElementId>,
    pub(crate) locals: usize,
    pub(crate) places: usize,
    pub(crate) packets: usize,
}

/// One event being processed, or a specification being evaluated.
pub(crate) struct Run<'a> {
    pub(crate) config: &'a Config,
    pub(crate) state: &'a mut State,
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) oracle: &'a mut dyn Oracle,
    pub(crate) observer: Option<&'a mut dyn Observer>,
    pub(crate) outcome: &'a mut Outcome,
    /// Only in specifications.
    pub(crate) spec: Option<&'a mut Context>,
    /// Handlers that are being run.
    pub(crate) depth: usize,
    /// Packets that the current handler has emitted.
    pub(crate) emitted: u64,
}

impl<'a> Run<'a> {
    /// Lets coarse clocks move: `now - G <= tick <= now`, never back.
    pub(crate) fn ticks(&mut self) {
        for (root, lag) in &self.config.coarse {
            let lag = self.oracle.tick_lag(*root, *lag).min(*lag);
            let tick = &mut self.state.ticks[root.index()];
            *tick = (*tick).max(self.state.now.saturating_sub(lag));
        }
    }

    /// Tells the observer, if there is one.
    pub(crate) fn tell(&mut self, event: Event<'_>) {
        if let Some(observer) = &mut self.observer {
            observer.event(event);
        }
    }

    /// The step of a packet that arrives at an external port.
    pub(crate) fn packet(&mut self, port: PortId, entry: InputRef, bytes: &[u8]) -> Step<()> {
        self.state.accounting.received[port.index()] += 1;
        self.tell(Event::Arrive { port, bytes });
        let buffer = self.scratch.copy(bytes);
        self.scratch.packets.push(buffer);
        self.scratch.chains.push(Chain::new());
        let locals = self.scratch.locals.len();
        self.input(entry, locals)
    }

    /// A timer's event.
    pub(crate) fn timer(&mut self, element: ElementId, timer: u32) -> Step<()> {
        self.tell(Event::Timer { element, timer, now: self.state.now });
        let config = self.config;
        self.aside(element, &config.program.elements[element.index()].timers[timer as usize].body)
    }

    /// The handlers of an update, after it has been installed.
    pub(crate) fn update(&mut self) -> Step<()> {
        self.tell(Event::Update);
        let config = self.config;
        for (id, element) in (0..).map(ElementId).zip(&config.program.elements) {
            if let Some(body) = &element.update {
                self.aside(id, body)?;
            }
        }
        Ok(())
    }

    /// Runs a handler that has no packet.
    fn aside(&mut self, element: ElementId, body: &Body) -> Step<()> {
        let locals = self.scratch.locals.len();
        let frame = self.enter(body, Some(element), locals);
        self.block(frame, &body.block)?;
        self.leave(frame);
        Ok(())
    }

    /// Makes room for a body's variables; those from `locals` on that are there already are its first ones.
    pub(crate) fn enter<'b>(&mut self, body: &'b Body, element: Option<ElementId>, locals: usize) -> Frame<'b> {
        let places = self.scratch.places.len();
        self.scratch.locals.resize(locals + body.locals.len(), 0);
        self.scratch.places.resize(places + body.handles.len(), Place::NONE);
        Frame { body, element, locals, places, packets: self.scratch.packets.len() }
    }

    /// Gives up a body's variables.
    pub(crate) fn leave(&mut self, frame: Frame<'_>) {
        self.scratch.locals.truncate(frame.locals);
        self.scratch.places.truncate(frame.places);
    }

    /// Runs the handler of an input on the packet on top of the stack, with the values that stand from `locals` on.
    fn input(&mut self, at: InputRef, locals: usize) -> Step<()> {
        let config = self.config;
        let program = &*config.program;
        let element = program.elements.get(at.element.index());
        let Some(input) = element.and_then(|element| element.inputs.get(at.input as usize)) else {
            return Err(self.fault_at(at.element, Span::default(), "a connection to an input that is not declared"));
        };
        if self.depth > config.inputs {
            return Err(self.fault_at(at.element, Span::default(), "wiring in a circle"));
        }
        let mut frame = self.enter(&input.body, Some(at.element), locals);
        frame.packets -= 1;
        if self.observer.is_some() {
            let args = self.scratch.locals[locals..].iter().copied().take(input.args.len()).collect::<Vec<_>>();
            let bytes = std::mem::take(&mut self.scratch.packets[frame.packets]);
            self.tell(Event::Enter { input: at, args: &args, bytes: &bytes });
            self.scratch.packets[frame.packets] = bytes;
        }
        self.contract(frame, &input.contract)?;
        let outer = std::mem::replace(&mut self.emitted, 0);
        self.depth += 1;
        let flow = self.block(frame, &input.body.block)?;
        self.depth -= 1;
        let emitted = std::mem::replace(&mut self.emitted, outer);
        let ends = emitted + u64::from(flow == Flow::Dropped);
        let Some(copies) = ends.checked_sub(1) else {
            let span = input.body.block.last().map_or(Span::default(), |stmt| stmt.span);
            return Err(self.defect(frame, span, DefectKind::Lost));
        };
        self.state.accounting.copies += copies;
        self.leave(frame);
        self.scratch.chains.pop();
        if let Some(buffer) = self.scratch.packets.pop() {
            self.scratch.pool.push(buffer);
        }
        Ok(())
    }

    /// Finds the headers that a packet starts with here.
    fn contract(&mut self, frame: Frame<'_>, contract: &[HeaderId]) -> Step<()> {
        let bytes = &self.scratch.packets[frame.packets];
        let known = self.scratch.chains.get_mut(frame.packets);
        let known = known.filter(|chain| chain.len() >= contract.len() && chain.iter().zip(contract).all(|((a, _), b)| a == b));
        if let Some(chain) = known {
            for (index, (_, place)) in chain.iter().take(contract.len()).enumerate() {
                if let Some(slot) = self.scratch.places.get_mut(frame.places + index) {
                    *slot = *place;
                }
            }
            return Ok(());
        }
        let (mut start, mut limit) = (0, bytes.len() as u32);
        let mut chain = Chain::new();
        for (index, id) in contract.iter().enumerate() {
            let program = &*self.config.program;
            let header = program.headers.get(id.index());
            let place = header.and_then(|header| packet::parse(program, header, bytes, start, limit));
            let (Some(place), Some(slot)) = (place, self.scratch.places.get_mut(frame.places + index)) else {
                let name = header.map_or_else(String::new, |header| header.name.clone());
                return Err(self.defect(frame, Span::default(), DefectKind::Contract(name)));
            };
            *slot = place;
            chain.push((*id, place));
            (start, limit) = (place.after(), place.end);
        }
        if let Some(known) = self.scratch.chains.get_mut(frame.packets) {
            *known = chain;
        }
        Ok(())
    }

    /// Takes note of a header that was found behind another, or at the start.
    fn found(&mut self, packet: usize, header: HeaderId, place: Place) {
        let Some(chain) = self.scratch.chains.get_mut(packet) else { return };
        let at = if place.start == 0 { Some(0) } else { chain.iter().position(|(_, p)| p.after() == place.start).map(|i| i + 1) };
        if let Some(at) = at {
            chain.truncate(at);
            chain.push((header, place));
        }
    }

    /// Forgets what was found, if places may depend on what changed.
    fn changed(&mut self, packet: usize) {
        if let Some(chain) = self.scratch.chains.get_mut(packet) {
            chain.clear();
        }
    }

    /// Statements in order.
    pub(crate) fn block(&mut self, frame: Frame<'_>, block: &[Stmt]) -> Step<Flow> {
        for stmt in block {
            if self.stmt(frame, stmt)? == Flow::Dropped {
                return Ok(Flow::Dropped);
            }
        }
        Ok(Flow::Next)
    }

    fn stmt(&mut self, frame: Frame<'_>, stmt: &Stmt) -> Step<Flow> {
        let span = stmt.span;
        match &stmt.kind {
            StmtKind::Assign { dst, value } => {
                let value = self.eval(frame, span, value)?.bits;
                self.set(frame, *dst, value);
            }
            StmtKind::If { cond, then, other, .. } => {
                let taken = if self.eval(frame, span, cond)?.is_true() { then } else { other };
                return self.block(frame, taken);
            }
            StmtKind::Branch { implied } => self.tell(Event::Branch { implied: *implied, span }),
            StmtKind::Switch { on, cases, default } => {
                let on = self.eval(frame, span, on)?.bits;
                let taken = cases.iter().find(|(value, ..)| *value == on).map_or(default, |(_, _, block)| block);
                return self.block(frame, taken);
            }
            StmtKind::Check { cond, what } => {
                if !self.eval(frame, span, cond)?.is_true() {
                    return Err(self.defect(frame, span, DefectKind::Check(*what)));
                }
            }
            StmtKind::Parse { packet, header, after, into, ok, malformed } => {
                let found = self.parse(frame, span, *packet, *header, *after, *into)?;
                return self.block(frame, if found { ok } else { malformed });
            }
            StmtKind::SetField { handle, field, value } => {
                let value = self.eval(frame, span, value)?.bits;
                let scope = self.scope(frame);
                let (place, layout) = (scope.place(*handle), scope.layout(*handle));
                let (place, (header, packet)) = (self.sound(frame, span, place)?, self.sound(frame, span, layout)?);
                let declared = header.fields.get(field.index()).ok_or(Fault::Malformed("a field that is not declared"));
                let (width, offset) = self.sound(frame, span, declared.map(|f| (f.width, f.offset)))?;
                let header = frame.body.handles[handle.index()].header;
                let first = place.start as usize * 8 + offset as usize;
                let bytes = &mut self.scratch.packets[frame.packets + packet.index()];
                let old = packet::get_bits(bytes, first, width);
                if !packet::set_bits(bytes, first, width, value) {
                    return Err(self.defect(frame, span, Fault::Malformed("a field outside its packet").into()));
                }
                let old = old.unwrap_or(0);
                if self.config.is_structural(header, *field) {
                    self.changed(frame.packets + packet.index());
                }
                self.tell(Event::SetField { header, field: *field, old, new: value, span });
            }
            StmtKind::UpdateChecksum { handle, field, optional, changes } => {
                self.update_checksum(frame, span, *handle, field.index(), *optional, changes)?;
            }
            StmtKind::VerifyChecksums { handle, result } => {
                let valid = self.checksums_valid(frame, span, *handle)?;
                self.set(frame, *result, valid.into());
            }
            StmtKind::Push { header, before, into, fields, ok } => {
                let done = self.push(frame, span, *header, *before, *into, fields)?;
                self.set(frame, *ok, done.into());
                self.tell(Event::Push { header: *header, ok: done, span });
            }
            StmtKind::Pop { handle } => {
                let place = self.scope(frame).place(*handle);
                let place = self.sound(frame, span, place)?;
                let handles = &frame.body.handles;
                let header = handles[handle.index()].header;
                let packet = handles[handle.index()].packet;
                let bytes = &mut self.scratch.packets[frame.packets + packet.index()];
                bytes.drain(place.start as usize..place.after() as usize);
                self.changed(frame.packets + packet.index());
                self.scratch.places[frame.places + handle.index()] = Place::NONE;
                for (index, _) in handles.iter().enumerate().filter(|(_, other)| other.packet == packet) {
                    packet::removed(&mut self.scratch.places[frame.places + index], place.start, place.length);
                }
                self.tell(Event::Pop { header, span });
            }
            StmtKind::Emit { output, args } => self.emit(frame, span, *output, args)?,
            StmtKind::Drop { reason } => {
                let Some(element) = frame.element else {
                    return Err(self.defect(frame, span, Fault::Malformed("a drop outside a handler").into()));
                };
                if let Some(count) = self.state.accounting.dropped.get_mut(reason.index()) {
                    *count += 1;
                }
                self.outcome.drops.push(Dropped { element, reason: *reason, span });
                self.tell(Event::Drop { element, reason: *reason, span });
                return Ok(Flow::Dropped);
            }
            StmtKind::Spec(spec) => self.spec_stmt(frame, span, spec)?,
            StmtKind::Test(_) => {
                return Err(self.defect(frame, span, Fault::Malformed("a test's statement outside a test").into()));
            }
            StmtKind::First { .. } | StmtKind::Choose { .. } => self.search(frame, stmt)?,
            _ => self.table_stmt(frame, stmt)?,
        }
        Ok(Flow::Next)
    }

    /// What expressions of a frame see.
    pub(crate) fn scope<'s>(&'s self, frame: Frame<'s>) -> Scope<'s> {
        Scope {
            config: self.config,
            body: frame.body,
            locals: &self.scratch.locals[frame.locals..],
            places: &self.scratch.places[frame.places..],
            packets: &self.scratch.packets[frame.packets..],
            now: self.state.now,
        }
    }

    /// An expression's value.
    pub(crate) fn eval(&self, frame: Frame<'_>, span: Span, expr: &Expr) -> Step<Value> {
        self.scope(frame).eval(expr).map_err(|fault| self.defect(frame, span, fault.into()))
    }

    /// Sets a variable.
    pub(crate) fn set(&mut self, frame: Frame<'_>, local: LocalId, bits: u128) {
        self.scratch.locals[frame.locals + local.index()] = bits;
    }

    /// A variable's bits.
    pub(crate) fn get(&self, frame: Frame<'_>, local: LocalId) -> u128 {
        self.scratch.locals[frame.locals + local.index()]
    }

    /// A defect at a place of a handler.
    #[cold]
    pub(crate) fn defect(&self, frame: Frame<'_>, span: Span, kind: DefectKind) -> Box<Defect> {
        let element = frame.element.and_then(|id| self.config.program.elements.get(id.index()));
        Box::new(Defect { kind, element: element.map(|element| element.name.clone()), span })
    }

    /// A result that is a defect where it is a fault.
    pub(crate) fn sound<T>(&self, frame: Frame<'_>, span: Span, result: Result<T, Fault>) -> Step<T> {
        result.map_err(|fault| self.defect(frame, span, fault.into()))
    }

    #[cold]
    fn fault_at(&self, element: ElementId, span: Span, what: &'static str) -> Box<Defect> {
        let element = self.config.program.elements.get(element.index()).map(|element| element.name.clone());
        Box::new(Defect { kind: Fault::Malformed(what).into(), element, span })
    }

    fn parse(
        &mut self,
        frame: Frame<'_>,
        span: Span,
        packet: PacketId,
        header: HeaderId,
        after: Option<HandleId>,
        into: HandleId,
    ) -> Step<bool> {
        let scope = self.scope(frame);
        let bytes = self.sound(frame, span, scope.packet(packet))?;
        let (start, limit) = match after {
            None => (0, bytes.len() as u32),
            Some(handle) => {
                let place = self.sound(frame, span, scope.place(handle))?;
                (place.after(), place.end)
            }
        };
        let program = &*self.config.program;
        let Some(layout) = program.headers.get(header.index()) else {
            return Err(self.defect(frame, span, Fault::Malformed("a header that is not declared").into()));
        };
        let place = packet::parse(program, layout, bytes, start, limit);
        if let Some(observer) = &mut self.observer {
            let bytes = &self.scratch.packets[frame.packets + packet.index()];
            observer.event(Event::Header { header, place, bytes, span });
        }
        self.scratch.places[frame.places + into.index()] = place.unwrap_or(Place::NONE);
        if let Some(place) = place {
            self.found(frame.packets + packet.index(), header, place);
        }
        Ok(place.is_some())
    }

    fn update_checksum(
        &mut self,
        frame: Frame<'_>,
        span: Span,
        handle: HandleId,
        field: usize,
        optional: bool,
        changes: &[Change],
    ) -> Step<()> {
        let scope = self.scope(frame);
        let place = self.sound(frame, span, scope.place(handle))?;
        let (header, packet) = self.sound(frame, span, scope.layout(handle))?;
        let declared = header.fields.get(field).filter(|field| field.width == 16);
        let declared = self.sound(frame, span, declared.ok_or(Fault::Malformed("a checksum field of other than 16 bits")))?;
        let first = place.start as usize * 8 + declared.offset as usize;
        let bytes = self.sound(frame, span, scope.packet(packet))?;
        let outside = Fault::Malformed("a field outside its packet");
        let old = self.sound(frame, span, packet::get_bits(bytes, first, 16).ok_or(outside))? as u16;
        let mut fault = None;
        let mut value = |expr: &Expr| match scope.eval(expr) {
            Ok(value) => value.bits,
            Err(found) => {
                fault = Some(found);
                0
            }
        };
        let changed = changes.iter().map(|change| checksum::Changed {
            old: value(&change.old),
            new: value(&change.new),
            width: change.width,
            shift: change.shift,
        });
        let new = checksum::update(old, optional, changed);
        if let Some(fault) = fault {
            return Err(self.defect(frame, span, fault.into()));
        }
        let bytes = &mut self.scratch.packets[frame.packets + packet.index()];
        if !packet::set_bits(bytes, first, 16, new.into()) {
            return Err(self.defect(frame, span, outside.into()));
        }
        let header = frame.body.handles[handle.index()].header;
        let field = crate::ir::FieldId(field as u32);
        if self.config.is_structural(header, field) {
            self.changed(frame.packets + packet.index());
        }
        self.tell(Event::SetField { header, field, old: old.into(), new: new.into(), span });
        Ok(())
    }

    /// Puts a header in before another; false if there is no room for it.
    fn push(
        &mut self,
        frame: Frame<'_>,
        span: Span,
        header: HeaderId,
        before: HandleId,
        into: HandleId,
        fields: &[Expr],
    ) -> Step<bool> {
        let config = self.config;
        let Some(layout) = config.program.headers.get(header.index()) else {
            return Err(self.defect(frame, span, Fault::Malformed("a header that is not declared").into()));
        };
        let scope = self.scope(frame);
        let at = self.sound(frame, span, scope.place(before))?;
        let (_, packet) = self.sound(frame, span, scope.layout(before))?;
        let mut made = vec![0; layout.fixed as usize];
        for (field, value) in layout.fields.iter().zip(fields) {
            let value = self.eval(frame, span, value)?.bits;
            if !packet::set_bits(&mut made, field.offset as usize, field.width, value) {
                return Err(self.defect(frame, span, Fault::Malformed("a field outside its header").into()));
            }
        }
        let bytes = &mut self.scratch.packets[frame.packets + packet.index()];
        if bytes.len() + made.len() > MAX_FRAME || self.oracle.no_room() {
            return Ok(false);
        }
        bytes.splice(at.start as usize..at.start as usize, made);
        self.changed(frame.packets + packet.index());
        let handles = frame.body.handles.iter().enumerate();
        for (index, _) in handles.filter(|(_, handle)| handle.packet == packet) {
            packet::inserted(&mut self.scratch.places[frame.places + index], at.start, layout.fixed);
        }
        let limit = at.limit + layout.fixed;
        let bytes = &self.scratch.packets[frame.packets + packet.index()];
        let place = packet::place_of(&config.program, layout, bytes, at.start, layout.fixed, limit);
        self.scratch.places[frame.places + into.index()] = place;
        Ok(true)
    }

    /// Sends a copy of the packet along an output, and runs what is behind it.
    fn emit(&mut self, frame: Frame<'_>, span: Span, output: u32, args: &[Expr]) -> Step<()> {
        let config = self.config;
        let element = frame.element.and_then(|id| Some((id, config.program.elements.get(id.index())?)));
        let Some((id, output_of)) = element.and_then(|(id, element)| Some((id, element.outputs.get(output as usize)?))) else {
            return Err(self.defect(frame, span, Fault::Malformed("an output that is not declared").into()));
        };
        let Some(bytes) = self.scratch.packets.get_mut(frame.packets).map(std::mem::take) else {
            return Err(self.defect(frame, span, Fault::NoPacket.into()));
        };
        let copy = self.scratch.copy(&bytes);
        self.scratch.packets[frame.packets] = bytes;
        self.emitted += 1;
        self.tell(Event::Emit { element: id, output, bytes: &copy, span });
        match output_of.target {
            Target::Port(port) => {
                if let Some(count) = self.state.accounting.sent.get_mut(port.index()) {
                    *count += 1;
                }
                self.tell(Event::Leave { port, bytes: &copy });
                self.outcome.out.push((port, copy));
                Ok(())
            }
            Target::Input(input) => {
                let locals = self.scratch.locals.len();
                for arg in args {
                    let value = self.eval(frame, span, arg)?.bits;
                    self.scratch.locals.push(value);
                }
                self.scratch.packets.push(copy);
                let chain = self.scratch.chains.get(frame.packets).cloned().unwrap_or_default();
                self.scratch.chains.push(chain);
                self.input(input, locals)
            }
        }
    }
}
