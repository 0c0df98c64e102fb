//! The firewall between two hosts: what is asked from inside is answered, what is asked from outside is not heard.

use crate::echo::{PATIENCE, SILENCE, ping, tcp, tcp_refused, tcp_server, udp, udp_server};
use crate::net::{Net, allowed};

const FIREWALL: &str = "examples/firewall/firewall.grv";

fn network() -> Net {
    let net = Net::new(&["inside", "outside"]);
    net.load(FIREWALL, &[]);
    net.connect("inside", "192.0.2.1/24");
    net.connect("outside", "192.0.2.2/24");
    net
}

#[test]
fn inside_opens_and_outside_only_answers() {
    if !allowed("inside opens and outside only answers") {
        return;
    }
    let net = network();
    for host in ["inside", "outside"] {
        tcp_server(&net, host, 7);
        udp_server(&net, host, 7);
    }
    assert!(udp(&net, "inside", "192.0.2.2:7", PATIENCE), "a datagram from inside is answered");
    tcp(&net, "inside", "192.0.2.2:7", 1 << 20);
    assert_eq!(ping(&net, "inside", "192.0.2.2", 64, PATIENCE).map(|(_, kind)| kind), Some(0));
    assert!(tcp_refused(&net, "outside", "192.0.2.1:7"), "no connection from outside");
    assert!(!udp(&net, "outside", "192.0.2.1:7", SILENCE), "no datagram from outside");
    assert_eq!(ping(&net, "outside", "192.0.2.1", 64, SILENCE), None);
    // Where they arrived is counted.
    assert!(net.drops("policy") > 0);
    assert!(net.drops_at("outside", "policy") > net.drops_at("inside", "policy"));

    // The flows are there, in terms of the source; one is established.
    let flows = net.table("filter.flows");
    let entries = flows["entries"].as_array().expect("a list");
    let protocols: Vec<u64> = entries.iter().filter_map(|entry| entry["key"]["protocol"].as_u64()).collect();
    for protocol in [1, 6, 17] {
        assert!(protocols.contains(&protocol), "no flow of protocol {protocol}: {flows}");
    }
    for entry in entries {
        assert_eq!(entry["key"]["inside"], "192.0.2.1", "{entry}");
        let most = 7_440 * 1_000_000_000;
        assert!(entry["live"] == true && entry["remaining_ns"].as_u64().is_some_and(|left| left > 0 && left <= most), "{entry}");
    }
}

#[test]
fn a_new_list_of_rules_counts_from_the_next_packet() {
    if !allowed("a new list of rules counts from the next packet") {
        return;
    }
    let net = network();
    udp_server(&net, "outside", 7);
    udp_server(&net, "outside", 9);
    assert!(udp(&net, "inside", "192.0.2.2:9", PATIENCE));
    let folder = std::env::temp_dir().join(&net.name);
    std::fs::create_dir_all(&folder).expect("a folder");
    let rules = folder.join("rules.json");
    let deny = r#"{"tables": {"filter.rules": [{"source": "0.0.0.0/0", "destination": "0.0.0.0/0", "protocol": 17,
        "first_port": 9, "last_port": 9, "action": "deny"}]}}"#;
    let rules_path = rules.display().to_string();
    std::fs::write(&rules, deny).expect("a file");
    net.grv(&["update", &net.name, "--config", &rules_path]);
    assert!(!udp(&net, "inside", "192.0.2.2:9", SILENCE), "a new flow to port 9 is denied");
    assert!(udp(&net, "inside", "192.0.2.2:7", PATIENCE), "others are not");
    let shown = net.table("filter.rules");
    assert_eq!(shown["entries"][0]["value"]["action"], "deny", "{shown}");
    // Again and again, so that each of the two generations has been written over.
    for rules in [r#"{"tables": {"filter.rules": []}}"#, deny, r#"{"tables": {"filter.rules": []}}"#] {
        std::fs::write(&rules_path, rules).expect("a file");
        net.grv(&["update", &net.name, "--config", &rules_path]);
    }
    assert!(udp(&net, "inside", "192.0.2.2:9", PATIENCE), "without rules all is allowed");
    // What is wrong is refused, and changes nothing.
    std::fs::write(&rules_path, r#"{"tables": {"filter.rulez": []}}"#).expect("a file");
    let output = net.try_grv(&["update", &net.name, "--config", &rules_path]);
    assert_eq!(output.status.code(), Some(2));
    std::fs::remove_dir_all(&folder).expect("the folder can be removed");
}
