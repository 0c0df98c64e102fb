//! Maps: what the kernel keeps for a program, and how keys and values lie in memory.

use super::lir::MapId;

/// The kinds of maps, with the kernel's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Hash = 1,
    Array = 2,
    ProgArray = 3,
    PerCpuArray = 6,
    LpmTrie = 11,
    DevMap = 14,
    RingBuf = 27,
}

impl Kind {
    /// The kernel's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Hash => "hash",
            Kind::Array => "array",
            Kind::ProgArray => "prog_array",
            Kind::PerCpuArray => "percpu_array",
            Kind::LpmTrie => "lpm_trie",
            Kind::DevMap => "devmap",
            Kind::RingBuf => "ringbuf",
        }
    }
}

/// The map is not allocated in advance.
pub(crate) const NO_PREALLOC: u32 = 1;

/// The name of a timer in a value; no number of a program has such a name.
const TIMER: &str = "bpf_timer*";

/// One number of a key or a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) name: String,
    /// Bytes from the beginning.
    pub(crate) offset: u16,
    /// 1, 2, 4 or 8.
    pub(crate) bytes: u8,
    /// Whether it is stored in network order (in keys of prefix tables).
    pub(crate) network: bool,
    /// Where numbers share these bytes: how many bits are below this one, and how many it has.
    pub(crate) shift: u8,
    pub(crate) bits: u8,
}

/// How a key or a value lies in memory: numbers in order, each aligned to its size, gaps zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) places: Vec<Place>,
    pub(crate) size: u16,
    /// To what size the whole is rounded up.
    align: u16,
}

impl Layout {
    /// An empty layout.
    pub(crate) fn new() -> Layout {
        Layout { places: Vec::new(), size: 0, align: 1 }
    }

    /// Adds a number of so many bits; its index.
    pub(crate) fn push(&mut self, name: &str, bits: u8) -> usize {
        let bytes = bits.div_ceil(8).next_power_of_two();
        let offset = self.end().next_multiple_of(bytes.into());
        self.align = self.align.max(bytes.into());
        self.places.push(Place { name: name.to_string(), offset, bytes, network: false, shift: 0, bits: bytes * 8 });
        self.size = self.end().next_multiple_of(self.align);
        self.places.len() - 1
    }

    /// Adds bytes in network order, directly behind what is there.
    pub(crate) fn push_network(&mut self, name: &str, bytes: u8) -> usize {
        let offset = self.end();
        self.places.push(Place { name: name.to_string(), offset, bytes, network: true, shift: 0, bits: bytes * 8 });
        self.size = self.end();
        self.places.len() - 1
    }

    /// A timer of the kernel: bytes that only it uses.
    pub(crate) fn timer() -> Layout {
        let place = Place { name: TIMER.to_string(), offset: 0, bytes: 16, network: false, shift: 0, bits: 64 };
        Layout { places: vec![place], size: 16, align: 8 }
    }

    /// Whether it is that of a timer.
    pub(crate) fn is_timer(&self) -> bool {
        self.places.iter().any(|place| place.name == TIMER)
    }

    /// Adds numbers that are written and compared together: as few words as hold them, without gaps between words. Their indexes are in order.
    pub(crate) fn pack(&mut self, numbers: &[(String, u8)]) -> Vec<usize> {
        if let [(name, bits)] = numbers {
            return vec![self.push(name, *bits)];
        }
        let all: u32 = numbers.iter().map(|(_, bits)| u32::from(*bits)).sum();
        let bytes = if all <= 32 { 4 } else { 8 };
        let mut order: Vec<usize> = (0..numbers.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(numbers[*index].1));
        // By word: bits that are taken. The widest numbers come first, each where there is room.
        let mut taken: Vec<u8> = Vec::new();
        let mut places = vec![(0, 0); numbers.len()];
        for index in order {
            let bits = numbers[index].1;
            let word = taken.iter().position(|taken| taken + bits <= bytes * 8).unwrap_or(taken.len());
            if word == taken.len() {
                taken.push(0);
            }
            places[index] = (word as u16, taken[word]);
            taken[word] += bits;
        }
        let start = self.end().next_multiple_of(bytes.into());
        self.align = self.align.max(bytes.into());
        for ((name, bits), (word, shift)) in numbers.iter().zip(places) {
            let offset = start + word * u16::from(bytes);
            self.places.push(Place { name: name.clone(), offset, bytes, network: false, shift, bits: *bits });
        }
        self.size = self.end().next_multiple_of(self.align);
        (self.places.len() - numbers.len()..self.places.len()).collect()
    }

    /// What is in memory, in order: of numbers that share bytes, the first.
    pub(crate) fn members(&self) -> Vec<&Place> {
        let mut members: Vec<&Place> = self.places.iter().collect();
        members.sort_by_key(|place| place.offset);
        members.dedup_by_key(|place| place.offset);
        members
    }

