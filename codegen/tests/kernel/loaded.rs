//! A program in the kernel: loaded by aya, run packet by packet, its maps read and written as bytes.

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray};
use aya::programs::{Program as InKernel, ProgramError, TestRun, TestRunOptions, TestRunResult};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use grv_codegen::ebpf::flat::flat;
use grv_codegen::ebpf::{Artefact, GENERATION_SECTION, TableInfo};
use grv_codegen::ebpf::{ColumnInfo, front, memory, near};
use grv_lang::ir::Program;
use std::path::{Path, PathBuf};

/// A program in the kernel.
pub(crate) struct Loaded {
    pub(crate) artefact: Artefact,
    ebpf: Ebpf,
    data: Vec<u8>,
    pub(crate) generation: u32,
}

/// What a packet came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) verdict: u32,
    /// Ports that it was sent to, a bit each.
    pub(crate) sent: u64,
    /// What the drop was counted by.
    pub(crate) reason: Option<u64>,
    /// What a choice came to, if one was made.
    pub(crate) chosen: Option<Option<u64>>,
    pub(crate) bytes: Vec<u8>,
}

/// No choice was made.
const NOT_ASKED: u64 = u64::MAX - 1;

/// Does something with the sizes of a map's keys and values as constants.
macro_rules! sized {
    ($key:expr, $value:expr, $f:ident($($arg:expr),*)) => {
        match $key {
            1 => sized!(@ 1, $value, $f($($arg),*)),
            2 => sized!(@ 2, $value, $f($($arg),*)),
            4 => sized!(@ 4, $value, $f($($arg),*)),
            8 => sized!(@ 8, $value, $f($($arg),*)),
            12 => sized!(@ 12, $value, $f($($arg),*)),
            16 => sized!(@ 16, $value, $f($($arg),*)),
            20 => sized!(@ 20, $value, $f($($arg),*)),
            24 => sized!(@ 24, $value, $f($($arg),*)),
            other => panic!("keys of {other} bytes"),
        }
    };
    (@ $k:literal, $value:expr, $f:ident($($arg:expr),*)) => {
        match $value {
            4 => $f::<$k, 4>($($arg),*),
            8 => $f::<$k, 8>($($arg),*),
            12 => $f::<$k, 12>($($arg),*),
            16 => $f::<$k, 16>($($arg),*),
            24 => $f::<$k, 24>($($arg),*),
            32 => $f::<$k, 32>($($arg),*),
            40 => $f::<$k, 40>($($arg),*),
            48 => $f::<$k, 48>($($arg),*),
            56 => $f::<$k, 56>($($arg),*),
            64 => $f::<$k, 64>($($arg),*),
            72 => $f::<$k, 72>($($arg),*),
            80 => $f::<$k, 80>($($arg),*),
            88 => $f::<$k, 88>($($arg),*),
            96 => $f::<$k, 96>($($arg),*),
            104 => $f::<$k, 104>($($arg),*),
            176 => $f::<$k, 176>($($arg),*),
            200 => $f::<$k, 200>($($arg),*),
            1920 => $f::<$k, 1920>($($arg),*),
            2048 => $f::<$k, 2048>($($arg),*),
            4096 => $f::<$k, 4096>($($arg),*),
            8200 => $f::<$k, 8200>($($arg),*),
            other => panic!("values of {other} bytes"),
        }
    };
}

fn hash<const K: usize, const V: usize>(ebpf: &mut Ebpf, name: &str, key: &[u8], value: Option<&[u8]>) {
    let mut map: HashMap<&mut MapData, [u8; K], [u8; V]> = HashMap::try_from(ebpf.map_mut(name).unwrap()).unwrap();
    let key: [u8; K] = key.try_into().unwrap();
    match value {
        Some(value) => {
            let value: [u8; V] = value.try_into().unwrap();
            map.insert(key, value, 0).unwrap();
        }
        // Removing what is not there is no error of the runtime.
        None => drop(map.remove(&key)),
    }
}

fn all<const K: usize, const V: usize>(ebpf: &Ebpf, name: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let map: HashMap<&MapData, [u8; K], [u8; V]> = HashMap::try_from(ebpf.map(name).unwrap()).unwrap();
    let mut entries: Vec<_> = map.iter().map(|entry| entry.unwrap()).map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
    entries.sort();
    entries
}

