//! Questions without quantifiers. A quantified formula stands as a truth value of its own; beside it are asserted its instances
//! at the keys that the question speaks of, and at one key that would be its exception (or example). Leaving instances out
//! allows more, so that what is proved is true; a question may only become harder to prove than it is.

use super::Asked;
use crate::sym::{Engine, Sym, Unsupported};
use crate::term::lighten::lighten;
use crate::term::print::script;
use crate::term::{Node, Op, Sort, Term, Terms};
use rustc_hash::FxHashSet;
use std::collections::BTreeMap;

/// Instances bring up new keys, and these new instances; so many times.
const ROUNDS: usize = 4;
/// A key is looked at if so many instances, one in the other, have led to it.
const GENERATIONS: u32 = 1;

/// The question whether `goal` follows from `given`, as text: its negation.
pub(super) fn ask(engine: &mut Engine<'_>, given: &[Term], goal: Term) -> Result<Asked, Unsupported> {
    let negated = engine.terms.not(goal);
    let mut all = given.to_vec();
    all.push(negated);
    let together = engine.terms.and(&all);
    if engine.terms.as_bool(together) == Some(true) && engine.facts.is_empty() {
        return Ok(Asked::Decided(false));
    }
    let Some(roots) = roots(engine, &all)? else { return Ok(Asked::Decided(true)) };
    let exact = script(&engine.terms, &roots);
    let lighter = lighten(&mut engine.terms, &roots);
    let faithful = lighter.as_ref().is_some_and(|lighter| lighter.faithful);
    let light = lighter.map(|lighter| script(&engine.terms, &lighter.formulas));
    let (light, exact) = match light {
        Some(light) if faithful => (None, light),
        light => (light, exact),
    };
    let bare = bare(engine, given, negated)?;
    Ok(Asked::Text { light, exact, bare })
}

/// A question about remainders without what is given of all entries of tables: sums of words rarely depend on that, and many
/// instances are in the way.
fn bare(engine: &mut Engine<'_>, given: &[Term], negated: Term) -> Result<Option<String>, Unsupported> {
    let remainders = engine.terms.cone(&[negated]).iter().any(|t| matches!(engine.terms.node(*t), Node::Op(Op::IntMod, ..)));
    let of_entries = |term: &Term| matches!(engine.terms.node(*term), Node::Quantified(_));
    if !remainders || !given.iter().any(of_entries) {
        return Ok(None);
    }
    let mut fewer: Vec<Term> = given.iter().filter(|term| !of_entries(term)).copied().collect();
    fewer.push(negated);
    let Some(roots) = roots(engine, &fewer)? else { return Ok(None) };
    let lighter = lighten(&mut engine.terms, &roots).map_or(roots, |lighter| lighter.formulas);
    Ok(Some(script(&engine.terms, &lighter)))
}

/// What is to be asserted so that some formulas hold, all that is known of their symbols included. None: they contradict each other.
pub(super) fn roots(engine: &mut Engine<'_>, all: &[Term]) -> Result<Option<Vec<Term>>, Unsupported> {
    let together = engine.terms.and(all);
    if engine.terms.as_bool(together) == Some(false) {
        return Ok(None);
    }
    let mut roots = match engine.terms.node(together) {
        Node::And(all) => all.to_vec(),
        _ => vec![together],
    };
    let mut seen = FxHashSet::default();
    // What is known of all entries of tables that nothing speaks of is left aside.
    let (mut aside, spoken): (Vec<Term>, Vec<Term>) = roots.iter().partition(|root| is_aside(engine, **root));
    roots = spoken;
    // What instances say: claimed, or denied. That they stand and fall with their formula asks for nothing more of it.
    let mut said: Vec<(Term, bool)> = Vec::new();
    let mut instances = Vec::new();
    for _ in 0..ROUNDS {
        let mut axioms = Vec::new();
        let (back, still): (Vec<Term>, Vec<Term>) = aside.iter().partition(|root| !is_aside(engine, **root));
        roots.extend(back);
        aside = still;
        let known: Vec<Term> = roots.iter().chain(&instances).copied().collect();
        let (facts, _) = relevant(engine, &known);
        let spoken = roots.iter().chain(&facts).map(|term| (*term, true)).chain(said.iter().copied()).collect();
        for (number, needed) in uses(&engine.terms, spoken) {
            let stands = engine.terms.quantified(number);
            let universal = engine.is_universal(number);
            // If it is said not to hold, it fails for one key; if some key is said to satisfy it, one does.
            if (if universal { needed.denied } else { needed.claimed }) && seen.insert((number, None)) {
                let (key, generation) = (engine.any_key(number), engine.generation_of(number));
                let instance = engine.instance(number, &key, generation)?;
                said.push((instance, !universal));
                axioms.push(if universal {
                    engine.terms.implies(instance, stands)
                } else {
                    engine.terms.implies(stands, instance)
                });
            }
            if if universal { needed.claimed } else { needed.denied } {
                for (key, generation) in keys(engine, number) {
                    let generation = generation.max(engine.generation_of(number));
                    if generation <= GENERATIONS && seen.insert((number, Some(key.clone()))) {
                        let counts = engine.counts.len();
                        let instance = engine.instance(number, &key, generation + 1)?;
                        let instance = if universal { engine.without_counts(instance, counts) } else { instance };
                        said.push((instance, universal));
                        axioms.push(if universal {
                            engine.terms.implies(stands, instance)
                        } else {
                            engine.terms.implies(instance, stands)
                        });
                    }
                }
            }
        }
        for (number, at) in engine.matches.clone().into_iter().enumerate() {
            for (key, _) in engine.touched[at.table.index()].clone() {
                if seen.insert((u32::MAX - number as u32, Some(key.clone())))
                    && let Some(axiom) = engine.longest_at(&at, &key)
                {
                    said.push((axiom, true));
                    axioms.push(axiom);
                }
            }
        }
        if axioms.is_empty() {
            break;
        }
        instances.extend(axioms);
    }
    roots.extend(instances);
    let (facts, _) = relevant(engine, &roots);
    roots.extend(facts);
    let truth = engine.terms.bool(true);
    roots.retain(|root| *root != truth);
    roots.sort_unstable();
    roots.dedup();
    Ok(Some(roots))
}

