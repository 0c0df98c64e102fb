//! Entries are made and removed: see [`super::entries`].

use super::super::lir::{Arg, BlockId, Cmp, Effect, Helper};
use super::super::maps::Layout;
use super::entries::{CLAIMED, EXISTS, NO_EXIST, set_beside};
use super::env::{CellSeen, Env, Open, Seen};
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
        mut env: Env<'p>,
        table: TableId,
        kept: &Entries,
        key: &[Arg],
        value: &[Arg],
        or_update: bool,
        span: Span,
    ) -> Lowering<Vec<Outcome<'p>>> {
        self.make_pending(&mut env)?;
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
        // It is made when what else becomes of it is known. What is beside the word of a dead entry was not read.
        let failed = self.b.block();
        let mut made = Seen { new, live, failed: Some(failed), ..seen };
        set_beside(kept, &mut made, value);
        made.dirty = !whole;
        outcomes.push((Open { env: Env { seen: Some(made), ..env.clone() }, block: self.b.here() }, vec![Arg::Number(1)]));
        env.seen = None;
        outcomes.push((Open { env, block: failed }, vec![Arg::Number(0)]));
        Ok(outcomes)
    }

    /// If an entry is to be made, it is.
    fn make_pending(&mut self, env: &mut Env<'p>) -> Lowering<()> {
        if env.seen.as_ref().is_some_and(|seen| seen.failed.is_some()) {
            self.settle(env)?;
            self.forget(env);
        }
        Ok(())
    }

    /// An entry is made, or the memory of a dead one is used again. If a cell changes with it, nobody else touches it before that.
    pub(super) fn settle_new(
        &mut self,
        env: &mut Env<'p>,
        kept: &Entries,
        (seen, failed): (&Seen, BlockId),
        cell: Option<CellSeen>,
    ) -> Lowering<()> {
        let span = self.b.span;
        let seen = Seen { failed: None, ..seen.clone() };
        let (create, there) = (self.b.block(), self.b.block());
        self.b.branch(Cmp::Eq, Arg::Value(seen.entry), Arg::Number(0), create, there);
        self.b.enter(there);
        let mut reused = Open { env: Env { seen: Some(seen.clone()), ..env.clone() }, block: there };
        if cell.is_some() || kept.ticket.is_some() {
            let again = self.b.block();
            // No mirror's entry has the ticket of an entry that was not inserted with it. What it was it becomes again if the cell has changed.
            self.hold_anew(&seen, kept, Arg::Number(0), again);
            let here = self.b.here();
            self.b.enter(again);
            self.begin_again(seen.retry);
            self.b.enter(here);
        }
        match &cell {
            Some(cell) => self.settle_held(&mut reused.env, kept, &seen, Some(cell.clone())),
            None => {
                if kept.ticket.is_some() {
                    reused.env.seen = Some(Seen { word: CLAIMED, ..seen.clone() });
                }
                self.settle_changed(&mut reused.env, kept, None);
                self.forget(&mut reused.env);
            }
        }
        reused.block = self.b.here();
        self.b.enter(create);
        let kept = Entries { later: cell.is_some(), ..kept.clone() };
        let new = (seen.new, seen.live, Arg::Number(0));
        let mut made = self.create(env.clone(), seen.table, &kept, (&seen.key, &seen.beside), new, (&seen, failed), span)?;
        if let Some(seen) = made.env.seen.clone() {
            // All of it is there but its word.
            self.settle_held(&mut made.env, &kept, &seen, cell);
            made.block = self.b.here();
        }
        *env = self.join(vec![reused, made])?;
        Ok(())
    }

    /// Holds an entry; goes on in `other` if it has changed.
    pub(super) fn hold(&mut self, seen: &Seen, kept: &Entries, other: BlockId) {
        let held = self.held(kept);
        self.commit(seen.table, Effect::Hold);
        let was = self.b.compare_swap(Arg::Value(seen.entry), kept.word as i16, seen.word, held);
        self.b.unless(Cmp::Eq, was, seen.word, other);
    }

    /// Holds a dead entry, and gives it a ticket if it has one; goes on in `other` if it has changed.
    pub(super) fn hold_anew(&mut self, seen: &Seen, kept: &Entries, ticket: Arg, other: BlockId) {
        self.hold(seen, kept, other);
        if let Some(at) = kept.ticket {
            self.b.store(Arg::Value(seen.entry), at as i16, 8, ticket);
        }
    }

    /// Has the kernel insert an entry that was not there, to live at once or `later`; goes on in `failed` if there is no room.
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
        mut env: Env<'p>,
        table: TableId,
        kept: &Entries,
        key: &[Arg],
        span: Span,
    ) -> Lowering<Vec<Outcome<'p>>> {
        self.make_pending(&mut env)?;
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

#[cfg(test)]
mod tests {
    use super::super::super::{Options, print_lowered};
    use grv_lang::compile::compile;
    use grv_lang::source::NoModules;

    /// How often a handler that makes an entry of an address looks it up and inserts it, if it does `more` then; and what it is as text.
    fn asks(more: &str) -> (usize, usize, String) {
        let text = format!(
            "//! Addresses that were seen.\n
            use std::net::{{Ethernet, Mac}};
            use std::time::COARSE;\n
            element Known {{
                input frame;
                output known;\n
                state places: map<Mac, u8>[4] idle 3s granularity COARSE;
                state turn: cell<u32> = 0;\n
                on frame(p) {{
                    match p {{
                        {{ Ethernet as eth }} => {{
                            places.insert_or_update(eth.src, 1) else {{ drop \"full\" }}
                            {more}
                            emit known;
                        }}
                        _ => drop \"malformed\",
                    }}
                }}
            }}\n
            middlebox Box {{
                port left, right;
                ahead: Known;
                left -> ahead.frame;
                right -> ahead.frame;
                ahead.known -> right;
            }}\n"
        );
        let compilation = compile("box.grv", text.as_bytes(), &NoModules);
        assert!(!compilation.failed(), "{:?}", compilation.diagnostics);
        let lowered = print_lowered(&compilation.boxes[0], &Options::default()).unwrap_or_else(|e| panic!("{e:?}"));
        let updates: Vec<&str> =
            lowered.split("bpf_map_update_elem(").skip(1).filter_map(|args| args.split(',').next()).collect();
        let lookups = lowered.matches(&format!("bpf_map_lookup_elem({},", updates[0])).count();
        (lookups, updates.len(), lowered)
    }

    #[test]
    fn a_new_entry_is_made_as_it_is_to_be() {
        for more in ["", "places.expire_at(eth.src, now + 1s);", "places.set(eth.src, 2); places.expire_at(eth.src, now + 1s);"] {
            let (lookups, updates, lowered) = asks(more);
            assert_eq!((lookups, updates), (1, 1), "{lowered}");
        }
    }

    #[test]
    fn what_takes_effect_with_a_cell_is_there_before() {
        let (lookups, updates, lowered) = asks("turn = turn +% 1;");
        assert_eq!((lookups, updates), (2, 1), "{lowered}");
        // What was made is nobody else's, and dead if the cell has changed; what was there is held first, and is then what it was: it may be alive.
        let count = |what: &str| lowered.matches(what).count();
        assert_eq!((count("commit hold"), count(", 0 -> 2"), count(", 0 -> v")), (1, 1, 1), "{lowered}");
    }
}
