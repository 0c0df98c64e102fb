//! What a program does with its tables, found out before anything is lowered: by that is decided how they are kept.

use grv_lang::ir::validate::{assigned, read, validate};
use grv_lang::ir::{self, BinaryOp, Body, Expr, Lifetime, LocalId, Role, Scalar, Stmt, StmtKind, TableId, Tier};
use std::collections::BTreeSet;

/// Whether handlers change values of the table's entries while they live.
pub(super) fn changes(program: &ir::Program, id: TableId) -> bool {
    let mut any = false;
    statements(program, &mut |_, stmt| match &stmt.kind {
        StmtKind::SetValue { table, .. } => any |= *table == id,
        StmtKind::Insert { entries, .. } => {
            let updated = |e: &ir::InsertEntry| e.table == id && e.or_update && !e.value.is_empty();
            any |= entries.iter().any(updated);
        }
        _ => {}
    });
    any
}

/// Whether handlers set deadlines of the table's entries outright.
pub(super) fn expires(program: &ir::Program, id: TableId) -> bool {
    let mut any = false;
    statements(program, &mut |_, stmt| any |= matches!(&stmt.kind, StmtKind::ExpireAt { table, .. } if *table == id));
    any
}

/// Whether handlers search a table for the first element for which a test holds.
pub(super) fn is_searched(program: &ir::Program, id: TableId) -> bool {
    let mut any = false;
    statements(program, &mut |_, stmt| any |= matches!(&stmt.kind, StmtKind::First { table, .. } if *table == id));
    any
}

/// How many bits what handlers write into a column can have.
pub(super) fn written(program: &ir::Program, id: TableId, column: usize) -> u8 {
    let mut most = 1;
    let mut note = |body: &Body, value: Option<&Expr>| {
        let bits = match value {
            Some(Expr::Const(value, _)) => (128 - value.leading_zeros()) as u8,
            Some(Expr::Local(local)) => match body.locals.get(local.index()).map(|l| l.ty) {
                Some(Scalar::Bits(width)) => width,
                _ => 1,
            },
            Some(Expr::Binary(op, ..)) if op.compares() => 1,
            _ => 128,
        };
        most = most.max(bits);
    };
    statements(program, &mut |body, stmt| match &stmt.kind {
        StmtKind::SetValue { table, value, .. } if *table == id => note(body, value.get(column)),
        StmtKind::Insert { entries, .. } => {
            entries.iter().filter(|entry| entry.table == id).for_each(|entry| note(body, entry.value.get(column)));
        }
        _ => {}
    });
    most
}

/// All statements of a block, and of those in them.
fn walk<'p>(body: &'p Body, block: &'p [Stmt], visit: &mut dyn FnMut(&'p Body, &'p Stmt)) {
    for stmt in block {
        visit(body, stmt);
        match &stmt.kind {
            StmtKind::If { then, other, .. } => [then, other].into_iter().for_each(|b| walk(body, b, visit)),
            StmtKind::Switch { cases, default, .. } => {
                cases.iter().map(|(_, _, b)| b).chain([default]).for_each(|b| walk(body, b, visit));
            }
            StmtKind::Parse { ok, malformed, .. } => [ok, malformed].into_iter().for_each(|b| walk(body, b, visit)),
            StmtKind::First { test, .. } => walk(body, test, visit),
            StmtKind::Choose { test, tiers, .. } => {
                walk(body, test, visit);
                for tier in tiers {
                    if let Tier::Test(block, _) = tier {
                        walk(body, block, visit);
                    }
                }
            }
            _ => {}
        }
    }
}

/// All statements of handlers of packets.
pub(super) fn statements<'p>(program: &'p ir::Program, visit: &mut dyn FnMut(&'p Body, &'p Stmt)) {
    for input in program.elements.iter().flat_map(|element| &element.inputs) {
        walk(&input.body, &input.body.block, visit);
    }
}

/// The columns of a table's value that `set` changes: those to which it gives anything but what was looked up in the same column.
/// (That it was looked up in the same entry is checked when the program is lowered.)
pub(super) fn changed(program: &ir::Program, id: TableId) -> BTreeSet<usize> {
    let mut changed = BTreeSet::new();
    statements(program, &mut |body, stmt| {
        if let StmtKind::SetValue { table, value, .. } = &stmt.kind
            && *table == id
        {
            for (column, value) in value.iter().enumerate() {
                let kept = matches!(value, Expr::Local(local) if is_column(program, body, *local, id, column));
                if !kept {
                    changed.insert(column);
                }
            }
        }
    });
    changed
}

