//! Questions that need not be asked, or that one question asks: branches whose ways are one, comparisons that a stricter one follows, bits of bytes
//! that are read twice; and shorter ones.

use super::{Arg, Bin, BlockId, Cmp, End, Function, Op, Type, Value, mask};
use rustc_hash::FxHashMap;

impl Function {
    /// Asks less. Whether anything changed.
    pub(super) fn ask_less(&mut self) -> bool {
        let ways = self.ways();
        let mut changed = self.ask_nothing();
        for index in 0..self.blocks.len() {
            changed |= self.ask_stricter(index, &ways) || self.ask_farther(index, &ways);
            changed |= self.ask_together(index, &ways) || self.ask_of_one(index, &ways);
        }
        if changed {
            self.tidy();
        }
        changed
    }

    /// A branch whose ways lead to the same place, with the same values, is none.
    fn ask_nothing(&mut self) -> bool {
        let leads = |to: BlockId| {
            let block = &self.blocks[to.index()];
            match &block.end {
                End::Jump(next, args) if block.params.is_empty() && block.insts.is_empty() => (*next, args.clone()),
                _ => (to, Vec::new()),
            }
        };
        let same = self.blocks.iter().enumerate().filter_map(|(index, block)| {
            let End::Branch { then, other, .. } = block.end else { return None };
            let to = leads(then);
            (to == leads(other) || then == other).then_some((index, if then == other { (then, Vec::new()) } else { to }))
        });
        let same: Vec<_> = same.collect();
        let changed = !same.is_empty();
        for (index, (to, args)) in same {
            self.blocks[index].end = End::Jump(to, args);
        }
        changed
    }

    /// `low <= high` is not asked if a stricter question follows, and both fail in the same way.
    fn ask_stricter(&mut self, index: usize, ways: &[u32]) -> bool {
        let Some(first) = self.order_asked(&self.blocks[index].end) else { return false };
        let next = &self.blocks[first.holds.index()];
        let pure = next.insts.iter().all(|inst| matches!(inst.op, Op::Bin { .. } | Op::Swap { .. }));
        let Some(second) = self.order_asked(&next.end).filter(|_| ways[first.holds.index()] == 1 && pure) else { return false };
        if (first.high, first.fails) != (second.high, second.fails) || first.holds == second.holds {
            return false;
        }
        let made = self.sums();
        let (a, b) = (sum(&made, first.low), sum(&made, second.low));
        // What was asked on the way here.
        let mut at = BlockId(index as u32);
        let mut hops = 0;
        while ways[at.index()] == 1 && hops < self.blocks.len() {
            hops += 1;
            let Some(before) = (0..).map(BlockId).zip(&self.blocks).find(|(_, block)| block.end.targets().any(|to| to == at))
            else {
                return false;
            };
            if let Some(known) = self.order_asked(&before.1.end).filter(|known| known.holds == at && known.fails != at) {
                let (low, high) = (sum(&made, known.low), sum(&made, known.high));
                // low.0 + low.1 <= high.0 + high.1, so that a <= b if a.1 - b.1 <= low.1 - high.1.
                if (low.0, high.0) == (a.0, b.0) && a.1 - b.1 <= low.1 - high.1 {
                    self.blocks[index].end = End::Jump(first.holds, Vec::new());
                    return true;
                }
            }
            at = before.0;
        }
        false
    }

    /// Whether the packet reaches so far is not asked if it is asked next whether it reaches farther, and both fail in the same way.
    fn ask_farther(&mut self, index: usize, ways: &[u32]) -> bool {
        let Some(first) = self.reach_asked(BlockId(index as u32)) else { return false };
        let next = &self.blocks[first.holds.index()];
        let pure = next.insts.iter().all(|inst| matches!(inst.op, Op::Bin { .. } | Op::Swap { .. } | Op::Advance { .. }));
        let Some(second) = self.reach_asked(first.holds).filter(|_| ways[first.holds.index()] == 1 && pure) else { return false };
        let farther =
            (first.from, first.end, first.fails) == (second.from, second.end, second.fails) && first.bytes <= second.bytes;
        if farther && first.holds != second.holds {
            self.blocks[index].end = End::Jump(first.holds, Vec::new());
        }
        farther && first.holds != second.holds
    }

