//! The whole gateway of one process: listeners, feed, store, reload and shutdown around the pieces.

mod aside;
mod certificates;
mod feeds;
mod sockets;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use aside::Aside;
use certificates::Certificates;
use sockets::{Media, listen};

use crate::access_log::AccessLog;
use crate::config::{Config, FeedSource};
use crate::control::nodes::Nodes;
use crate::control::{self, ControlOptions, ControlState, Issuers};
use crate::gate::Access;
use crate::jwks::{KeySets, Times};
use crate::proxy::{MediaServer, Shared, Tls};
use crate::relay::step_down;
use crate::restrictions::RestrictionSet;
use crate::store::{Store, random_id};
use crate::{auth, metrics, operations, proxy};

/// How long running transfers may go on after a shutdown began.
const GRACE: Duration = Duration::from_secs(30);

/// A gateway that runs.
pub struct Gateway {
    /// Addresses of the media listeners, with their real ports.
    pub media: Vec<SocketAddr>,
    /// Address of the control listener; `None` without the role.
    pub control: Option<SocketAddr>,
    /// Address of the metrics listener.
    pub metrics: Option<SocketAddr>,
    /// Address that other proxies ask.
    pub auth: Option<SocketAddr>,
    /// What its requests share.
    pub shared: Shared,
    config: PathBuf,
    holder: String,
    store: Option<Store>,
    issuers: Arc<ArcSwap<Issuers>>,
    certificates: Certificates,
    key_sets: Option<Arc<KeySets>>,
    resync: watch::Sender<u64>,
    shutdown: watch::Sender<bool>,
    media_task: JoinHandle<std::io::Result<()>>,
    other_tasks: Vec<JoinHandle<std::io::Result<()>>>,
    feed_tasks: Vec<JoinHandle<()>>,
    /// Where the store, the relay and the control listener run.
    aside: Option<Aside>,
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
        let certificates = Certificates::read(&config)?;
        let restrictions = Arc::new(RestrictionSet::new(random_key()?, Instant::now()));
        let metrics = Arc::new(metrics::Metrics::new());
        let ends: Arc<OnceLock<Store>> = Arc::default();
        let shared = Shared {
            gate: Arc::new(ArcSwap::from_pointee(config.gate)),
            restrictions,
            origins: Arc::new(proxy::Origins::default()),
            unknown_kids: Arc::default(),
            cache: config.cache.map(|options| Arc::new(proxy::ObjectCache::new(options, metrics.cache.clone()))),
            platform: Arc::new(ArcSwap::from_pointee(config.platform.map(|platform| platform.start(&ends)))),
            metrics,
            access_log: config.media.is_some().then(|| Arc::new(AccessLog::stderr())),
        };
        // Where nothing is served, no token is verified.
        let key_sets = config.media.is_some().then(|| KeySets::start(shared.clone(), config.keys, Times::default()));
        let (shutdown, down) = watch::channel(false);
        let (resync, resyncs) = watch::channel(0);
        let (mut feed_tasks, mut other_tasks) = (Vec::new(), Vec::new());

        let issuers = Arc::new(ArcSwap::from_pointee(Issuers::new(&config.apps)));
        let nodes = Arc::new(Nodes::new(Instant::now(), shared.gate.load().freshness().max_staleness));
        // Two processes of one name must not both hold the lease.
        let holder = format!("{}-{}", config.name, random_id());
        let (mut aside, mut store) = (None, None);
        if let Some(control) = &config.control {
            // Beside media, half of the cores at the most are ever busy with it.
            let threads = if config.media.is_some() { worker_threads(0).div_ceil(2) } else { worker_threads(0) };
            let aside = aside.insert(Aside::start(threads)?);
            let opened = aside.run(Store::open(control.store.clone())).await??;
            check_switch(&opened, &shared).await?;
            let (feed, relayed, heard, holder) =
                (config.feed.clone(), opened.clone(), Arc::clone(&nodes), holder.clone());
            let relaying = async move { feeds::control(&feed, &relayed, &heard, &holder).await };
            feed_tasks.extend(aside.run(relaying).await??);
            let _ = ends.set(opened.clone());
            store = Some(opened);
        }
        let is_local = matches!(config.feed, FeedSource::Local);
        let mut applied = None;
        let media = match &config.media {
            None => None,
            Some(media) => {
                let bound = Media::bind(media)?;
                let local = store.as_ref().map(|store| (store, &nodes));
                let edge = feeds::edge(&config.feed, local, &shared, &config.name, resyncs).await?;
                feed_tasks.extend(edge.tasks);
                if is_local {
                    let mut loaded = edge.applied.clone();
                    let limit = Duration::from_secs(30);
                    let loaded = tokio::time::timeout(limit, loaded.changed()).await;
                    loaded.context("the restrictions could not be loaded in 30 seconds")??;
                    applied = Some(edge.applied);
                }
                let endpoints = shared.gate.load().endpoints();
                shared.origins.refresh(&endpoints).await;
                Some(bound)
            }
        };

