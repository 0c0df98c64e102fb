//! The bounded searches: `first` over an array, and `choose`, tier by tier. A tier is left only after all its values, or N
//! distinct ones of them (`within N`), were refused; a tier of the form `x == e` is always tried; `else` runs only after the
//! last tier was so left. What is open within that, the oracle decides; an outcome given from outside is checked.

use super::code::Code;
use super::error::DefectKind;
use super::machine::Chosen;
use super::oracle::{Choice, Patience, Pick};
use super::step::{Frame, Run, Step};
use super::trace::{Event, TableOp};
use super::value::Fault;
use crate::ir::{Block, LocalId, Stmt, StmtKind, Tier};
use crate::span::Span;

/// How many values the interpreter tries for one choice before it gives up with an error.
const MOST_TRIES: u64 = 1 << 26;

/// The parts of a choice that its tiers share.
struct Search<'c> {
    frame: &'c Frame<'c>,
    span: Span,
    var: LocalId,
    low: u128,
    high: u128,
    within: Option<u32>,
    test: &'c Block<Code>,
    holds: LocalId,
    tiers: &'c [Tier<Code>],
    tries: u64,
}

/// What became of a tier.
enum Tried {
    Chosen(u128),
    Left,
}

impl Run<'_> {
    pub(crate) fn search(&mut self, frame: &Frame<'_>, stmt: &Stmt<Code>) -> Step<()> {
        let span = stmt.span;
        match &stmt.kind {
            StmtKind::First { table, index, value, test, holds, found } => {
                let length = self.config.program.tables.get(table.index()).map_or(0, |table| table.capacity);
                let mut hit = false;
                for at in 0..length {
                    let Some(store) = self.state.indexed(*table) else { return Err(self.wrong_kind(frame, span)) };
                    let element = store.get(at);
                    // Equal elements satisfy equally, and the one before did not.
                    if at > 0 && element == store.get(at - 1) {
                        continue;
                    }
                    for (local, bits) in value.iter().zip(element) {
                        self.scratch.vars.locals[frame.locals + local.index()] = *bits;
                    }
                    self.set(frame, *index, at.into());
                    self.whole(frame, span, test)?;
                    hit = self.get(frame, *holds) != 0;
                    if hit {
                        break;
                    }
                }
                if !hit {
                    self.set(frame, *index, 0);
                    for local in value {
                        self.set(frame, *local, 0);
                    }
                }
                self.set(frame, *found, hit.into());
                if self.observer.is_some() {
                    let shown: Vec<u128> = value.iter().map(|local| self.get(frame, *local)).collect();
                    let (op, key) = (TableOp::First, [self.get(frame, *index)]);
                    self.tell(|| Event::Table { op, table: *table, key: &key, value: &shown, ok: hit, span });
                }
                Ok(())
            }
            StmtKind::Choose { var, low, high, within, test, holds, tiers, ok } => {
                let low = self.eval(frame, span, low)?;
                let high = self.eval(frame, span, high)?;
                let mut search =
                    Search { frame, span, var: *var, low, high, within: *within, test, holds: *holds, tiers, tries: 0 };
                let (value, left) = self.choose(&mut search)?;
                self.set(frame, *var, value.unwrap_or(0));
                self.set(frame, *ok, value.is_some().into());
                let name = &frame.declared[var.index()].name;
                self.outcome.choices.push(Chosen { name: name.clone(), value, left, span });
                self.tell(|| Event::Choice { name, value, left, span });
                Ok(())
            }
            _ => Err(self.defect(frame, span, Fault::Malformed("a statement out of its place").into())),
        }
    }

    /// The chosen value (none: `else`), and how many tiers were left before.
    fn choose(&mut self, search: &mut Search<'_>) -> Step<(Option<u128>, u32)> {
        let last = search.tiers.len() as u32;
        if search.low > search.high {
            return Ok((None, last + 1));
        }
        let name = search.frame.declared[search.var.index()].name.as_str();
        let pick = self.oracle.choose(&Choice { name, low: search.low, high: search.high, within: search.within });
        let made = match pick {
            Pick::Given(value) => self.given(search, value)?,
            Pick::Search { start, patience } => {
                let start = start.clamp(search.low, search.high);
                let mut made = (None, last + 1);
                for tier in 0..=last {
                    if let Tried::Chosen(value) = self.tier(search, tier, start, patience)? {
                        made = (Some(value), tier);
                        break;
                    }
                }
                made
            }
        };
        self.oracle.chosen(made.0);
        Ok(made)
    }

    /// Tries a tier.
    fn tier(&mut self, search: &mut Search<'_>, tier: u32, start: u128, patience: Patience) -> Step<Tried> {
        if let Some(Tier::Exactly(expr)) = search.tiers.get(tier as usize) {
            let value = self.eval(search.frame, search.span, expr)?;
            let accepted = (search.low..=search.high).contains(&value) && self.accepts(search, value)?;
            return Ok(if accepted { Tried::Chosen(value) } else { Tried::Left });
        }
        let (mut refused, mut kept) = (0, None);
        let mut value = start;
        loop {
            if self.belongs(search, tier, value)? {
                if kept.is_none() && self.accepts(search, value)? {
                    if patience != Patience::Least || search.within.is_none() {
                        return Ok(Tried::Chosen(value));
                    }
                    kept = Some(value);
                } else if kept != Some(value) && (kept.is_none() || !self.accepts(search, value)?) {
                    refused += 1;
                    if patience != Patience::Endless && search.within == Some(refused) {
                        return Ok(Tried::Left);
                    }
                }
            }
            value = if value == search.high { search.low } else { value + 1 };
            if value == start {
                return Ok(kept.map_or(Tried::Left, Tried::Chosen));
            }
        }
    }

    /// An outcome from outside: allowed if its tier is the first it belongs to and all before it may be left.
    fn given(&mut self, search: &mut Search<'_>, value: Option<u128>) -> Step<(Option<u128>, u32)> {
        let illegal = |run: &Self, search: &Search<'_>| {
            let name = search.frame.declared[search.var.index()].name.clone();
            run.defect(search.frame, search.span, DefectKind::IllegalChoice { name, value })
        };
        let tiers = search.tiers.len() as u32;
        if let Some(value) = value {
            let accepted = (search.low..=search.high).contains(&value) && self.accepts(search, value)?;
            if !accepted {
                return Err(illegal(self, search));
            }
        }
        for tier in 0..=tiers {
            if let Some(chosen) = value {
                let here = match search.tiers.get(tier as usize) {
                    Some(Tier::Exactly(expr)) => self.eval(search.frame, search.span, expr)? == chosen,
                    _ => self.belongs(search, tier, chosen)?,
                };
                if here {
                    return Ok((value, tier));
                }
            }
            let start = search.low;
            if let Tried::Chosen(_) = self.tier(search, tier, start, Patience::Least)? {
                return Err(illegal(self, search));
            }
        }
        match value {
            None => Ok((None, tiers + 1)),
            // The last tier holds every value.
            Some(_) => Err(illegal(self, search)),
        }
    }

    /// Whether a value is one of a tier's.
    fn belongs(&mut self, search: &mut Search<'_>, tier: u32, value: u128) -> Step<bool> {
        self.count(search)?;
        match search.tiers.get(tier as usize) {
            Some(Tier::Test(block, holds)) => {
                self.set(search.frame, search.var, value);
                self.whole(search.frame, search.span, block)?;
                Ok(self.get(search.frame, *holds) != 0)
            }
            _ => Ok(true),
        }
    }

    /// Whether a value satisfies the `where`.
    fn accepts(&mut self, search: &mut Search<'_>, value: u128) -> Step<bool> {
        self.count(search)?;
        self.set(search.frame, search.var, value);
        self.whole(search.frame, search.span, search.test)?;
        Ok(self.get(search.frame, search.holds) != 0)
    }

    fn count(&mut self, search: &mut Search<'_>) -> Step<()> {
        search.tries += 1;
        if search.tries > MOST_TRIES {
            let name = search.frame.declared[search.var.index()].name.clone();
            return Err(self.defect(search.frame, search.span, DefectKind::SearchTooLong(name)));
        }
        Ok(())
    }
}
