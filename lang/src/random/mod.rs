//! Random runs: events that a box may meet, and whether its invariants and properties hold of them. A failure is shrunk to the
//! fewest events that still show it. What is asked of a run is in `judge`.

mod events;
mod judge;
mod packets;
mod values;

use crate::interp::{Cover, Defect, Machine, Outcome, Seeded, Stimulus};
use crate::ir::{PortId, Program, PropertyId, TableId, Test};
pub use events::{Events, Runs};
use judge::{Moment, Verdict};
use std::sync::Arc;

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
    let mut explored = Explored { shown: vec![false; program.properties.len()], ..Explored::default() };
    let runs = Runs::new(program, tests, &mut explored.cover);
    let mut failed = vec![false; program.properties.len()];
    let mut number = 0;
    while explored.events < count {
        let mut events = runs.run(seed.wrapping_mul(0x9e37_79b9).wrapping_add(number));
        number += 1;
        let Ok(machine) = Machine::new(program.clone(), events.params.clone()) else { continue };
        let mut run = Run { program, machine, past: Vec::new(), cover: Cover::default() };
        let mut stopped = false;
        for _ in 0..RUN.min(count - explored.events) {
            explored.events += 1;
            let event = events.next();
            let mut broken = run.happens(event, events.number()).err().map(Broken::Defect);
            if let Some(Moment { outcome, .. }) = run.past.last() {
                events.caused(outcome);
            }
            if broken.is_none() && !run.crowded() {
                broken = run.properties(&mut events, &failed, &mut explored);
            }
            if let Some(broken) = broken {
                let defect = matches!(broken, Broken::Defect(_));
                if let Broken::Property(id, _) = &broken {
                    failed[id.0 as usize] = true;
                }
                explored.failures.push(shrink(program, events.params.clone(), std::mem::take(&mut run.past), broken));
                stopped = defect;
                break;
            }
        }
        explored.cover.seen.append(&mut run.cover.seen);
        if stopped {
            break;
        }
    }
    explored
}

/// A run under way.
struct Run<'p> {
    program: &'p Arc<Program>,
    machine: Machine,
    past: Vec<Moment>,
    cover: Cover,
}

impl Run<'_> {
    /// Carries out an event.
    fn happens(&mut self, event: Stimulus, seed: u64) -> Result<(), Defect> {
        let before = self.machine.clone();
        let done = self.machine.happen(&event, &mut Seeded::adversarial(seed), Some(&mut self.cover));
        let (outcome, done) = match done {
            Ok(outcome) => (outcome, Ok(())),
            Err(defect) => (Outcome::default(), Err(defect)),
        };
        self.past.push(Moment { event, seed, before, outcome });
        done
    }

    /// Whether a table has so many entries that evaluating formulas over them would take long.
    fn crowded(&self) -> bool {
        (0..self.program.tables.len() as u32).any(|t| self.machine.occupied(TableId(t)) > MOST_ENTRIES)
    }

    /// Checks the properties behind the last event.
    fn properties(&self, events: &mut Events<'_, '_>, failed: &[bool], explored: &mut Explored) -> Option<Broken> {
        for (index, property) in self.program.properties.iter().enumerate() {
            if failed[index] || property.assumed.is_some() {
                continue;
            }
            let id = PropertyId(index as u32);
            let ports = judge::arrivals(&property.form);
            let arrivals: Vec<(PortId, Vec<u8>)> = ports.into_iter().map(|port| (port, events.packet_at(port))).collect();
            match judge::judge(property, &self.machine, &self.past, &arrivals) {
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
}

/// Leaves events out as long as the same goes wrong behind the last one.
fn shrink(program: &Arc<Program>, params: Vec<Vec<u128>>, past: Vec<Moment>, mut broken: Broken) -> Counterexample {
    let mut events: Vec<(Stimulus, u64)> = past.into_iter().map(|moment| (moment.event, moment.seed)).collect();
    let mut at = 0;
    while at + 1 < events.len() {
        let mut fewer = events.clone();
        fewer.remove(at);
        match again(program, &params, &fewer, &broken) {
            Some(found) => {
                events = fewer;
                broken = found;
            }
            None => at += 1,
        }
    }
    // A formula about packets that may arrive needs no last event.
    if let Broken::Property(..) = broken {
        let fewer = &events[..events.len().saturating_sub(1)];
        if fewer.len() < events.len() && again(program, &params, fewer, &broken).is_some() {
            events.pop();
        }
    }
    Counterexample { params, events: events.into_iter().map(|(event, _)| event).collect(), broken }
}

/// Whether the same goes wrong behind the last of these events.
fn again(program: &Arc<Program>, params: &[Vec<u128>], events: &[(Stimulus, u64)], broken: &Broken) -> Option<Broken> {
    let machine = Machine::new(program.clone(), params.to_vec()).ok()?;
    let mut run = Run { program, machine, past: Vec::new(), cover: Cover::default() };
    let mut defect = None;
    for (event, seed) in events {
        if defect.is_some() {
            return None;
        }
        defect = run.happens(event.clone(), *seed).err();
    }
    match (broken, defect) {
        (Broken::Defect(wanted), Some(found)) => (found.kind == wanted.kind).then_some(Broken::Defect(found)),
        (Broken::Property(id, arrivals), None) => {
            let property = program.properties.get(id.0 as usize)?;
            let fails = matches!(judge::judge(property, &run.machine, &run.past, arrivals), Ok(Verdict::Fails));
            fails.then(|| broken.clone())
        }
        _ => None,
    }
}
