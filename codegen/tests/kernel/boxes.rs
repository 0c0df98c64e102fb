//! Boxes that two processors use at once, from a state that one of the box's own tests leads to, and what is in their tables afterwards.

use crate::compare::Compared;
use crate::loaded::Loaded;
use crate::several::{are_slots, rush};
use crate::{allowed, built, compiled};
use grv_codegen::ebpf::{Hook, memory};
use grv_lang::interp::Stimulus;
use grv_lang::interp::test::{Recorded, record};
use grv_lang::ir::PortId;
use std::collections::BTreeMap;

/// Connections that both processors work on.
const CONNECTIONS: u16 = 2_000;

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const FIN: u8 = 0x11;

/// A box at the end of one of its tests, and the first packet of that test.
fn after(file: &str, name: &str) -> (Compared, Vec<u8>) {
    let of = compiled(file);
    let (test, program) = of.tests.iter().find(|(test, _)| test.name == name).unwrap();
    let mut recorded = Recorded::default();
    record(test, program, 1, None, usize::MAX, &mut recorded).unwrap();
    let loaded = Loaded::new(built(Hook::Xdp, program, &of, &[]), program, &recorded.params);
    let mut compared = Compared::new(Hook::Xdp, loaded, program, &recorded.params);
    let mut first = None;
    for event in &recorded.events {
        compared.happens(event, name);
        if let Stimulus::Packet(_, bytes) = event {
            first.get_or_insert_with(|| bytes.clone());
        }
    }
    (compared, first.unwrap())
}

/// The TCP segment of a connection, made from another one's.
fn segment(like: &[u8], connection: u16, flags: u8) -> Vec<u8> {
    let mut packet = like.to_vec();
    // The source's address and port.
    packet[28..30].copy_from_slice(&(connection / 100 + 1_000).to_be_bytes());
    packet[34..36].copy_from_slice(&(connection % 100 + 20_000).to_be_bytes());
    packet[47] = flags;
    packet
}

/// Two processors send packets at once, one of them the ones, one the others. How many were refused for each other's sake: an insertion that finds
/// the other one's under way fails as in a full table, which none is here.
fn meet(loaded: &mut Loaded, now: u64, port: u32, packets: [Vec<Vec<u8>>; 2]) -> u64 {
    loaded.set_up(port, now);
    let before = loaded.drops();
    rush(loaded, &packets.map(|packets| packets.into_iter().map(|packet| (packet, 1)).collect()));
    let drops: Vec<u64> = loaded.drops().iter().zip(before).map(|(after, before)| after - before).collect();
    let reasons = loaded.artefact.reasons.iter().zip(&drops);
    let refused = reasons.filter(|(name, _)| matches!(name.as_str(), "contended" | "table full")).map(|(_, drops)| drops).sum();
    assert_eq!(drops.iter().sum::<u64>(), refused, "dropped for another reason: {drops:?} of {:?}", loaded.artefact.reasons);
    loaded.remember();
    refused
}

/// Segments of all connections, of a few at a time again and again, so that both processors are often at the same one.
fn all(like: &[u8], flags: u8, processor: u16) -> Vec<Vec<u8>> {
    let order = (0..CONNECTIONS / 8).flat_map(|few| (0..4).flat_map(move |turn| (0..8).map(move |n| (few, turn, n))));
    order.map(|(few, turn, n)| segment(like, few * 8 + (n * (2 * turn + 1) + processor * turn) % 8, flags)).collect()
}

/// The same of two processors, each with its own flags.
fn both(like: &[u8], flags: [u8; 2]) -> [Vec<Vec<u8>>; 2] {
    [all(like, flags[0], 0), all(like, flags[1], 1)]
}

/// The entries of a table: the scalars of each key and value, and the word.
fn entries(loaded: &Loaded, name: &str) -> Vec<(Vec<u128>, Vec<u128>, u64)> {
    let info = loaded.table(name);
    let entry = |(key, value): (Vec<u8>, Vec<u8>)| {
        let scalars = info.key.iter().map(|column| memory::get(memory::key_in(info, &key, &value), column)).collect();
        (scalars, memory::value_of(info, &value), memory::word(info.word, &value).unwrap())
    };
    loaded.entries(info).into_iter().map(entry).collect()
}

