//! Terms evaluated on concrete values: to hold formulas against the interpreter, and to read models.

use super::{Node, Op, Sort, Symbol, Term, Terms};

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

/// The values of symbols, applied to arguments. None: of this one nobody knows.
pub type Symbols<'s> = dyn FnMut(Symbol, &[Concrete]) -> Option<Concrete> + 's;

/// The values of terms, found where they are asked for: of two sides, the one that is not taken is not looked at.
#[derive(Debug, Default)]
pub struct Values {
    known: Vec<Option<Concrete>>,
}

impl Values {
    /// A term's value, given those of the symbols. `None`: an integer leaves 128 bits, a quantifier is left, or nobody knows a symbol.
    pub fn of(&mut self, terms: &Terms, term: Term, symbols: &mut Symbols<'_>) -> Option<Concrete> {
        if self.known.len() < terms.len() {
            self.known.resize(terms.len(), None);
        }
        let mut open = vec![term];
        while let Some(at) = open.last().copied() {
            if self.known[at.0 as usize].is_some() {
                open.pop();
                continue;
            }
            match node(terms, at, &|t| self.known[t.0 as usize], symbols) {
                Ok(value) => self.known[at.0 as usize] = Some(value?),
                Err(part) => open.push(part),
            }
        }
        self.known[term.0 as usize]
    }

    /// Sets a term's value: of a quantified formula, which has none by itself.
    pub fn set(&mut self, term: Term, value: Concrete) {
        if self.known.len() <= term.0 as usize {
            self.known.resize(term.0 as usize + 1, None);
        }
        self.known[term.0 as usize] = Some(value);
    }

    /// Forgets the values of a term and of all that were made after it.
    pub fn forget(&mut self, from: Term) {
        self.known.iter_mut().skip(from.0 as usize).for_each(|known| *known = None);
    }
}

/// A node's value: of those of its parts, or else the part that is wanted first.
fn node(
    terms: &Terms,
    term: Term,
    known: &dyn Fn(Term) -> Option<Concrete>,
    symbols: &mut Symbols<'_>,
) -> Result<Option<Concrete>, Term> {
    let value = |t: &Term| known(*t).ok_or(*t);
    Ok(match terms.node(term) {
        Node::Bool(value) => Some(Concrete::Bool(*value)),
        Node::Bits(_, bits) => Some(Concrete::Bits(*bits)),
        Node::Int(value) => Some(Concrete::Int(*value)),
        Node::Apply(symbol, args) => {
            let args: Result<Vec<Concrete>, Term> = args.iter().map(value).collect();
            symbols(*symbol, &args?)
        }
        Node::Not(a) => Some(Concrete::Bool(!value(a)?.is_true())),
        Node::And(all) => Some(Concrete::Bool(every(all, true, known)?)),
        Node::Or(all) => Some(Concrete::Bool(!every(all, false, known)?)),
        Node::Ite(c, a, b) => Some(if value(c)?.is_true() { value(a)? } else { value(b)? }),
        Node::Eq(a, b) => Some(Concrete::Bool(value(a)? == value(b)?)),
        Node::Op(op, a, b) => operator(*op, terms.sort(*a), value(a)?, value(b)?),
        Node::Complement(a) => bits(value(a)?).map(|bits| Concrete::Bits(!bits & mask(width(terms, term)))),
        Node::ZeroExtend(_, a) => Some(value(a)?),
        Node::SignExtend(to, a) => bits(value(a)?).map(|bits| Concrete::Bits(signed(width(terms, *a), bits) as u128 & mask(*to))),
        Node::Extract { low, width, of } => bits(value(of)?).map(|bits| Concrete::Bits(bits >> low & mask(*width))),
        Node::ToInt(a) => bits(value(a)?).and_then(|bits| i128::try_from(bits).ok()).map(Concrete::Int),
        Node::ToBits(width, a) => match value(a)? {
            Concrete::Int(value) => Some(Concrete::Bits(value as u128 & mask(*width))),
            _ => None,
        },
        Node::Quantified(_) => None,
    })
}

/// Whether all are this. One that is not, and is known, decides.
fn every(all: &[Term], this: bool, known: &dyn Fn(Term) -> Option<Concrete>) -> Result<bool, Term> {
    if all.iter().any(|t| known(*t).is_some_and(|value| value.is_true() != this)) {
        return Ok(false);
    }
    all.iter().find(|t| known(**t).is_none()).map_or(Ok(true), |t| Err(*t))
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
