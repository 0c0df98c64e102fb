//! `grv build`: an artefact for a target, with what is proved of it.

use crate::render::{self, Finding};
use crate::verify::{self, Solving, Source, select};
use crate::{Format, Status, files};
use clap::ValueEnum;
use grv_codegen::ebpf::{self, Artefact, Budget, Claim, Hook, Kernel, Options, Proofs};
use grv_lang::diagnostics::Diagnostic;
use grv_lang::ir::Program;
use grv_verifier::desk::Failure;
use grv_verifier::prove::Verdict;
use grv_verifier::solve;
use serde::Serialize;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of stack of the thread that proves: programs are walked recursively.
const STACK: usize = 256 << 20;

/// Builds a middlebox for a target.
///
/// What the cache of proofs lacks is proved first. A program that is not proved is refused, unless it is said that it may be unproved;
/// then nothing is proved, the artefact says so, and checks that proofs would make superfluous are made when it runs.
///
/// Exit status: 0 it is built; 1 the program has errors, the target does not have what it needs, or something is not proved;
/// 2 usage, or no solver; 101 internal error; 130 interrupted.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The program
    #[arg(value_name = "FILE")]
    path: PathBuf,
    /// What it is built for
    #[arg(long, value_enum)]
    target: Target,
    /// Where the artefact is written
    #[arg(long, short, value_name = "OBJECT", required_unless_present = "emit")]
    output: Option<PathBuf>,
    /// Print a stage of the compilation
    #[arg(long, value_enum, value_name = "STAGE")]
    emit: Option<Stage>,
    /// Let tests set the clock and the port, and see where packets go
    #[arg(long)]
    probe: bool,
    /// How findings and the budget are shown
    #[arg(long, value_enum, default_value = "full")]
    format: Format,
    #[command(flatten)]
    making: Making,
}

/// What a build is told besides its program.
#[derive(clap::Args)]
pub(crate) struct Making {
    /// The middlebox, if the program declares several
    #[arg(long = "box", value_name = "NAME")]
    middlebox: Option<String>,
    /// Where it is attached: `xdp` in the driver, or `tc` where the kernel has made a buffer of the packet
    #[arg(long, value_enum, value_name = "HOOK", default_value = "xdp")]
    hook: At,
    /// The oldest kernel that it must run on: 5.15, 6.1, 6.6, 6.12 or 6.18
    #[arg(long, value_name = "VERSION", default_value = "5.15")]
    kernel: Kernel,
    /// Ticks of the kernel's coarse clock a second, its `CONFIG_HZ`: 100, 250 or 1000, or none if it is not to be used. Where the granularity of
    /// a table is two ticks or more, its lifetimes are told by that clock, which costs next to nothing
    #[arg(long, value_name = "N|none", default_value = "250")]
    hz: Hz,
    /// Take what is not proved; the artefact says so
    #[arg(long)]
    pub(crate) allow_unproved: bool,
    /// Parameters and tables, as JSON. Its parameters are built in, which makes the program shorter; tables are the loader's
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    solving: Solving,
    /// Where answers of the solver are kept; see `grv verify`
    #[arg(long, value_name = "DIR|off|frozen")]
    cache: Option<String>,
}

/// Ticks of the kernel's coarse clock a second.
#[derive(Clone, Copy, Debug)]
struct Hz(Option<NonZeroU32>);

impl std::str::FromStr for Hz {
    type Err = String;

    fn from_str(text: &str) -> Result<Hz, String> {
        match text {
            "none" => Ok(Hz(None)),
            "100" | "250" | "1000" => Ok(Hz(text.parse().ok())),
            "300" => Err("300 ticks a second are no whole nanoseconds: `none` uses the fine clock instead".to_string()),
            _ => Err("one of 100, 250, 1000 or none is needed".to_string()),
        }
    }
}

