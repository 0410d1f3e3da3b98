//! `mediagate user`: deactivate and activate users of a running gateway, through its control listener.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use serde_json::Value;

use crate::client::ClientError;
use crate::client::transport::{Http, Times};
use crate::control::MAX_UIDS;
use crate::secret::Secret;

/// The variable that holds the API key where no file is named.
const KEY_VARIABLE: &str = "MEDIAGATE_API_KEY";

/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

const TIMES: Times = Times { connect: Duration::from_secs(5), answer: Duration::from_secs(30) };

const EXAMPLES: &str = "\
Examples:
  MEDIAGATE_API_KEY=$(cat secrets/backend.key) mediagate user deactivate bob
  mediagate user deactivate bob carol --api-key-file secrets/backend.key --app acme
  mediagate user activate bob --control http://10.0.0.5:8081 --api-key-file secrets/backend.key
  mediagate user activate bob --control https://10.0.0.5:8081 --ca-file ca.pem --api-key-file secrets/backend.key";

/// What to do with users.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum UserCommand {
    /// Makes every link of these users dead, at once; the links of others go on working.
    #[command(after_help = EXAMPLES)]
    Deactivate(UserArgs),
    /// Lets links of these users work again, as far as they have not expired.
    #[command(after_help = EXAMPLES)]
    Activate(UserArgs),
}

/// Whom, and where.
#[derive(Debug, Clone, clap::Args)]
pub struct UserArgs {
    /// The users.
    #[arg(value_name = "UID", required = true)]
    pub uids: Vec<String>,
    /// The control listener of the gateway.
    #[arg(long, value_name = "URL", env = "MEDIAGATE_CONTROL", default_value = "http://127.0.0.1:8081")]
    pub control: String,
    /// A file with the certificates (PEM) of the authority that an https:// address is trusted by; without it, the system's.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// A file with an API key of scope `fullAccess`; without it the key is taken from MEDIAGATE_API_KEY.
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// The users' app; needed where the gateway has several.
    #[arg(long, value_name = "APP")]
    pub app: Option<String>,
}

/// One way of changing users: how it is asked for, and what its answers mean.
struct Verb {
    method: Method,
    field: &'static str,
    /// For each list of an answer what it means, with `{}` for the user.
    outcomes: [(&'static str, &'static str); 2],
}

const DEACTIVATE: Verb = Verb {
    method: Method::DELETE,
    field: "uidsToDeactivate",
    outcomes: [
        ("deactivatedUids", "{} is deactivated: every link of {}'s is dead."),
        ("alreadyDeactivatedUids", "{} was deactivated already."),
    ],
};

const ACTIVATE: Verb = Verb {
    method: Method::PUT,
    field: "uidsToActivate",
    outcomes: [
        ("reactivatedUids", "{} is active again: links of {}'s that have not expired work."),
        ("nonDeactivatedUids", "{} was active already."),
    ],
};

impl UserCommand {
    /// Does it, and prints a line for each user.
    ///
    /// # Errors
    ///
    /// When it cannot be done for some user, with what to do about it.
    pub async fn run(self) -> anyhow::Result<()> {
        let (verb, args) = self.into_parts();
        let key = ApiKey::find(args.api_key_file.as_deref())?;
        for uids in args.uids.chunks(MAX_UIDS) {
            for line in call(&verb, &args, &key, uids).await? {
                println!("{line}");
            }
        }
        Ok(())
    }

    fn into_parts(self) -> (Verb, UserArgs) {
        match self {
            UserCommand::Deactivate(args) => (DEACTIVATE, args),
            UserCommand::Activate(args) => (ACTIVATE, args),
        }
    }
}

/// The key, and where it is from, for those whose key is refused.
struct ApiKey {
    key: Secret,
    origin: String,
}

impl ApiKey {
    fn find(file: Option<&Path>) -> anyhow::Result<ApiKey> {
        let (key, origin) = match file {
            Some(path) => {
                let content = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
                (Secret::from_file_content(content), format!("`{}`", path.display()))
            }
            None => {
                let key = std::env::var(KEY_VARIABLE).map_err(|_| {
                    anyhow!("no API key: name its file with --api-key-file, or put the key into {KEY_VARIABLE}")
                })?;
                (Secret::from_file_content(key.into_bytes()), KEY_VARIABLE.to_owned())
            }
        };
        if key.expose().is_empty() {
            bail!("there is no API key in {origin}");
        }
        Ok(ApiKey { key, origin })
    }
}

