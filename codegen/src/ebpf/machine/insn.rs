//! Instructions of the eBPF machine (RFC 9669), as they are encoded.

use super::super::lir::{Bin, Cmp, Helper};

/// One slot of a program: 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Insn {
    pub(crate) code: u8,
    pub(crate) dst: u8,
    pub(crate) src: u8,
    pub(crate) offset: i16,
    pub(crate) imm: i32,
}

const LDX: u8 = 0x61;
const STX: u8 = 0x63;
const ST: u8 = 0x62;
const MODE_MEM_TO_ATOMIC: u8 = 0xc0 - 0x60;
const ALU32: u8 = 0x04;
const ALU64: u8 = 0x07;
const JMP32: u8 = 0x06;
const JMP: u8 = 0x05;
const REGISTER: u8 = 0x08;
/// `dst = 64-bit immediate`, in two slots.
pub(crate) const LD_IMM64: u8 = 0x18;
/// Of the source register of [`LD_IMM64`]: the immediate is a map, or an offset into the one value of a map.
pub(crate) const PSEUDO_MAP: u8 = 1;
pub(crate) const PSEUDO_MAP_VALUE: u8 = 2;
/// Of the source register of a call: it is of a function of ours.
const PSEUDO_CALL: u8 = 1;
/// Of the source register of [`LD_IMM64`] again: the immediate is a function.
pub(crate) const PSEUDO_FUNCTION: u8 = 4;

/// The frame pointer.
pub(crate) const FRAME: u8 = 10;

fn size(bytes: u8) -> u8 {
    match bytes {
        1 => 0x10,
        2 => 0x08,
        4 => 0x00,
        _ => 0x18,
    }
}

fn alu_code(op: Bin) -> u8 {
    match op {
        Bin::Add => 0x00,
        Bin::Sub => 0x10,
        Bin::Mul => 0x20,
        Bin::Div => 0x30,
        Bin::Or => 0x40,
        Bin::And => 0x50,
        Bin::Shl => 0x60,
        Bin::Shr => 0x70,
        Bin::Rem => 0x90,
        Bin::Xor => 0xa0,
    }
}

fn jump_code(cmp: Cmp) -> u8 {
    match cmp {
        Cmp::Eq => 0x10,
        Cmp::Gt => 0x20,
        Cmp::Ge => 0x30,
        Cmp::Ne => 0x50,
        Cmp::Lt => 0xa0,
        Cmp::Le => 0xb0,
        // There is none for the opposite: selection turns it.
        Cmp::Set | Cmp::Clear => 0x40,
    }
}

impl Insn {
    fn new(code: u8, dst: u8, src: u8, offset: i16, imm: i32) -> Insn {
        Insn { code, dst, src, offset, imm }
    }

    /// `dst op= src`
    pub(crate) fn alu(op: Bin, wide: bool, dst: u8, src: u8) -> Insn {
        Insn::new(alu_code(op) | REGISTER | if wide { ALU64 } else { ALU32 }, dst, src, 0, 0)
    }

    /// `dst op= imm`
    pub(crate) fn alu_imm(op: Bin, wide: bool, dst: u8, imm: i32) -> Insn {
        Insn::new(alu_code(op) | if wide { ALU64 } else { ALU32 }, dst, 0, 0, imm)
    }

    /// `dst = src`; of 32 bits, the upper ones become zero.
    pub(crate) fn mov(wide: bool, dst: u8, src: u8) -> Insn {
        Insn::new(0xb0 | REGISTER | if wide { ALU64 } else { ALU32 }, dst, src, 0, 0)
    }

    /// `dst = imm`, the sign extended to 64 bits if `wide`.
    pub(crate) fn mov_imm(wide: bool, dst: u8, imm: i32) -> Insn {
        Insn::new(0xb0 | if wide { ALU64 } else { ALU32 }, dst, 0, 0, imm)
    }

    /// The bytes of the low bits in the opposite order on a little-endian machine (`be16`, `be32`, `be64`).
    pub(crate) fn swap(bits: u8, dst: u8) -> Insn {
        Insn::new(0xd0 | REGISTER | ALU32, dst, 0, 0, bits.into())
    }

    /// `dst = *(src + offset)`
    pub(crate) fn load(bytes: u8, dst: u8, src: u8, offset: i16) -> Insn {
        Insn::new(LDX | size(bytes), dst, src, offset, 0)
    }

    /// `*(dst + offset) = src`
    pub(crate) fn store(bytes: u8, dst: u8, offset: i16, src: u8) -> Insn {
        Insn::new(STX | size(bytes), dst, src, offset, 0)
    }

    /// `*(dst + offset) = imm`, the sign extended.
    pub(crate) fn store_imm(bytes: u8, dst: u8, offset: i16, imm: i32) -> Insn {
        Insn::new(ST | size(bytes), dst, 0, offset, imm)
    }

