//! The same statements with expressions written another way.

use super::spec::{AfterEvent, Emission, Outcome, Since};
use super::{Body, Change, EventPattern, Form, InsertEntry, Lifetime, LifetimeFn, Property, SpecStmt, Stmt, StmtKind, Tier};

/// Expressions, each written another way.
fn all<E, F>(exprs: &[E], write: &mut impl FnMut(&E) -> F) -> Vec<F> {
    exprs.iter().map(write).collect()
}

/// The same block with expressions as `write` says.
pub fn block<E, F>(block: &[Stmt<E>], write: &mut impl FnMut(&E) -> F) -> Vec<Stmt<F>> {
    let mut stmts = Vec::with_capacity(block.len());
    for stmt in block {
        stmts.push(Stmt { kind: kind(&stmt.kind, write), span: stmt.span });
    }
    stmts
}

/// The same body.
pub fn body<E, F>(body: &Body<E>, write: &mut impl FnMut(&E) -> F) -> Body<F> {
    Body {
        locals: body.locals.clone(),
        handles: body.handles.clone(),
        packets: body.packets.clone(),
        block: block(&body.block, write),
    }
}

/// The same lifetime.
pub fn lifetime<E, F>(lifetime: &Lifetime<E>, write: &mut impl FnMut(&Body<E>, &E) -> F) -> Lifetime<F> {
    let mut function = |function: &LifetimeFn<E>| {
        let write = &mut |expr: &E| write(&function.body, expr);
        LifetimeFn { body: body(&function.body, write), result: all(&function.result, write) }
    };
    match lifetime {
        Lifetime::Forever => Lifetime::Forever,
        Lifetime::Idle(of) => Lifetime::Idle(function(of)),
        Lifetime::Fixed(of) => Lifetime::Fixed(function(of)),
        Lifetime::IdleWith { table, key } => Lifetime::IdleWith { table: *table, key: function(key) },
    }
}

/// The same property.
pub fn property<E, F>(property: &Property<E>, write: &mut impl FnMut(&E) -> F) -> Property<F> {
    Property {
        name: property.name.clone(),
        span: property.span,
        claim: property.claim.clone(),
        sources: property.sources.clone(),
        rows: property.rows.clone(),
        gravel: property.gravel.clone(),
        assumed: property.assumed.clone(),
        body: body(&property.body, write),
        form: form(&property.form, write),
    }
}

fn form<E, F>(form: &Form<E>, write: &mut impl FnMut(&E) -> F) -> Form<F> {
    match form {
        Form::Always { block: of, holds } => Form::Always { block: block(of, write), holds: *holds },
        Form::Step { packets, block: of, premise, holds } => {
            Form::Step { packets: packets.clone(), block: block(of, write), premise: *premise, holds: *holds }
        }
        Form::Persists { once, then, outcome, since, condition, holds } => Form::Persists {
            once: pattern(once, write),
            then: pattern(then, write),
            outcome: Outcome { emits: outcome.emits.as_ref().map(|emits| emission(emits, write)), drops: outcome.drops.clone() },
            since: since.iter().map(|since| Since { event: pattern(&since.event, write), elapsed: since.elapsed }).collect(),
            condition: block(condition, write),
            holds: *holds,
        },
        Form::OnlyAfter { then, after, within, unless } => Form::OnlyAfter {
            then: pattern(then, write),
            after: pattern(after, write),
            within: within.as_ref().map(&mut *write),
            unless: unless.as_ref().map(|unless| pattern(unless, write)),
        },
        Form::Independent { observed, from, except } => {
            Form::Independent { observed: pattern(observed, write), from: pattern(from, write), except: except.clone() }
        }
        Form::Bound { event, amount, key, interval, block: of, limit } => Form::Bound {
            event: pattern(event, write),
            amount: write(amount),
            key: all(key, write),
            interval: *interval,
            block: block(of, write),
            limit: write(limit),
        },
        Form::Reachable { event } => Form::Reachable { event: pattern(event, write) },
    }
}

