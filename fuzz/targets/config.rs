//! Any bytes as a configuration.
#![no_main]

use grv_lang::compile::compile;
use grv_lang::config;
use grv_lang::interp::{Machine, Seeded, with_defaults};
use grv_lang::ir::Program;
use grv_lang::source::NoModules;
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};

static ROUTER: LazyLock<Arc<Program>> = LazyLock::new(|| {
    let text = include_bytes!("../../examples/router/router.grv");
    compile("router.grv", text, &NoModules).boxes.remove(0)
});

fuzz_target!(|data: &[u8]| {
    let Ok(settings) = config::parse(data, &ROUTER) else { return };
    let Ok(params) = with_defaults(&ROUTER, &settings.params) else { return };
    let Ok(mut machine) = Machine::new(ROUTER.clone(), params) else { return };
    let mut oracle = Seeded::exact(0);
    if machine.update(&settings.tables, &mut oracle, None).is_ok() {
        for feed in &settings.feeds {
            for (key, value) in &feed.entries {
                // What does not fit is refused.
                let _refused = machine.feed(feed.table, key, Some(value), &mut oracle);
            }
        }
    }
});
