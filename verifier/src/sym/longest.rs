//! Longest-prefix match. What is found is a function of the address; that nothing longer holds it is said of each prefix that is
//! looked at.

use super::env::{Engine, Env, Unsupported};
use super::state::{Log, TableState, World, is_keyed, shares};
use super::value::Sym;
use crate::term::{Op, Sort, Term};
use grv_lang::ir::{LocalId, TableId};
use grv_lang::span::Span;

impl<'p> Engine<'p> {
    /// Longest-prefix match: functions of the address, tied to the table's entries.
    pub(crate) fn longest(
        &mut self,
        env: &mut Env<'p>,
        table: TableId,
        address: Sym,
        (found, length, value): (LocalId, LocalId, &[LocalId]),
        span: Span,
    ) -> Result<(), Unsupported> {
        let declared = &self.program.tables[table.index()];
        if !is_keyed(&declared.kind) || shares(self.program, table) {
            return Err(Unsupported::new("longest-prefix match on this table", span));
        }
        let address = self.terms.as_vector(address);
        let Sort::Bits(width) = self.terms.sort(address) else { return Err(Unsupported::new("this address", span)) };
        let state = env.world.tables[table.index()].clone();
        let name = match (&state.base, state.log.is_empty()) {
            (Some(base), true) => base.clone(),
            (None, true) => {
                env.locals[found.index()] = Sym::Bool(self.terms.bool(false));
                env.locals[length.index()] = Sym::Bits(self.terms.bits(0, 8));
                for local in value {
                    env.locals[local.index()] = self.terms.zero(env.body.locals[local.index()].ty);
                }
                return Ok(());
            }
            (None, false) => return self.longest_of_known(env, &state, address, (found, length, value), span),
            _ => return Err(Unsupported::new("longest-prefix match on a table that handlers change", span)),
        };
        let hit = self.terms.symbol(&format!("{name}.match"), &[Sort::Bits(width)], Sort::Bool);
        let hit = self.terms.apply(hit, &[address]);
        let bits = self.terms.symbol(&format!("{name}.match length"), &[Sort::Bits(width)], Sort::Bits(8));
        let bits = self.terms.apply(bits, &[address]);
        let most_ = self.terms.bits(width.into(), 8);
        let fits = self.terms.op(Op::Ule, bits, most_);
        let prefix = self.prefix(address, bits);
        let entry = self.entry(&env.world, table, &[Sym::Bits(prefix), Sym::Bits(bits)], env.way);
        let sound = self.terms.and(&[fits, entry.live]);
        let fact = self.terms.implies(hit, sound);
        self.fact_about(fact, &[hit]);
        // No entry that holds the address is longer: said of each prefix that is looked at.
        if !self.matches.iter().any(|m| m.table == table && m.address == address && m.hit == hit) {
            self.matches.push(Match { table, world: env.world.clone(), address, hit, bits });
        }
        let zero = self.terms.bits(0, 8);
        env.locals[found.index()] = Sym::Bool(hit);
        env.locals[length.index()] = Sym::Bits(self.terms.ite(hit, bits, zero));
        for (local, scalar) in value.iter().zip(&entry.value) {
            let zero = self.terms.zero(env.body.locals[local.index()].ty);
            env.locals[local.index()] = self.terms.select(hit, *scalar, zero);
        }
        Ok(())
    }

    /// Longest-prefix match in a table all of whose entries are known.
    fn longest_of_known(
        &mut self,
        env: &mut Env<'p>,
        state: &TableState,
        address: Term,
        (found, length, value): (LocalId, LocalId, &[LocalId]),
        span: Span,
    ) -> Result<(), Unsupported> {
        let mut entries = Vec::new();
        for change in state.log.since(&Log::default()) {
            let known = match change.key[..] {
                [Sym::Bits(prefix), Sym::Bits(bits)] => {
                    self.terms.as_bits(prefix).and(self.terms.as_bits(bits)).map(|b| (b, prefix, bits))
                }
                _ => None,
            };
            let there = change.present.and_then(|p| self.terms.as_bool(p)) == Some(true) && change.deadline.is_none();
            match (known, change.value) {
                (Some((by, prefix, bits)), Some(value)) if there => entries.push((by, change.guard, prefix, bits, value)),
                _ => return Err(Unsupported::new("longest-prefix match on a table that handlers change", span)),
            }
        }
        // The longest has the last word.
        entries.sort_by_key(|(bits, ..)| *bits);
        let (mut hit, mut best) = (self.terms.bool(false), self.terms.bits(0, 8));
        let mut best_value: Vec<Sym> = value.iter().map(|local| self.terms.zero(env.body.locals[local.index()].ty)).collect();
        for (_, guard, prefix, bits, entry) in entries {
            let bits = self.terms.extract(bits, 0, 8);
            let own = self.prefix(address, bits);
            let same = self.terms.eq(own, prefix);
            let here = self.terms.and(&[guard, same]);
            hit = self.terms.or(&[hit, here]);
            best = self.terms.ite(here, bits, best);
            for (old, new) in best_value.iter_mut().zip(entry) {
                *old = self.terms.select(here, new, *old);
            }
        }
        env.locals[found.index()] = Sym::Bool(hit);
        env.locals[length.index()] = Sym::Bits(best);
        for (local, scalar) in value.iter().zip(best_value) {
            env.locals[local.index()] = scalar;
        }
        Ok(())
    }

    /// The first `bits` bits of an address; the others zero.
    pub(crate) fn prefix(&mut self, address: Term, bits: Term) -> Term {
        let Sort::Bits(width) = self.terms.sort(address) else { unreachable!("an address is a bit-vector") };
        let all = self.terms.bits(width.into(), 8);
        let rest = self.terms.op(Op::Sub, all, bits);
        let by = if width <= 8 { self.terms.extract(rest, 0, width) } else { self.terms.zero_extend(rest, width) };
        let shifted = self.terms.op(Op::Shr, address, by);
        self.terms.op(Op::Shl, shifted, by)
    }

    /// That no entry of a prefix table that holds an address is longer than the one that was found, said of a key; and that entries
    /// are of whole prefixes: no generation with others is installed.
    pub(crate) fn longest_at(&mut self, at: &Match, key: &[Sym]) -> Option<Term> {
        let [prefix, length] = key else { return None };
        let (prefix, length) = (self.terms.as_vector(*prefix), self.terms.as_vector(*length));
        let truth = self.terms.bool(true);
        let entry = self.entry(&at.world, at.table, key, truth);
        let Sort::Bits(width) = self.terms.sort(at.address) else { return None };
        let most_ = self.terms.bits(width.into(), 8);
        let fits = self.terms.op(Op::Ule, length, most_);
        let own = self.prefix(at.address, length);
        let holds = self.terms.eq(own, prefix);
        let bare = self.prefix(prefix, length);
        let bare = self.terms.eq(bare, prefix);
        let whole = self.terms.and(&[fits, bare]);
        let whole = self.terms.implies(entry.live, whole);
        let given = self.terms.and(&[entry.live, fits, holds]);
        let shorter = self.terms.op(Op::Ule, length, at.bits);
        let then = self.terms.and(&[at.hit, shorter]);
        let longest = self.terms.implies(given, then);
        Some(self.terms.and(&[whole, longest]))
    }
}

/// A longest-prefix match that was made.
#[derive(Clone, Debug)]
pub(crate) struct Match {
    pub(crate) table: TableId,
    pub(crate) world: World,
    pub(crate) address: Term,
    pub(crate) hit: Term,
    pub(crate) bits: Term,
}
