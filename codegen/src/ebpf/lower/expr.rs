//! Expressions. They change nothing, so what decides nothing is not computed; a condition is a way through blocks.

use super::super::lir::{Arg, Bin, BlockId, Cmp, Type, mask};
use super::env::Env;
use super::linear::Linear;
use super::{Lower, Lowering, rows};
use grv_lang::diagnostics::Code;
use grv_lang::ir::{BinaryOp, Expr, Field, FieldId, HandleId, Header, Scalar, UnaryOp};
use grv_lang::span::Span;

/// Where the fields of a header's own declaration are read.
#[derive(Clone, Copy)]
pub(super) struct Own<'h> {
    pub(super) header: &'h Header,
    pub(super) pointer: super::super::lir::Value,
    pub(super) ahead: i32,
}

/// Bits of a header that are asked for at once.
const MOST_AT_ONCE: u32 = 32;

impl<'p> Lower<'p> {
    /// The width of a type in bits; refused if it is wider than a register.
    pub(super) fn width(&self, ty: Scalar, span: Span) -> Lowering<u8> {
        match ty {
            Scalar::Bool => Ok(1),
            Scalar::Bits(width) if width <= 64 => Ok(width),
            Scalar::Bits(width) => Err(self.refuse(Code::TargetWidth, span, format!("a value of {width} bits"))),
            Scalar::Int => Err(self.refuse(Code::TargetWidth, span, "an integer without bounds".to_string())),
        }
    }

