//! Routing tables, flat: what the longest prefix of an address is, is found by indexes, without a search. For who fills such tables from outside.
//!
//! The trie that the kernel has for prefixes is the table itself, and all of it; what is here is made from it. An address is looked up by its upper
//! 16 bits in an array, which is in the section of global variables that [`front`](super::front) tells of, then, where prefixes are longer than that, by its next 8
//! bits in a block of 256 elements, and by its last 8 bits in another. An element is a value, or says which block comes next; it has as many words as the
//! length of the prefix and the numbers of the value need. Blocks are given out as they are needed, to each generation a half; where they do not suffice, an element names
//! one that there is not, and the trie is to be asked.

use super::{ColumnInfo, FlatInfo, memory};
use std::collections::BTreeMap;

/// Elements of a block.
pub(crate) const BLOCK: usize = 256;
/// The low bits of an element's first word say what it is. All are 0 where nothing is.
pub(crate) const TAG_BITS: u8 = 2;
/// An element is a value.
pub(crate) const VALUE: u64 = 1;
/// An element has the number of the block that comes next, above the tag.
pub(crate) const NEXT: u64 = 2;
/// The number of no block.
const NONE: u64 = u32::MAX as u64;
/// Elements that addresses are first looked up in, of each generation.
pub(crate) const FIRST: u32 = 1 << 16;

/// Blocks by their numbers.
pub type Blocks = Vec<(u32, Vec<u8>)>;

/// The next 8 bits of addresses: 0 where nothing is, else a value, counted from 1, or a block.
type Numbers = Box<[u64; BLOCK]>;

/// Of a number: it is that of a block.
const IS_BLOCK: u64 = 1 << 32;

/// Where numbers of these widths are in an element, and how many bytes it has: one behind the other, and none in two words.
pub(crate) fn columns(widths: &[u8]) -> (Vec<ColumnInfo>, u16) {
    let (mut word, mut shift) = (0, TAG_BITS);
    let mut column = |bits: &u8| {
        if shift + bits > 64 {
            (word, shift) = (word + 1, 0);
        }
        let column = ColumnInfo { offset: word * 8, bytes: 8, shift, bits: *bits, network: false };
        shift += bits;
        column
    };
    let columns = widths.iter().map(&mut column).collect();
    (columns, (word + 1) * 8)
}

/// The blocks of a generation of prefixes; what comes before them is put into the section, and nothing else of that.
pub fn flat(of: &FlatInfo, section: &mut [u8], generation: u32, entries: &[(Vec<u128>, Vec<u128>)]) -> Blocks {
    let mut prefixes: Vec<(u32, u8, u64)> = Vec::new();
    let mut values: Vec<Vec<u8>> = Vec::new();
    for (key, value) in entries {
        let [address, length] = key.as_slice() else { continue };
        let mut element = vec![0; of.bytes.into()];
        element.iter_mut().take(1).for_each(|tag| *tag = VALUE as u8);
        let numbers = std::iter::once(length).chain(value);
        of.value.iter().zip(numbers).for_each(|(column, number)| memory::put(&mut element, column, *number));
        values.push(element);
        prefixes.push((*address as u32, (*length as u8).min(32), values.len() as u64));
    }
    // The longer ones come later, and count.
    prefixes.sort_unstable_by_key(|(address, length, _)| (*length, *address));
    let mut top = vec![0; FIRST as usize];
    let mut middle: BTreeMap<u32, Numbers> = BTreeMap::new();
    let mut last: BTreeMap<u32, Numbers> = BTreeMap::new();
    for (address, length, number) in prefixes {
        let (high, mid) = (address >> 16, address >> 8);
        if length <= 16 {
            fill(&mut top, high, 16 - length, number);
            continue;
        }
        let block = middle.entry(high).or_insert_with(|| Box::new([top[high as usize]; BLOCK]));
        if length <= 24 {
            fill(block.as_mut_slice(), mid & 255, 24 - length, number);
            continue;
        }
        let block = last.entry(mid).or_insert_with(|| Box::new([block[(mid & 255) as usize]; BLOCK]));
        fill(block.as_mut_slice(), address & 255, 32 - length, number);
    }
    // Those that most addresses are looked up in are given out first.
    let half = of.blocks / 2;
    let first = generation.min(1) * half;
    let mut free = first..first + half;
    let mut numbered = Vec::new();
    let mut given: BTreeMap<u32, usize> = BTreeMap::new();
    let next = |number: Option<u32>| IS_BLOCK | number.map_or(NONE, u64::from);
    for (high, block) in middle {
        let number = free.next();
        top[high as usize] = next(number);
        if let Some(number) = number {
            given.insert(high, numbered.len());
            numbered.push((number, block));
        }
    }
    for (mid, block) in last {
        let Some(at) = given.get(&(mid >> 8)) else { continue };
        let number = free.next();
        numbered[*at].1[(mid & 255) as usize] = next(number);
        numbered.extend(number.map(|number| (number, block)));
    }
    let bytes = |numbers: &[u64]| {
        let mut bytes = Vec::with_capacity(numbers.len() * usize::from(of.bytes));
        for number in numbers {
            let start = bytes.len();
            match number {
                number if number & IS_BLOCK != 0 => bytes.extend(((number & NONE) << TAG_BITS | NEXT).to_le_bytes()),
                number => bytes.extend(number.checked_sub(1).and_then(|at| values.get(at as usize)).into_iter().flatten()),
            }
            bytes.resize(start + usize::from(of.bytes), 0);
        }
        bytes
    };
    let top = bytes(&top);
    let start = of.offset as usize + top.len() * generation.min(1) as usize;
    if let Some(into) = section.get_mut(start..).and_then(|rest| rest.get_mut(..top.len())) {
        into.copy_from_slice(&top);
    }
    numbered.iter().map(|(index, numbers)| (*index, bytes(numbers.as_slice()))).collect()
}

