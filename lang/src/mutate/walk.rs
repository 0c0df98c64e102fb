//! A walk over a program that meets each place at which it can be changed, in the same order always. What is inside is met before what
//! it is in, so that the numbers of places do not depend on what is changed.

use super::Operator;
use super::place::Place;
use super::value::{later, negated, next};
use crate::ir::print::{Names, print_stmt};
use crate::ir::validate::{ghost_locals, is_ghost_stmt};
use crate::ir::{
    Block, Body, Element, Expr, InsertEntry, Lifetime, LifetimeFn, Local, LocalId, Output, Program, ReasonId, Scalar, Stmt,
    StmtKind, TableId, TableKind, Target, Tier,
};
use crate::span::Span;

/// Other outputs that are tried at one place.
const WAYS: usize = 3;

/// All places of a program, by number.
pub(super) fn found(program: &Program) -> Vec<Place> {
    let mut walk = Walk::new(program, Mode::Look(Vec::new()));
    walk.program(&mut program.clone());
    match walk.mode {
        Mode::Look(places) => places,
        Mode::Apply(_) => Vec::new(),
    }
}

enum Mode<'w> {
    Look(Vec<Place>),
    /// Changes what is at these places.
    Apply(&'w [usize]),
}

pub(super) struct Walk<'w> {
    of: &'w Program,
    mode: Mode<'w>,
    /// The number of the next place.
    next: usize,
    element: Option<&'w Element>,
    /// The kind of the element, in words.
    kind: &'w str,
    body: u32,
    span: Span,
    within: u32,
    /// Variables of the body that hold what depends on ghost state.
    ghost: Vec<bool>,
    /// Variables that the body is given more.
    more: Vec<Local>,
    /// Whether a handler was made to drop.
    drops: bool,
}

