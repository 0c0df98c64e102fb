//! Headers that are put into a packet and taken out: the packet grows or shrinks at its start, and what stands before the header
//! moves. The kernel's verifier forgets all pointers into the packet then; those to headers that are still there are made anew.

use super::super::lir::{Arg, Bin, Cmp, Helper};
use super::env::{Env, Open, Place};
use super::expr::Own;
use super::linear::Linear;
use super::packet::{REACH, pieces};
use super::{Lower, Lowering};
use grv_lang::diagnostics::Code;
use grv_lang::ir::{Expr, Field, HandleId, HeaderId, LocalId};
use grv_lang::span::Span;

/// Bytes before a header that can be moved.
const MOST_BEFORE: i64 = 64;

impl<'p> Lower<'p> {
    /// Puts a header in before another: the way on which it is there, and the one on which there was no room.
    #[allow(clippy::too_many_arguments, reason = "the parts of the statement")]
    pub(super) fn push_header(
        &mut self,
        mut env: Env<'p>,
        header: HeaderId,
        before: HandleId,
        into: HandleId,
        fields: &[Expr],
        ok: LocalId,
        span: Span,
    ) -> Lowering<Vec<Open<'p>>> {
        let header = &self.program.headers[header.index()];
        let at = self.found(&env, before, span)?.clone();
        let front = self.front(&env, &at, span)?;
        if front + i64::from(header.fixed) > REACH {
            return Err(self.refuse(Code::TargetOperation, span, "putting in so long a header".to_string()));
        }
        let values = fields.iter().map(|field| self.eval(&mut env, field, span)).collect::<Lowering<Vec<Arg>>>()?;
        let saved = self.save(&env, front);
        let length = Linear::number(header.fixed.into());
        let mut refused = env.clone();
        refused.frame_mut().locals[ok.index()] = Some(Arg::Number(0));
        let failed = self.resize(&mut env, &at.start, &length, 1, span)?;
        let no_room = Open { env: refused, block: failed };
        self.found_again(&mut env, &Linear::number(front + i64::from(header.fixed)), span)?;
        self.restore(&env, &saved);
        let (start, limit) = (at.start.clone(), at.limit.plus(&length, 1));
        let place = Place { pointer: env.data, ahead: front as i32, start, length, end: limit.clone(), limit };
        self.write_fields(&mut env, &place, &header.fields, &values, span)?;
        env.frame_mut().locals[ok.index()] = Some(Arg::Number(1));
        let mut ways = vec![self.without_change(no_room, span)?];
        let Some(body) = &header.body else {
            env.frame_mut().places[into.index()] = Some(place);
            ways.push(Open { env, block: self.b.here() });
            return Ok(ways);
        };
        // The body ends where the fields say, or with the enclosing one if that does not fit.
        let own = Own { header, pointer: place.pointer, ahead: place.ahead };
        let body = self.integer(&mut env, body, Some(own), span)?;
        let beyond = self.b.block();
        let mut other = env.clone();
        other.frame_mut().places[into.index()] = Some(place.clone());
        self.unless_negative(&mut env, &body, beyond);
        let end = place.after().plus(&body, 1);
        self.unless_negative(&mut env, &place.limit.plus(&end, -1), beyond);
        env.frame_mut().places[into.index()] = Some(Place { end, ..place });
        ways.push(Open { env, block: self.b.here() });
        ways.push(Open { env: other, block: beyond });
        Ok(ways)
    }

    /// Writes all fields of a new header: those that share bytes at once, and so constants that are side by side.
    fn write_fields(&mut self, env: &mut Env<'p>, place: &Place, fields: &[Field], values: &[Arg], span: Span) -> Lowering<()> {
        let mut ends = Vec::new();
        let (mut end, mut wide) = (0_u32, 0_u32);
        for field in fields {
            wide = if end.is_multiple_of(8) { 0 } else { wide } + u32::from(field.width);
            if field.offset != end || wide > 64 {
                // Of such a header each field is written by itself.
                return fields
                    .iter()
                    .zip(values)
                    .try_for_each(|(field, value)| self.write_field(env, place, field, *value, span));
            }
            end += u32::from(field.width);
            ends.push(end);
        }
        let mut at = 0;
        while at < fields.len() {
            let begin = fields[at].offset;
            let runs =
                (at..fields.len()).take_while(|last| ends[*last] - begin <= 64).filter(|last| ends[*last].is_multiple_of(8));
            let constant = |last: &usize| values[at..=*last].iter().all(|value| value.number().is_some());
            let runs: Vec<usize> = runs.collect();
            // The shortest, or the longest that is a constant.
            let Some(last) = runs.iter().rev().find(|last| constant(last)).or(runs.first()).copied() else {
                return Err(self.refuse(Code::TargetOperation, span, "putting in a header that ends within a byte".to_string()));
            };
            let mut whole = Arg::Number(0);
            for (field, value) in fields[at..=last].iter().zip(&values[at..]) {
                let above = self.b.bin(Bin::Shl, whole, Arg::Number(u64::from(field.width) & 63));
                whole = if field.width == 64 { *value } else { self.b.bin(Bin::Or, above, *value) };
            }
            let (from, count) = (place.ahead as i16 + (begin / 8) as i16, ((ends[last] - begin) / 8) as u8);
            self.write_bytes(Arg::Value(place.pointer), from, count, whole);
            at = last + 1;
        }
        // Other pointers may lead to the same bytes.
        let first = i64::from(place.ahead) * 8;
        env.reads.retain(|(pointer, at, width, _)| {
            *pointer == place.pointer && (*at >= first + i64::from(end) || at + i64::from(*width) <= first)
        });
        let known =
            fields.iter().zip(values).map(|(field, value)| (place.pointer, first + i64::from(field.offset), field.width, *value));
        env.reads.extend(known);
        Ok(())
    }

    /// Takes a header out.
    pub(super) fn pop_header(&mut self, env: &mut Env<'p>, handle: HandleId, span: Span) -> Lowering<()> {
        let at = self.found(env, handle, span)?.clone();
        let front = self.front(env, &at, span)?;
        let saved = self.save(env, front);
        env.frame_mut().places[handle.index()] = None;
        let failed = self.resize(env, &at.start, &at.length, -1, span)?;
        let here = self.b.here();
        // The header is there, so the packet can lose it.
        self.b.enter(failed);
        self.defect();
        self.b.enter(here);
        self.found_again(env, &Linear::number(front), span)?;
        self.restore(env, &saved);
        Ok(())
    }

    /// How many bytes stand before a header.
    fn front(&self, env: &Env<'p>, at: &Place, span: Span) -> Lowering<i64> {
        if env.kept {
            return Err(self.refuse(Code::TargetPacket, span, "a change of a packet of which another copy is sent".to_string()));
        }
        match at.start.constant().filter(|front| *front <= MOST_BEFORE) {
            Some(front) => Ok(front),
            None => Err(self.refuse(Code::TargetOperation, span, "a change of length so far behind the start".to_string())),
        }
    }

    /// Reads the first bytes of the packet.
    fn save(&mut self, env: &Env<'p>, front: i64) -> Vec<(i16, u8, Arg)> {
        let mut saved = Vec::new();
        for (at, bytes) in pieces(front as u8) {
            saved.push((at.into(), bytes, self.b.load(Arg::Value(env.data), at.into(), bytes)));
        }
        saved
    }

    fn restore(&mut self, env: &Env<'p>, saved: &[(i16, u8, Arg)]) {
        for (at, bytes, value) in saved {
            self.b.store(Arg::Value(env.data), *at, *bytes, *value);
        }
    }

    /// Makes the packet longer (`sign` 1) or shorter (-1) by a length, and moves all places that it moves. The block in which it could
    /// not be is given back; pointers are forgotten in both.
    fn resize(
        &mut self,
        env: &mut Env<'p>,
        start: &Linear,
        length: &Linear,
        sign: i64,
        span: Span,
    ) -> Lowering<super::super::lir::BlockId> {
        let by = length.value(&mut self.b);
        let delta = if sign > 0 { self.b.bin(super::super::lir::Bin::Sub, Arg::Number(0), by) } else { by };
        let context = self.b.input(0);
        let result = self.b.call(Helper::XdpAdjustHead, vec![context, delta]);
        let failed = self.b.block();
        self.b.unless(Cmp::Eq, result, Arg::Number(0), failed);
        for frame in &mut env.frames {
            for place in frame.places.iter_mut().flatten() {
                let behind = place.start.plus(start, -1);
                let at_or_behind = behind.constant >= 0 && behind.terms.iter().all(|(_, c)| *c > 0);
                let before = behind.constant < 0 && behind.terms.iter().all(|(_, c)| *c < 0);
                if at_or_behind {
                    place.start = place.start.plus(length, sign);
                } else if !before {
                    let what = "a change of length between headers whose order is not known".to_string();
                    return Err(self.refuse(Code::TargetOperation, span, what));
                }
                // Headers stand in one another's bodies: all that hold the place grow with it, and all behind move with it.
                place.end = place.end.plus(length, sign);
                place.limit = place.limit.plus(length, sign);
            }
        }
        env.moved = true;
        Ok(failed)
    }

    /// Makes pointers to the packet and its headers anew. The frame has at least so many bytes.
    fn found_again(&mut self, env: &mut Env<'p>, least: &Linear, span: Span) -> Lowering<()> {
        let Arg::Value(context) = self.b.input(0) else { return Err(self.broken(span, "a program without a context")) };
        (env.data, env.end) = self.packet(context)?;
        env.length = None;
        env.reads.clear();
        env.checked.clear();
        let outside = self.b.block();
        let least = least.constant().unwrap_or(0);
        self.check_end(env, env.data, 0, least as i32, outside);
        let mut frames = std::mem::take(&mut env.frames);
        for frame in &mut frames {
            for (place, handle) in frame.places.iter_mut().zip(&frame.body.handles) {
                let Some(place) = place else { continue };
                let fixed = self.program.headers[handle.header.index()].fixed as i32;
                let variable = Linear { constant: 0, terms: place.start.terms.clone() };
                place.ahead = place.start.constant as i32;
                place.pointer = env.data;
                if variable.constant().is_none() {
                    let by = variable.value(&mut self.b);
                    place.pointer = self.b.advance(env.data, by);
                }
                self.check_end(env, place.pointer, place.ahead, fixed, outside);
            }
        }
        env.frames = frames;
        let here = self.b.here();
        // They were there before, and nothing was cut off.
        self.b.enter(outside);
        self.defect();
        self.b.enter(here);
        Ok(())
    }

    /// A way on which the packet stayed as it was, with pointers made anew: they are forgotten all the same.
    fn without_change(&mut self, open: Open<'p>, span: Span) -> Lowering<Open<'p>> {
        let here = self.b.here();
        let Open { mut env, block } = open;
        self.b.enter(block);
        self.found_again(&mut env, &Linear::number(0), span)?;
        let open = Open { env, block: self.b.here() };
        self.b.enter(here);
        Ok(open)
    }
}
