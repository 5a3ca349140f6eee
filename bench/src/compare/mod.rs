//! Proxies side by side: the same workloads, the same CPUs, in turns.
//!
//! Absolute numbers move with the machine and with the minute. So each round measures every proxy once, in an order
//! that rotates, and what is reported first is the ratio of figures of the same round.

mod host;
mod html;
mod json;
mod measure;
mod outcome;
mod peer;
mod process;
mod stats;
mod table;
mod template;
mod workload;

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::{
    cpus::CpuList,
    origin::{self, Origin},
};
use measure::{Bench, GivenUp, Measured};
use peer::{Launch, Proxy};

pub use html::to_html;
pub use json::to_json;
pub use outcome::{Figures, Outcome, PeerOutcome, Sample, WorkloadOutcome};
pub use peer::{KINDS, Kind, Peer, kind_named, on_path, tell_apart};
pub use table::Table;
pub use workload::{NAMES, Workload};

/// What a comparison is made of.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The builds to compare. The first is compared with the others.
    pub peers: Vec<Peer>,
    /// Proxies that were not found, and why.
    pub missing: Vec<(String, String)>,
    /// Names of workloads.
    pub workloads: Vec<String>,
    /// How often each proxy is measured.
    pub rounds: u32,
    /// How long each measurement takes.
    pub window: Duration,
    /// How long the load runs before that.
    pub warm_up: Duration,
    /// Requests per second of the fixed-rate workload; half of what the slowest proxy can take if not given.
    pub rate: Option<f64>,
    /// Where proxies run; the first of the available CPUs if not given.
    pub proxy_cpus: Option<CpuList>,
    /// Where load and origin run; the other CPUs if not given.
    pub load_cpus: Option<CpuList>,
    /// System calls are counted in these workloads only; in all that load a proxy if not given.
    pub syscalls_in: Option<Vec<String>>,
}

/// Which CPUs do what.
struct CpuPlan {
    available: CpuList,
    proxy: Option<CpuList>,
    load: Option<CpuList>,
}

/// A directory that goes when this does.
struct TempDir(PathBuf);

/// Runs a comparison. `say` is told what is going on. `None` if it was interrupted before anything came out.
pub fn run(
    settings: &Settings,
    interrupted: &AtomicBool,
    say: &mut dyn FnMut(&str),
) -> io::Result<Option<Outcome>> {
    process::check_accounting()?;
    let files = raise_file_limit();
    let plan = CpuPlan::new(settings)?;
    let dir = TempDir::new()?;
    let mut outcome = Outcome {
        machine: host::Machine::this(),
        cpus: plan.describe(),
        rounds: settings.rounds,
        seconds: settings.window.as_secs_f64(),
        missing: settings.missing.clone(),
        skipped: Vec::new(),
        notes: plan.notes(),
        workloads: Vec::new(),
    };
    let mut workloads = Vec::new();
    for name in &settings.workloads {
        match workload::named(name, files, plan.workers_max()) {
            Ok(named) => workloads.extend(named),
            Err(reason) => outcome.skipped.push((name.clone(), reason)),
        }
    }
    for workload in workloads {
        let runner = Runner {
            settings,
            interrupted,
            proxy_cpus: plan.proxy(workload.workers),
            load_cpus: plan.load(workload.workers),
            dir: &dir.0,
            files,
        };
        match runner.run(workload, &outcome, say) {
            Ok(done) => outcome.workloads.push(done),
            Err(GivenUp::Interrupted) => {
                outcome
                    .notes
                    .push("interrupted: what is here is not all that was asked for".to_owned());
                break;
            }
            Err(GivenUp::Failed(reason)) => return Err(io::Error::other(reason)),
        }
    }
    Ok((!outcome.workloads.is_empty() || !outcome.skipped.is_empty()).then_some(outcome))
}

/// Everything for one workload.
struct Runner<'a> {
    settings: &'a Settings,
    interrupted: &'a AtomicBool,
    proxy_cpus: CpuList,
    load_cpus: CpuList,
    dir: &'a Path,
    files: usize,
}

