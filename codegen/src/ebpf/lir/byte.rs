//! The first byte of a number in the packet is read by itself where only that is asked for: nothing is turned and shifted then.

use super::simplify::Replaced;
use super::{Arg, Bin, Function, Inst, Op, Type, Value};
use rustc_hash::FxHashMap;

impl Function {
    /// Reads first bytes by themselves, where the numbers are read: bytes may be written later. Whether there were any.
    pub(super) fn read_first_bytes(&mut self) -> bool {
        let insts = || self.blocks.iter().flat_map(|block| &block.insts);
        let read = |inst: &Inst| match (&inst.op, inst.result) {
            (Op::Load { base: Arg::Value(base), offset, bytes }, Some(number)) if self.types[base.index()] == Type::Packet => {
                Some((number, (*base, *offset, *bytes)))
            }
            _ => None,
        };
        let read: FxHashMap<Value, (Value, i16, u8)> = insts().filter_map(read).collect();
        // By what turns a number that was read: the number, and its bits.
        let turn = |inst: &Inst| match (&inst.op, inst.result) {
            (Op::Swap { bits, a: Arg::Value(number) }, Some(turned)) if read.get(number)?.2 * 8 == *bits => {
                Some((turned, (*number, u64::from(*bits))))
            }
            _ => None,
        };
        let turned: FxHashMap<Value, (Value, u64)> = insts().filter_map(turn).collect();
        let shift = |inst: &Inst| match (&inst.op, inst.result) {
            (Op::Bin { op: Bin::Shr, a: Arg::Value(a), b: Arg::Number(by), .. }, Some(byte)) => {
                turned.get(a).filter(|(_, bits)| *by + 8 == *bits).map(|(number, _)| (byte, *number))
            }
            _ => None,
        };
        let shifted: Vec<(Value, Value)> = insts().filter_map(shift).collect();
        // By number: what is to be its first byte.
        let mut first: FxHashMap<Value, Value> = FxHashMap::default();
        for (_, number) in &shifted {
            first.entry(*number).or_insert_with(|| {
                self.types.push(Type::Word);
                self.bits.push(8);
                Value(self.types.len() as u32 - 1)
            });
        }
        for block in &mut self.blocks {
            let read_of = |inst: &Inst| {
                let number = inst.result?;
                let (byte, (base, offset, _)) = (*first.get(&number)?, *read.get(&number)?);
                let op = Op::Load { base: Arg::Value(base), offset, bytes: 1 };
                Some(Inst { op, result: Some(byte), span: inst.span, commit: None })
            };
            block.insts =
                std::mem::take(&mut block.insts).into_iter().flat_map(|inst| [read_of(&inst), Some(inst)]).flatten().collect();
        }
        let mut known = Replaced::new(self.types.len());
        shifted
            .iter()
            .filter_map(|(byte, number)| Some((byte, first.get(number)?)))
            .for_each(|(byte, first)| known.set(*byte, Arg::Value(*first)));
        self.replace(&known);
        !shifted.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Builder, Cmp, Field, check};
    use super::*;
    use grv_lang::span::Span;

    /// How many bytes are read at once, of what is asked of a number of four bytes.
    fn reads(asked: impl FnOnce(&mut Builder, Arg) -> Arg) -> Vec<u8> {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let Arg::Value(context) = b.input(0) else { panic!("a function is given its context") };
        let (Arg::Value(data), Arg::Value(end)) = (b.field(context, Field::Data), b.field(context, Field::DataEnd)) else {
            panic!("fields are values")
        };
        let short = b.block();
        let far = b.advance(data, Arg::Number(34));
        b.unless(Cmp::Le, Arg::Value(far), Arg::Value(end), short);
        let number = b.load(Arg::Value(data), 30, 4);
        let number = b.swap(32, number);
        b.store(Arg::Value(data), 30, 1, Arg::Number(9));
        let asked = asked(&mut b, number);
        b.ret(asked);
        b.enter(short);
        b.ret(Arg::Number(1));
        let function = b.finish("f");
        check(&function).unwrap_or_else(|e| panic!("{e}"));
        let insts: Vec<&Inst> = function.blocks.iter().flat_map(|block| &block.insts).collect();
        let of = |inst: &Inst| matches!(inst.op, Op::Store { .. });
        let (stored, last) =
            (insts.iter().position(|inst| of(inst)), insts.iter().rposition(|inst| matches!(inst.op, Op::Load { .. })));
        assert!(last < stored, "what was read before is read again later");
        insts.iter().filter_map(|inst| if let Op::Load { bytes, .. } = inst.op { Some(bytes) } else { None }).collect()
    }

    #[test]
    fn only_a_first_byte_is_read_by_itself() {
        assert_eq!(reads(|b, number| b.bin(Bin::Shr, number, Arg::Number(24))), [1]);
        assert_eq!(reads(|b, number| b.bin(Bin::Shr, number, Arg::Number(23))), [4]);
        let both = |b: &mut Builder, number| {
            let byte = b.bin(Bin::Shr, number, Arg::Number(24));
            b.bin(Bin::Add, byte, number)
        };
        assert_eq!(reads(both), [1, 4]);
    }
}
