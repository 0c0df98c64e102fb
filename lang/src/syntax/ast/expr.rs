//! Expressions.

use super::{Arg, Arm, Block, EventPattern, Ident, Path, PortRef, ShapeRef, Str, Type};
use crate::span::Span;
use serde::Serialize;

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
        ty: Box<Type>,
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
    Emits(Box<Emits>, Option<Box<Expr>>),
    /// `count(a emits p as x: S where e)`
    Counted(Box<Emits>, Option<Box<Expr>>),
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
