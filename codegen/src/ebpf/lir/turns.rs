//! Loops that are gone through again, as steps are where another processor was faster, and that ask on their way what words are that no turn changes. The kernel's
//! verifier goes on behind a branch before it goes where the branch jumps to. If it comes to the next turn from behind such questions, it knows their answers, and
//! goes through that turn once for each. So the first branch that may lead to the next turn goes on there: then the next turn is met with nothing known, and what comes
//! later is part of that.

use super::simplify::Dominators;
use super::{Arg, BlockId, Cmp, End, Function, Type};

/// Branches that lead to the next turn, and questions about what no turn changes, at least.
const LEAST: usize = 2;

/// A loop.
struct Loop {
    head: BlockId,
    /// By block: whether it is part of it.
    inside: Vec<bool>,
}

impl Function {
    /// Has branches go on to the next turn ([`Function::again`]).
    pub(super) fn try_again_first(&mut self) {
        let (dominators, ways) = (Dominators::of(self), self.ways());
        let mut preds: Vec<Vec<BlockId>> = vec![Vec::new(); self.blocks.len()];
        for (id, block) in (0..).map(BlockId).zip(&self.blocks) {
            block.end.targets().for_each(|to| preds[to.index()].push(id));
        }
        let mut made = vec![BlockId(0); self.types.len()];
        for (id, block) in (0..).map(BlockId).zip(&self.blocks) {
            let results = block.insts.iter().filter_map(|inst| inst.result);
            block.params.iter().copied().chain(results).for_each(|value| made[value.index()] = id);
        }
        for last in dominators.order.clone() {
            let Some(head) = self.blocks[last.index()].end.targets().find(|to| dominators.dominates(*to, last)) else { continue };
            // The block that ways to the next turn meet at: what only leads back has one before it that counts.
            let only_leads = self.blocks[last.index()].insts.is_empty() && ways[last.index()] == 1;
            let latch = if only_leads { dominators.above(last).unwrap_or(last) } else { last };
            let turn = Loop { head, inside: inside(head, latch, &preds) };
            let leading = |id: &BlockId| *id != latch && turn.has(*id) && self.leads_on(*id, latch).is_some();
            let questions = dominators.order.iter().filter(|id| turn.has(**id) && self.asks_the_same(&turn, &made, **id));
            if dominators.order.iter().filter(|id| leading(id)).count() < LEAST || questions.count() < LEAST {
                continue;
            }
            let first = self.first_on_the_way(head, |id| leading(&id));
            if let Some((id, then)) = first.and_then(|id| Some((id, self.leads_on(id, latch)?))) {
                if let End::Branch { cmp, then: one, other, .. } = &mut self.blocks[id.index()].end
                    && !then
                {
                    *cmp = cmp.negated();
                    std::mem::swap(one, other);
                }
                self.again.push(id);
            }
        }
    }

    /// Whether exactly one way of a block's branch leads to another block without doing anything: that it takes if what it asks holds, or the other.
    fn leads_on(&self, block: BlockId, to: BlockId) -> Option<bool> {
        let End::Branch { cmp, then, other, .. } = self.blocks[block.index()].end else { return None };
        let leads = |mut at: BlockId| {
            for _ in 0..self.blocks.len() {
                match &self.blocks[at.index()] {
                    _ if at == to => return true,
                    block if block.insts.is_empty() => match &block.end {
                        End::Jump(next, _) => at = *next,
                        _ => return false,
                    },
                    _ => return false,
                }
            }
            false
        };
        let (one, two) = (leads(then), leads(other));
        // That no bit is set cannot be asked.
        (one != two && !matches!(cmp, Cmp::Set | Cmp::Clear)).then_some(one)
    }

    /// Whether a block ends with a question about a word that no turn changes.
    fn asks_the_same(&self, turn: &Loop, made: &[BlockId], block: BlockId) -> bool {
        let End::Branch { a: Arg::Value(word), .. } = self.blocks[block.index()].end else { return false };
        let given_back = || {
            let at = self.blocks[turn.head.index()].params.iter().position(|param| *param == word);
            let same = |(id, block): (BlockId, &super::Block)| match &block.end {
                End::Jump(to, args) if *to == turn.head && turn.has(id) => {
                    at.and_then(|at| args.get(at)) == Some(&Arg::Value(word))
                }
                _ => true,
            };
            at.is_some() && (0..).map(BlockId).zip(&self.blocks).all(same)
        };
        self.types[word.index()] == Type::Word && (!turn.has(made[word.index()]) || given_back())
    }

