//! `grv trace`: what becomes of packets of a running box right now.

use super::{Named, failed, open_alone};
use crate::headers::headers;
use crate::{Status, capture, render};
use clap::ValueEnum;
use grv_codegen::ebpf::Told;
use grv_codegen::ebpf::trace::Seen;
use grv_runtime::trace::{Event, Tracer, Wanted};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Shows packets of a running box as they are dropped or forwarded: why, at which line of the program, and their headers.
///
/// For as long as it runs, a build of the program with trace points runs in the place of the one that was loaded, over the same tables; no packet
/// is lost when they change places, and a box that nobody looks at is not slower for it. It ends when it is interrupted (Ctrl-C).
///
/// Exit status: 0 it was interrupted, has shown what was asked for, or the box is gone; 1 the kernel refuses the build with trace points;
/// 2 there is no such box, port or reason, or somebody traces it already.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    named: Named,
    /// Only packets that arrive at this port; may be given several times
    #[arg(long = "port", value_name = "PORT")]
    ports: Vec<String>,
    /// Only packets of which that becomes; may be given several times
    #[arg(long = "verdict", value_enum, value_name = "VERDICT")]
    verdicts: Vec<Verdict>,
    /// Only packets that are dropped for this reason; may be given several times
    #[arg(long = "reason", value_name = "REASON", conflicts_with = "verdicts")]
    reasons: Vec<String>,
    /// End after so many packets
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Show no more packets than that a second; of the others, the number is shown
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=50_000))]
    rate: u64,
    /// How it is shown
    #[arg(long, value_enum, default_value = "concise")]
    format: Shown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Verdict {
    /// It is dropped
    Drop,
    /// It is sent to a port
    Forward,
    /// It is left to the machine itself
    Host,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shown {
    /// With the line of the program and all headers
    Full,
    /// One line each
    Concise,
    /// One JSON object a line, see schemas/
    JsonLines,
}

/// How often packets are fetched.
const STEPS_PER_SECOND: u64 = 20;

#[derive(Serialize)]
struct Json<'e> {
    schema_version: u32,
    time_ns: u64,
    port: Option<&'e str>,
    verdict: &'static str,
    reason: Option<&'e str>,
    to: &'e [String],
    file: Option<&'e str>,
    line: Option<u32>,
    column: Option<u32>,
    packet: JsonPacket,
    left: Option<JsonPacket>,
}

#[derive(Serialize)]
struct JsonPacket {
    length: u32,
    headers: Vec<String>,
    bytes: String,
}

pub(crate) fn main(args: &Args) -> Result<Status, String> {
    let all = args.verdicts.is_empty() && args.reasons.is_empty();
    let verdict = |verdict| all || args.verdicts.contains(&verdict);
    let wanted = Wanted {
        ports: args.ports.clone(),
        drops: verdict(Verdict::Drop) || !args.reasons.is_empty(),
        reasons: args.reasons.clone(),
        forwards: verdict(Verdict::Forward),
        host: verdict(Verdict::Host),
    };
    let ended = Arc::new(AtomicBool::new(false));
    let end = ended.clone();
    ctrlc::set_handler(move || end.store(true, Ordering::Relaxed)).map_err(|e| e.to_string())?;
    let mut shown = Progress { args, begin: None, left: args.count };
    let mut again = false;
    loop {
        let opened = open_alone(&args.named);
        // The box that was looked at is gone, and no other has its name.
        let (alone, installed) = match opened {
            Err(_) if again => return Ok(Status::Good),
            opened => opened?,
        };
        if again {
            render::remark(&format!("{}: another version has taken its place", installed.name));
        }
        let most = args.rate.div_ceil(STEPS_PER_SECOND);
        let mut tracer = match Tracer::begin(installed, &alone, &wanted, most) {
            Ok(tracer) => tracer,
            Err(error) => return failed(error),
        };
        drop(alone);
        again = true;
        let followed = follow(&mut tracer, &mut shown, most, &ended);
        let over = tracer.is_over();
        let put_back = tracer.end();
        followed?;
        put_back.map_err(|e| e.to_string())?;
        if !over || ended.load(Ordering::Relaxed) {
            return Ok(Status::Good);
        }
    }
}

