//! Searches through the elements of an array of the control plane: of a loop's turns there are as many as elements, and the kernel's verifier goes through each of
//! them for every way that leads there. So most searches are functions of their own, which the kernel verifies once: they are given words, look for the first
//! element for which the test holds. Searches that differ in those words only are one function. A test that is more than an expression, or
//! needs more than registers hold, has its loop where it is asked.
//!
//! What a function gives is 0 if there is no such element. Else it is 1 and above that bit what is read of the element, if a word holds that; if not, its index from 1.

use super::super::lir::{Arg, Bin, BlockId, Builder, Cmp, Type, Value};
use super::super::maps::identifier;
use super::env::{Env, Frame, Open};
use super::expr::reads_time;
use super::flow::mentions;
use super::rows::Rows;
use super::tables::{Keeping, Table};
use super::{Lower, Lowering, uses};
use grv_lang::diagnostics::Code;
use grv_lang::ir::{self, BinaryOp, Expr, LocalId, Scalar, Stmt, StmtKind, TableId, map};
use grv_lang::span::Span;
use std::collections::BTreeSet;

/// Numbers above it are marks: no word of the target holds them.
const MARKS: u128 = u64::MAX as u128;

/// Registers in which a function is given words.
pub(super) const REGISTERS: usize = 5;

/// A search that is a function.
pub(super) struct Searcher {
    table: TableId,
    /// The test, in which variables are numbered: the columns of the element, then what else is read.
    test: Expr,
    /// The types of the latter.
    given: Vec<Scalar>,
    /// The function's number.
    number: u32,
}

/// The parts of a search.
struct Search<'s, 'p> {
    table: TableId,
    rows: &'s Rows,
    index: LocalId,
    value: &'p [LocalId],
    test: &'p [Stmt],
    holds: LocalId,
    widths: Vec<u8>,
    /// Which columns are read of what is found; none if a word does not hold them, or the index is asked for.
    gives: Option<Vec<usize>>,
    span: Span,
}

/// A test that a function can decide.
struct Plain {
    /// The test, with marks for numbers that are not the same in all searches.
    test: Expr,
    /// The same with variables and marks numbered.
    numbered: Expr,
    /// What stands for words that are not of the element, and what they are.
    reads: Vec<(Expr, Expr)>,
    types: Vec<Scalar>,
    /// Where these words are, behind the number of the generation.
    places: Vec<Packed>,
}

/// Where a word is among those that a function is given.
#[derive(Clone, Copy)]
struct Packed {
    register: usize,
    shift: u8,
    bits: u8,
}

