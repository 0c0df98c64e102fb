//! An object becomes a box in the kernel: loaded, its tables filled, attached to its interfaces, pinned. If something fails, nothing is left.

use crate::error::{Error, Tried};
use crate::installed::Installed;
use crate::netlink::{Interface, Netlink};
use crate::object::Object;
use crate::pins::{self, Pins};
use crate::record::{Attached, Mode, Record};
use crate::{check, hook, sweep};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use grv_codegen::ebpf::near;
use grv_lang::config::Settings;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What the kernel is to say of programs that it refuses.
pub(crate) const LOG: VerifierLogLevel = VerifierLogLevel::VERBOSE.union(VerifierLogLevel::STATS);

/// The variable that choices begin at.
const SEED: &str = "choice_seed";
/// The variable that has a bit for each port whose packets its driver can turn back.
const TURNS: &str = "turns_back";

/// How a box is to be loaded.
#[derive(Clone, Debug)]
pub struct Request<'r> {
    /// The name by which it is found again.
    pub name: &'r str,
    /// Ports and their interfaces.
    pub ports: &'r [(String, String)],
    /// How its program is run.
    pub mode: Mode,
    /// Its configuration.
    pub settings: &'r Settings,
    /// Whether the far ends of pairs of virtual devices are changed as the box needs them.
    pub fix: bool,
}

/// Removes what was pinned so far unless all went well.
pub(crate) struct Undo<'p>(Option<&'p Path>);

impl<'p> Undo<'p> {
    pub(crate) fn of(folder: &'p Path) -> Undo<'p> {
        Undo(Some(folder))
    }

    pub(crate) fn done(&mut self) {
        self.0 = None;
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if let Some(folder) = self.0.filter(|folder| folder.exists()) {
            // It fails already, and says why.
            let _removed = pins::remove(folder);
        }
    }
}

/// Loads a box. The result: the box, and what its user should know of the machine.
pub fn load(pins: &Pins, object: &Object, request: &Request<'_>) -> Result<(Installed, Vec<String>), Error> {
    loadable(object)?;
    let folder = pins.folder(request.name)?;
    is_free(pins, request.name)?;
    if !object.description.is_xdp() && request.mode != Mode::Any {
        return Err(Error::Usage("`--mode` is of XDP, and this was built for tc".to_string()));
    }
    let mut netlink = Netlink::open()?;
    let interfaces = netlink.interfaces()?;
    let ports = assign(object, request.ports, &interfaces)?;
    let params = object.description.params(&request.settings.params)?;
    let installed = Installed {
        name: request.name.to_string(),
        description: object.description.clone(),
        ports,
        mode: request.mode,
        params,
        folder: folder.clone(),
    };
    // The kernel may take a second to check a program.
    let mut ebpf = pins.apart(|| into_kernel(object, &installed.ports, &installed.params, &[]))?;
    is_free(pins, request.name)?;
    let mut undo = Undo::of(&folder);
    installed.prepare(&mut ebpf)?;
    installed.begin(request.settings)?;
    let mut program = hook::program(&mut ebpf, &object.description.manifest.program)?;
    for (number, port) in installed.ports.iter().enumerate() {
        program.attach(port, request.mode, &folder.join(pins::link(number)))?;
    }
    let mut warnings = check::machine(&mut netlink, &installed, request.fix)?;
    warnings.extend(sweep::begin(&installed));
    undo.done();
    Ok((installed, warnings))
}

/// Whether no box has a name.
fn is_free(pins: &Pins, name: &str) -> Result<(), Error> {
    if pins.folder(name)?.exists() || pins.next(name)?.exists() {
        return Err(Error::Usage(format!(
            "a box `{name}` is loaded already: `--replace` replaces it, `grv unload {name}` ends it, `--name` gives another name"
        )));
    }
    Ok(())
}

/// Whether an object may be loaded here at all.
pub(crate) fn loadable(object: &Object) -> Result<(), Error> {
    let manifest = &object.description.manifest;
    if manifest.probe {
        return Err(Error::Usage("this was built for tests (`--probe`), which can set its clock: it is not loaded".to_string()));
    }
    check::kernel(&manifest.kernel)?;
    check::ticks(manifest.hz)
}

fn pinned(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Pins { path: path.to_path_buf(), what: error.to_string() }
}

/// The interface of each port.
fn assign(object: &Object, given: &[(String, String)], interfaces: &[Interface]) -> Result<Vec<Attached>, Error> {
    let ports: Vec<&str> =
        object.description.manifest.ports.iter().map(|p| p.name.as_str()).filter(|name| *name != "host").collect();
    let list = || ports.join(", ");
    if let Some((unknown, _)) = given.iter().find(|(port, _)| !ports.contains(&port.as_str())) {
        return Err(Error::Usage(format!("the box has no port `{unknown}`; it has {}", list())));
    }
    let mut assigned: Vec<Attached> = Vec::new();
    for port in &ports {
        let mut of = given.iter().filter(|(name, _)| name == port);
        let Some((_, name)) = of.next() else {
            return Err(Error::Usage(format!(
                "which interface is `{port}`? Say `--port {port}=INTERFACE`; the box has {}",
                list()
            )));
        };
        if of.next().is_some() {
            return Err(Error::Usage(format!("`{port}` is given two interfaces")));
        }
        let Some(interface) = interfaces.iter().find(|interface| interface.name == *name) else {
            let known: Vec<&str> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
            return Err(Error::Usage(format!("there is no interface `{name}`; there are: {}", known.join(", "))));
        };
        if assigned.iter().any(|other| other.ifindex == interface.index) {
            return Err(Error::Usage(format!("`{name}` is given to two ports")));
        }
        let others = || interfaces.iter().filter(|other| assigned.iter().any(|port| port.ifindex == other.index));
        if let Some(other) = others().find(|other| interface.is_above(other) || other.is_above(interface)) {
            // A packet that goes to all other ports would not go there.
            return Err(Error::Usage(format!(
                "`{name}` and `{}` are given to two ports, and one lies above the other",
                other.name
            )));
        }
        if object.description.is_xdp() && interface.xdp.is_some() {
            return Err(Error::Usage(format!("`{name}` has an XDP program already: `bpftool net` shows whose it is")));
        }
        assigned.push(Attached {
            port: port.to_string(),
            interface: name.clone(),
            ifindex: interface.index,
            // The far end of a pair only takes it with a program of its own, which may go.
            turns_back: !interface.veth,
            before: interface.traffic,
        });
    }
    Ok(assigned)
}

/// Has the kernel take the program, with its constants. `shared`: maps that are there already, and where.
pub(crate) fn into_kernel(
    object: &Object,
    ports: &[Attached],
    params: &[Vec<u128>],
    shared: &[(String, PathBuf)],
) -> Result<Ebpf, Error> {
    let manifest = &object.description.manifest;
    let mut constants: Vec<(&str, Vec<u8>)> = Vec::new();
    for port in &manifest.ports {
        if let (Some(variable), Some(of)) = (&port.interface, ports.iter().find(|of| of.port == port.name)) {
            constants.push((variable, of.ifindex.to_le_bytes().to_vec()));
        }
    }
    for (parameter, number) in manifest.parameters.iter().zip(params.iter().flatten()) {
        let bytes = (*number as u64).to_le_bytes();
        let bytes = bytes.get(..parameter.bytes.into()).unwrap_or(&bytes);
        constants.push((&parameter.variable, bytes.to_vec()));
    }
    // Nobody is to guess which ports are chosen next.
    if let Some(seed) = manifest.variables.iter().find(|v| v.section == ".rodata" && v.name == SEED) {
        let mut random = vec![0; seed.bytes.into()];
        let read = std::fs::File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut random));
        read.tried(|| "there are no random numbers (/dev/urandom)".to_string())?;
        constants.push((&seed.name, random));
    }
    // What is fed is fed by `near::after`.
    if manifest.variables.iter().any(|v| v.section == ".rodata" && v.name == near::WHOLE) {
        constants.push((near::WHOLE, vec![1]));
    }
    let turns = |port: &&str| ports.iter().any(|of| of.turns_back && of.port == **port);
    let names = object.description.program.ports.iter().map(|port| port.name.as_str());
    let bits = (0..u64::BITS).zip(names).filter(|(_, name)| turns(name)).fold(0, |bits, (at, _)| bits | 1 << at);
    constants.push((TURNS, u64::to_le_bytes(bits).to_vec()));
    let mut loader = EbpfLoader::new();
    // Nothing in our programs depends on how the kernel lays out its own data.
    loader.btf(None);
    loader.verifier_log_level(LOG);
    for (name, bytes) in &constants {
        loader.override_global(name, bytes.as_slice(), true);
    }
    for (map, path) in shared {
        loader.map_pin_path(map, path.as_path());
    }
    let failed = |e: aya::EbpfError| match e {
        aya::EbpfError::MapError(aya::maps::MapError::CreateError { name, io_error }) => {
            Error::System { what: format!("the kernel does not make the map `{name}`"), error: io_error }
        }
        other => Error::Object(format!("the object cannot be loaded: {other}")),
    };
    let mut ebpf = loader.load(&object.bytes).map_err(failed)?;
    hook::verify(&mut ebpf, &manifest.program)?;
    Ok(ebpf)
}

