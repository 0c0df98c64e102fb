//! What became of packets: drops as the program counts them, traffic as the interfaces of its ports do. (Counting it once more in the program
//! would cost each packet something.)

use crate::error::Error;
use crate::installed::Installed;
use crate::netlink::Netlink;
pub use crate::netlink::Traffic;
use grv_codegen::ebpf::NO_PORT;

/// Counters of a box, summed over processors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// By port: what its interface counted since the box was attached, what the machine itself sent there included.
    pub ports: Vec<(String, Traffic)>,
    /// Packets that were dropped.
    pub drops: Vec<Drops>,
}

/// Packets that were dropped for a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drops {
    /// The reason.
    pub reason: String,
    /// The port that they arrived at; none, if the interface is not one of the box's.
    pub port: Option<String>,
    /// How many.
    pub packets: u64,
}

impl Stats {
    /// What is new since then.
    pub fn since(&self, before: &Stats) -> Stats {
        let new = |(now, before): (&Drops, &Drops)| Drops { packets: now.packets.wrapping_sub(before.packets), ..now.clone() };
        let drops = self.drops.iter().zip(&before.drops).map(new);
        let ports = self.ports.iter().zip(&before.ports).map(|((port, now), (_, before))| (port.clone(), less(*now, *before)));
        Stats { ports: ports.collect(), drops: drops.collect() }
    }
}

fn less(now: Traffic, before: Traffic) -> Traffic {
    // An interface that was made anew has counted from 0.
    Traffic { received: now.received.saturating_sub(before.received), sent: now.sent.saturating_sub(before.sent) }
}

impl Installed {
    /// What became of packets since the box was loaded.
    pub fn stats(&self) -> Result<Stats, Error> {
        let counts = self.sums("drops")?;
        let manifest = &self.description.manifest;
        let mut drops = Vec::new();
        for (counts, port) in
            counts.chunks(manifest.drops.len().max(1)).zip([None].into_iter().chain(manifest.ports.iter().map(Some)))
        {
            // Where no packets arrive none are dropped, and what arrives at no port has one reason.
            let port = match port {
                Some(port) if port.interface.is_none() => continue,
                port => port.map(|port| port.name.clone()),
            };
            for (reason, packets) in manifest.drops.iter().zip(counts) {
                // What the target itself cannot take may be dropped before it is known from where it came.
                if (port.is_none() && *packets > 0) || port.is_none() == (reason == NO_PORT) {
                    drops.push(Drops { reason: reason.clone(), port: port.clone(), packets: *packets });
                }
            }
        }
        let interfaces = Netlink::open()?.interfaces()?;
        let traffic = |ifindex: u32| interfaces.iter().find(|of| of.index == ifindex).map(|of| of.traffic).unwrap_or_default();
        let ports = self.ports.iter().map(|port| (port.port.clone(), less(traffic(port.ifindex), port.before)));
        Ok(Stats { ports: ports.collect(), drops })
    }
}
