//! The reference interpreter: the semantics of the core IR, executable. Summaries, bytecode, machine code and Rust are proved
//! or tested against it. It does no IO and never panics on a packet.
//!
//! # Where each rule of the semantics is
//! - Events one after the other, a step as the whole way of a packet, copies in the order written, accounting: [`step`].
//! - A breach of an automatic obligation stops the machine with an error: [`error::Defect`], raised in [`step`].
//! - Timers, time that never goes back and stays below 2^62 ns: [`machine::Machine::advance`].
//! - Live iff `tick < deadline`; dead is absent, swept or not; a coarse `tick` that never goes back: [`state`].
//! - `idle`, `idle with`, `lifetime`, `expire at`: [`tables`]. `idle with` names a deadline that the entry shares with the
//!   incarnation of the other entry that was live when it was inserted; if none was, it is born dead.
//! - Capacity counts what is physically there; insertion of a group is all or nothing: [`tables`].
//! - Control tables by generations, `require` before installation: [`machine::Machine::update`].
//! - Buckets in exact units: [`table::Bucket`]. Counters wrap: [`tables`].
//! - Choice, tier by tier: [`choice`]; whatever the rules leave open is an [`oracle::Oracle`]'s to decide.
//! - Frames, headers and their places, room: [`packet`], [`layout`] and [`headers`]; checksums: [`checksum`].
//! - Expressions: [`code`] has them as they are evaluated, [`value`] the operators. There is one way from the IR to there: whatever is
//!   run or evaluated, handlers and specifications alike, is lowered first ([`lower`]), for a program and its parameters ([`config`]).
//! - States and steps as specifications see them: [`spec`]; what properties say of traces: `judge`; tests: [`mod@test`].

mod build;
pub mod checksum;
mod choice;
mod code;
mod config;
mod cover;
pub mod error;
pub mod hash;
mod headers;
mod inside;
pub(crate) mod judge;
mod layout;
mod lower;
pub mod machine;
pub mod maglev;
pub mod oracle;
pub mod packet;
pub mod spec;
mod state;
mod step;
mod stimulus;
mod table;
mod tables;
pub mod test;
pub mod trace;
pub mod value;

pub use build::BuildError;
pub use config::{TableUpdate, with_defaults};
pub use cover::{Cover, Passage};
pub use error::{ConfigError, ContentError, Defect, DefectKind, FeedError, UpdateError};
pub use inside::Physical;
pub use layout::Layout;
pub use machine::{Chosen, Dropped, EntryView, Machine, Outcome};
pub use oracle::{Decision, Oracle, Recording, Replay, Seeded};
pub use packet::Place;
pub use spec::{Bindings, Session};
pub use state::{Accounting, END_OF_TIME};
pub use stimulus::Stimulus;
pub use trace::{Event, Observer, TableOp};
