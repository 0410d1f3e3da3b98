//! Claims → a File Access Token, signed with a key of the app's that the gate will verify it with.

use std::collections::HashMap;
use std::time::Duration;

use jsonwebtoken::Header;
use serde::Serialize;

use super::error::ApiError;
use crate::config::{AppSummary, KeySummary, registered};
use crate::gate::Profile;
use crate::jws::JwsSigner;

/// What FATs are signed with, by app.
#[derive(Debug, Default)]
pub struct Issuers(HashMap<String, Issuer>);

impl Issuers {
    /// Takes of each app the first key that tokens can be signed with.
    pub fn new(apps: &[AppSummary]) -> Issuers {
        let issuer = |app: &AppSummary| {
            let fats = app.keys.iter().filter(|key| key.profile == Profile::Fat);
            let (key, signer) = fats.into_iter().find_map(|key| Some((key, signer(key)?)))?;
            Some(Issuer {
                kid: key.kid.clone(),
                signer,
                iss: key.issuer.clone(),
                aud: key.audience.clone(),
                max_ttl: app.max_ttl.as_secs(),
            })
        };
        Issuers(apps.iter().filter_map(|app| Some((app.id.clone(), issuer(app)?))).collect())
    }

    pub(super) fn of(&self, app: &str) -> Result<&Issuer, ApiError> {
        self.0.get(app).ok_or(ApiError::NoSigningKey)
    }
}

/// What the FATs of one app are signed with.
pub(super) struct Issuer {
    kid: String,
    signer: JwsSigner,
    iss: Option<String>,
    aud: Option<String>,
    max_ttl: u64,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("kid", &self.kid).finish_non_exhaustive()
    }
}

fn signer(key: &KeySummary) -> Option<JwsSigner> {
    let mut header = Header::new(registered(key.alg));
    header.kid = Some(key.kid.clone());
    JwsSigner::new(&header, key.secret.as_ref(), key.private_key.clone())
}

/// What one FAT is to say. Times in UNIX seconds.
#[derive(Debug, Serialize)]
pub(super) struct Claims<'a> {
    pub(super) sub: &'a str,
    pub(super) app: &'a str,
    pub(super) iat: u64,
    pub(super) exp: u64,
    pub(super) jti: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sid: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) path: &'a [String],
}

impl Issuer {
    /// The longest that a FAT may live, in seconds.
    pub(super) fn max_ttl(&self) -> u64 {
        self.max_ttl
    }

    /// Signs a FAT.
    ///
    /// # Errors
    ///
    /// When the key cannot sign.
    pub(super) fn issue(&self, claims: &Claims<'_>) -> Result<String, ApiError> {
        #[derive(Serialize)]
        struct Whole<'a> {
            #[serde(flatten)]
            claims: &'a Claims<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            iss: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            aud: Option<&'a str>,
        }
        let whole = Whole { claims, iss: self.iss.as_deref(), aud: self.aud.as_deref() };
        let claims = serde_json::to_vec(&whole).map_err(|_| ApiError::NoSigningKey)?;
        self.signer.sign(&claims).ok_or(ApiError::NoSigningKey)
    }
}

/// The time of issue of a FAT that is to live although everything before `flushed` is dead: within the second of the
/// flush, the next one.
pub(super) fn issued_at(now: Duration, flushed: u64) -> u64 {
    let now = now.as_secs();
    if flushed == now + 1 { flushed } else { now }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Instant, UNIX_EPOCH};

    use jsonwebtoken::{DecodingKey, Validation};
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Config;
    use crate::config::tests::pairs::pair;
    use crate::gate::{Algorithm, Now};

    const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    const CONFIG: &str = r#"[media]
listen = ["127.0.0.1:0"]
[control]
[[control.api_keys]]
name = "backend"
scope = "fullAccess"
key_file = "api.key"
[[apps]]
id = "acme"
storage = "main"
[[apps.keys]]
kid = "käse \"1\""
issuer = "https://backend.acme.example"
audience = "media"
alg = "ALG"
KEYS
[storage.main]
endpoint = "http://127.0.0.1:9000"
bucket = "media"
access_key_id_file = "secret.key"
secret_access_key_file = "secret.key"
"#;

    /// The configuration of an app with one key for `alg`, and that key as another library takes it.
    fn configured(alg: Algorithm) -> (Config, DecodingKey) {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| fs::write(folder.path().join(name), content).unwrap();
        write("secret.key", SECRET);
        write("api.key", "fedcba9876543210fedcba9876543210");
        let (keys, decoding) = if alg.is_hmac() {
            ("secret_file = \"secret.key\"", DecodingKey::from_secret(SECRET.as_bytes()))
        } else {
            let (private, public) = pair(alg);
            write("private.pem", &private);
            write("public.pem", &public);
            let decoding = match alg {
                Algorithm::RS256 | Algorithm::PS256 => DecodingKey::from_rsa_pem(public.as_bytes()),
                Algorithm::EdDSA => DecodingKey::from_ed_pem(public.as_bytes()),
                _ => DecodingKey::from_ec_pem(public.as_bytes()),
            };
            ("public_key_file = \"public.pem\"\nprivate_key_file = \"private.pem\"", decoding.unwrap())
        };
        let text = CONFIG.replace("ALG", alg.name()).replace("KEYS", keys);
        (Config::parse(&text, &folder.path().join("mediagate.toml")).unwrap(), decoding)
    }

    #[test]
    fn what_is_issued_says_the_same_to_the_gate_and_to_another_library() {
        for alg in Algorithm::ALL {
            let (config, key) = configured(alg);
            let issuers = Issuers::new(&config.apps);
            let paths = ["/acme/ä/*".to_owned(), "/acme/\"7\"".to_owned()];
            for (sid, path) in [(None, &[][..]), (Some("s1"), &paths)] {
                let claims = Claims {
                    sub: "alice+\"x\"",
                    app: "acme",
                    iat: 1_000_000,
                    exp: 1_000_900,
                    jti: "t1".into(),
                    sid,
                    path,
                };
                let compact = issuers.of("acme").unwrap().issue(&claims).unwrap();
                let wall = UNIX_EPOCH + Duration::from_secs(1_000_001);
                let verified = config.gate.verify("acme", &compact, Now { wall, monotonic: Instant::now() });
                assert_eq!(verified, Ok(()), "{alg}");
                let mut rules = Validation::new(registered(alg));
                rules.validate_exp = false;
                rules.set_audience(&["media"]);
                let decoded = jsonwebtoken::decode::<Value>(&compact, &key, &rules).unwrap();
                let mut expected = json!({
                    "sub": "alice+\"x\"", "app": "acme", "iat": 1_000_000, "exp": 1_000_900, "jti": "t1",
                    "iss": "https://backend.acme.example", "aud": "media",
                });
                if let Some(sid) = sid {
                    expected["sid"] = json!(sid);
                    expected["path"] = json!(paths);
                }
                assert_eq!(decoded.claims, expected, "{alg}");
                assert_eq!(decoded.header.kid.as_deref(), Some("käse \"1\""));
                assert_eq!((decoded.header.alg, decoded.header.typ.as_deref()), (registered(alg), Some("JWT")));
            }
        }
    }
}
