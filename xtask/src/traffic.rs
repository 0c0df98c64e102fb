//! The end of the demo: real traffic through the proved nat in the kernel, between two network namespaces.

use crate::run::{Result, command, run, run_command};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Bytes that are fetched through the nat.
const BYTES: u64 = 100 << 20;

/// A web server that sends so many bytes.
const SERVER: &str = r#"
import http.server, sys
size = int(sys.argv[1])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("Content-Length", str(size)); self.end_headers()
        block = bytes(range(256)) * 4096
        for _ in range(size // len(block)): self.wfile.write(block)
    def log_message(self, *args):
        print(f"  the server was asked by {self.client_address[0]}, port {self.client_address[1]}", flush=True)
http.server.HTTPServer(("", 80), Handler).serve_forever()
"#;

/// Fetches them, and looks at each; the server may not be there at once.
const CLIENT: &str = r#"
import sys, time, urllib.request
size, block, start = int(sys.argv[1]), bytes(range(256)) * 4096, time.time()
while True:
    try: answer = urllib.request.urlopen("http://203.0.113.2/", timeout=5); break
    except OSError:
        if time.time() > start + 20: raise
        time.sleep(0.1)
start, count = time.time(), 0
while data := answer.read(len(block)):
    at = count % len(block)
    assert data == (block + block)[at:at + len(data)], "a byte is another one"
    count += len(data)
assert count == size, f"{count} of {size} bytes came"
print(f"  {count} bytes came, each as it was sent, in {time.time() - start:.1f} s", flush=True)
"#;

/// What was set up, and goes again.
struct Setup {
    grv: String,
    id: String,
    beside: Vec<Child>,
}

impl Setup {
    fn space(&self, of: &str) -> String {
        format!("{}-{of}", self.id)
    }

    /// The command, in the box's namespace. (`ip netns exec` would give it a file system of pins of its own.)
    fn grv(&self, args: &[&str]) -> Command {
        let space = format!("--net=/run/netns/{}", self.space("box"));
        command("nsenter", &[&[space.as_str(), self.grv.as_str()], args].concat())
    }

    /// Python, at a host.
    fn python(&self, host: &str, program: &str) -> Command {
        command("ip", &["netns", "exec", &self.space(host), "python3", "-c", program, &BYTES.to_string()])
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        for child in &mut self.beside {
            let _ended = child.kill();
            let _waited = child.wait();
        }
        let quiet = |command: &mut Command| drop(command.stdout(Stdio::null()).stderr(Stdio::null()).status());
        quiet(&mut self.grv(&["unload", &self.id]));
        for of in ["inside", "outside", "box"] {
            quiet(&mut command("ip", &["netns", "del", &self.space(of)]));
        }
    }
}

/// Loads the nat between two hosts, and fetches something from one to the other.
pub(crate) fn traffic(grv: &str) -> Result {
    if !command("id", &["-u"]).output().is_ok_and(|output| output.stdout == b"0\n") {
        println!("\nNot shown: real traffic through the nat in the kernel, which takes root.");
        return Ok(());
    }
    let program = PathBuf::from(grv).canonicalize().map_err(|e| format!("{grv}: {e}"))?;
    let mut setup =
        Setup { grv: program.display().to_string(), id: format!("grv-demo-{}", std::process::id()), beside: Vec::new() };
    println!("\nNow the kernel: all that the nat promises is proved, it is built, and loaded between two hosts.\n");
    for of in ["box", "inside", "outside"] {
        run("ip", &["netns", "add", &setup.space(of)])?;
    }
    let space = setup.space("box");
    let hosts = [
        ("inside", "02:00:00:00:01:01", "10.0.0.1/24", "10.0.0.2/24"),
        ("outside", "02:00:00:00:02:01", "203.0.113.1/24", "203.0.113.2/24"),
    ];
    let ip = |space: &str, args: &[&str]| run("ip", &[&["-n", space], args].concat());
    for (port, mac, own, _) in hosts {
        let far = format!("{port}-far");
        ip(&space, &["link", "add", "name", port, "address", mac, "type", "veth", "peer", "name", &far])?;
        ip(&space, &["address", "add", own, "dev", port])?;
        ip(&space, &["link", "set", "dev", &far, "up"])?;
        ip(&space, &["link", "set", "dev", port, "up"])?;
    }
    let ports = ["--port", "inside=inside", "--port", "outside=outside"];
    let load = ["load", "examples/nat/nat.grv", "--name", &setup.id, "--config", "examples/nat/config.json", "--fix"];
    run_command("grv", &mut setup.grv(&[load.as_slice(), &ports].concat()))?;
    for (port, _, _, host) in hosts {
        let of = setup.space(port);
        ip(&space, &["link", "set", "dev", &format!("{port}-far"), "netns", &of, "name", "eth0"])?;
        ip(&of, &["address", "add", host, "dev", "eth0"])?;
        ip(&of, &["link", "set", "dev", "eth0", "up"])?;
    }
    ip(&setup.space("inside"), &["route", "add", "default", "via", "10.0.0.1"])?;
    let failed = |e| format!("a process cannot be started: {e}");
    let sync = setup.grv(&["sync", &setup.id]).spawn().map_err(failed)?;
    setup.beside.push(sync);
    let server = setup.python("outside", SERVER).spawn().map_err(failed)?;
    setup.beside.push(server);
    println!("\nThe host inside (10.0.0.2) asks a web server outside (203.0.113.2) for {} MB:\n", BYTES >> 20);
    run_command("python3", &mut setup.python("inside", CLIENT))?;
    println!("\nWhat the nat holds (`grv state`):\n");
    run_command("grv", &mut setup.grv(&["state", &setup.id, "--live"]))?;
    println!("\nAnd what it dropped (`grv stats`):\n");
    run_command("grv", &mut setup.grv(&["stats", &setup.id]))
}
