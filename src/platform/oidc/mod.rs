//! OpenID Connect: the gate itself sends visitors to a provider and keeps their session, in a cookie that it signs.
//!
//! A login is bound to the browser that began it: its state, nonce and PKCE verifier are in a sealed cookie for ten
//! minutes, so that nobody is logged in by somebody else's link. Nothing is kept here; a provider that ends a session by
//! the back channel ends it as the API does, by a restriction.

mod provider;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::gate::{Denial, Seal, UidCase, Visitor, cookies, is_way_back, normalized_uid};
use crate::jws::JwsSigner;
use crate::proxy::{NoVisitor, OwnAnswer, OwnRequest, Platform, Question};
use crate::relay::now_secs;
use crate::restrictions::{Effect, Scope, hex};
use crate::secret::Secret;
use crate::store::{Action, Store, Wanted};
use provider::{Kind, Known, header_of};

/// The name that the gate's own sessions give their key.
pub const SESSION_KID: &str = "mediagate";

/// The cookie of the gate's own sessions.
pub const SESSION_COOKIE: &str = "__Host-mediagate-session";

/// The cookie of a login that has begun.
const LOGIN_COOKIE: &str = "__Host-mediagate-login";

/// How long a login may take, in seconds.
const LOGIN_SECS: u64 = 600;

/// How much longer than it says a session may be taken, in seconds.
const LEEWAY: u64 = 10;

/// How long the provider may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Questions to the provider that are on their way at once.
const MAX_QUESTIONS: usize = 64;

/// The provider, and who the gate is to it.
#[derive(Debug, Clone)]
pub struct OidcOptions {
    /// `https://…`, exactly as the provider calls itself.
    pub issuer: String,
    /// The gate's name there.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret,
    /// `https://own.example/.mediagate/callback`.
    pub redirect_url: String,
    /// The claim that is the user.
    pub user_claim: String,
    /// How long a session lives, in seconds.
    pub session_secs: u64,
    /// What sessions are signed with and logins sealed with.
    pub key: Secret,
    /// The apps whose sessions end by the back channel.
    pub apps: Vec<String>,
}

/// The login by OpenID Connect.
pub struct Oidc {
    options: OidcOptions,
    seal: Seal,
    known: Known,
    questions: Semaphore,
    /// Where restrictions are kept, in a process with the role `control`.
    store: Arc<OnceLock<Store>>,
}

impl std::fmt::Debug for Oidc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Oidc").field("issuer", &self.options.issuer).finish_non_exhaustive()
    }
}

/// What a login that has begun remembers.
struct Begun {
    state: String,
    nonce: String,
    verifier: String,
    back: String,
}

impl Oidc {
    /// Returns the login as `options` say. `store` may be known later.
    pub fn new(options: OidcOptions, store: Arc<OnceLock<Store>>) -> Oidc {
        let seal = Seal::new(options.key.expose(), "login");
        Oidc { options, seal, known: Known::default(), questions: Semaphore::new(MAX_QUESTIONS), store }
    }

