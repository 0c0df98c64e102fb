//! The eBPF back end: an object file for the Linux kernel, an XDP program with its maps, types and lines of the source.
//!
//! - [`lower`]: from the core IR to the low-level IR; what the target does not have is refused there
//! - [`lir`]: the low-level IR
//! - [`machine`]: instruction selection, registers, encoding
//! - [`object`]: ELF, BTF
//! - [`maps`]: what the kernel keeps for the program
//! - [`kernel`]: which kernels have what it uses
//! - [`manifest`]: what the artefact says of itself
//! - [`memory`]: keys and values as bytes; [`flat`]: routing tables; [`near`]: what is fed; [`front`]: what is found at once
//! - [`gate`]: stands at the ports while versions change
//! - [`sweeper`]: dead entries go while no packets come
//! - [`trace`]: what builds with trace points tell
//!
//! The same program and options give the same bytes.

pub mod flat;
pub mod front;
pub mod gate;
mod kernel;
mod lir;
mod listing;
mod lower;
mod machine;
mod manifest;
mod maps;
pub mod memory;
pub mod near;
mod object;
pub mod sweeper;
pub mod trace;

use grv_lang::diagnostics::{Code, Diagnostic};
use grv_lang::ir::Program;
use grv_lang::source::SourceMap;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::num::NonZeroU32;

pub use kernel::Kernel;
pub use manifest::{Claim, Group, Manifest, PortInfo, Proofs, SCHEMA, Source};
pub use object::MANIFEST;
pub use trace::{Told, Trace, TraceInfo};

/// Where a program is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hook {
    /// In the driver, or right behind it.
    #[default]
    Xdp,
    /// Where the kernel has made a buffer of the packet, before its own network stack.
    Tc,
}

impl Hook {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Hook::Xdp => "xdp",
            Hook::Tc => "tc",
        }
    }

    /// The section of objects, by which all loaders know for which hook the program is.
    pub(super) fn section(self) -> &'static str {
        match self {
            Hook::Xdp => "xdp",
            Hook::Tc => "classifier",
        }
    }

    /// The hook of that name.
    pub fn named(name: &str) -> Option<Hook> {
        [Hook::Xdp, Hook::Tc].into_iter().find(|hook| hook.name() == name)
    }
}

/// What is asked of a build.
#[derive(Clone, Debug)]
pub struct Options {
    /// The oldest kernel that it must run on.
    pub kernel: Kernel,
    /// Ticks of the kernel's coarse clock a second, where it may be used. They must divide a second into whole nanoseconds.
    pub hz: Option<NonZeroU32>,
    /// Whether checks that need not have been proved are made when the program runs; where one fails, the packet is dropped.
    pub checks: bool,
    /// Whether a test can set the clock and the port, and see where packets went.
    pub probe: bool,
    /// Where it is attached.
    pub hook: Hook,
    /// What it tells of packets, if anything.
    pub trace: Option<Trace>,
    /// By parameter: the numbers that are built in, if they are known.
    pub params: Vec<Option<Vec<u128>>>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            kernel: Kernel::V5_15,
            hz: NonZeroU32::new(250),
            checks: false,
            probe: false,
            hook: Hook::Xdp,
            trace: None,
            params: Vec::new(),
        }
    }
}

/// A variable in `.rodata` that holds a scalar of a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name in the source.
    pub name: String,
    /// The variable.
    pub variable: String,
    /// Its bytes.
    pub bytes: u8,
    /// Whether it has its default; if not, the loader must set it.
    pub given: bool,
    /// The number that is built in: then nothing else may be set.
    pub fixed: Option<u64>,
}

/// Where a number is in a key or a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnInfo {
    /// Bytes before it.
    pub offset: u16,
    /// Bytes of the number that it is in.
    pub bytes: u8,
    /// Bits below it in that number.
    pub shift: u8,
    /// Its bits.
    pub bits: u8,
    /// Whether the bytes are in network order.
    pub network: bool,
}

