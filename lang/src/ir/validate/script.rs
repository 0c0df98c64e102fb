//! Tests.

use super::flow::{Layer, State, Walk};
use super::{Check, Fault};
use crate::ir::spec::{Fill, Part, Payload, TableContent};
use crate::ir::{Role, Scalar, Test, TestStmt};

impl<'a> Check<'a> {
    /// Checks a test.
    pub(super) fn test(&mut self, test: &'a Test) {
        self.enter(format!("test {}", test.name), test.span);
        self.count("parameters", self.program.params.len(), test.params.len());
        for (param, value) in self.program.params.iter().zip(&test.params) {
            if let Some(value) = value {
                self.constants(value, &param.columns);
            }
        }
        self.locals(&test.body, Layer::Test);
        let mut walk = Walk::new(self, &test.body, Layer::Test);
        walk.block(&test.body.block, Some(State::known(&test.body)));
    }
}

impl Walk<'_, '_> {
    pub(super) fn script(&mut self, state: &mut State, stmt: &TestStmt) {
        match stmt {
            TestStmt::Build { packet, parts, payload } => {
                self.use_packet(state, *packet);
                for part in parts {
                    self.part(state, part);
                }
                for piece in payload {
                    match piece {
                        Payload::Bytes(_) => {}
                        Payload::Zeros(n) => self.number(state, n),
                        Payload::Quote { packet, from, limit } => {
                            self.use_packet(state, *packet);
                            if let Some(from) = from {
                                self.use_handle(state, *from);
                            }
                            if let Some(limit) = limit {
                                self.number(state, limit);
                            }
                        }
                    }
                }
            }
            TestStmt::Truncate { packet, from, length } => {
                self.use_packet(state, *packet);
                self.use_packet(state, *from);
                self.number(state, length);
            }
            TestStmt::Send { port, packet } | TestStmt::ExpectPacket { port, packet } => {
                self.port(*port);
                self.use_packet(state, *packet);
            }
            TestStmt::ExpectMatch { port, packet, block, holds } => {
                self.port(*port);
                self.use_packet(state, *packet);
                self.formula(state, block, *holds);
            }
            TestStmt::ExpectDrop { reason } => {
                if let Some(reason) = reason {
                    self.reasons(&[*reason]);
                }
            }
            TestStmt::Ignore => {}
            TestStmt::Advance(time) => self.expect(state, "time", time, Scalar::Bits(64)),
            TestStmt::Update { tables, .. } => tables.iter().for_each(|t| self.content(state, t)),
            TestStmt::Feed { table, key, value } => {
                let Some(table) = self.get_table(*table, |_| true) else { return };
                self.check.demand(table.role == Role::Feed, || Fault::NotWritable(table.name.clone()));
                self.key(state, table, key);
                if let Some(value) = value {
                    self.value(state, table, value);
                }
            }
            TestStmt::Assert { block, holds } => self.formula(state, block, *holds),
            TestStmt::Property { properties, packets } => {
                let count = self.check.program.properties.len();
                for id in properties {
                    self.check.demand((id.0 as usize) < count, || Fault::Misplaced("a property that there is not"));
                }
                for (port, packet) in packets {
                    self.port(*port);
                    self.use_packet(state, *packet);
                }
            }
            TestStmt::Choices(values) => values.iter().for_each(|v| self.number(state, v)),
            TestStmt::Repeat { var, low, high, block } => {
                self.number(state, low);
                self.number(state, high);
                if let Some(local) = self.get_local(*var) {
                    self.check.demand(local.ty != Scalar::Bool, || Fault::Misplaced("a boolean as the variable of a loop"));
                }
                self.block(block, Some(state.clone()));
            }
        }
    }

    fn content(&mut self, state: &State, content: &TableContent) {
        let Some(table) = self.get_table(content.table, |_| true) else { return };
        self.check.demand(table.role == Role::Control, || Fault::NotWritable(table.name.clone()));
        for (key, value) in &content.entries {
            if !key.is_empty() {
                self.key(state, table, key);
            }
            self.value(state, table, value);
        }
    }

    fn part(&mut self, state: &mut State, part: &Part) {
        let Some(header) = self.get_header(part.header) else { return };
        self.use_handle(state, part.handle);
        self.check.count("fields", header.fields.len(), part.fields.len());
        for (field, fill) in header.fields.iter().zip(&part.fields) {
            match fill {
                Fill::Value(value) => self.expect(state, "field", value, Scalar::Bits(field.width)),
                Fill::Lengths { header, total, value } => {
                    self.define(state, "length", *header, Scalar::Int);
                    self.define(state, "length", *total, Scalar::Int);
                    self.number(state, value);
                }
                Fill::Checksum => {}
            }
        }
    }
}