    /// `r0 = *(dst + offset); if r0 was what it is, *(dst + offset) = src`, of 8 bytes at once.
    pub(crate) fn compare_swap(dst: u8, offset: i16, src: u8) -> Insn {
        Insn::new((STX | size(8)) + MODE_MEM_TO_ATOMIC, dst, src, offset, 0xf1)
    }

    /// `src` becomes `*(dst + offset)`, to which it is added, of 8 bytes at once.
    pub(crate) fn fetch_add(dst: u8, offset: i16, src: u8) -> Insn {
        Insn::new((STX | size(8)) + MODE_MEM_TO_ATOMIC, dst, src, offset, 0x01)
    }

    /// Calls a helper.
    pub(crate) fn call(helper: u32) -> Insn {
        Insn::new(0x80 | JMP, 0, 0, 0, helper as i32)
    }

    /// Calls a function, which a relocation names.
    pub(crate) fn call_function() -> Insn {
        Insn::new(0x80 | JMP, 0, PSEUDO_CALL, 0, -1)
    }

    /// Which registers have another value afterwards, as far as is known, by bits.
    pub(crate) fn changes(self) -> u16 {
        match self.code & 0x07 {
            // The second half of a number in two slots.
            0 if self.code == 0 => 0,
            0 | 1 | 4 | 7 => 1 << self.dst,
            2 => 0,
            3 if self.is_atomic() => 1 | 1 << self.src,
            3 => 0,
            // Helpers and functions keep only the registers from 6 on.
            _ if self.code == 0x80 | JMP => 0x3f,
            _ => 0,
        }
    }

    /// Which registers it reads, by bits.
    pub(crate) fn reads(self) -> u16 {
        let (dst, src) = (1 << self.dst, 1 << self.src);
        let source = if self.code & REGISTER != 0 { src } else { 0 };
        match self.code & 0x07 {
            1 => src,
            2 => dst,
            // A comparison with what is in the first register comes before a swap.
            3 if self.is_atomic() => dst | src | 1,
            3 => dst | src,
            4 if self.code & 0xf0 == 0xd0 => dst,
            4 | 7 if self.code & 0xf0 == 0xb0 => source,
            4 | 7 => dst | source,
            5 if self.code == 0x80 | JMP => self.arguments(),
            5 if self == Insn::exit() => 1,
            5 if self == Insn::jump() => 0,
            5 | 6 => dst | source,
            _ => 0,
        }
    }

    /// The registers in which a call is given what it asks for, by bits.
    fn arguments(self) -> u16 {
        let helper = Helper::ALL.into_iter().find(|helper| self == Insn::call(helper.number()));
        (1..=helper.map_or(5, Helper::arguments)).fold(0, |all, number| all | 1 << number)
    }

    fn is_atomic(self) -> bool {
        self.code & 7 == 3 && self.code & 0xe0 == 0xc0
    }

    /// Whether all that it does is to set a register.
    pub(crate) fn only_sets(self) -> bool {
        matches!(self.code & 0x07, 1 | 4 | 7) || self.code == LD_IMM64
    }

    /// Whether it reads memory.
    pub(crate) fn is_load(self) -> bool {
        self.code & 0x07 == 1
    }

    /// The register that it copies as a whole.
    pub(crate) fn copied(self) -> Option<u8> {
        (self == Insn::mov(true, self.dst, self.src)).then_some(self.src)
    }

    /// The place on the stack that it reads or writes, as bytes from the frame pointer.
    pub(crate) fn frame_place(self) -> Option<i16> {
        match self.code & 0x07 {
            1 if self.src == FRAME => Some(self.offset),
            2 | 3 if self.dst == FRAME => Some(self.offset),
            _ => None,
        }
    }

    /// The register that it writes to memory, or reads from there.
    pub(crate) fn moved_register(self) -> u8 {
        if self.is_load() { self.dst } else { self.src }
    }

    /// Whether it moves 8 bytes between a register and memory.
    pub(crate) fn moves_word(self) -> bool {
        matches!(self.code & 7, 1 | 3) && self.bytes() == 8 && !self.is_atomic()
    }

    /// How many bytes it reads or writes, if it does.
    pub(crate) fn bytes(self) -> u8 {
        [1, 2, 4, 8].into_iter().find(|bytes| size(*bytes) == self.code & 0x18).unwrap_or(8)
    }

