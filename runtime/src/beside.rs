//! Programs beside a box's own, over its maps. They are made of what the manifest holds: the sources, and how the box was built.

use crate::error::{Error, Tried};
use crate::installed::Installed;
use crate::object::{Description, Object};
use crate::{hook, load, pins, sys};
use aya::maps::Map;
use aya::{Ebpf, EbpfLoader};
use grv_codegen::ebpf::{Hook, Manifest, Options, Proofs, Variable, build};
use std::num::NonZeroU32;
use std::path::PathBuf;

/// How a box was built. It is built so once more: if that is not what was loaded, what else is built would not fit its maps.
pub(crate) fn options(of: &Description) -> Result<Options, Error> {
    let manifest = &of.manifest;
    let another = |what: &str| {
        Error::Usage(format!(
            "`{}` was built by another version of grv ({what}); `grv load --replace` replaces it by a build of this one",
            manifest.middlebox
        ))
    };
    let kernel = manifest.kernel.parse().map_err(|e: String| another(&e))?;
    let hook = Hook::named(&manifest.program_type).ok_or_else(|| another("for another hook"))?;
    let hz = manifest.hz.and_then(NonZeroU32::new);
    let options = Options { kernel, hook, hz, checks: manifest.checks_at_run_time, params: of.built_in(), ..Options::default() };
    let built = build(&of.program, &of.sources, &options, &Proofs::default());
    let built = built.map_err(|found| another(&found.iter().map(|d| d.message.clone()).collect::<Vec<_>>().join("; ")))?;
    if !same(&Object::manifest(&built.object)?, manifest) {
        return Err(another("it compiles the program to other code"));
    }
    Ok(options)
}

/// Whether two builds have the same program, by all that their manifests say of it.
fn same(a: &Manifest, b: &Manifest) -> bool {
    let of = |manifest: &Manifest| {
        let mut value = serde_json::to_value(manifest).unwrap_or_default();
        if let Some(members) = value.as_object_mut() {
            // What was proved, and by whom, is not of the program.
            for name in ["compiler", "status", "solver", "claims", "sources"] {
                members.remove(name);
            }
        }
        value
    };
    of(a) == of(b)
}

/// Has the kernel take a program, over the maps of a box. Maps that the box does not have are new.
pub(crate) fn load(object: &[u8], program: &str, installed: &Installed) -> Result<Ebpf, Error> {
    let manifest = &installed.description.manifest;
    let bug = |what: &str| Error::Object(format!("a bug: the program `{program}` does not fit the box: {what}"));
    // The loader would set the variables of a section that is pinned to what they are at first, those of a running box.
    let is_section = |name: &&str| name.starts_with('.');
    let (sections, maps): (Vec<&str>, Vec<&str>) =
        manifest.budget.maps.iter().map(|(name, ..)| name.as_str()).partition(is_section);
    let shared: Vec<(&str, PathBuf)> = maps.into_iter().map(|name| (name, installed.folder.join(pins::map(name)))).collect();
    let constants = constants(installed)?;
    let mut loader = EbpfLoader::new();
    loader.btf(None).verifier_log_level(load::LOG);
    for (name, bytes) in &constants {
        loader.override_global(name, bytes.as_slice(), true);
    }
    for (name, path) in &shared {
        loader.map_pin_path(name, path.as_path());
    }
    let mut ebpf = loader.load(object).map_err(|e| bug(&e.to_string()))?;
    // Variables that packets and the control plane change are the box's, too.
    let mut changed: Vec<&str> = manifest.variables.iter().map(|variable| variable.section).collect();
    changed.retain(|section| section.starts_with(".data"));
    changed.dedup();
    for section in changed.into_iter().chain(sections) {
        let Some(Map::Array(map)) = ebpf.map(section) else { return Err(bug("a section is no array")) };
        sys::stand_in(&installed.map(section)?, map).tried(|| format!("the variables in `{section}` cannot be shared"))?;
    }
    hook::verify(&mut ebpf, program)?;
    Ok(ebpf)
}

/// The constants of a box, as they were given to the kernel.
fn constants(installed: &Installed) -> Result<Vec<(&str, Vec<u8>)>, Error> {
    let section = ".rodata";
    let variables = installed.description.manifest.variables.iter().filter(|variable| variable.section == section);
    let bytes = installed.map(section)?.get(&[0; 4]).tried(|| "the constants cannot be read".to_string())?.unwrap_or_default();
    let of = |variable: &Variable| {
        let from = usize::from(variable.offset);
        let bytes = bytes.get(from..from + usize::from(variable.bytes)).map(<[u8]>::to_vec);
        let path = installed.folder.join(pins::map(section));
        bytes.ok_or_else(|| Error::Pins { path, what: "constants are missing".to_string() })
    };
    variables.map(|variable| Ok((variable.name.as_str(), of(variable)?))).collect()
}
