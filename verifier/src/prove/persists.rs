//! `once A then B for as long as C`: kept from A on, and behind every event.
//!
//! The runtime may feed anything at any time. So the promise is shown for whatever fed tables hold (but where it speaks of them
//! itself); and taken for granted, before an event, with entries wherever B's packet looks: a packet looks at a few entries, so that
//! some contents are the same to it. A packet that is dropped because nothing was fed says nothing about the rest of the state.

use super::forms::{dropped, instances, matched, start};
use super::ground::ask;
use super::induct::{Event, Known, describe, events, goal, happen, known, later};
use super::{Asked, Goal};
use crate::sym::{Engine, Env, Open, Packet, Sym, Unsupported, World, tables_of};
use crate::term::{Op, Sort, Term};
use grv_lang::ir::spec::{EventPattern, Outcome, Since};
use grv_lang::ir::{Block, Form, LocalId, Program, Property, Role, TableId};

/// The parts of `once A then B for as long as C`.
pub(super) struct Promise<'p> {
    pub(super) once: &'p EventPattern,
    pub(super) then: &'p EventPattern,
    pub(super) outcome: &'p Outcome,
    pub(super) since: &'p [Since],
    pub(super) condition: &'p Block,
    pub(super) holds: LocalId,
}

impl<'p> Promise<'p> {
    /// Whether C holds, and in a state B's packet fares as it must: `premise` and `conclusion`.
    pub(super) fn kept(
        &self,
        engine: &mut Engine<'p>,
        env: &Env<'p>,
        world: &World,
        clocks: &[Term],
        packet: &Packet,
    ) -> Result<(Term, Term), Unsupported> {
        let condition = self.condition(engine, env, world, clocks, Some(packet))?;
        let (mut premises, mut conclusions) = (Vec::new(), Vec::new());
        for seen in instances(engine, env, self.then, world, packet)? {
            premises.push(seen.matches);
            let step = engine.step(world, packet, self.then.port)?;
            let mut ends = vec![dropped(engine, &step, &self.outcome.drops, false)];
            if let Some(emission) = &self.outcome.emits {
                for output in step.out.iter().filter(|o| o.port == emission.port) {
                    let mut env = seen.env.clone();
                    engine.bind(&mut env, emission.packet, &output.packet);
                    env.locals[emission.matches.index()] = Sym::Bool(engine.terms.bool(false));
                    let env = engine.block(env, &emission.block)?;
                    let matches = engine.terms.truth(env.locals[emission.matches.index()]);
                    ends.push(engine.terms.and(&[output.guard, matches]));
                }
            }
            let ends = engine.terms.or(&ends);
            conclusions.push(engine.terms.implies(seen.matches, ends));
        }
        let premise = engine.terms.or(&premises);
        let conclusion = engine.terms.and(&conclusions);
        Ok((engine.terms.and(&[condition, premise]), conclusion))
    }

    /// C, with the times of the last events that it asks for.
    fn condition(
        &self,
        engine: &mut Engine<'p>,
        env: &Env<'p>,
        world: &World,
        clocks: &[Term],
        packet: Option<&Packet>,
    ) -> Result<Term, Unsupported> {
        let mut env = env.clone();
        env.world = world.clone();
        if let Some(packet) = packet {
            engine.bind(&mut env, self.then.packet, packet);
            // C may speak of the headers that B's pattern names.
            env = engine.block(env, &self.then.block)?;
        }
        for (since, last) in self.since.iter().zip(clocks) {
            env.locals[since.elapsed.index()] = Sym::Int(engine.terms.op(Op::IntSub, world.now, *last));
        }
        let env = engine.block(env, self.condition)?;
        Ok(engine.terms.truth(env.locals[self.holds.index()]))
    }
}

/// The goals of `once A then B for as long as C`.
pub(super) fn goals(program: &Program, property: &Property, given: &Known) -> Vec<Goal> {
    let Form::Persists { once, then, outcome, since, condition, holds } = &property.form else { return Vec::new() };
    let promise = Promise { once, then, outcome, since, condition, holds: *holds };
    let mut goals = vec![goal("from the event that begins it", || {
        let mut engine = Engine::new(program);
        let world = engine.any("s");
        let mut all = known(&mut engine, given, &world)?;
        let env = start(&mut engine, property, &world);
        let first = engine.arriving("first");
        let mut kept = Vec::new();
        for begun in instances(&mut engine, &env, promise.once, &world, &first)? {
            let after = engine.step(&world, &first, promise.once.port)?.after.clone();
            let now = engine.terms.var("later", Sort::Int);
            let at = later(&mut engine, &after, now, &mut all)?;
            let clocks = vec![world.now; promise.since.len()];
            let packet = engine.arriving("then");
            let at = fed_with(&mut engine, property, &at, Feed::Anything);
            let (premise, conclusion) = promise.kept(&mut engine, &begun.env, &at, &clocks, &packet)?;
            let premise = engine.terms.and(&[begun.matches, premise]);
            kept.push(engine.terms.implies(premise, conclusion));
        }
        let kept = engine.terms.and(&kept);
        ask(&mut engine, &all, kept)
    })];
    for event in events(program) {
        goals.push(goal(&format!("{}, meanwhile", describe(program, event)), || {
            kept_by(program, property, given, &promise, event)
        }));
    }
    goals
}

