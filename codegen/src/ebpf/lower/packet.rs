//! Headers: finding them, reading and writing fields, checksums.
//!
//! The kernel's verifier lets a program touch what was compared with the packet's end through the same pointer. So a header has
//! a pointer of its own only where its place depends on the packet's contents; one comparison is made for its fixed part.

use super::super::lir::{Arg, Bin, BlockId, Builder, Cmp, Type, Value, mask};
use super::env::{Env, Place};
use super::expr::Own;
use super::linear::Linear;
use super::{Lower, Lowering};
use grv_lang::diagnostics::Code;
use grv_lang::ir::{BinaryOp, Change, Expr, Field, FieldId, HandleId, Header, HeaderId, Scalar};
use grv_lang::span::Span;

/// How far behind a pointer a header may end: offsets of instructions are small.
pub(super) const REACH: i64 = 4_096;

impl<'p> Lower<'p> {
    /// The packet's first byte and its end.
    pub(super) fn packet(&mut self, context: Value) -> Lowering<(Value, Value)> {
        match self.packet_fields(context) {
            (Arg::Value(data), Arg::Value(end)) => Ok((data, end)),
            _ => Err(self.broken(self.program.span, "a context without a packet")),
        }
    }

    /// Bytes of the frame.
    pub(super) fn frame_length(&mut self, env: &mut Env<'p>) -> Arg {
        *env.length.get_or_insert_with(|| self.b.distance(env.data, env.end))
    }

    /// A header that was found.
    pub(super) fn found<'e>(&self, env: &'e Env<'p>, handle: HandleId, span: Span) -> Lowering<&'e Place> {
        let place = env.frame().places.get(handle.index()).and_then(Option::as_ref);
        place.ok_or_else(|| self.broken(span, "a header is used before it was found"))
    }

    /// Looks for a header behind another, or at the start; goes on in a new block if it is there, else in `malformed`.
    pub(super) fn parse(
        &mut self,
        env: &mut Env<'p>,
        header: HeaderId,
        after: Option<HandleId>,
        span: Span,
        malformed: BlockId,
    ) -> Lowering<Place> {
        let header = &self.program.headers[header.index()];
        let (pointer, ahead, start, limit) = match after {
            None => {
                let length = self.frame_length(env);
                (env.data, 0, Linear::number(0), Linear::word(length).unwrap_or_default())
            }
            Some(handle) => {
                let before = self.found(env, handle, span)?.clone();
                let (pointer, ahead) = match before.length.constant().and_then(|length| i32::try_from(length).ok()) {
                    Some(length) => (before.pointer, before.ahead + length),
                    None => {
                        let length = before.length.value(&mut self.b);
                        (self.b.advance(before.pointer, length), before.ahead)
                    }
                };
                (pointer, ahead, before.after(), before.end)
            }
        };
        let fixed = i64::from(header.fixed);
        if i64::from(ahead) + fixed > REACH {
            return Err(self.refuse(Code::TargetOperation, span, "a header so far behind others".to_string()));
        }
        self.check_end(env, pointer, ahead, header.fixed as i32, malformed);
        // The frame's end was compared with; the end of an enclosing body may come earlier.
        let frame = env.length.and_then(Linear::word).unwrap_or_default();
        let left = limit.plus(&start, -1);
        let fits = left.plus(&Linear::number(fixed), -1);
        if limit == frame {
            env.facts.push(fits.reduced());
        } else {
            self.unless_negative(env, &fits, malformed);
        }
        let own = Own { header, pointer, ahead };
        self.valid(env, &header.valid, own, span, malformed)?;
        let mut length = Linear::number(fixed);
        if let Some((_, bytes)) = &header.variable {
            let variable = self.integer(env, bytes, Some(own), span)?;
            self.unless_negative(env, &variable, malformed);
            length = length.plus(&variable, 1);
            self.unless_negative(env, &left.plus(&length, -1), malformed);
        }
        let mut end = limit.clone();
        if let Some(body) = &header.body {
            let body = self.integer(env, body, Some(own), span)?;
            self.unless_negative(env, &body, malformed);
            end = start.plus(&length, 1).plus(&body, 1);
            self.unless_negative(env, &limit.plus(&end, -1), malformed);
        }
        Ok(Place { pointer, ahead, start, length, end, limit })
    }

