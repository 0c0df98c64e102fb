//! Counterexamples as tests, and as captures.

use super::entry::Entry;
use crate::capture::Writer;
use crate::files::{Disk, reason};
use crate::render;
use crate::script::{alike, hex};
use grv_lang::compile::{Compilation, compile};
use grv_lang::interp::test::{self, FailureKind};
use grv_lang::interp::{Machine, Seeded, Stimulus, UpdateError};
use grv_lang::ir::{PortId, Program, Shape, TableId, TableKind};
use grv_lang::random::{Broken, Counterexample};
use grv_lang::syntax::ast::ItemKind;
use grv_lang::text;
use grv_verifier::prove::Verdict;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// What was refuted, and how.
fn refuted<'e, 'r>(entries: &'e [Entry<'r>]) -> impl Iterator<Item = (&'e Entry<'r>, &'r Counterexample)> {
    entries.iter().filter_map(|entry| match &entry.obligation.verdict {
        Verdict::Refuted(found) => Some((entry, &**found)),
        _ => None,
    })
}

/// Adds a test for each counterexample to a file. What cannot be told as a test, a remark tells of.
pub(super) fn tests(entries: &[Entry<'_>], file: &Path) -> Result<(), String> {
    let error = |e: &std::io::Error| format!("{}: {}", file.display(), reason(e));
    let old = match std::fs::read_to_string(file) {
        Ok(text) => Some(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(error(&e)),
    };
    let path = file.display().to_string();
    let mut text = old.clone().unwrap_or_default();
    let (mut names, mut added) = (BTreeSet::new(), 0);
    if old.is_none() {
        for (entry, found) in refuted(entries) {
            imports(entry, found, &mut names)?;
        }
        text = names.iter().map(|(module, name)| format!("use {module}::{name};\n")).collect();
    }
    for (entry, found) in refuted(entries) {
        let name = unused(&text, entry.property);
        let block = block(entry, found, &name);
        let all = format!("{text}{}{block}", if text.is_empty() { "" } else { "\n" });
        match fails(&compile(&path, all.as_bytes(), &Disk), &name) {
            Ok(()) => {
                text = all;
                added += 1;
            }
            Err(why) => render::remark(&format!("`{}` is not saved as a test: {why}", entry.property)),
        }
    }
    if added == 0 {
        return Ok(());
    }
    std::fs::write(file, text).map_err(|e| error(&e))?;
    render::remark(&format!("added to {path}: {added} {}", if added == 1 { "test" } else { "tests" }));
    Ok(())
}

/// Whether a test fails as a counterexample does: by a defect, or by the property at its end.
fn fails(of: &Compilation, name: &str) -> Result<(), String> {
    if let Some(first) = of.diagnostics.iter().find(|d| d.severity() == grv_lang::diagnostics::Severity::Error) {
        return Err(format!("{}: {}", of.sources.place(first.primary.span), first.message));
    }
    let Some((test, program)) = of.tests.iter().find(|(test, _)| test.name == name) else {
        return Err("the test is not found".to_string());
    };
    match test::run(test, program, 0, None) {
        Err(failure) if matches!(failure.kind, FailureKind::Broken(_) | FailureKind::Defect(_)) => Ok(()),
        Err(failure) => Err(format!("as a test it goes another way: {failure}")),
        Ok(()) => Err("it needs a freedom of the target that no test can use".to_string()),
    }
}

/// A name for a test that no test of a file has.
fn unused(text: &str, property: &str) -> String {
    let name = |n: u32| if n == 1 { format!("refuted: {property}") } else { format!("refuted: {property} ({n})") };
    (1..).map(name).find(|name| !text.contains(&format!("test \"{name}\""))).unwrap_or_default()
}

/// What a test of a program in another file needs to import: modules and names.
fn imports(entry: &Entry<'_>, found: &Counterexample, into: &mut BTreeSet<(String, String)>) -> Result<(), String> {
    let program = entry.program;
    let mut names = BTreeSet::from([program.name.clone()]);
    program.params.iter().for_each(|param| type_names(&param.shape, &mut names));
    for (event, _) in &found.events {
        let tables: Vec<TableId> = match event {
            Stimulus::Update(contents) => contents.iter().map(|content| content.table).collect(),
            Stimulus::Feed(table, ..) => vec![*table],
            _ => Vec::new(),
        };
        for table in tables.iter().filter_map(|id| program.tables.get(id.index())) {
            type_names(&table.key_shape, &mut names);
            type_names(&table.value_shape, &mut names);
        }
    }
    let of = &entry.source.of;
    for name in names {
        let declares = |kind: &ItemKind| match kind {
            ItemKind::Struct { name: own, .. } | ItemKind::Enum { name: own, .. } => *own.name == *name,
            ItemKind::Block(block) => *block.name.name == *name,
            _ => false,
        };
        let at = of.parsed.iter().position(|parsed| parsed.file.items.iter().any(|item| declares(&item.kind)));
        let file = at.map(|index| of.sources.file(grv_lang::span::FileId(index as u32)).path.as_str()).unwrap_or_default();
        into.insert((module(file)?, name));
    }
    Ok(())
}

/// How a file is imported.
fn module(path: &str) -> Result<String, String> {
    let stem = path.strip_suffix(".grv").unwrap_or(path);
    let last = stem.rsplit('/').next().unwrap_or(stem);
    let name = if stem.starts_with("std/") { stem.replace('/', "::") } else { last.to_string() };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    if name.chars().all(plain) {
        return Ok(name);
    }
    Err(format!("{path} cannot be imported by its name: add the tests to it, by --save-test {path}"))
}

fn type_names(shape: &Shape, into: &mut BTreeSet<String>) {
    match shape {
        Shape::Struct(name, fields) => {
            into.insert(name.clone());
            fields.iter().for_each(|(_, field)| type_names(field, into));
        }
        Shape::Enum(name, variants) => {
            into.insert(name.clone());
            variants.iter().flat_map(|(_, fields)| fields).for_each(|(_, field)| type_names(field, into));
        }
        Shape::Option(inner) => type_names(inner, into),
        Shape::Scalar(..) | Shape::Prefix(..) | Shape::Unit => {}
    }
}

/// A counterexample as a test.
fn block(entry: &Entry<'_>, found: &Counterexample, name: &str) -> String {
    let program = entry.program;
    let given = program.params.iter().zip(&found.params);
    let given: Vec<String> = given.map(|(p, value)| format!("{}: {}", p.name, text::source(&p.shape, value))).collect();
    let args = if given.is_empty() { String::new() } else { format!("({})", given.join(", ")) };
    let mut lines =
        vec![format!("// A counterexample to `{}`.", entry.property), format!("test \"{name}\" for {}{args} {{", program.name)];
    if let Ok(mut machine) = Machine::new(program.clone(), found.params.clone()) {
        let mut rest = found.events.as_slice();
        while !rest.is_empty() {
            // Of packets that are the same, one is written.
            let (length, differ) = alike(rest);
            let length = if differ.is_empty() { length } else { 1 };
            let (group, behind) = rest.split_at(length);
            let all: Vec<Vec<String>> = group.iter().filter_map(|(event, oracle)| written(&mut machine, event, oracle)).collect();
            // What is chosen for them may differ.
            let same = all.windows(2).all(|pair| pair[0] == pair[1]);
            match all.first() {
                Some(one) if all.len() > 1 && same => {
                    lines.push(format!("    for i in 0..{} {{", all.len()));
                    lines.extend(one.iter().map(|line| format!("        {line}")));
                    lines.push("    }".to_string());
                }
                _ => lines.extend(all.concat().into_iter().map(|line| format!("    {line}"))),
            }
            rest = behind;
        }
    }
    if let Broken::Property(_, packets) = &found.broken {
        let packets: Vec<String> =
            packets.iter().map(|(port, bytes)| format!("{} {}", port_name(program, *port), literal(bytes))).collect();
        let of = if packets.is_empty() { String::new() } else { format!(" for {}", packets.join(", ")) };
        lines.push(format!("    assert property \"{}\"{of};", entry.property));
    }
    lines.push("}".to_string());
    lines.join("\n") + "\n"
}

/// An event as statements of a test; none: it was refused, and so is no event.
fn written(machine: &mut Machine, event: &Stimulus, oracle: &Seeded) -> Option<Vec<String>> {
    let refused = match event {
        Stimulus::Update(contents) => {
            matches!(machine.clone().update(contents, &mut oracle.clone(), None), Err(e) if !matches!(e, UpdateError::Defect(_)))
        }
        Stimulus::Feed(table, key, value) => machine.clone().feed(*table, key, value.as_deref(), &mut oracle.clone()).is_err(),
        _ => false,
    };
    if refused {
        return None;
    }
    // A defect is the end, and the test shall fail by it.
    let outcome = machine.happen(event, &mut oracle.clone(), None).unwrap_or_default();
    let program = machine.program();
    let mut lines = Vec::new();
    let chosen: Vec<String> = outcome.choices.iter().filter_map(|choice| choice.value).map(|value| value.to_string()).collect();
    if !chosen.is_empty() {
        lines.push(format!("choices {};", chosen.join(", ")));
    }
    match event {
        Stimulus::Packet(port, bytes) => {
            lines.push(format!("send {} {};", port_name(program, *port), literal(bytes)));
            lines.push("ignore;".to_string());
        }
        Stimulus::Time(nanoseconds) => lines.push(format!("advance {};", text::duration((*nanoseconds).into()))),
        Stimulus::Update(contents) => {
            lines.push("update {".to_string());
            for content in contents {
                let declared = program.tables.get(content.table.index())?;
                let entry = |(key, value): &(Vec<u128>, Vec<u128>)| {
                    let (key, value) = (text::source(&declared.key_shape, key), text::source(&declared.value_shape, value));
                    match declared.kind {
                        TableKind::Set => key,
                        TableKind::Map | TableKind::Lpm => format!("{key} => {value}"),
                        _ => value,
                    }
                };
                let entries: Vec<String> = content.entries.iter().map(entry).collect();
                let entries = entries.join(", ");
                lines.push(match declared.kind {
                    TableKind::Cell => format!("    {} = {entries};", declared.name),
                    _ => format!("    {} = [{entries}];", declared.name),
                });
            }
            lines.push("}".to_string());
        }
        Stimulus::Feed(table, key, value) => {
            let declared = program.tables.get(table.index())?;
            let key = text::source(&declared.key_shape, key);
            lines.push(match value {
                Some(value) if value.is_empty() => format!("feed {}.insert({key});", declared.name),
                Some(value) => format!("feed {}[{key}] = {};", declared.name, text::source(&declared.value_shape, value)),
                None => format!("feed {}.remove({key});", declared.name),
            });
        }
    }
    Some(lines)
}

/// Zeros at the end of a packet that are counted instead of written.
const ZEROS: usize = 24;

fn literal(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    let zeros = bytes.len() - end;
    if zeros < ZEROS {
        return format!("hex\"{}\"", hex(bytes));
    }
    format!("hex\"{}\" / bytes({zeros})", hex(&bytes[..end]))
}

fn port_name(program: &Program, port: PortId) -> &str {
    program.ports.get(port.index()).map_or("?", |port| port.name.as_str())
}

/// Writes the packets of each counterexample.
pub(super) fn captures(entries: &[Entry<'_>], folder: &Path) -> Result<(), String> {
    for (entry, found) in refuted(entries) {
        let folder = folder.join(plain(&entry.id));
        std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {}", folder.display(), reason(&e)))?;
        for (name, packets) in packets(entry.program, found)? {
            let mut writer = Writer::create(&folder.join(format!("{name}.pcap")))?;
            packets.iter().try_for_each(|(time, bytes)| writer.write(Duration::from_nanos(*time), bytes))?;
            writer.finish()?;
        }
    }
    Ok(())
}

/// A name as that of a file.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect()
}

/// Packets with their times.
type Packets = Vec<(u64, Vec<u8>)>;

/// The packets that arrive and that leave, by the names of their captures. Those that a property speaks of beyond the events come last,
/// each on its own in the state that the events lead to.
fn packets(program: &std::sync::Arc<Program>, found: &Counterexample) -> Result<BTreeMap<String, Packets>, String> {
    let mut all: BTreeMap<String, Packets> = BTreeMap::new();
    let mut machine = Machine::new(program.clone(), found.params.clone()).map_err(|e| e.to_string())?;
    let name = |port: PortId| plain(&port_name(program, port).replace(['[', ']'], ""));
    let mut happens = |machine: &mut Machine, event: &Stimulus, oracle: &Seeded| {
        let now = machine.now();
        if let Stimulus::Packet(port, bytes) = event {
            all.entry(format!("in-{}", name(*port))).or_default().push((now, bytes.clone()));
        }
        // What stops the box lets nothing out.
        for (port, bytes) in machine.happen(event, &mut oracle.clone(), None).unwrap_or_default().out {
            all.entry(format!("out-{}", name(port))).or_default().push((now, bytes));
        }
    };
    for (event, oracle) in &found.events {
        happens(&mut machine, event, oracle);
    }
    if let Broken::Property(_, arrivals) = &found.broken {
        for (port, bytes) in arrivals {
            happens(&mut machine.clone(), &Stimulus::Packet(*port, bytes.clone()), &Seeded::exact(0));
        }
    }
    Ok(all)
}
