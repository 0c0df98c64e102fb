//! Places in the IR, and which of them are one place in the source.

use super::Operator;
use crate::span::Span;
use std::collections::BTreeMap;

/// Something that can be changed, at one place in the IR.
pub(super) struct Place {
    pub(super) operator: Operator,
    pub(super) span: Span,
    pub(super) element: String,
    pub(super) words: String,
    /// The number of the body that it is in.
    pub(super) body: u32,
    /// The number of the expression in its statement.
    pub(super) within: u32,
    /// Of several other ways at the same place, which one.
    pub(super) way: u32,
}

/// Names a change whatever the values of compile-time parameters are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub(super) span: Span,
    pub(super) operator: Operator,
    /// The words, with all numbers blotted out.
    blotted: String,
    within: u32,
    /// Of those in one body that differ in their numbers, which one: what was expanded from a loop.
    nth: u32,
    way: u32,
}

impl Key {
    /// What all ways at the same place have in common.
    pub(super) fn site(&self) -> (Span, Operator, u32, u32, String) {
        let before = self.blotted.split(" -> ").next().unwrap_or_default().to_string();
        (self.span, self.operator, self.within, self.nth, if self.is_one_of_several() { before } else { self.blotted.clone() })
    }

    fn is_one_of_several(&self) -> bool {
        matches!(self.operator, Operator::SwapOutput | Operator::KeepNotDrop)
    }
}

/// Places that are changed together.
pub(super) struct Group {
    pub(super) key: Key,
    pub(super) element: String,
    /// What is done at the first of them.
    pub(super) words: String,
    /// All of them, by number.
    pub(super) numbers: Vec<usize>,
}

/// Puts together what is one place in the source; in the order of the first of each.
pub(super) fn groups(places: Vec<Place>) -> Vec<Group> {
    let mut all: Vec<Group> = Vec::new();
    let mut index: BTreeMap<Key, usize> = BTreeMap::new();
    // What was met in a body, blotted: its words in order.
    let mut met: BTreeMap<(u32, Key), Vec<String>> = BTreeMap::new();
    for (number, place) in places.into_iter().enumerate() {
        let Place { operator, span, element, words, body, within, way } = place;
        let mut key = Key { span, operator, blotted: blot(&words), within, nth: 0, way };
        let alike = met.entry((body, key.clone())).or_default();
        key.nth = match alike.iter().position(|known| *known == words) {
            Some(at) => at as u32,
            None => {
                alike.push(words.clone());
                alike.len() as u32 - 1
            }
        };
        match index.get(&key) {
            Some(at) => all[*at].numbers.push(number),
            None => {
                index.insert(key.clone(), all.len());
                all.push(Group { key, element, words, numbers: vec![number] });
            }
        }
    }
    all
}

/// The words with `#` for each number; contracts with alternatives make inputs that differ behind a slash.
fn blot(words: &str) -> String {
    let mut text = String::new();
    let mut rest = words.chars().peekable();
    while let Some(c) = rest.next() {
        if !c.is_ascii_digit() {
            text.push(c);
            continue;
        }
        while rest.peek().is_some_and(|c| c.is_ascii_alphanumeric() || *c == '_') {
            rest.next();
        }
        text.push('#');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::blot;

    #[test]
    fn numbers_are_blotted_out() {
        assert_eq!(blot("`t12 == 0xffu32` -> `t12 != 7u8`"), "`t# == #` -> `t# != #`");
        assert_eq!(blot("emit to_port[3]"), "emit to_port[#]");
    }
}
