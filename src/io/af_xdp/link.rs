//! Interfaces of the calling thread's network namespace, over netlink.
//!
//! Each call runs a small runtime of its own on the calling thread and leaves nothing behind, so it
//! belongs to start and stop, never to a worker, and never inside another runtime.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use futures_util::{StreamExt, TryStreamExt};
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, LinkXdp, XdpAttached};
use rtnetlink::packet_route::nsid::{NsidAttribute, NsidMessage};
use rtnetlink::packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec};

/// An interface as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) mtu: u32,
    pub(super) up: bool,
    pub(super) promiscuous: bool,
    /// Id of the XDP program on it.
    pub(super) program: Option<u32>,
    /// That program sits in the stack, not in the driver.
    pub(super) generic: bool,
    /// A veth's other end.
    pub(super) peer: Option<Peer>,
}

/// Where a veth's other end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its index, in its own namespace.
    pub index: u32,
    /// That namespace, by the number this one has for it; none where it is the same.
    pub namespace: Option<i32>,
}

/// The interface of that name, or `None`.
pub(super) fn find(interface: &str) -> io::Result<Option<Link>> {
    let name = interface.to_owned();
    let found = talk(async move |handle| handle.link().get().match_name(name).execute().try_next().await);
    match found {
        Ok(message) => Ok(message.as_ref().map(read)),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The name of the interface with that index, and whether it is a port of a bridge or the like.
pub(super) fn end(index: u32) -> io::Result<Option<(String, bool)>> {
    let found = talk(async move |handle| handle.link().get().match_index(index).execute().try_next().await);
    match found {
        Ok(message) => Ok(message.and_then(|message| {
            let bridged =
                message.attributes.iter().any(|found| matches!(found, LinkAttribute::Controller(_)));
            message.attributes.into_iter().find_map(|found| {
                if let LinkAttribute::IfName(name) = found { Some((name, bridged)) } else { None }
            })
        })),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The number that the calling thread's namespace has for another one; none if it has none.
pub(super) fn namespace_id(namespace: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    let fd = u32::try_from(namespace.as_raw_fd()).map_err(io::Error::other)?;
    let mut message = NsidMessage::default();
    message.attributes.push(NsidAttribute::Fd(fd));
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::GetNsId(message));
    request.header.flags = NLM_F_REQUEST;
    talk(async move |mut handle| {
        let mut answers = handle.request(request)?;
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(error) = answer.payload {
                return Err(rtnetlink::Error::NetlinkError(error));
            }
            if let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNsId(found)) = answer.payload {
                return Ok(found.attributes.iter().find_map(|attribute| {
                    // -1: this namespace has no number for it.
                    if let NsidAttribute::Id(id) = attribute { (*id >= 0).then_some(*id) } else { None }
                }));
            }
        }
        Ok(None)
    })
}

fn read(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        promiscuous: message.header.flags.contains(LinkFlags::Promisc),
        ..Link::default()
    };
    let namespace = message
        .attributes
        .iter()
        .find_map(|found| if let LinkAttribute::LinkNetNsId(id) = found { Some(*id) } else { None });
    for attribute in &message.attributes {
        if let LinkAttribute::Link(index) = attribute {
            link.peer = Some(Peer { index: *index, namespace });
        }
        if let LinkAttribute::Mtu(mtu) = attribute {
            link.mtu = *mtu;
        }
        if let LinkAttribute::Xdp(parts) = attribute {
            link.program =
                parts.iter().find_map(|part| if let LinkXdp::ProgId(id) = part { Some(*id) } else { None });
            link.generic = parts.contains(&LinkXdp::Attached(XdpAttached::SocketBuffer));
        }
    }
    link
}

/// Sets the link up or down.
pub(super) fn set_up(index: u32, up: bool) -> io::Result<()> {
    let change = LinkMessageBuilder::<LinkUnspec>::default().index(index);
    change_link(if up { change.up() } else { change.down() }.build())
}

/// Switches promiscuous mode.
pub(super) fn set_promiscuous(index: u32, on: bool) -> io::Result<()> {
    change_link(LinkMessageBuilder::<LinkUnspec>::default().index(index).promiscuous(on).build())
}

fn change_link(message: LinkMessage) -> io::Result<()> {
    talk(async move |handle| handle.link().set(message).execute().await)
}

/// Kind of the qdisc at the root of an interface.
pub(super) fn root_qdisc(index: u32) -> io::Result<Option<String>> {
    let index = i32::try_from(index).map_err(io::Error::other)?;
    let all: Vec<TcMessage> =
        talk(async move |handle| handle.qdisc().get().index(index).execute().try_collect().await)?;
    Ok(all
        .into_iter()
        .filter(|found| found.header.index == index && found.header.parent == TcHandle::ROOT)
        .find_map(|found| {
            found.attributes.into_iter().find_map(|attribute| {
                if let TcAttribute::Kind(kind) = attribute { Some(kind) } else { None }
            })
        }))
}

/// Puts a `pfifo` of default length at the root.
pub(super) fn set_pfifo(index: u32) -> io::Result<()> {
    let index = i32::try_from(index).map_err(io::Error::other)?;
    let mut message = TcMessage::with_index(index);
    message.header.parent = TcHandle::ROOT;
    message.attributes.push(TcAttribute::Kind("pfifo".to_owned()));
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::NewQueueDiscipline(message));
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
    talk(async move |mut handle| {
        let mut answers = handle.request(request)?;
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(error) = answer.payload
                && error.code.is_some()
            {
                return Err(rtnetlink::Error::NetlinkError(error));
            }
        }
        Ok(())
    })
}

/// Removes the root qdisc; the kernel puts its default back.
pub(super) fn remove_root_qdisc(index: u32) -> io::Result<()> {
    let index = i32::try_from(index).map_err(io::Error::other)?;
    talk(async move |handle| {
        let mut request = handle.qdisc().del(index);
        request.message_mut().header.parent = TcHandle::ROOT;
        request.execute().await
    })
}

fn talk<T>(work: impl AsyncFnOnce(Handle) -> Result<T, rtnetlink::Error>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        let driver = tokio::spawn(connection);
        let answer = work(handle).await;
        driver.abort();
        answer.map_err(|error| {
            if let rtnetlink::Error::NetlinkError(message) = error {
                message.to_io()
            } else {
                io::Error::other(error.to_string())
            }
        })
    })
}
