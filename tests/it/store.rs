//! The store on both databases: what is acknowledged is there, numbered without a gap, whatever dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mediagate::restrictions::{Change, Effect, Scope};
use mediagate::store::{Action, Changes, Location, Store, StoreError, Wanted};
use sqlx::Connection;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tempfile::TempDir;

use crate::support::postgres_server::PostgresServer;

const DEACTIVATED: Effect = Effect::Deactivated;

fn user(uid: impl Into<String>) -> Scope {
    Scope::User { app: "acme".into(), uid: uid.into() }
}

fn impose(uid: impl Into<String>) -> Wanted {
    Wanted::impose(user(uid), DEACTIVATED)
}

async fn seqs(store: &Store, wanted: Vec<Wanted>) -> Vec<Option<u64>> {
    let changes = store.apply(wanted).await.expect("a change");
    changes.into_iter().map(|change| change.map(|change| change.seq)).collect()
}

/// Runs `case` over an empty store of each kind.
async fn on_both<F: Future<Output = ()>>(case: impl Fn(Location) -> F) {
    let dir = TempDir::new().expect("a folder");
    case(Location::Sqlite(dir.path().join("mediagate.db"))).await;
    let server = PostgresServer::start();
    case(server.location()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_databases_number_keep_and_tell_alike() {
    on_both(async |location| {
        let store = Store::open(&location).await.expect("a store");
        assert_eq!(store.state().await.expect("a state"), (0, vec![]));
        let flush = |before| Effect::IssuedBefore { before };
        let wanted = vec![
            impose("bob"),
            impose("bob"),
            Wanted::impose(user("bob"), flush(5)),
            Wanted::impose(user("bob"), flush(6)),
            impose("carol"),
            Wanted::lift(user("carol"), DEACTIVATED),
            Wanted::lift(user("carol"), flush(1)),
        ];
        assert_eq!(seqs(&store, wanted).await, [Some(1), None, Some(2), Some(3), Some(4), Some(5), None]);
        let odd = "it's \"odd\"; DROP TABLE restrictions;--\u{e9}\u{1f600}%_\\";
        let scopes = [
            Scope::App { app: "acme".into() },
            Scope::Session { app: "acme".into(), sid: odd.into() },
            Scope::Token { app: "acme".into(), jti: "t".into() },
            Scope::User { app: "other".into(), uid: "bob".into() },
            user("Bob"),
        ];
        seqs(&store, scopes.iter().map(|scope| Wanted::impose(scope.clone(), DEACTIVATED)).collect()).await;
        let mut expected: Vec<_> = scopes.into_iter().map(|scope| (scope, DEACTIVATED)).collect();
        expected.extend([(user("bob"), DEACTIVATED), (user("bob"), flush(6))]);
        let (seq, entries) = store.state().await.expect("a state");
        assert_eq!((seq, entries.len()), (10, expected.len()));
        assert!(expected.iter().all(|entry| entries.contains(entry)), "{entries:?}");

        let Changes::Kept(changes) = store.changes_after(0, 100).await.expect("changes") else { panic!("gone") };
        assert_eq!(changes.iter().map(|change| change.seq).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
        let lifted = Change { seq: 5, scope: user("carol"), effect: DEACTIVATED, in_force: false };
        assert_eq!(changes[4], lifted);
        assert_eq!(store.changes_after(4, 1).await.expect("changes"), Changes::Kept(vec![lifted]));
        assert_eq!(store.changes_after(10, 1).await.expect("changes"), Changes::Kept(vec![]));
        assert_eq!(store.changes_after(11, 1).await.expect("changes"), Changes::Gone);

        let source = store.source().await.expect("a name");
        drop(store);
        let store = Store::open(&location).await.expect("the same store");
        assert_eq!((store.seq().await.expect("a number"), store.source().await.expect("a name")), (10, source.clone()));
        store.rename_source().await.expect("another name");
        assert_ne!(store.source().await.expect("a name"), source);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_one_statement_takes_is_one_change_or_none() {
    on_both(async |location| {
        let store = Store::open(&location).await.expect("a store");
        let many = 2500;
        let taken = seqs(&store, (0..many).map(|n| impose(format!("u{n}"))).collect()).await;
        assert_eq!(taken, (1..=many).map(Some).collect::<Vec<_>>());
        let lifted = (0..many).step_by(2).map(|n| Wanted::lift(user(format!("u{n}")), DEACTIVATED));
        seqs(&store, lifted.collect()).await;
        let (seq, entries) = store.state().await.expect("a state");
        assert_eq!((seq, entries.len() as u64), (many + many / 2, many / 2));
        let mut snapshot = store.snapshot().await.expect("a state");
        assert_eq!((snapshot.seq, snapshot.expected as u64), (seq, many / 2));
        let mut parts = 0;
        while let Some(part) = snapshot.next().await.expect("a part") {
            parts += part.len() as u64;
        }
        assert_eq!(parts, many / 2);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_processes_take_numbers_from_one_counter() {
    on_both(async |location| {
        let mut stores = Vec::new();
        for _ in 0..3 {
            stores.push(Store::open(&location).await.expect("a store"));
        }
        let mut heard = stores[0].changed();
        heard.mark_unchanged();
        let calls = (0..30).map(|call: usize| {
            let store = stores[call % 3].clone();
            tokio::spawn(
                async move { seqs(&store, (0..10).map(|n| impose(format!("u{}", call * 7 + n))).collect()).await },
            )
        });
        let mut taken = Vec::new();
        for call in calls.collect::<Vec<_>>() {
            taken.extend(call.await.expect("no panic").into_iter().flatten());
        }
        taken.sort_unstable();
        assert_eq!(taken, (1..=taken.len() as u64).collect::<Vec<_>>(), "no gap, none twice");
        for store in &stores {
            let Changes::Kept(changes) = store.changes_after(0, 1000).await.expect("changes") else { panic!("gone") };
            assert_eq!(changes.len(), taken.len());
        }
        if matches!(location, Location::Postgres { .. }) {
            heard.borrow_and_update();
            seqs(&stores[1], vec![impose("told")]).await;
            tokio::time::timeout(Duration::from_secs(60), heard.changed()).await.expect("in time").expect("told");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_has_the_lease_until_it_ends_or_is_given_back() {
    on_both(async |location| {
        let store = Store::open(&location).await.expect("a store");
        let other = Store::open(&location).await.expect("a store");
        let long = Duration::from_secs(600);
        let take = async |store: &Store, holder, ttl| store.lease("relay", holder, ttl).await.expect("an answer");
        assert!(take(&store, "a", long).await);
        assert!(!take(&other, "b", long).await);
        assert!(take(&store, "a", Duration::ZERO).await, "renewed, and over at once");
        let mut asked = 0;
        while !take(&other, "b", long).await {
            asked += 1;
            assert!(asked < 10_000, "it never ends");
        }
        assert!(!take(&store, "a", long).await);
        other.release("relay", "a").await.expect("not its own");
        assert!(!take(&store, "a", long).await);
        other.release("relay", "b").await.expect("given back");
        assert!(take(&store, "a", long).await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_expired_is_lifted_and_what_was_imposed_anew_is_not() {
    on_both(async |location| {
        let store = Store::open(&location).await.expect("a store");
        let session = |sid: &str| Scope::Session { app: "acme".into(), sid: sid.into() };
        let until = |sid: &str, at| Wanted {
            scope: session(sid),
            effect: DEACTIVATED,
            action: Action::Impose { expires_at: Some(at) },
        };
        seqs(&store, vec![until("a", 100), until("b", 200), until("c", 100), impose("bob")]).await;
        let expired = store.expired(100, 10).await.expect("a list");
        assert_eq!(expired.len(), 2);
        assert_eq!(seqs(&store, vec![until("c", 300)]).await, [None], "the same, for longer");
        assert_eq!(seqs(&store, expired).await.into_iter().flatten().collect::<Vec<_>>(), [5]);
        assert!(store.expired(100, 10).await.expect("a list").is_empty());
        assert_eq!(store.expired(u64::MAX, 10).await.expect("a list").len(), 2);
        assert_eq!(store.expired(u64::MAX, 1).await.expect("a list").len(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_of_postgresql_loses_nothing_that_was_acknowledged() {
    let mut server = PostgresServer::start();
    let store = Store::open(server.location()).await.expect("a store");
    for round in 0..2 {
        let crashed = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (store, crashed) = (store.clone(), Arc::clone(&crashed));
                tokio::spawn(async move {
                    let mut acknowledged = Vec::new();
                    for n in 0.. {
                        if crashed.load(Ordering::SeqCst) {
                            break;
                        }
                        let uid = format!("u{round}-{writer}-{n}");
                        match store.apply(vec![impose(&uid)]).await {
                            Ok(_) => acknowledged.push(uid),
                            Err(_) => break,
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        let newest = store.seq().await.expect("a number");
        while store.seq().await.is_ok_and(|seq| seq < newest + 50) {
            tokio::task::yield_now().await;
        }
        tokio::task::block_in_place(|| server.crash());
        crashed.store(true, Ordering::SeqCst);
        let mut acknowledged = Vec::new();
        for writer in writers {
            acknowledged.extend(writer.await.expect("no panic"));
        }
        assert!(acknowledged.len() >= 50);
        let mut asked = 0;
        let (seq, entries) = loop {
            match store.state().await {
                Ok(state) => break state,
                Err(error) => assert!(
                    {
                        asked += 1;
                        asked
                    } < 1000,
                    "{error}"
                ),
            }
        };
        for uid in acknowledged {
            assert!(entries.contains(&(user(&uid), DEACTIVATED)), "{uid} is lost");
        }
        assert_eq!(seq, entries.len() as u64, "no gap");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_stands_still_under_a_commit_is_given_up_and_found_again() {
    let server = PostgresServer::start();
    let store = Store::open(server.location()).await.expect("a store");
    seqs(&store, vec![impose("alice")]).await;

    // A commit of ours waits for this one's lock when everything stops.
    let password = std::fs::read_to_string(server.password_file()).expect("a password");
    let options: PgConnectOptions = server.url().parse().expect("a URL");
    let mut other = PgConnection::connect_with(&options.password(&password)).await.expect("a connection");
    sqlx::raw_sql("BEGIN; SELECT seq FROM counter FOR UPDATE").execute(&mut other).await.expect("a lock");
    let committing = tokio::spawn({
        let store = store.clone();
        async move { store.apply(vec![impose("bob")]).await }
    });
    let waits = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut other).await.expect("a number") == 0 {
        assert!(!committing.is_finished(), "it waits for the lock");
    }
    server.signal("STOP");
    let committed = tokio::time::timeout(Duration::from_secs(60), committing).await.expect("it is given up");
    let error = committed.expect("no panic").expect_err("nobody answers");
    assert!(error.to_string().contains("whether it has committed is not known"), "{error}");
    // And the writer goes on to the next call.
    let next = tokio::time::timeout(Duration::from_secs(60), store.apply(vec![impose("carol")])).await;
    next.expect("it is given up").expect_err("nobody answers");

    server.signal("CONT");
    drop(other);
    let wanted = || vec![impose("bob"), impose("carol")];
    let mut asked = 0;
    while let Err(error) = store.apply(wanted()).await {
        asked += 1;
        assert!(asked < 1000, "{error}");
    }
    let (seq, entries) = store.state().await.expect("a state");
    assert_eq!((seq, entries.len()), (3, 3), "each once, whatever became of the first attempts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_said_plainly_and_not_shown() {
    let server = PostgresServer::start();
    let wrong = Location::Postgres {
        url: server.url(),
        password: Some(mediagate::secret::Secret::new("not-the-password-9d2e")),
    };
    let error = Store::open(wrong).await.expect_err("it is wrong");
    assert!(matches!(error, StoreError::Refused { .. }), "{error}");
    let text = format!("{error} {error:?}");
    assert!(text.contains("refuses") && !text.contains("9d2e"), "{text}");
}
