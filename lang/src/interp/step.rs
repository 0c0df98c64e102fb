//! A step: the whole way of one packet through the box, and the same machinery for timers and updates. Effects happen in
//! program order along the wiring; what is behind an `emit` runs before the next statement.

use super::code::{Code, Leaves, Scope};
use super::config::{Config, Handler, Way};
use super::error::{Defect, DefectKind};
use super::headers::Chain;
use super::machine::{Dropped, Outcome};
use super::oracle::Oracle;
use super::packet::Place;
use super::spec::{Bindings, Context};
use super::state::State;
use super::trace::{Event, Observer};
use super::value::Fault;
use crate::ir::{Body, ElementId, Handle, InputRef, Local, LocalId, PortId, ReasonId, Stmt, StmtKind};
use crate::span::Span;

/// A result, or the defect that stops the machine.
pub(crate) type Step<T> = Result<T, Box<Defect>>;

/// Stacks of variables, places and packets of the handlers that are being run, used again from step to step.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    pub(crate) vars: Bindings,
    /// By packet: the headers that were found from its start on, as long as nothing changed that their places depend on. They are
    /// made once for each depth and used again.
    pub(crate) chains: Vec<Chain>,
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

    /// Puts a packet on the stack, of which no headers were found yet.
    fn push(&mut self, packet: Vec<u8>) {
        let top = self.vars.packets.len();
        self.vars.packets.push(packet);
        if self.chains.len() <= top {
            self.chains.resize_with(top + 1, Chain::default);
        }
        self.chains[top].truncate(0);
    }

    /// Puts a copy of one of the stack's packets on top of it: the same headers were found.
    fn push_copy(&mut self, of: usize) {
        let top = self.vars.packets.len();
        let copy = self.sent(of, false);
        self.push(copy);
        let (below, above) = self.chains.split_at_mut(top);
        if let (Some(chain), Some(same)) = (below.get(of), above.first_mut()) {
            same.extend(chain);
        }
    }

    /// One of the stack's packets itself, if nobody looks at it there any more, else a copy.
    fn sent(&mut self, packet: usize, last: bool) -> Vec<u8> {
        if last {
            return std::mem::take(&mut self.vars.packets[packet]);
        }
        let mut buffer = self.pool.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(&self.vars.packets[packet]);
        buffer
    }

    /// Takes the packet off the top of the stack.
    fn pop(&mut self) {
        if let Some(buffer) = self.vars.packets.pop().filter(|buffer| buffer.capacity() > 0) {
            self.pool.push(buffer);
        }
    }

    fn copy(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut buffer = self.pool.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(bytes);
        buffer
    }
}

/// Makes a stack as long as that, with what is blank: in pieces, which is faster than one by one.
fn grow<T: Copy>(stack: &mut Vec<T>, length: usize, blank: &[T]) {
    while let Some(missing) = length.checked_sub(stack.len()).filter(|missing| *missing > 0) {
        stack.extend_from_slice(&blank[..missing.min(blank.len())]);
    }
}

/// Why a block ended before its end.
#[derive(Debug)]
pub(crate) enum End {
    /// The packet was dropped.
    Dropped,
    /// The packet itself, and no copy, goes on to one of the handlers: what this one did last was to send it there. The values that go
    /// with it stand where this one's variables stood.
    Sent(usize),
    /// The program is defective.
    Defect(Box<Defect>),
}

impl From<Box<Defect>> for End {
    fn from(defect: Box<Defect>) -> End {
        End::Defect(defect)
    }
}

/// Where the variables of a body are.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'b> {
    /// The variables that the body declares.
    pub(crate) declared: &'b [Local],
    /// The headers that it declares.
    pub(crate) handles: &'b [Handle],
    pub(crate) element: Option<ElementId>,
    /// Where the element's outputs lead.
    pub(crate) outputs: &'b [Way],
    pub(crate) locals: usize,
    pub(crate) places: usize,
    pub(crate) packets: usize,
    /// The time.
    pub(crate) now: u64,
}

impl<'b> Frame<'b> {
    /// Of a body that is run by itself.
    pub(crate) fn of<E>(body: &'b Body<E>, now: u64) -> Frame<'b> {
        let (declared, handles, outputs) = (body.locals.as_slice(), body.handles.as_slice(), [].as_slice());
        Frame { declared, handles, element: None, outputs, locals: 0, places: 0, packets: 0, now }
    }
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
    /// Tells the observer, if there is one.
    #[inline]
    pub(crate) fn tell<'e>(&mut self, event: impl FnOnce() -> Event<'e>) {
        if let Some(observer) = &mut self.observer {
            observer.event(event());
        }
    }

