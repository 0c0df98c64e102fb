//! Builds functions. What is known is not computed: operations on numbers are carried out, bounds of words are kept so that
//! nothing is masked that cannot be too wide.

use super::{Arg, Bin, Block, BlockId, Cmp, Commit, End, Field, Function, Helper, Inst, MapId, Op, Slot, Type, Value};
use grv_lang::span::Span;
use rustc_hash::FxHashMap;

/// A function in the making, with the block that instructions are put into.
pub(crate) struct Builder {
    blocks: Vec<(Block, bool)>,
    types: Vec<Type>,
    /// By value: how many low bits of a word may be set.
    bits: Vec<u8>,
    /// By value: the operation of a word that others may look through.
    defs: Vec<Option<(Bin, Arg, Arg)>>,
    /// Words whose bytes were turned: how many bits, and of what.
    turned: FxHashMap<Value, (u8, Arg)>,
    slots: Vec<u16>,
    inputs: Vec<Value>,
    at: BlockId,
    /// Where in the source the next instructions come from.
    pub(crate) span: Span,
    /// What the next instruction that changes memory does to a table.
    pub(crate) commit: Option<Commit>,
    /// The map of variables that nobody changes while the function can be run.
    pub(crate) constants: Option<MapId>,
    /// Maps of which each processor has its own values.
    pub(crate) own: Vec<MapId>,
}

impl Builder {
    /// An empty function that is started with values of these types, at its entry.
    pub(crate) fn new(span: Span, inputs: &[Type]) -> Builder {
        let mut builder = Builder {
            blocks: Vec::new(),
            types: Vec::new(),
            bits: Vec::new(),
            defs: Vec::new(),
            turned: FxHashMap::default(),
            slots: Vec::new(),
            inputs: Vec::new(),
            at: BlockId(0),
            span,
            commit: None,
            constants: None,
            own: Vec::new(),
        };
        builder.inputs = inputs.iter().map(|ty| builder.value(*ty, 64)).collect();
        builder.at = builder.block();
        builder
    }

    /// An empty function that others call with words of so many bits.
    pub(crate) fn of_words(span: Span, widths: &[u8]) -> Builder {
        let mut builder = Builder::new(span, &vec![Type::Word; widths.len()]);
        for (input, bits) in builder.inputs.iter().zip(widths) {
            builder.bits[input.index()] = *bits;
        }
        builder
    }

    fn value(&mut self, ty: Type, bits: u8) -> Value {
        self.types.push(ty);
        self.bits.push(bits);
        self.defs.push(None);
        Value(self.types.len() as u32 - 1)
    }

    /// What the function is started with.
    pub(crate) fn input(&self, number: usize) -> Arg {
        self.inputs.get(number).map_or(Arg::Number(0), |value| Arg::Value(*value))
    }

    /// A new block, which nothing is in yet.
    pub(crate) fn block(&mut self) -> BlockId {
        // Every block is ended before the function is finished; until then it is marked as open.
        let open =
            Block { params: Vec::new(), insts: Vec::new(), end: End::Return(Arg::Number(0)), span: self.span, rare: false };
        self.blocks.push((open, true));
        BlockId(self.blocks.len() as u32 - 1)
    }

    /// A new block that few packets come to.
    pub(crate) fn rare(&mut self) -> BlockId {
        let block = self.block();
        self.blocks[block.index()].0.rare = true;
        block
    }

    /// A parameter of a block.
    pub(crate) fn param(&mut self, block: BlockId, ty: Type, bits: u8) -> Value {
        let value = self.value(ty, bits);
        self.blocks[block.index()].0.params.push(value);
        value
    }

    /// A stack slot.
    pub(crate) fn slot(&mut self, bytes: u16) -> Slot {
        self.slots.push(bytes);
        Slot(self.slots.len() as u32 - 1)
    }

    /// Makes a slot large enough for so many bytes.
    pub(crate) fn widen(&mut self, slot: Slot, bytes: u16) {
        let size = &mut self.slots[slot.index()];
        *size = (*size).max(bytes);
    }

    /// Goes on in a block.
    pub(crate) fn enter(&mut self, block: BlockId) {
        self.at = block;
    }

    /// The block that instructions are put into.
    pub(crate) fn here(&self) -> BlockId {
        self.at
    }

