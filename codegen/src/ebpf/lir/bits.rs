//! Bits that are taken out of words, moved, and put together. A branch that asks for bits asks the word that they are taken from, which the machine
//! does in one instruction; bits that stay together are moved together.

use super::simplify::Dominators;
use super::{Arg, Bin, Block, BlockId, Cmp, End, Function, Inst, Op, Type, Value, mask};
use rustc_hash::FxHashMap;

/// Some bits of a word, moved up (or down, if negative): those of the mask, as they are then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) from: Value,
    pub(super) up: i8,
    pub(super) mask: u64,
}

/// Parts of a word that are worth following.
const MOST: usize = 6;

/// Blocks before the end of a way that ends soon: what counts a drop, and one to give its reason.
const SOON: usize = 12;

impl Function {
    /// Makes less of what is done to bits.
    pub(super) fn gather(&mut self) {
        self.turn_numbers();
        self.ask_words();
        self.drop_unused();
        self.put_together();
        self.drop_unused();
    }

    /// By value, how it is made.
    pub(super) fn made(&self) -> FxHashMap<Value, Op> {
        let insts = self.blocks.iter().flat_map(|block| &block.insts);
        insts.filter_map(|inst| Some((inst.result?, inst.op.clone()))).collect()
    }

    /// By value, how many operands it is.
    pub(crate) fn uses(&self) -> Vec<u32> {
        let mut uses = vec![0; self.types.len()];
        let mut count = |args: Vec<Arg>| args.iter().filter_map(|arg| arg.value()).for_each(|value| uses[value.index()] += 1);
        for block in &self.blocks {
            block.insts.iter().for_each(|inst| count(inst.op.args()));
            count(block.end.args());
        }
        uses
    }

    /// A word whose bytes are only turned to be compared with numbers, or to ask for bits, is not turned, but the numbers are.
    fn turn_numbers(&mut self) {
        let (made, uses) = (self.made(), self.uses());
        let turned = |value: Value| match made.get(&value) {
            Some(Op::Swap { bits, a: Arg::Value(from) }) if self.bits[from.index()] <= *bits => Some((*bits, *from)),
            _ => None,
        };
        let number = |number: u64, bits: u8| (number <= mask(bits)).then(|| number.swap_bytes() >> (64 - bits));
        // By turned word: in how many places the numbers can be turned instead.
        let mut places: FxHashMap<Value, u32> = FxHashMap::default();
        let masked = |value: Value| match made.get(&value) {
            Some(Op::Bin { op: Bin::And, wide: true, a: Arg::Value(a), b: Arg::Number(m) }) if uses[value.index()] == 1 => {
                turned(*a).and_then(|(bits, from)| Some((*a, from, number(*m, bits)?)))
            }
            _ => None,
        };
        let asks = |block: &Block| match block.end {
            End::Branch { cmp: Cmp::Eq | Cmp::Ne, a: Arg::Value(a), b: Arg::Number(b), .. } => Some((a, b)),
            _ => None,
        };
        for (a, b) in self.blocks.iter().filter_map(asks) {
            if let Some((bits, _)) = turned(a)
                && number(b, bits).is_some()
            {
                *places.entry(a).or_default() += 1;
            } else if let Some((word, ..)) = masked(a)
                && b == 0
            {
                *places.entry(word).or_default() += 1;
            }
        }
        let mut masks = FxHashMap::default();
        let mut ends = Vec::new();
        for (index, block) in self.blocks.iter().enumerate() {
            let Some((a, b)) = asks(block) else { continue };
            let all = |word: Value| places.get(&word) == Some(&uses[word.index()]);
            if let Some((bits, from)) = turned(a).filter(|_| all(a))
                && let Some(number) = number(b, bits)
            {
                ends.push((index, Arg::Value(from), Arg::Number(number)));
            } else if let Some((_, from, m)) = masked(a).filter(|(word, ..)| all(*word) && b == 0) {
                masks.insert(a, Op::Bin { op: Bin::And, wide: true, a: Arg::Value(from), b: Arg::Number(m) });
            }
        }
        for (index, from, number) in ends {
            if let End::Branch { a, b, .. } = &mut self.blocks[index].end {
                (*a, *b) = (from, number);
            }
        }
        for inst in self.blocks.iter_mut().flat_map(|block| &mut block.insts) {
            if let Some(op) = inst.result.and_then(|result| masks.remove(&result)) {
                inst.op = op;
            }
        }
    }