impl<'p> Lower<'p> {
    /// The first element of an array of a generation for which a test holds.
    pub(super) fn first(&mut self, mut env: Env<'p>, stmt: &'p Stmt) -> Lowering<Vec<Open<'p>>> {
        let StmtKind::First { table, index, value, test, holds, found } = &stmt.kind else {
            return Err(self.broken(stmt.span, "a statement out of its place"));
        };
        let span = stmt.span;
        let kept = self.kept(*table, span)?;
        let Keeping::Rows(rows) = &kept.keeping else {
            let what = format!("a search through an array of more than {} bytes", u16::MAX);
            return Err(self.refuse(Code::TargetOperation, span, what));
        };
        let widths = self.widths_of(*table);
        let gives = gives(self.program, *table, &widths);
        // What does not depend on the element is computed once.
        let (before, test) = test.split_at(outside(test, *index, value));
        for stmt in before {
            if let StmtKind::Assign { dst, value } = &stmt.kind {
                let value = self.eval(&mut env, value, stmt.span)?;
                env.frame_mut().locals[dst.index()] = Some(value);
            }
        }
        let search = Search { table: *table, rows, index: *index, value, test, holds: *holds, widths, gives, span };
        let (mut ways, none) = match self.plain(&env, &search)? {
            Some(plain) => self.ask(&mut env, &kept, &search, &plain)?,
            None => self.search_here(&mut env, &kept, &search)?,
        };
        for Open { env: hit, .. } in &mut ways {
            hit.frame_mut().locals[found.index()] = Some(Arg::Number(1));
        }
        // Without one, all is zero.
        let frame = env.frame_mut();
        for local in value.iter().chain([index, found]) {
            frame.locals[local.index()] = Some(Arg::Number(0));
        }
        ways.push(Open { env, block: none });
        Ok(ways)
    }

    /// Has a function search: the ways on which there is one, and the block where there is none.
    fn ask(
        &mut self,
        env: &mut Env<'p>,
        kept: &Table,
        search: &Search<'_, 'p>,
        plain: &Plain,
    ) -> Lowering<(Vec<Open<'p>>, BlockId)> {
        let number = match self
            .searchers
            .iter()
            .find(|of| (of.table, &of.test, &of.given) == (search.table, &plain.numbered, &plain.types))
        {
            Some(searcher) => searcher.number,
            None => self.searcher(env, kept, search, plain)?,
        };
        let mut words = vec![self.generation(env)];
        for (_, read) in &plain.reads {
            words.push(self.eval(env, read, search.span)?);
        }
        let mut args: Vec<Arg> = Vec::new();
        for (word, at) in words.into_iter().zip(&plain.places) {
            match args.get(at.register).copied() {
                Some(others) => {
                    let word = self.b.bin(Bin::Shl, word, Arg::Number(at.shift.into()));
                    args[at.register] = self.b.bin(Bin::Or, others, word);
                }
                None => args.push(word),
            }
        }
        let none = self.b.block();
        if let Some(columns) = &search.gives {
            let bits = columns.iter().map(|column| search.widths[*column]).sum::<u8>() + 1;
            let found = self.b.invoke(number, args, bits);
            let (hit, miss, never) = (self.b.block(), self.b.block(), self.b.block());
            let bit = self.b.low(found, 1);
            self.b.branch(Cmp::Ne, bit, Arg::Number(0), hit, miss);
            self.b.enter(miss);
            self.b.branch(Cmp::Eq, found, Arg::Number(0), none, never);
            self.b.enter(never);
            self.defect();
            self.b.enter(hit);
            let (mut env, mut shift) = (env.clone(), 1);
            for column in columns {
                let word = self.b.bin(Bin::Shr, found, Arg::Number(shift));
                let word = self.b.low(word, search.widths[*column]);
                env.frame_mut().locals[search.value[*column].index()] = Some(word);
                shift += u64::from(search.widths[*column]);
            }
            return Ok((vec![Open { env, block: self.b.here() }], none));
        }
        let found = self.b.invoke(number, args, 64);
        self.b.unless(Cmp::Ne, found, Arg::Number(0), none);
        let index = self.b.bin(Bin::Sub, found, Arg::Number(1));
        let mut ways = Vec::new();
        for (mut open, columns) in self.row_at(env.clone(), kept, search.rows, index, &search.widths) {
            let frame = open.env.frame_mut();
            for (local, column) in search.value.iter().zip(columns) {
                frame.locals[local.index()] = Some(column);
            }
            frame.locals[search.index.index()] = Some(index);
            ways.push(open);
        }
        Ok((ways, none))
    }

    /// What a function can decide of a test, and how it is given what it needs.
    fn plain(&self, env: &Env<'p>, search: &Search<'_, 'p>) -> Lowering<Option<Plain>> {
        let [Stmt { kind: StmtKind::Assign { dst, value: expr }, .. }] = search.test else { return Ok(None) };
        if *dst != search.holds || mentions(expr, search.index) || reads_time(expr) {
            return Ok(None);
        }
        // If registers do not hold the numbers that differ, each has a function of its own.
        let varying = self.varying(search, expr);
        let same = vec![false; varying.len()];
        for varying in [varying, same] {
            let (mut test, mut numbers, mut reads) = (expr.clone(), Vec::new(), Vec::new());
            constants(&mut test, &mut numbers);
            let own: Vec<u128> = numbers.iter().map(|number| **number).collect();
            let marks = numbers.into_iter().zip((0..).map(|at| u128::MAX - at)).zip(varying);
            marks.filter(|(_, varies)| *varies).for_each(|((number, mark), _)| *number = mark);
            let numbered = numbered(&test, search.value, &mut reads);
            let types: Vec<Scalar> = reads.iter().map(|read| self.ty(env, read, None)).collect();
            let mut bits = vec![1];
            for ty in &types {
                bits.push(self.width(*ty, search.span)?);
            }
            let Some(places) = packed(&bits) else { continue };
            let is = |read: Expr| match read {
                Expr::Const(mark, ty) => {
                    let number = own.get((u128::MAX - mark) as usize).copied().unwrap_or(mark);
                    (Expr::Const(mark, ty), Expr::Const(number, ty))
                }
                read => (read.clone(), read),
            };
            return Ok(Some(Plain { test, numbered, reads: reads.into_iter().map(is).collect(), types, places }));
        }
        Ok(None)
    }

    /// Which constants of a test are others in another search through the same array by the same test.
    fn varying(&self, search: &Search<'_, 'p>, test: &Expr) -> Vec<bool> {
        let bare = |test: &Expr, value: &[LocalId]| {
            let (mut test, mut numbers) = (test.clone(), Vec::new());
            constants(&mut test, &mut numbers);
            let own: Vec<u128> = numbers.into_iter().map(std::mem::take).collect();
            (numbered(&test, value, &mut Vec::new()), own)
        };
        let (shape, own) = bare(test, search.value);
        let mut varying = vec![false; own.len()];
        uses::statements(self.program, &mut |_, stmt| {
            let StmtKind::First { table, value, test, .. } = &stmt.kind else { return };
            let Some(Stmt { kind: StmtKind::Assign { value: test, .. }, .. }) = test.last() else { return };
            let (other, numbers) = bare(test, value);
            if *table == search.table && other == shape {
                varying.iter_mut().zip(own.iter().zip(&numbers)).for_each(|(varies, (own, other))| *varies |= own != other);
            }
        });
        varying
    }

    /// Makes the function that searches.
    fn searcher(&mut self, env: &Env<'p>, kept: &Table, search: &Search<'_, 'p>, plain: &Plain) -> Lowering<u32> {
        let registers = plain.places.iter().map(|at| at.register + 1).max().unwrap_or(0);
        let widths =
            |register: usize| plain.places.iter().filter(|at| at.register == register).map(|at| at.shift + at.bits).max();
        let widths: Vec<u8> = (0..registers).map(|register| widths(register).unwrap_or(64)).collect();
        let mut b = Builder::of_words(search.span, &widths);
        b.constants = self.b.constants;
        let mut slot = b.slot(8);
        // What is known is known of another function.
        std::mem::swap(&mut self.b, &mut b);
        std::mem::swap(&mut self.key_slot, &mut slot);
        let masks = std::mem::take(&mut self.masks);
        let body = self.search_for(env, kept, search, plain);
        std::mem::swap(&mut self.b, &mut b);
        std::mem::swap(&mut self.key_slot, &mut slot);
        self.masks = masks;
        self.given.clear();
        body?;
        let number = self.functions.len() as u32;
        let before = self.searchers.iter().filter(|of| of.table == search.table).count();
        let name = format!("search{before}_{}", identifier(&self.program.tables[search.table.index()].name));
        self.functions.push(b.finish(&name));
        let (test, given) = (plain.numbered.clone(), plain.types.clone());
        self.searchers.push(Searcher { table: search.table, test, given, number });
        Ok(number)
    }

    /// The body of such a function.
    fn search_for(&mut self, env: &Env<'p>, kept: &Table, search: &Search<'_, 'p>, plain: &Plain) -> Lowering<()> {
        let mut words = Vec::new();
        for at in &plain.places {
            let word = self.b.bin(Bin::Shr, self.b.input(at.register), Arg::Number(at.shift.into()));
            words.push(self.b.low(word, at.bits));
        }
        self.given = plain.reads.iter().map(|(of, _)| of.clone()).zip(words[1..].iter().copied()).collect();
        let body = env.frame().body;
        let frame = Frame::new(self.program, body, env.frame().element);
        let env = Env {
            frames: vec![frame],
            length: None,
            now: None,
            coarse: None,
            generation: None,
            settings: Vec::new(),
            seen: None,
            cell: None,
            told: Vec::new(),
            reads: Vec::new(),
            facts: Vec::new(),
            checked: Vec::new(),
            ..env.clone()
        };
        let never = self.b.block();
        let all = self.at(kept.map, words[0], never);
        let Some(all) = all.value() else { return Err(self.broken(search.span, "an array without a value")) };
        let (at, ways, none) = self.turns(&env, search, Some(&plain.test), all, never)?;
        for way in ways {
            self.b.enter(way.block);
            let (mut found, mut shift) = (Arg::Number(1), 1);
            for column in search.gives.iter().flatten() {
                let word = way.env.frame().locals[search.value[*column].index()].unwrap_or(Arg::Number(0));
                let word = self.b.bin(Bin::Shl, word, Arg::Number(shift));
                found = self.b.bin(Bin::Or, word, found);
                shift += u64::from(search.widths[*column]);
            }
            if search.gives.is_none() {
                found = self.b.bin(Bin::Add, at, Arg::Number(1));
            }
            self.b.ret(found);
        }
        self.b.enter(none);
        self.b.ret(Arg::Number(0));
        self.b.enter(never);
        // Neither is one found nor none; or it is none that there is.
        self.b.ret(Arg::Number(if search.gives.is_some() { 2 } else { u64::from(search.rows.length) + 1 }));
        Ok(())
    }

    /// Searches right here.
    fn search_here(&mut self, env: &mut Env<'p>, kept: &Table, search: &Search<'_, 'p>) -> Lowering<(Vec<Open<'p>>, BlockId)> {
        // What is read once a step is read before the loop, and what is done once is done.
        self.settle(env)?;
        self.fix_times(env, search.test);
        let Some(all) = self.rows(env, kept) else { return Err(self.broken(search.span, "an array without a value")) };
        let never = self.b.block();
        let whole = match search.test {
            [Stmt { kind: StmtKind::Assign { dst, value }, .. }] if *dst == search.holds => Some(value),
            _ => None,
        };
        let (_, ways, none) = self.turns(env, search, whole, all, never)?;
        self.b.enter(never);
        self.defect();
        for Open { env: hit, .. } in &ways {
            // What tests of other elements looked at was looked at, too.
            let more = hit.looked.iter().filter(|looked| !env.looked.contains(looked)).cloned().collect::<Vec<_>>();
            env.looked.extend(more);
        }
        Ok((ways, none))
    }

    /// A loop through the elements: the index, the ways on which one passes, and the block where none did. Nothing goes on in `never`.
    fn turns(
        &mut self,
        env: &Env<'p>,
        search: &Search<'_, 'p>,
        whole: Option<&Expr>,
        all: Value,
        never: BlockId,
    ) -> Lowering<(Arg, Vec<Open<'p>>, BlockId)> {
        let rows = search.rows;
        // Elements that are the same pass the same test, if it does not ask for their indexes. The bound is there so that the kernel sees an end.
        let asked = search.test.iter().any(|stmt| reads_local(stmt, search.index));
        let last = if asked { Arg::Number(u64::from(rows.length) - 1) } else { self.b.load(Arg::Value(all), 0, 4) };
        self.b.unless(Cmp::Lt, last, Arg::Number(rows.length.into()), never);
        let first = self.b.advance(all, Arg::Number(super::super::memory::ROWS_AT.into()));
        let (head, next, none) = (self.b.block(), self.b.block(), self.b.block());
        let at = Arg::Value(self.b.param(head, Type::Word, 32));
        let row = self.b.param(head, Type::Entry, 64);
        self.b.jump(head, vec![Arg::Number(0), Arg::Value(first)]);
        self.b.enter(head);
        // (The kernel knows more of a word that is compared with a number than of a number that is compared with a word.)
        self.b.unless(Cmp::Ge, last, at, none);
        let mut turn = env.clone();
        turn.frame_mut().locals[search.index.index()] = Some(at);
        let mut ways = self.test_row(turn, search, whole, row, next)?;
        self.b.enter(next);
        let more = self.b.bin(Bin::Add, at, Arg::Number(1));
        let below = self.b.advance(row, Arg::Number(rows.element.size.into()));
        self.b.jump(head, vec![more, Arg::Value(below)]);
        for Open { env: hit, block } in &mut ways {
            self.b.enter(*block);
            self.read_row(hit, search, row);
        }
        Ok((at, ways, none))
    }

    /// Tests an element, by an expression if the test is no more: the ways on which it passes; others go on in `next`.
    fn test_row(
        &mut self,
        mut env: Env<'p>,
        search: &Search<'_, 'p>,
        whole: Option<&Expr>,
        row: Value,
        next: BlockId,
    ) -> Lowering<Vec<Open<'p>>> {
        let Some(whole) = whole else {
            self.read_row(&mut env, search, row);
            let block = self.b.here();
            let mut ways = Vec::new();
            for open in self.block(vec![Open { env, block }], search.test, false)? {
                self.b.enter(open.block);
                let Some(holds) = open.env.frame().locals[search.holds.index()] else {
                    return Err(self.broken(self.b.span, "a test without a result"));
                };
                let hit = self.b.block();
                self.b.branch(Cmp::Ne, holds, Arg::Number(0), hit, next);
                ways.push(Open { block: hit, ..open });
            }
            return Ok(ways);
        };
        // Of most elements one column decides: the others are not read.
        let span = self.b.span;
        let mut read = BTreeSet::new();
        let mut terms = Vec::new();
        conjuncts(whole, &mut terms);
        for term in terms {
            for (column, local) in search.value.iter().enumerate() {
                if mentions(term, *local) && read.insert(column) {
                    let number = self.column(search.rows, row, column, search.widths[column]);
                    env.frame_mut().locals[local.index()] = Some(number);
                }
            }
            let met = self.b.block();
            self.cond(&mut env.clone(), term, None, span, met, next)?;
            self.b.enter(met);
        }
        let block = self.b.here();
        Ok(vec![Open { env, block }])
    }

    /// Reads all columns of an element.
    fn read_row(&mut self, env: &mut Env<'p>, search: &Search<'_, 'p>, row: Value) {
        for (column, local) in search.value.iter().enumerate() {
            let number = self.column(search.rows, row, column, search.widths[column]);
            env.frame_mut().locals[local.index()] = Some(number);
        }
    }

    /// A step has one time: what tests need of it is read before the loop.
    fn fix_times(&mut self, env: &mut Env<'p>, test: &'p [Stmt]) {
        if !test.iter().any(|stmt| !matches!(&stmt.kind, StmtKind::Assign { value, .. } if !reads_time(value))) {
            return;
        }
        self.now(env);
        if let Some(tick) = self.coarse {
            self.coarse(env, tick);
        }
    }
}

