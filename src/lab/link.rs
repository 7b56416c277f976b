//! Interfaces, addresses and routes of one namespace, by rtnetlink; offloads by `ethtool`.
//!
//! Every function works in the namespace of the calling thread (see [`super::namespace::run_in`]).

use std::fs::File;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

use futures_util::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgePortState, BridgeStpState, Inet6IfaceFlags, InfoBridgePort, InfoData,
    InfoPortData, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, State,
};
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::namespace;
use crate::wire::Mac;

/// What can go wrong with an interface.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No netlink socket.
    #[error("no rtnetlink socket: {0}")]
    Socket(io::Error),
    /// The kernel refused.
    #[error("{0}: {1}")]
    Refused(String, Box<rtnetlink::Error>),
    /// A namespace that an interface should go to.
    #[error(transparent)]
    Namespace(#[from] namespace::Error),
    /// The interface isn't there.
    #[error("no interface {0} here")]
    Absent(String),
    /// A setting under /proc/sys.
    #[error("{0} can't be set to {1}: {2}")]
    Setting(String, &'static str, io::Error),
    /// The `ethtool` command is missing.
    #[error("the ethtool command can't be started ({0}); scripts/setup installs it")]
    NoEthtool(io::Error),
    /// `ethtool` refused.
    #[error("ethtool -K {0} {1}: {2}")]
    Offload(String, String, String),
}

fn refused(what: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> Error {
    |why| Error::Refused(what.into(), Box::new(why))
}

/// The far end of a veth pair.
#[derive(Clone, Debug)]
pub struct Peer<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name there.
    pub name: &'a str,
    /// Its MAC address; the kernel's choice where there is none.
    pub mac: Option<Mac>,
}

/// Netlink in the calling thread's namespace.
///
/// # Errors
/// The kernel's refusal, or what is missing.
pub fn with<T, F: Future<Output = Result<T, Error>>>(work: impl FnOnce(Links) -> F) -> Result<T, Error> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(Error::Socket)?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(Error::Socket)?;
        let pump = tokio::spawn(connection);
        let done = work(Links { handle }).await;
        pump.abort();
        done
    })
}

/// The interfaces of one namespace.
#[derive(Clone, Debug)]
pub struct Links {
    handle: Handle,
}

impl Links {
    async fn index(&self, name: &str) -> Result<u32, Error> {
        let found = self.handle.link().get().match_name(name.to_owned()).execute().try_next().await;
        match found {
            Ok(Some(link)) => Ok(link.header.index),
            Ok(None) | Err(_) => Err(Error::Absent(name.to_owned())),
        }
    }

    async fn change(&self, what: String, message: LinkMessage) -> Result<(), Error> {
        self.handle.link().set(message).execute().await.map_err(refused(what))
    }

    /// Brings an interface up.
    ///
    /// # Errors
    /// The kernel's refusal, or what is missing.
    pub async fn up(&self, name: &str) -> Result<(), Error> {
        let index = self.index(name).await?;
        let message = LinkUnspec::new_with_index(index).up().build();
        self.change(format!("{name} does not come up"), message).await
    }

    /// Makes a bridge that forwards at once and looks into nothing: no spanning tree, no multicast
    /// snooping.
    ///
    /// # Errors
    /// The kernel's refusal, or what is missing.
    pub async fn bridge(&self, name: &str) -> Result<(), Error> {
        let message = LinkBridge::new(name)
            .forward_delay(0)
            .stp_state(BridgeStpState::Disabled)
            .mcast_snooping(false)
            .up()
            .build();
        let added = self.handle.link().add(message).execute().await;
        added.map_err(refused(format!("bridge {name}")))
    }

