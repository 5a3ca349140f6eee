//! What a user types.

use std::{
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::{Args, Parser, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{
    compare,
    cpus::CpuList,
    load::{self, Body, Checks, Counts, Report, RequestShape, Running, Target, Until},
    micro,
    origin::{self, Origin},
    relay,
};

/// Load generator, test origin and side-by-side comparison for HTTP proxies.
#[derive(Debug, Parser)]
#[command(name = "ringway-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Load(Box<LoadArgs>),
    Origin(OriginArgs),
    Compare(Box<CompareArgs>),
    Relay(RelayArgs),
    Micro(MicroArgs),
}

/// Loads one URL and reports what came back. Exit code 1 if anything failed.
#[derive(Debug, Args)]
struct LoadArgs {
    /// Whom to load: http://HOST[:PORT][/PATH]
    url: Target,
    /// Connections open at the same time
    #[arg(short, long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// End after this many requests
    #[arg(short = 'n', long, conflicts_with = "duration")]
    requests: Option<u64>,
    /// End after this long, as in 10s or 500ms [default: 10s]
    #[arg(short, long, value_parser = parse_duration)]
    duration: Option<Duration>,
    /// Requests per second, sent on schedule whatever the answers do; latency counts from the schedule. Without it,
    /// each connection sends its next request when it has its answer
    #[arg(short, long, value_parser = parse_rate)]
    rate: Option<f64>,
    /// How much of the start counts for nothing
    #[arg(long, value_parser = parse_duration, default_value = "0s")]
    warm_up: Duration,
    /// Threads
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// CPUs for the threads, as in 1,3-4
    #[arg(long)]
    cpus: Option<CpuList>,
    /// Open a connection for each request
    #[arg(long, conflicts_with = "pipeline")]
    no_keepalive: bool,
    /// Requests under way on each connection
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pipeline: u32,
    /// Method [default: GET, or POST with a body]
    #[arg(short = 'X', long, value_parser = parse_token)]
    method: Option<String>,
    /// Content of each request
    #[arg(long)]
    body_bytes: Option<usize>,
    /// Send the content in chunks
    #[arg(long, requires = "body_bytes")]
    chunked_body: bool,
    /// Host field, if it is not the URL's
    #[arg(long, value_parser = parse_line)]
    host: Option<String>,
    /// Request target instead of the URL's; several are taken in turn
    #[arg(long = "path", value_parser = parse_path, conflicts_with = "paths")]
    path: Vec<String>,
    /// A file with request targets, one a line, taken in turn
    #[arg(long)]
    paths: Option<PathBuf>,
    /// A further field, `name: value`; may be repeated
    #[arg(short = 'H', long = "header", value_parser = parse_field)]
    header: Vec<String>,
    /// How long an answer may take
    #[arg(long, value_parser = parse_duration, default_value = "10s")]
    timeout: Duration,
    /// Answers must have content of exactly this length
    #[arg(long)]
    expect_bytes: Option<u64>,
    /// Answers must have the content that `ringway-bench origin` sends
    #[arg(long)]
    verify: bool,
    /// Report as JSON
    #[arg(long)]
    json: bool,
}

/// Answers by path: / /bytes/N /chunked/N /delay/MS/N /status/CODE /reset /hang /cut/N /echo
#[derive(Debug, Args)]
struct OriginArgs {
    /// Where to listen; port 0 takes a free one. The address is printed
    #[arg(short, long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Threads
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,
    /// CPUs for the threads, as in 1,3-4
    #[arg(long)]
    cpus: Option<CpuList>,
}

/// Passes bytes on and looks at none of them, on the engine's ring: what messages cost there without HTTP.
#[derive(Debug, Args)]
struct RelayArgs {
    /// Where to listen; port 0 takes a free one. The address is printed
    #[arg(short, long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where each connection leads
    #[arg(long)]
    to: SocketAddr,
}

/// Measures proxies side by side: Ringway, nginx, HAProxy, and of h2o, Envoy, Caddy, Traefik and Varnish what is here.
///
/// Every proxy runs with one worker on the same CPU, load and origin on the others. Rounds take turns; ratios are of
/// figures of the same round. Exit code 1 if any request failed.
#[derive(Debug, Args)]
struct CompareArgs {
    /// Fewer and shorter rounds: all in under two minutes
    #[arg(long)]
    quick: bool,
    /// Workloads to run, by name [default: all]
    #[arg(short, long = "workload", value_name = "NAME", value_delimiter = ',',
          value_parser = clap::builder::PossibleValuesParser::new(compare::NAMES))]
    workload: Vec<String>,
    /// How often each proxy is measured [default: 7; quick: 3]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// How long each measurement takes [default: 2; quick: 0.4]
    #[arg(long, value_parser = parse_duration)]
    seconds: Option<Duration>,
    /// The ringway binary [default: the one beside this one]
    #[arg(long, value_name = "PATH")]
    ringway: Option<PathBuf>,
    /// A build of your own instead of the installed one, as in nginx=/tmp/nginx-1.31/nginx; several of a kind may be
    /// named
    #[arg(long = "peer", value_name = "NAME=PATH", value_parser = parse_peer)]
    peer: Vec<(String, PathBuf)>,
    /// Only proxies of these kinds. `relay`, which passes bytes on and looks at none of them, is measured only if named
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = clap::builder::PossibleValuesParser::new(
        compare::KINDS.iter().map(|kind| kind.name)))]
    only: Vec<String>,
    /// Requests per second of the fixed-rate workload [default: half of what the slowest proxy can take]
    #[arg(long, value_parser = parse_rate)]
    rate: Option<f64>,
    /// CPUs for the proxies, the first for one worker [default: the first]
    #[arg(long)]
    proxy_cpus: Option<CpuList>,
    /// CPUs for load and origin [default: the others]
    #[arg(long)]
    load_cpus: Option<CpuList>,
    /// Report as JSON, into a file or to standard output
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
    /// Write a page with charts
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Counts the instructions of the pieces that each request needs: parsing, policy, encoding, routing, logging.
///
/// Needs valgrind. Counts are the same on a busy machine as on a quiet one; compare those of the same machine and
/// compiler. Without the kernel's work, which most of a request's time goes to.
#[derive(Debug, Args)]
struct MicroArgs {
    /// Pieces to count [default: all]
    #[arg(value_name = "PIECE", value_parser = clap::builder::PossibleValuesParser::new(micro::NAMES))]
    pieces: Vec<String>,
    /// The valgrind to count with
    #[arg(long, value_name = "PATH", default_value = micro::VALGRIND)]
    valgrind: String,
    /// Report as JSON, into a file or to standard output
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
    /// Repeat this piece and say nothing: what is run under valgrind
    #[arg(long, value_name = "PIECE", hide = true, requires = "times")]
    run: Option<String>,
    /// How often
    #[arg(long, hide = true)]
    times: Option<u64>,
}

