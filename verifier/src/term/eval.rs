//! Terms evaluated on concrete values: to hold formulas against the interpreter, and to read models.

use super::{Node, Op, Sort, Symbol, Term, Terms};
use rustc_hash::FxHashMap;

/// The value of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Concrete {
    /// A truth value.
    Bool(bool),
    /// The bits of a bit string.
    Bits(u128),
    /// An integer.
    Int(i128),
}

impl Concrete {
    /// A truth value; anything else is false.
    pub fn is_true(self) -> bool {
        self == Concrete::Bool(true)
    }

    /// The value of a sort that is all zero.
    pub fn zero(sort: Sort) -> Concrete {
        match sort {
            Sort::Bool => Concrete::Bool(false),
            Sort::Bits(_) => Concrete::Bits(0),
            Sort::Int => Concrete::Int(0),
        }
    }
}

/// The values of some terms, given those of the symbols. `None`: an integer leaves 128 bits, or a quantifier is left.
pub fn eval(
    terms: &Terms,
    roots: &[Term],
    symbols: &mut dyn FnMut(Symbol, &[Concrete]) -> Concrete,
) -> Option<FxHashMap<Term, Concrete>> {
    let mut values: FxHashMap<Term, Concrete> = FxHashMap::default();
    for term in terms.cone(roots) {
        let value = |t: &Term| values.get(t).copied();
        let result = match terms.node(term) {
            Node::Bool(value) => Concrete::Bool(*value),
            Node::Bits(_, bits) => Concrete::Bits(*bits),
            Node::Int(value) => Concrete::Int(*value),
            Node::Apply(symbol, args) => {
                let args: Option<Vec<Concrete>> = args.iter().map(value).collect();
                symbols(*symbol, &args?)
            }
            Node::Not(a) => Concrete::Bool(!value(a)?.is_true()),
            Node::And(all) => {
                let mut every = true;
                for part in all {
                    every &= value(part)?.is_true();
                }
                Concrete::Bool(every)
            }
            Node::Or(all) => {
                let mut some = false;
                for part in all {
                    some |= value(part)?.is_true();
                }
                Concrete::Bool(some)
            }
            Node::Ite(c, a, b) => {
                if value(c)?.is_true() {
                    value(a)?
                } else {
                    value(b)?
                }
            }
            Node::Eq(a, b) => Concrete::Bool(value(a)? == value(b)?),
            Node::Op(op, a, b) => operator(*op, terms.sort(*a), value(a)?, value(b)?)?,
            Node::Complement(a) => Concrete::Bits(!bits(value(a)?)? & mask(width(terms, term))),
            Node::ZeroExtend(_, a) => value(a)?,
            Node::SignExtend(to, a) => Concrete::Bits(signed(width(terms, *a), bits(value(a)?)?) as u128 & mask(*to)),
            Node::Extract { low, width, of } => Concrete::Bits(bits(value(of)?)? >> low & mask(*width)),
            Node::ToInt(a) => Concrete::Int(i128::try_from(bits(value(a)?)?).ok()?),
            Node::ToBits(width, a) => match value(a)? {
                Concrete::Int(value) => Concrete::Bits(value as u128 & mask(*width)),
                _ => return None,
            },
            Node::Quantified(_) => return None,
        };
        values.insert(term, result);
    }
    Some(values)
}

fn bits(value: Concrete) -> Option<u128> {
    if let Concrete::Bits(bits) = value { Some(bits) } else { None }
}

fn width(terms: &Terms, term: Term) -> u8 {
    if let Sort::Bits(width) = terms.sort(term) { width } else { 128 }
}

fn mask(width: u8) -> u128 {
    if width >= 128 { u128::MAX } else { (1 << width) - 1 }
}

fn signed(width: u8, bits: u128) -> i128 {
    let unused = 128 - u32::from(width);
    (bits << unused) as i128 >> unused
}

fn operator(op: Op, sort: Sort, left: Concrete, right: Concrete) -> Option<Concrete> {
    if let (Concrete::Int(a), Concrete::Int(b)) = (left, right) {
        return Some(match op {
            Op::IntAdd => Concrete::Int(a.checked_add(b)?),
            Op::IntSub => Concrete::Int(a.checked_sub(b)?),
            Op::IntMul => Concrete::Int(a.checked_mul(b)?),
            Op::IntDiv if b > 0 => Concrete::Int(a.div_euclid(b)),
            Op::IntMod if b > 0 => Concrete::Int(a.rem_euclid(b)),
            Op::IntDiv | Op::IntMod => Concrete::Int(0),
            Op::IntLe => Concrete::Bool(a <= b),
            Op::IntLt => Concrete::Bool(a < b),
            _ => return None,
        });
    }
    let (a, b) = (bits(left)?, bits(right)?);
    let Sort::Bits(width) = sort else { return None };
    let shift = u32::try_from(b).ok().filter(|b| *b < u32::from(width));
    let result = match op {
        Op::Add => a.wrapping_add(b),
        Op::Sub => a.wrapping_sub(b),
        Op::Mul => a.wrapping_mul(b),
        // As SMT-LIB has it; the formulas guard their divisors.
        Op::Div => a.checked_div(b).unwrap_or(u128::MAX),
        Op::Rem => a.checked_rem(b).unwrap_or(a),
        Op::And => a & b,
        Op::Or => a | b,
        Op::Xor => a ^ b,
        Op::Shl => shift.map_or(0, |by| a << by),
        Op::Shr => shift.map_or(0, |by| a >> by),
        Op::Ult => return Some(Concrete::Bool(a < b)),
        Op::Ule => return Some(Concrete::Bool(a <= b)),
        Op::Slt => return Some(Concrete::Bool(signed(width, a) < signed(width, b))),
        Op::Sle => return Some(Concrete::Bool(signed(width, a) <= signed(width, b))),
        _ => return None,
    };
    Some(Concrete::Bits(result & mask(width)))
}
