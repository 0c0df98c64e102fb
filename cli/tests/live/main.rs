//! Boxes on real interfaces, with real traffic: hosts are network namespaces, wires are veth pairs, and the box is loaded by the command
//! in a namespace of its own.
//!
//! Without the rights that this takes the tests are skipped by name; with `GRV_NO_SKIP=1` that is a failure.

#![allow(clippy::print_stderr, reason = "what is skipped is said")]

mod balancer;
#[path = "../common/mod.rs"]
mod common;
mod crash;
mod echo;
mod firewall;
mod life;
mod nat;
mod net;
mod policer;
mod proxy;
mod replace;
mod router;
mod sweep;
mod switch;
mod tc;
mod trace;
