//! Dead entries are swept inside the kernel while no packets come, by timers that go on as long as the box is pinned. A box works without them:
//! packets that find no room sweep as well.

use crate::error::{Error, Tried};
use crate::hook::{self, Hooked};
use crate::installed::Installed;
use crate::{beside, pins};
use aya::programs::{TestRun, TestRunOptions};
use grv_codegen::ebpf::sweeper::{PERIOD, STARTED, sweeper};

/// Starts the timers of a box; what its user should know if that cannot be.
pub(crate) fn begin(installed: &Installed) -> Option<String> {
    let error = try_begin(installed).err()?;
    Some(format!("dead entries are swept only by packets that find no room: {error}"))
}

fn try_begin(installed: &Installed) -> Result<(), Error> {
    let of = &installed.description;
    let built = sweeper(&of.program, &of.sources, &beside::options(of)?, PERIOD);
    let failed = |what: String| Error::Object(format!("the timers cannot be built: {what}"));
    let built = built.map_err(|found| failed(found.iter().map(|d| d.message.clone()).collect::<Vec<_>>().join("; ")))?;
    let Some(sweeper) = built else { return Ok(()) };
    let mut ebpf = beside::load(&sweeper.object, &sweeper.program, installed)?;
    // A timer is only started in a map that somebody holds on to, and goes on as long as that is so.
    let path = installed.folder.join(pins::map(&sweeper.timers));
    let timers = ebpf.map(&sweeper.timers).ok_or_else(|| failed("they have no map".to_string()))?;
    timers.pin(&path).map_err(|e| Error::Pins { path: path.clone(), what: e.to_string() })?;
    // The kernel runs the program on a packet of ours, once.
    let options = TestRunOptions { data_in: Some(&[0; 64]), ..TestRunOptions::new() };
    let Hooked::Xdp(program) = hook::program(&mut ebpf, &sweeper.program)? else {
        return Err(failed("the kernel cannot be asked to run them".to_string()));
    };
    let run = program.test_run(options);
    let started = run.map_err(|e| Error::Usage(format!("the timers cannot be started: {e}")))?;
    if started.return_value == STARTED {
        return Ok(());
    }
    std::fs::remove_file(&path).tried(|| format!("{} cannot be removed", path.display()))?;
    Err(Error::Usage("the kernel does not start the timers".to_string()))
}
