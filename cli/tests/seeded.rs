//! Bugs that can be put into the examples, one at a time: each is refuted by a trace that the interpreter carries out.
//! `tests/seeded/README.md` says how they are written down.

#![allow(clippy::print_stdout, reason = "how long each takes is told")]

mod common;

use common::{files, modules, programs, root};
use grv_lang::compile::{Compilation, compile};
use grv_lang::diagnostics::Severity;
use grv_lang::interp::DefectKind;
use grv_lang::ir::{Obligation, Program, Property};
use grv_lang::random::{Broken, Counterexample, scripts};
use grv_lang::source::Loader;
use grv_lang::span::Span;
use grv_verifier::cache::Cache;
use grv_verifier::desk::Desk;
use grv_verifier::prove::{Options, Task, Verdict, verify};
use std::sync::Mutex;
use std::time::Instant;

/// A bug.
#[derive(Default)]
struct Bug {
    what: String,
    breaks: String,
    file: String,
    /// Text at the place of what is broken, if every program is obliged to it.
    at: String,
    old: Vec<String>,
    new: Vec<String>,
}

fn bugs(list: &str) -> Vec<Bug> {
    let name = list.rsplit('/').next().and_then(|f| f.strip_suffix(".bugs")).expect("a list of bugs");
    let text = std::fs::read_to_string(root().join(list)).expect("the list can be read");
    let mut bugs: Vec<Bug> = Vec::new();
    for line in text.lines() {
        if let Some(what) = line.strip_prefix("== ") {
            let file = format!("examples/{name}/{name}.grv");
            bugs.push(Bug { what: what.to_string(), file, ..Bug::default() });
            continue;
        }
        let bug = bugs.last_mut().unwrap_or_else(|| panic!("{list}: `{line}` belongs to no bug"));
        match line.split_once(' ').unwrap_or((line, "")) {
            ("breaks", property) => bug.breaks = property.to_string(),
            ("at", text) => bug.at = text.to_string(),
            ("in", file) => bug.file = file.to_string(),
            ("-", old) => bug.old.push(old.to_string()),
            ("+", new) => bug.new.push(new.to_string()),
            ("", "") => {}
            _ => panic!("{list}: what is `{line}`?"),
        }
    }
    bugs
}

/// Modules, one of them with a bug.
struct Buggy<'b> {
    file: &'b str,
    text: String,
}

impl Loader for Buggy<'_> {
    fn load(&self, module: &[&str], from: &str) -> Option<(String, Vec<u8>)> {
        let (path, bytes) = modules().load(module, from)?;
        let bytes = if path.ends_with(self.file) { self.text.clone().into_bytes() } else { bytes };
        Some((path, bytes))
    }
}

/// The example with a bug.
fn buggy(list: &str, bug: &Bug) -> Compilation {
    let text = std::fs::read_to_string(root().join(&bug.file)).expect("the file can be read");
    let old = bug.old.join("\n");
    assert_eq!(text.matches(&old).count(), 1, "{list}: `{}`: the text is not there once", bug.what);
    let buggy = Buggy { file: &bug.file, text: text.replace(&old, &bug.new.join("\n")) };
    let name = list.rsplit('/').next().and_then(|f| f.strip_suffix(".bugs")).expect("a list of bugs");
    let path = format!("examples/{name}/{name}.grv");
    let whole =
        if path == bug.file { buggy.text.clone() } else { std::fs::read_to_string(root().join(&path)).expect("a program") };
    compile(&path, whole.as_bytes(), &buggy)
}

/// Whether a property is the one that a bug breaks, or a part of it.
fn is_broken(bug: &Bug, property: &Property) -> bool {
    let base = property.name.split(['/', '[']).next().unwrap_or_default();
    // Also without the spec that it comes from.
    base == bug.breaks || base.rsplit(['.', ':']).next() == Some(&bug.breaks)
}

