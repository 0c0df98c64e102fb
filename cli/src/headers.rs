//! The headers of a packet, a line each.

use etherparse::{EtherType, IpNumber, LaxPacketHeaders, LinkExtHeader, LinkHeader, NetHeaders, TransportHeader};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The headers that can be made out in the beginning of a frame.
pub(crate) fn headers(bytes: &[u8]) -> Vec<String> {
    let Ok(packet) = LaxPacketHeaders::from_ethernet(bytes) else { return Vec::new() };
    let mut lines = Vec::new();
    if let Some(LinkHeader::Ethernet2(link)) = &packet.link {
        lines.push(format!("Ethernet {} > {}, {}", mac(&link.source), mac(&link.destination), ether_type(link.ether_type)));
    }
    for ext in &packet.link_exts {
        if let LinkExtHeader::Vlan(tag) = ext {
            lines.push(format!("VLAN {}, priority {}, {}", tag.vlan_id.value(), tag.pcp.value(), ether_type(tag.ether_type)));
        }
    }
    match &packet.net {
        Some(NetHeaders::Ipv4(ip, _)) => {
            let (from, to) = (Ipv4Addr::from(ip.source), Ipv4Addr::from(ip.destination));
            let at = u32::from(ip.fragment_offset.value()) * 8;
            let fragment = if ip.more_fragments || at > 0 { format!(", fragment at {at}") } else { String::new() };
            let (ttl, length) = (ip.time_to_live, ip.total_len);
            lines.push(format!(
                "IPv4 {from} > {to}, {}, TTL {ttl}, id {}, {length} bytes{fragment}",
                protocol(ip.protocol),
                ip.identification
            ));
        }
        Some(NetHeaders::Ipv6(ip, _)) => {
            let (from, to) = (Ipv6Addr::from(ip.source), Ipv6Addr::from(ip.destination));
            lines.push(format!(
                "IPv6 {from} > {to}, {}, hop limit {}, {} bytes behind",
                protocol(ip.next_header),
                ip.hop_limit,
                ip.payload_length
            ));
        }
        Some(NetHeaders::Arp(arp)) => {
            let address = |bytes: &[u8]| match bytes {
                [a, b, c, d] => Ipv4Addr::new(*a, *b, *c, *d).to_string(),
                other => mac(other),
            };
            let (who, asked) = (address(arp.sender_protocol_addr()), address(arp.target_protocol_addr()));
            lines.push(match arp.operation.0 {
                1 => format!("ARP who has {asked}? asks {who} at {}", mac(arp.sender_hw_addr())),
                2 => format!("ARP {who} is at {}", mac(arp.sender_hw_addr())),
                other => format!("ARP operation {other}"),
            });
        }
        None => {}
    }
    match &packet.transport {
        Some(TransportHeader::Udp(udp)) => {
            lines.push(format!("UDP {} > {}, {} bytes", udp.source_port, udp.destination_port, udp.length));
        }
        Some(TransportHeader::Tcp(tcp)) => {
            let flags =
                [(tcp.syn, "SYN"), (tcp.ack, "ACK"), (tcp.fin, "FIN"), (tcp.rst, "RST"), (tcp.psh, "PSH"), (tcp.urg, "URG")];
            let flags: Vec<&str> = flags.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect();
            let (from, to) = (tcp.source_port, tcp.destination_port);
            let (number, next, window) = (tcp.sequence_number, tcp.acknowledgment_number, tcp.window_size);
            lines.push(format!("TCP {from} > {to} {}, sequence {number}, acknowledges {next}, window {window}", flags.join(" ")));
        }
        Some(TransportHeader::Icmpv4(icmp)) => lines.push(format!("ICMP {}", crate::capture::icmp4(&icmp.icmp_type))),
        Some(TransportHeader::Icmpv6(icmp)) => lines.push(format!("ICMPv6 {:?}", icmp.icmp_type)),
        Some(TransportHeader::Igmp(_)) => lines.push("IGMP".to_string()),
        None => {}
    }
    lines
}

fn mac(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":")
}

fn ether_type(number: EtherType) -> String {
    match number {
        EtherType::IPV4 => "IPv4".to_string(),
        EtherType::IPV6 => "IPv6".to_string(),
        EtherType::ARP => "ARP".to_string(),
        EtherType::VLAN_TAGGED_FRAME => "VLAN".to_string(),
        other => format!("type 0x{:04x}", other.0),
    }
}

fn protocol(number: IpNumber) -> String {
    number.keyword_str().map_or_else(|| format!("protocol {}", number.0), str::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_told_one_by_one() {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x81, 0, 0x20, 7, 8, 0];
        frame.extend([0x45, 0, 0, 28, 0, 9, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0, 53, 0, 7, 0, 8, 0, 0]);
        let expected = [
            "Ethernet 02:00:00:00:00:01 > 02:00:00:00:00:02, VLAN",
            "VLAN 7, priority 1, IPv4",
            "IPv4 192.0.2.1 > 192.0.2.2, UDP, TTL 64, id 9, 28 bytes",
            "UDP 53 > 7, 8 bytes",
        ];
        assert_eq!(headers(&frame), expected);
        for length in 0..frame.len() {
            let some = headers(&frame[..length]);
            assert!(some.iter().zip(expected).all(|(line, expected)| line == expected), "{length}: {some:?}");
        }
    }
}
