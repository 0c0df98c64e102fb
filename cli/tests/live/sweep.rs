//! Dead entries go while no packets come, and no process runs.

use crate::echo::{SILENCE, udp};
use crate::net::{Net, allowed};
use std::time::{Duration, Instant};

#[test]
fn dead_entries_go_by_themselves() {
    if !allowed("dead entries go by themselves") {
        return;
    }
    let net = Net::new(&["a", "b"]);
    net.load("examples/policer/policer.grv", &[]);
    net.connect("a", "192.0.2.1/24");
    net.connect("b", "192.0.2.2/24");
    let entries = || net.table("meter.buckets")["entries"].as_array().expect("a list").len();
    // The bucket of a network is full again, and so dead, after some 50 ms.
    let begin = Instant::now();
    while entries() == 0 {
        assert!(begin.elapsed() < Duration::from_secs(20), "no bucket was seen");
        udp(&net, "a", "192.0.2.2:7", Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(entries(), 0, "dead entries are there, seconds after");
    // It goes on: a second time, and with another version of the box.
    net.grv(&["load", "examples/policer/policer.grv", "--name", &net.name, "--replace", "--allow-unproved"]);
    assert!(!udp(&net, "a", "192.0.2.2:7", SILENCE), "nobody answers");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(entries(), 0, "dead entries are there, seconds after");
}
