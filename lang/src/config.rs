//! Configurations: the parameters, control tables and fed tables of a box, as JSON.
//!
//! `{"params": {"public": "203.0.113.1"}, "tables": {"hop.routes": [{"key": "10.0.0.0/8", "value": {...}}]}, "feeds": {...}}`.
//! Maps and prefix tables list `{"key", "value"}`, sets their keys, arrays their first elements. Structs are objects; an enum is the
//! variant's name, or an object with it; `null` is `none`; addresses, prefixes and durations are strings. Whatever is wrong is an
//! error with its place.

use crate::interp::TableUpdate;
use crate::ir::{Program, Role, Shape, Show, TableId, TableKind};
use crate::text;
use serde_json::{Map, Value, json};
use thiserror::Error;

/// A configuration that fits a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// By parameter; none: its default.
    pub params: Vec<Option<Vec<u128>>>,
    /// The first generation of control tables.
    pub tables: Vec<TableUpdate>,
    /// Entries of fed tables.
    pub feeds: Vec<TableUpdate>,
}

/// What is wrong with a configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// It is no JSON.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// A value that does not fit.
    #[error("at `{place}`: {message}")]
    Value {
        /// The path to it: `tables.hop.routes[3].value.mac`.
        place: String,
        /// What is wrong.
        message: String,
    },
}

fn wrong(place: &str, message: impl Into<String>) -> SettingsError {
    SettingsError::Value { place: place.to_string(), message: message.into() }
}

/// Reads a configuration for a program.
pub fn parse(bytes: &[u8], program: &Program) -> Result<Settings, SettingsError> {
    let json: Value = serde_json::from_slice(bytes).map_err(|e| {
        let message = e.to_string();
        let message = message.split(" at line ").next().unwrap_or_default().to_string();
        SettingsError::Syntax { line: e.line(), column: e.column(), message }
    })?;
    let mut settings = Settings { params: vec![None; program.params.len()], ..Settings::default() };
    for (section, value) in object("", &json)? {
        let members = object(section, value)?;
        for (name, value) in members {
            let place = format!("{section}.{name}");
            match section.as_str() {
                "params" => {
                    let Some(index) = program.params.iter().position(|p| p.name == *name) else {
                        let known = program.params.iter().map(|p| p.name.as_str());
                        return Err(wrong(&place, unknown("parameter", known)));
                    };
                    let mut bits = Vec::new();
                    read(&program.params[index].shape, value, &place, &mut bits)?;
                    settings.params[index] = Some(bits);
                }
                "tables" => settings.tables.push(table(program, Role::Control, name, value, &place)?),
                "feeds" => settings.feeds.push(table(program, Role::Feed, name, value, &place)?),
                _ => break,
            }
        }
        if !["params", "tables", "feeds"].contains(&section.as_str()) {
            return Err(wrong(section, "a configuration has `params`, `tables` and `feeds`"));
        }
    }
    Ok(settings)
}

fn unknown<'n>(what: &str, known: impl Iterator<Item = &'n str>) -> String {
    let known: Vec<&str> = known.collect();
    match known.is_empty() {
        true => format!("the box has no {what}s of this kind"),
        false => format!("there is no such {what}; there are: {}", known.join(", ")),
    }
}

fn object<'v>(place: &str, value: &'v Value) -> Result<&'v Map<String, Value>, SettingsError> {
    value.as_object().ok_or_else(|| wrong(place, "an object `{ ... }` is expected"))
}

fn table(program: &Program, role: Role, name: &str, value: &Value, place: &str) -> Result<TableUpdate, SettingsError> {
    let found = program.tables.iter().position(|t| t.name == *name && t.role == role);
    let Some(index) = found else {
        let known = program.tables.iter().filter(|t| t.role == role).map(|t| t.name.as_str());
        return Err(wrong(place, unknown("table", known)));
    };
    let declared = &program.tables[index];
    let Some(list) = value.as_array() else { return Err(wrong(place, "a list `[ ... ]` is expected")) };
    let mut entries = Vec::with_capacity(list.len());
    for (index, item) in list.iter().enumerate() {
        let place = format!("{place}[{index}]");
        let (mut key, mut bits) = (Vec::new(), Vec::new());
        match declared.kind {
            TableKind::Set => read(&declared.key_shape, item, &place, &mut key)?,
            TableKind::Array | TableKind::Cell | TableKind::Counter => read(&declared.value_shape, item, &place, &mut bits)?,
            TableKind::Map | TableKind::Lpm | TableKind::Bucket { .. } => {
                let members = object(&place, item)?;
                exactly(members, &["key", "value"], &place)?;
                read(&declared.key_shape, &members["key"], &format!("{place}.key"), &mut key)?;
                read(&declared.value_shape, &members["value"], &format!("{place}.value"), &mut bits)?;
            }
        }
        entries.push((key, bits));
    }
    Ok(TableUpdate { table: TableId(index as u32), entries })
}

