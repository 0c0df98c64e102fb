//! Properties and tests in the text form of the IR.

use super::{Names, Printer};
use crate::ir::spec::{
    AfterEvent, EventPattern, Fill, Form, Outcome, Part, Payload, Property, Quantifier, SpecStmt, TableContent, Test, TestStmt,
};
use crate::ir::{FieldId, PacketId, PortId};

fn quantifier(of: Quantifier) -> &'static str {
    match of {
        Quantifier::All => "all",
        Quantifier::Exists => "exists",
        Quantifier::Count => "count",
    }
}

impl Printer<'_> {
    fn port(&self, id: PortId) -> String {
        match self.program.ports.get(id.index()) {
            Some(port) => port.name.clone(),
            None => format!("port?{}", id.0),
        }
    }

    fn arrival(&self, n: &Names<'_>, packet: PacketId, port: PortId) -> String {
        format!("{} at {}", n.packet(packet), self.port(port))
    }

    pub(super) fn property(&mut self, property: &Property) {
        let n = &Names::of_body(self.program, &property.body);
        self.line(format!("property {}", property.name));
        self.nest(|p| {
            if let Some(claim) = &property.claim {
                p.line(format!("claimed from {claim}"));
            }
            for source in &property.sources {
                p.line(format!("source {source}"));
            }
            for row in &property.rows {
                p.line(format!("row {row}"));
            }
            if let Some(gravel) = &property.gravel {
                p.line(format!("gravel {gravel}"));
            }
            if let Some(reason) = &property.assumed {
                p.line(format!("assumed {reason:?}"));
            }
            p.form(n, &property.form);
        });
    }

    fn form(&mut self, n: &Names<'_>, form: &Form) {
        match form {
            Form::Always { block, holds } => {
                self.braced(&format!("always {} computed by", n.local(*holds)), n, block);
            }
            Form::Step { packets, block, premise, holds } => {
                let list: Vec<String> = packets.iter().map(|(packet, port)| self.arrival(n, *packet, *port)).collect();
                let head = format!("for all {}: {} implies {} computed by", list.join(", "), n.set(*premise), n.set(*holds));
                self.braced(&head, n, block);
            }
            Form::Persists { once, then, outcome, since, condition, holds } => {
                self.pattern(n, "once", once);
                self.pattern(n, "then", then);
                self.outcome(n, outcome);
                for clock in since {
                    let head = format!("{} since last", n.set(clock.elapsed));
                    self.pattern(n, &head, &clock.event);
                }
                let head = format!("for as long as {} computed by", n.local(*holds));
                self.braced(&head, n, condition);
            }
            Form::OnlyAfter { then, after, within, unless } => {
                self.pattern(n, "event", then);
                self.pattern(n, "only after", after);
                if let Some(within) = within {
                    self.line(format!("within {} ns", n.expr(within)));
                }
                if let Some(unless) = unless {
                    self.pattern(n, "unless since", unless);
                }
            }
            Form::Independent { observed, from, except } => {
                self.pattern(n, "independent", observed);
                self.pattern(n, "from", from);
                if !except.is_empty() {
                    let reasons = self.reasons(except);
                    self.line(format!("but for {reasons}"));
                }
            }
            Form::Bound { event, amount, key, interval, block, limit } => {
                self.pattern(n, "bound", event);
                self.line(format!("amount {}", n.expr(amount)));
                self.line(format!("per ({})", n.exprs(key)));
                self.braced(&format!("over {}", n.set(*interval)), n, block);
                self.line(format!("at most {}", n.expr(limit)));
            }
            Form::Reachable { event } => self.pattern(n, "reachable", event),
        }
    }

    fn pattern(&mut self, n: &Names<'_>, what: &str, of: &EventPattern) {
        let mut head = format!("{what} {}", self.arrival(n, of.packet, of.port));
        if let Some((port, packet)) = of.emits {
            head.push_str(&format!(" emits {} as {}", self.port(port), n.packet(packet)));
        }
        if let Some(reasons) = &of.drops {
            head.push_str(&format!(" drops ({})", self.reasons(reasons)));
        }
        head.push_str(&format!(" with {} computed by", n.set(of.matches)));
        self.braced(&head, n, &of.block);
    }

    fn outcome(&mut self, n: &Names<'_>, outcome: &Outcome) {
        if let Some(emission) = &outcome.emits {
            let head = format!(
                "must emit {} as {} with {} computed by",
                self.port(emission.port),
                n.packet(emission.packet),
                n.set(emission.matches)
            );
            self.braced(&head, n, &emission.block);
        }
        if !outcome.drops.is_empty() {
            let reasons = self.reasons(&outcome.drops);
            self.line(format!("may drop {reasons}"));
        }
    }

    pub(super) fn spec(&mut self, n: &Names<'_>, stmt: &SpecStmt) {
        match stmt {
            SpecStmt::Entries { quantifier: q, table, key, value, block, holds, result } => {
                let head = format!(
                    "{} = {} ({}) -> ({}) in {}: {} computed by",
                    n.set(*result),
                    quantifier(*q),
                    n.sets(key),
                    n.sets(value),
                    n.table(*table),
                    n.local(*holds)
                );
                self.braced(&head, n, block);
            }
            SpecStmt::Range { quantifier: q, var, low, high, block, holds, result } => {
                let head = format!(
                    "{} = {} {} in {}..={}: {} computed by",
                    n.set(*result),
                    quantifier(*q),
                    n.set(*var),
                    n.expr(low),
                    n.expr(high),
                    n.local(*holds)
                );
                self.braced(&head, n, block);
            }
            SpecStmt::Deadline { table, key, result } => {
                self.line(format!("{} = deadline {}[{}]", n.set(*result), n.table(*table), n.exprs(key)))
            }
            SpecStmt::Size { table, result } => {
                self.line(format!("{} = size {}", n.set(*result), n.table(*table)));
            }
            SpecStmt::Full { table, result } => {
                self.line(format!("{} = full {}", n.set(*result), n.table(*table)));
            }
            SpecStmt::Tokens { table, key, result } => {
                self.line(format!("{} = tokens {}[{}]", n.set(*result), n.table(*table), n.exprs(key)))
            }
            SpecStmt::Emits { quantifier: q, packet, port, on, into, block, holds, result } => {
                let head = format!(
                    "{} = {} {} that {} emits {}: {} computed by",
                    n.set(*result),
                    quantifier(*q),
                    n.packet(*into),
                    self.arrival(n, *packet, *port),
                    self.port(*on),
                    n.local(*holds)
                );
                self.braced(&head, n, block);
            }
            SpecStmt::Drops { packet, port, reasons, result } => {
                let line = format!("{} = {} drops ({})", n.set(*result), self.arrival(n, *packet, *port), self.reasons(reasons));
                self.line(line);
            }
            SpecStmt::Refused { packet, port, choice, tier, result } => {
                let line = format!("{} = {} refused {choice} tier {tier}", n.set(*result), self.arrival(n, *packet, *port));
                self.line(line);
            }
            SpecStmt::After { event, block } => {
                let head = match event {
                    AfterEvent::Packet(packet, port) => self.arrival(n, *packet, *port),
                    AfterEvent::Time(time) => format!("{} ns", n.expr(time)),
                };
                self.braced(&format!("after {head}"), n, block);
            }
            SpecStmt::Same { left, right, except, result } => {
                let fields: Vec<String> = except.iter().map(|(h, f)| n.field(*h, *f)).collect();
                self.line(format!(
                    "{} = same({}, {}) except ({})",
                    n.set(*result),
                    n.packet(*left),
                    n.packet(*right),
                    fields.join(", ")
                ));
            }
            SpecStmt::SameBody { left, right, result } => {
                self.line(format!("{} = same body({}, {})", n.set(*result), n.handle(*left), n.handle(*right)))
            }
        }
    }

    pub(super) fn test(&mut self, test: &Test) {
        let n = &Names::of_body(self.program, &test.body);
        self.line(format!("test {:?} for {}", test.name, self.program.name));
        self.nest(|p| {
            let program = p.program;
            for (param, values) in program.params.iter().zip(&test.params) {
                if let Some(values) = values {
                    p.line(format!("param {} = {values:?}", param.name));
                }
            }
            p.block(n, &test.body.block);
        });
    }

    pub(super) fn test_stmt(&mut self, n: &Names<'_>, stmt: &TestStmt) {
        match stmt {
            TestStmt::Build { packet, parts, payload } => {
                self.line(format!("build {}", n.packet(*packet)));
                self.nest(|p| {
                    for part in parts {
                        p.part(n, part);
                    }
                    for piece in payload {
                        p.line(piece_text(n, piece));
                    }
                });
            }
            TestStmt::Truncate { packet, from, length } => {
                self.line(format!("{} = truncate({}, {})", n.packet(*packet), n.packet(*from), n.expr(length)))
            }
            TestStmt::Send { port, packet } => {
                let line = format!("send {}", self.arrival(n, *packet, *port));
                self.line(line);
            }
            TestStmt::ExpectPacket { port, packet } => {
                let line = format!("expect exactly {}", self.arrival(n, *packet, *port));
                self.line(line);
            }
            TestStmt::ExpectMatch { port, packet, block, holds } => {
                let head = format!("expect {} with {} computed by", self.arrival(n, *packet, *port), n.set(*holds));
                self.braced(&head, n, block);
            }
            TestStmt::ExpectDrop { reason } => {
                let reason = self.reasons(reason.as_slice());
                self.line(format!("expect drop {reason}").trim_end());
            }
            TestStmt::Ignore => self.line("ignore"),
            TestStmt::Advance(time) => self.line(format!("advance {} ns", n.expr(time))),
            TestStmt::Update { tables, refused } => {
                self.line(if *refused { "update refused" } else { "update" });
                self.nest(|p| {
                    for content in tables {
                        p.content(n, content);
                    }
                });
            }
            TestStmt::Feed { table, key, value } => {
                let place = format!("{}[{}]", n.table(*table), n.exprs(key));
                self.line(match value {
                    Some(value) => format!("feed {place} = ({})", n.exprs(value)),
                    None => format!("feed remove {place}"),
                });
            }
            TestStmt::Assert { block, holds } => {
                self.braced(&format!("assert {} computed by", n.local(*holds)), n, block);
            }
            TestStmt::Property { properties, packets } => {
                let numbers: Vec<String> = properties.iter().map(|id| id.0.to_string()).collect();
                let packets: Vec<String> = packets.iter().map(|(port, packet)| self.arrival(n, *packet, *port)).collect();
                self.line(format!("assert properties {} of ({})", numbers.join(", "), packets.join(", ")));
            }
            TestStmt::Choices(values) => self.line(format!("choices {}", n.exprs(values))),
            TestStmt::Repeat { var, low, high, block } => {
                let head = format!("repeat {} in {}..{}", n.set(*var), n.expr(low), n.expr(high));
                self.braced(&head, n, block);
            }
        }
    }

    fn part(&mut self, n: &Names<'_>, part: &Part) {
        let header = n.header(part.header);
        self.line(format!("{header} as {}", n.handle(part.handle)));
        self.nest(|p| {
            for (i, fill) in part.fields.iter().enumerate() {
                let field = n.header_field(Some(part.header), FieldId(i as u32));
                p.line(match fill {
                    Fill::Value(value) => format!("{field}: {}", n.expr(value)),
                    Fill::Lengths { header, total, value } => format!(
                        "{field}: {} with {} = header length, {} = total length",
                        n.expr(value),
                        n.set(*header),
                        n.set(*total)
                    ),
                    Fill::Checksum => format!("{field}: checksum"),
                });
            }
            if !part.variable.is_empty() {
                p.line(format!("variable {}", super::expr::bytes(&part.variable)));
            }
        });
    }

    fn content(&mut self, n: &Names<'_>, content: &TableContent) {
        self.line(n.table(content.table));
        self.nest(|p| {
            for (key, value) in &content.entries {
                p.line(format!("({}) = ({})", n.exprs(key), n.exprs(value)));
            }
        });
    }
}

fn piece_text(n: &Names<'_>, piece: &Payload) -> String {
    match piece {
        Payload::Bytes(bytes) => super::expr::bytes(bytes),
        Payload::Zeros(count) => format!("{} zero bytes", n.expr(count)),
        Payload::Quote { packet, from, limit } => {
            let mut text = format!("quote {}", n.packet(*packet));
            if let Some(from) = from {
                text.push_str(&format!(" from {}", n.handle(*from)));
            }
            if let Some(limit) = limit {
                text.push_str(&format!(" at most {} bytes", n.expr(limit)));
            }
            text
        }
    }
}
