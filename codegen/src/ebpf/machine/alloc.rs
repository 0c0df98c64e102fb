//! Registers: regalloc2 assigns them, over its interface.

use super::select::{Selected, clobbered, register};
use regalloc2::{Algorithm, Block, Function, Inst, InstRange, MachineEnv, Operand, Output, PRegSet, RegallocOptions, VReg};

/// Assigns registers and spill slots.
pub(crate) fn allocate(selected: &Selected) -> Result<Output, String> {
    let set = |numbers: std::ops::RangeInclusive<usize>| numbers.fold(PRegSet::empty(), |set, n| set.with(register(n)));
    let none = PRegSet::empty();
    let env = MachineEnv {
        preferred_regs_by_class: [set(0..=5), none, none],
        // Calls leave these alone. A program for the kernel need not save them, but they are few.
        non_preferred_regs_by_class: [set(6..=9), none, none],
        scratch_by_class: [None, None, None],
        fixed_stack_slots: Vec::new(),
    };
    let options = RegallocOptions { verbose_log: false, validate_ssa: cfg!(debug_assertions), algorithm: Algorithm::Ion };
    regalloc2::run(selected, &env, &options).map_err(|e| format!("{e:?}"))
}

impl Function for Selected {
    fn num_insts(&self) -> usize {
        self.steps.len()
    }

    fn num_blocks(&self) -> usize {
        self.runs.len()
    }

    fn entry_block(&self) -> Block {
        Block::new(0)
    }

    fn block_insns(&self, block: Block) -> InstRange {
        let steps = &self.runs[block.index()].steps;
        InstRange::new(Inst::new(steps.start), Inst::new(steps.end))
    }

    fn block_succs(&self, block: Block) -> &[Block] {
        &self.runs[block.index()].succs
    }

    fn block_preds(&self, block: Block) -> &[Block] {
        &self.runs[block.index()].preds
    }

    fn block_params(&self, block: Block) -> &[VReg] {
        &self.runs[block.index()].params
    }

    fn is_ret(&self, step: Inst) -> bool {
        matches!(self.steps[step.index()].action, super::select::Action::Exit)
    }

    fn is_branch(&self, step: Inst) -> bool {
        use super::select::Action::{Branch, BranchImm, Jump};
        matches!(self.steps[step.index()].action, Jump(_) | Branch(..) | BranchImm(..))
    }

    fn branch_blockparams(&self, block: Block, _: Inst, _: usize) -> &[VReg] {
        &self.runs[block.index()].args
    }

    fn inst_operands(&self, step: Inst) -> &[Operand] {
        &self.steps[step.index()].operands
    }

    fn inst_clobbers(&self, step: Inst) -> PRegSet {
        if self.steps[step.index()].clobbers { clobbered() } else { PRegSet::empty() }
    }

    fn num_vregs(&self) -> usize {
        self.registers
    }

    fn spillslot_size(&self, _: regalloc2::RegClass) -> usize {
        1
    }
}
