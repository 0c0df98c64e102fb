//! Tests: a script of events and expectations, run on a machine in its initial state.

use super::build::{BuildError, Builder};
use super::config::{TableUpdate, with_defaults};
use super::error::{ConfigError, Defect, FeedError, UpdateError};
use super::judge::{self, Moment, Verdict};
use super::machine::{Dropped, Machine, Outcome};
use super::oracle::{Decision, Oracle, Replay, Seeded};
use super::spec::{Bindings, Session};
use super::stimulus::Stimulus;
use super::trace::Observer;
use crate::ir::{Block, Expr, PacketId, PortId, Program, PropertyId, ReasonId, Scalar, Stmt, StmtKind, Test, TestStmt};
use crate::span::Span;
use std::collections::VecDeque;
use std::sync::Arc;
use thiserror::Error;

/// Why a test failed, and at which of its statements.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{kind}")]
pub struct Failure {
    /// The statement.
    pub span: Span,
    /// What is not as expected.
    pub kind: FailureKind,
}

/// What is not as a test expects it.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum FailureKind {
    /// The box cannot be started.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The box did what none may do.
    #[error(transparent)]
    Defect(#[from] Defect),
    /// A packet cannot be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A packet left that nothing expects.
    #[error("a packet left on `{port}` that nothing expects")]
    Unexpected {
        /// Where.
        port: String,
        /// The packet.
        packet: Vec<u8>,
    },
    /// A packet was dropped, and nothing expects it.
    #[error("a packet was dropped (`{0}`), and nothing expects it")]
    UnexpectedDrop(String),
    /// No packet left where one is expected.
    #[error("no packet left on `{port}`{}", happened(.instead))]
    Nothing {
        /// Where.
        port: String,
        /// What happened instead.
        instead: Vec<String>,
    },
    /// A packet left, but another than expected.
    #[error("the packet that left on `{port}` is not the one expected: {}", differs(.expected, .found))]
    Differs {
        /// Where.
        port: String,
        /// The packet expected.
        expected: Vec<u8>,
        /// The packet that left.
        found: Vec<u8>,
    },
    /// A packet left that does not fit the pattern.
    #[error("the packet that left on `{port}` does not fit")]
    DoesNotFit {
        /// Where.
        port: String,
        /// The packet.
        found: Vec<u8>,
    },
    /// No packet was dropped.
    #[error("no packet was dropped{}", happened(.0))]
    NotDropped(Vec<String>),
    /// A packet was dropped for another reason.
    #[error("the packet was dropped for another reason: `{0}`")]
    OtherReason(String),
    /// An assertion does not hold.
    #[error("this does not hold")]
    Assertion,
    /// A property does not hold of what happened.
    #[error("`{0}` does not hold of what happened")]
    Broken(String),
    /// It has more events than are wanted.
    #[error("the test was left")]
    Left,
    /// An update that should be accepted was refused.
    #[error("the update was refused: {0}")]
    Refused(UpdateError),
    /// An update that should be refused was accepted.
    #[error("the update was accepted")]
    Accepted,
    /// An entry of a fed table that cannot be.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// Choices were given that nothing asked for.
    #[error("{0} of the choices given were not asked for")]
    ChoicesLeft(usize),
}

/// What happened where something else was expected.
fn happened(what: &[String]) -> String {
    if what.is_empty() { String::new() } else { format!(": {}", what.join(", ")) }
}

/// The first place where two packets differ.
fn differs(expected: &[u8], found: &[u8]) -> String {
    match expected.iter().zip(found).position(|(a, b)| a != b) {
        Some(at) => format!("byte {at} is {:#04x}, not {:#04x}", found[at], expected[at]),
        None => format!("it has {} bytes, not {}", found.len(), expected.len()),
    }
}

/// Runs a test. The same seed makes the same choices where the test gives none.
pub fn run(test: &Test, program: &Arc<Program>, seed: u64, observer: Option<&mut dyn Observer>) -> Result<(), Failure> {
    record(test, program, seed, observer, usize::MAX, &mut Recorded::default())
}

/// The events of a test, and the values of the box's parameters.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// By parameter and column.
    pub params: Vec<Vec<u128>>,
    /// In order.
    pub events: Vec<Stimulus>,
}

