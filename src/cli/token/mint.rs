//! Options → a signed token that the gate will accept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{ArgGroup, Args};
use jsonwebtoken::EncodingKey;
use serde_json::{Map, Value, json};

use super::twilio::{AccessToken, NO_ACCOUNT};
use super::unix_seconds;
use crate::config::files::{read_pem, read_secret};
use crate::config::{AppSummary, Config, KeySummary, MAX_TOKEN_TTL, encoding_key, registered};
use crate::gate::{Algorithm, Gate, MAX_TOKEN_BYTES, MAX_TWILIO_TTL, Now, PathScope, Profile, UidCase, VerifyingKey};
use crate::secret::Secret;

const EXAMPLES: &str = "\
Examples:
  mediagate token mint --config conf/mediagate.toml --app acme --kid k1 --uid alice --ttl 15m
  mediagate token mint --config conf/mediagate.toml --app acme --kid k1 --uid alice --path /acme/media/7/cover.jpg --path '/acme/thumbs/*'
  mediagate token mint --config conf/mediagate.toml --app acme --kid k2 --private-key-file k2.pem --uid alice
  mediagate token mint --alg HS256 --secret-file k1.key --kid k1 --app acme --uid alice
  mediagate token mint --config conf/mediagate.toml --app acme --kid SK… --profile twilio --uid alice
  curl -H \"Authorization: Bearer $(mediagate token mint --config … --app acme --kid k1 --uid alice)\" https://files.example/acme/media/7/cover.jpg";

/// Options of `token mint`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(group = ArgGroup::new("source").required(true).args(["config", "alg"]))]
pub(crate) struct MintArgs {
    /// Configuration with the app, its key and its rules
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// App that the token is for: the first segment of its URLs
    #[arg(long)]
    app: String,
    /// Name of the key to sign with; not needed where the app has a single one
    #[arg(long, required_unless_present = "config")]
    kid: Option<String>,
    /// User that the token is for
    #[arg(long)]
    uid: String,
    /// Kind of token: fat, or twilio for a Twilio access token; default: what the key is for
    #[arg(long, value_parser = profile)]
    profile: Option<Profile>,
    /// Account SID (`sub`) of a Twilio access token
    #[arg(long, value_name = "SID", default_value = NO_ACCOUNT, hide_default_value = true)]
    account_sid: String,
    /// How long it is good, from now: 90s, 15m, 12h, 1d
    #[arg(long, default_value = "1h", value_parser = duration)]
    ttl: Duration,
    /// Path that it is good for, exact or ending in /*; may be given again; none: every path of the app
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<String>,
    /// Session that it belongs to, so that all tokens of the session can be revoked
    #[arg(long)]
    sid: Option<String>,
    /// Id of this token, so that it alone can be revoked
    #[arg(long)]
    jti: Option<String>,
    /// Private key (PEM, PKCS #8) for RS256, PS256, ES256, ES384 or EdDSA; default: the key's `private_key_file`
    #[arg(long, value_name = "PEM", conflicts_with = "secret_file")]
    private_key_file: Option<PathBuf>,
    /// Without --config: HS256, HS384, HS512, RS256, PS256, ES256, ES384 or EdDSA
    #[arg(long, conflicts_with = "config")]
    alg: Option<Algorithm>,
    /// Without --config: file with the secret for HS256, HS384 or HS512
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    secret_file: Option<PathBuf>,
    /// Without --config: issuer (`iss`)
    #[arg(long, conflicts_with = "config")]
    issuer: Option<String>,
    /// Without --config: audience (`aud`)
    #[arg(long, conflicts_with = "config")]
    audience: Option<String>,
}

/// What many tokens of one app have in common.
pub(in crate::cli) struct Batch {
    /// With the name of the key.
    pub(in crate::cli) header: jsonwebtoken::Header,
    /// The secret, where it is one: who signs often keeps what follows from it.
    pub(in crate::cli) secret: Option<Secret>,
    /// The same, or a private key.
    pub(in crate::cli) signing_key: EncodingKey,
    /// Claims of one token, issued now.
    pub(in crate::cli) claims: Map<String, Value>,
}

