//! The whole gateway of one process: listeners, feed, store, reload and shutdown around the pieces.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access_log::AccessLog;
use crate::config::Config;
use crate::control::{self, ControlState};
use crate::feed;
use crate::proxy::{MediaServer, Shared, Tls};
use crate::restrictions::RestrictionSet;
use crate::store::Store;
use crate::{metrics, operations, proxy};

/// How long running transfers may go on after a shutdown began.
const GRACE: Duration = Duration::from_secs(30);

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// A gateway that runs.
pub struct Gateway {
    /// Addresses of the media listeners, with their real ports.
    pub media: Vec<SocketAddr>,
    /// Address of the control listener.
    pub control: SocketAddr,
    /// Address of the metrics listener.
    pub metrics: Option<SocketAddr>,
    /// What its requests share.
    pub shared: Shared,
    config: PathBuf,
    shutdown: watch::Sender<bool>,
    media_task: JoinHandle<std::io::Result<()>>,
    other_tasks: Vec<JoinHandle<std::io::Result<()>>>,
    feed_task: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("media", &self.media).field("control", &self.control).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Starts everything that `config`, read from the file at `path`, asks for. Returns once all listeners accept and
    /// the restrictions are loaded.
    ///
    /// # Errors
    ///
    /// An address that is taken, a certificate or store that cannot be used, example secrets.
    pub async fn start(config: Config, path: &Path) -> anyhow::Result<Gateway> {
        if let Some(example) = config.example_secrets.first() {
            bail!(
                "{} still holds the example secret; put your own there (`openssl rand -hex 32 > {0}`)",
                example.display()
            );
        }
        let threads = worker_threads(config.media.threads);
        let tls = match &config.media.tls {
            None => None,
            Some(files) => Some(
                Tls::from_pem_files(&files.cert_file, &files.key_file)
                    .with_context(|| format!("cannot use {}", files.cert_file.display()))?,
            ),
        };
        let mut listeners = Vec::new();
        for address in &config.media.listen {
            listeners.push(listen(*address, "media.listen")?);
        }
        let media = listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;

        let restrictions = Arc::new(RestrictionSet::new(random_key()?, Instant::now()));
        let shared = Shared {
            gate: Arc::new(ArcSwap::from_pointee(config.gate)),
            restrictions: Arc::clone(&restrictions),
            origins: Arc::new(proxy::Origins::default()),
            metrics: Arc::new(metrics::Metrics::new()),
            access_log: Some(Arc::new(AccessLog::stderr())),
        };
        let endpoints = shared.gate.load().endpoints();
        shared.origins.refresh(&endpoints).await;

        let (shutdown, down) = watch::channel(false);
        let mut other_tasks = Vec::new();

        let store = Store::open(&config.control.store).await?;
        let local = feed::local(store.clone());
        let (applied, mut in_force) = watch::channel(0);
        let followed = Arc::clone(&restrictions);
        let (cases, metrics) = (Arc::clone(&shared.gate), Arc::clone(&shared.metrics));
        let feed_task = tokio::spawn(async move {
            let uid_case = |app: &str| cases.load().uid_case(app).unwrap_or_default();
            if let Err(error) = feed::follow(local, &followed, uid_case, &metrics, &applied).await {
                log::error!("{error}");
            }
        });
        tokio::time::timeout(Duration::from_secs(30), in_force.changed())
            .await
            .context("the restrictions could not be loaded in 30 seconds")??;

        let listener = listen(config.control.listen, "control.listen")?;
        let control = listener.local_addr()?;
        let gate = Arc::clone(&shared.gate);
        let nodes = Arc::new(control::nodes::Nodes::default());
        let state = ControlState::new(store, nodes, Some(in_force), gate, config.control.api_keys).await?;
        other_tasks.push(tokio::spawn(control::serve(listener, state, is_down(down.clone()))));
        let metrics = match config.metrics {
            None => None,
            Some(address) => {
                let listener = listen(address, "metrics.listen")?;
                let address = listener.local_addr()?;
                other_tasks.push(tokio::spawn(operations::serve(listener, shared.clone(), is_down(down.clone()))));
                Some(address)
            }
        };
        let server = MediaServer::new(shared.clone(), threads);
        let media_task = tokio::spawn(async move { server.serve(listeners, tls, down, GRACE).await });
        Ok(Gateway {
            media,
            control,
            metrics,
            shared,
            config: path.to_owned(),
            shutdown,
            media_task,
            other_tasks,
            feed_task: Some(feed_task),
        })
    }

    /// Says where it listens, for the log.
    pub fn listening(&self) -> String {
        let mut text = String::from("listening:");
        for address in &self.media {
            text += &format!(" media {address},");
        }
        text += &format!(" control {}", self.control);
        text + &self.metrics.map_or_else(String::new, |address| format!(", metrics {address}"))
    }

    /// Runs until SIGINT or SIGTERM, reloading on SIGHUP; then ends gracefully. A second signal ends at once.
    ///
    /// # Errors
    ///
    /// When a listener fails.
    pub async fn run(self) -> anyhow::Result<()> {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut hang_up = signal(SignalKind::hangup())?;
        loop {
            tokio::select! {
                _ = hang_up.recv() => self.reload(),
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
            }
        }
        log::info!("shutting down: running transfers have {} seconds to end", GRACE.as_secs());
        tokio::select! {
            ended = self.stop() => ended,
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    }

    /// Reads the configuration again and takes over its apps, keys, hosts and storages. A file with errors changes
    /// nothing.
    pub fn reload(&self) {
        match Config::load(&self.config) {
            Ok(config) if config.example_secrets.is_empty() => {
                self.shared.gate.store(Arc::new(config.gate));
                log::info!("reloaded {}: apps, keys, hosts and storages are the new ones", self.config.display());
            }
            Ok(_) => log::error!("not reloaded: {} names example secrets", self.config.display()),
            Err(errors) => {
                for error in errors.to_string().lines() {
                    log::error!("not reloaded: {error}");
                }
            }
        }
    }

    /// Stops accepting, waits for running transfers, then stops the rest.
    ///
    /// # Errors
    ///
    /// When a listener had failed.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.shutdown.send_replace(true);
        // The feed goes on to the end: a user can be deactivated while transfers drain.
        let media = (&mut self.media_task).await;
        for task in &mut self.other_tasks {
            // A client that keeps its connection open does not hold the process up.
            if tokio::time::timeout(Duration::from_secs(5), &mut *task).await.is_err() {
                task.abort();
            }
        }
        if let Some(feed) = self.feed_task.take() {
            feed.abort();
        }
        Ok(media??)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.media_task.abort();
        self.other_tasks.iter().for_each(JoinHandle::abort);
        self.feed_task.iter().for_each(JoinHandle::abort);
    }
}

/// How many worker threads `configured` means; 0: one for each core.
pub fn worker_threads(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads,
    }
}

fn listen(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    let bind = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().with_context(|| format!("cannot listen on {address} ({key}); is something else using it?"))
}

fn random_key() -> anyhow::Result<[u64; 2]> {
    let mut key = [0; 16];
    aws_lc_rs::rand::fill(&mut key).ok().context("the system has no randomness")?;
    let (first, second) = key.split_at(8);
    let number = |half: &[u8]| half.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte));
    Ok([number(first), number(second)])
}

async fn is_down(mut down: watch::Receiver<bool>) {
    let _ = down.wait_for(|down| *down).await;
}