/// The columns that handlers read of what searches through an array find, if none asks for the index, and a word holds them with a bit more.
fn gives(program: &ir::Program, id: TableId, widths: &[u8]) -> Option<Vec<usize>> {
    // The index comes last.
    let mut behind = vec![false; widths.len() + 1];
    uses::statements(program, &mut |body, stmt| {
        let StmtKind::First { table, index, value, test, .. } = &stmt.kind else { return };
        let reads = |block: &[Stmt]| {
            let mut reads = vec![0_usize; behind.len()];
            map::block(block, &mut |expr: &Expr| {
                let locals = value.iter().chain([index]).zip(&mut reads);
                locals.for_each(|(local, count)| *count += usize::from(mentions(expr, *local)));
            });
            reads
        };
        // What the test reads is read there.
        if *table == id {
            let (all, own) = (reads(&body.block), reads(test));
            behind.iter_mut().zip(all.iter().zip(&own)).for_each(|(behind, (all, own))| *behind |= all > own);
        }
    });
    let columns: Vec<usize> = (0..widths.len()).filter(|column| behind[*column]).collect();
    let bits: u32 = columns.iter().map(|column| u32::from(widths[*column])).sum();
    (!behind[widths.len()] && bits < 64).then_some(columns)
}

/// How many statements of a test, before the one that decides, compute what is the same for all elements.
fn outside(test: &[Stmt], index: LocalId, value: &[LocalId]) -> usize {
    let same = |stmt: &&Stmt| match &stmt.kind {
        StmtKind::Assign { value: expr, .. } => {
            !reads_time(expr) && !value.iter().chain([&index]).any(|local| mentions(expr, *local))
        }
        _ => false,
    };
    test.iter().take(test.len().saturating_sub(1)).take_while(same).count()
}

