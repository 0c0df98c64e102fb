//! Rules of the semantics that tests in the language cannot show: accounting, defects, coarse clocks, what a choice may be.

#![allow(clippy::unwrap_used, reason = "a test")]

use grv_lang::compile::compile;
use grv_lang::interp::{Decision, DefectKind, Machine, Replay, Seeded, with_defaults};
use grv_lang::ir::{PortId, Program, SKEW, TableId};
use grv_lang::source::NoModules;
use std::sync::Arc;

const TEXT: &str = r#"
use std::net::Ethernet;

element Box {
    input frame;
    output out, copy;

    state seen: set<u16>[4] idle 10s;
    state coarse: set<u16>[4] idle 10s granularity 1s;
    state used: set<u8>[100];
    state small: cell<u8> = 250;
    state far: map<u16, u64>[4] idle value as duration;

    on frame(p) {
        match p {
            { Ethernet as eth } if eth.ethertype == 1 => {
                small = small + 1;
                emit out;
            }
            { Ethernet as eth } if eth.ethertype == 2 => {
                choose n in 1..=100 within 3 where not used.contains(n) prefer n <= 10 else { drop "none" }
                used.insert(n) else { drop "full" }
                emit out;
            }
            { Ethernet as eth } if eth.ethertype == 3 => {
                seen.insert_or_update(eth.ethertype) else { drop "full" }
                coarse.insert_or_update(eth.ethertype) else { drop "full" }
                emit out, copy;
            }
            { Ethernet as eth } if eth.ethertype == 6 => {
                far.insert_or_update(1, 0xffff_ffff_ffff_ffff) else { drop "full" }
                emit out;
            }
            { Ethernet as eth } => {
                if seen.contains(3) { drop "seen" }
                if coarse.contains(3) { drop "coarse" }
                emit out;
            }
            _ => drop "malformed",
        }
    }
}

middlebox Main {
    port a, b, c;
    one: Box;
    two: Stop;
    a -> one.frame;
    one.out -> b;
    one.copy -> c;
    b -> two.frame;
    c -> two.frame;
}

element Stop {
    input frame;

    on frame(p) {
        drop "stop"
    }
}
"#;

/// What a target may do otherwise than an obliging one, and breaches of what a program is obliged to.
const MORE: &str = r#"
use std::net::Ethernet;

element Box {
    input frame;

    state keys: map<u16, u16>[2] idle 10s;
    state used: set<u8>[100];
    state ticks: cell<u32> = 0;
    state total: counter;

    on frame(p) {
        match p {
            { Ethernet as eth } if eth.ethertype == 1 => {
                keys.insert(eth.dst as u48 as% u16, 0) else { drop "full" }
                drop "in"
            }
            { Ethernet as eth } if eth.ethertype == 2 => {
                keys.set(eth.dst as u48 as% u16, 1);
                drop "set"
            }
            { Ethernet as eth } if eth.ethertype == 3 => {
                choose n in 1..=100 within 2 where not used.contains(n) prefer n == 50, n <= 10 else { drop "none" }
                used.insert(n) else { drop "full" }
                if n == 50 { drop "preferred" }
                drop "other"
            }
            { Ethernet as eth } if eth.ethertype == 4 => {
                total.add(0xffff_ffff_ffff_ffff);
                if total == 0xffff_ffff_ffff_fffe { drop "wrapped" }
                drop "counted"
            }
            { Ethernet as eth } if eth.ethertype == 5 => {
                if ticks == 2 { drop "two" }
                drop "less"
            }
            { Ethernet as eth } => if keys.contains(eth.dst as u48 as% u16) { drop "there" } else { drop "absent" },
            _ => drop "malformed",
        }
    }

    on every 1s lag 100ms {
        ticks = ticks + 1;
    }
}

middlebox Main {
    port a;
    one: Box;
    a -> one.frame;
}
"#;

fn machine_of(text: &str) -> Machine {
    let compiled = compile("semantics.grv", text.as_bytes(), &NoModules);
    assert!(compiled.diagnostics.is_empty(), "{:?}", compiled.diagnostics);
    let program: Arc<Program> = compiled.boxes[0].clone();
    let params = with_defaults(&program, &[]).unwrap();
    Machine::new(program, params).unwrap()
}

fn machine() -> Machine {
    machine_of(TEXT)
}

