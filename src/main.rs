//! The `mediagate` binary: arguments → what to run. No rule lives here.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use mediagate::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("mediagate: {error:#}");
            ExitCode::FAILURE
        }
    }
}
