//! Runs under way: what happened so far, and what properties say of it. A run can be copied and go on in several ways.

use super::{Broken, Counterexample};
use crate::interp::judge::{self, Moment, Verdict};
use crate::interp::{Cover, Defect, Machine, Outcome, Replay, Seeded, Stimulus};
use crate::ir::{PortId, Program, PropertyId};
use std::sync::Arc;

/// What a property says of a run.
#[derive(Clone, Debug)]
pub enum Judged {
    /// Its premise does not hold.
    Nothing,
    /// It holds, and so does its premise; or what is to be reachable was reached.
    Holds,
    /// It does not hold.
    Fails(Box<Counterexample>),
}

/// A run. A copy costs little.
#[derive(Clone, Debug)]
pub struct Trace {
    pub(super) program: Arc<Program>,
    pub(super) machine: Machine,
    /// The first events, if they are too many to remember the box before each of them.
    pub(super) bulk: Vec<(Stimulus, Seeded)>,
    pub(super) past: Vec<Moment>,
    /// What decided on the choices of those.
    pub(super) oracles: Vec<Seeded>,
    /// What it came by.
    pub cover: Cover,
}

impl Trace {
    /// A run that begins; none, if the parameters do not fit.
    pub fn new(program: &Arc<Program>, params: Vec<Vec<u128>>) -> Option<Trace> {
        let machine = Machine::new(program.clone(), params).ok()?;
        Some(Trace {
            program: program.clone(),
            machine,
            bulk: Vec::new(),
            past: Vec::new(),
            oracles: Vec::new(),
            cover: Cover::default(),
        })
    }

    /// The box as it is now.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What happened so far.
    pub fn events(&self) -> impl Iterator<Item = &Stimulus> {
        self.bulk.iter().map(|(event, _)| event).chain(self.past.iter().map(|moment| &moment.event))
    }

    /// Whether it led to a state of which copies are not made lightly.
    pub fn is_large(&self) -> bool {
        !self.bulk.is_empty()
    }

    /// What the last event did.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.past.last().map(|moment| &moment.outcome)
    }

    /// Carries out an event; the oracle decides what is open.
    pub fn happens(&mut self, event: Stimulus, oracle: Seeded) -> Result<(), Defect> {
        let before = self.machine.clone();
        let done = self.machine.happen(&event, &mut oracle.clone(), Some(&mut self.cover));
        let (outcome, done) = match done {
            Ok(outcome) => (outcome, Ok(())),
            Err(defect) => (Outcome::default(), Err(defect)),
        };
        self.past.push(Moment { event, before, outcome, oracle: Replay::new([], oracle.clone()) });
        self.oracles.push(oracle);
        done
    }

    /// Carries out an event that is one of very many. All that happened so far is known by its effect only from then on.
    pub(super) fn happens_in_bulk(&mut self, event: Stimulus, oracle: Seeded) -> Result<Outcome, Defect> {
        self.bulk.extend(self.past.drain(..).map(|moment| moment.event).zip(self.oracles.drain(..)));
        let outcome = self.machine.happen(&event, &mut oracle.clone(), None)?;
        self.bulk.push((event, oracle));
        Ok(outcome)
    }

    /// What a property says behind the last event, of packets that may arrive then.
    pub(super) fn judge(&self, id: PropertyId, arrivals: &[(PortId, Vec<u8>)]) -> Result<Verdict, Defect> {
        let Some(property) = self.program.properties.get(id.0 as usize) else { return Ok(Verdict::Fits) };
        if !self.bulk.is_empty() && judge::asks_for_all_of_the_past(&property.form) {
            return Ok(Verdict::Fits);
        }
        judge::judge(id, &self.machine, &self.past, arrivals)
    }

    /// Whether a property holds behind the last event, of packets that may arrive then.
    pub fn judged(&self, id: PropertyId, arrivals: Vec<(PortId, Vec<u8>)>) -> Judged {
        match self.judge(id, &arrivals) {
            Ok(Verdict::Fits) => Judged::Nothing,
            Ok(Verdict::Holds | Verdict::Shown) => Judged::Holds,
            Ok(Verdict::Fails) => Judged::Fails(Box::new(self.clone().shrink(Broken::Property(id, arrivals)))),
            Err(defect) => Judged::Fails(Box::new(self.stopped(defect, &arrivals))),
        }
    }

    /// The run as a counterexample for what one of the packets did that may arrive then.
    pub(super) fn stopped(&self, defect: Defect, arrivals: &[(PortId, Vec<u8>)]) -> Counterexample {
        for (port, bytes) in arrivals {
            for oracle in [Seeded::exact(0), judge::oracle(arrivals)] {
                let mut run = self.clone();
                if let Err(found) = run.happens(Stimulus::Packet(*port, bytes.clone()), oracle)
                    && found.kind == defect.kind
                {
                    return run.broke(found);
                }
            }
        }
        self.clone().broke(defect)
    }

    /// The run as a counterexample for what its last event did.
    pub fn broke(self, defect: Defect) -> Counterexample {
        self.shrink(Broken::Defect(defect))
    }
}
