//! What one way does and the place undoes where it meets others: a word that is moved down on a way, and up again behind, is not moved on that way. The others
//! move theirs up before they meet.

use super::simplify::Replaced;
use super::{Arg, Bin, BlockId, End, Function, Inst, Op, Type, Value, mask};
use grv_lang::span::Span;
use rustc_hash::FxHashMap;

/// A parameter that is only moved up.
struct Moved {
    param: Value,
    result: Value,
    up: u64,
    span: Span,
    /// The blocks that jump there, which argument it is, and what they give.
    given: Vec<(BlockId, usize, Arg)>,
}

impl Function {
    /// Moves words on the ways that meet, where one of them would be moved back.
    pub(super) fn undo_early(&mut self) {
        let uses = self.uses();
        let mut down: FxHashMap<Value, (Arg, u64)> = FxHashMap::default();
        for inst in self.blocks.iter().flat_map(|block| &block.insts) {
            if let (Op::Bin { op: Bin::Shr, wide: true, a, b: Arg::Number(by) }, Some(result)) = (&inst.op, inst.result)
                && uses[result.index()] == 1
            {
                down.insert(result, (*a, *by));
            }
        }
        let mut met = Vec::new();
        for moved in self.moved_up(&uses) {
            let undone = |arg: &Arg| arg.value().and_then(|value| down.get(&value)).filter(|(_, by)| *by == moved.up);
            let others = moved.given.iter().filter(|(.., arg)| undone(arg).is_none() && arg.number().is_none()).count();
            // It is no more to do on any way, and hardly more code.
            if others > 1 || !moved.given.iter().any(|(.., arg)| undone(arg).is_some()) {
                continue;
            }
            for (from, at, arg) in &moved.given {
                let op = match undone(arg) {
                    Some((of, by)) => Op::Bin { op: Bin::And, wide: true, a: *of, b: Arg::Number(!mask(*by as u8)) },
                    None => Op::Bin { op: Bin::Shl, wide: true, a: *arg, b: Arg::Number(moved.up) },
                };
                let arg = match arg {
                    Arg::Number(number) => Arg::Number(number << moved.up),
                    _ => Arg::Value(self.put_last(*from, op, moved.span)),
                };
                if let End::Jump(_, args) = &mut self.blocks[from.index()].end {
                    args[*at] = arg;
                }
            }
            self.bits[moved.param.index()] = 64;
            met.push((moved.result, moved.param));
        }
        let mut known = Replaced::new(self.types.len());
        met.into_iter().for_each(|(result, param)| known.set(result, Arg::Value(param)));
        self.replace(&known);
        self.drop_unused();
    }

    /// Parameters that are used once, to be moved up.
    fn moved_up(&self, uses: &[u32]) -> Vec<Moved> {
        let mut up: FxHashMap<Value, (Value, u64, Span)> = FxHashMap::default();
        for inst in self.blocks.iter().flat_map(|block| &block.insts) {
            if let (Op::Bin { op: Bin::Shl, wide: true, a: Arg::Value(a), b: Arg::Number(by @ 1..64) }, Some(result)) =
                (&inst.op, inst.result)
                && uses[a.index()] == 1
            {
                up.insert(*a, (result, *by, inst.span));
            }
        }
        let mut all: Vec<Moved> = Vec::new();
        for (to, block) in (0..).map(BlockId).zip(&self.blocks) {
            for (at, param) in block.params.iter().enumerate() {
                let Some((result, up, span)) = up.get(param) else { continue };
                let given = (0..).map(BlockId).zip(&self.blocks).filter_map(|(from, block)| match &block.end {
                    End::Jump(goal, args) if *goal == to => Some((from, at, *args.get(at)?)),
                    _ => None,
                });
                all.push(Moved { param: *param, result: *result, up: *up, span: *span, given: given.collect() });
            }
        }
        all
    }

    /// Puts an instruction at the end of a block; its result.
    fn put_last(&mut self, block: BlockId, op: Op, span: Span) -> Value {
        let value = Value(self.types.len() as u32);
        self.types.push(Type::Word);
        self.bits.push(64);
        self.blocks[block.index()].insts.push(Inst { op, result: Some(value), span, commit: None });
        value
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Builder, Cmp, Field, check};
    use super::*;

    /// How often words are moved by a function that moves one of two down by so many bits, and the one that it was up by 16.
    fn moves(down: u64, too: bool) -> Vec<Bin> {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let context = b.input(0).value().unwrap();
        let (data, end) = (b.field(context, Field::Data), b.field(context, Field::DataEnd));
        let behind = b.advance(data.value().unwrap(), Arg::Number(24));
        let (short, one, two, done) = (b.block(), b.block(), b.block(), b.block());
        b.unless(Cmp::Le, Arg::Value(behind), end, short);
        let (first, second) = (b.load(data, 0, 8), b.load(data, 8, 8));
        let met = Arg::Value(b.param(done, Type::Word, 64));
        b.branch(Cmp::Lt, first, second, one, two);
        b.enter(one);
        let moved = b.bin(Bin::Shr, first, Arg::Number(down));
        b.jump(done, vec![moved]);
        b.enter(two);
        b.jump(done, vec![second]);
        b.enter(done);
        let up = b.bin(Bin::Shl, met, Arg::Number(16));
        let turned = b.swap(64, up);
        b.store(data, 16, 4, turned);
        if too {
            b.store(data, 20, 4, met);
        }
        b.ret(Arg::Number(2));
        b.enter(short);
        b.ret(Arg::Number(1));
        let function = b.finish("f");
        check(&function).unwrap_or_else(|e| panic!("{e}"));
        let insts = function.blocks.iter().flat_map(|block| &block.insts);
        insts.filter_map(|inst| if let Op::Bin { op, .. } = inst.op { Some(op) } else { None }).collect()
    }

    #[test]
    fn what_would_be_moved_back_is_not_moved() {
        // What is moved out is not looked at either.
        assert_eq!(moves(16, false), [Bin::Shl]);
        assert_eq!(moves(15, false), [Bin::Shr, Bin::Shl]);
        // Where the word is needed as it was, too.
        assert_eq!(moves(16, true), [Bin::Shr, Bin::Shl]);
    }
}
