//! Names of keys.

/// The keys below one prefix.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) meta: String,
    pub(super) changes: String,
    pub(super) reports: String,
    state: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Keys {
        let key = |name| format!("{{{prefix}}}:{name}");
        Keys { meta: key("meta"), changes: key("changes"), reports: key("reports"), state: key("state:3:") }
    }

    /// What the keys of the state of `generation` begin with. The number is of how a state is written: one that is
    /// written otherwise is under another name, so that nobody takes what it cannot read for a state without entries.
    pub(super) fn state(&self, generation: &str) -> String {
        format!("{}{generation}", self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_share_a_hash_tag() {
        let keys = Keys::new("mediagate");
        assert_eq!(keys.meta, "{mediagate}:meta");
        assert_eq!(keys.changes, "{mediagate}:changes");
        assert_eq!(keys.reports, "{mediagate}:reports");
        assert_eq!(keys.state("9f2c"), "{mediagate}:state:3:9f2c");
    }
}
