//! Where programs are attached: at XDP, in the driver or right behind it, or at tc, when the kernel has made a buffer of the packet.

use crate::error::Error;
use crate::log;
use crate::pins;
use crate::record::{Attached, Mode};
use aya::Ebpf;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::xdp::XdpLink;
use aya::programs::{LinkOrder, Program, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode};
use std::path::{Path, PathBuf};

/// A program for one of the hooks.
pub(crate) enum Hooked<'p> {
    Xdp(&'p mut Xdp),
    Tc(&'p mut SchedClassifier),
}

/// A program that was pinned.
pub(crate) enum Pinned {
    Xdp(Xdp),
    Tc(SchedClassifier),
}

impl Pinned {
    /// Finds it.
    pub(crate) fn open(path: &Path, hook: &str) -> Result<Pinned, Error> {
        let pinned = match hook {
            "tc" => SchedClassifier::from_pin(path).map(Pinned::Tc),
            _ => Xdp::from_pin(path, aya_obj::programs::XdpAttachType::Interface).map(Pinned::Xdp),
        };
        pinned.map_err(|e| Error::Pins { path: path.to_path_buf(), what: e.to_string() })
    }

    pub(crate) fn hooked(&mut self) -> Hooked<'_> {
        match self {
            Pinned::Xdp(xdp) => Hooked::Xdp(xdp),
            Pinned::Tc(tc) => Hooked::Tc(tc),
        }
    }
}

/// The program of an object.
pub(crate) fn program<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<Hooked<'e>, Error> {
    match ebpf.program_mut(name) {
        Some(Program::Xdp(xdp)) => Ok(Hooked::Xdp(xdp)),
        Some(Program::SchedClassifier(tc)) => Ok(Hooked::Tc(tc)),
        Some(_) => Err(Error::Object(format!("`{name}` is a program of another kind"))),
        None => Err(Error::Object(format!("the object has no program `{name}`"))),
    }
}

/// Has the kernel take a program.
pub(crate) fn verify(ebpf: &mut Ebpf, name: &str) -> Result<(), Error> {
    let loaded = match program(ebpf, name)? {
        Hooked::Xdp(xdp) => xdp.load(),
        Hooked::Tc(tc) => tc.load(),
    };
    loaded.map_err(|error| match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            Error::Rejected(Box::new(log::read(name, &verifier_log.to_string(), &io_error)))
        }
        other => Error::Rejected(Box::new(crate::error::Rejected {
            program: name.to_string(),
            line: None,
            reason: other.to_string(),
            log: String::new(),
        })),
    })
}

impl Hooked<'_> {
    /// Pins it.
    pub(crate) fn pin(&mut self, path: &Path) -> Result<(), Error> {
        let pinned = match self {
            Hooked::Xdp(xdp) => xdp.pin(path),
            Hooked::Tc(tc) => tc.pin(path),
        };
        pinned.map_err(|e| Error::Pins { path: path.to_path_buf(), what: e.to_string() })
    }

    /// Attaches it to a port's interface, for as long as the link is pinned.
    pub(crate) fn attach(&mut self, port: &Attached, mode: Mode, path: &Path) -> Result<(), Error> {
        let refused = |error: ProgramError| refused(port, error);
        let old = |since: &str| Error::Usage(format!("this kernel has no links for that ({since} has)"));
        let link: FdLink = match self {
            Hooked::Xdp(xdp) => {
                let how = match mode {
                    Mode::Any => XdpMode::Default,
                    Mode::Native => XdpMode::Driver,
                    Mode::Generic => XdpMode::Skb,
                };
                let id = xdp.attach_to_if_index(port.ifindex, how).map_err(refused)?;
                xdp.take_link(id).map_err(refused)?.try_into().map_err(|_| old("5.9"))?
            }
            Hooked::Tc(tc) => {
                let options = TcAttachOptions::TcxOrder(LinkOrder::default());
                let id = tc.attach_with_options(&port.interface, TcAttachType::Ingress, options).map_err(refused)?;
                tc.take_link(id).map_err(refused)?.try_into().map_err(|_| old("6.6"))?
            }
        };
        link.pin(path).map(drop).map_err(|e| Error::Pins { path: path.to_path_buf(), what: e.to_string() })
    }

    /// Has it run at a link in the place of another one.
    fn take_over(&mut self, path: &Path) -> Result<(), Error> {
        let failed = |e: &dyn std::fmt::Display| Error::Pins { path: path.to_path_buf(), what: e.to_string() };
        let link: FdLink = PinnedLink::from_pin(path).map_err(|e| failed(&e))?.into();
        // The pin keeps the link.
        match self {
            Hooked::Xdp(xdp) => {
                let id = xdp.attach_to_link(XdpLink::try_from(link).map_err(|e| failed(&e))?).map_err(|e| failed(&e))?;
                xdp.take_link(id).map(drop).map_err(|e| failed(&e))
            }
            Hooked::Tc(tc) => {
                let link = SchedClassifierLink::try_from(link).map_err(|e| failed(&e))?;
                let id = tc.attach_to_link(link).map_err(|e| failed(&e))?;
                tc.take_link(id).map(drop).map_err(|e| failed(&e))
            }
        }
    }
}

/// Has another program run at each link.
pub(crate) fn switch(links: &[PathBuf], program: &mut Hooked<'_>) -> Result<(), Error> {
    links.iter().try_for_each(|path| program.take_over(path))
}

fn refused(port: &Attached, error: ProgramError) -> Error {
    let what = format!("the program cannot be attached to `{}`", port.interface);
    match error {
        ProgramError::SyscallError(error) => {
            let hint = match error.io_error.raw_os_error() {
                Some(libc::EOPNOTSUPP) => "; its driver has no XDP: try `--mode generic`",
                Some(libc::ERANGE | libc::EINVAL) => "; is its MTU too large for XDP? A page holds frames of some 3,500 bytes",
                _ => "",
            };
            Error::System { what: format!("{what}{hint}"), error: error.io_error }
        }
        other => Error::Usage(format!("{what}: {other}")),
    }
}

impl crate::Installed {
    /// The links of its ports.
    pub(crate) fn links(&self) -> Result<Vec<PathBuf>, Error> {
        let paths: Vec<PathBuf> = (0..self.ports.len()).map(|number| self.folder.join(pins::link(number))).collect();
        match paths.iter().find(|path| !path.exists()) {
            Some(missing) => Err(Error::Pins { path: missing.clone(), what: "the link is not there".to_string() }),
            None => Ok(paths),
        }
    }
}
