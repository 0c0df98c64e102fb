//! Blocks: statements, and the variables that they use. How expressions are written is left open: as trees ([`Expr`]), or as
//! somebody makes of them who runs statements often.

use super::{Expr, FieldId, HandleId, HeaderId, LocalId, PacketId, ReasonId, Scalar, SpecStmt, TableId, TestStmt};
use crate::span::Span;
use serde::Serialize;

/// A block with the variables it uses.
#[derive(Clone, Debug, Serialize)]
pub struct Body<E = Expr> {
    /// Scalar variables.
    pub locals: Vec<Local>,
    /// Headers found or made.
    pub handles: Vec<Handle>,
    /// Packets: in a handler the one that came in; in specifications one per variable.
    pub packets: Vec<String>,
    /// The statements.
    pub block: Block<E>,
}

impl<E> Default for Body<E> {
    fn default() -> Body<E> {
        Body { locals: Vec::new(), handles: Vec::new(), packets: Vec::new(), block: Vec::new() }
    }
}

/// A scalar variable.
#[derive(Clone, Debug, Serialize)]
pub struct Local {
    /// Name in the source, or one made up (`t3`).
    pub name: String,
    /// Type.
    pub ty: Scalar,
}

/// A header at a place in a packet.
#[derive(Clone, Debug, Serialize)]
pub struct Handle {
    /// Name in the source.
    pub name: String,
    /// Its layout.
    pub header: HeaderId,
    /// The packet that it is in.
    pub packet: PacketId,
}

/// Statements in order.
pub type Block<E = Expr> = Vec<Stmt<E>>;

/// A statement with its place in the source.
#[derive(Clone, Debug, Serialize)]
pub struct Stmt<E = Expr> {
    /// What it does.
    pub kind: StmtKind<E>,
    /// The words in the source that it comes from.
    pub span: Span,
}

