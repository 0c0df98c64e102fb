//! Entries of maps and sets that handlers write.
//!
//! A step looks at an entry, decides, and changes it; another processor may have changed it meanwhile. So changes of an
//! entry are collected while a step goes on (what is read again in between is what was collected), and take effect at once, by
//! one compare-and-swap of the word that was read first: [`Lower::settle`]. If the word is another by then, the step begins
//! again where it looked: nothing has happened since but reading. Changes are settled before anything else that others can see:
//! before another entry is touched, before the packet changes, at the end of the step.
//!
//! A new entry is one of these changes: it is made when it is known as what, by the kernel's own operation, which fails if another processor was first; then,
//! too, the step begins again. If there is no room, the step goes on as if the insertion had failed where it is written: nothing has happened since but
//! reading. What takes effect together with a cell, or with a mirror's entry, is inserted dead, with the word 0, which nobody else touches, and comes to life
//! at the commit point.
//!
//! What is beside the word does not change with it at once: who changes it swaps in 0 first, which others wait for.
//!
//! A step changes one entry at most, and looks at no other one before: then it is as if it happened when it changed it. After that it may
//! look at others; it is then as if that were a step of its own, right behind. More is in [`super::joint`] and [`super::cell`]. What
//! only time can make untrue (`uses::only_ages`) is no look in this sense, and entries that nothing depends on
//! (`uses::is_notebook`) may be written after anything. A packet that comes to an element again is as if it were another one.

use super::super::lir::{Arg, Bin, BlockId, Cmp, Commit, Effect, Type};
use super::super::maps::Layout;
use super::env::{CellSeen, Env, Open, Retry, Seen};
use super::ops::{Outcome, bits_of};
use super::slots::HELD;
use super::tables::{Entries, Keeping, Kept, Table};
use super::{Lower, Lowering};
use grv_lang::diagnostics::Code;
use grv_lang::ir::{Lifetime, TableId};
use grv_lang::span::Span;

/// Of `bpf_map_update_elem`: only if the key is not there.
pub(super) const NO_EXIST: u64 = 1;
/// What it gives if it is.
pub(super) const EXISTS: u64 = -17_i64 as u64;

/// Times are below 2^62, and so is what a duration may add; with what is rounded up, deadlines stay below 2^63.
pub(super) const LATEST: u64 = (1 << 62) - (1 << 42);

/// A dead or unborn entry that is somebody's.
pub(super) const CLAIMED: Arg = Arg::Number(0);

impl<'p> Lower<'p> {
    pub(super) fn layout(&self, table: &Table) -> Layout {
        self.maps.map(table.map).map(|map| map.value.clone()).unwrap_or_default()
    }

    /// Whether entries have deadlines.
    pub(super) fn is_mortal(&self, table: TableId, kept: &Entries) -> bool {
        !matches!(self.program.tables[table.index()].lifetime, Lifetime::Forever) || kept.expires
    }

    /// The columns beside an entry's word.
    pub(super) fn beside(&mut self, table: TableId, kept: &Entries, layout: &Layout, entry: Arg) -> Vec<Arg> {
        let declared = &self.program.tables[table.index()].value;
        let column = |(column, declared): (&Kept, &grv_lang::ir::Column)| match column {
            Kept::Word(..) => Arg::Number(0),
            Kept::Beside(index) => {
                let value = self.number(entry, &layout.places[*index]);
                self.b.low(value, bits_of(declared.ty))
            }
        };
        kept.columns.iter().zip(declared).map(column).collect()
    }

    /// The word of an entry with this deadline and these columns.
    pub(super) fn pack(&mut self, kept: &Entries, deadline: Arg, value: &[Arg]) -> Arg {
        let mut word = self.b.bin(Bin::Shl, deadline, Arg::Number(kept.low.into()));
        for (column, value) in kept.columns.iter().zip(value) {
            if let Kept::Word(shift, _) = column {
                let value = self.b.bin(Bin::Shl, *value, Arg::Number((*shift).into()));
                word = self.b.bin(Bin::Or, word, value);
            }
        }
        word
    }

    pub(super) fn deadline_of(&mut self, kept: &Entries, word: Arg) -> Arg {
        self.b.bin(Bin::Shr, word, Arg::Number(kept.low.into()))
    }

    /// The same word with another deadline.
    fn with_deadline(&mut self, kept: &Entries, word: Arg, deadline: Arg) -> Arg {
        let columns = self.b.low(word, kept.low);
        let deadline = self.b.bin(Bin::Shl, deadline, Arg::Number(kept.low.into()));
        self.b.bin(Bin::Or, deadline, columns)
    }

