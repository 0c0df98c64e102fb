//! The array beside a table of the control plane, in which most of its entries are found at once: for who writes a generation. Its elements begin with a number of 4 bytes
//! that is 0 where nothing is. Of an array or a cell, all elements of both generations are there, and nothing else. All such arrays are in one section of global variables ([`FRONTS`](super::FRONTS)), which loaders make one value of a map. Who writes it
//! leaves the other generation as it is, and writes it while no packet looks at this one.

use super::FrontInfo;
use super::memory::put;
use std::collections::BTreeMap;
use std::ops::Range;

/// What words of a key are multiplied by, one after the other, for its place.
pub(crate) const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Places of a generation at most.
pub(crate) const PLACES: u64 = 1 << 16;

/// Puts the entries of a generation into the section, and nothing else of that.
pub fn fill<'e>(
    front: &FrontInfo,
    section: &mut [u8],
    generation: u32,
    entries: impl IntoIterator<Item = (&'e [u128], &'e [u128])>,
) {
    let size = size(front);
    let Some(half) = section.get_mut(half(front, generation)) else { return };
    half.fill(0);
    for (key, value) in entries {
        let start = place(front, key).saturating_mul(size);
        let Some(place) = half.get_mut(start..).and_then(|rest| rest.get_mut(..size)) else { continue };
        // Of entries, the first one has the place; an element is nobody else's.
        if front.key.is_empty() || place.first() == Some(&0) {
            place.copy_from_slice(&element(front, key, value));
        }
    }
}

/// The elements of an array in a generation, as bytes, in order.
pub fn elements<'s>(front: &FrontInfo, section: &'s [u8], generation: u32) -> impl Iterator<Item = &'s [u8]> {
    section.get(half(front, generation)).unwrap_or_default().chunks_exact(size(front))
}

/// How many bytes of the section an array needs, with what is before it.
pub fn end(front: &FrontInfo) -> usize {
    half(front, 1).end
}

/// Bytes of an element.
fn size(front: &FrontInfo) -> usize {
    usize::from(front.bytes.max(1))
}

/// The bytes of a generation in the section.
fn half(front: &FrontInfo, generation: u32) -> Range<usize> {
    let bytes = size(front) << front.bits.clamp(1, 31);
    let start = front.offset as usize + bytes * (generation & 1) as usize;
    start..start + bytes
}

/// Which element of its generation a key has, if it is there: of an array, its index.
fn place(front: &FrontInfo, key: &[u128]) -> usize {
    if front.key.is_empty() {
        return key.first().map_or(0, |index| usize::try_from(*index).unwrap_or(usize::MAX));
    }
    // Columns that share a word are one number.
    let mut words: BTreeMap<u16, u64> = BTreeMap::new();
    for (column, number) in front.key.iter().zip(key) {
        *words.entry(column.offset).or_default() |= (*number as u64).checked_shl(column.shift.into()).unwrap_or(0);
    }
    let hash = words.values().fold(0, |hash: u64, word| (hash ^ word).wrapping_mul(FACTOR));
    let bits = u32::from(front.bits.clamp(1, 31));
    (hash >> (64 - bits)) as usize
}

