//! What the kernel knows of interfaces, their addresses and their neighbours.

use crate::error::{Error, Tried};
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp, XdpAttached};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd};

/// The group of messages of neighbours, as a mask.
const NEIGHBOURS: u32 = 1 << 2;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) index: u32,
    pub(crate) up: bool,
    pub(crate) veth: bool,
    /// Of a pair: the other end's number.
    pub(crate) peer: Option<u32>,
    /// Whether the other end is in another network namespace.
    pub(crate) peer_elsewhere: bool,
    /// The one that it is part of, as of a bridge.
    pub(crate) part_of: Option<u32>,
    pub(crate) xdp: Option<Runs>,
    pub(crate) traffic: Traffic,
}

impl Interface {
    /// Whether it lies right above another one, as a VLAN or a bridge does.
    pub(crate) fn is_above(&self, other: &Interface) -> bool {
        let link = self.peer.filter(|_| !self.veth && !self.peer_elsewhere);
        link == Some(other.index) || other.part_of == Some(self.index)
    }
}

/// What an interface has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Packets that came.
    pub received: u64,
    /// Packets that left.
    pub sent: u64,
}

/// Who runs an interface's XDP program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    Driver,
    Kernel,
}

/// A neighbour as the kernel knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Neighbour {
    pub(crate) interface: u32,
    pub(crate) address: Ipv4Addr,
    /// Its link-layer address, if it is known and may be used.
    pub(crate) mac: Option<[u8; 6]>,
    /// Whether it is in use but was not confirmed for a while.
    pub(crate) stale: bool,
}

