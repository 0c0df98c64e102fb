//! Which bits of words make a difference. A mask that only takes bits away that nothing looks at is left out.
//!
//! Values may have more bits set afterwards than is noted of them, where nothing looks at these: so this comes last.

use super::simplify::Replaced;
use super::{Arg, Bin, End, Function, Op, Value, mask};

impl Function {
    /// Leaves out masks that make no difference.
    pub(super) fn leave_out_masks(&mut self) {
        let needed = self.needed();
        let mut known = Replaced::new(self.types.len());
        for inst in self.blocks.iter_mut().flat_map(|block| &mut block.insts) {
            if let (Op::Bin { op: Bin::And, wide: true, a: Arg::Value(a), b: Arg::Number(kept) }, Some(result)) =
                (&inst.op, inst.result)
                && needed[result.index()] & !kept == 0
            {
                known.set(result, Arg::Value(*a));
            }
        }
        self.replace(&known);
        self.drop_unused();
    }

    /// By value, the bits that something depends on.
    fn needed(&self) -> Vec<u64> {
        let mut needed = vec![0; self.types.len()];
        let mut changed = true;
        while std::mem::take(&mut changed) {
            let mut need = |needed: &mut Vec<u64>, arg: &Arg, bits: u64| {
                if let Arg::Value(value) = arg {
                    changed |= bits & !needed[value.index()] != 0;
                    needed[value.index()] |= bits;
                }
            };
            for block in self.blocks.iter().rev() {
                match &block.end {
                    End::Jump(to, args) => {
                        for (arg, param) in args.iter().zip(&self.blocks[to.index()].params) {
                            let bits = needed[param.index()];
                            need(&mut needed, arg, bits);
                        }
                    }
                    end => end.args().iter().for_each(|arg| need(&mut needed, arg, u64::MAX)),
                }
                for inst in block.insts.iter().rev() {
                    let of_result = inst.result.map_or(u64::MAX, |result: Value| needed[result.index()]);
                    match &inst.op {
                        Op::Bin { op, wide: true, a, b } if of_operands(*op, *b, of_result).is_some() => {
                            let bits = of_operands(*op, *b, of_result).unwrap_or(u64::MAX);
                            [a, b].into_iter().for_each(|arg| need(&mut needed, arg, bits));
                        }
                        Op::Swap { bits: bits @ (16 | 32 | 64), a } => {
                            need(&mut needed, a, (of_result & mask(*bits)).swap_bytes() >> (64 - bits));
                        }
                        Op::Store { base, bytes, value, .. } => {
                            need(&mut needed, value, mask(8 * bytes));
                            need(&mut needed, base, u64::MAX);
                        }
                        op => op.args().iter().for_each(|arg| need(&mut needed, arg, u64::MAX)),
                    }
                }
            }
        }
        needed
    }
}

/// The bits of words that those of what is made of them depend on, if not on all.
fn of_operands(op: Bin, b: Arg, result: u64) -> Option<u64> {
    match (op, b) {
        (Bin::Shl, Arg::Number(by)) => Some(result >> (by & 63)),
        (Bin::Shr, Arg::Number(by)) => Some(result << (by & 63)),
        (Bin::And, Arg::Number(kept)) => Some(result & kept),
        (Bin::And | Bin::Or | Bin::Xor, _) => Some(result),
        // What is carried goes up.
        (Bin::Add | Bin::Sub | Bin::Mul, _) => Some(mask(64 - result.leading_zeros() as u8)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::lir::{Builder, Field, Type};
    use super::*;
    use grv_lang::span::Span;

    /// Masks that are left of a word and what is made of it.
    fn masks(make: impl FnOnce(&mut Builder, Arg) -> Arg) -> usize {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let context = b.input(0).value().unwrap();
        let (data, end) = (b.field(context, Field::Data), b.field(context, Field::DataEnd));
        let behind = b.advance(data.value().unwrap(), Arg::Number(16));
        let short = b.block();
        b.unless(super::super::Cmp::Le, Arg::Value(behind), end, short);
        let word = b.load(data, 0, 8);
        let result = make(&mut b, word);
        b.store(data, 8, 8, result);
        b.ret(Arg::Number(2));
        b.enter(short);
        b.ret(Arg::Number(1));
        let function = b.finish("f");
        let insts = function.blocks.iter().flat_map(|block| &block.insts);
        insts.filter(|inst| matches!(inst.op, Op::Bin { op: Bin::And, .. })).count()
    }

    #[test]
    fn masks_that_make_no_difference_are_left_out() {
        let low = Arg::Number(0xffff_ffff_ffff);
        // What is shifted out need not be taken away before, on any way.
        let met = |by: u64| {
            move |b: &mut Builder, word: Arg| {
                let (few, many, done) = (b.block(), b.block(), b.block());
                let met = Arg::Value(b.param(done, Type::Word, 48));
                b.branch(super::super::Cmp::Lt, word, Arg::Number(7), few, many);
                b.enter(few);
                b.jump(done, vec![Arg::Number(3)]);
                b.enter(many);
                let masked = b.bin(Bin::And, word, low);
                b.jump(done, vec![masked]);
                b.enter(done);
                b.bin(Bin::Shl, met, Arg::Number(by))
            }
        };
        assert_eq!((masks(met(16)), masks(met(15))), (0, 1));
        // A carry goes up, and not down.
        let sum = |kept: u64| {
            move |b: &mut Builder, word: Arg| {
                let masked = b.bin(Bin::And, word, low);
                let sum = b.bin(Bin::Mul, masked, word);
                b.bin(Bin::Shl, sum, Arg::Number(kept))
            }
        };
        assert_eq!((masks(sum(16)), masks(sum(8))), (0, 1));
    }
}
