//! Captured packets: pcap and pcapng in, pcap out. What is wrong with a capture is told with the number of the packet.

use crate::files::reason;
use etherparse::{LaxPacketHeaders, LaxPayloadSlice, NetHeaders, TransportHeader};
use pcap_file::pcap::{PcapHeader, PcapPacket, PcapParser, PcapWriter};
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgParser};
use pcap_file::{DataLink, PcapError};
use std::borrow::Cow;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::Duration;

/// A captured packet, in the bytes of its file.
pub struct Packet<'f> {
    /// Since the epoch.
    pub time: Duration,
    /// The frame, as far as it was captured.
    pub bytes: Cow<'f, [u8]>,
    /// Whether the capture cut it short.
    pub cut: bool,
}

/// The packets of a capture; what is wrong with it ends them.
pub struct Capture<'f> {
    /// The packets before the first error.
    pub packets: Vec<Packet<'f>>,
    /// The first error.
    pub error: Option<String>,
}

/// Reads a capture. Bytes that are none give an error with the number of the packet, and the packets before it.
pub fn parse(bytes: &[u8]) -> Capture<'_> {
    let mut packets = Vec::new();
    let result = match bytes.get(..4) {
        Some([0x0a, 0x0d, 0x0d, 0x0a]) => read_pcapng(bytes, &mut packets),
        _ => read_pcap(bytes, &mut packets),
    };
    let number = packets.len() + 1;
    let error = result.err().map(|e| format!("packet {number}: {e}"));
    Capture { packets, error }
}

fn read_pcap<'f>(bytes: &'f [u8], packets: &mut Vec<Packet<'f>>) -> Result<(), String> {
    let (mut bytes, parser) = PcapParser::new(bytes).map_err(|e| format!("this is no pcap or pcapng file: {}", wrong(e)))?;
    if parser.header().datalink != DataLink::ETHERNET {
        return Err(format!("only Ethernet captures can be read, this is {:?}", parser.header().datalink));
    }
    while !bytes.is_empty() {
        let (rest, packet) = parser.next_packet(bytes).map_err(wrong)?;
        let cut = (packet.data.len() as u32) < packet.orig_len;
        packets.push(Packet { time: packet.timestamp, bytes: packet.data, cut });
        bytes = rest;
    }
    Ok(())
}

fn read_pcapng<'f>(bytes: &'f [u8], packets: &mut Vec<Packet<'f>>) -> Result<(), String> {
    let (mut bytes, mut parser) = PcapNgParser::new(bytes).map_err(|e| format!("this is no pcapng file: {}", wrong(e)))?;
    let mut interfaces: Vec<(DataLink, u8)> = Vec::new();
    while !bytes.is_empty() {
        let (rest, block) = parser.next_block(bytes).map_err(wrong)?;
        bytes = rest;
        let (interface, units, data, original) = match block {
            Block::SectionHeader(_) => {
                interfaces.clear();
                continue;
            }
            Block::InterfaceDescription(interface) => {
                let resolution = interface.options.iter().find_map(|option| match option {
                    InterfaceDescriptionOption::IfTsResol(resolution) => Some(*resolution),
                    _ => None,
                });
                // Microseconds, if nothing is said (pcapng, if_tsresol).
                interfaces.push((interface.linktype, resolution.unwrap_or(6)));
                continue;
            }
            Block::EnhancedPacket(packet) => (packet.interface_id, packet.timestamp.as_nanos(), packet.data, packet.original_len),
            Block::SimplePacket(packet) => (0, 0, packet.data, packet.original_len),
            _ => continue,
        };
        let Some((link, resolution)) = interfaces.get(interface as usize) else {
            return Err(format!("it names interface {interface}, which is not described"));
        };
        if *link != DataLink::ETHERNET {
            return Err(format!("only Ethernet captures can be read, this is {link:?}"));
        }
        let cut = (data.len() as u32) < original;
        packets.push(Packet { time: time(units, *resolution), bytes: data, cut });
    }
    Ok(())
}

/// What is wrong with the bytes of a capture.
fn wrong(error: PcapError) -> String {
    match error {
        PcapError::IncompleteBuffer => "the file ends in the middle of it".to_string(),
        other => other.to_string(),
    }
}

