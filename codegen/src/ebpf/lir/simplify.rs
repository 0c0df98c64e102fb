//! A function made simpler, as it is finished: what one block alone leads to becomes part of it; what is decided on the way to a branch goes on
//! where the branch would; what was computed or read before is not computed or read again ([`super::ranges`]: what is known of words).
//!
//! Reads are repeated only where another processor may have written meanwhile: bytes of the packet are nobody else's, and stay what they
//! are until the step writes some.

use super::{Arg, Block, BlockId, Cmp, End, Function, Helper, Op, Type, Value};
use rustc_hash::FxHashMap;

/// Rounds at most; each makes way for the next, and few are needed.
const ROUNDS: usize = 4;

impl Function {
    /// Makes it simpler. All blocks are reached.
    pub(super) fn simplify(&mut self) {
        for _ in 0..ROUNDS {
            let merged = self.merge();
            let decided = self.decide();
            self.tidy();
            let known = self.number_values() | self.narrow();
            let summed = self.add_up();
            if !merged && !decided && !known && !summed {
                break;
            }
        }
    }

    /// By block, how many ways lead there; the entry has one more.
    pub(super) fn ways(&self) -> Vec<u32> {
        let mut ways = vec![0; self.blocks.len()];
        ways[0] = 1;
        for block in &self.blocks {
            block.end.targets().for_each(|to| ways[to.index()] += 1);
        }
        ways
    }

    /// Blocks that one jump alone leads to become part of where it is.
    pub(super) fn merge(&mut self) -> bool {
        let ways = self.ways();
        let mut known = Replaced::new(self.types.len());
        let mut changed = false;
        for index in 0..self.blocks.len() {
            while let End::Jump(to, args) = self.blocks[index].end.clone()
                && ways[to.index()] == 1
                && to.index() != index
            {
                let empty = Block {
                    params: Vec::new(),
                    insts: Vec::new(),
                    end: End::Return(Arg::Number(0)),
                    span: self.blocks[index].span,
                    rare: false,
                };
                let next = std::mem::replace(&mut self.blocks[to.index()], empty);
                next.params.iter().zip(args).for_each(|(param, arg)| known.set(*param, arg));
                let block = &mut self.blocks[index];
                block.insts.extend(next.insts);
                (block.end, block.span) = (next.end, next.span);
                block.rare |= next.rare;
                changed = true;
            }
        }
        if changed {
            self.replace(&known);
        }
        changed
    }

    /// Puts what is known in place of values.
    pub(super) fn replace(&mut self, known: &Replaced) {
        for block in &mut self.blocks {
            for inst in &mut block.insts {
                inst.op.each_arg(|arg| *arg = known.of(*arg));
            }
            block.end.each_arg(|arg| *arg = known.of(*arg));
        }
    }

    /// A branch that is all of a block, and that what a jump gives to the block decides, is not gone to by that jump.
    fn decide(&mut self) -> bool {
        let mut changed = false;
        for block in &mut self.blocks {
            if let End::Branch { cmp, a, b, then, other } = block.end
                && let Some(holds) = decided(cmp, a, b)
            {
                block.end = End::Jump(if holds { then } else { other }, Vec::new());
                changed = true;
            }
        }
        let ways = self.ways();
        let dominators = Dominators::of(self);
        let mut used: FxHashMap<Value, Vec<BlockId>> = FxHashMap::default();
        for (id, block) in (0..).map(BlockId).zip(&self.blocks) {
            let mut note = |arg: &Arg| {
                if let Arg::Value(value) = arg {
                    used.entry(*value).or_default().push(id);
                }
            };
            block.insts.iter().for_each(|inst| inst.op.args().iter().for_each(&mut note));
            block.end.args().iter().for_each(&mut note);
        }
        for index in 0..self.blocks.len() {
            let End::Jump(to, args) = &self.blocks[index].end else { continue };
            let (to, block) = (*to, &self.blocks[to.index()]);
            let End::Branch { cmp, a, b, then, other } = block.end else { continue };
            if !block.insts.is_empty() || to.index() == index {
                continue;
            }
            let given = |arg: Arg| match block.params.iter().position(|param| arg == Arg::Value(*param)) {
                Some(at) => args.get(at).copied().unwrap_or(arg),
                None => arg,
            };
            let Some(holds) = decided(cmp, given(a), given(b)) else {
                // What is given is only compared: that may as well be done here.
                let only_here = |value: &Value| used.get(value).is_none_or(|blocks| blocks.iter().all(|block| *block == to));
                if (given(a), given(b)) != (a, b) && block.params.iter().all(only_here) {
                    self.blocks[index].end = End::Branch { cmp, a: given(a), b: given(b), then, other };
                    changed = true;
                }
                continue;
            };
            let (goal, left) = if holds { (then, other) } else { (other, then) };
            // What the block is given is not known behind a way around it.
            let only_left = |value: &Value| {
                let blocks = used.get(value).map_or(&[][..], Vec::as_slice);
                blocks.iter().all(|block| *block == to || ways[left.index()] == 1 && dominators.dominates(left, *block))
            };
            if goal != left && block.params.iter().all(only_left) {
                self.blocks[index].end = End::Jump(goal, Vec::new());
                changed = true;
            }
        }
        changed
    }

