//! A small network: a namespace for the box, and one for each host, whose `eth0` is the far end of one of the box's interfaces. All of it
//! is gone when the value is.

use crate::common::root;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The networks of this process so far: names are told apart by it.
static NETWORKS: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Net {
    id: String,
    /// The box's name.
    pub(crate) name: String,
    hosts: Vec<String>,
    /// Hosts that are not at the box.
    others: Vec<String>,
}

/// Why live tests cannot be run here. Asked once: tests run side by side.
static IMPOSSIBLE: LazyLock<Option<String>> = LazyLock::new(impossible);

fn impossible() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root may do this".to_string());
    }
    let probe = Command::new("ip").args(["link", "help"]).output();
    if probe.is_err() {
        return Some("there is no `ip` (iproute2)".to_string());
    }
    let name = format!("grv-{}-probe", std::process::id());
    let made = Command::new("ip").args(["netns", "add", &name]).output().is_ok_and(|output| output.status.success());
    let _gone = Command::new("ip").args(["netns", "del", &name]).output();
    (!made).then(|| "network namespaces cannot be made".to_string())
}

/// Whether a test may be run; says so if not, or fails where none may be skipped.
pub(crate) fn allowed(test: &str) -> bool {
    let Some(reason) = &*IMPOSSIBLE else { return true };
    assert!(std::env::var_os("GRV_NO_SKIP").is_none_or(|v| v != "1"), "{test} must not be skipped: {reason}");
    eprintln!("skipped: {test}: {reason}");
    false
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a program, which must succeed.
fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {args:?}: {}{}", text(&output.stdout), text(&output.stderr));
}

impl Net {
    /// The box's interfaces are named by its ports, which are not connected yet; see [`Net::connect`].
    pub(crate) fn new(ports: &[&str]) -> Net {
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        let id = format!("grv-{}-{number}", std::process::id());
        let name = format!("t{}-{number}", std::process::id());
        let net = Net { id, name, hosts: ports.iter().map(|port| port.to_string()).collect(), others: Vec::new() };
        run("ip", &["netns", "add", &net.space("box")]);
        for port in ports {
            run("ip", &["netns", "add", &net.space(port)]);
            net.ip("box", &["link", "add", "name", port, "type", "veth", "peer", "name", &format!("{port}-far")]);
            // Nobody is to speak on the wire but who is asked to.
            for end in [port.to_string(), format!("{port}-far")] {
                net.sysctl("box", &format!("net/ipv6/conf/{end}/disable_ipv6"), "1");
            }
            // Of an end that is down, the kernel does not note that it takes redirected packets.
            net.ip("box", &["link", "set", "dev", &format!("{port}-far"), "up"]);
            net.ip("box", &["link", "set", "dev", port, "up"]);
        }
        net
    }

    fn space(&self, of: &str) -> String {
        format!("{}-{of}", self.id)
    }

    fn path(&self, of: &str) -> String {
        format!("/run/netns/{}", self.space(of))
    }

    /// `ip` in a namespace.
    pub(crate) fn ip(&self, of: &str, args: &[&str]) {
        let space = self.space(of);
        run("ip", &[&["-n", space.as_str()], args].concat());
    }

    /// What `ip` says in a namespace.
    pub(crate) fn ip_output(&self, of: &str, args: &[&str]) -> String {
        let output = Command::new("ip").arg("-n").arg(self.space(of)).args(args).output().expect("`ip` can be run");
        text(&output.stdout)
    }

    /// Sets a variable of a namespace's network.
    pub(crate) fn sysctl(&self, of: &str, variable: &str, value: &str) {
        self.within(of, || {
            // It may not be there where the kernel lacks what it is about.
            let _set = std::fs::write(Path::new("/proc/sys").join(variable), value);
        });
    }

    /// A host behind another one, whose interface there has its name.
    pub(crate) fn behind(&mut self, host: &str, name: &str, address: &str) {
        run("ip", &["netns", "add", &self.space(name)]);
        self.others.push(name.to_string());
        self.ip(host, &["link", "add", "name", name, "type", "veth", "peer", "name", "eth0", "netns", &self.space(name)]);
        self.ip(host, &["link", "set", "dev", name, "up"]);
        self.ip(name, &["address", "add", address, "dev", "eth0"]);
        self.ip(name, &["link", "set", "dev", "lo", "up"]);
        self.ip(name, &["link", "set", "dev", "eth0", "up"]);
    }

