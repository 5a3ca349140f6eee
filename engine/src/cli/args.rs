//! What can be typed: commands, options, their help.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

use crate::config;

const EXAMPLES: &str = "\
Examples:
  ringway proxy                                  a built-in origin behind 127.0.0.1:8080
  ringway proxy --to http://127.0.0.1:3000       a proxy in front of your server
  ringway config --example > ringway.toml        a file to start from
  ringway check --config ringway.toml
  ringway run --config ringway.toml

Environment:
  RINGWAY_LOG   level of the process log: error, warn, info or debug
  NO_COLOR      no colour where it is set, and not empty

Exit status: 0 fine, 1 failed, 2 wrong usage.";

const PROXY_EXAMPLES: &str = "\
Examples:
  ringway proxy
  ringway proxy --to http://127.0.0.1:3000
  ringway proxy --listen 0.0.0.0:8080 --to http://10.0.0.1:3000 --to http://10.0.0.2:3000 --no-log

TERM and INT drain and exit; a second one exits at once.";

const RUN_EXAMPLES: &str = "\
Example:
  ringway run --config /etc/ringway/ringway.toml

TERM and INT drain and exit; a second one exits at once.";

const CHECK_EXAMPLES: &str = "\
Examples:
  ringway check --config ringway.toml
  ringway check --config ringway.toml --json | jq -r '\"\\(.file):\\(.line): \\(.message)\"'

Exit status: 0 where the file is good, 1 with every error where it is not.";

const CONFIG_EXAMPLES: &str = "\
Examples:
  ringway config | less
  ringway config --example > ringway.toml";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  ringway completions bash > /etc/bash_completion.d/ringway
  ringway completions zsh > \"${fpath[1]}/_ringway\"
  ringway completions fish > ~/.config/fish/completions/ringway.fish";

const MAN_EXAMPLES: &str = "\
Example:
  ringway man | man -l -";

/// A thread-per-core HTTP reverse proxy on io_uring.
#[derive(Debug, Parser)]
#[command(
    name = "ringway",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = EXAMPLES
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One of the things `ringway` does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Proxy without a file: to the URLs given, or else to a built-in origin
    #[command(after_help = PROXY_EXAMPLES)]
    Proxy(Proxy),
    /// Run the server from a configuration file
    #[command(after_help = RUN_EXAMPLES)]
    Run {
        /// The configuration file
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
    },
    /// Check a configuration file, and show everything wrong with it
    #[command(after_help = CHECK_EXAMPLES)]
    Check {
        /// The configuration file
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
        /// Print each error as one JSON object a line: file, line, column, message, help
        #[arg(long)]
        json: bool,
    },
    /// Explain every key of the configuration file
    #[command(after_help = CONFIG_EXAMPLES)]
    Config {
        /// Print a commented file to start from instead
        #[arg(long)]
        example: bool,
    },
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    #[command(after_help = MAN_EXAMPLES)]
    Man,
}

/// `ringway proxy`.
#[derive(Debug, clap::Args)]
pub struct Proxy {
    /// Address to listen on; may be repeated [default: 127.0.0.1:8080]
    #[arg(long, short, value_name = "ADDR", value_parser = config::read_address)]
    pub listen: Vec<SocketAddr>,
    /// URL of a server to proxy to; may be repeated: requests take turns
    #[arg(long, short, value_name = "URL", value_parser = url)]
    pub to: Vec<String>,
    /// Address of health, readiness and metrics, or "off" [default: 127.0.0.1:9900]
    #[arg(long, value_name = "ADDR", value_parser = admin)]
    pub admin: Option<Admin>,
    /// Worker threads [default: one for each CPU]
    #[arg(long, short, value_name = "N", value_parser = workers)]
    pub workers: Option<usize>,
    /// No access log on standard output
    #[arg(long)]
    pub no_log: bool,
}

/// What `--admin` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admin {
    /// No admin listener.
    Off,
    /// One at this address.
    At(SocketAddr),
}

fn url(text: &str) -> Result<String, String> {
    config::check_url(text).map(|()| text.to_owned())
}

fn admin(text: &str) -> Result<Admin, String> {
    if text == "off" {
        return Ok(Admin::Off);
    }
    config::read_address(text).map(Admin::At)
}

fn workers(text: &str) -> Result<usize, String> {
    let range = 1..=config::WORKERS_MAX;
    match text.parse() {
        Ok(workers) if range.contains(&workers) => Ok(workers),
        _ => Err(format!("it is a number from 1 to {}", config::WORKERS_MAX)),
    }
}
