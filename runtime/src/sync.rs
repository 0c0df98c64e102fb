//! Neighbours: a box sends to link-layer addresses that the kernel knows. Its table `neighbours` is kept in step with the kernel's; addresses
//! that it enters in `wanted` are resolved by the kernel, and what is known there is asked for again before it gets old.

use crate::error::{Error, Tried};
use crate::installed::Installed;
use crate::netlink::{Neighbour, Netlink};
use crate::state::Life;
use grv_codegen::ebpf::{TableInfo, memory};
use grv_lang::ir::{Program, Role, Shape, Show};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// How often `wanted` is looked at.
const PAUSE: Duration = Duration::from_millis(100);

/// How often all is compared, in case something was not told.
const WHOLE: Duration = Duration::from_secs(10);

/// How long an address that the kernel was asked to resolve is not asked for again.
const PATIENCE: Duration = Duration::from_secs(1);

/// The tables of a box that are kept in step.
pub(crate) struct Fed<'i> {
    neighbours: &'i TableInfo,
    wanted: Option<&'i TableInfo>,
}

impl<'i> Fed<'i> {
    /// Finds them: a fed table `neighbours` from IPv4 addresses to MAC addresses, and a set `wanted` beside it.
    pub(crate) fn of(installed: &'i Installed) -> Option<Fed<'i>> {
        let program = &installed.description.program;
        let tables = &installed.description.manifest.tables;
        let neighbours = tables.iter().find(|info| is_neighbours(program, info))?;
        let beside = neighbours.name.strip_suffix("neighbours")?;
        let wanted = tables.iter().find(|info| info.name.strip_suffix("wanted") == Some(beside) && info.keeping == "entries");
        Some(Fed { neighbours, wanted: wanted.filter(|info| info.key.len() == 1) })
    }
}

fn is_neighbours(program: &Program, info: &TableInfo) -> bool {
    let Some(table) = program.tables.get(info.table as usize) else { return false };
    let fed = table.role == Role::Feed && table.name.rsplit('.').next() == Some("neighbours");
    let from = matches!(table.key_shape, Shape::Scalar(_, Show::Ipv4));
    fed && from && matches!(table.value_shape, Shape::Scalar(_, Show::Mac))
}

/// Keeps a box's neighbours in step with the kernel's.
pub struct Sync<'i> {
    installed: &'i Installed,
    fed: Fed<'i>,
    asks: Netlink,
    hears: Netlink,
    /// What is in the table.
    known: BTreeMap<u32, u64>,
    /// When the kernel was asked for addresses.
    asked: BTreeMap<u32, Instant>,
    /// When all was compared last.
    whole: Option<Instant>,
}

