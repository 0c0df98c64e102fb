//! Reports that are kept: a box that did not change needs no question at all. A report depends on the program with all its places,
//! its tests with the versions that they are for, the options, the solver, and this program itself, byte for byte; all of these are in its key. Only a report that has
//! nothing but proofs (and what is assumed) is kept: whatever else there is to say is found out anew.

use super::run::{Haste, Options, Task};
use super::verdict::{Kind, Obligation, Report, Slice, Verdict};
use crate::cache::Key;
use crate::desk::Desk;
use grv_lang::ir::{Program, Test};
use grv_lang::span::{FileId, Span};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

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
    let program = digest(&*task.program)?;
    let tests: Vec<&Test> = task.tests.iter().map(|script| script.test).collect();
    let tests = digest(&tests)?;
    let mut versions: Vec<&Program> = Vec::new();
    for of in task.tests.iter().filter_map(|script| script.of) {
        if !versions.iter().any(|known| std::ptr::eq(*known, &**of)) {
            versions.push(of);
        }
    }
    let (versions, solver) = (digest(&versions)?, digest(&desk.identity)?);
    let options = format!("{} {} {}", options.budget, options.seed, options.events);
    Some(Key::new(&[b"report", own()?, &solver, options.as_bytes(), &program, &tests, &versions]))
}

/// A hash of something of a known type.
fn digest(of: &impl Serialize) -> Option<[u8; 32]> {
    Some(*blake3::hash(&postcard::to_allocvec(of).ok()?).as_bytes())
}

/// A hash of this program's own bytes.
fn own() -> Option<&'static [u8]> {
    static OWN: OnceLock<Option<[u8; 32]>> = OnceLock::new();
    let hash = || {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(std::fs::File::open(std::env::current_exe().ok()?).ok()?).ok()?;
        Some(*hasher.finalize().as_bytes())
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
