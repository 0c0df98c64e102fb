//! Stores: what one table physically holds, dead entries included until they are swept, and the deadlines that entries
//! share. Who may do what with it, and when an entry is dead, is decided in [`super::state`] and [`super::tables`].

use super::value::mask;
use crate::ir::TableId;
use rustc_hash::FxHashMap;

/// The scalars of a key.
pub(crate) type Key = Box<[u128]>;

/// What a table holds.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    /// Maps, sets, prefix tables and buckets.
    Keyed(Keyed),
    /// Arrays, cells and counters.
    Indexed(Indexed),
}

/// Entries by key.
#[derive(Clone, Debug)]
pub(crate) struct Keyed {
    pub(crate) entries: FxHashMap<Key, Entry>,
    /// No entry dies before; so there is nothing to sweep before.
    pub(crate) next_death: u64,
    /// Of a prefix table: how many entries there are of each length.
    lengths: Option<Box<[u32; 129]>>,
}

/// An entry; live or dead.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The value's scalars; a bucket's tokens and the time they were counted.
    pub(crate) value: Box<[u128]>,
    /// Its deadline.
    pub(crate) slot: SlotId,
}

impl Keyed {
    pub(crate) fn new(prefixes: bool) -> Keyed {
        let lengths = prefixes.then(|| Box::new([0; 129]));
        Keyed { entries: FxHashMap::default(), next_death: u64::MAX, lengths }
    }

    /// Puts an entry in; there must be none with that key.
    pub(crate) fn put(&mut self, key: Key, entry: Entry) {
        if let (Some(lengths), Some(length)) = (&mut self.lengths, key.get(1)) {
            lengths[(*length).min(128) as usize] += 1;
        }
        self.entries.insert(key, entry);
    }

    /// Takes an entry out.
    pub(crate) fn take(&mut self, key: &[u128]) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        if let (Some(lengths), Some(length)) = (&mut self.lengths, key.get(1)) {
            lengths[(*length).min(128) as usize] -= 1;
        }
        Some(entry)
    }

    /// The prefixes that hold an address of `width` bits, longest first, with their entries.
    pub(crate) fn prefixes(&self, address: u128, width: u8) -> impl Iterator<Item = ([u128; 2], &Entry)> {
        let lengths = self.lengths.as_deref();
        (0..=width).rev().filter_map(move |length| {
            if lengths?[usize::from(length.min(128))] == 0 {
                return None;
            }
            let key = [address & prefix_mask(width, length), u128::from(length)];
            self.entries.get(key.as_slice()).map(|entry| (key, entry))
        })
    }
}

/// Ones in the first `length` of `width` bits.
pub(crate) fn prefix_mask(width: u8, length: u8) -> u128 {
    mask(width) & !mask(width.saturating_sub(length))
}

/// Elements by index. Only what was written takes room, so that huge arrays cost nothing.
#[derive(Clone, Debug)]
pub(crate) struct Indexed {
    initial: Box<[u128]>,
    /// The elements up to the highest index written, one after the other.
    near: Vec<u128>,
    /// Those from [`NEAR`] on.
    far: FxHashMap<u64, Box<[u128]>>,
}

/// Elements from this index on are stored one by one.
const NEAR: u64 = 1 << 20;

impl Indexed {
    pub(crate) fn new(initial: Box<[u128]>) -> Indexed {
        Indexed { initial, near: Vec::new(), far: FxHashMap::default() }
    }

    /// An element's scalars.
    pub(crate) fn get(&self, index: u64) -> &[u128] {
        let width = self.initial.len();
        if index >= NEAR {
            return self.far.get(&index).map_or(&self.initial, |element| element);
        }
        self.near.get(index as usize * width..(index as usize + 1) * width).unwrap_or(&self.initial)
    }

    /// An element's scalars, to be written.
    pub(crate) fn get_mut(&mut self, index: u64) -> &mut [u128] {
        let width = self.initial.len();
        if index >= NEAR {
            return self.far.entry(index).or_insert_with(|| self.initial.clone());
        }
        let end = (index as usize + 1) * width;
        while self.near.len() < end {
            self.near.extend_from_slice(&self.initial);
        }
        &mut self.near[end - width..end]
    }

    /// The elements that differ from the initial value, in order.
    pub(crate) fn changed(&self) -> Vec<(u64, &[u128])> {
        let near = self.near.chunks_exact(self.initial.len().max(1)).enumerate();
        let near = near.map(|(index, element)| (index as u64, element));
        let far = self.far.iter().map(|(index, element)| (*index, &**element));
        let mut changed: Vec<_> = near.chain(far).filter(|(_, element)| *element != &*self.initial).collect();
        changed.sort_unstable_by_key(|(index, _)| *index);
        changed
    }

    /// How many elements differ from the initial value.
    pub(crate) fn count_changed(&self) -> usize {
        let near = self.near.chunks_exact(self.initial.len().max(1));
        near.chain(self.far.values().map(|element| &**element)).filter(|element| *element != &*self.initial).count()
    }
}

/// Names a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotId(u32);

