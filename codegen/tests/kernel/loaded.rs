//! A program in the kernel: loaded by aya, run packet by packet, its maps read and written as bytes.

use aya::maps::{Map, MapData, PerCpuArray};
use aya::programs::{Program as InKernel, ProgramError, TestRun, TestRunOptions, TestRunResult};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use grv_codegen::ebpf::flat::flat;
use grv_codegen::ebpf::{Artefact, FRONTS, GENERATION_SECTION, TableInfo};
use grv_codegen::ebpf::{ColumnInfo, front, memory, near};
use grv_lang::ir::Program;
use grv_runtime::Bytes;
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

    /// A map of the program.
    fn map(&self, name: &str) -> Bytes {
        let (Map::Array(map) | Map::HashMap(map) | Map::LpmTrie(map)) = self.ebpf.map(name).unwrap() else {
            panic!("{name} is a map of another kind");
        };
        Bytes::of(map).unwrap()
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
            self.data = self.map(".data").get(&[0; 4]).unwrap().unwrap();
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
            self.map(GENERATION_SECTION).set(&[0; 4], &u64::from(self.generation).to_le_bytes()).unwrap();
        }
        self.map(".data").set(&[0; 4], &self.data).unwrap();
    }

    /// Packets come to a port, at the kernel's own time.
    pub(crate) fn runs(&mut self, port: u32) {
        self.set_up(port, 0);
        self.set("probe_frozen", 0);
        self.map(".data").set(&[0; 4], &self.data).unwrap();
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
                let value = self.map(&info.map).get(&slot?.to_le_bytes()).unwrap().unwrap();
                value.starts_with(&key).then(|| (slot.unwrap_or(0).to_le_bytes().to_vec(), value))
            });
            return slots.collect();
        }
        self.map(&info.map).entries().unwrap()
    }

    /// Keys in the index of slots, and the slots that they lead to.
    pub(crate) fn index(&self, info: &TableInfo) -> Vec<(Vec<u8>, Option<u32>)> {
        let name = info.index.as_ref().unwrap();
        let entries = self.map(name).entries().unwrap();
        entries.into_iter().map(|(key, value)| (key, memory::slot_of(&value))).collect()
    }

    /// All slots of a table, as bytes.
    pub(crate) fn slots(&self, info: &TableInfo) -> Vec<Vec<u8>> {
        let map = self.map(&info.map);
        (0..map.max_entries).map(|slot| map.get(&slot.to_le_bytes()).unwrap().unwrap()).collect()
    }

    /// Sets or removes an entry that the runtime feeds.
    pub(crate) fn feed(&mut self, info: &TableInfo, key: &[u128], value: Option<&[u128]>) {
        let bytes = memory::key(info, key, 0, 0);
        if let (Some(of), [key]) = (&info.near, key) {
            let key = *key as u32;
            let columns = |bytes: &[u8], columns: &[ColumnInfo]| -> Vec<u128> {
                columns.iter().map(|column| memory::get(bytes, column)).collect()
            };
            let raw = self.map(&info.map).entries().unwrap();
            let others: Vec<(u32, Vec<u128>)> =
                raw.iter().map(|(key, value)| (columns(key, &info.key)[0] as u32, columns(value, &info.value))).collect();
            let words = self.map(&of.map).words().unwrap();
            let others = others.iter().map(|(key, value)| (*key, value.as_slice()));
            words.set(near::index(key), near::after(of, words.get(near::index(key)), (key, value), others));
        }
        let map = self.map(&info.map);
        match value {
            Some(value) => map.set(&bytes, &memory::value(info, key, value)).unwrap(),
            None => map.remove(&bytes).unwrap(),
        }
    }

    /// Replaces a control table in one generation.
    pub(crate) fn replace(&mut self, info: &TableInfo, generation: u32, capacity: u64, entries: &[(Vec<u128>, Vec<u128>)]) {
        let map = self.map(&info.map);
        match info.keeping {
            // They are in front.
            "control globals" => {}
            "control array" => {
                for index in 0..capacity {
                    let value = entries.get(index as usize).map_or_else(|| vec![0; info.value.len()], |(_, value)| value.clone());
                    let key = memory::key(info, &[index.into()], generation, capacity);
                    map.set(&key, &memory::value(info, &[], &value)).unwrap();
                }
            }
            "control rows" => {
                let elements: Vec<Vec<u128>> = entries.iter().map(|(_, element)| element.clone()).collect();
                map.set(&memory::key(info, &[], generation, 0), &memory::rows(info, &elements)).unwrap();
            }
            _ => {
                let old = map.keys().unwrap();
                for key in old.iter().filter(|key| memory::key_of(info, key, capacity).1 == generation) {
                    map.remove(key).unwrap();
                }
                if info.keeping == "control blocks" {
                    memory::blocks(info, generation, entries).iter().for_each(|(key, value)| map.set(key, value).unwrap());
                } else {
                    let set = |(key, value): &(Vec<u128>, Vec<u128>)| {
                        map.set(&memory::key(info, key, generation, 0), &memory::value(info, key, value)).unwrap();
                    };
                    entries.iter().for_each(set);
                }
            }
        }
        if info.flat.is_none() && info.front.is_none() {
            return;
        }
        let fronts = self.map(FRONTS);
        let mut section = fronts.get(&[0; 4]).unwrap().unwrap();
        if let Some(of) = &info.flat {
            let blocks = self.map(&of.map);
            let set = |(index, block): (u32, Vec<u8>)| blocks.set(&index.to_le_bytes(), &block).unwrap();
            flat(of, &mut section, generation, entries).into_iter().for_each(set);
        }
        if let Some(of) = &info.front {
            let entries = entries.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
            front::fill(of, &mut section, generation, entries);
        }
        fronts.set(&[0; 4], &section).unwrap();
    }
}
