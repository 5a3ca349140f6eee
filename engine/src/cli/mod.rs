//! The command line: what was typed becomes settings, an outcome becomes an exit code.
//!
//! Exit codes: 0 fine, 1 failed, 2 wrong usage.

mod args;
mod print;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

pub use args::{Admin, Cli, Command, Proxy};

use crate::config;
use crate::observe::Destination;
use crate::process::{self, Announce, Settings};

const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;

/// Does what the command line says.
pub fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => dispatch(cli.command),
        Err(error) => {
            // Nothing is left to do where even this cannot be printed.
            let _ = error.print();
            ExitCode::from(if error.use_stderr() { WRONG_USAGE } else { 0 })
        }
    }
}

fn dispatch(command: Command) -> ExitCode {
    match command {
        Command::Proxy(proxy) => match quick(&proxy) {
            Ok(settings) => start(&settings, Announce::Hints),
            Err(message) => fail(&message, WRONG_USAGE),
        },
        Command::Run { config } => match config::load(&config) {
            Ok(settings) => start(&settings, Announce::Quiet),
            Err(errors) => refuse(&errors),
        },
        Command::Check {
            config,
            json: false,
        } => check_file(&config),
        Command::Check { config, json: true } => check_file_json(&config),
        Command::Config { example: true } => print(config::example().as_bytes()),
        Command::Config { example: false } => print(config::reference().as_bytes()),
        Command::Completions { shell } => print(&completions(shell)),
        Command::Man => manual(),
    }
}

/// The settings of `ringway proxy`.
fn quick(proxy: &Proxy) -> Result<Settings, String> {
    let admin = match proxy.admin {
        Some(Admin::At(address)) => Some(address),
        Some(Admin::Off) | None => None,
    };
    let mut settings = config::quick(&proxy.listen, &proxy.to, admin, proxy.workers)?;
    if proxy.admin == Some(Admin::Off) {
        settings.admin = None;
    }
    if proxy.no_log {
        settings.log.access = Destination::Off;
    }
    Ok(settings)
}

fn start(settings: &Settings, announce: Announce) -> ExitCode {
    match process::run(settings, announce) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string(), FAILED),
    }
}

fn check_file(path: &Path) -> ExitCode {
    match config::load(path) {
        Ok(settings) => print(print::summary(path, &settings).as_bytes()),
        Err(errors) => refuse(&errors),
    }
}

fn check_file_json(path: &Path) -> ExitCode {
    match config::load(path) {
        Ok(_) => ExitCode::SUCCESS,
        Err(errors) => {
            print(print::json_lines(&errors).as_bytes());
            ExitCode::from(FAILED)
        }
    }
}

fn refuse(errors: &config::Errors) -> ExitCode {
    let color = io::stderr().is_terminal() && !no_color();
    let _ = writeln!(io::stderr(), "{}", errors.render(color));
    ExitCode::from(FAILED)
}

/// <https://no-color.org>: set and not empty.
fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

fn completions(shell: clap_complete::Shell) -> Vec<u8> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ringway", &mut out);
    out
}

/// The page of `ringway`, then a section for each command with its options.
fn manual() -> ExitCode {
    let mut out = Vec::new();
    match print::manual(Cli::command(), &mut out) {
        Ok(()) => print(&out),
        Err(error) => fail(&format!("cannot write the manual page: {error}"), FAILED),
    }
}

/// To standard output; a reader that has seen enough is no error.
fn print(text: &[u8]) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(&format!("cannot write to standard output: {error}"), FAILED),
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {message}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests;
