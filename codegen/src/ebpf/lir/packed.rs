//! Words that meet only to be put together are put together before: where ways meet that have read the fields of a key, the key meets instead. That is one word
//! instead of several, numbers in it are known on each way, and fields that lie behind each other in the packet are read at once ([`Function::read_together`]).

use super::bits::{Part, parts};
use super::build::evaluate;
use super::simplify::Replaced;
use super::{Arg, Bin, BlockId, End, Function, Inst, Op, Type, Value, mask};
use rustc_hash::FxHashMap;

/// How often a word may be taken out of what it was put into.
const TAKEN_OUT: u32 = 6;

/// A word that is put together of parameters of a block.
struct Packed {
    block: BlockId,
    whole: Value,
    /// Which parameters, and how far each is moved up.
    fields: Vec<(usize, u8)>,
}

impl Function {
    /// Has what is put together of parameters be a parameter.
    pub(super) fn pack_met(&mut self) {
        let mut tried = Vec::new();
        while let Some(packed) = self.next_packed(&tried) {
            tried.push(packed.whole);
            self.pack(&packed);
        }
    }

    /// The first word that is worth it.
    fn next_packed(&self, tried: &[Value]) -> Option<Packed> {
        let mut of: FxHashMap<Value, (BlockId, usize)> = FxHashMap::default();
        for (id, block) in (0..).map(BlockId).zip(&self.blocks) {
            of.extend(block.params.iter().enumerate().map(|(index, param)| (*param, (id, index))));
        }
        let (made, uses) = (self.made(), self.uses());
        let mut best: Option<Packed> = None;
        for result in self.blocks.iter().flat_map(|block| &block.insts).filter_map(|inst| inst.result) {
            if tried.contains(&result) {
                continue;
            }
            let parts = parts(&made, &self.bits, result);
            let Some((block, _)) = parts.first().and_then(|part| of.get(&part.from)).copied() else { continue };
            let field = |part: &Part| {
                let (at, index) = *of.get(&part.from)?;
                let up = u8::try_from(part.up).ok()?;
                let bits = self.bits[part.from.index()];
                let whole = u32::from(bits) + u32::from(up) <= 64 && mask(bits) << up == part.mask;
                (at == block && whole).then_some((index, up))
            };
            let Some(mut fields) = parts.iter().map(field).collect::<Option<Vec<_>>>() else { continue };
            fields.sort_by_key(|(_, up)| u8::MAX - up);
            let apart = parts.iter().map(|part| part.mask.count_ones()).sum::<u32>()
                == parts.iter().fold(0, |all, part| all | part.mask).count_ones();
            let few = parts.iter().all(|part| uses[part.from.index()] <= 1 + TAKEN_OUT);
            if fields.len() > 1 && apart && few && best.as_ref().is_none_or(|best| best.fields.len() < fields.len()) {
                best = Some(Packed { block, whole: result, fields });
            }
        }
        best
    }

    fn pack(&mut self, packed: &Packed) {
        let Packed { block: at, whole, fields } = packed;
        let params = self.blocks[at.index()].params.clone();
        let old: Vec<Value> = fields.iter().map(|(index, _)| params[*index]).collect();
        let most = fields.iter().zip(&old).map(|((_, up), param)| up + self.bits[param.index()]).max().unwrap_or(64);
        let met = self.word(most);
        for index in 0..self.blocks.len() {
            let End::Jump(to, args) = self.blocks[index].end.clone() else { continue };
            if to != *at {
                continue;
            }
            let mut together = None;
            if fields.iter().zip(&old).all(|((index, _), param)| args[*index] == Arg::Value(*param)) {
                // It goes round as it is.
                together = Some(Arg::Value(met));
            } else {
                // From the highest on, so that numbers stay small.
                for ((field, up), next) in fields.iter().zip(fields.iter().skip(1).map(|(_, up)| *up).chain([0])) {
                    let more = together.map_or(args[*field], |before| self.bin_in(index, Bin::Or, before, args[*field]));
                    together = Some(self.bin_in(index, Bin::Shl, more, Arg::Number(u64::from(up - next))));
                }
            }
            let kept = args.iter().enumerate().filter(|(index, _)| fields.iter().all(|(field, _)| field != index));
            let args = kept.map(|(_, arg)| *arg).chain(together).collect();
            self.blocks[index].end = End::Jump(to, args);
        }
        self.blocks[at.index()].params.retain(|param| !old.contains(param));
        self.blocks[at.index()].params.push(met);
        let mut known = Replaced::new(self.types.len());
        known.set(*whole, Arg::Value(met));
        self.replace(&known);
        self.drop_unused();
        for ((_, up), param) in fields.iter().zip(&old) {
            self.take_out(met, *up, *param);
        }
    }

