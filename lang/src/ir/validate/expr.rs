//! Types of expressions: computed where they are sound, and checked.

use super::Fault;
use super::flow::{Layer, State, Walk};
use crate::ir::print::scalar;
use crate::ir::{BinaryOp, Body, Expr, HeaderId, Program, Scalar, UnaryOp};

/// What an expression can see, to tell its type.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The program.
    pub program: &'a Program,
    /// The body that the expression is in.
    pub body: Option<&'a Body>,
    /// The header whose declaration it is in.
    pub header: Option<HeaderId>,
}

impl Scope<'_> {
    /// The type of an expression that is well typed; none if it names what does not exist.
    pub fn type_of(&self, expr: &Expr) -> Option<Scalar> {
        match expr {
            Expr::Const(_, ty) | Expr::Convert(_, ty) => Some(*ty),
            Expr::Local(id) => Some(self.body?.locals.get(id.index())?.ty),
            Expr::Param(id, column) => Some(self.program.params.get(id.index())?.columns.get(*column as usize)?.ty),
            Expr::Field(handle, field) => {
                let header = self.body?.handles.get(handle.index())?.header;
                let field = self.program.headers.get(header.index())?.fields.get(field.index())?;
                Some(Scalar::Bits(field.width))
            }
            Expr::Own(field) => {
                let field = self.program.headers.get(self.header?.index())?.fields.get(field.index())?;
                Some(Scalar::Bits(field.width))
            }
            Expr::HeaderLength(_) | Expr::PacketLength(_) => Some(Scalar::Bits(16)),
            Expr::Now => Some(Scalar::Bits(64)),
            Expr::Unary(_, e) | Expr::Select(_, e, _) => self.type_of(e),
            Expr::Binary(op, a, _) if op.compares() => self.type_of(a).map(|_| Scalar::Bool),
            Expr::Binary(_, a, _) => self.type_of(a),
            Expr::Hash(id, _) => Some(Scalar::Bits(self.program.hashes.get(id.index())?.width)),
        }
    }
}

/// Whether a number is a value of a type.
pub(super) fn fits(value: u128, ty: Scalar) -> bool {
    match ty {
        Scalar::Bool => value <= 1,
        Scalar::Bits(width) => width >= 128 || value >> width == 0,
        Scalar::Int => true,
    }
}

impl Walk<'_, '_> {
    fn type_fault(&mut self, what: &'static str, expected: &str, found: Scalar) {
        self.report(Fault::Type { what, expected: expected.to_string(), found: scalar(found) });
    }

    /// Checks an expression that must have a type.
    pub(super) fn expect(&mut self, state: &State, what: &'static str, expr: &Expr, ty: Scalar) {
        if let Some(found) = self.expr(state, expr)
            && found != ty
        {
            self.type_fault(what, &scalar(ty), found);
        }
    }

    /// Checks an expression that must be of bits, of any width.
    pub(super) fn expect_bits(&mut self, state: &State, what: &'static str, expr: &Expr) {
        if let Some(found @ (Scalar::Bool | Scalar::Int)) = self.expr(state, expr) {
            self.type_fault(what, "bits", found);
        }
    }

    /// Checks an expression that must be a number: bits or an integer.
    pub(super) fn expect_number(&mut self, state: &State, what: &'static str, expr: &Expr) {
        if let Some(Scalar::Bool) = self.expr(state, expr) {
            self.type_fault(what, "a number", Scalar::Bool);
        }
    }

    /// Checks expressions against types, one each.
    pub(super) fn expect_all(&mut self, state: &State, what: &'static str, exprs: &[Expr], types: &[Scalar]) {
        self.check.count(what, types.len(), exprs.len());
        for (expr, ty) in exprs.iter().zip(types) {
            self.expect(state, what, expr, *ty);
        }
    }

