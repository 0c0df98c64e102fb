//! What nobody reads is not made: numbers in registers, and what is put aside in spill slots.

use super::Emit;

/// Where spill slots begin among the bits; registers are before them.
const SLOTS: usize = 16;

impl Emit {
    /// Takes out instructions without an effect.
    pub(super) fn take_out_dead(&mut self, starts: &mut [usize]) {
        let (count, ways) = (self.code.insns.len(), self.ways(starts));
        let read = self.read_behind(&ways);
        let behind = |at: usize| ways[at].iter().flatten().fold(0, |all, next| all | read[*next]);
        let mut kept: Vec<bool> = (0..count).map(|at| !self.is_dead(at, behind(at))).collect();
        for at in 1..count {
            if self.code.insns[at - 1].code == super::LD_IMM64 {
                kept[at] = kept[at - 1];
            }
        }
        self.keep(&kept, starts);
    }

    /// By instruction: what is read there or behind it before it is written, by bits. Registers are the first of them.
    pub(super) fn read_behind(&self, ways: &[[Option<usize>; 2]]) -> Vec<u128> {
        let count = self.code.insns.len();
        let mut preds: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (at, way) in ways.iter().enumerate() {
            for next in way.iter().flatten() {
                preds[*next].push(at);
            }
        }
        let mut read: Vec<u128> = vec![0; count];
        let behind = |read: &[u128], at: usize| ways[at].iter().flatten().fold(0, |all, next| all | read[*next]);
        let mut work: Vec<usize> = (0..count).collect();
        let mut waits = vec![true; count];
        while let Some(at) = work.pop() {
            waits[at] = false;
            let after = behind(&read, at);
            let (writes, reads) = self.effects(at);
            // What is made for nobody asks for nothing.
            let now = if self.is_dead(at, after) { after } else { after & !writes | reads };
            if now != read[at] {
                read[at] = now;
                for pred in &preds[at] {
                    if !std::mem::replace(&mut waits[*pred], true) {
                        work.push(*pred);
                    }
                }
            }
        }
        read
    }

    /// What an instruction writes and reads, by bits.
    fn effects(&self, at: usize) -> (u128, u128) {
        let insn = self.code.insns[at];
        let (writes, reads) = (u128::from(insn.changes()), u128::from(insn.reads()));
        match self.spilled(insn) {
            Some(slot) if insn.is_load() => (writes, 1 << (SLOTS + slot)),
            Some(slot) => (1 << (SLOTS + slot), reads),
            None => (writes, reads),
        }
    }

    fn is_dead(&self, at: usize, after: u128) -> bool {
        let insn = self.code.insns[at];
        let only_writes = self.spilled(insn).is_some() || insn.only_sets();
        only_writes && self.effects(at).0 & after == 0
    }
}
