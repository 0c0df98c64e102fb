//! Bytes of the packet that a comparison has shown to be some number are that number where they are read again, on whatever ways that is, unless something was
//! written to the packet since. What a header of another kind stands before is not read, then, to be moved up in front of it.

use super::simplify::{Dominators, Replaced};
use super::{Arg, BlockId, Cmp, End, Function, Helper, Op, Type, Value};
use rustc_hash::{FxHashMap, FxHashSet};

/// Where bytes are read, and how many.
type Place = (Value, i16, u8);

/// What is known where a block begins.
#[derive(Clone, Default)]
struct Shown {
    /// The number that was read last.
    read: FxHashMap<Place, Value>,
    /// What the bytes are.
    are: FxHashMap<Place, u64>,
}

impl Shown {
    /// What is known on this way and on another; whether that is less.
    fn meet(&mut self, other: &Shown) -> bool {
        let before = self.read.len() + self.are.len();
        self.read.retain(|place, value| other.read.get(place) == Some(value));
        self.are.retain(|place, number| other.are.get(place) == Some(number));
        self.read.len() + self.are.len() < before
    }
}

impl Function {
    /// Puts numbers in place of bytes that are known.
    pub(super) fn know_shown(&mut self) {
        let twice = self.asked_and_read_again();
        if twice.is_empty() {
            return;
        }
        let order = Dominators::of(self).order;
        let mut starts: Vec<Option<Shown>> = vec![None; self.blocks.len()];
        starts[0] = Some(Shown::default());
        let mut changed = true;
        while std::mem::take(&mut changed) {
            for id in &order {
                let Some(mut shown) = starts[id.index()].clone() else { continue };
                self.blocks[id.index()].insts.iter().for_each(|inst| self.step(&inst.op, inst.result, &twice, &mut shown));
                for to in self.blocks[id.index()].end.targets() {
                    let mut way = shown.clone();
                    Function::show(&self.blocks[id.index()].end, to, &mut way);
                    match &mut starts[to.index()] {
                        Some(start) => changed |= start.meet(&way),
                        start => {
                            *start = Some(way);
                            changed = true;
                        }
                    }
                }
            }
        }
        let mut known = Replaced::new(self.types.len());
        for id in order {
            let Some(mut shown) = starts[id.index()].take() else { continue };
            for inst in &self.blocks[id.index()].insts {
                if let (Some(place), Some(result)) = (self.packet(&inst.op), inst.result)
                    && let Some(number) = shown.are.get(&place)
                {
                    known.set(result, Arg::Number(*number));
                }
                self.step(&inst.op, inst.result, &twice, &mut shown);
            }
        }
        self.replace(&known);
    }

    /// Bytes of the packet that are compared with numbers, and read at more than one place.
    fn asked_and_read_again(&self) -> FxHashSet<Place> {
        let mut asked: FxHashSet<Value> = FxHashSet::default();
        for block in &self.blocks {
            if let End::Branch { cmp: Cmp::Eq | Cmp::Ne, a: Arg::Value(value), b: Arg::Number(_), .. } = block.end {
                asked.insert(value);
            }
        }
        let mut reads: FxHashMap<Place, (u32, bool)> = FxHashMap::default();
        for inst in self.blocks.iter().flat_map(|block| &block.insts) {
            if let (Some(place), Some(result)) = (self.packet(&inst.op), inst.result) {
                let (times, compared) = reads.entry(place).or_default();
                *times += 1;
                *compared |= asked.contains(&result);
            }
        }
        reads.into_iter().filter(|(_, (times, compared))| *times > 1 && *compared).map(|(place, _)| place).collect()
    }

    /// What is read of the packet.
    fn packet(&self, op: &Op) -> Option<Place> {
        match op {
            Op::Load { base: Arg::Value(base), offset, bytes } if self.types[base.index()] == Type::Packet => {
                Some((*base, *offset, *bytes))
            }
            _ => None,
        }
    }

    fn step(&self, op: &Op, result: Option<Value>, twice: &FxHashSet<Place>, shown: &mut Shown) {
        let written = match op {
            Op::Store { base: Arg::Value(base), .. } => self.types[base.index()] == Type::Packet,
            Op::Call { helper, .. } => *helper == Helper::XdpAdjustHead,
            _ => false,
        };
        if written {
            *shown = Shown::default();
        }
        if let (Some(place), Some(result)) = (self.packet(op).filter(|place| twice.contains(place)), result) {
            shown.read.insert(place, result);
        }
    }

    /// What a comparison shows on a way.
    fn show(end: &End, to: BlockId, shown: &mut Shown) {
        let End::Branch { cmp, a: Arg::Value(value), b: Arg::Number(number), then, other } = end else { return };
        let equal = matches!((cmp, to == *then), (Cmp::Eq, true) | (Cmp::Ne, false));
        if then != other && equal {
            let Shown { read, are } = shown;
            are.extend(read.iter().filter(|(_, last)| *last == value).map(|(place, _)| (*place, *number)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bin, Builder, Field, check};
    use super::*;
    use grv_lang::span::Span;

    /// How often two bytes are read that are asked for, and read again where two ways meet behind something that is done on one of them.
    fn reads(cmp: Cmp, between: impl FnOnce(&mut Builder, Value)) -> usize {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let Arg::Value(context) = b.input(0) else { panic!("a function is given its context") };
        let (Arg::Value(data), Arg::Value(end)) = (b.field(context, Field::Data), b.field(context, Field::DataEnd)) else {
            panic!("fields are values")
        };
        let (short, other) = (b.block(), b.block());
        let far = b.advance(data, Arg::Number(34));
        b.unless(Cmp::Le, Arg::Value(far), Arg::Value(end), short);
        let kind = b.load(Arg::Value(data), 12, 2);
        b.unless(cmp, kind, Arg::Number(8), other);
        let (first, second, met) = (b.block(), b.block(), b.block());
        let protocol = b.load(Arg::Value(data), 23, 1);
        b.branch(Cmp::Lt, protocol, Arg::Number(6), first, second);
        b.enter(first);
        between(&mut b, data);
        b.jump(met, Vec::new());
        b.enter(second);
        b.jump(met, Vec::new());
        b.enter(met);
        let again = b.load(Arg::Value(data), 12, 2);
        let sum = b.bin(Bin::Add, again, Arg::Number(1));
        b.ret(sum);
        for block in [short, other] {
            b.enter(block);
            b.ret(Arg::Number(1));
        }
        let function = b.finish("f");
        check(&function).unwrap_or_else(|e| panic!("{e}"));
        let insts = function.blocks.iter().flat_map(|block| &block.insts);
        insts.filter(|inst| matches!(inst.op, Op::Load { offset: 12, .. })).count()
    }

    #[test]
    fn bytes_are_known_until_the_packet_is_written() {
        let look = |b: &mut Builder, _: Value| {
            b.call(Helper::Random, Vec::new());
        };
        assert_eq!(reads(Cmp::Eq, look), 1);
        // What they are not says little.
        assert_eq!(reads(Cmp::Ne, look), 2);
        assert_eq!(reads(Cmp::Eq, |b, data| b.store(Arg::Value(data), 30, 4, Arg::Number(1))), 2);
    }
}
