//! Remainders of sums of integers. Terms that formulas say are sums are put in their place, coefficients are taken modulo the divisor,
//! and what is left is put in order: sums that are congruent become the same term. Checksums are such sums.

use super::{Node, Op, Sort, Term, Terms};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeMap;

/// A sum: a constant, and terms with their factors.
#[derive(Clone, Debug, Default)]
struct Sum {
    constant: i128,
    parts: BTreeMap<Term, i128>,
}

/// Formulas that hold together, with remainders of constant divisors in order.
pub fn congruent(terms: &mut Terms, formulas: &[Term]) -> Vec<Term> {
    let cone = terms.cone(formulas);
    let (definitions, known) = definitions(terms, formulas);
    let mut made = FxHashMap::default();
    for term in cone {
        let mut new = terms.remade(term, |t| made[&t]);
        if let Some((sum, modulus)) = divisor(terms, new)
            && let Some(sum) = linear(terms, sum).and_then(|sum| reduced(sum, &known, modulus))
        {
            let sum = written(terms, &sum);
            let by = terms.int(modulus);
            new = terms.op(Op::IntMod, sum, by);
        }
        made.insert(term, new);
    }
    // What says what a term is stays as it is: it must not be read in the light of itself.
    formulas.iter().map(|formula| if definitions.contains(formula) { *formula } else { made[formula] }).collect()
}

/// Whether there are remainders of constant divisors in some formulas.
pub fn has_remainders(terms: &Terms, formulas: &[Term]) -> bool {
    terms.cone(formulas).into_iter().any(|term| divisor(terms, term).is_some())
}

/// The sum and the constant divisor of a remainder.
fn divisor(terms: &Terms, term: Term) -> Option<(Term, i128)> {
    match *terms.node(term) {
        Node::Op(Op::IntMod, sum, by) => terms.as_int(by).filter(|by| *by > 0).map(|by| (sum, by)),
        _ => None,
    }
}

/// Formulas that say what terms are, and these terms: in what they are, none of them is left.
fn definitions(terms: &Terms, formulas: &[Term]) -> (FxHashSet<Term>, BTreeMap<Term, Sum>) {
    let (mut definitions, mut known) = (FxHashSet::default(), BTreeMap::new());
    for formula in formulas {
        if solve(terms, *formula, &mut known).is_some() {
            definitions.insert(*formula);
        }
    }
    (definitions, known)
}

/// Adds what a formula says that a term is: the newest of those that are in it once, but for what is known already.
fn solve(terms: &Terms, formula: Term, known: &mut BTreeMap<Term, Sum>) -> Option<()> {
    let Node::Eq(a, b) = *terms.node(formula) else { return None };
    if terms.sort(a) != Sort::Int {
        return None;
    }
    let mut sum = linear(terms, a)?;
    sum.add(&linear(terms, b)?, -1)?;
    sum = sum.with(known)?;
    let once =
        |(term, factor): (&Term, &i128)| (factor.abs() == 1 && matches!(terms.node(*term), Node::ToInt(_))).then_some(*term);
    let newest = sum.parts.iter().filter_map(once).max()?;
    let factor = sum.parts.remove(&newest)?;
    let mut is = Sum::default();
    is.add(&sum, -factor)?;
    let this = BTreeMap::from([(newest, is)]);
    let others: Option<BTreeMap<Term, Sum>> = known.iter().map(|(term, sum)| Some((*term, sum.clone().with(&this)?))).collect();
    *known = others?;
    known.extend(this);
    Some(())
}

impl Sum {
    /// Adds another sum so many times. None: the numbers become too large.
    fn add(&mut self, other: &Sum, times: i128) -> Option<()> {
        self.constant = self.constant.checked_add(other.constant.checked_mul(times)?)?;
        for (term, factor) in &other.parts {
            let sum = self.parts.entry(*term).or_default();
            *sum = sum.checked_add(factor.checked_mul(times)?)?;
        }
        self.parts.retain(|_, factor| *factor != 0);
        Some(())
    }

    /// With what is known of its terms put in, in which none of these is left.
    fn with(mut self, known: &BTreeMap<Term, Sum>) -> Option<Sum> {
        let defined: Vec<Term> = self.parts.keys().copied().filter(|term| known.contains_key(term)).collect();
        for term in defined {
            let factor = self.parts.remove(&term)?;
            self.add(&known[&term], factor)?;
        }
        Some(self)
    }
}

