//! A counterexample as data.

use crate::happened::Happened;
use crate::script::{self, Group, Replay, broken, hex, replay};
use grv_lang::compile::Compilation;
use grv_lang::interp::Stimulus;
use grv_lang::ir::{PortId, Program};
use grv_lang::random::{Broken, Counterexample};
use grv_lang::text;
use serde::Serialize;
use std::sync::Arc;

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
    /// The values of its choices; none: `else`.
    choices: Vec<Option<String>>,
    /// What it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    did: Option<Happened>,
    /// Packets that follow it and are much the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    more: Option<More>,
}

#[derive(Serialize)]
struct More {
    count: usize,
    /// The bytes in which they may differ from the first.
    at: Vec<usize>,
    /// Of each packet these bytes, in hexadecimal.
    bytes: String,
}

impl Example {
    pub(super) fn new(of: &Compilation, program: &Arc<Program>, found: &Counterexample) -> Example {
        let parameters = program.params.iter().zip(&found.params);
        let then = match &found.broken {
            Broken::Property(_, packets) => packets.as_slice(),
            Broken::Defect(_) => &[],
        };
        let Replay { groups, mut arrival } = replay(of, program, found);
        Example {
            parameters: parameters
                .map(|(param, value)| Parameter { name: param.name.clone(), value: text::show(&param.shape, value) })
                .collect(),
            events: groups.into_iter().map(|group| Event::new(program, group)).collect(),
            then: then.iter().map(|(port, bytes)| Event { did: arrival.take(), ..packet(program, *port, bytes) }).collect(),
            broken: broken(of, program, found),
        }
    }
}

impl Event {
    fn new(program: &Program, group: Group<'_>) -> Event {
        let plain = |kind, nanoseconds| {
            let text = script::event(program, group.first()).join("; ");
            Event { kind, port: None, bytes: None, nanoseconds, text, choices: Vec::new(), did: None, more: None }
        };
        let mut event = match group.first() {
            Stimulus::Packet(port, bytes) => packet(program, *port, bytes),
            Stimulus::Time(nanoseconds) => plain("time", Some(*nanoseconds)),
            Stimulus::Update(_) => plain("update", None),
            Stimulus::Feed(..) => plain("feed", None),
        };
        let choices = group.outcomes.iter().flat_map(|outcome| &outcome.choices);
        event.choices = choices.map(|choice| choice.value.map(|value| value.to_string())).collect();
        if let Some(more) = group.more() {
            event.text.push_str(&format!(" {more}"));
            event.more = Some(More::new(&group));
        }
        event.did = Some(group.happened);
        event
    }
}

impl More {
    fn new(group: &Group<'_>) -> More {
        let more = &group.events[1..];
        let differ = |event: &Stimulus| match event {
            Stimulus::Packet(_, bytes) => hex(&group.differ.iter().map(|at| bytes[*at]).collect::<Vec<u8>>()),
            _ => String::new(),
        };
        More { count: more.len(), at: group.differ.clone(), bytes: more.iter().map(|(event, _)| differ(event)).collect() }
    }
}

fn packet(program: &Program, port: PortId, bytes: &[u8]) -> Event {
    let name = program.ports.get(port.index()).map_or("?", |p| p.name.as_str());
    let text = format!("at {name}: {}", crate::capture::describe(bytes));
    let (port, bytes) = (Some(name.to_string()), Some(hex(bytes)));
    Event { kind: "packet", port, bytes, nanoseconds: None, text, choices: Vec::new(), did: None, more: None }
}
