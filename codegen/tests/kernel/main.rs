//! Programs in the running kernel against the interpreter: the same events, packet by packet, must have the same verdicts, bytes,
//! drops and tables. The clock is the test's (`probe` builds); the interpreter's clock of lifetimes lags as the target's ticks do.
//!
//! Without the right to load programs the tests are skipped by name; with `GRV_NO_SKIP=1` that is a failure. `GRV_KERNEL_RUNS`
//! says how many random runs there are for each box.

#![allow(clippy::unwrap_used, reason = "what is missing in a test is a failure")]
#![allow(clippy::print_stderr, reason = "what is skipped is said, and what fails is shown")]

mod beside;
mod boxes;
mod compare;
mod libbpf;
mod loaded;
mod several;
mod sweeper;

use compare::Compared;
use grv_codegen::ebpf::{Artefact, Hook, Options, Proofs, build};
use grv_lang::compile::{Compilation, compile};
use grv_lang::interp::test::{Recorded, record};
use grv_lang::ir::Program;
use grv_lang::random::{Runs, scripts};
use grv_lang::source::Beside;
use loaded::Loaded;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn compiled(file: &str) -> Compilation {
    let path = root().join(file);
    let read = |path: &Path| std::fs::read(path).ok();
    let compilation = compile(&path.display().to_string(), &read(&path).unwrap(), &Beside(read));
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

/// `params`: those that are built in, if any are.
fn built(hook: Hook, program: &Arc<Program>, of: &Compilation, params: &[Vec<u128>]) -> Artefact {
    let options = Options { hook, params: params.iter().cloned().map(Some).collect(), ..options() };
    build(program, &of.sources, &options, &Proofs::default()).unwrap_or_else(|e| panic!("{}: {}", program.name, e[0].message))
}

/// Random packets of a box, in so many runs: each goes on from what one of the box's tests leads to, and from what its own packets do.
const BOX: Random = Random { runs: 10, packets: 1_000 };

/// Random packets.
#[derive(Clone, Copy)]
struct Random {
    /// How often the program begins anew.
    runs: u64,
    /// Packets of each run.
    packets: usize,
}

fn few(runs: u64) -> Random {
    Random { runs, packets: 100 }
}

/// The events of a program's own tests, then random ones that go on from what tests lead to.
fn agrees(file: &str, random: Random) {
    agrees_at(Hook::Xdp, file, random);
}

fn agrees_at(hook: Hook, file: &str, random: Random) {
    if !allowed(file) {
        return;
    }
    let of = compiled(file);
    let (mut tested, mut short) = (0, 0);
    for (test, program) in &of.tests {
        let mut recorded = Recorded::default();
        record(test, program, 1, None, usize::MAX, &mut recorded).unwrap_or_else(|e| panic!("{file}: {}: {e}", test.name));
        let loaded = Loaded::new(built(hook, program, &of, &[]), program, &recorded.params);
        let mut compared = Compared::new(hook, loaded, program, &recorded.params);
        for (number, event) in recorded.events.iter().enumerate() {
            compared.happens(event, &format!("{file}: test {:?}, event {number}", test.name));
        }
        compared.ends(&format!("{file}: test {:?}, its end", test.name));
        tested += compared.packets;
        short += compared.short;
    }
    let scale = std::env::var("GRV_KERNEL_RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    for program in &of.boxes {
        let runs = Runs::new(program, &scripts(program, &of.tests), None);
        let artefact = built(hook, program, &of, &[]);
        let mut packets = 0;
        for seed in 0..random.runs * scale {
            let mut events = runs.run(seed);
            let params = events.params.clone();
            // Every other run has its parameters built in.
            let artefact = if seed % 2 == 0 { artefact.clone() } else { built(hook, program, &of, &params) };
            let mut compared = Compared::new(hook, Loaded::new(artefact, program, &params), program, &params);
            for number in 0..random.packets * 4 {
                if compared.packets >= random.packets {
                    break;
                }
                let event = events.next();
                let outcome = compared.happens(&event, &format!("{file}: run {seed}, event {number}"));
                events.caused(&outcome);
            }
            compared.ends(&format!("{file}: run {seed}, its end"));
            packets += compared.packets;
            short += compared.short;
        }
        let name = &program.name;
        eprintln!(
            "{file}: {name}: {tested} packets of tests and {packets} random ones agree; {short} too short for the kernel to take"
        );
        assert!(packets as u64 >= random.runs * random.packets as u64, "{file}: {name}: too few packets were compared");
    }
}

#[test]
fn the_policer_does_what_the_interpreter_does() {
    agrees("examples/policer/policer.grv", BOX);
}

#[test]
fn at_tc_boxes_do_what_the_interpreter_does() {
    agrees_at(Hook::Tc, "examples/policer/policer.grv", few(10));
    agrees_at(Hook::Tc, "examples/firewall/firewall.grv", few(4));
    agrees_at(Hook::Tc, "examples/router/router.grv", few(4));
    agrees_at(Hook::Tc, "tests/targets/rewrite.grv", few(10));
}

#[test]
fn the_bridge_does_what_the_interpreter_does() {
    agrees("examples/bridge/bridge.grv", BOX);
}

#[test]
fn the_router_does_what_the_interpreter_does() {
    agrees("examples/router/router.grv", BOX);
}

#[test]
fn the_firewall_does_what_the_interpreter_does() {
    agrees("examples/firewall/firewall.grv", BOX);
}

#[test]
fn the_nat_does_what_the_interpreter_does() {
    agrees("examples/nat/nat.grv", BOX);
}

#[test]
fn the_proxy_does_what_the_interpreter_does() {
    agrees("examples/proxy/proxy.grv", BOX);
}

#[test]
fn the_nat_balancer_does_what_the_interpreter_does() {
    agrees("examples/lb-nat/lb-nat.grv", BOX);
}

#[test]
fn the_balancer_does_what_the_interpreter_does() {
    agrees("examples/lb/lb.grv", BOX);
}

#[test]
fn headers_fields_and_numbers_are_what_they_are_in_the_interpreter() {
    agrees("tests/targets/rewrite.grv", few(30));
    agrees("tests/targets/headers.grv", few(30));
    agrees("tests/targets/resize.grv", few(30));
}

#[test]
fn searches_end_where_they_do_in_the_interpreter() {
    agrees("tests/targets/search.grv", few(30));
}

#[test]
fn what_the_control_plane_sets_is_what_it_is_in_the_interpreter() {
    agrees("tests/targets/settings.grv", few(10));
}

#[test]
fn entries_live_and_die_as_in_the_interpreter() {
    agrees("tests/targets/entries.grv", few(60));
    agrees("tests/targets/again.grv", few(20));
    agrees("tests/targets/count.grv", few(5));
    agrees("tests/targets/pairs.grv", few(60));
    agrees("tests/targets/slots.grv", few(60));
    agrees("tests/targets/turns.grv", few(10));
}
