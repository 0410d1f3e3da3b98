//! How the state of one generation is divided: into many small hashes, because a server reads and stores those at a
//! fraction of what one large hash costs it.

/// Entries of a bucket when it is filled: small hashes are one piece of memory up to 128 fields
/// (`hash-max-listpack-entries`).
const ENTRIES: usize = 96;

/// Entries of a bucket above which a state is to be divided anew.
const CROWDED: u64 = 1024;

/// No state has fewer buckets: one that begins empty may grow to 16,384 entries.
const MIN: u32 = 1 << 4;

/// No state has more.
const MAX: u32 = 1 << 17;

/// The field of a bucket that says how many others it has. No entry has an empty name.
pub(super) const COUNT: &str = "";

/// The buckets of one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Buckets {
    /// What the names of all of them begin with.
    name: String,
    number: u32,
}

impl Buckets {
    /// As many as a state of `expected` entries needs.
    pub(super) fn of(name: String, expected: usize) -> Buckets {
        let wanted = u32::try_from(expected.div_ceil(ENTRIES)).unwrap_or(MAX).min(MAX);
        Buckets { name, number: wanted.next_power_of_two().max(MIN) }
    }

    /// As many as a state says that it has; `None` when it cannot have so many.
    pub(super) fn numbered(name: String, number: u64) -> Option<Buckets> {
        let number = u32::try_from(number).ok().filter(|number| number.is_power_of_two())?;
        (MIN..=MAX).contains(&number).then_some(Buckets { name, number })
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn key(&self, bucket: u32) -> String {
        format!("{}:{bucket}", self.name)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = String> {
        (0..self.number).map(|bucket| self.key(bucket))
    }

    /// The key of the bucket in which a field is: the lowest bits of the 32-bit FNV-1a hash of its name.
    pub(super) fn key_of(&self, field: &str) -> String {
        let hash = field.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        self.key(hash & (self.number - 1))
    }

    /// How many entries are too many for this number of buckets.
    pub(super) fn crowded(&self) -> u64 {
        if self.number == MAX { u64::MAX } else { u64::from(self.number) * CROWDED }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_has_as_many_buckets_as_it_needs() {
        for (expected, number) in [
            (0, 16),
            (1, 16),
            (1536, 16),
            (1537, 32),
            (1_000_000, 16_384),
            (10_000_000, 131_072),
            (usize::MAX, 131_072),
        ] {
            let buckets = Buckets::of("s".into(), expected);
            assert_eq!(buckets.number(), number, "{expected}");
            assert!(number == MAX || buckets.crowded() > 10 * expected as u64, "{expected}");
            assert_eq!(Buckets::numbered("s".into(), number.into()), Some(buckets));
        }
        for number in [0, 1, 8, 17, 100, 262_144, u64::MAX, (1 << 32) + 16] {
            assert_eq!(Buckets::numbered("s".into(), number), None, "{number}");
        }
    }

    /// The hashes are those of the test suite that the authors of FNV publish.
    #[test]
    fn a_field_is_where_its_hash_says() {
        let buckets = Buckets::numbered("{p}:state:3:g".into(), 1 << 16).expect("a number of buckets");
        for (field, hash) in [("", 0x811c_9dc5_u32), ("a", 0xe40c_292c), ("foobar", 0xbf9c_f968)] {
            assert_eq!(buckets.key_of(field), format!("{{p}}:state:3:g:{}", hash & 0xffff), "{field}");
        }
    }

    #[test]
    fn fields_are_spread_evenly() {
        let buckets = Buckets::of("s".into(), 65_536);
        let mut entries = std::collections::HashMap::<String, usize>::new();
        for user in 0..65_536 {
            *entries.entry(buckets.key_of(&format!("deactivated/user/acme/user-{user:08}"))).or_default() += 1;
        }
        assert!(
            entries.len() == 1024 && entries.values().all(|entries| *entries < 128),
            "{:?}",
            entries.values().max()
        );
    }
}
