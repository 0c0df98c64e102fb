//! Two tables that share deadlines, kept in one array: element n, a slot, holds the entry of the mirror whose key is number n, and with it the
//! owner's entry, in one: its key, the word with the deadline, and what never changes. A map beside it, the index, has the slot's number for each of
//! the owner's keys. Which tables can be kept so, [`super::dense`] finds out.
//!
//! A slot's word is the truth: both entries live exactly if it says so. Words of entries are more than 1; 0 is a slot that nobody ever had, and 1 one
//! that is held: who swaps that in for a word that is dead by the clock, or 0, owns the slot, and writes a new key there. A refresh by another processor,
//! whose clock may be behind, does not survive this, nor this a refresh. When the owner's word is swapped in at last, both entries live: that is the
//! commit point. A slot is never given back; what could not be used is dead.
//!
//! An owner's key has at most one entry in the index, and lives only in the slot that this one names; if another one has that slot by now, it is dead. Who makes
//! an entry holds its slot first, and then inserts the number, which fails if there is one already: another processor was faster, or it is out of date. Then
//! the slot is let go of, and a number that is out of date is held (0; others wait), looked at again, and deleted, before all begins again: nobody can make
//! an entry for its key meanwhile, and if that one's slot is still its own, it is marked as dead for every clock.
//! So no two slots of one key live.
//!
//! A reader takes the word, then the rest, then the word again: no two words of a slot with different keys are the same, and what changes is written
//! while the word is 1.

use super::super::Domain;
use super::super::lir::{Arg, Bin, BlockId, Cmp, Effect, Helper, Type};
use super::dense::Likely;
use super::entries::{CLAIMED, EXISTS, NO_EXIST};
use super::env::{Env, Open, Retry, Seen};
use super::ops::{Outcome, bits_of};
use super::tables::{Entries, Image, Keeping, Kept, Slots, Table};
use super::{Lower, Lowering, uses};
use grv_lang::diagnostics::Code;
use grv_lang::ir::TableId;
use grv_lang::span::Span;
use std::rc::Rc;

/// The word of a slot that is somebody's.
pub(super) const HELD: Arg = Arg::Number(1);

/// The owner of slots.
#[derive(Clone)]
pub(super) struct Holder {
    pub(super) table: TableId,
    pub(super) of: Table,
    pub(super) kept: Entries,
    pub(super) slots: Rc<Slots>,
}

/// The columns of two entries that are inserted at once.
pub(super) struct Row {
    pub(super) key: Vec<Arg>,
    pub(super) value: Vec<Arg>,
    pub(super) image_key: Vec<Arg>,
    pub(super) image_value: Vec<Arg>,
}

impl<'p> Lower<'p> {
    /// How a table's entries are kept in slots, if they are.
    pub(super) fn holder(&self, table: TableId) -> Option<Holder> {
        let of = self.map_of(table)?;
        let Keeping::Entries(kept) = of.keeping.clone() else { return None };
        let slots = kept.slots.clone()?;
        Some(Holder { table, of, kept, slots })
    }

    /// The number of a mirror's key; goes on in `none` if no such key is ever inserted.
    fn number_of(&mut self, domain: &[Domain], key: &[Arg], none: BlockId) -> Arg {
        let mut number = Arg::Number(0);
        for (domain, column) in domain.iter().zip(key) {
            let digit = match domain {
                Domain::All(_) => *column,
                Domain::Range { first, count } => {
                    let digit = self.b.bin(Bin::Sub, *column, Arg::Number(*first));
                    self.b.unless(Cmp::Lt, digit, Arg::Number(*count), none);
                    digit
                }
                Domain::Of(values) => self.position(values, *column, none),
            };
            let size = domain.size();
            let scaled = match size.is_power_of_two() {
                true => self.b.bin(Bin::Shl, number, Arg::Number(size.trailing_zeros().into())),
                false => self.b.bin(Bin::Mul, number, Arg::Number(size)),
            };
            number = self.b.bin(Bin::Add, scaled, digit);
        }
        number
    }

    /// Which of these numbers one is.
    fn position(&mut self, values: &[u64], number: Arg, none: BlockId) -> Arg {
        let done = self.b.block();
        let at = self.b.param(done, Type::Word, 4);
        for (index, value) in (0..).zip(values) {
            let (same, next) = (self.b.block(), self.b.block());
            self.b.branch(Cmp::Eq, number, Arg::Number(*value), same, next);
            self.b.enter(same);
            self.b.jump(done, vec![Arg::Number(index)]);
            self.b.enter(next);
        }
        self.b.jump(none, Vec::new());
        self.b.enter(done);
        Arg::Value(at)
    }

