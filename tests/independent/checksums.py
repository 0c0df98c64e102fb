#!/usr/bin/env python3
"""Checks every IPv4, TCP, UDP and ICMP checksum in captures with scapy. Usage: checksums.py FILE.pcap...

Exits with 1, and the file and packet number, where one is wrong. Fragments, and headers whose payload was cut off, are left out.
"""
import sys

from scapy.all import ICMP, IP, TCP, UDP, Ether, rdpcap


def wrong(frame):
    """The names of the headers whose checksums scapy computes otherwise."""
    packet, found = Ether(bytes(frame)), []
    ip = packet.getlayer(IP)
    while ip is not None:
        fresh = IP(bytes(ip))
        del fresh.chksum
        if IP(bytes(fresh)).chksum != ip.chksum:
            found.append("IPv4")
        whole = ip.frag == 0 and not ip.flags.MF and ip.len == len(bytes(ip)[: ip.len])
        for kind in (TCP, UDP, ICMP):
            if whole and isinstance(ip.payload, kind) and not (kind is UDP and ip.payload.chksum == 0):
                fresh = IP(bytes(ip)[: ip.len])
                given = fresh[kind].chksum
                del fresh[kind].chksum
                if IP(bytes(fresh))[kind].chksum != given:
                    found.append(kind.__name__)
        inner = ip.payload
        ip = inner if isinstance(inner, IP) else None
    return found


def main():
    packets = 0
    for name in sys.argv[1:]:
        for number, frame in enumerate(rdpcap(name), 1):
            packets += 1
            if bad := wrong(frame):
                sys.exit(f"{name}: packet {number}: wrong checksum: {', '.join(bad)}")
    print(f"{packets} packets in {len(sys.argv) - 1} files, all checksums right")


if __name__ == "__main__":
    main()