fn pattern<E, F>(pattern: &EventPattern<E>, write: &mut impl FnMut(&E) -> F) -> EventPattern<F> {
    EventPattern {
        span: pattern.span,
        packet: pattern.packet,
        port: pattern.port,
        emits: pattern.emits,
        drops: pattern.drops.clone(),
        block: block(&pattern.block, write),
        matches: pattern.matches,
    }
}

fn emission<E, F>(emission: &Emission<E>, write: &mut impl FnMut(&E) -> F) -> Emission<F> {
    Emission { port: emission.port, packet: emission.packet, block: block(&emission.block, write), matches: emission.matches }
}

/// The same statement.
fn kind<E, F>(kind: &StmtKind<E>, write: &mut impl FnMut(&E) -> F) -> StmtKind<F> {
    match kind {
        StmtKind::Assign { dst, value } => StmtKind::Assign { dst: *dst, value: write(value) },
        StmtKind::If { cond, then, other } => {
            StmtKind::If { cond: write(cond), then: block(then, write), other: block(other, write) }
        }
        StmtKind::Branch { implied } => StmtKind::Branch { implied: *implied },
        StmtKind::Switch { on, cases, default } => StmtKind::Switch {
            on: write(on),
            cases: cases.iter().map(|(value, span, case)| (*value, *span, block(case, write))).collect(),
            default: block(default, write),
        },
        StmtKind::Check { cond, what } => StmtKind::Check { cond: write(cond), what: *what },
        StmtKind::Parse { packet, header, after, into, ok, malformed } => StmtKind::Parse {
            packet: *packet,
            header: *header,
            after: *after,
            into: *into,
            ok: block(ok, write),
            malformed: block(malformed, write),
        },
        StmtKind::SetField { handle, field, value } => StmtKind::SetField { handle: *handle, field: *field, value: write(value) },
        StmtKind::UpdateChecksum { handle, field, optional, changes } => {
            let change = |change: &Change<E>| Change {
                old: write(&change.old),
                new: write(&change.new),
                width: change.width,
                shift: change.shift,
            };
            let changes = changes.iter().map(change).collect();
            StmtKind::UpdateChecksum { handle: *handle, field: *field, optional: *optional, changes }
        }
        StmtKind::VerifyChecksums { handle, result } => StmtKind::VerifyChecksums { handle: *handle, result: *result },
        StmtKind::Push { header, before, into, fields, ok } => {
            StmtKind::Push { header: *header, before: *before, into: *into, fields: all(fields, write), ok: *ok }
        }
        StmtKind::Pop { handle } => StmtKind::Pop { handle: *handle },
        StmtKind::Emit { output, args } => StmtKind::Emit { output: *output, args: all(args, write) },
        StmtKind::Drop { reason } => StmtKind::Drop { reason: *reason },
        StmtKind::Lookup { table, key, touch, found, value } => {
            StmtKind::Lookup { table: *table, key: all(key, write), touch: *touch, found: *found, value: value.clone() }
        }
        StmtKind::Longest { table, key, found, length, value } => {
            StmtKind::Longest { table: *table, key: write(key), found: *found, length: *length, value: value.clone() }
        }
        StmtKind::Insert { entries, ok } => {
            let entry = |entry: &InsertEntry<E>| InsertEntry {
                table: entry.table,
                key: all(&entry.key, write),
                value: all(&entry.value, write),
                or_update: entry.or_update,
            };
            StmtKind::Insert { entries: entries.iter().map(entry).collect(), ok: *ok }
        }
        StmtKind::SetValue { table, key, value } => {
            StmtKind::SetValue { table: *table, key: all(key, write), value: all(value, write) }
        }
        StmtKind::Remove { table, key } => StmtKind::Remove { table: *table, key: all(key, write) },
        StmtKind::ExpireAt { table, key, at } => StmtKind::ExpireAt { table: *table, key: all(key, write), at: write(at) },
        StmtKind::Take { table, key, amount, result } => {
            StmtKind::Take { table: *table, key: all(key, write), amount: write(amount), result: *result }
        }
        StmtKind::ReadArray { table, index, value } => {
            StmtKind::ReadArray { table: *table, index: write(index), value: value.clone() }
        }
        StmtKind::WriteArray { table, index, value } => {
            StmtKind::WriteArray { table: *table, index: write(index), value: all(value, write) }
        }
        StmtKind::ReadCell { table, value } => StmtKind::ReadCell { table: *table, value: value.clone() },
        StmtKind::WriteCell { table, value } => StmtKind::WriteCell { table: *table, value: all(value, write) },
        StmtKind::Count { table, index, amount } => StmtKind::Count { table: *table, index: write(index), amount: write(amount) },
        StmtKind::ReadCounter { table, index, value } => {
            StmtKind::ReadCounter { table: *table, index: write(index), value: *value }
        }
        StmtKind::First { table, index, value, test, holds, found } => StmtKind::First {
            table: *table,
            index: *index,
            value: value.clone(),
            test: block(test, write),
            holds: *holds,
            found: *found,
        },
        StmtKind::Choose { var, low, high, within, test, holds, tiers, ok } => StmtKind::Choose {
            var: *var,
            low: write(low),
            high: write(high),
            within: *within,
            test: block(test, write),
            holds: *holds,
            tiers: tiers.iter().map(|each| tier(each, write)).collect(),
            ok: *ok,
        },
        StmtKind::Spec(stmt) => StmtKind::Spec(Box::new(spec(stmt, write))),
        StmtKind::Test(stmt) => StmtKind::Test(stmt.clone()),
    }
}

