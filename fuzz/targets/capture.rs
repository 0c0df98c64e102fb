//! Any bytes as a capture; and any frames through the firewall, whose accounts stay even.
#![no_main]

use grv_lang::compile::compile;
use grv_lang::interp::{Machine, Seeded, with_defaults};
use grv_lang::ir::{PortId, Program};
use grv_lang::source::Loader;
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};

/// The spec that the firewall claims.
struct Specs;

impl Loader for Specs {
    fn load(&self, module: &[&str], _: &str) -> Option<(String, Vec<u8>)> {
        (module == ["specs", "firewall"]).then(|| ("firewall.grv".to_string(), include_bytes!("../../specs/firewall.grv").to_vec()))
    }
}

static FIREWALL: LazyLock<Arc<Program>> = LazyLock::new(|| {
    let text = include_bytes!("../../examples/firewall/firewall.grv");
    compile("examples/firewall.grv", text, &Specs).boxes.remove(0)
});

fuzz_target!(|data: &[u8]| {
    let capture = grv::capture::parse(data);
    let params = with_defaults(&FIREWALL, &[]).expect("the firewall has defaults");
    let mut machine = Machine::new(FIREWALL.clone(), params).expect("the firewall starts");
    let mut oracle = Seeded::adversarial(data.len() as u64);
    let frames = capture.packets.iter().map(|p| &*p.bytes).chain([data]).filter(|f| f.len() <= 65_535);
    for (index, frame) in frames.enumerate() {
        grv::capture::describe(frame);
        machine.packet(PortId((index % 2) as u32), frame, &mut oracle, None).expect("the firewall has no defects");
    }
    assert!(machine.accounting().balances());
});