/// A statement. The tag is a byte of its own, since who runs a statement begins with looking at it.
#[derive(Clone, Debug, Serialize)]
#[repr(u8)]
pub enum StmtKind<E = Expr> {
    /// `dst = value`.
    Assign {
        /// The variable.
        dst: LocalId,
        /// The value, of the variable's type.
        value: E,
    },
    /// Runs one of two blocks.
    If {
        /// The condition.
        cond: E,
        /// If it holds.
        then: Block<E>,
        /// If not.
        other: Block<E>,
    },
    /// A branch that the source wrote begins here: an arm, or a side of an `if` or an `else`. It does nothing, and some event must come by.
    /// In handlers only; not in the standard library, which need not be used to the full.
    Branch {
        /// Whether it is the side that is not written, of an `if` without `else`.
        implied: bool,
    },
    /// Runs the block of the case that equals `on`. In handlers, where `on` is a variable, a statement that gives it a constant other than zero is
    /// followed by nothing but this switch: it names the case at which the way goes on (an arm of a match that is reached on
    /// several ways). What was established there is established in the case.
    Switch {
        /// What is compared.
        on: E,
        /// Cases: value, place in the source of the arm, block.
        cases: Vec<(u128, Span, Block<E>)>,
        /// If no case equals it.
        default: Block<E>,
    },
    /// An automatic obligation: `cond` must hold. The interpreter stops with an error where it does not.
    Check {
        /// What must hold.
        cond: E,
        /// Why.
        what: Obligation,
    },
    /// Looks for a header directly after another (or at the packet's start). Whether the header is selected was decided before.
    /// It is malformed if its fixed or variable part or its body does not fit what is left of the enclosing body, or if
    /// `valid` does not hold; lengths that come out negative do not fit.
    Parse {
        /// In which packet.
        packet: PacketId,
        /// The layout.
        header: HeaderId,
        /// After which header; none: at the start.
        after: Option<HandleId>,
        /// The handle that is set for `ok`.
        into: HandleId,
        /// It is there.
        ok: Block<E>,
        /// It is malformed.
        malformed: Block<E>,
    },
    /// Writes one field, and nothing else.
    SetField {
        /// The header.
        handle: HandleId,
        /// The field.
        field: FieldId,
        /// The new value, of the field's width.
        value: E,
    },
    /// Updates a checksum incrementally (RFC 1624, equation 3): `HC' = ~(~HC + sum(~m + m'))` over all changes, each
    /// change's bits shifted left by `shift` and split into 16-bit words. With `optional`, a field of zero stays zero and a
    /// result of zero is written as 0xffff.
    UpdateChecksum {
        /// The header.
        handle: HandleId,
        /// The checksum's field.
        field: FieldId,
        /// See [`super::Checksum::optional`].
        optional: bool,
        /// What changed.
        changes: Vec<Change<E>>,
    },
    /// Whether all of a header's checksums are right: the ones'-complement sum over what each covers, itself included, is zero in either of
    /// its forms, 0xffff or 0. An optional checksum of zero is right. In handlers, of headers whose checksums cover nothing but themselves.
    VerifyChecksums {
        /// The header.
        handle: HandleId,
        /// The result.
        result: LocalId,
    },
    /// Inserts a header before another. All fields are given, and the variable part is empty. Fails for want of room.
    Push {
        /// The layout.
        header: HeaderId,
        /// Before which header.
        before: HandleId,
        /// The handle of the new header.
        into: HandleId,
        /// One value per field.
        fields: Vec<E>,
        /// Whether there was room.
        ok: LocalId,
    },
    /// Removes a header, its variable part included.
    Pop {
        /// The header.
        handle: HandleId,
    },
    /// Sends a copy of the packet, as it is now, along an output; what is behind it runs before the next statement, and changes or drops
    /// that copy only.
    Emit {
        /// Index into [`super::Element::outputs`].
        output: u32,
        /// Values beside the packet.
        args: Vec<E>,
    },
    /// Ends the handler; the packet is dropped.
    Drop {
        /// Why.
        reason: ReasonId,
    },
    /// Looks a key up in a map, a set or a bucket table. Not found: `value` is all zero.
    Lookup {
        /// The table.
        table: TableId,
        /// The key's scalars.
        key: Vec<E>,
        /// Whether a live entry's lifetime is refreshed (`touch`).
        touch: bool,
        /// Whether there is a live entry.
        found: LocalId,
        /// The value's scalars.
        value: Vec<LocalId>,
    },
    /// Longest-prefix match.
    Longest {
        /// An lpm table.
        table: TableId,
        /// The address.
        key: E,
        /// Whether a prefix holds it.
        found: LocalId,
        /// The matching prefix's length.
        length: LocalId,
        /// The value's scalars.
        value: Vec<LocalId>,
    },
    /// Inserts entries, all or none. `ok` is false if a table is full, or for a target's declared transient reason.
    Insert {
        /// The entries, in order.
        entries: Vec<InsertEntry<E>>,
        /// Whether they are there now.
        ok: LocalId,
    },
    /// Changes a live entry's value, not its deadline. A key that is not live is a defect.
    SetValue {
        /// The table.
        table: TableId,
        /// The key.
        key: Vec<E>,
        /// The value.
        value: Vec<E>,
    },
    /// Removes an entry, if it is there.
    Remove {
        /// The table.
        table: TableId,
        /// The key.
        key: Vec<E>,
    },
    /// Sets a live entry's deadline outright. A key that is not live is a defect.
    ExpireAt {
        /// The table.
        table: TableId,
        /// The key.
        key: Vec<E>,
        /// The deadline.
        at: E,
    },
    /// Takes tokens from a bucket: `result` is 0 conforms, 1 exceeds, 2 no room for a new key.
    Take {
        /// The bucket table.
        table: TableId,
        /// The key.
        key: Vec<E>,
        /// Bytes.
        amount: E,
        /// The result, 8 bits.
        result: LocalId,
    },
    /// Reads an array's element; the index was checked.
    ReadArray {
        /// The array.
        table: TableId,
        /// The index.
        index: E,
        /// The element's scalars.
        value: Vec<LocalId>,
    },
    /// Writes an array's element (an array, or ghost array); the index was checked.
    WriteArray {
        /// The array.
        table: TableId,
        /// The index.
        index: E,
        /// The element's scalars.
        value: Vec<E>,
    },
    /// Reads a cell.
    ReadCell {
        /// The cell.
        table: TableId,
        /// Its scalars.
        value: Vec<LocalId>,
    },
    /// Writes a cell.
    WriteCell {
        /// The cell.
        table: TableId,
        /// Its scalars.
        value: Vec<E>,
    },
    /// Adds to a counter, modulo 2^64.
    Count {
        /// The counter.
        table: TableId,
        /// Which one of a counter array.
        index: E,
        /// How much.
        amount: E,
    },
    /// Reads a counter.
    ReadCounter {
        /// The counter.
        table: TableId,
        /// Which one of a counter array.
        index: E,
        /// The value, 64 bits.
        value: LocalId,
    },
    /// The first element of an array, in order of index, for which `test` leaves `holds` true.
    First {
        /// The array.
        table: TableId,
        /// Its index. `test` does not read it: what is said of an element depends on its value alone.
        index: LocalId,
        /// Set to the element before `test`, and for the result.
        value: Vec<LocalId>,
        /// Pure statements and look-ups that compute `holds`.
        test: Block<E>,
        /// The result of `test`.
        holds: LocalId,
        /// Whether there is one. If not, `index` and `value` are zero.
        found: LocalId,
    },
    /// A value of `low..=high` that satisfies the condition and the first tier that can be had (`semantics.md`, Choice).
    Choose {
        /// The value's variable: set before each test, and for the result.
        var: LocalId,
        /// Least value.
        low: E,
        /// Greatest value.
        high: E,
        /// `within N`: how many distinct values of a tier may be refused before it is left.
        within: Option<u32>,
        /// Pure statements and look-ups that compute `holds`: the `where`.
        test: Block<E>,
        /// The result of `test`.
        holds: LocalId,
        /// Preferences in order; after them comes the tier of all values.
        tiers: Vec<Tier<E>>,
        /// Whether a value was chosen.
        ok: LocalId,
    },
    /// Only in specifications.
    Spec(Box<SpecStmt<E>>),
    /// Only in tests.
    Test(Box<TestStmt>),
}

