//! Updates of one checksum that follow each other become one. A sum of all changes, folded at the end, is what folding in between makes it: both are zero if nothing but
//! zeros are added, else the same number of 1 to 65,535 (so is a checksum that stays zero if it is, and is not sent as zero otherwise).

use grv_lang::ir::{Body, Change, Expr, FieldId, HandleId, Stmt, StmtKind};

/// A checksum: its header, its field, and whether it is optional.
type Target = (HandleId, FieldId, bool);

fn target(stmt: &Stmt) -> Option<Target> {
    match &stmt.kind {
        StmtKind::UpdateChecksum { handle, field, optional, .. } => Some((*handle, *field, *optional)),
        _ => None,
    }
}

fn changes(stmt: &Stmt) -> &[Change] {
    if let StmtKind::UpdateChecksum { changes, .. } = &stmt.kind { changes } else { &[] }
}

/// The next update of the same checksum in a block.
fn next(block: &[Stmt], at: usize) -> Option<usize> {
    let of = target(block.get(at)?)?;
    (at + 1..block.len()).find(|index| target(&block[*index]) == Some(of))
}

/// Whether an update may as well be made with a later one: nothing in between depends on it or changes what it adds.
fn reaches(body: &Body, block: &[Stmt], at: usize, to: usize) -> bool {
    let Some((handle, field, _)) = target(&block[at]) else { return false };
    let operands = || changes(&block[at]).iter().flat_map(|change| [&change.old, &change.new]);
    // What is read from the packet would be read later.
    if !operands().all(|expr| matches!(expr, Expr::Local(_) | Expr::Const(..) | Expr::Param(..))) {
        return false;
    }
    // A field of the same header, or of one that is not like it: surely other bytes.
    let header = |handle: HandleId| body.handles.get(handle.index()).map(|handle| handle.header);
    let apart = |other: HandleId, of: FieldId| if handle == other { field != of } else { header(handle) != header(other) };
    let reads = |expr: &Expr| match expr {
        Expr::Local(_) | Expr::Const(..) | Expr::Param(..) => false,
        Expr::Field(other, of) => !apart(*other, *of),
        _ => true,
    };
    block[at + 1..to].iter().all(|stmt| match &stmt.kind {
        StmtKind::UpdateChecksum { handle: other, field: of, changes, .. } => {
            let same = (*other, *of) == (handle, field);
            (same || apart(*other, *of)) && !changes.iter().any(|change| reads(&change.old) || reads(&change.new))
        }
        StmtKind::SetField { handle: other, field: of, value } => apart(*other, *of) && !reads(value),
        StmtKind::Assign { dst, value } => !reads(value) && operands().all(|operand| *operand != Expr::Local(*dst)),
        _ => false,
    })
}

/// The updates that are made with one of a block, it included, in order.
fn with(body: &Body, block: &[Stmt], at: usize) -> Vec<usize> {
    let before = (0..at).filter(|index| next(block, *index) == Some(at));
    let left = before.map(|index| with(body, block, index)).filter(|all| all.iter().all(|one| reaches(body, block, *one, at)));
    left.flatten().chain([at]).collect()
}

/// What a statement of a block that updates a checksum is to change, what was left to it included; nothing, if it is left to a later one.
pub(super) fn due<'p>(body: &Body, block: &'p [Stmt], at: usize) -> Option<Vec<&'p Change>> {
    let with_it = with(body, block, at);
    let left = next(block, at).is_some_and(|to| with_it.iter().all(|one| reaches(body, block, *one, to)));
    (!left).then(|| with_it.into_iter().flat_map(|index| changes(&block[index])).collect())
}
