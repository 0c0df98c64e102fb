//! What a step did, by the formulas and by the interpreter: obligations, packets, drops, and tables afterwards.

use super::case::{Case, Differs};
use super::formula::Probe;
use super::state::scalars;
use crate::sym::{is_keyed, root, shares};
use grv_lang::interp::{Defect, DefectKind, Machine, Outcome, Physical};
use grv_lang::ir::{Obligation, Role, TableId};
use grv_lang::span::Span;
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;

impl Case<'_, '_> {
    /// The interpreter stops with a defect where, and only where, something that must hold does not.
    pub(super) fn obligations(&mut self, did: &Result<Outcome, Defect>) -> Result<(), Differs> {
        let mut broken = Vec::new();
        for obliged in &self.formula.step.obliged {
            if self.holds(obliged.guard)? && !self.holds(obliged.holds)? {
                broken.push((obliged.kind, obliged.span, obliged.what.clone()));
            }
        }
        match did {
            Ok(_) if broken.is_empty() => Ok(()),
            Ok(_) => Err(format!("by the formulas, this does not hold: {broken:?}")),
            Err(defect) => {
                let same = |(kind, span, what): &(Option<Obligation>, Span, String)| match &defect.kind {
                    DefectKind::Check(of) => *kind == Some(*of) && *span == defect.span,
                    DefectKind::Contract(header) => *what == format!("`{header}` is still well formed"),
                    _ => kind.is_none() && *span == defect.span,
                };
                if broken.iter().any(same) {
                    return Ok(());
                }
                Err(format!("the interpreter stops: {defect:?}; by the formulas, what does not hold is {broken:?}"))
            }
        }
    }

    /// The packets that leave, in order and byte by byte.
    pub(super) fn leaves(&mut self, out: &[(grv_lang::ir::PortId, Vec<u8>)]) -> Result<(), Differs> {
        let mut left = out.iter();
        let step = self.formula.step.clone();
        for output in &step.out {
            if !self.holds(output.guard)? {
                continue;
            }
            match left.next() {
                Some((port, did)) if *port == output.port => self.same_bytes(&output.packet, did)?,
                other => {
                    return Err(format!(
                        "by the formulas, a packet leaves at {:?}; by the interpreter {other:02x?}",
                        output.port
                    ));
                }
            }
        }
        left.next().map_or(Ok(()), |more| Err(format!("the interpreter sends {more:02x?}, the formulas do not")))
    }

    /// Which elements drop, and why.
    pub(super) fn drops(&mut self, outcome: &Outcome) -> Result<(), Differs> {
        let mut drops = Vec::new();
        for drop in &self.formula.step.drops {
            if self.holds(drop.guard)? {
                drops.push((drop.element, drop.reason, drop.span));
            }
        }
        let did: Vec<_> = outcome.drops.iter().map(|d| (d.element, d.reason, d.span)).collect();
        if drops == did { Ok(()) } else { Err(format!("dropped by the formulas: {drops:?}; by the interpreter: {did:?}")) }
    }

    /// What tables hold afterwards: at all keys that were or are there, and beside them.
    pub(super) fn tables(&mut self, after: &Machine) -> Result<(), Differs> {
        let program = self.formula.engine.program;
        let mut numbers: Vec<(TableId, u128, Option<u32>)> = Vec::new();
        for (id, table) in (0..).map(TableId).zip(&program.tables) {
            if is_keyed(&table.kind) {
                self.keyed(id, after, &mut numbers).map_err(|e| format!("`{}` afterwards: {e}", table.name))?;
            } else {
                self.indexed(id, after).map_err(|e| format!("`{}` afterwards: {e}", table.name))?;
            }
        }
        // Who shares a deadline does in both.
        for (of, number, did) in &numbers {
            if numbers.iter().any(|(root, other, by)| root == of && (other == number) != (by == did)) {
                return Err(format!("deadlines are shared by other entries than they are by the interpreter: {numbers:?}"));
            }
        }
        Ok(())
    }