impl SlotId {
    /// Of entries that never die.
    pub(crate) const FOREVER: SlotId = SlotId(u32::MAX);

    /// The number.
    pub(crate) fn number(self) -> u32 {
        self.0
    }
}

/// All deadlines. One that is shared by mirrored entries outlives the entry that it was made for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deadlines {
    slots: Vec<Slot>,
    free: Vec<SlotId>,
}

#[derive(Clone, Debug)]
struct Slot {
    at: u64,
    users: u32,
}

impl Deadlines {
    /// A new deadline with one user.
    pub(crate) fn make(&mut self, at: u64) -> SlotId {
        let slot = Slot { at, users: 1 };
        if let Some(id) = self.free.pop() {
            self.slots[id.0 as usize] = slot;
            return id;
        }
        self.slots.push(slot);
        SlotId(self.slots.len() as u32 - 1)
    }

    /// One more user of a deadline.
    pub(crate) fn share(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.get_mut(id.0 as usize) {
            slot.users += 1;
        }
    }

    /// One user less.
    pub(crate) fn release(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.get_mut(id.0 as usize) {
            slot.users -= 1;
            if slot.users == 0 {
                self.free.push(id);
            }
        }
    }

    /// When it is; entries that never die have none.
    pub(crate) fn at(&self, id: SlotId) -> Option<u64> {
        self.slots.get(id.0 as usize).map(|slot| slot.at)
    }

    /// Moves it.
    pub(crate) fn set(&mut self, id: SlotId, at: u64) {
        if let Some(slot) = self.slots.get_mut(id.0 as usize) {
            slot.at = at;
        }
    }
}

/// A token bucket's constants, in exact units: one bit divided by 10^9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// Bits per second: units per nanosecond.
    pub(crate) rate: u128,
    /// Units of a full bucket.
    pub(crate) burst: u128,
}

/// Units of one byte.
pub(crate) const BYTE: u128 = 8_000_000_000;

impl Bucket {
    /// `min(burst, tokens + rate x (now - last))`.
    pub(crate) fn tokens(self, tokens: u128, last: u128, now: u64) -> u128 {
        let earned = self.rate.saturating_mul(u128::from(now).saturating_sub(last));
        tokens.saturating_add(earned).min(self.burst)
    }
}

/// Names a table's entry in errors and traces.
pub(crate) fn table_name(program: &crate::ir::Program, table: TableId) -> String {
    program.tables.get(table.index()).map_or_else(String::new, |table| table.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: u128) -> Entry {
        Entry { value: Box::new([value]), slot: SlotId::FOREVER }
    }

    #[test]
    fn the_longest_prefix_comes_first_and_the_default_route_last() {
        let mut store = Keyed::new(true);
        store.put(Box::new([0x0a00_0000, 8]), entry(1));
        store.put(Box::new([0x0a01_0000, 16]), entry(2));
        store.put(Box::new([0, 0]), entry(0));
        let found = |address| store.prefixes(address, 32).map(|(_, e)| e.value[0]).collect::<Vec<_>>();
        assert_eq!(found(0x0a01_0203), [2, 1, 0]);
        assert_eq!(found(0x0a02_0203), [1, 0]);
        assert_eq!(found(0xc000_0201), [0]);
        store.take(&[0, 0]);
        assert!(store.prefixes(0xc000_0201, 32).next().is_none());
    }

    #[test]
    fn prefixes_of_128_bits_work_at_both_ends() {
        assert_eq!(prefix_mask(128, 128), u128::MAX);
        assert_eq!(prefix_mask(128, 0), 0);
        assert_eq!(prefix_mask(32, 24), 0xffff_ff00);
    }

    #[test]
    fn a_huge_array_costs_what_was_written() {
        let mut array = Indexed::new(Box::new([7, 8]));
        assert_eq!(array.get(u64::MAX), [7, 8]);
        array.get_mut(u64::MAX)[0] = 1;
        array.get_mut(2)[1] = 9;
        assert_eq!(array.get(2), [7, 9]);
        assert_eq!(array.get(1), [7, 8]);
        assert_eq!(array.changed(), [(2, [7, 9].as_slice()), (u64::MAX, [1, 8].as_slice())]);
    }

    #[test]
    fn a_deadline_lives_as_long_as_somebody_uses_it() {
        let mut deadlines = Deadlines::default();
        let shared = deadlines.make(5);
        deadlines.share(shared);
        deadlines.release(shared);
        assert_eq!(deadlines.at(shared), Some(5));
        deadlines.release(shared);
        assert_eq!(deadlines.make(9), shared);
        assert_eq!(deadlines.at(SlotId::FOREVER), None);
    }

    #[test]
    fn buckets_count_exactly() {
        let bucket = Bucket { rate: 10_000_000, burst: 65_536 * BYTE };
        // One byte at 10 Mbit/s takes 800 ns.
        assert_eq!(bucket.tokens(0, 0, 800), BYTE);
        assert_eq!(bucket.tokens(0, 0, 799), BYTE - 10_000_000);
        assert_eq!(bucket.tokens(0, 0, u64::MAX), bucket.burst);
    }
}