/// A term as a sum.
fn linear(terms: &Terms, term: Term) -> Option<Sum> {
    let mut sum = Sum::default();
    let mut open = vec![(term, 1i128)];
    while let Some((term, times)) = open.pop() {
        match *terms.node(term) {
            Node::Int(value) => sum.constant = sum.constant.checked_add(value.checked_mul(times)?)?,
            Node::Op(Op::IntAdd, a, b) => open.extend([(a, times), (b, times)]),
            Node::Op(Op::IntSub, a, b) => open.extend([(a, times), (b, times.checked_neg()?)]),
            Node::Op(Op::IntMul, a, b) if terms.as_int(a).is_some() => open.push((b, times.checked_mul(terms.as_int(a)?)?)),
            Node::Op(Op::IntMul, a, b) if terms.as_int(b).is_some() => open.push((a, times.checked_mul(terms.as_int(b)?)?)),
            _ => {
                let one = Sum { constant: 0, parts: BTreeMap::from([(term, 1)]) };
                sum.add(&one, times)?;
            }
        }
    }
    Some(sum)
}

/// A sum with definitions put in, modulo a number.
fn reduced(sum: Sum, known: &BTreeMap<Term, Sum>, modulus: i128) -> Option<Sum> {
    let mut sum = sum.with(known)?;
    sum.parts.values_mut().for_each(|factor| *factor = factor.rem_euclid(modulus));
    sum.parts.retain(|_, factor| *factor != 0);
    sum.constant = sum.constant.rem_euclid(modulus);
    Some(sum)
}

fn written(terms: &mut Terms, sum: &Sum) -> Term {
    let mut all = terms.int(sum.constant);
    for (term, factor) in &sum.parts {
        let factor = terms.int(*factor);
        let part = terms.op(Op::IntMul, factor, *term);
        all = terms.op(Op::IntAdd, all, part);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn congruent_sums_are_one() {
        let mut terms = Terms::new();
        let number = |terms: &mut Terms, name: &str| {
            let bits = terms.var(name, Sort::Bits(16));
            terms.to_int(bits)
        };
        let (old, was, is) = (number(&mut terms, "old"), number(&mut terms, "was"), number(&mut terms, "is"));
        let new = number(&mut terms, "new");
        let turns = terms.var("turns", Sort::Int);
        let modulus = terms.int(65_535);
        let moved = terms.op(Op::IntSub, was, is);
        let whole = terms.op(Op::IntMul, modulus, turns);
        let updated = terms.op(Op::IntAdd, old, moved);
        let updated = terms.op(Op::IntAdd, updated, whole);
        let updated = terms.eq(new, updated);
        let before = terms.op(Op::IntAdd, old, was);
        let after = terms.op(Op::IntAdd, is, new);
        let (before, after) = (terms.op(Op::IntMod, before, modulus), terms.op(Op::IntMod, after, modulus));
        let same = terms.eq(before, after);
        let all = congruent(&mut terms, &[updated, same]);
        assert_eq!(terms.as_bool(all[1]), Some(true));
        // In whatever order terms were made: here the newest is none that was updated.
        let latest = number(&mut terms, "latest");
        let (newer, again) = (number(&mut terms, "newer"), terms.var("again", Sort::Int));
        let state = number(&mut terms, "state");
        let moved = terms.op(Op::IntSub, is, state);
        let whole = terms.op(Op::IntMul, modulus, again);
        let more = terms.op(Op::IntAdd, new, moved);
        let more = terms.op(Op::IntAdd, more, whole);
        let (more, newer_still) = (terms.eq(newer, more), terms.eq(latest, newer));
        let after = terms.op(Op::IntAdd, state, latest);
        let after = terms.op(Op::IntMod, after, modulus);
        let same_again = terms.eq(before, after);
        let all = congruent(&mut terms, &[newer_still, updated, more, same_again]);
        assert_eq!(terms.as_bool(all[3]), Some(true));
        // Without what was updated they are not.
        let all = congruent(&mut terms, &[same]);
        assert_eq!(terms.as_bool(all[0]), None);
    }
}
