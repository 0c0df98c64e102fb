//! `grv audit`: what proofs about programs take for granted.

use super::{box_name, read};
use crate::{Status, render};
use grv_lang::diagnostics::Severity;
use grv_lang::ir::{Program, Role};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Programs, or folders of programs
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    boxes: Vec<Audit>,
    trusted: &'static [&'static str],
}

/// What is taken for granted about a box.
#[derive(Serialize)]
struct Audit {
    file: String,
    name: String,
    /// Properties that are not proved, and why.
    assumed: Vec<Item>,
    /// Hash functions, of which proofs know nothing but that equal arguments give equal results.
    hashes: Vec<Item>,
    /// Conditions on control tables: the runtime refuses a configuration that breaks one.
    requires: Vec<Item>,
    /// Tables that the runtime fills.
    fed: Vec<Item>,
    /// Specs that it claims, with what it claims of them.
    claims: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    place: Option<String>,
    name: String,
    text: String,
}

/// What every proof rests on.
const TRUSTED: [&str; 6] = [
    "the compiler of grv, from the source to the core IR",
    "the meaning of the core IR in formulas (tested against the interpreter, not proved)",
    "the solver's answer that a question has no solution (`--cross-check` asks a second one)",
    "the runtime: it delivers packets, times and configurations as the semantics says, and checks the conditions on control tables",
    "the clock: it does not go back, and 64 bits of nanoseconds do not wrap",
    "the machine and its operating system",
];

pub(crate) fn main(args: &Args) -> Result<Status, String> {
    let sources = read(&args.paths)?;
    let mut broken = false;
    let mut boxes = Vec::new();
    for source in &sources {
        broken |= source.of.failed();
        for d in source.of.diagnostics.iter().filter(|d| d.severity() == Severity::Error) {
            render::remark(&format!("{}: [{}] {}", source.of.sources.place(d.primary.span), d.code, d.message));
        }
        let place = |span| source.of.sources.place(span);
        boxes.extend(source.of.boxes.iter().map(|program| {
            let name = box_name(&source.path, program);
            audit(program, source.path.display().to_string(), name, &place, &|span| source.of.sources.text(span).to_string())
        }));
    }
    if boxes.is_empty() && !broken {
        return Err("there is no middlebox".to_string());
    }
    let report = Report { schema_version: 1, boxes, trusted: &TRUSTED };
    if args.json {
        render::json(&report)?
    } else {
        show(&report)
    }
    Ok(if broken { Status::Bad } else { Status::Good })
}

fn audit(
    program: &Program,
    file: String,
    name: String,
    place: &dyn Fn(grv_lang::span::Span) -> String,
    text: &dyn Fn(grv_lang::span::Span) -> String,
) -> Audit {
    let mut claims: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for property in &program.properties {
        if let Some(claim) = &property.claim {
            claims.entry(claim).or_default().push(&property.name);
        }
    }
    let assumed = program.properties.iter().filter_map(|p| {
        let reason = p.assumed.as_ref()?;
        Some(Item { place: Some(place(p.span)), name: p.name.clone(), text: reason.clone() })
    });
    let hashes = program.hashes.iter().map(|h| {
        let text = format!("{} arguments, {} bits", h.args.len(), h.width);
        Item { place: None, name: h.name.clone(), text }
    });
    let requires = program.requires.iter().map(|r| {
        let words = text(r.span).split_whitespace().collect::<Vec<_>>().join(" ");
        Item { place: Some(place(r.span)), name: "require".to_string(), text: words }
    });
    let fed = program.tables.iter().filter(|t| t.role == Role::Feed);
    let fed = fed.map(|t| Item { place: Some(place(t.span)), name: t.name.clone(), text: "filled by the runtime".to_string() });
    let claims = claims.into_iter().map(|(claim, of)| Item { place: None, name: claim.to_string(), text: of.join(", ") });
    Audit {
        file,
        name,
        assumed: assumed.collect(),
        hashes: hashes.collect(),
        requires: requires.collect(),
        fed: fed.collect(),
        claims: claims.collect(),
    }
}

fn show(report: &Report) {
    for audit in &report.boxes {
        render::line(&format!("{} ({})", audit.name, audit.file));
        for (title, items) in [
            ("assumed, not proved", &audit.assumed),
            ("hash functions, uninterpreted", &audit.hashes),
            ("conditions that the runtime enforces", &audit.requires),
            ("tables that the runtime fills", &audit.fed),
            ("specs that it claims", &audit.claims),
        ] {
            let none = if items.is_empty() { " none" } else { "" };
            render::line(&format!("  {title}:{none}"));
            for item in items {
                let place = item.place.as_ref().map_or_else(String::new, |p| format!(" at {p}"));
                render::line(&format!("    {}{place}: {}", item.name, item.text));
            }
        }
    }
    render::line("Every proof rests on:");
    report.trusted.iter().for_each(|text| render::line(&format!("  {text}")));
}
