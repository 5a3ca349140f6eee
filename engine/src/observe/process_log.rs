//! The process log: one line an event, to standard error, at the level `RINGWAY_LOG` asks for.
//!
//! Never on the request path.

use std::io::Write;
use std::sync::OnceLock;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| parse(std::env::var("RINGWAY_LOG").ok().as_deref()))
}

fn parse(text: Option<&str>) -> Level {
    match text {
        Some("error") => Level::Error,
        Some("warn") => Level::Warn,
        Some("debug") => Level::Debug,
        _ => Level::Info,
    }
}

fn line(at: Level, text: &str) {
    if at <= level() {
        // Where standard error is gone there is nobody to tell.
        let _ = writeln!(std::io::stderr().lock(), "ringway: {text}");
    }
}

/// What an operator started the process to see: said at every level.
pub fn announce(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "ringway: {text}");
}

/// Something failed.
pub fn error(text: &str) {
    line(Level::Error, text);
}

/// Something may need a look.
pub fn warn(text: &str) {
    line(Level::Warn, text);
}

/// Something changed.
pub fn info(text: &str) {
    line(Level::Info, text);
}

/// Something happened.
pub fn debug(text: &str) {
    line(Level::Debug, text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_level_is_info() {
        assert_eq!(parse(None), Level::Info);
        assert_eq!(parse(Some("loud")), Level::Info);
        assert_eq!(parse(Some("warn")), Level::Warn);
        assert!(Level::Error < Level::Debug);
    }
}
