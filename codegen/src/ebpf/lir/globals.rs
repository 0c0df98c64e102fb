//! Global variables that are read or written one after the other have one address, which takes two instructions to make, and are so far behind it.
//!
//! Calls leave few registers alone, and none is kept over them for an address.

use super::simplify::Dominators;
use super::{Arg, BlockId, Function, Inst, MapId, Op, Type, Value};
use rustc_hash::FxHashMap;

/// Instructions from one use of an address to the next, at most: it keeps a register from others.
const FAR: usize = 16;

/// Uses that have an address in common: the map, the place of the first, and where they are.
struct Shared {
    map: MapId,
    at: u32,
    uses: Vec<(BlockId, usize)>,
}

/// By map: which uses one more would be part of, and after how many instructions there was the last.
type Near = FxHashMap<MapId, (usize, usize)>;

impl Function {
    /// Has variables share addresses.
    pub(super) fn share_addresses(&mut self) {
        let (ways, dominators) = (self.ways(), Dominators::of(self));
        let mut all: Vec<Shared> = Vec::new();
        let mut ends: Vec<(Near, usize)> = vec![(Near::default(), 0); self.blocks.len()];
        for id in &dominators.order {
            let above = dominators.above(*id).filter(|_| ways[id.index()] == 1);
            let (mut near, before) = above.map_or_else(|| (Near::default(), 0), |above| ends[above.index()].clone());
            for (index, inst) in self.blocks[id.index()].insts.iter().enumerate() {
                if matches!(inst.op, Op::Call { .. } | Op::Invoke { .. }) {
                    near.clear();
                }
                let Some((map, at, offset)) = place(&inst.op) else { continue };
                let here = before + index;
                let joined =
                    near.get(&map).filter(|(shared, last)| here - last <= FAR && all[*shared].behind(at, offset).is_some());
                let shared = match joined {
                    Some((shared, _)) => *shared,
                    None => {
                        all.push(Shared { map, at, uses: Vec::new() });
                        all.len() - 1
                    }
                };
                all[shared].uses.push((*id, index));
                near.insert(map, (shared, here));
            }
            ends[id.index()] = (near, before + self.blocks[id.index()].insts.len() + 1);
        }
        // From the last to the first of a block, so that places before stay what they are.
        let mut made: Vec<(BlockId, usize, Inst)> = Vec::new();
        for shared in all.iter().filter(|shared| shared.uses.len() > 1) {
            let address = Value(self.types.len() as u32);
            self.types.push(Type::Entry);
            self.bits.push(64);
            for (block, index) in &shared.uses {
                let op = &mut self.blocks[block.index()].insts[*index].op;
                if let Some(behind) = place(op).and_then(|(_, at, offset)| shared.behind(at, offset))
                    && let Op::Load { base, offset, .. }
                    | Op::Store { base, offset, .. }
                    | Op::CompareSwap { base, offset, .. }
                    | Op::FetchAdd { base, offset, .. } = op
                {
                    (*base, *offset) = (Arg::Value(address), behind);
                }
            }
            if let Some((block, index)) = shared.uses.first() {
                let span = self.blocks[block.index()].insts[*index].span;
                let op = Op::Place { base: Arg::Global(shared.map, shared.at), by: Arg::Number(0) };
                made.push((*block, *index, Inst { op, result: Some(address), span, commit: None }));
            }
        }
        made.sort_by_key(|(block, index, _)| (*block, usize::MAX - index));
        for (block, index, inst) in made {
            self.blocks[block.index()].insts.insert(index, inst);
        }
    }
}

impl Shared {
    /// How far behind the address a place is.
    fn behind(&self, at: u32, offset: i16) -> Option<i16> {
        i16::try_from(i64::from(at) + i64::from(offset) - i64::from(self.at)).ok()
    }
}

/// The place among variables that is read or written.
fn place(op: &Op) -> Option<(MapId, u32, i16)> {
    match op {
        Op::Load { base: Arg::Global(map, at), offset, .. }
        | Op::Store { base: Arg::Global(map, at), offset, .. }
        | Op::CompareSwap { base: Arg::Global(map, at), offset, .. }
        | Op::FetchAdd { base: Arg::Global(map, at), offset, .. } => Some((*map, *at, *offset)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::lir::{Builder, Cmp, Field, Helper};
    use super::*;
    use grv_lang::span::Span;

    /// Addresses that are made for two variables, read one after the other; with a call in between or not.
    fn addresses(called: bool) -> usize {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let context = b.input(0).value().unwrap();
        let port = b.field(context, Field::IngressIfindex);
        let (hit, next) = (b.block(), b.block());
        let first = b.load(Arg::Global(MapId(0), 8), 0, 4);
        b.branch(Cmp::Eq, port, first, hit, next);
        b.enter(next);
        if called {
            b.call(Helper::Random, Vec::new());
        }
        let second = b.load(Arg::Global(MapId(0), 0), 4, 4);
        b.unless(Cmp::Eq, port, second, hit);
        b.ret(Arg::Number(2));
        b.enter(hit);
        b.ret(Arg::Number(1));
        let function = b.finish("f");
        let ops: Vec<&Op> = function.blocks.iter().flat_map(|block| &block.insts).map(|inst| &inst.op).collect();
        let behind = |op: &&&Op| matches!(op, Op::Load { base: Arg::Value(_), offset: 0 | -4, .. });
        let shared = ops.iter().filter(|op| matches!(op, Op::Place { .. })).count();
        assert_eq!(ops.iter().filter(behind).count(), 2 * shared);
        shared + ops.iter().filter(|op| place(op).is_some()).count()
    }

    #[test]
    fn variables_share_an_address_between_calls() {
        assert_eq!((addresses(false), addresses(true)), (1, 2));
    }
}
