//! Constructors that simplify. Each rule is an equality of both sides for all values; `eval` tests them against each other.

use super::{Node, Op, Sort, Term, Terms};

/// Ones in the lowest `width` bits.
fn mask(width: u8) -> u128 {
    if width >= 128 { u128::MAX } else { (1 << width) - 1 }
}

/// The signed number that `width` bits stand for.
fn signed(width: u8, bits: u128) -> i128 {
    if width >= 128 {
        return bits as i128;
    }
    let sign = 1u128 << (width - 1);
    if bits & sign == 0 { bits as i128 } else { bits as i128 - (1i128 << width) }
}

impl Terms {
    /// True or false.
    pub fn bool(&mut self, value: bool) -> Term {
        self.add(Node::Bool(value), Sort::Bool)
    }

    /// A bit string.
    pub fn bits(&mut self, bits: u128, width: u8) -> Term {
        self.add(Node::Bits(width, bits & mask(width)), Sort::Bits(width))
    }

    /// An integer.
    pub fn int(&mut self, value: i128) -> Term {
        self.add(Node::Int(value), Sort::Int)
    }

    /// A truth value, if the term is one.
    pub fn as_bool(&self, term: Term) -> Option<bool> {
        if let Node::Bool(value) = self.node(term) { Some(*value) } else { None }
    }

    /// A bit string's bits, if the term is a constant.
    pub fn as_bits(&self, term: Term) -> Option<u128> {
        if let Node::Bits(_, bits) = self.node(term) { Some(*bits) } else { None }
    }

    /// An integer, if the term is a constant.
    pub fn as_int(&self, term: Term) -> Option<i128> {
        if let Node::Int(value) = self.node(term) { Some(*value) } else { None }
    }

    fn width(&self, term: Term) -> u8 {
        match self.sort(term) {
            Sort::Bits(width) => width,
            sort => unreachable!("a bit string was expected, not {sort:?}"),
        }
    }

    /// Not.
    pub fn not(&mut self, a: Term) -> Term {
        match self.node(a) {
            Node::Bool(value) => {
                let value = !*value;
                self.bool(value)
            }
            Node::Not(inner) => *inner,
            _ => self.add(Node::Not(a), Sort::Bool),
        }
    }

    /// All of them.
    pub fn and(&mut self, all: &[Term]) -> Term {
        let mut parts = Vec::with_capacity(all.len());
        for part in all {
            match self.node(*part) {
                Node::Bool(true) => {}
                Node::Bool(false) => return *part,
                Node::And(inner) => parts.extend_from_slice(inner),
                _ => parts.push(*part),
            }
        }
        parts.sort_unstable();
        parts.dedup();
        for part in &parts {
            if let Node::Not(inner) = self.node(*part)
                && parts.binary_search(inner).is_ok()
            {
                return self.bool(false);
            }
        }
        match parts.as_slice() {
            [] => self.bool(true),
            [one] => *one,
            _ => self.add(Node::And(parts.into()), Sort::Bool),
        }
    }

    /// One of them.
    pub fn or(&mut self, all: &[Term]) -> Term {
        let mut parts = Vec::with_capacity(all.len());
        for part in all {
            match self.node(*part) {
                Node::Bool(false) => {}
                Node::Bool(true) => return *part,
                Node::Or(inner) => parts.extend_from_slice(inner),
                _ => parts.push(*part),
            }
        }
        parts.sort_unstable();
        parts.dedup();
        for part in &parts {
            if let Node::Not(inner) = self.node(*part)
                && parts.binary_search(inner).is_ok()
            {
                return self.bool(true);
            }
        }
        match parts.as_slice() {
            [] => self.bool(false),
            [one] => *one,
            _ => self.add(Node::Or(parts.into()), Sort::Bool),
        }
    }

    /// If the first, then the second.
    pub fn implies(&mut self, a: Term, b: Term) -> Term {
        let not = self.not(a);
        self.or(&[not, b])
    }

