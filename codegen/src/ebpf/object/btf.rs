//! BTF, the kernel's type information, as far as programs and maps need it: numbers, structs, functions, variables and sections;
//! and `.BTF.ext`, which says of instructions which function they begin and which line of the source they come from.

use std::collections::BTreeMap;

const INT: u32 = 1;
const POINTER: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const FUNCTION: u32 = 12;
const PROTOTYPE: u32 = 13;
const VARIABLE: u32 = 14;
const SECTION: u32 = 15;
const STATIC: u32 = 0;
const GLOBAL: u32 = 1;

/// Names a type; 0 is `void`.
pub(super) type TypeId = u32;

/// Types in the making.
#[derive(Default)]
pub(super) struct Btf {
    types: Vec<u32>,
    count: u32,
    strings: Vec<u8>,
    offsets: BTreeMap<String, u32>,
    /// Numbers by size, and pointers to arrays by length.
    ints: BTreeMap<u32, TypeId>,
    lengths: BTreeMap<u32, TypeId>,
}

/// A member of a struct: name, type, offset in bytes.
pub(super) struct Member<'n> {
    pub(super) name: &'n str,
    pub(super) ty: TypeId,
    pub(super) offset: u32,
}

impl Btf {
    pub(super) fn new() -> Btf {
        // The empty string comes first.
        Btf { strings: vec![0], ..Btf::default() }
    }

    /// Where a string is.
    pub(super) fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if let Some(at) = self.offsets.get(text) {
            return *at;
        }
        let at = self.strings.len() as u32;
        // A zero would end it early.
        self.strings.extend(text.bytes().map(|b| if b == 0 { b' ' } else { b }));
        self.strings.push(0);
        self.offsets.insert(text.to_string(), at);
        at
    }

    fn add(&mut self, name: &str, kind: u32, count: usize, size_or_type: u32, more: &[u32]) -> TypeId {
        let name = self.string(name);
        self.types.extend([name, (kind << 24) | count as u32, size_or_type]);
        self.types.extend(more);
        self.count += 1;
        self.count
    }

    /// An unsigned number of so many bytes.
    pub(super) fn int(&mut self, bytes: u32) -> TypeId {
        if let Some(id) = self.ints.get(&bytes) {
            return *id;
        }
        let name = match bytes {
            1 => "__u8",
            2 => "__u16",
            4 => "__u32",
            _ => "__u64",
        };
        let id = self.add(name, INT, 0, bytes, &[bytes * 8]);
        self.ints.insert(bytes, id);
        id
    }

    /// A pointer to something.
    pub(super) fn pointer(&mut self, to: TypeId) -> TypeId {
        self.add("", POINTER, 0, to, &[])
    }

    /// So many bytes.
    pub(super) fn bytes(&mut self, length: u32) -> TypeId {
        let byte = self.int(1);
        self.array(byte, length)
    }

    /// So many of something.
    pub(super) fn array(&mut self, of: TypeId, length: u32) -> TypeId {
        let index = self.int(4);
        self.add("", ARRAY, 0, 0, &[of, index, length])
    }

    /// A number as definitions of maps give it: a pointer to an array of that length.
    pub(super) fn number(&mut self, number: u32) -> TypeId {
        if let Some(id) = self.lengths.get(&number) {
            return *id;
        }
        let int = self.int(4);
        let array = self.add("", ARRAY, 0, 0, &[int, int, number]);
        let id = self.pointer(array);
        self.lengths.insert(number, id);
        id
    }

    /// A struct.
    pub(super) fn structure(&mut self, name: &str, size: u32, members: &[Member<'_>]) -> TypeId {
        let mut more = Vec::with_capacity(members.len() * 3);
        for member in members {
            more.extend([self.string(member.name), member.ty, member.offset * 8]);
        }
        self.add(name, STRUCT, members.len(), size, &more)
    }

    /// A function that takes its context and gives a number.
    pub(super) fn function(&mut self, name: &str, context: TypeId) -> TypeId {
        let (result, param) = (self.int(4), self.string("ctx"));
        let prototype = self.add("", PROTOTYPE, 1, result, &[param, context]);
        self.add(name, FUNCTION, GLOBAL as usize, prototype, &[])
    }

    /// A function that a helper calls for each entry of a map: the map, the key, the value, something of ours.
    pub(super) fn callback(&mut self, name: &str) -> TypeId {
        let (result, pointer) = (self.int(8), self.pointer(0));
        let names = ["map", "key", "value", "ctx"].map(|name| self.string(name));
        let params: Vec<u32> = names.iter().flat_map(|name| [*name, pointer]).collect();
        let prototype = self.add("", PROTOTYPE, 4, result, &params);
        self.add(name, FUNCTION, STATIC as usize, prototype, &[])
    }

    /// A function that ours call: words, and a word.
    pub(super) fn of_words(&mut self, name: &str, words: usize) -> TypeId {
        let word = self.int(8);
        let params: Vec<u32> = (0..words).flat_map(|number| [self.string(&format!("word{number}")), word]).collect();
        let prototype = self.add("", PROTOTYPE, words, word, &params);
        self.add(name, FUNCTION, GLOBAL as usize, prototype, &[])
    }

    /// A global variable.
    pub(super) fn variable(&mut self, name: &str, ty: TypeId) -> TypeId {
        self.add(name, VARIABLE, 0, ty, &[GLOBAL])
    }

    /// A section with its variables: type, offset, size.
    pub(super) fn section(&mut self, name: &str, size: u32, variables: &[(TypeId, u32, u32)]) -> TypeId {
        let more: Vec<u32> = variables.iter().flat_map(|(ty, offset, size)| [*ty, *offset, *size]).collect();
        self.add(name, SECTION, variables.len(), size, &more)
    }

    /// The section `.BTF`.
    pub(super) fn finish(&self) -> Vec<u8> {
        let types = self.types.len() as u32 * 4;
        let mut out = header(&[0, types, types, self.strings.len() as u32]);
        words(&mut out, &self.types);
        out.extend(&self.strings);
        out
    }
}

