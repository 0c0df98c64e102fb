//! What is the same in the end with fewer operations where ways meet, and in slots: what is made of a word that is a number on each way is a number on each way, too;
//! zeros behind a word are stored with it.

use super::build::evaluate;
use super::simplify::Replaced;
use super::{Arg, BlockId, End, Function, Inst, Op, Value, mask};
use rustc_hash::FxHashMap;

impl Function {
    /// Has numbers that meet be what is made of them, where nothing else is.
    pub(super) fn evaluate_met(&mut self) {
        while self.evaluate_once() {}
    }

    /// Whether anything was evaluated.
    fn evaluate_once(&mut self) -> bool {
        let uses = self.uses();
        let mut given: FxHashMap<Value, Vec<(BlockId, usize, Arg)>> = FxHashMap::default();
        for (from, block) in (0..).map(BlockId).zip(&self.blocks) {
            if let End::Jump(to, args) = &block.end {
                for (at, (param, arg)) in self.blocks[to.index()].params.iter().zip(args).enumerate() {
                    given.entry(*param).or_default().push((from, at, *arg));
                }
            }
        }
        let mut known = Replaced::new(self.types.len());
        let mut evaluated: Vec<(Value, Vec<(BlockId, usize, u64)>)> = Vec::new();
        for inst in self.blocks.iter().flat_map(|block| &block.insts) {
            let (Some(param), Some(result)) = (operand(&inst.op), inst.result) else { continue };
            let Some(given) = given.get(&param).filter(|_| uses[param.index()] == 1) else { continue };
            let made = |(from, at, arg): &(BlockId, usize, Arg)| Some((*from, *at, value(&inst.op, arg.number()?)?));
            let Some(numbers) = given.iter().map(made).collect::<Option<Vec<_>>>() else { continue };
            // Greater numbers take more room.
            let large = |number: u64| i32::try_from(number as i64).is_err();
            let before = given.iter().filter(|(.., arg)| arg.number().is_some_and(large)).count();
            if numbers.iter().filter(|(.., number)| large(*number)).count() <= before {
                known.set(result, Arg::Value(param));
                evaluated.push((param, numbers));
            }
        }
        for (param, numbers) in &evaluated {
            let most = numbers.iter().map(|(.., number)| 64 - number.leading_zeros()).max().unwrap_or(64);
            self.bits[param.index()] = most as u8;
            for (from, at, number) in numbers {
                if let End::Jump(_, args) = &mut self.blocks[from.index()].end {
                    args[*at] = Arg::Number(*number);
                }
            }
        }
        self.replace(&known);
        self.drop_unused();
        !evaluated.is_empty()
    }

    /// Has zeros that are stored right behind a word of 4 bytes be part of it.
    pub(super) fn widen_stores(&mut self) {
        for block in 0..self.blocks.len() {
            let mut at = 0;
            while at < self.blocks[block].insts.len() {
                match self.word_before(&self.blocks[block].insts[at..]) {
                    Some(behind) => {
                        if let Op::Store { bytes, .. } = &mut self.blocks[block].insts[at + behind].op {
                            *bytes = 8;
                        }
                        self.blocks[block].insts.remove(at);
                    }
                    None => at += 1,
                }
            }
        }
    }

    /// Where the word is stored that lies right before zeros, which are stored first, if nothing else of that memory is used in between.
    fn word_before(&self, insts: &[Inst]) -> Option<usize> {
        let Op::Store { base: Arg::Stack(slot, start), offset, bytes: 4, value: Arg::Number(0) } = insts.first()?.op else {
            return None;
        };
        let zeros = i32::from(start) + i32::from(offset);
        let uses = |inst: &Inst| inst.op.args().iter().any(|arg| matches!(arg, Arg::Stack(other, _) if *other == slot));
        for (index, inst) in insts.iter().enumerate().skip(1) {
            match &inst.op {
                Op::Store { base: Arg::Stack(other, start), offset, bytes, value } if *other == slot => {
                    let at = i32::from(*start) + i32::from(*offset);
                    if at == zeros - 4 && at % 8 == 0 && *bytes == 4 && self.is_short(*value) {
                        return Some(index);
                    }
                    // Others of its bytes may be stored meanwhile.
                    if at < zeros + 4 && at + i32::from(*bytes) > zeros - 4 {
                        return None;
                    }
                }
                Op::Call { .. } => return None,
                _ if uses(inst) => return None,
                _ => {}
            }
        }
        None
    }

