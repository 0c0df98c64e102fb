//! STF files, run against a box.

use crate::script::hex;
use crate::trace::Tracer;
use crate::{Status, files, render};
use grv_lang::compile::Compilation;
use grv_lang::interp::{Machine, Observer, Seeded};
use grv_lang::stf::{self, CommandKind};
use std::collections::VecDeque;
use std::path::Path;

/// Runs a file; each packet that leaves must be expected, in order per port.
pub(crate) fn run(
    path: &Path,
    mut machine: Machine,
    mut oracle: Seeded,
    of: &Compilation,
    trace: bool,
) -> Result<Status, String> {
    let text = std::fs::read(path).map_err(|e| format!("{}: {}", path.display(), files::reason(&e)))?;
    let text = String::from_utf8(text).map_err(|_| format!("{}: this is no UTF-8 text", path.display()))?;
    let program = machine.program().clone();
    let commands = stf::parse(&text, &program).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut left: Vec<VecDeque<Vec<u8>>> = vec![VecDeque::new(); program.ports.len()];
    let (mut good, mut failures) = (0, Vec::new());
    for (number, command) in (1..).zip(commands) {
        let at = format!("{}:{}", path.display(), command.line);
        match command.kind {
            CommandKind::Packet(port, bytes) => {
                let mut tracer = trace.then(|| Tracer::new(&program, &of.sources));
                if let Some(tracer) = &mut tracer {
                    tracer.begin(number, machine.now(), port, &bytes);
                }
                let observer: Option<&mut dyn Observer> = match &mut tracer {
                    Some(tracer) => Some(tracer),
                    None => None,
                };
                let outcome = machine.packet(port, &bytes, &mut oracle, observer).map_err(|e| format!("{at}: {e}"))?;
                if let Some(tracer) = tracer {
                    tracer.end();
                }
                outcome.out.into_iter().for_each(|(port, bytes)| left[port.index()].push_back(bytes));
            }
            CommandKind::Expect(port, pattern) => match left[port.index()].pop_front() {
                None => failures.push(format!("{at}: no packet left on `{}`", program.ports[port.index()].name)),
                Some(bytes) if pattern.as_ref().is_some_and(|p| !p.fits(&bytes)) => {
                    failures.push(format!(
                        "{at}: another packet left on `{}`: {}",
                        program.ports[port.index()].name,
                        hex(&bytes)
                    ));
                }
                Some(_) => good += 1,
            },
        }
    }
    for (port, queue) in program.ports.iter().zip(&left) {
        for bytes in queue {
            failures.push(format!("{}: a packet left on `{}` that nothing expects: {}", path.display(), port.name, hex(bytes)));
        }
    }
    failures.iter().for_each(|failure| render::line(failure));
    render::line(&format!("{good} as expected, {} not", failures.len()));
    Ok(if failures.is_empty() { Status::Good } else { Status::Bad })
}
