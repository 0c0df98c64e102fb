//! `grv verify` as a command: what it shows, what it exits with, and that nothing that goes wrong makes it green.

use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const GATE: &str = "tests/verify/gate.grv";
const WRONG: &str = "tests/verify/wrong.grv";
const ASSUMED: &str = "tests/verify/assumed.grv";

/// A solver that says who it is; what follows is up to the test.
const HELLO: &str = r#"echo '{"name":"z3","version":"5.4.1.0","options":"","new_enough":true}'"#;

/// A folder of a test's own, empty.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("an old folder can be removed");
    }
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

/// A program of a shell, for the part of a solver.
fn script(folder: &Path, text: &str) -> String {
    let path = folder.join("solver.sh");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script can be written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it can be made to run");
    path.display().to_string()
}

fn command(args: &[&str], variables: &[(&str, &str)]) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(env!("CARGO_BIN_EXE_grv"));
    command.args(args).current_dir(root).env_remove("GRV_CACHE").env("GRV_SOLVER", env!("CARGO_BIN_EXE_grv-solver"));
    command.envs(variables.iter().copied());
    command
}

fn grv(args: &[&str], variables: &[(&str, &str)]) -> Output {
    command(args, variables).output().expect("grv can be run")
}

/// `grv verify` with few random events, which are enough for these programs.
fn verify(args: &[&str], variables: &[(&str, &str)]) -> Output {
    grv(&[&["verify", "--events", "400"], args].concat(), variables)
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("no JSON ({e}): {}{}", out(output), err(output)))
}

/// Whether it failed, and called nothing proved.
fn is_red(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}{}", out(output), err(output));
    assert!(!out(output).contains("proved"), "{}", out(output));
}

/// One property that the solver is needed for.
const ONE: [&str; 5] = [GATE, "--property", "same", "--format", "concise"];

fn one(more: &[&str], variables: &[(&str, &str)]) -> Output {
    verify(&[&ONE[..], more].concat(), variables)
}

#[test]
fn a_checksum_over_other_bytes_is_another() {
    let cut = grv(
        &["verify", "--events", "1", "--cache", "off", "--property", "wrong", "--format", "concise", "tests/verify/cut.grv"],
        &[],
    );
    assert!(!out(&cut).contains("proved") && out(&cut).contains("`wrong`"), "{}{}", out(&cut), err(&cut));
}

#[test]
fn what_was_undone_does_not_count() {
    let good = verify(&["tests/verify/undone.grv", "--format", "concise", "--cache", "off"], &[]);
    assert_eq!(good.status.code(), Some(0), "{}{}", out(&good), err(&good));
    for name in ["closed", "in_time", "by_others"] {
        assert!(out(&good).contains(&format!("`{name}` proved")), "{}", out(&good));
    }
    // Without random events it is the proof that fails, and a trace is looked for.
    for events in ["3000", "1"] {
        let bad = ["--property", "wrong", "--format", "concise", "--cache", "off", "tests/refuted/only-after-unless.grv"];
        let bad = grv(&[&["verify", "--events", events][..], &bad].concat(), &[]);
        assert_eq!(bad.status.code(), Some(1), "{}{}", out(&bad), err(&bad));
        assert!(out(&bad).contains("`wrong` refuted"), "{}", out(&bad));
    }
}

#[test]
fn lifetimes_are_those_of_clocks_that_differ() {
    let lag = verify(&["tests/verify/lag.grv", "--cache", "off"], &[]);
    assert_eq!(lag.status.code(), Some(1), "{}{}", out(&lag), err(&lag));
    assert!(out(&lag).contains("refuted history `exact`") && !out(&lag).contains("refuted history `in_time`"), "{}", out(&lag));
    assert!(out(&lag).contains("past its deadline, by a clock that lags by 1ms"), "{}", out(&lag));
}

