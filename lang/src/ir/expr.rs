//! Expressions: pure, over scalars.

use super::{FieldId, HandleId, HashId, LocalId, PacketId, ParamId, Scalar};
use serde::Serialize;

/// A pure expression over scalars.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Expr {
    /// A constant.
    Const(u128, Scalar),
    /// A variable.
    Local(LocalId),
    /// A scalar of a parameter of the box.
    Param(ParamId, u32),
    /// A field of a header.
    Field(HandleId, FieldId),
    /// In a header's own declaration: one of its fields.
    Own(FieldId),
    /// Bytes of a header, its variable part included, 16 bits.
    HeaderLength(HandleId),
    /// Bytes of the whole frame, 16 bits.
    PacketLength(PacketId),
    /// The step's time, 64 bits of nanoseconds.
    Now,
    /// One operand.
    Unary(UnaryOp, Box<Expr>),
    /// Two operands.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// Zero-extends, truncates, or converts from or to [`Scalar::Int`].
    Convert(Box<Expr>, Scalar),
    /// `if c { a } else { b }`.
    Select(Box<Expr>, Box<Expr>, Box<Expr>),
    /// A hash function's value.
    Hash(HashId, Vec<Expr>),
}

/// Operators with one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum UnaryOp {
    /// Boolean not.
    Not,
    /// All bits flipped.
    Complement,
}

/// Operators with two operands. Both have one type but where said. Arithmetic on bits is modulo 2^width: that it does not
/// overflow is a [`super::StmtKind::Check`] of its own. On [`Scalar::Int`] it is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum BinaryOp {
    /// Sum.
    Add,
    /// Difference.
    Sub,
    /// Product.
    Mul,
    /// Quotient, rounded down. By zero: 0 (the divisor was checked).
    Div,
    /// Remainder. By zero: the dividend.
    Rem,
    /// Sum, at most the greatest value.
    SatAdd,
    /// Difference, at least 0.
    SatSub,
    /// Bits in both; on booleans, and (both sides are evaluated).
    And,
    /// Bits in one; on booleans, or.
    Or,
    /// Bits in exactly one; on booleans, not equal.
    Xor,
    /// Shifted left; by the width or more: 0. The right side may have another width.
    Shl,
    /// Shifted right; by the width or more: 0. The right side may have another width.
    Shr,
    /// Equal. Boolean.
    Eq,
    /// Not equal. Boolean.
    Ne,
    /// Less. Boolean.
    Lt,
    /// Less or equal. Boolean.
    Le,
    /// Whether the sum does not fit the width. Boolean.
    AddOverflows,
    /// Whether the difference is below zero. Boolean.
    SubOverflows,
    /// Whether the product does not fit the width. Boolean.
    MulOverflows,
}

impl BinaryOp {
    /// Whether the result is a boolean, whatever the operands are.
    pub fn compares(self) -> bool {
        use BinaryOp::{AddOverflows, Eq, Le, Lt, MulOverflows, Ne, SubOverflows};
        matches!(self, Eq | Ne | Lt | Le | AddOverflows | SubOverflows | MulOverflows)
    }
}
