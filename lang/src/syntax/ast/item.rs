//! Items: imports, declarations of types, headers, elements and middleboxes, and what stands in them.

use super::{Block, Docs, Expr, Ident, Path, Property, Str};
use crate::span::Span;
use serde::Serialize;
use std::sync::Arc;

/// A source file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct File {
    /// Lines of `//!`.
    pub docs: Docs,
    /// Items in order.
    pub items: Vec<Item>,
}

/// A top-level item.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Item {
    /// Docs above it.
    pub docs: Docs,
    /// What it is.
    pub kind: ItemKind,
    /// From the first word to the last.
    pub span: Span,
}

/// The kinds of items.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum ItemKind {
    /// `use a::b::{C, D};`
    Use {
        /// The module.
        module: Path,
        /// What is imported; one without braces.
        names: Vec<Ident>,
        /// Whether the names stand in braces.
        braced: bool,
    },
    /// `const NAME: T = e;`
    Const {
        /// Name.
        name: Ident,
        /// Type.
        ty: Type,
        /// Value.
        value: Box<Expr>,
    },
    /// `newtype NAME: u32 shown ipv4;`
    Newtype {
        /// Name.
        name: Ident,
        /// Representation.
        repr: Type,
        /// How it is shown.
        shown: Option<Ident>,
    },
    /// `struct NAME { ... }`
    Struct {
        /// Name.
        name: Ident,
        /// Fields.
        fields: Vec<Field>,
    },
    /// `enum NAME { a, b(x: T) }`
    Enum {
        /// Name.
        name: Ident,
        /// Variants.
        variants: Vec<Variant>,
    },
    /// `fn`
    Fn(Box<Fn>),
    /// `hash NAME(args) -> uN;`
    Hash {
        /// Name.
        name: Ident,
        /// Arguments.
        params: Vec<Param>,
        /// Result.
        result: Type,
    },
    /// `header NAME { ... }`
    Header {
        /// Name.
        name: Ident,
        /// Fields and clauses.
        members: Vec<HeaderMember>,
    },
    /// `shape NAME = { ... };`
    Shape(ShapeDecl),
    /// `element`, `middlebox` or `spec`.
    Block(BlockDecl),
    /// `property` or `invariant`
    Property(Property),
    /// `test "..." for BOX { ... }`
    Test {
        /// Name.
        name: Str,
        /// The box.
        target: Path,
        /// Its arguments.
        args: Vec<Arg>,
        /// The script.
        body: Block,
    },
    /// Not parsed.
    Error,
}

/// `element NAME(params) { members }` and its like.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BlockDecl {
    /// Which.
    pub kind: BlockKind,
    /// Name.
    pub name: Ident,
    /// Parameters.
    pub params: Vec<Param>,
    /// `claims S(args), ...`
    pub claims: Vec<Claim>,
    /// Members.
    pub members: Vec<Member>,
}

/// What a [`BlockDecl`] declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum BlockKind {
    /// `element`
    Element,
    /// `middlebox`
    Middlebox,
    /// `spec`
    Spec,
}

/// `S(args)` after `claims`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Claim {
    /// The spec.
    pub spec: Path,
    /// Its arguments.
    pub args: Vec<Arg>,
    /// All of it.
    pub span: Span,
}

/// A field of a struct or of an enum's variant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Field {
    /// Docs above it.
    pub docs: Docs,
    /// Name.
    pub name: Ident,
    /// Type.
    pub ty: Type,
}

/// A variant of an enum.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Variant {
    /// Docs above it.
    pub docs: Docs,
    /// Name.
    pub name: Ident,
    /// Its fields.
    pub fields: Vec<Field>,
}

/// A parameter: `[const | port] name[: T] [= e]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Param {
    /// `const`, `port` or neither.
    pub role: ParamRole,
    /// Name.
    pub name: Ident,
    /// Type; ports have none.
    pub ty: Option<Type>,
    /// Default.
    pub default: Option<Box<Expr>>,
}

/// What a parameter stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ParamRole {
    /// A value.
    Value,
    /// A compile-time constant.
    Const,
    /// A port, of a spec.
    Port,
}

/// An argument: `e` or `name: e`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Arg {
    /// The parameter's name, if given.
    pub name: Option<Ident>,
    /// The value.
    pub value: Expr,
}

/// A type.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Type {
    /// What it is.
    pub kind: TypeKind,
    /// Where.
    pub span: Span,
}

/// The forms of types.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum TypeKind {
    /// `u16`, `bool`, a declared name; with arguments `map<K, V>`.
    Named(Path, Vec<Type>),
    /// `bytes[e]`
    Bytes(Box<Expr>),
}

/// A function.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fn {
    /// Name.
    pub name: Ident,
    /// Parameters; a type may be a shape.
    pub params: Vec<Param>,
    /// Result; none: no value.
    pub result: Option<Type>,
    /// Body.
    pub body: Block,
}

/// A field or a clause of a header.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeaderMember {
    /// Docs above it.
    pub docs: Docs,
    /// What it is.
    pub kind: HeaderMemberKind,
    /// Where.
    pub span: Span,
}

