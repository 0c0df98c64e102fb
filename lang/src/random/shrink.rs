//! Counterexamples with less in them: fewer events, shorter packets, no whims of the target. Whatever is left out, the same must
//! still go wrong.

use super::packets::Grammar;
use super::{Broken, Counterexample, Trace};
use crate::interp::judge::{self, Verdict};
use crate::interp::{Outcome, Seeded, Stimulus};
use crate::ir::{Form, Program};
use std::sync::Arc;

/// At most so many ways to leave something out are tried.
const ATTEMPTS: usize = 2_000;
/// The events of all of them together.
const EVENTS: usize = 200_000;

impl Trace {
    /// The run as a counterexample, with as little in it as possible.
    pub(super) fn shrink(self, broken: Broken) -> Counterexample {
        let params = self.machine.params().to_vec();
        let bulk = self.bulk.len();
        let past = self.past.into_iter().map(|moment| moment.event).zip(self.oracles);
        let found = Counterexample { params, events: self.bulk.into_iter().chain(past).collect(), bulk, broken };
        let mut shrinking = Shrinking { program: &self.program, found, attempts: 0, events: 0 };
        if bulk == 0 {
            shrinking.obliging();
        }
        shrinking.fewer();
        shrinking.shorter();
        shrinking.found
    }
}

impl Counterexample {
    /// Carries the events out once more, and tells of each what it did. Whether the same goes wrong behind the last.
    pub fn replays(&self, program: &Arc<Program>, tell: &mut dyn FnMut(&Trace, &Outcome)) -> bool {
        self.again(program, tell).is_some()
    }

    /// What decides on the choices of the packet that a property speaks of behind the events, if it speaks of one.
    pub fn oracle_of_arrival(&self, program: &Program) -> Option<Seeded> {
        let Broken::Property(id, arrivals) = &self.broken else { return None };
        let one = arrivals.len() == 1 && matches!(program.properties.get(id.0 as usize)?.form, Form::Step { .. });
        one.then(|| judge::oracle(arrivals))
    }

    fn again(&self, program: &Arc<Program>, tell: &mut dyn FnMut(&Trace, &Outcome)) -> Option<Broken> {
        let mut run = Trace::new(program, self.params.clone())?;
        let (bulk, events) = self.events.split_at(self.bulk.min(self.events.len()));
        for (event, oracle) in bulk {
            let outcome = run.happens_in_bulk(event.clone(), oracle.clone()).ok()?;
            tell(&run, &outcome);
        }
        let mut defect = None;
        for (event, oracle) in events {
            if defect.is_some() {
                return None;
            }
            defect = run.happens(event.clone(), oracle.clone()).err();
            let outcome = run.outcome().cloned().unwrap_or_default();
            tell(&run, &outcome);
        }
        match (&self.broken, defect) {
            (Broken::Defect(wanted), Some(found)) => (found.kind == wanted.kind).then_some(Broken::Defect(found)),
            (Broken::Property(id, arrivals), None) => {
                matches!(run.judge(*id, arrivals), Ok(Verdict::Fails)).then(|| self.broken.clone())
            }
            _ => None,
        }
    }
}

struct Shrinking<'p> {
    program: &'p Arc<Program>,
    found: Counterexample,
    attempts: usize,
    events: usize,
}

impl Shrinking<'_> {
    /// Takes something with less in it if the same goes wrong.
    fn take(&mut self, mut less: Counterexample) -> bool {
        self.attempts += 1;
        self.events += less.events.len();
        if self.attempts > ATTEMPTS || self.events > EVENTS {
            return false;
        }
        let Some(broken) = less.again(self.program, &mut |_, _| {}) else { return false };
        less.broken = broken;
        self.found = less;
        true
    }

    /// The target uses no freedom where that is not needed.
    fn obliging(&mut self) {
        let mut less = self.found.clone();
        less.events.iter_mut().for_each(|(_, oracle)| *oracle = Seeded::exact(0));
        if self.take(less) {
            return;
        }
        for at in 0..self.found.events.len() {
            let mut less = self.found.clone();
            less.events[at].1 = Seeded::exact(0);
            self.take(less);
        }
    }

    /// Leaves events out: many at once as long as there are many, and then one by one. What came in bulk stays.
    fn fewer(&mut self) {
        let last = matches!(self.found.broken, Broken::Defect(_));
        let bulk = self.found.bulk;
        let mut chunk = (self.found.events.len() - bulk).div_ceil(2);
        while chunk > 0 {
            let mut at = bulk;
            // What a defect comes of is the last event.
            while at + chunk + usize::from(last) <= self.found.events.len() {
                let mut less = self.found.clone();
                less.events.drain(at..at + chunk);
                if !self.take(less) {
                    at += chunk;
                }
            }
            chunk /= 2;
        }
    }

    /// Packets without what is behind their headers, or with less of it.
    fn shorter(&mut self) {
        let program = self.program.clone();
        let grammar = Grammar::new(&program);
        for at in self.found.bulk..self.found.events.len() {
            let Stimulus::Packet(port, packet) = self.found.events[at].0.clone() else { continue };
            self.shortened(&grammar, &packet, &|less, shorter| less.events[at].0 = Stimulus::Packet(port, shorter));
        }
        let arrivals = match &self.found.broken {
            Broken::Property(_, arrivals) => arrivals.clone(),
            Broken::Defect(_) => Vec::new(),
        };
        for (at, (_, packet)) in arrivals.iter().enumerate() {
            self.shortened(&grammar, packet, &|less, shorter| {
                if let Broken::Property(_, arrivals) = &mut less.broken {
                    arrivals[at].1 = shorter;
                }
            });
        }
    }

    fn shortened(&mut self, grammar: &Grammar<'_>, packet: &[u8], put: &dyn Fn(&mut Counterexample, Vec<u8>)) {
        let mut length = 0;
        // As short as can be; if that is too short, more and more of it.
        loop {
            for stretch in [true, false] {
                let shorter = grammar.resized(packet, length, stretch);
                if shorter.len() >= packet.len() {
                    continue;
                }
                let mut less = self.found.clone();
                put(&mut less, shorter);
                if self.take(less) {
                    return;
                }
            }
            length = if length == 0 { 64 } else { length * 2 };
            if length >= packet.len() || self.attempts > ATTEMPTS || self.events > EVENTS {
                return;
            }
        }
    }
}
