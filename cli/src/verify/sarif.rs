//! Results as SARIF 2.1.0: one for each obligation that is not proved. A fingerprint is made of the obligation's name, so that it
//! stays the same while lines move; the events of a counterexample are a code flow.

use super::entry::Entry;
use super::{Shown, state};
use crate::render;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) fn show(shown: &Shown<'_>) -> Result<(), String> {
    let open: Vec<&Entry<'_>> = shown.entries.iter().filter(|e| !e.is_proved()).collect();
    let kinds: BTreeSet<&str> = open.iter().map(|e| e.kind).collect();
    let rules: Vec<Value> =
        kinds.iter().map(|kind| json!({ "id": kind, "shortDescription": { "text": describe(kind) } })).collect();
    render::json(&json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "grv", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "results": open.iter().map(|e| result(e)).collect::<Vec<Value>>(),
        }]
    }))
}

fn describe(kind: &str) -> &'static str {
    match kind {
        "invariant" => "What must hold in every state",
        "step" => "What must hold of every packet in every state",
        "persistence" => "What must go on once something happened",
        "history" => "What may happen only after something else",
        "independence" => "What may not depend on something else",
        "bound" => "What may be sent in an interval",
        "reachable" => "What must be possible",
        _ => "What every middlebox is obliged to",
    }
}

fn result(entry: &Entry<'_>) -> Value {
    let fingerprint = blake3::hash(entry.id.as_bytes()).to_hex();
    let mut result = json!({
        "ruleId": entry.kind,
        "level": if entry.is_wrong() { "error" } else { "warning" },
        "message": { "text": format!("`{}` is {}. To look at it alone: {}", entry.property, entry.outcome(), entry.rerun()) },
        "locations": [location(entry, None)],
        "partialFingerprints": { "grvObligation/v1": &fingerprint.as_str()[..32] },
    });
    let state = state::lines(&entry.obligation.verdict);
    if !state.is_empty() {
        let locations: Vec<Value> = state.iter().map(|line| json!({ "location": location(entry, Some(line.trim())) })).collect();
        result["codeFlows"] = json!([{ "threadFlows": [{ "locations": locations }] }]);
    }
    if let Some(example) = &entry.counterexample {
        let steps = example.events.iter().chain(&example.then).map(|e| e.text.as_str()).chain([example.broken.as_str()]);
        let locations: Vec<Value> = steps.map(|text| json!({ "location": location(entry, Some(text)) })).collect();
        result["codeFlows"] = json!([{ "threadFlows": [{ "locations": locations }] }]);
    }
    result
}

fn location(entry: &Entry<'_>, text: Option<&str>) -> Value {
    let mut location = json!({
        "physicalLocation": {
            "artifactLocation": { "uri": uri(entry.file) },
            "region": { "startLine": entry.line, "startColumn": entry.start.column },
        }
    });
    if let Some(text) = text {
        location["message"] = json!({ "text": text });
    }
    location
}

/// A path as a URI reference.
fn uri(path: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    path.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
