//! What every program is obliged to beside safety: some event must come by each branch that the source wrote, and by each edge of
//! the wiring. A drop or an emission is reached where its branch is.
//!
//! A branch is one obligation wherever its element is instantiated, and whatever its functions are called with: an element that is
//! made for several uses may leave a part to one of them. An edge belongs to one instance, since the box itself drew it; the
//! alternatives of a contract share it.

use super::Goal;
use super::ground::ask;
use super::induct::{Known, describe, events, goal, happen, known};
use crate::sym::Engine;
use grv_lang::interp::{Cover, Passage};
use grv_lang::ir::{Block, Element, ElementId, Program, StmtKind, Target};
use grv_lang::span::Span;

/// Something that events must come by.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// What is said of it.
    pub(super) name: String,
    /// Where it is.
    pub(super) span: Span,
    /// Any of these.
    pub(super) passages: Vec<Passage>,
}

impl Place {
    /// Whether an event was seen that comes by.
    pub(super) fn seen(&self, cover: &Cover) -> bool {
        self.passages.iter().any(|p| cover.seen.contains(p))
    }

    /// That no event comes by: proved, it is unreachable.
    pub(super) fn goals(&self, program: &Program, given: &Known) -> Vec<Goal> {
        let of = |event| {
            goal(&describe(program, event), || {
                let mut engine = Engine::new(program);
                let world = engine.any("s");
                let mut all = known(&mut engine, given, &world)?;
                // Steps that what is given speaks of are not this event's.
                engine.branches.clear();
                happen(&mut engine, &world, event, &mut all)?;
                let ways: Vec<_> =
                    engine.branches.iter().filter(|b| self.passages.contains(&b.passage)).map(|b| b.guard).collect();
                let comes = engine.terms.or(&ways);
                let never = engine.terms.not(comes);
                ask(&mut engine, &all, never)
            })
        };
        events(program).into_iter().map(of).collect()
    }
}

/// The branches and edges of a program that no event was seen to come by: what is said of each, and where it is.
pub fn unseen(program: &Program, cover: &Cover) -> Vec<(String, Span)> {
    places(program).into_iter().filter(|place| !place.seen(cover)).map(|place| (place.name, place.span)).collect()
}

/// All places of a program.
pub(super) fn places(program: &Program) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for (id, element) in (0..).map(ElementId).zip(&program.elements) {
        let inputs = element.inputs.iter().map(|input| &input.body);
        for body in inputs.chain(element.timers.iter().map(|timer| &timer.body)).chain(&element.update) {
            branches(&body.block, &mut places);
        }
        edges(program, id, element, &mut places);
    }
    places
}

fn branches(block: &Block, places: &mut Vec<Place>) {
    for stmt in block {
        match &stmt.kind {
            StmtKind::Branch { implied } => {
                let passage = Passage::Branch { span: stmt.span, implied: *implied };
                if !places.iter().any(|p| p.passages.contains(&passage)) {
                    let name = if *implied { "some event fails the condition" } else { "some event comes by this branch" };
                    places.push(Place { name: name.to_string(), span: stmt.span, passages: vec![passage] });
                }
            }
            StmtKind::If { then, other, .. } => {
                branches(then, places);
                branches(other, places);
            }
            StmtKind::Parse { ok, malformed, .. } => {
                branches(ok, places);
                branches(malformed, places);
            }
            StmtKind::Switch { cases, default, .. } => {
                cases.iter().for_each(|(_, _, case)| branches(case, places));
                branches(default, places);
            }
            _ => {}
        }
    }
}

fn edges(program: &Program, id: ElementId, element: &Element, places: &mut Vec<Place>) {
    let first = places.len();
    for (number, output) in (0..).zip(&element.outputs) {
        let passage = Passage::Edge(id, number);
        let target = match output.target {
            Target::Port(port) => program.ports[port.index()].name.clone(),
            Target::Input(to) => {
                let element = &program.elements[to.element.index()];
                format!("{}.{}", element.name, plain(&element.inputs[to.input as usize].name))
            }
        };
        let name = format!("some packet goes along `{}.{} -> {target}`", element.name, plain(&output.name));
        match places[first..].iter_mut().find(|p| p.name == name) {
            Some(place) => place.passages.push(passage),
            None => places.push(Place { name, span: output.span, passages: vec![passage] }),
        }
    }
}

/// A port's name without the alternative of its contract.
fn plain(name: &str) -> &str {
    name.split('/').next().unwrap_or(name)
}
