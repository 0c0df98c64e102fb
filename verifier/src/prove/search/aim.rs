//! What is looked for, as formulas about events that go on from states that were seen.

use super::super::forms::{OBSERVED, claim, independence, instances, is_instance, matched, start};
use super::super::induct::{Event, formula};
use super::super::persists::Promise;
use super::super::reach::Place;
use super::{Aim, Before, Course, Start, Unknown};
use crate::sym::{Engine, Packet, Sym, Unsupported, World};
use crate::term::{Op, Sort, Term};
use grv_lang::ir::{Form, PacketId, PortId, Program, Property, TableId};
use grv_lang::span::Span;

/// An engine, the course of events, and what is wanted of it.
type Set<'p> = (Engine<'p>, Course, Vec<Term>);

/// At most so many nanoseconds pass between two events: a few days.
const LONGEST: i128 = 1_000_000_000_000_000;

/// The ports that the last event may arrive at, if that is not said by what is looked for.
pub(super) fn lasts(program: &Program, aim: &Aim, ports: &[PortId]) -> Vec<Option<PortId>> {
    let any = || ports.iter().map(|port| Some(*port)).collect();
    match aim {
        Aim::Passes(_) | Aim::Defect(_) => any(),
        Aim::Broken(property) if matches!(program.properties[*property].form, Form::Always { .. }) => any(),
        Aim::Shown(_) | Aim::Broken(_) => vec![None],
    }
}

/// A run under way.
struct Run<'p> {
    engine: Engine<'p>,
    world: World,
    course: Course,
    wanted: Vec<Term>,
}

impl<'p> Run<'p> {
    /// Lets time pass; the name of how much.
    fn pass(&mut self) -> Result<String, Unsupported> {
        let name = format!("passed {}", self.course.events.len());
        if self.engine.program.elements.iter().any(|e| !e.timers.is_empty()) {
            return Ok(name);
        }
        let engine = &mut self.engine;
        let passed = engine.terms.var(&name, Sort::Int);
        let (zero, longest) = (engine.terms.int(0), engine.terms.int(LONGEST));
        for (a, b) in [(zero, passed), (passed, longest)] {
            let fact = engine.terms.op(Op::IntLe, a, b);
            engine.fact(fact);
        }
        let now = engine.terms.op(Op::IntAdd, self.world.now, passed);
        self.world = engine.later(&self.world, now, engine.program.span)?;
        Ok(name)
    }

    /// A packet arrives some time later; the state that it arrives in.
    fn arrive(&mut self, port: PortId) -> Result<(World, Packet), Unsupported> {
        let passed = self.pass()?;
        let name = format!("event {}", self.course.events.len());
        let packet = self.engine.arriving(&name);
        let before = self.world.clone();
        self.course.events.push((passed, Unknown::Packet(port, name)));
        self.world = self.engine.step(&before, &packet, port)?.after.clone();
        Ok((before, packet))
    }

    /// The runtime sets an entry of a fed table some time later.
    fn feed(&mut self, table: TableId) -> Result<(), Unsupported> {
        let passed = self.pass()?;
        let engine = &mut self.engine;
        let fed = engine.fed(&self.world, table);
        self.world = fed.after;
        self.wanted.extend(fed.present);
        let names = |engine: &Engine<'_>, all: &[Sym]| -> Vec<String> {
            all.iter().map(|part| engine.terms.name_of(part.term()).unwrap_or_default().to_string()).collect()
        };
        let unknown = Unknown::Feed(table, names(engine, &fed.key), names(engine, &fed.value));
        self.course.events.push((passed, unknown));
        Ok(())
    }

    /// Time passes in the end.
    fn then(&mut self) -> Result<(), Unsupported> {
        let passed = self.pass()?;
        self.course.then = Some(passed);
        Ok(())
    }
}

