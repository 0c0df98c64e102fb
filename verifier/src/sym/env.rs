//! What symbolic runs share: the terms, what is known of them, and what steps do.

use super::longest::Match;
use super::opened::Opened;
use super::packet::{Found, Packet, Position};
use super::state::World;
use super::value::Sym;
use super::wiring::{Arrival, ranks};
use crate::term::{Sort, Term, Terms};
use grv_lang::interp::Passage;
use grv_lang::ir::spec::Quantifier;
use grv_lang::ir::{
    Block, Body, ElementId, HeaderId, InputRef, LocalId, Obligation, PacketId, PortId, Program, ReasonId, TableId,
};
use grv_lang::span::Span;
use rustc_hash::{FxHashMap, FxHashSet};
use std::rc::Rc;
use thiserror::Error;

/// Something that the formulas do not model: what depends on it is not decided.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what} cannot be put into a formula yet")]
pub struct Unsupported {
    /// What it is.
    pub what: String,
    /// Where in the source.
    pub span: Span,
}

impl Unsupported {
    pub(crate) fn new(what: impl Into<String>, span: Span) -> Unsupported {
        Unsupported { what: what.into(), span }
    }
}

/// A packet that leaves.
#[derive(Clone, Debug)]
pub struct Output {
    /// On these ways.
    pub guard: Term,
    /// On this port.
    pub port: PortId,
    /// As it is then.
    pub packet: Packet,
}

/// A packet that is dropped.
#[derive(Clone, Debug)]
pub struct Dropped {
    /// On these ways.
    pub guard: Term,
    /// By which element.
    pub element: ElementId,
    /// Why.
    pub reason: ReasonId,
    /// Where in the source.
    pub span: Span,
}

/// A choice that is made.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) guard: Term,
    pub(crate) name: String,
    /// How many tiers were left before, an integer.
    pub(crate) left: Term,
}

/// Something that must hold wherever a run comes by.
#[derive(Clone, Debug)]
pub struct Obliged {
    /// On these ways.
    pub guard: Term,
    /// This.
    pub holds: Term,
    /// Why, in words.
    pub what: String,
    /// The kind, if the source's own check demands it.
    pub kind: Option<Obligation>,
    /// The element.
    pub element: Option<ElementId>,
    /// Where in the source.
    pub span: Span,
}

/// A branch of the source or an edge of the wiring, and the ways that take it.
#[derive(Clone, Debug)]
pub struct Branch {
    /// These ways.
    pub guard: Term,
    /// Which one.
    pub passage: Passage,
}

/// All that the step of a packet does.
#[derive(Clone, Debug)]
pub struct StepResult {
    /// Packets that leave, in order.
    pub out: Vec<Output>,
    /// Packets that are dropped, in order.
    pub drops: Vec<Dropped>,
    pub(crate) choices: Vec<Choice>,
    /// What must hold on the way.
    pub obliged: Vec<Obliged>,
    /// The state after it.
    pub after: World,
}

/// What happens during a step.
#[derive(Debug, Default)]
pub(crate) struct Happens {
    pub(crate) out: Vec<Output>,
    pub(crate) drops: Vec<Dropped>,
    pub(crate) choices: Vec<Choice>,
    pub(crate) obliged: Vec<Obliged>,
}

/// The variables of a body on all ways through it that are alive.
#[derive(Clone, Debug)]
pub(crate) struct Env<'p> {
    pub(crate) body: &'p Body,
    pub(crate) element: Option<ElementId>,
    pub(crate) locals: Vec<Sym>,
    pub(crate) found: Vec<Vec<Found>>,
    pub(crate) packets: Vec<Packet>,
    pub(crate) world: World,
    /// The ways that are alive.
    pub(crate) way: Term,
    /// Whether nothing follows in the handler.
    pub(crate) last: bool,
}

/// Over what a quantified formula speaks.
#[derive(Clone, Debug)]
pub(crate) enum Over {
    /// The live entries of a table, or all elements of an array.
    Entries { table: TableId, key: Vec<LocalId>, value: Vec<LocalId> },
    /// The elements of an array; before one, if that one was found.
    Elements { table: TableId, index: LocalId, value: Vec<LocalId>, below: (Term, Sym) },
    /// The integers between two.
    Range { var: LocalId, low: Sym, high: Sym },
}

/// What a quantified formula says of each instance.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Says<'p> {
    /// What a block computes.
    Block(&'p Block, LocalId),
    /// The entry shares its deadline with a live entry of the other table.
    Shares,
    /// The bucket holds what buckets hold.
    Bucket,
}

/// A quantified formula: what it says of each instance, on the variables as they are where it stands.
#[derive(Debug)]
pub struct Quant<'p> {
    pub(crate) quantifier: Quantifier,
    pub(crate) over: Over,
    pub(crate) says: Says<'p>,
    pub(crate) env: Rc<Env<'p>>,
    /// The generation that it came up in.
    pub(crate) generation: u32,
}

