//! Scalars and the operators on them. Everything here is total: an operator that has no result is a [`Fault`], never a panic.

use crate::ir::{BinaryOp, Scalar, UnaryOp};

/// A scalar with its type. A mathematical integer is kept as an `i128`, bit by bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// The bits; those above the type's width are zero.
    pub bits: u128,
    /// The type.
    pub ty: Scalar,
}

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

impl Value {
    /// A boolean.
    pub fn bool(value: bool) -> Value {
        Value { bits: value.into(), ty: Scalar::Bool }
    }

    /// A bit string; bits above the width are cut off.
    pub fn bits(bits: u128, width: u8) -> Value {
        Value { bits: bits & mask(width), ty: Scalar::Bits(width) }
    }

    /// An integer.
    pub fn int(value: i128) -> Value {
        Value { bits: value as u128, ty: Scalar::Int }
    }

    /// Whether it is true (not zero).
    pub fn is_true(self) -> bool {
        self.bits != 0
    }
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

/// Zero-extends, truncates, or converts from or to an integer. An integer that does not fit is reduced modulo 2^width.
pub fn convert(value: Value, to: Scalar) -> Result<Value, Fault> {
    match (value.ty, to) {
        (Scalar::Int, Scalar::Int) => Ok(value),
        (_, Scalar::Int) => match i128::try_from(value.bits) {
            Ok(int) => Ok(Value::int(int)),
            Err(_) => Err(Fault::IntegerRange),
        },
        (_, Scalar::Bits(width)) => Ok(Value::bits(value.bits, width)),
        (_, Scalar::Bool) => Ok(Value::bool(value.bits & 1 == 1)),
    }
}

/// Applies an operator with one operand.
pub fn unary(op: UnaryOp, value: Value) -> Value {
    match (op, value.ty) {
        (UnaryOp::Not, _) => Value::bool(!value.is_true()),
        (UnaryOp::Complement, Scalar::Bits(width)) => Value::bits(!value.bits, width),
        (UnaryOp::Complement, Scalar::Bool) => Value::bool(!value.is_true()),
        (UnaryOp::Complement, Scalar::Int) => Value { bits: !value.bits, ty: Scalar::Int },
    }
}

/// Applies an operator with two operands. The type is that of the left one.
pub fn binary(op: BinaryOp, left: Value, right: Value) -> Result<Value, Fault> {
    let (a, b) = (left.bits, right.bits);
    match op {
        BinaryOp::Eq => return Ok(Value::bool(a == b)),
        BinaryOp::Ne => return Ok(Value::bool(a != b)),
        _ => {}
    }
    let width = match left.ty {
        Scalar::Int => return integer(op, a as i128, b as i128),
        Scalar::Bits(width) => width,
        Scalar::Bool => 1,
    };
    let most = mask(width);
    let bits = match op {
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
        BinaryOp::Lt => return Ok(Value::bool(a < b)),
        BinaryOp::Le => return Ok(Value::bool(a <= b)),
        BinaryOp::AddOverflows => return Ok(Value::bool(a.checked_add(b).is_none_or(|sum| sum > most))),
        BinaryOp::SubOverflows => return Ok(Value::bool(a < b)),
        BinaryOp::MulOverflows => return Ok(Value::bool(a.checked_mul(b).is_none_or(|product| product > most))),
        BinaryOp::Eq | BinaryOp::Ne => unreachable!("handled above"),
    };
    Ok(Value { bits, ty: left.ty })
}

/// The distance of a shift, if it is below 128.
fn shift(by: u128) -> Option<u32> {
    u32::try_from(by).ok().filter(|by| *by < 128)
}

/// Mathematical integers: exact, or a fault. Division rounds down; a saturating difference is at least zero.
fn integer(op: BinaryOp, a: i128, b: i128) -> Result<Value, Fault> {
    let result = match op {
        BinaryOp::Add | BinaryOp::SatAdd => a.checked_add(b),
        BinaryOp::Sub => a.checked_sub(b),
        BinaryOp::SatSub => a.checked_sub(b).map(|difference| difference.max(0)),
        BinaryOp::Mul => a.checked_mul(b),
        BinaryOp::Div if b == 0 => Some(0),
        BinaryOp::Div => floor_div(a, b),
        BinaryOp::Rem if b == 0 => Some(a),
        BinaryOp::Rem => floor_div(a, b).and_then(|quotient| a.checked_sub(quotient.checked_mul(b)?)),
        BinaryOp::And => Some(a & b),
        BinaryOp::Or => Some(a | b),
        BinaryOp::Xor => Some(a ^ b),
        BinaryOp::Shl => u32::try_from(b).ok().and_then(|by| 1i128.checked_shl(by)).and_then(|power| a.checked_mul(power)),
        BinaryOp::Shr => Some(a >> b.clamp(0, 127)),
        BinaryOp::Eq => return Ok(Value::bool(a == b)),
        BinaryOp::Ne => return Ok(Value::bool(a != b)),
        BinaryOp::Lt => return Ok(Value::bool(a < b)),
        BinaryOp::Le => return Ok(Value::bool(a <= b)),
        BinaryOp::AddOverflows | BinaryOp::SubOverflows | BinaryOp::MulOverflows => return Ok(Value::bool(false)),
    };
    result.map(Value::int).ok_or(Fault::IntegerRange)
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
        binary(op, Value::bits(a, width), Value::bits(b, width)).unwrap().bits
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
        let shifted = binary(BinaryOp::Shl, Value::bits(1, 32), Value::bits(5, 8)).unwrap();
        assert_eq!(shifted, Value::bits(32, 32));
    }

    #[test]
    fn integers_are_exact_or_a_fault() {
        let most = Value::int(i128::MAX);
        assert_eq!(binary(BinaryOp::Add, most, Value::int(1)), Err(Fault::IntegerRange));
        assert_eq!(binary(BinaryOp::Div, Value::int(-7), Value::int(2)), Ok(Value::int(-4)));
        assert_eq!(binary(BinaryOp::Rem, Value::int(-7), Value::int(2)), Ok(Value::int(1)));
        assert_eq!(binary(BinaryOp::Div, Value::int(i128::MIN), Value::int(-1)), Err(Fault::IntegerRange));
        assert_eq!(binary(BinaryOp::Rem, Value::int(i128::MIN), Value::int(-1)), Err(Fault::IntegerRange));
        assert_eq!(binary(BinaryOp::Lt, Value::int(-1), Value::int(0)), Ok(Value::bool(true)));
        assert_eq!(convert(Value::bits(u128::MAX, 128), Scalar::Int), Err(Fault::IntegerRange));
        assert_eq!(convert(Value::int(-1), Scalar::Bits(8)), Ok(Value::bits(255, 8)));
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