    /// A field of a header.
    fn field(&self, env: &Env<'p>, handle: HandleId, field: FieldId) -> Option<&'p Field> {
        let header = env.frame().body.handles.get(handle.index())?.header;
        self.program.headers.get(header.index())?.fields.get(field.index())
    }

    /// The type of an expression.
    pub(super) fn ty(&self, env: &Env<'p>, expr: &Expr, own: Option<Own<'_>>) -> Scalar {
        let body = env.frame().body;
        match expr {
            Expr::Const(_, ty) | Expr::Convert(_, ty) => *ty,
            Expr::Local(id) => body.locals.get(id.index()).map_or(Scalar::Bool, |local| local.ty),
            Expr::Param(id, column) => {
                let param = self.program.params.get(id.index());
                param.and_then(|p| p.columns.get(*column as usize)).map_or(Scalar::Bool, |c| c.ty)
            }
            Expr::Field(handle, field) => self.field(env, *handle, *field).map_or(Scalar::Bool, |f| Scalar::Bits(f.width)),
            Expr::Own(field) => {
                let field = own.and_then(|own| own.header.fields.get(field.index()));
                field.map_or(Scalar::Bool, |f| Scalar::Bits(f.width))
            }
            Expr::HeaderLength(_) | Expr::PacketLength(_) => Scalar::Bits(16),
            Expr::Now => Scalar::Bits(64),
            Expr::Unary(UnaryOp::Not, _) => Scalar::Bool,
            Expr::Unary(UnaryOp::Complement, a) => self.ty(env, a, own),
            Expr::Binary(op, a, _) => {
                if op.compares() {
                    Scalar::Bool
                } else {
                    self.ty(env, a, own)
                }
            }
            Expr::Select(_, a, _) => self.ty(env, a, own),
            Expr::Hash(id, _) => self.program.hashes.get(id.index()).map_or(Scalar::Bool, |h| Scalar::Bits(h.width)),
        }
    }

    /// The value of an expression.
    pub(super) fn eval(&mut self, env: &mut Env<'p>, expr: &Expr, span: Span) -> Lowering<Arg> {
        self.value(env, expr, None, span)
    }

    pub(super) fn value(&mut self, env: &mut Env<'p>, expr: &Expr, own: Option<Own<'_>>, span: Span) -> Lowering<Arg> {
        if let Some((_, given)) = self.given.iter().find(|(of, _)| of == expr) {
            return Ok(*given);
        }
        let width = self.width(self.ty(env, expr, own), span)?;
        match expr {
            Expr::Const(value, _) => Ok(Arg::Number(*value as u64)),
            Expr::Local(id) => match env.frame().locals.get(id.index()).copied().flatten() {
                Some(arg) => Ok(arg),
                None => Err(self.broken(span, "a variable is read before it is assigned")),
            },
            Expr::Param(id, column) => self.param(*id, *column, span),
            Expr::Field(handle, field) => {
                let header = &self.program.headers[env.frame().body.handles[handle.index()].header.index()];
                let place = self.found(env, *handle, span)?;
                Ok(self.read_field(env, place.pointer, place.ahead, &header.fields[field.index()]))
            }
            Expr::Own(field) => match own {
                Some(own) => Ok(self.read_field(env, own.pointer, own.ahead, &own.header.fields[field.index()])),
                None => Err(self.broken(span, "a header's own field outside its declaration")),
            },
            Expr::HeaderLength(handle) => {
                let length = self.found(env, *handle, span)?.length.clone();
                Ok(length.value(&mut self.b))
            }
            Expr::PacketLength(_) => Ok(self.frame_length(env)),
            Expr::Now => Ok(self.now(env)),
            Expr::Unary(UnaryOp::Complement, a) if width > 1 || self.ty(env, a, own) != Scalar::Bool => {
                let a = self.value(env, a, own, span)?;
                Ok(self.b.bin(Bin::Xor, a, Arg::Number(mask(width))))
            }
            Expr::Unary(_, a) => {
                let a = self.value(env, a, own, span)?;
                Ok(self.b.bin(Bin::Xor, a, Arg::Number(1)))
            }
            Expr::Binary(op, a, b) if op.compares() || self.ty(env, a, own) == Scalar::Bool => {
                match self.bit(env, *op, a, b, own, span)? {
                    Some(bit) => Ok(bit),
                    None => self.boolean(env, expr, own, span),
                }
            }
            Expr::Binary(op, a, b) => {
                if let Some((bits, length)) = rows::prefix_mask(expr) {
                    let length = self.value(env, length, own, span)?.value();
                    if let Some((_, mask)) = length.and_then(|length| self.masks.get(&length)).filter(|(of, _)| *of == bits) {
                        return Ok(*mask);
                    }
                }
                self.binary(env, *op, a, b, width, own, span)
            }
            Expr::Convert(a, _) => {
                if self.ty(env, a, own) == Scalar::Int {
                    let sum = self.integer(env, a, own, span)?;
                    // Negative numbers are taken modulo 2^64, and then modulo 2^width.
                    let value = sum.value(&mut self.b);
                    return Ok(self.b.low(value, width));
                }
                let a = self.value(env, a, own, span)?;
                Ok(self.b.low(a, width))
            }
            Expr::Select(cond, a, b) => {
                self.fix_time(env, &[cond, a, b]);
                let (then, other, done) = (self.b.block(), self.b.block(), self.b.block());
                self.cond(env, cond, own, span, then, other)?;
                let result = self.b.param(done, Type::Word, width);
                for (block, expr) in [(then, a), (other, b)] {
                    self.b.enter(block);
                    let value = self.value(&mut env.clone(), expr, own, span)?;
                    self.b.jump(done, vec![value]);
                }
                self.b.enter(done);
                Ok(Arg::Value(result))
            }
            Expr::Hash(id, args) => {
                let (mut words, mut widths) = (Vec::new(), Vec::new());
                for arg in args {
                    widths.push(self.width(self.ty(env, arg, own), span)?);
                    words.push(self.value(env, arg, own, span)?);
                }
                self.hash(*id, &words, &widths, span)
            }
        }
    }

    /// Arithmetic on bits.
    #[allow(clippy::too_many_arguments, reason = "an operator, its operands, and where they are")]
    fn binary(
        &mut self,
        env: &mut Env<'p>,
        op: BinaryOp,
        a: &Expr,
        b: &Expr,
        width: u8,
        own: Option<Own<'_>>,
        span: Span,
    ) -> Lowering<Arg> {
        let (a, b) = (self.value(env, a, own, span)?, self.value(env, b, own, span)?);
        let most = Arg::Number(mask(width));
        // Of 32 bits the machine has its own, whose upper bits are zero.
        let modulo = |lower: &mut Self, op: Bin| {
            if width == 32 {
                return lower.b.bin32(op, a, b);
            }
            let result = lower.b.bin(op, a, b);
            lower.b.low(result, width)
        };
        Ok(match op {
            BinaryOp::Add if self.b.bits(a).max(self.b.bits(b)) < width => self.b.bin(Bin::Add, a, b),
            BinaryOp::Add => modulo(self, Bin::Add),
            BinaryOp::Sub => modulo(self, Bin::Sub),
            BinaryOp::Mul => modulo(self, Bin::Mul),
            BinaryOp::Div => self.b.bin(Bin::Div, a, b),
            BinaryOp::Rem => self.b.bin(Bin::Rem, a, b),
            BinaryOp::And => self.b.bin(Bin::And, a, b),
            BinaryOp::Or => self.b.bin(Bin::Or, a, b),
            BinaryOp::Xor => self.b.bin(Bin::Xor, a, b),
            BinaryOp::SatAdd => {
                let sum = self.b.bin(Bin::Add, a, b);
                let (cmp, bound) = if width == 64 { (Cmp::Lt, a) } else { (Cmp::Gt, most) };
                self.pick(cmp, sum, bound, most, sum, width)
            }
            BinaryOp::SatSub => {
                let difference = self.b.bin(Bin::Sub, a, b);
                // It is no more than the first.
                let width = width.min(self.b.bits(a));
                self.pick(Cmp::Lt, a, b, Arg::Number(0), difference, width)
            }
            BinaryOp::Shl | BinaryOp::Shr => {
                let bin = if op == BinaryOp::Shl { Bin::Shl } else { Bin::Shr };
                match b.number() {
                    Some(by) if by >= u64::from(width) => Arg::Number(0),
                    Some(_) => {
                        let shifted = self.b.bin(bin, a, b);
                        self.b.low(shifted, width)
                    }
                    None => {
                        // The machine looks at the low 6 bits of the distance only.
                        let shifted = self.b.bin(bin, a, b);
                        let shifted = self.b.low(shifted, width);
                        if self.b.bits(b) <= 6 {
                            // What is moved further than the width has no bits left there.
                            return Ok(shifted);
                        }
                        self.pick(Cmp::Ge, b, Arg::Number(width.into()), Arg::Number(0), shifted, width)
                    }
                }
            }
            BinaryOp::Eq
            | BinaryOp::Ne
            | BinaryOp::Lt
            | BinaryOp::Le
            | BinaryOp::AddOverflows
            | BinaryOp::SubOverflows
            | BinaryOp::MulOverflows => return Err(self.broken(span, "a comparison among arithmetic")),
        })
    }

    /// One of two words, by a comparison.
    pub(super) fn pick(&mut self, cmp: Cmp, a: Arg, b: Arg, then: Arg, other: Arg, width: u8) -> Arg {
        if let (Some(a), Some(b)) = (a.number(), b.number()) {
            return if cmp.holds(a, b) { then } else { other };
        }
        if then == other {
            return then;
        }
        // The greater or the less one is one of them as it is, or the other: that takes one branch.
        let one_of_both = (then, other) == (a, b) || (then, other) == (b, a);
        if !one_of_both && self.b.bits(a).max(self.b.bits(b)) < 64 && matches!(cmp, Cmp::Lt | Cmp::Gt | Cmp::Le | Cmp::Ge) {
            // Ones where the first is less, as wide as a register; then no ways part, which the kernel would have to follow.
            let (less, greater) = if matches!(cmp, Cmp::Lt | Cmp::Ge) { (a, b) } else { (b, a) };
            let (then, other) = if matches!(cmp, Cmp::Lt | Cmp::Gt) { (then, other) } else { (other, then) };
            let difference = self.b.bin(Bin::Sub, less, greater);
            let bit = self.b.bin(Bin::Shr, difference, Arg::Number(63));
            if then.number() == Some(0) {
                let ones = self.b.bin(Bin::Sub, bit, Arg::Number(1));
                let kept = self.b.bin(Bin::And, other, ones);
                return self.b.low(kept, width);
            }
            let ones = self.b.bin(Bin::Sub, Arg::Number(0), bit);
            let both = self.b.bin(Bin::Xor, then, other);
            let change = self.b.bin(Bin::And, both, ones);
            let picked = self.b.bin(Bin::Xor, other, change);
            return self.b.low(picked, width);
        }
        self.part(cmp, a, b, then, other, width)
    }

    /// The same, on two ways.
    pub(super) fn part(&mut self, cmp: Cmp, a: Arg, b: Arg, then: Arg, other: Arg, width: u8) -> Arg {
        let (yes, no, done) = (self.b.block(), self.b.block(), self.b.block());
        self.b.branch(cmp, a, b, yes, no);
        let result = self.b.param(done, Type::Word, width);
        for (block, value) in [(yes, then), (no, other)] {
            self.b.enter(block);
            self.b.jump(done, vec![value]);
        }
        self.b.enter(done);
        Arg::Value(result)
    }

    /// A condition as a number, without branches: the machine has none that gives a number, but the highest bit of a difference
    /// says which one is less. None: numbers of 64 bits have no bit to spare.
    fn bit(
        &mut self,
        env: &mut Env<'p>,
        op: BinaryOp,
        a: &Expr,
        b: &Expr,
        own: Option<Own<'_>>,
        span: Span,
    ) -> Lowering<Option<Arg>> {
        let ty = self.ty(env, a, own);
        let narrow = matches!(ty, Scalar::Bool) || matches!(ty, Scalar::Bits(width) if width < 64);
        if !narrow || matches!(op, BinaryOp::AddOverflows | BinaryOp::MulOverflows) {
            return Ok(None);
        }
        let (a, b) = (self.value(env, a, own, span)?, self.value(env, b, own, span)?);
        let less = |lower: &mut Self, a: Arg, b: Arg| {
            let difference = lower.b.bin(Bin::Sub, a, b);
            lower.b.bin(Bin::Shr, difference, Arg::Number(63))
        };
        let not = |lower: &mut Self, bit: Arg| lower.b.bin(Bin::Xor, bit, Arg::Number(1));
        Ok(Some(match op {
            BinaryOp::And => self.b.bin(Bin::And, a, b),
            BinaryOp::Or => self.b.bin(Bin::Or, a, b),
            BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Xor => {
                let differs = self.b.bin(Bin::Xor, a, b);
                let equal = op == BinaryOp::Eq;
                let differs = self.b.lone_bit(differs);
                if self.b.bits(differs) <= 1 {
                    if equal { not(self, differs) } else { differs }
                } else if equal {
                    less(self, differs, Arg::Number(1))
                } else {
                    less(self, Arg::Number(0), differs)
                }
            }
            BinaryOp::Lt | BinaryOp::SubOverflows => less(self, a, b),
            _ => {
                let greater = less(self, b, a);
                not(self, greater)
            }
        }))
    }

    /// A condition as a number.
    fn boolean(&mut self, env: &mut Env<'p>, expr: &Expr, own: Option<Own<'_>>, span: Span) -> Lowering<Arg> {
        let (then, other, done) = (self.b.block(), self.b.block(), self.b.block());
        self.cond(env, expr, own, span, then, other)?;
        let result = self.b.param(done, Type::Word, 1);
        for (block, value) in [(then, 1), (other, 0)] {
            self.b.enter(block);
            self.b.jump(done, vec![Arg::Number(value)]);
        }
        self.b.enter(done);
        Ok(Arg::Value(result))
    }

    /// Goes on in `then` if a condition holds and in `other` if not.
    pub(super) fn cond(
        &mut self,
        env: &mut Env<'p>,
        expr: &Expr,
        own: Option<Own<'_>>,
        span: Span,
        then: BlockId,
        other: BlockId,
    ) -> Lowering<()> {
        match expr {
            Expr::Unary(UnaryOp::Not | UnaryOp::Complement, a) => self.cond(env, a, own, span, other, then),
            Expr::Binary(BinaryOp::Or, ..) if let Some((on, set)) = one_of(expr) => {
                let on = self.value(env, on, own, span)?;
                self.b.unless(Cmp::Le, on, Arg::Number(u64::from(set.ilog2())), other);
                let rest = self.b.bin(Bin::Shr, Arg::Number(set), on);
                let bit = self.b.low(rest, 1);
                self.b.branch(Cmp::Ne, bit, Arg::Number(0), then, other);
                Ok(())
            }
            Expr::Binary(BinaryOp::Or, ..)
                if let Some((handle, fields)) = side_by_side(expr, |handle, field| self.field(env, handle, field))
                    && self.given.is_empty() =>
            {
                let (pointer, ahead) = self.found(env, handle, span).map(|place| (place.pointer, place.ahead))?;
                let bits = self.read_side_by_side(env, pointer, ahead, &fields);
                self.b.branch(Cmp::Ne, bits, Arg::Number(0), then, other);
                Ok(())
            }
            Expr::Binary(op @ (BinaryOp::And | BinaryOp::Or), a, b) if self.ty(env, a, own) == Scalar::Bool => {
                // The second side is looked at on one way only: what is read there is not known behind.
                self.fix_time(env, &[a, b]);
                let second = self.b.block();
                let (yes, no) = if *op == BinaryOp::And { (second, other) } else { (then, second) };
                self.cond(env, a, own, span, yes, no)?;
                self.b.enter(second);
                self.cond(&mut env.clone(), b, own, span, then, other)
            }
            Expr::Binary(op, a, b) if op.compares() => self.compare(env, *op, a, b, own, span, then, other),
            _ => {
                let value = self.value(env, expr, own, span)?;
                self.b.branch(Cmp::Ne, value, Arg::Number(0), then, other);
                Ok(())
            }
        }
    }

    #[allow(clippy::too_many_arguments, reason = "an operator, its operands, and where to go")]
    fn compare(
        &mut self,
        env: &mut Env<'p>,
        op: BinaryOp,
        a: &Expr,
        b: &Expr,
        own: Option<Own<'_>>,
        span: Span,
        then: BlockId,
        other: BlockId,
    ) -> Lowering<()> {
        let ty = self.ty(env, a, own);
        if ty == Scalar::Int {
            let difference = self.integer(env, b, own, span)?.plus(&self.integer(env, a, own, span)?, -1);
            let least = match op {
                BinaryOp::Le => difference,
                BinaryOp::Lt => difference.plus(&Linear::number(1), -1),
                _ => return Err(self.refuse(Code::TargetOperation, span, format!("`{op:?}` of integers"))),
            };
            // What holds then is not known where it does not.
            self.unless_negative(&mut env.clone(), &least, other);
            self.b.jump(then, Vec::new());
            return Ok(());
        }
        let width = self.width(ty, span)?;
        let (a, b) = (self.value(env, a, own, span)?, self.value(env, b, own, span)?);
        let most = Arg::Number(mask(width));
        match op {
            BinaryOp::Eq => self.b.branch(Cmp::Eq, a, b, then, other),
            BinaryOp::Ne => self.b.branch(Cmp::Ne, a, b, then, other),
            BinaryOp::Lt | BinaryOp::SubOverflows => self.b.branch(Cmp::Lt, a, b, then, other),
            BinaryOp::Le => self.b.branch(Cmp::Le, a, b, then, other),
            BinaryOp::AddOverflows => {
                let sum = self.b.bin(Bin::Add, a, b);
                let (cmp, bound) = if width == 64 { (Cmp::Lt, a) } else { (Cmp::Gt, most) };
                self.b.branch(cmp, sum, bound, then, other);
            }
            BinaryOp::MulOverflows if self.b.bits(a).saturating_add(self.b.bits(b)) <= 64 => {
                let product = self.b.bin(Bin::Mul, a, b);
                self.b.branch(Cmp::Gt, product, most, then, other);
            }
            BinaryOp::MulOverflows => {
                // a x b > most exactly if b > most / a; of a = 0 the quotient is 0, and so it is asked first.
                let nonzero = self.b.block();
                self.b.branch(Cmp::Eq, a, Arg::Number(0), other, nonzero);
                self.b.enter(nonzero);
                let quotient = self.b.bin(Bin::Div, most, a);
                self.b.branch(Cmp::Gt, b, quotient, then, other);
            }
            _ => return Err(self.broken(span, "an operator that compares nothing")),
        }
        Ok(())
    }

    /// An integer of a header's declaration: sums of fields.
    pub(super) fn integer(&mut self, env: &mut Env<'p>, expr: &Expr, own: Option<Own<'_>>, span: Span) -> Lowering<Linear> {
        let refused = |lower: &Self| Err(lower.refuse(Code::TargetOperation, span, "such a length".to_string()));
        match expr {
            Expr::Const(value, Scalar::Int) => match i32::try_from(*value as i128) {
                Ok(number) => Ok(Linear::number(number.into())),
                Err(_) => refused(self),
            },
            Expr::Convert(a, Scalar::Int) => {
                let word = self.value(env, a, own, span)?;
                match Linear::word(word) {
                    Some(sum) if self.b.bits(word) <= 32 => Ok(sum),
                    _ => refused(self),
                }
            }
            Expr::Binary(op @ (BinaryOp::Add | BinaryOp::Sub), a, b) => {
                let (a, b) = (self.integer(env, a, own, span)?, self.integer(env, b, own, span)?);
                Ok(a.plus(&b, if *op == BinaryOp::Add { 1 } else { -1 }))
            }
            Expr::Binary(BinaryOp::Mul, a, b) => {
                let (a, b) = (self.integer(env, a, own, span)?, self.integer(env, b, own, span)?);
                match (a.constant(), b.constant()) {
                    (_, Some(factor)) if factor.abs() <= 1 << 16 => Ok(a.times(factor)),
                    (Some(factor), _) if factor.abs() <= 1 << 16 => Ok(b.times(factor)),
                    _ => refused(self),
                }
            }
            _ => refused(self),
        }
    }

    /// Goes on in a new block if a sum is not negative; in `other`, if it is. What is known is not asked again.
    pub(super) fn unless_negative(&mut self, env: &mut Env<'p>, sum: &Linear, other: BlockId) {
        let sum = sum.reduced();
        if sum.is_known(&env.facts) {
            return;
        }
        sum.unless_negative(&mut self.b, other);
        env.facts.push(sum);
    }

    /// Reads the clock now, if one of these expressions will: a step has one time.
    fn fix_time(&mut self, env: &mut Env<'p>, exprs: &[&Expr]) {
        if exprs.iter().any(|expr| reads_time(expr)) {
            self.now(env);
        }
    }
}

/// If a condition is that something is one of some small numbers: those, as bits of a word. Two or less are as soon compared.
fn one_of(expr: &Expr) -> Option<(&Expr, u64)> {
    let (mut on, mut set, mut work) = (None, 0_u64, vec![expr]);
    while let Some(expr) = work.pop() {
        match expr {
            Expr::Binary(BinaryOp::Or, a, b) => work.extend([&**a, b]),
            Expr::Binary(BinaryOp::Eq, a, b) => {
                let Expr::Const(number, Scalar::Bits(_)) = **b else { return None };
                let bit = u32::try_from(number).ok().and_then(|number| 1_u64.checked_shl(number))?;
                if on.is_some_and(|on| on != &**a) {
                    return None;
                }
                (on, set) = (Some(&**a), set | bit);
            }
            _ => return None,
        }
    }
    on.map(|on| (on, set)).filter(|(_, set)| set.count_ones() > 2)
}

/// If a condition is that one of several fields is not zero, which lie one behind the other in a header: those.
fn side_by_side<'f>(expr: &Expr, field: impl Fn(HandleId, FieldId) -> Option<&'f Field>) -> Option<(HandleId, Vec<&'f Field>)> {
    let (mut header, mut fields, mut work) = (None, Vec::<&Field>::new(), vec![expr]);
    while let Some(expr) = work.pop() {
        let (asked, number, is_zero) = match expr {
            Expr::Binary(BinaryOp::Or, a, b) => {
                work.extend([&**b, a]);
                continue;
            }
            Expr::Binary(BinaryOp::Eq, a, b) => (a, b, false),
            Expr::Binary(BinaryOp::Ne, a, b) => (a, b, true),
            Expr::Unary(UnaryOp::Not, not) => match &**not {
                Expr::Binary(BinaryOp::Eq, a, b) => (a, b, true),
                _ => return None,
            },
            _ => return None,
        };
        let (Expr::Field(handle, id), Expr::Const(number, _)) = (&**asked, &**number) else { return None };
        let next = field(*handle, *id)?;
        // One bit that is 1 is not 0.
        let not_zero = if is_zero { *number == 0 } else { *number == 1 && next.width == 1 };
        let behind = fields.last().is_none_or(|before| before.offset + u32::from(before.width) == next.offset);
        if !not_zero || !behind || header.is_some_and(|header| header != *handle) {
            return None;
        }
        header = Some(*handle);
        fields.push(next);
    }
    let bits: u32 = fields.iter().map(|field| u32::from(field.width)).sum();
    header.filter(|_| bits <= MOST_AT_ONCE).map(|header| (header, fields))
}

