//! Config files, written section by section so that a test shows only what it is about.

use std::fmt::Write as _;

use crate::origin::Origin;
use crate::proxy::Proxy;

/// A config file in the making: one listener, one worker and every port chosen by the kernel, unless told otherwise.
#[derive(Debug, Clone)]
pub struct Config {
    workers: usize,
    process: String,
    log: String,
    bind: Vec<String>,
    listener: String,
    timeouts: String,
    limits: String,
    routes: Vec<String>,
    upstreams: Vec<Upstream>,
}

#[derive(Debug, Clone)]
struct Upstream {
    name: String,
    endpoints: Vec<String>,
    pool: String,
}

impl Default for Config {
    fn default() -> Self {
        Config::new()
    }
}

impl Config {
    /// No upstream and no route yet.
    pub fn new() -> Config {
        Config {
            workers: 1,
            process: String::new(),
            log: "access = \"stdout\"".into(),
            bind: vec!["127.0.0.1:0".into()],
            listener: String::new(),
            timeouts: String::new(),
            limits: String::new(),
            routes: Vec::new(),
            upstreams: Vec::new(),
        }
    }

    /// Everything goes to `origin`, the only endpoint of the upstream `app`, unless routes are added.
    pub fn to(origin: &Origin) -> Config {
        Config::to_url(origin.url())
    }

    /// Everything goes to `url`, the only endpoint of the upstream `app`, unless routes are added.
    pub fn to_url(url: impl Into<String>) -> Config {
        Config::new().upstream("app", [url])
    }

    /// So many workers.
    pub fn workers(mut self, workers: usize) -> Config {
        self.workers = workers;
        self
    }

    /// Adds lines to `[process]`.
    pub fn process(mut self, lines: &str) -> Config {
        add(&mut self.process, lines);
        self
    }

    /// `[log]`, instead of access lines on standard output.
    pub fn log(mut self, lines: &str) -> Config {
        self.log = lines.to_owned();
        self
    }

    /// Listens on these addresses, instead of one of 127.0.0.1.
    pub fn bind(mut self, addrs: impl IntoIterator<Item = impl Into<String>>) -> Config {
        self.bind = addrs.into_iter().map(Into::into).collect();
        self
    }

    /// Adds lines to `[[listener]]`.
    pub fn listener(mut self, lines: &str) -> Config {
        add(&mut self.listener, lines);
        self
    }

    /// Adds lines to `[listener.timeouts]`.
    pub fn timeouts(mut self, lines: &str) -> Config {
        add(&mut self.timeouts, lines);
        self
    }

    /// Adds lines to `[listener.limits]`.
    pub fn limits(mut self, lines: &str) -> Config {
        add(&mut self.limits, lines);
        self
    }

    /// Adds a `[[route]]` of these lines.
    pub fn route(mut self, lines: &str) -> Config {
        self.routes.push(lines.to_owned());
        self
    }

    /// Adds an `[upstream.NAME]` with these URLs as endpoints.
    pub fn upstream(
        mut self,
        name: &str,
        urls: impl IntoIterator<Item = impl Into<String>>,
    ) -> Config {
        let endpoints = urls
            .into_iter()
            .map(|url| format!("\"{}\"", url.into()))
            .collect();
        self.upstreams.push(Upstream {
            name: name.to_owned(),
            endpoints,
            pool: String::new(),
        });
        self
    }

    /// Adds an `[upstream.NAME]` with these URLs and weights as endpoints.
    pub fn weighted(mut self, name: &str, endpoints: &[(String, u32)]) -> Config {
        let endpoints = endpoints
            .iter()
            .map(|(url, weight)| format!("{{ url = \"{url}\", weight = {weight} }}"))
            .collect();
        self.upstreams.push(Upstream {
            name: name.to_owned(),
            endpoints,
            pool: String::new(),
        });
        self
    }

    /// Adds lines to the `[upstream.NAME.pool]` of the upstream added last.
    pub fn pool(mut self, lines: &str) -> Config {
        add(
            &mut self
                .upstreams
                .last_mut()
                .expect("an upstream comes first")
                .pool,
            lines,
        );
        self
    }

    /// The file.
    pub fn text(&self) -> String {
        let mut text = format!("[process]\nworkers = {}\n{}", self.workers, self.process);
        let Config {
            log,
            bind,
            listener,
            timeouts,
            limits,
            ..
        } = self;
        write!(
            text,
            "[admin]\nbind = \"127.0.0.1:0\"\n[log]\n{log}\n\
             [[listener]]\nname = \"edge\"\nbind = {bind:?}\n{listener}\
             [listener.timeouts]\n{timeouts}[listener.limits]\n{limits}"
        )
        .expect("a String takes everything");
        let by_default = ["upstream = \"app\"".to_owned()];
        let routes = if self.routes.is_empty() {
            &by_default[..]
        } else {
            &self.routes
        };
        for (index, route) in routes.iter().enumerate() {
            let name = if route.contains("name = ") {
                String::new()
            } else {
                format!("name = \"route-{index}\"\n")
            };
            write!(text, "[[route]]\n{name}{route}\n").expect("a String takes everything");
        }
        for Upstream {
            name,
            endpoints,
            pool,
        } in &self.upstreams
        {
            write!(
                text,
                "[upstream.{name}]\nendpoints = [{}]\n[upstream.{name}.pool]\n{pool}",
                endpoints.join(", ")
            )
            .expect("a String takes everything");
        }
        text
    }

    /// Starts a proxy with it.
    pub fn start(&self) -> Proxy {
        Proxy::start(&self.text())
    }
}

fn add(section: &mut String, lines: &str) {
    section.push_str(lines);
    section.push('\n');
}