fn array<const K: usize, const V: usize>(ebpf: &mut Ebpf, name: &str, key: &[u8], value: &[u8]) {
    let mut map: Array<&mut MapData, [u8; V]> = Array::try_from(ebpf.map_mut(name).unwrap()).unwrap();
    let value: [u8; V] = value.try_into().unwrap();
    assert_eq!(K, 4, "indexes have 4 bytes");
    map.set(u32::from_le_bytes(key.try_into().unwrap()), value, 0).unwrap();
}

fn element<const K: usize, const V: usize>(ebpf: &Ebpf, name: &str, index: u32) -> Vec<u8> {
    assert_eq!(K, 4, "indexes have 4 bytes");
    let map: Array<&MapData, [u8; V]> = Array::try_from(ebpf.map(name).unwrap()).unwrap();
    map.get(&index, 0).unwrap().to_vec()
}

fn prefix<const K: usize, const V: usize>(ebpf: &mut Ebpf, name: &str, key: &[u8], value: Option<&[u8]>) {
    let mut map: LpmTrie<&mut MapData, [u8; K], [u8; V]> = LpmTrie::try_from(ebpf.map_mut(name).unwrap()).unwrap();
    let (length, data) = key.split_at(4);
    let data: [u8; K] = data.try_into().unwrap();
    let key = Key::new(u32::from_le_bytes(length.try_into().unwrap()), data);
    match value {
        Some(value) => {
            let value: [u8; V] = value.try_into().unwrap();
            map.insert(&key, value, 0).unwrap();
        }
        None => map.remove(&key).unwrap(),
    }
}

fn prefixes<const K: usize, const V: usize>(ebpf: &Ebpf, name: &str) -> Vec<Vec<u8>> {
    let map: LpmTrie<&MapData, [u8; K], [u8; V]> = LpmTrie::try_from(ebpf.map(name).unwrap()).unwrap();
    let keys = map.keys().map(|key| key.unwrap());
    keys.map(|key| key.prefix_len().to_le_bytes().into_iter().chain(key.data()).collect()).collect()
}

/// Whether programs can be loaded here.
pub(crate) fn permitted() -> Result<(), String> {
    let probe = aya::sys::is_program_supported(aya::programs::ProgramType::Xdp);
    match probe {
        Ok(true) => Ok(()),
        Ok(false) => Err("this kernel has no XDP programs".to_string()),
        Err(error) => Err(format!("programs cannot be loaded into the kernel: {error}")),
    }
}

impl Loaded {
    /// Loads a program with these parameters.
    pub(crate) fn new(artefact: Artefact, program: &Program, params: &[Vec<u128>]) -> Loaded {
        let mut loader = EbpfLoader::new();
        loader.verifier_log_level(VerifierLogLevel::STATS);
        let values = program.params.iter().zip(params).flat_map(|(_, values)| values.iter().copied());
        let mut given = vec![("turns_back", u64::MAX.to_le_bytes().to_vec())];
        given.extend(artefact.variables.iter().filter(|v| v.name == near::WHOLE).map(|_| (near::WHOLE, vec![1])));
        for (parameter, value) in artefact.parameters.iter().zip(values) {
            let variable = artefact.variables.iter().find(|v| v.name == parameter.variable).unwrap();
            given.push((parameter.variable.as_str(), (value as u64).to_le_bytes()[..variable.bytes.into()].to_vec()));
        }
        for (name, bytes) in &given {
            loader.override_global(name, bytes.as_slice(), true);
        }
        let mut ebpf = loader.load(&artefact.object).unwrap_or_else(|e| panic!("{}: {e:?}", program.name));
        let loaded = match ebpf.program_mut(&artefact.program).unwrap() {
            InKernel::Xdp(xdp) => xdp.load(),
            InKernel::SchedClassifier(tc) => tc.load(),
            other => panic!("{other:?}"),
        };
        if let Err(error) = loaded {
            panic!("{}: {error}\n{}", program.name, artefact.listing);
        }
        let size = artefact.variables.iter().filter(|v| v.section == ".data").map(|v| v.offset + u16::from(v.bytes)).max();
        let data = vec![0; size.unwrap_or(0).into()];
        let mut loaded = Loaded { artefact, ebpf, data, generation: 0 };
        loaded.remember();
        loaded
    }

    /// How a table is kept.
    pub(crate) fn table(&self, name: &str) -> &TableInfo {
        self.artefact.tables.iter().find(|info| info.name == name).unwrap()
    }

