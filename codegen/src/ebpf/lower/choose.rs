//! `choose`: values are tried by double hashing, tier by tier. Hashes of what comes beside the packet say where a tier's values begin
//! and how far it is from one to the next; a distance that has no divisor in common with their number comes by each of them
//! once. Loaders may set the seed, `choice_seed`, so that nobody can tell what is chosen. Of the places of two tables in one array ([`super::slots`]), the one that is tried
//! first is where the entry is looked for first.
//!
//! A tier of the form `x == e` is tried at once. Of others it must be known which values are theirs: those of one remainder.

use super::super::lir::{Arg, Bin, BlockId, Cmp, Helper, Type};
use super::dense::chosen_for;
use super::env::{Env, Open};
use super::flow::mentions;
use super::{Lower, Lowering};
use grv_lang::diagnostics::Code;
use grv_lang::ir::{BinaryOp, Block, Expr, LocalId, Stmt, StmtKind, TableId, Tier};
use grv_lang::span::Span;

/// Values that are tried where nothing says how many.
const MOST_VALUES: u64 = 256;

/// In builds for tests: what says that nothing could be chosen.
const NOTHING: u64 = u64::MAX;

/// The parts of a choice that its tiers share.
#[derive(Clone, Copy)]
struct Search<'p> {
    var: LocalId,
    low: u64,
    high: u64,
    within: Option<u32>,
    test: &'p Block,
    holds: LocalId,
    span: Span,
}

impl<'p> Lower<'p> {
    /// Chooses a value: the ways on which there is one, and the one on which there is none.
    pub(super) fn choose(&mut self, mut env: Env<'p>, stmt: &'p Stmt) -> Lowering<Vec<Open<'p>>> {
        let StmtKind::Choose { var, low, high, within, test, holds, tiers, ok } = &stmt.kind else {
            return Err(self.broken(stmt.span, "a statement out of its place"));
        };
        let span = stmt.span;
        let (low, high) = (self.eval(&mut env, low, span)?, self.eval(&mut env, high, span)?);
        let (Some(low), Some(high)) = (low.number(), high.number()) else {
            return Err(self.refuse(Code::TargetOperation, span, "a choice whose bounds are computed".to_string()));
        };
        // What is read once a step is read before the loops, and what is done once is done. What was looked at is looked at again: the
        // less is kept in hand, the fewer states the kernel has to follow through the loops.
        self.settle(&mut env)?;
        self.forget(&mut env);
        self.now(&mut env);
        if let Some(tick) = self.coarse {
            self.coarse(&mut env, tick);
        }
        let search = Search { var: *var, low, high, within: *within, test, holds: *holds, span };
        let mut hits: Vec<(Open<'p>, Arg)> = Vec::new();
        if low <= high {
            for tier in tiers {
                match tier {
                    Tier::Exactly(value) => hits.extend(self.exactly(&mut env, &search, value)?),
                    Tier::Test(block, holds) => {
                        let Some((before, modulus, rest)) = remainder(block, *holds, *var) else {
                            let what = "a preference other than for one value, or for those of one remainder".to_string();
                            return Err(self.refuse(Code::TargetOperation, span, what));
                        };
                        let block = self.b.here();
                        let ways = self.block(vec![Open { env, block }], before, false)?;
                        env = self.join(ways)?;
                        let rest = self.eval(&mut env, rest, span)?;
                        hits.extend(self.probe(&mut env, &search, modulus, rest)?);
                    }
                }
            }
            hits.extend(self.probe(&mut env, &search, 1, Arg::Number(0))?);
        }
        let none = self.b.here();
        let mut ways = self.chosen(hits, &env, &search, *ok)?;
        self.b.enter(none);
        self.tell_choice(Arg::Number(NOTHING));
        let frame = env.frame_mut();
        frame.locals[var.index()] = Some(Arg::Number(0));
        frame.locals[ok.index()] = Some(Arg::Number(0));
        ways.push(Open { env, block: self.b.here() });
        Ok(ways)
    }

