//! From the core IR to the low-level IR: the whole program becomes one function, which is run for each packet that arrives at a
//! port of the box.
//!
//! - [`flow`]: statements, ways that part and meet, ends; [`whence`]: where packets came from, as far as words tell
//! - [`endings`]: what several ways end with
//! - `env`: what is known at a place, and what is known where ways meet
//! - [`expr`], [`linear`]: expressions; sums for the places of headers
//! - [`packet`], [`sums`]: headers, fields, checksums; [`resize`]: headers that are put in and taken out
//! - [`tables`]: how each table is kept in maps; `uses`: what the program does with it; [`dense`]: which two are kept in one array; [`infos`]: what the
//!   manifest says
//! - [`globals`]: variables; [`order`]: of handlers
//! - [`trace`]: trace points; [`hook`]: what differs between XDP and tc; [`drops`]: counted by port and reason
//! - [`clock`]: what deadlines are told by; [`routes`]: the longest prefix; [`rows`]: arrays that are searched; [`search`]: how; [`feed`]: what the runtime sets; [`front`]: what is found at once
//! - [`ops`], [`entries`], [`once`], [`insert`], [`joint`], [`slots`], [`bucket`], [`cell`]: operations on tables; [`choose`]; [`sweep`]: dead entries make room;
//!   [`timer`]: while no packets come

mod bucket;
mod cell;
mod choose;
mod clock;
mod dense;
mod drops;
mod endings;
mod entries;
mod env;
mod expr;
mod feed;
mod flow;
mod front;
mod globals;
mod hash;
mod hook;
mod infos;
mod insert;
mod joint;
mod linear;
mod once;
mod ops;
mod order;
mod packet;
mod resize;
mod routes;
mod rows;
mod search;
mod slots;
mod sums;
mod sweep;
mod tables;
mod timer;
mod trace;
mod uses;
mod whence;

use super::lir::{Arg, BlockId, Builder, Function, MapId, Slot, Type, Value};
use super::maps::{Kind, Layout, Map, Maps, identifier};
use super::{Hook, Options, Parameter};
use env::{Env, Open};
use globals::Probe;
use grv_lang::diagnostics::{Code, Diagnostic};
use grv_lang::ir::{InputRef, PortId, Program, Stmt, TableId};
use grv_lang::span::Span;
use std::collections::BTreeMap;
use tables::Table;

/// A result, or why the target does not have it.
type Lowering<T> = Result<T, Box<Diagnostic>>;

/// A program for the target, before it is one for the machine.
pub(crate) struct Lowered {
    pub(crate) function: Function,
    /// Its functions, each behind those that it calls or has helpers call.
    pub(crate) functions: Vec<Function>,
    pub(crate) maps: Maps,
    /// Sets of ports that packets are sent to at once, by the map that holds them.
    pub(crate) groups: Vec<(String, Vec<String>)>,
    /// Variables that hold parameters.
    pub(crate) parameters: Vec<Parameter>,
    /// How tables are kept.
    pub(crate) tables: Vec<super::TableInfo>,
    /// By port: the variable that holds the number of its interface.
    pub(crate) interfaces: Vec<Option<String>>,
    /// Names of what drops are counted by, in the order of the counters.
    pub(crate) reasons: Vec<String>,
    /// Of a build with trace points: what who looks has to know.
    pub(crate) trace: Option<super::TraceInfo>,
}

/// Numbers that parameters may hold.
const MOST_PARAMETERS: usize = 4_096;

/// Reasons of the target besides the program's.
const TARGET_REASONS: [&str; 3] = ["contended", super::NO_PORT, "defect"];

/// All of them.
fn target_reasons(hook: Hook) -> impl Iterator<Item = &'static str> {
    TARGET_REASONS.into_iter().chain(hook::reasons(hook).iter().copied())
}

