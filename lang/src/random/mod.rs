//! Random runs: events that a box may meet, and whether its invariants and properties hold of them. A failure is shrunk to the
//! fewest events that still show it. What is asked of a run is in `judge`.

mod frame;
mod judge;
mod packets;
mod start;
mod trace;
mod values;

use crate::interp::test::{Recorded, record};
use crate::interp::{Cover, Defect, Seeded, Stimulus};
use crate::ir::{PortId, Program, PropertyId, Role, TableId, Test};
use judge::Verdict;
use std::sync::Arc;
use values::Source;

pub use frame::Wanted;
pub use packets::Grammar;
pub use start::{filled, starts};
pub use trace::{Judged, Trace};

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
    pub events: Vec<Stimulus>,
    /// What went wrong behind the last.
    pub broken: Broken,
}

/// What was tried, and what came of it.
#[derive(Clone, Debug, Default)]
pub struct Explored {
    /// Events.
    pub events: usize,
    /// Evaluations of properties whose premise held.
    pub checks: usize,
    /// What does not hold; of a property, one counterexample.
    pub failures: Vec<Counterexample>,
    /// By property: whether an event showed it, if it is `reachable`; or else, whether its premise held somewhere, and so did it.
    pub shown: Vec<bool>,
    /// The branches and edges that events came by, those of the tests among them.
    pub cover: Cover,
}

/// Properties are evaluated only while tables have at most so many entries.
const MOST_ENTRIES: usize = 64;
/// Events per run: then the box starts anew.
const RUN: usize = 100;

/// Tries `count` random events. Most runs begin with the events of one of the box's tests, which lead to where it does its work.
/// A property that fails is not looked at any more; a defect ends the search.
pub fn explore(program: &Arc<Program>, tests: &[&Test], count: usize, seed: u64) -> Explored {
    let grammar = Grammar::new(program);
    let mut explored = Explored { shown: vec![false; program.properties.len()], ..Explored::default() };
    let starts = beginnings(program, tests, &mut explored.cover);
    let mut failed = vec![false; program.properties.len()];
    let mut number = 0;
    while explored.events < count {
        let mut source = Source::new(program, seed.wrapping_mul(0x9e37_79b9).wrapping_add(number));
        number += 1;
        let start = match source.below(4) {
            1.. if !starts.is_empty() => starts[source.below(starts.len() as u64) as usize].clone(),
            _ => Recorded { params: parameters(program, &mut source), events: Vec::new() },
        };
        start.params.iter().flatten().for_each(|bits| source.remember(*bits));
        let Some(mut run) = Trace::new(program, start.params) else { continue };
        let mut given = start.events.into_iter();
        let (mut stopped, mut found) = (false, None);
        for _ in 0..RUN.min(count - explored.events) {
            explored.events += 1;
            let event = given.next().unwrap_or_else(|| next(program, &grammar, &mut source));
            if let Stimulus::Packet(port, packet) = &event {
                source.arrival(*port, packet);
            }
            let oracle = Seeded::adversarial(source.next());
            let mut broken = run.happens(event, oracle).err().map(Broken::Defect);
            if let Some(outcome) = run.outcome() {
                outcome.out.iter().for_each(|(port, packet)| source.departure(*port, packet));
            }
            if broken.is_none() && !crowded(program, &run) {
                broken = properties(program, &run, (&grammar, &mut source), &failed, &mut explored);
            }
            if let Some(broken) = broken {
                let defect = matches!(broken, Broken::Defect(_));
                if let Broken::Property(id, _) = &broken {
                    failed[id.0 as usize] = true;
                }
                found = Some(broken);
                stopped = defect;
                break;
            }
        }
        explored.cover.seen.append(&mut run.cover.seen);
        if let Some(broken) = found {
            explored.failures.push(run.shrink(broken));
        }
        if stopped {
            break;
        }
    }
    explored
}

/// The events of tests that are short enough to begin a run with.
fn beginnings(program: &Arc<Program>, tests: &[&Test], cover: &mut Cover) -> Vec<Recorded> {
    let mut starts = Vec::new();
    for test in tests {
        let mut recorded = Recorded::default();
        // A test that fails is told of where tests are run; what led there is an event like others.
        let _ = record(test, program, 0, Some(&mut *cover), &mut recorded);
        if (1..RUN / 2).contains(&recorded.events.len()) {
            starts.push(recorded);
        }
    }
    starts
}

fn parameters(program: &Program, source: &mut Source<'_>) -> Vec<Vec<u128>> {
    program.params.iter().map(|p| p.default.clone().unwrap_or_else(|| source.value(&p.shape))).collect()
}

fn next(program: &Program, grammar: &Grammar<'_>, source: &mut Source<'_>) -> Stimulus {
    let controls: Vec<TableId> = tables(program, Role::Control);
    let feeds: Vec<TableId> = tables(program, Role::Feed);
    match source.below(20) {
        0..3 => Stimulus::Time(source.duration()),
        3..5 if !controls.is_empty() => Stimulus::Update(controls.iter().map(|t| source.content(*t)).collect()),
        5..7 if !feeds.is_empty() => {
            let table = feeds[source.below(feeds.len() as u64) as usize];
            let (key, value) = source.entry(table);
            Stimulus::Feed(table, key, Some(value))
        }
        _ => {
            let (port, packet) = source.again().unwrap_or_else(|| grammar.arrival(source));
            Stimulus::Packet(port, packet)
        }
    }
}

fn tables(program: &Program, role: Role) -> Vec<TableId> {
    (0..).map(TableId).zip(&program.tables).filter(|(_, t)| t.role == role && t.computed.is_none()).map(|(id, _)| id).collect()
}

/// Whether a table has so many entries that evaluating formulas over them would take long.
fn crowded(program: &Program, run: &Trace) -> bool {
    (0..program.tables.len() as u32).any(|t| run.machine().occupied(TableId(t)) > MOST_ENTRIES)
}

/// Checks the properties behind the last event.
fn properties(
    program: &Program,
    run: &Trace,
    (grammar, source): (&Grammar<'_>, &mut Source<'_>),
    failed: &[bool],
    explored: &mut Explored,
) -> Option<Broken> {
    for (index, property) in program.properties.iter().enumerate() {
        if failed[index] || property.assumed.is_some() {
            continue;
        }
        let id = PropertyId(index as u32);
        let arrivals: Vec<(PortId, Vec<u8>)> = judge::arrivals(&property.form)
            .into_iter()
            .map(|port| {
                let again = source.again().filter(|(at, _)| *at == port);
                again.unwrap_or_else(|| (port, grammar.packet(source)))
            })
            .collect();
        match run.judge(id, &arrivals) {
            Ok(Verdict::Fits) => {}
            Ok(Verdict::Holds) => {
                explored.checks += 1;
                explored.shown[index] = true;
            }
            Ok(Verdict::Shown) => explored.shown[index] = true,
            Ok(Verdict::Fails) => return Some(Broken::Property(id, arrivals)),
            Err(defect) => return Some(Broken::Defect(defect)),
        }
    }
    None
}
