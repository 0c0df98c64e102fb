//! Pure expressions. Evaluating one reads variables, headers, parameters and the time; it changes nothing. Values are bare
//! bits: types are known without them, and looked up where an operator depends on one.

use super::config::Config;
use super::hash;
use super::packet::{self, Place};
use super::spec::Bindings;
use super::step::Frame;
use super::value::{Fault, binary, convert, mask, unary};
use crate::ir::{BinaryOp, Expr, Field, FieldId, HandleId, Hash, HashId, Header, LocalId, PacketId, Program, Scalar, UnaryOp};
use std::cell::Cell;

/// Where the leaves of expressions have their values from.
pub(crate) trait Leaves {
    /// The value of a variable, if it is declared.
    fn local(&self, id: LocalId) -> Option<u128>;

    /// The value of another leaf, if it has one.
    fn leaf(&self, expr: &Expr) -> Option<u128>;

    /// Why a leaf has no value.
    fn fault(&self, expr: &Expr) -> Fault;

    /// The type of a leaf that has a value.
    fn leaf_type(&self, expr: &Expr) -> Scalar;

    /// A hash function and its starting value.
    fn hash(&self, id: HashId) -> Result<(&Hash, u64), Fault>;

    /// The value of an expression; the bits above its type's width are zero.
    #[inline(always)]
    fn eval(&self, expr: &Expr) -> Result<u128, Fault> {
        let fault = Cell::new(None);
        let bits = self.operand(expr, &fault);
        match fault.into_inner() {
            None => Ok(bits),
            Some(fault) => Err(fault),
        }
    }

    /// The same, where a fault is put aside and the value then means nothing: a value alone stays in registers. Here are the
    /// expressions that there are most of; the others are out of their way.
    fn bits(&self, expr: &Expr, fault: &Cell<Option<Fault>>) -> u128 {
        match expr {
            Expr::Unary(UnaryOp::Not, value) => u128::from(self.operand(value, fault) == 0),
            Expr::Binary(op, left, right) => {
                let (a, b) = (self.operand(left, fault), self.operand(right, fault));
                match op {
                    BinaryOp::And => a & b,
                    BinaryOp::Or => a | b,
                    BinaryOp::Eq => u128::from(a == b),
                    BinaryOp::Ne => u128::from(a != b),
                    _ => binary(*op, a, b, self.ty(left)).unwrap_or_else(|found| aside(found, fault)),
                }
            }
            Expr::Convert(value, to) => {
                let bits = self.operand(value, fault);
                match to {
                    Scalar::Bits(width) => bits & mask(*width),
                    _ => convert(bits, self.ty(value), *to).unwrap_or_else(|found| aside(found, fault)),
                }
            }
            _ => self.other(expr, fault).unwrap_or_else(|found| aside(found, fault)),
        }
    }

    /// The same of an operand: most are leaves, and variables and constants need no call.
    #[inline(always)]
    fn operand(&self, expr: &Expr, fault: &Cell<Option<Fault>>) -> u128 {
        match expr {
            Expr::Const(bits, _) => *bits,
            Expr::Local(id) => {
                self.local(*id).unwrap_or_else(|| aside(Fault::Malformed("a variable that is not declared"), fault))
            }
            Expr::Param(..) | Expr::Field(..) | Expr::Own(_) => self.read(expr, fault),
            _ => self.bits(expr, fault),
        }
    }

    /// The other expressions.
    #[inline(never)]
    fn other(&self, expr: &Expr, fault: &Cell<Option<Fault>>) -> Result<u128, Fault> {
        match expr {
            Expr::Unary(op, value) => Ok(unary(*op, self.operand(value, fault), self.ty(value))),
            Expr::Select(cond, then, other) => Ok(self.operand(if self.operand(cond, fault) != 0 { then } else { other }, fault)),
            Expr::Hash(id, args) => {
                let (function, mut h) = self.hash(*id)?;
                for (arg, ty) in args.iter().zip(&function.args) {
                    hash::feed(&mut h, self.operand(arg, fault), *ty);
                }
                Ok(hash::finish(h, function.width))
            }
            leaf => Ok(self.read(leaf, fault)),
        }
    }

