//! What becomes of packets right now. For as long as somebody looks, a build of the same program with trace points runs in the place of the one
//! that was loaded, over the same maps; nobody else pays for it. Both may run at once on different processors, as two processors run one program.
//!
//! A folder `trace` among the pins, locked by who looks, says that it is so. If it is there and nobody holds it, who looked has ended without a
//! word: the next command that opens the box puts the program back.

use crate::beside;
use crate::error::{Error, Tried};
use crate::hook::{self, Pinned, switch};
use crate::installed::Installed;
use crate::object::Description;
use crate::pins::Pins;
use aya::Ebpf;
use aya::maps::{Array, MapData, RingBuf};
use grv_codegen::ebpf::trace::{LIMIT, SPENT, Seen};
use grv_codegen::ebpf::{Options, Proofs, Told, Trace, TraceInfo, build};
use rustix::time::{ClockId, clock_gettime};
use std::fs::File;

/// The folder that says that somebody looks.
const PLACE: &str = "trace";

/// What somebody wants to see.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Packets that arrive at these ports; none: at any.
    pub ports: Vec<String>,
    /// Packets that are dropped.
    pub drops: bool,
    /// Only those dropped for these reasons; none: for any.
    pub reasons: Vec<String>,
    /// Packets that are sent to ports.
    pub forwards: bool,
    /// Packets that are left to the machine itself.
    pub host: bool,
}

/// What became of a packet.
#[derive(Clone, Debug)]
pub struct Event {
    /// When it arrived, in nanoseconds since 1970.
    pub time: u64,
    /// The port that it arrived at; none, if the interface is not one of the box's.
    pub port: Option<String>,
    /// What became of it.
    pub told: Told,
    /// Why it was dropped.
    pub reason: Option<String>,
    /// The ports that it was sent to.
    pub to: Vec<String>,
    /// Where in the source: the file, the line, the column, the line's text.
    pub place: Option<(String, u32, u32, String)>,
    /// The packet as it arrived.
    pub arrived: Seen,
    /// The packet as it was sent.
    pub left: Option<Seen>,
}

/// Somebody who looks.
pub struct Tracer {
    installed: Installed,
    incarnation: Option<u64>,
    ebpf: Ebpf,
    ring: RingBuf<MapData>,
    info: TraceInfo,
    /// Nanoseconds between the kernel's monotonic clock and the time of day.
    since: u64,
    /// Packets that may be told of in all.
    limit: u64,
    _lock: File,
}

impl Tracer {
    /// Begins to look. `most`: packets that are told of until the first step.
    pub fn begin(installed: Installed, _alone: &Pins, wanted: &Wanted, most: u64) -> Result<Tracer, Error> {
        let folder = installed.folder.join(PLACE);
        let taken = || Error::Usage(format!("`{}` is being traced already, by another process", installed.name));
        if folder.exists() {
            return Err(taken());
        }
        let traced = Traced::build(&installed.description, &installed.wanted(wanted)?)?;
        std::fs::create_dir(&folder).tried(|| format!("{} cannot be made", folder.display()))?;
        let begun = File::open(&folder).tried(|| format!("{} cannot be opened", folder.display())).and_then(|lock| {
            lock.try_lock().map_err(|_| taken())?;
            let mut ebpf = beside::load(&traced.object, &traced.program, &installed)?;
            set_limit(&mut ebpf, most)?;
            let ring = ebpf.take_map(&traced.info.events).ok_or_else(|| bug("it has no ring buffer"))?;
            let ring = RingBuf::try_from(ring).map_err(|e| bug(&e.to_string()))?;
            let mut program = hook::program(&mut ebpf, &traced.program)?;
            switch(&installed.links()?, &mut program)?;
            Ok((lock, ebpf, ring))
        });
        let (lock, ebpf, ring) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                put_back(&installed)?;
                return Err(error);
            }
        };
        let nanoseconds = |clock| {
            let time = clock_gettime(clock);
            (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
        };
        let since = nanoseconds(ClockId::Realtime).wrapping_sub(nanoseconds(ClockId::Monotonic));
        let incarnation = installed.incarnation();
        Ok(Tracer { installed, incarnation, ebpf, ring, info: traced.info, since, limit: most, _lock: lock })
    }

    /// Whether the box is gone, or another version has taken its place.
    pub fn is_over(&self) -> bool {
        self.installed.incarnation() != self.incarnation
    }

    /// What was told since the last step, and how many packets there were more than that. `most`: packets that are told of until the next step.
    pub fn step(&mut self, most: u64) -> Result<(Vec<Event>, u64), Error> {
        let mut events = Vec::new();
        while let Some(record) = self.ring.next() {
            // What is not read as a record was not written as one.
            let event = self.info.read(&record).ok_or_else(|| bug("what it tells cannot be read"))?;
            events.push(event);
        }
        let spent = self.ebpf.map(SPENT).ok_or_else(|| bug("it does not count"))?;
        let spent: Array<_, u64> = Array::try_from(spent).map_err(|e| bug(&e.to_string()))?;
        let spent = spent.get(&0, 0).map_err(|e| bug(&e.to_string()))?;
        let lost = spent.saturating_sub(self.limit);
        self.limit = spent.saturating_add(most);
        set_limit(&mut self.ebpf, self.limit)?;
        Ok((events.into_iter().map(|event| self.named(event)).collect(), lost))
    }

    /// An event, in terms of the source.
    fn named(&self, event: grv_codegen::ebpf::trace::Event) -> Event {
        let (manifest, sources) = (&self.installed.description.manifest, &self.installed.description.sources);
        let dropped = event.told != Told::Sent;
        let port = self.installed.ports.iter().find(|port| port.ifindex == event.interface).map(|port| port.port.clone());
        let reason = usize::try_from(event.which).ok().and_then(|which| manifest.drops.get(which)).filter(|_| dropped).cloned();
        let sent = |number: &usize| !dropped && *number < 64 && event.which & (1 << number) != 0;
        let to = manifest.ports.iter().enumerate().filter(|(number, _)| sent(number)).map(|(_, port)| port.name.clone());
        let place = event.place.map(|span| {
            let (file, at) = (sources.file(span.file), sources.start(span));
            let text = file.text.lines().nth(at.line.saturating_sub(1) as usize).unwrap_or_default();
            (file.path.clone(), at.line, at.column, text.trim().to_string())
        });
        Event {
            time: event.time.wrapping_add(self.since),
            port,
            told: event.told,
            reason,
            to: to.collect(),
            place,
            arrived: event.arrived,
            left: event.left,
        }
    }

    /// Looks no more: the program that was loaded runs again.
    pub fn end(self) -> Result<(), Error> {
        let _alone = Pins::open()?;
        if self.is_over() { Ok(()) } else { put_back(&self.installed) }
    }
}

