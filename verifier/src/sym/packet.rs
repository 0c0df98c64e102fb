//! Symbolic packets: fields of headers, each a constant of its own, and the rest of the bytes, which nobody looks at. A header
//! is known by the headers before it. Two headers of which neither stands behind the other may share bytes. They are independent of
//! each other: that allows more packets than there are, and a write by way of one makes the other unknown.

use super::env::{Engine, Unsupported};
use super::value::{Sym, most};
use crate::term::{Op, Sort, Term};
use grv_lang::ir::{BinaryOp, Expr, FieldId, HeaderId, PacketId, Scalar};
use grv_lang::span::Span;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A place where a header may stand.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Position {
    /// Behind these headers of the packet as it came.
    Behind(Rc<[HeaderId]>),
    /// A header that was put in; numbered.
    Pushed(u32, HeaderId),
}

/// A packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    /// The name of the packet as it came.
    pub(crate) base: Rc<str>,
    /// Bytes of the frame, an integer.
    pub(crate) length: Sym,
    /// Fields that were written, and those of headers that were put in.
    pub(crate) fields: Rc<BTreeMap<(Position, HeaderId, FieldId), Sym>>,
    /// What was written, first to last.
    pub(crate) written: Rc<Vec<Written>>,
    /// Where another position takes the place of one.
    pub(crate) redirect: Rc<BTreeMap<Position, Position>>,
    /// What comes behind a header that was put in.
    pub(crate) behind: Rc<BTreeMap<u32, Position>>,
}

/// A header at a position.
pub(crate) type At<'a> = (&'a Position, HeaderId);

/// Something that was written to a place of a packet, or a header that was put in or taken out there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Written {
    /// On these ways.
    pub(crate) guard: Term,
    /// There.
    pub(crate) position: Position,
    /// By way of this header.
    pub(crate) by: HeaderId,
    /// A number: what other headers make of these bytes since then.
    pub(crate) stamp: u32,
    /// By how much that moved the sum of 16-bit words that begin with the header's, modulo 65,535; none, if nobody knows.
    pub(crate) moved: Option<Term>,
}

/// Where a header is in a frame: integers, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) start: Sym,
    pub(crate) length: Sym,
    pub(crate) end: Sym,
    pub(crate) limit: Sym,
}

/// A header that was found or made, on one of the ways that lead here.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    /// On which ways.
    pub(crate) guard: Term,
    pub(crate) packet: PacketId,
    pub(crate) header: HeaderId,
    pub(crate) position: Position,
    pub(crate) place: Place,
}

impl Found {
    pub(crate) fn at(&self) -> At<'_> {
        (&self.position, self.header)
    }
}

