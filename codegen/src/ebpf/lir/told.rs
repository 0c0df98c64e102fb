//! Words that are only compared with numbers: what no comparison tells apart is one number. The kernel's verifier goes through what follows once for each
//! number that it knows a word to be.

use super::{Arg, BlockId, Cmp, End, Function, Type, Value, mask};
use std::collections::{BTreeMap, BTreeSet};

/// Bits of a word whose numbers are gone through at most.
const BITS: u8 = 6;

/// Parameters of which one is given on to another, and all comparisons with them.
#[derive(Clone, Default)]
struct Family {
    params: BTreeSet<Value>,
    asked: Vec<(Cmp, u64)>,
}

impl Function {
    /// Gives parameters that are only compared one number for all that is not told apart.
    pub(super) fn forget_untold(&mut self) {
        let families = self.compared_only();
        let mut changed: Vec<(BlockId, usize, u64)> = Vec::new();
        for (id, block) in (0..).map(BlockId).zip(&self.blocks) {
            let End::Jump(to, args) = &block.end else { continue };
            for (at, (param, arg)) in self.blocks[to.index()].params.iter().zip(args).enumerate() {
                let family = families.iter().find(|family| family.params.contains(param));
                let Some(family) = family.filter(|family| !arg.value().is_some_and(|value| family.params.contains(&value)))
                else {
                    continue;
                };
                if let Some(number) = family.least(self.numbers(*arg)).filter(|number| *arg != Arg::Number(*number)) {
                    changed.push((id, at, number));
                }
            }
        }
        for (from, at, number) in changed {
            if let End::Jump(_, args) = &mut self.blocks[from.index()].end {
                args[at] = Arg::Number(number);
            }
        }
        self.drop_unused();
    }

    /// What a word can be, if that is few numbers; else nothing.
    fn numbers(&self, arg: Arg) -> std::ops::RangeInclusive<u64> {
        match arg {
            Arg::Value(value) if self.types[value.index()] == Type::Word && self.bits[value.index()] <= BITS => {
                0..=mask(self.bits[value.index()])
            }
            Arg::Number(number) => number..=number,
            _ => std::ops::RangeInclusive::new(1, 0),
        }
    }

    /// Parameters that are compared with numbers, or given on to such parameters, and nothing else.
    fn compared_only(&self) -> Vec<Family> {
        let params = self.blocks.iter().flat_map(|block| block.params.iter().copied());
        let mut only: BTreeSet<Value> = params.filter(|param| self.types[param.index()] == Type::Word).collect();
        let mut asked: BTreeMap<Value, Vec<(Cmp, u64)>> = BTreeMap::new();
        let mut given: Vec<(Value, Value)> = Vec::new();
        for block in &self.blocks {
            let mut used = block.insts.iter().flat_map(|inst| inst.op.args()).collect::<Vec<_>>();
            match &block.end {
                End::Branch { cmp, a: Arg::Value(word), b: Arg::Number(number), .. } => {
                    asked.entry(*word).or_default().push((*cmp, *number));
                }
                End::Jump(to, args) => {
                    let params = self.blocks[to.index()].params.iter();
                    given.extend(params.zip(args).filter_map(|(param, arg)| Some((arg.value()?, *param))));
                }
                end => used.extend(end.args()),
            }
            used.iter().filter_map(|arg| arg.value()).for_each(|value| {
                only.remove(&value);
            });
        }
        // Who gives something on to what is more than compared is more than compared, too.
        while let Some((from, _)) = given.iter().find(|(from, to)| only.contains(from) && !only.contains(to)) {
            only.remove(from);
        }
        let mut families: Vec<Family> = Vec::new();
        while let Some(first) = only.pop_first() {
            let mut family = Family::default();
            let mut work = vec![first];
            while let Some(param) = work.pop() {
                if family.params.insert(param) {
                    only.remove(&param);
                    family.asked.extend(asked.get(&param).into_iter().flatten());
                    let both = given.iter().flat_map(|(from, to)| [(*from, *to), (*to, *from)]);
                    work.extend(both.filter(|(one, other)| *one == param && only.contains(other)).map(|(_, other)| other));
                }
            }
            families.push(family);
        }
        families
    }
}

impl Family {
    /// The least number of which the same holds as of all of these.
    fn least(&self, numbers: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let holds = |n: u64| self.asked.iter().map(|(cmp, number)| cmp.holds(n, *number)).collect::<Vec<_>>();
        let first = holds(numbers.clone().next()?);
        let same = |n: &u64| holds(*n) == first;
        numbers.clone().all(|n| same(&n)).then(|| (0..=mask(BITS)).find(same)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Builder, Field, Helper, check};
    use super::*;
    use grv_lang::span::Span;

    /// A word that is 2, 3, or a bit, where ways meet; it is asked whether it is less than 2, or this number, and what it is is given back, or not.
    fn met(number: u64, given_back: bool) -> Function {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let port = b.field(b.input(0).value().unwrap(), Field::IngressIfindex);
        let random = b.call(Helper::Random, Vec::new());
        let bit = b.low(random, 1);
        let meets = b.block();
        let (word, other) = (b.param(meets, Type::Word, 2), b.param(meets, Type::Word, 32));
        for (n, given) in [(1, Arg::Number(2)), (2, Arg::Number(3))] {
            let (here, next) = (b.block(), b.block());
            b.branch(Cmp::Eq, port, Arg::Number(n), here, next);
            b.enter(here);
            b.jump(meets, vec![given, Arg::Number(n)]);
            b.enter(next);
        }
        b.jump(meets, vec![bit, random]);
        b.enter(meets);
        let (few, more) = (b.block(), b.block());
        b.branch(Cmp::Lt, Arg::Value(word), Arg::Number(2), few, more);
        b.enter(more);
        let (one, rest) = (b.block(), b.block());
        b.branch(Cmp::Eq, Arg::Value(word), Arg::Number(number), one, rest);
        b.enter(one);
        b.ret(if given_back { Arg::Value(word) } else { Arg::Number(77) });
        for block in [few, rest] {
            b.enter(block);
            b.ret(Arg::Value(other));
        }
        let function = b.finish("f");
        check(&function).unwrap_or_else(|e| panic!("{e}"));
        function
    }

    /// What is given where ways meet.
    fn given(function: &Function) -> Vec<Option<u64>> {
        let mut given: Vec<Option<u64>> = Vec::new();
        for block in &function.blocks {
            if let End::Jump(_, args) = &block.end {
                given.extend(args.first().map(|arg| arg.number()));
            }
        }
        given.sort_unstable();
        given
    }

    #[test]
    fn what_is_not_told_apart_is_one_number() {
        // The bit is less than 2, whichever it is; of 2 and 3 one is asked for.
        assert_eq!(given(&met(3, false)), [Some(0), Some(2), Some(3)]);
        // Nobody asks for either.
        assert_eq!(given(&met(9, false)), [Some(0), Some(2), Some(2)]);
        // What is needed for more than that stays what it is.
        assert_eq!(given(&met(3, true)), [None, Some(2), Some(3)]);
    }
}
