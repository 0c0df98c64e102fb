//! Random runs: events that a box may meet, and whether its invariants and properties hold of them. A failure is shrunk to the
//! fewest events that still show it. What is asked of a run is in `interp::judge`.

mod bursts;
mod events;
mod frame;
mod packets;
mod script;
mod shrink;
mod start;
mod trace;
mod values;

use crate::interp::judge::{self, Verdict};
use crate::interp::{Cover, Defect, Seeded, Stimulus};
use crate::ir::{PortId, Program, Property, PropertyId, TableId};
use std::sync::Arc;

pub use bursts::overrun;
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
    /// The events, each with what decides on its choices.
    pub events: Vec<(Stimulus, Seeded)>,
    /// So many of them come first that nobody remembers what was between them.
    pub bulk: usize,
    /// What went wrong behind the last.
    pub broken: Broken,
}

/// What was tried, and what came of it.
#[derive(Clone, Debug, Default)]
pub struct Explored {
    /// Events.
    pub events: usize,
    /// How many of them there were when something was seen for the first time.
    pub news: usize,
    /// Runs that were begun.
    runs: usize,
    /// Evaluations of properties whose premise held.
    pub checks: usize,
    /// What does not hold; of a property, one counterexample.
    pub failures: Vec<Counterexample>,
    /// By property: whether an event showed it, if it is `reachable`; or else, whether its premise held somewhere, and so did it.
    pub shown: Vec<bool>,
    /// The branches and edges that events came by, those of the tests among them.
    pub cover: Cover,
}

impl Explored {
    /// How many properties were shown or failed.
    fn seen(&self) -> usize {
        self.shown.iter().filter(|shown| **shown).count() + self.failures.len()
    }
}

/// Properties are evaluated only while tables have at most so many entries.
const MOST_ENTRIES: usize = 64;
/// Events per run: then the box starts anew.
const RUN: usize = 100;
/// Events behind those of a test, when each is looked at.
const AFTER: usize = 10;

/// Tries `count` random events. Most runs begin with the events of one of the box's tests, which lead to where it does its work; at first
/// each of them.
/// A property that fails is not looked at any more; a defect ends the search.
pub fn explore(program: &Arc<Program>, tests: &[Script<'_>], count: usize, seed: u64) -> Explored {
    let wants = Wants { property: &|_| true, cover: true };
    explore_for(program, tests, Explored::default(), (count, seed), &wants, &|_| false)
}

/// What is looked at.
pub struct Wants<'w> {
    /// Which properties.
    pub property: &'w dyn Fn(&Property) -> bool,
    /// Whether also what long tests come by.
    pub cover: bool,
}

