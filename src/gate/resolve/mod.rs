//! Grant → [`Target`]: where the object is, and a URL that is good for seconds, one method and one key.

mod sigv4;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(super) use sigv4::encoded;
pub use sigv4::{Credentials, MAX_PRESIGN_TTL, calendar_date};

use super::authorize::Grant;
use super::extract::MediaMethod;
use super::object_key::ObjectPath;
use crate::restrictions::Subject;
use sigv4::{Signed, Signer};

/// A server that objects are fetched from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Whether it speaks TLS.
    pub tls: bool,
    /// A DNS name or an IP address; what TLS is verified against.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// How long it may take.
    pub timeouts: Timeouts,
}

/// How long a storage may take before the client gets an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Timeouts {
    /// To accept a connection, TLS included.
    pub connect: Duration,
    /// To answer with its first byte, and between two pieces of a body.
    pub response: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts { connect: Duration::from_secs(5), response: Duration::from_secs(10) }
    }
}

/// Why a URL is no endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be `http://host[:port]` or `https://host[:port]`, without user, path or query")]
pub struct NotAnEndpoint;

impl Endpoint {
    /// Reads `http://host[:port]` or `https://host[:port]`.
    ///
    /// # Errors
    ///
    /// Any other URL.
    pub fn parse(url: &str) -> Result<Endpoint, NotAnEndpoint> {
        let uri: http::Uri = url.parse().map_err(|_| NotAnEndpoint)?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(NotAnEndpoint),
        };
        let authority = uri.authority().ok_or(NotAnEndpoint)?;
        let plain = !authority.as_str().contains('@') && uri.path() == "/" && uri.query().is_none();
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => Endpoint::default_port(tls),
            Some(port) => port[1..].parse().map_err(|_| NotAnEndpoint)?,
            None => return Err(NotAnEndpoint),
        };
        if !plain || authority.host().is_empty() || port == 0 {
            return Err(NotAnEndpoint);
        }
        Ok(Endpoint { tls, host: authority.host().to_ascii_lowercase(), port, timeouts: Timeouts::default() })
    }

    /// The `Host` field: the port only where it is not the scheme's own, as every signer writes it.
    pub fn host_header(&self) -> String {
        if self.port == Endpoint::default_port(self.tls) {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    const fn default_port(tls: bool) -> u16 {
        if tls { 443 } else { 80 }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host_header())
    }
}

/// Where a bucket's name stands in a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// `http://endpoint/bucket/key`.
    Path,
    /// `http://bucket.endpoint/key`.
    VirtualHost,
}

/// Whether the app's id is part of an object's key in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AppFolder {
    /// `prefix + app + "/" + key`.
    #[default]
    Kept,
    /// `prefix + key`.
    Stripped,
}

/// One bucket and how to reach it.
#[derive(Debug, Clone)]
pub struct S3Options {
    /// The server.
    pub endpoint: Endpoint,
    /// The region that URLs are signed for.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// Where the bucket's name stands.
    pub addressing: Addressing,
    /// Put before every key.
    pub prefix: String,
    /// Whether keys in the bucket begin with the app.
    pub app_folder: AppFolder,
    /// What URLs are signed with.
    pub credentials: Credentials,
    /// How long a URL is good, in whole seconds, up to [`MAX_PRESIGN_TTL`].
    pub presign_ttl: Duration,
}

/// A bucket that speaks S3.
pub struct S3Storage {
    site: Arc<Site>,
    /// `/bucket/prefix` or `/prefix`, percent-encoded.
    base: String,
    app_folder: AppFolder,
    signer: Signer,
}

/// Where a bucket is: one count for each request, not one for each part.
struct Site {
    endpoint: Arc<Endpoint>,
    host: String,
}

impl fmt::Debug for S3Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Storage").field("host", &self.site.host).field("base", &self.base).finish_non_exhaustive()
    }
}

impl S3Storage {
    /// Returns a storage that signs for the bucket of `options`.
    pub fn new(options: S3Options) -> S3Storage {
        let S3Options { mut endpoint, region, bucket, addressing, prefix, app_folder, credentials, presign_ttl } =
            options;
        let base = match addressing {
            Addressing::Path => format!("/{bucket}/{prefix}"),
            Addressing::VirtualHost => {
                endpoint.host = format!("{bucket}.{}", endpoint.host);
                format!("/{prefix}")
            }
        };
        let host = endpoint.host_header();
        S3Storage {
            base: sigv4::encoded(&base),
            app_folder,
            signer: Signer::new(&host, &region, credentials, presign_ttl),
            site: Arc::new(Site { host, endpoint: Arc::new(endpoint) }),
        }
    }

