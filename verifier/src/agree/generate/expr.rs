//! Expressions of a type.

use super::state::Kind;
use super::{Scope, Ty, Writer};

impl Writer {
    pub(super) fn expr(&mut self, scope: &Scope, ty: Ty, depth: usize) -> String {
        let known: Vec<String> = scope.vars.iter().filter(|v| v.ty == ty).map(|v| v.name.clone()).collect();
        if !known.is_empty() && self.dice.once_in(3) {
            return self.dice.of(&known).clone();
        }
        match ty {
            Ty::Bool => self.truth(scope, depth, true),
            Ty::Bits(width) => self.bits(scope, width, depth),
            Ty::Time => match self.dice.below(3) {
                // Sums are integers in specifications.
                _ if !scope.packet => "now".to_string(),
                0 => "now".to_string(),
                1 => "(now + 2s)".to_string(),
                _ => "(1_000_000_000 as time)".to_string(),
            },
            Ty::Pair => {
                let (a, b) = (self.bits(scope, 8, depth / 2), self.bits(scope, 16, depth / 2));
                format!("Pair {{ a: {a}, b: {b} }}")
            }
            Ty::Phase => match self.dice.below(3) {
                0 => "Phase::idle".to_string(),
                1 => format!("Phase::busy({})", self.expr(scope, Ty::Time, 0)),
                _ => format!("Phase::marked({}, {})", self.bits(scope, 8, depth / 2), self.truth(scope, depth / 2, true)),
            },
            Ty::Perhaps => match self.dice.below(2) {
                0 => "none".to_string(),
                _ => format!("some({})", self.bits(scope, 8, depth / 2)),
            },
        }
    }

    /// A number.
    fn bits(&mut self, scope: &Scope, width: u8, depth: usize) -> String {
        if depth == 0 || !scope.packet || self.dice.once_in(3) {
            return self.leaf(scope, width);
        }
        let depth = depth - 1;
        let a = self.bits(scope, width, depth);
        match self.dice.below(16) {
            0 => format!("({a} / max({}, 1))", self.bits(scope, width, depth)),
            1 => format!("({a} % max({}, 1))", self.bits(scope, width, depth)),
            2 => format!("({a} << {})", self.dice.below(width.into())),
            3 => format!("({a} >> {})", self.dice.below(width.into())),
            4 => format!("(~{a})"),
            5 => {
                let c = self.truth(scope, depth, true);
                format!("(if {c} {{ {a} }} else {{ {} }})", self.bits(scope, width, depth))
            }
            6 => format!("min({a}, {})", self.bits(scope, width, depth)),
            7 => format!("max({a}, {})", self.bits(scope, width, depth)),
            8 if width == 8 => format!("mix({}, {a})", self.bits(scope, 16, depth)),
            // Checked: now and then it does not fit, and the run stops there.
            9 if self.dice.once_in(4) => {
                let op = self.dice.of(&["+", "-", "*"]).to_string();
                format!("({a} {op} {})", self.bits(scope, width, depth))
            }
            _ => {
                let op = self.dice.of(&["+%", "-%", "*%", "+|", "-|", "&", "|", "^"]).to_string();
                format!("({a} {op} {})", self.bits(scope, width, depth))
            }
        }
    }

    fn leaf(&mut self, scope: &Scope, width: u8) -> String {
        let mut known: Vec<(String, u8)> = Vec::new();
        for var in &scope.vars {
            match var.ty {
                Ty::Bits(width) => known.push((var.name.clone(), width)),
                Ty::Pair => known.extend([(format!("{}.a", var.name), 8), (format!("total({})", var.name), 16)]),
                Ty::Phase => known.push((format!("weight({})", var.name), 8)),
                Ty::Perhaps => known.push((format!("usual({})", var.name), 8)),
                Ty::Bool | Ty::Time => {}
            }
        }
        for held in &scope.headers {
            for (field, width, wrapped) in &self.layouts[held.layout].fields {
                let read = format!("{}.{field}", held.name);
                known.push((if wrapped.is_some() { format!("({read} as u{width})") } else { read }, *width));
            }
        }
        for table in self.tables.iter().filter(|t| t.kind == Kind::Cell) {
            if let Ty::Bits(width) = table.value {
                known.push((table.name.clone(), width));
            }
        }
        if scope.packet && self.dice.once_in(8) {
            known.push(("p.length".to_string(), 16));
        }
        if known.is_empty() || self.dice.once_in(4) {
            let most = if width >= 64 { u64::MAX } else { (1 << width) - 1 };
            let few = [0, 1, 2, 3, 100, most, most / 2, most - 1];
            return format!("({} as u{width})", (*self.dice.of(&few)).min(most));
        }
        let same: Vec<(String, u8)> = known.iter().filter(|(_, w)| *w == width).cloned().collect();
        let from = if !same.is_empty() && !self.dice.once_in(4) { &same } else { &known };
        let (name, of) = self.dice.of(from).clone();
        match of {
            of if of == width => name,
            of if of < width => format!("({name} as u{width})"),
            _ => format!("({name} as% u{width})"),
        }
    }

    /// A condition; in the guard of an arm, nothing is looked up.
    pub(super) fn truth(&mut self, scope: &Scope, depth: usize, looks: bool) -> String {
        let flags: Vec<String> = scope.vars.iter().filter(|v| v.ty == Ty::Bool).map(|v| v.name.clone()).collect();
        if depth > 0 && self.dice.once_in(3) {
            let (a, b) = (self.truth(scope, depth - 1, looks), self.truth(scope, depth - 1, looks));
            return match self.dice.below(4) {
                0 => format!("(not {a})"),
                1 => format!("({a} or {b})"),
                2 => format!("({a} and {b})"),
                _ => format!("({a} implies {b})"),
            };
        }
        match self.dice.below(8) {
            0 if !flags.is_empty() => self.dice.of(&flags).clone(),
            1 if looks => match self.contains(scope) {
                Some(text) => text,
                None => "true".to_string(),
            },
            2 => format!("({} < {})", self.expr(scope, Ty::Time, 0), self.expr(scope, Ty::Time, 0)),
            3 => format!("({} == {})", self.expr(scope, Ty::Phase, 1), self.expr(scope, Ty::Phase, 1)),
            _ => {
                let depth = if looks { depth } else { 0 };
                let width = *self.dice.of(&[8, 8, 16, 3]);
                let a = self.bits(scope, width, depth);
                if self.dice.once_in(4) {
                    return format!("({a} in 1..=5)");
                }
                let op = self.dice.of(&["==", "!=", "<", "<=", ">", ">="]).to_string();
                format!("({a} {op} {})", self.bits(scope, width, depth))
            }
        }
    }
}
