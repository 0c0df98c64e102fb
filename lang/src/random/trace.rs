//! Runs under way: what happened so far, and what properties say of it. A run can be copied and go on in several ways.

use super::judge::{self, Moment, Verdict};
use super::{Broken, Counterexample};
use crate::interp::{Cover, Defect, Machine, Outcome, Seeded, Stimulus};
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
    program: Arc<Program>,
    machine: Machine,
    /// The first events, if they are too many to remember the box before each of them.
    bulk: Vec<(Stimulus, Seeded)>,
    pub(super) past: Vec<Moment>,
    /// What it came by.
    pub cover: Cover,
}

impl Trace {
    /// A run that begins; none, if the parameters do not fit.
    pub fn new(program: &Arc<Program>, params: Vec<Vec<u128>>) -> Option<Trace> {
        let machine = Machine::new(program.clone(), params).ok()?;
        Some(Trace { program: program.clone(), machine, bulk: Vec::new(), past: Vec::new(), cover: Cover::default() })
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
        self.past.push(Moment { event, oracle, before, outcome });
        done
    }

    /// Carries out an event that is one of very many. All that happened so far is known by its effect only from then on.
    pub(super) fn happens_in_bulk(&mut self, event: Stimulus, oracle: Seeded) -> Result<(), Defect> {
        self.bulk.extend(self.past.drain(..).map(|moment| (moment.event, moment.oracle)));
        self.machine.happen(&event, &mut oracle.clone(), None)?;
        self.bulk.push((event, oracle));
        Ok(())
    }

    /// What a property says behind the last event, of packets that may arrive then.
    pub(super) fn judge(&self, id: PropertyId, arrivals: &[(PortId, Vec<u8>)]) -> Result<Verdict, Defect> {
        let Some(property) = self.program.properties.get(id.0 as usize) else { return Ok(Verdict::Fits) };
        if !self.bulk.is_empty() && judge::asks_for_all_of_the_past(&property.form) {
            return Ok(Verdict::Fits);
        }
        judge::judge(property, &self.machine, &self.past, arrivals)
    }

    /// Whether a property holds behind the last event, of packets that may arrive then.
    pub fn judged(&self, id: PropertyId, arrivals: Vec<(PortId, Vec<u8>)>) -> Judged {
        match self.judge(id, &arrivals) {
            Ok(Verdict::Fits) => Judged::Nothing,
            Ok(Verdict::Holds | Verdict::Shown) => Judged::Holds,
            Ok(Verdict::Fails) => Judged::Fails(Box::new(self.clone().shrink(Broken::Property(id, arrivals)))),
            Err(defect) => Judged::Fails(Box::new(self.clone().shrink(Broken::Defect(defect)))),
        }
    }

    /// The run as a counterexample for what its last event did.
    pub fn broke(self, defect: Defect) -> Counterexample {
        self.shrink(Broken::Defect(defect))
    }

    /// Leaves events out as long as the same goes wrong behind the last one.
    pub(super) fn shrink(self, mut broken: Broken) -> Counterexample {
        let params = self.machine.params().to_vec();
        let mut events: Vec<(Stimulus, Seeded)> = self.past.into_iter().map(|moment| (moment.event, moment.oracle)).collect();
        let again = |events: &[(Stimulus, Seeded)], broken: &Broken| again(&self.program, &params, (&self.bulk, events), broken);
        let mut at = 0;
        while self.bulk.is_empty() && at + 1 < events.len() {
            let mut fewer = events.clone();
            fewer.remove(at);
            match again(&fewer, &broken) {
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
            if fewer.len() < events.len() && again(fewer, &broken).is_some() {
                events.pop();
            }
        }
        let events = self.bulk.iter().chain(&events).map(|(event, _)| event.clone()).collect();
        Counterexample { params, events, broken }
    }
}

/// Whether the same goes wrong behind the last of these events.
fn again(
    program: &Arc<Program>,
    params: &[Vec<u128>],
    (bulk, events): (&[(Stimulus, Seeded)], &[(Stimulus, Seeded)]),
    broken: &Broken,
) -> Option<Broken> {
    let mut run = Trace::new(program, params.to_vec())?;
    for (event, oracle) in bulk {
        run.happens_in_bulk(event.clone(), oracle.clone()).ok()?;
    }
    let mut defect = None;
    for (event, oracle) in events {
        if defect.is_some() {
            return None;
        }
        defect = run.happens(event.clone(), oracle.clone()).err();
    }
    match (broken, defect) {
        (Broken::Defect(wanted), Some(found)) => (found.kind == wanted.kind).then_some(Broken::Defect(found)),
        (Broken::Property(id, arrivals), None) => matches!(run.judge(*id, arrivals), Ok(Verdict::Fails)).then(|| broken.clone()),
        _ => None,
    }
}