#[test]
fn a_report_has_all_that_its_schema_asks_for_and_a_second_one_is_kept() {
    let cache = folder("report");
    let cache = cache.to_str().expect("a path in UTF-8");
    let cold = verify(&[GATE, "--format", "json", "--cache", cache], &[]);
    assert_eq!(cold.status.code(), Some(0), "{}{}", out(&cold), err(&cold));
    let report = json(&cold);
    let schema: Value = serde_json::from_str(include_str!("../../schemas/verify.schema.json")).expect("the schema is JSON");
    let required = |of: &Value, value: &Value| {
        for name in of["required"].as_array().expect("a list") {
            let name = name.as_str().expect("a name");
            assert!(value.get(name).is_some(), "{name} is missing");
        }
    };
    required(&schema, &report);
    let obligations = report["obligations"].as_array().expect("a list");
    assert!(obligations.len() >= 4);
    let mut ids = std::collections::BTreeSet::new();
    for obligation in obligations {
        required(&schema["$defs"]["obligation"], obligation);
        assert_eq!(obligation["verdict"], "proved");
        assert_eq!(obligation["box"], "verify");
        assert!(ids.insert(obligation["id"].to_string()), "{} is there twice", obligation["id"]);
    }
    let place = |o: &Value| (o["file"].to_string(), o["line"].as_u64(), o["id"].to_string());
    assert!(obligations.is_sorted_by_key(place));
    assert_eq!(report["summary"]["proved"], obligations.len());
    let fresh = obligations.iter().find(|o| o["property"] == "fresh").expect("the property is there");
    assert_eq!((&fresh["rows"][0], &fresh["slice"]["elements"][0]), (&"X1".into(), &"way".into()));
    assert!(obligations.iter().any(|o| o["cached"] == false));

    let warm = json(&verify(&[GATE, "--format", "json", "--cache", cache], &[]));
    assert!(warm["obligations"].as_array().expect("a list").iter().all(|o| o["cached"] == true));
    // What is kept is enough for a frozen run, which adds nothing.
    let frozen = verify(&[GATE, "--cache", "frozen"], &[("GRV_CACHE", cache)]);
    assert_eq!(frozen.status.code(), Some(0), "{}{}", out(&frozen), err(&frozen));
    // A cache is no solver.
    is_red(&verify(&[GATE, "--cache", cache], &[("GRV_SOLVER", "/nonexistent/solver")]), 2);
}

#[test]
fn exit_statuses_tell_wrong_from_open() {
    let wrong = verify(&[WRONG, "--cache", "off"], &[]);
    assert_eq!(wrong.status.code(), Some(1));
    let text = out(&wrong);
    for part in
        ["vacuous step", "refuted invariant", "packet inside", "rerun: grv verify tests/verify/wrong.grv --property refuted"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let first = out(&verify(&[WRONG, "--cache", "off", "--fail-fast", "--format", "concise"], &[]));
    assert!(first.contains("`refuted` refuted") && first.contains("`vacuous` not attempted"), "{first}");
    is_red(&verify(&[WRONG, "--property", "vacuous", "--cache", "off", "--format", "concise"], &[]), 1);
    is_red(&verify(&[ASSUMED, "--property", "granted", "--format", "concise", "--cache", "off"], &[]), 1);
    let allowed = verify(&[ASSUMED, "--cache", "off", "--allow-assumed", "grant*"], &[]);
    assert_eq!(allowed.status.code(), Some(0));
    is_red(&verify(&["tests/fail/E0202-unknown-name.grv", "--cache", "off", "--format", "concise"], &[]), 1);
    is_red(&verify(&[GATE, "--property", "nobody", "--cache", "off"], &[]), 2);
    is_red(&verify(&["tests/verify/none.grv"], &[]), 2);
    is_red(&verify(&[GATE, "--budget", "0"], &[]), 2);
}

#[test]
fn properties_are_chosen_by_name_and_place() {
    let names = |args: &[&str]| -> Vec<String> {
        let report = json(&verify(&[&[GATE, "--cache", "off", "--format", "json"], args].concat(), &[]));
        let all = report["obligations"].as_array().expect("a list").clone();
        all.iter().map(|o| o["property"].as_str().expect("a name").to_string()).collect()
    };
    assert_eq!(names(&["--property", "f*h"]), ["fresh"]);
    assert_eq!(names(&["--property", "fresh", "--property", "s?me"]), ["fresh", "same"]);
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(GATE)).expect("the program is there");
    let line = 1 + text.lines().position(|l| l.starts_with("property fresh")).expect("the property is there");
    assert_eq!(names(&["--at", &format!("gate.grv:{line}")]), ["fresh"]);
}