    /// `GET /.mediagate/login?return=…`: to the provider, with a cookie that the way back is checked with.
    async fn login(&self, request: &OwnRequest) -> Result<OwnAnswer, Denial> {
        let back = parameter(&request.query, "return").filter(|back| is_way_back(back));
        let begun = Begun {
            state: random(),
            nonce: random(),
            verifier: random(),
            // Whatever else it is: nobody is sent there.
            back: back.unwrap_or_else(|| "/".to_owned()),
        };
        let provider = self.within(self.known.provider(&self.options, None)).await?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&begun.verifier));
        let parameters = form_urlencoded::Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.options.client_id)
            .append_pair("redirect_uri", &self.options.redirect_url)
            .append_pair("scope", "openid profile email")
            .append_pair("state", &begun.state)
            .append_pair("nonce", &begun.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .finish();
        let joint = if provider.authorization.contains('?') { '&' } else { '?' };
        let sealed = self.seal.close(&begun.to_json(), now_secs() + LOGIN_SECS);
        let location = format!("{}{joint}{parameters}", provider.authorization);
        Ok(OwnAnswer::redirect(location).with_cookie(cookie(LOGIN_COOKIE, &sealed, LOGIN_SECS)))
    }

    /// `GET /.mediagate/callback?code=…&state=…`: a session, for the browser that began this login.
    async fn callback(&self, request: &OwnRequest) -> Result<OwnAnswer, Denial> {
        let [code, state] = ["code", "state"].map(|name| parameter(&request.query, name));
        let (code, state) = (code.ok_or(Denial::LoginFailed)?, state.ok_or(Denial::LoginFailed)?);
        let begun = self.begun(request).ok_or(Denial::LoginFailed)?;
        verify_slices_are_equal(begun.state.as_bytes(), state.as_bytes()).map_err(|_| Denial::LoginFailed)?;
        // RFC 9207: an answer of another provider is not for this login.
        if parameter(&request.query, "iss").is_some_and(|issuer| issuer != self.options.issuer) {
            return Err(Denial::LoginFailed);
        }
        let provider = self.within(self.known.provider(&self.options, None)).await?;
        let token = self.within(provider.id_token(&self.options, &code, &begun.verifier)).await?;
        let token = token.ok_or(Denial::LoginFailed)?;
        let claims = self.verified(&token, Kind::Id { nonce: &begun.nonce }).await?;
        let session = self.session(&claims).ok_or(Denial::LoginFailed)?;
        let answer = OwnAnswer::redirect(begun.back).with_cookie(cookie(LOGIN_COOKIE, "", 0));
        Ok(answer.with_cookie(cookie(SESSION_COOKIE, &session, self.options.session_secs)))
    }

    /// The one login that this browser has begun, while it is good.
    fn begun(&self, request: &OwnRequest) -> Option<Begun> {
        let mut found = request.cookies.iter().flat_map(|field| cookies(field, LOGIN_COOKIE));
        let (text, until) = self.seal.open(found.next()?)?;
        (found.next().is_none() && now_secs() < until).then(|| Begun::from_json(&text))?
    }

    /// Returns what a token says, with the keys that the provider has by now.
    async fn verified(&self, token: &str, kind: Kind<'_>) -> Result<Value, Denial> {
        let header = header_of(token).ok_or(Denial::LoginFailed)?;
        let provider = self.within(self.known.provider(&self.options, header["kid"].as_str())).await?;
        provider.verify(&self.options, token, kind, now_secs()).map_err(|why| {
            log::warn!("a token of the OpenID provider is refused: {why}");
            Denial::LoginFailed
        })
    }

    /// A session for the user of an ID token: with an id of its own each time, and one that the provider can end it by.
    fn session(&self, claims: &Value) -> Option<String> {
        // What no app can compare would be sent to the login again and again.
        let uid = normalized_uid(UidCase::Exact, claims[&self.options.user_claim].as_str()?)?;
        let sid = claims["sid"].as_str().map_or_else(random, |sid| self.sid_of(sid));
        let now = now_secs();
        let session =
            json!({ "sub": uid, "sid": sid, "jti": random(), "iat": now, "exp": now + self.options.session_secs });
        let header = jsonwebtoken::Header { kid: Some(SESSION_KID.into()), ..Default::default() };
        JwsSigner::new(&header, Some(&self.options.key), None)?.sign(session.to_string().as_bytes())
    }

    /// The provider's name of a session as it stands in ours: no text of others goes into restrictions.
    fn sid_of(&self, sid: &str) -> String {
        let digest = Sha256::digest(format!("{}\n{sid}", self.options.issuer));
        format!("oidc-{}", hex(digest[..16].try_into().unwrap_or(&[0; 16])))
    }

    /// `POST /.mediagate/logout`: ends the session that the browser shows. One that shows none is not logged out: a form of
    /// another site sends no cookie (`SameSite=Lax`). By its own id: the provider may go on with its session, and the next
    /// login is another one.
    async fn logout(&self, session: Option<&Visitor>) -> Result<OwnAnswer, Denial> {
        let visitor = session.ok_or(Denial::SessionMissing)?;
        if let Some(jti) = &visitor.jti
            && self.store.get().is_some()
        {
            self.end(|app| Scope::Token { app, jti: jti.clone() }).await?;
        }
        Ok(OwnAnswer::done().with_cookie(cookie(SESSION_COOKIE, "", 0)))
    }

    /// `POST /.mediagate/backchannel-logout`: ends the session that the provider names.
    async fn backchannel_logout(&self, request: &OwnRequest) -> Result<OwnAnswer, Denial> {
        let form = std::str::from_utf8(&request.body).map_err(|_| Denial::LoginFailed)?;
        let token = parameter(form, "logout_token").ok_or(Denial::LoginFailed)?;
        let claims = self.verified(&token, Kind::Logout).await?;
        let sid = self.sid_of(claims["sid"].as_str().ok_or(Denial::LoginFailed)?);
        self.end(|app| Scope::Session { app, sid: sid.clone() }).await?;
        Ok(OwnAnswer::done())
    }

    /// Ends a session everywhere: a restriction, in force on every node as a deactivation is.
    async fn end(&self, scope: impl Fn(String) -> Scope) -> Result<(), Denial> {
        let Some(store) = self.store.get() else {
            log::error!("a session is to end, and this process does not have the role \"control\"");
            return Err(Denial::PlatformUnavailable);
        };
        let expires_at = Some(now_secs() + self.options.session_secs + LEEWAY);
        let wanted = self.options.apps.iter().map(|app| Wanted {
            scope: scope(app.clone()),
            effect: Effect::Deactivated,
            action: Action::Impose { expires_at },
        });
        store.apply(wanted.collect()).await.map(drop).map_err(|error| {
            log::error!("a session is to end: {error}");
            Denial::PlatformUnavailable
        })
    }

    /// Waits for the provider, for a while and with a few at once.
    async fn within<T>(&self, asking: impl Future<Output = Result<T, String>>) -> Result<T, Denial> {
        let Ok(_permit) = self.questions.try_acquire() else { return Err(Denial::PlatformUnavailable) };
        let answer = tokio::time::timeout(TIMEOUT, asking).await;
        answer.unwrap_or_else(|_| Err("it took too long".to_owned())).map_err(|error| {
            log::warn!("the OpenID provider: {error}");
            Denial::PlatformUnavailable
        })
    }
}

