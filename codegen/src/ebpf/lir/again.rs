//! What other processors may write, read twice with nothing in between, is read once: nothing says that time passed meanwhile. That is so of the word of an
//! entry of which nothing else is needed, so that it is not read again to see whether the rest belongs to it.

use super::simplify::{Dominators, Replaced};
use super::{Arg, Function, Inst, Op, Type, Value};

/// Bytes that were read last, of all that others may write: where, and what they were.
type Last = Option<(Arg, i16, u8, Value)>;

impl Function {
    /// Reads once what is read again at once. Whether there was any.
    pub(super) fn read_once(&mut self) -> bool {
        let (ways, dominators) = (self.ways(), Dominators::of(self));
        let mut known = Replaced::new(self.types.len());
        let mut changed = false;
        let mut ends: Vec<Last> = vec![None; self.blocks.len()];
        for id in &dominators.order {
            let above = dominators.above(*id).filter(|_| ways[id.index()] == 1);
            let mut last = above.and_then(|above| ends[above.index()]);
            for inst in &self.blocks[id.index()].insts {
                match (self.read(inst), last) {
                    (Some(read), Some(before)) if (read.0, read.1, read.2) == (before.0, before.1, before.2) => {
                        known.set(read.3, Arg::Value(before.3));
                        changed = true;
                    }
                    (Some(read), _) => last = Some(read),
                    (None, _) if self.passes_time(&inst.op) => last = None,
                    _ => {}
                }
            }
            ends[id.index()] = last;
        }
        if changed {
            self.replace(&known);
        }
        changed
    }

    /// What is read, if others may write it.
    fn read(&self, inst: &Inst) -> Last {
        let (Op::Load { base, offset, bytes }, Some(result)) = (&inst.op, inst.result) else { return None };
        self.is_shared(*base).then_some((*base, *offset, *bytes, result))
    }

    /// Whether others may write what is there.
    fn is_shared(&self, base: Arg) -> bool {
        match base {
            Arg::Value(value) => !matches!(self.types[value.index()], Type::Packet | Type::Context),
            Arg::Global(map, _) => self.constants != Some(map),
            _ => false,
        }
    }

    /// Whether what is read behind an operation may have to be newer than what was read before.
    fn passes_time(&self, op: &Op) -> bool {
        match op {
            Op::Store { base, .. } => self.is_shared(*base),
            Op::CompareSwap { .. } | Op::FetchAdd { .. } | Op::Call { .. } | Op::Invoke { .. } => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Builder, Cmp, Helper, MapId, check};
    use super::*;
    use grv_lang::span::Span;

    /// How often an entry is read by a function that reads its word, does something, reads the word again, and compares.
    fn reads(between: impl FnOnce(&mut Builder, Arg)) -> usize {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let (slot, none, changed) = (b.slot(8), b.block(), b.block());
        b.store(Arg::Stack(slot, 0), 0, 4, Arg::Number(7));
        let entry = b.call(Helper::MapLookup, vec![Arg::Map(MapId(0)), Arg::Stack(slot, 0)]);
        b.unless(Cmp::Ne, entry, Arg::Number(0), none);
        let word = b.load(entry, 8, 8);
        b.unless(Cmp::Gt, word, Arg::Number(100), none);
        between(&mut b, entry);
        let still = b.load(entry, 8, 8);
        b.unless(Cmp::Eq, still, word, changed);
        b.ret(Arg::Number(2));
        for (block, verdict) in [(none, 1), (changed, 0)] {
            b.enter(block);
            b.ret(Arg::Number(verdict));
        }
        let function = b.finish("f");
        check(&function).unwrap_or_else(|e| panic!("{e}"));
        let insts = function.blocks.iter().flat_map(|block| &block.insts);
        insts.filter(|inst| matches!(inst.op, Op::Load { bytes: 8, .. })).count()
    }

    #[test]
    fn a_word_is_read_again_only_if_something_was_in_between() {
        assert_eq!(reads(|_, _| {}), 1);
        // What is read and not used is not read.
        let unused = |b: &mut Builder, entry: Arg| {
            b.load(entry, 0, 8);
        };
        assert_eq!(reads(unused), 1);
        let none = |b: &mut Builder, rest: Arg| {
            let (other, next) = (b.block(), b.block());
            b.branch(Cmp::Eq, rest, Arg::Number(5), next, other);
            b.enter(other);
            b.ret(Arg::Number(3));
            b.enter(next);
        };
        assert_eq!(
            reads(|b, entry| {
                let rest = b.load(entry, 0, 8);
                none(b, rest);
            }),
            3
        );
        assert_eq!(reads(|b, entry| b.store(entry, 0, 8, Arg::Number(1))), 2);
        assert_eq!(
            reads(|b, entry| {
                b.compare_swap(entry, 0, Arg::Number(1), Arg::Number(2));
            }),
            2
        );
    }
}
