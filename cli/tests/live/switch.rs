//! The bridge between four hosts: all hear each other, and it learns where they are.

use crate::echo::{PATIENCE, udp, udp_server};
use crate::net::{Net, allowed};

#[test]
fn four_hosts_hear_each_other() {
    if !allowed("four hosts hear each other") {
        return;
    }
    let ports = ["p[0]", "p[1]", "p[2]", "p[3]"];
    let net = Net::new(&ports);
    net.load("examples/bridge/bridge.grv", &[]);
    for (number, port) in ports.iter().enumerate() {
        net.connect(port, &format!("192.0.2.{}/24", number + 1));
        udp_server(&net, port, 7);
    }
    for from in ports {
        for to in (1..=4).filter(|to| !from.contains(&(to - 1).to_string())) {
            assert!(udp(&net, from, &format!("192.0.2.{to}:7"), PATIENCE), "{from} hears 192.0.2.{to}");
        }
    }
    let stations = net.table("switch.stations");
    assert_eq!(stations["live"], 4, "{stations}");
}
