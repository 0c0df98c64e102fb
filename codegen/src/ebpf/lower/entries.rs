//! Entries of maps and sets that handlers write. Each operation has one commit point: a compare-and-swap of the entry's word, or
//! the kernel's insertion of an entry. What it read before is compared at that point, or looked at again.

use super::super::lir::{Arg, Bin, BlockId, Cmp, Commit, Effect, Helper};
use super::super::maps::Layout;
use super::env::Env;
use super::ops::{Outcome, bits_of};
use super::tables::{Entries, Kept, Table};
use super::{Lower, Lowering};
use grv_lang::ir::{Lifetime, TableId};
use grv_lang::span::Span;

/// Of `bpf_map_update_elem`: only if the key is not there.
pub(super) const NO_EXIST: u64 = 1;
/// What it gives if it is.
pub(super) const EXISTS: u64 = -17_i64 as u64;

impl<'p> Lower<'p> {
    /// The key's scalars and the value's, as functions of lifetimes take them.
    fn with_value(key: &[Arg], value: &[Arg]) -> Vec<Arg> {
        key.iter().chain(value).copied().collect()
    }

    fn layout(&self, table: &Table) -> Layout {
        self.maps.map(table.map).map(|map| map.value.clone()).unwrap_or_default()
    }

    /// The clock of a table's lifetimes; entries that live forever need none.
    fn tick(&mut self, env: &mut Env<'p>, table: TableId, tick: u8) -> Option<Arg> {
        if let Lifetime::Forever = self.program.tables[table.index()].lifetime {
            return None;
        }
        let now = self.now(env);
        Some(self.b.bin(Bin::Shr, now, Arg::Number(tick.into())))
    }

    /// The deadline, in ticks, of an entry that is refreshed or made now.
    pub(super) fn deadline(&mut self, env: &mut Env<'p>, table: TableId, tick: u8, scalars: &[Arg], span: Span) -> Lowering<Arg> {
        let program = self.program;
        match &program.tables[table.index()].lifetime {
            Lifetime::Idle(function) | Lifetime::Fixed(function) => {
                let now = self.now(env);
                let duration = self.duration(env, table, function, scalars, span)?;
                let at = self.b.bin(Bin::Add, now, duration);
                let up = self.b.bin(Bin::Add, at, Arg::Number((1 << tick) - 1));
                Ok(self.b.bin(Bin::Shr, up, Arg::Number(tick.into())))
            }
            // Any deadline will do that makes a word other than zero.
            Lifetime::Forever | Lifetime::IdleWith { .. } => Ok(Arg::Number(1)),
        }
    }

    /// Goes on in a new block if an entry with this word is live; in `dead` if not.
    fn unless_dead(&mut self, kept: &Entries, word: Arg, tick: Option<Arg>, dead: BlockId) {
        match tick {
            Some(tick) => {
                let deadline = self.b.bin(Bin::Shr, word, Arg::Number(kept.low.into()));
                self.b.unless(Cmp::Lt, tick, deadline, dead);
            }
            None => self.b.unless(Cmp::Ne, word, Arg::Number(0), dead),
        }
    }

    /// The columns of an entry.
    fn unpack(&mut self, table: TableId, kept: &Entries, layout: &Layout, entry: Arg, word: Arg) -> Vec<Arg> {
        let mut values = Vec::new();
        for (column, declared) in kept.columns.iter().zip(&self.program.tables[table.index()].value) {
            values.push(match column {
                Kept::Word(shift, bits) => {
                    let value = self.b.bin(Bin::Shr, word, Arg::Number((*shift).into()));
                    self.b.low(value, *bits)
                }
                Kept::Beside(index) => {
                    let place = &layout.places[*index];
                    let value = self.b.load(entry, place.offset as i16, place.bytes);
                    self.b.low(value, bits_of(declared.ty))
                }
            });
        }
        values
    }

    /// The word of an entry with this deadline and these columns.
    fn pack(&mut self, kept: &Entries, deadline: Arg, value: &[Arg]) -> Arg {
        let mut word = self.b.bin(Bin::Shl, deadline, Arg::Number(kept.low.into()));
        for (column, value) in kept.columns.iter().zip(value) {
            if let Kept::Word(shift, _) = column {
                let value = self.b.bin(Bin::Shl, *value, Arg::Number((*shift).into()));
                word = self.b.bin(Bin::Or, word, value);
            }
        }
        word
    }

