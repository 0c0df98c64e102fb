//! Quantified formulas, by all their instances: at the keys that are there, the elements of an array, or the integers of a range.

use super::case::{Case, Differs};
use super::formula::Formula;
use super::state::of_sort;
use crate::sym::{Engine, Over, Sym, Unsupported};
use crate::term::eval::Concrete;
use crate::term::{Node, Sort, Term};
use rustc_hash::FxHashMap;

/// More instances than these are not looked at.
const MOST: i128 = 300;

/// A quantified formula at a key that is a symbol by itself.
pub(super) struct Quantified {
    term: Term,
    key: Vec<Sym>,
    pub(super) instance: Term,
    /// Those that the instance speaks of.
    inner: Vec<u32>,
    /// Whether it has a value: how many keys there are of a kind is not put into formulas.
    counts: bool,
}

/// All quantified formulas that some formulas speak of, by number.
pub(super) fn all(engine: &mut Engine<'_>, roots: &[Term]) -> Result<FxHashMap<u32, Quantified>, Unsupported> {
    let mut found = FxHashMap::default();
    let mut open = numbers(engine, roots);
    while let Some(number) = open.pop() {
        if found.contains_key(&number) {
            continue;
        }
        let key = engine.any_key(number);
        let instance = engine.instance(number, &key, 1)?;
        let inner = numbers(engine, &[instance]);
        open.extend(&inner);
        let term = engine.terms.quantified(number);
        let open = |term: &Term| matches!(engine.terms.node(*term), Node::Apply(s, _) if engine.terms.declared(*s).name.starts_with("count!"));
        let counts = engine.terms.cone(&[instance]).iter().any(open);
        found.insert(number, Quantified { term, key, instance, inner, counts });
    }
    Ok(found)
}

/// The quantified formulas in some formulas.
pub(super) fn numbers(engine: &Engine<'_>, roots: &[Term]) -> Vec<u32> {
    let number = |term: Term| if let Node::Quantified(number) = engine.terms.node(term) { Some(*number) } else { None };
    engine.terms.cone(roots).into_iter().filter_map(number).collect()
}

impl Case<'_, '_> {
    /// The value of a formula that may speak of all keys; none if these are too many.
    pub(super) fn holds_of_all(&mut self, formula: Term, quants: &[u32]) -> Result<Option<bool>, Differs> {
        if !self.settle(quants)? {
            return Ok(None);
        }
        self.holds(formula).map(Some)
    }

    /// Finds the values of quantified formulas.
    fn settle(&mut self, quants: &[u32]) -> Result<bool, Differs> {
        let mut known = Vec::new();
        for number in quants {
            match self.quantified(*number)? {
                Some(value) => known.push((self.formula.quants[number].term, value)),
                None => return Ok(false),
            }
        }
        if !known.is_empty() {
            self.values.forget(self.formula.mark);
        }
        for (term, value) in known {
            self.values.set(term, Concrete::Bool(value));
        }
        Ok(true)
    }

    fn quantified(&mut self, number: u32) -> Result<Option<bool>, Differs> {
        let formula: &Formula<'_> = self.formula;
        let quant = &formula.quants[&number];
        let Some(keys) = self.keys(number)?.filter(|_| !quant.counts) else { return Ok(None) };
        let universal = formula.engine.is_universal(number);
        for key in keys {
            match self.instance(quant, &key)? {
                Some(holds) if holds != universal => return Ok(Some(holds)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
        Ok(Some(universal))
    }

    /// Whether an instance holds.
    pub(super) fn instance(&mut self, quant: &Quantified, key: &[u128]) -> Result<Option<bool>, Differs> {
        self.values.forget(self.formula.mark);
        for (part, bits) in quant.key.iter().zip(key) {
            self.give_sym(*part, *bits);
        }
        self.holds_of_all(quant.instance, &quant.inner)
    }

    /// The keys that a quantified formula speaks of.
    fn keys(&mut self, number: u32) -> Result<Option<Vec<Vec<u128>>>, Differs> {
        let engine = &self.formula.engine;
        let elements = |count: i128| (count <= MOST).then(|| (0..count).map(|at| vec![at as u128]).collect());
        Ok(match engine.quants[number as usize].over.clone() {
            Over::Entries { table, .. } => {
                let state = self.before.new.as_deref().unwrap_or(&self.before);
                let keys: Vec<Vec<u128>> = state.entries(table).keys().cloned().collect();
                (keys.len() as i128 <= MOST).then_some(keys)
            }
            Over::Elements { table, .. } => elements(engine.program.tables[table.index()].capacity.into()),
            Over::Range { low, high, .. } => {
                let (low, high) = (self.integer(low)?, self.integer(high)?);
                let keys = || (low..=high).map(|at| vec![at as u128]).collect();
                (low > high || high - low < MOST).then(keys)
            }
        })
    }

    /// An integer's value.
    fn integer(&mut self, sym: Sym) -> Result<i128, Differs> {
        let bits = self.scalar(sym)? as i128;
        Ok(match (sym, sym_sort(&self.formula.engine, sym)) {
            (Sym::Small { .. }, Sort::Bits(width)) => bits << (128 - u32::from(width)) >> (128 - u32::from(width)),
            _ => bits,
        })
    }

    /// Of a search that no way leads to: what it finds all the same. True if it finds something.
    pub(super) fn finds(&mut self, index: Sym, hit: Term, earlier: u32) -> Result<(), Differs> {
        self.give_index(index, 0);
        self.give(hit, 0);
        let quant = &self.formula.quants[&earlier];
        for key in self.keys(earlier)?.unwrap_or_default() {
            if self.instance(quant, &key)? == Some(true) {
                self.give_index(index, key[0]);
                self.give(hit, 1);
                break;
            }
        }
        // The search was looked at as if it found nothing.
        self.values = Default::default();
        Ok(())
    }
}

fn sym_sort(engine: &Engine<'_>, sym: Sym) -> Sort {
    engine.terms.sort(super::formula::term_of(sym))
}

/// A scalar as a value of a sort; integers of bit-vectors keep their low bits.
pub(super) fn narrowed(sort: Sort, bits: u128) -> Concrete {
    match sort {
        Sort::Bits(width) if width < 128 => of_sort(sort, bits & ((1 << width) - 1)),
        _ => of_sort(sort, bits),
    }
}
