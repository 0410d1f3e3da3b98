//! Who there is, what a node must answer, and whether it does.

use std::collections::HashMap;
use std::sync::LazyLock;

use mediagate::gate::{UidCase, normalized_uid};
use mediagate::restrictions::{Effect, Holder, Restricted, RestrictionSet, Scope, ScopeKind, Subject};

/// Times of an `issued_before`; the last is the latest that a database can tell.
pub(super) const TIMES: [u64; 4] = [1, 1_795_267_467, 1_795_267_468, i64::MAX as u64];

const APPS: [&str; 2] = ["acme", "exact"];
const UIDS: [&str; 6] = ["bob", "Bob", "b!%@~ob/..", "s1", "\"\\'{}*>.", "0"];
const SIDS: [&str; 4] = ["s1", "S1", "ß \"1\"", "bob"];
const JTIS: [&str; 3] = ["t1", "s1", "a/b*.> \u{1f980}"];

/// Scopes with their two effects; some of them are the same, spelt another way.
pub(super) const SLOTS: usize = 2 * APPS.len() * (1 + UIDS.len() + SIDS.len() + JTIS.len());

/// How the uids of an app compare.
pub(super) fn uid_case(app: &str) -> UidCase {
    if app == "exact" { UidCase::Exact } else { UidCase::Folded }
}

fn user(app: &str, uid: &str) -> Scope {
    let uid = normalized_uid(uid_case(app), uid).expect("a uid");
    Scope::User { app: app.into(), uid }
}

/// Every scope, as the control plane would name it to the store.
static SCOPES: LazyLock<Vec<Scope>> = LazyLock::new(|| {
    let mut scopes = Vec::new();
    for app in APPS {
        scopes.push(Scope::App { app: app.into() });
        scopes.extend(UIDS.map(|uid| user(app, uid)));
        scopes.extend(SIDS.map(|sid| Scope::Session { app: app.into(), sid: sid.into() }));
        scopes.extend(JTIS.map(|jti| Scope::Token { app: app.into(), jti: jti.into() }));
    }
    scopes
});

/// The effect with this number, with `before` as its time when it has one.
pub(super) fn slot(number: usize, before: u64) -> (Scope, Effect) {
    let scope = SCOPES[number / 2].clone();
    (scope, if number.is_multiple_of(2) { Effect::Deactivated } else { Effect::IssuedBefore { before } })
}

/// The least number of the same scope and effect: some uids are two spellings of one.
pub(super) fn canonical(number: usize) -> usize {
    let first = SCOPES.iter().position(|scope| *scope == SCOPES[number / 2]).expect("it is among them");
    2 * first + number % 2
}

/// What is restricted, as the database says.
#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) seq: u64,
    held: HashMap<Scope, (bool, Option<u64>)>,
    counts: [usize; ScopeKind::ALL.len()],
}

impl Truth {
    pub(super) fn new(seq: u64, entries: Vec<(Scope, Effect)>) -> Truth {
        let mut truth = Truth { seq, ..Truth::default() };
        for (scope, effect) in entries {
            truth.counts[scope.kind() as usize] += 1;
            let held = truth.held.entry(scope).or_default();
            match effect {
                Effect::Deactivated => held.0 = true,
                Effect::IssuedBefore { before } => held.1 = Some(before),
                setting => panic!("the schedule has no {setting:?}"),
            }
        }
        truth
    }

    fn on(&self, scope: &Scope, issued_at: Option<u64>) -> Option<Effect> {
        let (deactivated, before) = self.held.get(scope).copied()?;
        if deactivated {
            return Some(Effect::Deactivated);
        }
        let before = before.filter(|before| issued_at.is_none_or(|at| at < *before))?;
        Some(Effect::IssuedBefore { before })
    }

    /// The first thing that `set` says otherwise.
    pub(super) fn differs(&self, set: &RestrictionSet) -> Option<String> {
        if set.applied() != self.seq {
            return Some(format!("it is at {} and the database at {}", set.applied(), self.seq));
        }
        for kind in ScopeKind::ALL {
            let (count, expected) = (set.count(kind), self.counts[kind as usize]);
            if count != expected {
                return Some(format!("it has {count} of the kind {} and the database {expected}", kind.label()));
            }
        }
        for issued_at in issue_times() {
            for scope in &*SCOPES {
                let (found, expected) = (check(set, scope, issued_at), restricted(scope, self.on(scope, issued_at)));
                if found != expected {
                    return Some(format!("{scope:?} issued at {issued_at:?}: {found:?}, should be {expected:?}"));
                }
            }
            for (app, uid) in APPS.iter().flat_map(|app| UIDS.map(|uid| (*app, uid))) {
                let of = [Scope::App { app: app.into() }, user(app, uid)];
                let of = of.into_iter().chain([
                    Scope::Session { app: app.into(), sid: SIDS[0].into() },
                    Scope::Token { app: app.into(), jti: JTIS[0].into() },
                ]);
                let expected = of.map(|scope| restricted(&scope, self.on(&scope, issued_at))).find(Result::is_err);
                let uid = normalized_uid(uid_case(app), uid).expect("a uid");
                let found = set.check(&set.subject(app, &uid, Some(SIDS[0]), Some(JTIS[0]), issued_at));
                if found != expected.unwrap_or(Ok(())) {
                    return Some(format!("{uid} of {app}: {found:?}, should be {expected:?}"));
                }
            }
        }
        None
    }
}

fn issue_times() -> Vec<Option<u64>> {
    let around = |time: u64| [time - 1, time, time + 1];
    let mut times: Vec<_> = TIMES.into_iter().flat_map(around).chain([u64::MAX]).map(Some).collect();
    times.push(None);
    times
}

fn restricted(scope: &Scope, effect: Option<Effect>) -> Result<(), Restricted> {
    match effect {
        None => Ok(()),
        Some(Effect::IssuedBefore { .. }) => Err(Restricted::IssuedBefore),
        Some(_) => Err(match scope.kind() {
            ScopeKind::App => Restricted::App,
            ScopeKind::User => Restricted::User,
            ScopeKind::Session => Restricted::Session,
            ScopeKind::Token => Restricted::Token,
            kind => panic!("the schedule has no {kind:?}"),
        }),
    }
}

/// What `set` says of `scope` alone, whatever stands against others.
pub(super) fn check(set: &RestrictionSet, scope: &Scope, issued_at: Option<u64>) -> Result<(), Restricted> {
    let nobody = set.subject("nobody", "nobody", None, None, issued_at);
    let Subject::Holder(nobody) = nobody else { panic!("the subject of a token") };
    let id = set.id(scope);
    set.check(&Subject::Holder(match scope.kind() {
        ScopeKind::App => Holder { app: id, ..nobody },
        ScopeKind::User => Holder { user: id, ..nobody },
        ScopeKind::Session => Holder { session: Some(id), ..nobody },
        ScopeKind::Token => Holder { token: Some(id), ..nobody },
        kind => panic!("the schedule has no {kind:?}"),
    }))
}
