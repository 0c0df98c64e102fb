//! `grv stats`: what became of packets.

use super::{Named, open};
use crate::{Status, render};
use clap::ValueEnum;
use grv_runtime::Installed;
use grv_runtime::stats::Stats;
use serde::Serialize;
use std::time::Duration;

/// Shows what became of the packets of a running box.
///
/// Exit status: 0 it is shown; 2 there is no such box.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    named: Named,
    /// Show what is new each second, until interrupted
    #[arg(long, conflicts_with = "format")]
    watch: bool,
    /// How it is shown
    #[arg(long, value_enum, default_value = "full")]
    format: Shown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shown {
    /// For people
    Full,
    /// One JSON object, see schemas/
    Json,
    /// The text format of Prometheus
    Prometheus,
}

#[derive(Serialize)]
struct Json<'s> {
    schema_version: u32,
    name: &'s str,
    middlebox: &'s str,
    drops: Vec<JsonDrops<'s>>,
}

#[derive(Serialize)]
struct JsonDrops<'s> {
    reason: &'s str,
    packets: u64,
}

pub(crate) fn main(args: &Args) -> Result<Status, String> {
    let installed = open(&args.named)?;
    let stats = installed.stats().map_err(|e| e.to_string())?;
    if args.watch {
        return watch(&installed, stats);
    }
    match args.format {
        Shown::Full => full(&installed, &stats),
        Shown::Json => {
            let drops = stats.drops.iter().map(|(reason, packets)| JsonDrops { reason, packets: *packets }).collect();
            let middlebox = &installed.description.manifest.middlebox;
            render::json(&Json { schema_version: 1, name: &installed.name, middlebox, drops })?;
        }
        Shown::Prometheus => prometheus(&installed, &stats),
    }
    Ok(Status::Good)
}

fn full(installed: &Installed, stats: &Stats) {
    let total: u64 = stats.drops.iter().map(|(_, count)| count).sum();
    render::line(&format!("{}: dropped {total}", installed.name));
    for (reason, count) in stats.drops.iter().filter(|(_, count)| *count > 0) {
        render::line(&format!("  as {reason:<24} {count:>12}"));
    }
}

/// What is new, each second.
fn watch(installed: &Installed, mut before: Stats) -> Result<Status, String> {
    while installed.is_loaded() {
        std::thread::sleep(Duration::from_secs(1));
        let Ok(now) = installed.stats() else { break };
        let new =
            now.drops.iter().zip(&before.drops).map(|((reason, now), (_, before))| (reason.clone(), now.wrapping_sub(*before)));
        let drops = new.collect();
        full(installed, &Stats { drops });
        before = now;
    }
    Ok(Status::Good)
}

fn prometheus(installed: &Installed, stats: &Stats) {
    render::line("# HELP grv_dropped_packets_total Packets that a box dropped, by reason.");
    render::line("# TYPE grv_dropped_packets_total counter");
    for (reason, count) in &stats.drops {
        let (name, reason) = (label(&installed.name), label(reason));
        render::line(&format!("grv_dropped_packets_total{{box=\"{name}\",reason=\"{reason}\"}} {count}"));
    }
}

/// A label's value as Prometheus wants it.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
