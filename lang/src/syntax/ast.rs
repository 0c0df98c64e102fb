//! The syntax tree: what was written, with exact spans, nothing resolved. Parts that could not be parsed are `Error` nodes.

use crate::span::Span;
use serde::Serialize;

/// A name where it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ident {
    /// The name.
    pub name: Box<str>,
    /// Where.
    pub span: Span,
}

/// `a`, or `a::b::c`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Path {
    /// At least one.
    pub segments: Vec<Ident>,
}

impl Path {
    /// The whole path's place.
    pub fn span(&self) -> Span {
        match (self.segments.first(), self.segments.last()) {
            (Some(first), Some(last)) => first.span.to(last.span),
            _ => Span::default(),
        }
    }

    /// The name, if the path is just one.
    pub fn single(&self) -> Option<&Ident> {
        match self.segments.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }
}

/// A string literal, unescaped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Str {
    /// The text.
    pub text: String,
    /// Where, quotes included.
    pub span: Span,
}

/// Lines of `///`, without the slashes.
pub type Docs = Vec<Str>;

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
        value: Expr,
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
    Fn(Fn),
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
    pub default: Option<Expr>,
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
    pub pattern: HeaderPattern,
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
    Pattern(HeaderPattern),
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
    Fn(Fn),
    /// `shape`
    Shape(ShapeDecl),
    /// `property` or `invariant`
    Property(Property),
    /// `on ... { }`
    Handler(Handler),
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
    pub capacity: Option<Expr>,
    /// `= e`
    pub initial: Option<Expr>,
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
    /// `from f(x)`
    From(Ident, Ident, Box<Expr>),
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

/// Statements in braces; the last expression without `;` is the value.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Block {
    /// Statements.
    pub stmts: Vec<Stmt>,
    /// The value.
    pub value: Option<Box<Expr>>,
    /// Braces included.
    pub span: Span,
}

/// A statement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stmt {
    /// What it is.
    pub kind: StmtKind,
    /// Where.
    pub span: Span,
}

/// The kinds of statements.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum StmtKind {
    /// `let pattern [: T] = e [else { }];`
    Let {
        /// The pattern.
        pattern: Pattern,
        /// Its type.
        ty: Option<Type>,
        /// The value.
        value: Expr,
        /// If it does not match.
        other: Option<Block>,
    },
    /// `var x [: T] = e;`
    Var {
        /// Name.
        name: Ident,
        /// Type.
        ty: Option<Type>,
        /// First value.
        value: Expr,
    },
    /// `place = e;`
    Assign(Expr, Expr),
    /// `e;`, or a block-like expression without `;`
    Expr(Expr),
    /// `inserts else { }`
    Else(Expr, Block),
    /// `for i in a..b { }`
    For {
        /// The variable.
        var: Ident,
        /// The range.
        range: Expr,
        /// The body.
        body: Block,
    },
    /// `choose`
    Choose(Box<Choose>),
    /// `push H { } before h as name else { }`
    Push {
        /// The header, a struct literal.
        header: Expr,
        /// Before which.
        before: Ident,
        /// Name of the new header.
        name: Option<Ident>,
        /// If there is no room.
        other: Block,
    },
    /// `pop h, h;`
    Pop(Vec<Ident>),
    /// `send PORT e;`
    Send(PortRef, Expr),
    /// `expect PORT e;`
    Expect(PortRef, Expr),
    /// `expect PORT q: SHAPE where e;`
    ExpectMatch(PortRef, Ident, ShapeRef, Option<Expr>),
    /// `expect drop "...";`
    ExpectDrop(Option<Str>),
    /// `ignore;`
    Ignore,
    /// `advance e;`
    Advance(Expr),
    /// `assert e;`
    Assert(Expr),
    /// `choices e, e;`
    Choices(Vec<Expr>),
    /// `update [refused] { table = [...]; }`
    Update {
        /// Whether it must be refused.
        refused: bool,
        /// Tables and their contents.
        tables: Vec<(Expr, Expr)>,
    },
    /// `feed T[k] = v;`
    Feed(Expr, Expr),
    /// `feed T.remove(k);`
    FeedRemove(Expr),
    /// Not parsed.
    Error,
}

/// `choose x in a..=b within n where e prefer e, e else { }`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choose {
    /// The variable.
    pub var: Ident,
    /// The range.
    pub range: Expr,
    /// Probes.
    pub within: Option<Expr>,
    /// What it must satisfy.
    pub cond: Option<Expr>,
    /// Preferences.
    pub prefer: Vec<Expr>,
    /// If there is none.
    pub other: Block,
}