/// A change of bits that a checksum covers.
#[derive(Clone, Debug, Serialize)]
pub struct Change<E = Expr> {
    /// Before.
    pub old: E,
    /// After.
    pub new: E,
    /// Bits of the field.
    pub width: u8,
    /// Zero bits that follow the field up to the next 16-bit boundary.
    pub shift: u8,
}

/// One part of an insertion.
#[derive(Clone, Debug, Serialize)]
pub struct InsertEntry<E = Expr> {
    /// The table.
    pub table: TableId,
    /// The key.
    pub key: Vec<E>,
    /// The value; empty for a set.
    pub value: Vec<E>,
    /// Whether a live entry is replaced; otherwise it is a defect.
    pub or_update: bool,
}

/// A preference of a choice.
#[derive(Clone, Debug, Serialize)]
pub enum Tier<E = Expr> {
    /// `prefer x == e`: that one value, always tried.
    Exactly(E),
    /// Pure statements and look-ups that compute the variable.
    Test(Block<E>, LocalId),
}

/// Why a condition must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Obligation {
    /// A checked operation does not overflow (or go below zero).
    Overflow,
    /// A divisor is not zero.
    DivisionByZero,
    /// A value fits the narrower type that it is converted to.
    Narrowing,
    /// An index is below the length.
    Bounds,
    /// A shift is by less than the width.
    Shift,
    /// An `assert` in the source.
    Assertion,
}