    /// The way on which a value was chosen, whichever tier it is of.
    fn chosen(
        &mut self,
        hits: Vec<(Open<'p>, Arg)>,
        before: &Env<'p>,
        search: &Search<'p>,
        ok: LocalId,
    ) -> Lowering<Vec<Open<'p>>> {
        if hits.is_empty() {
            return Ok(Vec::new());
        }
        let mut looked: Vec<(TableId, Vec<Arg>, Arg)> = Vec::new();
        let mut opens = Vec::new();
        for (mut open, value) in hits {
            let more = open.env.looked.split_off(before.looked.len().min(open.env.looked.len()));
            looked.extend(more.into_iter().map(|(table, key)| (table, key, value)));
            let frame = open.env.frame_mut();
            frame.locals[search.var.index()] = Some(value);
            frame.locals[ok.index()] = Some(Arg::Number(1));
            self.forget(&mut open.env);
            opens.push(open);
        }
        let mut env = self.join(opens)?;
        let value = env.frame().locals[search.var.index()].unwrap_or(Arg::Number(0));
        self.tell_choice(value);
        // What was looked at was looked at for the value that was chosen.
        for (table, key, of) in looked {
            let key: Vec<Arg> = key.into_iter().map(|arg| if arg == of { value } else { arg }).collect();
            if !env.looked.contains(&(table, key.clone())) {
                env.looked.push((table, key));
            }
        }
        Ok(vec![Open { env, block: self.b.here() }])
    }

    /// One value.
    fn exactly(&mut self, env: &mut Env<'p>, search: &Search<'p>, value: &Expr) -> Lowering<Vec<(Open<'p>, Arg)>> {
        let value = self.eval(env, value, search.span)?;
        let next = self.b.block();
        self.b.unless(Cmp::Ge, value, Arg::Number(search.low), next);
        self.b.unless(Cmp::Le, value, Arg::Number(search.high), next);
        let hits = self.try_value(env, search, value, next)?;
        self.b.enter(next);
        Ok(hits)
    }

    /// The values that leave this rest: as many of them as the choice says, or all.
    fn probe(&mut self, env: &mut Env<'p>, search: &Search<'p>, modulus: u64, rest: Arg) -> Lowering<Vec<(Open<'p>, Arg)>> {
        let all = search.high - search.low;
        let Some(all) = all.checked_add(1).filter(|all| modulus > 0 && all % modulus == 0 && *all <= 1 << 32) else {
            let what = format!("a choice of which {modulus} remainders have not the same number of values");
            return Err(self.refuse(Code::TargetOperation, search.span, what));
        };
        let count = all / modulus;
        let tries = search.within.map_or(count, |within| count.min(within.into()));
        if search.within.is_none() && count > MOST_VALUES {
            let what = format!("trying {count} values, with nothing that says after how many of them to give up,");
            return Err(self.refuse(Code::TargetOperation, search.span, what));
        }
        let next = self.b.block();
        self.b.unless(Cmp::Lt, rest, Arg::Number(modulus), next);
        // The first value that leaves the rest.
        let first = self.b.bin(Bin::Add, rest, Arg::Number(modulus - search.low % modulus));
        let first = self.b.bin(Bin::Rem, first, Arg::Number(modulus));
        let first = self.b.bin(Bin::Add, first, Arg::Number(search.low));
        let hash = self.spread(env, search.var);
        let start = self.among(hash, count);
        let radical = radical(count);
        let step = self.b.low(hash, 32);
        let step = self.b.bin(Bin::Rem, step, Arg::Number((count / radical).max(1)));
        let step = self.b.bin(Bin::Mul, step, Arg::Number(radical));
        let step = self.b.bin(Bin::Add, step, Arg::Number(1));
        let head = self.b.block();
        let number = Arg::Value(self.b.param(head, Type::Word, 32));
        let at = Arg::Value(self.b.param(head, Type::Word, 33));
        self.b.jump(head, vec![Arg::Number(0), start]);
        self.b.enter(head);
        self.b.unless(Cmp::Lt, number, Arg::Number(tries), next);
        let value = self.b.bin(Bin::Mul, at, Arg::Number(modulus));
        let value = self.b.bin(Bin::Add, value, first);
        let refused = self.b.block();
        let hits = self.try_value(&mut env.clone(), search, value, refused)?;
        self.b.enter(refused);
        let more = self.b.bin(Bin::Add, number, Arg::Number(1));
        let far = self.b.bin(Bin::Add, at, step);
        let around = self.b.bin(Bin::Sub, far, Arg::Number(count));
        let far = self.pick(Cmp::Lt, far, Arg::Number(count), far, around, 33);
        self.b.jump(head, vec![more, far]);
        self.b.enter(next);
        Ok(hits)
    }

    /// One of so many numbers, by a hash.
    pub(super) fn among(&mut self, hash: Arg, count: u64) -> Arg {
        if count.is_power_of_two() && count > 1 {
            return self.b.bin(Bin::Shr, hash, Arg::Number(64 - u64::from(count.trailing_zeros())));
        }
        let random = self.b.bin(Bin::Shr, hash, Arg::Number(32));
        let scaled = self.b.bin(Bin::Mul, random, Arg::Number(count));
        self.b.bin(Bin::Shr, scaled, Arg::Number(32))
    }

