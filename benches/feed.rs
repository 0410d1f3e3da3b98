//! How fast restrictions reach nodes, how many at once, and what loading them takes.
//!
//! ```text
//! cargo bench --bench feed [-- --quick | --full] [--only latency | committed | throughput | loading]
//! ```
//!
//! `--full` also loads 10 million entries, which takes minutes and several GB. Starts its own Redis and NATS servers.
//! Everything shares the machine: server, publisher and all nodes. Prints Markdown.

#[path = "feed/nodes.rs"]
mod nodes;
#[path = "feed/servers.rs"]
mod servers;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mediagate::relay::{RelayTimes, relay};
use mediagate::restrictions::Effect;
use mediagate::store::{Store, Wanted};
use nodes::{Node, Published, Source, Writer, change, user};
use servers::Server;
use tempfile::TempDir;

/// The first argument of a process that the bench starts: it loads a state and tells what that took.
const LOAD: &str = "--load";

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).map(String::as_str) == Some(LOAD) {
        return load(&args[2], args[3].parse().expect("a number")).await;
    }
    let is = |flag: &str| args.iter().any(|arg| arg == flag);
    let seconds = if is("--quick") { 1 } else { 5 };
    let only = args.iter().position(|arg| arg == "--only").map(|at| args.get(at + 1).expect("the name of a part"));
    let wanted = |part: &str| only.is_none_or(|only| only == part);
    println!("## Restrictions on their way\n");
    if wanted("latency") {
        latency(seconds).await;
    }
    if wanted("committed") {
        committed(if is("--quick") { 50 } else { 400 }).await;
    }
    if wanted("throughput") {
        throughput(if is("--quick") { 20_000 } else { 100_000 }).await;
    }
    if wanted("loading") {
        let sizes: &[u64] = if is("--full") { &[1_000_000, 10_000_000] } else { &[1_000_000] };
        loading(if is("--quick") { &[100_000] } else { sizes }).await;
    }
}

/// From the call that publishes to the set that refuses, at a steady rate.
async fn latency(seconds: u64) {
    println!("### From publishing to enforced\n");
    println!("| feed | nodes | changes/s | p50 ms | p99 ms | p99 ≤ 10 ms |\n| --- | ---: | ---: | ---: | ---: | --- |");
    for (name, server) in [("Redis", Server::redis()), ("NATS", Server::nats())] {
        let source = if name == "Redis" { Source::Redis(server.url.clone()) } else { Source::Nats(server.url.clone()) };
        let mut writer = Writer::connect(&source).await;
        writer.fill(1, 1).await;
        let mut seq = 1;
        for (count, rate) in [(1, 1000), (10, 1000), (50, 200)] {
            let mut following = Vec::new();
            for _ in 0..count {
                let mut node = Node::start(&source).await;
                node.until(seq).await;
                following.push(node);
            }
            let (first, last) = (seq + 1, seq + rate * seconds);
            let published = Arc::new(Published { first, last, times: Mutex::new(Vec::new()) });
            let measured: Vec<_> = following.iter().map(|node| node.measure(Arc::clone(&published))).collect();
            let begun = tokio::time::Instant::now();
            for n in 0..rate * seconds {
                tokio::time::sleep_until(begun + Duration::from_secs(1) * n as u32 / rate as u32).await;
                published.times.lock().expect("no panic").push(Instant::now());
                writer.publish(seq, &[change(seq + 1)]).await.expect("a broker");
                seq += 1;
            }
            let mut took = Vec::new();
            for node in measured {
                took.extend(node.await.expect("no panic"));
            }
            assert_eq!(took.len() as u64, count * rate * seconds, "nothing is lost");
            let (p50, p99) = quantiles(took);
            let target = if count == 10 { verdict(p99 <= 10.0) } else { "" };
            println!("| {name} | {count} | {rate} | {p50:.2} | {p99:.2} | {target} |");
        }
    }
    println!();
}

/// From the acknowledgement of a commit to the last of ten nodes, through store, relay and broker.
async fn committed(samples: usize) {
    println!("### From acknowledged to enforced on every node of 10\n");
    println!("| feed | p50 ms | p99 ms | p99 ≤ 50 ms |\n| --- | ---: | ---: | --- |");
    for (name, server) in [("local", None), ("Redis", Some(Server::redis())), ("NATS", Some(Server::nats()))] {
        let dir = TempDir::new().expect("a folder");
        let store = Store::open(&dir.path().join("mediagate.db")).await.expect("a store");
        let source = source(name, &store, server.as_ref());
        let relaying = spawn_relay(&source, &store).await;
        let mut following = Vec::new();
        for _ in 0..10 {
            let mut node = Node::start(&source).await;
            node.until(0).await;
            following.push(node);
        }
        let mut took = Vec::new();
        for n in 0..samples as u64 {
            let wanted = vec![Wanted::impose(user(n), Effect::Deactivated)];
            let changes = store.apply(wanted).await.expect("a commit");
            let (acknowledged, seq) = (Instant::now(), changes[0].as_ref().expect("a change").seq);
            for node in &mut following {
                node.until(seq).await;
            }
            took.push(acknowledged.elapsed());
        }
        relaying.into_iter().for_each(|task| task.abort());
        let (p50, p99) = quantiles(took);
        println!("| {name} | {p50:.2} | {p99:.2} | {} |", verdict(p99 <= 50.0));
    }
    println!();
}

