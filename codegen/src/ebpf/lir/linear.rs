//! Sums of multiples of words: what is added and taken away again is not in them. A checksum that follows a counter which loses one, for one, changes by a
//! number that is known.

use super::simplify::Dominators;
use super::{Arg, Bin, Function, Inst, Op, Type, Value};
use rustc_hash::FxHashMap;

/// Words of a sum that are worth following.
const MOST: usize = 6;

/// A sum modulo 2^64: words, with what each is multiplied by, which is not 0, and a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sum {
    terms: Vec<(Value, u64)>,
    number: u64,
}

impl Sum {
    fn own(value: Value) -> Sum {
        Sum { terms: vec![(value, 1)], number: 0 }
    }

    /// Adds a multiple of another.
    fn add(&mut self, other: &Sum, times: u64) {
        self.number = self.number.wrapping_add(other.number.wrapping_mul(times));
        for (value, factor) in &other.terms {
            let factor = factor.wrapping_mul(times);
            match self.terms.iter_mut().find(|(known, _)| known == value) {
                Some((_, known)) => *known = known.wrapping_add(factor),
                None => self.terms.push((*value, factor)),
            }
        }
        self.terms.retain(|(_, factor)| *factor != 0);
    }

    /// How many operations it takes.
    fn work(&self) -> usize {
        let adds = self.terms.len() - usize::from(self.starts().is_some());
        let multiplied = self.terms.iter().filter(|(_, factor)| !is_one(*factor)).count();
        adds + multiplied + usize::from(self.number != 0 && self.starts().is_some())
    }

    /// The term that the others are added to; without one, they are taken from the number.
    fn starts(&self) -> Option<usize> {
        self.terms
            .iter()
            .position(|(_, factor)| *factor == 1)
            .or_else(|| self.terms.iter().position(|(_, factor)| !is_one(*factor)))
    }
}

/// Whether a word with this factor is added or taken away as it is.
fn is_one(factor: u64) -> bool {
    factor == 1 || factor == u64::MAX
}

/// By value, how it is made.
type Made = FxHashMap<Value, (Bin, Arg, Arg)>;

impl Function {
    /// Makes sums anew of the words that are left in them, if that is less work. Whether any was.
    pub(super) fn add_up(&mut self) -> bool {
        let made: Made = (self.blocks.iter().flat_map(|block| &block.insts))
            .filter_map(|inst| match (&inst.op, inst.result) {
                (Op::Bin { op, wide: true, a, b }, Some(result)) => Some((result, (*op, *a, *b))),
                _ => None,
            })
            .collect();
        let uses = self.uses();
        let mut any = false;
        for id in Dominators::of(self).order {
            let insts = std::mem::take(&mut self.blocks[id.index()].insts);
            let mut out = Vec::with_capacity(insts.len());
            for inst in insts {
                let less = inst.result.filter(|result| step(&made, *result).is_some()).and_then(|result| {
                    let sum = sum(&made, result);
                    let fresh = sum.terms.iter().all(|(word, _)| *word != result);
                    (fresh && sum.work() < tree(&made, &uses, result, true)).then_some((sum, result))
                });
                match less {
                    Some((sum, result)) => {
                        self.make_sum(&mut out, &inst, &sum, result);
                        any = true;
                    }
                    None => out.push(inst),
                }
            }
            self.blocks[id.index()].insts = out;
        }
        any
    }

    fn make_sum(&mut self, out: &mut Vec<Inst>, like: &Inst, sum: &Sum, result: Value) {
        let start = sum.starts();
        let mut ops: Vec<(Bin, Arg, Option<Arg>)> = Vec::new();
        let mut whole = Arg::Number(sum.number);
        let mut define = |function: &mut Function, op: Bin, a: Arg, b: Arg| {
            let (op, b) = match (op, b) {
                (Bin::Mul, Arg::Number(factor)) if factor.is_power_of_two() => {
                    (Bin::Shl, Arg::Number(factor.trailing_zeros().into()))
                }
                other => other,
            };
            function.types.push(Type::Word);
            function.bits.push(64);
            let value = Value(function.types.len() as u32 - 1);
            out.push(Inst { op: Op::Bin { op, wide: true, a, b }, result: Some(value), ..like.clone() });
            Arg::Value(value)
        };
        if let Some((value, factor)) = start.map(|at| sum.terms[at]) {
            whole = if factor == 1 { Arg::Value(value) } else { define(self, Bin::Mul, Arg::Value(value), Arg::Number(factor)) };
        }
        for (at, (value, factor)) in sum.terms.iter().enumerate() {
            if start != Some(at) {
                let word = Arg::Value(*value);
                match *factor {
                    1 => ops.push((Bin::Add, word, None)),
                    u64::MAX => ops.push((Bin::Sub, word, None)),
                    factor => ops.push((Bin::Add, word, Some(Arg::Number(factor)))),
                }
            }
        }
        if start.is_some() && sum.number != 0 {
            ops.push((Bin::Add, Arg::Number(sum.number), None));
        }
        for (op, word, factor) in ops {
            let word = factor.map_or(word, |factor| define(self, Bin::Mul, word, factor));
            whole = define(self, op, whole, word);
        }
        // The last one is what was asked for.
        match out.last_mut().filter(|last| last.result.map(Arg::Value) == Some(whole)) {
            Some(last) => last.result = Some(result),
            None => out.push(Inst {
                op: Op::Bin { op: Bin::Or, wide: true, a: whole, b: Arg::Number(0) },
                result: Some(result),
                ..like.clone()
            }),
        }
    }
}

