use super::{Mutant, Operator, Places};
use crate::compile::{Compilation, compile};
use crate::ir::Program;
use crate::ir::print::print;
use crate::ir::validate::validate;
use crate::source::NoModules;

const BOX: &str = r#"
use std::net::{Ethernet, Ipv4, Mac};

element Switch(const PORTS: u32) {
    input frame[PORTS];
    output left[PORTS];
    state seen: map<Mac, u32>[16] idle 300s;
    ghost last: cell<u32> = 0;

    on frame[i](p) {
        match p {
            { Ethernet as eth, Ipv4 as ip } if ip.ttl > 1 => {
                seen.insert_or_update(eth.src, i) else { }
                last = i;
                ip.ttl = ip.ttl - 1;
                for other in 0..PORTS {
                    if other != i { emit left[other]; }
                }
            }
            _ => drop "no",
        }
    }
}

middlebox Both(const PORTS: u32 = 3) {
    port p[PORTS];
    switch: Switch(PORTS: PORTS);
    p -> switch.frame;
    switch.left -> p;
}

test "two" for Both(PORTS: 2) { advance 1s; }
"#;

fn compiled(text: &str) -> Compilation {
    let compiled = compile("box.grv", text.as_bytes(), &NoModules);
    let found: Vec<_> = compiled.diagnostics.iter().filter(|d| d.code.name().starts_with('E')).collect();
    assert!(found.is_empty(), "{found:?}");
    compiled
}

fn all(program: &Program) -> Vec<Mutant> {
    Places::new(program).mutants(&|_, _| true)
}

#[test]
fn each_mutant_is_a_valid_program_of_its_own() {
    let compiled = compiled(BOX);
    let program = &*compiled.boxes[0];
    let places = Places::new(program);
    let mut texts = std::collections::BTreeSet::from([print(program)]);
    let mutants = all(program);
    for mutant in &mutants {
        let changed = places.changed(&mutant.key).expect("there is such a place");
        assert_eq!(validate(&changed), Ok(()));
        assert!(texts.insert(print(&changed)), "{}", mutant.change);
        assert_eq!(changed.properties.len(), program.properties.len());
    }
    assert!(mutants.is_sorted_by_key(|m| (m.span, m.operator)));
    let none = Places::new(program).mutants(&|_, _| false);
    assert!(none.is_empty());
}

#[test]
fn every_operator_finds_its_place() {
    let compiled = compiled(BOX);
    let mutants = all(&compiled.boxes[0]);
    for operator in Operator::ALL {
        assert!(mutants.iter().any(|m| m.operator == operator), "{}: {mutants:#?}", operator.name());
    }
    let changes: Vec<&str> = mutants.iter().map(|m| m.change.as_str()).collect();
    let any = |what: &str| changes.iter().any(|change| change.contains(what));
    assert!(any("the lifetime of `seen`: 300000000000 -> 301000000000"), "{changes:#?}");
    assert!(any("`1u8` -> `2u8`") && any("`on frame` drops at once"), "{changes:#?}");
    // Ghost code stays as it is.
    assert!(!any("last"), "{changes:#?}");
}

/// The inputs of a port array are one place in the source: there are as many changes however many there are.
#[test]
fn what_was_expanded_is_changed_together() {
    let compiled = compiled(BOX);
    let program = &*compiled.boxes[0];
    let places = Places::new(program);
    let insert = all(program).into_iter().filter(|m| m.operator == Operator::SkipRefresh).collect::<Vec<_>>();
    let [insert] = &insert[..] else { panic!("{insert:#?}") };
    let changed = places.changed(&insert.key).expect("there is such a place");
    let more = |at: usize| changed.elements[0].inputs[at].body.locals.len() - program.elements[0].inputs[at].body.locals.len();
    assert_eq!([more(0), more(1), more(2)], [2; 3]);
}

#[test]
fn a_change_is_found_in_other_versions_of_the_program() {
    let compiled = compiled(BOX);
    let other = Places::new(&compiled.tests[0].1);
    for mutant in all(&compiled.boxes[0]) {
        let expanded = mutant.change.contains("left[");
        assert!(other.changed(&mutant.key).is_some() || expanded, "{}", mutant.change);
    }
}

#[test]
fn a_box_that_never_drops_can_be_made_to() {
    let compiled = compiled(
        "element Wire { input frame; output passed; on frame(p) { emit passed; } }
         middlebox Box { port a, b; wire: Wire; back: Wire; a -> wire.frame; wire.passed -> b; b -> back.frame; back.passed -> a; }",
    );
    // Both instances are one element.
    let mutants = all(&compiled.boxes[0]);
    assert_eq!(mutants.iter().map(|m| m.operator).collect::<Vec<_>>(), [Operator::DropAll]);
}

#[test]
fn a_change_of_a_preference_has_its_place() {
    let element = include_str!("../../../tests/pass/choose.grv");
    let text = &format!("{element}\nmiddlebox One {{ port a; one: Box; a -> one.frame; one.out -> a; }}\n");
    let compiled = compiled(text);
    let parity: Vec<_> = all(&compiled.boxes[0]).into_iter().filter(|m| m.change.contains("`2u16` -> `3u16`")).collect();
    assert!(!parity.is_empty());
    for mutant in parity {
        let (start, end) = (mutant.span.start as usize, mutant.span.end as usize);
        assert_eq!(&text[start..end], "port % 2 == ip.identification % 2", "{}", mutant.change);
    }
}
