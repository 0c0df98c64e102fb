//! Entries that the runtime sets one by one, replaced as a whole: their values hold their keys like those of state. Where key and value are small
//! they are near at hand, too ([`super::super::near`]).

use super::super::lir::{Arg, Bin, Cmp, MapId};
use super::super::maps::{Kind, Layout, Map};
use super::super::near::{ELEMENTS, FACTOR, KEY_BITS};
use super::Lower;
use super::env::{Env, Open};
use super::ops::Outcome;
use super::tables::Table;
use grv_lang::ir;

/// The array beside a table that is fed.
#[derive(Clone)]
pub(super) struct Near {
    pub(super) map: MapId,
    /// Bits of the numbers of a value.
    pub(super) widths: Vec<u8>,
}

/// The map can be written by who maps it into its memory: a word at once.
const MMAPABLE: u32 = 1 << 10;

impl<'p> Lower<'p> {
    /// The array beside a table, if one word holds a value and half a key.
    pub(super) fn near_beside(&mut self, table: &ir::Table, name: &str, key: &[u8], value: Vec<u8>) -> Option<Near> {
        let room = u32::from(64 - KEY_BITS);
        let small = matches!(key, [bits] if *bits <= 32) && value.iter().map(|bits| u32::from(*bits)).sum::<u32>() <= room;
        if !small || value.is_empty() || table.capacity < 2 {
            return None;
        }
        let (mut index, mut word) = (Layout::new(), Layout::new());
        index.push("index", 32);
        word.push("word", 64);
        let name = format!("{name}_near");
        let map = Map { name, kind: Kind::Array, key: index, value: word, entries: ELEMENTS, flags: MMAPABLE };
        Some(Near { map: self.maps.push(map), widths: value })
    }

    /// An entry that the runtime set: whether it is there, and its value.
    pub(super) fn feed_entry(
        &mut self,
        env: Env<'p>,
        table: &Table,
        near: Option<&Near>,
        key: &[Arg],
        widths: &[u8],
    ) -> Vec<Outcome<'p>> {
        let (mut outcomes, none) = (Vec::new(), self.b.block());
        if let (Some(near), [key]) = (near, key) {
            let (same, never, search, other) = (self.b.block(), self.b.block(), self.b.block(), self.b.block());
            let product = self.b.bin32(Bin::Mul, *key, Arg::Number(FACTOR.into()));
            let index = self.b.bin(Bin::Shr, product, Arg::Number(KEY_BITS.into()));
            let half = self.b.low(product, KEY_BITS);
            let element = self.at(near.map, index, never);
            let word = self.b.load(element, 0, 8);
            let of = self.b.low(word, KEY_BITS);
            self.b.unless(Cmp::Eq, of, half, other);
            self.b.branch(Cmp::Ne, word, Arg::Number(0), same, search);
            self.b.enter(same);
            let mut found = vec![Arg::Number(1)];
            let mut shift = KEY_BITS;
            for width in &near.widths {
                let above = self.b.bin(Bin::Shr, word, Arg::Number(shift.into()));
                found.push(self.b.low(above, *width));
                shift += width;
            }
            outcomes.push((Open { env: env.clone(), block: self.b.here() }, found));
            self.b.enter(never);
            self.defect();
            self.b.enter(other);
            if let Some(whole) = self.near_whole {
                let nothing = self.b.block();
                self.b.branch(Cmp::Eq, word, Arg::Number(0), nothing, search);
                self.b.enter(nothing);
                let whole = self.b.load(Arg::Global(self.constants, whole.into()), 0, 1);
                self.b.branch(Cmp::Ne, whole, Arg::Number(0), none, search);
            } else {
                self.b.jump(search, Vec::new());
            }
            self.b.enter(search);
        }
        self.write_key(table, key, None);
        let layout = self.maps.map(table.map).map(|map| map.value.clone()).unwrap_or_default();
        let retry = self.retry();
        let entry = self.find(table);
        let there = self.b.block();
        self.b.branch(Cmp::Ne, entry, Arg::Number(0), there, none);
        self.b.enter(there);
        let found = self.numbers(entry, &layout, key.len(), widths);
        let other = self.b.block();
        self.same_key(&layout, entry, key, other);
        let there = self.b.here();
        // The memory belongs to another key by now: where is ours?
        self.b.enter(other);
        self.try_again(&retry);
        let none = Open { env: env.clone(), block: none };
        outcomes.extend([(Open { env, block: there }, found), (none, vec![Arg::Number(0); widths.len() + 1])]);
        outcomes
    }
}
