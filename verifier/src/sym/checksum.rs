//! Internet checksums as arithmetic modulo 65,535. A checksum is right when the sum of all words that it covers is a multiple of
//! 65,535 and not zero. What is not known of these words (options, payload) is one number; an incremental update (RFC 1624) moves
//! the checksum by as much as the words it names.

use super::env::{Engine, Env, Unsupported, Update};
use super::opened::Open;
use super::packet::{Found, Packet, Position, Written};
use super::value::Sym;
use crate::term::{Op, Sort, Term};
use grv_lang::ir::{BinaryOp, Change, Expr, Field, FieldId, HandleId, HeaderId, Scalar};
use grv_lang::span::Span;

/// Ones'-complement sums are sums modulo this.
const MODULUS: i128 = 65_535;

impl<'p> Engine<'p> {
    /// What some bits of a header add to a sum of 16-bit words: they end `shift` bits before a word does.
    fn weight(&mut self, value: Sym, shift: u32) -> Term {
        let value = self.terms.as_integer(value);
        let factor = self.terms.int(1 << shift);
        self.terms.op(Op::IntMul, value, factor)
    }

    fn add(&mut self, a: Term, b: Term) -> Term {
        self.terms.op(Op::IntAdd, a, b)
    }

    /// By how much another value of a field moves the sum of the words of its header.
    pub(crate) fn moved_by(&mut self, header: HeaderId, field: FieldId, (old, new): (Sym, Sym)) -> Term {
        let shift = shift(&self.program.headers[header.index()].fields[field.index()]);
        let (old, new) = (self.weight(old, shift), self.weight(new, shift));
        self.terms.op(Op::IntSub, new, old)
    }

    /// The sum of the words of a header's fixed part.
    fn words(&mut self, packet: &Packet, found: &Found, only: Option<&[FieldId]>) -> Term {
        let fields = self.program.headers[found.header.index()].fields.iter();
        let fields: Vec<(FieldId, u32)> = (0..).map(FieldId).zip(fields).map(|(id, f)| (id, shift(f))).collect();
        let mut sum = self.terms.int(0);
        for (field, shift) in fields.into_iter().filter(|(id, _)| only.is_none_or(|only| only.contains(id))) {
            let value = self.field(packet, &found.position, found.header, field);
            let value = self.weight(value, shift);
            sum = self.add(sum, value);
        }
        sum
    }

    /// Whether all checksums of a header are right.
    pub(crate) fn checksums_valid(
        &mut self,
        env: &Env<'p>,
        packet: &Packet,
        found: &Found,
        span: Span,
    ) -> Result<Term, Unsupported> {
        if self.loose {
            return Ok(self.said_to_be_right(packet, found));
        }
        let program = self.program;
        let mut all = Vec::new();
        for checksum in &program.headers[found.header.index()].checksums {
            let mut sum = self.words(packet, found, None);
            // Whatever is not modelled: options, and what follows the header.
            let mut rest = self.rest(packet, found, checksum.body);
            if !checksum.body {
                // Behind the fixed part, there may be nothing.
                let fixed = self.number(program.headers[found.header.index()].fixed.into());
                let (none, zero) = (self.terms.equal(found.place.length, fixed), self.terms.int(0));
                rest = self.terms.ite(none, zero, rest);
            }
            sum = self.add(sum, rest);
            if !checksum.pseudo.is_empty() {
                let enclosing = env.found.iter().flatten().find(|f| {
                    f.packet == found.packet
                        && checksum.pseudo.iter().any(|p| p.header == f.header)
                        && packet.is_behind(&found.position, f.at())
                });
                let Some(enclosing) = enclosing.cloned() else {
                    return Err(Unsupported::new("a checksum whose enclosing header is not named here", span));
                };
                let Some(pseudo) = checksum.pseudo.iter().find(|p| p.header == enclosing.header) else { continue };
                let words = self.words(packet, &enclosing, Some(&pseudo.fields));
                sum = self.add(sum, words);
                let constants = self.terms.int(pseudo.constants.iter().map(|c| i128::from(*c)).sum());
                sum = self.add(sum, constants);
                let length = self.difference(found.place.end, found.place.start);
                let length = self.terms.as_integer(length);
                // A header that is there does not end before it begins: said for those who do not see it from the packet.
                let zero = self.terms.int(0);
                let negative = self.terms.op(Op::IntLt, length, zero);
                let length = self.terms.ite(negative, zero, length);
                sum = self.add(sum, length);
            }
            let (zero, modulus) = (self.terms.int(0), self.terms.int(MODULUS));
            let rest = self.terms.op(Op::IntMod, sum, modulus);
            let (multiple, some) = (self.terms.eq(rest, zero), self.terms.op(Op::IntLt, zero, sum));
            let right = self.terms.and(&[multiple, some]);
            all.push(if checksum.optional {
                let field = self.field(packet, &found.position, found.header, checksum.field);
                let none = self.terms.constant(0, Scalar::Bits(16));
                let absent = self.terms.equal(field, none);
                self.terms.or(&[absent, right])
            } else {
                right
            });
        }
        Ok(self.terms.and(&all))
    }

