//! The install script, tried in a folder as somebody without root would.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::SECRET;
use crate::support::process::{binary, run};

fn install(dest: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install.sh"));
    command.env("DESTDIR", dest).args(args).output().expect("the script runs")
}

/// Each file below `dir`, with its mode and content.
fn files(dir: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let mode = path.metadata().expect("a file").permissions().mode() & 0o7777;
            found.insert(path.clone(), (mode, std::fs::read(&path).expect("a file")));
        }
    }
    found
}

fn succeeds(output: Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn it_installs_once_and_overwrites_nothing() {
    let dest = TempDir::new().unwrap();
    let at = |path: &str| dest.path().join(path);
    // Standing in for the program: the real one is large, and copied four times here.
    let program = at("program");
    std::fs::write(&program, "one").unwrap();
    let binary = ["--prefix", "/opt/gate", "--binary", program.to_str().unwrap()];
    succeeds(install(dest.path(), &binary));

    let first = files(dest.path());
    let secrets = ["backend.key", "acme-k1.key", "presigned.key", "s3.key", "s3.id"];
    for name in secrets {
        assert_eq!(first[&at("etc/mediagate/secrets").join(name)].0, 0o600, "{name}");
    }
    let mut contents: Vec<_> = secrets.iter().map(|name| &first[&at("etc/mediagate/secrets").join(name)].1).collect();
    contents.sort();
    contents.dedup();
    assert_eq!(contents.len(), secrets.len(), "each secret is another");
    assert!(contents.iter().all(|secret| secret.len() >= 20));
    assert_eq!(first[&at("etc/mediagate/mediagate.toml")].0, 0o600);
    assert_eq!(first[&at("opt/gate/bin/mediagate")], (0o755, b"one".to_vec()));
    assert!(first.contains_key(&at("opt/gate/share/doc/mediagate/mediagate.toml")));
    let unit = &first[&at("etc/systemd/system/mediagate.service")];
    let text = String::from_utf8(unit.1.clone()).unwrap();
    assert!(unit.0 == 0o644 && text.contains("ExecStart=/opt/gate/bin/mediagate serve"), "{text}");
    assert!(!text.contains("/usr/local/"), "{text}");
    assert_eq!(first.len(), secrets.len() + 5, "{:?}", first.keys());

    // An operator's changes, and a newer program: neither is touched without being asked for.
    std::fs::write(at("etc/mediagate/secrets/backend.key"), "the operator's").unwrap();
    std::fs::write(&program, "two").unwrap();
    let changed = files(dest.path());
    let said = succeeds(install(dest.path(), &binary));
    assert_eq!(said.matches("install: kept ").count(), first.len() - 1, "{said}");
    assert_eq!(files(dest.path()), changed);

    succeeds(install(dest.path(), &[&binary[..], &["--upgrade"]].concat()));
    let mut upgraded = changed.clone();
    upgraded.insert(at("opt/gate/bin/mediagate"), (0o755, b"two".to_vec()));
    assert_eq!(files(dest.path()), upgraded);

    succeeds(install(dest.path(), &["--prefix", "/opt/gate", "--uninstall"]));
    let left = files(dest.path());
    assert!(left.contains_key(&at("etc/mediagate/secrets/backend.key")) && left.len() == secrets.len() + 2);
}

#[test]
fn what_it_writes_is_a_configuration_without_errors_and_without_example_secrets() {
    let dest = TempDir::new().unwrap();
    succeeds(install(dest.path(), &["--binary", binary()]));
    let config = dest.path().join("etc/mediagate/mediagate.toml");
    let (status, said, error) = run(&["config", "check", config.to_str().unwrap()], &[]);
    assert!(status.success() && !said.contains("example"), "{said}{error}");
    let (status, token, error) =
        run(&["token", "mint", "--config", config.to_str().unwrap(), "--app", "acme", "--uid", "alice"], &[]);
    assert!(status.success() && token.matches('.').count() == 2, "{error}");
}

#[test]
fn what_it_does_not_understand_changes_nothing() {
    let dest = TempDir::new().unwrap();
    let check = |args: &[&str], wanted: &str| {
        let output = install(dest.path(), args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(wanted), "{args:?}: {error}");
        assert_eq!(files(dest.path()).len(), 0, "{args:?}");
    };
    check(&["--purge"], "unknown argument --purge");
    check(&["--prefix"], "needs a value");
    check(&["--prefix", "relative"], "absolute path");
    check(&["--prefix", "/a#b"], "absolute path");
    check(&["--binary", "/nowhere/mediagate"], "there is no file");
    assert!(succeeds(install(dest.path(), &["--help"])).starts_with("usage:"));
    assert_eq!(files(dest.path()).len(), 0);
}

#[test]
fn the_configuration_of_docker_compose_has_no_errors_and_its_secrets_are_mounted() {
    let (dir, project) = (TempDir::new().unwrap(), Path::new(env!("CARGO_MANIFEST_DIR")));
    let config = std::fs::read_to_string(project.join("conf/compose/mediagate.toml")).unwrap();
    let compose = std::fs::read_to_string(project.join("docker-compose.yml")).unwrap();
    std::fs::create_dir(dir.path().join("secrets")).unwrap();
    let named: Vec<&str> = config.split('"').filter(|text| text.starts_with("secrets/")).collect();
    assert!(named.len() >= 7, "{named:?}");
    for (number, file) in named.iter().enumerate() {
        std::fs::write(dir.path().join(file), format!("{number}{SECRET}")).unwrap();
        assert!(compose.contains(&format!("target: /etc/mediagate/{file} }}")), "{file}");
        assert!(compose.contains(&format!("{{ file: conf/compose/{file} }}")), "{file}");
    }
    let path = dir.path().join("mediagate.toml");
    std::fs::write(&path, config).unwrap();
    let (status, said, error) = run(&["config", "check", path.to_str().unwrap()], &[]);
    assert!(status.success(), "{said}{error}");
}