/// The events that come before, and then what is looked for. None: there is no such way.
pub(super) fn course<'p>(
    program: &'p Program,
    states: &[Start],
    aim: &Aim,
    before: &[Before],
    last: Option<PortId>,
) -> Result<Option<Set<'p>>, Unsupported> {
    let mut engine = Engine::new(program);
    let seen: Vec<_> = states.iter().map(|start| &start.seen).collect();
    let (world, _) = engine.among(&seen);
    let mut run = Run { engine, world, course: Course::default(), wanted: Vec::new() };
    let wanted = match (aim, last) {
        (Aim::Shown(index), _) => run.of_property(&program.properties[*index], before, last, Kind::Example)?,
        (Aim::Broken(index), _) => run.of_property(&program.properties[*index], before, last, Kind::Counterexample)?,
        (Aim::Passes(place), Some(port)) => Some(run.passes(place, before, port)?),
        (Aim::Defect(span), Some(port)) => Some(run.fails_at(*span, before, port)?),
        _ => None,
    };
    Ok(wanted.map(|wanted| {
        run.wanted.push(wanted);
        (run.engine, run.course, run.wanted)
    }))
}

/// Whether an example is wanted, or a counterexample.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Example,
    Counterexample,
}

impl Kind {
    fn wants(self, engine: &mut Engine<'_>, holds: Term) -> Term {
        if self == Kind::Example { holds } else { engine.terms.not(holds) }
    }
}

impl<'p> Run<'p> {
    /// Some events happen, about which nothing is asked.
    fn arrive_at(&mut self, events: &[Before]) -> Result<(), Unsupported> {
        events.iter().try_for_each(|event| match event {
            Before::Packet(port) => self.arrive(*port).map(drop),
            Before::Feed(table) => self.feed(*table),
        })
    }

    /// The last of some packets comes by a place.
    fn passes(&mut self, place: &Place, before: &[Before], port: PortId) -> Result<Term, Unsupported> {
        self.arrive_at(before)?;
        let earlier = self.engine.branches.len();
        self.arrive(port)?;
        let branches = &self.engine.branches[earlier..];
        let ways: Vec<Term> = branches.iter().filter(|b| place.passages.contains(&b.passage)).map(|b| b.guard).collect();
        Ok(self.engine.terms.or(&ways))
    }

    /// What must hold at a place does not for the last of some packets.
    fn fails_at(&mut self, span: Span, before: &[Before], port: PortId) -> Result<Term, Unsupported> {
        self.arrive_at(before)?;
        let (world, packet) = self.arrive(port)?;
        let engine = &mut self.engine;
        let step = engine.step(&world, &packet, port)?;
        let mut ways = Vec::new();
        for obliged in step.obliged.iter().filter(|o| o.span == span) {
            let fails = engine.terms.not(obliged.holds);
            ways.push(engine.terms.and(&[obliged.guard, fails]));
        }
        Ok(engine.terms.or(&ways))
    }

