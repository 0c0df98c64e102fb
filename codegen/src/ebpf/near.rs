//! Entries that the runtime feeds, near at hand: an array in which most are found by an index, without a search.
//!
//! The map of the table has all entries. A key's place in the array is the upper half of its product with an odd number; so what its element says
//! and the lower half of that product, beside the value, say which key it is, and one word of 64 bits is all that there is to read. An element
//! that is 0, or another key's, says nothing: the map is asked. Who changes an entry empties its element before, and fills it again
//! afterwards; so what the map says is the truth at any time, and an entry changes when the map does.

use super::NearInfo;

/// Elements.
pub(crate) const ELEMENTS: u32 = 1 << 16;
/// Bits of a word that say which key it is of; the others hold the value.
pub(crate) const KEY_BITS: u8 = 16;
/// Spreads keys that follow one another.
pub(crate) const FACTOR: u32 = 0x9e37_79b1;

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
}
