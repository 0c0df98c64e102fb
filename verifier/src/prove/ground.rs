//! Questions without quantifiers. A quantified formula stands as a truth value of its own; beside it are asserted its instances
//! at the keys that the question speaks of, and at one key that would be its exception (or example). Leaving instances out
//! allows more, so that what is proved is true; a question may only become harder to prove than it is.

use super::{Asked, Text, View};
use crate::sym::{Engine, Fact, Sym, Unsupported, is_keyed};
use crate::term::lighten::lighten;
use crate::term::map::TermMap;
use crate::term::narrow::{Facts, Limits, Narrowed, cases, narrow, under, under_more};
use crate::term::print::script;
use crate::term::sums::{congruent, has_remainders};
use crate::term::{Node, Sort, Term, Terms};
use grv_lang::ir::TableId;
use rustc_hash::FxHashSet;
use std::collections::BTreeMap;

/// Instances bring up new keys, and these new instances; so many times.
const ROUNDS: usize = 4;
/// A key is looked at if so many instances, one in the other, have led to it.
const GENERATIONS: u32 = 1;

/// How far questions are told apart by cases: as long as that makes them smaller; those about sums of words further, since these are
/// compared term by term.
const CASES: Limits = Limits { most: 24, small: 400, growth: 1.5, sums: false };
const WITH_SUMS: Limits = Limits { most: 48, small: 1, growth: 2.5, sums: false };
const OF_SUMS: Limits = Limits { sums: true, ..WITH_SUMS };

/// The question whether `goal` follows from `given`, as text: its negation, told apart by cases.
pub(super) fn ask(engine: &mut Engine<'_>, given: &[Term], goal: Term) -> Result<Asked, Unsupported> {
    let mut all = given.to_vec();
    all.push(engine.terms.not(goal));
    let Some(all) = exceptions(engine, &all)? else { return Ok(Asked::Decided(true)) };
    let limits = if has_remainders(&engine.terms, &all) { WITH_SUMS } else { CASES };
    let mut texts = Vec::new();
    let before = engine.mark();
    for case in cases(&mut engine.terms, &all, limits) {
        if case.formulas.is_empty() && engine.facts.is_empty() {
            return Ok(Asked::Decided(false));
        }
        texts.extend(text(engine, &case.formulas)?);
        // What is looked up for one case is nothing to the others.
        engine.back_to(&before);
    }
    Ok(if texts.is_empty() { Asked::Decided(true) } else { Asked::Texts(texts) })
}

/// Formulas with what those that are said not to hold of all entries say of an exception. None: they contradict each other.
fn exceptions(engine: &mut Engine<'_>, all: &[Term]) -> Result<Option<Vec<Term>>, Unsupported> {
    let mut all = all.to_vec();
    let mut seen = FxHashSet::default();
    loop {
        let Some(known) = narrow(&mut engine.terms, &all) else { return Ok(None) };
        all = known.formulas;
        let before = all.len();
        for (number, needed) in uses(&engine.terms, all.iter().map(|term| (*term, true)).collect()) {
            let universal = engine.is_universal(number);
            if (if universal { needed.denied } else { needed.claimed }) && seen.insert(number) {
                let example = example_of(engine, number)?;
                all.push(stands_with(engine, number, example));
            }
        }
        if all.len() == before {
            return Ok(Some(all));
        }
    }
}

/// A quantified formula at a key of its own: if it is said not to hold of all, it fails for that one; if some key is said to satisfy it,
/// that one does.
fn example_of(engine: &mut Engine<'_>, number: u32) -> Result<Term, Unsupported> {
    let (key, generation) = (engine.any_key(number), engine.generation_of(number));
    engine.instance(number, &key, generation)
}

/// That it stands and falls with that example.
fn stands_with(engine: &mut Engine<'_>, number: u32, example: Term) -> Term {
    let stands = engine.terms.quantified(number);
    if engine.is_universal(number) { engine.terms.implies(example, stands) } else { engine.terms.implies(stands, example) }
}

