//! How each table is kept. Decided from declarations and from what handlers do with it, before anything is lowered.
//!
//! # State
//! An entry's value begins with a copy of its key, since the kernel gives the memory of a deleted entry to another key at once:
//! what was read from it is trusted only after the key was compared. Behind it comes one word of 64 bits that holds all that
//! changes while the entry lives, its deadline and the columns that handlers change, so that one compare-and-swap is the commit
//! point of whatever is done to it. The word 0 means that the entry was given up: who swapped that in deletes it, nobody
//! else does. Columns that never change come last, and so do those for which there is no room in the word: who changes them holds the
//! entry meanwhile, with 0 for a word, which others wait for. The kernel copies values from their first byte on: who sees a new word
//! sees the new key. (That needs a machine that keeps stores and loads in order, as x86-64 does.)
//!
//! Deadlines are counted in ticks of a clock: see [`super::clock`].
//!
//! # Shared deadlines
//! Of two tables whose entries share deadlines (`idle with`), the entry that has the deadline is the truth. It has a ticket, a number
//! that no other incarnation has; the other entry (a mirror's) has the same one, and lives exactly if the entry that its value and key name
//! is there, has that ticket, and lives. So both come to life, and die, by one word.
//!
//! If the mirror's keys are few enough for each to have a place ([`super::dense`]), both entries are one element of an array, a slot, at the number
//! that the mirror's key is; beside it there is a map from the owner's keys to the numbers of their slots: see [`super::slots`].
//!
//! # Control
//! Tables that the control plane writes hold two generations; the number of the generation is part of the key. A step reads once
//! which one counts. A loader fills the other one, then changes the number, then waits until no step can be left that read the old
//! one before it writes there again.
//!
//! Arrays that handlers search are one value for each generation: see [`super::rows`].
//!
//! Large arrays, and those that the runtime computes, are kept in blocks, of which only those need be there that hold something.
//!
//! Small arrays, and cells, are global variables; most entries of maps and sets are found there, too, without the kernel's hash: see [`super::front`].
//!
//! Prefixes are in the kernel's trie, and flat beside it: see [`super::routes`].
//!
//! # Feed
//! Entries that the runtime sets one by one: see [`super::feed`].

use super::super::Domain;
use super::super::lir::MapId;
use super::super::maps::{Kind, Layout, Map, NO_PREALLOC, identifier};
use super::clock::Clock;
use super::dense::{self, Plan};
use super::feed::Near;
use super::front::Front;
use super::ops::bits_of;
use super::routes::Flat;
use super::rows::Rows;
use super::uses;
use super::{Lower, Lowering};
use grv_lang::diagnostics::{Code, Diagnostic};
use grv_lang::ir::{self, Column, Expr, Lifetime, LifetimeFn, Role, Scalar, TableId, TableKind};
use std::rc::Rc;

/// How a table is kept.
#[derive(Clone)]
pub(super) struct Table {
    pub(super) map: MapId,
    pub(super) keeping: Keeping,
    /// Of the key's columns, their places; in front of them a generation or a length may stand.
    pub(super) key: Vec<usize>,
}

/// The ways to keep a table.
#[derive(Clone)]
pub(super) enum Keeping {
    /// Keys with a word and what never changes.
    Entries(Entries),
    /// Keys whose entries live as long as others.
    Mirror(Mirror),
    /// The same, where both entries are one slot.
    Image(Image),
    /// Keys and the numbers of their slots.
    Index,
    /// Token buckets.
    Bucket(Bucket),
    /// A number that handlers change.
    Cell(Cell),
    /// Entries of a generation.
    Control,
    /// Elements of both generations, all of them in front.
    Globals(Front),
    /// Elements of a generation, in blocks.
    Blocks(Blocks),
    /// Elements of a generation, all in one value.
    Rows(Rows),
    /// Prefixes of a generation, with their lengths; those of 32 bits are flat, too.
    Prefixes(Option<Flat>),
    /// Entries that are replaced as a whole, and near at hand where they are small.
    Feed(Option<Near>),
    /// Counters, each processor's own.
    Counters,
}

