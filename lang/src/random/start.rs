//! Runs to go on from: what tests lead to, and tables that are full.

use super::Trace;
use super::frame::Varied;
use super::packets::Grammar;
use crate::interp::test::{Recorded, record};
use crate::interp::{Seeded, Stimulus, with_defaults};
use crate::ir::{PortId, Program, TableId, TableKind, Test};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Of runs whose tables hold as many entries, so many are kept.
const ALIKE: usize = 2;
/// Tables that hold at least so many entries count as alike.
const MANY: usize = 3;
/// A test with more events is no start.
const LONGEST: usize = 200;
/// A table is given up if so many packets, one after the other, brought no entry.
const PATIENCE: usize = 2_000;

/// Runs that are worth going on from: one in which nothing happened yet, and those that the tests lead to, each up to where its tables
/// hold what they did not hold before. All have the same parameters.
pub fn starts(program: &Arc<Program>, tests: &[&Test]) -> Vec<Trace> {
    let mut recorded = Vec::new();
    for test in tests {
        let mut events = Recorded::default();
        // A test that fails is told of where tests are run; what led there is a run like others.
        let _ = record(test, program, 0, None, &mut events);
        recorded.push(events);
    }
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
    (0..program.tables.len() as u32).map(|t| machine.occupied(TableId(t)).min(MANY)).collect()
}

/// The run, and then as many packets like one of its own as it takes to fill a table. None: no packet of it brings an entry, or
/// packets like it do not bring enough.
pub fn filled(program: &Arc<Program>, start: &Trace, table: TableId) -> Option<Trace> {
    let declared = program.tables.get(table.index())?;
    if !matches!(declared.kind, TableKind::Map | TableKind::Set | TableKind::Bucket { .. }) {
        return None;
    }
    let capacity = declared.capacity as usize;
    let grammar = Grammar::new(program);
    let mut run = Trace::new(program, start.machine().params().to_vec())?;
    for event in start.events() {
        let before = run.machine().occupied(table);
        run.happens(event.clone(), Seeded::exact(0)).ok()?;
        if let Stimulus::Packet(port, bytes) = event
            && run.machine().occupied(table) > before
            && let Some(full) = fill(&grammar, &run, table, capacity, (*port, bytes))
        {
            return Some(full);
        }
    }
    None
}

fn fill(
    grammar: &Grammar<'_>,
    start: &Trace,
    table: TableId,
    capacity: usize,
    (port, packet): (PortId, &[u8]),
) -> Option<Trace> {
    let held = start.machine().occupied(table);
    // Fields that make another entry of a packet that differs in them.
    let mut varied = grammar.variations(packet);
    varied.retain(|field| {
        let mut run = start.clone();
        let bytes = grammar.varied(packet, &[(*field, 1)]);
        run.happens(Stimulus::Packet(port, bytes), Seeded::exact(0)).is_ok() && run.machine().occupied(table) > held
    });
    varied.sort_by_key(|field| Reverse(field.width));
    // All at once, so that what is chosen for one entry is seldom what another has; or else one alone.
    let ways = std::iter::once(varied.clone()).chain(varied.iter().map(|field| vec![*field]));
    ways.filter(|way| !way.is_empty()).find_map(|way| filled_by(grammar, start, (table, capacity), (port, packet), &way))
}

/// Packets that differ in some fields, each by a number more than the one before.
fn filled_by(
    grammar: &Grammar<'_>,
    start: &Trace,
    (table, capacity): (TableId, usize),
    (port, packet): (PortId, &[u8]),
    varied: &[Varied],
) -> Option<Trace> {
    let mut run = start.clone();
    let (mut number, mut idle, mut last) = (0, 0, run.machine().occupied(table));
    while last < capacity {
        number += 1;
        let fields: Vec<(Varied, u128)> = varied.iter().map(|field| (*field, number)).collect();
        let packet = grammar.varied(packet, &fields);
        run.happens_in_bulk(Stimulus::Packet(port, packet), Seeded::exact(number as u64)).ok()?;
        let holds = run.machine().occupied(table);
        idle = if holds > last { 0 } else { idle + 1 };
        if idle > PATIENCE {
            return None;
        }
        last = holds;
    }
    Some(run)
}
