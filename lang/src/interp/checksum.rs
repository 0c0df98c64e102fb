//! Internet checksums: full sums (RFC 1071), incremental updates (RFC 1624, equation 3) and UDP's rule for zero (RFC 768).

use super::packet::{self, Place};
use crate::ir::{Checksum, Header, HeaderId, Program};

/// A ones'-complement sum in the making. It never overflows: 2^48 words and more fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// Adds one 16-bit word.
    pub fn word(&mut self, word: u16) {
        self.0 += u64::from(word);
    }

    /// Adds bytes, in network order; an odd last byte is padded with zero on the right.
    pub fn bytes(&mut self, bytes: &[u8]) {
        let mut pairs = bytes.chunks_exact(2);
        for pair in &mut pairs {
            self.word(u16::from_be_bytes([pair[0], pair[1]]));
        }
        if let [last] = pairs.remainder() {
            self.word(u16::from_be_bytes([*last, 0]));
        }
    }

    /// Adds a number, split into 16-bit words from its least significant end after `shift` zero bits have been put behind it.
    pub fn number(&mut self, value: u128, shift: u8) {
        let shift = u32::from(shift % 16);
        self.word(((value << shift) & 0xffff) as u16);
        let rest = value >> (16 - shift);
        self.words(rest as u64);
        self.words((rest >> 64) as u64);
    }

    fn words(&mut self, mut words: u64) {
        while words != 0 {
            self.word(words as u16);
            words >>= 16;
        }
    }

    /// The same with all bits of the words that a field of `width` bits and `shift` bits behind it covers flipped.
    fn complement(&mut self, value: u128, width: u8, shift: u8) {
        // ~m over w words is w x 0xffff - m; as ones'-complement sums, -m alone is the same as adding each word's complement.
        let words = (u32::from(width) + u32::from(shift % 16)).div_ceil(16).max(1);
        let mut sum = Sum::default();
        sum.number(value, shift);
        self.0 += u64::from(words) * 0xffff - sum.0;
    }

    /// The sum, folded to 16 bits.
    pub fn fold(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }
}

/// A change of a field that a checksum covers: its value before and after, its width and the bits behind it up to the
/// next 16-bit boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Before.
    pub old: u128,
    /// After.
    pub new: u128,
    /// Bits of the field.
    pub width: u8,
    /// Bits behind it up to the next 16-bit boundary.
    pub shift: u8,
}

/// A checksum that is updated: `HC' = ~(~HC + sum(~m + m'))`.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    sum: Sum,
    optional: bool,
}

impl Update {
    /// Begins with a checksum as it is. None: it is an optional one and zero, and stays so.
    pub fn of(checksum: u16, optional: bool) -> Option<Update> {
        (!optional || checksum != 0).then_some(Update { sum: Sum((!checksum).into()), optional })
    }

    /// Takes a change in.
    pub fn change(&mut self, change: Changed) {
        self.sum.complement(change.old, change.width, change.shift);
        self.sum.number(change.new, change.shift);
    }

    /// The checksum after the changes. An optional one of zero is sent as 0xffff.
    pub fn checksum(self) -> u16 {
        match !self.sum.fold() {
            0 if self.optional => 0xffff,
            result => result,
        }
    }
}

/// The sum over all that a checksum covers. `enclosing` are the headers around this one, outermost first. `None` if the header
/// is not where it is said to be, or nothing around it makes a pseudo-header.
fn covered(
    program: &Program,
    bytes: &[u8],
    header: &Header,
    place: Place,
    checksum: &Checksum,
    enclosing: &[(HeaderId, Place)],
) -> Option<Sum> {
    let end = if checksum.body { place.end } else { place.start + place.length };
    let range = bytes.get(place.start as usize..end as usize)?;
    let mut sum = Sum::default();
    sum.bytes(range);
    // Field by field the sum counts the checksum's own word too; take it out by what it adds.
    let field = header.fields.get(checksum.field.index())?;
    let own = packet::get_bits(bytes, place.start as usize * 8 + field.offset as usize, field.width)?;
    sum.complement(own, field.width, 0);
    if !checksum.pseudo.is_empty() {
        let (pseudo, around) = enclosing
            .iter()
            .rev()
            .find_map(|(id, place)| checksum.pseudo.iter().find(|pseudo| pseudo.header == *id).map(|pseudo| (pseudo, *place)))?;
        let layout = program.headers.get(pseudo.header.index())?;
        let at = around.start as usize * 8;
        for id in &pseudo.fields {
            let field = layout.fields.get(id.index())?;
            sum.number(packet::get_bits(bytes, at + field.offset as usize, field.width)?, 0);
        }
        for word in &pseudo.constants {
            sum.word(*word);
        }
        sum.number(range.len() as u128, 0);
    }
    Some(sum)
}

