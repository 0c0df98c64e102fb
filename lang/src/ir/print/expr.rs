//! Names and expressions in the text form of the IR. Never fails: an id that is out of range is printed as such.

use crate::ir::{BinaryOp, Body, Expr, FieldId, HandleId, HeaderId, LocalId, PacketId, Program, Scalar, TableId, UnaryOp};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Makes the names of a list distinct: the second `x` becomes `x#2`. The source can't write `#`.
pub(super) fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    names
        .map(|name| {
            let count = seen.entry(name).or_insert(0);
            *count += 1;
            match (name, *count) {
                ("", n) => format!("#{n}"),
                (_, 1) => name.to_string(),
                (_, n) => format!("{name}#{n}"),
            }
        })
        .collect()
}

/// The name of a scalar type: `bool`, `u16`, `int`.
pub fn scalar(ty: Scalar) -> String {
    match ty {
        Scalar::Bool => "bool".to_string(),
        Scalar::Bits(width) => format!("u{width}"),
        Scalar::Int => "int".to_string(),
    }
}

/// A constant with its type: `true`, `6u8`, `0xcb007101u32`, `300000000000u64`, `7` (an integer).
pub fn constant(value: u128, ty: Scalar) -> String {
    match (ty, value) {
        (Scalar::Bool, 0) => "false".to_string(),
        (Scalar::Bool, 1) => "true".to_string(),
        (Scalar::Bool, _) => format!("{value}bool"),
        (Scalar::Int, _) => format!("{value}"),
        // Times, lengths and counters are 64 bits; what is wide and anything else is an address or a mask.
        (Scalar::Bits(64), _) | (_, 0..=0xffff) => format!("{value}{}", scalar(ty)),
        _ => format!("{value:#x}{}", scalar(ty)),
    }
}

/// The names that are visible in one body.
pub struct Names<'a> {
    program: &'a Program,
    body: Option<&'a Body>,
    header: Option<HeaderId>,
    locals: Vec<String>,
    handles: Vec<String>,
    packets: Vec<String>,
}

fn named(names: &[String], what: &str, index: usize) -> String {
    names.get(index).cloned().unwrap_or_else(|| format!("{what}?{index}"))
}