    /// What a block asks last: whether so many bytes behind a place are in the packet.
    fn reach_asked(&self, block: BlockId) -> Option<Reach> {
        let block = &self.blocks[block.index()];
        let (a, b, holds, fails) = match block.end {
            End::Branch { cmp: Cmp::Le, a: Arg::Value(a), b: Arg::Value(b), then, other } => (a, b, then, other),
            End::Branch { cmp: Cmp::Gt, a: Arg::Value(a), b: Arg::Value(b), then, other } => (a, b, other, then),
            _ => return None,
        };
        let made = block.insts.iter().find(|inst| inst.result == Some(a))?;
        let Op::Advance { pointer, by: Arg::Number(bytes) } = made.op else { return None };
        let packet = (self.types[a.index()], self.types[b.index()]) == (Type::Packet, Type::PacketEnd);
        packet.then_some(Reach { from: pointer, bytes, end: b, holds, fails })
    }

    /// Bits of bytes, and then of bytes of which those are some, are asked for at once.
    fn ask_together(&mut self, index: usize, ways: &[u32]) -> bool {
        let Some((x, first, set, next)) = self.bits_asked(&self.blocks[index].end) else { return false };
        let [inst] = self.blocks[next.index()].insts.as_slice() else { return false };
        let Some((y, second, too, further)) = self.bits_asked(&self.blocks[next.index()].end) else { return false };
        if ways[next.index()] != 1 || set != too || next == set || further == set || inst.result != Some(y) {
            return false;
        }
        // Nothing is written between the two.
        let last = self.blocks[index].insts.iter().rev().find(|inst| inst.result == Some(x) || inst.op.writes());
        let (Some(part), whole) = (last, inst.clone()) else { return false };
        let (Op::Load { base: a, offset: at, bytes: few }, Op::Load { base: b, offset: from, bytes: many }) =
            (&part.op, &whole.op)
        else {
            return false;
        };
        let packet = a.value().is_some_and(|value| self.types[value.index()] == Type::Packet);
        let (behind, end) = (i32::from(*at) - i32::from(*from), i32::from(*at) + i32::from(*few));
        if part.result != Some(x) || a != b || !packet || behind < 0 || end > i32::from(*from) + i32::from(*many) || *many > 4 {
            return false;
        }
        let bits = first << (behind * 8) | second;
        self.blocks[next.index()].insts.clear();
        let block = &mut self.blocks[index];
        block.insts.push(whole);
        block.end = End::Branch { cmp: Cmp::Set, a: Arg::Value(y), b: Arg::Number(bits), then: set, other: further };
        true
    }

    /// Bits of a word, and then others of it, are asked for at once, if any of them leads to the same place.
    fn ask_of_one(&mut self, index: usize, ways: &[u32]) -> bool {
        let Some((word, first, set, next)) = self.bits_asked(&self.blocks[index].end) else { return false };
        let Some((same, second, too, further)) = self.bits_asked(&self.blocks[next.index()].end) else { return false };
        let bits = first | second;
        let merged = self.blocks[next.index()].insts.is_empty() && ways[next.index()] == 1 && i32::try_from(bits).is_ok();
        let merged = merged && (word, set) == (same, too) && next != set && further != set && further != next;
        if merged {
            self.blocks[index].end =
                End::Branch { cmp: Cmp::Set, a: Arg::Value(word), b: Arg::Number(bits), then: set, other: further };
        }
        merged
    }

    /// The first bits of a word are compared where they are the whole number, which is shorter.
    pub(super) fn ask_first_bits(&mut self) {
        let uses = self.uses();
        // By value that is the first bits of a word: which word, how many bits are behind them, and the branches that compare it.
        let mut first: FxHashMap<Value, (Value, u32, Vec<usize>)> = FxHashMap::default();
        for inst in self.blocks.iter().flat_map(|block| &block.insts) {
            if let (Op::Bin { op: Bin::And, wide: true, a: Arg::Value(word), b: Arg::Number(bits) }, Some(result)) =
                (&inst.op, inst.result)
                && *bits != 0
                && *bits == mask(self.bits[word.index()]) >> bits.trailing_zeros() << bits.trailing_zeros()
            {
                first.insert(result, (*word, bits.trailing_zeros(), Vec::new()));
            }
        }
        for (index, block) in self.blocks.iter().enumerate() {
            if let End::Branch { cmp: Cmp::Eq | Cmp::Ne, a: Arg::Value(a), b: Arg::Number(number), .. } = block.end
                && let Some((_, behind, asked)) = first.get_mut(&a)
                && number >> *behind << *behind == number
            {
                asked.push(index);
            }
        }
        first.retain(|value, (.., asked)| !asked.is_empty() && asked.len() == uses[value.index()] as usize);
        for inst in self.blocks.iter_mut().flat_map(|block| &mut block.insts) {
            if let Some((word, behind, _)) = inst.result.and_then(|result| first.get(&result)) {
                inst.op = Op::Bin { op: Bin::Shr, wide: true, a: Arg::Value(*word), b: Arg::Number((*behind).into()) };
            }
        }
        for (value, (word, behind, asked)) in first {
            self.bits[value.index()] = self.bits[word.index()] - behind as u8;
            for index in asked {
                if let End::Branch { b: Arg::Number(number), .. } = &mut self.blocks[index].end {
                    *number >>= behind;
                }
            }
        }
    }

