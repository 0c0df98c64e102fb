//! Several processors at once on one program, as fast as they can, and what must come out whatever they do to each other.

use crate::loaded::Loaded;
use crate::{allowed, compiled, options};
use grv_codegen::ebpf::{ColumnInfo, Proofs, TableInfo, build, memory};
use std::collections::{HashMap, HashSet};

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

/// What is found of two tables that share deadlines when nothing happens any more: nobody holds an entry, no two entries have the same
/// ticket, and each owner's that was not marked as dead has its mirror's, whose value and key are its own key and number.
fn are_inverse(loaded: &Loaded, owner: &str, mirror: &str, number: usize) -> usize {
    let (owner, mirror) = (loaded.table(owner).clone(), loaded.table(mirror).clone());
    let word = |value: &[u8], at: Option<u16>| u64::from_le_bytes(value[at.unwrap().into()..][..8].try_into().unwrap());
    let columns = |info: &TableInfo, key: &[u8], value: &[u8]| -> Vec<u128> {
        let key = info.key.iter().map(|column| memory::get(key, column));
        key.chain(info.value.iter().map(|column| memory::get(value, column))).collect()
    };
    let mut owners = HashMap::new();
    let mut tickets = HashSet::new();
    for (key, value) in loaded.entries(&owner) {
        let (ticket, held) = (word(&value, owner.ticket), word(&value, owner.word));
        assert_ne!(held, 0, "somebody still holds an entry");
        assert!(tickets.insert(ticket), "a ticket of two entries");
        if held >> owner.deadline_shift > 1 {
            let all = columns(&owner, &key, &value);
            owners.insert(all[..owner.key.len()].to_vec(), (ticket, all[owner.key.len() + number]));
        }
    }
    let mut live = 0;
    for (key, value) in loaded.entries(&mirror) {
        let ticket = word(&value, mirror.word);
        assert_ne!(ticket, 0, "somebody still holds a mirror's entry");
        let all = columns(&mirror, &key, &value);
        let named: Vec<u128> = mirror.owner.as_ref().unwrap().key.iter().map(|column| all[*column]).collect();
        if let Some((theirs, number)) = owners.get(&named)
            && *theirs == ticket
        {
            assert_eq!(*number, all[mirror.key.len() - 1], "an entry whose mirror's is another");
            live += 1;
        }
    }
    assert_eq!(live, owners.len(), "entries without a mirror's");
    live
}

/// What is found of two tables in slots when nothing happens any more: nobody holds a slot or an entry of the index, no slot's word is alive without its
/// key's entry in the index leading there, and nothing is in two slots. Gives how many were not marked as dead.
pub(crate) fn are_slots(loaded: &Loaded, owner: &str, mirror: &str) -> usize {
    let (owner, mirror) = (loaded.table(owner).clone(), loaded.table(mirror).clone());
    assert_eq!((owner.keeping, mirror.keeping, &owner.map), ("slots", "slots", &mirror.map));
    // Of dead entries, the index may lead to slots of others.
    let mut leads: HashMap<u32, Vec<Vec<u8>>> = HashMap::new();
    for (key, slot) in loaded.index(&owner) {
        leads.entry(slot.expect("somebody still holds an entry of the index")).or_default().push(key);
    }
    let columns = |of: &[ColumnInfo], slot: &[u8]| -> Vec<u128> { of.iter().map(|column| memory::get(slot, column)).collect() };
    let (mut keys, mut images) = (HashSet::new(), HashSet::new());
    for (number, slot) in (0..).zip(loaded.slots(&owner)) {
        let word = u64::from_le_bytes(slot[owner.word.unwrap().into()..][..8].try_into().unwrap());
        assert_ne!(word, 1, "somebody still holds a slot");
        if word >> owner.deadline_shift > 1 {
            let lead = leads.get(&number).is_some_and(|keys| keys.iter().any(|key| slot.starts_with(key)));
            assert!(lead, "a slot that its key does not lead to");
            assert!(keys.insert(columns(&owner.key, &slot)), "an entry in two slots");
            assert!(images.insert(columns(&mirror.key, &slot)), "a mirror's entry in two slots");
        }
    }
    keys.len()
}

/// Different packets from two threads.
pub(crate) fn rush(loaded: &Loaded, packets: &[Vec<(Vec<u8>, u32)>; 2]) {
    std::thread::scope(|scope| {
        for packets in packets {
            scope.spawn(|| packets.iter().for_each(|(packet, times)| loaded.repeat(packet, *times)));
        }
    });
}

