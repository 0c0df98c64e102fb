//! Where blocks lie and values are made: which block all ways to another lead through.

use super::super::simplify::Dominators;
use super::super::{Arg, BlockId, Cmp, End, Function, Value};
use std::collections::BTreeSet;

/// Blocks in the tree of those that dominate them, and values.
pub(super) struct Places {
    pub(super) dominators: Dominators,
    /// By block: its number on the way through the tree, and the last one below it. What is not reached is below nothing.
    numbers: Vec<(u32, u32)>,
    /// By value: the block that makes it; that of what the function is started with is the entry. Of what is not made any more it is none.
    made: Vec<BlockId>,
    ways: Vec<u32>,
}

impl Places {
    pub(super) fn of(function: &Function) -> Places {
        let (dominators, count) = (Dominators::of(function), function.blocks.len());
        let mut below = vec![Vec::new(); count];
        for block in &dominators.order {
            if let Some(above) = dominators.above(*block) {
                below[above.index()].push(*block);
            }
        }
        let mut numbers = vec![(u32::MAX, 0); count];
        let (mut next, mut stack) = (0, vec![(BlockId(0), 0)]);
        while let Some((block, child)) = stack.pop() {
            if child == 0 {
                numbers[block.index()].0 = next;
                next += 1;
            }
            match below[block.index()].get(child) {
                Some(child_block) => stack.extend([(block, child + 1), (*child_block, 0)]),
                None => numbers[block.index()].1 = next,
            }
        }
        let mut made = vec![BlockId(u32::MAX); function.types.len()];
        function.inputs.iter().for_each(|input| made[input.index()] = BlockId(0));
        for (id, block) in (0..).map(BlockId).zip(&function.blocks) {
            let results = block.insts.iter().filter_map(|inst| inst.result);
            block.params.iter().copied().chain(results).for_each(|value| made[value.index()] = id);
        }
        Places { dominators, numbers, made, ways: function.ways() }
    }

    /// Whether all ways to a block lead through another, or end there.
    pub(super) fn dominates(&self, above: BlockId, block: BlockId) -> bool {
        match (self.numbers.get(above.index()), self.numbers.get(block.index())) {
            (Some((first, end)), Some((at, _))) => first <= at && at < end,
            _ => false,
        }
    }

    /// Whether anything leads to a block.
    pub(super) fn is_reached(&self, block: BlockId) -> bool {
        self.numbers.get(block.index()).is_some_and(|(first, end)| first < end)
    }

    /// The block that makes a value.
    pub(super) fn made(&self, value: Value) -> BlockId {
        self.made.get(value.index()).copied().unwrap_or(BlockId(u32::MAX))
    }

    /// What words are at a block, by comparisons that all ways to it lead through: first the nearest. Whether the word is that number, or is not.
    pub(super) fn facts<'p>(&'p self, function: &'p Function, block: BlockId) -> impl Iterator<Item = (Value, u64, bool)> + 'p {
        let up = std::iter::successors(Some(block), |at| self.dominators.above(*at));
        up.filter_map(|at| {
            let above = self.dominators.above(at).filter(|_| self.ways[at.index()] == 1)?;
            let End::Branch { cmp, a: Arg::Value(value), b: Arg::Number(number), then, other } =
                function.blocks[above.index()].end
            else {
                return None;
            };
            match cmp {
                Cmp::Eq | Cmp::Ne if then != other => Some((value, number, (cmp == Cmp::Eq) == (then == at))),
                _ => None,
            }
        })
    }

    /// How many values there are.
    pub(super) fn values(&self) -> usize {
        self.made.len()
    }

    /// Values that are used where they are not made on all ways there.
    pub(super) fn missing(&self, function: &Function) -> BTreeSet<Value> {
        let mut seen = vec![false; function.types.len()];
        function.inputs.iter().for_each(|input| seen[input.index()] = true);
        let mut missing = BTreeSet::new();
        for id in &self.dominators.order {
            let block = &function.blocks[id.index()];
            let mut note = |args: &[Arg], seen: &[bool]| {
                let there = |value: &Value| {
                    let made = self.made(*value);
                    if made == *id { seen[value.index()] } else { self.dominates(made, *id) }
                };
                missing.extend(args.iter().filter_map(|arg| arg.value()).filter(|value| !there(value)));
            };
            block.params.iter().for_each(|param| seen[param.index()] = true);
            for inst in &block.insts {
                note(&inst.op.args(), &seen);
                inst.result.iter().for_each(|value| seen[value.index()] = true);
            }
            note(&block.end.args(), &seen);
        }
        missing
    }
}