    /// What was computed on all ways to a place is not computed there again, and what was decided is not asked. Whether anything was decided.
    fn number_values(&mut self) -> bool {
        let mut decided = false;
        let ways = self.ways();
        let dominators = Dominators::of(self);
        let mut known = Replaced::new(self.types.len());
        // By block: what is known at its end that its successors may still use.
        let mut computed: FxHashMap<Op, (Value, BlockId)> = FxHashMap::default();
        let mut reads: Vec<FxHashMap<Op, Value>> = vec![FxHashMap::default(); self.blocks.len()];
        // By block: what slots hold. Helpers only read what they are given there.
        let mut slots: Vec<FxHashMap<Op, Arg>> = vec![FxHashMap::default(); self.blocks.len()];
        // Constants are read once between calls: to keep them longer is no better than to read them.
        let mut constants: Vec<FxHashMap<Op, Value>> = vec![FxHashMap::default(); self.blocks.len()];
        // By block: comparisons, and whether they hold.
        let mut facts: Vec<FxHashMap<(Cmp, Arg, Arg), bool>> = vec![FxHashMap::default(); self.blocks.len()];
        for id in dominators.order.clone() {
            let (mut read, mut constant, mut slot) = match dominators.above(id) {
                // Nothing can have been written since.
                Some(above) if ways[id.index()] == 1 => {
                    (reads[above.index()].clone(), constants[above.index()].clone(), slots[above.index()].clone())
                }
                _ => (FxHashMap::default(), FxHashMap::default(), FxHashMap::default()),
            };
            if let Some(above) = dominators.above(id) {
                let mut known = facts[above.index()].clone();
                if let (1, End::Branch { cmp, a, b, then, other }) = (ways[id.index()], &self.blocks[above.index()].end)
                    && then != other
                {
                    let holds = *then == id;
                    known.extend([((*cmp, *a, *b), holds), ((cmp.negated(), *a, *b), !holds)]);
                }
                facts[id.index()] = known;
            }
            let mut insts = std::mem::take(&mut self.blocks[id.index()].insts);
            insts.retain_mut(|inst| {
                inst.op.each_arg(|arg| *arg = known.of(*arg));
                let packet = |arg: &Arg| arg.value().is_some_and(|value| self.types[value.index()] == Type::Packet);
                match &inst.op {
                    Op::Store { base, .. } if packet(base) => read.clear(),
                    Op::Store { base: Arg::Stack(..), .. } if is_there(&mut slot, &inst.op) => return false,
                    Op::FetchAdd { base: Arg::Stack(..), .. } | Op::CompareSwap { base: Arg::Stack(..), .. } => slot.clear(),
                    Op::Invoke { .. } => constant.clear(),
                    Op::Call { helper, .. } => {
                        constant.clear();
                        if *helper == Helper::XdpAdjustHead {
                            read.clear();
                        }
                    }
                    _ => {}
                }
                let Some(result) = inst.result else { return true };
                match &inst.op {
                    // Where the packet is, too, is another place when its length was changed.
                    Op::Context(..) => return keep(&mut read, &mut known, &inst.op, result),
                    Op::Load { base, .. } if packet(base) => return keep(&mut read, &mut known, &inst.op, result),
                    Op::Load { base: Arg::Global(map, _), .. } if Some(*map) == self.constants => {
                        return keep(&mut constant, &mut known, &inst.op, result);
                    }
                    Op::Bin { .. } | Op::Swap { .. } | Op::Advance { .. } | Op::Distance { .. } => {
                        let before = computed.get(&inst.op).filter(|(_, at)| *at == id || dominators.dominates(*at, id));
                        match before {
                            Some((before, _)) => {
                                known.set(result, Arg::Value(*before));
                                return false;
                            }
                            None => drop(computed.insert(inst.op.clone(), (result, id))),
                        }
                    }
                    _ => {}
                }
                true
            });
            let block = &mut self.blocks[id.index()];
            block.insts = insts;
            block.end.each_arg(|arg| *arg = known.of(*arg));
            if let End::Branch { cmp, a, b, then, other } = block.end
                && let Some(holds) = facts[id.index()].get(&(cmp, a, b))
            {
                block.end = End::Jump(if *holds { then } else { other }, Vec::new());
                decided = true;
            }
            reads[id.index()] = read;
            constants[id.index()] = constant;
            slots[id.index()] = slot;
        }
        // Around loops, what is known later was given before.
        self.replace(&known);
        if decided {
            self.tidy();
        }
        decided
    }
}