    /// Takes a word out of what it was put into, in each block where it is used.
    fn take_out(&mut self, from: Value, up: u8, word: Value) {
        let bits = self.bits[word.index()];
        for index in 0..self.blocks.len() {
            let block = &self.blocks[index];
            let reads = |args: Vec<Arg>| args.contains(&Arg::Value(word));
            let first = block.insts.iter().position(|inst| reads(inst.op.args()));
            if first.is_none() && !reads(block.end.args()) {
                continue;
            }
            let at = first.unwrap_or(block.insts.len());
            let behind = self.blocks[index].insts.split_off(at);
            let moved = self.bin_in(index, Bin::Shr, Arg::Value(from), Arg::Number(u64::from(up)));
            let taken = match u32::from(up) + u32::from(bits) < u32::from(self.bits[from.index()]) {
                true => self.bin_in(index, Bin::And, moved, Arg::Number(mask(bits))),
                false => moved,
            };
            let block = &mut self.blocks[index];
            block.insts.extend(behind);
            let put = |arg: &mut Arg| {
                if *arg == Arg::Value(word) {
                    *arg = taken;
                }
            };
            block.insts.iter_mut().for_each(|inst| inst.op.each_arg(put));
            block.end.each_arg(put);
        }
    }

    /// Has numbers that lie behind each other in the packet, and that are put together as they lie there, be read as one.
    pub(super) fn read_together(&mut self) {
        let made = self.made();
        for index in 0..self.blocks.len() {
            let mut kept: Vec<Inst> = Vec::new();
            for inst in std::mem::take(&mut self.blocks[index].insts) {
                let words = inst.result.map(|result| (result, together(&made, &self.bits, result)));
                match words.and_then(|(result, words)| Some((result, self.neighbours(&made, &words.0, &kept)?, words))) {
                    Some((result, (high, low, bits, load), (mut all, number))) => {
                        let (word, turned) = (self.word(2 * bits), self.word(2 * bits));
                        let swap = Op::Swap { bits: 2 * bits, a: Arg::Value(word) };
                        kept.push(Inst { op: load, result: Some(word), ..inst.clone() });
                        kept.push(Inst { op: swap, result: Some(turned), ..inst.clone() });
                        all[low] = Part { from: turned, mask: all[low].mask | all[high].mask, ..all[low] };
                        all.remove(high);
                        let fields = if number == 0 { result } else { self.word(self.bits[result.index()]) };
                        self.make(&mut kept, &inst, &all, fields);
                        if number != 0 {
                            let op = Op::Bin { op: Bin::Or, wide: true, a: Arg::Value(fields), b: Arg::Number(number) };
                            kept.push(Inst { op, ..inst });
                        }
                    }
                    None => kept.push(inst),
                }
            }
            self.blocks[index].insts = kept;
        }
        self.drop_unused();
    }