/// Whether an expression depends on the time.
pub(super) fn reads_time(expr: &Expr) -> bool {
    match expr {
        Expr::Now => true,
        Expr::Unary(_, a) | Expr::Convert(a, _) => reads_time(a),
        Expr::Binary(_, a, b) => reads_time(a) || reads_time(b),
        Expr::Select(a, b, c) => reads_time(a) || reads_time(b) || reads_time(c),
        Expr::Hash(_, args) => args.iter().any(reads_time),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grv_lang::ir::{LocalId, Show};

    #[test]
    fn fields_side_by_side_are_asked_for_at_once() {
        let field = |offset: u32, width: u8| Field { name: String::new(), width, offset, show: Show::Hex };
        let fields = [field(48, 1), field(49, 1), field(50, 1), field(51, 13), field(64, 8)];
        let is = |handle: u32, field: u32, number: u128| {
            let sides = (Expr::Field(HandleId(handle), FieldId(field)), Expr::Const(number, Scalar::Bits(8)));
            Expr::Binary(BinaryOp::Eq, Box::new(sides.0), Box::new(sides.1))
        };
        let not = |expr: Expr| Expr::Unary(UnaryOp::Not, Box::new(expr));
        let any = |a: Expr, b: Expr| Expr::Binary(BinaryOp::Or, Box::new(a), Box::new(b));
        let found = |expr: &Expr| {
            let found = side_by_side(expr, |_, id| fields.get(id.index()));
            found.map(|(handle, fields)| (handle.0, fields.iter().map(|field| field.offset).collect::<Vec<_>>()))
        };
        let (more, offset) = (is(0, 2, 1), not(is(0, 3, 0)));
        assert_eq!(found(&any(more.clone(), offset.clone())), Some((0, vec![50, 51])));
        assert_eq!(found(&any(not(is(0, 1, 0)), any(more.clone(), offset.clone()))), Some((0, vec![49, 50, 51])));
        // In another order, with a gap, of another header, other numbers.
        let others = [
            any(offset.clone(), more.clone()),
            any(more.clone(), not(is(0, 4, 0))),
            any(is(1, 2, 1), offset.clone()),
            any(is(0, 2, 0), offset),
            any(more, is(0, 3, 1)),
        ];
        assert_eq!(others.map(|expr| found(&expr)), [const { None }; 5]);
    }

    #[test]
    fn one_of_few_small_numbers_is_found() {
        let is = |local: u32, number: u128| {
            let sides = (Expr::Local(LocalId(local)), Expr::Const(number, Scalar::Bits(8)));
            Expr::Binary(BinaryOp::Eq, Box::new(sides.0), Box::new(sides.1))
        };
        let any = |all: &[(u32, u128)]| {
            let mut all = all.iter().map(|(local, number)| is(*local, *number));
            let first = all.next().unwrap();
            all.fold(first, |a, b| Expr::Binary(BinaryOp::Or, Box::new(a), Box::new(b)))
        };
        let set = |all: &[(u32, u128)]| one_of(&any(all)).map(|(_, set)| set);
        assert_eq!(set(&[(1, 3), (1, 4), (1, 11), (1, 12)]), Some(0x1818));
        assert_eq!(set(&[(1, 0), (1, 63), (1, 5)]), Some(1 << 63 | 1 << 5 | 1));
        // Too few, of different things, too great.
        assert_eq!([set(&[(1, 3), (1, 4), (1, 3)]), set(&[(1, 3), (2, 4), (1, 5)]), set(&[(1, 3), (1, 4), (1, 64)])], [None; 3]);
    }
}
