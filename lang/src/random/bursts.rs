//! Bursts: packets of a kind, sent as fast and as long as a box lets them through, held against what it promises of sums over
//! intervals. They are sent at one instant, as soon as the next one passes, and after long silence; alike, or such that they differ
//! in what the promise does not tell apart.

use super::Counterexample;
use super::frame::Varied;
use super::packets::Grammar;
use super::trace::{Judged, Trace};
use crate::interp::judge::{self, Moment};
use crate::interp::{Machine, Replay, Seeded, Stimulus};
use crate::ir::spec::Form;
use crate::ir::{PortId, PropertyId};
use std::cell::Cell;

/// At most so many packets at one instant.
const BURST: usize = 2_000;
/// So often it is waited, for as long as it takes, or for very long.
const ROUNDS: usize = 6;
/// Nanoseconds of a long silence: some hours.
const SILENCE: u64 = 1 << 44;
/// The lengths of the longest packets that are tried.
const LENGTHS: [usize; 2] = [1_514, 40_000];
/// So many packets of starts are varied.
const KINDS: usize = 4;
/// So many packets are tried from a state; fewer if there is much in it.
const PROBES: usize = 20_000;
const PROBES_OF_LARGE: usize = 1_000;
/// Added to fields, to make packets of somebody else.
const ELSEWHERE: u128 = 0x3579_1300;

/// Looks for a counterexample to a promise about sums over intervals, from some states.
pub fn overrun<'t>(starts: impl IntoIterator<Item = &'t Trace>, id: PropertyId) -> Option<Counterexample> {
    let mut starts = starts.into_iter().peekable();
    let program = starts.peek()?.program.clone();
    let property = program.properties.get(id.0 as usize)?;
    let Form::Bound { event, .. } = &property.form else { return None };
    let bursts = Bursts { grammar: Grammar::new(&program), id, port: event.port, left: Cell::new(0) };
    starts.find_map(|start| bursts.from(start))
}

struct Bursts<'p> {
    grammar: Grammar<'p>,
    id: PropertyId,
    port: PortId,
    /// So many packets more may be tried.
    left: Cell<usize>,
}

/// What packets of a burst have in common.
struct Way<'b> {
    /// They are like this one,
    like: &'b [u8],
    /// but for these fields,
    vary: Vec<Varied>,
    /// and they have other lengths. So do their bodies; or else what is behind them.
    stretch: bool,
    longest: usize,
    /// Whom they count for.
    key: Vec<u128>,
}

