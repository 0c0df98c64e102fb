//! What came of changes, as JSON. The form is schemas/mutate.schema.json.

use super::{Change, Ran, Summary, Tried, base};
use crate::render;
use crate::verify::Source;
use grv_verifier::mutate::{By, Kill, Outcome};
use serde::Serialize;

#[derive(Serialize)]
struct Report<'r> {
    schema_version: u32,
    boxes: Vec<OfBox<'r>>,
    mutants: Vec<Entry<'r>>,
    /// Changes that are shown to change nothing.
    equivalent: Vec<Entry<'r>>,
    properties: Vec<OfProperty<'r>>,
    diagnostics: Vec<render::Finding<'r>>,
    summary: Counts,
}

#[derive(Serialize)]
struct OfBox<'r> {
    name: &'r str,
    /// Tests that pass.
    tests: usize,
    summary: Counts,
}

#[derive(Serialize)]
struct Counts {
    #[serde(flatten)]
    counts: Summary,
    /// In percent.
    score: Score,
}

#[derive(Serialize)]
struct Score {
    /// What properties kill.
    properties: f64,
    /// What properties kill, or what every program is obliged to.
    verification: f64,
    /// What tests kill.
    tests: f64,
    /// What anything kills.
    all: f64,
}

#[derive(Serialize)]
struct Entry<'r> {
    id: &'r str,
    #[serde(rename = "box")]
    of: &'r str,
    file: &'r str,
    line: u32,
    column: u32,
    operator: &'static str,
    element: &'r str,
    change: &'r str,
    verdict: &'static str,
    how: Option<&'static str>,
    kills: Vec<Killer<'r>>,
    time_ms: u64,
}

#[derive(Serialize)]
struct Killer<'r> {
    by: &'static str,
    name: &'r str,
    verdict: &'static str,
    how: &'static str,
}

#[derive(Serialize)]
struct OfProperty<'r> {
    #[serde(rename = "box")]
    of: &'r str,
    property: &'r str,
    /// Those that it kills.
    mutants: Vec<&'r str>,
}

pub(super) fn show(sources: &[Source], ran: &[Ran]) -> Result<(), String> {
    let diagnostics = sources.iter().flat_map(|s| s.of.diagnostics.iter().map(|d| render::finding(&s.of.sources, d))).collect();
    let of_box = |of: &Ran| counts(Summary::of(std::iter::once(of)));
    render::json(&Report {
        schema_version: 1,
        boxes: ran.iter().map(|of| OfBox { name: &of.name, tests: of.tests, summary: of_box(of) }).collect(),
        mutants: ran
            .iter()
            .flat_map(|of| of.tried.iter().map(move |tried| entry(&of.name, &tried.change, &tried.outcome)))
            .collect(),
        equivalent: ran
            .iter()
            .flat_map(|of| of.equivalent.iter().map(move |tried| entry(&of.name, &tried.change, &tried.outcome)))
            .collect(),
        properties: ran.iter().flat_map(|of| of.properties.iter().map(move |property| kills(of, property))).collect(),
        diagnostics,
        summary: counts(Summary::of(ran.iter())),
    })
}

fn counts(counts: Summary) -> Counts {
    let score = Score {
        properties: counts.percent(counts.by_properties),
        verification: counts.percent(counts.by_properties + counts.by_automatic),
        tests: counts.percent(counts.by_tests),
        all: counts.percent(counts.mutants - counts.surviving),
    };
    Counts { counts, score }
}

fn word(by: By) -> &'static str {
    match by {
        By::Property => "property",
        By::Automatic => "automatic",
        By::Test => "test",
    }
}

/// One change, on a line of its own.
pub(super) fn line(of: &str, change: &Change, outcome: &Outcome) -> Result<(), String> {
    render::line(&serde_json::to_string(&entry(of, change, outcome)).map_err(|e| e.to_string())?);
    Ok(())
}

fn entry<'r>(of: &'r str, change: &'r Change, outcome: &'r Outcome) -> Entry<'r> {
    let kill = |k: &'r Kill| Killer { by: word(k.by), name: &k.name, verdict: k.verdict, how: k.how() };
    let Change { id, file, start, mutant } = change;
    Entry {
        id,
        of,
        file,
        line: start.line,
        column: start.column,
        operator: mutant.operator.name(),
        element: &mutant.element,
        change: &mutant.change,
        verdict: match outcome.by() {
            Some(By::Property) => "killed by properties",
            Some(By::Automatic) => "killed by what every program is obliged to",
            Some(By::Test) => "killed by tests",
            None if outcome.changes_nothing => "changes nothing",
            None => "survives",
        },
        how: outcome.kills.first().map(Kill::how),
        kills: outcome.kills.iter().map(kill).collect(),
        time_ms: outcome.time_ms,
    }
}

fn kills<'r>(of: &'r Ran, property: &'r str) -> OfProperty<'r> {
    let noticed = |t: &&Tried| t.outcome.kills.iter().any(|k| k.by == By::Property && base(&k.name) == property);
    OfProperty { of: &of.name, property, mutants: of.tried.iter().filter(noticed).map(|t| t.change.id.as_str()).collect() }
}