impl MintArgs {
    /// What `token mint` would be asked for by somebody who wants a token with a configured key and says no more.
    pub(in crate::cli) fn configured(config: PathBuf, app: String, kid: Option<String>, uid: String) -> MintArgs {
        MintArgs {
            config: Some(config),
            app,
            kid,
            uid,
            profile: None,
            account_sid: NO_ACCOUNT.to_owned(),
            ttl: Duration::from_secs(3600),
            paths: Vec::new(),
            sid: None,
            jti: None,
            private_key_file: None,
            alg: None,
            secret_file: None,
            issuer: None,
            audience: None,
        }
    }

    /// The same, for tokens that live so long and are signed with a key that the configuration may not have.
    pub(in crate::cli) fn with(self, ttl: Duration, private_key_file: Option<PathBuf>) -> MintArgs {
        MintArgs { ttl, private_key_file, ..self }
    }

    /// Returns what is needed to sign many tokens that differ in their user, after one was found good.
    pub(in crate::cli) fn batch(&self, now: Now) -> anyhow::Result<Batch> {
        let config = Config::load(self.config.as_deref().context("--config is needed")?)?;
        let app = app(&config, &self.app)?;
        let key = self.configured_key(app)?;
        ensure!(key.profile == Profile::Fat, "`{}` is a key for Twilio access tokens: name one for FATs", key.kid);
        let uid_case = config.gate.uid_case(&self.app).unwrap_or_default();
        let claims = self.claims(&key, app.max_ttl, uid_case, unix_seconds(now))?;
        check(&config.gate, &self.app, &self.sign(&key, &claims)?, now)?;
        let Value::Object(claims) = claims else { bail!("claims are an object") };
        let signing_key = self.signing_key(&key)?;
        Ok(Batch { header: header(&key), secret: key.secret, signing_key, claims })
    }

    /// Returns the token in compact form.
    pub(super) fn mint(self, now: Now) -> anyhow::Result<String> {
        let config = self.config.as_deref().map(Config::load).transpose()?;
        let (key, max_ttl, uid_case) = match &config {
            Some(config) => {
                let app = app(config, &self.app)?;
                let uid_case = config.gate.uid_case(&self.app).unwrap_or_default();
                (self.configured_key(app)?, app.max_ttl, uid_case)
            }
            // The gate folds what it must; without its rules the uid is left as it is.
            None => (self.given_key()?, MAX_TOKEN_TTL, UidCase::Exact),
        };
        let compact = match key.profile {
            Profile::Fat => self.sign(&key, &self.claims(&key, max_ttl, uid_case, unix_seconds(now))?)?,
            Profile::Twilio => self.access_token(&key, max_ttl, unix_seconds(now))?,
        };
        ensure!(
            compact.len() <= MAX_TOKEN_BYTES,
            "the token would have {} bytes, the gate takes at most {MAX_TOKEN_BYTES}: name fewer or shorter paths",
            compact.len()
        );
        if let Some(config) = &config {
            check(&config.gate, &self.app, &compact, now)?;
        }
        Ok(compact)
    }

    fn configured_key(&self, app: &AppSummary) -> anyhow::Result<KeySummary> {
        let kids = || app.keys.iter().map(|key| key.kid.as_str()).collect::<Vec<_>>().join(", ");
        let key = match (&self.kid, app.keys.as_slice()) {
            (Some(kid), keys) => keys
                .iter()
                .find(|key| key.kid == *kid)
                .with_context(|| format!("app `{}` has no key `{kid}`; it has: {}", app.id, kids()))?,
            (None, [only]) => only,
            (None, []) if !app.key_sets.is_empty() => bail!(
                "the keys of app `{}` are in a JWK Set, without what signs: leave --config out, and name --alg, --kid \
                 and --private-key-file",
                app.id
            ),
            (None, []) => bail!("app `{}` has no key, and asks for no token", app.id),
            (None, _) => bail!("app `{}` has several keys, say which with --kid: {}", app.id, kids()),
        };
        ensure!(
            self.profile.is_none_or(|profile| profile == key.profile),
            "`{}` is not for tokens of this --profile: see `profile` under [[apps.keys]]",
            key.kid
        );
        Ok(key.clone())
    }