/// The element of an entry.
fn element(front: &FrontInfo, key: &[u128], value: &[u128]) -> Vec<u8> {
    let mut bytes = vec![0; size(front)];
    if !front.key.is_empty() {
        bytes.iter_mut().take(1).for_each(|present| *present = 1);
    }
    let columns = front.key.iter().zip(key).chain(front.value.iter().zip(value));
    columns.for_each(|(column, number)| put(&mut bytes, column, *number));
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::ColumnInfo;
    use super::super::memory::get;
    use super::*;

    fn columns(front: &mut FrontInfo, places: &[(u16, u8, u8)]) {
        let column = |(offset, bytes, shift): &(u16, u8, u8)| ColumnInfo {
            offset: *offset,
            bytes: *bytes,
            shift: *shift,
            bits: 32,
            network: false,
        };
        front.key = places.iter().map(column).collect();
    }

    #[test]
    fn what_is_in_front_has_a_place_in_its_generation() {
        let value = ColumnInfo { offset: 12, bytes: 4, shift: 0, bits: 32, network: false };
        let mut front = FrontInfo { offset: 64, value: vec![value], bytes: 16, bits: 4, ..FrontInfo::default() };
        columns(&mut front, &[(4, 4, 0), (8, 2, 0)]);
        let mut section = vec![0; 64 + 2 * 16 * 16 + 8];
        let all: Vec<([u128; 2], [u128; 1])> = (0..100).map(|n| ([n, 1], [n + 1000])).collect();
        let entries = || all.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
        fill(&front, &mut section, 1, entries());
        let (other, own) = (64..64 + 256, 64 + 256..64 + 512);
        assert!(section[other.clone()].iter().chain(&section[..64]).chain(&section[own.end..]).all(|byte| *byte == 0));
        // Each place has the first of its keys.
        let mut seen = 0;
        for (at, element) in section[own.clone()].chunks(16).enumerate() {
            let first = all.iter().find(|(key, _)| place(&front, key) == at);
            assert_eq!(first.is_some(), element[0] != 0);
            if let Some((key, value)) = first {
                seen += 1;
                assert_eq!(
                    (get(element, &front.key[0]), get(element, &front.key[1]), get(element, &front.value[0])),
                    (key[0], key[1], value[0])
                );
            }
        }
        assert!(seen > 8);
        // The other generation is left as it is, and what was there of this one is gone.
        let before = section[own.clone()].to_vec();
        fill(&front, &mut section, 0, entries());
        assert_eq!((&section[own.clone()], &section[other]), (before.as_slice(), before.as_slice()));
        fill(&front, &mut section, 1, []);
        assert!(section[own].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn elements_of_an_array_are_at_their_indexes() {
        let columns =
            [(0, 32), (4, 16)].map(|(offset, bits)| ColumnInfo { offset, bytes: bits / 8, shift: 0, bits, network: false });
        let front = FrontInfo { offset: 4, value: columns.to_vec(), bytes: 8, bits: 1, ..FrontInfo::default() };
        let mut section = [7; 40];
        // What is beyond its end is nowhere.
        let elements = [([0], [5, 6]), ([1], [0x0102_0304, 0x0506]), ([2], [9, 9]), ([u128::MAX], [9, 9])];
        fill(&front, &mut section, 1, elements.iter().map(|(index, value)| (index.as_slice(), value.as_slice())));
        let half = [5, 0, 0, 0, 6, 0, 0, 0, 4, 3, 2, 1, 6, 5, 0, 0];
        assert_eq!(end(&front), 36);
        assert_eq!(super::elements(&front, &section, 1).collect::<Vec<_>>(), half.chunks(8).collect::<Vec<_>>());
        assert!(super::elements(&front, &section[..39], 1).eq([&half[..8], &half[8..]]));
        assert_eq!(super::elements(&front, &section[..35], 1).count(), 0, "a section that is too short has none");
        assert_eq!((&section[..20], &section[20..36], &section[36..]), ([7; 20].as_slice(), half.as_slice(), [7; 4].as_slice()));
    }

    #[test]
    fn a_section_that_is_too_short_is_left_alone() {
        let mut front = FrontInfo { offset: 8, bytes: 16, bits: 31, ..FrontInfo::default() };
        columns(&mut front, &[(4, 4, 0)]);
        let mut section = vec![7; 64];
        fill(&front, &mut section, 1, [([1].as_slice(), [].as_slice())]);
        assert_eq!(section, [7; 64]);
    }

    #[test]
    fn columns_that_share_a_word_are_mixed_in_at_once() {
        let mut front = FrontInfo { bytes: 16, bits: 4, ..FrontInfo::default() };
        columns(&mut front, &[(8, 8, 0), (8, 8, 32)]);
        let two = place(&front, &[7, 9]);
        columns(&mut front, &[(8, 8, 0)]);
        assert_eq!(two, place(&front, &[7 | 9 << 32]));
    }
}
