//! Entries that the runtime feeds, near at hand: an array in which most are found by an index, without a search.
//!
//! The map of the table has all entries. A key's place in the array is the upper half of its product with an odd number; so what its element says
//! and the lower half of that product, beside the value, say which key it is, and one word of 64 bits is all that there is to read. Of an element
//! that is another key's, and of one that is 0 if the lower half is 0, too, the map is asked. Any other element that is 0 says that there is no entry,
//! if the loader promises so ([`WHOLE`]): that where a key of the table has its place, some key's word is.
//!
//! Who sets an entry sets it in the map before, and who removes one removes it from the map afterwards; so for who looks it changes at once, with the
//! element. [`after`] says what that is to be.

use super::NearInfo;

/// Elements.
pub(crate) const ELEMENTS: u32 = 1 << 16;
/// Bits of a word that say which key it is of; the others hold the value.
pub(crate) const KEY_BITS: u8 = 16;
/// Spreads keys that follow one another.
pub(crate) const FACTOR: u32 = 0x9e37_79b1;

/// The variable in `.rodata` by which a loader promises, by a 1, that elements that are 0 say that there is no entry.
pub const WHOLE: &str = "near_whole";

/// The place of a key in the array.
pub fn index(key: u32) -> u32 {
    key.wrapping_mul(FACTOR) >> KEY_BITS
}

/// Whether a word is that of a key.
pub fn is_of(key: u32, word: u64) -> bool {
    word != 0 && word as u16 == key.wrapping_mul(FACTOR) as u16
}

/// The word that says which value a key has. It may be 0, which says nothing.
pub fn word(of: &NearInfo, key: u32, value: &[u128]) -> u64 {
    let mut word = u64::from(key.wrapping_mul(FACTOR) as u16);
    let mut shift = u32::from(KEY_BITS);
    for (number, bits) in value.iter().zip(&of.widths) {
        word |= (*number as u64).checked_shl(shift).unwrap_or(0);
        shift = shift.saturating_add((*bits).into());
    }
    word
}

/// What the element at a key's place is to be, which was `before`, when the key is given a value, or none. `others`: other entries of the table.
pub fn after<'e>(
    of: &NearInfo,
    before: u64,
    (key, value): (u32, Option<&[u128]>),
    others: impl IntoIterator<Item = (u32, &'e [u128])>,
) -> u64 {
    match value {
        Some(value) if before == 0 || is_of(key, before) => word(of, key, value),
        None if is_of(key, before) => {
            let mut same = others.into_iter().filter(|(other, _)| *other != key && index(*other) == index(key));
            same.next().map_or(0, |(other, value)| word(of, other, value))
        }
        _ => before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_and_its_place_say_which_key_it_is_of() {
        let of = NearInfo { map: "t".to_string(), widths: vec![48] };
        for key in [0_u32, 1, 2, 0x0a00_0001, 0x0a00_0002, 0xc0a8_0101, u32::MAX] {
            let word = word(&of, key, &[0xffff_ffff_ffff]);
            assert!(is_of(key, word) && !is_of(key, 0) && word >> KEY_BITS == 0xffff_ffff_ffff);
            // No other key with that place has that half.
            for step in 1..0x1_0000_u32 {
                let other = key.wrapping_add(step);
                assert!(index(other) != index(key) || !is_of(other, word), "{key:x} {other:x}");
            }
        }
        let apart: std::collections::BTreeSet<u32> = (0..256).map(|host| index(0x0a00_0000 + host)).collect();
        assert_eq!(apart.len(), 256);
    }

    #[test]
    fn several_numbers_share_a_word() {
        let of = NearInfo { map: "t".to_string(), widths: vec![4, 32] };
        assert_eq!(word(&of, 0, &[5, 0x0102_0304]) >> KEY_BITS, 0x1020_3045);
        assert_eq!(word(&of, 0, &[0, 0]), 0);
    }

    #[test]
    fn where_a_key_has_its_place_some_word_is() {
        let of = NearInfo { map: "t".to_string(), widths: vec![8] };
        let same: Vec<u32> = (0..=u32::MAX).filter(|key| index(*key) == index(7) && *key as u16 as u64 != 0).take(3).collect();
        let (mut entries, mut element) = (std::collections::BTreeMap::<u32, Vec<u128>>::new(), 0);
        for step in 0..64_u32 {
            let key = same[(step * 5 / 3) as usize % 3];
            let value = (step * 7 % 4 != 0).then(|| vec![u128::from(step)]);
            let others = entries.iter().map(|(key, value)| (*key, value.as_slice()));
            element = after(&of, element, (key, value.as_deref()), others);
            match value {
                Some(value) => drop(entries.insert(key, value)),
                None => drop(entries.remove(&key)),
            }
            assert_eq!(element == 0, entries.is_empty());
            for (key, value) in &entries {
                assert!(!is_of(*key, element) || element == word(&of, *key, value));
            }
            assert!(element == 0 || entries.keys().any(|key| is_of(*key, element)));
        }
    }
}
