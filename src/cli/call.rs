//! Calls to the control listener of a running gateway, for the commands that make them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use serde_json::Value;

use crate::client::ClientError;
use crate::client::transport::{Http, Times};
use crate::secret::Secret;

/// The variable that holds the API key where no file is named.
const KEY_VARIABLE: &str = "MEDIAGATE_API_KEY";

/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

const TIMES: Times = Times { connect: Duration::from_secs(5), answer: Duration::from_secs(30) };

/// Where to call, and as whom.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ControlArgs {
    /// The control listener of the gateway.
    #[arg(long, value_name = "URL", env = "MEDIAGATE_CONTROL", default_value = "http://127.0.0.1:8081")]
    pub control: String,
    /// A file with the certificates (PEM) of the authority that an https:// address is trusted by; without it, the system's.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// A file with an API key of scope `fullAccess`; without it the key is taken from MEDIAGATE_API_KEY.
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// The app; needed where the gateway has several.
    #[arg(long, value_name = "APP")]
    pub app: Option<String>,
}

/// The key, and where it is from, for those whose key is refused.
pub(crate) struct ApiKey {
    pub(crate) key: Secret,
    pub(crate) origin: String,
}

impl ApiKey {
    pub(crate) fn find(file: Option<&Path>) -> anyhow::Result<ApiKey> {
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

/// Makes one call; returns the `data` of the answer. `path` follows the version: `/users`.
pub(crate) async fn call(
    args: &ControlArgs,
    key: &ApiKey,
    method: &Method,
    path: &str,
    body: Option<&Value>,
) -> anyhow::Result<Value> {
    let control = args.control.trim_end_matches('/');
    if !["http://", "https://"].iter().any(|scheme| control.starts_with(scheme)) {
        bail!("--control takes an address like http://127.0.0.1:8081, not `{control}`");
    }
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{control}/v3{path}"))
        .header(header::CONTENT_TYPE, "application/json")
        .header("apikey", key.key.expose());
    if let Some(app) = &args.app {
        request = request.header("appId", app);
    }
    let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
    let request = request
        .body(Full::new(body))
        .map_err(|_| anyhow!("--control, --app or the API key in {} cannot be sent in a request", key.origin))?;
    let exchange = connections(args)?.exchange(request, MAX_ANSWER_BYTES).await;
    let (status, body) = exchange.map_err(|error| no_answer(control, error))?;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_default();
    match (status, &answer["data"], &answer["error"]) {
        (StatusCode::OK, data @ Value::Object(_), _) => Ok(data.clone()),
        (status, _, error @ Value::Object(_)) => Err(refusal(status, error, control, key)),
        (status, ..) => bail!(
            "{control} answered {status}, and not as a control listener does: is --control the address under \
             [control], not the one under [media]?"
        ),
    }
}

fn connections(args: &ControlArgs) -> anyhow::Result<Http> {
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
        "AUTH_ERR_EMPTY_APPID" => anyhow!("{control} has several apps: name one with --app"),
        "AUTH_ERR_INVALID_APPID" => anyhow!("{control} has no such app: --app takes an `id` under [[apps]]"),
        _ => {
            let reasons = error["details"].as_object().into_iter().flat_map(|details| details.values());
            let reasons = reasons.filter_map(Value::as_array).flatten().filter_map(Value::as_str);
            let reasons: String = reasons.map(|reason| format!("\n  {reason}")).collect();
            anyhow!("{control} refused ({status}, {code}): {message}{reasons}")
        }
    }
}