/// The kinds of header members.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum HeaderMemberKind {
    /// `name: T = e,`
    Field {
        /// Name.
        name: Ident,
        /// Type.
        ty: Type,
        /// Value where a packet is built.
        default: Option<Expr>,
    },
    /// `valid e, e;`
    Valid(Vec<Expr>),
    /// `body e;`
    Body(Expr),
    /// `checksum f over header, body, pseudo H(f, f, 17) optional;`
    Checksum {
        /// The field.
        field: Ident,
        /// What it covers.
        covers: Vec<Cover>,
        /// Whether zero means none.
        optional: bool,
    },
    /// `in H when e;`
    In {
        /// The enclosing header.
        parent: Path,
        /// Over its fields; always, if not there.
        when: Option<Expr>,
    },
    /// Not parsed.
    Error,
}

/// What a checksum covers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Cover {
    /// `header` or `body`
    Part(Ident),
    /// `pseudo H(args)`
    Pseudo(Path, Vec<Expr>),
}

/// `shape NAME = { ... };`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShapeDecl {
    /// Name.
    pub name: Ident,
    /// The pattern.
    pub pattern: Arc<HeaderPattern>,
}

/// `{ A as a, (B | C) as x, malformed D }`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeaderPattern {
    /// In order.
    pub layers: Vec<Layer>,
    /// Braces included.
    pub span: Span,
}

/// One header of a pattern.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Layer {
    /// Whether it is there but malformed.
    pub malformed: bool,
    /// Alternatives; one without parentheses.
    pub headers: Vec<Path>,
    /// The name it is bound to.
    pub name: Option<Ident>,
    /// All of it.
    pub span: Span,
}

/// A pattern or the name of a shape.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum ShapeRef {
    /// By name.
    Named(Path),
    /// Written out.
    Pattern(Arc<HeaderPattern>),
}

/// A member of an element, a middlebox or a spec. Which may stand where is checked later.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Member {
    /// Docs above it.
    pub docs: Docs,
    /// What it is.
    pub kind: MemberKind,
    /// Where.
    pub span: Span,
}

/// The kinds of members.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum MemberKind {
    /// `input`, `output` or `port`
    Ports(PortKind, Vec<PortDecl>),
    /// `state`, `control`, `feed` or `ghost`
    State(StateDecl),
    /// `require "..." e;`
    Require {
        /// What the operator is told.
        message: Str,
        /// The condition.
        cond: Expr,
    },
    /// `fn`
    Fn(Arc<Fn>),
    /// `shape`
    Shape(ShapeDecl),
    /// `property` or `invariant`
    Property(Property),
    /// `on ... { }`
    Handler(Box<Handler>),
    /// `name: Kind(args);`
    Instance {
        /// Name.
        name: Ident,
        /// The element or middlebox.
        kind: Path,
        /// Its arguments.
        args: Vec<Arg>,
    },
    /// `a -> b.c -> d;`
    Wire(Vec<WireEnd>),
    /// Not parsed.
    Error,
}

/// What a port declaration declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum PortKind {
    /// `input`
    Input,
    /// `output`
    Output,
    /// `port`
    External,
}

/// `name[n](x: T): SHAPE`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PortDecl {
    /// Name.
    pub name: Ident,
    /// Length of a port array.
    pub count: Option<Expr>,
    /// Values beside the packet.
    pub args: Vec<Param>,
    /// The contract.
    pub shape: Option<ShapeRef>,
}

/// A state declaration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StateDecl {
    /// `state`, `control`, `feed`, `ghost`.
    pub role: StateRole,
    /// Name.
    pub name: Ident,
    /// `map<K, V>`
    pub ty: Type,
    /// `[n]`
    pub capacity: Option<Box<Expr>>,
    /// `= e`
    pub initial: Option<Box<Expr>>,
    /// Clauses, in order.
    pub clauses: Vec<StateClause>,
}

/// Who writes a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum StateRole {
    /// `state`
    State,
    /// `control`
    Control,
    /// `feed`
    Feed,
    /// `ghost`
    Ghost,
}

/// A clause of a state declaration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum StateClause {
    /// `idle e`
    Idle(Expr),
    /// `idle with T[e]`
    IdleWith(Path, Expr),
    /// `lifetime e`
    Lifetime(Expr),
    /// `granularity e`
    Granularity(Expr),
    /// `rate e`
    Rate(Expr),
    /// `burst e`
    Burst(Expr),
    /// `from f(x, n)`, `from f(x, n, g)`
    From(Ident, Ident, Box<Expr>, Option<Ident>),
}

/// `on ... { }`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Handler {
    /// What it handles.
    pub event: HandlerEvent,
    /// What it does.
    pub body: Block,
}

/// What a handler handles.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum HandlerEvent {
    /// `on name[i](p: { ... }, x)`
    Packet {
        /// The input.
        port: Ident,
        /// The index of a port array.
        index: Option<Ident>,
        /// The packet's name.
        packet: Ident,
        /// What it starts with.
        shape: Option<ShapeRef>,
        /// Names of the values beside it.
        args: Vec<Ident>,
    },
    /// `on every 1s lag 100ms`
    Timer {
        /// Interval.
        every: Expr,
        /// How late it may fire.
        lag: Option<Expr>,
    },
    /// `on update`
    Update,
}

/// `a`, `a.b`, `a.b[1]`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WireEnd {
    /// An instance or an external port.
    pub first: Ident,
    /// A port of the instance.
    pub second: Option<Ident>,
    /// One of a port array.
    pub index: Option<Expr>,
    /// All of it.
    pub span: Span,
}
