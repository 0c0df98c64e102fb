//! A running box is replaced by another version of it: flows that are live go on, and what does not fit is said.

use crate::common::{files, root};
use crate::echo::{PATIENCE, tcp_server};
use crate::net::{Net, allowed, text};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;

const FIREWALL: &str = "examples/firewall/firewall.grv";

/// A folder for changed versions of the firewall, with the specifications that it claims.
struct Versions(PathBuf);

impl Versions {
    fn new(net: &Net) -> Versions {
        let folder = std::env::temp_dir().join(&net.name);
        std::fs::create_dir_all(folder.join("specs")).expect("a folder");
        for file in files("specs", "grv") {
            std::fs::copy(root().join(&file), folder.join(&file)).expect("a copy");
        }
        Versions(folder)
    }

    /// The firewall with a change; where it is.
    fn changed(&self, from: &str, to: &str) -> String {
        let program = std::fs::read_to_string(root().join(FIREWALL)).expect("the firewall");
        assert!(program.contains(from), "the firewall has no {from}");
        let path = self.0.join("firewall.grv");
        std::fs::write(&path, program.replace(from, to)).expect("a file");
        path.display().to_string()
    }
}

impl Drop for Versions {
    fn drop(&mut self) {
        let _removed = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn live_flows_outlive_the_version_that_they_began_in() {
    if !allowed("live flows outlive the version that they began in") {
        return;
    }
    let net = Net::new(&["inside", "outside"]);
    net.load(FIREWALL, &[]);
    net.connect("inside", "192.0.2.1/24");
    net.connect("outside", "192.0.2.2/24");
    tcp_server(&net, "outside", 7);
    let mut stream = net.within("inside", || {
        TcpStream::connect_timeout(&"192.0.2.2:7".parse().expect("an address"), PATIENCE).expect("a connection")
    });
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let mut echo = |bytes: &[u8]| {
        stream.write_all(bytes).expect("bytes can be sent");
        let mut back = vec![0; bytes.len()];
        stream.read_exact(&mut back).expect("they come back");
        assert_eq!(back, bytes);
    };
    echo(b"before");
    let rules = std::env::temp_dir().join(format!("{}.json", net.name));
    let rule = r#"{"tables": {"filter.rules": [{"source": "0.0.0.0/0", "destination": "0.0.0.0/0", "protocol": 6,
        "first_port": 0, "last_port": 65535, "action": "deny"}]}}"#;
    std::fs::write(&rules, rule).expect("a file");
    net.grv(&["update", &net.name, "--config", &rules.display().to_string()]);
    std::fs::remove_file(&rules).expect("the file can be removed");
    let replace = |program: &str, more: &[&str]| {
        net.try_grv(&[&["load", program, "--name", &net.name, "--replace", "--allow-unproved"], more].concat())
    };

    let versions = Versions::new(&net);
    // Another version, with another timeout for ICMP: its flows are kept in the same way.
    let path = versions.changed("{ 60s }", "{ 30s }");
    let output = replace(&path, &[]);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    echo(b"after");
    // No new flow could have been opened: the old rules are there.
    assert_eq!(net.table("filter.rules")["entries"][0]["value"]["action"], "deny");
    assert_eq!(net.table("filter.flows")["live"], 1);

    // A version with less room cannot have them.
    let path = versions.changed("65_536", "32_768");
    let output = replace(&path, &[]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
    let said = text(&output.stderr);
    assert!(said.contains("`filter.flows` has 1 live entries: it had room for 65536 entries, and has for 32768"), "{said}");
    echo(b"still there");
    // Unless that does not matter.
    let output = replace(&path, &["--discard"]);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(net.table("filter.flows")["capacity"], 32_768);
    // Another box is no version of it.
    let output = replace("examples/policer/policer.grv", &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("has the ports inside, outside, the new version has a, b"), "{}", text(&output.stderr));
}
