//! Runs to go on from: what tests lead to, and tables that are full.

use super::Trace;
use super::frame::Varied;
use super::packets::Grammar;
use super::script::Script;
use crate::interp::test::Recorded;
use crate::interp::{Seeded, Stimulus, with_defaults};
use crate::ir::{PortId, Program, TableId, TableKind};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Of runs whose tables hold as many entries, so many are kept.
const ALIKE: usize = 2;
/// Tables that hold at least so many entries count as alike.
const MANY: usize = 3;
/// A test with more events is no start.
const LONGEST: usize = 200;
/// Packets of a kind bring no more entries if so many, one after the other, brought none.
const PATIENCE: usize = 4_000;
/// Fields are told apart by steps of these.
const STEPS: [u128; 3] = [1, 1 << 8, 1 << 16];
/// So many kinds of packets are tried.
const KINDS: usize = 6;

/// Runs that are worth going on from: one in which nothing happened yet, and those that the tests lead to, each up to where its tables
/// hold what they did not hold before. All have the same parameters.
pub fn starts(program: &Arc<Program>, tests: &[Script<'_>]) -> Vec<Trace> {
    let recorded: Vec<Recorded> = tests.iter().map(|test| test.events(program, None, LONGEST + 1)).collect();
    let params = with_defaults(program, &[]).ok().or_else(|| recorded.first().map(|r| r.params.clone()));
    let Some(fresh) = params.and_then(|params| Trace::new(program, params)) else { return Vec::new() };
    let mut starts = vec![fresh.clone()];
    let mut known: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
    let usable = |r: &Recorded| r.params == fresh.machine().params() && r.events.len() <= LONGEST;
    for test in recorded.into_iter().filter(usable) {
        let mut run = fresh.clone();
        let mut held = Vec::new();
        let mut fits = true;
        for event in test.events {
            let before = run.clone();
            if run.happens(event, Seeded::exact(0)).is_err() {
                run = before;
                fits = false;
                break;
            }
            let holds = contents(program, &run);
            if holds != held && !held.is_empty() {
                keep(before, &held, &mut known, &mut starts);
            }
            held = holds;
        }
        if fits && !held.is_empty() {
            keep(run, &held, &mut known, &mut starts);
        }
    }
    starts
}

fn keep(run: Trace, holds: &[usize], known: &mut BTreeMap<Vec<usize>, usize>, starts: &mut Vec<Trace>) {
    let count = known.entry(holds.to_vec()).or_default();
    *count += 1;
    if *count <= ALIKE {
        starts.push(run);
    }
}

/// How much is in each table, roughly.
fn contents(program: &Program, run: &Trace) -> Vec<usize> {
    let machine = run.machine();
    let holds = |table| machine.occupied(table) + machine.written(table);
    (0..program.tables.len() as u32).map(|t| holds(TableId(t)).min(MANY)).collect()
}

/// Runs to a table that is full, or that packets of one kind bring no more entries to. The packets are like those of `starts` that
/// brought the first ones, of as many kinds as it takes.
pub fn filled(program: &Arc<Program>, starts: &[Trace], table: TableId) -> Vec<Trace> {
    let Some(declared) = program.tables.get(table.index()) else { return Vec::new() };
    if !matches!(declared.kind, TableKind::Map | TableKind::Set | TableKind::Bucket { .. }) {
        return Vec::new();
    }
    // The more there is beside what fills the table, the more can happen.
    let all = |start: &&Trace| contents(program, start).iter().sum::<usize>();
    let Some(richest) = starts.iter().max_by_key(all) else { return Vec::new() };
    let grammar = Grammar::new(program);
    let capacity = declared.capacity as usize;
    let (mut run, mut runs, mut known) = (richest.clone(), Vec::new(), Vec::new());
    for (port, packet) in starts.iter().flat_map(|start| brings(start, table)) {
        let kind = (port, grammar.headers(&packet));
        if known.contains(&kind) || known.len() >= KINDS {
            continue;
        }
        let before = run.machine().occupied(table);
        fill(&grammar, richest, &mut run, (table, capacity), (port, &packet));
        let now = run.machine().occupied(table);
        if now > before {
            known.push(kind);
            runs.push(run.clone());
        }
        if now >= capacity {
            break;
        }
    }
    runs
}

/// The packets of a run that brought a table's entries.
fn brings(start: &Trace, table: TableId) -> Vec<(PortId, Vec<u8>)> {
    let mut packets = Vec::new();
    let mut moments = start.past.iter().peekable();
    while let Some(moment) = moments.next() {
        let after = moments.peek().map_or(start.machine(), |next| &next.before);
        if let Stimulus::Packet(port, bytes) = &moment.event
            && after.occupied(table) > moment.before.occupied(table)
        {
            packets.push((*port, bytes.clone()));
        }
    }
    packets
}

/// Lets packets like one arrive until the table is full, or they bring no more entries. What makes an entry of its own is tried out
/// on a run with few.
fn fill(
    grammar: &Grammar<'_>,
    few: &Trace,
    run: &mut Trace,
    (table, capacity): (TableId, usize),
    (port, packet): (PortId, &[u8]),
) {
    let held = few.machine().occupied(table);
    // Fields that make another entry of a packet that differs in them. All are changed at once, so that what is chosen for one
    // entry is seldom what another has.
    let brings = |field: Varied, step: u128| {
        let mut run = few.clone();
        let [first, second] = [step, 2 * step].map(|by| Stimulus::Packet(port, grammar.varied(packet, &[(field, by)])));
        run.happens(first, Seeded::exact(0)).is_ok()
            && run.happens(second, Seeded::exact(0)).is_ok()
            && run.machine().occupied(table) == held + 2
    };
    // What tells entries apart may be the upper part of a field: by how much it must differ.
    let step = |field: Varied| STEPS.into_iter().find(|step| *step < 1 << (field.width - 1) && brings(field, *step));
    let mut varied: Vec<(Varied, u128)> =
        grammar.variations(packet).into_iter().filter_map(|field| Some((field, step(field)?))).collect();
    varied.sort_by_key(|(field, _)| Reverse(field.width));
    // If that leads to where packets are refused, one field alone may not.
    let alone = varied.iter().map(|field| vec![*field]);
    let ways: Vec<Vec<(Varied, u128)>> = std::iter::once(varied.clone()).chain(alone).filter(|way| !way.is_empty()).collect();
    for way in ways {
        let (mut number, mut idle, mut last) = (0, 0, run.machine().occupied(table));
        while (last < capacity || holds_dead(run, table)) && idle < PATIENCE {
            number += 1;
            let fields: Vec<(Varied, u128)> = way.iter().map(|(field, step)| (*field, number * step)).collect();
            let packet = grammar.varied(packet, &fields);
            if run.happens_in_bulk(Stimulus::Packet(port, packet), Seeded::hasty(number as u64)).is_err() {
                return;
            }
            let holds = run.machine().occupied(table);
            idle = if holds == last { idle + 1 } else { 0 };
            last = holds;
        }
    }
}

/// Whether there are dead entries in a table, in whose place others may come.
fn holds_dead(run: &Trace, table: TableId) -> bool {
    run.machine().clone().sweep(table) > 0
}
