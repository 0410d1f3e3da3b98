//! Arguments of the `mediagate` program.

pub(crate) mod call;
mod explain;
mod targets;
mod token;
pub mod user;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

use crate::config::Config;
use crate::dev::{self, DevOptions};
use crate::logger;
use crate::serve::{Gateway, worker_threads};

/// What the shell gets for a configuration with errors.
const BAD_CONFIGURATION: u8 = 2;

/// The gate in front of a private media bucket: every receiver of a file has a link of their own, and a deactivated
/// user's links are dead at once.
#[derive(Debug, Parser)]
#[command(version, after_help = "Start with `mediagate dev`: it needs nothing and prints links to try.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything embedded: an S3 server over a folder, the gate, two users and links to click
    Dev(DevArgs),
    /// Run the gate as a configuration file says
    ///
    /// SIGHUP reloads apps, keys, hosts, storages and certificates; SIGINT and SIGTERM end it once running transfers are done.
    #[command(after_help = "Example:\n  mediagate serve --config conf/mediagate.toml")]
    Serve {
        /// The configuration file (see conf/mediagate.toml)
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Look at configuration files
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make and read file access tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Write lists of URLs with tokens for load generators: wrk, oha, vegeta, k6
    Targets(Box<targets::TargetsArgs>),
    /// Deactivate and reactivate users, through the control listener
    #[command(subcommand)]
    User(user::UserCommand),
    /// Say what a running gateway would answer to a link, and why
    Explain(explain::ExplainArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  mediagate dev\n  mediagate dev --dir ~/Pictures --listen 127.0.0.1:0 --json")]
struct DevArgs {
    /// Serve this folder instead of sample files
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Address of the media listener; port 0 picks a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Address of the control listener
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    control_listen: SocketAddr,
    /// Address of the metrics listener
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9100")]
    metrics_listen: SocketAddr,
    /// Address of the gallery: a page that shows what the gate does
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8082")]
    gallery_listen: SocketAddr,
    /// Folder for configuration, secrets, samples and database
    #[arg(long, value_name = "DIR", default_value = ".mediagate")]
    state: PathBuf,
    /// Print one JSON line, once everything is ready, instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Report every error of a configuration file at once; exit status 2 if there is any
    #[command(after_help = "Example:\n  mediagate config check conf/mediagate.toml")]
    Check {
        /// The configuration file
        file: PathBuf,
    },
}

impl Cli {
    /// Runs what the arguments ask for.
    ///
    /// # Errors
    ///
    /// What a person has to mend, with what to do next.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Dev(args) => {
                logger::install();
                let DevArgs { dir, listen, control_listen, metrics_listen, gallery_listen, state, json } = args;
                let options = DevOptions { dir, listen, control_listen, metrics_listen, gallery_listen, state, json };
                runtime(worker_threads(0))?.block_on(dev::run(options))?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Serve { config: file } => {
                logger::install();
                let config = match Config::load(&file) {
                    Ok(config) => config,
                    Err(errors) => {
                        eprintln!("{errors}");
                        return Ok(ExitCode::from(BAD_CONFIGURATION));
                    }
                };
                runtime(worker_threads(config.media.as_ref().map_or(0, |media| media.threads)))?.block_on(async {
                    let gateway = Gateway::start(config, &file).await?;
                    log::info!("{}", gateway.listening());
                    gateway.run().await
                })?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Config(ConfigCommand::Check { file }) => Ok(check(&file)),
            Command::Token(command) => command.run(),
            Command::Targets(args) => {
                args.run()?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Explain(args) => {
                let is_admitted = runtime(1)?.block_on(args.run())?;
                Ok(if is_admitted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
            Command::User(command) => {
                runtime(1)?.block_on(command.run())?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn check(file: &std::path::Path) -> ExitCode {
    match Config::load(file) {
        Ok(config) => {
            println!("{}: no errors", file.display());
            for example in &config.example_secrets {
                println!("  {} holds an example secret: replace it before `mediagate serve`", example.display());
            }
            ExitCode::SUCCESS
        }
        Err(errors) => {
            eprintln!("{errors}");
            ExitCode::from(BAD_CONFIGURATION)
        }
    }
}

fn runtime(threads: usize) -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .context("cannot start worker threads")
}
