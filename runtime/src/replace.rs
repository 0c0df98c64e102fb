//! A running box is replaced by another version of it. Tables that both versions keep in the same way are handed over; if live entries would be
//! lost, or if they may not be what the new version relies on, nothing is replaced, and it is said why.
//!
//! For the instant of the change all ports are closed (`takeover`), and it is waited until no step of the old version is left. So no step of one
//! version meets a step of the other, and what the old one's variables hold is handed over as it is.

use crate::control::quiet;
use crate::error::{Error, Tried};
use crate::installed::Installed;
use crate::load::{into_kernel, loadable};
use crate::object::{Description, Object};
use crate::pins::{self, Pins};
use crate::state::{Life, length};
use crate::sweep;
use crate::takeover::{self, Gate};
use grv_codegen::ebpf::{Hook, TableInfo};
use grv_lang::config::Settings;
use grv_lang::interp::TableUpdate;
use grv_lang::ir::print::print_property;
use grv_lang::ir::{Form, Lifetime, Role, TableId};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Replaces a box by another version of it, at the same ports. Parameters and control tables that the settings do not give stay as they are.
/// `discard`: entries that cannot be handed over are lost.
pub fn replace(
    pins: &Pins,
    object: &Object,
    name: &str,
    settings: &Settings,
    discard: bool,
) -> Result<(Installed, Vec<String>), Error> {
    loadable(object)?;
    let old = Installed::open(pins, name)?;
    let new = &object.description;
    let names = |of: &Description| of.manifest.ports.iter().map(|port| port.name.clone()).collect::<Vec<String>>();
    if names(&old.description) != names(new) {
        let what = format!(
            "`{name}` has the ports {}, the new version has {}",
            names(&old.description).join(", "),
            names(new).join(", ")
        );
        return Err(Error::Usage(what));
    }
    if old.description.manifest.program_type != new.manifest.program_type {
        let (before, now) = (&old.description.manifest.program_type, &new.manifest.program_type);
        return Err(Error::Usage(format!("`{name}` is attached at {before}, and the new version was built for {now}")));
    }
    let handing = Handing::between(&old, new)?;
    if !discard && !handing.obstacles.is_empty() {
        let list: String = handing.obstacles.iter().map(|obstacle| format!("\n  {obstacle}")).collect();
        return Err(Error::Usage(format!("`{name}` cannot be replaced without losing what it holds:{list}")));
    }
    let (kept, trusted) = if handing.trusted { (handing.kept, true) } else { (Vec::new(), false) };
    // Two tables may be in one map.
    let maps = kept.iter().flat_map(|(new, before)| new.maps().cloned().zip(before.maps().cloned()));
    let shared: BTreeMap<String, PathBuf> = maps.map(|(new, before)| (new, old.folder.join(pins::map(&before)))).collect();
    let shared: Vec<(String, PathBuf)> = shared.into_iter().collect();
    let folder = pins.next(name)?;
    let installed = Installed {
        name: name.to_string(),
        description: new.clone(),
        ports: old.ports.clone(),
        mode: old.mode,
        params: old.params_for(new, settings)?,
        folder: folder.clone(),
    };
    let mut ebpf = into_kernel(object, &installed.ports, &installed.params, &shared)?;
    let mut undo = Settled { pins, name, done: false };
    installed.prepare(&mut ebpf)?;
    let settings = Settings { tables: old.tables_for(new, settings)?, ..settings.clone() };
    installed.begin(&settings)?;
    let links = old.links()?;

    let warnings = sweep::begin(&installed).into_iter().collect();

    let hook = Hook::named(&new.manifest.program_type).unwrap_or_default();
    let gate = Gate::close(&links, &old.folder, &folder, hook)?;
    quiet()?;
    if trusted {
        installed.take_variables(&old)?;
    }
    gate.decide()?;
    undo.done = true;
    takeover::complete(pins, name)?;
    Ok((Installed::open(pins, name)?, warnings))
}