    /// The word of an entry that is somebody's.
    pub(super) fn held(&self, kept: &Entries) -> Arg {
        if kept.slots.is_some() { HELD } else { CLAIMED }
    }

    pub(super) fn commit(&mut self, table: TableId, what: Effect) {
        self.b.commit = Some(Commit { table, what });
    }

    /// Takes note that the step changes an entry.
    pub(super) fn writes(&mut self, env: &mut Env<'p>, table: TableId, key: &[Arg], span: Span) -> Lowering<()> {
        if self.notebooks[table.index()] {
            return Ok(());
        }
        let cell = env.cell.as_ref().filter(|cell| cell.old != cell.new).map(|cell| (cell.table, Vec::new()));
        let entries: Vec<(TableId, Vec<Arg>)> = std::iter::once((table, key.to_vec())).chain(cell).collect();
        self.writes_all(env, &entries, span)
    }

    /// Takes note that the step changes entries at once; refused if another one is part of the step that others could change meanwhile.
    pub(super) fn writes_all(&mut self, env: &mut Env<'p>, entries: &[(TableId, Vec<Arg>)], span: Span) -> Lowering<()> {
        if env.written {
            return Err(self.refuse(Code::TargetOperation, span, "changing several entries in one step".to_string()));
        }
        if env.looked.iter().any(|looked| !entries.contains(looked)) {
            let what = "changing an entry after another one was looked at".to_string();
            return Err(self.refuse(Code::TargetOperation, span, what));
        }
        env.written = true;
        env.looked.clear();
        Ok(())
    }

    /// What is to become of the entry that was looked at takes effect.
    pub(super) fn settle(&mut self, env: &mut Env<'p>) -> Lowering<()> {
        let cell = env.cell.clone().filter(|cell| cell.old != cell.new);
        let changed = |seen: &Seen| seen.new != seen.word || seen.dirty || seen.failed.is_some();
        let Some(seen) = env.seen.clone().filter(changed) else {
            return if let Some(cell) = cell { self.settle_cell(env, &cell) } else { Ok(()) };
        };
        let Some(Keeping::Entries(kept)) = self.map_of(seen.table).map(|of| of.keeping) else { return Ok(()) };
        self.writes(env, seen.table, &seen.key, self.b.span)?;
        match seen.failed {
            Some(failed) => self.settle_new(env, &kept, (&seen, failed), cell),
            None => {
                self.settle_changed(env, &kept, cell);
                Ok(())
            }
        }
    }

    /// What is to become of an entry that is there takes effect, together with a cell.
    pub(super) fn settle_changed(&mut self, env: &mut Env<'p>, kept: &Entries, cell: Option<CellSeen>) {
        let Some(seen) = env.seen.clone() else { return };
        if seen.dirty || cell.is_some() {
            if seen.word != self.held(kept) {
                let changed = self.b.block();
                self.hold(&seen, kept, changed);
                let here = self.b.here();
                self.b.enter(changed);
                self.begin_again(seen.retry);
                self.b.enter(here);
            }
            return self.settle_held(env, kept, &seen, cell);
        }
        let (differs, done, changed) = (self.b.block(), self.b.block(), self.b.block());
        self.b.branch(Cmp::Eq, seen.word, seen.new, done, differs);
        self.b.enter(differs);
        self.commit(seen.table, Effect::Change);
        let was = self.b.compare_swap(Arg::Value(seen.entry), kept.word as i16, seen.word, seen.new);
        self.b.branch(Cmp::Eq, was, seen.word, done, changed);
        self.b.enter(changed);
        self.begin_again(seen.retry);
        self.b.enter(done);
        env.seen = Some(Seen { word: seen.new, ..seen });
    }

    /// The same of an entry that is held meanwhile: one with more than its word, or that changes together with a cell. Its word was another one, or it is new.
    pub(super) fn settle_held(&mut self, env: &mut Env<'p>, kept: &Entries, seen: &Seen, cell: Option<CellSeen>) {
        let (entry, at, held) = (Arg::Value(seen.entry), kept.word as i16, self.held(kept));
        // Since others saw that it is held, an atomic instruction has waited until they see all that came before.
        let fenced = cell.is_some() || seen.word != held;
        if let Some(cell) = cell {
            let taken = self.b.block();
            self.swap_cell(&cell, taken);
            let here = self.b.here();
            self.b.enter(taken);
            // It becomes what it was: alive, or dead and nobody's.
            let back = self.pick(Cmp::Eq, seen.word, held, self.dead(kept), seen.word, 64);
            self.b.compare_swap(entry, at, held, back);
            self.begin_again(seen.retry);
            self.b.enter(here);
            env.cell = Some(CellSeen { old: cell.new, ..cell });
        }
        if seen.dirty {
            self.write_beside(seen, kept);
        }
        self.commit(seen.table, Effect::Change);
        if fenced {
            // Nobody else writes the word of what is held, and nobody takes it for what it was.
            self.b.store(entry, at, 8, seen.new);
        } else {
            self.b.compare_swap(entry, at, held, seen.new);
        }
        env.seen = Some(Seen { word: seen.new, dirty: false, ..seen.clone() });
    }

