//! Symbolic scalars: each value of the core IR as a term. A bit string is a bit-vector, or, if it is a time, an integer that is
//! known to fit: solvers find times as integers a hundred times easier. An integer of a specification is a bit-vector that is
//! wide enough for every value it can have, as long as that is known; and an integer otherwise.

use crate::term::{Node, Op, Sort, Term, Terms};
use grv_lang::ir::{BinaryOp, Scalar, UnaryOp};

/// A scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sym {
    /// A truth value.
    Bool(Term),
    /// A bit string as a bit-vector.
    Bits(Term),
    /// A bit string of `width` bits as an integer from 0 to `high`.
    Nat {
        /// The integer.
        term: Term,
        /// Bits of its type.
        width: u8,
        /// It is not greater.
        high: u128,
    },
    /// An integer as a signed bit-vector; it is from `low` to `high`.
    Small {
        /// The bit-vector.
        term: Term,
        /// It is not less.
        low: i128,
        /// It is not greater.
        high: i128,
    },
    /// An integer.
    Int(Term),
}

impl Sym {
    /// Its term.
    pub(crate) fn term(self) -> Term {
        match self {
            Sym::Bool(term) | Sym::Bits(term) | Sym::Int(term) | Sym::Nat { term, .. } | Sym::Small { term, .. } => term,
        }
    }
}

/// The greatest value of a width.
pub(crate) fn most(width: u8) -> u128 {
    if width >= 128 { u128::MAX } else { (1 << width) - 1 }
}

/// Bits that a signed bit-vector needs for all of `low..=high`.
pub(crate) fn needed(low: i128, high: i128) -> u8 {
    let magnitude = |v: i128| 128 - (if v < 0 { !v } else { v }).leading_zeros() as u8;
    1 + magnitude(low).max(magnitude(high))
}

/// Operators on symbolic scalars, as the interpreter has them.
impl Terms {
    /// All zero.
    pub(crate) fn zero(&mut self, ty: Scalar) -> Sym {
        self.constant(0, ty)
    }

    /// A constant; an integer is the bits of an `i128`.
    pub(crate) fn constant(&mut self, bits: u128, ty: Scalar) -> Sym {
        match ty {
            Scalar::Bool => Sym::Bool(self.bool(bits != 0)),
            Scalar::Bits(width) => Sym::Bits(self.bits(bits, width)),
            Scalar::Int => self.small_constant(bits as i128),
        }
    }

    fn small_constant(&mut self, value: i128) -> Sym {
        let width = needed(value, value);
        if width > 120 {
            return Sym::Int(self.int(value));
        }
        Sym::Small { term: self.bits(value as u128, width), low: value, high: value }
    }

    /// A truth value; numbers are true if they are not zero.
    pub(crate) fn truth(&mut self, value: Sym) -> Term {
        match value {
            Sym::Bool(term) => term,
            other => {
                let zero = match other {
                    Sym::Bits(term) => {
                        let Sort::Bits(width) = self.sort(term) else { unreachable!("a bit-vector") };
                        Sym::Bits(self.bits(0, width))
                    }
                    Sym::Nat { width, .. } => Sym::Bits(self.bits(0, width)),
                    _ => self.small_constant(0),
                };
                let equal = self.equal(other, zero);
                self.not(equal)
            }
        }
    }

    /// As a bit-vector.
    pub(crate) fn as_vector(&mut self, value: Sym) -> Term {
        match value {
            Sym::Bits(term) => term,
            Sym::Nat { term, width, .. } => self.to_bits(term, width),
            Sym::Bool(term) => {
                let (one, zero) = (self.bits(1, 1), self.bits(0, 1));
                self.ite(term, one, zero)
            }
            Sym::Small { term, .. } => term,
            Sym::Int(term) => self.to_bits(term, 128),
        }
    }

    /// As an integer term.
    pub(crate) fn as_integer(&mut self, value: Sym) -> Term {
        match value {
            Sym::Bits(term) => self.to_int(term),
            Sym::Nat { term, .. } | Sym::Int(term) => term,
            Sym::Bool(term) => {
                let (one, zero) = (self.int(1), self.int(0));
                self.ite(term, one, zero)
            }
            Sym::Small { term, low, high } => {
                if low == high {
                    return self.int(low);
                }
                self.exact(term, low >= 0)
            }
        }
    }