/// The promise, which is kept in a state whatever comes then, is kept behind an event too.
fn kept_by(
    program: &Program,
    property: &Property,
    given: &Known,
    promise: &Promise<'_>,
    event: Event,
) -> Result<Asked, Unsupported> {
    let mut engine = Engine::new(program);
    // What began it, in a state long ago, of which nothing else matters any more.
    let long_ago = engine.any("began");
    let env = start(&mut engine, property, &long_ago);
    let first = engine.arriving("first");
    let begun = instances(&mut engine, &env, promise.once, &long_ago, &first)?;
    let world = engine.any("s");
    let mut all = known(&mut engine, given, &world)?;
    all.push(engine.terms.op(Op::IntLe, long_ago.now, world.now));
    let happened = happen(&mut engine, &world, event, &mut all)?;
    let now = engine.terms.var("at last", Sort::Int);
    let packet = engine.arriving("then");
    let mut goals = Vec::new();
    for begun in begun {
        let mut premises = vec![begun.matches];
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for (number, since) in promise.since.iter().enumerate() {
            let last = engine.terms.var(&format!("last {number}"), Sort::Int);
            premises.push(engine.terms.op(Op::IntLe, long_ago.now, last));
            premises.push(engine.terms.op(Op::IntLe, last, world.now));
            let again = matched(&mut engine, &begun.env, &since.event, &world, event, happened.packet.as_ref().map(|(p, _)| p))?;
            before.push(last);
            after.push(engine.terms.ite(again, world.now, last));
        }
        // It has not lapsed when the event comes, and holds then, and later.
        let lasted = promise.condition(&mut engine, &begun.env, &world, &before, Some(&packet))?;
        premises.push(lasted);
        let opened = engine.opened.len();
        let known = fed_with(&mut engine, property, &world, Feed::Everything);
        let (premise, conclusion) = promise.kept(&mut engine, &begun.env, &known, &before, &packet)?;
        premises.push(engine.terms.implies(premise, conclusion));
        let mut times = Vec::new();
        let unmoved = later(&mut engine, &world, now, &mut times)?;
        let clocks = unmoved.clone();
        let unmoved = fed_with(&mut engine, property, &unmoved, Feed::Everything);
        let (premise, conclusion) = promise.kept(&mut engine, &begun.env, &unmoved, &before, &packet)?;
        let held = engine.terms.implies(premise, conclusion);
        times.push(held);
        // It is kept whatever is left open: so it is where headers that fit find room.
        for open in engine.opened.get(opened..).unwrap_or_default() {
            if let Open::Header { room, fits } = open.open {
                premises.push(engine.terms.implies(fits, room));
            }
        }
        // Time that has passed already cannot be looked at from before.
        let held = engine.terms.and(&times);
        premises.push(held);
        let at = engine.when(&happened.after, &clocks, &mut premises);
        let at = fed_with(&mut engine, property, &at, Feed::Anything);
        let (premise, conclusion) = promise.kept(&mut engine, &begun.env, &at, &after, &packet)?;
        premises.push(premise);
        let premises = engine.terms.and(&premises);
        goals.push(engine.terms.implies(premises, conclusion));
    }
    let goals = engine.terms.and(&goals);
    ask(&mut engine, &all, goals)
}

/// What fed tables hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Feed {
    Anything,
    /// Every key has an entry.
    Everything,
}

/// A state with other contents of fed tables.
fn fed_with(engine: &mut Engine<'_>, property: &Property, world: &World, feed: Feed) -> World {
    let Form::Persists { once, then, outcome, since, condition, .. } = &property.form else { return world.clone() };
    let mut blocks = vec![&once.block, &then.block, condition];
    blocks.extend(outcome.emits.as_ref().map(|emission| &emission.block));
    blocks.extend(since.iter().map(|since| &since.event.block));
    let spoken_of: Vec<TableId> = blocks.into_iter().flat_map(|block| tables_of(block)).collect();
    let mut world = world.clone();
    for (id, table) in (0..).map(TableId).zip(&engine.program.tables) {
        if table.role == Role::Feed && !spoken_of.contains(&id) {
            match feed {
                Feed::Anything => engine.feed_anything(&mut world, id),
                Feed::Everything => engine.feed_everything(&mut world, id),
            }
        }
    }
    world
}
