//! Statements of specifications: quantifiers, the steps of packets, and what holds after an event. They read, and change nothing.

use super::env::{Engine, Env, Over, Quant, Says, Unsupported};
use super::packet::Found;
use super::state::{World, is_keyed};
use super::value::{Sym, most, needed};
use crate::term::{Node, Op, Sort, Term};
use grv_lang::ir::spec::{AfterEvent, Quantifier};
use grv_lang::ir::{BinaryOp, Block, HandleId, LocalId, Scalar, SpecStmt, Stmt, StmtKind, TableId, TableKind};
use grv_lang::span::Span;
use std::rc::Rc;

/// A range with constant bounds is written out if it has at most so many integers.
const WRITTEN_OUT: i128 = 64;

impl<'p> Engine<'p> {
    pub(crate) fn spec_stmt(&mut self, mut env: Env<'p>, stmt: &'p SpecStmt, span: Span) -> Result<Env<'p>, Unsupported> {
        match stmt {
            SpecStmt::Entries { quantifier, table, key, value, block, holds, result } => {
                let over = if is_keyed(&self.program.tables[table.index()].kind) {
                    Over::Entries { table: *table, key: key.clone(), value: value.clone() }
                } else {
                    let [index] = key[..] else { return Err(Unsupported::new("a quantifier over this table", span)) };
                    let (anywhere, end) = (self.terms.bool(false), self.terms.constant(0, Scalar::Bits(64)));
                    Over::Elements { table: *table, index, value: value.clone(), below: (anywhere, end) }
                };
                env.locals[result.index()] = self.quantify(&env, *quantifier, over, (block, *holds))?;
            }
            SpecStmt::Range { quantifier, var, low, high, block, holds, result } => {
                let (low, high) = (self.expr(&env, low, span)?, self.expr(&env, high, span)?);
                let fixed = |e: &mut Engine<'p>, s: Sym| {
                    let term = e.terms.as_integer(s);
                    e.terms.as_int(term)
                };
                if let (Some(from), Some(to)) = (fixed(self, low), fixed(self, high))
                    && to - from < WRITTEN_OUT
                {
                    let mut instances = Vec::new();
                    for value in from..=to {
                        let mut inner = env.clone();
                        inner.locals[var.index()] = self.terms.constant(value as u128, Scalar::Int);
                        let inner = self.block(inner, block)?;
                        instances.push(self.terms.truth(inner.locals[holds.index()]));
                    }
                    env.locals[result.index()] = self.together(*quantifier, &instances);
                } else {
                    let over = Over::Range { var: *var, low, high };
                    env.locals[result.index()] = self.quantify(&env, *quantifier, over, (block, *holds))?;
                }
            }
            SpecStmt::Deadline { table, key, result } => {
                let key = self.exprs(&env, key, span)?;
                let entry = self.entry(&env.world, *table, &key, env.way);
                let deadline = match entry.deadline {
                    Some(term) => {
                        let end = self.terms.int(most(64) as i128);
                        let over = self.terms.op(Op::IntLt, end, term);
                        Sym::Nat { term: self.terms.ite(over, end, term), width: 64, high: most(64) }
                    }
                    None => self.terms.constant(most(64), Scalar::Bits(64)),
                };
                let none = Sym::Nat { term: self.terms.int(0), width: 64, high: 0 };
                env.locals[result.index()] = self.terms.select(entry.live, deadline, none);
            }
            SpecStmt::Size { table, result } => {
                let declared = &self.program.tables[table.index()];
                env.locals[result.index()] = if is_keyed(&declared.kind) {
                    let state = &env.world.tables[table.index()];
                    let (count, name) = (state.count, format!("{}.size.{}", declared.name, env.world.id));
                    let size = self.terms.var(&name, Sort::Int);
                    let zero = self.terms.int(0);
                    for (a, b) in [(zero, size), (size, count)] {
                        let fact = self.terms.op(Op::IntLe, a, b);
                        self.fact(fact);
                    }
                    self.sizes.insert((env.world.id, *table), size);
                    Sym::Int(size)
                } else {
                    self.terms.constant(declared.capacity.into(), Scalar::Int)
                };
            }
            SpecStmt::Full { table, result } => {
                let capacity = self.terms.int(self.program.tables[table.index()].capacity.into());
                let count = env.world.tables[table.index()].count;
                env.locals[result.index()] = Sym::Bool(self.terms.op(Op::IntLe, capacity, count));
            }
            SpecStmt::Tokens { table, key, result } => {
                let key = self.exprs(&env, key, span)?;
                let entry = self.entry(&env.world, *table, &key, env.way);
                env.locals[result.index()] = Sym::Int(self.tokens(&env, *table, &entry, span)?.0);
            }
            SpecStmt::Emits { quantifier, packet, port, on, into, block, holds, result } => {
                let step = self.step(&env.world, &env.packets[packet.index()].clone(), *port)?;
                let mut instances = Vec::new();
                for output in step.out.iter().filter(|output| output.port == *on) {
                    let mut inner = env.clone();
                    self.bind(&mut inner, *into, &output.packet);
                    let inner = self.block(inner, block)?;
                    let holds = self.terms.truth(inner.locals[holds.index()]);
                    instances.push(match quantifier {
                        Quantifier::All => self.terms.implies(output.guard, holds),
                        Quantifier::Exists | Quantifier::Count => self.terms.and(&[output.guard, holds]),
                    });
                }
                env.locals[result.index()] = self.together(*quantifier, &instances);
            }
            SpecStmt::Drops { packet, port, reasons, result } => {
                let step = self.step(&env.world, &env.packets[packet.index()].clone(), *port)?;
                let drops = step.drops.iter().filter(|drop| reasons.is_empty() || reasons.contains(&drop.reason));
                let guards: Vec<Term> = drops.map(|drop| drop.guard).collect();
                env.locals[result.index()] = Sym::Bool(self.terms.or(&guards));
            }
            SpecStmt::Refused { packet, port, choice, tier, result } => {
                let step = self.step(&env.world, &env.packets[packet.index()].clone(), *port)?;
                let tier = self.terms.int((*tier).into());
                let mut refused = Vec::new();
                for made in step.choices.iter().filter(|made| made.name == *choice) {
                    let beyond = self.terms.op(Op::IntLt, tier, made.left);
                    refused.push(self.terms.and(&[made.guard, beyond]));
                }
                env.locals[result.index()] = Sym::Bool(self.terms.or(&refused));
            }
            SpecStmt::After { event, block } => {
                let before = env.world.clone();
                env.world = match event {
                    AfterEvent::Packet(packet, port) => {
                        self.step(&env.world, &env.packets[packet.index()].clone(), *port)?.after.clone()
                    }
                    AfterEvent::Time(nanoseconds) => {
                        let passed = self.expr(&env, nanoseconds, span)?;
                        let passed = self.terms.as_integer(passed);
                        let now = self.terms.op(Op::IntAdd, env.world.now, passed);
                        self.time_bounds(now);
                        self.later(&env.world, now, span)?
                    }
                };
                env = self.block(env, block)?;
                env.world = before;
            }
            SpecStmt::Same { left, right, except, result } => {
                let mut fields = Vec::new();
                for (handle, field) in except {
                    let found = self.only(&env, *handle, span)?;
                    fields.push((found.position, found.header, *field));
                }
                let (left, right) = (env.packets[left.index()].clone(), env.packets[right.index()].clone());
                env.locals[result.index()] = Sym::Bool(self.same(&left, &right, &fields));
            }
            SpecStmt::SameBody { left, right, result } => {
                let (left, right) = (self.only(&env, *left, span)?, self.only(&env, *right, span)?);
                let (a, b) = (env.packets[left.packet.index()].clone(), env.packets[right.packet.index()].clone());
                env.locals[result.index()] = Sym::Bool(self.same_body((&a, &left), (&b, &right)));
            }
        }
        Ok(env)
    }

    /// A header that is found on one way only.
    fn only(&self, env: &Env<'p>, handle: HandleId, span: Span) -> Result<Found, Unsupported> {
        match &env.found[handle.index()][..] {
            [one] => Ok(one.clone()),
            _ => Err(Unsupported::new("a comparison of headers that are found on several ways", span)),
        }
    }

    /// Instances put together.
    fn together(&mut self, quantifier: Quantifier, instances: &[Term]) -> Sym {
        match quantifier {
            Quantifier::All => Sym::Bool(self.terms.and(instances)),
            Quantifier::Exists => Sym::Bool(self.terms.or(instances)),
            Quantifier::Count => {
                let mut sum = self.number(0);
                for instance in instances {
                    let one = self.terms.convert(Sym::Bool(*instance), Scalar::Int);
                    sum = self.terms.binary(BinaryOp::Add, sum, one);
                }
                sum
            }
        }
    }

    fn quantify(
        &mut self,
        env: &Env<'p>,
        quantifier: Quantifier,
        over: Over,
        (block, holds): (&'p Block, LocalId),
    ) -> Result<Sym, Unsupported> {
        if quantifier == Quantifier::Count {
            // How many there are is not known; not less than none.
            let count = self.terms.fresh("count", Sort::Int);
            let zero = self.terms.int(0);
            let fact = self.terms.op(Op::IntLe, zero, count);
            self.fact(fact);
            self.counts.push(count);
            return Ok(Sym::Int(count));
        }
        let number = self.quants.len() as u32;
        let entries = matches!(over, Over::Entries { .. });
        self.quants.push(Quant {
            quantifier,
            over,
            says: Says::Block(block, holds),
            env: Rc::new(env.clone()),
            generation: self.generation,
        });
        if entries && let Some(key) = self.only_key(number)? {
            return self.instantiate(number, &key).map(Sym::Bool);
        }
        Ok(Sym::Bool(self.terms.quantified(number)))
    }

    /// The one key that decides a quantified formula over entries, if the formula itself says which: there is an entry with key k
    /// and so on, or all entries with key k do so and so.
    fn only_key(&mut self, number: u32) -> Result<Option<Vec<Sym>>, Unsupported> {
        let before = self.mark();
        let obliged = self.happens.obliged.len();
        let key = self.any_key(number);
        let instance = self.instantiate(number, &key)?;
        // It was but a look, unless something is obliged to hold of that key.
        let touched = (self.obliging && self.happens.obliged.len() > obliged).then(|| self.touched.clone());
        self.back_to(&before);
        self.touched = touched.unwrap_or_else(|| std::mem::take(&mut self.touched));
        let universal = self.is_universal(number);
        let parts = match self.terms.node(instance) {
            Node::And(all) if !universal => all.to_vec(),
            Node::Or(all) if universal => all.to_vec(),
            _ => return Ok(None),
        };
        let vars: Vec<Term> = key.iter().map(|part| self.terms.as_vector(*part)).collect();
        let mut found: Vec<Option<Term>> = vec![None; vars.len()];
        for part in parts {
            let equal = match *self.terms.node(part) {
                Node::Not(inner) if universal => inner,
                _ if !universal => part,
                _ => continue,
            };
            let Node::Eq(a, b) = *self.terms.node(equal) else { continue };
            for (var, other) in [(a, b), (b, a)] {
                if let Some(at) = vars.iter().position(|v| *v == var)
                    && !self.terms.cone(&[other]).iter().any(|t| vars.contains(t))
                {
                    found[at] = Some(other);
                }
            }
        }
        Ok(found.into_iter().collect::<Option<Vec<Term>>>().map(|terms| terms.into_iter().map(Sym::Bits).collect()))
    }

    /// The generation that a quantified formula came up in.
    pub(crate) fn generation_of(&self, number: u32) -> u32 {
        self.quants[number as usize].generation
    }

    /// What is said of all entries of a table in a state.
    pub(crate) fn all_entries(&mut self, world: &World, table: TableId, says: Says<'p>) -> Term {
        let way = self.terms.bool(true);
        let env = self.enter(self.nothing, None, Vec::new(), world.clone(), way);
        let over = Over::Entries { table, key: Vec::new(), value: Vec::new() };
        let number = self.quants.len() as u32;
        self.quants.push(Quant { quantifier: Quantifier::All, over, says, env: Rc::new(env), generation: self.generation });
        self.terms.quantified(number)
    }

    /// A quantified formula at one instance, which is of a generation.
    pub(crate) fn instance(&mut self, number: u32, key: &[Sym], generation: u32) -> Result<Term, Unsupported> {
        let outer = std::mem::replace(&mut self.generation, generation);
        let instance = self.instantiate(number, key);
        self.generation = outer;
        instance
    }

    fn instantiate(&mut self, number: u32, key: &[Sym]) -> Result<Term, Unsupported> {
        let quant = &self.quants[number as usize];
        let (quantifier, over, says) = (quant.quantifier, quant.over.clone(), quant.says);
        let mut env = (*quant.env).clone();
        let given = match &over {
            Over::Entries { table, key: locals, value } => {
                let entry = self.entry(&env.world, *table, key, env.way);
                for (local, scalar) in locals.iter().zip(key).chain(value.iter().zip(&entry.value)) {
                    env.locals[local.index()] = *scalar;
                }
                entry.live
            }
            Over::Elements { table, index, value, below: (found, end) } => {
                let element = self.element(&env.world, *table, key, env.way);
                let ty = env.body.locals[index.index()].ty;
                env.locals[index.index()] = self.terms.convert(key[0], ty);
                for (local, scalar) in value.iter().zip(&element) {
                    env.locals[local.index()] = *scalar;
                }
                let limit = self.terms.constant(self.program.tables[table.index()].capacity.into(), Scalar::Bits(64));
                let inside = self.terms.binary(BinaryOp::Lt, key[0], limit);
                let before = self.terms.binary(BinaryOp::Lt, key[0], *end);
                let (inside, before) = (self.terms.truth(inside), self.terms.truth(before));
                let early = self.terms.implies(*found, before);
                self.terms.and(&[inside, early])
            }
            Over::Range { var, low, high } => {
                env.locals[var.index()] = key[0];
                let (a, b) = (self.at_most(*low, key[0]), self.at_most(key[0], *high));
                self.terms.and(&[a, b])
            }
        };
        // What it says is asked of this instance only if there is one.
        env.way = self.terms.and(&[env.way, given]);
        let holds = match (says, &over) {
            (Says::Block(block, holds), _) => {
                let env = self.block(env, block)?;
                self.terms.truth(env.locals[holds.index()])
            }
            (Says::Shares, Over::Entries { table, .. }) => self.shares_deadline(&env, *table, key)?,
            (Says::Bucket, Over::Entries { table, .. }) => self.bucket_in_bounds(&env, *table, key)?,
            (Says::Shares | Says::Bucket, _) => return Err(Unsupported::new("this formula", self.program.span)),
        };
        Ok(match quantifier {
            Quantifier::All => self.terms.implies(given, holds),
            _ => self.terms.and(&[given, holds]),
        })
    }

    /// The table that a quantified formula speaks of, if it does.
    pub(crate) fn over(&self, number: u32) -> Option<TableId> {
        match self.quants[number as usize].over {
            Over::Entries { table, .. } | Over::Elements { table, .. } => Some(table),
            Over::Range { .. } => None,
        }
    }

    /// Whether a search found something, if a quantified formula says of it that nothing comes before.
    pub(crate) fn found_by(&self, number: u32) -> Option<Term> {
        match self.quants[number as usize].over {
            Over::Elements { below: (found, _), .. } => Some(found).filter(|f| self.terms.as_bool(*f).is_none()),
            _ => None,
        }
    }

    /// The tables that a quantified formula speaks of.
    pub(crate) fn speaks_of(&self, number: u32) -> Vec<TableId> {
        let quant = &self.quants[number as usize];
        let mut tables = match quant.says {
            Says::Block(block, _) => tables_of(block),
            Says::Shares | Says::Bucket => Vec::new(),
        };
        tables.extend(self.over(number));
        tables
    }

    /// Whether it says that all instances hold.
    pub(crate) fn is_universal(&self, number: u32) -> bool {
        self.quants[number as usize].quantifier == Quantifier::All
    }

    /// What an instance of a formula says beside how many there are of something, if that was not asked before: any number will do.
    pub(crate) fn without_counts(&mut self, instance: Term, since: usize) -> Term {
        let Some(counts) = self.counts.get(since..).filter(|counts| !counts.is_empty()) else { return instance };
        let parts = match self.terms.node(instance) {
            Node::And(all) => all.to_vec(),
            _ => vec![instance],
        };
        let kept = |part: &Term| !self.terms.cone(&[*part]).iter().any(|t| counts.contains(t));
        let kept: Vec<Term> = parts.into_iter().filter(kept).collect();
        self.terms.and(&kept)
    }

    /// The integers that a formula over a range is to be looked at: its bounds, the examples of the others, and the indices of the arrays
    /// that it speaks of, or of all, or the parts that these are the sums of.
    pub(crate) fn numbers(&mut self, number: u32) -> Vec<(Vec<Sym>, u32)> {
        let mut numbers = match self.quants[number as usize].over {
            Over::Range { low, high, .. } => vec![(low, 0), (high, 0)],
            _ => Vec::new(),
        };
        numbers.extend(self.examples.iter().map(|n| (*n, 0)));
        let is_array = |table: &TableId| matches!(self.program.tables[table.index()].kind, TableKind::Array);
        let mut arrays: Vec<TableId> = self.speaks_of(number).into_iter().filter(is_array).collect();
        if arrays.is_empty() {
            arrays = (0..self.program.tables.len() as u32).map(TableId).filter(is_array).collect();
        }
        let indices: Vec<(Sym, u32)> = (0..)
            .map(TableId)
            .zip(&self.touched)
            .filter(|(table, _)| arrays.contains(table))
            .flat_map(|(_, keys)| keys)
            .filter_map(|(key, g)| Some((*key.first()?, *g)))
            .collect();
        for (index, generation) in indices {
            let parts = if let Sym::Bits(index) = index { self.terms.parts_of_sum(index) } else { Vec::new() };
            if parts.len() < 2 {
                numbers.push((self.terms.convert(index, Scalar::Int), generation));
            }
            // Where a part of an array begins is no index there.
            for part in parts {
                if !matches!(self.terms.node(part), Node::Op(Op::Mul, ..)) {
                    numbers.push((self.terms.convert(Sym::Bits(part), Scalar::Int), generation));
                }
            }
        }
        numbers.into_iter().map(|(n, generation)| (vec![n], generation)).collect()
    }

    /// An integer of which nothing is known but its bounds.
    fn bounded(&mut self, name: &str, low: i128, high: i128) -> Sym {
        let width = needed(low, high);
        let term = self.terms.fresh(name, Sort::Bits(width));
        let (least, greatest) = (self.terms.bits(low as u128, width), self.terms.bits(high as u128, width));
        for (a, b) in [(least, term), (term, greatest)] {
            let fact = self.terms.op(Op::Sle, a, b);
            self.fact(fact);
        }
        Sym::Small { term, low, high }
    }

    /// A key of which nothing is known, for a quantified formula.
    pub(crate) fn any_key(&mut self, number: u32) -> Vec<Sym> {
        match self.quants[number as usize].over.clone() {
            Over::Entries { table, .. } => {
                let columns: Vec<Scalar> = self.program.tables[table.index()].key.iter().map(|c| c.ty).collect();
                columns
                    .iter()
                    .map(|ty| match ty {
                        Scalar::Bool => Sym::Bool(self.terms.fresh("key", Sort::Bool)),
                        Scalar::Bits(width) => Sym::Bits(self.terms.fresh("key", Sort::Bits(*width))),
                        Scalar::Int => Sym::Int(self.terms.fresh("key", Sort::Int)),
                    })
                    .collect()
            }
            Over::Elements { .. } => vec![Sym::Bits(self.terms.fresh("index", Sort::Bits(64)))],
            Over::Range { low, high, .. } => {
                let number = match (low, high) {
                    (Sym::Small { low, .. }, Sym::Small { high, .. }) if low <= high => self.bounded("number", low, high),
                    _ => Sym::Int(self.terms.fresh("number", Sort::Int)),
                };
                self.examples.push(number);
                vec![number]
            }
        }
    }
}

