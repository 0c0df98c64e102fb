//! `grv run`: a middlebox over captured packets. What was processed before an error is still written and counted.

use crate::capture::{self, Writer};
use crate::trace::Tracer;
use crate::{Status, files, render, stf};
use grv_lang::compile::Compilation;
use grv_lang::config::Settings;
use grv_lang::diagnostics::Severity;
use grv_lang::interp::{Machine, Observer, Outcome, Seeded, with_defaults};
use grv_lang::ir::{PortId, Program};
use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The program
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// Packets that arrive at a port, from a pcap or pcapng file; ports are merged by time
    #[arg(long = "in", value_name = "PORT=FILE")]
    inputs: Vec<String>,
    /// A folder for one pcap file per port with what left there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Parameters and tables, as JSON
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Explain each packet: headers, path, state
    #[arg(long)]
    trace: bool,
    /// Run an STF file (`packet PORT HEX`, `expect PORT HEX`) instead of captures
    #[arg(long, value_name = "FILE", conflicts_with_all = ["inputs", "out"])]
    stf: Option<PathBuf>,
    /// Which middlebox, if the file declares several
    #[arg(long = "box", value_name = "NAME")]
    middlebox: Option<String>,
    /// Where the semantics leaves a choice open, decide by this number
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// A packet that is going to arrive.
struct Arrival<'f> {
    time: Duration,
    port: PortId,
    bytes: Cow<'f, [u8]>,
}

/// A capture file with the port that its packets arrive at.
struct Input<'a> {
    path: &'a str,
    port: PortId,
    bytes: Vec<u8>,
}

pub(crate) fn main(args: &Args) -> Result<Status, String> {
    let compiled = files::load(&args.path)?;
    render::findings(&compiled.sources, &compiled.diagnostics, crate::Format::Full)?;
    if compiled.diagnostics.iter().any(|d| d.severity() == Severity::Error) {
        return Ok(Status::Bad);
    }
    let program = choose(&compiled, args.middlebox.as_deref(), &args.path)?;
    let settings = files::settings(args.config.as_deref(), &program)?;
    let mut oracle = Seeded::exact(args.seed);
    let mut machine = start(&program, &settings, &mut oracle)?;
    if let Some(path) = &args.stf {
        return stf::run(path, machine, oracle, &compiled, args.trace);
    }
    if args.inputs.is_empty() {
        let ports: Vec<&str> = program.ports.iter().filter(|p| p.entry.is_some()).map(|p| p.name.as_str()).collect();
        return Err(format!("say what arrives: `--in PORT=FILE.pcap`; the box has the ports {}", ports.join(", ")));
    }
    let inputs = args.inputs.iter().map(|input| read(input, &program)).collect::<Result<Vec<_>, _>>()?;
    let (arrivals, mut errors) = arrivals(&inputs);
    let mut writers = writers(args.out.as_deref(), &program)?;
    let mut outcome = Outcome::default();
    let start = arrivals.first().map_or(Duration::ZERO, |a| a.time);
    for (index, arrival) in arrivals.iter().enumerate() {
        let elapsed = u64::try_from(arrival.time.saturating_sub(start).as_nanos()).unwrap_or(u64::MAX);
        let mut tracer = args.trace.then(|| Tracer::new(&program, &compiled.sources));
        if let Some(tracer) = &mut tracer {
            tracer.begin(index + 1, elapsed, arrival.port, &arrival.bytes);
        }
        let passed = machine.advance(elapsed.saturating_sub(machine.now()), &mut oracle, observer(&mut tracer));
        let done = passed
            .and_then(|()| machine.packet_into(arrival.port, &arrival.bytes, &mut oracle, observer(&mut tracer), &mut outcome));
        if let Some(tracer) = tracer {
            tracer.end();
        }
        if let Err(defect) = done {
            let element = defect.element.as_ref().map_or_else(String::new, |e| format!(" in `{e}`"));
            errors.push(format!("packet {}: {}{element}: {defect}", index + 1, compiled.sources.place(defect.span)));
            if defect.kind.stops() {
                break;
            }
            continue;
        }
        for (port, bytes) in &outcome.out {
            if let Some(writer) = writers.get_mut(port.index()) {
                writer.write(arrival.time, bytes)?;
            }
        }
    }
    for writer in writers {
        writer.finish()?;
    }
    summary(&machine);
    errors.iter().for_each(|error| render::complain(error));
    Ok(if errors.is_empty() { Status::Good } else { Status::Bad })
}

fn observer<'t>(tracer: &'t mut Option<Tracer<'_>>) -> Option<&'t mut dyn Observer> {
    match tracer {
        Some(tracer) => Some(tracer),
        None => None,
    }
}

