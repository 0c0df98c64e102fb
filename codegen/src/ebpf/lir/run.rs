//! Carries out a function, for tests: of reads, arithmetic and ways; helpers give 1, and what is written to anything but the stack is nowhere.

use super::build::evaluate;
use super::{Arg, End, Field, Function, Op, Value, mask};
use std::collections::HashMap;

/// What it returns of a packet that is long enough, which arrived at an interface with this number; `stack`: words that are on the stack at first, and where.
pub(super) fn run(function: &Function, packet: &[u8], interface: u64, stack: &[(i32, u64)]) -> u64 {
    let mut values: HashMap<Value, u64> = HashMap::new();
    let mut stack: HashMap<i32, u64> = stack.iter().copied().collect();
    let mut at = 0;
    loop {
        let block = &function.blocks[at];
        let of = |values: &HashMap<Value, u64>, arg: Arg| match arg {
            Arg::Number(number) => number,
            Arg::Value(value) => values[&value],
            _ => 0,
        };
        for inst in &block.insts {
            let value = match &inst.op {
                Op::Context(_, Field::Data) => 0,
                Op::Context(_, Field::DataEnd) => packet.len() as u64,
                Op::Context(..) => interface,
                Op::Advance { pointer, by } => values[pointer] + of(&values, *by),
                Op::Load { base: Arg::Stack(_, place), offset, .. } => stack[&(i32::from(*place) + i32::from(*offset))],
                Op::Load { base, offset, bytes } => {
                    let from = of(&values, *base) as usize + *offset as usize;
                    let bytes = &packet[from..from + usize::from(*bytes)];
                    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
                }
                Op::Store { base: Arg::Stack(_, place), offset, value, .. } => {
                    stack.insert(i32::from(*place) + i32::from(*offset), of(&values, *value));
                    0
                }
                Op::Store { .. } => 0,
                Op::Bin { op, wide, a, b } => evaluate(*op, *wide, of(&values, *a), of(&values, *b)),
                Op::Swap { bits, a } => (of(&values, *a) & mask(*bits)).swap_bytes() >> (64 - bits),
                Op::Call { .. } => 1,
                other => panic!("{other:?}"),
            };
            values.extend(inst.result.map(|result| (result, value)));
        }
        match &block.end {
            End::Return(verdict) => return of(&values, *verdict),
            End::Branch { cmp, a, b, then, other } => {
                let holds = cmp.holds(of(&values, *a), of(&values, *b));
                at = if holds { then.index() } else { other.index() };
            }
            End::Jump(to, args) => {
                let given: Vec<u64> = args.iter().map(|arg| of(&values, *arg)).collect();
                values.extend(function.blocks[to.index()].params.iter().copied().zip(given));
                at = to.index();
            }
        }
    }
}
