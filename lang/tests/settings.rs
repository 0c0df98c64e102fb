//! Values are written as configurations have them: what is read from the examples' is written back the same.

#![allow(clippy::unwrap_used, reason = "what is missing in a test is a failure")]

use grv_lang::compile::compile;
use grv_lang::config::{parse, write};
use grv_lang::ir::TableKind;
use grv_lang::source::Beside;
use serde_json::Value;
use std::path::Path;

#[test]
fn configurations_are_written_as_they_were_read() {
    let mut entries = 0;
    for name in ["firewall", "lb", "lb-nat", "nat", "proxy", "router"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
        let path = folder.join(format!("{name}.grv"));
        let read = |path: &Path| std::fs::read(path).ok();
        let compilation = compile(&path.display().to_string(), &read(&path).unwrap(), &Beside(read));
        let program = &compilation.boxes[0];
        let bytes = std::fs::read(folder.join("config.json")).unwrap();
        let settings = parse(&bytes, program).unwrap();
        let json: Value = serde_json::from_slice(&bytes).unwrap();
        for (param, bits) in program.params.iter().zip(&settings.params) {
            if let Some(bits) = bits {
                assert_eq!(write(&param.shape, bits), json["params"][&param.name], "{name}: {}", param.name);
            }
        }
        for (section, updates) in [("tables", &settings.tables), ("feeds", &settings.feeds)] {
            for update in updates {
                let table = &program.tables[update.table.index()];
                for ((key, value), given) in update.entries.iter().zip(json[section][&table.name].as_array().unwrap()) {
                    let (key, value) = (write(&table.key_shape, key), write(&table.value_shape, value));
                    match table.kind {
                        TableKind::Set => assert_eq!(key, *given, "{name}: {}", table.name),
                        TableKind::Array | TableKind::Cell => assert_eq!(value, *given, "{name}: {}", table.name),
                        _ => assert_eq!((&key, &value), (&given["key"], &given["value"]), "{name}: {}", table.name),
                    }
                    entries += 1;
                }
            }
        }
    }
    assert!(entries > 20, "{entries}");
}
