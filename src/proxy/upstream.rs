//! Where a storage is and what it is asked: the same for what is passed on and for what is kept.

use std::net::SocketAddr;
use std::time::Duration;

use http::header::{self, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use pingora::prelude::HttpPeer;
use pingora::upstreams::peer::HttpUpstreamRequestPolicy;
use pingora::{Error, ErrorType, OrErr, Result};

use super::Origins;
use crate::gate::{Endpoint, Target};

/// How long an idle connection to a storage is kept.
pub(super) const UPSTREAM_IDLE: Duration = Duration::from_secs(60);

/// Returns the peer that `endpoint` is now.
///
/// # Errors
///
/// When no address of the storage is known yet.
pub(super) fn peer_of(endpoint: &Endpoint, origins: &Origins) -> Result<HttpPeer> {
    let Some(address) = origins.address(endpoint) else {
        return Error::e_explain(ErrorType::ConnectNoRoute, "no address of the storage is known")
            .map_err(|e: Box<Error>| e.into_up());
    };
    Ok(peer_at(endpoint, address))
}

/// Returns the peer at `address`, which is one of the endpoint's.
pub(super) fn peer_at(endpoint: &Endpoint, address: SocketAddr) -> HttpPeer {
    let mut peer = HttpPeer::new(address, endpoint.tls, endpoint.host.clone());
    let timeouts = endpoint.timeouts;
    peer.options.connection_timeout = Some(timeouts.connect);
    peer.options.total_connection_timeout = Some(timeouts.connect);
    peer.options.read_timeout = Some(timeouts.response);
    peer.options.write_timeout = Some(timeouts.response);
    peer.options.idle_timeout = Some(UPSTREAM_IDLE);
    // The request is built anew, so what the client's `Connection` names is of no account, and refuses nothing.
    peer.options.http_upstream_request_policy =
        HttpUpstreamRequestPolicy { strip_connection_nominated: false, ..HttpUpstreamRequestPolicy::deny_upgrades() };
    peer
}

/// Returns the presigned path of `target` and its `Host`, as a request has them.
///
/// # Errors
///
/// When they cannot be written.
pub(super) fn place_of(target: &Target) -> Result<(PathAndQuery, HeaderValue)> {
    let path_and_query = PathAndQuery::try_from(target.path_and_query());
    let path_and_query =
        path_and_query.explain_err(ErrorType::InvalidHTTPHeader, |_| "the presigned path is no request target")?;
    let host = HeaderValue::from_str(target.host()).explain_err(ErrorType::InvalidHTTPHeader, |_| "no host")?;
    Ok((path_and_query, host))
}

/// Returns the head of a request, built from nothing. Made of parts: it does without Pingora's second map, which only
/// keeps how names were spelt.
pub(super) fn request_to(
    method: http::Method,
    path_and_query: PathAndQuery,
    host: HeaderValue,
    fields: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
) -> http::request::Parts {
    let mut request = http::Request::new(()).into_parts().0;
    request.method = method;
    request.uri = path_and_query.into();
    request.headers.reserve(8);
    request.headers.insert(header::HOST, host);
    for (name, value) in fields {
        request.headers.insert(name, value);
    }
    request
}