    /// The value of a leaf other than a constant or a variable.
    #[inline(never)]
    fn read(&self, leaf: &Expr, fault: &Cell<Option<Fault>>) -> u128 {
        self.leaf(leaf).unwrap_or_else(|| aside(self.fault(leaf), fault))
    }

    /// The type of an expression that has a value.
    fn ty(&self, expr: &Expr) -> Scalar {
        match expr {
            Expr::Const(_, ty) | Expr::Convert(_, ty) => *ty,
            Expr::Unary(UnaryOp::Not, _) => Scalar::Bool,
            Expr::Unary(UnaryOp::Complement, value) => self.ty(value),
            Expr::Binary(op, left, _) => {
                if op.compares() {
                    Scalar::Bool
                } else {
                    self.ty(left)
                }
            }
            Expr::Select(_, then, _) => self.ty(then),
            Expr::Hash(id, _) => self.hash(*id).map_or(Scalar::Bool, |(function, _)| Scalar::Bits(function.width)),
            leaf => self.leaf_type(leaf),
        }
    }
}

/// Puts a fault aside, if it is the first.
#[cold]
fn aside(found: Fault, fault: &Cell<Option<Fault>>) -> u128 {
    fault.set(fault.get().or(Some(found)));
    0
}

/// What the expressions of a body can see.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) config: &'a Config,
    pub(crate) frame: &'a Frame<'a>,
    pub(crate) vars: &'a Bindings,
    pub(crate) now: u64,
}

impl Leaves for Scope<'_> {
    #[inline(always)]
    fn local(&self, id: LocalId) -> Option<u128> {
        self.vars.locals.get(self.frame.locals + id.index()).copied()
    }

    #[inline(always)]
    fn leaf(&self, expr: &Expr) -> Option<u128> {
        match expr {
            Expr::Param(id, column) => self.config.params.get(id.index())?.get(*column as usize).copied(),
            Expr::Field(handle, field) => self.field_bits(*handle, *field),
            Expr::HeaderLength(handle) => Some(self.place(*handle).ok()?.length.into()),
            Expr::PacketLength(packet) => Some(self.packet(*packet).ok()?.len() as u128),
            Expr::Now => Some(self.now.into()),
            _ => None,
        }
    }

    #[cold]
    fn fault(&self, expr: &Expr) -> Fault {
        let missing = match expr {
            Expr::Param(..) => return Fault::Malformed("a parameter that is not declared"),
            Expr::Field(handle, field) => {
                self.place(*handle).and_then(|_| self.field(*handle, *field)).and_then(|(_, packet)| self.packet(packet)).err()
            }
            Expr::HeaderLength(handle) => self.place(*handle).err(),
            Expr::PacketLength(packet) => self.packet(*packet).err(),
            _ => return Fault::Malformed("a header's own field outside its declaration"),
        };
        missing.unwrap_or(Fault::Malformed("a field outside its packet"))
    }

    fn leaf_type(&self, expr: &Expr) -> Scalar {
        let declared = match expr {
            Expr::Local(id) => self.frame.body.locals.get(id.index()).map(|local| local.ty),
            Expr::Param(id, column) => {
                let param = self.config.program.params.get(id.index());
                param.and_then(|param| param.columns.get(*column as usize)).map(|column| column.ty)
            }
            Expr::Field(handle, field) => self.field(*handle, *field).ok().map(|(field, _)| Scalar::Bits(field.width)),
            Expr::HeaderLength(_) | Expr::PacketLength(_) => Some(Scalar::Bits(16)),
            Expr::Now => Some(Scalar::Bits(64)),
            _ => None,
        };
        declared.unwrap_or(Scalar::Bool)
    }

    fn hash(&self, id: HashId) -> Result<(&Hash, u64), Fault> {
        self.config.hash(id)
    }
}

