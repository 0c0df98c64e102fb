//! Routing tables, flat: what the longest prefix of an address is, is found by indexes, without a search. For who fills such tables from outside.
//!
//! The trie that the kernel has for prefixes is the table itself, and all of it; what is here is made from it. An address is looked up by its upper
//! 16 bits in a block of 256 numbers (of which there are 256 for each generation), then, where prefixes are longer than that, by its next 8
//! bits in another block, and by its last 8 bits in a third. A number says which block comes next, or which value was found; what is found more
//! than once is there once. Blocks are given out as they are needed, to each generation a half; where they do not suffice, a number
//! says that the trie is to be asked.

use super::{FlatInfo, TableInfo, memory};
use std::collections::BTreeMap;

/// Numbers of a block.
pub(crate) const BLOCK: usize = 256;
/// Of a number in a block: it is that of another block. Else it is that of a value, or [`ASK`], or 0 where nothing is.
pub(crate) const NEXT: u32 = 1 << 31;
/// The trie is to be asked.
pub(crate) const ASK: u32 = 1 << 30;
/// Blocks that addresses are first looked up in, of each generation.
pub(crate) const FIRST: u32 = 256;

/// Elements of maps that are arrays: indexes and values.
pub type Elements = Vec<(u32, Vec<u8>)>;

/// Numbers of the next 8 bits of addresses.
type Numbers = Box<[u32; BLOCK]>;

/// What the two arrays are to hold for a generation of prefixes: blocks, and values.
pub fn flat(info: &TableInfo, of: &FlatInfo, generation: u32, entries: &[(Vec<u128>, Vec<u128>)]) -> (Elements, Elements) {
    let mut prefixes: Vec<(u32, u8, u32)> = Vec::new();
    let mut values: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    for (key, value) in entries {
        let [address, length] = key.as_slice() else { continue };
        let number = generation.saturating_mul(of.values).saturating_add(1 + values.len() as u32);
        let number = *values.entry(memory::value(info, key, value)).or_insert(number);
        prefixes.push((*address as u32, (*length as u8).min(32), number));
    }
    // The longer ones come later, and count.
    prefixes.sort_unstable_by_key(|(address, length, _)| (*length, *address));
    let mut top = vec![0; FIRST as usize * BLOCK];
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
    let half = of.blocks.min(NEXT) / 2;
    let first = FIRST * 2 + generation.min(1) * half;
    let mut free = first..first + half;
    let mut numbered = Vec::new();
    let mut given: BTreeMap<u32, usize> = BTreeMap::new();
    for (high, block) in middle {
        let number = free.next();
        top[high as usize] = number.map_or(ASK, |number| NEXT | number);
        if let Some(number) = number {
            given.insert(high, numbered.len());
            numbered.push((number, block));
        }
    }
    for (mid, block) in last {
        let Some(at) = given.get(&(mid >> 8)) else { continue };
        let number = free.next();
        numbered[*at].1[(mid & 255) as usize] = number.map_or(ASK, |number| NEXT | number);
        numbered.extend(number.map(|number| (number, block)));
    }
    let bytes = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let first = (FIRST * generation.min(1)..).zip(top.chunks(BLOCK)).map(|(index, numbers)| (index, bytes(numbers)));
    let blocks = first.chain(numbered.iter().map(|(index, numbers)| (*index, bytes(numbers.as_slice())))).collect();
    (blocks, values.into_iter().map(|(value, number)| (number, value)).collect())
}

/// Numbers that belong to a prefix, which leaves so many bits open.
fn fill(numbers: &mut [u32], first: u32, open: u8, number: u32) {
    let first = (first as usize >> open) << open;
    if let Some(range) = numbers.get_mut(first..first + (1 << open)) {
        range.fill(number);
    }
}

#[cfg(test)]
mod tests {
    use super::super::ColumnInfo;
    use super::*;
    use std::collections::BTreeSet;

    fn info(blocks: u32) -> TableInfo {
        let column = |offset, network| ColumnInfo { offset, bytes: 4, shift: 0, bits: 32, network };
        let flat = Some(FlatInfo { map: "b".to_string(), values_map: "v".to_string(), blocks, values: 64 });
        let (key, value) = (vec![column(8, true)], vec![column(4, false)]);
        TableInfo { key, value, key_bytes: 12, value_bytes: 8, flat, ..TableInfo::new(0, "t", "prefixes") }
    }

    /// What the program finds: a value, or that the trie is to be asked.
    fn found(blocks: &BTreeMap<u32, Vec<u8>>, values: &BTreeMap<u32, Vec<u8>>, generation: u32, address: u32) -> Option<Vec<u8>> {
        let number = |block: u32, at: u32| {
            let at = at as usize * 4;
            u32::from_le_bytes(blocks[&block][at..at + 4].try_into().unwrap_or_default())
        };
        let mut found = number(generation << 8 | address >> 24, address >> 16 & 255);
        for shift in [8, 0] {
            if found >= NEXT {
                found = number(found - NEXT, address >> shift & 255);
            }
        }
        match found {
            0 => Some(Vec::new()),
            ASK => None,
            number => Some(values[&number].clone()),
        }
    }

    #[test]
    fn the_longest_prefix_is_found() {
        let prefixes: [(u32, u8); 12] = [
            (0, 0),
            (0x0a00_0000, 8),
            (0x0a01_0000, 16),
            (0x0a01_0200, 24),
            (0x0a01_0280, 25),
            (0x0a01_02fe, 31),
            (0x0a01_02ff, 32),
            (0x0a01_8000, 17),
            (0x0a02_0304, 32),
            (0x8000_0000, 1),
            (0xffff_ffff, 32),
            (0x0b00_0000, 23),
        ];
        let entry = |(n, (address, length)): (usize, &(u32, u8))| {
            (vec![u128::from(*address), u128::from(*length)], vec![n as u128 % 3 + 7])
        };
        let entries: Vec<(Vec<u128>, Vec<u128>)> = prefixes.iter().enumerate().map(entry).collect();
        let mut asked = BTreeSet::new();
        for blocks in [2, 4, 8, 64] {
            let of = info(blocks);
            for generation in [0, 1] {
                let (made, values) = flat(&of, of.flat.as_ref().unwrap_or(&FlatInfo::default()), generation, &entries);
                let (made, values): (BTreeMap<_, _>, BTreeMap<_, _>) = (made.into_iter().collect(), values.into_iter().collect());
                assert!(made.len() <= 256 + blocks as usize / 2 && made.keys().all(|index| *index < 512 + blocks));
                assert!(values.keys().all(|index| (1 + generation * 64..1 + (generation + 1) * 64).contains(index)));
                for (address, _) in prefixes {
                    for address in [address, address.wrapping_add(1), address.wrapping_sub(1), address ^ 0x80, address ^ 0x8000] {
                        let holds = |(of, length): &(u32, u8)| u64::from(address ^ of) >> (32 - length) == 0;
                        let best = (0..prefixes.len()).filter(|n| holds(&prefixes[*n])).max_by_key(|n| prefixes[*n].1);
                        let expected = best.map(|n| memory::value(&of, &entries[n].0, &entries[n].1)).unwrap_or_default();
                        match found(&made, &values, generation, address) {
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
