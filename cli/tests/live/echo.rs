//! Hosts that answer, and hosts that ask: TCP, UDP, ICMP.

use crate::net::Net;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, sockopt};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// How long something may take that is to happen, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// How long nothing is to happen.
pub(crate) const SILENCE: Duration = Duration::from_millis(1_500);

/// Serves one TCP connection after the other: what comes goes back.
pub(crate) fn tcp_server(net: &Net, host: &str, port: u16) {
    let listener = net.within(host, || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("a listener"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut bytes = [0; 65_536];
                while let Ok(count) = stream.read(&mut bytes) {
                    if count == 0 || stream.write_all(&bytes[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

/// Answers datagrams with what they hold.
pub(crate) fn udp_server(net: &Net, host: &str, port: u16) {
    let socket = net.within(host, || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).expect("a socket"));
    std::thread::spawn(move || {
        let mut bytes = [0; 65_536];
        while let Ok((count, from)) = socket.recv_from(&mut bytes) {
            let _answered = socket.send_to(&bytes[..count], from);
        }
    });
}

/// Sends bytes there and back over TCP.
pub(crate) fn tcp(net: &Net, host: &str, to: &str, bytes: usize) {
    let to: SocketAddr = to.parse().expect("an address");
    net.within(host, || {
        let mut stream = TcpStream::connect_timeout(&to, PATIENCE).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        let mut writer = stream.try_clone().expect("another handle");
        let sent: Vec<u8> = (0..bytes).map(|n| (n * 7 % 251) as u8).collect();
        let all = sent.clone();
        let writes = std::thread::spawn(move || writer.write_all(&all));
        let mut back = vec![0; bytes];
        stream.read_exact(&mut back).expect("all comes back");
        assert!(writes.join().expect("the writer ends").is_ok());
        assert!(back == sent, "what comes back is not what was sent");
    });
}

/// Whether a TCP connection can be made.
pub(crate) fn tcp_refused(net: &Net, host: &str, to: &str) -> bool {
    let to: SocketAddr = to.parse().expect("an address");
    net.within(host, || TcpStream::connect_timeout(&to, SILENCE).is_err())
}

/// Whether a datagram is answered in time; it is sent again until then.
pub(crate) fn udp(net: &Net, host: &str, to: &str, within: Duration) -> bool {
    let to: SocketAddr = to.parse().expect("an address");
    net.within(host, || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a time limit");
        let start = Instant::now();
        let mut bytes = [0; 64];
        while start.elapsed() < within {
            let _sent = socket.send_to(b"is anybody there?", to);
            if let Ok((count, from)) = socket.recv_from(&mut bytes) {
                assert_eq!((&bytes[..count], from), (b"is anybody there?".as_slice(), to));
                return true;
            }
        }
        false
    })
}

/// Sends an echo request with a TTL; who answers in time, with which type of ICMP message.
pub(crate) fn ping(net: &Net, host: &str, to: &str, ttl: u32, within: Duration) -> Option<(Ipv4Addr, u8)> {
    let to: Ipv4Addr = to.parse().expect("an address");
    net.within(host, || {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)).expect("a raw socket");
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(Duration::from_millis(200))).expect("a time limit");
        sockopt::set_ip_ttl(&socket, ttl).expect("a TTL");
        let id = (std::process::id() as u16).to_be_bytes();
        let start = Instant::now();
        let mut sequence: u16 = 0;
        while start.elapsed() < within {
            sequence += 1;
            let number = sequence.to_be_bytes();
            let mut request = [8, 0, 0, 0, id[0], id[1], number[0], number[1]];
            let sum = checksum(&request).to_be_bytes();
            request[2..4].copy_from_slice(&sum);
            let _sent = rustix::net::sendto(&socket, &request, SendFlags::empty(), &SocketAddrV4::new(to, 0));
            let until = Instant::now() + Duration::from_millis(300);
            let mut bytes = [0; 2_048];
            while Instant::now() < until {
                let Ok((count, _)) = rustix::net::recv(&socket, bytes.as_mut_slice(), RecvFlags::empty()) else { continue };
                // The IPv4 header without options, then ICMP; an error quotes the request.
                let (ip, icmp) = bytes[..count].split_at(20.min(count));
                let from = Ipv4Addr::new(ip[12], ip[13], ip[14], ip[15]);
                let own = |icmp: &[u8]| icmp.get(4..6) == Some(id.as_slice());
                match icmp.first() {
                    Some(0) if own(icmp) => return Some((from, 0)),
                    Some(kind @ (3 | 11)) if icmp.get(28..).is_some_and(own) => return Some((from, *kind)),
                    _ => {}
                }
            }
        }
        None
    })
}

fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}
