//! The goals of each form of property.

use super::ground::ask;
use super::induct::{Event, Known, describe, events, goal, happen, known, later};
use super::{Asked, Goal, bound};
use crate::sym::{Engine, Env, Packet, StepResult, Sym, Unsupported, World, fits_64_bits};
use crate::term::{Op, Sort, Term};
use grv_lang::ir::spec::EventPattern;
use grv_lang::ir::{Form, Lifetime, PacketId, Program, Property, ReasonId};

/// The goals of a property. Of one that says what can happen: that it cannot.
pub(super) fn goals(program: &Program, property: &Property, given: &Known) -> Vec<Goal> {
    match &property.form {
        Form::Always { .. } => super::induct::invariant(program, property, given),
        Form::Step { .. } => vec![goal("in every state", || step(program, property, given, Wanted::Holds))],
        Form::Independent { .. } => independent(program, property, given),
        Form::Persists { .. } => super::persists::goals(program, property, given),
        Form::OnlyAfter { then, after, within, unless } => {
            let history = History { then, after, within: within.as_ref(), unless: unless.as_ref() };
            only_after(program, property, given, &history)
        }
        Form::Bound { .. } => bound::goals(program, property, given),
        Form::Reachable { event } => vec![goal(&format!("a packet at `{}`", program.ports[event.port.index()].name), || {
            never(program, property, given, event)
        })],
    }
}

/// Whether a step property's premise can hold, as a question: `unsat` is vacuous.
pub(super) fn premise(program: &Program, property: &Property, given: &Known) -> Option<Goal> {
    match &property.form {
        Form::Step { .. } => Some(goal("the premise", || step(program, property, given, Wanted::NoPremise))),
        _ => None,
    }
}

pub(super) fn unsupported(what: &str) -> Goal {
    Goal { part: String::new(), asked: Asked::Unsupported(format!("{what} cannot be put into a formula yet")) }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Holds,
    NoPremise,
}

fn step(program: &Program, property: &Property, given: &Known, wanted: Wanted) -> Result<Asked, Unsupported> {
    let mut engine = Engine::new(program);
    let world = engine.any("s");
    let mut all = known(&mut engine, given, &world)?;
    let Some((premise, holds)) = claim(&mut engine, property, &world)? else { return Ok(Asked::Decided(true)) };
    match wanted {
        Wanted::Holds => {
            all.push(premise);
            ask(&mut engine, &all, holds)
        }
        Wanted::NoPremise => {
            let none = engine.terms.not(premise);
            ask(&mut engine, &all, none)
        }
    }
}

/// What a property says of packets that may arrive in a state: its premise, and what must hold then. The packets have the names that
/// the source gives them. None: it says nothing of the kind.
pub(super) fn claim<'p>(
    engine: &mut Engine<'p>,
    property: &'p Property,
    world: &World,
) -> Result<Option<(Term, Term)>, Unsupported> {
    let Form::Step { packets, block, premise, holds } = &property.form else { return Ok(None) };
    let mut env = start(engine, property, world);
    for (packet, _) in packets {
        env.packets[packet.index()] = engine.arriving(&property.body.packets[packet.index()]);
    }
    let env = engine.block(env, block)?;
    Ok(Some((engine.terms.truth(env.locals[premise.index()]), engine.terms.truth(env.locals[holds.index()]))))
}

/// In no state is the step of a packet an instance of a pattern.
fn never(program: &Program, property: &Property, given: &Known, pattern: &EventPattern) -> Result<Asked, Unsupported> {
    let mut engine = Engine::new(program);
    let world = engine.any("s");
    let all = known(&mut engine, given, &world)?;
    let env = start(&mut engine, property, &world);
    let packet = engine.arriving("event");
    let seen = is_instance(&mut engine, &env, pattern, &world, &packet)?;
    let none = engine.terms.not(seen);
    ask(&mut engine, &all, none)
}

/// A property's variables, nothing bound yet.
pub(super) fn start<'p>(engine: &mut Engine<'p>, property: &'p Property, world: &World) -> Env<'p> {
    let way = engine.terms.bool(true);
    let packets = engine.unbound(&property.body);
    engine.enter(&property.body, None, packets, world.clone(), way)
}

/// A way in which a step is an instance of a pattern.
pub(super) struct Instance<'p> {
    pub(super) matches: Term,
    pub(super) env: Env<'p>,
}

