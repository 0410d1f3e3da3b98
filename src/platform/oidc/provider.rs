//! What an OpenID provider says of itself, and what its tokens are worth (OpenID Connect Core 1.0, Discovery 1.0).

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::Full;
use serde_json::Value;
use tokio::sync::Mutex;

use super::OidcOptions;
use crate::gate::{Algorithm, JwkSet, MAX_JWKS_BYTES, VerifyingKey};
use crate::jwks::KeySetSource;
use crate::outbound::Outbound;

/// How long what a provider says of itself is good.
const GOOD_FOR: Duration = Duration::from_secs(300);

/// The least time between two looks for a key that is not known.
const COOL_DOWN: Duration = Duration::from_secs(30);

/// The largest answer but a JWK Set, in bytes.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// Seconds by which the clocks may differ.
const LEEWAY: u64 = 30;

/// What logs out, in a logout token.
const LOGOUT: &str = "http://schemas.openid.net/event/backchannel-logout";

/// A provider as it describes itself.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) authorization: String,
    token: Uri,
    takes_secret_in_body: bool,
    keys: Vec<VerifyingKey>,
    at: Instant,
}

/// What is known of the provider.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<Option<Arc<Provider>>>);

/// Which token is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// An ID token for the login with this nonce.
    Id { nonce: &'a str },
    /// A logout token.
    Logout,
}

impl Known {
    /// Returns the provider, asked anew where `kid` is a key that it had not; who comes meanwhile waits. What is known
    /// holds on while it does not answer.
    pub(super) async fn provider(&self, options: &OidcOptions, kid: Option<&str>) -> Result<Arc<Provider>, String> {
        let mut known = self.0.lock().await;
        if let Some(provider) = known.as_ref() {
            let age = provider.at.elapsed();
            let has_key = kid.is_none_or(|kid| provider.keys.iter().any(|key| key.kid() == kid));
            if age < if has_key { GOOD_FOR } else { COOL_DOWN } {
                return Ok(Arc::clone(provider));
            }
        }
        match (discover(options).await, known.as_ref()) {
            (Ok(provider), _) => Ok(Arc::clone(known.insert(Arc::new(provider)))),
            (Err(error), Some(provider)) => {
                log::warn!("the OpenID provider: {error}; what is known of it holds on");
                Ok(Arc::clone(provider))
            }
            (Err(error), None) => Err(error),
        }
    }
}

async fn discover(options: &OidcOptions) -> Result<Provider, String> {
    let url = format!("{}/.well-known/openid-configuration", options.issuer.trim_end_matches('/'));
    let place: Uri = url.parse().map_err(|_| "no URL")?;
    // Nothing is kept open: the provider may close it just when the next question is sent.
    let client = Outbound::new(place.scheme(), 0).await.map_err(|error| error.to_string())?;
    let about: Value = json(&get(&client, &url, MAX_ANSWER_BYTES).await?)?;
    if about["issuer"].as_str() != Some(options.issuer.as_str()) {
        return Err("it calls itself another issuer".to_owned());
    }
    // As JWK Sets: nothing but TLS, except on this machine.
    let place = |name: &str| {
        let url = about[name].as_str().filter(|url| KeySetSource::url(url).is_some());
        url.map(str::to_owned).ok_or(format!("its `{name}` is no https:// URL"))
    };
    let jwks = get(&client, &place("jwks_uri")?, MAX_JWKS_BYTES).await?;
    let mut keys = JwkSet::parse(&jwks, None).map_err(|error| error.to_string())?.keys;
    if keys.is_empty() {
        // RSA keys that do not say what for: RS256, which every provider has (Core §15.1).
        keys = JwkSet::parse(&jwks, Some(Algorithm::RS256)).map_err(|error| error.to_string())?.keys;
    }
    let methods = about["token_endpoint_auth_methods_supported"].as_array();
    let takes = |method: &str| methods.is_some_and(|methods| methods.iter().any(|known| known == method));
    Ok(Provider {
        authorization: place("authorization_endpoint")?,
        token: place("token_endpoint")?.parse().map_err(|_| "no URL")?,
        takes_secret_in_body: takes("client_secret_post") && !takes("client_secret_basic"),
        keys,
        at: Instant::now(),
    })
}

async fn get(client: &Outbound, url: &str, most: usize) -> Result<Bytes, String> {
    let request = Request::get(url).header(header::ACCEPT, "application/json").body(Full::default());
    let request = request.map_err(|error| error.to_string())?;
    let (head, body) = client.ask(request, most).await.map_err(|error| error.to_string())?.into_parts();
    if head.status == 200 { Ok(body) } else { Err(format!("the answer is {}", head.status)) }
}

