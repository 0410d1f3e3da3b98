//! `mediagate targets`: lists of URLs with tokens of their own, for load generators.

mod output;
mod pool;
mod sign;
mod tools;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use clap::{Args, ValueEnum};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::token::mint::{MintArgs, duration};
use super::token::now;
use crate::gate::Now;
use output::{NewFile, Progress, beside};
use pool::{Choice, Pool};
use sign::{Kind, Signer};
use tools::Tool;

const EXAMPLES: &str = "\
Examples:
  mediagate targets --config conf/mediagate.toml --app acme --kid k1 --url http://127.0.0.1:8080 --tool wrk --out wrk
  mediagate targets --config conf/mediagate.toml --app acme --kid k1 --url http://127.0.0.1:8080 --tool oha --out oha \\
      --count 1000000 --users 200000 --objects keys.txt --objects-by zipf:1.1 --revoked 0.01
  mediagate targets --config conf/mediagate.toml --app acme --kid k1 --url http://127.0.0.1:8080 --tool vegeta --out bad \\
      --mode header --objects /srv/media/acme --bad 0.05 --bad-as expired

It writes OUT.txt (the list) and, for wrk and k6, OUT.lua or OUT.js, and says how to run the tool. With --revoked also
OUT.revoked.txt (one user a line: `mediagate user deactivate --from OUT.revoked.txt`) and OUT.revoked.json (bodies of
`DELETE /v3/users`, one a line, of 1,000 users each). All of it is written anew each time and readable by nobody else:
the tokens in it are good. docs/load-testing.md has a whole run.";

/// Options of `targets`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TargetsArgs {
    /// Configuration with the app and its keys, as for `token mint`
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// App that the tokens are for: the first segment of its URLs
    #[arg(long)]
    app: String,
    /// Name of the key to sign with; not needed where the app has a single one
    #[arg(long)]
    kid: Option<String>,
    /// Private key (PEM, PKCS #8), where the key is one for RS256, PS256, ES256, ES384 or EdDSA
    #[arg(long, value_name = "PEM")]
    private_key_file: Option<PathBuf>,
    /// Scheme, host and port of the media listener
    #[arg(long, value_name = "URL")]
    url: String,
    /// Load generator that the list is for
    #[arg(long)]
    tool: Tool,
    /// Name of the files to write, without an ending
    #[arg(long, value_name = "OUT")]
    out: PathBuf,
    /// Requests in the list
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    count: u64,
    /// How many users, or a file with one uid a line
    #[arg(long, value_name = "N|FILE", default_value = "10000")]
    users: String,
    /// How often each user: uniform, zipf, or zipf:EXPONENT
    #[arg(long, value_name = "HOW", default_value = "uniform")]
    users_by: Choice,
    /// Name of the users that are only counted, with {} for the number
    #[arg(long, value_name = "NAME", default_value = "user-{}")]
    user_name: String,
    /// How many objects, a file with one key a line (as below the app), or a folder that lies in the storage as the app's
    #[arg(long, value_name = "N|FILE|DIR", default_value = "1000")]
    objects: String,
    /// How often each object: uniform, zipf, or zipf:EXPONENT
    #[arg(long, value_name = "HOW", default_value = "uniform")]
    objects_by: Choice,
    /// Name of the objects that are only counted, with {} for the number
    #[arg(long, value_name = "NAME", default_value = "media/{}.bin")]
    object_name: String,
    /// Where the token is: embedded (?fat=), header (fat:), or in a presigned URL of the gate's
    #[arg(long, default_value = "embedded")]
    mode: Mode,
    /// How long tokens are good, from now: 90s, 15m, 12h, 1d (default 1h; presigned: `ttl_secs` under [presigned])
    #[arg(long, value_parser = duration)]
    ttl: Option<Duration>,
    /// One token for each user, in place of one for each request
    #[arg(long)]
    token_per_user: bool,
    /// Share of requests that the gate is to refuse with 401 (presigned: 403), 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    bad: f64,
    /// What is wrong with them
    #[arg(long, default_value = "signature")]
    bad_as: BadAs,
    /// Share of the users to be deactivated while the load runs, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    revoked: f64,
    /// The same number makes the same choices
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Where the credential of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Embedded,
    Header,
    Presigned,
}

/// What is wrong with a bad request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BadAs {
    Signature,
    Expired,
}

/// What a list has come to hold, by what the gate answers.
#[derive(Debug, Default)]
struct Counts {
    good: u64,
    bad: u64,
    /// Of the good ones, those of users who are to be deactivated.
    revoked: u64,
}

