//! Sockets that listen.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::net::{TcpListener, TcpSocket};

use crate::config;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// The media listener before it serves: an address that is taken is an error before anything else begins.
pub(super) struct Media {
    pub(super) listeners: Vec<TcpListener>,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) threads: usize,
}

impl Media {
    /// Binds all addresses.
    pub(super) fn bind(media: &config::Media) -> anyhow::Result<Media> {
        let mut listeners = Vec::new();
        for address in &media.listen {
            listeners.push(listen(*address, "media.listen")?);
        }
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
        Ok(Media { listeners, addresses, threads: super::worker_threads(media.threads) })
    }
}

/// Listens on `address`, which stands at `key` in the configuration.
pub(super) fn listen(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().with_context(|| format!("cannot listen on {address} ({key}); is something else using it?"))
}
