//! `grv graph`: a middlebox as SVG. Elements stand in columns by how far they are from the ports that packets come in at.

use crate::{Status, files, render, run};
use grv_lang::ir::{Program, Role, TableKind, Target};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The program
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// Where the drawing goes; standard output without it
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Which middlebox, if the file declares several
    #[arg(long = "box", value_name = "NAME")]
    middlebox: Option<String>,
}

/// A box of the drawing.
struct Node {
    title: String,
    lines: Vec<String>,
    column: usize,
    port: bool,
    x: usize,
    y: usize,
}

const WIDTH: usize = 230;
const GAP: usize = 90;
const LINE: usize = 18;

impl Node {
    fn height(&self) -> usize {
        LINE * (self.lines.len() + 1) + 14
    }
}

pub(crate) fn main(args: &Args) -> Result<Status, String> {
    let compiled = files::load(&args.path)?;
    render::findings(&compiled.sources, &compiled.diagnostics, crate::Format::Full)?;
    if compiled.failed() {
        return Ok(Status::Bad);
    }
    let program = run::choose(&compiled, args.middlebox.as_deref(), &args.path)?;
    let svg = draw(&program);
    match &args.output {
        None => render::line(&svg),
        Some(path) => std::fs::write(path, svg).map_err(|e| format!("{}: {}", path.display(), files::reason(&e)))?,
    }
    Ok(Status::Good)
}

/// The drawing. Nodes: ports where packets arrive, elements, ports where they leave.
fn draw(program: &Program) -> String {
    let (arrive, leave) = (0, program.ports.len() + program.elements.len());
    let element = |index: usize| program.ports.len() + index;
    let mut edges: BTreeSet<(usize, usize, String)> = BTreeSet::new();
    for (index, port) in program.ports.iter().enumerate() {
        if let Some(entry) = port.entry {
            edges.insert((arrive + index, element(entry.element.index()), String::new()));
        }
    }
    for (index, declared) in program.elements.iter().enumerate() {
        for output in &declared.outputs {
            let to = match output.target {
                Target::Input(input) => element(input.element.index()),
                Target::Port(port) => leave + port.index(),
            };
            // Alternatives of a contract are one line.
            let name = output.name.split('/').next().unwrap_or_default().to_string();
            edges.insert((element(index), to, name));
        }
    }
    let mut nodes: Vec<Node> = Vec::new();
    let port = |p: &grv_lang::ir::Port| Node { title: p.name.clone(), lines: Vec::new(), column: 0, port: true, x: 0, y: 0 };
    nodes.extend(program.ports.iter().map(port));
    nodes.extend(program.elements.iter().map(|e| Node {
        title: format!("{}: {}", e.name, e.kind),
        lines: Vec::new(),
        column: 1,
        port: false,
        x: 0,
        y: 0,
    }));
    nodes.extend(program.ports.iter().map(port));
    for table in &program.tables {
        let short = table.name.rsplit('.').next().unwrap_or_default();
        let kind = match table.kind {
            TableKind::Map => "map",
            TableKind::Set => "set",
            TableKind::Array => "array",
            TableKind::Lpm => "lpm",
            TableKind::Bucket { .. } => "bucket",
            TableKind::Cell => "cell",
            TableKind::Counter => "counter",
        };
        let role = match table.role {
            Role::State => "state",
            Role::Control => "control",
            Role::Feed => "feed",
            Role::Ghost => "ghost",
        };
        nodes[element(table.element.index())].lines.push(format!("{role} {short}: {kind}[{}]", table.capacity));
    }
    // The graph of elements may hold circles (an element passed twice): columns grow only so far.
    for _ in 0..program.elements.len() {
        for (from, to, _) in &edges {
            if *to < leave && nodes[*to].column <= nodes[*from].column && nodes[*from].column < program.elements.len() {
                nodes[*to].column = nodes[*from].column + 1;
            }
        }
    }
    let last = nodes.iter().map(|n| n.column).max().unwrap_or(0) + 1;
    let used = |index: usize| edges.iter().any(|(from, to, _)| *from == index || *to == index);
    let shown: Vec<bool> = (0..nodes.len()).map(used).collect();
    nodes[leave..].iter_mut().for_each(|n| n.column = last);
    let mut heights = vec![40; last + 1];
    for (node, _) in nodes.iter_mut().zip(&shown).filter(|(_, shown)| **shown) {
        node.x = 20 + node.column * (WIDTH + GAP);
        node.y = heights[node.column];
        heights[node.column] += node.height() + 30;
    }
    let (width, height) = (40 + (last + 1) * (WIDTH + GAP), heights.into_iter().max().unwrap_or(0) + 20);
    svg(program, &nodes, &shown, &edges, (width, height))
}

fn svg(
    program: &Program,
    nodes: &[Node],
    shown: &[bool],
    edges: &BTreeSet<(usize, usize, String)>,
    size: (usize, usize),
) -> String {
    let mut out = String::new();
    let mut put = |text: String| {
        // Writing to a string cannot fail.
        let _written = writeln!(out, "{text}");
    };
    let (width, height) = size;
    put(format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">"#
    ));
    put(format!("<title>{}</title>", escape(&program.name)));
    put(r##"<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L10 5L0 10z" fill="#456"/></marker></defs>"##.to_string());
    put(format!(r##"<rect width="{width}" height="{height}" fill="#fff"/>"##));
    for (from, to, name) in edges {
        let (a, b) = (&nodes[*from], &nodes[*to]);
        let own = edges.iter().filter(|e| e.0 == *from).position(|e| e.1 == *to && e.2 == *name).unwrap_or(0);
        let (x1, y1) = (a.x + WIDTH, a.y + 16 + 16 * own.min(a.height() / 16));
        let (x2, y2) = (b.x, b.y + b.height() / 2);
        let middle = (x1 + x2) / 2;
        put(format!(
            r##"<path d="M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}" fill="none" stroke="#456" marker-end="url(#arrow)"/>"##
        ));
        put(format!(r##"<text x="{}" y="{}" font-size="11" fill="#456">{}</text>"##, x1 + 4, y1.saturating_sub(4), escape(name)));
    }
    for (node, _) in nodes.iter().zip(shown).filter(|(_, shown)| **shown) {
        let (fill, radius) = if node.port { ("#def", 14) } else { ("#f7f7f2", 4) };
        put(format!(
            r##"<rect x="{}" y="{}" width="{WIDTH}" height="{}" rx="{radius}" fill="{fill}" stroke="#456"/>"##,
            node.x,
            node.y,
            node.height()
        ));
        put(format!(r#"<text x="{}" y="{}" font-weight="bold">{}</text>"#, node.x + 10, node.y + 20, escape(&node.title)));
        for (index, text) in node.lines.iter().enumerate() {
            put(format!(
                r##"<text x="{}" y="{}" fill="#333">{}</text>"##,
                node.x + 10,
                node.y + 20 + LINE * (index + 1),
                escape(text)
            ));
        }
    }
    put("</svg>".to_string());
    out.trim_end().to_string()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
