//! Token buckets, exactly and with one word: the time at which the bucket is full again, in units of which whole numbers make a
//! nanosecond and a byte. Tokens are what is left of a burst at that time. Taking is one compare-and-swap of that word.
//!
//! A bucket is given up only when it is full and its deadline is past: what is in the word then is past too, and no other
//! word of the memory, whosever it is by then, will be the same.

use super::super::lir::{Arg, Bin, Cmp, Commit, Effect, Helper};
use super::entries::{EXISTS, NO_EXIST};
use super::env::{Env, Open};
use super::ops::Outcome;
use super::tables::Bucket;
use super::{Lower, Lowering};
use grv_lang::ir::TableId;
use grv_lang::span::Span;

/// Conforms, exceeds, no room for a new key.
const CONFORMS: u64 = 0;
const EXCEEDS: u64 = 1;
const NO_ROOM: u64 = 2;

/// The word of a bucket that was given up.
pub(super) const CLAIMED: u64 = u64::MAX;

impl<'p> Lower<'p> {
    /// Takes tokens for so many bytes.
    pub(super) fn take(
        &mut self,
        mut env: Env<'p>,
        table: TableId,
        bucket: &Bucket,
        key: &[Arg],
        amount: Arg,
        span: Span,
    ) -> Lowering<Vec<Outcome<'p>>> {
        let Some(of) = self.map_of(table) else { return Err(self.broken(span, "a table that is not kept")) };
        let layout = self.maps.map(of.map).map(|map| map.value.clone()).unwrap_or_default();
        self.settle(&mut env)?;
        self.writes(&mut env, table, key, span)?;
        // More than a full bucket holds costs as much as one byte more than it holds.
        let most = bucket.burst / bucket.cost + 1;
        let amount = if u64::from(self.b.bits(amount)) + u64::from(self.b.bits(Arg::Number(bucket.cost))) > 61 {
            self.pick(Cmp::Gt, amount, Arg::Number(most), Arg::Number(most), amount, 64)
        } else {
            amount
        };
        let cost = self.b.bin(Bin::Mul, amount, Arg::Number(bucket.cost));
        let now = self.now(&mut env);
        let now = self.b.bin(Bin::Mul, now, Arg::Number(bucket.unit));
        let deadline = self.deadline(&mut env, table, bucket.clock, key, span)?;
        let burst = Arg::Number(bucket.burst);
        self.write_key(&of, key, None);
        let retry = self.retry();
        let (create, again, exceeds) = (self.b.block(), self.b.block(), self.b.block());
        let entry = self.find(&of);
        self.b.unless(Cmp::Ne, entry, Arg::Number(0), create);
        let full = self.b.load(entry, bucket.full as i16, 8);
        let until = self.b.load(entry, bucket.deadline as i16, 8);
        self.same_key(&layout, entry, key, again);
        self.b.unless(Cmp::Ne, full, Arg::Number(CLAIMED), again);
        // It lives on, whether it conforms or not.
        let (later, alive) = (self.b.block(), self.b.block());
        self.b.branch(Cmp::Gt, deadline, until, later, alive);
        self.b.enter(later);
        self.b.commit = Some(Commit { table, what: Effect::Change });
        let was = self.b.compare_swap(entry, bucket.deadline as i16, until, deadline);
        self.b.branch(Cmp::Eq, was, until, alive, again);
        self.b.enter(alive);
        let from = self.pick(Cmp::Gt, full, now, full, now, 64);
        let next = self.b.bin(Bin::Add, from, cost);
        let owed = self.b.bin(Bin::Sub, next, now);
        self.b.unless(Cmp::Le, owed, burst, exceeds);
        self.b.commit = Some(Commit { table, what: Effect::Take });
        let was = self.b.compare_swap(entry, bucket.full as i16, full, next);
        self.b.unless(Cmp::Eq, was, full, again);
        let conforms = self.b.here();

        // A new bucket is full.
        self.b.enter(create);
        let paid = self.b.bin(Bin::Add, now, cost);
        let start = self.part(Cmp::Le, cost, burst, paid, now, 64);
        let base = Arg::Stack(self.value_slot, 0);
        self.zero_gaps(&layout, base);
        self.store_numbers(&layout, base, key);
        self.b.store(base, bucket.full as i16, 8, start);
        self.b.store(base, bucket.deadline as i16, 8, deadline);
        self.b.commit = Some(Commit { table, what: Effect::Insert });
        let args = vec![Arg::Map(of.map), Arg::Stack(self.key_slot, 0), base, Arg::Number(NO_EXIST)];
        let made = self.b.call(Helper::MapUpdate, args);
        let (inserted, fails, crowded, full) = (self.b.block(), self.b.block(), self.b.block(), self.b.block());
        self.b.branch(Cmp::Eq, made, Arg::Number(0), inserted, fails);
        self.b.enter(fails);
        self.b.branch(Cmp::Eq, made, Arg::Number(EXISTS), again, crowded);
        self.b.enter(crowded);
        self.sweep(&mut env, table, &of, full)?;
        // If that made no room, it is not swept once more.
        self.b.jump(again, Vec::new());
        self.b.enter(inserted);
        self.fence();
        let (paid, unpaid) = (self.b.block(), self.b.block());
        self.b.branch(Cmp::Le, cost, burst, paid, unpaid);
        self.b.enter(again);
        self.try_again(&retry);
        let ways = [(conforms, CONFORMS), (exceeds, EXCEEDS), (paid, CONFORMS), (unpaid, EXCEEDS), (full, NO_ROOM)];
        let way = |(block, result)| (Open { env: env.clone(), block }, vec![Arg::Number(result)]);
        Ok(ways.into_iter().map(way).collect())
    }
}
