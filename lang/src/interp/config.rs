//! A program with its parameters: all that stays the same while a box runs, computed once.

use super::error::{ConfigError, ContentError};
use super::expr::{Leaves, Scope};
use super::spec::Bindings;
use super::step::Frame;
use super::table::{BYTE, Bucket, Indexed, Store, prefix_mask};
use super::value::{Fault, fits};
use super::{hash, state};
use crate::ir::{
    Body, Column, Expr, Field, FieldId, Hash, HashId, Header, HeaderId, Lifetime, Program, Scalar, Table, TableId, TableKind,
};
use rustc_hash::FxHashSet;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) program: Arc<Program>,
    /// By parameter and column.
    pub(crate) params: Vec<Vec<u128>>,
    /// Starting values of the hash functions.
    seeds: Vec<u64>,
    /// By table: the one whose clock judges its lifetimes, at the end of the chain of `idle with`.
    pub(crate) roots: Vec<TableId>,
    /// By root: the tables whose entries may share its deadlines, itself included.
    pub(crate) families: Vec<Vec<TableId>>,
    /// By table: how many `idle with` there are up to its root.
    pub(crate) depths: Vec<u32>,
    /// Roots with a coarse clock, and by how much it may lag.
    pub(crate) coarse: Vec<(TableId, u64)>,
    /// Roots with the exact clock.
    pub(crate) exact: Vec<TableId>,
    /// By table, for buckets.
    pub(crate) buckets: Vec<Option<Bucket>>,
    /// By table, the initial value of arrays' elements and cells.
    pub(crate) initial: Vec<Vec<u128>>,
    /// By header and field.
    layouts: Vec<Vec<Layout>>,
    /// How many inputs all elements have: no way through the box is longer.
    pub(crate) inputs: usize,
}

/// A field of a header, in short.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// Bits before it.
    pub(crate) offset: u32,
    /// Its bits.
    pub(crate) width: u8,
    /// Whether the header's length, its body or whether it is valid depends on it.
    structural: bool,
}

/// One table's new contents in an update: keys and values, or of an array the first elements in order (keys empty).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableUpdate {
    /// The table.
    pub table: TableId,
    /// Keys' and values' scalars.
    pub entries: Vec<(Vec<u128>, Vec<u128>)>,
}

impl Config {
    pub(crate) fn new(program: Arc<Program>, params: Vec<Vec<u128>>) -> Result<Config, ConfigError> {
        check_params(&program, &params)?;
        let (roots, depths) = roots(&program)?;
        let mut families = vec![Vec::new(); program.tables.len()];
        let (mut coarse, mut exact) = (Vec::new(), Vec::new());
        for (id, table) in (0..).map(TableId).zip(&program.tables) {
            families[roots[id.index()].index()].push(id);
            if roots[id.index()] == id && !matches!(table.lifetime, Lifetime::Forever) {
                coarse.push((id, table.granularity));
            } else if roots[id.index()] == id {
                exact.push(id);
            }
        }
        let mut config = Config {
            params,
            seeds: program.hashes.iter().map(|function| hash::seed(&function.name)).collect(),
            roots,
            families,
            depths,
            coarse,
            exact,
            buckets: Vec::new(),
            initial: Vec::new(),
            layouts: program.headers.iter().map(layouts).collect(),
            inputs: program.elements.iter().map(|element| element.inputs.len()).sum(),
            program,
        };
        let program = config.program.clone();
        for table in &program.tables {
            let constant = |expr: &Expr| match config.constant(expr) {
                Ok(bits) => Ok(bits),
                Err(fault) => Err(ConfigError::Initial(table.name.clone(), fault)),
            };
            let mut initial = Vec::new();
            for expr in &table.initial {
                initial.push(constant(expr)?);
            }
            // A cell without columns' values, or an array, starts at zero.
            initial.resize(table.value.len(), 0);
            let bucket = match &table.kind {
                TableKind::Bucket { rate, burst } => {
                    let burst = constant(burst)?.checked_mul(BYTE).filter(|burst| i128::try_from(*burst).is_ok());
                    let burst = burst.ok_or_else(|| ConfigError::Bucket(table.name.clone()))?;
                    let rate = Some(constant(rate)?).filter(|rate| *rate > 0);
                    let rate = rate.ok_or_else(|| ConfigError::Bucket(table.name.clone()))?;
                    Some(Bucket { rate, burst })
                }
                _ => None,
            };
            config.initial.push(initial);
            config.buckets.push(bucket);
        }
        Ok(config)
    }

    /// Whether places depend on a field.
    pub(crate) fn is_structural(&self, header: HeaderId, field: FieldId) -> bool {
        self.layout(header, field).is_none_or(|layout| layout.structural)
    }

    /// Where a field is in its header.
    #[inline]
    pub(crate) fn layout(&self, header: HeaderId, field: FieldId) -> Option<&Layout> {
        self.layouts.get(header.index())?.get(field.index())
    }

    /// A hash function and its starting value.
    pub(crate) fn hash(&self, id: HashId) -> Result<(&Hash, u64), Fault> {
        match (self.program.hashes.get(id.index()), self.seeds.get(id.index())) {
            (Some(function), Some(seed)) => Ok((function, *seed)),
            _ => Err(Fault::Malformed("a hash that is not declared")),
        }
    }

    /// The value of an expression over constants and parameters.
    fn constant(&self, expr: &Expr) -> Result<u128, Fault> {
        let body = Body::default();
        let scope = Scope { config: self, frame: &Frame::of(&body), vars: &Bindings::default(), now: 0 };
        scope.eval(expr)
    }

