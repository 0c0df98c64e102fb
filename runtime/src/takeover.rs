//! One version of a box takes another one's place, and whatever becomes of the process that does it, one of the two goes on.
//!
//! The new version is made ready in a folder of its own, `NAME+next`. Then a gate is attached to all ports: it drops what comes until it is decided
//! which version goes on, and hands packets on to that one. The process decides for the new version, when no step of the old one is left and what the
//! old one's variables held is handed over; the first packet that comes too long afterwards decides for the old one. What is decided stays so: the
//! rest (links lead to the new version, and its folder takes the other's name) can be repeated from any point, and is done by the next command
//! that is about the box, if need be.

use crate::error::{Error, Tried};
use crate::hook::{self, Pinned, switch};
use crate::pins::{self, Pins};
use crate::record::Record;
use crate::sys::Bytes;
use aya::maps::{MapData, ProgramArray};
use aya::{Ebpf, EbpfLoader};
use grv_codegen::ebpf::Hook;
use grv_codegen::ebpf::gate::{self, DECISION, NEW, OLD, UNTIL, VERSIONS};
use rustix::time::{ClockId, clock_gettime};
use std::path::{Path, PathBuf};

/// How long ports may be closed.
const CLOSED: u64 = 2_000_000_000;

/// Where the gate is pinned, in the folder of the new version.
const GATE: &str = "gate";

/// The gate that stands at the ports.
pub(crate) struct Gate {
    _ebpf: Ebpf,
    folder: PathBuf,
}

impl Gate {
    /// Closes the ports.
    pub(crate) fn close(links: &[PathBuf], old: &Path, new: &Path, hook: Hook) -> Result<Gate, Error> {
        let bug = |what: String| Error::Object(format!("a bug: the gate is not right: {what}"));
        let object = gate::gate(hook).map_err(bug)?;
        let now = clock_gettime(ClockId::Monotonic);
        let until = (now.tv_sec as u64) * 1_000_000_000 + now.tv_nsec as u64 + CLOSED;
        let mut loader = EbpfLoader::new();
        loader.btf(None).override_global(UNTIL, &until, true);
        let mut ebpf = loader.load(&object).map_err(|e| bug(e.to_string()))?;
        hook::verify(&mut ebpf, gate::PROGRAM)?;
        let folder = new.join(GATE);
        std::fs::create_dir(&folder).tried(|| format!("{} cannot be made", folder.display()))?;
        let map = ebpf.map_mut(VERSIONS).ok_or_else(|| bug("it has no versions".to_string()))?;
        let mut versions: ProgramArray<&mut MapData> = map.try_into().map_err(|e: aya::maps::MapError| bug(e.to_string()))?;
        for (number, version) in [(OLD, old), (NEW, new)] {
            let pinned = Pinned::open(&version.join("program"), hook.name())?;
            versions.set(number, pinned.fd()?, 0).map_err(|e| bug(e.to_string()))?;
        }
        // The kernel forgets versions that nobody holds.
        for name in [VERSIONS, DECISION] {
            let path = folder.join(name);
            let map = ebpf.map(name).ok_or_else(|| bug(format!("it has no {name}")))?;
            map.pin(&path).map_err(|e| Error::Pins { path, what: e.to_string() })?;
        }
        let mut program = hook::program(&mut ebpf, gate::PROGRAM)?;
        switch(links, &mut program)?;
        Ok(Gate { _ebpf: ebpf, folder })
    }

    /// Decides for the new version, if it is not too late for that.
    pub(crate) fn decide(&self) -> Result<(), Error> {
        if decided(&self.folder, Some(NEW))? == Some(NEW) {
            return Ok(());
        }
        let seconds = CLOSED / 1_000_000_000;
        Err(Error::Usage(format!("the change took longer than {seconds} s, and the old version goes on: try it again")))
    }
}

/// What is decided at a gate. `now`: what is decided if nothing is so far.
fn decided(gate: &Path, now: Option<u32>) -> Result<Option<u32>, Error> {
    let path = gate.join(DECISION);
    if !path.exists() {
        return Ok(None);
    }
    let tried = || format!("{} cannot be read or written", path.display());
    let map = Bytes::pinned(&path).tried(tried)?;
    if let Some(version) = now {
        map.add(&[0; 4], &version.to_le_bytes()).tried(tried)?;
    }
    let number = map.get(&[0; 4]).tried(tried)?;
    Ok(number.and_then(|bytes| bytes.first_chunk::<4>().copied()).map(u32::from_le_bytes))
}

/// Ends what a process began that has ended halfway: the box is the new version if that was decided, else the old one.
pub(crate) fn settle(pins: &Pins, name: &str) -> Result<(), Error> {
    let (folder, next) = (pins.folder(name)?, pins.next(name)?);
    if !next.exists() {
        return Ok(());
    }
    if !folder.exists() || decided(&next.join(GATE), Some(OLD))? == Some(NEW) {
        return complete(pins, name);
    }
    // The old version goes on, as if nothing had been.
    let (record, _) = Record::read(&folder)?;
    let links: Vec<PathBuf> = (0..record.ports.len()).map(|number| folder.join(pins::link(number))).collect();
    let mut program = Pinned::open(&folder.join("program"), &record.manifest.program_type)?;
    switch(&links, &mut program.hooked())?;
    pins::remove(&next)
}

/// Puts the new version in the place of the old one. All of it may have been done before.
pub(crate) fn complete(pins: &Pins, name: &str) -> Result<(), Error> {
    let (folder, next) = (pins.folder(name)?, pins.next(name)?);
    let (record, _) = Record::read(&next)?;
    let mut program = Pinned::open(&next.join("program"), &record.manifest.program_type)?;
    for number in 0..record.ports.len() {
        let (from, to) = (folder.join(pins::link(number)), next.join(pins::link(number)));
        let moved = to.exists();
        switch(std::slice::from_ref(if moved { &to } else { &from }), &mut program.hooked())?;
        if !moved {
            std::fs::rename(&from, &to).tried(|| format!("{} cannot be moved", from.display()))?;
        }
    }
    if folder.exists() {
        pins::remove(&folder)?;
    }
    if next.join(GATE).exists() {
        pins::remove(&next.join(GATE))?;
    }
    std::fs::rename(&next, &folder).tried(|| format!("{} cannot be moved", next.display()))
}

impl Pinned {
    fn fd(&self) -> Result<&aya::programs::ProgramFd, Error> {
        let fd = match self {
            Pinned::Xdp(xdp) => xdp.fd(),
            Pinned::Tc(tc) => tc.fd(),
        };
        fd.map_err(|e| Error::Usage(format!("a program is not in the kernel: {e}")))
    }
}
