//! A packet that leaves by a port whose number is a word: instead of one call for each number, the kernel is given the word.

use super::{Arg, Block, BlockId, Cmp, End, Function, Helper, Op, Value};

/// Bits of a word whose numbers are gone through at most.
const BITS: u8 = 6;

/// What a block does that does nothing else: `map`, the place in it, and flags.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Redirect {
    map: Arg,
    to: Arg,
    flags: Arg,
}

impl Function {
    /// Branches that only choose among places of a map become one call.
    pub(super) fn redirect_by_word(&mut self) {
        let ways = self.ways();
        let mut before: Vec<Option<BlockId>> = vec![None; self.blocks.len()];
        for (id, block) in (0..).map(BlockId).zip(&self.blocks) {
            block.end.targets().filter(|to| ways[to.index()] == 1).for_each(|to| before[to.index()] = Some(id));
        }
        let mut changed = true;
        while std::mem::take(&mut changed) {
            for index in 0..self.blocks.len() {
                let Some((word, number, same, other)) = asked(&self.blocks[index].end) else { continue };
                let (same, other) = (self.beyond(same), self.beyond(other));
                let (Some(one), Some(rest)) = (self.redirects(same), self.redirects(other)) else { continue };
                let alike = (one.map, one.flags) == (rest.map, rest.flags);
                let left = || self.left(word, BlockId(index as u32), &before);
                let is_word = rest.to == Arg::Value(word)
                    || rest
                        .to
                        .number()
                        .is_some_and(|last| left().is_some_and(|left| left.iter().all(|n| *n == number || *n == last)));
                if !alike || one.to != Arg::Number(number) || !is_word {
                    continue;
                }
                let from = &self.blocks[other.index()];
                let (mut inst, end) = (from.insts[0].clone(), self.types.len() as u32);
                let ty = inst.result.map(|result| (self.types[result.index()], self.bits[result.index()]));
                let Some((ty, bits)) = ty else { continue };
                self.types.push(ty);
                self.bits.push(bits);
                inst.result = Some(Value(end));
                inst.op = Op::Call { helper: Helper::RedirectMap, args: vec![one.map, Arg::Value(word), one.flags] };
                let block = &mut self.blocks[index];
                block.insts.push(inst);
                block.end = End::Return(Arg::Value(Value(end)));
                changed = true;
            }
        }
        self.tidy();
    }

    /// What a block does, if it sends a packet by a map and does nothing else.
    fn redirects(&self, block: BlockId) -> Option<Redirect> {
        let block = &self.blocks[block.index()];
        let [inst] = block.insts.as_slice() else { return None };
        let (Op::Call { helper: Helper::RedirectMap, args }, End::Return(Arg::Value(verdict))) = (&inst.op, &block.end) else {
            return None;
        };
        let [map, to, flags] = args.as_slice() else { return None };
        (inst.result == Some(*verdict) && block.params.is_empty()).then_some(Redirect { map: *map, to: *to, flags: *flags })
    }

    /// Where a block that only leads on leads to.
    fn beyond(&self, mut block: BlockId) -> BlockId {
        for _ in 0..self.blocks.len() {
            match &self.blocks[block.index()] {
                Block { params, insts, end: End::Jump(to, args), .. }
                    if params.is_empty() && insts.is_empty() && args.is_empty() =>
                {
                    block = *to;
                }
                _ => break,
            }
        }
        block
    }

    /// The numbers that a word can be at the end of a block, if they are few.
    fn left(&self, word: Value, mut at: BlockId, before: &[Option<BlockId>]) -> Option<Vec<u64>> {
        let bits = self.bits[word.index()];
        let mut left: Vec<u64> = if bits <= BITS { (0..1 << bits).collect() } else { return None };
        for _ in 0..self.blocks.len() {
            let Some(above) = before[at.index()] else { break };
            let end = &self.blocks[above.index()].end;
            if let End::Branch { cmp, a, b: Arg::Number(number), then, other } = *end
                && a == Arg::Value(word)
                && then != other
            {
                left.retain(|n| cmp.holds(*n, number) == (then == at));
            }
            at = above;
        }
        Some(left)
    }
}

/// A branch that asks whether a word is a number: where to go on if it is, and if not.
fn asked(end: &End) -> Option<(Value, u64, BlockId, BlockId)> {
    match *end {
        End::Branch { cmp: Cmp::Eq, a: Arg::Value(a), b: Arg::Number(b), then, other } => Some((a, b, then, other)),
        End::Branch { cmp: Cmp::Ne, a: Arg::Value(a), b: Arg::Number(b), then, other } => Some((a, b, other, then)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bin, Builder, Field, MapId, Type, check};
    use super::*;
    use grv_lang::span::Span;

    /// How often a function still asks that sends a packet by one of these places, which a word of two bits tells; the last one for all other words.
    fn asks(places: &[u64], last: u64) -> usize {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let word = b.field(b.input(0).value().unwrap(), Field::IngressIfindex);
        let word = b.bin(Bin::And, word, Arg::Number(3));
        let send = |b: &mut Builder, place: u64| {
            let verdict = b.call(Helper::RedirectMap, vec![Arg::Map(MapId(0)), Arg::Number(place), Arg::Number(1)]);
            b.ret(verdict);
        };
        for place in places {
            let (this, next) = (b.block(), b.block());
            b.branch(Cmp::Eq, word, Arg::Number(*place), this, next);
            b.enter(this);
            send(&mut b, *place);
            b.enter(next);
        }
        send(&mut b, last);
        let function = b.finish("f");
        check(&function).unwrap_or_else(|e| panic!("{e}"));
        function.blocks.iter().filter(|block| matches!(block.end, End::Branch { .. })).count()
    }

    #[test]
    fn a_word_that_is_the_place_is_given() {
        assert_eq!((asks(&[0, 1, 2], 3), asks(&[2, 0, 3], 1)), (0, 0));
        // Of other words the last place is sent to, too.
        assert_ne!(asks(&[0, 1], 3), 0);
        assert_ne!(asks(&[0, 1, 2], 0), 0);
    }
}