    /// Goes on in a new block if so many bytes behind a pointer are inside the frame; else in `outside`.
    pub(super) fn check_end(&mut self, env: &mut Env<'p>, pointer: Value, ahead: i32, bytes: i32, outside: BlockId) {
        let upto = ahead + bytes;
        if env.checked.iter().any(|(checked, to)| *checked == pointer && *to >= upto) {
            return;
        }
        let behind = self.b.advance(pointer, Arg::Number(upto as u64));
        self.b.unless(Cmp::Le, Arg::Value(behind), Arg::Value(env.end), outside);
        env.checked.push((pointer, upto));
    }

    /// What must hold of a header. What holds of integers is known behind.
    fn valid(&mut self, env: &mut Env<'p>, valid: &Expr, own: Own<'_>, span: Span, malformed: BlockId) -> Lowering<()> {
        match valid {
            Expr::Const(1, Scalar::Bool) => Ok(()),
            Expr::Binary(BinaryOp::And, a, b) if self.ty(env, a, Some(own)) == Scalar::Bool => {
                self.valid(env, a, own, span, malformed)?;
                self.valid(env, b, own, span, malformed)
            }
            Expr::Binary(BinaryOp::Le, a, b) => {
                let ty = self.ty(env, a, Some(own));
                let small = matches!(ty, Scalar::Int) || matches!(ty, Scalar::Bits(width) if width <= 32);
                if !small {
                    return self.demand(env, valid, own, span, malformed);
                }
                let (a, b) = if ty == Scalar::Int {
                    (self.integer(env, a, Some(own), span)?, self.integer(env, b, Some(own), span)?)
                } else {
                    let (a, b) = (self.value(env, a, Some(own), span)?, self.value(env, b, Some(own), span)?);
                    (Linear::word(a).unwrap_or_default(), Linear::word(b).unwrap_or_default())
                };
                self.unless_negative(env, &b.plus(&a, -1), malformed);
                Ok(())
            }
            _ => self.demand(env, valid, own, span, malformed),
        }
    }

    fn demand(&mut self, env: &mut Env<'p>, cond: &Expr, own: Own<'_>, span: Span, malformed: BlockId) -> Lowering<()> {
        let then = self.b.block();
        self.cond(env, cond, Some(own), span, then, malformed)?;
        self.b.enter(then);
        Ok(())
    }

    /// A field's number. Bytes that were read are not read again until the packet changes.
    pub(super) fn read_field(&mut self, env: &mut Env<'p>, pointer: Value, ahead: i32, field: &Field) -> Arg {
        let first = i64::from(ahead) * 8 + i64::from(field.offset);
        let known = env.reads.iter().find(|(p, at, width, _)| (*p, *at, *width) == (pointer, first, field.width));
        if let Some((.., value)) = known {
            return *value;
        }
        let last = first + i64::from(field.width) - 1;
        let (from, to, behind) = ((first / 8) as i16, (last / 8) as i16, (7 - last % 8) as u8);
        let count = (to - from + 1) as u8;
        let value = if count <= 8 {
            // One read of 8 bytes is better than several, if they were all compared with the packet's end.
            let upto = env.checked.iter().filter(|(p, _)| *p == pointer).map(|(_, upto)| *upto).max().unwrap_or(0);
            let more = i16::from(8 - count);
            let (from, count, behind) = match pieces(count).len() {
                1 => (from, count, behind),
                _ if i32::from(to + more) < upto => (from, 8, behind + more as u8 * 8),
                _ if from >= more => (from - more, 8, behind),
                _ => (from, count, behind),
            };
            let bytes = self.read_bytes(pointer, from, count);
            let shifted = self.b.bin(Bin::Shr, bytes, Arg::Number(behind.into()));
            self.b.low(shifted, field.width)
        } else {
            // Nine bytes hold the field; the first of them has fewer than 8 bits of it.
            let front = self.read_bytes(pointer, from, 8);
            let front = self.b.bin(Bin::Shl, front, Arg::Number(u64::from(8 - behind)));
            let rest = self.read_bytes(pointer, to, 1);
            let rest = self.b.bin(Bin::Shr, rest, Arg::Number(behind.into()));
            let whole = self.b.bin(Bin::Or, front, rest);
            self.b.low(whole, field.width)
        };
        env.reads.push((pointer, first, field.width, value));
        value
    }

