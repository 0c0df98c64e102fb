//! Whoever replaces a box may be killed at any time: one of the two versions goes on, and the next command finds it whole.

use crate::echo::{PATIENCE, udp, udp_server};
use crate::net::{Net, allowed, text};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn a_box_outlives_who_replaces_it() {
    if !allowed("a box outlives who replaces it") {
        return;
    }
    let net = Net::new(&["inside", "outside"]);
    let object = std::env::temp_dir().join(format!("{}.o", net.name));
    let path = object.display().to_string();
    net.grv(&["build", "examples/firewall/firewall.grv", "--target", "ebpf", "--allow-unproved", "-o", &path]);
    net.load(&path, &[]);
    net.connect("inside", "192.0.2.1/24");
    net.connect("outside", "192.0.2.2/24");
    udp_server(&net, "outside", 7);
    let works = || udp(&net, "inside", "192.0.2.2:7", PATIENCE);
    assert!(works());
    let replace = || {
        let mut command = net.command(&["load", &path, "--name", &net.name, "--replace", "--allow-unproved"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the command can be run")
    };
    let begin = Instant::now();
    assert!(replace().wait().expect("it ends").success());
    let whole = begin.elapsed();
    assert!(works());

    let folder = format!("/sys/fs/bpf/grv/{}", net.name);
    let (next, gate) = (format!("{folder}+next"), format!("{folder}+next/gate/decision"));
    let (mut midway, mut closed) = (0, 0);
    for round in 0..18_u32 {
        let mut child = replace();
        let begin = Instant::now();
        let appears = |place: &str| {
            while !Path::new(place).exists() && begin.elapsed() < whole * 10 {
                std::thread::sleep(Duration::from_micros(200));
            }
        };
        // At any time; or when the new version is being made ready; or when the ports are closed.
        let wait = match round % 3 {
            0 => whole * (round + 1) / 18,
            1 => {
                appears(&next);
                whole * round / 36
            }
            _ => {
                appears(&gate);
                Duration::from_millis(u64::from(round / 3) * 4)
            }
        };
        std::thread::sleep(wait);
        child.kill().expect("it can be killed");
        child.wait().expect("it has ended");
        midway += u32::from(Path::new(&next).exists());
        closed += u32::from(Path::new(&gate).exists());
        // Nobody has to do anything for that.
        assert!(works(), "round {round}: no version goes on");
        // Now and then another one comes before anything else does.
        if round % 4 == 3 {
            assert!(replace().wait().expect("it ends").success(), "round {round}");
        }
        let flows = net.table("filter.flows");
        assert!(flows["live"].as_u64().is_some_and(|live| live > 0), "round {round}: {flows}");
        assert!(!Path::new(&next).exists(), "round {round}: something is left");
        assert!(works(), "round {round}: the version that goes on does not work");
    }
    eprintln!("a box outlives who replaces it: killed midway {midway} times, with the ports closed {closed} times");
    assert!(midway > 0 && closed > 0, "killed midway {midway} times, with the ports closed {closed} times");

    // What was killed midway can be unloaded, too.
    let mut child = replace();
    while !Path::new(&gate).exists() && child.try_wait().expect("it can be asked").is_none() {
        std::thread::sleep(Duration::from_micros(200));
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it has ended");
    net.grv(&["unload", &net.name]);
    assert!(!Path::new(&next).exists() && !Path::new(&folder).exists(), "something is left");
    let output = net.try_grv(&["state", &net.name]);
    assert!(text(&output.stderr).contains("no box"), "{}", text(&output.stderr));
    std::fs::remove_file(&object).expect("the object can be removed");
}