    /// How many low bits of an operand may be set.
    pub(crate) fn bits(&self, arg: Arg) -> u8 {
        match arg {
            Arg::Number(number) => (64 - number.leading_zeros()) as u8,
            Arg::Value(value) => self.bits[value.index()],
            Arg::Stack(..) | Arg::Map(_) | Arg::Global(..) | Arg::Callback(_) => 64,
        }
    }

    /// The type of an operand.
    pub(crate) fn ty(&self, arg: Arg) -> Type {
        match arg {
            Arg::Value(value) => self.types[value.index()],
            _ => Type::Word,
        }
    }

    fn push(&mut self, op: Op, result: Option<Value>) {
        let commit = match op {
            Op::Store { .. } | Op::CompareSwap { .. } | Op::FetchAdd { .. } | Op::Call { .. } => self.commit.take(),
            _ => None,
        };
        let inst = Inst { op, result, span: self.span, commit };
        self.blocks[self.at.index()].0.insts.push(inst);
    }

    fn define(&mut self, op: Op, ty: Type, bits: u8) -> Arg {
        let value = self.value(ty, bits);
        self.push(op, Some(value));
        Arg::Value(value)
    }

    /// Reads the context.
    pub(crate) fn field(&mut self, context: Value, field: Field) -> Arg {
        let ty = match field {
            Field::Data | Field::SkbData => Type::Packet,
            Field::DataEnd | Field::SkbDataEnd => Type::PacketEnd,
            _ => Type::Word,
        };
        self.define(Op::Context(context, field), ty, 32)
    }

    /// Arithmetic on 64 bits.
    pub(crate) fn bin(&mut self, op: Bin, a: Arg, b: Arg) -> Arg {
        self.arith(op, true, a, b)
    }

    /// Arithmetic on 32 bits.
    pub(crate) fn bin32(&mut self, op: Bin, a: Arg, b: Arg) -> Arg {
        self.arith(op, false, a, b)
    }

    fn arith(&mut self, op: Bin, wide: bool, a: Arg, b: Arg) -> Arg {
        let commutes = matches!(op, Bin::Add | Bin::Mul | Bin::And | Bin::Or | Bin::Xor);
        let (a, b) = if commutes && a.number().is_some() { (b, a) } else { (a, b) };
        if let (Some(a), Some(b)) = (a.number(), b.number()) {
            return Arg::Number(evaluate(op, wide, a, b));
        }
        if let Some(simpler) = self.simpler(op, wide, a, b) {
            return simpler;
        }
        let bits = self.bound(op, wide, a, b);
        let result = self.define(Op::Bin { op, wide, a, b }, Type::Word, bits);
        if let (Arg::Value(value), true) = (result, wide) {
            self.defs[value.index()] = Some((op, a, b));
        }
        result
    }

    /// What is the same as an operation without it.
    fn simpler(&mut self, op: Bin, wide: bool, a: Arg, b: Arg) -> Option<Arg> {
        let fits = wide || self.bits(a) <= 32;
        match (op, b.number()) {
            (Bin::Add | Bin::Sub | Bin::Or | Bin::Xor | Bin::Shl | Bin::Shr, Some(0)) if fits => Some(a),
            (Bin::Mul | Bin::Div, Some(1)) if fits => Some(a),
            (Bin::And | Bin::Mul, Some(0)) => Some(Arg::Number(0)),
            (Bin::Mul, Some(n)) if wide && n.is_power_of_two() => {
                Some(self.bin(Bin::Shl, a, Arg::Number(n.trailing_zeros().into())))
            }
            (Bin::And, Some(mask))
                if mask.count_ones() == mask.trailing_ones() && u32::from(self.bits(a)) <= mask.count_ones() =>
            {
                Some(a)
            }
            (Bin::And, None) if wide => {
                // (x & m) & y is x & y, if y has no bits that m has not.
                let through = |of: Arg, other: Arg| {
                    let (Bin::And, x, m) = self.defs[of.value()?.index()]? else { return None };
                    let m = m.number()?;
                    (m.count_ones() == m.trailing_ones() && u32::from(self.bits(other)) <= m.count_ones()).then_some((x, other))
                };
                let (x, y) = through(a, b).or_else(|| through(b, a))?;
                Some(self.bin(Bin::And, x, y))
            }
            (Bin::Shr, Some(by)) if wide && u64::from(self.bits(a)) <= by => Some(Arg::Number(0)),
            (Bin::Xor, Some(more)) if wide => {
                // (x ^ c) ^ d is x ^ (c ^ d).
                let (Bin::Xor, x, c) = self.defs[a.value()?.index()]? else { return None };
                Some(self.bin(Bin::Xor, x, Arg::Number(c.number()? ^ more)))
            }
            (Bin::Add, Some(more)) if wide => {
                // (x + c) + d is x + (c + d).
                let (Bin::Add, x, c) = self.defs[a.value()?.index()]? else { return None };
                Some(self.bin(Bin::Add, x, Arg::Number(c.number()?.wrapping_add(more))))
            }
            _ => None,
        }
    }

