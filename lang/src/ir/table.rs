//! State: tables, cells and counters, who writes them, and how long entries live.

use super::{Body, Column, ElementId, Expr, Scalar, Shape, TableId};
use crate::span::Span;
use serde::Serialize;

/// Nanoseconds by which the clocks of a target's processors may differ: the least that a lifetime's clock may lag. `std::time::SKEW` is the
/// same.
pub const SKEW: u64 = 1_000_000;

/// State: a table, a cell or a counter of one element instance.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// Path, e.g. `rewriter.forward`.
    pub name: String,
    /// Where it is declared.
    pub span: Span,
    /// The instance that holds it.
    pub element: ElementId,
    /// What it is.
    pub kind: TableKind,
    /// Who writes it.
    pub role: Role,
    /// Source type of the key.
    pub key_shape: Shape,
    /// The key's scalars; empty for cells and single counters. For arrays and counter arrays, the index.
    pub key: Vec<Column>,
    /// Source type of the value.
    pub value_shape: Shape,
    /// The value's scalars.
    pub value: Vec<Column>,
    /// Greatest number of entries (for arrays and counter arrays: their number).
    pub capacity: u64,
    /// Value of arrays' elements and of cells at the start, one constant or parameter per column.
    pub initial: Vec<Expr>,
    /// How long entries live.
    pub lifetime: Lifetime,
    /// Nanoseconds by which a target's clock for lifetimes may lag: at least [`SKEW`] where there are lifetimes of the table's own, else 0.
    pub granularity: u64,
    /// How the runtime computes it with each generation, if it is not given.
    pub computed: Option<Maglev>,
}

/// A Maglev look-up table for each group of entries (Eisenbud et al., "Maglev", NSDI 2016, section 3.4).
///
/// The entries are a set whose key's first column is the group's number and whose other columns are the backend; or its first columns are the
/// group's name, of which a map says the number, and groups without one have no slots. The array
/// holds `slots` elements per group, a prime number: group g's are `g * slots ..`. With M slots, and for backend b (its
/// columns) the offset `h("maglev_offset", b) mod M` and the skip `h("maglev_skip", b) mod (M - 1) + 1` ([`struct@super::Hash`] of 64 bits),
/// b's preferences are `(offset + j * skip) mod M` for j = 0, 1, ...; the backends, in the order of their columns, take their next
/// free preference in turn until no slot is free. Groups without entries keep the initial value.
#[derive(Clone, Debug, Serialize)]
pub struct Maglev {
    /// The set.
    pub entries: TableId,
    /// The map from names of groups to numbers, if they have names.
    pub groups: Option<TableId>,
    /// Slots per group.
    pub slots: u32,
}

impl Maglev {
    /// Whether an array can be computed from these tables.
    pub(crate) fn fits(&self, tables: &[Table], array: &Table) -> bool {
        let types = |columns: &[Column]| columns.iter().map(|column| column.ty).collect::<Vec<Scalar>>();
        let control = |id: TableId| tables.get(id.index()).filter(|table| table.role == Role::Control);
        let Some(entries) = control(self.entries).filter(|table| matches!(table.kind, TableKind::Set)) else { return false };
        let name = match self.groups.map(control) {
            None => entries.key.get(..1).map(<[Column]>::to_vec),
            Some(groups) => {
                groups.filter(|map| matches!(map.kind, TableKind::Map) && map.value.len() == 1).map(|map| map.key.clone())
            }
        };
        name.is_some_and(|name| {
            let backend = entries.key.get(name.len()..).filter(|backend| !backend.is_empty());
            types(&entries.key).starts_with(&types(&name)) && backend.is_some_and(|backend| types(backend) == types(&array.value))
        })
    }
}

/// The kinds of state.
#[derive(Clone, Debug, Serialize)]
pub enum TableKind {
    /// Keys with values.
    Map,
    /// Keys.
    Set,
    /// A value for every index.
    Array,
    /// Prefixes with values; the key's columns are address and length.
    Lpm,
    /// A token bucket per key.
    Bucket {
        /// Bits per second.
        rate: Expr,
        /// Bytes.
        burst: Expr,
    },
    /// One value.
    Cell,
    /// Wrapping 64-bit counters.
    Counter,
}

/// Who writes a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Role {
    /// Packet handlers, timers and update handlers.
    State,
    /// The control plane, one generation of all control tables at once.
    Control,
    /// The runtime, one entry at a time.
    Feed,
    /// Handlers, for specifications only; gone from artefacts.
    Ghost,
}

/// How long entries live.
#[derive(Clone, Debug, Serialize)]
pub enum Lifetime<E = Expr> {
    /// Until removed.
    Forever,
    /// A touch moves the deadline to `max(deadline, now + T)`.
    Idle(LifetimeFn<E>),
    /// The deadline is that of an entry of another table.
    IdleWith {
        /// The other table.
        table: TableId,
        /// Its key, computed from this entry's.
        key: LifetimeFn<E>,
    },
    /// Set once, at insertion.
    Fixed(LifetimeFn<E>),
}

/// Scalars computed from an entry's key and value. The body's first locals are the key's scalars, then the value's.
#[derive(Clone, Debug, Serialize)]
pub struct LifetimeFn<E = Expr> {
    /// The statements; pure.
    pub body: Body<E>,
    /// The results: a duration in nanoseconds, or a key.
    pub result: Vec<E>,
}
