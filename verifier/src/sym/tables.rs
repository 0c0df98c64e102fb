//! Statements on tables, as the interpreter has them: what the rules leave open (room, contention, sweeping) stays open.

use super::env::{Engine, Env, Unsupported};
use super::opened::Open;
use super::state::{Change, Entry, World, root};
use super::value::Sym;
use crate::term::{Op, Sort, Term};
use grv_lang::ir::{
    BinaryOp, Expr, InsertEntry, Lifetime, LifetimeFn, LocalId, Scalar, Stmt, StmtKind, Table, TableId, TableKind,
};
use grv_lang::span::Span;

/// Units of one byte in a bucket: one bit divided by 10^9.
const BYTE: i128 = 8_000_000_000;

impl<'p> Engine<'p> {
    pub(crate) fn table_stmt(&mut self, mut env: Env<'p>, stmt: &'p Stmt) -> Result<Env<'p>, Unsupported> {
        let span = stmt.span;
        match &stmt.kind {
            StmtKind::Lookup { table, key, touch, found, value } => {
                let key = self.exprs(&env, key, span)?;
                let entry = self.entry(&env.world, *table, &key, env.way);
                self.read_into(&mut env, &entry, value);
                env.locals[found.index()] = Sym::Bool(entry.live);
                if *touch {
                    let guard = self.terms.and(&[env.way, entry.live]);
                    self.touch(&mut env, *table, &key, &entry, guard, span)?;
                }
            }
            StmtKind::Longest { table, key, found, length, value } => {
                let address = self.expr(&env, key, span)?;
                self.longest(&mut env, *table, address, (*found, *length, value), span)?;
            }
            StmtKind::Insert { entries, ok } => self.insert(&mut env, entries, *ok, span)?,
            StmtKind::SetValue { table, key, value } => {
                let key = self.exprs(&env, key, span)?;
                let value = self.exprs(&env, value, span)?;
                let entry = self.entry(&env.world, *table, &key, env.way);
                self.must(&mut env, entry.live, "the entry is there".to_string(), None, span);
                let change = Change { guard: env.way, key, present: None, value: Some(value), deadline: None };
                self.changed(&mut env.world, *table, |t| t.log.push(change));
            }
            StmtKind::Remove { table, key } => {
                let key = self.exprs(&env, key, span)?;
                let entry = self.entry(&env.world, *table, &key, env.way);
                let guard = self.terms.and(&[env.way, entry.live]);
                let gone = self.terms.bool(false);
                self.recount(&mut env, *table, guard, -1);
                let change = Change { guard, key, present: Some(gone), value: None, deadline: None };
                self.changed(&mut env.world, *table, |t| t.log.push(change));
            }
            StmtKind::ExpireAt { table, key, at } => {
                let key = self.exprs(&env, key, span)?;
                let at = self.expr(&env, at, span)?;
                let at = self.terms.as_integer(at);
                let entry = self.entry(&env.world, *table, &key, env.way);
                if entry.deadline.is_none() {
                    return Err(Unsupported::new("`expire_at` on a table without lifetimes", span));
                }
                self.must(&mut env, entry.live, "the entry is there".to_string(), None, span);
                let guard = env.way;
                self.set_deadline(&mut env, *table, &key, &entry, guard, at);
            }
            StmtKind::Take { table, key, amount, result } => {
                let key = self.exprs(&env, key, span)?;
                let amount = self.expr(&env, amount, span)?;
                self.take(&mut env, *table, key, amount, *result, span)?;
            }
            StmtKind::ReadArray { table, index, value } => {
                let index = self.index(&mut env, *table, index, span)?;
                let entry = self.entry(&env.world, *table, &index, env.way);
                for (local, scalar) in value.iter().zip(&entry.value) {
                    env.locals[local.index()] = *scalar;
                }
            }
            StmtKind::WriteArray { table, index, value } => {
                let index = self.index(&mut env, *table, index, span)?;
                self.write(&mut env, *table, index, value, span)?;
            }
            StmtKind::ReadCell { table, value } => {
                let entry = self.entry(&env.world, *table, &[], env.way);
                for (local, scalar) in value.iter().zip(&entry.value) {
                    env.locals[local.index()] = *scalar;
                }
            }
            StmtKind::WriteCell { table, value } => self.write(&mut env, *table, Vec::new(), value, span)?,
            StmtKind::Count { table, index, amount } => {
                let index = self.counter_index(&mut env, *table, index, span)?;
                let amount = self.expr(&env, amount, span)?;
                let amount = self.terms.convert(amount, Scalar::Bits(64));
                let old = self.element(&env.world, *table, &index, env.way);
                let new = self.terms.binary(BinaryOp::Add, old[0], amount);
                let change = Change { guard: env.way, key: index, present: None, value: Some(vec![new]), deadline: None };
                self.changed(&mut env.world, *table, |t| t.log.push(change));
            }
            StmtKind::ReadCounter { table, index, value } => {
                let index = self.counter_index(&mut env, *table, index, span)?;
                let old = self.element(&env.world, *table, &index, env.way);
                env.locals[value.index()] = old[0];
            }
            _ => return Err(Unsupported::new("this statement", span)),
        }
        Ok(env)
    }

    /// A live entry's scalars, or zeros.
    fn read_into(&mut self, env: &mut Env<'p>, entry: &Entry, value: &[LocalId]) {
        for (local, scalar) in value.iter().zip(&entry.value) {
            let zero = self.terms.zero(env.body.locals[local.index()].ty);
            env.locals[local.index()] = self.terms.select(entry.live, *scalar, zero);
        }
    }

    /// An index below the table's length, in 64 bits.
    fn index(&mut self, env: &mut Env<'p>, table: TableId, index: &Expr, span: Span) -> Result<Vec<Sym>, Unsupported> {
        let index = self.expr(env, index, span)?;
        let vector = self.terms.as_vector(index);
        let Sort::Bits(width) = self.terms.sort(vector) else { return Err(Unsupported::new("this index", span)) };
        let wide = if width <= 64 { self.terms.zero_extend(vector, 64) } else { self.terms.extract(vector, 0, 64) };
        let limit = self.terms.bits(self.program.tables[table.index()].capacity.max(1).into(), width.max(64));
        let whole = self.terms.zero_extend(vector, width.max(64));
        let inside = self.terms.op(Op::Ult, whole, limit);
        self.must(env, inside, "the index is below the length".to_string(), None, span);
        Ok(vec![Sym::Bits(wide)])
    }

    fn counter_index(&mut self, env: &mut Env<'p>, table: TableId, index: &Expr, span: Span) -> Result<Vec<Sym>, Unsupported> {
        let index = self.index(env, table, index, span)?;
        Ok(if self.program.tables[table.index()].key.is_empty() { Vec::new() } else { index })
    }

    fn write(&mut self, env: &mut Env<'p>, table: TableId, key: Vec<Sym>, value: &[Expr], span: Span) -> Result<(), Unsupported> {
        let value = self.exprs(env, value, span)?;
        self.touch_key(table, &key);
        let change = Change { guard: env.way, key, present: None, value: Some(value), deadline: None };
        self.changed(&mut env.world, table, |t| t.log.push(change));
        Ok(())
    }

    /// Counts entries that come or go on some ways.
    fn recount(&mut self, env: &mut Env<'p>, table: TableId, guard: Term, by: i128) {
        let (count, by) = (env.world.tables[table.index()].count, self.terms.int(by));
        let moved = self.terms.op(Op::IntAdd, count, by);
        let count = self.terms.ite(guard, moved, count);
        self.changed(&mut env.world, table, |t| t.count = count);
    }

    /// `now + T`, which must fit its 64 bits where it is set.
    fn until(&mut self, env: &mut Env<'p>, table: TableId, duration: Sym, guard: Term, span: Span) -> Term {
        let now = self.time(env.world.now);
        let over = self.terms.binary(BinaryOp::AddOverflows, now, duration);
        let over = self.terms.truth(over);
        let wraps = self.terms.and(&[guard, over]);
        let fits = self.terms.not(wraps);
        self.must(env, fits, fits_64_bits(&self.program.tables[table.index()]), None, span);
        let sum = self.terms.binary(BinaryOp::SatAdd, now, duration);
        self.terms.as_integer(sum)
    }

    /// What a lifetime's function gives for an entry: a duration, or a key.
    fn lifetime(
        &mut self,
        env: &Env<'p>,
        function: &'p LifetimeFn,
        key: &[Sym],
        value: &[Sym],
        span: Span,
    ) -> Result<Vec<Sym>, Unsupported> {
        let mut inner = self.enter(&function.body, env.element, Vec::new(), env.world.clone(), env.way);
        for (local, scalar) in inner.locals.iter_mut().zip(key.iter().chain(value)) {
            *local = *scalar;
        }
        let inner = self.block(inner, &function.body.block)?;
        self.exprs(&inner, &function.result, span)
    }

    fn set_deadline(&mut self, env: &mut Env<'p>, table: TableId, key: &[Sym], entry: &Entry, guard: Term, at: Term) {
        match entry.slot {
            None => {
                let change = Change { guard, key: key.to_vec(), present: None, value: None, deadline: Some(at) };
                self.changed(&mut env.world, table, |t| t.log.push(change));
            }
            Some(slot) => {
                let change = Change { guard, key: vec![Sym::Int(slot)], present: None, value: None, deadline: Some(at) };
                let of = root(self.program, table);
                self.changed(&mut env.world, of, |t| {
                    if let Some(shared) = &mut t.shared {
                        shared.log.push(change);
                    }
                });
            }
        }
    }

    /// Refreshes a live entry on some ways.
    fn touch(
        &mut self,
        env: &mut Env<'p>,
        table: TableId,
        key: &[Sym],
        entry: &Entry,
        guard: Term,
        span: Span,
    ) -> Result<(), Unsupported> {
        let declared = &self.program.tables[table.index()];
        match &declared.lifetime {
            Lifetime::Forever | Lifetime::Fixed(_) => Ok(()),
            Lifetime::Idle(function) => {
                let value = &entry.value[..declared.value.len().min(entry.value.len())];
                let duration = self.lifetime(env, function, key, value, span)?;
                let at = self.until(env, table, duration[0], guard, span);
                let old = entry.deadline.unwrap_or(at);
                let later = self.terms.op(Op::IntLt, old, at);
                let new = self.terms.ite(later, at, old);
                self.set_deadline(env, table, key, entry, guard, new);
                Ok(())
            }
            Lifetime::IdleWith { table: other, key: function } => {
                let other_key = self.lifetime(env, function, key, &entry.value, span)?;
                let theirs = self.entry(&env.world, *other, &other_key, guard);
                // Another incarnation, or none: nobody knows for how long to refresh.
                let same = match (theirs.slot, entry.slot) {
                    (Some(a), Some(b)) => self.terms.eq(a, b),
                    _ => return Err(Unsupported::new("deadlines that are shared with a table without any", span)),
                };
                let guard = self.terms.and(&[guard, theirs.live, same]);
                self.touch(env, *other, &other_key, &theirs, guard, span)
            }
        }
    }

    /// Inserts entries, all or none.
    fn insert(&mut self, env: &mut Env<'p>, entries: &'p [InsertEntry], ok: LocalId, span: Span) -> Result<(), Unsupported> {
        let mut parts = Vec::new();
        for entry in entries {
            if parts.iter().any(|(table, ..): &(TableId, _, _, _)| *table == entry.table) {
                return Err(Unsupported::new("two entries of one table inserted at once", span));
            }
            let key = self.exprs(env, &entry.key, span)?;
            let value = self.exprs(env, &entry.value, span)?;
            let known = self.entry(&env.world, entry.table, &key, env.way);
            if !entry.or_update {
                let absent = self.terms.not(known.live);
                self.must(env, absent, "no live entry has the key".to_string(), None, span);
            }
            parts.push((entry.table, key, value, known));
        }
        let mut rooms = Vec::new();
        for (table, key, _, known) in &parts {
            rooms.push(self.room(env, *table, key, known, span));
        }
        let done: Vec<Term> = rooms.iter().map(|room| room.ok).collect();
        let done = self.terms.and(&done);
        for ((table, _, _, known), room) in parts.iter().zip(&rooms) {
            self.occupy(env, *table, known, room, done);
        }
        env.locals[ok.index()] = Sym::Bool(done);
        let guard = self.terms.and(&[env.way, done]);
        // Entries that share another's deadline come after it.
        parts.sort_by_key(|(table, ..)| self.depth_of(*table));
        for (table, key, value, known) in parts {
            self.put(env, table, key, value, &known, guard, span)?;
        }
        Ok(())
    }

    fn depth_of(&self, table: TableId) -> usize {
        let (mut at, mut depth) = (table, 0);
        while let Lifetime::IdleWith { table, .. } = &self.program.tables[at.index()].lifetime {
            at = *table;
            depth += 1;
            if depth > self.program.tables.len() {
                break;
            }
        }
        depth
    }

    /// Whether an entry can be put in: a live one always; a new one if the table is not full, after what is dead may have been
    /// swept, and for no transient reason of a target.
    fn room(&mut self, env: &Env<'p>, table: TableId, key: &[Sym], known: &Entry, span: Span) -> Room {
        let name = self.program.tables[table.index()].name.clone();
        let capacity = self.terms.int(self.program.tables[table.index()].capacity.into());
        let (zero, one) = (self.terms.int(0), self.terms.int(1));
        let count = env.world.tables[table.index()].count;
        let (mut left, mut swept, mut dead) = (count, None, None);
        let mut needed = one;
        if known.deadline.is_some() {
            // Some of the dead were swept.
            left = self.terms.fresh(&format!("{name}.swept"), Sort::Int);
            for (a, b) in [(zero, left), (left, count)] {
                let fact = self.terms.op(Op::IntLe, a, b);
                self.fact(fact);
            }
            // A dead entry with that key may still be there, and then needs no room.
            let there = self.open(&format!("{name}.dead entry"));
            if self.loose {
                let none_swept = self.terms.eq(left, count);
                let none_there = self.terms.not(there);
                self.usual.extend([none_swept, none_there]);
            }
            needed = self.terms.ite(there, zero, one);
            // What lives is not swept.
            if let Some(size) = self.sizes.get(&(env.world.id, table)).copied() {
                let extra = self.terms.ite(there, one, zero);
                let least = self.terms.op(Op::IntAdd, size, extra);
                let fact = self.terms.op(Op::IntLe, least, left);
                self.fact(fact);
            }
            (swept, dead) = (Some(left), Some(there));
        }
        let needed = self.terms.ite(known.live, zero, needed);
        let after = self.terms.op(Op::IntAdd, left, needed);
        let fits = self.terms.op(Op::IntLe, after, capacity);
        let contended = self.open(&format!("{name}.contended"));
        self.opens(env, span, Open::Entry { table, key: key.to_vec(), swept, dead, contended });
        let free = self.terms.not(contended);
        if self.loose {
            self.usual.push(free);
        }
        let new = self.terms.and(&[fits, free]);
        let ok = self.terms.or(&[known.live, new]);
        Room { ok, left, after }
    }

    /// Counts what is there once an entry was put in, or not: then something may have been swept all the same.
    fn occupy(&mut self, env: &mut Env<'p>, table: TableId, known: &Entry, room: &Room, done: Term) {
        let count = env.world.tables[table.index()].count;
        let after = self.terms.ite(done, room.after, room.left);
        // A live entry is changed in place: nothing is swept for it.
        let after = self.terms.ite(known.live, count, after);
        let after = self.terms.ite(env.way, after, count);
        self.changed(&mut env.world, table, |t| t.count = after);
    }

    /// Puts one entry in: a live one is replaced and refreshed, a dead one makes room. There is room.
    #[allow(clippy::too_many_arguments, reason = "they are the parts of one entry")]
    fn put(
        &mut self,
        env: &mut Env<'p>,
        table: TableId,
        key: Vec<Sym>,
        value: Vec<Sym>,
        known: &Entry,
        guard: Term,
        span: Span,
    ) -> Result<(), Unsupported> {
        let declared = &self.program.tables[table.index()];
        let shown = value[..declared.value.len().min(value.len())].to_vec();
        let mut number = None;
        match &declared.lifetime {
            Lifetime::Forever => {}
            Lifetime::Idle(function) | Lifetime::Fixed(function) => {
                let duration = self.lifetime(env, function, &key, &shown, span)?;
                let fixed = matches!(declared.lifetime, Lifetime::Fixed(_));
                let new = self.terms.not(known.live);
                let set = if fixed { self.terms.and(&[guard, new]) } else { guard };
                let at = self.until(env, table, duration[0], set, span);
                let old = known.deadline.unwrap_or(at);
                let kept = if fixed {
                    old
                } else {
                    let later = self.terms.op(Op::IntLt, old, at);
                    self.terms.ite(later, at, old)
                };
                let at = self.terms.ite(known.live, kept, at);
                match known.slot {
                    None => number = Some(at),
                    Some(slot) => {
                        let new = self.next_deadline(env, table, known.live, guard);
                        let slot = self.terms.ite(known.live, slot, new);
                        let entry = Entry { slot: Some(slot), ..known.clone() };
                        self.set_deadline(env, table, &key, &entry, guard, at);
                        number = Some(slot);
                    }
                }
            }
            Lifetime::IdleWith { table: other, key: function } => {
                let other_key = self.lifetime(env, function, &key, &shown, span)?;
                let theirs = self.entry(&env.world, *other, &other_key, guard);
                let (Some(slot), Some(shared)) = (known.slot, theirs.slot) else {
                    return Err(Unsupported::new("deadlines that are shared with a table without any", span));
                };
                // Nothing to share: born dead.
                let none = self.terms.or(&[known.live, theirs.live]);
                let dead = self.next_deadline(env, table, none, guard);
                let zero = self.terms.int(0);
                let born = Entry { slot: Some(dead), ..known.clone() };
                let not_none = self.terms.not(none);
                let born_guard = self.terms.and(&[guard, not_none]);
                self.set_deadline(env, table, &key, &born, born_guard, zero);
                let own = self.terms.ite(known.live, slot, dead);
                number = Some(self.terms.ite(theirs.live, shared, own));
                let refreshed = self.terms.and(&[guard, known.live, theirs.live]);
                self.touch(env, *other, &other_key, &theirs, refreshed, span)?;
            }
        }
        let present = Some(self.terms.bool(true));
        let change = Change { guard, key, present, value: Some(value), deadline: number };
        self.changed(&mut env.world, table, |t| t.log.push(change));
        Ok(())
    }

    /// The number of a new deadline, unless none is needed.
    fn next_deadline(&mut self, env: &mut Env<'p>, table: TableId, needless: Term, guard: Term) -> Term {
        let of = root(self.program, table);
        let Some(next) = env.world.tables[of.index()].shared.as_ref().map(|s| s.next) else { return self.terms.int(0) };
        let one = self.terms.int(1);
        let after = self.terms.op(Op::IntAdd, next, one);
        let needed = self.terms.not(needless);
        let given = self.terms.and(&[guard, needed]);
        let after = self.terms.ite(given, after, next);
        self.changed(&mut env.world, of, |t| {
            if let Some(shared) = &mut t.shared {
                shared.next = after;
            }
        });
        next
    }

    /// Tokens of a bucket as of now.
    pub(crate) fn tokens(
        &mut self,
        env: &Env<'p>,
        table: TableId,
        entry: &Entry,
        span: Span,
    ) -> Result<(Term, Term), Unsupported> {
        let TableKind::Bucket { rate, burst } = &self.program.tables[table.index()].kind else {
            return Err(Unsupported::new("tokens of what is no bucket", span));
        };
        let rate = self.expr(env, rate, span)?;
        let burst = self.expr(env, burst, span)?;
        let (rate, burst) = (self.terms.as_integer(rate), self.terms.as_integer(burst));
        let byte = self.terms.int(BYTE);
        let burst = self.terms.op(Op::IntMul, burst, byte);
        let [tokens, last] = entry.value[..] else {
            return Err(Unsupported::new("a bucket without tokens", span));
        };
        let (tokens, last) = (self.terms.as_integer(tokens), self.terms.as_integer(last));
        let (now, zero) = (env.world.now, self.terms.int(0));
        let passed = self.terms.op(Op::IntSub, now, last);
        let back = self.terms.op(Op::IntLt, passed, zero);
        let passed = self.terms.ite(back, zero, passed);
        let earned = self.terms.op(Op::IntMul, rate, passed);
        let sum = self.terms.op(Op::IntAdd, tokens, earned);
        let over = self.terms.op(Op::IntLt, burst, sum);
        let filled = self.terms.ite(over, burst, sum);
        Ok((self.terms.ite(entry.live, filled, burst), burst))
    }

    /// Whether an entry's deadline is that of a live entry of the table that it shares deadlines with.
    pub(crate) fn shares_deadline(&mut self, env: &Env<'p>, table: TableId, key: &[Sym]) -> Result<Term, Unsupported> {
        let declared = &self.program.tables[table.index()];
        let Lifetime::IdleWith { table: other, key: function } = &declared.lifetime else { return Ok(self.terms.bool(true)) };
        let entry = self.entry(&env.world, table, key, env.way);
        let other_key = self.lifetime(env, function, key, &entry.value, declared.span)?;
        let theirs = self.entry(&env.world, *other, &other_key, env.way);
        let same = match (entry.slot, theirs.slot) {
            (Some(a), Some(b)) => self.terms.eq(a, b),
            _ => self.terms.bool(false),
        };
        Ok(self.terms.and(&[theirs.live, same]))
    }

    /// Whether a bucket holds no less than nothing and no more than its burst, was not used later than now, and will be full
    /// when it is dead.
    pub(crate) fn bucket_in_bounds(&mut self, env: &Env<'p>, table: TableId, key: &[Sym]) -> Result<Term, Unsupported> {
        let declared = &self.program.tables[table.index()];
        let TableKind::Bucket { rate, burst } = &declared.kind else { return Ok(self.terms.bool(true)) };
        let entry = self.entry(&env.world, table, key, env.way);
        let (Some(tokens), Some(last), Some(deadline)) =
            (entry.value.first().copied(), entry.value.get(1).copied(), entry.deadline)
        else {
            return Err(Unsupported::new("a bucket that never dies", declared.span));
        };
        let (tokens, last) = (self.terms.as_integer(tokens), self.terms.as_integer(last));
        let (rate, burst) = (self.expr(env, rate, declared.span)?, self.expr(env, burst, declared.span)?);
        let (rate, burst) = (self.terms.as_integer(rate), self.terms.as_integer(burst));
        let (zero, byte) = (self.terms.int(0), self.terms.int(BYTE));
        let burst = self.terms.op(Op::IntMul, burst, byte);
        let idle = self.terms.op(Op::IntSub, deadline, last);
        let earned = self.terms.op(Op::IntMul, rate, idle);
        let at_last = self.terms.op(Op::IntAdd, tokens, earned);
        let parts = [(zero, tokens), (tokens, burst), (last, env.world.now), (burst, at_last)];
        let parts: Vec<Term> = parts.into_iter().map(|(a, b)| self.terms.op(Op::IntLe, a, b)).collect();
        Ok(self.terms.and(&parts))
    }

    /// A key of a table of which nothing is known.
    pub(crate) fn key_of(&mut self, table: TableId, name: &str) -> Vec<Sym> {
        let columns: Vec<Scalar> = self.program.tables[table.index()].key.iter().map(|c| c.ty).collect();
        let mut key = Vec::new();
        for (index, ty) in columns.into_iter().enumerate() {
            let name = format!("{name}.{index}");
            key.push(match ty {
                Scalar::Bool => Sym::Bool(self.terms.var(&name, Sort::Bool)),
                Scalar::Bits(width) => Sym::Bits(self.terms.var(&name, Sort::Bits(width))),
                Scalar::Int => Sym::Int(self.terms.var(&name, Sort::Int)),
            });
        }
        key
    }

    /// A bucket in a state: its tokens, and of all of that table, burst and rate. In units of one bit divided by 10^9.
    pub(crate) fn bucket(
        &mut self,
        world: &World,
        table: TableId,
        key: &[Sym],
        span: Span,
    ) -> Result<(Term, Term, Term), Unsupported> {
        let TableKind::Bucket { rate, .. } = &self.program.tables[table.index()].kind else {
            return Err(Unsupported::new("tokens of what is no bucket", span));
        };
        let way = self.terms.bool(true);
        let entry = self.entry(world, table, key, way);
        let env = self.enter(self.nothing, None, Vec::new(), world.clone(), way);
        let (tokens, burst) = self.tokens(&env, table, &entry, span)?;
        let rate = self.expr(&env, rate, span)?;
        Ok((tokens, burst, self.terms.as_integer(rate)))
    }

    /// What a bucket lets through at most in an interval.
    pub(crate) fn earned(&mut self, burst: Term, rate: Term, from: Term, to: Term) -> Term {
        let passed = self.terms.op(Op::IntSub, to, from);
        let earned = self.terms.op(Op::IntMul, rate, passed);
        self.terms.op(Op::IntAdd, burst, earned)
    }

    /// Takes tokens: 0 conforms, 1 exceeds, 2 no room for a new key.
    fn take(
        &mut self,
        env: &mut Env<'p>,
        table: TableId,
        key: Vec<Sym>,
        amount: Sym,
        result: LocalId,
        span: Span,
    ) -> Result<(), Unsupported> {
        let known = self.entry(&env.world, table, &key, env.way);
        let (tokens, _) = self.tokens(env, table, &known, span)?;
        let room = self.room(env, table, &key, &known, span);
        let there = room.ok;
        self.occupy(env, table, &known, &room, there);
        let amount = self.terms.as_integer(amount);
        let byte = self.terms.int(BYTE);
        let wanted = self.terms.op(Op::IntMul, amount, byte);
        let conforms = self.terms.op(Op::IntLe, wanted, tokens);
        let rest = self.terms.op(Op::IntSub, tokens, wanted);
        let left = self.terms.ite(conforms, rest, tokens);
        let [_, last] = known.value[..] else { return Err(Unsupported::new("a bucket without tokens", span)) };
        let last = self.terms.as_integer(last);
        let now = env.world.now;
        let later = self.terms.op(Op::IntLt, last, now);
        let newest = self.terms.ite(later, now, last);
        let newest = self.terms.ite(known.live, newest, now);
        let guard = self.terms.and(&[env.way, there]);
        self.put(env, table, key.clone(), vec![Sym::Int(left), Sym::Int(newest)], &known, guard, span)?;
        let (zero, one, two) = (self.terms.bits(0, 8), self.terms.bits(1, 8), self.terms.bits(2, 8));
        let taken = self.terms.ite(conforms, zero, one);
        env.locals[result.index()] = Sym::Bits(self.terms.ite(there, taken, two));
        Ok(())
    }
}

/// What an operation that sets a deadline is obliged to.
pub(crate) fn fits_64_bits(table: &Table) -> String {
    format!("deadlines in `{}` fit their 64 bits", table.name)
}

/// Whether there is room for an entry, and how many entries there are without it and with it.
struct Room {
    ok: Term,
    left: Term,
    after: Term,
}