/// The operation by which a sum is made, if it is: its operands, and what the second is multiplied by, or both.
fn step(made: &Made, value: Value) -> Option<(Bin, Arg, Arg)> {
    let (op, a, b) = *made.get(&value)?;
    let word = |arg: Arg| matches!(arg, Arg::Value(_) | Arg::Number(_));
    match (op, b) {
        (Bin::Add | Bin::Sub, _) if word(a) && word(b) => Some((op, a, b)),
        (Bin::Shl, Arg::Number(by)) if by < 64 && word(a) => Some((Bin::Mul, a, Arg::Number(1 << by))),
        (Bin::Mul, Arg::Number(_)) if word(a) => Some((op, a, b)),
        _ => None,
    }
}

/// The sum that a value is: itself, if it is none, or one of too many words.
fn sum(made: &Made, value: Value) -> Sum {
    let Some((op, a, b)) = step(made, value) else { return Sum::own(value) };
    let of = |arg: Arg| match arg {
        Arg::Value(value) => sum(made, value),
        arg => Sum { terms: Vec::new(), number: arg.number().unwrap_or(0) },
    };
    let mut whole = Sum::default();
    match op {
        Bin::Mul => whole.add(&of(a), b.number().unwrap_or(1)),
        op => {
            whole.add(&of(a), 1);
            whole.add(&of(b), if op == Bin::Sub { u64::MAX } else { 1 });
        }
    }
    if whole.terms.len() > MOST { Sum::own(value) } else { whole }
}

/// How many operations a sum is made by that are there for it alone.
fn tree(made: &Made, uses: &[u32], value: Value, root: bool) -> usize {
    match step(made, value).filter(|_| root || uses[value.index()] == 1) {
        Some((_, a, b)) => 1 + [a, b].into_iter().filter_map(Arg::value).map(|of| tree(made, uses, of, false)).sum::<usize>(),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Builder, Field, check};
    use super::*;
    use grv_lang::span::Span;

    fn made_of(of: impl Fn(&mut Builder, Arg, Arg) -> Arg) -> Vec<Op> {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let context = b.input(0).value().unwrap();
        let (x, y) = (b.field(context, Field::IngressIfindex), b.field(context, Field::SkbLength));
        let result = of(&mut b, x, y);
        b.ret(result);
        let function = b.finish("f");
        check(&function).unwrap();
        let insts = function.blocks.iter().flat_map(|block| &block.insts);
        insts.filter(|inst| matches!(inst.op, Op::Bin { .. })).map(|inst| inst.op.clone()).collect()
    }

    #[test]
    fn what_is_added_and_taken_away_is_not_in_a_sum() {
        let ops = made_of(|b, x, y| {
            let less = b.bin(Bin::Add, x, Arg::Number(u64::MAX));
            let (new, old) = (b.bin(Bin::Shl, less, Arg::Number(8)), b.bin(Bin::Shl, x, Arg::Number(8)));
            let change = b.bin(Bin::Sub, new, old);
            let rest = b.bin(Bin::Sub, Arg::Number(0x1fffe), y);
            b.bin(Bin::Add, change, rest)
        });
        assert!(matches!(ops.as_slice(), [Op::Bin { op: Bin::Sub, a: Arg::Number(0x1fefe), .. }]), "{ops:?}");
        let ops = made_of(|b, x, y| {
            let both = b.bin(Bin::Add, x, y);
            b.bin(Bin::Sub, both, x)
        });
        assert!(!ops.iter().any(|op| matches!(op, Op::Bin { op: Bin::Add | Bin::Sub, .. })), "{ops:?}");
    }

    #[test]
    fn a_sum_of_many_words_stays() {
        let ops = made_of(|b, x, _| {
            let words: Vec<Arg> = (2..12).map(|n| b.bin(Bin::Xor, x, Arg::Number(n))).collect();
            words[1..].iter().fold(words[0], |sum, word| b.bin(Bin::Add, sum, *word))
        });
        assert_eq!(ops.iter().filter(|op| matches!(op, Op::Bin { op: Bin::Add, .. })).count(), 9, "{ops:?}");
    }

    #[test]
    fn a_sum_that_is_no_less_work_stays() {
        let ops = made_of(|b, x, y| {
            let both = b.bin(Bin::Add, x, y);
            let twice = b.bin(Bin::Shl, both, Arg::Number(1));
            b.bin(Bin::Xor, twice, both)
        });
        assert_eq!(ops.len(), 3, "{ops:?}");
    }
}