struct Lower<'p> {
    program: &'p Program,
    options: &'p Options,
    b: Builder,
    maps: Maps,
    tables: Vec<Option<Table>>,
    /// Slots for keys and values that helpers are given.
    key_slot: Slot,
    value_slot: Slot,
    /// The constants of the box.
    constants: MapId,
    /// By map of a table of the control plane: the array in which most of its entries are found.
    fronts: BTreeMap<MapId, front::Front>,
    /// By length of a prefix that was read: the bits of the addresses, and its mask.
    masks: BTreeMap<Value, (u8, Arg)>,
    params: Vec<Vec<(u16, u8, Option<u64>)>>,
    /// Where in `.rodata` the interface numbers of the ports are.
    interfaces: Vec<Option<(u16, String)>>,
    probe: Option<Probe>,
    trace: Option<trace::Points>,
    drop_counts: MapId,
    ports: MapId,
    groups: BTreeMap<u64, MapId>,
    host: Option<PortId>,
    /// The section of variables that programs change.
    state: Option<MapId>,
    /// The variable that holds the next ticket.
    tickets: Arg,
    /// Where in `.rodata` the seed of choices is, if there are any.
    choice_seed: Option<u16>,
    turns_back: u16,
    /// Where it is whether what is near is whole, if anything is.
    near_whole: Option<u16>,
    /// By table, whether its entries are notes for others.
    notebooks: Vec<bool>,
    /// The variable that holds the number of the generation.
    generation: Option<(MapId, u32)>,
    /// Inputs that packets are on their way to.
    pending: BTreeMap<InputRef, Vec<Open<'p>>>,
    /// By handler that was entered in place: ways on which its copy was dropped.
    left: Vec<Vec<Open<'p>>>,
    /// What several ways end with.
    endings: endings::Endings<'p>,
    exits: BTreeMap<(u64, flow::Way), BlockId>,
    drops: BTreeMap<(u64, bool), BlockId>,
    last_of_drops: Option<BlockId>,
    /// The port of the packets of what is being lowered; where packets of each port begin; where the port is remembered, if it is.
    arrived: drops::Arrived,
    arrivals: Vec<(BlockId, PortId)>,
    arrival_slot: Option<Slot>,
    parameters: Vec<Parameter>,
    /// What is to be changed by the update of a checksum that is being lowered.
    changes: Vec<&'p grv_lang::ir::Change>,
    /// What follows in the blocks that are being lowered, and of which handler they are.
    rest: Vec<(usize, &'p [Stmt])>,
    /// Functions beside the program.
    functions: Vec<Function>,
    /// Searches that are functions.
    searchers: Vec<search::Searcher>,
    /// Hash functions that are functions.
    hashers: Vec<hash::Hasher>,
    /// In such a function: what it is given, by what stands for it in the test.
    given: Vec<(grv_lang::ir::Expr, Arg)>,
    /// By table: the function that sweeps it, and the variable that says when that may be done again.
    sweepers: BTreeMap<TableId, (u32, Arg)>,
    /// Nanoseconds that the entry lives at least whose duration was computed last, as far as that is known.
    shortest: u64,
    /// The slot for what a sweep is told, if there is one.
    sweep_slot: Option<Slot>,
    /// Nanoseconds a tick of the coarse clock, if a table's lifetimes are told by it.
    coarse: Option<u64>,
}

/// Lowers a program. All that the target does not have is reported.
pub(crate) fn lower(program: &Program, options: &Options) -> Result<Lowered, Vec<Diagnostic>> {
    lowered(program, options, Lower::whole)
}

/// Lowers what starts the timers that sweep a program's tables. None: no entry dies.
pub(crate) fn lower_sweeper(program: &Program, options: &Options, period: u64) -> Result<Option<Lowered>, Vec<Diagnostic>> {
    if !program.tables.iter().any(sweep::dies) {
        return Ok(None);
    }
    let timers = |lower: &mut Lower<'_>, found: &mut Vec<Diagnostic>| {
        if let Err(refused) = lower.sweep_by_timers(period) {
            found.push(*refused);
        }
    };
    lowered(program, options, timers).map(Some)
}