    /// Checks an expression and gives its type; none if that is unknown, which has been reported then.
    pub(super) fn expr(&mut self, state: &State, expr: &Expr) -> Option<Scalar> {
        match expr {
            Expr::Const(value, ty) => {
                self.check_type(*ty);
                if !fits(*value, *ty) {
                    self.report(Fault::DoesNotFit(*value, scalar(*ty)));
                }
                Some(*ty)
            }
            Expr::Local(id) => {
                let local = self.get_local(*id)?;
                if !state.locals[id.index()] {
                    self.report(Fault::Unassigned(local.name.clone()));
                }
                Some(local.ty)
            }
            Expr::Param(id, column) => {
                if self.layer == Layer::Header {
                    self.report(Fault::Misplaced("a parameter"));
                }
                let Some(param) = self.check.program.params.get(id.index()) else {
                    self.report(Fault::NoSuch("parameter", id.0));
                    return None;
                };
                match param.columns.get(*column as usize) {
                    Some(column) => Some(column.ty),
                    None => {
                        self.report(Fault::NoSuch("column of a parameter", *column));
                        None
                    }
                }
            }
            Expr::Field(handle, field) => {
                let header = self.use_handle(state, *handle)?;
                match header.fields.get(field.index()) {
                    Some(field) => Some(Scalar::Bits(field.width)),
                    None => {
                        self.report(Fault::NoSuch("field", field.0));
                        None
                    }
                }
            }
            Expr::Own(field) => {
                let Some(header) = self.header else {
                    self.report(Fault::Misplaced("a header's own field"));
                    return None;
                };
                match header.fields.get(field.index()) {
                    Some(field) => Some(Scalar::Bits(field.width)),
                    None => {
                        self.report(Fault::NoSuch("field", field.0));
                        None
                    }
                }
            }
            Expr::HeaderLength(handle) => self.use_handle(state, *handle).map(|_| Scalar::Bits(16)),
            Expr::PacketLength(packet) => {
                self.use_packet(state, *packet);
                Some(Scalar::Bits(16))
            }
            Expr::Now => {
                if matches!(self.layer, Layer::Header | Layer::Pure | Layer::Require) {
                    self.report(Fault::Misplaced("the time"));
                }
                Some(Scalar::Bits(64))
            }
            Expr::Unary(UnaryOp::Not, e) => {
                self.expect(state, "operand of not", e, Scalar::Bool);
                Some(Scalar::Bool)
            }
            Expr::Unary(UnaryOp::Complement, e) => {
                self.expect_bits(state, "operand of complement", e);
                self.scope().type_of(e)
            }
            Expr::Binary(op, a, b) => self.binary(state, *op, a, b),
            Expr::Convert(e, to) => {
                self.check_type(*to);
                if *to == Scalar::Bool {
                    self.type_fault("result of a conversion", "a number", *to);
                }
                self.expect_number(state, "operand of a conversion", e);
                Some(*to)
            }
            Expr::Select(cond, a, b) => {
                self.expect(state, "condition", cond, Scalar::Bool);
                let ty = self.expr(state, a)?;
                self.expect(state, "other side of a selection", b, ty);
                Some(ty)
            }
            Expr::Hash(id, args) => {
                let Some(hash) = self.check.program.hashes.get(id.index()) else {
                    self.report(Fault::NoSuch("hash", id.0));
                    return None;
                };
                if self.layer == Layer::Header {
                    self.report(Fault::Misplaced("a hash"));
                }
                self.expect_all(state, "arguments of a hash", args, &hash.args);
                Some(Scalar::Bits(hash.width))
            }
        }
    }

    fn binary(&mut self, state: &State, op: BinaryOp, a: &Expr, b: &Expr) -> Option<Scalar> {
        use BinaryOp::{
            Add, AddOverflows, And, Div, Eq, Le, Lt, Mul, MulOverflows, Ne, Or, Rem, SatAdd, SatSub, Shl, Shr, Sub, SubOverflows,
            Xor,
        };
        let ty = self.expr(state, a)?;
        let allowed = match op {
            Eq | Ne => true,
            Add | Sub | Mul | Div | Rem | Lt | Le => ty != Scalar::Bool,
            And | Or | Xor => ty != Scalar::Int,
            SatAdd | SatSub | Shl | Shr | AddOverflows | SubOverflows | MulOverflows => matches!(ty, Scalar::Bits(_)),
        };
        if !allowed {
            self.type_fault("operand", "a type that the operator is for", ty);
        }
        match op {
            Shl | Shr => self.expect_bits(state, "distance of a shift", b),
            _ => self.expect(state, "right operand", b, ty),
        }
        Some(if op.compares() { Scalar::Bool } else { ty })
    }

    /// Checks that a type may occur here.
    pub(super) fn check_type(&mut self, ty: Scalar) {
        match ty {
            Scalar::Bits(width) if !(1..=128).contains(&width) => self.report(Fault::Width(width)),
            Scalar::Int if !self.layer.has_integers() => self.report(Fault::IntInCode),
            _ => {}
        }
    }
}