/// The ways in which the step of a packet is an instance of a pattern.
pub(super) fn instances<'p>(
    engine: &mut Engine<'p>,
    env: &Env<'p>,
    pattern: &'p EventPattern,
    world: &World,
    packet: &Packet,
) -> Result<Vec<Instance<'p>>, Unsupported> {
    let mut found = Vec::new();
    let mut bound = env.clone();
    bound.world = world.clone();
    engine.bind(&mut bound, pattern.packet, packet);
    bound.locals[pattern.matches.index()] = Sym::Bool(engine.terms.bool(false));
    let mut guard = engine.terms.bool(true);
    let mut sent: Vec<Option<(Term, Packet)>> = vec![None];
    if pattern.emits.is_some() || pattern.drops.is_some() {
        let step = engine.step(world, packet, pattern.port)?;
        if let Some(reasons) = &pattern.drops {
            guard = dropped(engine, &step, reasons, reasons.is_empty());
        }
        if let Some((on, _)) = pattern.emits {
            sent = step.out.iter().filter(|o| o.port == on).map(|o| Some((o.guard, o.packet.clone()))).collect();
        }
    }
    for sent in sent {
        let mut env = bound.clone();
        let mut parts = vec![guard];
        if let (Some((_, into)), Some((guard, packet))) = (pattern.emits, &sent) {
            engine.bind(&mut env, into, packet);
            parts.push(*guard);
        }
        let env = engine.block(env, &pattern.block)?;
        parts.push(engine.terms.truth(env.locals[pattern.matches.index()]));
        found.push(Instance { matches: engine.terms.and(&parts), env });
    }
    Ok(found)
}

/// Whether the step of a packet is an instance of a pattern in any way.
pub(super) fn is_instance<'p>(
    engine: &mut Engine<'p>,
    env: &Env<'p>,
    pattern: &'p EventPattern,
    world: &World,
    packet: &Packet,
) -> Result<Term, Unsupported> {
    let all: Vec<Term> = instances(engine, env, pattern, world, packet)?.into_iter().map(|i| i.matches).collect();
    Ok(engine.terms.or(&all))
}

pub(super) fn dropped(engine: &mut Engine<'_>, step: &StepResult, reasons: &[ReasonId], any: bool) -> Term {
    let guards: Vec<Term> = step.drops.iter().filter(|d| any || reasons.contains(&d.reason)).map(|d| d.guard).collect();
    engine.terms.or(&guards)
}

/// Whether one of the ways in which an event is an instance of a pattern holds.
pub(super) fn matched<'p>(
    engine: &mut Engine<'p>,
    env: &Env<'p>,
    pattern: &'p EventPattern,
    world: &World,
    event: Event,
    packet: Option<&Packet>,
) -> Result<Term, Unsupported> {
    match (event, packet) {
        (Event::Packet(port), Some(packet)) if port == pattern.port => is_instance(engine, env, pattern, world, packet),
        _ => Ok(engine.terms.bool(false)),
    }
}

/// What becomes of a packet is the same with another packet before it and without.
fn independent(program: &Program, property: &Property, given: &Known) -> Vec<Goal> {
    vec![goal("with and without the other packet", || {
        let mut engine = Engine::new(program);
        let world = engine.any("s");
        let mut all = known(&mut engine, given, &world)?;
        let Some((premises, same)) = independence(&mut engine, property, &world)? else { return Ok(Asked::Decided(true)) };
        all.extend(premises);
        ask(&mut engine, &all, same)
    })]
}

/// The names of the packet that is observed, and of the other.
pub(super) const OBSERVED: (&str, &str) = ("observed", "other");

/// What is said of two packets in a state: premises, and that the one fares the same with the other before it and without. None: nothing.
pub(super) fn independence<'p>(
    engine: &mut Engine<'p>,
    property: &'p Property,
    world: &World,
) -> Result<Option<(Vec<Term>, Term)>, Unsupported> {
    let Form::Independent { observed, from, except } = &property.form else { return Ok(None) };
    let env = start(engine, property, world);
    let (watched, other) = (engine.arriving(OBSERVED.0), engine.arriving(OBSERVED.1));
    let mut related = Vec::new();
    for seen in instances(engine, &env, observed, world, &watched)? {
        for disturbs in instances(engine, &seen.env, from, world, &other)? {
            related.push(engine.terms.and(&[seen.matches, disturbs.matches]));
        }
    }
    let mut premises = vec![engine.terms.or(&related)];
    let without = engine.step(world, &watched, observed.port)?;
    let disturbed = engine.step(world, &other, from.port)?.after.clone();
    let with = engine.step(&disturbed, &watched, observed.port)?;
    for step in [&without, &with] {
        let excused = dropped(engine, step, except, false);
        premises.push(engine.terms.not(excused));
    }
    let same = same_outcome(engine, &without, &with)?;
    Ok(Some((premises, same)))
}

