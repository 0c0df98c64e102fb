//! Random packets that the program has a use for. Which header may follow which, and under which condition, is read off the places
//! where the program looks for them.

use super::frame::MOST_HEADERS;
use super::values::Source;
use crate::interp::Layout;
use crate::interp::packet::{Place, get_bits, set_bits};
use crate::ir::spec::Form;
use crate::ir::{
    BinaryOp, Block, Body, Expr, FieldId, HandleId, Header, HeaderId, PortId, Program, SpecStmt, StmtKind, TestStmt,
};

/// A header that may follow another, and the fields of the other that select it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Edge {
    pub(super) before: HeaderId,
    pub(super) after: HeaderId,
    pub(super) selects: Vec<(FieldId, u128)>,
}

/// Which packets there are.
pub struct Grammar<'p> {
    pub(super) program: &'p Program,
    /// By header.
    pub(super) layouts: Vec<Layout>,
    pub(super) first: Vec<HeaderId>,
    pub(super) edges: Vec<Edge>,
    ports: Vec<PortId>,
}

impl<'p> Grammar<'p> {
    /// What the program looks for.
    pub fn new(program: &'p Program) -> Grammar<'p> {
        let ports = (0..).map(PortId).zip(&program.ports).filter(|(_, p)| p.entry.is_some()).map(|(id, _)| id).collect();
        let layouts = program.headers.iter().map(|header| Layout::new(program, header)).collect();
        let mut grammar = Grammar { program, layouts, first: Vec::new(), edges: Vec::new(), ports };
        for element in &program.elements {
            for input in &element.inputs {
                grammar.walk(&input.body, &input.body.block, &[]);
            }
        }
        for property in &program.properties {
            for block in blocks(&property.form) {
                grammar.walk(&property.body, block, &[]);
            }
        }
        grammar
    }

    fn walk(&mut self, body: &Body, block: &Block, known: &[(HandleId, FieldId, u128)]) {
        for stmt in block {
            match &stmt.kind {
                StmtKind::If { cond, then, other, .. } => {
                    let mut more = known.to_vec();
                    equalities(cond, &mut more);
                    self.walk(body, then, &more);
                    self.walk(body, other, known);
                }
                StmtKind::Parse { header, after, ok, malformed, .. } => {
                    match after.and_then(|handle| Some((handle, body.handles.get(handle.index())?.header))) {
                        None if !self.first.contains(header) => self.first.push(*header),
                        None => {}
                        Some((handle, before)) => {
                            let selects = known.iter().filter(|(h, ..)| *h == handle).map(|(_, f, v)| (*f, *v)).collect();
                            let edge = Edge { before, after: *header, selects };
                            if !self.edges.contains(&edge) {
                                self.edges.push(edge);
                            }
                        }
                    }
                    self.walk(body, ok, known);
                    self.walk(body, malformed, known);
                }
                StmtKind::Switch { cases, default, .. } => {
                    cases.iter().for_each(|(_, _, case)| self.walk(body, case, known));
                    self.walk(body, default, known);
                }
                StmtKind::Spec(spec) => match &**spec {
                    SpecStmt::Emits { block, .. } | SpecStmt::After { block, .. } => self.walk(body, block, known),
                    _ => {}
                },
                StmtKind::Test(test) => {
                    if let TestStmt::Repeat { block, .. } = &**test {
                        self.walk(body, block, known);
                    }
                }
                _ => {}
            }
        }
    }

    /// A packet at a port where packets arrive.
    pub(super) fn arrival(&self, source: &mut Source<'_>) -> (PortId, Vec<u8>) {
        let port = self.ports.get(source.below(self.ports.len() as u64) as usize).copied().unwrap_or(PortId(0));
        (port, self.packet(source))
    }

    /// A packet.
    pub(super) fn packet(&self, source: &mut Source<'_>) -> Vec<u8> {
        let mut chain: Vec<(HeaderId, Vec<(FieldId, u128)>)> = Vec::new();
        let mut at = (!self.first.is_empty()).then(|| self.first[source.below(self.first.len() as u64) as usize]);
        while let Some(header) = at {
            let next: Vec<&Edge> = self.edges.iter().filter(|e| e.before == header).collect();
            let stops = next.is_empty() || chain.len() >= MOST_HEADERS || source.once_in(12);
            if stops {
                chain.push((header, Vec::new()));
                break;
            }
            let edge = next[source.below(next.len() as u64) as usize];
            chain.push((header, edge.selects.clone()));
            at = Some(edge.after);
        }
        let payload = source.below(24) as usize;
        let mut bytes = self.build(&chain, payload, source);
        if source.once_in(16) {
            let length = source.below(bytes.len() as u64 + 1) as usize;
            bytes.truncate(length);
        }
        bytes
    }

    /// The packet with another value in one of its fields.
    pub(super) fn changed(&self, packet: &[u8], source: &mut Source<'_>) -> Vec<u8> {
        let mut bytes = packet.to_vec();
        let places = self.places(packet);
        if places.is_empty() {
            return bytes;
        }
        // Most often in the last header.
        let at = if source.once_in(2) { places.len() - 1 } else { source.below(places.len() as u64) as usize };
        let (id, place) = places[at];
        let fields = &self.program.headers[id.index()].fields;
        if let Some(field) = fields.get(source.below(fields.len() as u64) as usize) {
            let value = source.bits(field.width);
            // The header was found there.
            let _inside = set_bits(&mut bytes, place.start as usize * 8 + field.offset as usize, field.width, value);
        }
        let places = self.places(&bytes);
        self.sum(&places, &mut bytes, &mut || !source.once_in(12));
        bytes
    }

    fn build(&self, chain: &[(HeaderId, Vec<(FieldId, u128)>)], payload: usize, source: &mut Source<'_>) -> Vec<u8> {
        let headers: Vec<&Header> = chain.iter().filter_map(|(id, _)| self.program.headers.get(id.index())).collect();
        let whole = headers.iter().map(|h| h.fixed as usize).sum::<usize>() + payload;
        let mut bytes: Vec<u8> = (0..whole).map(|_| source.next() as u8).collect();
        let mut places: Vec<(HeaderId, Place)> = Vec::new();
        let (mut start, mut limit) = (0, whole as u32);
        for (header, (id, selects)) in headers.iter().zip(chain) {
            self.fields(header, selects, &mut bytes, start, source);
            let layout = &self.layouts[id.index()];
            let place = layout.parse(&bytes, start, limit);
            let place = place.unwrap_or_else(|| layout.place_of(&bytes, start, header.fixed, limit));
            places.push((*id, place));
            start += header.fixed;
            limit = limit.min(place.end).max(start);
        }
        self.sum(&places, &mut bytes, &mut || !source.once_in(12));
        bytes
    }

    /// Fills a header's fields: selectors and what `valid` and `body` want, most often; other fields as they come.
    fn fields(&self, header: &Header, selects: &[(FieldId, u128)], bytes: &mut [u8], start: u32, source: &mut Source<'_>) {
        let set = |bytes: &mut [u8], field: FieldId, value: u128| {
            if let Some(f) = header.fields.get(field.index()) {
                // Headers are laid out one behind the other inside of the packet.
                let _inside = set_bits(bytes, start as usize * 8 + f.offset as usize, f.width, value);
            }
        };
        for (index, field) in header.fields.iter().enumerate() {
            let value = if field.width <= 3 { u128::from(source.once_in(4)) } else { source.bits(field.width) };
            set(bytes, FieldId(index as u32), value);
        }
        let mut wanted = Vec::new();
        wishes(&header.valid, &mut wanted);
        for (field, value) in wanted.iter().chain(selects) {
            if !source.once_in(24) {
                set(bytes, *field, *value);
            }
        }
        if !source.once_in(16) {
            self.body(header, bytes, start);
        }
    }

    /// Lets a header's body end where the packet does, if a field says where it ends.
    pub(super) fn body(&self, header: &Header, bytes: &mut [u8], start: u32) {
        // A field that the body's length grows with by one says where the packet ends.
        let Some(rest) = (bytes.len() as u128).checked_sub(u128::from(start + header.fixed)) else { return };
        if let Some(f) = header.body.as_ref().and_then(grows).and_then(|field| header.fields.get(field.index())) {
            let layout = Layout::new(self.program, header);
            let at = start as usize * 8 + f.offset as usize;
            for value in rest..=rest + 60 {
                if set_bits(bytes, at, f.width, value)
                    && get_bits(bytes, at, f.width) == Some(value)
                    && layout.parse(bytes, start, bytes.len() as u32).is_some_and(|p| p.end as usize == bytes.len())
                {
                    break;
                }
            }
        }
    }
}

/// The blocks of a property.
fn blocks(form: &Form) -> Vec<&Block> {
    match form {
        Form::Always { block, .. } | Form::Step { block, .. } => vec![block],
        Form::Persists { once, then, .. } => vec![&once.block, &then.block],
        Form::OnlyAfter { then, after, unless, .. } => {
            let unless = unless.iter().map(|unless| &unless.block);
            [&then.block, &after.block].into_iter().chain(unless).collect()
        }
        Form::Independent { observed, from, .. } => vec![&observed.block, &from.block],
        Form::Bound { event, .. } | Form::Reachable { event } => vec![&event.block],
    }
}

/// The fields of headers that a condition compares with constants.
fn equalities(cond: &Expr, out: &mut Vec<(HandleId, FieldId, u128)>) {
    match cond {
        Expr::Binary(BinaryOp::And | BinaryOp::Or, a, b) => {
            equalities(a, out);
            equalities(b, out);
        }
        Expr::Binary(BinaryOp::Eq, a, b) => {
            if let (Expr::Field(handle, field), Expr::Const(value, _)) = (&**a, &**b) {
                out.push((*handle, *field, *value));
            }
        }
        _ => {}
    }
}

/// Values of fields that a header's `valid` asks for.
pub(super) fn wishes(valid: &Expr, out: &mut Vec<(FieldId, u128)>) {
    match valid {
        Expr::Binary(BinaryOp::And, a, b) => {
            wishes(a, out);
            wishes(b, out);
        }
        Expr::Binary(BinaryOp::Eq, a, b) | Expr::Binary(BinaryOp::Le, b, a) => {
            if let (Expr::Own(field), Expr::Const(value, _)) = (&**a, &**b) {
                out.push((*field, *value));
            }
        }
        _ => {}
    }
}

/// The field that a length grows with.
fn grows(length: &Expr) -> Option<FieldId> {
    match length {
        Expr::Own(field) => Some(*field),
        Expr::Convert(inner, _) => grows(inner),
        Expr::Binary(BinaryOp::Add | BinaryOp::Sub, a, _) => grows(a),
        _ => None,
    }
}