impl Bursts<'_> {
    fn from(&self, start: &Trace) -> Option<Counterexample> {
        self.left.set(if start.is_large() { PROBES_OF_LARGE } else { PROBES });
        let mut kinds: Vec<(Vec<u128>, Vec<u8>)> = Vec::new();
        for like in self.kinds(start) {
            // Long ones may be refused where short ones pass.
            let short = self.grammar.resized(&like, 0, true);
            let passes = |packet: Vec<u8>| Some((self.passes(start.machine(), &packet)?, packet));
            if let Some((key, like)) = passes(like).or_else(|| passes(short))
                && !kinds.iter().any(|(known, _)| *known == key)
            {
                kinds.push((key, like));
            }
        }
        if start.is_large() {
            // It is full of those who sent before.
            kinds.reverse();
        }
        kinds.into_iter().find_map(|(key, like)| self.like(start, &key, &like))
    }

    /// Sends packets like one.
    fn like(&self, start: &Trace, key: &[u128], like: &[u8]) -> Option<Counterexample> {
        // Of packets that count for the same, one may differ from the other in these fields.
        let mut free = self.grammar.variations(like);
        free.retain(|field| {
            let other = self.grammar.varied(like, &[(*field, 1)]);
            self.passes(start.machine(), &other).as_deref() == Some(key)
        });
        let mut varied = vec![Vec::new()];
        varied.extend(free.iter().map(|field| vec![*field]));
        varied.push(free);
        for longest in LENGTHS {
            for vary in &varied {
                for stretch in [true, false] {
                    let way = Way { like, vary: vary.clone(), stretch, longest, key: key.to_vec() };
                    if let Some(found) = self.sent(start, &way) {
                        return Some(found);
                    }
                }
            }
        }
        None
    }

    /// Packets that arrived in a run, and such from elsewhere.
    fn kinds(&self, start: &Trace) -> Vec<Vec<u8>> {
        let mut known = Vec::new();
        let mut kinds: Vec<Vec<u8>> = Vec::new();
        for event in start.events() {
            let Stimulus::Packet(port, bytes) = event else { continue };
            let headers = self.grammar.headers(bytes);
            if *port != self.port || known.contains(&headers) {
                continue;
            }
            known.push(headers);
            kinds.push(bytes.clone());
            let elsewhere = |field: &Varied| self.grammar.varied(bytes, &[(*field, ELSEWHERE)]);
            kinds.extend(self.grammar.variations(bytes).iter().filter(|f| f.width >= 32).map(elsewhere));
            if known.len() == KINDS {
                break;
            }
        }
        kinds
    }

    /// Whom a packet would count for, if it would count.
    fn passes(&self, machine: &Machine, packet: &[u8]) -> Option<Vec<u128>> {
        self.left.set(self.left.get().checked_sub(1)?);
        let before = machine.clone();
        let event = Stimulus::Packet(self.port, packet.to_vec());
        let oracle = Replay::new([], Seeded::exact(0));
        let outcome = machine.clone().happen(&event, &mut oracle.clone(), None).ok()?;
        let moment = Moment { event, before, outcome, oracle };
        let counted = judge::counted(self.id, &moment).ok()?;
        counted.into_iter().next().map(|(key, _)| key)
    }

    fn fits(&self, machine: &Machine, way: &Way<'_>, packet: &[u8]) -> bool {
        self.passes(machine, packet).as_ref() == Some(&way.key)
    }

    /// The packet of a number and length.
    fn packet(&self, way: &Way<'_>, number: u128, length: usize) -> Vec<u8> {
        let fields: Vec<(Varied, u128)> = way.vary.iter().map(|field| (*field, number)).collect();
        self.grammar.resized(&self.grammar.varied(way.like, &fields), length, way.stretch)
    }

    /// Sends bursts with pauses between them.
    fn sent(&self, start: &Trace, way: &Way<'_>) -> Option<Counterexample> {
        let mut run = start.clone();
        let (mut number, mut longest) = (0, 0);
        for round in 0..ROUNDS {
            let before = number;
            if let Some(found) = self.burst(&mut run, way, (&mut number, &mut longest)) {
                return Some(found);
            }
            if number == before {
                return None;
            }
            let wait = if round % 2 == 0 { self.pause(&run, &self.packet(way, number, longest), &way.key)? } else { SILENCE };
            run.happens(Stimulus::Time(wait), Seeded::exact(0)).ok()?;
        }
        None
    }

    /// Sends what passes at this instant, and long packets first; each gets a number. Whether that is too much is asked now and then,
    /// and in the end.
    fn burst(&self, run: &mut Trace, way: &Way<'_>, (number, longest): (&mut u128, &mut usize)) -> Option<Counterexample> {
        let mut most = way.longest;
        for sent in 1..=BURST {
            let packet = self.longest(run.machine(), way, *number, &mut most);
            let over = packet.is_none() || sent == BURST;
            if let Some(packet) = packet {
                *longest = packet.len().max(*longest);
                run.happens(Stimulus::Packet(self.port, packet), Seeded::exact(0)).ok()?;
                *number += 1;
            }
            if (over || sent.is_power_of_two())
                && let Judged::Fails(found) = run.judged(self.id, Vec::new())
            {
                return Some(*found);
            }
            if over {
                break;
            }
        }
        None
    }

    /// The longest packet that passes.
    fn longest(&self, machine: &Machine, way: &Way<'_>, number: u128, most: &mut usize) -> Option<Vec<u8>> {
        let packet = |length| Some(self.packet(way, number, length)).filter(|p| self.fits(machine, way, p));
        if let Some(packet) = packet(*most) {
            return Some(packet);
        }
        let mut fits = packet(0)?;
        let mut beyond = *most;
        while beyond - fits.len().min(beyond) > 1 {
            let middle = usize::midpoint(fits.len(), beyond);
            match packet(middle) {
                // It cannot be as short as that.
                Some(packet) if packet.len() >= beyond => break,
                Some(packet) => fits = packet,
                None => beyond = middle,
            }
        }
        *most = fits.len();
        Some(fits)
    }

    /// After how many nanoseconds a packet passes.
    fn pause(&self, run: &Trace, packet: &[u8], key: &[u128]) -> Option<u64> {
        let passes = |wait: u64| {
            let mut machine = run.machine().clone();
            let waited = machine.happen(&Stimulus::Time(wait), &mut Seeded::exact(0), None);
            waited.is_ok() && self.passes(&machine, packet).as_deref() == Some(key)
        };
        let mut late = 1;
        while !passes(late) {
            late = (late < SILENCE).then_some(late * 2)?;
        }
        let mut early = late / 2;
        while late - early > 1 {
            let middle = u64::midpoint(early, late);
            if passes(middle) {
                late = middle;
            } else {
                early = middle;
            }
        }
        Some(late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::compile;
    use crate::random::{scripts, starts};
    use crate::source::NoModules;

    /// A meter of frames by their source, with a mistake.
    fn meter(key: &str, amount: &str, exceeds: &str, full: &str, promise: &str) -> String {
        format!(
            r#"
            use std::net::{{Ethernet, Mac}};
            element Meter {{
                input frame;
                output out;
                state buckets: bucket<Mac>[3] rate 8_000 burst 1_000;
                on frame(p) {{
                    match p {{
                        {{ Ethernet as eth }} => match buckets.take({key}, {amount}) {{
                            conforms => emit out,
                            exceeds => {exceeds},
                            full => {full},
                        }},
                        _ => drop "short",
                    }}
                }}
            }}
            middlebox Box {{
                port a, b;
                meter: Meter;
                back: Meter;
                a -> meter.frame;
                meter.out -> b;
                b -> back.frame;
                back.out -> a;
                shape Frame = {{ Ethernet as eth }};
                property limited {{
                    bound p.length of p: Frame at a emits b per p.eth.src over t: {promise};
                }}
            }}
            test "one" for Box {{
                send a Ethernet {{ dst: 02:00:00:00:00:01, src: 02:00:00:00:00:02, ethertype: 9 }} / bytes(50);
                ignore;
            }}
            "#
        )
    }

    fn found(text: &str) -> Option<Counterexample> {
        let compiled = compile("meter.grv", text.as_bytes(), &NoModules);
        assert!(!compiled.failed(), "{:?}", compiled.diagnostics);
        let program = &compiled.boxes[0];
        let tests = scripts(program, &compiled.tests);
        let mut from = starts(program, &tests);
        let filled = crate::random::filled(program, &from, crate::ir::TableId(0));
        assert!(filled.iter().any(|run| run.machine().occupied(crate::ir::TableId(0)) == 3));
        from.extend(filled);
        let found = overrun(&from, PropertyId(0))?;
        assert!(found.replays(program, &mut |_, _| {}), "it replays");
        Some(found)
    }

    const PROMISE: &str = "1_000 * t / 1s + 1_000";
    const DROP: &str = "drop \"no\"";

    #[test]
    fn a_meter_that_is_right_is_not_refuted() {
        assert!(found(&meter("eth.src", "p.length", DROP, DROP, PROMISE)).is_none());
    }

    #[test]
    fn each_mistake_is_found() {
        for (what, text) in [
            ("another pays", meter("eth.dst", "p.length", DROP, DROP, PROMISE)),
            ("a header is free", meter("eth.src", "p.length -| 14", DROP, DROP, PROMISE)),
            ("short ones pass", meter("eth.src", "p.length", "{ if p.length > 60 { drop \"no\" } emit out; }", DROP, PROMISE)),
            ("the full table passes", meter("eth.src", "p.length", DROP, "emit out", PROMISE)),
            ("a burst is a byte less", meter("eth.src", "p.length", DROP, DROP, "1_000 * t / 1s + 999")),
            ("credit is less", meter("eth.src", "p.length", DROP, DROP, "900 * t / 1s + 1_000")),
        ] {
            assert!(found(&text).is_some(), "{what}");
        }
    }

    #[test]
    fn few_events_are_left() {
        let found = found(&meter("eth.src", "p.length", DROP, DROP, "1_000 * t / 1s + 100")).expect("it is refuted");
        assert!(found.events.len() <= 2, "{:?}", found.events);
    }
}