    /// `if c then a else b`.
    pub fn ite(&mut self, c: Term, a: Term, b: Term) -> Term {
        if a == b {
            return a;
        }
        match self.node(c) {
            Node::Bool(true) => return a,
            Node::Bool(false) => return b,
            Node::Not(inner) => {
                let inner = *inner;
                return self.ite(inner, b, a);
            }
            _ => {}
        }
        if self.sort(a) == Sort::Bool {
            match (self.as_bool(a), self.as_bool(b)) {
                (Some(true), _) => return self.or(&[c, b]),
                (Some(false), _) => {
                    let not = self.not(c);
                    return self.and(&[not, b]);
                }
                (_, Some(true)) => return self.implies(c, a),
                (_, Some(false)) => return self.and(&[c, a]),
                _ if a == c => return self.or(&[c, b]),
                _ if b == c => return self.and(&[c, a]),
                _ => {}
            }
        }
        // The same question asked twice.
        let a = if let Node::Ite(c2, then, _) = self.node(a)
            && *c2 == c
        {
            *then
        } else {
            a
        };
        let b = if let Node::Ite(c2, _, other) = self.node(b)
            && *c2 == c
        {
            *other
        } else {
            b
        };
        if a == b {
            return a;
        }
        let sort = self.sort(a);
        debug_assert_eq!(sort, self.sort(b));
        self.add(Node::Ite(c, a, b), sort)
    }

    pub(crate) fn is_constant(&self, term: Term) -> bool {
        matches!(self.node(term), Node::Bool(_) | Node::Bits(..) | Node::Int(_))
    }

    /// Whether an `ite` ends in constants only, and is small enough to be taken apart.
    fn is_table(&self, term: Term, depth: u32) -> bool {
        match self.node(term) {
            Node::Ite(_, a, b) => depth > 0 && self.is_table(*a, depth - 1) && self.is_table(*b, depth - 1),
            _ => self.is_constant(term),
        }
    }

    /// Equal.
    pub fn eq(&mut self, a: Term, b: Term) -> Term {
        debug_assert_eq!(self.sort(a), self.sort(b));
        if a == b {
            return self.bool(true);
        }
        if self.is_constant(a) && self.is_constant(b) {
            return self.bool(false);
        }
        if self.sort(a) == Sort::Bool {
            for (one, other) in [(a, b), (b, a)] {
                match self.as_bool(one) {
                    Some(true) => return other,
                    Some(false) => return self.not(other),
                    None => {}
                }
            }
        }
        for (one, other) in [(a, b), (b, a)] {
            if !self.is_constant(other) {
                continue;
            }
            if self.is_table(one, 24)
                && let Node::Ite(c, then, els) = *self.node(one)
            {
                let (then, els) = (self.eq(then, other), self.eq(els, other));
                return self.ite(c, then, els);
            }
            if let (Node::ZeroExtend(_, inner), Some(bits)) = (self.node(one).clone(), self.as_bits(other)) {
                let width = self.width(inner);
                if bits > mask(width) {
                    return self.bool(false);
                }
                let narrow = self.bits(bits, width);
                return self.eq(inner, narrow);
            }
            if let (Node::ToInt(inner), Some(number)) = (self.node(one).clone(), self.as_int(other)) {
                let width = self.width(inner);
                let Some(bits) = u128::try_from(number).ok().filter(|bits| *bits <= mask(width)) else {
                    return self.bool(false);
                };
                let bits = self.bits(bits, width);
                return self.eq(inner, bits);
            }
        }
        if let (Node::ZeroExtend(_, x), Node::ZeroExtend(_, y)) = (self.node(a).clone(), self.node(b).clone())
            && self.sort(x) == self.sort(y)
        {
            return self.eq(x, y);
        }
        let (a, b) = (a.min(b), a.max(b));
        self.add(Node::Eq(a, b), Sort::Bool)
    }

    /// Equal, part by part.
    pub fn all_eq(&mut self, left: &[Term], right: &[Term]) -> Term {
        debug_assert_eq!(left.len(), right.len());
        let parts: Vec<Term> = left.iter().zip(right).map(|(a, b)| self.eq(*a, *b)).collect();
        self.and(&parts)
    }

    /// An operator.
    pub fn op(&mut self, op: Op, a: Term, b: Term) -> Term {
        debug_assert_eq!(self.sort(a), self.sort(b), "{op:?}");
        if let Some(folded) = self.fold(op, a, b) {
            return folded;
        }
        let sort = match op {
            Op::Ult | Op::Ule | Op::Slt | Op::Sle | Op::IntLe | Op::IntLt => Sort::Bool,
            _ => self.sort(a),
        };
        let (a, b) = match op {
            Op::Add | Op::Mul | Op::And | Op::Or | Op::Xor | Op::IntAdd | Op::IntMul => (a.min(b), a.max(b)),
            _ => (a, b),
        };
        self.add(Node::Op(op, a, b), sort)
    }