/// A connection to the kernel.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    pub(crate) fn open() -> Result<Netlink, Error> {
        Netlink::connect(0).tried(|| "the kernel cannot be asked for interfaces".to_string())
    }

    /// One that is told of changes of neighbours.
    pub(crate) fn of_neighbours() -> Result<Netlink, Error> {
        let open = || -> io::Result<Netlink> {
            let netlink = Netlink::connect(NEIGHBOURS)?;
            netlink.socket.set_non_blocking(true)?;
            Ok(netlink)
        };
        open().tried(|| "the kernel does not tell of neighbours".to_string())
    }

    fn connect(groups: u32) -> io::Result<Netlink> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, groups))?;
        if groups == 0 {
            socket.connect(&SocketAddr::new(0, 0))?;
        }
        Ok(Netlink { socket, sequence: 0 })
    }

    /// Asks, and takes the answers until the last.
    fn ask(&mut self, what: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence += 1;
        let mut message = NetlinkMessage::from(what);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answers = Vec::new();
        loop {
            let (bytes, _) = self.socket.recv_from_full()?;
            for message in messages(&bytes)? {
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::Done(_) => return Ok(answers),
                    NetlinkPayload::Error(error) => match error.code {
                        None => return Ok(answers),
                        Some(_) => return Err(error.to_io()),
                    },
                    NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                    _ => {}
                }
            }
        }
    }

    /// All interfaces of this network namespace.
    pub(crate) fn interfaces(&mut self) -> Result<Vec<Interface>, Error> {
        let answers = self.ask(RouteNetlinkMessage::GetLink(LinkMessage::default()), NLM_F_DUMP);
        let answers = answers.tried(|| "the kernel does not list its interfaces".to_string())?;
        Ok(answers
            .iter()
            .filter_map(|answer| if let RouteNetlinkMessage::NewLink(link) = answer { Some(interface(link)) } else { None })
            .collect())
    }

    /// The IPv4 networks that interfaces are in: interface, address, length of the prefix.
    pub(crate) fn networks(&mut self) -> Result<Vec<(u32, Ipv4Addr, u8)>, Error> {
        let mut ask = AddressMessage::default();
        ask.header.family = AddressFamily::Inet;
        let answers = self.ask(RouteNetlinkMessage::GetAddress(ask), NLM_F_DUMP);
        let answers = answers.tried(|| "the kernel does not list its addresses".to_string())?;
        let mut found = Vec::new();
        for answer in answers {
            let RouteNetlinkMessage::NewAddress(of) = answer else { continue };
            let address = of.attributes.iter().find_map(|a| match a {
                AddressAttribute::Address(IpAddr::V4(address)) => Some(*address),
                _ => None,
            });
            found.extend(address.map(|address| (of.header.index, address, of.header.prefix_len)));
        }
        Ok(found)
    }

    /// All neighbours that the kernel knows.
    pub(crate) fn neighbours(&mut self) -> Result<Vec<Neighbour>, Error> {
        let mut ask = NeighbourMessage::default();
        ask.header.family = AddressFamily::Inet;
        let answers = self.ask(RouteNetlinkMessage::GetNeighbour(ask), NLM_F_DUMP);
        let answers = answers.tried(|| "the kernel does not list its neighbours".to_string())?;
        Ok(answers.iter().filter_map(changed).collect())
    }

    /// Has the kernel find out who has an address, or whether it is still so.
    pub(crate) fn resolve(&mut self, interface: u32, address: Ipv4Addr) -> Result<(), Error> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.ifindex = interface;
        message.header.state = NeighbourState::None;
        message.header.flags = NeighbourFlags::Use;
        message.attributes.push(NeighbourAttribute::Destination(NeighbourAddress::Inet(address)));
        let done = self.ask(RouteNetlinkMessage::NewNeighbour(message), NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE);
        done.map(drop).tried(|| format!("the kernel does not resolve {address}"))
    }

    /// Changes of neighbours that were told of meanwhile; none, if some were lost.
    pub(crate) fn changes(&mut self) -> Result<Option<Vec<Neighbour>>, Error> {
        let mut changes = Vec::new();
        loop {
            match self.socket.recv_from_full() {
                Ok((bytes, _)) => {
                    let told = messages(&bytes).tried(|| "the kernel tells of neighbours what is not understood".to_string())?;
                    for message in told {
                        if let NetlinkPayload::InnerMessage(inner) = &message.payload {
                            changes.extend(changed(inner));
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Some(changes)),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).tried(|| "the kernel does not tell of neighbours".to_string()),
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The messages in a datagram.
fn messages(bytes: &[u8]) -> io::Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= 16) {
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(|e| io::Error::other(e.to_string()))?;
        let length = message.header.length as usize;
        if length < 16 {
            break;
        }
        found.push(message);
        at += length.next_multiple_of(4);
    }
    Ok(found)
}

fn interface(link: &LinkMessage) -> Interface {
    let mut of = Interface {
        name: String::new(),
        index: link.header.index,
        up: link.header.flags.contains(LinkFlags::Up),
        veth: false,
        peer: None,
        peer_elsewhere: false,
        part_of: None,
        xdp: None,
        traffic: Traffic::default(),
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => of.name.clone_from(name),
            LinkAttribute::Link(peer) => of.peer = Some(*peer),
            LinkAttribute::Controller(whole) => of.part_of = Some(*whole),
            LinkAttribute::LinkNetNsId(_) => of.peer_elsewhere = true,
            LinkAttribute::LinkInfo(infos) => of.veth |= infos.iter().any(|info| matches!(info, LinkInfo::Kind(InfoKind::Veth))),
            LinkAttribute::Stats64(counts) => of.traffic = Traffic { received: counts.rx_packets, sent: counts.tx_packets },
            LinkAttribute::Xdp(about) => {
                of.xdp = about.iter().find_map(|xdp| match xdp {
                    LinkXdp::Attached(XdpAttached::SocketBuffer) => Some(Runs::Kernel),
                    LinkXdp::Attached(XdpAttached::None) => None,
                    LinkXdp::Attached(_) => Some(Runs::Driver),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    of
}

/// The neighbour that a message tells of, as it is from now on.
fn changed(message: &RouteNetlinkMessage) -> Option<Neighbour> {
    let (of, gone) = match message {
        RouteNetlinkMessage::NewNeighbour(of) => (of, false),
        RouteNetlinkMessage::DelNeighbour(of) => (of, true),
        _ => return None,
    };
    let address = of.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(*address),
        _ => None,
    })?;
    let mac = of.attributes.iter().find_map(|a| match a {
        NeighbourAttribute::LinkLayerAddress(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok(),
        _ => None,
    });
    let state = of.header.state;
    let unusable = matches!(state, NeighbourState::Incomplete | NeighbourState::Failed | NeighbourState::None);
    let mac = mac.filter(|_| !gone && !unusable);
    Some(Neighbour { interface: of.header.ifindex, address, mac, stale: !gone && state == NeighbourState::Stale })
}