    /// A control table's store with new contents.
    pub(crate) fn fill(&self, update: &TableUpdate) -> Result<Store, ContentError> {
        let unknown = || ContentError::NotWritable(format!("table {}", update.table.0));
        let table = self.program.tables.get(update.table.index()).ok_or_else(unknown)?;
        let given = update.entries.len() as u64;
        if given > table.capacity.max(1) {
            return Err(ContentError::TooMany { table: table.name.clone(), capacity: table.capacity, given });
        }
        let mut store = state::empty(table, &self.initial[update.table.index()]);
        let mut keys = FxHashSet::default();
        for (index, (key, value)) in update.entries.iter().enumerate() {
            match &mut store {
                Store::Indexed(store) => {
                    check_entry(table, index, None, value)?;
                    Indexed::get_mut(store, index as u64).copy_from_slice(value);
                }
                Store::Keyed(store) => {
                    check_entry(table, index, Some(key), value)?;
                    if !keys.insert(key.as_slice()) {
                        return Err(ContentError::Duplicate { table: table.name.clone(), index });
                    }
                    store.put(
                        key.as_slice().into(),
                        super::table::Entry { value: value.as_slice().into(), slot: super::table::SlotId::FOREVER },
                    );
                }
            }
        }
        Ok(store)
    }
}

/// Checks that a key (if the table is looked up by keys) and a value are of a table's types.
pub(crate) fn check_entry(table: &Table, index: usize, key: Option<&[u128]>, value: &[u128]) -> Result<(), ContentError> {
    let fit = |columns: &[Column], scalars: &[u128]| {
        columns.len() == scalars.len() && columns.iter().zip(scalars).all(|(column, bits)| fits(*bits, column.ty))
    };
    if !fit(&table.value, value) || key.is_some_and(|key| !fit(&table.key, key)) {
        return Err(ContentError::Type { table: table.name.clone(), index });
    }
    if let (TableKind::Lpm, Some([address, length]), Some(Scalar::Bits(width))) =
        (&table.kind, key, table.key.first().map(|column| column.ty))
    {
        let within = *length <= u128::from(width);
        if !within || address & !prefix_mask(width, *length as u8) != 0 {
            return Err(ContentError::Prefix { table: table.name.clone(), index });
        }
    }
    Ok(())
}

/// The parameters' values: those given, else their defaults.
pub fn with_defaults(program: &Program, given: &[Option<Vec<u128>>]) -> Result<Vec<Vec<u128>>, ConfigError> {
    if given.len() > program.params.len() {
        return Err(ConfigError::ParamCount { expected: program.params.len(), given: given.len() });
    }
    let value = |(index, param): (usize, &crate::ir::Param)| {
        let value = given.get(index).cloned().flatten().or_else(|| param.default.clone());
        value.ok_or_else(|| ConfigError::Missing(param.name.clone()))
    };
    program.params.iter().enumerate().map(value).collect()
}

fn check_params(program: &Program, params: &[Vec<u128>]) -> Result<(), ConfigError> {
    if params.len() != program.params.len() {
        return Err(ConfigError::ParamCount { expected: program.params.len(), given: params.len() });
    }
    for (param, value) in program.params.iter().zip(params) {
        let fit = param.columns.iter().zip(value).all(|(column, bits)| fits(*bits, column.ty));
        if param.columns.len() != value.len() || !fit {
            return Err(ConfigError::Param(param.name.clone()));
        }
    }
    Ok(())
}

/// The root of each table, and how far it is.
fn roots(program: &Program) -> Result<(Vec<TableId>, Vec<u32>), ConfigError> {
    let (mut roots, mut depths) = (Vec::new(), Vec::new());
    for (id, table) in (0..).map(TableId).zip(&program.tables) {
        let (mut root, mut depth) = (id, 0);
        while let Some(Lifetime::IdleWith { table: next, .. }) = program.tables.get(root.index()).map(|t| &t.lifetime) {
            (root, depth) = (*next, depth + 1);
            if depth as usize > program.tables.len() || next.index() >= program.tables.len() {
                return Err(ConfigError::SharedLifetime(table.name.clone()));
            }
        }
        roots.push(root);
        depths.push(depth);
    }
    Ok((roots, depths))
}

/// The fields of a header; its length, its body and its validity say which are structural.
fn layouts(header: &Header) -> Vec<Layout> {
    fn mark(expr: &Expr, fields: &mut [Layout]) {
        match expr {
            Expr::Own(field) => {
                if let Some(field) = fields.get_mut(field.index()) {
                    field.structural = true;
                }
            }
            Expr::Unary(_, a) | Expr::Convert(a, _) => mark(a, fields),
            Expr::Binary(_, a, b) => {
                mark(a, fields);
                mark(b, fields);
            }
            Expr::Select(a, b, c) => {
                mark(a, fields);
                mark(b, fields);
                mark(c, fields);
            }
            Expr::Hash(_, args) => args.iter().for_each(|arg| mark(arg, fields)),
            _ => {}
        }
    }
    let layout = |field: &Field| Layout { offset: field.offset, width: field.width, structural: false };
    let mut fields: Vec<Layout> = header.fields.iter().map(layout).collect();
    mark(&header.valid, &mut fields);
    header.body.iter().chain(header.variable.iter().map(|(_, e)| e)).for_each(|e| mark(e, &mut fields));
    fields
}
