//! Where a server is and how to talk to it.

use std::fmt;
use std::time::Duration;

use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::keys::Keys;
use crate::secret::Secret;

/// The port of a URL that names none.
const DEFAULT_PORT: u16 = 6379;

/// A Redis or Valkey server, and how to talk to it.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// Host name or address; an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Number of the database.
    pub db: u32,
    /// ACL user; `None` is the server's default user.
    pub username: Option<String>,
    /// Password of that user, UTF-8.
    pub password: Option<Secret>,
    /// Whether the connection is encrypted.
    pub tls: RedisTls,
    /// What every key begins with: 1 to 64 of `A-Za-z0-9_.-`.
    pub prefix: String,
    /// About how many of the newest messages the stream keeps; a node that missed more loads the state again.
    pub stream_entries: u64,
    /// Longest time to connect, with TLS and authentication.
    pub connect_timeout: Duration,
    /// Longest time to wait for an answer.
    pub response_timeout: Duration,
    /// How long the stream may be silent before a node asks whether something is wrong; a publisher beats each second.
    pub silence: Duration,
}

/// Encryption of a connection.
#[derive(Clone, PartialEq, Eq)]
pub enum RedisTls {
    /// None.
    Off,
    /// TLS with server authentication.
    On {
        /// PEM certificates of the authorities to trust; `None` trusts those of the operating system.
        ca_pem: Option<Vec<u8>>,
    },
}

impl fmt::Debug for RedisTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RedisTls::Off => "Off",
            RedisTls::On { ca_pem: None } => "On",
            RedisTls::On { ca_pem: Some(_) } => "On { ca_pem: .. }",
        })
    }
}

impl RedisOptions {
    /// Reads `redis://[user@]host[:port][/db]`, or `rediss://` for TLS; everything else as by default.
    ///
    /// # Errors
    ///
    /// What is wrong with it, without repeating it: somebody may have put a secret into it.
    pub fn parse(url: &str) -> Result<RedisOptions, String> {
        let (tls, rest) = match (url.strip_prefix("redis://"), url.strip_prefix("rediss://")) {
            (Some(rest), _) => (RedisTls::Off, rest),
            (_, Some(rest)) => (RedisTls::On { ca_pem: None }, rest),
            _ => return Err("a Redis URL begins with redis:// or rediss://".into()),
        };
        if rest.contains(['?', '#']) {
            return Err("a Redis URL has no query and no fragment".into());
        }
        let (authority, db) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, address) = match authority.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        let (host, port) = host_and_port(address)?;
        let db = match db {
            "" => 0,
            number if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                number.parse().map_err(|_| "the database of a Redis URL is a number below 2^32")?
            }
            _ => return Err("the path of a Redis URL is the number of a database".into()),
        };
        Ok(RedisOptions {
            host,
            port,
            db,
            username: user.map(username).transpose()?,
            password: None,
            tls,
            prefix: "mediagate".into(),
            stream_entries: 100_000,
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(2),
            silence: Duration::from_secs(3),
        })
    }

    pub(super) fn keys(&self) -> Keys {
        Keys::new(&self.prefix)
    }

    /// Checks what [`RedisOptions::parse`] has not.
    ///
    /// # Errors
    ///
    /// What does not fit together, without a secret.
    pub fn check(&self) -> Result<(), String> {
        self.client().map(drop)
    }

    /// Checks what [`RedisOptions::parse`] has not, and returns a client.
    pub(super) fn client(&self) -> Result<Client, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if !(1..=64).contains(&self.prefix.len()) || !self.prefix.bytes().all(is_plain) {
            return Err("the prefix must be 1 to 64 letters, digits, `_`, `.` or `-`".into());
        }
        if self.stream_entries == 0 {
            return Err("the stream must keep at least one entry".into());
        }
        let settings = self.settings()?;
        let failed = |error: redis::RedisError| format!("cannot set up the connection: {error}");
        let RedisTls::On { ca_pem } = &self.tls else {
            let address = ConnectionAddr::Tcp(self.host.clone(), self.port);
            return info(address, settings).and_then(Client::open).map_err(failed);
        };
        pingora::tls::install_default_crypto_provider();
        if let Some(pem) = ca_pem {
            let authorities = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
            if authorities.map_or(true, |authorities| authorities.is_empty()) {
                return Err("the CA file holds no PEM certificate".into());
            }
        }
        let address =
            ConnectionAddr::TcpTls { host: self.host.clone(), port: self.port, insecure: false, tls_params: None };
        let certificates = TlsCertificates { client_tls: None, root_cert: ca_pem.clone() };
        info(address, settings).and_then(|info| Client::build_with_tls(info, certificates)).map_err(failed)
    }

    fn settings(&self) -> Result<RedisConnectionInfo, String> {
        let mut settings = RedisConnectionInfo::default().set_db(i64::from(self.db));
        if let Some(username) = &self.username {
            settings = settings.set_username(username);
        }
        if let Some(password) = &self.password {
            let password = std::str::from_utf8(password.expose()).map_err(|_| "the password is not UTF-8")?;
            settings = settings.set_password(password);
        }
        Ok(settings)
    }
}