impl TargetsArgs {
    /// Writes the list and what belongs to it, and says what it wrote.
    ///
    /// # Errors
    ///
    /// What a person has to mend; then no file is new.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let said = self.write(now())?;
        std::io::stdout().lock().write_all(said.as_bytes())?;
        Ok(())
    }

    fn write(&self, now: Now) -> anyhow::Result<String> {
        ensure!(
            !(self.tool == Tool::Oha && self.mode == Mode::Header),
            "oha has no header for each URL: use --mode embedded or presigned, or another --tool"
        );
        let origin = self.origin()?;
        let users = Pool::users(&self.users, &self.user_name)?;
        let objects = Pool::objects(&self.objects, &self.object_name, &self.app)?;
        let signer = self.signer(origin, now)?;
        let revoked = users.sample(self.revoked, self.seed);

        let list = beside(&self.out, "txt")?;
        let mut file = NewFile::create(&list)?;
        let counts = self.list(&mut file, &users, &objects, &signer, &revoked)?;
        let mut files = vec![file];
        if let Some((ending, text)) = self.tool.script(&list)? {
            files.push(NewFile::with(&beside(&self.out, ending)?, text.as_bytes())?);
        }
        let mut said = self.summary(&list, &counts);
        if revoked.contains(&true) {
            let uids: Vec<String> =
                users.names().zip(&revoked).filter(|(_, is_revoked)| **is_revoked).map(|(uid, _)| uid).collect();
            let (text, json) = (beside(&self.out, "revoked.txt")?, beside(&self.out, "revoked.json")?);
            files.push(NewFile::with(&text, (uids.join("\n") + "\n").as_bytes())?);
            files.push(NewFile::with(&json, tools::deactivations(&uids).as_bytes())?);
            said += &format!(
                "{} users are to be deactivated, and are in {} of the good requests:\n  mediagate user deactivate \
                 --from {} --app {}\n",
                uids.len(),
                counts.revoked,
                text.display(),
                self.app
            );
        }
        for file in files {
            file.finish()?;
        }
        Ok(said)
    }

    /// The base URL without the `/` at its end.
    fn origin(&self) -> anyhow::Result<&str> {
        let origin = self.url.strip_suffix('/').unwrap_or(&self.url);
        let rest = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        let is_sound = |host: &str| !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
        ensure!(
            rest.is_some_and(|host| is_sound(host) && !host.contains(['/', '?', '#', '@'])),
            "--url takes scheme, host and port, like http://127.0.0.1:8080, not {:?}",
            self.url
        );
        Ok(origin)
    }

    fn signer(&self, origin: &str, now: Now) -> anyhow::Result<Signer> {
        let ttl = self.ttl.unwrap_or(Duration::from_secs(3600));
        if self.mode == Mode::Presigned {
            ensure!(
                self.ttl.is_none() && self.kid.is_none() && self.private_key_file.is_none() && !self.token_per_user,
                "--ttl, --kid, --private-key-file and --token-per-user are for tokens: presigned URLs have the key and \
                 the ttl_secs under [presigned], and are the same for the same user and object"
            );
            return Signer::presigned(&self.config, &self.app, origin, now);
        }
        let mint = MintArgs::configured(self.config.clone(), self.app.clone(), self.kid.clone(), "targets".to_owned());
        let batch = mint.with(ttl, self.private_key_file.clone()).batch(now)?;
        Signer::tokens(batch, (!self.token_per_user).then_some(self.seed))
    }

    /// Writes a line (or what stands for one) for each request.
    fn list(
        &self,
        file: &mut NewFile,
        users: &Pool,
        objects: &Pool,
        signer: &Signer,
        revoked: &[bool],
    ) -> anyhow::Result<Counts> {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let (by_user, by_object) = (self.users_by.among(users.len())?, self.objects_by.among(objects.len())?);
        let is_presigned = self.mode == Mode::Presigned;
        let mut progress = Progress::new(self.count);
        let mut counts = Counts::default();
        let mut line = String::new();
        for number in 0..self.count {
            // Always all three, so that other options leave the choices as they are.
            let (user, object) = (by_user.draw(&mut random), by_object.draw(&mut random));
            let is_bad = random.random_bool(self.bad);
            let kind = match (is_bad, self.bad_as) {
                (false, _) => Kind::Good,
                (true, BadAs::Signature) => Kind::Forged,
                (true, BadAs::Expired) => Kind::Expired,
            };
            counts.good += u64::from(!is_bad);
            counts.bad += u64::from(is_bad);
            counts.revoked += u64::from(!is_bad && revoked.get(user).is_some_and(|is_revoked| *is_revoked));
            let (uid, key) = (users.name(user), objects.name(object));
            let credential = signer.sign(&uid, &key, number, kind)?;
            let path = if is_presigned { credential.clone() } else { format!("/{}/{key}", self.app) };
            line.clear();
            match self.mode {
                Mode::Presigned => self.tool.line(&mut line, self.origin()?, &path, None),
                Mode::Header => self.tool.line(&mut line, self.origin()?, &path, Some(&credential)),
                Mode::Embedded => self.tool.line(&mut line, self.origin()?, &format!("{path}?fat={credential}"), None),
            }
            file.write(line.as_bytes())?;
            progress.made(number + 1);
        }
        Ok(counts)
    }

    fn summary(&self, list: &Path, counts: &Counts) -> String {
        let bad = match (counts.bad, self.bad_as) {
            (0, _) => String::new(),
            (bad, BadAs::Signature) => format!(", {bad} with a bad signature"),
            (bad, BadAs::Expired) => format!(", {bad} expired"),
        };
        let run = self.tool.command(list, self.url.trim_end_matches('/'));
        format!("{}: {} requests, {} good{bad}\n  {run}\n", list.display(), self.count, counts.good)
    }
}

/// Reads a number from 0 to 1.
fn share(text: &str) -> Result<f64, &'static str> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or("must be a number from 0 to 1, like 0.05")
}

#[cfg(test)]
mod tests;
