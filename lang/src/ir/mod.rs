//! The core IR: one middlebox, elaborated. Nothing is left to infer: instances are flattened, constants known, functions and
//! loops expanded, structs and enums laid out as scalar columns, checksum updates and checked arithmetic written out.
//!
//! The interpreter, the verifier and every code generator start here and from nothing else. The IR never refers back to
//! syntax; it keeps spans and names so that every consumer can speak of the source.
//!
//! # Values
//! All values are scalars: booleans, bit strings of 1 to 128 bits (unsigned), and in specifications mathematical integers.
//! A struct is the sequence of its fields' scalars; an enum is its tag (`u8`) followed by the scalars of all variants in
//! order; `Option<T>` is a boolean followed by T's scalars; a prefix is its address and its length (`u8`). Scalars of a
//! variant that is not there are zero. A time is 64 bits of nanoseconds since the start, a duration 64 bits of nanoseconds.
//!
//! # Control
//! A handler is a [`Block`]: statements in order. A block either falls through its end or ends with [`StmtKind::Drop`];
//! statements after a drop do not exist. There are no loops and no calls; the bounded searches [`StmtKind::First`] and
//! [`StmtKind::Choose`] say by themselves how far they go. Expressions are pure; whatever reads state is a statement.
//!
//! # Three layers of statements
//! Handlers use the statements of [`StmtKind`]. Properties are blocks too, over the same statements plus [`SpecStmt`]
//! (quantifiers, steps): a specification is evaluated, not run, and changes nothing. Tests add [`TestStmt`] (send, expect).
//! The validator checks that each layer stays where it belongs.

pub mod print;
pub mod spec;
pub mod validate;

use crate::span::Span;
use serde::Serialize;

pub use spec::{EventPattern, Form, Property, PropertyId, SpecStmt, TableContent, Test, TestStmt};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        pub struct $name(pub u32);
        impl $name {
            /// The index into the list that this id names a place of.
            pub fn index(self) -> usize { self.0 as usize }
        }
    )* };
}

ids! {
    /// Index into [`Program::headers`].
    HeaderId,
    /// Index into [`Header::fields`].
    FieldId,
    /// Index into [`Program::elements`].
    ElementId,
    /// Index into [`Program::tables`].
    TableId,
    /// Index into [`Program::ports`].
    PortId,
    /// Index into [`Program::reasons`].
    ReasonId,
    /// Index into [`Program::hashes`].
    HashId,
    /// Index into [`Program::params`].
    ParamId,
    /// A scalar variable: index into [`Body::locals`].
    LocalId,
    /// A header found or made in a packet: index into [`Body::handles`].
    HandleId,
    /// A packet: index into [`Body::packets`]. In a handler, 0 is the packet that came in.
    PacketId,
}

/// The type of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Scalar {
    /// True (1) or false (0).
    Bool,
    /// An unsigned number of that many bits, 1 to 128.
    Bits(u8),
    /// A mathematical integer; in specifications, and in the expressions of header declarations, only.
    Int,
}

/// How a scalar is shown to people, and read from configurations.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Show {
    /// Decimal.
    Number,
    /// `true` or `false`.
    Bool,
    /// Hexadecimal with `0x`.
    Hex,
    /// `192.0.2.1`.
    Ipv4,
    /// `2001:db8::1` (RFC 5952).
    Ipv6,
    /// `02:00:00:00:00:01`.
    Mac,
    /// Nanoseconds since the start.
    Time,
    /// Nanoseconds, shown with a unit.
    Duration,
    /// The name of an enum's variant; index is the tag.
    Variant(Vec<String>),
}

/// One scalar of a key, a value, a parameter or a port's arguments.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Column {
    /// The path from the whole to it, e.g. `addr` or `backend.some`; empty where the whole is one scalar.
    pub name: String,
    /// Its type.
    pub ty: Scalar,
    /// How it is shown.
    pub show: Show,
}

