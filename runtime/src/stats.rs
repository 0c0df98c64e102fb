//! What became of packets.

use crate::error::Error;
use crate::installed::Installed;

/// Counters of a box, summed over processors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets that were dropped, by reason.
    pub drops: Vec<(String, u64)>,
}

impl Installed {
    /// What became of packets since the box was loaded.
    pub fn stats(&self) -> Result<Stats, Error> {
        let counts = self.sums("drops")?;
        let reasons = self.description.manifest.drops.iter().cloned();
        Ok(Stats { drops: reasons.zip(counts).collect() })
    }
}
