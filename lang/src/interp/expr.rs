//! Pure expressions. Evaluating one reads variables, headers, parameters and the time; it changes nothing.

use super::config::Config;
use super::hash;
use super::packet::{self, Place};
use super::value::{Fault, Value, binary, convert, unary};
use crate::ir::{Body, Expr, FieldId, HandleId, Header, PacketId, Program, Scalar};

/// What the expressions of a body can see.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) config: &'a Config,
    pub(crate) body: &'a Body,
    pub(crate) locals: &'a [u128],
    pub(crate) places: &'a [Place],
    pub(crate) packets: &'a [Vec<u8>],
    pub(crate) now: u64,
}

impl Scope<'_> {
    /// The value of an expression.
    pub(crate) fn eval(&self, expr: &Expr) -> Result<Value, Fault> {
        Ok(match expr {
            Expr::Const(bits, ty) => Value { bits: *bits, ty: *ty },
            Expr::Local(id) => {
                let (Some(bits), Some(local)) = (self.locals.get(id.index()), self.body.locals.get(id.index())) else {
                    return Err(Fault::Malformed("a variable that is not declared"));
                };
                Value { bits: *bits, ty: local.ty }
            }
            Expr::Param(id, column) => {
                let values = self.config.params.get(id.index());
                let param = self.config.program.params.get(id.index());
                let column = *column as usize;
                match (values.and_then(|v| v.get(column)), param.and_then(|p| p.columns.get(column))) {
                    (Some(bits), Some(column)) => Value { bits: *bits, ty: column.ty },
                    _ => return Err(Fault::Malformed("a parameter that is not declared")),
                }
            }
            Expr::Field(handle, field) => self.field(*handle, *field)?,
            Expr::Own(_) => return Err(Fault::Malformed("a header's own field outside its declaration")),
            Expr::HeaderLength(handle) => Value::bits(self.place(*handle)?.length.into(), 16),
            Expr::PacketLength(packet) => Value::bits(self.packet(*packet)?.len() as u128, 16),
            Expr::Now => Value::bits(self.now.into(), 64),
            Expr::Unary(op, value) => unary(*op, self.eval(value)?),
            Expr::Binary(op, left, right) => binary(*op, self.eval(left)?, self.eval(right)?)?,
            Expr::Convert(value, to) => convert(self.eval(value)?, *to)?,
            Expr::Select(cond, then, other) => {
                if self.eval(cond)?.is_true() {
                    self.eval(then)?
                } else {
                    self.eval(other)?
                }
            }
            Expr::Hash(id, args) => {
                let (function, mut h) = self.config.hash(*id)?;
                for (arg, ty) in args.iter().zip(&function.args) {
                    hash::feed(&mut h, self.eval(arg)?.bits, *ty);
                }
                Value::bits(hash::finish(h, function.width), function.width)
            }
        })
    }

    /// The place of a header that was found or made.
    pub(crate) fn place(&self, handle: HandleId) -> Result<Place, Fault> {
        self.places.get(handle.index()).copied().filter(|place| place.is_some()).ok_or(Fault::NoHeader)
    }

    /// A packet's bytes.
    pub(crate) fn packet(&self, packet: PacketId) -> Result<&[u8], Fault> {
        self.packets.get(packet.index()).map(Vec::as_slice).ok_or(Fault::NoPacket)
    }

    /// The layout behind a handle, and the packet that it is in.
    pub(crate) fn layout(&self, handle: HandleId) -> Result<(&Header, PacketId), Fault> {
        let declared = self.body.handles.get(handle.index());
        let header = declared.and_then(|declared| self.config.program.headers.get(declared.header.index()));
        match (declared, header) {
            (Some(declared), Some(header)) => Ok((header, declared.packet)),
            _ => Err(Fault::Malformed("a header that is not declared")),
        }
    }

    fn field(&self, handle: HandleId, field: FieldId) -> Result<Value, Fault> {
        let place = self.place(handle)?;
        let (header, packet) = self.layout(handle)?;
        let field = header.fields.get(field.index()).ok_or(Fault::Malformed("a field that is not declared"))?;
        let first = place.start as usize * 8 + field.offset as usize;
        match packet::get_bits(self.packet(packet)?, first, field.width) {
            Some(bits) => Ok(Value { bits, ty: Scalar::Bits(field.width) }),
            None => Err(Fault::Malformed("a field outside its packet")),
        }
    }
}

/// What the expressions of a header's declaration can see: its own fixed part.
#[derive(Clone, Copy)]
pub(crate) struct Own<'a> {
    pub(crate) program: &'a Program,
    pub(crate) header: &'a Header,
    pub(crate) bytes: &'a [u8],
}

/// The value of an expression in a header's declaration.
pub(crate) fn own(scope: Own<'_>, expr: &Expr) -> Result<Value, Fault> {
    Ok(match expr {
        Expr::Const(bits, ty) => Value { bits: *bits, ty: *ty },
        Expr::Own(id) => {
            let field = scope.header.fields.get(id.index());
            let read = field.and_then(|f| packet::get_bits(scope.bytes, f.offset as usize, f.width).zip(Some(f.width)));
            match read {
                Some((bits, width)) => Value { bits, ty: Scalar::Bits(width) },
                None => return Err(Fault::Malformed("a field outside the fixed part")),
            }
        }
        Expr::Unary(op, value) => unary(*op, own(scope, value)?),
        Expr::Binary(op, left, right) => binary(*op, own(scope, left)?, own(scope, right)?)?,
        Expr::Convert(value, to) => convert(own(scope, value)?, *to)?,
        Expr::Select(cond, then, other) => {
            if own(scope, cond)?.is_true() {
                own(scope, then)?
            } else {
                own(scope, other)?
            }
        }
        Expr::Hash(id, args) => {
            let function = scope.program.hashes.get(id.index()).ok_or(Fault::Malformed("a hash that is not declared"))?;
            let mut values = Vec::with_capacity(args.len());
            for arg in args {
                values.push(own(scope, arg)?.bits);
            }
            Value::bits(hash::hash(function, &values), function.width)
        }
        Expr::Local(_) | Expr::Param(..) | Expr::Field(..) | Expr::HeaderLength(_) | Expr::PacketLength(_) | Expr::Now => {
            return Err(Fault::Malformed("a header's declaration that looks outside the header"));
        }
    })
}
