//! `[media]`, `[metrics]` and `[auth]`, and the addresses of all listeners.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::uri::Scheme;

use super::files::Files;
use super::tree::{Place, Section, Text, Value};
use crate::gate::forward::CorsOrigins;
use crate::gate::{MAX_COOKIE_AGE, PlayerCookies};

/// How long a player's cookie lives at most, unless it is said otherwise.
const DEFAULT_COOKIE_SECS: u64 = 3600;

/// Most addresses of one listener.
const MAX_ADDRESSES: usize = 1000;

/// The listener that clients fetch from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// Its addresses, at least one.
    pub listen: Vec<SocketAddr>,
    /// What makes it speak TLS.
    pub tls: Option<TlsFiles>,
    /// How many threads serve it; 0: one for each core.
    pub threads: usize,
}

/// Files of a TLS server, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, the server's own first.
    pub cert_file: PathBuf,
    /// The private key.
    pub key_file: PathBuf,
}

/// `[media]`, with what of it belongs to the gate.
pub(super) struct MediaSection {
    pub(super) media: Media,
    pub(super) hosts: Vec<String>,
    pub(super) cors: CorsOrigins,
    /// How clients come in, whoever ends their TLS.
    pub(super) scheme: Scheme,
    pub(super) player_cookies: Option<PlayerCookies>,
}

/// Addresses that are taken: the API and the metrics must not be reachable where clients come in.
#[derive(Default)]
pub(super) struct Addresses(Vec<(SocketAddr, Option<usize>)>);

impl Addresses {
    fn read(&mut self, text: &Text<'_>) -> Option<SocketAddr> {
        let Ok(address) = text.value.parse() else {
            text.wrong("must be an IP address and a port: \"127.0.0.1:8080\", \"0.0.0.0:8080\" or \"[::1]:8080\"");
            return None;
        };
        if let Some((_, line)) = self.0.iter().find(|(taken, _)| overlap(*taken, address)) {
            let line = line.map(|line| format!(" by line {line}")).unwrap_or_default();
            text.wrong(format!("the address is taken{line}: each listener needs its own"));
            return None;
        }
        self.0.push((address, text.place.line()));
        Some(address)
    }

    /// Reads `text`, or `default` where there is none.
    pub(super) fn read_or(&mut self, text: Option<Text<'_>>, default: &str, place: &Place<'_>) -> Option<SocketAddr> {
        match text {
            Some(text) => self.read(&text),
            None => self.read(&Value { place: place.clone(), value: default }),
        }
    }
}

/// Whether one socket would get what is meant for the other.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let covers = |wide: SocketAddr, narrow: SocketAddr| {
        let any = wide.ip().is_unspecified() && (wide.is_ipv6() || narrow.is_ipv4());
        any || wide.ip() == narrow.ip()
    };
    one.port() != 0 && one.port() == other.port() && (covers(one, other) || covers(other, one))
}

pub(super) fn media<'a>(
    mut section: Section<'a>,
    files: &Files<'_>,
    addresses: &mut Addresses,
) -> Option<MediaSection> {
    let listen = section.require("listen", "a list of addresses like [\"0.0.0.0:8080\"]").and_then(Value::list);
    if listen.as_ref().is_some_and(|list| list.is_empty() || list.len() > MAX_ADDRESSES) {
        section.place_of("listen").wrong(format!("must be a list of 1 to {MAX_ADDRESSES} addresses"));
        return None;
    }
    let listen = listen.map(|list| {
        let texts: Vec<_> = list.into_iter().map(Value::text).collect();
        texts.iter().map(|text| addresses.read(text.as_ref()?)).collect::<Option<Vec<_>>>()
    });
    let hosts = section.texts("hosts").unwrap_or_default();
    for host in hosts.iter().filter(|host| !is_host(host.value)) {
        host.wrong("must be a host name or an IP address, without scheme, port or wildcard: \"files.example\"");
    }
    let origins = section.texts("cors_origins");
    for origin in origins.iter().flatten().filter(|origin| !is_origin(origin.value)) {
        origin.wrong(
            "must be \"*\" or an origin as browsers send it, in lower case, without path or the scheme's own port: \
             \"https://app.example\"",
        );
    }
    let cors = match origins {
        Some(origins) => CorsOrigins::new(origins.iter().map(|origin| origin.value.to_owned())),
        None => CorsOrigins::new(["*".to_owned()]),
    };
    let threads = section.get("threads").and_then(|value| value.number(0..=256, "threads (0: one for each core)"));
    let tls = tls(&mut section, files);
    let is_behind_tls = section.get("behind_tls").and_then(|value| value.flag()).unwrap_or(false);
    let scheme = if is_behind_tls || tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
    let secs = section.get("player_cookie_secs");
    let secs = secs.map_or(Some(DEFAULT_COOKIE_SECS), |secs| {
        secs.number(0..=MAX_COOKIE_AGE.as_secs(), "seconds (0: no cookie is ever set)")
    });
    section.finish();
    let media = Media { listen: listen??, tls, threads: threads.unwrap_or(0) as usize };
    let max_age = Duration::from_secs(secs?);
    let player_cookies = (!max_age.is_zero()).then(|| PlayerCookies { max_age, scheme: scheme.clone() });
    let hosts = hosts.iter().map(|host| host.value.to_owned()).collect();
    Some(MediaSection { media, hosts, cors, scheme, player_cookies })
}

