//! The whole decision, through [`Gate::admit`], without a socket.

mod access;
mod credentials;
mod denials;
mod discretion;
mod key_sets;
pub(crate) mod keys;
mod players;
mod prepend;
mod presigned;
mod properties;
mod purity;
mod revocation;
mod switch;

use std::time::{Duration, Instant, SystemTime};

use super::*;
use crate::restrictions::{Change, Effect, Event, Scope};
use crate::secret::Secret;

/// UNIX seconds of these tests.
const NOW: u64 = 1_700_000_000;

const SECRET_ACCESS_KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

/// A gate, what is restricted at it, and the time.
struct World {
    gate: Gate,
    restrictions: RestrictionSet,
    now: Now,
}

impl World {
    /// `demo` takes every algorithm, each under its name as `kid`, and has `legacy/` public. `other` takes HS256 under
    /// the same secret. `open` asks for no token, `watched` only watches.
    fn new() -> World {
        World::with(vec![
            AppOptions { public_prefixes: prefixes(&["legacy/"]), ..app("demo", Algorithm::ALL) },
            app("other", [Algorithm::HS256]),
            AppOptions { access: Access::Off, ..app("open", []) },
            AppOptions { access: Access::Observe, ..app("watched", [Algorithm::HS256, Algorithm::ES256]) },
        ])
    }

    fn with(apps: Vec<AppOptions>) -> World {
        let presigned = Some(presigned::options());
        let hosts = vec!["files.example".into()];
        let player_cookies = Some(players::cookies());
        let options = GateOptions { apps, hosts, presigned, player_cookies, ..GateOptions::default() };
        let world = World::unloaded(options);
        world.apply(Event::Snapshot { seq: 0, entries: Vec::new() });
        world
    }

    /// A world whose feed was never heard.
    fn unloaded(options: GateOptions) -> World {
        let now = Now { wall: SystemTime::UNIX_EPOCH + Duration::from_secs(NOW), monotonic: Instant::now() };
        let restrictions = RestrictionSet::new([1, 2], now.monotonic);
        World { gate: Gate::new(options).expect("a gate"), restrictions, now }
    }

    fn apply(&self, event: Event) {
        self.restrictions.apply(event, self.now.monotonic);
    }

    /// Makes a restriction the next change.
    fn restrict(&self, scope: Scope, effect: Effect, in_force: bool) {
        let seq = self.restrictions.applied() + 1;
        self.apply(Event::Change(Change { seq, scope, effect, in_force }));
    }

    fn deactivate(&self, app: &str, uid: &str) {
        self.restrict(user(app, uid), Effect::Deactivated, true);
    }

    fn later(&mut self, by: Duration) {
        self.now.wall += by;
        self.now.monotonic += by;
    }

    /// What the gate says to `request`.
    fn ask(&self, request: &Parts) -> Result<Admission, Denial> {
        let decision = match self.gate.prepended(request, self.now)? {
            None => self.gate.admit(request, &self.restrictions, self.now),
            Some(prepended) => {
                let visitor = self.gate.visitor(request, self.now)?.expect("sessions are verified here");
                self.gate.admit_visitor(request, &prepended, &visitor, &self.restrictions, self.now)
            }
        };
        match decision {
            Ok(Decision::Forward(admission)) => Ok(admission),
            Ok(other) => panic!("{other:?} was not asked for"),
            Err(refusal) => Err(refusal.denial),
        }
    }

    /// Only whether it lets `request` in.
    fn verdict(&self, request: &Parts) -> Result<(), Denial> {
        self.ask(request).map(drop)
    }
}

fn app(id: &str, algorithms: impl IntoIterator<Item = Algorithm>) -> AppOptions {
    AppOptions {
        id: id.into(),
        access: Access::Enforce,
        keys: algorithms.into_iter().map(|alg| keys::key_called(alg.name(), alg)).collect(),
        time: TimeRules { leeway: Duration::ZERO, max_ttl: Duration::from_secs(86_400) },
        uid_case: UidCase::Folded,
        public_prefixes: PublicPrefixes::default(),
        tokenized_since: None,
        storage: storage(),
    }
}

fn storage() -> Arc<S3Storage> {
    Arc::new(S3Storage::new(S3Options {
        endpoint: Endpoint::parse("http://127.0.0.1:9000").expect("an endpoint"),
        region: "us-east-1".into(),
        bucket: "bucket".into(),
        addressing: Addressing::Path,
        prefix: String::new(),
        app_folder: AppFolder::Kept,
        credentials: Credentials {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_access_key: Secret::new(SECRET_ACCESS_KEY),
        },
        presign_ttl: Duration::from_secs(60),
    }))
}

fn prefixes(folders: &[&str]) -> PublicPrefixes {
    PublicPrefixes::new(folders.iter().map(|folder| (*folder).to_owned())).expect("folders")
}

fn user(app: &str, uid: &str) -> Scope {
    Scope::User { app: app.into(), uid: uid.into() }
}

/// Claims of `alice` at `demo`, good for ten minutes, and `members`.
fn claims(members: &str) -> String {
    format!(r#"{{"sub":"alice","app":"demo","exp":{}{members}}}"#, NOW + 600)
}

/// A token with these claims, signed for `alg`, under the `kid` that [`World::new`] gives the key.
fn mint(alg: Algorithm, claims: &str) -> String {
    keys::compact(alg, &format!(r#"{{"alg":"{alg}","kid":"{alg}","typ":"JWT"}}"#), claims)
}

/// A good token of `alice` at `demo`.
fn good() -> String {
    mint(Algorithm::HS256, &claims(""))
}

/// A request for `target` of a host that is served.
fn get(target: &str) -> Parts {
    request("GET", target, &[("host", "files.example")])
}

/// The same with a token in the `fat` header.
fn get_with(target: &str, token: &str) -> Parts {
    request("GET", target, &[("host", "files.example"), ("fat", token)])
}

fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut builder = http::Request::builder().method(method).uri(target);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).expect("a request").into_parts().0
}
