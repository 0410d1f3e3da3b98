//! A connection, and the requests that relay and nodes share.

use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::jetstream::context::{RequestError, RequestErrorKind};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{Info, RawMessageBuilder, RawMessageErrorKind, Stream};
use async_nats::jetstream::{self, Context, ErrorCode};
use async_nats::{Client, ConnectError, ConnectErrorKind, Event, ServerError};
use tokio::sync::watch;

use super::options::{NatsOptions, REQUEST_TIMEOUT};
use super::subjects::Subjects;
use crate::feed::BrokerError;

/// How often what goes on failing is logged.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// Publications whose answer may be outstanding. Two relays at once stay below the 10,000 that a stream queues.
pub(super) const MAX_IN_FLIGHT: usize = 4096;

/// What a connection has gone through.
#[derive(Debug, Clone, Default)]
pub(super) struct Health {
    /// Connections that broke.
    pub(super) broken: u64,
    /// How often the server said that we may not do something, and what it last said so of.
    refusals: u64,
    refused: String,
}

/// A connection to a server, and its stream.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) context: Context,
    pub(super) stream: Stream<()>,
    pub(super) subjects: Subjects,
    pub(super) health: watch::Receiver<Health>,
}

impl Link {
    /// Connects; a server that cannot be reached is waited for in the background.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Refused`] when the server does not accept us, or cannot be believed; [`BrokerError::Failed`] when
    /// the options make no sense.
    pub(super) async fn open(options: &NatsOptions) -> Result<Link, BrokerError> {
        // More than one is compiled in, and rustls takes none by itself then.
        pingora::tls::install_default_crypto_provider();
        let subjects = options.checked().map_err(BrokerError::Failed)?;
        let addresses = options.addresses().map_err(BrokerError::Failed)?;
        let (sender, health) = watch::channel(Health::default());
        let connect = || {
            let sender = sender.clone();
            let reports = subjects.reports.clone();
            let connect = options.connect_options().map_err(BrokerError::Failed)?;
            Ok::<_, BrokerError>(connect.event_callback(move |event| {
                note(&sender, &event, &reports);
                std::future::ready(())
            }))
        };
        let client = match connect()?.connect(addresses.clone()).await {
            Ok(client) => client,
            Err(error) => match error.kind() {
                ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                    return Err(BrokerError::Refused("wrong or missing credentials".to_owned()));
                }
                _ if is_not_believed(&error) => return Err(BrokerError::Refused(error.to_string())),
                _ => {
                    log::warn!("nats: no server can be reached, waiting for one: {error}");
                    let connect = connect()?.retry_on_initial_connect();
                    connect.connect(addresses).await.map_err(|error| BrokerError::Failed(error.to_string()))?
                }
            },
        };
        let context = jetstream::context::ContextBuilder::new()
            .timeout(REQUEST_TIMEOUT)
            .ack_timeout(REQUEST_TIMEOUT)
            .max_ack_inflight(2 * MAX_IN_FLIGHT)
            .build(client.clone());
        let stream = context
            .get_stream_no_info(&subjects.stream)
            .await
            .map_err(|error| BrokerError::Failed(error.to_string()))?;
        Ok(Link { client, context, stream, subjects, health })
    }

    /// Fails at once when there is no connection, rather than after a timeout.
    pub(super) fn connected(&self) -> Result<(), BrokerError> {
        match self.client.connection_state() {
            State::Connected => Ok(()),
            State::Pending | State::Disconnected => Err(BrokerError::Unreachable("not connected".to_owned())),
        }
    }

    /// Waits for `answer`, unless the server says that we may not ask.
    pub(super) async fn permitted<T>(
        &self,
        answer: impl Future<Output = Result<T, BrokerError>> + Send,
    ) -> Result<T, BrokerError> {
        self.connected()?;
        let mut health = self.health.clone();
        let before = health.borrow_and_update().refusals;
        let refused = async {
            let refused = health.wait_for(|health| health.refusals != before).await;
            match refused.map(|health| health.refused.clone()) {
                Ok(refused) => refused,
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answer = answer => answer,
            refused = refused => Err(BrokerError::Refused(refused)),
        }
    }

    /// What the server says of the stream; `None` when there is none.
    pub(super) async fn info(&self) -> Result<Option<Info>, BrokerError> {
        let subject = format!("STREAM.INFO.{}", self.subjects.stream);
        let request = async { self.context.request(subject, &()).await.map_err(|error| failed_request(&error)) };
        match self.permitted(request).await? {
            Response::Ok(info) => Ok(Some(info)),
            Response::Err { error } if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
            Response::Err { error } => Err(failed(&error)),
        }
    }

    /// The message at `sequence`, if it is still kept.
    pub(super) async fn message(&self, sequence: u64) -> Result<Option<StreamMessage>, BrokerError> {
        self.kept(self.stream.raw_message_builder().sequence(sequence)).await
    }

    /// The newest message of `subject`, if one is kept.
    pub(super) async fn newest(&self, subject: &str) -> Result<Option<StreamMessage>, BrokerError> {
        self.kept(self.stream.raw_message_builder().last_by_subject(subject)).await
    }

    /// The newest marker, if one is kept. It may be the first message and yet not be found by its subject, once others
    /// were deleted around it (seen with nats-server 2.15.1).
    pub(super) async fn marker(&self) -> Result<Option<StreamMessage>, BrokerError> {
        if let Some(marker) = self.newest(&self.subjects.snapshot).await? {
            return Ok(Some(marker));
        }
        let Some(info) = self.info().await?.filter(|info| info.state.messages > 0) else { return Ok(None) };
        let first = self.message(info.state.first_sequence).await?;
        Ok(first.filter(|first| first.subject.as_str() == self.subjects.snapshot))
    }

    async fn kept(&self, request: RawMessageBuilder) -> Result<Option<StreamMessage>, BrokerError> {
        let request = async {
            match request.send().await {
                Ok(message) => Ok(Some(message)),
                Err(error) => match error.kind() {
                    RawMessageErrorKind::NoMessageFound => Ok(None),
                    RawMessageErrorKind::JetStream(error)
                        if [ErrorCode::NO_MESSAGE_FOUND, ErrorCode::STREAM_NOT_FOUND].contains(&error.error_code()) =>
                    {
                        Ok(None)
                    }
                    RawMessageErrorKind::JetStream(error) => Err(failed(&error)),
                    RawMessageErrorKind::InvalidSubject => Err(BrokerError::Failed(error.to_string())),
                    RawMessageErrorKind::Other => Err(BrokerError::Unreachable(error.to_string())),
                },
            }
        };
        self.permitted(request).await
    }
}

