#!/usr/bin/env python3
"""Measures how the time that proofs take grows with a program. Prints two Markdown tables; needs `cargo build --release` only.

The nat with elements beside it that its promises do not speak of; and chains of elements that a promise does speak of, from one end to the other.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

from run import GRV, ROOT, table

ROUNDS = 3

ELEMENT = """
element Count {
    input frame;
    output passed;
    state frames: counter;

    on frame(p) {
        match p {
            { Ethernet as eth } => {
                frames.add(1);
                emit passed;
            }
            _ => drop "malformed",
        }
    }
}

element OneWay {
    input frame;
    on frame(p) { drop "one way" }
}
"""


def chain(count, first, last):
    """A chain of elements between two ports."""
    names = [f"count{n}" for n in range(count)]
    lines = [f"    {name}: Count;" for name in names] + [f"    {first} -> {names[0]}.frame;"]
    lines += [f"    {a}.passed -> {b}.frame;" for a, b in zip(names, names[1:])]
    lines += [f"    {names[-1]}.passed -> {last};", "    one_way: OneWay;", f"    {last} -> one_way.frame;"]
    return "\n".join(lines) + "\n"


def took(path, properties):
    """The median time of the proofs of some properties of a file, which must all be proved."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        args = [GRV, "verify", "--jobs", "2", "--cache", "off", "--format", "json", path]
        done = subprocess.run(args + [p for name in properties for p in ("--property", name)], stdout=subprocess.PIPE)
        times.append(time.perf_counter() - start)
        verdicts = {o["verdict"] for o in json.loads(done.stdout)["obligations"]}
        assert verdicts == {"proved"}, verdicts
    return sorted(times)[ROUNDS // 2]


def nat(folder, count):
    """The nat, with so many elements beside it between two ports of their own."""
    path = os.path.join(folder, "examples", "nat", "nat.grv")
    with open(os.path.join(ROOT, "examples", "nat", "nat.grv")) as source:
        text = source.read()
    if count:
        # Behind the ports of the box.
        head, rest = text.split("    port inside, outside;\n", 1)
        text = head + "    port inside, outside, spare, beside;\n" + chain(count, "spare", "beside") + rest
        text = text.replace("// ---- what is remembered ----\n", ELEMENT, 1)
    with open(path, "w") as out:
        out.write(text)
    return path


def alone(folder, count):
    """A box that is a chain."""
    path = os.path.join(folder, "chain.grv")
    with open(path, "w") as out:
        out.write("use std::net::Ethernet;\n" + ELEMENT + "\nmiddlebox Chain {\n    port a, b;\n" + chain(count, "a", "b"))
        out.write("    shape Frame = { Ethernet as eth };\n")
        out.write("    property passes { forall p: Frame at a then count(p emits b as q: Frame where same(p, q)) == 1; }\n}\n")
    return path


def main():
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for part in ("examples", "specs"):
            shutil.copytree(os.path.join(ROOT, part), os.path.join(folder, part))
        rows, first = [], None
        for count in (0, 10, 30, 100):
            time_s = took(nat(folder, count), ["Traditional.*"])
            first = first or time_s
            rows.append((str(count), f"{time_s:.2f} s", f"{time_s / first:.2f}"))
        table(("elements beside the nat", "`Traditional.*`", "of the nat alone"), rows)
        print()
        rows, first = [], None
        for count in (10, 20, 40, 80):
            time_s = took(alone(folder, count), ["passes"])
            first = first or time_s
            rows.append((str(count), f"{time_s:.3f} s", f"{time_s / first:.2f} (linear: {count // 10})"))
        table(("elements in a chain", "from end to end", "of ten"), rows)


if __name__ == "__main__":
    sys.exit(main())