impl Engine<'_> {
    /// A packet of which nothing is known.
    pub(crate) fn arriving(&mut self, name: &str) -> Packet {
        let length = self.terms.var(&format!("{name}.length"), Sort::Bits(16));
        let length = self.terms.convert(Sym::Bits(length), Scalar::Int);
        Packet {
            base: name.into(),
            length,
            fields: Rc::default(),
            written: Rc::default(),
            redirect: Rc::default(),
            behind: Rc::default(),
        }
    }

    fn header_name(&self, header: HeaderId) -> &str {
        self.program.headers.get(header.index()).map_or("?", |h| h.name.as_str())
    }

    /// The name of what is at a position of a packet.
    pub(crate) fn path(&self, packet: &Packet, position: &Position, header: HeaderId) -> String {
        let mut path = packet.base.to_string();
        match position {
            Position::Behind(chain) => {
                for before in chain.iter() {
                    path.push('/');
                    path.push_str(self.header_name(*before));
                }
            }
            Position::Pushed(number, _) => path.push_str(&format!("/+{number}")),
        }
        path.push('/');
        path.push_str(self.header_name(header));
        path
    }

    /// A field's value, a bit string.
    pub(crate) fn field(&mut self, packet: &Packet, position: &Position, header: HeaderId, field: FieldId) -> Sym {
        if let Some(value) = packet.fields.get(&(position.clone(), header, field)) {
            return *value;
        }
        let declared = &self.program.headers[header.index()].fields[field.index()];
        let (name, width) = (declared.name.clone(), declared.width);
        let name = format!("{}.{name}", self.path(packet, position, header));
        let mut value = self.terms.var(&name, Sort::Bits(width));
        for written in packet.written.iter().filter(|w| packet.may_share(w.at(), (position, header))) {
            self.looked.insert(written.stamp);
            let since = self.terms.var(&format!("{name}~{}", written.stamp), Sort::Bits(width));
            value = self.terms.ite(written.guard, since, value);
        }
        Sym::Bits(value)
    }

    /// Writes a field.
    pub(crate) fn set_field(
        &mut self,
        packet: &mut Packet,
        found: &Found,
        field: FieldId,
        value: Sym,
        span: Span,
    ) -> Result<(), Unsupported> {
        let header = &self.program.headers[found.header.index()];
        if let Some((_, length)) = &header.variable
            && mentions(length, field)
        {
            return Err(Unsupported::new("a write to a field that a header's length depends on", span));
        }
        let old = self.field(packet, &found.position, found.header, field);
        let value = Sym::Bits(self.terms.as_vector(value));
        let value = self.terms.select(found.guard, value, old);
        if value == old {
            return Ok(());
        }
        let moved = self.moved_by(found.header, field, (old, value));
        self.wrote(packet, found.at(), found.guard, Some(moved));
        Rc::make_mut(&mut packet.fields).insert((found.position.clone(), found.header, field), value);
        Ok(())
    }

    /// Something was written: what headers have there that may share its bytes is something else now.
    fn wrote(&mut self, packet: &mut Packet, at: At<'_>, guard: Term, moved: Option<Term>) {
        let again = |w: &&mut Written| w.at() == at && w.guard == guard && !self.looked.contains(&w.stamp);
        if let Some(last) = Rc::make_mut(&mut packet.written).last_mut().filter(again) {
            last.moved = last.moved.zip(moved).map(|(before, more)| self.terms.op(Op::IntAdd, before, more));
            return;
        }
        let stamp = self.stamp();
        let shares = |(position, header, _): &&(Position, HeaderId, FieldId)| packet.may_share(at, (position, *header));
        let others: Vec<_> = packet.fields.keys().filter(shares).cloned().collect();
        for key in others {
            let (position, header, field) = &key;
            let declared = &self.program.headers[header.index()].fields[field.index()];
            let (name, width) = (declared.name.clone(), declared.width);
            let name = format!("{}.{name}~{stamp}", self.path(packet, position, *header));
            let since = Sym::Bits(self.terms.var(&name, Sort::Bits(width)));
            self.looked.insert(stamp);
            let old = packet.fields[&key];
            let value = self.terms.select(guard, since, old);
            Rc::make_mut(&mut packet.fields).insert(key, value);
        }
        let written = Written { guard, position: at.0.clone(), by: at.1, stamp, moved };
        Rc::make_mut(&mut packet.written).push(written);
    }

    /// The position behind a header, or the first one.
    fn behind(&self, packet: &Packet, after: Option<At<'_>>, span: Span) -> Result<Position, Unsupported> {
        let raw = match after {
            None => Position::Behind(Rc::new([])),
            Some((Position::Behind(chain), header)) => {
                let mut chain = chain.to_vec();
                chain.push(header);
                Position::Behind(chain.into())
            }
            Some((Position::Pushed(number, put), header)) if *put == header => {
                return Ok(packet.behind.get(number).cloned().unwrap_or(Position::Behind(Rc::new([]))));
            }
            Some((Position::Pushed(..), _)) => {
                return Err(Unsupported::new("what is behind a header where another one was put in", span));
            }
        };
        Ok(packet.redirect.get(&raw).cloned().unwrap_or(raw))
    }

    /// Looks for a header; whether it is there, and where.
    pub(crate) fn parse(
        &mut self,
        packet: &Packet,
        id: PacketId,
        header: HeaderId,
        after: Option<&Found>,
        span: Span,
    ) -> Result<(Term, Found), Unsupported> {
        let position = self.behind(packet, after.map(Found::at), span)?;
        let (start, limit) = match after {
            None => (self.number(0), packet.length),
            Some(found) => (self.sum(found.place.start, found.place.length), found.place.end),
        };
        let layout = &self.program.headers[header.index()];
        let fixed = self.number(layout.fixed.into());
        let (variable, body, valid) = (layout.variable.clone(), layout.body.clone(), layout.valid.clone());
        let mut conditions = Vec::new();
        let mut length = fixed;
        let zero = self.number(0);
        let end_of_fixed = self.sum(start, fixed);
        conditions.push(self.at_most(end_of_fixed, limit));
        if let Some((_, bytes)) = &variable {
            let bytes = self.own(packet, &position, header, bytes, span)?;
            conditions.push(self.at_most(zero, bytes));
            length = self.sum(fixed, bytes);
            let end = self.sum(start, length);
            conditions.push(self.at_most(end, limit));
        }
        let valid = self.own(packet, &position, header, &valid, span)?;
        conditions.push(self.terms.truth(valid));
        let mut end = limit;
        if let Some(body) = &body {
            let bytes = self.own(packet, &position, header, body, span)?;
            conditions.push(self.at_most(zero, bytes));
            let after = self.sum(start, length);
            end = self.sum(after, bytes);
            conditions.push(self.at_most(end, limit));
        }
        let ok = self.terms.and(&conditions);
        let place = Place { start, length, end, limit };
        let guard = self.terms.bool(true);
        Ok((ok, Found { guard, packet: id, header, position, place }))
    }

    /// A header's own expression.
    fn own(
        &mut self,
        packet: &Packet,
        position: &Position,
        header: HeaderId,
        expr: &Expr,
        span: Span,
    ) -> Result<Sym, Unsupported> {
        Ok(match expr {
            Expr::Const(bits, ty) => self.terms.constant(*bits, *ty),
            Expr::Own(field) => self.field(packet, position, header, *field),
            Expr::Unary(op, a) => {
                let a = self.own(packet, position, header, a, span)?;
                self.terms.unary(*op, a)
            }
            Expr::Binary(op, a, b) => {
                let a = self.own(packet, position, header, a, span)?;
                let b = self.own(packet, position, header, b, span)?;
                self.terms.binary(*op, a, b)
            }
            Expr::Convert(a, to) => {
                let a = self.own(packet, position, header, a, span)?;
                self.terms.convert(a, *to)
            }
            Expr::Select(c, a, b) => {
                let c = self.own(packet, position, header, c, span)?;
                let a = self.own(packet, position, header, a, span)?;
                let b = self.own(packet, position, header, b, span)?;
                let c = self.terms.truth(c);
                self.terms.select(c, a, b)
            }
            _ => return Err(Unsupported::new("this expression in a header's declaration", span)),
        })
    }

    /// Puts a header in before another. The handles of the packet move.
    pub(crate) fn push(
        &mut self,
        packet: &mut Packet,
        (header, fields): (HeaderId, &[Sym]),
        before: &Found,
        found: &mut [Vec<Found>],
        span: Span,
    ) -> Found {
        let fixed = self.program.headers[header.index()].fixed;
        // What the same statement puts into a packet like this has the same name, so that steps can be compared.
        let fresh = self.stamp();
        let number = *self.pushed.entry((span, header, packet.behind.len())).or_insert(fresh);
        let new = Position::Pushed(number, header);
        packet.lead(&before.position, new.clone());
        Rc::make_mut(&mut packet.behind).insert(number, before.position.clone());
        let length = self.number(fixed.into());
        for (field, value) in (0..).map(FieldId).zip(fields) {
            let value = Sym::Bits(self.terms.as_vector(*value));
            Rc::make_mut(&mut packet.fields).insert((new.clone(), header, field), value);
        }
        self.wrote(packet, (&new, header), before.guard, None);
        let start = before.place.start;
        packet.length = self.sum(packet.length, length);
        for handle in found.iter_mut().flatten().filter(|f| f.packet == before.packet) {
            handle.place.end = self.sum(handle.place.end, length);
            handle.place.limit = self.sum(handle.place.limit, length);
            if handle.position == before.position || packet.is_behind(&handle.position, before.at()) {
                handle.place.start = self.sum(handle.place.start, length);
            }
        }
        // Its body ends where its fields say; what is read there is found anew.
        let limit = self.sum(before.place.limit, length);
        let place = Place { start, length, end: limit, limit };
        Found { guard: before.guard, packet: before.packet, header, position: new, place }
    }

    /// Takes a header out. The handles of the packet move.
    pub(crate) fn pop(
        &mut self,
        packet: &mut Packet,
        gone: &Found,
        found: &mut [Vec<Found>],
        span: Span,
    ) -> Result<(), Unsupported> {
        let next = self.behind(packet, Some(gone.at()), span)?;
        let before = packet.clone();
        packet.lead(&gone.position, next);
        if let Position::Pushed(number, _) = &gone.position {
            Rc::make_mut(&mut packet.behind).remove(number);
            Rc::make_mut(&mut packet.written).retain(|w| w.position != gone.position);
        } else {
            self.wrote(packet, gone.at(), gone.guard, None);
        }
        let length = gone.place.length;
        packet.length = self.difference(packet.length, length);
        for handle in found.iter_mut().flatten().filter(|f| f.packet == gone.packet) {
            handle.place.end = self.difference(handle.place.end, length);
            handle.place.limit = self.difference(handle.place.limit, length);
            if before.is_behind(&handle.position, gone.at()) {
                handle.place.start = self.difference(handle.place.start, length);
            }
        }
        Ok(())
    }

    /// One packet on the ways where `c` holds, another on the others.
    pub(crate) fn merge_packets(&mut self, c: Term, a: &Packet, b: &Packet, span: Span) -> Result<Packet, Unsupported> {
        if a == b {
            return Ok(a.clone());
        }
        if a.base != b.base || a.redirect != b.redirect || a.behind != b.behind {
            return Err(Unsupported::new("ways that meet with different headers put in or taken out", span));
        }
        let not_c = self.terms.not(c);
        let common = a.written.iter().zip(&*b.written).take_while(|(x, y)| x == y).count();
        let mut written = a.written[..common].to_vec();
        for (on, more) in [(c, &a.written[common..]), (not_c, &b.written[common..])] {
            for w in more {
                written.push(Written { guard: self.terms.and(&[on, w.guard]), ..w.clone() });
            }
        }
        let mut fields = BTreeMap::new();
        for key in a.fields.keys().chain(b.fields.keys()) {
            let (position, header, field) = key;
            let x = self.field(a, position, *header, *field);
            let y = self.field(b, position, *header, *field);
            fields.insert(key.clone(), self.terms.select(c, x, y));
        }
        let length = self.terms.select(c, a.length, b.length);
        Ok(Packet { length, fields: fields.into(), written: written.into(), ..a.clone() })
    }

    /// Whether two packets are the same bytes, but for some fields. Packets that arrived one by one are the same if they happen
    /// to be: unknown.
    pub(crate) fn same(&mut self, a: &Packet, b: &Packet, except: &[(Position, HeaderId, FieldId)]) -> Term {
        if a.base != b.base || a.redirect != b.redirect || a.behind != b.behind {
            return self.terms.fresh("same bytes", Sort::Bool);
        }
        let length = self.terms.equal(a.length, b.length);
        let fields = self.same_fields(a, b, |key| !except.contains(key));
        self.terms.and(&[length, fields])
    }

    /// Whether what follows two headers is the same bytes, up to the end of their bodies.
    pub(crate) fn same_body(&mut self, (a, left): (&Packet, &Found), (b, right): (&Packet, &Found)) -> Term {
        let moved = |packet: &Packet| {
            let redirect: Vec<_> = packet
                .redirect
                .iter()
                .filter(|(p, _)| packet.is_behind(p, left.at()))
                .map(|(p, q)| (p.clone(), q.clone()))
                .collect();
            let pushed: Vec<_> =
                packet.behind.iter().filter(|(_, p)| packet.is_behind(p, left.at())).map(|(n, p)| (*n, p.clone())).collect();
            (redirect, pushed)
        };
        if a.base != b.base || left.position != right.position || left.header != right.header || moved(a) != moved(b) {
            return self.terms.fresh("same bytes", Sort::Bool);
        }
        let bytes = |engine: &mut Engine<'_>, found: &Found| {
            let after = engine.sum(found.place.start, found.place.length);
            engine.difference(found.place.end, after)
        };
        let (x, y) = (bytes(self, left), bytes(self, right));
        let length = self.terms.equal(x, y);
        let fields = self.same_fields(a, b, |(position, header, _)| {
            a.is_behind(position, left.at()) || a.may_share((position, *header), left.at())
        });
        self.terms.and(&[length, fields])
    }

    /// Whether what was written is the same, by way of the headers through which it was.
    fn same_fields(&mut self, a: &Packet, b: &Packet, counts: impl Fn(&(Position, HeaderId, FieldId)) -> bool) -> Term {
        let mut parts = Vec::new();
        let keys: BTreeSet<_> = a.fields.keys().chain(b.fields.keys()).filter(|key| counts(key)).collect();
        for (position, header, field) in keys {
            let writes = [a, b].into_iter().flat_map(|p| p.written.iter());
            let guards: Vec<Term> = writes.filter(|w| w.at() == (position, *header)).map(|w| w.guard).collect();
            // A header that was put in was written by nobody.
            let touched = if guards.is_empty() { self.terms.bool(true) } else { self.terms.or(&guards) };
            let (x, y) = (self.field(a, position, *header, *field), self.field(b, position, *header, *field));
            let equal = self.terms.equal(x, y);
            parts.push(self.terms.implies(touched, equal));
        }
        self.terms.and(&parts)
    }

    /// Whether two packets are surely the same bytes, by what was written to them.
    pub(crate) fn identical(&mut self, a: &Packet, b: &Packet) -> Term {
        if a == b { self.terms.bool(true) } else { self.same(a, b, &[]) }
    }

    pub(crate) fn number(&mut self, value: u128) -> Sym {
        self.terms.constant(value, Scalar::Int)
    }

    pub(crate) fn sum(&mut self, a: Sym, b: Sym) -> Sym {
        self.terms.binary(BinaryOp::Add, a, b)
    }

    pub(crate) fn difference(&mut self, a: Sym, b: Sym) -> Sym {
        self.terms.binary(BinaryOp::Sub, a, b)
    }

    pub(crate) fn at_most(&mut self, a: Sym, b: Sym) -> Term {
        let le = self.terms.binary(BinaryOp::Le, a, b);
        self.terms.truth(le)
    }
}