/// A test with its variables numbered: those of the element, then what else it reads.
fn numbered(expr: &Expr, value: &[LocalId], reads: &mut Vec<Expr>) -> Expr {
    let mut sub = |expr: &Expr| Box::new(numbered(expr, value, reads));
    match expr {
        Expr::Local(id) if value.contains(id) => {
            Expr::Local(LocalId(value.iter().position(|local| local == id).unwrap_or(0) as u32))
        }
        Expr::Const(number, _) if *number <= MARKS => expr.clone(),
        Expr::Const(..) | Expr::Local(_) | Expr::Field(..) | Expr::HeaderLength(_) | Expr::PacketLength(_) => {
            let known = reads.iter().position(|read| read == expr);
            let at = known.unwrap_or(reads.len());
            if known.is_none() {
                reads.push(expr.clone());
            }
            Expr::Local(LocalId((value.len() + at) as u32))
        }
        Expr::Unary(op, a) => Expr::Unary(*op, sub(a)),
        Expr::Binary(op, a, b) => Expr::Binary(*op, sub(a), sub(b)),
        Expr::Convert(a, ty) => Expr::Convert(sub(a), *ty),
        Expr::Select(a, b, c) => Expr::Select(sub(a), sub(b), sub(c)),
        Expr::Hash(id, args) => Expr::Hash(*id, args.iter().map(|arg| *sub(arg)).collect()),
        Expr::Param(..) | Expr::Own(_) | Expr::Now => expr.clone(),
    }
}