    fn given_key(&self) -> anyhow::Result<KeySummary> {
        let (Some(alg), Some(kid)) = (self.alg, self.kid.clone()) else {
            bail!("without --config, --alg and --kid say what to sign with");
        };
        let profile = self.profile.unwrap_or_default();
        ensure!(
            profile == Profile::Fat || (self.issuer.is_none() && self.audience.is_none()),
            "Twilio tokens have no --audience, and their issuer is the API key's SID, which is --kid"
        );
        let secret = match &self.secret_file {
            Some(file) if alg.is_hmac() => {
                let secret = read_secret(file).with_context(|| format!("cannot read {}", file.display()))?;
                // The rules that the gate has for its secrets.
                let key = match profile {
                    Profile::Fat => VerifyingKey::hmac(&kid, alg, &secret),
                    Profile::Twilio => VerifyingKey::twilio(&kid, alg, &secret),
                };
                key.with_context(|| format!("{} is no key", file.display()))?;
                Some(secret)
            }
            Some(_) => bail!("{alg} takes --private-key-file, not --secret-file"),
            None => None,
        };
        let (issuer, audience) = (self.issuer.clone(), self.audience.clone());
        Ok(KeySummary { kid, alg, profile, secret, private_key: None, issuer, audience })
    }

    fn claims(&self, key: &KeySummary, max_ttl: Duration, uid_case: UidCase, iat: u64) -> anyhow::Result<Value> {
        let uid = uid_case.normalize(&self.uid).context("--uid must have 1 to 255 visible ASCII characters")?;
        self.check_ttl(max_ttl)?;
        for (name, id) in [("--app", Some(&self.app)), ("--sid", self.sid.as_ref()), ("--jti", self.jti.as_ref())] {
            ensure!(id.is_none_or(|id| (1..=255).contains(&id.len())), "{name} must have 1 to 255 bytes");
        }
        for path in &self.paths {
            PathScope::parse(path).with_context(|| format!("--path {path:?}"))?;
            let app = path.strip_prefix('/').and_then(|path| path.split('/').next());
            ensure!(
                app.is_none_or(|app| app == "*" || app == self.app),
                "--path {path:?} is in another app: begin it with `/{}/`, or leave out the app and the `/` before it",
                self.app
            );
        }
        let mut claims = Map::new();
        claims.insert("sub".into(), json!(uid));
        claims.insert("app".into(), json!(self.app));
        claims.insert("iat".into(), json!(iat));
        claims.insert("exp".into(), json!(iat + self.ttl.as_secs()));
        let optional = [("iss", &key.issuer), ("aud", &key.audience), ("sid", &self.sid), ("jti", &self.jti)];
        claims.extend(optional.iter().filter_map(|(name, value)| Some(((*name).into(), json!(value.as_ref()?)))));
        match self.paths.as_slice() {
            [] => {}
            [only] => drop(claims.insert("path".into(), json!(only))),
            paths => drop(claims.insert("path".into(), json!(paths))),
        }
        Ok(Value::Object(claims))
    }

    fn check_ttl(&self, max_ttl: Duration) -> anyhow::Result<()> {
        ensure!(
            self.ttl <= max_ttl,
            "--ttl of {} seconds is longer than a token may live: {} seconds (max_token_ttl_secs)",
            self.ttl.as_secs(),
            max_ttl.as_secs()
        );
        Ok(())
    }

