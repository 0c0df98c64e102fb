//! The way of a packet from element to element. What a handler sends at its end waits until all that may arrive at the same input
//! has done so, and then runs once, on the ways of all of them: handlers run as often as there are inputs, not as there are ways.

use super::env::{Engine, Unsupported};
use super::packet::Packet;
use super::state::World;
use super::value::Sym;
use crate::term::Term;
use grv_lang::ir::{Block, InputRef, Program, StmtKind, Target};
use grv_lang::span::Span;
use rustc_hash::FxHashMap;

/// A packet on its way to an input.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: InputRef,
    pub(crate) packet: Packet,
    pub(crate) args: Vec<Sym>,
    /// On these ways.
    pub(crate) way: Term,
    pub(crate) span: Span,
}

impl Engine<'_> {
    /// Runs handlers from an arrival on until nothing is on its way; the state after it.
    pub(crate) fn travel(&mut self, first: Arrival, world: World) -> Result<World, Unsupported> {
        let outer = std::mem::take(&mut self.waiting);
        let done = self.deliver(first, world);
        self.waiting = outer;
        done
    }

    fn deliver(&mut self, first: Arrival, world: World) -> Result<World, Unsupported> {
        // All changes are said of the ways on which they happen: one state serves all ways.
        let mut world = self.arrive(first, world)?;
        // Wiring has no cycles: what is furthest from its end has seen all that can still arrive.
        while let Some(rank) = self.waiting.iter().map(|a| self.rank(a.at)).max() {
            let Some(at) = self.waiting.iter().map(|a| a.at).find(|at| self.rank(*at) == rank) else { break };
            let (mut here, waiting): (Vec<Arrival>, Vec<Arrival>) =
                std::mem::take(&mut self.waiting).into_iter().partition(|a| a.at == at);
            self.waiting = waiting;
            let mut one = here.remove(0);
            for more in here {
                match self.meet(&one, &more) {
                    Some(met) => one = met,
                    // Packets with other headers put in or taken out stay apart.
                    None => self.waiting.push(more),
                }
            }
            world = self.arrive(one, world)?;
        }
        Ok(world)
    }

    /// Two arrivals at one input as one; they never happen both.
    fn meet(&mut self, a: &Arrival, b: &Arrival) -> Option<Arrival> {
        let packet = self.merge_packets(b.way, &b.packet, &a.packet, b.span).ok()?;
        let args = a.args.iter().zip(&b.args).map(|(x, y)| self.terms.select(b.way, *y, *x)).collect();
        let way = self.terms.or(&[a.way, b.way]);
        Some(Arrival { packet, args, way, ..a.clone() })
    }

    fn rank(&self, at: InputRef) -> u32 {
        self.ranks.get(&at).copied().unwrap_or(0)
    }
}

/// By input: how many elements a packet may still pass from there.
pub(super) fn ranks(program: &Program) -> FxHashMap<InputRef, u32> {
    let mut ranks = FxHashMap::default();
    for port in &program.ports {
        if let Some(entry) = port.entry {
            rank(program, entry, &mut ranks);
        }
    }
    ranks
}

fn rank(program: &Program, at: InputRef, ranks: &mut FxHashMap<InputRef, u32>) -> u32 {
    if let Some(known) = ranks.get(&at) {
        return *known;
    }
    // Wiring is acyclic; the entry made first ends the walk all the same.
    ranks.insert(at, 0);
    let element = &program.elements[at.element.index()];
    let mut outputs = Vec::new();
    emitted(&element.inputs[at.input as usize].body.block, &mut outputs);
    let mut most = 0;
    for output in outputs {
        if let Target::Input(next) = element.outputs[output as usize].target {
            most = most.max(1 + rank(program, next, ranks));
        }
    }
    ranks.insert(at, most);
    most
}

/// The outputs that a handler sends to.
fn emitted(block: &Block, outputs: &mut Vec<u32>) {
    for stmt in block {
        match &stmt.kind {
            StmtKind::Emit { output, .. } => outputs.push(*output),
            StmtKind::If { then, other, .. } => {
                emitted(then, outputs);
                emitted(other, outputs);
            }
            StmtKind::Switch { cases, default, .. } => {
                cases.iter().for_each(|(_, _, block)| emitted(block, outputs));
                emitted(default, outputs);
            }
            StmtKind::Parse { ok, malformed, .. } => {
                emitted(ok, outputs);
                emitted(malformed, outputs);
            }
            _ => {}
        }
    }
}
