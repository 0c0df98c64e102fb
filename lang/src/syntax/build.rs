//! What the grammar's actions call: literals, operator precedence, and small constructions.

use super::ast::*;
use crate::diagnostics::{Code, Diagnostic};
use crate::span::{FileId, Span};
use std::cell::RefCell;
use std::net::{Ipv4Addr, Ipv6Addr};

/// What the actions share: the file, and errors inside tokens that parse.
pub struct Cx {
    file: FileId,
    errors: RefCell<Vec<Diagnostic>>,
}

/// Nesting of operators and parentheses beyond which an expression is refused; it bounds the recursion of later passes.
pub const MAX_DEPTH: usize = 128;

impl Cx {
    /// For one file.
    pub fn new(file: FileId) -> Cx {
        Cx { file, errors: RefCell::new(Vec::new()) }
    }

    /// The errors so far.
    pub fn into_errors(self) -> Vec<Diagnostic> {
        self.errors.into_inner()
    }

    /// Forgets the errors of an attempt that is made again.
    pub fn clear(&self) {
        self.errors.borrow_mut().clear();
    }

    /// A span of this file.
    pub fn span(&self, start: u32, end: u32) -> Span {
        Span { file: self.file, start, end }
    }

    pub(super) fn ident(&self, name: &str, start: u32, end: u32) -> Ident {
        Ident { name: name.into(), span: self.span(start, end) }
    }

    pub(super) fn expr(&self, kind: ExprKind, start: u32, end: u32) -> Expr {
        Expr { kind, span: self.span(start, end) }
    }

    fn literal(&self, what: Result<ExprKind, String>, start: u32, end: u32) -> Expr {
        match what {
            Ok(kind) => self.expr(kind, start, end),
            Err(message) => {
                let span = self.span(start, end);
                self.errors.borrow_mut().push(Diagnostic::new(Code::BadLiteral, span, message));
                self.expr(ExprKind::Error, start, end)
            }
        }
    }

    pub(super) fn string(&self, raw: &str, start: u32, end: u32) -> Str {
        let inner = &raw[1..raw.len() - 1];
        let mut text = String::with_capacity(inner.len());
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            if c != '\\' {
                text.push(c);
                continue;
            }
            match chars.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some('0') => text.push('\0'),
                Some(c @ ('"' | '\\')) => text.push(c),
                other => {
                    let shown = other.map(String::from).unwrap_or_default();
                    let message = format!("unknown escape `\\{shown}` in a string");
                    self.errors.borrow_mut().push(
                        Diagnostic::new(Code::BadLiteral, self.span(start, end), message)
                            .note("known: \\n \\t \\r \\0 \\\" \\\\"),
                    );
                }
            }
        }
        Str { text, span: self.span(start, end) }
    }

    pub(super) fn int(&self, raw: &str, start: u32, end: u32) -> u128 {
        match number(raw) {
            Ok(value) => value,
            Err(message) => {
                self.errors.borrow_mut().push(Diagnostic::new(Code::BadLiteral, self.span(start, end), message));
                0
            }
        }
    }

    pub(super) fn number(&self, raw: &str, start: u32, end: u32) -> Expr {
        self.literal(number(raw).map(ExprKind::Int), start, end)
    }

    pub(super) fn unit(&self, raw: &str, start: u32, end: u32) -> Expr {
        self.literal(unit(raw), start, end)
    }

    pub(super) fn ipv4(&self, raw: &str, start: u32, end: u32) -> Expr {
        let value = raw.parse::<Ipv4Addr>().map(|a| ExprKind::Ipv4(a.into()));
        self.literal(
            value.map_err(|_| format!("`{raw}` is no IPv4 address: four numbers of 0 to 255 without leading zeros")),
            start,
            end,
        )
    }

    pub(super) fn prefix(&self, raw: &str, start: u32, end: u32) -> Expr {
        self.literal(prefix(raw), start, end)
    }

    pub(super) fn mac(&self, raw: &str, start: u32, end: u32) -> Expr {
        let digits: String = raw.chars().filter(|c| *c != ':').collect();
        let value = u64::from_str_radix(&digits, 16).map(ExprKind::Mac);
        self.literal(value.map_err(|_| format!("`{raw}` is no MAC address")), start, end)
    }

    pub(super) fn ipv6(&self, raw: &str, start: u32, end: u32) -> Expr {
        let text = raw.trim_start_matches("ip").trim_matches('"');
        let value = text.parse::<Ipv6Addr>().map(|a| ExprKind::Ipv6(a.into()));
        self.literal(value.map_err(|_| format!("`{text}` is no IPv6 address")), start, end)
    }

    pub(super) fn hex(&self, raw: &str, start: u32, end: u32) -> Expr {
        let text = raw.trim_start_matches("hex").trim_matches('"');
        self.literal(hex_bytes(text).map(ExprKind::Bytes), start, end)
    }
}

