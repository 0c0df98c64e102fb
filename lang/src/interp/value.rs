//! Scalars and the operators on them. Everything here is total: an operator that has no result is a [`Fault`], never a panic.

use crate::ir::{BinaryOp, Scalar, UnaryOp};

/// Why an expression has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// An integer of a specification does not fit the interpreter's 128 bits.
    #[error("an integer leaves the range of 128 bits")]
    IntegerRange,
    /// A header is used that was neither found nor made.
    #[error("a header is used before it was found")]
    NoHeader,
    /// A packet variable is used that no packet was bound to.
    #[error("a packet is used before it arrived")]
    NoPacket,
    /// The IR names something that does not exist; a validated program never does.
    #[error("the program is not well formed: {0}")]
    Malformed(&'static str),
}

/// Ones in the lowest `width` bits.
pub fn mask(width: u8) -> u128 {
    if width >= 128 { u128::MAX } else { (1 << width) - 1 }
}

/// Whether `bits` is a value of the type.
pub fn fits(bits: u128, ty: Scalar) -> bool {
    match ty {
        Scalar::Bool => bits <= 1,
        Scalar::Bits(width) => bits <= mask(width),
        Scalar::Int => true,
    }
}

/// Bits as an integer, if it fits.
pub fn exact(bits: u128) -> Result<u128, Fault> {
    if i128::try_from(bits).is_ok() { Ok(bits) } else { Err(Fault::IntegerRange) }
}

/// Applies an operator to an operand of that type.
pub fn unary(op: UnaryOp, bits: u128, ty: Scalar) -> u128 {
    match (op, ty) {
        (UnaryOp::Not, _) | (UnaryOp::Complement, Scalar::Bool) => (bits == 0).into(),
        (UnaryOp::Complement, Scalar::Bits(width)) => !bits & mask(width),
        (UnaryOp::Complement, Scalar::Int) => !bits,
    }
}

/// Applies an operator to two operands, of which the left one is of that type.
#[inline]
pub fn binary(op: BinaryOp, a: u128, b: u128, ty: Scalar) -> Result<u128, Fault> {
    match ty {
        Scalar::Int => integer(op, a, b),
        Scalar::Bits(width) => Ok(of_bits(op, a, b, width)),
        Scalar::Bool => Ok(of_bits(op, a, b, 1)),
    }
}

/// The same on bits of that width.
#[inline]
pub fn of_bits(op: BinaryOp, a: u128, b: u128, width: u8) -> u128 {
    let most = mask(width);
    match op {
        BinaryOp::Add => a.wrapping_add(b) & most,
        BinaryOp::Sub => a.wrapping_sub(b) & most,
        BinaryOp::Mul => a.wrapping_mul(b) & most,
        BinaryOp::Div => a.checked_div(b).unwrap_or(0),
        BinaryOp::Rem => a.checked_rem(b).unwrap_or(a),
        BinaryOp::SatAdd => a.saturating_add(b).min(most),
        BinaryOp::SatSub => a.saturating_sub(b),
        BinaryOp::And => a & b,
        BinaryOp::Or => a | b,
        BinaryOp::Xor => a ^ b,
        BinaryOp::Shl => shift(b).map_or(0, |by| a << by) & most,
        BinaryOp::Shr => shift(b).map_or(0, |by| a >> by),
        BinaryOp::Eq => (a == b).into(),
        BinaryOp::Ne => (a != b).into(),
        BinaryOp::Lt => (a < b).into(),
        BinaryOp::Le => (a <= b).into(),
        BinaryOp::AddOverflows => a.checked_add(b).is_none_or(|sum| sum > most).into(),
        BinaryOp::SubOverflows => (a < b).into(),
        BinaryOp::MulOverflows => a.checked_mul(b).is_none_or(|product| product > most).into(),
    }
}

/// The distance of a shift, if it is below 128.
fn shift(by: u128) -> Option<u32> {
    u32::try_from(by).ok().filter(|by| *by < 128)
}

