//! Numbers that stand for names: with keys of the process, so that nobody outside can reckon or choose them.

use std::hash::Hasher;

use foldhash::quality::FoldHasher;
use siphasher::sip128::{Hasher128, SipHasher13};

use super::RestrictionSet;
use super::change::ScopeKind;
use super::tables::ScopeId;

impl RestrictionSet {
    pub(super) fn hash(&self, kind: ScopeKind, app: &str, name: &str) -> ScopeId {
        let mut hasher = SipHasher13::new_with_keys(self.key[0], self.key[1]);
        // The length keeps ("ab", "c") apart from ("a", "bc").
        hasher.write_u64(((app.len() as u64) << 8) | kind as u64);
        hasher.write(app.as_bytes());
        hasher.write(name.as_bytes());
        let hash = hasher.finish128();
        ScopeId::new([hash.h1, hash.h2])
    }

    /// Returns a number for a token that logs may show: it tells nothing about the token, and differs between
    /// processes.
    pub fn token_number(&self, compact: &str) -> u64 {
        // Quickly to one word, which tells of seed and token; of that word, what is shown tells nothing.
        let mut quick = FoldHasher::with_seed(self.key[1], &self.seed);
        quick.write(compact.as_bytes());
        self.number(&quick.finish().to_le_bytes())
    }

    /// Returns a number for the name of an object, which nobody can choose to be another's.
    pub fn object_number(&self, object: &str) -> u64 {
        self.number(object.as_bytes())
    }

    fn number(&self, bytes: &[u8]) -> u64 {
        SipHasher13::new_with_keys(self.key[1], self.key[0]).hash(bytes).h1
    }
}
