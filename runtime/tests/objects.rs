//! Whatever the bytes of an object: there is an answer or an error.

#![allow(clippy::unwrap_used, reason = "what is missing in a test is a failure")]

use grv_codegen::ebpf::{Options, Proofs, build};
use grv_lang::compile::compile;
use grv_lang::source::NoModules;
use grv_runtime::Object;
use proptest::prelude::*;
use std::path::Path;
use std::sync::LazyLock;

/// A small box with tables of several kinds.
static OBJECT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/targets/unwrap.grv");
    object(&path)
});

static POLICER: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/policer/policer.grv");
    object(&path)
});

fn object(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    let compilation = compile("box.grv", &bytes, &NoModules);
    assert!(!compilation.failed(), "{:?}", compilation.diagnostics);
    let digest = |text: &str| format!("blake3:{}", blake3::hash(text.as_bytes()).to_hex());
    let files = compilation.sources.files().iter();
    let digests = files.map(|file| (file.path.clone(), digest(&file.text))).collect();
    let proofs = Proofs { digests, ..Proofs::default() };
    build(&compilation.boxes[0], &compilation.sources, &Options::default(), &proofs).unwrap().object
}

#[test]
fn an_object_is_read_as_it_was_built() {
    let object = Object::read(POLICER.clone()).unwrap();
    assert_eq!(object.description.manifest.middlebox, "Policer");
    assert_eq!(object.description.program.name, "Policer");
    assert!(!object.description.proved());
    let other = Object::read(OBJECT.clone()).unwrap();
    assert_eq!(other.description.manifest.middlebox, "Unwrapped");
}

#[test]
fn other_texts_than_those_that_it_was_built_from_are_refused() {
    let mut object = POLICER.clone();
    // In the manifest, the text of the source comes behind its digest.
    let at = object.windows(9).position(|window| window == b"\"digest\":").unwrap();
    let at = at + object[at..].windows(11).position(|window| window == b"middlebox P").unwrap();
    object[at] ^= 0x20;
    let refused = Object::read(object).map(drop).unwrap_err().to_string();
    assert!(refused.contains("is not the one that it was built from"), "{refused}");
}

/// The numbers in a manifest.
fn digits(object: &[u8]) -> Vec<usize> {
    let start = object.windows(16).position(|window| window == b"\"schema_version\"").unwrap();
    (start..object.len()).filter(|at| object[*at].is_ascii_digit()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn changed_bytes_are_read_or_refused(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut object = POLICER.clone();
        for (at, byte) in changes {
            let at = at.index(object.len());
            object[at] = byte;
        }
        let _answered = Object::read(object);
    }

    #[test]
    fn changed_numbers_of_a_manifest_are_read_or_refused(at in any::<prop::sample::Index>(), digit in b'0'..=b'9') {
        let mut object = POLICER.clone();
        let places = digits(&object);
        object[places[at.index(places.len())]] = digit;
        let _answered = Object::read(object);
    }

    #[test]
    fn beginnings_are_read_or_refused(length in any::<prop::sample::Index>()) {
        let length = length.index(OBJECT.len());
        prop_assert!(Object::read(OBJECT[..length].to_vec()).is_err());
    }
}