    fn set(&mut self, name: &str, value: u64) {
        let variable = self.artefact.variables.iter().find(|v| v.section == ".data" && v.name == name).unwrap();
        let at = variable.offset as usize;
        self.data[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    fn variable(&self, data: &[u8], name: &str) -> u64 {
        let variable = self.artefact.variables.iter().find(|v| v.section == ".data" && v.name == name).unwrap();
        u64::from_le_bytes(data[variable.offset.into()..][..8].try_into().unwrap())
    }

    /// When a table may be swept again.
    pub(crate) fn sweep_due(&self, info: &TableInfo) -> u64 {
        let prefix = if info.clock.coarse { "sweep_ticks" } else { "sweep" };
        self.variable(&self.data, &format!("{prefix}_{}", info.index.as_ref().unwrap_or(&info.map)))
    }

    /// What is in the program's variables by now.
    pub(crate) fn remember(&mut self) {
        if !self.data.is_empty() {
            self.data = sized!(4, self.data.len(), first(&self.ebpf, ".data"));
        }
    }

    /// What is in a cell.
    pub(crate) fn cell(&self, info: &TableInfo) -> u128 {
        memory::get(&self.data, &info.value[0])
    }

    /// The port and the time of the packets that come.
    pub(crate) fn set_up(&mut self, port: u32, now: u64) {
        // What the program keeps there stays as it is.
        self.remember();
        for (name, value) in [("probe_frozen", 1), ("probe_clock", now), ("probe_port", u64::from(port) + 1)] {
            self.set(name, value);
        }
        self.set("probe_sent", 0);
        self.set("probe_reason", u64::MAX);
        self.set("probe_chosen", NOT_ASKED);
        if self.artefact.variables.iter().any(|v| v.section == GENERATION_SECTION) {
            let generation = u64::from(self.generation).to_le_bytes();
            array::<4, 8>(&mut self.ebpf, GENERATION_SECTION, &[0; 4], &generation);
        }
        let data = self.data.clone();
        sized!(4, data.len(), array(&mut self.ebpf, ".data", &[0; 4], &data));
    }

    /// Packets come to a port, at the kernel's own time.
    pub(crate) fn runs(&mut self, port: u32) {
        self.set_up(port, 0);
        self.set("probe_frozen", 0);
        let data = self.data.clone();
        sized!(4, data.len(), array(&mut self.ebpf, ".data", &[0; 4], &data));
    }

    fn run(&self, options: TestRunOptions<'_>) -> Result<TestRunResult, ProgramError> {
        match self.ebpf.program(&self.artefact.program).unwrap() {
            InKernel::Xdp(xdp) => xdp.test_run(options),
            InKernel::SchedClassifier(tc) => tc.test_run(options),
            other => panic!("{other:?}"),
        }
    }

    /// The same packet comes again and again.
    pub(crate) fn repeat(&self, bytes: &[u8], times: u32) {
        let options = TestRunOptions { data_in: Some(bytes), repeat: times, ..TestRunOptions::new() };
        self.run(options).unwrap();
    }

    /// The verdict on a packet, at the kernel's own time, whatever other packets come.
    pub(crate) fn sent(&self, bytes: &[u8]) -> u32 {
        let options = TestRunOptions { data_in: Some(bytes), ..TestRunOptions::new() };
        self.run(options).unwrap().return_value
    }

    /// Pins all maps; where.
    pub(crate) fn pin_maps(&self, folder: &Path) -> Vec<(String, PathBuf)> {
        let names = self.artefact.budget.maps.iter().map(|(name, ..)| name.clone());
        let pin = |name: String| {
            let path = folder.join(&name);
            self.ebpf.map(&name).unwrap().pin(&path).unwrap();
            (name, path)
        };
        names.map(pin).collect()
    }

    /// Packets dropped, by reason.
    pub(crate) fn drops(&self) -> Vec<u64> {
        let map: PerCpuArray<&MapData, u64> = PerCpuArray::try_from(self.ebpf.map("drops").unwrap()).unwrap();
        let reasons = self.artefact.reasons.len() as u32;
        let sum = |counter: u32| map.get(&counter, 0).unwrap().iter().sum::<u64>();
        (0..reasons).map(|reason| (reason..map.len()).step_by(reasons as usize).map(sum).sum()).collect()
    }

    /// A packet arrives at a port at a time.
    pub(crate) fn packet(&mut self, port: u32, now: u64, bytes: &[u8]) -> Left {
        self.set_up(port, now);
        let mut out = vec![0; 1 << 16];
        let options = TestRunOptions { data_in: Some(bytes), data_out: Some(&mut out), ..TestRunOptions::new() };
        let result = self.run(options).unwrap_or_else(|e| panic!("{} bytes: {e:?}", bytes.len()));
        out.truncate(result.data_size_out as usize);
        self.remember();
        // Drops are counted by port, too.
        let counter = Some(self.variable(&self.data, "probe_reason")).filter(|counter| *counter != u64::MAX);
        let reasons = self.artefact.reasons.len() as u64;
        assert!(counter.is_none_or(|counter| counter / reasons == u64::from(port) + 1), "a drop of another port: {counter:?}");
        let sent = self.variable(&self.data, "probe_sent");
        let chosen = match self.variable(&self.data, "probe_chosen") {
            NOT_ASKED => None,
            u64::MAX => Some(None),
            value => Some(Some(value)),
        };
        Left { verdict: result.return_value, sent, reason: counter.map(|counter| counter % reasons), chosen, bytes: out }
    }

    /// The entries of a table, as bytes; of slots, those that the index leads to, by the numbers of the slots.
    pub(crate) fn entries(&self, info: &TableInfo) -> Vec<(Vec<u8>, Vec<u8>)> {
        if info.index.is_some() {
            let slots = self.index(info).into_iter().filter_map(|(key, slot)| {
                let value = sized!(4, info.value_bytes, element(&self.ebpf, &info.map, slot?));
                value.starts_with(&key).then(|| (slot.unwrap_or(0).to_le_bytes().to_vec(), value))
            });
            return slots.collect();
        }
        sized!(info.key_bytes, info.value_bytes, all(&self.ebpf, &info.map))
    }

    /// Keys in the index of slots, and the slots that they lead to.
    pub(crate) fn index(&self, info: &TableInfo) -> Vec<(Vec<u8>, Option<u32>)> {
        let name = info.index.as_ref().unwrap();
        let Some(Map::HashMap(map)) = self.ebpf.map(name) else { panic!("the index {name} is no map of keys") };
        let of = map.info().unwrap();
        let entries = sized!(of.key_size(), of.value_size(), all(&self.ebpf, name));
        entries.into_iter().map(|(key, value)| (key, memory::slot_of(&value))).collect()
    }

    /// All slots of a table, as bytes.
    pub(crate) fn slots(&self, info: &TableInfo) -> Vec<Vec<u8>> {
        let Some(Map::Array(map)) = self.ebpf.map(&info.map) else { panic!("{} is no array", info.map) };
        (0..map.info().unwrap().max_entries())
            .map(|slot| sized!(4, info.value_bytes, element(&self.ebpf, &info.map, slot)))
            .collect()
    }

    /// Sets or removes an entry that the runtime feeds.
    pub(crate) fn feed(&mut self, info: &TableInfo, key: &[u128], value: Option<&[u128]>) {
        let bytes = memory::key(info, key, 0, 0);
        if let (Some(of), [key]) = (&info.near, key) {
            let key = *key as u32;
            let columns = |bytes: &[u8], columns: &[ColumnInfo]| -> Vec<u128> {
                columns.iter().map(|column| memory::get(bytes, column)).collect()
            };
            let raw = sized!(info.key_bytes, info.value_bytes, all(&self.ebpf, &info.map));
            let others: Vec<(u32, Vec<u128>)> =
                raw.iter().map(|(key, value)| (columns(key, &info.key)[0] as u32, columns(value, &info.value))).collect();
            let mut map: Array<&mut MapData, u64> = Array::try_from(self.ebpf.map_mut(&of.map).unwrap()).unwrap();
            let before = map.get(&near::index(key), 0).unwrap();
            let others = others.iter().map(|(key, value)| (*key, value.as_slice()));
            map.set(near::index(key), near::after(of, before, (key, value), others), 0).unwrap();
        }
        let value = value.map(|value| memory::value(info, key, value));
        sized!(info.key_bytes, info.value_bytes, hash(&mut self.ebpf, &info.map, &bytes, value.as_deref()));
    }

    /// Replaces a control table in one generation.
    pub(crate) fn replace(&mut self, info: &TableInfo, generation: u32, capacity: u64, entries: &[(Vec<u128>, Vec<u128>)]) {
        match info.keeping {
            "prefixes" => {
                let name = info.map.clone();
                let old = sized!(info.key_bytes - 8, info.value_bytes, old_prefixes(&self.ebpf, &name));
                for key in old.iter().filter(|key| key[4..8] == generation.to_be_bytes()) {
                    sized!(info.key_bytes - 8, info.value_bytes, one_prefix(&mut self.ebpf, &name, key, None));
                }
                for (key, value) in entries {
                    let (bytes, value) = (memory::key(info, key, generation, 0), memory::value(info, key, value));
                    sized!(info.key_bytes - 8, info.value_bytes, one_prefix(&mut self.ebpf, &name, &bytes, Some(&value)));
                }
                if let Some(of) = &info.flat {
                    for (index, block) in flat(of, generation, entries) {
                        sized!(4, block.len(), array(&mut self.ebpf, &of.map, &index.to_le_bytes(), &block));
                    }
                }
            }
            "control array" => {
                for index in 0..capacity {
                    let value = entries.get(index as usize).map_or_else(|| vec![0; info.value.len()], |(_, value)| value.clone());
                    let key = memory::key(info, &[index.into()], generation, capacity);
                    let value = memory::value(info, &[], &value);
                    sized!(info.key_bytes, info.value_bytes, array(&mut self.ebpf, &info.map, &key, &value));
                }
            }
            "control rows" => {
                let elements: Vec<Vec<u128>> = entries.iter().map(|(_, element)| element.clone()).collect();
                let (key, value) = (memory::key(info, &[], generation, 0), memory::rows(info, &elements));
                sized!(info.key_bytes, info.value_bytes, array(&mut self.ebpf, &info.map, &key, &value));
            }
            "control blocks" => {
                let name = info.map.clone();
                let old: Vec<Vec<u8>> = self.entries(info).into_iter().map(|(key, _)| key).collect();
                for key in old.iter().filter(|key| key[4..8] == generation.to_le_bytes()) {
                    sized!(info.key_bytes, info.value_bytes, hash(&mut self.ebpf, &name, key, None));
                }
                for (key, value) in memory::blocks(info, generation, entries) {
                    sized!(info.key_bytes, info.value_bytes, hash(&mut self.ebpf, &name, &key, Some(&value)));
                }
            }
            _ => {
                let front_of = info.front.clone().unwrap();
                for (key, _) in self.entries(info) {
                    let (scalars, of) = memory::key_of(info, &key, 0);
                    if of == generation {
                        let place = front::place(&front_of, &scalars, generation).to_le_bytes();
                        sized!(4, front_of.bytes, array(&mut self.ebpf, &front_of.map, &place, &front::nothing(&front_of)));
                        sized!(info.key_bytes, info.value_bytes, hash(&mut self.ebpf, &info.map, &key, None));
                    }
                }
                for (key, value) in entries {
                    let place = front::place(&front_of, key, generation);
                    if !front::is_taken(&sized!(4, front_of.bytes, element(&self.ebpf, &front_of.map, place))) {
                        let element = front::element(&front_of, key, value);
                        sized!(4, front_of.bytes, array(&mut self.ebpf, &front_of.map, &place.to_le_bytes(), &element));
                    }
                    let (bytes, value) = (memory::key(info, key, generation, 0), memory::value(info, key, value));
                    sized!(info.key_bytes, info.value_bytes, hash(&mut self.ebpf, &info.map, &bytes, Some(&value)));
                }
            }
        }
    }
}

fn first<const K: usize, const V: usize>(ebpf: &Ebpf, name: &str) -> Vec<u8> {
    assert_eq!(K, 4, "indexes have 4 bytes");
    let map: Array<&MapData, [u8; V]> = Array::try_from(ebpf.map(name).unwrap()).unwrap();
    map.get(&0, 0).unwrap().to_vec()
}

/// Prefixes have four bytes for the generation before the address.
fn one_prefix<const A: usize, const V: usize>(ebpf: &mut Ebpf, name: &str, key: &[u8], value: Option<&[u8]>) {
    match A {
        1 => prefix::<5, V>(ebpf, name, key, value),
        2 => prefix::<6, V>(ebpf, name, key, value),
        4 => prefix::<8, V>(ebpf, name, key, value),
        _ => prefix::<12, V>(ebpf, name, key, value),
    }
}

fn old_prefixes<const A: usize, const V: usize>(ebpf: &Ebpf, name: &str) -> Vec<Vec<u8>> {
    match A {
        1 => prefixes::<5, V>(ebpf, name),
        2 => prefixes::<6, V>(ebpf, name),
        4 => prefixes::<8, V>(ebpf, name),
        _ => prefixes::<12, V>(ebpf, name),
    }
}