    /// Of parts of a word: two that lie behind each other in the packet, how long each is, and what reads both.
    fn neighbours(&self, made: &FxHashMap<Value, Op>, all: &[Part], before: &[Inst]) -> Option<(usize, usize, u8, Op)> {
        let read = |part: &Part| match made.get(&part.from)? {
            Op::Swap { bits: bits @ (16 | 32), a: Arg::Value(word) } => match made.get(word)? {
                Op::Load { base: base @ Arg::Value(of), offset, bytes } => {
                    let up = u32::try_from(part.up).ok()?;
                    let whole = 8 * bytes == *bits && mask(*bits).checked_shl(up) == Some(part.mask);
                    // Nothing was written since.
                    let here = before.iter().position(|inst| inst.result == Some(*word))?;
                    let same = before[here..].iter().all(|inst| !inst.op.writes());
                    (whole && same && self.types[of.index()] == Type::Packet).then_some((*base, *offset, *bits))
                }
                _ => None,
            },
            _ => None,
        };
        for (high, part) in all.iter().enumerate() {
            let Some((base, offset, bits)) = read(part) else { continue };
            let behind = |other: &Part| {
                other.up + bits as i8 == part.up && read(other) == Some((base, offset + i16::from(bits / 8), bits))
            };
            if let Some(low) = all.iter().position(behind) {
                return Some((high, low, bits, Op::Load { base, offset, bytes: bits / 4 }));
            }
        }
        None
    }

    /// Arithmetic at the end of a block, if it is not known.
    fn bin_in(&mut self, block: usize, op: Bin, a: Arg, b: Arg) -> Arg {
        match (a, b) {
            (Arg::Number(a), Arg::Number(b)) => return Arg::Number(evaluate(op, true, a, b)),
            (known, Arg::Number(0)) if op != Bin::And => return known,
            (Arg::Number(0), known) if op == Bin::Or => return known,
            _ => {}
        }
        let (a, b) = if a.number().is_some() && op == Bin::Or { (b, a) } else { (a, b) };
        let bits = |arg: Arg| match arg {
            Arg::Number(number) => (64 - number.leading_zeros()) as u8,
            Arg::Value(value) => self.bits[value.index()],
            _ => 64,
        };
        let number = b.number().map_or(64, |number| number.min(64) as u8);
        let width = match op {
            Bin::Shl => bits(a).saturating_add(number).min(64),
            Bin::Shr => bits(a).saturating_sub(number),
            Bin::And => bits(a).min(bits(b)),
            _ => bits(a).max(bits(b)),
        };
        let result = self.word(width);
        let span = self.blocks[block].span;
        self.blocks[block].insts.push(Inst { op: Op::Bin { op, wide: true, a, b }, result: Some(result), span, commit: None });
        Arg::Value(result)
    }

    fn word(&mut self, bits: u8) -> Value {
        self.types.push(Type::Word);
        self.bits.push(bits);
        Value(self.types.len() as u32 - 1)
    }
}