    /// A branch that asks for bits: of which word, which, where it goes on with one of them, and where with none.
    fn bits_asked(&self, end: &End) -> Option<(Value, u64, BlockId, BlockId)> {
        match *end {
            End::Branch { cmp: Cmp::Set, a: Arg::Value(a), b: Arg::Number(bits), then, other } => Some((a, bits, then, other)),
            End::Branch { cmp: Cmp::Clear, a: Arg::Value(a), b: Arg::Number(bits), then, other } => Some((a, bits, other, then)),
            _ => None,
        }
    }

    /// A branch that asks for the order of two words.
    fn order_asked(&self, end: &End) -> Option<Order> {
        let End::Branch { cmp, a: Arg::Value(a), b: Arg::Value(b), then, other } = *end else { return None };
        if [a, b].iter().any(|value| self.types[value.index()] != Type::Word) {
            return None;
        }
        match cmp {
            Cmp::Le => Some(Order { low: a, high: b, holds: then, fails: other }),
            Cmp::Ge => Some(Order { low: b, high: a, holds: then, fails: other }),
            Cmp::Gt => Some(Order { low: a, high: b, holds: other, fails: then }),
            Cmp::Lt => Some(Order { low: b, high: a, holds: other, fails: then }),
            _ => None,
        }
    }

    /// Words that are another word and a number, so that nothing is carried.
    fn sums(&self) -> FxHashMap<Value, (Value, i128)> {
        let insts = self.blocks.iter().flat_map(|block| &block.insts);
        let sums = insts.filter_map(|inst| match (&inst.op, inst.result) {
            (Op::Bin { op: Bin::Add, wide: true, a: Arg::Value(a), b: Arg::Number(b) }, Some(result)) => {
                (self.bits[a.index()] <= 32 && *b <= u64::from(u32::MAX)).then(|| (result, (*a, i128::from(*b))))
            }
            _ => None,
        });
        sums.collect()
    }
}

impl Op {
    /// Whether it may write to memory.
    pub(super) fn writes(&self) -> bool {
        matches!(self, Op::Store { .. } | Op::CompareSwap { .. } | Op::FetchAdd { .. } | Op::Call { .. })
    }
}

/// Whether `low <= high`, and where to go on.
struct Order {
    low: Value,
    high: Value,
    holds: BlockId,
    fails: BlockId,
}

/// A word as another and a number.
fn sum(made: &FxHashMap<Value, (Value, i128)>, value: Value) -> (Value, i128) {
    made.get(&value).copied().unwrap_or((value, 0))
}

/// A question how far the packet reaches.
struct Reach {
    from: Value,
    bytes: u64,
    end: Value,
    holds: BlockId,
    fails: BlockId,
}

#[cfg(test)]
mod tests {
    use super::super::{Builder, Field, Function, Helper, MapId, check};
    use super::*;
    use grv_lang::span::Span;

    /// A function that asks one question after another of the first bytes of the packet, and whose packets all end alike where one fails.
    fn asking(questions: impl FnOnce(&mut Builder, Arg, BlockId)) -> Function {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let context = b.input(0).value().unwrap();
        let (data, end) = (b.field(context, Field::Data), b.field(context, Field::DataEnd));
        let fails = b.block();
        let behind = b.advance(data.value().unwrap(), Arg::Number(34));
        b.unless(Cmp::Le, Arg::Value(behind), end, fails);
        questions(&mut b, data, fails);
        b.ret(Arg::Number(2));
        b.enter(fails);
        b.ret(Arg::Number(1));
        let function = b.finish("f");
        check(&function).unwrap_or_else(|e| panic!("{e}"));
        function
    }

    fn branches(function: &Function) -> Vec<(Cmp, Arg)> {
        let end = |block: &super::super::Block| match block.end {
            End::Branch { cmp, b, .. } => Some((cmp, b)),
            _ => None,
        };
        function.blocks.iter().filter_map(end).collect()
    }

