//! Lists for load generators, with the load generators: wrk as it is, and what was written for k6 in Node.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::origin::Origin;
use crate::support::process::{API_KEY, Mediagate, run};

/// Stands in for k6: its modules, what is global in its scripts, and two iterations more than the list has targets.
const K6: &str = include_str!("targets/k6.mjs");

fn gateway() -> (Origin, Mediagate) {
    let storage = Origin::constant("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok");
    let presigned = "[presigned]\nkey_file = \"presigned.key\"\n\n[storage.main]";
    let gate = Mediagate::serve(storage.address, |config| config.replace("[storage.main]", presigned));
    (storage, gate)
}

/// Runs `mediagate targets` for the gate into its folder.
fn targets(gate: &Mediagate, options: &[&str]) {
    let (config, out) = (gate.state.join("mediagate.toml"), gate.state.join("list"));
    let url = format!("http://{}", gate.media);
    let common = ["targets", "--app", "demo", "--url", &url, "--count", "50", "--users", "40"];
    let files = ["--config", config.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let (status, said, error) = run(&[&common[..], &files, options].concat(), &[]);
    assert!(status.success() && said.contains("50 requests"), "{said}{error}");
}

/// A second of wrk: requests that were answered, and those of them that were refused.
fn wrk(gate: &Mediagate) -> (u64, u64) {
    let script = gate.state.join("list.lua");
    let output = Command::new("wrk")
        .args(["-t2", "-c4", "-d1s", "-s"])
        .arg(script)
        .arg(format!("http://{}", gate.media))
        .output()
        .expect("wrk is installed: scripts/install-deps.sh test");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{text}{output:?}"));
    let said: Value = serde_json::from_str(line).unwrap();
    (said["requests"].as_u64().unwrap(), said["statuses"].as_u64().unwrap())
}

#[test]
fn wrk_is_let_through_in_every_mode_and_refused_when_the_list_is_bad() {
    let (_storage, gate) = gateway();
    for mode in ["embedded", "header", "presigned"] {
        for (bad, is_refused) in [("0", false), ("1", true)] {
            targets(&gate, &["--tool", "wrk", "--mode", mode, "--bad", bad]);
            let (requests, refused) = wrk(&gate);
            // More than the list has: it begins again at its end.
            assert!(requests > 100, "{mode}: {requests}");
            assert_eq!(refused, if is_refused { requests } else { 0 }, "{mode}");
        }
    }
}

#[test]
fn one_call_deactivates_all_who_were_drawn() {
    let (_storage, gate) = gateway();
    targets(&gate, &["--tool", "wrk", "--revoked", "1"]);
    let (requests, refused) = wrk(&gate);
    assert!(requests > 0 && refused == 0);
    let body: Value = serde_json::from_slice(&std::fs::read(gate.state.join("list.revoked.json")).unwrap()).unwrap();
    let answer = gate.control("DELETE", "/v3/users?wait=2s", &body).json();
    assert_eq!(answer["data"]["deactivatedUids"].as_array().map(Vec::len), Some(40), "{answer}");
    let (requests, refused) = wrk(&gate);
    assert!(requests > 0 && refused == requests, "{requests} {refused}");

    let list = gate.state.join("list.revoked.txt");
    let control = format!("http://{}", gate.control);
    let from = |list: &Path| {
        let list = list.to_str().unwrap();
        run(&["user", "activate", "--from", list, "--control", &control], &[("MEDIAGATE_API_KEY", API_KEY)])
    };
    let (status, said, error) = from(&list);
    assert!(status.success() && said.matches("is active again").count() == 40, "{said}{error}");
    assert_eq!(wrk(&gate).1, 0);
    std::fs::write(gate.state.join("nobody.txt"), "\n").unwrap();
    let (status, _, error) = from(&gate.state.join("nobody.txt"));
    assert!(!status.success() && error.contains("there is no uid in"), "{error}");
}

#[test]
fn the_script_for_k6_asks_for_each_target_in_turn() {
    let (_storage, gate) = gateway();
    std::fs::write(gate.state.join("k6.mjs"), K6).unwrap();
    for (mode, header) in [("embedded", false), ("header", true)] {
        targets(&gate, &["--tool", "k6", "--mode", mode, "--bad", "0.5"]);
        let output = Command::new("node").arg("k6.mjs").arg("list.js").current_dir(&gate.state).output();
        let output = output.expect("node is installed: scripts/install-deps.sh test");
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        let asked = said["asked"].as_array().unwrap();
        assert_eq!(asked.len(), 52);
        assert_eq!(asked[..2], asked[50..]);
        let list = std::fs::read_to_string(gate.state.join("list.txt")).unwrap();
        for (asked, line) in asked.iter().zip(list.lines()) {
            let (url, token) = line.split_once(' ').map_or((line, None), |(url, token)| (url, Some(token)));
            assert_eq!(token.is_some(), header);
            assert_eq!(*asked, json!([url, token]));
        }
        let statuses: u64 = ["200", "401"].iter().map(|status| said["answers"][*status].as_u64().unwrap()).sum();
        assert_eq!(statuses, 52, "{said}");
        assert_eq!(said["options"]["scenarios"]["targets"]["executor"], "constant-arrival-rate");
    }
}
