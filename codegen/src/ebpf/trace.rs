//! What a build with trace points tells of packets, and how.

use grv_lang::span::Span;

/// What is to be told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Packets that arrive at these ports, by number in the core IR; none: at any.
    pub ports: Vec<usize>,
    /// Packets that are dropped.
    pub drops: bool,
    /// Only those dropped for these reasons, by number in the artefact's list.
    pub reasons: Option<Vec<u64>>,
    /// Packets that are sent to ports.
    pub forwards: bool,
    /// Packets that are left to the machine itself.
    pub host: bool,
}

/// What who looks has to know of a build.
#[derive(Clone, Debug)]
pub struct TraceInfo {
    /// The ring buffer.
    pub events: String,
    /// How many reasons there are.
    pub reasons: u64,
    /// Places in the source, by the number that records have.
    pub places: Vec<Span>,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It was dropped for a reason.
    Dropped = 0,
    /// It was sent to ports.
    Sent = 1,
    /// A copy of it was dropped for a reason; it went on.
    CopyDropped = 2,
}

/// The section of the variable that says how many packets there were to tell of.
pub const SPENT: &str = ".data.trace_spent";
/// The section of the variable that says how many may be told of. Who looks sets it, and can only write whole sections.
pub const LIMIT: &str = ".data.trace_limit";

/// Bytes of the ring buffer.
pub(super) const RING: u32 = 1 << 20;
/// Bytes of a packet that are told, at most.
pub(super) const BYTES: u16 = 128;
/// Where what is in a record, in bytes.
pub(super) const WANTED: i16 = 0;
pub(super) const INTERFACE: i16 = 4;
pub(super) const TIME: i16 = 8;
pub(super) const WHICH: i16 = 16;
pub(super) const TOLD: i16 = 24;
pub(super) const PLACE: i16 = 28;
pub(super) const ARRIVED_LENGTH: i16 = 32;
pub(super) const LEFT_LENGTH: i16 = 36;
pub(super) const ARRIVED: i16 = 40;
pub(super) const LEFT: i16 = ARRIVED + BYTES as i16;
/// Bytes of a record.
pub(super) const RECORD: u16 = LEFT as u16 + BYTES;

/// What is told of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The number of the interface that it arrived at.
    pub interface: u32,
    /// When, by the kernel's monotonic clock, in nanoseconds.
    pub time: u64,
    /// What became of it.
    pub told: Told,
    /// The reason, or a bit for each port.
    pub which: u64,
    /// Where in the source.
    pub place: Option<Span>,
    /// The packet as it arrived.
    pub arrived: Seen,
    /// The packet as it was sent.
    pub left: Option<Seen>,
}

/// The beginning of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its first bytes; of an odd number all but the last.
    pub bytes: Vec<u8>,
    /// How many it has.
    pub length: u32,
}

impl TraceInfo {
    /// Reads a record. None: it is not one.
    pub fn read(&self, record: &[u8]) -> Option<Event> {
        let four = |at: i16| Some(u32::from_le_bytes(record.get(at as usize..)?.first_chunk::<4>().copied()?));
        let eight = |at: i16| Some(u64::from_le_bytes(record.get(at as usize..)?.first_chunk::<8>().copied()?));
        let told = match four(TOLD)? {
            0 => Told::Dropped,
            1 => Told::Sent,
            2 => Told::CopyDropped,
            _ => return None,
        };
        let seen = |length: i16, at: i16| {
            let length = four(length)?;
            let known = (length & !1).min(BYTES.into()) as usize;
            Some(Seen { bytes: record.get(at as usize..)?.get(..known)?.to_vec(), length })
        };
        let left = if told == Told::Sent { Some(seen(LEFT_LENGTH, LEFT)?) } else { None };
        Some(Event {
            interface: four(INTERFACE)?,
            time: eight(TIME)?,
            told,
            // A drop is told by its counter.
            which: if told == Told::Sent { eight(WHICH)? } else { eight(WHICH)?.checked_rem(self.reasons)? },
            place: self.places.get(four(PLACE)? as usize).copied(),
            arrived: seen(ARRIVED_LENGTH, ARRIVED)?,
            left,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> TraceInfo {
        TraceInfo { events: "trace_events".to_string(), reasons: 7, places: vec![Span::default()] }
    }

    #[test]
    fn records_are_read_as_programs_write_them() {
        let mut record = vec![0; RECORD.into()];
        let mut put = |at: i16, bytes: &[u8]| record[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
        put(INTERFACE, &3_u32.to_le_bytes());
        put(TIME, &9_u64.to_le_bytes());
        // The third reason, at the second port.
        put(WHICH, &9_u64.to_le_bytes());
        put(ARRIVED_LENGTH, &61_u32.to_le_bytes());
        put(ARRIVED, &[0xaa; 60]);
        let event = info().read(&record).unwrap();
        let arrived = Seen { bytes: vec![0xaa; 60], length: 61 };
        assert_eq!((event.interface, event.time, event.told, event.which), (3, 9, Told::Dropped, 2));
        assert_eq!((event.place, event.arrived, event.left), (Some(Span::default()), arrived, None));
    }

    #[test]
    fn no_bytes_panic() {
        let mut record = vec![0xff; RECORD.into()];
        assert_eq!(info().read(&record), None);
        record[TOLD as usize..TOLD as usize + 4].copy_from_slice(&1_u32.to_le_bytes());
        let event = info().read(&record).unwrap();
        assert_eq!((event.place, event.left.unwrap().bytes.len()), (None, BYTES.into()));
        for length in 0..record.len() {
            assert_eq!(info().read(&record[..length]), None, "{length} bytes");
        }
        let none = TraceInfo { reasons: 0, ..info() };
        assert_eq!(none.read(&[0; RECORD as usize]), None);
    }
}