    /// Branches by the words that a number was made of, instead of the number: by whether bits of them are set, or how they compare.
    fn ask_words(&mut self) {
        let (made, uses) = (self.made(), self.uses());
        let mut next = 0;
        while next < self.blocks.len() {
            let index = next;
            next += 1;
            let End::Branch { cmp, a: Arg::Value(mut value), b: Arg::Number(number), then, other } = self.blocks[index].end
            else {
                continue;
            };
            let bit = self.bits[value.index()] == 1;
            let mut holds = match (cmp, number) {
                (Cmp::Ne, 0) => true,
                (Cmp::Eq, 0) => false,
                (Cmp::Eq, 1) if bit => true,
                (Cmp::Ne, 1) if bit => false,
                (Cmp::Eq | Cmp::Ne, _) => {
                    let (cmp, a, b) = self.compared(&made, cmp, Arg::Value(value), Arg::Number(number));
                    self.blocks[index].end = End::Branch { cmp, a, b, then, other };
                    continue;
                }
                _ => continue,
            };
            while let Some(Op::Bin { op: Bin::Xor, a: Arg::Value(not), b: Arg::Number(1), .. }) = made.get(&value)
                && self.bits[not.index()] == 1
            {
                (value, holds) = (*not, !holds);
            }
            if let Some((cmp, a, b)) = self.asked(&made, value) {
                let cmp = if holds { cmp } else { cmp.negated() };
                self.blocks[index].end = End::Branch { cmp, a, b, then, other };
            } else if uses[value.index()] == 1
                && let Some(Op::Bin { op: op @ (Bin::And | Bin::Or), wide: true, a: a @ Arg::Value(_), b: b @ Arg::Value(_) }) =
                    made.get(&value)
                && self.is_bit(*a)
                && self.is_bit(*b)
                && let (yes, no) = if holds { (then, other) } else { (other, then) }
                && self.ends_soon(if *op == Bin::Or { yes } else { no })
            {
                // Two questions, where the first may decide that it ends: the kernel follows no more ways to anything longer.
                let second = BlockId(self.blocks.len() as u32);
                let ask = |a: Arg, then: BlockId, other: BlockId| End::Branch { cmp: Cmp::Ne, a, b: Arg::Number(0), then, other };
                let (first, last) = if *op == Bin::Or {
                    (ask(*a, yes, second), ask(*b, yes, no))
                } else {
                    (ask(*a, second, no), ask(*b, yes, no))
                };
                let span = self.blocks[index].span;
                self.blocks[index].end = first;
                let rare = self.blocks[index].rare;
                self.blocks.push(Block { params: Vec::new(), insts: Vec::new(), end: last, span, rare });
                next = index;
            }
        }
    }

    /// Whether few blocks are between a block and the end.
    fn ends_soon(&self, block: BlockId) -> bool {
        let mut reached = vec![block];
        let mut at = 0;
        while let Some(block) = reached.get(at).copied().filter(|_| reached.len() <= SOON) {
            for to in self.blocks[block.index()].end.targets() {
                if !reached.contains(&to) {
                    reached.push(to);
                }
            }
            at += 1;
        }
        reached.len() <= SOON
    }

    /// Whether an operand is 0 or 1.
    fn is_bit(&self, arg: Arg) -> bool {
        arg.value().is_some_and(|value| self.bits[value.index()] == 1)
    }

