//! Places at which most entries of a table are found without the kernel's hash: beside the map that holds all of them there is an array, the near one, in which an
//! entry is at the place that a hash of its key says, if no other one has that place. Tables have one that the runtime sets entry by entry, and those of the control
//! plane, which have another half for their other generation.
//!
//! An element of the array begins with a version, which no two contents of it have in common; it counts only while that is odd. Who sets an entry alone makes it even
//! before the entry changes in the map, and odd again behind that. Who reads a version that is odd, then the key and the value, and then the same version has read
//! one content; any other is looked up in the map. So a step that reads a change comes after it, whichever of the two it reads. (That needs a machine that
//! keeps stores and loads in order, as x86-64 does.) What is of a generation does not change while that counts.

use super::super::lir::{Arg, BlockId, Bin, Cmp, Helper, MapId, Type};
use super::super::maps::{Kind, Layout, Map};
use super::super::memory::{NEAR_FACTOR, NEAR_MOST};
use super::env::{Env, Open};
use super::ops::Outcome;
use super::tables::{Keeping, Table};
use super::{Lower, Lowering};
use grv_lang::diagnostics::Code;
use grv_lang::ir::{self, Lifetime};

/// An array in which entries are found at once.
#[derive(Clone, Copy)]
pub(super) struct Near {
    pub(super) map: MapId,
    /// Of an index, without the generation.
    pub(super) bits: u8,
}

impl<'p> Lower<'p> {
    pub(super) fn keep_feed(&mut self, table: &ir::Table) -> Lowering<Table> {
        if !matches!(table.lifetime, Lifetime::Forever) {
            return Err(self.refuse(Code::TargetState, table.span, "a lifetime of entries that the runtime sets".to_string()));
        }
        let (mut key, mut value) = (Layout::new(), Layout::new());
        let places = self.columns(&mut key, &table.key, table, "key")?;
        self.columns(&mut value, &table.key, table, "key")?;
        self.columns(&mut value, &table.value, table, "value")?;
        let map = self.push_map(table, Kind::Hash, key, value, 1, 0)?;
        self.keep_near(table, map, 1)?;
        Ok(Table { map, keeping: Keeping::Feed, key: places })
    }

    /// Puts an array beside a map, of so many halves.
    pub(super) fn keep_near(&mut self, table: &ir::Table, beside: MapId, halves: u32) -> Lowering<()> {
        let (mut index, mut value) = (Layout::new(), Layout::new());
        index.push("place", 32);
        value.push("version", 64);
        self.columns(&mut value, &table.key, table, "key")?;
        self.columns(&mut value, &table.value, table, "value")?;
        let places = table.capacity.clamp(2, NEAR_MOST).next_power_of_two();
        let (name, entries) = (format!("{}_near", table.name), places as u32 * halves);
        let map = self.maps.push(Map { name, kind: Kind::Array, key: index, value, entries, flags: 0 });
        self.nears.insert(beside, Near { map, bits: places.trailing_zeros() as u8 });
        Ok(())
    }

    /// The first numbers of the value of an entry that is in the near array of a table; goes on in `far` if it is not there.
    pub(super) fn look_near(
        &mut self,
        near: Near,
        key: &[Arg],
        generation: Option<Arg>,
        widths: &[u8],
        far: BlockId,
    ) -> Vec<Arg> {
        let mut hash = Arg::Number(0);
        for column in key {
            let sum = self.b.bin(Bin::Xor, hash, *column);
            hash = self.b.bin(Bin::Mul, sum, Arg::Number(NEAR_FACTOR));
        }
        let mut place = self.b.bin(Bin::Shr, hash, Arg::Number((64 - near.bits).into()));
        if let Some(generation) = generation {
            let half = self.b.bin(Bin::Shl, generation, Arg::Number(near.bits.into()));
            place = self.b.bin(Bin::Add, place, half);
        }
        let slot = Arg::Stack(self.key_slot, 0);
        self.b.store(slot, 0, 4, place);
        let element = self.b.call(Helper::MapLookup, vec![Arg::Map(near.map), slot]);
        self.b.unless(Cmp::Ne, element, Arg::Number(0), far);
        let mut layout = self.maps.map(near.map).map(|map| map.value.clone()).unwrap_or_default();
        let version = self.b.load(element, 0, 8);
        let odd = self.b.low(version, 1);
        self.b.unless(Cmp::Ne, odd, Arg::Number(0), far);
        layout.places.remove(0);
        self.same_key(&layout, element, key, far);
        let numbers = self.numbers(element, &layout, key.len(), widths);
        if generation.is_none() {
            let still = self.b.load(element, 0, 8);
            self.b.unless(Cmp::Eq, still, version, far);
        }
        numbers
    }

    /// The block where what was found in the near array meets what was found in the map, and what it is there.
    pub(super) fn meets_near(&mut self, widths: &[u8]) -> (BlockId, Vec<Arg>) {
        let there = self.b.block();
        let found = widths.iter().map(|width| Arg::Value(self.b.param(there, Type::Word, *width)));
        let found = std::iter::once(Arg::Number(1)).chain(found).collect();
        (there, found)
    }

    /// An entry that the runtime set: whether it is there, and its value.
    pub(super) fn feed_entry(&mut self, env: Env<'p>, table: &Table, key: &[Arg], widths: &[u8]) -> Vec<Outcome<'p>> {
        let (far, none) = (self.b.block(), self.b.block());
        let (there, found) = self.meets_near(widths);
        if let Some(near) = self.nears.get(&table.map).copied() {
            let numbers = self.look_near(near, key, None, widths, far);
            self.b.jump(there, numbers[1..].to_vec());
        } else {
            self.b.jump(far, Vec::new());
        }
        self.b.enter(far);
        self.write_key(table, key, None);
        let layout = self.layout(table);
        let retry = self.retry();
        let entry = self.find(table);
        self.b.unless(Cmp::Ne, entry, Arg::Number(0), none);
        let numbers = self.numbers(entry, &layout, key.len(), widths);
        let other = self.b.block();
        self.same_key(&layout, entry, key, other);
        self.b.jump(there, numbers[1..].to_vec());
        // The memory belongs to another key by now: where is ours?
        self.b.enter(other);
        self.try_again(&retry);
        let none = Open { env: env.clone(), block: none };
        vec![(Open { env, block: there }, found), (none, vec![Arg::Number(0); widths.len() + 1])]
    }
}
