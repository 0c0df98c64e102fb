//! Random functions: what they say, beside what the machine does when it runs what they are compiled to. They have more words than there are registers.

use super::super::lir::{Arg, Bin, Builder, Cmp, Field, Helper, Slot, Type, check, evaluate};
use super::insn::FRAME;
use super::{Code, Insn, LD_IMM64, compile};
use grv_lang::span::Span;
use proptest::prelude::*;

/// Words that a function has.
const WORDS: usize = 14;
/// Of these, how many can be put on the stack.
const PLACES: usize = 3;
/// Calls destroy what is in registers.
const DESTROYED: u64 = 0xdead_dead_dead_dead;
/// Where the context and the stack are.
const CONTEXT: u64 = 1 << 50;
const STACK: u64 = 1 << 40;

/// A step of a function.
#[derive(Clone, Debug)]
enum Step {
    Set(usize, Bin, usize, Result<usize, u64>),
    Call(usize, usize, usize),
    Put(usize, usize),
    Take(usize, usize),
    If(Cmp, usize, Result<usize, u64>, Vec<Step>, Vec<Step>),
    Repeat(u64, Vec<Step>),
}

fn word() -> impl Strategy<Value = usize> {
    0..WORDS
}

fn operand() -> impl Strategy<Value = Result<usize, u64>> {
    let numbers = prop_oneof![0..4_u64, Just(u64::MAX), Just(0x9e37_79b9_7f4a_7c15), Just(1 << 31), any::<u64>()];
    prop_oneof![word().prop_map(Ok), numbers.prop_map(Err)]
}

fn op() -> impl Strategy<Value = Bin> {
    use Bin::{Add, And, Div, Mul, Or, Rem, Shl, Shr, Sub, Xor};
    prop::sample::select(vec![Add, Sub, Mul, Div, Rem, And, Or, Xor, Shl, Shr])
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let cmp = prop::sample::select(vec![Cmp::Eq, Cmp::Ne, Cmp::Lt, Cmp::Le, Cmp::Gt, Cmp::Ge, Cmp::Set, Cmp::Clear]);
    let leaf = prop_oneof![
        4 => (word(), op(), word(), operand()).prop_map(|(to, op, a, b)| Step::Set(to, op, a, b)),
        2 => (word(), word(), word()).prop_map(|(to, a, b)| Step::Call(to, a, b)),
        1 => (0..PLACES, word()).prop_map(|(place, a)| Step::Put(place, a)),
        1 => (word(), 0..PLACES).prop_map(|(to, place)| Step::Take(to, place)),
    ];
    let step = leaf.prop_recursive(3, 40, 8, move |inner| {
        let body = prop::collection::vec(inner, 0..8);
        prop_oneof![
            (cmp.clone(), word(), operand(), body.clone(), body.clone())
                .prop_map(|(cmp, a, b, yes, no)| Step::If(cmp, a, b, yes, no)),
            (1..4_u64, body).prop_map(|(times, body)| Step::Repeat(times, body)),
        ]
    });
    prop::collection::vec(step, 1..24)
}

/// What a call returns: which one it is, and with what.
fn called(count: u64, a: u64, b: u64) -> u64 {
    (count.wrapping_mul(31) ^ a).wrapping_mul(0xd6e8_feb8_6659_fd93) ^ b.rotate_left(7)
}

fn first(word: usize, given: u64) -> u64 {
    given.wrapping_mul(2 * word as u64 + 1)
}

/// Shifts are by less than the bits there are.
fn shifted(op: Bin, b: u64) -> u64 {
    if matches!(op, Bin::Shl | Bin::Shr) { b & 63 } else { b }
}

/// What it says.
#[derive(Default)]
struct Said {
    words: [u64; WORDS],
    places: [u64; PLACES],
    calls: u64,
}

