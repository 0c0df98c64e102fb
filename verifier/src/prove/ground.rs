//! Questions without quantifiers. A quantified formula stands as a truth value of its own; beside it are asserted its instances
//! at the keys that the question speaks of, and at one key that would be its exception (or example). Leaving instances out
//! allows more, so that what is proved is true; a question may only become harder to prove than it is.

use super::Asked;
use crate::sym::{Engine, Sym, Unsupported};
use crate::term::print::script;
use crate::term::{Node, Term};
use rustc_hash::FxHashSet;

/// Instances bring up new keys, and these new instances; so many times.
const ROUNDS: usize = 3;

/// The question whether `goal` follows from `given`, as text: its negation.
pub(super) fn ask(engine: &mut Engine<'_>, given: &[Term], goal: Term) -> Result<Asked, Unsupported> {
    let negated = engine.terms.not(goal);
    let mut roots = given.to_vec();
    roots.push(negated);
    let together = engine.terms.and(&roots);
    match engine.terms.as_bool(together) {
        Some(false) => return Ok(Asked::Decided(true)),
        Some(true) if engine.facts.is_empty() => return Ok(Asked::Decided(false)),
        _ => {}
    }
    let mut roots = match engine.terms.node(together) {
        Node::And(all) => all.to_vec(),
        _ => vec![together],
    };
    let mut seen = FxHashSet::default();
    for _ in 0..ROUNDS {
        let mut axioms = Vec::new();
        let cone = relevant(engine, &roots).1;
        let quantified: Vec<u32> =
            cone.iter().filter_map(|t| if let Node::Quantified(n) = engine.terms.node(*t) { Some(*n) } else { None }).collect();
        for number in quantified {
            let stands = engine.terms.quantified(number);
            let all = engine.is_universal(number);
            if seen.insert((number, None)) {
                let key = engine.any_key(number);
                let instance = engine.instance(number, &key)?;
                // If it does not hold for all, it fails for that one; if it holds for some, it holds for that one.
                axioms.push(if all { engine.terms.implies(instance, stands) } else { engine.terms.implies(stands, instance) });
            }
            for key in keys(engine, number) {
                if seen.insert((number, Some(key.clone()))) {
                    let instance = engine.instance(number, &key)?;
                    axioms.push(if all {
                        engine.terms.implies(stands, instance)
                    } else {
                        engine.terms.implies(instance, stands)
                    });
                }
            }
        }
        for (number, at) in engine.matches.clone().into_iter().enumerate() {
            for key in engine.touched[at.table.index()].clone() {
                if seen.insert((u32::MAX - number as u32, Some(key.clone())))
                    && let Some(axiom) = engine.longest_at(&at, &key)
                {
                    axioms.push(axiom);
                }
            }
        }
        if axioms.is_empty() {
            break;
        }
        roots.extend(axioms);
    }
    let (facts, _) = relevant(engine, &roots);
    roots.extend(facts);
    let truth = engine.terms.bool(true);
    roots.retain(|root| *root != truth);
    roots.sort_unstable();
    roots.dedup();
    Ok(Asked::Text(script(&engine.terms, &roots)))
}

/// The keys that a quantified formula is to be instantiated at.
fn keys(engine: &Engine<'_>, number: u32) -> Vec<Vec<Sym>> {
    match engine.over(number) {
        Some(table) => engine.touched[table.index()].clone(),
        None => engine.numbers(number),
    }
}

/// The facts that bear on some formulas: those that speak of their symbols, and so on. And all terms that are in them.
fn relevant(engine: &Engine<'_>, roots: &[Term]) -> (Vec<Term>, Vec<Term>) {
    let terms = &engine.terms;
    let speaks = |cone: &[Term]| -> Vec<Term> {
        cone.iter().copied().filter(|t| matches!(terms.node(*t), Node::Apply(..) | Node::Quantified(_))).collect()
    };
    let mut cone = terms.cone(roots);
    let mut known: FxHashSet<Term> = speaks(&cone).into_iter().collect();
    let parts: Vec<(Term, Vec<Term>)> = engine.facts.iter().map(|f| (*f, speaks(&terms.cone(&[*f])))).collect();
    let mut chosen = vec![false; parts.len()];
    loop {
        let mut more = false;
        for (index, (_, symbols)) in parts.iter().enumerate() {
            if !chosen[index] && symbols.iter().any(|s| known.contains(s)) {
                chosen[index] = true;
                more = true;
                known.extend(symbols);
            }
        }
        if !more {
            break;
        }
    }
    let facts: Vec<Term> = parts.iter().zip(&chosen).filter(|(_, c)| **c).map(|((f, _), _)| *f).collect();
    let all: Vec<Term> = roots.iter().chain(&facts).copied().collect();
    cone = terms.cone(&all);
    (facts, cone)
}
