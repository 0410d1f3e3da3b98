//! The nodes that serve files, by what they say of themselves: how far each has come, and who has a change.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;

use crate::feed::wire::{NodeReport, Observed};

/// A node that says nothing for so long is no longer counted, unless it may go on serving for longer.
const GONE_AFTER: Duration = Duration::from_secs(15);

/// How long it takes to know the nodes: each says something once a second.
const ACQUAINTED_AFTER: Duration = Duration::from_millis(2500);

/// Most nodes that are kept in mind; more are passed over.
const MAX_NODES: usize = 10_000;

/// Most apps and reasons of one node.
const MAX_OBSERVED: usize = 1000;

/// Most offenders of one reason that are listed, of all nodes.
const MAX_OFFENDERS_LISTED: usize = 20;

/// The nodes.
#[derive(Debug)]
pub struct Nodes {
    /// By name and process: two of one name are two.
    known: Mutex<BTreeMap<(String, String), Known>>,
    gone_after: Duration,
    /// Since when reports are taken.
    listening_since: Instant,
    /// Steps on with each report.
    reported: watch::Sender<u64>,
}

#[derive(Debug)]
struct Known {
    report: NodeReport,
    at: Instant,
    /// What it would have refused, by app and reason.
    observed: BTreeMap<(String, String), Observed>,
}

/// One node, as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Its name.
    pub node: String,
    /// Everything up to here is in force there.
    pub seq: u64,
    /// How many changes it is behind the store.
    pub lag: u64,
    /// How many restrictions it holds.
    pub restrictions: u64,
    /// Whether it has heard its feed lately.
    pub fresh: bool,
    /// How long ago it said so, in milliseconds.
    pub reported_ms_ago: u64,
}

/// Which nodes have a change.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The change.
    pub seq: u64,
    /// The nodes that have it, each with the milliseconds from the commit to its word.
    pub nodes: Vec<Has>,
    /// The nodes that have not said so in the time given.
    pub missing: Vec<String>,
    /// The longest of them, in milliseconds; absent without nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slowest_ms: Option<f64>,
}

/// A node that has a change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Has {
    /// Its name.
    pub node: String,
    /// Milliseconds from the commit to its word.
    pub ms: f64,
}

impl Nodes {
    /// Returns none yet; reports are taken from `now` on. A node that hears nothing may serve for `max_staleness`, and is
    /// counted for longer than that: it may let somebody in who should not.
    pub fn new(now: Instant, max_staleness: Duration) -> Nodes {
        let gone_after = GONE_AFTER.max(max_staleness + Duration::from_secs(5));
        Nodes { known: Mutex::default(), gone_after, listening_since: now, reported: watch::channel(0).0 }
    }

    /// Takes in what a node says.
    pub fn heard(&self, report: NodeReport, now: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (report.node.clone(), report.instance.clone());
        if known.len() >= MAX_NODES && !known.contains_key(&key) {
            known.retain(|_, known| now.saturating_duration_since(known.at) < self.gone_after);
            if known.len() >= MAX_NODES {
                return;
            }
        }
        let observed = report.observed.clone();
        let place = known.entry(key).or_insert_with(|| Known {
            report: NodeReport::default(),
            at: now,
            observed: BTreeMap::new(),
        });
        (place.report, place.at) = (report, now);
        if let Some(row) = observed {
            let key = (row.app.clone(), row.reason.clone());
            if place.observed.len() < MAX_OBSERVED || place.observed.contains_key(&key) {
                place.observed.insert(key, row);
            }
        }
        drop(known);
        self.reported.send_modify(|times| *times += 1);
    }

    /// The nodes that are there at `now`, by name; `source` and `seq` are the store's.
    pub fn list(&self, source: &str, seq: u64, now: Instant) -> Vec<Node> {
        self.live(now, |known, ago| {
            // What was numbered by another store says nothing about this one's changes.
            let has = if known.report.source == source { known.report.seq } else { 0 };
            Node {
                node: known.report.node.clone(),
                seq: has,
                lag: seq.saturating_sub(has),
                restrictions: known.report.entries,
                fresh: known.report.fresh,
                reported_ms_ago: ago.as_millis() as u64,
            }
        })
    }

