//! The core IR on symbolic packets and states: each way through a handler at once, merged where ways meet.

mod checksum;
mod concrete;
mod env;
mod exec;
mod expr;
mod packet;
mod search;
mod spec;
mod state;
mod tables;
mod value;
mod wiring;

pub use env::{Branch, Dropped, Engine, Obliged, Output, Quant, StepResult, Unsupported};
pub(crate) use env::{Env, Says};
pub use packet::Packet;
pub use state::World;
pub use value::Sym;
