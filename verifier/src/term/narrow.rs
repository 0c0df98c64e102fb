//! What some formulas say outright (that a condition holds, that a term is a constant) put to use in all of them, until nothing
//! changes; and formulas told apart by cases. Either way what is left has values exactly if the formulas have.
//!
//! Why a fact may be used: it is used only in terms that are larger than what it is about, so that no two facts lean on each other.

use super::map::TermMap;
use super::{Node, Op, Sort, Term, Terms};
use rustc_hash::{FxHashMap, FxHashSet};

/// Facts bring up others; so many times at most. To stop early only leaves more to the solver.
const ROUNDS: usize = 12;

/// Terms that are constants.
pub type Facts = FxHashMap<Term, Term>;

/// What formulas come to, and what they say outright.
#[derive(Debug)]
pub struct Narrowed {
    /// All of them, simpler.
    pub formulas: Vec<Term>,
    /// What they say outright.
    pub facts: Facts,
}

/// Formulas that hold together, simpler. None: they contradict each other.
pub fn narrow(terms: &mut Terms, formulas: &[Term]) -> Option<Narrowed> {
    let mut formulas = flat(terms, formulas)?;
    for _ in 0..ROUNDS {
        let facts = facts(terms, &formulas)?;
        let (mut parts, mut bare) = (TermMap::new(), TermMap::new());
        for term in terms.cone(&formulas) {
            let remade = terms.remade(term, |t| parts[t]);
            parts.insert(term, facts.get(&term).copied().unwrap_or(remade));
            bare.insert(term, remade);
        }
        let simpler: Vec<Term> = formulas.iter().map(|formula| fact_again(terms, *formula, &bare)).collect();
        let simpler = flat(terms, &simpler)?;
        if simpler == formulas {
            return Some(Narrowed { formulas, facts });
        }
        formulas = simpler;
    }
    let facts = facts(terms, &formulas)?;
    Some(Narrowed { formulas, facts })
}

/// Terms, and what they are where facts hold.
pub fn under(terms: &mut Terms, facts: &Facts, all: &[Term]) -> TermMap {
    let mut known = TermMap::new();
    under_more(terms, facts, all, &mut known);
    known
}

/// The same of more terms, where that of some is known.
pub fn under_more(terms: &mut Terms, facts: &Facts, all: &[Term], known: &mut TermMap) {
    for part in terms.cone_without(all, |term| known.get(term).is_some()) {
        let remade = terms.remade(part, |t| known[t]);
        let value = facts.get(&part).or_else(|| facts.get(&remade)).copied().unwrap_or(remade);
        known.insert(part, value);
    }
}

/// The parts of conjunctions, sorted, each once; none, if one is false.
fn flat(terms: &mut Terms, formulas: &[Term]) -> Option<Vec<Term>> {
    let together = terms.and(formulas);
    match terms.node(together) {
        Node::Bool(false) => None,
        Node::Bool(true) => Some(Vec::new()),
        Node::And(all) => Some(all.to_vec()),
        _ => Some(vec![together]),
    }
}

/// What a formula says outright of which term.
fn says(terms: &Terms, formula: Term) -> (Term, Says) {
    match *terms.node(formula) {
        Node::Not(of) => (of, Says::Not),
        Node::Eq(a, b) if terms.is_constant(a) => (b, Says::Is(a)),
        Node::Eq(a, b) if terms.is_constant(b) => (a, Says::Is(b)),
        _ => (formula, Says::Holds),
    }
}

#[derive(Clone, Copy)]
enum Says {
    Holds,
    Not,
    Is(Term),
}

/// What formulas say outright; none, if they contradict each other.
fn facts(terms: &mut Terms, formulas: &[Term]) -> Option<Facts> {
    let mut facts = Facts::default();
    for formula in formulas {
        let (of, says) = says(terms, *formula);
        let value = match says {
            Says::Holds => terms.bool(true),
            Says::Not => terms.bool(false),
            Says::Is(constant) => {
                let truth = terms.bool(true);
                facts.insert(*formula, truth);
                constant
            }
        };
        if facts.insert(of, value).is_some_and(|other| other != value) {
            return None;
        }
    }
    Some(facts)
}

/// A formula that says something, of a term with simpler parts.
fn fact_again(terms: &mut Terms, formula: Term, bare: &TermMap) -> Term {
    let (of, says) = says(terms, formula);
    let of = bare[of];
    match says {
        Says::Holds => of,
        Says::Not => terms.not(of),
        Says::Is(constant) => terms.eq(of, constant),
    }
}

/// How far formulas are told apart.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Into so many cases at most.
    pub most: usize,
    /// Those with fewer nodes no further.
    pub small: usize,
    /// And only if the cases together are not larger than the whole by more than this, in parts of it.
    pub growth: f64,
    /// Whether only what sums of integers depend on is told apart.
    pub sums: bool,
}

/// So many conditions are tried.
const TRIED: usize = 4;

