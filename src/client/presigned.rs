//! Presigned URLs that one login has got, until shortly before they expire.

use quick_cache::sync::Cache;
use serde::Deserialize;

/// How long a URL must live on to be given out again, in seconds: time to open it.
const MARGIN_SECS: u64 = 30;

/// A presigned URL, as the gate hands it out.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Presigned {
    pub(super) url: String,
    /// UNIX seconds; a plain URL, of a file that needs no token, has none.
    expires_at: Option<u64>,
}

/// URLs by the media URL that they open.
pub(super) struct PresignedUrls(Option<Cache<Box<str>, Presigned>>);

impl PresignedUrls {
    /// Keeps so many at most.
    pub(super) fn new(capacity: usize) -> PresignedUrls {
        PresignedUrls((capacity > 0).then(|| Cache::new(capacity)))
    }

    /// Returns the URL for `media`, if there is one that lives on long enough at `now`, in UNIX seconds.
    pub(super) fn get(&self, media: &str, now: u64) -> Option<String> {
        let presigned = self.0.as_ref()?.get(media)?;
        presigned.is_alive(now).then_some(presigned.url)
    }

    /// Keeps `presigned`, where it lives on long enough.
    pub(super) fn insert(&self, media: &str, presigned: Presigned, now: u64) {
        if let Some(cache) = self.0.as_ref().filter(|_| presigned.is_alive(now)) {
            cache.insert(media.into(), presigned);
        }
    }
}

impl Presigned {
    /// A URL that does not say when it ends is not kept: what it rests on may have ended.
    fn is_alive(&self, now: u64) -> bool {
        self.expires_at.is_some_and(|at| at > now.saturating_add(MARGIN_SECS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presigned(expires_at: Option<u64>) -> Presigned {
        Presigned { url: "https://files.example/a?Signature=s".into(), expires_at }
    }

    #[track_caller]
    fn check(expires_at: Option<u64>, inserted: u64, asked: u64, expected: bool) {
        let urls = PresignedUrls::new(2);
        urls.insert("a", presigned(expires_at), inserted);
        assert_eq!(urls.get("a", asked).is_some(), expected, "{expires_at:?} {inserted} {asked}");
    }

    #[test]
    fn a_url_is_given_out_until_the_margin_before_it_expires() {
        check(Some(1000), 0, 0, true);
        check(Some(1000), 0, 969, true);
        check(Some(1000), 0, 970, false);
        check(Some(1000), 0, 1000, false);
        check(Some(1000), 970, 0, false);
        check(Some(0), 0, 0, false);
        check(Some(u64::MAX), u64::MAX, u64::MAX, false);
        check(None, 0, 0, false);
    }

    #[test]
    fn a_newer_url_takes_the_place_of_an_older_one() {
        let urls = PresignedUrls::new(2);
        urls.insert("a", presigned(Some(1000)), 0);
        urls.insert("a", Presigned { url: "new".into(), expires_at: Some(2000) }, 0);
        assert_eq!(urls.get("a", 980).as_deref(), Some("new"));
        assert_eq!(urls.get("b", 0), None);
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        for capacity in [0, 1, 100] {
            let urls = PresignedUrls::new(capacity);
            let names: Vec<String> = (0..1000).map(|name| name.to_string()).collect();
            names.iter().for_each(|name| urls.insert(name, presigned(Some(1000)), 0));
            let kept = names.iter().filter(|name| urls.get(name, 0).is_some()).count();
            assert!(kept <= capacity && (kept > 0) == (capacity > 0), "{kept} of {capacity}");
        }
    }
}
