//! Random runs: events that a box may meet, and whether its invariants and properties hold of them. A failure is shrunk to the
//! fewest events that still show it.
//!
//! What is tried: `always` and invariants in every state that is reached, steps on random packets there, and `only after` over the
//! events of the run. The other forms speak of pairs of runs or of all runs, and are not tried.

mod packets;
mod values;

use crate::interp::{Bindings, Defect, Machine, Outcome, Seeded, Session, TableUpdate};
use crate::ir::spec::{EventPattern, Form};
use crate::ir::{PortId, Program, Property, PropertyId, Role, TableId};
use packets::Grammar;
use std::sync::Arc;
use values::Source;

/// Something that happens to a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A packet arrives.
    Packet(PortId, Vec<u8>),
    /// Nanoseconds pass.
    Time(u64),
    /// A new generation of control tables.
    Update(Vec<TableUpdate>),
    /// An entry of a fed table.
    Feed(TableId, Vec<u128>, Vec<u128>),
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum Broken {
    /// The box did what none may do.
    Defect(Defect),
    /// A property does not hold; packets that it speaks of, beyond the events.
    Property(PropertyId, Vec<(PortId, Vec<u8>)>),
}

/// A failure with the events that lead to it, from the start.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// Values of the box's parameters.
    pub params: Vec<Vec<u128>>,
    /// The events.
    pub events: Vec<Event>,
    /// What went wrong behind the last.
    pub broken: Broken,
}

/// How much was tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// Events.
    pub events: usize,
    /// Evaluations of properties whose premise held.
    pub checks: usize,
}

/// Properties are evaluated only while tables have at most so many entries.
const MOST_ENTRIES: usize = 64;
/// Events per run: then the box starts anew.
const RUN: usize = 100;

/// Tries `count` random events.
pub fn run(program: &Arc<Program>, count: usize, seed: u64) -> Result<Tried, Box<Counterexample>> {
    let grammar = Grammar::new(program);
    let mut tried = Tried::default();
    let mut number = 0;
    while tried.events < count {
        let mut source = Source::new(program, seed.wrapping_mul(0x9e37_79b9).wrapping_add(number));
        number += 1;
        let params: Vec<Vec<u128>> =
            program.params.iter().map(|p| p.default.clone().unwrap_or_else(|| source.value(&p.shape))).collect();
        params.iter().flatten().for_each(|bits| source.remember(*bits));
        let Ok(mut machine) = Machine::new(program.clone(), params.clone()) else { continue };
        let mut events = Vec::new();
        let mut run = Run { program, grammar: &grammar, checks: 0 };
        for _ in 0..RUN.min(count - tried.events) {
            let event = next(program, &grammar, &mut source);
            tried.events += 1;
            events.push((event, source.next()));
            if let Some(broken) = run.last(&mut machine, &events, &mut source) {
                let broken = shrink(&mut run, &params, &mut events, broken);
                let events = events.into_iter().map(|(event, _)| event).collect();
                return Err(Box::new(Counterexample { params, events, broken }));
            }
        }
        tried.checks += run.checks;
    }
    Ok(tried)
}

/// An event, and the seed of the choices that it makes.
type Seeded_ = (Event, u64);

fn next(program: &Program, grammar: &Grammar<'_>, source: &mut Source<'_>) -> Event {
    let controls: Vec<TableId> = tables(program, Role::Control);
    let feeds: Vec<TableId> = tables(program, Role::Feed);
    match source.below(20) {
        0..3 => Event::Time(source.duration()),
        3..5 if !controls.is_empty() => Event::Update(controls.iter().map(|t| source.content(*t)).collect()),
        5..7 if !feeds.is_empty() => {
            let table = feeds[source.below(feeds.len() as u64) as usize];
            let (key, value) = source.entry(table);
            Event::Feed(table, key, value)
        }
        _ => {
            let (port, packet) = source.again().unwrap_or_else(|| grammar.arrival(source));
            source.arrival(port, &packet);
            Event::Packet(port, packet)
        }
    }
}

fn tables(program: &Program, role: Role) -> Vec<TableId> {
    (0..).map(TableId).zip(&program.tables).filter(|(_, t)| t.role == role && t.computed.is_none()).map(|(id, _)| id).collect()
}

struct Run<'p> {
    program: &'p Arc<Program>,
    grammar: &'p Grammar<'p>,
    checks: usize,
}

