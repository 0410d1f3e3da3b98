//! The rules one by one, then any history in any order against a model too simple to be wrong.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

mod settings;

fn set() -> (RestrictionSet, Instant) {
    let epoch = Instant::now();
    (RestrictionSet::new([7, 11], epoch), epoch)
}

/// A set that has loaded an empty state.
fn fresh() -> RestrictionSet {
    let (set, epoch) = set();
    assert_eq!(set.apply(Event::Snapshot { seq: 0, entries: vec![] }, epoch), Applied::Yes);
    set
}

fn user(uid: &str) -> Scope {
    Scope::User { app: "acme".into(), uid: uid.into() }
}

fn ends(seq: u64) -> Event {
    Event::SnapshotEnds { source: "s".into(), seq }
}

fn apply(set: &RestrictionSet, seq: u64, scope: Scope, effect: Effect, in_force: bool) -> Applied {
    set.apply(Event::Change(Change { seq, scope, effect, in_force }), Instant::now())
}

fn check(set: &RestrictionSet, uid: &str, issued_at: Option<u64>, expected: Result<(), Restricted>) {
    let subject = set.subject("acme", uid, Some("s1"), Some("t1"), issued_at);
    assert_eq!(set.check(&subject), expected, "{uid} at {issued_at:?}");
}

const DEACTIVATED: Effect = Effect::Deactivated;
const FLUSHED: Effect = Effect::IssuedBefore { before: 100 };

#[test]
fn a_deactivated_user_is_restricted_until_activated_and_nobody_else_is() {
    let set = fresh();
    check(&set, "bob", None, Ok(()));
    assert_eq!(apply(&set, 1, user("bob"), DEACTIVATED, true), Applied::Yes);
    check(&set, "bob", Some(u64::MAX), Err(Restricted::User));
    check(&set, "bobb", None, Ok(()));
    check(&set, "Bob", None, Ok(()));
    assert_eq!(set.check(&set.subject("other", "bob", None, None, None)), Ok(()));
    assert_eq!(set.check(&set.subject("acmeb", "ob", None, None, None)), Ok(()));
    assert_eq!(apply(&set, 2, user("bob"), DEACTIVATED, false), Applied::Yes);
    check(&set, "bob", None, Ok(()));
    assert!(set.is_empty());
}

#[test]
fn each_scope_restricts_what_it_names_and_the_widest_is_told() {
    let app = || Scope::App { app: "acme".into() };
    let session = || Scope::Session { app: "acme".into(), sid: "s1".into() };
    let token = || Scope::Token { app: "acme".into(), jti: "t1".into() };
    let set = fresh();
    let steps = [
        (token(), Restricted::Token),
        (session(), Restricted::Session),
        (user("bob"), Restricted::User),
        (app(), Restricted::App),
    ];
    for (seq, (scope, restricted)) in (1..).zip(steps) {
        apply(&set, seq, scope, DEACTIVATED, true);
        check(&set, "bob", None, Err(restricted));
    }
    assert_eq!(set.check(&set.subject("acme", "carol", None, None, None)), Err(Restricted::App));
    apply(&set, 5, app(), DEACTIVATED, false);
    assert_eq!(set.check(&set.subject("acme", "carol", None, None, None)), Ok(()));
    assert_eq!(set.check(&set.subject("acme", "carol", Some("s1"), None, None)), Err(Restricted::Session));
    assert_eq!(set.check(&set.subject("acme", "s1", Some("t1"), Some("bob"), None)), Ok(()));
}

#[test]
fn what_was_issued_before_a_flush_is_dead_and_what_does_not_say_is_too() {
    let set = fresh();
    apply(&set, 1, user("bob"), FLUSHED, true);
    check(&set, "bob", Some(99), Err(Restricted::IssuedBefore));
    check(&set, "bob", Some(100), Ok(()));
    check(&set, "bob", None, Err(Restricted::IssuedBefore));
    apply(&set, 2, user("bob"), Effect::IssuedBefore { before: 200 }, true);
    check(&set, "bob", Some(100), Err(Restricted::IssuedBefore));
    assert_eq!(set.count(ScopeKind::User), 1);
}

