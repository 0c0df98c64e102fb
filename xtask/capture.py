#!/usr/bin/env python3
"""Makes the captures of the examples: the kernel's own TCP, UDP and ICMP stacks talk through veth pairs in network namespaces.

In the middle, where the box of an example will stand, is a namespace that bridges, routes or translates as the kernel does. What
enters it is captured there. Offloads are off at all ends, so that frames and checksums are as on a wire.

Needs root, iproute2 and nftables. Usage: capture.py EXAMPLES_FOLDER [BOX...]
"""
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import time

MIDDLE = "middle"


def sh(*words):
    subprocess.run(words, check=True)


def inside(ns, *words):
    sh("ip", "netns", "exec", ns, *words)


# ---- what runs inside a namespace ----

def sniff(port, path):
    """Writes every frame that enters by a port to a pcap file with nanoseconds, until it is told to stop."""
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    s.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
    s.bind((port, 0))
    s.settimeout(0.2)
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1))
        print("ready", flush=True)
        while not stop:
            try:
                frame, more, _, address = s.recvmsg(65536, 256)
            except (TimeoutError, InterruptedError):
                continue
            if address[2] == socket.PACKET_OUTGOING:
                continue
            stamp = next(d for level, kind, d in more if level == socket.SOL_SOCKET)
            sec, ns = struct.unpack("qq", stamp[:16])
            out.write(struct.pack("<IIII", sec, ns, len(frame), len(frame)) + frame)


