//! Clients that call as fast as they are answered.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::client::{Connection, Response};
use crate::support::process::API_KEY;

/// How old a connection may grow: the listener closes those that are a minute old.
const MAX_AGE: Duration = Duration::from_secs(30);

/// A call, ready to be sent.
#[derive(Clone)]
pub(crate) struct Call(Arc<[u8]>);

impl Call {
    /// A platform's.
    pub(crate) fn with_key(method: &str, target: &str, body: &Value) -> Call {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        Call::new(method, target, &format!("apikey: {API_KEY}"), &body)
    }

    /// A user's, as SDKs make it.
    pub(crate) fn with_token(method: &str, target: &str, token: &str) -> Call {
        let body = r#"{"platform":"javascript","deviceId":"d","appInfo":{"version":"4.1.7"}}"#;
        Call::new(method, target, &format!("appId: demo\r\nauthToken: {token}"), body)
    }

    fn new(method: &str, target: &str, fields: &str, body: &str) -> Call {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: control\r\n{fields}\r\nContent-Type: application/json");
        Call(format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes().into())
    }
}

/// One client.
pub(crate) struct Caller {
    address: SocketAddr,
    connection: Connection,
    opened: Instant,
}

impl Caller {
    pub(crate) fn connect(address: SocketAddr) -> Caller {
        let connection = Connection::open(address);
        connection.0.get_ref().set_nodelay(true).expect("a socket");
        Caller { address, connection, opened: Instant::now() }
    }

    /// Makes a call that succeeds.
    pub(crate) fn ask(&mut self, call: &Call) -> Value {
        self.send(call).json()
    }

    fn send(&mut self, call: &Call) -> Response {
        if self.opened.elapsed() > MAX_AGE {
            *self = Caller::connect(self.address);
        }
        self.connection.send(&call.0);
        let answer = self.connection.read(false).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer
    }
}

/// Clients, and the calls that they make in turn.
pub(crate) struct Load<'a> {
    address: SocketAddr,
    calls: &'a [Call],
    clients: usize,
}

impl Load<'_> {
    pub(crate) fn of(address: SocketAddr, calls: &[Call], clients: usize) -> Load<'_> {
        Load { address, calls, clients }
    }

    /// Calls for as long.
    pub(crate) fn during(&self, seconds: Duration) -> Measured {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let running = scope.spawn(|| self.until(&stop));
            wait_until(Instant::now() + seconds);
            stop.store(true, Ordering::Relaxed);
            running.join().expect("no panic")
        })
    }

    /// Calls until it is told to stop.
    pub(crate) fn until(&self, stop: &AtomicBool) -> Measured {
        let begun = Instant::now();
        let client = |first: usize| {
            let mut caller = Caller::connect(self.address);
            let mut took = Vec::new();
            for call in self.calls.iter().cycle().skip(first * self.calls.len() / self.clients) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let asked = Instant::now();
                caller.send(call);
                took.push(asked.elapsed());
            }
            took
        };
        let mut took: Vec<Duration> = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..self.clients).map(|first| scope.spawn(move || client(first))).collect();
            clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect()
        });
        took.sort_unstable();
        Measured { took, seconds: begun.elapsed() }
    }
}

/// Waits, however often it is woken before.
pub(crate) fn wait_until(due: Instant) {
    while let Some(early) = due.checked_duration_since(Instant::now()).filter(|early| !early.is_zero()) {
        std::thread::park_timeout(early);
    }
}

/// How long calls took, in their order by that.
pub(crate) struct Measured {
    took: Vec<Duration>,
    seconds: Duration,
}

impl Measured {
    pub(crate) fn new(mut took: Vec<Duration>, seconds: Duration) -> Measured {
        took.sort_unstable();
        Measured { took, seconds }
    }

    /// A quantile, in milliseconds.
    pub(crate) fn millis(&self, quantile: f64) -> f64 {
        self.took[((self.took.len() - 1) as f64 * quantile) as usize].as_secs_f64() * 1e3
    }

    /// Calls in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.took.len() as f64 / self.seconds.as_secs_f64()
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} | {:.2} | {:.2}", self.rate(), self.millis(0.5), self.millis(0.99))
    }
}
