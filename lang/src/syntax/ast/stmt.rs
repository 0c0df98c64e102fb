//! Blocks: statements and patterns.

use super::{Expr, HeaderPattern, Ident, Path, ShapeRef, Str, Type};
use crate::span::Span;
use serde::Serialize;
use std::sync::Arc;

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
        ty: Option<Box<Type>>,
        /// The value.
        value: Box<Expr>,
        /// If it does not match.
        other: Option<Block>,
    },
    /// `var x [: T] = e;`
    Var {
        /// Name.
        name: Ident,
        /// Type.
        ty: Option<Box<Type>>,
        /// First value.
        value: Expr,
    },
    /// `place = e;`
    Assign(Box<Expr>, Expr),
    /// `e;`, or a block-like expression without `;`
    Expr(Expr),
    /// `inserts else { }`
    Else(Expr, Block),
    /// `for i in a..b { }`
    For {
        /// The variable.
        var: Ident,
        /// The range.
        range: Box<Expr>,
        /// The body.
        body: Block,
    },
    /// `choose`
    Choose(Box<Choose>),
    /// `push H { } before h as name else { }`
    Push {
        /// The header, a struct literal.
        header: Box<Expr>,
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
    ExpectMatch(PortRef, Ident, ShapeRef, Option<Box<Expr>>),
    /// `expect drop "...";`
    ExpectDrop(Option<Str>),
    /// `ignore;`
    Ignore,
    /// `advance e;`
    Advance(Expr),
    /// `assert e;`
    Assert(Expr),
    /// `assert property "..." for PORT e, PORT e;`
    AssertProperty(Str, Vec<(PortRef, Expr)>),
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
    Feed(Box<Expr>, Expr),
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
    Literal(Box<Expr>),
    /// Headers.
    Headers(Arc<HeaderPattern>),
    /// `a | b`
    Or(Vec<Pattern>),
}

/// An arm of a match.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Arm {
    /// The pattern.
    pub pattern: Pattern,
    /// `if e`
    pub guard: Option<Box<Expr>>,
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