impl<'w> Walk<'w> {
    fn new(of: &'w Program, mode: Mode<'w>) -> Walk<'w> {
        let span = of.span;
        Walk {
            of,
            mode,
            next: 0,
            element: None,
            kind: "",
            body: 0,
            span,
            within: 0,
            ghost: Vec::new(),
            more: Vec::new(),
            drops: false,
        }
    }

    /// A walk that changes what is at some places.
    pub(super) fn apply(of: &'w Program, numbers: &'w [usize]) -> Walk<'w> {
        Walk::new(of, Mode::Apply(numbers))
    }

    /// The program as it was.
    pub(super) fn of(&self) -> &'w Program {
        self.of
    }

    /// Whether it only looks for places.
    pub(super) fn looks(&self) -> bool {
        matches!(self.mode, Mode::Look(_))
    }

    /// A statement in words: the first line of its text.
    pub(super) fn text(&self, stmt: &Stmt, body: &Body) -> String {
        print_stmt(self.of, self.element, body, stmt).lines().next().unwrap_or_default().trim_end_matches(" {").to_string()
    }

    /// Begins with the places of a statement.
    pub(super) fn begin(&mut self, span: Span) {
        self.span = span;
        self.within = 0;
    }

    /// Meets a place; whether it is to be changed.
    pub(super) fn chance(&mut self, operator: Operator, words: impl FnOnce() -> String) -> bool {
        self.way(operator, 0, words)
    }

    fn way(&mut self, operator: Operator, way: u32, words: impl FnOnce() -> String) -> bool {
        let number = self.next;
        self.next += 1;
        if way == 0 {
            self.within += 1;
        }
        match &mut self.mode {
            Mode::Look(places) => {
                let Walk { span, body, within, .. } = *self;
                places.push(Place { operator, span, element: self.kind.to_string(), words: words(), body, within, way });
                false
            }
            Mode::Apply(numbers) => numbers.contains(&number),
        }
    }

    /// The whole program. It is the one that this walk is of, or was until now.
    pub(super) fn program(&mut self, program: &mut Program) {
        let of = self.of;
        for (element, old) in program.elements.iter_mut().zip(&of.elements) {
            (self.element, self.kind) = (Some(old), &old.kind);
            for (input, before) in element.inputs.iter_mut().zip(&old.inputs) {
                self.handler(&mut input.body, &before.body, &before.name, true);
            }
            for (timer, before) in element.timers.iter_mut().zip(&old.timers) {
                self.handler(&mut timer.body, &before.body, "every", false);
                self.begin(old.span);
                let every = later(timer.every);
                if self.chance(Operator::OffByOne, || format!("every {}ns -> every {every}ns", before.every)) {
                    timer.every = every;
                }
            }
            if let (Some(body), Some(before)) = (&mut element.update, &old.update) {
                self.handler(body, before, "update", false);
            }
        }
        if self.drops && program.reasons.is_empty() {
            program.reasons.push("dropped".to_string());
        }
        for table in &mut program.tables {
            self.body += 1;
            (self.element, self.kind) = (None, of.elements.get(table.element.index()).map_or("", |e| e.kind.as_str()));
            if matches!(table.role, crate::ir::Role::Ghost) {
                continue;
            }
            let name = table.name.rsplit('.').next().unwrap_or_default().to_string();
            self.begin(table.span);
            if let TableKind::Bucket { rate, burst } = &mut table.kind {
                self.number(rate, &format!("the rate of `{name}`"), next);
                self.number(burst, &format!("the burst of `{name}`"), next);
            }
            match &mut table.lifetime {
                Lifetime::Idle(lifetime) | Lifetime::Fixed(lifetime) if !matches!(table.kind, TableKind::Bucket { .. }) => {
                    self.lifetime(lifetime, &name);
                }
                _ => {}
            }
        }
    }

    /// How long entries live.
    fn lifetime(&mut self, lifetime: &mut LifetimeFn, name: &str) {
        let what = format!("the lifetime of `{name}`");
        fn durations<'b>(block: &'b mut Block, into: &mut Vec<&'b mut Expr>) {
            for stmt in block {
                match &mut stmt.kind {
                    StmtKind::Assign { value, .. } => into.push(value),
                    StmtKind::If { then, other, .. } => {
                        durations(then, into);
                        durations(other, into);
                    }
                    StmtKind::Switch { cases, default, .. } => {
                        cases.iter_mut().for_each(|(_, _, block)| durations(block, into));
                        durations(default, into);
                    }
                    _ => {}
                }
            }
        }
        let mut all = Vec::new();
        durations(&mut lifetime.body.block, &mut all);
        for expr in all.into_iter().chain(&mut lifetime.result) {
            self.time(expr, &what);
        }
    }

    /// The times in an expression.
    fn time(&mut self, expr: &mut Expr, what: &str) {
        match expr {
            Expr::Const(_, Scalar::Bits(64)) => {
                self.number(expr, what, |n, _| u64::try_from(n).map_or(n, |n| later(n).into()));
            }
            Expr::Select(_, a, b) => [a, b].into_iter().for_each(|e| self.time(e, what)),
            _ => {}
        }
    }

    fn number(&mut self, expr: &mut Expr, what: &str, other: impl FnOnce(u128, u8) -> u128) {
        if let Expr::Const(value, Scalar::Bits(width)) = expr {
            let new = other(*value, *width);
            let old = *value;
            if self.chance(Operator::OffByOne, || format!("{what}: {old} -> {new}")) {
                *value = new;
            }
        }
    }

    /// A handler; `before` is what it was.
    fn handler(&mut self, body: &mut Body, before: &'w Body, name: &str, packet: bool) {
        self.body += 1;
        self.ghost = ghost_locals(self.of, before);
        self.more = Vec::new();
        let names = Names::of_body(self.of, before);
        self.block(&mut body.block, &names, before);
        body.locals.append(&mut self.more);
        let Some(first) = before.block.first() else { return };
        self.begin(first.span);
        let name = name.split(['/', '[']).next().unwrap_or_default();
        let what = if packet { "drops at once" } else { "does nothing" };
        if self.chance(Operator::DropAll, || format!("`on {name}` {what}")) {
            let drop = Stmt { kind: StmtKind::Drop { reason: a_reason(before) }, span: first.span };
            body.block = if packet { vec![drop] } else { Vec::new() };
            self.drops |= packet;
        }
    }

    fn block(&mut self, block: &mut Block, names: &Names<'_>, body: &'w Body) {
        let mut stmts = std::mem::take(block);
        for stmt in &mut stmts {
            if !self.is_ghost(stmt) {
                self.inner(stmt, names, body);
            }
        }
        // The checksums that follow a field which is not written.
        let mut unwritten = None;
        let mut ended = false;
        for stmt in stmts {
            let follows = matches!(stmt.kind, StmtKind::UpdateChecksum { .. }) && unwritten == Some(stmt.span);
            let (span, field) = (stmt.span, matches!(stmt.kind, StmtKind::SetField { .. }));
            let (new, changed) = if self.is_ghost(&stmt) { (vec![stmt], false) } else { self.stmt(stmt, names, body) };
            if field && changed {
                unwritten = Some(span);
            }
            if !ended && !follows {
                ended = changed && new.last().is_some_and(ends);
                block.extend(new);
            }
        }
    }

    fn is_ghost(&self, stmt: &Stmt) -> bool {
        is_ghost_stmt(self.of, &self.ghost, &stmt.kind)
    }

    /// What is inside of a statement.
    fn inner(&mut self, stmt: &mut Stmt, names: &Names<'_>, body: &'w Body) {
        self.expressions(stmt, names, body);
        match &mut stmt.kind {
            // What is decided comes from a loop that was expanded: the other side never runs.
            StmtKind::If { cond: Expr::Const(0, _), other, .. } => self.block(other, names, body),
            StmtKind::If { cond: Expr::Const(..), then, .. } => self.block(then, names, body),
            StmtKind::If { then, other, .. } => [then, other].into_iter().for_each(|block| self.block(block, names, body)),
            StmtKind::Switch { cases, default, .. } => {
                cases.iter_mut().for_each(|(_, _, block)| self.block(block, names, body));
                self.block(default, names, body);
            }
            StmtKind::Parse { ok, malformed, .. } => {
                [ok, malformed].into_iter().for_each(|block| self.block(block, names, body));
            }
            StmtKind::First { test, .. } => self.block(test, names, body),
            StmtKind::Choose { test, tiers, .. } => {
                self.block(test, names, body);
                for tier in tiers {
                    if let Tier::Test(block, _) = tier {
                        self.block(block, names, body);
                    }
                }
            }
            _ => {}
        }
    }

    /// What becomes of a statement, and whether it is something else.
    fn stmt(&mut self, stmt: Stmt, names: &Names<'_>, body: &'w Body) -> (Vec<Stmt>, bool) {
        let text = if self.looks() { self.text(&stmt, body) } else { String::new() };
        // Behind the expressions.
        self.begin(stmt.span);
        self.within = 1_000;
        let span = stmt.span;
        let at = |kind: StmtKind| Stmt { kind, span };
        match &stmt.kind {
            StmtKind::If { cond, then, other } if !(matches!(cond, Expr::Const(..)) || is_bare(then) && is_bare(other)) => {
                let turned = negated(cond);
                let cond = names.expr(cond);
                let negate = self.chance(Operator::NegateGuard, || format!("`{cond}` -> `{}`", names.expr(&turned)));
                let always = self.chance(Operator::RemoveBranch, || format!("as if `{cond}` always held"));
                let never = self.chance(Operator::RemoveBranch, || format!("as if `{cond}` never held"));
                if always {
                    return (then.clone(), true);
                } else if never {
                    return (other.clone(), true);
                } else if negate {
                    return (vec![at(StmtKind::If { cond: turned, then: then.clone(), other: other.clone() })], true);
                }
            }
            StmtKind::Switch { on, cases, default } => {
                let mut left = Vec::new();
                for case in cases {
                    let removed = self.chance(Operator::RemoveBranch, || {
                        format!("the case `{} == {}` goes the default way", names.expr(on), case.0)
                    });
                    if !removed {
                        left.push(case.clone());
                    }
                }
                if left.len() < cases.len() {
                    return (vec![at(StmtKind::Switch { on: on.clone(), cases: left, default: default.clone() })], true);
                }
            }
            StmtKind::Assign { .. }
            | StmtKind::SetField { .. }
            | StmtKind::Pop { .. }
            | StmtKind::SetValue { .. }
            | StmtKind::Remove { .. }
            | StmtKind::ExpireAt { .. }
            | StmtKind::WriteArray { .. }
            | StmtKind::WriteCell { .. }
            | StmtKind::Count { .. }
                if self.chance(Operator::DropUpdate, || format!("without `{text}`")) =>
            {
                return (Vec::new(), true);
            }
            StmtKind::Take { result, .. }
                if self.chance(Operator::DropUpdate, || format!("without `{text}`, as if it conformed")) =>
            {
                return (vec![at(StmtKind::Assign { dst: *result, value: Expr::Const(0, Scalar::Bits(8)) })], true);
            }
            StmtKind::UpdateChecksum { .. } if self.chance(Operator::DropChecksum, || format!("without `{text}`")) => {
                return (Vec::new(), true);
            }
            StmtKind::Lookup { touch: true, .. }
                if self.chance(Operator::SkipRefresh, || format!("`{text}` without the touch")) =>
            {
                let mut stmt = stmt;
                if let StmtKind::Lookup { touch, .. } = &mut stmt.kind {
                    *touch = false;
                }
                return (vec![stmt], true);
            }
            StmtKind::Insert { entries, ok } => return self.insert(&stmt, entries, *ok, &text, body),
            StmtKind::Emit { output, args } => {
                let ways = self.outputs().iter().enumerate().map(|(at, o)| (at as u32, o));
                let (before, after): (Vec<_>, Vec<_>) = ways.filter(|(at, _)| at != output).partition(|(at, _)| at < output);
                for (way, (other, declared)) in (0..).zip(after.into_iter().chain(before).take(WAYS)) {
                    if self.way(Operator::SwapOutput, way, || format!("`{text}` -> `emit {}`", declared.name)) {
                        return (vec![at(StmtKind::Emit { output: other, args: args.clone() })], true);
                    }
                }
            }
            StmtKind::Drop { .. } => {
                let bare = |output: &Output| match output.target {
                    Target::Port(_) => true,
                    Target::Input(to) => {
                        let input = self.of.elements.get(to.element.index()).and_then(|e| e.inputs.get(to.input as usize));
                        input.is_some_and(|input| input.args.is_empty())
                    }
                };
                let ways: Vec<_> = (0..).zip(self.outputs()).filter(|(_, output)| bare(output)).take(WAYS).collect();
                for (way, (output, declared)) in (0..).zip(ways) {
                    if self.way(Operator::KeepNotDrop, way, || format!("`{text}` -> `emit {}`", declared.name)) {
                        return (vec![at(StmtKind::Emit { output, args: Vec::new() })], true);
                    }
                }
            }
            _ => {}
        }
        (vec![stmt], false)
    }

    fn outputs(&self) -> &'w [Output] {
        self.element.map_or(&[], |element| &element.outputs)
    }

    fn insert(&mut self, stmt: &Stmt, entries: &[InsertEntry], ok: LocalId, text: &str, body: &'w Body) -> (Vec<Stmt>, bool) {
        let at = |kind: StmtKind| Stmt { kind, span: stmt.span };
        let done = || at(StmtKind::Assign { dst: ok, value: Expr::Const(1, Scalar::Bool) });
        if self.chance(Operator::DropUpdate, || format!("without `{text}`, as if it succeeded")) {
            return (vec![done()], true);
        }
        if entries.len() > 1 {
            for (index, entry) in entries.iter().enumerate() {
                let name = self.of.tables.get(entry.table.index()).map_or("", |t| t.name.as_str());
                if self.chance(Operator::DropUpdate, || format!("without the entry of `{name}` in `{text}`")) {
                    let mut left = entries.to_vec();
                    left.remove(index);
                    return (vec![at(StmtKind::Insert { entries: left, ok })], true);
                }
            }
        }
        let [entry] = entries else { return (vec![stmt.clone()], false) };
        let refreshes = |id: TableId| self.of.tables.get(id.index()).is_some_and(|t| matches!(t.lifetime, Lifetime::Idle(_)));
        if entry.or_update
            && refreshes(entry.table)
            && self.chance(Operator::SkipRefresh, || format!("`{text}` without a refresh of what is there"))
        {
            let columns = self.of.tables.get(entry.table.index()).map_or(&[][..], |t| &t.value);
            let mut local = |ty| {
                let id = LocalId((body.locals.len() + self.more.len()) as u32);
                self.more.push(Local { name: format!("before_{}", self.more.len()), ty });
                id
            };
            let found = local(Scalar::Bool);
            let value = columns.iter().map(|column| local(column.ty)).collect();
            let InsertEntry { table, key, .. } = entry.clone();
            let look = StmtKind::Lookup { table, key: key.clone(), touch: false, found, value };
            let mut then = Vec::new();
            if !entry.value.is_empty() {
                then.push(at(StmtKind::SetValue { table, key, value: entry.value.clone() }));
            }
            then.push(done());
            let other = vec![stmt.clone()];
            return (vec![at(look), at(StmtKind::If { cond: Expr::Local(found), then, other })], true);
        }
        (vec![stmt.clone()], false)
    }
}

