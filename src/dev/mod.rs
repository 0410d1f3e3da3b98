//! `mediagate dev`: everything embedded on one machine, with two users and links to click.
//!
//! It writes a configuration, secrets and sample files into a state folder, starts an S3 server over the files, and
//! then runs what `mediagate serve` runs.

mod gallery;
pub mod s3;
pub mod samples;

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::config::Config;
use crate::relay::now_secs;
use crate::serve::Gateway;
use crate::store::users::Profile;
use crate::store::{self, Store};
use gallery::Gallery;
use s3::{Paced, S3Options, S3Server};

/// The app whose files are served.
const APP: &str = "demo";

/// The users who get links.
const USERS: [&str; 2] = ["alice", "bob"];

/// How long the links that are printed live.
const LINK_TTL_SECS: u64 = 12 * 3600;

/// Most files of a user's folder that get links.
const MAX_LINKED_FILES: usize = 20;

/// What a URL path leaves unencoded.
pub(crate) const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// What to serve and where.
#[derive(Debug, Clone)]
pub struct DevOptions {
    /// A folder to serve; `None`: sample files in the state folder.
    pub dir: Option<PathBuf>,
    /// The media listener.
    pub listen: SocketAddr,
    /// The control listener.
    pub control_listen: SocketAddr,
    /// The metrics listener.
    pub metrics_listen: SocketAddr,
    /// The listener of the gallery.
    pub gallery_listen: SocketAddr,
    /// Where configuration, secrets, samples and the database are kept.
    pub state: PathBuf,
    /// Print one JSON line instead of text.
    pub json: bool,
}

/// Runs until SIGINT or SIGTERM.
///
/// # Errors
///
/// A state folder that cannot be written, an address that is taken.
pub async fn run(options: DevOptions) -> anyhow::Result<()> {
    let state = State::open(&options.state)?;
    let (dir, keys, paced) = match &options.dir {
        Some(dir) => {
            let dir = dir.canonicalize().with_context(|| format!("cannot open the folder {}", dir.display()))?;
            let keys = samples::list_objects(&dir, MAX_LINKED_FILES)?;
            (dir, keys, None)
        }
        None => {
            let dir = state.path("files");
            let keys = samples::write_samples(&dir).context("cannot write the sample files")?;
            let (key, bytes_per_second) = (samples::STREAM.to_owned(), samples::STREAM_BYTES_PER_SECOND);
            (dir, keys, Some(Paced { key, bytes_per_second }))
        }
    };
    let shown = match &paced {
        // What is still being sent while it is played can be seen to be cut.
        Some(stream) => [keys.as_slice(), std::slice::from_ref(&stream.key)].concat(),
        None => keys.clone(),
    };
    let s3 = S3Server::start(S3Options {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        dir: dir.clone(),
        bucket: "media".into(),
        access_key_id: state.s3_id.clone(),
        secret_access_key: state.s3_key.clone(),
        paced,
    })
    .await?;
    let config_file = state.write_config(&options, s3.addr())?;
    register(&state.path("mediagate.db")).await?;
    let gateway = Gateway::start(Config::load(&config_file)?, &config_file).await?;

    let gallery = gallery::listen(options.gallery_listen).await?;
    let ready = Ready::new(&state, &gateway, &s3, gallery.local_addr()?, &keys)?;
    let gallery = tokio::spawn(gallery::serve(gallery, Gallery::new(&ready, &shown)));
    if options.json {
        println!("{}", serde_json::to_string(&ready)?);
    } else {
        println!("{}", ready.guide(&state, &dir));
    }
    std::io::stdout().flush()?;
    let ended = gateway.run().await;
    gallery.abort();
    s3.shutdown().await;
    ended
}

/// Registers the two users, unless they are already.
async fn register(database: &Path) -> anyhow::Result<()> {
    let store = Store::open(database).await?;
    for (uid, name) in [("alice", "Alice"), ("bob", "Bob")] {
        let profile = Profile { name: name.to_owned(), role: "default".to_owned(), ..Profile::default() };
        let user = store::users::User { uid: uid.to_owned(), profile, created_at: now_secs(), ..Default::default() };
        store.create_user(APP, user, None).await?;
    }
    Ok(())
}

/// The state folder and the secrets in it, made on the first start and kept from then on.
struct State {
    dir: PathBuf,
    fat_key: String,
    api_key: String,
    s3_id: String,
    s3_key: String,
}