#[test]
fn no_port_of_the_proxy_is_given_twice() {
    let test = "no port of the proxy is given twice";
    if !allowed(test) {
        return;
    }
    let (mut compared, like) = after("examples/proxy/proxy.grv", "a connection goes to the proxy and back");
    let (mut now, loaded) = (compared.now(), compared.kernel());
    for round in 0..6 {
        // All begin at once, from both sides.
        let mut contended = meet(loaded, now, 0, both(&like, [SYN, SYN]));
        let live = are_slots(loaded, "redirect.mappings", "redirect.ports") as u64;
        assert!(live + contended >= CONNECTIONS.into(), "{live} connections have ports, {contended} packets contended");
        let before = entries(loaded, "redirect.mappings");
        let ports: Vec<u128> = before.iter().map(|(_, value, _)| value[0]).collect();
        assert!(ports.iter().all(|port| (32_768..65_536).contains(port)), "a port below the range");
        // Answers to all ports, which end some connections.
        let answer = |port: &u128| {
            let mut packet = like.clone();
            packet[..6].copy_from_slice(&[2, 0, 0, 0, 2, 1]);
            packet[26..34].copy_from_slice(&[10, 2, 0, 10, 10, 2, 0, 1]);
            packet[34..36].copy_from_slice(&3_128_u16.to_be_bytes());
            packet[36..38].copy_from_slice(&(*port as u16).to_be_bytes());
            packet[47] = if port.is_multiple_of(3) { FIN } else { SYN | ACK };
            packet
        };
        let answers: Vec<Vec<u8>> = ports.iter().map(answer).collect();
        now += 1_000_000_000;
        contended += meet(loaded, now, 1, [answers.clone(), answers]);
        are_slots(loaded, "redirect.mappings", "redirect.ports");
        assert_ne!(entries(loaded, "redirect.mappings"), before, "the answers were nobody's");
        // They end, and begin anew meanwhile.
        contended += meet(loaded, now, 0, both(&like, [RST, SYN]));
        let ports = are_slots(loaded, "redirect.mappings", "redirect.ports");
        eprintln!("{test}: {live} connections, {ports} ports that were not marked as dead, {contended} packets contended");
        // What was reset is dead then, or everything, and is taken over.
        now += if round % 2 == 0 { 11_000_000_000 } else { 8_000_000_000_000 };
    }
}

#[test]
fn every_turn_of_the_nat_balancer_is_a_connection() {
    let test = "every turn of the nat balancer is a connection";
    if !allowed(test) {
        return;
    }
    let (mut compared, like) = after("examples/lb-nat/lb-nat.grv", "in turn, and then always the same");
    let (now, loaded) = (compared.now(), compared.kernel());
    let contended = meet(loaded, now, 0, both(&like, [SYN, SYN]));
    // Each connection has one turn, and turns go round: the backends have the same number, or one more.
    let flows = entries(loaded, "balance.flows");
    let mut shares: BTreeMap<u128, usize> = BTreeMap::new();
    flows.iter().for_each(|(_, value, _)| *shares.entry(value[0]).or_default() += 1);
    assert_eq!(loaded.cell(loaded.table("balance.turn")), flows.len() as u128, "turns without a connection");
    assert!(flows.len() as u64 + contended >= CONNECTIONS.into());
    let (least, most) = (shares.values().min().unwrap(), shares.values().max().unwrap());
    assert!(shares.len() == 3 && most - least <= 1, "shares {shares:?}");
    let backends = |flows: &[(Vec<u128>, Vec<u128>, u64)]| -> BTreeMap<Vec<u128>, u128> {
        flows.iter().map(|(key, value, _)| (key.clone(), value[0])).collect()
    };
    let before = backends(&flows);
    // What goes on does not undo that a connection ends, and all keep their backends.
    let more = meet(loaded, now + 1_000_000_000, 0, both(&like, [ACK, FIN]));
    let flows = entries(loaded, "balance.flows");
    assert_eq!(backends(&flows), before);
    let closing = 1;
    let open = flows.iter().filter(|(_, value, _)| value[1] != closing).count() as u64;
    eprintln!("{test}: {} connections, {contended} and {more} packets contended, {open} did not end", flows.len());
    let others = flows.len() as u64 - u64::from(CONNECTIONS);
    assert!(open <= more + others, "{open} connections did not end");
}

#[test]
fn flows_of_the_balancer_are_what_they_are_one_after_the_other() {
    let test = "flows of the balancer are what they are one after the other";
    if !allowed(test) {
        return;
    }
    let (mut compared, like) = after("examples/lb/lb.grv", "new flows spread over the backends");
    // Whatever comes first: they begin, have their second packets, and end.
    for flags in [[SYN, SYN], [ACK, ACK], [ACK, FIN], [FIN, RST]] {
        let now = compared.now();
        let contended = meet(compared.kernel(), now, 0, both(&like, flags));
        eprintln!("{test}: {contended} packets contended");
        for packet in both(&like, flags).into_iter().flatten() {
            compared.came(PortId(0), &packet);
        }
        // A packet that gave up changed nothing: it comes again, alone.
        if contended > 0 {
            let [ours, theirs] = both(&like, flags);
            assert_eq!(meet(compared.kernel(), now, 0, [[ours, theirs].concat(), Vec::new()]), 0);
        }
        compared.ends(test);
    }
}