/// Whether nothing is done there.
fn is_bare(block: &Block) -> bool {
    block.iter().all(|stmt| matches!(stmt.kind, StmtKind::Branch { .. }))
}

/// Whether no way leads out of a statement.
fn ends(stmt: &Stmt) -> bool {
    let all = |block: &Block| block.last().is_some_and(ends);
    match &stmt.kind {
        StmtKind::Drop { .. } => true,
        StmtKind::If { then, other, .. } => all(then) && all(other),
        StmtKind::Switch { cases, default, .. } => cases.iter().all(|(_, _, block)| all(block)) && all(default),
        StmtKind::Parse { ok, malformed, .. } => all(ok) && all(malformed),
        _ => false,
    }
}

/// The first reason for a drop in a body, or else the first of all.
fn a_reason(body: &Body) -> ReasonId {
    fn first(block: &Block) -> Option<ReasonId> {
        block.iter().find_map(|stmt| match &stmt.kind {
            StmtKind::Drop { reason } => Some(*reason),
            StmtKind::If { then, other, .. } => first(then).or_else(|| first(other)),
            StmtKind::Switch { cases, default, .. } => {
                cases.iter().find_map(|(_, _, block)| first(block)).or_else(|| first(default))
            }
            StmtKind::Parse { ok, malformed, .. } => first(ok).or_else(|| first(malformed)),
            _ => None,
        })
    }
    first(&body.block).unwrap_or(ReasonId(0))
}