    /// Whether a header's checksums are right, as a truth value of its own: who looks for packets makes them right in the end.
    fn said_to_be_right(&mut self, packet: &Packet, found: &Found) -> Term {
        let known = |(of, position, header, _): &&(Packet, Position, HeaderId, Term)| {
            of == packet && *position == found.position && *header == found.header
        };
        if let Some((.., right)) = self.loosely_right.iter().find(known) {
            return *right;
        }
        let right = self.open("the checksum is right");
        self.loosely_right.push((packet.clone(), found.position.clone(), found.header, right));
        right
    }

    /// The sum of the words behind a header's fixed part: as they came, on ways on which nobody wrote there. Where it is known by how
    /// much a write moved it, it is known but for multiples of 65,535.
    fn rest(&mut self, packet: &Packet, found: &Found, body: bool) -> Term {
        let mut name = format!("{} rest", self.path(packet, &found.position, found.header));
        if body {
            name = format!("{name} and body {}", packet.moved_behind(found));
        }
        let mut rest = self.sum_of_bytes(&name);
        for written in packet.written_behind(found, body) {
            self.looked.insert(written.stamp);
            // Where something was written is said by its number; on which ways, by its guard.
            name = format!("{name} {}@{:?}", written.stamp, written.guard);
            let since = match written.moved.filter(|_| self.is_aligned(packet, found, &written)) {
                None => self.sum_of_bytes(&name),
                Some(moved) => {
                    let (turns, modulus) = (self.terms.var(&format!("{name} turns"), Sort::Int), self.terms.int(MODULUS));
                    let whole = self.terms.op(Op::IntMul, modulus, turns);
                    let since = self.add(rest, moved);
                    let since = self.add(since, whole);
                    let zero = self.terms.int(0);
                    let positive = self.terms.op(Op::IntLe, zero, since);
                    let fact = self.terms.implies(written.guard, positive);
                    self.fact_about(fact, &[turns]);
                    since
                }
            };
            rest = self.terms.ite(written.guard, since, rest);
        }
        rest
    }

    /// Whether something was written by way of a header that stands behind another, so many words from its begin.
    fn is_aligned(&self, packet: &Packet, found: &Found, written: &Written) -> bool {
        let (Position::Behind(before), Position::Behind(chain)) = (&found.position, &written.position) else { return false };
        let even = |header: &HeaderId| {
            let layout = &self.program.headers[header.index()];
            layout.fixed.is_multiple_of(2) && layout.variable.as_ref().is_none_or(|(_, bytes)| is_even(bytes))
        };
        packet.is_behind(&written.position, found.at())
            && packet.moved_behind(found).is_empty()
            && chain[before.len()..].iter().all(even)
    }

    /// A sum of words of which nothing else is known.
    fn sum_of_bytes(&mut self, name: &str) -> Term {
        let sum = self.terms.var(name, Sort::Int);
        let zero = self.terms.int(0);
        let fact = self.terms.op(Op::IntLe, zero, sum);
        self.fact(fact);
        sum
    }

