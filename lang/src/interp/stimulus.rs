//! Events as values: what can be recorded, repeated and shown.

use super::config::TableUpdate;
use super::error::{Defect, FeedError, UpdateError};
use super::machine::{Machine, Outcome};
use super::oracle::Oracle;
use super::trace::Observer;
use crate::ir::{PortId, TableId};

/// Something that happens to a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stimulus {
    /// A packet arrives.
    Packet(PortId, Vec<u8>),
    /// Nanoseconds pass.
    Time(u64),
    /// A new generation of control tables.
    Update(Vec<TableUpdate>),
    /// The runtime sets an entry of a fed table; no value: it is removed.
    Feed(TableId, Vec<u128>, Option<Vec<u128>>),
}

impl Machine {
    /// Lets something happen. What is refused is no event of the box: nothing happens.
    pub fn happen(
        &mut self,
        stimulus: &Stimulus,
        oracle: &mut dyn Oracle,
        observer: Option<&mut dyn Observer>,
    ) -> Result<Outcome, Defect> {
        let done = match stimulus {
            Stimulus::Packet(port, bytes) => return self.packet(*port, bytes, oracle, observer),
            Stimulus::Time(nanoseconds) => match self.advance(*nanoseconds, oracle, observer) {
                Err(defect) if !defect.kind.stops() => Ok(()),
                done => done,
            },
            Stimulus::Update(contents) => match self.update(contents, oracle, observer) {
                Err(UpdateError::Defect(defect)) => Err(defect),
                _ => Ok(()),
            },
            Stimulus::Feed(table, key, value) => match self.feed(*table, key, value.as_deref(), oracle) {
                Err(FeedError::Defect(defect)) => Err(defect),
                _ => Ok(()),
            },
        };
        done.map(|()| Outcome::default())
    }
}
