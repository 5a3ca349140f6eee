//! The proxies: what they are called, how they are configured and started.

use std::{
    fs, io,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{process::Process, template};
use crate::cpus::CpuList;

/// How long a proxy may take until it answers.
const READY_MAX: Duration = Duration::from_secs(15);

/// Requests that the origin has at once for each worker, where a proxy can have the others wait. The origin keeps one core
/// busy with far fewer.
const REQUESTS_AT_ORIGIN: usize = 32;

/// One kind of proxy.
#[derive(Debug)]
pub struct Kind {
    /// Its name here and on the command line.
    pub name: &'static str,
    /// What the binary is called.
    pub binary: &'static str,
    /// The argument that has it print its version.
    version: &'static str,
    /// Config files: the name they are written under, and their template. The first is the one it is started with.
    files: &'static [(&'static str, &'static str)],
    /// Arguments that start it in the foreground.
    arguments: fn(&Launch<'_>) -> Vec<String>,
    /// Environment it needs to be at its best.
    environment: fn(&Launch<'_>) -> Vec<(&'static str, String)>,
    /// Whether it logs to its standard output, which then is the log file.
    logs_to_stdout: bool,
}

/// What a proxy is started with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Launch<'a> {
    pub(super) origin: SocketAddr,
    pub(super) workers: usize,
    pub(super) cpus: &'a CpuList,
    /// Where its files may lie; empty.
    pub(super) dir: &'a Path,
    pub(super) log: bool,
    /// Connections from clients that it must be able to take.
    pub(super) clients: usize,
    /// Descriptors it may have.
    pub(super) files: u64,
    /// Where it is to listen, chosen when it is launched.
    pub(super) listen: SocketAddr,
}

fn config_path(launch: &Launch<'_>, name: &str) -> String {
    launch.dir.join(name).display().to_string()
}

fn no_environment(_: &Launch<'_>) -> Vec<(&'static str, String)> {
    Vec::new()
}

/// A Go program runs this many threads at a time.
fn go_environment(launch: &Launch<'_>) -> Vec<(&'static str, String)> {
    let dir = launch.dir.display().to_string();
    vec![
        ("GOMAXPROCS", launch.workers.to_string()),
        ("XDG_DATA_HOME", dir.clone()),
        ("XDG_CONFIG_HOME", dir),
    ]
}

/// All kinds there are. The first is the one that is compared with the others.
pub static KINDS: [Kind; 9] = [
    Kind {
        name: "ringway",
        binary: "ringway",
        version: "--version",
        files: &[("ringway.toml", include_str!("../../peers/ringway.conf"))],
        arguments: |launch| {
            vec![
                "run".into(),
                "--config".into(),
                config_path(launch, "ringway.toml"),
            ]
        },
        environment: no_environment,
        logs_to_stdout: false,
    },
    Kind {
        name: "nginx",
        binary: "nginx",
        version: "-v",
        files: &[("nginx.conf", include_str!("../../peers/nginx.conf"))],
        arguments: |launch| {
            let prefix = launch.dir.display().to_string();
            // -e: the log until the file is read, which would otherwise be the installed one's.
            vec![
                "-e".into(),
                "stderr".into(),
                "-p".into(),
                prefix,
                "-c".into(),
                config_path(launch, "nginx.conf"),
            ]
        },
        environment: no_environment,
        logs_to_stdout: false,
    },
    Kind {
        name: "haproxy",
        binary: "haproxy",
        version: "-v",
        files: &[("haproxy.cfg", include_str!("../../peers/haproxy.conf"))],
        arguments: |launch| {
            vec![
                "-db".into(),
                "-f".into(),
                config_path(launch, "haproxy.cfg"),
            ]
        },
        // It frees and takes its buffers all the time; without these, glibc gives them back to the kernel each time.
        environment: |_| {
            let values = [
                ("MALLOC_TRIM_THRESHOLD_", "268435456"),
                ("MALLOC_TOP_PAD_", "4194304"),
            ];
            values
                .map(|(name, value)| (name, value.to_owned()))
                .to_vec()
        },
        logs_to_stdout: true,
    },
    Kind {
        name: "h2o",
        binary: "h2o",
        version: "-v",
        files: &[("h2o.yaml", include_str!("../../peers/h2o.conf"))],
        arguments: |launch| vec!["-c".into(), config_path(launch, "h2o.yaml")],
        environment: no_environment,
        logs_to_stdout: false,
    },
    Kind {
        name: "envoy",
        binary: "envoy",
        version: "--version",
        files: &[("envoy.yaml", include_str!("../../peers/envoy.conf"))],
        arguments: |launch| {
            let mut arguments = vec!["-c".into(), config_path(launch, "envoy.yaml")];
            arguments.extend(["--concurrency".into(), launch.workers.to_string()]);
            arguments.extend(["--disable-hot-restart".into(), "-l".into(), "error".into()]);
            arguments
        },
        environment: no_environment,
        logs_to_stdout: false,
    },
    Kind {
        name: "caddy",
        binary: "caddy",
        version: "version",
        files: &[("Caddyfile", include_str!("../../peers/caddy.conf"))],
        arguments: |launch| {
            vec![
                "run".into(),
                "--adapter".into(),
                "caddyfile".into(),
                "--config".into(),
                config_path(launch, "Caddyfile"),
            ]
        },
        environment: go_environment,
        logs_to_stdout: false,
    },
    Kind {
        name: "traefik",
        binary: "traefik",
        version: "version",
        files: &[
            ("traefik.yml", include_str!("../../peers/traefik.conf")),
            (
                "routes.yml",
                include_str!("../../peers/traefik-routes.conf"),
            ),
        ],
        arguments: |launch| vec!["--configFile".into(), config_path(launch, "traefik.yml")],
        environment: go_environment,
        logs_to_stdout: false,
    },
    Kind {
        name: "varnish",
        binary: "varnishd",
        version: "-V",
        files: &[("default.vcl", include_str!("../../peers/varnish.conf"))],
        arguments: |launch| {
            let threads = (launch.clients / 2 + 100).to_string();
            let parameters = [
                ("-f", config_path(launch, "default.vcl")),
                ("-n", config_path(launch, "varnish")),
                ("-a", launch.listen.to_string()),
                ("-s", "default,64m".into()),
                ("-p", "timeout_idle=60".into()),
                ("-p", "thread_pools=1".into()),
                ("-p", format!("thread_pool_max={threads}")),
            ];
            let mut arguments = vec!["-F".into()];
            arguments.extend(
                parameters
                    .into_iter()
                    .flat_map(|(option, value)| [option.to_owned(), value]),
            );
            arguments
        },
        environment: no_environment,
        logs_to_stdout: false,
    },
    Kind {
        name: RELAY,
        binary: "ringway-bench",
        version: "--version",
        files: &[],
        arguments: |launch| {
            let (listen, origin) = (launch.listen.to_string(), launch.origin.to_string());
            vec![
                "relay".into(),
                "--listen".into(),
                listen,
                "--to".into(),
                origin,
            ]
        },
        environment: no_environment,
        logs_to_stdout: false,
    },
];

/// What the kind is called that is no proxy.
const RELAY: &str = "relay";

impl Kind {
    /// Whether it only passes bytes on: it is measured when it is asked for, and is part of this program.
    pub fn is_relay(&self) -> bool {
        self.name == RELAY
    }
}

/// The kind of that name.
pub fn kind_named(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// A build of a proxy, perhaps in a variant of its config.
#[derive(Debug, Clone)]
pub struct Peer {
    /// What kind it is.
    pub kind: &'static Kind,
    /// The binary.
    pub path: PathBuf,
    /// How it is shown: kind, version, variant.
    pub label: String,
    /// HAProxy with splice.
    pub splice: bool,
}

impl Peer {
    /// A build of `kind` at `path`. It is run once to learn its version.
    pub fn new(kind: &'static Kind, path: PathBuf) -> io::Result<Self> {
        // It is started in a directory of its own.
        let path = std::path::absolute(path)?;
        let output = Command::new(&path)
            .arg(kind.version)
            .stdin(Stdio::null())
            .output()?;
        let text = [output.stdout, output.stderr].concat();
        let version = version_in(&String::from_utf8_lossy(&text)).unwrap_or_default();
        let label = format!("{} {version}", kind.name).trim_end().to_owned();
        Ok(Self {
            kind,
            path,
            label,
            splice: false,
        })
    }

    /// The same build passing large bodies on by splice, where it can.
    pub fn with_splice(&self) -> Option<Self> {
        (self.kind.name == "haproxy").then(|| Self {
            label: format!("{} splice", self.label),
            splice: true,
            ..self.clone()
        })
    }

    /// Starts it and waits until it answers.
    pub(super) fn launch(&self, launch: Launch<'_>) -> Result<Proxy, String> {
        fs::create_dir_all(launch.dir)
            .map_err(|error| format!("{}: {error}", launch.dir.display()))?;
        let (output, log) = (launch.dir.join("output"), launch.dir.join("access.log"));
        let values = values(&launch, self.splice, &log).map_err(|error| error.to_string())?;
        for (name, text) in self.kind.files {
            let rendered =
                template::render(text, &values).map_err(|error| format!("{name}: {error}"))?;
            fs::write(launch.dir.join(name), rendered)
                .map_err(|error| format!("{name}: {error}"))?;
        }
        let mut command = Command::new(&self.path);
        command
            .args((self.kind.arguments)(&launch))
            .envs((self.kind.environment)(&launch))
            .current_dir(launch.dir);
        let stdout = if launch.log && self.kind.logs_to_stdout {
            &log
        } else {
            &output
        };
        let process = Process::start(command, launch.cpus, stdout)
            .map_err(|error| format!("{}: {error}", self.path.display()))?;
        let mut proxy = Proxy {
            process,
            address: launch.listen,
        };
        proxy
            .await_ready()
            .map_err(|reason| format!("{reason}{}", last_lines(stdout)))?;
        Ok(proxy)
    }
}

/// Numbers builds that would be shown alike.
pub fn tell_apart(peers: &mut [Peer]) {
    for index in 1..peers.len() {
        let (before, rest) = peers.split_at_mut(index);
        let same = before
            .iter()
            .filter(|other| other.kind.name == rest[0].kind.name && other.path != rest[0].path);
        let same = same
            .filter(|other| other.label.split(" #").next() == Some(&rest[0].label))
            .count();
        if same > 0 {
            rest[0].label = format!("{} #{}", rest[0].label, same + 1);
        }
    }
}

impl<'a> Launch<'a> {
    /// A launch with a free port to listen on.
    pub(super) fn new(
        origin: SocketAddr,
        workers: usize,
        cpus: &'a CpuList,
        dir: &'a Path,
    ) -> io::Result<Self> {
        Ok(Self {
            origin,
            workers,
            cpus,
            dir,
            log: false,
            clients: 8192,
            files: 16384,
            listen: free_address()?,
        })
    }
}

/// A proxy that runs. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) process: Process,
    pub(super) address: SocketAddr,
}

impl Proxy {
    fn await_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + READY_MAX;
        loop {
            if let Some(status) = self.process.exit_status() {
                return Err(format!("it ended at once ({status})"));
            }
            match answers(self.address) {
                Ok(200) => return Ok(()),
                outcome if Instant::now() >= deadline => {
                    let outcome = outcome.map_or_else(
                        |error| error.to_string(),
                        |status| format!("status {status}"),
                    );
                    return Err(format!(
                        "it did not answer within {} s ({outcome})",
                        READY_MAX.as_secs()
                    ));
                }
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

/// The status of one request to `address`.
fn answers(address: SocketAddr) -> io::Result<u16> {
    let patience = Duration::from_secs(2);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: ready\r\nConnection: close\r\n\r\n")?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    let status = start[9..].iter().try_fold(0, |status, digit| {
        Some(status * 10 + (*digit as char).to_digit(10)?)
    });
    status
        .map(|status| status as u16)
        .ok_or_else(|| io::Error::other("the answer is not HTTP"))
}

/// An address of the loopback that nobody listens on just now.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn values(
    launch: &Launch<'_>,
    splice: bool,
    log: &Path,
) -> io::Result<[(&'static str, String); 15]> {
    let flag = |set: bool, value: String| if set { value } else { String::new() };
    Ok([
        ("workers", launch.workers.to_string()),
        ("listen", launch.listen.to_string()),
        ("listen_host", launch.listen.ip().to_string()),
        ("listen_port", launch.listen.port().to_string()),
        ("origin", launch.origin.to_string()),
        ("origin_host", launch.origin.ip().to_string()),
        ("origin_port", launch.origin.port().to_string()),
        ("admin", free_address()?.to_string()),
        ("dir", launch.dir.display().to_string()),
        ("log", flag(launch.log, log.display().to_string())),
        ("splice", flag(splice, "yes".to_owned())),
        ("clients", launch.clients.to_string()),
        ("pool", launch.clients.min(4096).to_string()),
        (
            "at_origin",
            (launch.workers * REQUESTS_AT_ORIGIN).to_string(),
        ),
        ("files", launch.files.to_string()),
    ])
}

/// The first thing that looks like a version: digits, a dot, digits and so on.
fn version_in(text: &str) -> Option<String> {
    text.split(|c: char| c.is_whitespace() || c == '/' || c == ',')
        .find_map(|word| {
            let word = word
                .trim_start_matches("(varnish-")
                .trim_start_matches(['v', 'V']);
            let end = word
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(word.len());
            let suffix = word[end..]
                .split_once('-')
                .filter(|_| word[end..].starts_with("-dev"))
                .map_or("", |_| "-dev");
            let number = word[..end].trim_end_matches('.');
            (number.contains('.') && number.starts_with(|c: char| c.is_ascii_digit()))
                .then(|| format!("{number}{suffix}"))
        })
}

/// The end of a proxy's output, for when it did not start.
fn last_lines(output: &Path) -> String {
    let text = fs::read(output).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = &lines[lines.len().saturating_sub(4)..];
    if last.is_empty() {
        String::new()
    } else {
        format!(": {}", last.join(" | "))
    }
}

/// The binary of that name on the PATH.
pub fn on_path(binary: &str) -> Option<PathBuf> {
    // Servers are often installed where only root's PATH looks.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    dirs.map(|dir| dir.join(binary))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_found_from_any_directory() {
        let program = std::env::current_exe().unwrap();
        let here = std::env::current_dir().unwrap();
        let up = "../".repeat(here.components().count());
        let relative = Path::new(&up).join(program.strip_prefix("/").unwrap());
        let peer = Peer::new(&KINDS[0], relative).unwrap();
        assert!(peer.path.is_absolute(), "{:?}", peer.path);
        assert_eq!(peer.path.canonicalize().unwrap(), program);
    }

    /// Every name in a template is known, with and without the log and splice.
    #[test]
    fn every_template_renders() {
        let cpus = CpuList::new([0]).unwrap();
        for kind in &KINDS {
            for (log, splice) in [(false, false), (true, true)] {
                let origin = "127.0.0.1:9".parse().unwrap();
                let mut launch = Launch::new(origin, 3, &cpus, Path::new("/x")).unwrap();
                launch.log = log;
                let values = values(&launch, splice, Path::new("/x/access.log")).unwrap();
                for (name, text) in kind.files {
                    let rendered = template::render(text, &values).unwrap();
                    assert!(!rendered.contains("{{"), "{name}: {rendered}");
                    let names_log =
                        rendered.contains("/x/access.log") || rendered.contains("log stdout");
                    assert_eq!(
                        names_log,
                        log && *name != "routes.yml" && *name != "default.vcl",
                        "{name}"
                    );
                }
            }
        }
    }

    #[test]
    fn versions_are_found() {
        for (text, version) in [
            ("nginx version: nginx/1.22.1", "1.22.1"),
            (
                "HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/",
                "2.6.12",
            ),
            ("HAProxy version 3.5-dev3-abc 2026/10/17", "3.5-dev"),
            ("h2o version 2.2.6", "2.2.6"),
            ("v2.6.2 h1:abc", "2.6.2"),
            (
                "varnishd (varnish-7.1.1 revision 7cee1c581bead20e88d101ab3d72afb29f14d87a)",
                "7.1.1",
            ),
        ] {
            assert_eq!(version_in(text).as_deref(), Some(version), "{text}");
        }
        assert_eq!(version_in("no version"), None);
    }
}