fn lowered<'p>(
    program: &'p Program,
    options: &'p Options,
    body: impl FnOnce(&mut Lower<'p>, &mut Vec<Diagnostic>),
) -> Result<Lowered, Vec<Diagnostic>> {
    let mut maps = Maps::default();
    let constants = maps.push_globals(".rodata");
    let mut b = Builder::new(program.span, &[Type::Context]);
    b.constants = Some(constants);
    // Their sizes are known when all tables are; no slot is larger than what a helper is given.
    let (key_slot, value_slot) = (b.slot(8), b.slot(8));
    let drop_counts =
        maps.push(counters("drops", (program.reasons.len() + target_reasons(options.hook).count()) * (program.ports.len() + 1)));
    let ports = maps.push(devmap("ports", program.ports.len()));
    let host = program.ports.iter().position(|port| port.name == "host").map(|index| PortId(index as u32));
    let mut lower = Lower {
        program,
        options,
        b,
        maps,
        tables: Vec::new(),
        key_slot,
        value_slot,
        constants,
        fronts: BTreeMap::new(),
        masks: BTreeMap::new(),
        params: Vec::new(),
        interfaces: Vec::new(),
        probe: None,
        trace: None,
        drop_counts,
        ports,
        groups: BTreeMap::new(),
        host,
        state: None,
        tickets: Arg::Number(0),
        choice_seed: None,
        turns_back: 0,
        near_whole: None,
        notebooks: (0..program.tables.len()).map(|id| uses::is_notebook(program, TableId(id as u32))).collect(),
        generation: None,
        pending: BTreeMap::new(),
        left: Vec::new(),
        endings: endings::Endings::default(),
        exits: BTreeMap::new(),
        drops: BTreeMap::new(),
        last_of_drops: None,
        arrived: drops::Arrived::Nowhere,
        arrivals: Vec::new(),
        arrival_slot: None,
        parameters: Vec::new(),
        changes: Vec::new(),
        rest: Vec::new(),
        functions: Vec::new(),
        searchers: Vec::new(),
        hashers: Vec::new(),
        given: Vec::new(),
        sweepers: BTreeMap::new(),
        shortest: 0,
        sweep_slot: None,
        coarse: None,
    };
    let mut found = lower.limits();
    if found.is_empty() {
        lower.globals(&mut found);
        lower.lay_out(&mut found);
        lower.lay_out_trace();
    }
    if found.is_empty() {
        body(&mut lower, &mut found);
    }
    // What is in the source once may be in several instances.
    let mut once: Vec<Diagnostic> = Vec::new();
    for refused in found {
        if !once.contains(&refused) {
            once.push(refused);
        }
    }
    if once.is_empty() { Ok(lower.done()) } else { Err(once) }
}

