//! What holds of all states, and the events that lead from one to the next.

use super::ground::ask;
use super::{Asked, Goal};
use crate::sym::{Engine, Packet, Says, StepResult, Unsupported, World};
use crate::term::{Op, Sort, Term};
use grv_lang::ir::{Block, Body, Form, Lifetime, LocalId, PortId, Program, Property, Role, TableId, TableKind};
use std::rc::Rc;

/// What may happen between two states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// A packet arrives at a port.
    Packet(PortId),
    /// Time passes.
    Time,
    /// A timer fires: of an element, by its number.
    Timer(u32, u32),
    /// A new generation of control tables.
    Update,
    /// The runtime sets or removes an entry of a fed table.
    Feed(TableId),
}

/// All kinds of events of a box.
pub(crate) fn events(program: &Program) -> Vec<Event> {
    let mut events: Vec<Event> =
        (0..).map(PortId).zip(&program.ports).filter(|(_, p)| p.entry.is_some()).map(|(id, _)| Event::Packet(id)).collect();
    events.push(Event::Time);
    for (element, declared) in (0..).zip(&program.elements) {
        events.extend((0..declared.timers.len() as u32).map(|timer| Event::Timer(element, timer)));
    }
    if program.tables.iter().any(|t| t.role == Role::Control) {
        events.push(Event::Update);
    }
    let feeds = (0..).map(TableId).zip(&program.tables).filter(|(_, t)| t.role == Role::Feed);
    events.extend(feeds.map(|(id, _)| Event::Feed(id)));
    events
}

/// An event in words.
pub(super) fn describe(program: &Program, event: Event) -> String {
    match event {
        Event::Packet(port) => format!("a packet at `{}`", program.ports[port.index()].name),
        Event::Time => "time passes".to_string(),
        Event::Timer(element, _) => format!("a timer of `{}`", program.elements[element as usize].name),
        Event::Update => "an update".to_string(),
        Event::Feed(table) => format!("an entry of `{}` is fed", program.tables[table.index()].name),
    }
}

/// What is taken for granted in every state: invariants that are proved beside it, and the conditions on control tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// Indices of properties of the form `always`.
    pub(super) invariants: Vec<usize>,
    /// What is said of all entries of tables, and follows from how they are used.
    pub(super) natural: Vec<Natural>,
    /// Indices of conditions on control tables that hold from the start.
    pub(super) requires: Vec<usize>,
    /// Whether the states of questions are to be shown.
    pub(super) shows: bool,
}

/// Something that holds of tables of a kind if they are used as one would expect: tried for every box, and taken for granted where
/// it is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Natural {
    /// Entries share the deadlines of live entries of the table that they name.
    Shares(TableId),
    /// Buckets hold what buckets hold.
    Bucket(TableId),
}

impl Natural {
    /// Those of a box.
    pub(super) fn of(program: &Program) -> Vec<Natural> {
        let tables = (0..).map(TableId).zip(&program.tables);
        tables
            .filter_map(|(id, table)| match (&table.lifetime, &table.kind) {
                (Lifetime::IdleWith { .. }, _) => Some(Natural::Shares(id)),
                (_, TableKind::Bucket { .. }) => Some(Natural::Bucket(id)),
                _ => None,
            })
            .collect()
    }

    fn formula(self, engine: &mut Engine<'_>, world: &World) -> Term {
        match self {
            Natural::Shares(table) => engine.all_entries(world, table, Says::Shares),
            Natural::Bucket(table) => engine.all_entries(world, table, Says::Bucket),
        }
    }

    /// The goals that make it an invariant.
    pub(super) fn goals(self, program: &Program, given: &Known) -> Vec<Goal> {
        inductive(program, given, |engine, world| Ok(self.formula(engine, world)))
    }
}

/// The state after an event, and the step, if it was a packet's.
pub(crate) struct Happened {
    pub(crate) after: World,
    pub(crate) packet: Option<(Packet, Rc<StepResult>)>,
}

/// The variables of a specification in a state, and a truth value that its block computes.
pub(crate) fn formula<'p>(
    engine: &mut Engine<'p>,
    body: &'p Body,
    block: &'p Block,
    holds: LocalId,
    world: &World,
) -> Result<Term, Unsupported> {
    let way = engine.terms.bool(true);
    let packets = engine.unbound(body);
    let env = engine.enter(body, None, packets, world.clone(), way);
    let env = engine.block(env, block)?;
    Ok(engine.terms.truth(env.locals[holds.index()]))
}

/// What is known of a state.
pub(super) fn known<'p>(engine: &mut Engine<'p>, known: &Known, world: &World) -> Result<Vec<Term>, Unsupported> {
    let program = engine.program;
    let mut all = Vec::new();
    engine.shows = known.shows;
    for index in &known.invariants {
        let property = &program.properties[*index];
        if let Form::Always { block, holds } = &property.form {
            all.push(formula(engine, &property.body, block, *holds, world)?);
        }
    }
    for natural in &known.natural {
        all.push(natural.formula(engine, world));
    }
    all.extend(requires(engine, &known.requires, world)?);
    Ok(all)
}