/// Formulas told apart by what decides most. Cases that cannot be are left out.
pub fn cases(terms: &mut Terms, formulas: &[Term], limits: Limits) -> Vec<Narrowed> {
    let mut done = Vec::new();
    let mut open: Vec<(usize, Narrowed)> = Vec::new();
    let sized = |terms: &Terms, case: Narrowed| (terms.cone(&case.formulas).len(), case);
    open.extend(narrow(terms, formulas).map(|case| sized(terms, case)));
    // The largest first.
    while let Some(at) = (0..open.len()).max_by_key(|at| (open[*at].0, std::cmp::Reverse(*at))) {
        let (size, case) = open.swap_remove(at);
        let full = open.len() + done.len() + 2 > limits.most;
        let conditions = if size < limits.small || full { Vec::new() } else { decide_most(terms, &case.formulas, limits.sums) };
        let sides = conditions.into_iter().find_map(|condition| {
            let mut sides = Vec::new();
            for side in [condition, terms.not(condition)] {
                let mut formulas = case.formulas.clone();
                formulas.push(side);
                sides.extend(narrow(terms, &formulas).map(|case| sized(terms, case)));
            }
            // Two cases of the same size as the whole are twice the work.
            let together: usize = sides.iter().map(|(size, _)| size).sum();
            (together as f64 <= size as f64 * limits.growth).then_some(sides)
        });
        match sides {
            None => done.push(case),
            Some(sides) => open.extend(sides),
        }
    }
    done
}

/// The conditions that most depends on, the first one most: each is worth the alternatives that it takes part in.
fn decide_most(terms: &Terms, formulas: &[Term], sums: bool) -> Vec<Term> {
    let outright: FxHashSet<Term> = formulas.iter().map(|f| says(terms, *f).0).collect();
    let mut worth: FxHashMap<Term, u64> = FxHashMap::default();
    let mut all: Vec<(u64, Term)> = Vec::new();
    let cone = terms.cone(formulas);
    let counts: Option<FxHashSet<Term>> = sums.then(|| {
        let of_sums = |term: &Term| match *terms.node(*term) {
            Node::Eq(a, _) => terms.sort(a) == Sort::Int,
            Node::Op(Op::IntMod, ..) => true,
            _ => false,
        };
        terms.cone(&cone.iter().copied().filter(of_sums).collect::<Vec<_>>()).into_iter().collect()
    });
    // Wholes before parts.
    for term in cone.into_iter().rev() {
        let own = worth.get(&term).copied().unwrap_or(0);
        match terms.node(term) {
            Node::Ite(c, a, b) => {
                let here = u64::from(counts.as_ref().is_none_or(|counts| counts.contains(&term)));
                *worth.entry(*c).or_default() += own + here;
                if terms.sort(*a) == Sort::Bool {
                    *worth.entry(*a).or_default() += own;
                    *worth.entry(*b).or_default() += own;
                }
            }
            Node::Not(a) => *worth.entry(*a).or_default() += own,
            Node::And(all) | Node::Or(all) => all.iter().for_each(|part| *worth.entry(*part).or_default() += own),
            Node::Eq(..) | Node::Op(..) | Node::Apply(..)
                if terms.sort(term) == Sort::Bool && own > u64::from(!sums) && !outright.contains(&term) =>
            {
                all.push((own, term));
            }
            _ => {}
        }
    }
    all.sort_unstable_by_key(|(worth, term)| (std::cmp::Reverse(*worth), *term));
    all.into_iter().take(TRIED).map(|(_, term)| term).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_and_conditions_are_put_to_use() {
        let mut terms = Terms::new();
        let (x, y, p) = (terms.var("x", Sort::Bits(8)), terms.var("y", Sort::Bits(8)), terms.var("p", Sort::Bool));
        let six = terms.bits(6, 8);
        let is_six = terms.eq(x, six);
        let either = terms.ite(is_six, y, x);
        let seven = terms.bits(7, 8);
        let is_seven = terms.eq(either, seven);
        let then = terms.implies(p, is_seven);
        let narrowed = narrow(&mut terms, &[is_six, p, then]).expect("possible");
        let y_is_seven = terms.eq(y, seven);
        assert_eq!(narrowed.formulas, {
            let mut all = vec![is_six, p, y_is_seven];
            all.sort_unstable();
            all
        });
    }

    #[test]
    fn contradictions_are_seen() {
        let mut terms = Terms::new();
        let (x, p) = (terms.var("x", Sort::Bits(8)), terms.var("p", Sort::Bool));
        let (six, seven) = (terms.bits(6, 8), terms.bits(7, 8));
        let (is_six, is_seven) = (terms.eq(x, six), terms.eq(x, seven));
        assert!(narrow(&mut terms, &[is_six, is_seven]).is_none());
        let then = terms.implies(p, is_seven);
        assert!(narrow(&mut terms, &[is_six, p, then]).is_none());
    }
}
