//! From expressions as the IR has them to those that are evaluated ([`super::code`]), for given parameters. This changes when
//! something is computed, never what: an expression that has no value is left as it is, and has none where it is evaluated.

use super::code::{Act, Code, Hashed, Leaf, Spot};
use super::hash;
use super::packet::Extent;
use super::value::{Fault, binary, exact, mask, unary};
use crate::ir::{BinaryOp, Body, Expr, Field, Handle, Header, Local, Program, Scalar, UnaryOp};

/// What the expressions of a body, or of a header's declaration, can name.
#[derive(Clone, Copy)]
pub(crate) struct Lowering<'a> {
    program: &'a Program,
    /// By parameter and column.
    params: &'a [Vec<u128>],
    locals: &'a [Local],
    handles: &'a [Handle],
    /// The header whose declaration it is.
    own: Option<&'a Header>,
}

impl<'a> Lowering<'a> {
    /// Of a body's expressions.
    pub(crate) fn of_body<E>(program: &'a Program, params: &'a [Vec<u128>], body: &'a Body<E>) -> Lowering<'a> {
        Lowering { program, params, locals: &body.locals, handles: &body.handles, own: None }
    }

    /// Of expressions outside of bodies.
    pub(crate) fn outside(program: &'a Program, params: &'a [Vec<u128>]) -> Lowering<'a> {
        Lowering { program, params, locals: &[], handles: &[], own: None }
    }

    /// Of a header's declaration.
    pub(crate) fn of_header(program: &'a Program, header: &'a Header) -> Lowering<'a> {
        Lowering { program, params: &[], locals: &[], handles: &[], own: Some(header) }
    }

    /// The expression as it is evaluated.
    pub(crate) fn code(&self, expr: &Expr) -> Code {
        self.typed(expr).0
    }

    /// The same, with its type.
    fn typed(&self, expr: &Expr) -> (Code, Scalar) {
        match expr {
            Expr::Const(bits, ty) => (Code::of(*bits), *ty),
            Expr::Local(id) => match self.locals.get(id.index()) {
                Some(local) => (Leaf::Local(id.index()).into(), local.ty),
                None => fault("a variable that is not declared"),
            },
            Expr::Param(id, column) => {
                let value = self.params.get(id.index()).and_then(|value| value.get(*column as usize));
                let declared = self.program.params.get(id.index()).and_then(|param| param.columns.get(*column as usize));
                match (value, declared) {
                    (Some(bits), Some(column)) => (Code::of(*bits), column.ty),
                    _ => fault("a parameter that is not declared"),
                }
            }
            Expr::Field(handle, field) => {
                let declared = self.handles.get(handle.index());
                let header = declared.and_then(|declared| self.program.headers.get(declared.header.index()));
                match (declared, header.and_then(|header| header.fields.get(field.index()))) {
                    (Some(declared), Some(field)) => of_field(handle.0, declared.packet.0, field),
                    _ => fault("a field that is not declared"),
                }
            }
            Expr::Own(field) => match self.own.and_then(|header| header.fields.get(field.index())) {
                Some(field) => of_field(0, 0, field),
                None => fault("a header's own field outside its declaration"),
            },
            Expr::HeaderLength(handle) => (Leaf::HeaderLength(handle.index()).into(), Scalar::Bits(16)),
            Expr::PacketLength(packet) => (Leaf::PacketLength(packet.index()).into(), Scalar::Bits(16)),
            Expr::Now => (Leaf::Now.into(), Scalar::Bits(64)),
            Expr::Unary(op, value) => {
                let (value, ty) = self.typed(value);
                let result = if *op == UnaryOp::Not { Scalar::Bool } else { ty };
                (of_unary(*op, ty, value), result)
            }
            Expr::Binary(op, left, right) => {
                let ((left, ty), right) = (self.typed(left), self.code(right));
                (of_binary(*op, ty, left, right), if op.compares() { Scalar::Bool } else { ty })
            }
            Expr::Convert(value, to) => {
                let (value, from) = self.typed(value);
                (converted(value, from, *to), *to)
            }
            Expr::Select(cond, then, other) => {
                let (cond, (then, ty), other) = (self.code(cond), self.typed(then), self.code(other));
                let code = match cond.constant() {
                    Some(0) => other,
                    Some(_) => then,
                    None => cond.with(Act::Select(Box::new([then, other]))),
                };
                (code, ty)
            }
            Expr::Hash(id, args) => match self.program.hashes.get(id.index()) {
                Some(function) => {
                    let args = args.iter().zip(&function.args).map(|(arg, ty)| (self.code(arg), *ty)).collect();
                    let of = Hashed { args, seed: hash::seed(&function.name), width: function.width };
                    (Leaf::Hash(Box::new(of)).into(), Scalar::Bits(function.width))
                }
                None => fault("a hash that is not declared"),
            },
        }
    }
}

