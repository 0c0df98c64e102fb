//! What is built beside a program is taken by the kernel, too: the program with trace points, and the one that starts the timers.

use crate::{allowed, compiled};
use aya::programs::Program;
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use grv_codegen::ebpf::sweeper::{PERIOD, sweeper};
use grv_codegen::ebpf::trace::Trace;
use grv_codegen::ebpf::{Hook, Options, Proofs, build};

fn taken(object: &[u8], program: &str, what: &str) -> Ebpf {
    let mut loader = EbpfLoader::new();
    loader.btf(None).verifier_log_level(VerifierLogLevel::STATS);
    let mut ebpf = loader.load(object).unwrap_or_else(|e| panic!("{what}: {e:?}"));
    let loaded = match ebpf.program_mut(program).unwrap() {
        Program::Xdp(xdp) => xdp.load(),
        Program::SchedClassifier(tc) => tc.load(),
        other => panic!("{what}: {other:?}"),
    };
    loaded.unwrap_or_else(|e| panic!("{what}: {e}"));
    ebpf
}

#[test]
fn what_is_built_beside_a_box_is_taken() {
    if !allowed("what is built beside a box is taken") {
        return;
    }
    let all = Trace { ports: Vec::new(), drops: true, reasons: None, forwards: true, host: true };
    let some = Trace { ports: vec![0], drops: true, reasons: Some(vec![0]), forwards: false, host: false };
    for name in ["policer", "bridge", "router", "firewall", "nat", "proxy", "lb-nat", "lb"] {
        let of = compiled(&format!("examples/{name}/{name}.grv"));
        let program = &of.boxes[0];
        for trace in [&all, &some] {
            // With the checks of what is not proved, which make it longer.
            let options = Options { trace: Some(trace.clone()), checks: true, ..Options::default() };
            let artefact = build(program, &of.sources, &options, &Proofs::default()).unwrap();
            let ebpf = taken(&artefact.object, &artefact.program, name);
            assert!(ebpf.map(&artefact.trace.unwrap().events).is_some(), "{name} has no ring buffer");
        }
        // Nothing of it is in the program that is loaded when nobody looks.
        let plain = build(program, &of.sources, &Options::default(), &Proofs::default()).unwrap();
        let maps = plain.budget.maps.iter().map(|(map, ..)| map.as_str());
        assert!(maps.into_iter().all(|map| !map.starts_with("trace")) && plain.trace.is_none(), "{name}");
        if let Some(built) = sweeper(program, &of.sources, &Options::default(), PERIOD).unwrap() {
            taken(&built.object, &built.program, &format!("the timers of {name}"));
        }
    }
}

#[test]
fn what_is_built_beside_a_box_at_tc_is_taken() {
    if !allowed("what is built beside a box at tc is taken") {
        return;
    }
    let trace = Some(Trace { ports: vec![0, 1], drops: true, reasons: None, forwards: true, host: true });
    for name in ["policer", "router", "firewall"] {
        let of = compiled(&format!("examples/{name}/{name}.grv"));
        let options = Options { hook: Hook::Tc, trace: trace.clone(), checks: true, ..Options::default() };
        let artefact = build(&of.boxes[0], &of.sources, &options, &Proofs::default()).unwrap();
        taken(&artefact.object, &artefact.program, name);
    }
}