/// Bytes written as pairs of hexadecimal digits; blanks are allowed between bytes.
pub fn hex_bytes(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    for word in text.split_ascii_whitespace() {
        let digits = word.as_bytes();
        if digits.len() % 2 != 0 {
            return Err("an odd number of hexadecimal digits".to_string());
        }
        for pair in digits.chunks(2) {
            let digit = |b: u8| {
                (b as char).to_digit(16).ok_or_else(|| format!("`{word}` holds a character that is no hexadecimal digit"))
            };
            bytes.push((digit(pair[0])? << 4 | digit(pair[1])?) as u8);
        }
    }
    Ok(bytes)
}

fn number(raw: &str) -> Result<u128, String> {
    let digits: String = raw.chars().filter(|c| *c != '_').collect();
    let parsed = if let Some(hex) = digits.strip_prefix("0x") {
        u128::from_str_radix(hex, 16)
    } else if let Some(binary) = digits.strip_prefix("0b") {
        u128::from_str_radix(binary, 2)
    } else {
        digits.parse()
    };
    parsed.map_err(|_| format!("`{raw}` is no number that fits 128 bits"))
}

/// A number, or a number with a unit.
pub fn literal(raw: &str) -> Result<ExprKind, String> {
    let plain = raw.starts_with("0x") || raw.starts_with("0b") || !raw.contains(|c: char| c.is_ascii_alphabetic());
    if plain { number(raw).map(ExprKind::Int) } else { unit(raw) }
}

fn unit(raw: &str) -> Result<ExprKind, String> {
    let split = raw.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(raw.len());
    let (digits, name) = raw.split_at(split);
    let value = number(digits)?;
    let nanoseconds = |factor: u128| {
        // The model's time stays below 2^62 ns.
        let ns = value
            .checked_mul(factor)
            .filter(|ns| *ns < 1 << 62)
            .ok_or_else(|| format!("`{raw}` is longer than 2^62 ns (146 years)"))?;
        Ok(ExprKind::Duration(ns as u64))
    };
    let number =
        |factor: u128| value.checked_mul(factor).map(ExprKind::Int).ok_or_else(|| format!("`{raw}` does not fit 128 bits"));
    match name {
        "ns" => nanoseconds(1),
        "us" => nanoseconds(1_000),
        "ms" => nanoseconds(1_000_000),
        "s" => nanoseconds(1_000_000_000),
        "min" => nanoseconds(60_000_000_000),
        "h" => nanoseconds(3_600_000_000_000),
        "d" => nanoseconds(86_400_000_000_000),
        "B" | "bit" => number(1),
        "kB" | "kbit" => number(1_000),
        "MB" | "Mbit" => number(1_000_000),
        "GB" | "Gbit" => number(1_000_000_000),
        "KiB" => number(1 << 10),
        "MiB" => number(1 << 20),
        "GiB" => number(1 << 30),
        _ => Err(format!(
            "unknown unit `{name}`: durations are ns us ms s min h d, sizes B kB MB GB KiB MiB GiB, rates bit kbit Mbit Gbit"
        )),
    }
}

fn prefix(raw: &str) -> Result<ExprKind, String> {
    let (address, length) = raw.split_once('/').ok_or("a prefix is written as address/length")?;
    let address: u32 = address.parse::<Ipv4Addr>().map_err(|_| format!("`{address}` is no IPv4 address"))?.into();
    let length: u8 =
        length.parse().ok().filter(|l| *l <= 32).ok_or_else(|| format!("a prefix length is 0 to 32, not {length}"))?;
    let mask = if length == 0 { 0 } else { u32::MAX << (32 - length) };
    if address & !mask != 0 {
        return Err(format!("`{raw}` has bits set beyond its length: write {}/{length}", Ipv4Addr::from(address & mask)));
    }
    Ok(ExprKind::Prefix(address, length))
}

pub(super) fn use_one(mut path: Path) -> ItemKind {
    // The grammar gives a path at least one segment; a path of one names an item of no module, which resolution reports.
    let names = path.segments.pop().into_iter().collect();
    ItemKind::Use { module: path, names, braced: false }
}

pub(super) fn bytes_type(cx: &Cx, path: Path, length: Expr, start: u32, end: u32) -> Type {
    let span = cx.span(start, end);
    if path.single().is_none_or(|i| &*i.name != "bytes") {
        let d = Diagnostic::new(Code::Syntax, path.span(), "only `bytes` takes a length in brackets here");
        cx.errors.borrow_mut().push(d);
    }
    Type { kind: TypeKind::Bytes(Box::new(length)), span }
}

pub(super) fn block((stmts, value): (Vec<Stmt>, Option<Expr>), span: Span) -> Block {
    let mut block = Block { stmts, value: value.map(Box::new), span };
    // A block-like expression at the end is the block's value.
    if block.value.is_none()
        && let Some(Stmt { kind: StmtKind::Expr(e), .. }) = block.stmts.last()
        && matches!(e.kind, ExprKind::If(..) | ExprKind::Match(..) | ExprKind::Block(_))
        && let Some(Stmt { kind: StmtKind::Expr(e), .. }) = block.stmts.pop()
    {
        block.value = Some(Box::new(e));
    }
    block
}