    /// The first of these blocks that the kernel's verifier meets from a block on.
    fn first_on_the_way(&self, from: BlockId, is: impl Fn(BlockId) -> bool) -> Option<BlockId> {
        let (mut stack, mut seen) = (vec![from], vec![false; self.blocks.len()]);
        while let Some(at) = stack.pop() {
            if std::mem::replace(&mut seen[at.index()], true) {
                continue;
            }
            if is(at) {
                return Some(at);
            }
            match self.blocks[at.index()].end {
                End::Branch { cmp: Cmp::Set, then, other, .. } => stack.extend([then, other]),
                End::Branch { then, other, .. } => stack.extend([other, then]),
                End::Jump(to, _) => stack.push(to),
                End::Return(_) => {}
            }
        }
        None
    }
}

impl Loop {
    fn has(&self, block: BlockId) -> bool {
        self.inside[block.index()]
    }
}

/// The blocks of a loop: those that lead to its end without its beginning.
fn inside(head: BlockId, latch: BlockId, preds: &[Vec<BlockId>]) -> Vec<bool> {
    let mut inside = vec![false; preds.len()];
    inside[head.index()] = true;
    let mut work = vec![latch];
    while let Some(block) = work.pop() {
        if !std::mem::replace(&mut inside[block.index()], true) {
            work.extend(&preds[block.index()]);
        }
    }
    inside
}

#[cfg(test)]
mod tests {
    use super::super::super::machine::{Code, Insn, compile};
    use super::super::{Bin, Builder, Field, Helper, MapId, check};
    use super::*;
    use grv_lang::span::Span;

    /// A step that is tried four times, and asks on the way whether some words are zero that no turn changes, or that each turn reads.
    fn step(questions: usize, same: bool) -> Function {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let context = b.input(0).value().unwrap();
        let words: Vec<Arg> = (0..questions)
            .map(|_| {
                let word = b.call(Helper::Random, Vec::new());
                b.low(word, 1)
            })
            .collect();
        let slot = Arg::Stack(b.slot(8), 0);
        let key = b.field(context, Field::IngressIfindex);
        let (head, again, done) = (b.block(), b.block(), b.block());
        let turn = b.param(head, Type::Word, 8);
        b.jump(head, vec![Arg::Number(0)]);
        b.enter(head);
        b.store(slot, 0, 8, key);
        let entry = b.call(Helper::MapLookup, vec![Arg::Map(MapId(1)), slot]);
        b.unless(Cmp::Ne, entry, Arg::Number(0), done);
        let old = b.load(entry, 0, 8);
        let twice = b.load(entry, 8, 8);
        b.unless(Cmp::Eq, old, twice, again);
        let mut new = old;
        for word in words {
            let (more, next) = (b.block(), b.block());
            let sum = b.param(next, Type::Word, 64);
            let asked = if same { word } else { b.load(entry, 16, 1) };
            let plain = b.block();
            b.branch(Cmp::Eq, asked, Arg::Number(0), more, plain);
            b.enter(plain);
            b.jump(next, vec![new]);
            b.enter(more);
            let added = b.bin(Bin::Mul, new, Arg::Number(3));
            b.jump(next, vec![added]);
            b.enter(next);
            new = Arg::Value(sum);
        }
        let was = b.compare_swap(entry, 0, old, new);
        b.unless(Cmp::Eq, was, old, again);
        b.ret(Arg::Number(2));
        b.enter(again);
        let turns = b.bin(Bin::Add, Arg::Value(turn), Arg::Number(1));
        let more = b.block();
        b.branch(Cmp::Lt, turns, Arg::Number(4), more, done);
        b.enter(more);
        b.jump(head, vec![turns]);
        b.enter(done);
        b.ret(Arg::Number(1));
        let function = b.finish("f");
        check(&function).unwrap_or_else(|e| panic!("{e}"));
        function
    }

    #[test]
    fn the_next_turn_comes_first_where_questions_follow_that_no_turn_changes() {
        let function = step(3, true);
        let [first] = function.again[..] else { panic!("{:?}", function.again) };
        // It is the one that compares what was read twice, and goes on if that is not the same.
        let End::Branch { cmp, .. } = function.blocks[first.index()].end else { panic!("no branch") };
        assert_eq!(cmp, Cmp::Ne);
        assert_eq!(function.blocks[first.index()].insts.len(), 2);
        // One question is asked as often as without, and what each turn reads is not known before it.
        assert!(step(1, true).again.is_empty());
        assert!(step(3, false).again.is_empty());
    }

    #[test]
    fn the_branch_is_around_a_jump() {
        let function = step(2, true);
        let code = compile(&function).unwrap();
        let jumps = |code: &Code| {
            code.insns.windows(2).filter(|two| two[0].negated().is_some() && two[1].code == Insn::jump().code).count()
        };
        let mut plain = function.clone();
        plain.again.clear();
        assert_eq!(jumps(&code), jumps(&compile(&plain).unwrap()) + 1);
    }
}
