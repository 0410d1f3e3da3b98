//! What an app under `access = "observe"` would have refused: how much, and the first of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::restrictions::wire::{MAX_OBJECT_BYTES, MAX_OFFENDERS, Observed, Offender};

/// Most apps and reasons that are kept apart.
const MAX_ROWS: usize = 10_000;

/// What was seen since the process started.
#[derive(Debug, Default)]
pub struct Observations(Mutex<BTreeMap<(Arc<str>, &'static str), Observed>>);

impl Observations {
    /// Notes a request that would have been refused. `token`: a number for its token.
    pub fn note(&self, app: &Arc<str>, reason: &'static str, object: &str, token: Option<u64>) {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (Arc::clone(app), reason);
        if rows.len() >= MAX_ROWS && !rows.contains_key(&key) {
            return;
        }
        let row = rows.entry(key).or_insert_with(|| Observed {
            app: app.to_string(),
            reason: reason.to_owned(),
            ..Observed::default()
        });
        row.count += 1;
        if row.first.len() < MAX_OFFENDERS {
            let object = object[..object.floor_char_boundary(MAX_OBJECT_BYTES)].to_owned();
            row.first.push(Offender { object, token: token.map(|token| format!("{token:016x}")) });
        }
    }

    /// The row whose turn it is, round after round; `None` without any.
    pub fn turn(&self, turn: usize) -> Option<Observed> {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.values().nth(turn.checked_rem(rows.len())?).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_counted_and_the_first_are_told() {
        let seen = Observations::default();
        assert_eq!(seen.turn(0), None);
        let (acme, other): (Arc<str>, Arc<str>) = ("acme".into(), "other".into());
        let long = "ä".repeat(1000);
        for n in 0..10 {
            seen.note(&acme, "token_missing", if n == 0 { &long } else { "acme/a.jpg" }, None);
        }
        seen.note(&acme, "user_deactivated", "acme/b.jpg", Some(255));
        seen.note(&other, "token_missing", "other/a.jpg", None);
        let rows: Vec<_> = (0..4).map(|turn| seen.turn(turn).unwrap()).collect();
        let brief: Vec<_> = rows.iter().map(|row| (&*row.app, &*row.reason, row.count, row.first.len())).collect();
        let first = ("acme", "token_missing", 10, MAX_OFFENDERS);
        assert_eq!(brief, [first, ("acme", "user_deactivated", 1, 1), ("other", "token_missing", 1, 1), first]);
        assert_eq!(rows[0].first[0].object, "ä".repeat(MAX_OBJECT_BYTES / 2));
        assert_eq!(rows[1].first[0].token.as_deref(), Some("00000000000000ff"));
    }
}