/// The source type that a list of columns stands for; configurations and `show` follow it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Shape {
    /// One scalar.
    Scalar(Scalar, Show),
    /// A struct: name, and fields with their shapes.
    Struct(String, Vec<(String, Shape)>),
    /// An enum: name, and variants with their fields. One column for the tag, then those of all variants.
    Enum(String, Vec<(String, Vec<(String, Shape)>)>),
    /// An optional value: one boolean column, then those of the value.
    Option(Box<Shape>),
    /// An address prefix: the address's column, then the length (8 bits). Bits beyond the length are zero.
    Prefix(Scalar, Show),
    /// No value at all (of a set's entries).
    Unit,
}

/// One middlebox, elaborated.
#[derive(Clone, Debug, Serialize)]
pub struct Program {
    /// The middlebox's name.
    pub name: String,
    /// Where it is declared.
    pub span: Span,
    /// Its parameters, in order.
    pub params: Vec<Param>,
    /// All header layouts that it uses.
    pub headers: Vec<Header>,
    /// Hash functions.
    pub hashes: Vec<Hash>,
    /// External ports; a port array is one entry each. The machine's own stack is the port named `host`, if it is used.
    pub ports: Vec<Port>,
    /// Element instances of this and all nested boxes, in order of declaration.
    pub elements: Vec<Element>,
    /// All state, of all instances.
    pub tables: Vec<Table>,
    /// Drop reasons, in order of appearance.
    pub reasons: Vec<String>,
    /// Conditions on each new generation of the control tables.
    pub requires: Vec<Require>,
    /// Invariants, properties and claims.
    pub properties: Vec<Property>,
}

/// A parameter of the box: a value that is fixed when the box is started.
#[derive(Clone, Debug, Serialize)]
pub struct Param {
    /// Name.
    pub name: String,
    /// Where it is declared.
    pub span: Span,
    /// Source type.
    pub shape: Shape,
    /// Its scalars.
    pub columns: Vec<Column>,
    /// Default, one constant per column, if it has one.
    pub default: Option<Vec<u128>>,
}

/// A header's layout. Fields are in network bit order; the fixed part is whole bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Header {
    /// Name.
    pub name: String,
    /// Where it is declared.
    pub span: Span,
    /// Fixed fields, in order, without gaps.
    pub fields: Vec<Field>,
    /// Bytes of the fixed part.
    pub fixed: u32,
    /// The variable part that follows the fixed one: its name and its length in bytes, an [`Scalar::Int`] over [`Expr::Own`].
    pub variable: Option<(String, Expr)>,
    /// What must hold of a well-formed header, over [`Expr::Own`].
    pub valid: Expr,
    /// Bytes that follow the header and belong to it, an [`Scalar::Int`] over [`Expr::Own`]; without it, all that is left.
    pub body: Option<Expr>,
    /// Internet checksums (RFC 1071) that it carries.
    pub checksums: Vec<Checksum>,
}

/// A field of a header.
#[derive(Clone, Debug, Serialize)]
pub struct Field {
    /// Name.
    pub name: String,
    /// Width in bits, 1 to 128.
    pub width: u8,
    /// Bits before it.
    pub offset: u32,
    /// How it is shown.
    pub show: Show,
}

/// A ones'-complement checksum in a header.
#[derive(Clone, Debug, Serialize)]
pub struct Checksum {
    /// The 16-bit field that holds it.
    pub field: FieldId,
    /// What the sum covers of an enclosing header (the pseudo-header), by which of these headers encloses it: the nearest one
    /// counts. The length of the header and what follows it is added. Empty: no pseudo-header.
    pub pseudo: Vec<Pseudo>,
    /// Whether what follows the header is covered too.
    pub body: bool,
    /// Whether a field of zero means that there is no checksum (UDP over IPv4, RFC 768); a computed zero is sent as 0xffff.
    pub optional: bool,
}

/// A pseudo-header: fields of an enclosing header, the protocol's number, and the length of what the checksum covers.
#[derive(Clone, Debug, Serialize)]
pub struct Pseudo {
    /// The enclosing header.
    pub header: HeaderId,
    /// Its fields that are covered, each of whole 16-bit words.
    pub fields: Vec<FieldId>,
    /// Constants that are covered, one 16-bit word each (e.g. the protocol).
    pub constants: Vec<u16>,
}

