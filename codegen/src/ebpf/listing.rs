//! Instructions beside the lines of the source that they come from.

use super::machine::{Code, LD_IMM64};
use super::maps::Maps;
use grv_lang::source::SourceMap;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The listing of a program, or of one of its functions.
pub(crate) fn listing(code: &Code, functions: &[Code], maps: &Maps, sources: &SourceMap) -> String {
    let mut named: BTreeMap<usize, String> = code
        .relocations
        .iter()
        .map(|(at, id)| {
            let section = maps.section(*id).and_then(|index| maps.globals.get(index)).map(|globals| globals.section.to_string());
            (*at, section.or_else(|| maps.map(*id).map(|map| map.name.clone())).unwrap_or_default())
        })
        .collect();
    let name = |number: u32| functions.get(number as usize).map_or_else(String::new, |function| function.name.clone());
    named.extend(code.functions.iter().map(|(at, number)| (*at, name(*number))));
    let mut out = String::new();
    let mut last = None;
    let mut second = false;
    for (at, (insn, span)) in code.insns.iter().zip(&code.spans).enumerate() {
        if std::mem::take(&mut second) {
            continue;
        }
        second = insn.code == LD_IMM64;
        let file = sources.file(span.file);
        let line = sources.start(*span).line;
        if last != Some((span.file, line)) {
            last = Some((span.file, line));
            let text = file.text.lines().nth(line as usize - 1).unwrap_or_default().trim();
            let _ = writeln!(out, "; {}:{line}: {text}", file.path);
        }
        let name = named.get(&at).map_or_else(String::new, |name| format!("  ; {name}"));
        // The upper half of a number is in the second slot.
        let upper = code.insns.get(at + 1).filter(|_| second && insn.src == 0);
        let text = upper.map_or_else(|| insn.to_string(), |upper| insn.wide(upper));
        let _ = writeln!(out, "{at:5}: {text}{name}");
    }
    out
}
