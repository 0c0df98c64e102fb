//! What an observer is told of a step. Observing changes nothing, and nothing is made for an observer that is not there.

use super::packet::Place;
use crate::ir::{ElementId, FieldId, HeaderId, InputRef, PortId, ReasonId, TableId};
use crate::span::Span;

/// Something that happened, in program order.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A packet arrives at an external port.
    Arrive {
        /// The port.
        port: PortId,
        /// The frame.
        bytes: &'a [u8],
    },
    /// A timer fires.
    Timer {
        /// The element.
        element: ElementId,
        /// Its timer, from 0.
        timer: u32,
        /// When.
        now: u64,
    },
    /// A new generation of control tables was installed.
    Update,
    /// A packet comes into an element.
    Enter {
        /// By which input.
        input: InputRef,
        /// The values beside the packet.
        args: &'a [u128],
        /// The frame.
        bytes: &'a [u8],
    },
    /// A header was looked for.
    Header {
        /// The layout.
        header: HeaderId,
        /// Where it is; none: it is malformed.
        place: Option<Place>,
        /// The frame.
        bytes: &'a [u8],
        /// Where in the source.
        span: Span,
    },
    /// A field was written.
    SetField {
        /// The layout.
        header: HeaderId,
        /// The field.
        field: FieldId,
        /// The value before.
        old: u128,
        /// The value now.
        new: u128,
        /// Where in the source.
        span: Span,
    },
    /// A header was put in (or there was no room).
    Push {
        /// The layout.
        header: HeaderId,
        /// Whether there was room.
        ok: bool,
        /// Where in the source.
        span: Span,
    },
    /// A header was taken out.
    Pop {
        /// The layout.
        header: HeaderId,
        /// Where in the source.
        span: Span,
    },
    /// A table was read or written.
    Table {
        /// How.
        op: TableOp,
        /// The table.
        table: TableId,
        /// The key's scalars (the index).
        key: &'a [u128],
        /// The value's scalars, read or written.
        value: &'a [u128],
        /// Whether it was found, or succeeded.
        ok: bool,
        /// Where in the source.
        span: Span,
    },
    /// What was dead in a full table was swept.
    Sweep {
        /// The table.
        table: TableId,
        /// The keys' scalars.
        gone: &'a [Box<[u128]>],
    },
    /// A choice was made.
    Choice {
        /// The chosen variable.
        name: &'a str,
        /// The value; none: `else`.
        value: Option<u128>,
        /// How many tiers were left before.
        left: u32,
        /// Where in the source.
        span: Span,
    },
    /// A branch that the source wrote begins.
    Branch {
        /// See [`crate::ir::StmtKind::Branch`].
        implied: bool,
        /// Where in the source.
        span: Span,
    },
    /// The packet is sent along an output of an element.
    Emit {
        /// The element.
        element: ElementId,
        /// Its output.
        output: u32,
        /// The frame.
        bytes: &'a [u8],
        /// Where in the source.
        span: Span,
    },
    /// A packet leaves the box.
    Leave {
        /// The port.
        port: PortId,
        /// The frame.
        bytes: &'a [u8],
    },
    /// The packet is dropped.
    Drop {
        /// The element.
        element: ElementId,
        /// Why.
        reason: ReasonId,
        /// Where in the source.
        span: Span,
    },
}

/// How a table was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableOp {
    /// Looked up.
    Get,
    /// Looked up, and its lifetime refreshed if it was there.
    Touch,
    /// Longest-prefix match.
    Longest,
    /// Inserted, or refused.
    Insert,
    /// A live entry's value changed.
    Set,
    /// Removed.
    Remove,
    /// Its deadline was set; the value shown is the deadline.
    ExpireAt,
    /// Tokens were taken; the value shown is 0 conforms, 1 exceeds, 2 no room.
    Take,
    /// An element, a cell or a counter was read.
    Read,
    /// An element or a cell was written, or a counter added to.
    Write,
    /// The first element of an array that fits was looked for; the key is its index.
    First,
}

/// Is told what happens.
pub trait Observer {
    /// Something happened.
    fn event(&mut self, event: Event<'_>);
}