    /// What holds exactly if a word is not 0.
    fn asked(&self, made: &FxHashMap<Value, Op>, value: Value) -> Option<(Cmp, Arg, Arg)> {
        if let [part] = parts(made, &self.bits, value).as_slice()
            && let Some((a, b)) = question(made, part, value)
        {
            return Some((Cmp::Set, a, b));
        }
        let narrow = |arg: Arg| match arg {
            Arg::Number(number) => number >> 63 == 0,
            Arg::Value(value) => self.bits[value.index()] < 64,
            _ => false,
        };
        // The highest bit of a difference says which is less.
        if let Some(Op::Bin { op: Bin::Shr, wide: true, a: Arg::Value(difference), b: Arg::Number(63) }) = made.get(&value)
            && let Some(Op::Bin { op: Bin::Sub, wide: true, a, b }) = made.get(difference)
            && narrow(*a)
            && narrow(*b)
        {
            return Some(match (*a, *b) {
                (a, Arg::Number(1)) => self.compared(made, Cmp::Eq, a, Arg::Number(0)),
                (Arg::Number(0), b) => self.compared(made, Cmp::Ne, b, Arg::Number(0)),
                (a @ Arg::Number(_), b) => (Cmp::Gt, b, a),
                (a, b) => (Cmp::Lt, a, b),
            });
        }
        None
    }

    /// Whether a word equals another, by the words that it was made of.
    fn compared(&self, made: &FxHashMap<Value, Op>, cmp: Cmp, a: Arg, b: Arg) -> (Cmp, Arg, Arg) {
        let (Arg::Value(value), Arg::Number(number)) = (a, b) else { return (cmp, a, b) };
        match made.get(&value) {
            // x ^ y is c exactly if x is y ^ c.
            Some(Op::Bin { op: Bin::Xor, wide: true, a: x, b: Arg::Number(y) }) => {
                self.compared(made, cmp, *x, Arg::Number(y ^ number))
            }
            Some(Op::Bin { op: Bin::Xor, wide: true, a: x, b: y }) if number == 0 => (cmp, *x, *y),
            // Upper bits that are all clear, or all set, are those of the least numbers, or of the greatest.
            Some(Op::Bin { op: Bin::And, wide: true, a: Arg::Value(x), b: Arg::Number(m) }) => {
                let (all, below) = (mask(self.bits[x.index()]), mask(m.trailing_zeros() as u8));
                let (least, greatest) = if cmp == Cmp::Eq { (Cmp::Lt, Cmp::Ge) } else { (Cmp::Ge, Cmp::Lt) };
                match m | below == all {
                    true if number == 0 && below < u64::MAX => (least, Arg::Value(*x), Arg::Number(below + 1)),
                    true if number == *m => (greatest, Arg::Value(*x), Arg::Number(number)),
                    _ => (cmp, a, b),
                }
            }
            _ => (cmp, a, b),
        }
    }

    /// Makes words anew of the parts that they have, if that is less work than there was.
    fn put_together(&mut self) {
        let (made, uses) = (self.made(), self.uses());
        for id in Dominators::of(self).order {
            let insts = std::mem::take(&mut self.blocks[id.index()].insts);
            let mut out = Vec::with_capacity(insts.len());
            for inst in insts {
                let worth = inst.result.and_then(|result| {
                    let parts = parts(&made, &self.bits, result);
                    let fresh = parts.len() <= MOST && parts.iter().all(|part| part.from != result);
                    (fresh && self.work(&parts) < tree(&made, &uses, result, true)).then_some((parts, result))
                });
                match worth {
                    Some((parts, result)) => self.make(&mut out, &inst, &parts, result),
                    None => out.push(inst),
                }
            }
            self.blocks[id.index()].insts = out;
        }
    }

    /// Whether a part needs a mask, beside being moved.
    fn is_masked(&self, part: &Part) -> bool {
        let all = mask(self.bits[part.from.index()]);
        let moved = if part.up >= 0 { all << part.up } else { all >> -part.up };
        moved != part.mask
    }

    /// How many operations it takes to make a word of parts.
    fn work(&self, parts: &[Part]) -> usize {
        let one = |part: &Part| usize::from(part.up != 0) + usize::from(self.is_masked(part));
        parts.iter().map(one).sum::<usize>() + parts.len().saturating_sub(1)
    }