/// Formulas as facts make them, all of which are claimed or denied, with the quantified ones among the facts.
fn asked_for(engine: &mut Engine<'_>, known: &Narrowed, said: &[(Term, bool)], facts: &[Term]) -> Vec<(Term, bool)> {
    let terms: Vec<Term> = said.iter().map(|(term, _)| *term).collect();
    // That they hold is no reason not to look at what they say.
    let compound = |term: &Term| matches!(engine.terms.node(*term), Node::And(_) | Node::Or(_) | Node::Not(_) | Node::Ite(..));
    let atoms: Facts = known.facts.iter().filter(|(term, _)| !compound(term)).map(|(term, value)| (*term, *value)).collect();
    let now = under(&mut engine.terms, &atoms, &terms);
    let mut asked: Vec<(Term, bool)> = said.iter().map(|(term, claimed)| (now[*term], *claimed)).collect();
    asked.extend(facts.iter().map(|fact| (*fact, true)));
    let terms = &engine.terms;
    let quantified = known.facts.iter().filter(|(term, _)| matches!(terms.node(**term), Node::Quantified(_)));
    asked.extend(quantified.map(|(term, value)| (*term, terms.as_bool(*value) == Some(true))));
    asked
}

/// One case as text; none, if it cannot be.
fn text(engine: &mut Engine<'_>, case: &[Term]) -> Result<Option<Text>, Unsupported> {
    // Sums of words rarely depend on what is given of all entries of tables, and its many instances are in the way.
    let of_entries = |term: &Term| matches!(engine.terms.node(*term), Node::Quantified(_));
    let (given, fewer): (Vec<Term>, Vec<Term>) = case.iter().partition(|term| of_entries(term));
    let mut bare = None;
    if !given.is_empty() && has_remainders(&engine.terms, &fewer) {
        let Some(roots) = possible(engine, &fewer)? else { return Ok(None) };
        let lighter = lighten(&mut engine.terms, &roots).map_or(roots, |lighter| lighter.formulas);
        bare = Some(script(&engine.terms, &lighter));
    }
    let Some(roots) = possible(engine, case)? else { return Ok(None) };
    let exact = script(&engine.terms, &roots);
    let lighter = lighten(&mut engine.terms, &roots);
    let faithful = lighter.as_ref().is_some_and(|lighter| lighter.faithful);
    let light = lighter.map(|lighter| script(&engine.terms, &lighter.formulas));
    let (light, exact) = match light {
        Some(light) if faithful => (None, light),
        light => (light, exact),
    };
    let view = if engine.shows { Some(View::of(engine, case.to_vec(), &exact)?) } else { None };
    Ok(Some(Text { light, exact, bare, view }))
}

/// What is to be asserted so that some formulas hold, sums compared. None: they contradict each other.
fn possible(engine: &mut Engine<'_>, all: &[Term]) -> Result<Option<Vec<Term>>, Unsupported> {
    let Some(roots) = roots(engine, all)? else { return Ok(None) };
    let terms = &mut engine.terms;
    if !has_remainders(terms, &roots) {
        return Ok(Some(roots));
    }
    let mut left = Vec::new();
    for case in cases(terms, &roots, OF_SUMS) {
        let compared = congruent(terms, &case.formulas);
        left.extend(narrow(terms, &compared).map(|case| case.formulas));
    }
    match &left[..] {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        all => {
            let all: Vec<Term> = all.iter().map(|case| terms.and(case)).collect();
            Ok(Some(vec![terms.or(&all)]))
        }
    }
}