impl Scope<'_> {
    /// The place of a header that was found or made.
    #[inline(always)]
    pub(crate) fn place(&self, handle: HandleId) -> Result<Place, Fault> {
        self.vars.places.get(self.frame.places + handle.index()).copied().filter(|place| place.is_some()).ok_or(Fault::NoHeader)
    }

    /// The value of a field; none if there is a fault.
    #[inline(always)]
    fn field_bits(&self, handle: HandleId, field: FieldId) -> Option<u128> {
        let declared = self.frame.body.handles.get(handle.index())?;
        let layout = self.config.layout(declared.header, field)?;
        let place = self.vars.places.get(self.frame.places + handle.index())?;
        let packet = self.vars.packets.get(self.frame.packets + declared.packet.index())?;
        // What starts nowhere (`Place::NONE`) is outside of every packet.
        packet::get_bits(packet, place.start as usize * 8 + layout.offset as usize, layout.width)
    }

    /// The places of all headers of the body.
    pub(crate) fn places(&self) -> &[Place] {
        self.vars.places.get(self.frame.places..).unwrap_or(&[])
    }

    /// A packet's bytes.
    pub(crate) fn packet(&self, packet: PacketId) -> Result<&[u8], Fault> {
        self.vars.packets.get(self.frame.packets + packet.index()).map(Vec::as_slice).ok_or(Fault::NoPacket)
    }

    /// The layout behind a handle, and the packet that it is in.
    pub(crate) fn layout(&self, handle: HandleId) -> Result<(&Header, PacketId), Fault> {
        let declared = self.frame.body.handles.get(handle.index());
        let header = declared.and_then(|declared| self.config.program.headers.get(declared.header.index()));
        match (declared, header) {
            (Some(declared), Some(header)) => Ok((header, declared.packet)),
            _ => Err(Fault::Malformed("a header that is not declared")),
        }
    }

    /// A field, and the packet that it is in.
    pub(crate) fn field(&self, handle: HandleId, field: FieldId) -> Result<(&Field, PacketId), Fault> {
        let (header, packet) = self.layout(handle)?;
        let field = header.fields.get(field.index()).ok_or(Fault::Malformed("a field that is not declared"))?;
        Ok((field, packet))
    }
}

/// What the expressions of a header's declaration can see: its own fixed part.
#[derive(Clone, Copy)]
pub(crate) struct Own<'a> {
    pub(crate) program: &'a Program,
    pub(crate) header: &'a Header,
    pub(crate) bytes: &'a [u8],
}

impl Leaves for Own<'_> {
    fn local(&self, _id: LocalId) -> Option<u128> {
        None
    }

    #[inline(always)]
    fn leaf(&self, expr: &Expr) -> Option<u128> {
        let Expr::Own(id) = expr else { return None };
        let field = self.header.fields.get(id.index())?;
        packet::get_bits(self.bytes, field.offset as usize, field.width)
    }

    #[cold]
    fn fault(&self, expr: &Expr) -> Fault {
        Fault::Malformed(match expr {
            Expr::Own(_) => "a field outside the fixed part",
            _ => "a header's declaration that looks outside the header",
        })
    }

    fn leaf_type(&self, expr: &Expr) -> Scalar {
        let field = if let Expr::Own(id) = expr { self.header.fields.get(id.index()) } else { None };
        field.map_or(Scalar::Bool, |field| Scalar::Bits(field.width))
    }

    fn hash(&self, id: HashId) -> Result<(&Hash, u64), Fault> {
        let function = self.program.hashes.get(id.index()).ok_or(Fault::Malformed("a hash that is not declared"))?;
        Ok((function, hash::seed(&function.name)))
    }
}
