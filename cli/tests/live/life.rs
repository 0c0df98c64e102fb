//! A box outlives the command that loaded it, and is found again; what cannot be is refused, and leaves nothing behind.

use crate::net::{Net, allowed, text};
use grv_codegen::ebpf::SCHEMA;
use std::process::Stdio;

const POLICER: &str = "examples/policer/policer.grv";

fn schema(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("the schema is JSON")
}

/// All that a schema asks for is there.
fn required(schema: &serde_json::Value, value: &serde_json::Value) {
    for name in schema["required"].as_array().expect("a list") {
        assert!(value.get(name.as_str().expect("a name")).is_some(), "{name} is missing in {value}");
    }
}

#[test]
fn what_is_not_proved_is_not_loaded_unless_that_is_allowed() {
    if !allowed("what is not proved is not loaded unless that is allowed") {
        return;
    }
    let net = Net::new(&["a", "b"]);
    let object = std::env::temp_dir().join(format!("{}.o", net.name));
    let path = object.display().to_string();
    net.grv(&["build", POLICER, "--target", "ebpf", "--allow-unproved", "-o", &path]);
    let load = ["load", path.as_str(), "--name", &net.name, "--port", "a=a", "--port", "b=b"];
    let output = net.try_grv(&load);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("is not proved"), "{}", text(&output.stderr));
    assert_eq!(net.try_grv(&["state", &net.name]).status.code(), Some(2), "nothing is loaded");
    net.grv(&[load.as_slice(), &["--allow-unproved"]].concat());
    assert!(net.grv(&["state", &net.name]).contains("Policer, unproved: a at a, b at b"));
    let shown: serde_json::Value =
        serde_json::from_str(&net.grv(&["state", &net.name, "--format", "json"])).expect("the state is JSON");
    let schema = schema(include_str!("../../../schemas/state.schema.json"));
    required(&schema, &shown);
    required(&schema["$defs"]["table"], &shown["tables"][0]);
    let shown: serde_json::Value =
        serde_json::from_str(&net.grv(&["stats", &net.name, "--format", "json"])).expect("the counters are JSON");
    let schema = self::schema(include_str!("../../../schemas/stats.schema.json"));
    required(&schema, &shown);
    required(&schema["$defs"]["port"], &shown["ports"][0]);
    required(&schema["$defs"]["drops"], &shown["drops"][0]);
    let metrics = net.grv(&["stats", &net.name, "--format", "prometheus"]);
    assert!(
        metrics.contains(&format!("grv_dropped_packets_total{{box=\"{}\",port=\"a\",reason=\"rate\"}} 0", net.name)),
        "{metrics}"
    );
    // A second one under the same name, or at the same interfaces, is refused; and then it is gone.
    assert_eq!(net.try_grv(&[load.as_slice(), &["--allow-unproved"]].concat()).status.code(), Some(2));
    let other = format!("{}-2", net.name);
    let again = ["load", path.as_str(), "--name", &other, "--port", "a=a", "--port", "b=b", "--allow-unproved"];
    let output = net.try_grv(&again);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("has an XDP program already"), "{}", text(&output.stderr));
    net.grv(&["unload", &net.name]);
    assert_eq!(net.try_grv(&["unload", &net.name]).status.code(), Some(2));
    net.grv(&again);
    net.grv(&["unload", &other]);
    std::fs::remove_file(&object).expect("the object can be removed");
}

#[test]
fn of_two_loads_under_one_name_one_is_refused() {
    if !allowed("of two loads under one name one is refused") {
        return;
    }
    let net = Net::new(&["a", "b", "c", "d"]);
    let object = std::env::temp_dir().join(format!("{}.o", net.name));
    let path = object.display().to_string();
    net.grv(&["build", "examples/firewall/firewall.grv", "--target", "ebpf", "--allow-unproved", "-o", &path]);
    // The kernel takes a while to check it; meanwhile both are on their way.
    let start = |ports: [&str; 2]| {
        let mut command = net.command(&["load", &path, "--name", &net.name, "--allow-unproved"]);
        command.args(ports.iter().flat_map(|port| ["--port", port]));
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the command can be run")
    };
    let mut both = [start(["inside=a", "outside=b"]), start(["inside=c", "outside=d"])];
    let mut codes = both.each_mut().map(|command| command.wait().expect("it ends").code());
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(2)]);
    net.grv(&["unload", &net.name]);
    std::fs::remove_file(&object).expect("the object can be removed");
}

