//! Random values: most often ones that the program, its parameters or earlier packets speak of, so that things fit together.

use crate::interp::TableUpdate;
use crate::interp::value::mask;
use crate::ir::{Column, PortId, Program, Scalar, Shape, Show, TableId, TableKind};

/// A stream of pseudo-random numbers, and the values that were met.
pub(super) struct Source<'p> {
    program: &'p Program,
    state: u64,
    met: Vec<u128>,
    /// Packets that arrived, and packets that left, with their ports.
    arrived: Vec<(PortId, Vec<u8>)>,
    left: Vec<(PortId, Vec<u8>)>,
}

/// How many values are remembered.
const MEMORY: usize = 64;

impl<'p> Source<'p> {
    pub(super) fn new(program: &'p Program, seed: u64) -> Source<'p> {
        Source { program, state: seed, met: vec![0, 1, 2], arrived: Vec::new(), left: Vec::new() }
    }

    /// Makes values by the way: what comes after does not depend on them.
    pub(super) fn aside<T>(&mut self, number: u64, make: impl FnOnce(&mut Source<'p>) -> T) -> T {
        let (state, met) = (self.state, self.met.clone());
        self.state ^= number.wrapping_add(1).wrapping_mul(0xd134_2543_de82_ef95);
        let made = make(self);
        (self.state, self.met) = (state, met);
        made
    }

    /// The next pseudo-random number (SplitMix64).
    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not zero.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// True once in `n` times.
    pub(super) fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(super) fn remember(&mut self, bits: u128) {
        if !self.met.contains(&bits) {
            if self.met.len() < MEMORY {
                self.met.push(bits);
            } else {
                let at = self.below(MEMORY as u64) as usize;
                self.met[at] = bits;
            }
        }
    }

    /// A packet that arrived before, once more; or an answer to one that left.
    pub(super) fn again(&mut self) -> Option<(PortId, Vec<u8>)> {
        match self.below(8) {
            0..3 if !self.arrived.is_empty() => {
                let at = self.below(self.arrived.len() as u64) as usize;
                Some(self.arrived[at].clone())
            }
            3..5 if !self.left.is_empty() => {
                let at = self.below(self.left.len() as u64) as usize;
                let (port, mut packet) = self.left[at].clone();
                // Both ends swapped, of Ethernet, IPv4 and ports: sums of words stay as they are.
                for (a, b, n) in [(0, 6, 6), (26, 30, 4), (34, 36, 2)] {
                    if packet.len() >= b + n {
                        (0..n).for_each(|i| packet.swap(a + i, b + i));
                    }
                }
                self.program.ports[port.index()].entry.map(|_| (port, packet))
            }
            _ => None,
        }
    }

    /// Takes in a packet that arrived.
    pub(super) fn arrival(&mut self, port: PortId, packet: &[u8]) {
        self.arrived.push((port, packet.to_vec()));
        self.learn(packet);
    }

    /// Takes in a packet that left.
    pub(super) fn departure(&mut self, port: PortId, packet: &[u8]) {
        self.left.push((port, packet.to_vec()));
        self.learn(packet);
    }

    /// Takes in what may be addresses and ports of a packet.
    fn learn(&mut self, packet: &[u8]) {
        let word = |at: usize, n: usize| packet.get(at..at + n).map(|b| b.iter().fold(0, |v, b| v << 8 | u128::from(*b)));
        for (at, n) in [(0, 6), (6, 6), (26, 4), (30, 4), (34, 2), (36, 2)] {
            if let Some(bits) = word(at, n) {
                self.remember(bits);
            }
        }
    }

    /// A number of a width.
    pub(super) fn bits(&mut self, width: u8) -> u128 {
        let most = mask(width);
        let fitting: Vec<u128> = self.met.iter().copied().filter(|v| *v <= most && (width < 24 || *v > 255)).collect();
        match self.below(8) {
            0 => (u128::from(self.next()) << 64 | u128::from(self.next())) & most,
            1 => most - u128::from(self.below(3)).min(most),
            2 => u128::from(self.below(4)).min(most),
            _ if !fitting.is_empty() => fitting[self.below(fitting.len() as u64) as usize],
            _ => u128::from(self.next()) & most,
        }
    }

    /// A duration around those that matter.
    pub(super) fn duration(&mut self) -> u64 {
        let seconds = [0, 1, 3, 10, 60, 240, 300, 7_440][self.below(8) as usize];
        (seconds * 1_000_000_000 + self.below(3)).saturating_sub(1)
    }

    /// A value of a shape.
    pub(super) fn value(&mut self, shape: &Shape) -> Vec<u128> {
        let mut bits = Vec::new();
        self.write(shape, &mut bits);
        bits
    }

    fn write(&mut self, shape: &Shape, out: &mut Vec<u128>) {
        match shape {
            Shape::Unit => {}
            Shape::Scalar(ty, show) => out.push(self.scalar(*ty, show)),
            Shape::Struct(_, fields) => fields.iter().for_each(|(_, f)| self.write(f, out)),
            Shape::Prefix(ty, show) => {
                let width = if let Scalar::Bits(width) = ty { *width } else { 1 };
                let length = [0, 8, 16, 24, width][self.below(5) as usize].min(width);
                out.push(self.scalar(*ty, show) & mask(width) & !mask(width - length));
                out.push(length.into());
            }
            Shape::Option(inner) => {
                if self.once_in(3) {
                    out.extend(std::iter::repeat_n(0, 1 + crate::text::width(inner)));
                } else {
                    out.push(1);
                    self.write(inner, out);
                }
            }
            Shape::Enum(_, variants) => {
                let tag = self.below(variants.len() as u64) as usize;
                out.push(tag as u128);
                for (index, (_, fields)) in variants.iter().enumerate() {
                    for (_, field) in fields {
                        if index == tag {
                            self.write(field, out);
                        } else {
                            out.extend(std::iter::repeat_n(0, crate::text::width(field)));
                        }
                    }
                }
            }
        }
    }

    fn scalar(&mut self, ty: Scalar, show: &Show) -> u128 {
        match (ty, show) {
            (Scalar::Bool, _) => u128::from(self.below(2)),
            (_, Show::Variant(names)) => u128::from(self.below(names.len() as u64)),
            (Scalar::Bits(width), Show::Duration) => u128::from(self.duration()) & mask(width),
            (Scalar::Bits(width), _) => {
                let bits = self.bits(width);
                self.remember(bits);
                bits
            }
            (Scalar::Int, _) => u128::from(self.below(100)),
        }
    }

    fn columns(&mut self, columns: &[Column]) -> Vec<u128> {
        columns.iter().map(|c| self.scalar(c.ty, &c.show)).collect()
    }

    /// An entry of a table.
    pub(super) fn entry(&mut self, table: TableId) -> (Vec<u128>, Vec<u128>) {
        let declared = &self.program.tables[table.index()];
        let key = match declared.kind {
            TableKind::Map | TableKind::Set | TableKind::Lpm => self.value(&declared.key_shape),
            _ => self.columns(&declared.key),
        };
        (key, self.value(&declared.value_shape))
    }

    /// A few entries.
    pub(super) fn content(&mut self, table: TableId) -> TableUpdate {
        let count = self.below(4);
        let indexed = matches!(self.program.tables[table.index()].kind, TableKind::Array | TableKind::Cell);
        let mut entries: Vec<(Vec<u128>, Vec<u128>)> = Vec::new();
        for _ in 0..count {
            let (key, value) = self.entry(table);
            let key = if indexed { Vec::new() } else { key };
            if indexed || entries.iter().all(|(k, _)| *k != key) {
                entries.push((key, value));
            }
        }
        TableUpdate { table, entries }
    }
}
