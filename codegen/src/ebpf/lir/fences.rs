//! Atomic instructions that only wait until others see what was stored, before more is read, are left out where nothing more is read: where a packet goes is decided
//! by what is known. Another atomic instruction waits as well.

use super::{Arg, Function, Helper, Inst, Op, Type, Value};
use rustc_hash::FxHashSet;

/// What comes first of what matters.
enum First {
    /// Something is read that others may write.
    Reads,
    /// An atomic instruction, which waits.
    Waits,
}

impl Function {
    /// Leaves out what nobody needs to wait for.
    pub(super) fn drop_fences(&mut self) {
        if !self.blocks.iter().flat_map(|block| &block.insts).any(|inst| is_fence(&inst.op)) {
            return;
        }
        let counts = self.blocks.iter().flat_map(|block| &block.insts).filter(|inst| self.is_own(&inst.op));
        let own: FxHashSet<Value> = counts.filter_map(|inst| inst.result).collect();
        // By block: whether something is read on a way from where it begins, before one waits.
        let mut reads = vec![false; self.blocks.len()];
        let mut changed = true;
        while changed {
            changed = false;
            for index in (0..self.blocks.len()).rev() {
                let now = self.reads_behind(index, &self.blocks[index].insts, (&reads, &own));
                changed |= now != std::mem::replace(&mut reads[index], now);
            }
        }
        for index in 0..self.blocks.len() {
            let needed: Vec<bool> = (0..self.blocks[index].insts.len())
                .map(|at| {
                    let insts = &self.blocks[index].insts;
                    !is_fence(&insts[at].op) || self.reads_behind(index, &insts[at + 1..], (&reads, &own))
                })
                .collect();
            let mut needed = needed.into_iter();
            self.blocks[index].insts.retain(|_| needed.next().unwrap_or(true));
        }
    }

    /// Whether something is read by the last instructions of a block, or behind it, before one waits.
    fn reads_behind(&self, block: usize, insts: &[Inst], (reads, own): (&[bool], &FxHashSet<Value>)) -> bool {
        match insts.iter().find_map(|inst| self.first(&inst.op, own)) {
            Some(first) => matches!(first, First::Reads),
            None => self.blocks[block].end.targets().any(|to| reads[to.index()]),
        }
    }

    fn first(&self, op: &Op, own: &FxHashSet<Value>) -> Option<First> {
        match op {
            // What may be left out counts for nothing.
            op if is_fence(op) => None,
            Op::CompareSwap { .. } | Op::FetchAdd { .. } => Some(First::Waits),
            Op::Load { base: Arg::Value(base), .. } => {
                let own = own.contains(base) || matches!(self.types[base.index()], Type::Packet | Type::Context);
                (!own).then_some(First::Reads)
            }
            Op::Load { base: Arg::Global(map, _), .. } => (self.constants != Some(*map)).then_some(First::Reads),
            // These ask for nothing that a step writes.
            Op::Call { helper: Helper::Redirect | Helper::RedirectMap | Helper::XdpAdjustHead | Helper::SkbPullData, .. } => None,
            op if self.is_own(op) => None,
            Op::Call { .. } | Op::Invoke { .. } => Some(First::Reads),
            _ => None,
        }
    }

    /// Whether an operation finds what no other processor has.
    fn is_own(&self, op: &Op) -> bool {
        let map = |args: &[Arg]| if let Some(Arg::Map(map)) = args.first() { self.own.contains(map) } else { false };
        matches!(op, Op::Call { helper: Helper::MapLookup, args } if map(args))
    }
}

/// Nobody else sees the stack.
fn is_fence(op: &Op) -> bool {
    matches!(op, Op::FetchAdd { base: Arg::Stack(..), .. })
}

#[cfg(test)]
mod tests {
    use super::super::{Builder, Cmp, MapId, check};
    use super::*;
    use grv_lang::span::Span;