    /// Whether a word has 32 bits.
    fn is_short(&self, arg: Arg) -> bool {
        matches!(arg, Arg::Value(value) if self.bits[value.index()] <= 32)
    }
}

/// The word of which an operation makes another one, with a number.
fn operand(op: &Op) -> Option<Value> {
    match op {
        Op::Bin { a: Arg::Value(a), b: Arg::Number(_), .. } | Op::Swap { a: Arg::Value(a), .. } => Some(*a),
        _ => None,
    }
}

/// What an operation makes of a number.
fn value(op: &Op, of: u64) -> Option<u64> {
    match op {
        Op::Bin { op, wide, b: Arg::Number(number), .. } => Some(evaluate(*op, *wide, of, *number)),
        Op::Swap { bits, .. } => Some((of & mask(*bits)).swap_bytes() >> (64 - bits)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::lir::{Bin, Builder, Cmp, Field, Type};
    use super::*;
    use grv_lang::span::Span;

    /// A function that is given one of two numbers, what is stored of it, and the instructions that are left.
    fn met(numbers: [u64; 2], twice: bool) -> Vec<Op> {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let context = b.input(0).value().unwrap();
        let port = b.field(context, Field::IngressIfindex);
        let slot = b.slot(16);
        let (one, two, done) = (b.block(), b.block(), b.block());
        let met = Arg::Value(b.param(done, Type::Word, 48));
        b.branch(Cmp::Eq, port, Arg::Number(1), one, two);
        for (block, number) in [one, two].into_iter().zip(numbers) {
            b.enter(block);
            b.jump(done, vec![Arg::Number(number)]);
        }
        b.enter(done);
        let moved = b.bin(Bin::Shl, met, Arg::Number(16));
        let turned = b.swap(64, moved);
        b.store(Arg::Stack(slot, 0), 0, 8, turned);
        if twice {
            b.store(Arg::Stack(slot, 8), 0, 8, met);
        }
        b.call(
            super::super::Helper::RingbufOutput,
            vec![Arg::Map(super::super::MapId(0)), Arg::Stack(slot, 0), Arg::Number(16), Arg::Number(0)],
        );
        b.ret(Arg::Number(1));
        b.finish("f").blocks.into_iter().flat_map(|block| block.insts).map(|inst| inst.op).collect()
    }

    #[test]
    fn numbers_that_meet_are_what_is_made_of_them() {
        let count = |ops: &[Op]| ops.iter().filter(|op| matches!(op, Op::Bin { .. } | Op::Swap { .. })).count();
        assert_eq!(count(&met([0x0200_0000_0101, 0x0200_0000_0102], false)), 0);
        // Where they are needed as they are, too, that would be more.
        assert_eq!(count(&met([0x0200_0000_0101, 0x0200_0000_0102], true)), 2);
    }

    #[test]
    fn zeros_behind_a_word_are_stored_with_it() {
        let stores = |wide: bool| {
            let mut b = Builder::new(Span::default(), &[Type::Context]);
            let context = b.input(0).value().unwrap();
            let port = b.field(context, Field::IngressIfindex);
            let number = if wide { b.bin(Bin::Mul, port, port) } else { port };
            let slot = Arg::Stack(b.slot(16), 0);
            for (at, bytes, value) in [(4, 4, Arg::Number(0)), (8, 8, Arg::Number(7)), (0, 4, number)] {
                b.store(slot, at, bytes, value);
            }
            b.call(
                super::super::Helper::RingbufOutput,
                vec![Arg::Map(super::super::MapId(0)), slot, Arg::Number(16), Arg::Number(0)],
            );
            b.ret(Arg::Number(1));
            let insts = b.finish("f").blocks.into_iter().flat_map(|block| block.insts);
            insts
                .filter_map(|inst| if let Op::Store { offset, bytes, .. } = inst.op { Some((offset, bytes)) } else { None })
                .collect::<Vec<_>>()
        };
        assert_eq!(stores(false), [(8, 8), (0, 8)]);
        assert_eq!(stores(true), [(4, 4), (8, 8), (0, 4)]);
    }
}