fn frame(kind: u16) -> Vec<u8> {
    let mut bytes = vec![2; 12];
    bytes.extend(kind.to_be_bytes());
    bytes
}

/// A frame with a key.
fn keyed(kind: u16, key: u8) -> Vec<u8> {
    let mut bytes = frame(kind);
    bytes[5] = key;
    bytes
}

/// The reasons of the drops that a frame ends in.
fn drops(machine: &mut Machine, kind: u16, oracle: &mut dyn grv_lang::interp::Oracle) -> Vec<String> {
    reasons(machine, &frame(kind), oracle)
}

fn reasons(machine: &mut Machine, frame: &[u8], oracle: &mut dyn grv_lang::interp::Oracle) -> Vec<String> {
    let outcome = machine.packet(PortId(0), frame, oracle, None).unwrap();
    outcome.drops.iter().map(|d| machine.program().reasons[d.reason.0 as usize].clone()).collect()
}

/// Events 2: in = out - copies + dropped.
#[test]
fn every_packet_is_accounted_for() {
    let mut machine = machine();
    let mut oracle = Seeded::exact(0);
    for kind in [1, 2, 3, 3, 4, 5] {
        machine.packet(PortId(0), &frame(kind), &mut oracle, None).unwrap();
    }
    machine.packet(PortId(1), &frame(1), &mut oracle, None).unwrap();
    machine.packet(PortId(0), &[1, 2, 3], &mut oracle, None).unwrap();
    let counts = machine.accounting();
    assert_eq!(counts.received.iter().sum::<u64>(), 8);
    assert_eq!(counts.sent.iter().sum::<u64>(), 6);
    assert_eq!(counts.dropped.iter().sum::<u64>(), 4);
    assert_eq!(counts.copies, 2);
    assert!(counts.balances());
}

/// Events 5: a checked operation that overflows stops the box for good.
#[test]
fn a_defect_stops_the_box() {
    let mut machine = machine();
    let mut oracle = Seeded::exact(0);
    for _ in 0..5 {
        machine.packet(PortId(0), &frame(1), &mut oracle, None).unwrap();
    }
    let defect = machine.packet(PortId(0), &frame(1), &mut oracle, None).unwrap_err();
    assert!(matches!(defect.kind, DefectKind::Check(_)));
    assert_eq!(defect.element.as_deref(), Some("one"));
    assert_eq!(machine.packet(PortId(0), &frame(4), &mut oracle, None).unwrap_err(), defect);
}

/// Time 2: a deadline is now + T, and must fit: it does not wrap.
#[test]
fn a_deadline_beyond_64_bits_is_a_defect() {
    let mut machine = machine();
    let mut oracle = Seeded::exact(0);
    machine.packet(PortId(0), &frame(6), &mut oracle, None).unwrap();
    machine.advance(1, &mut oracle, None).unwrap();
    let defect = machine.packet(PortId(0), &frame(6), &mut oracle, None).unwrap_err();
    assert_eq!(defect.kind, DefectKind::Deadline("one.far".to_string()));
}

/// Time 3: a coarse clock may lag by the granularity, and no more; each of them for itself.
#[test]
fn a_coarse_clock_lags_by_its_granularity() {
    let mut machine = machine();
    let mut lagging = Replay::new([], Seeded::exact(0));
    assert_eq!(drops(&mut machine, 3, &mut lagging), Vec::<String>::new());
    // The clock is looked at when time has passed; it wants to lag by more than it may.
    let late = [0, 5_000_000_000, 0].map(Decision::TickLag);
    lagging.extend(late);
    machine.advance(10_000_000_000, &mut lagging, None).unwrap();
    assert_eq!(drops(&mut machine, 4, &mut lagging), ["coarse"]);
    lagging.extend(late);
    machine.advance(1_000_000_000, &mut lagging, None).unwrap();
    assert_eq!(drops(&mut machine, 4, &mut lagging), Vec::<String>::new());
}

/// Time 1: time never goes back, and stays below 2^62 ns.
#[test]
fn time_has_an_end() {
    let mut machine = machine();
    let mut oracle = Seeded::exact(0);
    assert_eq!(machine.advance(u64::MAX, &mut oracle, None).unwrap_err().kind, DefectKind::TimeRange);
    assert_eq!(machine.now(), 0);
    machine.advance((1 << 62) - 1, &mut oracle, None).unwrap();
    assert!(machine.advance(1, &mut oracle, None).is_err());
    // No defect of the program: it goes on.
    assert!(machine.packet(PortId(0), &frame(4), &mut oracle, None).is_ok());
}

