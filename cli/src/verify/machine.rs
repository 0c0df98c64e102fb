//! Results as JSON, and as commands of a GitHub workflow.

use super::compliance::Row;
use super::entry::{Entry, summary};
use super::{Shown, state};
use crate::render::{self, Finding};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
struct Report<'r> {
    schema_version: u32,
    solver: Solver<'r>,
    obligations: &'r [Entry<'r>],
    summary: BTreeMap<&'static str, usize>,
    diagnostics: Vec<Finding<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compliance: Option<&'r [Row<'r>]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cross_check: Option<CrossCheck<'r>>,
}

#[derive(Serialize)]
struct Solver<'r> {
    name: &'r str,
    version: &'r str,
}

#[derive(Serialize)]
struct CrossCheck<'r> {
    solver: &'r str,
    agreed: usize,
    unfinished: usize,
}

/// One object.
pub(super) fn json(shown: &Shown<'_>) -> Result<(), String> {
    let diagnostics = shown.sources.iter().flat_map(|s| s.of.diagnostics.iter().map(|d| render::finding(&s.of.sources, d)));
    render::json(&Report {
        schema_version: 1,
        solver: Solver { name: &shown.desk.identity.name, version: &shown.desk.identity.version },
        obligations: shown.entries,
        summary: summary(shown.entries).into_iter().collect(),
        diagnostics: diagnostics.collect(),
        compliance: shown.compliance,
        cross_check: shown.desk.cross.as_ref().map(|cross| {
            let (agreed, unfinished) = cross.counts();
            CrossCheck { solver: &cross.version, agreed, unfinished }
        }),
    })
}

/// An annotation for each obligation that is not proved.
pub(super) fn github(shown: &Shown<'_>) {
    for entry in shown.entries.iter().filter(|e| !e.is_proved()) {
        let level = if entry.is_wrong() { "error" } else { "warning" };
        let mut message = entry.outcome();
        if let Some(example) = &entry.counterexample {
            example.events.iter().chain(&example.then).for_each(|e| message.push_str(&format!("\n{}", e.text)));
        }
        state::lines(&entry.obligation.verdict).iter().for_each(|line| message.push_str(&format!("\n{line}")));
        message.push_str(&format!("\n{}", entry.rerun()));
        render::line(&format!(
            "::{level} file={},line={},col={},title={}::{}",
            escaped(entry.file, true),
            entry.line,
            entry.start.column,
            escaped(entry.property, true),
            escaped(&message, false)
        ));
    }
}

/// Text in a workflow command; values of its properties may hold neither `:` nor `,`.
fn escaped(text: &str, value: bool) -> String {
    let text = text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    if value { text.replace(':', "%3A").replace(',', "%2C") } else { text }
}