/// The middlebox that is meant.
pub(crate) fn choose(compiled: &Compilation, name: Option<&str>, path: &Path) -> Result<Arc<Program>, String> {
    let known: Vec<&str> = compiled.boxes.iter().map(|b| b.name.as_str()).collect();
    match (name, compiled.boxes.as_slice()) {
        (None, [only]) => Ok(only.clone()),
        (None, []) => Err(format!("{} declares no middlebox", path.display())),
        (None, _) => Err(format!("{} declares several middleboxes, choose one by --box: {}", path.display(), known.join(", "))),
        (Some(name), all) => match all.iter().find(|b| b.name == name) {
            Some(found) => Ok(found.clone()),
            None => Err(format!("there is no middlebox `{name}` in {}; there are: {}", path.display(), known.join(", "))),
        },
    }
}

/// A box with its configuration.
fn start(program: &Arc<Program>, settings: &Settings, oracle: &mut Seeded) -> Result<Machine, String> {
    let params = with_defaults(program, &settings.params).map_err(|e| format!("{e}: give it in a configuration (--config)"))?;
    let mut machine = Machine::new(program.clone(), params).map_err(|e| e.to_string())?;
    machine.update(&settings.tables, oracle, None).map_err(|e| format!("the tables are refused: {e}"))?;
    for feed in &settings.feeds {
        for (key, value) in &feed.entries {
            machine.feed(feed.table, key, Some(value), oracle).map_err(|e| e.to_string())?;
        }
    }
    Ok(machine)
}

/// Reads what is to arrive at a port: `PORT=FILE`.
fn read<'a>(input: &'a str, program: &Program) -> Result<Input<'a>, String> {
    let Some((name, path)) = input.split_once('=') else {
        return Err(format!("`--in {input}`: PORT=FILE is expected"));
    };
    let found = program.ports.iter().position(|p| p.name == name && p.entry.is_some());
    let Some(port) = found else {
        let known: Vec<&str> = program.ports.iter().filter(|p| p.entry.is_some()).map(|p| p.name.as_str()).collect();
        return Err(format!("no packets arrive at `{name}`; the box has the ports {}", known.join(", ")));
    };
    let bytes = std::fs::read(path).map_err(|e| format!("{path}: {}", files::reason(&e)))?;
    Ok(Input { path, port: PortId(port as u32), bytes })
}

/// All packets in order of time, and what is wrong with the captures.
fn arrivals<'f>(inputs: &'f [Input<'_>]) -> (Vec<Arrival<'f>>, Vec<String>) {
    let (mut all, mut errors) = (Vec::new(), Vec::new());
    for Input { path, port, bytes } in inputs {
        let capture = capture::parse(bytes);
        let cut = capture.packets.iter().filter(|p| p.cut).count();
        if cut > 0 {
            render::remark(&format!("{path}: {cut} packets were cut short by the capture; they are processed as they are"));
        }
        all.extend(capture.packets.into_iter().map(|p| Arrival { time: p.time, port: *port, bytes: p.bytes }));
        errors.extend(capture.error.map(|e| format!("{path}: {e}")));
    }
    // A stable sort: packets of one time stay in the order of the command line.
    all.sort_by_key(|arrival| arrival.time);
    (all, errors)
}

fn writers(folder: Option<&Path>, program: &Program) -> Result<Vec<Writer>, String> {
    let Some(folder) = folder else { return Ok(Vec::new()) };
    std::fs::create_dir_all(folder).map_err(|e| format!("{}: {}", folder.display(), files::reason(&e)))?;
    program.ports.iter().map(|port| Writer::create(&folder.join(format!("{}.pcap", port.name)))).collect()
}

/// What became of all packets.
fn summary(machine: &Machine) {
    let program = machine.program();
    let counts = machine.accounting();
    let total = |counts: &[u64]| counts.iter().sum::<u64>();
    let list = |what: &str, names: Vec<&str>, counts: &[u64]| {
        for (name, count) in names.into_iter().zip(counts).filter(|(_, count)| **count > 0) {
            render::line(&format!("  {what} {name:<24} {count:>10}"));
        }
    };
    let ports = || program.ports.iter().map(|p| p.name.as_str()).collect::<Vec<_>>();
    render::line(&format!("received {}", total(&counts.received)));
    list("at", ports(), &counts.received);
    render::line(&format!("sent {}", total(&counts.sent)));
    list("on", ports(), &counts.sent);
    render::line(&format!("dropped {}", total(&counts.dropped)));
    list("as", program.reasons.iter().map(String::as_str).collect(), &counts.dropped);
    if counts.copies > 0 {
        render::line(&format!("copies made {}", counts.copies));
    }
}
