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
//!
//! # Files
//! Here are programs, headers, elements and ports; `stmt.rs`, `expr.rs` and `table.rs` have blocks, expressions and state, [`spec`]
//! specifications and tests. [`mod@print`] shows a program, [`validate`] checks one, [`map`] writes the expressions of statements another way.

mod expr;
pub mod map;
pub mod print;
pub mod spec;
mod stmt;
mod table;
pub mod validate;

use crate::span::Span;
use serde::Serialize;

pub use expr::{BinaryOp, Expr, UnaryOp};
pub use spec::{EventPattern, Form, Property, PropertyId, SpecStmt, TableContent, Test, TestStmt};
pub use stmt::{Block, Body, Change, Handle, InsertEntry, Local, Obligation, Stmt, StmtKind, Tier};
pub use table::{Lifetime, LifetimeFn, Maglev, Role, SKEW, Table, TableKind};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
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
