//! What words can be at a place, by how they are made and by comparisons on the way there: what can be one number only is that number, and
//! comparisons that are decided are not made. Constants of the box (its parameters) are the same wherever they are read.

use super::simplify::{Dominators, Replaced};
use super::{Arg, Bin, Cmp, End, Function, Op, Type, Value, mask};
use rustc_hash::FxHashMap;

/// The least and the greatest number that a word can be.
type Range = (u64, u64);

/// How far back is looked to how a word was made.
const DEPTH: u32 = 6;

/// What is known of words wherever they are.
struct Made<'f> {
    function: &'f Function,
    /// By value: how it is made, if by arithmetic on 64 bits.
    by: FxHashMap<Value, (Bin, Arg, Arg)>,
    /// Constants that are read: by value, the one that is read first.
    same: FxHashMap<Value, Value>,
}

impl<'f> Made<'f> {
    fn of(function: &'f Function) -> Made<'f> {
        let (mut by, mut same, mut first) = (FxHashMap::default(), FxHashMap::default(), FxHashMap::default());
        for inst in function.blocks.iter().flat_map(|block| &block.insts) {
            match (&inst.op, inst.result) {
                (Op::Bin { op, wide: true, a, b }, Some(result)) => drop(by.insert(result, (*op, *a, *b))),
                (Op::Load { base: Arg::Global(map, _), .. }, Some(result)) if Some(*map) == function.constants => {
                    same.insert(result, *first.entry(inst.op.clone()).or_insert(result));
                }
                _ => {}
            }
        }
        Made { function, by, same }
    }

    fn first(&self, value: Value) -> Value {
        self.same.get(&value).copied().unwrap_or(value)
    }

    /// What an operand can be, by these facts.
    fn range(&self, facts: &FxHashMap<Value, Range>, arg: Arg, depth: u32) -> Range {
        let value = match arg {
            Arg::Number(number) => return (number, number),
            Arg::Value(value) if self.function.types[value.index()] == Type::Word => value,
            _ => return (0, u64::MAX),
        };
        let most = mask(self.function.bits[value.index()]);
        let (low, high) = facts.get(&self.first(value)).copied().unwrap_or((0, u64::MAX));
        let known = (low, high.min(most));
        match self.by.get(&value).filter(|_| depth > 0) {
            Some((op, a, b)) => {
                let (a, b) = (self.range(facts, *a, depth - 1), self.range(facts, *b, depth - 1));
                let (low, high) = result(*op, a, b).unwrap_or((0, u64::MAX));
                meet(known, (low, high))
            }
            None => known,
        }
    }
}

/// What is in both; a place that nothing leads to has what it had.
fn meet(a: Range, b: Range) -> Range {
    let both = (a.0.max(b.0), a.1.min(b.1));
    if both.0 <= both.1 { both } else { a }
}

/// What arithmetic on words of these ranges can give, if that is a range.
fn result(op: Bin, a: Range, b: Range) -> Option<Range> {
    let by = |n: u64| u32::try_from(n).ok().filter(|n| *n < 64);
    match op {
        Bin::Add => Some((a.0.checked_add(b.0)?, a.1.checked_add(b.1)?)),
        // None of them is negative, or all are.
        Bin::Sub => (a.0 >= b.1 || a.1 < b.0).then(|| (a.0.wrapping_sub(b.1), a.1.wrapping_sub(b.0))),
        Bin::Mul => Some((a.0.checked_mul(b.0)?, a.1.checked_mul(b.1)?)),
        Bin::And if b == (u64::MAX, u64::MAX) => Some(a),
        Bin::And if a.0 == a.1 && b.0 == b.1 => Some((a.0 & b.0, a.0 & b.0)),
        Bin::And => Some((0, a.1.min(b.1))),
        Bin::Xor if a.0 == a.1 && b.0 == b.1 => Some((a.0 ^ b.0, a.0 ^ b.0)),
        Bin::Or if a.0 == a.1 && b.0 == b.1 => Some((a.0 | b.0, a.0 | b.0)),
        Bin::Shr if b.0 == b.1 => by(b.0).map(|by| (a.0 >> by, a.1 >> by)),
        Bin::Shl if b.0 == b.1 => by(b.0).filter(|by| a.1.leading_zeros() >= *by).map(|by| (a.0 << by, a.1 << by)),
        _ => None,
    }
}

/// What a word can be of which a comparison with a number holds. None: nothing.
fn limited(cmp: Cmp, (low, high): Range, number: u64) -> Option<Range> {
    let range = match cmp {
        Cmp::Eq => (low.max(number), high.min(number)),
        Cmp::Ne if low == number => (low.checked_add(1)?, high),
        Cmp::Ne if high == number => (low, high.checked_sub(1)?),
        Cmp::Ne | Cmp::Set | Cmp::Clear => (low, high),
        Cmp::Lt => (low, high.min(number.checked_sub(1)?)),
        Cmp::Le => (low, high.min(number)),
        Cmp::Gt => (low.max(number.checked_add(1)?), high),
        Cmp::Ge => (low.max(number), high),
    };
    (range.0 <= range.1).then_some(range)
}

/// Whether a comparison of words holds, if it does for all of these or for none.
fn decided(cmp: Cmp, a: Range, b: Range) -> Option<bool> {
    let less = |or_equal: bool| match or_equal {
        false if a.1 < b.0 => Some(true),
        false if a.0 >= b.1 => Some(false),
        true if a.1 <= b.0 => Some(true),
        true if a.0 > b.1 => Some(false),
        _ => None,
    };
    let equal = if a.1 < b.0 || b.1 < a.0 { Some(false) } else { (a.0 == a.1 && a == b).then_some(true) };
    match cmp {
        Cmp::Eq => equal,
        Cmp::Ne => equal.map(|equal| !equal),
        Cmp::Lt => less(false),
        Cmp::Le => less(true),
        Cmp::Gt => less(true).map(|less| !less),
        Cmp::Ge => less(false).map(|less| !less),
        Cmp::Set | Cmp::Clear => None,
    }
}

/// Whether an operation leaves a word of this range as it is.
fn is_unchanged(op: Bin, a: Range, number: u64) -> bool {
    match op {
        Bin::Add | Bin::Sub | Bin::Or | Bin::Xor | Bin::Shl | Bin::Shr => number == 0,
        Bin::Mul | Bin::Div => number == 1,
        Bin::And => number.count_ones() == number.trailing_ones() && a.1 <= number,
        Bin::Rem => false,
    }
}

impl Function {
    /// Replaces what is known. Whether any branch was decided.
    pub(super) fn narrow(&mut self) -> bool {
        let (ways, dominators) = (self.ways(), Dominators::of(self));
        let mut known = Replaced::new(self.types.len());
        let mut decisions = Vec::new();
        let made = Made::of(self);
        let mut facts: Vec<FxHashMap<Value, Range>> = vec![FxHashMap::default(); self.blocks.len()];
        for id in &dominators.order {
            if let Some(above) = dominators.above(*id) {
                let mut here = facts[above.index()].clone();
                if let (1, End::Branch { cmp, a, b, then, other }) = (ways[id.index()], &self.blocks[above.index()].end)
                    && then != other
                    && let (Arg::Value(value), Some(number)) = (known.of(*a), known.of(*b).number())
                    && self.types[value.index()] == Type::Word
                {
                    let cmp = if *then == *id { *cmp } else { cmp.negated() };
                    if let Some(range) = limited(cmp, made.range(&here, Arg::Value(value), DEPTH), number) {
                        here.insert(made.first(value), range);
                    }
                }
                facts[id.index()] = here;
            }
            let (here, block) = (&facts[id.index()], &self.blocks[id.index()]);
            for inst in &block.insts {
                let (Op::Bin { op, wide: true, a, b }, Some(value)) = (&inst.op, inst.result) else { continue };
                let (low, high) = made.range(here, Arg::Value(value), DEPTH);
                if low == high {
                    known.set(value, Arg::Number(low));
                } else if let Some(number) = known.of(*b).number()
                    && is_unchanged(*op, made.range(here, *a, DEPTH), number)
                {
                    known.set(value, *a);
                }
            }
            if let End::Branch { cmp, a, b, then, other } = block.end
                && self.is_word(a)
                && self.is_word(b)
                && let Some(holds) = decided(cmp, made.range(here, a, DEPTH), made.range(here, b, DEPTH))
            {
                decisions.push((*id, if holds { then } else { other }));
            }
        }
        let any = !decisions.is_empty();
        for (block, to) in decisions {
            self.blocks[block.index()].end = End::Jump(to, Vec::new());
        }
        self.replace(&known);
        self.tidy();
        any
    }