    /// How many low bits of a result may be set.
    fn bound(&self, op: Bin, wide: bool, a: Arg, b: Arg) -> u8 {
        let (x, y) = (self.bits(a), self.bits(b));
        let most = if wide { 64 } else { 32 };
        let bound = match op {
            Bin::Add => x.max(y) + 1,
            Bin::Mul => x.saturating_add(y),
            Bin::And => x.min(y),
            Bin::Or | Bin::Xor => x.max(y),
            Bin::Div | Bin::Rem => x,
            Bin::Shl => b.number().map_or(64, |by| x.saturating_add(by.min(64) as u8)),
            Bin::Shr => b.number().map_or(x, |by| x.saturating_sub(by.min(64) as u8)),
            Bin::Sub => 64,
        };
        bound.min(most)
    }

    /// The low bits of a word.
    pub(crate) fn low(&mut self, a: Arg, width: u8) -> Arg {
        self.bin(Bin::And, a, Arg::Number(mask(width)))
    }

    /// A word that is 0 exactly if this one is: its only bit, as a number, if it has only one.
    pub(crate) fn lone_bit(&mut self, a: Arg) -> Arg {
        match a.value().and_then(|value| self.defs[value.index()]) {
            Some((Bin::And, of, Arg::Number(bit))) if bit.is_power_of_two() => {
                let moved = self.bin(Bin::Shr, of, Arg::Number(bit.trailing_zeros().into()));
                self.low(moved, 1)
            }
            _ => a,
        }
    }

    /// The bytes of the low 16, 32 or 64 bits in the opposite order.
    pub(crate) fn swap(&mut self, bits: u8, a: Arg) -> Arg {
        if let Some(number) = a.number() {
            return Arg::Number(number.swap_bytes() >> (64 - bits));
        }
        let a = self.lowest(a, bits);
        match a.value().and_then(|a| self.turned.get(&a).copied()) {
            // Turned twice.
            Some((of, before)) if of == bits => self.low(before, bits),
            _ => {
                let turned = self.define(Op::Swap { bits, a }, Type::Word, bits);
                self.turned.extend(turned.value().map(|turned| (turned, (bits, a))));
                turned
            }
        }
    }

    /// A word with the same low bits, for who looks at no others.
    fn lowest(&self, a: Arg, bits: u8) -> Arg {
        match a.value().and_then(|a| self.defs[a.index()]) {
            Some((Bin::And, of @ Arg::Value(_), Arg::Number(kept))) if kept & mask(bits) == mask(bits) => of,
            _ => a,
        }
    }

    /// A pointer moved forward.
    pub(crate) fn advance(&mut self, pointer: Value, by: Arg) -> Value {
        let result = self.value(self.types[pointer.index()], 64);
        self.push(Op::Advance { pointer, by }, Some(result));
        result
    }

    /// A pointer to what is so many bytes behind a place among global variables.
    pub(crate) fn place(&mut self, base: Arg, by: Arg) -> Arg {
        self.define(Op::Place { base, by }, Type::Entry, 64)
    }

    /// Bytes between two pointers into the packet: a frame has less than 2^16.
    pub(crate) fn distance(&mut self, from: Value, to: Value) -> Arg {
        self.define(Op::Distance { from, to }, Type::Word, 32)
    }

    /// Reads bytes.
    pub(crate) fn load(&mut self, base: Arg, offset: i16, bytes: u8) -> Arg {
        self.define(Op::Load { base, offset, bytes }, Type::Word, bytes * 8)
    }

    /// Reads bytes of which only so many low bits are ever set.
    pub(crate) fn load_bits(&mut self, base: Arg, bytes: u8, bits: u8) -> Arg {
        self.define(Op::Load { base, offset: 0, bytes }, Type::Word, bits)
    }

