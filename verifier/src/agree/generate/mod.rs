//! Random programs as text, small and well typed but for now and then one that the compiler refuses: they use all kinds of tables
//! and statements, on keys and values from so few that things meet.

mod dice;
mod expr;
mod state;
mod stmt;

use dice::Dice;
use state::{Kind, Table};
use std::fmt::Write;

/// Types of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ty {
    Bool,
    Bits(u8),
    Time,
    /// `struct Pair { a: u8, b: u16 }`.
    Pair,
    /// `enum Phase { idle, busy(until: time), marked(x: u8, y: bool) }`.
    Phase,
    /// `Option<u8>`.
    Perhaps,
}

impl Ty {
    fn name(self) -> String {
        match self {
            Ty::Bool => "bool".to_string(),
            Ty::Bits(width) => format!("u{width}"),
            Ty::Time => "time".to_string(),
            Ty::Pair => "Pair".to_string(),
            Ty::Phase => "Phase".to_string(),
            Ty::Perhaps => "Option<u8>".to_string(),
        }
    }
}

/// A variable that is in scope.
#[derive(Clone)]
struct Var {
    name: String,
    ty: Ty,
    mutable: bool,
}

/// A header layout.
#[derive(Clone)]
struct Layout {
    name: String,
    /// Name, width, and the type's name around the number, if there is one.
    fields: Vec<(String, u8, Option<&'static str>)>,
    /// How many of these may be written: fields that lengths depend on come last.
    writable: usize,
    /// Whether it can be put in: it has no variable part.
    plain: bool,
    /// Layouts that may follow.
    next: Vec<usize>,
}

/// A header that is in scope.
#[derive(Clone)]
struct Held {
    name: String,
    layout: usize,
}

/// What is in scope.
#[derive(Clone, Default)]
struct Scope {
    vars: Vec<Var>,
    headers: Vec<Held>,
    /// Whether the end of the block is that of the handler.
    last: bool,
    /// Whether there is a packet: not in timers, updates and specifications.
    packet: bool,
}

/// A program being written.
struct Writer {
    dice: Dice,
    text: String,
    layouts: Vec<Layout>,
    /// Of the element being written.
    tables: Vec<Table>,
    outputs: Vec<(String, Vec<Ty>)>,
    names: usize,
}

/// Types and functions that all programs have.
const COMMON: &str = "
newtype Address: u32 shown ipv4;
struct Pair { a: u8, b: u16 }
enum Phase { idle, busy(until: time), marked(x: u8, y: bool) }
hash mix(x: u16, y: u8) -> u8;

fn total(p: Pair) -> u16 { p.a as u16 +% p.b }

fn weight(phase: Phase) -> u8 {
    match phase {
        Phase::idle => 0,
        Phase::busy(until) => if until < (3_000_000_000 as time) { 1 } else { 2 },
        Phase::marked(x, y) => if y { x } else { 3 },
    }
}

fn usual(p: Option<u8>) -> u8 {
    match p {
        some(x) => x,
        none => 7,
    }
}

fn patience(key: u8, value: u16) -> duration {
    if key & 1 == 0 { 1s } else if value > 100 { 10s } else { 3s }
}
";

/// The text of a program.
pub(super) fn program(seed: u64) -> String {
    let mut writer = Writer {
        dice: Dice::new(seed),
        text: String::new(),
        layouts: Vec::new(),
        tables: Vec::new(),
        outputs: Vec::new(),
        names: 0,
    };
    writer.program();
    writer.text
}

impl Writer {
    fn name(&mut self, of: &str) -> String {
        self.names += 1;
        format!("{of}{}", self.names)
    }

