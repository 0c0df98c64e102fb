//! Header layouts, decoding and checksums, compared with etherparse on random packets.

#![allow(clippy::unwrap_used, reason = "a test")]

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use grv_lang::compile::compile;
use grv_lang::interp::packet::{Place, get_bits};
use grv_lang::interp::{Layout, Machine, Outcome, Seeded, checksum, with_defaults};
use grv_lang::ir::{Header, HeaderId, PortId, Program};
use grv_lang::source::NoModules;
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};

/// A box that rewrites addresses and ports, and so uses the headers that are compared.
const TEXT: &str = r#"
use std::net::{Ethernet, Icmp, Ipv4, Ipv6, Tcp, Udp, Vlan};

element Rewrite {
    input frame;
    output out;

    on frame(p) {
        match p {
            { Ethernet, Ipv4 as ip, (Tcp | Udp) as l4 } | { Ethernet, Vlan, Ipv4 as ip, (Tcp | Udp) as l4 } => {
                ip.src = 203.0.113.1;
                l4.src = 40_000;
                emit out;
            }
            { Ethernet, Ipv4 as ip, Icmp as icmp } => {
                ip.dst = 203.0.113.1;
                icmp.id = 9;
                emit out;
            }
            { Ethernet, Ipv6 as ip, (Tcp | Udp) as l4 } => {
                ip.src = ip"2001:db8::1";
                l4.dst = 53;
                emit out;
            }
            _ => drop "other",
        }
    }
}

middlebox Box {
    port a;
    rewrite: Rewrite;
    a -> rewrite.frame;
    rewrite.out -> a;
}
"#;

static PROGRAM: LazyLock<Arc<Program>> = LazyLock::new(|| {
    let compiled = compile("independent.grv", TEXT.as_bytes(), &NoModules);
    assert!(compiled.diagnostics.is_empty(), "{:?}", compiled.diagnostics);
    compiled.boxes[0].clone()
});

fn header(name: &str) -> (HeaderId, &'static Header) {
    let index = PROGRAM.headers.iter().position(|h| h.name == name).unwrap();
    (HeaderId(index as u32), &PROGRAM.headers[index])
}

/// Finds headers one behind the other.
fn places(bytes: &[u8], names: &[&str]) -> Vec<(HeaderId, Place)> {
    let (mut start, mut limit) = (0, bytes.len() as u32);
    let mut found = Vec::new();
    for name in names {
        let (id, header) = header(name);
        let place = Layout::new(&PROGRAM, header).parse(bytes, start, limit);
        let place = place.unwrap_or_else(|| panic!("{name} is malformed"));
        found.push((id, place));
        (start, limit) = (place.after(), place.end);
    }
    found
}

fn field(bytes: &[u8], at: &[(HeaderId, Place)], layer: usize, name: &str) -> u128 {
    let (id, place) = at[layer];
    let field = PROGRAM.headers[id.index()].fields.iter().find(|f| f.name == name).unwrap();
    get_bits(bytes, place.start as usize * 8 + field.offset as usize, field.width).unwrap()
}

/// Whether all checksums of all these headers are right.
fn valid(bytes: &[u8], at: &[(HeaderId, Place)]) -> bool {
    (0..at.len()).all(|n| {
        let (id, place) = at[n];
        let header = &PROGRAM.headers[id.index()];
        header.checksums.iter().all(|sum| checksum::valid(&PROGRAM, bytes, header, place, sum, &at[..n]) == Some(true))
    })
}

#[derive(Clone, Debug)]
struct Packet {
    source: [u8; 4],
    destination: [u8; 4],
    six: [u8; 16],
    ports: (u16, u16),
    sequence: u32,
    window: u16,
    ttl: u8,
    flags: (bool, bool, bool),
    options: Vec<u8>,
    vlan: Option<u16>,
    payload: Vec<u8>,
}