/// What is to be asserted so that some formulas hold, all that is known of their symbols included. None: they contradict each other.
pub(super) fn roots(engine: &mut Engine<'_>, all: &[Term]) -> Result<Option<Vec<Term>>, Unsupported> {
    let Some(mut known) = narrow(&mut engine.terms, all) else { return Ok(None) };
    let mut seen = FxHashSet::default();
    // What is known of all entries of tables that nothing speaks of is left aside.
    let (mut aside, spoken): (Vec<Term>, Vec<Term>) = known.formulas.iter().partition(|root| is_aside(engine, **root));
    known.formulas = spoken;
    // What is said: claimed, or denied. That instances stand and fall with their formula asks for nothing more of it.
    let mut said: Vec<(Term, bool)> = known.formulas.iter().map(|root| (*root, true)).collect();
    for _ in 0..ROUNDS {
        let mut axioms = Vec::new();
        let (back, still): (Vec<Term>, Vec<Term>) = aside.iter().partition(|root| !is_aside(engine, **root));
        axioms.extend(back);
        aside = still;
        said.extend(axioms.iter().map(|root: &Term| (*root, true)));
        let (facts, cone) = relevant(engine, &known);
        let mut spoken = Spoken { facts: &known.facts, looked_up: arguments(&engine.terms, &cone), now: TermMap::new() };
        let asked = asked_for(engine, &known, &said, &facts);
        for (number, needed) in uses(&engine.terms, asked) {
            let stands = engine.terms.quantified(number);
            let universal = engine.is_universal(number);
            if (if universal { needed.denied } else { needed.claimed }) && seen.insert((number, None)) {
                let instance = example_of(engine, number)?;
                said.push((instance, !universal));
                axioms.push(stands_with(engine, number, instance));
            }
            if if universal { needed.claimed } else { needed.denied } {
                for (key, generation) in keys(engine, number, &mut spoken) {
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
            for (key, _) in spoken.keys(engine, at.table) {
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
        axioms.extend(&known.formulas);
        match narrow(&mut engine.terms, &axioms) {
            Some(more) => known = more,
            None => return Ok(None),
        }
    }
    let (facts, _) = relevant(engine, &known);
    let all: Vec<Term> = known.formulas.into_iter().chain(facts).collect();
    Ok(narrow(&mut engine.terms, &all).map(|known| known.formulas))
}

/// What functions are applied to in some terms.
fn arguments(terms: &Terms, cone: &[Term]) -> FxHashSet<Vec<Term>> {
    let args = |term: &Term| match terms.node(*term) {
        Node::Apply(_, args) if !args.is_empty() => Some(args.to_vec()),
        _ => None,
    };
    cone.iter().filter_map(args).collect()
}

/// What some formulas speak of.
struct Spoken<'f> {
    /// What they say outright.
    facts: &'f Facts,
    /// What functions are applied to in them.
    looked_up: FxHashSet<Vec<Term>>,
    /// What facts make of terms.
    now: TermMap,
}

impl Spoken<'_> {
    /// The keys of a table that were looked up, as facts make them, and that something still speaks of.
    fn keys(&mut self, engine: &mut Engine<'_>, table: TableId) -> Vec<(Vec<Sym>, u32)> {
        let mut keys: Vec<(Vec<Sym>, u32)> = Vec::new();
        for (key, generation) in engine.touched[table.index()].clone() {
            let terms = engine.key_terms(&key);
            under_more(&mut engine.terms, self.facts, &terms, &mut self.now);
            let terms: Vec<Term> = terms.iter().map(|part| self.now[*part]).collect();
            if !self.looked_up.contains(&terms) {
                continue;
            }
            let key = engine.key_made_of(&terms);
            match keys.iter_mut().find(|(known, _)| *known == key) {
                Some((_, first)) => *first = generation.min(*first),
                None => keys.push((key, generation)),
            }
        }
        keys
    }
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
            _ => open.extend(terms.children(term).flat_map(|t| [(t, true), (t, false)])),
        }
    }
    found
}

/// The keys that a quantified formula is to be instantiated at.
fn keys(engine: &mut Engine<'_>, number: u32, spoken: &mut Spoken<'_>) -> Vec<(Vec<Sym>, u32)> {
    match engine.over(number) {
        Some(table) if is_keyed(&engine.program.tables[table.index()].kind) => spoken.keys(engine, table),
        Some(table) => engine.touched[table.index()].clone(),
        None => engine.numbers(number),
    }
}

/// The facts that bear on some formulas: those about their symbols, and so on. And all terms that are in them.
fn relevant(engine: &mut Engine<'_>, known: &Narrowed) -> (Vec<Term>, Vec<Term>) {
    let all: Vec<Term> = engine.facts.iter().flat_map(|f| f.about.iter().chain([&f.holds])).copied().collect();
    let now = under(&mut engine.terms, &known.facts, &all);
    let terms = &engine.terms;
    let mut spoken: FxHashSet<Term> = FxHashSet::default();
    let mut facts: Vec<Term> = Vec::new();
    let mut open: Vec<&Fact> = engine.facts.iter().collect();
    let mut cone = terms.cone(&known.formulas);
    let mut seen: FxHashSet<Term> = cone.iter().copied().collect();
    let mut new = cone.clone();
    loop {
        for term in &new {
            match terms.node(*term) {
                Node::Apply(..) => _ = spoken.insert(*term),
                Node::Quantified(number) => spoken.extend(engine.found_by(*number)),
                _ => {}
            }
        }
        // What facts make a constant is spoken of nowhere any more, and is known.
        let known = |about: &Term| spoken.contains(&now[*about]) || terms.newest(now[*about]).is_none();
        let (bear, rest): (Vec<&Fact>, Vec<&Fact>) = open.into_iter().partition(|fact| fact.about.iter().all(known));
        if bear.is_empty() {
            return (facts, cone);
        }
        open = rest;
        let bear: Vec<Term> = bear.into_iter().map(|fact| now[fact.holds]).collect();
        new = terms.cone(&bear).into_iter().filter(|term| seen.insert(*term)).collect();
        cone.extend(&new);
        facts.extend(bear);
    }
}
