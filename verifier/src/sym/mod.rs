//! The core IR on symbolic packets and states: each way through a handler at once, merged where ways meet.

mod checksum;
mod concrete;
mod env;
mod exec;
mod expr;
mod longest;
mod opened;
mod packet;
mod search;
mod spec;
mod state;
mod tables;
mod value;
mod wiring;

pub(crate) use concrete::Seen;
#[cfg(test)]
pub(crate) use env::Over;
pub use env::{Branch, Dropped, Engine, Fact, Obliged, Output, Quant, StepResult, Unsupported};
pub(crate) use env::{Env, Says, Update};
pub(crate) use opened::Open;
#[cfg(test)]
pub(crate) use opened::Opened;
pub use packet::Packet;
#[cfg(test)]
pub(crate) use packet::Position;
pub(crate) use spec::tables_of;
pub use state::World;
pub(crate) use state::is_keyed;
pub(crate) use state::{Change, Log, TableState};
#[cfg(test)]
pub(crate) use state::{Entry, root, shares};
pub(crate) use tables::fits_64_bits;
pub use value::Sym;