    /// What the nodes that are there at `now` would have refused of `app` since each of them started, by reason.
    pub fn observed(&self, app: &str, now: Instant) -> Vec<Observed> {
        let mut rows: BTreeMap<String, Observed> = BTreeMap::new();
        self.live(now, |known, _| {
            for row in known.observed.values().filter(|row| row.app == app) {
                let sum = rows.entry(row.reason.clone()).or_insert_with(|| Observed {
                    app: row.app.clone(),
                    reason: row.reason.clone(),
                    ..Observed::default()
                });
                sum.count = sum.count.saturating_add(row.count);
                let room = MAX_OFFENDERS_LISTED.saturating_sub(sum.first.len());
                sum.first.extend(row.first.iter().take(room).cloned());
            }
        });
        rows.into_values().collect()
    }

    /// Waits until every node has `seq` of `source`, `limit` at most, and tells which have. `since`: the commit. A
    /// process that has just started waits to hear of them first.
    pub async fn receipt(&self, source: &str, seq: u64, since: Instant, limit: Duration) -> Receipt {
        let mut reported = self.reported.subscribe();
        let mut have = BTreeMap::new();
        let deadline = tokio::time::Instant::from_std(since) + limit;
        let acquainted = tokio::time::Instant::from_std(self.listening_since) + ACQUAINTED_AFTER;
        loop {
            let missing = self.missing(source, seq, since, Instant::now(), &mut have);
            // That nobody is there says nothing: somebody may be late.
            let is_known = missing.is_empty() && !have.is_empty();
            let waits_until = if is_known { deadline.min(acquainted) } else { deadline };
            if tokio::time::Instant::now() < waits_until {
                // Whether something was reported or the time is over, there is another look.
                let _ = tokio::time::timeout_at(waits_until, reported.changed()).await;
                continue;
            }
            let nodes: Vec<Has> = have.into_iter().map(|((node, _), ms)| Has { node, ms }).collect();
            let slowest_ms = nodes.iter().map(|has| has.ms).reduce(f64::max);
            return Receipt { seq, nodes, missing, slowest_ms };
        }
    }

    /// Notes those that have `seq` in `have`, and returns the others.
    fn missing(
        &self,
        source: &str,
        seq: u64,
        since: Instant,
        now: Instant,
        have: &mut BTreeMap<(String, String), f64>,
    ) -> Vec<String> {
        let millis = |at: Instant| (at.saturating_duration_since(since).as_secs_f64() * 1e6).round() / 1e3;
        let mut missing = Vec::new();
        self.live(now, |known, _| {
            let report = &known.report;
            let key = (report.node.clone(), report.instance.clone());
            if report.source == source && report.seq >= seq {
                // At the latest: an earlier report may have said so, of which this is the next.
                have.entry(key).or_insert_with(|| millis(known.at));
            } else if !have.contains_key(&key) {
                missing.push(report.node.clone());
            }
        });
        missing
    }

