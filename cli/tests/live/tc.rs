//! Boxes at tc: the same as at XDP, but for what the kernel has done to a packet before.

use crate::echo::{PATIENCE, SILENCE, ping, udp, udp_server};
use crate::net::{Net, allowed, text};

fn network(example: &str, ports: [&str; 2]) -> Net {
    let net = Net::new(&ports);
    net.load(&format!("examples/{example}/{example}.grv"), &["--hook", "tc"]);
    net.connect(ports[0], "192.0.2.1/24");
    net.connect(ports[1], "192.0.2.2/24");
    net
}

#[test]
fn a_firewall_at_tc_lets_in_what_is_asked_for() {
    if !allowed("a firewall at tc lets in what is asked for") {
        return;
    }
    let mut net = network("firewall", ["inside", "outside"]);
    for host in ["inside", "outside"] {
        udp_server(&net, host, 7);
    }
    assert!(udp(&net, "inside", "192.0.2.2:7", PATIENCE));
    assert!(ping(&net, "inside", "192.0.2.2", 64, PATIENCE).is_some());
    assert!(!udp(&net, "outside", "192.0.2.1:7", SILENCE), "no datagram from outside");
    assert!(net.drops_at("outside", "policy") > 0);
    assert!(net.table("filter.flows")["live"].as_u64().is_some_and(|live| live > 0));

    a_tag_is_no_part_of_what_is_seen(&mut net);

    // It is replaced, and looked at, as others are.
    let replace = ["load", "examples/firewall/firewall.grv", "--name", &net.name, "--replace", "--allow-unproved"];
    let output = net.try_grv(&replace);
    assert!(
        text(&output.stderr).contains("is attached at tc, and the new version was built for xdp"),
        "{}",
        text(&output.stderr)
    );
    net.grv(&[replace.as_slice(), &["--hook", "tc"]].concat());
    assert!(net.table("filter.flows")["live"].as_u64().is_some_and(|live| live > 0), "flows outlive their version");
    assert!(udp(&net, "inside", "192.0.2.2:7", PATIENCE));
    let mut looked = net.command(&["trace", &net.name, "--port", "inside", "--count", "1"]);
    let mut looked = looked.stdout(std::process::Stdio::piped()).spawn().expect("the command can be run");
    while looked.try_wait().expect("it can be asked").is_none() {
        udp(&net, "inside", "192.0.2.2:7", SILENCE);
    }
    let output = looked.wait_with_output().expect("it has ended");
    assert!(text(&output.stdout).contains("inside -> outside: "), "{}", text(&output.stdout));
    assert!(udp(&net, "inside", "192.0.2.2:7", PATIENCE));

    // Without it, the ports are not connected. The kernel takes it off a little later than it is unpinned.
    net.grv(&["unload", &net.name]);
    std::thread::sleep(SILENCE);
    assert!(!udp(&net, "inside", "192.0.2.2:7", SILENCE));
}

#[test]
fn a_policer_at_tc_drops_what_is_too_much() {
    if !allowed("a policer at tc drops what is too much") {
        return;
    }
    let net = network("policer", ["a", "b"]);
    udp_server(&net, "b", 7);
    assert!(udp(&net, "a", "192.0.2.2:7", PATIENCE));
    assert_eq!(net.drops("rate"), 0);
    // At once as much as thirty bursts.
    net.within("a", || {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
        for _ in 0..2_000 {
            let _sent = socket.send_to(&[0; 1_000], "192.0.2.2:9");
        }
    });
    assert!(net.drops_at("a", "rate") > 0);
    assert_eq!(net.drops_at("b", "rate"), 0);
    // The other direction is not held to it.
    udp_server(&net, "a", 8);
    assert!(udp(&net, "a", "192.0.2.2:7", PATIENCE), "when it has recovered, packets pass");
}

/// A frame with a tag is not taken for what is behind the tag: UDP from inside would be let out.
fn a_tag_is_no_part_of_what_is_seen(net: &mut Net) {
    net.behind("inside", "further", "198.51.100.1/24");
    net.ip("further", &["neighbour", "add", "198.51.100.2", "lladdr", "02:00:00:00:00:02", "dev", "eth0"]);
    net.ip("inside", &["link", "add", "name", "spare", "type", "veth", "peer", "name", "spare-far"]);
    // A box that puts tags into UDP, on the way to the firewall.
    let name = format!("{}-further", net.name);
    let ports = ["--port", "left=further", "--port", "middle=spare", "--port", "right=eth0"];
    let tag = [&["load", "tests/targets/resize.grv", "--name", &name, "--allow-unproved", "--mode", "generic"], ports.as_slice()];
    let output = net.command_at("inside", &tag.concat()).output().expect("the command can be run");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let before = net.drops_at("inside", "VLAN tag");
    assert!(!udp(net, "further", "198.51.100.2:7", SILENCE));
    let dropped = net.drops_at("inside", "VLAN tag");
    assert!(before == 0 && dropped > 0, "{dropped} frames with tags were seen");
    let gone = net.command_at("inside", &["unload", &name]).output().expect("the command can be run");
    assert!(gone.status.success(), "{}", text(&gone.stderr));
}
