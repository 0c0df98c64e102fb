//! Dead entries make room. A table that is full is swept by the packet that finds it so, once a second at most: a helper of the
//! kernel goes through its entries and has a function of ours look at each. A dead entry is given up by a compare-and-swap of its
//! word, and deleted by who swapped; so a refresh on another processor either comes first, and the swap fails, or finds the
//! entry given up.

use super::super::lir::{Arg, Bin, BlockId, Builder, Cmp, Commit, Effect, Helper, MapId, Type};
use super::super::maps::identifier;
use super::env::Env;
use super::tables::{Keeping, Table};
use super::{Lower, Lowering, bucket, entries};
use grv_lang::ir::{self, Lifetime, Role, TableId};

/// Whether entries of a table die.
pub(super) fn dies(table: &ir::Table) -> bool {
    table.role == Role::State && !matches!(table.lifetime, Lifetime::Forever)
}

impl<'p> Lower<'p> {
    /// Sweeps a full table and goes on in a new block; in `full`, if that was done less than a second ago.
    pub(super) fn sweep(&mut self, env: &mut Env<'p>, table: TableId, of: &Table, full: BlockId) -> Lowering<()> {
        let Some((number, due)) = self.sweepers.get(&table).copied() else {
            self.b.jump(full, Vec::new());
            let next = self.b.block();
            self.b.enter(next);
            return Ok(());
        };
        let number = if number == u32::MAX { self.sweeper(table, of, due) } else { number };
        let clock = self.lifetimes(table, &self.program.tables[table.index()]);
        let now = self.pace(env, clock);
        let before = self.b.load(due, 0, 8);
        self.b.unless(Cmp::Ge, now, before, full);
        let next = self.b.bin(Bin::Add, now, Arg::Number(Self::second(clock)));
        let was = self.b.compare_swap(due, 0, before, next);
        self.b.unless(Cmp::Eq, was, before, full);
        let tick = self.tick(env, clock);
        let slot = match self.sweep_slot {
            Some(slot) => slot,
            None => *self.sweep_slot.insert(self.b.slot(8)),
        };
        self.b.store(Arg::Stack(slot, 0), 0, 8, tick);
        let args = vec![Arg::Map(self.swept_map(table, of)), Arg::Callback(number), Arg::Stack(slot, 0), Arg::Number(0)];
        self.b.call(Helper::ForEach, args);
        Ok(())
    }

    /// The map whose entries are gone through: of slots, the index.
    pub(super) fn swept_map(&self, table: TableId, of: &Table) -> MapId {
        self.holder(table).map_or(of.map, |holder| holder.slots.index.map)
    }

    /// The function that looks at one entry: the map, the key, the value, the time in ticks.
    pub(super) fn sweeper(&mut self, table: TableId, of: &Table, due: Arg) -> u32 {
        let mut b = Builder::new(self.program.tables[table.index()].span, &[Type::Map, Type::Key, Type::Entry, Type::Entry]);
        std::mem::swap(&mut self.b, &mut b);
        let (map, key, value) = (self.b.input(0), self.b.input(1), self.b.input(2));
        let tick = self.b.load(self.b.input(3), 0, 8);
        let stays = self.b.block();
        let held = self.holder(table);
        let (word, claimed, at) = match &of.keeping {
            Keeping::Entries(kept) if kept.slots.is_some() => {
                if let Some(holder) = &held {
                    self.sweep_index(holder, value, tick, stays);
                }
                self.b.call(Helper::MapDelete, vec![map, key]);
                self.b.jump(stays, Vec::new());
                return self.swept(b, stays, table, due);
            }
            Keeping::Bucket(bucket) => {
                let until = self.b.load(value, bucket.deadline as i16, 8);
                self.b.unless(Cmp::Ge, tick, until, stays);
                // A bucket whose deadline is past is full: the word is past too, and no later one is the same.
                let word = self.b.load(value, bucket.full as i16, 8);
                (word, Arg::Number(bucket::CLAIMED), bucket.full)
            }
            Keeping::Entries(kept) => {
                let word = self.b.load(value, kept.word as i16, 8);
                let deadline = self.deadline_of(kept, word);
                self.b.unless(Cmp::Ge, tick, deadline, stays);
                (word, entries::CLAIMED, kept.word)
            }
            Keeping::Mirror(mirror) => match self.sweep_mirror((table, of), mirror, value, tick, stays) {
                Some(ticket) => (ticket, entries::CLAIMED, mirror.word),
                None => (entries::CLAIMED, entries::CLAIMED, mirror.word),
            },
            _ => (Arg::Number(0), Arg::Number(0), 0),
        };
        self.b.unless(Cmp::Ne, word, claimed, stays);
        self.b.commit = Some(Commit { table, what: Effect::Claim });
        let was = self.b.compare_swap(value, at as i16, word, claimed);
        self.b.unless(Cmp::Eq, was, word, stays);
        self.b.call(Helper::MapDelete, vec![map, key]);
        self.b.jump(stays, Vec::new());
        self.swept(b, stays, table, due)
    }

    /// The end of a sweeper: it is a function of its own, and `b` is what was being built before.
    fn swept(&mut self, mut b: Builder, stays: BlockId, table: TableId, due: Arg) -> u32 {
        self.b.enter(stays);
        self.b.ret(Arg::Number(0));
        std::mem::swap(&mut self.b, &mut b);
        let declared = &self.program.tables[table.index()];
        let number = self.functions.len() as u32;
        self.functions.push(b.finish(&format!("sweep_{}", identifier(&declared.name))));
        self.sweepers.insert(table, (number, due));
        number
    }
}