/// The deadline of an entry of a state of which nothing is known, which others may share.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// The name of the table in that state.
    pub(crate) base: Rc<str>,
    /// Whether the entry is there.
    pub(crate) present: Term,
    pub(crate) key: Vec<Term>,
    /// The deadline's number.
    pub(crate) number: Term,
}

/// A step that is known: the same packet in the same state does the same.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) world: u32,
    pub(crate) port: PortId,
    pub(crate) packet: Packet,
    pub(crate) result: Rc<StepResult>,
}

/// A body without variables.
static NOTHING: Body = Body { locals: Vec::new(), handles: Vec::new(), packets: Vec::new(), block: Vec::new() };

/// One question's terms, and all that is known of them.
#[derive(Debug)]
pub struct Engine<'p> {
    /// The box.
    pub program: &'p Program,
    /// The parameters, if they are not to stay open.
    pub(crate) params: Option<Vec<Vec<u128>>>,
    /// A body without variables.
    pub(crate) nothing: &'p Body,
    /// The terms.
    pub terms: Terms,
    /// What holds of every symbol, whatever is asked.
    pub facts: Vec<Fact>,
    /// How many live entries there are, where it was asked: by state and table.
    pub(crate) sizes: FxHashMap<(u32, TableId), Term>,
    /// Names of headers that were put into packets: by where in the source, and how many were put in before.
    pub(crate) pushed: FxHashMap<(Span, HeaderId, usize), u32>,
    pub(crate) quants: Vec<Quant<'p>>,
    /// By table: keys that were looked up, each with the generation that first did so.
    pub(crate) touched: Vec<Vec<(Vec<Sym>, u32)>>,
    /// How many instances of quantified formulas led to what is being put together.
    pub(crate) generation: u32,
    pub(crate) known: Vec<Known>,
    /// Checksums that were updated, and what they are then.
    pub(crate) checksums: Vec<(Update, Term)>,
    /// So many of them are another program's, with which this one is compared.
    pub(crate) of_another: usize,
    /// Deadlines of entries that others may share.
    pub(crate) slots: Vec<Slot>,
    /// Integers that stand for exceptions to formulas over ranges.
    pub(crate) examples: Vec<Sym>,
    /// How many there are of something, of each time that it was asked.
    pub(crate) counts: Vec<Term>,
    /// Whether it is asked what must hold wherever something is evaluated.
    pub(crate) obliging: bool,
    /// Whether the state of a question is to be shown.
    pub(crate) shows: bool,
    /// Whether checksums may be anything: what is found is tried out anyway.
    pub(crate) loose: bool,
    /// Then: what is most often so, of what the rules leave open.
    pub(crate) usual: Vec<Term>,
    /// And of which headers it was asked whether they are right.
    pub(crate) loosely_right: Vec<(Packet, Position, HeaderId, Term)>,
    /// Longest-prefix matches that were made.
    pub(crate) matches: Vec<Match>,
    pub(crate) happens: Happens,
    /// Branches and edges that steps came by.
    pub branches: Vec<Branch>,
    /// What they left open, in order.
    pub(crate) opened: Vec<Opened>,
    /// Writes to packets, by number, behind which something was looked at that may share their bytes.
    pub(crate) looked: FxHashSet<u32>,
    pub(crate) stamps: u32,
    pub(crate) depth: usize,
    /// Packets between elements.
    pub(crate) waiting: Vec<Arrival>,
    pub(crate) ranks: FxHashMap<InputRef, u32>,
}

/// Something that holds of every symbol. Symbols are made with what is known of them: a question that does not speak of what a fact
/// is about is not changed by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// What holds.
    pub holds: Term,
    /// Symbols, applied: it matters where all of them are spoken of.
    pub about: Vec<Term>,
}

/// An update of a checksum: the old one, how far it moved, whether zero says that there is none, and where it is in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Update {
    pub(crate) old: Term,
    pub(crate) moved: Term,
    pub(crate) optional: bool,
    pub(crate) span: Span,
}

/// How much was looked at up to some time.
pub(crate) struct Mark {
    touched: Vec<Vec<(Vec<Sym>, u32)>>,
    facts: usize,
    slots: usize,
    known: usize,
}

