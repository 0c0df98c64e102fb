//! Rules of the semantics that tests in the language cannot show: accounting, defects, coarse clocks, what a choice may be.

#![allow(clippy::unwrap_used, reason = "a test")]

use grv_lang::compile::compile;
use grv_lang::interp::{Decision, DefectKind, Machine, Replay, Seeded, with_defaults};
use grv_lang::ir::{PortId, Program, TableId};
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

fn program() -> Arc<Program> {
    let compiled = compile("semantics.grv", TEXT.as_bytes(), &NoModules);
    assert!(compiled.diagnostics.is_empty(), "{:?}", compiled.diagnostics);
    compiled.boxes[0].clone()
}

fn machine(skew: u64) -> Machine {
    let program = program();
    let params = with_defaults(&program, &[]).unwrap();
    Machine::with_skew(program, params, skew).unwrap()
}

fn frame(kind: u16) -> Vec<u8> {
    let mut bytes = vec![2; 12];
    bytes.extend(kind.to_be_bytes());
    bytes
}

/// The reasons of the drops that a frame ends in.
fn drops(machine: &mut Machine, kind: u16, oracle: &mut dyn grv_lang::interp::Oracle) -> Vec<String> {
    let outcome = machine.packet(PortId(0), &frame(kind), oracle, None).unwrap();
    outcome.drops.iter().map(|d| machine.program().reasons[d.reason.0 as usize].clone()).collect()
}

/// Events 2: in = out - copies + dropped.
#[test]
fn every_packet_is_accounted_for() {
    let mut machine = machine(0);
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
    let mut machine = machine(0);
    let mut oracle = Seeded::exact(0);
    for _ in 0..5 {
        machine.packet(PortId(0), &frame(1), &mut oracle, None).unwrap();
    }
    let defect = machine.packet(PortId(0), &frame(1), &mut oracle, None).unwrap_err();
    assert!(matches!(defect.kind, DefectKind::Check(_)));
    assert_eq!(defect.element.as_deref(), Some("one"));
    assert_eq!(machine.packet(PortId(0), &frame(4), &mut oracle, None).unwrap_err(), defect);
}

/// Time 3: a coarse clock may lag by the granularity, and no more; the others are exact.
#[test]
fn a_coarse_clock_lags_by_its_granularity() {
    let mut machine = machine(0);
    let mut lagging = Replay::new([], Seeded::exact(0));
    assert_eq!(drops(&mut machine, 3, &mut lagging), Vec::<String>::new());
    // The clock is looked at when time has passed, and at the packet; it wants to lag by more than it may.
    let late = [Decision::TickLag(5_000_000_000), Decision::TickLag(5_000_000_000)];
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
    let mut machine = machine(0);
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
    let mut machine = machine(0);
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
    let mut machine = machine(0);
    let mut oracle = Replay::new([Decision::Contended(true)], Seeded::exact(0));
    assert_eq!(drops(&mut machine, 3, &mut oracle), ["full"]);
    assert_eq!(machine.occupied(TableId(0)), 0);
}