/// A line of the source that instructions come from.
pub(super) struct Line {
    /// The first instruction.
    pub(super) insn: u32,
    /// Where its file's name and its text are among the strings.
    pub(super) file: u32,
    pub(super) text: u32,
    pub(super) line: u32,
    pub(super) column: u32,
}

/// What is said of a section of code: its name among the strings, functions (first instruction and type) and lines.
pub(super) struct Info {
    pub(super) section: u32,
    pub(super) functions: Vec<(u32, TypeId)>,
    pub(super) lines: Vec<Line>,
}

/// The section `.BTF.ext`.
pub(super) fn ext(sections: &[Info]) -> Vec<u8> {
    let (mut function_info, mut line_info) = (vec![8], vec![16]);
    for info in sections {
        function_info.extend([info.section, info.functions.len() as u32]);
        info.functions.iter().for_each(|(insn, ty)| function_info.extend([insn * 8, *ty]));
        line_info.extend([info.section, info.lines.len() as u32]);
        for line in &info.lines {
            // The kernel has 22 bits for lines and 10 for columns.
            let place = (line.line.min((1 << 22) - 1) << 10) | line.column.min((1 << 10) - 1);
            line_info.extend([line.insn * 8, line.file, line.text, place]);
        }
    }
    let (functions, lines) = (function_info.len() as u32 * 4, line_info.len() as u32 * 4);
    let mut out = header(&[0, functions, functions, lines]);
    words(&mut out, &function_info);
    words(&mut out, &line_info);
    out
}

/// Magic number, version 1, no flags, length of the header; then what is given.
fn header(fields: &[u32; 4]) -> Vec<u8> {
    let mut out = vec![0x9f, 0xeb, 1, 0];
    words(&mut out, &[24]);
    words(&mut out, fields);
    out
}

fn words(out: &mut Vec<u8>, words: &[u32]) {
    out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}
