//! Registers that hold what others hold already: who reads a copy may as well read what it was copied from, and what is made in one register only to be
//! moved to another is made there.

use super::insn::FRAME;
use super::{Emit, Insn};
use std::collections::BTreeSet;

impl Emit {
    /// Has instructions read what was copied instead of the copy.
    pub(super) fn read_originals(&mut self, starts: &[usize]) {
        let heads = self.heads(starts);
        let mut copied: [Option<u8>; 11] = [None; 11];
        for at in 0..self.code.insns.len() {
            if heads.contains(&at) {
                copied = [None; 11];
            }
            let insn = &mut self.code.insns[at];
            let original = |register: u8| copied[usize::from(register)].unwrap_or(register);
            let (target, source) = insn.only_reads();
            if target {
                insn.dst = original(insn.dst);
            }
            if source {
                insn.src = original(insn.src);
            }
            let (insn, changed) = (*insn, insn.changes());
            for (register, from) in (0..).zip(&mut copied) {
                if changed & 1 << register != 0 || from.is_some_and(|from| changed & 1 << from != 0) {
                    *from = None;
                }
            }
            if let Some(from) = copies(insn) {
                copied[usize::from(insn.dst)] = Some(from);
            }
        }
    }

    /// Makes what is copied where the copy is, if nothing else needs it.
    pub(super) fn make_in_place(&mut self, starts: &mut [usize]) {
        let heads = self.heads(starts);
        let ways = self.ways(starts);
        let read = self.read_behind(&ways);
        let mut kept = vec![true; self.code.insns.len()];
        for at in 0..kept.len() {
            let insn = self.code.insns[at];
            let needed = |from: u8| ways[at].iter().flatten().any(|next| read[*next] & 1 << from != 0);
            if copies(insn).is_some_and(|from| !needed(from))
                && let Some(made) = self.made_for(&heads, &kept, at)
            {
                self.code.insns[made].dst = insn.dst;
                kept[at] = false;
            }
        }
        self.keep(&kept, starts);
    }

    /// The instruction that makes what is copied, if it may be made where the copy is: neither register is used in between.
    fn made_for(&self, heads: &BTreeSet<usize>, kept: &[bool], copy: usize) -> Option<usize> {
        let Insn { dst, src, .. } = self.code.insns[copy];
        let head = heads.range(..=copy).next_back().copied().unwrap_or(0);
        let used = |at: &usize| {
            let insn = self.code.insns[*at];
            kept[*at] && (insn.changes() | insn.reads()) & (1 << dst | 1 << src) != 0
        };
        let made = (head..copy).rev().find(used)?;
        let insn = self.code.insns[made];
        (insn.makes() && insn.dst == src).then_some(made)
    }
}

/// The register that an instruction copies to another.
fn copies(insn: Insn) -> Option<u8> {
    insn.copied().filter(|from| *from != FRAME && *from != insn.dst)
}

#[cfg(test)]
mod tests {
    use super::super::super::lir::{Bin, BlockId, Cmp};
    use super::super::Code;
    use super::*;

    /// Instructions with their registers, where blocks begin, and jumps to them.
    fn emit(insns: &[Insn], starts: &[usize], jumps: &[(usize, BlockId)]) -> (Emit, Vec<usize>) {
        let code = Code {
            name: "f".to_string(),
            insns: insns.to_vec(),
            spans: vec![Default::default(); insns.len()],
            relocations: Vec::new(),
            functions: Vec::new(),
            words: None,
            stack: 64,
            calls: Default::default(),
        };
        (
            Emit { code, slots: Vec::new(), below: 0, span: Default::default(), jumps: jumps.to_vec(), around: Vec::new() },
            starts.to_vec(),
        )
    }

    #[test]
    fn copies_that_nobody_needs_are_not_made() {
        let less = |dst, src| Insn::jump_if(Cmp::Lt, true, dst, src);
        // The copy is only compared; the second one is changed, and what it was copied from is needed later.
        let insns = [
            Insn::mov(true, 1, 6),
            less(1, 7),
            Insn::mov(true, 2, 6),
            Insn::alu_imm(Bin::Add, true, 2, 1),
            Insn::store(8, 2, 0, 6),
            Insn::mov_imm(true, 0, 2),
            Insn::exit(),
        ];
        let (mut emit, mut starts) = emit(&insns, &[0, 5], &[(1, BlockId(1))]);
        emit.spare(&mut starts);
        assert_eq!(emit.code.insns[..3], [less(6, 7), Insn::mov(true, 2, 6), Insn::alu_imm(Bin::Add, true, 2, 1)]);
        assert_eq!((emit.code.insns.len(), starts, emit.jumps), (6, vec![0, 4], vec![(0, BlockId(1))]));
    }

    #[test]
    fn what_is_made_to_be_copied_is_made_there() {
        let made = |between: Insn| {
            let insns = [Insn::load(8, 3, 6, 0), between, Insn::mov(true, 0, 3), Insn::exit()];
            let (mut emit, mut starts) = emit(&insns, &[0], &[]);
            emit.spare(&mut starts);
            emit.code.insns
        };
        let other = Insn::store(8, 7, 0, 8);
        assert_eq!(made(other), [Insn::load(8, 0, 6, 0), other, Insn::exit()]);
        // Not where a helper's result comes in between, or who needs it as it was.
        for needed in [Insn::store(8, 7, 0, 0), Insn::store(8, 7, 0, 3)] {
            assert_eq!(made(needed).len(), 4);
        }
    }
}
