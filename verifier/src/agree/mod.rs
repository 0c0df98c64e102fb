//! The formulas are the interpreter's truth: the symbolic step, evaluated on a concrete state, packet and choices, is compared with
//! the step of the interpreter, for programs, states and packets at random. Outputs must be the same byte for byte, and drops, and
//! all tables afterwards; what the formulas take for facts must be so; and what must hold must fail where the interpreter stops.

#![allow(clippy::print_stdout, reason = "tests tell what they met")]

mod bytes;
mod case;
mod compare;
mod events;
mod formula;
mod found;
mod generate;
mod met;
mod quants;
mod seen;
mod state;

use events::Formulas;
use grv_lang::compile::{Compilation, compile};
use grv_lang::diagnostics::Severity;
use grv_lang::interp::Machine;
use grv_lang::ir::Program;
use grv_lang::random::{self, Runs, Script};
use grv_lang::source::{Beside, NoModules};
use met::Met;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Events of a run, at most.
const RUN: usize = 60;

/// Compares what events do to a box, so many, in random runs from a seed on.
fn compared(program: &Arc<Program>, tests: &[Script<'_>], events: usize, seed: u64, met: &mut Met) -> Result<(), String> {
    let mut formulas = Formulas::new(program, met);
    let runs = Runs::new(program, tests, None);
    let until = met.events + events;
    for run in (seed..).take(events) {
        if met.events >= until {
            break;
        }
        let mut events = runs.run(run);
        let Ok(mut machine) = Machine::new(program.clone(), events.params.clone()) else { continue };
        for number in 0..RUN {
            let event = events.next();
            let did = formulas.happen(&mut machine, &event, events.number(), met);
            let stays = |differs| format!("`{}`, run {run}, event {number}: {differs}", program.name);
            if number % 4 == 0 && did.as_ref().is_ok_and(Result::is_ok) {
                formulas.always(&machine, met).map_err(stays)?;
            }
            match did.map_err(stays)? {
                Ok(outcome) => events.caused(&outcome),
                Err(_) => break,
            }
        }
    }
    Ok(())
}

/// The workspace's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn load(path: &str) -> Compilation {
    let read = |path: &Path| std::fs::read(root().join(path)).ok();
    compile(path, &read(Path::new(path)).expect("the program can be read"), &Beside(read))
}

/// Compares steps of all boxes of a program.
fn of_file(path: &str, steps: usize, met: &mut Met) {
    let compiled = load(path);
    assert!(!compiled.failed(), "{path}: {:?}", compiled.diagnostics);
    for program in &compiled.boxes {
        if let Err(differs) = compared(program, &random::scripts(program, &compiled.tests), steps, 1, met) {
            panic!("{path}: {differs}");
        }
    }
}

/// A number from the environment.
fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// How many, `GRV_AGREE` times as many in the long mode.
fn times(count: u64) -> u64 {
    count * setting("GRV_AGREE", 1)
}

#[test]
fn examples_agree() {
    for name in ["bridge", "firewall", "lb", "lb-nat", "nat", "policer", "proxy", "router"] {
        let mut met = Met::default();
        of_file(&format!("examples/{name}/{name}.grv"), times(500) as usize, &mut met);
        println!("{name}: {met}");
        assert!(met.unsupported.is_empty(), "{name}: {:?}", met.unsupported);
    }
}

#[test]
fn programs_of_the_tests_agree() {
    let mut met = Met::default();
    for folder in ["pass", "semantics", "verify", "refuted", "defects"] {
        let folder = format!("tests/{folder}");
        for entry in std::fs::read_dir(root().join(&folder)).expect("the folder is there") {
            let file = entry.expect("the folder can be read").file_name().into_string().expect("names are text");
            of_file(&format!("{folder}/{file}"), times(100) as usize, &mut met);
        }
    }
    println!("{met}");
}

/// Programs from `GRV_AGREE_SEED` on.
#[test]
fn generated_programs_agree() {
    let (first, count) = (setting("GRV_AGREE_SEED", 0), times(600));
    let (mut met, mut refused) = (Met::default(), BTreeMap::new());
    for seed in first..first + count {
        let text = generate::program(seed);
        let compiled = compile("generated.grv", text.as_bytes(), &NoModules);
        if let Some(error) = compiled.diagnostics.iter().find(|d| d.severity() == Severity::Error) {
            let (count, example) = refused.entry(error.code).or_insert((0, String::new()));
            *count += 1;
            *example = format!("program {seed}, {}: {}", compiled.sources.place(error.primary.span), error.message);
            continue;
        }
        if let Err(differs) = compared(&compiled.boxes[0], &[], RUN, seed, &mut met) {
            let lines: Vec<String> = (1..).zip(text.lines()).map(|(at, line)| format!("{at:4} {line}")).collect();
            panic!("program {seed}: {differs}\n{}", lines.join("\n"));
        }
    }
    let all: u64 = refused.values().map(|(count, _)| *count).sum();
    println!("{all} programs refused, {met}");
    if first == 0 && count >= 600 {
        assert!(all * 4 < count, "the compiler refuses too many programs: {refused:#?}");
        assert!(
            met.unsupported.values().sum::<usize>() * 10 < met.formulas,
            "too little is put into formulas: {:?}",
            met.unsupported
        );
        assert!(met.steps >= 10_000, "{met:?}");
        met.everything();
    }
}