/// What was built.
pub(crate) struct Made {
    program: Arc<Program>,
    options: Options,
    pub(crate) artefact: Artefact,
    proved: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// A program for the Linux kernel
    Ebpf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum At {
    Xdp,
    Tc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// The low-level IR
    Lir,
    /// Instructions beside the lines that they come from
    Asm,
}

#[derive(Serialize)]
struct Report<'r> {
    schema_version: u32,
    diagnostics: Vec<Finding<'r>>,
    output: Option<String>,
    proved: bool,
    budget: Option<&'r Budget>,
}

pub(crate) fn main(args: &Args) -> Result<Status, String> {
    let made = match make(&args.path, &args.making, args.probe, args.format)? {
        Ok(made) => made,
        Err(status) => return Ok(status),
    };
    if let Some(path) = &args.output {
        std::fs::write(path, &made.artefact.object).map_err(|e| format!("{}: {}", path.display(), files::reason(&e)))?;
    }
    shown(args, &made)?;
    Ok(Status::Good)
}

/// Builds a program. If nothing is built, it has been said why.
pub(crate) fn make(path: &Path, making: &Making, probe: bool, format: Format) -> Result<Result<Made, Status>, String> {
    let sources = verify::read(&[path.to_path_buf()])?;
    let [source] = sources.as_slice() else {
        return Err(format!("{}: one file is needed", path.display()));
    };
    if source.of.failed() {
        return refused(format, source, &source.of.diagnostics).map(Err);
    }
    let program = chosen(path, making, source)?;
    let hook = match making.hook {
        At::Xdp => Hook::Xdp,
        At::Tc => Hook::Tc,
    };
    let params = files::settings(making.config.as_deref(), &program)?.params;
    let (kernel, hz, checks) = (making.kernel, making.hz.0, making.allow_unproved);
    let options = Options { kernel, hz, hook, probe, checks, params, ..Options::default() };
    // Neither waits for the other; what the target does not have need not be proved.
    let (compiled, proved) = std::thread::scope(|scope| {
        let proving = (!making.allow_unproved).then(|| {
            let own = std::thread::Builder::new().stack_size(STACK);
            own.spawn_scoped(scope, || prove(making, &sources, &program)).map_err(|e| format!("no thread can be started: {e}"))
        });
        let compiled = ebpf::compile(&program, &source.of.sources, &options);
        if compiled.is_err() {
            solve::interrupt();
        }
        (compiled, proving.map(|thread| thread.map(|thread| thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e)))))
    });
    let compiled = match compiled {
        Ok(compiled) => compiled,
        Err(found) => return refused(format, source, &found).map(Err),
    };
    let mut proofs = Proofs { digests: digests(source), ..Proofs::default() };
    if let Some(proved) = proved.transpose()? {
        match proved {
            Ok((proved, remarks)) => {
                remarks.iter().for_each(|remark| render::remark(&format!("remark: {remark}")));
                proofs = Proofs { digests: proofs.digests, ..proved };
            }
            Err(failure) => return verify::failed(failure).map(Err),
        }
        if !proofs.complete() {
            for claim in proofs.claims.iter().flatten().filter(|claim| claim.verdict != "proved") {
                render::remark(&format!("{} `{}` is not proved: {}", claim.kind, claim.name, claim.verdict));
            }
            let path = path.display();
            render::complain(&format!("{path}: what is not proved is not built; `grv verify {path}` tells more"));
            return Ok(Err(Status::Bad));
        }
    }
    match compiled.artefact(&proofs) {
        Ok(artefact) => Ok(Ok(Made { program, options, artefact, proved: proofs.complete() })),
        Err(found) => refused(format, source, &found).map(Err),
    }
}

/// The middlebox that is asked for.
fn chosen(path: &Path, making: &Making, source: &Source) -> Result<Arc<Program>, String> {
    let names = || source.of.boxes.iter().map(|b| b.name.as_str()).collect::<Vec<_>>().join(", ");
    let path = path.display();
    match (&making.middlebox, source.of.boxes.as_slice()) {
        (None, [program]) => Ok(program.clone()),
        (None, []) => Err(format!("{path}: there is no middlebox that could be built")),
        (None, _) => Err(format!("{path}: which one of {}? Say `--box NAME`", names())),
        (Some(name), boxes) => {
            let found = boxes.iter().find(|b| b.name == *name).cloned();
            found.ok_or_else(|| format!("{path}: there is no middlebox `{name}`; there are: {}", names()))
        }
    }
}

