//! The low-level IR of the eBPF back end: one function of basic blocks in SSA form over 64-bit words and pointers. All that the
//! core IR leaves to a target is decided here (how tables are laid out, which helper does what, where a table operation takes
//! effect), and nothing of the machine is: no registers, no stack but for the slots that helpers need, no order of blocks.
//!
//! # Values
//! Every value is 64 bits wide. A word holds an unsigned number; bits above the width of what it stands for are zero. A
//! pointer's type says what it points to. A value is defined once, and its definition dominates every use; blocks have
//! parameters where ways meet.
//!
//! # Memory
//! Loads and stores say how many bytes they move; the order of bytes is the machine's (little endian), numbers in packets are
//! turned by [`Op::Swap`]. A pointer into a packet is good for what a comparison with the packet's end has shown on the way
//! here; the kernel's verifier insists on that, and [`super::lower`] arranges it.
//!
//! # Commit points
//! An instruction by which an operation on a table takes effect for all other processors carries a [`Commit`]. What comes before
//! it in its operation can be repeated; what comes after it looks at what it did.

mod again;
mod alike;
mod asks;
mod bits;
mod build;
mod byte;
mod check;
mod fences;
mod globals;
mod linear;
mod met;
mod needed;
mod packed;
mod passes;
mod print;
mod ranges;
mod redirects;
#[cfg(test)]
mod run;
mod shown;
mod simplify;
mod told;
mod turns;
mod undone;
mod written;

use grv_lang::ir::TableId;
use grv_lang::span::Span;

#[cfg(test)]
pub(crate) use build::evaluate;
pub(crate) use build::{Builder, mask};
pub(crate) use check::check;
pub(crate) use print::print;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) struct $name(pub(crate) u32);
        impl $name {
            pub(crate) fn index(self) -> usize { self.0 as usize }
        }
    )* };
}

ids! {
    /// A value: index into [`Function::types`].
    Value,
    /// A block: index into [`Function::blocks`].
    BlockId,
    /// A stack slot: index into [`Function::slots`].
    Slot,
    /// A map: index into [`super::maps::Maps`].
    MapId,
}

/// The type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// A number.
    Word,
    /// What the program was started with.
    Context,
    /// A place in the packet.
    Packet,
    /// The packet's end.
    PacketEnd,
    /// The value of a map's entry, or null until it was compared with zero.
    Entry,
    /// A map, and the key of one of its entries, as a callback is given them.
    Map,
    Key,
}

/// An operand: a value, or something that needs no register of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Arg {
    /// A value.
    Value(Value),
    /// A number.
    Number(u64),
    /// A place in a stack slot.
    Stack(Slot, u16),
    /// A map, for helpers.
    Map(MapId),
    /// A place in the one element of a map of global variables.
    Global(MapId, u32),
    /// A function that a helper calls, by its number.
    Callback(u32),
}

impl Arg {
    /// The number, if it is one.
    pub(crate) fn number(self) -> Option<u64> {
        if let Arg::Number(number) = self { Some(number) } else { None }
    }

    /// The value, if it is one.
    pub(crate) fn value(self) -> Option<Value> {
        if let Arg::Value(value) = self { Some(value) } else { None }
    }
}

/// Arithmetic on words. Division by zero gives 0, the remainder by zero the dividend; shifts are by less than the width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Bin {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    And,
    Or,
    Xor,
    Shl,
    Shr,
}

/// Comparisons of words as unsigned numbers, of pointers into one packet, of an entry with null.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Cmp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// Of branches, as they are made simpler in the end: some of these bits are set, or none.
    Set,
    Clear,
}

impl Cmp {
    /// The comparison that holds exactly if this one does not.
    pub(crate) fn negated(self) -> Cmp {
        match self {
            Cmp::Eq => Cmp::Ne,
            Cmp::Ne => Cmp::Eq,
            Cmp::Lt => Cmp::Ge,
            Cmp::Le => Cmp::Gt,
            Cmp::Gt => Cmp::Le,
            Cmp::Ge => Cmp::Lt,
            Cmp::Set => Cmp::Clear,
            Cmp::Clear => Cmp::Set,
        }
    }

    /// The comparison with its operands exchanged.
    pub(crate) fn swapped(self) -> Cmp {
        match self {
            Cmp::Eq | Cmp::Ne | Cmp::Set | Cmp::Clear => self,
            Cmp::Lt => Cmp::Gt,
            Cmp::Le => Cmp::Ge,
            Cmp::Gt => Cmp::Lt,
            Cmp::Ge => Cmp::Le,
        }
    }

