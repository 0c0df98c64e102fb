//! The ends of connections: which port of which instance a name means.

use super::Elab;
use super::body::{Body, Env, Place};
use super::wiring::{Node, Wiring};
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::{self, PortId};
use crate::span::Span;
use crate::syntax::ast;
use rustc_hash::FxHashMap;
use std::rc::Rc;

/// What an instance's name means in connections.
pub(super) enum Part {
    /// An element: index into [`Wiring::instances`].
    Element(usize),
    /// A nested middlebox: the first number and the count of each port.
    Box(Vec<(Box<str>, u32, Option<u32>)>),
}

/// Ports of the box that is elaborated.
pub(super) enum Ports {
    /// Of the program.
    External,
    /// Of a nested box.
    Nested(Vec<(Box<str>, u32, Option<u32>)>),
}

impl Elab {
    #[allow(clippy::too_many_arguments, reason = "the scope of a connection")]
    pub(super) fn connect_ends(
        &mut self,
        params: &Rc<Env>,
        env: &Env,
        parts: &FxHashMap<Box<str>, Part>,
        ports: &Ports,
        wiring: &mut Wiring,
        from: &ast::WireEnd,
        to: &ast::WireEnd,
    ) {
        let span = from.span.to(to.span);
        let sources = self.wire_end(params, env, parts, ports, wiring, from, true);
        let targets = self.wire_end(params, env, parts, ports, wiring, to, false);
        let (Some(sources), Some(targets)) = (sources, targets) else { return };
        if sources.len() != targets.len() {
            let message = format!("{} ports on the left, {} on the right", sources.len(), targets.len());
            let d = Diagnostic::new(Code::BadWire, span, message);
            return self.report(d.note("arrays of one length are connected element by element; one of them is named by `[i]`"));
        }
        for (a, b) in sources.into_iter().zip(targets) {
            self.connect(wiring, a, b, span);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the scope of a connection")]
    fn wire_end(
        &mut self,
        params: &Rc<Env>,
        env: &Env,
        parts: &FxHashMap<Box<str>, Part>,
        ports: &Ports,
        wiring: &Wiring,
        end: &ast::WireEnd,
        source: bool,
    ) -> Option<Vec<Node>> {
        let index = match &end.index {
            None => None,
            Some(e) => {
                let mut body = Body::with_env(Place::Const, params);
                Some((self.constant_number(&mut body, e, 32)? as u32, e.span))
            }
        };
        let Some(part) = parts.get(&end.first.name) else {
            if end.second.is_some() {
                let known: Vec<String> = parts.keys().map(|n| n.to_string()).collect();
                if env.names.contains_key(&end.first.name) || !known.is_empty() {
                    self.unknown_name(&end.first, known);
                }
                return None;
            }
            return self.box_port(env, ports, wiring, end, index, source);
        };
        match part {
            Part::Element(at) => {
                let instance = &wiring.instances[*at];
                let list = if source { &instance.outputs } else { &instance.inputs };
                let found = match &end.second {
                    Some(name) => list.iter().position(|p| p.name == name.name),
                    None if list.len() == 1 => Some(0),
                    None => {
                        let what = if source { "output" } else { "input" };
                        self.error(
                            Code::BadWire,
                            end.span,
                            format!("`{}` has {} {what}s: say which", end.first.name, list.len()),
                        );
                        return None;
                    }
                };
                let (Some(n), id) = (found, instance.id) else {
                    let known: Vec<String> = list.iter().map(|p| p.name.to_string()).collect();
                    if let Some(name) = &end.second {
                        let other = if source { &instance.inputs } else { &instance.outputs };
                        if other.iter().any(|p| p.name == name.name) {
                            let message = if source {
                                "this is an input: nothing comes out of it"
                            } else {
                                "this is an output: nothing goes into it"
                            };
                            self.error(Code::BadWire, name.span, message);
                        } else {
                            self.unknown_name(name, known);
                        }
                    }
                    return None;
                };
                let indices = self.wire_indices(list[n].count, index, end.span)?;
                Some(indices.map(|i| if source { Node::Output(id, n as u32, i) } else { Node::Input(id, n as u32, i) }).collect())
            }
            Part::Box(inner) => {
                let found = match &end.second {
                    Some(name) => inner.iter().find(|p| p.0 == name.name),
                    None if inner.len() == 1 => inner.first(),
                    None => None,
                };
                let Some((_, first, count)) = found else {
                    match &end.second {
                        Some(name) => self.unknown_name(name, inner.iter().map(|p| p.0.to_string())),
                        None => self.error(
                            Code::BadWire,
                            end.span,
                            format!("`{}` has {} ports: say which", end.first.name, inner.len()),
                        ),
                    }
                    return None;
                };
                let indices = self.wire_indices(*count, index, end.span)?;
                Some(indices.map(|i| if source { Node::OutOf(first + i) } else { Node::Into(first + i) }).collect())
            }
        }
    }

    fn box_port(
        &mut self,
        env: &Env,
        ports: &Ports,
        wiring: &Wiring,
        end: &ast::WireEnd,
        index: Option<(u32, Span)>,
        source: bool,
    ) -> Option<Vec<Node>> {
        let name = &end.first.name;
        if &**name == "host" {
            if source {
                self.error(Code::BadWire, end.span, "what the machine's own stack sends does not come through the box");
                return None;
            }
            let host = self.prog.ports.iter().position(|p| p.name == "host").unwrap_or_else(|| {
                self.prog.ports.push(ir::Port { name: "host".to_string(), entry: None });
                self.prog.ports.len() - 1
            });
            return Some(vec![Node::Departure(PortId(host as u32))]);
        }
        let (first, count) = match ports {
            Ports::External => match env.ports.get(name) {
                Some((p, count)) => (p.0, *count),
                None => {
                    let known: Vec<String> = env.ports.keys().map(|n| n.to_string()).collect();
                    self.unknown_name(&end.first, known);
                    return None;
                }
            },
            Ports::Nested(list) => match list.iter().find(|p| p.0 == *name) {
                Some((_, first, count)) => (*first, *count),
                None => {
                    self.unknown_name(&end.first, list.iter().map(|p| p.0.to_string()));
                    return None;
                }
            },
        };
        let _ = wiring;
        let indices = self.wire_indices(count, index, end.span)?;
        let external = matches!(ports, Ports::External);
        Some(
            indices
                .map(|i| match (external, source) {
                    (true, true) => Node::Arrival(PortId(first + i)),
                    (true, false) => Node::Departure(PortId(first + i)),
                    (false, true) => Node::Into(first + i),
                    (false, false) => Node::OutOf(first + i),
                })
                .collect(),
        )
    }

    fn wire_indices(&mut self, count: Option<u32>, index: Option<(u32, Span)>, span: Span) -> Option<std::ops::Range<u32>> {
        match (count, index) {
            (None, None) => Some(0..1),
            (Some(n), None) => Some(0..n),
            (Some(n), Some((i, _))) if i < n => Some(i..i + 1),
            (Some(n), Some((_, at))) => {
                self.error(Code::BadRange, at, format!("there are {n} ports"));
                None
            }
            (None, Some(_)) => {
                self.error(Code::BadRange, span, "this is one port, no array");
                None
            }
        }
    }
}
