//! The balancers: by rewriting, connections to the service go to one backend after the other, and back; by encapsulation, each backend takes
//! off the outer header (a small box of its own does) and answers directly.

use crate::common::root;
use crate::echo::PATIENCE;
use crate::net::{Net, allowed};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// Answers each byte that comes to an address with two.
fn backend(net: &Net, host: &str, address: &str, answer: &str) {
    let listener = net.within(host, || TcpListener::bind((address, 80)).expect("a listener"));
    let last = answer.to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let last = last.clone();
            std::thread::spawn(move || {
                let mut bytes = [0; 1];
                while stream.read_exact(&mut bytes).is_ok() && stream.write_all(last.as_bytes()).is_ok() {}
            });
        }
    });
}

/// Opens connections, and asks on each of them twice: the answers are the same. One of each connection.
fn answers(net: &Net, host: &str, to: &str, connections: usize) -> Vec<String> {
    let to = to.parse().expect("an address");
    net.within(host, || {
        let mut streams: Vec<TcpStream> =
            (0..connections).map(|_| TcpStream::connect_timeout(&to, PATIENCE).expect("a connection")).collect();
        let mut ask = |stream: &mut TcpStream| {
            stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
            stream.write_all(&[0]).expect("a byte can be sent");
            let mut answer = [0; 2];
            stream.read_exact(&mut answer).expect("an answer");
            String::from_utf8_lossy(&answer).into_owned()
        };
        let first: Vec<String> = streams.iter_mut().map(&mut ask).collect();
        let second: Vec<String> = streams.iter_mut().map(&mut ask).collect();
        assert_eq!(first, second, "a connection stays with its backend");
        first
    })
}

#[test]
fn connections_go_to_one_backend_after_the_other() {
    if !allowed("connections go to one backend after the other") {
        return;
    }
    let net = Net::new(&["clients", "servers"]);
    let tables = serde_json::json!({
        "balance.backends": ["10.1.0.11", "10.1.0.12"], "balance.order": ["10.1.0.11", "10.1.0.12"], "balance.used": [2],
    });
    let _sync = net.load_hop("lb-nat", Some(tables));
    net.connect("clients", "203.0.113.254/24");
    net.ip("clients", &["route", "add", "203.0.113.1", "via", "203.0.113.2"]);
    net.connect("servers", "10.1.0.11/16");
    net.ip("servers", &["address", "add", "10.1.0.12/16", "dev", "eth0"]);
    net.ip("servers", &["route", "add", "default", "via", "10.1.0.1"]);
    backend(&net, "servers", "10.1.0.11", "11");
    backend(&net, "servers", "10.1.0.12", "12");
    let answers = answers(&net, "clients", "203.0.113.1:80", 10);
    let count = |of: &str| answers.iter().filter(|answer| *answer == of).count();
    // A first packet that is sent again, before neighbours are known, takes no second turn: its flow is remembered.
    assert_eq!((count("11"), count("12")), (5, 5), "{answers:?}");
}

/// The configuration of a balancer with one service of three backends.
fn service() -> serde_json::Value {
    let config = std::fs::read_to_string(root().join("examples/lb/config.json")).expect("a configuration");
    serde_json::from_str(&config).expect("it is JSON")
}

#[test]
fn backends_take_off_what_the_balancer_put_around() {
    if !allowed("backends take off what the balancer put around") {
        return;
    }
    let mut net = Net::new(&["net"]);
    let text = |field: &str| service()["params"][field].as_str().unwrap_or_default().to_string();
    net.ip("box", &["link", "set", "dev", "net", "address", &text("mac")]);
    net.ip("box", &["link", "set", "dev", "net-far", "address", &text("gateway")]);
    net.ip("box", &["address", "add", "10.200.0.1/24", "dev", "net"]);
    net.load("examples/lb/lb.grv", &["--config", "examples/lb/config.json"]);
    net.connect("net", "10.200.0.254/24");
    // What is wrapped must fit into a frame.
    net.ip("net", &["route", "add", "10.200.1.1", "via", "10.200.0.1", "mtu", "1400"]);
    net.sysctl("net", "net/ipv4/ip_forward", "1");
    for number in ["1", "2", "3"] {
        let (name, own) = (format!("backend{number}"), format!("10.9.0.{number}"));
        net.behind("net", &name, &format!("{own}/32"));
        net.ip("net", &["route", "add", &own, "dev", &name]);
        net.ip(&name, &["address", "add", "10.200.1.1/32", "dev", "lo"]);
        net.ip(&name, &["route", "add", "10.200.0.254", "dev", "eth0"]);
        net.ip(&name, &["route", "add", "default", "via", "10.200.0.254"]);
        let as_name = format!("{}-{name}", net.name);
        let unwrap = ["load", "tests/targets/unwrap.grv", "--name", &as_name, "--port", "net=eth0", "--allow-unproved"];
        let output = net.command_at(&name, &unwrap).output().expect("the command can be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        backend(&net, &name, "10.200.1.1", &format!("0{number}"));
    }
    let answers = answers(&net, "net", "10.200.1.1:80", 60);
    for number in ["01", "02", "03"] {
        assert!(answers.iter().any(|answer| answer == number), "no connection came to backend {number}: {answers:?}");
    }
    let flows = net.table("steer.flows");
    assert_eq!(flows["live"], 60, "{}", flows["live"]);

    // A backend leaves: its flows go to others, and those that stay stay where they are.
    let folder = std::env::temp_dir().join(format!("{}.json", net.name));
    let mut tables = service()["tables"].clone();
    let backends = tables["steer.backends"].as_array_mut().expect("a list");
    backends.retain(|backend| backend["address"] != "10.9.0.3");
    tables["steer.sizes"] = serde_json::json!([2, 1]);
    std::fs::write(&folder, serde_json::json!({ "tables": tables }).to_string()).expect("a file");
    net.grv(&["update", &net.name, "--config", &folder.display().to_string()]);
    let answers = self::answers(&net, "net", "10.200.1.1:80", 30);
    assert!(answers.iter().all(|answer| answer != "03"), "{answers:?}");
    // What its tables are required to be is required of each update.
    tables["steer.sizes"] = serde_json::json!([7, 1]);
    std::fs::write(&folder, serde_json::json!({ "tables": tables }).to_string()).expect("a file");
    let output = net.try_grv(&["update", &net.name, "--config", &folder.display().to_string()]);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stderr).contains("refused"), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_file(&folder).expect("the file can be removed");
}
