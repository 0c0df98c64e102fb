//! Tables of all kinds, and what is done with them.

use super::{Scope, Ty, Var, Writer};
use std::fmt::Write;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Map,
    Set,
    Array,
    Cell,
    Bucket,
    Counter,
    Counters,
    Lpm,
}

/// A table of the element that is being written.
#[derive(Clone)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) key: Ty,
    pub(super) value: Ty,
    /// Whether handlers write it.
    pub(super) written: bool,
    /// Whether deadlines can be set.
    pub(super) dies: bool,
    /// The table that its entries share deadlines with: its keys are this one's values.
    pub(super) with: Option<usize>,
}

impl Writer {
    pub(super) fn declare_tables(&mut self) {
        self.tables.clear();
        for _ in 0..2 + self.dice.below(4) {
            self.declare_table();
        }
        self.text += "\n";
    }

    fn declare_table(&mut self) {
        let name = self.name("t");
        let size = 1 + self.dice.below(3);
        let key = *self.dice.of(&[Ty::Bits(8), Ty::Bits(8), Ty::Bits(3), Ty::Pair, Ty::Bool]);
        let value =
            *self.dice.of(&[Ty::Bits(8), Ty::Bits(16), Ty::Bits(16), Ty::Pair, Ty::Phase, Ty::Time, Ty::Perhaps, Ty::Bool]);
        let kind = *self.dice.of(&[
            Kind::Map,
            Kind::Map,
            Kind::Map,
            Kind::Set,
            Kind::Array,
            Kind::Cell,
            Kind::Bucket,
            Kind::Counter,
            Kind::Counters,
            Kind::Lpm,
        ]);
        let mut table = Table { name: name.clone(), kind, key, value, written: true, dies: false, with: None };
        let (k, v) = (key.name(), value.name());
        let role = if self.dice.once_in(4) { *self.dice.of(&["control", "feed"]) } else { "state" };
        match kind {
            Kind::Map | Kind::Set => {
                if role != "state" {
                    table.written = false;
                    let of = if kind == Kind::Map { format!("map<{k}, {v}>") } else { format!("set<{k}>") };
                    let _ = writeln!(self.text, "    {role} {name}: {of}[{}];", size + 2);
                } else {
                    self.state_table(&mut table, size);
                }
            }
            Kind::Array | Kind::Cell => {
                let role = if role == "control" { "control" } else { "state" };
                table.written = role == "state";
                table.value = *self.dice.of(&[Ty::Bits(8), Ty::Bits(16), Ty::Bits(32), Ty::Bits(8), Ty::Bool, Ty::Perhaps]);
                let (v, initial) = (
                    table.value.name(),
                    match table.value {
                        Ty::Bool => "false",
                        Ty::Perhaps => "none",
                        _ => "5",
                    },
                );
                let of = if kind == Kind::Cell { format!("cell<{v}>") } else { format!("array<{v}>[4]") };
                let _ = writeln!(self.text, "    {role} {name}: {of} = {initial};");
            }
            Kind::Bucket => {
                table.key = Ty::Bits(8);
                let _ = writeln!(self.text, "    state {name}: bucket<u8>[{size}] rate 1kbit burst 100B;");
            }
            Kind::Counter => drop(writeln!(self.text, "    state {name}: counter;")),
            Kind::Counters => drop(writeln!(self.text, "    state {name}: counter[4];")),
            Kind::Lpm => {
                table.written = false;
                table.value = Ty::Bits(8);
                let _ = writeln!(self.text, "    control {name}: lpm<Address, u8>[4];");
            }
        }
        self.tables.push(table);
    }