/// What names something that does not exist has no value; its type does not matter.
fn fault(what: &'static str) -> (Code, Scalar) {
    (Leaf::Fault(Fault::Malformed(what)).into(), Scalar::Bool)
}

fn of_field(place: u32, packet: u32, field: &Field) -> (Code, Scalar) {
    (Leaf::Field(Spot { place, packet, extent: Extent::of(field) }).into(), Scalar::Bits(field.width))
}

fn of_unary(op: UnaryOp, ty: Scalar, value: Code) -> Code {
    match (value.constant(), op, ty) {
        (Some(bits), ..) => Code::of(unary(op, bits, ty)),
        (None, UnaryOp::Not, _) | (None, _, Scalar::Bool) => value.with(Act::Not),
        (None, UnaryOp::Complement, Scalar::Bits(width)) => value.with(Act::Flip(mask(width))),
        (None, UnaryOp::Complement, Scalar::Int) => value.with(Act::Flip(u128::MAX)),
    }
}

fn of_binary(op: BinaryOp, ty: Scalar, left: Code, right: Code) -> Code {
    match (op, left.constant(), right.constant()) {
        (_, Some(a), Some(b)) if let Ok(bits) = binary(op, a, b, ty) => Code::of(bits),
        (BinaryOp::Eq, None, Some(bits)) => left.with(Act::Is(bits)),
        (BinaryOp::Eq, Some(bits), None) => right.with(Act::Is(bits)),
        (BinaryOp::And, None, Some(bits)) => left.with(Act::Mask(bits)),
        (BinaryOp::And, Some(bits), None) => right.with(Act::Mask(bits)),
        _ => match bits_of(ty) {
            Some(width) => left.with(Act::Bits(op, width, Box::new(right))),
            None => left.with(Act::Integers(op, Box::new(right))),
        },
    }
}

/// A conversion. Most change no bits: those to a wider type, and to an integer from less than 128 bits.
fn converted(value: Code, from: Scalar, to: Scalar) -> Code {
    match (bits_of(from), bits_of(to), value.constant()) {
        (_, None, Some(bits)) if exact(bits).is_ok() => value,
        (_, None, _) if from == Scalar::Bits(128) => value.with(Act::Exact),
        (_, None, _) => value,
        (Some(from), Some(to), _) if from <= to => value,
        (_, Some(to), Some(bits)) => Code::of(bits & mask(to)),
        (_, Some(to), None) => value.with(Act::Mask(mask(to))),
    }
}