/// Runs a test and tells its events, up to where it fails, or to `most` events: then it is left.
pub fn record(
    test: &Test,
    program: &Arc<Program>,
    seed: u64,
    observer: Option<&mut dyn Observer>,
    most: usize,
    recorded: &mut Recorded,
) -> Result<(), Failure> {
    let fail = |kind: FailureKind| Failure { span: test.span, kind };
    let params = with_defaults(program, &test.params).map_err(|e| fail(e.into()))?;
    recorded.params.clone_from(&params);
    let machine = Machine::new(program.clone(), params).map_err(|e| fail(e.into()))?;
    let mut script = Script {
        test,
        machine,
        bindings: Bindings::new(&test.body),
        oracle: Replay::new([], Seeded::exact(seed)),
        left: VecDeque::new(),
        dropped: VecDeque::new(),
        caused: test.span,
        events: &mut recorded.events,
        most,
        past: test.body.block.iter().any(asserts_properties).then(Vec::new),
        observer: match observer {
            Some(observer) => Some(&mut *observer),
            None => None,
        },
    };
    script.block(&test.body.block)?;
    script.settled(script.caused)?;
    match script.oracle.left() {
        0 => Ok(()),
        n => Err(fail(FailureKind::ChoicesLeft(n))),
    }
}

struct Script<'t> {
    test: &'t Test,
    machine: Machine,
    bindings: Bindings,
    oracle: Replay<Seeded>,
    /// Packets that left and were not expected yet.
    left: VecDeque<(PortId, Vec<u8>)>,
    /// Drops that were not expected yet.
    dropped: VecDeque<Dropped>,
    /// The statement that caused them.
    caused: Span,
    events: &'t mut Vec<Stimulus>,
    /// How many there may be.
    most: usize,
    /// What happened, if properties are asserted of it.
    past: Option<Vec<Moment>>,
    observer: Option<&'t mut dyn Observer>,
}

