//! `mediagate user`: deactivate and activate users of a running gateway, through its control listener.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use http::Method;
use serde_json::{Value, json};

use super::call::{ApiKey, ControlArgs, call};
use crate::config::files::read;
use crate::control::MAX_UIDS;

/// Longest list of users, in bytes.
const MAX_LIST_BYTES: u64 = 64 << 20;

const EXAMPLES: &str = "\
Examples:
  MEDIAGATE_API_KEY=$(cat secrets/backend.key) mediagate user deactivate bob
  mediagate user deactivate bob carol --api-key-file secrets/backend.key --app acme
  mediagate user deactivate --from revoked.txt --api-key-file secrets/backend.key
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
    #[arg(value_name = "UID", required_unless_present = "from")]
    pub uids: Vec<String>,
    /// A file with more of them, one a line; a call takes 1,000.
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    #[command(flatten)]
    pub(super) control: ControlArgs,
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
        let key = ApiKey::find(args.control.api_key_file.as_deref())?;
        let uids = args.uids()?;
        for uids in uids.chunks(MAX_UIDS) {
            for line in change(&verb, &args, &key, uids).await? {
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

impl UserArgs {
    /// Everyone who is named, here or in the file.
    fn uids(&self) -> anyhow::Result<Vec<String>> {
        let mut uids = self.uids.clone();
        if let Some(file) = &self.from {
            let content = read(file, MAX_LIST_BYTES).with_context(|| format!("cannot read `{}`", file.display()))?;
            let text = String::from_utf8(content).ok().with_context(|| format!("`{}` is not text", file.display()))?;
            uids.extend(text.lines().map(str::trim).filter(|uid| !uid.is_empty()).map(str::to_owned));
            ensure!(!uids.is_empty(), "there is no uid in `{}`", file.display());
        }
        Ok(uids)
    }
}

/// Makes one call; returns a line for each user.
async fn change(verb: &Verb, args: &UserArgs, key: &ApiKey, uids: &[String]) -> anyhow::Result<Vec<String>> {
    let body = json!({ verb.field: uids });
    let data = call(&args.control, key, &verb.method, "/users", Some(&body)).await?;
    Ok(lines(verb, &data))
}

/// What the users of a call have become, in words.
fn lines(verb: &Verb, data: &Value) -> Vec<String> {
    let list = |name: &str| data[name].as_array().into_iter().flatten().filter_map(Value::as_str);
    let unregistered =
        ("notFound", "note: {} is not registered here. What was done holds for links that others sign, too.");
    let outcomes = verb.outcomes.iter().chain([&unregistered]);
    outcomes.flat_map(|(name, words)| list(name).map(|uid| words.replace("{}", uid))).collect()
}

#[cfg(test)]
mod tests;
