//! `grv load` and `grv unload`: a box begins and ends its life in the kernel.

use super::{Named, failed, only, settings};
use crate::build::{self, Making};
use crate::{Format, Status, files, render};
use clap::ValueEnum;
use grv_runtime::load::{Request, load};
use grv_runtime::record::Mode;
use grv_runtime::replace::replace;
use grv_runtime::{Error, Installed, Object, Pins};
use std::path::{Path, PathBuf};

/// Loads a box into the kernel and attaches it to interfaces.
///
/// It stays there when the command has ended, until `grv unload`, or until the machine is started again: it is pinned in /sys/fs/bpf/grv,
/// where the other commands find it by its name. A program is built first, as `grv build` does; of an object, the manifest says whether
/// it is proved, and what is not proved is refused unless that is allowed.
///
/// Exit status: 0 it is loaded; 1 the program has errors, is not proved, or the kernel refuses it; 2 usage, or the machine does not do
/// something; 101 internal error; 130 interrupted.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The program, or an object that was built for eBPF
    #[arg(value_name = "FILE.grv|OBJECT")]
    path: PathBuf,
    /// The interface of a port; once for each port but `host`
    #[arg(long = "port", value_name = "PORT=INTERFACE")]
    ports: Vec<String>,
    /// The name by which it is found again; else that of the middlebox
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Who runs the program: `native` by the driver, `generic` by the kernel for any driver; else by the driver if it can
    #[arg(long, value_enum)]
    mode: Option<How>,
    /// Replace the box of that name by this one, at the same interfaces. Its parameters and control tables stay unless the configuration gives
    /// others; its state is handed over, or it is said why it cannot be
    #[arg(long, conflicts_with_all = ["ports", "mode", "fix"])]
    replace: bool,
    /// With `--replace`: lose the state that cannot be handed over
    #[arg(long, requires = "replace")]
    discard: bool,
    /// Where a port is an end of a veth pair, have the other end take redirected packets and compute its checksums, if it is in this
    /// network namespace; else what is missing is said
    #[arg(long)]
    fix: bool,
    /// Show all that the kernel's verifier says of a program that it refuses
    #[arg(long)]
    kernel_log: bool,
    #[command(flatten)]
    making: Making,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum How {
    Native,
    Generic,
}

/// Takes a box off its interfaces and out of the kernel.
///
/// Exit status: 0 it is gone; 2 there is none, or it is not known which.
#[derive(clap::Args)]
pub(crate) struct Unload {
    #[command(flatten)]
    named: Named,
}

pub(crate) fn main(args: &Args) -> Result<Status, String> {
    let ports = args.ports.iter().map(|port| assignment(port)).collect::<Result<Vec<_>, _>>()?;
    let object = match object(args)? {
        Ok(object) => object,
        Err(status) => return Ok(status),
    };
    let manifest = &object.description.manifest;
    if !object.description.proved() && !args.making.allow_unproved {
        render::complain(&format!("{}: `{}` is not proved: its manifest says so", args.path.display(), manifest.middlebox));
        render::remark("`--allow-unproved` loads it all the same");
        return Ok(Status::Bad);
    }
    let settings = settings(args.making.config.as_deref(), &object.description)?;
    let name = args.name.clone().unwrap_or_else(|| manifest.middlebox.to_lowercase());
    let mode = match args.mode {
        None => Mode::Any,
        Some(How::Native) => Mode::Native,
        Some(How::Generic) => Mode::Generic,
    };
    let request = Request { name: &name, ports: &ports, mode, settings: &settings, fix: args.fix };
    let pins = Pins::open().map_err(|e| e.to_string())?;
    if pins.mounted {
        render::remark(
            "warning: /sys/fs/bpf was not mounted, and is now: the box lives as long as that mount (in a mount namespace of its own, \
                        as `ip netns exec` makes one, no longer than this command; `nsenter --net=...` makes none)",
        );
    }
    let loaded =
        if args.replace { replace(&pins, &object, &name, &settings, args.discard) } else { load(&pins, &object, &request) };
    let (installed, warnings) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => return rejected(args, error),
    };
    let at: Vec<String> = installed.ports.iter().map(|port| format!("{} at {}", port.port, port.interface)).collect();
    let status = if object.description.proved() { "proved" } else { "unproved" };
    let done = if args.replace { "takes its place" } else { "is loaded" };
    render::line(&format!("{name}: {} {done}, {status}: {}", manifest.middlebox, at.join(", ")));
    warnings.iter().for_each(|warning| render::remark(&format!("warning: {warning}")));
    if !args.replace && manifest.tables.iter().any(|table| table.keeping == "feed") {
        render::remark(&format!("`grv sync {name}` keeps its neighbours in step with the kernel's; let it run beside the box"));
    }
    Ok(Status::Good)
}

/// `PORT=INTERFACE`.
fn assignment(text: &str) -> Result<(String, String), String> {
    let (port, interface) = text.rsplit_once('=').ok_or_else(|| format!("`--port {text}`: PORT=INTERFACE is expected"))?;
    Ok((port.to_string(), interface.to_string()))
}

/// The object: as it is, or built from a program.
fn object(args: &Args) -> Result<Result<Object, Status>, String> {
    let bytes = std::fs::read(&args.path).map_err(|e| format!("{}: {}", args.path.display(), files::reason(&e)))?;
    let is_program = args.path.extension().is_some_and(|extension| extension == "grv");
    let bytes = if is_program {
        match build::make(&args.path, &args.making, false, Format::Full)? {
            Ok(made) => made.artefact.object,
            Err(status) => return Ok(Err(status)),
        }
    } else {
        bytes
    };
    match Object::read(bytes) {
        Ok(object) => Ok(Ok(object)),
        Err(error) => failed_at(&args.path, error).map(Err),
    }
}

fn failed_at(path: &Path, error: Error) -> Result<Status, String> {
    match error {
        Error::Object(what) => failed(Error::Object(format!("{}: {what}", path.display()))),
        other => failed(other),
    }
}

/// Says what the kernel says.
fn rejected(args: &Args, error: Error) -> Result<Status, String> {
    if let Error::Rejected(rejected) = &error {
        if args.kernel_log {
            render::remark(rejected.log.trim_end());
        } else if !rejected.log.is_empty() {
            render::complain(&error.to_string());
            render::remark("`--kernel-log` shows all that it says");
            return Ok(Status::Bad);
        }
    }
    failed(error)
}

pub(crate) fn unload(args: &Unload) -> Result<Status, String> {
    let pins = Pins::open().map_err(|e| e.to_string())?;
    let name = match &args.named.name {
        Some(name) => name.clone(),
        None => only(&pins)?,
    };
    Installed::unload(&pins, &name).map_err(|e| e.to_string())?;
    render::line(&format!("{name}: it is unloaded"));
    Ok(Status::Good)
}