def no_offloads(port):
    """Checksums in software, no segmentation or merging (ETHTOOL_SRXCSUM, STXCSUM, SSG, STSO, SGSO, SGRO)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for command in (0x15, 0x17, 0x19, 0x1F, 0x24, 0x2C):
            value = bytearray(struct.pack("II", command, 0))
            address = (memoryview(value).cast("B"))
            import ctypes
            pointer = ctypes.addressof(ctypes.c_char.from_buffer(address))
            request = struct.pack("16sP", port.encode(), pointer) + bytes(16)
            try:
                fcntl.ioctl(s, 0x8946, request)
            except OSError:
                pass  # a device without this offload


def tcp_server(address, port):
    s = socket.create_server((address, int(port)))
    print("ready", flush=True)
    while True:
        c, _ = s.accept()
        while data := c.recv(4096):
            c.sendall(b"answer to " + data)
        c.close()


def tcp_client(address, port, source="0", count="3"):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("", int(source)))
        s.settimeout(3)
        try:
            s.connect((address, int(port)))
            for n in range(int(count)):
                s.sendall(b"request %d " % n * (20 * n + 1))
                s.recv(4096)
        except OSError:
            pass  # refused, or dropped by the box in the middle


def udp_server(address, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((address, int(port)))
    print("ready", flush=True)
    while True:
        data, peer = s.recvfrom(4096)
        s.sendto(b"answer to " + data, peer)


def udp_client(address, port, source="0", count="3", size="20"):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("", int(source)))
        s.settimeout(0.3)
        s.connect((address, int(port)))
        for n in range(int(count)):
            try:
                s.send(bytes([65 + n % 26]) * int(size))
                s.recv(4096)
            except OSError:
                pass  # nobody answers, or the port is closed


def udp_burst(address, port, count, size):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for n in range(int(count)):
            s.sendto(bytes([65 + n % 26]) * int(size), (address, int(port)))


def ping(address, count="3"):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as s:
        s.bind(("0.0.0.0", 4242))
        s.settimeout(1)
        for n in range(int(count)):
            s.sendto(struct.pack("!BBHHH", 8, 0, 0, 0, n + 1) + bytes(48), (address, 0))
            try:
                s.recv(4096)
            except OSError:
                pass  # not answered


INSIDE = {f.__name__: f for f in (sniff, no_offloads, tcp_server, tcp_client, udp_server, udp_client, udp_burst, ping)}


# ---- what puts namespaces together ----

class Net:
    """Namespaces around a middle one, and what runs in them."""

    def __init__(self):
        self.names, self.running = [], []
        self.add(MIDDLE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for p in self.running:
            p.terminate()
        for p in self.running:
            p.wait()
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False)

    def add(self, name):
        sh("ip", "netns", "add", name)
        self.names.append(name)
        inside(name, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1",
               "net.ipv4.ping_group_range=0 2147483647")
        inside(name, "ip", "link", "set", "lo", "up")

    def link(self, host, mac, port, port_mac):
        """A veth pair from the new namespace `host` (its device is `eth0`) to the device `port` in the middle."""
        self.add(host)
        sh("ip", "link", "add", "eth0", "netns", host, "address", mac, "type", "veth", "peer", "name", port, "netns", MIDDLE,
           "address", port_mac)
        for ns, device in ((host, "eth0"), (MIDDLE, port)):
            self.do(ns, "no_offloads", device)
            inside(ns, "ip", "link", "set", "dev", device, "up")

    def address(self, ns, device, *addresses):
        for a in addresses:
            inside(ns, "ip", "address", "add", a, "dev", device)

    def route(self, ns, *words):
        inside(ns, "ip", "route", "add", *words)

    def bridge(self, *ports):
        inside(MIDDLE, "ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
        inside(MIDDLE, "ip", "link", "set", "br0", "up")
        for port in ports:
            inside(MIDDLE, "ip", "link", "set", "dev", port, "master", "br0")

    def forward(self):
        inside(MIDDLE, "sysctl", "-qw", "net.ipv4.ip_forward=1")

    def nft(self, *rules):
        subprocess.run(["ip", "netns", "exec", MIDDLE, "nft", "-f", "-"], input="\n".join(rules), text=True, check=True)

    def start(self, ns, *words):
        p = subprocess.Popen(["ip", "netns", "exec", ns, sys.executable, __file__, "--inside", *words], stdout=subprocess.PIPE)
        p.stdout.readline()
        self.running.append(p)

    def do(self, ns, *words):
        inside(ns, sys.executable, __file__, "--inside", *words)

    def capture(self, folder, **ports):
        for name, port in ports.items():
            self.start(MIDDLE, "sniff", port, os.path.join(folder, name + ".pcap"))


def nat(net, folder):
    net.link("in", "02:00:00:00:01:02", "inside", "02:00:00:00:01:01")
    net.link("out", "02:00:00:00:02:02", "outside", "02:00:00:00:02:01")
    net.address("in", "eth0", "10.0.0.2/24")
    net.address("out", "eth0", "203.0.113.2/24")
    net.address("out", "lo", "198.51.100.7/32")
    net.address(MIDDLE, "inside", "10.0.0.1/24")
    net.address(MIDDLE, "outside", "203.0.113.1/24")
    net.route("in", "default", "via", "10.0.0.1")
    net.route(MIDDLE, "default", "via", "203.0.113.2")
    net.forward()
    net.nft("table ip nat {", "chain post { type nat hook postrouting priority 100; oifname outside masquerade; }", "}")
    net.start("out", "tcp_server", "198.51.100.7", "80")
    net.start("out", "udp_server", "198.51.100.7", "53")
    net.capture(folder, inside="inside", outside="outside")
    net.do("in", "tcp_client", "198.51.100.7", "80", "5000")
    net.do("in", "udp_client", "198.51.100.7", "53", "6000")
    net.do("in", "udp_client", "203.0.113.2", "9", "6001", "2")
    net.do("in", "tcp_client", "203.0.113.2", "81", "5001")
    net.do("in", "ping", "198.51.100.7")
    net.do("out", "udp_client", "203.0.113.1", "7777", "54", "2")


def firewall(net, folder):
    net.link("in", "02:00:00:00:01:02", "inside", "02:00:00:00:01:01")
    net.link("out", "02:00:00:00:02:02", "outside", "02:00:00:00:02:01")
    net.bridge("inside", "outside")
    net.address("in", "eth0", "192.168.1.10/24")
    net.address("out", "eth0", "192.168.1.77/24")
    net.start("out", "tcp_server", "192.168.1.77", "80")
    net.start("out", "udp_server", "192.168.1.77", "53")
    net.start("in", "tcp_server", "192.168.1.10", "22")
    net.capture(folder, inside="inside", outside="outside")
    net.do("in", "tcp_client", "192.168.1.77", "80", "5000")
    net.do("in", "udp_client", "192.168.1.77", "53", "6000")
    net.do("in", "udp_client", "192.168.1.77", "9", "6001", "2")
    net.do("in", "ping", "192.168.1.77")
    net.do("out", "tcp_client", "192.168.1.10", "22", "5002", "1")
    net.do("out", "ping", "192.168.1.10", "2")


def bridge(net, folder):
    for n in range(4):
        net.link(f"h{n}", f"02:00:00:00:00:0{n + 1}", f"p{n}", f"02:00:00:00:01:0{n + 1}")
        net.address(f"h{n}", "eth0", f"10.0.0.{n + 1}/24")
    net.bridge("p0", "p1", "p2", "p3")
    net.start("h3", "tcp_server", "10.0.0.4", "80")
    net.capture(folder, p0="p0", p1="p1", p2="p2", p3="p3")
    net.do("h0", "ping", "10.0.0.2")
    net.do("h1", "ping", "10.0.0.3", "2")
    net.do("h2", "tcp_client", "10.0.0.4", "80", "5000", "1")


def policer(net, folder):
    net.link("left", "02:00:00:00:00:01", "a", "02:00:00:00:01:01")
    net.link("right", "02:00:00:00:00:02", "b", "02:00:00:00:01:02")
    net.bridge("a", "b")
    net.address("left", "eth0", "10.0.0.1/24")
    net.address("right", "eth0", "10.0.0.2/24")
    net.start("right", "udp_server", "10.0.0.2", "9000")
    net.capture(folder, a="a", b="b")
    net.do("left", "ping", "10.0.0.2", "2")
    net.do("left", "udp_burst", "10.0.0.2", "9000", "60", "1400")
    time.sleep(0.1)
    net.do("left", "udp_client", "10.0.0.2", "9000", "6000", "3")


def router(net, folder):
    for n in range(3):
        net.link(f"h{n}", f"02:00:00:00:01:0{n}", f"p{n}", f"02:00:00:00:00:1{n}")
        net.address(f"h{n}", "eth0", f"10.0.{n}.2/24")
        net.address(MIDDLE, f"p{n}", f"10.0.{n}.1/24")
        net.route(f"h{n}", "default", "via", f"10.0.{n}.1")
    net.forward()
    net.start("h1", "tcp_server", "10.0.1.2", "80")
    net.start("h2", "udp_server", "10.0.2.2", "53")
    net.capture(folder, p0="p0", p1="p1", p2="p2")
    net.do("h0", "tcp_client", "10.0.1.2", "80", "5000", "2")
    net.do("h0", "udp_client", "10.0.2.2", "53", "6000")
    net.do("h0", "ping", "10.0.2.2", "2")
    net.do("h1", "ping", "10.0.2.2", "1")
    net.do("h0", "udp_client", "172.16.0.1", "53", "6001", "1")


def lb(net, folder):
    net.link("clients", "02:00:00:00:0c:01", "net", "02:00:00:00:01:01")
    net.address("clients", "eth0", "10.200.0.2/16", "10.200.0.3/16")
    net.address(MIDDLE, "net", "10.200.0.1/16")
    net.address(MIDDLE, "lo", "10.200.1.1/32", "10.200.1.2/32")
    net.start(MIDDLE, "tcp_server", "10.200.1.1", "80")
    net.start(MIDDLE, "udp_server", "10.200.1.2", "53")
    net.capture(folder, net="net")
    for source in ("5000", "5001", "5002"):
        net.do("clients", "tcp_client", "10.200.1.1", "80", source, "1")
    net.do("clients", "udp_client", "10.200.1.2", "53", "6000")
    net.do("clients", "ping", "10.200.1.1", "1")


def lb_nat(net, folder):
    net.link("clients", "02:00:00:00:01:fe", "clients", "02:00:00:00:01:01")
    net.link("servers", "02:00:00:00:02:11", "servers", "02:00:00:00:02:01")
    net.address("clients", "eth0", "203.0.113.254/24")
    net.address("servers", "eth0", "10.1.0.11/16")
    net.address(MIDDLE, "clients", "203.0.113.2/24", "203.0.113.1/24")
    net.address(MIDDLE, "servers", "10.1.0.1/16")
    net.route("servers", "default", "via", "10.1.0.1")
    net.forward()
    net.nft("table ip nat {", "chain pre { type nat hook prerouting priority -100; ip daddr 203.0.113.1 tcp dport 80 dnat to 10.1.0.11; }", "}")
    net.start("servers", "tcp_server", "10.1.0.11", "80")
    net.capture(folder, clients="clients", servers="servers")
    for source in ("5000", "5001"):
        net.do("clients", "tcp_client", "203.0.113.1", "80", source, "2")


def proxy(net, folder):
    net.link("clients", "02:00:00:00:01:fe", "net", "02:00:00:00:01:01")
    net.link("proxy", "02:00:00:00:02:0a", "proxy", "02:00:00:00:02:01")
    net.address("clients", "eth0", "203.0.113.254/24")
    net.address("clients", "lo", "198.51.100.7/32")
    net.address("proxy", "eth0", "10.2.0.10/24")
    net.address(MIDDLE, "net", "203.0.113.2/24")
    net.address(MIDDLE, "proxy", "10.2.0.1/24")
    net.route("clients", "192.0.2.0/24", "via", "203.0.113.2")
    net.route("clients", "10.2.0.0/24", "via", "203.0.113.2")
    net.route("proxy", "default", "via", "10.2.0.1")
    net.forward()
    net.nft("table ip nat {",
            "chain pre { type nat hook prerouting priority -100; iifname net tcp dport 80 dnat to 10.2.0.10:3128; }",
            "chain post { type nat hook postrouting priority 100; oifname proxy tcp dport 3128 masquerade; }", "}")
    net.start("proxy", "tcp_server", "10.2.0.10", "3128")
    net.start("proxy", "udp_server", "10.2.0.10", "53")
    net.capture(folder, net="net", proxy="proxy")
    net.do("clients", "tcp_client", "192.0.2.80", "80", "5000", "2")
    net.do("clients", "tcp_client", "192.0.2.81", "80", "5001", "1")
    net.do("clients", "udp_client", "10.2.0.10", "53", "6000", "2")


BOXES = {"nat": nat, "firewall": firewall, "bridge": bridge, "policer": policer, "router": router, "lb": lb, "lb-nat": lb_nat,
         "proxy": proxy}


def main():
    if sys.argv[1:2] == ["--inside"]:
        return INSIDE[sys.argv[2]](*sys.argv[3:])
    if len(sys.argv) < 2 or os.geteuid() != 0:
        sys.exit(__doc__)
    for name in sys.argv[2:] or BOXES:
        folder = os.path.join(sys.argv[1], name)
        with Net() as net:
            BOXES[name](net, folder)
            time.sleep(0.5)
        print(name, *(f"{f}: {os.path.getsize(os.path.join(folder, f))} bytes" for f in sorted(os.listdir(folder)) if f.endswith(".pcap")))


if __name__ == "__main__":
    main()
