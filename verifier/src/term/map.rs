//! What terms come to: a map from terms to terms. Walks meet most of the terms up to the newest one, so that a row of them serves better
//! than hashing.

use super::Term;
use std::ops::Index;

/// Stands for none: there are fewer terms.
const NONE: Term = Term(u32::MAX);

/// Terms by term.
#[derive(Debug, Default)]
pub struct TermMap {
    values: Vec<Term>,
}

impl TermMap {
    /// An empty map.
    pub fn new() -> TermMap {
        TermMap::default()
    }

    /// What a term comes to, if that is known.
    pub fn get(&self, term: Term) -> Option<Term> {
        self.values.get(term.0 as usize).copied().filter(|value| *value != NONE)
    }

    /// Notes what a term comes to.
    pub fn insert(&mut self, term: Term, value: Term) {
        let at = term.0 as usize;
        if at >= self.values.len() {
            self.values.resize(at + 1, NONE);
        }
        self.values[at] = value;
    }
}

impl Index<Term> for TermMap {
    type Output = Term;

    /// What a term comes to that was noted.
    fn index(&self, term: Term) -> &Term {
        let value = &self.values[term.0 as usize];
        assert!(*value != NONE, "nothing is known of this term");
        value
    }
}