/// The word of entries, and where their columns are.
#[derive(Clone)]
pub(super) struct Entries {
    /// Where the word is in the value.
    pub(super) word: u16,
    /// Where the ticket is, if others share the entries' deadlines.
    pub(super) ticket: Option<u16>,
    pub(super) columns: Vec<Kept>,
    /// Low bits of the word that hold columns; above them is the deadline.
    pub(super) low: u8,
    /// What the deadline is told by.
    pub(super) clock: Clock,
    /// Whether an entry may be there before it lives, since it takes effect together with something else; and whether deadlines are set outright.
    pub(super) later: bool,
    pub(super) expires: bool,
    /// If they are kept in slots: how these are found.
    pub(super) slots: Option<Rc<Slots>>,
}

/// How slots are found that hold the entries of two tables.
pub(super) struct Slots {
    /// From the owner's keys to the numbers of their slots.
    pub(super) index: Table,
    /// Where in its values the number is.
    pub(super) number: u16,
    /// What of the owner's and the mirror's columns is always the same, which keys the mirror has, and which is likely.
    pub(super) plan: Plan,
    /// By column of the mirror's key, and its value: the place in a slot.
    pub(super) image: Vec<usize>,
}

/// Entries of a mirror in slots.
#[derive(Clone)]
pub(super) struct Image {
    /// The table with the deadlines.
    pub(super) owner: TableId,
    /// Its key, of columns of this key and, behind them, of this value.
    pub(super) key: Vec<usize>,
}

/// Where a column of a value is.
#[derive(Clone, Copy)]
pub(super) enum Kept {
    /// In the word: shift and bits.
    Word(u8, u8),
    /// Behind it: which place of the layout.
    Beside(usize),
}

/// Entries that live as long as others: a word with the ticket, and columns that never change.
#[derive(Clone)]
pub(super) struct Mirror {
    pub(super) word: u16,
    /// Which places of the layout hold the value.
    pub(super) columns: Vec<usize>,
    /// The table with the deadlines.
    pub(super) owner: TableId,
    /// Its key, of columns of this key and, behind them, of this value.
    pub(super) key: Vec<usize>,
}

/// An array in blocks.
#[derive(Clone)]
pub(super) struct Blocks {
    /// Elements of a block.
    pub(super) elements: u32,
    /// How each lies in memory.
    pub(super) element: Layout,
    /// What elements hold that are not there.
    pub(super) initial: Vec<u64>,
}

/// A cell of handlers: a global variable.
#[derive(Clone, Copy)]
pub(super) struct Cell {
    pub(super) section: MapId,
    pub(super) offset: u16,
}

/// A token bucket is the time at which it is full again. A byte costs `cost` units; `unit` of them are a nanosecond.
#[derive(Clone, Copy)]
pub(super) struct Bucket {
    pub(super) full: u16,
    pub(super) deadline: u16,
    pub(super) cost: u64,
    pub(super) unit: u64,
    /// Units that a full bucket holds.
    pub(super) burst: u64,
    pub(super) clock: Clock,
}

/// Columns of a key, or of a value: far more than the stack has room for.
const MOST_COLUMNS: usize = 256;

/// Bytes that are not taken before they are needed.
const MOST_BYTES: u64 = 32 << 20;

/// Prefixes of a table that is flat, too, at most.
const MOST_FLAT: u32 = 1 << 20;

/// Bytes of a block at most: with what the kernel needs besides, no more than 2,048.
const BLOCK: u16 = 1_920;

