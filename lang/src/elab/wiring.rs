//! Connections: from what is written to where each output leads. Ports of nested middleboxes are followed through.

use super::Elab;
use super::element::{Instance, PortInfo};
use crate::diagnostics::{Code, Diagnostic};
use crate::ir::{self, ElementId, InputRef, PortId, Target};
use crate::span::Span;
use rustc_hash::FxHashMap;

/// A place that packets leave from or come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    /// An output: element, its number, index in a port array.
    Output(ElementId, u32, u32),
    /// An input.
    Input(ElementId, u32, u32),
    /// Packets that arrive at an external port.
    Arrival(PortId),
    /// Packets that leave on it.
    Departure(PortId),
    /// Into a nested middlebox, by a number of its own.
    Into(u32),
    /// Out of it.
    OutOf(u32),
}

/// All connections of a program.
#[derive(Default)]
pub(crate) struct Wiring {
    pub(crate) instances: Vec<Instance>,
    edges: FxHashMap<Node, (Node, Span)>,
    /// Numbers of ports of nested middleboxes, with names for messages.
    pub(crate) inner: Vec<(String, Span)>,
}

impl Wiring {
    fn instance(&self, id: ElementId) -> Option<&Instance> {
        self.instances.iter().find(|i| i.id == id)
    }

    fn port(&self, node: Node) -> Option<&PortInfo> {
        match node {
            Node::Output(e, n, _) => self.instance(e)?.outputs.get(n as usize),
            Node::Input(e, n, _) => self.instance(e)?.inputs.get(n as usize),
            _ => None,
        }
    }

    /// Whether a connection begins here.
    pub(crate) fn starts(&self, node: Node) -> bool {
        self.edges.contains_key(&node)
    }

    /// Where a connection leads in the end.
    fn end(&self, from: Node) -> Option<(Node, Span)> {
        let (mut node, span) = *self.edges.get(&from)?;
        for _ in 0..=self.inner.len() * 2 {
            if !matches!(node, Node::Into(_) | Node::OutOf(_)) {
                return Some((node, span));
            }
            node = self.edges.get(&node)?.0;
        }
        None
    }
}

impl Elab {
    /// Adds a connection.
    pub(super) fn connect(&mut self, wiring: &mut Wiring, from: Node, to: Node, span: Span) {
        if let Some((_, first)) = wiring.edges.get(&from) {
            let d = Diagnostic::new(Code::ConnectedTwice, span, "this is connected already");
            return self.report(d.also(*first, "here").note("copies are made by an element that emits on two outputs"));
        }
        wiring.edges.insert(from, (to, span));
    }

    /// Checks the connections and writes them into the program.
    pub(super) fn wire(&mut self, wiring: &Wiring) {
        let mut reached: FxHashMap<(ElementId, u32, u32), ()> = FxHashMap::default();
        for port in 0..self.prog.ports.len() {
            let id = PortId(port as u32);
            let Some((end, span)) = wiring.end(Node::Arrival(id)) else { continue };
            match end {
                Node::Input(e, n, i) => {
                    reached.insert((e, n, i), ());
                    let Some(input) = wiring.port(end).cloned() else { continue };
                    if !input.args.is_empty() {
                        self.error(
                            Code::BadWire,
                            span,
                            format!("`{}` takes values beside the packet, and what arrives has none", input.name),
                        );
                    }
                    if !input.contracts[0].is_empty() {
                        let d = Diagnostic::new(
                            Code::ContractBroken,
                            span,
                            format!("`{}` wants packets of a shape, and anything may arrive at a port", input.name),
                        );
                        self.report(d.note("tell them apart first: an element without a contract that matches on the packet"));
                    }
                    self.prog.ports[port].entry = Some(InputRef { element: e, input: input.entry(i, 0) });
                }
                _ => {
                    let d = Diagnostic::new(Code::BadWire, span, "a port leads to an element");
                    self.report(d.note("a wire without an element does not exist in the program"));
                }
            }
        }
        for instance in &wiring.instances {
            self.wire_outputs(wiring, instance, &mut reached);
        }
        for instance in &wiring.instances {
            for (n, input) in instance.inputs.iter().enumerate() {
                for i in 0..input.count.unwrap_or(1) {
                    if !reached.contains_key(&(instance.id, n as u32, i)) {
                        let name = format!("{}.{}", instance.name, input.name);
                        let d = Diagnostic::new(
                            Code::Unconnected,
                            self.instance_span(instance.id),
                            format!("nothing leads to `{name}`"),
                        );
                        self.report(d.also(input.span, "declared here"));
                    }
                }
            }
        }
        self.cycles(wiring);
    }