#[test]
fn a_deactivation_and_a_flush_are_independent() {
    let set = fresh();
    apply(&set, 1, user("bob"), FLUSHED, true);
    apply(&set, 2, user("bob"), DEACTIVATED, true);
    assert_eq!(set.count(ScopeKind::User), 2);
    check(&set, "bob", Some(150), Err(Restricted::User));
    apply(&set, 3, user("bob"), DEACTIVATED, false);
    check(&set, "bob", Some(150), Ok(()));
    check(&set, "bob", Some(99), Err(Restricted::IssuedBefore));
    // Neither holds the other back when the order is lost: these two are of different effects.
    assert_eq!(apply(&set, 9, user("bob"), DEACTIVATED, true), Applied::Yes);
    assert_eq!(apply(&set, 8, user("bob"), FLUSHED, false), Applied::Yes);
    check(&set, "bob", Some(99), Err(Restricted::User));
    assert_eq!(set.count(ScopeKind::User), 1);
}

#[test]
fn what_is_older_than_what_is_held_changes_nothing() {
    let set = fresh();
    assert_eq!(apply(&set, 5, user("bob"), DEACTIVATED, true), Applied::Yes);
    let generation = set.generation();
    for seq in [0, 3, 5] {
        assert_eq!(apply(&set, seq, user("bob"), DEACTIVATED, false), Applied::Stale);
    }
    assert_eq!(set.generation(), generation);
    check(&set, "bob", None, Err(Restricted::User));
    // Another user's change of that time is news.
    assert_eq!(apply(&set, 3, user("carol"), DEACTIVATED, true), Applied::Yes);
    // Once the feed says that all is delivered, older is stale for everybody.
    set.apply(Event::Heartbeat { seq: 5 }, Instant::now());
    assert_eq!(apply(&set, 4, user("dave"), DEACTIVATED, true), Applied::Stale);
    assert_eq!(apply(&set, 6, user("bob"), DEACTIVATED, false), Applied::Yes);
    check(&set, "bob", None, Ok(()));
}

#[test]
fn applied_tells_up_to_where_nothing_is_missing() {
    let set = fresh();
    apply(&set, 1, user("bob"), DEACTIVATED, true);
    assert_eq!(set.applied(), 1);
    apply(&set, 3, user("carol"), DEACTIVATED, true);
    assert_eq!(set.applied(), 1, "2 has not come");
    check(&set, "carol", None, Err(Restricted::User));
    assert_eq!(apply(&set, 2, user("carol"), DEACTIVATED, false), Applied::Stale);
    assert_eq!(set.applied(), 2, "2 is superseded, which is as good as applied");
    assert_eq!(apply(&set, 3, user("carol"), DEACTIVATED, true), Applied::Stale);
    assert_eq!(set.applied(), 3);
    apply(&set, 7, user("dave"), DEACTIVATED, true);
    set.apply(Event::Heartbeat { seq: 7 }, Instant::now());
    assert_eq!(set.applied(), 7);
    // The source says that it never got as far: only a whole state can tell what holds.
    assert_eq!(set.apply(Event::Heartbeat { seq: 4 }, Instant::now()), Applied::NeedsSnapshot);
    assert_eq!(set.applied(), 7, "an old heartbeat takes nothing back");
}

#[test]
fn a_seq_that_no_source_can_have_come_to_changes_nothing() {
    let (set, epoch) = set();
    let later = epoch + Duration::from_secs(1);
    set.apply(Event::Snapshot { seq: 10, entries: vec![] }, epoch);
    for seq in [10 + MAX_AHEAD + 1, u64::MAX] {
        assert_eq!(apply(&set, seq, user("bob"), DEACTIVATED, true), Applied::Absurd);
        assert_eq!(set.apply(Event::Heartbeat { seq }, later), Applied::Absurd);
    }
    check(&set, "bob", None, Ok(()));
    assert_eq!(set.age(later), Some(Duration::from_secs(1)), "nor was anything heard");
    assert_eq!(apply(&set, 11, user("bob"), DEACTIVATED, true), Applied::Yes);
    assert_eq!(set.applied(), 11);
    // One that is merely wrong holds up its own scope, until the source says how far it really is.
    assert_eq!(apply(&set, 5000, user("carol"), DEACTIVATED, true), Applied::Yes);
    assert_eq!(apply(&set, 12, user("dave"), DEACTIVATED, true), Applied::Yes);
    assert_eq!(set.applied(), 12);
}