    fn fold(&mut self, op: Op, a: Term, b: Term) -> Option<Term> {
        match (self.node(a).clone(), self.node(b).clone()) {
            (Node::Bits(width, x), Node::Bits(_, y)) => {
                let value = match op {
                    Op::Add => x.wrapping_add(y),
                    Op::Sub => x.wrapping_sub(y),
                    Op::Mul => x.wrapping_mul(y),
                    Op::Div => x.checked_div(y)?,
                    Op::Rem => x.checked_rem(y)?,
                    Op::And => x & y,
                    Op::Or => x | y,
                    Op::Xor => x ^ y,
                    Op::Shl => u32::try_from(y).ok().filter(|y| *y < u32::from(width)).map_or(0, |y| x << y),
                    Op::Shr => u32::try_from(y).ok().filter(|y| *y < u32::from(width)).map_or(0, |y| x >> y),
                    Op::Ult => return Some(self.bool(x < y)),
                    Op::Ule => return Some(self.bool(x <= y)),
                    Op::Slt => return Some(self.bool(signed(width, x) < signed(width, y))),
                    Op::Sle => return Some(self.bool(signed(width, x) <= signed(width, y))),
                    _ => return None,
                };
                Some(self.bits(value, width))
            }
            (Node::Int(x), Node::Int(y)) => match op {
                Op::IntAdd => x.checked_add(y).map(|v| self.int(v)),
                Op::IntSub => x.checked_sub(y).map(|v| self.int(v)),
                Op::IntMul => x.checked_mul(y).map(|v| self.int(v)),
                Op::IntDiv if y > 0 => Some(self.int(x.div_euclid(y))),
                Op::IntMod if y > 0 => Some(self.int(x.rem_euclid(y))),
                Op::IntLe => Some(self.bool(x <= y)),
                Op::IntLt => Some(self.bool(x < y)),
                _ => None,
            },
            (left, right) => {
                if a == b {
                    match op {
                        Op::Ule | Op::Sle | Op::IntLe => return Some(self.bool(true)),
                        Op::Ult | Op::Slt | Op::IntLt => return Some(self.bool(false)),
                        Op::And | Op::Or => return Some(a),
                        Op::Sub | Op::Xor => {
                            let width = self.width(a);
                            return Some(self.bits(0, width));
                        }
                        Op::IntSub => return Some(self.int(0)),
                        _ => {}
                    }
                }
                if let Some(narrow) = self.compare_narrow(op, &left, &right) {
                    return Some(narrow);
                }
                match (op, left, right) {
                    (Op::Add | Op::Or | Op::Xor, Node::Bits(_, 0), _) | (Op::IntAdd, Node::Int(0), _) => Some(b),
                    (Op::Add | Op::Sub | Op::Or | Op::Xor | Op::Shl | Op::Shr, _, Node::Bits(_, 0))
                    | (Op::IntAdd | Op::IntSub, _, Node::Int(0)) => Some(a),
                    (Op::IntMul, Node::Int(1), _) => Some(b),
                    (Op::IntMul, _, Node::Int(1)) | (Op::IntDiv, _, Node::Int(1)) => Some(a),
                    (Op::Ult, _, Node::Bits(_, 0)) => Some(self.bool(false)),
                    (Op::Ule, Node::Bits(_, 0), _) => Some(self.bool(true)),
                    (Op::And, Node::Bits(_, 0), _) => Some(a),
                    (Op::And, _, Node::Bits(_, 0)) => Some(b),
                    // What was widened is divided as it was.
                    (Op::Div | Op::Rem, Node::ZeroExtend(width, x), Node::Bits(_, by)) if by > 0 && by <= mask(self.width(x)) => {
                        let by = self.bits(by, self.width(x));
                        let narrow = self.op(op, x, by);
                        Some(self.zero_extend(narrow, width))
                    }
                    (Op::Rem, Node::ZeroExtend(width, x), Node::ZeroExtend(_, y)) if self.width(x) == self.width(y) => {
                        let narrow = self.op(op, x, y);
                        Some(self.zero_extend(narrow, width))
                    }
                    // x >> n of a constant n is bits of x.
                    (Op::Shr, _, Node::Bits(width, by)) if by < u128::from(width) => {
                        let kept = self.extract(a, by as u8, width - by as u8);
                        Some(self.zero_extend(kept, width))
                    }
                    // x & 0..01..1 is the lowest bits of x.
                    (Op::And, _, Node::Bits(width, bits)) if bits == mask((bits.count_ones() as u8).min(width)) => {
                        let ones = bits.count_ones() as u8;
                        if ones == width {
                            return Some(a);
                        }
                        let kept = self.extract(a, 0, ones);
                        Some(self.zero_extend(kept, width))
                    }
                    (Op::And, Node::Bits(..), _) => Some(self.op(op, b, a)).filter(|t| !matches!(self.node(*t), Node::Op(..))),
                    _ => None,
                }
            }
        }
    }