impl State {
    fn open(dir: &Path) -> anyhow::Result<State> {
        let create = |dir: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        create(&dir.join("secrets")).with_context(|| format!("cannot make the state folder {}", dir.display()))?;
        let dir = dir.canonicalize()?;
        let secret = |name: &str| secret(&dir.join("secrets").join(name));
        secret("presigned.key")?;
        Ok(State {
            fat_key: secret("k1.key")?,
            api_key: secret("backend.key")?,
            s3_id: secret("s3.id")?,
            s3_key: secret("s3.key")?,
            dir: dir.clone(),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn write_config(&self, options: &DevOptions, s3: SocketAddr) -> anyhow::Result<PathBuf> {
        let DevOptions { listen, control_listen, metrics_listen, .. } = options;
        // Clients are told where media is: of all addresses, the one that the links here have.
        let media_host = match listen.ip().is_unspecified() && listen.port() != 0 {
            true => format!("media_host = \"{}\"\n", url(*listen).trim_start_matches("http://")),
            false => String::new(),
        };
        let text = format!(
            r#"# Written by `mediagate dev` on each start; changes are lost.
[media]
listen = ["{listen}"]
cors_origins = ["*"]

[control]
listen = "{control_listen}"
store = "sqlite:mediagate.db"
{media_host}[[control.api_keys]]
name = "dev"
scope = "fullAccess"
key_file = "secrets/backend.key"

[metrics]
listen = "{metrics_listen}"

[feed]
url = "local:"

[presigned]
key_file = "secrets/presigned.key"

[[apps]]
id = "{APP}"
access = "enforce"
storage = "main"
[[apps.keys]]
kid = "k1"
alg = "HS256"
secret_file = "secrets/k1.key"

[storage.main]
kind = "s3"
endpoint = "http://{s3}"
region = "us-east-1"
bucket = "media"
path_style = true
strip_app = true
access_key_id_file = "secrets/s3.id"
secret_access_key_file = "secrets/s3.key"
"#
        );
        let path = self.path("mediagate.toml");
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

/// Returns the secret in the file at `path`, made of 32 random bytes when there is none.
fn secret(path: &Path) -> anyhow::Result<String> {
    if !path.exists() {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes).ok().context("the system has no randomness")?;
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(URL_SAFE_NO_PAD.encode(bytes).as_bytes())?;
        file.sync_all()?;
    }
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// What a program that started `mediagate dev --json` needs.
#[derive(serde::Serialize)]
struct Ready {
    gallery: String,
    media: String,
    control: String,
    metrics: String,
    s3: String,
    app: &'static str,
    apikey: String,
    users: Vec<User>,
    objects: Vec<String>,
    links: Vec<String>,
}

#[derive(serde::Serialize)]
struct User {
    uid: &'static str,
    fat: String,
    #[serde(skip)]
    is_deactivated: bool,
}

impl Ready {
    fn new(
        state: &State,
        gateway: &Gateway,
        s3: &S3Server,
        gallery: SocketAddr,
        keys: &[String],
    ) -> anyhow::Result<Ready> {
        let listening = "dev always has this listener";
        let media = url(*gateway.media.first().context(listening)?);
        let objects: Vec<String> = keys.iter().map(|key| object_path(key)).collect();
        let users: Vec<User> = USERS
            .into_iter()
            .map(|uid| {
                let subject = gateway.shared.restrictions.subject(APP, uid, None, None, None);
                let is_deactivated = gateway.shared.restrictions.check(&subject).is_err();
                Ok(User { uid, fat: mint(&state.fat_key, uid)?, is_deactivated })
            })
            .collect::<anyhow::Result<_>>()?;
        let link = |user: &User, object: &String| format!("{media}{object}?fat={}", user.fat);
        let links = users.iter().flat_map(|user| objects.iter().map(|object| link(user, object))).collect();
        Ok(Ready {
            gallery: url(gallery),
            links,
            media,
            control: url(gateway.control.context(listening)?),
            metrics: url(gateway.metrics.context(listening)?),
            s3: url(s3.addr()),
            app: APP,
            apikey: state.api_key.clone(),
            users,
            objects,
        })
    }

    /// What a person reads.
    fn guide(&self, state: &State, dir: &Path) -> String {
        let mut text = format!(
            "\nOpen {}/ in a browser: what alice and bob see, and what becomes of it when you deactivate bob.\n\n\
             mediagate is running over {}\n\n  media      {}\n  control    {}\n  dashboard  {3}/dashboard\n  \
             metrics    {}/metrics\n",
            self.gallery,
            dir.display(),
            self.media,
            self.control,
            self.metrics
        );
        for (at, user) in self.users.iter().enumerate() {
            let note = if user.is_deactivated { ", but deactivated: 403 until you activate again" } else { "" };
            text += &format!("\nLinks of {} (good for {} hours{note}):\n\n", user.uid, LINK_TTL_SECS / 3600);
            for link in self.links.iter().skip(at * self.objects.len()).take(self.objects.len()) {
                text += &format!("  {link}\n");
            }
        }
        if self.objects.is_empty() {
            text += "\nThe folder has no files yet. Put some in and start again.\n";
        }
        let program = std::env::args().next().unwrap_or_else(|| "mediagate".into());
        let key_file = state.path("secrets/backend.key");
        text += &format!(
            "\nOpen a link in a browser, or with curl. Then deactivate bob and open it again: his links are dead at\n\
             once, alice's go on.\n\n\
             \x20 {program} user deactivate bob --control {control} --api-key-file {key}\n\
             \x20 {program} user activate bob --control {control} --api-key-file {key}\n\n\
             The dashboard's login is the API key in {key}.\n\n\
             More tokens: {program} token mint --config {config} --app {APP} --uid carol\n\n\
             Everything is kept in {state}. Ctrl-C stops it.\n",
            control = self.control,
            key = key_file.display(),
            config = state.path("mediagate.toml").display(),
            state = state.dir.display(),
        );
        text
    }
}

/// The path of an object's URL.
fn object_path(key: &str) -> String {
    format!("/{APP}/{}", utf8_percent_encode(key, PATH))
}

fn url(address: SocketAddr) -> String {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    format!("http://{address}")
}

#[expect(clippy::disallowed_methods, reason = "tokens are issued now")]
fn mint(key: &str, uid: &str) -> anyhow::Result<String> {
    use jsonwebtoken::{Algorithm, EncodingKey, Header};
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH)?.as_secs();
    let header = Header { kid: Some("k1".into()), ..Header::new(Algorithm::HS256) };
    let claims = serde_json::json!({ "sub": uid, "app": APP, "iat": now, "exp": now + LINK_TTL_SECS });
    Ok(jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(key.as_bytes()))?)
}
