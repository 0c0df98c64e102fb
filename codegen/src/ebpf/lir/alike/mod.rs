//! Regions that are alike are there once: ports, protocols and interfaces have code of their own that often differs in numbers only. What begins alike is
//! gone through in lockstep ([`walk`]); numbers that differ come from one word ([`put`]), and where the copies have nothing in common, they go on apart.
//!
//! Never merged are different maps (the kernel looks up faster if it knows which), and commit points of different tables. Nothing is made longer: a region is
//! only merged if that leaves fewer instructions.

mod chains;
mod counted;
mod places;
mod put;
mod repair;
mod walk;

use super::{Arg, BlockId, End, Function, Op, Value};
use places::Places;
use rustc_hash::{FxHashSet, FxHasher};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use walk::{Walk, shape};

/// Instructions that must be saved at least.
const LEAST: usize = 4;
/// Copies at most.
const COPIES: usize = 64;
/// How far ahead blocks are compared before they are gone through.
const AHEAD: [u32; 3] = [0, 2, 6];
/// Regions that are tried before the first that is not merged ends a round.
const TRIED: usize = 35;
/// Rounds at most; each makes way for the next.
const ROUNDS: usize = 4;

/// Where regions are looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Among {
    /// Blocks that go on nowhere, or all to the same place.
    Ends,
    All,
}

impl Function {
    /// Merges what is alike.
    pub(super) fn merge_alike(&mut self) {
        let ends = self.merge_regions(Among::Ends);
        self.shorten_chains();
        let all = self.merge_regions(Among::All);
        self.shorten_chains();
        self.count_in_loops();
        if ends || all {
            self.simplify();
        }
    }

    /// Whether anything was merged.
    fn merge_regions(&mut self, among: Among) -> bool {
        let (mut merged, mut tried) = (false, FxHashSet::default());
        for round in 0..ROUNDS {
            // At first only what is alike as a whole.
            let changed = self.merge_once(among, round == 0 && among == Among::All, &mut tried);
            merged |= changed;
            if !changed && round > 0 {
                break;
            }
        }
        self.tidy();
        merged
    }

    fn merge_once(&mut self, among: Among, whole: bool, tried: &mut FxHashSet<Vec<BlockId>>) -> bool {
        let (mut places, mut merged) = (Places::of(self), false);
        let mut size = self.size(&places);
        for (most, group) in self.groups(&places, among) {
            let entries = apart(&places, &group);
            if entries.len() < 2 || tried.contains(&entries) {
                continue;
            }
            let Some(walk) = Walk::of(self, &places, &entries) else { continue };
            let saved = walk.saved();
            if saved < LEAST || whole && saved * 2 < most {
                continue;
            }
            let Some(plan) = put::plan(self, &places, &entries, &walk).filter(|plan| plan.cost() <= saved) else { continue };
            tried.insert(entries.clone());
            if let Some((function, now)) = put::put(self, &places, &entries, walk, plan)
                && function.size(&now) + LEAST <= size
            {
                (*self, places) = (function, now);
                // Numbers of blocks stay what they are for now; what is not reached is nothing more.
                for (id, block) in (0..).map(BlockId).zip(&mut self.blocks) {
                    if !places.is_reached(id) {
                        (block.insts, block.end) = (Vec::new(), End::Return(Arg::Number(0)));
                    }
                }
                size = self.size(&places);
                merged = true;
            } else if tried.len() > TRIED {
                break;
            }
        }
        merged
    }

