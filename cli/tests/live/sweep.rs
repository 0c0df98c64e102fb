//! Dead entries go while no packets come, and no process runs.

use crate::common::root;
use crate::net::{Net, allowed};
use std::net::UdpSocket;
use std::time::Duration;

/// How long an empty bucket takes to be full again, and so dead: 64 KiB at 50 kbit/s, and some.
const REFILL: Duration = Duration::from_secs(11);

/// How long after that it may be there: a table is swept once a second.
const SWEPT: Duration = Duration::from_secs(3);

#[test]
fn dead_entries_go_by_themselves() {
    if !allowed("dead entries go by themselves") {
        return;
    }
    let net = Net::new(&["a", "b"]);
    let program = std::fs::read_to_string(root().join("examples/policer/policer.grv")).expect("the policer");
    let slow = program.replace("const RATE: u64 = 10Mbit", "const RATE: u64 = 50_000");
    assert_ne!(slow, program);
    let path = std::env::temp_dir().join(format!("{}.grv", net.name));
    std::fs::write(&path, slow).expect("a file");
    let file = path.display().to_string();
    net.load(&file, &[]);
    net.connect("a", "192.0.2.1/24");
    net.connect("b", "192.0.2.2/24");
    let entries = || net.table("meter.buckets")["entries"].as_array().expect("a list").len();
    let empty_a_bucket = || {
        net.within("a", || {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            // The first ones may be lost while the address is resolved.
            for _ in 0..80 {
                let _sent = socket.send_to(&[0; 1_000], "192.0.2.2:9");
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        assert_eq!(entries(), 1, "the bucket is there");
    };
    empty_a_bucket();
    std::thread::sleep(REFILL + SWEPT);
    assert_eq!(entries(), 0, "a dead entry is there");
    // It goes on, with another version of the box, too.
    net.grv(&["load", &file, "--name", &net.name, "--replace", "--allow-unproved"]);
    empty_a_bucket();
    std::thread::sleep(REFILL + SWEPT);
    assert_eq!(entries(), 0, "a dead entry is there");
    std::fs::remove_file(&path).expect("the file can be removed");
}