fn tier<E, F>(tier: &Tier<E>, write: &mut impl FnMut(&E) -> F) -> Tier<F> {
    match tier {
        Tier::Exactly(value) => Tier::Exactly(write(value)),
        Tier::Test(test, holds) => Tier::Test(block(test, write), *holds),
    }
}

fn spec<E, F>(stmt: &SpecStmt<E>, write: &mut impl FnMut(&E) -> F) -> SpecStmt<F> {
    match stmt {
        SpecStmt::Entries { quantifier, table, key, value, block: of, holds, result } => SpecStmt::Entries {
            quantifier: *quantifier,
            table: *table,
            key: key.clone(),
            value: value.clone(),
            block: block(of, write),
            holds: *holds,
            result: *result,
        },
        SpecStmt::Range { quantifier, var, low, high, block: of, holds, result } => SpecStmt::Range {
            quantifier: *quantifier,
            var: *var,
            low: write(low),
            high: write(high),
            block: block(of, write),
            holds: *holds,
            result: *result,
        },
        SpecStmt::Deadline { table, key, result } => SpecStmt::Deadline { table: *table, key: all(key, write), result: *result },
        SpecStmt::Size { table, result } => SpecStmt::Size { table: *table, result: *result },
        SpecStmt::Full { table, result } => SpecStmt::Full { table: *table, result: *result },
        SpecStmt::Tokens { table, key, result } => SpecStmt::Tokens { table: *table, key: all(key, write), result: *result },
        SpecStmt::Emits { quantifier, packet, port, on, into, block: of, holds, result } => SpecStmt::Emits {
            quantifier: *quantifier,
            packet: *packet,
            port: *port,
            on: *on,
            into: *into,
            block: block(of, write),
            holds: *holds,
            result: *result,
        },
        SpecStmt::Drops { packet, port, reasons, result } => {
            SpecStmt::Drops { packet: *packet, port: *port, reasons: reasons.clone(), result: *result }
        }
        SpecStmt::Refused { packet, port, choice, tier, result } => {
            SpecStmt::Refused { packet: *packet, port: *port, choice: choice.clone(), tier: *tier, result: *result }
        }
        SpecStmt::After { event, block: of } => {
            let event = match event {
                AfterEvent::Packet(packet, port) => AfterEvent::Packet(*packet, *port),
                AfterEvent::Time(duration) => AfterEvent::Time(write(duration)),
            };
            SpecStmt::After { event, block: block(of, write) }
        }
        SpecStmt::Same { left, right, except, result } => {
            SpecStmt::Same { left: *left, right: *right, except: except.clone(), result: *result }
        }
        SpecStmt::SameBody { left, right, result } => SpecStmt::SameBody { left: *left, right: *right, result: *result },
    }
}
