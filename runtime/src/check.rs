//! What the machine must be like for a box to work, and what to do where it is not: things that otherwise show as packets that silently
//! vanish.

use crate::clock;
use crate::error::{Error, Tried};
use crate::features;
use crate::installed::Installed;
use crate::netlink::{Interface, Netlink, Runs};
use crate::record::{Attached, Mode};
use crate::sync::Fed;
use crate::sys::{self, Feature};
use std::os::fd::{AsFd, BorrowedFd};

/// Whether this kernel is as new as the one that an artefact was built for.
pub(crate) fn kernel(needed: &str) -> Result<(), Error> {
    let uname = rustix::system::uname();
    let running = uname.release().to_string_lossy().into_owned();
    match (version(needed), version(&running)) {
        (Some(needs), Some(has)) if needs > has => {
            let what = format!("this was built for kernel {needed}, and this is {running}: build it with `--kernel`");
            Err(Error::Usage(what))
        }
        _ => Ok(()),
    }
}

/// Whether the coarse clock of this kernel is the one that an artefact's lifetimes are counted in.
pub(crate) fn ticks(needed: Option<u32>) -> Result<(), Error> {
    differ(needed, clock::hz())
}

fn differ(needed: Option<u32>, has: Option<u32>) -> Result<(), Error> {
    let Some(needed) = needed.filter(|needed| has != Some(*needed)) else { return Ok(()) };
    let (what, instead) = match has {
        Some(has @ (100 | 250 | 1_000)) => (format!("this one has {has}"), format!("`--hz {has}`")),
        Some(has) => (format!("this one has {has}"), "`--hz none`".to_string()),
        None => ("how many this one has cannot be told".to_string(), "`--hz none`".to_string()),
    };
    let built =
        format!("this was built for a kernel with {needed} ticks of its clock a second, and {what}: lifetimes would be others");
    Err(Error::Usage(format!("{built}; build it with {instead}")))
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// What is wrong with the machine, each with what to do.
/// `fix`: far ends of pairs are changed as they have to be, instead.
pub(crate) fn machine(netlink: &mut Netlink, installed: &Installed, fix: bool) -> Result<Vec<String>, Error> {
    let interfaces = netlink.interfaces()?;
    let find = |index: u32| interfaces.iter().find(|interface| interface.index == index);
    // Any socket will do to ask devices by.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").tried(|| "devices cannot be asked".to_string())?;
    let mut found = Vec::new();
    for port in &installed.ports {
        let Some(interface) = find(port.ifindex) else { continue };
        if !interface.up {
            found.push(format!("`{0}` is down: `ip link set {0} up`", interface.name));
        }
        if installed.mode == Mode::Any && interface.xdp == Some(Runs::Kernel) {
            found.push(format!(
                "`{}` has a driver without XDP: the kernel runs the program itself, which is slower",
                interface.name
            ));
        }
        if !installed.description.is_xdp() {
            continue;
        }
        let takes = features::takes_redirects(interface.index);
        if interface.veth {
            let peer = if interface.peer_elsewhere { None } else { interface.peer.and_then(find) };
            found.extend(far_end(socket.as_fd(), interface, peer, takes, fix));
        } else if takes == Some(false) && interface.xdp == Some(Runs::Driver) {
            found.push(format!(
                "the driver of `{}` does not take redirected packets: nothing is sent there; try `--mode generic`",
                interface.name
            ));
        }
    }
    if installed.sends_to_host() {
        found.extend(forwarding(&installed.ports, installed));
    }
    if Fed::of(installed).is_some() {
        let networks = netlink.networks()?;
        for port in installed.ports.iter().filter(|port| networks.iter().all(|(index, ..)| *index != port.ifindex)) {
            found.push(format!(
                "`{}` has no IPv4 address: the kernel cannot resolve neighbours there; `ip address add ... dev {}`",
                port.interface, port.interface
            ));
        }
    }
    Ok(found)
}

/// What a port needs of the far end of its pair: a program or GRO there, for else the kernel takes no redirected packets (`takes`: whether it
/// does, if it tells); and whole checksums from there, for what they lack is lost in a redirect.
fn far_end(socket: BorrowedFd<'_>, near: &Interface, far: Option<&Interface>, takes: Option<bool>, fix: bool) -> Vec<String> {
    let mut found = Vec::new();
    let Some(far) = far else {
        if takes != Some(true) {
            found.push(format!(
                "the other end of `{}` is in another network namespace, and must take redirected packets: there, `ethtool -K IF gro on` while it is \
                 up, or an XDP program",
                near.name
            ));
        }
        found.push(format!(
            "the other end of `{}` is in another network namespace, and must not leave checksums to the device: there, `ethtool -K IF tx off`",
            near.name
        ));
        return found;
    };
    let is = |feature, on: bool| sys::has(socket, &far.name, feature).is_ok_and(|is| is == on);
    let set = |feature, on: bool| fix && sys::switch(socket, &far.name, feature, on).is_ok();
    let ready = far.xdp == Some(Runs::Driver) || is(Feature::Gro, true);
    if takes == Some(false) || !ready {
        // The kernel takes note of it when it is switched on, and only of a device that is up.
        let noted = set(Feature::Gro, false) && set(Feature::Gro, true) && far.up;
        if !noted {
            found.push(format!(
                "`{0}`, the other end of `{1}`, does not take redirected packets: `ip link set {0} up; ethtool -K {0} gro off; ethtool -K {0} gro \
                 on`, or an XDP program there",
                far.name, near.name
            ));
        }
    }
    if is(Feature::TxChecksums, true) && !set(Feature::TxChecksums, false) {
        found.push(format!(
            "`{0}`, the other end of `{1}`, leaves checksums to a device that is none, and a redirect loses that: `ethtool -K {0} tx off`",
            far.name, near.name
        ));
    }
    found
}

/// Packets whose time is up are answered by the kernel, if it would forward them.
fn forwarding(ports: &[Attached], installed: &Installed) -> Vec<String> {
    let read = |path: String| std::fs::read_to_string(path).ok().map(|text| text.trim().to_string());
    let mut found = Vec::new();
    if !installed.routes() {
        return found;
    }
    if read("/proc/sys/net/ipv4/ip_forward".to_string()).as_deref() == Some("0") {
        found.push(
            "the kernel does not forward, and so does not answer packets whose time is up: `sysctl net.ipv4.ip_forward=1`"
                .to_string(),
        );
    }
    let all = read("/proc/sys/net/ipv4/conf/all/rp_filter".to_string());
    for port in ports {
        let own = read(format!("/proc/sys/net/ipv4/conf/{}/rp_filter", port.interface));
        if [&all, &own].iter().any(|value| value.as_deref() == Some("1")) {
            found.push(format!(
                "the kernel drops packets on `{0}` from sources that it has no route to there, unanswered: `sysctl net.ipv4.conf.{0}.rp_filter=2` \
                 if their routes are the box's alone",
                port.interface
            ));
        }
    }
    found
}

impl Installed {
    fn sends_to_host(&self) -> bool {
        self.description.program.ports.iter().any(|port| port.name == "host")
    }

    /// Whether it forwards by routes of its own.
    fn routes(&self) -> bool {
        self.description.manifest.tables.iter().any(|info| info.keeping == "prefixes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_with_another_clock_is_refused() {
        assert!(differ(None, None).is_ok() && differ(Some(250), Some(250)).is_ok());
        let told = |has| differ(Some(250), has).unwrap_err().to_string();
        assert!(told(Some(1_000)).ends_with("build it with `--hz 1000`"));
        assert!(told(Some(300)).ends_with("build it with `--hz none`") && told(None).ends_with("build it with `--hz none`"));
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("6.18.44-fc"), Some((6, 18)));
        assert!(version("5.15") < version("6.1") && version("6.6") < version("6.12"));
        assert_eq!(version("unknown"), None);
        assert!(kernel("3.2").is_ok());
        assert!(kernel("99.0").is_err());
    }
}