    /// Makes a veth pair of so many queues: `name` as a port of `bridge` here, the other end in another
    /// namespace. Both ends are left down.
    ///
    /// # Errors
    /// The kernel's refusal, or what is missing.
    pub async fn veth(&self, name: &str, bridge: &str, peer: &Peer<'_>, queues: u32) -> Result<(), Error> {
        let there = File::open(namespace::path(peer.namespace))
            .map_err(|e| namespace::Error::Open(peer.namespace.to_owned(), e))?;
        let queues = [LinkAttribute::NumTxQueues(queues), LinkAttribute::NumRxQueues(queues)];
        let mut far = LinkUnspec::new_with_name(peer.name).setns_by_fd(there.as_raw_fd());
        if let Some(mac) = peer.mac {
            far = far.address(mac.0.to_vec());
        }
        let mut near = LinkMessageBuilder::<LinkVeth>::new(name, peer.name);
        for queue in queues {
            far = far.append_extra_attribute(queue.clone());
            near = near.append_extra_attribute(queue);
        }
        let near = near
            .controller(self.index(bridge).await?)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(far.build())))
            .build();
        let added = self.handle.link().add(near).execute().await;
        added.map_err(refused(format!("veth {name} to {} of {}", peer.name, peer.namespace)))
    }

    /// Gives an interface an address.
    ///
    /// # Errors
    /// The kernel's refusal, or what is missing.
    pub async fn address(&self, name: &str, address: IpAddr, length: u8) -> Result<(), Error> {
        let index = self.index(name).await?;
        let added = self.handle.address().add(index, address, length).execute().await;
        added.map_err(refused(format!("address {address}/{length} on {name}")))
    }

    /// Makes everything reachable on the link itself.
    ///
    /// # Errors
    /// The kernel's refusal, or what is missing.
    pub async fn everything_on_link(&self, name: &str) -> Result<(), Error> {
        let index = self.index(name).await?;
        let v4 = RouteMessageBuilder::<Ipv4Addr>::new().output_interface(index).scope(RouteScope::Link);
        let v6 = RouteMessageBuilder::<Ipv6Addr>::new().output_interface(index);
        let what = || format!("default route on {name}");
        let added = self.handle.route().add(v4.build()).execute().await;
        added.map_err(refused(what()))?;
        let added = self.handle.route().add(v6.build()).execute().await;
        added.map_err(refused(what()))
    }

    /// Whether everything here but the loopback can carry frames: up, forwarding where it is a port of a
    /// bridge, and, with `v6`, known to IPv6 as ready. Each of these follows `up` by itself, a moment later.
    ///
    /// # Errors
    /// The kernel's refusal, or what is missing.
    pub async fn ready(&self, v6: bool) -> Result<bool, Error> {
        let all: Vec<LinkMessage> =
            self.handle.link().get().execute().try_collect().await.map_err(refused("interfaces"))?;
        Ok(all.iter().filter(|link| !link.header.flags.contains(LinkFlags::Loopback)).all(|link| {
            let has = |wanted: &dyn Fn(&LinkAttribute) -> bool| link.attributes.iter().any(wanted);
            let up = has(&|a| matches!(a, LinkAttribute::OperState(State::Up)));
            up && !has(&is_port_in_waiting) && (!v6 || has(&is_ready_for_v6))
        }))
    }

    async fn neighbour(&self, address: IpAddr) -> Result<Option<NeighbourMessage>, Error> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let wanted = NeighbourAttribute::Destination(NeighbourAddress::from(address));
        let all = self.handle.neighbours().get().set_address_family(family).execute();
        let all: Vec<NeighbourMessage> =
            all.try_collect().await.map_err(refused("neighbour table".to_owned()))?;
        Ok(all.into_iter().find(|entry| entry.attributes.contains(&wanted)))
    }

    /// The MAC address this host believes an address to have; none while it does not know.
    ///
    /// # Errors
    /// The kernel's refusal, or what is missing.
    pub async fn neighbour_mac(&self, address: IpAddr) -> Result<Option<Mac>, Error> {
        let Some(entry) = self.neighbour(address).await? else { return Ok(None) };
        Ok(entry.attributes.iter().find_map(|attribute| {
            let NeighbourAttribute::LinkLayerAddress(bytes) = attribute else { return None };
            bytes.as_slice().try_into().ok().map(Mac)
        }))
    }

    /// Makes this host forget what it believes about an address.
    ///
    /// # Errors
    /// The kernel's refusal, or what is missing.
    pub async fn forget_neighbour(&self, address: IpAddr) -> Result<(), Error> {
        let Some(entry) = self.neighbour(address).await? else { return Ok(()) };
        match self.handle.neighbours().del(entry).execute().await {
            // Gone by itself between the two calls.
            Err(rtnetlink::Error::NetlinkError(e)) if e.to_io().kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(refused(format!("neighbour {address}"))),
        }
    }
}

fn is_port_in_waiting(attribute: &LinkAttribute) -> bool {
    let LinkAttribute::LinkInfo(parts) = attribute else { return false };
    parts.iter().any(|part| {
        let LinkInfo::PortData(InfoPortData::BridgePort(port)) = part else { return false };
        !port.contains(&InfoBridgePort::State(BridgePortState::Forwarding))
    })
}

fn is_ready_for_v6(attribute: &LinkAttribute) -> bool {
    let LinkAttribute::AfSpecUnspec(families) = attribute else { return false };
    families.iter().any(|family| {
        let AfSpecUnspec::Inet6(facts) = family else { return false };
        facts
            .iter()
            .any(|f| matches!(f, AfSpecInet6::Flags(flags) if flags.contains(Inet6IfaceFlags::Ready)))
    })
}

/// Writes one setting of this namespace's network stack: `ipv6/conf/all/accept_ra`.
///
/// # Errors
/// The kernel's refusal, or what is missing.
pub fn setting(key: &str, value: &'static str) -> Result<(), Error> {
    let path = format!("/proc/sys/net/{key}");
    std::fs::write(&path, value).map_err(|e| Error::Setting(path, value, e))
}

/// Sets offloads of an interface: `["tx", "off"]`.
///
/// # Errors
/// The kernel's refusal, or what is missing.
pub fn offloads(name: &str, words: &[&str]) -> Result<(), Error> {
    let output = Command::new("ethtool")
        .arg("-K")
        .arg(name)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .map_err(Error::NoEthtool)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Offload(name.to_owned(), words.join(" "), said))
}