fn set_limit(ebpf: &mut Ebpf, limit: u64) -> Result<(), Error> {
    let map = ebpf.map_mut(LIMIT).ok_or_else(|| bug("it has no limit"))?;
    let mut map: Array<_, u64> = Array::try_from(map).map_err(|e| bug(&e.to_string()))?;
    map.set(0, limit, 0).map_err(|e| bug(&e.to_string()))
}

fn bug(what: &str) -> Error {
    Error::Object(format!("a bug: the build with trace points is not right: {what}"))
}

/// Has the program that was loaded run again.
fn put_back(installed: &Installed) -> Result<(), Error> {
    let folder = installed.folder.join(PLACE);
    let path = installed.folder.join("program");
    let mut program = Pinned::open(&path, &installed.description.manifest.program_type)?;
    switch(&installed.links()?, &mut program.hooked())?;
    std::fs::remove_dir(&folder).tried(|| format!("{} cannot be removed", folder.display()))
}

/// Puts the program back if who looked has ended without doing so.
pub(crate) fn recover(installed: &Installed) -> Result<(), Error> {
    let folder = installed.folder.join(PLACE);
    if !folder.exists() {
        return Ok(());
    }
    let lock = File::open(&folder).tried(|| format!("{} cannot be opened", folder.display()))?;
    match lock.try_lock() {
        Ok(()) => put_back(installed),
        Err(std::fs::TryLockError::WouldBlock) => Ok(()),
        Err(std::fs::TryLockError::Error(error)) => Err(error).tried(|| format!("{} cannot be locked", folder.display())),
    }
}

impl Installed {
    /// What is wanted, by number.
    fn wanted(&self, wanted: &Wanted) -> Result<Trace, Error> {
        let manifest = &self.description.manifest;
        let ports: Vec<&str> = manifest.ports.iter().map(|port| port.name.as_str()).filter(|name| *name != "host").collect();
        let port = |name: &String| {
            let number = manifest.ports.iter().position(|port| port.name == *name && ports.contains(&name.as_str()));
            number.ok_or_else(|| Error::Usage(format!("the box has no port `{name}`; it has {}", ports.join(", "))))
        };
        let reason = |name: &String| {
            let number = manifest.drops.iter().position(|reason| reason == name).map(|number| number as u64);
            let known = || manifest.drops.iter().map(|reason| format!("`{reason}`")).collect::<Vec<_>>().join(", ");
            number.ok_or_else(|| Error::Usage(format!("the box drops nothing as `{name}`; its reasons are {}", known())))
        };
        let reasons = wanted.reasons.iter().map(reason).collect::<Result<Vec<u64>, Error>>()?;
        Ok(Trace {
            ports: wanted.ports.iter().map(port).collect::<Result<_, _>>()?,
            drops: wanted.drops,
            reasons: (!reasons.is_empty()).then_some(reasons),
            forwards: wanted.forwards,
            host: wanted.host,
        })
    }
}

/// A build with trace points.
struct Traced {
    object: Vec<u8>,
    program: String,
    info: TraceInfo,
}

impl Traced {
    fn build(of: &Description, wanted: &Trace) -> Result<Traced, Error> {
        let options = Options { trace: Some(wanted.clone()), ..beside::options(of)? };
        let artefact = build(&of.program, &of.sources, &options, &Proofs::default());
        let artefact = artefact.map_err(|found| bug(&found.iter().map(|d| d.message.clone()).collect::<Vec<_>>().join("; ")))?;
        let info = artefact.trace.ok_or_else(|| bug("it tells nothing"))?;
        Ok(Traced { object: artefact.object, program: artefact.program, info })
    }
}