#[test]
fn a_state_in_parts_is_in_force_when_it_is_complete_and_not_before() {
    let set = fresh();
    let entry = |uid: &str, in_force| Entry { scope: user(uid), effect: DEACTIVATED, in_force };
    apply(&set, 1, user("bob"), DEACTIVATED, true);
    let generation = set.generation();
    assert_eq!(set.apply(Event::SnapshotPart(vec![]), Instant::now()), Applied::NeedsSnapshot);
    assert_eq!(set.apply(ends(9), Instant::now()), Applied::NeedsSnapshot);
    set.apply(Event::SnapshotBegins { expected: usize::MAX }, Instant::now());
    set.apply(Event::SnapshotPart(vec![entry("carol", true), entry("dave", true)]), Instant::now());
    check(&set, "bob", None, Err(Restricted::User));
    check(&set, "carol", None, Ok(()));
    assert_eq!(set.generation(), generation);
    // One that began and never ended leaves nothing behind.
    set.apply(Event::SnapshotBegins { expected: 0 }, Instant::now());
    set.apply(Event::SnapshotPart(vec![entry("erin", true), entry("frank", true)]), Instant::now());
    set.apply(Event::SnapshotPart(vec![entry("erin", false)]), Instant::now());
    assert_eq!(set.apply(ends(5), Instant::now()), Applied::Yes);
    for (uid, expected) in
        [("bob", Ok(())), ("carol", Ok(())), ("dave", Ok(())), ("erin", Ok(())), ("frank", Err(Restricted::User))]
    {
        check(&set, uid, None, expected);
    }
    assert_eq!((set.position(), set.len()), (("s".to_owned(), 5), 1));
    assert_eq!(apply(&set, 5, user("frank"), DEACTIVATED, false), Applied::Stale);
}

#[test]
fn half_a_state_is_not_heard() {
    let (set, epoch) = set();
    set.apply(Event::SnapshotBegins { expected: 1 }, epoch);
    set.apply(Event::SnapshotPart(vec![]), epoch);
    assert_eq!(set.age(epoch), None);
    set.apply(ends(0), epoch);
    assert_eq!(set.age(epoch), Some(Duration::ZERO));
    // Nor is a state that is loaded again, or a change that was held: the broker may be all that is left.
    let later = epoch + Duration::from_secs(9);
    set.apply(Event::SnapshotBegins { expected: 0 }, later);
    set.apply(ends(3), later);
    let old = Change { seq: 3, scope: user("bob"), effect: DEACTIVATED, in_force: true };
    assert_eq!(set.apply(Event::Change(old), later), Applied::Stale);
    assert_eq!(set.age(later), Some(Duration::from_secs(9)));
    set.apply(Event::Heartbeat { seq: 3 }, later);
    assert_eq!(set.age(later), Some(Duration::ZERO));
}

#[test]
fn nothing_is_believed_before_the_first_state() {
    let (set, epoch) = set();
    assert_eq!(apply(&set, 1, user("bob"), DEACTIVATED, true), Applied::NeedsSnapshot);
    assert_eq!(set.apply(Event::Heartbeat { seq: 1 }, epoch), Applied::NeedsSnapshot);
    assert_eq!(set.age(epoch), None);
    assert!(set.is_empty());
}

#[test]
fn a_snapshot_replaces_everything() {
    let set = fresh();
    apply(&set, 1, user("bob"), DEACTIVATED, true);
    apply(&set, 9, user("carol"), DEACTIVATED, true);
    let generation = set.generation();
    let entries = vec![(user("dave"), DEACTIVATED), (user("dave"), FLUSHED), (user("dave"), DEACTIVATED)];
    assert_eq!(set.apply(Event::Snapshot { seq: 4, entries }, Instant::now()), Applied::Yes);
    assert_ne!(set.generation(), generation);
    assert_eq!((set.applied(), set.len(), set.count(ScopeKind::User)), (4, 2, 2));
    check(&set, "bob", None, Ok(()));
    check(&set, "carol", None, Ok(()));
    check(&set, "dave", Some(500), Err(Restricted::User));
    assert_eq!(apply(&set, 4, user("dave"), DEACTIVATED, false), Applied::Stale);
    // What was held above the snapshot is forgotten with it.
    assert_eq!(apply(&set, 5, user("carol"), DEACTIVATED, true), Applied::Yes);
    check(&set, "carol", None, Err(Restricted::User));
}