    /// The step of a packet that arrives at an external port.
    pub(crate) fn packet(&mut self, port: PortId, entry: InputRef, bytes: &[u8]) -> Step<()> {
        self.state.accounting.received[port.index()] += 1;
        self.tell(|| Event::Arrive { port, bytes });
        let buffer = self.scratch.copy(bytes);
        self.scratch.push(buffer);
        let locals = self.scratch.vars.locals.len();
        match self.config.handler(entry) {
            Some(handler) => self.way(handler, locals),
            None => Err(self.nowhere()),
        }
    }

    /// A timer's event.
    pub(crate) fn timer(&mut self, element: ElementId, timer: u32) -> Step<()> {
        let now = self.state.now;
        self.tell(|| Event::Timer { element, timer, now });
        let config = self.config;
        match config.element(element).and_then(|element| element.timers.get(timer as usize)) {
            Some(body) => self.aside(element, body),
            None => Err(self.fault_at(element, Span::default(), "a timer that is not declared")),
        }
    }

    /// The handlers of an update, after it has been installed.
    pub(crate) fn update(&mut self) -> Step<()> {
        self.tell(|| Event::Update);
        let config = self.config;
        for id in (0..config.program.elements.len() as u32).map(ElementId) {
            if let Some(body) = config.element(id).and_then(|element| element.update.as_ref()) {
                self.aside(id, body)?;
            }
        }
        Ok(())
    }

    /// Runs a handler that has no packet.
    fn aside(&mut self, element: ElementId, body: &Body<Code>) -> Step<()> {
        let locals = self.scratch.vars.locals.len();
        let frame = self.enter(body, Some(element), locals);
        self.whole(&frame, Span::default(), &body.block)?;
        self.leave(&frame);
        Ok(())
    }

