//! Any bytes as a source: diagnostics, and what is compiled is valid, prints and formats.
#![no_main]

use grv_lang::compile::compile;
use grv_lang::source::NoModules;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let compiled = compile("fuzz.grv", data, &NoModules);
    for program in &compiled.boxes {
        assert_eq!(grv_lang::ir::validate::validate(program), Ok(()));
        grv_lang::ir::print::print(program);
    }
    for (test, program) in &compiled.tests {
        assert_eq!(grv_lang::ir::validate::validate_test(program, test), Ok(()));
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(formatted) = grv_lang::fmt::format(text)
    {
        assert_eq!(grv_lang::fmt::format(&formatted), Ok(formatted));
    }
});
