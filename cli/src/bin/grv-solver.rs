//! Answers questions in SMT-LIB 2 with Z3. `grv verify` runs it as a process of its own, so that a library that is missing, a
//! question without end or a crash is an answer too. One line of JSON comes in for each question, and one goes out.

use grv_verifier::solve::{Answer, Identity, Numbered, Question, Status};
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use z3::ast::Ast;
use z3::{Model, Params, SatResult, Solver, Tactic};

/// The oldest Z3 that the bindings speak to.
const OLDEST: (u32, u32, u32) = (4, 13, 3);

/// How it searches: values that are given are put in before, four times as fast as the solver's own preparation.
const TACTICS: [&str; 3] = ["simplify", "solve-eqs", "smt"];

fn main() -> std::io::Result<()> {
    let (input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let version = z3::full_version().trim_start_matches("Z3 ").to_string();
    let numbers: Vec<u32> = version.split(['.', ' ']).map_while(|n| n.parse().ok()).collect();
    let new_enough = matches!(numbers[..], [a, b, c, ..] if (a, b, c) >= OLDEST);
    let identity = Identity { name: "z3".to_string(), version, options: TACTICS.join(" "), new_enough };
    // The first line says who answers.
    writeln!(output, "{}", serde_json::to_string(&identity)?)?;
    output.flush()?;
    for line in input.lines() {
        // What is no question gets an answer that fits none.
        let answer = match serde_json::from_str::<Numbered<Question>>(&line?) {
            Ok(Numbered { number, content }) => Numbered { number, content: answer(&content) },
            Err(error) => {
                let status = Status::Unknown(format!("no question: {error}"));
                Numbered { number: u64::MAX, content: Answer { status, resource: 0, model: BTreeMap::new() } }
            }
        };
        writeln!(output, "{}", serde_json::to_string(&answer)?)?;
        output.flush()?;
    }
    Ok(())
}

/// Each question has all of the solver to itself, so that what it costs does not depend on those before it.
fn answer(question: &Question) -> Answer {
    z3::with_z3_config(&z3::Config::new(), || ask(question))
}

fn ask(question: &Question) -> Answer {
    let [first, second, third] = TACTICS.map(Tactic::new);
    let solver = first.and_then(&second).and_then(&third).solver();
    let mut params = Params::new();
    params.set_u32("rlimit", question.budget);
    params.set_u32("random_seed", question.seed);
    if question.older {
        params.set_u32("smt.arith.solver", 2);
    }
    solver.set_params(&params);
    solver.from_string(question.text.as_bytes().to_vec());
    // A text that cannot be read would be a question about nothing.
    let asserted = question.text.lines().filter(|line| line.starts_with("(assert ")).count();
    if solver.get_assertions().len() != asserted {
        let status = Status::Unknown("the solver did not understand the question".to_string());
        return Answer { status, resource: 0, model: BTreeMap::new() };
    }
    let before = spent(&solver);
    let result = solver.check();
    let resource = spent(&solver).saturating_sub(before);
    let (status, model) = match result {
        SatResult::Unsat => (Status::Unsat, BTreeMap::new()),
        SatResult::Sat => (Status::Sat, solver.get_model().filter(|_| question.model).map_or_else(BTreeMap::new, |m| values(&m))),
        SatResult::Unknown => {
            let reason = solver.get_reason_unknown().unwrap_or_default();
            let out = reason.contains("resource") || reason.contains("canceled");
            (if out { Status::Budget } else { Status::Unknown(reason) }, BTreeMap::new())
        }
    };
    Answer { status, resource, model }
}

/// The values of the constants in a model.
fn values(model: &Model) -> BTreeMap<String, String> {
    let constants = model.iter().filter(|function| function.arity() == 0);
    constants
        .filter_map(|function| {
            // What was defined has terms for values, of any size.
            let value = model.get_const_interp(&function.apply(&[])).filter(|value| value.num_children() == 0)?;
            Some((function.name(), value.to_string()))
        })
        .collect()
}

/// Resource units that the solver has used up.
fn spent(solver: &Solver) -> u64 {
    match solver.get_statistics().value("rlimit count") {
        Some(z3::StatisticsValue::UInt(units)) => units.into(),
        Some(z3::StatisticsValue::Double(units)) => units as u64,
        None => 0,
    }
}