/// Whether a formula is a quantified one that speaks only of tables no key of which was looked up.
fn is_aside(engine: &Engine<'_>, root: Term) -> bool {
    let Node::Quantified(number) = engine.terms.node(root) else { return false };
    let tables = engine.speaks_of(*number);
    !tables.is_empty() && tables.iter().all(|table| engine.touched[table.index()].is_empty())
}

/// How a quantified formula stands in others.
#[derive(Clone, Copy, Default)]
struct Needed {
    /// They may rest on its truth.
    claimed: bool,
    /// They may rest on its being false.
    denied: bool,
}

/// The quantified formulas in some formulas that are claimed or denied, by number.
fn uses(terms: &Terms, mut open: Vec<(Term, bool)>) -> BTreeMap<u32, Needed> {
    let mut found: BTreeMap<u32, Needed> = BTreeMap::new();
    let mut seen = FxHashSet::default();
    while let Some((term, claimed)) = open.pop() {
        if !seen.insert((term, claimed)) {
            continue;
        }
        match terms.node(term) {
            Node::Quantified(number) => {
                let needed = found.entry(*number).or_default();
                needed.claimed |= claimed;
                needed.denied |= !claimed;
            }
            Node::Not(inner) => open.push((*inner, !claimed)),
            Node::And(all) | Node::Or(all) => open.extend(all.iter().map(|t| (*t, claimed))),
            Node::Ite(c, a, b) if terms.sort(*a) == Sort::Bool => {
                open.extend([(*c, true), (*c, false), (*a, claimed), (*b, claimed)]);
            }
            // Below anything else it may stand for both.
            _ => open.extend(terms.children(term).into_iter().flat_map(|t| [(t, true), (t, false)])),
        }
    }
    found
}

/// The keys that a quantified formula is to be instantiated at.
fn keys(engine: &mut Engine<'_>, number: u32) -> Vec<(Vec<Sym>, u32)> {
    match engine.over(number) {
        Some(table) => engine.touched[table.index()].clone(),
        None => engine.numbers(number),
    }
}

/// The facts that bear on some formulas: those that speak of their symbols, and so on; of those that define symbols, if
/// these are among them. And all terms that are in them.
fn relevant(engine: &Engine<'_>, roots: &[Term]) -> (Vec<Term>, Vec<Term>) {
    let terms = &engine.terms;
    let speaks = |cone: &[Term]| -> Vec<Term> {
        let mut all = Vec::new();
        for term in cone {
            match terms.node(*term) {
                Node::Apply(..) => all.push(*term),
                Node::Quantified(number) => {
                    all.push(*term);
                    all.extend(engine.found_by(*number));
                }
                _ => {}
            }
        }
        all
    };
    let mut cone = terms.cone(roots);
    let mut known: FxHashSet<Term> = speaks(&cone).into_iter().collect();
    let part = |fact: &Term| {
        let symbols = speaks(&terms.cone(&[*fact]));
        (*fact, engine.defines.get(fact), symbols)
    };
    let parts: Vec<(Term, Option<&Vec<Term>>, Vec<Term>)> = engine.facts.iter().map(part).collect();
    let mut chosen = vec![false; parts.len()];
    loop {
        let mut more = false;
        for (index, (_, defined, symbols)) in parts.iter().enumerate() {
            let bears = match defined {
                Some(defined) => defined.iter().all(|s| known.contains(s)),
                None => symbols.iter().any(|s| known.contains(s)),
            };
            if !chosen[index] && bears {
                chosen[index] = true;
                more = true;
                known.extend(symbols);
            }
        }
        if !more {
            break;
        }
    }
    let facts: Vec<Term> = parts.iter().zip(&chosen).filter(|(_, c)| **c).map(|((f, ..), _)| *f).collect();
    let all: Vec<Term> = roots.iter().chain(&facts).copied().collect();
    cone = terms.cone(&all);
    (facts, cone)
}