/// The right value of a checksum field, as a sender computes it.
pub fn compute(
    program: &Program,
    bytes: &[u8],
    header: &Header,
    place: Place,
    checksum: &Checksum,
    enclosing: &[(HeaderId, Place)],
) -> Option<u16> {
    let sum = covered(program, bytes, header, place, checksum, enclosing)?;
    Some(match !sum.fold() {
        0 if checksum.optional => 0xffff,
        value => value,
    })
}

/// Whether a checksum field is right, as a receiver checks it: all that it covers, itself included, adds up to 0xffff.
pub fn valid(
    program: &Program,
    bytes: &[u8],
    header: &Header,
    place: Place,
    checksum: &Checksum,
    enclosing: &[(HeaderId, Place)],
) -> Option<bool> {
    let field = header.fields.get(checksum.field.index())?;
    let own = packet::get_bits(bytes, place.start as usize * 8 + field.offset as usize, field.width)?;
    if checksum.optional && own == 0 {
        return Some(true);
    }
    let mut sum = covered(program, bytes, header, place, checksum, enclosing)?;
    sum.number(own, 0);
    Some(sum.fold() == 0xffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn full(bytes: &[u8]) -> u16 {
        let mut sum = Sum::default();
        sum.bytes(bytes);
        !sum.fold()
    }

    fn updated(checksum: u16, optional: bool, change: Changed) -> u16 {
        let Some(mut update) = Update::of(checksum, optional) else { return checksum };
        update.change(change);
        update.checksum()
    }

    #[test]
    fn the_example_of_rfc_1071_adds_up() {
        let mut sum = Sum::default();
        sum.bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.fold(), 0xddf2);
    }

    #[test]
    fn the_example_of_rfc_1624_comes_out_zero() {
        // HC = 0xdd2f, m = 0x5555, m' = 0x3285: equation 3 gives 0x0000.
        let change = Changed { old: 0x5555, new: 0x3285, width: 16, shift: 0 };
        assert_eq!(updated(0xdd2f, false, change), 0x0000);
        assert_eq!(updated(0xdd2f, true, change), 0xffff);
    }

    #[test]
    fn an_optional_checksum_of_zero_stays_zero() {
        let change = Changed { old: 1, new: 2, width: 16, shift: 0 };
        assert_eq!(updated(0, true, change), 0);
    }

    proptest! {
        #[test]
        fn an_incremental_update_equals_full_recomputation(
            mut bytes in prop::collection::vec(any::<u8>(), 40..80),
            first in 0usize..64,
            width in 1u8..=128,
            new: u128,
        ) {
            // Bytes 36.. are never covered by the field, and not all zero: the sum of the rest is never zero, so that
            // the two representations of zero cannot be told apart by chance.
            bytes[38] = 1;
            bytes.truncate(bytes.len() & !1);
            let last = first + usize::from(width);
            let shift = (16 - last % 16) % 16;
            let before = full(&bytes);
            let old = packet::get_bits(&bytes, first, width).unwrap();
            let new = new & super::super::value::mask(width);
            prop_assert!(packet::set_bits(&mut bytes, first, width, new));
            let change = Changed { old, new, width, shift: shift as u8 };
            prop_assert_eq!(updated(before, false, change), full(&bytes));
        }
    }
}
