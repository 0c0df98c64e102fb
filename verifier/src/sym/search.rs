//! The bounded searches. Which of several values a choice takes is open; the first element of an array is not.

use super::env::{Engine, Env, Over, Quant, Says, Unsupported};
use super::opened::Open;
use super::value::Sym;
use crate::term::{Op, Sort, Term};
use grv_lang::ir::spec::Quantifier;
use grv_lang::ir::{BinaryOp, Scalar, Stmt, StmtKind, Tier};
use std::rc::Rc;

impl<'p> Engine<'p> {
    pub(crate) fn search(&mut self, env: Env<'p>, stmt: &'p Stmt) -> Result<Env<'p>, Unsupported> {
        match &stmt.kind {
            StmtKind::First { .. } => self.first(env, stmt),
            _ => self.choose(env, stmt),
        }
    }

    /// A scalar of which nothing is known.
    fn anything(&mut self, name: &str, ty: Scalar) -> Sym {
        match ty {
            Scalar::Bool => Sym::Bool(self.terms.fresh(name, Sort::Bool)),
            Scalar::Bits(width) => Sym::Bits(self.terms.fresh(name, Sort::Bits(width))),
            Scalar::Int => Sym::Int(self.terms.fresh(name, Sort::Int)),
        }
    }

    fn first(&mut self, mut env: Env<'p>, stmt: &'p Stmt) -> Result<Env<'p>, Unsupported> {
        let StmtKind::First { table, index, value, test, holds, found } = &stmt.kind else { return Ok(env) };
        let before = env.clone();
        let ty = env.body.locals[index.index()].ty;
        let at = self.anything("first", ty);
        let hit = self.open("first is there");
        let wide = self.terms.convert(at, Scalar::Bits(64));
        let element = self.element(&env.world, *table, &[wide], env.way);
        let capacity = self.program.tables[table.index()].capacity;
        let limit = self.terms.constant(capacity.into(), Scalar::Bits(64));
        let inside = self.terms.binary(BinaryOp::Lt, wide, limit);
        let inside = self.terms.truth(inside);
        env.locals[index.index()] = at;
        for (local, scalar) in value.iter().zip(&element) {
            env.locals[local.index()] = *scalar;
        }
        let tested = self.pure(env.clone(), test)?;
        let accepted = self.terms.truth(tested.locals[holds.index()]);
        let sound = self.terms.and(&[inside, accepted]);
        let fact = self.terms.implies(hit, sound);
        self.fact_about(fact, &[hit]);
        // None before it; none at all, if there is none.
        let number = self.quants.len() as u32;
        let over = Over::Elements { table: *table, index: *index, value: value.clone(), below: (hit, wide) };
        self.quants.push(Quant {
            quantifier: Quantifier::Exists,
            over,
            says: Says::Block(test, *holds),
            env: Rc::new(before),
            generation: self.generation,
        });
        let earlier = self.terms.quantified(number);
        let none = self.terms.not(earlier);
        self.fact_about(none, &[hit]);
        self.opens(&env, stmt.span, Open::First { index: wide, hit, earlier: number });
        env.locals[index.index()] = {
            let zero = self.terms.zero(ty);
            self.terms.select(hit, at, zero)
        };
        for (local, scalar) in value.iter().zip(&element) {
            let zero = self.terms.zero(env.body.locals[local.index()].ty);
            env.locals[local.index()] = self.terms.select(hit, *scalar, zero);
        }
        env.locals[found.index()] = Sym::Bool(hit);
        Ok(env)
    }

    /// Runs pure statements and look-ups.
    fn pure(&mut self, env: Env<'p>, block: &'p [Stmt]) -> Result<Env<'p>, Unsupported> {
        self.block(env, block)
    }

    fn choose(&mut self, mut env: Env<'p>, stmt: &'p Stmt) -> Result<Env<'p>, Unsupported> {
        let span = stmt.span;
        let StmtKind::Choose { var, low, high, within: _, test, holds, tiers, ok } = &stmt.kind else { return Ok(env) };
        let name = env.body.locals[var.index()].name.clone();
        let ty = env.body.locals[var.index()].ty;
        let (low, high) = (self.expr(&env, low, span)?, self.expr(&env, high, span)?);
        let value = self.anything(&name, ty);
        let made = self.open(&format!("{name} is there"));
        let left = self.terms.fresh(&format!("{name}.tier"), Sort::Int);
        let in_range = |e: &mut Engine<'p>, value: Sym| {
            let (a, b) = (e.terms.binary(BinaryOp::Le, low, value), e.terms.binary(BinaryOp::Le, value, high));
            let (a, b) = (e.terms.truth(a), e.terms.truth(b));
            e.terms.and(&[a, b])
        };
        let accepts = |e: &mut Engine<'p>, value: Sym| -> Result<(Term, Env<'p>), Unsupported> {
            let mut inner = env.clone();
            inner.locals[var.index()] = value;
            let tested = e.pure(inner, test)?;
            let holds = e.terms.truth(tested.locals[holds.index()]);
            let range = in_range(e, value);
            Ok((e.terms.and(&[range, holds]), tested))
        };
        let (accepted, tested) = accepts(self, value)?;
        let fact = self.terms.implies(made, accepted);
        let chosen = self.terms.as_vector(value);
        self.fact_about(fact, &[made, chosen]);
        // A value comes from the first tier that was not left; without one all were left.
        let (zero, last) = (self.terms.int(0), self.terms.int(tiers.len() as i128));
        let none = self.terms.int(tiers.len() as i128 + 1);
        let (a, b) = (self.terms.op(Op::IntLe, zero, left), self.terms.op(Op::IntLe, left, last));
        let in_tiers = self.terms.and(&[a, b]);
        let beyond = self.terms.eq(left, none);
        let fact = self.terms.ite(made, in_tiers, beyond);
        self.fact_about(fact, &[left]);
        self.fact_about(fact, &[made]);
        let mut exactly = Vec::new();
        for (at, tier) in tiers.iter().enumerate() {
            let number = self.terms.int(at as i128);
            let here = self.terms.eq(left, number);
            match tier {
                Tier::Exactly(expr) => {
                    let wanted = self.expr(&env, expr, span)?;
                    let is = self.terms.equal(value, wanted);
                    let fact = self.terms.implies(here, is);
                    self.fact_about(fact, &[left, chosen]);
                    // It is always tried.
                    let (acceptable, _) = accepts(self, wanted)?;
                    exactly.push((number, wanted, acceptable));
                    let refused = self.terms.not(acceptable);
                    let passed = self.terms.op(Op::IntLt, number, left);
                    let fact = self.terms.implies(passed, refused);
                    self.fact_about(fact, &[left]);
                }
                Tier::Test(block, holds) => {
                    let tested = self.pure(tested.clone(), block)?;
                    let belongs = self.terms.truth(tested.locals[holds.index()]);
                    let fact = self.terms.implies(here, belongs);
                    self.fact_about(fact, &[left, chosen]);
                }
            }
        }
        let guard = env.way;
        self.chose(guard, &name, left);
        self.opens(&env, span, Open::Choice { value, made, left, none, exactly });
        let zero = self.terms.zero(ty);
        env.locals[var.index()] = self.terms.select(made, value, zero);
        env.locals[ok.index()] = Sym::Bool(made);
        Ok(env)
    }
}
