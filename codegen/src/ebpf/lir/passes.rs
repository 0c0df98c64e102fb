//! What is done to a function when it is built, in this order. Each pass says in its own file what for.

use super::{Arg, Block, BlockId, End, Function};

impl Function {
    /// Makes it simpler, shorter and faster.
    pub(super) fn improve(&mut self) {
        self.tidy();
        self.simplify();
        if self.read_once() | self.read_first_bytes() {
            self.simplify();
        }
        self.pack_met();
        self.read_together();
        self.redirect_by_word();
        self.ask_less();
        self.merge_alike();
        self.evaluate_met();
        self.undo_early();
        self.gather();
        // Shifts that differ would have kept copies from being alike.
        self.ask_first_bits();
        self.ask_less();
        self.forget_untold();
        self.know_shown();
        self.simplify();
        self.drop_overwritten();
        self.drop_fences();
        self.widen_stores();
        self.leave_out_masks();
        self.share_addresses();
        self.try_again_first();
    }

    /// Removes what is not reached, and what is computed for nothing.
    pub(super) fn tidy(&mut self) {
        let mut reached = vec![false; self.blocks.len()];
        let mut order = Vec::new();
        let mut work = vec![BlockId(0)];
        while let Some(block) = work.pop() {
            if std::mem::replace(&mut reached[block.index()], true) {
                continue;
            }
            order.push(block);
            match &self.blocks[block.index()].end {
                End::Jump(to, _) => work.push(*to),
                End::Branch { then, other, .. } => work.extend([*other, *then]),
                End::Return(_) => {}
            }
        }
        let mut numbers = vec![BlockId(0); self.blocks.len()];
        for (number, block) in (0..).zip(&order) {
            numbers[block.index()] = BlockId(number);
        }
        let mut kept: Vec<Option<Block>> = std::mem::take(&mut self.blocks).into_iter().map(Some).collect();
        self.blocks = order.iter().filter_map(|block| kept[block.index()].take()).collect();
        for block in &mut self.blocks {
            match &mut block.end {
                End::Jump(to, _) => *to = numbers[to.index()],
                End::Branch { then, other, .. } => (*then, *other) = (numbers[then.index()], numbers[other.index()]),
                End::Return(_) => {}
            }
        }
        self.drop_unused();
    }

    /// Removes what no effect, no way and no verdict depends on: instructions, and parameters of blocks.
    pub(super) fn drop_unused(&mut self) {
        // By value: the operands that it is made from.
        let mut made: Vec<Vec<Arg>> = vec![Vec::new(); self.types.len()];
        let mut work: Vec<Arg> = Vec::new();
        for block in &self.blocks {
            for inst in &block.insts {
                match inst.result {
                    Some(value) if !inst.op.has_effect() => made[value.index()] = inst.op.args(),
                    _ => work.extend(inst.op.args()),
                }
            }
            match &block.end {
                End::Jump(to, args) => {
                    for (param, arg) in self.blocks[to.index()].params.iter().zip(args) {
                        made[param.index()].push(*arg);
                    }
                }
                End::Branch { a, b, .. } => work.extend([*a, *b]),
                End::Return(verdict) => work.push(*verdict),
            }
        }
        let mut used = vec![false; self.types.len()];
        while let Some(arg) = work.pop() {
            if let Arg::Value(value) = arg
                && !std::mem::replace(&mut used[value.index()], true)
            {
                work.append(&mut made[value.index()]);
            }
        }
        let params: Vec<Vec<bool>> =
            self.blocks.iter().map(|block| block.params.iter().map(|param| used[param.index()]).collect()).collect();
        for block in &mut self.blocks {
            block.insts.retain(|inst| inst.op.has_effect() || inst.result.is_none_or(|value| used[value.index()]));
            block.params.retain(|param| used[param.index()]);
            if let End::Jump(to, args) = &mut block.end {
                let mut kept = params[to.index()].iter();
                args.retain(|_| kept.next().copied().unwrap_or(false));
            }
        }
    }
}
