//! `cargo xtask demo`: the nat over packets that a kernel sent; then proved, broken and mended; then in the kernel.

use crate::run::{Result, at, command, grv, root, run, run_command, target};
use crate::setup;
use crate::traffic::traffic;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

pub(crate) fn demo() -> Result {
    setup::setup()?;
    let grv = grv()?;
    packets(&grv)?;
    proofs(&grv)?;
    traffic(&grv)
}

/// The nat at work.
fn packets(grv: &str) -> Result {
    let nat = "examples/nat";
    let (inside, outside) = (format!("inside={nat}/inside.pcap"), format!("outside={nat}/outside.pcap"));
    let (file, config) = (format!("{nat}/nat.grv"), format!("{nat}/config.json"));
    let args = ["run", &file, "--in", &inside, "--in", &outside, "--config", &config];
    println!("The nat of {file}, over what a kernel's TCP, UDP and ICMP stacks sent ({nat}/*.pcap).\n");
    println!("The way of the first packets:\n");
    let trace = command(grv, &args).arg("--trace").output().map_err(|e| format!("grv cannot be run: {e}"))?;
    let text = String::from_utf8_lossy(&trace.stdout);
    text.split("\n\n").filter(|packet| packet.starts_with('#')).skip(1).take(4).for_each(|packet| println!("{packet}\n"));
    println!("What became of all:\n");
    run_command("grv", command(grv, &args).args(["--out", "target/demo"]))?;
    println!("\nWhat left is in target/demo/*.pcap. An independent look at its checksums:\n");
    checksums(&["target/demo/inside.pcap", "target/demo/outside.pcap"])?;
    println!("\nIts tests:\n");
    run(grv, &["test", "--format", "concise", nat])
}

/// Checks the checksums of captures with scapy.
pub(crate) fn checksums(captures: &[&str]) -> Result {
    let mut check = command("python3", &["tests/independent/checksums.py"]);
    run_command("checksums.py", check.args(captures).env("PYTHONPATH", setup::python_path()))
}

/// The bug that the demo puts into the nat, by its name in `tests/seeded/nat.bugs`.
const BUG: &str = "a RST makes a mapping";
/// The property that it breaks,
const BROKEN: &str = "resets";
/// and two that it does not.
const OTHERS: [&str; 2] = ["one_address", "hairpin"];

/// A copy of the nat is proved, broken, and mended.
fn proofs(grv: &str) -> Result {
    let program = read("examples/nat/nat.grv")?;
    let program = shortened(&program);
    let bug = Bug::named(&read("tests/seeded/nat.bugs")?, BUG)?;
    let broken = bug.put_into(&program)?;
    let place = target().join("demo/nat");
    fs::create_dir_all(place.join("specs")).map_err(at(&place))?;
    write(&place.join("specs/nat.grv"), &read("specs/nat.grv")?)?;
    let file = place.join("nat.grv");
    // As the command is run in the root, a short name will do.
    let file = file.strip_prefix(root()).unwrap_or(&file);

    println!("\nTests try some packets; a proof is about all of them, in all states. Of the nat's promises, three:\n");
    for name in OTHERS.iter().chain([&BROKEN]) {
        println!("  {name}: {}", described(&program, name)?);
    }
    println!("\nProving them, in {} (the nat with few of its tests, to be quick):\n", file.display());
    write(&root().join(file), &program)?;
    let found = verify(grv, file, 0)?;
    show(&found, &proved(&found, OTHERS.iter().chain([&BROKEN]))?);

    println!("\nNow the program is broken ({BUG}); this line goes:\n");
    println!("  - {}\n", bug.old.trim());
    println!("Proving the same three again:\n");
    write(&root().join(file), &broken)?;
    let found = verify(grv, file, 1)?;
    let start = format!("  refuted step `{BROKEN}`");
    if !found.lines().any(|line| line.starts_with(&start)) || !found.contains("then for inside ") {
        return Err(format!("`{BROKEN}` should be refuted by a packet:\n{found}"));
    }
    proved(&found, &OTHERS)?;
    println!("{}", found.trim_end());
    println!("\nThat is a start of the box and what happens from there: the packet (a RST) should not pass, and it does.");

    println!("\nMended, and proved once more:\n");
    write(&root().join(file), &program)?;
    let found = verify(grv, file, 0)?;
    show(&found, &proved(&found, OTHERS.iter().chain([&BROKEN]))?);
    Ok(())
}