    fn commit(&mut self, table: TableId, what: Effect) {
        self.b.commit = Some(Commit { table, what });
    }

    /// Looks an entry up, and refreshes it if that is asked for: whether it is live, and its columns.
    pub(super) fn look_up(
        &mut self,
        env: &mut Env<'p>,
        table: TableId,
        kept: &Entries,
        key: &[Arg],
        touch: bool,
        span: Span,
    ) -> Lowering<Vec<Outcome>> {
        let Some(of) = self.map_of(table) else { return Err(self.broken(span, "a table that is not kept")) };
        let layout = self.layout(&of);
        let tick = self.tick(env, table, kept.tick);
        let touch = touch && matches!(self.program.tables[table.index()].lifetime, Lifetime::Idle(_));
        self.write_key(&of, key, None);
        let absent = self.b.block();
        let mut outcomes = Vec::new();
        let retry = if touch { Some(self.retry()) } else { None };
        let entry = self.find(&of);
        self.b.unless(Cmp::Ne, entry, Arg::Number(0), absent);
        let word = self.b.load(entry, kept.word as i16, 8);
        let values = self.unpack(table, kept, &layout, entry, word);
        // Memory of another key: ours was deleted meanwhile.
        self.same_key(&layout, entry, key, absent);
        self.unless_dead(kept, word, tick, absent);
        let mut args = vec![Arg::Number(1)];
        args.extend(&values);
        if let Some(retry) = retry {
            // What the duration computes is known on this way only.
            let deadline = self.deadline(&mut env.clone(), table, kept.tick, &Self::with_value(key, &values), span)?;
            let old = self.b.bin(Bin::Shr, word, Arg::Number(kept.low.into()));
            let (later, same) = (self.b.block(), self.b.block());
            self.b.branch(Cmp::Gt, deadline, old, later, same);
            outcomes.push((same, args.clone()));
            self.b.enter(later);
            let columns = self.b.low(word, kept.low);
            let new = self.b.bin(Bin::Shl, deadline, Arg::Number(kept.low.into()));
            let new = self.b.bin(Bin::Or, new, columns);
            self.commit(table, Effect::Change);
            let was = self.b.compare_swap(entry, kept.word as i16, word, new);
            let other = self.b.block();
            self.b.unless(Cmp::Eq, was, word, other);
            outcomes.push((self.b.here(), args));
            self.b.enter(other);
            self.try_again(&retry);
        } else {
            outcomes.push((self.b.here(), args));
        }
        outcomes.push((absent, vec![Arg::Number(0); 1 + kept.columns.len()]));
        Ok(outcomes)
    }

