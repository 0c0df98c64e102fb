//! Defects that a verifier stayed silent about: programs that have one each, and what must be said of them.
//!
//! A comment `//~v VERDICT NAME` speaks of the next line of the program: there, the obligation NAME gets VERDICT (`warning`: there is
//! a warning with these words). All that is not `proved` must be expected.

mod common;

use common::{load, programs, verified};
use grv_lang::diagnostics::Severity;
use grv_verifier::prove::Verdict;
use std::collections::BTreeSet;

/// Line, verdict, and name of the obligation.
type Finding = (u32, String, String);

fn expected(text: &str) -> BTreeSet<Finding> {
    let mut all = BTreeSet::new();
    let mut waiting: Vec<&str> = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        if let Some(note) = text.trim().strip_prefix("//~v ") {
            waiting.push(note);
            continue;
        }
        for note in waiting.drain(..) {
            let verdict = Verdict::NAMES.into_iter().chain(["warning"]).find(|name| note.starts_with(name));
            let verdict = verdict.unwrap_or_else(|| panic!("no verdict in `{note}`"));
            all.insert((line, verdict.to_string(), note[verdict.len()..].trim().to_string()));
        }
    }
    all
}

fn found(path: &str) -> BTreeSet<Finding> {
    let of = load(path);
    let mut all = BTreeSet::new();
    for d in &of.diagnostics {
        assert_eq!(d.severity(), Severity::Warning, "{path}: {}", d.message);
        all.insert((of.sources.start(d.primary.span).line, "warning".to_string(), d.message.clone()));
    }
    for program in &of.boxes {
        for o in verified(&of, program, true).obligations {
            if !matches!(o.verdict, Verdict::Proved) {
                all.insert((of.sources.start(o.span).line, o.verdict.name().to_string(), o.name));
            }
        }
    }
    all
}

#[test]
fn each_defect_is_reported() {
    let files = programs("tests/defects");
    for number in 1..=9 {
        let own = format!("tests/defects/D{number}-");
        assert!(files.iter().any(|f| f.starts_with(&own)), "D{number} has no program");
    }
    for path in files {
        let text = std::fs::read_to_string(common::root().join(&path)).expect("the program can be read");
        let expected = expected(&text);
        assert!(!expected.is_empty(), "{path} expects nothing");
        assert_eq!(found(&path), expected, "{path}");
    }
}
