//! `grv stability`: the same proofs with other random choices of the solver. A proof that comes and goes with them is fragile.

use super::select::Selection;
use super::{Solving, boxes, entry, failed, open, read, run};
use crate::{Status, render};
use grv_verifier::cache::Cache;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Programs, or folders of programs
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How many times, each with another seed
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..))]
    seeds: u32,
    /// Only properties of that name
    #[arg(long, value_name = "GLOB")]
    property: Vec<String>,
    #[command(flatten)]
    solving: Solving,
    /// As one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    seeds: u32,
    obligations: Vec<Spread>,
}

/// How an obligation fared.
#[derive(Serialize)]
struct Spread {
    id: String,
    /// Its verdicts, each once.
    verdicts: BTreeSet<&'static str>,
    /// The least and the greatest number of resource units.
    resource: (u64, u64),
}

pub(crate) fn main(args: &Args) -> Result<Status, String> {
    let selection = Selection::new(&args.property, None)?;
    let sources = read(&args.paths)?;
    if let Some(broken) = sources.iter().find(|s| s.of.failed()) {
        return Err(format!("{} has errors: see `grv check`", broken.path.display()));
    }
    let desk = match open(Cache::off(), None, None) {
        Ok(desk) => desk,
        Err(failure) => return failed(failure),
    };
    let mut spreads: BTreeMap<String, Spread> = BTreeMap::new();
    for seed in 0..args.seeds {
        let reports = match run(&sources, &selection, &args.solving.options(seed), &desk, &|_, _| {}) {
            Ok(reports) => reports,
            Err(failure) => return failed(failure),
        };
        let all = boxes(&sources);
        let mut entries: Vec<_> =
            all.iter().zip(&reports).flat_map(|((s, program), r)| entry::entries(&sources[*s], program, r)).collect();
        entry::sort(&mut entries);
        for e in entries {
            let spread = spreads.entry(e.id.clone()).or_insert_with(|| Spread {
                id: e.id.clone(),
                verdicts: BTreeSet::new(),
                resource: (u64::MAX, 0),
            });
            spread.verdicts.insert(e.verdict);
            spread.resource = (spread.resource.0.min(e.resource), spread.resource.1.max(e.resource));
        }
    }
    if spreads.is_empty() {
        return Err(selection.nothing());
    }
    let report = Report { schema_version: 1, seeds: args.seeds, obligations: spreads.into_values().collect() };
    let unstable = report.obligations.iter().filter(|s| s.verdicts.len() > 1).count();
    if args.json {
        render::json(&report)?;
    } else {
        for s in &report.obligations {
            let verdicts: Vec<&str> = s.verdicts.iter().copied().collect();
            render::line(&format!("{}: {}, {} to {} units", s.id, verdicts.join(" or "), s.resource.0, s.resource.1));
        }
        render::line(&format!("{} obligations, {} seeds: {unstable} change", report.obligations.len(), report.seeds));
    }
    Ok(if unstable > 0 { Status::Bad } else { Status::Good })
}
