//! Credentials by the million: what does not change is made once.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value, json};

use super::super::token::mint::Batch;
use crate::config::Config;
use crate::gate::{Now, PresignFor};
use crate::jws::JwsSigner;
use crate::restrictions::AppSettings;

/// How long ago expired credentials died: longer than any leeway.
const DEAD_FOR: Duration = Duration::from_secs(3600);

/// What the gate is to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Good,
    /// Sound but for its signature.
    Forged,
    Expired,
}

/// What credentials are made with.
pub(super) enum Signer {
    Tokens(Box<Tokens>),
    Urls { config: Box<Config>, app: String, origin: String, now: Now },
}

/// The parts of a token that are the same in all.
pub(super) struct Tokens {
    signer: JwsSigner,
    /// Everything but `sub` and `jti`, from its first comma to before the last brace.
    claims: String,
    expired: String,
    /// Begins each `jti`; without it a user's tokens are the same.
    seed: Option<u64>,
}

impl Signer {
    /// Tokens; each is another one where there is a `seed`.
    pub(super) fn tokens(batch: Batch, seed: Option<u64>) -> anyhow::Result<Signer> {
        let Batch { header, secret, signing_key, mut claims } = batch;
        claims.remove("sub");
        let dead_for = |claims: &Map<String, Value>| {
            let mut claims = claims.clone();
            let time = |name: &str| claims.get(name).and_then(Value::as_u64).unwrap_or_default();
            let back = time("exp").saturating_sub(time("iat")) + DEAD_FOR.as_secs();
            let (iat, exp) = (time("iat").saturating_sub(back), time("exp").saturating_sub(back));
            claims.extend([("iat".to_owned(), json!(iat)), ("exp".to_owned(), json!(exp))]);
            claims
        };
        let members = |claims: Map<String, Value>| {
            let text = Value::Object(claims).to_string();
            format!(",{}", &text[1..text.len() - 1])
        };
        let expired = members(dead_for(&claims));
        let signer = JwsSigner::new(&header, secret.as_ref(), Some(signing_key));
        let signer = signer.context("the header of tokens cannot be written")?;
        Ok(Signer::Tokens(Box::new(Tokens { signer, claims: members(claims), expired, seed })))
    }

    /// URLs that are signed with the gateway's own key.
    pub(super) fn presigned(config: &Path, app: &str, origin: &str, now: Now) -> anyhow::Result<Signer> {
        let config = Config::load(config)?;
        let is_there = config.apps.iter().any(|known| known.id == app);
        ensure!(is_there, "there is no app `{app}` in the configuration");
        Ok(Signer::Urls { config: Box::new(config), app: app.to_owned(), origin: origin.to_owned(), now })
    }

    /// Returns a token for `uid`, or the path and query of a URL for that user and the object `key`.
    pub(super) fn sign(&self, uid: &str, key: &str, number: u64, kind: Kind) -> anyhow::Result<String> {
        match self {
            Signer::Tokens(tokens) => tokens.sign(uid, number, kind),
            Signer::Urls { config, app, origin, now } => {
                let whom = PresignFor { app, uid, sid: None, flushed: None, settings: AppSettings::default() };
                let back = config.gate.presigned_ttl() + DEAD_FOR;
                let wall = if kind == Kind::Expired { now.wall - back } else { now.wall };
                let presigned = config.gate.presign(&format!("{origin}/{app}/{key}"), whom, wall);
                let mut url = presigned.with_context(|| format!("cannot sign a URL at {origin}"))?.url;
                let at = url.find("&Signature=").map(|at| at + "&Signature=".len());
                let Some(at) = at else {
                    bail!(
                        "the gate does not sign URLs of its own for app `{app}`: it takes `target = \"gate\"` under \
                         [presigned], an app that asks for tokens, and objects that are not public"
                    );
                };
                if kind == Kind::Forged {
                    forge(&mut url, at);
                }
                let path = url.find("://").and_then(|scheme| Some(scheme + 3 + url[scheme + 3..].find('/')?));
                Ok(url.split_off(path.context("a URL has a path")?))
            }
        }
    }
}

impl Tokens {
    fn sign(&self, uid: &str, number: u64, kind: Kind) -> anyhow::Result<String> {
        let rest = if kind == Kind::Expired { &self.expired } else { &self.claims };
        let mut claims = String::with_capacity(rest.len() + uid.len() + 64);
        claims.push_str("{\"sub\":");
        claims.push_str(&serde_json::to_string(uid)?);
        claims.push_str(rest);
        if let Some(seed) = self.seed {
            claims.push_str(&format!(",\"jti\":\"{seed}-{number}\""));
        }
        claims.push('}');
        let mut compact = self.signer.sign(claims.as_bytes()).context("the key cannot sign")?;
        if kind == Kind::Forged {
            let at = compact.rfind('.').map_or(0, |dot| dot + 1);
            forge(&mut compact, at);
        }
        Ok(compact)
    }
}

/// Makes another character of the one at `at`, the first of a signature: all of its bits count.
fn forge(text: &mut String, at: usize) {
    let other = if text[at..].starts_with('A') { "B" } else { "A" };
    text.replace_range(at..=at, other);
}