/// Has the old version go on unless all went well.
struct Settled<'p> {
    pins: &'p Pins,
    name: &'p str,
    done: bool,
}

impl Drop for Settled<'_> {
    fn drop(&mut self) {
        if !self.done {
            // It fails already, and says why; what cannot be done now is done by the next command.
            let _settled = takeover::settle(self.pins, self.name);
        }
    }
}

/// What can be handed over, and what stands in the way.
struct Handing {
    /// Tables of the new version whose maps stay, each with that of the old one.
    kept: Vec<(TableInfo, TableInfo)>,
    /// Whether what the old version left is what the new one relies on.
    trusted: bool,
    obstacles: Vec<String>,
}

impl Handing {
    fn between(old: &Installed, new: &Description) -> Result<Handing, Error> {
        let mut handing = Handing { kept: Vec::new(), trusted: true, obstacles: Vec::new() };
        let mut holds = false;
        for info in &old.description.manifest.tables {
            let declared = old.description.table(info);
            if !matches!(declared.role, Role::State | Role::Feed) || info.keeping == "cell" {
                continue;
            }
            let counts = info.keeping == "counters";
            let live =
                if counts { 0 } else { old.table_state(info)?.entries.iter().filter(|entry| entry.life != Life::Dead).count() };
            let successor = new.manifest.tables.iter().find(|of| of.name == info.name);
            let same = match successor {
                None => Err("the new version has no such table".to_string()),
                Some(successor) => same(&old.description, info, new, successor),
            };
            holds |= live > 0 && declared.role == Role::State;
            match (same, successor) {
                (Ok(()), Some(successor)) => handing.kept.push((successor.clone(), info.clone())),
                (Err(why), _) if live > 0 => handing.obstacles.push(format!("`{}` has {live} live entries: {why}", info.name)),
                _ => {}
            }
        }
        handing.families(new);
        if let Some(why) = distrust(&old.description, new) {
            handing.trusted = false;
            handing.obstacles.extend(holds.then_some(why));
        }
        Ok(handing)
    }

    /// Tables whose entries live together are handed over together.
    fn families(&mut self, new: &Description) {
        let names: Vec<u32> = self.kept.iter().map(|(info, _)| info.table).collect();
        let lonely = |info: &TableInfo| {
            let owner = info.owner.as_ref().is_some_and(|owner| !names.contains(&owner.table));
            let mirrors =
                new.manifest.tables.iter().filter(|of| of.owner.as_ref().is_some_and(|owner| owner.table == info.table));
            owner || mirrors.into_iter().any(|mirror| !names.contains(&mirror.table))
        };
        self.kept.retain(|(info, _)| !lonely(info));
    }
}

/// Whether two versions keep a table in the same way; if not, what differs.
fn same(old: &Description, from: &TableInfo, new: &Description, to: &TableInfo) -> Result<(), String> {
    let (before, after) = (old.table(from), new.table(to));
    let differs = |is: bool, what: &str| if is { Err(format!("{what} is another one in the new version")) } else { Ok(()) };
    differs(before.role != after.role, "who writes it")?;
    differs(before.key_shape != after.key_shape, "its key")?;
    differs(before.value_shape != after.value_shape, "its value")?;
    if length(before) != length(after) {
        return Err(format!("it had room for {} entries, and has for {}", length(before), length(after)));
    }
    let dies = |lifetime: &Lifetime| std::mem::discriminant(lifetime);
    differs(dies(&before.lifetime) != dies(&after.lifetime), "the way in which its entries die")?;
    differs(from.bucket != to.bucket, "its rate or burst")?;
    let owner = |of: &Description, info: &TableInfo| {
        let owner = info.owner.clone()?;
        Some((of.program.tables.get(owner.table as usize).map(|table| table.name.clone()), owner.key))
    };
    let kept = |info: &TableInfo| {
        let TableInfo { keeping, key, value, key_bytes, value_bytes, word, deadline_shift, clock, ticket, places, .. } =
            info.clone();
        let near = info.near.as_ref().map(|near| near.widths.clone());
        (keeping, key, value, key_bytes, value_bytes, (word, deadline_shift, clock, ticket), (places, near))
    };
    differs(kept(from) != kept(to) || owner(old, from) != owner(new, to), "how it is kept")
}

