//! The OpenAPI document against the API: a generator makes calls of it that are as they should be, and others.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::gateway::{Gateway, storage};
use crate::support::database::Database;
use crate::support::process::API_KEY;

/// What is asked of every answer. That a call which is as the document says is never refused is not: the document cannot
/// say that a user must be there.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,negative_data_rejection";

#[test]
fn whatever_the_document_makes_of_calls_is_answered_as_it_says() {
    // The document's examples speak of alice.
    let gateway = Gateway::start(Database::sqlite(), storage(), |config| {
        config.replace("[control]\n", "[control]\ncalls_per_minute = 0\n")
    });
    gateway.register(&["alice", "bob"]);
    for _ in 0..3 {
        gateway.call("POST", "/v3/apikeys", json!({ "name": "worker", "scope": "fullAccess" }));
    }
    let token = gateway.auth_token("bob");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(root.join(".venv/bin/schemathesis"))
        .arg("--config-file")
        .arg(root.join("tests/servers/schemathesis.toml"))
        .arg("run")
        .arg(format!("https://{}/v3/openapi.json", gateway.process.control))
        .arg("--tls-verify")
        .arg(&gateway.authority)
        .args(["--header", &format!("apikey:{API_KEY}"), "--header", &format!("authToken:{token}")])
        .args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-examples", "12"])
        .args(["--seed", "1", "--no-shrink", "--workers", "1", "--request-timeout", "40"])
        .args(["--suppress-health-check", "all", "--warnings", "off"])
        // What it remembers of other runs would make this one another.
        .current_dir(&gateway.process.state)
        .output()
        .expect("it is installed: scripts/install-deps.sh test");
    let text = String::from_utf8_lossy(&output.stdout);
    // The report alone: what comes before it is a list of all calls.
    let report = text.find("= FAILURES =").or(text.find("= ERRORS =")).map_or(&*text, |at| &text[at..]);
    let report = report.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(output.status.success(), "{report} {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(gateway.me("PUT", &gateway.auth_token("bob")).status, 200, "it still serves");
}
