//! Two tables of which one shares the deadlines of the other: an entry with a deadline, the owner's, and a mirror's, which lives
//! exactly if the owner's is there, has the same ticket, and lives.
//!
//! Both are inserted at once. The step first holds the owner's entry, which nobody else touches then: a new one, or a dead one that
//! it gives a new ticket. Then it puts the mirror's entry there, with that ticket. If that cannot be, it lets go of the owner's entry,
//! dead as it was. When the owner's word is written at last, both live: that is the commit point.
//!
//! A mirror's entry that is there already is taken over if it is dead for good: the owner's entry is gone, or is another incarnation,
//! or is dead and then marked as dead for every clock, by a compare-and-swap, lest another processor whose clock is behind refreshes it.
//! An owner's entry that is held may be about to come to life: its mirror's entry is left alone.

use super::super::lir::{Arg, Bin, BlockId, Cmp, Effect, Helper};
use super::entries::{CLAIMED, EXISTS, NO_EXIST};
use super::env::{Env, Open, Seen};
use super::ops::{Outcome, bits_of};
use super::slots::Row;
use super::tables::{Entries, Image, Keeping, Kept, Mirror, Table};
use super::{Lower, Lowering, uses};
use grv_lang::diagnostics::Code;
use grv_lang::ir::{InsertEntry, TableId};
use grv_lang::span::Span;

/// The owner of a mirror's entries.
pub(super) struct Owner {
    of: Table,
    pub(super) kept: Entries,
    ticket: u16,
}

/// What was read of a mirror's entry.
struct Read {
    entry: Arg,
    ticket: Arg,
    columns: Vec<Arg>,
    /// The key of the owner's entry.
    key: Vec<Arg>,
}

impl<'p> Lower<'p> {
    /// The table with the deadlines.
    pub(super) fn owner_of(&self, mirror: &Mirror, span: Span) -> Lowering<Owner> {
        let of = self.map_of(mirror.owner);
        match of.as_ref().map(|of| &of.keeping) {
            Some(Keeping::Entries(kept)) => match (kept.ticket, of.clone()) {
                (Some(ticket), Some(of)) => Ok(Owner { kept: kept.clone(), ticket, of }),
                _ => Err(self.broken(span, "a shared deadline without a ticket")),
            },
            _ => Err(self.broken(span, "a shared deadline that is not kept")),
        }
    }

    /// Reads the mirror's entry whose key is in its slot, or goes on in `none`; in `other` if it changes, or is held.
    fn image(&mut self, table: TableId, mirror: &Mirror, key: &[Arg], none: BlockId, other: BlockId) -> Read {
        let Some(of) = self.map_of(table) else {
            return Read { entry: CLAIMED, ticket: CLAIMED, columns: Vec::new(), key: Vec::new() };
        };
        let layout = self.layout(&of);
        let entry = self.find(&of);
        self.b.unless(Cmp::Ne, entry, Arg::Number(0), none);
        self.image_at(table, mirror, &layout, (entry, key), other)
    }

    fn image_at(
        &mut self,
        table: TableId,
        mirror: &Mirror,
        layout: &super::super::maps::Layout,
        (entry, key): (Arg, &[Arg]),
        other: BlockId,
    ) -> Read {
        let declared = &self.program.tables[table.index()].value;
        let ticket = self.b.load(entry, mirror.word as i16, 8);
        self.b.unless(Cmp::Ne, ticket, CLAIMED, other);
        let mut columns = Vec::new();
        for (index, column) in mirror.columns.iter().zip(declared) {
            let place = &layout.places[*index];
            let value = self.b.load(entry, place.offset as i16, place.bytes);
            columns.push(self.b.low(value, bits_of(column.ty)));
        }
        // The columns are this ticket's, and the ticket is this key's.
        self.same_key(layout, entry, key, other);
        let still = self.b.load(entry, mirror.word as i16, 8);
        self.b.unless(Cmp::Eq, still, ticket, other);
        let all: Vec<Arg> = key.iter().chain(&columns).copied().collect();
        let key = mirror.key.iter().filter_map(|column| all.get(*column)).copied().collect();
        Read { entry, ticket, columns, key }
    }

