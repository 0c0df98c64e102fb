//! Handlers: matches on headers, and statements in their arms.

use super::{Held, Layout, Scope, Ty, Var, Writer};

impl Writer {
    pub(super) fn line(&mut self, text: &str) {
        self.text += "        ";
        self.text += text;
        self.text += "\n";
    }

    /// A match of the packet's headers. Where the packets sent on must begin with the first header, those without it are dropped.
    pub(super) fn matches(&mut self, scope: &Scope, begins: bool) {
        self.line("match p {");
        for _ in 0..1 + self.dice.below(4) {
            self.arm(scope);
        }
        let first = self.layouts[0].name.clone();
        if self.dice.once_in(2) {
            let (mut inner, name) = (scope.clone(), self.name("h"));
            self.line(&format!("{{ {first} as {name} }} => {{"));
            inner.headers.push(Held { name, layout: 0 });
            self.block(&mut inner, 3);
            self.line("}");
        }
        if begins || self.dice.once_in(2) {
            self.line("_ => drop \"other\",");
        } else {
            self.line("_ => {");
            self.block(&mut scope.clone(), 2);
            self.line("}");
        }
        self.line("}");
    }

    fn arm(&mut self, scope: &Scope) {
        let (mut inner, mut parts) = (scope.clone(), Vec::new());
        let mut at = 0;
        loop {
            let name = self.name("h");
            parts.push(format!("{} as {name}", self.layouts[at].name));
            inner.headers.push(Held { name, layout: at });
            let next = self.layouts[at].next.clone();
            if next.is_empty() || self.dice.once_in(4) {
                break;
            }
            let then = *self.dice.of(&next);
            match self.dice.below(10) {
                0 => {
                    parts.push(format!("malformed {}", self.layouts[then].name));
                    break;
                }
                1 if next.len() > 1 => {
                    let names: Vec<String> = next.iter().map(|n| self.layouts[*n].name.clone()).collect();
                    parts.push(format!("({})", names.join(" | ")));
                    break;
                }
                _ => at = then,
            }
        }
        let guard = if self.dice.once_in(3) { format!(" if {}", self.truth(&inner, 1, false)) } else { String::new() };
        self.line(&format!("{{ {} }}{guard} => {{", parts.join(", ")));
        let length = 2 + self.dice.below(4);
        self.block(&mut inner, length);
        self.line("}");
    }

    /// Statements, and then the end of the handler, if this is it.
    fn block(&mut self, scope: &mut Scope, length: usize) {
        for _ in 0..length {
            self.stmt(scope, length);
        }
        if scope.last {
            self.end(scope, length);
        }
    }

    fn end(&mut self, scope: &mut Scope, length: usize) {
        match self.dice.below(8) {
            0 => self.line("drop \"end\""),
            1 if length > 1 => {
                let c = self.truth(scope, 1, true);
                self.line(&format!("if {c} {{"));
                self.block(&mut scope.clone(), length / 2);
                self.line("} else {");
                self.block(&mut scope.clone(), length / 2);
                self.line("}");
            }
            2 => self.emit(scope, &[0, 1]),
            3 => self.emit(scope, &[1, 0]),
            4 => self.emit(scope, &[1]),
            5 => {
                self.emit(scope, &[1]);
                self.set_field(scope);
                self.write_cell(scope);
                self.set_field(scope);
                self.emit(scope, &[0]);
            }
            _ => self.emit(scope, &[0]),
        }
    }

    fn emit(&mut self, scope: &Scope, outputs: &[usize]) {
        let mut sent = Vec::new();
        for output in outputs {
            let (name, types) = self.outputs[*output].clone();
            let args: Vec<String> = types.iter().map(|ty| self.expr(scope, *ty, 1)).collect();
            sent.push(if args.is_empty() { name } else { format!("{name}({})", args.join(", ")) });
        }
        self.line(&format!("emit {};", sent.join(", ")));
    }

    fn stmt(&mut self, scope: &mut Scope, length: usize) {
        match self.dice.below(16) {
            0..6 => self.operation(scope),
            6..8 => {
                let ty = self.any_type();
                let (value, name) = (self.expr(scope, ty, 2), self.name("v"));
                let mutable = self.dice.once_in(2);
                let word = if mutable { "var" } else { "let" };
                self.line(&format!("{word} {name}: {} = {value};", ty.name()));
                scope.vars.push(Var { name, ty, mutable });
            }
            8 => {
                let variables: Vec<Var> = scope.vars.iter().filter(|v| v.mutable).cloned().collect();
                if variables.is_empty() {
                    return self.set_field(scope);
                }
                let var = self.dice.of(&variables).clone();
                let value = self.expr(scope, var.ty, 2);
                self.line(&format!("{} = {value};", var.name));
            }
            9..12 => self.set_field(scope),
            12 => {
                let c = self.truth(scope, 2, true);
                self.line(&format!("if {c} {{"));
                self.block(&mut Scope { last: false, ..scope.clone() }, length / 2);
                if self.dice.once_in(2) {
                    self.line("} else {");
                    self.block(&mut Scope { last: false, ..scope.clone() }, length / 2);
                }
                self.line("}");
            }
            13 => {
                let (name, count) = (self.name("i"), 1 + self.dice.below(3));
                self.line(&format!("for {name} in 0..{count} {{"));
                let mut inner = Scope { last: false, ..scope.clone() };
                inner.vars.push(Var { name, ty: Ty::Bits(32), mutable: false });
                self.block(&mut inner, length / 2);
                self.line("}");
            }
            14 | 15 if scope.last => self.push_or_pop(scope),
            _ => {
                let c = self.truth(scope, 1, true);
                let reason = self.dice.below(3);
                self.line(&format!("if {c} {{ drop \"reason {reason}\" }}"));
            }
        }
    }

    fn set_field(&mut self, scope: &mut Scope) {
        if scope.headers.is_empty() {
            return;
        }
        let held = self.dice.of(&scope.headers).clone();
        let layout = self.layouts[held.layout].clone();
        let often = if self.dice.once_in(6) { layout.fields.len() } else { layout.writable };
        let (field, width, wrapped) = self.dice.of(&layout.fields[..often]).clone();
        let value = self.expr(scope, Ty::Bits(width), 2);
        let value = wrapped.map_or(value.clone(), |ty| format!("({value} as {ty})"));
        self.line(&format!("{}.{field} = {value};", held.name));
    }

    /// A header more, or one less. What was known of headers behind it stays known.
    fn push_or_pop(&mut self, scope: &mut Scope) {
        if scope.headers.len() < 2 {
            return;
        }
        let at = 1 + self.dice.below(scope.headers.len() - 1);
        if self.dice.once_in(2) {
            let gone = scope.headers.remove(at);
            return self.line(&format!("pop {};", gone.name));
        }
        let plain: Vec<usize> = (0..self.layouts.len()).filter(|l| self.layouts[*l].plain).collect();
        if plain.is_empty() {
            return;
        }
        let layout = *self.dice.of(&plain);
        let Layout { name: header, fields, .. } = self.layouts[layout].clone();
        let mut given = Vec::new();
        for (field, width, wrapped) in fields {
            let value = self.expr(scope, Ty::Bits(width), 1);
            given.push(format!("{field}: {}", wrapped.map_or(value.clone(), |ty| format!("({value} as {ty})"))));
        }
        let name = self.name("h");
        let before = scope.headers[at].name.clone();
        let refused = "drop \"no room\"";
        self.line(&format!("push {header} {{ {} }} before {before} as {name} else {{ {refused} }}", given.join(", ")));
        scope.headers.insert(at, Held { name, layout });
    }
}
