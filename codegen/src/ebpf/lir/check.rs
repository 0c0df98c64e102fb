//! Checks a function for what the passes behind rely on. A breach is a bug of the lowering.

use super::{Arg, BlockId, End, Function, Op, Type, Value};

/// The first breach, in words.
pub(crate) fn check(function: &Function) -> Result<(), String> {
    let count = function.blocks.len();
    let preds = predecessors(function)?;
    if !preds.first().is_some_and(Vec::is_empty) || !function.blocks[0].params.is_empty() {
        return Err("something leads to the entry, or it has parameters".to_string());
    }
    // Which values are defined on every way to a block; iterated down from all.
    let all = vec![true; function.types.len()];
    let mut known = vec![all; count];
    let mut entry = vec![false; function.types.len()];
    function.inputs.iter().for_each(|input| entry[input.index()] = true);
    known[0] = entry;
    let mut changed = true;
    while changed {
        changed = false;
        for block in 1..count {
            let mut meet = vec![true; function.types.len()];
            for pred in &preds[block] {
                let out = defined(function, *pred, &known[pred.index()]);
                meet.iter_mut().zip(&out).for_each(|(m, o)| *m &= o);
            }
            if meet != known[block] {
                known[block] = meet;
                changed = true;
            }
        }
    }
    let mut defined_once = vec![false; function.types.len()];
    for (number, block) in function.blocks.iter().enumerate() {
        let mut live = known[number].clone();
        let results = block.insts.iter().filter_map(|inst| inst.result);
        for value in block.params.iter().copied().chain(results) {
            if std::mem::replace(&mut defined_once[value.index()], true) {
                return Err(format!("b{number}: v{} is defined twice", value.0));
            }
        }
        block.params.iter().for_each(|param| live[param.index()] = true);
        let used = |args: &[Arg], live: &[bool]| match args.iter().filter_map(|a| a.value()).find(|v| !live[v.index()]) {
            Some(Value(value)) => Err(format!("b{number}: v{value} is used where it is not defined")),
            None => Ok(()),
        };
        for inst in &block.insts {
            used(&inst.op.args(), &live)?;
            typed(function, &inst.op).map_err(|e| format!("b{number}: {e}"))?;
            if let Some(value) = inst.result {
                live[value.index()] = true;
            }
        }
        match &block.end {
            End::Jump(to, args) => {
                used(args, &live)?;
                if args.len() != function.blocks[to.index()].params.len() {
                    return Err(format!("b{number}: b{} takes another number of arguments", to.0));
                }
            }
            End::Branch { a, b, then, other, .. } => {
                used(&[*a, *b], &live)?;
                if !function.blocks[then.index()].params.is_empty() || !function.blocks[other.index()].params.is_empty() {
                    return Err(format!("b{number}: a branch to a block with parameters"));
                }
            }
            End::Return(verdict) => used(&[*verdict], &live)?,
        }
    }
    Ok(())
}

/// What leads to each block.
pub(crate) fn predecessors(function: &Function) -> Result<Vec<Vec<BlockId>>, String> {
    let mut preds = vec![Vec::new(); function.blocks.len()];
    for (number, block) in (0..).map(BlockId).zip(&function.blocks) {
        let to: &[BlockId] = match &block.end {
            End::Jump(to, _) => &[*to],
            End::Branch { then, other, .. } => &[*then, *other],
            End::Return(_) => &[],
        };
        for to in to {
            preds.get_mut(to.index()).ok_or_else(|| format!("there is no b{}", to.0))?.push(number);
        }
    }
    Ok(preds)
}

fn defined(function: &Function, block: BlockId, before: &[bool]) -> Vec<bool> {
    let mut after = before.to_vec();
    let block = &function.blocks[block.index()];
    for value in block.params.iter().copied().chain(block.insts.iter().filter_map(|inst| inst.result)) {
        after[value.index()] = true;
    }
    after
}

/// Whether pointers are used as what they are.
fn typed(function: &Function, op: &Op) -> Result<(), String> {
    let ty = |arg: &Arg| arg.value().map(|value| function.types[value.index()]);
    let word = |arg: &Arg| matches!(arg, Arg::Number(_)) || ty(arg) == Some(Type::Word);
    let memory =
        |arg: &Arg| matches!(arg, Arg::Stack(..) | Arg::Global(..)) || matches!(ty(arg), Some(Type::Packet | Type::Entry));
    let good = match op {
        Op::Context(context, _) => function.types[context.index()] == Type::Context,
        Op::Bin { a, b, .. } => word(a) && word(b),
        Op::Swap { bits, a } => word(a) && matches!(bits, 16 | 32 | 64),
        Op::Advance { pointer, by } => matches!(function.types[pointer.index()], Type::Packet | Type::Entry) && word(by),
        Op::Place { base, by } => (matches!(base, Arg::Global(..)) || ty(base) == Some(Type::Entry)) && word(by),
        Op::Distance { from, to } => {
            function.types[from.index()] == Type::Packet && matches!(function.types[to.index()], Type::Packet | Type::PacketEnd)
        }
        Op::Load { base, bytes, .. } => memory(base) && matches!(bytes, 1 | 2 | 4 | 8),
        Op::Store { base, bytes, value, .. } => memory(base) && word(value) && matches!(bytes, 1 | 2 | 4 | 8),
        Op::CompareSwap { base, expected, new, .. } => memory(base) && word(expected) && word(new),
        Op::FetchAdd { base, amount, .. } => memory(base) && word(amount),
        Op::Call { args, .. } => args.len() <= 5,
        Op::Invoke { args, .. } => args.len() <= 5 && args.iter().all(word),
    };
    if good { Ok(()) } else { Err(format!("operands of other types: {op:?}")) }
}
