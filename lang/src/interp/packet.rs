//! Frames as bytes and the places of headers in them. A place is only ever computed here, so that every read and write of a
//! field is inside the frame; what does not fit is `None`, never a panic.

use super::value::mask;
use crate::ir::Field;

/// The longest frame, in bytes.
pub const MAX_FRAME: usize = 65_535;

/// Where a header is in a frame; all numbers are bytes from the frame's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its first byte.
    pub start: u32,
    /// Its bytes, the variable part included.
    pub length: u32,
    /// Where its body ends.
    pub end: u32,
    /// Where the body ends that it is in.
    pub limit: u32,
}

impl Place {
    /// No place: the header was not found.
    pub const NONE: Place = Place { start: u32::MAX, length: 0, end: 0, limit: 0 };

    /// Whether the header was found or made.
    pub fn is_some(self) -> bool {
        self.start != u32::MAX
    }

    /// Where the next header may start.
    pub fn after(self) -> u32 {
        self.start + self.length
    }
}

/// Moves a place when `length` bytes are put in at `at`.
pub fn inserted(place: &mut Place, at: u32, length: u32) {
    if !place.is_some() {
        return;
    }
    if place.start >= at {
        place.start += length;
    }
    // Bodies that hold the new bytes grow; those that end before do not.
    if place.end >= at {
        place.end += length;
    }
    if place.limit >= at {
        place.limit += length;
    }
}

/// Moves a place when the bytes `at..at + length` are taken out.
pub fn removed(place: &mut Place, at: u32, length: u32) {
    if !place.is_some() {
        return;
    }
    if place.start >= at + length {
        place.start -= length;
    }
    if place.end >= at + length {
        place.end -= length;
    }
    if place.limit >= at + length {
        place.limit -= length;
    }
}

/// Where a field is in its header. That it ends in the 8 bytes that begin with its first one, as most do, is found out once:
/// a machine word that is read at once is much faster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// Its first byte.
    byte: u32,
    /// Bits of that byte before it.
    before: u8,
    /// Its bits.
    pub(crate) width: u8,
    /// Whether it is in a word.
    word: bool,
}

impl Extent {
    pub(crate) fn of(field: &Field) -> Extent {
        let first = field.offset as usize;
        Extent { byte: field.offset / 8, before: (first % 8) as u8, width: field.width, word: in_a_word(first, field.width) }
    }

    /// Reads the field of a header that starts there, if it is in a word.
    #[inline(always)]
    pub(crate) fn word(self, bytes: &[u8], start: u32) -> Option<u64> {
        let word = bytes.get(start as usize + self.byte as usize..)?.first_chunk().filter(|_| self.word)?;
        Some(u64::from_be_bytes(*word) << self.before >> (64 - self.width))
    }

    /// Reads the field of a header that starts there.
    #[inline]
    pub(crate) fn get(self, bytes: &[u8], start: u32) -> Option<u128> {
        let first = (start as usize + self.byte as usize) * 8 + usize::from(self.before);
        self.word(bytes, start).map_or_else(|| get_bytes(bytes, first, self.width), |bits| Some(bits.into()))
    }

    /// Writes it, and nothing else. False if it is not inside.
    #[must_use]
    #[inline]
    pub(crate) fn set(self, bytes: &mut [u8], start: u32, value: u128) -> bool {
        let first = start as usize + self.byte as usize;
        match bytes.get_mut(first..).and_then(|rest| rest.first_chunk_mut()) {
            Some(word) if self.word => {
                *word = replaced(*word, self.before, self.width, value as u64);
                true
            }
            _ => set_bytes(bytes, first * 8 + usize::from(self.before), self.width, value & mask(self.width)),
        }
    }
}

/// A word with `width` bits, behind `before` others, replaced.
fn replaced(word: [u8; 8], before: u8, width: u8, value: u64) -> [u8; 8] {
    let behind = 64 - before - width;
    let ones = (u64::MAX >> (64 - width)) << behind;
    let others = u64::from_be_bytes(word) & !ones;
    (others | ((value << behind) & ones)).to_be_bytes()
}