    /// The integer that a bit-vector of [`Sym::Small`] stands for: its operations are exact, so that they are those of integers.
    fn exact(&mut self, term: Term, natural: bool) -> Term {
        let Sort::Bits(width) = self.sort(term) else { unreachable!("a bit-vector") };
        match *self.node(term) {
            Node::Bits(_, bits) => {
                let unused = 128 - u32::from(width);
                self.int((bits << unused) as i128 >> unused)
            }
            Node::ZeroExtend(_, inner) => self.to_int(inner),
            Node::SignExtend(_, inner) => self.exact(inner, natural),
            Node::Ite(c, a, b) => {
                let (a, b) = (self.exact(a, natural), self.exact(b, natural));
                self.ite(c, a, b)
            }
            Node::Op(op @ (Op::Add | Op::Sub | Op::Mul), a, b) => {
                let (a, b) = (self.exact(a, false), self.exact(b, false));
                let op = match op {
                    Op::Add => Op::IntAdd,
                    Op::Sub => Op::IntSub,
                    _ => Op::IntMul,
                };
                self.op(op, a, b)
            }
            _ => {
                let unsigned = self.to_int(term);
                if natural {
                    return unsigned;
                }
                let (zero, span) = (self.bits(0, width), self.int(1i128 << width));
                let negative = self.op(Op::Slt, term, zero);
                let below = self.op(Op::IntSub, unsigned, span);
                self.ite(negative, below, unsigned)
            }
        }
    }

    /// As a `Nat`, of a bit string.
    fn as_nat(&mut self, value: Sym) -> (Term, u8, u128) {
        match value {
            Sym::Nat { term, width, high } => (term, width, high),
            Sym::Bits(term) => {
                let Sort::Bits(width) = self.sort(term) else { unreachable!("a bit-vector") };
                let high = self.as_bits(term).unwrap_or(most(width));
                (self.to_int(term), width, high)
            }
            other => {
                let term = self.as_integer(other);
                (term, 128, u128::MAX)
            }
        }
    }

    /// Two signed bit-vectors at one width.
    fn widened(&mut self, a: Term, b: Term, width: u8) -> (Term, Term) {
        let fit = |terms: &mut Terms, t: Term| match terms.sort(t) {
            Sort::Bits(from) if from > width => terms.extract(t, 0, width),
            _ => terms.sign_extend(t, width),
        };
        (fit(self, a), fit(self, b))
    }

    /// Two values of one type as terms of one sort.
    fn aligned(&mut self, a: Sym, b: Sym) -> (Term, Term) {
        match (a, b) {
            (Sym::Bool(x), Sym::Bool(y)) | (Sym::Bits(x), Sym::Bits(y)) | (Sym::Int(x), Sym::Int(y)) => (x, y),
            (Sym::Small { term: x, low: l1, high: h1 }, Sym::Small { term: y, low: l2, high: h2 }) => {
                self.widened(x, y, needed(l1.min(l2), h1.max(h2)))
            }
            _ => (self.as_integer(a), self.as_integer(b)),
        }
    }

    /// Whether two values of one type are equal.
    pub(crate) fn equal(&mut self, a: Sym, b: Sym) -> Term {
        let (x, y) = self.aligned(a, b);
        self.eq(x, y)
    }

    /// Whether all are equal, pair by pair.
    pub(crate) fn all_equal(&mut self, a: &[Sym], b: &[Sym]) -> Term {
        let parts: Vec<Term> = a.iter().zip(b).map(|(a, b)| self.equal(*a, *b)).collect();
        self.and(&parts)
    }

    /// `if c then a else b`, of one type.
    pub(crate) fn select(&mut self, c: Term, a: Sym, b: Sym) -> Sym {
        if a == b {
            return a;
        }
        match self.as_bool(c) {
            Some(true) => return a,
            Some(false) => return b,
            None => {}
        }
        match (a, b) {
            (Sym::Bool(x), Sym::Bool(y)) => Sym::Bool(self.ite(c, x, y)),
            (Sym::Bits(x), Sym::Bits(y)) => Sym::Bits(self.ite(c, x, y)),
            (Sym::Nat { .. }, _) | (_, Sym::Nat { .. }) => {
                let ((x, width, h1), (y, _, h2)) = (self.as_nat(a), self.as_nat(b));
                Sym::Nat { term: self.ite(c, x, y), width, high: h1.max(h2) }
            }
            (Sym::Small { low: l1, high: h1, .. }, Sym::Small { low: l2, high: h2, .. }) => {
                let (x, y) = self.aligned(a, b);
                Sym::Small { term: self.ite(c, x, y), low: l1.min(l2), high: h1.max(h2) }
            }
            _ => {
                let (x, y) = (self.as_integer(a), self.as_integer(b));
                Sym::Int(self.ite(c, x, y))
            }
        }
    }