    /// Whether it holds of two numbers.
    pub(crate) fn holds(self, a: u64, b: u64) -> bool {
        match self {
            Cmp::Eq => a == b,
            Cmp::Ne => a != b,
            Cmp::Lt => a < b,
            Cmp::Le => a <= b,
            Cmp::Gt => a > b,
            Cmp::Ge => a >= b,
            Cmp::Set => a & b != 0,
            Cmp::Clear => a & b == 0,
        }
    }
}

/// Fields of the context of a program: of XDP, and of tc, whose context is a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Field {
    Data,
    DataEnd,
    IngressIfindex,
    SkbData,
    SkbDataEnd,
    SkbIngressIfindex,
    /// Bytes of the whole frame.
    SkbLength,
    /// Whether a VLAN tag was taken off.
    SkbTagged,
}

/// What an instruction does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    /// Reads the context.
    Context(Value, Field),
    /// Arithmetic on words: 64 bits, or 32 bits with the upper ones of the result zero.
    Bin { op: Bin, wide: bool, a: Arg, b: Arg },
    /// The bytes of the low 16, 32 or 64 bits in the opposite order, the others zero.
    Swap { bits: u8, a: Arg },
    /// A pointer into a packet, or into an entry, moved forward by a number of bytes.
    Advance { pointer: Value, by: Arg },
    /// A pointer to what is so many bytes behind a place among global variables, or behind such a pointer.
    Place { base: Arg, by: Arg },
    /// Bytes between two pointers into one packet.
    Distance { from: Value, to: Value },
    /// Reads 1, 2, 4 or 8 bytes.
    Load { base: Arg, offset: i16, bytes: u8 },
    /// Writes 1, 2, 4 or 8 bytes.
    Store { base: Arg, offset: i16, bytes: u8, value: Arg },
    /// If the 8 bytes are `expected`, they become `new`, at once. The result is what they were.
    CompareSwap { base: Arg, offset: i16, expected: Arg, new: Arg },
    /// Adds to 8 bytes, at once. The result is what they were.
    FetchAdd { base: Arg, offset: i16, amount: Arg },
    /// Calls a helper of the kernel.
    Call { helper: Helper, args: Vec<Arg> },
    /// Calls a function of ours, by its number. It is given words, gives one, and changes nothing.
    Invoke { function: u32, args: Vec<Arg> },
}

/// An instruction.
#[derive(Clone, Debug)]
pub(crate) struct Inst {
    pub(crate) op: Op,
    /// What it defines.
    pub(crate) result: Option<Value>,
    /// Where in the source it comes from.
    pub(crate) span: Span,
    /// The operation on a table that takes effect here.
    pub(crate) commit: Option<Commit>,
}

/// An operation on a table takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Commit {
    pub(crate) table: TableId,
    pub(crate) what: Effect,
}

/// What takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// A live entry's lifetime or value changes, or a dead one lives again.
    Change,
    /// A new entry is there.
    Insert,
    /// An entry is held: others wait until who did this lets go of it.
    Hold,
    /// An entry is given up: it is dead, and nobody but who did this deletes it.
    Claim,
    /// Tokens are taken.
    Take,
}

/// How a block ends.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// Goes on elsewhere.
    Jump(BlockId, Vec<Arg>),
    /// Goes on in one of two blocks, which have no parameters.
    Branch { cmp: Cmp, a: Arg, b: Arg, then: BlockId, other: BlockId },
    /// Ends the program with a verdict.
    Return(Arg),
}

/// A basic block.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) params: Vec<Value>,
    pub(crate) insts: Vec<Inst>,
    pub(crate) end: End,
    /// Where in the source the end comes from.
    pub(crate) span: Span,
    /// Whether few packets come here: then it is out of the way of the others.
    pub(crate) rare: bool,
}

/// A function; block 0 is its entry, which has no parameters and is gone to from nowhere.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// What it is started with.
    pub(crate) inputs: Vec<Value>,
    pub(crate) blocks: Vec<Block>,
    /// Types of values.
    pub(crate) types: Vec<Type>,
    /// By value, how many low bits of a word may be set.
    pub(crate) bits: Vec<u8>,
    /// Sizes of stack slots, in bytes.
    pub(crate) slots: Vec<u16>,
    /// The map of variables that nobody changes while the function can be run.
    pub(crate) constants: Option<MapId>,
    /// Maps of which each processor has its own values.
    pub(crate) own: Vec<MapId>,
    /// Blocks whose branch goes on, where what it asks holds, to the next turn of a loop, and jumps if not: in that order the kernel's verifier goes there.
    pub(crate) again: Vec<BlockId>,
}