/// Shows events until it is enough, or the box is not there any more.
fn follow(tracer: &mut Tracer, shown: &mut Progress<'_>, most: u64, ended: &AtomicBool) -> Result<(), String> {
    loop {
        let last = ended.load(Ordering::Relaxed);
        let (events, lost) = tracer.step(most).map_err(|e| e.to_string())?;
        for event in &events {
            if shown.left == Some(0) {
                return Ok(());
            }
            shown.show(event)?;
        }
        if lost > 0 {
            render::remark(&format!("{lost} more packets are not shown (--rate)"));
        }
        if last || shown.left == Some(0) || tracer.is_over() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1_000 / STEPS_PER_SECOND));
    }
}

/// What was shown so far.
struct Progress<'a> {
    args: &'a Args,
    /// When the first packet arrived.
    begin: Option<u64>,
    /// How many packets are still to be shown.
    left: Option<u64>,
}

impl Progress<'_> {
    fn show(&mut self, event: &Event) -> Result<(), String> {
        let since = event.time.saturating_sub(*self.begin.get_or_insert(event.time));
        self.left = self.left.map(|left| left.saturating_sub(1));
        match self.args.format {
            Shown::Full => full(event, since),
            Shown::Concise => {
                let place = event.place.as_ref().map(|(file, line, ..)| format!(" ({file}:{line})")).unwrap_or_default();
                let left = changed(event).map(|left| format!(" => {}", words(left))).unwrap_or_default();
                render::line(&format!("{} {}{left}{place}", head(event, since), words(&event.arrived)));
            }
            Shown::JsonLines => {
                let json = serde_json::to_string(&json(event)).map_err(|e| e.to_string())?;
                render::line(&json);
            }
        }
        Ok(())
    }
}

/// When, from where, and what became of it.
fn head(event: &Event, since: u64) -> String {
    let port = event.port.as_deref().unwrap_or("?");
    let reason = event.reason.as_deref().unwrap_or("?");
    let what = match event.told {
        Told::Dropped => format!("{port} DROP {reason}:"),
        Told::CopyDropped => format!("{port} DROP {reason}, a copy:"),
        Told::Sent => format!("{port} -> {}:", event.to.join(", ")),
    };
    format!("{:.6} {what}", since as f64 / 1e9)
}

/// The packet as it was sent, if that is another one.
fn changed(event: &Event) -> Option<&Seen> {
    event.left.as_ref().filter(|left| **left != event.arrived)
}

fn words(seen: &Seen) -> String {
    capture::describe_start(&seen.bytes, seen.length as usize)
}

fn full(event: &Event, since: u64) {
    render::line(&format!("{} {}", head(event, since), words(&event.arrived)));
    if let Some((file, line, _, text)) = &event.place {
        render::line(&format!("  at {file}:{line}: {text}"));
    }
    headers(&event.arrived.bytes).iter().for_each(|line| render::line(&format!("  {line}")));
    if let Some(left) = changed(event) {
        render::line("  and left as");
        headers(&left.bytes).iter().for_each(|line| render::line(&format!("  {line}")));
    }
}

fn json(event: &Event) -> Json<'_> {
    let packet = |seen: &Seen| JsonPacket {
        length: seen.length,
        headers: headers(&seen.bytes),
        bytes: seen.bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    let verdict = match event.told {
        Told::Dropped => "drop",
        Told::CopyDropped => "drop of a copy",
        Told::Sent if event.to == ["host"] => "host",
        Told::Sent => "forward",
    };
    let place = event.place.as_ref();
    Json {
        schema_version: 1,
        time_ns: event.time,
        port: event.port.as_deref(),
        verdict,
        reason: event.reason.as_deref(),
        to: &event.to,
        file: place.map(|(file, ..)| file.as_str()),
        line: place.map(|(_, line, ..)| *line),
        column: place.map(|(_, _, column, _)| *column),
        packet: packet(&event.arrived),
        left: event.left.as_ref().map(packet),
    }
}