    /// An operator with one operand.
    pub(crate) fn unary(&mut self, op: UnaryOp, value: Sym) -> Sym {
        match (op, value) {
            (UnaryOp::Not, value) => {
                let truth = self.truth(value);
                Sym::Bool(self.not(truth))
            }
            (UnaryOp::Complement, Sym::Bool(term)) => Sym::Bool(self.not(term)),
            (UnaryOp::Complement, Sym::Bits(term)) => Sym::Bits(self.complement(term)),
            (UnaryOp::Complement, Sym::Nat { term, width, .. }) => {
                let most_ = self.natural(most(width));
                Sym::Nat { term: self.op(Op::IntSub, most_, term), width, high: most(width) }
            }
            // -1 - x.
            (UnaryOp::Complement, other) => {
                let minus = self.small_constant(-1);
                self.integer(BinaryOp::Sub, minus, other)
            }
        }
    }

    fn natural(&mut self, value: u128) -> Term {
        match i128::try_from(value) {
            Ok(value) => self.int(value),
            Err(_) => {
                let bits = self.bits(value, 128);
                self.to_int(bits)
            }
        }
    }

    /// An operator with two operands. The type is that of the left one.
    pub(crate) fn binary(&mut self, op: BinaryOp, a: Sym, b: Sym) -> Sym {
        match op {
            BinaryOp::Eq => return Sym::Bool(self.equal(a, b)),
            BinaryOp::Ne => {
                let equal = self.equal(a, b);
                return Sym::Bool(self.not(equal));
            }
            _ => {}
        }
        match (a, b) {
            (Sym::Bool(x), Sym::Bool(y)) => self.boolean(op, x, y),
            (Sym::Small { .. } | Sym::Int(_), _) => self.integer(op, a, b),
            (Sym::Bits(x), Sym::Bits(y)) => self.vector(op, x, y),
            _ => match op {
                BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Shl | BinaryOp::Shr => {
                    let (x, y) = (self.as_vector(a), self.as_vector(b));
                    self.vector(op, x, y)
                }
                _ => self.nat(op, a, b),
            },
        }
    }

    fn boolean(&mut self, op: BinaryOp, x: Term, y: Term) -> Sym {
        let not_x = self.not(x);
        Sym::Bool(match op {
            BinaryOp::And | BinaryOp::Mul => self.and(&[x, y]),
            BinaryOp::Or | BinaryOp::SatAdd => self.or(&[x, y]),
            BinaryOp::Xor | BinaryOp::Add | BinaryOp::Sub => {
                let same = self.eq(x, y);
                self.not(same)
            }
            BinaryOp::Lt | BinaryOp::SubOverflows => self.and(&[not_x, y]),
            BinaryOp::Le => self.implies(x, y),
            BinaryOp::AddOverflows => self.and(&[x, y]),
            BinaryOp::MulOverflows => self.bool(false),
            BinaryOp::Div => self.and(&[x, y]),
            BinaryOp::SatSub | BinaryOp::Rem | BinaryOp::Shl | BinaryOp::Shr => {
                let not_y = self.not(y);
                self.and(&[x, not_y])
            }
            BinaryOp::Eq | BinaryOp::Ne => unreachable!("handled before"),
        })
    }

