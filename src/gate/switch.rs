//! The access switch: off, observe, enforce. It goes on one way; the configuration and the control plane each say how
//! far, and what says more holds.

use super::Access;
use crate::restrictions::AppSettings;

/// Why the switch does not go there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StepDown {
    /// Links that were refused would open again.
    #[error("Token based access is enforced, and never steps down from there.")]
    Enforced,
    /// What the configuration says holds.
    #[error("The configuration says more than that: change `access` there first.")]
    Configured,
}

impl Access {
    /// The access in force, where the configuration says this and the control plane `settings`.
    pub fn with(self, settings: AppSettings) -> Access {
        let set = match settings {
            AppSettings { is_enforced: true, .. } => Access::Enforce,
            AppSettings { is_observed: true, .. } => Access::Observe,
            _ => Access::Off,
        };
        self.max(set)
    }

    /// Whether the control plane may set `wanted`, where the configuration says this and `settings` are set.
    ///
    /// # Errors
    ///
    /// Whatever [`StepDown`] names.
    pub fn switched(self, settings: AppSettings, wanted: Access) -> Result<(), StepDown> {
        match self.with(settings) {
            Access::Enforce if wanted != Access::Enforce => Err(StepDown::Enforced),
            _ if wanted < self => Err(StepDown::Configured),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_more_holds_and_enforce_is_for_good() {
        use Access::{Enforce, Observe, Off};
        let settings = |access| AppSettings {
            is_observed: access >= Observe,
            is_enforced: access == Enforce,
            tokenized_since: None,
        };
        let check = |configured: Access, set, wanted, expected| {
            assert_eq!(configured.switched(settings(set), wanted), expected, "{configured:?} {set:?} {wanted:?}");
        };
        for configured in [Off, Observe, Enforce] {
            for set in [Off, Observe, Enforce] {
                assert_eq!(configured.with(settings(set)), configured.max(set));
                check(configured, set, Enforce, Ok(()));
                if configured == Enforce || set == Enforce {
                    check(configured, set, Off, Err(StepDown::Enforced));
                    check(configured, set, Observe, Err(StepDown::Enforced));
                }
            }
        }
        check(Off, Off, Observe, Ok(()));
        check(Off, Observe, Off, Ok(()));
        check(Observe, Observe, Off, Err(StepDown::Configured));
        check(Observe, Off, Observe, Ok(()));
    }
}