    /// Inserts an entry: whether it is there now.
    #[allow(clippy::too_many_arguments, reason = "a table, an entry, and where they are")]
    pub(super) fn insert(
        &mut self,
        env: &mut Env<'p>,
        table: TableId,
        kept: &Entries,
        key: &[Arg],
        value: &[Arg],
        or_update: bool,
        span: Span,
    ) -> Lowering<Vec<Outcome>> {
        let Some(of) = self.map_of(table) else { return Err(self.broken(span, "a table that is not kept")) };
        let layout = self.layout(&of);
        let tick = self.tick(env, table, kept.tick);
        let deadline = self.deadline(env, table, kept.tick, &Self::with_value(key, value), span)?;
        let new = self.pack(kept, deadline, value);
        let beside = kept.columns.iter().any(|column| matches!(column, Kept::Beside(_)));
        self.write_key(&of, key, None);
        let mut done = Vec::new();
        let retry = self.retry();
        let (create, again, failed, dead) = (self.b.block(), self.b.block(), self.b.block(), self.b.block());
        let entry = self.find(&of);
        self.b.unless(Cmp::Ne, entry, Arg::Number(0), create);
        let word = self.b.load(entry, kept.word as i16, 8);
        self.same_key(&layout, entry, key, again);
        self.unless_dead(kept, word, tick, dead);
        if or_update {
            let updated = match self.program.tables[table.index()].lifetime {
                Lifetime::Idle(_) => {
                    let old = self.b.bin(Bin::Shr, word, Arg::Number(kept.low.into()));
                    let later = self.pick(Cmp::Gt, old, deadline, old, deadline, 64);
                    self.pack(kept, later, value)
                }
                _ => {
                    let old = self.b.bin(Bin::Shr, word, Arg::Number(kept.low.into()));
                    self.pack(kept, old, value)
                }
            };
            // Nothing is written that is there already.
            let (differs, same) = (self.b.block(), self.b.block());
            self.b.branch(Cmp::Eq, updated, word, same, differs);
            done.push(same);
            self.b.enter(differs);
            self.swap(table, kept, entry, word, updated, Effect::Change, again);
            done.push(self.b.here());
        } else {
            // Another processor inserted it since this step looked: a transient failure.
            self.b.jump(failed, Vec::new());
        }
        self.b.enter(dead);
        // Given up: whoever did that deletes it soon.
        self.b.unless(Cmp::Ne, word, Arg::Number(0), failed);
        if beside {
            self.swap(table, kept, entry, word, Arg::Number(0), Effect::Claim, again);
            self.b.call(Helper::MapDelete, vec![Arg::Map(of.map), Arg::Stack(self.key_slot, 0)]);
            self.b.jump(create, Vec::new());
        } else {
            self.swap(table, kept, entry, word, new, Effect::Change, again);
            done.push(self.b.here());
        }
        self.b.enter(create);
        self.write_value(kept, &layout, key, value, new);
        self.commit(table, Effect::Insert);
        let slots = [Arg::Stack(self.key_slot, 0), Arg::Stack(self.value_slot, 0)];
        let made = self.b.call(Helper::MapUpdate, vec![Arg::Map(of.map), slots[0], slots[1], Arg::Number(NO_EXIST)]);
        let fails = self.b.block();
        self.b.unless(Cmp::Eq, made, Arg::Number(0), fails);
        done.push(self.b.here());
        self.b.enter(fails);
        if or_update {
            self.b.unless(Cmp::Ne, made, Arg::Number(EXISTS), again);
        }
        self.b.jump(failed, Vec::new());
        self.b.enter(again);
        self.try_again(&retry);
        let done = done.into_iter().map(|block| (block, vec![Arg::Number(1)]));
        Ok(done.chain([(failed, vec![Arg::Number(0)])]).collect())
    }

    /// Replaces an entry's word; goes on in a new block, or in `again` if it is no longer what it was.
    #[allow(clippy::too_many_arguments, reason = "an entry, its words, and where to go")]
    fn swap(
        &mut self,
        table: TableId,
        kept: &Entries,
        entry: Arg,
        word: Arg,
        new: Arg,
        what: Effect,
        again: BlockId,
    ) {
        self.commit(table, what);
        let was = self.b.compare_swap(entry, kept.word as i16, word, new);
        self.b.unless(Cmp::Eq, was, word, again);
    }

    /// Puts a value into its slot.
    fn write_value(&mut self, kept: &Entries, layout: &Layout, key: &[Arg], value: &[Arg], word: Arg) {
        let base = Arg::Stack(self.value_slot, 0);
        self.zero_gaps(layout, base);
        for (place, column) in layout.places.iter().zip(key) {
            self.b.store(base, place.offset as i16, place.bytes, *column);
        }
        self.b.store(base, kept.word as i16, 8, word);
        for (column, value) in kept.columns.iter().zip(value) {
            if let Kept::Beside(index) = column {
                let place = &layout.places[*index];
                self.b.store(base, place.offset as i16, place.bytes, *value);
            }
        }
    }

    /// Removes an entry, if it is there and live.
    pub(super) fn remove(&mut self, env: &mut Env<'p>, table: TableId, kept: &Entries, key: &[Arg], span: Span) -> Lowering<Vec<Outcome>> {
        let Some(of) = self.map_of(table) else { return Err(self.broken(span, "a table that is not kept")) };
        let layout = self.layout(&of);
        let tick = self.tick(env, table, kept.tick);
        self.write_key(&of, key, None);
        let done = self.b.block();
        let retry = self.retry();
        let again = self.b.block();
        let entry = self.find(&of);
        self.b.unless(Cmp::Ne, entry, Arg::Number(0), done);
        let word = self.b.load(entry, kept.word as i16, 8);
        self.same_key(&layout, entry, key, done);
        self.unless_dead(kept, word, tick, done);
        self.swap(table, kept, entry, word, Arg::Number(0), Effect::Claim, again);
        self.b.call(Helper::MapDelete, vec![Arg::Map(of.map), Arg::Stack(self.key_slot, 0)]);
        self.b.jump(done, Vec::new());
        self.b.enter(again);
        self.try_again(&retry);
        Ok(vec![(done, Vec::new())])
    }
}