/// Why what the old version left in its tables may not be what the new one relies on.
fn distrust(old: &Description, new: &Description) -> Option<String> {
    if !new.proved() {
        return None;
    }
    if !old.proved() {
        return Some("the old version is not proved, and what is proved of the new one rests on what it finds".to_string());
    }
    let always = |of: &Description| {
        let properties = of.program.properties.iter().filter(|property| matches!(property.form, Form::Always { .. }));
        properties.map(|property| (property.name.clone(), print_property(&of.program, property))).collect::<Vec<_>>()
    };
    let promised = always(old);
    let missing = always(new).into_iter().find(|property| !promised.contains(property));
    missing.map(|(name, _)| format!("the new version relies on its invariant `{name}`, which the old one did not promise"))
}

impl Installed {
    /// The parameters of another version: those that are given, else those of this one.
    fn params_for(&self, new: &Description, settings: &Settings) -> Result<Vec<Vec<u128>>, Error> {
        let mut given = settings.params.clone();
        for ((value, fixed), param) in given.iter_mut().zip(new.built_in()).zip(&new.program.params) {
            if fixed.is_some() {
                continue;
            }
            let mut olds = self.description.program.params.iter().zip(&self.params);
            let old = olds.find(|(old, _)| old.name == param.name && old.shape == param.shape);
            *value = value.take().or_else(|| old.map(|(_, old)| old.clone()));
        }
        new.params(&given)
    }

    /// The control tables of another version: those that are given, else those of this one.
    fn tables_for(&self, new: &Description, settings: &Settings) -> Result<Vec<TableUpdate>, Error> {
        let mut tables = settings.tables.clone();
        let generation = self.generation()?;
        for info in &self.description.manifest.tables {
            let declared = self.description.table(info);
            let successor = (0..).map(TableId).zip(&new.program.tables).find(|(_, table)| table.name == declared.name);
            let Some((id, successor)) = successor else { continue };
            let control = [declared, successor].iter().all(|table| table.role == Role::Control && table.computed.is_none());
            let shapes = declared.key_shape == successor.key_shape && declared.value_shape == successor.value_shape;
            if control && shapes && tables.iter().all(|update| update.table != id) {
                tables.push(TableUpdate { table: id, entries: self.generation_of(info, generation)? });
            }
        }
        Ok(tables)
    }

    /// Variables that packets change go on from where the other version left them: cells, and tickets, of which no two may be the same.
    fn take_variables(&self, old: &Installed) -> Result<(), Error> {
        const SECTION: &str = ".data";
        let (ours, theirs) = (&self.description.manifest.variables, &old.description.manifest.variables);
        let of = |variables: &[grv_codegen::ebpf::Variable]| variables.iter().any(|variable| variable.section == SECTION);
        if !of(ours) || !of(theirs) {
            return Ok(());
        }
        let tried = || "the variables cannot be handed over".to_string();
        let (to, from) = (self.map(SECTION)?, old.map(SECTION)?);
        let mut bytes = to.get(&[0; 4]).tried(tried)?.unwrap_or_default();
        let old_bytes = from.get(&[0; 4]).tried(tried)?.unwrap_or_default();
        for variable in ours.iter().filter(|variable| variable.section == SECTION) {
            let before = theirs.iter().find(|v| v.section == SECTION && v.name == variable.name && v.bytes == variable.bytes);
            let Some(before) = before else { continue };
            let range = |at: u16| usize::from(at)..usize::from(at) + usize::from(variable.bytes);
            if let (Some(to), Some(from)) = (bytes.get_mut(range(variable.offset)), old_bytes.get(range(before.offset))) {
                to.copy_from_slice(from);
            }
        }
        to.set(&[0; 4], &bytes).tried(tried)
    }
}