#[test]
fn without_a_good_solver_nothing_is_proved() {
    let missing = one(&["--cache", "off"], &[("GRV_SOLVER", "/nonexistent/solver")]);
    is_red(&missing, 2);
    assert!(err(&missing).contains("cargo xtask setup"), "{}", err(&missing));

    let old = script(
        &folder("old"),
        r#"echo '{"name":"z3","version":"4.8.12","options":"","new_enough":false}'
cat > /dev/null"#,
    );
    let old = one(&["--cache", "off"], &[("GRV_SOLVER", &old)]);
    is_red(&old, 2);
    assert!(err(&old).contains("z3 4.8.12 is too old: 4.13.3"), "{}", err(&old));

    let mute = script(&folder("mute"), "exit 1");
    is_red(&one(&["--cache", "off"], &[("GRV_SOLVER", &mute)]), 2);
    let babble = script(&folder("babble"), "echo unsat; cat");
    is_red(&one(&["--cache", "off"], &[("GRV_SOLVER", &babble)]), 2);
}

#[test]
fn a_solver_that_dies_or_talks_nonsense_leaves_questions_open() {
    let answers = [
        ("dies", "read question; exit 1".to_string()),
        ("nonsense", "while read question; do echo unsat; done".to_string()),
        // An answer to another question.
        (
            "late",
            r#"while read question; do echo '{"number":0,"content":{"status":"unsat","resource":1,"model":""}}'; done"#
                .to_string(),
        ),
    ];
    for (name, then) in answers {
        let cache = folder(name);
        let solver = script(&cache, &format!("{HELLO}\n{then}"));
        let run = one(&["--cache", cache.to_str().expect("a path in UTF-8")], &[("GRV_SOLVER", &solver)]);
        is_red(&run, 3);
        assert!(out(&run).contains("unknown"), "{}", out(&run));
    }
}

#[test]
fn a_budget_that_is_used_up_proves_nothing() {
    let cache = folder("budget");
    let cache = cache.to_str().expect("a path in UTF-8");
    is_red(&one(&["--cache", cache, "--budget", "1"], &[]), 3);
    let proved = one(&["--cache", cache], &[]);
    assert_eq!(proved.status.code(), Some(0), "{}{}", out(&proved), err(&proved));
    // An answer that is kept and cost more than may be spent now does not count.
    is_red(&one(&["--cache", cache, "--budget", "1"], &[]), 3);
}

/// All entries of a cache.
fn kept(folder: &Path) -> Vec<PathBuf> {
    let files =
        |folder: &Path| std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()).collect::<Vec<_>>();
    files(folder).iter().filter(|p| p.is_dir()).flat_map(|p| files(p)).collect()
}

#[test]
fn an_entry_that_is_damaged_old_or_foreign_is_none() {
    let cache = folder("damaged");
    let path = cache.to_str().expect("a path in UTF-8");
    let solver = script(&cache, &format!("{HELLO}\nread question; exit 1"));
    assert_eq!(one(&["--cache", path], &[]).status.code(), Some(0));
    let whole: Vec<(PathBuf, String)> =
        kept(&cache).into_iter().map(|p| (p.clone(), std::fs::read_to_string(p).expect("an entry"))).collect();
    assert!(whole.len() >= 2);
    // The solver must answer again, which this one cannot. It says that it is another one, too: its answers are its own.
    is_red(&one(&["--cache", path], &[("GRV_SOLVER", &solver)]), 3);
    let ways: [(&str, &dyn Fn(usize) -> String); 3] = [
        ("damaged", &|i| whole[i].1.replacen("true", "fals", 1).replacen(':', ";", 1)),
        ("old", &|i| whole[i].1.replacen("grv-cache 1", "grv-cache 0", 1)),
        ("foreign", &|i| whole[(i + 1) % whole.len()].1.clone()),
    ];
    for (way, text) in ways {
        for (index, (path, _)) in whole.iter().enumerate() {
            std::fs::write(path, text(index)).expect("an entry can be written");
        }
        let frozen = one(&["--cache", "frozen"], &[("GRV_CACHE", path)]);
        is_red(&frozen, 3);
        assert!(out(&frozen).contains("the cache is frozen and has no answer"), "{way}: {}", out(&frozen));
        assert!(err(&frozen).contains("remark: "), "{way}: {}", err(&frozen));
        // It is found out anew, and kept anew.
        let again = one(&["--cache", path], &[]);
        assert_eq!(again.status.code(), Some(0), "{way}: {}{}", out(&again), err(&again));
        assert_eq!(one(&["--cache", "frozen"], &[("GRV_CACHE", path)]).status.code(), Some(0), "{way}");
    }
}

