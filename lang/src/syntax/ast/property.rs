//! Properties and invariants.

use super::{Expr, Ident, Path, PortRef, ShapeRef, Str};
use crate::span::Span;
use serde::Serialize;

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
pub enum PropertyBody {
    /// A formula over states.
    Always(Expr),
    /// `forall a: S at p, ... where e then e;`
    Step {
        /// The packets.
        packets: Vec<PacketVar>,
        /// The premise.
        cond: Option<Box<Expr>>,
        /// The conclusion.
        conclusion: Box<Expr>,
    },
    /// `once A then any r ... must emit ... for as long as C;`
    Persists(Box<Persists>),
    /// `B only after A within d unless since E;`
    OnlyAfter {
        /// B
        event: Box<EventPattern>,
        /// A
        after: Box<EventPattern>,
        /// `within d`
        within: Option<Box<Expr>>,
        /// `unless since E`
        unless: Option<Box<EventPattern>>,
    },
    /// `independent V from U except "...";`
    Independent {
        /// V
        observed: Box<EventPattern>,
        /// U
        from: Box<EventPattern>,
        /// Drop reasons.
        except: Vec<Str>,
    },
    /// `bound e of E per k over t: limit;`
    Bound {
        /// What each event adds.
        amount: Box<Expr>,
        /// The events.
        event: Box<EventPattern>,
        /// The key.
        key: Option<Box<Expr>>,
        /// The interval's name.
        interval: Ident,
        /// The limit.
        limit: Box<Expr>,
    },
    /// `reachable E;`
    Reachable(Box<EventPattern>),
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
    pub once: Box<EventPattern>,
    /// `any r: S at p where e`
    pub then: PacketVar,
    /// Its `where`.
    pub cond: Option<Expr>,
    /// `must emit p as t: S where e`
    pub emits: Option<(PortRef, Option<(Ident, Option<ShapeRef>)>, Option<Box<Expr>>)>,
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