    /// The number that fields make which lie one behind the other; each is known from it.
    pub(super) fn read_side_by_side(&mut self, env: &mut Env<'p>, pointer: Value, ahead: i32, fields: &[&Field]) -> Arg {
        let Some((first, rest)) = fields.split_first() else { return Arg::Number(0) };
        let mut whole = (*first).clone();
        whole.width += rest.iter().map(|field| field.width).sum::<u8>();
        let bits = self.read_field(env, pointer, ahead, &whole);
        let end = whole.offset + u32::from(whole.width);
        for field in fields {
            let behind = end - field.offset - u32::from(field.width);
            let value = self.b.bin(Bin::Shr, bits, Arg::Number(behind.into()));
            let value = self.b.low(value, field.width);
            env.reads.push((pointer, i64::from(ahead) * 8 + i64::from(field.offset), field.width, value));
        }
        bits
    }

    /// The number that 1 to 8 bytes are, in network order.
    pub(super) fn read_bytes(&mut self, pointer: Value, from: i16, count: u8) -> Arg {
        let mut value = Arg::Number(0);
        for (at, bytes) in pieces(count) {
            let piece = self.b.load(Arg::Value(pointer), from + i16::from(at), bytes);
            let piece = if bytes > 1 { self.b.swap(bytes * 8, piece) } else { piece };
            let high = self.b.bin(Bin::Shl, value, Arg::Number(u64::from(bytes % 8) * 8));
            value = self.b.bin(Bin::Or, piece, high);
        }
        value
    }

    /// Writes a number as 1 to 8 bytes in network order.
    pub(super) fn write_bytes(&mut self, base: Arg, from: i16, count: u8, value: Arg) {
        if let [(first, more), (at, bytes)] = pieces(count)[..]
            && first == 0
            && value.number().is_none()
        {
            // Turned at once, what is first is lowest.
            let above = self.b.bin(Bin::Shl, value, Arg::Number(64 - u64::from(count) * 8));
            let turned = self.b.swap(64, above);
            self.b.store(base, from, more, turned);
            let rest = self.b.bin(Bin::Shr, turned, Arg::Number(u64::from(more) * 8));
            return self.b.store(base, from + i16::from(at), bytes, rest);
        }
        for (at, bytes) in pieces(count) {
            let behind = u64::from(count - at - bytes) * 8;
            let piece = self.b.bin(Bin::Shr, value, Arg::Number(behind));
            let piece = if bytes > 1 { self.b.swap(bytes * 8, piece) } else { piece };
            self.b.store(base, from + i16::from(at), bytes, piece);
        }
    }

    /// Writes a field.
    pub(super) fn set_field(
        &mut self,
        env: &mut Env<'p>,
        handle: HandleId,
        field: FieldId,
        value: Arg,
        span: Span,
    ) -> Lowering<()> {
        if env.kept {
            return Err(self.refuse(Code::TargetPacket, span, "a change of a packet of which another copy is sent".to_string()));
        }
        let id = env.frame().body.handles[handle.index()].header;
        let header = &self.program.headers[id.index()];
        let place = self.found(env, handle, span)?.clone();
        let field = &header.fields[field.index()];
        env.moved |= self.structural(header, field);
        self.write_field(env, &place, field, value, span)
    }

