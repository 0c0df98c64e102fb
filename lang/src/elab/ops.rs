//! Building expressions: constants are folded, what is known is not written.

use super::types::{bits, max_value};
use crate::ir::{BinaryOp, Expr, HandleId, Scalar, UnaryOp};

/// True.
pub(crate) const TRUE: Expr = Expr::Const(1, Scalar::Bool);
/// False.
pub(crate) const FALSE: Expr = Expr::Const(0, Scalar::Bool);

/// `a and b`
pub(crate) fn and(a: Expr, b: Expr) -> Expr {
    match (a, b) {
        (TRUE, e) | (e, TRUE) => e,
        (FALSE, _) | (_, FALSE) => FALSE,
        (a, b) => Expr::Binary(BinaryOp::And, Box::new(a), Box::new(b)),
    }
}

/// `a or b`
pub(crate) fn or(a: Expr, b: Expr) -> Expr {
    match (a, b) {
        (FALSE, e) | (e, FALSE) => e,
        (TRUE, _) | (_, TRUE) => TRUE,
        (a, b) => Expr::Binary(BinaryOp::Or, Box::new(a), Box::new(b)),
    }
}

/// `not a`
pub(crate) fn not(a: Expr) -> Expr {
    match a {
        TRUE => FALSE,
        FALSE => TRUE,
        Expr::Unary(UnaryOp::Not, inner) => *inner,
        a => Expr::Unary(UnaryOp::Not, Box::new(a)),
    }
}

/// `a op b`, of scalars of type `ty`.
pub(crate) fn binary(op: BinaryOp, a: Expr, b: Expr, ty: Scalar) -> Expr {
    if let (Expr::Const(x, _), Expr::Const(y, _)) = (&a, &b)
        && let Some(folded) = fold(op, *x, *y, ty)
    {
        return folded;
    }
    Expr::Binary(op, Box::new(a), Box::new(b))
}

/// `a == b`
pub(crate) fn eq(a: Expr, b: Expr, ty: Scalar) -> Expr {
    binary(BinaryOp::Eq, a, b, ty)
}

/// The value of an operation on constants. Mathematical integers are held as two's complement of 128 bits here.
fn fold(op: BinaryOp, x: u128, y: u128, ty: Scalar) -> Option<Expr> {
    use BinaryOp::*;
    let truth = |b: bool| Some(if b { TRUE } else { FALSE });
    let Some(width) = bits(ty) else {
        let (a, b) = (x as i128, y as i128);
        let value = |v: Option<i128>| v.map(|v| Expr::Const(v as u128, Scalar::Int));
        return match op {
            Add => value(a.checked_add(b)),
            Sub => value(a.checked_sub(b)),
            Mul => value(a.checked_mul(b)),
            Div => value(a.checked_div_euclid(b)),
            Rem => value(a.checked_rem_euclid(b)),
            Eq => truth(a == b),
            Ne => truth(a != b),
            Lt => truth(a < b),
            Le => truth(a <= b),
            _ => None,
        };
    };
    let max = max_value(width);
    let value = |v: u128| Some(Expr::Const(v & max, ty));
    match op {
        Add => value(x.wrapping_add(y)),
        Sub => value(x.wrapping_sub(y)),
        Mul => value(x.wrapping_mul(y)),
        Div => value(x.checked_div(y).unwrap_or(0)),
        Rem => value(x.checked_rem(y).unwrap_or(x)),
        SatAdd => value(x.saturating_add(y).min(max)),
        SatSub => value(x.saturating_sub(y)),
        And => value(x & y),
        Or => value(x | y),
        Xor => value(x ^ y),
        Shl => value(if y >= u128::from(width) { 0 } else { x << y }),
        Shr => value(if y >= u128::from(width) { 0 } else { x >> y }),
        Eq => truth(x == y),
        Ne => truth(x != y),
        Lt => truth(x < y),
        Le => truth(x <= y),
        AddOverflows => truth(x.checked_add(y).is_none_or(|v| v > max)),
        SubOverflows => truth(x < y),
        MulOverflows => truth(x.checked_mul(y).is_none_or(|v| v > max)),
    }
}

/// Converts a scalar to another type.
pub(crate) fn convert(e: Expr, from: Scalar, to: Scalar) -> Expr {
    if from == to {
        return e;
    }
    if let Expr::Const(v, _) = e {
        return match bits(to) {
            Some(width) => Expr::Const(v & max_value(width), to),
            None => Expr::Const(v, Scalar::Int),
        };
    }
    Expr::Convert(Box::new(e), to)
}

/// An expression over the fields of one header, with those of the header at `handle`.
pub(crate) fn at(e: &Expr, handle: HandleId) -> Expr {
    let inner = |e: &Expr| Box::new(at(e, handle));
    match e {
        Expr::Field(_, field) => Expr::Field(handle, *field),
        Expr::HeaderLength(_) => Expr::HeaderLength(handle),
        Expr::Unary(op, a) => Expr::Unary(*op, inner(a)),
        Expr::Binary(op, a, b) => Expr::Binary(*op, inner(a), inner(b)),
        Expr::Convert(a, to) => Expr::Convert(inner(a), *to),
        Expr::Select(a, b, c) => Expr::Select(inner(a), inner(b), inner(c)),
        Expr::Hash(hash, args) => Expr::Hash(*hash, args.iter().map(|a| at(a, handle)).collect()),
        Expr::Const(..) | Expr::Local(_) | Expr::Param(..) | Expr::Own(_) | Expr::PacketLength(_) | Expr::Now => e.clone(),
    }
}

/// The value of a constant expression.
pub(crate) fn constant(e: &Expr) -> Option<u128> {
    match e {
        Expr::Const(v, _) => Some(*v),
        _ => None,
    }
}