    /// Bit strings that were widened with zeros are compared as they were before.
    fn compare_narrow(&mut self, op: Op, left: &Node, right: &Node) -> Option<Term> {
        let (strict, signed_too) = match op {
            Op::Ult => (true, false),
            Op::Ule => (false, false),
            Op::Slt => (true, true),
            Op::Sle => (false, true),
            _ => return None,
        };
        let op = if strict { Op::Ult } else { Op::Ule };
        let is_negative = |width: u8, bits: u128| signed_too && signed(width, bits) < 0;
        match (left, right) {
            (Node::ZeroExtend(width, x), Node::ZeroExtend(_, y)) => {
                let narrow = self.width(*x).max(self.width(*y));
                let (x, y) = (self.zero_extend(*x, narrow), self.zero_extend(*y, narrow));
                (narrow < *width).then(|| self.op(op, x, y))
            }
            (Node::ZeroExtend(width, x), Node::Bits(_, bits)) => {
                let narrow = self.width(*x);
                if is_negative(*width, *bits) || *bits > mask(narrow) {
                    return Some(self.bool(!is_negative(*width, *bits)));
                }
                let bits = self.bits(*bits, narrow);
                Some(self.op(op, *x, bits))
            }
            (Node::Bits(_, bits), Node::ZeroExtend(width, x)) => {
                let narrow = self.width(*x);
                if is_negative(*width, *bits) || *bits > mask(narrow) {
                    return Some(self.bool(is_negative(*width, *bits)));
                }
                let bits = self.bits(*bits, narrow);
                Some(self.op(op, bits, *x))
            }
            _ => None,
        }
    }

    /// All bits flipped.
    pub fn complement(&mut self, a: Term) -> Term {
        match *self.node(a) {
            Node::Bits(width, bits) => self.bits(!bits, width),
            Node::Complement(inner) => inner,
            _ => {
                let sort = self.sort(a);
                self.add(Node::Complement(a), sort)
            }
        }
    }

    /// Zero-extended to a width that is not smaller.
    pub fn zero_extend(&mut self, a: Term, width: u8) -> Term {
        let from = self.width(a);
        debug_assert!(from <= width);
        if from == width {
            return a;
        }
        match *self.node(a) {
            Node::Bits(_, bits) => self.bits(bits, width),
            Node::ZeroExtend(_, inner) => self.zero_extend(inner, width),
            _ => self.add(Node::ZeroExtend(width, a), Sort::Bits(width)),
        }
    }

    /// Sign-extended to a width that is not smaller.
    pub fn sign_extend(&mut self, a: Term, width: u8) -> Term {
        let from = self.width(a);
        debug_assert!(from <= width);
        if from == width {
            return a;
        }
        match *self.node(a) {
            Node::Bits(_, bits) => self.bits(signed(from, bits) as u128, width),
            // What was zero-extended is not negative.
            Node::ZeroExtend(_, inner) => self.zero_extend(inner, width),
            Node::SignExtend(_, inner) => self.sign_extend(inner, width),
            _ => self.add(Node::SignExtend(width, a), Sort::Bits(width)),
        }
    }

    /// `width` bits from bit `low` on.
    pub fn extract(&mut self, of: Term, low: u8, width: u8) -> Term {
        let from = self.width(of);
        debug_assert!(low + width <= from && width > 0);
        if width == from {
            return of;
        }
        match *self.node(of) {
            Node::Bits(_, bits) => self.bits(bits >> low, width),
            Node::Extract { low: inner, of, .. } => self.extract(of, inner + low, width),
            Node::ZeroExtend(_, inner) => {
                let narrow = self.width(inner);
                if low >= narrow {
                    self.bits(0, width)
                } else if low + width <= narrow {
                    self.extract(inner, low, width)
                } else {
                    let kept = self.extract(inner, low, narrow - low);
                    self.zero_extend(kept, width)
                }
            }
            Node::SignExtend(_, inner) if low + width <= self.width(inner) => self.extract(inner, low, width),
            Node::Ite(c, a, b) if self.is_constant(a) || self.is_constant(b) => {
                let (a, b) = (self.extract(a, low, width), self.extract(b, low, width));
                self.ite(c, a, b)
            }
            // The lowest bits of a sum are those of its parts.
            Node::Op(op @ (Op::Add | Op::Sub | Op::Mul), a, b) if low == 0 && self.narrows(of, width, 8) => {
                let (a, b) = (self.extract(a, 0, width), self.extract(b, 0, width));
                self.op(op, a, b)
            }
            _ => self.add(Node::Extract { low, width, of }, Sort::Bits(width)),
        }
    }