    fn keyed(&mut self, id: TableId, after: &Machine, numbers: &mut Vec<(TableId, u128, Option<u32>)>) -> Result<(), Differs> {
        let formula = self.formula;
        let held: FxHashMap<Vec<u128>, Physical> = after.physical(id).into_iter().map(|e| (e.key.clone(), e)).collect();
        let mut keys: BTreeSet<Vec<u128>> = held.keys().chain(self.before.entries(id).keys()).cloned().collect();
        for key in keys.clone().into_iter().take(2) {
            keys.insert(key.into_iter().map(|part| part ^ 1).collect());
        }
        let count = self.value(formula.step.after.tables[id.index()].count)?;
        if scalars(&[count])[0] != after.occupied(id) as u128 {
            return Err(format!("{} entries are there, {count:?} by the formulas", after.occupied(id)));
        }
        let probe = &formula.after[id.index()];
        for key in keys {
            self.probe(probe, &key)?;
            let did = held.get(&key).filter(|entry| entry.live);
            if self.holds(probe.entry.live)? != did.is_some() {
                return Err(format!("{key:x?} is by the interpreter {:x?}; by the formulas, it is not so", held.get(&key)));
            }
            let Some(did) = did else { continue };
            let mut value = Vec::new();
            for column in &probe.entry.value {
                value.push(self.scalar(*column)?);
            }
            let deadline = probe.entry.deadline.map(|d| self.value(d)).transpose()?.map(|d| scalars(&[d])[0]);
            if value != did.value || deadline != did.deadline.map(u128::from) {
                return Err(format!("{key:x?} is by the interpreter {did:x?}; by the formulas {value:x?} until {deadline:x?}"));
            }
            if let (Some(slot), true) = (probe.entry.slot, shares(formula.engine.program, id)) {
                numbers.push((root(formula.engine.program, id), scalars(&[self.value(slot)?])[0], did.number));
            }
        }
        Ok(())
    }

    fn indexed(&mut self, id: TableId, after: &Machine) -> Result<(), Differs> {
        let probe = &self.formula.after[id.index()];
        let table = &self.formula.engine.program.tables[id.index()];
        let mut indices = BTreeSet::from([0, u128::from(table.capacity.saturating_sub(1))]);
        // Steps do not write control tables, which may be large.
        for machine in [self.before.machine, after].into_iter().filter(|_| table.role != Role::Control) {
            indices.extend(machine.entries(id).iter().map(|e| e.key[0]));
        }
        if probe.key.is_empty() {
            indices = BTreeSet::from([0]);
        }
        for index in indices {
            self.probe(probe, &[index])?;
            let mut value = Vec::new();
            for column in &probe.entry.value {
                value.push(self.scalar(*column)?);
            }
            let did = after.element(id, index as u64);
            if did.as_ref() != Some(&value) {
                return Err(format!("[{index}] is by the interpreter {did:x?}; by the formulas {value:x?}"));
            }
        }
        Ok(())
    }

    /// Longest-prefix matches find the longest.
    pub(super) fn longest(&mut self) -> Result<(), Differs> {
        let formula = self.formula;
        for (table, probe, shorter) in &formula.longest {
            let keys: Vec<Vec<u128>> = self.before.entries(*table).keys().cloned().collect();
            for key in keys {
                self.probe(probe, &key)?;
                if !self.holds(*shorter)? {
                    return Err(format!("{key:x?} is a longer prefix than the one that was found"));
                }
            }
        }
        Ok(())
    }

    /// Sets a key that is a symbol.
    fn probe(&mut self, probe: &Probe, key: &[u128]) -> Result<(), Differs> {
        self.values.forget(self.formula.mark);
        for (part, bits) in probe.key.iter().zip(key) {
            self.give_sym(*part, *bits);
        }
        for fact in &probe.facts {
            if !self.holds(*fact)? {
                return Err(format!("what is taken for a fact is none at {key:x?}"));
            }
        }
        Ok(())
    }
}