/// Choice: a lower tier, or none, may be chosen only after so many values of the higher one were refused.
#[test]
fn a_choice_within_n() {
    let given = |machine: &mut Machine, value: Option<u128>| {
        let mut oracle = Replay::new([Decision::Chosen(value)], Seeded::exact(0));
        machine.packet(PortId(0), &frame(2), &mut oracle, None)
    };
    let mut machine = machine();
    // Nothing is taken: no value of the first tier is refused.
    assert!(matches!(given(&mut machine.clone(), Some(11)).unwrap_err().kind, DefectKind::IllegalChoice { .. }));
    assert!(matches!(given(&mut machine.clone(), None).unwrap_err().kind, DefectKind::IllegalChoice { .. }));
    for n in [1, 2, 3] {
        given(&mut machine, Some(n)).unwrap();
    }
    // Three of the first tier would be refused: it may be left, and so may the last one.
    assert!(given(&mut machine.clone(), Some(11)).is_ok());
    assert!(given(&mut machine.clone(), Some(4)).is_ok());
    let outcome = given(&mut machine.clone(), None).unwrap();
    assert_eq!(outcome.drops.len(), 1);
    // A value that is taken never does.
    assert!(given(&mut machine, Some(2)).is_err());
}

/// Tables 1: an insertion may fail for a target's transient reason; nothing was inserted then.
#[test]
fn contended_insertions_take_the_else_branch() {
    let mut machine = machine();
    let mut oracle = Replay::new([Decision::Contended(true)], Seeded::exact(0));
    assert_eq!(drops(&mut machine, 3, &mut oracle), ["full"]);
    assert_eq!(machine.occupied(TableId(0)), 0);
}

/// Events 4: a timer that is due may not have fired yet, up to its lag.
#[test]
fn a_timer_is_late_by_its_lag_at_most() {
    let mut machine = machine_of(MORE);
    let mut oracle = Replay::new([Decision::TimerLag(5_000_000_000)], Seeded::exact(0));
    machine.advance(1_000_000_000, &mut oracle, None).unwrap();
    machine.advance(1_099_999_999, &mut oracle, None).unwrap();
    assert_eq!(drops(&mut machine, 5, &mut oracle), ["less"]);
    machine.advance(1, &mut oracle, None).unwrap();
    assert_eq!(drops(&mut machine, 5, &mut oracle), ["two"]);
}

/// Events 5, Tables 1: `insert` on a live key, and a change of one that is not live, stop the box; on a dead key, `insert` replaces.
#[test]
fn what_an_operation_asks_of_its_key_is_an_obligation() {
    let mut oracle = Seeded::exact(0);
    let mut machine = machine_of(MORE);
    assert_eq!(reasons(&mut machine, &keyed(1, 7), &mut oracle), ["in"]);
    let live = machine.clone().packet(PortId(0), &keyed(1, 7), &mut oracle, None).unwrap_err();
    assert_eq!(live.kind, DefectKind::InsertLive("one.keys".to_string()));
    let absent = machine.clone().packet(PortId(0), &keyed(2, 8), &mut oracle, None).unwrap_err();
    assert_eq!(absent.kind, DefectKind::NotLive("one.keys".to_string()));
    machine.advance(10_000_000_000, &mut oracle, None).unwrap();
    let dead = machine.clone().packet(PortId(0), &keyed(2, 7), &mut oracle, None).unwrap_err();
    assert_eq!(dead.kind, DefectKind::NotLive("one.keys".to_string()));
    assert_eq!(reasons(&mut machine, &keyed(1, 7), &mut oracle), ["in"]);
    assert_eq!(machine.occupied(TableId(0)), 1);
}

