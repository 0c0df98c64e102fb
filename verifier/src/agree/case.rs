//! One step, both ways: the formulas at the values that the interpreter's state has, and at its decisions, against what the
//! interpreter did.

use super::formula::{Formula, term_of};
use super::quants::narrowed;
use super::seen::{Seen, Watched};
use super::state::{Meaning, Snapshot, scalar};
use crate::sym::{Open, Opened, Sym};
use crate::term::eval::{Concrete, Values};
use crate::term::{Symbol, Term};
use grv_lang::interp::packet::get_bits;
use grv_lang::interp::{Defect, Machine, Outcome};
use grv_lang::ir::HeaderId;
use grv_lang::span::Span;
use rustc_hash::{FxHashMap, FxHashSet};

/// What differs.
pub(super) type Differs = String;

/// What symbols mean, found once.
pub(super) type Meanings = FxHashMap<Symbol, Meaning>;

/// A step under comparison.
pub(super) struct Case<'c, 'p> {
    pub(super) formula: &'c Formula<'p>,
    pub(super) meanings: &'c mut Meanings,
    pub(super) before: Snapshot<'c>,
    pub(super) values: Values,
    pub(super) given: FxHashMap<Symbol, Concrete>,
    ones: FxHashSet<Span>,
    /// How many facts were checked.
    pub(super) facts: usize,
}

impl<'c, 'p> Case<'c, 'p> {
    pub(super) fn new(formula: &'c Formula<'p>, meanings: &'c mut Meanings, before: Snapshot<'c>) -> Case<'c, 'p> {
        Case {
            formula,
            meanings,
            before,
            values: Values::default(),
            given: FxHashMap::default(),
            ones: FxHashSet::default(),
            facts: 0,
        }
    }

    /// Compares with what the interpreter did.
    pub(super) fn agrees(
        &mut self,
        (seen, ones): Watched,
        did: &Result<Outcome, Defect>,
        after: &Machine,
    ) -> Result<(), Differs> {
        self.ones = ones;
        self.clocks(after);
        self.decide(&seen, did.is_err())?;
        self.check_facts()?;
        self.obligations(did)?;
        let Ok(outcome) = did else { return Ok(()) };
        self.leaves(&outcome.out)?;
        self.drops(outcome)?;
        self.tables(after)?;
        self.longest()
    }

    /// A term's value.
    pub(super) fn value(&mut self, term: Term) -> Result<Concrete, Differs> {
        let Case { formula, meanings, before, values, given, .. } = self;
        let terms = &formula.engine.terms;
        let mut unknown = None;
        let value = values.of(terms, term, &mut |symbol, args| {
            let declared = terms.declared(symbol);
            let known = given.get(&symbol).copied();
            let value = known.or_else(|| {
                let meaning = meanings.entry(symbol).or_insert_with(|| formula.meaning(declared));
                before.value(meaning, declared.sort, args)
            });
            if value.is_none() {
                unknown = Some(declared.name.clone());
            }
            value
        });
        value.ok_or_else(|| match unknown {
            Some(name) => format!("the value of `{name}` is not known"),
            None => "a number has more than 128 bits".to_string(),
        })
    }

    pub(super) fn holds(&mut self, term: Term) -> Result<bool, Differs> {
        Ok(self.value(term)?.is_true())
    }

    pub(super) fn scalar(&mut self, sym: Sym) -> Result<u128, Differs> {
        Ok(scalar(self.value(term_of(sym))?))
    }

    pub(super) fn give(&mut self, term: Term, bits: u128) {
        if let Some(symbol) = self.formula.symbol(term) {
            self.given.insert(symbol, narrowed(self.formula.engine.terms.sort(term), bits));
        }
    }

    pub(super) fn give_sym(&mut self, sym: Sym, bits: u128) {
        self.give(term_of(sym), bits);
    }

    /// The clocks stand where the interpreter's do.
    fn clocks(&mut self, after: &Machine) {
        self.give(self.formula.step.after.now, after.now().into());
        for (symbol, table) in self.formula.clocks() {
            self.given.insert(symbol, Concrete::Int(after.tick(table).into()));
        }
    }

    /// Gives all that is left open the values that the interpreter decided on. Both come by the same in the same order.
    fn decide(&mut self, seen: &[Seen], stopped: bool) -> Result<(), Differs> {
        let (mut seen, mut entered) = (seen.iter(), Vec::new());
        let formula = self.formula;
        // What follows from other values: no decision of the interpreter.
        let mut follow: Vec<&Opened> = Vec::new();
        for opened in &formula.engine.opened {
            let open = &opened.open;
            if matches!(open, Open::Checksum { .. }) || !self.holds(opened.guard)? {
                self.decline(opened)?;
                follow.push(opened);
                continue;
            }
            if let Open::Fields { header, name, start, last, contract: true } = open {
                self.fields(*header, (name, *last), *start, &entered, &follow)?;
                continue;
            }
            let decided = seen.next();
            let expected = format!("the formulas come by {open:?} at {:?}; the interpreter by {decided:?}", opened.span);
            match (open, decided) {
                (Open::Enter, Some(Seen::Enter { bytes })) => entered.clone_from(bytes),
                (Open::Fields { header, name, start, last, .. }, Some(Seen::Fields { span, header: of, bytes }))
                    if *span == opened.span && header == of =>
                {
                    self.fields(*header, (name, *last), *start, bytes, &follow)?;
                }
                (Open::Header { room, .. }, Some(Seen::Header { span, ok })) if *span == opened.span => {
                    self.give(*room, (*ok).into());
                }
                (Open::Choice { value, made, left, .. }, Some(Seen::Choice { span, value: chosen, left: passed }))
                    if *span == opened.span =>
                {
                    self.give_sym(*value, chosen.unwrap_or(0));
                    self.give(*made, chosen.is_some().into());
                    self.give(*left, (*passed).into());
                }
                (Open::First { index, hit, .. }, Some(Seen::First { span, index: first, ok })) if *span == opened.span => {
                    self.give_index(*index, *first);
                    self.give(*hit, (*ok).into());
                }
                (
                    Open::Entry { table, key, swept, dead, contended, .. },
                    Some(Seen::Entry { span, table: of, key: put, there, same, contended: busy, .. }),
                ) if *span == opened.span && table == of => {
                    let mut same_key = Vec::new();
                    for part in key {
                        same_key.push(self.scalar(*part)?);
                    }
                    if same_key != *put {
                        return Err(format!("an entry is put in at {put:x?}; by the formulas at {same_key:x?}"));
                    }
                    swept.iter().for_each(|term| self.give(*term, *there as u128));
                    dead.iter().for_each(|term| self.give(*term, (*same).into()));
                    self.give(*contended, (*busy).into());
                }
                // The interpreter stops in the middle of this.
                (_, None) if stopped => self.decline(opened)?,
                _ => return Err(expected),
            }
        }
        match seen.next() {
            None => Ok(()),
            Some(more) => Err(format!("the interpreter comes by {more:?}; the formulas do not")),
        }
    }