    /// Lets go of what the step holds, on its way to an early end.
    pub(super) fn abandon(&mut self, env: &Env<'p>) {
        let Some(seen) = &env.seen else { return };
        let Some(Keeping::Entries(kept)) = self.map_of(seen.table).map(|of| of.keeping) else { return };
        let (there, ours, done) = (self.b.block(), self.b.block(), self.b.block());
        let held = self.held(&kept);
        self.b.branch(Cmp::Eq, seen.word, held, there, done);
        self.b.enter(there);
        self.b.branch(Cmp::Ne, Arg::Value(seen.entry), Arg::Number(0), ours, done);
        self.b.enter(ours);
        let dead = self.dead(&kept);
        self.b.compare_swap(Arg::Value(seen.entry), kept.word as i16, held, dead);
        self.b.jump(done, Vec::new());
        self.b.enter(done);
    }

    /// The word of an entry that is dead for every clock, and nobody's.
    pub(super) fn dead(&self, kept: &Entries) -> Arg {
        Arg::Number(1 << kept.low)
    }

    /// Writes the columns beside the word of an entry that is held.
    pub(super) fn write_beside(&mut self, seen: &Seen, kept: &Entries) {
        let layout = self.map_of(seen.table).map(|of| self.layout(&of)).unwrap_or_default();
        for (column, value) in kept.columns.iter().zip(&seen.beside) {
            if let Kept::Beside(index) = column {
                let place = &layout.places[*index];
                self.b.store(Arg::Value(seen.entry), place.offset as i16, place.bytes, *value);
            }
        }
    }

    /// What was looked at is looked at again when it is needed again.
    pub(super) fn forget(&mut self, env: &mut Env<'p>) {
        env.seen = None;
        env.cell = None;
    }

    /// Before something that cannot be done twice: what is to become of the entry takes effect, and the step does not begin again from before.
    pub(super) fn goes_on(&mut self, env: &mut Env<'p>) -> Lowering<()> {
        self.settle(env)?;
        if let Some(seen) = &mut env.seen {
            seen.retry = None;
        }
        if let Some(cell) = &mut env.cell {
            cell.retry = None;
        }
        Ok(())
    }

    /// The step begins again where it looked, if it can.
    pub(super) fn begin_again(&mut self, retry: Option<Retry>) {
        match retry {
            Some(retry) => self.try_again(&retry),
            None => self.contended(),
        }
    }

    /// Goes on in one of two blocks, by whether an entry with this word is live.
    pub(super) fn branch_live(&mut self, kept: &Entries, word: Arg, tick: Option<Arg>, live: BlockId, dead: BlockId) {
        match tick {
            Some(tick) => {
                let deadline = self.deadline_of(kept, word);
                self.b.branch(Cmp::Lt, tick, deadline, live, dead);
            }
            None => self.b.branch(Cmp::Ne, word, CLAIMED, live, dead),
        }
    }

