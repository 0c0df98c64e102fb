//! Where instructions go on, before jumps are resolved, and what is left when some are taken out.

use super::super::lir::BlockId;
use super::{Emit, Insn};
use std::collections::BTreeSet;

impl Emit {
    /// By instruction: the one behind it, if it goes on there, and the one that it jumps to.
    pub(super) fn ways(&self, starts: &[usize]) -> Vec<[Option<usize>; 2]> {
        let count = self.code.insns.len();
        let mut ways: Vec<[Option<usize>; 2]> = (0..count).map(|at| [Some(at + 1).filter(|next| *next < count), None]).collect();
        for (at, to) in &self.jumps {
            ways[*at][1] = starts.get(to.index()).copied();
        }
        for (insn, way) in self.code.insns.iter().zip(&mut ways) {
            if *insn == Insn::jump() || *insn == Insn::exit() {
                way[0] = None;
            }
        }
        ways
    }

    /// Where runs of instructions begin that are gone through from the first to the last.
    pub(super) fn heads(&self, starts: &[usize]) -> BTreeSet<usize> {
        let jumps = self.jumps.iter().flat_map(|(at, to)| [Some(at + 1), starts.get(to.index()).copied()]);
        jumps.flatten().chain([0]).collect()
    }

    /// Takes out all instructions but those that are kept. Blocks begin with what is left of them.
    pub(super) fn keep(&mut self, kept: &[bool], starts: &mut [usize]) {
        let mut places = Vec::with_capacity(kept.len() + 1);
        let mut place = 0;
        for kept in kept {
            places.push(place);
            place += usize::from(*kept);
        }
        places.push(place);
        fn moved<T: Copy>(of: &mut Vec<(usize, T)>, kept: &[bool], places: &[usize]) {
            of.retain(|(at, _)| kept[*at]);
            of.iter_mut().for_each(|(at, _)| *at = places[*at]);
        }
        moved::<BlockId>(&mut self.jumps, kept, &places);
        moved(&mut self.around, kept, &places);
        moved(&mut self.code.relocations, kept, &places);
        moved(&mut self.code.functions, kept, &places);
        starts.iter_mut().for_each(|start| *start = places[*start]);
        let mut left = kept.iter();
        self.code.insns.retain(|_| left.next().copied().unwrap_or(false));
        let mut left = kept.iter();
        self.code.spans.retain(|_| left.next().copied().unwrap_or(false));
    }

    /// The spill slot that an instruction reads or writes as a whole.
    pub(super) fn spilled(&self, insn: Insn) -> Option<usize> {
        let place = usize::from(insn.frame_place().filter(|_| insn.moves_word())?.unsigned_abs());
        place.checked_sub(self.below + 8).map(|bytes| bytes / 8)
    }
}