    /// Whether it may write to where a register leads: helpers that are given keys and values only read them, but functions that helpers call may write.
    pub(crate) fn may_write(self) -> bool {
        let reads = [Helper::MapLookup, Helper::MapUpdate, Helper::MapDelete, Helper::RingbufOutput];
        let none = [Helper::Jiffies64, Helper::KtimeGetNs, Helper::Random, Helper::RedirectMap, Helper::Redirect];
        match self.code & 7 {
            2 | 3 => true,
            5 if self.code == 0x80 | JMP => !reads.into_iter().chain(none).any(|helper| self == Insn::call(helper.number())),
            _ => false,
        }
    }

    /// Whether the first register is only read, and whether the second one is.
    pub(crate) fn only_reads(self) -> (bool, bool) {
        let second = self.code & REGISTER != 0;
        match (self.code & 0x07, self.code & 0xf0) {
            (1, _) => (false, true),
            (2, _) => (true, false),
            (3, _) => (true, self.changes() & 1 << self.src == 0 || self.imm == 0xf1 && self.is_atomic()),
            (4, 0xd0) => (false, false),
            (4 | 7, _) => (false, second),
            (5, 0x00 | 0x80 | 0x90) | (0, _) => (false, false),
            _ => (true, second),
        }
    }

    /// Whether it makes a value in the first register that does not depend on what was there.
    pub(crate) fn makes(self) -> bool {
        matches!((self.code & 0x07, self.code & 0xf0), (1, _) | (4 | 7, 0xb0)) || self.code == LD_IMM64
    }

    /// Ends the program.
    pub(crate) fn exit() -> Insn {
        Insn::new(0x90 | JMP, 0, 0, 0, 0)
    }

    /// Goes on elsewhere.
    pub(crate) fn jump() -> Insn {
        Insn::new(JMP, 0, 0, 0, 0)
    }

    /// Goes on elsewhere if a comparison holds.
    pub(crate) fn jump_if(cmp: Cmp, wide: bool, dst: u8, src: u8) -> Insn {
        Insn::new(jump_code(cmp) | REGISTER | if wide { JMP } else { JMP32 }, dst, src, 0, 0)
    }

    /// The same with a number, the sign extended if `wide`.
    pub(crate) fn jump_if_imm(cmp: Cmp, wide: bool, dst: u8, imm: i32) -> Insn {
        Insn::new(jump_code(cmp) | if wide { JMP } else { JMP32 }, dst, 0, 0, imm)
    }

    /// The jump that is taken exactly if this one is not, if it is a jump with a condition.
    pub(crate) fn negated(self) -> Option<Insn> {
        let all = [Cmp::Eq, Cmp::Ne, Cmp::Lt, Cmp::Le, Cmp::Gt, Cmp::Ge];
        let class = self.code & 7;
        let cmp = all.into_iter().find(|cmp| (class == JMP || class == JMP32) && self.code & 0xf0 == jump_code(*cmp))?;
        Some(Insn { code: (self.code & 0x0f) | jump_code(cmp.negated()), ..self })
    }

    /// The two slots of `dst = value`.
    pub(crate) fn load_imm64(dst: u8, pseudo: u8, value: u64) -> [Insn; 2] {
        let low = Insn::new(LD_IMM64, dst, pseudo, 0, value as u32 as i32);
        [low, Insn::new(0, 0, 0, 0, (value >> 32) as u32 as i32)]
    }

    /// The two slots of a number of 64 bits, as text.
    pub(crate) fn wide(&self, second: &Insn) -> String {
        let value = u64::from(second.imm as u32) << 32 | u64::from(self.imm as u32);
        format!("r{} = {value:#x} ll", self.dst)
    }

    /// Its 8 bytes.
    pub(crate) fn encode(self) -> [u8; 8] {
        let [o0, o1] = self.offset.to_le_bytes();
        let [i0, i1, i2, i3] = self.imm.to_le_bytes();
        [self.code, self.dst | (self.src << 4), o0, o1, i0, i1, i2, i3]
    }
}

