//! The commands against a real control listener.

use clap::Parser;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::control::tests::Gateway;
use crate::gate::UidCase;
use crate::secret::Secret;

#[derive(Parser)]
struct Program {
    #[command(subcommand)]
    command: UserCommand,
}

/// Runs `mediagate user` with these words; returns what it prints, or says.
async fn run(control: &str, key: &str, words: &[&str]) -> Result<String, String> {
    let words = [&["mediagate"], words, &["--control", control]].concat();
    let program = Program::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
    let (verb, args) = program.command.into_parts();
    let key = ApiKey { key: Secret::new(key), origin: "`backend.key`".into() };
    let lines = change(&verb, &args, &key, &args.uids).await;
    lines.map(|lines| lines.join("\n")).map_err(|error| format!("{error:#}"))
}

#[track_caller]
fn says(outcome: Result<String, String>, parts: &[&str]) {
    let said = outcome.expect_err("it succeeded");
    assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    assert!(!said.contains("full-access-key"), "{said}");
}

const KEY: &str = "full-access-key";

#[tokio::test]
async fn each_user_has_a_line() {
    let gateway = Gateway::start(&[("acme", UidCase::Folded)]).await;
    let control = format!("http://{}/", gateway.address);
    let said = run(&control, KEY, &["deactivate", "Bob", "carol"]).await.unwrap();
    assert_eq!(
        said,
        "bob is deactivated: every link of bob's is dead.\ncarol is deactivated: every link of carol's is dead."
    );
    assert_eq!(run(&control, KEY, &["deactivate", "bob"]).await.unwrap(), "bob was deactivated already.");
    let said = run(&control, KEY, &["activate", "bob", "dave", "--app", "acme"]).await.unwrap();
    assert_eq!(said, "bob is active again: links of bob's that have not expired work.\ndave was active already.");
}

#[tokio::test]
async fn a_refusal_says_what_to_do_next() {
    let gateway = Gateway::start(&[("acme", UidCase::Folded), ("other", UidCase::Folded)]).await;
    let control = format!("http://{}", gateway.address);
    says(run(&control, "wrong", &["deactivate", "bob"]).await, &[&control, "`backend.key`", "[[control.api_keys]]"]);
    says(run(&control, "sign-up-key", &["activate", "bob"]).await, &["`backend.key`", "fullAccess"]);
    says(run(&control, KEY, &["deactivate", "bob"]).await, &["several apps", "--app"]);
    says(run(&control, KEY, &["deactivate", "bob", "--app", "acmee"]).await, &["no such app", "[[apps]]"]);
    let malformed = run(&control, KEY, &["deactivate", "a b", "--app", "acme"]).await;
    says(malformed, &["400", "uidsToDeactivate.0 must be 1 to 255 visible ASCII characters"]);
    says(run(&control, "two\nlines", &["deactivate", "bob"]).await, &["`backend.key`", "cannot be sent"]);
    says(run("ftp://gate.example", KEY, &["deactivate", "bob"]).await, &["--control", "http://127.0.0.1:8081"]);
}

#[tokio::test]
async fn a_listener_that_is_not_there_or_another_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let control = format!("http://{}", listener.local_addr().unwrap());
    let other = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await.unwrap();
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello").await.unwrap();
    });
    says(run(&control, KEY, &["deactivate", "bob"]).await, &["answered 404", "[control]", "[media]"]);
    other.await.unwrap();
    says(
        run(&control, KEY, &["deactivate", "bob"]).await,
        &[&control, "`mediagate serve` running", "MEDIAGATE_CONTROL"],
    );
}

#[test]
fn the_key_comes_from_its_file_without_the_line_break() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("backend.key");
    std::fs::write(&path, "secret\n").unwrap();
    assert_eq!(ApiKey::find(Some(&path)).unwrap().key.expose(), b"secret");
    std::fs::write(&path, "\n").unwrap();
    assert!(ApiKey::find(Some(&path)).err().unwrap().to_string().contains("backend.key"));
    let missing = dir.path().join("missing.key");
    assert!(format!("{:#}", ApiKey::find(Some(&missing)).err().unwrap()).contains("missing.key"));
}

#[test]
fn users_are_named_and_help_has_examples() {
    assert!(Program::try_parse_from(["mediagate", "deactivate"]).is_err());
    let help = Program::try_parse_from(["mediagate", "activate", "--help"]).err().unwrap().to_string();
    assert!(help.contains("Examples:") && help.contains("MEDIAGATE_API_KEY") && help.contains("--app"), "{help}");
}