/// How many bytes of the section it needs, with what is before it.
pub fn end(of: &FlatInfo) -> usize {
    of.offset as usize + 2 * FIRST as usize * usize::from(of.bytes)
}

/// Numbers that belong to a prefix, which leaves so many bits open.
fn fill(numbers: &mut [u64], first: u32, open: u8, number: u64) {
    let first = (first as usize >> open) << open;
    if let Some(range) = numbers.get_mut(first..first + (1 << open)) {
        range.fill(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn info(blocks: u32, widths: &[u8]) -> FlatInfo {
        let (value, bytes) = columns(widths);
        FlatInfo { offset: 64, map: "b".to_string(), blocks, value, bytes }
    }

    /// What the program finds: the numbers of a value, or that the trie is to be asked.
    fn found(
        of: &FlatInfo,
        (section, blocks): (&[u8], &BTreeMap<u32, Vec<u8>>),
        generation: u32,
        address: u32,
    ) -> Option<Vec<u128>> {
        let mut block = None;
        for shift in [16, 8, 0] {
            let (at, array) = match block {
                None => (generation << 16 | address >> shift, &section[of.offset as usize..]),
                Some(block) => (address >> shift & 255, blocks.get(&block)?.as_slice()),
            };
            let element = &array[at as usize * usize::from(of.bytes)..][..usize::from(of.bytes)];
            let word = u64::from_le_bytes(element[..8].try_into().unwrap_or_default());
            match word & ((1 << TAG_BITS) - 1) {
                0 => return Some(Vec::new()),
                VALUE => return Some(of.value.iter().map(|column| memory::get(element, column)).collect()),
                _ => block = Some((word >> TAG_BITS) as u32),
            }
        }
        None
    }

    #[test]
    fn numbers_of_a_value_share_words() {
        let places = |widths: &[u8]| {
            let (columns, bytes) = columns(widths);
            (columns.iter().map(|column| (column.offset, column.shift)).collect::<Vec<_>>(), bytes)
        };
        assert_eq!(places(&[8, 1, 32]), (vec![(0, 2), (0, 10), (0, 11)], 8));
        assert_eq!(places(&[62]), (vec![(0, 2)], 8));
        assert_eq!(places(&[64, 1, 64]), (vec![(8, 0), (16, 0), (24, 0)], 32));
        assert_eq!(places(&[]), (vec![], 8));
    }

    #[test]
    fn the_longest_prefix_is_found() {
        let prefixes = [
            (0, 0),
            (0x0a00_0000, 8),
            (0x0a01_0000, 16),
            (0x0a01_0200, 24),
            (0x0a01_02fe, 31),
            (0x0a01_02ff, 32),
            (0x0a01_8000, 17),
            (0x0a02_0304, 32),
            (0x8000_0000, 1),
            (0xffff_ffff, 32),
            (0x0b00_0000, 23),
        ];
        let entry = |(n, (address, length)): (usize, &(u32, u8))| {
            (vec![u128::from(*address), u128::from(*length)], vec![n as u128 % 3 + 7, u128::from(u64::MAX) - n as u128])
        };
        let entries: Vec<(Vec<u128>, Vec<u128>)> = prefixes.iter().enumerate().map(entry).collect();
        let mut asked = BTreeSet::new();
        for blocks in [2, 4, 8, 64] {
            let of = info(blocks, &[8, 16, 64]);
            let mut section = vec![7; end(&of) + 8];
            let mut before: Option<Vec<u8>> = None;
            for generation in [0, 1] {
                let made: BTreeMap<_, _> = flat(&of, &mut section, generation, &entries).into_iter().collect();
                assert!(made.len() <= blocks as usize / 2 && made.keys().all(|index| *index < blocks));
                // Nothing else of the section is written: in front of it, behind it, the other generation.
                let middle = (64 + end(&of)) / 2;
                let others =
                    if generation == 0 { [&section[..64], &section[middle..]] } else { [&section[..64], &section[end(&of)..]] };
                assert!(others.into_iter().flatten().all(|byte| *byte == 7));
                let other = if generation == 0 { Vec::new() } else { section[64..middle].to_vec() };
                assert!(before.is_none_or(|before| before == other));
                before = Some(section[64..middle].to_vec());
                for (address, _) in prefixes {
                    for address in [address, address.wrapping_add(1), address.wrapping_sub(1), address ^ 0x80, address ^ 0x8000] {
                        let holds = |(of, length): &(u32, u8)| u64::from(address ^ of) >> (32 - length) == 0;
                        let best = (0..prefixes.len()).filter(|n| holds(&prefixes[*n])).max_by_key(|n| prefixes[*n].1);
                        let length = |n: usize| u128::from(prefixes[n].1);
                        let expected = best.map(|n| [vec![length(n)], entries[n].1.clone()].concat()).unwrap_or_default();
                        match found(&of, (&section, &made), generation, address) {
                            Some(value) => assert_eq!(value, expected, "{address:x}"),
                            None => drop(asked.insert((blocks, address))),
                        }
                    }
                }
            }
        }
        // The trie is asked only where blocks do not suffice.
        assert!(asked.iter().any(|(blocks, _)| *blocks == 2) && asked.iter().all(|(blocks, _)| *blocks < 16), "{asked:?}");
    }
}