    /// Writes a field of a header at a place.
    pub(super) fn write_field(
        &mut self,
        env: &mut Env<'p>,
        place: &Place,
        field: &Field,
        value: Arg,
        span: Span,
    ) -> Lowering<()> {
        let first = i64::from(place.ahead) * 8 + i64::from(field.offset);
        let last = first + i64::from(field.width) - 1;
        let (from, to, behind) = ((first / 8) as i16, (last / 8) as i16, (7 - last % 8) as u8);
        let count = (to - from + 1) as u8;
        if count > 8 {
            return Err(self.refuse(Code::TargetOperation, span, "writing a field that nine bytes hold".to_string()));
        }
        let whole = if u32::from(field.width) == u32::from(count) * 8 {
            value
        } else {
            let ones = mask(field.width) << behind;
            let old = self.read_bytes(place.pointer, from, count);
            let kept = self.b.bin(Bin::And, old, Arg::Number(!ones & mask(count * 8)));
            let new = self.b.bin(Bin::Shl, value, Arg::Number(behind.into()));
            self.b.bin(Bin::Or, kept, new)
        };
        self.write_bytes(Arg::Value(place.pointer), from, count, whole);
        // Other pointers may lead to the same bytes.
        env.reads.retain(|(pointer, at, width, _)| {
            *pointer == place.pointer && (*at > i64::from(to) * 8 + 7 || at + i64::from(*width) <= i64::from(from) * 8)
        });
        env.reads.push((place.pointer, first, field.width, value));
        Ok(())
    }

    /// Whether the length, the body or the validity of a header depends on a field.
    fn structural(&self, header: &Header, field: &Field) -> bool {
        fn mentions(expr: &Expr, header: &Header, field: &Field) -> bool {
            match expr {
                Expr::Own(id) => header.fields.get(id.index()).is_some_and(|own| own.offset == field.offset),
                Expr::Unary(_, a) | Expr::Convert(a, _) => mentions(a, header, field),
                Expr::Binary(_, a, b) => mentions(a, header, field) || mentions(b, header, field),
                Expr::Select(a, b, c) => [a, b, c].into_iter().any(|e| mentions(e, header, field)),
                Expr::Hash(_, args) => args.iter().any(|e| mentions(e, header, field)),
                _ => false,
            }
        }
        let parts = header.body.iter().chain(header.variable.iter().map(|(_, e)| e)).chain([&header.valid]);
        parts.into_iter().any(|expr| mentions(expr, header, field))
    }

    /// Updates a checksum: `~(~HC + sum(~m + m'))`.
    pub(super) fn update_checksum(
        &mut self,
        env: &mut Env<'p>,
        handle: HandleId,
        field: FieldId,
        optional: bool,
        changes: &[&Change],
        span: Span,
    ) -> Lowering<()> {
        let old = self.eval(env, &Expr::Field(handle, field), span)?;
        // Numbers of 32 bits come first: what addresses add to the checksums of several headers is computed once.
        let mut changes = changes.to_vec();
        changes.sort_by_key(|change| std::cmp::Reverse(change.width));
        // A sum of words with their bytes turned is the sum with its bytes turned (RFC 1071, section 2): what is whole words is added as it is in
        // the packet.
        let whole = |change: &&Change| matches!((change.width, change.shift % 16), (32 | 16 | 8, 0) | (8, 8));
        let turned = changes.iter().all(whole);
        // What is taken away is less than the multiple of 65,535 that is added.
        let (mut sum, mut more) = (Arg::Number(0), 0xffff);
        for change in &changes {
            self.width(Scalar::Bits(change.width), span)?;
            let (before, after) = (self.eval(env, &change.old, span)?, self.eval(env, &change.new, span)?);
            // A number of 32 bits is as good as its two words: both leave the same rest of 65,535.
            let words = match (change.width, change.shift % 16) {
                (32, 0) => mask(32),
                (width, shift) => (u64::from(width) + u64::from(shift)).div_ceil(16).max(1) * 0xffff,
            };
            more += words;
            let [before, after] = [before, after].map(|number| match (turned, change.width, change.shift % 16) {
                (true, 8, 0) => self.b.bin(Bin::Shl, number, Arg::Number(8)),
                (true, 8, _) => number,
                (true, width, _) => self.b.swap(width, number),
                (false, 16 | 32, 0) => number,
                (false, width, shift) => self.words(number, width, shift),
            });
            let difference = self.b.bin(Bin::Sub, after, before);
            sum = self.b.bin(Bin::Add, sum, difference);
        }
        let known = if turned { self.b.swap(16, old) } else { old };
        let complement = self.b.bin(Bin::Sub, Arg::Number(more), known);
        sum = self.b.bin(Bin::Add, sum, complement);
        let wide = changes.iter().any(|change| change.width == 32);
        let sum = fold(&mut self.b, sum, wide);
        let new = self.b.bin(Bin::Xor, sum, Arg::Number(0xffff));
        let new = if turned { self.b.swap(16, new) } else { self.b.low(new, 16) };
        let new = if optional {
            let sent = self.pick(Cmp::Eq, new, Arg::Number(0), Arg::Number(0xffff), new, 16);
            self.pick(Cmp::Eq, old, Arg::Number(0), Arg::Number(0), sent, 16)
        } else {
            new
        };
        self.set_field(env, handle, field, new, span)
    }