    /// How many fences are left of a function that stores in an entry, waits, and does something then.
    fn fences(then: impl FnOnce(&mut Builder, Arg)) -> usize {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        b.own = vec![MapId(3)];
        let (slot, none) = (b.slot(8), b.block());
        b.store(Arg::Stack(slot, 0), 0, 8, Arg::Number(7));
        let entry = b.call(Helper::MapLookup, vec![Arg::Map(MapId(0)), Arg::Stack(slot, 0)]);
        b.unless(Cmp::Ne, entry, Arg::Number(0), none);
        b.store(entry, 8, 8, Arg::Number(1));
        b.fetch_add(Arg::Stack(slot, 0), 0, Arg::Number(0));
        then(&mut b, entry);
        b.ret(Arg::Number(2));
        b.enter(none);
        b.ret(Arg::Number(1));
        let function = b.finish("f");
        check(&function).unwrap_or_else(|e| panic!("{e}"));
        function.blocks.iter().flat_map(|block| &block.insts).filter(|inst| is_fence(&inst.op)).count()
    }

    /// Reads an entry again.
    fn again(b: &mut Builder, entry: Arg) {
        let read = b.load(entry, 24, 8);
        b.store(entry, 16, 8, read);
    }

    #[test]
    fn who_reads_nothing_more_does_not_wait() {
        assert_eq!(fences(|_, _| ()), 0);
        assert_eq!(fences(|b, entry| b.store(entry, 16, 8, Arg::Number(1))), 0);
        let redirect = |b: &mut Builder, _: Arg| {
            b.call(Helper::RedirectMap, vec![Arg::Map(MapId(1)), Arg::Number(1), Arg::Number(1)]);
        };
        assert_eq!(fences(redirect), 0);
        // An entry, a variable, a table.
        assert_eq!(fences(again), 1);
        let variable = |b: &mut Builder, entry: Arg| {
            let read = b.load(Arg::Global(MapId(9), 0), 0, 8);
            b.store(entry, 16, 8, read);
        };
        assert_eq!(fences(variable), 1);
        let table = |b: &mut Builder, _: Arg| {
            b.call(Helper::MapUpdate, vec![Arg::Map(MapId(0)); 4]);
        };
        assert_eq!(fences(table), 1);
        // Who swaps waits, too.
        let swapped = |b: &mut Builder, entry: Arg| {
            b.compare_swap(entry, 0, Arg::Number(1), Arg::Number(2));
            again(b, entry);
        };
        assert_eq!(fences(swapped), 0);
    }

    #[test]
    fn what_each_processor_counts_is_nobody_elses() {
        let counts = |map: u32| {
            fences(|b, _| {
                let (slot, none) = (b.slot(4), b.block());
                b.store(Arg::Stack(slot, 0), 0, 4, Arg::Number(1));
                let counter = b.call(Helper::MapLookup, vec![Arg::Map(MapId(map)), Arg::Stack(slot, 0)]);
                b.unless(Cmp::Ne, counter, Arg::Number(0), none);
                b.count(counter, 0, Arg::Number(1));
                let here = b.here();
                b.enter(none);
                b.ret(Arg::Number(3));
                b.enter(here);
            })
        };
        assert_eq!((counts(3), counts(4)), (0, 1));
    }

    #[test]
    fn a_way_on_which_more_is_read_is_enough() {
        let on_one_way = |does: fn(&mut Builder, Arg)| {
            fences(|b, entry| {
                let (yes, no) = (b.block(), b.block());
                let context = b.input(0);
                b.branch(Cmp::Eq, entry, context, yes, no);
                b.enter(yes);
                does(b, entry);
                b.ret(Arg::Number(3));
                b.enter(no);
            })
        };
        assert_eq!(on_one_way(|b, entry| b.store(entry, 16, 8, Arg::Number(1))), 0);
        assert_eq!(on_one_way(again), 1);
    }
}