/// Time 1: without `granularity`, lifetimes may be judged by a clock that lags by the skew; it never goes back, and moves when time passes.
#[test]
fn the_skew_is_the_granularity_of_a_table_without_one() {
    let late = || Replay::new([Decision::TickLag(u64::MAX); 16], Seeded::exact(0));
    let mut machine = machine_of(MORE);
    assert_eq!(reasons(&mut machine, &keyed(1, 7), &mut late()), ["in"]);
    machine.advance(10_000_999_999, &mut late(), None).unwrap();
    assert_eq!(reasons(&mut machine.clone(), &keyed(6, 7), &mut late()), ["there"]);
    // The clock was exact once: it does not go back to where the entry lives.
    let mut exact = machine.clone();
    assert_eq!(reasons(&mut exact, &keyed(6, 7), &mut Seeded::exact(0)), ["there"]);
    exact.advance(0, &mut Seeded::exact(0), None).unwrap();
    assert_eq!(reasons(&mut exact, &keyed(6, 7), &mut Seeded::exact(0)), ["absent"]);
    exact.advance(0, &mut late(), None).unwrap();
    assert_eq!(reasons(&mut exact, &keyed(6, 7), &mut late()), ["absent"]);
    machine.advance(1, &mut late(), None).unwrap();
    assert_eq!(reasons(&mut machine, &keyed(6, 7), &mut late()), ["absent"]);
}

/// Tables 1, 2: the dead count for the capacity until they are swept, which nobody need do.
#[test]
fn what_is_dead_takes_room_until_it_is_swept() {
    let mut machine = machine_of(MORE);
    let mut oracle = Replay::new([], Seeded::exact(0));
    for key in [1, 2] {
        assert_eq!(reasons(&mut machine, &keyed(1, key), &mut oracle), ["in"]);
    }
    machine.advance(10_000_000_000, &mut oracle, None).unwrap();
    oracle.extend([Decision::Swept(false)]);
    assert_eq!(reasons(&mut machine, &keyed(1, 3), &mut oracle), ["full"]);
    assert_eq!(reasons(&mut machine, &keyed(6, 1), &mut oracle), ["absent"]);
    // A dead entry of the key itself makes room.
    assert_eq!(reasons(&mut machine, &keyed(1, 1), &mut oracle), ["in"]);
    assert_eq!(reasons(&mut machine, &keyed(1, 3), &mut oracle), ["in"]);
    assert_eq!(machine.occupied(TableId(0)), 2);
}

/// Tables 4: counters wrap.
#[test]
fn counters_wrap() {
    let mut machine = machine_of(MORE);
    let mut oracle = Seeded::exact(0);
    assert_eq!(drops(&mut machine, 4, &mut oracle), ["counted"]);
    assert_eq!(drops(&mut machine, 4, &mut oracle), ["wrapped"]);
}

/// Choice: a tier of the form `x == e` is always tried.
#[test]
fn a_tier_of_one_value_is_always_tried() {
    let given = |machine: &mut Machine, value: Option<u128>| {
        let mut oracle = Replay::new([Decision::Chosen(value)], Seeded::exact(0));
        machine.packet(PortId(0), &frame(3), &mut oracle, None)
    };
    let mut machine = machine_of(MORE);
    for other in [Some(1), Some(11), None] {
        let refused = given(&mut machine.clone(), other).unwrap_err().kind;
        assert!(matches!(refused, DefectKind::IllegalChoice { .. }), "{refused:?}");
    }
    given(&mut machine, Some(50)).unwrap();
    // It is taken now; of the next tier, two values must be refused.
    assert!(given(&mut machine.clone(), Some(11)).is_err());
    given(&mut machine, Some(1)).unwrap();
    assert!(given(&mut machine.clone(), Some(11)).is_err());
    given(&mut machine, Some(2)).unwrap();
    assert!(given(&mut machine, Some(11)).is_ok());
}

/// `std::time::SKEW` is what the IR has for a table without `granularity`.
#[test]
fn the_skew_of_the_library_is_that_of_the_language() {
    const USES: &str = r#"
use std::net::Ethernet;
use std::time::SKEW;

element Box {
    input frame;

    state seen: set<u16>[4] lifetime 3s;
    state kept: set<u16>[4] lifetime SKEW granularity SKEW;

    on frame(p) {
        match p {
            { Ethernet as eth } if seen.contains(eth.ethertype) or kept.contains(eth.ethertype) => drop "there",
            _ => drop "absent",
        }
    }
}

middlebox Main {
    port a;
    one: Box;
    a -> one.frame;
}
"#;
    let program = machine_of(USES).program().clone();
    assert_eq!(program.tables.iter().map(|table| table.granularity).collect::<Vec<_>>(), [SKEW, SKEW]);
}
