//! The policer's rate, as a receiver measures it.

use crate::net::{Net, allowed};
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Bytes of a payload, and of its frame: Ethernet, IPv4, UDP.
const PAYLOAD: usize = 1_000;
const FRAME: u64 = 1_000 + 14 + 20 + 8;

/// 10 Mbit/s.
const RATE: f64 = 10_000_000.0 / 8.0;

/// How long is measured.
const TIME: Duration = Duration::from_secs(6);

#[test]
fn the_rate_is_the_one_that_is_set() {
    if !allowed("the rate is the one that is set") {
        return;
    }
    let net = Net::new(&["a", "b"]);
    net.load("examples/policer/policer.grv", &[]);
    net.connect("a", "192.0.2.1/24");
    net.connect("b", "192.0.2.2/24");
    let receiver = net.within("b", || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 9)).expect("a socket"));
    receiver.set_read_timeout(Some(Duration::from_millis(500))).expect("a time limit");
    let end = Arc::new(AtomicBool::new(false));
    let ended = end.clone();
    let sender = net.meanwhile("a", move || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
        let mut sent: u64 = 0;
        while !ended.load(Ordering::Relaxed) {
            // About five times the rate, in small bursts.
            for _ in 0..6 {
                sent += u64::from(socket.send_to(&[0; PAYLOAD], "192.0.2.2:9").is_ok());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        sent
    });
    let mut bytes = [0; 2_048];
    let mut count_for = |time: Duration| {
        let start = Instant::now();
        let mut frames: u64 = 0;
        while start.elapsed() < time {
            frames += u64::from(receiver.recv(&mut bytes).is_ok());
        }
        (frames * FRAME) as f64 / start.elapsed().as_secs_f64()
    };
    // The burst first.
    count_for(Duration::from_secs(1));
    let measured = count_for(TIME);
    let buckets = net.table("meter.buckets");
    end.store(true, Ordering::Relaxed);
    let sent = sender.join().expect("the sender ends");
    let off = (measured / RATE - 1.0).abs();
    eprintln!("the rate is the one that is set: {measured:.0} bytes/s of {RATE:.0}, {sent} packets sent");
    assert!(off < 0.02, "{measured:.0} bytes/s pass, and {RATE:.0} are set");
    let dropped = net.drops("rate");
    assert!(dropped > 0);
    // All that was sent came to the port, and what was not dropped left by the other.
    let received = net.traffic("a", "received");
    assert!(received >= sent && net.traffic("b", "sent") + dropped >= sent, "{received} of {sent} received");
    let source = u32::from(Ipv4Addr::new(192, 0, 2, 0));
    assert_eq!((&buckets["live"], &buckets["entries"][0]["key"]), (&1.into(), &source.into()), "{buckets}");
}