impl Lower<'_> {
    /// Decides how all tables are kept.
    pub(super) fn lay_out(&mut self, found: &mut Vec<Diagnostic>) {
        let program = self.program;
        let mut largest = (4, 8);
        self.tables = vec![None; program.tables.len()];
        // Those that share others' deadlines come when it is known how these are kept.
        let (owners, mirrors): (Vec<_>, Vec<_>) =
            (0..).map(TableId).zip(&program.tables).partition(|(id, _)| uses::owner(program, *id).is_none());
        // Routes are first in the section of what is found at once, which may be full: they gain most by it.
        let (routes, others): (Vec<_>, Vec<_>) = owners.into_iter().partition(|(_, table)| matches!(table.kind, TableKind::Lpm));
        for (id, table) in routes.into_iter().chain(others).chain(mirrors) {
            let kept = if table.role == Role::Ghost { Ok(None) } else { self.keep(id, table).map(Some) };
            match kept {
                Ok(kept) => {
                    let index = match kept.as_ref().map(|kept| &kept.keeping) {
                        Some(Keeping::Entries(Entries { slots: Some(slots), .. })) => Some(slots.index.map),
                        _ => None,
                    };
                    let maps = kept.as_ref().map(|kept: &Table| kept.map).into_iter().chain(index);
                    for map in maps.filter_map(|map| self.maps.map(map)) {
                        // Values are made in memory only of tables that the program writes.
                        let value = if table.role == Role::State { map.value.size } else { 0 };
                        largest = (largest.0.max(map.key.size), largest.1.max(value));
                    }
                    self.tables[id.index()] = kept;
                }
                Err(refused) => found.push(*refused),
            }
        }
        self.b.widen(self.key_slot, largest.0);
        self.b.widen(self.value_slot, largest.1);
    }

    fn keep(&mut self, id: TableId, table: &ir::Table) -> Lowering<Table> {
        let state = |what: &str| Err(self.refuse(Code::TargetState, table.span, what.to_string()));
        match (table.role, &table.kind) {
            (Role::Control, TableKind::Lpm) => self.keep_prefixes(table),
            (Role::Control, TableKind::Map | TableKind::Set | TableKind::Array | TableKind::Cell) => self.keep_control(id, table),
            (Role::Feed, TableKind::Map | TableKind::Set) => self.keep_feed(table),
            (Role::State, TableKind::Map | TableKind::Set) => match &table.lifetime {
                Lifetime::IdleWith { table: owner, key } => self.keep_mirror(table, *owner, key),
                _ => self.keep_entries(id, table),
            },
            (Role::State, TableKind::Bucket { rate, burst }) => self.keep_bucket(table, rate, burst),
            (Role::State, TableKind::Counter) => self.keep_counters(table),
            (Role::State, TableKind::Cell) => self.keep_cell(table),
            (Role::State, TableKind::Array) => state("an array that handlers write"),
            _ => state("such a table"),
        }
    }

    /// Adds columns to a layout; their places.
    pub(super) fn columns(
        &self,
        layout: &mut Layout,
        columns: &[Column],
        table: &ir::Table,
        fallback: &str,
    ) -> Lowering<Vec<usize>> {
        let mut places = Vec::new();
        if columns.len() > MOST_COLUMNS {
            return Err(self.refuse(Code::TargetSize, table.span, format!("a table with more than {MOST_COLUMNS} columns")));
        }
        for column in columns {
            let width = self.width(column.ty, table.span)?;
            let name = if column.name.is_empty() { fallback.to_string() } else { identifier(&column.name) };
            // A struct's members have distinct names.
            let taken = |name: &String| layout.places.iter().any(|place| place.name == *name);
            let name = if taken(&name) { format!("{name}_{}", layout.places.len()) } else { name };
            places.push(layout.push(&name, width));
        }
        Ok(places)
    }

    /// Adds the columns of a key of state to a layout, or of the copy of it in a value; their places.
    pub(super) fn pack_key(&self, layout: &mut Layout, table: &ir::Table) -> Lowering<Vec<usize>> {
        // Their names and widths are those that they would have one behind the other.
        let mut apart = Layout::new();
        self.columns(&mut apart, &table.key, table, "key")?;
        let width = |column: &Column| self.width(column.ty, table.span);
        let widths = table.key.iter().map(width).collect::<Lowering<Vec<u8>>>()?;
        let numbers: Vec<(String, u8)> = apart.places.into_iter().map(|place| place.name).zip(widths).collect();
        Ok(layout.pack(&numbers))
    }

    fn push_map(&mut self, table: &ir::Table, kind: Kind, key: Layout, value: Layout, times: u64, flags: u32) -> Lowering<MapId> {
        let capacity = if matches!(table.kind, TableKind::Cell) { 1 } else { table.capacity };
        let entries = u32::try_from(capacity.saturating_mul(times));
        let Ok(entries) = entries else {
            return Err(self.refuse(Code::TargetState, table.span, format!("a table of {} entries", table.capacity)));
        };
        Ok(self.maps.push(Map { name: identifier(&table.name), kind, key, value, entries, flags }))
    }

    fn keep_control(&mut self, id: TableId, table: &ir::Table) -> Lowering<Table> {
        let (mut key, mut value) = (Layout::new(), Layout::new());
        // A cell is an array of one.
        let array = matches!(table.kind, TableKind::Array | TableKind::Cell);
        if table.initial.iter().any(|initial| !matches!(initial, Expr::Const(..))) {
            let what = "an array whose elements begin with a parameter".to_string();
            return Err(self.refuse(Code::TargetState, table.span, what));
        }
        if let Some(kept) = self.keep_rows(id, table)? {
            return Ok(kept);
        }
        let places = if array {
            // The second generation comes behind the first.
            key.push("index", 32);
            vec![0]
        } else {
            let places = self.columns(&mut key, &table.key, table, "key")?;
            key.push("generation", 32);
            places
        };
        self.columns(&mut value, &table.value, table, "value")?;
        if value.size == 0 {
            value.push("present", 32);
        }
        let bytes = table.capacity.saturating_mul(2).saturating_mul(u64::from(key.size) + u64::from(value.size));
        if array && (table.computed.is_some() || bytes > MOST_BYTES) {
            return self.keep_blocks(table, value);
        }
        let kind = if array { Kind::Array } else { Kind::Hash };
        let flags = if !array && bytes > MOST_BYTES { NO_PREALLOC } else { 0 };
        if array && let Some(front) = self.elements_in_front(table, &value) {
            return Ok(Table { map: front.section, keeping: Keeping::Globals(front), key: places });
        }
        let map = self.push_map(table, kind, key, value, 2, flags)?;
        if !array {
            self.front_beside(table, map)?;
        }
        Ok(Table { map, keeping: Keeping::Control, key: places })
    }

    fn keep_blocks(&mut self, table: &ir::Table, element: Layout) -> Lowering<Table> {
        let elements = (BLOCK / element.size).max(1);
        let mut key = Layout::new();
        key.push("block", 32);
        key.push("generation", 32);
        let entries = table.capacity.div_ceil(elements.into()).saturating_mul(2);
        let (true, Ok(entries)) = (element.size <= BLOCK, u32::try_from(entries)) else {
            return Err(self.refuse(Code::TargetState, table.span, format!("an array of {} elements", table.capacity)));
        };
        let value = Layout::bytes(elements * element.size);
        let name = identifier(&table.name);
        let map = self.maps.push(Map { name, kind: Kind::Hash, key, value, entries, flags: NO_PREALLOC });
        let keeping = Keeping::Blocks(Blocks { elements: elements.into(), element, initial: constants(&table.initial) });
        Ok(Table { map, keeping, key: vec![0] })
    }

    fn keep_prefixes(&mut self, table: &ir::Table) -> Lowering<Table> {
        let address = table.key.first().map(|column| column.ty);
        let width = match address {
            Some(ty @ Scalar::Bits(_)) => self.width(ty, table.span)?,
            _ => 0,
        };
        if width == 0 || width % 8 != 0 {
            return Err(self.refuse(Code::TargetState, table.span, format!("prefixes of addresses of {width} bits")));
        }
        let (mut key, mut value) = (Layout::new(), Layout::new());
        key.push("length", 32);
        key.push_network("generation", 4);
        let place = key.push_network("address", width / 8);
        value.push("length", 32);
        self.columns(&mut value, &table.value, table, "value")?;
        let map = self.push_map(table, Kind::LpmTrie, key, value, 2, NO_PREALLOC)?;
        // Of other addresses, or with more prefixes, it is no routing table.
        let capacity = u32::try_from(table.capacity).ok().filter(|capacity| width == 32 && *capacity <= MOST_FLAT);
        let widths: Vec<u8> = std::iter::once(8).chain(table.value.iter().map(|column| bits_of(column.ty))).collect();
        let flat = capacity.and_then(|capacity| self.flat_beside(&identifier(&table.name), capacity, &widths));
        Ok(Table { map, keeping: Keeping::Prefixes(flat), key: vec![place] })
    }

    fn keep_feed(&mut self, table: &ir::Table) -> Lowering<Table> {
        if !matches!(table.lifetime, Lifetime::Forever) {
            return Err(self.refuse(Code::TargetState, table.span, "a lifetime of entries that the runtime sets".to_string()));
        }
        let (mut key, mut value) = (Layout::new(), Layout::new());
        let places = self.columns(&mut key, &table.key, table, "key")?;
        self.columns(&mut value, &table.key, table, "key")?;
        self.columns(&mut value, &table.value, table, "value")?;
        let map = self.push_map(table, Kind::Hash, key, value, 1, 0)?;
        let width = |column: &Column| self.width(column.ty, table.span);
        let widths = |columns: &[Column]| columns.iter().map(width).collect::<Lowering<Vec<u8>>>();
        let (key, value) = (widths(&table.key)?, widths(&table.value)?);
        let near = self.near_beside(table, &identifier(&table.name), &key, value);
        Ok(Table { map, keeping: Keeping::Feed(near), key: places })
    }

    fn keep_entries(&mut self, id: TableId, table: &ir::Table) -> Lowering<Table> {
        if let Some(kept) = self.keep_slots(id, table)? {
            return Ok(kept);
        }
        let (mut key, mut value) = (Layout::new(), Layout::new());
        let places = self.pack_key(&mut key, table)?;
        self.pack_key(&mut value, table)?;
        let word = value.push("word", 64);
        let word = value.places[word].offset;
        let ticket = uses::is_shared(self.program, id).then(|| {
            let ticket = value.push("ticket", 64);
            value.places[ticket].offset
        });
        let clock = self.clock_of(id, table);
        if let Clock::Coarse(tick) = clock {
            self.coarse = Some(tick);
        }
        let room = 64 - clock.bits();
        let widths = self.widths_in_word(id, table)?;
        let all = widths.iter().fold(0_u8, |sum, width| sum.saturating_add(*width));
        let changed = if uses::changes(self.program, id) && all <= room {
            (0..widths.len()).collect()
        } else {
            uses::changed(self.program, id)
        };
        let mut columns = Vec::new();
        let mut low = 0;
        for (index, (column, bits)) in table.value.iter().zip(widths).enumerate() {
            if changed.contains(&index) && low + bits <= room {
                columns.push(Kept::Word(low, bits));
                low += bits;
            } else {
                let place = self.columns(&mut value, std::slice::from_ref(column), table, "value")?;
                columns.extend(place.into_iter().map(Kept::Beside));
            }
        }
        let expires = uses::expires(self.program, id);
        let later = uses::writes_cells(self.program);
        let entries = Entries { word, ticket, columns, low, clock, later, expires, slots: None };
        let map = self.push_map(table, Kind::Hash, key, value, 1, 0)?;
        Ok(Table { map, keeping: Keeping::Entries(entries), key: places })
    }

    /// How many bits the columns of a value have that handlers write into a word.
    fn widths_in_word(&self, id: TableId, table: &ir::Table) -> Lowering<Vec<u8>> {
        let bits =
            |index: usize, column: &Column| Ok(uses::written(self.program, id, index).min(self.width(column.ty, table.span)?));
        table.value.iter().enumerate().map(|(index, column)| bits(index, column)).collect()
    }

    /// Entries in slots, if there is a plan for that and all that changes has room in a word.
    fn keep_slots(&mut self, id: TableId, table: &ir::Table) -> Lowering<Option<Table>> {
        let program = self.program;
        let Some(plan) = dense::plan(program, id) else { return Ok(None) };
        let clock = self.clock_of(id, table);
        let (widths, changed) = (self.widths_in_word(id, table)?, uses::changed(program, id));
        let all = changed.iter().fold(0_u8, |sum, column| sum.saturating_add(widths[*column]));
        // The words 0 and 1 are no entries': there is a bit below the deadline.
        if all.max(1) > 64 - clock.bits() {
            return Ok(None);
        }
        let image = |(other, _): &(TableId, &ir::Table)| uses::owner(program, *other) == Some(id);
        let Some((_, mirror)) = (0..).map(TableId).zip(&program.tables).find(image) else { return Ok(None) };
        let (mut key, mut index, mut value) = (Layout::new(), Layout::new(), Layout::new());
        // A slot begins with the owner's key; what is always the same is there once.
        let mut row: Vec<Option<usize>> = self.pack_key(&mut value, table)?.into_iter().map(Some).collect();
        let word = value.push("word", 64);
        let word = value.places[word].offset;
        let (mut columns, mut low) = (Vec::new(), 0);
        let others = [(table, &table.value), (mirror, &mirror.key), (mirror, &mirror.value)];
        for (of, column) in others.into_iter().flat_map(|(of, columns)| columns.iter().map(move |column| (of, column))) {
            let (number, at) = (row.len(), row.len() - table.key.len());
            if at < table.value.len() && changed.contains(&at) {
                columns.push(Kept::Word(low, widths[at]));
                low += widths[at];
                row.push(None);
                continue;
            }
            let place = match row.get(plan.same[number]).copied().flatten() {
                Some(place) => place,
                None => self.columns(&mut value, std::slice::from_ref(column), of, "value")?[0],
            };
            row.push(Some(place));
            if at < table.value.len() {
                columns.push(Kept::Beside(place));
            }
        }
        key.push("slot", 32);
        let mut entry = Layout::new();
        let places = self.pack_key(&mut index, table)?;
        self.pack_key(&mut entry, table)?;
        let number = entry.push("slot", 64);
        let number = entry.places[number].offset;
        let entries = plan.domain.iter().map(Domain::size).product::<u64>();
        let Ok(entries) = u32::try_from(entries) else { return Ok(None) };
        let index = self.push_map(table, Kind::Hash, index, entry, 1, 0)?;
        let index = Table { map: index, keeping: Keeping::Index, key: places };
        let map = self.maps.push(Map { name: mirror.name.clone(), kind: Kind::Array, key, value, entries, flags: 0 });
        let image = row.split_off(table.key.len() + table.value.len()).into_iter().flatten().collect();
        let key = row.into_iter().take(table.key.len()).flatten().collect();
        let slots = Some(Rc::new(Slots { index, number, plan, image }));
        if let Clock::Coarse(tick) = clock {
            self.coarse = Some(tick);
        }
        let (low, expires) = (low.max(1), uses::expires(program, id));
        let entries = Entries { word, ticket: None, columns, low, clock, later: true, expires, slots };
        Ok(Some(Table { map, keeping: Keeping::Entries(entries), key }))
    }

    fn keep_mirror(&mut self, table: &ir::Table, owner: TableId, function: &LifetimeFn) -> Lowering<Table> {
        // The variables of the function begin with the columns.
        let column = |expr: &Expr| match expr {
            Expr::Local(local) if local.index() < table.key.len() + table.value.len() => Some(local.index()),
            _ => None,
        };
        let of = function.result.iter().map(column).collect::<Option<Vec<usize>>>();
        let Some(of) = of.filter(|_| function.body.block.is_empty()) else {
            let what = "a lifetime shared with an entry whose key is computed".to_string();
            return Err(self.refuse(Code::TargetState, table.span, what));
        };
        if let Some((map, slots)) = self.slots_of(owner) {
            let key = slots.image[..table.key.len()].to_vec();
            return Ok(Table { map, keeping: Keeping::Image(Image { owner, key: of }), key });
        }
        let (mut key, mut value) = (Layout::new(), Layout::new());
        let places = self.pack_key(&mut key, table)?;
        self.pack_key(&mut value, table)?;
        let word = value.push("word", 64);
        let word = value.places[word].offset;
        let columns = self.columns(&mut value, &table.value, table, "value")?;
        let map = self.push_map(table, Kind::Hash, key, value, 1, 0)?;
        Ok(Table { map, keeping: Keeping::Mirror(Mirror { word, columns, owner, key: of }), key: places })
    }

    /// The slots that hold the entries of a table.
    pub(super) fn slots_of(&self, owner: TableId) -> Option<(MapId, Rc<Slots>)> {
        match self.map_of(owner)? {
            Table { map, keeping: Keeping::Entries(Entries { slots, .. }), .. } => Some((map, slots?)),
            _ => None,
        }
    }

    fn keep_cell(&mut self, table: &ir::Table) -> Lowering<Table> {
        let ([column], [Expr::Const(initial, _)]) = (table.value.as_slice(), table.initial.as_slice()) else {
            let what = "a cell of several numbers, or one that begins with a parameter".to_string();
            return Err(self.refuse(Code::TargetState, table.span, what));
        };
        self.width(column.ty, table.span)?;
        let Some(section) = self.state else { return Err(self.broken(table.span, "a cell without a section")) };
        let place = self.variable(section, &format!("cell_{}", table.name), 64, *initial as u64);
        Ok(Table { map: section, keeping: Keeping::Cell(Cell { section, offset: place.offset }), key: Vec::new() })
    }

    fn keep_bucket(&mut self, table: &ir::Table, rate: &Expr, burst: &Expr) -> Lowering<Table> {
        let (Expr::Const(rate, _), Expr::Const(burst, _)) = (rate, burst) else {
            let what = "a rate that is known only when the box is started".to_string();
            return Err(self.refuse(Code::TargetState, table.span, what));
        };
        let Some((cost, unit, full)) = exact(*rate, *burst) else {
            let what = format!("counting exactly at {rate} bit/s with {burst} bytes");
            return Err(self.refuse(Code::TargetState, table.span, what));
        };
        let (mut key, mut value) = (Layout::new(), Layout::new());
        let places = self.pack_key(&mut key, table)?;
        self.pack_key(&mut value, table)?;
        let at = value.push("full", 64);
        let deadline = value.push("deadline", 64);
        let (at, deadline) = (value.places[at].offset, value.places[deadline].offset);
        let map = self.push_map(table, Kind::Hash, key, value, 1, 0)?;
        let bucket = Bucket { full: at, deadline, cost, unit, burst: full, clock: self.fine(table) };
        Ok(Table { map, keeping: Keeping::Bucket(bucket), key: places })
    }

    fn keep_counters(&mut self, table: &ir::Table) -> Lowering<Table> {
        let map = super::counters(&identifier(&table.name), 1);
        let map = self.push_map(table, map.kind, map.key, map.value, 1, 0)?;
        Ok(Table { map, keeping: Keeping::Counters, key: vec![0] })
    }
}

/// What elements hold that nobody wrote.
pub(super) fn constants(initial: &[Expr]) -> Vec<u64> {
    let constant = |expr: &Expr| if let Expr::Const(value, _) = expr { Some(*value as u64) } else { None };
    initial.iter().map(constant).collect::<Option<_>>().unwrap_or_default()
}

/// A bucket in whole numbers: units a byte, units a nanosecond, units of a full bucket. Rate x time must be whole units, and no
/// time may overflow: then nothing is ever rounded.
fn exact(rate: u128, burst: u128) -> Option<(u64, u64, u64)> {
    const BYTE: u128 = 8_000_000_000;
    if rate == 0 {
        return None;
    }
    let divisor = gcd(BYTE, rate);
    let (cost, unit) = (BYTE / divisor, rate / divisor);
    let full = burst.checked_mul(cost)?;
    // Times are below 2^62, and one full bucket more must fit.
    let fits = unit <= 2 && full < 1 << 62;
    if fits { Some((cost as u64, unit as u64, full as u64)) } else { None }
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}