fn packets() -> impl Strategy<Value = Packet> {
    let addresses = (any::<[u8; 4]>(), any::<[u8; 4]>(), any::<[u8; 16]>());
    let transport = (any::<(u16, u16)>(), any::<u32>(), any::<u16>(), any::<u8>(), any::<(bool, bool, bool)>());
    let rest = (0usize..=10, prop::option::of(0u16..4096), prop::collection::vec(any::<u8>(), 0..80));
    (addresses, transport, rest).prop_map(
        |((source, destination, six), (ports, sequence, window, ttl, flags), (options, vlan, payload))| Packet {
            source,
            destination,
            six,
            ports,
            sequence,
            window,
            ttl,
            flags,
            options: vec![1; options * 4],
            vlan,
            payload,
        },
    )
}

impl Packet {
    /// The packet as etherparse builds it, and the names of its headers.
    fn build(&self, kind: usize) -> (Vec<u8>, Vec<&'static str>) {
        let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let mut names = vec!["Ethernet"];
        let v4 = || {
            let mut ip =
                etherparse::Ipv4Header::new(0, self.ttl, etherparse::IpNumber::UDP, self.source, self.destination).unwrap();
            ip.options = self.options.as_slice().try_into().unwrap();
            etherparse::IpHeaders::Ipv4(ip, etherparse::Ipv4Extensions::default())
        };
        let stage = match (kind, self.vlan) {
            (3.., _) => {
                names.push("Ipv6");
                link.ipv6(self.six, self.six, self.ttl)
            }
            (0 | 1, Some(id)) => {
                names.extend(["Vlan", "Ipv4"]);
                link.single_vlan(id.try_into().unwrap()).ip(v4())
            }
            _ => {
                names.push("Ipv4");
                link.ip(v4())
            }
        };
        let mut bytes = Vec::new();
        match kind {
            0 | 3 => {
                names.push("Udp");
                stage.udp(self.ports.0, self.ports.1).write(&mut bytes, &self.payload).unwrap();
            }
            1 | 4 => {
                names.push("Tcp");
                let mut tcp = stage.tcp(self.ports.0, self.ports.1, self.sequence, self.window);
                if self.flags.0 {
                    tcp = tcp.syn();
                }
                if self.flags.1 {
                    tcp = tcp.ack(self.sequence ^ 0xffff);
                }
                if self.flags.2 {
                    tcp = tcp.fin();
                }
                tcp.write(&mut bytes, &self.payload).unwrap();
            }
            _ => {
                names.push("Icmp");
                stage.icmpv4_echo_request(self.ports.0, self.ports.1).write(&mut bytes, &self.payload).unwrap();
            }
        }
        (bytes, names)
    }
}