/// A hash function: uninterpreted to the verifier, one definition for all others.
///
/// The definition: `h = seed`, the first 64 bits of the FNV-1a hash of the function's name; for each argument's scalar in
/// order, split into 64-bit words from the least significant: `h = (h ^ word) * 0x9e37_79b9_7f4a_7c15 (mod 2^64)`,
/// `h = h ^ (h >> 32)`; at the end `h = h * 0xd6e8_feb8_6659_fd93 (mod 2^64)`, `h = h ^ (h >> 32)`. The result is the low bits of `h`.
#[derive(Clone, Debug, Serialize)]
pub struct Hash {
    /// Name.
    pub name: String,
    /// Types of the scalars it takes.
    pub args: Vec<Scalar>,
    /// Bits of the result, at most 64.
    pub width: u8,
}

/// An external port.
#[derive(Clone, Debug, Serialize)]
pub struct Port {
    /// Name; `p[2]` in a port array.
    pub name: String,
    /// Where packets that come in go: an element's input. None: packets are only sent here (`host`).
    pub entry: Option<InputRef>,
}

/// An input of an element: index into [`Element::inputs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct InputRef {
    /// The element.
    pub element: ElementId,
    /// Its input.
    pub input: u32,
}

/// Where an output leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Target {
    /// To an element's input.
    Input(InputRef),
    /// Out of the box.
    Port(PortId),
}

/// An element instance.
#[derive(Clone, Debug, Serialize)]
pub struct Element {
    /// Path of the instance, e.g. `rewriter` or `inner.classify`.
    pub name: String,
    /// The declaration's name.
    pub kind: String,
    /// Where the declaration is.
    pub span: Span,
    /// Inputs with their handlers; a port array is one entry each.
    pub inputs: Vec<Input>,
    /// Outputs and where they lead; a port array is one entry each.
    pub outputs: Vec<Output>,
    /// Timers.
    pub timers: Vec<Timer>,
    /// What runs after a new generation of control tables has been installed, atomically with it.
    pub update: Option<Body>,
}

/// An input port of an element, with its handler.
#[derive(Clone, Debug, Serialize)]
pub struct Input {
    /// Name; `to[1]` in a port array.
    pub name: String,
    /// Values that come beside the packet: the first locals of the body.
    pub args: Vec<Column>,
    /// The headers that every packet here starts with: handles 0, 1, ... of the body, in that order.
    pub contract: Vec<HeaderId>,
    /// The handler. Every path of it ends in a drop or has emitted at least once.
    pub body: Body,
}

/// An output port of an element.
#[derive(Clone, Debug, Serialize)]
pub struct Output {
    /// Name; `out[1]` in a port array.
    pub name: String,
    /// Where it leads.
    pub target: Target,
    /// Where that is said.
    pub span: Span,
}

/// A timer of an element. It may fire up to `lag` late.
#[derive(Clone, Debug, Serialize)]
pub struct Timer {
    /// Nanoseconds between two events.
    pub every: u64,
    /// Nanoseconds by which it may be late.
    pub lag: u64,
    /// What it does; no packet.
    pub body: Body,
}

/// A block with the variables it uses.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Body {
    /// Scalar variables.
    pub locals: Vec<Local>,
    /// Headers found or made.
    pub handles: Vec<Handle>,
    /// Packets: in a handler the one that came in; in specifications one per variable.
    pub packets: Vec<String>,
    /// The statements.
    pub block: Block,
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
pub type Block = Vec<Stmt>;

/// A statement with its place in the source.
#[derive(Clone, Debug, Serialize)]
pub struct Stmt {
    /// What it does.
    pub kind: StmtKind,
    /// The words in the source that it comes from.
    pub span: Span,
}

