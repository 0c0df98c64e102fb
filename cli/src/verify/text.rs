//! Results for people.

use super::entry::{Entry, summary};
use super::{Args, Shown, state};
use crate::{Format, render, script};
use grv_verifier::prove::Verdict;
use std::path::Path;
use std::sync::Arc;

/// Per box what is not proved, with counterexamples and how to look at it alone.
pub(super) fn full(shown: &Shown<'_>, args: &Args) -> Result<(), String> {
    diagnostics(shown, Format::Full)?;
    for source in shown.sources {
        for program in &source.of.boxes {
            let own = |e: &&Entry<'_>| Path::new(&e.source.path) == source.path && Arc::ptr_eq(e.program, program);
            let entries: Vec<&Entry<'_>> = shown.entries.iter().filter(own).collect();
            if entries.is_empty() {
                continue;
            }
            let proved = entries.iter().filter(|e| e.is_proved()).count();
            let time: u64 = entries.iter().map(|e| e.time_ms).sum();
            let path = source.path.display();
            render::line(&format!("{path}: {}: {proved} of {} proved, {time} ms", program.name, entries.len()));
            for entry in entries.iter().filter(|e| args.verbose || args.explain || !e.is_proved()) {
                one(entry, args.explain);
            }
        }
    }
    compliance(shown);
    cross(shown);
    let seconds = shown.start.elapsed().as_secs_f64();
    render::line(&format!("{} in {seconds:.2} s", counts(shown.entries)));
    Ok(())
}

fn one(entry: &Entry<'_>, explain: bool) {
    render::line(&format!(
        "  {} {} `{}` at {}, {} ms, {} units",
        painted(entry),
        entry.kind,
        entry.property,
        entry.place(),
        entry.time_ms,
        entry.resource
    ));
    if let Some(why) = entry.reason.filter(|why| !why.is_empty()) {
        render::line(&format!("      {why}"));
    }
    for line in state::lines(&entry.obligation.verdict) {
        render::line(&format!("      {line}"));
    }
    if let Verdict::Refuted(found) = &entry.obligation.verdict {
        render::line(&script::counterexample(&entry.source.of, entry.program, found));
    }
    if explain {
        let list = |set: &std::collections::BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(", ");
        let (elements, fields) = (list(&entry.slice.elements), list(&entry.slice.fields));
        let all = entry.program.elements.iter().map(|e| e.name.as_str());
        let ignored: Vec<&str> = all.filter(|name| !entry.slice.elements.contains(*name)).collect();
        render::line(&format!("      rests on the state of: {}", if elements.is_empty() { "no element" } else { &elements }));
        render::line(&format!("      and on: {}", if fields.is_empty() { "no field" } else { &fields }));
        if !ignored.is_empty() {
            render::line(&format!("      not on the state of: {}", ignored.join(", ")));
        }
    }
    if !entry.is_proved() {
        render::line(&format!("      rerun: {}", entry.rerun()));
    }
}

/// The verdict in colour; `render::line` leaves colours out where there is no terminal.
fn painted(entry: &Entry<'_>) -> String {
    let colour = match entry.obligation.verdict {
        Verdict::Proved => 32,
        _ if entry.is_wrong() => 31,
        _ => 33,
    };
    format!("\x1b[1;{colour}m{}\x1b[0m", entry.verdict)
}

/// One line each.
pub(super) fn concise(shown: &Shown<'_>) -> Result<(), String> {
    diagnostics(shown, Format::Concise)?;
    for entry in shown.entries {
        render::line(&format!("{}: {} `{}` {}", entry.place(), entry.kind, entry.property, entry.outcome()));
    }
    compliance(shown);
    cross(shown);
    render::line(&counts(shown.entries));
    Ok(())
}

fn diagnostics(shown: &Shown<'_>, format: Format) -> Result<(), String> {
    shown.sources.iter().try_for_each(|s| render::findings(&s.of.sources, &s.of.diagnostics, format))
}

fn compliance(shown: &Shown<'_>) {
    for row in shown.compliance.unwrap_or_default() {
        let source = if row.source.is_empty() { "-" } else { &row.source };
        render::line(&format!("{:<5} {:<32} {:<12} {:<40} {}", row.row, source, row.folder, row.property, row.verdict));
    }
}

fn cross(shown: &Shown<'_>) {
    if let Some(cross) = &shown.desk.cross {
        let (agreed, unfinished) = cross.counts();
        render::line(&format!("{} agreed on {agreed} questions and did not finish {unfinished}", cross.version));
    }
}

/// How many there are of each verdict.
fn counts(entries: &[Entry<'_>]) -> String {
    let all: Vec<String> =
        summary(entries).iter().filter(|(_, n)| *n > 0).map(|(name, count)| format!("{count} {name}")).collect();
    let plural = if entries.len() == 1 { "obligation" } else { "obligations" };
    format!("{} {plural}: {}", entries.len(), if all.is_empty() { "nothing".to_string() } else { all.join(", ") })
}
