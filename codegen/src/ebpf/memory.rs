//! Keys and values as bytes, where a [`TableInfo`] says that their columns are: for who reads and writes tables from outside. A layout
//! that came from elsewhere is to be checked first ([`fits`]); of one that does not fit, nothing is read or written.

use super::{BlockInfo, ColumnInfo, TableInfo};
use std::collections::BTreeMap;

/// Whether all columns are within keys and values.
pub fn fits(info: &TableInfo) -> bool {
    let within = |column: &ColumnInfo, size: u16| {
        let sized = matches!(column.bytes, 1 | 2 | 4 | 8) || (column.network && (1..=8).contains(&column.bytes));
        let bits = u16::from(column.bytes) * 8;
        let end = column.offset.checked_add(column.bytes.into());
        sized && end.is_some_and(|end| end <= size) && u16::from(column.shift) + u16::from(column.bits) <= bits
    };
    let key_size = if info.keeping == "slots" { info.value_bytes } else { info.key_bytes };
    let keys = info.key.iter().all(|column| within(column, key_size));
    // A cell is somewhere in its section.
    let most = match (info.keeping, &info.blocks) {
        ("cell", _) => u16::MAX,
        (_, Some(of)) => of.bytes,
        _ => info.value_bytes,
    };
    let values = info.value.iter().all(|column| within(column, most));
    let inside = |at: Option<u16>| at.is_none_or(|at| at.checked_add(8).is_some_and(|end| end <= info.value_bytes));
    let word = inside(info.word) && inside(info.ticket);
    let counts = match info.keeping {
        "prefixes" => info.key.len() == 1 && info.key_bytes >= 8 && info.value_bytes >= 4,
        "control" => info.key_bytes >= 4,
        "control array" => info.key_bytes == 4,
        "control globals" => {
            info.front.as_ref().is_some_and(|front| (&front.value, front.bytes) == (&info.value, info.value_bytes))
        }
        "control blocks" => {
            let inside = |of: &BlockInfo| {
                of.elements > 0
                    && of.bytes > 0
                    && of.elements.checked_mul(of.bytes.into()).is_some_and(|b| b <= info.value_bytes.into())
            };
            info.key_bytes == 8 && info.blocks.as_ref().is_some_and(inside)
        }
        "control rows" => {
            let inside = |of: &BlockInfo| {
                let all = of.elements.checked_mul(of.bytes.into()).and_then(|bytes| bytes.checked_add(ROWS_AT as u32));
                of.elements > 0 && of.bytes > 0 && all.is_some_and(|bytes| bytes <= info.value_bytes.into())
            };
            let masks = info.masks.iter().all(|mask| mask.of < info.value.len() && within(&mask.mask, most));
            info.key_bytes == 4 && masks && info.blocks.as_ref().is_some_and(inside)
        }
        "buckets" => info.value.len() == 2,
        "entries" => info.word.is_some(),
        "slots" => info.word.is_some() && info.key_bytes == 4 && info.index.is_some(),
        "mirror" => {
            info.word.is_some()
                && info
                    .owner
                    .as_ref()
                    .is_some_and(|owner| owner.key.iter().all(|column| *column < info.key.len() + info.value.len()))
        }
        "cell" => info.value.len() == 1,
        _ => true,
    };
    let front = info.front.as_ref().is_none_or(|front| {
        let array = info.keeping == "control globals";
        let (least, keys) = if array { (0, 0) } else { (4, info.key.len()) };
        let columns = front.key.iter().chain(&front.value).all(|column| column.offset >= least && within(column, front.bytes));
        columns && front.key.len() == keys && front.value.len() <= info.value.len() && (1..=31).contains(&front.bits)
    });
    keys && values && word && front && counts && info.deadline_shift < 64 && info.clock.tick > 0
}

/// Puts a number where a column is, into bytes that are zero there.
pub fn put(bytes: &mut [u8], column: &ColumnInfo, value: u128) {
    let size = usize::from(column.bytes).min(8);
    let Some(place) = bytes.get_mut(column.offset.into()..).and_then(|rest| rest.get_mut(..size)) else { return };
    if column.network {
        place.copy_from_slice(&(value as u64).to_be_bytes()[8 - size..]);
        return;
    }
    let shifted = (value as u64).checked_shl(column.shift.into()).unwrap_or(0);
    for (byte, new) in place.iter_mut().zip(shifted.to_le_bytes()) {
        *byte |= new;
    }
}