    fn vector(&mut self, op: BinaryOp, x: Term, y: Term) -> Sym {
        let Sort::Bits(width) = self.sort(x) else { unreachable!("a bit-vector") };
        let Sort::Bits(other) = self.sort(y) else { unreachable!("a bit-vector") };
        let zero = self.bits(0, width);
        Sym::Bits(match op {
            BinaryOp::Add => self.op(Op::Add, x, y),
            BinaryOp::Sub => self.op(Op::Sub, x, y),
            BinaryOp::Mul => self.op(Op::Mul, x, y),
            BinaryOp::Div | BinaryOp::Rem => {
                let by_zero = self.eq(y, zero);
                let one = self.bits(1, width);
                let divisor = self.ite(by_zero, one, y);
                let (op, instead) = if op == BinaryOp::Div { (Op::Div, zero) } else { (Op::Rem, x) };
                let result = self.op(op, x, divisor);
                self.ite(by_zero, instead, result)
            }
            BinaryOp::SatAdd => {
                let sum = self.op(Op::Add, x, y);
                let over = self.op(Op::Ult, sum, x);
                let greatest = self.bits(u128::MAX, width);
                self.ite(over, greatest, sum)
            }
            BinaryOp::SatSub => {
                let under = self.op(Op::Ult, x, y);
                let difference = self.op(Op::Sub, x, y);
                self.ite(under, zero, difference)
            }
            BinaryOp::And => self.op(Op::And, x, y),
            BinaryOp::Or => self.op(Op::Or, x, y),
            BinaryOp::Xor => self.op(Op::Xor, x, y),
            BinaryOp::Shl | BinaryOp::Shr => {
                let op = if op == BinaryOp::Shl { Op::Shl } else { Op::Shr };
                if other <= width {
                    let by = self.zero_extend(y, width);
                    return Sym::Bits(self.op(op, x, by));
                }
                let limit = self.bits(width.into(), other);
                let inside = self.op(Op::Ult, y, limit);
                let by = self.extract(y, 0, width);
                let shifted = self.op(op, x, by);
                self.ite(inside, shifted, zero)
            }
            BinaryOp::Lt | BinaryOp::SubOverflows => return Sym::Bool(self.op(Op::Ult, x, y)),
            BinaryOp::Le => return Sym::Bool(self.op(Op::Ule, x, y)),
            BinaryOp::AddOverflows => {
                let sum = self.op(Op::Add, x, y);
                return Sym::Bool(self.op(Op::Ult, sum, x));
            }
            BinaryOp::MulOverflows => {
                for (known, free) in [(x, y), (y, x)] {
                    if let Some(known) = self.as_bits(known) {
                        let Some(limit) = most(width).checked_div(known) else { return Sym::Bool(self.bool(false)) };
                        let limit = self.bits(limit, width);
                        return Sym::Bool(self.op(Op::Ult, limit, free));
                    }
                }
                if width <= 64 {
                    let (x, y) = (self.zero_extend(x, 2 * width), self.zero_extend(y, 2 * width));
                    let (product, limit) = (self.op(Op::Mul, x, y), self.bits(most(width), 2 * width));
                    return Sym::Bool(self.op(Op::Ult, limit, product));
                }
                let (x, y, limit) = (self.to_int(x), self.to_int(y), self.natural(most(width)));
                let product = self.op(Op::IntMul, x, y);
                return Sym::Bool(self.op(Op::IntLt, limit, product));
            }
            BinaryOp::Eq | BinaryOp::Ne => unreachable!("handled before"),
        })
    }