/// Whether a read is to stay: what was read before is used instead.
fn keep(read: &mut FxHashMap<Op, Value>, known: &mut Replaced, op: &Op, result: Value) -> bool {
    match read.get(op) {
        Some(before) => {
            known.set(result, Arg::Value(*before));
            false
        }
        None => {
            read.insert(op.clone(), result);
            true
        }
    }
}

/// Whether a slot has what is to be written to it; if not, it will have it.
fn is_there(slots: &mut FxHashMap<Op, Arg>, store: &Op) -> bool {
    let Op::Store { base: Arg::Stack(slot, start), offset, bytes, value } = store else { return false };
    let at = i32::from(*start) + i32::from(*offset);
    let place = |at: i32, bytes: u8| Op::Load { base: Arg::Stack(*slot, at as u16), offset: 0, bytes };
    if slots.get(&place(at, *bytes)) == Some(value) {
        return true;
    }
    slots.retain(|known, _| match known {
        Op::Load { base: Arg::Stack(other, from), bytes: length, .. } => {
            let from = i32::from(*from);
            other != slot || from + i32::from(*length) <= at || at + i32::from(*bytes) <= from
        }
        _ => false,
    });
    slots.insert(place(at, *bytes), *value);
    false
}

/// What is known of a comparison of these operands.
fn decided(cmp: Cmp, a: Arg, b: Arg) -> Option<bool> {
    match (a.number(), b.number()) {
        (Some(a), Some(b)) => Some(cmp.holds(a, b)),
        _ if a == b && !matches!(cmp, Cmp::Set | Cmp::Clear) => Some(cmp.holds(0, 0)),
        _ => None,
    }
}

/// Values, and what is in their place.
pub(super) struct Replaced(Vec<Option<Arg>>);

impl Replaced {
    pub(super) fn new(values: usize) -> Replaced {
        Replaced(vec![None; values])
    }

    pub(super) fn set(&mut self, value: Value, by: Arg) {
        self.0[value.index()] = Some(by);
    }

    pub(super) fn of(&self, mut arg: Arg) -> Arg {
        while let Arg::Value(value) = arg
            && let Some(by) = self.0[value.index()]
        {
            arg = by;
        }
        arg
    }
}

/// Which blocks all ways to a block lead through.
pub(super) struct Dominators {
    /// Blocks so that each comes behind those that dominate it.
    pub(super) order: Vec<BlockId>,
    /// By block: its place in that order, and the nearest block that dominates it.
    place: Vec<usize>,
    above: Vec<usize>,
}

