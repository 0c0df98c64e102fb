//! `--trace`: what happens to a packet, step by step.

use crate::{capture, render};
use grv_lang::interp::{Event, Observer, TableOp};
use grv_lang::ir::{HeaderId, PortId, Program, Shape, Table, TableId, TableKind};
use grv_lang::source::SourceMap;
use grv_lang::text;

/// Prints events as they happen.
pub(crate) struct Tracer<'p> {
    program: &'p Program,
    sources: &'p SourceMap,
    depth: usize,
}

impl<'p> Tracer<'p> {
    /// A tracer for one packet.
    pub(crate) fn new(program: &'p Program, sources: &'p SourceMap) -> Tracer<'p> {
        Tracer { program, sources, depth: 0 }
    }

    /// The packet that arrives.
    pub(crate) fn begin(&mut self, number: usize, time: u64, port: PortId, bytes: &[u8]) {
        let seconds = time as f64 / 1e9;
        render::line(&format!("#{number} {seconds:.6}s at {}: {}", self.port(port), capture::describe(bytes)));
    }

    /// The end of its way.
    pub(crate) fn end(self) {
        render::line("");
    }

    fn say(&self, text: &str) {
        render::line(&format!("{:width$}{text}", "", width = 2 + 2 * self.depth));
    }

    fn port(&self, port: PortId) -> &'p str {
        self.program.ports.get(port.index()).map_or("?", |p| p.name.as_str())
    }

    fn header(&self, header: HeaderId, bytes: &[u8], start: usize) -> String {
        let Some(layout) = self.program.headers.get(header.index()) else { return String::new() };
        let field = |f: &grv_lang::ir::Field| {
            let bits = grv_lang::interp::packet::get_bits(bytes, start * 8 + f.offset as usize, f.width).unwrap_or(0);
            format!("{} {}", f.name, text::show_scalar(&f.show, bits))
        };
        let fields: Vec<String> = layout.fields.iter().map(field).collect();
        format!("{} {{ {} }}", layout.name, fields.join(", "))
    }

    fn table(&self, op: TableOp, table: TableId, key: &[u128], value: &[u128], ok: bool) -> String {
        let Some(declared) = self.program.tables.get(table.index()) else { return String::new() };
        let of = row(declared, key);
        let shown = || text::show(&declared.value_shape, value);
        match op {
            TableOp::Get | TableOp::Longest | TableOp::First if ok => format!("{of} is {}", shown()),
            TableOp::Touch if ok => format!("{of} is {}, refreshed", shown()),
            TableOp::Get | TableOp::Touch | TableOp::Longest => format!("{of} is not there"),
            TableOp::First => format!("no element of {} fits", declared.name),
            TableOp::Insert if ok => format!("{of} := {}", shown()),
            TableOp::Insert => format!("no room for {of}"),
            TableOp::Set | TableOp::Write => format!("{of} := {}", shown()),
            TableOp::Remove => format!("{of} removed"),
            TableOp::ExpireAt => format!("{of} expires at {}", text::duration(value.first().copied().unwrap_or(0))),
            TableOp::Take => {
                let result = ["conforms", "exceeds", "no room"];
                format!("take from {of}: {}", result[(value.first().copied().unwrap_or(2) as usize).min(2)])
            }
            TableOp::Read => format!("{of} is {}", shown()),
        }
    }
}

/// A row of a table, as the source names it.
pub(crate) fn row(declared: &Table, key: &[u128]) -> String {
    match declared.kind {
        TableKind::Cell => declared.name.clone(),
        TableKind::Array | TableKind::Counter => format!("{}[{}]", declared.name, key.first().copied().unwrap_or(0)),
        TableKind::Lpm => {
            let address = match &declared.key_shape {
                Shape::Prefix(_, how) => text::show_scalar(how, key.first().copied().unwrap_or(0)),
                shape => text::show(shape, key),
            };
            format!("{}[{address}]", declared.name)
        }
        _ => format!("{}[{}]", declared.name, text::show(&declared.key_shape, key)),
    }
}

impl Observer for Tracer<'_> {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Arrive { .. } | Event::Update => {}
            Event::Timer { element, now, .. } => {
                let name = self.program.elements.get(element.index()).map_or("?", |e| e.name.as_str());
                self.say(&format!("timer of {name} at {}", text::duration(now.into())));
            }
            Event::Enter { input, .. } => {
                let element = self.program.elements.get(input.element.index());
                let name = element.map_or("?", |e| e.name.as_str());
                let port = element.and_then(|e| e.inputs.get(input.input as usize)).map_or("?", |i| i.name.as_str());
                self.depth = 0;
                self.say(&format!("{name}.{port}"));
                self.depth = 1;
            }
            Event::Header { header, place, bytes, .. } => {
                let name = self.program.headers.get(header.index()).map_or("?", |h| h.name.as_str());
                match place {
                    Some(place) => self.say(&self.header(header, bytes, place.start as usize)),
                    None => self.say(&format!("malformed {name}")),
                }
            }
            Event::SetField { header, field, old, new, .. } => {
                let layout = self.program.headers.get(header.index());
                if let Some((h, f)) = layout.and_then(|h| Some((h, h.fields.get(field.index())?))) {
                    let (old, new) = (text::show_scalar(&f.show, old), text::show_scalar(&f.show, new));
                    self.say(&format!("{}.{}: {old} -> {new}", h.name, f.name));
                }
            }
            Event::Push { header, ok, .. } => {
                let name = self.program.headers.get(header.index()).map_or("?", |h| h.name.as_str());
                self.say(&if ok { format!("push {name}") } else { format!("no room to push {name}") });
            }
            Event::Pop { header, .. } => {
                let name = self.program.headers.get(header.index()).map_or("?", |h| h.name.as_str());
                self.say(&format!("pop {name}"));
            }
            Event::Table { op, table, key, value, ok, .. } => self.say(&self.table(op, table, key, value, ok)),
            Event::Sweep { table, gone } => {
                let name = self.program.tables.get(table.index()).map_or("?", |t| t.name.as_str());
                self.say(&format!("{name}: {} dead swept", gone.len()));
            }
            Event::Choice { name, value, .. } => match value {
                Some(value) => self.say(&format!("choose {name} = {value}")),
                None => self.say(&format!("no choice for {name}")),
            },
            Event::Emit { .. } | Event::Branch { .. } => {}
            Event::Leave { port, bytes } => self.say(&format!("-> {}: {}", self.port(port), capture::describe(bytes))),
            Event::Drop { reason, span, .. } => {
                let reason = self.program.reasons.get(reason.index()).map_or("?", String::as_str);
                self.say(&format!("dropped: {reason} ({})", self.sources.place(span)));
            }
        }
    }
}