/// Makes one call; returns a line for each user.
async fn call(verb: &Verb, args: &UserArgs, key: &ApiKey, uids: &[String]) -> anyhow::Result<Vec<String>> {
    let control = args.control.trim_end_matches('/');
    if !["http://", "https://"].iter().any(|scheme| control.starts_with(scheme)) {
        bail!("--control takes an address like http://127.0.0.1:8081, not `{control}`");
    }
    let mut request = Request::builder()
        .method(&verb.method)
        .uri(format!("{control}/v3/users"))
        .header(header::CONTENT_TYPE, "application/json")
        .header("apikey", key.key.expose());
    if let Some(app) = &args.app {
        request = request.header("appId", app);
    }
    let body = serde_json::json!({ verb.field: uids }).to_string();
    let request = request
        .body(Full::new(Bytes::from(body)))
        .map_err(|_| anyhow!("--control, --app or the API key in {} cannot be sent in a request", key.origin))?;

    let exchange = connections(args)?.exchange(request, MAX_ANSWER_BYTES).await;
    let (status, body) = exchange.map_err(|error| no_answer(control, error))?;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    match (status, &answer["data"], &answer["error"]) {
        (StatusCode::OK, data @ Value::Object(_), _) => Ok(lines(verb, data)),
        (status, _, error @ Value::Object(_)) => Err(refusal(status, error, control, key)),
        (status, ..) => bail!(
            "{control} answered {status}, and not as a control listener does: is --control the address under \
             [control], not the one under [media]?"
        ),
    }
}

fn connections(args: &UserArgs) -> anyhow::Result<Http> {
    let Some(file) = &args.ca_file else { return Ok(Http::new(None, TIMES)?) };
    let pem = std::fs::read(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    Http::new(Some(&pem), TIMES).map_err(|_| anyhow!("there is no certificate in PEM in `{}`", file.display()))
}

fn no_answer(control: &str, error: ClientError) -> anyhow::Error {
    if !matches!(error, ClientError::Unreachable { .. }) {
        return error.into();
    }
    let advice = format!(
        "cannot talk to {control}: is `mediagate serve` running with [control] listen at that address, and with TLS if \
         it is https:// (--ca-file names a private authority)? Name another with --control or MEDIAGATE_CONTROL"
    );
    anyhow::Error::new(error).context(advice)
}

/// What the users of a call have become, in words.
fn lines(verb: &Verb, data: &Value) -> Vec<String> {
    let list = |name: &str| data[name].as_array().into_iter().flatten().filter_map(Value::as_str);
    let unregistered =
        ("notFound", "note: {} is not registered here. What was done holds for links that others sign, too.");
    let outcomes = verb.outcomes.iter().chain([&unregistered]);
    outcomes.flat_map(|(name, words)| list(name).map(|uid| words.replace("{}", uid))).collect()
}

/// A refusal in words, with what to do about it.
fn refusal(status: StatusCode, error: &Value, control: &str, key: &ApiKey) -> anyhow::Error {
    let origin = &key.origin;
    let code = error["code"].as_str().unwrap_or("no code");
    let message = error["message"].as_str().unwrap_or("without a word");
    match code {
        "AUTH_ERR_APIKEY_NOT_FOUND" | "AUTH_ERR_EMPTY_APIKEY" => anyhow!(
            "{control} does not know the API key in {origin}: it takes those of the `key_file`s under \
             [[control.api_keys]]; name the file with --api-key-file or put the key into {KEY_VARIABLE}"
        ),
        "AUTH_ERR_NO_ACCESS" => {
            anyhow!("the API key in {origin} may not do this: take one with scope = \"fullAccess\"")
        }
        "AUTH_ERR_EMPTY_APPID" => anyhow!("{control} has several apps: name the users' one with --app"),
        "AUTH_ERR_INVALID_APPID" => anyhow!("{control} has no such app: --app takes an `id` under [[apps]]"),
        _ => {
            let reasons = error["details"].as_object().into_iter().flat_map(|details| details.values());
            let reasons = reasons.filter_map(Value::as_array).flatten().filter_map(Value::as_str);
            let reasons: String = reasons.map(|reason| format!("\n  {reason}")).collect();
            anyhow!("{control} refused ({status}, {code}): {message}{reasons}")
        }
    }
}

#[cfg(test)]
mod tests;
