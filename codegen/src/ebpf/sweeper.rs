//! The program beside a program: it starts timers that sweep dead entries inside the kernel.

use super::{Budget, Hook, Options, Proofs, kernel, lower, machine, manifest, object};
use grv_lang::diagnostics::{Code, Diagnostic};
use grv_lang::ir::Program;
use grv_lang::source::SourceMap;

/// Tables with more entries than that are swept less often: a sweep holds up a processor.
pub(super) const MANY: u32 = 65_536;

/// Nanoseconds between two sweeps of a table.
pub const PERIOD: u64 = 1_000_000_000;

/// A built program that starts the timers.
#[derive(Clone, Debug)]
pub struct Sweeper {
    /// The object file. Its maps are those of the program that it goes with, and the timers'.
    pub object: Vec<u8>,
    /// The program in it.
    pub program: String,
    /// The map that holds the timers: they run as long as it is pinned.
    pub timers: String,
}

/// What the program says when all timers run.
pub const STARTED: u32 = 2;

/// Builds the program that has dead entries of a program's tables swept, each table once in so many nanoseconds. None: no entry dies.
pub fn sweeper(
    program: &Program,
    sources: &SourceMap,
    options: &Options,
    period: u64,
) -> Result<Option<Sweeper>, Vec<Diagnostic>> {
    // Whatever the program is attached to: this one is not, and the kernel is asked to run it once.
    let options = &Options { hook: Hook::Xdp, ..options.clone() };
    let Some(mut lowered) = lower::lower_sweeper(program, options, period)? else { return Ok(None) };
    lowered.function.name = "sweep".to_string();
    let bug = |what: String| vec![Diagnostic::new(Code::TargetSize, program.span, what)];
    let code = machine::compile(&lowered.function).map_err(|failure| bug(failure.to_string()))?;
    let functions = lowered.functions.iter().map(machine::compile).collect::<Result<Vec<_>, _>>();
    let functions = functions.map_err(|failure| bug(failure.to_string()))?;
    if let Some(newer) = kernel::newer(super::calls(&code, &functions).keys(), &lowered.maps, options.kernel).first() {
        return Err(bug(format!("{newer}, and the build is for {}", options.kernel)));
    }
    let stack = machine::stack(&code, &functions).map_err(|failure| bug(failure.to_string()))?;
    let budget = Budget { instructions: code.insns.len(), stack, maps: Vec::new(), helpers: Vec::new() };
    let manifest = manifest::Manifest::new(program, sources, options, &Proofs::default(), &lowered, &budget);
    let object = object::write(options.hook, &code, &functions, &lowered.maps, &manifest.json(), sources).map_err(bug)?;
    let timers = lowered.maps.maps.last().map_or_else(String::new, |map| map.name.clone());
    Ok(Some(Sweeper { object, program: code.name, timers }))
}
