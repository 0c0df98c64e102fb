use super::super::{Bin, Builder, Cmp, Commit, Effect, Field, Helper, MapId, Slot, Type, check};
use super::*;
use grv_lang::ir::TableId;
use grv_lang::span::Span;
use std::collections::HashMap;

/// What a function does that is started with words: calls with their arguments, writes to memory, and its verdict. Words that it reads are those given, in
/// turn; calls of helpers give numbers that depend on nothing but how many there were.
fn run(function: &Function, words: &[u64]) -> Vec<u64> {
    let (mut values, mut at, mut done): (HashMap<Value, u64>, _, _) = (HashMap::new(), BlockId(0), Vec::new());
    values.extend(function.inputs.iter().map(|input| (*input, 0)));
    let of = |values: &HashMap<Value, u64>, arg: Arg| match arg {
        Arg::Number(number) => number,
        Arg::Value(value) => values[&value],
        Arg::Stack(slot, offset) => 1 << 40 | u64::from(slot.0) << 20 | u64::from(offset),
        Arg::Map(map) => 2 << 40 | u64::from(map.0),
        Arg::Global(map, offset) => 3 << 40 | u64::from(map.0) << 20 | u64::from(offset),
        Arg::Callback(number) => 4 << 40 | u64::from(number),
    };
    for _ in 0..10_000 {
        let block = &function.blocks[at.index()];
        for inst in &block.insts {
            let args: Vec<u64> = inst.op.args().into_iter().map(|arg| of(&values, arg)).collect();
            let value = match &inst.op {
                Op::Context(..) => words[0],
                Op::Load { base: Arg::Stack(_, at), .. } => words[usize::from(*at) / 8],
                Op::Load { offset, .. } => args[0].wrapping_add(*offset as u64).wrapping_mul(77),
                Op::Bin { op, wide, .. } => super::super::build::evaluate(*op, *wide, args[0], args[1]),
                Op::Place { .. } | Op::Advance { .. } => args[0] + args[1],
                Op::Store { .. } | Op::Call { .. } => {
                    done.push(u64::MAX);
                    done.extend(args);
                    done.len() as u64
                }
                other => panic!("{other:?}"),
            };
            values.extend(inst.result.map(|result| (result, value)));
        }
        at = match &block.end {
            End::Return(verdict) => {
                done.push(of(&values, *verdict));
                return done;
            }
            End::Branch { cmp, a, b, then, other } => {
                if cmp.holds(of(&values, *a), of(&values, *b)) {
                    *then
                } else {
                    *other
                }
            }
            End::Jump(to, args) => {
                let given: Vec<u64> = args.iter().map(|arg| of(&values, *arg)).collect();
                values.extend(function.blocks[to.index()].params.iter().copied().zip(given));
                *to
            }
        };
    }
    panic!("it does not end");
}

fn count(function: &Function, of: impl Fn(&Op) -> bool) -> usize {
    function.blocks.iter().flat_map(|block| &block.insts).filter(|inst| of(&inst.op)).count()
}

fn calls(function: &Function, of: Helper) -> usize {
    count(function, |op| matches!(op, Op::Call { helper, .. } if *helper == of))
}

/// A function that, by a word that it reads, goes one of so many ways.
fn ways(count: u64, mut way: impl FnMut(&mut Builder, u64)) -> Function {
    let mut b = Builder::new(Span::default(), &[Type::Context]);
    b.slot(64);
    let word = b.field(b.input(0).value().unwrap(), Field::IngressIfindex);
    for number in 0..count {
        let (this, next) = (b.block(), b.block());
        b.branch(Cmp::Eq, word, Arg::Number(100 + 7 * number), this, next);
        b.enter(this);
        way(&mut b, number);
        b.enter(next);
    }
    b.ret(Arg::Number(99));
    let function = b.finish("f");
    check(&function).unwrap_or_else(|e| panic!("{e}\n{}", super::super::print(&function)));
    function
}

fn slot(offset: u16) -> Arg {
    Arg::Stack(Slot(0), offset)
}

/// Words that lead to all ways, and to all ends of each.
fn words() -> impl Iterator<Item = [u64; 3]> {
    let firsts = (0..6).map(|way| 100 + 7 * way).chain([0, 101]);
    firsts.flat_map(|first| (0..6).flat_map(move |second| (0..6).map(move |third| [first, second, third])))
}

#[test]
fn numbers_that_differ_are_given() {
    let function = ways(4, |b, number| {
        let second = b.load(slot(8), 0, 8);
        let sum = b.bin(Bin::Add, second, Arg::Number(number + 1));
        b.store(slot(16), 0, 8, sum);
        b.call(Helper::Redirect, vec![sum, Arg::Number(3 * number + 1)]);
        let (yes, no) = (b.block(), b.block());
        b.branch(Cmp::Eq, second, Arg::Number(number), yes, no);
        b.enter(yes);
        b.ret(Arg::Number(10 * number));
        b.enter(no);
        b.ret(second);
    });
    assert_eq!(calls(&function, Helper::Redirect), 1);
    for words in words() {
        let [first, second, _] = words;
        let way = (0..4).find(|way| 100 + 7 * way == first);
        let expected = way.map_or(vec![99], |way| {
            let (sum, verdict) = (second + way + 1, if second == way { 10 * way } else { second });
            vec![u64::MAX, 1 << 40 | 16, sum, u64::MAX, sum, 3 * way + 1, verdict]
        });
        assert_eq!(run(&function, &words), expected, "{words:?}");
    }
}