impl Installed {
    /// Everything but its attachment: all that belongs to a program in the kernel is pinned. Tables are not filled.
    pub(crate) fn prepare(&self, ebpf: &mut Ebpf) -> Result<(), Error> {
        for folder in [self.folder.clone(), self.folder.join("maps"), self.folder.join("links")] {
            std::fs::create_dir(&folder).tried(|| format!("{} cannot be made", folder.display()))?;
        }
        for (name, map) in ebpf.maps() {
            let path = self.folder.join(pins::map(name));
            map.pin(&path).map_err(|e| pinned(&path, &e))?;
        }
        let path = self.folder.join("program");
        hook::program(ebpf, &self.description.manifest.program)?.pin(&path)?;
        let numbers = |columns: &Vec<u128>| columns.iter().map(u128::to_string).collect();
        let record = Record {
            manifest: self.description.manifest.clone(),
            mode: self.mode,
            ports: self.ports.clone(),
            params: self.params.iter().map(numbers).collect(),
        };
        record.pin(&self.folder)?;
        self.connect()
    }

    /// Fills the maps of interfaces that packets are sent to.
    fn connect(&self) -> Result<(), Error> {
        let manifest = &self.description.manifest;
        let ifindex = |name: &str| self.ports.iter().find(|port| port.port == name).map(|port| port.ifindex);
        let put = |map: &str, index: usize, name: &str| {
            let Some(ifindex) = ifindex(name) else { return Ok(()) };
            let index = (index as u32).to_le_bytes();
            let map = self.map(map)?;
            // Behind the interface's number there may be room for a program, and none is given.
            let mut value = ifindex.to_le_bytes().to_vec();
            value.resize(map.value_size(), 0);
            map.set(&index, &value).tried(|| format!("nothing can be sent to the port `{name}`"))
        };
        for port in &manifest.ports {
            if let Some(index) = port.index {
                put("ports", index as usize, &port.name)?;
            }
        }
        for group in &manifest.groups {
            for (index, name) in group.ports.iter().enumerate() {
                put(&group.map, index, name)?;
            }
        }
        Ok(())
    }
}
