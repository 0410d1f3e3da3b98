//! Name → address, away from requests: a phase only ever sees an address that is known.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::gate::Endpoint;

/// How often names are looked up again.
const REFRESH: Duration = Duration::from_secs(15);

/// Addresses of the storage endpoints.
#[derive(Debug, Default)]
pub struct Origins {
    known: ArcSwap<HashMap<Arc<Endpoint>, Vec<SocketAddr>>>,
    turn: AtomicUsize,
}

impl Origins {
    /// Returns an address of `endpoint`, in turn when it has several; `None` while none is known.
    pub fn address(&self, endpoint: &Endpoint) -> Option<SocketAddr> {
        if let Some(ip) = literal(&endpoint.host) {
            return Some(SocketAddr::new(ip, endpoint.port));
        }
        let known = self.known.load();
        let addresses = known.get(endpoint)?;
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        addresses.get(turn % addresses.len().max(1)).copied()
    }

    /// Looks `endpoints` up once. Addresses that were known stay when a name cannot be resolved now.
    pub async fn refresh(&self, endpoints: &[Arc<Endpoint>]) {
        let before = self.known.load_full();
        let mut known = HashMap::new();
        for endpoint in endpoints.iter().filter(|endpoint| literal(&endpoint.host).is_none()) {
            let found: Vec<SocketAddr> = match tokio::net::lookup_host((endpoint.host.as_str(), endpoint.port)).await {
                Ok(found) => found.collect(),
                Err(error) => {
                    log::warn!("cannot resolve the storage endpoint {endpoint}: {error}");
                    Vec::new()
                }
            };
            let addresses = if found.is_empty() { before.get(endpoint).cloned() } else { Some(found) };
            known.extend(addresses.map(|addresses| (Arc::clone(endpoint), addresses)));
        }
        self.known.store(Arc::new(known));
    }

    /// Looks the endpoints that `current` names up, again and again.
    pub async fn keep_fresh(&self, current: impl Fn() -> Vec<Arc<Endpoint>>) {
        loop {
            self.refresh(&current()).await;
            tokio::time::sleep(REFRESH).await;
        }
    }
}

/// The address that `host` spells, `[::1]` included.
fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn literal_addresses_need_no_look_up_and_names_do() {
        let origins = Origins::default();
        let endpoint = |url: &str| Arc::new(Endpoint::parse(url).expect(url));
        let v6 = origins.address(&endpoint("http://[::1]:9000"));
        assert_eq!(v6, Some("[::1]:9000".parse().expect("an address")));
        let name = endpoint("http://localhost:9000");
        assert_eq!(origins.address(&name), None);
        origins.refresh(std::slice::from_ref(&name)).await;
        assert!(origins.address(&name).is_some_and(|address| address.ip().is_loopback() && address.port() == 9000));
    }
}
