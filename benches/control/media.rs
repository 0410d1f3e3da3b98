//! Media at a steady rate, with the control plane at rest and with it under full load, in turn.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::cpu::cpu;
use crate::load::{Call, Caller, Load, Measured, wait_until};
use crate::support::client::Connection;
use crate::support::database::Database;
use crate::support::process::Mediagate;
use crate::support::redis_server::{Disk, RedisServer};
use crate::support::{eventually, fat};
use crate::{CLIENTS, kinds, register, storage, unlimited};

/// Requests a second, over all connections: far from what the gate can do, so that nothing queues by itself.
const RATE: u32 = 400;

/// Connections that media is fetched on.
const CONNECTIONS: u32 = 8;

/// One figure of a round: p50 and p99 in milliseconds, and microseconds of the processor for a request.
type Figures = [f64; 3];

pub(crate) fn bench(rounds: usize, seconds: Duration) {
    println!("## The media plane while the control plane is under full load\n");
    println!(
        "{RATE} media requests a second on {CONNECTIONS} connections, 1 KiB each; {CLIENTS} clients that log in and ask for \
         batches as fast as they are answered. {rounds} rounds of {} s at rest and under load in turn; medians of the \
         rounds, and the median of their ratios. The clients of the control plane have the niceness 10. µs: processor time of the process that serves media.\n",
        seconds.as_secs()
    );
    println!("| processes | control plane | p50 ms | p99 ms | µs a request |\n| --- | --- | ---: | ---: | ---: |");
    let storage = storage();
    let one = Mediagate::serve(storage.address, |config| unlimited(&config));
    compare("one for both", &one, &one, rounds, seconds);
    let one_deactivates = deactivations(&one, &one, seconds * 3);
    drop(one);

    let (broker, database) = (RedisServer::start(Disk::None), Database::sqlite());
    let feed = format!("[feed]\nurl = \"redis://127.0.0.1:{}\"\n", broker.port);
    let control = Mediagate::serve(storage.address, |config| {
        let (_, after) = config.split_once("[control]").expect("a section");
        unlimited(&format!("roles = [\"control\"]\n{feed}[control]{}", database.named_in(after)))
    });
    let edge = Mediagate::serve(storage.address, |config| {
        let (before, rest) = config.split_once("[control]").expect("a section");
        let (_, after) = rest.split_once("[metrics]").expect("a section");
        format!("roles = [\"edge\"]\n{before}{feed}[metrics]{after}")
    });
    compare("an edge and a control node", &edge, &control, rounds, seconds);
    let two_deactivate = deactivations(&edge, &control, seconds * 3);
    println!(
        "\nDeactivations one after the other, until the node that serves media has said that they are in force, while \
         {CONNECTIONS} connections fetch media as fast as it comes.\n"
    );
    println!("| processes | deactivations/s | p50 ms | p99 ms |\n| --- | ---: | ---: | ---: |");
    println!("| one for both | {one_deactivates} |\n| an edge and a control node | {two_deactivate} |\n");
}

/// Deactivates and reactivates users for as long, under full media load.
fn deactivations(edge: &Mediagate, control: &Mediagate, seconds: Duration) -> Measured {
    let mut caller = Caller::connect(control.control);
    for n in 0..8 {
        let user = json!({ "uid": format!("gone-{n}"), "name": "somebody" });
        caller.ask(&Call::with_key("POST", "/v3/users", &user));
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for nth in 0..CONNECTIONS {
            scope.spawn({
                let stop = &stop;
                move || {
                    let (mut connection, target) = open(edge.media, nth);
                    while !stop.load(Ordering::Relaxed) {
                        assert_eq!(connection.ask("GET", &target, &[]).status, 200);
                    }
                }
            });
        }
        let both = [("DELETE", "uidsToDeactivate"), ("PUT", "uidsToActivate")];
        let calls: Vec<Call> = (0..8)
            .flat_map(|n| both.map(|(method, field)| (n, method, field)))
            .map(|(n, method, field)| {
                Call::with_key(method, "/v3/users?wait=5s", &json!({ field: [format!("gone-{n}")] }))
            })
            .collect();
        let measured = Load::of(control.control, &calls, 1).during(seconds);
        stop.store(true, Ordering::Relaxed);
        measured
    })
}

fn compare(name: &str, edge: &Mediagate, control: &Mediagate, rounds: usize, seconds: Duration) {
    eventually("it is ready", || crate::support::client::get(edge.metrics, "/readyz").status == 200);
    let tokens = register(control, 1000);
    let [(_, logins), _, (_, fats), (_, presign), (_, batches)] = kinds(&tokens);
    // Mostly logins, and one batch of each kind among them.
    let calls: Vec<Call> =
        logins.chunks(20).flat_map(|logins| [logins, &fats[..4], &presign[..1], &batches].concat()).collect();
    let (mut rest, mut loaded, mut calls_done) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        rest.push(fetch(edge, seconds));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let load = scope.spawn(|| {
                // The clients, which inherit it, are on other machines in earnest.
                rustix::process::setpriority_process(None, 10).expect("threads may give way");
                Load::of(control.control, &calls, CLIENTS).until(&stop)
            });
            loaded.push(fetch(edge, seconds));
            stop.store(true, Ordering::Relaxed);
            calls_done.push(load.join().expect("no panic").rate());
        });
    }
    let column = |figures: &[Figures], at: usize| median(figures.iter().map(|figures| figures[at]));
    let row = |what: &str, value: &dyn Fn(usize) -> f64| {
        println!("| {name} | {what} | {:.2} | {:.2} | {:.1} |", value(0), value(1), value(2));
    };
    row("at rest", &|at| column(&rest, at));
    row(&format!("{:.0} calls/s", median(calls_done.into_iter())), &|at| column(&loaded, at));
    let ratio = |at: usize| median(rest.iter().zip(&loaded).map(|(rest, loaded)| loaded[at] / rest[at]));
    row("ratio", &ratio);
}

/// Fetches media at [`RATE`] for as long. Time counts from when a request was due.
fn fetch(edge: &Mediagate, seconds: Duration) -> Figures {
    let (before, begun) = (cpu(edge.id()), Instant::now());
    let took: Vec<Duration> = std::thread::scope(|scope| {
        let connections: Vec<_> =
            (0..CONNECTIONS).map(|nth| scope.spawn(move || connection(edge.media, nth, begun, seconds))).collect();
        connections.into_iter().flat_map(|connection| connection.join().expect("no panic")).collect()
    });
    let requests = took.len() as f64;
    let micros = (cpu(edge.id()) - before).as_secs_f64() * 1e6 / requests;
    let measured = Measured::new(took, begun.elapsed());
    [measured.millis(0.5), measured.millis(0.99), micros]
}

/// Sends the requests of one connection, each when it is due, or at once when it is late.
fn connection(address: SocketAddr, nth: u32, begun: Instant, seconds: Duration) -> Vec<Duration> {
    let (mut connection, target) = open(address, nth);
    let mut took = Vec::new();
    for number in 0.. {
        let due = begun + Duration::from_secs(1) * (number * CONNECTIONS + nth) / RATE;
        if due > begun + seconds {
            break;
        }
        wait_until(due);
        assert_eq!(connection.ask("GET", &target, &[]).status, 200);
        took.push(due.elapsed());
    }
    took
}

/// A connection, and what is asked for on it.
fn open(address: SocketAddr, nth: u32) -> (Connection, String) {
    let connection = Connection::open(address);
    connection.0.get_ref().set_nodelay(true).expect("a socket");
    (connection, format!("/demo/media/{nth}.jpg?fat={}", fat(&format!("user-{nth}"))))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