impl<'p> Lower<'p> {
    /// What no program for the target may have.
    fn limits(&self) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let span = self.program.span;
        if self.program.ports.len() > 64 {
            found.push(*self.refuse(Code::TargetPacket, span, "more than 64 ports".to_string()));
        }
        if self.program.params.iter().map(|param| param.columns.len()).sum::<usize>() > MOST_PARAMETERS {
            found.push(*self.refuse(Code::TargetSize, span, format!("more than {MOST_PARAMETERS} numbers in parameters")));
        }
        for element in &self.program.elements {
            for timer in &element.timers {
                let span = timer.body.block.first().map_or(element.span, |stmt| stmt.span);
                found.push(*self.refuse(Code::TargetOperation, span, "a timer".to_string()));
            }
            if let Some(body) = &element.update {
                let span = body.block.first().map_or(element.span, |stmt| stmt.span);
                found.push(*self.refuse(Code::TargetOperation, span, "a handler of updates".to_string()));
            }
        }
        found
    }

    /// Lowers everything.
    fn whole(&mut self, found: &mut Vec<Diagnostic>) {
        let Arg::Value(context) = self.b.input(0) else { return };
        self.in_reach(context);
        self.note_arrival(context);
        let (data, end) = match self.packet(context) {
            Ok(packet) => packet,
            Err(refused) => return found.push(*refused),
        };
        let env = Env {
            frames: Vec::new(),
            data,
            end,
            length: None,
            now: None,
            unread: false,
            coarse: None,
            generation: None,
            settings: Vec::new(),
            ports: 0,
            from: 0,
            told: Vec::new(),
            sent: 0,
            kept: false,
            moved: false,
            seen: None,
            cell: None,
            visited: std::rc::Rc::default(),
            looked: Vec::new(),
            written: false,
            reads: Vec::new(),
            facts: Vec::new(),
            checked: Vec::new(),
        };
        self.find_endings();
        if let Err(refused) = self.start(context, &env) {
            found.push(*refused);
        }
        for input in order::of_inputs(self.program) {
            let opens = self.pending.remove(&input).unwrap_or_default();
            if let Err(refused) = self.input(input, opens) {
                found.push(*refused);
            }
        }
        while let Some((number, opens)) = self.endings.ways.pop_last() {
            if let Err(refused) = self.ending(number, opens) {
                found.push(*refused);
            }
        }
        self.remember_arrivals();
    }

    /// The way to the handler of the port that a packet arrives at.
    fn start(&mut self, context: Value, env: &Env<'p>) -> Lowering<()> {
        let program = self.program;
        let entries: Vec<(PortId, InputRef)> =
            (0..).map(PortId).zip(&program.ports).filter_map(|(id, port)| Some((id, port.entry?))).collect();
        if let Some(probe) = self.probe {
            // A test gives the port's number, from 1.
            let given = self.b.load(Arg::Global(probe.section, probe.port), 0, 8);
            let (test, real) = (self.b.block(), self.b.block());
            self.b.branch(super::lir::Cmp::Ne, given, Arg::Number(0), test, real);
            self.b.enter(test);
            self.dispatch(given, &entries, |_, port| Arg::Number(u64::from(port.0) + 1), env)?;
            self.b.enter(real);
        }
        let from = self.interface_of(context);
        let number = |lower: &mut Self, port: PortId| {
            let offset = lower.interfaces[port.index()].as_ref().map_or(0, |(offset, _)| *offset);
            lower.b.load(Arg::Global(lower.constants, offset.into()), 0, 4)
        };
        self.dispatch(from, &entries, number, env)
    }

    /// Lowers the handler of an input, once for all that lead there and sent the same before.
    fn input(&mut self, input: InputRef, opens: Vec<Open<'p>>) -> Lowering<()> {
        let mut groups: BTreeMap<u64, Vec<Open<'p>>> = BTreeMap::new();
        for open in opens {
            groups.entry(open.env.sent).or_default().push(open);
        }
        let body = &self.program.elements[input.element.index()].inputs[input.input as usize].body;
        let span = body.block.last().map_or(self.program.span, |stmt| stmt.span);
        for opens in groups.into_values() {
            self.b.span = span;
            let env = self.join(opens)?;
            let block = self.b.here();
            let left = self.block(vec![Open { env, block }], &body.block, true)?;
            self.ends(left, span)?;
        }
        Ok(())
    }

    /// The map of the ports of a set.
    fn group(&mut self, sent: u64) -> MapId {
        let ports = (0..).zip(&self.program.ports).filter(|(_, port)| port.name != "host");
        if sent == ports.fold(0, |all, (index, _)| all | 1_u64 << index) {
            return self.ports;
        }
        if let Some(map) = self.groups.get(&sent) {
            return *map;
        }
        let number = self.groups.len();
        let map = self.maps.push(devmap(&format!("group{number}"), sent.count_ones() as usize));
        self.groups.insert(sent, map);
        map
    }

    fn contended_reason(&self) -> u64 {
        self.program.reasons.len() as u64
    }

    fn no_port_reason(&self) -> u64 {
        self.program.reasons.len() as u64 + 1
    }

    fn defect_reason(&self) -> u64 {
        self.program.reasons.len() as u64 + 2
    }

    /// What the target does not have.
    fn refuse(&self, code: Code, span: Span, what: String) -> Box<Diagnostic> {
        let message = format!("{what} is more than the target `ebpf` can do yet");
        Box::new(Diagnostic::new(code, span, message).here("the program needs it here"))
    }

    /// What a validated program does not do.
    fn broken(&self, span: Span, what: &str) -> Box<Diagnostic> {
        let message = format!("the program is not well formed: {what}");
        Box::new(Diagnostic::new(Code::TargetOperation, span, message))
    }

    fn done(mut self) -> Lowered {
        let shown = |sent: &u64| {
            let ports = self.program.ports.iter().enumerate().filter(|(index, _)| sent & (1 << index) != 0);
            ports.map(|(_, port)| port.name.clone()).collect()
        };
        let name = |map: &MapId| self.maps.map(*map).map_or_else(String::new, |map| map.name.clone());
        let groups = self.groups.iter().map(|(sent, map)| (name(map), shown(sent))).collect();
        let tables = self.table_infos();
        let trace = self.trace_info();
        let reasons = self.program.reasons.iter().cloned().chain(target_reasons(self.options.hook).map(str::to_string)).collect();
        let interfaces = self.interfaces.into_iter().map(|interface| interface.map(|(_, name)| name)).collect();
        self.b.own = self.maps.own();
        let function = self.b.finish(&identifier(&self.program.name.to_lowercase()));
        Lowered {
            function,
            functions: self.functions,
            interfaces,
            maps: self.maps,
            groups,
            parameters: self.parameters,
            tables,
            reasons,
            trace,
        }
    }
}

/// Counters of events, each processor's own.
fn counters(name: &str, count: usize) -> Map {
    let (mut key, mut value) = (Layout::new(), Layout::new());
    key.push("index", 32);
    value.push("count", 64);
    Map { name: name.to_string(), kind: Kind::PerCpuArray, key, value, entries: count as u32, flags: 0 }
}

/// Interfaces that packets are sent to.
fn devmap(name: &str, count: usize) -> Map {
    let (mut key, mut value) = (Layout::new(), Layout::new());
    key.push("index", 32);
    value.push("ifindex", 32);
    Map { name: name.to_string(), kind: Kind::DevMap, key, value, entries: count as u32, flags: 0 }
}