#[test]
fn a_change_that_says_what_is_so_already_counts_nothing_twice() {
    let set = fresh();
    for seq in 1..=3 {
        assert_eq!(apply(&set, seq, user("bob"), DEACTIVATED, true), Applied::Yes);
    }
    assert_eq!(set.len(), 1);
    for seq in 4..=6 {
        apply(&set, seq, user("bob"), DEACTIVATED, false);
        apply(&set, seq, user("bob"), FLUSHED, false);
    }
    assert_eq!(set.len(), 0);
    apply(&set, 7, Scope::App { app: "acme".into() }, FLUSHED, true);
    let counts = ScopeKind::ALL.map(|kind| set.count(kind));
    assert_eq!(counts, [1, 0, 0, 0, 0, 0]);
}

#[test]
fn the_age_is_that_of_the_last_thing_heard() {
    let (set, epoch) = set();
    let at = |secs| epoch + Duration::from_secs(secs);
    set.apply(Event::Snapshot { seq: 0, entries: vec![] }, at(10));
    assert_eq!(set.age(at(10)), Some(Duration::ZERO));
    assert_eq!(set.age(at(40)), Some(Duration::from_secs(30)));
    set.apply(Event::Heartbeat { seq: 0 }, at(41));
    assert_eq!(set.age(at(42)), Some(Duration::from_secs(1)));
    // A clock that was read earlier and came in later makes nothing older or younger.
    set.apply(Event::Heartbeat { seq: 0 }, at(20));
    assert_eq!(set.age(at(42)), Some(Duration::from_secs(1)));
    assert_eq!(set.age(at(5)), Some(Duration::ZERO));
}

/// What the set must agree with: the last word on each scope and effect.
#[derive(Debug, Clone, Default)]
struct Model {
    deactivated: HashMap<Scope, ()>,
    issued_before: HashMap<Scope, u64>,
}

impl Model {
    fn apply(&mut self, change: &Change) {
        let scope = change.scope.clone();
        match (change.effect, change.in_force) {
            (Effect::Deactivated, true) => drop(self.deactivated.insert(scope, ())),
            (Effect::Deactivated, false) => drop(self.deactivated.remove(&scope)),
            (Effect::IssuedBefore { before }, true) => drop(self.issued_before.insert(scope, before)),
            (Effect::IssuedBefore { .. }, false) => drop(self.issued_before.remove(&scope)),
            (setting, _) => unreachable!("{setting:?} restricts nothing"),
        }
    }

    fn after(changes: &[Change]) -> Model {
        let mut model = Model::default();
        changes.iter().for_each(|change| model.apply(change));
        model
    }

    fn entries(&self) -> Vec<(Scope, Effect)> {
        let deactivated = self.deactivated.keys().map(|scope| (scope.clone(), Effect::Deactivated));
        let flushed =
            self.issued_before.iter().map(|(scope, before)| (scope.clone(), Effect::IssuedBefore { before: *before }));
        deactivated.chain(flushed).collect()
    }

    fn is_restricted(&self, scopes: &[Scope; 4], issued_at: Option<u64>) -> bool {
        scopes.iter().any(|scope| {
            let flushed = self.issued_before.get(scope);
            self.deactivated.contains_key(scope)
                || flushed.is_some_and(|before| issued_at.is_none_or(|issued_at| issued_at < *before))
        })
    }

