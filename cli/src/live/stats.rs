//! `grv stats`: what became of packets.

use super::{Named, open};
use crate::{Status, render};
use clap::ValueEnum;
use grv_runtime::Installed;
use grv_runtime::stats::{Drops, Stats};
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
    ports: Vec<JsonPort<'s>>,
    drops: Vec<JsonDrops<'s>>,
}

#[derive(Serialize)]
struct JsonPort<'s> {
    port: &'s str,
    received: u64,
    sent: u64,
}

#[derive(Serialize)]
struct JsonDrops<'s> {
    reason: &'s str,
    /// The port that they arrived at; null, if at none of the box's.
    port: Option<&'s str>,
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
            let drops = stats.drops.iter().map(json_drops).collect();
            let middlebox = &installed.description.manifest.middlebox;
            let ports = stats.ports.iter().map(|(port, of)| JsonPort { port, received: of.received, sent: of.sent }).collect();
            render::json(&Json { schema_version: 1, name: &installed.name, middlebox, ports, drops })?;
        }
        Shown::Prometheus => prometheus(&installed, &stats),
    }
    Ok(Status::Good)
}

fn json_drops(Drops { reason, port, packets }: &Drops) -> JsonDrops<'_> {
    JsonDrops { reason, port: port.as_deref(), packets: *packets }
}

fn full(installed: &Installed, stats: &Stats) {
    let total: u64 = stats.drops.iter().map(|drops| drops.packets).sum();
    for (port, of) in &stats.ports {
        render::line(&format!("{}: {port:<12} {:>12} received {:>12} sent", installed.name, of.received, of.sent));
    }
    render::line(&format!("{}: dropped {total}", installed.name));
    for Drops { reason, port, packets } in stats.drops.iter().filter(|drops| drops.packets > 0) {
        let at = port.as_ref().map(|port| format!("{port}: ")).unwrap_or_default();
        render::line(&format!("  {:<36} {packets:>12}", format!("{at}{reason}")));
    }
}

/// What is new, each second.
fn watch(installed: &Installed, mut before: Stats) -> Result<Status, String> {
    let incarnation = installed.incarnation();
    loop {
        std::thread::sleep(Duration::from_secs(1));
        // Unloaded, or replaced.
        if installed.incarnation() != incarnation {
            return Ok(Status::Good);
        }
        let now = installed.stats().map_err(|e| e.to_string())?;
        full(installed, &now.since(&before));
        before = now;
    }
}

fn prometheus(installed: &Installed, stats: &Stats) {
    let name = label(&installed.name);
    let family = |metric: &str, help: &str, rows: Vec<(String, u64)>| {
        render::line(&format!("# HELP {metric} {help}"));
        render::line(&format!("# TYPE {metric} counter"));
        for (labels, count) in rows {
            render::line(&format!("{metric}{{box=\"{name}\",{labels}}} {count}"));
        }
    };
    let port = |port: &str| format!("port=\"{}\"", label(port));
    let received = stats.ports.iter().map(|(name, of)| (port(name), of.received)).collect();
    family("grv_received_packets_total", "Packets that came to a port's interface.", received);
    let sent = stats.ports.iter().map(|(name, of)| (port(name), of.sent)).collect();
    family("grv_sent_packets_total", "Packets that left by a port's interface.", sent);
    let labels = |of: &Drops| format!("{},reason=\"{}\"", port(of.port.as_deref().unwrap_or_default()), label(&of.reason));
    let dropped = stats.drops.iter().map(|of| (labels(of), of.packets)).collect();
    family("grv_dropped_packets_total", "Packets that the box dropped, by the port that they arrived at and reason.", dropped);
}

/// A label's value as Prometheus wants it.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