        let control = match (config.control, &store, &aside) {
            (Some(control), Some(store), Some(aside)) => {
                let listener = aside.run(async move { listen(control.listen, "control.listen") }).await??;
                let address = listener.local_addr()?;
                let tls = certificates.control.clone().map(control::tls);
                let mut hosts = control.hosts;
                let own = media.iter().flat_map(|media| &media.addresses).find(|own| !own.ip().is_unspecified());
                hosts.media = hosts.media.or(own.map(SocketAddr::to_string));
                let state = ControlState::new(ControlOptions {
                    store: store.clone(),
                    nodes,
                    applied,
                    gate: Arc::clone(&shared.gate),
                    issuers: Arc::clone(&issuers),
                    hosts,
                    api_keys: control.api_keys,
                    calls_per_minute: control.calls_per_minute,
                    metrics: Arc::clone(&shared.metrics),
                });
                other_tasks.push(aside.spawn(control::serve(listener, tls, state, is_down(down.clone()))));
                Some(address)
            }
            _ => None,
        };
        let metrics = match config.metrics {
            None => None,
            Some(address) => {
                let listener = listen(address, "metrics.listen")?;
                let address = listener.local_addr()?;
                let (shared, key_sets, store) = (shared.clone(), key_sets.clone(), store.clone());
                let process = operations::Process { shared, is_edge: media.is_some(), key_sets, store };
                other_tasks.push(tokio::spawn(operations::serve(listener, process, is_down(down.clone()))));
                Some(address)
            }
        };
        let auth = match config.auth {
            None => None,
            Some(address) => {
                let listener = listen(address, "auth.listen")?;
                let address = listener.local_addr()?;
                other_tasks.push(tokio::spawn(auth::serve(listener, shared.clone(), is_down(down.clone()))));
                Some(address)
            }
        };
        let (addresses, media_task) = match media {
            Some(media) => {
                let server = MediaServer::new(shared.clone(), media.threads);
                let tls = certificates.media.clone().map(Tls::new);
                let serve = async move { server.serve(media.listeners, tls, down, GRACE).await };
                (media.addresses, tokio::spawn(serve))
            }
            None => {
                let wait = async move {
                    is_down(down).await;
                    Ok(())
                };
                (Vec::new(), tokio::spawn(wait))
            }
        };
        Ok(Gateway {
            media: addresses,
            control,
            metrics,
            auth,
            shared,
            config: path.to_owned(),
            holder,
            store,
            issuers,
            certificates,
            key_sets,
            resync,
            shutdown,
            media_task,
            other_tasks,
            feed_tasks,
            aside,
        })
    }

    /// Says where it listens, for the log.
    pub fn listening(&self) -> String {
        let mut text = String::from("listening:");
        for address in &self.media {
            text += &format!(" media {address},");
        }
        for (what, address) in [("control", self.control), ("metrics", self.metrics), ("auth", self.auth)] {
            if let Some(address) = address {
                text += &format!(" {what} {address},");
            }
        }
        text.trim_end_matches(',').to_owned()
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

    /// Reads the configuration again and takes over its apps, keys, hosts, storages and certificates. A file with
    /// errors changes nothing.
    pub fn reload(&self) {
        let config = match Config::load(&self.config) {
            Ok(config) => config,
            Err(errors) => {
                errors.to_string().lines().for_each(|error| log::error!("not reloaded: {error}"));
                return;
            }
        };
        if self.other_uids(&config) {
            log::error!("not reloaded: uid_case of an app has changed, which needs a restart of every process");
            return;
        }
        if !config.example_secrets.is_empty() {
            log::error!("not reloaded: {} names example secrets", self.config.display());
            return;
        }
        match Certificates::read(&config) {
            Ok(fresh) => self.certificates.replace(&fresh),
            Err(error) => {
                log::error!("not reloaded: {error:#}");
                return;
            }
        }
        let ends = Arc::new(self.store.clone().map_or_else(OnceLock::new, OnceLock::from));
        self.shared.platform.store(Arc::new(config.platform.map(|platform| platform.start(&ends))));
        match &self.key_sets {
            Some(key_sets) => key_sets.replace(config.keys),
            None => self.shared.gate.store(Arc::new(config.gate)),
        }
        self.issuers.store(Arc::new(Issuers::new(&config.apps)));
        // Uids may compare otherwise now.
        self.resync.send_modify(|times| *times += 1);
        let file = self.config.display();
        log::info!("reloaded {file}: apps, keys, hosts, storages and certificates are the new ones");
    }

    /// Whether uids of an app would compare otherwise: restrictions that are in force would no longer be found.
    fn other_uids(&self, config: &Config) -> bool {
        let gate = self.shared.gate.load();
        gate.apps().any(|app| config.gate.uid_case(app).is_some_and(|case| gate.uid_case(app) != Some(case)))
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
        self.feed_tasks.iter().for_each(JoinHandle::abort);
        self.key_sets.iter().for_each(|key_sets| key_sets.stop());
        if let Some(store) = &self.store
            && let Err(error) = step_down(store, &self.holder).await
        {
            log::warn!("the next relay has to wait: {error}");
        }
        drop(self.aside.take());
        Ok(media??)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.media_task.abort();
        self.other_tasks.iter().for_each(JoinHandle::abort);
        self.feed_tasks.iter().for_each(JoinHandle::abort);
        self.key_sets.iter().for_each(|key_sets| key_sets.stop());
    }
}

/// Refuses a configuration that asks less than the control plane has set for good: whoever wrote it believes something
/// that is not so.
async fn check_switch(store: &Store, shared: &Shared) -> anyhow::Result<()> {
    let gate = shared.gate.load_full();
    for app in gate.apps() {
        let access = gate.access(app).unwrap_or_default();
        if access != Access::Enforce && store.settings(app).await?.app.is_enforced {
            bail!(
                "app `{app}` has access = \"{}\" in the configuration, and was switched to \"enforce\" through the API, \
                 which is for good: write access = \"enforce\", or leave it out",
                access.label()
            );
        }
    }
    Ok(())
}

/// How many worker threads `configured` means; 0: one for each core.
pub fn worker_threads(configured: usize) -> usize {
    match configured {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads,
    }
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