/// Whether a server was reached whose certificate does not hold.
fn is_not_believed(error: &ConnectError) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(rustls::Error::InvalidCertificate(_)) = inner.and_then(|inner| inner.downcast_ref()) {
            return true;
        }
        source = error.source();
    }
    false
}

fn note(health: &watch::Sender<Health>, event: &Event, reports: &str) {
    match event {
        Event::Disconnected => health.send_modify(|health| health.broken += 1),
        Event::ServerError(ServerError::AuthorizationViolation) => log::error!("nats: wrong or missing credentials"),
        Event::ServerError(ServerError::Other(text)) => {
            log::error!("nats: {}", text.escape_debug());
            // A node that may not report still follows.
            if text.to_ascii_lowercase().contains("permissions violation") && !text.contains(reports) {
                health.send_modify(|health| {
                    health.refusals += 1;
                    health.refused.clone_from(text);
                });
            }
        }
        Event::SlowConsumer(_) | Event::ServerError(ServerError::SlowConsumer(_)) => {
            log::warn!("nats: messages came faster than they were taken");
        }
        Event::ClientError(error) => log::debug!("nats: {error}"),
        Event::Connected | Event::LameDuckMode | Event::Draining | Event::Closed => log::debug!("nats: {event}"),
    }
}

/// What an answer of JetStream means that is an error.
pub(super) fn failed(error: &jetstream::Error) -> BrokerError {
    match error.error_code() {
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            BrokerError::Refused("JetStream is not enabled".to_owned())
        }
        _ => BrokerError::Failed(error.to_string()),
    }
}

fn failed_request(error: &RequestError) -> BrokerError {
    match error.kind() {
        RequestErrorKind::NoResponders => BrokerError::Unreachable("JetStream does not answer".to_owned()),
        _ => BrokerError::Unreachable(error.to_string()),
    }
}

/// Lets one line through in a while.
#[derive(Debug)]
pub(super) struct Throttle {
    every: Duration,
    last: Option<Instant>,
}

impl Default for Throttle {
    fn default() -> Throttle {
        Throttle::new(WARN_EVERY)
    }
}

impl Throttle {
    pub(super) fn new(every: Duration) -> Throttle {
        Throttle { every, last: None }
    }

    /// Whether it is time for another line.
    pub(super) fn ready(&mut self) -> bool {
        let ready = self.last.is_none_or(|last| last.elapsed() >= self.every);
        if ready {
            self.last = Some(Instant::now());
        }
        ready
    }
}