/// The number where a column is.
pub fn get(bytes: &[u8], column: &ColumnInfo) -> u128 {
    let size = usize::from(column.bytes).min(8);
    let Some(place) = bytes.get(column.offset.into()..).and_then(|rest| rest.get(..size)) else { return 0 };
    let mut word = [0; 8];
    if column.network {
        word[8 - size..].copy_from_slice(place);
        return u64::from_be_bytes(word).into();
    }
    word[..size].copy_from_slice(place);
    let word = u64::from_le_bytes(word).checked_shr(column.shift.into()).unwrap_or(0);
    let mask = if column.bits >= 64 { u64::MAX } else { (1 << column.bits) - 1 };
    (word & mask).into()
}

/// The key of an entry; of control tables that of a generation. `capacity` is the table's.
pub fn key(info: &TableInfo, key: &[u128], generation: u32, capacity: u64) -> Vec<u8> {
    let mut bytes = vec![0; info.key_bytes.into()];
    let mut set = |at: usize, number: [u8; 4]| {
        if let Some(place) = bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&number);
        }
    };
    let first = key.first().copied().unwrap_or(0);
    match info.keeping {
        "prefixes" => {
            set(0, (key.get(1).copied().unwrap_or(0) as u32 + GENERATION_BITS).to_le_bytes());
            set(4, generation.to_be_bytes());
            if let Some(column) = info.key.first() {
                put(&mut bytes, column, first);
            }
        }
        "control array" => set(0, ((first as u64 + u64::from(generation) * capacity) as u32).to_le_bytes()),
        "control blocks" => {
            set(0, (first as u32).to_le_bytes());
            set(4, generation.to_le_bytes());
        }
        "control rows" => set(0, generation.to_le_bytes()),
        "control" => {
            set(generation_at(info), generation.to_le_bytes());
            info.key.iter().zip(key).for_each(|(column, value)| put(&mut bytes, column, *value));
        }
        _ => info.key.iter().zip(key).for_each(|(column, value)| put(&mut bytes, column, *value)),
    }
    bytes
}

/// Which bytes of an entry its key's scalars are in: [`key_of`] reads them there.
pub fn key_in<'b>(info: &TableInfo, key: &'b [u8], value: &'b [u8]) -> &'b [u8] {
    if info.keeping == "slots" { value } else { key }
}

/// The slot that an entry of the index of `slots` leads to, from its value; none, if it is about to be deleted.
pub fn slot_of(value: &[u8]) -> Option<u32> {
    let number = value.last_chunk::<8>().map(|number| u64::from_le_bytes(*number))?;
    number.checked_sub(1).and_then(|slot| slot.try_into().ok())
}

/// Keys of prefixes begin with the generation, which counts into their length.
const GENERATION_BITS: u32 = 32;

/// Where the generation is in keys of `control`: it is the last number, and what is behind it is padding.
fn generation_at(info: &TableInfo) -> usize {
    let end = info.key.iter().map(|column| usize::from(column.offset) + usize::from(column.bytes)).max().unwrap_or(0);
    end.next_multiple_of(4).min(usize::from(info.key_bytes).saturating_sub(4))
}

/// The scalars of a key, and which generation it is of.
pub fn key_of(info: &TableInfo, bytes: &[u8], capacity: u64) -> (Vec<u128>, u32) {
    let number = |at: usize| bytes.get(at..at + 4).and_then(|place| place.try_into().ok()).unwrap_or([0; 4]);
    match info.keeping {
        "prefixes" => {
            let length = u32::from_le_bytes(number(0)).saturating_sub(GENERATION_BITS);
            let address = info.key.first().map_or(0, |column| get(bytes, column));
            (vec![address, length.into()], u32::from_be_bytes(number(4)))
        }
        "control array" => {
            let index = u64::from(u32::from_le_bytes(number(0)));
            let generation = index.checked_div(capacity).unwrap_or(0);
            (vec![(index - generation * capacity).into()], generation as u32)
        }
        "control blocks" => (vec![u32::from_le_bytes(number(0)).into()], u32::from_le_bytes(number(4))),
        "control rows" => (Vec::new(), u32::from_le_bytes(number(0))),
        keeping => {
            let generation = if keeping == "control" { u32::from_le_bytes(number(generation_at(info))) } else { 0 };
            (info.key.iter().map(|column| get(bytes, column)).collect(), generation)
        }
    }
}

/// The value of an entry that the control plane or the runtime sets.
pub fn value(info: &TableInfo, key: &[u128], value: &[u128]) -> Vec<u8> {
    let mut bytes = vec![0; info.value_bytes.into()];
    match info.keeping {
        "prefixes" => {
            let length = key.get(1).copied().unwrap_or(0) as u32;
            if let Some(place) = bytes.get_mut(..4) {
                place.copy_from_slice(&length.to_le_bytes());
            }
        }
        "feed" => info.key.iter().zip(key).for_each(|(column, value)| put(&mut bytes, column, *value)),
        _ => {}
    }
    info.value.iter().zip(value).for_each(|(column, value)| put(&mut bytes, column, *value));
    bytes
}

