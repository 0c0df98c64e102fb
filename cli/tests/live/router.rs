//! The router between hosts of different networks: neighbours come from the kernel, and so do the answers to packets whose time is up.

use crate::echo::{PATIENCE, ping, tcp, tcp_server, udp, udp_server};
use crate::net::{Net, allowed};
use std::time::Instant;

#[test]
fn hosts_of_different_networks_hear_each_other() {
    if !allowed("hosts of different networks hear each other") {
        return;
    }
    let ports = ["p[0]", "p[1]", "p[2]", "p[3]"];
    let net = Net::new(&ports);
    net.sysctl("box", "net/ipv4/ip_forward", "1");
    let _sync = net.load_hop("router", None);
    for (number, port) in ports.iter().enumerate().take(2) {
        net.connect(port, &format!("10.0.{number}.2/24"));
        net.ip(port, &["route", "add", "default", "via", &format!("10.0.{number}.1")]);
    }
    tcp_server(&net, "p[1]", 7);
    udp_server(&net, "p[1]", 7);
    assert!(udp(&net, "p[0]", "10.0.1.2:7", PATIENCE), "a datagram is answered, once neighbours are known");
    tcp(&net, "p[0]", "10.0.1.2:7", 1 << 20);
    let from = |answer: Option<(std::net::Ipv4Addr, u8)>| answer.map(|(from, kind)| (from.to_string(), kind));
    assert_eq!(from(ping(&net, "p[0]", "10.0.1.2", 64, PATIENCE)), Some(("10.0.1.2".to_string(), 0)));
    assert_eq!(from(ping(&net, "p[0]", "10.0.0.1", 64, PATIENCE)), Some(("10.0.0.1".to_string(), 0)), "the router itself");
    assert_eq!(from(ping(&net, "p[0]", "10.0.1.2", 1, PATIENCE)), Some(("10.0.0.1".to_string(), 11)), "its time is up");

    // The kernel's neighbours are in the table; one that is gone there goes here.
    let known = || {
        let table = net.table("hop.neighbours");
        let entries = table["entries"].as_array().cloned().unwrap_or_default();
        entries.iter().filter_map(|entry| entry["key"].as_str().map(str::to_string)).collect::<Vec<String>>()
    };
    assert!(known().contains(&"10.0.1.2".to_string()), "{:?}", known());
    net.ip("p[1]", &["link", "set", "dev", "eth0", "down"]);
    let start = Instant::now();
    while known().contains(&"10.0.1.2".to_string()) {
        assert!(start.elapsed() < PATIENCE, "a neighbour that the kernel has not is still there");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
