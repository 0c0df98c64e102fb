//! Ways that end alike: instructions before jumps to the same place, or before ends of the program, that are the same are there once, and all but one of the
//! ways jump to them. No way has more jumps for it: one that goes on at once keeps what is its own.

use super::super::lir::{BlockId, Helper};
use super::{Emit, Insn, LD_IMM64};
use std::collections::{BTreeMap, BTreeSet};

/// Tails that one is compared with at most.
const MOST: usize = 256;

/// Where a way ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Goal {
    Exit,
    Block(BlockId),
}

impl Emit {
    /// Merges tails; new places are added to `starts`. The way that is gone most often keeps its own.
    pub(super) fn merge_tails(&mut self, starts: &mut Vec<usize>, often: &[f64]) {
        let jumps: BTreeMap<usize, BlockId> = self.jumps.iter().copied().collect();
        let first: BTreeSet<usize> = starts.iter().copied().collect();
        let named: BTreeMap<usize, u32> = self.code.relocations.iter().map(|(at, map)| (*at, map.0)).collect();
        let called: BTreeMap<usize, u32> = self.code.functions.iter().copied().collect();
        // Places that only lead on are where they lead to.
        let leads = |mut block: BlockId| {
            for _ in 0..starts.len() {
                let at = starts[block.index()];
                match jumps.get(&at).filter(|_| self.code.insns.get(at) == Some(&Insn::jump())) {
                    Some(next) => block = *next,
                    None => break,
                }
            }
            block
        };
        let goal = |at: usize| match self.code.insns[at] {
            insn if insn == Insn::exit() => Some((Goal::Exit, false)),
            insn if insn == Insn::jump() => {
                let to = *jumps.get(&at)?;
                Some((Goal::Block(leads(to)), starts[to.index()] == at + 1))
            }
            _ => None,
        };
        let mut ends: BTreeMap<Goal, Vec<(bool, usize)>> = BTreeMap::new();
        for at in 0..self.code.insns.len() {
            if let Some((goal, goes_on)) = goal(at) {
                ends.entry(goal).or_default().push((!goes_on, at));
            }
        }
        // The second half of a number in two slots says nothing by itself.
        let second: BTreeSet<usize> =
            (0..self.code.insns.len()).filter(|at| self.code.insns[*at].code == LD_IMM64).map(|at| at + 1).collect();
        let ends_way = |at: usize| jumps.contains_key(&at) || self.code.insns[at] == Insn::exit();
        let alike = |a: usize, b: usize| {
            self.code.insns[a] == self.code.insns[b] && named.get(&a) == named.get(&b) && called.get(&a) == called.get(&b)
        };
        // The register in which a helper is given a map.
        let takes_map = |at: usize| {
            let insn = self.code.insns[at];
            let helper = Helper::ALL.into_iter().find(|helper| insn == Insn::call(helper.number()));
            helper.and_then(Helper::map_argument)
        };
        // How many instructions before two ends are the same. The map of a call is named with it: where the kernel meets a call with several maps, it calls
        // more slowly.
        let common = |a: usize, b: usize| {
            let (mut length, mut whole) = (0, 0);
            let mut wanted: Option<u8> = None;
            while !first.contains(&(a - length)) && !first.contains(&(b - length)) && length < a.min(b) {
                let (x, y) = (a - length - 1, b - length - 1);
                if ends_way(x) || ends_way(y) || !alike(x, y) {
                    break;
                }
                length += 1;
                wanted =
                    takes_map(x).or(wanted).filter(|register| !(named.contains_key(&x) && self.code.insns[x].dst == *register));
                if wanted.is_none() && !second.contains(&x) && !second.contains(&y) {
                    whole = length;
                }
            }
            whole
        };
        let mut merged: Vec<(usize, usize, usize)> = Vec::new();
        for (_, mut tails) in ends {
            tails.sort_by(|a, b| a.0.cmp(&b.0).then(often[b.1].total_cmp(&often[a.1])).then(a.1.cmp(&b.1)));
            let mut kept: Vec<usize> = Vec::new();
            for (free, at) in tails {
                let best = kept
                    .iter()
                    .take(MOST)
                    .map(|other| (common(at, *other), *other))
                    .max_by_key(|(length, other)| (*length, usize::MAX - other));
                match best.filter(|(length, _)| free && *length > 0) {
                    Some((length, other)) => merged.push((at, length, other - length)),
                    None => kept.push(at),
                }
            }
        }
        merged.sort_unstable();
        for (at, length, to) in merged {
            let place = BlockId(starts.len() as u32);
            starts.push(to);
            let from = at - length;
            self.code.insns[from..at].fill(Insn::jump());
            self.code.relocations.retain(|(named, _)| !(from..at).contains(named));
            self.code.functions.retain(|(named, _)| !(from..at).contains(named));
            self.jumps.retain(|(jump, _)| *jump != at);
            self.code.insns[at] = Insn::jump();
            self.jumps.push((from, place));
        }
        self.jumps.sort_unstable_by_key(|(at, _)| *at);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::lir::{Arg, Builder, Cmp, Field, Helper, MapId, Type};
    use super::super::{Insn, compile};
    use grv_lang::span::Span;

    #[test]
    fn ways_that_end_alike_end_once() {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let context = b.input(0).value().unwrap();
        let number = b.field(context, Field::IngressIfindex);
        let slot = b.slot(16);
        // Three ways, of which the last steps are the same, but for what the third one gives. They begin in different ways.
        for (value, bytes, verdict) in [(1, 1, 7), (2, 2, 7), (3, 4, 9)] {
            let (this, next) = (b.block(), b.block());
            b.branch(Cmp::Eq, number, Arg::Number(value), this, next);
            b.enter(this);
            b.store(Arg::Stack(slot, 8), 0, bytes, Arg::Number(value));
            b.store(Arg::Stack(slot, 0), 0, 8, Arg::Number(5));
            b.store(Arg::Stack(slot, 0), 4, 4, Arg::Number(6));
            b.ret(Arg::Number(verdict));
            b.enter(next);
        }
        b.ret(Arg::Number(0));
        let code = compile(&b.finish("f")).unwrap();
        let count = |insn: Insn| code.insns.iter().filter(|other| **other == insn).count();
        let below = -(code.stack as i16);
        assert_eq!((count(Insn::store_imm(8, 10, below, 5)), count(Insn::store_imm(4, 10, below + 4, 6))), (2, 2));
        assert_eq!([(1, 1), (2, 2), (3, 4)].map(|(value, bytes)| count(Insn::store_imm(bytes, 10, below + 8, value))), [1, 1, 1]);
        // Wherever a way goes, it ends: all jumps are to instructions, and the last one is an end or a jump back.
        for (at, insn) in code.insns.iter().enumerate() {
            let jumps = insn.negated().is_some() || *insn == Insn { offset: insn.offset, ..Insn::jump() };
            if jumps {
                assert!((0..code.insns.len() as i64).contains(&(at as i64 + 1 + i64::from(insn.offset))));
            }
        }
    }

    #[test]
    fn each_map_has_calls_of_its_own() {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let context = b.input(0).value().unwrap();
        let number = b.field(context, Field::IngressIfindex);
        for (value, map) in [(1, 0), (2, 1), (3, 0)] {
            let (this, next) = (b.block(), b.block());
            b.branch(Cmp::Eq, number, Arg::Number(value), this, next);
            b.enter(this);
            let verdict = b.call(Helper::RedirectMap, vec![Arg::Map(MapId(map)), Arg::Number(0), Arg::Number(9)]);
            b.ret(verdict);
            b.enter(next);
        }
        b.ret(Arg::Number(0));
        let code = compile(&b.finish("f")).unwrap();
        let calls: Vec<usize> = (0..code.insns.len()).filter(|at| code.insns[*at] == Insn::call(51)).collect();
        assert_eq!(calls.len(), 2);
        for call in calls {
            let named = code.relocations.iter().filter(|(at, _)| (call - 4..call).contains(at)).count();
            assert_eq!(named, 1, "right before the call");
        }
    }
}
