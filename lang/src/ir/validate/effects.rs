//! Statements that change packets, or read or write state.

use super::Fault;
use super::flow::{Place, State, Walk};
use crate::ir::{Change, Expr, FieldId, HandleId, HeaderId, PacketId, Scalar, StmtKind, TableKind, Target};

impl Walk<'_, '_> {
    /// A field that must exist, and a value of its width.
    pub(super) fn expect_field(&mut self, state: &State, handle: HandleId, field: FieldId, value: &Expr) {
        let Some(header) = self.use_handle(state, handle) else { return };
        match header.fields.get(field.index()) {
            Some(field) => self.expect(state, "field", value, Scalar::Bits(field.width)),
            None => self.report(Fault::NoSuch("field", field.0)),
        }
    }

    pub(super) fn update_checksum(&mut self, state: &State, sum: (HandleId, FieldId, bool), changes: &[Change]) {
        let (handle, field, optional) = sum;
        if let Some(header) = self.use_handle(state, handle) {
            let declared = header.checksums.iter().any(|c| c.field == field && c.optional == optional);
            self.check.demand(declared, || Fault::NoChecksum);
        }
        for change in changes {
            let ty = Scalar::Bits(change.width);
            self.check_type(ty);
            self.check.demand(change.shift < 16, || Fault::Width(change.shift));
            self.expect(state, "value before", &change.old, ty);
            self.expect(state, "value after", &change.new, ty);
        }
    }

    pub(super) fn push(&mut self, state: &mut State, header: HeaderId, before: HandleId, into: HandleId, fields: &[Expr]) {
        self.use_handle(state, before);
        if let Some(header) = self.get_header(header) {
            let types: Vec<Scalar> = header.fields.iter().map(|f| Scalar::Bits(f.width)).collect();
            self.expect_all(state, "fields", fields, &types);
        }
        let Some(declared) = self.body.handles.get(before.index()) else { return };
        let place = state.handles[before.index()].unwrap_or(Place::Somewhere);
        // All names of the place that it is put at are behind it now.
        for id in 0..state.handles.len() {
            if state.handles[id] == Some(place) && self.body.handles[id].packet == declared.packet {
                let here = place != Place::Somewhere || id == before.index();
                state.handles[id] = Some(if here { Place::Behind(into) } else { Place::Somewhere });
            }
        }
        self.establish(state, into, (header, declared.packet), place);
    }

    pub(super) fn pop(&mut self, state: &mut State, handle: HandleId) {
        let Some(declared) = self.body.handles.get(handle.index()) else { return };
        let Some(place) = state.handles[handle.index()] else { return };
        // As it is before: a header of the same layout that stood behind the one that is gone takes its place, and stays.
        let before = state.handles.clone();
        for (id, at) in before.into_iter().enumerate() {
            let other = &self.body.handles[id];
            let Some(at) = at else { continue };
            if (other.header, other.packet) != (declared.header, declared.packet) {
                continue;
            }
            // Other names of the same header, or what may be one.
            if id == handle.index() || at == place || at == Place::Somewhere {
                let gone = HandleId(id as u32);
                state.handles[id] = None;
                for behind in &mut state.handles {
                    if *behind == Some(Place::Behind(gone)) {
                        *behind = Some(at);
                    }
                }
            }
        }
    }

    pub(super) fn emit(&mut self, state: &mut State, output: u32, args: &[Expr]) {
        state.emitted = (true, false);
        let program = self.check.program;
        let element = self.element.and_then(|id| program.elements.get(id.index()));
        let Some(output) = element.and_then(|e| e.outputs.get(output as usize)) else {
            return self.report(Fault::NoSuch("output", output));
        };
        // That the target is there was checked with the declarations.
        let input = match output.target {
            Target::Port(_) => None,
            Target::Input(to) => {
                program.elements.get(to.element.index()).and_then(|e| e.inputs.get(to.input as usize).map(|i| (e, i)))
            }
        };
        let types: Vec<Scalar> = input.iter().flat_map(|(_, i)| &i.args).map(|c| c.ty).collect();
        self.expect_all(state, "values beside the packet", args, &types);
        if let Some((element, input)) = input
            && !self.follows(state, Place::Start, &input.contract)
        {
            self.report(Fault::Contract(format!("{}.{}", element.name, input.name)));
        }
    }