#[test]
fn variables_that_differ_are_found_behind_each_other() {
    let function = ways(4, |b, number| {
        let mine = b.load(Arg::Global(MapId(7), 16 + 24 * number as u32), 4, 8);
        let twice = b.bin(Bin::Mul, mine, Arg::Number(3));
        b.store(slot(16), 0, 8, twice);
        b.call(Helper::Redirect, vec![twice, Arg::Number(0)]);
        b.ret(mine);
    });
    assert_eq!((calls(&function, Helper::Redirect), count(&function, |op| matches!(op, Op::Place { .. }))), (1, 1));
    for way in 0..4 {
        let mine = ((3_u64 << 40) | (7 << 20) | (16 + 24 * way + 4)).wrapping_mul(77);
        let expected = vec![u64::MAX, 1 << 40 | 16, mine.wrapping_mul(3), u64::MAX, mine.wrapping_mul(3), 0, mine];
        assert_eq!(run(&function, &[100 + 7 * way, 0, 0]), expected);
    }
}

#[test]
fn where_nothing_is_common_ways_part_and_meet_again() {
    let function = ways(3, |b, number| {
        let (second, third) = (b.load(slot(8), 0, 8), b.load(slot(16), 0, 8));
        let (again, met) = (b.block(), b.block());
        let turn = Arg::Value(b.param(again, Type::Word, 8));
        b.jump(again, vec![Arg::Number(0)]);
        b.enter(again);
        let sum = b.bin(Bin::Mul, second, third);
        for offset in [24, 32, 40] {
            b.store(slot(offset), 0, 8, sum);
        }
        b.call(Helper::Redirect, vec![sum, turn]);
        // Each way has a map of its own, which is never found by a number.
        let found = b.call(Helper::MapLookup, vec![Arg::Map(MapId(number as u32)), slot(24)]);
        b.call(Helper::Random, vec![]);
        let (yes, no) = (b.block(), b.block());
        b.branch(Cmp::Eq, found, Arg::Number(0), no, yes);
        b.enter(yes);
        b.jump(met, vec![]);
        b.enter(no);
        b.call(Helper::Random, vec![]);
        b.jump(met, vec![]);
        b.enter(met);
        let next = b.bin(Bin::Add, turn, Arg::Number(1));
        let (more, end) = (b.block(), b.block());
        b.branch(Cmp::Lt, next, Arg::Number(4), more, end);
        b.enter(more);
        b.jump(again, vec![next]);
        b.enter(end);
        b.ret(Arg::Number(number));
    });
    assert_eq!((calls(&function, Helper::Redirect), calls(&function, Helper::MapLookup)), (1, 3));
    for way in 0..3_u64 {
        let done = run(&function, &[100 + 7 * way, 5, 9]);
        let lookups: Vec<&u64> = done.iter().filter(|number| **number >> 40 == 2).collect();
        assert_eq!(lookups, vec![&(2 << 40 | way); 4]);
        assert_eq!(done.last(), Some(&way));
    }
}

#[test]
fn commit_points_of_different_tables_stay_apart() {
    for same in [false, true] {
        let function = ways(2, |b, number| {
            let second = b.load(slot(8), 0, 8);
            let sum = b.bin(Bin::Mul, second, Arg::Number(3));
            for offset in [24, 32, 40, 48, 56] {
                b.commit = Some(Commit { table: TableId(if same { 0 } else { number as u32 }), what: Effect::Change });
                b.store(slot(offset), 0, 8, sum);
            }
            b.ret(Arg::Number(number));
        });
        assert_eq!(count(&function, |op| matches!(op, Op::Store { .. })), if same { 5 } else { 10 });
    }
}

#[test]
fn what_only_one_way_knows_stays_with_it() {
    // What is made on one of the ways before they are alike is used behind.
    let function = ways(2, |b, number| {
        let second = b.load(slot(8), 0, 8);
        let (mut own, mut last) = (second, Arg::Number(5));
        if number == 1 {
            own = b.call(Helper::Random, vec![]);
            last = b.bin(Bin::Xor, own, Arg::Number(1));
        }
        let (begin, never) = (b.block(), b.block());
        b.branch(Cmp::Ne, second, Arg::Number(3), begin, never);
        b.enter(never);
        b.ret(Arg::Number(1));
        b.enter(begin);
        for offset in [24, 32, 40, 48] {
            b.store(slot(offset), 0, 8, second);
        }
        if number == 1 {
            b.store(slot(56), 0, 8, own);
        }
        b.ret(last);
    });
    for words in words() {
        let done = run(&function, &words);
        let stores = words[1];
        let expected = match words {
            [100, 3, _] => vec![1],
            [100, ..] => [24, 32, 40, 48].into_iter().flat_map(|at| [u64::MAX, 1 << 40 | at, stores]).chain([5]).collect(),
            [107, 3, _] => vec![u64::MAX, 1],
            [107, ..] => {
                let all =
                    [u64::MAX].into_iter().chain([24, 32, 40, 48].into_iter().flat_map(|at| [u64::MAX, 1 << 40 | at, stores]));
                all.chain([u64::MAX, 1 << 40 | 56, 1, 0]).collect()
            }
            _ => vec![99],
        };
        assert_eq!(done, expected, "{words:?}\n{}", super::super::print(&function));
    }
}