/// The blocks of a generation of an array, from the elements that are not as at the start, with their indexes.
pub fn blocks(info: &TableInfo, generation: u32, elements: &[(Vec<u128>, Vec<u128>)]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let Some(of) = info.blocks.as_ref().filter(|of| of.elements > 0 && of.bytes > 0) else { return Vec::new() };
    let initial: Vec<u128> = info.initial.iter().map(|number| u128::from(*number)).collect();
    let mut blocks: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let write = |bytes: &mut [u8], at: usize, value: &[u128]| {
        let Some(into) = bytes.chunks_exact_mut(of.bytes.into()).nth(at) else { return };
        into.fill(0);
        info.value.iter().zip(value).for_each(|(column, value)| put(into, column, *value));
    };
    for (index, value) in elements {
        let index = index.first().copied().unwrap_or(0) as u64;
        let block = blocks.entry(index / u64::from(of.elements)).or_insert_with(|| {
            let mut bytes = vec![0; info.value_bytes.into()];
            (0..of.elements as usize).for_each(|at| write(&mut bytes, at, &initial));
            bytes
        });
        write(block, (index % u64::from(of.elements)) as usize, value);
    }
    blocks.into_iter().map(|(number, bytes)| (key(info, &[number.into()], generation, 0), bytes)).collect()
}

/// The elements of a block that are not as at the start, with their indexes; `number` is the block's.
pub fn elements_of(info: &TableInfo, number: u128, bytes: &[u8]) -> Vec<(Vec<u128>, Vec<u128>)> {
    let Some(of) = info.blocks.as_ref().filter(|of| of.bytes > 0) else { return Vec::new() };
    let initial: Vec<u128> = info.initial.iter().map(|number| u128::from(*number)).collect();
    let first = number * u128::from(of.elements);
    let places = bytes.chunks_exact(of.bytes.into()).take(of.elements as usize).zip(0..);
    let elements = places.map(|(place, at)| (vec![first + at], value_of(info, place)));
    elements.filter(|(_, value)| *value != initial).collect()
}

/// Where the first element is in a value of `control rows`.
pub(super) const ROWS_AT: u16 = 8;

/// A generation of an array that is one value, from all its elements: before them is the index from which on all are the same, where a
/// search can end.
pub fn rows(info: &TableInfo, elements: &[Vec<u128>]) -> Vec<u8> {
    let mut bytes = vec![0; info.value_bytes.into()];
    let Some(of) = info.blocks.as_ref().filter(|of| of.bytes > 0) else { return bytes };
    let last = elements.last().map_or(0, |last| elements.iter().rposition(|element| element != last).map_or(0, |at| at + 1));
    let (head, rest) = bytes.split_at_mut(usize::from(ROWS_AT).min(info.value_bytes.into()));
    head.iter_mut().zip((last as u64).to_le_bytes()).for_each(|(byte, new)| *byte = new);
    for (place, element) in rest.chunks_exact_mut(of.bytes.into()).zip(elements) {
        info.value.iter().zip(element).for_each(|(column, value)| put(place, column, *value));
        for mask in &info.masks {
            let bits = u32::from(mask.mask.bits).min(64);
            let length = element.get(mask.of).map_or(0, |length| (*length).min(bits.into()) as u32);
            put(place, &mask.mask, ((1_u128 << bits) - 1) & !((1_u128 << (bits - length)) - 1));
        }
    }
    bytes
}

/// All elements of an array that is one value, with their indexes.
pub fn elements_in(info: &TableInfo, bytes: &[u8]) -> Vec<(Vec<u128>, Vec<u128>)> {
    let Some(of) = info.blocks.as_ref().filter(|of| of.bytes > 0) else { return Vec::new() };
    let places = bytes.get(usize::from(ROWS_AT)..).unwrap_or_default().chunks_exact(of.bytes.into());
    (0..).zip(places.take(of.elements as usize)).map(|(at, place)| (vec![at], value_of(info, place))).collect()
}

/// The scalars of a value.
pub fn value_of(info: &TableInfo, bytes: &[u8]) -> Vec<u128> {
    info.value.iter().map(|column| get(bytes, column)).collect()
}