    /// The slot of a number; goes on in `none` if there is none.
    fn slot_at(&mut self, of: &Table, number: Arg, none: BlockId) -> Arg {
        self.b.store(Arg::Stack(self.key_slot, 0), 0, 4, number);
        let slot = self.find(of);
        self.b.unless(Cmp::Ne, slot, Arg::Number(0), none);
        slot
    }

    /// What a column of the mirror's key most often is.
    fn most_likely(&mut self, holder: &Holder, likely: Likely, key: &[Arg]) -> Arg {
        match likely {
            Likely::Column(column) => key[column],
            Likely::Hashed { first, count } => {
                let hash = self.hash_of(holder, key);
                let at = self.among(hash, count);
                self.b.bin(Bin::Add, at, Arg::Number(first))
            }
        }
    }

    /// A hash of an owner's key, whose columns are mixed in as the words that they are in memory.
    pub(super) fn hash_of(&mut self, holder: &Holder, key: &[Arg]) -> Arg {
        let layout = self.layout(&holder.slots.index);
        let words: Vec<Arg> = self.grouped(&layout, key).into_iter().map(|(_, word)| word).collect();
        let seed = self.seed();
        words.into_iter().fold(seed, |hash, word| self.mix(hash, word))
    }

    /// The way on which an owner's entry is live, and the one on which it is not; `tick` is the step's.
    pub(super) fn look_in_slots(
        &mut self,
        mut env: Env<'p>,
        holder: &Holder,
        key: &[Arg],
        retry: Retry,
        tick: Arg,
    ) -> Vec<Open<'p>> {
        let Holder { table, of, kept, slots } = holder;
        let layout = self.layout(of);
        let (absent, other, live) = (self.b.block(), self.b.block(), self.b.block());
        let (entry, word) = (self.b.param(live, Type::Entry, 64), self.b.param(live, Type::Word, 64));
        if let Some(likely) = &slots.plan.likely {
            // Most entries are where they are first looked for, and then the index is not needed.
            let elsewhere = self.b.block();
            let likely: Vec<Arg> = likely.iter().map(|likely| self.most_likely(holder, *likely, key)).collect();
            let number = self.number_of(&slots.plan.domain, &likely, elsewhere);
            let slot = self.slot_at(of, number, elsewhere);
            let word = self.b.load(slot, kept.word as i16, 8);
            let deadline = self.deadline_of(kept, word);
            self.b.unless(Cmp::Lt, tick, deadline, elsewhere);
            self.same_key(&layout, slot, key, elsewhere);
            self.b.jump(live, vec![slot, word]);
            self.b.enter(elsewhere);
        }
        self.write_key(&slots.index, key, None);
        let found = self.find(&slots.index);
        self.b.unless(Cmp::Ne, found, Arg::Number(0), absent);
        let number = self.b.load(found, slots.number as i16, 8);
        self.b.unless(Cmp::Ne, number, CLAIMED, other);
        let number = self.b.bin(Bin::Sub, number, Arg::Number(1));
        let slot = self.slot_at(of, number, absent);
        let now = self.b.load(slot, kept.word as i16, 8);
        // If the slot is another's by now, this one's entry is dead.
        self.same_key(&layout, slot, key, absent);
        self.b.unless(Cmp::Ne, now, HELD, other);
        let deadline = self.deadline_of(kept, now);
        self.b.unless(Cmp::Lt, tick, deadline, absent);
        self.b.jump(live, vec![slot, now]);
        self.b.enter(live);
        let word = Arg::Value(word);
        let beside = self.beside(*table, kept, &layout, Arg::Value(entry));
        let still = self.b.load(Arg::Value(entry), kept.word as i16, 8);
        self.b.unless(Cmp::Eq, still, word, other);
        let here = self.b.here();
        self.b.enter(other);
        self.try_again(&retry);
        let (table, retry, key) = (*table, Some(retry), key.to_vec());
        let mut alive = env.clone();
        let live = Some(true);
        alive.seen =
            Some(Seen { table, key: key.clone(), entry, word, new: word, beside, dirty: false, live, retry, failed: None });
        // There is nothing to change, and nothing is held.
        let nothing = vec![Arg::Number(0); kept.columns.len()];
        let (word, entry) = (Arg::Number(0), found.value().unwrap_or(entry));
        env.seen = Some(Seen {
            table,
            key,
            entry,
            word,
            new: word,
            beside: nothing,
            dirty: false,
            live: Some(false),
            retry,
            failed: None,
        });
        vec![Open { env: alive, block: here }, Open { env, block: absent }]
    }

    /// Looks a mirror's entry up: whether it is live, and its columns. On ways on which it is, what was looked at is the owner's entry.
    pub(super) fn look_up_image(
        &mut self,
        mut env: Env<'p>,
        table: TableId,
        image: &Image,
        key: &[Arg],
        span: Span,
    ) -> Lowering<Vec<Outcome<'p>>> {
        let holder = self.holder(image.owner);
        let Some(Holder { of, kept, slots, .. }) = holder else { return Err(self.broken(span, "a slot without an owner")) };
        let layout = self.layout(&of);
        self.settle(&mut env)?;
        self.forget(&mut env);
        let retry = self.retry();
        let tick = self.tick(&mut env, kept.clock);
        let (none, other) = (self.b.block(), self.b.block());
        let number = self.number_of(&slots.plan.domain, key, none);
        let slot = self.slot_at(&of, number, none);
        let Arg::Value(entry) = slot else { return Err(self.broken(span, "a look-up without a result")) };
        let word = self.b.load(slot, kept.word as i16, 8);
        let (live, dead) = (self.b.block(), self.b.block());
        let deadline = self.deadline_of(&kept, word);
        self.b.branch(Cmp::Lt, tick, deadline, live, dead);
        self.b.enter(dead);
        self.b.branch(Cmp::Ne, word, HELD, none, other);
        self.b.enter(live);
        let owner = &self.program.tables[image.owner.index()];
        // What the slot's number says is known; but words would need registers for longer than it takes to read them.
        let known = slots.image.iter().copied().zip(key.iter().copied());
        let mut read: Vec<(usize, Arg)> = known.filter(|(_, arg)| arg.number().is_some()).collect();
        let mut column = |lower: &mut Self, index: usize, bits: u8| {
            if let Some((_, known)) = read.iter().find(|(at, _)| *at == index) {
                return *known;
            }
            let value = lower.number(slot, &layout.places[index]);
            let value = lower.b.low(value, bits);
            read.push((index, value));
            value
        };
        let owner_key: Vec<Arg> = of.key.iter().zip(&owner.key).map(|(index, of)| column(self, *index, bits_of(of.ty))).collect();
        let declared = &self.program.tables[table.index()];
        let places = slots.image.iter().skip(declared.key.len()).zip(&declared.value);
        let columns: Vec<Arg> = places.map(|(index, of)| column(self, *index, bits_of(of.ty))).collect();
        let beside = self.beside(image.owner, &kept, &layout, slot);
        let still = self.b.load(slot, kept.word as i16, 8);
        self.b.unless(Cmp::Eq, still, word, other);
        let live = self.b.here();
        self.b.enter(other);
        self.try_again(&retry);

        let mut alive = env.clone();
        if !alive.written && !uses::only_ages(self.program, image.owner) {
            alive.looked.push((image.owner, owner_key.clone()));
        }
        let (table_of, is_live, again) = (image.owner, Some(true), Some(retry));
        alive.seen = Some(Seen {
            table: table_of,
            key: owner_key,
            entry,
            word,
            new: word,
            beside,
            dirty: false,
            live: is_live,
            retry: again,
            failed: None,
        });
        if !env.written {
            env.looked.push((table, key.to_vec()));
        }
        let nothing = vec![Arg::Number(0); 1 + columns.len()];
        let found = std::iter::once(Arg::Number(1)).chain(columns).collect();
        Ok(vec![(Open { env: alive, block: live }, found), (Open { env, block: none }, nothing)])
    }

    /// Inserts an entry and its mirror's: whether they are there now.
    pub(super) fn insert_in_slot(
        &mut self,
        mut env: Env<'p>,
        holder: &Holder,
        mirror: TableId,
        row: &Row,
        span: Span,
    ) -> Lowering<Vec<Outcome<'p>>> {
        let Holder { table, of, kept, slots } = holder;
        let all: Vec<Arg> = [&row.key, &row.value, &row.image_key, &row.image_value].into_iter().flatten().copied().collect();
        if slots.plan.same.iter().zip(&all).any(|(first, arg)| all.get(*first) != Some(arg)) {
            let what = "inserting two entries at once of which columns that are always the same were computed apart".to_string();
            return Err(self.refuse(Code::TargetOperation, span, what));
        }
        let layout = self.layout(of);
        // They may have been looked at before: what counts is that they are dead when the slot is held.
        env.looked.retain(|looked| *looked != (*table, row.key.clone()) && *looked != (mirror, row.image_key.clone()));
        self.settle(&mut env)?;
        self.forget(&mut env);
        let retry = self.retry();
        let tick = self.tick(&mut env, kept.clock);
        let scalars: Vec<Arg> = row.key.iter().chain(&row.value).copied().collect();
        let deadline = self.deadline(&mut env, *table, kept.clock, &scalars, span)?;
        let live = (self.shortest > 0).then_some(true);
        let new = self.pack(kept, deadline, &row.value);
        let (other, failed, defect) = (self.b.block(), self.b.block(), self.b.block());

        let number = self.number_of(&slots.plan.domain, &row.image_key, defect);
        let slot = self.slot_at(of, number, defect);
        let Arg::Value(entry) = slot else { return Err(self.broken(span, "a look-up without a result")) };
        let word = self.b.load(slot, kept.word as i16, 8);
        self.b.unless(Cmp::Ne, word, HELD, other);
        let until = self.deadline_of(kept, word);
        // Another processor was faster: a transient failure.
        self.b.unless(Cmp::Ge, tick, until, failed);
        self.commit(*table, Effect::Hold);
        let was = self.b.compare_swap(slot, kept.word as i16, word, HELD);
        self.b.unless(Cmp::Eq, was, word, other);
        let beside = self.write_row(holder, slot, row, &layout);
        let next = self.b.bin(Bin::Add, number, Arg::Number(1));
        self.write_entry(&slots.index, &row.key, slots.number, next);
        let base = Arg::Stack(self.value_slot, 0);
        let update = vec![Arg::Map(slots.index.map), Arg::Stack(self.key_slot, 0), base, Arg::Number(NO_EXIST)];
        let made = self.b.call(Helper::MapUpdate, update.clone());
        let (done, fails, taken, full, no_room) =
            (self.b.block(), self.b.block(), self.b.block(), self.b.block(), self.b.block());
        self.b.branch(Cmp::Eq, made, Arg::Number(0), done, fails);
        self.b.enter(fails);
        self.b.branch(Cmp::Eq, made, Arg::Number(EXISTS), taken, full);
        self.b.enter(full);
        self.sweep(&mut env, *table, of, no_room)?;
        let made = self.b.call(Helper::MapUpdate, update);
        let fails = self.b.block();
        self.b.branch(Cmp::Eq, made, Arg::Number(0), done, fails);
        self.b.enter(fails);
        self.b.branch(Cmp::Eq, made, Arg::Number(EXISTS), taken, no_room);
        let (dead, outdated) = (self.dead(kept), self.b.block());
        for (block, then) in [(taken, outdated), (no_room, failed)] {
            self.b.enter(block);
            self.b.compare_swap(slot, kept.word as i16, HELD, dead);
            self.b.jump(then, Vec::new());
        }
        // Most new keys have no number; of one that had a slot before it is out of date, if no other processor was faster.
        self.b.enter(outdated);
        self.write_key(&slots.index, &row.key, None);
        let found = self.find(&slots.index);
        self.b.unless(Cmp::Ne, found, Arg::Number(0), other);
        self.bury(holder, found, &row.key, tick, failed, other);
        self.delete_at(&slots.index, &row.key);
        self.b.jump(other, Vec::new());
        self.b.enter(defect);
        self.defect();
        self.b.enter(other);
        self.try_again(&retry);

        let mut with = env.clone();
        let (table, key, retry) = (*table, row.key.clone(), Some(retry));
        with.seen = Some(Seen { table, key, entry, word: HELD, new, beside, dirty: false, live, retry, failed: None });
        Ok(vec![(Open { env: with, block: done }, vec![Arg::Number(1)]), (Open { env, block: failed }, vec![Arg::Number(0)])])
    }

    /// Writes the columns of both entries into a slot that is held; those of the owner's value that are beside the word.
    fn write_row(&mut self, holder: &Holder, slot: Arg, row: &Row, layout: &super::super::maps::Layout) -> Vec<Arg> {
        let Holder { of, kept, slots, .. } = holder;
        let beside = kept.columns.iter().zip(&row.value).filter_map(|(column, arg)| match column {
            Kept::Beside(index) => Some((*index, *arg)),
            Kept::Word(..) => None,
        });
        let images = slots.image.iter().copied().zip(row.image_key.iter().chain(&row.image_value).copied());
        // The key comes first, as whole words.
        self.store_numbers(layout, slot, &row.key);
        let mut columns: Vec<(usize, Arg)> = beside.chain(images).filter(|(index, _)| !of.key.contains(index)).collect();
        columns.sort_by_key(|(index, _)| *index);
        columns.dedup_by_key(|(index, _)| *index);
        for (index, arg) in columns {
            let place = &layout.places[index];
            self.b.store(slot, place.offset as i16, place.bytes, arg);
        }
        let column = |(column, value): (&Kept, &Arg)| if let Kept::Beside(_) = column { *value } else { Arg::Number(0) };
        kept.columns.iter().zip(&row.value).map(column).collect()
    }

    /// Puts an entry of the index into the slots for keys and values.
    fn write_entry(&mut self, index: &Table, key: &[Arg], at: u16, number: Arg) {
        self.write_key(index, key, None);
        let layout = self.layout(index);
        let base = Arg::Stack(self.value_slot, 0);
        self.zero_gaps(&layout, base);
        self.store_numbers(&layout, base, key);
        self.b.store(base, at as i16, 8, number);
    }

    fn delete_at(&mut self, index: &Table, key: &[Arg]) {
        self.write_key(index, key, None);
        self.b.call(Helper::MapDelete, vec![Arg::Map(index.map), Arg::Stack(self.key_slot, 0)]);
    }

    /// Goes on in a new block, holding the entry of the index, if the entry that it leads to is dead, and then for every clock. In `lives` if it lives, in
    /// `other` if that is not known yet.
    fn bury(&mut self, holder: &Holder, found: Arg, key: &[Arg], tick: Arg, lives: BlockId, other: BlockId) {
        let Holder { table, of, kept, slots } = holder;
        let (index, layout) = (self.layout(&slots.index), self.layout(of));
        let (back, back_live, gone) = (self.b.block(), self.b.block(), self.b.block());
        let at = slots.number as i16;
        let number = self.b.load(found, at, 8);
        self.b.unless(Cmp::Ne, number, CLAIMED, other);
        self.commit(*table, Effect::Claim);
        let was = self.b.compare_swap(found, at, number, CLAIMED);
        self.b.unless(Cmp::Eq, was, number, other);
        // The memory may be another key's by now; what is held is nobody else's any more.
        self.same_key(&index, found, key, back);
        let to = self.b.bin(Bin::Sub, number, Arg::Number(1));
        let slot = self.slot_at(of, to, gone);
        let word = self.b.load(slot, kept.word as i16, 8);
        self.same_key(&layout, slot, key, gone);
        self.b.unless(Cmp::Ne, word, HELD, back);
        let deadline = self.deadline_of(kept, word);
        self.b.unless(Cmp::Ge, tick, deadline, back_live);
        let dead = self.dead(kept);
        self.commit(*table, Effect::Claim);
        let was = self.b.compare_swap(slot, kept.word as i16, word, dead);
        self.b.branch(Cmp::Eq, was, word, gone, back);
        for (block, then) in [(back, other), (back_live, lives)] {
            self.b.enter(block);
            self.b.compare_swap(found, at, CLAIMED, number);
            self.b.jump(then, Vec::new());
        }
        self.b.enter(gone);
    }

    /// Of the sweep of the index: goes on in a new block, holding the entry, if what it leads to is dead, else in `stays`.
    pub(super) fn sweep_index(&mut self, holder: &Holder, entry: Arg, tick: Arg, stays: BlockId) {
        let layout = self.layout(&holder.slots.index);
        // The key is what the entry says it is: it is compared again when the entry is held.
        let places = layout.places.iter().take(holder.of.key.len());
        let key: Vec<Arg> = places.map(|place| self.number(entry, place)).collect();
        let slot = self.b.slot(4);
        let key_slot = std::mem::replace(&mut self.key_slot, slot);
        self.bury(holder, entry, &key, tick, stays, stays);
        self.key_slot = key_slot;
    }
}
