//! Object files, and what their manifests say. Everything that is read is checked before it is used: whatever the bytes, there is an
//! answer or an error.

use crate::error::Error;
use grv_codegen::ebpf::{Hook, MANIFEST, Manifest, SCHEMA, TableInfo, memory};
use grv_lang::compile::compile;
use grv_lang::config::{self, Settings};
use grv_lang::diagnostics::Severity;
use grv_lang::interp::with_defaults;
use grv_lang::ir::{Param, Program, Table};
use grv_lang::source::{Loader, SourceMap};
use object::{Object as _, ObjectSection as _};
use std::path::Path;
use std::sync::Arc;

/// An object file that can be loaded.
#[derive(Clone, Debug)]
pub struct Object {
    /// The file.
    pub bytes: Vec<u8>,
    /// What it says of itself.
    pub description: Description,
}

impl Object {
    /// Reads an object file.
    pub fn read(bytes: Vec<u8>) -> Result<Object, Error> {
        let description = Description::new(Object::manifest(&bytes)?)?;
        Ok(Object { bytes, description })
    }

    /// What an object file says of itself.
    pub(crate) fn manifest(bytes: &[u8]) -> Result<Manifest, Error> {
        let bad = |what: String| Error::Object(format!("this is no object of `grv build --target ebpf`: {what}"));
        let file = object::File::parse(bytes).map_err(|e| bad(e.to_string()))?;
        let section = file.section_by_name(MANIFEST).ok_or_else(|| bad("it has no manifest".to_string()))?;
        let manifest = section.data().map_err(|e| bad(e.to_string()))?;
        serde_json::from_slice(manifest).map_err(|e| bad(format!("its manifest: {e}")))
    }
}

/// A manifest, and the program that it speaks of.
#[derive(Clone, Debug)]
pub struct Description {
    /// What the artefact says of itself.
    pub manifest: Manifest,
    /// The core IR of what it was built from.
    pub program: Arc<Program>,
    /// The text of its sources.
    pub sources: Arc<SourceMap>,
}

impl Description {
    /// Checks a manifest, and compiles the sources that it holds.
    pub fn new(manifest: Manifest) -> Result<Description, Error> {
        let bad = |what: String| Error::Object(format!("the manifest of `{}` is not right: {what}", manifest.middlebox));
        if manifest.schema_version != SCHEMA || manifest.target != "ebpf" || Hook::named(&manifest.program_type).is_none() {
            let form = format!("form {}, {} for {}", manifest.schema_version, manifest.program_type, manifest.target);
            return Err(bad(format!("this version of grv does not know it ({form}, by {})", manifest.compiler)));
        }
        for source in &manifest.sources {
            let digest = format!("blake3:{}", blake3::hash(source.text.as_bytes()).to_hex());
            if digest != source.digest {
                return Err(bad(format!("the text of {} is not the one that it was built from", source.path)));
            }
        }
        let (program, sources) = compiled(&manifest).map_err(bad)?;
        for info in &manifest.tables {
            let declared = program.tables.get(info.table as usize).filter(|table| table.name == info.name);
            let declared = declared.ok_or_else(|| bad(format!("the program has no table `{}`", info.name)))?;
            if !memory::fits(info) || !columns_agree(info, declared) {
                return Err(bad(format!("table `{}` is not kept as the program declares it", info.name)));
            }
        }
        let numbers: usize = program.params.iter().map(|param| param.columns.len()).sum();
        if manifest.parameters.len() != numbers || manifest.ports.len() != program.ports.len() {
            return Err(bad("its parameters or ports are not the program's".to_string()));
        }
        Ok(Description { manifest, program, sources: Arc::new(sources) })
    }

    /// Whether it is attached at XDP.
    pub(crate) fn is_xdp(&self) -> bool {
        Hook::named(&self.manifest.program_type) == Some(Hook::Xdp)
    }

    /// Whether all was proved when it was built.
    pub fn proved(&self) -> bool {
        self.manifest.status == "proved"
    }

