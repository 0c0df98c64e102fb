//! The program that is put together: tables of what its parts refer to by number.

use super::Elab;
use super::modules::{ItemRef, declared};
use super::types::Ty;
use crate::diagnostics::Code;
use crate::ir::{self, HashId, HeaderId, ReasonId, Scalar, TableId};
use crate::span::Span;
use rustc_hash::FxHashMap;

/// The kinds of state, without their details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Map,
    Set,
    Array,
    Lpm,
    Bucket,
    Cell,
    Counter,
}

/// What is known of a table while its program is elaborated.
#[derive(Clone)]
pub(crate) struct TableInfo {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) role: ir::Role,
    pub(crate) key: Ty,
    pub(crate) value: Ty,
    pub(crate) capacity: u64,
    /// Whether there is an index: arrays, and counters with a length.
    pub(crate) indexed: bool,
}

/// A program under construction.
#[derive(Default)]
pub(crate) struct Builder {
    pub(crate) name: String,
    pub(crate) span: Span,
    pub(crate) params: Vec<ir::Param>,
    pub(crate) headers: Vec<ir::Header>,
    header_ids: FxHashMap<ItemRef, HeaderId>,
    hashes: Vec<ir::Hash>,
    hash_ids: FxHashMap<ItemRef, HashId>,
    pub(crate) ports: Vec<ir::Port>,
    pub(crate) elements: Vec<ir::Element>,
    pub(crate) tables: Vec<ir::Table>,
    pub(crate) infos: Vec<TableInfo>,
    reasons: Vec<String>,
    pub(crate) requires: Vec<ir::Require>,
    pub(crate) properties: Vec<ir::Property>,
}

impl Builder {
    /// The finished program.
    pub(crate) fn finish(self) -> ir::Program {
        ir::Program {
            name: self.name,
            span: self.span,
            params: self.params,
            headers: self.headers,
            hashes: self.hashes,
            ports: self.ports,
            elements: self.elements,
            tables: self.tables,
            reasons: self.reasons,
            requires: self.requires,
            properties: self.properties,
        }
    }
}

impl Elab {
    /// A header's number in the program.
    pub(super) fn header_id(&mut self, item: ItemRef) -> HeaderId {
        if let Some(&id) = self.prog.header_ids.get(&item) {
            return id;
        }
        let Some(info) = self.header_info(item) else { return HeaderId(0) };
        let id = HeaderId(self.prog.headers.len() as u32);
        self.prog.header_ids.insert(item, id);
        let fields = info
            .fields
            .iter()
            .map(|f| ir::Field { name: f.name.clone(), width: f.width, offset: f.offset, show: f.show.clone() })
            .collect();
        self.prog.headers.push(ir::Header {
            name: info.name.clone(),
            span: info.span,
            fields,
            fixed: info.fixed,
            variable: info.variable.clone(),
            valid: info.valid.clone(),
            body: info.body.clone(),
            checksums: Vec::new(),
        });
        // The header is there before those of its pseudo-headers are asked for: they may name it.
        let mut checksums = Vec::new();
        for c in &info.checksums {
            let mut pseudo = Vec::new();
            for (outer, fields, protocol) in &c.pseudo {
                pseudo.push(ir::Pseudo {
                    header: self.header_id(*outer),
                    fields: fields.clone(),
                    constants: vec![u16::from(*protocol)],
                });
            }
            checksums.push(ir::Checksum { field: c.field, pseudo, body: c.body, optional: c.optional });
        }
        self.prog.headers[id.index()].checksums = checksums;
        id
    }

    /// A hash function's number in the program.
    pub(super) fn hash_id(&mut self, item: ItemRef, args: Vec<Scalar>, width: u8) -> HashId {
        if let Some(&id) = self.prog.hash_ids.get(&item) {
            return id;
        }
        let (parsed, index) = self.item(item);
        let name = declared(&parsed.file.items[index].kind).map(|n| n.name.to_string()).unwrap_or_default();
        let id = HashId(self.prog.hashes.len() as u32);
        self.prog.hashes.push(ir::Hash { name, args, width });
        self.prog.hash_ids.insert(item, id);
        id
    }

    /// A drop reason's number in the program.
    pub(super) fn reason_id(&mut self, text: &str) -> ReasonId {
        let reasons = &mut self.prog.reasons;
        let at = reasons.iter().position(|r| r == text).unwrap_or_else(|| {
            reasons.push(text.to_string());
            reasons.len() - 1
        });
        ReasonId(at as u32)
    }

    /// A drop reason that a specification or a test names: one that no handler gives is a mistake.
    pub(super) fn named_reason(&mut self, text: &str, span: Span) -> Option<ReasonId> {
        if let Some(at) = self.prog.reasons.iter().position(|r| r == text) {
            return Some(ReasonId(at as u32));
        }
        if self.any_reason {
            return Some(self.reason_id(text));
        }
        let near = super::modules::nearest(text, self.prog.reasons.iter().cloned());
        let mut d = crate::diagnostics::Diagnostic::new(Code::UnknownName, span, format!("nothing is dropped for `{text}` here"));
        if let Some(near) = near {
            d = d.fix(span, format!("\"{near}\""), format!("did you mean \"{near}\"?"));
        }
        self.report(d);
        None
    }

    /// What is known of a table.
    pub(super) fn table(&self, id: TableId) -> TableInfo {
        self.prog.infos[id.index()].clone()
    }
}
