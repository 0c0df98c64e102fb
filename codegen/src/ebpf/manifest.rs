//! What an artefact says of itself: what it was made from, what is proved of it, what its loader has to know.

use super::lower::Lowered;
use super::{Budget, Options, Parameter, TableInfo, Variable};
use grv_lang::ir::{Program, SKEW};
use grv_lang::source::{SourceFile, SourceMap};
use serde::{Deserialize, Serialize};

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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of what follows: [`SCHEMA`].
    pub schema_version: u32,
    /// Who built it.
    pub compiler: String,
    /// `ebpf`.
    pub target: String,
    /// `xdp` or `tc`.
    pub program_type: String,
    /// The name of the program in the object.
    pub program: String,
    /// The oldest kernel that it was built for.
    pub kernel: String,
    /// The orders of loads and stores that it relies on.
    pub memory_model: String,
    /// Nanoseconds by which the clocks of processors may differ.
    pub clock_skew_ns: u64,
    /// Ticks of the kernel's coarse clock a second, if lifetimes are told by it: on another kernel they would be others.
    pub hz: Option<u32>,
    /// Whether a test can set its clock: such a build is for tests only.
    pub probe: bool,
    /// The middlebox.
    pub middlebox: String,
    /// What it was built from, the program first.
    pub sources: Vec<Source>,
    /// `proved` or `unproved`; nothing else makes it say proved than proofs of all obligations.
    pub status: String,
    /// Checks that were not proved are made when it runs.
    pub checks_at_run_time: bool,
    /// Name and version of the solver.
    pub solver: String,
    /// Each obligation with its verdict.
    pub claims: Vec<Claim>,
    /// Its ports.
    pub ports: Vec<PortInfo>,
    /// Maps of ports that packets are sent to at once.
    pub groups: Vec<Group>,
    /// Variables that hold parameters.
    pub parameters: Vec<Parameter>,
    /// All global variables.
    pub variables: Vec<Variable>,
    /// How its tables are kept.
    pub tables: Vec<TableInfo>,
    /// Names of what `drops` counts: of port p, counter (p + 1) * reasons + reason; the first are of what arrived at none.
    pub drops: Vec<String>,
    /// What it needs.
    pub budget: Budget,
}

/// The form of manifests that this version writes and reads.
pub const SCHEMA: u32 = 7;

/// A file that an artefact was built from. Its text goes with the artefact: whoever loads it finds out from there how values are written,
/// and what is required of tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its path.
    pub path: String,
    /// A name for its contents.
    pub digest: String,
    /// Its contents.
    pub text: String,
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortInfo {
    /// Its name.
    pub name: String,
    /// The variable that holds the number of its interface, if packets arrive there.
    pub interface: Option<String>,
    /// Its index in the map `ports`, if packets are sent there.
    pub index: Option<u32>,
}

/// A map of ports that packets are sent to at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The map.
    pub map: String,
    /// The ports in it, by index.
    pub ports: Vec<String>,
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
        let source = |file: &SourceFile| Source { path: file.path.clone(), digest: digest(&file.path), text: file.text.clone() };
        let port = |(index, port): (usize, &grv_lang::ir::Port)| PortInfo {
            name: port.name.clone(),
            interface: lowered.interfaces.get(index).cloned().flatten(),
            index: (port.name != "host").then_some(index as u32),
        };
        Manifest {
            schema_version: SCHEMA,
            compiler: format!("grv {}", env!("CARGO_PKG_VERSION")),
            target: "ebpf".to_string(),
            program_type: options.hook.name().to_string(),
            program: lowered.function.name.clone(),
            kernel: options.kernel.name().to_string(),
            memory_model: "total store order".to_string(),
            clock_skew_ns: SKEW,
            hz: lowered.tables.iter().any(|table| table.clock.coarse).then_some(options.hz).flatten().map(Into::into),
            probe: options.probe,
            middlebox: program.name.clone(),
            sources: sources.files().iter().map(source).collect(),
            status: if proofs.complete() { "proved" } else { "unproved" }.to_string(),
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