impl std::fmt::Display for Insn {
    /// As the kernel's own listings show it, more or less.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Insn { code, dst, src, offset, imm } = *self;
        let class = code & 7;
        let source = if code & REGISTER != 0 { format!("r{src}") } else { imm.to_string() };
        let bytes = |code: u8| match code & 0x18 {
            0x10 => "u8",
            0x08 => "u16",
            0x00 => "u32",
            _ => "u64",
        };
        match (class, code & 0xf0) {
            (4, 0xd0) => write!(f, "r{dst} = be{imm} r{dst}"),
            (4 | 7, op) => {
                let sign = match op {
                    0x00 => "+=",
                    0x10 => "-=",
                    0x20 => "*=",
                    0x30 => "/=",
                    0x40 => "|=",
                    0x50 => "&=",
                    0x60 => "<<=",
                    0x70 => ">>=",
                    0x90 => "%=",
                    0xa0 => "^=",
                    _ => "=",
                };
                let letter = if class == 7 { 'r' } else { 'w' };
                let source = if class == 4 { source.replace('r', "w") } else { source };
                write!(f, "{letter}{dst} {sign} {source}")
            }
            (5, 0x00) => write!(f, "goto {offset:+}"),
            (5, 0x80) if src == PSEUDO_CALL => write!(f, "call function"),
            (5, 0x80) => write!(f, "call {imm}"),
            (5, 0x90) => write!(f, "exit"),
            (5 | 6, op) => {
                let sign = match op {
                    0x10 => "==",
                    0x20 => ">",
                    0x40 => "&",
                    0x30 => ">=",
                    0x50 => "!=",
                    0xa0 => "<",
                    _ => "<=",
                };
                let letter = if class == 5 { 'r' } else { 'w' };
                let source = if class == 6 { source.replace('r', "w") } else { source };
                write!(f, "if {letter}{dst} {sign} {source} goto {offset:+}")
            }
            (1, _) => write!(f, "r{dst} = *({} *)(r{src} {offset:+})", bytes(code)),
            (2, _) => write!(f, "*({} *)(r{dst} {offset:+}) = {imm}", bytes(code)),
            (3, _) if self.is_atomic() && imm == 1 => write!(f, "r{src} = fetch_add((u64 *)(r{dst} {offset:+}), r{src})"),
            (3, _) if self.is_atomic() => write!(f, "r0 = cmpxchg((u64 *)(r{dst} {offset:+}), r0, r{src})"),
            (3, _) => write!(f, "*({} *)(r{dst} {offset:+}) = r{src}", bytes(code)),
            _ if code == LD_IMM64 => write!(
                f,
                "r{dst} = {} ll",
                match src {
                    PSEUDO_MAP => "map".to_string(),
                    PSEUDO_MAP_VALUE => format!("global{imm:+}"),
                    PSEUDO_FUNCTION => "function".to_string(),
                    _ => format!("{imm:#x}"),
                }
            ),
            _ => write!(f, "..."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What clang 19 makes of the same.
    #[test]
    fn instructions_are_encoded_as_others_encode_them() {
        for (insn, bytes) in [
            (Insn::mov(true, 6, 1), [0xbf, 0x16, 0, 0, 0, 0, 0, 0]),
            (Insn::mov_imm(false, 0, 1), [0xb4, 0x00, 0, 0, 1, 0, 0, 0]),
            (Insn::load(2, 2, 1, 12), [0x69, 0x12, 12, 0, 0, 0, 0, 0]),
            (Insn::store(8, 10, -8, 3), [0x7b, 0x3a, 0xf8, 0xff, 0, 0, 0, 0]),
            (Insn::store_imm(4, 10, -4, 7), [0x62, 0x0a, 0xfc, 0xff, 7, 0, 0, 0]),
            (Insn::swap(16, 4), [0xdc, 0x04, 0, 0, 16, 0, 0, 0]),
            (Insn::alu_imm(Bin::And, false, 7, -256), [0x54, 0x07, 0, 0, 0, 0xff, 0xff, 0xff]),
            (Insn::compare_swap(2, 16, 8), [0xdb, 0x82, 16, 0, 0xf1, 0, 0, 0]),
            (Insn::fetch_add(2, 16, 8), [0xdb, 0x82, 16, 0, 1, 0, 0, 0]),
            (Insn::jump_if(Cmp::Gt, true, 1, 2), [0x2d, 0x21, 0, 0, 0, 0, 0, 0]),
            (Insn::jump_if_imm(Cmp::Ne, false, 1, 8), [0x56, 0x01, 0, 0, 8, 0, 0, 0]),
            (Insn::call(1), [0x85, 0, 0, 0, 1, 0, 0, 0]),
            (Insn::exit(), [0x95, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(insn.encode(), bytes, "{insn}");
        }
    }

    #[test]
    fn numbers_are_listed_whole() {
        let [first, second] = Insn::load_imm64(3, 0, 0x0200_0000_0101);
        assert_eq!(first.wide(&second), "r3 = 0x20000000101 ll");
    }

    #[test]
    fn a_jump_that_is_negated_twice_is_itself() {
        for cmp in [Cmp::Eq, Cmp::Ne, Cmp::Lt, Cmp::Le, Cmp::Gt, Cmp::Ge] {
            for insn in [Insn::jump_if(cmp, true, 1, 2), Insn::jump_if_imm(cmp, false, 3, -1)] {
                let negated = insn.negated().expect("a jump with a condition");
                assert_ne!(negated, insn);
                assert_eq!(negated.negated(), Some(insn));
            }
        }
        assert!([Insn::jump(), Insn::exit(), Insn::call(5), Insn::mov(true, 1, 2)].iter().all(|insn| insn.negated().is_none()));
    }
}
