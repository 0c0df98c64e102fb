//! Boxes in the running kernel: load an object, attach it to interfaces, look at its tables and counters, change its configuration.
//!
//! - [`object`]: object files, and the programs that they speak of
//! - [`load`]: from an object to a running box
//! - [`replace`]: another version takes a running box's place; `takeover`: and one of the two goes on, whatever happens
//! - [`installed`]: a running box, found by its pins; [`pins`] says where they are
//! - [`state`], [`stats`]: what it holds, what became of packets
//! - [`trace`]: what becomes of packets right now
//! - `sweep`: timers for dead entries; `beside`: programs over the maps of a box
//! - `control`: control tables, a generation at once
//! - [`sync`]: neighbours, kept in step with the kernel's
//! - `hook`: XDP and tc
//! - `clock`: the kernel's clocks
//! - `sys`: what no safe crate has, maps as [`Bytes`] among it
//! - `check`: what the machine must be like; `netlink`, `features`: what the kernel says of it
//!
//! This crate prints nothing and asks nobody: the command does.

mod beside;
mod check;
mod clock;
mod control;
pub mod error;
mod features;
mod hook;
pub mod installed;
pub mod load;
mod log;
mod netlink;
pub mod object;
pub mod pins;
pub mod record;
pub mod replace;
pub mod state;
pub mod stats;
mod sweep;
pub mod sync;
mod sys;
mod takeover;
pub mod trace;

pub use error::Error;
pub use installed::Installed;
pub use object::{Description, Object};
pub use pins::Pins;
pub use sys::{Bytes, Words};
