//! Random runs: events that a box may meet, and whether its invariants and properties hold of them. A failure is shrunk to the
//! fewest events that still show it. What is asked of a run is in `judge`.

mod events;
mod frame;
mod judge;
mod packets;
mod script;
mod start;
mod trace;
mod values;

use crate::interp::{Cover, Defect, Seeded, Stimulus};
use crate::ir::{PortId, Program, PropertyId, TableId};
use judge::Verdict;
use std::sync::Arc;

pub use events::{Events, Runs};
pub use frame::Wanted;
pub use packets::Grammar;
pub use script::{Script, scripts};
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
pub fn explore(program: &Arc<Program>, tests: &[Script<'_>], count: usize, seed: u64) -> Explored {
    explore_until(program, tests, count, seed, &|_| false)
}

/// The same, until what was found is enough.
pub fn explore_until(
    program: &Arc<Program>,
    tests: &[Script<'_>],
    count: usize,
    seed: u64,
    enough: &dyn Fn(&Explored) -> bool,
) -> Explored {
    let mut explored = Explored { shown: vec![false; program.properties.len()], ..Explored::default() };
    let runs = Runs::new(program, tests, &mut explored.cover);
    let mut failed = vec![false; program.properties.len()];
    let mut number = 0;
    while explored.events < count {
        let mut events = runs.run(seed.wrapping_mul(0x9e37_79b9).wrapping_add(number));
        number += 1;
        let Some(mut run) = Trace::new(program, events.params.clone()) else { continue };
        let (mut stopped, mut found) = (false, None);
        for _ in 0..RUN.min(count - explored.events) {
            explored.events += 1;
            let event = events.next();
            let mut broken = run.happens(event, Seeded::adversarial(events.number())).err().map(Broken::Defect);
            if let Some(outcome) = run.outcome() {
                events.caused(outcome);
            }
            if broken.is_none() && !crowded(program, &run) {
                broken = properties(program, &run, &mut events, &failed, &mut explored);
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
        if stopped || enough(&explored) {
            break;
        }
    }
    explored
}

/// Whether a table has so many entries that evaluating formulas over them would take long.
fn crowded(program: &Program, run: &Trace) -> bool {
    (0..program.tables.len() as u32).any(|t| run.machine().occupied(TableId(t)) > MOST_ENTRIES)
}

/// Checks the properties behind the last event.
fn properties(
    program: &Program,
    run: &Trace,
    events: &mut Events<'_, '_>,
    failed: &[bool],
    explored: &mut Explored,
) -> Option<Broken> {
    // All of them are asked about the same packets, of each port as many as the one that speaks of the most.
    let mut drawn: Vec<(PortId, Vec<u8>)> = Vec::new();
    for (index, property) in program.properties.iter().enumerate() {
        if failed[index] || property.assumed.is_some() {
            continue;
        }
        let id = PropertyId(index as u32);
        let arrivals = arrivals(&judge::arrivals(&property.form), events, &mut drawn);
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

/// A packet for each of some ports: those drawn before, and new ones where they do not suffice.
fn arrivals(ports: &[PortId], events: &mut Events<'_, '_>, drawn: &mut Vec<(PortId, Vec<u8>)>) -> Vec<(PortId, Vec<u8>)> {
    let mut taken = vec![false; drawn.len()];
    let mut arrivals = Vec::new();
    for port in ports {
        let free = (0..drawn.len()).find(|at| !taken[*at] && drawn[*at].0 == *port);
        let at = free.unwrap_or_else(|| {
            drawn.push((*port, events.packet_at(*port)));
            taken.push(false);
            drawn.len() - 1
        });
        taken[at] = true;
        arrivals.push(drawn[at].clone());
    }
    arrivals
}