#[test]
fn two_tables_stay_inverse_of_each_other() {
    if !allowed("two tables stay inverse of each other") {
        return;
    }
    let mut loaded = load("tests/targets/pairs.grv");
    // Twenty stations want twelve numbers, of which six can be had, for a few milliseconds of a clock that runs.
    let ask = |station: u8, number: u8| {
        let mut packet = vec![0; 60];
        packet[6..14].copy_from_slice(&[2, 0, 0, 0, 0, station, 0, number]);
        (packet, 40)
    };
    let mut most = 0;
    for round in 0..120_u32 {
        loaded.runs(0);
        let of =
            |thread: u32| (0..20).map(|n| ask(((n * 7 + round + thread * 3) % 20) as u8, ((n + round) % 12) as u8)).collect();
        rush(&loaded, &[of(0), of(1)]);
        most = most.max(are_inverse(&loaded, "pairs.numbers", "pairs.stations", 0));
    }
    let drops = loaded.drops();
    let contended = count(&loaded, &drops, "contended");
    eprintln!("two tables stay inverse of each other: up to {most} entries at once, {contended} packets contended");
    assert!(most > 3, "nothing was there");
    assert_eq!(count(&loaded, &drops, "defect"), 0);
}

#[test]
fn no_slot_has_two_owners() {
    if !allowed("no slot has two owners") {
        return;
    }
    let mut loaded = load("tests/targets/slots.grv");
    // Twenty stations want twenty-four numbers, of which six can be had, for a few milliseconds of a clock that runs.
    let ask = |station: u8, colour: u8, number: u8| {
        let mut packet = vec![0; 60];
        packet[..14].copy_from_slice(&[2, 0, 0, 0, 0, 0x99 - colour, 2, 0, 0, 0, 0, station, 0, number]);
        (packet, 40)
    };
    let mut most = 0;
    for round in 0..120_u32 {
        loaded.runs(0);
        let of = |thread: u32| {
            let one = |n: u32| ask(((n * 7 + round + thread * 3) % 20) as u8, (n / 3 % 2) as u8, ((n + round) % 12) as u8);
            (0..20).map(one).collect()
        };
        rush(&loaded, &[of(0), of(1)]);
        most = most.max(are_slots(&loaded, "numbers.numbers", "numbers.stations"));
    }
    let drops = loaded.drops();
    let contended = count(&loaded, &drops, "contended");
    eprintln!("no slot has two owners: up to {most} entries at once, {contended} packets contended");
    assert!(most > 3, "nothing was there");
    assert_eq!(count(&loaded, &drops, "defect"), 0);
}

#[test]
fn no_public_port_is_given_twice() {
    if !allowed("no public port is given twice") {
        return;
    }
    let mut loaded = load("examples/nat/nat.grv");
    loaded.set_up(0, 1 << 40);
    // Endpoints of many hosts that all want the same few ports, the same ones from both sides at once.
    let udp = |host: u32, port: u16| {
        let mut packet = vec![0; 60];
        packet[12..16].copy_from_slice(&[0x08, 0x00, 0x45, 0]);
        packet[17] = 46;
        packet[22..24].copy_from_slice(&[64, 17]);
        packet[26..30].copy_from_slice(&(0x0a00_0000 + host).to_be_bytes());
        packet[30..34].copy_from_slice(&[192, 0, 2, 1]);
        packet[34..36].copy_from_slice(&port.to_be_bytes());
        packet[38..40].copy_from_slice(&[0, 26]);
        (packet, 1)
    };
    let of = || (0..4_000).map(|n| udp(n / 4, 5_000 + (n % 4) as u16)).collect();
    rush(&loaded, &[of(), of()]);
    let live = are_slots(&loaded, "mappings.forward", "mappings.reverse");
    let drops = loaded.drops();
    let refused = count(&loaded, &drops, "table full") + count(&loaded, &drops, "contended") + count(&loaded, &drops, "no port");
    eprintln!("no public port is given twice: {live} mappings, {refused} packets refused");
    assert!(live as u64 + refused >= 4_000 && live > 3_900, "{live} mappings");
    assert_eq!(count(&loaded, &drops, "defect"), 0);
}

#[test]
fn every_turn_is_a_flow() {
    if !allowed("every turn is a flow") {
        return;
    }
    let of = compiled("tests/targets/turns.grv");
    let program = &of.boxes[0];
    let artefact = build(program, &of.sources, &options(), &Proofs::default()).unwrap();
    let mut loaded = Loaded::new(artefact, program, &[]);
    loaded.set_up(0, 1 << 40);
    let frame = |station: u16| {
        let mut packet = vec![0; 60];
        packet[6..14].copy_from_slice(&[2, 0, 0, 0, (station >> 8) as u8, station as u8, 0x88, 0xb5]);
        (packet, 1)
    };
    rush(&loaded, &[(0..2_000).map(frame).collect(), (0..2_000).rev().map(frame).collect()]);
    // Each station has a turn of its own, and none is left out.
    let info = loaded.table("ahead.turns").clone();
    let mut turns: Vec<u128> = loaded.entries(&info).iter().map(|(_, value)| memory::get(value, &info.value[0])).collect();
    turns.sort_unstable();
    let drops = loaded.drops();
    let contended = count(&loaded, &drops, "contended") + count(&loaded, &drops, "table full");
    eprintln!("every turn is a flow: {} stations, {contended} packets contended", turns.len());
    assert_eq!(turns, (0..turns.len() as u128).collect::<Vec<_>>());
    loaded.remember();
    assert_eq!(loaded.cell(loaded.table("ahead.turn")), turns.len() as u128);
    assert_eq!(turns.len(), 2_000);
}