/// The tables that a formula's statements read.
pub(crate) fn tables_of(block: &[Stmt]) -> Vec<TableId> {
    let mut tables = Vec::new();
    for stmt in block {
        match &stmt.kind {
            StmtKind::If { then, other, .. } => {
                tables.extend(tables_of(then));
                tables.extend(tables_of(other));
            }
            StmtKind::Switch { cases, default, .. } => {
                cases.iter().for_each(|(_, _, block)| tables.extend(tables_of(block)));
                tables.extend(tables_of(default));
            }
            StmtKind::Lookup { table, .. }
            | StmtKind::Longest { table, .. }
            | StmtKind::ReadArray { table, .. }
            | StmtKind::ReadCell { table, .. }
            | StmtKind::ReadCounter { table, .. } => tables.push(*table),
            StmtKind::First { table, test, .. } => {
                tables.push(*table);
                tables.extend(tables_of(test));
            }
            StmtKind::Spec(spec) => match &**spec {
                SpecStmt::Entries { table, block, .. } => {
                    tables.push(*table);
                    tables.extend(tables_of(block));
                }
                SpecStmt::Range { block, .. } | SpecStmt::Emits { block, .. } | SpecStmt::After { block, .. } => {
                    tables.extend(tables_of(block))
                }
                SpecStmt::Deadline { table, .. }
                | SpecStmt::Size { table, .. }
                | SpecStmt::Full { table, .. }
                | SpecStmt::Tokens { table, .. } => {
                    tables.push(*table);
                }
                SpecStmt::Drops { .. } | SpecStmt::Refused { .. } | SpecStmt::Same { .. } | SpecStmt::SameBody { .. } => {}
            },
            _ => {}
        }
    }
    tables
}
