//! States that a box was seen in, as symbolic states: what runs begin with when examples are looked for.

use super::env::Engine;
use super::state::{Change, World, is_keyed, root, shares};
use super::value::Sym;
use crate::term::{Op, Sort, Term};
use grv_lang::interp::{EntryView, Machine};
use grv_lang::ir::{Scalar, TableId, TableKind};

/// Of a table with more entries than that, only some are in formulas: what is found is tried out anyway.
const MOST_ENTRIES: usize = 24;
/// An array in which more elements were written may hold anything.
const MOST_ELEMENTS: usize = 64;

impl<'p> Engine<'p> {
    /// One of several states of boxes with the same parameters, and which one it is.
    pub(crate) fn among(&mut self, machines: &[&Machine]) -> (World, Term) {
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
            let views: Vec<Vec<EntryView>> = machines.iter().map(|machine| machine.entries(id)).collect();
            let indexed = !is_keyed(&declared.kind);
            if indexed && views.iter().any(|all| all.len() > MOST_ELEMENTS) {
                let table = self.any_table("start", id);
                self.changed(&mut world, id, |t| *t = table);
                continue;
            }
            for ((guard, machine), all) in guards.iter().zip(machines).zip(&views) {
                for view in all.iter().take(MOST_ENTRIES) {
                    self.put_view(&mut world, id, *guard, view, machine.now());
                }
            }
            if !indexed {
                let count = self.by(&guards, machines, |machine| machine.occupied(id) as i128);
                self.changed(&mut world, id, |t| t.count = count);
            }
        }
        let start = world.now;
        let mut ticks = vec![start; self.program.tables.len()];
        for id in (0..self.program.tables.len()).map(|index| TableId(index as u32)) {
            let of = root(self.program, id);
            let granularity = self.program.tables[of.index()].granularity;
            if granularity > 0 && of == id {
                let tick = self.terms.var(&format!("start.{}.tick", self.program.tables[id.index()].name), Sort::Int);
                let (lag, zero) = (self.terms.int(granularity.into()), self.terms.int(0));
                let least = self.terms.op(Op::IntSub, start, lag);
                for (a, b) in [(least, tick), (zero, tick), (tick, start)] {
                    let fact = self.terms.op(Op::IntLe, a, b);
                    self.fact(fact);
                }
                ticks[id.index()] = tick;
            }
        }
        for id in (0..self.program.tables.len()).map(|index| TableId(index as u32)) {
            ticks[id.index()] = ticks[root(self.program, id).index()];
        }
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

    fn put_view(&mut self, world: &mut World, table: TableId, guard: Term, view: &EntryView, now: u64) {
        let declared = &self.program.tables[table.index()];
        let constant = |e: &mut Engine<'p>, bits: u128, ty: Scalar| e.terms.constant(bits, ty);
        let key: Vec<Sym> = match declared.kind {
            TableKind::Cell => Vec::new(),
            TableKind::Counter if declared.key.is_empty() => Vec::new(),
            TableKind::Array | TableKind::Counter => view.key.iter().map(|k| constant(self, *k, Scalar::Bits(64))).collect(),
            _ => view.key.iter().zip(&declared.key).map(|(k, c)| constant(self, *k, c.ty)).collect(),
        };
        let value = match declared.kind {
            TableKind::Bucket { .. } => {
                let tokens = view.value.first().map_or(0, |tokens| *tokens as i128);
                vec![Sym::Int(self.terms.int(tokens)), Sym::Int(self.terms.int(now.into()))]
            }
            TableKind::Counter => view.value.iter().map(|v| constant(self, *v, Scalar::Bits(64))).collect(),
            _ => view.value.iter().zip(&declared.value).map(|(v, c)| constant(self, *v, c.ty)).collect(),
        };
        let present = is_keyed(&declared.kind).then(|| self.terms.bool(true));
        let at = self.terms.int(view.deadline.map_or(0, i128::from));
        let mut deadline = view.deadline.map(|_| at);
        if shares(self.program, table)
            && let Some(slot) = view.slot
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