/// Whether two steps of one packet send and drop the same.
fn same_outcome(engine: &mut Engine<'_>, a: &StepResult, b: &StepResult) -> Result<Term, Unsupported> {
    let alike = a.out.len() == b.out.len()
        && a.out.iter().zip(&b.out).all(|(x, y)| x.port == y.port)
        && a.drops.len() == b.drops.len()
        && a.drops.iter().zip(&b.drops).all(|(x, y)| x.reason == y.reason && x.element == y.element);
    if !alike {
        return Err(Unsupported::new("two steps of one packet whose ways differ in shape", engine.program.span));
    }
    let mut parts = Vec::new();
    for (x, y) in a.out.iter().zip(&b.out) {
        parts.push(engine.terms.eq(x.guard, y.guard));
        let same = engine.identical(&x.packet, &y.packet);
        parts.push(engine.terms.implies(x.guard, same));
    }
    for (x, y) in a.drops.iter().zip(&b.drops) {
        parts.push(engine.terms.eq(x.guard, y.guard));
    }
    Ok(engine.terms.and(&parts))
}

/// The parts of B only after A.
struct History<'p> {
    then: &'p EventPattern,
    after: &'p EventPattern,
    within: Option<&'p grv_lang::ir::Expr>,
    /// What undoes A.
    unless: Option<&'p EventPattern>,
}

/// B only after A: whatever is B in a state after an event was B before it, and the event does not undo A; or the event is A.
fn only_after(program: &Program, property: &Property, given: &Known, history: &History<'_>) -> Vec<Goal> {
    let History { then, after, within, unless } = *history;
    let mut goals = vec![goal("at the start", || {
        let mut engine = Engine::new(program);
        let world = engine.initial();
        let env = start(&mut engine, property, &world);
        let mut all = Vec::new();
        let now = engine.terms.var("later", Sort::Int);
        let at = later(&mut engine, &world, now, &mut all)?;
        let packet = engine.arriving("then");
        let seen = is_instance(&mut engine, &env, then, &at, &packet)?;
        let none = engine.terms.not(seen);
        ask(&mut engine, &all, none)
    })];
    for event in events(program) {
        goals.push(goal(&describe(program, event), || {
            let mut engine = Engine::new(program);
            let world = engine.any("s");
            let mut all = known(&mut engine, given, &world)?;
            let env = start(&mut engine, property, &world);
            let happened = happen(&mut engine, &world, event, &mut all)?;
            let now = engine.terms.var("at last", Sort::Int);
            let unmoved = later(&mut engine, &world, now, &mut all)?;
            let at = engine.when(&happened.after, &unmoved, &mut all);
            let packet = engine.arriving("then");
            let mut goals = Vec::new();
            for seen in instances(&mut engine, &env, then, &at, &packet)? {
                let is_a = matched(&mut engine, &seen.env, after, &world, event, happened.packet.as_ref().map(|(p, _)| p))?;
                let mut before = vec![];
                let sent = then.emits.map(|(_, into)| seen.env.packets[into.index()].clone());
                let mut earlier = vec![unmoved.clone()];
                if within.is_none() {
                    earlier.push(world.clone());
                }
                for earlier in earlier {
                    for then in instances(&mut engine, &env, then, &earlier, &packet)? {
                        let same = match (&sent, pattern_sent(&then.env, property)) {
                            (Some(a), Some(into)) => engine.identical(a, &then.env.packets[into.index()]),
                            _ => engine.terms.bool(true),
                        };
                        before.push(engine.terms.and(&[then.matches, same]));
                    }
                }
                let fresh = match within {
                    None => is_a,
                    Some(expr) => {
                        let most = engine.expr(&seen.env, expr, property.span)?;
                        let most = engine.terms.as_integer(most);
                        let ago = engine.terms.op(Op::IntSub, now, world.now);
                        let soon = engine.terms.op(Op::IntLe, ago, most);
                        engine.terms.and(&[is_a, soon])
                    }
                };
                let before = engine.terms.or(&before);
                let since = match unless {
                    None => before,
                    Some(unless) => {
                        let packet = happened.packet.as_ref().map(|(packet, _)| packet);
                        let whole = undoes_nothing(&mut engine, &seen.env, (after, unless), (&world, event, packet), &mut all)?;
                        engine.terms.and(&[before, whole])
                    }
                };
                let since = engine.terms.or(&[since, fresh]);
                goals.push(engine.terms.implies(seen.matches, since));
            }
            let goals = engine.terms.and(&goals);
            ask(&mut engine, &all, goals)
        }));
    }
    goals
}

