//! Where on the stack things lie: what is named most lies nearest to the frame pointer, where machines have shorter instructions for it.

use super::{Emit, FRAME, Insn};

impl Emit {
    /// Lays the stack out anew.
    pub(super) fn lay_out(&mut self) {
        // What begins where, as bytes below the frame pointer, with its size; each lies above its beginning.
        let mut things: Vec<(usize, usize)> = Vec::new();
        let mut end = 0;
        for begin in self.slots.iter().copied().chain((self.below..self.code.stack).step_by(8).map(|above| above + 8)) {
            things.push((begin, begin - end));
            end = begin;
        }
        let thing_at = |place: i32| things.partition_point(|(begin, _)| *begin < place.unsigned_abs() as usize);
        let mut named = vec![0_usize; things.len()];
        let places: Vec<(usize, i32)> = (0..self.code.insns.len()).filter_map(|at| Some((at, self.place_named(at)?))).collect();
        for (_, place) in &places {
            named[thing_at(*place)] += 1;
        }
        let mut order: Vec<usize> = (0..things.len()).filter(|thing| named[*thing] > 0).collect();
        order.sort_by(|a, b| (named[*b] * things[*a].1).cmp(&(named[*a] * things[*b].1)));
        let mut begins = vec![0_usize; things.len()];
        let mut stack = 0;
        for thing in order {
            stack += things[thing].1;
            begins[thing] = stack;
        }
        self.code.stack = stack;
        for (at, place) in places {
            let thing = thing_at(place);
            let moved = things[thing].0 as i32 - begins[thing] as i32;
            let insn = &mut self.code.insns[at];
            match insn.frame_place() {
                Some(_) => insn.offset += moved as i16,
                None => insn.imm += moved,
            }
        }
    }

    /// The place on the stack that an instruction names, as bytes from the frame pointer.
    fn place_named(&self, at: usize) -> Option<i32> {
        let insn = self.code.insns[at];
        let address = at.checked_sub(1).is_some_and(|before| {
            let before = self.code.insns[before];
            before == Insn::mov(true, before.dst, FRAME) && insn.dst == before.dst
        });
        insn.frame_place().map(i32::from).or(address.then_some(insn.imm))
    }
}