    /// A map or a set with a lifetime.
    fn state_table(&mut self, table: &mut Table, size: usize) {
        let fits = |t: &Table| t.dies && t.kind == Kind::Map && t.written;
        let others: Vec<usize> = (0..self.tables.len()).filter(|i| fits(&self.tables[*i])).collect();
        table.dies = true;
        let lifetime = match self.dice.below(6) {
            0 => {
                table.dies = false;
                String::new()
            }
            1 => " lifetime 3s".to_string(),
            2 => " idle 3s granularity 1s".to_string(),
            3 if table.kind == Kind::Map => {
                (table.key, table.value) = (Ty::Bits(8), Ty::Bits(16));
                " idle patience(key, value)".to_string()
            }
            4 | 5 if !others.is_empty() => {
                let other = *self.dice.of(&others);
                let name = self.tables[other].name.clone();
                table.with = Some(other);
                if table.kind == Kind::Map && self.dice.once_in(2) {
                    table.value = self.tables[other].key;
                    format!(" idle with {name}[value]")
                } else {
                    table.key = self.tables[other].key;
                    format!(" idle with {name}[key]")
                }
            }
            _ => " idle 3s".to_string(),
        };
        let (k, v) = (table.key.name(), table.value.name());
        let of = if table.kind == Kind::Map { format!("map<{k}, {v}>") } else { format!("set<{k}>") };
        let _ = writeln!(self.text, "    state {}: {of}[{size}]{lifetime};", table.name);
    }

    /// A key, of few.
    fn key(&mut self, scope: &Scope, ty: Ty) -> String {
        match ty {
            Ty::Bits(width) if width > 3 => format!("({} & 3)", self.expr(scope, ty, 1)),
            Ty::Pair => format!("Pair {{ a: ({} & 1), b: 1 }}", self.expr(scope, Ty::Bits(8), 1)),
            _ => self.expr(scope, ty, 1),
        }
    }

    fn tables_of(&self, fits: impl Fn(&Table) -> bool) -> Vec<Table> {
        self.tables.iter().filter(|t| fits(t)).cloned().collect()
    }

    /// Whether a key is in a table.
    pub(super) fn contains(&mut self, scope: &Scope) -> Option<String> {
        let tables = self.tables_of(|t| matches!(t.kind, Kind::Map | Kind::Set));
        if tables.is_empty() {
            return None;
        }
        let table = self.dice.of(&tables).clone();
        let key = self.key(scope, table.key);
        Some(match table.kind {
            Kind::Map if self.dice.once_in(2) => {
                let value = self.expr(scope, table.value, 1);
                format!("({}.get({key}) == some({value}))", table.name)
            }
            _ => format!("{}.contains({key})", table.name),
        })
    }

    /// Something done with a table. What it binds is in scope behind it.
    pub(super) fn operation(&mut self, scope: &mut Scope) {
        let table = self.dice.of(&self.tables.clone()).clone();
        let name = &table.name;
        match table.kind {
            Kind::Map | Kind::Set => self.map_operation(scope, &table),
            Kind::Array => {
                let index = format!("{} as u32 & 3", self.expr(scope, Ty::Bits(8), 1));
                match self.dice.below(4) {
                    0 if table.written => {
                        let value = self.expr(scope, table.value, 2);
                        self.line(&format!("{name}[{index}] = {value};"));
                    }
                    1 => self.first(scope, &table),
                    _ => self.bind(scope, table.value, &format!("{name}[{index}]")),
                }
            }
            Kind::Cell if table.written => {
                let value = self.expr(scope, table.value, 2);
                self.line(&format!("{name} = {value};"));
            }
            Kind::Cell => self.bind(scope, table.value, &name.clone()),
            Kind::Bucket => {
                let key = self.key(scope, Ty::Bits(8));
                let amount = if self.dice.once_in(2) { "p.length".to_string() } else { self.expr(scope, Ty::Bits(16), 1) };
                let result = self.name("v");
                self.line(&format!("var {result}: u8 = 0;"));
                self.line(&format!("match {name}.take({key}, {amount}) {{"));
                self.line(&format!("    conforms => {{ {result} = 1; }}"));
                self.line(&format!("    exceeds => {{ {result} = 2; }}"));
                let full = if self.dice.once_in(2) { "drop \"full\"".to_string() } else { format!("{{ {result} = 3; }}") };
                self.line(&format!("    full => {full},"));
                self.line("}");
                scope.vars.push(Var { name: result, ty: Ty::Bits(8), mutable: true });
            }
            Kind::Counter => {
                let amount = self.expr(scope, Ty::Bits(64), 1);
                self.line(&format!("{name}.add({amount});"));
            }
            Kind::Counters => {
                let (at, amount) = (self.expr(scope, Ty::Bits(32), 1), self.expr(scope, Ty::Bits(64), 1));
                self.line(&format!("{name}[{at} & 3].add({amount});"));
            }
            Kind::Lpm => {
                let address = format!("({} as Address)", self.expr(scope, Ty::Bits(32), 1));
                let found = self.name("v");
                let other = self.dice.of(&["drop \"no route\"", "0"]).to_string();
                if other == "0" {
                    self.bind(scope, Ty::Perhaps, &format!("{name}.lookup({address})"));
                } else {
                    self.line(&format!("let some({found}) = {name}.lookup({address}) else {{ {other} }};"));
                    scope.vars.push(Var { name: found, ty: Ty::Bits(8), mutable: false });
                }
            }
        }
    }

