//! States that a box was seen in, as symbolic states: what runs begin with when examples are looked for.

use super::env::Engine;
use super::state::{Change, World, is_keyed, root, shares};
use super::value::Sym;
use crate::term::{Op, Sort, Term};
use grv_lang::interp::{EntryView, Machine, Physical};
use grv_lang::ir::{Program, Scalar, TableId, TableKind};
use rustc_hash::FxHashMap;

/// Of a table with more entries than that, only some are in formulas: what is found is tried out anyway.
const MOST_ENTRIES: usize = 24;
/// An array in which more elements were written may hold anything.
const MOST_ELEMENTS: usize = 64;

/// A state that a box was seen in, as formulas have it.
#[derive(Debug)]
pub(crate) struct Seen {
    machine: Machine,
    /// By table: what is in it. None: an array that may hold anything.
    tables: Vec<Option<Vec<Physical>>>,
}

impl Seen {
    /// The state of a machine.
    pub(crate) fn new(program: &Program, machine: &Machine) -> Seen {
        let tables = (0..).map(TableId).zip(&program.tables);
        let tables = tables.map(|(id, declared)| entries(machine, id, !is_keyed(&declared.kind))).collect();
        Seen { machine: machine.clone(), tables }
    }
}

impl<'p> Engine<'p> {
    /// One of several states of boxes with the same parameters, and which one it is.
    pub(crate) fn among(&mut self, states: &[&Seen]) -> (World, Term) {
        self.loose = true;
        let machines: Vec<&Machine> = states.iter().map(|seen| &seen.machine).collect();
        let machines = &machines[..];
        self.params = machines.first().map(|m| m.params().to_vec());
        let which = self.terms.var("start", Sort::Bits(8));
        let last = self.terms.bits(machines.len().saturating_sub(1) as u128, 8);
        let known = self.terms.op(Op::Ule, which, last);
        self.fact(known);
        let guards: Vec<Term> = (0..machines.len())
            .map(|number| {
                let number = self.terms.bits(number as u128, 8);
                self.terms.eq(which, number)
            })
            .collect();
        let mut world = self.initial();
        world.now = self.by(&guards, machines, |machine| machine.now().into());
        for (id, declared) in (0..).map(TableId).zip(&self.program.tables) {
            let indexed = !is_keyed(&declared.kind);
            let views: Option<Vec<&Vec<Physical>>> = states.iter().map(|seen| seen.tables[id.index()].as_ref()).collect();
            let Some(views) = views else {
                let table = self.any_table("start", id);
                self.changed(&mut world, id, |t| *t = table);
                continue;
            };
            for (guard, all) in guards.iter().zip(views) {
                for view in all {
                    self.put_view(&mut world, id, *guard, view);
                }
            }
            if !indexed {
                let count = self.by(&guards, machines, |machine| machine.occupied(id) as i128);
                self.changed(&mut world, id, |t| t.count = count);
            }
        }
        let tables = (0..self.program.tables.len()).map(|index| TableId(index as u32));
        let ticks: Vec<Term> = tables.map(|id| self.by(&guards, machines, |machine| machine.tick(id).into())).collect();
        world.ticks = ticks.into();
        world.id = self.stamp();
        (world, which)
    }

    /// A number of each state.
    fn by(&mut self, guards: &[Term], machines: &[&Machine], number: impl Fn(&Machine) -> i128) -> Term {
        let mut chosen = self.terms.int(0);
        for (guard, machine) in guards.iter().zip(machines) {
            let here = self.terms.int(number(machine));
            chosen = self.terms.ite(*guard, here, chosen);
        }
        chosen
    }

    fn put_view(&mut self, world: &mut World, table: TableId, guard: Term, view: &Physical) {
        let declared = &self.program.tables[table.index()];
        let constant = |e: &mut Engine<'p>, bits: u128, ty: Scalar| e.terms.constant(bits, ty);
        let key: Vec<Sym> = match declared.kind {
            TableKind::Cell => Vec::new(),
            TableKind::Counter if declared.key.is_empty() => Vec::new(),
            TableKind::Array | TableKind::Counter => view.key.iter().map(|k| constant(self, *k, Scalar::Bits(64))).collect(),
            _ => view.key.iter().zip(&declared.key).map(|(k, c)| constant(self, *k, c.ty)).collect(),
        };
        let value = match declared.kind {
            TableKind::Bucket { .. } => view.value.iter().map(|number| Sym::Int(self.terms.int(*number as i128))).collect(),
            TableKind::Counter => view.value.iter().map(|v| constant(self, *v, Scalar::Bits(64))).collect(),
            _ => view.value.iter().zip(&declared.value).map(|(v, c)| constant(self, *v, c.ty)).collect(),
        };
        let present = is_keyed(&declared.kind).then(|| self.terms.bool(true));
        let at = self.terms.int(view.deadline.map_or(0, i128::from));
        let mut deadline = view.deadline.map(|_| at);
        if shares(self.program, table)
            && let Some(slot) = view.number
        {
            let (number, next) = (self.terms.int(slot.into()), self.terms.int(i128::from(slot) + 1));
            deadline = Some(number);
            let change = Change { guard, key: vec![Sym::Int(number)], present: None, value: None, deadline: Some(at) };
            let of = root(self.program, table);
            let known = world.tables[of.index()].shared.as_ref().map_or(next, |s| s.next);
            let later = self.terms.op(Op::IntLt, known, next);
            let next = self.terms.ite(later, next, known);
            self.changed(world, of, |t| {
                if let Some(shared) = &mut t.shared {
                    shared.log.push(change);
                    shared.next = next;
                }
            });
        }
        self.changed(world, table, |t| t.log.push(Change { guard, key, present, value: Some(value), deadline }));
    }
}

/// What is in a table: of one with keys, live entries, of very many some that differ most; else the elements that were written,
/// if they are not too many.
fn entries(machine: &Machine, table: TableId, indexed: bool) -> Option<Vec<Physical>> {
    if !indexed {
        let mut alike: FxHashMap<Vec<u128>, usize> = FxHashMap::default();
        let live = machine.physical(table).into_iter().filter(|entry| entry.live);
        let ranked = live.map(|entry| {
            let number = alike.entry(entry.value.clone()).or_default();
            *number += 1;
            (*number, entry)
        });
        let mut ranked: Vec<(usize, Physical)> = ranked.collect();
        ranked.sort_by_key(|(number, _)| *number);
        return Some(ranked.into_iter().map(|(_, entry)| entry).take(MOST_ENTRIES).collect());
    }
    let element = |view: EntryView| Physical { key: view.key, value: view.value, number: None, deadline: None, live: true };
    let written = machine.entries(table);
    (written.len() <= MOST_ELEMENTS).then(|| written.into_iter().map(element).collect())
}