    /// Bit strings as integers that fit.
    fn nat(&mut self, op: BinaryOp, a: Sym, b: Sym) -> Sym {
        let ((x, width, h1), (y, _, h2)) = (self.as_nat(a), self.as_nat(b));
        let greatest = most(width);
        let (zero, limit) = (self.int(0), self.natural(greatest));
        let (term, high) = match op {
            BinaryOp::Add | BinaryOp::SatAdd | BinaryOp::AddOverflows => {
                let sum = self.op(Op::IntAdd, x, y);
                let high = h1.checked_add(h2).filter(|high| *high <= greatest);
                let over = match high {
                    Some(_) => self.bool(false),
                    None => self.op(Op::IntLt, limit, sum),
                };
                if op == BinaryOp::AddOverflows {
                    return Sym::Bool(over);
                }
                let instead = if op == BinaryOp::Add {
                    let one = self.int(1);
                    let span = self.op(Op::IntAdd, limit, one);
                    self.op(Op::IntSub, sum, span)
                } else {
                    limit
                };
                (self.ite(over, instead, sum), high.unwrap_or(greatest))
            }
            BinaryOp::Sub | BinaryOp::SatSub | BinaryOp::SubOverflows => {
                let under = self.op(Op::IntLt, x, y);
                if op == BinaryOp::SubOverflows {
                    return Sym::Bool(under);
                }
                let difference = self.op(Op::IntSub, x, y);
                if op == BinaryOp::SatSub {
                    (self.ite(under, zero, difference), h1)
                } else {
                    let one = self.int(1);
                    let span = self.op(Op::IntAdd, limit, one);
                    let wrapped = self.op(Op::IntAdd, difference, span);
                    (self.ite(under, wrapped, difference), greatest)
                }
            }
            BinaryOp::Mul | BinaryOp::MulOverflows => {
                let product = self.op(Op::IntMul, x, y);
                let high = h1.checked_mul(h2).filter(|high| *high <= greatest);
                if op == BinaryOp::MulOverflows {
                    return Sym::Bool(match high {
                        Some(_) => self.bool(false),
                        None => self.op(Op::IntLt, limit, product),
                    });
                }
                match high {
                    Some(high) => (product, high),
                    None => {
                        let one = self.int(1);
                        let span = self.op(Op::IntAdd, limit, one);
                        (self.op(Op::IntMod, product, span), greatest)
                    }
                }
            }
            BinaryOp::Div | BinaryOp::Rem => {
                let by_zero = self.eq(y, zero);
                let one = self.int(1);
                let divisor = self.ite(by_zero, one, y);
                let (op, instead) = if op == BinaryOp::Div { (Op::IntDiv, zero) } else { (Op::IntMod, x) };
                let result = self.op(op, x, divisor);
                (self.ite(by_zero, instead, result), h1)
            }
            BinaryOp::Lt => return Sym::Bool(self.op(Op::IntLt, x, y)),
            BinaryOp::Le => return Sym::Bool(self.op(Op::IntLe, x, y)),
            _ => unreachable!("handled before"),
        };
        Sym::Nat { term, width, high }
    }

    /// Integers of specifications: exact.
    fn integer(&mut self, op: BinaryOp, a: Sym, b: Sym) -> Sym {
        if let (Sym::Small { term: x, low: l1, high: h1 }, Sym::Small { term: y, low: l2, high: h2 }) = (a, b)
            && let Some(result) = self.small(op, (x, l1, h1), (y, l2, h2))
        {
            return result;
        }
        let (x, y) = (self.as_integer(a), self.as_integer(b));
        let zero = self.int(0);
        Sym::Int(match op {
            BinaryOp::Add | BinaryOp::SatAdd => self.op(Op::IntAdd, x, y),
            BinaryOp::Sub => self.op(Op::IntSub, x, y),
            BinaryOp::SatSub => {
                let under = self.op(Op::IntLt, x, y);
                let difference = self.op(Op::IntSub, x, y);
                self.ite(under, zero, difference)
            }
            BinaryOp::Mul => self.op(Op::IntMul, x, y),
            // Rounded down, whatever the signs; the remainder goes with it.
            BinaryOp::Div | BinaryOp::Rem => {
                let positive = self.op(Op::IntLt, zero, y);
                let none = self.eq(y, zero);
                let one = self.int(1);
                let (minus_x, minus_y) = (self.op(Op::IntSub, zero, x), self.op(Op::IntSub, zero, y));
                let dividend = self.ite(positive, x, minus_x);
                let size = self.ite(positive, y, minus_y);
                let divisor = self.ite(none, one, size);
                let quotient = self.op(Op::IntDiv, dividend, divisor);
                if op == BinaryOp::Div {
                    self.ite(none, zero, quotient)
                } else {
                    let product = self.op(Op::IntMul, quotient, y);
                    let rest = self.op(Op::IntSub, x, product);
                    self.ite(none, x, rest)
                }
            }
            BinaryOp::Lt => return Sym::Bool(self.op(Op::IntLt, x, y)),
            BinaryOp::Le => return Sym::Bool(self.op(Op::IntLe, x, y)),
            BinaryOp::AddOverflows | BinaryOp::SubOverflows | BinaryOp::MulOverflows => return Sym::Bool(self.bool(false)),
            // Bits of integers have no use in specifications; the result is anything.
            _ => self.fresh("bits of an integer", Sort::Int),
        })
    }