#[test]
fn ports_are_asked_for_by_name() {
    if !allowed("ports are asked for by name") {
        return;
    }
    let net = Net::new(&["a", "b"]);
    let refused = |ports: &[&str], why: &str| {
        let output = net.try_grv(&[&["load", POLICER, "--name", &net.name, "--allow-unproved"], ports].concat());
        assert_eq!(output.status.code(), Some(2), "{ports:?}");
        assert!(text(&output.stderr).contains(why), "{ports:?}: {}", text(&output.stderr));
    };
    refused(&["--port", "a=a"], "which interface is `b`?");
    refused(&["--port", "a=a", "--port", "b=nowhere"], "there is no interface `nowhere`");
    refused(&["--port", "a=a", "--port", "b=a"], "`a` is given to two ports");
    net.ip("box", &["link", "add", "link", "a", "name", "above", "type", "macvlan"]);
    for (a, b) in [("a", "above"), ("above", "a")] {
        refused(&["--port", &format!("a={a}"), "--port", &format!("b={b}")], "one lies above the other");
    }
    refused(&["--port", "a=a", "--port", "c=b"], "the box has no port `c`");
    refused(&["--port", "a"], "PORT=INTERFACE is expected");
}

#[test]
fn objects_with_broken_manifests_are_refused() {
    if !allowed("objects with broken manifests are refused") {
        return;
    }
    let net = Net::new(&["a", "b"]);
    let object = std::env::temp_dir().join(format!("{}-broken.o", net.name));
    let path = object.display().to_string();
    net.grv(&["build", POLICER, "--target", "ebpf", "--allow-unproved", "-o", &path]);
    let good = std::fs::read(&object).expect("the object is there");
    let at = |what: &str| good.windows(what.len()).position(|w| w == what.as_bytes()).expect("the manifest has it");
    let [known, unknown] = [SCHEMA, SCHEMA + 1].map(|schema| format!("\"schema_version\": {schema}"));
    let changes: [(&str, &str); 5] = [
        (&known, &unknown),
        ("\"digest\": \"blake3:", "\"digest\": \"blake4:"),
        ("\"keeping\": \"buckets\"", "\"keeping\": \"bukkets\""),
        ("\"middlebox\": \"Policer\"", "\"middlebox\": \"Palicer\""),
        ("\"key_bytes\": 4", "\"key_bytes\": 1"),
    ];
    for (from, to) in changes {
        let mut bytes = good.clone();
        let start = at(from);
        bytes[start..start + to.len()].copy_from_slice(to.as_bytes());
        std::fs::write(&object, &bytes).expect("it can be written");
        let output = net.try_grv(&["load", &path, "--name", &net.name, "--port", "a=a", "--port", "b=b", "--allow-unproved"]);
        assert_eq!(output.status.code(), Some(1), "{to}: {}", text(&output.stderr));
    }
    for bytes in [&good[..good.len() / 2], b"", b"not an object", &good[..64]] {
        std::fs::write(&object, bytes).expect("it can be written");
        let output = net.try_grv(&["load", &path, "--name", &net.name, "--port", "a=a", "--port", "b=b", "--allow-unproved"]);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    }
    std::fs::remove_file(&object).expect("the object can be removed");
}

