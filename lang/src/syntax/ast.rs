//! The syntax tree: what was written, with exact spans, nothing resolved. Parts that could not be parsed are `Error` nodes.

mod expr;
mod item;
mod property;
mod stmt;

use crate::span::Span;
use serde::Serialize;

pub use expr::{BinaryOp, EmitTarget, Emits, Expr, ExprKind, Quantifier, UnaryOp};
pub use item::{
    Arg, BlockDecl, BlockKind, Claim, Cover, Field, File, Fn, Handler, HandlerEvent, HeaderMember, HeaderMemberKind,
    HeaderPattern, Item, ItemKind, Layer, Member, MemberKind, Param, ParamRole, PortDecl, PortKind, ShapeDecl, ShapeRef,
    StateClause, StateDecl, StateRole, Type, TypeKind, Variant, WireEnd,
};
pub use property::{Effect, EventPattern, Label, PacketVar, Persists, Property, PropertyBody};
pub use stmt::{Arm, Block, Choose, Pattern, PatternKind, PortRef, Stmt, StmtKind};

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
