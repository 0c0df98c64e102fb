//! Examples and counterexamples, from states that the box was seen in: a few events more are symbolic, a solver says what they
//! could be, and the interpreter tries them out. What it does not confirm does not count.

mod aim;

use super::ground::roots;
use super::model::Model;
use super::reach::Place;
use crate::desk::{Failure, Reply, Seat};
use crate::solve::{Question, Status};
use crate::sym::Seen;
use crate::term::Sort;
use crate::term::narrow::narrow;
use crate::term::print::script;
use grv_lang::interp::{Defect, Seeded, Stimulus};
use grv_lang::ir::{Form, PortId, Program, PropertyId, Role, TableId};
use grv_lang::random::{self, Counterexample, Grammar, Judged, Trace, Wanted};
use grv_lang::span::Span;
use std::sync::Arc;

/// What is looked for.
#[derive(Clone, Debug)]
pub(crate) enum Aim {
    /// An example of a property.
    Shown(usize),
    /// A counterexample to it.
    Broken(usize),
    /// An event that comes by a place.
    Passes(Place),
    /// An event that does what none may do there.
    Defect(Span),
}

impl Aim {
    /// Whether it is something that should happen.
    pub(crate) fn is_example(&self) -> bool {
        matches!(self, Aim::Shown(_) | Aim::Passes(_))
    }
}

/// Where it is looked for from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// States that tests lead to.
    Tests,
    /// Such in which a table is full.
    Full,
}

/// What was found.
pub(crate) enum Found {
    /// A run that shows it.
    Shown(Box<Trace>),
    /// A run that breaks it.
    Broken(Counterexample),
}

/// A run to go on from.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) run: Trace,
    /// The state that it led to.
    seen: Seen,
}

impl Start {
    pub(crate) fn new(program: &Program, run: Trace) -> Start {
        let seen = Seen::new(program, run.machine());
        Start { run, seen }
    }
}

/// A question looks at so many states at once.
const AT_ONCE: usize = 10;
/// The solver's part of the budget for one question: an example there should be, a counterexample there may be.
const EXAMPLE: u32 = 20;
const COUNTEREXAMPLE: u32 = 200;
/// What less than which is not worth asking with.
const LEAST: u32 = 300_000;

/// An event that comes before what is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// A packet arrives.
    Packet(PortId),
    /// The runtime sets an entry of a fed table.
    Feed(TableId),
}

/// Looks from some states: first for one event, then for one that others come before.
pub(crate) fn look(
    seat: &mut Seat<'_>,
    program: &Program,
    starts: &[Start],
    (aim, others): (&Aim, usize),
    budget: u32,
) -> Result<Option<Found>, Failure> {
    // No few packets exceed a sum: bursts do.
    if let Aim::Broken(index) = aim
        && matches!(program.properties[*index].form, Form::Bound { .. })
    {
        return Ok(random::overrun(starts.iter().map(|start| &start.run), PropertyId(*index as u32)).map(Found::Broken));
    }
    let ports: Vec<PortId> = (0..).map(PortId).zip(&program.ports).filter(|(_, p)| p.entry.is_some()).map(|(id, _)| id).collect();
    let mut ways: Vec<Option<Before>> = vec![None];
    if others > 0 {
        ways.extend(ports.iter().map(|port| Some(Before::Packet(*port))));
    }
    if others > 0 && !aim.is_example() {
        let feeds = (0..).map(TableId).zip(&program.tables).filter(|(_, t)| t.role == Role::Feed);
        ways.extend(feeds.map(|(id, _)| Some(Before::Feed(id))));
    }
    for before in ways {
        for last in aim::lasts(program, aim, &ports) {
            for states in starts.chunks(AT_ONCE) {
                if let Some(found) = attempt(seat, program, states, aim, (before.as_slice(), last), budget)? {
                    return Ok(Some(found));
                }
            }
        }
    }
    Ok(None)
}

/// States in which a table is full.
pub(crate) fn filled(program: &Arc<Program>, starts: &[Start]) -> Vec<Start> {
    let starts: Vec<Trace> = starts.iter().map(|start| start.run.clone()).collect();
    let mut runs: Vec<Trace> = Vec::new();
    for (id, table) in (0..).map(TableId).zip(&program.tables).filter(|(_, table)| table.role == Role::State) {
        // Tables that mirror each other are full together.
        if !runs.iter().any(|run| run.machine().occupied(id) >= table.capacity as usize) {
            runs.extend(random::filled(program, &starts, id));
        }
    }
    runs.into_iter().map(|run| Start::new(program, run)).collect()
}