impl Script<'_> {
    fn block(&mut self, block: &Block) -> Result<(), Failure> {
        let mut at = 0;
        while at < block.len() {
            let plain = block[at..].iter().take_while(|stmt| !scripted(stmt)).count();
            if plain > 0 {
                let mut session = Session::new(&self.machine);
                let done = session.run(&self.test.body, &mut self.bindings, &block[at..at + plain], &mut self.oracle);
                done.map_err(|defect| Failure { span: defect.span, kind: defect.into() })?;
                at += plain;
                continue;
            }
            self.stmt(&block[at])?;
            at += 1;
        }
        Ok(())
    }

    fn stmt(&mut self, stmt: &Stmt) -> Result<(), Failure> {
        match &stmt.kind {
            StmtKind::If { cond, then, other, .. } => {
                let taken = if self.eval(cond, stmt.span)? != 0 { then } else { other };
                self.block(taken)
            }
            StmtKind::Switch { on, cases, default } => {
                let on = self.eval(on, stmt.span)?;
                self.block(cases.iter().find(|(value, ..)| *value == on).map_or(default, |(_, _, block)| block))
            }
            StmtKind::Test(test) => self.event(test, stmt.span),
            _ => Ok(()),
        }
    }

    fn eval(&self, expr: &Expr, span: Span) -> Result<u128, Failure> {
        match Session::new(&self.machine).eval(&self.test.body, &self.bindings, expr, span) {
            Ok(bits) => Ok(bits),
            Err(defect) => Err(Failure { span, kind: defect.into() }),
        }
    }

    fn evals(&self, exprs: &[Expr], span: Span) -> Result<Vec<u128>, Failure> {
        exprs.iter().map(|expr| self.eval(expr, span)).collect()
    }

    fn event(&mut self, stmt: &TestStmt, span: Span) -> Result<(), Failure> {
        let fail = |kind: FailureKind| Err(Failure { span, kind });
        if self.events.len() >= self.most {
            return fail(FailureKind::Left);
        }
        match stmt {
            TestStmt::Build { packet, parts, payload } => {
                let session = Session::new(&self.machine);
                let mut builder = Builder {
                    program: self.machine.program(),
                    session: &session,
                    body: &self.test.body,
                    bindings: &mut self.bindings,
                    span,
                };
                builder.build(*packet, parts, payload).map_err(|e| Failure { span, kind: e.into() })
            }
            TestStmt::Truncate { packet, from, length } => {
                let length = usize::try_from(self.eval(length, span)?).unwrap_or(usize::MAX);
                let whole = self.bindings.packet(*from).to_vec();
                self.bindings.set_packet(*packet, &whole[..length.min(whole.len())]);
                Ok(())
            }
            TestStmt::Send { port, packet } => {
                self.settled(span)?;
                let bytes = self.bindings.packet(*packet).to_vec();
                let before = self.before();
                let outcome = self.machine.packet(*port, &bytes, &mut self.oracle, again(&mut self.observer));
                self.events.push(Stimulus::Packet(*port, bytes));
                let outcome = outcome.map_err(|defect| Failure { span, kind: defect.into() })?;
                self.happened_after(before, &outcome);
                self.left.extend(outcome.out);
                self.dropped.extend(outcome.drops);
                self.caused = span;
                Ok(())
            }
            TestStmt::ExpectPacket { port, packet } => {
                let found = self.next_on(*port, span)?;
                let expected = self.bindings.packet(*packet);
                if found == expected {
                    return Ok(());
                }
                let expected = expected.to_vec();
                fail(FailureKind::Differs { port: self.port_name(*port), expected, found })
            }
            TestStmt::ExpectMatch { port, packet, block, holds } => {
                let found = self.next_on(*port, span)?;
                self.bindings.set_packet(*packet, &found);
                if self.formula(block, *holds, span)? {
                    return Ok(());
                }
                fail(FailureKind::DoesNotFit { port: self.port_name(*port), found })
            }
            TestStmt::ExpectDrop { reason } => match self.dropped.pop_front() {
                None => fail(FailureKind::NotDropped(self.happened())),
                Some(drop) if reason.is_some_and(|r| r != drop.reason) => {
                    fail(FailureKind::OtherReason(self.reason(drop.reason)))
                }
                Some(_) => Ok(()),
            },
            TestStmt::Ignore => {
                self.left.clear();
                self.dropped.clear();
                Ok(())
            }
            TestStmt::Advance(time) => {
                let nanoseconds = u64::try_from(self.eval(time, span)?).unwrap_or(u64::MAX);
                self.events.push(Stimulus::Time(nanoseconds));
                let before = self.before();
                let done = self.machine.advance(nanoseconds, &mut self.oracle, again(&mut self.observer));
                self.happened_after(before, &Outcome::default());
                done.map_err(|defect| Failure { span, kind: defect.into() })
            }
            TestStmt::Update { tables, refused } => {
                let mut updates = Vec::new();
                for content in tables {
                    let mut entries = Vec::new();
                    for (key, value) in &content.entries {
                        entries.push((self.evals(key, span)?, self.evals(value, span)?));
                    }
                    updates.push(TableUpdate { table: content.table, entries });
                }
                let before = self.before();
                let done = self.machine.update(&updates, &mut self.oracle, again(&mut self.observer));
                self.events.push(Stimulus::Update(updates));
                self.happened_after(before, &Outcome::default());
                match (done, refused) {
                    (Ok(()), false) | (Err(UpdateError::Refused { .. }), true) => Ok(()),
                    (Ok(()), true) => fail(FailureKind::Accepted),
                    (Err(error), _) => fail(FailureKind::Refused(error)),
                }
            }
            TestStmt::Feed { table, key, value } => {
                let key = self.evals(key, span)?;
                let value = match value {
                    Some(value) => Some(self.evals(value, span)?),
                    None => None,
                };
                let before = self.before();
                let done = self.machine.feed(*table, &key, value.as_deref(), &mut self.oracle);
                self.events.push(Stimulus::Feed(*table, key, value));
                self.happened_after(before, &Outcome::default());
                done.map_err(|e| Failure { span, kind: e.into() })
            }
            TestStmt::Assert { block, holds } => {
                if self.formula(block, *holds, span)? {
                    Ok(())
                } else {
                    fail(FailureKind::Assertion)
                }
            }
            TestStmt::Property { properties, packets } => self.properties(properties, packets, span),
            TestStmt::Choices(values) => {
                let values = self.evals(values, span)?;
                self.oracle.extend(values.into_iter().map(|value| Decision::Chosen(Some(value))));
                Ok(())
            }
            TestStmt::Repeat { var, low, high, block } => {
                let (low, high) = (self.eval(low, span)?, self.eval(high, span)?);
                let int = self.test.body.locals.get(var.index()).is_some_and(|local| local.ty == Scalar::Int);
                let (low, high) = if int {
                    (low as i128, high as i128)
                } else {
                    (low.min(i128::MAX as u128) as i128, high.min(i128::MAX as u128) as i128)
                };
                for value in low..high {
                    self.bindings.set(*var, value as u128);
                    self.block(block)?;
                }
                Ok(())
            }
        }
    }

    /// The box as it is, if that must be remembered.
    fn before(&self) -> Option<(Machine, Replay<Seeded>)> {
        self.past.is_some().then(|| (self.machine.clone(), self.oracle.clone()))
    }

    /// Remembers the last event.
    fn happened_after(&mut self, before: Option<(Machine, Replay<Seeded>)>, outcome: &Outcome) {
        if let (Some(past), Some((before, oracle)), Some(event)) = (&mut self.past, before, self.events.last()) {
            past.push(Moment { event: event.clone(), before, outcome: outcome.clone(), oracle });
        }
    }

    fn properties(&mut self, properties: &[PropertyId], packets: &[(PortId, PacketId)], span: Span) -> Result<(), Failure> {
        let arrivals: Vec<(PortId, Vec<u8>)> =
            packets.iter().map(|(port, packet)| (*port, self.bindings.packet(*packet).to_vec())).collect();
        let past = self.past.as_deref().unwrap_or_default();
        for id in properties {
            let Some(property) = self.machine.program().properties.get(id.0 as usize) else { continue };
            match judge::judge(*id, &self.machine, past, &arrivals) {
                Ok(Verdict::Fails) => return Err(Failure { span, kind: FailureKind::Broken(property.name.clone()) }),
                Ok(Verdict::Fits | Verdict::Holds | Verdict::Shown) => {}
                Err(defect) => return Err(Failure { span, kind: defect.into() }),
            }
        }
        Ok(())
    }

    /// Evaluates a formula in the machine's state. It may look at steps: what they choose is not the script's.
    fn formula(&mut self, block: &Block, holds: crate::ir::LocalId, span: Span) -> Result<bool, Failure> {
        let mut session = Session::new(&self.machine);
        let mut oracle = Seeded::exact(0);
        let oracle: &mut dyn Oracle = &mut oracle;
        let done = session.run(&self.test.body, &mut self.bindings, block, oracle);
        done.map_err(|defect| Failure { span, kind: defect.into() })?;
        Ok(self.bindings.holds(holds))
    }

    /// The next packet that left on a port.
    fn next_on(&mut self, port: PortId, span: Span) -> Result<Vec<u8>, Failure> {
        match self.left.iter().position(|(on, _)| *on == port) {
            Some(at) => Ok(self.left.remove(at).map(|(_, bytes)| bytes).unwrap_or_default()),
            None => {
                let kind = FailureKind::Nothing { port: self.port_name(port), instead: self.happened() };
                Err(Failure { span, kind })
            }
        }
    }

    /// What was caused and not expected yet, in words.
    fn happened(&self) -> Vec<String> {
        let left = self.left.iter().map(|(port, _)| format!("one left on `{}`", self.port_name(*port)));
        let dropped = self.dropped.iter().map(|drop| format!("one was dropped (`{}`)", self.reason(drop.reason)));
        left.chain(dropped).collect()
    }

    /// Fails if something was caused that nothing expected.
    fn settled(&self, span: Span) -> Result<(), Failure> {
        let span = if self.left.is_empty() && self.dropped.is_empty() { span } else { self.caused };
        if let Some((port, packet)) = self.left.front() {
            let kind = FailureKind::Unexpected { port: self.port_name(*port), packet: packet.clone() };
            return Err(Failure { span, kind });
        }
        match self.dropped.front() {
            Some(drop) => Err(Failure { span, kind: FailureKind::UnexpectedDrop(self.reason(drop.reason)) }),
            None => Ok(()),
        }
    }

    fn port_name(&self, port: PortId) -> String {
        self.machine.program().ports.get(port.index()).map_or_else(|| port.0.to_string(), |port| port.name.clone())
    }

    fn reason(&self, reason: ReasonId) -> String {
        self.machine.program().reasons.get(reason.index()).cloned().unwrap_or_default()
    }
}

/// An observer, lent.
fn again<'o>(observer: &'o mut Option<&mut dyn Observer>) -> Option<&'o mut dyn Observer> {
    match observer {
        Some(observer) => Some(&mut **observer),
        None => None,
    }
}

/// Whether a statement is, or holds, one that asserts properties.
fn asserts_properties(stmt: &Stmt) -> bool {
    match &stmt.kind {
        StmtKind::Test(test) => match &**test {
            TestStmt::Property { .. } => true,
            TestStmt::Repeat { block, .. } => block.iter().any(asserts_properties),
            _ => false,
        },
        StmtKind::If { then, other, .. } => then.iter().chain(other).any(asserts_properties),
        StmtKind::Switch { cases, default, .. } => cases.iter().flat_map(|(_, _, b)| b).chain(default).any(asserts_properties),
        _ => false,
    }
}

/// Whether a statement is, or holds, one of tests.
fn scripted(stmt: &Stmt) -> bool {
    match &stmt.kind {
        StmtKind::Test(_) => true,
        StmtKind::If { then, other, .. } => then.iter().chain(other).any(scripted),
        StmtKind::Switch { cases, default, .. } => cases.iter().flat_map(|(_, _, b)| b).chain(default).any(scripted),
        _ => false,
    }
}