fn json(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(bytes).map_err(|_| "the answer is not JSON".to_owned())
}

impl Provider {
    /// Exchanges `code` for an ID token (Core §3.1.3), with the verifier of RFC 7636; `None` where the provider does not
    /// know the code.
    pub(super) async fn id_token(
        &self,
        options: &OidcOptions,
        code: &str,
        verifier: &str,
    ) -> Result<Option<String>, String> {
        let request = self.exchange(options, code, verifier).ok_or("the code or the secret cannot be sent")?;
        let client = Outbound::new(self.token.scheme(), 0).await.map_err(|error| error.to_string())?;
        let answer = client.ask(request, MAX_ANSWER_BYTES).await;
        let (head, body) = answer.map_err(|error| error.to_string())?.into_parts();
        match head.status.as_u16() {
            200 => Ok(json(&body)?["id_token"].as_str().map(str::to_owned)),
            // RFC 6749 §5.2; 401 and the rest are for the operator.
            400 => Ok(None),
            status => Err(format!("a code is answered with {status}")),
        }
    }

    fn exchange(&self, options: &OidcOptions, code: &str, verifier: &str) -> Option<Request<Full<Bytes>>> {
        let secret = std::str::from_utf8(options.client_secret.expose()).ok()?;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code").append_pair("code", code);
        form.append_pair("redirect_uri", &options.redirect_url).append_pair("code_verifier", verifier);
        let mut request = Request::post(self.token.clone());
        if self.takes_secret_in_body {
            form.append_pair("client_id", &options.client_id).append_pair("client_secret", secret);
        } else {
            // RFC 6749 §2.3.1: each of them encoded as in a form.
            let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let both = format!("{}:{}", encoded(&options.client_id), encoded(secret));
            request = request.header(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(both)));
        }
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        request.header(header::ACCEPT, "application/json").body(Full::from(form.finish())).ok()
    }

    /// Returns what `compact` says, once its signature holds and it is meant for this client and time: of an ID token Core
    /// §3.1.3.7, of a logout token Back-Channel Logout 1.0 §2.6.
    pub(super) fn verify(
        &self,
        options: &OidcOptions,
        compact: &str,
        kind: Kind<'_>,
        now: u64,
    ) -> Result<Value, &'static str> {
        let (input, signature) = compact.rsplit_once('.').ok_or("no token")?;
        let (_, payload) = input.split_once('.').ok_or("no token")?;
        let header = header_of(compact).ok_or("no token")?;
        let key = self.keys.iter().find(|key| header["kid"].as_str() == Some(key.kid())).ok_or("an unknown key")?;
        let is_plain = header["alg"].as_str() == Some(key.alg().name()) && header.get("crit").is_none();
        let is_typed = match (kind, header["typ"].as_str()) {
            (_, None) => true,
            (Kind::Id { .. }, Some(typ)) => typ.eq_ignore_ascii_case("jwt"),
            (Kind::Logout, Some(typ)) => ["jwt", "logout+jwt"].contains(&typ.to_ascii_lowercase().as_str()),
        };
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "no token")?;
        if !is_plain || !is_typed || !key.verifies(input.as_bytes(), &signature) {
            return Err("a signature that does not hold");
        }
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| "no token")?;
        let claims: Value = serde_json::from_slice(&payload).map_err(|_| "no token")?;
        let ours = |aud: &Value| aud.as_str() == Some(options.client_id.as_str());
        let is_for_us = ours(&claims["aud"]) || claims["aud"].as_array().is_some_and(|all| all.iter().any(ours));
        let azp = claims.get("azp").is_none_or(ours);
        if claims["iss"].as_str() != Some(options.issuer.as_str()) || !is_for_us || !azp {
            return Err("meant for somebody else");
        }
        let exp = claims["exp"].as_u64().ok_or("without an end")?;
        let iat = claims["iat"].as_u64().ok_or("without a beginning")?;
        if now >= exp.saturating_add(LEEWAY) || iat > now.saturating_add(LEEWAY) {
            return Err("not in its time");
        }
        let is_meant = match kind {
            Kind::Id { nonce } => claims["nonce"].as_str() == Some(nonce),
            Kind::Logout => claims["events"][LOGOUT].is_object() && claims.get("nonce").is_none(),
        };
        if is_meant { Ok(claims) } else { Err("of another login, or no such token") }
    }
}

/// The header of `compact`, of which nothing is believed.
pub(super) fn header_of(compact: &str) -> Option<Value> {
    let (header, _) = compact.split_once('.')?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).ok()?).ok()
}