/// Proves the three; what the command says, from the line with the box on. It must end with that status.
fn verify(grv: &str, file: &Path, status: i32) -> Result<String> {
    let file = file.display().to_string();
    let mut verify = command(grv, &["verify", "--verbose", "--events", "1000", "--cache", "off"]);
    OTHERS.iter().chain([&BROKEN]).for_each(|name| {
        verify.args(["--property", name]);
    });
    let start = Instant::now();
    // Progress goes to standard error.
    let output = verify.arg(&file).stderr(Stdio::inherit()).output().map_err(|e| format!("grv cannot be run: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.code() != Some(status) {
        return Err(format!("`grv verify` should exit with {status} ({}):\n{text}", output.status));
    }
    eprintln!("({:.0} s)", start.elapsed().as_secs_f64());
    let from = text.find(&format!("{file}: Nat: ")).ok_or_else(|| format!("`grv verify` says nothing of the nat:\n{text}"))?;
    Ok(text.split_at(from).1.to_string())
}

/// The lines that say that these are proved, part by part; of each there must be one.
fn proved<'n>(found: &str, names: impl IntoIterator<Item = &'n &'n str>) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for name in names {
        let starts = [format!("  proved step `{name}`"), format!("  proved step `{name}/")];
        let before = all.len();
        all.extend(found.lines().filter(|line| starts.iter().any(|start| line.starts_with(start))).map(str::to_string));
        if all.len() == before {
            return Err(format!("`{name}` should be proved:\n{found}"));
        }
    }
    Ok(all)
}

fn show(found: &str, lines: &[String]) {
    lines.iter().for_each(|line| println!("{line}"));
    found.lines().last().iter().for_each(|line| println!("{line}"));
}

/// What the comment above a property says.
fn described<'p>(program: &'p str, property: &str) -> Result<&'p str> {
    let before = program.split(&format!("\nproperty {property} ")).next().unwrap_or_default();
    let comment = before.lines().last().and_then(|line| line.strip_prefix("/// "));
    comment.filter(|_| before.len() < program.len()).ok_or_else(|| format!("the nat has no property `{property}` with a comment"))
}

/// The program with those of its tests only that need little room. The search for examples begins where tests end, and with full
/// tables, which takes minutes with the room of the others.
fn shortened(program: &str) -> String {
    let mut parts = program.split("\ntest \"");
    let mut kept = vec![parts.next().unwrap_or_default()];
    kept.extend(parts.filter(|test| test.lines().next().is_some_and(|line| line.contains("SIZE: 2)"))));
    kept.join("\ntest \"")
}

/// A bug, as `tests/seeded/README.md` says.
struct Bug {
    old: String,
    new: String,
}

impl Bug {
    fn named(list: &str, name: &str) -> Result<Bug> {
        let part = list.split("== ").find(|part| part.lines().next() == Some(name));
        let part = part.ok_or_else(|| format!("tests/seeded/nat.bugs has no bug `{name}`"))?;
        let lines = |sign: &str| part.lines().filter_map(|l| l.strip_prefix(sign)).collect::<Vec<_>>().join("\n");
        Ok(Bug { old: lines("- "), new: lines("+ ") })
    }

    fn put_into(&self, program: &str) -> Result<String> {
        if self.old.is_empty() || program.matches(&self.old).count() != 1 {
            return Err(format!("the nat should have this once: {}", self.old));
        }
        Ok(program.replace(&self.old, &self.new))
    }
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(root().join(path)).map_err(at(Path::new(path)))
}

fn write(path: &Path, text: &str) -> Result {
    fs::write(path, text).map_err(at(path))
}

#[cfg(test)]
mod tests {
    use super::{BROKEN, BUG, Bug, OTHERS, Result, described, read, shortened};

    /// The proofs themselves take a while; here, that the demo keeps up with the nat and its bugs.
    #[test]
    fn the_nat_can_be_broken() -> Result {
        let whole = read("examples/nat/nat.grv")?;
        let program = shortened(&whole);
        assert!(program.contains("\ntest \"") && program.len() < whole.len());
        for name in OTHERS.iter().chain([&BROKEN]) {
            assert!(!described(&program, name)?.is_empty());
        }
        let list = read("tests/seeded/nat.bugs")?;
        let broken = Bug::named(&list, BUG)?.put_into(&program)?;
        assert_ne!(broken, program);
        assert!(list.contains(&format!("== {BUG}\nbreaks {BROKEN}\n")));
        Ok(())
    }
}
