//! Every metric with its unit and labels, declared together. Labels are from fixed sets: no client text.

use std::time::{Duration, Instant};

use prometheus::core::Collector;
use prometheus::{
    Encoder, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::gate::Gate;
use crate::observed::Observations;
use crate::restrictions::{RestrictionSet, ScopeKind};

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The storage's answer went out whole.
    Served,
    /// The gate answered by itself: CORS, a presigned URL.
    Answered,
    /// Refused before anything was fetched.
    Denied,
    /// The storage failed.
    Failed,
    /// Ended while bytes flowed, because its user was restricted.
    Cut,
    /// The client went away.
    Aborted,
}

impl Outcome {
    /// The metric label and log field.
    pub const fn label(self) -> &'static str {
        match self {
            Outcome::Served => "served",
            Outcome::Answered => "answered",
            Outcome::Denied => "denied",
            Outcome::Failed => "failed",
            Outcome::Cut => "cut",
            Outcome::Aborted => "aborted",
        }
    }
}

/// The metrics of copies of objects.
#[derive(Debug, Clone)]
pub struct CacheMetrics {
    /// `mediagate_cache_hits_total`: answered from a copy.
    pub hits: IntCounter,
    /// `mediagate_cache_misses_total`: a copy was fetched first.
    pub misses: IntCounter,
    /// `mediagate_cache_revalidations_total`: a copy was asked about first.
    pub revalidations: IntCounter,
    /// `mediagate_cache_passes_total`: answered by the storage.
    pub passes: IntCounter,
    /// `mediagate_cache_evictions_total`: copies that had to make room.
    pub evictions: IntCounter,
    /// `mediagate_cache_bytes`.
    pub bytes: IntGauge,
    /// `mediagate_cache_objects`.
    pub objects: IntGauge,
}

impl CacheMetrics {
    fn new(counter: impl Fn(&str, &str) -> IntCounter, gauge: impl Fn(&str, &str) -> IntGauge) -> CacheMetrics {
        CacheMetrics {
            hits: counter("mediagate_cache_hits_total", "Requests answered from a copy of the object."),
            misses: counter(
                "mediagate_cache_misses_total",
                "Requests that a copy was fetched for, or that waited for it.",
            ),
            revalidations: counter(
                "mediagate_cache_revalidations_total",
                "Requests answered from a copy that the storage was asked about first.",
            ),
            passes: counter("mediagate_cache_passes_total", "Requests for what is not kept: the storage answered."),
            evictions: counter("mediagate_cache_evictions_total", "Copies that made room for others."),
            bytes: gauge(
                "mediagate_cache_bytes",
                "Bytes of copies in memory: kept, being filled, and still being sent.",
            ),
            objects: gauge("mediagate_cache_objects", "Objects that a copy is kept of, or known not to be kept."),
        }
    }

    /// Counts a request by what the log says of it.
    pub fn count(&self, used: &str) {
        match used {
            "hit" => self.hits.inc(),
            "miss" => self.misses.inc(),
            "revalidated" => self.revalidations.inc(),
            _ => self.passes.inc(),
        }
    }
}