    fn program(&mut self) {
        if self.dice.once_in(2) {
            self.own_layouts()
        } else {
            self.usual_layouts()
        }
        self.text += COMMON;
        let count = 1 + self.dice.below(3);
        let arguments: Vec<Vec<Ty>> = (0..count).map(|n| if n == 0 { Vec::new() } else { self.arguments() }).collect();
        let contracts: Vec<bool> = (0..count).map(|n| n > 0 && self.dice.once_in(2)).collect();
        for at in 0..count {
            self.element(at, &arguments, &contracts);
        }
        let stops = [self.dice.once_in(2), self.dice.once_in(2)];
        if stops.contains(&true) {
            self.text += "\nelement Stop {\n    input frame;\n    on frame(p) { drop \"stop\" }\n}\n";
        }
        self.text += "\nmiddlebox Main {\n    port a, b, c;\n";
        if stops.contains(&true) {
            self.text += "    stop: Stop;\n";
        }
        for at in 0..count {
            let _ = writeln!(self.text, "    e{at}: E{at};");
        }
        self.text += "    a -> e0.frame;\n";
        for (port, stop) in ["b", "c"].into_iter().zip(stops) {
            let _ = writeln!(self.text, "    {port} -> {}.frame;", if stop { "stop" } else { "e0" });
        }
        for at in 0..count {
            let next = if at + 1 < count { format!("e{}.frame", at + 1) } else { "b".to_string() };
            let _ = writeln!(self.text, "    e{at}.out -> {next};\n    e{at}.side -> c;");
        }
        self.text += "}\n";
    }

    fn arguments(&mut self) -> Vec<Ty> {
        let count = self.dice.below(3);
        (0..count).map(|_| self.any_type()).collect()
    }

    fn any_type(&mut self) -> Ty {
        *self.dice.of(&[
            Ty::Bool,
            Ty::Bits(8),
            Ty::Bits(8),
            Ty::Bits(16),
            Ty::Bits(3),
            Ty::Bits(32),
            Ty::Time,
            Ty::Pair,
            Ty::Phase,
            Ty::Perhaps,
        ])
    }

    fn element(&mut self, at: usize, arguments: &[Vec<Ty>], contracts: &[bool]) {
        let list = |types: &[Ty]| {
            let all: Vec<String> = types.iter().enumerate().map(|(i, ty)| format!("x{i}: {}", ty.name())).collect();
            if all.is_empty() { String::new() } else { format!("({})", all.join(", ")) }
        };
        let first = self.layouts[0].name.clone();
        let shape = |contract: Option<&bool>| if contract == Some(&true) { format!(": Begins{first}") } else { String::new() };
        let passed = arguments.get(at + 1).cloned().unwrap_or_default();
        if at == 0 {
            let _ = writeln!(self.text, "shape Begins{first} = {{ {first} as h0 }};");
        }
        let (own, next) = (shape(contracts.get(at)), shape(contracts.get(at + 1)));
        let _ = writeln!(self.text, "\nelement E{at} {{\n    input frame{}{own};", list(&arguments[at]));
        let _ = writeln!(self.text, "    output out{}{next}, side;\n", list(&passed));
        self.outputs = vec![("out".to_string(), passed), ("side".to_string(), Vec::new())];
        self.declare_tables();
        for _ in 0..self.dice.below(3) {
            self.invariant();
        }
        let names: String = (0..arguments[at].len()).map(|i| format!(", x{i}")).collect();
        let _ = writeln!(self.text, "    on frame(p{names}) {{");
        let vars = arguments[at].iter().enumerate().map(|(i, ty)| Var { name: format!("x{i}"), ty: *ty, mutable: false });
        let scope = Scope { vars: vars.collect(), headers: Vec::new(), last: true, packet: true };
        self.matches(&scope, contracts.get(at + 1) == Some(&true));
        self.text += "    }\n";
        if self.tables.iter().any(|t| t.kind == Kind::Cell && t.written) && self.dice.once_in(4) {
            let scope = Scope::default();
            let on = if self.dice.once_in(2) { "every 1s" } else { "update" };
            if on == "update" || at == 0 {
                let _ = writeln!(self.text, "\n    on {on} {{");
                self.write_cell(&scope);
                self.text += "    }\n";
            }
        }
        self.text += "}\n";
    }

