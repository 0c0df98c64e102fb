//! Why something is not done.

use std::path::PathBuf;
use thiserror::Error;

/// Why something is not done.
#[derive(Debug, Error)]
pub enum Error {
    /// A file is no object of this compiler, or one that this version cannot read.
    #[error("{0}")]
    Object(String),
    /// What was asked for cannot be: ports, names, configurations.
    #[error("{0}")]
    Usage(String),
    /// The kernel refuses the program.
    #[error("{0}")]
    Rejected(Box<Rejected>),
    /// There is no such box.
    #[error("no box `{name}` is loaded{}", others(.known))]
    NotLoaded {
        /// The name that was given.
        name: String,
        /// The boxes that there are.
        known: Vec<String>,
    },
    /// What is pinned is not what was put there.
    #[error("{path}: {what}")]
    Pins {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The machine does not do something.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: String,
        /// Why not.
        error: std::io::Error,
    },
}

fn others(names: &[String]) -> String {
    if names.is_empty() { "; none is".to_string() } else { format!("; there are: {}", names.join(", ")) }
}

/// Says what was tried.
pub(crate) trait Tried<T> {
    /// Says what was tried.
    fn tried(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Tried<T> for std::io::Result<T> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|error| Error::System { what: what(), error })
    }
}

impl<T> Tried<T> for rustix::io::Result<T> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|error| Error::System { what: what(), error: error.into() })
    }
}

/// A program that the kernel's verifier refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The program.
    pub program: String,
    /// The line of the source that the instruction comes from, if the log tells: file, line, text.
    pub line: Option<(String, u32, String)>,
    /// The kernel's reason.
    pub reason: String,
    /// All that the kernel said.
    pub log: String,
}

impl std::fmt::Display for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the kernel refuses the program `{}`", self.program)?;
        if let Some((file, line, text)) = &self.line {
            write!(f, "\n  at {file}:{line}: {text}")?;
        }
        write!(f, "\n  because: {}", self.reason)
    }
}