/// A global variable of the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// `.rodata`, `.data` or [`GENERATION_SECTION`].
    #[serde(deserialize_with = "section")]
    pub section: Name,
    /// Its name.
    pub name: String,
    /// Bytes before it in its section.
    pub offset: u16,
    /// Its bytes.
    pub bytes: u8,
}

/// How a table of the program is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableInfo {
    /// Its number in the core IR.
    pub table: u32,
    /// Its name in the source.
    pub name: String,
    /// The map.
    pub map: String,
    /// `entries`, `mirror`, `slots`, `buckets`, `control`, `control array` (a cell is one of one element), `control globals` (such an array whose elements are all in front, and nowhere else), `control blocks`, `control rows`, `prefixes`, `feed`, `counters`, or `cell`: a
    /// global variable, whose one number is at the offset in its section.
    #[serde(deserialize_with = "keeping")]
    pub keeping: Name,
    /// The key's scalars. Keys of `control` end with the number of the generation (0 or 1); indexes of `control array` have the
    /// capacity added in generation 1; the key of `control rows` is the generation; keys of `prefixes` begin with their length in bits, those of the generation (32) included, and the generation in network order.
    pub key: Vec<ColumnInfo>,
    /// The value's scalars.
    pub value: Vec<ColumnInfo>,
    /// Bytes of a key.
    pub key_bytes: u16,
    /// Bytes of a value.
    pub value_bytes: u16,
    /// Of `entries`: where the word with the deadline is.
    pub word: Option<u16>,
    /// Bits below the deadline in it. Deadlines are in ticks.
    pub deadline_shift: u8,
    /// The clock of its ticks.
    pub clock: ClockInfo,
    /// Of `entries` whose deadlines others share: where the ticket is, a word that no two incarnations have in common.
    pub ticket: Option<u16>,
    /// Of `slots`, an array of two tables that mirror each other, in whose values the keys' scalars are, too: a map from keys of the table with the deadlines to
    /// slots. Its values end with a slot's number, from 1. Slots begin with that key; one holds entries if its word is more than 1.
    pub index: Option<String>,
    /// Of `slots`: by column of the mirror's key the numbers that there are slots for.
    pub places: Vec<Domain>,
    /// Of `mirror`, and of a mirror's `slots`: whose deadlines its entries share. An entry lives if its word, a ticket, is not 0, and the owner's entry has
    /// the same ticket, and lives.
    pub owner: Option<OwnerInfo>,
    /// Of `control blocks`: how many elements are in an entry, and how far apart. Element i is in the entry with the key i / elements.
    /// Of `control rows`: how many there are, and how far apart, behind eight bytes that hold the index from which on all elements are the same.
    pub blocks: Option<BlockInfo>,
    /// Of `control rows`: what is in elements besides their columns.
    pub masks: Vec<MaskInfo>,
    /// Of `control`: the array that most entries are found in, if there was room for one. Of `control globals`: the array.
    pub front: Option<FrontInfo>,
    /// Of `feed`: the array that most entries are found in.
    pub near: Option<NearInfo>,
    /// Of `prefixes`: the arrays that say what the trie would.
    pub flat: Option<FlatInfo>,
    /// Of an array that the runtime computes: from what.
    pub maglev: Option<MaglevInfo>,
    /// Of `control array`, `control globals`, `control blocks` and `control rows`: what elements hold that are not given, if that is known; a loader fills both generations with it.
    pub initial: Vec<u64>,
    /// Of `buckets`: what their numbers count in.
    pub bucket: Option<BucketInfo>,
}

impl TableInfo {
    /// A table of which nothing more is known.
    pub(crate) fn new(table: u32, name: &str, keeping: Name) -> TableInfo {
        TableInfo {
            table,
            name: name.to_string(),
            map: name.to_string(),
            keeping,
            key: Vec::new(),
            value: Vec::new(),
            key_bytes: 0,
            value_bytes: 0,
            word: None,
            deadline_shift: 0,
            clock: ClockInfo::default(),
            ticket: None,
            index: None,
            places: Vec::new(),
            owner: None,
            blocks: None,
            masks: Vec::new(),
            front: None,
            near: None,
            flat: None,
            maglev: None,
            initial: Vec::new(),
            bucket: None,
        }
    }

