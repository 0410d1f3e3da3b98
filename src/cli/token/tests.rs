//! What is minted is what the gate accepts.

use std::fs;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Parser;
use tempfile::TempDir;

use super::*;
use inspect::{human, utc};
use mint::duration;

use crate::config::tests::pairs::pair;
use crate::gate::Algorithm;

const NOW: u64 = 1_700_000_000;

const CONFIG: &str = r#"
[media]
listen = ["127.0.0.1:0"]
[control]
[[control.api_keys]]
name = "backend"
scope = "fullAccess"
key_file = "api.key"
[[apps]]
id = "acme"
storage = "main"
max_token_ttl_secs = 7200
[[apps.keys]]
kid = "k1"
alg = "HS256"
secret_file = "k1.key"
issuer = "backend"
audience = "media"
[[apps.keys]]
kid = "k2"
alg = "ES256"
public_key_file = "k2.pub.pem"
[[apps.keys]]
kid = "SK1"
alg = "HS256"
profile = "twilio"
secret_file = "twilio.key"
[[apps]]
id = "other"
storage = "main"
uid_case = "exact"
[[apps.keys]]
kid = "k1"
alg = "HS512"
secret_file = "other.key"
[storage.main]
endpoint = "http://127.0.0.1:9000"
bucket = "media"
access_key_id_file = "k1.key"
secret_access_key_file = "k1.key"
"#;

/// Of the form that Twilio gives.
const TWILIO_SECRET: &str = "kT4wNz0QeYvB8mRj2LsXc6HgUa9PdF7i";

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: TokenCommand,
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let secret = "0123456789abcdef".repeat(4);
    let (private, public) = pair(Algorithm::ES256);
    let files = [
        ("api.key", "fedcba9876543210fedcba9876543210"),
        ("mediagate.toml", CONFIG),
        ("paired.toml", &CONFIG.replace("\"k2.pub.pem\"", "\"k2.pub.pem\"\nprivate_key_file = \"k2.pem\"")),
        ("k1.key", &secret[..32]),
        ("twilio.key", TWILIO_SECRET),
        ("other.key", &secret),
        ("short.key", &secret[..31]),
        ("k2.pem", &private),
        ("k2.pub.pem", &public),
        ("stranger.pem", &pair(Algorithm::ES256).0),
    ];
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn at(secs: u64) -> Now {
    Now { wall: UNIX_EPOCH + Duration::from_secs(secs), monotonic: Instant::now() }
}

/// Runs `command`, whose words are split at spaces and whose `@` is `folder`, at `secs`.
fn run(folder: &TempDir, command: &str, secs: u64) -> Result<(String, bool), String> {
    let folder = format!("{}/", folder.path().display());
    let words = command.split(' ').map(|word| word.replace('@', &folder));
    let cli = Cli::try_parse_from(std::iter::once("token".to_owned()).chain(words));
    match cli.map_err(|error| error.to_string())?.command {
        TokenCommand::Mint(args) => {
            args.mint(at(secs)).map(|token| (token, true)).map_err(|error| format!("{error:#}"))
        }
        TokenCommand::Inspect(args) => args.inspect(at(secs)).map_err(|error| format!("{error:#}")),
    }
}

fn mint(folder: &TempDir, options: &str) -> Result<String, String> {
    run(folder, &format!("mint {options}"), NOW).map(|(token, _)| token)
}

#[test]
fn a_minted_token_says_what_was_asked_and_is_accepted() {
    let folder = folder();
    let options = "--config @mediagate.toml --app acme --kid k1 --uid Alice --ttl 15m --sid s --jti j";
    let token = mint(&folder, &format!("{options} --path /acme/a/* --path b.jpg")).unwrap();
    let claims: serde_json::Value = serde_json::from_str(&crate::gate::unverified_payload(&token).unwrap()).unwrap();
    let expected = serde_json::json!({
        "sub": "alice", "app": "acme", "iat": NOW, "exp": NOW + 900, "iss": "backend", "aud": "media",
        "sid": "s", "jti": "j", "path": ["/acme/a/*", "b.jpg"],
    });
    assert_eq!(claims, expected);
    let (output, accepted) = run(&folder, &format!("inspect --config @mediagate.toml {token}"), NOW + 1).unwrap();
    assert!(accepted, "{output}");
    for part in ["\"alg\": \"HS256\"", "\"sub\": \"alice\"", "2023-11-14T22:28:20Z (in 14 min 59 s)", "for app `acme`"]
    {
        assert!(output.contains(part), "{part}: {output}");
    }
    let (_, signature) = token.rsplit_once('.').unwrap();
    assert!(!output.contains(signature));
}