impl Runner<'_> {
    fn run(
        &self,
        workload: Workload,
        so_far: &Outcome,
        say: &mut dyn FnMut(&str),
    ) -> Result<WorkloadOutcome, GivenUp> {
        let threads = self.load_cpus.as_slice().len().div_ceil(2);
        let origin = Origin::start(&origin::Settings {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            threads,
            // From the other end, so that load and origin share a CPU only where they must.
            cpus: CpuList::new(self.load_cpus.as_slice().iter().rev().copied()),
        })?;
        let mut all_cpus = [self.proxy_cpus.as_slice(), self.load_cpus.as_slice()].concat();
        all_cpus.sort_unstable();
        all_cpus.dedup();
        let bench = Bench {
            load_cpus: self.load_cpus.clone(),
            load_threads: threads,
            network_threads: host::network_threads(&all_cpus),
            all_cpus,
            window: self.settings.window,
            warm_up: self.settings.warm_up,
            interrupted: self.interrupted,
        };
        let mut peers = self.settings.peers.clone();
        // It has one worker, and nothing to log.
        peers.retain(|peer| !peer.kind.is_relay() || (workload.workers == 1 && !workload.log));
        if workload.with_splice {
            peers.extend(self.settings.peers.iter().filter_map(Peer::with_splice));
        }
        let outcomes = peers
            .iter()
            .map(|peer| PeerOutcome::new(peer.label.clone(), peer.kind.name))
            .collect();
        let mut outcome = WorkloadOutcome {
            workload,
            rate: None,
            peers: outcomes,
            direct: None,
            disturbed: Vec::new(),
        };
        let mut stage = Stage {
            runner: self,
            bench,
            origin: origin.address(),
            peers,
            proxies: Vec::new(),
            launches: 0,
        };
        stage.launch_all(&mut outcome)?;
        match outcome.workload.kind {
            workload::Kind::Idle => stage.idle_rounds(&mut outcome, say)?,
            workload::Kind::Saturate => stage.loaded_rounds(&mut outcome, say)?,
            workload::Kind::Rate => {
                outcome.direct = Some(PeerOutcome::new("no proxy".to_owned(), "direct"));
                outcome.rate = match self.settings.rate {
                    Some(rate) => Some(rate),
                    None => Some(stage.half_of_the_slowest(&outcome, so_far)?),
                };
                stage.loaded_rounds(&mut outcome, say)?;
            }
        }
        if outcome.workload.kind != workload::Kind::Idle {
            stage.count_syscalls(&mut outcome);
        }
        origin.stop()?;
        Ok(outcome)
    }
}

/// The proxies of one workload while they run.
struct Stage<'a> {
    runner: &'a Runner<'a>,
    bench: Bench<'a>,
    origin: SocketAddr,
    peers: Vec<Peer>,
    /// In the order of `peers`; `None` where one could not be started.
    proxies: Vec<Option<Proxy>>,
    launches: u32,
}

