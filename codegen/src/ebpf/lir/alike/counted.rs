//! Chains that compare a word with one variable after the other, and lead to one place with the number of the one that it equals: a loop does that with fewer
//! instructions.

use super::super::{Arg, Bin, Block, BlockId, Cmp, End, Function, Inst, Op, Type, Value};

/// Comparisons of a chain at least.
const LEAST: usize = 3;

/// A block that compares a word with a variable of 4 bytes, as the last that it does.
struct Link {
    /// The variables, and where among them the one lies.
    base: (super::super::MapId, u32),
    word: Arg,
    hit: BlockId,
    miss: BlockId,
}

impl Function {
    /// Makes loops of them.
    pub(super) fn count_in_loops(&mut self) {
        let (ways, uses) = (self.ways(), self.uses());
        for first in 0..self.blocks.len() {
            // It begins where it is not a link of another.
            let first = BlockId(first as u32);
            if let Some(chain) = self.chain(&ways, &uses, first) {
                self.count_along(first, &chain);
            }
        }
        self.tidy();
    }

    /// The links of a chain that begins with a block, if it is one.
    fn chain(&self, ways: &[u32], uses: &[u32], first: BlockId) -> Option<Vec<Link>> {
        let mut chain = vec![self.link(uses, first)?];
        let goal = self.goal(&chain[0])?;
        if goal.1 != 0 {
            return None;
        }
        while let Some(last) = chain.last()
            && ways[last.miss.index()] == 1
            && self.blocks[last.miss.index()].insts.len() == 1
            && let Some(link) = self.link(uses, last.miss)
            && link.word == chain[0].word
            && link.base == (last.base.0, last.base.1 + 4)
            && self.goal(&link) == Some((goal.0, chain.len() as u64))
        {
            chain.push(link);
        }
        (chain.len() >= LEAST).then_some(chain)
    }

    fn link(&self, uses: &[u32], at: BlockId) -> Option<Link> {
        let block = &self.blocks[at.index()];
        let last = block.insts.last()?;
        let Op::Load { base: Arg::Global(map, from), offset, bytes: 4 } = last.op else { return None };
        let (hit, miss, a, b) = match block.end {
            End::Branch { cmp: Cmp::Eq, a, b, then, other } => (then, other, a, b),
            End::Branch { cmp: Cmp::Ne, a, b, then, other } => (other, then, a, b),
            _ => return None,
        };
        // What is read is only compared.
        let read = Arg::Value(last.result.filter(|read| uses[read.index()] == 1)?);
        let word = if a == read { b } else { a };
        let known = word.value().is_some() && word != read && (a == read || b == read);
        let base = (map, u32::try_from(i64::from(from) + i64::from(offset)).ok()?);
        (known && self.constants == Some(map)).then_some(Link { base, word, hit, miss })
    }

    /// Where a link leads if the word is found, and with which number.
    fn goal(&self, link: &Link) -> Option<(BlockId, u64)> {
        let block = &self.blocks[link.hit.index()];
        match &block.end {
            End::Jump(to, args) if block.insts.is_empty() && block.params.is_empty() && args.len() == 1 => {
                Some((*to, args[0].number()?))
            }
            _ => None,
        }
    }

    fn count_along(&mut self, first: BlockId, chain: &[Link]) {
        let (Some(head), Some(last)) = (chain.first(), chain.last()) else { return };
        let Some((goal, _)) = self.goal(head) else { return };
        let span = self.blocks[first.index()].span;
        let bits = (usize::BITS - chain.len().leading_zeros()) as u8;
        let mut value = |ty: Type, bits: u8| {
            self.types.push(ty);
            self.bits.push(bits);
            Value(self.types.len() as u32 - 1)
        };
        let (start, number, place, read) =
            (value(Type::Entry, 64), value(Type::Word, bits), value(Type::Entry, 64), value(Type::Word, 32));
        let (more, further) = (value(Type::Word, bits), value(Type::Entry, 64));
        let inst = |op: Op, result: Value| Inst { op, result: Some(result), span, commit: None };
        let [turn, found, next, again] = [0, 1, 2, 3].map(|number| BlockId((self.blocks.len() + number) as u32));
        let block = |params: Vec<Value>, insts: Vec<Inst>, end: End| Block { params, insts, end, span, rare: false };
        self.blocks.push(block(
            vec![number, place],
            vec![inst(Op::Load { base: Arg::Value(place), offset: 0, bytes: 4 }, read)],
            End::Branch { cmp: Cmp::Eq, a: head.word, b: Arg::Value(read), then: found, other: next },
        ));
        self.blocks.push(block(Vec::new(), Vec::new(), End::Jump(goal, vec![Arg::Value(number)])));
        let add = Op::Bin { op: Bin::Add, wide: true, a: Arg::Value(number), b: Arg::Number(1) };
        let count = Arg::Number(chain.len() as u64);
        self.blocks.push(block(
            Vec::new(),
            vec![inst(add, more), inst(Op::Advance { pointer: place, by: Arg::Number(4) }, further)],
            End::Branch { cmp: Cmp::Lt, a: Arg::Value(more), b: count, then: again, other: last.miss },
        ));
        self.blocks.push(block(Vec::new(), Vec::new(), End::Jump(turn, vec![Arg::Value(more), Arg::Value(further)])));
        let entry = &mut self.blocks[first.index()];
        entry.insts.pop();
        entry.insts.push(inst(Op::Place { base: Arg::Global(head.base.0, head.base.1), by: Arg::Number(0) }, start));
        entry.end = End::Jump(turn, vec![Arg::Number(0), Arg::Value(start)]);
    }
}
