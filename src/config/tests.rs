//! What a configuration comes to, and that no text is too strange.

mod cache;
mod dates;
mod keys;
mod mistakes;
pub(crate) mod pairs;
mod players;
mod prepend;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use http::uri::Scheme;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::control::ApiScope;
use crate::gate::{Algorithm, Freshness, PlayerCookies, Profile, UidCase, WhenStale};
use crate::jwks::{KeySetOptions, KeySetSource};
use crate::store::Location;

/// In every secret, and in every place where somebody may put one.
const MARKER: &str = "MARKER-5f2b9c0d";

const P256: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n\
    6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n\
    -----END PUBLIC KEY-----\n";

/// The key of RFC 8037 A.2.
const JWKS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// Eighteen lines without a mistake; line numbers below count from here.
const SOUND: &str = r#"[media]
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
kid = "k1"
alg = "HS256"
secret_file = "k1.key"
[storage.main]
endpoint = "http://127.0.0.1:9000"
bucket = "media"
access_key_id_file = "s3.id"
secret_access_key_file = "s3.key"
"#;

/// A folder with every file that the tests name.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| fs::write(folder.path().join(name), content).unwrap();
    for name in ["k1.key", "api.key", "api2.key", "s3.id", "s3.key"] {
        write(name, &format!("{MARKER}-{name}-0123456789abcdef\n"));
    }
    write("same.key", &format!("{MARKER}-api.key-0123456789abcdef"));
    write("k1-again.key", &format!("{MARKER}-k1.key-0123456789abcdef"));
    write("short.key", "MARKER-5f2b9c0");
    write("tiny.key", MARKER);
    write("trivial.key", &"MARKER".repeat(10));
    write("empty.key", "\n");
    write("spaced.key", &format!("{MARKER} {MARKER}\n"));
    write("two-lines.key", &format!("{MARKER}\n{MARKER}\n"));
    write("large.key", &MARKER.repeat(400));
    write("example.key", "mediagate-example-do-not-serve-0123456789abcdef");
    write("p256.pem", P256);
    write("jwks.json", JWKS);
    write("oct.json", r#"{"keys":[{"kty":"oct","kid":"k1","k":"TUFSS0VSLTVmMmI5YzBk"}]}"#);
    write("none.json", r#"{"keys":[]}"#);
    write("private.pem", &format!("-----BEGIN PRIVATE KEY-----\n{MARKER}\n-----END PRIVATE KEY-----\n"));
    write("tls-key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    write("tls-cert.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    folder
}

fn parse_in(folder: &TempDir, text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, &folder.path().join("mediagate.toml"))
}

/// `text` with its line `number` replaced.
fn with_line(text: &str, number: usize, line: &str) -> String {
    let lines = text.lines().enumerate().map(|(at, old)| if at + 1 == number { line } else { old });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_sound_configuration_has_the_documented_defaults() {
    let folder = folder();
    let config = parse_in(&folder, SOUND).unwrap();
    let media = Media { listen: vec!["127.0.0.1:0".parse().unwrap()], tls: None, threads: 0 };
    assert_eq!(config.media, Some(media));
    let control = config.control.unwrap();
    assert_eq!(control.listen, "127.0.0.1:8081".parse().unwrap());
    assert_eq!(file_of(&control.store), folder.path().join("mediagate.db"));
    assert_eq!((control.api_keys[0].name.as_str(), control.api_keys[0].scope), ("backend", ApiScope::FullAccess));
    assert_eq!((config.metrics, config.auth), (None, None));
    let cookies = PlayerCookies { max_age: Duration::from_secs(3600), scheme: Scheme::HTTP };
    assert_eq!(config.keys.options.player_cookies, Some(cookies));
    assert_eq!(config.gate.freshness(), Freshness::default());
    assert_eq!(config.gate.uid_case("acme"), Some(UidCase::Folded));
    assert_eq!(config.apps[0].max_ttl, Duration::from_secs(86_400));
    assert!(config.apps[0].keys[0].secret.as_ref().unwrap().expose().ends_with(b"abcdef"));
    assert!(config.example_secrets.is_empty());
}

fn file_of(store: &Location) -> PathBuf {
    match store {
        Location::Sqlite(file) => file.clone(),
        other => panic!("{other}"),
    }
}

/// [`SOUND`] with other lines for its one key.
fn with_key(key: &str) -> String {
    let (before, rest) = SOUND.split_once("kid =").unwrap();
    let (_, after) = rest.split_once("[storage.main]").unwrap();
    format!("{before}{key}\n[storage.main]{after}")
}

#[test]
fn a_broker_and_a_database_come_with_their_secrets_from_files() {
    let folder = folder();
    fs::write(folder.path().join("db.key"), "db-secret").unwrap();
    let with = |feed: &str| {
        let store =
            "[control]\nstore = \"postgres://gate@db.example/media?sslmode=require\"\nstore_password_file = \"db.key\"";
        let text = SOUND.replace("[control]", &format!("[feed]\n{feed}\npassword_file = \"db.key\"\n{store}"));
        parse_in(&folder, &text).unwrap()
    };
    let config = with("url = \"rediss://gate@redis.example:7000/2\"\nprefix = \"media\"");
    let FeedSource::Redis(redis) = &config.feed else { panic!("{:?}", config.feed) };
    assert_eq!((redis.host.as_str(), redis.port, redis.db, redis.prefix.as_str()), ("redis.example", 7000, 2, "media"));
    assert_eq!(redis.password.as_ref().unwrap().expose(), b"db-secret");
    let config = with("url = \"nats://gate@nats.example\"\nreplicas = 3");
    let FeedSource::Nats(nats) = &config.feed else { panic!("{:?}", config.feed) };
    assert_eq!((nats.user.as_deref(), nats.replicas), (Some("gate"), 3));
    let Location::Postgres { url, password } = config.control.unwrap().store else { panic!("no PostgreSQL") };
    assert_eq!(url, "postgres://gate@db.example/media?sslmode=require");
    assert_eq!(password.unwrap().expose(), b"db-secret");
}

#[test]
fn a_process_has_the_sections_of_its_roles() {
    let folder = folder();
    let check = |roles: &str, keep: &[&str], expected: (bool, bool)| {
        let mut text = SOUND.to_owned();
        for (name, end) in [("[media]", "[control]"), ("[control]", "[[apps]]")] {
            let (from, to) = (text.find(name).unwrap(), text.find(end).unwrap());
            if !keep.contains(&name) {
                text.replace_range(from..to, "");
            }
        }
        let text = format!("name = \"node-7\"\n{roles}\nfeed.url = \"redis://redis.example\"\n{text}");
        let config = parse_in(&folder, &text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        assert_eq!((config.media.is_some(), config.control.is_some()), expected);
        assert_eq!(config.name, "node-7");
    };
    check("", &["[media]", "[control]"], (true, true));
    check("roles = [\"control\", \"edge\"]", &["[media]", "[control]"], (true, true));
    check("roles = [\"edge\"]", &["[media]"], (true, false));
    check("roles = [\"control\"]", &["[control]"], (false, true));
}

#[test]
fn every_setting_arrives() {
    let folder = folder();
    let text = SOUND
        .replace(
            "[control]",
            "hosts = [\"Files.Example\"]\ncors_origins = [\"https://app.example\"]\nthreads = 3\n\
             tls_cert_file = \"tls-cert.pem\"\ntls_key_file = \"tls-key.pem\"\n\
             player_cookie_secs = 60\n[auth]\nlisten = \"[::1]:8888\"\n\
             [metrics]\nlisten = \"[::1]:9999\"\n[feed]\nurl = \"local:\"\nmax_staleness_secs = 7\n\
             when_stale = \"serve\"\n[prepend]\nenabled = false\nmedia_hosts = []\nlogin_url = \"x\"\n\
             [control]\nlisten = \"127.0.0.1:1\"\nstore = \"sqlite:///var/x.db\"",
        )
        .replace("id = \"acme\"", "id = \"acme\"\nuid_case = \"exact\"\nmax_token_ttl_secs = 60\naccess = \"observe\"")
        .replace("kid = ", "issuer = \"i\"\naudience = \"a\"\nprofile = \"fat\"\nkid = ")
        .replace(
            "bucket = ",
            "connect_timeout_secs = 1\nresponse_timeout_secs = 600\nprefix = \"p/\"\nregion = \"auto\"\nbucket = ",
        );
    let config = parse_in(&folder, &text).unwrap();
    let media = config.media.unwrap();
    let tls = media.tls.unwrap();
    assert_eq!(tls.cert_file, folder.path().join("tls-cert.pem"));
    assert_eq!(tls.key_file, folder.path().join("tls-key.pem"));
    assert_eq!(media.threads, 3);
    assert_eq!(config.metrics, Some("[::1]:9999".parse().unwrap()));
    assert_eq!(config.auth, Some("[::1]:8888".parse().unwrap()));
    let cookies = PlayerCookies { max_age: Duration::from_secs(60), scheme: Scheme::HTTPS };
    assert_eq!(config.keys.options.player_cookies, Some(cookies));
    assert_eq!(file_of(&config.control.unwrap().store), PathBuf::from("/var/x.db"));
    let freshness = Freshness { max_staleness: Duration::from_secs(7), when_stale: WhenStale::Serve };
    assert_eq!(config.gate.freshness(), freshness);
    assert_eq!(config.gate.uid_case("acme"), Some(UidCase::Exact));
    let [endpoint] = &config.gate.endpoints()[..] else { panic!("one endpoint") };
    assert_eq!(endpoint.timeouts.connect, Duration::from_secs(1));
    assert_eq!(endpoint.timeouts.response, Duration::from_secs(600));
    let app = &config.apps[0];
    assert_eq!(app.max_ttl, Duration::from_secs(60));
    assert_eq!((app.keys[0].issuer.as_deref(), app.keys[0].audience.as_deref()), (Some("i"), Some("a")));
}

#[test]
fn ten_mistakes_are_ten_errors_in_the_order_of_their_lines() {
    let folder = folder();
    let mut text = SOUND.to_owned();
    for (number, line) in [
        (2, "listen = [\"here:80\"]"),
        (5, "name = \"\""),
        (6, "scope = \"all\""),
        (7, "key_file = \"empty.key\""),
        (9, "id = \"a b\""),
        (10, "storage = \"none\""),
        (13, "alg = \"HS1\""),
        (16, "endpoint = \"here\""),
        (17, "bucket = \"M\""),
        (19, "secret_access_key_file = \"missing\""),
    ] {
        text = with_line(&text, number, line);
    }
    let errors = parse_in(&folder, &text).unwrap_err();
    let lines: Vec<_> = errors.iter().filter_map(|error| error.line).collect();
    assert_eq!(lines, [2, 5, 6, 7, 9, 10, 13, 16, 17, 19], "{errors}");
    let shown = errors.to_string();
    let file = folder.path().join("mediagate.toml");
    let first = format!("{}:2: media.listen[0]: must be an IP address and a port", file.display());
    assert!(shown.starts_with(&first), "{shown}");
    assert_eq!(shown.lines().count(), 10);
}

#[test]
fn an_app_without_tokens_needs_no_key() {
    let folder = folder();
    let text = SOUND.replace("[[apps]]", "[[apps]]\naccess = \"off\"");
    let start = text.find("[[apps.keys]]").unwrap();
    let end = text.find("[storage").unwrap();
    assert!(parse_in(&folder, &(text[..start].to_owned() + &text[end..])).is_ok());
}

#[test]
fn example_secrets_are_accepted_and_listed_once() {
    let folder = folder();
    let text = SOUND.replace("k1.key", "example.key").replace("s3.key", "example.key");
    let config = parse_in(&folder, &text).unwrap();
    assert_eq!(config.example_secrets, [folder.path().join("example.key")]);
}

#[test]
fn the_example_that_is_shipped_is_sound() {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let config = Config::load(&conf.join("mediagate.toml")).unwrap_or_else(|errors| panic!("{errors}"));
    let secrets = ["acme-k1.key", "backend.key", "onboarding.key", "presigned.key", "s3.id", "s3.key"];
    let mut examples = config.example_secrets;
    examples.sort();
    assert_eq!(examples, secrets.map(|name| conf.join("secrets").join(name)));
    assert_eq!(config.gate.apps().collect::<Vec<_>>(), ["acme"]);
}

#[test]
fn the_example_shows_every_default_as_it_is() {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let file = conf.join("mediagate.toml");
    let text = fs::read_to_string(&file).unwrap();
    // Commented keys without the ones that have no default, and without what belongs to later versions.
    let (text, _) = text.split_once("# A login in front").unwrap();
    let is_setting = |line: &str| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let no_default = [
        "tls_cert_file",
        "tls_key_file",
        "issuer",
        "audience",
        "store_password_file",
        "password_file",
        "token_file",
        "credentials_file",
        "ca_file",
        "prefix = \"mediagate\"",
        "replicas",
        "name",
        "client_host",
        "tokenized_since",
        "private_key_file",
        "media_host",
        "base_url",
    ];
    let lines = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(setting) if is_setting(setting) && !no_default.iter().any(|key| setting.starts_with(key)) => setting,
        _ => line,
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let explicit = Config::parse(&text, &file).unwrap_or_else(|errors| panic!("{errors}"));
    let default = Config::load(&file).unwrap();
    assert_eq!(text.matches("max_staleness_secs = 30 ").count(), 1);
    let shown = |config: &Config| {
        let endpoints = config.gate.endpoints();
        let control = config.control.as_ref().unwrap();
        let control = (control.listen, file_of(&control.store), control.calls_per_minute);
        format!(
            "{:?} {control:?} {:?} {:?} {endpoints:?} {:?} {:?}",
            config.media,
            (config.metrics, &config.keys.options.player_cookies),
            config.gate.freshness(),
            config.apps,
            config.gate.uid_case("acme")
        ) + &format!("{:?}", config.gate)
    };
    assert_eq!(shown(&explicit), shown(&default));
}

#[test]
fn a_file_that_is_no_text_or_too_large_is_refused() {
    let folder = folder();
    let path = folder.path().join("mediagate.toml");
    let load = |content: &[u8]| {
        fs::write(&path, content).unwrap();
        Config::load(&path).unwrap_err().to_string()
    };
    assert!(load(b"[media]\n\xff").ends_with("mediagate.toml:2: is not UTF-8 text"));
    assert!(load(&vec![b'\n'; 1 << 20]).contains("media: is required"));
    assert!(load(&vec![b'\n'; (1 << 20) + 1]).ends_with("is larger than 1048576 bytes"));
    fs::remove_file(&path).unwrap();
    assert!(Config::load(&path).unwrap_err().to_string().contains("mediagate.toml: cannot be read"));
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    let folder = folder();
    let key = ["a"; 79].join(".");
    let deep = format!("{}a=1{}", format!("{key}={{").repeat(79), "}".repeat(79));
    assert!(parse_in(&folder, &deep).is_err());
    assert!(parse_in(&folder, &"[".repeat(100_000)).is_err());
    assert!(parse_in(&folder, &format!("a = {}", "[".repeat(100_000))).is_err());
}

#[test]
fn many_mistakes_are_reported_in_time() {
    let folder = folder();
    let text: String = (0..100_000).map(|at| format!("k{at}=1\n")).collect();
    assert!(parse_in(&folder, &text).unwrap_err().iter().count() >= 100_000);
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "(?s).{0,200}") {
        let _ = parse_in(&FOLDER, &text);
    }

    #[test]
    fn a_shuffled_configuration_never_panics(
        lines in proptest::collection::vec(0..19_usize, 0..30),
        values in proptest::collection::vec(("[a-z_]{1,12}", "[\\[\\]{}\"a-z0-9.=, -]{0,20}"), 0..4),
    ) {
        let sound: Vec<_> = SOUND.lines().collect();
        let mut text: Vec<String> = lines.iter().map(|at| sound[*at].to_owned()).collect();
        text.extend(values.iter().map(|(key, value)| format!("{key} = {value}")));
        let shown = parse_in(&FOLDER, &text.join("\n")).map_or_else(|errors| errors.to_string(), |config| format!("{config:?}"));
        prop_assert!(!shown.contains(MARKER));
    }

    #[test]
    fn no_value_is_ever_shown(number in 1..20_usize, value in "[a-z0-9:/@.]{0,10}") {
        // A value that is like what belongs there, with a secret in it.
        let line = SOUND.lines().nth(number - 1).unwrap();
        let Some((key, old)) = line.split_once(" = \"") else { return Ok(()) };
        let old = old.trim_end_matches('"');
        for written in [format!("{value}{MARKER}"), format!("{old}{value}{MARKER}"), format!("{value}{MARKER}{old}")] {
            let text = with_line(SOUND, number, &format!("{key} = \"{written}\""));
            if let Err(errors) = parse_in(&FOLDER, &text) {
                prop_assert!(!errors.to_string().contains(MARKER), "{}", errors);
            }
        }
    }
}

static FOLDER: std::sync::LazyLock<TempDir> = std::sync::LazyLock::new(folder);
