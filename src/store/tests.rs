//! Files that are opened, changed, dropped and opened again.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::*;

/// Runs `statement` on the file in `path`, as another program would.
pub(crate) async fn sql(path: &Path, statement: &'static str) {
    sqlx::raw_sql(statement).execute(&mut beside(path).await).await.unwrap();
}

const DEACTIVATED: Effect = Effect::Deactivated;

fn user(uid: impl Into<String>) -> Scope {
    Scope::User { app: "acme".into(), uid: uid.into() }
}

fn wish((scope, effect, in_force): (Scope, Effect, bool)) -> Wanted {
    if in_force { Wanted::impose(scope, effect) } else { Wanted::lift(scope, effect) }
}

fn file() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mediagate.db");
    (dir, path)
}

fn seqs(changes: &[Option<Change>]) -> Vec<Option<u64>> {
    changes.iter().map(|change| change.as_ref().map(|change| change.seq)).collect()
}

async fn apply(store: &Store, wanted: &[(Scope, Effect, bool)]) -> Vec<Option<u64>> {
    seqs(&store.apply(wanted.iter().cloned().map(wish).collect()).await.unwrap())
}

/// A connection beside the store's own.
async fn beside(path: &Path) -> SqliteConnection {
    SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path).create_if_missing(true)).await.unwrap()
}

#[tokio::test]
async fn only_what_alters_something_takes_a_seq() {
    let (_dir, path) = file();
    let store = Store::open(&path).await.unwrap();
    assert_eq!(store.state().await.unwrap(), (0, vec![]));
    let flush = |before| Effect::IssuedBefore { before };
    assert_eq!(apply(&store, &[(user("bob"), DEACTIVATED, false)]).await, [None]);
    let wanted = [
        (user("bob"), DEACTIVATED, true),
        (user("bob"), DEACTIVATED, true),
        (user("bob"), flush(5), true),
        (user("bob"), flush(5), true),
        (user("bob"), flush(6), true),
        (user("carol"), DEACTIVATED, true),
        (user("carol"), DEACTIVATED, false),
        (user("carol"), flush(1), false),
    ];
    assert_eq!(apply(&store, &wanted).await, [Some(1), None, Some(2), None, Some(3), Some(4), Some(5), None]);
    let (seq, mut entries) = store.state().await.unwrap();
    entries.sort_by_key(|(_, effect)| *effect == DEACTIVATED);
    assert_eq!((seq, entries), (5, vec![(user("bob"), flush(6)), (user("bob"), DEACTIVATED)]));
    assert_eq!(apply(&store, &[(user("bob"), flush(0), false)]).await, [Some(6)]);
    assert_eq!(store.seq().await.unwrap(), 6);
}

#[tokio::test]
async fn every_scope_and_time_comes_back_as_it_went_in() {
    let (_dir, path) = file();
    let store = Store::open(&path).await.unwrap();
    let app = || "acme".to_owned();
    let odd = "it's \"odd\"; DROP TABLE restrictions;--\u{e9}\0";
    let scopes = [
        Scope::App { app: app() },
        user(odd),
        Scope::Session { app: app(), sid: odd.into() },
        Scope::Token { app: odd.into(), jti: "t".into() },
    ];
    let effects = [DEACTIVATED, Effect::IssuedBefore { before: 0 }];
    let all: Vec<_> = scopes.iter().flat_map(|scope| effects.map(|effect| (scope.clone(), effect))).collect();
    let wanted = all.iter().map(|(scope, effect)| Wanted::impose(scope.clone(), *effect)).collect();
    let changes = store.apply(wanted).await.unwrap();
    assert!(changes.iter().all(Option::is_some));
    let (seq, entries) = store.state().await.unwrap();
    assert_eq!(seq, 8);
    assert!(entries.len() == 8 && all.iter().all(|entry| entries.contains(entry)), "{entries:?}");

    let far = vec![Wanted::impose(user("bob"), Effect::IssuedBefore { before: u64::MAX })];
    let stored = Effect::IssuedBefore { before: i64::MAX as u64 };
    assert_eq!(store.apply(far.clone()).await.unwrap()[0].as_ref().unwrap().effect, stored);
    assert_eq!(seqs(&store.apply(far).await.unwrap()), [None]);
    assert!(store.state().await.unwrap().1.contains(&(user("bob"), stored)));
}

#[tokio::test]
async fn state_and_seq_outlive_the_process() {
    let (_dir, path) = file();
    let store = Store::open(&path).await.unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    apply(&store, &[(user("bob"), DEACTIVATED, true), (user("carol"), DEACTIVATED, true)]).await;
    drop(store);
    let store = Store::open(&path).await.unwrap();
    assert_eq!(store.seq().await.unwrap(), 2);
    assert_eq!(
        apply(&store, &[(user("bob"), DEACTIVATED, true), (user("dave"), DEACTIVATED, true)]).await,
        [None, Some(3)]
    );
    assert_eq!(store.state().await.unwrap().1.len(), 3);
}

