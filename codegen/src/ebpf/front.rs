//! The array beside a table of the control plane, in which most of its entries are found at once: for who writes a generation. Its elements begin with a number of 4 bytes
//! that is 0 where nothing is. An entry is put in front after it was set in the map, and taken out before it is removed there.

use super::FrontInfo;
use super::memory::put;
use std::collections::BTreeMap;

/// What words of a key are multiplied by, one after the other, for its place.
pub(crate) const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Places of a generation at most.
pub(crate) const PLACES: u64 = 1 << 16;

/// Where a key is, if it is there.
pub fn place(front: &FrontInfo, key: &[u128], generation: u32) -> u32 {
    // Columns that share a word are one number.
    let mut words: BTreeMap<u16, u64> = BTreeMap::new();
    for (column, number) in front.key.iter().zip(key) {
        *words.entry(column.offset).or_default() |= (*number as u64).checked_shl(column.shift.into()).unwrap_or(0);
    }
    let hash = words.values().fold(0, |hash: u64, word| (hash ^ word).wrapping_mul(FACTOR));
    let bits = u32::from(front.bits.clamp(1, 31));
    (hash >> (64 - bits)) as u32 + ((generation & 1) << bits)
}

/// The element of an entry.
pub fn element(front: &FrontInfo, key: &[u128], value: &[u128]) -> Vec<u8> {
    let mut bytes = vec![0; front.bytes.into()];
    bytes.iter_mut().take(1).for_each(|present| *present = 1);
    let columns = front.key.iter().zip(key).chain(front.value.iter().zip(value));
    columns.for_each(|(column, number)| put(&mut bytes, column, *number));
    bytes
}

/// Where nothing is.
pub fn nothing(front: &FrontInfo) -> Vec<u8> {
    vec![0; front.bytes.into()]
}

/// Whether an entry is there.
pub fn is_taken(element: &[u8]) -> bool {
    element.first().is_some_and(|present| *present != 0)
}

#[cfg(test)]
mod tests {
    use super::super::ColumnInfo;
    use super::super::memory::get;
    use super::*;

    #[test]
    fn what_is_in_front_has_a_place_in_its_generation() {
        let column = |offset, bytes| ColumnInfo { offset, bytes, shift: 0, bits: bytes * 8, network: false };
        let front = FrontInfo {
            map: "f".to_string(),
            key: vec![column(4, 4), column(8, 2)],
            value: vec![column(12, 4)],
            bytes: 16,
            bits: 4,
        };
        let bytes = element(&front, &[7, 8], &[9]);
        assert_eq!((get(&bytes, &front.key[0]), get(&bytes, &front.key[1]), get(&bytes, &front.value[0])), (7, 8, 9));
        assert!(is_taken(&bytes) && !is_taken(&nothing(&front)));
        // Columns that share a word are mixed in at once.
        let whole = |offset, bytes, shift| ColumnInfo { offset, bytes, shift, bits: 32, network: false };
        let (two, one) = (
            FrontInfo { key: vec![whole(8, 8, 0), whole(8, 8, 32)], ..front.clone() },
            FrontInfo { key: vec![whole(8, 8, 0)], ..front.clone() },
        );
        assert_eq!(place(&two, &[7, 9], 0), place(&one, &[7 | 9 << 32], 0));
        for key in 0..100 {
            let at = place(&front, &[key, 1], 0);
            assert!(at < 16);
            assert_eq!(place(&front, &[key, 1], 1), at + 16);
        }
    }
}
