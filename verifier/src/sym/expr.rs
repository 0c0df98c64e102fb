//! Pure expressions on symbolic variables.

use super::env::{Engine, Env, Unsupported};
use super::packet::Found;
use super::value::{Sym, most};
use crate::term::{Op, Sort, Term};
use grv_lang::ir::{Expr, FieldId, HandleId, ParamId, Scalar, Show};
use grv_lang::span::Span;

impl<'p> Engine<'p> {
    /// The value of an expression.
    pub(crate) fn expr(&mut self, env: &Env<'p>, expr: &Expr, span: Span) -> Result<Sym, Unsupported> {
        Ok(match expr {
            Expr::Const(bits, ty) => self.terms.constant(*bits, *ty),
            Expr::Local(id) => env.locals[id.index()],
            Expr::Param(id, column) => self.param(*id, *column),
            Expr::Field(handle, field) => self.read_field(env, *handle, *field, span)?,
            Expr::HeaderLength(handle) => {
                let length = self.choose_found(env, *handle, span, |_, found| Ok(found.place.length))?;
                self.terms.convert(length, Scalar::Bits(16))
            }
            Expr::PacketLength(packet) => {
                let length = env.packets.get(packet.index()).map(|p| p.length);
                let length = length.ok_or_else(|| Unsupported::new("the length of no packet", span))?;
                self.terms.convert(length, Scalar::Bits(16))
            }
            Expr::Now => self.time(env.world.now),
            Expr::Unary(op, a) => {
                let a = self.expr(env, a, span)?;
                self.terms.unary(*op, a)
            }
            Expr::Binary(op, a, b) => {
                let a = self.expr(env, a, span)?;
                let b = self.expr(env, b, span)?;
                self.terms.binary(*op, a, b)
            }
            Expr::Convert(a, to) => {
                let a = self.expr(env, a, span)?;
                self.terms.convert(a, *to)
            }
            Expr::Select(c, a, b) => {
                let c = self.expr(env, c, span)?;
                let c = self.terms.truth(c);
                // Only one side has a value where the other's headers were not found.
                match self.terms.as_bool(c) {
                    Some(true) => self.expr(env, a, span)?,
                    Some(false) => self.expr(env, b, span)?,
                    None => {
                        let a = self.expr(env, a, span)?;
                        let b = self.expr(env, b, span)?;
                        self.terms.select(c, a, b)
                    }
                }
            }
            Expr::Hash(id, args) => {
                let mut terms = Vec::with_capacity(args.len());
                for arg in args {
                    let arg = self.expr(env, arg, span)?;
                    terms.push(match arg {
                        Sym::Bool(term) => term,
                        other => self.terms.as_vector(other),
                    });
                }
                let declared = &self.program.hashes[id.index()];
                let (name, width) = (format!("hash {}", declared.name), declared.width);
                let sorts: Vec<Sort> = terms.iter().map(|t| self.terms.sort(*t)).collect();
                let symbol = self.terms.symbol(&name, &sorts, Sort::Bits(width));
                Sym::Bits(self.terms.apply(symbol, &terms))
            }
            Expr::Own(_) => return Err(Unsupported::new("a header's own field outside its declaration", span)),
        })
    }

    /// Some expressions' values.
    pub(crate) fn exprs(&mut self, env: &Env<'p>, exprs: &[Expr], span: Span) -> Result<Vec<Sym>, Unsupported> {
        exprs.iter().map(|expr| self.expr(env, expr, span)).collect()
    }

    /// A truth value.
    pub(crate) fn condition(&mut self, env: &Env<'p>, expr: &Expr, span: Span) -> Result<Term, Unsupported> {
        let value = self.expr(env, expr, span)?;
        Ok(self.terms.truth(value))
    }

    /// A scalar of a parameter: the same in all states, and otherwise anything.
    pub(crate) fn param(&mut self, id: ParamId, column: u32) -> Sym {
        let declared = &self.program.params[id.index()];
        let (name, of) = (format!("{}.{column}", declared.name), &declared.columns[column as usize]);
        if let Some(bits) = self.params.as_ref().and_then(|all| all.get(id.index())?.get(column as usize).copied()) {
            return self.terms.constant(bits, of.ty);
        }
        match (of.ty, &of.show) {
            (Scalar::Bits(64), Show::Time | Show::Duration) => {
                let term = self.terms.var(&name, Sort::Int);
                let (zero, end) = (self.terms.int(0), self.terms.int(1i128 << 64));
                let (a, b) = (self.terms.op(Op::IntLe, zero, term), self.terms.op(Op::IntLt, term, end));
                self.fact(a);
                self.fact(b);
                Sym::Nat { term, width: 64, high: most(64) }
            }
            (Scalar::Bool, _) => Sym::Bool(self.terms.var(&name, Sort::Bool)),
            (Scalar::Bits(width), _) => Sym::Bits(self.terms.var(&name, Sort::Bits(width))),
            (Scalar::Int, _) => Sym::Int(self.terms.var(&name, Sort::Int)),
        }
    }

    fn read_field(&mut self, env: &Env<'p>, handle: HandleId, field: FieldId, span: Span) -> Result<Sym, Unsupported> {
        self.choose_found(env, handle, span, |engine, found| {
            let packet = env.packets.get(found.packet.index()).ok_or_else(|| Unsupported::new("a field of no packet", span))?;
            Ok(engine.field(packet, &found.position, found.header, field))
        })
    }

    /// Something of a header, by the ways on which it was found.
    pub(crate) fn choose_found(
        &mut self,
        env: &Env<'p>,
        handle: HandleId,
        span: Span,
        mut of: impl FnMut(&mut Engine<'p>, &Found) -> Result<Sym, Unsupported>,
    ) -> Result<Sym, Unsupported> {
        let Some((first, rest)) = env.found[handle.index()].split_first() else {
            return Err(Unsupported::new("a header that is not found on any way", span));
        };
        let mut value = of(self, first)?;
        for found in rest {
            let other = of(self, found)?;
            value = self.terms.select(found.guard, other, value);
        }
        Ok(value)
    }
}
