//! The values of the symbols that name a state and a packet, as the interpreter has them. What is nowhere defined (the value of an
//! entry that is not there) is anything: formulas must not rest on it.

use crate::sym::{is_keyed, root, shares};
use crate::term::eval::Concrete;
use crate::term::{Declared, Sort};
use grv_lang::interp::packet::{Place, get_bits};
use grv_lang::interp::{Layout, Machine, Physical, hash};
use grv_lang::ir::{HashId, HeaderId, ParamId, Program, TableId, TableKind};
use rustc_hash::FxHashMap;

/// What a symbol means.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Meaning {
    Now,
    Tick(TableId),
    /// How many entries are there.
    Count(TableId),
    /// How many live entries there are.
    Size(TableId),
    /// Functions of a key.
    Has(TableId),
    Value(TableId, usize),
    Deadline(TableId),
    /// Functions of an address.
    Match(TableId),
    MatchLength(TableId),
    /// The number of the next deadline.
    NextNumber,
    /// A deadline by its number.
    At(TableId),
    PacketLength,
    /// A field of a header behind others: which of its fields.
    Field(Vec<HeaderId>, HeaderId, usize),
    /// The sum of the words behind the fixed part of a header behind others.
    Rest(Vec<HeaderId>, HeaderId),
    Param(ParamId, usize),
    Hash(HashId),
    /// What a header makes of bytes that were written, or put in, by way of another one: no way that is taken reads it.
    Anything,
    /// Of the next generation of control tables.
    New(Box<Meaning>),
    /// Given by the run; or unknown.
    Open,
}

/// What a symbol means, by its name.
pub(super) fn meaning(program: &Program, declared: &Declared, state: &str) -> Meaning {
    known(program, &declared.name, state).unwrap_or(Meaning::Open)
}

fn known(program: &Program, name: &str, state: &str) -> Option<Meaning> {
    if let Some(function) = name.strip_prefix("hash ") {
        return program.hashes.iter().position(|h| h.name == function).map(|i| Meaning::Hash(HashId(i as u32)));
    }
    if let Some((of, column)) = name.rsplit_once('.')
        && let Some(param) = program.params.iter().position(|p| p.name == of)
    {
        return Some(Meaning::Param(ParamId(param as u32), column.parse().ok()?));
    }
    // The names of events, as they happen in proofs.
    if let Some(of) = name.strip_prefix("event") {
        return of_packet(program, of);
    }
    if name.starts_with("new.") {
        return Some(Meaning::New(Box::new(of_state(program, name, "new")?)));
    }
    if let Some((of, _)) = name.split_once(".size.") {
        return program.tables.iter().position(|t| t.name == of).map(|i| Meaning::Size(TableId(i as u32)));
    }
    of_state(program, name, state)
}

fn of_state(program: &Program, name: &str, state: &str) -> Option<Meaning> {
    let of = name.strip_prefix(state)?.strip_prefix('.')?;
    if of == "now" {
        return Some(Meaning::Now);
    }
    let (table, what) = of.rsplit_once('.')?;
    let table = TableId(program.tables.iter().position(|t| t.name == table)? as u32);
    Some(match what {
        "tick" => Meaning::Tick(table),
        "count" => Meaning::Count(table),
        "has" => Meaning::Has(table),
        "deadline" => Meaning::Deadline(table),
        "deadlines" => Meaning::NextNumber,
        "at" => Meaning::At(table),
        "match" => Meaning::Match(table),
        "match length" => Meaning::MatchLength(table),
        _ => Meaning::Value(table, what.strip_prefix("value")?.parse().ok()?),
    })
}

/// `.length`, `/Outer/Inner.field`, `/Outer/Inner rest`.
fn of_packet(program: &Program, name: &str) -> Option<Meaning> {
    if name == ".length" {
        return Some(Meaning::PacketLength);
    }
    if name.contains('~') || name.contains("/+") || name.contains(" rest ") {
        return Some(Meaning::Anything);
    }
    let header = |name: &str| program.headers.iter().position(|h| h.name == name).map(|i| HeaderId(i as u32));
    let (path, last) = name.strip_prefix('/')?.rsplit_once('/').unwrap_or(("", name.strip_prefix('/')?));
    let chain: Option<Vec<HeaderId>> = path.split('/').filter(|part| !part.is_empty()).map(header).collect();
    if let Some(of) = last.strip_suffix(" rest") {
        return Some(Meaning::Rest(chain?, header(of)?));
    }
    let (of, field) = last.split_once('.')?;
    let of = header(of)?;
    let field = program.headers[of.index()].fields.iter().position(|f| f.name == field)?;
    Some(Meaning::Field(chain?, of, field))
}

