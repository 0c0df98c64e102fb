//! `grv state`: what a running box holds, in terms of its source.

use super::{Named, Report, open};
use crate::{Status, render};
use grv_lang::config;
use grv_lang::ir::{Role, Table, TableKind};
use grv_lang::text;
use grv_runtime::Installed;
use grv_runtime::state::{Entry, Life, TableState};
use serde::Serialize;
use serde_json::Value;

/// Shows what a running box holds: the entries of its tables, live or dead, and how long they live.
///
/// An entry is live if the next packet would find it. A dead one only takes room, until it is swept.
///
/// Exit status: 0 it is shown; 2 there is no such box or table.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    named: Named,
    /// Only this table; may be given several times. Tables that are computed from others are shown only so
    #[arg(long = "table", value_name = "TABLE")]
    tables: Vec<String>,
    /// Only entries in whose key or value this text is
    #[arg(long = "match", value_name = "TEXT")]
    matching: Option<String>,
    /// Only entries that are live
    #[arg(long, conflicts_with = "dead")]
    live: bool,
    /// Only entries that are dead
    #[arg(long)]
    dead: bool,
    /// How it is shown
    #[arg(long, value_enum, default_value = "full")]
    format: Report,
}

#[derive(Serialize)]
struct Json<'s> {
    schema_version: u32,
    name: &'s str,
    middlebox: &'s str,
    proved: bool,
    ports: Vec<JsonPort<'s>>,
    tables: Vec<JsonTable<'s>>,
}

#[derive(Serialize)]
struct JsonPort<'s> {
    port: &'s str,
    interface: &'s str,
}

#[derive(Serialize)]
struct JsonTable<'s> {
    name: &'s str,
    role: &'static str,
    capacity: u64,
    live: usize,
    dead: usize,
    entries: Vec<JsonEntry>,
}

#[derive(Serialize)]
struct JsonEntry {
    key: Value,
    value: Value,
    live: bool,
    /// Null: until it is removed.
    remaining_ns: Option<u64>,
}

pub(crate) fn main(args: &Args) -> Result<Status, String> {
    let installed = open(&args.named)?;
    let program = installed.description.program.clone();
    if let Some(unknown) = args.tables.iter().find(|name| program.tables.iter().all(|table| table.name != **name)) {
        let known: Vec<&str> = program.tables.iter().filter(|t| t.role != Role::Ghost).map(|t| t.name.as_str()).collect();
        return Err(format!("the box has no table `{unknown}`; it has {}", known.join(", ")));
    }
    let tables = installed.state().map_err(|e| e.to_string())?;
    let wanted = |of: &&TableState| args.tables.is_empty() || args.tables.contains(&program.tables[of.table].name);
    let tables: Vec<&TableState> = tables.iter().filter(wanted).collect();
    match args.format {
        Report::Json => json(args, &installed, &tables)?,
        Report::Full => full(args, &installed, &tables),
    }
    Ok(Status::Good)
}

/// The entries that are asked for.
fn chosen<'s>(args: &Args, table: &Table, of: &'s TableState) -> Vec<(&'s Entry, String, String)> {
    let mut chosen = Vec::new();
    // What is computed from other tables is large, and shown only if it is asked for.
    if table.computed.is_some() && args.tables.is_empty() {
        return chosen;
    }
    for entry in &of.entries {
        let dead = entry.life == Life::Dead;
        if (args.live && dead) || (args.dead && !dead) {
            continue;
        }
        let (key, value) = (key(table, entry), value(table, entry));
        if args.matching.as_ref().is_none_or(|text| key.contains(text) || value.contains(text)) {
            chosen.push((entry, key, value));
        }
    }
    chosen
}

/// Whether entries are told apart by their index only.
fn is_indexed(table: &Table) -> bool {
    matches!(table.kind, TableKind::Array | TableKind::Cell | TableKind::Counter)
}

fn key(table: &Table, entry: &Entry) -> String {
    if is_indexed(table) {
        return entry.key.first().map_or_else(String::new, u128::to_string);
    }
    text::show(&table.key_shape, &entry.key)
}

fn value(table: &Table, entry: &Entry) -> String {
    match table.kind {
        TableKind::Bucket { .. } => format!("{} bytes may pass", entry.value.first().copied().unwrap_or(0)),
        TableKind::Set => String::new(),
        _ => text::show(&table.value_shape, &entry.value),
    }
}

fn full(args: &Args, installed: &Installed, tables: &[&TableState]) {
    let description = &installed.description;
    let proved = if description.proved() { "proved" } else { "unproved" };
    let ports: Vec<String> = installed.ports.iter().map(|port| format!("{} at {}", port.port, port.interface)).collect();
    render::line(&format!("{}: {}, {proved}: {}", installed.name, description.manifest.middlebox, ports.join(", ")));
    for of in tables {
        let table = &description.program.tables[of.table];
        let dead = of.entries.iter().filter(|entry| entry.life == Life::Dead).count();
        let dead = if dead == 0 { String::new() } else { format!(", {dead} of them dead") };
        render::line(&format!("\n{}: {} of {}{dead}", table.name, of.entries.len(), of.capacity));
        for (entry, key, value) in chosen(args, table, of) {
            let arrow = if value.is_empty() { "" } else { " -> " };
            let life = match entry.life {
                Life::Forever => String::new(),
                Life::Remaining(time) => format!("   {}.{} s left", time / 1_000_000_000, time / 100_000_000 % 10),
                Life::Dead => "   dead".to_string(),
            };
            render::line(&format!("  {key}{arrow}{value}{life}"));
        }
    }
}

fn json(args: &Args, installed: &Installed, tables: &[&TableState]) -> Result<(), String> {
    let description = &installed.description;
    let table = |of: &&TableState| {
        let table = &description.program.tables[of.table];
        let dead = of.entries.iter().filter(|entry| entry.life == Life::Dead).count();
        let entry = |(entry, ..): (&Entry, String, String)| JsonEntry {
            key: if is_indexed(table) { number(&entry.key) } else { config::write(&table.key_shape, &entry.key) },
            value: match table.kind {
                TableKind::Bucket { .. } => number(&entry.value),
                _ => config::write(&table.value_shape, &entry.value),
            },
            live: entry.life != Life::Dead,
            remaining_ns: match entry.life {
                Life::Forever => None,
                Life::Remaining(time) => Some(time),
                Life::Dead => Some(0),
            },
        };
        JsonTable {
            name: &table.name,
            role: match table.role {
                Role::State => "state",
                Role::Control => "control",
                Role::Feed => "feed",
                Role::Ghost => "ghost",
            },
            capacity: of.capacity,
            live: of.entries.len() - dead,
            dead,
            entries: chosen(args, table, of).into_iter().map(entry).collect(),
        }
    };
    let ports = installed.ports.iter().map(|of| JsonPort { port: &of.port, interface: &of.interface });
    render::json(&Json {
        schema_version: 1,
        name: &installed.name,
        middlebox: &description.manifest.middlebox,
        proved: description.proved(),
        ports: ports.collect(),
        tables: tables.iter().map(table).collect(),
    })
}

/// The only number of a key or value.
fn number(numbers: &[u128]) -> Value {
    numbers.first().and_then(|number| u64::try_from(*number).ok()).map_or(Value::Null, Value::from)
}
