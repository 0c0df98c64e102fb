//! Measures the interpreter alone: prints millions of packets per second of UDP from 512 flows through the nat, the median of
//! 7 rounds, each of as many packets as the argument says. Run it from the repository's folder.

#![allow(clippy::print_stdout)]

use grv_lang::compile::compile;
use grv_lang::interp::{Machine, Outcome, Seeded, with_defaults};
use grv_lang::ir::PortId;
use grv_lang::{config, source::Beside};
use std::time::Instant;

/// From an inside host of the configuration to a server; no checksums, since nobody looks.
fn frame(source_port: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 1, 1, 2, 0, 0, 0, 1, 2, 8, 0];
    frame.extend([0x45, 0, 0, 36, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 2, 198, 51, 100, 7]);
    frame.extend(source_port.to_be_bytes());
    frame.extend([0, 53, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    frame
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let nat = "examples/nat/nat.grv";
    let compiled = compile(nat, &std::fs::read(nat)?, &Beside(|path: &std::path::Path| std::fs::read(path).ok()));
    let program = compiled.boxes.first().ok_or("nat.grv has errors")?;
    let settings = config::parse(&std::fs::read("examples/nat/config.json")?, program)?;
    let mut oracle = Seeded::exact(0);
    let mut machine = Machine::new(program.clone(), with_defaults(program, &settings.params)?)?;
    machine.update(&settings.tables, &mut oracle, None)?;
    for feed in &settings.feeds {
        for (key, value) in &feed.entries {
            machine.feed(feed.table, key, Some(value), &mut oracle)?;
        }
    }
    let inside = program.ports.iter().position(|port| port.name == "inside").ok_or("no port `inside`")?;
    let frames: Vec<Vec<u8>> = (5_000..5_512).map(frame).collect();
    let mut outcome = Outcome::default();
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(200_000);
    let rounds = 7;
    let mut rates = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        for frame in frames.iter().cycle().take(count) {
            machine.advance(1_000, &mut oracle, None)?;
            machine.packet_into(PortId(inside as u32), frame, &mut oracle, None, &mut outcome)?;
        }
        rates.push(count as f64 / start.elapsed().as_secs_f64() / 1e6);
    }
    let sent = machine.accounting().sent.iter().sum::<u64>();
    if sent != rounds * count as u64 {
        return Err(format!("only {sent} packets were sent").into());
    }
    rates.sort_by(f64::total_cmp);
    println!("{:.2}", rates[rates.len() / 2]);
    Ok(())
}
