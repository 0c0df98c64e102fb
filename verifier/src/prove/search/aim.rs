//! What is looked for, as formulas about events that go on from states that were seen.

use super::super::forms::{Promise, dropped, instances, matched, same_outcome, start};
use super::super::induct::{Event, formula};
use super::{Aim, Course};
use crate::sym::{Engine, Packet, Unsupported, World};
use crate::term::{Op, Sort, Term};
use grv_lang::ir::{Form, PortId, Program, Property};
use grv_lang::random::Trace;

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
        self.course.events.push((passed, port, name));
        self.world = self.engine.step(&before, &packet, port)?.after.clone();
        Ok((before, packet))
    }

    /// Time passes in the end.
    fn then(&mut self) -> Result<(), Unsupported> {
        let passed = self.pass()?;
        self.course.then = Some(passed);
        Ok(())
    }

    fn done(self) -> Option<Set<'p>> {
        Some((self.engine, self.course, self.wanted))
    }
}

/// The events that come before, and then what is looked for. None: there is no such way.
pub(super) fn course<'p>(
    program: &'p Program,
    states: &[Trace],
    aim: &Aim,
    before: &[PortId],
    last: Option<PortId>,
) -> Result<Option<Set<'p>>, Unsupported> {
    let mut engine = Engine::new(program);
    let machines: Vec<_> = states.iter().map(Trace::machine).collect();
    let (world, _) = engine.among(&machines);
    let mut run = Run { engine, world, course: Course::default(), wanted: Vec::new() };
    match (aim, last) {
        (Aim::Shown(index), _) => shown(run, &program.properties[*index], before),
        (Aim::Broken(index), _) => broken(run, &program.properties[*index], before, last),
        (Aim::Passes(place), Some(port)) => {
            for port in before {
                run.arrive(*port)?;
            }
            let earlier = run.engine.branches.len();
            run.arrive(port)?;
            let branches = &run.engine.branches[earlier..];
            let ways: Vec<Term> = branches.iter().filter(|b| place.passages.contains(&b.passage)).map(|b| b.guard).collect();
            run.wanted.push(run.engine.terms.or(&ways));
            Ok(run.done())
        }
        (Aim::Defect(span), Some(port)) => {
            for port in before {
                run.arrive(*port)?;
            }
            let (world, packet) = run.arrive(port)?;
            let step = run.engine.step(&world, &packet, port)?;
            let mut ways = Vec::new();
            for obliged in step.obliged.iter().filter(|o| o.span == *span) {
                let fails = run.engine.terms.not(obliged.holds);
                ways.push(run.engine.terms.and(&[obliged.guard, fails]));
            }
            run.wanted.push(run.engine.terms.or(&ways));
            Ok(run.done())
        }
        _ => Ok(None),
    }
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

fn shown<'p>(mut run: Run<'p>, property: &'p Property, before: &[PortId]) -> Result<Option<Set<'p>>, Unsupported> {
    match &property.form {
        Form::Step { .. } | Form::Independent { .. } | Form::Persists { .. } => common(run, property, before, Kind::Example),
        Form::Reachable { event } | Form::Bound { event, .. } => {
            for port in before {
                run.arrive(*port)?;
            }
            let (world, packet) = run.arrive(event.port)?;
            let env = start(&mut run.engine, property, &world);
            let seen: Vec<Term> =
                instances(&mut run.engine, &env, event, &world, &packet)?.into_iter().map(|i| i.matches).collect();
            run.wanted.push(run.engine.terms.or(&seen));
            Ok(run.done())
        }
        Form::OnlyAfter { then, after, .. } => {
            for port in before {
                run.arrive(*port)?;
            }
            let (first_world, first) = run.arrive(after.port)?;
            let (world, packet) = run.arrive(then.port)?;
            let env = start(&mut run.engine, property, &world);
            let mut ways = Vec::new();
            for seen in instances(&mut run.engine, &env, then, &world, &packet)? {
                let event = Event::Packet(after.port);
                let is = matched(&mut run.engine, &seen.env, after, &first_world, event, Some(&first))?;
                ways.push(run.engine.terms.and(&[seen.matches, is]));
            }
            run.wanted.push(run.engine.terms.or(&ways));
            Ok(run.done())
        }
        Form::Always { .. } => Ok(None),
    }
}

