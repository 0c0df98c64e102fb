//! Bytes of the packet that are written again before anybody reads them are written once.

use super::{Arg, Function, Op, Type, Value};
use rustc_hash::FxHashSet;

impl Function {
    /// Leaves out what is overwritten.
    pub(super) fn drop_overwritten(&mut self) {
        for index in 0..self.blocks.len() {
            // From the last to the first: bytes behind a pointer that are written before they are read.
            let mut written: FxHashSet<(Value, i32)> = FxHashSet::default();
            let mut kept = Vec::new();
            for inst in std::mem::take(&mut self.blocks[index].insts).into_iter().rev() {
                let packet = |arg: &Arg| arg.value().filter(|value| self.types[value.index()] == Type::Packet);
                match &inst.op {
                    Op::Store { base, offset, bytes, .. } if packet(base).is_some() => {
                        let Some(base) = packet(base) else { continue };
                        let mut news = false;
                        for byte in 0..i32::from(*bytes) {
                            news |= written.insert((base, i32::from(*offset) + byte));
                        }
                        if !news {
                            continue;
                        }
                    }
                    // Whoever is called may see the packet.
                    Op::Call { .. } => written.clear(),
                    // Another pointer may lead to the same bytes.
                    Op::Load { base, .. } if packet(base).is_some() => written.clear(),
                    _ => {}
                }
                kept.push(inst);
            }
            kept.reverse();
            self.blocks[index].insts = kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Builder, Cmp, Field, check};
    use super::*;
    use grv_lang::span::Span;

    /// Writes, from the first to the last: of bytes from an offset on; and whether the packet is read before the last.
    fn left(writes: &[(i16, u8)], read: bool) -> Vec<(i16, u8)> {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let context = b.input(0).value().unwrap();
        let (data, end) = (b.field(context, Field::Data), b.field(context, Field::DataEnd));
        let short = b.block();
        let behind = b.advance(data.value().unwrap(), Arg::Number(34));
        b.unless(Cmp::Le, Arg::Value(behind), end, short);
        let mut sum = Arg::Number(0);
        for (at, (offset, bytes)) in writes.iter().enumerate() {
            if read && at + 1 == writes.len() {
                sum = b.load(data, 20, 1);
            }
            b.store(data, *offset, *bytes, Arg::Number(at as u64));
        }
        b.ret(sum);
        b.enter(short);
        b.ret(Arg::Number(1));
        let function = b.finish("f");
        check(&function).unwrap_or_else(|e| panic!("{e}"));
        let insts = function.blocks.iter().flat_map(|block| &block.insts);
        insts
            .filter_map(|inst| if let Op::Store { offset, bytes, .. } = inst.op { Some((offset, bytes)) } else { None })
            .collect()
    }

    #[test]
    fn only_what_is_overwritten_as_a_whole_is_left_out() {
        assert_eq!(left(&[(0, 8), (8, 4), (6, 4), (10, 2), (0, 4), (4, 2)], false), [(6, 4), (10, 2), (0, 4), (4, 2)]);
        assert_eq!(left(&[(0, 8), (0, 4)], false), [(0, 8), (0, 4)]);
        assert_eq!(left(&[(0, 4), (0, 4)], true), [(0, 4), (0, 4)]);
    }
}