    /// What hashes begin with.
    pub(super) fn seed(&mut self) -> Arg {
        match self.choice_seed {
            Some(offset) => self.b.load(Arg::Global(self.constants, offset.into()), 0, 8),
            None => Arg::Number(0),
        }
    }

    /// A hash of what comes beside the packet; of nothing, a random number. If a slot is chosen, it is the hash by which its owner is looked for.
    fn spread(&mut self, env: &Env<'p>, var: LocalId) -> Arg {
        let frame = env.frame();
        for table in (0..self.program.tables.len() as u32).map(TableId) {
            if let Some(holder) = self.holder(table)
                && let Some(key) = chosen_for(self.program, table, frame.body, var)
                && let Some(key) = key.iter().map(|local| frame.locals[local.index()]).collect::<Option<Vec<Arg>>>()
            {
                return self.hash_of(&holder, &key);
            }
        }
        let inputs = self.program.elements[frame.element.index()].inputs.iter();
        let given = inputs.filter(|input| std::ptr::eq(&input.body, frame.body)).map(|input| input.args.len()).sum();
        let words: Vec<Arg> = frame.locals.iter().take(given).filter_map(|local| *local).collect();
        let seed = if words.is_empty() { self.b.call(Helper::Random, Vec::new()) } else { self.seed() };
        self.mixed(seed, &words)
    }

    /// Tries a value: the ways on which it will do. Others go on in `refused`.
    fn try_value(
        &mut self,
        env: &mut Env<'p>,
        search: &Search<'p>,
        value: Arg,
        refused: BlockId,
    ) -> Lowering<Vec<(Open<'p>, Arg)>> {
        let mut env = env.clone();
        env.frame_mut().locals[search.var.index()] = Some(value);
        let block = self.b.here();
        let mut hits = Vec::new();
        for open in self.block(vec![Open { env, block }], search.test, false)? {
            self.b.enter(open.block);
            let Some(holds) = open.env.frame().locals[search.holds.index()] else {
                return Err(self.broken(search.span, "a test without a result"));
            };
            let hit = self.b.block();
            self.b.branch(Cmp::Ne, holds, Arg::Number(0), hit, refused);
            if holds != Arg::Number(0) {
                hits.push((Open { block: hit, ..open }, value));
            }
        }
        Ok(hits)
    }

    /// In builds for tests: what was chosen.
    fn tell_choice(&mut self, value: Arg) {
        if let Some(probe) = self.probe {
            self.b.store(Arg::Global(probe.section, probe.chosen), 0, 8, value);
        }
    }
}

/// A test whether a variable leaves a rest: `x % n == e`, and what computes `e`.
fn remainder(block: &Block, holds: LocalId, var: LocalId) -> Option<(&[Stmt], u64, &Expr)> {
    let (last, before) = block.split_last()?;
    let apart = |stmt: &Stmt| matches!(&stmt.kind, StmtKind::Assign { value, .. } if !mentions(value, var));
    let StmtKind::Assign { dst, value: Expr::Binary(BinaryOp::Eq, a, rest) } = &last.kind else { return None };
    let Expr::Binary(BinaryOp::Rem, x, n) = &**a else { return None };
    let (Expr::Local(local), Expr::Const(n, _)) = (&**x, &**n) else { return None };
    let alike = *dst == holds && *local == var && !mentions(rest, var) && before.iter().all(apart);
    alike.then_some((before, u64::try_from(*n).ok()?, rest))
}

/// The product of the primes that divide a number.
fn radical(mut number: u64) -> u64 {
    let (mut product, mut prime) = (1, 2);
    while prime * prime <= number {
        if number.is_multiple_of(prime) {
            product *= prime;
            while number.is_multiple_of(prime) {
                number /= prime;
            }
        }
        prime += 1;
    }
    product * number.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_with_the_radical_comes_by_every_value() {
        for count in 1..500_u64 {
            let radical = radical(count);
            assert_eq!(count % radical, 0);
            for factor in 0..count / radical {
                let step = factor * radical + 1;
                let mut seen = vec![false; count as usize];
                (0..count).for_each(|n| seen[(n * step % count) as usize] = true);
                assert!(seen.iter().all(|seen| *seen), "{count} values, {step} apart");
            }
        }
    }
}