    /// The sum of the 16-bit words of a number with `shift` zero bits behind it.
    fn words(&mut self, value: Arg, width: u8, shift: u8) -> Arg {
        let shift = shift % 16;
        let first = self.b.bin(Bin::Shl, value, Arg::Number(shift.into()));
        let mut sum = self.b.low(first, 16);
        let mut left = i32::from(width) - (16 - i32::from(shift));
        let mut at = 16 - shift;
        while left > 0 {
            let word = self.b.bin(Bin::Shr, value, Arg::Number(at.into()));
            let word = self.b.low(word, 16);
            sum = self.b.bin(Bin::Add, sum, word);
            (at, left) = (at + 16, left - 16);
        }
        sum
    }

    /// Whether the checksum of a header over itself is right: all its words, the checksum among them, add up to 0xffff.
    ///
    /// Words of 32 bits as the machine reads them add up to the same, but for the order of the two bytes of the result, which does
    /// not matter for this question (RFC 1071, section 2).
    pub(super) fn verify_checksums(&mut self, env: &mut Env<'p>, handle: HandleId, span: Span) -> Lowering<Arg> {
        let header = &self.program.headers[env.frame().body.handles[handle.index()].header.index()];
        let [checksum] = header.checksums.as_slice() else {
            return Err(self.refuse(Code::TargetOperation, span, "several checksums of a header".to_string()));
        };
        if checksum.body || !checksum.pseudo.is_empty() {
            return Err(self.refuse(Code::TargetOperation, span, "a checksum over more than its header".to_string()));
        }
        let place = self.found(env, handle, span)?.clone();
        let (base, fixed) = (Arg::Value(place.pointer), header.fixed as i32);
        // The checksum's own word is taken out and put back: both together are 0xffff, and a sum of zero becomes that.
        let mut sum = Arg::Number(0xffff);
        let mut at = 0;
        while at < fixed {
            let bytes = [4, 2, 1].into_iter().find(|bytes| at + i32::from(*bytes) <= fixed).unwrap_or(1);
            let word = self.b.load(base, (place.ahead + at) as i16, bytes);
            sum = self.b.bin(Bin::Add, sum, word);
            at += i32::from(bytes);
        }
        let variable = place.length.plus(&Linear::number(fixed.into()), -1);
        if variable.constant() != Some(0) {
            let (step, most) = (variable.step(), variable.most(&self.b));
            if step % 2 != 0 || most / (step.max(1) as i64) > 32 || fixed % 2 != 0 {
                return Err(self.refuse(Code::TargetOperation, span, "a checksum over a header without bounds".to_string()));
            }
            let bytes = if step % 4 == 0 { 4 } else { 2 };
            let first = self.b.advance(place.pointer, Arg::Number((place.ahead + fixed) as u64));
            sum = self.add_words(sum, first, env.end, bytes, &variable);
        }
        let sum = fold(&mut self.b, sum, true);
        let sum = self.b.low(sum, 16);
        let valid = self.pick(Cmp::Eq, sum, Arg::Number(0xffff), Arg::Number(1), Arg::Number(0), 1);
        if checksum.optional {
            let own = self.eval(env, &Expr::Field(handle, checksum.field), span)?;
            return Ok(self.pick(Cmp::Eq, own, Arg::Number(0), Arg::Number(1), valid, 1));
        }
        Ok(valid)
    }