/// Runs the command line. Exit codes: 0 fine, 1 failed, 2 wrong usage.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Load(args) => load(*args),
        Command::Origin(args) => serve_origin(&args),
        Command::Compare(args) => compare(*args),
        Command::Relay(args) => relay_bytes(&args),
        Command::Micro(args) => count_pieces(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("ringway-bench: {error}");
        ExitCode::FAILURE
    })
}

/// A flag that the first interrupt sets; the second ends the process.
fn interrupt_flag() -> io::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&interrupted))?;
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    Ok(interrupted)
}

fn load(args: LoadArgs) -> Result<ExitCode, String> {
    let json = args.json;
    let settings = args.into_settings()?;
    let interrupted = interrupt_flag().map_err(|error| format!("cannot catch signals: {error}"))?;
    let running =
        load::start(&settings).map_err(|error| format!("cannot start the load: {error}"))?;
    watch(&running, &interrupted);
    let report = running
        .join()
        .map_err(|error| format!("the load failed: {error}"))?;
    print_report(&report, json).map_err(|error| format!("cannot write the report: {error}"))?;
    Ok(if report.errors() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print_report(report: &Report, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", report.to_json())
    } else {
        write!(out, "{report}")
    }
}

/// Waits for the load's end. On a terminal, says each second how it goes.
fn watch(running: &Running, interrupted: &AtomicBool) {
    let is_terminal = io::stderr().is_terminal();
    let mut before = Counts::default();
    let mut second = Instant::now();
    while !running.is_finished() {
        std::thread::sleep(Duration::from_millis(20));
        if interrupted.load(Ordering::Relaxed) {
            running.stop();
        }
        let passed = second.elapsed();
        if !is_terminal || passed < Duration::from_secs(1) {
            continue;
        }
        second = Instant::now();
        let counts = running.counts();
        let rate = (counts.answered - before.answered) as f64 / passed.as_secs_f64();
        before = counts;
        let latencies = running.recent_histogram();
        let percentile = |percentile| {
            load::duration(Duration::from_nanos(
                latencies.value_at_percentile(percentile),
            ))
        };
        // The line is written over by the next.
        eprint!(
            "\r\x1b[K{rate:.0} /s  p50 {}  p99 {}  p99.9 {}  {} connections  {} errors",
            percentile(50.0),
            percentile(99.0),
            percentile(99.9),
            counts.proven,
            counts.failed,
        );
    }
    if is_terminal {
        eprint!("\r\x1b[K");
    }
}

impl LoadArgs {
    fn into_settings(self) -> Result<load::Settings, String> {
        let address = self
            .url
            .resolve()
            .map_err(|error| format!("{}: {error}", self.url.authority))?;
        let mut paths = self.path;
        if let Some(file) = self.paths {
            let text = std::fs::read_to_string(&file)
                .map_err(|error| format!("{}: {error}", file.display()))?;
            for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
                paths.push(
                    parse_path(line).map_err(|error| format!("{}: {error}", file.display()))?,
                );
            }
        }
        if paths.is_empty() {
            paths.push(self.url.path);
        }
        let body = match self.body_bytes {
            None => Body::None,
            Some(bytes) if self.chunked_body => Body::Chunked(bytes),
            Some(bytes) => Body::Sized(bytes),
        };
        let method = self
            .method
            .unwrap_or_else(|| if body == Body::None { "GET" } else { "POST" }.to_owned());
        Ok(load::Settings {
            address,
            shape: RequestShape {
                method,
                host: self.host.unwrap_or(self.url.authority),
                paths,
                fields: self.header,
                body,
                checks: Checks {
                    bytes: self.expect_bytes,
                    pattern: self.verify,
                },
            },
            connections: self.connections as usize,
            pipeline: self.pipeline as usize,
            keep_alive: !self.no_keepalive,
            rate: self.rate,
            until: match (self.requests, self.duration) {
                (Some(requests), _) => Until::Requests(requests),
                (None, duration) => {
                    Until::Elapsed(duration.unwrap_or(Duration::from_secs(10)) + self.warm_up)
                }
            },
            warm_up: self.warm_up,
            timeout: self.timeout,
            threads: usize::from(self.threads),
            cpus: self.cpus,
        })
    }
}

