//! Random events, one after the other. Most runs begin with the events of one of the box's tests, which lead to where it does
//! its work; what follows speaks of what was met before.

use super::RUN;
use super::packets::Grammar;
use super::script::Script;
use super::values::Source;
use crate::interp::test::Recorded;
use crate::interp::{Cover, Outcome, Stimulus};
use crate::ir::{PortId, Program, Role, TableId};
use std::sync::Arc;

/// What all runs of a box are made of.
pub struct Runs<'p> {
    program: &'p Program,
    grammar: Grammar<'p>,
    starts: Vec<Recorded>,
    controls: Vec<TableId>,
    feeds: Vec<TableId>,
}

impl<'p> Runs<'p> {
    /// Those of a box with its tests; if what they come by is asked for, all of each is run.
    pub fn new(program: &'p Arc<Program>, tests: &[Script<'_>], cover: Option<&mut Cover>) -> Runs<'p> {
        Runs {
            program,
            grammar: Grammar::new(program),
            starts: starts(program, tests, cover),
            controls: tables(program, Role::Control),
            feeds: tables(program, Role::Feed),
        }
    }

    /// A run: the same seed, the same events, as long as they cause the same.
    pub fn run(&self, seed: u64) -> Events<'_, 'p> {
        let mut source = Source::new(self.program, seed);
        let start = match source.below(4) {
            1.. if !self.starts.is_empty() => self.starts[source.below(self.starts.len() as u64) as usize].clone(),
            _ => Recorded { params: parameters(self.program, &mut source), events: Vec::new() },
        };
        self.from(start, source)
    }

    /// A run that begins with the events of a test, by its number.
    pub(super) fn of_test(&self, number: usize, seed: u64) -> Option<Events<'_, 'p>> {
        let start = self.starts.get(number)?.clone();
        Some(self.from(start, Source::new(self.program, seed)))
    }

    fn from(&self, start: Recorded, mut source: Source<'p>) -> Events<'_, 'p> {
        start.params.iter().flatten().for_each(|bits| source.remember(*bits));
        Events { runs: self, source, params: start.params, given: start.events.into_iter() }
    }
}

/// The events of a run.
pub struct Events<'r, 'p> {
    runs: &'r Runs<'p>,
    source: Source<'p>,
    given: std::vec::IntoIter<Stimulus>,
    /// The values of the box's parameters, by parameter and column.
    pub params: Vec<Vec<u128>>,
}

impl Events<'_, '_> {
    /// The next event.
    #[allow(clippy::should_implement_trait, reason = "it never ends, and depends on what was caused in between")]
    pub fn next(&mut self) -> Stimulus {
        let event = self.given.next().unwrap_or_else(|| self.anything());
        if let Stimulus::Packet(port, packet) = &event {
            self.source.arrival(*port, packet);
        }
        event
    }

    /// How many events of a test are left.
    pub(super) fn given(&self) -> usize {
        self.given.len()
    }

    /// Takes in what the last event caused: later events answer it.
    pub fn caused(&mut self, outcome: &Outcome) {
        outcome.out.iter().for_each(|(port, packet)| self.source.departure(*port, packet));
    }

    /// A pseudo-random number.
    pub fn number(&mut self) -> u64 {
        self.source.next()
    }

    /// Packets that may arrive at some ports, for the property of a number. Properties of several packets are often about such that
    /// are much the same.
    pub(super) fn arrivals(&mut self, number: u64, ports: &[PortId]) -> Vec<(PortId, Vec<u8>)> {
        let grammar = &self.runs.grammar;
        self.source.aside(number, |source| {
            let mut arrivals: Vec<(PortId, Vec<u8>)> = Vec::new();
            for port in ports {
                let twin = arrivals.iter().find(|(at, _)| at == port).filter(|_| source.once_in(2));
                let packet = match twin {
                    Some((_, packet)) if source.once_in(2) => grammar.changed(packet, source),
                    Some((_, packet)) => packet.clone(),
                    None => {
                        let again = again(grammar, source).filter(|(at, _)| at == port);
                        again.map_or_else(|| grammar.packet(source), |(_, packet)| packet)
                    }
                };
                arrivals.push((*port, packet));
            }
            arrivals
        })
    }

    fn anything(&mut self) -> Stimulus {
        let Runs { grammar, controls, feeds, .. } = self.runs;
        let source = &mut self.source;
        match source.below(20) {
            0..3 => Stimulus::Time(source.duration()),
            3..5 if !controls.is_empty() => Stimulus::Update(controls.iter().map(|t| source.content(*t)).collect()),
            5..7 if !feeds.is_empty() => {
                let table = feeds[source.below(feeds.len() as u64) as usize];
                let (key, value) = source.entry(table);
                Stimulus::Feed(table, key, Some(value))
            }
            _ => {
                let (port, packet) = again(grammar, source).unwrap_or_else(|| grammar.arrival(source));
                Stimulus::Packet(port, packet)
            }
        }
    }
}

/// A packet that arrived before, or an answer to one; now and then with a change in one field.
fn again(grammar: &Grammar<'_>, source: &mut Source<'_>) -> Option<(PortId, Vec<u8>)> {
    let (port, packet) = source.again()?;
    Some((port, if source.once_in(4) { grammar.changed(&packet, source) } else { packet }))
}

/// The events of tests that are short enough to begin a run with.
fn starts(program: &Arc<Program>, tests: &[Script<'_>], mut cover: Option<&mut Cover>) -> Vec<Recorded> {
    let all = tests.iter().map(|test| test.events(program, cover.as_deref_mut(), RUN / 2));
    all.filter(|recorded| (1..RUN / 2).contains(&recorded.events.len())).collect()
}

fn parameters(program: &Program, source: &mut Source<'_>) -> Vec<Vec<u128>> {
    program.params.iter().map(|p| p.default.clone().unwrap_or_else(|| source.value(&p.shape))).collect()
}

fn tables(program: &Program, role: Role) -> Vec<TableId> {
    (0..).map(TableId).zip(&program.tables).filter(|(_, t)| t.role == role && t.computed.is_none()).map(|(id, _)| id).collect()
}
