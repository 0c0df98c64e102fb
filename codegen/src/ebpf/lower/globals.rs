//! Global variables: what a loader sets before a program runs (interfaces, parameters), what tells which generation counts, what packets change.

use super::super::lir::{Arg, MapId, mask};
use super::super::maps::Place;
use super::super::{GENERATION_SECTION, Parameter, near};
use super::clock::Clock;
use super::{Lower, Lowering, sweep, uses};
use grv_lang::diagnostics::Diagnostic;
use grv_lang::ir::{ParamId, Role, Scalar, TableId, TableKind};
use grv_lang::span::Span;

/// In builds for tests: variables by which a test sets the clock and the port, and sees where packets went.
#[derive(Clone, Copy)]
pub(super) struct Probe {
    pub(super) section: MapId,
    pub(super) frozen: u32,
    pub(super) clock: u32,
    pub(super) port: u32,
    pub(super) sent: u32,
    pub(super) chosen: u32,
    pub(super) reason: u32,
}

impl Lower<'_> {
    /// Constants of the box, which its loader sets: interfaces and parameters; in builds for tests the probe.
    pub(super) fn globals(&mut self, found: &mut Vec<Diagnostic>) {
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
            self.near_whole = Some(self.variable(self.constants, near::WHOLE, 8, 0).offset);
        }
        if uses::chooses(program) {
            self.choice_seed = Some(self.variable(self.constants, "choice_seed", 64, 0).offset);
        }
        let control = program.tables.iter().any(|table| table.role == Role::Control);
        let swept: Vec<TableId> =
            (0..).map(TableId).zip(&program.tables).filter(|(_, t)| sweep::dies(t)).map(|(id, _)| id).collect();
        let cells = program.tables.iter().any(|table| matches!((table.role, &table.kind), (Role::State, TableKind::Cell)));
        if control {
            let section = self.maps.push_globals(GENERATION_SECTION);
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
    pub(super) fn variable(&mut self, section: MapId, name: &str, bits: u8, value: u64) -> Place {
        match self.maps.globals_mut(section) {
            Some(globals) => globals.push(name, bits, value).clone(),
            None => Place { name: String::new(), offset: 0, bytes: 8, network: false, shift: 0, bits: 64 },
        }
    }

    /// A parameter of the box.
    pub(super) fn param(&mut self, id: ParamId, column: u32, span: Span) -> Lowering<Arg> {
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
}
