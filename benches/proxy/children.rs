//! This binary as other processes, and what they use of the processor.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child as Process, Command, Stdio};
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::{bare, gate, origin};

/// The first argument of a process that the bench starts.
const RUN: &str = "--run";

/// A process of this binary. It ends when it is dropped, and when this process ends in any other way.
pub(crate) struct Child {
    process: Process,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Child {
    /// Starts this binary as `role` and waits until it listens.
    pub(crate) fn start(role: &[&str]) -> Child {
        let mut process = Command::new(std::env::current_exe().expect("this binary"))
            .arg(RUN)
            .args(role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this binary runs");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("standard output is a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("standard output can be read");
        let address = line.trim().parse().unwrap_or_else(|_| panic!("{role:?} did not start"));
        Child { process, address }
    }

    /// Processor time of all its threads so far, user and system, as the scheduler counts it.
    pub(crate) fn cpu(&self) -> Duration {
        crate::cpu::cpu(self.process.id())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Plays the role that a parent asked for; returns whether there is one.
pub(crate) fn run_if_child() -> bool {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).map(String::as_str) != Some(RUN) {
        return false;
    }
    // The parent holds the other end: it is closed when the parent is gone.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let upstream = || args[3].parse::<SocketAddr>().expect("the storage's address");
    match args[2].as_str() {
        "origin" => origin::run(),
        "bare" => bare::run(upstream()),
        "service" => bare::run_service(upstream()),
        role @ ("gate" | "cached") => gate::run(upstream(), args[4] == "log", role == "cached"),
        role => panic!("no such role: {role}"),
    }
    true
}

/// Worker threads of each proxy: the gateway's own default, one for each core.
pub(crate) fn threads() -> usize {
    mediagate::serve::worker_threads(0)
}

/// The runtime that the gateway's binary has.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads()).enable_all().build().expect("a runtime")
}
