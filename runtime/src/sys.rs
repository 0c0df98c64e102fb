//! System calls that no safe crate has for tables whose sizes are known only when the program runs: elements of maps as bytes, a map that holds
//! bytes, what a network device offloads, and a clock. The only file with unsafe code: each call checks the lengths of the buffers that it gives the kernel.
#![allow(unsafe_code)]

use aya::maps::{MapData, MapType};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Commands of `bpf(2)`.
const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP_ELEM: libc::c_int = 1;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const MAP_DELETE_ELEM: libc::c_int = 3;
const MAP_GET_NEXT_KEY: libc::c_int = 4;
const OBJ_PIN: libc::c_int = 6;

/// Flag of an update: only if there is none.
const NO_EXIST: u64 = 1;

/// What a command on an element is given.
#[repr(C)]
struct Element {
    fd: u32,
    pad: u32,
    key: u64,
    /// The value, or the next key.
    value: u64,
    flags: u64,
}

/// What the creation of a map is given; the kernel takes what is not given for zero.
#[repr(C)]
struct Create {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

#[repr(C)]
struct Pin {
    path: u64,
    fd: u32,
    flags: u32,
}

/// `bpf(2)`. `attr` must be what the command takes, and its addresses must be of memory as large as the command reads or writes.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the caller gives what the command takes; the size is that of what is given.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A map with keys and values as bytes.
#[derive(Debug)]
pub struct Bytes {
    fd: OwnedFd,
    key_size: usize,
    /// Bytes of a value as it is read and written: of all processors, where each has its own.
    value_size: usize,
    /// The most entries that it takes.
    pub max_entries: u32,
}

impl Bytes {
    /// The map that is pinned somewhere.
    pub(crate) fn pinned(path: &Path) -> io::Result<Bytes> {
        let map = MapData::from_pin(path).map_err(|error| match error {
            aya::maps::MapError::SyscallError(error) => error.io_error,
            error => wrong(error),
        })?;
        Bytes::of(&map)
    }

    /// A map of a program that aya loaded.
    pub fn of(map: &MapData) -> io::Result<Bytes> {
        let info = map.info().map_err(wrong)?;
        let value_size = info.value_size() as usize;
        let own = matches!(info.map_type().map_err(wrong)?, MapType::PerCpuArray | MapType::PerCpuHash | MapType::LruPerCpuHash);
        let processors = if own { processors()? } else { 1 };
        Ok(Bytes {
            fd: map.fd().as_fd().try_clone_to_owned()?,
            key_size: info.key_size() as usize,
            value_size: if own { value_size.next_multiple_of(8) * processors } else { value_size },
            max_entries: info.max_entries(),
        })
    }

    /// A new map that holds bytes.
    pub(crate) fn holding(bytes: &[u8]) -> io::Result<Bytes> {
        let value_size = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut create = Create { kind: MapType::Array as u32, key_size: 4, value_size, max_entries: 1 };
        // SAFETY: `Create` begins as what the command takes.
        let fd = unsafe { bpf(MAP_CREATE, &mut create) }?;
        // SAFETY: the kernel gave a new descriptor, which is nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
        let map = Bytes { fd, key_size: 4, value_size: bytes.len(), max_entries: 1 };
        map.set(&[0; 4], bytes)?;
        Ok(map)
    }

    /// Pins the map.
    pub(crate) fn pin(&self, path: &Path) -> io::Result<()> {
        use std::os::unix::ffi::OsStrExt;
        let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
        let mut pin = Pin { path: path.as_ptr() as u64, fd: self.fd.as_raw_fd() as u32, flags: 0 };
        // SAFETY: the path ends with a zero byte and lives until the call is over.
        unsafe { bpf(OBJ_PIN, &mut pin) }.map(drop)
    }

    fn element(&self, command: libc::c_int, key: Option<&[u8]>, value: u64) -> io::Result<()> {
        self.element_with(command, key, value, 0)
    }

    fn element_with(&self, command: libc::c_int, key: Option<&[u8]>, value: u64, flags: u64) -> io::Result<()> {
        if key.is_some_and(|key| key.len() != self.key_size) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a key of another size than the map's"));
        }
        let key = key.map_or(0, |key| key.as_ptr() as u64);
        let mut element = Element { fd: self.fd.as_raw_fd() as u32, pad: 0, key, value, flags };
        // SAFETY: the key has the map's size, or there is none; the callers give a value, or room for a key, of the map's size.
        unsafe { bpf(command, &mut element) }.map(drop)
    }

    /// The value of a key; of a map of which each processor has its own part, one behind the other.
    pub fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut value = vec![0; self.value_size];
        match self.element(MAP_LOOKUP_ELEM, Some(key), value.as_mut_ptr() as u64) {
            Ok(()) => Ok(Some(value)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets the value of a key.
    pub fn set(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if value.len() != self.value_size {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a value of another size than the map's"));
        }
        self.element(MAP_UPDATE_ELEM, Some(key), value.as_ptr() as u64)
    }

    /// Sets the value of a key that is not there yet; what is there stays.
    pub(crate) fn add(&self, key: &[u8], value: &[u8]) -> io::Result<()> {
        if value.len() != self.value_size {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a value of another size than the map's"));
        }
        match self.element_with(MAP_UPDATE_ELEM, Some(key), value.as_ptr() as u64, NO_EXIST) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            other => other,
        }
    }

    /// Removes a key; what is not there need not be removed.
    pub fn remove(&self, key: &[u8]) -> io::Result<()> {
        match self.element(MAP_DELETE_ELEM, Some(key), 0) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            other => other,
        }
    }