    /// A Twilio access token; the identity stands in it as it was given.
    fn access_token(&self, key: &KeySummary, max_ttl: Duration, now: u64) -> anyhow::Result<String> {
        let identity = UidCase::Exact.normalize(&self.uid);
        identity.context("--uid must have 1 to 255 visible ASCII characters")?;
        self.check_ttl(max_ttl.min(MAX_TWILIO_TTL))?;
        ensure!(
            self.paths.is_empty() && self.sid.is_none() && self.jti.is_none(),
            "--path, --sid and --jti are for FATs: a Twilio access token has a `jti` of its own, and no path or session"
        );
        let signing_key = self.signing_key(key)?;
        let ttl = self.ttl.as_secs();
        let (key_sid, account_sid, identity) = (&*key.kid, &*self.account_sid, &*self.uid);
        let token = AccessToken { key_sid, account_sid, identity, now, ttl };
        token.signed(registered(key.alg), key.alg.name(), &signing_key)
    }

    fn signing_key(&self, key: &KeySummary) -> anyhow::Result<EncodingKey> {
        Ok(match (&key.secret, &self.private_key_file) {
            (Some(_), Some(_)) => bail!("`{}` is a key for {}: --private-key-file is not for it", key.kid, key.alg),
            (Some(secret), None) => EncodingKey::from_secret(secret.expose()),
            (None, Some(file)) => private_key(key.alg, file)?,
            (None, None) if key.alg.is_hmac() => bail!("{} needs --secret-file", key.alg),
            (None, None) => key.private_key.clone().with_context(|| {
                format!(
                    "`{}` is a key for {}: sign with --private-key-file, or give it a `private_key_file`",
                    key.kid, key.alg
                )
            })?,
        })
    }

    fn sign(&self, key: &KeySummary, claims: &Value) -> anyhow::Result<String> {
        let signing_key = self.signing_key(key)?;
        let compact = jsonwebtoken::encode(&header(key), claims, &signing_key);
        compact.ok().with_context(|| format!("cannot sign: the private key is no key for {}", key.alg))
    }
}

fn header(key: &KeySummary) -> jsonwebtoken::Header {
    let mut header = jsonwebtoken::Header::new(registered(key.alg));
    header.kid = Some(key.kid.clone());
    header
}

fn app<'a>(config: &'a Config, id: &str) -> anyhow::Result<&'a AppSummary> {
    config.apps.iter().find(|app| app.id == id).with_context(|| {
        let ids: Vec<_> = config.apps.iter().map(|app| app.id.as_str()).collect();
        format!("there is no app `{id}`; there is: {}", ids.join(", "))
    })
}

/// What is printed is accepted: above all, the private key belongs to the public one that the gate has.
fn check(gate: &Gate, app: &str, compact: &str, now: Now) -> anyhow::Result<()> {
    use crate::gate::VerifyError;
    match gate.verify(app, compact, now) {
        Err(VerifyError::BadSignature) => bail!("the private key is not the one that the gate has the public key of"),
        verified => verified.context("the gate would not accept this token"),
    }
}

fn private_key(alg: Algorithm, file: &Path) -> anyhow::Result<EncodingKey> {
    let pem = read_pem(file).with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(!alg.is_hmac(), "{alg} takes a secret, not a private key");
    encoding_key(alg, &pem).with_context(|| {
        format!("{} is no private key for {alg} in PEM and PKCS #8 (`openssl pkcs8 -topk8 -nocrypt`)", file.display())
    })
}

fn profile(name: &str) -> Result<Profile, &'static str> {
    match name {
        "fat" => Ok(Profile::Fat),
        "twilio" => Ok(Profile::Twilio),
        _ => Err("must be fat or twilio"),
    }
}

/// Reads `90s`, `15m`, `12h` or `1d`.
pub(in crate::cli) fn duration(text: &str) -> Result<Duration, String> {
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let unit = units.iter().find_map(|(letter, secs)| Some((text.strip_suffix(*letter)?, *secs)));
    let secs = unit.and_then(|(number, secs)| {
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        number.parse::<u64>().ok().filter(|_| digits)?.checked_mul(secs)
    });
    match secs {
        Some(secs) if secs > 0 => Ok(Duration::from_secs(secs)),
        _ => Err("must be a whole number and a unit, like 90s, 15m, 12h or 1d, and not 0".to_owned()),
    }
}
