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
mod hash;
mod hook;
mod infos;
mod insert;
mod joint;
mod linear;
mod once;
mod ops;
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

use super::lir::{Arg, BlockId, Builder, Function, MapId, Slot, Type, Value, mask};
use super::maps::{Kind, Layout, Map, Maps, Place, identifier};
use super::{Hook, Options, Parameter};
use clock::Clock;
use env::{Env, Open};
use grv_lang::diagnostics::{Code, Diagnostic};
use grv_lang::ir::{ElementId, InputRef, ParamId, PortId, Program, Role, Scalar, Stmt, StmtKind, TableId, TableKind, Target};
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

/// In builds for tests: variables by which a test sets the clock and the port, and sees where packets went.
#[derive(Clone, Copy)]
struct Probe {
    section: MapId,
    frozen: u32,
    clock: u32,
    port: u32,
    sent: u32,
    chosen: u32,
    reason: u32,
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

    /// Constants of the box, which its loader sets: interfaces and parameters; in builds for tests the probe.
    fn globals(&mut self, found: &mut Vec<Diagnostic>) {
        let program = self.program;
        for port in &program.ports {
            let interface = (port.entry.is_some() || self.names_interface(port)).then(|| {
                let place = self.variable(self.constants, &format!("interface_{}", port.name), 32, 0);
                (place.offset, place.name)
            });
            self.interfaces.push(interface);
        }
        for (number, param) in program.params.iter().enumerate() {
            let built_in = self.options.params.get(number).and_then(Option::as_ref);
            let mut places = Vec::new();
            for (index, column) in param.columns.iter().enumerate() {
                let width = match self.width(column.ty, param.span) {
                    Ok(width) => width,
                    Err(refused) => {
                        found.push(*refused);
                        return;
                    }
                };
                let default = param.default.as_ref().and_then(|values| values.get(index)).copied();
                let name = if column.name.is_empty() { param.name.clone() } else { format!("{}.{}", param.name, column.name) };
                let place = self.variable(self.constants, &format!("param_{name}"), width, default.unwrap_or(0) as u64);
                let fixed = built_in.map(|values| values.get(index).copied().unwrap_or(u128::MAX));
                let fixed = fixed.map(|number| u64::try_from(number).ok().filter(|number| *number <= mask(width)));
                if fixed == Some(None) {
                    found.push(*self.broken(param.span, "a number that is to be built in is none of its parameter"));
                    return;
                }
                places.push((place.offset, place.bytes, fixed.flatten()));
                let (variable, bytes) = (place.name, place.bytes);
                self.parameters.push(Parameter { name, variable, bytes, given: default.is_some(), fixed: fixed.flatten() });
            }
            self.params.push(places);
        }
        self.turns_back = self.variable(self.constants, "turns_back", 64, 0).offset;
        if program.tables.iter().any(|table| table.role == Role::Feed) {
            self.near_whole = Some(self.variable(self.constants, super::near::WHOLE, 8, 0).offset);
        }
        if uses::chooses(program) {
            self.choice_seed = Some(self.variable(self.constants, "choice_seed", 64, 0).offset);
        }
        let control = program.tables.iter().any(|table| table.role == Role::Control);
        let swept: Vec<TableId> =
            (0..).map(TableId).zip(&program.tables).filter(|(_, t)| sweep::dies(t)).map(|(id, _)| id).collect();
        let cells = program.tables.iter().any(|table| matches!((table.role, &table.kind), (Role::State, TableKind::Cell)));
        if control {
            let section = self.maps.push_globals(super::GENERATION_SECTION);
            let place = self.variable(section, "generation", 64, 0);
            self.generation = Some((section, place.offset.into()));
        }
        let shared = (0..program.tables.len() as u32).any(|id| uses::is_shared(program, TableId(id)));
        if !self.options.probe && swept.is_empty() && !cells && !shared {
            return;
        }
        let section = self.maps.push_globals(".data");
        self.state = Some(section);
        if shared {
            // Tickets are counted from 1.
            let place = self.variable(section, "tickets", 64, 1);
            self.tickets = Arg::Global(section, place.offset.into());
        }
        for table in swept {
            let declared = &program.tables[table.index()];
            let prefix = match self.lifetimes(table, declared) {
                Clock::Fine(_) => "sweep",
                Clock::Coarse(_) => "sweep_ticks",
            };
            let place = self.variable(section, &format!("{prefix}_{}", declared.name), 64, 0);
            // The function is made when it is first asked for.
            self.sweepers.insert(table, (u32::MAX, Arg::Global(section, place.offset.into())));
        }
        if self.options.probe {
            let mut place = |name: &str| u32::from(self.variable(section, name, 64, 0).offset);
            self.probe = Some(Probe {
                section,
                frozen: place("probe_frozen"),
                clock: place("probe_clock"),
                port: place("probe_port"),
                sent: place("probe_sent"),
                chosen: place("probe_chosen"),
                reason: place("probe_reason"),
            });
        }
    }