    /// The maps of what it holds of its own: those that another version of a program would go on with.
    pub fn maps(&self) -> impl Iterator<Item = &String> {
        let near = self.near.as_ref().map(|near| &near.map);
        [Some(&self.map), self.index.as_ref(), near].into_iter().flatten()
    }
}

/// The numbers that a column of a key can be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Domain {
    /// All of so many bits.
    All(u8),
    /// So many from the first one on: what is inserted was chosen among them.
    Range {
        /// The first one.
        first: u64,
        /// How many they are.
        count: u64,
    },
    /// These, in order: nothing else is ever inserted.
    Of(Vec<u64>),
}

impl Domain {
    /// How many they are.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Domain::All(bits) => 1 << bits,
            Domain::Range { count, .. } => *count,
            Domain::Of(values) => values.len() as u64,
        }
    }
}

/// What deadlines of a table are told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockInfo {
    /// Whether ticks are the kernel's own, its `jiffies`; else they are of the monotonic clock, counted from 1.
    pub coarse: bool,
    /// Nanoseconds a tick.
    pub tick: u64,
}

impl Default for ClockInfo {
    fn default() -> ClockInfo {
        ClockInfo { coarse: false, tick: 1 }
    }
}

impl ClockInfo {
    /// The tick at a time, of a clock that begins with tick 1 at time 0. An entry lives while this is less than its deadline.
    pub fn at(&self, time: u64) -> u64 {
        time / self.tick.max(1) + 1
    }

    /// The deadline, in such ticks, that stands for a time.
    pub fn deadline(&self, time: u64) -> u64 {
        let tick = self.tick.max(1);
        if self.coarse { time / tick + 2 } else { time.div_ceil(tick) + 1 }
    }

    /// By how much the clock of lifetimes lags at a time.
    pub fn lag(&self, time: u64) -> u64 {
        time % self.tick.max(1) + u64::from(self.coarse)
    }
}

/// A token bucket is kept as the time at which it is full again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketInfo {
    /// Units that a byte costs.
    pub cost: u64,
    /// Units of a nanosecond.
    pub unit: u64,
    /// Units that a full bucket holds.
    pub burst: u64,
}

impl BucketInfo {
    /// The bytes that may pass at a time, of a bucket that is full at `full`, in units.
    pub fn tokens(&self, full: u64, now: u64) -> u64 {
        let lacking = full.saturating_sub(now.saturating_mul(self.unit));
        self.burst.saturating_sub(lacking) / self.cost.max(1)
    }
}

/// Elements of an array that is kept in blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockInfo {
    /// Elements of a block.
    pub elements: u32,
    /// Bytes of an element.
    pub bytes: u16,
}

/// A mask beside the length of a prefix: as many ones as the length says, above zeros.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskInfo {
    /// Which column of the value is the length.
    pub of: usize,
    /// Where the mask is, in an element.
    pub mask: ColumnInfo,
}

/// An array beside a table of the control plane, in the section [`FRONTS`]: see [`front`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrontInfo {
    /// Bytes before it in its section.
    pub offset: u32,
    /// The key's scalars, in an element; none, of an array or a cell.
    pub key: Vec<ColumnInfo>,
    /// The value's.
    pub value: Vec<ColumnInfo>,
    /// Bytes of an element.
    pub bytes: u16,
    /// Bits of an index, without the generation, which is above them.
    pub bits: u8,
}

/// An array beside a table that is fed: see [`near`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearInfo {
    /// Its map.
    pub map: String,
    /// Bits of the numbers of a value.
    pub widths: Vec<u8>,
}

/// The arrays beside a trie of prefixes: see [`flat`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlatInfo {
    /// Bytes before the first one in the section [`FRONTS`].
    pub offset: u32,
    /// The map of the blocks.
    pub map: String,
    /// Blocks, of both generations.
    pub blocks: u32,
    /// The columns of an element: the length of the prefix, and those of the value.
    pub value: Vec<ColumnInfo>,
    /// Bytes of an element.
    pub bytes: u16,
}