/// One question about some states, and its answer tried out.
fn attempt(
    seat: &mut Seat<'_>,
    program: &Program,
    states: &[Start],
    aim: &Aim,
    (before, last): (&[Before], Option<PortId>),
    budget: u32,
) -> Result<Option<Found>, Failure> {
    // What cannot be put into a formula cannot be looked for this way.
    let Ok(Some((mut engine, course, wanted))) = aim::course(program, states, aim, before, last) else { return Ok(None) };
    let Ok(Some(asserted)) = roots(&mut engine, &wanted) else { return Ok(None) };
    // What usually happens, and at once, is more often what the interpreter does too.
    let mut usual = asserted.clone();
    usual.extend(engine.usual.iter().copied());
    usual.extend(course.times().map(|name| {
        let (passed, zero) = (engine.terms.var(name, Sort::Int), engine.terms.int(0));
        engine.terms.eq(passed, zero)
    }));
    for asserted in [usual, asserted] {
        let Some(asserted) = narrow(&mut engine.terms, &asserted) else { continue };
        let text = script(&engine.terms, &asserted.formulas);
        if let Some(found) = answered(seat, program, states, aim, (&course, text), budget)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// What comes of a solver's answer.
fn answered(
    seat: &mut Seat<'_>,
    program: &Program,
    states: &[Start],
    aim: &Aim,
    (course, text): (&Course, String),
    budget: u32,
) -> Result<Option<Found>, Failure> {
    let share = if aim.is_example() { EXAMPLE } else { COUNTEREXAMPLE };
    let budget = (budget / share).max(LEAST).min(budget);
    let question = Question { text, budget, seed: 0, model: true, older: false };
    let Reply::Answer(answer, _) = seat.ask(&question, "an example", "example")? else { return Ok(None) };
    if answer.status != Status::Sat {
        return Ok(None);
    }
    let model = Model::new(program, answer.model);
    let Some(start) = states.get(model.number("start").unwrap_or(0) as usize) else { return Ok(None) };
    Ok(tried(program, &start.run, course, &model, aim))
}

/// An event of which some things are not known yet: their names.
#[derive(Debug)]
pub(super) enum Unknown {
    Packet(PortId, String),
    Feed(TableId, Vec<String>, Vec<String>),
}

/// Events of a run that are not known yet.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// The names of the time that passes before each, and what they are.
    events: Vec<(String, Unknown)>,
    /// Time that passes in the end.
    then: Option<String>,
    /// Packets that may arrive then, which a property speaks of.
    arrivals: Vec<(PortId, String)>,
}

impl Course {
    /// The names of the times that pass.
    fn times(&self) -> impl Iterator<Item = &str> {
        self.events.iter().map(|(passed, _)| passed).chain(&self.then).map(String::as_str)
    }
}

/// Ways to decide what is open, one after the other.
fn oracles() -> Vec<Seeded> {
    let first = [Seeded::exact(0), Seeded::late(0), Seeded::exact(1), Seeded::exact(2)];
    first.into_iter().chain([1, 2, 3].map(Seeded::adversarial)).collect()
}

/// What comes of the events of a model.
fn tried(program: &Program, start: &Trace, course: &Course, model: &Model<'_>, aim: &Aim) -> Option<Found> {
    let grammar = Grammar::new(program);
    // A state with very many entries takes its time to copy.
    let (variants, luck) = if start.is_large() { (2, 1) } else { (4, oracles().len()) };
    for (right, filler) in [(true, 0), (false, 0), (true, 1), (true, 2)].into_iter().take(variants) {
        let packet = |name: &str| {
            let field = |chain: &[_], field| model.field(name, chain, field);
            grammar.frame(&Wanted { length: model.length(name), field: &field, right, filler })
        };
        for oracle in oracles().into_iter().take(luck) {
            let mut run = start.clone();
            if let Err(defect) = carried_out(&mut run, course, model, &packet, &oracle) {
                // What no box may do refutes something, whatever was looked for; a packet that is none was no event.
                return defect.kind.stops().then(|| Found::Broken(run.broke(defect)));
            }
            let property = match aim {
                Aim::Shown(property) | Aim::Broken(property) => PropertyId(*property as u32),
                Aim::Passes(place) if place.seen(&run.cover) => return Some(Found::Shown(Box::new(run))),
                Aim::Passes(_) | Aim::Defect(_) => continue,
            };
            let arrivals = course.arrivals.iter().map(|(port, name)| (*port, packet(name))).collect();
            match run.judged(property, arrivals) {
                Judged::Fails(found) => return Some(Found::Broken(*found)),
                Judged::Holds if matches!(aim, Aim::Shown(_)) => return Some(Found::Shown(Box::new(run))),
                Judged::Holds | Judged::Nothing => {}
            }
        }
    }
    None
}

fn carried_out(
    run: &mut Trace,
    course: &Course,
    model: &Model<'_>,
    packet: &dyn Fn(&str) -> Vec<u8>,
    oracle: &Seeded,
) -> Result<(), Defect> {
    let pass = |run: &mut Trace, name: &str| match model.number(name).and_then(|n| u64::try_from(n).ok()) {
        Some(passed) if passed > 0 => run.happens(Stimulus::Time(passed), oracle.clone()),
        _ => Ok(()),
    };
    let numbers = |names: &[String]| names.iter().map(|name| model.number(name).unwrap_or(0)).collect::<Vec<u128>>();
    for (passed, unknown) in &course.events {
        pass(run, passed)?;
        let event = match unknown {
            Unknown::Packet(port, name) => Stimulus::Packet(*port, packet(name)),
            Unknown::Feed(table, key, value) => Stimulus::Feed(*table, numbers(key), Some(numbers(value))),
        };
        run.happens(event, oracle.clone())?;
    }
    course.then.as_ref().map_or(Ok(()), |passed| pass(run, passed))
}
