//! An obligation with its place, as reports show it.

use super::example::Example;
use super::state::{self, State};
use super::{Source, box_name, folder};
use grv_lang::ir::Program;
use grv_lang::source::Position;
use grv_verifier::prove::{Kind, Obligation, Report, Slice, Verdict};
use serde::Serialize;
use std::sync::Arc;

/// An obligation and what came of it. What is serialized is the form of schemas/verify.schema.json.
#[derive(Serialize)]
pub(super) struct Entry<'r> {
    pub(super) id: String,
    pub(super) file: &'r str,
    pub(super) line: u32,
    #[serde(rename = "box")]
    pub(super) folder: String,
    pub(super) property: &'r str,
    pub(super) kind: &'static str,
    pub(super) rows: &'r [String],
    pub(super) gravel: Option<&'r str>,
    pub(super) verdict: &'static str,
    pub(super) reason: Option<&'r str>,
    pub(super) time_ms: u64,
    pub(super) resource: u64,
    pub(super) cached: bool,
    pub(super) slice: &'r Slice,
    pub(super) witness: Option<Witness>,
    pub(super) counterexample: Option<Example>,
    pub(super) state: Option<State<'r>>,
    #[serde(skip)]
    pub(super) obligation: &'r Obligation,
    #[serde(skip)]
    pub(super) source: &'r Source,
    #[serde(skip)]
    pub(super) program: &'r Arc<Program>,
    #[serde(skip)]
    pub(super) start: Position,
}

/// How it is known that a premise can hold.
#[derive(Serialize)]
pub(super) struct Witness {
    found_by: &'static str,
}

/// What a report says of a box.
pub(super) fn entries<'r>(source: &'r Source, program: &'r Arc<Program>, report: &'r Report) -> Vec<Entry<'r>> {
    let name = box_name(&source.path, program);
    let entry = |o: &'r Obligation| {
        let start = source.of.sources.start(o.span);
        let needs_witness = !matches!(o.kind, Kind::Invariant | Kind::Automatic);
        Entry {
            id: format!("{name}:{}", o.id),
            file: &source.of.sources.file(o.span.file).path,
            line: start.line,
            folder: folder(&source.path),
            property: &o.name,
            kind: o.kind.name(),
            rows: &o.rows,
            gravel: o.gravel.as_deref(),
            verdict: o.verdict.name(),
            reason: o.verdict.reason(),
            time_ms: o.time_ms,
            resource: o.resource,
            cached: o.cached,
            slice: &o.slice,
            witness: (needs_witness && o.witness).then_some(Witness { found_by: "random events" }),
            counterexample: match &o.verdict {
                Verdict::Refuted(found) => Some(Example::new(&source.of, program, found)),
                _ => None,
            },
            state: state::of(&o.verdict),
            obligation: o,
            source,
            program,
            start,
        }
    };
    report.obligations.iter().map(entry).collect()
}

/// By file, line and name; no two have the same name.
pub(super) fn sort(entries: &mut [Entry<'_>]) {
    entries.sort_by(|a, b| (a.file, a.line, &a.id).cmp(&(b.file, b.line, &b.id)));
    let mut taken = std::collections::BTreeSet::new();
    for entry in entries {
        // Files of the same name in folders of the same name.
        while !taken.insert(entry.id.clone()) {
            entry.id.push('\'');
        }
    }
}

impl Entry<'_> {
    /// `file:line:column`.
    pub(super) fn place(&self) -> String {
        format!("{}:{}:{}", self.file, self.line, self.start.column)
    }

    /// The verdict, and why.
    pub(super) fn outcome(&self) -> String {
        match self.reason {
            Some(why) if !why.is_empty() => format!("{}: {why}", self.verdict),
            _ => self.verdict.to_string(),
        }
    }

    /// Whether it was shown to be wrong, and not only left open.
    pub(super) fn is_wrong(&self) -> bool {
        use Verdict::{Assumed, Refuted, Unreachable, Vacuous};
        matches!(self.obligation.verdict, Refuted(_) | Vacuous | Unreachable | Assumed(_))
    }

    pub(super) fn is_proved(&self) -> bool {
        matches!(self.obligation.verdict, Verdict::Proved)
    }

    /// The command that looks at it alone.
    pub(super) fn rerun(&self) -> String {
        let path = quoted(&self.source.path.display().to_string());
        match self.obligation.kind {
            Kind::Automatic => format!("grv verify {path} --at {}", quoted(&format!("{}:{}", self.file, self.line))),
            _ => format!("grv verify {path} --property {}", quoted(self.property)),
        }
    }
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:".contains(c);
    if word.chars().all(plain) { word.to_string() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// How many entries have each verdict.
pub(super) fn summary(entries: &[Entry<'_>]) -> Vec<(&'static str, usize)> {
    Verdict::NAMES.iter().map(|name| (*name, entries.iter().filter(|e| e.verdict == *name).count())).collect()
}