/// The constants of an expression, in their order.
fn constants<'e>(expr: &'e mut Expr, into: &mut Vec<&'e mut u128>) {
    match expr {
        Expr::Const(number, _) => into.push(number),
        Expr::Unary(_, a) | Expr::Convert(a, _) => constants(a, into),
        Expr::Binary(_, a, b) => [a, b].into_iter().for_each(|expr| constants(expr, into)),
        Expr::Select(a, b, c) => [a, b, c].into_iter().for_each(|expr| constants(expr, into)),
        Expr::Hash(_, args) => args.iter_mut().for_each(|expr| constants(expr, into)),
        _ => {}
    }
}

/// Places for words in the registers that a function is given. Each has one of its own, if there are enough; if not, each is with others that leave it room.
fn packed(widths: &[u8]) -> Option<Vec<Packed>> {
    let mut full: Vec<u8> = Vec::new();
    let mut places = Vec::new();
    for bits in widths.iter().copied() {
        let shared = full.iter().position(|full| widths.len() > REGISTERS && full + bits <= 64);
        let register = shared.unwrap_or(full.len());
        if shared.is_none() {
            full.push(0);
        }
        places.push(Packed { register, shift: full[register], bits });
        full[register] += bits;
    }
    (full.len() <= REGISTERS).then_some(places)
}

/// The sides of an `and`, however many there are.
fn conjuncts<'e>(expr: &'e Expr, into: &mut Vec<&'e Expr>) {
    match expr {
        Expr::Binary(BinaryOp::And, a, b) => {
            conjuncts(a, into);
            conjuncts(b, into);
        }
        other => into.push(other),
    }
}

/// Whether a statement of a test reads a variable, as far as is known.
fn reads_local(stmt: &Stmt, local: LocalId) -> bool {
    match &stmt.kind {
        StmtKind::Assign { value, .. } => mentions(value, local),
        _ => true,
    }
}