    /// Makes room for a body's variables; those from `locals` on that are there already are its first ones.
    pub(crate) fn enter<'b>(&mut self, body: &'b Body<Code>, element: Option<ElementId>, locals: usize) -> Frame<'b> {
        let frame = self.frame(body, element, locals);
        self.handles(&frame);
        frame
    }

    /// The same, but for its headers.
    fn frame<'b>(&mut self, body: &'b Body<Code>, element: Option<ElementId>, locals: usize) -> Frame<'b> {
        let vars = &mut self.scratch.vars;
        grow(&mut vars.locals, locals + body.locals.len(), &[0; 32]);
        let (places, packets) = (vars.places.len(), vars.packets.len());
        let (declared, handles, outputs) = (body.locals.as_slice(), body.handles.as_slice(), [].as_slice());
        Frame { declared, handles, element, outputs, locals, places, packets, now: self.state.now }
    }

    /// Makes room for its headers; those that have a place already are its first ones.
    fn handles(&mut self, frame: &Frame<'_>) {
        grow(&mut self.scratch.vars.places, frame.places + frame.handles.len(), &[Place::NONE; 8]);
    }

    /// Gives up a body's variables.
    pub(crate) fn leave(&mut self, frame: &Frame<'_>) {
        self.scratch.vars.locals.truncate(frame.locals);
        self.scratch.vars.places.truncate(frame.places);
    }

    /// The way of the packet on top of the stack from a handler on, with the values that stand from `locals` on. What is sent by a
    /// handler's last statement goes on in the next round, so that only copies take up the stack.
    fn way(&mut self, mut from: usize, locals: usize) -> Step<()> {
        let (depth, emitted) = (self.depth, self.emitted);
        while let Some(next) = self.handler(from, locals)? {
            from = next;
        }
        (self.depth, self.emitted) = (depth, emitted);
        self.scratch.vars.locals.truncate(locals);
        self.scratch.pop();
        Ok(())
    }

    /// Runs a handler, and says at which one the packet goes on.
    #[inline(always)]
    fn handler(&mut self, handler: usize, locals: usize) -> Step<Option<usize>> {
        let config = self.config;
        let Some(Handler { at, args, outputs, contract, body }) = config.handlers.get(handler) else {
            return Err(self.nowhere());
        };
        // No way through the box is longer than there are inputs.
        if self.depth > config.handlers.len() {
            return Err(self.fault_at(at.element, Span::default(), "wiring in a circle"));
        }
        let mut frame = self.frame(body, Some(at.element), locals);
        (frame.packets, frame.outputs) = (frame.packets - 1, outputs);
        if self.observer.is_some() {
            let values = self.scratch.vars.locals[locals..].iter().copied().take(*args).collect::<Vec<_>>();
            let bytes = std::mem::take(&mut self.scratch.vars.packets[frame.packets]);
            self.tell(|| Event::Enter { input: *at, args: &values, bytes: &bytes });
            self.scratch.vars.packets[frame.packets] = bytes;
        }
        self.contract(&frame, contract)?;
        self.handles(&frame);
        self.emitted = 0;
        self.depth += 1;
        let (dropped, next) = match self.block(&frame, &body.block, true) {
            Ok(()) => (0, None),
            Err(End::Dropped) => (1, None),
            Err(End::Sent(next)) => (0, Some(next)),
            Err(End::Defect(defect)) => return Err(defect),
        };
        let Some(copies) = (self.emitted + dropped).checked_sub(1) else {
            let span = body.block.last().map_or(Span::default(), |stmt| stmt.span);
            return Err(self.defect(&frame, span, DefectKind::Lost));
        };
        self.state.accounting.copies += copies;
        self.scratch.vars.places.truncate(frame.places);
        Ok(next)
    }

    /// Statements in order; whether these are the last ones of a handler.
    fn block(&mut self, frame: &Frame<'_>, mut block: &[Stmt<Code>], last: bool) -> Result<(), End> {
        while let Some((stmt, rest)) = block.split_first() {
            let branch = self.stmt(frame, stmt, last && rest.is_empty())?;
            // What follows the last statement is its branch; no call is needed for that.
            block = if rest.is_empty() { branch } else { rest };
            if !rest.is_empty() && !branch.is_empty() {
                self.block(frame, branch, false)?;
            }
        }
        Ok(())
    }

    /// A block that goes on to its end, since there is no packet that it could drop.
    pub(crate) fn whole(&mut self, frame: &Frame<'_>, span: Span, block: &[Stmt<Code>]) -> Step<()> {
        self.block(frame, block, false).map_err(|end| match end {
            End::Defect(defect) => defect,
            End::Dropped | End::Sent(_) => {
                self.defect(frame, span, Fault::Malformed("a drop outside a handler of packets").into())
            }
        })
    }

    /// One statement, and the branch that it goes on with, if it has any. Here are those that there are most of; the others are out
    /// of their way.
    #[inline(always)]
    fn stmt<'b>(&mut self, frame: &Frame<'_>, stmt: &'b Stmt<Code>, last: bool) -> Result<&'b [Stmt<Code>], End> {
        match &stmt.kind {
            StmtKind::Assign { dst, value } => {
                let value = self.eval_of(frame, stmt, value)?;
                self.set(frame, *dst, value);
            }
            StmtKind::If { cond, then, other } => {
                return Ok(if self.eval_of(frame, stmt, cond)? != 0 { then } else { other });
            }
            StmtKind::Branch { implied } => self.tell(|| Event::Branch { implied: *implied, span: stmt.span }),
            StmtKind::Switch { on, cases, default } => {
                let on = self.eval_of(frame, stmt, on)?;
                return Ok(cases.iter().find(|(value, ..)| *value == on).map_or(default, |(_, _, block)| block));
            }
            StmtKind::Parse { packet, header, after, into, ok, malformed } => {
                let found = self.parse(frame, stmt.span, *packet, *header, *after, *into)?;
                return Ok(if found { ok } else { malformed });
            }
            StmtKind::Emit { output, args } => self.emit(frame, stmt.span, *output, args, last)?,
            _ => self.plain_stmt(frame, stmt)?,
        }
        Ok(&[])
    }

    /// A statement without branches.
    #[inline(never)]
    fn plain_stmt(&mut self, frame: &Frame<'_>, stmt: &Stmt<Code>) -> Result<(), End> {
        let span = stmt.span;
        match &stmt.kind {
            StmtKind::Check { cond, what } => {
                if self.eval(frame, span, cond)? == 0 {
                    return Err(self.defect(frame, span, DefectKind::Check(*what)).into());
                }
            }
            StmtKind::Drop { reason } => return Err(self.drop(frame, span, *reason)),
            StmtKind::Spec(spec) => self.spec_stmt(frame, span, spec)?,
            StmtKind::Test(_) => {
                return Err(self.defect(frame, span, Fault::Malformed("a test's statement outside a test").into()).into());
            }
            StmtKind::First { .. } | StmtKind::Choose { .. } => self.search(frame, stmt)?,
            StmtKind::SetField { .. }
            | StmtKind::UpdateChecksum { .. }
            | StmtKind::VerifyChecksums { .. }
            | StmtKind::Push { .. }
            | StmtKind::Pop { .. } => self.header_stmt(frame, stmt)?,
            _ => self.table_stmt(frame, stmt)?,
        }
        Ok(())
    }

    /// Ends a handler.
    fn drop(&mut self, frame: &Frame<'_>, span: Span, reason: ReasonId) -> End {
        let Some(element) = frame.element else {
            return self.defect(frame, span, Fault::Malformed("a drop outside a handler").into()).into();
        };
        if let Some(count) = self.state.accounting.dropped.get_mut(reason.index()) {
            *count += 1;
        }
        self.outcome.drops.push(Dropped { element, reason, span });
        self.tell(|| Event::Drop { element, reason, span });
        End::Dropped
    }

    /// What expressions of a frame see.
    pub(crate) fn scope<'s>(&'s self, frame: &'s Frame<'s>) -> Scope<'s> {
        Scope { frame, vars: &self.scratch.vars }
    }

    /// An expression's value.
    #[inline(always)]
    pub(crate) fn eval(&self, frame: &Frame<'_>, span: Span, code: &Code) -> Step<u128> {
        self.scope(frame).eval(code).map_err(|fault| self.defect(frame, span, fault.into()))
    }

    /// The value of one of a statement's expressions. Where the statement is in the source is looked up in case of a fault only.
    #[inline(always)]
    fn eval_of(&self, frame: &Frame<'_>, stmt: &Stmt<Code>, code: &Code) -> Step<u128> {
        self.scope(frame).eval(code).map_err(|fault| self.defect(frame, stmt.span, fault.into()))
    }

    /// Sets a variable.
    pub(crate) fn set(&mut self, frame: &Frame<'_>, local: LocalId, bits: u128) {
        self.scratch.vars.locals[frame.locals + local.index()] = bits;
    }

    /// A variable's bits.
    pub(crate) fn get(&self, frame: &Frame<'_>, local: LocalId) -> u128 {
        self.scratch.vars.locals[frame.locals + local.index()]
    }

    /// A defect at a place of a handler.
    #[cold]
    pub(crate) fn defect(&self, frame: &Frame<'_>, span: Span, kind: DefectKind) -> Box<Defect> {
        let element = frame.element.and_then(|id| self.config.program.elements.get(id.index()));
        Box::new(Defect { kind, element: element.map(|element| element.name.clone()), span })
    }

    /// A result that is a defect where it is a fault.
    pub(crate) fn sound<T>(&self, frame: &Frame<'_>, span: Span, result: Result<T, Fault>) -> Step<T> {
        result.map_err(|fault| self.defect(frame, span, fault.into()))
    }

    #[cold]
    fn nowhere(&self) -> Box<Defect> {
        let kind = Fault::Malformed("a connection to an input that is not declared").into();
        Box::new(Defect { kind, element: None, span: Span::default() })
    }

    #[cold]
    fn fault_at(&self, element: ElementId, span: Span, what: &'static str) -> Box<Defect> {
        let element = self.config.program.elements.get(element.index()).map(|element| element.name.clone());
        Box::new(Defect { kind: Fault::Malformed(what).into(), element, span })
    }

    /// Sends a copy of the packet along an output, and runs what is behind it. Of what a handler does last nobody sees whether it is
    /// a copy: there is none, and the handler ends.
    #[inline(never)]
    fn emit(&mut self, frame: &Frame<'_>, span: Span, output: u32, args: &[Code], last: bool) -> Result<(), End> {
        let (Some(element), Some(way)) = (frame.element, frame.outputs.get(output as usize)) else {
            return Err(self.defect(frame, span, Fault::Malformed("an output that is not declared").into()).into());
        };
        let locals = self.scratch.vars.locals.len();
        for arg in args {
            let value = self.eval(frame, span, arg)?;
            self.scratch.vars.locals.push(value);
        }
        let Some(bytes) = self.scratch.vars.packets.get(frame.packets) else {
            return Err(self.defect(frame, span, Fault::NoPacket.into()).into());
        };
        if let Some(observer) = &mut self.observer {
            observer.event(Event::Emit { element, output, bytes, span });
        }
        self.emitted += 1;
        match *way {
            Way::Port(port) => {
                let sent = self.scratch.sent(frame.packets, last);
                if let Some(count) = self.state.accounting.sent.get_mut(port.index()) {
                    *count += 1;
                }
                self.tell(|| Event::Leave { port, bytes: &sent });
                self.scratch.vars.locals.truncate(locals);
                self.outcome.out.push((port, sent));
                Ok(())
            }
            Way::Handler(handler) if last => {
                let values = &mut self.scratch.vars.locals;
                if !args.is_empty() {
                    values.copy_within(locals.., frame.locals);
                }
                values.truncate(frame.locals + args.len());
                Err(End::Sent(handler))
            }
            Way::Handler(handler) => {
                self.scratch.push_copy(frame.packets);
                Ok(self.way(handler, locals)?)
            }
        }
    }
}
