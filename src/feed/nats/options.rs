//! Where a NATS server is and who we are there.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};

use super::subjects::Subjects;
use crate::feed::Backoff;
use crate::secret::Secret;

/// The port of a server whose URL names none.
const DEFAULT_PORT: u16 = 4222;

/// How long a server has to take a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a server has to answer a request.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection that leaves two of these unanswered is dead.
const PING_INTERVAL: Duration = Duration::from_secs(1);

/// The longest pause between two attempts to connect, and the first.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How to reach a NATS server, and under which names restrictions are kept there.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    /// `host:port` of each server of one cluster; an IPv6 address in brackets. At least one.
    pub servers: Vec<String>,
    /// The user; goes with [`NatsOptions::password`].
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// A token, for servers that ask for one instead of a user.
    pub token: Option<Secret>,
    /// Content of a credentials file (`.creds`), for servers that ask for a JWT.
    pub credentials: Option<Secret>,
    /// Whether nothing is said before the connection is encrypted and the server's certificate holds.
    pub tls: bool,
    /// PEM file of the authority that signs the server's certificate; those of the system when not given.
    pub ca_file: Option<PathBuf>,
    /// What every subject begins with: letters, digits, `-` and `_`, in parts joined by dots; at most 64 bytes.
    /// `mediagate` by default.
    pub prefix: String,
    /// On how many servers of a cluster the restrictions are kept: 1 to 5. Only the relay's matters. 1 by default.
    pub replicas: usize,
}

impl NatsOptions {
    /// Reads `nats://[user@]host[:port][,host[:port]…]`, or `tls://…`, which asks for encryption.
    ///
    /// # Errors
    ///
    /// A sentence for the operator; it never quotes `url`, which may have a secret in it.
    pub fn parse(url: &str) -> Result<NatsOptions, String> {
        let mut options = NatsOptions {
            servers: Vec::new(),
            user: None,
            password: None,
            token: None,
            credentials: None,
            tls: false,
            ca_file: None,
            prefix: "mediagate".to_owned(),
            replicas: 1,
        };
        let mut schemes = Vec::new();
        for part in url.split(',') {
            let address = match part.split_once("://") {
                Some((scheme, address)) => {
                    schemes.push(match scheme {
                        "nats" => false,
                        "tls" => true,
                        _ => return Err("a NATS URL begins with nats:// or tls://".to_owned()),
                    });
                    address
                }
                None => part,
            };
            if schemes.is_empty() {
                return Err("a NATS URL begins with nats:// or tls://".to_owned());
            }
            let address = match address.rsplit_once('@') {
                Some((user, _)) if user.contains(':') => {
                    return Err("a NATS URL holds no password: it belongs into a file of its own".to_owned());
                }
                Some(("", _)) => return Err("a NATS URL has nothing before its @".to_owned()),
                Some((user, _)) if options.user.as_deref().is_some_and(|other| other != user) => {
                    return Err("a NATS URL names one user for all its servers".to_owned());
                }
                Some((user, address)) => {
                    options.user = Some(user.to_owned());
                    address
                }
                None => address,
            };
            options.servers.push(host_and_port(address)?);
        }
        options.tls = schemes[0];
        if schemes.iter().any(|tls| *tls != options.tls) {
            return Err("a NATS URL is nats:// or tls:// for all its servers".to_owned());
        }
        Ok(options)
    }

    /// Checks what [`NatsOptions::parse`] has not.
    ///
    /// # Errors
    ///
    /// What does not fit together, without a secret.
    pub fn check(&self) -> Result<(), String> {
        self.checked().map(drop)
    }

    /// Returns what everything is called, once the options are known to fit together.
    pub(super) fn checked(&self) -> Result<Subjects, String> {
        let logins = [self.user.is_some(), self.token.is_some(), self.credentials.is_some()];
        if logins.into_iter().filter(|given| *given).count() > 1 {
            return Err("NATS takes one of user, token and credentials".to_owned());
        }
        if self.user.is_some() != self.password.is_some() {
            return Err("NATS takes a user together with a password".to_owned());
        }
        if self.servers.is_empty() {
            return Err("NATS needs a server".to_owned());
        }
        if !(1..=5).contains(&self.replicas) {
            return Err("NATS keeps 1 to 5 replicas".to_owned());
        }
        if self.ca_file.is_some() && !self.tls {
            return Err("a certificate authority for NATS goes with tls://".to_owned());
        }
        Subjects::new(&self.prefix)
    }

    pub(super) fn addresses(&self) -> Result<Vec<ServerAddr>, String> {
        let scheme = if self.tls { "tls" } else { "nats" };
        let address = |server: &String| format!("{scheme}://{server}").parse();
        self.servers.iter().map(address).collect::<Result<_, _>>().map_err(|_| "not an address of a server".to_owned())
    }