    /// A checksum after an incremental update.
    pub(crate) fn update_checksum(
        &mut self,
        env: &mut Env<'p>,
        handle: HandleId,
        field: FieldId,
        optional: bool,
        changes: &'p [Change],
        span: Span,
    ) -> Result<(), Unsupported> {
        let mut moved = self.terms.int(0);
        for change in changes {
            let (old, new) = (self.expr(env, &change.old, span)?, self.expr(env, &change.new, span)?);
            let shift = u32::from(change.shift);
            let (old, new) = (self.weight(old, shift), self.weight(new, shift));
            let difference = self.terms.op(Op::IntSub, old, new);
            moved = self.add(moved, difference);
        }
        for found in env.found[handle.index()].clone() {
            let mut packet = env.packets[found.packet.index()].clone();
            let old = self.field(&packet, &found.position, found.header, field);
            let new = self.updated(env, old, moved, optional, span);
            self.set_field(&mut packet, &found, field, Sym::Bits(new), span)?;
            env.packets[found.packet.index()] = packet;
        }
        Ok(())
    }

    /// The new checksum: the old one and what the words lost, modulo 65,535. Of the two ways to write zero, RFC 1624's equation 3
    /// gives 0xffff only if nothing but zeros was added; which one it is stays open here, but where zero means that there is none.
    fn updated(&mut self, env: &Env<'p>, old: Sym, moved: Term, optional: bool, span: Span) -> Term {
        let old = self.terms.as_vector(old);
        let update = Update { old, moved, optional, span };
        if let Some((_, new)) = self.checksums.iter().find(|(known, _)| *known == update) {
            return *new;
        }
        let names = if self.of_another == 0 { ["checksum", "turns"] } else { ["other checksum", "other turns"] };
        let new = self.terms.fresh(names[0], Sort::Bits(16));
        let zero = self.terms.bits(0, 16);
        let none = if optional { self.terms.eq(old, zero) } else { self.terms.bool(false) };
        if self.loose {
            return self.terms.ite(none, zero, new);
        }
        let (before, after) = (self.terms.to_int(old), self.terms.to_int(new));
        let turns = self.terms.fresh(names[1], Sort::Int);
        let (modulus, nothing) = (self.terms.int(MODULUS), self.terms.int(0));
        let whole = self.terms.op(Op::IntMul, modulus, turns);
        let sum = self.add(before, moved);
        let sum = self.add(sum, whole);
        let sum = self.terms.ite(none, nothing, sum);
        let fact = self.terms.eq(after, sum);
        self.fact_about(fact, &[new]);
        if optional {
            let vanished = self.terms.eq(new, zero);
            let shown = self.terms.not(vanished);
            let fact = self.terms.or(&[none, shown]);
            self.fact_about(fact, &[new]);
        }
        self.is_function(update, new);
        self.opens(env, span, Open::Checksum { old, moved, optional, new, turns });
        new
    }

    /// A checksum that the same statement updates by as much is the same.
    fn is_function(&mut self, update: Update, new: Term) {
        for (known, other) in self.checksums.clone() {
            if (known.span, known.optional) == (update.span, update.optional) {
                let (old, moved) = (self.terms.eq(known.old, update.old), self.terms.eq(known.moved, update.moved));
                let (given, same) = (self.terms.and(&[old, moved]), self.terms.eq(other, new));
                let fact = self.terms.implies(given, same);
                self.fact_about(fact, &[other, new]);
            }
        }
        self.checksums.push((update, new));
    }
}

/// So many bits before the end of a 16-bit word a field ends.
fn shift(field: &Field) -> u32 {
    (16 - (field.offset + u32::from(field.width)) % 16) % 16
}

/// Whether an integer is surely a multiple of two.
fn is_even(expr: &Expr) -> bool {
    match expr {
        Expr::Const(value, _) => value % 2 == 0,
        Expr::Binary(BinaryOp::Add | BinaryOp::Sub, a, b) => is_even(a) && is_even(b),
        Expr::Binary(BinaryOp::Mul, a, b) => is_even(a) || is_even(b),
        Expr::Convert(a, Scalar::Int) => is_even(a),
        _ => false,
    }
}