fn serve_origin(args: &OriginArgs) -> Result<ExitCode, String> {
    let interrupted = interrupt_flag().map_err(|error| format!("cannot catch signals: {error}"))?;
    let settings = origin::Settings {
        listen: args.listen,
        threads: usize::from(args.threads),
        cpus: args.cpus.clone(),
    };
    let origin = Origin::start(&settings)
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    println!("{}", origin.address());
    while !interrupted.load(Ordering::Relaxed) && origin.is_serving() {
        std::thread::sleep(Duration::from_millis(50));
    }
    origin
        .stop()
        .map_err(|error| format!("the origin failed: {error}"))?;
    Ok(ExitCode::SUCCESS)
}

fn relay_bytes(args: &RelayArgs) -> Result<ExitCode, String> {
    let listener = relay::listen(args.listen)
        .map_err(|error| format!("cannot listen on {}: {error}", args.listen))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    println!("{address}");
    relay::run(listener, args.to).map_err(|error| format!("the relay failed: {error}"))?;
    Ok(ExitCode::SUCCESS)
}

fn compare(args: CompareArgs) -> Result<ExitCode, String> {
    let json = args.json.clone();
    let html = args.html.clone();
    let settings = args.into_settings()?;
    let interrupted = interrupt_flag().map_err(|error| format!("cannot catch signals: {error}"))?;
    let is_terminal = io::stderr().is_terminal();
    let mut say = |text: &str| {
        if is_terminal {
            // The line is written over by the next.
            eprint!("\r\x1b[K{text}");
        }
    };
    let outcome = compare::run(&settings, &interrupted, &mut say);
    say("");
    let outcome = outcome.map_err(|error| format!("the comparison failed: {error}"))?;
    let Some(outcome) = outcome else {
        return Err("interrupted before anything was measured".to_owned());
    };
    let write = |path: &PathBuf, text: String| {
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    let json_to_stdout = json.as_deref() == Some("-".as_ref());
    if let Some(path) = json.filter(|_| !json_to_stdout) {
        write(&path, compare::to_json(&outcome).to_string())?;
    }
    if let Some(path) = html {
        write(&path, compare::to_html(&outcome))?;
    }
    let mut out = io::stdout().lock();
    let printed = if json_to_stdout {
        writeln!(out, "{}", compare::to_json(&outcome))
    } else {
        write!(out, "{}", compare::Table(&outcome))
    };
    printed.map_err(|error| format!("cannot write the report: {error}"))?;
    Ok(if outcome.errors().is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn count_pieces(args: &MicroArgs) -> Result<ExitCode, String> {
    if let (Some(piece), Some(times)) = (&args.run, args.times) {
        return match micro::run_piece(piece, times) {
            true => Ok(ExitCode::SUCCESS),
            false => Err(format!("there is no piece `{piece}`")),
        };
    }
    let is_terminal = io::stderr().is_terminal();
    let mut say = |text: &str| {
        if is_terminal {
            // The line is written over by the next.
            eprint!("\r\x1b[K{text}");
        }
    };
    let rows = micro::run(&args.pieces, &args.valgrind, &mut say);
    say("");
    let rows = rows?;
    let to_stdout = match args.json.as_deref() {
        Some(path) if path != "-" => {
            std::fs::write(path, micro::to_json(&rows).to_string())
                .map_err(|error| format!("{}: {error}", path.display()))?;
            micro::to_text(&rows)
        }
        Some(_) => format!("{}\n", micro::to_json(&rows)),
        None => micro::to_text(&rows),
    };
    io::stdout()
        .lock()
        .write_all(to_stdout.as_bytes())
        .map_err(|error| format!("cannot write the counts: {error}"))?;
    Ok(ExitCode::SUCCESS)
}

impl CompareArgs {
    fn into_settings(self) -> Result<compare::Settings, String> {
        let (mut peers, mut missing) = (Vec::new(), Vec::new());
        for kind in &compare::KINDS {
            let mut paths: Vec<PathBuf> = self
                .peer
                .iter()
                .filter(|(name, _)| name == kind.name)
                .map(|(_, path)| path.clone())
                .collect();
            let wanted = if self.only.is_empty() {
                !kind.is_relay() || !paths.is_empty()
            } else {
                self.only.iter().any(|only| only == kind.name)
            };
            if !wanted {
                continue;
            }
            if kind.name == "ringway" {
                let beside = || Some(std::env::current_exe().ok()?.with_file_name("ringway"));
                paths.splice(
                    0..0,
                    self.ringway
                        .clone()
                        .or_else(beside)
                        .filter(|path| path.is_file()),
                );
                if let Some(path) = self.ringway.as_ref().filter(|path| !path.is_file()) {
                    return Err(format!("{} is not there", path.display()));
                }
            } else if paths.is_empty() && kind.is_relay() {
                paths.extend(std::env::current_exe().ok());
            } else if paths.is_empty() {
                paths.extend(compare::on_path(kind.binary));
            }
            if paths.is_empty() {
                let place = if kind.name == "ringway" {
                    "beside ringway-bench"
                } else {
                    "on the PATH"
                };
                missing.push((kind.name.to_owned(), format!("no {} {place}", kind.binary)));
            }
            for path in paths {
                match compare::Peer::new(kind, path.clone()) {
                    Ok(peer) => peers.push(peer),
                    Err(error) => {
                        missing
                            .push((kind.name.to_owned(), format!("{}: {error}", path.display())));
                    }
                }
            }
        }
        if peers.is_empty() {
            return Err(
                "none of the proxies is here; name one with --ringway or --peer".to_owned(),
            );
        }
        compare::tell_apart(&mut peers);
        let all = || compare::NAMES.map(str::to_owned).to_vec();
        let default =
            |quick: u64, full: u64| Duration::from_millis(if self.quick { quick } else { full });
        Ok(compare::Settings {
            peers,
            missing,
            workloads: if self.workload.is_empty() {
                all()
            } else {
                self.workload
            },
            rounds: self.rounds.unwrap_or(if self.quick { 3 } else { 7 }),
            window: self.seconds.unwrap_or(default(400, 2000)),
            warm_up: default(150, 500),
            rate: self.rate,
            proxy_cpus: self.proxy_cpus,
            load_cpus: self.load_cpus,
            syscalls_in: self
                .quick
                .then(|| vec!["c64".to_owned(), "rate".to_owned()]),
        })
    }
}

fn parse_peer(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text
        .split_once('=')
        .ok_or("a peer looks like nginx=/path/to/nginx")?;
    match compare::kind_named(name) {
        Some(_) if std::path::Path::new(path).is_file() => Ok((name.to_owned(), path.into())),
        Some(_) => Err(format!("{path} is not there")),
        None => Err(format!("`{name}` is none of the proxies known here")),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let unit_at = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let seconds_per_unit = match &text[unit_at..] {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "us" => 0.000_001,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("units are us, ms, s, m and h".to_owned()),
    };
    let number: f64 = text[..unit_at]
        .parse()
        .map_err(|_| "a duration looks like 10s or 500ms".to_owned())?;
    Duration::try_from_secs_f64(number * seconds_per_unit).map_err(|error| error.to_string())
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1e9 => Ok(rate),
        _ => Err("a rate is a number of requests per second above 0".to_owned()),
    }
}

/// Text that may stand in a head: nothing that would end its line.
fn parse_line(text: &str) -> Result<String, String> {
    if text.contains(char::is_control) {
        Err("control characters are not sent".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

fn parse_field(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((name, _)) if !name.is_empty() => parse_line(text),
        _ => Err("a header field looks like `name: value`".to_owned()),
    }
}

fn parse_path(text: &str) -> Result<String, String> {
    if text.contains(' ') {
        Err("a request target holds no space".to_owned())
    } else {
        parse_line(text)
    }
}

fn parse_token(text: &str) -> Result<String, String> {
    let is_token = !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_!#$%&'*+.^`|~".contains(&byte));
    if is_token {
        Ok(text.to_owned())
    } else {
        Err("a method is one word".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_carry_units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "s", "1d", "-1s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn heads_cannot_be_broken_out_of() {
        assert!(parse_field("a: b\r\nc: d").is_err());
        assert!(parse_path("/a b").is_err());
        assert!(parse_token("GET /").is_err());
    }
}