/// Goes on like [`explore`] from what was tried so far, and looks at some of the properties only, until there were `count` events or what was
/// found is enough. What happens does not depend on what is looked at.
pub fn explore_for(
    program: &Arc<Program>,
    tests: &[Script<'_>],
    mut explored: Explored,
    (count, seed): (usize, u64),
    wants: &Wants<'_>,
    enough: &dyn Fn(&Explored) -> bool,
) -> Explored {
    explored.shown.resize(program.properties.len(), false);
    let runs = Runs::new(program, tests, (wants.cover && explored.runs == 0).then_some(&mut explored.cover));
    // What needs no more looking at.
    let mut settled: Vec<bool> = program.properties.iter().map(|p| p.assumed.is_some() || !(wants.property)(p)).collect();
    for failure in &explored.failures {
        if let Broken::Property(id, _) = failure.broken {
            settled[id.0 as usize] = true;
        }
    }
    let seen = |explored: &Explored| explored.seen() + if wants.cover { explored.cover.seen.len() } else { 0 };
    let mut last = seen(&explored);
    while explored.events < count {
        let number = explored.runs;
        let start = seed.wrapping_mul(0x9e37_79b9).wrapping_add(number as u64);
        // At first each test, and a little more; then they come up by chance.
        let (mut events, tested) = match runs.of_test(number, start) {
            Some(events) => {
                let given = events.given();
                (events, given)
            }
            None => (runs.run(start), 0),
        };
        let most = if tested > 0 { tested + AFTER } else { RUN };
        explored.runs += 1;
        let Some(mut run) = Trace::new(program, events.params.clone()) else { continue };
        let mut stopped = false;
        for at in 0..most.min(count - explored.events) {
            explored.events += 1;
            let event = events.next();
            // What tests send is what properties speak of.
            if at < tested
                && let Stimulus::Packet(port, packet) = &event
                && !crowded(program, &run)
                && of_packet(program, &run, (*port, packet), &mut settled, &mut explored)
            {
                stopped = true;
                break;
            }
            let happened = run.happens(event, Seeded::adversarial(events.number()));
            if let Some(outcome) = run.outcome() {
                events.caused(outcome);
            }
            stopped = match happened {
                Err(defect) => {
                    explored.failures.push(run.clone().broke(defect));
                    true
                }
                Ok(()) => !crowded(program, &run) && properties(program, &run, &mut events, &mut settled, &mut explored),
            };
            if stopped {
                break;
            }
        }
        explored.cover.seen.append(&mut run.cover.seen);
        if seen(&explored) != last {
            last = seen(&explored);
            explored.news = explored.events;
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

/// Checks the properties behind the last event. Whether that is the end of all: a defect.
fn properties(
    program: &Program,
    run: &Trace,
    events: &mut Events<'_, '_>,
    settled: &mut [bool],
    explored: &mut Explored,
) -> bool {
    // Properties of packets at the same ports are asked about the same packets.
    let mut drawn: Vec<(Vec<PortId>, Vec<(PortId, Vec<u8>)>)> = Vec::new();
    for (index, property) in program.properties.iter().enumerate() {
        if settled[index] {
            continue;
        }
        let id = PropertyId(index as u32);
        let ports = judge::arrivals(&property.form);
        let known = drawn.iter().find(|(at, _)| *at == ports).map(|(_, packets)| packets.clone());
        let arrivals = known.unwrap_or_else(|| {
            // A number that is theirs, whatever else is looked at.
            let number = ports.iter().fold(0, |number: u64, port| number.wrapping_mul(64).wrapping_add(u64::from(port.0) + 1));
            let packets = events.arrivals(number, &ports);
            drawn.push((ports, packets.clone()));
            packets
        });
        if look(run, id, arrivals, settled, explored) {
            return true;
        }
    }
    false
}

/// Checks what properties say of one packet that is about to arrive. Whether that is the end of all.
fn of_packet(
    program: &Program,
    run: &Trace,
    (port, packet): (PortId, &[u8]),
    settled: &mut [bool],
    explored: &mut Explored,
) -> bool {
    for (index, property) in program.properties.iter().enumerate() {
        if !settled[index] && judge::arrivals(&property.form) == [port] {
            let arrivals = vec![(port, packet.to_vec())];
            if look(run, PropertyId(index as u32), arrivals, settled, explored) {
                return true;
            }
        }
    }
    false
}

/// Checks a property of these packets. Whether that is the end of all: a defect.
fn look(run: &Trace, id: PropertyId, arrivals: Vec<(PortId, Vec<u8>)>, settled: &mut [bool], explored: &mut Explored) -> bool {
    let index = id.0 as usize;
    match run.judge(id, &arrivals) {
        Ok(Verdict::Fits) => {}
        Ok(Verdict::Holds) => {
            explored.checks += 1;
            explored.shown[index] = true;
        }
        Ok(Verdict::Shown) => explored.shown[index] = true,
        Ok(Verdict::Fails) => {
            settled[index] = true;
            explored.failures.push(run.clone().shrink(Broken::Property(id, arrivals)));
        }
        Err(defect) => {
            explored.failures.push(run.stopped(defect, &arrivals));
            return true;
        }
    }
    false
}