/// A state of the interpreter, laid out for look-ups, and a packet that arrives in it.
pub(super) struct Snapshot<'m> {
    pub(super) machine: &'m Machine,
    /// The clocks when the event happens are this one's.
    pub(super) clocks: &'m Machine,
    /// The state with the next generation of control tables.
    pub(super) new: Option<Box<Snapshot<'m>>>,
    pub(super) packet: &'m [u8],
    tables: Vec<FxHashMap<Vec<u128>, Physical>>,
    deadlines: FxHashMap<u32, u64>,
    next: u32,
}

impl<'m> Snapshot<'m> {
    pub(super) fn new(machine: &'m Machine, packet: &'m [u8]) -> Snapshot<'m> {
        let ids = (0..machine.program().tables.len() as u32).map(TableId);
        let tables: Vec<FxHashMap<Vec<u128>, Physical>> =
            ids.map(|id| machine.physical(id).into_iter().map(|e| (e.key.clone(), e)).collect()).collect();
        let numbered = |e: &Physical| Some((e.number?, e.deadline?));
        let deadlines: FxHashMap<u32, u64> = tables.iter().flat_map(|t| t.values()).filter_map(numbered).collect();
        let next = deadlines.keys().max().map_or(0, |n| n + 1);
        Snapshot { machine, clocks: machine, new: None, packet, tables, deadlines, next }
    }

    /// The entries of a table with keys.
    pub(super) fn entries(&self, table: TableId) -> &FxHashMap<Vec<u128>, Physical> {
        &self.tables[table.index()]
    }

    /// A symbol's value.
    pub(super) fn value(&self, meaning: &Meaning, sort: Sort, args: &[Concrete]) -> Option<Concrete> {
        let program = &**self.machine.program();
        let bits = match meaning {
            Meaning::Now => self.clocks.now().into(),
            Meaning::Tick(table) => self.clocks.tick(*table).into(),
            Meaning::Count(table) => self.machine.occupied(*table) as u128,
            Meaning::Size(table) => {
                self.new.as_deref().unwrap_or(self).entries(*table).values().filter(|e| e.live).count() as u128
            }
            Meaning::Has(table) => self.entries(*table).contains_key(&scalars(args)).into(),
            Meaning::Value(table, column) => {
                let key = scalars(args);
                if is_keyed(&program.tables[table.index()].kind) {
                    let entry = self.entries(*table).get(&key).and_then(|e| e.value.get(*column).copied());
                    entry.unwrap_or_else(|| anything(&key, sort))
                } else {
                    let index = key.first().copied().unwrap_or(0);
                    *self.machine.element(*table, u64::try_from(index).ok()?)?.get(*column)?
                }
            }
            Meaning::Deadline(table) => {
                let key = scalars(args);
                let entry = self.entries(*table).get(&key);
                if shares(program, *table) {
                    entry.and_then(|e| e.number).map_or_else(|| anything(&key, Sort::Bits(8)), u128::from)
                } else {
                    entry.and_then(|e| e.deadline).map_or_else(|| anything(&key, Sort::Int), u128::from)
                }
            }
            Meaning::NextNumber => self.next.into(),
            Meaning::At(table) => {
                debug_assert!(root(program, *table) == *table);
                let number = scalars(args);
                let known = u32::try_from(number[0]).ok().and_then(|n| self.deadlines.get(&n).copied());
                known.map_or_else(|| anything(&number, Sort::Int), u128::from)
            }
            Meaning::Match(table) => self.longest(*table, args).is_some().into(),
            Meaning::MatchLength(table) => {
                self.longest(*table, args).map_or_else(|| anything(&scalars(args), Sort::Bits(8)), |e| e.key[1])
            }
            Meaning::PacketLength => self.packet.len() as u128,
            Meaning::Field(chain, header, field) => {
                let declared = &program.headers[header.index()].fields[*field];
                let start = self.behind(chain).map(|(start, _)| start as usize * 8 + declared.offset as usize);
                let value = start.and_then(|first| get_bits(self.packet, first, declared.width));
                value.unwrap_or_else(|| anything(&[u128::from(declared.offset)], sort))
            }
            Meaning::Rest(chain, header) => self.rest(chain, *header),
            Meaning::Param(param, column) => self.machine.params()[param.index()][*column],
            Meaning::Hash(id) => hash::hash(&program.hashes[id.index()], &scalars(args)),
            Meaning::Anything => anything(&[7], sort),
            Meaning::New(of) => return self.new.as_ref()?.value(of, sort, args),
            Meaning::Open => return None,
        };
        Some(of_sort(sort, bits))
    }

    /// Where what is behind some headers begins and ends in the packet as it came; none if these headers are not there.
    pub(super) fn behind(&self, chain: &[HeaderId]) -> Option<(u32, u32)> {
        let (mut start, mut end) = (0, self.packet.len() as u32);
        for header in chain {
            let place = self.place(*header, start, end)?;
            (start, end) = (place.after(), place.end);
        }
        Some((start, end))
    }

    fn place(&self, header: HeaderId, start: u32, end: u32) -> Option<Place> {
        let program = self.machine.program();
        Layout::new(program, &program.headers[header.index()]).parse(self.packet, start, end)
    }

    /// The sum of the words between a header's fixed part and its end.
    fn rest(&self, chain: &[HeaderId], header: HeaderId) -> u128 {
        let fixed = self.machine.program().headers[header.index()].fixed;
        let place = self.behind(chain).and_then(|(start, end)| self.place(header, start, end));
        let bytes = place.map_or(&[][..], |p| &self.packet[(p.start + fixed) as usize..p.after() as usize]);
        bytes.chunks(2).map(|word| u128::from(word[0]) << 8 | word.get(1).map_or(0, |b| u128::from(*b))).sum()
    }

    /// The live entry of the longest prefix that holds an address.
    fn longest(&self, table: TableId, args: &[Concrete]) -> Option<&Physical> {
        let declared = &self.machine.program().tables[table.index()];
        debug_assert!(matches!(declared.kind, TableKind::Lpm));
        let address = scalars(args)[0];
        let grv_lang::ir::Scalar::Bits(width) = declared.key[0].ty else { return None };
        let holds = |e: &&Physical| e.live && (e.key[1] == 0 || (address ^ e.key[0]) >> (u128::from(width) - e.key[1]) == 0);
        self.entries(table).values().filter(holds).max_by_key(|e| e.key[1])
    }
}

