#!/usr/bin/env python3
"""Measures what a user waits for: checking, parsing, running packets, memory. Prints a Markdown table; needs `cargo` only.

Every figure stands beside a baseline of the same run on the same machine, so that ratios can be compared between machines.
"""
import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
GRV = os.path.join(ROOT, "target", "release", "grv")
NAT = os.path.join(ROOT, "examples", "nat")


def seconds(args, rounds):
    """The median of the wall-clock times of a process."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        subprocess.run(args, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def memory(args):
    """The most memory that a process had at one time, in MB."""
    process = subprocess.Popen(args, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    return usage.ru_maxrss / 1024


def capture(path, many):
    """A pcap file of many frames, a microsecond apart."""
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1))
        for n, frame in enumerate(many):
            out.write(struct.pack("<IIII", n // 1_000_000, n % 1_000_000 * 1_000, len(frame), len(frame)) + frame)


def largest():
    """The largest example."""
    files = [os.path.join(d, f) for d, _, names in os.walk(os.path.join(ROOT, "examples")) for f in names if f.endswith(".grv")]
    return max(files, key=os.path.getsize)


def udp(source_port):
    """A UDP packet from the inside host of the nat's captures."""
    def csum(b):
        s = sum(struct.unpack(f"!{len(b) // 2}H", b))
        while s >> 16:
            s = (s & 0xFFFF) + (s >> 16)
        return ~s & 0xFFFF
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 36, 0, 0, 64, 17, 0, bytes([10, 0, 0, 2]), bytes([198, 51, 100, 7]))
    head = head[:10] + struct.pack("!H", csum(head)) + head[12:]
    link = bytes.fromhex("020000000101" "020000000102" "0800")
    return link + head + struct.pack("!HHHH", source_port, 53, 16, 0) + b"12345678"


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    subprocess.run(["cargo", "build", "--quiet", "--release", "--package", "grv"], cwd=ROOT, check=True)
    nothing = seconds([GRV, "--version"], 41)
    rows = []
    box = largest()
    check = seconds([GRV, "check", box], 41)
    rows.append((f"`grv check` of {os.path.basename(box)} ({os.path.getsize(box)} bytes), whole process", f"{check * 1e3:.1f} ms",
                 f"{check / nothing:.1f} x a process that does nothing ({nothing * 1e3:.1f} ms)", "20 ms"))
    lexing, parsing = map(float, subprocess.run(
        ["cargo", "run", "--quiet", "--release", "--package", "grv-lang", "--example", "parse", "--", box],
        cwd=ROOT, check=True, capture_output=True, text=True).stdout.split())
    rows.append((f"parsing {os.path.basename(box)}", f"{parsing:.1f} MB/s", f"{lexing / parsing:.1f} x slower than its lexer ({lexing:.0f} MB/s)",
                 "20 MB/s"))
    with tempfile.TemporaryDirectory() as folder:
        count = 1_000_000
        config = os.path.join(NAT, "config.json")
        packets = [udp(5000 + n % 512) for n in range(512)]
        many, few = os.path.join(folder, "many.pcap"), os.path.join(folder, "few.pcap")
        capture(many, (packets[n % 512] for n in range(count)))
        capture(few, (packets[n % 512] for n in range(1000)))
        args = [GRV, "run", os.path.join(NAT, "nat.grv"), "--config", config, "--in"]
        long, short = seconds(args + [f"inside={many}"], 3), seconds(args + [f"inside={few}"], 3)
        rate = (count - 1000) / (long - short)
        rows.append((f"interpreter on the nat, {count:,} packets of 512 flows", f"{rate / 1e6:.2f} M packets/s", "-", "1 M packets/s"))
        full = os.path.join(folder, "full.pcap")
        capture(full, (udp(n) for n in range(65536)))
        empty, most = memory(args + [f"inside={few}"]), memory(args + [f"inside={full}"])
        rows.append(("memory with 64,512 mappings in the nat, captures included", f"{most:.0f} MB", f"{empty:.0f} MB with 512 mappings",
                     "100 MB"))
    table(("what", "figure", "baseline", "goal"), rows)
    print()
    proofs()


def table(head, rows):
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")


# Seconds: a tenth of Gravel's, for what it proves of boxes of that kind; where it has none, all boxes' five seconds are to suffice.
GOALS = {"nat": 0.5, "lb": 0.2, "bridge": 0.12, "firewall": 0.08, "proxy": 0.08}


def proofs():
    """How long proofs of the examples take, as whole processes with two solvers: of each box all that it claims, and of all boxes."""
    def verify(paths, cache, rounds):
        times, peak, summary = [], 0, {}
        for _ in range(rounds):
            start = time.perf_counter()
            process = subprocess.Popen([GRV, "verify", "--jobs", "2", "--cache", cache, "--format", "json", *paths], stdout=subprocess.PIPE)
            result = json.loads(process.stdout.read())
            summary = result["summary"]
            parity.update(o["property"] for o in result["obligations"] if o["gravel"])
            _, _, usage = os.wait4(process.pid, 0)
            times.append(time.perf_counter() - start)
            peak = max(peak, usage.ru_maxrss / 1024)
        said = ", ".join(f"{count} {verdict}" for verdict, count in sorted(summary.items()) if count)
        return sorted(times)[len(times) // 2], peak, said

    boxes = sorted(name for name in os.listdir(os.path.join(ROOT, "examples")) if os.path.isdir(os.path.join(ROOT, "examples", name)))
    rows, parity = [], set()
    for box in boxes:
        path = os.path.join(ROOT, "examples", box)
        parity = set()
        took, peak, said = verify([path], "off", 3)
        same = seconds([GRV, "verify", "--jobs", "2", "--cache", "off", path] + [a for p in sorted(parity) for a in ("--property", p)], 3) if parity else None
        checked = seconds([GRV, "check", os.path.join(path, box + ".grv")], 11)
        goal = f"{GOALS[box]} s" if box in GOALS else "-"
        rows.append((box, f"{same:.2f} s" if same else "-", goal, f"{took:.2f} s", f"{took / checked:.0f} x `grv check`", f"{peak:.0f} MB", said))
    examples = [os.path.join(ROOT, "examples")]
    with tempfile.TemporaryDirectory() as cache:
        cold, peak, said = verify(examples, cache, 1)
        warm, _, _ = verify(examples, cache, 5)
    rows.append(("all, cold", "-", "-", f"{cold:.2f} s (goal: 5 s)", "-", f"{peak:.0f} MB (goal: 500 MB)", said))
    rows.append(("all, warm", "-", "-", f"{warm:.3f} s (goal: 0.2 s)", f"{cold / warm:.0f} x faster than cold", "-", said))
    table(("`grv verify`, whole process", "parity set", "goal", "all that is claimed", "baseline", "memory without solvers", "verdicts"), rows)


if __name__ == "__main__":
    sys.exit(main())