    fn instance_span(&self, id: ElementId) -> Span {
        self.prog_spans.get(id.index()).copied().unwrap_or_default()
    }

    fn wire_outputs(&mut self, wiring: &Wiring, instance: &Instance, reached: &mut FxHashMap<(ElementId, u32, u32), ()>) {
        let mut list = Vec::new();
        for (n, output) in instance.outputs.iter().enumerate() {
            for i in 0..output.count.unwrap_or(1) {
                let name = match output.count {
                    Some(_) => format!("{}[{i}]", output.name),
                    None => output.name.to_string(),
                };
                let Some((end, span)) = wiring.end(Node::Output(instance.id, n as u32, i)) else {
                    let d = Diagnostic::new(
                        Code::Unconnected,
                        self.instance_span(instance.id),
                        format!("`{}.{name}` leads nowhere", instance.name),
                    );
                    self.report(d.also(output.span, "declared here").note("every output is connected once"));
                    continue;
                };
                for alternative in 0..output.contracts.len() {
                    let target = match end {
                        Node::Departure(p) => {
                            if !output.args.is_empty() {
                                self.error(
                                    Code::BadWire,
                                    span,
                                    format!("`{}` carries values beside the packet, which cannot leave the box", output.name),
                                );
                            }
                            Target::Port(p)
                        }
                        Node::Input(e, m, j) => {
                            reached.insert((e, m, j), ());
                            let Some(input) = wiring.port(end) else { continue };
                            if output.args.iter().map(|(_, t)| t).ne(input.args.iter().map(|(_, t)| t)) {
                                self.error(
                                    Code::BadWire,
                                    span,
                                    format!("`{}` and `{}` carry different values beside the packet", output.name, input.name),
                                );
                            }
                            let items = output.items(alternative);
                            let Some(fit) = (0..input.contracts.len()).find(|b| items.starts_with(&input.items(*b))) else {
                                let (promised, wanted) = (self.header_names(&items), self.header_names(&input.items(0)));
                                let message = format!(
                                    "`{}` wants packets of {wanted}, and `{}` promises {promised}",
                                    input.name, output.name
                                );
                                self.error(Code::ContractBroken, span, message);
                                continue;
                            };
                            Target::Input(InputRef { element: e, input: input.entry(j, fit) })
                        }
                        _ => continue,
                    };
                    let name = self.entry_name(output, i, alternative);
                    list.push(ir::Output { name, target, span });
                }
            }
        }
        self.prog.elements[instance.id.index()].outputs = list;
    }

    /// A packet's way through the elements comes to an end: no handler leads back to itself.
    fn cycles(&mut self, wiring: &Wiring) {
        let mut next: FxHashMap<InputRef, Vec<(InputRef, Span)>> = FxHashMap::default();
        for (e, element) in self.prog.elements.iter().enumerate() {
            for (i, input) in element.inputs.iter().enumerate() {
                let this = InputRef { element: ElementId(e as u32), input: i as u32 };
                for (o, output) in element.outputs.iter().enumerate() {
                    let o = o as u32;
                    if let Target::Input(to) = output.target
                        && super::element::emits(&input.body.block, &(o..o + 1))
                    {
                        next.entry(this).or_default().push((to, output.span));
                    }
                }
            }
        }
        let mut order: Vec<InputRef> = next.keys().copied().collect();
        order.sort_by_key(|r| (r.element, r.input));
        let mut done: FxHashMap<InputRef, bool> = FxHashMap::default();
        for start in order {
            let mut path = Vec::new();
            if let Some(span) = circle(start, &next, &mut done, &mut path) {
                let names: Vec<&str> =
                    path.iter().filter_map(|r: &InputRef| wiring.instance(r.element)).map(|i| &*i.name).collect();
                let d = Diagnostic::new(Code::WiringCycle, span, format!("a packet may go in a circle: {}", names.join(" -> ")));
                return self.report(d.note("what handles a packet must come to an end"));
            }
        }
    }
}

/// Where a way from here comes back to itself. `done`: false while on the way, true when known to end.
fn circle(
    at: InputRef,
    next: &FxHashMap<InputRef, Vec<(InputRef, Span)>>,
    done: &mut FxHashMap<InputRef, bool>,
    path: &mut Vec<InputRef>,
) -> Option<Span> {
    if done.get(&at) == Some(&true) {
        return None;
    }
    done.insert(at, false);
    path.push(at);
    for (to, span) in next.get(&at).into_iter().flatten() {
        if done.get(to) == Some(&false) {
            path.push(*to);
            return Some(*span);
        }
        if let Some(found) = circle(*to, next, done, path) {
            return Some(found);
        }
    }
    path.pop();
    done.insert(at, true);
    None
}