#[test]
fn far_ends_that_lose_packets_are_told_of() {
    if !allowed("far ends that lose packets are told of") {
        return;
    }
    let net = Net::new(&["a", "b"]);
    let load = ["load", POLICER, "--name", &net.name, "--port", "a=a", "--port", "b=b", "--allow-unproved"];
    let said = |more: &[&str]| {
        let output = net.try_grv(&[load.as_slice(), more].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        net.grv(&["unload", &net.name]);
        text(&output.stderr)
    };
    let first = said(&[]);
    for port in ["a", "b"] {
        assert!(first.contains(&format!("`{port}-far`, the other end of `{port}`, does not take redirected packets")), "{first}");
        assert!(first.contains(&format!("`{port}-far`, the other end of `{port}`, leaves checksums")), "{first}");
    }
    // Of an end that is down it cannot be mended.
    net.ip("box", &["link", "set", "dev", "a-far", "down"]);
    let down = said(&["--fix"]);
    assert!(down.contains("`a-far`, the other end of `a`, does not take redirected packets"), "{down}");
    assert!(!down.contains("b-far"), "{down}");
    net.ip("box", &["link", "set", "dev", "a-far", "up"]);
    let up = said(&["--fix"]);
    assert!(!up.contains("far"), "{up}");
    // What was mended stays so, also where it cannot be looked at.
    net.connect("a", "192.0.2.1/24");
    let elsewhere = said(&[]);
    assert!(!elsewhere.contains("must take redirected packets") && elsewhere.contains("must not leave checksums"), "{elsewhere}");
}

#[test]
fn what_the_kernel_refuses_is_told_by_line_and_reason() {
    if !allowed("what the kernel refuses is told by line and reason") {
        return;
    }
    let net = Net::new(&["a", "b"]);
    let object = std::env::temp_dir().join(format!("{}-refused.o", net.name));
    let path = object.display().to_string();
    net.grv(&["build", POLICER, "--target", "ebpf", "--allow-unproved", "-o", &path]);
    let mut bytes = std::fs::read(&object).expect("the object is there");
    // A load of four bytes at an offset of 4 from the context, which is made one at an offset of 100.
    let load =
        |window: &[u8]| matches!(window, [0x61, registers, 4, 0, 0, 0, 0, 0] if registers >> 4 == 1 || registers >> 4 == 2);
    let at = bytes.windows(8).position(load).expect("the program asks where the packet ends");
    bytes[at + 2] = 100;
    std::fs::write(&object, &bytes).expect("it can be written");
    let load = ["load", path.as_str(), "--name", &net.name, "--port", "a=a", "--port", "b=b", "--allow-unproved"];
    let output = net.try_grv(&load);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    for part in
        ["the kernel refuses the program `policer`", "policer.grv:", "because: invalid bpf_context access", "--kernel-log"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let output = net.try_grv(&[load.as_slice(), &["--kernel-log"]].concat());
    assert!(text(&output.stderr).contains("R1=ctx"), "{}", text(&output.stderr));
    assert_eq!(net.try_grv(&["state", &net.name]).status.code(), Some(2), "nothing is left");
    std::fs::remove_file(&object).expect("the object can be removed");
}

#[test]
fn an_object_for_a_kernel_with_another_clock_is_refused() {
    if !allowed("an object for a kernel with another clock is refused") {
        return;
    }
    let net = Net::new(&["p0", "p1", "p2", "p3"]);
    let object = std::env::temp_dir().join(format!("{}-clock.o", net.name));
    let path = object.display().to_string();
    let mut loaded = Vec::new();
    for hz in ["250", "1000", "none"] {
        net.grv(&["build", "examples/bridge/bridge.grv", "--target", "ebpf", "--allow-unproved", "--hz", hz, "-o", &path]);
        let ports = ["--port", "p[0]=p0", "--port", "p[1]=p1", "--port", "p[2]=p2", "--port", "p[3]=p3"];
        let load = [["load", &path, "--name", &net.name, "--allow-unproved"].as_slice(), &ports].concat();
        let output = net.try_grv(&load);
        if output.status.success() {
            loaded.push(hz);
            net.grv(&["unload", &net.name]);
        } else {
            let errors = text(&output.stderr);
            assert!(errors.contains("ticks of its clock a second") && errors.contains("build it with `--hz"), "{hz}: {errors}");
        }
    }
    std::fs::remove_file(&object).expect("the object can be removed");
    // No kernel has both.
    assert!(loaded.last() == Some(&"none") && loaded.len() <= 2, "{loaded:?}");
}

#[test]
fn what_is_built_in_is_not_changed_by_a_configuration() {
    if !allowed("what is built in is not changed by a configuration") {
        return;
    }
    let net = Net::new(&["a", "b"]);
    let file = |end: &str| std::env::temp_dir().join(format!("{}.{end}", net.name));
    let (object, other) = (file("o"), file("json"));
    let (path, config) = (object.display().to_string(), other.display().to_string());
    let build = ["build", "examples/nat/nat.grv", "--target", "ebpf", "--allow-unproved", "-o", &path];
    net.grv(&[&build[..], &["--config", "examples/nat/config.json"]].concat());
    let load = ["load", &path, "--name", &net.name, "--port", "inside=a", "--port", "outside=b", "--allow-unproved"];
    std::fs::write(&other, r#"{"params": {"public": "198.51.100.1"}}"#).expect("a file");
    let output = net.try_grv(&[&load[..], &["--config", &config]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("`Nat` was built with another `public`"), "{}", text(&output.stderr));
    // So it is if parameters before it are not built in.
    let part = |address: &str| {
        let interface = r#""mac": "02:00:00:00:02:01", "subnet": "203.0.113.0/24", "gateway": "203.0.113.2""#;
        let config_of = format!(r#"{{"params": {{"outside_if": {{"address": "{address}", {interface}}}}}}}"#);
        std::fs::write(&other, config_of).expect("a file");
    };
    part("203.0.113.1");
    net.grv(&[&build[..], &["--config", &config]].concat());
    part("203.0.113.9");
    let output = net.try_grv(&[&load[..], &["--config", &config]].concat());
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("`Nat` was built with another `outside_if`"), "{}", text(&output.stderr));
    net.grv(&[&build[..], &["--config", "examples/nat/config.json"]].concat());
    // Nothing has to be given; and what sweeps its tables knows what was built in.
    let output = net.try_grv(&load);
    assert!(output.status.success() && !text(&output.stderr).contains("another version"), "{}", text(&output.stderr));
    for file in [object, other] {
        std::fs::remove_file(&file).expect("the file can be removed");
    }
}