impl Dominators {
    pub(super) fn of(function: &Function) -> Dominators {
        let count = function.blocks.len();
        let (mut post, mut seen) = (Vec::new(), vec![false; count]);
        let mut stack = vec![(BlockId(0), 0)];
        seen[0] = true;
        while let Some((block, next)) = stack.pop() {
            match function.blocks[block.index()].end.targets().nth(next) {
                Some(to) => {
                    stack.push((block, next + 1));
                    if !std::mem::replace(&mut seen[to.index()], true) {
                        stack.push((to, 0));
                    }
                }
                None => post.push(block),
            }
        }
        post.reverse();
        let mut place = vec![usize::MAX; count];
        post.iter().enumerate().for_each(|(at, block)| place[block.index()] = at);
        let mut preds = vec![Vec::new(); post.len()];
        for block in &post {
            for to in function.blocks[block.index()].end.targets() {
                preds[place[to.index()]].push(place[block.index()]);
            }
        }
        // By place in the order, as long as something changes (Cooper, Harvey, Kennedy).
        let mut nearest = vec![usize::MAX; post.len()];
        nearest[0] = 0;
        let mut changed = true;
        while std::mem::take(&mut changed) {
            for at in 1..post.len() {
                let mut known = preds[at].iter().copied().filter(|pred| nearest[*pred] != usize::MAX);
                let Some(first) = known.next() else { continue };
                let common = known.fold(first, |mut a, mut b| {
                    while a != b {
                        if a > b { a = nearest[a] } else { b = nearest[b] }
                    }
                    a
                });
                changed |= nearest[at] != common;
                nearest[at] = common;
            }
        }
        Dominators { order: post, place, above: nearest }
    }

    /// The nearest block that dominates another.
    pub(super) fn above(&self, block: BlockId) -> Option<BlockId> {
        let at = *self.place.get(block.index())?;
        (at != 0).then(|| self.above.get(at).and_then(|above| self.order.get(*above)).copied()).flatten()
    }

    /// Whether all ways to a block lead through another, or end there.
    pub(super) fn dominates(&self, above: BlockId, block: BlockId) -> bool {
        let (goal, mut at) = (self.place[above.index()], self.place[block.index()]);
        // What is not reached is dominated by nothing.
        while at != usize::MAX && at > goal {
            at = self.above[at];
        }
        at == goal
    }
}

