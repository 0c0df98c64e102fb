//! Where most entries of a table of the control plane are found without the kernel's hash: beside the map that holds all of them there is an array, its front, of which
//! each generation has a half; an entry is at the place that a hash of its key says, if no other one has that place. What is of a generation does not change while that
//! counts. See [`super::super::front`] for who writes it.

use super::super::front::{FACTOR, PLACES};
use super::super::lir::{Arg, Bin, BlockId, Cmp, MapId};
use super::super::maps::{Layout, ZEROED};
use super::{Lower, Lowering};
use grv_lang::ir;

/// The array beside a table: among the global variables, whose addresses programs know.
#[derive(Clone, Copy)]
pub(super) struct Front {
    pub(super) section: MapId,
    /// Which array of the section.
    pub(super) number: usize,
    /// Of an index, without the generation.
    pub(super) bits: u8,
}

impl Lower<'_> {
    /// Puts an array beside a map, if there is room for it.
    pub(super) fn front_beside(&mut self, table: &ir::Table, beside: MapId) -> Lowering<()> {
        let mut element = Layout::new();
        element.push("present", 32);
        self.pack_key(&mut element, table)?;
        self.columns(&mut element, &table.value, table, "value")?;
        let section = match self.zeroed {
            Some(section) => section,
            None => *self.zeroed.insert(self.maps.push_globals(ZEROED)),
        };
        let Some(globals) = self.maps.globals_mut(section) else { return Ok(()) };
        // Both generations have so many places.
        let most = u64::from(globals.room()) / u64::from(element.size) / 2;
        let wanted = table.capacity.clamp(2, PLACES).next_power_of_two();
        if let Some(bits) = wanted.min(most).checked_ilog2().filter(|bits| *bits > 0) {
            let number = globals.push_array(&format!("{}_front", table.name), element, 2 << bits);
            self.fronts.insert(beside, Front { section, number, bits: bits as u8 });
        }
        Ok(())
    }

    /// The first numbers of the value of an entry that is in front; goes on in `far` if it is not there.
    pub(super) fn look_in_front(&mut self, front: Front, key: &[Arg], generation: Arg, widths: &[u8], far: BlockId) -> Vec<Arg> {
        let array = self.maps.array(front.section, front.number);
        let (offset, mut layout) = array.map(|array| (array.offset, array.element.clone())).unwrap_or_default();
        layout.places.remove(0);
        let mut hash = Arg::Number(0);
        for (_, word) in self.grouped(&layout, key) {
            let sum = self.b.bin(Bin::Xor, hash, word);
            hash = self.b.bin(Bin::Mul, sum, Arg::Number(FACTOR));
        }
        let place = self.b.bin(Bin::Shr, hash, Arg::Number((64 - front.bits).into()));
        let half = self.b.bin(Bin::Shl, generation, Arg::Number(front.bits.into()));
        let place = self.b.bin(Bin::Add, place, half);
        let behind = self.b.bin(Bin::Mul, place, Arg::Number(layout.size.into()));
        let element = self.b.place(Arg::Global(front.section, offset), behind);
        let present = self.b.load(element, 0, 4);
        self.b.unless(Cmp::Ne, present, Arg::Number(0), far);
        self.same_key(&layout, element, key, far);
        self.numbers(element, &layout, key.len(), widths)
    }
}
