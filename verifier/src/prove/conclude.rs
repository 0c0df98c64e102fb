//! What random events showed and what proofs came to, as one report about a box.

use super::proof::Proof;
use super::run::{Site, Task, What};
use super::verdict::{Kind, Obligation, Report, Slice, Verdict};
use grv_lang::ir::validate::validate;
use grv_lang::ir::{Form, Program, Property};
use grv_lang::random::{Broken, Counterexample, Explored};
use grv_lang::span::Span;
use std::collections::{BTreeMap, BTreeSet};

/// The report about a box.
pub(super) fn conclude(task: &Task<'_>, explored: &Explored, proofs: &BTreeMap<What, Proof>, sites: &[Site]) -> Report {
    let mut obligations = properties(task, explored, proofs);
    if task.automatic {
        obligations.extend(by_construction(&task.program));
        obligations.extend(automatic(explored, proofs, sites));
    }
    obligations.sort_by(|a, b| (a.span.file, a.span.start, &a.name).cmp(&(b.span.file, b.span.start, &b.name)));
    number(&mut obligations);
    // Numbers do not depend on what is looked at.
    obligations.retain(|o| o.kind != Kind::Automatic || (task.wanted)(None, o.span));
    Report { obligations }
}

fn properties(task: &Task<'_>, explored: &Explored, proofs: &BTreeMap<What, Proof>) -> Vec<Obligation> {
    let mut obligations = Vec::new();
    for (index, property) in task.program.properties.iter().enumerate().filter(|(_, p)| (task.wanted)(Some(p), p.span)) {
        let refutation =
            explored.failures.iter().find(|c| matches!(&c.broken, Broken::Property(id, _) if id.0 as usize == index));
        let proof = proofs.get(&What::Property(index));
        let witness = explored.shown.get(index).copied().unwrap_or(false);
        let premise = proofs.get(&What::Premise(index)).map(Proof::verdict);
        let verdict = match (&property.assumed, refutation, proof) {
            (Some(reason), ..) => Verdict::Assumed(reason.clone()),
            (_, Some(found), _) => Verdict::Refuted(Box::new(found.clone())),
            (_, _, Some(proof)) => with_witness(proof.verdict(), &property.form, witness, premise.as_ref()),
            _ => not_looked_at(),
        };
        obligations.push(of_property(property, verdict, witness, proof));
    }
    obligations
}

fn of_property(property: &Property, verdict: Verdict, witness: bool, proof: Option<&Proof>) -> Obligation {
    Obligation {
        id: property.name.clone(),
        name: property.name.clone(),
        span: property.span,
        kind: kind(&property.form),
        rows: property.rows.clone(),
        gravel: property.gravel.clone(),
        sources: property.sources.clone(),
        verdict,
        witness,
        time_ms: proof.map_or(0, |p| p.time_ms),
        resource: proof.map_or(0, |p| p.resource),
        cached: proof.is_some_and(Proof::cached),
        slice: proof.map_or_else(Slice::default, |p| p.slice.clone()),
    }
}

/// What every program is obliged to and the validator of the core IR sees to: on all paths, before anything runs.
const VALIDATED: [(&str, &str); 4] = [
    ("every packet has one verdict", "M1"),
    ("only headers that are there are read", "M2"),
    ("steps are bounded", "M3"),
    ("memory is bounded by the capacities of tables", "M4"),
];

fn by_construction(program: &Program) -> Vec<Obligation> {
    let verdict = match validate(program) {
        Ok(()) => Verdict::Proved,
        Err(_) => Verdict::NotAttempted("the program is not valid".to_string()),
    };
    let obligation = |(name, row): (&str, &str)| Obligation {
        rows: vec![row.to_string()],
        ..plain(name.to_string(), program.span, verdict.clone(), None)
    };
    VALIDATED.into_iter().map(obligation).collect()
}

