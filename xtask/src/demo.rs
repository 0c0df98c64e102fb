//! `cargo xtask demo`: the nat over packets that a kernel sent.

use crate::run::{Result, command, grv, run, run_command};
use crate::setup;

pub(crate) fn demo() -> Result {
    setup::setup()?;
    let grv = grv()?;
    let nat = "examples/nat";
    let (inside, outside) = (format!("inside={nat}/inside.pcap"), format!("outside={nat}/outside.pcap"));
    let (file, config) = (format!("{nat}/nat.grv"), format!("{nat}/config.json"));
    let args = ["run", &file, "--in", &inside, "--in", &outside, "--config", &config];
    println!("The nat of {file}, over what a kernel's TCP, UDP and ICMP stacks sent ({nat}/*.pcap).\n");
    println!("The way of the first packets:\n");
    let trace = command(&grv, &args).arg("--trace").output().map_err(|e| format!("grv cannot be run: {e}"))?;
    let text = String::from_utf8_lossy(&trace.stdout);
    text.split("\n\n").filter(|packet| packet.starts_with('#')).skip(1).take(4).for_each(|packet| println!("{packet}\n"));
    println!("What became of all:\n");
    run_command("grv", command(&grv, &args).args(["--out", "target/demo"]))?;
    println!("\nWhat left is in target/demo/*.pcap. An independent look at its checksums:\n");
    checksums(&["target/demo/inside.pcap", "target/demo/outside.pcap"])?;
    println!("\nIts tests:\n");
    run(&grv, &["test", "--format", "concise", nat])
}

/// Checks the checksums of captures with scapy.
pub(crate) fn checksums(captures: &[&str]) -> Result {
    let mut check = command("python3", &["tests/independent/checksums.py"]);
    run_command("checksums.py", check.args(captures).env("PYTHONPATH", setup::python_path()))
}
