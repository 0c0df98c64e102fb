//! Statements on tables: look-ups, insertion of groups, lifetimes, buckets, arrays, cells and counters.

use super::code::{Code, Leaves};
use super::error::DefectKind;
use super::step::{Frame, Run, Step};
use super::table::{BYTE, Entry, SlotId, table_name};
use super::trace::{Event, TableOp};
use super::value::Fault;
use crate::ir::{InsertEntry, Lifetime, LifetimeFn, LocalId, Scalar, Stmt, StmtKind, TableId};
use crate::span::Span;
use std::ops::Range;
use std::sync::Arc;

/// Where an entry's key and value stand among evaluated scalars.
struct Part<'p> {
    entry: &'p InsertEntry<Code>,
    key: Range<usize>,
    value: Range<usize>,
}

impl Run<'_> {
    pub(crate) fn table_stmt(&mut self, frame: &Frame<'_>, stmt: &Stmt<Code>) -> Step<()> {
        let mut values = std::mem::take(&mut self.scratch.values);
        values.clear();
        let result = self.table_stmt_with(frame, stmt, &mut values);
        self.scratch.values = values;
        result
    }

    /// The statement, with a buffer for evaluated scalars.
    fn table_stmt_with(&mut self, frame: &Frame<'_>, stmt: &Stmt<Code>, values: &mut Vec<u128>) -> Step<()> {
        let span = stmt.span;
        match &stmt.kind {
            StmtKind::Lookup { table, key, touch, found, value } => {
                self.values(frame, span, key, values)?;
                let live = self.state.live(self.config, *table, values);
                let is_live = live.is_some();
                // What the lifetime is computed from.
                let base = self.scratch.vars.locals.len();
                let slot = live.filter(|_| *touch).map(|entry| {
                    self.scratch.vars.locals.extend_from_slice(values);
                    self.scratch.vars.locals.extend(entry.value.iter().take(value.len()));
                    entry.slot
                });
                for (index, local) in value.iter().enumerate() {
                    let bits = live.and_then(|entry| entry.value.get(index)).copied().unwrap_or(0);
                    self.scratch.vars.locals[frame.locals + local.index()] = bits;
                }
                self.set(frame, *found, is_live.into());
                if let Some(slot) = slot {
                    self.refresh(frame, span, *table, (slot, base))?;
                }
                let op = if *touch { TableOp::Touch } else { TableOp::Get };
                self.tell_table(frame, op, *table, values, value, is_live, span);
            }
            StmtKind::Longest { table, key, found, length, value } => {
                let address = self.eval(frame, span, key)?;
                let column = self.config.program.tables.get(table.index()).and_then(|table| table.key.first());
                let width = if let Some(Scalar::Bits(width)) = column.map(|column| column.ty) { width } else { 1 };
                let store = self.state.keyed(*table);
                let mut prefixes = store.into_iter().flat_map(|store| store.prefixes(address, width));
                let hit = prefixes.find(|(_, entry)| self.state.is_live(self.config, *table, entry));
                let bits = hit.map_or(0, |(key, _)| key[1]);
                for (index, local) in value.iter().enumerate() {
                    let bits = hit.and_then(|(_, entry)| entry.value.get(index).copied()).unwrap_or(0);
                    self.scratch.vars.locals[frame.locals + local.index()] = bits;
                }
                let hit = hit.is_some();
                drop(prefixes);
                self.set(frame, *found, hit.into());
                self.set(frame, *length, bits);
                self.tell_table(frame, TableOp::Longest, *table, &[address, bits], value, hit, span);
            }
            StmtKind::Insert { entries, ok } => {
                let mut parts = Vec::with_capacity(entries.len());
                for entry in entries {
                    let start = values.len();
                    self.values(frame, span, &entry.key, values)?;
                    let middle = values.len();
                    self.values(frame, span, &entry.value, values)?;
                    parts.push(Part { entry, key: start..middle, value: middle..values.len() });
                }
                let done = self.insert(frame, span, &parts, values)?;
                self.set(frame, *ok, done.into());
                for part in &parts {
                    let (key, value) = (&values[part.key.clone()], &values[part.value.clone()]);
                    let (op, table) = (TableOp::Insert, part.entry.table);
                    self.tell(|| Event::Table { op, table, key, value, ok: done, span });
                }
            }
            StmtKind::SetValue { table, key, value } => {
                self.values(frame, span, key, values)?;
                let split = values.len();
                self.values(frame, span, value, values)?;
                let (key, value) = values.split_at(split);
                self.live_or_defect(frame, span, *table, key)?;
                if let Some(entry) = self.state.keyed_mut(*table).and_then(|store| store.entries.get_mut(key)) {
                    entry.value.copy_from_slice(value);
                }
                self.tell(|| Event::Table { op: TableOp::Set, table: *table, key, value, ok: true, span });
            }
            StmtKind::Remove { table, key } => {
                self.values(frame, span, key, values)?;
                let live = self.state.live(self.config, *table, values).is_some();
                if live {
                    self.state.take_out(*table, values);
                }
                let (op, value) = (TableOp::Remove, [].as_slice());
                self.tell(|| Event::Table { op, table: *table, key: values, value, ok: live, span });
            }
            StmtKind::ExpireAt { table, key, at } => {
                self.values(frame, span, key, values)?;
                let at = self.eval(frame, span, at)? as u64;
                let slot = self.live_or_defect(frame, span, *table, values)?;
                if slot == SlotId::FOREVER {
                    let slot = Arc::make_mut(&mut self.state.deadlines).make(at);
                    if let Some(entry) = self.state.keyed_mut(*table).and_then(|s| s.entries.get_mut(values.as_slice())) {
                        entry.slot = slot;
                    }
                    self.state.set_deadline(self.config, *table, slot, at);
                } else {
                    self.state.set_deadline(self.config, *table, slot, at);
                }
                let (op, value) = (TableOp::ExpireAt, [u128::from(at)]);
                self.tell(|| Event::Table { op, table: *table, key: values, value: &value, ok: true, span });
            }
            StmtKind::Take { table, key, amount, result } => {
                self.values(frame, span, key, values)?;
                let amount = self.eval(frame, span, amount)?;
                let taken = self.take(frame, span, *table, values, amount)?;
                self.set(frame, *result, taken);
                let (op, value) = (TableOp::Take, [taken]);
                self.tell(|| Event::Table { op, table: *table, key: values, value: &value, ok: taken == 0, span });
            }
            StmtKind::ReadArray { table, index, value } => {
                let index = self.index(frame, span, *table, index)?;
                self.read(frame, span, *table, index, value)?;
            }
            StmtKind::WriteArray { table, index, value } => {
                let index = self.index(frame, span, *table, index)?;
                self.write(frame, span, *table, index, value, values)?;
            }
            StmtKind::ReadCell { table, value } => self.read(frame, span, *table, 0, value)?,
            StmtKind::WriteCell { table, value } => self.write(frame, span, *table, 0, value, values)?,
            StmtKind::Count { table, index, amount } => {
                let index = self.index(frame, span, *table, index)?;
                let amount = self.eval(frame, span, amount)? as u64;
                let Some([count]) = self.state.indexed_mut(*table).map(|store| store.get_mut(index)) else {
                    return Err(self.wrong_kind(frame, span));
                };
                *count = u128::from((*count as u64).wrapping_add(amount));
                let value = [*count];
                let (op, key) = (TableOp::Write, [u128::from(index)]);
                self.tell(|| Event::Table { op, table: *table, key: &key, value: &value, ok: true, span });
            }
            StmtKind::ReadCounter { table, index, value } => {
                let index = self.index(frame, span, *table, index)?;
                self.read(frame, span, *table, index, &[*value])?;
            }
            _ => return Err(self.defect(frame, span, Fault::Malformed("a statement out of its place").into())),
        }
        Ok(())
    }

    /// Evaluates scalars.
    pub(crate) fn values(&self, frame: &Frame<'_>, span: Span, codes: &[Code], into: &mut Vec<u128>) -> Step<()> {
        let scope = self.scope(frame);
        for code in codes {
            match scope.eval(code) {
                Ok(value) => into.push(value),
                Err(fault) => return Err(self.defect(frame, span, fault.into())),
            }
        }
        Ok(())
    }

    /// Tells the observer of a table read into variables.
    #[allow(clippy::too_many_arguments, reason = "they are the fields of one event")]
    fn tell_table(
        &mut self,
        frame: &Frame<'_>,
        op: TableOp,
        table: TableId,
        key: &[u128],
        value: &[LocalId],
        ok: bool,
        span: Span,
    ) {
        if self.observer.is_some() {
            let value: Vec<u128> = value.iter().map(|local| self.get(frame, *local)).collect();
            self.tell(|| Event::Table { op, table, key, value: &value, ok, span });
        }
    }

    /// Inserts entries, all or none.
    fn insert(&mut self, frame: &Frame<'_>, span: Span, parts: &[Part<'_>], values: &[u128]) -> Step<bool> {
        for (index, part) in parts.iter().enumerate() {
            let key = &values[part.key.clone()];
            let earlier = parts[..index].iter().any(|p| p.entry.table == part.entry.table && values[p.key.clone()] == *key);
            let live = earlier || self.state.live(self.config, part.entry.table, key).is_some();
            if live && !part.entry.or_update {
                let name = table_name(&self.config.program, part.entry.table);
                return Err(self.defect(frame, span, DefectKind::InsertLive(name)));
            }
        }
        for (index, part) in parts.iter().enumerate() {
            let table = part.entry.table;
            if parts[..index].iter().any(|earlier| earlier.entry.table == table) {
                continue;
            }
            let keys = parts[index..].iter().filter(|p| p.entry.table == table).map(|p| &values[p.key.clone()]);
            if !self.room(table, &keys.collect::<Vec<_>>()) {
                return Ok(false);
            }
        }
        for part in parts {
            let table = part.entry.table;
            let new = self.state.live(self.config, table, &values[part.key.clone()]).is_none();
            if new && self.oracle.contended(table) {
                return Ok(false);
            }
        }
        // Entries that share another's deadline come after it.
        let depth = |part: &Part<'_>| self.config.depths[part.entry.table.index()];
        let deepest = parts.iter().map(depth).max().unwrap_or(0);
        for level in 0..=deepest {
            for part in parts.iter().filter(|part| depth(part) == level) {
                self.put(frame, span, part.entry.table, &values[part.key.clone()], &values[part.value.clone()])?;
            }
        }
        Ok(true)
    }

    /// Whether there is room for these keys. What is dead may have been swept.
    fn room(&mut self, table: TableId, keys: &[&[u128]]) -> bool {
        for swept in [false, true] {
            let Some(store) = self.state.keyed(table) else { return false };
            let missing = |(index, key): &(usize, &&[u128])| !store.entries.contains_key(**key) && !keys[..*index].contains(key);
            let needed = keys.iter().enumerate().filter(missing).count();
            let capacity = self.config.program.tables[table.index()].capacity;
            if needed == 0 || (store.entries.len() + needed) as u64 <= capacity {
                return true;
            }
            let may_hold_dead = self.state.tick(self.config, table) >= store.next_death;
            if swept || !may_hold_dead || !self.oracle.sweep(table) {
                return false;
            }
            let gone = self.state.sweep(self.config, table);
            if gone.is_empty() {
                return false;
            }
            self.tell(|| Event::Sweep { table, gone: &gone });
        }
        false
    }

    /// Puts one entry in: a live one is replaced and refreshed, a dead one makes room. There is room.
    fn put(&mut self, frame: &Frame<'_>, span: Span, table: TableId, key: &[u128], value: &[u128]) -> Step<()> {
        let config = self.config;
        let lifetime = &config.lifetimes[table.index()];
        let live = self.state.live(config, table, key).map(|entry| entry.slot);
        if live.is_none() {
            self.state.take_out(table, key);
        }
        // What the deadline is made of, from the new value.
        let base = self.scratch.vars.locals.len();
        self.scratch.vars.locals.extend_from_slice(key);
        self.scratch.vars.locals.extend_from_slice(value);
        let slot = match lifetime {
            Lifetime::Forever => live.unwrap_or(SlotId::FOREVER),
            Lifetime::Fixed(_) if live.is_some() => live.unwrap_or(SlotId::FOREVER),
            Lifetime::Idle(duration) | Lifetime::Fixed(duration) => {
                let at = self.until(frame, span, table, (duration, base))?;
                match live {
                    Some(slot) => {
                        let at = at.max(self.state.deadlines.at(slot).unwrap_or(0));
                        Arc::make_mut(&mut self.state.deadlines).set(slot, at);
                        slot
                    }
                    None => Arc::make_mut(&mut self.state.deadlines).make(at),
                }
            }
            Lifetime::IdleWith { table: other, key: other_key } => {
                let other_key = self.computed(frame, span, other_key, base)?;
                let shared = self.state.live(config, *other, &other_key).map(|entry| entry.slot);
                let deadlines = Arc::make_mut(&mut self.state.deadlines);
                match (live, shared) {
                    (Some(slot), None) => slot,
                    (Some(slot), Some(shared)) => {
                        if shared != SlotId::FOREVER {
                            deadlines.share(shared);
                        }
                        if slot != SlotId::FOREVER {
                            deadlines.release(slot);
                        }
                        self.touch(frame, span, *other, &other_key)?;
                        shared
                    }
                    (None, Some(shared)) => {
                        if shared != SlotId::FOREVER {
                            deadlines.share(shared);
                        }
                        shared
                    }
                    // Nothing to share: born dead.
                    (None, None) => deadlines.make(0),
                }
            }
        };
        self.scratch.vars.locals.truncate(base);
        let deadline = self.state.deadlines.at(slot).unwrap_or(u64::MAX);
        let Some(store) = self.state.keyed_mut(table) else { return Err(self.wrong_kind(frame, span)) };
        store.next_death = store.next_death.min(deadline);
        match store.entries.get_mut(key) {
            Some(entry) => {
                entry.value = value.into();
                entry.slot = slot;
            }
            None => store.put(key.into(), Entry { value: value.into(), slot }),
        }
        Ok(())
    }

    /// Refreshes a live entry.
    fn touch(&mut self, frame: &Frame<'_>, span: Span, table: TableId, key: &[u128]) -> Step<()> {
        let Some(entry) = self.state.live(self.config, table, key) else { return Ok(()) };
        let (slot, base) = (entry.slot, self.scratch.vars.locals.len());
        self.scratch.vars.locals.extend_from_slice(key);
        let columns = self.config.program.tables[table.index()].value.len();
        self.scratch.vars.locals.extend(entry.value.iter().take(columns));
        self.refresh(frame, span, table, (slot, base))
    }

    /// Refreshes the live entry with that deadline, whose key and value stand from `base` on, and takes them off:
    /// `deadline = max(deadline, now + T)`; of an entry that shares another's deadline, the other's.
    fn refresh(&mut self, frame: &Frame<'_>, span: Span, table: TableId, (slot, base): (SlotId, usize)) -> Step<()> {
        let config = self.config;
        match &config.lifetimes[table.index()] {
            Lifetime::Forever | Lifetime::Fixed(_) => self.scratch.vars.locals.truncate(base),
            Lifetime::Idle(duration) => {
                let at = self.until(frame, span, table, (duration, base))?;
                self.scratch.vars.locals.truncate(base);
                // A later deadline needs no word to the stores: nothing dies earlier for it.
                if self.state.deadlines.at(slot).is_some_and(|deadline| deadline < at) {
                    Arc::make_mut(&mut self.state.deadlines).set(slot, at);
                }
            }
            Lifetime::IdleWith { table: other, key: other_key } => {
                let other_key = self.computed(frame, span, other_key, base)?;
                self.scratch.vars.locals.truncate(base);
                // Another incarnation, or none: nobody knows for how long to refresh.
                let same = self.state.live(config, *other, &other_key).is_some_and(|other| other.slot == slot);
                if same {
                    self.touch(frame, span, *other, &other_key)?;
                }
            }
        }
        Ok(())
    }

    /// `now + T`, which must fit, for the entry whose key and value stand from `base` on.
    fn until(
        &mut self,
        frame: &Frame<'_>,
        span: Span,
        table: TableId,
        (function, base): (&LifetimeFn<Code>, usize),
    ) -> Step<u64> {
        let duration = self.duration(frame, span, function, base)?;
        self.state.now.checked_add(duration).ok_or_else(|| {
            let name = self.config.program.tables[table.index()].name.clone();
            self.defect(frame, span, DefectKind::Deadline(name))
        })
    }

    /// A lifetime's nanoseconds.
    fn duration(&mut self, frame: &Frame<'_>, span: Span, function: &LifetimeFn<Code>, base: usize) -> Step<u64> {
        let inner = self.enter(&function.body, frame.element, base);
        self.whole(&inner, span, &function.body.block)?;
        let result = match function.result.first() {
            Some(expr) => self.eval(&inner, span, expr)? as u64,
            None => return Err(self.defect(frame, span, Fault::Malformed("a lifetime without a value").into())),
        };
        self.scratch.vars.places.truncate(inner.places);
        Ok(result)
    }

    /// The key of the entry that shares its deadline with the one whose key and value stand from `base` on.
    fn computed(&mut self, frame: &Frame<'_>, span: Span, function: &LifetimeFn<Code>, base: usize) -> Step<Vec<u128>> {
        let inner = self.enter(&function.body, frame.element, base);
        self.whole(&inner, span, &function.body.block)?;
        let mut key = Vec::with_capacity(function.result.len());
        self.values(&inner, span, &function.result, &mut key)?;
        self.scratch.vars.places.truncate(inner.places);
        Ok(key)
    }

    /// Takes tokens: 0 conforms, 1 exceeds, 2 no room for a new key.
    fn take(&mut self, frame: &Frame<'_>, span: Span, table: TableId, key: &[u128], amount: u128) -> Step<u128> {
        let Some(bucket) = self.config.buckets.get(table.index()).copied().flatten() else {
            return Err(self.wrong_kind(frame, span));
        };
        if self.state.live(self.config, table, key).is_none() {
            if !self.room(table, &[key]) || self.oracle.contended(table) {
                return Ok(2);
            }
            self.put(frame, span, table, key, &[bucket.burst, u128::from(self.state.now)])?;
        }
        let now = self.state.now;
        let Some(store) = self.state.keyed_mut(table) else { return Err(self.wrong_kind(frame, span)) };
        let Some([tokens, last]) = store.entries.get_mut(key).map(|entry| &mut *entry.value) else {
            return Err(self.wrong_kind(frame, span));
        };
        *tokens = bucket.tokens(*tokens, *last, now);
        *last = (*last).max(now.into());
        let wanted = amount.checked_mul(BYTE);
        let left = wanted.and_then(|wanted| tokens.checked_sub(wanted));
        if let Some(left) = left {
            *tokens = left;
        }
        self.touch(frame, span, table, key)?;
        Ok(u128::from(left.is_none()))
    }

    /// Sets or removes an entry of a fed table; false if there is no room.
    pub(crate) fn feed(&mut self, table: TableId, key: &[u128], value: Option<&[u128]>, span: Span) -> Step<bool> {
        let body = crate::ir::Body::default();
        let element = self.config.program.tables[table.index()].element;
        let locals = self.scratch.vars.locals.len();
        let frame = self.enter(&body, Some(element), locals);
        let Some(value) = value else {
            self.state.take_out(table, key);
            return Ok(true);
        };
        if let Some(store) = self.state.indexed_mut(table) {
            let index = key.first().copied().and_then(|index| u64::try_from(index).ok()).unwrap_or(0);
            store.get_mut(index).copy_from_slice(value);
            return Ok(true);
        }
        if !self.room(table, &[key]) {
            return Ok(false);
        }
        self.put(&frame, span, table, key, value)?;
        Ok(true)
    }

    /// The deadline of a live entry; a defect if it is not live.
    fn live_or_defect(&self, frame: &Frame<'_>, span: Span, table: TableId, key: &[u128]) -> Step<SlotId> {
        match self.state.live(self.config, table, key) {
            Some(entry) => Ok(entry.slot),
            None => Err(self.defect(frame, span, DefectKind::NotLive(table_name(&self.config.program, table)))),
        }
    }

    /// An index below the table's length.
    fn index(&self, frame: &Frame<'_>, span: Span, table: TableId, index: &Code) -> Step<u64> {
        let index = self.eval(frame, span, index)?;
        let length = self.config.program.tables.get(table.index()).map_or(0, |table| table.capacity.max(1));
        match u64::try_from(index).ok().filter(|index| *index < length) {
            Some(index) => Ok(index),
            None => Err(self.defect(frame, span, DefectKind::Index(table_name(&self.config.program, table)))),
        }
    }

    fn read(&mut self, frame: &Frame<'_>, span: Span, table: TableId, index: u64, value: &[LocalId]) -> Step<()> {
        let Some(element) = self.state.indexed(table).map(|store| store.get(index)) else {
            return Err(self.wrong_kind(frame, span));
        };
        for (local, bits) in value.iter().zip(element) {
            self.scratch.vars.locals[frame.locals + local.index()] = *bits;
        }
        self.tell_table(frame, TableOp::Read, table, &[index.into()], value, true, span);
        Ok(())
    }

    fn write(
        &mut self,
        frame: &Frame<'_>,
        span: Span,
        table: TableId,
        index: u64,
        value: &[Code],
        values: &mut Vec<u128>,
    ) -> Step<()> {
        self.values(frame, span, value, values)?;
        let element = self.state.indexed_mut(table).map(|store| store.get_mut(index));
        let Some(element) = element.filter(|element| element.len() == values.len()) else {
            return Err(self.wrong_kind(frame, span));
        };
        element.copy_from_slice(values);
        let (op, key) = (TableOp::Write, [u128::from(index)]);
        self.tell(|| Event::Table { op, table, key: &key, value: values, ok: true, span });
        Ok(())
    }

    #[cold]
    pub(crate) fn wrong_kind(&self, frame: &Frame<'_>, span: Span) -> Box<super::Defect> {
        self.defect(frame, span, Fault::Malformed("an operation that this kind of table does not have").into())
    }
}