/// How many bits a value of that type has.
fn bits_of(ty: Scalar) -> Option<u8> {
    match ty {
        Scalar::Bool => Some(1),
        Scalar::Bits(width) => Some(width),
        Scalar::Int => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::code::{Leaves, Scope};
    use super::super::spec::Bindings;
    use super::super::step::Frame;
    use super::*;
    use crate::ir::LocalId;
    use proptest::prelude::*;

    const WIDTHS: [u8; 7] = [1, 4, 8, 16, 48, 64, 128];
    const OPS: [BinaryOp; 19] = [
        BinaryOp::Add,
        BinaryOp::Sub,
        BinaryOp::Mul,
        BinaryOp::Div,
        BinaryOp::Rem,
        BinaryOp::SatAdd,
        BinaryOp::SatSub,
        BinaryOp::And,
        BinaryOp::Or,
        BinaryOp::Xor,
        BinaryOp::Shl,
        BinaryOp::Shr,
        BinaryOp::Eq,
        BinaryOp::Ne,
        BinaryOp::Lt,
        BinaryOp::Le,
        BinaryOp::AddOverflows,
        BinaryOp::SubOverflows,
        BinaryOp::MulOverflows,
    ];

    fn program() -> Program {
        Program {
            name: String::new(),
            span: Default::default(),
            params: Vec::new(),
            headers: Vec::new(),
            hashes: Vec::new(),
            ports: Vec::new(),
            elements: Vec::new(),
            tables: Vec::new(),
            reasons: Vec::new(),
            requires: Vec::new(),
            properties: Vec::new(),
        }
    }

    /// The value, with these variables.
    fn value(expr: &Expr, locals: &[(u128, Scalar)]) -> Result<u128, Fault> {
        let local = |(_, ty): &(u128, Scalar)| Local { name: String::new(), ty: *ty };
        let body: Body = Body { locals: locals.iter().map(local).collect(), ..Body::default() };
        let vars = Bindings { locals: locals.iter().map(|(bits, _)| *bits).collect(), ..Bindings::default() };
        let code = Lowering::of_body(&program(), &[], &body).code(expr);
        Scope { frame: &Frame::of(&body, 0), vars: &vars }.eval(&code)
    }

    /// An expression over variables, the same over their values, and its type.
    #[derive(Clone, Debug)]
    struct Pair(Expr, Expr, Scalar);

    impl Pair {
        fn map(self, ty: Scalar, make: impl Fn(Box<Expr>) -> Expr) -> Pair {
            Pair(make(Box::new(self.0)), make(Box::new(self.1)), ty)
        }

        /// The same as another type.
        fn to(self, ty: Scalar) -> Pair {
            if self.2 == ty { self } else { self.map(ty, |value| Expr::Convert(value, ty)) }
        }

        fn with(self, op: BinaryOp, right: Pair) -> Pair {
            let ty = if op.compares() { Scalar::Bool } else { self.2 };
            let right = if matches!(op, BinaryOp::Shl | BinaryOp::Shr) { right } else { right.to(self.2) };
            let make = |a, b| Expr::Binary(op, Box::new(a), Box::new(b));
            Pair(make(self.0, right.0), make(self.1, right.1), ty)
        }
    }

    /// Variables with values, and pairs over them.
    fn pairs() -> impl Strategy<Value = (Vec<(u128, Scalar)>, Pair)> {
        let local = (0..WIDTHS.len(), any::<u128>(), any::<bool>()).prop_map(|(width, bits, small)| {
            let bits = if small { bits % 8 } else { bits };
            (bits & mask(WIDTHS[width]), Scalar::Bits(WIDTHS[width]))
        });
        prop::collection::vec(local, 4).prop_flat_map(|locals| {
            let known = locals.clone();
            let leaf = (0..known.len()).prop_map(move |index| {
                let (bits, ty) = known[index];
                Pair(Expr::Local(LocalId(index as u32)), Expr::Const(bits, ty), ty)
            });
            let pair = leaf.prop_recursive(5, 40, 3, |inner| {
                prop_oneof![
                    (0..OPS.len(), inner.clone(), inner.clone()).prop_map(|(op, a, b)| a.with(OPS[op], b)),
                    (0..WIDTHS.len(), inner.clone()).prop_map(|(width, a)| a.to(Scalar::Bits(WIDTHS[width]))),
                    inner.clone().prop_map(|a| a.to(Scalar::Int)),
                    inner.clone().prop_map(|a| a.to(Scalar::Bool).map(Scalar::Bool, |a| Expr::Unary(UnaryOp::Not, a))),
                    inner.clone().prop_map(|a| {
                        let ty = a.2;
                        a.map(ty, |a| Expr::Unary(UnaryOp::Complement, a))
                    }),
                    (inner.clone(), inner.clone(), inner).prop_map(|(cond, then, other)| {
                        let (cond, other, ty) = (cond.to(Scalar::Bool), other.to(then.2), then.2);
                        let make = |a, b, c| Expr::Select(Box::new(a), Box::new(b), Box::new(c));
                        Pair(make(cond.0, then.0, other.0), make(cond.1, then.1, other.1), ty)
                    }),
                ]
            });
            (Just(locals), pair)
        })
    }

    proptest! {
        #[test]
        fn what_is_computed_before_is_what_is_computed_where_it_is_needed((locals, pair) in pairs()) {
            let evaluated = value(&pair.0, &locals);
            prop_assert_eq!(evaluated, value(&pair.1, &[]));
            if let (Ok(bits), Scalar::Bits(width)) = (evaluated, pair.2) {
                prop_assert!(bits <= mask(width));
            }
        }
    }

    #[test]
    fn what_has_no_value_has_none_where_it_is_evaluated_and_harms_nobody_else() {
        let wide = Expr::Convert(Box::new(Expr::Const(u128::MAX, Scalar::Bits(128))), Scalar::Int);
        assert_eq!(value(&wide, &[]), Err(Fault::IntegerRange));
        let chosen = |cond| Expr::Select(Box::new(Expr::Const(cond, Scalar::Bool)), Box::new(wide.clone()), Box::new(Expr::Now));
        assert_eq!(value(&chosen(0), &[]), Ok(0));
        assert_eq!(value(&chosen(1), &[]), Err(Fault::IntegerRange));
        assert_eq!(value(&Expr::Local(LocalId(7)), &[]), Err(Fault::Malformed("a variable that is not declared")));
    }

    #[test]
    fn integers_become_bits_modulo_their_width() {
        let minus_one = Expr::Const(-1i128 as u128, Scalar::Int);
        assert_eq!(value(&Expr::Convert(Box::new(minus_one), Scalar::Bits(8)), &[]), Ok(255));
    }
}