pub(super) fn tls(section: &mut Section<'_>, files: &Files<'_>) -> Option<TlsFiles> {
    let (cert, key) = (section.text("tls_cert_file"), section.text("tls_key_file"));
    let cert_file = cert.as_ref().map(|name| files.certificates(name));
    let key_file = key.as_ref().map(|name| files.private_key(name));
    match (cert_file, key_file) {
        (Some(cert_file), Some(key_file)) => Some(TlsFiles { cert_file: cert_file?, key_file: key_file? }),
        (None, None) => None,
        (Some(_), None) => {
            section.place_of("tls_key_file").wrong("is required beside tls_cert_file");
            None
        }
        (None, Some(_)) => {
            section.place_of("tls_cert_file").wrong("is required beside tls_key_file");
            None
        }
    }
}

/// A section with nothing but the address of a listener, which is `default` where none stands there.
pub(super) fn listener(mut section: Section<'_>, default: &str, addresses: &mut Addresses) -> Option<SocketAddr> {
    let listen = section.text("listen");
    let listen = addresses.read_or(listen, default, &section.place_of("listen"));
    section.finish();
    listen
}

/// What a request's `Host` is compared with.
pub(super) fn is_host(host: &str) -> bool {
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let ipv6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match ipv6 {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => (1..=253).contains(&host.len()) && host.bytes().all(name),
    }
}

/// `*`, or a serialized origin (RFC 6454 §6.2): what an `Origin` field can be equal to.
fn is_origin(origin: &str) -> bool {
    if origin == "*" {
        return true;
    }
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let in_scheme = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    let is_scheme = scheme.bytes().all(in_scheme) && scheme.starts_with(|first: char| first.is_ascii_lowercase());
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_own = |port: &str| matches!((scheme, port), ("http", "80") | ("https", "443"));
    let is_port = |port: &str| !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok() && !is_own(port);
    is_scheme && is_host(host) && !host.bytes().any(|byte| byte.is_ascii_uppercase()) && port.is_none_or(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for origin in
            ["*", "https://app.example", "http://localhost:3000", "https://[::1]:8443", "capacitor://localhost"]
        {
            assert!(is_origin(origin), "{origin}");
        }
        for origin in [
            "",
            "null",
            "app.example",
            "https://",
            "https://app.example/",
            "https://APP.example",
            "https://a:443",
            "http://a:80",
            "https://a:0",
            "https://a:+1",
            "https://a:99999",
            "https://*.example",
            "://a",
            "https://u@a",
        ] {
            assert!(!is_origin(origin), "{origin}");
        }
    }

    #[test]
    fn listeners_overlap_when_one_would_get_the_calls_of_the_other() {
        let check = |one: &str, other: &str, expected| {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!((overlap(one, other), overlap(other, one)), (expected, expected), "{one} {other}");
        };
        check("127.0.0.1:80", "127.0.0.1:80", true);
        check("0.0.0.0:80", "127.0.0.1:80", true);
        check("[::]:80", "127.0.0.1:80", true);
        check("[::]:80", "[::1]:80", true);
        check("0.0.0.0:80", "[::1]:80", false);
        check("127.0.0.1:80", "127.0.0.2:80", false);
        check("127.0.0.1:80", "127.0.0.1:81", false);
        check("127.0.0.1:0", "127.0.0.1:0", false);
    }
}