    pub(super) fn make(&mut self, out: &mut Vec<Inst>, like: &Inst, parts: &[Part], result: Value) {
        let mut ops = Vec::new();
        for part in parts {
            let mut steps = Vec::new();
            match part.up {
                0 => {}
                up if up > 0 => steps.push((Bin::Shl, up as u64)),
                up => steps.push((Bin::Shr, (-up) as u64)),
            }
            if self.is_masked(part) {
                steps.push((Bin::And, part.mask));
            }
            ops.push((part.from, steps));
        }
        let mut whole: Option<Arg> = None;
        let count = ops.len();
        for (index, (from, steps)) in ops.into_iter().enumerate() {
            let last = index + 1 == count;
            let mut word = Arg::Value(from);
            let many = steps.len();
            for (step, (op, number)) in steps.into_iter().enumerate() {
                let ends = count == 1 && step + 1 == many;
                word = self.one_more(out, like, (op, word, Arg::Number(number)), ends.then_some(result));
            }
            whole = Some(match whole {
                Some(before) => self.one_more(out, like, (Bin::Or, before, word), last.then_some(result)),
                None => word,
            });
        }
        // A word that is all of another, or nothing.
        let whole = whole.unwrap_or(Arg::Number(0));
        if whole != Arg::Value(result) {
            self.one_more(out, like, (Bin::Or, whole, Arg::Number(0)), Some(result));
        }
    }

    fn one_more(&mut self, out: &mut Vec<Inst>, like: &Inst, (op, a, b): (Bin, Arg, Arg), result: Option<Value>) -> Arg {
        let result = result.unwrap_or_else(|| {
            self.types.push(Type::Word);
            self.bits.push(64);
            Value(self.types.len() as u32 - 1)
        });
        out.push(Inst { op: Op::Bin { op, wide: true, a, b }, result: Some(result), ..like.clone() });
        Arg::Value(result)
    }
}

/// The word that a part is taken from, and its bits, if the machine can ask for these. Of a word that was turned, it is asked before.
fn question(made: &FxHashMap<Value, Op>, part: &Part, whole: Value) -> Option<(Arg, Arg)> {
    if part.from == whole || part.up > 0 {
        return None;
    }
    let mut asked = (part.from, part.mask << -part.up);
    if let Some(Op::Swap { bits, a: Arg::Value(from) }) = made.get(&part.from) {
        asked = (*from, asked.1.swap_bytes() >> (64 - bits));
    }
    i32::try_from(asked.1).ok().filter(|bits| *bits != 0)?;
    Some((Arg::Value(asked.0), Arg::Number(asked.1)))
}

/// The operation of 64 bits by which a word is put together, if it is.
fn step(made: &FxHashMap<Value, Op>, value: Value) -> Option<(Bin, Value, Arg)> {
    match made.get(&value)? {
        Op::Bin { op: Bin::Or, wide: true, a: Arg::Value(a), b: b @ Arg::Value(_) } => Some((Bin::Or, *a, *b)),
        Op::Bin { op: op @ (Bin::And | Bin::Shl | Bin::Shr), wide: true, a: Arg::Value(a), b: b @ Arg::Number(number) } => {
            (*op == Bin::And || *number < 64).then_some((*op, *a, *b))
        }
        _ => None,
    }
}

/// The parts that a word is put together of: its own, if it is not.
pub(super) fn parts(made: &FxHashMap<Value, Op>, bits: &[u8], value: Value) -> Vec<Part> {
    let own = || vec![Part { from: value, up: 0, mask: mask(bits[value.index()]) }];
    let Some((op, a, b)) = step(made, value) else { return own() };
    let mut all = parts(made, bits, a);
    match (op, b) {
        (Bin::Or, Arg::Value(b)) => {
            for part in parts(made, bits, b) {
                match all.iter_mut().find(|other| (other.from, other.up) == (part.from, part.up)) {
                    Some(other) => other.mask |= part.mask,
                    None => all.push(part),
                }
            }
        }
        (_, Arg::Number(number)) => {
            let by = number as i8;
            for part in &mut all {
                match op {
                    Bin::And => part.mask &= number,
                    Bin::Shl => (part.mask, part.up) = (part.mask << by, part.up.saturating_add(by)),
                    _ => (part.mask, part.up) = (part.mask >> by, part.up.saturating_sub(by)),
                }
            }
            all.retain(|part| part.mask != 0);
        }
        _ => {}
    }
    if all.len() > MOST || all.iter().any(|part| !(-63..64).contains(&part.up)) { own() } else { all }
}

