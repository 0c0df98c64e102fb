//! Where boxes are pinned: `/sys/fs/bpf/grv/NAME` holds `program`, `record`, a folder `maps` (those of global variables begin with
//! `section_`), and a folder `links` with one link for each port, by the port's number.

use crate::error::{Error, Tried};
use std::fs::File;
use std::path::{Path, PathBuf};

/// The file system that holds pins.
const BPFFS: &str = "/sys/fs/bpf";

/// The kernel's number of that kind of file system.
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// What the name of a folder ends with that is to take another's place: no box is called so.
const NEXT: &str = "+next";

/// The folder of all boxes. What is changed there is changed by one process at a time: as long as this value lives.
#[derive(Debug)]
pub struct Pins {
    root: PathBuf,
    /// Whether the file system was not there, and was mounted for this.
    pub mounted: bool,
    lock: File,
}

impl Pins {
    /// Opens the folder; the file system is mounted and the folder made if they are not there.
    pub fn open() -> Result<Pins, Error> {
        let base = Path::new(BPFFS);
        let there = rustix::fs::statfs(base).tried(|| format!("{BPFFS} cannot be looked at"))?;
        let mounted = there.f_type as u64 & 0xffff_ffff != BPF_FS_MAGIC;
        if mounted {
            rustix::mount::mount("bpf", base, "bpf", rustix::mount::MountFlags::empty(), None)
                .tried(|| format!("the file system for pins cannot be mounted at {BPFFS}"))?;
        }
        let root = base.join("grv");
        std::fs::create_dir_all(&root).tried(|| format!("{} cannot be made", root.display()))?;
        let lock = File::open(&root).tried(|| format!("{} cannot be opened", root.display()))?;
        lock.lock().tried(|| format!("{} cannot be locked", root.display()))?;
        Ok(Pins { root, mounted, lock })
    }

    /// Does what takes long and touches nothing of this, while others may change it: what was seen before may be otherwise afterwards.
    pub(crate) fn apart<T>(&self, long: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let tried = || format!("{} cannot be locked", self.root.display());
        self.lock.unlock().tried(tried)?;
        let result = long();
        self.lock.lock().tried(tried)?;
        result
    }

    /// Where a box is pinned. Names are such as the file system takes: letters, digits, `_` and `-`.
    pub fn folder(&self, name: &str) -> Result<PathBuf, Error> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
            return Err(Error::Usage(format!("`{name}` is no name for a box: letters, digits, `_` and `-`, 64 at most")));
        }
        Ok(self.root.join(name))
    }

    /// Where the box is made ready that is to take a box's place.
    pub(crate) fn next(&self, name: &str) -> Result<PathBuf, Error> {
        self.folder(name)?;
        Ok(self.root.join(format!("{name}{NEXT}")))
    }

    /// The names of all boxes.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let tried = || format!("{} cannot be read", self.root.display());
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.root).tried(tried)? {
            let name = entry.tried(tried)?.file_name().to_string_lossy().into_owned();
            // What takes a box's place is that box.
            names.push(name.strip_suffix(NEXT).map_or_else(|| name.clone(), str::to_string));
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Where an existing box is pinned.
    pub fn existing(&self, name: &str) -> Result<PathBuf, Error> {
        let folder = self.folder(name)?;
        if folder.is_dir() || self.next(name)?.is_dir() {
            return Ok(folder);
        }
        Err(Error::NotLoaded { name: name.to_string(), known: self.names()? })
    }
}

/// Where a map is pinned, relative to its box.
pub(crate) fn map(name: &str) -> PathBuf {
    // Names with dots are not for us.
    let name =
        name.strip_prefix('.').map_or_else(|| name.to_string(), |section| format!("section_{}", section.replace('.', "_")));
    Path::new("maps").join(name)
}

/// Where a port's link is pinned, relative to its box.
pub(crate) fn link(port: usize) -> PathBuf {
    Path::new("links").join(port.to_string())
}

/// Removes a folder of pins with all that is in it.
pub(crate) fn remove(folder: &Path) -> Result<(), Error> {
    std::fs::remove_dir_all(folder).tried(|| format!("{} cannot be removed", folder.display()))
}