    /// Bytes that have no names.
    pub(crate) fn bytes(size: u16) -> Layout {
        Layout { places: Vec::new(), size, align: 8 }
    }

    fn end(&self) -> u16 {
        self.places.iter().map(|place| place.offset + u16::from(place.bytes)).max().unwrap_or(0)
    }
}

/// A map.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) key: Layout,
    pub(crate) value: Layout,
    pub(crate) entries: u32,
    pub(crate) flags: u32,
}

impl Map {
    /// Bytes that its keys and values take, for one processor.
    pub(crate) fn bytes(&self) -> u64 {
        let entry = match self.kind {
            Kind::Hash | Kind::LpmTrie => {
                u64::from(self.key.size.next_multiple_of(8)) + u64::from(self.value.size.next_multiple_of(8))
            }
            Kind::Array | Kind::PerCpuArray => u64::from(self.value.size.next_multiple_of(8)),
            Kind::DevMap | Kind::ProgArray => 8,
            // Its size is in bytes.
            Kind::RingBuf => 1,
        };
        entry * u64::from(self.entries)
    }
}

/// Global variables: a section of its own, which loaders make a map with one element.
#[derive(Clone, Debug)]
pub(crate) struct Globals {
    /// `.rodata`, `.data` or one of its kind, or [`ZEROED`].
    pub(crate) section: &'static str,
    pub(crate) layout: Layout,
    pub(crate) initial: Vec<u8>,
    /// Of [`ZEROED`]: what is in it.
    pub(crate) arrays: Vec<Array>,
}

/// The section of what is zero at the start, and of arrays only.
pub(crate) const ZEROED: &str = ".bss";

/// The most that a section may have, in bytes: older kernels make no larger map of it.
const MOST_ZEROED: u32 = 1 << 22;

/// A global variable that is an array.
#[derive(Clone, Debug)]
pub(crate) struct Array {
    pub(crate) name: String,
    /// Bytes before it in its section.
    pub(crate) offset: u32,
    pub(crate) element: Layout,
    pub(crate) elements: u32,
}

impl Array {
    /// Its bytes.
    pub(crate) fn bytes(&self) -> u32 {
        u32::from(self.element.size) * self.elements
    }
}

impl Globals {
    /// An empty section.
    pub(crate) fn new(section: &'static str) -> Globals {
        Globals { section, layout: Layout::new(), initial: Vec::new(), arrays: Vec::new() }
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> u32 {
        self.arrays.last().map_or(self.layout.size.into(), |array| array.offset + array.bytes())
    }

    /// Where an array would begin: elements do not lie in more lines of the cache than they have to.
    fn next(&self) -> u32 {
        self.bytes().next_multiple_of(64)
    }

    /// Adds a variable with a value at the start; where it is. Names are made distinct.
    pub(crate) fn push(&mut self, name: &str, bits: u8, value: u64) -> &Place {
        let name = distinct(&identifier(name), |name| self.layout.places.iter().any(|place| place.name == name));
        let index = self.layout.push(&name, bits);
        let place = &self.layout.places[index];
        self.initial.resize(place.offset.into(), 0);
        self.initial.extend_from_slice(&value.to_le_bytes()[..place.bytes.into()]);
        place
    }
}

/// All maps of a program, the sections of global variables last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Maps {
    pub(crate) maps: Vec<Map>,
    pub(crate) globals: Vec<Globals>,
}

/// The number of the first section of global variables: maps have smaller ones.
const GLOBALS: u32 = 1 << 16;

impl Maps {
    /// Adds a map. Names are made distinct.
    pub(crate) fn push(&mut self, mut map: Map) -> MapId {
        map.name = distinct(&identifier(&map.name), |name| self.maps.iter().any(|map| map.name == name));
        self.maps.push(map);
        MapId(self.maps.len() as u32 - 1)
    }

    /// Adds a section of global variables.
    pub(crate) fn push_globals(&mut self, section: &'static str) -> MapId {
        self.globals.push(Globals::new(section));
        MapId(GLOBALS + self.globals.len() as u32 - 1)
    }

    /// Bytes that one more array of [`ZEROED`] may have.
    pub(crate) fn room(&self) -> u32 {
        let taken = self.globals.iter().find(|globals| globals.section == ZEROED).map_or(0, Globals::next);
        MOST_ZEROED.saturating_sub(taken)
    }