#[test]
fn every_kind_of_key_signs() {
    let folder = folder();
    for options in [
        "--config @mediagate.toml --app acme --kid k2 --private-key-file @k2.pem --uid a",
        "--config @paired.toml --app acme --kid k2 --uid a",
        "--config @mediagate.toml --app other --uid A --ttl 1d",
        "--alg HS256 --secret-file @k1.key --kid k1 --app acme --uid a --issuer backend --audience media",
        "--alg ES256 --private-key-file @k2.pem --kid k2 --app acme --uid a",
    ] {
        let token = mint(&folder, options).unwrap_or_else(|error| panic!("{options}: {error}"));
        let (output, accepted) = run(&folder, &format!("inspect --config @mediagate.toml {token}"), NOW).unwrap();
        assert!(accepted, "{options}: {output}");
    }
}

#[test]
fn what_the_gate_would_refuse_is_not_minted() {
    let folder = folder();
    let long = "x".repeat(256);
    let acme = "--config @mediagate.toml --app acme --kid k1";
    let twilio = "--config @mediagate.toml --app acme --kid SK1";
    let alone = "--alg HS256 --kid SK1 --app acme --profile twilio --uid a";
    for (options, message) in [
        ("--config @mediagate.toml --app acme --uid a".to_owned(), "several keys, say which with --kid: k1, k2, SK1"),
        ("--config @mediagate.toml --app none --uid a".to_owned(), "there is: acme, other"),
        ("--config @mediagate.toml --app acme --kid k3 --uid a".to_owned(), "has no key `k3`"),
        ("--config @missing.toml --app acme --uid a".to_owned(), "cannot be read"),
        ("--config @mediagate.toml --app acme --kid k2 --uid a".to_owned(), "sign with --private-key-file"),
        (format!("{acme} --uid a --private-key-file @k2.pem"), "is not for it"),
        (format!("{acme} --uid a --ttl 3h"), "longer than a token may live: 7200 seconds"),
        (format!("{acme} --uid a --ttl 15"), "a whole number and a unit"),
        (format!("{acme} --uid é"), "visible ASCII"),
        (format!("{acme} --uid {long}"), "1 to 255"),
        (format!("{acme} --uid a --sid {long}"), "--sid must have"),
        (format!("{acme} --uid a --jti="), "--jti must have"),
        (format!("{acme} --uid a --path /acme/../x"), "dot segment"),
        (format!("{acme} --uid a --path /other/x"), "in another app"),
        (format!("{acme} --uid a{}", format!(" --path {}", "y".repeat(1000)).repeat(9)), "at most 8192"),
        (format!("{acme} --uid a --alg HS256"), "cannot be used with"),
        (format!("{acme} --uid a --profile twilio"), "`k1` is not for tokens of this --profile"),
        (format!("{acme} --uid a --profile jwt"), "must be fat or twilio"),
        (format!("{twilio} --uid a --ttl 2d"), "longer than a token may live: 7200 seconds"),
        (format!("{twilio} --uid a --path b.jpg"), "are for FATs"),
        (format!("{twilio} --uid a --jti j"), "are for FATs"),
        (format!("{twilio} --uid é"), "visible ASCII"),
        (format!("{alone} --secret-file @twilio.key --ttl 2d"), "longer than a token may live: 86400 seconds"),
        (format!("{alone} --secret-file @short.key"), "needs at least 32"),
        (format!("{alone} --secret-file @twilio.key --issuer i"), "which is --kid"),
        ("--app acme --uid a --kid k1".to_owned(), "required"),
        ("--alg HS256 --app acme --uid a --secret-file @k1.key".to_owned(), "--kid"),
        ("--alg HS256 --kid k1 --app acme --uid a".to_owned(), "HS256 needs --secret-file"),
        ("--alg HS256 --kid k1 --app acme --uid a --secret-file @short.key".to_owned(), "needs at least 32"),
        ("--alg HS256 --kid k1 --app acme --uid a --private-key-file @k2.pem".to_owned(), "takes a secret"),
        ("--alg ES256 --kid k1 --app acme --uid a --secret-file @k1.key".to_owned(), "takes --private-key-file"),
        (
            "--alg ES256 --kid k1 --app acme --uid a --private-key-file @k2.pub.pem".to_owned(),
            "no private key for ES256",
        ),
        ("--alg none --kid k1 --app acme --uid a".to_owned(), "must be one of HS256"),
        ("--alg ES384 --kid k1 --app acme --uid a --private-key-file @k2.pem".to_owned(), "no key for ES384"),
        (
            "--config @mediagate.toml --app acme --kid k2 --private-key-file @stranger.pem --uid a".to_owned(),
            "not the one that the gate has the public key of",
        ),
    ] {
        let error = mint(&folder, &options).expect_err(&options);
        assert!(error.contains(message), "{options}: {error}");
        assert!(!error.contains("0123456789abcdef"), "{error}");
    }
}