/// Whether an event undoes no A that there may have been, in a state long ago, of which nothing else matters any more.
fn undoes_nothing<'p>(
    engine: &mut Engine<'p>,
    env: &Env<'p>,
    (after, unless): (&'p EventPattern, &'p EventPattern),
    (world, event, packet): (&World, Event, Option<&Packet>),
    given: &mut Vec<Term>,
) -> Result<Term, Unsupported> {
    let long_ago = engine.any("began");
    given.push(engine.terms.op(Op::IntLe, long_ago.now, world.now));
    let first = engine.arriving("first");
    let mut whole = Vec::new();
    for begun in instances(engine, env, after, &long_ago, &first)? {
        let undone = matched(engine, &begun.env, unless, world, event, packet)?;
        let undone = engine.terms.and(&[begun.matches, undone]);
        whole.push(engine.terms.not(undone));
    }
    Ok(engine.terms.and(&whole))
}

/// The packet that the first pattern of `only after` says is sent.
fn pattern_sent(_env: &Env<'_>, property: &Property) -> Option<PacketId> {
    match &property.form {
        Form::OnlyAfter { then, .. } => then.emits.map(|(_, into)| into),
        _ => None,
    }
}

/// The goals of what a program is obliged to by itself: what must hold wherever a step comes by.
pub(super) fn automatic(program: &Program, given: &Known) -> Vec<(String, grv_lang::span::Span, Goal)> {
    let mut sites: Vec<(String, grv_lang::span::Span, Vec<(Event, usize)>)> = Vec::new();
    let mut failed = Vec::new();
    for event in events(program) {
        let mut engine = Engine::new(program);
        match obliged(&mut engine, given, event) {
            Ok((_, all)) => {
                for (index, obliged) in all.iter().enumerate() {
                    match sites.iter_mut().find(|(what, span, _)| *what == obliged.what && *span == obliged.span) {
                        Some((_, _, at)) => at.push((event, index)),
                        None => sites.push((obliged.what.clone(), obliged.span, vec![(event, index)])),
                    }
                }
            }
            Err(why) => failed.push((
                "what a step must not do".to_string(),
                why.span,
                Goal { part: describe(program, event), asked: Asked::Unsupported(why.to_string()) },
            )),
        }
    }
    let mut goals = Vec::new();
    // Where nothing is open, what is known of the clock and of durations has decided it, if all steps were looked at.
    for table in program.tables.iter().filter(|t| matches!(t.lifetime, Lifetime::Idle(_) | Lifetime::Fixed(_))) {
        let what = fits_64_bits(table);
        if !sites.iter().any(|(name, ..)| *name == what) {
            let asked = match failed.first() {
                None => Asked::Decided(true),
                Some(_) => Asked::Unsupported("what some event does".to_string()),
            };
            goals.push((what, table.span, Goal { part: "in every step".to_string(), asked }));
        }
    }
    goals.extend(failed);
    for (what, span, at) in sites {
        for (event, index) in at {
            let one = goal(&describe(program, event), || {
                let mut engine = Engine::new(program);
                let (mut given, all) = obliged(&mut engine, given, event)?;
                let obliged = &all[index];
                given.push(obliged.guard);
                ask(&mut engine, &given, obliged.holds)
            });
            goals.push((what.clone(), span, one));
        }
    }
    goals
}

type Obligations = (Vec<Term>, Vec<crate::sym::Obliged>);

/// What must hold during an event, and what is known then.
fn obliged(engine: &mut Engine<'_>, given: &Known, event: Event) -> Result<Obligations, Unsupported> {
    engine.obliging = true;
    let world = engine.any("s");
    let mut all = known(engine, given, &world)?;
    let happened = happen(engine, &world, event, &mut all)?;
    let obliged = match &happened.packet {
        Some((_, step)) => step.obliged.clone(),
        None => engine.take_obliged(),
    };
    Ok((all, obliged))
}