fn broken<'p>(
    mut run: Run<'p>,
    property: &'p Property,
    before: &[PortId],
    last: Option<PortId>,
) -> Result<Option<Set<'p>>, Unsupported> {
    match &property.form {
        Form::Step { .. } | Form::Independent { .. } | Form::Persists { .. } => {
            common(run, property, before, Kind::Counterexample)
        }
        Form::Always { block, holds } => {
            let Some(last) = last else { return Ok(None) };
            for port in before.iter().chain([&last]) {
                run.arrive(*port)?;
            }
            run.then()?;
            let holds = formula(&mut run.engine, &property.body, block, *holds, &run.world)?;
            run.wanted.push(run.engine.terms.not(holds));
            Ok(run.done())
        }
        Form::OnlyAfter { then, .. } => {
            for port in before {
                run.arrive(*port)?;
            }
            let (world, packet) = run.arrive(then.port)?;
            let env = start(&mut run.engine, property, &world);
            let seen: Vec<Term> =
                instances(&mut run.engine, &env, then, &world, &packet)?.into_iter().map(|i| i.matches).collect();
            run.wanted.push(run.engine.terms.or(&seen));
            Ok(run.done())
        }
        Form::Bound { .. } | Form::Reachable { .. } => Ok(None),
    }
}

/// Forms of which an example and a counterexample differ in the end only.
fn common<'p>(mut run: Run<'p>, property: &'p Property, before: &[PortId], kind: Kind) -> Result<Option<Set<'p>>, Unsupported> {
    match &property.form {
        Form::Step { packets, block, premise, holds } => {
            for port in before {
                run.arrive(*port)?;
            }
            run.then()?;
            let mut env = start(&mut run.engine, property, &run.world);
            for (packet, port) in packets {
                let name = property.body.packets[packet.index()].clone();
                env.packets[packet.index()] = run.engine.arriving(&name);
                run.course.arrivals.push((*port, name));
            }
            let env = run.engine.block(env, block)?;
            run.wanted.push(run.engine.terms.truth(env.locals[premise.index()]));
            let holds = run.engine.terms.truth(env.locals[holds.index()]);
            run.wanted.push(kind.wants(&mut run.engine, holds));
        }
        Form::Independent { observed, from, except } => {
            for port in before {
                run.arrive(*port)?;
            }
            run.then()?;
            let world = run.world.clone();
            let engine = &mut run.engine;
            let env = start(engine, property, &world);
            let (watched, other) = (engine.arriving("observed"), engine.arriving("other"));
            run.course.arrivals = vec![(from.port, "other".to_string()), (observed.port, "observed".to_string())];
            let mut related = Vec::new();
            for seen in instances(engine, &env, observed, &world, &watched)? {
                for disturbs in instances(engine, &seen.env, from, &world, &other)? {
                    related.push(engine.terms.and(&[seen.matches, disturbs.matches]));
                }
            }
            run.wanted.push(engine.terms.or(&related));
            let without = engine.step(&world, &watched, observed.port)?;
            let disturbed = engine.step(&world, &other, from.port)?.after.clone();
            let with = engine.step(&disturbed, &watched, observed.port)?;
            for step in [&without, &with] {
                let excused = dropped(engine, step, except, false);
                run.wanted.push(engine.terms.not(excused));
            }
            let same = same_outcome(engine, &without, &with, engine.program)?;
            run.wanted.push(kind.wants(engine, same));
        }
        Form::Persists { once, then, outcome, since, condition, holds } => {
            let promise = Promise { once, then, outcome, since, condition, holds: *holds };
            let (began, first) = run.arrive(once.port)?;
            let mut meanwhile = Vec::new();
            for port in before {
                let (world, packet) = run.arrive(*port)?;
                meanwhile.push((*port, world, packet));
            }
            let (world, packet) = run.arrive(then.port)?;
            let engine = &mut run.engine;
            let env = start(engine, property, &began);
            let mut ways = Vec::new();
            for begun in instances(engine, &env, promise.once, &began, &first)? {
                let mut clocks = vec![began.now; since.len()];
                let mut parts = vec![begun.matches];
                for (port, at, between) in &meanwhile {
                    for (clock, since) in clocks.iter_mut().zip(since) {
                        let event = Event::Packet(*port);
                        let again = matched(engine, &begun.env, &since.event, at, event, Some(between))?;
                        *clock = engine.terms.ite(again, at.now, *clock);
                    }
                }
                let (premise, conclusion) = promise.kept(engine, &begun.env, &world, &clocks, &packet)?;
                parts.push(premise);
                parts.push(kind.wants(engine, conclusion));
                ways.push(engine.terms.and(&parts));
            }
            run.wanted.push(engine.terms.or(&ways));
        }
        _ => return Ok(None),
    }
    Ok(run.done())
}