#[test]
fn a_twilio_token_is_made_as_by_twilios_library_and_explained() {
    let folder = folder();
    let options = "--config @mediagate.toml --app acme --kid SK1 --uid Alice --ttl 1h";
    let token = mint(&folder, options).unwrap();
    // twilio 9.13.0 for Python: AccessToken("AC0…", "SK1", secret, identity="Alice").to_jwt() at that second.
    let parts: Vec<_> = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
    let text = |at: usize| String::from_utf8(parts[at].clone()).unwrap();
    assert_eq!(text(0), r#"{"alg":"HS256","cty":"twilio-fpa;v=1","typ":"JWT"}"#);
    let claims = r#"{"jti":"SK1-1700000000","grants":{"identity":"Alice"},"iss":"SK1","exp":1700003600,"nbf":1700000000,"sub":"AC00000000000000000000000000000000"}"#;
    assert_eq!(text(1), claims);
    let alone = "--alg HS256 --secret-file @twilio.key --kid SK1 --app x --profile twilio --uid Alice --ttl 1h";
    assert_eq!(mint(&folder, alone).unwrap(), token);
    let account = mint(&folder, &format!("{options} --profile twilio --account-sid AC1")).unwrap();
    assert!(crate::gate::unverified_payload(&account).unwrap().ends_with(r#""sub":"AC1"}"#));

    let (output, accepted) = run(&folder, &format!("inspect --config @mediagate.toml {token}"), NOW + 60).unwrap();
    assert!(accepted, "{output}");
    for part in ["of the API key SK1", "user: Alice (grants.identity)", "minted: 2023-11-14T22:13:20Z (1 min 0 s ago)"]
    {
        assert!(output.contains(part), "{part}: {output}");
    }
    assert!(output.ends_with("verdict: accepted for app `acme`\n"), "{output}");
    let (output, accepted) = run(&folder, &format!("inspect --config @mediagate.toml {token}"), NOW + 7200).unwrap();
    assert!(!accepted && output.contains("expired"), "{output}");
}

#[test]
fn inspecting_says_which_check_fails() {
    let folder = folder();
    let token = mint(&folder, "--config @mediagate.toml --app acme --kid k1 --uid a --ttl 60s").unwrap();
    let check = |options: &str, secs, expected: Result<&str, &str>| {
        let (output, accepted) = run(&folder, &format!("inspect {options}"), secs).unwrap();
        let (Ok(message) | Err(message)) = expected;
        assert!(output.lines().last().unwrap().contains(message), "{options}: {output}");
        assert_eq!(accepted, expected.is_ok(), "{options}: {output}");
    };
    let config = "--config @mediagate.toml";
    check(&token, NOW, Ok("not verified"));
    check(&token, NOW + 1_000_000, Ok("not verified"));
    check(&format!("{config} {token}"), NOW + 1_000, Err("refused: expired (token_expired)"));
    check(&format!("{config} {token}"), NOW - 1_000, Err("issued in the future"));
    check(&format!("{config} --app other {token}"), NOW, Err("another algorithm than the key's"));
    let (signed, _) = token.rsplit_once('.').unwrap();
    check(&format!("{config} {signed}.AAAA"), NOW, Err("the signature does not hold"));
    check(&format!("{config} {signed}."), NOW, Err("unsigned"));
    check(&format!("{signed}."), NOW, Err("unsigned"));
    check("hello", NOW, Err("malformed"));
    let elsewhere = "--alg HS256 --secret-file @k1.key --kid k1 --issuer backend --audience media --app mars --uid a";
    let elsewhere = mint(&folder, elsewhere).unwrap();
    check(&format!("{config} --app acme {elsewhere}"), NOW, Err("it is for another app"));
    let error = run(&folder, &format!("inspect {config} {elsewhere}"), NOW).unwrap_err();
    assert!(error.contains("for no app of the configuration"), "{error}");
    let error = run(&folder, &format!("inspect --app acme {token}"), NOW).unwrap_err();
    assert!(error.contains("--config"), "{error}");
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let claims = part("{\"sub\":\"\u{9b}31m\u{202e}\\u001b[2J\"}");
    let token = format!("{}.{claims}.AAAA", part(r#"{"alg":"HS256"}"#));
    let (output, _) = run(&folder(), &format!("inspect {token}"), NOW).unwrap();
    assert!(output.chars().all(|c| c == '\n' || !c.is_control()), "{output:?}");
    assert!(!output.contains('\u{202e}'));
}

#[test]
fn a_duration_is_a_number_and_a_unit() {
    for (text, secs) in [("90s", 90), ("15m", 900), ("12h", 43_200), ("1d", 86_400)] {
        assert_eq!(duration(text), Ok(Duration::from_secs(secs)));
    }
    for text in ["", "s", "0s", "1", "+1s", "-1s", "1.5h", "1w", " 1s", "1 s", "99999999999999999999s", "1é"] {
        assert!(duration(text).is_err(), "{text}");
    }
    assert!(duration("18446744073709551615d").is_err());
}

#[test]
fn times_are_shown_in_utc() {
    for (time, expected) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_399, "2000-02-28T23:59:59Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (1_709_251_200, "2024-03-01T00:00:00Z"),
        (1_735_689_599, "2024-12-31T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
    ] {
        assert_eq!(utc(time), expected);
    }
    assert_eq!(human(100.9, 100), "1970-01-01T00:01:40Z (now)");
    assert_eq!(human(10.0, 100), "1970-01-01T00:00:10Z (1 min 30 s ago)");
    assert_eq!(human(93_700.0, 100), "1970-01-02T02:01:40Z (in 1 d 2 h)");
    for absurd in [-1.0, 1e15, f64::NAN] {
        assert!(human(absurd, 0).starts_with("no time"));
    }
}

#[test]
fn help_teaches_with_examples() {
    for command in ["mint --help", "inspect --help"] {
        let help = run(&folder(), command, NOW).unwrap_err();
        assert!(help.contains("Examples:") && help.contains("mediagate token"), "{help}");
    }
    assert!(run(&folder(), "inspect --help", NOW).unwrap_err().contains("`ps`"));
}

#[test]
fn the_first_example_works_with_the_configuration_that_is_shipped() {
    let help = run(&folder(), "mint --help", NOW).unwrap_err();
    let example = help.lines().find_map(|line| line.strip_prefix("  mediagate token ")).unwrap();
    let conf = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/");
    run(&folder(), &example.replace("conf/", conf), NOW).unwrap();
}