#[tokio::test]
async fn what_was_acknowledged_is_on_the_disk_without_a_goodbye() {
    let (dir, path) = file();
    let store = Store::open(&path).await.unwrap();
    for number in 0..20 {
        apply(&store, &[(user(format!("u{number}")), DEACTIVATED, true)]).await;
        // The files as a kill would leave them, while the store is still open and holds its log.
        let after = dir.path().join(format!("after-{number}"));
        std::fs::create_dir(&after).unwrap();
        for suffix in ["", "-wal"] {
            let name = format!("mediagate.db{suffix}");
            std::fs::copy(dir.path().join(&name), after.join(&name)).unwrap();
        }
        let survivor = Store::open(&after.join("mediagate.db")).await.unwrap();
        let (seq, entries) = survivor.state().await.unwrap();
        assert_eq!((seq, entries.len()), (number + 1, number as usize + 1));
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_half_way_leaves_all_or_nothing() {
    let (_dir, path) = file();
    let store = Store::open(&path).await.unwrap();
    for round in 0..30 {
        let wanted: Vec<_> =
            (0..10).map(|number| Wanted::impose(user(format!("r{round}-{number}")), DEACTIVATED)).collect();
        let mut call = Box::pin(store.apply(wanted));
        for _ in 0..round {
            let once = std::future::poll_fn(|context| std::task::Poll::Ready(call.as_mut().poll(context)));
            if once.await.is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(call);
        let next = apply(&store, &[(user(format!("next{round}")), DEACTIVATED, true)]).await[0].unwrap();
        let (seq, entries) = store.state().await.unwrap();
        assert_eq!((seq, entries.len() as u64), (next, next), "no gap, no half");
        assert_eq!((next - round - 1) % 10, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_calls_get_each_their_own_seqs_without_gaps() {
    let (_dir, path) = file();
    let store = Store::open(&path).await.unwrap();
    let calls = (0..20).map(|call| {
        let store = store.clone();
        let wanted =
            (0..20).map(move |number| Wanted::impose(user(format!("u{}", call * 10 + number)), DEACTIVATED)).collect();
        tokio::spawn(async move { store.apply(wanted).await.unwrap() })
    });
    let mut seqs = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        let taken: Vec<u64> = call.await.unwrap().iter().flatten().map(|change| change.seq).collect();
        assert!(taken.windows(2).all(|pair| pair[1] == pair[0] + 1), "one call is one stretch: {taken:?}");
        seqs.extend(taken);
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=210).collect::<Vec<u64>>());
    assert_eq!(store.state().await.unwrap().1.len(), 210);
}

#[track_caller]
fn check(opened: Result<Store, StoreError>, path: &Path, part: &str) {
    let message = opened.expect_err("it was opened").to_string();
    assert!(message.contains(part) && message.contains(&path.display().to_string()), "{message}");
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_by_name() {
    let (dir, path) = file();
    std::fs::write(&path, "this is not a database, and long enough to be read as one".repeat(40)).unwrap();
    check(Store::open(&path).await, &path, "damaged or is no mediagate store");
    assert!(std::fs::read(&path).unwrap().starts_with(b"this is not"), "it is left as it was");

    check(Store::open(dir.path()).await, dir.path(), "cannot open the store");
    let nowhere = dir.path().join("missing/mediagate.db");
    check(Store::open(&nowhere).await, &nowhere, "cannot open the store");

    let foreign = dir.path().join("foreign.db");
    sql(&foreign, "CREATE TABLE notes (text TEXT)").await;
    check(Store::open(&foreign).await, &foreign, "another program");
}

#[tokio::test]
async fn a_damaged_store_is_refused_by_name() {
    let (_dir, path) = file();
    let store = Store::open(&path).await.unwrap();
    let many = (0..2000).map(|number| Wanted::impose(user(format!("user-{number}")), DEACTIVATED)).collect();
    store.apply(many).await.unwrap();
    sql(&path, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    drop(store);
    let mut content = std::fs::read(&path).unwrap();
    let middle = content.len() / 2 / 4096 * 4096;
    content[middle..middle + 4096].fill(0xa5);
    std::fs::write(&path, &content).unwrap();
    check(Store::open(&path).await, &path, "damaged");
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused_and_left_alone() {
    let (_dir, path) = file();
    drop(Store::open(&path).await.unwrap());
    sql(&path, "UPDATE schema_version SET version = 99").await;
    check(Store::open(&path).await, &path, "schema 99, this version knows 3");
    let version: i64 =
        sqlx::query_scalar("SELECT version FROM schema_version").fetch_one(&mut beside(&path).await).await.unwrap();
    assert_eq!(version, 99);
}

#[tokio::test]
async fn a_restriction_of_an_unknown_kind_is_an_error_and_not_left_out() {
    let (_dir, path) = file();
    let store = Store::open(&path).await.unwrap();
    let row = "INSERT INTO restrictions VALUES ('acme', 'planet', 'mars', 'deactivated', 0, 1, 0)";
    sql(&path, row).await;
    let message = store.state().await.unwrap_err().to_string();
    assert!(message.contains("unknown scope \"planet\""), "{message}");
}