impl<'a> Names<'a> {
    /// The names of a body.
    pub fn of_body(program: &'a Program, body: &'a Body) -> Names<'a> {
        Names {
            program,
            body: Some(body),
            header: None,
            locals: distinct(body.locals.iter().map(|l| l.name.as_str())),
            handles: distinct(body.handles.iter().map(|h| h.name.as_str())),
            packets: distinct(body.packets.iter().map(String::as_str)),
        }
    }

    /// The names outside any body: those of constants and parameters, and of a header's own fields if one is given.
    pub fn outside(program: &'a Program, header: Option<HeaderId>) -> Names<'a> {
        Names { program, body: None, header, locals: Vec::new(), handles: Vec::new(), packets: Vec::new() }
    }

    /// A local's name.
    pub fn local(&self, id: LocalId) -> String {
        named(&self.locals, "local", id.index())
    }

    /// A local's name and type, as where it is set: `t3: u16`.
    pub fn set(&self, id: LocalId) -> String {
        let ty = self.body.and_then(|b| b.locals.get(id.index()));
        match ty {
            Some(local) => format!("{}: {}", self.local(id), scalar(local.ty)),
            None => self.local(id),
        }
    }

    /// Several locals where they are set.
    pub fn sets<'b>(&self, ids: impl IntoIterator<Item = &'b LocalId>) -> String {
        let list: Vec<String> = ids.into_iter().map(|id| self.set(*id)).collect();
        list.join(", ")
    }

    /// A handle's name.
    pub fn handle(&self, id: HandleId) -> String {
        named(&self.handles, "handle", id.index())
    }

    /// A packet's name.
    pub fn packet(&self, id: PacketId) -> String {
        named(&self.packets, "packet", id.index())
    }

    /// A header's name.
    pub fn header(&self, id: HeaderId) -> String {
        match self.program.headers.get(id.index()) {
            Some(header) => header.name.clone(),
            None => format!("header?{}", id.0),
        }
    }

    /// The name of a field of a header.
    pub fn header_field(&self, header: Option<HeaderId>, field: FieldId) -> String {
        header
            .and_then(|id| self.program.headers.get(id.index()))
            .and_then(|header| header.fields.get(field.index()))
            .map_or_else(|| format!("field?{}", field.0), |f| f.name.clone())
    }

    /// A field of a header in a packet: `ip.src`.
    pub fn field(&self, handle: HandleId, field: FieldId) -> String {
        let header = self.body.and_then(|b| b.handles.get(handle.index())).map(|h| h.header);
        format!("{}.{}", self.handle(handle), self.header_field(header, field))
    }

    /// A table's name.
    pub fn table(&self, id: TableId) -> String {
        match self.program.tables.get(id.index()) {
            Some(table) => table.name.clone(),
            None => format!("table?{}", id.0),
        }
    }

    /// Expressions, separated by commas.
    pub fn exprs(&self, list: &[Expr]) -> String {
        let list: Vec<String> = list.iter().map(|e| self.expr(e)).collect();
        list.join(", ")
    }

    /// An expression.
    pub fn expr(&self, expr: &Expr) -> String {
        match expr {
            Expr::Const(value, ty) => constant(*value, *ty),
            Expr::Local(id) => self.local(*id),
            Expr::Param(id, column) => {
                let Some(param) = self.program.params.get(id.index()) else {
                    return format!("param?{}.{column}", id.0);
                };
                match param.columns.get(*column as usize) {
                    Some(c) if c.name.is_empty() => format!("param {}", param.name),
                    Some(c) => format!("param {}.{}", param.name, c.name),
                    None => format!("param {}.column?{column}", param.name),
                }
            }
            Expr::Field(handle, field) => self.field(*handle, *field),
            Expr::Own(field) => self.header_field(self.header, *field),
            Expr::HeaderLength(handle) => format!("header_length({})", self.handle(*handle)),
            Expr::PacketLength(packet) => format!("length({})", self.packet(*packet)),
            Expr::Now => "now".to_string(),
            Expr::Unary(UnaryOp::Not, e) => format!("not {}", self.operand(e)),
            Expr::Unary(UnaryOp::Complement, e) => format!("~{}", self.operand(e)),
            Expr::Binary(op, a, b) => match operator(*op) {
                (sign, true) => format!("{} {sign} {}", self.operand(a), self.operand(b)),
                (name, false) => format!("{name}({}, {})", self.expr(a), self.expr(b)),
            },
            Expr::Convert(e, to) => format!("{}({})", self.conversion(e, *to), self.expr(e)),
            Expr::Select(c, a, b) => format!("if {} then {} else {}", self.operand(c), self.operand(a), self.operand(b)),
            Expr::Hash(id, args) => {
                let name = match self.program.hashes.get(id.index()) {
                    Some(hash) => hash.name.clone(),
                    None => format!("hash?{}", id.0),
                };
                format!("{name}({})", self.exprs(args))
            }
        }
    }

    /// An operand: in parentheses where it would be ambiguous without.
    fn operand(&self, expr: &Expr) -> String {
        let text = self.expr(expr);
        let bare = match expr {
            Expr::Binary(op, ..) => !operator(*op).1,
            Expr::Unary(..) | Expr::Select(..) => false,
            _ => true,
        };
        if bare { text } else { format!("({text})") }
    }

    fn conversion(&self, from: &Expr, to: Scalar) -> String {
        let scope = crate::ir::validate::Scope { program: self.program, body: self.body, header: self.header };
        match (scope.type_of(from), to) {
            (_, Scalar::Int) => "int".to_string(),
            (Some(Scalar::Bits(a)), Scalar::Bits(b)) if b < a => format!("trunc_u{b}"),
            (Some(Scalar::Bits(_)), Scalar::Bits(b)) => format!("zext_u{b}"),
            (_, to) => format!("to_{}", scalar(to)),
        }
    }
}

/// How an operator is written, and whether it stands between its operands.
fn operator(op: BinaryOp) -> (&'static str, bool) {
    match op {
        BinaryOp::Add => ("+", true),
        BinaryOp::Sub => ("-", true),
        BinaryOp::Mul => ("*", true),
        BinaryOp::Div => ("/", true),
        BinaryOp::Rem => ("%", true),
        BinaryOp::SatAdd => ("+|", true),
        BinaryOp::SatSub => ("-|", true),
        BinaryOp::And => ("&", true),
        BinaryOp::Or => ("|", true),
        BinaryOp::Xor => ("^", true),
        BinaryOp::Shl => ("<<", true),
        BinaryOp::Shr => (">>", true),
        BinaryOp::Eq => ("==", true),
        BinaryOp::Ne => ("!=", true),
        BinaryOp::Lt => ("<", true),
        BinaryOp::Le => ("<=", true),
        BinaryOp::AddOverflows => ("add_overflows", false),
        BinaryOp::SubOverflows => ("sub_overflows", false),
        BinaryOp::MulOverflows => ("mul_overflows", false),
    }
}

/// Bytes as `hex"0a0b"`.
pub(super) fn bytes(bytes: &[u8]) -> String {
    let mut text = String::from("hex\"");
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('"');
    text
}