impl Run<'_> {
    /// Carries out the last event, and checks the properties behind it.
    fn last(&mut self, machine: &mut Machine, events: &[Seeded_], source: &mut Source<'_>) -> Option<Broken> {
        let (event, seed) = events.last()?;
        let before = machine.clone();
        let mut oracle = Seeded::adversarial(*seed);
        let mut outcome = Outcome::default();
        let done = match event {
            Event::Packet(port, bytes) => machine.packet_into(*port, bytes, &mut oracle, None, &mut outcome),
            Event::Time(nanoseconds) => match machine.advance(*nanoseconds, &mut oracle, None) {
                Err(defect) if !defect.kind.stops() => Ok(()),
                done => done,
            },
            Event::Update(contents) => match machine.update(contents, &mut oracle, None) {
                Err(crate::interp::UpdateError::Defect(defect)) => Err(defect),
                // Refused, or contents that no table can have: no event.
                _ => Ok(()),
            },
            Event::Feed(table, key, value) => match machine.feed(*table, key, Some(value), &mut oracle) {
                Err(crate::interp::FeedError::Defect(defect)) => Err(defect),
                _ => Ok(()),
            },
        };
        if let Err(defect) = done {
            return Some(Broken::Defect(defect));
        }
        for (port, packet) in &outcome.out {
            source.departure(*port, packet);
        }
        let crowded = |t: &TableId| machine.occupied(*t) > MOST_ENTRIES;
        if (0..self.program.tables.len() as u32).map(TableId).any(|t| crowded(&t)) {
            return None;
        }
        self.properties(machine, &before, event, &outcome, events, source)
    }

    fn properties(
        &mut self,
        machine: &Machine,
        before: &Machine,
        event: &Event,
        outcome: &Outcome,
        events: &[Seeded_],
        source: &mut Source<'_>,
    ) -> Option<Broken> {
        let program = self.program.clone();
        for (index, property) in program.properties.iter().enumerate().filter(|(_, p)| p.assumed.is_none()) {
            let id = PropertyId(index as u32);
            let found = match &property.form {
                Form::Always { block, holds } => {
                    let mut bindings = Bindings::new(&property.body);
                    let mut session = Session::new(machine);
                    let done = session.run(&property.body, &mut bindings, block, &mut Seeded::adversarial(1));
                    self.checks += 1;
                    match done {
                        Err(defect) => Some(Broken::Defect(defect)),
                        Ok(()) => (!bindings.holds(*holds)).then(|| Broken::Property(id, Vec::new())),
                    }
                }
                Form::Step { packets, block, premise, holds } => {
                    let mut bindings = Bindings::new(&property.body);
                    let mut arrivals = Vec::new();
                    for (packet, port) in packets {
                        let again = source.again().filter(|(at, _)| at == port);
                        let bytes = again.map_or_else(|| self.grammar.packet(source), |(_, bytes)| bytes);
                        bindings.set_packet(*packet, &bytes);
                        arrivals.push((*port, bytes));
                    }
                    let mut session = Session::new(machine);
                    match session.run(&property.body, &mut bindings, block, &mut Seeded::adversarial(seed_of(&arrivals))) {
                        Err(defect) => Some(Broken::Defect(defect)),
                        Ok(()) if bindings.holds(*premise) => {
                            self.checks += 1;
                            (!bindings.holds(*holds)).then_some(Broken::Property(id, arrivals))
                        }
                        Ok(()) => None,
                    }
                }
                Form::OnlyAfter { then, after, within: None, unless: None } => match event {
                    Event::Packet(port, bytes) => {
                        let sent = (*port, bytes.as_slice(), outcome);
                        let violated = self.only_after(property, then, after, (before, sent), events);
                        violated.then(|| Broken::Property(id, Vec::new()))
                    }
                    _ => None,
                },
                _ => None,
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Whether B happened now, and A never before. Earlier events are run again from the start.
    fn only_after(
        &mut self,
        property: &Property,
        then: &EventPattern,
        after: &EventPattern,
        now: (&Machine, (PortId, &[u8], &Outcome)),
        events: &[Seeded_],
    ) -> bool {
        let (before, (port, bytes, outcome)) = now;
        let candidates = matching(property, then, &Bindings::new(&property.body), before, (port, bytes, outcome));
        for bindings in candidates {
            self.checks += 1;
            let Ok(mut machine) = Machine::new(self.program.clone(), before.params().to_vec()) else { return false };
            let mut seen = false;
            for (event, seed) in &events[..events.len() - 1] {
                let earlier = machine.clone();
                let mut oracle = Seeded::adversarial(*seed);
                if let Event::Packet(port, bytes) = event {
                    let Ok(outcome) = machine.packet(*port, bytes, &mut oracle, None) else { return false };
                    seen |= !matching(property, after, &bindings, &earlier, (*port, bytes, &outcome)).is_empty();
                } else {
                    repeat(&mut machine, event, &mut oracle);
                }
            }
            if !seen {
                return true;
            }
        }
        false
    }
}

/// The seed of the choices that the steps of a formula make: the same for the same packets.
fn seed_of(arrivals: &[(PortId, Vec<u8>)]) -> u64 {
    let bytes = arrivals.iter().flat_map(|(_, bytes)| bytes);
    bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Carries out an event that was carried out before.
fn repeat(machine: &mut Machine, event: &Event, oracle: &mut Seeded) {
    // What was refused is refused again.
    match event {
        Event::Packet(port, bytes) => drop(machine.packet(*port, bytes, oracle, None)),
        Event::Time(nanoseconds) => drop(machine.advance(*nanoseconds, oracle, None)),
        Event::Update(contents) => drop(machine.update(contents, oracle, None)),
        Event::Feed(table, key, value) => drop(machine.feed(*table, key, Some(value), oracle)),
    }
}

/// The ways in which a step is an instance of a pattern.
fn matching(
    property: &Property,
    pattern: &EventPattern,
    known: &Bindings,
    before: &Machine,
    (port, bytes, outcome): (PortId, &[u8], &Outcome),
) -> Vec<Bindings> {
    if port != pattern.port {
        return Vec::new();
    }
    if let Some(reasons) = &pattern.drops {
        let fits = outcome.drops.iter().any(|d| reasons.is_empty() || reasons.contains(&d.reason));
        if !fits {
            return Vec::new();
        }
    }
    let emitted: Vec<Option<&[u8]>> = match pattern.emits {
        None => vec![None],
        Some((on, _)) => outcome.out.iter().filter(|(p, _)| *p == on).map(|(_, b)| Some(b.as_slice())).collect(),
    };
    let mut found = Vec::new();
    for sent in emitted {
        let mut bindings = known.clone();
        bindings.set_packet(pattern.packet, bytes);
        if let (Some((_, packet)), Some(sent)) = (pattern.emits, sent) {
            bindings.set_packet(packet, sent);
        }
        let mut session = Session::new(before);
        let done = session.run(&property.body, &mut bindings, &pattern.block, &mut Seeded::adversarial(1));
        if done.is_ok() && bindings.holds(pattern.matches) {
            found.push(bindings);
        }
    }
    found
}

/// Leaves events out as long as the same goes wrong behind the last one.
fn shrink(run: &mut Run<'_>, params: &[Vec<u128>], events: &mut Vec<Seeded_>, broken: Broken) -> Broken {
    let mut broken = broken;
    let mut at = 0;
    while at + 1 < events.len() {
        let mut fewer = events.clone();
        fewer.remove(at);
        match again(run, params, &fewer, &broken) {
            Some(found) => {
                *events = fewer;
                broken = found;
            }
            None => at += 1,
        }
    }
    broken
}

/// Whether the same goes wrong behind the last of these events.
fn again(run: &mut Run<'_>, params: &[Vec<u128>], events: &[Seeded_], broken: &Broken) -> Option<Broken> {
    let mut machine = Machine::new(run.program.clone(), params.to_vec()).ok()?;
    for (event, seed) in &events[..events.len() - 1] {
        repeat(&mut machine, event, &mut Seeded::adversarial(*seed));
    }
    let program = run.program.clone();
    let mut source = Source::new(&program, 0);
    match broken {
        Broken::Defect(defect) => match run.last(&mut machine, events, &mut source)? {
            Broken::Defect(found) if found.kind == defect.kind => Some(Broken::Defect(found)),
            _ => None,
        },
        Broken::Property(id, arrivals) => {
            let (event, seed) = events.last()?;
            let before = machine.clone();
            repeat(&mut machine, event, &mut Seeded::adversarial(*seed));
            let property = program.properties.get(id.0 as usize)?;
            let mut bindings = Bindings::new(&property.body);
            let same = match (&property.form, event) {
                (Form::Always { block, holds }, _) => {
                    Session::new(&machine).run(&property.body, &mut bindings, block, &mut Seeded::adversarial(1)).ok()?;
                    !bindings.holds(*holds)
                }
                (Form::Step { packets, block, premise, holds }, _) => {
                    for ((packet, _), (_, bytes)) in packets.iter().zip(arrivals) {
                        bindings.set_packet(*packet, bytes);
                    }
                    let mut oracle = Seeded::adversarial(seed_of(arrivals));
                    Session::new(&machine).run(&property.body, &mut bindings, block, &mut oracle).ok()?;
                    bindings.holds(*premise) && !bindings.holds(*holds)
                }
                (Form::OnlyAfter { then, after, .. }, Event::Packet(port, bytes)) => {
                    let outcome = before.clone().packet(*port, bytes, &mut Seeded::adversarial(*seed), None).ok()?;
                    run.only_after(property, then, after, (&before, (*port, bytes.as_slice(), &outcome)), events)
                }
                _ => false,
            };
            same.then(|| broken.clone())
        }
    }
}
