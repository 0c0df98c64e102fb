//! Several processors at once on one program, as fast as they can, and what must come out whatever they do to each other.

use crate::loaded::Loaded;
use crate::{allowed, compiled, options};
use grv_codegen::ebpf::{Proofs, build, memory};

/// Packets that each of two threads sends.
const PACKETS: u32 = 100_000;

/// Sends the same packet from two threads; the drops by reason, and how many were sent.
fn hammer(loaded: &mut Loaded, port: u32, packet: &[u8]) -> (Vec<u64>, u64) {
    let before = loaded.drops();
    // The clock stands still.
    loaded.set_up(port, 1 << 40);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..PACKETS / 1_000).for_each(|_| loaded.repeat(packet, 1_000)));
        }
    });
    let drops = loaded.drops().iter().zip(before).map(|(after, before)| after - before).collect();
    (drops, u64::from(PACKETS) * 2)
}

fn load(file: &str) -> Loaded {
    let of = compiled(file);
    let program = &of.boxes[0];
    let artefact = build(program, &of.sources, &options(), &Proofs::default()).unwrap_or_else(|e| panic!("{file}: {e:?}"));
    Loaded::new(artefact, program, &[])
}

/// How often drops were counted by a reason.
fn count(loaded: &Loaded, drops: &[u64], reason: &str) -> u64 {
    drops[loaded.artefact.reasons.iter().position(|name| name == reason).unwrap()]
}

#[test]
fn no_token_is_spent_twice() {
    if !allowed("no token is spent twice") {
        return;
    }
    let mut loaded = load("examples/policer/policer.grv");
    // IPv4 in a frame of 100 bytes.
    let mut packet = vec![0; 100];
    packet[12..17].copy_from_slice(&[0x08, 0x00, 0x45, 0, 0]);
    packet[17] = 86;
    let (drops, sent) = hammer(&mut loaded, 0, &packet);
    let (rate, contended) = (count(&loaded, &drops, "rate"), count(&loaded, &drops, "contended"));
    eprintln!("no token is spent twice: {sent} packets, {contended} contended");
    assert_eq!(drops.iter().sum::<u64>(), rate + contended);
    // 64 KiB are 655 frames and a bit, at any time that stands still.
    assert_eq!(sent - rate - contended, 655);
}

#[test]
fn no_change_of_an_entry_is_lost() {
    if !allowed("no change of an entry is lost") {
        return;
    }
    let mut loaded = load("tests/targets/count.grv");
    let mut packet = vec![0; 60];
    packet[6..14].copy_from_slice(&[2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
    let (drops, sent) = hammer(&mut loaded, 0, &packet);
    let contended = count(&loaded, &drops, "contended");
    eprintln!("no change of an entry is lost: {sent} packets, {contended} contended");
    assert_eq!(drops.iter().sum::<u64>(), contended);
    let info = loaded.table("ahead.frames").clone();
    let entries = loaded.entries(&info);
    assert_eq!(entries.len(), 1);
    let counted = memory::get(&entries[0].1, &info.value[0]);
    assert_eq!(counted, u128::from((sent - contended) & 0xffff));
}