impl Packet {
    /// Leads to another position whoever is led to this one: a header that was put in ahead of it, or one that was taken out there, or
    /// the header that it is behind.
    fn lead(&mut self, here: &Position, to: Position) {
        if let Some(ahead) = self.behind.iter().find(|(_, then)| *then == here).map(|(ahead, _)| *ahead) {
            Rc::make_mut(&mut self.behind).insert(ahead, to);
            return;
        }
        let from = self.redirect.iter().find(|(_, then)| *then == here).map_or(here, |(from, _)| from).clone();
        if from == to {
            Rc::make_mut(&mut self.redirect).remove(&from);
        } else {
            Rc::make_mut(&mut self.redirect).insert(from, to);
        }
    }

    /// Where a position is: behind these headers of the packet as it came, and ahead of that, so many headers that were put in.
    fn anchor<'a>(&'a self, position: &'a Position) -> (&'a [HeaderId], usize) {
        let (mut at, mut ahead) = (position, 0);
        loop {
            match at {
                Position::Behind(chain) => return (chain, ahead),
                Position::Pushed(number, _) => match self.behind.get(number) {
                    Some(then) => (at, ahead) = (then, ahead + 1),
                    None => return (&[], ahead),
                },
            }
        }
    }

    /// Whether a position is behind a header.
    pub(crate) fn is_behind(&self, position: &Position, (of, header): At<'_>) -> bool {
        let ((chain, ahead), (before, of_ahead)) = (self.anchor(position), self.anchor(of));
        if !chain.starts_with(before) {
            return false;
        }
        match of {
            Position::Pushed(_, put) => *put == header && (chain.len() > before.len() || ahead < of_ahead),
            Position::Behind(_) => chain.get(before.len()) == Some(&header),
        }
    }

    /// Whether two headers may share bytes: they are not the same one, and neither is behind the other.
    pub(crate) fn may_share(&self, a: At<'_>, b: At<'_>) -> bool {
        a != b && !self.is_behind(a.0, b) && !self.is_behind(b.0, a)
    }

    /// What was written behind a header, if that counts, or by way of others that may share its bytes.
    pub(crate) fn written_behind(&self, found: &Found, body: bool) -> Vec<Written> {
        let counts = |w: &&Written| self.may_share(w.at(), found.at()) || body && self.is_behind(&w.position, found.at());
        self.written.iter().filter(counts).cloned().collect()
    }

    /// Names the headers that were put in or taken out behind a header.
    pub(crate) fn moved_behind(&self, found: &Found) -> String {
        let moved = self.redirect.keys().any(|p| self.is_behind(p, found.at()));
        if moved { format!("{:?}", self.behind) } else { String::new() }
    }
}

impl Written {
    pub(crate) fn at(&self) -> At<'_> {
        (&self.position, self.by)
    }
}

/// Whether an expression of a header's declaration reads a field.
fn mentions(expr: &Expr, field: FieldId) -> bool {
    match expr {
        Expr::Own(own) => *own == field,
        Expr::Unary(_, a) | Expr::Convert(a, _) => mentions(a, field),
        Expr::Binary(_, a, b) => mentions(a, field) || mentions(b, field),
        Expr::Select(a, b, c) => mentions(a, field) || mentions(b, field) || mentions(c, field),
        Expr::Hash(_, args) => args.iter().any(|a| mentions(a, field)),
        _ => false,
    }
}

/// The greatest length of a frame.
pub(crate) fn longest() -> u128 {
    most(16)
}
