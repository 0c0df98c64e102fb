//! Declarations: parameters, headers, hashes, ports, elements, tables and conditions on control tables.

use super::expr::fits;
use super::flow::{Layer, State, Walk};
use super::{Check, Fault};
use crate::ir::print::scalar;
use crate::ir::{
    Body, Column, Expr, Header, InputRef, Lifetime, LifetimeFn, LocalId, Role, SKEW, Scalar, Shape, Table, TableId, TableKind,
    Target,
};
use std::collections::BTreeSet;

/// The scalars that a shape stands for.
fn flatten(shape: &Shape, into: &mut Vec<Scalar>) {
    match shape {
        Shape::Unit => {}
        Shape::Scalar(ty, _) => into.push(*ty),
        Shape::Prefix(ty, _) => into.extend([*ty, Scalar::Bits(8)]),
        Shape::Option(inner) => {
            into.push(Scalar::Bool);
            flatten(inner, into);
        }
        Shape::Struct(_, fields) => fields.iter().for_each(|(_, field)| flatten(field, into)),
        Shape::Enum(_, variants) => {
            into.push(Scalar::Bits(8));
            variants.iter().flat_map(|(_, fields)| fields).for_each(|(_, field)| flatten(field, into));
        }
    }
}

fn types(columns: &[Column]) -> Vec<Scalar> {
    columns.iter().map(|c| c.ty).collect()
}