/// Whether a variable is what was looked up in a column, wherever it is not a number that stands for nothing.
fn is_column(program: &ir::Program, body: &Body, local: LocalId, id: TableId, column: usize) -> bool {
    let mut work = vec![local];
    let mut seen = BTreeSet::new();
    let mut found = false;
    while let Some(local) = work.pop() {
        if !seen.insert(local) {
            continue;
        }
        let mut other = is_given(program, body, local);
        statements(program, &mut |of, stmt| {
            if !std::ptr::eq(of, body) {
                return;
            }
            match &stmt.kind {
                StmtKind::Lookup { table, value, .. } if value.contains(&local) => {
                    let same = *table == id && value.get(column) == Some(&local);
                    found |= same;
                    other |= !same;
                }
                StmtKind::Assign { dst, value } if *dst == local => match value {
                    Expr::Local(from) => work.push(*from),
                    Expr::Const(..) => {}
                    _ => other = true,
                },
                _ => {}
            }
        });
        if other {
            return false;
        }
    }
    found
}

/// Whether a statement that is no assignment gives a variable a value.
pub(super) fn defines(kind: &StmtKind, local: LocalId) -> bool {
    match kind {
        StmtKind::Lookup { found, value, .. } => *found == local || value.contains(&local),
        StmtKind::Longest { found, length, value, .. } => [*found, *length].contains(&local) || value.contains(&local),
        StmtKind::VerifyChecksums { result, .. } | StmtKind::Take { result, .. } => *result == local,
        StmtKind::Push { ok, .. } | StmtKind::Insert { ok, .. } => *ok == local,
        StmtKind::ReadArray { value, .. } | StmtKind::ReadCell { value, .. } => value.contains(&local),
        StmtKind::ReadCounter { value, .. } => *value == local,
        StmtKind::First { index, value, holds, found, .. } => [*index, *holds, *found].contains(&local) || value.contains(&local),
        StmtKind::Choose { var, holds, ok, tiers, .. } => {
            let tier = |tier: &Tier| matches!(tier, Tier::Test(_, holds) if *holds == local);
            [*var, *holds, *ok].contains(&local) || tiers.iter().any(tier)
        }
        // These give no variable a value, or assign it. (All are named: what is added to the IR is to be thought of.)
        StmtKind::Assign { .. }
        | StmtKind::If { .. }
        | StmtKind::Branch { .. }
        | StmtKind::Switch { .. }
        | StmtKind::Check { .. }
        | StmtKind::Parse { .. }
        | StmtKind::SetField { .. }
        | StmtKind::UpdateChecksum { .. }
        | StmtKind::Pop { .. }
        | StmtKind::Emit { .. }
        | StmtKind::Drop { .. }
        | StmtKind::SetValue { .. }
        | StmtKind::Remove { .. }
        | StmtKind::ExpireAt { .. }
        | StmtKind::WriteArray { .. }
        | StmtKind::WriteCell { .. }
        | StmtKind::Count { .. }
        | StmtKind::Spec(_)
        | StmtKind::Test(_) => false,
    }
}

/// Whether a variable comes beside the packet.
pub(super) fn is_given(program: &ir::Program, body: &Body, local: LocalId) -> bool {
    local.index() < given(program, body)
}

/// How many variables come beside the packet.
fn given(program: &ir::Program, body: &Body) -> usize {
    let mut inputs = program.elements.iter().flat_map(|element| &element.inputs);
    inputs.find(|input| std::ptr::eq(&input.body, body)).map_or(0, |input| input.args.len())
}

/// The table whose entries' deadlines those of this one share.
pub(super) fn owner(program: &ir::Program, id: TableId) -> Option<TableId> {
    match program.tables.get(id.index()).map(|table| &table.lifetime) {
        Some(Lifetime::IdleWith { table, .. }) => Some(*table),
        _ => None,
    }
}

/// Whether other tables share their deadlines with entries of this one.
pub(super) fn is_shared(program: &ir::Program, id: TableId) -> bool {
    (0..program.tables.len() as u32).any(|other| owner(program, TableId(other)) == Some(id))
}

/// Whether only time kills entries of a table: nobody removes one, and deadlines are set to what is still to come. What was seen
/// alive is then alive at the time of the step, whatever others do meanwhile.
pub(super) fn only_ages(program: &ir::Program, id: TableId) -> bool {
    let mut ages = true;
    statements(program, &mut |body, stmt| match &stmt.kind {
        StmtKind::Remove { table, .. } => ages &= *table != id,
        StmtKind::ExpireAt { table, at, .. } if *table == id => ages &= is_to_come(program, body, at),
        _ => {}
    });
    ages
}

/// Whether an expression is the step's time and more.
fn is_to_come(program: &ir::Program, body: &Body, at: &Expr) -> bool {
    let Some((now, Expr::Const(more, _))) = sum(at) else { return false };
    is_now(program, body, now) && *more > 0
}

/// The parts of a sum.
pub(super) fn sum(at: &Expr) -> Option<(&Expr, &Expr)> {
    if let Expr::Binary(BinaryOp::Add | BinaryOp::SatAdd, a, b) = at { Some((a, b)) } else { None }
}

