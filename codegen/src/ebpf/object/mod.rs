//! The object file: ELF with the program, its maps and types, as libbpf, bpftool, iproute2 and aya read it. The same program
//! gives the same bytes.

mod btf;

use super::Hook;
use super::lir::MapId;
use super::machine::{Code, LD_IMM64};
use super::maps::{Layout, Maps, Place, ZEROED};
use btf::{Btf, Line, Member, TypeId};
use grv_lang::source::SourceMap;
use grv_lang::span::Span;
use object::write::{Object, Relocation, SectionId, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolFlags, SymbolKind, SymbolScope, elf};

/// The licence that is declared to the kernel: some helpers ask for one that goes with its own.
const LICENCE: &[u8] = b"Dual MIT/GPL\0";

/// The section that holds the manifest.
pub const MANIFEST: &str = "grv.manifest";

/// Writes the object file.
pub(crate) fn write<'m>(
    hook: Hook,
    code: &Code,
    functions: &[Code],
    maps: &'m Maps,
    manifest: &[u8],
    sources: &SourceMap,
) -> Result<Vec<u8>, String> {
    let mut object = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let mut btf = Btf::new();

    // The program's functions stand in a section of their own, one behind the other.
    let mut places: Vec<u64> = Vec::new();
    let mut end = 0;
    for function in functions {
        places.push(end);
        end += function.insns.len() as u64 * 8;
    }
    let text = object.add_section(Vec::new(), hook.section().as_bytes().to_vec(), SectionKind::Text);
    let bytes = encoded(code, &places);
    let size = bytes.len() as u64;
    object.append_section_data(text, &bytes, 8);
    object.add_symbol(symbol(&code.name, 0, size, SymbolKind::Text, SymbolSection::Section(text)));
    // All code, with its section and where it is in it.
    let mut all: Vec<(&Code, SectionId, u64)> = vec![(code, text, 0)];
    if !functions.is_empty() {
        let section = object.add_section(Vec::new(), b".text".to_vec(), SectionKind::Text);
        let mut functions_named = Vec::new();
        for (function, at) in functions.iter().zip(&places) {
            object.append_section_data(section, &encoded(function, &places), 8);
            let place = SymbolSection::Section(section);
            let mut named = symbol(&function.name, *at, function.insns.len() as u64 * 8, SymbolKind::Text, place);
            // The kernel verifies by itself what everybody may call. What helpers call is known in this file only.
            if function.words.is_none() {
                named.scope = SymbolScope::Compilation;
            }
            functions_named.push(object.add_symbol(named));
            all.push((function, section, *at));
        }
        let here = object.section_symbol(section);
        for (code, section, start) in &all {
            for (at, number) in &code.functions {
                // Of a call the relocation names the function; of a number it names the section, and the number says where in it.
                let (symbol, r_type) = match is_number(code, *at) {
                    true => (Some(&here), elf::R_BPF_64_64),
                    false => (functions_named.get(*number as usize), elf::R_BPF_64_32),
                };
                let symbol = *symbol.ok_or("an instruction names a function that is not there")?;
                let flags = RelocationFlags::Elf { r_type };
                let relocation = Relocation { offset: start + *at as u64 * 8, symbol, addend: 0, flags };
                object.add_relocation(*section, relocation).map_err(|e| e.to_string())?;
            }
        }
    }
    // What names a map: the section, where in it, and which one.
    let of = |(code, section, start): &(&Code, SectionId, u64)| {
        let (section, start) = (*section, *start);
        code.relocations.iter().map(|(at, map)| (section, start + *at as u64 * 8, *map)).collect::<Vec<_>>()
    };
    let named: Vec<(SectionId, u64, MapId)> = all.iter().flat_map(of).collect();

    // Maps: a variable for each, of a struct that says what it is. Nothing reads the bytes of the section.
    let section = object.add_section(Vec::new(), b".maps".to_vec(), SectionKind::Data);
    let (mut symbols, mut variables, mut offset) = (Vec::new(), Vec::new(), 0);
    for map in &maps.maps {
        let numbers = [("type", map.kind as u32), ("max_entries", map.entries), ("map_flags", map.flags)];
        let mut fields: Vec<(&str, TypeId)> = numbers.iter().map(|(name, number)| (*name, btf.number(*number))).collect();
        // A ring buffer has neither.
        for (name, layout) in [("key", &map.key), ("value", &map.value)].into_iter().filter(|(_, layout)| layout.size > 0) {
            let ty = structure(&mut btf, &format!("{}_{name}", map.name), layout);
            fields.push((name, btf.pointer(ty)));
        }
        let members: Vec<Member<'_>> =
            (0..).zip(&fields).map(|(n, (name, ty))| Member { name, ty: *ty, offset: n * 8 }).collect();
        let size = members.len() as u32 * 8;
        let definition = btf.structure("", size, &members);
        let variable = btf.variable(&map.name, definition);
        variables.push((variable, offset, size));
        let place = SymbolSection::Section(section);
        symbols.push(object.add_symbol(symbol(&map.name, offset.into(), size.into(), SymbolKind::Data, place)));
        offset += size;
    }
    object.append_section_data(section, &vec![0; offset as usize], 8);
    btf.section(".maps", offset, &variables);

    let mut sections = Vec::new();
    for globals in &maps.globals {
        let kind = match globals.section {
            ".rodata" => SectionKind::ReadOnlyData,
            ZEROED => SectionKind::UninitializedData,
            _ => SectionKind::Data,
        };
        let section = object.add_section(Vec::new(), globals.section.as_bytes().to_vec(), kind);
        if globals.section == ZEROED {
            object.append_section_bss(section, globals.bytes().into(), 64);
        } else {
            let mut initial = globals.initial.clone();
            initial.resize(globals.layout.size.into(), 0);
            object.append_section_data(section, &initial, 8);
        }
        // Name, type, bytes before it, bytes.
        let number = |place: &'m Place, btf: &mut Btf| {
            (place.name.as_str(), btf.int(place.bytes.into()), place.offset.into(), place.bytes.into())
        };
        let mut named: Vec<(&str, TypeId, u32, u32)> =
            globals.layout.places.iter().map(|place| number(place, &mut btf)).collect();
        for array in &globals.arrays {
            let element = structure(&mut btf, &format!("{}_element", array.name), &array.element);
            named.push((&array.name, btf.array(element, array.elements), array.offset, array.bytes()));
        }
        let mut variables = Vec::new();
        for (name, ty, offset, size) in named {
            variables.push((btf.variable(name, ty), offset, size));
            let at = SymbolSection::Section(section);
            object.add_symbol(symbol(name, offset.into(), size.into(), SymbolKind::Data, at));
        }
        btf.section(globals.section, globals.bytes(), &variables);
        sections.push(object.section_symbol(section));
    }

    for (of, offset, map) in named {
        let symbol = match maps.section(map) {
            Some(section) => sections.get(section),
            None => symbols.get(map.index()),
        };
        let symbol = *symbol.ok_or("an instruction names a map that is not there")?;
        let flags = RelocationFlags::Elf { r_type: elf::R_BPF_64_64 };
        object.add_relocation(of, Relocation { offset, symbol, addend: 0, flags }).map_err(|e| e.to_string())?;
    }

    let licence = object.add_section(Vec::new(), b"license".to_vec(), SectionKind::Data);
    object.append_section_data(licence, LICENCE, 1);
    object.add_symbol(symbol("_license", 0, LICENCE.len() as u64, SymbolKind::Data, SymbolSection::Section(licence)));

    let context = match hook {
        Hook::Xdp => "xdp_md",
        Hook::Tc => "__sk_buff",
    };
    let context = btf.structure(context, 0, &[]);
    let context = btf.pointer(context);
    let function = btf.function(&code.name, context);
    let (name, lines_of) = (btf.string(hook.section()), lines(&mut btf, code, sources, 0));
    let mut info = vec![btf::Info { section: name, functions: vec![(0, function)], lines: lines_of }];
    if !functions.is_empty() {
        let name = btf.string(".text");
        let mut of = btf::Info { section: name, functions: Vec::new(), lines: Vec::new() };
        for (function, at) in functions.iter().zip(&places) {
            let first = (*at / 8) as u32;
            let ty = match function.words {
                Some(words) => btf.of_words(&function.name, words),
                None => btf.callback(&function.name),
            };
            of.functions.push((first, ty));
            of.lines.extend(lines(&mut btf, function, sources, first));
        }
        info.push(of);
    }
    let ext = btf::ext(&info);
    for (name, data) in [(".BTF", btf.finish()), (".BTF.ext", ext), (MANIFEST, manifest.to_vec())] {
        let section = object.add_section(Vec::new(), name.as_bytes().to_vec(), SectionKind::Other);
        object.append_section_data(section, &data, 4);
    }
    object.write().map_err(|e| e.to_string())
}