    /// Writes bytes.
    pub(crate) fn store(&mut self, base: Arg, offset: i16, bytes: u8, value: Arg) {
        let value = self.lowest(value, bytes * 8);
        self.push(Op::Store { base, offset, bytes, value }, None);
    }

    /// Writes bytes at the beginning of a block.
    pub(crate) fn begin_with_store(&mut self, block: BlockId, base: Arg, bytes: u8, value: Arg) {
        let inst = Inst { op: Op::Store { base, offset: 0, bytes, value }, result: None, span: self.span, commit: None };
        self.blocks[block.index()].0.insts.insert(0, inst);
    }

    /// Replaces 8 bytes if they are as expected; what they were.
    pub(crate) fn compare_swap(&mut self, base: Arg, offset: i16, expected: Arg, new: Arg) -> Arg {
        self.define(Op::CompareSwap { base, offset, expected, new }, Type::Word, 64)
    }

    /// Adds to 8 bytes that no other processor adds to.
    pub(crate) fn count(&mut self, base: Arg, offset: i16, amount: Arg) {
        let old = self.load(base, offset, 8);
        let new = self.bin(Bin::Add, old, amount);
        self.store(base, offset, 8, new);
    }

    /// Calls a helper.
    pub(crate) fn call(&mut self, helper: Helper, args: Vec<Arg>) -> Arg {
        // The clock counts nanoseconds since the machine was started: less than 2^62 for 146 years.
        let bits = match helper {
            Helper::KtimeGetNs | Helper::Jiffies64 => 62,
            Helper::Random => 32,
            _ => 64,
        };
        self.define(Op::Call { helper, args }, helper.result(), bits)
    }

    /// Calls a function of ours, which gives a word of so many bits.
    pub(crate) fn invoke(&mut self, function: u32, args: Vec<Arg>, bits: u8) -> Arg {
        self.define(Op::Invoke { function, args }, Type::Word, bits)
    }

    /// Adds to 8 bytes at once; what they were.
    pub(crate) fn fetch_add(&mut self, base: Arg, offset: i16, amount: Arg) -> Arg {
        self.define(Op::FetchAdd { base, offset, amount }, Type::Word, 64)
    }

    fn end(&mut self, end: End) {
        let (block, open) = &mut self.blocks[self.at.index()];
        block.end = end;
        block.span = self.span;
        *open = false;
    }

    /// Goes on in a block.
    pub(crate) fn jump(&mut self, to: BlockId, args: Vec<Arg>) {
        self.end(End::Jump(to, args));
    }

    /// Goes on in one of two blocks.
    pub(crate) fn branch(&mut self, cmp: Cmp, a: Arg, b: Arg, then: BlockId, other: BlockId) {
        if let (Some(a), Some(b)) = (a.number(), b.number()) {
            return self.jump(if cmp.holds(a, b) { then } else { other }, Vec::new());
        }
        let (cmp, a, b) = if a.number().is_some() { (cmp.swapped(), b, a) } else { (cmp, a, b) };
        // A number that the word never reaches decides it too.
        if let Some(number) = b.number().filter(|_| self.ty(a) == Type::Word) {
            let most = mask(self.bits(a));
            let decided = match cmp {
                Cmp::Eq | Cmp::Ge if number > most => Some(false),
                Cmp::Ne | Cmp::Lt if number > most => Some(true),
                Cmp::Gt if number >= most => Some(false),
                Cmp::Le if number >= most => Some(true),
                Cmp::Lt if number == 0 => Some(false),
                Cmp::Ge if number == 0 => Some(true),
                _ => None,
            };
            if let Some(holds) = decided {
                return self.jump(if holds { then } else { other }, Vec::new());
            }
        }
        self.end(End::Branch { cmp, a, b, then, other });
    }

    /// Ends the program.
    pub(crate) fn ret(&mut self, verdict: Arg) {
        self.end(End::Return(verdict));
    }

    /// Goes on in a new block if a comparison holds, and in `other` if not.
    pub(crate) fn unless(&mut self, cmp: Cmp, a: Arg, b: Arg, other: BlockId) {
        let next = self.block();
        self.branch(cmp, a, b, next, other);
        self.enter(next);
    }