impl Said {
    fn run(&mut self, steps: &[Step]) {
        for step in steps {
            let of =
                |words: &[u64; WORDS], operand: &Result<usize, u64>| operand.map_or_else(|number| number, |word| words[word]);
            match step {
                Step::Set(to, op, a, b) => {
                    self.words[*to] = evaluate(*op, true, self.words[*a], shifted(*op, of(&self.words, b)));
                }
                Step::Call(to, a, b) => {
                    self.calls += 1;
                    self.words[*to] = called(self.calls, self.words[*a], self.words[*b]);
                }
                Step::Put(place, a) => self.places[*place] = self.words[*a],
                Step::Take(to, place) => self.words[*to] = self.places[*place],
                Step::If(cmp, a, b, yes, no) => {
                    self.run(if cmp.holds(self.words[*a], of(&self.words, b)) { yes } else { no });
                }
                Step::Repeat(times, body) => (0..*times).for_each(|_| self.run(body)),
            }
        }
    }
}

/// The function.
struct Build {
    b: Builder,
    words: [Arg; WORDS],
    slot: Slot,
}

impl Build {
    fn steps(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Set(to, op, a, b) => {
                    let mut b = self.operand(b);
                    if matches!(op, Bin::Shl | Bin::Shr) {
                        b = self.b.bin(Bin::And, b, Arg::Number(63));
                    }
                    self.words[*to] = self.b.bin(*op, self.words[*a], b);
                }
                Step::Call(to, a, b) => {
                    self.words[*to] = self.b.call(Helper::Redirect, vec![self.words[*a], self.words[*b]]);
                }
                Step::Put(place, a) => self.b.store(self.place(*place), 0, 8, self.words[*a]),
                Step::Take(to, place) => self.words[*to] = self.b.load(self.place(*place), 0, 8),
                Step::If(cmp, a, b, yes, no) => {
                    let (then, other, behind) = (self.b.block(), self.b.block(), self.b.block());
                    let b = self.operand(b);
                    self.b.branch(*cmp, self.words[*a], b, then, other);
                    let before = self.words;
                    for (block, body) in [(then, yes), (other, no)] {
                        self.b.enter(block);
                        self.words = before;
                        self.steps(body);
                        self.b.jump(behind, self.words.to_vec());
                    }
                    self.words = std::array::from_fn(|_| Arg::Value(self.b.param(behind, Type::Word, 64)));
                    self.b.enter(behind);
                }
                Step::Repeat(times, body) => {
                    let (head, again, behind) = (self.b.block(), self.b.block(), self.b.block());
                    let turn = Arg::Value(self.b.param(head, Type::Word, 64));
                    let given: [Arg; WORDS] = std::array::from_fn(|_| Arg::Value(self.b.param(head, Type::Word, 64)));
                    self.b.jump(head, [vec![Arg::Number(0)], self.words.to_vec()].concat());
                    self.b.enter(head);
                    self.b.branch(Cmp::Lt, turn, Arg::Number(*times), again, behind);
                    self.b.enter(again);
                    self.words = given;
                    self.steps(body);
                    let next = self.b.bin(Bin::Add, turn, Arg::Number(1));
                    self.b.jump(head, [vec![next], self.words.to_vec()].concat());
                    self.words = given;
                    self.b.enter(behind);
                }
            }
        }
    }

    fn operand(&self, operand: &Result<usize, u64>) -> Arg {
        operand.map_or_else(Arg::Number, |word| self.words[word])
    }

    fn place(&self, place: usize) -> Arg {
        Arg::Stack(self.slot, place as u16 * 8)
    }
}

