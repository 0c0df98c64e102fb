//! Programs that once showed a difference, or were not put into formulas, each as small as it can be.

use super::compared;
use super::formula::Formula;
use super::met::Met;
use crate::prove::Event;
use grv_lang::compile::compile;
use grv_lang::ir::{PortId, Program};
use grv_lang::source::NoModules;
use std::fmt::Write;
use std::sync::Arc;

const HEADERS: &str = "
header A { k: u8, f: u8, in packet; }
header B { k: u8, f: u16, in A when k == 1; }
header C { k: u8, in A when k == 2; in B when k == 2; }
header D { f: u16, in C when k == 3; }
";

/// A box of elements one behind the other: what each holds, and the arms of its match.
fn chain(elements: &[(&str, &str)]) -> Arc<Program> {
    let (mut text, mut wiring) = (HEADERS.to_string(), String::new());
    for (at, (state, arms)) in elements.iter().enumerate() {
        let _ = write!(
            text,
            "element E{at} {{
                input frame;
                output out;
                {state}
                on frame(p) {{ match p {{ {arms} _ => drop \"other\", }} }}
            }}\n"
        );
        let next = if at + 1 < elements.len() { format!("e{}.frame", at + 1) } else { "b".to_string() };
        let _ = writeln!(wiring, "e{at}: E{at}; e{at}.out -> {next};");
    }
    text += &format!("middlebox Main {{ port a, b; {wiring} a -> e0.frame; b -> e0.frame; }}\n");
    let compiled = compile("found.grv", text.as_bytes(), &NoModules);
    assert!(!compiled.failed(), "{:?}\n{text}", compiled.diagnostics);
    compiled.boxes[0].clone()
}

/// What is put into formulas agrees, and something leaves the box.
fn agree(elements: &[(&str, &str)]) {
    let mut met = Met::default();
    if let Err(differs) = compared(&chain(elements), &[], 600, 1, &mut met) {
        panic!("{differs}");
    }
    assert!(met.unsupported.is_empty(), "{met:?}");
    assert!(met.count_of("one packet sent") > 5, "{met:?}");
}

#[test]
fn a_group_that_is_refused_takes_no_room() {
    let arms = "{ A as h } => { left.insert_or_update(h.k) and right.insert_or_update(h.f) else { } emit out; }";
    agree(&[("state left: set<u8>[2]; state right: set<u8>[1];", arms)]);
}

#[test]
fn a_header_put_in_and_taken_out_leads_nowhere() {
    agree(&[("", "{ A as h, B as b } => { push C { k: h.f } before b as c else { drop \"room\" } pop c; pop b; emit out; }")]);
}

#[test]
fn a_header_is_put_in_where_one_was_taken_out() {
    agree(&[(
        "",
        "{ A as h, B as b, C as c } => { pop b; push B { k: 9, f: 10 } before c as d else { drop \"room\" } emit out; }",
    )]);
}

#[test]
fn two_headers_are_put_in() {
    let arms = "{ A as h, B as b } => {
        push C { k: h.f } before b as c else { drop \"room\" }
        push D { f: b.f } before c as d else { drop \"room\" }
        h.f = d.f as% u8;
        emit out;
    }";
    agree(&[("", arms), ("", "{ A as h } => { h.f = h.f +% 1; emit out; }")]);
}

#[test]
fn what_is_written_by_way_of_a_long_header_is_behind_a_short_one() {
    let write = "{ A as h, B as b } => { b.k = 3; b.f = 0x0506; h.k = 2; emit out; }";
    agree(&[("", write), ("", "{ A, C, D as d } => { if d.f != 0x0506 { drop \"kept\" } emit out; }")]);
}

#[test]
fn a_place_that_was_looked_at_is_written_again() {
    agree(&[
        ("", "{ A as h, B as b } => { b.k = 1; h.k = 2; emit out; }"),
        ("", "{ A as h, C as c } => { if c.k == 7 { drop \"seven\" } h.k = 1; emit out; }"),
        ("", "{ A as h, B as b } => { b.k = 7; h.k = 2; emit out; }"),
        ("", "{ A, C as c } => { if c.k == 1 { drop \"one\" } emit out; }"),
    ]);
}

#[test]
fn arms_that_end_need_not_meet() {
    let arms = "{ A, B as b } => { push C { k: 1 } before b as c else { drop \"room\" } emit out; }
        { A as h } if h.f == 1 => emit out,
        { A, C as c } => { pop c; emit out; }";
    agree(&[("", arms)]);
}

#[test]
fn what_is_behind_a_header_where_another_was_put_in_is_not_put_into_formulas() {
    let program = chain(&[
        ("", "{ A as h, B as b } => { push A { k: 1, f: 2 } before b as c else { drop \"room\" } emit out; }"),
        ("", "{ A, B as b } => { pop b; emit out; }"),
    ]);
    assert!(Formula::of(&program, Event::Packet(PortId(0))).is_err());
}