    /// The command, in the box's namespace.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        self.command_at("box", args)
    }

    /// The command, in a namespace.
    pub(crate) fn command_at(&self, of: &str, args: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.current_dir(root()).arg(format!("--net={}", self.path(of))).arg(env!("CARGO_BIN_EXE_grv")).args(args);
        command
    }

    /// Runs the command, which must succeed; what it prints.
    pub(crate) fn grv(&self, args: &[&str]) -> String {
        let output = self.try_grv(args);
        assert!(output.status.success(), "grv {args:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    pub(crate) fn try_grv(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the command can be run")
    }

    /// Loads a box at all ports. Its far ends are still beside it, and are made ready for it.
    pub(crate) fn load(&self, program: &str, more: &[&str]) {
        let ports: Vec<String> = self.hosts.iter().map(|port| format!("--port={port}={port}")).collect();
        let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
        // What is proved of the examples is the subject of other tests.
        let fixed = ["load", program, "--name", &self.name, "--allow-unproved", "--fix"];
        let output = self.try_grv(&[&fixed, ports.as_slice(), more].concat());
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
        assert!(!text(&output.stderr).contains("ethtool"), "far ends are not ready: {}", text(&output.stderr));
    }

    /// Loads an example that is a hop, with the addresses and tables of its configuration; its neighbours come from the kernel, by a process that
    /// runs until the value is gone.
    pub(crate) fn load_hop(&self, example: &str, tables: Option<serde_json::Value>) -> Beside {
        let config = std::fs::read_to_string(root().join(format!("examples/{example}/config.json"))).expect("a configuration");
        let mut config: serde_json::Value = serde_json::from_str(&config).expect("it is JSON");
        for port in &self.hosts {
            // Interfaces of a router are numbered as its ports are.
            let name = port.strip_prefix("p[").map_or_else(|| format!("{port}_if"), |n| format!("if{}", n.trim_end_matches(']')));
            let text =
                |field: &str| config["params"][&name][field].as_str().unwrap_or_else(|| panic!("{name}: {field}")).to_string();
            let (mac, address, subnet) = (text("mac"), text("address"), text("subnet"));
            let (_, length) = subnet.split_once('/').expect("a prefix");
            self.ip("box", &["link", "set", "dev", port, "address", &mac]);
            self.ip("box", &["address", "add", &format!("{address}/{length}"), "dev", port]);
        }
        let members = config.as_object_mut().expect("an object");
        members.remove("feeds");
        if let Some(tables) = tables {
            members.insert("tables".to_string(), tables);
        }
        let path = std::env::temp_dir().join(format!("{}.json", self.name));
        std::fs::write(&path, config.to_string()).expect("a file");
        self.load(&format!("examples/{example}/{example}.grv"), &["--config", &path.display().to_string()]);
        std::fs::remove_file(&path).expect("the file can be removed");
        self.beside(&["sync", &self.name])
    }

    /// Brings the far end of a port to its host, with an address.
    pub(crate) fn connect(&self, port: &str, address: &str) {
        self.ip("box", &["link", "set", "dev", &format!("{port}-far"), "netns", &self.space(port), "name", "eth0"]);
        self.ip(port, &["address", "add", address, "dev", "eth0"]);
        self.ip(port, &["link", "set", "lo", "up"]);
        self.ip(port, &["link", "set", "eth0", "up"]);
    }

    /// A program that runs beside, in the box's namespace, until the value is gone.
    pub(crate) fn beside(&self, args: &[&str]) -> Beside {
        Beside(self.command(args).stdin(Stdio::null()).spawn().expect("the command can be run"))
    }

    /// Does something in a host's namespace, on a thread of its own.
    pub(crate) fn within<T: Send>(&self, of: &str, f: impl FnOnce() -> T + Send) -> T {
        let path = self.path(of);
        std::thread::scope(|scope| scope.spawn(|| entered(&path, f)).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// The same, beside the test.
    pub(crate) fn meanwhile<T: Send + 'static>(
        &self,
        of: &str,
        f: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        let path = self.path(of);
        std::thread::spawn(move || entered(&path, f))
    }

    /// The state of a table, as the command shows it.
    pub(crate) fn table(&self, name: &str) -> serde_json::Value {
        let shown = self.grv(&["state", &self.name, "--table", name, "--format", "json"]);
        let mut state: serde_json::Value = serde_json::from_str(&shown).expect("the state is JSON");
        state["tables"][0].take()
    }

    fn stats(&self) -> serde_json::Value {
        serde_json::from_str(&self.grv(&["stats", &self.name, "--format", "json"])).expect("the counters are JSON")
    }

    /// How many packets a port has received or sent.
    pub(crate) fn traffic(&self, port: &str, what: &str) -> u64 {
        let stats = self.stats();
        let ports = stats["ports"].as_array().expect("a list");
        let of = ports.iter().find(|of| of["port"] == port).unwrap_or_else(|| panic!("no port {port}"));
        of[what].as_u64().expect("a number")
    }

    /// How many packets that arrived at a port were dropped for a reason.
    pub(crate) fn drops_at(&self, port: &str, reason: &str) -> u64 {
        let stats = self.stats();
        let mut drops = stats["drops"].as_array().expect("a list").iter();
        let of = drops.find(|drop| drop["reason"] == reason && drop["port"] == port);
        of.unwrap_or_else(|| panic!("no reason {reason} at {port}"))["packets"].as_u64().expect("a number")
    }

    /// How many packets were dropped for a reason.
    pub(crate) fn drops(&self, reason: &str) -> u64 {
        let stats = self.stats();
        let drops = stats["drops"].as_array().expect("a list");
        assert!(drops.iter().any(|drop| drop["reason"] == reason), "no reason {reason}");
        let of = drops.iter().filter(|drop| drop["reason"] == reason);
        of.map(|of| of["packets"].as_u64().expect("a number")).sum()
    }
}

fn entered<T>(path: &str, f: impl FnOnce() -> T) -> T {
    let space = std::fs::File::open(path).expect("the namespace is there");
    move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).expect("it can be entered");
    f()
}

impl Drop for Net {
    fn drop(&mut self) {
        let quiet = |command: &mut Command| drop(command.stdout(Stdio::null()).stderr(Stdio::null()).status());
        quiet(&mut self.command(&["unload", &self.name]));
        for of in &self.others {
            quiet(&mut self.command(&["unload", &format!("{}-{of}", self.name)]));
        }
        for of in self.hosts.iter().chain(&self.others).map(String::as_str).chain(["box"]) {
            quiet(Command::new("ip").args(["netns", "del", &self.space(of)]));
        }
    }
}

pub(crate) struct Beside(Child);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}