    /// Gives the fields of a header that are left open what the interpreter's frame has there, when they are first looked at.
    fn fields(
        &mut self,
        header: HeaderId,
        (name, last): (&str, u32),
        start: Sym,
        bytes: &[u8],
        follow: &[&Opened],
    ) -> Result<(), Differs> {
        let start = self.scalar(start)? as usize;
        let formula = self.formula;
        let fields = &formula.engine.program.headers[header.index()].fields;
        let known = self.given.len();
        for open in formula.fields.get(name).into_iter().flatten().filter(|open| open.since <= last) {
            let field = &fields[open.field];
            if let Some(bits) = get_bits(bytes, start * 8 + field.offset as usize, field.width) {
                self.given.entry(open.symbol).or_insert(Concrete::Bits(bits));
            }
        }
        if self.given.len() > known {
            // They were anything until now, and other values may follow from them.
            self.values = Values::default();
            follow.iter().try_for_each(|opened| self.decline(opened))?;
        }
        Ok(())
    }

    /// An index is a 64-bit extension of the symbol.
    pub(super) fn give_index(&mut self, index: Sym, value: u128) {
        let terms = &self.formula.engine.terms;
        let mut term = term_of(index);
        while let [inner] = terms.children(term).collect::<Vec<_>>()[..] {
            term = inner;
        }
        self.give(term, value);
    }

    /// What is left open where no way leads: anything that is consistent. And what follows from other values.
    fn decline(&mut self, opened: &Opened) -> Result<(), Differs> {
        match &opened.open {
            Open::Enter | Open::Fields { .. } => {}
            Open::Header { room, .. } => self.give(*room, 0),
            Open::Choice { value, made, left, none, exactly } => {
                // A value that a tier wants cannot be passed over, if it will do.
                for (tier, wanted, acceptable) in exactly {
                    if self.holds(*acceptable)? {
                        let (wanted, tier) = (self.scalar(*wanted)?, scalar(self.value(*tier)?));
                        self.give_sym(*value, wanted);
                        self.give(*made, 1);
                        self.give(*left, tier);
                        return Ok(());
                    }
                }
                let none = scalar(self.value(*none)?);
                self.give_sym(*value, 0);
                self.give(*made, 0);
                self.give(*left, none);
            }
            Open::First { index, hit, earlier, .. } => self.finds(*index, *hit, *earlier)?,
            Open::Entry { swept, dead, contended, .. } => {
                swept.iter().chain(dead).chain([contended]).for_each(|term| self.give(*term, 0));
            }
            Open::Checksum { old, moved, optional, new, turns } => {
                self.checksum((*old, *moved, *optional), *new, *turns, opened.span)?;
            }
        }
        Ok(())
    }

    /// Of a checksum's update: what it comes to, modulo 65,535. Of the two ways to write zero, 0xffff appears only where it was
    /// before, and nothing but zeros was added: that formulas leave open.
    fn checksum(
        &mut self,
        (old, moved, optional): (Term, Term, bool),
        new: Term,
        turns: Term,
        span: Span,
    ) -> Result<(), Differs> {
        let (old, Concrete::Int(moved)) = (scalar(self.value(old)?) as i128, self.value(moved)?) else {
            return Err("a checksum is moved by what is no number".to_string());
        };
        let mut sum = (old + moved).rem_euclid(65_535);
        if optional && old == 0 {
            self.give(new, 0);
            self.give(turns, 0);
            return Ok(());
        }
        if sum == 0 && (optional || old == 65_535 && self.ones.contains(&span)) {
            sum = 65_535;
        }
        self.give(new, sum as u128);
        self.give(turns, ((sum - old - moved) / 65_535) as u128);
        Ok(())
    }

    /// What is taken for a fact is one.
    pub(super) fn check_facts(&mut self) -> Result<(), Differs> {
        for (fact, quants) in &self.formula.facts {
            match self.holds_of_all(*fact, quants)? {
                Some(true) => self.facts += 1,
                Some(false) => {
                    let text = crate::term::print::script(&self.formula.engine.terms, &[*fact]);
                    return Err(format!("what is taken for a fact is none:\n{text}"));
                }
                None => {}
            }
        }
        Ok(())
    }
}
