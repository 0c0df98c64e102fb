//! Looking up the longest prefix of an address: in arrays of elements ([`super::super::flat`] says how they are filled), and in the kernel's trie
//! where it is to be asked.

use super::super::ColumnInfo;
use super::super::flat::{BLOCK, FIRST, NEXT, TAG_BITS, VALUE, columns};
use super::super::lir::{Arg, Bin, BlockId, Cmp, Helper, MapId, Type};
use super::super::maps::{Kind, Layout, Map};
use super::Lower;
use super::env::{Env, Open};
use super::ops::Outcome;
use super::tables::Table;

/// The arrays beside a trie.
#[derive(Clone)]
pub(super) struct Flat {
    /// The first one: its section, and where it begins.
    pub(super) first: (MapId, u32),
    pub(super) blocks: MapId,
    /// Blocks of both generations.
    pub(super) count: u32,
    /// The length and the numbers of a value in an element, and its bytes.
    pub(super) value: Vec<ColumnInfo>,
    pub(super) bytes: u16,
}

/// Bytes of all blocks at most.
const MOST_BYTES: u32 = 64 << 20;

impl<'p> Lower<'p> {
    /// The arrays beside a trie of addresses of 32 bits, unless values are too large for them.
    pub(super) fn flat_beside(&mut self, name: &str, capacity: u32, widths: &[u8]) -> Option<Flat> {
        let (value, bytes) = columns(widths);
        let block = bytes.checked_mul(BLOCK as u16)?;
        let (section, number) = self.maps.push_array(&format!("{name}_first"), Layout::bytes(bytes), 2 * FIRST)?;
        let first = (section, self.maps.array(section, number)?.offset);
        // A prefix needs two blocks at most.
        let count = capacity.saturating_mul(4).min(MOST_BYTES / u32::from(block));
        let (name, mut key) = (format!("{name}_blocks"), Layout::new());
        key.push("index", 32);
        let blocks = self.maps.push(Map { name, kind: Kind::Array, key, value: Layout::bytes(block), entries: count, flags: 0 });
        Some(Flat { first, blocks, count, value, bytes })
    }

    /// The longest prefix of an address: whether there is one, and the numbers of its value, of these widths.
    pub(super) fn longest(&mut self, mut env: Env<'p>, table: &Table, flat: &Flat, key: Arg, widths: &[u8]) -> Vec<Outcome<'p>> {
        let generation = self.generation(&mut env);
        let (known, ask, none) = (self.b.block(), self.b.block(), self.b.block());
        // The words of the element that was found.
        let words: Vec<Arg> = (0..flat.bytes / 8).map(|_| Arg::Value(self.b.param(known, Type::Word, 64))).collect();
        let first = self.b.bin(Bin::Mul, generation, Arg::Number(FIRST.into()));
        let high = self.b.bin(Bin::Shr, key, Arg::Number(16));
        let first = self.b.bin(Bin::Add, first, high);
        let behind = self.b.bin(Bin::Mul, first, Arg::Number(flat.bytes.into()));
        let mut element = self.b.place(Arg::Global(flat.first.0, flat.first.1), behind);
        for shift in [16, 8, 0] {
            let word = self.b.load(element, 0, 8);
            let (next, done) = (self.b.block(), self.b.block());
            if shift > 0 {
                let tag = self.b.bin(Bin::And, word, Arg::Number(NEXT));
                self.b.branch(Cmp::Ne, tag, Arg::Number(0), next, done);
                self.b.enter(done);
            }
            let rest = (1..words.len()).map(|at| self.b.load(element, at as i16 * 8, 8)).collect::<Vec<_>>();
            self.b.jump(known, [vec![word], rest].concat());
            if shift > 0 {
                self.b.enter(next);
                let number = self.b.bin(Bin::Shr, word, Arg::Number(TAG_BITS.into()));
                let block = self.b.low(number, 32);
                // Where blocks did not suffice, it is one that is not there.
                element = self.element_at(flat, block, key, shift - 8, ask);
            }
        }
        self.b.enter(known);
        let tag = self.b.bin(Bin::And, words[0], Arg::Number(VALUE));
        self.b.unless(Cmp::Ne, tag, Arg::Number(0), none);
        let mut numbers = vec![Arg::Number(1)];
        for (column, width) in flat.value.iter().zip(widths) {
            let above = self.b.bin(Bin::Shr, words[usize::from(column.offset / 8)], Arg::Number(column.shift.into()));
            numbers.push(self.b.low(above, *width));
        }
        let mut outcomes = vec![(Open { env: env.clone(), block: self.b.here() }, numbers)];
        self.b.enter(ask);
        outcomes.extend(self.control(env.clone(), table, &[key], widths));
        outcomes.push((Open { env, block: none }, vec![Arg::Number(0); widths.len() + 1]));
        outcomes
    }

    /// An element of a block: the one at the 8 bits of the key that have so many below them; goes on in `none` if there is no such block.
    fn element_at(&mut self, flat: &Flat, block: Arg, key: Arg, shift: u64, none: BlockId) -> Arg {
        let entry = self.at(flat.blocks, block, none);
        let at = self.b.bin(Bin::Shr, key, Arg::Number(shift));
        let at = self.b.low(at, 8);
        let offset = self.b.bin(Bin::Mul, at, Arg::Number(flat.bytes.into()));
        entry.value().map_or(entry, |entry| Arg::Value(self.b.advance(entry, offset)))
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