proptest! {
    #[test]
    fn fields_and_checksums_are_those_of_etherparse(packet in packets(), kind in 0usize..5) {
        let (bytes, names) = packet.build(kind);
        let at = places(&bytes, &names);
        prop_assert!(valid(&bytes, &at));
        let sliced = SlicedPacket::from_ethernet(&bytes).unwrap();
        let ip = at.len() - 2;
        match sliced.net.as_ref().unwrap() {
            NetSlice::Ipv4(v4) => {
                let h = v4.header();
                prop_assert_eq!(field(&bytes, &at, ip, "src"), u128::from(u32::from_be_bytes(h.source())));
                prop_assert_eq!(field(&bytes, &at, ip, "dst"), u128::from(u32::from_be_bytes(h.destination())));
                prop_assert_eq!(field(&bytes, &at, ip, "ttl"), u128::from(h.ttl()));
                prop_assert_eq!(field(&bytes, &at, ip, "ihl"), u128::from(h.ihl()));
                prop_assert_eq!(field(&bytes, &at, ip, "df"), u128::from(h.dont_fragment()));
                prop_assert_eq!(field(&bytes, &at, ip, "total_length"), u128::from(h.total_len()));
                prop_assert_eq!(field(&bytes, &at, ip, "checksum"), u128::from(h.header_checksum()));
            }
            NetSlice::Ipv6(v6) => {
                let h = v6.header();
                prop_assert_eq!(field(&bytes, &at, ip, "src"), u128::from_be_bytes(h.source()));
                prop_assert_eq!(field(&bytes, &at, ip, "hop_limit"), u128::from(h.hop_limit()));
                prop_assert_eq!(field(&bytes, &at, ip, "payload_length"), u128::from(h.payload_length()));
            }
            _ => prop_assert!(false, "no ARP was built"),
        }
        match sliced.transport.as_ref().unwrap() {
            TransportSlice::Udp(udp) => {
                prop_assert_eq!(field(&bytes, &at, ip + 1, "src"), u128::from(udp.source_port()));
                prop_assert_eq!(field(&bytes, &at, ip + 1, "dst"), u128::from(udp.destination_port()));
                prop_assert_eq!(field(&bytes, &at, ip + 1, "length"), u128::from(udp.length()));
            }
            TransportSlice::Tcp(tcp) => {
                prop_assert_eq!(field(&bytes, &at, ip + 1, "sequence"), u128::from(tcp.sequence_number()));
                prop_assert_eq!(field(&bytes, &at, ip + 1, "syn"), u128::from(tcp.syn()));
                prop_assert_eq!(field(&bytes, &at, ip + 1, "ack"), u128::from(tcp.ack()));
                prop_assert_eq!(field(&bytes, &at, ip + 1, "fin"), u128::from(tcp.fin()));
                prop_assert_eq!(field(&bytes, &at, ip + 1, "window"), u128::from(tcp.window_size()));
            }
            TransportSlice::Icmpv4(icmp) => {
                prop_assert_eq!(field(&bytes, &at, ip + 1, "type"), u128::from(icmp.type_u8()));
                prop_assert_eq!(field(&bytes, &at, ip + 1, "checksum"), u128::from(icmp.checksum()));
            }
            other => prop_assert!(false, "{other:?} was not built"),
        }
    }

    /// Incremental updates give what etherparse computes anew, for both protocols and all kinds of payload.
    #[test]
    fn rewritten_packets_have_the_checksums_of_etherparse(packet in packets(), kind in 0usize..5) {
        let (bytes, names) = packet.build(kind);
        let mut machine = Machine::new(PROGRAM.clone(), with_defaults(&PROGRAM, &[]).unwrap()).unwrap();
        let mut outcome = Outcome::default();
        machine.packet_into(PortId(0), &bytes, &mut Seeded::exact(0), None, &mut outcome).unwrap();
        let [(_, out)] = outcome.out.as_slice() else { panic!("{names:?} was not rewritten") };
        prop_assert_eq!(out.len(), bytes.len());
        prop_assert!(valid(out, &places(out, &names)));
        let sliced = SlicedPacket::from_ethernet(out).unwrap();
        let transport = sliced.transport.as_ref().unwrap();
        match (sliced.net.as_ref().unwrap(), transport) {
            (NetSlice::Ipv4(v4), TransportSlice::Udp(udp)) => {
                let wanted = udp.to_header().calc_checksum_ipv4_raw(v4.header().source(), v4.header().destination(), udp.payload()).unwrap();
                prop_assert_eq!(udp.checksum(), wanted);
            }
            (NetSlice::Ipv4(v4), TransportSlice::Tcp(tcp)) => {
                let wanted = tcp.to_header().calc_checksum_ipv4_raw(v4.header().source(), v4.header().destination(), tcp.payload()).unwrap();
                prop_assert_eq!(tcp.checksum(), wanted);
            }
            (NetSlice::Ipv6(v6), TransportSlice::Udp(udp)) => {
                let wanted = udp.to_header().calc_checksum_ipv6_raw(v6.header().source(), v6.header().destination(), udp.payload()).unwrap();
                prop_assert_eq!(udp.checksum(), wanted);
            }
            (NetSlice::Ipv6(v6), TransportSlice::Tcp(tcp)) => {
                let wanted = tcp.to_header().calc_checksum_ipv6_raw(v6.header().source(), v6.header().destination(), tcp.payload()).unwrap();
                prop_assert_eq!(tcp.checksum(), wanted);
            }
            (NetSlice::Ipv4(v4), _) => prop_assert_eq!(v4.header().header_checksum(), v4.header().to_header().calc_header_checksum()),
            _ => {}
        }
    }
}
