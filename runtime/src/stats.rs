//! What became of packets: drops as the program counts them, traffic as the interfaces of its ports do. (Counting it once more in the program
//! would cost each packet something.)

use crate::error::Error;
use crate::installed::Installed;
use crate::netlink::Netlink;
pub use crate::netlink::Traffic;

/// Counters of a box, summed over processors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// By port: what its interface counted since the box was attached, what the machine itself sent there included.
    pub ports: Vec<(String, Traffic)>,
    /// Packets that were dropped, by reason.
    pub drops: Vec<(String, u64)>,
}

impl Stats {
    /// What is new since then.
    pub fn since(&self, before: &Stats) -> Stats {
        let drops =
            self.drops.iter().zip(&before.drops).map(|((reason, now), (_, before))| (reason.clone(), now.wrapping_sub(*before)));
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
        let reasons = self.description.manifest.drops.iter().cloned();
        let interfaces = Netlink::open()?.interfaces()?;
        let traffic = |ifindex: u32| interfaces.iter().find(|of| of.index == ifindex).map(|of| of.traffic).unwrap_or_default();
        let ports = self.ports.iter().map(|port| (port.port.clone(), less(traffic(port.ifindex), port.before)));
        Ok(Stats { ports: ports.collect(), drops: reasons.zip(counts).collect() })
    }
}