    fn bind(&mut self, scope: &mut Scope, ty: Ty, value: &str) {
        let name = self.name("v");
        self.line(&format!("let {name} = {value};"));
        scope.vars.push(Var { name, ty, mutable: false });
    }

    fn first(&mut self, scope: &mut Scope, table: &Table) {
        let r = self.name("r");
        let mut inner = scope.clone();
        inner.vars.push(Var { name: r.clone(), ty: table.value, mutable: false });
        let wanted = self.expr(scope, table.value, 1);
        let test = if table.value == Ty::Bits(8) { format!("{r} >= {wanted}") } else { format!("{r} == {wanted}") };
        let found = self.name("v");
        self.line(&format!("let {found} = first {r} in {} where {test};", table.name));
        match table.value {
            Ty::Bits(8) => scope.vars.push(Var { name: found, ty: Ty::Perhaps, mutable: false }),
            _ => {
                let flag = self.name("v");
                self.line(&format!("let {flag} = {found} == none;"));
                scope.vars.push(Var { name: flag, ty: Ty::Bool, mutable: false });
            }
        }
    }

    fn map_operation(&mut self, scope: &mut Scope, table: &Table) {
        let name = &table.name;
        let key = self.key(scope, table.key);
        let map = table.kind == Kind::Map;
        if !table.written || self.dice.once_in(3) {
            let touch = if table.written && self.dice.once_in(2) { "touch" } else { "get" };
            if !map {
                let flag = if touch == "touch" { format!("{name}.touch({key})") } else { format!("{name}.contains({key})") };
                return self.bind(scope, Ty::Bool, &flag);
            }
            let found = self.name("v");
            if table.value == Ty::Bits(8) && self.dice.once_in(2) {
                return self.bind(scope, Ty::Perhaps, &format!("{name}.{touch}({key})"));
            }
            let reason = self.dice.below(3);
            self.line(&format!("let some({found}) = {name}.{touch}({key}) else {{ drop \"none {reason}\" }};"));
            return scope.vars.push(Var { name: found, ty: table.value, mutable: false });
        }
        let value = if map { format!(", {}", self.value_of(scope, table)) } else { String::new() };
        let refused = self.dice.of(&["drop \"table full\"", "", ""]).to_string();
        match self.dice.below(10) {
            0..4 => match table.with.filter(|_| self.dice.once_in(2)) {
                Some(other) => self.both(scope, table, &key, other),
                None => self.line(&format!("{name}.insert_or_update({key}{value}) else {{ {refused} }}")),
            },
            4 => self.line(&format!("if not {name}.contains({key}) {{ {name}.insert({key}{value}) else {{ {refused} }} }}")),
            5 => self.line(&format!("{name}.remove({key});")),
            6 if table.dies => {
                let at = self.expr(scope, Ty::Time, 1);
                self.line(&format!("if {name}.contains({key}) {{ {name}.expire_at({key}, {at}); }}"));
            }
            7 if map => self.line(&format!("if {name}.contains({key}) {{ {name}.set({key}{value}); }}")),
            8 if map && self.dice.once_in(3) => self.line(&format!("{name}.set({key}{value});")),
            9 if self.dice.once_in(3) => self.line(&format!("{name}.insert({key}{value}) else {{ {refused} }}")),
            _ => self.choose(scope, table, &refused),
        }
    }

    /// A value; where it names an entry of another table, of few.
    fn value_of(&mut self, scope: &Scope, table: &Table) -> String {
        match table.with {
            Some(_) => self.key(scope, table.value),
            None => self.expr(scope, table.value, 2),
        }
    }

