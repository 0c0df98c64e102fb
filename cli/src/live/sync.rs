//! `grv sync`: a box's neighbours follow the kernel's.

use super::{Named, failed, open};
use crate::{Status, render};
use grv_runtime::sync::Sync;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Keeps the neighbours of a box in step with the kernel's, until it is interrupted.
///
/// Addresses that the box wants are resolved by the kernel, and asked for again before they get old. The box runs on without it, with the
/// neighbours that it has.
///
/// Exit status: 0 it was interrupted, or the box is gone; 2 there is no such box, or it has no neighbours.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    named: Named,
    /// Bring them up to date once, and end
    #[arg(long)]
    once: bool,
}

pub(crate) fn main(args: &Args) -> Result<Status, String> {
    let ended = Arc::new(AtomicBool::new(false));
    let end = ended.clone();
    ctrlc::set_handler(move || end.store(true, Ordering::Relaxed)).map_err(|e| e.to_string())?;
    loop {
        let installed = open(&args.named)?;
        let incarnation = installed.incarnation();
        let mut sync = match Sync::new(&installed) {
            Ok(Some(sync)) => sync,
            Ok(None) => return Err(format!("`{}` sends to no neighbours: there is nothing to keep in step", installed.name)),
            Err(error) => return failed(error),
        };
        loop {
            let step = sync.step();
            let now = installed.incarnation();
            if now.is_none() {
                return Ok(Status::Good);
            }
            if now != incarnation {
                // Another version has taken its place.
                break;
            }
            match step {
                Ok(remarks) => remarks.iter().for_each(|remark| render::remark(remark)),
                Err(error) => return failed(error),
            }
            if args.once || ended.load(Ordering::Relaxed) {
                return Ok(Status::Good);
            }
        }
    }
}