    /// All keys. Others may change the map meanwhile: what is there all the time is among them if nothing is removed.
    pub fn keys(&self) -> io::Result<Vec<Vec<u8>>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        // A key that is removed meanwhile makes the kernel begin again from the start: no more than that often.
        let most = self.max_entries as usize * 4;
        while keys.len() < most {
            let mut next = vec![0; self.key_size];
            match self.element(MAP_GET_NEXT_KEY, keys.last().map(Vec::as_slice), next.as_mut_ptr() as u64) {
                Ok(()) => keys.push(next),
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => break,
                Err(error) => return Err(error),
            }
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// All entries by key.
    pub fn entries(&self) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut entries = Vec::new();
        for key in self.keys()? {
            if let Some(value) = self.get(&key)? {
                entries.push((key, value));
            }
        }
        Ok(entries)
    }

    /// The words of an array of such, as memory that packets see.
    pub fn words(&self) -> io::Result<Words> {
        if (self.key_size, self.value_size) != (4, 8) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a map that is no array of words"));
        }
        let size = self.max_entries as usize * 8;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses where; it maps only arrays that allow it, and no more than they have.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), size, access, libc::MAP_SHARED, self.fd.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Words { start: start.cast(), size }) }
    }

    /// Bytes of a value.
    pub(crate) fn value_size(&self) -> usize {
        self.value_size
    }

    /// Bytes of a key.
    pub(crate) fn key_size(&self) -> usize {
        self.key_size
    }
}

/// Has another map stand in the place of one that a loader made: programs that are loaded from now on find it there.
pub(crate) fn stand_in(map: &Bytes, place: &MapData) -> io::Result<()> {
    // SAFETY: both descriptors are open as long as the references live. The second one goes on being its owner's, and names another map.
    let result = unsafe { libc::dup3(map.fd.as_raw_fd(), place.fd().as_fd().as_raw_fd(), libc::O_CLOEXEC) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What `times(2)` counts: the kernel's coarse clock, in hundredths of a second.
pub(crate) fn times() -> u64 {
    // SAFETY: without a buffer nothing is written.
    let ticks = unsafe { libc::times(std::ptr::null_mut()) };
    ticks as u64
}

/// An array of words in memory, each of which is read and written at once.
pub struct Words {
    start: *const AtomicU64,
    size: usize,
}

impl Words {
    fn word(&self, index: u32) -> Option<&AtomicU64> {
        let inside = (index as usize) < self.size / 8;
        // SAFETY: it is within what is mapped, for as long as this lives; pages are aligned, and any bytes are a number.
        inside.then(|| unsafe { &*self.start.add(index as usize) })
    }

    /// A word; 0 where there is none.
    pub fn get(&self, index: u32) -> u64 {
        self.word(index).map_or(0, |word| word.load(Ordering::SeqCst))
    }

    /// Sets a word if it is what it was; whether it was.
    pub(crate) fn change(&self, index: u32, was: u64, value: u64) -> bool {
        self.word(index).is_some_and(|word| word.compare_exchange(was, value, Ordering::SeqCst, Ordering::SeqCst).is_ok())
    }

    /// Sets a word.
    pub fn set(&self, index: u32, value: u64) {
        if let Some(word) = self.word(index) {
            word.store(value, Ordering::SeqCst);
        }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: it is what was mapped, and nothing refers to it any more. That this cannot fail leaves nothing to be done.
        let _unmapped = unsafe { libc::munmap(self.start.cast_mut().cast(), self.size) };
    }
}

fn wrong(error: aya::maps::MapError) -> io::Error {
    io::Error::other(error.to_string())
}

/// How many processors there may be.
fn processors() -> io::Result<usize> {
    aya::util::nr_cpus().map_err(|(_, error)| error)
}

/// A feature of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    /// Checksums of what is sent are left to the device.
    TxChecksums,
    /// What is received is put together to larger frames.
    Gro,
}

impl Feature {
    /// The commands that ask for it and set it.
    fn commands(self) -> (u32, u32) {
        match self {
            Feature::TxChecksums => (0x16, 0x17),
            Feature::Gro => (0x2b, 0x2c),
        }
    }
}

#[repr(C)]
struct Asked {
    command: u32,
    data: u32,
}

#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    data: *mut Asked,
    pad: [u8; 16],
}

/// Whether a device has a feature switched on.
pub(crate) fn has(socket: BorrowedFd<'_>, device: &str, feature: Feature) -> io::Result<bool> {
    feature_of(socket, device, Asked { command: feature.commands().0, data: 0 }).map(|data| data != 0)
}

/// Switches a feature of a device on or off.
pub(crate) fn switch(socket: BorrowedFd<'_>, device: &str, feature: Feature, on: bool) -> io::Result<()> {
    feature_of(socket, device, Asked { command: feature.commands().1, data: on.into() }).map(drop)
}

fn feature_of(socket: BorrowedFd<'_>, device: &str, mut asked: Asked) -> io::Result<u32> {
    let mut name = [0; libc::IFNAMSIZ];
    let place = name.get_mut(..device.len()).filter(|place| place.len() < libc::IFNAMSIZ);
    place.ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(device.as_bytes());
    let mut request = Request { name, data: &raw mut asked, pad: [0; 16] };
    // SAFETY: the request is as large as the kernel's `struct ifreq`, and points at what these commands take and fill in.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(asked.data) }
}
