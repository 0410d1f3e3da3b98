//! `mediagate token mint` and `mediagate token inspect`: tokens without a backend.

mod inspect;
pub(super) mod mint;
mod twilio;

use std::io::Write;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use clap::Subcommand;

use inspect::InspectArgs;
use mint::MintArgs;

use crate::gate::Now;

/// Makes File Access Tokens and looks at them.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it
    Mint(Box<MintArgs>),
    /// Show what a token says and whether it would be accepted
    Inspect(InspectArgs),
}

impl TokenCommand {
    /// Does what the command says. Fails with status 1 for a token that is not accepted.
    ///
    /// # Errors
    ///
    /// When it cannot be done: a file that cannot be read, a claim that the gate would refuse.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let now = now();
        let (output, status) = match self {
            TokenCommand::Mint(args) => (args.mint(now)? + "\n", ExitCode::SUCCESS),
            TokenCommand::Inspect(args) => {
                let (output, accepted) = args.inspect(now)?;
                (output, if accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
        };
        std::io::stdout().lock().write_all(output.as_bytes())?;
        Ok(status)
    }
}

#[expect(clippy::disallowed_methods, reason = "the shell reads the clock")]
pub(super) fn now() -> Now {
    Now { wall: SystemTime::now(), monotonic: Instant::now() }
}

/// Seconds since 1970.
pub(super) fn unix_seconds(now: Now) -> u64 {
    now.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
