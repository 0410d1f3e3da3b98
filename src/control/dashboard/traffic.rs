//! How many requests this process has answered in each minute of the last hour, and how.

use std::collections::{BTreeMap, VecDeque};

use crate::metrics::{Metrics, Outcome};

/// How many minutes are told of, the one that runs included.
pub(super) const MINUTES: usize = 60;

/// Most reasons that are told apart; the rest are told together.
const MAX_REASONS: usize = 6;

/// Requests by what became of them and why, as the metrics label them.
pub(super) type Counts = BTreeMap<(String, String), u64>;

/// The minutes that are over.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// What had been counted when the minute that runs began.
    before: Counts,
    /// The oldest first.
    minutes: VecDeque<Counts>,
}

/// One kind of requests: how many there were in each minute, the last of which is running.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) values: [u64; MINUTES],
}

impl Series {
    pub(super) fn total(&self) -> u64 {
        self.values.iter().sum()
    }
}

/// What the metrics say by now.
pub(super) fn counted(metrics: &Metrics) -> Counts {
    metrics.requests_by_outcome().into_iter().map(|(outcome, reason, count)| ((outcome, reason), count)).collect()
}

impl Traffic {
    /// Ends the minute that runs, with `counted` requests since the process began.
    pub(super) fn end_minute(&mut self, counted: Counts) {
        let minute = self.running(&counted);
        self.minutes.push_back(minute);
        if self.minutes.len() >= MINUTES {
            self.minutes.pop_front();
        }
        self.before = counted;
    }

    /// What has been counted since the last minute ended.
    fn running(&self, counted: &Counts) -> Counts {
        let since = |(key, count): (&(String, String), &u64)| {
            let more = count.saturating_sub(self.before.get(key).copied().unwrap_or_default());
            (more > 0).then(|| (key.clone(), more))
        };
        counted.iter().filter_map(since).collect()
    }

    /// Requests by what became of them, in an order that is always the same.
    pub(super) fn by_outcome(&self, counted: &Counts) -> Vec<Series> {
        let outcomes = [
            ("Sent", [Outcome::Served, Outcome::Answered]),
            ("Refused", [Outcome::Denied, Outcome::Denied]),
            ("Cut or broken off", [Outcome::Cut, Outcome::Aborted]),
            ("Storage failed", [Outcome::Failed, Outcome::Failed]),
        ];
        let series = outcomes.map(|(name, outcomes)| {
            let is_one = |outcome: &str| outcomes.iter().any(|one| one.label() == outcome);
            Series { name: name.to_owned(), values: self.values(counted, |outcome, _| is_one(outcome)) }
        });
        series.into()
    }

    /// Refusals by reason, the most frequent first.
    pub(super) fn by_reason(&self, counted: &Counts) -> Vec<Series> {
        let running = self.running(counted);
        let refused = |outcome: &str| outcome == Outcome::Denied.label() || outcome == Outcome::Cut.label();
        let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
        for ((outcome, reason), count) in self.minutes.iter().chain([&running]).flatten() {
            if refused(outcome) {
                *totals.entry(reason).or_default() += count;
            }
        }
        let mut reasons: Vec<(&str, u64)> = totals.into_iter().collect();
        reasons.sort_by_key(|(_, total)| std::cmp::Reverse(*total));
        let (told, others) = reasons.split_at(reasons.len().min(MAX_REASONS));
        let mut series: Vec<Series> = told
            .iter()
            .map(|(name, _)| {
                let values = self.values(counted, |outcome, reason| refused(outcome) && reason == *name);
                Series { name: (*name).to_owned(), values }
            })
            .collect();
        if !others.is_empty() {
            let is_other = |reason: &str| others.iter().any(|(other, _)| *other == reason);
            let values = self.values(counted, |outcome, reason| refused(outcome) && is_other(reason));
            series.push(Series { name: "other reasons".to_owned(), values });
        }
        series
    }

    fn values(&self, counted: &Counts, is_meant: impl Fn(&str, &str) -> bool) -> [u64; MINUTES] {
        let sum = |minute: &Counts| {
            minute.iter().filter(|((outcome, reason), _)| is_meant(outcome, reason)).map(|(_, count)| count).sum()
        };
        let mut values = [0; MINUTES];
        let first = MINUTES - 1 - self.minutes.len();
        for (at, minute) in self.minutes.iter().enumerate() {
            values[first + at] = sum(minute);
        }
        values[MINUTES - 1] = sum(&self.running(counted));
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rows: &[(&str, &str, u64)]) -> Counts {
        rows.iter().map(|(outcome, reason, count)| ((outcome.to_string(), reason.to_string()), *count)).collect()
    }

    #[test]
    fn an_hour_is_told_by_the_minute_and_the_running_one_is_its_last() {
        let mut traffic = Traffic::default();
        let now = counts(&[("served", "ok", 5), ("denied", "token_expired", 2)]);
        let values = |traffic: &Traffic, now: &Counts| traffic.by_outcome(now)[0].values;
        assert_eq!((values(&traffic, &now)[59], values(&traffic, &now)[58]), (5, 0));
        traffic.end_minute(now.clone());
        assert_eq!((values(&traffic, &now)[59], values(&traffic, &now)[58]), (0, 5));
        let later = counts(&[("served", "ok", 12), ("answered", "presigned", 1), ("denied", "token_expired", 2)]);
        assert_eq!(values(&traffic, &later)[58..], [5, 8]);
        for _ in 0..58 {
            traffic.end_minute(later.clone());
        }
        assert_eq!((values(&traffic, &later)[0], values(&traffic, &later)[1]), (5, 8));
        for _ in 0..200 {
            traffic.end_minute(later.clone());
        }
        assert_eq!((traffic.minutes.len(), values(&traffic, &later)), (MINUTES - 1, [0; MINUTES]));
    }

    #[test]
    fn refusals_are_told_by_reason_and_the_rare_ones_together() {
        let rows: Vec<(String, u64)> = (1..=9).map(|n| (format!("reason_{n}"), n)).collect();
        let mut now: Counts = rows.into_iter().map(|(reason, n)| (("denied".to_owned(), reason), n)).collect();
        now.insert(("cut".into(), "user_deactivated".into()), 100);
        now.insert(("served".into(), "ok".into()), 1000);
        let series = Traffic::default().by_reason(&now);
        let brief: Vec<_> = series.iter().map(|series| (series.name.as_str(), series.total())).collect();
        let expected = [("user_deactivated", 100), ("reason_9", 9), ("reason_8", 8), ("reason_7", 7), ("reason_6", 6)];
        assert_eq!(brief[..5], expected);
        assert_eq!(brief[5..], [("reason_5", 5), ("other reasons", 1 + 2 + 3 + 4)]);
        assert_eq!(Traffic::default().by_reason(&Counts::new()), []);
    }

    #[test]
    fn what_the_metrics_count_is_what_is_told() {
        let metrics = Metrics::new();
        metrics.count(Outcome::Served, "ok");
        metrics.count(Outcome::Denied, "token_expired");
        metrics.count(Outcome::Denied, "token_expired");
        assert_eq!(counted(&metrics), counts(&[("served", "ok", 1), ("denied", "token_expired", 2)]));
    }
}
