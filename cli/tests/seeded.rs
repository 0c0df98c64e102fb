//! Bugs put into the examples, one at a time: each must be refuted by the promise that it breaks. `tests/seeded/README.md` says
//! how they are written down.

mod common;

use common::{Modules, files, programs, root, verified};
use grv_lang::compile::{Compilation, compile};
use grv_lang::diagnostics::Severity;
use grv_lang::ir::Program;
use grv_lang::random::{self, Broken};
use grv_lang::source::Loader;
use grv_verifier::prove::Verdict;
use std::sync::Arc;

/// A bug.
#[derive(Default)]
struct Bug {
    what: String,
    breaks: String,
    file: String,
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
        let (path, bytes) = Modules.load(module, from)?;
        let bytes = if path.ends_with(self.file) { self.text.clone().into_bytes() } else { bytes };
        Some((path, bytes))
    }
}

/// Whether an obligation is an instance of what a bug breaks: properties of port arrays and of several clauses are several, and
/// those of a claim bear the specification's name before their own.
fn is_of(name: &str, breaks: &str) -> bool {
    let own = |name: &str| name.strip_prefix(breaks).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '[']));
    own(name) || name.split_once('.').is_some_and(|(_, rest)| own(rest))
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

/// What is found out about the promise that a bug breaks; `refuted` if any part of it is.
fn verdict(list: &str, bug: &Bug) -> String {
    let mut of = buggy(list, bug);
    // Nothing but the promise is looked at.
    let whole = of.boxes.remove(0);
    let mut program: Program = (*whole).clone();
    program.properties.retain(|p| is_of(&p.name, &bug.breaks));
    let automatic = program.properties.is_empty();
    let program = Arc::new(program);
    for (_, on) in of.tests.iter_mut().filter(|(_, on)| Arc::ptr_eq(on, &whole)) {
        *on = program.clone();
    }
    if !automatic {
        let tests: Vec<_> = of.tests.iter().filter(|(_, on)| Arc::ptr_eq(on, &program)).map(|(test, _)| test).collect();
        for seed in 0..5 {
            let explored = random::explore(&program, &tests, 3_000, seed);
            if explored.failures.iter().any(|f| matches!(f.broken, Broken::Property(..))) {
                return "refuted".to_string();
            }
        }
    }
    let report = verified(&of, &program, automatic);
    let own: Vec<_> = report.obligations.iter().filter(|o| is_of(&o.name, &bug.breaks)).collect();
    let refuted = own.iter().find(|o| matches!(o.verdict, Verdict::Refuted(_)));
    match refuted.or(own.iter().find(|o| !matches!(o.verdict, Verdict::Proved))).or(own.first()) {
        Some(o) => o.verdict.name().to_string(),
        None => "no such promise".to_string(),
    }
}

#[test]
fn each_bug_is_a_program() {
    let mut wrong = Vec::new();
    let mut boxes = 0;
    for list in files("tests/seeded", "bugs") {
        let all = bugs(&list);
        assert!(all.len() >= 5, "{list}: {} bugs", all.len());
        boxes += 1;
        for bug in all {
            let of = buggy(&list, &bug);
            let errors: Vec<_> = of.diagnostics.iter().filter(|d| d.severity() == Severity::Error).map(|d| &d.message).collect();
            if let Some(first) = errors.first() {
                wrong.push(format!("{list}: {}: {first}", bug.what));
            }
        }
    }
    assert_eq!(boxes, programs("examples").len(), "each example has its bugs");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_bug_is_refuted() {
    let only = std::env::var("GRV_SEEDED").unwrap_or_default();
    let (mut count, mut left) = (0, Vec::new());
    for list in files("tests/seeded", "bugs") {
        for bug in bugs(&list).iter().filter(|b| list.contains(&only) || b.what.contains(&only)) {
            count += 1;
            let found = verdict(&list, bug);
            if found != "refuted" {
                left.push(format!("{list}: {}: `{}` is {found}", bug.what, bug.breaks));
            }
        }
    }
    assert!(count > 0, "no bugs");
    assert!(left.is_empty(), "{} of {count} bugs are not refuted:\n{}", left.len(), left.join("\n"));
}