    /// The server that this storage is on.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.site.endpoint
    }

    /// Turns leave into a URL. `now` is since the UNIX epoch.
    pub(super) fn resolve(&self, grant: Grant<'_>, method: MediaMethod, now: Duration) -> (Target, Option<Subject>) {
        let (object, subject) = grant.into_parts();
        let key = self.key_of(object);
        let method = match method {
            MediaMethod::Head => "HEAD",
            MediaMethod::Get | MediaMethod::Options => "GET",
        };
        let signed = self.signer.presign(method, &self.base, key, now);
        (Target { site: Arc::clone(&self.site), url: TargetUrl::Signed(signed) }, subject)
    }

    /// Turns leave into a URL for the client itself: good for `GET` until `ttl` after `signed_at`, and nobody can call
    /// it back. Both in whole seconds, `signed_at` since the UNIX epoch.
    pub(super) fn hand_out(&self, grant: Grant<'_>, ttl: Duration, signed_at: Duration) -> String {
        let (object, _) = grant.into_parts();
        let key = self.key_of(object);
        let signed = self.signer.presign_for(ttl, "GET", &self.base, key, signed_at);
        format!("{}{}", self.site.endpoint, signed.path_and_query())
    }

    /// The key below the storage's prefix.
    fn key_of<'a>(&self, object: &'a ObjectPath) -> &'a str {
        match self.app_folder {
            AppFolder::Kept => object.as_str(),
            AppFolder::Stripped => object.key(),
        }
    }
}

/// Where to fetch a granted object. Holds a presigned URL, so its `Debug` does not show it.
pub struct Target {
    site: Arc<Site>,
    url: TargetUrl,
}

/// Path and query of a target.
enum TargetUrl {
    /// Of a storage of ours.
    Signed(Signed),
    /// Of somebody else's server, with whatever token it has for that.
    Foreign(Box<str>),
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("host", &self.site.host).finish_non_exhaustive()
    }
}

impl Target {
    /// Returns what stands behind the own host at somebody else's server: nothing of ours is signed for it.
    pub(super) fn foreign(endpoint: &Arc<Endpoint>, path_and_query: &str) -> Target {
        let site = Site { endpoint: Arc::clone(endpoint), host: endpoint.host_header() };
        Target { site: Arc::new(site), url: TargetUrl::Foreign(path_and_query.into()) }
    }

    /// Whether the server is somebody else's.
    pub fn is_foreign(&self) -> bool {
        matches!(self.url, TargetUrl::Foreign(_))
    }

    /// The server to connect to.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.site.endpoint
    }

    /// The `Host` field, which is signed.
    pub fn host(&self) -> &str {
        &self.site.host
    }

    /// Path and query of the presigned URL: a secret for as long as it is good.
    pub fn path_and_query(&self) -> &str {
        match &self.url {
            TargetUrl::Signed(signed) => signed.path_and_query(),
            TargetUrl::Foreign(path_and_query) => path_and_query,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_scheme_a_host_and_a_port() {
        let check = |url: &str, expected: Option<(&str, u16, &str)>| {
            let endpoint = Endpoint::parse(url).ok();
            let header = endpoint.as_ref().map(Endpoint::host_header);
            let found = endpoint.as_ref().zip(header.as_deref());
            assert_eq!(found.map(|(endpoint, header)| (endpoint.host.as_str(), endpoint.port, header)), expected);
        };
        check("http://127.0.0.1:9000", Some(("127.0.0.1", 9000, "127.0.0.1:9000")));
        check("https://s3.Example/", Some(("s3.example", 443, "s3.example")));
        check("http://[::1]:80", Some(("[::1]", 80, "[::1]")));
        for url in [
            "",
            "s3.example",
            "ftp://a",
            "http://",
            "http://a/b",
            "http://a/?b",
            "http://u@a",
            "http://a:99999",
            "http://a:0",
            "http://a:",
        ] {
            check(url, None);
        }
    }

    #[test]
    fn a_key_stands_where_the_storage_wants_it() {
        let check = |addressing, prefix: &str, app_folder, host: &str, path: &str| {
            let storage = S3Storage::new(S3Options {
                endpoint: Endpoint::parse("http://s3.example:9000").unwrap(),
                region: "r".into(),
                bucket: "media".into(),
                addressing,
                prefix: prefix.into(),
                app_folder,
                credentials: Credentials { access_key_id: "id".into(), secret_access_key: Secret::new("s") },
                presign_ttl: Duration::from_secs(60),
            });
            let object = ObjectPath::parse("/demo/a%20b/c+d").unwrap();
            let grant = super::super::authorize::without_token(&object);
            let (target, _) = storage.resolve(grant, MediaMethod::Get, Duration::from_secs(1_000_000));
            assert_eq!(target.host(), host);
            assert_eq!(target.path_and_query().split('?').next(), Some(path));
        };
        use crate::secret::Secret;
        check(Addressing::Path, "", AppFolder::Kept, "s3.example:9000", "/media/demo/a%20b/c%2Bd");
        check(Addressing::Path, "p/", AppFolder::Stripped, "s3.example:9000", "/media/p/a%20b/c%2Bd");
        check(Addressing::VirtualHost, "p/", AppFolder::Kept, "media.s3.example:9000", "/p/demo/a%20b/c%2Bd");
    }
}