/// How many operations a word is made by that are there for it alone.
fn tree(made: &FxHashMap<Value, Op>, uses: &[u32], value: Value, root: bool) -> usize {
    match step(made, value).filter(|_| root || uses[value.index()] == 1) {
        Some((_, a, b)) => {
            let other = b.value().map_or(0, |b| tree(made, uses, b, false));
            1 + tree(made, uses, a, false) + other
        }
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::run::run;
    use super::super::{Builder, check};
    use super::*;
    use grv_lang::span::Span;

    fn ops(function: &Function, of: Bin) -> usize {
        let insts = function.blocks.iter().flat_map(|block| &block.insts);
        insts.filter(|inst| matches!(inst.op, Op::Bin { op, .. } if op == of)).count()
    }

    #[test]
    fn bits_that_stay_together_are_moved_together() {
        let mut b = Builder::new(Span::default(), &[]);
        let entry = Arg::Stack(super::super::Slot(0), 0);
        b.slot(16);
        let (word, flags) = (b.load(entry, 0, 8), b.load(entry, 8, 1));
        // A deadline above four bits, of which two may be set by flags.
        let bit = |b: &mut Builder, from: Arg, at: u64| {
            let shifted = b.bin(Bin::Shr, from, Arg::Number(at));
            b.low(shifted, 1)
        };
        let deadline = b.bin(Bin::Shr, word, Arg::Number(4));
        let mut packed = b.bin(Bin::Shl, deadline, Arg::Number(4));
        for (at, flag) in [(0, None), (1, Some(0)), (2, None), (3, Some(2))] {
            let mut one = bit(&mut b, word, at);
            if let Some(flag) = flag {
                let more = bit(&mut b, flags, flag);
                one = b.bin(Bin::Or, one, more);
            }
            let moved = b.bin(Bin::Shl, one, Arg::Number(at));
            packed = b.bin(Bin::Or, packed, moved);
        }
        b.ret(packed);
        let function = b.finish("f");
        check(&function).unwrap_or_else(|e| panic!("{e}"));
        // The flags moved by one, masked, and put in.
        assert_eq!(
            (ops(&function, Bin::Shl), ops(&function, Bin::Shr), ops(&function, Bin::And), ops(&function, Bin::Or)),
            (1, 0, 1, 1)
        );
        for word in [0, 15, 0x1234_5678_9abc_def0, u64::MAX] {
            for flags in 0..=255 {
                let expected = word | (flags & 1) << 1 | (flags & 4) << 1;
                assert_eq!(run(&function, &[], 0, &[(0, word), (8, flags)]), expected);
            }
        }
    }

    #[test]
    fn a_branch_asks_the_word_that_bits_are_of() {
        let mut b = Builder::new(Span::default(), &[]);
        let entry = Arg::Stack(super::super::Slot(0), 0);
        b.slot(16);
        let word = b.load(entry, 0, 2);
        let turned = b.swap(16, word);
        let low = b.low(turned, 13);
        let (fragment, next) = (b.block(), b.block());
        b.branch(Cmp::Ne, low, Arg::Number(0), fragment, next);
        b.enter(fragment);
        b.ret(Arg::Number(1));
        b.enter(next);
        let flags = b.load(entry, 8, 1);
        let shifted = b.bin(Bin::Shr, flags, Arg::Number(5));
        let bit = b.low(shifted, 1);
        let (yes, no) = (b.block(), b.block());
        b.branch(Cmp::Eq, bit, Arg::Number(1), yes, no);
        b.enter(yes);
        b.ret(Arg::Number(2));
        b.enter(no);
        b.ret(Arg::Number(3));
        let function = b.finish("f");
        check(&function).unwrap_or_else(|e| panic!("{e}"));
        assert!(function.blocks.iter().flat_map(|block| &block.insts).all(|inst| matches!(inst.op, Op::Load { .. })));
        for word in 0..=0xffff_u64 {
            let flags = word >> 3 & 255;
            let offset = (word.swap_bytes() >> 48) & 0x1fff;
            let expected = if offset != 0 {
                1
            } else if flags & 32 != 0 {
                2
            } else {
                3
            };
            assert_eq!(run(&function, &[], 0, &[(0, word), (8, flags)]), expected);
        }
    }
}