    fn live<T>(&self, now: Instant, mut each: impl FnMut(&Known, Duration) -> T) -> Vec<T> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, known| now.saturating_duration_since(known.at) < self.gone_after);
        known.values().map(|known| each(known, now.saturating_duration_since(known.at))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::wire::Offender;

    fn report(node: &str, source: &str, seq: u64) -> NodeReport {
        NodeReport { node: node.into(), source: source.into(), seq, entries: 1, fresh: true, ..NodeReport::default() }
    }

    #[test]
    fn nodes_are_listed_until_they_are_gone() {
        let start = Instant::now();
        let nodes = Nodes::new(start, Duration::ZERO);
        nodes.heard(report("b", "s", 5), start);
        nodes.heard(report("a", "other", 9), start + Duration::from_secs(1));
        let listed = nodes.list("s", 7, start + Duration::from_secs(2));
        let brief: Vec<_> = listed.iter().map(|node| (node.node.as_str(), node.seq, node.lag)).collect();
        assert_eq!(brief, [("a", 0, 7), ("b", 5, 2)]);
        assert_eq!(listed[1].reported_ms_ago, 2000);
        let later = nodes.list("s", 7, start + GONE_AFTER);
        assert_eq!(later.len(), 1);
        assert!(nodes.list("s", 7, start + 2 * GONE_AFTER).is_empty());
    }

    #[test]
    fn what_nodes_observed_is_summed_by_reason() {
        let start = Instant::now();
        let nodes = Nodes::new(start, Duration::ZERO);
        let offender = |object: &str| Offender { object: object.into(), token: None };
        let heard = |node: &str, app: &str, reason: &str, count, object: &str| {
            let observed = Observed { app: app.into(), reason: reason.into(), count, first: vec![offender(object)] };
            nodes.heard(NodeReport { observed: Some(observed), ..report(node, "s", 1) }, start);
        };
        heard("a", "acme", "token_missing", 2, "acme/1");
        heard("a", "acme", "token_expired", 1, "acme/2");
        heard("a", "acme", "token_missing", 5, "acme/1");
        heard("b", "acme", "token_missing", 7, "acme/3");
        heard("b", "other", "token_missing", 9, "other/1");
        nodes.heard(report("a", "s", 2), start);
        let rows = nodes.observed("acme", start);
        let brief: Vec<_> = rows.iter().map(|row| (&*row.reason, row.count, row.first.len())).collect();
        assert_eq!(brief, [("token_expired", 1, 1), ("token_missing", 12, 2)]);
        assert!(nodes.observed("acme", start + 2 * GONE_AFTER).is_empty());
    }

    #[test]
    fn no_more_nodes_are_kept_than_there_can_be() {
        let start = Instant::now();
        let nodes = Nodes::new(start, Duration::ZERO);
        for n in 0..MAX_NODES + 10 {
            nodes.heard(report(&n.to_string(), "s", 1), start);
        }
        assert_eq!(nodes.list("s", 1, start).len(), MAX_NODES);
        nodes.heard(report("new", "s", 1), start + GONE_AFTER);
        assert_eq!(nodes.list("s", 1, start + GONE_AFTER).len(), 1);
    }

    #[tokio::test]
    async fn a_receipt_names_who_has_it_and_who_has_not() {
        let since = Instant::now();
        let long_ago = since.checked_sub(ACQUAINTED_AFTER).expect("the machine runs for longer");
        let nodes = std::sync::Arc::new(Nodes::new(long_ago, Duration::ZERO));
        for (node, source, seq) in [("a", "s", 7), ("b", "s", 6), ("c", "other", 99)] {
            nodes.heard(report(node, source, seq), since);
        }
        let receipt = nodes.receipt("s", 7, since, Duration::ZERO).await;
        let names = |receipt: &Receipt| receipt.nodes.iter().map(|has| has.node.clone()).collect::<Vec<_>>();
        assert_eq!((names(&receipt), receipt.missing), (vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()]));
        let waiting = std::sync::Arc::clone(&nodes);
        let waiting = tokio::spawn(async move { waiting.receipt("s", 7, since, Duration::from_secs(600)).await });
        for (node, seq) in [("b", 8), ("c", 7)] {
            tokio::task::yield_now().await;
            nodes.heard(report(node, "s", seq), since + Duration::from_millis(20));
        }
        let receipt = waiting.await.unwrap();
        assert_eq!((names(&receipt).len(), receipt.missing.len()), (3, 0));
        assert_eq!(receipt.slowest_ms, Some(20.0));
    }

    #[tokio::test]
    async fn who_has_just_begun_to_listen_does_not_say_that_there_is_nobody() {
        let almost = Duration::from_millis(100);
        let a_while_ago = Instant::now().checked_sub(ACQUAINTED_AFTER - almost).expect("the machine runs for longer");
        let nodes = std::sync::Arc::new(Nodes::new(a_while_ago, Duration::ZERO));
        let (waiting, since) = (std::sync::Arc::clone(&nodes), Instant::now());
        let waiting = tokio::spawn(async move { waiting.receipt("s", 1, since, Duration::from_secs(600)).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        nodes.heard(report("a", "s", 1), since);
        assert_eq!(waiting.await.unwrap().nodes.len(), 1);
    }
}
