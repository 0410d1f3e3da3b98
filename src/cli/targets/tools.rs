//! What each load generator reads.

use std::path::Path;

use anyhow::Context;
use clap::ValueEnum;
use serde_json::json;

use crate::control::MAX_UIDS;

const WRK: &str = include_str!("wrk.lua");
const K6: &str = include_str!("k6.js");

/// What a script has in place of the list's path.
const LIST: &str = "\"@LIST@\"";

/// A load generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Tool {
    /// A list, and a Lua script that reads it line by line
    Wrk,
    /// A list for --urls-from-file
    Oha,
    /// Targets in the HTTP format
    Vegeta,
    /// A list, and a script that all its virtual users share
    K6,
}

impl Tool {
    /// Adds the request for `path` to `line`, with `token` in a header.
    pub(super) fn line(self, line: &mut String, origin: &str, path: &str, token: Option<&str>) {
        let parts = match (self, token) {
            (Tool::Wrk, None) => [path, "\n", "", "", ""],
            (Tool::Wrk, Some(token)) => [path, " ", token, "\n", ""],
            (Tool::Oha | Tool::K6, None) => [origin, path, "\n", "", ""],
            (Tool::Oha | Tool::K6, Some(token)) => [origin, path, " ", token, "\n"],
            (Tool::Vegeta, None) => ["GET ", origin, path, "\n\n", ""],
            (Tool::Vegeta, Some(token)) => {
                line.push_str("GET ");
                [origin, path, "\nfat: ", token, "\n\n"]
            }
        };
        line.extend(parts);
    }

    /// The script that goes with the list, with the ending of its name.
    pub(super) fn script(self, list: &Path) -> anyhow::Result<Option<(&'static str, String)>> {
        let (ending, script) = match self {
            Tool::Wrk => ("lua", WRK),
            Tool::K6 => ("js", K6),
            Tool::Oha | Tool::Vegeta => return Ok(None),
        };
        // wrk is started anywhere; k6 has paths from where its script is, and an absolute one does for both.
        let list = std::path::absolute(list).with_context(|| format!("cannot tell where {} is", list.display()))?;
        let list = list.to_str().filter(|list| !list.contains(|c: char| c.is_control()));
        let list = list.context("--out: the path must be plain text for a script to name it")?;
        // A string of JSON without control characters is the same in Lua and in JavaScript.
        Ok(Some((ending, script.replace(LIST, &json!(list).to_string()))))
    }

    /// How the tool is run with the list.
    pub(super) fn command(self, list: &Path, origin: &str) -> String {
        let list_name = list.display();
        match self {
            Tool::Wrk => {
                format!("wrk -t2 -c50 -d30s --latency -s {} {origin}", list.with_extension("lua").display())
            }
            Tool::Oha => {
                format!("oha --no-tui -z 30s -c 50 -q 1000 --latency-correction --urls-from-file {list_name}")
            }
            Tool::Vegeta => {
                format!("vegeta attack -rate=1000 -duration=30s -lazy -targets={list_name} | vegeta report")
            }
            Tool::K6 => format!("k6 run -e RATE=1000 -e DURATION=30s {}", list.with_extension("js").display()),
        }
    }
}

/// Bodies of `DELETE /v3/users`, one a line.
pub(super) fn deactivations(uids: &[String]) -> String {
    uids.chunks(MAX_UIDS).map(|uids| format!("{}\n", json!({ "uidsToDeactivate": uids }))).collect()
}