    /// Two entries that share a deadline, put in at once.
    fn both(&mut self, scope: &Scope, table: &Table, key: &str, other: usize) {
        let other = self.tables[other].clone();
        let by_value = table.kind == Kind::Map && table.value == other.key && table.key != other.key;
        let theirs = if by_value { self.key(scope, other.key) } else { key.to_string() };
        let value = match (table.kind, by_value) {
            (Kind::Map, true) => format!(", {theirs}"),
            (Kind::Map, false) => format!(", {}", self.value_of(scope, table)),
            _ => String::new(),
        };
        let other_value = self.value_of(scope, &other);
        let mut parts = [
            format!("{}.insert_or_update({key}{value})", table.name),
            format!("{}.insert_or_update({theirs}, {other_value})", other.name),
        ];
        if self.dice.once_in(2) {
            parts.reverse();
        }
        let refused = self.dice.of(&["drop \"no room for both\"", ""]).to_string();
        self.line(&format!("{} else {{ {refused} }}", parts.join(" and ")));
    }

    /// A key that is free.
    fn choose(&mut self, scope: &mut Scope, table: &Table, refused: &str) {
        let Ty::Bits(width) = table.key else {
            return self.line(&format!("{}.remove({});", table.name, self.key_text(table.key)));
        };
        let chosen = self.name("v");
        let most = if width < 4 { 7 } else { 9 };
        let within = self.dice.of(&["", " within 2", " within 64"]).to_string();
        let prefer = match self.dice.below(3) {
            0 => String::new(),
            1 => format!(" prefer {chosen} == {}", self.expr(scope, table.key, 1)),
            _ => format!(" prefer {chosen} == {}, {chosen} > 3", self.expr(scope, table.key, 1)),
        };
        self.line(&format!(
            "choose {chosen} in 1..={most}{within} where not {}.contains({chosen}){prefer} else {{ drop \"none free\" }}",
            table.name
        ));
        scope.vars.push(Var { name: chosen.clone(), ty: table.key, mutable: false });
        if self.dice.once_in(2) {
            let value = if table.kind == Kind::Map { format!(", {}", self.value_of(scope, table)) } else { String::new() };
            self.line(&format!("{}.insert({chosen}{value}) else {{ {refused} }}", table.name));
        }
    }

    fn key_text(&self, ty: Ty) -> &'static str {
        match ty {
            Ty::Pair => "Pair { a: 1, b: 1 }",
            Ty::Bool => "true",
            _ => "1",
        }
    }

    /// What may hold always, or not.
    pub(super) fn invariant(&mut self) {
        let tables = self.tables_of(|t| matches!(t.kind, Kind::Map | Kind::Set | Kind::Array));
        if tables.is_empty() {
            return;
        }
        let (name, table, n) = (self.name("holds"), self.dice.of(&tables).clone(), self.name(""));
        let word = self.dice.of(&["forall", "forall", "exists"]).to_string();
        let mut scope = Scope::default();
        let mut var = |name: String, ty: Ty| scope.vars.push(Var { name, ty, mutable: false });
        let over = match table.kind {
            Kind::Array => {
                var(format!("v{n}"), table.value);
                format!("{word} v{n} in {}", table.name)
            }
            Kind::Set => {
                var(format!("k{n}"), table.key);
                format!("{word} k{n} in {}", table.name)
            }
            _ => {
                var(format!("k{n}"), table.key);
                var(format!("v{n}"), table.value);
                format!("{word} k{n}, v{n} in {}", table.name)
            }
        };
        let mut holds = self.truth(&scope, 1, true);
        if let (true, Kind::Map | Kind::Set) = (table.dies, table.kind) {
            let bound = self.dice.of(&["1s", "3s", "10s"]).to_string();
            if self.dice.once_in(2) {
                holds = format!("({holds} or deadline({}, k{n}) <= now + {bound})", table.name);
            }
        }
        self.line(&format!("invariant {name} {{ {over}: {holds}; }}"));
    }

    pub(super) fn write_cell(&mut self, scope: &Scope) {
        let cells = self.tables_of(|t| t.kind == Kind::Cell && t.written);
        if cells.is_empty() {
            return;
        }
        let cell = self.dice.of(&cells).clone();
        let value = self.expr(scope, cell.value, 2);
        self.line(&format!("{} = {value};", cell.name));
    }
}
