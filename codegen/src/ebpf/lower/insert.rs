//! Entries are made and removed: see [`super::entries`].

use super::super::lir::{Arg, BlockId, Cmp, Effect, Helper};
use super::super::maps::Layout;
use super::entries::{CLAIMED, EXISTS, NO_EXIST, set_beside};
use super::env::{Env, Open, Seen};
use super::ops::Outcome;
use super::tables::{Entries, Kept};
use super::{Lower, Lowering, sweep};
use grv_lang::ir::{Lifetime, TableId};
use grv_lang::span::Span;

impl<'p> Lower<'p> {
    /// Inserts an entry: whether it is there now.
    #[allow(clippy::too_many_arguments, reason = "a table, an entry, and where they are")]
    pub(super) fn insert(
        &mut self,
        env: Env<'p>,
        table: TableId,
        kept: &Entries,
        key: &[Arg],
        value: &[Arg],
        or_update: bool,
        span: Span,
    ) -> Lowering<Vec<Outcome<'p>>> {
        let idle = matches!(self.program.tables[table.index()].lifetime, Lifetime::Idle(_));
        let scalars: Vec<Arg> = key.iter().chain(value).copied().collect();
        let mut outcomes = Vec::new();
        let mut not_live = Vec::new();
        // The later one of two deadlines is the new one if the old one is past, so that it need not be known whether the entry was live.
        let told = !(or_update && idle && kept.ticket.is_none());
        let looked =
            env.seen.as_ref().is_some_and(|seen| (seen.table, seen.key.as_slice()) == (table, key) && seen.live.is_none());
        let whole = kept.columns.iter().all(|column| matches!(column, Kept::Word(..)));
        let either = looked && whole && !told;
        let ways = match either {
            true => vec![Open { env, block: self.b.here() }],
            false => self.look_for(env, table, kept, key, told, span)?,
        };
        for mut open in ways {
            let Some(seen) = open.env.seen.clone().filter(|seen| seen.live != Some(false) && !either) else {
                not_live.push(open);
                continue;
            };
            self.b.enter(open.block);
            if !or_update {
                // A step that looked has found it dead or absent: another processor was faster. A transient failure.
                outcomes.push((open, vec![Arg::Number(0)]));
                continue;
            }
            let old = self.deadline_of(kept, seen.new);
            let deadline = if idle {
                let deadline = self.deadline(&mut open.env, table, kept.clock, &scalars, span)?;
                self.pick(Cmp::Gt, old, deadline, old, deadline, 64)
            } else {
                old
            };
            let new = self.pack(kept, deadline, value);
            // What lives for no time at all is dead at once.
            let live = seen.live.or((self.shortest > 0).then_some(true));
            let mut seen = Seen { new, live, ..seen };
            set_beside(kept, &mut seen, value);
            open.env.seen = Some(seen);
            open.block = self.b.here();
            outcomes.push((open, vec![Arg::Number(1)]));
        }
        if not_live.is_empty() {
            return Ok(outcomes);
        }
        let mut env = self.join(not_live)?;
        let Some(seen) = env.seen.clone() else { return Err(self.broken(span, "an entry that was not looked at")) };
        let mut deadline = self.deadline(&mut env, table, kept.clock, &scalars, span)?;
        if either {
            // Of an entry that is not there, the word is 0.
            let old = self.deadline_of(kept, seen.new);
            deadline = self.pick(Cmp::Gt, old, deadline, old, deadline, 64);
        }
        // What lives for no time at all is dead at once.
        let live = (self.shortest > 0).then_some(true);
        let new = self.pack(kept, deadline, value);
        let (create, dead, failed) = (self.b.block(), self.b.block(), self.b.block());
        self.b.branch(Cmp::Eq, Arg::Value(seen.entry), Arg::Number(0), create, dead);
        self.b.enter(dead);
        let mut reused = Seen { new, live, ..seen.clone() };
        set_beside(kept, &mut reused, value);
        // What is beside the word of a dead entry was not read.
        reused.dirty = !whole;
        if kept.ticket.is_some() {
            // No mirror's entry has the ticket of an entry that was not inserted with it.
            let again = self.b.block();
            self.hold(&reused, kept, Arg::Number(0), again);
            let here = self.b.here();
            self.b.enter(again);
            self.begin_again(seen.retry);
            self.b.enter(here);
            reused.word = CLAIMED;
        }
        outcomes.push((Open { env: Env { seen: Some(reused), ..env.clone() }, block: self.b.here() }, vec![Arg::Number(1)]));
        self.b.enter(create);
        let made = (new, live, Arg::Number(0));
        let made = self.create(env.clone(), table, kept, (key, value), made, (&seen, failed), span)?;
        outcomes.push((made, vec![Arg::Number(1)]));
        env.seen = None;
        outcomes.push((Open { env, block: failed }, vec![Arg::Number(0)]));
        Ok(outcomes)
    }

    /// Holds a dead entry, and gives it a ticket; goes on in `other` if it has changed.
    pub(super) fn hold(&mut self, seen: &Seen, kept: &Entries, ticket: Arg, other: BlockId) {
        let entry = Arg::Value(seen.entry);
        self.commit(seen.table, Effect::Hold);
        let was = self.b.compare_swap(entry, kept.word as i16, seen.word, CLAIMED);
        self.b.unless(Cmp::Eq, was, seen.word, other);
        if let Some(at) = kept.ticket {
            self.b.store(entry, at as i16, 8, ticket);
        }
    }

    /// Has the kernel insert an entry that was not there; goes on in `failed` if there is no room.
    #[allow(clippy::too_many_arguments, reason = "a table, an entry, and where to go")]
    pub(super) fn create(
        &mut self,
        mut env: Env<'p>,
        table: TableId,
        kept: &Entries,
        (key, value): (&[Arg], &[Arg]),
        (new, live, ticket): (Arg, Option<bool>, Arg),
        (seen, failed): (&Seen, BlockId),
        span: Span,
    ) -> Lowering<Open<'p>> {
        let Some(of) = self.map_of(table) else { return Err(self.broken(span, "a table that is not kept")) };
        let layout = self.layout(&of);
        let later = kept.later;
        self.write_key(&of, key, None);
        self.write_value(kept, &layout, key, value, if later { CLAIMED } else { new }, ticket);
        if !later {
            self.writes(&mut env, table, key, span)?;
            self.commit(table, Effect::Insert);
        }
        let (slot, base) = (Arg::Stack(self.key_slot, 0), Arg::Stack(self.value_slot, 0));
        let update = vec![Arg::Map(of.map), slot, base, Arg::Number(NO_EXIST)];
        let commit = self.b.commit;
        let made = self.b.call(Helper::MapUpdate, update.clone());
        let (inserted, fails, again, full) = (self.b.block(), self.b.block(), self.b.block(), self.b.block());
        self.b.branch(Cmp::Eq, made, Arg::Number(0), inserted, fails);
        self.b.enter(fails);
        // Another processor inserted it since this step looked.
        self.b.branch(Cmp::Eq, made, Arg::Number(EXISTS), again, full);
        self.b.enter(full);
        if sweep::dies(&self.program.tables[table.index()]) {
            self.sweep(&mut env, table, &of, failed)?;
            if seen.retry.is_some() {
                // If that made no room, it is not swept once more.
                self.b.jump(again, Vec::new());
            } else {
                self.b.commit = commit;
                let made = self.b.call(Helper::MapUpdate, update);
                let fails = self.b.block();
                self.b.branch(Cmp::Eq, made, Arg::Number(0), inserted, fails);
                self.b.enter(fails);
                self.b.branch(Cmp::Eq, made, Arg::Number(EXISTS), again, failed);
            }
        } else {
            self.b.jump(failed, Vec::new());
        }
        self.b.enter(again);
        self.begin_again(seen.retry);
        self.b.enter(inserted);
        env.seen = None;
        if later {
            // It is there, and nobody else touches it.
            let found = self.find(&of);
            let gone = self.b.block();
            self.b.unless(Cmp::Ne, found, Arg::Number(0), gone);
            let here = self.b.here();
            self.b.enter(gone);
            self.defect();
            self.b.enter(here);
            let Arg::Value(entry) = found else { return Err(self.broken(span, "a look-up without a result")) };
            let column = |(column, value): (&Kept, &Arg)| if let Kept::Beside(_) = column { *value } else { Arg::Number(0) };
            let beside = kept.columns.iter().zip(value).map(column).collect();
            env.seen = Some(Seen { entry, word: CLAIMED, new, beside, dirty: false, live, ..seen.clone() });
        } else {
            self.fence();
        }
        Ok(Open { env, block: self.b.here() })
    }

    /// What was stored is seen by others before anything more is read: an atomic instruction waits for it.
    pub(super) fn fence(&mut self) {
        self.b.fetch_add(Arg::Stack(self.value_slot, 0), 0, Arg::Number(0));
    }

    /// Deletes an entry that this step has given up.
    pub(super) fn delete(&mut self, table: TableId, key: &[Arg], span: Span) -> Lowering<()> {
        let Some(of) = self.map_of(table) else { return Err(self.broken(span, "a table that is not kept")) };
        self.write_key(&of, key, None);
        self.b.call(Helper::MapDelete, vec![Arg::Map(of.map), Arg::Stack(self.key_slot, 0)]);
        Ok(())
    }

    /// Puts a value into its slot.
    pub(super) fn write_value(&mut self, kept: &Entries, layout: &Layout, key: &[Arg], value: &[Arg], word: Arg, ticket: Arg) {
        let base = Arg::Stack(self.value_slot, 0);
        self.zero_gaps(layout, base);
        self.store_numbers(layout, base, key);
        self.b.store(base, kept.word as i16, 8, word);
        if let Some(at) = kept.ticket {
            self.b.store(base, at as i16, 8, ticket);
        }
        for (column, value) in kept.columns.iter().zip(value) {
            if let Kept::Beside(index) = column {
                let place = &layout.places[*index];
                self.b.store(base, place.offset as i16, place.bytes, *value);
            }
        }
    }

    /// Removes an entry, if it is there and live.
    pub(super) fn remove(
        &mut self,
        env: Env<'p>,
        table: TableId,
        kept: &Entries,
        key: &[Arg],
        span: Span,
    ) -> Lowering<Vec<Outcome<'p>>> {
        let mut outcomes = Vec::new();
        for mut open in self.look(env, table, kept, key, span)? {
            if let Some(seen) = open.env.seen.clone().filter(|seen| seen.live == Some(true)) {
                self.b.enter(open.block);
                self.writes(&mut open.env, table, key, span)?;
                let again = self.b.block();
                self.commit(table, Effect::Claim);
                let was = self.b.compare_swap(Arg::Value(seen.entry), kept.word as i16, seen.word, CLAIMED);
                self.b.unless(Cmp::Eq, was, seen.word, again);
                let here = self.b.here();
                self.b.enter(again);
                self.begin_again(seen.retry);
                self.b.enter(here);
                self.delete(table, key, span)?;
                open.env.seen = None;
                open.block = self.b.here();
            }
            outcomes.push((open, Vec::new()));
        }
        Ok(outcomes)
    }
}
