//! The text form of a [`Program`]: everything that the IR says, with names instead of numbers and the width at each variable,
//! for those who write and debug a consumer of it. There is no reader for it, and nothing may be made to depend on its form.
//! The same program gives the same text. Printing never fails: what is out of range is printed with a `?`.

mod expr;
mod spec;
mod stmt;

pub use expr::{Names, constant, scalar};

use super::{
    Body, Column, Element, Expr, Header, HeaderId, Lifetime, LifetimeFn, Program, Property, Role, Shape, Show, Stmt, Table,
    TableKind, Target, Test,
};
use std::fmt;

/// The text form of a program.
pub fn print(program: &Program) -> String {
    let mut out = Printer::new(program);
    out.program();
    out.text
}

/// The text form of a test of a program.
pub fn print_test(program: &Program, test: &Test) -> String {
    let mut out = Printer::new(program);
    out.test(test);
    out.text
}

/// The text form of a property of a program: the same, if it says the same of tables of the same names.
pub fn print_property(program: &Program, property: &Property) -> String {
    let mut out = Printer::new(program);
    out.property(property);
    out.text
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print(self))
    }
}

/// Text under construction, with its indentation.
struct Printer<'a> {
    program: &'a Program,
    /// The element whose handlers are being printed.
    element: Option<&'a Element>,
    text: String,
    depth: usize,
}

