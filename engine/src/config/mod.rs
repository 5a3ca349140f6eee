//! The configuration file: read, checked, and turned into each room's settings.
//!
//! One set of tables describes every key; the reader, the suggestions, the reference and the example file come from
//! it (see `keys`). A file is wholly good or refused with all its faults at once; nothing in it is ever ignored.

mod address;
mod check;
mod clash;
mod error;
mod example;
mod keys;
mod listener;
mod process;
mod quick;
mod reader;
mod reference;
mod route;
mod syntax;
#[cfg(test)]
mod tests;
mod units;
mod upstream;

use std::io::{ErrorKind, Read};
use std::path::Path;

use toml::de::{DeTable, Error as TomlError};

pub use error::{Errors, Problem};
pub use example::example;
pub use process::WORKERS_MAX;
pub use quick::{check_url, quick, read_address};
pub use reference::reference;

use crate::process::Settings;
use error::{FAULTS_MAX, Fault, Wrong, line_and_column, quoted};
use reader::{Findings, Section};

/// Largest file read. Ten thousand routes fit in it; what is larger is the wrong file.
pub const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads and checks a file. Relative paths in it start at its directory.
pub fn load(path: &Path) -> Result<Settings, Errors> {
    let unreadable =
        |message: String, help: &str| Errors::unreadable(path, Wrong::new(message).help(help));
    let shown = quoted(&path.display().to_string());
    let failed = |error: &std::io::Error| {
        let help = match error.kind() {
            ErrorKind::NotFound => {
                "check the path; `ringway config --example` prints a file to start from"
            }
            ErrorKind::PermissionDenied => {
                "let the user that runs ringway read it and enter its directories"
            }
            ErrorKind::IsADirectory => "name the file in it",
            _ => "check the path and the disk",
        };
        let cause = match error.kind() {
            ErrorKind::NotFound => "there is no such file".to_owned(),
            ErrorKind::PermissionDenied => "permission denied".to_owned(),
            ErrorKind::IsADirectory => "it is a directory".to_owned(),
            _ => error.to_string(),
        };
        unreadable(format!("cannot read {shown}: {cause}"), help)
    };
    let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed(&error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let message = format!("cannot read {shown}: it is larger than 4 MiB");
        return Err(unreadable(message, "is it the right file?"));
    }
    match String::from_utf8(bytes) {
        Ok(text) => parse(&text, path),
        Err(error) => {
            let good = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes());
            let (line, column) = line_and_column(&text, good);
            let message = format!("{shown} is not UTF-8, from line {line}, column {column} on");
            Err(unreadable(message, "save it as UTF-8"))
        }
    }
}

/// Checks a file's text; `file` is its name in errors, and where relative paths start.
pub fn parse(text: &str, file: &Path) -> Result<Settings, Errors> {
    let (root, broken) = DeTable::parse_recoverable(text);
    let root = root.get_ref();
    let mut findings = Findings {
        faults: check::check(&keys::ROOT, root, text),
    };
    if !broken.is_empty() {
        let faults = with_syntax(text, &broken, findings.faults);
        return Err(Errors::new(file, text, faults));
    }
    let directory = file.parent().unwrap_or(Path::new(""));
    let section = Section::new(&keys::ROOT, Some(root), 0..0);
    let mut settings = settings(&section, directory);
    rooms(&section, text, &mut settings, &mut findings);
    if findings.faults.is_empty() {
        Ok(settings)
    } else {
        Err(Errors::new(file, text, findings.faults))
    }
}

/// What is not TOML, and those other faults that are not on the same lines: there they would only be guesses.
fn with_syntax(text: &str, broken: &[TomlError], faults: Vec<Fault>) -> Vec<Fault> {
    let line = |fault: &Fault| line_and_column(text, fault.start()).0;
    let mut syntax: Vec<Fault> = Vec::new();
    for error in broken.iter().take(FAULTS_MAX + 1) {
        let span = error.span().unwrap_or(text.len()..text.len());
        let fault = Fault::new(span, format!("this is not TOML: {}", error.message()));
        // One slip can break the rest of its line in several ways; the first is the one to mend.
        if !syntax.iter().any(|before| line(before) == line(&fault)) {
            syntax.push(fault);
        }
    }
    let lines: Vec<usize> = syntax.iter().map(line).collect();
    let others = faults
        .into_iter()
        .take(FAULTS_MAX)
        .filter(|fault| !lines.contains(&line(fault)));
    syntax.extend(others);
    syntax
}

/// What concerns the process as a whole; no listeners, routes or upstreams yet.
fn settings(root: &Section<'_, '_>, directory: &Path) -> Settings {
    let process = root.section("process");
    Settings {
        workers: process.maybe("workers"),
        drain_notice: process.of("drain_notice"),
        drain_deadline: process.of("drain_deadline"),
        admin: process::admin(&root.section("admin")),
        log: process::log(&root.section("log"), directory),
        listeners: Vec::new(),
        routes: Vec::new(),
        upstreams: Vec::new(),
    }
}

/// Listeners, upstreams and routes, and whether they fit together.
fn rooms(root: &Section<'_, '_>, text: &str, settings: &mut Settings, findings: &mut Findings) {
    let sections = |name: &str| -> Vec<Section<'_, '_>> {
        let found = root.sections(name).into_iter();
        found.map(|(_, section)| section).collect()
    };
    let listeners = sections("listener");
    let routes = sections("route");
    settings.listeners = listener::read(&listeners, findings);
    settings.upstreams = root
        .sections("upstream")
        .into_iter()
        .map(|(name, section)| upstream::read(name, &section, findings))
        .collect();
    let names: Vec<&str> = settings
        .upstreams
        .iter()
        .map(|upstream| upstream.name.as_str())
        .collect();
    settings.routes = route::read(&routes, &names, findings);
    clash::find(&settings.routes, &routes, text, findings);
    if findings.faults.is_empty() {
        findings
            .faults
            .extend(clash::table(&settings.routes, &routes));
    }
    admin_is_alone(root, &listeners, settings, findings);
    if !root.has("listener") {
        let fault = Fault::new(0..0, "there is no listener: no client could connect");
        findings.push(fault.help("add:  [[listener]]  and below it  bind = [\"127.0.0.1:8080\"]"));
    }
    if !root.has("route") {
        let upstream = names.first().unwrap_or(&"NAME");
        let fault = Fault::new(0..0, "there is no route: every request would get a 404");
        findings.push(fault.help(format!(
            "add:  [[route]]  and below it  upstream = \"{upstream}\""
        )));
    }
}

/// The admin address is no listener's.
fn admin_is_alone(
    root: &Section<'_, '_>,
    listeners: &[Section<'_, '_>],
    settings: &Settings,
    findings: &mut Findings,
) {
    let Some(admin) = settings.admin.filter(|admin| admin.port() != 0) else {
        return;
    };
    let bound = listeners
        .iter()
        .flat_map(|section| section.items::<std::net::SocketAddr>("bind"));
    for (_, place) in bound.filter(|(address, _)| *address == admin) {
        let message = format!("the address `{admin}` is the admin listener's");
        let mut fault = Fault::new(place, message)
            .help("choose another, or another one for [admin], whose default is 127.0.0.1:9900");
        if root.has("admin") {
            fault = fault.also(
                root.section("admin").value_span("bind"),
                "the admin listener",
            );
        }
        findings.push(fault);
    }
}
