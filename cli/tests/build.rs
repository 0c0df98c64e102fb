//! `grv build`: what is proved is built and says so, what is not is refused; the same input gives the same bytes.

mod common;

use common::root;
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Output};

const GATE: &str = "tests/verify/gate.grv";

/// A place for an object file that is not there yet.
fn object(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("grv-build-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder.join(name)
}

fn build(file: &str, object: &PathBuf, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grv"));
    command.current_dir(root()).args(["build", file, "--target", "ebpf", "--cache", "off", "-o"]).arg(object).args(more);
    command.output().expect("grv can be run")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The manifest in an object file: the one text in it that begins so.
fn manifest(object: &PathBuf) -> Value {
    let bytes = std::fs::read(object).expect("the object file is there");
    let start = b"{\n  \"schema_version\"";
    let at = bytes.windows(start.len()).position(|window| window == start).expect("a manifest");
    let mut values = serde_json::Deserializer::from_slice(&bytes[at..]).into_iter();
    values.next().expect("a value").expect("the manifest is JSON")
}

#[test]
fn what_is_proved_is_built_and_says_so() {
    let object = object("proved.o");
    let output = build(GATE, &object, &[]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    let manifest = manifest(&object);
    assert_eq!(manifest["status"], "proved");
    assert_eq!(manifest["checks_at_run_time"], false);
    let claims = manifest["claims"].as_array().expect("a list");
    assert!(claims.len() >= 4 && claims.iter().all(|claim| claim["verdict"] == "proved"), "{claims:?}");
    let digests = manifest["sources"].as_array().expect("a list");
    assert!(digests.iter().all(|source| source["digest"].as_str().is_some_and(|d| d.starts_with("blake3:"))), "{digests:?}");
}

#[test]
fn what_is_refuted_or_assumed_is_not_built_but_where_that_is_allowed() {
    for file in ["tests/refuted/always.grv", "tests/verify/assumed.grv"] {
        let object = object("unproved.o");
        let output = build(file, &object, &[]);
        assert_eq!(output.status.code(), Some(1), "{file}: {}{}", text(&output.stdout), text(&output.stderr));
        assert!(!object.exists(), "{file}");
        let output = build(file, &object, &["--allow-unproved"]);
        assert_eq!(output.status.code(), Some(0), "{file}: {}", text(&output.stderr));
        assert!(!text(&output.stdout).contains(", proved"), "{file}");
        let manifest = manifest(&object);
        assert_eq!((&manifest["status"], &manifest["checks_at_run_time"]), (&"unproved".into(), &true.into()), "{file}");
        std::fs::remove_file(&object).expect("the object file is there");
    }
}

#[test]
fn the_same_program_gives_the_same_bytes() {
    for file in ["examples/router/router.grv", "examples/firewall/firewall.grv"] {
        let made = ["first.o", "second.o"].map(|name| {
            let object = object(name);
            let output = build(file, &object, &["--allow-unproved"]);
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
            std::fs::read(&object).expect("the object file is there")
        });
        assert!(made[0] == made[1], "{file}");
    }
}

#[test]
fn the_report_has_all_that_its_schema_asks_for() {
    let schema: Value = serde_json::from_str(include_str!("../../schemas/build.schema.json")).expect("the schema is JSON");
    let required = |of: &Value, value: &Value| {
        for name in of["required"].as_array().expect("a list") {
            assert!(value.get(name.as_str().expect("a name")).is_some(), "{name} is missing");
        }
    };
    let object = object("report.o");
    let output = build(GATE, &object, &["--allow-unproved", "--format", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    required(&schema, &report);
    required(&schema["$defs"]["budget"], &report["budget"]);
    assert_eq!(report["proved"], false);
    let output = build("tests/fail/E0804-timer.grv", &object, &["--allow-unproved", "--format", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    required(&schema, &report);
    assert!(report["budget"].is_null() && report["output"].is_null());
}

#[test]
fn a_middlebox_that_is_not_there_is_a_usage_error() {
    let output = build(GATE, &object("none.o"), &["--allow-unproved", "--box", "Nowhere"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("there is no middlebox `Nowhere`"), "{}", text(&output.stderr));
}

#[test]
fn what_is_not_there_at_tc_is_refused() {
    let object = object("tc.o");
    let tc = ["--allow-unproved", "--hook", "tc", "--format", "json"];
    let output = build("examples/policer/policer.grv", &object, &tc);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(manifest(&object)["program_type"], "tc");
    for (file, code) in [("examples/bridge/bridge.grv", "E0803"), ("tests/targets/resize.grv", "E0804")] {
        let output = build(file, &object, &tc);
        assert_eq!(output.status.code(), Some(1), "{file}");
        let report: Value = serde_json::from_slice(&output.stdout).expect("the report is JSON");
        let codes: Vec<&str> =
            report["diagnostics"].as_array().expect("a list").iter().filter_map(|d| d["code"].as_str()).collect();
        assert!(codes.contains(&code), "{file}: {report}");
        let text = report["diagnostics"][0]["message"].as_str().expect("a message");
        assert!(text.contains("tc"), "{text}");
    }
}

#[test]
fn lifetimes_are_told_by_the_clock_that_is_asked_for() {
    const BRIDGE: &str = "examples/bridge/bridge.grv";
    let object = object("clock.o");
    // Of a table that is judged up to 20 ms late: ticks of 1 to 10 ms will do.
    for (asked, hz) in [(None, Some(250)), (Some("1000"), Some(1_000)), (Some("100"), Some(100)), (Some("none"), None)] {
        let more: Vec<&str> = asked.into_iter().flat_map(|hz| ["--hz", hz]).chain(["--allow-unproved"]).collect();
        let output = build(BRIDGE, &object, &more);
        assert_eq!(output.status.code(), Some(0), "{asked:?}: {}", text(&output.stderr));
        let manifest = manifest(&object);
        assert_eq!(manifest["hz"].as_u64(), hz, "{asked:?}");
        let helpers = manifest["budget"]["helpers"].to_string();
        assert_eq!(
            (helpers.contains("bpf_jiffies64"), helpers.contains("bpf_ktime_get_ns")),
            (hz.is_some(), hz.is_none()),
            "{asked:?}"
        );
    }
    for (hz, why) in [("300", "no whole nanoseconds"), ("0", "is needed"), ("fast", "is needed")] {
        let output = build(BRIDGE, &object, &["--allow-unproved", "--hz", hz]);
        assert_eq!(output.status.code(), Some(2), "{hz}");
        assert!(text(&output.stderr).contains(why), "{hz}: {}", text(&output.stderr));
    }
}

#[test]
fn parameters_that_a_configuration_gives_are_built_in() {
    const NAT: &str = "examples/nat/nat.grv";
    let object = object("fixed.o");
    let made = |more: &[&str]| {
        let output = build(NAT, &object, &[&["--allow-unproved"], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        manifest(&object)
    };
    let fixed = |manifest: &Value| {
        let all = manifest["parameters"].as_array().expect("a list").clone();
        all.iter().filter(|of| of["fixed"].is_u64()).map(|of| (of["name"].to_string(), of["fixed"].as_u64())).collect::<Vec<_>>()
    };
    let (open, built_in) = (made(&[]), made(&["--config", "examples/nat/config.json"]));
    assert_eq!(fixed(&open), []);
    assert_eq!(fixed(&built_in).len(), built_in["parameters"].as_array().expect("a list").len());
    assert!(fixed(&built_in).contains(&("\"public\"".to_string(), Some(0xcb00_7101))), "{:?}", fixed(&built_in));
    let length = |manifest: &Value| manifest["budget"]["instructions"].as_u64().expect("a number");
    assert!(length(&built_in) < length(&open), "{} and {}", length(&built_in), length(&open));

    let config = self::object("wrong.json");
    std::fs::write(&config, r#"{"params": {"publik": "203.0.113.1"}}"#).expect("a file");
    let output = build(NAT, &object, &["--config", &config.display().to_string()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("`params.publik`: there is no such parameter"), "{}", text(&output.stderr));
}

#[test]
fn searches_that_differ_in_words_only_are_one_function() {
    let output = build("tests/targets/search.grv", &object("search.o"), &["--emit", "asm", "--allow-unproved"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let listing = text(&output.stdout);
    let calls = |name: &str| listing.lines().filter(|line| line.ends_with(&format!("call function  ; {name}"))).count();
    // Both elements search their own arrays. For what marks a packet they ask with other numbers for each protocol, but by one test.
    for name in ["rules", "marked"] {
        assert!(["ahead", "back"].iter().all(|element| calls(&format!("search0_{element}_{name}")) > 0), "{name}: {listing}");
    }
    assert!(!listing.contains("search1_"), "{listing}");
    // A test that asks a map has its loop where it is.
    assert!(listing.contains("; ahead_names") && !listing.contains("search0_ahead_names"), "{listing}");
}