    /// Blocks that begin alike, with the number of instructions that might be saved; first those with most.
    fn groups(&self, places: &Places, among: Among) -> Vec<(usize, Vec<BlockId>)> {
        let order = &places.dominators.order;
        // By block: instructions of all that it dominates.
        let mut below: Vec<usize> = self.blocks.iter().map(|block| block.insts.len() + 1).collect();
        for id in order.iter().rev() {
            if let Some(above) = places.dominators.above(*id) {
                below[above.index()] += below[id.index()];
            }
        }
        let mut signs: Vec<u64> = self.blocks.iter().map(|block| hash(&(block.params.len(), own(block)))).collect();
        if among == Among::Ends {
            for (sign, block) in signs.iter_mut().zip(&self.blocks) {
                *sign = hash(&(*sign, block.end.targets().collect::<Vec<_>>()));
            }
        }
        let candidates: Vec<BlockId> = order
            .iter()
            .copied()
            .filter(|id| {
                let block = &self.blocks[id.index()];
                let branches = matches!(block.end, End::Branch { .. });
                id.index() != 0
                    && if among == Among::Ends {
                        !branches && !block.insts.is_empty()
                    } else {
                        branches || !block.insts.is_empty()
                    }
            })
            .collect();
        let mut groups: BTreeMap<Vec<BlockId>, usize> = BTreeMap::new();
        let mut compared = 0;
        for ahead in AHEAD {
            while compared < ahead {
                let next = |block: &super::Block| block.end.targets().map(|to| signs[to.index()]).collect::<Vec<_>>();
                signs = self.blocks.iter().zip(&signs).map(|(block, sign)| hash(&(*sign, next(block)))).collect();
                compared += 1;
            }
            let mut alike: BTreeMap<u64, Vec<BlockId>> = BTreeMap::new();
            for id in &candidates {
                alike.entry(signs[id.index()]).or_default().push(*id);
            }
            for group in alike.into_values().filter(|group| group.len() > 1) {
                let sizes = group.iter().map(|id| below[id.index()]);
                let most = sizes.clone().sum::<usize>() - sizes.max().unwrap_or(0);
                groups.insert(group, most);
            }
        }
        let mut groups: Vec<_> =
            groups.into_iter().map(|(group, most)| (most, group)).filter(|(most, _)| *most >= LEAST).collect();
        groups.sort_by_key(|(most, _)| usize::MAX - most);
        groups
    }

    /// About how long it is.
    fn size(&self, places: &Places) -> usize {
        let block = |id: &BlockId| {
            let block = &self.blocks[id.index()];
            let calls = block.insts.iter().filter_map(|inst| match &inst.op {
                Op::Call { args, .. } | Op::Invoke { args, .. } => Some(args),
                _ => None,
            });
            let end = match &block.end {
                End::Jump(_, args) => args.len(),
                End::Branch { .. } => 1,
                End::Return(_) => 2,
            };
            block.insts.len() + calls.map(Vec::len).sum::<usize>() + end
        };
        places.dominators.order.iter().map(block).sum()
    }
}

/// Blocks of which none dominates another.
fn apart(places: &Places, group: &[BlockId]) -> Vec<BlockId> {
    let mut kept: Vec<BlockId> = Vec::new();
    for block in group {
        if places.is_reached(*block)
            && kept.len() < COPIES
            && !kept.iter().any(|other| places.dominates(*other, *block) || places.dominates(*block, *other))
        {
            kept.push(*block);
        }
    }
    kept
}

/// What a block does, without what copies may differ in.
fn own(block: &super::Block) -> Vec<(Op, Vec<Arg>)> {
    let own = |arg: Arg| match arg {
        Arg::Value(_) => Arg::Value(Value(0)),
        Arg::Number(_) => Arg::Number(0),
        Arg::Global(map, _) => Arg::Global(map, 0),
        other => other,
    };
    let mut all: Vec<(Op, Vec<Arg>)> =
        block.insts.iter().map(|inst| (shape(&inst.op), inst.op.args().into_iter().map(own).collect())).collect();
    if let Some((_, args)) = all.last_mut() {
        args.push(Arg::Number(match block.end {
            End::Jump(..) => 0,
            End::Branch { .. } => 1,
            End::Return(_) => 2,
        }));
    }
    all
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = FxHasher::default();
    what.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
