//! A counterexample as data.

use crate::test::{broken, event, hex};
use grv_lang::compile::Compilation;
use grv_lang::interp::Stimulus;
use grv_lang::ir::{PortId, Program};
use grv_lang::random::{Broken, Counterexample};
use grv_lang::text;
use serde::Serialize;

/// Events from the start, and what does not hold behind them.
#[derive(Serialize)]
pub(super) struct Example {
    parameters: Vec<Parameter>,
    pub(super) events: Vec<Event>,
    /// Packets that the property speaks of, beyond the events.
    pub(super) then: Vec<Event>,
    /// What does not hold.
    pub(super) broken: String,
}

#[derive(Serialize)]
struct Parameter {
    name: String,
    value: String,
}

/// An event.
#[derive(Serialize)]
pub(super) struct Event {
    kind: &'static str,
    port: Option<String>,
    /// A packet, in hexadecimal.
    bytes: Option<String>,
    nanoseconds: Option<u64>,
    /// In words.
    pub(super) text: String,
}

impl Example {
    pub(super) fn new(of: &Compilation, program: &Program, found: &Counterexample) -> Example {
        let parameters = program.params.iter().zip(&found.params);
        let then = match &found.broken {
            Broken::Property(_, packets) => packets.as_slice(),
            Broken::Defect(_) => &[],
        };
        Example {
            parameters: parameters
                .map(|(param, value)| Parameter { name: param.name.clone(), value: text::show(&param.shape, value) })
                .collect(),
            events: found.events.iter().map(|e| Event::new(program, e)).collect(),
            then: then.iter().map(|(port, bytes)| packet(program, *port, bytes)).collect(),
            broken: broken(of, program, found),
        }
    }
}

impl Event {
    fn new(program: &Program, stimulus: &Stimulus) -> Event {
        let plain = |kind, nanoseconds| {
            let text = event(program, stimulus).join("; ");
            Event { kind, port: None, bytes: None, nanoseconds, text }
        };
        match stimulus {
            Stimulus::Packet(port, bytes) => packet(program, *port, bytes),
            Stimulus::Time(nanoseconds) => plain("time", Some(*nanoseconds)),
            Stimulus::Update(_) => plain("update", None),
            Stimulus::Feed(..) => plain("feed", None),
        }
    }
}

fn packet(program: &Program, port: PortId, bytes: &[u8]) -> Event {
    let name = program.ports.get(port.index()).map_or("?", |p| p.name.as_str());
    let text = format!("at {name}: {}", crate::capture::describe(bytes));
    Event { kind: "packet", port: Some(name.to_string()), bytes: Some(hex(bytes)), nanoseconds: None, text }
}