impl End {
    /// Where it leads.
    pub(crate) fn targets(&self) -> impl Iterator<Item = BlockId> + use<> {
        let (first, second) = match self {
            End::Jump(to, _) => (Some(*to), None),
            End::Branch { then, other, .. } => (Some(*then), Some(*other)),
            End::Return(_) => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// Its operands.
    pub(super) fn args(&self) -> Vec<Arg> {
        match self {
            End::Jump(_, args) => args.clone(),
            End::Branch { a, b, .. } => vec![*a, *b],
            End::Return(verdict) => vec![*verdict],
        }
    }

    pub(super) fn each_arg(&mut self, mut f: impl FnMut(&mut Arg)) {
        match self {
            End::Jump(_, args) => args.iter_mut().for_each(f),
            End::Branch { a, b, .. } => [a, b].into_iter().for_each(f),
            End::Return(verdict) => f(verdict),
        }
    }
}

impl Op {
    /// Does something with all operands. Those that can only be values stay values.
    pub(super) fn each_arg(&mut self, mut f: impl FnMut(&mut Arg)) {
        let mut value = |value: &mut Value| {
            let mut arg = Arg::Value(*value);
            f(&mut arg);
            if let Arg::Value(new) = arg {
                *value = new;
            }
        };
        match self {
            Op::Context(context, _) => value(context),
            Op::Advance { pointer, .. } => value(pointer),
            Op::Distance { from, to } => [from, to].into_iter().for_each(&mut value),
            _ => {}
        }
        match self {
            Op::Context(..) | Op::Distance { .. } => {}
            Op::Bin { a, b, .. } | Op::Place { base: a, by: b } => [a, b].into_iter().for_each(f),
            Op::Swap { a, .. } => f(a),
            Op::Advance { by, .. } => f(by),
            Op::Load { base, .. } => f(base),
            Op::Store { base, value, .. } => [base, value].into_iter().for_each(f),
            Op::CompareSwap { base, expected, new, .. } => [base, expected, new].into_iter().for_each(f),
            Op::FetchAdd { base, amount, .. } => [base, amount].into_iter().for_each(f),
            Op::Call { args, .. } | Op::Invoke { args, .. } => args.iter_mut().for_each(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Bin, Builder, Field, check};
    use super::*;
    use grv_lang::span::Span;

    fn count(function: &Function, of: impl Fn(&Op) -> bool) -> usize {
        function.blocks.iter().flat_map(|block| &block.insts).filter(|inst| of(&inst.op)).count()
    }

    #[test]
    fn what_was_read_is_read_again_only_if_something_was_written() {
        for writes in [false, true] {
            let mut b = Builder::new(Span::default(), &[Type::Context]);
            let context = b.input(0).value().unwrap_or(Value(0));
            let data = b.field(context, Field::Data);
            let first = b.load(data, 0, 4);
            if writes {
                b.store(data, 8, 1, Arg::Number(1));
            }
            let second = b.load(data, 0, 4);
            let (yes, no) = (b.block(), b.block());
            let sum = b.bin(Bin::Add, first, second);
            b.branch(Cmp::Gt, sum, Arg::Number(9), yes, no);
            b.enter(yes);
            // The packet may be elsewhere then.
            b.call(Helper::XdpAdjustHead, vec![Arg::Value(context), Arg::Number(4)]);
            let moved = b.field(context, Field::Data);
            b.store(moved, 0, 1, Arg::Number(1));
            let again = b.bin(Bin::Add, first, second);
            b.ret(again);
            b.enter(no);
            b.ret(Arg::Number(0));
            let function = b.finish("f");
            check(&function).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(count(&function, |op| matches!(op, Op::Load { .. })), 1 + usize::from(writes));
            assert_eq!(count(&function, |op| matches!(op, Op::Bin { .. })), 1);
            assert_eq!(count(&function, |op| matches!(op, Op::Context(..))), 2);
        }
    }

    #[test]
    fn what_was_decided_is_not_asked_again() {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let context = b.input(0).value().unwrap_or(Value(0));
        let number = b.field(context, Field::IngressIfindex);
        let (less, more, again, never, met) = (b.block(), b.block(), b.block(), b.block(), b.block());
        b.branch(Cmp::Lt, number, Arg::Number(5), less, more);
        b.enter(less);
        b.branch(Cmp::Ge, number, Arg::Number(5), never, again);
        b.enter(never);
        b.ret(Arg::Number(1));
        b.enter(again);
        b.jump(met, Vec::new());
        b.enter(more);
        b.jump(met, Vec::new());
        b.enter(met);
        // Here it may be either.
        let (yes, no) = (b.block(), b.block());
        b.branch(Cmp::Lt, number, Arg::Number(5), yes, no);
        b.enter(yes);
        b.ret(Arg::Number(2));
        b.enter(no);
        b.ret(Arg::Number(3));
        let function = b.finish("f");
        check(&function).unwrap_or_else(|e| panic!("{e}"));
        let branches = function.blocks.iter().filter(|block| matches!(block.end, End::Branch { .. })).count();
        let ends = |verdict| function.blocks.iter().any(|block| matches!(block.end, End::Return(Arg::Number(n)) if n == verdict));
        // What was asked first leads to the same place.
        assert!(branches == 1 && !ends(1) && ends(2) && ends(3));
    }

    #[test]
    fn a_branch_that_is_decided_before_is_not_gone_to() {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let context = b.input(0).value().unwrap_or(Value(0));
        let number = b.field(context, Field::IngressIfindex);
        let (same, more, met, yes, no) = (b.block(), b.block(), b.block(), b.block(), b.block());
        let param = Arg::Value(b.param(met, Type::Word, 64));
        b.branch(Cmp::Eq, number, Arg::Number(1), same, more);
        b.enter(same);
        b.jump(met, vec![number]);
        b.enter(more);
        let other = b.bin(Bin::Mul, number, Arg::Number(3));
        b.jump(met, vec![other]);
        b.enter(met);
        b.branch(Cmp::Eq, number, param, yes, no);
        b.enter(yes);
        b.ret(Arg::Number(7));
        b.enter(no);
        b.ret(param);
        let function = b.finish("f");
        check(&function).unwrap_or_else(|e| panic!("{e}"));
        // One comparison for each way: the first, and that of the way on which the product is compared.
        let branches = function.blocks.iter().filter(|block| matches!(block.end, End::Branch { .. })).count();
        assert_eq!(branches, 2);
        assert!(matches!(&function.blocks[0].end, End::Branch { then, .. } if function.blocks[then.index()].insts.is_empty()));
    }
}
