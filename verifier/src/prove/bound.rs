//! `bound`: a sum over every interval, shown by way of a token bucket.

use super::Goal;
use super::forms::{instances, start, unsupported};
use super::ground::ask;
use super::induct::{Event, Known, describe, events, goal, happen, known};
use crate::sym::{Engine, Sym, Unsupported, World};
use crate::term::{Op, Sort, Term};
use grv_lang::ir::{Form, Program, Property, TableId, TableKind};
use grv_lang::span::Span;

/// A sum over every interval: with a token bucket, what has passed and what is left never exceed what came in.
pub(super) fn goals(program: &Program, property: &Property, given: &Known) -> Vec<Goal> {
    let Form::Bound { event: pattern, amount, key, interval, block, limit } = &property.form else { return Vec::new() };
    let buckets = (0..)
        .map(TableId)
        .zip(&program.tables)
        .filter(|(_, t)| matches!(t.kind, TableKind::Bucket { .. }) && t.key.len() == key.len());
    let [table] = buckets.map(|(id, _)| id).collect::<Vec<_>>()[..] else {
        return vec![unsupported("a bound without exactly one token bucket of the same key")];
    };
    let any_key = |engine: &mut Engine<'_>| engine.key_of(table, "of");
    let mut goals = vec![goal("when an interval begins", || {
        let mut engine = Engine::new(program);
        let world = engine.any("s");
        let all = known(&mut engine, given, &world)?;
        let of = any_key(&mut engine);
        let (tokens, burst, _) = engine.bucket(&world, table, &of, property.span)?;
        let holds = engine.terms.op(Op::IntLe, tokens, burst);
        ask(&mut engine, &all, holds)
    })];
    for event in events(program) {
        goals.push(goal(&describe(program, event), || {
            let Interval { mut engine, world, mut all, of, began, sum } = under_way(program, property, given, table)?;
            let happened = happen(&mut engine, &world, event, &mut all)?;
            let env = start(&mut engine, property, &world);
            let mut after_sum = sum;
            if let (Event::Packet(port), Some((packet, _))) = (event, &happened.packet)
                && port == pattern.port
            {
                for seen in instances(&mut engine, &env, pattern, &world, packet)? {
                    let keys = engine.exprs(&seen.env, key, property.span)?;
                    let own = engine.terms.all_equal(&keys, &of);
                    let counts = engine.terms.and(&[seen.matches, own]);
                    let amount = engine.expr(&seen.env, amount, property.span)?;
                    let amount = engine.terms.as_integer(amount);
                    let more = engine.terms.op(Op::IntAdd, after_sum, amount);
                    after_sum = engine.terms.ite(counts, more, after_sum);
                }
            }
            let holds = balance(&mut engine, &happened.after, (table, &of, property.span), began, after_sum)?;
            ask(&mut engine, &all, holds)
        }));
    }
    goals.push(goal("what the balance says of the limit", || {
        let Interval { mut engine, world, mut all, of, began, sum } = under_way(program, property, given, table)?;
        let zero = engine.terms.int(0);
        let (tokens, ..) = engine.bucket(&world, table, &of, property.span)?;
        all.push(engine.terms.op(Op::IntLe, zero, tokens));
        let mut env = start(&mut engine, property, &world);
        env.locals[interval.index()] = Sym::Int(engine.terms.op(Op::IntSub, world.now, began));
        let env = engine.block(env, block)?;
        let limit = engine.expr(&env, limit, property.span)?;
        let limit = engine.terms.as_integer(limit);
        let holds = engine.terms.op(Op::IntLe, sum, limit);
        ask(&mut engine, &all, holds)
    }));
    // The tokens are not less than none: said above, kept by all events.
    for event in events(program) {
        goals.push(goal(&format!("tokens, {}", describe(program, event)), || {
            let mut engine = Engine::new(program);
            let world = engine.any("s");
            let mut all = known(&mut engine, given, &world)?;
            let of = any_key(&mut engine);
            let zero = engine.terms.int(0);
            let (tokens, ..) = engine.bucket(&world, table, &of, property.span)?;
            all.push(engine.terms.op(Op::IntLe, zero, tokens));
            let happened = happen(&mut engine, &world, event, &mut all)?;
            let (tokens, ..) = engine.bucket(&happened.after, table, &of, property.span)?;
            let holds = engine.terms.op(Op::IntLe, zero, tokens);
            ask(&mut engine, &all, holds)
        }));
    }
    goals
}

/// Units of a bucket in a byte.
const UNIT: i128 = 8_000_000_000;

/// An interval under way in any state.
struct Interval<'p> {
    engine: Engine<'p>,
    world: World,
    /// What is known, the balance among it.
    all: Vec<Term>,
    /// The key whose amounts are added up.
    of: Vec<Sym>,
    began: Term,
    /// What has passed since.
    sum: Term,
}

fn under_way<'p>(
    program: &'p Program,
    property: &'p Property,
    given: &Known,
    table: TableId,
) -> Result<Interval<'p>, Unsupported> {
    let mut engine = Engine::new(program);
    let world = engine.any("s");
    let mut all = known(&mut engine, given, &world)?;
    let of = engine.key_of(table, "of");
    let (began, sum) = (engine.terms.var("began", Sort::Int), engine.terms.var("passed", Sort::Int));
    let zero = engine.terms.int(0);
    for (a, b) in [(zero, sum), (zero, began), (began, world.now)] {
        all.push(engine.terms.op(Op::IntLe, a, b));
    }
    all.push(balance(&mut engine, &world, (table, &of, property.span), began, sum)?);
    Ok(Interval { engine, world, all, of, began, sum })
}

/// What has passed since the interval began, and what may pass now, are not more than what came in.
fn balance(
    engine: &mut Engine<'_>,
    world: &World,
    (table, of, span): (TableId, &[Sym], Span),
    began: Term,
    sum: Term,
) -> Result<Term, Unsupported> {
    let (tokens, burst, rate) = engine.bucket(world, table, of, span)?;
    let unit = engine.terms.int(UNIT);
    let passed = engine.terms.op(Op::IntMul, sum, unit);
    let left = engine.terms.op(Op::IntAdd, passed, tokens);
    let right = engine.earned(burst, rate, began, world.now);
    Ok(engine.terms.op(Op::IntLe, left, right))
}