/// A pattern.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pattern {
    /// What it is.
    pub kind: PatternKind,
    /// Where.
    pub span: Span,
}

/// The forms of patterns.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum PatternKind {
    /// `_`
    Wildcard,
    /// A name, a variant, a constant or a shape; with arguments a variant.
    Path(Path, Vec<Pattern>),
    /// A literal, or a range of literals.
    Literal(Expr),
    /// Headers.
    Headers(HeaderPattern),
    /// `a | b`
    Or(Vec<Pattern>),
}

/// An arm of a match.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Arm {
    /// The pattern.
    pub pattern: Pattern,
    /// `if e`
    pub guard: Option<Expr>,
    /// The value.
    pub body: Expr,
    /// All of it.
    pub span: Span,
}

/// `outside`, `p[2]`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PortRef {
    /// Name.
    pub name: Ident,
    /// One of a port array.
    pub index: Option<Box<Expr>>,
    /// All of it.
    pub span: Span,
}

/// An expression.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where.
    pub span: Span,
}

/// The forms of expressions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum ExprKind {
    /// A number; sizes and rates are multiplied out.
    Int(u128),
    /// Nanoseconds.
    Duration(u64),
    /// An IPv4 address.
    Ipv4(u32),
    /// An IPv4 prefix.
    Prefix(u32, u8),
    /// An Ethernet address.
    Mac(u64),
    /// An IPv6 address.
    Ipv6(u128),
    /// A string.
    Str(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// `true`, `false`
    Bool(bool),
    /// A name.
    Path(Path),
    /// `Name { field: e, field }`
    Struct(Path, Vec<(Ident, Option<Expr>)>),
    /// `f(args)`
    Call(Path, Vec<Arg>),
    /// `e.name(args)`
    Method(Box<Expr>, Ident, Vec<Expr>),
    /// `e.name`
    Field(Box<Expr>, Ident),
    /// `e[i]`
    Index(Box<Expr>, Box<Expr>),
    /// `not e`, `~e`
    Unary(UnaryOp, Box<Expr>),
    /// `a + b`
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `a..b`, `a..=b`
    Range {
        /// First.
        low: Box<Expr>,
        /// Last, or after the last.
        high: Box<Expr>,
        /// `..=`
        inclusive: bool,
    },
    /// `e as T`, `e as% T`
    Cast {
        /// The value.
        value: Box<Expr>,
        /// The type.
        ty: Type,
        /// `as%`
        wrap: bool,
    },
    /// `if c { } else { }`
    If(Box<Expr>, Block, Option<Box<Expr>>),
    /// `match e { }`
    Match(Box<Expr>, Vec<Arm>),
    /// `{ }`
    Block(Block),
    /// `(e)`: kept for the formatter.
    Paren(Box<Expr>),
    /// `[a, b]`, `[k => v]`
    List(Vec<(Expr, Option<Expr>)>),
    /// `drop "..."`
    Drop(Option<Str>),
    /// `emit a, b[i](x)`
    Emit(Vec<EmitTarget>),
    /// `first x in T where e`
    First {
        /// The variable.
        var: Ident,
        /// The array.
        table: Box<Expr>,
        /// The condition.
        cond: Box<Expr>,
    },
    /// `forall a, b in T: e`; `count(a in T where e)`
    Quantified {
        /// Which.
        quantifier: Quantifier,
        /// Variables.
        vars: Vec<Ident>,
        /// A table or a range.
        over: Box<Expr>,
        /// The formula.
        body: Box<Expr>,
    },
    /// `whenever a emits p as x: S, ... then e`
    Whenever(Vec<Emits>, Box<Expr>),
    /// `after a: e`
    After(Box<Expr>, Box<Expr>),
    /// `a emits p as x: S where e`
    Emits(Emits, Option<Box<Expr>>),
    /// `count(a emits p as x: S where e)`
    Counted(Emits, Option<Box<Expr>>),
    /// `a drops "..."`
    Drops(Box<Expr>, Vec<Str>),
    /// `same(a, b) except (f, f)`
    Same(Vec<Expr>, Vec<Expr>),
    /// `refused(a, x, 1)`
    Refused(Vec<Expr>),
    /// `time since last (event)`
    Since(Box<EventPattern>),
    /// Not parsed.
    Error,
}

/// Quantifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Quantifier {
    /// `forall`
    All,
    /// `exists`
    Exists,
    /// `count`
    Count,
}