    /// Headers of our own: a few that follow each other, some with lengths, bodies, and checksums.
    fn own_layouts(&mut self) {
        let count = 2 + self.dice.below(3);
        for at in 0..count {
            let name = format!("H{at}");
            let mut fields: Vec<(String, u8)> = vec![("k".to_string(), 8)];
            let mut bits = 8usize;
            for n in 0..1 + self.dice.below(4) {
                let width = *self.dice.of(&[1, 2, 3, 4, 5, 8, 8, 12, 16, 16, 24, 32, 48, 64]);
                fields.push((format!("f{n}"), width));
                bits += usize::from(width);
            }
            if !bits.is_multiple_of(8) {
                fields.push(("pad".to_string(), (8 - bits % 8) as u8));
                bits += 8 - bits % 8;
            }
            let (mut tail, mut plain, mut checksum) = (String::new(), true, None);
            let writable = fields.len();
            if bits.is_multiple_of(16) && self.dice.once_in(2) {
                checksum = Some(self.dice.once_in(3));
                fields.push(("sum".to_string(), 16));
                bits += 16;
            }
            if self.dice.once_in(3) {
                fields.push(("n".to_string(), 2));
                fields.push(("m".to_string(), 6));
                bits += 8;
                tail += "    rest: bytes[n * 2],\n";
                plain = false;
            }
            let bounded = self.dice.once_in(3);
            if bounded {
                fields.push(("bytes".to_string(), 8));
                bits += 8;
            }
            if checksum.is_some() && !bits.is_multiple_of(16) {
                fields.push(("fill".to_string(), 8));
                bits += 8;
            }
            if bounded {
                let _ = writeln!(tail, "\n    valid bytes >= {0};\n    body bytes - {0};", bits / 8);
            }
            let _ = writeln!(self.text, "header {name} {{");
            for (field, width) in &fields {
                let _ = writeln!(self.text, "    {field}: u{width},");
            }
            self.text += &tail;
            match checksum {
                Some(true) if tail.contains("body") => self.text += "    checksum sum over header, body;\n",
                Some(_) => self.text += "    checksum sum over header;\n",
                None => {}
            }
            match at {
                0 => self.text += "    in packet;\n",
                _ => {
                    let before = self.dice.below(at);
                    let _ = writeln!(self.text, "    in H{before} when k == {at};");
                    self.layouts[before].next.push(at);
                    if self.dice.once_in(4) {
                        let _ = writeln!(self.text, "    in H{at} when k == {at};");
                    }
                }
            }
            self.text += "}\n";
            let fields = fields.into_iter().map(|(name, width)| (name, width, None)).collect();
            self.layouts.push(Layout { name, fields, writable, plain, next: Vec::new() });
        }
    }

    /// Headers of the standard library.
    fn usual_layouts(&mut self) {
        self.text += "use std::net::{Ethernet, Vlan, Arp, Ipv4, Tcp, Udp, Icmp, Ipv4Addr, Mac};\n";
        let mut add =
            |name: &str, fields: &[(&str, u8, Option<&'static str>)], fixed: &[(&str, u8)], plain: bool, next: &[usize]| {
                let all = fields.iter().copied().chain(fixed.iter().map(|(name, width)| (*name, *width, None)));
                self.layouts.push(Layout {
                    name: name.to_string(),
                    fields: all.map(|(name, width, ty)| (name.to_string(), width, ty)).collect(),
                    writable: fields.len(),
                    plain,
                    next: next.to_vec(),
                });
            };
        let (mac, address) = (Some("Mac"), Some("Ipv4Addr"));
        add("Ethernet", &[("dst", 48, mac), ("src", 48, mac), ("ethertype", 16, None)], &[], true, &[1, 2, 3]);
        add("Vlan", &[("pcp", 3, None), ("dei", 1, None), ("vid", 12, None), ("ethertype", 16, None)], &[], true, &[2, 3]);
        add(
            "Arp",
            &[("operation", 16, None), ("sender_ip", 32, address), ("target_ip", 32, address)],
            &[("hlen", 8)],
            false,
            &[],
        );
        let ip = [("dscp", 6, None), ("ttl", 8, None), ("identification", 16, None), ("src", 32, address), ("dst", 32, address)];
        add("Ipv4", &ip, &[("protocol", 8), ("total_length", 16), ("ihl", 4), ("mf", 1)], false, &[4, 5, 6]);
        let tcp = [("src", 16, None), ("dst", 16, None), ("sequence", 32, None), ("syn", 1, None), ("window", 16, None)];
        add("Tcp", &tcp, &[], false, &[]);
        add("Udp", &[("src", 16, None), ("dst", 16, None)], &[("length", 16)], false, &[]);
        add("Icmp", &[("type", 8, None), ("id", 16, None)], &[("code", 8)], false, &[]);
    }
}
