//! The `grv` command: checks, tests and runs middleboxes. Findings go to standard output, progress to standard error.
//!
//! This crate does the IO; what programs mean is grv-lang's.

mod build;
pub mod capture;
mod check;
mod explain;
mod files;
mod fmt;
mod graph;
mod happened;
mod headers;
mod live;
mod mutate;
mod new;
mod render;
mod run;
mod script;
mod stf;
mod test;
mod trace;
mod verify;

use clap::{Parser, Subcommand, ValueEnum};
use std::process::ExitCode;

/// Exit statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// All is well.
    Good = 0,
    /// Something was found wrong with a program or what it did.
    Bad = 1,
    /// The command cannot be carried out: usage, files, configuration.
    Usage = 2,
    /// Nothing was found wrong, and yet not all is shown.
    Inconclusive = 3,
    /// A bug of ours.
    Internal = 101,
    /// Interrupted before there was a result.
    Interrupted = 130,
}

/// Verification-first network middleboxes.
#[derive(Parser)]
#[command(name = "grv", version, about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check programs: names, types, headers, totality, wiring
    Check(check::Args),
    /// Run the `test` blocks of programs
    Test(test::Args),
    /// Run a middlebox over captured packets
    Run(run::Args),
    /// Prove what middleboxes promise
    Verify(verify::Args),
    /// Build a middlebox for a target
    Build(build::Args),
    /// Load a box into the kernel and attach it to interfaces
    Load(live::load::Args),
    /// Take a box off its interfaces and out of the kernel
    Unload(live::load::Unload),
    /// Show what a running box holds
    State(live::state::Args),
    /// Show what became of the packets of a running box
    Stats(live::stats::Args),
    /// Show packets of a running box as they are dropped or forwarded
    Trace(live::trace::Args),
    /// Replace control tables of a running box
    Update(live::update::Args),
    /// Keep the neighbours of a running box in step with the kernel's
    Sync(live::sync::Args),
    /// List what proofs of a middlebox take for granted
    Audit(verify::audit::Args),
    /// Repeat proofs with other random choices of the solver
    Stability(verify::stability::Args),
    /// Change programs in small ways: which changes does no property and no test notice?
    Mutate(mutate::Args),
    /// Format programs
    Fmt(fmt::Args),
    /// Draw a middlebox as SVG: elements, ports, state
    Graph(graph::Args),
    /// Explain a diagnostic code
    Explain(explain::Args),
    /// Begin a new middlebox in a folder of its own
    New(new::Args),
}

/// How findings are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// With the source around them
    Full,
    /// One line each
    Concise,
    /// One JSON object, see schemas/
    Json,
}

/// Carries out the command that the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // Deeply nested sources are walked recursively; the parser bounds the depth, this stack holds it.
    let work = std::thread::Builder::new().stack_size(256 << 20).spawn(move || match cli.command {
        Command::Check(args) => check::main(&args),
        Command::Test(args) => test::main(&args),
        Command::Run(args) => run::main(&args),
        Command::Verify(args) => verify::main(&args),
        Command::Build(args) => build::main(&args),
        Command::Load(args) => live::load::main(&args),
        Command::Unload(args) => live::load::unload(&args),
        Command::State(args) => live::state::main(&args),
        Command::Stats(args) => live::stats::main(&args),
        Command::Trace(args) => live::trace::main(&args),
        Command::Update(args) => live::update::main(&args),
        Command::Sync(args) => live::sync::main(&args),
        Command::Audit(args) => verify::audit::main(&args),
        Command::Stability(args) => verify::stability::main(&args),
        Command::Mutate(args) => mutate::main(&args),
        Command::Fmt(args) => fmt::main(&args),
        Command::Graph(args) => graph::main(&args),
        Command::Explain(args) => explain::main(&args),
        Command::New(args) => new::main(&args),
    });
    let status = match work.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(status))) => status,
        Ok(Ok(Err(error))) => {
            render::complain(&error);
            Status::Usage
        }
        Ok(Err(_)) => Status::Internal,
        Err(error) => {
            render::complain(&format!("no thread can be started: {error}"));
            Status::Usage
        }
    };
    ExitCode::from(status as u8)
}