    fn of_property(
        &mut self,
        property: &'p Property,
        before: &[Before],
        last: Option<PortId>,
        kind: Kind,
    ) -> Result<Option<Term>, Unsupported> {
        match (&property.form, kind) {
            (Form::Step { packets, .. }, _) => {
                self.arrive_at(before)?;
                self.then()?;
                let name = |packet: &PacketId| property.body.packets[packet.index()].clone();
                self.course.arrivals = packets.iter().map(|(packet, port)| (*port, name(packet))).collect();
                let Some((premise, holds)) = claim(&mut self.engine, property, &self.world)? else { return Ok(None) };
                self.wanted.push(premise);
                Ok(Some(kind.wants(&mut self.engine, holds)))
            }
            (Form::Independent { observed, from, .. }, _) => {
                self.arrive_at(before)?;
                self.then()?;
                let named = [(from.port, OBSERVED.1), (observed.port, OBSERVED.0)];
                self.course.arrivals = named.map(|(port, name)| (port, name.to_string())).to_vec();
                let Some((premises, same)) = independence(&mut self.engine, property, &self.world)? else { return Ok(None) };
                self.wanted.extend(premises);
                Ok(Some(kind.wants(&mut self.engine, same)))
            }
            (Form::Persists { .. }, _) => self.persists(property, before, kind),
            (Form::Always { block, holds }, Kind::Counterexample) => {
                let Some(last) = last else { return Ok(None) };
                self.arrive_at(before)?;
                self.arrive(last)?;
                self.then()?;
                let holds = formula(&mut self.engine, &property.body, block, *holds, &self.world)?;
                Ok(Some(kind.wants(&mut self.engine, holds)))
            }
            (Form::OnlyAfter { then, after, .. }, Kind::Example) => {
                self.arrive_at(before)?;
                let (first_world, first) = self.arrive(after.port)?;
                let (world, packet) = self.arrive(then.port)?;
                let engine = &mut self.engine;
                let env = start(engine, property, &world);
                let mut ways = Vec::new();
                for seen in instances(engine, &env, then, &world, &packet)? {
                    let is = is_instance(engine, &seen.env, after, &first_world, &first)?;
                    ways.push(engine.terms.and(&[seen.matches, is]));
                }
                Ok(Some(engine.terms.or(&ways)))
            }
            // What was undone, and happens all the same.
            (Form::OnlyAfter { then, after, unless: Some(unless), .. }, Kind::Counterexample) => {
                self.arrive_at(before)?;
                let (first_world, first) = self.arrive(after.port)?;
                let (between, undoes) = self.arrive(unless.port)?;
                let (world, packet) = self.arrive(then.port)?;
                let engine = &mut self.engine;
                let env = start(engine, property, &world);
                let mut ways = Vec::new();
                for seen in instances(engine, &env, then, &world, &packet)? {
                    for begun in instances(engine, &seen.env, after, &first_world, &first)? {
                        let undone = is_instance(engine, &begun.env, unless, &between, &undoes)?;
                        ways.push(engine.terms.and(&[seen.matches, begun.matches, undone]));
                    }
                }
                Ok(Some(engine.terms.or(&ways)))
            }
            // What was once, but too long ago.
            (Form::OnlyAfter { then, after, within: Some(within), .. }, Kind::Counterexample) if before.is_empty() => {
                let (first_world, first) = self.arrive(after.port)?;
                let (world, packet) = self.arrive(then.port)?;
                let engine = &mut self.engine;
                let env = start(engine, property, &world);
                let mut ways = Vec::new();
                for seen in instances(engine, &env, then, &world, &packet)? {
                    let is = is_instance(engine, &seen.env, after, &first_world, &first)?;
                    let most = engine.expr(&seen.env, within, property.span)?;
                    let most = engine.terms.as_integer(most);
                    let ago = engine.terms.op(Op::IntSub, world.now, first_world.now);
                    let late = engine.terms.op(Op::IntLt, most, ago);
                    ways.push(engine.terms.and(&[seen.matches, is, late]));
                }
                Ok(Some(engine.terms.or(&ways)))
            }
            (Form::Reachable { event }, Kind::Example)
            | (Form::Bound { event, .. }, Kind::Example)
            | (Form::OnlyAfter { then: event, .. }, Kind::Counterexample) => {
                self.arrive_at(before)?;
                let (world, packet) = self.arrive(event.port)?;
                let env = start(&mut self.engine, property, &world);
                Ok(Some(is_instance(&mut self.engine, &env, event, &world, &packet)?))
            }
            (Form::Always { .. }, Kind::Example) | (Form::Reachable { .. } | Form::Bound { .. }, Kind::Counterexample) => {
                Ok(None)
            }
        }
    }

    /// What begins a promise, other packets, and the one that it is about.
    fn persists(&mut self, property: &'p Property, before: &[Before], kind: Kind) -> Result<Option<Term>, Unsupported> {
        let Form::Persists { once, then, outcome, since, condition, holds } = &property.form else { return Ok(None) };
        let promise = Promise { once, then, outcome, since, condition, holds: *holds };
        let (began, first) = self.arrive(once.port)?;
        let mut meanwhile = Vec::new();
        for event in before {
            match event {
                Before::Packet(port) => {
                    let (world, packet) = self.arrive(*port)?;
                    meanwhile.push((*port, world, packet));
                }
                Before::Feed(table) => self.feed(*table)?,
            }
        }
        let (world, packet) = self.arrive(then.port)?;
        let engine = &mut self.engine;
        let env = start(engine, property, &began);
        let mut ways = Vec::new();
        for begun in instances(engine, &env, once, &began, &first)? {
            let mut clocks = vec![began.now; since.len()];
            for (port, at, between) in &meanwhile {
                for (clock, since) in clocks.iter_mut().zip(since) {
                    let event = Event::Packet(*port);
                    let again = matched(engine, &begun.env, &since.event, at, event, Some(between))?;
                    *clock = engine.terms.ite(again, at.now, *clock);
                }
            }
            let (premise, conclusion) = promise.kept(engine, &begun.env, &world, &clocks, &packet)?;
            let conclusion = kind.wants(engine, conclusion);
            ways.push(engine.terms.and(&[begun.matches, premise, conclusion]));
        }
        Ok(Some(engine.terms.or(&ways)))
    }
}