    fn is_word(&self, arg: Arg) -> bool {
        match arg {
            Arg::Number(_) => true,
            Arg::Value(value) => self.types[value.index()] == Type::Word,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Builder, Field, MapId, check};
    use super::*;
    use grv_lang::span::Span;

    #[test]
    fn what_a_constant_was_compared_with_is_known_where_it_is_read_again() {
        for (map, branches) in [(MapId(0), 1), (MapId(1), 2)] {
            let mut b = Builder::new(Span::default(), &[Type::Context]);
            b.constants = Some(MapId(0));
            let first = b.load(Arg::Global(map, 8), 0, 1);
            let (small, large) = (b.block(), b.block());
            b.branch(Cmp::Lt, first, Arg::Number(31), small, large);
            b.enter(large);
            b.ret(Arg::Number(1));
            b.enter(small);
            // Other processors may write variables meanwhile.
            b.fetch_add(Arg::Global(MapId(1), 64), 0, Arg::Number(1));
            let second = b.load(Arg::Global(map, 8), 0, 1);
            let difference = b.bin(Bin::Sub, Arg::Number(32), second);
            let sign = b.bin(Bin::Shr, difference, Arg::Number(63));
            let ones = b.bin(Bin::Sub, sign, Arg::Number(1));
            let kept = b.bin(Bin::And, difference, ones);
            let (ok, never) = (b.block(), b.block());
            b.branch(Cmp::Le, second, Arg::Number(32), ok, never);
            b.enter(never);
            b.ret(Arg::Number(2));
            b.enter(ok);
            b.ret(kept);
            let function = b.finish("f");
            check(&function).unwrap_or_else(|e| panic!("{e}"));
            let of = |block: &&super::super::Block| matches!(block.end, End::Branch { .. });
            assert_eq!(function.blocks.iter().filter(of).count(), branches);
            let ands = function.blocks.iter().flat_map(|b| &b.insts);
            assert_eq!(ands.filter(|i| matches!(i.op, Op::Bin { op: Bin::And, .. })).count(), branches - 1);
        }
    }

    #[test]
    fn ranges_hold_what_arithmetic_gives() {
        let ends = [0, 1, 5, 31, 32, 63, 64, 255, u64::MAX - 1, u64::MAX];
        let ranges: Vec<Range> = ends.iter().flat_map(|a| ends.iter().filter(move |b| a <= b).map(move |b| (*a, *b))).collect();
        let within = |x: u64, (low, high): Range| low <= x && x <= high;
        for op in [Bin::Add, Bin::Sub, Bin::Mul, Bin::And, Bin::Or, Bin::Xor, Bin::Shl, Bin::Shr] {
            for a in &ranges {
                for b in &ranges {
                    let Some(range) = result(op, *a, *b) else { continue };
                    for x in ends.iter().filter(|x| within(**x, *a)) {
                        for y in ends.iter().filter(|y| within(**y, *b)) {
                            let given = super::super::build::evaluate(op, true, *x, *y);
                            assert!(within(given, range), "{op:?} {x} {y}: {given} is not in {range:?}");
                        }
                    }
                }
            }
        }
        for cmp in [Cmp::Eq, Cmp::Ne, Cmp::Lt, Cmp::Le, Cmp::Gt, Cmp::Ge] {
            for a in &ranges {
                for y in ends {
                    let (decided, limited) = (decided(cmp, *a, (y, y)), limited(cmp, *a, y));
                    for x in ends.iter().filter(|x| within(**x, *a)) {
                        let holds = cmp.holds(*x, y);
                        assert!(decided.is_none_or(|decided| decided == holds), "{cmp:?} {a:?} {y}");
                        assert!(!holds || limited.is_some_and(|range| within(*x, range)), "{cmp:?} {x} {y}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_packet_is_no_word() {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let context = b.input(0).value().unwrap_or(Value(0));
        let (data, end) = (b.field(context, Field::Data), b.field(context, Field::DataEnd));
        let (yes, no) = (b.block(), b.block());
        b.branch(Cmp::Le, data, end, yes, no);
        b.enter(yes);
        b.ret(Arg::Number(1));
        b.enter(no);
        b.ret(Arg::Number(0));
        let function = b.finish("f");
        assert!(matches!(function.blocks[0].end, End::Branch { .. }));
    }
}