    /// The function. Blocks that nothing leads to are left out; so are instructions whose results nobody uses.
    pub(crate) fn finish(self, name: &str) -> Function {
        let mut function = Function {
            name: name.to_string(),
            inputs: self.inputs,
            blocks: self.blocks.into_iter().map(|(block, _)| block).collect(),
            types: self.types,
            bits: self.bits,
            slots: self.slots,
            constants: self.constants,
            own: self.own,
            again: Vec::new(),
        };
        function.improve();
        function
    }
}

impl Op {
    /// All operands.
    pub(crate) fn args(&self) -> Vec<Arg> {
        match self {
            Op::Context(context, _) => vec![Arg::Value(*context)],
            Op::Bin { a, b, .. } => vec![*a, *b],
            Op::Swap { a, .. } => vec![*a],
            Op::Advance { pointer, by } => vec![Arg::Value(*pointer), *by],
            Op::Place { base, by } => vec![*base, *by],
            Op::Distance { from, to } => vec![Arg::Value(*from), Arg::Value(*to)],
            Op::Load { base, .. } => vec![*base],
            Op::Store { base, value, .. } => vec![*base, *value],
            Op::CompareSwap { base, expected, new, .. } => vec![*base, *expected, *new],
            Op::FetchAdd { base, amount, .. } => vec![*base, *amount],
            Op::Call { args, .. } | Op::Invoke { args, .. } => args.clone(),
        }
    }

    /// Whether it does more than give a result.
    pub(crate) fn has_effect(&self) -> bool {
        match self {
            Op::Store { .. } | Op::CompareSwap { .. } | Op::FetchAdd { .. } => true,
            Op::Call { helper, .. } => !matches!(helper, Helper::MapLookup | Helper::KtimeGetNs | Helper::Jiffies64),
            _ => false,
        }
    }
}

/// Ones in the lowest `width` bits.
pub(crate) fn mask(width: u8) -> u64 {
    if width >= 64 { u64::MAX } else { (1 << width) - 1 }
}

/// The value of an operation on numbers.
pub(crate) fn evaluate(op: Bin, wide: bool, a: u64, b: u64) -> u64 {
    let (a, b) = if wide { (a, b) } else { (a & mask(32), b & mask(32)) };
    let by = (b & if wide { 63 } else { 31 }) as u32;
    let result = match op {
        Bin::Add => a.wrapping_add(b),
        Bin::Sub => a.wrapping_sub(b),
        Bin::Mul => a.wrapping_mul(b),
        Bin::Div => a.checked_div(b).unwrap_or(0),
        Bin::Rem => a.checked_rem(b).unwrap_or(a),
        Bin::And => a & b,
        Bin::Or => a | b,
        Bin::Xor => a ^ b,
        Bin::Shl => a << by,
        Bin::Shr => a >> by,
    };
    if wide { result } else { result & mask(32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_turned_twice_is_not_turned() {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let word = b.field(b.input(0).value().unwrap(), Field::IngressIfindex);
        let once = b.swap(16, word);
        assert_eq!((b.bits(once), once == word), (16, false));
        // Of a wider word the low bits are left.
        let twice = b.swap(16, once);
        let low = Op::Bin { op: Bin::And, wide: true, a: word, b: Arg::Number(0xffff) };
        assert_eq!(b.blocks[0].0.insts.last().map(|inst| &inst.op), Some(&low));
        assert_eq!(b.bits(twice), 16);
        let whole = b.swap(32, word);
        assert_eq!(b.swap(32, whole), word);
        // Of other bits it is another word.
        assert_ne!(b.swap(16, whole), word);
        assert_eq!(b.swap(32, Arg::Number(0x0102_0304)), Arg::Number(0x0403_0201));
    }

    #[test]
    fn bits_that_nobody_looks_at_are_not_cleared() {
        let mut b = Builder::new(Span::default(), &[Type::Context]);
        let word = b.field(b.input(0).value().unwrap(), Field::IngressIfindex);
        let (low, less) = (b.low(word, 16), b.low(word, 15));
        let slot = b.slot(8);
        let mut stored = |value: Arg| {
            b.store(Arg::Stack(slot, 0), 0, 2, value);
            match b.blocks[0].0.insts.last().map(|inst| inst.op.clone()) {
                Some(Op::Store { value, .. }) => value,
                _ => Arg::Number(0),
            }
        };
        assert_eq!((stored(low), stored(less)), (word, less));
    }
}
