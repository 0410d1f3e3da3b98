//! A token → what it says, for people.

use std::fmt::Write as _;
use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use serde_json::Value;

use super::unix_seconds;
use crate::config::{AppSummary, Config};
use crate::gate::{self, MAX_TOKEN_BYTES, Now, Profile, VerifyError};
use crate::jwks::{KeySetOptions, KeySetSource};

const EXAMPLES: &str = "\
Exit status: 0 for a token that is accepted, or not verified; 1 for one that is refused.
The verdict is on the token alone: whether its user is deactivated, only the running gate knows.

Examples:
  mediagate token mint --config conf/mediagate.toml --app acme --kid k1 --uid alice | mediagate token inspect
  mediagate token inspect --config conf/mediagate.toml - < token.txt";

/// Options of `token inspect`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct InspectArgs {
    /// The token, or `-` to read it from standard input: better, because arguments show in `ps` and in the shell's
    /// history
    #[arg(default_value = "-", hide_default_value = true)]
    token: String,
    /// Configuration with the keys to verify it with
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// App to verify it for; without, the token's own `app`, or the only app of the configuration
    #[arg(long, requires = "config")]
    app: Option<String>,
}

impl InspectArgs {
    /// Returns what to print, and whether the token is accepted as far as that was asked.
    pub(super) fn inspect(self, now: Now) -> anyhow::Result<(String, bool)> {
        let config = self.config.as_deref().map(Config::load).transpose()?;
        let token = if self.token == "-" { read_token(std::io::stdin())? } else { self.token };
        let parts: Vec<_> = token.split('.').collect();
        let header = parts.first().and_then(|part| decoded(part));
        let claims = parts.get(1).and_then(|part| decoded(part));

        let mut output = String::new();
        for (name, part) in [("header", &header), ("claims", &claims)] {
            let shown = part.as_ref().map_or("not JSON in base64url".to_owned(), |part| format!("{part:#}"));
            writeln!(output, "{name}: {}", visible(&shown))?;
        }
        let is_twilio = header.as_ref().is_some_and(|header| header["cty"] == "twilio-fpa;v=1");
        let text = |pointer: &str| claims.as_ref().and_then(|claims| claims.pointer(pointer)?.as_str());
        if is_twilio {
            let shown = |pointer| visible(text(pointer).unwrap_or("none"));
            writeln!(output, "profile: Twilio access token of the API key {}", shown("/iss"))?;
            writeln!(output, "user: {} (grants.identity)", shown("/grants/identity"))?;
            let minted = text("/jti").and_then(|jti| jti.rsplit_once('-')?.1.parse::<u64>().ok());
            if let Some(minted) = minted {
                writeln!(output, "minted: {} (by its jti)", human(minted as f64, unix_seconds(now)))?;
            }
        }
        for (name, meaning) in [("iat", "issued"), ("nbf", "good from"), ("exp", "expires")] {
            if let Some(time) = claims.as_ref().and_then(|claims| claims.get(name)?.as_f64()) {
                writeln!(output, "{meaning}: {}", human(time, unix_seconds(now)))?;
            }
        }
        let verdict = match &config {
            Some(config) => {
                let claimed = match is_twilio {
                    true => text("/iss").and_then(|sid| app_of_twilio_key(config, sid)),
                    false => text("/app"),
                };
                verify(config, self.app.as_deref(), claimed, &token, now)?
            }
            None => match gate::unverified_payload(&token) {
                Ok(_) => Ok("not verified: no --config".to_owned()),
                Err(error) => Err(refusal(error)),
            },
        };
        match &verdict {
            Ok(verdict) => writeln!(output, "verdict: {verdict}")?,
            Err(why) => writeln!(output, "verdict: refused: {why}")?,
        }
        Ok((output, verdict.is_ok()))
    }
}

/// Verifies `token` for the app that is meant.
fn verify(
    config: &Config,
    given: Option<&str>,
    claimed: Option<&str>,
    token: &str,
    now: Now,
) -> anyhow::Result<Result<String, String>> {
    let apps: Vec<_> = config.apps.iter().map(|app| app.id.as_str()).collect();
    let only = match apps[..] {
        [only] => Some(only),
        _ => None,
    };
    let app = given.or(claimed.filter(|claimed| apps.contains(claimed))).or(only);
    let app = app.context("the token is for no app of the configuration; say which to try with --app")?;
    ensure!(apps.contains(&app), "there is no app `{app}`; there is: {}", apps.join(", "));
    let is_fetched = |set: &&KeySetOptions| set.app == app && matches!(set.source, KeySetSource::Url(_));
    Ok(match config.gate.verify(app, token, now) {
        Err(error @ VerifyError::UnknownKey) if config.keys.sets.iter().find(is_fetched).is_some() => {
            Err(format!("{}, without those of `jwks_url`: they are not fetched here", refusal(error)))
        }
        Err(error) => Err(refusal(error)),
        Ok(()) if claimed.is_some_and(|claimed| claimed != app) => {
            Err(format!("the keys of `{app}` verify it, but it is for another app"))
        }
        Ok(()) => Ok(format!("accepted for app `{app}`")),
    })
}

/// The app that the API key `sid` belongs to.
fn app_of_twilio_key<'a>(config: &'a Config, sid: &str) -> Option<&'a str> {
    let has_key = |app: &&AppSummary| app.keys.iter().any(|key| key.profile == Profile::Twilio && key.kid == sid);
    config.apps.iter().find(has_key).map(|app| app.id.as_str())
}

/// The check that failed, and what metrics call it.
fn refusal(error: VerifyError) -> String {
    format!("{error} ({})", error.reason())
}

/// Reads a token, and whatever space is around it.
fn read_token(input: impl Read) -> anyhow::Result<String> {
    let mut token = String::new();
    let most = MAX_TOKEN_BYTES as u64 + 1024;
    input.take(most).read_to_string(&mut token).context("cannot read a token from standard input")?;
    ensure!((token.len() as u64) < most, "standard input is longer than any token");
    Ok(token.trim().to_owned())
}

fn decoded(part: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// Returns `text` with what could move a terminal's cursor, or turn text around, written as an escape.
fn visible(text: &str) -> String {
    let harmless = |c: char| {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        c == '\n' || !(c.is_control() || turns)
    };
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if harmless(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_unicode());
        }
        shown
    })
}

/// `2023-11-14T22:13:20Z (in 3600 seconds)`.
pub(super) fn human(time: f64, now: u64) -> String {
    const LAST: f64 = 253_402_300_799.0;
    if !(0.0..=LAST).contains(&time) {
        return "no time between the years 1970 and 9999".to_owned();
    }
    let time = time as u64;
    let relative = match time.checked_sub(now) {
        Some(0) => "now".to_owned(),
        Some(ahead) => format!("in {}", span(ahead)),
        None => format!("{} ago", span(now - time)),
    };
    format!("{} ({relative})", utc(time))
}

/// The largest unit that fits, and the next: `1 h 5 min`.
fn span(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs} s"),
        60..3600 => format!("{} min {} s", secs / 60, secs % 60),
        3600..86_400 => format!("{} h {} min", secs / 3600, secs / 60 % 60),
        _ => format!("{} d {} h", secs / 86_400, secs / 3600 % 24),
    }
}

/// RFC 3339, in UTC.
pub(super) fn utc(time: u64) -> String {
    let (days, secs) = (time / 86_400, time % 86_400);
    // Days are counted from 0000-03-01, so that the leap day ends a year; an era has 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", secs / 3600, secs / 60 % 60, secs % 60)
}