impl<'a> Check<'a> {
    fn distinct<'n>(&mut self, what: &'static str, names: impl Iterator<Item = &'n str>) {
        let mut seen = BTreeSet::new();
        for name in names {
            let new = seen.insert(name);
            self.demand(new, || Fault::Duplicate(what, name.to_string()));
        }
    }

    /// Columns of code: no integers, and those that the shape stands for.
    fn columns(&mut self, what: &'static str, shape: &Shape, columns: &[Column]) {
        let mut expected = Vec::new();
        flatten(shape, &mut expected);
        self.count(what, expected.len(), columns.len());
        for (column, ty) in columns.iter().zip(expected) {
            self.code_type(column.ty);
            self.demand(column.ty == ty, || Fault::Type { what, expected: scalar(ty), found: scalar(column.ty) });
        }
    }

    fn code_type(&mut self, ty: Scalar) {
        let body = Body::default();
        Walk::new(self, &body, Layer::Pure).check_type(ty);
    }

    /// Checks all declarations, but for the bodies of handlers and properties.
    pub(super) fn declarations(&mut self) {
        let program = self.program;
        self.distinct("parameter", program.params.iter().map(|p| p.name.as_str()));
        self.distinct("hash", program.hashes.iter().map(|h| h.name.as_str()));
        self.distinct("port", program.ports.iter().map(|p| p.name.as_str()));
        self.distinct("element", program.elements.iter().map(|e| e.name.as_str()));
        self.distinct("table", program.tables.iter().map(|t| t.name.as_str()));
        self.distinct("property", program.properties.iter().map(|p| p.name.as_str()));
        self.distinct("reason", program.reasons.iter().map(String::as_str));
        for param in &program.params {
            self.enter(format!("parameter {}", param.name), param.span);
            self.columns("columns of a parameter", &param.shape, &param.columns);
            if let Some(default) = &param.default {
                self.constants(default, &param.columns);
            }
        }
        for header in &program.headers {
            self.enter(format!("header {}", header.name), header.span);
            self.header(header);
        }
        for hash in &program.hashes {
            self.enter(format!("hash {}", hash.name), program.span);
            self.demand((1..=64).contains(&hash.width), || Fault::Width(hash.width));
            hash.args.iter().for_each(|ty| self.code_type(*ty));
        }
        for port in &program.ports {
            self.enter(format!("port {}", port.name), program.span);
            if let Some(entry) = port.entry {
                self.input_ref(entry);
            }
        }
        for element in &program.elements {
            self.enter(format!("element {}", element.name), element.span);
            self.distinct("input", element.inputs.iter().map(|i| i.name.as_str()));
            self.distinct("output", element.outputs.iter().map(|o| o.name.as_str()));
            for output in &element.outputs {
                match output.target {
                    Target::Input(to) => self.input_ref(to),
                    Target::Port(id) => {
                        self.demand(id.index() < program.ports.len(), || Fault::NoSuch("port", id.0));
                    }
                }
            }
            for column in element.inputs.iter().flat_map(|i| &i.args) {
                self.code_type(column.ty);
            }
        }
        for (id, table) in program.tables.iter().enumerate() {
            self.enter(format!("table {}", table.name), table.span);
            self.table(TableId(id as u32), table);
        }
    }

    /// One constant for each column.
    pub(super) fn constants(&mut self, values: &[u128], columns: &[Column]) {
        self.count("constants", columns.len(), values.len());
        for (value, column) in values.iter().zip(columns) {
            self.demand(fits(*value, column.ty), || Fault::DoesNotFit(*value, scalar(column.ty)));
        }
    }

    fn input_ref(&mut self, to: InputRef) {
        match self.program.elements.get(to.element.index()) {
            None => self.report(Fault::NoSuch("element", to.element.0)),
            Some(element) => {
                let known = (to.input as usize) < element.inputs.len();
                self.demand(known, || Fault::NoSuch("input", to.input));
            }
        }
    }

    fn header(&mut self, header: &'a Header) {
        self.distinct("field", header.fields.iter().map(|f| f.name.as_str()));
        let mut offset = 0u32;
        for field in &header.fields {
            self.demand((1..=128).contains(&field.width), || Fault::Width(field.width));
            self.demand(field.offset == offset, || Fault::Layout("a field does not follow the one before it"));
            offset = field.offset.saturating_add(u32::from(field.width));
        }
        let whole = header.fixed >= 1 && header.fixed.checked_mul(8) == Some(offset);
        self.demand(whole, || Fault::Layout("the fields do not fill the fixed part"));
        for sum in &header.checksums {
            match header.fields.get(sum.field.index()) {
                None => self.report(Fault::NoSuch("field", sum.field.0)),
                Some(field) => {
                    let aligned = field.width == 16 && field.offset % 16 == 0;
                    self.demand(aligned, || Fault::Layout("a checksum is 16 bits at an even offset"));
                }
            }
            for pseudo in &sum.pseudo {
                match self.program.headers.get(pseudo.header.index()) {
                    None => self.report(Fault::NoSuch("header", pseudo.header.0)),
                    Some(outer) => {
                        for field in &pseudo.fields {
                            let known = field.index() < outer.fields.len();
                            self.demand(known, || Fault::NoSuch("field", field.0));
                        }
                    }
                }
            }
        }
        let body = Body::default();
        let state = State::new(&body);
        let mut walk = Walk::new(self, &body, Layer::Header);
        walk.header = Some(header);
        if let Some((_, length)) = &header.variable {
            walk.expect(&state, "length", length, Scalar::Int);
        }
        if let Some(length) = &header.body {
            walk.expect(&state, "length", length, Scalar::Int);
        }
        walk.expect(&state, "condition", &header.valid, Scalar::Bool);
    }

    fn table(&mut self, id: TableId, table: &'a Table) {
        let program = self.program;
        self.demand(table.element.index() < program.elements.len(), || Fault::NoSuch("element", table.element.0));
        self.columns("columns of a key", &table.key_shape, &table.key);
        self.columns("columns of a value", &table.value_shape, &table.value);
        self.demand(table.capacity > 0, || Fault::Zero("the capacity"));
        self.kind(table);
        if let Some(maglev) = &table.computed {
            let fits = maglev.fits(&program.tables, table);
            let whole = maglev.slots > 1 && table.capacity.is_multiple_of(maglev.slots.into());
            let array = matches!(table.kind, TableKind::Array) && table.role == Role::Control;
            self.demand(fits && whole && array, || Fault::Table("a look-up table that does not fit its entries"));
        }
        self.initial(table);
        let entries = matches!(table.kind, TableKind::Map | TableKind::Set | TableKind::Bucket { .. });
        let forever = matches!(table.lifetime, Lifetime::Forever);
        self.demand(entries || forever, || Fault::Table("only maps, sets and buckets have lifetimes"));
        let own = matches!(table.lifetime, Lifetime::Idle(_) | Lifetime::Fixed(_));
        let granularity = if own { table.granularity >= SKEW } else { table.granularity == 0 };
        self.demand(granularity, || Fault::Table("lifetimes are told by clocks that lag, by the skew at least"));
        match &table.lifetime {
            Lifetime::Forever => {}
            Lifetime::Idle(duration) | Lifetime::Fixed(duration) => self.lifetime(table, duration, &[Scalar::Bits(64)]),
            Lifetime::IdleWith { table: other, key } => {
                let Some(owner) = program.tables.get(other.index()) else {
                    return self.report(Fault::NoSuch("table", other.0));
                };
                let own = *other < id
                    && matches!(owner.kind, TableKind::Map | TableKind::Set)
                    && !matches!(owner.lifetime, Lifetime::IdleWith { .. });
                self.demand(own, || Fault::Table("`idle with` names an earlier map or set with a deadline of its own"));
                let alike = (owner.role == Role::Ghost) == (table.role == Role::Ghost);
                self.demand(alike, || Fault::GhostLeak(table.name.clone()));
                self.lifetime(table, key, &types(&owner.key));
            }
        }
    }

    fn kind(&mut self, table: &Table) {
        let (key, value) = (types(&table.key), types(&table.value));
        let index = matches!(key[..], [Scalar::Bits(_)]);
        let fault = match &table.kind {
            TableKind::Map if key.is_empty() => Some("a map has a key"),
            TableKind::Set if key.is_empty() || !value.is_empty() => Some("a set has a key and no value"),
            TableKind::Array if !index || value.is_empty() => Some("an array has one index and a value"),
            TableKind::Lpm if !matches!(key[..], [Scalar::Bits(_), Scalar::Bits(8)]) => {
                Some("the key of an lpm table is an address and a length")
            }
            TableKind::Lpm if matches!(table.role, Role::State | Role::Ghost) => Some("no handler writes an lpm table"),
            TableKind::Bucket { .. } if key.is_empty() || !value.is_empty() => Some("a bucket table has a key and no value"),
            TableKind::Cell if !key.is_empty() || value.is_empty() => Some("a cell has no key and a value"),
            TableKind::Cell if table.capacity != 1 => Some("the capacity of a cell is 1"),
            TableKind::Counter if key.is_empty() && table.capacity != 1 => Some("the capacity of a single counter is 1"),
            TableKind::Counter if !(key.is_empty() || index) => Some("a counter has one index or none"),
            TableKind::Counter if !(value.is_empty() || value == [Scalar::Bits(64)]) => Some("a counter has 64 bits"),
            _ => None,
        };
        if let Some(fault) = fault {
            self.report(Fault::Table(fault));
        }
        if let TableKind::Bucket { rate, burst } = &table.kind {
            let body = Body::default();
            let state = State::new(&body);
            let mut walk = Walk::new(self, &body, Layer::Pure);
            walk.expect_bits(&state, "rate", rate);
            walk.expect_bits(&state, "burst", burst);
        }
    }

    fn initial(&mut self, table: &Table) {
        let expected = match table.kind {
            TableKind::Array | TableKind::Cell => types(&table.value),
            _ => Vec::new(),
        };
        let constant = table.initial.iter().all(|e| matches!(e, Expr::Const(..) | Expr::Param(..)));
        self.demand(constant, || Fault::Table("an initial value is a constant or a parameter"));
        let body = Body::default();
        let state = State::new(&body);
        Walk::new(self, &body, Layer::Pure).expect_all(&state, "initial value", &table.initial, &expected);
    }

    fn lifetime(&mut self, table: &Table, function: &'a LifetimeFn, results: &[Scalar]) {
        let body = &function.body;
        self.locals(body, Layer::Pure);
        let mut state = State::new(body);
        let mut walk = Walk::new(self, body, Layer::Pure);
        for (i, column) in table.key.iter().chain(&table.value).enumerate() {
            walk.define(&mut state, "key and value of a lifetime", LocalId(i as u32), column.ty);
        }
        if let Some(state) = walk.block(&body.block, Some(state)) {
            walk.expect_all(&state, "result of a lifetime", &function.result, results);
        }
    }

    /// Checks the conditions on control tables.
    pub(super) fn requires(&mut self) {
        for require in &self.program.requires {
            self.enter(format!("require {:?}", require.message), require.span);
            self.locals(&require.body, Layer::Require);
            let mut walk = Walk::new(self, &require.body, Layer::Require);
            if let Some(state) = walk.block(&require.body.block, Some(State::new(&require.body))) {
                walk.expect(&state, "condition", &require.holds, Scalar::Bool);
            }
        }
    }
}