    /// Looks a mirror's entry up: whether it is live, and its columns. On ways on which it is, what was looked at is the owner's entry.
    pub(super) fn look_up_mirror(
        &mut self,
        mut env: Env<'p>,
        table: TableId,
        mirror: &Mirror,
        key: &[Arg],
        span: Span,
    ) -> Lowering<Vec<Outcome<'p>>> {
        let Some(of) = self.map_of(table) else { return Err(self.broken(span, "a table that is not kept")) };
        let owner = self.owner_of(mirror, span)?;
        let layout = self.layout(&owner.of);
        self.settle(&mut env)?;
        self.forget(&mut env);
        let retry = self.retry();
        let tick = self.is_mortal(mirror.owner, &owner.kept).then(|| self.tick(&mut env, owner.kept.clock));
        self.write_key(&of, key, None);
        let (none, other) = (self.b.block(), self.b.block());
        let image = self.image(table, mirror, key, none, other);
        self.write_key(&owner.of, &image.key, None);
        let found = self.find(&owner.of);
        let Arg::Value(entry) = found else { return Err(self.broken(span, "a look-up without a result")) };
        self.b.unless(Cmp::Ne, found, Arg::Number(0), none);
        let word = self.b.load(found, owner.kept.word as i16, 8);
        let (live, dead) = (self.b.block(), self.b.block());
        self.branch_live(&owner.kept, word, tick, live, dead);
        self.b.enter(dead);
        self.b.branch(Cmp::Ne, word, CLAIMED, none, other);
        self.b.enter(live);
        let theirs = self.b.load(found, owner.ticket as i16, 8);
        let beside = self.beside(mirror.owner, &owner.kept, &layout, found);
        self.same_key(&layout, found, &image.key, other);
        let still = self.b.load(found, owner.kept.word as i16, 8);
        self.b.unless(Cmp::Eq, still, word, other);
        self.b.unless(Cmp::Eq, theirs, image.ticket, none);
        let live = self.b.here();
        self.b.enter(other);
        self.try_again(&retry);