    /// Adds an array to [`ZEROED`], if there is room for it: the section, and which one it is.
    pub(crate) fn push_array(&mut self, name: &str, element: Layout, elements: u32) -> Option<(MapId, usize)> {
        if u64::from(element.size) * u64::from(elements) > self.room().into() {
            return None;
        }
        let section = match self.globals.iter().position(|globals| globals.section == ZEROED) {
            Some(index) => MapId(GLOBALS + index as u32),
            None => self.push_globals(ZEROED),
        };
        let globals = self.globals_mut(section)?;
        let name = distinct(&identifier(name), |name| globals.arrays.iter().any(|array| array.name == name));
        globals.arrays.push(Array { name, offset: globals.next(), element, elements });
        Some((section, globals.arrays.len() - 1))
    }

    /// A map, or none for a section of global variables.
    pub(crate) fn map(&self, id: MapId) -> Option<&Map> {
        self.maps.get(id.index())
    }

    /// An array of a section of global variables.
    pub(crate) fn array(&self, section: MapId, number: usize) -> Option<&Array> {
        self.globals.get(self.section(section)?)?.arrays.get(number)
    }

    /// Those of which each processor has its own values.
    pub(crate) fn own(&self) -> Vec<MapId> {
        (0..).map(MapId).zip(&self.maps).filter(|(_, map)| map.kind == Kind::PerCpuArray).map(|(id, _)| id).collect()
    }

    /// Which section of global variables that is.
    pub(crate) fn section(&self, id: MapId) -> Option<usize> {
        id.0.checked_sub(GLOBALS).map(|index| index as usize)
    }

    /// A section of global variables.
    pub(crate) fn globals_mut(&mut self, id: MapId) -> Option<&mut Globals> {
        let index = self.section(id)?;
        self.globals.get_mut(index)
    }
}

/// A name that is not taken: itself, or with a number behind it.
fn distinct(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut distinct = name.to_string();
    let mut number = 2;
    while taken(&distinct) {
        distinct = format!("{name}_{number}");
        number += 1;
    }
    distinct
}

/// A name as the kernel takes it: letters, digits and `_`.
pub(crate) fn identifier(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' => out.push(c),
            ']' => {}
            _ => out.push('_'),
        }
    }
    if out.is_empty() || out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, '_');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_aligned_and_addresses_in_network_order_are_not() {
        let mut layout = Layout::new();
        for bits in [8, 32, 48, 1] {
            layout.push("n", bits);
        }
        let places: Vec<(u16, u8)> = layout.places.iter().map(|place| (place.offset, place.bytes)).collect();
        assert_eq!((places.as_slice(), layout.size), ([(0, 1), (4, 4), (8, 8), (16, 1)].as_slice(), 24));
        let mut prefix = Layout::new();
        prefix.push("length", 32);
        prefix.push_network("address", 5);
        assert_eq!((prefix.places[1].offset, prefix.size), (4, 9));
    }

    #[test]
    fn numbers_of_a_key_share_words() {
        let pack = |bits: &[u8]| {
            let mut layout = Layout::new();
            let numbers: Vec<(String, u8)> = bits.iter().map(|bits| ("n".to_string(), *bits)).collect();
            layout.pack(&numbers);
            let places = layout.places.iter().map(|place| (place.offset, place.bytes, place.shift)).collect::<Vec<_>>();
            (places, layout.size, layout.members().len())
        };
        // Protocol, address, port, address, port.
        assert_eq!(pack(&[8, 32, 16, 32, 16]), (vec![(8, 8, 32), (0, 8, 0), (8, 8, 0), (0, 8, 32), (8, 8, 16)], 16, 2));
        assert_eq!(pack(&[8, 16]), (vec![(0, 4, 16), (0, 4, 0)], 4, 1));
        assert_eq!(pack(&[48]), (vec![(0, 8, 0)], 8, 1));
        assert_eq!(pack(&[64, 1]), (vec![(0, 8, 0), (8, 8, 0)], 16, 2));
        let mut layout = Layout::new();
        layout.pack(&[("a".to_string(), 40), ("b".to_string(), 40)]);
        layout.push("word", 64);
        layout.push("c", 16);
        assert_eq!((layout.places[2].offset, layout.places[3].offset, layout.size), (16, 24, 32));
    }

    #[test]
    fn names_are_such_as_the_kernel_takes_and_distinct() {
        assert_eq!(
            (identifier("p[2].seen"), identifier("9 lives"), identifier("")),
            ("p_2_seen".into(), "_9_lives".into(), "_".into())
        );
        let map = |name: &str| Map {
            name: name.to_string(),
            kind: Kind::Array,
            key: Layout::new(),
            value: Layout::new(),
            entries: 1,
            flags: 0,
        };
        let mut maps = Maps::default();
        let ids = [maps.push(map("a.b")), maps.push(map("a_b")), maps.push(map("a[b]"))];
        let names: Vec<&str> = ids.iter().filter_map(|id| maps.map(*id)).map(|map| map.name.as_str()).collect();
        assert_eq!(names, ["a_b", "a_b_2", "a_b_3"]);
    }
}