/// The parts that a word is put together of, and the bits that are set in it anyway.
fn together(made: &FxHashMap<Value, Op>, bits: &[u8], value: Value) -> (Vec<Part>, u64) {
    let own = || (vec![Part { from: value, up: 0, mask: mask(bits[value.index()]) }], 0);
    match made.get(&value) {
        Some(Op::Bin { op: Bin::Or, wide: true, a: Arg::Value(a), b }) => {
            let (mut all, number) = together(made, bits, *a);
            match b {
                Arg::Number(more) => (all, number | more),
                Arg::Value(b) => {
                    let (others, more) = together(made, bits, *b);
                    all.extend(others);
                    (all, number | more)
                }
                _ => own(),
            }
        }
        Some(Op::Bin { op: Bin::Shl, wide: true, a: Arg::Value(a), b: Arg::Number(by @ 0..=63) }) => {
            let (mut all, number) = together(made, bits, *a);
            for part in &mut all {
                (part.mask, part.up) = (part.mask << by, part.up.saturating_add(*by as i8));
            }
            (all, number << by)
        }
        _ => own(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::run::run;
    use super::super::{Builder, Cmp, Field, Helper, MapId, check};
    use super::*;
    use grv_lang::span::Span;

    fn packet() -> Vec<u8> {
        (0..40).map(|byte: u8| byte.wrapping_mul(37) ^ 0xa5).collect()
    }

    fn count(function: &Function, of: impl Fn(&Op) -> bool) -> usize {
        function.blocks.iter().flat_map(|block| &block.insts).filter(|inst| of(&inst.op)).count()
    }

    /// A function that makes a key of a protocol, addresses and ports, on two ways that read them the one way or the other. Its result says what they are.
    fn keyed(written: bool) -> Function {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let context = b.input(0).value().unwrap();
        let (data, end) = (b.field(context, Field::Data), b.field(context, Field::DataEnd));
        let second = b.field(context, Field::IngressIfindex);
        let slot = b.slot(16);
        let (fails, back, forth, met) = (b.block(), b.block(), b.block(), b.block());
        let behind = b.advance(data.value().unwrap(), Arg::Number(38));
        b.unless(Cmp::Le, Arg::Value(behind), end, fails);
        b.branch(Cmp::Eq, second, Arg::Number(0), forth, back);
        let params: Vec<Arg> = [8, 32, 32, 16, 16].map(|bits| Arg::Value(b.param(met, Type::Word, bits))).to_vec();
        for (block, number, first) in [(forth, 6, 0), (back, 17, 1)] {
            b.enter(block);
            let mut read = |at: i16, bytes: u8| {
                let word = b.load(data, at, bytes);
                if written {
                    b.store(data, 0, 1, Arg::Number(1));
                }
                b.swap(8 * bytes, word)
            };
            let (addresses, ports) = ([read(26, 4), read(30, 4)], [read(34, 2), read(36, 2)]);
            b.jump(met, vec![Arg::Number(number), addresses[first], addresses[1 - first], ports[first], ports[1 - first]]);
        }
        b.enter(met);
        let upper = b.bin(Bin::Shl, params[1], Arg::Number(32));
        let upper = b.bin(Bin::Or, upper, params[2]);
        let mut lower = b.bin(Bin::Shl, params[0], Arg::Number(16));
        lower = b.bin(Bin::Or, lower, params[3]);
        lower = b.bin(Bin::Shl, lower, Arg::Number(16));
        lower = b.bin(Bin::Or, lower, params[4]);
        b.store(Arg::Stack(slot, 0), 0, 8, upper);
        b.store(Arg::Stack(slot, 8), 0, 8, lower);
        let found = b.call(Helper::MapLookup, vec![Arg::Map(MapId(0)), Arg::Stack(slot, 0)]);
        let there = b.block();
        b.branch(Cmp::Ne, found, Arg::Number(0), there, fails);
        b.enter(there);
        // A field is needed for itself, too.
        let both = b.bin(Bin::Mul, upper, Arg::Number(31));
        let both = b.bin(Bin::Add, both, lower);
        let both = b.bin(Bin::Mul, both, Arg::Number(31));
        let both = b.bin(Bin::Add, both, params[3]);
        b.ret(both);
        b.enter(fails);
        b.ret(Arg::Number(1));
        let function = b.finish("f");
        check(&function).unwrap_or_else(|e| panic!("{e}"));
        function
    }

    #[test]
    fn keys_meet_instead_of_their_fields() {
        for written in [false, true] {
            let function = keyed(written);
            let most = function.blocks.iter().map(|block| block.params.len()).max();
            assert_eq!(most, Some(2), "{written}");
            // One way reads as the key has it.
            let long = count(&function, |op| matches!(op, Op::Load { bytes: 8, .. }));
            let turned = count(&function, |op| matches!(op, Op::Swap { bits: 64, .. }));
            assert_eq!((long, turned), if written { (0, 0) } else { (1, 1) });
            let packet = packet();
            let number =
                |at: usize, bytes: usize| packet[at..at + bytes].iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            for (second, protocol, [one, other], [port, beside]) in [(0, 6, [26, 30], [34, 36]), (1, 17, [30, 26], [36, 34])] {
                let upper = number(one, 4) << 32 | number(other, 4);
                let lower = protocol << 32 | number(port, 2) << 16 | number(beside, 2);
                let both = upper.wrapping_mul(31).wrapping_add(lower).wrapping_mul(31).wrapping_add(number(port, 2));
                assert_eq!(run(&function, &packet, second, &[]), both, "{written} {second}");
            }
        }
    }
}