    /// Adds the words of so many bytes each that are behind a place, as many as there are in a length.
    ///
    /// Headers seldom have any. Where they have none is gone on first by the kernel's verifier, too, and what is good without them is good with them.
    fn add_words(&mut self, sum: Arg, first: Value, end: Value, bytes: u8, length: &Linear) -> Arg {
        let (left, least) = length.count(&mut self.b, bytes.into());
        let (more, next, again, done) = (self.b.rare(), self.b.rare(), self.b.rare(), self.b.block());
        let total = self.b.param(done, Type::Word, 64);
        let so_far = Arg::Value(self.b.param(more, Type::Word, 64));
        let at = self.b.param(more, Type::Packet, 64);
        let left_here = Arg::Value(self.b.param(more, Type::Word, 64));
        let stop = |lower: &mut Self, sum: Arg| {
            let (here, stop) = (lower.b.here(), lower.b.block());
            lower.b.enter(stop);
            lower.b.jump(done, vec![sum]);
            lower.b.enter(here);
            stop
        };
        let (enter, none) = (self.b.rare(), stop(self, sum));
        self.b.branch(Cmp::Ge, left, least, enter, none);
        self.b.enter(enter);
        self.b.jump(more, vec![sum, Arg::Value(first), left]);
        self.b.enter(more);
        let behind = Arg::Value(self.b.advance(at, Arg::Number(bytes.into())));
        let short = stop(self, so_far);
        self.b.branch(Cmp::Le, behind, Arg::Value(end), next, short);
        self.b.enter(next);
        let word = self.b.load(Arg::Value(at), 0, bytes);
        let with = self.b.bin(Bin::Add, so_far, word);
        let left = self.b.bin(Bin::Sub, left_here, Arg::Number(1));
        let all = stop(self, with);
        self.b.branch(Cmp::Ge, left, least, again, all);
        self.b.enter(again);
        self.b.jump(more, vec![with, behind, left]);
        self.b.enter(done);
        Arg::Value(total)
    }
}

/// How so many bytes are read or written: at which offset how many at once.
pub(super) fn pieces(count: u8) -> Vec<(u8, u8)> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < count {
        let bytes = [8, 4, 2, 1].into_iter().find(|bytes| at + bytes <= count).unwrap_or(1);
        pieces.push((at, bytes));
        at += bytes;
    }
    pieces
}

/// The 16-bit words of a number, each carry added again, in the low 16 bits of the result. Numbers that are not `wide` have 32 bits, others not many more.
fn fold(b: &mut Builder, mut sum: Arg, wide: bool) -> Arg {
    if wide {
        // 2^32 leaves the rest 1. What is left has 32 bits, or is little more than 2^32.
        let low = b.low(sum, 32);
        let high = b.bin(Bin::Shr, sum, Arg::Number(32));
        sum = b.bin(Bin::Add, low, high);
    }
    // The word at bit 32 of the product is the sum of both words, and of the carry of that sum, which comes from the word below.
    let product = b.bin(Bin::Mul, sum, Arg::Number(0x1_0001_0001));
    b.bin(Bin::Shr, product, Arg::Number(32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use grv_lang::span::Span;

    #[test]
    fn a_sum_is_folded_as_by_adding_each_carry() {
        let mut b = Builder::new(Span::default(), &[]);
        let mut check = |sum: u64, wide: bool| {
            let mut expected = sum;
            while expected > 0xffff {
                expected = (expected & 0xffff) + (expected >> 16);
            }
            let folded = fold(&mut b, Arg::Number(sum), wide).number().unwrap() & 0xffff;
            assert_eq!(folded, expected, "{sum:#x}");
        };
        let edges = [0, 1, 2, 0x7fff, 0x8000, 0xfffe, 0xffff];
        for high in edges {
            for low in edges {
                let sum = high << 16 | low;
                check(sum, false);
                (0..300).for_each(|more| check(more << 32 | sum, true));
            }
        }
        let mut random = 1_u64;
        for _ in 0..10_000 {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            check(random >> 32, false);
            check(random >> 24, true);
        }
    }
}