    /// By parameter: the numbers that are built in, if they are.
    pub(crate) fn built_in(&self) -> Vec<Option<Vec<u128>>> {
        let mut numbers = self.manifest.parameters.iter();
        let of = |param: &Param| {
            // All of its numbers are taken, whether they are built in or not.
            let own: Vec<Option<u64>> = numbers.by_ref().take(param.columns.len()).map(|number| number.fixed).collect();
            own.into_iter().map(|number| number.map(u128::from)).collect()
        };
        self.program.params.iter().map(of).collect()
    }

    /// All parameters: those that are given, those that are built in, and those with a default.
    pub(crate) fn params(&self, given: &[Option<Vec<u128>>]) -> Result<Vec<Vec<u128>>, Error> {
        let mut all = given.to_vec();
        for ((value, fixed), param) in all.iter_mut().zip(self.built_in()).zip(&self.program.params) {
            let Some(fixed) = fixed else { continue };
            if value.as_ref().is_some_and(|value| *value != fixed) {
                let what = format!("`{}` was built with another `{}`", self.manifest.middlebox, param.name);
                return Err(Error::Usage(format!("{what}: build it again with this configuration, or without one")));
            }
            *value = Some(fixed);
        }
        with_defaults(&self.program, &all).map_err(|e| Error::Usage(format!("{e}: give it in a configuration (--config)")))
    }

    /// Reads a configuration.
    pub fn settings(&self, bytes: &[u8]) -> Result<Settings, Error> {
        config::parse(bytes, &self.program).map_err(|e| Error::Usage(e.to_string()))
    }

    /// A table's declaration.
    pub fn table(&self, info: &TableInfo) -> &Table {
        // `new` has seen that it is there.
        &self.program.tables[info.table as usize]
    }
}

/// Whether keys and values have the numbers that are declared.
fn columns_agree(info: &TableInfo, declared: &Table) -> bool {
    match info.keeping {
        "prefixes" => declared.key.len() == 2 && info.value.len() == declared.value.len(),
        "control array" | "control globals" | "control blocks" | "control rows" => info.value.len() == declared.value.len(),
        "buckets" => info.key.len() == declared.key.len(),
        "counters" => true,
        // A set's value is there without a number of its own.
        "control" => info.key.len() == declared.key.len() && info.value.len() >= declared.value.len(),
        _ => info.key.len() == declared.key.len() && info.value.len() == declared.value.len(),
    }
}

/// Compiles what an artefact was built from.
fn compiled(manifest: &Manifest) -> Result<(Arc<Program>, SourceMap), String> {
    let root = manifest.sources.first().ok_or("it names no sources")?;
    let compilation = compile(&root.path, root.text.as_bytes(), &Embedded(manifest));
    if let Some(error) = compilation.diagnostics.iter().find(|d| d.severity() == Severity::Error) {
        let place = compilation.sources.place(error.primary.span);
        return Err(format!("this version of grv finds an error in its source, at {place}: {}", error.message));
    }
    let texts = compilation.sources.files().iter().map(|file| (file.path.as_str(), file.text.as_str()));
    if !texts.eq(manifest.sources.iter().map(|source| (source.path.as_str(), source.text.as_str()))) {
        return Err("it was built with other modules than this version of grv finds".to_string());
    }
    let found = compilation.boxes.iter().find(|program| program.name == manifest.middlebox).cloned();
    let program = found.ok_or_else(|| "its source does not declare it".to_string())?;
    Ok((program, compilation.sources))
}

/// Modules as they were found when the artefact was built.
struct Embedded<'m>(&'m Manifest);

impl Loader for Embedded<'_> {
    fn load(&self, module: &[&str], from: &str) -> Option<(String, Vec<u8>)> {
        let file: std::path::PathBuf = module.iter().collect::<std::path::PathBuf>().with_extension("grv");
        let at = |path: &Path| self.0.sources.iter().find(|source| Path::new(&source.path) == path);
        let near = Path::new(from).ancestors().skip(1).find_map(|folder| at(&folder.join(&file)));
        // One path may have been written from the working directory, another from the root.
        let any = || {
            let mut all = self.0.sources.iter().filter(|source| Path::new(&source.path).ends_with(&file));
            all.next().filter(|_| all.next().is_none())
        };
        near.or_else(any).map(|source| (source.path.clone(), source.text.clone().into_bytes()))
    }
}