    /// Whether a sum or product was but widened for what it is made of.
    fn narrows(&self, term: Term, width: u8, depth: u32) -> bool {
        match *self.node(term) {
            Node::Bits(..) => true,
            Node::ZeroExtend(_, inner) | Node::SignExtend(_, inner) => self.width(inner) <= width,
            Node::Op(Op::Add | Op::Sub | Op::Mul, a, b) => {
                depth > 0 && self.narrows(a, width, depth - 1) && self.narrows(b, width, depth - 1)
            }
            _ => false,
        }
    }

    /// The unsigned number that a bit string stands for.
    pub fn to_int(&mut self, a: Term) -> Term {
        match *self.node(a) {
            Node::Bits(_, bits) if bits <= i128::MAX as u128 => self.int(bits as i128),
            Node::ZeroExtend(_, inner) => self.to_int(inner),
            Node::Ite(c, x, y) if self.is_constant(x) || self.is_constant(y) => {
                let (x, y) = (self.to_int(x), self.to_int(y));
                self.ite(c, x, y)
            }
            _ => self.add(Node::ToInt(a), Sort::Int),
        }
    }

    /// An integer modulo 2^width.
    pub fn to_bits(&mut self, a: Term, width: u8) -> Term {
        match *self.node(a) {
            Node::Int(value) => self.bits(value as u128, width),
            Node::ToInt(inner) => {
                let from = self.width(inner);
                if from <= width { self.zero_extend(inner, width) } else { self.extract(inner, 0, width) }
            }
            _ => self.add(Node::ToBits(width, a), Sort::Bits(width)),
        }
    }
}

impl Terms {
    /// A term made anew of other parts.
    pub(crate) fn remade(&mut self, term: Term, at: impl Fn(Term) -> Term) -> Term {
        if self.children(term).all(|part| at(part) == part) {
            return term;
        }
        match self.node(term) {
            Node::Bool(_) | Node::Bits(..) | Node::Int(_) | Node::Quantified(_) => term,
            Node::Apply(_, args) if args.is_empty() => term,
            Node::Apply(symbol, args) => {
                let (symbol, args) = (*symbol, args.iter().map(|a| at(*a)).collect::<Vec<_>>());
                self.apply(symbol, &args)
            }
            Node::And(all) => {
                let all: Vec<Term> = all.iter().map(|a| at(*a)).collect();
                self.and(&all)
            }
            Node::Or(all) => {
                let all: Vec<Term> = all.iter().map(|a| at(*a)).collect();
                self.or(&all)
            }
            Node::Not(a) => self.not(at(*a)),
            Node::Ite(a, b, c) => self.ite(at(*a), at(*b), at(*c)),
            Node::Eq(a, b) => self.eq(at(*a), at(*b)),
            Node::Op(op, a, b) => self.op(*op, at(*a), at(*b)),
            Node::Complement(a) => self.complement(at(*a)),
            Node::ZeroExtend(width, a) => self.zero_extend(at(*a), *width),
            Node::SignExtend(width, a) => self.sign_extend(at(*a), *width),
            Node::Extract { low, width, of } => self.extract(at(*of), *low, *width),
            Node::ToInt(a) => self.to_int(at(*a)),
            Node::ToBits(width, a) => self.to_bits(at(*a), *width),
        }
    }

    /// Whether a formula holds wherever another does, never, or nobody knows, as far as their parts show.
    pub fn decided(&self, given: Term, formula: Term) -> Option<bool> {
        let given: &[Term] = match self.node(given) {
            Node::And(all) => all,
            _ => &[given],
        };
        let holds = |part: Term| given.contains(&part);
        let fails = |part: Term| match self.node(part) {
            Node::Not(inner) => holds(*inner),
            _ => given.iter().any(|g| matches!(self.node(*g), Node::Not(inner) if *inner == part)),
        };
        match self.node(formula) {
            Node::Bool(value) => Some(*value),
            Node::And(all) if all.iter().all(|p| holds(*p)) => Some(true),
            Node::And(all) if all.iter().any(|p| fails(*p)) => Some(false),
            Node::Or(all) if all.iter().any(|p| holds(*p)) => Some(true),
            Node::Or(all) if all.iter().all(|p| fails(*p)) => Some(false),
            _ if holds(formula) => Some(true),
            _ if fails(formula) => Some(false),
            _ => None,
        }
    }
}