/// Reads `width` bits (1 to 128) from bit `first` on, in network order.
#[inline(always)]
pub fn get_bits(bytes: &[u8], first: usize, width: u8) -> Option<u128> {
    // Most fields are in a machine word that is inside, which is much faster.
    match bytes.get(first / 8..)?.first_chunk() {
        Some(word) if in_a_word(first, width) => Some((u64::from_be_bytes(*word) << (first % 8) >> (64 - width)).into()),
        _ => get_bytes(bytes, first, width),
    }
}

/// Whether a field ends in the 8 bytes that begin with its first one.
#[inline]
fn in_a_word(first: usize, width: u8) -> bool {
    width > 0 && first % 8 + usize::from(width) <= 64
}

/// The same, byte by byte.
#[inline(never)]
fn get_bytes(bytes: &[u8], first: usize, width: u8) -> Option<u128> {
    let last = first + usize::from(width.checked_sub(1)?);
    let field = bytes.get(first / 8..=last / 8)?;
    let behind = 7 - last % 8;
    if field.len() <= 16 {
        let value = field.iter().fold(0, |value: u128, byte| (value << 8) | u128::from(*byte));
        return Some((value >> behind) & mask(width));
    }
    let (end, front) = field.split_last()?;
    let value = front.iter().fold(0, |value: u128, byte| (value << 8) | u128::from(*byte));
    Some(((value << (8 - behind)) | u128::from(end >> behind)) & mask(width))
}

/// Writes `width` bits (1 to 128) from bit `first` on, and nothing else. False if they are not inside.
#[must_use]
pub fn set_bits(bytes: &mut [u8], first: usize, width: u8, value: u128) -> bool {
    match bytes.get_mut(first / 8..).and_then(|rest| rest.first_chunk_mut()) {
        Some(word) if in_a_word(first, width) => {
            *word = replaced(*word, (first % 8) as u8, width, value as u64);
            true
        }
        _ => set_bytes(bytes, first, width, value & mask(width)),
    }
}

/// The same, byte by byte.
#[inline(never)]
fn set_bytes(bytes: &mut [u8], first: usize, width: u8, mut value: u128) -> bool {
    let Some(last) = width.checked_sub(1).map(|bits| first + usize::from(bits)) else { return false };
    let Some(field) = bytes.get_mut(first / 8..=last / 8) else { return false };
    let (mut behind, mut left) = (7 - last % 8, usize::from(width));
    // From the last byte to the first: how many bits of the byte belong to the field.
    for byte in field.iter_mut().rev() {
        let here = left.min(8 - behind);
        let ones = (mask(here as u8) as u8) << behind;
        *byte = (*byte & !ones) | (((value as u8) << behind) & ones);
        value >>= here;
        left -= here;
        behind = 0;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fields_are_in_network_bit_order() {
        let bytes = [0x45, 0x00, 0x12, 0x34];
        assert_eq!(get_bits(&bytes, 0, 4), Some(4));
        assert_eq!(get_bits(&bytes, 4, 4), Some(5));
        assert_eq!(get_bits(&bytes, 16, 16), Some(0x1234));
        assert_eq!(get_bits(&bytes, 20, 13), None);
        assert_eq!(get_bits(&bytes, 19, 13), Some(0x1234 & 0x1fff));
    }

    proptest! {
        #[test]
        fn a_field_is_written_and_read_and_nothing_else_changes(
            bytes in prop::collection::vec(any::<u8>(), 20..40),
            first in 0usize..200,
            width in 1u8..=128,
            value: u128,
        ) {
            let mut written = bytes.clone();
            let inside = first + usize::from(width) <= bytes.len() * 8;
            prop_assert_eq!(set_bits(&mut written, first, width, value), inside);
            if inside {
                prop_assert_eq!(get_bits(&written, first, width), Some(value & mask(width)));
            }
            for bit in 0..bytes.len() * 8 {
                if !inside || bit < first || bit >= first + usize::from(width) {
                    prop_assert_eq!(get_bits(&written, bit, 1), get_bits(&bytes, bit, 1));
                }
            }
        }
    }
}