    fn agrees_with(&self, set: &RestrictionSet) -> Result<(), TestCaseError> {
        for at in 0..3 * 3 * 3 * 3 {
            let name = |place: u32| format!("n{}", at / 3_u32.pow(place) % 3);
            let (app, uid, sid, jti) = (name(0), name(1), name(2), name(3));
            let scopes = [
                Scope::App { app: app.clone() },
                Scope::User { app: app.clone(), uid: uid.clone() },
                Scope::Session { app: app.clone(), sid: sid.clone() },
                Scope::Token { app: app.clone(), jti: jti.clone() },
            ];
            for issued_at in [None, Some(0), Some(1), Some(2), Some(3)] {
                let subject = set.subject(&app, &uid, Some(&sid), Some(&jti), issued_at);
                prop_assert_eq!(set.check(&subject).is_err(), self.is_restricted(&scopes, issued_at), "{:?}", scopes);
            }
        }
        prop_assert_eq!(set.len(), self.deactivated.len() + self.issued_before.len());
        Ok(())
    }
}

fn scope() -> impl Strategy<Value = Scope> {
    let name = || (0..3_u8).prop_map(|number| format!("n{number}"));
    (0..4, name(), name()).prop_map(|(kind, app, name)| match kind {
        0 => Scope::App { app },
        1 => Scope::User { app, uid: name },
        2 => Scope::Session { app, sid: name },
        _ => Scope::Token { app, jti: name },
    })
}

fn history() -> impl Strategy<Value = Vec<Change>> {
    let effect = prop_oneof![Just(Effect::Deactivated), (0..4_u64).prop_map(|before| Effect::IssuedBefore { before })];
    prop::collection::vec((scope(), effect, any::<bool>()), 1..40).prop_map(|changes| {
        let numbered = (1..).zip(changes);
        numbered.map(|(seq, (scope, effect, in_force))| Change { seq, scope, effect, in_force }).collect()
    })
}

/// A history, the length that the first snapshot has of it, and an order of delivery with duplicates.
fn schedule() -> impl Strategy<Value = (Vec<Change>, usize, Vec<usize>)> {
    history().prop_flat_map(|history| {
        let len = history.len();
        let again = prop::collection::vec(0..len, 0..len);
        let order = again.prop_flat_map(move |again| Just([(0..len).collect(), again].concat()).prop_shuffle());
        (Just(history), 0..=len, order)
    })
}

proptest! {
    #[test]
    fn any_order_ends_in_the_state_that_the_history_has((history, start, order) in schedule(), reload in any::<bool>()) {
        let (set, now) = set();
        let newest = history.len() as u64;
        set.apply(Event::Snapshot { seq: start as u64, entries: Model::after(&history[..start]).entries() }, now);
        let mut delivered: Vec<bool> = (0..history.len()).map(|at| at < start).collect();
        for at in order {
            let generation = set.generation();
            let was_new = set.apply(Event::Change(history[at].clone()), now) == Applied::Yes;
            prop_assert_eq!(was_new, set.generation() != generation);
            delivered[at] = true;
            let complete = delivered.iter().take_while(|delivered| **delivered).count() as u64;
            prop_assert!(set.applied() <= complete, "{} of {}", set.applied(), complete);
        }
        // The feed's last word: that all has been delivered, or all once more.
        let last = if reload {
            Event::Snapshot { seq: newest, entries: Model::after(&history).entries() }
        } else {
            Event::Heartbeat { seq: newest }
        };
        prop_assert_eq!(set.apply(last, now), Applied::Yes);
        Model::after(&history).agrees_with(&set)?;
        prop_assert_eq!(set.applied(), newest);
        for change in history {
            prop_assert_eq!(set.apply(Event::Change(change), now), Applied::Stale);
        }
    }

    #[test]
    fn in_order_every_step_is_the_state_of_that_moment(history in history(), beats in prop::collection::vec(any::<bool>(), 40)) {
        let set = fresh();
        let mut model = Model::default();
        for (change, beat) in history.into_iter().zip(beats) {
            model.apply(&change);
            let seq = change.seq;
            prop_assert_eq!(set.apply(Event::Change(change), Instant::now()), Applied::Yes);
            if beat {
                prop_assert_eq!(set.apply(Event::Heartbeat { seq }, Instant::now()), Applied::Yes);
            }
            prop_assert_eq!(set.applied(), seq);
            model.agrees_with(&set)?;
        }
    }
}
