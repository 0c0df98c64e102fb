//! Where most entries of a table of the control plane are found without the kernel's help: beside the map that holds all of them there is an array, its front, of which
//! each generation has a half. An entry is at the place that a hash of its key says, if no other one has that place. Elements of an array, and what is in
//! a cell, are all there, and need no map. What is of a generation does not change while that counts. See [`super::super::front`] for who writes it.

use super::super::front::{FACTOR, PLACES};
use super::super::lir::{Arg, Bin, BlockId, Cmp, MapId};
use super::super::maps::Layout;
use super::{Lower, Lowering};
use grv_lang::ir;

/// An array among the global variables, whose addresses programs know.
#[derive(Clone, Copy)]
pub(super) struct Front {
    pub(super) section: MapId,
    /// Which array of the section.
    pub(super) number: usize,
    /// Of an index, without the generation.
    pub(super) bits: u8,
}

impl Lower<'_> {
    /// Puts an array beside a map of entries, if there is room for it.
    pub(super) fn front_beside(&mut self, table: &ir::Table, beside: MapId) -> Lowering<()> {
        let mut element = Layout::new();
        element.push("present", 32);
        self.pack_key(&mut element, table)?;
        self.columns(&mut element, &table.value, table, "value")?;
        // Both generations have so many places.
        let most = u64::from(self.maps.room()) / u64::from(element.size) / 2;
        let wanted = table.capacity.clamp(2, PLACES).next_power_of_two();
        if let Some(bits) = wanted.min(most).checked_ilog2()
            && let Some(front) = self.push_front(table, element, bits as u8)
        {
            self.fronts.insert(beside, front);
        }
        Ok(())
    }

    /// Puts an array with such elements, or a cell, there, if there is room for all of it.
    pub(super) fn elements_in_front(&mut self, table: &ir::Table, element: &Layout) -> Option<Front> {
        let bits = table.capacity.clamp(2, PLACES).next_power_of_two().trailing_zeros();
        if table.capacity > PLACES {
            return None;
        }
        self.push_front(table, element.clone(), bits as u8)
    }

    fn push_front(&mut self, table: &ir::Table, element: Layout, bits: u8) -> Option<Front> {
        let (section, number) = self.maps.push_array(&format!("{}_front", table.name), element, 2 << bits)?;
        Some(Front { section, number, bits })
    }

    /// The first numbers of an element of an array that is in front.
    pub(super) fn element_of(&mut self, front: Front, index: Arg, generation: Arg, widths: &[u8]) -> Vec<Arg> {
        let (offset, layout) = self.front_layout(front);
        // It was checked against the length of the array.
        let index = self.b.low(index, front.bits);
        let element = self.place_in_front(front, offset, layout.size, index, generation);
        self.numbers(element, &layout, 0, widths).split_off(1)
    }

    fn front_layout(&self, front: Front) -> (u32, Layout) {
        let array = self.maps.array(front.section, front.number);
        array.map(|array| (array.offset, array.element.clone())).unwrap_or_default()
    }

    fn place_in_front(&mut self, front: Front, offset: u32, size: u16, place: Arg, generation: Arg) -> Arg {
        let half = self.b.bin(Bin::Shl, generation, Arg::Number(front.bits.into()));
        let place = self.b.bin(Bin::Add, place, half);
        let behind = self.b.bin(Bin::Mul, place, Arg::Number(size.into()));
        self.b.place(Arg::Global(front.section, offset), behind)
    }

    /// The first numbers of the value of an entry that is in front; goes on in `far` if it is not there.
    pub(super) fn look_in_front(&mut self, front: Front, key: &[Arg], generation: Arg, widths: &[u8], far: BlockId) -> Vec<Arg> {
        let (offset, mut layout) = self.front_layout(front);
        layout.places.remove(0);
        let mut hash = Arg::Number(0);
        for (_, word) in self.grouped(&layout, key) {
            let sum = self.b.bin(Bin::Xor, hash, word);
            hash = self.b.bin(Bin::Mul, sum, Arg::Number(FACTOR));
        }
        let place = self.b.bin(Bin::Shr, hash, Arg::Number((64 - front.bits).into()));
        let element = self.place_in_front(front, offset, layout.size, place, generation);
        let present = self.b.load(element, 0, 4);
        self.b.unless(Cmp::Ne, present, Arg::Number(0), far);
        self.same_key(&layout, element, key, far);
        self.numbers(element, &layout, key.len(), widths)
    }
}
