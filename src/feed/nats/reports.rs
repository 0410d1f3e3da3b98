//! What nodes say of themselves: plain messages, which nothing keeps.

use async_nats::Subscriber;
use futures_util::StreamExt;

use super::link::{Link, Throttle};
use super::options::NatsOptions;
use crate::feed::wire::{self, NodeReport};
use crate::feed::{Backoff, BrokerError, Reporter, Reports};

/// Sends what a node says of itself to `<prefix>.reports`.
pub struct NatsReporter {
    link: Link,
}

impl std::fmt::Debug for NatsReporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsReporter").field("subject", &self.link.subjects.reports).finish_non_exhaustive()
    }
}

impl NatsReporter {
    /// Connects on its own; [`NatsFeed::reporter`](super::NatsFeed::reporter) shares the feed's connection.
    ///
    /// # Errors
    ///
    /// As [`NatsBroker::connect`](super::NatsBroker::connect).
    pub async fn connect(options: &NatsOptions) -> Result<NatsReporter, BrokerError> {
        Ok(NatsReporter { link: Link::open(options).await? })
    }

    pub(super) fn over(link: Link) -> NatsReporter {
        NatsReporter { link }
    }
}

impl Reporter for NatsReporter {
    async fn report(&mut self, report: &NodeReport) -> Result<(), BrokerError> {
        // Kept back until there is a connection, it would be stale when it came.
        self.link.connected()?;
        let payload = wire::encode_report(report).into();
        let sent = self.link.client.publish(self.link.subjects.reports.clone(), payload).await;
        sent.map_err(|error| BrokerError::Unreachable(error.to_string()))
    }
}

/// Receives what nodes say of themselves.
pub struct NatsReports {
    link: Link,
    reports: Option<Subscriber>,
    retries: Backoff,
    unreadable: Throttle,
}

impl std::fmt::Debug for NatsReports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatsReports").field("subject", &self.link.subjects.reports).finish_non_exhaustive()
    }
}

impl NatsReports {
    /// Connects to the servers of `options`; when none can be reached, they are waited for in the background.
    ///
    /// # Errors
    ///
    /// As [`NatsBroker::connect`](super::NatsBroker::connect).
    pub async fn connect(options: &NatsOptions) -> Result<NatsReports, BrokerError> {
        let link = Link::open(options).await?;
        let mut reports =
            NatsReports { link, reports: None, retries: Backoff::default(), unreadable: Throttle::default() };
        reports.subscribe().await?;
        Ok(reports)
    }

    async fn subscribe(&mut self) -> Result<(), BrokerError> {
        let subject = self.link.subjects.reports.clone();
        let subscriber = self.link.client.subscribe(subject).await;
        self.reports = Some(subscriber.map_err(|error| BrokerError::Unreachable(error.to_string()))?);
        Ok(())
    }
}

impl Reports for NatsReports {
    async fn next(&mut self) -> NodeReport {
        loop {
            let Some(reports) = &mut self.reports else {
                self.retries.pause().await;
                if let Err(error) = self.subscribe().await
                    && self.unreadable.ready()
                {
                    log::warn!("nats: no reports of nodes: {error}");
                }
                continue;
            };
            match reports.next().await {
                Some(message) => match wire::decode_report(&message.payload) {
                    Ok(report) => return report,
                    Err(error) if self.unreadable.ready() => {
                        log::warn!("nats: a report is passed over because it is {error}");
                    }
                    Err(_) => {}
                },
                None => self.reports = None,
            }
        }
    }
}
