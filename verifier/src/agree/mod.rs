//! The formulas are the interpreter's truth: the symbolic step, evaluated on a concrete state, packet and choices, is compared with
//! the step of the interpreter, for programs, states and packets at random. Outputs must be the same byte for byte, and drops, and
//! all tables afterwards; what the formulas take for facts must be so; and what must hold must fail where the interpreter stops.

mod bytes;
mod case;
mod compare;
mod formula;
mod generate;
mod seen;
mod state;

use case::{Case, Meanings};
use formula::Formula;
use grv_lang::compile::{Compilation, compile};
use grv_lang::interp::{Cover, Machine, Seeded, Stimulus};
use grv_lang::ir::{PortId, Program, Test};
use grv_lang::random::Runs;
use grv_lang::source::Loader;
use rustc_hash::FxHashMap;
use state::Snapshot;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What was compared.
#[derive(Debug, Default)]
struct Compared {
    /// Steps.
    cases: usize,
    /// Steps in which a table was not empty.
    with_state: usize,
    /// Facts, and those with numbers that are too great.
    facts: (usize, usize),
    /// Ports whose step has no formulas, and why.
    unsupported: Vec<String>,
}

impl Compared {
    fn add(&mut self, other: Compared) {
        self.cases += other.cases;
        self.with_state += other.with_state;
        self.facts.0 += other.facts.0;
        self.facts.1 += other.facts.1;
        self.unsupported.extend(other.unsupported);
    }
}