/// A statement.
#[derive(Clone, Debug, Serialize)]
pub enum StmtKind {
    /// `dst = value`.
    Assign {
        /// The variable.
        dst: LocalId,
        /// The value, of the variable's type.
        value: Expr,
    },
    /// Runs one of two blocks.
    If {
        /// The condition.
        cond: Expr,
        /// If it holds.
        then: Block,
        /// If not.
        other: Block,
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
        on: Expr,
        /// Cases: value, place in the source of the arm, block.
        cases: Vec<(u128, Span, Block)>,
        /// If no case equals it.
        default: Block,
    },
    /// An automatic obligation: `cond` must hold. The interpreter stops with an error where it does not.
    Check {
        /// What must hold.
        cond: Expr,
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
        ok: Block,
        /// It is malformed.
        malformed: Block,
    },
    /// Writes one field, and nothing else.
    SetField {
        /// The header.
        handle: HandleId,
        /// The field.
        field: FieldId,
        /// The new value, of the field's width.
        value: Expr,
    },
    /// Updates a checksum incrementally (RFC 1624, equation 3): `HC' = ~(~HC + sum(~m + m'))` over all changes, each
    /// change's bits shifted left by `shift` and split into 16-bit words. With `optional`, a field of zero stays zero and a
    /// result of zero is written as 0xffff.
    UpdateChecksum {
        /// The header.
        handle: HandleId,
        /// The checksum's field.
        field: FieldId,
        /// See [`Checksum::optional`].
        optional: bool,
        /// What changed.
        changes: Vec<Change>,
    },
    /// Whether all of a header's checksums are right. In handlers, of headers whose checksums cover nothing but themselves.
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
        fields: Vec<Expr>,
        /// Whether there was room.
        ok: LocalId,
    },
    /// Removes a header, its variable part included.
    Pop {
        /// The header.
        handle: HandleId,
    },
    /// Sends a copy of the packet, as it is now, along an output; what is behind it runs before the next statement.
    Emit {
        /// Index into [`Element::outputs`].
        output: u32,
        /// Values beside the packet.
        args: Vec<Expr>,
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
        key: Vec<Expr>,
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
        key: Expr,
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
        entries: Vec<InsertEntry>,
        /// Whether they are there now.
        ok: LocalId,
    },
    /// Changes a live entry's value, not its deadline. A key that is not live is a defect.
    SetValue {
        /// The table.
        table: TableId,
        /// The key.
        key: Vec<Expr>,
        /// The value.
        value: Vec<Expr>,
    },
    /// Removes an entry, if it is there.
    Remove {
        /// The table.
        table: TableId,
        /// The key.
        key: Vec<Expr>,
    },
    /// Sets a live entry's deadline outright. A key that is not live is a defect.
    ExpireAt {
        /// The table.
        table: TableId,
        /// The key.
        key: Vec<Expr>,
        /// The deadline.
        at: Expr,
    },
    /// Takes tokens from a bucket: `result` is 0 conforms, 1 exceeds, 2 no room for a new key.
    Take {
        /// The bucket table.
        table: TableId,
        /// The key.
        key: Vec<Expr>,
        /// Bytes.
        amount: Expr,
        /// The result, 8 bits.
        result: LocalId,
    },
    /// Reads an array's element; the index was checked.
    ReadArray {
        /// The array.
        table: TableId,
        /// The index.
        index: Expr,
        /// The element's scalars.
        value: Vec<LocalId>,
    },
    /// Writes an array's element (an array, or ghost array); the index was checked.
    WriteArray {
        /// The array.
        table: TableId,
        /// The index.
        index: Expr,
        /// The element's scalars.
        value: Vec<Expr>,
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
        value: Vec<Expr>,
    },
    /// Adds to a counter, modulo 2^64.
    Count {
        /// The counter.
        table: TableId,
        /// Which one of a counter array.
        index: Expr,
        /// How much.
        amount: Expr,
    },
    /// Reads a counter.
    ReadCounter {
        /// The counter.
        table: TableId,
        /// Which one of a counter array.
        index: Expr,
        /// The value, 64 bits.
        value: LocalId,
    },
    /// The first element of an array, in order of index, for which `test` leaves `holds` true.
    First {
        /// The array.
        table: TableId,
        /// Set to the index before `test`, and for the result.
        index: LocalId,
        /// Set to the element before `test`, and for the result.
        value: Vec<LocalId>,
        /// Pure statements and look-ups that compute `holds`.
        test: Block,
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
        low: Expr,
        /// Greatest value.
        high: Expr,
        /// `within N`: how many distinct values of a tier may be refused before it is left.
        within: Option<u32>,
        /// Pure statements and look-ups that compute `holds`: the `where`.
        test: Block,
        /// The result of `test`.
        holds: LocalId,
        /// Preferences in order; after them comes the tier of all values.
        tiers: Vec<Tier>,
        /// Whether a value was chosen.
        ok: LocalId,
    },
    /// Only in specifications.
    Spec(Box<SpecStmt>),
    /// Only in tests.
    Test(Box<TestStmt>),
}