/// Eight bytes of a value: the word with the deadline, or a ticket.
pub fn word(at: Option<u16>, bytes: &[u8]) -> Option<u64> {
    let at = usize::from(at?);
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::super::MaskInfo;
    use super::*;

    fn column(offset: u16, bytes: u8, network: bool) -> ColumnInfo {
        ColumnInfo { offset, bytes, shift: 0, bits: bytes * 8, network }
    }

    fn info(keeping: &'static str, key: Vec<ColumnInfo>, key_bytes: u16) -> TableInfo {
        TableInfo { key, value: vec![column(4, 4, false)], key_bytes, value_bytes: 8, ..TableInfo::new(0, "t", keeping) }
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        for (info, scalars) in [
            (info("prefixes", vec![column(8, 4, true)], 12), vec![0x0a00_0000, 8]),
            (info("control", vec![column(0, 2, false), column(4, 4, false)], 12), vec![7, 9]),
            (info("control array", vec![column(0, 4, false)], 4), vec![6]),
        ] {
            assert!(fits(&info), "{}", info.keeping);
            for generation in [0, 1] {
                let bytes = key(&info, &scalars, generation, 10);
                assert_eq!(key_of(&info, &bytes, 10), (scalars.clone(), generation), "{}", info.keeping);
            }
        }
    }

    #[test]
    fn elements_of_blocks_are_read_as_they_are_written() {
        let mut of = info("control blocks", vec![column(0, 4, false)], 8);
        (of.value, of.value_bytes, of.initial) = (vec![column(0, 4, false)], 24, vec![3]);
        of.blocks = Some(BlockInfo { elements: 6, bytes: 4 });
        assert!(fits(&of));
        let elements: Vec<(Vec<u128>, Vec<u128>)> = vec![(vec![1], vec![9]), (vec![14], vec![0])];
        let blocks = blocks(&of, 1, &elements);
        assert_eq!(blocks.len(), 2);
        let read = blocks.iter().flat_map(|(key, value)| {
            let (number, generation) = key_of(&of, key, 0);
            assert_eq!(generation, 1);
            elements_of(&of, number[0], value)
        });
        assert_eq!(read.collect::<Vec<_>>(), elements);
        of.blocks = Some(BlockInfo { elements: 7, bytes: 4 });
        assert!(!fits(&of));
    }

    #[test]
    fn rows_are_read_as_they_are_written() {
        let mut of = info("control rows", Vec::new(), 4);
        let mask = MaskInfo { of: 1, mask: column(8, 4, false) };
        (of.value, of.value_bytes, of.masks) = (vec![column(0, 4, false), column(4, 1, false)], 8 + 5 * 12, vec![mask.clone()]);
        of.blocks = Some(BlockInfo { elements: 5, bytes: 12 });
        assert!(fits(&of));
        assert_eq!((key(&of, &[], 1, 0), key_of(&of, &[1, 0, 0, 0], 0)), (vec![1, 0, 0, 0], (Vec::new(), 1)));
        // By length: the mask, and where a search ends.
        let end = vec![7, 0];
        let elements = [vec![1, 24], vec![2, 32], end.clone(), vec![3, 40], end.clone()];
        let bytes = rows(&of, &elements);
        let read: Vec<Vec<u128>> = elements_in(&of, &bytes).into_iter().map(|(_, element)| element).collect();
        assert_eq!((read.as_slice(), bytes[0]), (elements.as_slice(), 4));
        let masks: Vec<u128> = bytes[8..].chunks_exact(12).map(|place| get(place, &mask.mask)).collect();
        assert_eq!(masks, [0xffff_ff00, 0xffff_ffff, 0, 0xffff_ffff, 0]);
        for (elements, last) in [(vec![end.clone(); 5], 0), ([&elements[..1], &vec![end.clone(); 4]].concat(), 1)] {
            assert_eq!(rows(&of, &elements)[0], last);
        }
        of.masks = vec![MaskInfo { of: 2, ..mask }];
        assert!(!fits(&of));
        (of.masks, of.value_bytes) = (Vec::new(), 60);
        assert!(!fits(&of));
        assert_eq!(rows(&of, &elements).len(), 60);
        assert_eq!(elements_in(&of, &[0; 9]), []);
    }

    #[test]
    fn what_does_not_fit_is_told_and_touches_nothing() {
        let wrong = info("control", vec![column(10, 4, false)], 12);
        assert!(!fits(&wrong));
        assert_eq!(key(&wrong, &[7], 0, 0).len(), 12);
        assert_eq!(key_of(&wrong, &[0; 3], 0), (vec![0], 0));
        assert_eq!(value_of(&wrong, &[1, 2]), [0]);
    }
}