/// A Maglev table: what it is computed from (`grv_lang::ir::Maglev`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaglevInfo {
    /// The set of backends, by its number in the core IR.
    pub entries: u32,
    /// The map from names of groups to their numbers, if they have names.
    pub groups: Option<u32>,
    /// Slots of each group.
    pub slots: u32,
}

/// The table that has the deadlines of a mirror's entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerInfo {
    /// Its number in the core IR.
    pub table: u32,
    /// The columns of its key: by number, those of the mirror's key, and behind them those of its value.
    pub key: Vec<usize>,
}

/// What a program needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Instructions of 8 bytes.
    pub instructions: usize,
    /// Bytes of stack, of 512: of the program, and of the function that needs most of those that it calls.
    pub stack: usize,
    /// Maps: name, kind, entries, bytes of keys and values (of one processor).
    pub maps: Vec<(String, String, u32, u64)>,
    /// Helpers of the kernel, and at how many places they are called.
    pub helpers: Vec<(String, usize)>,
}

/// A built program.
#[derive(Clone, Debug)]
pub struct Artefact {
    /// The object file.
    pub object: Vec<u8>,
    /// The name of the program in it.
    pub program: String,
    /// What it needs.
    pub budget: Budget,
    /// Its instructions beside the lines that they come from.
    pub listing: String,
    /// How its tables are kept.
    pub tables: Vec<TableInfo>,
    /// Variables that hold parameters.
    pub parameters: Vec<Parameter>,
    /// All global variables: interfaces, parameters, the generation of the control tables, and in builds for tests the probe.
    pub variables: Vec<Variable>,
    /// Maps of ports that packets are sent to at once.
    pub groups: Vec<(String, Vec<String>)>,
    /// What drops are counted by.
    pub reasons: Vec<String>,
    /// What who looks at a build with trace points has to know.
    pub trace: Option<TraceInfo>,
}

/// A program that was compiled, before it is known what is proved of it.
pub struct Compiled<'p> {
    program: &'p Program,
    sources: &'p SourceMap,
    options: &'p Options,
    lowered: lower::Lowered,
    code: machine::Code,
    functions: Vec<machine::Code>,
    budget: Budget,
}

/// Compiles a program. What the target does not have is reported; nothing is built then.
pub fn compile<'p>(program: &'p Program, sources: &'p SourceMap, options: &'p Options) -> Result<Compiled<'p>, Vec<Diagnostic>> {
    let lowered = lower::lower(program, options)?;
    let bug = |what: String| vec![Diagnostic::new(Code::TargetSize, program.span, what)];
    let assemble = |function: &lir::Function| {
        if cfg!(debug_assertions) {
            lir::check(function).map_err(|e| bug(format!("a bug of the compiler: {e}\n{}", lir::print(function))))?;
        }
        machine::compile(function).map_err(|failure| bug(failure.to_string()))
    };
    let code = assemble(&lowered.function)?;
    let functions = lowered.functions.iter().map(assemble).collect::<Result<Vec<_>, _>>()?;
    let calls = calls(&code, &functions);
    let stack = machine::stack(&code, &functions).map_err(|failure| bug(failure.to_string()))?;
    let newer = kernel::newer(calls.keys(), &lowered.maps, options.kernel);
    if !newer.is_empty() {
        let found = |what: String| {
            let message = format!("{what}, and the build is for {}", options.kernel);
            Diagnostic::new(Code::TargetOperation, program.span, message)
        };
        return Err(newer.into_iter().map(found).collect());
    }
    let budget = Budget {
        instructions: code.insns.len() + functions.iter().map(|c| c.insns.len()).sum::<usize>(),
        stack,
        maps: lowered
            .maps
            .maps
            .iter()
            .map(|map| (map.name.clone(), map.kind.name().to_string(), map.entries, map.bytes()))
            .chain(lowered.maps.globals.iter().filter(|of| of.section == FRONTS).map(|of| {
                // Loaders make one map of a section.
                (FRONTS.to_string(), maps::Kind::Array.name().to_string(), 1, of.bytes().into())
            }))
            .collect(),
        helpers: calls.iter().map(|(helper, count)| (helper.name().to_string(), *count)).collect(),
    };
    Ok(Compiled { program, sources, options, lowered, code, functions, budget })
}