/// Whether an expression is the step's time.
fn is_now(program: &ir::Program, body: &Body, expr: &Expr) -> bool {
    match expr {
        Expr::Now => true,
        Expr::Local(local) => !is_given(program, body, *local) && is_only_now(body, *local),
        _ => false,
    }
}

/// Whether a variable that does not come beside the packet is given no value but the step's time.
fn is_only_now(body: &Body, local: LocalId) -> bool {
    let (mut any, mut only) = (false, true);
    walk(body, &body.block, &mut |_, stmt| {
        if assigned(&stmt.kind).contains(&local) {
            any = true;
            only &= matches!(stmt.kind, StmtKind::Assign { value: Expr::Now, .. });
        }
    });
    any && only
}

/// Whether a variable is the step's time, and nothing depends on it but checks, and deadlines of tables of a kind, which are a sum of it and more.
pub(super) fn is_for_deadlines(program: &ir::Program, body: &Body, local: LocalId, kind: &dyn Fn(TableId) -> bool) -> bool {
    if !is_now(program, body, &Expr::Local(local)) {
        return false;
    }
    let mut only = true;
    walk(body, &body.block, &mut |_, stmt| match &stmt.kind {
        StmtKind::Check { .. } => {}
        StmtKind::ExpireAt { table, key, at } if kind(*table) => {
            let mentioned = |expr: &Expr| super::flow::mentions(expr, local);
            only &= !key.iter().any(mentioned) && sum(at).is_some_and(|(_, more)| !mentioned(more));
        }
        other => only &= !read(other).contains(&local),
    });
    only
}

/// Whether entries of a table live for whole ticks of so many nanoseconds, and at most so long: all lifetimes are known numbers, and deadlines
/// that are set outright are the step's time and such numbers.
pub(super) fn lasts_whole(program: &ir::Program, id: TableId, tick: u64, most: u64) -> bool {
    let table = &program.tables[id.index()];
    let whole = |numbers: Option<Vec<u128>>| {
        numbers.is_some_and(|numbers| numbers.iter().all(|n| n % u128::from(tick) == 0 && *n <= most.into()))
    };
    let mut all = match &table.lifetime {
        Lifetime::Idle(function) | Lifetime::Fixed(function) => {
            let given = table.key.len() + table.value.len();
            function.result.first().is_some_and(|result| whole(numbers(&function.body, given, result)))
        }
        Lifetime::Forever | Lifetime::IdleWith { .. } => true,
    };
    statements(program, &mut |body, stmt| match &stmt.kind {
        StmtKind::ExpireAt { table, at, .. } if *table == id => {
            let more = sum(at).filter(|(now, _)| is_now(program, body, now)).map(|(_, more)| more);
            all &= more.is_some_and(|more| whole(numbers(body, given(program, body), more)));
        }
        _ => {}
    });
    all
}

/// All numbers that an expression can be, if that is known. The first variables come from elsewhere.
fn numbers(body: &Body, given: usize, expr: &Expr) -> Option<Vec<u128>> {
    let (mut found, mut work, mut seen) = (Vec::new(), vec![expr], BTreeSet::new());
    while let Some(expr) = work.pop() {
        match expr {
            Expr::Const(number, _) => found.push(*number),
            Expr::Select(_, a, b) => work.extend([&**a, &**b]),
            Expr::Local(local) if local.index() < given => return None,
            Expr::Local(local) => {
                if !seen.insert(*local) {
                    continue;
                }
                let mut other = false;
                walk(body, &body.block, &mut |_, stmt| match &stmt.kind {
                    StmtKind::Assign { dst, value } if dst == local => work.push(value),
                    kind => other |= assigned(kind).contains(local),
                });
                if other {
                    return None;
                }
            }
            _ => return None,
        }
    }
    Some(found)
}

/// Whether nothing but the table itself depends on what is in it: the program would be as good without. Its entries are notes for
/// others.
pub(super) fn is_notebook(program: &ir::Program, id: TableId) -> bool {
    let table = &program.tables[id.index()];
    if table.role != Role::State || owner(program, id).is_some() || is_shared(program, id) {
        return false;
    }
    let mut inserts = false;
    statements(program, &mut |_, stmt| {
        if let StmtKind::Insert { entries, .. } = &stmt.kind {
            inserts |= entries.iter().any(|entry| entry.table == id);
        }
    });
    if !inserts {
        return false;
    }
    let mut without = program.clone();
    without.tables[id.index()].role = Role::Ghost;
    validate(&without).is_ok()
}

/// Whether a step writes cells.
pub(super) fn writes_cells(program: &ir::Program) -> bool {
    let mut any = false;
    statements(program, &mut |_, stmt| any |= matches!(stmt.kind, StmtKind::WriteCell { .. }));
    any
}

/// Whether a handler chooses values.
pub(super) fn chooses(program: &ir::Program) -> bool {
    let mut any = false;
    statements(program, &mut |_, stmt| any |= matches!(stmt.kind, StmtKind::Choose { .. }));
    any
}