    #[test]
    fn a_stricter_question_is_asked_alone() {
        // A packet is at least as long as a header says that all is, and that is at least the header: that the header fits follows.
        for (own, all, asked) in [(14, 14, 3), (14, 13, 4), (13, 14, 3)] {
            let function = asking(|b, data, fails| {
                let (header, total, length) = (b.load(data, 0, 2), b.load(data, 2, 2), b.load(data, 4, 4));
                b.unless(Cmp::Ge, total, header, fails);
                let header = b.bin(Bin::Add, header, Arg::Number(own));
                b.unless(Cmp::Ge, length, header, fails);
                let total = b.bin(Bin::Add, total, Arg::Number(all));
                b.unless(Cmp::Le, total, length, fails);
            });
            assert_eq!(branches(&function).len(), asked, "{own} {all}");
        }
    }

    #[test]
    fn bits_of_the_same_bytes_are_asked_for_at_once() {
        for (offset, written, asked) in [(6, false, 2), (7, false, 2), (8, false, 3), (6, true, 3)] {
            let function = asking(|b, data, fails| {
                let first = b.load(data, offset, 1);
                if written {
                    b.store(data, 7, 1, Arg::Number(1));
                }
                let bit = b.bin(Bin::And, first, Arg::Number(0x20));
                b.unless(Cmp::Eq, bit, Arg::Number(0), fails);
                let both = b.load(data, 6, 2);
                let rest = b.bin(Bin::And, both, Arg::Number(0xff1f));
                b.unless(Cmp::Eq, rest, Arg::Number(0), fails);
            });
            let all = branches(&function);
            assert_eq!(all.len(), asked, "{offset} {written}");
            let bits = 0xff1f | 0x20 << (8 * (offset - 6));
            assert_eq!(all.iter().any(|(cmp, b)| matches!(cmp, Cmp::Set | Cmp::Clear) && *b == Arg::Number(bits)), asked == 2);
        }
    }

    #[test]
    fn first_bits_are_compared_as_a_number() {
        let function = asking(|b, data, fails| {
            let word = b.load(data, 26, 4);
            let word = b.swap(32, word);
            let class = b.bin(Bin::And, word, Arg::Number(0xff00_0000));
            b.unless(Cmp::Ne, class, Arg::Number(0x7f00_0000), fails);
        });
        assert!(
            branches(&function).contains(&(Cmp::Ne, Arg::Number(0x7f)))
                || branches(&function).contains(&(Cmp::Eq, Arg::Number(0x7f)))
        );
    }

    #[test]
    fn ways_that_are_one_are_not_chosen_among() {
        let function = asking(|b, data, _| {
            let word = b.load(data, 0, 1);
            let (yes, no, behind) = (b.block(), b.block(), b.block());
            b.branch(Cmp::Lt, word, Arg::Number(7), yes, no);
            for block in [yes, no] {
                b.enter(block);
                b.jump(behind, vec![]);
            }
            b.enter(behind);
        });
        assert_eq!(branches(&function).len(), 1);
    }

    #[test]
    fn how_far_a_packet_reaches_is_asked_once() {
        // The first question is whether 34 bytes are there; nothing is read before the second.
        for (bytes, reads, asked) in [(40, false, 1), (34, false, 1), (20, false, 2), (40, true, 2)] {
            let function = asking(|b, data, fails| {
                if reads {
                    let word = b.load(data, 0, 4);
                    let slot = b.slot(8);
                    b.store(Arg::Stack(slot, 0), 0, 4, word);
                    b.call(Helper::RingbufOutput, vec![Arg::Map(MapId(0)), Arg::Stack(slot, 0), Arg::Number(4), Arg::Number(0)]);
                }
                let end = b.field(b.input(0).value().unwrap(), Field::DataEnd);
                let behind = b.advance(data.value().unwrap(), Arg::Number(bytes));
                b.unless(Cmp::Le, Arg::Value(behind), end, fails);
            });
            assert_eq!(branches(&function).len(), asked, "{bytes} {reads}");
        }
    }

    #[test]
    fn bits_of_one_word_that_lead_to_one_place_are_asked_for_at_once() {
        for (apart, asked) in [(false, 2), (true, 3)] {
            let function = asking(|b, data, fails| {
                let word = b.load(data, 0, 2);
                let (first, second) = (b.bin(Bin::And, word, Arg::Number(4)), b.bin(Bin::And, word, Arg::Number(128)));
                b.unless(Cmp::Eq, first, Arg::Number(0), fails);
                if apart {
                    b.store(data, 0, 2, Arg::Number(7));
                }
                b.unless(Cmp::Eq, second, Arg::Number(0), fails);
            });
            assert_eq!(branches(&function).len(), asked);
            assert_eq!(branches(&function).contains(&(Cmp::Set, Arg::Number(132))), !apart);
        }
    }
}
