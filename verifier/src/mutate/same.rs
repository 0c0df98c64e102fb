//! Changes that change nothing: every event does the same as before, in every state.
//!
//! Both programs are put into formulas with the same names: the same state, the same packet, the same of what the rules leave open. If
//! what is known of these amounts to the same too, then the one can do what the other can if packets, drops and states afterwards are
//! equal. Often they are so word for word; where they are not, a solver is asked. States are such as the invariants allow that are proved of
//! the one: as long as both do the same, these are the states of the other too.
//!
//! Checksums that are updated by other words have names of their own. What an update gives is up to the old checksum and how far it moves:
//! so where these are the same, the new ones are; elsewhere one of the programs does not look at it, or they differ.

use crate::desk::{Failure, Seat};
use crate::prove::{Event, Options, events, follows, happen, invariants};
use crate::sym::{
    Change, Dropped, Engine, Env, Fact, Log, Obliged, Output, Quant, TableState, Unsupported, Update, World, is_keyed,
};
use crate::term::{Node, Op, Term, Terms};
use grv_lang::ir::{ElementId, Program, ReasonId, TableId, TableKind};
use std::collections::BTreeMap;

/// Whether every event does the same to both, where some properties are known to be invariants of the one.
pub(super) fn do_the_same(
    (a, known): (&Program, &[usize]),
    b: &Program,
    seat: &mut Seat<'_>,
    options: &Options,
) -> Result<bool, Failure> {
    let all = events(a);
    if all != events(b) {
        return Ok(false);
    }
    for event in all {
        if !does_the_same((a, known), b, event, seat, options)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn does_the_same(
    (a, invariants): (&Program, &[usize]),
    b: &Program,
    event: Event,
    seat: &mut Seat<'_>,
    options: &Options,
) -> Result<bool, Failure> {
    let begin = (Terms::new(), Vec::new());
    let Ok((mut engine, first)) = done(a, invariants, event, begin) else { return Ok(false) };
    let known = known(&engine);
    let facts = std::mem::take(&mut engine.facts);
    let updates = std::mem::take(&mut engine.checksums);
    let Ok((mut engine, second)) = done(b, invariants, event, (engine.terms, updates)) else { return Ok(false) };
    if known != self::known(&engine) || first.given != second.given {
        return Ok(false);
    }
    // What is known of what is left open must amount to the same; what is known of states and packets holds of all of them, and what is
    // known of checksums that only one of them has can be so whatever the other does.
    let others = engine.facts.clone();
    let checksums: Vec<Term> = engine.checksums.iter().map(|(_, new)| *new).collect();
    let only = |some: &[Fact], in_both: &[Fact]| -> Vec<Term> {
        let open = |fact: &&Fact| !in_both.contains(fact) && !fact.about.iter().any(|about| checksums.contains(about));
        let some = some.iter().filter(open).map(|fact| fact.holds);
        some.filter(|holds| speaks_of(&engine.terms, *holds, &['!']) && !is_of_a_time(&engine.terms, *holds)).collect()
    };
    let (missing, more) = (only(&facts, &others), only(&others, &facts));
    let Ok(Some(same)) = equal(&mut engine, &first, &second) else { return Ok(false) };
    let same = engine.terms.and(&[&more[..], &[same]].concat());
    let missing = engine.terms.and(&missing);
    // Symbols that are numbered by writes to packets mean something else in each.
    if [same, missing].iter().any(|part| speaks_of(&engine.terms, *part, &['~', '@'])) {
        return Ok(false);
    }
    engine.facts.retain(|fact| !more.contains(&fact.holds));
    engine.facts.extend(facts.iter().filter(|fact| !others.contains(fact)).cloned());
    if !follows(&mut engine, &first.given, same, seat, options)? {
        return Ok(false);
    }
    engine.facts = others;
    follows(&mut engine, &first.given, missing, seat, options)
}

/// Whether a formula says no more than that a deadline of the state is no negative number, as none is.
fn is_of_a_time(terms: &Terms, holds: Term) -> bool {
    let Node::Op(Op::IntLe, zero, time) = terms.node(holds) else { return false };
    let Node::Apply(symbol, _) = terms.node(*time) else { return false };
    let name = &terms.declared(*symbol).name;
    terms.as_int(*zero) == Some(0) && !name.contains('!') && (name.ends_with(".deadline") || name.ends_with(".at"))
}

/// Whether a term speaks of symbols with one of these in their names: `!` is of those that stand for what the rules leave open.
fn speaks_of(terms: &Terms, term: Term, marks: &[char]) -> bool {
    let marked =
        |part: &Term| matches!(terms.node(*part), Node::Apply(symbol, _) if terms.declared(*symbol).name.contains(marks));
    terms.cone(&[term]).iter().any(marked)
}

/// What facts will follow from, written out: formulas over all entries, longest matches, deadlines.
fn known(engine: &Engine<'_>) -> String {
    let quants = engine.quants.iter().map(|Quant { quantifier, over, says, env, .. }| {
        let Env { locals, found, packets, world, way, .. } = &**env;
        format!("{quantifier:?} {over:?} {says:?} {locals:?} {found:?} {packets:?} {world:?} {way:?}")
    });
    let quants: Vec<String> = quants.collect();
    format!("{quants:?} {:?} {:?}", engine.matches, engine.slots)
}

/// What an event does.
struct Done {
    given: Vec<Term>,
    out: Vec<Output>,
    drops: Vec<Dropped>,
    obliged: Vec<Obliged>,
    before: World,
    after: World,
}

/// What an event does to a program in which some properties are invariants, said in terms of which some are known, with updates of
/// checksums that another makes.
fn done<'p>(
    program: &'p Program,
    known: &[usize],
    event: Event,
    (terms, updates): (Terms, Vec<(Update, Term)>),
) -> Result<(Engine<'p>, Done), Unsupported> {
    let mut engine = Engine::new(program);
    engine.terms = terms;
    engine.of_another = updates.len();
    engine.checksums = updates;
    engine.terms.begin_again();
    engine.obliging = true;
    let before = engine.any("s");
    let mut given = invariants(&mut engine, known, &before)?;
    let happened = happen(&mut engine, &before, event, &mut given)?;
    let aside = engine.take_obliged();
    let mut done = match &happened.packet {
        None => Done { given, out: Vec::new(), drops: Vec::new(), obliged: aside, before, after: happened.after },
        Some((_, step)) => {
            let (out, drops, obliged) = (step.out.clone(), step.drops.clone(), step.obliged.clone());
            Done { given, out, drops, obliged, before, after: happened.after }
        }
    };
    let possible = |guard: Term| engine.terms.as_bool(guard) != Some(false);
    done.out.retain(|o| possible(o.guard));
    done.drops.retain(|d| possible(d.guard));
    done.obliged.retain(|o| possible(o.guard));
    Ok((engine, done))
}

/// That both do the same. None: in words that cannot be compared.
fn equal(engine: &mut Engine<'_>, a: &Done, b: &Done) -> Result<Option<Term>, Unsupported> {
    let mut parts = Vec::new();
    if a.out.len() != b.out.len() || a.out.iter().zip(&b.out).any(|(x, y)| x.port != y.port) || a.after.ticks != b.after.ticks {
        return Ok(None);
    }
    for (x, y) in a.out.iter().zip(&b.out) {
        parts.push(engine.terms.eq(x.guard, y.guard));
        let same = engine.identical(&x.packet, &y.packet);
        parts.push(engine.terms.implies(x.guard, same));
    }
    let (dropped, others) = (by_reason(engine, &a.drops), by_reason(engine, &b.drops));
    let never = engine.terms.bool(false);
    for reason in dropped.keys().chain(others.keys()) {
        let guard = |of: &BTreeMap<_, Term>| of.get(reason).copied().unwrap_or(never);
        parts.push(engine.terms.eq(guard(&dropped), guard(&others)));
    }
    // The box as it is keeps its obligations; the other must too.
    let kept = |o: &Obliged| a.obliged.iter().any(|known| (known.guard, known.holds) == (o.guard, o.holds));
    for o in b.obliged.iter().filter(|o| !kept(o)) {
        parts.push(engine.terms.implies(o.guard, o.holds));
    }
    for id in (0..engine.program.tables.len() as u32).map(TableId) {
        parts.extend(same_table(engine, id, a, b)?);
    }
    Ok(Some(engine.terms.and(&parts)))
}

fn by_reason(engine: &mut Engine<'_>, drops: &[Dropped]) -> BTreeMap<(ElementId, ReasonId), Term> {
    let mut all = BTreeMap::new();
    for drop in drops {
        let guard = all.entry((drop.element, drop.reason)).or_insert_with(|| engine.terms.bool(false));
        *guard = engine.terms.or(&[*guard, drop.guard]);
    }
    all
}

/// That a table is the same afterwards, at any key.
fn same_table(engine: &mut Engine<'_>, id: TableId, a: &Done, b: &Done) -> Result<Vec<Term>, Unsupported> {
    let of = |done: &Done| (done.after.tables[id.index()].clone(), done.before.tables[id.index()].clone());
    let ((x, x_before), (y, y_before)) = (of(a), of(b));
    let mut parts = vec![engine.terms.eq(x.count, y.count)];
    if let (Some(x), Some(y)) = (&x.shared, &y.shared) {
        parts.push(engine.terms.eq(x.next, y.next));
    }
    if same_changes(&engine.terms, (&x, &x_before), (&y, &y_before)) {
        return Ok(parts);
    }
    let key = match &engine.program.tables[id.index()].kind {
        kind if is_keyed(kind) => engine.key_of(id, &format!("any key {}", id.0)),
        TableKind::Cell => Vec::new(),
        _ => return Err(Unsupported::new("elements that are changed in other ways", engine.program.span)),
    };
    let way = engine.terms.bool(true);
    let (mut one, mut other) = (a.after.clone(), b.after.clone());
    (one.id, other.id) = (engine.stamp(), engine.stamp());
    let (x, y) = (engine.entry(&one, id, &key, way), engine.entry(&other, id, &key, way));
    parts.push(engine.terms.eq(x.live, y.live));
    let mut same = Vec::new();
    for (x, y) in x.value.iter().zip(&y.value) {
        same.push(engine.terms.equal(*x, *y));
    }
    for (x, y) in [(x.deadline, y.deadline), (x.slot, y.slot)] {
        if let (Some(x), Some(y)) = (x, y) {
            same.push(engine.terms.eq(x, y));
        }
    }
    let same = engine.terms.and(&same);
    parts.push(if is_keyed(&engine.program.tables[id.index()].kind) { engine.terms.implies(x.live, same) } else { same });
    Ok(parts)
}

/// Whether the same changes were made on the same ways, word for word, where there are any.
fn same_changes(terms: &Terms, (a, a_before): (&TableState, &TableState), (b, b_before): (&TableState, &TableState)) -> bool {
    let made = |log: &Log, before: &Log| -> Vec<Change> {
        log.since(before).into_iter().filter(|c| terms.as_bool(c.guard) != Some(false)).collect()
    };
    let shared = match ((&a.shared, &a_before.shared), (&b.shared, &b_before.shared)) {
        ((Some(a), Some(a_before)), (Some(b), Some(b_before))) => made(&a.log, &a_before.log) == made(&b.log, &b_before.log),
        ((None, _), (None, _)) => true,
        _ => false,
    };
    shared && made(&a.log, &a_before.log) == made(&b.log, &b_before.log)
}
