//! The command line as it is typed.

use clap::error::ErrorKind;

use super::*;
use crate::route::Action;

fn typed(line: &str) -> Result<Command, clap::Error> {
    Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.command)
}

fn proxied(line: &str) -> Settings {
    let Ok(Command::Proxy(proxy)) = typed(line) else {
        panic!("{line} is no proxy");
    };
    quick(&proxy).expect(line)
}

fn refused(line: &str, kind: ErrorKind, says: &str) {
    let error = typed(line).expect_err(line);
    assert_eq!(error.kind(), kind, "{line}");
    assert!(error.use_stderr(), "{line}: usage errors exit with 2");
    assert!(error.to_string().contains(says), "{line}: {error}");
}

#[test]
fn the_definitions_hold_together() {
    Cli::command().debug_assert();
}

#[test]
fn a_plain_ringway_prints_help_and_is_wrong_usage() {
    refused(
        "ringway",
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
        "ringway proxy --to http://127.0.0.1:3000",
    );
}

#[test]
fn what_does_not_exist_is_not_listed() {
    let help = Cli::command().render_help().to_string();
    for there in ["proxy", "run", "check", "config", "completions", "man"] {
        assert!(help.contains(&format!("\n  {there}")), "{there}: {help}");
    }
    for absent in ["reload", "upgrade", "status"] {
        assert!(!help.contains(&format!("\n  {absent}")), "{absent}");
        refused(
            &format!("ringway {absent}"),
            ErrorKind::InvalidSubcommand,
            absent,
        );
    }
}

#[test]
fn proxy_needs_nothing() {
    let settings = proxied("ringway proxy");
    assert_eq!(
        settings.listeners[0].bind,
        ["127.0.0.1:8080".parse().unwrap()]
    );
    assert_eq!(settings.admin, Some("127.0.0.1:9900".parse().unwrap()));
    assert_eq!(settings.workers, None);
    assert_eq!(settings.log.access, Destination::Stdout);
    assert!(matches!(settings.routes[0].action, Action::Builtin));
}

#[test]
fn proxy_takes_several_addresses_and_urls() {
    let settings = proxied(
        "ringway proxy --listen 127.0.0.1:0 --listen [::1]:0 --to http://a:1 --to http://b:2 \
         --admin off --workers 3 --no-log",
    );
    assert_eq!(settings.listeners[0].bind.len(), 2);
    assert_eq!(settings.upstreams[0].endpoints.len(), 2);
    assert_eq!(settings.admin, None);
    assert_eq!(settings.workers, Some(3));
    assert_eq!(settings.log.access, Destination::Off);
}

#[test]
fn wrong_values_are_wrong_usage_with_a_suggestion() {
    let wrong = ErrorKind::ValueValidation;
    refused(
        "ringway proxy --to 127.0.0.1:3000",
        wrong,
        "http://127.0.0.1:3000",
    );
    refused("ringway proxy --to https://h", wrong, "not implemented");
    refused("ringway proxy --listen 8080", wrong, "127.0.0.1:8080");
    refused("ringway proxy --admin localhost:1", wrong, "127.0.0.1:1");
    refused("ringway proxy --workers 0", wrong, "1 to 1024");
    refused("ringway prox", ErrorKind::InvalidSubcommand, "proxy");
    refused(
        "ringway run",
        ErrorKind::MissingRequiredArgument,
        "--config",
    );
    refused(
        "ringway check --jsn --config a",
        ErrorKind::UnknownArgument,
        "--json",
    );
}

#[test]
fn an_address_given_twice_is_refused() {
    let Ok(Command::Proxy(proxy)) = typed("ringway proxy --listen 127.0.0.1:9900") else {
        panic!("it is a proxy");
    };
    assert!(quick(&proxy).unwrap_err().contains("twice"));
}

#[test]
fn completions_and_the_manual_name_every_command() {
    let bash = String::from_utf8(completions(clap_complete::Shell::Bash)).unwrap();
    let mut page = Vec::new();
    print::manual(Cli::command(), &mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        assert!(bash.contains(name), "{name}");
        assert!(
            page.contains(&format!(".SH {}", name.to_uppercase())),
            "{name}"
        );
    }
}
