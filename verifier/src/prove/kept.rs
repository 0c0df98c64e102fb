//! Reports that are kept: a box that did not change needs no question at all. A report depends on the program with all its places,
//! its tests, the options, the solver, and this program itself, byte for byte; all of these are in its key. Only a report that has
//! nothing but proofs (and what is assumed) is kept: whatever else there is to say is found out anew.

use super::run::{Haste, Options, Task};
use super::verdict::{Kind, Obligation, Report, Slice, Verdict};
use crate::cache::Key;
use crate::desk::Desk;
use grv_lang::ir::Program;
use grv_lang::span::{FileId, Span};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};

#[derive(Serialize, Deserialize)]
struct Kept {
    id: String,
    name: String,
    span: (u32, u32, u32),
    kind: Kind,
    rows: Vec<String>,
    gravel: Option<String>,
    sources: Vec<String>,
    /// The reason, if it is assumed; or else it is proved.
    assumed: Option<String>,
    witness: bool,
    time_ms: u64,
    resource: u64,
    slice: Slice,
}

/// The key of a box's report; none if it cannot be kept.
pub(super) fn key(task: &Task<'_>, options: &Options, desk: &Desk) -> Option<Key> {
    if !task.whole || options.haste != Haste::None || desk.shows_questions() {
        return None;
    }
    let program = serde_json::to_vec(&*task.program).ok()?;
    let mut tests = Vec::new();
    let mut known: Vec<&Arc<Program>> = vec![&task.program];
    for (test, on) in &task.tests {
        tests.push(serde_json::to_vec(test).ok()?);
        if !known.iter().any(|k| Arc::ptr_eq(k, on)) {
            known.push(on);
            tests.push(serde_json::to_vec(&***on).ok()?);
        }
    }
    let tests = tests.concat();
    let solver = serde_json::to_vec(&desk.identity).ok()?;
    let options = format!("{} {} {}", options.budget, options.seed, options.events);
    Some(Key::new(&[b"report", own()?, &solver, options.as_bytes(), &program, &tests]))
}

/// A hash of this program's own bytes.
fn own() -> Option<&'static [u8]> {
    static OWN: OnceLock<Option<[u8; 32]>> = OnceLock::new();
    let hash = || {
        let bytes = std::fs::read(std::env::current_exe().ok()?).ok()?;
        Some(*blake3::hash(&bytes).as_bytes())
    };
    OWN.get_or_init(hash).as_ref().map(<[u8; 32]>::as_slice)
}

/// A report that was kept.
pub(super) fn get(desk: &Desk, key: &Key) -> Option<Report> {
    let kept: Vec<Kept> = desk.cache.get(key)?;
    let obligation = |k: Kept| Obligation {
        id: k.id,
        name: k.name,
        span: Span { file: FileId(k.span.0), start: k.span.1, end: k.span.2 },
        kind: k.kind,
        rows: k.rows,
        gravel: k.gravel,
        sources: k.sources,
        verdict: k.assumed.map_or(Verdict::Proved, Verdict::Assumed),
        witness: k.witness,
        time_ms: k.time_ms,
        resource: k.resource,
        cached: true,
        slice: k.slice,
    };
    Some(Report { obligations: kept.into_iter().map(obligation).collect() })
}

/// Keeps a report, if there is nothing in it but proofs and what is assumed.
pub(super) fn put(desk: &Desk, key: &Key, report: &Report) {
    let keep = |o: &Obligation| {
        let assumed = match &o.verdict {
            Verdict::Proved => None,
            Verdict::Assumed(reason) => Some(reason.clone()),
            _ => return None,
        };
        Some(Kept {
            id: o.id.clone(),
            name: o.name.clone(),
            span: (o.span.file.0, o.span.start, o.span.end),
            kind: o.kind,
            rows: o.rows.clone(),
            gravel: o.gravel.clone(),
            sources: o.sources.clone(),
            assumed,
            witness: o.witness,
            time_ms: o.time_ms,
            resource: o.resource,
            slice: o.slice.clone(),
        })
    };
    if let Some(kept) = report.obligations.iter().map(keep).collect::<Option<Vec<Kept>>>() {
        desk.cache.put(key, &kept);
    }
}