/// The helpers that are called, with the number of places.
fn calls(code: &machine::Code, functions: &[machine::Code]) -> BTreeMap<lir::Helper, usize> {
    let mut calls = BTreeMap::new();
    for (helper, count) in std::iter::once(code).chain(functions).flat_map(|code| &code.calls) {
        *calls.entry(*helper).or_default() += count;
    }
    calls
}

/// Compiles a program, and writes the object file.
pub fn build(program: &Program, sources: &SourceMap, options: &Options, proofs: &Proofs) -> Result<Artefact, Vec<Diagnostic>> {
    compile(program, sources, options)?.artefact(proofs)
}

impl Compiled<'_> {
    /// Writes the object file, in which it says what is proved.
    pub fn artefact(self, proofs: &Proofs) -> Result<Artefact, Vec<Diagnostic>> {
        let Compiled { program, sources, options, lowered, code, functions, budget } = self;
        let variables = variables(&lowered.maps);
        let manifest = Manifest::new(program, sources, options, proofs, &lowered, &budget);
        let object = object::write(options.hook, &code, &functions, &lowered.maps, &manifest.json(), sources)
            .map_err(|what| vec![Diagnostic::new(Code::TargetSize, program.span, what)])?;
        Ok(Artefact {
            object,
            program: code.name.clone(),
            listing: std::iter::once(&code)
                .chain(&functions)
                .map(|c| listing::listing(c, &functions, &lowered.maps, sources))
                .collect(),
            budget,
            tables: lowered.tables,
            parameters: lowered.parameters,
            variables,
            groups: lowered.groups,
            reasons: lowered.reasons,
            trace: lowered.trace,
        })
    }
}

/// The low-level IR of a program, as text.
pub fn print_lowered(program: &Program, options: &Options) -> Result<String, Vec<Diagnostic>> {
    let lowered = lower::lower(program, options)?;
    Ok(std::iter::once(&lowered.function).chain(&lowered.functions).map(lir::print).collect())
}

/// The reason for which a packet is dropped that arrives at no port of the box.
pub const NO_PORT: &str = "not a port of the box";

/// One of a few names. (An alias, so that serde does not take it for text that is borrowed from its input.)
pub type Name = &'static str;

/// The ways to keep a table, as manifests name them.
const KEEPINGS: [&str; 13] = [
    "entries",
    "mirror",
    "slots",
    "buckets",
    "control",
    "control array",
    "control globals",
    "control blocks",
    "control rows",
    "prefixes",
    "feed",
    "counters",
    "cell",
];

/// Sections of global variables.
const SECTIONS: [&str; 3] = [".rodata", ".data", GENERATION_SECTION];

/// The section of the variable that says which generation of the control tables counts. It has nothing else in it: who sets it from outside
/// can only write whole sections, and programs change what is in the others.
pub const GENERATION_SECTION: &str = ".data.generation";

/// The section of what most entries of control tables are found in.
pub const FRONTS: &str = maps::ZEROED;

fn keeping<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
    one_of(from, &KEEPINGS)
}

fn section<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
    one_of(from, &SECTIONS)
}

fn one_of<'de, D: Deserializer<'de>>(from: D, known: &'static [&'static str]) -> Result<&'static str, D::Error> {
    let name = String::deserialize(from)?;
    let found = known.iter().find(|known| **known == name);
    found.copied().ok_or_else(|| serde::de::Error::unknown_variant(&name, known))
}

fn variables(maps: &maps::Maps) -> Vec<Variable> {
    let of = |globals: &maps::Globals| {
        let section = globals.section;
        let places = globals.layout.places.clone();
        places.into_iter().map(move |place| Variable { section, name: place.name, offset: place.offset, bytes: place.bytes })
    };
    maps.globals.iter().flat_map(of).collect()
}
