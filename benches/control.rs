//! What the control plane does in a second on each database, and what the media plane notices of that.
//!
//! ```text
//! cargo bench --bench control [-- --quick] [--only calls | media]
//! ```
//!
//! Starts the binary itself, with PostgreSQL and Redis servers of its own. Everything shares the machine: gateway,
//! database and the clients. Prints Markdown.

#![allow(dead_code, reason = "what the tests share is more than this needs")]

#[path = "proxy/cpu.rs"]
mod cpu;
#[path = "control/load.rs"]
mod load;
#[path = "control/media.rs"]
mod media;
#[path = "../tests/it/support/mod.rs"]
mod support;

use std::time::Duration;

use load::{Call, Caller, Load};
use serde_json::{Value, json};
use support::database::Database;
use support::origin::Origin;
use support::process::Mediagate;

/// Clients that call at the same time.
const CLIENTS: usize = 8;

/// The most that one call for so many of a kind may take.
const BATCHES: [(&str, f64); 2] = [("presigned URLs", 10.0), ("FATs", 15.0)];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let quick = args.iter().any(|arg| arg == "--quick");
    let only = args.iter().position(|arg| arg == "--only").map(|at| args.get(at + 1).expect("the name of a part"));
    let wanted = |part: &str| only.is_none_or(|only| only == part);
    if wanted("calls") {
        calls(Duration::from_secs(if quick { 1 } else { 5 }));
    }
    if wanted("media") {
        media::bench(if quick { 2 } else { 10 }, Duration::from_secs(if quick { 1 } else { 3 }));
    }
}

/// A storage whose objects have 1 KiB.
fn storage() -> Origin {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 1024\r\n\r\n";
    Origin::constant([head.as_bytes(), &support::noise(1024)].concat())
}

/// A configuration without limits on calls, with presigned URLs.
fn unlimited(config: &str) -> String {
    let config = config.replace("[control]\n", "[control]\ncalls_per_minute = 0\n");
    format!("{config}\n[presigned]\nkey_file = \"presigned.key\"\n")
}

/// Users who are there from the start; returns an auth token of each.
fn register(gateway: &Mediagate, count: usize) -> Vec<String> {
    let mut caller = Caller::connect(gateway.control);
    let token = |n| {
        let user = json!({ "uid": format!("user-{n}"), "name": "somebody", "withAuthToken": true });
        let answer = caller.ask(&Call::with_key("POST", "/v3/users", &user));
        answer["data"]["authToken"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    };
    (0..count).map(token).collect()
}

fn calls(seconds: Duration) {
    println!("## The control plane\n");
    println!(
        "{CLIENTS} clients on connections that are kept, each with one call at a time, {} s for each figure; 1,000 users; \
         plain HTTP.\n",
        seconds.as_secs()
    );
    println!("| calls | SQLite: calls/s | p50 ms | p99 ms | PostgreSQL: calls/s | p50 ms | p99 ms |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    let measured = [Database::sqlite(), Database::postgres()].map(|database| {
        let gateway = Mediagate::serve(storage().address, |config| unlimited(&database.named_in(&config)));
        let tokens = register(&gateway, 1000);
        let kinds = kinds(&tokens);
        let many = kinds.iter().map(|(_, calls)| Load::of(gateway.control, calls, CLIENTS).during(seconds));
        let many: Vec<_> = many.collect();
        // Alone: how long the one who waits for a batch waits.
        let alone = kinds[3..].iter().map(|(_, calls)| Load::of(gateway.control, calls, 1).during(seconds));
        (many, alone.collect::<Vec<_>>(), kinds.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
    });
    let [(sqlite, sqlite_alone, names), (postgres, postgres_alone, _)] = measured;
    for ((name, sqlite), postgres) in names.iter().zip(&sqlite).zip(&postgres) {
        println!("| {name} | {sqlite} | {postgres} |");
    }
    println!("\n| one client, one call for 1,000 | SQLite: p50 ms | p99 ms | PostgreSQL: p50 ms | p99 ms | p50 |");
    println!("| --- | ---: | ---: | ---: | ---: | --- |");
    for ((name, most), (sqlite, postgres)) in BATCHES.iter().zip(sqlite_alone.iter().zip(&postgres_alone)) {
        let (a, b) = (sqlite.millis(0.5), postgres.millis(0.5));
        let verdict = if a.max(b) <= *most { "met" } else { "**not met**" };
        let (a99, b99) = (sqlite.millis(0.99), postgres.millis(0.99));
        println!("| {name} | {a:.2} | {a99:.2} | {b:.2} | {b99:.2} | ≤ {most} ms: {verdict} |");
    }
    println!();
}

/// What is measured, each as calls that are made in turn; batches are the last two, in the order of [`BATCHES`].
fn kinds(tokens: &[String]) -> [(&'static str, Vec<Call>); 5] {
    let logins = tokens.iter().map(|token| Call::with_token("PUT", "/v3.0/me", token)).collect();
    let uids = || (0..tokens.len()).map(|n| format!("user-{n}"));
    let fat = |uid| Call::with_key("POST", &format!("/v3/users/{uid}/fat"), &Value::Null);
    let made = |uid| Call::with_key("POST", &format!("/v3/users/{uid}/auth_tokens"), &Value::Null);
    let urls: Vec<_> = (0..1000).map(|n| format!("https://files.demo.example/demo/media/2026/11/{n}.jpg")).collect();
    let presign = |uid| Call::with_key("POST", "/v3/presign", &json!({ "uid": uid, "urls": urls }));
    let all: Vec<_> = uids().collect();
    let fats = json!({ "uids": all, "url": "https://files.demo.example/demo/media/7.jpg" });
    [
        ("logins (`PUT /me`)", logins),
        ("auth tokens made", uids().map(made).collect()),
        ("FATs, one a call", uids().map(fat).collect()),
        ("presign batches of 1,000 URLs", uids().take(8).map(presign).collect()),
        ("FAT batches for 1,000 users", vec![Call::with_key("POST", "/v3/fats", &fats)]),
    ]
}
