//! Looking up the longest prefix of an address: in blocks of numbers ([`super::super::flat`] says how they are filled), and in the kernel's trie
//! where it is to be asked.

use super::super::flat::{ASK, BLOCK, FIRST, NEXT};
use super::super::lir::{Arg, Bin, BlockId, Cmp, Helper, MapId, Type};
use super::super::maps::{Kind, Layout, Map};
use super::Lower;
use super::env::{Env, Open};
use super::ops::Outcome;
use super::tables::Table;

/// The arrays beside a trie.
#[derive(Clone)]
pub(super) struct Flat {
    pub(super) blocks: MapId,
    pub(super) values: MapId,
    /// Blocks besides the first ones, of both generations.
    pub(super) count: u32,
    /// Values of a generation.
    pub(super) capacity: u32,
}

/// Blocks of both generations at most: with 1,024 bytes each, 32 MiB.
const MOST_BLOCKS: u32 = 32_768;

impl<'p> Lower<'p> {
    /// The arrays beside a trie of addresses of 32 bits.
    pub(super) fn flat_beside(&mut self, name: &str, capacity: u32, value: &Layout) -> Flat {
        // A prefix needs two blocks at most.
        let count = capacity.saturating_mul(4).min(MOST_BLOCKS);
        let mut array = |name: String, value: Layout, entries: u32| {
            let mut key = Layout::new();
            key.push("index", 32);
            self.maps.push(Map { name, kind: Kind::Array, key, value, entries, flags: 0 })
        };
        let blocks = array(format!("{name}_blocks"), Layout::bytes(BLOCK as u16 * 4), FIRST * 2 + count);
        let values = array(format!("{name}_values"), value.clone(), capacity * 2 + 1);
        Flat { blocks, values, count, capacity }
    }

    /// The longest prefix of an address: whether there is one, and the numbers of its value, of these widths.
    pub(super) fn longest(&mut self, mut env: Env<'p>, table: &Table, flat: &Flat, key: Arg, widths: &[u8]) -> Vec<Outcome<'p>> {
        let generation = self.generation(&mut env);
        let (known, never) = (self.b.block(), self.b.block());
        let found = Arg::Value(self.b.param(known, Type::Word, 32));
        let first = self.b.bin(Bin::Shl, generation, Arg::Number(8));
        let high = self.b.bin(Bin::Shr, key, Arg::Number(24));
        let first = self.b.bin(Bin::Or, first, high);
        let mut number = self.number_at(flat.blocks, first, key, 16, never);
        for shift in [8, 0] {
            let (next, done) = (self.b.block(), self.b.block());
            self.b.branch(Cmp::Ge, number, Arg::Number(NEXT.into()), next, done);
            self.b.enter(done);
            self.b.jump(known, vec![number]);
            self.b.enter(next);
            let block = self.b.low(number, NEXT.trailing_zeros() as u8);
            number = self.number_at(flat.blocks, block, key, shift, never);
        }
        self.b.jump(known, vec![number]);
        // An index that is too large is a defect of who filled the arrays.
        self.b.enter(never);
        self.defect();

        self.b.enter(known);
        let (some, none, ask, here) = (self.b.block(), self.b.block(), self.b.block(), self.b.block());
        self.b.branch(Cmp::Ne, found, Arg::Number(0), some, none);
        self.b.enter(some);
        self.b.branch(Cmp::Ne, found, Arg::Number(ASK.into()), here, ask);
        self.b.enter(here);
        let entry = self.at(flat.values, found, never);
        let layout = self.maps.map(flat.values).map(|map| map.value.clone()).unwrap_or_default();
        let numbers = self.numbers(entry, &layout, 0, widths);
        let mut outcomes = vec![(Open { env: env.clone(), block: self.b.here() }, numbers)];
        self.b.enter(ask);
        outcomes.extend(self.control(env.clone(), table, &[key], widths));
        outcomes.push((Open { env, block: none }, vec![Arg::Number(0); widths.len() + 1]));
        outcomes
    }

    /// A number of a block: the one at the 8 bits of the key that have so many below them.
    fn number_at(&mut self, map: MapId, block: Arg, key: Arg, shift: u64, never: BlockId) -> Arg {
        let entry = self.at(map, block, never);
        let at = self.b.bin(Bin::Shr, key, Arg::Number(shift));
        let at = self.b.low(at, 8);
        let offset = self.b.bin(Bin::Shl, at, Arg::Number(2));
        let place = entry.value().map_or(entry, |entry| Arg::Value(self.b.advance(entry, offset)));
        self.b.load(place, 0, 4)
    }

    /// An element of an array; goes on in `never` if it has none at that index.
    pub(super) fn at(&mut self, map: MapId, index: Arg, never: BlockId) -> Arg {
        let slot = Arg::Stack(self.key_slot, 0);
        self.b.store(slot, 0, 4, index);
        let entry = self.b.call(Helper::MapLookup, vec![Arg::Map(map), slot]);
        self.b.unless(Cmp::Ne, entry, Arg::Number(0), never);
        entry
    }
}