impl Function {
    /// How many words it is given, if it is one that other functions of ours call.
    pub(crate) fn words(&self) -> Option<usize> {
        self.inputs.iter().all(|input| self.types[input.index()] == Type::Word).then_some(self.inputs.len())
    }
}

/// Helpers of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Helper {
    MapLookup,
    MapUpdate,
    MapDelete,
    KtimeGetNs,
    Jiffies64,
    XdpAdjustHead,
    RedirectMap,
    ForEach,
    Random,
    RingbufOutput,
    TailCall,
    Redirect,
    SkbPullData,
    TimerInit,
    TimerSetCallback,
    TimerStart,
}

impl Helper {
    /// All of them.
    pub(crate) const ALL: [Helper; 16] = [
        Helper::MapLookup,
        Helper::MapUpdate,
        Helper::MapDelete,
        Helper::KtimeGetNs,
        Helper::Jiffies64,
        Helper::XdpAdjustHead,
        Helper::RedirectMap,
        Helper::ForEach,
        Helper::Random,
        Helper::RingbufOutput,
        Helper::TailCall,
        Helper::Redirect,
        Helper::SkbPullData,
        Helper::TimerInit,
        Helper::TimerSetCallback,
        Helper::TimerStart,
    ];

    /// The number of the register in which it is given a map.
    pub(crate) fn map_argument(self) -> Option<u8> {
        match self {
            Helper::MapLookup
            | Helper::MapUpdate
            | Helper::MapDelete
            | Helper::RedirectMap
            | Helper::ForEach
            | Helper::RingbufOutput => Some(1),
            Helper::TailCall | Helper::TimerInit => Some(2),
            Helper::KtimeGetNs
            | Helper::Jiffies64
            | Helper::XdpAdjustHead
            | Helper::Random
            | Helper::Redirect
            | Helper::SkbPullData
            | Helper::TimerSetCallback
            | Helper::TimerStart => None,
        }
    }

    /// Its number in the kernel's interface.
    pub(crate) fn number(self) -> u32 {
        match self {
            Helper::MapLookup => 1,
            Helper::MapUpdate => 2,
            Helper::MapDelete => 3,
            Helper::KtimeGetNs => 5,
            Helper::Jiffies64 => 118,
            Helper::XdpAdjustHead => 44,
            Helper::RedirectMap => 51,
            Helper::ForEach => 164,
            Helper::Random => 7,
            Helper::RingbufOutput => 130,
            Helper::TailCall => 12,
            Helper::Redirect => 23,
            Helper::SkbPullData => 39,
            Helper::TimerInit => 169,
            Helper::TimerSetCallback => 170,
            Helper::TimerStart => 171,
        }
    }

    /// Its name in the kernel's documentation.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Helper::MapLookup => "bpf_map_lookup_elem",
            Helper::MapUpdate => "bpf_map_update_elem",
            Helper::MapDelete => "bpf_map_delete_elem",
            Helper::KtimeGetNs => "bpf_ktime_get_ns",
            Helper::Jiffies64 => "bpf_jiffies64",
            Helper::XdpAdjustHead => "bpf_xdp_adjust_head",
            Helper::RedirectMap => "bpf_redirect_map",
            Helper::ForEach => "bpf_for_each_map_elem",
            Helper::Random => "bpf_get_prandom_u32",
            Helper::RingbufOutput => "bpf_ringbuf_output",
            Helper::TailCall => "bpf_tail_call",
            Helper::Redirect => "bpf_redirect",
            Helper::SkbPullData => "bpf_skb_pull_data",
            Helper::TimerInit => "bpf_timer_init",
            Helper::TimerSetCallback => "bpf_timer_set_callback",
            Helper::TimerStart => "bpf_timer_start",
        }
    }

    /// How many arguments it is given.
    pub(crate) fn arguments(self) -> u8 {
        match self {
            Helper::KtimeGetNs | Helper::Jiffies64 | Helper::Random => 0,
            Helper::MapLookup
            | Helper::MapDelete
            | Helper::XdpAdjustHead
            | Helper::Redirect
            | Helper::SkbPullData
            | Helper::TimerSetCallback => 2,
            Helper::RedirectMap | Helper::TailCall | Helper::TimerInit | Helper::TimerStart => 3,
            Helper::MapUpdate | Helper::ForEach | Helper::RingbufOutput => 4,
        }
    }

    /// The type of its result.
    pub(crate) fn result(self) -> Type {
        if self == Helper::MapLookup { Type::Entry } else { Type::Word }
    }
}
