//! Solvers as other processes. A question is SMT-LIB 2 text; whoever can read that can answer it.

use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use thiserror::Error;

/// A question to a solver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Declarations and assertions, one assertion a line.
    pub text: String,
    /// How many resource units it may cost.
    pub budget: u32,
    /// Where the solver's own random choices start.
    pub seed: u32,
    /// Whether a model is wanted.
    pub model: bool,
    /// Whether the older of the solver's two procedures for integers is to be used: often it is the quicker one.
    pub older: bool,
}

/// What a solver says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// No values satisfy the assertions.
    Unsat,
    /// Some do.
    Sat,
    /// The budget was used up.
    Budget,
    /// It does not know, for this reason.
    Unknown(String),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What it says.
    pub status: Status,
    /// Resource units that it cost.
    pub resource: u64,
    /// Values that satisfy the assertions, in the solver's words.
    pub model: String,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The solver's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether it is new enough.
    pub new_enough: bool,
}

/// Why there is no solver.
#[derive(Debug, Error)]
pub enum SolverError {
    /// It cannot be started, or ends before it says who it is.
    #[error(
        "the solver z3 cannot be started ({0}): `cargo xtask setup` installs it; or point GRV_SOLVER at a grv-solver that runs"
    )]
    Missing(String),
    /// It is too old.
    #[error("the solver {name} {version} is too old: 4.13.3 or newer is needed; `cargo xtask setup` installs one")]
    TooOld {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
    },
    /// It went away.
    #[error("the solver ended unexpectedly: {0}")]
    Gone(String),
}

/// The solver's program: beside this one, or what GRV_SOLVER names.
pub fn program() -> PathBuf {
    if let Some(path) = std::env::var_os("GRV_SOLVER") {
        return path.into();
    }
    let own = std::env::current_exe().unwrap_or_default();
    let beside = own.with_file_name("grv-solver");
    // Tests run from a folder below.
    match own.parent().and_then(Path::parent) {
        Some(above) if !beside.exists() => above.join("grv-solver"),
        _ => beside,
    }
}

/// A solver that runs.
#[derive(Debug)]
pub struct Solver {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Who answers.
    pub identity: Identity,
}

impl Solver {
    /// Starts a solver.
    pub fn start(program: &Path) -> Result<Solver, SolverError> {
        let missing = |why: String| SolverError::Missing(why);
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| missing(format!("{}: {e}", program.display())))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(missing("no pipes".to_string()));
        };
        let mut output = BufReader::new(output);
        let mut line = String::new();
        let read = output.read_line(&mut line);
        let identity = read.ok().and_then(|_| serde_json::from_str::<Identity>(&line).ok());
        let Some(identity) = identity else {
            let _ = child.kill();
            let status = child.wait().map_or_else(|e| e.to_string(), |s| s.to_string());
            return Err(missing(format!("{}: {status}; is libz3 there?", program.display())));
        };
        if !identity.new_enough {
            let _ = child.kill();
            let _ = child.wait();
            return Err(SolverError::TooOld { name: identity.name, version: identity.version });
        }
        Ok(Solver { child, input, output, identity })
    }

    /// Asks a question.
    pub fn ask(&mut self, question: &Question) -> Result<Answer, SolverError> {
        let gone = |why: String| SolverError::Gone(why);
        let line = serde_json::to_string(question).map_err(|e| gone(e.to_string()))?;
        writeln!(self.input, "{line}").and_then(|()| self.input.flush()).map_err(|e| gone(e.to_string()))?;
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|e| gone(e.to_string()))?;
        serde_json::from_str(&line).map_err(|_| gone("no answer".to_string()))
    }
}

impl Drop for Solver {
    fn drop(&mut self) {
        // It ends by itself when its input does; one that hangs does not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
