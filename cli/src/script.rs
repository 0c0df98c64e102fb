//! Counterexamples as scripts: parameters, events, and what does not hold behind them. What happens many times over is told once.

use crate::capture;
use crate::happened::{Happened, happened};
use grv_lang::compile::Compilation;
use grv_lang::interp::{Machine, Outcome, Seeded, Stimulus};
use grv_lang::ir::{PortId, Program, TableId};
use grv_lang::random::{Broken, Counterexample};
use grv_lang::text;
use std::sync::Arc;

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A counterexample, as lines.
pub(crate) fn counterexample(of: &Compilation, program: &Arc<Program>, found: &Counterexample) -> String {
    let mut lines = vec![format!("FAIL  {}", broken(of, program, found))];
    for (param, value) in program.params.iter().zip(&found.params) {
        lines.push(format!("      {} = {}", param.name, text::show(&param.shape, value)));
    }
    let replay = replay(of, program, found);
    for group in &replay.groups {
        let chosen: Vec<String> = group
            .choices()
            .map(|(name, value)| format!(", {name} {}", value.map_or("none".to_string(), |v| v.to_string())))
            .collect();
        let mut own = event(program, group.first());
        if let Some(line) = own.last_mut() {
            line.push_str(&chosen.concat());
        }
        lines.extend(own.into_iter().map(|line| format!("      {line}")));
        lines.extend(group.happened.lines().into_iter().map(|line| format!("        {line}")));
        lines.extend(group.more().map(|more| format!("      {more}")));
    }
    if let Broken::Property(_, packets) = &found.broken {
        lines.extend(packets.iter().map(|(at, bytes)| format!("      then for {}", packet(program, *at, bytes))));
        lines.extend(replay.arrival.iter().flat_map(Happened::lines).map(|line| format!("        {line}")));
    }
    lines.join("\n")
}

/// What went wrong, and where.
pub(crate) fn broken(of: &Compilation, program: &Program, found: &Counterexample) -> String {
    match &found.broken {
        Broken::Defect(defect) => {
            let element = defect.element.as_ref().map_or_else(String::new, |e| format!(" in `{e}`"));
            format!("{}: {}{element}: {defect}", of.sources.place(defect.span), program.name)
        }
        Broken::Property(id, _) => match program.properties.get(id.0 as usize) {
            Some(property) => format!("{}: `{}` does not hold", of.sources.place(property.span), property.name),
            None => "a property does not hold".to_string(),
        },
    }
}

/// Zeros at the end of a packet that are counted instead of shown.
const ZEROS: usize = 24;

/// A packet at a port, in hexadecimal and decoded.
pub(crate) fn packet(program: &Program, at: PortId, bytes: &[u8]) -> String {
    let port = program.ports.get(at.index()).map_or("?", |p| p.name.as_str());
    let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    let zeros = bytes.len() - end;
    let (shown, rest) = if zeros >= ZEROS { (end, format!(" + {zeros} zeros")) } else { (bytes.len(), String::new()) };
    format!("{port} {}{rest}    # {}", hex(&bytes[..shown]), capture::describe(bytes))
}

/// An event as lines of a script.
pub(crate) fn event(program: &Program, event: &Stimulus) -> Vec<String> {
    let table = |id: &TableId| program.tables.get(id.index());
    match event {
        Stimulus::Packet(at, bytes) => vec![format!("packet {}", packet(program, *at, bytes))],
        Stimulus::Time(nanoseconds) => vec![format!("advance {}", text::duration((*nanoseconds).into()))],
        Stimulus::Update(contents) => {
            let mut lines = Vec::new();
            for content in contents {
                let Some(declared) = table(&content.table) else { continue };
                let entry = |(key, value): &(Vec<u128>, Vec<u128>)| {
                    let value = text::show(&declared.value_shape, value);
                    if key.is_empty() { value } else { format!("{} => {value}", text::show(&declared.key_shape, key)) }
                };
                let entries: Vec<String> = content.entries.iter().map(entry).collect();
                lines.push(format!("update {} = [{}]", declared.name, entries.join(", ")));
            }
            lines
        }
        Stimulus::Feed(id, key, value) => {
            let Some(declared) = table(id) else { return Vec::new() };
            let key = text::show(&declared.key_shape, key);
            vec![match value {
                Some(value) if value.is_empty() => format!("feed {}.insert({key})", declared.name),
                Some(value) => format!("feed {}[{key}] = {}", declared.name, text::show(&declared.value_shape, value)),
                None => format!("feed {}.remove({key})", declared.name),
            }]
        }
    }
}

/// A counterexample, carried out once more.
pub(crate) struct Replay<'c> {
    pub(crate) groups: Vec<Group<'c>>,
    /// What the packet does that the property speaks of, if it is one.
    pub(crate) arrival: Option<Happened>,
}

/// Events that follow each other and are much the same: packets at one port, of one length, that differ in a few bytes.
pub(crate) struct Group<'c> {
    pub(crate) events: &'c [(Stimulus, Seeded)],
    /// What the first of them did.
    pub(crate) happened: Happened,
    /// What each of them came to.
    pub(crate) outcomes: Vec<Outcome>,
    /// The bytes in which they differ.
    pub(crate) differ: Vec<usize>,
}

