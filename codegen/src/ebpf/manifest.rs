//! What an artefact says of itself: what it was made from, what is proved of it, what its loader has to know.

use super::lower::Lowered;
use super::{Budget, Options, Parameter, TableInfo, Variable};
use grv_lang::ir::Program;
use grv_lang::source::SourceMap;
use serde::Serialize;

/// What is known of a program's obligations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proofs {
    /// Each obligation with its verdict, in the order of the report. None: nothing was verified.
    pub claims: Option<Vec<Claim>>,
    /// Name and version of the solver.
    pub solver: String,
    /// A name for the contents of each source file.
    pub digests: Vec<(String, String)>,
}

/// An obligation and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Claim {
    /// Its name.
    pub name: String,
    /// What kind of obligation it is.
    pub kind: String,
    /// Rows of the checklist that it covers.
    pub rows: Vec<String>,
    /// What became of it: `proved`, ...
    pub verdict: String,
    /// Why it may be assumed, if it is.
    pub assumed: Option<String>,
}

impl Proofs {
    /// Whether all was proved, and nothing assumed.
    pub fn complete(&self) -> bool {
        self.claims.as_ref().is_some_and(|claims| claims.iter().all(|claim| claim.verdict == "proved"))
    }
}

/// What an artefact says of itself.
#[derive(Clone, Debug, Serialize)]
pub struct Manifest {
    schema_version: u32,
    compiler: String,
    target: &'static str,
    program_type: &'static str,
    kernel: &'static str,
    /// The orders of loads and stores that it relies on.
    memory_model: &'static str,
    clock_skew_ns: u64,
    /// Whether a test can set its clock: such a build is for tests only.
    probe: bool,
    middlebox: String,
    sources: Vec<Source>,
    /// `proved` or `unproved`; nothing else makes it say proved than proofs of all obligations.
    status: &'static str,
    /// Checks that were not proved are made when it runs.
    checks_at_run_time: bool,
    solver: String,
    claims: Vec<Claim>,
    ports: Vec<PortInfo>,
    groups: Vec<Group>,
    parameters: Vec<Parameter>,
    variables: Vec<Variable>,
    tables: Vec<TableInfo>,
    /// Names of what `drops` counts, by index.
    drops: Vec<String>,
    budget: Budget,
}

#[derive(Clone, Debug, Serialize)]
struct Source {
    path: String,
    digest: String,
}

#[derive(Clone, Debug, Serialize)]
struct PortInfo {
    name: String,
    /// The variable that holds the number of its interface, if packets arrive there.
    interface: Option<String>,
    /// Its index in the map `ports`, if packets are sent there.
    index: Option<usize>,
}

#[derive(Clone, Debug, Serialize)]
struct Group {
    map: String,
    ports: Vec<String>,
}

impl Manifest {
    pub(crate) fn new(
        program: &Program,
        sources: &SourceMap,
        options: &Options,
        proofs: &Proofs,
        lowered: &Lowered,
        budget: &Budget,
    ) -> Manifest {
        let digest = |path: &str| proofs.digests.iter().find(|(p, _)| p == path).map_or_else(String::new, |(_, d)| d.clone());
        let port = |(index, port): (usize, &grv_lang::ir::Port)| PortInfo {
            name: port.name.clone(),
            interface: lowered.interfaces.get(index).cloned().flatten(),
            index: (port.name != "host").then_some(index),
        };
        Manifest {
            schema_version: 1,
            compiler: format!("grv {}", env!("CARGO_PKG_VERSION")),
            target: "ebpf",
            program_type: "xdp",
            kernel: options.kernel.name(),
            memory_model: "total store order",
            clock_skew_ns: options.skew,
            probe: options.probe,
            middlebox: program.name.clone(),
            sources: sources.files().iter().map(|f| Source { path: f.path.clone(), digest: digest(&f.path) }).collect(),
            status: if proofs.complete() { "proved" } else { "unproved" },
            checks_at_run_time: options.checks,
            solver: proofs.solver.clone(),
            claims: proofs.claims.clone().unwrap_or_default(),
            ports: program.ports.iter().enumerate().map(port).collect(),
            groups: lowered.groups.iter().map(|(map, ports)| Group { map: map.clone(), ports: ports.clone() }).collect(),
            parameters: lowered.parameters.clone(),
            variables: super::variables(&lowered.maps),
            tables: lowered.tables.clone(),
            drops: lowered.reasons.clone(),
            budget: budget.clone(),
        }
    }

    /// As JSON.
    pub fn json(&self) -> Vec<u8> {
        // Strings and numbers only: nothing in it can fail to be written.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }
}
