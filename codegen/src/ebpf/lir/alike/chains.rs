//! Chains of comparisons of a word with numbers, which all lead to one place that is given the number: the place is given the word.

use super::super::{Arg, BlockId, Cmp, End, Function, Type, Value};
use super::places::Places;

impl Function {
    /// Makes them shorter.
    pub(super) fn shorten_chains(&mut self) {
        self.lead_on();
        loop {
            let places = Places::of(self);
            let ways = self.ways();
            let mut changed = false;
            // From the last to the first: what a chain ends with is part of what comes before.
            for id in places.dominators.order.iter().rev() {
                if let Some(end) = self.shorter(&places, &ways, *id) {
                    self.blocks[id.index()].end = end;
                    changed = true;
                }
            }
            if !changed {
                break;
            }
            self.tidy();
        }
    }

    /// A shorter end of a block.
    fn shorter(&mut self, places: &Places, ways: &[u32], id: BlockId) -> Option<End> {
        let End::Branch { cmp, a: Arg::Value(word), b: Arg::Number(number), then, other } = self.blocks[id.index()].end else {
            return None;
        };
        if self.types[word.index()] != Type::Word {
            return None;
        }
        let (then, other, below) = match cmp {
            Cmp::Eq => (then, other, None),
            Cmp::Ne => (other, then, None),
            Cmp::Lt => (then, other, Some(number)),
            _ => return None,
        };
        // Both ways lead to one place with the same, or with the number for the word.
        let (to, args) = self.leads(then)?;
        if let Some((further, more)) = self.leads(other)
            && further == to
        {
            let pick = |(here, there): (&Arg, &Arg)| match (*here, *there) {
                (here, there) if here == there => Some(here),
                (Arg::Number(n), Arg::Value(value)) if value == word && below.is_none() && n == number => Some(*there),
                (Arg::Number(n), Arg::Number(m)) if below.is_none() && n == number && self.is_known(places, other, word, m) => {
                    Some(Arg::Value(word))
                }
                (Arg::Value(value), Arg::Number(m)) if value == word && self.is_known(places, other, word, m) => Some(*here),
                (Arg::Value(value), Arg::Number(m))
                    if value == word && below == Some(m) && self.is_below(places, ways, id, word, m.saturating_add(1)) =>
                {
                    Some(*here)
                }
                _ => None,
            };
            if let Some(args) = args.iter().zip(&more).map(pick).collect::<Option<Vec<_>>>() {
                return Some(End::Jump(to, args));
            }
        }
        // The next comparison is with the next number, and leads there, too.
        if ways[other.index()] != 1 || ways[then.index()] != 1 || !self.blocks[other.index()].insts.is_empty() {
            return None;
        }
        let End::Branch { cmp: Cmp::Eq, a, b: Arg::Number(next), then: again, other: rest } = self.blocks[other.index()].end
        else {
            return None;
        };
        let (further, more) = self.leads(again).filter(|(further, _)| *further == to && a == Arg::Value(word))?;
        let limit = below.unwrap_or(1);
        if next != limit || below.is_none() && number != 0 || further != to {
            return None;
        }
        let pick = |(here, there): (&Arg, &Arg)| match (*here, *there) {
            (here, there) if here == there => Some(here),
            (Arg::Value(value), Arg::Number(n)) if value == word && n == next => Some(*here),
            (Arg::Number(0), Arg::Number(n)) if below.is_none() && n == next => Some(Arg::Value(word)),
            _ => None,
        };
        let args = args.iter().zip(&more).map(pick).collect::<Option<Vec<_>>>()?;
        self.blocks[then.index()].end = End::Jump(to, args);
        Some(End::Branch { cmp: Cmp::Lt, a, b: Arg::Number(limit + 1), then, other: rest })
    }

    /// Where a block only leads on to.
    fn leads(&self, mut block: BlockId) -> Option<(BlockId, Vec<Arg>)> {
        let mut found = None;
        // It may lead on to itself.
        for _ in 0..self.blocks.len() {
            let here = &self.blocks[block.index()];
            match &here.end {
                End::Jump(to, args) if here.insts.is_empty() && here.params.is_empty() => {
                    found = Some((*to, args.clone()));
                    block = *to;
                }
                _ => break,
            }
        }
        found
    }

    /// Jumps to where a block only leads on lead there at once.
    fn lead_on(&mut self) {
        for at in 0..self.blocks.len() {
            if let End::Jump(to, _) = &self.blocks[at].end
                && let Some((to, args)) = self.leads(*to)
            {
                self.blocks[at].end = End::Jump(to, args);
            }
        }
        self.tidy();
    }

    /// Whether a word was found to be less than a number on the way to a block.
    fn is_below(&self, places: &Places, ways: &[u32], mut block: BlockId, word: Value, number: u64) -> bool {
        while ways[block.index()] == 1
            && let Some(above) = places.dominators.above(block)
        {
            if let End::Branch { cmp: Cmp::Lt, a, b: Arg::Number(most), then, other } = self.blocks[above.index()].end
                && (a, then) == (Arg::Value(word), block)
                && other != block
                && most <= number
            {
                return true;
            }
            block = above;
        }
        false
    }

    /// Whether a word can only be this number at a block.
    fn is_known(&self, places: &Places, block: BlockId, word: Value, number: u64) -> bool {
        let facts: Vec<(u64, bool)> =
            places.facts(self, block).filter(|(value, ..)| *value == word).map(|(_, number, equal)| (number, equal)).collect();
        let few = 1_u64 << self.bits[word.index()].min(6);
        let left = (0..few).filter(|n| !facts.contains(&(*n, false))).collect::<Vec<_>>();
        facts.contains(&(number, true)) || self.bits[word.index()] <= 6 && left == [number]
    }
}