/// Mathematical integers: exact, or a fault. Division rounds down; a saturating difference is at least zero.
pub fn integer(op: BinaryOp, a: u128, b: u128) -> Result<u128, Fault> {
    let (a, b) = (a as i128, b as i128);
    let result = match op {
        BinaryOp::Add | BinaryOp::SatAdd => a.checked_add(b),
        BinaryOp::Sub => a.checked_sub(b),
        BinaryOp::SatSub => a.checked_sub(b).map(|difference| difference.max(0)),
        BinaryOp::Mul => product(a, b),
        BinaryOp::Div if b == 0 => Some(0),
        BinaryOp::Div => floor_div(a, b),
        BinaryOp::Rem if b == 0 => Some(a),
        BinaryOp::Rem => floor_div(a, b).and_then(|quotient| a.checked_sub(quotient.checked_mul(b)?)),
        BinaryOp::And => Some(a & b),
        BinaryOp::Or => Some(a | b),
        BinaryOp::Xor => Some(a ^ b),
        BinaryOp::Shl => u32::try_from(b).ok().and_then(|by| 1i128.checked_shl(by)).and_then(|power| a.checked_mul(power)),
        BinaryOp::Shr => Some(a >> b.clamp(0, 127)),
        BinaryOp::Eq => Some((a == b).into()),
        BinaryOp::Ne => Some((a != b).into()),
        BinaryOp::Lt => Some((a < b).into()),
        BinaryOp::Le => Some((a <= b).into()),
        BinaryOp::AddOverflows | BinaryOp::SubOverflows | BinaryOp::MulOverflows => Some(0),
    };
    result.map(|bits| bits as u128).ok_or(Fault::IntegerRange)
}

/// The product. Lengths and the like are small, and then it is much faster.
fn product(a: i128, b: i128) -> Option<i128> {
    match (i32::try_from(a), i32::try_from(b)) {
        (Ok(a), Ok(b)) => Some((i64::from(a) * i64::from(b)).into()),
        _ => a.checked_mul(b),
    }
}

/// The quotient, rounded down; `b` is not zero.
fn floor_div(a: i128, b: i128) -> Option<i128> {
    let quotient = a.checked_div(b)?;
    Some(if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bits(op: BinaryOp, a: u128, b: u128, width: u8) -> u128 {
        binary(op, a, b, Scalar::Bits(width)).unwrap()
    }

    #[test]
    fn arithmetic_on_bits_is_modulo_two_to_the_width() {
        assert_eq!(bits(BinaryOp::Add, 255, 1, 8), 0);
        assert_eq!(bits(BinaryOp::Sub, 0, 1, 128), u128::MAX);
        assert_eq!(bits(BinaryOp::Mul, 1 << 127, 2, 128), 0);
        assert_eq!(bits(BinaryOp::SatAdd, 250, 10, 8), 255);
        assert_eq!(bits(BinaryOp::SatAdd, u128::MAX, 10, 128), u128::MAX);
        assert_eq!(bits(BinaryOp::SatSub, 3, 10, 8), 0);
        assert_eq!(bits(BinaryOp::Div, 7, 0, 8), 0);
        assert_eq!(bits(BinaryOp::Rem, 7, 0, 8), 7);
        assert_eq!(bits(BinaryOp::Shl, 1, 8, 8), 0);
        assert_eq!(bits(BinaryOp::Shl, 1, 127, 128), 1 << 127);
        assert_eq!(bits(BinaryOp::Shr, u128::MAX, 128, 128), 0);
    }

    #[test]
    fn a_shift_takes_its_distance_in_another_width() {
        assert_eq!(binary(BinaryOp::Shl, 1, 5, Scalar::Bits(32)), Ok(32));
    }

    #[test]
    fn integers_are_exact_or_a_fault() {
        let int = |op, a: i128, b: i128| binary(op, a as u128, b as u128, Scalar::Int).map(|bits| bits as i128);
        assert_eq!(int(BinaryOp::Add, i128::MAX, 1), Err(Fault::IntegerRange));
        assert_eq!(int(BinaryOp::Div, -7, 2), Ok(-4));
        assert_eq!(int(BinaryOp::Rem, -7, 2), Ok(1));
        assert_eq!(int(BinaryOp::Div, i128::MIN, -1), Err(Fault::IntegerRange));
        assert_eq!(int(BinaryOp::Rem, i128::MIN, -1), Err(Fault::IntegerRange));
        assert_eq!(int(BinaryOp::Lt, -1, 0), Ok(1));
        assert_eq!(exact(u128::MAX), Err(Fault::IntegerRange));
        assert_eq!(exact(7), Ok(7));
    }

    proptest! {
        #[test]
        fn sixteen_bits_agree_with_u16(a: u16, b: u16) {
            let run = |op| bits(op, a.into(), b.into(), 16);
            prop_assert_eq!(run(BinaryOp::Add), u128::from(a.wrapping_add(b)));
            prop_assert_eq!(run(BinaryOp::Mul), u128::from(a.wrapping_mul(b)));
            prop_assert_eq!(run(BinaryOp::SatSub), u128::from(a.saturating_sub(b)));
            prop_assert_eq!(run(BinaryOp::AddOverflows), u128::from(a.checked_add(b).is_none()));
            prop_assert_eq!(run(BinaryOp::SubOverflows), u128::from(a.checked_sub(b).is_none()));
            prop_assert_eq!(run(BinaryOp::MulOverflows), u128::from(a.checked_mul(b).is_none()));
            prop_assert_eq!(run(BinaryOp::Le), u128::from(a <= b));
        }
    }
}
