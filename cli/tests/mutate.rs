//! `grv mutate` as a command: which changes are noticed by what, and what it exits with.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// A program whose owner asked for too little.
const FORGETFUL: &str = "tests/verify/mutants.grv";

fn mutate(args: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(env!("CARGO_BIN_EXE_grv"));
    command.args(["mutate", "--cache", "off"]).args(args).current_dir(root);
    if !args.contains(&"--jobs") {
        command.args(["--jobs", "2"]);
    }
    command.env("GRV_SOLVER", env!("CARGO_BIN_EXE_grv-solver")).output().expect("grv can be run")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("no JSON ({e}): {}", text(output)))
}

fn list<'v>(value: &'v Value, name: &str) -> &'v Vec<Value> {
    value[name].as_array().expect("a list")
}

/// The change of that kind in an element, whose words hold these.
fn find<'v>(report: &'v Value, operator: &str, element: &str, words: &str) -> &'v Value {
    let fits = |m: &&Value| {
        m["operator"] == operator && m["element"] == element && m["change"].as_str().is_some_and(|change| change.contains(words))
    };
    list(report, "mutants").iter().find(fits).unwrap_or_else(|| panic!("no {operator} of {words} in {element}: {report:#}"))
}

#[test]
fn each_change_is_noticed_by_what_speaks_of_it() {
    let output = mutate(&[FORGETFUL, "--format", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let report = json(&output);
    let verdict = |operator, element, words| {
        let m = find(&report, operator, element, words);
        (m["verdict"].as_str().expect("a verdict"), m["how"].as_str(), m["kills"][0]["name"].as_str())
    };
    let by_property = ("killed by properties", Some("refuted"), Some("only_wanted/2"));
    assert_eq!(verdict("keep-not-drop", "Filter", "not wanted"), by_property);
    let by_test = ("killed by tests", Some("test"), Some("what is no frame is dropped"));
    assert_eq!(verdict("keep-not-drop", "Filter", "malformed"), by_test);
    assert_eq!(verdict("drop-update", "Filter", "frames"), ("survives", None, None));
    assert_eq!(verdict("negate-guard", "Back", "eth.dst"), ("survives", None, None));
    let (automatic, how, _) = verdict("swap-output", "Back", "emit inner");
    assert_eq!((automatic, how), ("killed by what every program is obliged to", Some("automatic")));

    let summary = &report["summary"];
    let count = |name: &str| summary[name].as_u64().expect("a number");
    assert_eq!(count("mutants"), list(&report, "mutants").len() as u64);
    let sum = count("by_properties") + count("by_automatic") + count("by_tests_only") + count("surviving");
    assert_eq!(sum, count("mutants"));
    let all = summary["score"]["all"].as_f64().expect("a number");
    assert!((all - 100.0 * (1.0 - count("surviving") as f64 / count("mutants") as f64)).abs() < 0.1);
}

#[test]
fn a_report_has_all_that_its_schema_asks_for() {
    let schema: Value = serde_json::from_str(include_str!("../../schemas/mutate.schema.json")).expect("the schema is JSON");
    let report = json(&mutate(&[FORGETFUL, "--format", "json", "--all"]));
    let required = |of: &Value, value: &Value| {
        for name in list(of, "required") {
            let name = name.as_str().expect("a name");
            assert!(value.get(name).is_some(), "{name} is missing: {value:#}");
        }
    };
    required(&schema, &report);
    required(&schema["$defs"]["summary"], &report["summary"]);
    required(&schema["$defs"]["summary"]["properties"]["score"], &report["summary"]["score"]);
    let operators = &schema["$defs"]["mutant"]["properties"]["operator"]["enum"];
    let mut ids = std::collections::BTreeSet::new();
    for mutant in list(&report, "mutants") {
        required(&schema["$defs"]["mutant"], mutant);
        assert!(operators.as_array().is_some_and(|all| all.contains(&mutant["operator"])), "{mutant:#}");
        assert!(ids.insert(mutant["id"].to_string()));
    }
    // With `--all`, the property and the test that both notice are told.
    let negated = find(&report, "negate-guard", "Filter", "ethertype");
    let names: Vec<&str> = list(negated, "kills").iter().filter_map(|k| k["name"].as_str()).collect();
    assert_eq!(names, ["only_wanted/1", "only_wanted/2", "a wanted frame passes"]);
    // What a property kills.
    let property = &report["properties"][0];
    assert_eq!(property["property"], "only_wanted");
    assert!(list(property, "mutants").contains(&negated["id"]));
}

#[test]
fn what_is_tried_can_be_chosen() {
    let only = mutate(&[FORGETFUL, "--operator", "keep-not-drop", "--operator", "drop-all", "--format", "json"]);
    assert_eq!(only.status.code(), Some(0), "{}", text(&only));
    let report = json(&only);
    assert_eq!((list(&report, "mutants").len(), &report["summary"]["score"]["all"]), (4, &100.0.into()));
    let limited = json(&mutate(&[FORGETFUL, "--limit", "3", "--format", "json"]));
    assert_eq!(list(&limited, "mutants").len(), 3);
    // Only what a chosen property or a test notices counts.
    let chosen = json(&mutate(&[FORGETFUL, "--operator", "drop-all", "--property", "only_wanted", "--format", "json"]));
    assert_eq!(find(&chosen, "drop-all", "Back", "frame")["verdict"], "survives");
}

#[test]
fn changes_are_told_as_they_are_tried() {
    let ids = |all: Vec<Value>| all.iter().map(|m| m["id"].to_string()).collect::<std::collections::BTreeSet<_>>();
    let lines = |limit: &str| {
        let output = mutate(&[FORGETFUL, "--format", "json-lines", "--limit", limit, "--jobs", "1"]);
        let lines = String::from_utf8_lossy(&output.stdout);
        lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON")).collect::<Vec<_>>()
    };
    let (four, all) = (lines("4"), lines("1000"));
    // The first are the same, however many follow; and they are not all from the same place.
    assert_eq!(four[0]["id"], all[0]["id"]);
    assert!(ids(four.clone()).is_subset(&ids(all.clone())));
    assert_ne!(four[0]["element"], four[1]["element"]);
    let whole = json(&mutate(&[FORGETFUL, "--format", "json"]));
    assert_eq!(ids(all), ids(list(&whole, "mutants").clone()));
}

#[test]
fn what_changes_nothing_does_not_count() {
    let output = mutate(&["tests/verify/equivalent.grv", "--format", "json"]);
    let report = json(&output);
    let equivalent = |operator: &str, words: &str| {
        let fits = |m: &&Value| m["operator"] == operator && m["change"].as_str().is_some_and(|change| change.contains(words));
        list(&report, "equivalent").iter().any(|m| fits(&m) && m["verdict"] == "changes nothing")
    };
    // The deadline is set outright afterwards.
    assert!(equivalent("skip-refresh", "without a refresh"), "{report:#}");
    assert!(equivalent("off-by-one", "the lifetime of `stations`"), "{report:#}");
    // To what, nobody asks; that it changes something is seen all the same.
    assert_eq!(find(&report, "off-by-one", "Remember", "5000000000u64")["verdict"], "survives");
    let count = |name: &str| report["summary"][name].as_u64().expect("a number");
    assert_eq!(
        (count("mutants"), count("equivalent")),
        (list(&report, "mutants").len() as u64, list(&report, "equivalent").len() as u64)
    );
}

#[test]
fn people_are_told_too() {
    let output = mutate(&[FORGETFUL]);
    let text = text(&output);
    assert!(text.contains("mutants.grv:16:17: drop-update in Filter: without"), "{text}");
    assert!(text.contains("SURVIVES") && text.contains("`only_wanted` kills 6"), "{text}");
    assert!(text.contains("17 mutants: 6 killed by properties"), "{text}");
}

#[test]
fn what_cannot_be_done_is_usage() {
    let code = |args: &[&str]| mutate(args).status.code();
    assert_eq!(code(&["tests/verify/none.grv"]), Some(2));
    assert_eq!(code(&[FORGETFUL, "--operator", "nonsense"]), Some(2));
    assert_eq!(code(&[FORGETFUL, "--operator", "drop-checksum"]), Some(2));
    assert_eq!(code(&["tests/fail/E0102-syntax.grv"]), Some(1));
}