/// What the machine does with code (RFC 9669, as far as functions here need it). The result is in the first register.
fn run(code: &Code, given: u64) -> (u64, u64) {
    let mut registers = [DESTROYED; 11];
    (registers[1], registers[usize::from(FRAME)]) = (CONTEXT, STACK);
    let mut stack = std::collections::HashMap::new();
    let (mut at, mut calls) = (0_usize, 0);
    for _ in 0..100_000 {
        let insn = code.insns[at];
        at += 1;
        let (dst, src) = (usize::from(insn.dst), usize::from(insn.src));
        let number = insn.imm as i64 as u64;
        let second = if insn.code & 8 != 0 { registers[src] } else { number };
        let place = |base: u64| base.wrapping_add(insn.offset as u64);
        match insn.code & 7 {
            0 => {
                assert_eq!(insn.code, LD_IMM64);
                registers[dst] = u64::from(insn.imm as u32) | u64::from(code.insns[at].imm as u32) << 32;
                at += 1;
            }
            1 if registers[src] == CONTEXT => registers[dst] = given,
            1 => registers[dst] = stack[&place(registers[src])],
            2 => drop(stack.insert(place(registers[dst]), number)),
            3 => drop(stack.insert(place(registers[dst]), registers[src])),
            4 | 7 => {
                let wide = insn.code & 7 == 7;
                let mut result = match insn.code & 0xf0 {
                    0xb0 => second,
                    other => {
                        let op = [
                            (0x00, Bin::Add),
                            (0x10, Bin::Sub),
                            (0x20, Bin::Mul),
                            (0x30, Bin::Div),
                            (0x40, Bin::Or),
                            (0x50, Bin::And),
                            (0x60, Bin::Shl),
                            (0x70, Bin::Shr),
                            (0x90, Bin::Rem),
                            (0xa0, Bin::Xor),
                        ];
                        let (_, op) = op.into_iter().find(|(code, _)| *code == other).expect("arithmetic");
                        let low = |word: u64| if wide { word } else { word & 0xffff_ffff };
                        evaluate(op, wide, low(registers[dst]), low(second))
                    }
                };
                if !wide {
                    result &= 0xffff_ffff;
                }
                registers[dst] = result;
            }
            _ if insn == Insn::exit() => return (registers[0], calls),
            _ if insn == Insn::call(Helper::Redirect.number()) => {
                calls += 1;
                registers[0] = called(calls, registers[1], registers[2]);
                registers[1..=5].fill(DESTROYED);
            }
            class => {
                let wide = class == 5;
                let low = |word: u64| if wide { word } else { word & 0xffff_ffff };
                let (a, b) = (low(registers[dst]), low(second));
                let taken = match insn.code & 0xf0 {
                    0x00 => true,
                    0x10 => a == b,
                    0x20 => a > b,
                    0x30 => a >= b,
                    0x40 => a & b != 0,
                    0x50 => a != b,
                    0xa0 => a < b,
                    0xb0 => a <= b,
                    other => panic!("a jump {other:#x}"),
                };
                if taken {
                    at = (at as i64 + i64::from(insn.offset)) as usize;
                }
            }
        }
    }
    panic!("it does not end");
}

