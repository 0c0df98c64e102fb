//! Programs that must check, programs that must not, and what the command makes of them.

mod common;

use common::{modules, programs, root};
use grv_codegen::ebpf::{Options, Proofs, build};
use grv_lang::compile::compile;
use grv_lang::diagnostics::Code;
use grv_lang::ir::validate::{validate, validate_test};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::{Command, Output};

/// What a target does not have is found if that is asked for.
const FOR_TARGET: &[&str] = &["--target", "ebpf"];

fn grv(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_grv")).args(args).current_dir(root()).output().expect("grv can be run")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("no JSON ({e}): {}", String::from_utf8_lossy(&output.stdout)))
}

/// Line, code and message of each diagnostic that `grv check` finds.
fn found(path: &str, more: &[&str]) -> BTreeSet<(u64, String, String)> {
    let output = grv(&[&["check", "--format", "json", path], more].concat());
    let report = json(&output);
    let list = report["diagnostics"].as_array().expect("a list of diagnostics").clone();
    let text = |v: &Value| v.as_str().expect("a text").to_string();
    let all: BTreeSet<_> =
        list.iter().map(|d| (d["start"]["line"].as_u64().expect("a line"), text(&d["code"]), text(&d["message"]))).collect();
    let errors = list.iter().any(|d| d["severity"] == "error");
    assert_eq!(output.status.code(), Some(i32::from(errors)), "{path}");
    all
}

/// What the comments of a program expect: `//~ CODE message` on its line, `//~^` below it, `//~v` above it.
fn expected(text: &str) -> BTreeSet<(u64, String, String)> {
    let mut all = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        for note in line.split("//~").skip(1) {
            let (shift, note) = match note.chars().next() {
                Some('^') => (-1, &note[1..]),
                Some('v') => (1, &note[1..]),
                _ => (0, note),
            };
            let (code, message) = note.trim().split_once(' ').expect("a code and a message");
            // Several comments below one line each speak of that line.
            let mut at = index as i64 + 1 + shift;
            while shift < 0 && text.lines().nth(at as usize - 1).is_some_and(|l| l.trim().starts_with("//~^")) {
                at -= 1;
            }
            all.insert((at as u64, code.to_string(), message.trim().to_string()));
        }
    }
    all
}

#[test]
fn each_program_that_must_fail_fails_as_it_says() {
    for path in programs("tests/fail") {
        let bytes = std::fs::read(root().join(&path)).expect("the program can be read");
        let expected = expected(&String::from_utf8_lossy(&bytes));
        assert!(!expected.is_empty(), "{path} expects nothing");
        if expected.iter().any(|(_, code, _)| code.starts_with("E08")) {
            assert!(found(&path, &[]).is_empty(), "{path} is not right in itself");
            assert_eq!(found(&path, FOR_TARGET), expected, "{path}");
        } else {
            assert_eq!(found(&path, &[]), expected, "{path}");
        }
    }
}

#[test]
fn each_code_has_a_program_and_a_page() {
    for code in Code::ALL {
        let own = format!("tests/fail/{}-", code.name());
        let files = programs("tests/fail");
        let mut named = files.iter().filter(|f| f.starts_with(&own)).peekable();
        assert!(named.peek().is_some(), "{} has no file under tests/fail", code.name());
        for file in named {
            let found = found(file, if code.is_of_target() { FOR_TARGET } else { &[] });
            assert!(found.iter().any(|(_, c, _)| c == code.name()), "{file} does not give its code");
        }
        let output = grv(&["explain", code.name()]);
        let page = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(page.starts_with(&format!("# {}: {}", code.name(), code.title())), "{}", code.name());
        assert!(page.contains("## Example"), "{}", code.name());
    }
}

/// The fenced programs of a page.
fn listings(page: &str, heading: &str) -> Vec<String> {
    let section = page.split(heading).nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap_or_default();
    section.split("```grv\n").skip(1).filter_map(|rest| rest.split("```").next()).map(str::to_string).collect()
}

#[test]
fn the_examples_of_the_catalogue_are_right() {
    for code in Code::ALL {
        // These need a deep or a large file; their pages say so.
        if matches!(code, Code::TooDeep | Code::TooLarge) {
            continue;
        }
        let page = std::fs::read_to_string(root().join(format!("book/src/errors/{}.md", code.name()))).expect("a page");
        let check = |text: &str| {
            let compiled = compile("page.grv", text.as_bytes(), &modules());
            let mut found = compiled.diagnostics;
            if code.is_of_target() {
                let options = Options { checks: true, ..Options::default() };
                let build = |program| build(program, &compiled.sources, &options, &Proofs::default()).err();
                found.extend(compiled.boxes.iter().filter_map(|program| build(program)).flatten());
            }
            found
        };
        let examples = listings(&page, "## Example");
        assert!(!examples.is_empty(), "{} has no example", code.name());
        for text in examples {
            assert!(check(&text).iter().any(|d| d.code == *code), "the example of {} does not give it", code.name());
        }
        for text in listings(&page, "## Fixed") {
            let left: Vec<_> = check(&text).into_iter().filter(|d| d.code.name().starts_with('E') || d.code == *code).collect();
            assert!(left.is_empty(), "the mended example of {}: {left:?}", code.name());
        }
    }
}