impl<'p> Engine<'p> {
    /// For one question about a program.
    pub fn new(program: &'p Program) -> Engine<'p> {
        Engine {
            program,
            params: None,
            nothing: &NOTHING,
            terms: Terms::new(),
            facts: Vec::new(),
            sizes: FxHashMap::default(),
            pushed: FxHashMap::default(),
            quants: Vec::new(),
            touched: vec![Vec::new(); program.tables.len()],
            generation: 0,
            known: Vec::new(),
            matches: Vec::new(),
            shows: false,
            loose: false,
            usual: Vec::new(),
            loosely_right: Vec::new(),
            examples: Vec::new(),
            counts: Vec::new(),
            obliging: false,
            slots: Vec::new(),
            checksums: Vec::new(),
            of_another: 0,
            happens: Happens::default(),
            branches: Vec::new(),
            opened: Vec::new(),
            looked: FxHashSet::default(),
            stamps: 0,
            depth: 0,
            waiting: Vec::new(),
            ranks: ranks(program),
        }
    }

    /// How much was looked at so far.
    pub(crate) fn mark(&self) -> Mark {
        Mark { touched: self.touched.clone(), facts: self.facts.len(), slots: self.slots.len(), known: self.known.len() }
    }

    /// Forgets what was looked at since, and what is known of that.
    pub(crate) fn back_to(&mut self, mark: &Mark) {
        self.touched.clone_from(&mark.touched);
        self.facts.truncate(mark.facts);
        self.slots.truncate(mark.slots);
        // A step that was taken is taken again, for what is known of it.
        self.known.truncate(mark.known);
    }

    /// A number that was not given before.
    pub(crate) fn stamp(&mut self) -> u32 {
        self.stamps += 1;
        self.stamps
    }

    /// Something that holds of every symbol.
    pub(crate) fn fact(&mut self, fact: Term) {
        self.fact_about(fact, &[fact]);
    }

    /// The same, and which terms it is about: it says what their newest symbols are, and nothing of the others in it.
    pub(crate) fn fact_about(&mut self, holds: Term, about: &[Term]) {
        let about = about.iter().filter_map(|term| self.terms.newest(*term)).collect();
        let fact = Fact { holds, about };
        if self.terms.as_bool(holds) != Some(true) && !self.facts.contains(&fact) {
            self.facts.push(fact);
        }
    }

    /// Whether a guard holds on all ways of another, none, or nobody knows, as far as the words show.
    pub(crate) fn under(&self, way: Term, guard: Term) -> Option<bool> {
        self.terms.decided(way, guard)
    }

    /// The variables of a body, all zero.
    pub(crate) fn enter(
        &mut self,
        body: &'p Body,
        element: Option<ElementId>,
        packets: Vec<Packet>,
        world: World,
        way: Term,
    ) -> Env<'p> {
        let locals = body.locals.iter().map(|local| self.terms.zero(local.ty)).collect();
        Env { body, element, locals, found: vec![Vec::new(); body.handles.len()], packets, world, way, last: false }
    }

    /// One on the ways where `c` holds, the other where it does not. A side without ways is not looked at but for its state.
    pub(crate) fn merge(&mut self, before: &World, c: Term, a: Env<'p>, b: Env<'p>, span: Span) -> Result<Env<'p>, Unsupported> {
        let world = self.merge_worlds(before, c, &a.world, &b.world);
        let way = self.terms.or(&[a.way, b.way]);
        match (self.terms.as_bool(a.way), self.terms.as_bool(b.way)) {
            (Some(false), _) => return Ok(Env { world, way, ..b }),
            (_, Some(false)) => return Ok(Env { world, way, ..a }),
            _ => {}
        }
        let locals = a.locals.iter().zip(&b.locals).map(|(x, y)| self.terms.select(c, *x, *y)).collect();
        let mut packets = Vec::with_capacity(a.packets.len());
        for (x, y) in a.packets.iter().zip(&b.packets) {
            packets.push(self.merge_packets(c, x, y, span)?);
        }
        let not_c = self.terms.not(c);
        let found = a.found.into_iter().zip(b.found).map(|(x, y)| self.merge_found(c, not_c, x, y)).collect();
        Ok(Env { locals, packets, found, world, way, ..b })
    }

    fn merge_found(&mut self, c: Term, not_c: Term, a: Vec<Found>, b: Vec<Found>) -> Vec<Found> {
        if a == b {
            return a;
        }
        let mut all: Vec<Found> = Vec::new();
        for (side, found) in a.into_iter().map(|f| (c, f)).chain(b.into_iter().map(|f| (not_c, f))) {
            let guard = self.terms.and(&[side, found.guard]);
            let same =
                all.iter_mut().find(|f| f.position == found.position && f.header == found.header && f.packet == found.packet);
            match same {
                Some(known) => {
                    let mut part = |x: Sym, y: Sym| self.terms.select(guard, y, x);
                    known.place.start = part(known.place.start, found.place.start);
                    known.place.length = part(known.place.length, found.place.length);
                    known.place.end = part(known.place.end, found.place.end);
                    known.place.limit = part(known.place.limit, found.place.limit);
                    known.guard = self.terms.or(&[known.guard, guard]);
                }
                None => all.push(Found { guard, ..found }),
            }
        }
        all
    }

    /// A truth value that is open.
    pub(crate) fn open(&mut self, name: &str) -> Term {
        self.terms.fresh(name, Sort::Bool)
    }

    /// Binds a packet variable; what was known of its headers is forgotten.
    pub(crate) fn bind(&mut self, env: &mut Env<'p>, packet: PacketId, to: &Packet) {
        env.packets[packet.index()] = to.clone();
        for (index, handle) in env.body.handles.iter().enumerate() {
            if handle.packet == packet {
                env.found[index].clear();
            }
        }
    }

    /// What had to hold during an event without a packet.
    pub(crate) fn take_obliged(&mut self) -> Vec<Obliged> {
        std::mem::take(&mut self.happens.obliged)
    }
}
