//! Timers sweep dead entries while no packets come, and never a live one.

use crate::loaded::Loaded;
use crate::{allowed, compiled, options};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use grv_codegen::ebpf::sweeper::{STARTED, sweeper};
use grv_codegen::ebpf::{Proofs, build};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long entries of the program live.
const IDLE: Duration = Duration::from_millis(2);

/// What becomes of frames: they go back where they came from, or to the host.
const BACK: u32 = 3;
const HOST: u32 = 2;

/// A file system for pins, until the value is gone.
struct Pins(PathBuf);

impl Pins {
    fn new() -> Pins {
        let folder = std::env::temp_dir().join(format!("grv-sweeper-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert!(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(&folder).status().unwrap().success());
        Pins(folder)
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg(&self.0).status();
        let _gone = std::fs::remove_dir(&self.0);
    }
}

/// Starts the timers over the maps of a program; they run as long as what they are in is held.
fn start(object: &[u8], name: &str, loaded: &Loaded, pins: &Path) -> Ebpf {
    let maps = loaded.pin_maps(pins);
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    for (name, path) in &maps {
        loader.map_pin_path(name, path.as_path());
    }
    let mut ebpf = loader.load(object).unwrap();
    let program: &mut Xdp = ebpf.program_mut(name).unwrap().try_into().unwrap();
    program.load().unwrap_or_else(|e| panic!("{e}"));
    let run = program.test_run(TestRunOptions { data_in: Some(&[0; 64]), ..TestRunOptions::new() }).unwrap();
    assert_eq!(run.return_value, STARTED);
    ebpf
}

#[test]
fn dead_entries_go_and_live_ones_stay() {
    let test = "dead entries go and live ones stay";
    if !allowed(test) {
        return;
    }
    let of = compiled("tests/targets/idle.grv");
    let program = &of.boxes[0];
    let artefact = build(program, &of.sources, &options(), &Proofs::default()).unwrap();
    let mut loaded = Loaded::new(artefact, program, &[]);
    // As often as a processor that has little else to do bears it.
    let built = sweeper(program, &of.sources, &options(), 100_000).unwrap().unwrap();
    let pins = Pins::new();
    let timers = start(&built.object, &built.program, &loaded, &pins.0);
    loaded.runs(0);
    let info = loaded.table("known.stations").clone();

    // Each thread has stations of its own, whose frames come about as often as their entries die.
    let (begin, loaded) = (Instant::now(), &loaded);
    let send = |station: u8| {
        let mut frame = vec![0; 60];
        frame[6..14].copy_from_slice(&[2, 0, 0, 0, 0, station, 0x88, 0xb5]);
        let before = Instant::now();
        let known = loaded.sent(&frame);
        (before, Instant::now(), known)
    };
    let thread = |first: u8| {
        let (mut live, mut dead) = (0_u64, 0_u64);
        let mut last = [None; 8];
        let mut random = u64::from(first) + 1;
        while begin.elapsed() < Duration::from_secs(3) {
            for (n, last) in (0..).zip(&mut last) {
                let (before, after, known) = send(first + n);
                // The entry was there from some time after the frame before was sent.
                let lives = last.is_some_and(|last: Instant| after < last + IDLE);
                *last = match known {
                    BACK => {
                        live += 1;
                        Some(before)
                    }
                    HOST => {
                        assert!(!lives, "a live entry is gone");
                        dead += 1;
                        Some(before)
                    }
                    // Others had the entry each time that this one looked: nobody knows what is there.
                    _ => None,
                };
            }
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            std::thread::sleep(Duration::from_micros((random >> 40) % 3_000));
        }
        (live, dead)
    };
    let found = std::thread::scope(|scope| {
        let threads = [0, 8].map(|first| scope.spawn(move || thread(first)));
        threads.map(|thread| thread.join().unwrap())
    });
    let (live, dead) = found.iter().fold((0, 0), |(live, dead), (l, d)| (live + l, dead + d));
    eprintln!("{test}: {live} frames found an entry, {dead} made one");
    assert!(live > 1_000 && dead > 1_000, "{live} found an entry, {dead} made one");

    // Nobody sends any more.
    std::thread::sleep(IDLE * 20);
    assert_eq!(loaded.entries(&info).len(), 0, "dead entries are there");
    drop(timers);
}