#[test]
fn programs_that_must_check_do() {
    for folder in ["tests/pass", "tests/targets", "tests/semantics", "examples", "specs", "lang/std", "book/listings"] {
        for path in programs(folder) {
            assert!(found(&path, &[]).is_empty(), "{path}: {:?}", found(&path, &[]));
        }
    }
}

#[test]
fn what_is_compiled_is_valid() {
    let work = || {
        for folder in ["tests/pass", "tests/targets", "tests/semantics", "examples", "book/listings"] {
            for path in programs(folder) {
                let bytes = std::fs::read(root().join(&path)).expect("the program can be read");
                let compiled = compile(&path, &bytes, &modules());
                for program in &compiled.boxes {
                    assert_eq!(validate(program), Ok(()), "{path}");
                }
                for (test, program) in &compiled.tests {
                    assert_eq!(validate(program), Ok(()), "{path}");
                    assert_eq!(validate_test(program, test), Ok(()), "{path}: {}", test.name);
                }
            }
        }
    };
    let walk = std::thread::Builder::new().stack_size(256 << 20).spawn(work).expect("a thread");
    walk.join().expect("all programs are valid");
}

#[test]
fn the_examples_are_tested() {
    let report = json(&grv(&["test", "--format", "json", "examples"]));
    assert_eq!(report["summary"]["failed"], 0);
    let tests = report["tests"].as_array().expect("a list");
    assert!(tests.len() >= 150, "{} tests", tests.len());
    for name in ["bridge", "firewall", "nat", "lb", "lb-nat", "proxy", "policer", "router"] {
        let own = tests.iter().filter(|t| t["file"].as_str().is_some_and(|f| f.ends_with(&format!("/{name}.grv")))).count();
        assert!(own >= 12, "{name} has {own} tests");
    }
}

#[test]
fn tests_pass() {
    let output = grv(&["test", "--format", "concise", "tests/pass", "tests/semantics", "book/listings"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn any_bytes_are_an_error_and_never_a_panic() {
    let folder = std::env::temp_dir().join(format!("grv-bytes-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let junk = folder.join("junk.grv");
    std::fs::write(&junk, [0xff, 0, b'{', 0x80, b'"', b'\n', b'e', b'l']).expect("a file");
    let output = grv(&["check", &junk.display().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    let capture = format!("inside={}", junk.display());
    let nat = ["run", "examples/nat/nat.grv", "--config", "examples/nat/config.json", "--in", &capture];
    let output = grv(&nat);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("packet 1"));
    let output = grv(&["run", "examples/nat/nat.grv", "--config", &junk.display().to_string(), "--in", &capture]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("line 1"));
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
}

#[test]
fn a_capture_that_breaks_off_is_processed_up_to_there() {
    let folder = std::env::temp_dir().join(format!("grv-cut-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let whole = std::fs::read(root().join("examples/nat/inside.pcap")).expect("the capture");
    let cut = folder.join("cut.pcap");
    std::fs::write(&cut, &whole[..whole.len() - 7]).expect("a file");
    let input = format!("inside={}", cut.display());
    let out = folder.join("out").display().to_string();
    let output = grv(&["run", "examples/nat/nat.grv", "--config", "examples/nat/config.json", "--in", &input, "--out", &out]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("received 17"), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stderr).contains("packet 18"));
    assert!(std::fs::metadata(folder.join("out/outside.pcap")).expect("what left").len() > 500);
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
}

#[test]
fn stf_files_run_against_a_box() {
    let folder = std::env::temp_dir().join(format!("grv-stf-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("bridge.stf");
    let run = |text: &str| {
        std::fs::write(&file, text).expect("a file");
        grv(&["run", "examples/bridge/bridge.grv", "--stf", &file.display().to_string()])
    };
    let frame = "ffffffffffff 020000000001 0800 45";
    let good = run(&format!("# floods\npacket p[0] {frame}\nexpect 1 {frame}$\nexpect p[2] ffff**ff\nexpect p[3]\n"));
    assert!(good.status.success(), "{}", String::from_utf8_lossy(&good.stdout));
    assert_eq!(run(&format!("packet p[0] {frame}\nexpect p[1] 00\n")).status.code(), Some(1));
    assert_eq!(run("packet p[9] 00").status.code(), Some(2));
    std::fs::remove_dir_all(&folder).expect("the folder is ours");
}

/// Each has one property that does not hold, and random events find out, in few events.
#[test]
fn what_is_wrong_is_refuted_by_random_events() {
    for path in programs("tests/refuted") {
        let output = grv(&["test", "--random", "4000", "--seed", "1", &path]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(1), "{path}: {text}");
        assert!(text.contains("`wrong` does not hold"), "{path}: {text}");
        // What each event did stands further in.
        let events = text.lines().filter(|line| !line.starts_with("        ")).count();
        assert!(events <= 8, "{path}: {text}");
    }
}

#[test]
fn what_the_examples_promise_survives_random_events() {
    for path in programs("examples") {
        let output = grv(&["test", "--only", "none of them", "--random", "1500", "--seed", "5", &path]);
        assert_eq!(output.status.code(), Some(0), "{path}: {}", String::from_utf8_lossy(&output.stdout));
    }
}