/// A change of bits that a checksum covers.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// Before.
    pub old: Expr,
    /// After.
    pub new: Expr,
    /// Bits of the field.
    pub width: u8,
    /// Zero bits that follow the field up to the next 16-bit boundary.
    pub shift: u8,
}

/// One part of an insertion.
#[derive(Clone, Debug, Serialize)]
pub struct InsertEntry {
    /// The table.
    pub table: TableId,
    /// The key.
    pub key: Vec<Expr>,
    /// The value; empty for a set.
    pub value: Vec<Expr>,
    /// Whether a live entry is replaced; otherwise it is a defect.
    pub or_update: bool,
}

/// A preference of a choice.
#[derive(Clone, Debug, Serialize)]
pub enum Tier {
    /// `prefer x == e`: that one value, always tried.
    Exactly(Expr),
    /// Pure statements and look-ups that compute the variable.
    Test(Block, LocalId),
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

/// A pure expression over scalars.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Expr {
    /// A constant.
    Const(u128, Scalar),
    /// A variable.
    Local(LocalId),
    /// A scalar of a parameter of the box.
    Param(ParamId, u32),
    /// A field of a header.
    Field(HandleId, FieldId),
    /// In a header's own declaration: one of its fields.
    Own(FieldId),
    /// Bytes of a header, its variable part included, 16 bits.
    HeaderLength(HandleId),
    /// Bytes of the whole frame, 16 bits.
    PacketLength(PacketId),
    /// The step's time, 64 bits of nanoseconds.
    Now,
    /// One operand.
    Unary(UnaryOp, Box<Expr>),
    /// Two operands.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// Zero-extends, truncates, or converts from or to [`Scalar::Int`].
    Convert(Box<Expr>, Scalar),
    /// `if c { a } else { b }`.
    Select(Box<Expr>, Box<Expr>, Box<Expr>),
    /// A hash function's value.
    Hash(HashId, Vec<Expr>),
}

/// Operators with one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum UnaryOp {
    /// Boolean not.
    Not,
    /// All bits flipped.
    Complement,
}

/// Operators with two operands. Both have one type but where said. Arithmetic on bits is modulo 2^width: that it does not
/// overflow is a [`StmtKind::Check`] of its own. On [`Scalar::Int`] it is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum BinaryOp {
    /// Sum.
    Add,
    /// Difference.
    Sub,
    /// Product.
    Mul,
    /// Quotient, rounded down. By zero: 0 (the divisor was checked).
    Div,
    /// Remainder. By zero: the dividend.
    Rem,
    /// Sum, at most the greatest value.
    SatAdd,
    /// Difference, at least 0.
    SatSub,
    /// Bits in both; on booleans, and (both sides are evaluated).
    And,
    /// Bits in one; on booleans, or.
    Or,
    /// Bits in exactly one; on booleans, not equal.
    Xor,
    /// Shifted left; by the width or more: 0. The right side may have another width.
    Shl,
    /// Shifted right; by the width or more: 0. The right side may have another width.
    Shr,
    /// Equal. Boolean.
    Eq,
    /// Not equal. Boolean.
    Ne,
    /// Less. Boolean.
    Lt,
    /// Less or equal. Boolean.
    Le,
    /// Whether the sum does not fit the width. Boolean.
    AddOverflows,
    /// Whether the difference is below zero. Boolean.
    SubOverflows,
    /// Whether the product does not fit the width. Boolean.
    MulOverflows,
}

impl BinaryOp {
    /// Whether the result is a boolean, whatever the operands are.
    pub fn compares(self) -> bool {
        use BinaryOp::{AddOverflows, Eq, Le, Lt, MulOverflows, Ne, SubOverflows};
        matches!(self, Eq | Ne | Lt | Le | AddOverflows | SubOverflows | MulOverflows)
    }
}

