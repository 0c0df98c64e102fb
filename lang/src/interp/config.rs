//! A program with its parameters: all that stays the same while a box runs, computed once.

use super::code::{Code, Leaves, Scope};
use super::error::{ConfigError, ContentError};
use super::layout::{Entry, Layout};
use super::lower::Lowering;
use super::spec::Bindings;
use super::state;
use super::step::Frame;
use super::table::{BYTE, Bucket, Indexed, Store, prefix_mask};
use super::value::{Fault, fits};
use crate::ir::{
    Body, Column, Element, ElementId, Expr, FieldId, HeaderId, InputRef, Lifetime, Output, PortId, Program, Property, PropertyId,
    Scalar, Stmt, Table, TableId, TableKind, Target, map,
};
use rustc_hash::FxHashSet;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) program: Arc<Program>,
    /// By parameter and column.
    pub(crate) params: Vec<Vec<u128>>,
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
    /// By header.
    layouts: Vec<Layout>,
    /// By element.
    elements: Vec<Lowered>,
    /// Of all inputs of all elements.
    pub(crate) handlers: Vec<Handler>,
    /// By table.
    pub(crate) lifetimes: Vec<Lifetime<Code>>,
    /// Filled as properties are looked at.
    properties: Vec<OnceLock<Property<Code>>>,
}

/// An input of an element, and what is done with the packets that come there.
#[derive(Debug)]
pub(crate) struct Handler {
    pub(crate) at: InputRef,
    /// How many values come beside the packet.
    pub(crate) args: usize,
    /// The element's outputs.
    pub(crate) outputs: Vec<Way>,
    /// The headers that the packet starts with.
    pub(crate) contract: Vec<HeaderId>,
    pub(crate) body: Body<Code>,
}

/// Where an output leads: out of the box, or to one of [`Config::handlers`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Port(PortId),
    Handler(usize),
}

/// An element.
#[derive(Debug)]
pub(crate) struct Lowered {
    /// Its inputs, among [`Config::handlers`].
    inputs: Range<usize>,
    pub(crate) timers: Vec<Body<Code>>,
    pub(crate) update: Option<Body<Code>>,
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
        let elements = elements(&program, &params);
        let mut config = Config {
            roots,
            families,
            depths,
            coarse,
            exact,
            buckets: Vec::new(),
            initial: Vec::new(),
            layouts: program.headers.iter().map(|header| Layout::new(&program, header)).collect(),
            handlers: handlers(&program, &params, &elements),
            elements,
            lifetimes: program.tables.iter().map(|table| lifetime(&program, &params, table)).collect(),
            properties: program.properties.iter().map(|_| OnceLock::new()).collect(),
            params,
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

    /// A header's layout.
    #[inline]
    pub(crate) fn layout(&self, header: HeaderId) -> Option<&Layout> {
        self.layouts.get(header.index())
    }

    /// Where a field is in its header.
    #[inline]
    pub(crate) fn field(&self, header: HeaderId, field: FieldId) -> Option<Entry> {
        self.layout(header)?.field(field)
    }

    /// An element.
    #[inline]
    pub(crate) fn element(&self, id: ElementId) -> Option<&Lowered> {
        self.elements.get(id.index())
    }

    /// The handler of an input.
    pub(crate) fn handler(&self, at: InputRef) -> Option<usize> {
        handler(&self.elements, at)
    }

    /// A property as it is evaluated.
    pub(crate) fn property(&self, id: PropertyId) -> Option<&Property<Code>> {
        let property = self.program.properties.get(id.0 as usize)?;
        let lowering = Lowering::of_body(&self.program, &self.params, &property.body);
        Some(self.properties.get(id.0 as usize)?.get_or_init(|| map::property(property, &mut |expr| lowering.code(expr))))
    }

    /// An expression of a body as it is evaluated.
    pub(crate) fn code<E>(&self, body: &Body<E>, expr: &Expr) -> Code {
        Lowering::of_body(&self.program, &self.params, body).code(expr)
    }

    /// Statements of a body as they are run.
    pub(crate) fn block(&self, body: &Body, block: &[Stmt]) -> Vec<Stmt<Code>> {
        map::block(block, &mut |expr| self.code(body, expr))
    }

    /// The value of an expression over constants and parameters.
    fn constant(&self, expr: &Expr) -> Result<u128, Fault> {
        let code = Lowering::outside(&self.program, &self.params).code(expr);
        Scope { frame: &Frame::of::<Code>(&Body::default(), 0), vars: &Bindings::default() }.eval(&code)
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

/// A body as it is run.
fn lowered(program: &Program, params: &[Vec<u128>], body: &Body) -> Body<Code> {
    let lowering = Lowering::of_body(program, params, body);
    map::body(body, &mut |expr| lowering.code(expr))
}

/// The elements, with what is not in [`handlers`].
fn elements(program: &Program, params: &[Vec<u128>]) -> Vec<Lowered> {
    let mut first = 0;
    let element = |element: &Element| {
        let inputs = first..first + element.inputs.len();
        first = inputs.end;
        let timers = element.timers.iter().map(|timer| lowered(program, params, &timer.body)).collect();
        Lowered { inputs, timers, update: element.update.as_ref().map(|body| lowered(program, params, body)) }
    };
    program.elements.iter().map(element).collect()
}

/// All handlers, in order of elements and inputs.
fn handlers(program: &Program, params: &[Vec<u128>], elements: &[Lowered]) -> Vec<Handler> {
    let way = |output: &Output| match output.target {
        Target::Port(port) => Way::Port(port),
        // What leads nowhere is found out by who goes there.
        Target::Input(at) => Way::Handler(handler(elements, at).unwrap_or(usize::MAX)),
    };
    let mut handlers = Vec::new();
    for (element, declared) in (0..).map(ElementId).zip(&program.elements) {
        for (number, input) in (0..).zip(&declared.inputs) {
            handlers.push(Handler {
                at: InputRef { element, input: number },
                args: input.args.len(),
                outputs: declared.outputs.iter().map(way).collect(),
                contract: input.contract.clone(),
                body: lowered(program, params, &input.body),
            });
        }
    }
    handlers
}

/// The handler of an input.
fn handler(elements: &[Lowered], at: InputRef) -> Option<usize> {
    let inputs = &elements.get(at.element.index())?.inputs;
    let index = inputs.start.checked_add(at.input as usize)?;
    inputs.contains(&index).then_some(index)
}

fn lifetime(program: &Program, params: &[Vec<u128>], table: &Table) -> Lifetime<Code> {
    map::lifetime(&table.lifetime, &mut |body, expr| Lowering::of_body(program, params, body).code(expr))
}