/// How many changes a second go from the store through the relay into a node that was there before.
async fn throughput(count: u64) {
    println!("### Changes a second, from the store to a node\n");
    println!("| feed | changes | seconds | changes/s | ≥ 10,000/s |\n| --- | ---: | ---: | ---: | --- |");
    for (name, server) in [("local", None), ("Redis", Some(Server::redis())), ("NATS", Some(Server::nats()))] {
        let dir = TempDir::new().expect("a folder");
        let store = Store::open(&dir.path().join("mediagate.db")).await.expect("a store");
        let source = source(name, &store, server.as_ref());
        // Filled and followed once, so that what comes then is changes and no state.
        let relaying = spawn_relay(&source, &store).await;
        let mut node = Node::start(&source).await;
        node.until(0).await;
        relaying.into_iter().for_each(|task| task.abort());
        let numbers: Vec<u64> = (0..count).collect();
        let begun_storing = Instant::now();
        let mut begun = begun_storing;
        for part in numbers.chunks(10_000) {
            let wanted = part.iter().map(|n| Wanted::impose(user(*n), Effect::Deactivated)).collect();
            store.apply(wanted).await.expect("a commit");
        }
        let relaying = if name == "local" {
            Vec::new()
        } else {
            begun = Instant::now();
            spawn_relay(&source, &store).await
        };
        node.until(count).await;
        let took = begun.elapsed().as_secs_f64();
        assert_eq!(node.set.len() as u64, count, "none is lost");
        relaying.into_iter().for_each(|task| task.abort());
        let rate = count as f64 / took;
        println!("| {name} | {count} | {took:.2} | {rate:.0} | {} |", verdict(rate >= 10_000.0));
    }
    println!();
}

/// What loading a whole state takes a node that starts.
async fn loading(sizes: &[u64]) {
    println!("### Loading a state\n");
    println!("| feed | entries | seconds to ready | target | resident bytes an entry | ≤ 40 |");
    println!("| --- | ---: | ---: | --- | ---: | --- |");
    for count in sizes {
        for (name, server) in [("Redis", Server::redis()), ("NATS", Server::nats())] {
            let dir = TempDir::new().expect("a folder");
            let store = Store::open(&dir.path().join("mediagate.db")).await.expect("a store");
            let source = source(name, &store, Some(&server));
            let mut writer = Writer::connect(&source).await;
            writer.fill(*count, *count).await;
            let beating = tokio::spawn({
                let count = *count;
                async move {
                    loop {
                        let _ = writer.heartbeat(count).await;
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
            });
            let loaded = tokio::process::Command::new(std::env::current_exe().expect("this binary"))
                .args([LOAD, &server.url, &count.to_string()])
                .output()
                .await
                .expect("this binary runs");
            beating.abort();
            let line = String::from_utf8(loaded.stdout).expect("text");
            let mut numbers = line.split_whitespace().map(|number| number.parse::<f64>().expect("a number"));
            let (seconds, bytes) = (numbers.next().expect("seconds"), numbers.next().expect("bytes"));
            let limit = if name == "Redis" { 1.5 } else { 5.0 };
            let target = if *count == 1_000_000 {
                format!("≤ {limit} s: {}", verdict(seconds <= limit))
            } else {
                String::new()
            };
            println!("| {name} | {count} | {seconds:.2} | {target} | {bytes:.1} | {} |", verdict(bytes <= 40.0));
        }
    }
    println!();
}

/// Loads the state at `url` and prints seconds and resident bytes an entry.
async fn load(url: &str, count: u64) {
    let source = if url.starts_with("redis") { Source::Redis(url.into()) } else { Source::Nats(url.into()) };
    let before = resident_bytes();
    let begun = Instant::now();
    let mut node = Node::start(&source).await;
    node.until(count).await;
    let seconds = begun.elapsed().as_secs_f64();
    assert_eq!(node.set.len() as u64, count);
    println!("{seconds} {}", (resident_bytes() - before) / count as f64);
}

/// Of memory that is not a file's: what the program itself takes is no entry's.
fn resident_bytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("RssAnon");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).expect("a number") * 1024.0
}

fn source(name: &str, store: &Store, server: Option<&Server>) -> Source {
    match (name, server) {
        ("Redis", Some(server)) => Source::Redis(server.url.clone()),
        ("NATS", Some(server)) => Source::Nats(server.url.clone()),
        _ => Source::Local(store.clone()),
    }
}

async fn spawn_relay(source: &Source, store: &Store) -> Vec<tokio::task::JoinHandle<()>> {
    if matches!(source, Source::Local(_)) {
        return Vec::new();
    }
    let (store, times) = (store.clone(), RelayTimes::default());
    vec![match Writer::connect(source).await {
        Writer::Redis(broker) => tokio::spawn(async move { relay(store, *broker, "bench", times).await }),
        Writer::Nats(broker) => tokio::spawn(async move { relay(store, *broker, "bench", times).await }),
    }]
}

/// Median and 99th percentile, in milliseconds.
fn quantiles(mut took: Vec<Duration>) -> (f64, f64) {
    took.sort_unstable();
    let at = |quantile: f64| took[((took.len() - 1) as f64 * quantile) as usize].as_secs_f64() * 1e3;
    (at(0.5), at(0.99))
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "**not met**" }
}
