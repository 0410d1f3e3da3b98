//! What nodes say of themselves: a channel, so a report is lost where nobody listens, and made good by the next.

use std::time::Duration;

use futures_util::StreamExt;
use redis::{Client, Value, cmd};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::RedisOptions;
use super::keys::Keys;
use super::link::{Link, Throttle, broker_error};
use crate::feed::wire::{self, NodeReport};
use crate::feed::{Backoff, BrokerError, Reporter, Reports};

/// Reports that may wait to be taken; above that the newest are dropped.
const WAITING: usize = 1024;

/// How often a connection without reports is tried.
const PING: Duration = Duration::from_secs(5);

/// Sends reports. Connects when there is one, and anew after an error.
pub struct RedisReporter {
    link: Link,
    keys: Keys,
}

impl std::fmt::Debug for RedisReporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisReporter").field("channel", &self.keys.reports).finish_non_exhaustive()
    }
}

impl RedisReporter {
    /// Returns a reporter that is not connected yet.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Failed`] when the options are no good.
    pub fn new(options: &RedisOptions) -> Result<RedisReporter, BrokerError> {
        let link = Link::new(options, Duration::ZERO).map_err(BrokerError::Failed)?;
        Ok(RedisReporter { link, keys: options.keys() })
    }
}

impl Reporter for RedisReporter {
    async fn report(&mut self, report: &NodeReport) -> Result<(), BrokerError> {
        let command = cmd("PUBLISH").arg(&self.keys.reports).arg(wire::encode_report(report)).take();
        self.link.run::<Value>(&command).await.map(drop).map_err(|error| broker_error(&error))
    }
}

/// Listens for reports on a task of its own, which ends when this is dropped.
#[derive(Debug)]
pub struct RedisReports {
    reports: mpsc::Receiver<NodeReport>,
    task: JoinHandle<()>,
}

impl RedisReports {
    /// Begins to listen, on the runtime that this is called on; connects by itself, however long that takes.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Failed`] when the options are no good.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn new(options: &RedisOptions) -> Result<RedisReports, BrokerError> {
        let (sender, reports) = mpsc::channel(WAITING);
        let listener = Listener {
            client: options.client().map_err(BrokerError::Failed)?,
            channel: options.keys().reports,
            timeout: options.connect_timeout,
            sender,
            warned: Throttle::default(),
        };
        Ok(RedisReports { reports, task: tokio::spawn(listener.run()) })
    }
}

impl Reports for RedisReports {
    async fn next(&mut self) -> NodeReport {
        match self.reports.recv().await {
            Some(report) => report,
            // Its task ends with this, so nobody waits here.
            None => std::future::pending().await,
        }
    }
}

impl Drop for RedisReports {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Listener {
    client: Client,
    channel: String,
    timeout: Duration,
    sender: mpsc::Sender<NodeReport>,
    warned: Throttle,
}

impl Listener {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        while !self.sender.is_closed() {
            let why = match self.listen(&mut backoff).await {
                Ok(()) => "the connection has ended".to_owned(),
                Err(error) => error.to_string(),
            };
            self.warned.run(|| log::warn!("reports of nodes: {why}; trying again"));
            backoff.pause().await;
        }
    }

    /// Hands on what is said on one connection, until it ends.
    async fn listen(&mut self, backoff: &mut Backoff) -> Result<(), BrokerError> {
        let failed = |error: redis::RedisError| broker_error(&error);
        let late = |_| BrokerError::Unreachable("no answer in time".into());
        let connecting = async {
            let mut connection = self.client.get_async_pubsub().await?;
            connection.subscribe(&self.channel).await?;
            Ok(connection)
        };
        let connection = tokio::time::timeout(self.timeout, connecting).await.map_err(late)?.map_err(failed)?;
        let (mut sink, mut messages) = connection.split();
        backoff.reset();
        loop {
            match tokio::time::timeout(PING, messages.next()).await {
                Ok(None) => return Ok(()),
                Ok(Some(message)) => match wire::decode_report(message.get_payload_bytes()) {
                    // A queue that is full is one whose reader has stopped: the next report is as good.
                    Ok(report) => drop(self.sender.try_send(report)),
                    Err(error) => self.warned.run(|| log::warn!("reports of nodes: one is {error}")),
                },
                Err(_) => {
                    let ping = sink.ping::<Value>();
                    tokio::time::timeout(self.timeout, ping).await.map_err(late)?.map_err(failed)?;
                }
            }
        }
    }
}