proptest! {
    #[test]
    fn the_machine_does_what_a_function_says(steps in steps(), given in any::<u32>()) {
        let mut said = Said { words: std::array::from_fn(|word| first(word, given.into())), ..Said::default() };
        said.run(&steps);
        let expected = said.words.iter().fold(0, |sum: u64, word| sum.wrapping_mul(3).wrapping_add(*word));

        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let context = b.input(0).value().unwrap();
        let word = b.field(context, Field::IngressIfindex);
        let slot = b.slot(8 * PLACES as u16);
        let words = std::array::from_fn(|at| b.bin(Bin::Mul, word, Arg::Number(2 * at as u64 + 1)));
        let mut build = Build { b, words, slot };
        for place in 0..PLACES {
            build.b.store(build.place(place), 0, 8, Arg::Number(0));
        }
        build.steps(&steps);
        let mut sum = Arg::Number(0);
        for word in build.words {
            let more = build.b.bin(Bin::Mul, sum, Arg::Number(3));
            sum = build.b.bin(Bin::Add, more, word);
        }
        build.b.ret(sum);
        let function = build.b.finish("f");
        check(&function).unwrap_or_else(|e| panic!("{e}"));
        let code = compile(&function).unwrap();
        prop_assert_eq!(run(&code, given.into()), (expected, said.calls));
    }
    /// Ways on which some narrow words are numbers and others are not; where they meet, some are put together, and all are used.
    #[test]
    fn the_machine_does_what_narrow_words_that_meet_say(
        widths in prop::collection::vec(1_u8..18, 2..7),
        ways in prop::collection::vec(prop::collection::vec(prop_oneof![3 => (0..1_u64 << 17).prop_map(Ok), 1 => (0..14_u64).prop_map(Err)], 7), 2..7),
        (together, turns) in (prop::sample::subsequence((0..7_usize).collect::<Vec<_>>(), 0..7).prop_shuffle(), 1..4_u64),
        given in any::<u32>(),
    ) {
        let low = |word: u64, bits: u8| word & ((1 << bits) - 1);
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let context = b.input(0).value().unwrap();
        let word = b.field(context, Field::IngressIfindex);
        let met = b.block();
        let turn = Arg::Value(b.param(met, Type::Word, 8));
        let params: Vec<Arg> = widths.iter().map(|bits| Arg::Value(b.param(met, Type::Word, *bits))).collect();
        let before = Arg::Value(b.param(met, Type::Word, 64));
        let way = b.bin(Bin::Rem, word, Arg::Number(ways.len() as u64));
        for (number, words) in (0..).zip(&ways) {
            let (here, next) = (b.block(), b.block());
            b.branch(Cmp::Eq, way, Arg::Number(number), here, next);
            b.enter(here);
            let mut args = vec![Arg::Number(0)];
            for (given, bits) in words.iter().zip(&widths) {
                args.push(match given {
                    Ok(number) => Arg::Number(low(*number, *bits)),
                    Err(by) => {
                        let moved = b.bin(Bin::Shr, word, Arg::Number(*by));
                        b.low(moved, *bits)
                    }
                });
            }
            args.push(Arg::Number(0));
            b.jump(met, args);
            b.enter(next);
        }
        b.ret(Arg::Number(77));
        b.enter(met);
        let together: Vec<usize> = together.into_iter().filter(|field| *field < widths.len()).collect();
        let (mut key, mut up) = (Arg::Number(0), 0);
        for field in &together {
            if up + widths[*field] <= 64 {
                let moved = b.bin(Bin::Shl, params[*field], Arg::Number(up.into()));
                key = b.bin(Bin::Or, key, moved);
                up += widths[*field];
            }
        }
        let mut sum = b.call(Helper::Redirect, vec![key, before]);
        for param in &params {
            let more = b.bin(Bin::Mul, sum, Arg::Number(5));
            sum = b.bin(Bin::Add, more, *param);
        }
        let (again, done) = (b.block(), b.block());
        let next = b.bin(Bin::Add, turn, Arg::Number(1));
        b.branch(Cmp::Lt, next, Arg::Number(turns), again, done);
        b.enter(again);
        b.jump(met, [vec![next], params, vec![sum]].concat());
        b.enter(done);
        b.ret(sum);
        let function = b.finish("f");
        check(&function).unwrap_or_else(|e| panic!("{e}"));

        let words: Vec<u64> = ways[given as usize % ways.len()]
            .iter()
            .zip(&widths)
            .map(|(word, bits)| low(word.map_or_else(|by| u64::from(given) >> by, |number| number), *bits))
            .collect();
        let (mut key, mut up) = (0, 0);
        for field in together {
            if up + widths[field] <= 64 {
                key |= words[field] << up;
                up += widths[field];
            }
        }
        let mut expected = 0;
        for turn in 1..=turns {
            expected = called(turn, key, expected);
            expected = words.iter().fold(expected, |sum, word| sum.wrapping_mul(5).wrapping_add(*word));
        }
        prop_assert_eq!(run(&compile(&function).unwrap(), given.into()), (expected, turns));
    }
}
