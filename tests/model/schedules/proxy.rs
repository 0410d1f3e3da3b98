//! What is between a process and the broker: a network that may hold back, slow down, refuse and reset.

use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How bytes get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// At once.
    Through,
    /// Some time after they were sent.
    Slow(Duration),
    /// Not for now: connections are made, and nothing passes.
    Held,
    /// Not at all: connections are reset.
    Refused,
}

#[derive(Debug, Clone, Copy)]
struct State {
    flow: Flow,
    /// Steps on when the connections there are are to be reset.
    resets: u64,
}

/// A way to the broker. Connections end with it.
pub(super) struct Proxy {
    pub(super) port: u16,
    state: watch::Sender<State>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Opens a way to `target` of this machine.
    pub(super) async fn open(target: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (state, seen) = watch::channel(State { flow: Flow::Through, resets: 0 });
        let task = tokio::spawn(serve(listener, target, seen));
        Proxy { port, state, task }
    }

    pub(super) fn set(&self, flow: Flow) {
        self.state.send_modify(|state| state.flow = flow);
    }

    pub(super) fn reset(&self) {
        self.state.send_modify(|state| state.resets += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, target: u16, state: watch::Receiver<State>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        tokio::spawn(connection(client, target, state.clone()));
    }
}

async fn connection(mut client: TcpStream, target: u16, mut state: watch::Receiver<State>) {
    let flow = state.clone();
    let resets = state.borrow_and_update().resets;
    tokio::select! {
        _ = state.wait_for(|state| state.resets != resets || state.flow == Flow::Refused) => {}
        _ = pass(&mut client, target, flow) => {}
    }
    let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
}

async fn pass(client: &mut TcpStream, target: u16, mut state: watch::Receiver<State>) -> std::io::Result<()> {
    if state.wait_for(|state| state.flow != Flow::Held).await.is_err() {
        return Ok(());
    }
    let mut server = TcpStream::connect(("127.0.0.1", target)).await?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::select! {
        up = copy(from_client, to_server, state.clone()) => up,
        down = copy(from_server, to_client, state.clone()) => down,
    }
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut state: watch::Receiver<State>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = from.read(&mut buffer).await?;
        let Ok(now) = state.wait_for(|state| state.flow != Flow::Held).await.map(|state| *state) else { return Ok(()) };
        if length == 0 {
            return Ok(());
        }
        if let Flow::Slow(pause) = now.flow {
            tokio::time::sleep(pause).await;
        }
        to.write_all(&buffer[..length]).await?;
    }
}