    pub(super) fn connect_options(&self) -> Result<ConnectOptions, String> {
        let text = |secret: &Secret, what: &str| {
            String::from_utf8(secret.expose().to_vec()).map_err(|_| format!("the {what} for NATS is not UTF-8"))
        };
        let mut connect = ConnectOptions::new()
            .name("mediagate")
            .require_tls(self.tls)
            .connection_timeout(CONNECT_TIMEOUT)
            .request_timeout(Some(REQUEST_TIMEOUT))
            .ping_interval(PING_INTERVAL)
            .reconnect_delay_callback(reconnect_delay);
        if let (Some(user), Some(password)) = (&self.user, &self.password) {
            connect = connect.user_and_password(user.clone(), text(password, "password")?);
        }
        if let Some(token) = &self.token {
            connect = connect.token(text(token, "token")?);
        }
        if let Some(credentials) = &self.credentials {
            // Its error might quote the content.
            connect = connect
                .credentials(&text(credentials, "credentials")?)
                .map_err(|_| "the credentials for NATS are not a credentials file".to_owned())?;
        }
        if let Some(ca_file) = &self.ca_file {
            std::fs::File::open(ca_file).map_err(|error| format!("cannot read {}: {error}", ca_file.display()))?;
            connect = connect.add_root_certificates(ca_file.clone());
        }
        Ok(connect)
    }
}

fn reconnect_delay(attempts: usize) -> Duration {
    let (first, longest) = RECONNECT;
    match u32::try_from(attempts).unwrap_or(u32::MAX) {
        0 | 1 => Duration::ZERO,
        attempts => Backoff::new(first.saturating_mul(1 << (attempts - 2).min(8)), longest).next_pause(),
    }
}

fn host_and_port(address: &str) -> Result<String, String> {
    let invalid = || "a server of a NATS URL is host or host:port".to_owned();
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, Some(rest.strip_prefix(':').ok_or_else(invalid)?)),
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let port = port.map_or(Ok(DEFAULT_PORT), str::parse).ok().filter(|port| *port != 0).ok_or_else(invalid)?;
    if host.contains(':') {
        return match host.parse::<std::net::Ipv6Addr>() {
            Ok(host) => Ok(format!("[{host}]:{port}")),
            Err(_) => Err(invalid()),
        };
    }
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if host.is_empty() || !host.bytes().all(is_host) {
        return Err(invalid());
    }
    Ok(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Result<(&[&str], Option<&str>, bool), &str>) {
        let parsed = NatsOptions::parse(url);
        match (&parsed, expected) {
            (Ok(options), Ok((servers, user, tls))) => {
                assert_eq!(options.servers, servers, "{url}");
                assert_eq!((options.user.as_deref(), options.tls), (user, tls), "{url}");
            }
            (Err(error), Err(part)) => assert!(error.contains(part), "{url}: {error}"),
            _ => panic!("{url}: {parsed:?}"),
        }
    }

    #[test]
    fn urls_name_servers_and_a_user_and_never_a_password() {
        check("nats://localhost", Ok((&["localhost:4222"], None, false)));
        check("nats://gate@10.0.0.1:4333", Ok((&["10.0.0.1:4333"], Some("gate"), false)));
        check("tls://a.example,b.example:1", Ok((&["a.example:4222", "b.example:1"], None, true)));
        check("nats://gate@a,nats://gate@[::1]:5", Ok((&["a:4222", "[::1]:5"], Some("gate"), false)));
        check("nats://[::1]", Ok((&["[::1]:4222"], None, false)));
        check("nats://gate:hunter2@a", Err("no password"));
        check("nats://a,tls://b", Err("for all"));
        check("nats://x@a,y@b", Err("one user"));
        check("redis://a", Err("nats://"));
        check("localhost:4222", Err("nats://"));
        for url in ["nats://", "nats://a:0", "nats://a:99999", "nats://a,", "nats://a b", "nats://[::1", "nats://a/b"] {
            check(url, Err("host"));
        }
        let error = NatsOptions::parse("nats://gate:hunter2@a").expect_err("refused");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        let good = NatsOptions::parse("nats://a").expect("a URL");
        assert!(good.checked().is_ok());
        let secret = || Some(Secret::new("s3cret"));
        let user = || Some("gate".to_owned());
        for bad in [
            NatsOptions { user: user(), ..good.clone() },
            NatsOptions { password: secret(), ..good.clone() },
            NatsOptions { user: user(), password: secret(), token: secret(), ..good.clone() },
            NatsOptions { servers: vec![], ..good.clone() },
            NatsOptions { replicas: 0, ..good.clone() },
            NatsOptions { replicas: 6, ..good.clone() },
            NatsOptions { ca_file: Some("/ca.pem".into()), ..good.clone() },
            NatsOptions { prefix: "a.*".into(), ..good.clone() },
        ] {
            assert!(bad.checked().is_err(), "{bad:?}");
        }
        let shown = format!("{:?}", NatsOptions { user: user(), password: secret(), ..good });
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
