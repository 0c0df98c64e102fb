//! The concrete definition of hash functions, as documented at [`crate::ir::Hash`]. Every back end computes the same.

use super::value::mask;
use crate::ir::{Hash, Scalar};

/// The starting value: the 64-bit FNV-1a hash of the function's name.
pub fn seed(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Takes in one scalar: its 64-bit words, from the least significant.
pub fn feed(h: &mut u64, value: u128, ty: Scalar) {
    mix(h, value as u64);
    let wide = match ty {
        Scalar::Bool => false,
        Scalar::Bits(width) => width > 64,
        Scalar::Int => true,
    };
    if wide {
        mix(h, (value >> 64) as u64);
    }
}

/// The result, of `width` bits, after all scalars were fed.
pub fn finish(mut h: u64, width: u8) -> u128 {
    h = h.wrapping_mul(0xd6e8_feb8_6659_fd93);
    h ^= h >> 32;
    u128::from(h) & mask(width)
}

/// The hash function's value for these scalars, one per type in `args`.
pub fn hash(function: &Hash, args: &[u128]) -> u128 {
    let mut h = seed(&function.name);
    for (arg, ty) in args.iter().zip(&function.args) {
        feed(&mut h, *arg, *ty);
    }
    finish(h, function.width)
}

fn mix(h: &mut u64, word: u64) {
    *h = (*h ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    *h ^= *h >> 32;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(args: Vec<Scalar>, width: u8) -> Hash {
        Hash { name: "spread".into(), args, width }
    }

    #[test]
    fn the_seed_is_fnv_1a() {
        // Test vectors of draft-eastlake-fnv.
        assert_eq!(seed(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(seed("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(seed("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn it_follows_the_definition_word_by_word() {
        let wide = function(vec![Scalar::Bits(128), Scalar::Bits(16)], 64);
        let start = seed("spread");
        let mut h = start;
        for word in [2u64, 1, 7] {
            h = (h ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            h ^= h >> 32;
        }
        h = h.wrapping_mul(0xd6e8_feb8_6659_fd93);
        h ^= h >> 32;
        assert_eq!(hash(&wide, &[(1u128 << 64) | 2, 7]), u128::from(h));
    }

    #[test]
    fn the_result_is_the_low_bits() {
        let args = vec![Scalar::Bits(32)];
        let full = hash(&function(args.clone(), 64), &[9]);
        assert_eq!(hash(&function(args, 16), &[9]), full & 0xffff);
    }
}
