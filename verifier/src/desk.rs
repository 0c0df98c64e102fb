//! Where questions are answered: from what is known already, or by solvers, which are started when they are needed first. What one
//! solver does with one question costs only that question.

use crate::cache::{Cache, Key};
use crate::cross::{Cross, Opinion, script};
use crate::solve::{Answer, Identity, Question, Solver, SolverError, Status};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use thiserror::Error;

/// Why a run ends without verdicts.
#[derive(Debug, Error)]
pub enum Failure {
    /// There is no solver.
    #[error(transparent)]
    Solver(#[from] SolverError),
    /// Two solvers contradict each other.
    #[error("internal error: {first} says `{said}` and {second} says the contrary of: {about}")]
    Disagreement {
        /// The first solver.
        first: String,
        /// The second.
        second: String,
        /// What the first says.
        said: &'static str,
        /// What the question is about.
        about: String,
    },
    /// The second solver, or a file, could not be used.
    #[error("{0}")]
    Usage(String),
    /// A bug.
    #[error("internal error: {0}")]
    Internal(String),
}

/// What is shared by all who ask.
#[derive(Debug)]
pub struct Desk {
    program: PathBuf,
    /// The solver.
    pub identity: Identity,
    /// What was found out before.
    pub cache: Cache,
    /// A second solver, if answers are to be checked.
    pub cross: Option<Cross>,
    /// Where questions are written to.
    pub smt2: Option<PathBuf>,
    /// Solvers that were started and that nobody uses.
    spare: Mutex<Vec<Solver>>,
    /// What was found out in this run.
    known: Mutex<BTreeMap<Key, Answer>>,
}

/// An answer, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    unsat: bool,
    resource: u64,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// An answer; whether a solver had to be asked for it.
    Answer(Answer, bool),
    /// The cache is frozen, and it is not in it.
    NotKept,
}

impl Desk {
    /// A desk. A solver is started to learn who it is: without one nothing is proved, whatever the cache says.
    pub fn open(program: PathBuf, cache: Cache, cross: Option<Cross>, smt2: Option<PathBuf>) -> Result<Desk, SolverError> {
        let solver = Solver::start(&program)?;
        let identity = solver.identity.clone();
        Ok(Desk { program, identity, cache, cross, smt2, spare: Mutex::new(vec![solver]), known: Mutex::default() })
    }

    /// A place to ask from, one for each thread.
    pub fn seat(&self) -> Seat<'_> {
        Seat { desk: self, solver: None }
    }

    /// Whether every question must be made, because something is done with each.
    pub fn shows_questions(&self) -> bool {
        self.cross.is_some() || self.smt2.is_some()
    }

    fn key(&self, question: &Question) -> Key {
        let Identity { name, version, options, .. } = &self.identity;
        let mut seed = question.seed.to_le_bytes().to_vec();
        seed.push(question.older.into());
        let tool = env!("CARGO_PKG_VERSION");
        let parts = ["question", tool, name, version, options, &question.text].map(str::as_bytes);
        Key::new(&[parts[0], parts[1], parts[2], parts[3], parts[4], parts[5], &seed])
    }
}

/// A place to ask from.
#[derive(Debug)]
pub struct Seat<'d> {
    desk: &'d Desk,
    solver: Option<Solver>,
}

impl Drop for Seat<'_> {
    /// Leaves the solver to who comes next.
    fn drop(&mut self) {
        self.desk.spare.lock().unwrap_or_else(PoisonError::into_inner).extend(self.solver.take());
    }
}

impl Seat<'_> {
    /// Asks a question; `about` says of what, `name` is for files.
    pub fn ask(&mut self, question: &Question, about: &str, name: &str) -> Result<Reply, Failure> {
        let reply = self.look_up_or_ask(question)?;
        // Who wants a model tries it out: no proof rests on it.
        if let Reply::Answer(answer, _) = &reply
            && !question.model
        {
            self.write(question, answer, about, name)?;
            self.check(question, answer, about)?;
        }
        Ok(reply)
    }

    fn look_up_or_ask(&mut self, question: &Question) -> Result<Reply, Failure> {
        // A model is for a search, which looks at it once.
        if question.model {
            return self.solve(question).map(|answer| Reply::Answer(answer, true));
        }
        let key = self.desk.key(question);
        let in_run = self.desk.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let kept = || {
            let Kept { unsat, resource } = self.desk.cache.get(&key)?;
            let status = if unsat { Status::Unsat } else { Status::Sat };
            Some(Answer { status, resource, model: BTreeMap::new() })
        };
        // What cost more than may be spent now would not be found out now: verdicts depend on the budget, not on the past.
        let affordable = |answer: &Answer| answer.resource <= question.budget.into();
        if let Some(answer) = in_run.or_else(kept).filter(affordable) {
            return Ok(Reply::Answer(answer, false));
        }
        if self.desk.cache.frozen() {
            return Ok(Reply::NotKept);
        }
        let answer = self.solve(question)?;
        if let Status::Unsat | Status::Sat = answer.status {
            self.desk.cache.put(&key, &Kept { unsat: answer.status == Status::Unsat, resource: answer.resource });
            self.desk.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, answer.clone());
        }
        Ok(Reply::Answer(answer, true))
    }

    /// Asks the solver of this seat. One that dies, hangs or says nonsense is replaced, and the question stays open.
    fn solve(&mut self, question: &Question) -> Result<Answer, Failure> {
        let mut solver = match self.solver.take() {
            Some(solver) => solver,
            None => self.start()?,
        };
        match solver.ask(question) {
            Ok(answer) => {
                self.solver = Some(solver);
                Ok(answer)
            }
            Err(error @ (SolverError::Gone(_) | SolverError::Overtime(_))) => {
                Ok(Answer { status: Status::Unknown(error.to_string()), resource: 0, model: BTreeMap::new() })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn start(&self) -> Result<Solver, Failure> {
        if let Some(solver) = self.desk.spare.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(solver);
        }
        let solver = Solver::start(&self.desk.program)?;
        if solver.identity != self.desk.identity {
            return Err(SolverError::Replaced.into());
        }
        Ok(solver)
    }

    fn write(&self, question: &Question, answer: &Answer, about: &str, name: &str) -> Result<(), Failure> {
        let Some(folder) = &self.desk.smt2 else { return Ok(()) };
        let Identity { name: solver, version, .. } = &self.desk.identity;
        let said = format!("{solver} {version} says: {}", word(&answer.status));
        let comments = [about.to_string(), "expected, if it holds: unsat".to_string(), said];
        let path = folder.join(format!("{name}.smt2"));
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, script(&question.text, &comments)))
            .map_err(|e| Failure::Usage(format!("{}: {e}", path.display())))
    }

    fn check(&self, question: &Question, answer: &Answer, about: &str) -> Result<(), Failure> {
        let (Some(cross), Status::Unsat | Status::Sat) = (&self.desk.cross, &answer.status) else { return Ok(()) };
        match cross.opinion(&question.text, &answer.status).map_err(Failure::Usage)? {
            Opinion::Contrary => Err(Failure::Disagreement {
                first: format!("{} {}", self.desk.identity.name, self.desk.identity.version),
                second: cross.version.clone(),
                said: word(&answer.status),
                about: about.to_string(),
            }),
            Opinion::Same | Opinion::None => Ok(()),
        }
    }
}

fn word(status: &Status) -> &'static str {
    match status {
        Status::Unsat => "unsat",
        Status::Sat => "sat",
        Status::Budget => "unknown (budget)",
        Status::Unknown(_) => "unknown",
    }
}