/// Checks that an object has these members and no others.
fn exactly(members: &Map<String, Value>, names: &[&str], place: &str) -> Result<(), SettingsError> {
    if let Some(missing) = names.iter().find(|name| !members.contains_key(**name)) {
        return Err(wrong(place, format!("`{missing}` is missing")));
    }
    match members.keys().find(|name| !names.contains(&name.as_str())) {
        Some(extra) => {
            Err(wrong(&format!("{place}.{extra}"), format!("there is no such field; there are: {}", names.join(", "))))
        }
        None => Ok(()),
    }
}

/// Reads a value and appends its scalars.
fn read(shape: &Shape, value: &Value, place: &str, bits: &mut Vec<u128>) -> Result<(), SettingsError> {
    let bad = |message: String| wrong(place, message);
    match shape {
        Shape::Unit => {
            if !value.is_null() {
                return Err(bad("nothing is expected here: `null`".to_string()));
            }
        }
        Shape::Scalar(ty, how) => {
            let written = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(value) => value.to_string(),
                _ => return Err(bad("a number or a string is expected".to_string())),
            };
            bits.push(text::scalar(*ty, how, &written).map_err(bad)?);
        }
        Shape::Prefix(ty, how) => match value {
            Value::String(written) => bits.extend(text::prefix(*ty, how, written).map_err(bad)?),
            _ => return Err(bad("a prefix is expected: \"10.0.0.0/8\"".to_string())),
        },
        Shape::Option(inner) => {
            if value.is_null() {
                bits.extend(std::iter::repeat_n(0, 1 + text::width(inner)));
            } else {
                bits.push(1);
                read(inner, value, place, bits)?;
            }
        }
        Shape::Struct(_, fields) => fields_of(fields, value, place, bits)?,
        Shape::Enum(name, variants) => {
            let (variant, fields) = match value {
                Value::String(variant) => (variant, None),
                Value::Object(members) if members.len() == 1 => match members.iter().next() {
                    Some((variant, fields)) => (variant, Some(fields)),
                    None => return Err(bad(format!("a variant of `{name}` is expected"))),
                },
                _ => return Err(bad(format!("a variant of `{name}` is expected"))),
            };
            let Some(tag) = variants.iter().position(|(v, _)| v == variant) else {
                return Err(bad(unknown("variant", variants.iter().map(|(v, _)| v.as_str()))));
            };
            bits.push(tag as u128);
            for (index, (_, shapes)) in variants.iter().enumerate() {
                if index != tag {
                    bits.extend(std::iter::repeat_n(0, shapes.iter().map(|(_, s)| text::width(s)).sum()));
                    continue;
                }
                match fields {
                    Some(fields) => fields_of(shapes, fields, &format!("{place}.{variant}"), bits)?,
                    None if shapes.is_empty() => {}
                    None => return Err(bad(format!("`{variant}` has fields: {{\"{variant}\": {{...}}}}"))),
                }
            }
        }
    }
    Ok(())
}

/// A value as a configuration has it; `bits` are its scalars. What this gives, is read as the same scalars.
pub fn write(shape: &Shape, bits: &[u128]) -> Value {
    let mut rest = bits.iter().copied();
    written(shape, &mut rest)
}

fn written(shape: &Shape, bits: &mut dyn Iterator<Item = u128>) -> Value {
    let mut next = || bits.next().unwrap_or(0);
    match shape {
        Shape::Unit => Value::Null,
        Shape::Scalar(_, Show::Bool) => Value::Bool(next() != 0),
        Shape::Scalar(_, how) => {
            let number = next();
            match (how, u64::try_from(number)) {
                (Show::Number, Ok(number)) => Value::from(number),
                _ => Value::String(text::show_scalar(how, number)),
            }
        }
        Shape::Prefix(_, how) => {
            let (address, length) = (next(), next());
            Value::String(format!("{}/{length}", text::show_scalar(how, address)))
        }
        Shape::Option(inner) => {
            let some = next() != 0;
            let value = written(inner, bits);
            if some { value } else { Value::Null }
        }
        Shape::Struct(_, fields) => members(fields, bits),
        Shape::Enum(_, variants) => {
            let tag = next();
            let mut chosen = Value::Null;
            for (index, (name, fields)) in variants.iter().enumerate() {
                let of = members(fields, bits);
                if index as u128 == tag {
                    chosen = if fields.is_empty() { Value::from(name.as_str()) } else { json!({ name: of }) };
                }
            }
            chosen
        }
    }
}

fn members(fields: &[(String, Shape)], bits: &mut dyn Iterator<Item = u128>) -> Value {
    let members: Map<String, Value> = fields.iter().map(|(name, shape)| (name.clone(), written(shape, bits))).collect();
    Value::Object(members)
}

fn fields_of(fields: &[(String, Shape)], value: &Value, place: &str, bits: &mut Vec<u128>) -> Result<(), SettingsError> {
    let members = object(place, value)?;
    let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    exactly(members, &names, place)?;
    for (name, shape) in fields {
        read(shape, &members[name.as_str()], &format!("{place}.{name}"), bits)?;
    }
    Ok(())
}
