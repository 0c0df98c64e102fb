//! Who looks sees what becomes of packets; afterwards the program that was loaded runs again, whatever became of who looked.

use crate::common::root;
use crate::echo::{PATIENCE, SILENCE, udp, udp_server};
use crate::net::{Net, allowed, text};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn network() -> Net {
    let net = Net::new(&["inside", "outside"]);
    net.load("examples/firewall/firewall.grv", &[]);
    net.connect("inside", "192.0.2.1/24");
    net.connect("outside", "192.0.2.2/24");
    udp_server(&net, "outside", 7);
    net
}

/// The number of the program at an interface.
fn program_at(net: &Net, interface: &str) -> u64 {
    let shown = net.ip_output("box", &["-j", "-d", "link", "show", "dev", interface]);
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("it is JSON");
    shown[0]["xdp"]["prog"]["id"].as_u64().unwrap_or_else(|| panic!("no program at {interface}: {shown}"))
}

/// Waits until something is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !so() {
        assert!(begin.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Begins to look, and waits until the trace points are there.
fn look(net: &Net, args: &[&str]) -> Child {
    let before = program_at(net, "inside");
    let mut command = net.command(&[&["trace", net.name.as_str()], args].concat());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command can be run");
    until("the trace points are there", || program_at(net, "outside") != before);
    child
}

fn interrupt(child: &Child, signal: Signal) {
    // `nsenter` has become the command.
    kill_process(Pid::from_child(child), signal).expect("it can be interrupted");
}

#[test]
fn who_looks_sees_why_packets_are_dropped_and_where_they_go() {
    if !allowed("who looks sees why packets are dropped and where they go") {
        return;
    }
    let net = network();
    let before = program_at(&net, "inside");
    let child = look(&net, &["--format", "json-lines"]);
    assert!(udp(&net, "inside", "192.0.2.2:7", PATIENCE));
    assert!(!udp(&net, "outside", "192.0.2.1:9", SILENCE));
    std::thread::sleep(Duration::from_millis(200));
    interrupt(&child, Signal::INT);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let events: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../../../schemas/trace.schema.json")).expect("the schema is JSON");
    for name in schema["required"].as_array().expect("a list").iter().filter_map(|name| name.as_str()) {
        assert!(events.iter().all(|event| event.get(name).is_some()), "{name} is missing");
    }
    let of = |port: &str, verdict: &str, words: &str| {
        let mut all = events.iter().filter(|event| event["port"] == port && event["verdict"] == verdict);
        let fits = |event: &&serde_json::Value| event["packet"]["headers"].to_string().contains(words);
        all.find(fits).unwrap_or_else(|| panic!("nothing of {port}, {verdict}, {words} in {events:#?}"))
    };
    let sent = of("inside", "forward", "UDP");
    assert_eq!(sent["to"], serde_json::json!(["outside"]));
    assert_eq!(sent["left"], sent["packet"], "a firewall changes nothing");
    of("outside", "forward", "UDP");
    let dropped = of("outside", "drop", "192.0.2.2 > 192.0.2.1, UDP");
    assert_eq!((&dropped["reason"], &dropped["left"]), (&serde_json::json!("policy"), &serde_json::Value::Null));
    // The line is one that drops for that reason.
    let file = root().join(dropped["file"].as_str().expect("a file"));
    let source = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let line = source.lines().nth(dropped["line"].as_u64().expect("a line") as usize - 1).expect("there is such a line");
    assert!(line.contains("drop \"policy\""), "{line}");
    let bytes = dropped["packet"]["bytes"].as_str().expect("bytes");
    assert!(bytes.len() as u64 / 2 <= dropped["packet"]["length"].as_u64().expect("a length"));
    // Nothing of it is left, and the flow is where it was.
    assert_eq!((program_at(&net, "inside"), program_at(&net, "outside")), (before, before));
    assert!(net.table("filter.flows")["live"].as_u64().is_some_and(|live| live > 0));
    assert!(net.drops("policy") > 0, "drops are counted while somebody looks");
}

#[test]
fn only_what_is_asked_for_is_shown() {
    if !allowed("only what is asked for is shown") {
        return;
    }
    let net = network();
    let mut child = look(&net, &["--reason", "policy", "--port", "outside", "--count", "24", "--format", "full"]);
    assert!(udp(&net, "inside", "192.0.2.2:7", PATIENCE));
    assert!(!udp(&net, "outside", "192.0.2.1:9", SILENCE));
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut next = || lines.by_ref().next().expect("a line").expect("text");
    let first = next();
    assert!(first.contains("outside DROP policy: UDP 192.0.2.2:") && first.contains("> 192.0.2.1:9"), "{first}");
    let second = next();
    assert!(second.starts_with("  at examples/firewall/firewall.grv:") && second.contains("drop \"policy\""), "{second}");
    assert!(next().starts_with("  Ethernet "));
    assert!(child.try_wait().expect("it can be asked").is_none(), "a few are not so many");
    until("it ends after so many", || {
        udp(&net, "outside", "192.0.2.1:9", Duration::from_millis(50));
        child.try_wait().expect("it can be asked").is_some()
    });
    assert_eq!(child.wait().expect("it has ended").code(), Some(0));
    assert_eq!(1 + lines.map_while(Result::ok).filter(|line| line.contains("DROP policy")).count(), 24);

    // What cannot be asked for is said.
    for (args, said) in [
        (["--port", "host"], "the box has no port `host`; it has inside, outside"),
        (["--reason", "polizy"], "the box drops nothing as `polizy`; its reasons are `malformed`, `policy`"),
    ] {
        let output = net.try_grv(&[["trace", net.name.as_str()], args].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(said), "{}", text(&output.stderr));
    }
}

#[test]
fn a_flood_is_counted_and_not_shown() {
    if !allowed("a flood is counted and not shown") {
        return;
    }
    let net = network();
    let child = look(&net, &["--verdict", "drop", "--rate", "20"]);
    net.within("outside", || {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
        for _ in 0..2_000 {
            let _sent = socket.send_to(b"flood", "192.0.2.1:9");
        }
    });
    std::thread::sleep(Duration::from_millis(300));
    interrupt(&child, Signal::INT);
    let output = child.wait_with_output().expect("it ends");
    let shown = text(&output.stdout).lines().filter(|line| line.contains("DROP")).count();
    assert!((1..200).contains(&shown), "{shown} are shown");
    assert!(text(&output.stderr).contains("more packets are not shown (--rate)"), "{}", text(&output.stderr));
}

#[test]
fn a_tracer_that_is_killed_leaves_nothing() {
    if !allowed("a tracer that is killed leaves nothing") {
        return;
    }
    let net = network();
    let before = program_at(&net, "inside");
    let mut child = look(&net, &[]);
    // A second one is not let in.
    let output = net.try_grv(&["trace", &net.name]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("is being traced already"), "{}", text(&output.stderr));
    interrupt(&child, Signal::KILL);
    child.wait().expect("it has ended");
    assert!(udp(&net, "inside", "192.0.2.2:7", PATIENCE), "the box works");
    // The next command puts the program back.
    net.grv(&["stats", &net.name]);
    assert_eq!((program_at(&net, "inside"), program_at(&net, "outside")), (before, before));
    assert!(udp(&net, "inside", "192.0.2.2:7", PATIENCE), "the box works");

    // A box that is unloaded, or replaced, is not looked at any more, and nothing is put back.
    let child = look(&net, &[]);
    net.grv(&["load", "examples/firewall/firewall.grv", "--name", &net.name, "--replace", "--allow-unproved"]);
    let new = program_at(&net, "inside");
    until("it goes on with the new version", || program_at(&net, "inside") != new);
    assert!(udp(&net, "inside", "192.0.2.2:7", PATIENCE), "the box works");
    net.grv(&["unload", &net.name]);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("another version has taken its place"), "{}", text(&output.stderr));
    assert!(!Command::new("ls").arg(format!("/sys/fs/bpf/grv/{}", net.name)).status().expect("it can be run").success());
}