/// The metrics of one gate.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// `mediagate_requests_total{outcome,reason}`.
    pub requests: IntCounterVec,
    /// The one of them that counts almost every request, so that its labels are not looked up each time.
    served: IntCounter,
    /// `mediagate_observed_denials_total{app,reason}`: what `access = "observe"` let through.
    pub observed: IntCounterVec,
    /// The same, and the first of it, for the control plane.
    pub observations: Observations,
    /// `mediagate_decision_seconds`: extract to resolve.
    pub decision_seconds: Histogram,
    /// `mediagate_upstream_seconds`: from the decision to the storage's header.
    pub upstream_seconds: Histogram,
    /// `mediagate_response_bytes_total`: bodies sent to clients.
    pub response_bytes: IntCounter,
    /// `mediagate_requests_in_flight`.
    pub in_flight: IntGauge,
    /// `mediagate_feed_events_total`: what the restriction feed delivered, by what became of it.
    pub feed_events: IntCounterVec,
    /// `mediagate_presigned_urls_total`: handed out, to clients and in batches.
    pub presigned_urls: IntCounter,
    /// `mediagate_jwks_fetches_total{app,result}`.
    pub jwks_fetches: IntCounterVec,
    /// `mediagate_jwks_keys{app,state}`: keys of JWK Sets that are held, and those that are passed over, by why.
    pub jwks_keys: IntGaugeVec,
    /// `mediagate_jwks_age_seconds{app}`.
    pub jwks_age: GaugeVec,
    /// `mediagate_cache_*`: copies of objects.
    pub cache: CacheMetrics,
    /// `mediagate_log_lines_dropped_total`: access log lines that nobody took in time.
    pub log_lines_dropped: IntCounter,
    restrictions: IntGaugeVec,
    applied_seq: IntGauge,
    feed_age: prometheus::Gauge,
    token_cache: IntGaugeVec,
    token_cache_bytes: IntGauge,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// Declares every metric in a registry of its own.
    pub fn new() -> Metrics {
        let valid = "the names and labels below are valid and differ";
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels).expect(valid);
            registry.register(Box::new(counters.clone())).expect(valid);
            counters
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help).expect(valid);
            registry.register(Box::new(counter.clone())).expect(valid);
            counter
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help).expect(valid);
            registry.register(Box::new(gauge.clone())).expect(valid);
            gauge
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), labels).expect(valid);
            registry.register(Box::new(gauges.clone())).expect(valid);
            gauges
        };
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            let histogram = Histogram::with_opts(opts).expect(valid);
            registry.register(Box::new(histogram.clone())).expect(valid);
            histogram
        };
        let feed_age = prometheus::Gauge::new(
            "mediagate_feed_age_seconds",
            "Seconds since the restriction feed was last heard; -1 before its first state.",
        )
        .expect(valid);
        registry.register(Box::new(feed_age.clone())).expect(valid);
        let jwks_age = Opts::new(
            "mediagate_jwks_age_seconds",
            "Seconds since the app's JWK Sets were had, of the oldest; -1 while one is missing.",
        );
        let jwks_age = GaugeVec::new(jwks_age, &["app"]).expect(valid);
        registry.register(Box::new(jwks_age.clone())).expect(valid);
        let requests =
            counters("mediagate_requests_total", "Requests by what became of them and why.", &["outcome", "reason"]);
        Metrics {
            served: requests.with_label_values(&[Outcome::Served.label(), "ok"]),
            requests,
            observations: Observations::default(),
            observed: counters(
                "mediagate_observed_denials_total",
                "Requests let through by access = \"observe\" that \"enforce\" would refuse, by reason.",
                &["app", "reason"],
            ),
            decision_seconds: histogram(
                "mediagate_decision_seconds",
                "Time to decide about one request.",
                &[1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 1e-2],
            ),
            upstream_seconds: histogram(
                "mediagate_upstream_seconds",
                "Time from the decision to the storage's response header.",
                &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0],
            ),
            response_bytes: counter("mediagate_response_bytes_total", "Bytes of bodies sent to clients."),
            in_flight: gauge("mediagate_requests_in_flight", "Requests that are being answered."),
            feed_events: counters(
                "mediagate_feed_events_total",
                "What the restriction feed delivered, by what became of it.",
                &["event"],
            ),
            presigned_urls: counter("mediagate_presigned_urls_total", "Presigned URLs that were handed out."),
            jwks_fetches: counters(
                "mediagate_jwks_fetches_total",
                "Attempts to have a JWK Set, by app and what came of them.",
                &["app", "result"],
            ),
            jwks_keys: gauges(
                "mediagate_jwks_keys",
                "Keys of JWK Sets: held, or passed over and why.",
                &["app", "state"],
            ),
            jwks_age,
            cache: CacheMetrics::new(counter, gauge),
            log_lines_dropped: counter(
                "mediagate_log_lines_dropped_total",
                "Access log lines dropped because standard error took them too slowly.",
            ),
            restrictions: gauges("mediagate_restrictions", "Restrictions in force.", &["scope"]),
            applied_seq: gauge("mediagate_restrictions_applied_seq", "The newest change in force here."),
            token_cache: gauges(
                "mediagate_token_cache_lookups",
                "Tokens with public-key signatures, by whether their signature was verified before. Starts again on reload.",
                &["result"],
            ),
            token_cache_bytes: gauge("mediagate_token_cache_bytes", "Bytes of verified tokens that are remembered."),
            feed_age,
            registry,
        }
    }

    /// Counts one finished request.
    pub fn count(&self, outcome: Outcome, reason: &str) {
        match (outcome, reason) {
            (Outcome::Served, "ok") => self.served.inc(),
            _ => self.requests.with_label_values(&[outcome.label(), reason]).inc(),
        }
    }

    /// Returns `mediagate_requests_total` as outcome, reason and count.
    pub fn requests_by_outcome(&self) -> Vec<(String, String, u64)> {
        let families = self.requests.collect();
        let rows = families.iter().flat_map(|family| family.get_metric()).map(|metric| {
            let label = |name: &str| {
                let label = metric.get_label().iter().find(|label| label.name() == name);
                label.map(|label| label.value().to_owned()).unwrap_or_default()
            };
            (label("outcome"), label("reason"), metric.get_counter().get_value() as u64)
        });
        rows.collect()
    }

    /// Returns everything in the Prometheus text format, with the gauges read at `now`.
    pub fn render(&self, gate: &Gate, restrictions: &RestrictionSet, now: Instant) -> String {
        for kind in ScopeKind::ALL {
            let count = i64::try_from(restrictions.count(kind)).unwrap_or(i64::MAX);
            self.restrictions.with_label_values(&[kind.label()]).set(count);
        }
        self.applied_seq.set(i64::try_from(restrictions.applied()).unwrap_or(i64::MAX));
        self.feed_age.set(restrictions.age(now).map_or(-1.0, |age| age.as_secs_f64()));
        let cache = gate.cache_stats();
        for (result, count) in [("hit", cache.hits), ("miss", cache.misses)] {
            self.token_cache.with_label_values(&[result]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        self.token_cache_bytes.set(i64::try_from(cache.bytes).unwrap_or(i64::MAX));
        let mut text = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            Ok(()) => String::from_utf8_lossy(&text).into_owned(),
            Err(error) => format!("# {error}\n"),
        }
    }

    /// Records how long a decision took.
    pub fn decided(&self, took: Duration) {
        self.decision_seconds.observe(took.as_secs_f64());
    }
}
