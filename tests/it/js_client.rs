//! The JavaScript client: its tests in Node and in Chromium, against the real gate and against servers that misbehave, and
//! its types.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::process::Mediagate;

/// Where the client is.
fn client() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/js")
}

/// Runs `node` in the client's folder.
fn node(args: &[&str], env: &[(String, &str)]) -> (Output, String) {
    let output = Command::new("node").args(args).envs(env.iter().cloned()).current_dir(client()).output();
    let output = output.expect("node is installed: scripts/install-deps.sh test");
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output, String::from_utf8_lossy(&text).into_owned())
}

/// Runs files of tests; the gate that they are about is what `ready` says.
pub(crate) fn check(files: &[&str], ready: &Value) {
    let variables =
        ["media", "control", "apikey", "gallery"].map(|name| (format!("MEDIAGATE_{}", name.to_uppercase()), name));
    let env = variables.map(|(variable, name)| (variable, ready[name].as_str().unwrap_or_default()));
    let (output, text) = node(&[&["--test", "--test-reporter=tap"], files].concat(), &env);
    assert!(output.status.success(), "{text}");
    let number = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.parse::<usize>().ok());
    let counts = ["# pass ", "# fail ", "# cancelled ", "# skipped ", "# todo "].map(number);
    assert!(matches!(counts, [Some(1..), Some(0), Some(0), Some(0), Some(0)]), "{text}");
}

/// The same, about a gate with sample files.
fn check_with_gate(file: &str) {
    let state = TempDir::new().expect("a folder");
    let (_gate, ready) = Mediagate::dev(state.path(), &[]);
    // The older a file, the longer a browser keeps it that was not told otherwise (RFC 9111 section 4.2.2).
    let picture = state.path().join("files/media/picture.png");
    let year_2001 = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().write(true).open(picture).and_then(|file| file.set_modified(year_2001)).expect("a sample");
    check(&[file], &ready);
}

#[test]
fn it_opens_media_of_the_real_gate() {
    check_with_gate("test/gate.test.js");
}

#[test]
fn it_bears_servers_that_misbehave() {
    check(&["test/servers.test.js", "test/answers.test.js"], &Value::Null);
}

#[test]
fn it_opens_media_in_a_real_browser() {
    check_with_gate("test/browser.test.js");
}

#[test]
fn its_types_are_those_of_the_module() {
    let out = TempDir::new().expect("a folder");
    let tsc = "../../tests/servers/node_modules/typescript/bin/tsc";
    let (output, text) = node(&[tsc, "--project", ".", "--outDir", out.path().to_str().expect("UTF-8")], &[]);
    assert!(output.status.success(), "{text}");
    let read = |dir: &Path| std::fs::read_to_string(dir.join("mediagate.d.ts")).expect("types");
    assert!(read(out.path()) == read(&client()), "to mend it: node {tsc} --project . (in clients/js)");
}
