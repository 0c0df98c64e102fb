//! The table of requirements: which row of the checklist, from which source, is stated by which property, and what came of it.

use super::entry::Entry;
use serde::Serialize;

/// A row of the table.
#[derive(Serialize)]
pub(super) struct Row<'r> {
    pub(super) row: &'r str,
    pub(super) source: String,
    #[serde(rename = "box")]
    pub(super) folder: &'r str,
    pub(super) property: &'r str,
    pub(super) verdict: &'r str,
}

/// All rows, in order; `N2` comes before `N10`.
pub(super) fn rows<'r>(entries: &'r [Entry<'r>]) -> Vec<Row<'r>> {
    let mut rows: Vec<Row<'r>> = Vec::new();
    for entry in entries {
        rows.extend(entry.rows.iter().map(|row| Row {
            row,
            source: entry.obligation.sources.join(", "),
            folder: &entry.folder,
            property: entry.property,
            verdict: entry.verdict,
        }));
    }
    let order = |r: &Row<'_>| {
        let letters = r.row.trim_end_matches(|c: char| c.is_ascii_digit());
        (letters.to_string(), r.row[letters.len()..].parse::<u32>().ok())
    };
    rows.sort_by(|a, b| (order(a), a.folder, a.property).cmp(&(order(b), b.folder, b.property)));
    rows
}