#[test]
fn an_interrupted_run_decides_nothing_and_ends_its_solver() {
    let cache = folder("interrupted");
    let pids = cache.join("pids");
    let solver = script(&cache, &format!("echo $$ >> {}\n{HELLO}\nread question; exec sleep 600", pids.display()));
    let path = cache.to_str().expect("a path in UTF-8");
    let child = command(&[&["verify", "--events", "100", "--cache", path][..], &ONE].concat(), &[("GRV_SOLVER", &solver)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("grv can be run");
    let start = Instant::now();
    while !pids.exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "the solver does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(500));
    let signal = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill can be run");
    assert!(signal.success());
    let ended = child.wait_with_output().expect("it ends");
    is_red(&ended, 130);
    assert_eq!(out(&ended), "");
    assert!(kept(&cache).is_empty());
    for pid in std::fs::read_to_string(&pids).expect("the solvers are known").lines() {
        let alive = Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status().expect("kill can be run");
        assert!(!alive.success(), "the solver {pid} goes on");
    }
}

#[test]
fn questions_are_written_and_given_to_a_second_solver() {
    let own = folder("cross");
    let files = own.join("questions");
    let args = ["--cache", "off", "--smt2", files.to_str().expect("a path in UTF-8"), "--cross-check"];
    let missing = one(&args, &[("GRV_CROSS_SOLVER", "/nonexistent/cvc5")]);
    is_red(&missing, 2);
    assert!(err(&missing).contains("apt-get install cvc5"), "{}", err(&missing));
    let says = |word: &str| script(&own, &format!("echo {word}"));
    let agreed = one(&args, &[("GRV_CROSS_SOLVER", &says("unsat"))]);
    assert_eq!(agreed.status.code(), Some(0), "{}{}", out(&agreed), err(&agreed));
    let contrary = one(&args, &[("GRV_CROSS_SOLVER", &says("sat"))]);
    is_red(&contrary, 101);
    let unfinished = one(&args, &[("GRV_CROSS_SOLVER", &says("unknown"))]);
    assert_eq!(unfinished.status.code(), Some(0));
    assert!(!out(&unfinished).contains("did not finish 0"), "{}", out(&unfinished));
    let mut written = 0;
    for file in std::fs::read_dir(&files).expect("questions are written") {
        let text = std::fs::read_to_string(file.expect("an entry").path()).expect("it can be read");
        assert!(text.contains("; expected, if it holds: unsat\n") && text.contains("(set-logic ALL)\n"));
        assert!(text.ends_with("(check-sat)\n"));
        written += 1;
    }
    assert!(written > 0);
}

#[test]
fn forms_for_other_programs_are_well_formed() {
    let show = |format: &str| verify(&[WRONG, "--cache", "off", "--format", format], &[]);
    let sarif = json(&show("sarif"));
    let results = sarif["runs"][0]["results"].as_array().expect("a list");
    assert_eq!(sarif["version"], "2.1.0");
    assert_eq!(results.len(), 2);
    assert!(results.iter().all(|r| r["partialFingerprints"]["grvObligation/v1"].as_str().is_some_and(|f| f.len() == 32)));
    let flow = results.iter().find(|r| r["ruleId"] == "invariant").expect("it is refuted");
    assert!(flow["codeFlows"][0]["threadFlows"][0]["locations"].as_array().is_some_and(|l| l.len() >= 2));

    let junit = out(&show("junit"));
    // Beside the two, what every program is obliged to is shown.
    assert!(junit.contains(r#"failures="2" errors="0""#), "{junit}");
    assert!(junit.matches("<testcase").count() > 2, "{junit}");
    let whole = junit.lines().filter(|l| l.trim().starts_with("<testcase") && l.ends_with("/>")).count();
    assert_eq!(junit.matches("<testcase").count(), whole + junit.matches("</testcase>").count());

    let github = out(&show("github"));
    assert!(github.lines().all(|l| l.starts_with("::error file=tests/verify/wrong.grv,line=")), "{github}");
    assert_eq!(github.lines().count(), 2);

    let lines = out(&show("json-lines"));
    let all: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).expect("a line is JSON")).collect();
    assert_eq!(all.iter().filter(|o| o["verdict"] != "proved").count(), 2);
    assert!(all.iter().any(|o| o["counterexample"]["events"][0]["kind"] == "packet"));
}

#[test]
fn rows_assumptions_and_seeds_are_listed() {
    let table = json(&verify(&[GATE, "--cache", "off", "--format", "json", "--compliance"], &[]));
    let rows = table["compliance"].as_array().expect("a list");
    let of = |name: &str| rows.iter().find(|row| row["row"] == name).expect("the row is claimed");
    assert_eq!((&of("X1")["property"], &of("X1")["verdict"]), (&"fresh".into(), &"proved".into()));
    assert_eq!(of("M6")["verdict"], "proved");

    let audit = out(&grv(&["audit", ASSUMED], &[]));
    assert!(audit.contains("granted at tests/verify/assumed.grv") && audit.contains("it is said elsewhere"), "{audit}");

    let stable = grv(&["stability", GATE, "--seeds", "2", "--property", "same", "--events", "400", "--json"], &[]);
    assert_eq!(stable.status.code(), Some(0), "{}{}", out(&stable), err(&stable));
    let spread = &json(&stable)["obligations"][0];
    assert_eq!(spread["verdicts"], serde_json::json!(["proved"]));
    assert!(spread["resource"][0].as_u64().is_some_and(|units| units > 0));
}

/// An example of the repository with a change, alone in a folder.
fn changed(name: &str, path: &str, old: &str, new: &str) -> PathBuf {
    let text =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).expect("the program is there");
    assert_eq!(text.matches(old).count(), 1, "{path}: {old}");
    let file = folder(name).join(Path::new(path).file_name().expect("a file"));
    std::fs::write(&file, text.replace(old, new)).expect("it can be written");
    file
}

#[test]
fn counterexamples_are_saved_as_tests_and_captures() {
    let program = changed("saved", WRONG, "property vacuous", "property nothing");
    let own = program.parent().expect("a folder");
    let (tests, captures) = (own.join("found.grv"), own.join("captures"));
    let paths = [&program, &tests, &captures].map(|p| p.to_str().expect("a path in UTF-8"));
    let args = [paths[0], "--cache", "off", "--save-test", paths[1], "--save-pcap", paths[2]];
    for times in 1..3 {
        let saved = verify(&args, &[]);
        assert_eq!(saved.status.code(), Some(1), "{}{}", out(&saved), err(&saved));
        let text = std::fs::read_to_string(&tests).expect("tests are saved");
        assert!(text.starts_with("use wrong::Gate;\n"), "{text}");
        assert_eq!(text.matches("assert property \"refuted\";").count(), times, "{text}");
    }
    let failing = grv(&["test", paths[1], "--format", "concise"], &[]);
    assert_eq!(failing.status.code(), Some(1), "{}{}", out(&failing), err(&failing));
    assert!(out(&failing).contains("FAIL refuted: refuted (2): `refuted` does not hold of what happened"), "{}", out(&failing));
    // The captures are those of the trace.
    let folder = captures.join("saved_wrong_Gate_refuted");
    for port in ["in-inside.pcap", "out-outside.pcap"] {
        assert!(std::fs::metadata(folder.join(port)).expect("a capture").len() > 24 + 16, "{port}");
    }
    let ran = grv(&["run", paths[0], "--in", &format!("inside={}", folder.join("in-inside.pcap").display())], &[]);
    assert_eq!(ran.status.code(), Some(0), "{}{}", out(&ran), err(&ran));
    // Once the program keeps its promise, so do the tests.
    let mended = std::fs::read_to_string(&program).expect("the program").replace("< now + 60s", "<= now + 60s");
    std::fs::write(&program, mended).expect("it can be written");
    let passing = grv(&["test", paths[1], "--format", "concise"], &[]);
    assert_eq!(passing.status.code(), Some(0), "{}{}", out(&passing), err(&passing));
}

#[test]
fn a_sum_is_exceeded_by_a_burst_and_what_is_alike_is_told_once() {
    let program = changed(
        "burst",
        "examples/policer/policer.grv",
        "exceeds => drop \"rate\",",
        "exceeds => { if p.length > 1_000 { drop \"rate\" } emit passed; }",
    );
    let path = program.to_str().expect("a path in UTF-8");
    let args = [path, "--property", "limited", "--cache", "off", "--format"];
    let report = json(&verify(&[&args[..], &["json"]].concat(), &[]));
    let limited = &report["obligations"][0];
    assert_eq!(limited["verdict"], "refuted", "{limited}");
    let events = limited["counterexample"]["events"].as_array().expect("a list");
    let packets: u64 = events.iter().map(|e| 1 + e["more"]["count"].as_u64().unwrap_or(0)).sum();
    assert!(packets > 40 && events.len() < 8, "{limited}");
    for event in events.iter().filter(|e| !e["more"].is_null()) {
        let (more, at) = (&event["more"], event["more"]["at"].as_array().expect("a list").len());
        let bytes = more["bytes"].as_str().expect("hexadecimal");
        assert_eq!(Some(bytes.len() as u64), more["count"].as_u64().map(|count| count * 2 * at as u64));
    }
    let text = out(&verify(&[&args[..], &["full"]].concat(), &[]));
    assert!(text.contains("... and ") && text.contains(" more like it"), "{text}");
    assert!(text.lines().all(|line| line.len() < 400), "{text}");
}

#[test]
fn what_is_not_inductive_shows_the_state() {
    let of = |format: &str| {
        verify(&["book/listings/06-no-rule.grv", "--property", "no_port_zero", "--cache", "off", "--format", format], &[])
    };
    let report = json(&of("json"));
    let state = &report["obligations"][0]["state"];
    assert_eq!(state["step"], "in every state", "{state}");
    let row = |table: &str| state["rows"].as_array().expect("a list").iter().find(|row| row["table"] == table).cloned();
    assert!(row("filter.rules").or_else(|| row("filter.flows")).is_some(), "{state}");
    let fields = state["packets"][0]["fields"].as_array().expect("a list");
    let port = fields.iter().find(|f| f["name"].as_str().is_some_and(|name| name.ends_with("Udp.dst"))).expect("the port");
    assert_eq!(port["value"], "0", "{state}");
    for format in ["full", "github", "junit", "sarif"] {
        let text = out(&of(format));
        assert!(text.contains("may not be reachable") && text.contains("Udp.dst 0"), "{format}: {text}");
    }
}

/// The outcome of the listings that the book shows.
#[test]
fn the_listings_of_the_book_are_as_it_says() {
    for (name, status, outcome) in [
        ("04-promises", 0, "25 obligations: 25 proved"),
        ("05-port-zero", 1, "step `no_port_zero` refuted"),
        ("06-no-rule", 3, "step `no_port_zero` not inductive"),
        ("07-properties", 0, "28 obligations: 28 proved"),
        ("08-forgetful", 1, "persistence `answers_stay` refuted"),
    ] {
        let output = verify(&[&format!("book/listings/{name}.grv"), "--cache", "off", "--format", "concise"], &[]);
        assert_eq!(output.status.code(), Some(status), "{name}: {}{}", out(&output), err(&output));
        assert!(out(&output).contains(outcome), "{name}: {}", out(&output));
    }
}