/// Whether a counterexample shows what a bug breaks.
fn shows(bug: &Bug, program: &Program, found: &Counterexample) -> bool {
    match &found.broken {
        Broken::Property(id, _) => program.properties.get(id.0 as usize).is_some_and(|p| is_broken(bug, p)),
        // What every program is obliged to is named after what must not be.
        Broken::Defect(defect) => match &defect.kind {
            DefectKind::Check(Obligation::Overflow) => bug.breaks == "no overflow",
            DefectKind::Check(Obligation::DivisionByZero) => bug.breaks == "no division by zero",
            _ => false,
        },
    }
}

/// What is wrong about a bug: that nothing refutes what it breaks, say.
fn complaint(list: &str, bug: &Bug, desk: &Desk) -> Option<String> {
    let of = buggy(list, bug);
    if let Some(first) = of.diagnostics.iter().find(|d| d.severity() == Severity::Error) {
        return Some(first.message.clone());
    }
    let Some(program) = of.boxes.first() else { return Some("there is no box".to_string()) };
    let automatic = bug.breaks.starts_with("no ");
    if !automatic && !program.properties.iter().any(|p| is_broken(bug, p)) {
        return Some(format!("there is no `{}`", bug.breaks));
    }
    let is_there = |span: Span| {
        let text = &of.sources.file(span.file).text;
        text.find(&bug.at).is_some_and(|at| (at..at + bug.at.len()).contains(&(span.start as usize)))
    };
    let wanted = |property: Option<&Property>, span: Span| property.map_or(automatic && is_there(span), |p| is_broken(bug, p));
    let task = Task {
        name: bug.what.clone(),
        program: program.clone(),
        tests: scripts(program, &of.tests),
        wanted: &wanted,
        first: &[],
        automatic,
        whole: false,
    };
    let options = Options { events: 3_000, fail_fast: true, ..Options::of_budget(2_000_000) };
    let report = match verify(&[task], &options, desk, &|_| {}) {
        Ok(mut reports) => reports.remove(0),
        Err(failure) => return Some(format!("{failure:?}")),
    };
    let refuted = report.obligations.iter().find_map(|o| match &o.verdict {
        Verdict::Refuted(found) if shows(bug, program, found) => Some(found),
        _ => None,
    });
    match refuted {
        None => {
            let verdicts: Vec<&str> = report.obligations.iter().map(|o| o.verdict.name()).collect();
            Some(format!("`{}` is not refuted: {}", bug.breaks, verdicts.join(", ")))
        }
        Some(found) => (!found.replays(program, &mut |_, _| {})).then(|| "the trace does not replay".to_string()),
    }
}

#[test]
fn each_bug_is_refuted() {
    let lists = files("tests/seeded", "bugs");
    assert_eq!(lists.len(), programs("examples").len(), "each example has its bugs");
    let mut all: Vec<(String, Bug)> = Vec::new();
    for list in lists {
        let own = bugs(&list);
        assert!(own.len() >= 5, "{list}: {} bugs", own.len());
        all.extend(own.into_iter().map(|bug| (list.clone(), bug)));
    }
    let desk = Desk::open(env!("CARGO_BIN_EXE_grv-solver").into(), Cache::off(), None, None).expect("there is a solver");
    let (left, wrong) = (Mutex::new(all.iter()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let Some((list, bug)) = left.lock().expect("nobody panics").next() else { break };
            let start = Instant::now();
            let complaint = complaint(list, bug, &desk);
            println!("{:6} ms {list}: {}", start.elapsed().as_millis(), bug.what);
            if let Some(complaint) = complaint {
                wrong.lock().expect("nobody panics").push(format!("{list}: {}: {complaint}", bug.what));
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            // Formulas are walked recursively, and so are programs.
            std::thread::Builder::new().stack_size(64 << 20).spawn_scoped(scope, work).expect("a thread can be started");
        }
    });
    let wrong = wrong.into_inner().expect("nobody panics");
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
}