/// Proves what the program promises; with what is to be said of the cache.
fn prove(making: &Making, sources: &[Source], program: &Arc<Program>) -> Result<(Proofs, Vec<String>), Failure> {
    let cache = select::cache(making.cache.as_deref()).map_err(Failure::Usage)?;
    let desk = verify::open(cache, None, None)?;
    let selection = select::Selection::new(&[], None).map_err(Failure::Usage)?;
    let reports = verify::run(sources, &selection, &making.solving.options(0), &desk, &|_, _| {})?;
    let boxes = sources.iter().flat_map(|s| &s.of.boxes);
    let report = boxes.zip(&reports).find(|(of, _)| Arc::ptr_eq(of, program)).map(|(_, report)| report);
    let claims = report.map(|report| {
        let claim = |o: &grv_verifier::prove::Obligation| Claim {
            name: o.name.clone(),
            kind: o.kind.name().to_string(),
            rows: o.rows.clone(),
            verdict: o.verdict.name().to_string(),
            assumed: if let Verdict::Assumed(why) = &o.verdict { Some(why.clone()) } else { None },
        };
        report.obligations.iter().map(claim).collect()
    });
    let solver = format!("{} {}", desk.identity.name, desk.identity.version);
    Ok((Proofs { claims, solver, digests: Vec::new() }, desk.cache.remarks()))
}

/// A name for the contents of each file.
fn digests(source: &Source) -> Vec<(String, String)> {
    let files = source.of.sources.files().iter();
    files.map(|f| (f.path.clone(), format!("blake3:{}", blake3::hash(f.text.as_bytes()).to_hex()))).collect()
}

/// Shows why nothing is built.
fn refused(format: Format, source: &Source, found: &[Diagnostic]) -> Result<Status, String> {
    if format == Format::Json {
        let diagnostics = found.iter().map(|d| render::finding(&source.of.sources, d)).collect();
        render::json(&Report { schema_version: 1, diagnostics, output: None, proved: false, budget: None })?;
    } else {
        render::findings(&source.of.sources, found, format)?;
        render::remark("nothing is built");
    }
    Ok(Status::Bad)
}

fn shown(args: &Args, made: &Made) -> Result<(), String> {
    let Made { program, options, artefact, proved } = made;
    match args.emit {
        Some(Stage::Asm) => render::line(artefact.listing.trim_end()),
        Some(Stage::Lir) => {
            let text = ebpf::print_lowered(program, options)
                .map_err(|found| found.iter().map(|d| d.message.clone()).collect::<String>())?;
            render::line(text.trim_end());
        }
        None => {}
    }
    let output = args.output.as_ref().map(|path| path.display().to_string());
    let budget = &artefact.budget;
    if args.format == Format::Json {
        let diagnostics = Vec::new();
        return render::json(&Report { schema_version: 1, diagnostics, output, proved: *proved, budget: Some(budget) });
    }
    let Some(output) = output else { return Ok(()) };
    let status = if *proved { "proved" } else { "unproved" };
    render::line(&format!(
        "{output}: {} for {}, {status}, from {} on",
        program.name,
        if options.hook == Hook::Tc { "tc" } else { "XDP" },
        options.kernel
    ));
    if args.format == Format::Concise {
        return Ok(());
    }
    render::line(&format!("  instructions  {}", budget.instructions));
    render::line(&format!("  stack         {} of 512 bytes", budget.stack));
    let helpers: Vec<String> = budget.helpers.iter().map(|(name, count)| format!("{name} x{count}")).collect();
    render::line(&format!("  helper calls  {}", if helpers.is_empty() { "none".to_string() } else { helpers.join(", ") }));
    for (index, (name, kind, entries, bytes)) in budget.maps.iter().enumerate() {
        let title = if index == 0 { "maps" } else { "" };
        render::line(&format!("  {title:<12}  {name}: {kind} of {entries}, {bytes} bytes"));
    }
    Ok(())
}