#[test]
fn a_chain_of_comparisons_with_what_is_given_is_one_question() {
    let mut b = Builder::new(Span::default(), &[Type::Context]);
    let context = b.input(0).value().unwrap();
    let word = b.field(context, Field::IngressIfindex);
    let met = b.block();
    let param = Arg::Value(b.param(met, Type::Word, 8));
    for number in 0..4 {
        let (this, next) = (b.block(), b.block());
        b.branch(Cmp::Eq, word, Arg::Number(number), this, next);
        b.enter(this);
        b.jump(met, vec![Arg::Number(number)]);
        b.enter(next);
    }
    b.jump(met, vec![Arg::Number(9)]);
    b.enter(met);
    b.call(Helper::Redirect, vec![param, Arg::Number(0)]);
    b.ret(Arg::Number(1));
    let function = b.finish("f");
    check(&function).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(function.blocks.iter().filter(|block| matches!(block.end, End::Branch { .. })).count(), 1);
    for word in 0..8 {
        assert_eq!(run(&function, &[word]), [u64::MAX, if word < 4 { word } else { 9 }, 0, 1]);
    }
}

#[test]
fn a_chain_that_leaves_one_number_gives_the_word() {
    for (limit, branches) in [(4, 1), (5, 2)] {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        b.slot(64);
        let word = b.load(slot(8), 0, 4);
        let (far, met) = (b.block(), b.block());
        let number = Arg::Value(b.param(met, Type::Word, 32));
        b.unless(Cmp::Lt, word, Arg::Number(limit), far);
        for number in 0..3 {
            let (this, next) = (b.block(), b.block());
            b.branch(Cmp::Eq, word, Arg::Number(number), this, next);
            b.enter(this);
            b.jump(met, vec![Arg::Number(number)]);
            b.enter(next);
        }
        b.jump(met, vec![Arg::Number(3)]);
        b.enter(met);
        b.call(Helper::Redirect, vec![number, number]);
        b.ret(number);
        b.enter(far);
        b.ret(Arg::Number(9));
        let function = b.finish("f");
        check(&function).unwrap_or_else(|e| panic!("{e}\n{}", super::super::print(&function)));
        let asks = function.blocks.iter().filter(|block| matches!(block.end, End::Branch { .. })).count();
        assert_eq!(asks, branches, "{limit}");
        for word in 0..6 {
            let verdict = if word >= limit { 9 } else { word.min(3) };
            assert_eq!(run(&function, &[0, word, 0]).last(), Some(&verdict));
        }
    }
}

#[test]
fn chains_of_variables_are_loops() {
    for (places, numbers, loops) in [
        ([8, 12, 16, 20], [0, 1, 2, 3], 1),
        ([8, 12, 16, 24], [0, 1, 2, 3], 1),
        ([8, 12, 20, 24], [0, 1, 2, 3], 0),
        ([8, 12, 16, 20], [0, 1, 3, 2], 0),
    ] {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        b.constants = Some(MapId(0));
        let word = b.field(b.input(0).value().unwrap(), Field::IngressIfindex);
        let met = b.block();
        let number = Arg::Value(b.param(met, Type::Word, 8));
        for (place, value) in places.into_iter().zip(numbers) {
            let (this, next) = (b.block(), b.block());
            let read = b.load(Arg::Global(MapId(0), place), 0, 4);
            b.branch(Cmp::Eq, word, read, this, next);
            b.enter(this);
            b.jump(met, vec![Arg::Number(value)]);
            b.enter(next);
        }
        b.ret(Arg::Number(99));
        b.enter(met);
        let verdict = b.bin(Bin::Mul, number, Arg::Number(3));
        b.call(Helper::Redirect, vec![verdict, number]);
        b.ret(verdict);
        let function = b.finish("f");
        check(&function).unwrap_or_else(|e| panic!("{e}\n{}", super::super::print(&function)));
        assert_eq!(count(&function, |op| matches!(op, Op::Advance { .. })), loops, "{places:?} {numbers:?}");
        for (place, number) in places.into_iter().zip(numbers) {
            let word = (3 << 40 | u64::from(place)) * 77;
            assert_eq!(run(&function, &[word]).last(), Some(&(3 * number)), "{places:?}");
        }
        assert_eq!(run(&function, &[1]), [99]);
    }
}
