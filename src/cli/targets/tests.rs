//! What is written is what was asked for, is in the form that the tool reads, and gets from the gate what it is to get.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use http::Request;
use tempfile::TempDir;

use super::*;
use crate::config::Config;
use crate::gate::Denial;
use crate::restrictions::{Event, RestrictionSet};

const NOW: u64 = 1_700_000_000;

const CONFIG: &str = r#"
[media]
listen = ["127.0.0.1:0"]
[control]
[[control.api_keys]]
name = "backend"
scope = "fullAccess"
key_file = "api.key"
[feed]
when_stale = "serve"
[presigned]
key_file = "presigned.key"
[[apps]]
id = "acme"
storage = "main"
[[apps.keys]]
kid = "k1"
alg = "HS256"
secret_file = "k1.key"
issuer = "backend"
[[apps.keys]]
kid = "k2"
alg = "EdDSA"
public_key_file = "k2.pub.pem"
[[apps.keys]]
kid = "SK1"
alg = "HS256"
profile = "twilio"
secret_file = "twilio.key"
[storage.main]
endpoint = "http://127.0.0.1:9000"
bucket = "media"
access_key_id_file = "k1.key"
secret_access_key_file = "k1.key"
"#;

// RFC 8410 section 10.3 and 10.1.
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    args: TargetsArgs,
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let secret = "0123456789abcdef".repeat(4);
    fs::create_dir_all(folder.path().join("media/a b")).unwrap();
    for (name, content) in [
        ("mediagate.toml", CONFIG),
        ("storage.toml", &CONFIG.replace("[presigned]\n", "[presigned]\ntarget = \"storage\"\n")),
        ("no-presigned.toml", &CONFIG.replace("[presigned]\nkey_file = \"presigned.key\"\n", "")),
        ("api.key", "fedcba9876543210fedcba9876543210"),
        ("k1.key", &secret),
        ("twilio.key", "kT4wNz0QeYvB8mRj2LsXc6HgUa9PdF7i"),
        ("presigned.key", "5b2e8d41c09a4f7386e1d2a3b4c5f607"),
        ("k2.pem", PRIVATE),
        ("k2.pub.pem", PUBLIC),
        ("uids.txt", "alice\nbob\n\ncarol\n"),
        ("keys.txt", "media/ä?.png\nx.txt\n"),
        ("odd.txt", "alice\nna me\n"),
        ("up.txt", "a/../b\n"),
        ("empty.txt", "\n"),
        ("media/1.png", "1"),
        ("media/a b/2.png", "2"),
    ] {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn at(secs: u64) -> Now {
    Now { wall: UNIX_EPOCH + Duration::from_secs(secs), monotonic: Instant::now() }
}

/// Runs the command with what `options` add, whose `@` is `folder`.
fn try_write(folder: &TempDir, options: &str) -> Result<String, String> {
    let at_folder = format!("{}/", folder.path().display());
    let whole = format!("targets --app acme {options}");
    let whole = if options.contains("--out") { whole } else { format!("{whole} --out @list") };
    let whole = if options.contains("--url") { whole } else { format!("{whole} --url http://127.0.0.1:8080") };
    let whole = if options.contains("--config") { whole } else { format!("{whole} --config @mediagate.toml") };
    let words = whole.split(' ').map(|word| word.replace('@', &at_folder));
    let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
    cli.args.write(at(NOW)).map_err(|error| format!("{error:#}"))
}

fn write(folder: &TempDir, options: &str) -> (String, String) {
    let said = try_write(folder, options).unwrap_or_else(|error| panic!("{options}: {error}"));
    (fs::read_to_string(folder.path().join("list.txt")).unwrap(), said)
}

/// What the gate answers to a path with what is in its query or in the `fat` header, in words of metrics.
struct Judge {
    config: Config,
    restrictions: RestrictionSet,
}

impl Judge {
    fn new(folder: &TempDir) -> Judge {
        let config = Config::load(&folder.path().join("mediagate.toml")).unwrap();
        let restrictions = RestrictionSet::new([1, 2], Instant::now());
        restrictions.apply(Event::Snapshot { seq: 0, entries: Vec::new() }, Instant::now());
        Judge { config, restrictions }
    }

    /// `Ok`, or how the gate's refusal is called.
    fn admit(&self, path: &str, fat: Option<&str>) -> Result<(), Denial> {
        let mut request = Request::get(path).header("host", "127.0.0.1:8080");
        if let Some(fat) = fat {
            request = request.header("fat", fat);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let decided = self.config.gate.admit(&parts, &self.restrictions, at(NOW + 1));
        decided.map(drop).map_err(|refusal| refusal.denial)
    }
}

/// The requests of a list: path and token.
fn requests<'a>(tool: &str, list: &'a str) -> Vec<(&'a str, Option<&'a str>)> {
    let path = |url: &'a str| url.strip_prefix("http://127.0.0.1:8080").expect("the base URL");
    match tool {
        "vegeta" => {
            // Its documentation: a method, a URL, headers below, an empty line between targets.
            assert!(list.ends_with("\n\n"));
            let targets = list.trim_end().split("\n\n").map(|target| {
                let (first, field) =
                    target.split_once('\n').map_or((target, None), |(line, field)| (line, Some(field)));
                let url = first.strip_prefix("GET ").expect("a method");
                (path(url), field.map(|field| field.strip_prefix("fat: ").expect("one field")))
            });
            targets.collect()
        }
        _ => {
            let lines = list.lines().map(|line| {
                let (url, token) = line.split_once(' ').map_or((line, None), |(url, token)| (url, Some(token)));
                (if tool == "wrk" { url } else { path(url) }, token)
            });
            lines.collect()
        }
    }
}

#[test]
fn what_is_good_is_let_through_and_what_is_bad_is_refused_with_every_tool_and_mode() {
    let folder = folder();
    let judge = Judge::new(&folder);
    for (tool, mode) in ["wrk", "oha", "vegeta", "k6"]
        .into_iter()
        .flat_map(|tool| ["embedded", "header", "presigned"].map(|mode| (tool, mode)))
        .filter(|case| *case != ("oha", "header"))
    {
        for bad_as in ["signature", "expired"] {
            let kid = if mode == "presigned" { "" } else { " --kid k1" };
            let common = format!("--tool {tool} --mode {mode}{kid} --count 400 --users 50 --objects @keys.txt");
            let (list, said) = write(&folder, &format!("{common} --bad 0.25 --bad-as {bad_as}"));
            let requests = requests(tool, &list);
            assert_eq!(requests.len(), 400, "{common}");
            let refused = requests.iter().filter_map(|(path, token)| {
                assert_eq!(token.is_some(), mode == "header", "{common}");
                judge.admit(path, *token).err()
            });
            let refused: Vec<Denial> = refused.collect();
            let code = match (mode, bad_as) {
                ("presigned", "signature") => "ERR_URL_INVALID",
                ("presigned", _) => "ERR_URL_EXPIRED",
                (_, "signature") => "ERR_FAT_INVALID",
                _ => "ERR_FAT_EXPIRED",
            };
            assert!(refused.iter().all(|denial| denial.code() == code), "{common}: {refused:?}");
            assert!((70..=130).contains(&refused.len()), "{common}: {}", refused.len());
            let words = if bad_as == "expired" { "expired" } else { "with a bad signature" };
            let expected = format!("400 requests, {} good, {} {words}\n", 400 - refused.len(), refused.len());
            assert!(said.contains(&expected), "{said}");
        }
    }
}

#[test]
fn a_key_of_any_kind_signs() {
    let folder = folder();
    let judge = Judge::new(&folder);
    let options = "--tool wrk --kid k2 --private-key-file @k2.pem --count 20 --bad 0.5";
    let (list, _) = write(&folder, options);
    let refused = requests("wrk", &list).iter().filter(|(path, _)| judge.admit(path, None).is_err()).count();
    assert!((1..20).contains(&refused), "{refused}");
}

#[test]
fn each_request_has_a_token_of_its_own_unless_each_user_has_one() {
    let folder = folder();
    for (options, expected) in [("", 500), (" --token-per-user", 3)] {
        let (list, _) = write(&folder, &format!("--tool wrk --kid k1 --count 500 --users @uids.txt{options}"));
        let tokens: HashSet<_> = list.lines().map(|line| line.split_once("?fat=").unwrap().1).collect();
        assert_eq!(tokens.len(), expected);
    }
}

/// Users and objects of a list, in its order.
fn choices(list: &str) -> Vec<(String, String)> {
    let requests = requests("wrk", list).into_iter().map(|(target, _)| {
        let (path, token) = target.split_once("?fat=").unwrap();
        let claims: serde_json::Value = serde_json::from_str(&crate::gate::unverified_payload(token).unwrap()).unwrap();
        (claims["sub"].as_str().unwrap().to_owned(), path.to_owned())
    });
    requests.collect()
}

#[test]
fn the_same_seed_makes_the_same_choices() {
    let folder = folder();
    let common = "--tool wrk --kid k1 --count 300 --users-by zipf:1.2";
    let (first, _) = write(&folder, &format!("{common} --seed 7"));
    let (again, _) = write(&folder, &format!("{common} --seed 7 --ttl 5m --revoked 0.5"));
    let (other, _) = write(&folder, &format!("{common} --seed 8"));
    assert_eq!(choices(&first), choices(&again));
    assert_ne!(first, again);
    assert_ne!(choices(&first), choices(&other));
}

/// Chi-square over the commonest 20 of 100 and the rest: 20 degrees of freedom, of which 45.3 is one in a thousand.
#[test]
fn zipf_and_uniform_are_what_they_are_called() {
    let folder = folder();
    let weight = |rank: f64, exponent: f64| rank.powf(-exponent);
    for (how, exponent) in [("uniform", 0.0), ("zipf", 1.0), ("zipf:1.3", 1.3)] {
        let options = format!("--tool wrk --kid k1 --count 20000 --users 100 --users-by {how} --objects-by {how}");
        let (list, _) = write(&folder, &format!("{options} --objects 100 --object-name o{{}}"));
        for at in [0, 1] {
            let mut found = [0.0; 21];
            for (user, object) in choices(&list) {
                let (name, before) = [(&user, "user-"), (&object, "/acme/o")][at];
                let number: usize = name.strip_prefix(before).unwrap().parse().unwrap();
                assert!((1..=100).contains(&number));
                found[(number - 1).min(20)] += 1.0;
            }
            let whole: f64 = (1..=100).map(|rank| weight(f64::from(rank), exponent)).sum();
            let mut expected: Vec<f64> =
                (1..=20).map(|rank| 20_000.0 * weight(f64::from(rank), exponent) / whole).collect();
            expected.push(20_000.0 - expected.iter().sum::<f64>());
            let chi_square: f64 = found.iter().zip(&expected).map(|(n, e)| (n - e).powi(2) / e).sum();
            assert!(chi_square < 45.3, "{how}, {at}: {chi_square}");
        }
    }
}

#[test]
fn users_to_be_revoked_are_listed_for_one_call_and_their_requests_counted() {
    let folder = folder();
    let (list, said) = write(&folder, "--tool wrk --kid k1 --count 4000 --users 1500 --revoked 0.1");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let text = read("list.revoked.txt");
    let revoked: HashSet<&str> = text.lines().collect();
    assert_eq!((text.lines().count(), revoked.len()), (150, 150));
    let of_revoked = choices(&list).iter().filter(|(user, _)| revoked.contains(&**user)).count();
    assert!((300..=500).contains(&of_revoked), "{of_revoked}");
    assert!(said.contains(&format!("150 users are to be deactivated, and are in {of_revoked} of the good")), "{said}");
    let bodies = |text: &str| -> Vec<Vec<String>> {
        let bodies = text.lines().map(|body| {
            let body: HashMap<String, Vec<String>> = serde_json::from_str(body).unwrap();
            assert_eq!(body.len(), 1);
            body["uidsToDeactivate"].clone()
        });
        bodies.collect()
    };
    assert_eq!(bodies(&read("list.revoked.json")).concat(), text.lines().collect::<Vec<_>>());
    write(&folder, "--tool wrk --kid k1 --count 10 --users 1500 --revoked 1");
    let sizes: Vec<usize> = bodies(&read("list.revoked.json")).iter().map(Vec::len).collect();
    assert_eq!(sizes, [1000, 500]);
}

#[test]
fn users_and_objects_come_from_lists_and_folders() {
    let folder = folder();
    let of = |options: &str| {
        let (list, _) = write(&folder, &format!("--tool wrk --kid k1 --count 300 {options}"));
        let (users, objects): (HashSet<_>, HashSet<_>) = choices(&list).into_iter().unzip();
        let sorted = |set: HashSet<String>| {
            let mut names: Vec<_> = set.into_iter().collect();
            names.sort();
            names.join(" ")
        };
        (sorted(users), sorted(objects))
    };
    let (users, objects) = of("--users @uids.txt --objects @keys.txt");
    assert_eq!((&*users, &*objects), ("alice bob carol", "/acme/media/%C3%A4%3F.png /acme/x.txt"));
    let (users, objects) = of("--users 2 --user-name u{}@x --objects @media");
    let name = format!("u1{0}/x u2{0}/x", folder.path().display());
    assert_eq!((users, &*objects), (name, "/acme/1.png /acme/a%20b/2.png"));
    assert_eq!(of("--users 1 --objects 2 --object-name o-{}.bin").1, "/acme/o-1.bin /acme/o-2.bin");
}

#[test]
fn only_the_owner_reads_it_and_nothing_is_left_half_done() {
    let folder = folder();
    let names = || {
        let entries =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        entries.filter(|name| name.starts_with("list")).collect::<HashSet<_>>()
    };
    // Names are known to be good before the first line; a URL that cannot be signed is not.
    let error = try_write(&folder, "--config @storage.toml --tool oha --mode presigned").unwrap_err();
    assert!(error.contains("target = \"gate\""), "{error}");
    assert_eq!(names(), HashSet::new());
    fs::write(folder.path().join("list.txt"), "old").unwrap();
    fs::set_permissions(folder.path().join("list.txt"), fs::Permissions::from_mode(0o644)).unwrap();
    for tool in ["wrk", "k6"] {
        write(&folder, &format!("--tool {tool} --kid k1 --count 10 --revoked 0.5"));
    }
    let expected = ["list.txt", "list.lua", "list.js", "list.revoked.txt", "list.revoked.json"];
    assert_eq!(names(), expected.map(str::to_owned).into());
    for name in names() {
        let mode = fs::metadata(folder.path().join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn an_error_says_what_was_wrong() {
    let folder = folder();
    let good = "--tool wrk --kid k1";
    for (options, message) in [
        ("--tool wrk".to_owned(), "several keys, say which with --kid"),
        ("--tool wrk --kid SK1".to_owned(), "Twilio"),
        ("--tool wrk --kid k2".to_owned(), "--private-key-file"),
        ("--tool ab --kid k1".to_owned(), "[possible values: wrk, oha, vegeta, k6]"),
        (format!("{good} --config @missing.toml"), "cannot be read"),
        (format!("{good} --ttl 2d"), "longer than a token may live"),
        (format!("{good} --count 0"), "1..=1000000000"),
        (format!("{good} --users 0"), "--users takes 1 to 10000000"),
        (format!("{good} --users @missing.txt"), "--users takes a number or the name of a file"),
        (format!("{good} --users @empty.txt"), "has 0 names"),
        (format!("{good} --users @odd.txt"), "\"na me\" is no uid"),
        (format!("{good} --user-name user"), "--user-name must have {} once"),
        (format!("{good} --users-by normal"), "must be uniform, zipf"),
        (format!("{good} --users-by zipf:-1"), "exponent from 0 to 10"),
        (format!("{good} --objects @up.txt"), "\"a/../b\" is no key"),
        (format!("{good} --object-name /{{}}"), "is no key"),
        (format!("{good} --bad 5"), "a number from 0 to 1"),
        (format!("{good} --revoked NaN"), "a number from 0 to 1"),
        (format!("{good} --mode cookie"), "[possible values: embedded, header, presigned]"),
        (format!("{good} --url 127.0.0.1:8080"), "like http://127.0.0.1:8080"),
        (format!("{good} --url http://127.0.0.1/x"), "like http://127.0.0.1:8080"),
        (format!("{good} --out @missing/list"), "cannot write"),
        ("--tool oha --kid k1 --mode header".to_owned(), "oha has no header for each URL"),
        ("--tool oha --mode presigned --ttl 1h".to_owned(), "are for tokens"),
        ("--tool oha --mode presigned --config @no-presigned.toml".to_owned(), "not configured at this gate"),
    ] {
        let error = try_write(&folder, &options).expect_err(&options);
        assert!(error.contains(message), "{options}: {error}");
        assert!(!error.contains("0123456789abcdef"), "{error}");
    }
}

#[test]
fn help_teaches_with_examples_that_work() {
    let help = Cli::try_parse_from(["targets", "--help"]).unwrap_err().to_string();
    let out = tempfile::tempdir().unwrap();
    let example = help.lines().find_map(|line| line.strip_prefix("  mediagate ")).unwrap();
    let conf = concat!(env!("CARGO_MANIFEST_DIR"), "/conf/");
    let example = example.replace("conf/", conf).replace("--out ", &format!("--out {}/", out.path().display()));
    let cli = Cli::try_parse_from(example.split(' ')).unwrap();
    #[expect(clippy::disallowed_methods, reason = "the example has no other time")]
    let wall = SystemTime::now();
    let said = cli.args.write(Now { wall, monotonic: Instant::now() }).unwrap();
    assert!(said.contains("100000 requests, 100000 good\n  wrk -t2"), "{said}");
}