    fn small(&mut self, op: BinaryOp, (x, l1, h1): (Term, i128, i128), (y, l2, h2): (Term, i128, i128)) -> Option<Sym> {
        let (op, low, high) = match op {
            BinaryOp::Add => (Op::Add, l1.checked_add(l2)?, h1.checked_add(h2)?),
            BinaryOp::Sub => (Op::Sub, l1.checked_sub(h2)?, h1.checked_sub(l2)?),
            BinaryOp::Mul => {
                let corners = [l1.checked_mul(l2)?, l1.checked_mul(h2)?, h1.checked_mul(l2)?, h1.checked_mul(h2)?];
                (Op::Mul, *corners.iter().min()?, *corners.iter().max()?)
            }
            BinaryOp::Lt | BinaryOp::Le => {
                let (x, y) = self.widened(x, y, needed(l1.min(l2), h1.max(h2)));
                return Some(Sym::Bool(self.op(if op == BinaryOp::Lt { Op::Slt } else { Op::Sle }, x, y)));
            }
            BinaryOp::Div if l1 >= 0 && l2 > 0 => {
                let (x, y) = self.widened(x, y, needed(0, h1.max(h2)));
                return Some(Sym::Small { term: self.op(Op::Div, x, y), low: 0, high: h1 / l2 });
            }
            BinaryOp::Rem if l1 >= 0 && l2 >= 0 => {
                let (x, y) = self.widened(x, y, needed(0, h1.max(h2)));
                // What is divided by zero is left over.
                let high = if l2 > 0 { h1.min(h2 - 1) } else { h1 };
                return Some(Sym::Small { term: self.op(Op::Rem, x, y), low: 0, high });
            }
            _ => return None,
        };
        let width = needed(low.min(l1).min(l2), high.max(h1).max(h2));
        if width > 120 {
            return None;
        }
        let (x, y) = self.widened(x, y, width);
        Some(Sym::Small { term: self.op(op, x, y), low, high })
    }

    /// Zero-extends, truncates, or converts from or to an integer.
    pub(crate) fn convert(&mut self, value: Sym, to: Scalar) -> Sym {
        match (value, to) {
            (Sym::Bool(_), Scalar::Bool) | (Sym::Small { .. } | Sym::Int(_), Scalar::Int) => value,
            (Sym::Bits(term), Scalar::Bits(width)) => {
                let Sort::Bits(from) = self.sort(term) else { unreachable!("a bit-vector") };
                Sym::Bits(if from <= width { self.zero_extend(term, width) } else { self.extract(term, 0, width) })
            }
            (Sym::Nat { term, high, .. }, Scalar::Bits(width)) => {
                if high <= most(width) {
                    Sym::Nat { term, width, high }
                } else {
                    Sym::Bits(self.to_bits(term, width))
                }
            }
            (Sym::Bits(term), Scalar::Int) => {
                let Sort::Bits(width) = self.sort(term) else { unreachable!("a bit-vector") };
                if let Some(bits) = self.as_bits(term)
                    && let Ok(value) = i128::try_from(bits)
                {
                    return self.small_constant(value);
                }
                if width > 110 {
                    return Sym::Int(self.to_int(term));
                }
                Sym::Small { term: self.zero_extend(term, width + 1), low: 0, high: most(width) as i128 }
            }
            (Sym::Nat { term, .. }, Scalar::Int) => Sym::Int(term),
            (Sym::Bool(term), Scalar::Bits(width)) => {
                let (one, zero) = (self.bits(1, width), self.bits(0, width));
                Sym::Bits(self.ite(term, one, zero))
            }
            (Sym::Bool(term), Scalar::Int) => {
                let (one, zero) = (self.bits(1, 2), self.bits(0, 2));
                Sym::Small { term: self.ite(term, one, zero), low: 0, high: 1 }
            }
            (Sym::Small { term, .. }, Scalar::Bits(width)) => {
                let Sort::Bits(from) = self.sort(term) else { unreachable!("a bit-vector") };
                Sym::Bits(if from < width { self.sign_extend(term, width) } else { self.extract(term, 0, width) })
            }
            (Sym::Int(term), Scalar::Bits(width)) if width < 127 => {
                let span = self.int(1i128 << width);
                Sym::Nat { term: self.op(Op::IntMod, term, span), width, high: most(width) }
            }
            (Sym::Int(term), Scalar::Bits(width)) => Sym::Bits(self.to_bits(term, width)),
            (other, Scalar::Bool) => {
                let bits = self.as_vector(other);
                let (low, one) = (self.extract(bits, 0, 1), self.bits(1, 1));
                Sym::Bool(self.eq(low, one))
            }
        }
    }
}