    /// A global variable with a value at the start.
    fn variable(&mut self, section: MapId, name: &str, bits: u8, value: u64) -> Place {
        match self.maps.globals_mut(section) {
            Some(globals) => globals.push(name, bits, value).clone(),
            None => Place { name: String::new(), offset: 0, bytes: 8, network: false, shift: 0, bits: 64 },
        }
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
        for input in order(self.program) {
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

    /// A parameter of the box.
    fn param(&mut self, id: ParamId, column: u32, span: Span) -> Lowering<Arg> {
        let place = self.params.get(id.index()).and_then(|columns| columns.get(column as usize)).copied();
        let Some((offset, bytes, fixed)) = place else {
            return Err(self.broken(span, "a parameter that is not declared"));
        };
        if let Some(number) = fixed {
            return Ok(Arg::Number(number));
        }
        let ty = self.program.params[id.index()].columns[column as usize].ty;
        let width = match ty {
            Scalar::Bits(width) => width,
            _ => 1,
        };
        // Of that width is what loaders are to write, as the manifest says.
        Ok(self.b.load_bits(Arg::Global(self.constants, offset.into()), bytes, width))
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

/// Inputs so that each comes behind all that lead to it; the wiring is acyclic.
fn order(program: &Program) -> Vec<InputRef> {
    let mut post = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    let mut stack: Vec<(InputRef, bool)> = Vec::new();
    for (element, of) in (0..).map(ElementId).zip(&program.elements) {
        for input in 0..of.inputs.len() as u32 {
            stack.push((InputRef { element, input }, false));
            while let Some((input, done)) = stack.pop() {
                let key = (input.element, input.input);
                if done {
                    post.push(input);
                    continue;
                }
                if !seen.insert(key) {
                    continue;
                }
                stack.push((input, true));
                let element = &program.elements[input.element.index()];
                let mut outputs = Vec::new();
                emits(&element.inputs[input.input as usize].body.block, &mut outputs);
                for output in outputs {
                    if let Target::Input(to) = element.outputs[output as usize].target {
                        stack.push((to, false));
                    }
                }
            }
        }
    }
    post.reverse();
    post
}

/// The outputs that statements emit on.
fn emits(block: &[Stmt], into: &mut Vec<u32>) {
    for stmt in block {
        match &stmt.kind {
            StmtKind::Emit { output, .. } => into.push(*output),
            StmtKind::If { then, other, .. } => [then, other].into_iter().for_each(|b| emits(b, into)),
            StmtKind::Switch { cases, default, .. } => {
                cases.iter().map(|(_, _, b)| b).chain([default]).for_each(|b| emits(b, into));
            }
            StmtKind::Parse { ok, malformed, .. } => [ok, malformed].into_iter().for_each(|b| emits(b, into)),
            _ => {}
        }
    }
}
