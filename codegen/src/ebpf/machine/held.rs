//! What is held already: a word that is in a register need not be read again from where it was put aside, and what is in a key need not be put aside.

use super::{Emit, Insn};

/// Registers, and behind them words of the stack.
const REGISTERS: usize = 11;
const PLACES: usize = REGISTERS + super::STACK / 8;

/// By place: the first of all places that are known to hold the same.
#[derive(Clone, PartialEq, Eq)]
struct Held([u8; PLACES]);

impl Held {
    /// Nothing is known.
    fn new() -> Held {
        Held(std::array::from_fn(|place| place as u8))
    }

    /// Something else is there.
    fn forget(&mut self, place: usize) {
        let first = self.0[place];
        self.0[place] = place as u8;
        if usize::from(first) == place {
            // The others are led by the first that is left.
            let mut rest = (place + 1..PLACES).filter(|other| self.0[*other] == first).collect::<Vec<_>>().into_iter();
            if let Some(next) = rest.next() {
                self.0[next] = next as u8;
                rest.for_each(|other| self.0[other] = next as u8);
            }
        }
    }

    fn copy(&mut self, from: usize, to: usize) {
        if self.0[from] == self.0[to] {
            return;
        }
        self.forget(to);
        let first = usize::from(self.0[from]);
        if to < first {
            self.0.iter_mut().filter(|of| usize::from(**of) == first).for_each(|of| *of = to as u8);
        }
        self.0[to] = self.0[from];
    }

    fn is_same(&self, a: usize, b: usize) -> bool {
        self.0[a] == self.0[b]
    }

    /// What is known either way.
    fn met(&self, other: &Held) -> Held {
        if self == other {
            return self.clone();
        }
        let (a, b) = (&self.0, &other.0);
        // None before the later one of two first places is the same both ways.
        let first = |place: usize| {
            (usize::from(a[place].max(b[place]))..place).find(|before| a[*before] == a[place] && b[*before] == b[place])
        };
        Held(std::array::from_fn(|place| first(place).unwrap_or(place) as u8))
    }
}

impl Emit {
    /// Takes out reads, writes and copies that change nothing; what another register holds, or a key, is taken from there.
    pub(super) fn reread(&mut self, starts: &mut [usize]) {
        let (count, ways) = (self.code.insns.len(), self.ways(starts));
        let mut before: Vec<Option<Held>> = vec![None; count];
        if let Some(first) = before.first_mut() {
            *first = Some(Held::new());
        }
        let mut work = vec![0];
        while let Some(at) = work.pop() {
            let Some(mut held) = before.get(at).cloned().flatten() else { continue };
            self.step(self.code.insns[at], &mut held);
            for next in ways[at].into_iter().flatten() {
                let met = before[next].as_ref().map_or_else(|| held.clone(), |known| known.met(&held));
                if before[next].as_ref() != Some(&met) {
                    before[next] = Some(met);
                    work.push(next);
                }
            }
        }
        let mut kept = vec![true; count];
        for at in 0..count {
            let (insn, Some(held)) = (self.code.insns[at], &before[at]) else { continue };
            if let Some(from) = insn.copied() {
                kept[at] = !held.is_same(usize::from(from), usize::from(insn.dst));
                continue;
            }
            let Some(place) = place(insn) else { continue };
            let register = usize::from(insn.moved_register());
            if held.is_same(place, register) {
                kept[at] = false;
            } else if insn.is_load() {
                // The frame's own register is none of those.
                if let Some(other) = (0..REGISTERS - 1).find(|other| held.is_same(place, *other)) {
                    self.code.insns[at] = Insn::mov(true, register as u8, other as u8);
                } else if self.is_spill(place)
                    && let Some(key) = (REGISTERS..PLACES).find(|other| !self.is_spill(*other) && held.is_same(place, *other))
                {
                    self.code.insns[at].offset = -(((key - REGISTERS + 1) * 8) as i16);
                }
            }
        }
        self.keep(&kept, starts);
    }

    /// What is held behind an instruction.
    fn step(&self, insn: Insn, held: &mut Held) {
        if let Some(from) = insn.copied() {
            return held.copy(usize::from(from), usize::from(insn.dst));
        }
        match place(insn) {
            Some(place) if insn.is_load() => return held.copy(place, usize::from(insn.dst)),
            Some(place) => return held.copy(usize::from(insn.src), place),
            None => {}
        }
        (0..REGISTERS).filter(|register| insn.changes() & 1 << register != 0).for_each(|register| held.forget(register));
        let words = REGISTERS..PLACES;
        match insn.frame_place() {
            Some(_) if insn.is_load() => {}
            // A part of a word, or a number.
            Some(from) => {
                let (last, bytes) = (usize::from(from.unsigned_abs()), usize::from(insn.bytes()));
                let first = last.saturating_sub(bytes) / 8;
                (first..last.div_ceil(8)).for_each(|word| held.forget(REGISTERS + word));
            }
            // A pointer may lead to the stack, but to no spill slot.
            None if insn.may_write() => words.filter(|place| !self.is_spill(*place)).for_each(|place| held.forget(place)),
            None => {}
        }
    }

    /// Whether a place is a spill slot.
    fn is_spill(&self, place: usize) -> bool {
        place >= REGISTERS + self.below / 8
    }
}

/// The word of the stack that an instruction reads or writes from a register, as a place.
fn place(insn: Insn) -> Option<usize> {
    let last = usize::from(insn.frame_place()?.unsigned_abs());
    (insn.moves_word() && last.is_multiple_of(8)).then(|| REGISTERS + last / 8 - 1)
}
