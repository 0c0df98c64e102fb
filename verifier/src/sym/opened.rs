//! What runs leave open, in the order in which they come by: values that the rules leave to whoever carries a step out. An
//! execution, or a model, says what they are.

use super::env::{Engine, Env};
use super::packet::{Found, Packet};
use super::value::Sym;
use crate::term::Term;
use grv_lang::ir::{HeaderId, TableId};
use grv_lang::span::Span;

/// Something that is left open where a run comes by.
#[derive(Clone, Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "the interpreter's part is given where both are compared"))]
pub(crate) struct Opened {
    /// On these ways.
    pub(crate) guard: Term,
    /// Where in the source.
    pub(crate) span: Span,
    /// What.
    pub(crate) open: Open,
}

/// Values that nothing but facts speaks of.
#[derive(Clone, Debug)]
#[cfg_attr(not(test), allow(dead_code, reason = "the interpreter's part is given where both are compared"))]
pub(crate) enum Open {
    /// A packet comes into an element.
    Enter,
    /// A header is looked for: what its fields are where another header was put in, or written by way of. The names of its fields
    /// begin so, and it is there in the frame; writes with greater numbers come later. A contract says that it is there.
    Fields { header: HeaderId, name: String, start: Sym, last: u32, contract: bool },
    /// Whether there is room for a header: not if it does not fit.
    Header { room: Term, fits: Term },
    /// A choice: the value, whether there is one, and how many tiers were left before (`none`, without a value). Of tiers that have
    /// just one value: the tier, the value, and whether it will do.
    Choice { value: Sym, made: Term, left: Term, none: Term, exactly: Vec<(Term, Sym, Term)> },
    /// The first element of an array: its index, whether there is one, and the number of the formula that there is an earlier one.
    First { index: Sym, hit: Term, earlier: u32 },
    /// Room for an entry: how many are left after sweeping, whether a dead one with the key still is, and whether a target is busy.
    Entry { table: TableId, key: Vec<Sym>, swept: Option<Term>, dead: Option<Term>, contended: Term },
    /// A checksum's update: `new` is `old + moved` and some times 65,535.
    Checksum { old: Term, moved: Term, optional: bool, new: Term, turns: Term },
}

impl<'p> Engine<'p> {
    /// Takes note of something that is left open.
    pub(crate) fn opens(&mut self, env: &Env<'p>, span: Span, open: Open) {
        self.opened.push(Opened { guard: env.way, span, open });
    }

    /// Takes note of a header that is looked for.
    pub(crate) fn looks(&mut self, guard: Term, packet: &Packet, found: &Found, contract: bool, span: Span) {
        let name = format!("{}.", self.path(packet, &found.position, found.header));
        let open = Open::Fields { header: found.header, name, start: found.place.start, last: self.stamps, contract };
        self.opened.push(Opened { guard, span, open });
    }
}