impl Stage<'_> {
    fn launch(&mut self, index: usize, workload: &Workload) -> Result<Proxy, String> {
        self.launches += 1;
        let dir = self
            .runner
            .dir
            .join(format!("{}-{index}-{}", workload.name, self.launches));
        let launch = Launch::new(self.origin, workload.workers, &self.runner.proxy_cpus, &dir)
            .map_err(|error| error.to_string())?;
        let files = self.runner.files;
        // Two descriptors a client, one each way, and half of one for the pipes of those that splice.
        let clients = (files * 2 / 5).saturating_sub(256).max(64);
        self.peers[index].launch(Launch {
            log: workload.log,
            clients,
            files: files as u64,
            ..launch
        })
    }

    fn launch_all(&mut self, outcome: &mut WorkloadOutcome) -> Result<(), GivenUp> {
        for index in 0..self.peers.len() {
            if self.runner.interrupted.load(Ordering::Relaxed) {
                return Err(GivenUp::Interrupted);
            }
            let proxy = match self.launch(index, &outcome.workload) {
                Ok(proxy) => Some(proxy),
                Err(reason) => {
                    outcome.peers[index].failed = Some(format!("could not be started: {reason}"));
                    None
                }
            };
            self.proxies.push(proxy);
        }
        Ok(())
    }

    fn loaded_rounds(
        &mut self,
        outcome: &mut WorkloadOutcome,
        say: &mut dyn FnMut(&str),
    ) -> Result<(), GivenUp> {
        let rounds = self.runner.settings.rounds;
        let mut repeats_left = rounds as usize * self.peers.len() / 3 + 1;
        let workload = outcome.workload.clone();
        for round in 0..rounds {
            if let Some(direct) = &mut outcome.direct {
                let measured = self
                    .bench
                    .loaded(&workload, outcome.rate, self.origin, None)?;
                note(direct, round, measured);
            }
            for position in 0..self.peers.len() {
                let index = (position + round as usize) % self.peers.len();
                let Some(proxy) = &mut self.proxies[index] else {
                    continue;
                };
                let peer = &mut outcome.peers[index];
                say(&format!(
                    "{}: round {} of {rounds}, {}",
                    workload.name,
                    round + 1,
                    peer.label
                ));
                loop {
                    let measured = self.bench.loaded(
                        &workload,
                        outcome.rate,
                        proxy.address,
                        Some(&proxy.process),
                    );
                    let measured = match measured {
                        Err(GivenUp::Failed(reason)) => {
                            let ended = proxy
                                .process
                                .exit_status()
                                .map(|status| format!(", it ended ({status})"));
                            peer.failed = Some(format!("{reason}{}", ended.unwrap_or_default()));
                            self.proxies[index] = None;
                            break;
                        }
                        measured => measured?,
                    };
                    if let Some(disturbance) = &measured.disturbance {
                        let repeated = repeats_left > 0;
                        let remedy = if repeated {
                            "repeated"
                        } else {
                            "kept, no repeats left"
                        };
                        let line = format!(
                            "round {}, {}: {disturbance}; {remedy}",
                            round + 1,
                            peer.label
                        );
                        outcome.disturbed.push(line);
                        if repeated {
                            repeats_left -= 1;
                            continue;
                        }
                    }
                    note(peer, round, measured);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Memory is measured in a proxy that has just been started: one that has been busy has memory to spare.
    fn idle_rounds(
        &mut self,
        outcome: &mut WorkloadOutcome,
        say: &mut dyn FnMut(&str),
    ) -> Result<(), GivenUp> {
        let workload = outcome.workload.clone();
        let rounds = self.runner.settings.rounds.min(3);
        for round in 0..rounds {
            for index in 0..self.peers.len() {
                let Some(proxy) = self.proxies[index].take() else {
                    continue;
                };
                let peer = &mut outcome.peers[index];
                say(&format!(
                    "{}: round {} of {rounds}, {}",
                    workload.name,
                    round + 1,
                    peer.label
                ));
                match self.bench.idle(&workload, proxy.address, &proxy.process) {
                    Ok(measured) => note(peer, round, measured),
                    Err(GivenUp::Failed(reason)) => {
                        peer.failed = Some(reason);
                        continue;
                    }
                    Err(interrupted) => return Err(interrupted),
                }
                drop(proxy);
                if round + 1 < rounds {
                    match self.launch(index, &workload) {
                        Ok(proxy) => self.proxies[index] = Some(proxy),
                        Err(reason) => outcome.peers[index].failed = Some(reason),
                    }
                }
            }
        }
        Ok(())
    }

    fn count_syscalls(&self, outcome: &mut WorkloadOutcome) {
        let only = &self.runner.settings.syscalls_in;
        if only
            .as_ref()
            .is_some_and(|only| !only.contains(&outcome.workload.name))
        {
            return;
        }
        for (peer, proxy) in outcome.peers.iter_mut().zip(&self.proxies) {
            if let Some(proxy) = proxy {
                peer.syscalls = self.bench.syscalls(
                    &outcome.workload,
                    outcome.rate,
                    proxy.address,
                    &proxy.process,
                );
            }
        }
    }

    /// Half of what the slowest proxy can take: by this run's own figures if it has them, else by a quick look.
    fn half_of_the_slowest(
        &self,
        outcome: &WorkloadOutcome,
        so_far: &Outcome,
    ) -> Result<f64, GivenUp> {
        let saturated = so_far
            .workloads
            .iter()
            .find(|other| other.workload.name == "c64");
        let mut slowest = f64::INFINITY;
        if let Some(saturated) = saturated {
            let rates = saturated.peers.iter().filter_map(|peer| peer.rate());
            slowest = rates.fold(slowest, |slowest, rate| slowest.min(rate.median));
        } else {
            for proxy in self.proxies.iter().flatten() {
                let measured = self.bench.loaded(
                    &outcome.workload,
                    None,
                    proxy.address,
                    Some(&proxy.process),
                )?;
                if let Figures::Loaded { rate, .. } = measured.figures {
                    slowest = slowest.min(rate);
                }
            }
        }
        if slowest.is_finite() {
            Ok((slowest / 2.0).round())
        } else {
            Err(GivenUp::Failed(
                "no proxy answers, so there is no rate to take half of; name one with --rate"
                    .to_owned(),
            ))
        }
    }
}

fn note(peer: &mut PeerOutcome, round: u32, measured: Measured) {
    peer.errors.extend(
        measured
            .errors
            .map(|errors| format!("round {}: {errors}", round + 1)),
    );
    peer.samples.push(Sample {
        round,
        figures: measured.figures,
    });
}

impl CpuPlan {
    fn new(settings: &Settings) -> io::Result<Self> {
        let available = CpuList::available()?;
        Ok(Self {
            available,
            proxy: settings.proxy_cpus.clone(),
            load: settings.load_cpus.clone(),
        })
    }

    /// Workers there are CPUs for, with as many left for load and origin.
    fn workers_max(&self) -> usize {
        self.proxy
            .as_ref()
            .map_or(self.available.as_slice().len() / 2, |proxy| {
                proxy.as_slice().len()
            })
    }

    fn proxy(&self, workers: usize) -> CpuList {
        let from = self.proxy.as_ref().unwrap_or(&self.available).as_slice();
        CpuList::new(from.iter().take(workers).copied()).unwrap_or_else(|| self.available.clone())
    }

    fn load(&self, workers: usize) -> CpuList {
        if let Some(load) = &self.load {
            return load.clone();
        }
        let proxy = self.proxy(workers);
        let rest = self
            .available
            .as_slice()
            .iter()
            .copied()
            .filter(|cpu| !proxy.as_slice().contains(cpu));
        // Enough to saturate the proxy; more would only add noise.
        CpuList::new(rest.take(workers * 3)).unwrap_or(proxy)
    }

    fn describe(&self) -> String {
        format!(
            "proxies on CPU {}, load and origin on CPU {}",
            self.proxy(1),
            self.load(1)
        )
    }

    fn notes(&self) -> Vec<String> {
        let shared = self
            .load(1)
            .as_slice()
            .iter()
            .any(|cpu| self.proxy(1).as_slice().contains(cpu));
        let note = "proxies share their CPU with load and origin: rates and latencies say little, CPU per request a bit more";
        if shared {
            vec![note.to_owned()]
        } else {
            Vec::new()
        }
    }
}

impl TempDir {
    fn new() -> io::Result<Self> {
        let base = std::env::temp_dir();
        for attempt in 0..100 {
            let dir = base.join(format!("ringway-bench-{}-{attempt}", std::process::id()));
            match fs::create_dir(&dir) {
                Ok(()) => return Ok(Self(dir)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other(
            "no name for a temporary directory is free",
        ))
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // What cannot be removed stays in the temporary directory, where it does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Takes as many descriptors as this process may have, which proxies then inherit. How many that is.
fn raise_file_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Where it may not be raised, the present limit counts.
    let files = if setrlimit(Resource::Nofile, raised).is_ok() {
        limit.maximum
    } else {
        limit.current
    };
    // Proxies size tables by it, so a limit of millions is not passed on as a wish for millions.
    files.unwrap_or(65_536).min(65_536) as usize
}
