//! The balancer by rewriting: connections to the service go to one backend after the other, and back.

use crate::echo::PATIENCE;
use crate::net::{Net, allowed};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// Serves connections to an address with its last number.
fn backend(net: &Net, address: &str) {
    let listener = net.within("servers", || TcpListener::bind((address, 80)).expect("a listener"));
    let last = address.rsplit('.').next().unwrap_or_default().to_string();
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
    backend(&net, "10.1.0.11");
    backend(&net, "10.1.0.12");
    let answers = net.within("clients", || {
        let to = "203.0.113.1:80".parse().expect("an address");
        let mut streams: Vec<TcpStream> =
            (0..10).map(|_| TcpStream::connect_timeout(&to, PATIENCE).expect("a connection")).collect();
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
    });
    let count = |of: &str| answers.iter().filter(|answer| *answer == of).count();
    // A first packet that is sent again, before neighbours are known, takes no second turn: its flow is remembered.
    assert_eq!((count("11"), count("12")), (5, 5), "{answers:?}");
}