/// Properties that are invariants, by index, in a state.
pub(crate) fn invariants<'p>(engine: &mut Engine<'p>, which: &[usize], world: &World) -> Result<Vec<Term>, Unsupported> {
    known(engine, &Known { invariants: which.to_vec(), ..Known::default() }, world)
}

/// Conditions on control tables in a state.
pub(super) fn requires<'p>(engine: &mut Engine<'p>, which: &[usize], world: &World) -> Result<Vec<Term>, Unsupported> {
    let program = engine.program;
    let mut all = Vec::new();
    for index in which {
        let require = &program.requires[*index];
        let way = engine.terms.bool(true);
        let env = engine.enter(&require.body, None, Vec::new(), world.clone(), way);
        let env = engine.block(env, &require.body.block)?;
        all.push(engine.condition(&env, &require.holds, require.span)?);
    }
    Ok(all)
}

/// The state after an event of which nothing is known but its kind; what is known of it is added to `given`.
pub(crate) fn happen<'p>(
    engine: &mut Engine<'p>,
    world: &World,
    event: Event,
    given: &mut Vec<Term>,
) -> Result<Happened, Unsupported> {
    let program = engine.program;
    let after = match event {
        Event::Packet(port) => {
            let packet = engine.arriving("event");
            let step = engine.step(world, &packet, port)?;
            return Ok(Happened { after: step.after.clone(), packet: Some((packet, step)) });
        }
        Event::Time => {
            let now = engine.terms.var("later", Sort::Int);
            engine.time_bounds(now);
            let forward = engine.terms.op(Op::IntLe, world.now, now);
            given.push(forward);
            engine.later(world, now, program.span)?
        }
        Event::Timer(element, timer) => {
            let body = &program.elements[element as usize].timers[timer as usize].body;
            engine.aside(grv_lang::ir::ElementId(element), body, world)?
        }
        Event::Update => {
            let mut after = world.clone();
            for (id, _) in (0..).map(TableId).zip(&program.tables).filter(|(_, t)| t.role == Role::Control) {
                let table = engine.any_table("new", id);
                engine.changed(&mut after, id, |t| *t = table);
            }
            let all: Vec<usize> = (0..program.requires.len()).collect();
            let held = requires(engine, &all, &after)?;
            given.extend(held);
            for (id, element) in (0..).map(grv_lang::ir::ElementId).zip(&program.elements) {
                if let Some(body) = &element.update {
                    after = engine.aside(id, body, &after)?;
                }
            }
            after
        }
        Event::Feed(table) => {
            if !matches!(program.tables[table.index()].lifetime, Lifetime::Forever) {
                return Err(Unsupported::new("a fed table with lifetimes", program.tables[table.index()].span));
            }
            engine.fed(world, table).after
        }
    };
    Ok(Happened { after, packet: None })
}

/// A later state, at any time.
pub(super) fn later<'p>(engine: &mut Engine<'p>, world: &World, now: Term, given: &mut Vec<Term>) -> Result<World, Unsupported> {
    engine.time_bounds(now);
    given.push(engine.terms.op(Op::IntLe, world.now, now));
    engine.later(world, now, engine.program.span)
}

/// The goals that make a property of the form `always` an invariant.
pub(super) fn invariant(program: &Program, property: &Property, given: &Known) -> Vec<Goal> {
    let Form::Always { block, holds } = &property.form else { return Vec::new() };
    inductive(program, given, |engine, world| formula(engine, &property.body, block, *holds, world))
}

/// The goals that make a formula an invariant: it holds at the start, and is kept by every event.
fn inductive<'p>(
    program: &'p Program,
    given: &Known,
    says: impl Fn(&mut Engine<'p>, &World) -> Result<Term, Unsupported>,
) -> Vec<Goal> {
    let mut goals = vec![goal("at the start", || {
        let mut engine = Engine::new(program);
        let world = engine.initial();
        let holds = says(&mut engine, &world)?;
        ask(&mut engine, &[], holds)
    })];
    for event in events(program) {
        goals.push(goal(&describe(program, event), || {
            let mut engine = Engine::new(program);
            let world = engine.any("s");
            let mut all = known(&mut engine, given, &world)?;
            let happened = happen(&mut engine, &world, event, &mut all)?;
            let holds = says(&mut engine, &happened.after)?;
            ask(&mut engine, &all, holds)
        }));
    }
    goals
}

/// A goal, or why there is none.
pub(super) fn goal(part: &str, make: impl FnOnce() -> Result<Asked, Unsupported>) -> Goal {
    let asked = make().unwrap_or_else(|why| Asked::Unsupported(why.to_string()));
    Goal { part: part.to_string(), asked }
}