/// An obligation of every program.
fn plain(name: String, span: Span, verdict: Verdict, proof: Option<&Proof>) -> Obligation {
    Obligation {
        id: name.clone(),
        name,
        span,
        kind: Kind::Automatic,
        rows: Vec::new(),
        gravel: None,
        sources: Vec::new(),
        verdict,
        witness: true,
        time_ms: proof.map_or(0, |p| p.time_ms),
        resource: proof.map_or(0, |p| p.resource),
        cached: proof.is_some_and(Proof::cached),
        slice: proof.map_or_else(Slice::default, |p| p.slice.clone()),
    }
}

fn automatic(explored: &Explored, proofs: &BTreeMap<What, Proof>, sites: &[Site]) -> Vec<Obligation> {
    let defects: Vec<(&Counterexample, &grv_lang::interp::Defect)> = explored
        .failures
        .iter()
        .filter_map(|c| if let Broken::Defect(defect) = &c.broken { Some((c, defect)) } else { None })
        .collect();
    let refuted = |found: &Counterexample| Verdict::Refuted(Box::new(found.clone()));
    let mut obligations = Vec::new();
    for (index, site) in sites.iter().enumerate() {
        let proof = proofs.get(&What::Site(index));
        let rows: Vec<String> = site.row.into_iter().map(str::to_string).collect();
        if let Some(place) = &site.place {
            let seen = place.seen(&explored.cover);
            let verdict = proof.map_or_else(not_looked_at, |p| p.verdict());
            let verdict = if seen { Verdict::Proved } else { unseen(verdict, "no event was found that comes by") };
            obligations.push(Obligation { rows, witness: seen, ..plain(site.name.clone(), site.span, verdict, proof) });
            continue;
        }
        let found = defects.iter().find(|(_, defect)| defect.span == site.span);
        let verdict = match (found, proof) {
            (Some((found, _)), _) => refuted(found),
            (None, Some(proof)) => proof.verdict(),
            (None, None) => not_looked_at(),
        };
        obligations.push(Obligation { rows, ..plain(site.name.clone(), site.span, verdict, proof) });
    }
    // What the formulas do not speak of and yet happened.
    for (found, defect) in defects {
        if !obligations.iter().any(|o| o.span == defect.span) {
            obligations.push(plain(defect.kind.to_string(), defect.span, refuted(found), None));
        }
    }
    obligations
}

/// Numbers those that have the same name, in order.
fn number(obligations: &mut [Obligation]) {
    let mut taken = BTreeSet::new();
    for obligation in obligations {
        let mut count = 1;
        while !taken.insert(obligation.id.clone()) {
            count += 1;
            obligation.id = format!("{}#{count}", obligation.name);
        }
    }
}

fn not_looked_at() -> Verdict {
    Verdict::NotAttempted("it was not looked at".to_string())
}

/// What is to happen and was not seen to, by what came of the proof that it does not.
fn unseen(never: Verdict, why: &str) -> Verdict {
    match never {
        Verdict::Proved => Verdict::Unreachable,
        Verdict::NotInductive(_) => Verdict::Unknown(why.to_string()),
        other => other,
    }
}

/// A proof counts only if its premise was seen to hold; what can happen must have been seen.
fn with_witness(verdict: Verdict, form: &Form, witness: bool, premise: Option<&Verdict>) -> Verdict {
    match (form, verdict) {
        (Form::Reachable { .. }, _) if witness => Verdict::Proved,
        (Form::Reachable { .. }, verdict) => unseen(verdict, "no event was found that shows it"),
        (Form::Always { .. }, verdict) => verdict,
        (_, Verdict::Proved) if !witness => match premise {
            Some(Verdict::Proved) => Verdict::Vacuous,
            _ => Verdict::Unknown("it holds, but no example of its premise was found".to_string()),
        },
        (_, verdict) => verdict,
    }
}

fn kind(form: &Form) -> Kind {
    match form {
        Form::Always { .. } => Kind::Invariant,
        Form::Step { .. } => Kind::Step,
        Form::Persists { .. } => Kind::Persistence,
        Form::OnlyAfter { .. } => Kind::History,
        Form::Independent { .. } => Kind::Independence,
        Form::Bound { .. } => Kind::Bound,
        Form::Reachable { .. } => Kind::Reachable,
    }
}