    /// Looks at an entry: ways on which it is live, and the one on which it is dead or not there.
    pub(super) fn look(
        &mut self,
        env: Env<'p>,
        table: TableId,
        kept: &Entries,
        key: &[Arg],
        span: Span,
    ) -> Lowering<Vec<Open<'p>>> {
        self.look_for(env, table, kept, key, true, span)
    }

    /// The same; if it need not be `live`, there may be one way on which it is there, live or dead.
    pub(super) fn look_for(
        &mut self,
        mut env: Env<'p>,
        table: TableId,
        kept: &Entries,
        key: &[Arg],
        live: bool,
        span: Span,
    ) -> Lowering<Vec<Open<'p>>> {
        if let Some(seen) = env.seen.clone().filter(|seen| (seen.table, seen.key.as_slice()) == (table, key)) {
            if seen.live.is_some() {
                return Ok(vec![Open { env, block: self.b.here() }]);
            }
            // By the same clock, what its word says of it.
            let tick = self.is_mortal(table, kept).then(|| self.tick(&mut env, kept.clock));
            let (live, dead) = (self.b.block(), self.b.block());
            self.branch_live(kept, seen.new, tick, live, dead);
            let way = |block, is_live| {
                let mut env = env.clone();
                env.seen = Some(Seen { live: Some(is_live), ..seen.clone() });
                Open { env, block }
            };
            return Ok(vec![way(live, true), way(dead, false)]);
        }
        let Some(of) = self.map_of(table) else { return Err(self.broken(span, "a table that is not kept")) };
        let layout = self.layout(&of);
        self.settle(&mut env)?;
        self.forget(&mut env);
        if !env.written && !self.notebooks[table.index()] {
            if env.looked.iter().any(|(of, other)| (*of, other.as_slice()) == (table, key)) {
                // What was read first may not be so any more.
                let what = "looking at an entry again that was looked at on some of the ways to here".to_string();
                return Err(self.refuse(Code::TargetOperation, span, what));
            }
            env.looked.push((table, key.to_vec()));
        }
        let retry = self.retry();
        // Who begins again reads the clock again.
        let tick = self.is_mortal(table, kept).then(|| self.tick(&mut env, kept.clock));
        if let (Some(holder), Some(tick)) = (self.holder(table), tick) {
            return Ok(self.look_in_slots(env, &holder, key, retry, tick));
        }
        let whole = kept.columns.iter().all(|column| matches!(column, Kept::Word(..)));
        let told = live || !whole || tick.is_none();
        self.write_key(&of, key, None);
        let found = self.find(&of);
        let Arg::Value(entry) = found else { return Err(self.broken(span, "a look-up without a result")) };
        let (absent, other) = (self.b.block(), self.b.block());
        self.b.unless(Cmp::Ne, found, Arg::Number(0), absent);
        let word = self.b.load(found, kept.word as i16, 8);
        let found_as = if told {
            let (live, dead) = (self.b.block(), self.b.block());
            self.branch_live(kept, word, tick, live, dead);
            vec![(live, Some(true)), (dead, Some(false))]
        } else {
            vec![(self.b.here(), None)]
        };
        let mut ways = Vec::new();
        for (block, live) in found_as {
            self.b.enter(block);
            let mut beside = vec![Arg::Number(0); kept.columns.len()];
            if live == Some(true) {
                beside = self.beside_of(table, kept, &layout, found, word, other);
            } else {
                // Somebody holds it: what will it be?
                self.b.unless(Cmp::Ne, word, CLAIMED, other);
            }
            let mut env = env.clone();
            env.seen = Some(Seen {
                table,
                key: key.to_vec(),
                entry,
                word,
                new: word,
                beside,
                dirty: false,
                live,
                retry: Some(retry),
                failed: None,
            });
            // The memory belongs to another key by now: where is ours?
            self.same_key(&layout, found, key, other);
            ways.push(Open { env, block: self.b.here() });
        }
        self.b.enter(other);
        self.try_again(&retry);
        let (word, new, beside) = (CLAIMED, CLAIMED, vec![Arg::Number(0); kept.columns.len()]);
        let (key, live) = (key.to_vec(), Some(false));
        env.seen = Some(Seen { table, key, entry, word, new, beside, dirty: false, live, retry: Some(retry), failed: None });
        ways.push(Open { env, block: absent });
        Ok(ways)
    }

    /// The columns beside the word that was read; goes on in `other` if they are those of another word, or of another key.
    pub(super) fn beside_of(
        &mut self,
        table: TableId,
        kept: &Entries,
        layout: &Layout,
        entry: Arg,
        word: Arg,
        other: BlockId,
    ) -> Vec<Arg> {
        // They are read before the key is compared: until then they may be another's.
        let beside = self.beside(table, kept, layout, entry);
        if kept.columns.iter().any(|column| matches!(column, Kept::Beside(_))) {
            let still = self.b.load(entry, kept.word as i16, 8);
            self.b.unless(Cmp::Eq, still, word, other);
        }
        beside
    }

    /// The columns of the live entry that was looked at, as they are to be.
    fn values_of(&mut self, kept: &Entries, seen: &Seen) -> Vec<Arg> {
        let column = |(column, beside): (&Kept, &Arg)| match column {
            Kept::Word(shift, bits) => self.in_word(seen.new, *shift, *bits),
            Kept::Beside(_) => *beside,
        };
        kept.columns.iter().zip(&seen.beside).map(column).collect()
    }

    pub(super) fn in_word(&mut self, word: Arg, shift: u8, bits: u8) -> Arg {
        let value = self.b.bin(Bin::Shr, word, Arg::Number(shift.into()));
        self.b.low(value, bits)
    }

    /// Looks an entry up, and refreshes it if that is asked for: whether it is live, and its columns.
    pub(super) fn look_up(
        &mut self,
        mut env: Env<'p>,
        table: TableId,
        kept: &Entries,
        key: &[Arg],
        touch: bool,
        span: Span,
    ) -> Lowering<Vec<Outcome<'p>>> {
        if !touch && self.asks_no_more(&env, table, kept, key) {
            self.settle(&mut env)?;
            self.forget(&mut env);
            if env.written || env.looked.is_empty() {
                return self.look_once(env, table, kept, key, span);
            }
        }
        let idle = matches!(self.program.tables[table.index()].lifetime, Lifetime::Idle(_));
        let mut outcomes = Vec::new();
        for mut open in self.look(env, table, kept, key, span)? {
            self.b.enter(open.block);
            let Some(seen) = open.env.seen.clone().filter(|seen| seen.live == Some(true)) else {
                outcomes.push((open, vec![Arg::Number(0); 1 + kept.columns.len()]));
                continue;
            };
            let values = self.values_of(kept, &seen);
            if touch && idle {
                let scalars: Vec<Arg> = key.iter().chain(&values).copied().collect();
                let deadline = self.deadline(&mut open.env, table, kept.clock, &scalars, span)?;
                let old = self.deadline_of(kept, seen.new);
                let (later, done) = (self.b.block(), self.b.block());
                let new = Arg::Value(self.b.param(done, Type::Word, 64));
                let same = self.b.block();
                self.b.branch(Cmp::Gt, deadline, old, later, same);
                self.b.enter(later);
                let moved = self.with_deadline(kept, seen.new, deadline);
                self.b.jump(done, vec![moved]);
                self.b.enter(same);
                self.b.jump(done, vec![seen.new]);
                self.b.enter(done);
                open.env.seen = Some(Seen { new, ..seen });
            }
            open.block = self.b.here();
            outcomes.push((open, std::iter::once(Arg::Number(1)).chain(values).collect()));
        }
        Ok(outcomes)
    }

    /// Changes the columns of a live entry.
    pub(super) fn set_value(
        &mut self,
        env: Env<'p>,
        table: TableId,
        kept: &Entries,
        key: &[Arg],
        value: &[Arg],
        span: Span,
    ) -> Lowering<Vec<Outcome<'p>>> {
        let outcomes = self.change(env, table, kept, key, span, |lower, seen| {
            let deadline = lower.deadline_of(kept, seen.new);
            (lower.pack(kept, deadline, value), seen.live)
        })?;
        let with_beside = |(mut open, results): Outcome<'p>| {
            if let Some(seen) = &mut open.env.seen {
                set_beside(kept, seen, value);
            }
            (open, results)
        };
        Ok(outcomes.into_iter().map(with_beside).collect())
    }

    /// Sets the deadline of a live entry, in ticks.
    pub(super) fn expire_at(
        &mut self,
        env: Env<'p>,
        table: TableId,
        kept: &Entries,
        key: &[Arg],
        deadline: Arg,
        span: Span,
    ) -> Lowering<Vec<Outcome<'p>>> {
        self.change(env, table, kept, key, span, |lower, seen| {
            // It may be dead at once.
            (lower.with_deadline(kept, seen.new, deadline), None)
        })
    }

    /// Gives a live entry another word.
    fn change(
        &mut self,
        env: Env<'p>,
        table: TableId,
        kept: &Entries,
        key: &[Arg],
        span: Span,
        word: impl Fn(&mut Self, &Seen) -> (Arg, Option<bool>),
    ) -> Lowering<Vec<Outcome<'p>>> {
        let mut outcomes = Vec::new();
        for mut open in self.look(env, table, kept, key, span)? {
            self.b.enter(open.block);
            match open.env.seen.clone().filter(|seen| seen.live == Some(true)) {
                Some(seen) => {
                    let (new, live) = word(self, &seen);
                    open.env.seen = Some(Seen { new, live, ..seen });
                    open.block = self.b.here();
                    outcomes.push((open, Vec::new()));
                }
                // It was proved to be live, or is one that another processor removed since this step looked.
                None => self.defect(),
            }
        }
        Ok(outcomes)
    }
}

/// What the columns beside an entry's word are to be.
pub(super) fn set_beside(kept: &Entries, seen: &mut Seen, value: &[Arg]) {
    for ((column, beside), value) in kept.columns.iter().zip(&mut seen.beside).zip(value) {
        if matches!(column, Kept::Beside(_)) && beside != value {
            *beside = *value;
            seen.dirty = true;
        }
    }
}