/// A timestamp in units of the resolution: a negative power of 10, or of 2 if the highest bit is set.
fn time(units: u128, resolution: u8) -> Duration {
    let power = u32::from(resolution & 0x7f);
    let per_second = if resolution & 0x80 == 0 { 10u128.checked_pow(power) } else { 2u128.checked_pow(power) };
    let nanoseconds = per_second.map_or(0, |per_second| units.saturating_mul(1_000_000_000) / per_second.max(1));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

/// Writes packets to a pcap file.
pub(crate) struct Writer {
    inner: PcapWriter<BufWriter<File>>,
    path: String,
}

impl Writer {
    /// Creates a file, with nanoseconds.
    pub(crate) fn create(path: &Path) -> Result<Writer, String> {
        let error = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
        let file = File::create(path).map_err(|e| error(&reason(&e)))?;
        let header = PcapHeader { ts_resolution: pcap_file::TsResolution::NanoSecond, ..PcapHeader::default() };
        let inner = PcapWriter::with_header(BufWriter::new(file), header).map_err(|e| error(&e))?;
        Ok(Writer { inner, path: path.display().to_string() })
    }

    /// Adds a packet.
    pub(crate) fn write(&mut self, time: Duration, bytes: &[u8]) -> Result<(), String> {
        let packet = PcapPacket { timestamp: time, orig_len: bytes.len() as u32, data: Cow::Borrowed(bytes) };
        self.inner.write_packet(&packet).map_err(|e| format!("{}: {e}", self.path))?;
        Ok(())
    }

    /// Writes out what is still held back.
    pub(crate) fn finish(self) -> Result<(), String> {
        let path = self.path;
        let error = |e: std::io::Error| format!("{path}: {}", reason(&e));
        self.inner.into_writer().into_inner().map_err(|e| error(e.into_error())).map(|_| ())
    }
}

/// A packet in a few words.
pub fn describe(bytes: &[u8]) -> String {
    describe_start(bytes, bytes.len())
}

/// A packet in a few words, of which only the beginning may be known.
pub(crate) fn describe_start(bytes: &[u8], length: usize) -> String {
    let Ok(packet) = LaxPacketHeaders::from_ethernet(bytes) else { return format!("{length} bytes, no Ethernet frame") };
    let (from, to) = match &packet.net {
        Some(NetHeaders::Ipv4(ip, _)) => {
            let address = |a: [u8; 4]| std::net::Ipv4Addr::from(a).to_string();
            (address(ip.source), address(ip.destination))
        }
        Some(NetHeaders::Ipv6(ip, _)) => {
            let address = |a: [u8; 16]| std::net::Ipv6Addr::from(a).to_string();
            (address(ip.source), address(ip.destination))
        }
        Some(NetHeaders::Arp(arp)) => {
            let what = match arp.operation.0 {
                1 => "request",
                2 => "reply",
                _ => "packet",
            };
            return format!("ARP {what}, {length} bytes");
        }
        None => {
            let mac = |m: &[u8]| m.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":");
            return format!("{} > {}, {length} bytes", mac(&bytes[6..12]), mac(&bytes[..6]));
        }
    };
    match &packet.transport {
        Some(TransportHeader::Udp(udp)) => {
            format!("UDP {from}:{} > {to}:{}, {length} bytes", udp.source_port, udp.destination_port)
        }
        Some(TransportHeader::Tcp(tcp)) => {
            let flags = [(tcp.syn, "SYN"), (tcp.ack, "ACK"), (tcp.fin, "FIN"), (tcp.rst, "RST"), (tcp.psh, "PSH")];
            let flags: Vec<&str> = flags.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect();
            format!("TCP {from}:{} > {to}:{} {}, {length} bytes", tcp.source_port, tcp.destination_port, flags.join(" "))
        }
        Some(TransportHeader::Icmpv4(icmp)) => format!("ICMP {from} > {to} {}, {length} bytes", icmp4(&icmp.icmp_type)),
        Some(TransportHeader::Icmpv6(icmp)) => format!("ICMPv6 {from} > {to} {:?}, {length} bytes", icmp.icmp_type),
        Some(TransportHeader::Igmp(_)) => format!("IGMP {from} > {to}, {length} bytes"),
        None => {
            let fragment = matches!(&packet.payload, LaxPayloadSlice::Ip(ip) if ip.fragmented);
            format!("IP {from} > {to}{}, {length} bytes", if fragment { " fragment" } else { "" })
        }
    }
}

pub(crate) fn icmp4(kind: &etherparse::Icmpv4Type) -> String {
    use etherparse::Icmpv4Type::{DestinationUnreachable, EchoReply, EchoRequest, TimeExceeded};
    match kind {
        EchoRequest(echo) => format!("echo request {}/{}", echo.id, echo.seq),
        EchoReply(echo) => format!("echo reply {}/{}", echo.id, echo.seq),
        DestinationUnreachable(code) => format!("unreachable, code {}", code.code_u8()),
        TimeExceeded(code) => format!("time exceeded, code {}", code.code_u8()),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_follow_the_interface() {
        assert_eq!(time(1_500_000, 6), Duration::from_millis(1_500));
        assert_eq!(time(1_500_000_000, 9), Duration::from_millis(1_500));
        assert_eq!(time(3 << 9, 0x80 | 10), Duration::from_millis(1_500));
    }

    #[test]
    fn no_bytes_panic() {
        let mut packets = Vec::new();
        for bytes in [&b""[..], b"\x0a\x0d\x0d\x0a", b"\xa1\xb2\xc3\xd4\0\x02", &[0xff; 100]] {
            assert!(read_pcap(bytes, &mut packets).is_err() && read_pcapng(bytes, &mut packets).is_err());
        }
        for n in 0..80 {
            describe(&vec![0x45; n]);
        }
    }
}
