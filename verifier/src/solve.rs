//! Solvers as other processes. A question is SMT-LIB 2 text; whoever can read that can answer it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
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
    /// Values of the constants that satisfy the assertions, in SMT-LIB, if they were wanted.
    pub model: BTreeMap<String, String>,
}

/// A question, and the answer to it: they carry the same number, so that neither is taken for another's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered<T> {
    /// The number.
    pub number: u64,
    /// What is said.
    pub content: T,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The solver's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How it searches.
    pub options: String,
    /// Whether it is new enough.
    pub new_enough: bool,
}

/// Why there is no answer.
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
    /// Another one runs now than at the start.
    #[error("the solver was replaced while it was used: run this again")]
    Replaced,
    /// It went away.
    #[error("the solver ended unexpectedly: {0}")]
    Gone(String),
    /// It did not answer in time.
    #[error("the solver ignored its budget: no answer within {} s", .0.as_secs())]
    Overtime(Duration),
    /// Nobody waits for the answer any more.
    #[error("interrupted")]
    Interrupted,
}

/// Whether everything is to end.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Ends all waiting for solvers, now and later.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::SeqCst);
}

/// Whether everything is to end.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
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

/// How long a process may take to say who it is.
const START: Duration = Duration::from_secs(30);
/// How long a question may take: budgets are resource units, and this is only for a solver that ignores them.
pub const LIMIT: Duration = Duration::from_secs(120);
/// How often somebody who waits looks whether everything is to end.
const GLANCE: Duration = Duration::from_millis(50);

/// A solver that runs.
#[derive(Debug)]
pub struct Solver {
    child: Child,
    questions: Sender<String>,
    lines: Receiver<String>,
    asked: u64,
    /// Who answers.
    pub identity: Identity,
    /// How long a question may take.
    pub limit: Duration,
}

impl Solver {
    /// Starts a solver.
    pub fn start(program: &Path) -> Result<Solver, SolverError> {
        let missing = |why: String| SolverError::Missing(format!("{}: {why}", program.display()));
        let mut child = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| missing(e.to_string()))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(missing("no pipes".to_string()));
        };
        let unknown = Identity { name: String::new(), version: String::new(), options: String::new(), new_enough: false };
        let (questions, lines) = (writer(input), reader(output));
        // From here on the process ends when this value does.
        let mut solver = Solver { child, questions, lines, asked: 0, identity: unknown, limit: LIMIT };
        match solver.line(START) {
            Ok(line) => match serde_json::from_str::<Identity>(&line) {
                Ok(identity) => solver.identity = identity,
                Err(_) => return Err(missing("it does not say who it is".to_string())),
            },
            Err(SolverError::Interrupted) => return Err(SolverError::Interrupted),
            Err(_) => {
                let _ended = solver.child.kill();
                let status = solver.child.wait().map_or_else(|e| e.to_string(), |s| s.to_string());
                return Err(missing(format!("{status}; is libz3 there?")));
            }
        }
        if !solver.identity.new_enough {
            let Identity { name, version, .. } = solver.identity.clone();
            return Err(SolverError::TooOld { name, version });
        }
        Ok(solver)
    }

    /// Asks a question. After an error the solver is of no use any more.
    pub fn ask(&mut self, question: &Question) -> Result<Answer, SolverError> {
        let gone = |why: String| SolverError::Gone(why);
        self.asked += 1;
        let numbered = Numbered { number: self.asked, content: question };
        let line = serde_json::to_string(&numbered).map_err(|e| gone(e.to_string()))?;
        self.questions.send(line).map_err(|_| gone("it does not listen".to_string()))?;
        let answer = self.line(self.limit)?;
        match serde_json::from_str::<Numbered<Answer>>(&answer) {
            Ok(Numbered { number, content }) if number == self.asked => Ok(content),
            _ => Err(gone("its answer makes no sense".to_string())),
        }
    }

    /// The next line that it says.
    fn line(&mut self, limit: Duration) -> Result<String, SolverError> {
        let start = Instant::now();
        loop {
            match self.lines.recv_timeout(GLANCE) {
                Ok(line) => return Ok(line),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait().map_or_else(|e| e.to_string(), |s| s.to_string());
                    return Err(SolverError::Gone(status));
                }
                Err(RecvTimeoutError::Timeout) if interrupted() => return Err(SolverError::Interrupted),
                Err(RecvTimeoutError::Timeout) if start.elapsed() > limit => return Err(SolverError::Overtime(limit)),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// Writes lines, on a thread of its own: a process that does not read must not make its writer wait.
fn writer(mut input: ChildStdin) -> Sender<String> {
    let (sender, lines) = channel::<String>();
    std::thread::spawn(move || {
        for line in lines {
            // That it went away is noticed where its answer is read.
            if writeln!(input, "{line}").and_then(|()| input.flush()).is_err() {
                return;
            }
        }
    });
    sender
}

/// Reads lines, on a thread of its own: waiting for one can end then.
fn reader(output: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

impl Drop for Solver {
    fn drop(&mut self) {
        // It ends by itself when its input does; one that is busy or hangs does not. It may be gone already.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const HELLO: &str = r#"{"name":"z3","version":"9","options":"","new_enough":true}"#;

    fn solver(name: &str, then: &str) -> Solver {
        let path = std::env::temp_dir().join(format!("grv-solver-{name}-{}", std::process::id()));
        std::fs::write(&path, format!("#!/bin/sh\necho '{HELLO}'\n{then}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let solver = Solver::start(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        solver
    }

    fn question(text: String) -> Question {
        Question { text, budget: 1, seed: 0, model: false, older: false }
    }

    #[test]
    fn the_watchdog_ends_a_solver_that_ignores_its_budget() {
        let mut solver = solver("hangs", "exec sleep 600");
        solver.limit = Duration::from_millis(100);
        let start = Instant::now();
        // More than a pipe holds, which nobody reads.
        let answer = solver.ask(&question("x".repeat(1 << 20)));
        assert!(matches!(answer, Err(SolverError::Overtime(_))), "{answer:?}");
        drop(solver);
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn an_answer_to_another_question_is_none() {
        let reply = r#"{"number":1,"content":{"status":"unsat","resource":1,"model":{}}}"#;
        let mut solver = solver("repeats", &format!("while read q; do echo '{reply}'; done"));
        assert!(solver.ask(&question(String::new())).is_ok_and(|a| a.status == Status::Unsat));
        assert!(matches!(solver.ask(&question(String::new())), Err(SolverError::Gone(_))));
    }
}