    /// Whether packet 0 is known to hold these headers from a place on.
    fn follows(&self, state: &State, place: Place, contract: &[HeaderId]) -> bool {
        let Some((first, rest)) = contract.split_first() else { return true };
        self.body.handles.iter().enumerate().any(|(id, handle)| {
            state.handles[id] == Some(place)
                && handle.header == *first
                && handle.packet == PacketId(0)
                && self.follows(state, Place::Behind(HandleId(id as u32)), rest)
        })
    }

    /// Statements that read or write state.
    pub(super) fn access(&mut self, state: &mut State, stmt: &StmtKind) {
        use TableKind::{Array, Bucket, Cell, Counter, Lpm, Map, Set};
        match stmt {
            StmtKind::Lookup { table: id, key, touch, found, value } => {
                let kind: fn(&TableKind) -> bool = match touch {
                    true => |k| matches!(k, Map | Set),
                    false => |k| matches!(k, Map | Set | Bucket { .. }),
                };
                let table = if *touch { self.written(*id, kind) } else { self.get_table(*id, kind) };
                if let Some(table) = table {
                    self.key(state, table, key);
                    self.define_all(state, "value", value, &table.value);
                }
                self.define(state, "result", *found, Scalar::Bool);
            }
            StmtKind::Longest { table, key, found, length, value } => {
                if let Some(table) = self.get_table(*table, |k| matches!(k, Lpm)) {
                    if let Some(address) = table.key.first() {
                        self.expect(state, "key", key, address.ty);
                    }
                    self.define_all(state, "value", value, &table.value);
                }
                self.define(state, "result", *found, Scalar::Bool);
                self.define(state, "prefix length", *length, Scalar::Bits(8));
            }
            StmtKind::Insert { entries, ok } => {
                self.check.demand(!entries.is_empty(), || Fault::Zero("the number of entries"));
                for entry in entries {
                    if let Some(table) = self.written(entry.table, |k| matches!(k, Map | Set)) {
                        self.key(state, table, &entry.key);
                        self.value(state, table, &entry.value);
                    }
                }
                self.define(state, "result", *ok, Scalar::Bool);
            }
            StmtKind::SetValue { table, key, value } => {
                if let Some(table) = self.written(*table, |k| matches!(k, Map)) {
                    self.key(state, table, key);
                    self.value(state, table, value);
                }
            }
            StmtKind::Remove { table, key } => {
                if let Some(table) = self.written(*table, |k| matches!(k, Map | Set)) {
                    self.key(state, table, key);
                }
            }
            StmtKind::ExpireAt { table, key, at } => {
                if let Some(table) = self.written(*table, |k| matches!(k, Map | Set)) {
                    self.key(state, table, key);
                }
                self.expect(state, "deadline", at, Scalar::Bits(64));
            }
            StmtKind::Take { table, key, amount, result } => {
                if let Some(table) = self.written(*table, |k| matches!(k, Bucket { .. })) {
                    self.key(state, table, key);
                }
                self.expect_bits(state, "amount", amount);
                self.define(state, "result", *result, Scalar::Bits(8));
            }
            StmtKind::ReadArray { table, index, value } => {
                if let Some(table) = self.get_table(*table, |k| matches!(k, Array)) {
                    self.index(state, table, index);
                    self.define_all(state, "value", value, &table.value);
                }
            }
            StmtKind::WriteArray { table, index, value } => {
                if let Some(table) = self.written(*table, |k| matches!(k, Array)) {
                    self.index(state, table, index);
                    self.value(state, table, value);
                }
            }
            StmtKind::ReadCell { table, value } => {
                if let Some(table) = self.get_table(*table, |k| matches!(k, Cell)) {
                    self.define_all(state, "value", value, &table.value);
                }
            }
            StmtKind::WriteCell { table, value } => {
                if let Some(table) = self.written(*table, |k| matches!(k, Cell)) {
                    self.value(state, table, value);
                }
            }
            StmtKind::Count { table, index, amount } => {
                if let Some(table) = self.written(*table, |k| matches!(k, Counter)) {
                    self.index(state, table, index);
                }
                self.expect_bits(state, "amount", amount);
            }
            StmtKind::ReadCounter { table, index, value } => {
                if let Some(table) = self.get_table(*table, |k| matches!(k, Counter)) {
                    self.index(state, table, index);
                }
                self.define(state, "value", *value, Scalar::Bits(64));
            }
            // `stmt` handles all others itself.
            _ => self.report(Fault::Misplaced("this statement")),
        }
    }
}