        let mut alive = env.clone();
        if !alive.written && !uses::only_ages(self.program, mirror.owner) {
            alive.looked.push((mirror.owner, image.key.clone()));
        }
        alive.seen = Some(Seen {
            table: mirror.owner,
            key: image.key,
            entry,
            word,
            new: word,
            beside,
            dirty: false,
            live: Some(true),
            retry: Some(retry),
            failed: None,
        });
        if !env.written {
            env.looked.push((table, key.to_vec()));
        }
        let nothing = vec![Arg::Number(0); 1 + image.columns.len()];
        let found = std::iter::once(Arg::Number(1)).chain(image.columns).collect();
        Ok(vec![(Open { env: alive, block: live }, found), (Open { env, block: none }, nothing)])
    }

    /// Inserts an entry and its mirror's: whether they are there now.
    pub(super) fn insert_both(&mut self, mut env: Env<'p>, entries: &'p [InsertEntry], span: Span) -> Lowering<Vec<Outcome<'p>>> {
        let refused = |lower: &Self, what: &str| Err(lower.refuse(Code::TargetOperation, span, what.to_string()));
        let mirrored = |entry: &InsertEntry| match self.map_of(entry.table).map(|of| of.keeping) {
            Some(Keeping::Mirror(Mirror { owner, key, .. }) | Keeping::Image(Image { owner, key })) => Some((owner, key)),
            _ => None,
        };
        let (of, image, owner_key) = match entries {
            [a, b] => match (mirrored(a), mirrored(b)) {
                (None, Some((owner, key))) if owner == a.table => (a, b, key),
                (Some((owner, key)), None) if owner == b.table => (b, a, key),
                _ => return refused(self, "inserting at once into tables that share no deadlines"),
            },
            _ => return refused(self, "inserting into more than two tables at once"),
        };
        if of.or_update || image.or_update {
            return refused(self, "updating entries of several tables at once");
        }
        let (key, value) = (self.evals(&mut env, &of.key, span)?, self.evals(&mut env, &of.value, span)?);
        let (their_key, their_value) = (self.evals(&mut env, &image.key, span)?, self.evals(&mut env, &image.value, span)?);
        let all: Vec<Arg> = their_key.iter().chain(&their_value).copied().collect();
        let named: Vec<Arg> = owner_key.iter().filter_map(|column| all.get(*column)).copied().collect();
        if named != key {
            return refused(self, "sharing the deadline of another entry than the one inserted at the same time");
        }
        if let Some(holder) = self.holder(of.table) {
            let row = Row { key, value, image_key: their_key, image_value: their_value };
            return self.insert_in_slot(env, &holder, image.table, &row, span);
        }
        let Some(Keeping::Mirror(mirror)) = self.map_of(image.table).map(|of| of.keeping) else {
            return Err(self.broken(span, "a shared deadline that is not kept"));
        };
        let owner = self.owner_of(&mirror, span)?;
        let (mut outcomes, mut not_live) = (Vec::new(), Vec::new());
        // It may have been looked at before: what counts is that it is dead now.
        env.looked.retain(|(table, other)| (*table, other) != (of.table, &key));
        for open in self.look(env, of.table, &owner.kept, &key, span)? {
            if open.env.seen.as_ref().is_some_and(|seen| seen.live == Some(true)) {
                // Another processor was faster: a transient failure.
                outcomes.push((open, vec![Arg::Number(0)]));
            } else {
                not_live.push(open);
            }
        }
        if not_live.is_empty() {
            return Ok(outcomes);
        }
        let mut env = self.join(not_live)?;
        let scalars: Vec<Arg> = key.iter().chain(&value).copied().collect();
        let deadline = self.deadline(&mut env, of.table, owner.kept.clock, &scalars, span)?;
        let live = (self.shortest > 0).then_some(true);
        let new = self.pack(&owner.kept, deadline, &value);
        let Some(seen) = env.seen.clone() else { return Err(self.broken(span, "an entry that was not looked at")) };
        let ticket = self.b.fetch_add(self.tickets, 0, Arg::Number(1));
        let (create, dead, again) = (self.b.block(), self.b.block(), self.b.block());
        let (failed, full) = (self.b.block(), self.b.block());
        self.b.branch(Cmp::Eq, Arg::Value(seen.entry), Arg::Number(0), create, dead);

        self.b.enter(dead);
        self.hold_anew(&seen, &owner.kept, ticket, again);
        let beside = |(column, value): (&Kept, &Arg)| if let Kept::Beside(_) = column { *value } else { Arg::Number(0) };
        let beside: Vec<Arg> = owner.kept.columns.iter().zip(&value).map(beside).collect();
        let held = Seen { word: CLAIMED, new, beside, live, dirty: false, ..seen.clone() };
        self.write_beside(&held, &owner.kept);
        let reused = Open { env: Env { seen: Some(held), ..env.clone() }, block: self.b.here() };
        self.b.enter(again);
        self.begin_again(seen.retry);
        self.b.enter(create);
        let kept = Entries { later: true, ..owner.kept.clone() };
        let made = (new, live, ticket);
        let made = self.create(env.clone(), of.table, &kept, (&key, &value), made, (&seen, full), span)?;
        let mut env = self.join(vec![reused, made])?;

        self.put_mirror(&mut env, image.table, &mirror, &owner, (&their_key, &their_value, ticket), failed, span)?;
        let block = self.b.here();
        let mut without = env.clone();
        // Nobody changes it but who holds the owner's entry.
        env.looked.retain(|(table, other)| (*table, other) != (image.table, &their_key));
        outcomes.push((Open { env, block }, vec![Arg::Number(1)]));

        // What was dead stays so; what was made for this is gone.
        self.b.enter(failed);
        let Some(held) = without.seen.take() else { return Err(self.broken(span, "an entry that is not held")) };
        let (gone, stays) = (self.b.block(), self.b.block());
        self.b.branch(Cmp::Eq, Arg::Value(seen.entry), Arg::Number(0), gone, stays);
        self.b.enter(gone);
        self.delete(of.table, &key, span)?;
        self.b.jump(full, Vec::new());
        self.b.enter(stays);
        let dead = self.dead(&owner.kept);
        self.b.compare_swap(Arg::Value(held.entry), owner.kept.word as i16, CLAIMED, dead);
        self.b.jump(full, Vec::new());
        outcomes.push((Open { env: without, block: full }, vec![Arg::Number(0)]));
        Ok(outcomes)
    }

    /// Puts a mirror's entry there while the owner's is held; goes on in `failed` if it cannot be.
    #[allow(clippy::too_many_arguments, reason = "a table, an entry, and where to go")]
    fn put_mirror(
        &mut self,
        env: &mut Env<'p>,
        table: TableId,
        mirror: &Mirror,
        owner: &Owner,
        (key, value, ticket): (&[Arg], &[Arg], Arg),
        failed: BlockId,
        span: Span,
    ) -> Lowering<()> {
        let Some(of) = self.map_of(table) else { return Err(self.broken(span, "a table that is not kept")) };
        let layout = self.layout(&of);
        let tick = self.tick(env, owner.kept.clock);
        let retry = self.retry();
        self.write_key(&of, key, None);
        let base = Arg::Stack(self.value_slot, 0);
        self.zero_gaps(&layout, base);
        self.store_numbers(&layout, base, key);
        self.b.store(base, mirror.word as i16, 8, ticket);
        for (index, value) in mirror.columns.iter().zip(value) {
            let place = &layout.places[*index];
            self.b.store(base, place.offset as i16, place.bytes, *value);
        }
        let update = vec![Arg::Map(of.map), Arg::Stack(self.key_slot, 0), base, Arg::Number(NO_EXIST)];
        let (done, fails, taken, full) = (self.b.block(), self.b.block(), self.b.block(), self.b.block());
        let put = self.b.call(Helper::MapUpdate, update.clone());
        self.b.branch(Cmp::Eq, put, Arg::Number(0), done, fails);
        self.b.enter(fails);
        self.b.branch(Cmp::Eq, put, Arg::Number(EXISTS), taken, full);
        self.b.enter(full);
        self.sweep(env, table, &of, failed)?;
        let put = self.b.call(Helper::MapUpdate, update);
        let fails = self.b.block();
        self.b.branch(Cmp::Eq, put, Arg::Number(0), done, fails);
        self.b.enter(fails);
        self.b.branch(Cmp::Eq, put, Arg::Number(EXISTS), taken, failed);

        // One is there: is it dead for good?
        self.b.enter(taken);
        let (again, stale) = (self.b.block(), self.b.block());
        let image = self.image(table, mirror, key, again, again);
        self.write_key(&owner.of, &image.key, None);
        self.is_over(mirror, owner, &image, tick, stale, failed, again);
        self.b.enter(stale);
        self.commit(table, Effect::Claim);
        let was = self.b.compare_swap(image.entry, mirror.word as i16, image.ticket, CLAIMED);
        self.b.unless(Cmp::Eq, was, image.ticket, again);
        for (index, value) in mirror.columns.iter().zip(value) {
            let place = &layout.places[*index];
            self.b.store(image.entry, place.offset as i16, place.bytes, *value);
        }
        self.b.compare_swap(image.entry, mirror.word as i16, CLAIMED, ticket);
        self.b.jump(done, Vec::new());
        self.b.enter(again);
        let next = self.b.bin(Bin::Add, retry.attempt, Arg::Number(1));
        let more = self.b.block();
        self.b.branch(Cmp::Lt, next, Arg::Number(super::ops::TRIES), more, failed);
        self.b.enter(more);
        self.b.jump(retry.again, vec![next]);
        self.b.enter(done);
        Ok(())
    }

    /// Goes on in `stale` if a mirror's entry is dead for good: the owner's entry, whose key is in its slot, is gone, or another
    /// incarnation, or dead, and then for every clock. In `lives` if it lives, in `again` if that is not known yet.
    #[allow(clippy::too_many_arguments, reason = "an entry, its owner, and where to go")]
    fn is_over(
        &mut self,
        mirror: &Mirror,
        owner: &Owner,
        image: &Read,
        tick: Arg,
        stale: BlockId,
        lives: BlockId,
        again: BlockId,
    ) {
        let layout = self.layout(&owner.of);
        let found = self.find(&owner.of);
        self.b.unless(Cmp::Ne, found, Arg::Number(0), stale);
        let word = self.b.load(found, owner.kept.word as i16, 8);
        let theirs = self.b.load(found, owner.ticket as i16, 8);
        self.same_key(&layout, found, &image.key, again);
        let same = self.b.block();
        self.b.branch(Cmp::Eq, theirs, image.ticket, same, stale);
        self.b.enter(same);
        self.b.unless(Cmp::Ne, word, CLAIMED, again);
        let deadline = self.deadline_of(&owner.kept, word);
        self.b.unless(Cmp::Ge, tick, deadline, lives);
        let dead = self.dead(&owner.kept);
        self.commit(mirror.owner, Effect::Claim);
        let was = self.b.compare_swap(found, owner.kept.word as i16, word, dead);
        self.b.branch(Cmp::Eq, was, word, stale, again);
    }

    /// Of the sweep of a mirror: goes on in a new block if this entry, of the ticket that is given back, is dead for good, else in `stays`.
    pub(super) fn sweep_mirror(
        &mut self,
        (table, of): (TableId, &Table),
        mirror: &Mirror,
        entry: Arg,
        tick: Arg,
        stays: BlockId,
    ) -> Option<Arg> {
        let owner = self.owner_of(mirror, self.program.tables[table.index()].span).ok()?;
        let layout = self.layout(of);
        let slot = self.b.slot(self.maps.map(owner.of.map)?.key.size);
        // The key is what the entry says it is: if it is another's by now, so is the ticket.
        let mut key = Vec::new();
        for place in layout.places.iter().take(self.program.tables[table.index()].key.len()) {
            key.push(self.number(entry, place));
        }
        let image = self.image_at(table, mirror, &layout, (entry, &key), stays);
        let stale = self.b.block();
        let key_slot = std::mem::replace(&mut self.key_slot, slot);
        self.write_key(&owner.of, &image.key, None);
        self.is_over(mirror, &owner, &image, tick, stale, stays, stays);
        self.key_slot = key_slot;
        self.b.enter(stale);
        Some(image.ticket)
    }
}