fn info(address: ConnectionAddr, settings: RedisConnectionInfo) -> redis::RedisResult<ConnectionInfo> {
    Ok(address.into_connection_info()?.set_redis_settings(settings))
}

fn host_and_port(address: &str) -> Result<(String, u16), String> {
    let port_of = |port: &str| match port.parse() {
        Ok(number @ 1..) if !port.starts_with('+') => Ok(number),
        _ => Err("the port of a Redis URL is a number from 1 to 65535".to_owned()),
    };
    let (host, port) = if let Some(rest) = address.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("an IPv6 address ends with ]")?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| "the host of a Redis URL is no IPv6 address")?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').unwrap_or("")) })
    } else {
        let (host, port) = address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port)));
        if host.is_empty() || !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            return Err("the host of a Redis URL is a name or an address".into());
        }
        (host, port)
    };
    Ok((host.to_owned(), port.map_or(Ok(DEFAULT_PORT), port_of)?))
}

fn username(user: &str) -> Result<String, String> {
    if user.contains(':') {
        return Err("a password does not belong into a Redis URL: name the file that holds it".into());
    }
    let user = percent_encoding::percent_decode_str(user).decode_utf8();
    match user {
        Ok(user) if !user.is_empty() && !user.chars().any(|c| c.is_control() || c == ' ') => Ok(user.into_owned()),
        _ => Err("the user of a Redis URL is a name".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, host: &str, port: u16, db: u32, username: Option<&str>, tls: bool) {
        let options = RedisOptions::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        let expected_tls = if tls { RedisTls::On { ca_pem: None } } else { RedisTls::Off };
        assert_eq!(
            (options.host.as_str(), options.port, options.db, options.username.as_deref(), &options.tls),
            (host, port, db, username, &expected_tls),
            "{url}"
        );
        options.client().unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    #[test]
    fn a_url_says_where_the_server_is() {
        check("redis://h", "h", 6379, 0, None, false);
        check("redis://h/", "h", 6379, 0, None, false);
        check("redis://10.0.0.1:7000/3", "10.0.0.1", 7000, 3, None, false);
        check("redis://gate@h.example:1", "h.example", 1, 0, Some("gate"), false);
        check("redis://ga%40te@h", "h", 6379, 0, Some("ga@te"), false);
        check("rediss://h", "h", 6379, 0, None, true);
        check("redis://[::1]:7000/1", "::1", 7000, 1, None, false);
        check("redis://[::1]", "::1", 6379, 0, None, false);
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_and_its_secrets_are_not() {
        for (url, word) in [
            ("", "redis://"),
            ("http://h", "redis://"),
            ("redis://", "host"),
            ("redis://:6379", "host"),
            ("redis://h o", "host"),
            ("redis://u:hunter2@h", "password"),
            ("redis://:hunter2@h", "password"),
            ("redis://u:hunter2@h@x", "password"),
            ("redis://h?password=hunter2", "query"),
            ("redis://h#hunter2", "fragment"),
            ("redis://@h", "user"),
            ("redis://h:0", "port"),
            ("redis://h:+1", "port"),
            ("redis://h:65536", "port"),
            ("redis://h:", "port"),
            ("redis://[::1]x", "port"),
            ("redis://[::1", "IPv6"),
            ("redis://[x]", "IPv6"),
            ("redis://h/x", "database"),
            ("redis://h/-1", "database"),
            ("redis://h/4294967296", "database"),
            ("redis://h/1/2", "database"),
        ] {
            let error = RedisOptions::parse(url).expect_err(url);
            assert!(error.contains(word) && !error.contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn options_never_show_their_secret() {
        let mut options = RedisOptions::parse("rediss://u@h").unwrap();
        options.password = Some(Secret::new("hunter2"));
        options.tls = RedisTls::On { ca_pem: Some(b"PEM".to_vec()) };
        let shown = format!("{options:?}");
        assert!(shown.contains("ca_pem: ..") && !shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
    }

    #[test]
    fn options_are_checked_before_they_are_used() {
        let with = |edit: fn(&mut RedisOptions)| {
            let mut options = RedisOptions::parse("rediss://h").unwrap();
            edit(&mut options);
            options.client().map(drop)
        };
        assert_eq!(with(|_| {}), Ok(()));
        for edit in [
            (|options| options.prefix = "a}b".into()) as fn(&mut RedisOptions),
            |options| options.prefix = String::new(),
            |options| options.stream_entries = 0,
            |options| options.password = Some(Secret::new([0xff])),
            |options| options.tls = RedisTls::On { ca_pem: Some(b"no certificate".to_vec()) },
        ] {
            assert!(with(edit).is_err());
        }
    }
}
