//! The nat between a host inside and one outside: a web server's 100 MB, many connections at once, ping, UDP.

use crate::echo::{PATIENCE, ping, tcp, tcp_refused, tcp_server, udp, udp_server};
use crate::net::{Beside, Net, allowed};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

const BYTES: usize = 100 << 20;
const CONNECTIONS: usize = 200;

fn network() -> (Net, Beside) {
    let net = Net::new(&["inside", "outside"]);
    let sync = net.load_hop("nat", None);
    net.connect("inside", "10.0.0.2/24");
    net.ip("inside", &["route", "add", "default", "via", "10.0.0.1"]);
    net.connect("outside", "203.0.113.2/24");
    (net, sync)
}

/// Bytes that tell where they belong.
fn pattern(at: usize) -> u8 {
    (at % 251) as u8
}

#[test]
fn a_web_server_s_hundred_megabytes_come_through() {
    if !allowed("a web server's hundred megabytes come through") {
        return;
    }
    let (net, _sync) = network();
    let listener = net.within("outside", || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)).expect("a listener"));
    let server = std::thread::spawn(move || {
        let (stream, from) = listener.accept().expect("a connection");
        let mut reader = BufReader::new(stream.try_clone().expect("another handle"));
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
            line.clear();
        }
        let mut stream = stream;
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\nConnection: close\r\n\r\n").expect("headers");
        let body: Vec<u8> = (0..BYTES).map(pattern).collect();
        stream.write_all(&body).expect("a body");
        from
    });
    let count = net.within("inside", || {
        let mut stream =
            TcpStream::connect_timeout(&"203.0.113.2:80".parse().expect("an address"), PATIENCE).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        stream.write_all(b"GET / HTTP/1.1\r\nHost: outside\r\n\r\n").expect("a request");
        let mut reader = BufReader::with_capacity(1 << 16, stream);
        let mut line = String::new();
        while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
            line.clear();
        }
        let (mut count, mut bytes) = (0, vec![0; 1 << 16]);
        loop {
            let got = reader.read(&mut bytes).expect("bytes come");
            if got == 0 {
                return count;
            }
            let wrong = bytes[..got].iter().enumerate().position(|(at, byte)| *byte != pattern(count + at));
            assert_eq!(wrong.map(|at| count + at), None, "a byte is another one");
            count += got;
        }
    });
    assert_eq!(count, BYTES);
    // Who asked was the nat, for the server.
    assert_eq!(server.join().expect("the server ends").ip().to_string(), "203.0.113.1");
}

#[test]
fn many_connections_at_once_are_told_apart() {
    if !allowed("many connections at once are told apart") {
        return;
    }
    let (net, _sync) = network();
    tcp_server(&net, "outside", 7);
    udp_server(&net, "outside", 7);
    assert!(udp(&net, "inside", "203.0.113.2:7", PATIENCE), "a datagram is answered");
    assert_eq!(ping(&net, "inside", "203.0.113.2", 64, PATIENCE).map(|(_, kind)| kind), Some(0));
    net.within("inside", || {
        let to = "203.0.113.2:7".parse().expect("an address");
        let mut streams: Vec<TcpStream> =
            (0..CONNECTIONS).map(|_| TcpStream::connect_timeout(&to, PATIENCE).expect("a connection")).collect();
        for (number, stream) in streams.iter_mut().enumerate() {
            stream.write_all(&[number as u8; 1_000]).expect("bytes can be sent");
        }
        for (number, stream) in streams.iter_mut().enumerate() {
            stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
            let mut back = [0; 1_000];
            stream.read_exact(&mut back).expect("all comes back");
            assert!(back.iter().all(|byte| *byte == number as u8), "connection {number} has what another sent");
        }
        // Two tables, whose entries live together.
        let live = |table: &str| net.table(table)["live"].as_u64().expect("a number");
        let (forward, reverse) = (live("mappings.forward"), live("mappings.reverse"));
        assert!(forward >= CONNECTIONS as u64 + 2 && reverse == forward, "{forward} forward, {reverse} reverse");
    });
    tcp(&net, "inside", "203.0.113.2:7", 1 << 20);
    // From outside there is no way in but by a mapping.
    tcp_server(&net, "inside", 8);
    net.ip("outside", &["route", "add", "10.0.0.0/24", "via", "203.0.113.1"]);
    assert!(tcp_refused(&net, "outside", "10.0.0.2:8"));
    assert!(net.drops("no mapping") > 0);
}
