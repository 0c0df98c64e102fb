//! Sums of words with whole coefficients: where headers begin and end, and how they compare. Kept as sums, most of what the
//! layouts of headers ask for cancels out before anything is computed.

use super::super::lir::{Arg, Bin, BlockId, Builder, Cmp, Value};

/// `constant + sum of coefficient x word`, in order of the words, without coefficients of zero.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Linear {
    pub(super) constant: i64,
    pub(super) terms: Vec<(Value, i64)>,
}

impl Linear {
    /// A number.
    pub(super) fn number(constant: i64) -> Linear {
        Linear { constant, terms: Vec::new() }
    }

    /// A word, which must be so small that sums of some do not overflow.
    pub(super) fn word(arg: Arg) -> Option<Linear> {
        match arg {
            Arg::Number(number) => i64::try_from(number).ok().map(Linear::number),
            Arg::Value(value) => Some(Linear { constant: 0, terms: vec![(value, 1)] }),
            _ => None,
        }
    }

    /// `self + factor x other`
    pub(super) fn plus(&self, other: &Linear, factor: i64) -> Linear {
        let mut sum = self.clone();
        sum.constant += factor * other.constant;
        for (value, coefficient) in &other.terms {
            match sum.terms.binary_search_by_key(value, |(v, _)| *v) {
                Ok(at) => sum.terms[at].1 += factor * coefficient,
                Err(at) => sum.terms.insert(at, (*value, factor * coefficient)),
            }
        }
        sum.terms.retain(|(_, coefficient)| *coefficient != 0);
        sum
    }

    /// `factor x self`
    pub(super) fn times(&self, factor: i64) -> Linear {
        Linear::default().plus(self, factor)
    }

    /// The constant, if nothing else is there.
    pub(super) fn constant(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.constant)
    }

    /// The greatest number that all coefficients and the constant are multiples of.
    pub(super) fn step(&self) -> u64 {
        self.terms.iter().map(|(_, c)| c.unsigned_abs()).fold(self.constant.unsigned_abs(), gcd)
    }

    /// The greatest value it can have.
    pub(super) fn most(&self, b: &Builder) -> i64 {
        let most = |(value, c): &(Value, i64)| {
            let word = i64::try_from(super::super::lir::mask(b.bits(Arg::Value(*value)))).unwrap_or(i64::MAX);
            if *c > 0 { word.saturating_mul(*c) } else { 0 }
        };
        self.terms.iter().map(most).fold(self.constant, i64::saturating_add)
    }

    /// The word with this value, which is not negative.
    pub(super) fn value(&self, b: &mut Builder) -> Arg {
        let (plus, minus) = self.sides();
        let (plus, minus) = (sum(b, &plus), sum(b, &minus));
        b.bin(Bin::Sub, plus, minus)
    }

    /// How often a number goes into this, which is a multiple of it and not negative: that is more than 0 as long as the first word is as great as the second.
    pub(super) fn count(&self, b: &mut Builder, of: i64) -> (Arg, Arg) {
        let terms = self.terms.iter().map(|(v, c)| (*v, c / of)).collect();
        let count = Linear { constant: self.constant / of, terms };
        let (plus, minus) = count.sides();
        match minus.constant() {
            Some(less) => (sum(b, &plus), Arg::Number(less as u64 + 1)),
            None => {
                let most = count.most(b).max(0) as u64;
                let count = count.value(b);
                // What it is at most the kernel's verifier does not find out itself.
                (b.low(count, (64 - most.leading_zeros()) as u8), Arg::Number(1))
            }
        }
    }

    /// The parts that are added and those that are taken away.
    fn sides(&self) -> (Linear, Linear) {
        let (mut plus, mut minus) = (Linear::default(), Linear::default());
        for (value, c) in &self.terms {
            let side = if *c > 0 { &mut plus } else { &mut minus };
            side.terms.push((*value, c.abs()));
        }
        if self.constant >= 0 {
            plus.constant = self.constant;
        } else {
            minus.constant = -self.constant;
        }
        (plus, minus)
    }

    /// Goes on in a new block if this is zero or more, in `other` if it is negative.
    pub(super) fn unless_negative(&self, b: &mut Builder, other: BlockId) {
        let (plus, minus) = self.sides();
        let (plus, minus) = (sum(b, &plus), sum(b, &minus));
        b.unless(Cmp::Ge, plus, minus, other);
    }

    /// The same condition with smaller numbers.
    pub(super) fn reduced(&self) -> Linear {
        let step = self.terms.iter().map(|(_, c)| c.unsigned_abs()).fold(0, gcd);
        let Ok(step @ 1..) = i64::try_from(step) else { return self.clone() };
        let terms = self.terms.iter().map(|(v, c)| (*v, c / step)).collect();
        Linear { constant: self.constant.div_euclid(step), terms }
    }

    /// Whether it is never negative, given others that are not.
    pub(super) fn is_known(&self, facts: &[Linear]) -> bool {
        let never = self.constant >= 0 && self.terms.iter().all(|(_, c)| *c > 0);
        never || facts.iter().any(|fact| fact.terms == self.terms && fact.constant <= self.constant)
    }
}

/// A sum without negative parts.
fn sum(b: &mut Builder, of: &Linear) -> Arg {
    let mut sum = Arg::Number(0);
    for (value, coefficient) in &of.terms {
        let factor = coefficient.unsigned_abs();
        let part = if factor.is_power_of_two() {
            b.bin(Bin::Shl, Arg::Value(*value), Arg::Number(factor.trailing_zeros().into()))
        } else {
            b.bin(Bin::Mul, Arg::Value(*value), Arg::Number(factor))
        };
        sum = b.bin(Bin::Add, sum, part);
    }
    b.bin(Bin::Add, sum, Arg::Number(of.constant.unsigned_abs()))
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(constant: i64, terms: &[(u32, i64)]) -> Linear {
        Linear { constant, terms: terms.iter().map(|(v, c)| (Value(*v), *c)).collect() }
    }

    #[test]
    fn what_is_added_and_taken_away_cancels_out() {
        // 14 + 4 x ihl + (total - 4 x ihl) is 14 + total.
        let start = sum(14, &[(1, 4)]);
        let body = sum(0, &[(1, -4), (2, 1)]);
        assert_eq!(start.plus(&body, 1), sum(14, &[(2, 1)]));
        assert_eq!(start.plus(&start, -1).constant(), Some(0));
    }

    #[test]
    fn a_condition_is_the_same_in_smaller_numbers() {
        // 4 x ihl - 20 >= 0 is ihl >= 5, and 4 x ihl - 18 >= 0 is ihl >= 5 as well.
        assert_eq!(sum(-20, &[(1, 4)]).reduced(), sum(-5, &[(1, 1)]));
        assert_eq!(sum(-18, &[(1, 4)]).reduced(), sum(-5, &[(1, 1)]));
        assert_eq!(sum(-3, &[]).reduced(), sum(-3, &[]));
    }

    #[test]
    fn what_is_known_is_known_of_less() {
        let facts = [sum(-5, &[(1, 1)])];
        assert!(sum(-4, &[(1, 1)]).is_known(&facts) && sum(-5, &[(1, 1)]).is_known(&facts));
        assert!(!sum(-6, &[(1, 1)]).is_known(&facts) && !sum(-5, &[(2, 1)]).is_known(&facts));
        assert!(sum(0, &[(3, 2)]).is_known(&[]) && !sum(0, &[(3, -1)]).is_known(&[]));
    }
}
