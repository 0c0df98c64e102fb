//! Objects are loaded by libbpf as well, whose rules for object files are not aya's.

use crate::{allowed, compiled, skipped};
use grv_codegen::ebpf::{Options, Proofs, build};
use std::path::Path;
use std::process::Command;

/// Where Debian puts bpftool, which brings libbpf; it need not be on the path of who runs the tests.
const BPFTOOL: &str = "/usr/sbin/bpftool";

fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn libbpf_loads_what_aya_loads() {
    let test = "libbpf loads what aya loads";
    if !allowed(test) {
        return;
    }
    if !Path::new(BPFTOOL).exists() {
        return skipped(test, "bpftool is not there");
    }
    let folder = std::env::temp_dir().join(format!("grv-libbpf-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let place = folder.join("bpffs");
    std::fs::create_dir_all(&place).unwrap();
    run("mount", &["-t", "bpf", "bpf", place.to_str().unwrap()]);
    let names = ["policer", "bridge", "router", "firewall", "nat", "proxy", "lb-nat", "lb"];
    let loads = names.map(|name| {
        let of = compiled(&format!("examples/{name}/{name}.grv"));
        let artefact = build(&of.boxes[0], &of.sources, &Options::default(), &Proofs::default()).unwrap();
        let (object, pin) = (folder.join(format!("{name}.o")), place.join(name));
        std::fs::write(&object, artefact.object).unwrap();
        let args = ["prog", "load", object.to_str().unwrap(), pin.to_str().unwrap()];
        let load = std::panic::catch_unwind(|| run(BPFTOOL, &args));
        // Lines of the source come with it.
        let dump = Command::new(BPFTOOL).args(["prog", "dump", "xlated", "pinned", pin.to_str().unwrap()]).output().unwrap();
        load.map(|()| String::from_utf8_lossy(&dump.stdout).contains("=> drop"))
    });
    run("umount", &[place.to_str().unwrap()]);
    std::fs::remove_dir_all(&folder).unwrap();
    for (name, load) in names.iter().zip(loads) {
        assert!(load.unwrap_or_else(|_| panic!("{name} is not loaded")), "{name}: no lines of the source in the kernel");
    }
}
