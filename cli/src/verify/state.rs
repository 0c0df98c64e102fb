//! The state in which a proof fails, as data and in words.

use grv_lang::text;
use grv_verifier::prove::{Row, Verdict};
use serde::Serialize;

/// A state, as far as the question speaks of it.
#[derive(Serialize)]
pub(super) struct State<'r> {
    /// The step that leads on from it.
    step: &'r str,
    now: Option<u64>,
    packets: Vec<Packet<'r>>,
    rows: Vec<Entry<'r>>,
}

#[derive(Serialize)]
struct Packet<'r> {
    name: &'r str,
    fields: Vec<Field<'r>>,
}

#[derive(Serialize)]
struct Field<'r> {
    name: &'r str,
    value: &'r str,
}

/// A live entry of a table.
#[derive(Serialize)]
struct Entry<'r> {
    table: &'r str,
    key: &'r str,
    value: &'r str,
    /// Nanoseconds since the start.
    deadline: Option<u64>,
}

/// Nanoseconds; what a number cannot hold is never.
fn nanoseconds(time: Option<u128>) -> Option<u64> {
    time.and_then(|n| u64::try_from(n).ok())
}

/// The state of a verdict, if it has one.
pub(super) fn of(verdict: &Verdict) -> Option<State<'_>> {
    let Verdict::NotInductive(stuck) = verdict else { return None };
    let shown = stuck.shown.as_ref()?;
    Some(State {
        step: &stuck.part,
        now: nanoseconds(shown.now),
        packets: shown
            .packets
            .iter()
            .map(|(name, fields)| Packet { name, fields: fields.iter().map(|(name, value)| Field { name, value }).collect() })
            .collect(),
        rows: shown
            .rows
            .iter()
            .map(|row| Entry { table: &row.table, key: &row.key, value: &row.value, deadline: nanoseconds(row.deadline) })
            .collect(),
    })
}

/// The same, as lines.
pub(super) fn lines(verdict: &Verdict) -> Vec<String> {
    let Verdict::NotInductive(stuck) = verdict else { return Vec::new() };
    let Some(shown) = &stuck.shown else { return Vec::new() };
    let mut lines = vec!["from this state, which satisfies all invariants, but may not be reachable:".to_string()];
    if let Some(now) = shown.now {
        lines.push(format!("  now is {}", text::duration(now)));
    }
    lines.extend(shown.rows.iter().map(|row| format!("  {}", in_words(row))));
    if shown.rows.is_empty() {
        lines.push("  no entry of a table matters".to_string());
    }
    for (name, fields) in &shown.packets {
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name} {value}")).collect();
        lines.push(format!("  packet `{name}`: {}", fields.join(", ")));
    }
    lines
}

fn in_words(row: &Row) -> String {
    let key = if row.key.is_empty() { String::new() } else { format!("[{}]", row.key) };
    let until = row.deadline.map_or_else(String::new, |at| format!(", until {}", text::duration(at)));
    format!("{}{key} is {}{until}", row.table, row.value)
}