/// The bytes of code. What names a function as a number says where it is in its section.
fn encoded(code: &Code, places: &[u64]) -> Vec<u8> {
    let mut insns = code.insns.clone();
    for (at, number) in code.functions.iter().filter(|(at, _)| is_number(code, *at)) {
        insns[*at].imm = places.get(*number as usize).copied().unwrap_or_default() as i32;
    }
    insns.iter().flat_map(|insn| insn.encode()).collect()
}

/// Whether an instruction makes a number, and does not call.
fn is_number(code: &Code, at: usize) -> bool {
    code.insns[at].code == LD_IMM64
}

fn symbol(name: &str, value: u64, size: u64, kind: SymbolKind, section: SymbolSection) -> Symbol {
    Symbol {
        name: name.as_bytes().to_vec(),
        value,
        size,
        kind,
        scope: SymbolScope::Dynamic,
        weak: false,
        section,
        flags: SymbolFlags::None,
    }
}

/// The type of a key or a value; a single number is that number, and what has no names is bytes.
fn structure(btf: &mut Btf, name: &str, layout: &Layout) -> TypeId {
    if layout.is_timer() {
        // The kernel knows it by the name of its type.
        let word = btf.int(8);
        let words = [Member { name: "first", ty: word, offset: 0 }, Member { name: "second", ty: word, offset: 8 }];
        let timer = btf.structure("bpf_timer", 16, &words);
        return btf.structure(name, 16, &[Member { name: "timer", ty: timer, offset: 0 }]);
    }
    if layout.places.is_empty() {
        return btf.bytes(layout.size.into());
    }
    let places = layout.members();
    if let ([place], false) = (places.as_slice(), places.iter().any(|p| p.network)) {
        return btf.int(place.bytes.into());
    }
    let types: Vec<TypeId> = places
        .iter()
        .map(|place| if place.network { btf.bytes(place.bytes.into()) } else { btf.int(place.bytes.into()) })
        .collect();
    let members: Vec<Member<'_>> =
        places.iter().zip(types).map(|(place, ty)| Member { name: &place.name, ty, offset: place.offset.into() }).collect();
    btf.structure(name, layout.size.into(), &members)
}

/// Where in the source instructions come from, one entry for each run of instructions of one line.
fn lines(btf: &mut Btf, code: &Code, sources: &SourceMap, first: u32) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    let mut last: Option<Span> = None;
    let mut second = false;
    for (at, (insn, span)) in code.insns.iter().zip(&code.spans).enumerate() {
        // The second half of an instruction of two slots is none.
        if std::mem::take(&mut second) {
            continue;
        }
        second = insn.code == LD_IMM64;
        if last == Some(*span) {
            continue;
        }
        last = Some(*span);
        let (file, place) = (sources.file(span.file), sources.start(*span));
        let text = file.text.lines().nth(place.line as usize - 1).unwrap_or_default();
        let line = Line {
            insn: first + at as u32,
            file: btf.string(&file.path),
            text: btf.string(text.trim()),
            line: place.line,
            column: place.column,
        };
        if lines.last().is_none_or(|l| (l.file, l.line, l.column) != (line.file, line.line, line.column)) {
            lines.push(line);
        }
    }
    lines
}
