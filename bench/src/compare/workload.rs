//! What the proxies are compared at.

use crate::load::Body;

/// One workload.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Its name on the command line.
    pub name: String,
    /// What it is, in a few words.
    pub title: String,
    /// How it is measured.
    pub kind: Kind,
    /// Client connections.
    pub connections: usize,
    /// What is asked of the origin.
    pub path: &'static str,
    /// Content of the answers.
    pub answer_bytes: u64,
    /// Content of the requests.
    pub body: Body,
    /// Whether connections are kept.
    pub keep_alive: bool,
    /// Whether every request is logged.
    pub log: bool,
    /// Workers of each proxy.
    pub workers: usize,
    /// Whether peers take part in their variant for large bodies, too.
    pub with_splice: bool,
}

/// How a workload is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As many requests as the proxy can take.
    Saturate,
    /// Requests at a given rate, the same for all.
    Rate,
    /// Connections that do nothing.
    Idle,
}

/// Connections that the idle workload opens, where descriptors suffice.
const IDLE_CONNECTIONS: usize = 4096;

/// Descriptors the harness needs beside its connections.
const SPARE_FILES: usize = 256;

/// Names of all workloads, in their order.
pub const NAMES: [&str; 11] = [
    "c64",
    "c512",
    "c4096",
    "b16k",
    "b1m",
    "upload64k",
    "close",
    "log",
    "rate",
    "idle",
    "scaling",
];

/// The workloads of that name: one, or for `scaling` one for each number of workers. An error says why not.
///
/// `files` is how many descriptors the harness may have, `workers_max` how many workers there are CPUs for.
pub(super) fn named(name: &str, files: usize, workers_max: usize) -> Result<Vec<Workload>, String> {
    // The harness holds both the clients' connections and the origin's ends of the proxy's.
    let connections_max = files.saturating_sub(SPARE_FILES) / 2;
    let base = |connections: usize, title: &str| Workload {
        name: name.to_owned(),
        title: title.to_owned(),
        kind: Kind::Saturate,
        connections,
        path: "/",
        answer_bytes: 128,
        body: Body::None,
        keep_alive: true,
        log: false,
        workers: 1,
        with_splice: false,
    };
    let c64 = |title: &str| base(64, title);
    let workload = match name {
        "c64" => c64("64 connections, 128 B"),
        "c512" => base(512, "512 connections, 128 B"),
        "c4096" => base(4096, "4096 connections, 128 B"),
        "b16k" => Workload {
            path: "/bytes/16384",
            answer_bytes: 16_384,
            ..c64("64 connections, answers of 16 KiB")
        },
        "b1m" => Workload {
            path: "/bytes/1048576",
            answer_bytes: 1_048_576,
            with_splice: true,
            ..c64("64 connections, answers of 1 MiB")
        },
        "upload64k" => Workload {
            body: Body::Sized(65_536),
            ..c64("64 connections, requests of 64 KiB")
        },
        "close" => Workload {
            keep_alive: false,
            ..c64("64 clients, a connection per request, 128 B")
        },
        "log" => Workload {
            log: true,
            ..c64("64 connections, 128 B, JSON access log to a file")
        },
        "rate" => Workload {
            kind: Kind::Rate,
            ..c64("64 connections, 128 B, fixed rate")
        },
        "idle" => Workload {
            kind: Kind::Idle,
            ..base(
                IDLE_CONNECTIONS.min(connections_max),
                "memory per idle keep-alive connection",
            )
        },
        "scaling" if workers_max < 2 => {
            return Err(
                "needs at least four CPUs: two for workers, two for load and origin".to_owned(),
            );
        }
        "scaling" => {
            let counts = (0..)
                .map(|power| 1 << power)
                .take_while(|workers| *workers <= workers_max);
            let scaled = counts.map(|workers| Workload {
                name: format!("scaling-{workers}"),
                workers,
                ..base(256, &format!("256 connections, 128 B, workers: {workers}"))
            });
            return Ok(scaled.collect());
        }
        _ => {
            return Err(format!(
                "there is no such workload; there are {}",
                NAMES.join(", ")
            ));
        }
    };
    if workload.connections > connections_max {
        return Err(format!(
            "needs {} descriptors; raise the limit (ulimit -n)",
            workload.connections * 2 + SPARE_FILES
        ));
    }
    Ok(vec![workload])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_workload() {
        for name in NAMES {
            assert!(!named(name, 20_000, 4).unwrap().is_empty(), "{name}");
        }
        assert!(named("nothing", 20_000, 4).is_err());
    }

    #[test]
    fn scaling_doubles_workers_while_there_are_cpus() {
        let workers = |max| {
            named("scaling", 20_000, max)
                .map(|all| all.iter().map(|one| one.workers).collect::<Vec<_>>())
        };
        assert_eq!(workers(5).unwrap(), [1, 2, 4]);
        assert!(workers(1).is_err());
    }

    #[test]
    fn few_descriptors_make_fewer_idle_connections() {
        assert_eq!(named("idle", 1024, 1).unwrap()[0].connections, 384);
        assert!(named("c4096", 1024, 1).is_err());
    }
}