/// Arguments as scalars.
pub(super) fn scalars(args: &[Concrete]) -> Vec<u128> {
    args.iter().map(|arg| scalar(*arg)).collect()
}

/// A value as a scalar.
pub(super) fn scalar(value: Concrete) -> u128 {
    match value {
        Concrete::Bool(value) => value.into(),
        Concrete::Bits(bits) => bits,
        Concrete::Int(value) => value as u128,
    }
}

/// A scalar as a value of a sort.
pub(super) fn of_sort(sort: Sort, bits: u128) -> Concrete {
    match sort {
        Sort::Bool => Concrete::Bool(bits != 0),
        Sort::Bits(_) => Concrete::Bits(bits),
        Sort::Int => Concrete::Int(bits as i128),
    }
}

/// A value of which nothing is said; the same for the same arguments.
fn anything(args: &[u128], sort: Sort) -> u128 {
    let mixed = args.iter().fold(0x9e37_79b9_7f4a_7c15u64, |h, a| (h ^ *a as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ h >> 29);
    match sort {
        Sort::Bool => u128::from(mixed & 1),
        Sort::Bits(width) => u128::from(mixed) & ((1 << width.min(64)) - 1),
        // Small or great.
        Sort::Int => u128::from(mixed >> if mixed & 1 == 0 { 2 } else { 56 }),
    }
}