#[async_trait]
impl Platform for Oidc {
    /// Sessions are in a cookie that the gate verifies.
    async fn visitor(&self, _: Question) -> Result<Visitor, NoVisitor> {
        Err(NoVisitor::Unknown)
    }

    async fn answer(&self, request: OwnRequest) -> Option<Result<OwnAnswer, Denial>> {
        Some(match (&request.method, request.path.as_str()) {
            (&Method::GET, "/.mediagate/login") => self.login(&request).await,
            (&Method::GET, "/.mediagate/callback") => self.callback(&request).await,
            (&Method::POST, "/.mediagate/logout") => self.logout(request.visitor.as_ref()).await,
            (&Method::POST, "/.mediagate/backchannel-logout") => self.backchannel_logout(&request).await,
            _ => return None,
        })
    }
}

impl Begun {
    fn to_json(&self) -> String {
        json!([self.state, self.nonce, self.verifier, self.back]).to_string()
    }

    fn from_json(text: &str) -> Option<Begun> {
        let [state, nonce, verifier, back]: [String; 4] = serde_json::from_str(text).ok()?;
        Some(Begun { state, nonce, verifier, back })
    }
}

/// A cookie of the own host alone (RFC 6265bis §4.1.3.2) that no script sees and no other site's form sends.
fn cookie(name: &str, value: &str, secs: u64) -> String {
    format!("{name}={value}; Path=/; Max-Age={secs}; Secure; HttpOnly; SameSite=Lax")
}

/// The value of a parameter that stands once.
fn parameter(query: &str, name: &str) -> Option<String> {
    let mut found = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name).map(|(_, value)| value);
    let value = found.next()?;
    found.next().is_none().then(|| value.into_owned())
}

/// 256 bits that nobody guesses.
fn random() -> String {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has randomness");
    URL_SAFE_NO_PAD.encode(bytes)
}