/// Packets that differ are told one by one if there are no more than this.
const FEW: usize = 8;
/// In how many bytes packets may differ.
const DIFFERENT: usize = 40;

/// The events of a counterexample, carried out once more.
pub(crate) fn replay<'c>(of: &Compilation, program: &Arc<Program>, found: &'c Counterexample) -> Replay<'c> {
    let mut groups = Vec::new();
    // What was found had these parameters.
    let Ok(mut machine) = Machine::new(program.clone(), found.params.clone()) else { return Replay { groups, arrival: None } };
    let mut rest = found.events.as_slice();
    while let Some((first, oracle)) = rest.first() {
        let (length, differ) = alike(rest);
        let (events, behind) = rest.split_at(length);
        let (happened, outcome) = happened(&mut machine, &of.sources, first, oracle);
        let mut outcomes = vec![outcome];
        for (event, oracle) in &events[1..] {
            outcomes.push(machine.happen(event, &mut oracle.clone(), None).unwrap_or_default());
        }
        groups.push(Group { events, happened, outcomes, differ });
        rest = behind;
    }
    let arrival = match (&found.broken, found.oracle_of_arrival(program)) {
        (Broken::Property(_, arrivals), Some(oracle)) => arrivals.first().map(|(port, bytes)| {
            let event = Stimulus::Packet(*port, bytes.clone());
            happened(&mut machine, &of.sources, &event, &oracle).0
        }),
        _ => None,
    };
    Replay { groups, arrival }
}

/// How many of the first events are much the same, and the bytes in which they differ.
pub(crate) fn alike(events: &[(Stimulus, Seeded)]) -> (usize, Vec<usize>) {
    let Some((Stimulus::Packet(port, first), _)) = events.first() else { return (1, Vec::new()) };
    let mut differ = vec![false; first.len()];
    let (mut length, mut same) = (0, 0);
    for (event, _) in events {
        let Stimulus::Packet(at, bytes) = event else { break };
        if at != port || bytes.len() != first.len() {
            break;
        }
        let mut all = differ.clone();
        first.iter().zip(bytes).zip(&mut all).for_each(|((a, b), differs)| *differs |= a != b);
        let count = all.iter().filter(|d| **d).count();
        if count > DIFFERENT.min(first.len() / 2) {
            break;
        }
        length += 1;
        differ = all;
        if count == 0 {
            same = length;
        }
    }
    if length > same && length <= FEW {
        return (same, Vec::new());
    }
    (length, (0..first.len()).filter(|at| differ[*at]).collect())
}

impl Group<'_> {
    pub(crate) fn first(&self) -> &Stimulus {
        &self.events[0].0
    }

    /// What was chosen, if it is one event.
    fn choices(&self) -> impl Iterator<Item = (&str, Option<u128>)> {
        let alone = self.outcomes.iter().filter(|_| self.events.len() == 1);
        alone.flat_map(|outcome| outcome.choices.iter().map(|c| (c.name.as_str(), c.value)))
    }

    /// What is said of all but the first.
    pub(crate) fn more(&self) -> Option<String> {
        let count = self.events.len() - 1;
        let places = ranges(&self.differ);
        match (count, places.is_empty()) {
            (0, _) => None,
            (_, true) => Some(format!("... and {count} more like it")),
            (_, false) => Some(format!("... and {count} more like it, but for byte {places}")),
        }
    }
}

/// Numbers in order, as ranges.
fn ranges(numbers: &[usize]) -> String {
    let mut all: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match all.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => all.push((*number, *number)),
        }
    }
    let text = |(from, to): &(usize, usize)| if from == to { from.to_string() } else { format!("{from} to {to}") };
    all.iter().map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(packets: &[&[u8]]) -> Vec<(Stimulus, Seeded)> {
        packets.iter().map(|bytes| (Stimulus::Packet(PortId(0), bytes.to_vec()), Seeded::exact(0))).collect()
    }

    #[test]
    fn equal_packets_are_told_once_and_different_ones_if_they_are_many() {
        assert_eq!(alike(&events(&[b"abcd", b"abcd", b"abcd", b"abce"])), (3, vec![]));
        assert_eq!(alike(&events(&[b"abcd", b"abce"])), (1, vec![]));
        assert_eq!(alike(&events(&[&b"abcd"[..]; 3])), (3, vec![]));
        let many: Vec<[u8; 8]> = (0..20).map(|n| [1, 2, 3, 4, 5, n, 7, 8]).collect();
        let many: Vec<&[u8]> = many.iter().map(|p| &p[..]).collect();
        assert_eq!(alike(&events(&many)), (20, vec![5]));
        assert_eq!(alike(&[(Stimulus::Time(5), Seeded::exact(0))]), (1, vec![]));
    }

    #[test]
    fn numbers_are_told_as_ranges() {
        assert_eq!(ranges(&[3, 4, 5, 9]), "3 to 5, 9");
        assert_eq!(ranges(&[]), "");
    }
}
