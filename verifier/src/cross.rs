//! A second solver, which is asked the same: any program that takes a file of SMT-LIB 2 and prints `sat` or `unsat`.

use crate::solve::{Status, interrupted};
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A second solver.
#[derive(Debug)]
pub struct Cross {
    program: PathBuf,
    /// What it calls itself.
    pub version: String,
    agreed: AtomicUsize,
    unfinished: AtomicUsize,
}

/// What a second solver says of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opinion {
    /// The same.
    Same,
    /// The contrary.
    Contrary,
    /// Nothing, within its time.
    None,
}

/// How long it may think about a question.
const LIMIT: Duration = Duration::from_secs(20);
const GLANCE: Duration = Duration::from_millis(5);

impl Cross {
    /// The solver that GRV_CROSS_SOLVER names, or cvc5; why there is none.
    pub fn find() -> Result<Cross, String> {
        let program = std::env::var_os("GRV_CROSS_SOLVER").map_or_else(|| PathBuf::from("cvc5"), PathBuf::from);
        let said = Command::new(&program).arg("--version").stdin(Stdio::null()).output().map_err(|e| {
            format!(
                "the second solver {} cannot be started ({e}): install cvc5 (Debian: `apt-get install cvc5`), or point GRV_CROSS_SOLVER at another one",
                program.display()
            )
        })?;
        let said = String::from_utf8_lossy(&said.stdout);
        let version = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("of unknown version").trim().to_string();
        Ok(Cross { program, version, agreed: AtomicUsize::new(0), unfinished: AtomicUsize::new(0) })
    }

    /// How often it agreed, and how often it did not finish.
    pub fn counts(&self) -> (usize, usize) {
        (self.agreed.load(Ordering::Relaxed), self.unfinished.load(Ordering::Relaxed))
    }

    /// What it says of an answer. That it cannot be asked is an error.
    pub fn opinion(&self, text: &str, status: &Status) -> Result<Opinion, String> {
        let said = self.ask(text)?;
        let opinion = match (said.as_deref(), status) {
            (Some("unsat"), Status::Unsat) | (Some("sat"), Status::Sat) => Opinion::Same,
            (Some("unsat"), Status::Sat) | (Some("sat"), Status::Unsat) => Opinion::Contrary,
            _ => Opinion::None,
        };
        match opinion {
            Opinion::Same => self.agreed.fetch_add(1, Ordering::Relaxed),
            _ => self.unfinished.fetch_add(1, Ordering::Relaxed),
        };
        Ok(opinion)
    }

    /// The first word that it prints; none if it does not finish.
    fn ask(&self, text: &str) -> Result<Option<String>, String> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = std::env::temp_dir().join(format!("grv-{}-{number}.smt2", std::process::id()));
        let error = |e: std::io::Error| format!("the second solver {} cannot be asked: {e}", self.program.display());
        fs::write(&file, script(text, &[])).map_err(error)?;
        let said = self.run(&file).map_err(error);
        fs::remove_file(&file).map_err(error)?;
        said
    }

    fn run(&self, file: &std::path::Path) -> std::io::Result<Option<String>> {
        let mut child =
            Command::new(&self.program).arg(file).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let start = Instant::now();
        while child.try_wait()?.is_none() {
            if start.elapsed() > LIMIT || interrupted() {
                child.kill()?;
                child.wait()?;
                return Ok(None);
            }
            std::thread::sleep(GLANCE);
        }
        let mut said = String::new();
        if let Some(mut output) = child.stdout.take() {
            output.read_to_string(&mut said)?;
        }
        Ok(said.split_whitespace().next().map(str::to_string))
    }
}

/// A question as a file for any solver.
pub fn script(text: &str, comments: &[String]) -> String {
    let comments: String = comments.iter().map(|c| format!("; {}\n", c.replace('\n', " "))).collect();
    format!("{comments}(set-logic ALL)\n{text}(check-sat)\n")
}
