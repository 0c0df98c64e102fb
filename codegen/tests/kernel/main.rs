//! Programs in the running kernel against the interpreter: the same events, packet by packet, must have the same verdicts, bytes,
//! drops and tables. The clock is the test's (`probe` builds); the interpreter's clock of lifetimes lags as the target's ticks do.
//!
//! Without the right to load programs the tests are skipped by name; with `GRV_NO_SKIP=1` that is a failure. `GRV_KERNEL_RUNS`
//! says how many random runs there are for each box.

#![allow(clippy::unwrap_used, reason = "what is missing in a test is a failure")]
#![allow(clippy::print_stderr, reason = "what is skipped is said, and what fails is shown")]

mod beside;
mod compare;
mod libbpf;
mod loaded;
mod several;
mod sweeper;

use compare::Compared;
use grv_codegen::ebpf::{Hook, Options, Proofs, build};
use grv_lang::compile::{Compilation, compile};
use grv_lang::interp::test::{Recorded, record};
use grv_lang::ir::Program;
use grv_lang::random::{Runs, scripts};
use grv_lang::source::Loader;
use loaded::Loaded;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Finds modules as the command does.
struct Disk;

impl Loader for Disk {
    fn load(&self, module: &[&str], from: &str) -> Option<(String, Vec<u8>)> {
        let file: PathBuf = module.iter().collect::<PathBuf>().with_extension("grv");
        Path::new(from).ancestors().skip(1).find_map(|folder| {
            let path = folder.join(&file);
            Some((path.display().to_string(), std::fs::read(&path).ok()?))
        })
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn compiled(file: &str) -> Compilation {
    let path = root().join(file);
    let bytes = std::fs::read(&path).unwrap();
    let compilation = compile(&path.display().to_string(), &bytes, &Disk);
    assert!(!compilation.failed(), "{file}: {:?}", compilation.diagnostics);
    compilation
}

/// Whether this process may load programs; says so if not.
fn allowed(test: &str) -> bool {
    let permitted = loaded::permitted();
    if let Err(reason) = &permitted {
        skipped(test, reason);
    }
    permitted.is_ok()
}

/// Says that a test is skipped, or fails where none may be.
fn skipped(test: &str, reason: &str) {
    assert!(std::env::var_os("GRV_NO_SKIP").is_none_or(|v| v != "1"), "{test} must not be skipped: {reason}");
    eprintln!("skipped: {test}: {reason}");
}

fn options() -> Options {
    Options { probe: true, ..Options::default() }
}

fn load(hook: Hook, program: &Arc<Program>, of: &Compilation, params: &[Vec<u128>]) -> Loaded {
    let options = Options { hook, ..options() };
    let artefact = match build(program, &of.sources, &options, &Proofs::default()) {
        Ok(artefact) => artefact,
        Err(found) => panic!("{}: {}", program.name, found[0].message),
    };
    Loaded::new(artefact, program, params)
}

/// The events of a program's own tests, then random ones that go on from what tests lead to.
fn agrees(file: &str, random: u64) {
    agrees_at(Hook::Xdp, file, random);
}

fn agrees_at(hook: Hook, file: &str, random: u64) {
    if !allowed(file) {
        return;
    }
    let of = compiled(file);
    let mut packets = 0;
    let mut short = 0;
    for (test, program) in &of.tests {
        let mut recorded = Recorded::default();
        record(test, program, 1, None, usize::MAX, &mut recorded).unwrap_or_else(|e| panic!("{file}: {}: {e}", test.name));
        let mut compared = Compared::new(hook, load(hook, program, &of, &recorded.params), program, &recorded.params);
        for (number, event) in recorded.events.iter().enumerate() {
            compared.happens(event, &format!("{file}: test {:?}, event {number}", test.name));
        }
        compared.ends(&format!("{file}: test {:?}, its end", test.name));
        packets += compared.packets;
        short += compared.short;
    }
    let scale = std::env::var("GRV_KERNEL_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    for program in &of.boxes {
        let runs = Runs::new(program, &scripts(program, &of.tests), None);
        for seed in 0..random * scale {
            let mut events = runs.run(seed);
            let params = events.params.clone();
            let mut compared = Compared::new(hook, load(hook, program, &of, &params), program, &params);
            for number in 0..200 {
                let event = events.next();
                let outcome = compared.happens(&event, &format!("{file}: run {seed}, event {number}"));
                events.caused(&outcome);
            }
            compared.ends(&format!("{file}: run {seed}, its end"));
            packets += compared.packets;
            short += compared.short;
        }
    }
    eprintln!("{file}: {packets} packets agree; {short} too short for the kernel to take");
    assert!(packets > 0, "{file}: nothing was compared");
}

#[test]
fn the_policer_does_what_the_interpreter_does() {
    agrees("examples/policer/policer.grv", 20);
}

#[test]
fn at_tc_boxes_do_what_the_interpreter_does() {
    agrees_at(Hook::Tc, "examples/policer/policer.grv", 10);
    agrees_at(Hook::Tc, "examples/firewall/firewall.grv", 4);
    agrees_at(Hook::Tc, "examples/router/router.grv", 4);
    agrees_at(Hook::Tc, "tests/targets/rewrite.grv", 10);
}

#[test]
fn the_bridge_does_what_the_interpreter_does() {
    agrees("examples/bridge/bridge.grv", 20);
}

#[test]
fn the_router_does_what_the_interpreter_does() {
    agrees("examples/router/router.grv", 20);
}

#[test]
fn the_firewall_does_what_the_interpreter_does() {
    // The kernel takes a second to check it.
    agrees("examples/firewall/firewall.grv", 8);
}

#[test]
fn the_nat_does_what_the_interpreter_does() {
    agrees("examples/nat/nat.grv", 8);
}

#[test]
fn the_proxy_does_what_the_interpreter_does() {
    agrees("examples/proxy/proxy.grv", 8);
}

#[test]
fn the_nat_balancer_does_what_the_interpreter_does() {
    agrees("examples/lb-nat/lb-nat.grv", 8);
}

#[test]
fn the_balancer_does_what_the_interpreter_does() {
    agrees("examples/lb/lb.grv", 8);
}

#[test]
fn headers_fields_and_numbers_are_what_they_are_in_the_interpreter() {
    agrees("tests/targets/rewrite.grv", 30);
    agrees("tests/targets/headers.grv", 30);
    agrees("tests/targets/resize.grv", 30);
}

#[test]
fn searches_end_where_they_do_in_the_interpreter() {
    agrees("tests/targets/search.grv", 30);
}

#[test]
fn entries_live_and_die_as_in_the_interpreter() {
    agrees("tests/targets/entries.grv", 60);
    agrees("tests/targets/count.grv", 5);
    agrees("tests/targets/pairs.grv", 60);
    agrees("tests/targets/slots.grv", 60);
    agrees("tests/targets/turns.grv", 10);
}