/// Compares steps of a box, so many, in random runs.
fn compared(program: &Arc<Program>, tests: &[&Test], steps: usize, seed: u64) -> Result<Compared, String> {
    let mut done = Compared::default();
    let mut formulas: FxHashMap<PortId, (Formula<'_>, Meanings)> = FxHashMap::default();
    for (port, declared) in (0..).map(PortId).zip(&program.ports) {
        if declared.entry.is_none() {
            continue;
        }
        match Formula::packet(program, port) {
            Ok(formula) => drop(formulas.insert(port, (formula, Meanings::default()))),
            Err(why) => {
                if std::env::var("DBG").is_ok() { println!("unsup {why} {}..{}", why.span.start, why.span.end); }
                done.unsupported.push(format!("{}: {why}", declared.name))
            }
        }
    }
    if formulas.is_empty() {
        return Ok(done);
    }
    let runs = Runs::new(program, tests, &mut Cover::default());
    let mut number = seed;
    for _ in 0..steps {
        if done.cases >= steps {
            break;
        }
        number = number.wrapping_add(1);
        run(&runs, program, &mut formulas, number, &mut done)?;
    }
    Ok(done)
}

/// One run: compares each step on its way.
fn run<'p>(
    runs: &Runs<'p>,
    program: &'p Arc<Program>,
    formulas: &mut FxHashMap<PortId, (Formula<'p>, Meanings)>,
    seed: u64,
    done: &mut Compared,
) -> Result<(), String> {
    let mut events = runs.run(seed);
    let Ok(mut machine) = Machine::new(program.clone(), events.params.clone()) else { return Ok(()) };
    for number in 0..60 {
        let event = events.next();
        let before = machine.clone();
        let (mut oracle, mut watching) = seen::watch(&before, Seeded::adversarial(events.number()));
        let did = machine.happen(&event, &mut oracle, Some(&mut watching));
        if let Stimulus::Packet(port, bytes) = &event
            && let Some((formula, meanings)) = formulas.get_mut(port)
        {
            let mut case = Case::new(formula, meanings, Snapshot::new(&before, bytes));
            let agrees = case.agrees(watching.seen(), &did, &machine);
            done.cases += 1;
            done.facts.0 += case.facts.0;
            done.facts.1 += case.facts.1;
            done.with_state += usize::from((0..program.tables.len() as u32).any(|t| before.occupied(grv_lang::ir::TableId(t)) > 0));
            agrees.map_err(|differs| shown(program, &before, &event, (seed, number), &differs))?;
        }
        match did {
            Ok(outcome) => events.caused(&outcome),
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

/// A difference, for people.
fn shown(program: &Program, before: &Machine, event: &Stimulus, (seed, number): (u64, usize), differs: &str) -> String {
    let mut text = format!("`{}`, run {seed}, event {number}: {differs}\n\nthe event is {event:02x?}\nat {}", program.name, before.now());
    for (id, table) in (0..).map(grv_lang::ir::TableId).zip(&program.tables) {
        text += &format!("\n  {} (of {}):", table.name, table.capacity);
        before.physical(id).iter().for_each(|e| text += &format!("\n    {e:x?}"));
        if before.physical(id).is_empty() {
            before.entries(id).iter().for_each(|e| text += &format!("\n    {:x?} = {:x?}", e.key, e.value));
        }
    }
    text
}

/// The workspace's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Modules beside a program.
struct Modules;

impl Loader for Modules {
    fn load(&self, module: &[&str], from: &str) -> Option<(String, Vec<u8>)> {
        let file: PathBuf = module.iter().collect::<PathBuf>().with_extension("grv");
        let found = root().join(from).ancestors().skip(1).map(|folder| folder.join(&file)).find(|f| f.exists())?;
        Some((found.display().to_string(), std::fs::read(&found).ok()?))
    }
}

fn load(path: &str) -> Compilation {
    let bytes = std::fs::read(root().join(path)).expect("the program can be read");
    compile(path, &bytes, &Modules)
}

/// Compares steps of all boxes of a program.
fn of_file(path: &str, steps: usize) -> Compared {
    let compiled = load(path);
    assert!(!compiled.failed(), "{path}: {:?}", compiled.diagnostics);
    let mut done = Compared::default();
    for program in &compiled.boxes {
        let tests: Vec<&Test> = compiled.tests.iter().filter(|(_, p)| p.name == program.name).map(|(test, _)| test).collect();
        match compared(program, &tests, steps, 1) {
            Ok(compared) => done.add(compared),
            Err(differs) => panic!("{path}: {differs}"),
        }
    }
    done
}

/// How many steps: so many times as many in the long mode, `GRV_AGREE=20`.
fn steps(count: usize) -> usize {
    count * std::env::var("GRV_AGREE").ok().and_then(|times| times.parse::<usize>().ok()).unwrap_or(1)
}

#[test]
fn examples_agree() {
    for name in ["bridge", "firewall", "lb", "lb-nat", "nat", "policer", "proxy", "router"] {
        let start = std::time::Instant::now();
        let done = of_file(&format!("examples/{name}/{name}.grv"), steps(500));
        println!("{name}: {done:?} in {:?}", start.elapsed());
        assert!(done.unsupported.is_empty(), "{name}: {:?}", done.unsupported);
    }
}

#[test]
fn generated_programs_agree() {
    let mut refused: std::collections::BTreeMap<String, (usize, String)> = std::collections::BTreeMap::new();
    let mut done = Compared::default();
    let start = std::time::Instant::now();
    let (mut good, mut failures) = (0, 0);
    for seed in 0..steps(300) as u64 {
        let text = generate::program(seed + std::env::var("SEED").ok().and_then(|s| s.parse::<u64>().ok()).unwrap_or(0));
        let compiled = compile("generated.grv", text.as_bytes(), &grv_lang::source::NoModules);
        if let Some(wrong) = compiled.diagnostics.iter().find(|d| d.severity() == grv_lang::diagnostics::Severity::Error) {
            let entry = refused.entry(format!("{:?} {}", wrong.code, wrong.message.split('`').step_by(2).collect::<Vec<_>>().join("_"))).or_insert((0, String::new()));
            entry.0 += 1;
            entry.1 = format!("{seed}: {} {}", compiled.sources.place(wrong.primary.span), compiled.sources.text(wrong.primary.span));
            continue;
        }
        good += 1;
        match compared(&compiled.boxes[0], &[], 60, seed) {
            Ok(compared) => {
                if std::env::var("DBG").is_ok() && !compared.unsupported.is_empty() { println!("{text}"); }
                done.add(compared)
            },
            Err(differs) => {
                failures += 1;
                {
                    let lines: Vec<String> = text.lines().enumerate().map(|(i, l)| format!("{:3} {l}", i + 1)).collect();
                    println!("seed {seed}: {differs}\n{}", lines.join("\n"));
                }
            }
        }
    }
    for (what, (count, example)) in &refused {
        println!("{count:4} {what}: {example}");
    }
    let mut why: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    done.unsupported.iter().for_each(|w| *why.entry(w.clone()).or_default() += 1);
    done.unsupported.clear();
    println!("{:?} {good} programs, {failures} failures, {done:?} {why:?}", start.elapsed());
}
