//! Results as JUnit XML: a suite for each box, a case for each obligation. What is left open is an error, what is wrong a failure.

use super::entry::Entry;
use super::{Shown, state};
use crate::{render, script};
use grv_verifier::prove::Verdict;
use std::collections::BTreeMap;

pub(super) fn show(shown: &Shown<'_>) {
    let mut suites: BTreeMap<String, Vec<&Entry<'_>>> = BTreeMap::new();
    for entry in shown.entries {
        suites.entry(format!("{}: {}", entry.source.path.display(), entry.program.name)).or_default().push(entry);
    }
    render::line(r#"<?xml version="1.0" encoding="UTF-8"?>"#);
    render::line("<testsuites>");
    for (name, entries) in suites {
        let failures = entries.iter().filter(|e| e.is_wrong()).count();
        let errors = entries.iter().filter(|e| !e.is_wrong() && !e.is_proved()).count();
        render::line(&format!(
            r#"  <testsuite name="{}" tests="{}" failures="{failures}" errors="{errors}" time="{:.3}">"#,
            escaped(&name),
            entries.len(),
            seconds(entries.iter().map(|e| e.time_ms).sum())
        ));
        entries.iter().for_each(|entry| case(entry));
        render::line("  </testsuite>");
    }
    render::line("</testsuites>");
}

fn case(entry: &Entry<'_>) {
    let head = format!(
        r#"    <testcase name="{}" classname="{}" file="{}" line="{}" time="{:.3}""#,
        escaped(&entry.obligation.id),
        escaped(&entry.program.name),
        escaped(entry.file),
        entry.line,
        seconds(entry.time_ms)
    );
    if entry.is_proved() {
        return render::line(&format!("{head}/>"));
    }
    let tag = if entry.is_wrong() { "failure" } else { "error" };
    let mut text = format!("{}\nrerun: {}", entry.place(), entry.rerun());
    if let Verdict::Refuted(found) = &entry.obligation.verdict {
        text = format!("{}\n{text}", script::counterexample(&entry.source.of, entry.program, found));
    }
    let state = state::lines(&entry.obligation.verdict);
    if !state.is_empty() {
        text = format!("{}\n{text}", state.join("\n"));
    }
    render::line(&format!("{head}>"));
    render::line(&format!(r#"      <{tag} message="{}">{}</{tag}>"#, escaped(&entry.outcome()), escaped(&text)));
    render::line("    </testcase>");
}

fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}

/// Text in XML; what XML cannot hold is left out.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || c == '\u{fffe}' || c == '\u{ffff}' => {}
            c => out.push(c),
        }
    }
    out
}
