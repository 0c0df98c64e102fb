//! Where most entries of a table of the control plane are found without the kernel's hash: beside the map that holds all of them there is an array, its front, of which
//! each generation has a half; an entry is at the place that a hash of its key says, if no other one has that place. What is of a generation does not change while that
//! counts. See [`super::super::front`] for who writes it.

use super::super::front::{FACTOR, PLACES};
use super::super::lir::{Arg, Bin, BlockId, Cmp, MapId};
use super::super::maps::{Kind, Layout, Map};
use super::{Lower, Lowering};
use grv_lang::ir;

/// The array beside a table.
#[derive(Clone, Copy)]
pub(super) struct Front {
    pub(super) map: MapId,
    /// Of an index, without the generation.
    pub(super) bits: u8,
}

impl Lower<'_> {
    /// Puts an array beside a map.
    pub(super) fn front_beside(&mut self, table: &ir::Table, beside: MapId) -> Lowering<()> {
        let (mut index, mut value) = (Layout::new(), Layout::new());
        index.push("place", 32);
        value.push("present", 32);
        self.pack_key(&mut value, table)?;
        self.columns(&mut value, &table.value, table, "value")?;
        let places = table.capacity.clamp(2, PLACES).next_power_of_two();
        let (name, entries) = (format!("{}_front", table.name), places as u32 * 2);
        let map = self.maps.push(Map { name, kind: Kind::Array, key: index, value, entries, flags: 0 });
        self.fronts.insert(beside, Front { map, bits: places.trailing_zeros() as u8 });
        Ok(())
    }

    /// The first numbers of the value of an entry that is in front; goes on in `far` if it is not there.
    pub(super) fn look_in_front(&mut self, front: Front, key: &[Arg], generation: Arg, widths: &[u8], far: BlockId) -> Vec<Arg> {
        let mut layout = self.maps.map(front.map).map(|map| map.value.clone()).unwrap_or_default();
        layout.places.remove(0);
        let mut hash = Arg::Number(0);
        for (_, word) in self.grouped(&layout, key) {
            let sum = self.b.bin(Bin::Xor, hash, word);
            hash = self.b.bin(Bin::Mul, sum, Arg::Number(FACTOR));
        }
        let place = self.b.bin(Bin::Shr, hash, Arg::Number((64 - front.bits).into()));
        let half = self.b.bin(Bin::Shl, generation, Arg::Number(front.bits.into()));
        let place = self.b.bin(Bin::Add, place, half);
        let element = self.at(front.map, place, far);
        let present = self.b.load(element, 0, 4);
        self.b.unless(Cmp::Ne, present, Arg::Number(0), far);
        self.same_key(&layout, element, key, far);
        self.numbers(element, &layout, key.len(), widths)
    }
}