impl<'a> Printer<'a> {
    fn new(program: &'a Program) -> Printer<'a> {
        Printer { program, element: None, text: String::new(), depth: 0 }
    }

    fn line(&mut self, line: impl AsRef<str>) {
        for _ in 0..self.depth {
            self.text.push_str("    ");
        }
        self.text.push_str(line.as_ref());
        self.text.push('\n');
    }

    fn blank(&mut self) {
        self.text.push('\n');
    }

    /// What `inside` prints, one level deeper.
    fn nest(&mut self, inside: impl FnOnce(&mut Self)) {
        self.depth += 1;
        inside(self);
        self.depth -= 1;
    }

    fn program(&mut self) {
        let program = self.program;
        self.line(format!("middlebox {}", program.name));
        if !program.params.is_empty() {
            self.blank();
        }
        for param in &program.params {
            let mut line = format!("param {}: {}", param.name, columns(&param.columns));
            if let Some(default) = &param.default {
                let values: Vec<String> = default
                    .iter()
                    .enumerate()
                    .map(|(i, v)| match param.columns.get(i) {
                        Some(column) => constant(*v, column.ty),
                        None => format!("{v}?"),
                    })
                    .collect();
                line.push_str(&format!(" = ({})", values.join(", ")));
            }
            self.line(line);
            self.nest(|p| p.line(format!("shape {}", shape(&param.shape))));
        }
        for (id, header) in program.headers.iter().enumerate() {
            self.blank();
            self.header(HeaderId(id as u32), header);
        }
        if !program.hashes.is_empty() {
            self.blank();
        }
        for hash in &program.hashes {
            let args: Vec<String> = hash.args.iter().map(|a| scalar(*a)).collect();
            self.line(format!("hash {}({}) -> u{}", hash.name, args.join(", "), hash.width));
        }
        self.blank();
        for reason in &program.reasons {
            self.line(format!("reason {reason:?}"));
        }
        self.blank();
        for port in &program.ports {
            match port.entry {
                Some(entry) => {
                    let target = self.target(&Target::Input(entry));
                    self.line(format!("port {} -> {target}", port.name));
                }
                None => self.line(format!("port {} (out only)", port.name)),
            }
        }
        for table in &program.tables {
            self.blank();
            self.table(table);
        }
        for element in &program.elements {
            self.blank();
            self.element(element);
        }
        for require in &program.requires {
            self.blank();
            self.line(format!("require {:?}", require.message));
            let names = Names::of_body(program, &require.body);
            self.nest(|p| {
                p.block(&names, &require.body.block);
                p.line(format!("holds {}", names.expr(&require.holds)));
            });
        }
        for property in &program.properties {
            self.blank();
            self.property(property);
        }
    }

    fn header(&mut self, id: HeaderId, header: &Header) {
        self.line(format!("header {}: {} bytes", header.name, header.fixed));
        let names = Names::outside(self.program, Some(id));
        self.nest(|p| {
            for field in &header.fields {
                p.line(format!("{}: u{}{} at bit {}", field.name, field.width, shown(&field.show), field.offset));
            }
            if let Some((name, length)) = &header.variable {
                p.line(format!("{name}: bytes[{}]", names.expr(length)));
            }
            p.line(format!("valid {}", names.expr(&header.valid)));
            match &header.body {
                Some(body) => p.line(format!("body {}", names.expr(body))),
                None => p.line("body: all that is left"),
            }
            for sum in &header.checksums {
                let mut over = vec!["header".to_string()];
                if sum.body {
                    over.push("body".to_string());
                }
                for pseudo in &sum.pseudo {
                    let fields = pseudo.fields.iter().map(|f| names.header_field(Some(pseudo.header), *f));
                    let constants = pseudo.constants.iter().map(u16::to_string);
                    let list = fields.chain(constants).collect::<Vec<String>>().join(", ");
                    over.push(format!("pseudo {}({list})", names.header(pseudo.header)));
                }
                p.line(format!(
                    "checksum {} over {}{}",
                    names.header_field(Some(id), sum.field),
                    over.join(", "),
                    if sum.optional { " optional" } else { "" }
                ));
            }
        });
    }

    fn target(&self, target: &Target) -> String {
        match target {
            Target::Port(id) => match self.program.ports.get(id.index()) {
                Some(port) => format!("port {}", port.name),
                None => format!("port?{}", id.0),
            },
            Target::Input(to) => match self.program.elements.get(to.element.index()) {
                Some(element) => match element.inputs.get(to.input as usize) {
                    Some(input) => format!("{}.{}", element.name, input.name),
                    None => format!("{}.input?{}", element.name, to.input),
                },
                None => format!("element?{}.{}", to.element.0, to.input),
            },
        }
    }

    fn table(&mut self, table: &Table) {
        let names = Names::outside(self.program, None);
        let role = match table.role {
            Role::State => "state",
            Role::Control => "control",
            Role::Feed => "feed",
            Role::Ghost => "ghost",
        };
        let kind = match &table.kind {
            TableKind::Map => "map",
            TableKind::Set => "set",
            TableKind::Array => "array",
            TableKind::Lpm => "lpm",
            TableKind::Bucket { .. } => "bucket",
            TableKind::Cell => "cell",
            TableKind::Counter => "counter",
        };
        self.line(format!("{role} {}: {kind}[{}]", table.name, table.capacity));
        self.nest(|p| {
            let owner = p.program.elements.get(table.element.index());
            p.line(match owner {
                Some(element) => format!("of {}", element.name),
                None => format!("of element?{}", table.element.0),
            });
            p.line(format!("key {}", columns(&table.key)));
            p.nest(|p| p.line(format!("shape {}", shape(&table.key_shape))));
            p.line(format!("value {}", columns(&table.value)));
            p.nest(|p| p.line(format!("shape {}", shape(&table.value_shape))));
            if let TableKind::Bucket { rate, burst } = &table.kind {
                p.line(format!("rate {} bit/s", names.expr(rate)));
                p.line(format!("burst {} bytes", names.expr(burst)));
            }
            if !table.initial.is_empty() {
                p.line(format!("initially ({})", names.exprs(&table.initial)));
            }
            match &table.lifetime {
                Lifetime::Forever => {}
                Lifetime::Idle(duration) => p.lifetime("idle", duration),
                Lifetime::Fixed(duration) => p.lifetime("lifetime", duration),
                Lifetime::IdleWith { table, key } => {
                    p.lifetime(&format!("idle with {}", names.table(*table)), key);
                }
            }
            if table.granularity != 0 {
                p.line(format!("granularity {}ns", table.granularity));
            }
            if let Some(maglev) = &table.computed {
                let groups = maglev.groups.map_or_else(String::new, |groups| format!(", {}", names.table(groups)));
                p.line(format!("from maglev({}, {}{groups})", names.table(maglev.entries), maglev.slots));
            }
        });
    }

    fn lifetime(&mut self, what: &str, function: &LifetimeFn) {
        let names = Names::of_body(self.program, &function.body);
        self.line(what);
        self.nest(|p| {
            p.block(&names, &function.body.block);
            p.line(format!("result ({})", names.exprs(&function.result)));
        });
    }

    fn element(&mut self, element: &'a Element) {
        self.element = Some(element);
        self.line(format!("element {}: {}", element.name, element.kind));
        self.nest(|p| {
            for output in &element.outputs {
                let target = p.target(&output.target);
                p.line(format!("output {} -> {target}", output.name));
            }
            for input in &element.inputs {
                let names = Names::of_body(p.program, &input.body);
                let mut line = format!("on {}", input.name);
                let args: Vec<String> = (0..input.args.len()).map(|i| names.set(super::LocalId(i as u32))).collect();
                if !args.is_empty() {
                    line.push_str(&format!("({})", args.join(", ")));
                }
                let contract: Vec<String> = input
                    .contract
                    .iter()
                    .enumerate()
                    .map(|(i, h)| {
                        let handle = names.handle(super::HandleId(i as u32));
                        format!("{} as {handle}", names.header(*h))
                    })
                    .collect();
                if !contract.is_empty() {
                    line.push_str(&format!(": {{ {} }}", contract.join(", ")));
                }
                p.handler(line, &names, &input.body);
            }
            for timer in &element.timers {
                let names = Names::of_body(p.program, &timer.body);
                let line = format!("on every {}ns lag {}ns", timer.every, timer.lag);
                p.handler(line, &names, &timer.body);
            }
            if let Some(body) = &element.update {
                let names = Names::of_body(p.program, body);
                p.handler("on update".to_string(), &names, body);
            }
        });
        self.element = None;
    }

    fn handler(&mut self, head: String, names: &Names<'_>, body: &Body) {
        self.line(format!("{head} {{"));
        self.nest(|p| p.block(names, &body.block));
        self.line("}");
    }
}

fn shown(show: &Show) -> String {
    match show {
        Show::Number | Show::Bool => String::new(),
        Show::Hex => " shown hex".to_string(),
        Show::Ipv4 => " shown ipv4".to_string(),
        Show::Ipv6 => " shown ipv6".to_string(),
        Show::Mac => " shown mac".to_string(),
        Show::Time => " shown time".to_string(),
        Show::Duration => " shown duration".to_string(),
        Show::Variant(names) => format!(" shown {}", names.join("|")),
    }
}

fn columns(columns: &[Column]) -> String {
    let list: Vec<String> = columns
        .iter()
        .map(|c| {
            let name = if c.name.is_empty() { "it" } else { &c.name };
            format!("{name}: {}{}", scalar(c.ty), shown(&c.show))
        })
        .collect();
    format!("({})", list.join(", "))
}

fn shape(of: &Shape) -> String {
    let fields = |fields: &[(String, Shape)]| {
        let list: Vec<String> = fields.iter().map(|(name, s)| format!("{name}: {}", shape(s))).collect();
        list.join(", ")
    };
    match of {
        Shape::Scalar(ty, show) => format!("{}{}", scalar(*ty), shown(show)),
        Shape::Struct(name, list) => format!("struct {name} {{ {} }}", fields(list)),
        Shape::Enum(name, variants) => {
            let list: Vec<String> = variants
                .iter()
                .map(|(variant, list)| match list.is_empty() {
                    true => variant.clone(),
                    false => format!("{variant}({})", fields(list)),
                })
                .collect();
            format!("enum {name} {{ {} }}", list.join(", "))
        }
        Shape::Option(inner) => format!("option<{}>", shape(inner)),
        Shape::Prefix(ty, show) => format!("prefix<{}{}>", scalar(*ty), shown(show)),
        Shape::Unit => "unit".to_string(),
    }
}

/// The text form of an expression of a body, for messages.
pub fn print_expr(program: &Program, body: &Body, expr: &Expr) -> String {
    Names::of_body(program, body).expr(expr)
}

/// The text form of a statement of a body, in a handler of an element if one is given, for messages.
pub fn print_stmt(program: &Program, element: Option<&Element>, body: &Body, stmt: &Stmt) -> String {
    let mut out = Printer::new(program);
    out.element = element;
    out.block(&Names::of_body(program, body), std::slice::from_ref(stmt));
    out.text
}