/// A target of `emit`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EmitTarget {
    /// The output.
    pub port: PortRef,
    /// Values beside the packet.
    pub args: Vec<Expr>,
}

/// `a emits p as x: S`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Emits {
    /// The packet that arrives.
    pub packet: Box<Expr>,
    /// Where it leaves.
    pub port: PortRef,
    /// The packet that leaves.
    pub bind: Option<(Ident, Option<ShapeRef>)>,
    /// All of it.
    pub span: Span,
}

/// Prefix operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum UnaryOp {
    /// `not`
    Not,
    /// `~`
    Complement,
}

/// Infix operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "each is named after its sign")]
pub enum BinaryOp {
    Implies,
    Or,
    And,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    Range,
    RangeInclusive,
    BitOr,
    BitXor,
    BitAnd,
    Shl,
    Shr,
    Add,
    Sub,
    AddWrap,
    SubWrap,
    AddSat,
    SubSat,
    Mul,
    Div,
    Rem,
    MulWrap,
}

/// A property or an invariant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Property {
    /// Whether it is an invariant.
    pub invariant: bool,
    /// Name.
    pub name: Ident,
    /// `for BOX`
    pub target: Option<Path>,
    /// `rfc 4787 "REQ-1"`, `source "..."`, `row N1`, `gravel name`
    pub labels: Vec<Label>,
    /// What it says. An invariant: formulas in [`PropertyBody::Always`].
    pub bodies: Vec<PropertyBody>,
}

/// Where a property comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Label {
    /// `rfc 4787 "REQ-1"`
    Rfc(u128, Str),
    /// `source "..."`
    Source(Str),
    /// `row N1, N2`
    Rows(Vec<Ident>),
    /// `gravel name`
    Gravel(Ident),
}

/// What a property says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[allow(clippy::large_enum_variant, reason = "a program has few properties")]
pub enum PropertyBody {
    /// A formula over states.
    Always(Expr),
    /// `forall a: S at p, ... where e then e;`
    Step {
        /// The packets.
        packets: Vec<PacketVar>,
        /// The premise.
        cond: Option<Expr>,
        /// The conclusion.
        conclusion: Expr,
    },
    /// `once A then any r ... must emit ... for as long as C;`
    Persists(Box<Persists>),
    /// `B only after A within d unless since E;`
    OnlyAfter {
        /// B
        event: EventPattern,
        /// A
        after: EventPattern,
        /// `within d`
        within: Option<Expr>,
        /// `unless since E`
        unless: Option<EventPattern>,
    },
    /// `independent V from U except "...";`
    Independent {
        /// V
        observed: EventPattern,
        /// U
        from: EventPattern,
        /// Drop reasons.
        except: Vec<Str>,
    },
    /// `bound e of E per k over t: limit;`
    Bound {
        /// What each event adds.
        amount: Expr,
        /// The events.
        event: EventPattern,
        /// The key.
        key: Option<Expr>,
        /// The interval's name.
        interval: Ident,
        /// The limit.
        limit: Expr,
    },
    /// `reachable E;`
    Reachable(EventPattern),
    /// `assume "..." body`
    Assume(Str, Box<PropertyBody>),
    /// Not parsed.
    Error,
}

/// `a: S at p`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PacketVar {
    /// Name.
    pub name: Ident,
    /// Shape.
    pub shape: ShapeRef,
    /// Where it arrives.
    pub port: PortRef,
}

/// The parts of a persistence property.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Persists {
    /// A
    pub once: EventPattern,
    /// `any r: S at p where e`
    pub then: PacketVar,
    /// Its `where`.
    pub cond: Option<Expr>,
    /// `must emit p as t: S where e`
    pub emits: Option<(PortRef, Option<(Ident, Option<ShapeRef>)>, Option<Expr>)>,
    /// `else drops "..."`; or `must drop "..."`
    pub drops: Vec<Str>,
    /// C
    pub condition: Expr,
}

/// `a: S at p emits q as x: S where e`, `a: S at p drops "..." where e`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventPattern {
    /// The packet.
    pub packet: PacketVar,
    /// What becomes of it.
    pub effect: Effect,
    /// The `where`.
    pub cond: Option<Expr>,
    /// All of it.
    pub span: Span,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Effect {
    /// Not asked.
    Any,
    /// It is emitted.
    Emits(PortRef, Option<(Ident, Option<ShapeRef>)>),
    /// It is dropped.
    Drops(Vec<Str>),
}