/// State: a table, a cell or a counter of one element instance.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// Path, e.g. `rewriter.forward`.
    pub name: String,
    /// Where it is declared.
    pub span: Span,
    /// The instance that holds it.
    pub element: ElementId,
    /// What it is.
    pub kind: TableKind,
    /// Who writes it.
    pub role: Role,
    /// Source type of the key.
    pub key_shape: Shape,
    /// The key's scalars; empty for cells and single counters. For arrays and counter arrays, the index.
    pub key: Vec<Column>,
    /// Source type of the value.
    pub value_shape: Shape,
    /// The value's scalars.
    pub value: Vec<Column>,
    /// Greatest number of entries (for arrays and counter arrays: their number).
    pub capacity: u64,
    /// Value of arrays' elements and of cells at the start, one constant or parameter per column.
    pub initial: Vec<Expr>,
    /// How long entries live.
    pub lifetime: Lifetime,
    /// Nanoseconds by which a target's clock for lifetimes may lag; 0: the target's own skew.
    pub granularity: u64,
    /// How the runtime computes it with each generation, if it is not given.
    pub computed: Option<Maglev>,
}

/// A Maglev look-up table for each group of entries (Eisenbud et al., "Maglev", NSDI 2016, section 3.4).
///
/// The entries are a set whose key's first column is the group's number and whose other columns are the backend. The array
/// holds `slots` elements per group, a prime number: group g's are `g * slots ..`. With M slots, and for backend b (its
/// columns) the offset `h("maglev_offset", b) mod M` and the skip `h("maglev_skip", b) mod (M - 1) + 1` ([`struct@Hash`] of 64 bits),
/// b's preferences are `(offset + j * skip) mod M` for j = 0, 1, ...; the backends, in the order of their columns, take their next
/// free preference in turn until no slot is free. Groups without entries keep the initial value.
#[derive(Clone, Debug, Serialize)]
pub struct Maglev {
    /// The set.
    pub entries: TableId,
    /// Slots per group.
    pub slots: u32,
}

/// The kinds of state.
#[derive(Clone, Debug, Serialize)]
pub enum TableKind {
    /// Keys with values.
    Map,
    /// Keys.
    Set,
    /// A value for every index.
    Array,
    /// Prefixes with values; the key's columns are address and length.
    Lpm,
    /// A token bucket per key.
    Bucket {
        /// Bits per second.
        rate: Expr,
        /// Bytes.
        burst: Expr,
    },
    /// One value.
    Cell,
    /// Wrapping 64-bit counters.
    Counter,
}

/// Who writes a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Role {
    /// Packet handlers, timers and update handlers.
    State,
    /// The control plane, one generation of all control tables at once.
    Control,
    /// The runtime, one entry at a time.
    Feed,
    /// Handlers, for specifications only; gone from artefacts.
    Ghost,
}

/// How long entries live.
#[derive(Clone, Debug, Serialize)]
pub enum Lifetime {
    /// Until removed.
    Forever,
    /// A touch moves the deadline to `max(deadline, now + T)`.
    Idle(LifetimeFn),
    /// The deadline is that of an entry of another table.
    IdleWith {
        /// The other table.
        table: TableId,
        /// Its key, computed from this entry's.
        key: LifetimeFn,
    },
    /// Set once, at insertion.
    Fixed(LifetimeFn),
}

/// Scalars computed from an entry's key and value. The body's first locals are the key's scalars, then the value's.
#[derive(Clone, Debug, Serialize)]
pub struct LifetimeFn {
    /// The statements; pure.
    pub body: Body,
    /// The results: a duration in nanoseconds, or a key.
    pub result: Vec<Expr>,
}

/// A condition on each new generation of control tables.
#[derive(Clone, Debug, Serialize)]
pub struct Require {
    /// What the operator is told where it fails.
    pub message: String,
    /// Where it is declared.
    pub span: Span,
    /// Specification statements.
    pub body: Body,
    /// Whether it holds.
    pub holds: Expr,
}