impl<'i> Sync<'i> {
    /// None: the box has no such tables.
    pub fn new(installed: &'i Installed) -> Result<Option<Sync<'i>>, Error> {
        let Some(fed) = Fed::of(installed) else { return Ok(None) };
        // First listen, then look: nothing is missed between.
        let hears = Netlink::of_neighbours()?;
        let mut known = BTreeMap::new();
        let map = installed.table_map(fed.neighbours)?;
        for (key, value) in map.entries().tried(|| format!("table `{}` cannot be read", fed.neighbours.name))? {
            let (key, _) = memory::key_of(fed.neighbours, &key, 0);
            if let (Some(address), Some(mac)) = (key.first(), memory::value_of(fed.neighbours, &value).first()) {
                known.insert(*address as u32, *mac as u64);
            }
        }
        Ok(Some(Sync { installed, fed, asks: Netlink::open()?, hears, known, asked: BTreeMap::new(), whole: None }))
    }

    /// Waits a little, or until the kernel tells something, and brings the tables up to date. What should be known is returned.
    pub fn step(&mut self) -> Result<Vec<String>, Error> {
        let mut remarks = Vec::new();
        let due = self.whole.is_none_or(|at| at.elapsed() >= WHOLE);
        if !due {
            let mut waits = [rustix::event::PollFd::new(&self.hears, rustix::event::PollFlags::IN)];
            let pause = rustix::event::Timespec { tv_sec: 0, tv_nsec: PAUSE.as_nanos() as _ };
            match rustix::event::poll(&mut waits, Some(&pause)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                other => other.map(drop).tried(|| "the kernel does not tell of neighbours".to_string())?,
            }
        }
        let told = self.hears.changes()?;
        match told.filter(|_| !due) {
            Some(changes) => changes.iter().try_for_each(|change| self.follow(change, &mut remarks))?,
            None => self.compare(&mut remarks)?,
        }
        self.want(&mut remarks)?;
        Ok(remarks)
    }

    fn is_port(&self, interface: u32) -> bool {
        self.installed.ports.iter().any(|port| port.ifindex == interface)
    }

    /// A neighbour has changed.
    fn follow(&mut self, change: &Neighbour, remarks: &mut Vec<String>) -> Result<(), Error> {
        if !self.is_port(change.interface) {
            return Ok(());
        }
        if change.stale {
            self.resolve(change.interface, change.address, remarks);
        }
        self.set(change.address, change.mac, remarks)
    }

    /// All neighbours are compared with the table.
    fn compare(&mut self, remarks: &mut Vec<String>) -> Result<(), Error> {
        self.whole = Some(Instant::now());
        self.asked.retain(|_, at| at.elapsed() < PATIENCE);
        let neighbours = self.asks.neighbours()?;
        let there: Vec<Neighbour> = neighbours.into_iter().filter(|n| n.mac.is_some() && self.is_port(n.interface)).collect();
        let gone = self.known.keys().filter(|known| there.iter().all(|n| u32::from(n.address) != **known));
        for address in gone.copied().collect::<Vec<u32>>() {
            self.set(Ipv4Addr::from(address), None, remarks)?;
        }
        there.iter().try_for_each(|neighbour| self.follow(neighbour, remarks))
    }

    /// Sets or removes an entry, if it is not so already.
    fn set(&mut self, address: Ipv4Addr, mac: Option<[u8; 6]>, remarks: &mut Vec<String>) -> Result<(), Error> {
        let mac = mac.map(|mac| mac.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)));
        let key = u32::from(address);
        if self.known.get(&key).copied() == mac {
            return Ok(());
        }
        let value = mac.map(|mac| [u128::from(mac)]);
        let done = self.installed.feed(self.fed.neighbours, &[key.into()], value.as_ref().map(<[u128; 1]>::as_slice));
        match (done, mac) {
            (Ok(()), Some(mac)) => drop(self.known.insert(key, mac)),
            (Ok(()), None) => drop(self.known.remove(&key)),
            (Err(Error::System { error, .. }), Some(_)) if error.raw_os_error() == Some(libc::E2BIG) => {
                remarks.push(format!("there is no room for the neighbour {address}"));
            }
            (Err(error), _) => return Err(error),
        }
        Ok(())
    }

    /// Has the kernel resolve what packets wanted.
    fn want(&mut self, remarks: &mut Vec<String>) -> Result<(), Error> {
        let Some(wanted) = self.fed.wanted else { return Ok(()) };
        let live = self.installed.table_state(wanted)?.entries.into_iter().filter(|entry| entry.life != Life::Dead);
        let addresses: Vec<u32> = live.filter_map(|entry| entry.key.first().map(|address| *address as u32)).collect();
        let missing: Vec<u32> = addresses.into_iter().filter(|address| !self.known.contains_key(address)).collect();
        if missing.iter().all(|address| self.asked.get(address).is_some_and(|at| at.elapsed() < PATIENCE)) {
            return Ok(());
        }
        let networks = self.asks.networks()?;
        for address in missing.into_iter().map(Ipv4Addr::from) {
            let inside = |(index, own, length): &&(u32, Ipv4Addr, u8)| {
                let mask = u32::MAX.checked_shl(32 - u32::from(*length)).unwrap_or(0);
                self.is_port(*index) && u32::from(*own) & mask == u32::from(address) & mask
            };
            match networks.iter().filter(inside).max_by_key(|(.., length)| *length) {
                Some((index, ..)) => self.resolve(*index, address, remarks),
                None => {
                    let late = self.asked.insert(address.into(), Instant::now()).is_none();
                    remarks.extend(
                        late.then(|| format!("{address} is wanted, and no port's interface has an address in its network")),
                    );
                }
            }
        }
        Ok(())
    }

    /// Asks the kernel, if it was not asked just now. That it does not is no end: it may later.
    fn resolve(&mut self, interface: u32, address: Ipv4Addr, remarks: &mut Vec<String>) {
        let key = u32::from(address);
        if self.asked.get(&key).is_some_and(|at| at.elapsed() < PATIENCE) {
            return;
        }
        self.asked.insert(key, Instant::now());
        remarks.extend(self.asks.resolve(interface, address).err().map(|error| error.to_string()));
    }
}