pub(super) fn arm(pattern: Pattern, guard: Option<Box<Expr>>, body: Expr, span: Span) -> Arm {
    Arm { pattern, guard, body, span }
}

pub(super) fn error_arm(span: Span) -> Arm {
    let pattern = Pattern { kind: PatternKind::Wildcard, span };
    Arm { pattern, guard: None, body: Expr { kind: ExprKind::Error, span }, span }
}

pub(super) fn except(cx: &Cx, path: Path, args: Vec<Arg>, fields: Vec<Expr>, start: u32, end: u32) -> Expr {
    if path.single().is_none_or(|i| &*i.name != "same") {
        let d = Diagnostic::new(Code::Syntax, path.span(), "`except` follows `same(a, b)` only");
        cx.errors.borrow_mut().push(d);
    }
    cx.expr(ExprKind::Same(args.into_iter().map(|a| a.value).collect(), fields), start, end)
}

pub(super) fn binary(op: BinaryOp, left: Expr, right: Expr) -> Expr {
    let span = left.span.to(right.span);
    let (left, right) = (Box::new(left), Box::new(right));
    let kind = match op {
        BinaryOp::Range => ExprKind::Range { low: left, high: right, inclusive: false },
        BinaryOp::RangeInclusive => ExprKind::Range { low: left, high: right, inclusive: true },
        _ => ExprKind::Binary(op, left, right),
    };
    Expr { kind, span }
}

/// How tightly an operator binds; `implies` alone leans right.
fn power(op: BinaryOp) -> u8 {
    use BinaryOp::*;
    match op {
        Implies => 1,
        Or => 2,
        And => 3,
        // 4: not
        Eq | Ne | Lt | Le | Gt | Ge | In => 5,
        Range | RangeInclusive => 6,
        BitOr => 7,
        BitXor => 8,
        BitAnd => 9,
        Shl | Shr => 10,
        Add | Sub | AddWrap | SubWrap | AddSat | SubSat => 11,
        Mul | Div | Rem | MulWrap => 12,
    }
}

fn prefix_power(op: UnaryOp) -> u8 {
    match op {
        UnaryOp::Not => 4,
        UnaryOp::Complement => 13,
    }
}

/// The source form of an infix operator's precedence, for the formatter.
pub fn binding_power(op: BinaryOp) -> u8 {
    power(op)
}

/// An expression up to an operator, put in order by precedence as it is read (operator precedence parsing with explicit stacks).
#[derive(Default)]
pub struct Chain {
    operands: Vec<Expr>,
    pending: Vec<Pending>,
    /// Whether the last operator that binds no tighter than a comparison is one: those do not chain.
    compared: bool,
}

/// An operator whose right side is not complete.
enum Pending {
    /// A prefix operator and where it starts.
    Prefix(UnaryOp, Span),
    /// An infix operator; its left side is an operand.
    Infix(BinaryOp),
}

impl Chain {
    /// A prefix operator follows.
    pub(super) fn prefix(mut self, cx: &Cx, op: UnaryOp, start: u32) -> Chain {
        self.pending.push(Pending::Prefix(op, cx.span(start, start)));
        self
    }

    /// An operand and an infix operator follow.
    pub(super) fn infix(mut self, cx: &Cx, operand: Expr, op: BinaryOp) -> Chain {
        if self.compared && power(op) == 5 {
            let d = Diagnostic::new(Code::Syntax, operand.span, "comparisons do not chain")
                .note("join them with `and`, or use parentheses");
            cx.errors.borrow_mut().push(d);
        }
        if power(op) <= 5 {
            self.compared = power(op) == 5;
        }
        let left = self.reduce(operand, |pending| match pending {
            Pending::Prefix(p, _) => prefix_power(*p) > power(op),
            Pending::Infix(p) => power(*p) > power(op) || (power(*p) == power(op) && op != BinaryOp::Implies),
        });
        self.operands.push(left);
        self.pending.push(Pending::Infix(op));
        self
    }

    /// The last operand follows.
    pub(super) fn end(mut self, operand: Expr) -> Expr {
        self.reduce(operand, |_| true)
    }

    /// Completes pending operators, the last first, for as long as they bind tighter than what follows their right side.
    fn reduce(&mut self, mut right: Expr, binds: impl std::ops::Fn(&Pending) -> bool) -> Expr {
        while let Some(pending) = self.pending.pop_if(|pending| binds(pending)) {
            right = match pending {
                Pending::Prefix(op, start) => {
                    let span = start.to(right.span);
                    Expr { kind: ExprKind::Unary(op, Box::new(right)), span }
                }
                Pending::Infix(op) => match self.operands.pop() {
                    Some(left) => binary(op, left, right),
                    None => right,
                },
            };
        }
        right
    }
}
