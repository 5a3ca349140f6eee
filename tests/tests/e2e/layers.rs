//! The engine's rooms, top to bottom: each imports only rooms below it. DESIGN.md draws them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ringway_tests::binary::workspace_root;

/// The rooms by level, from the top. Rooms of one level do not import each other.
const LEVELS: [&[&str]; 14] = [
    &["main", "allocations"],
    &["cli"],
    &["process"],
    &["config", "admin"],
    &["worker"],
    &["listen"],
    &["downstream"],
    &["exchange"],
    &["route", "upstream"],
    &["message"],
    &["transport"],
    &["ring"],
    &["observe"],
    &["lib"],
];

fn level(room: &str) -> usize {
    let found = LEVELS.iter().position(|rooms| rooms.contains(&room));
    found.unwrap_or_else(|| panic!("the room {room} is not on the map"))
}

fn source_root() -> PathBuf {
    workspace_root().join("engine/src")
}

fn source_files(dir: &Path, into: &mut Vec<PathBuf>) {
    let entries =
        fs::read_dir(dir).unwrap_or_else(|error| panic!("reading {}: {error}", dir.display()));
    for entry in entries {
        let path = entry.expect("the directory is readable").path();
        if path.is_dir() {
            source_files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Every source file of the engine: its room, its path below `src`, and its code without comments and strings' text.
fn sources() -> Vec<(String, String, String)> {
    let mut files = Vec::new();
    source_files(&source_root(), &mut files);
    assert!(
        files.len() > 20,
        "the engine has more than {} files",
        files.len()
    );
    let mut sources: Vec<_> = files
        .iter()
        .map(|file| {
            let path = file
                .strip_prefix(source_root())
                .expect("below it")
                .to_str()
                .expect("UTF-8")
                .to_owned();
            let room = path
                .split('/')
                .next()
                .unwrap_or_default()
                .trim_end_matches(".rs")
                .to_owned();
            let text =
                fs::read_to_string(file).unwrap_or_else(|error| panic!("reading {path}: {error}"));
            (room, path, code_of(&text))
        })
        .collect();
    sources.sort();
    sources
}

/// `text` without its line comments and what is inside string literals.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['"', '/', '\'']) {
        let (before, after) = rest.split_at(at);
        code.push_str(before);
        if after.starts_with("//") {
            rest = &after[after.find('\n').unwrap_or(after.len())..];
        } else if let Some(inside) = after.strip_prefix('"') {
            let mut escaped = false;
            let raw = before.ends_with('r') || before.ends_with('#');
            let end = inside.find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped && !raw;
                ends
            });
            code.push_str("\"\"");
            rest = &inside[end.map_or(inside.len(), |end| end + 1)..];
        } else if after.starts_with("'\"'") || after.starts_with("'/'") {
            rest = &after[3..];
        } else if after.starts_with("'\\") {
            // An escape: the quote that ends it is the first after the escaped character.
            let end = after[3..].find('\'').map_or(after.len(), |end| end + 4);
            rest = &after[end..];
        } else {
            code.push_str(&after[..1]);
            rest = &after[1..];
        }
    }
    code.push_str(rest);
    code
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The names that start the paths of a use tree's text: `a::b`, `{a, b::{c, d}}`.
fn first_names(tree: &str) -> Vec<String> {
    let Some(inside) = tree.strip_prefix('{') else {
        return vec![tree.chars().take_while(|c| is_name(*c)).collect()];
    };
    let mut names = Vec::new();
    let (mut depth, mut name, mut at_start) = (0, String::new(), true);
    for c in inside.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(std::mem::take(&mut name));
                at_start = true;
            }
            c if depth == 0 && at_start && is_name(c) => name.push(c),
            c if c.is_whitespace() => {}
            _ if depth == 0 => at_start = false,
            _ => {}
        }
    }
    names.push(name);
    names.retain(|name| !name.is_empty());
    names
}

/// Every room that `code` at `path` names from the crate's root, with whether the path goes to its `settings`.
fn rooms_named(path: &str, code: &str) -> Vec<String> {
    // How many `super::` lead from the file's own module to the crate's root.
    let components: Vec<_> = path
        .trim_end_matches(".rs")
        .split('/')
        .filter(|part| *part != "mod")
        .collect();
    let to_root = "super::".repeat(components.len());
    let mut rooms = Vec::new();
    for root in ["crate::", "ringway_engine::", to_root.as_str()] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            // A longer chain of `super::` is another one's business; `$crate` is the crate all the same.
            if before.is_some_and(|c| is_name(c) || c == ':') {
                continue;
            }
            let rest = &code[at + root.len()..];
            rooms.extend(first_names(rest.trim_start()));
        }
    }
    rooms
}

#[test]
fn a_room_imports_only_rooms_below_it() {
    let mut wrong = Vec::new();
    for (room, path, code) in sources() {
        if room == "lib" {
            continue;
        }
        for named in rooms_named(&path, &code) {
            if named == room
                || named == "super"
                || !LEVELS.iter().any(|rooms| rooms.contains(&named.as_str()))
            {
                continue;
            }
            // The config becomes every room's settings, and what hands it on may name the settings above it.
            let settings_of_a_room_above = room == "config" && named == "process";
            if level(&named) <= level(&room) && !settings_of_a_room_above {
                wrong.push(format!(
                    "{path}: {room} names {named}, which is not below it"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_room_is_on_the_map() {
    let rooms: BTreeSet<_> = sources().into_iter().map(|(room, ..)| room).collect();
    for room in rooms {
        level(&room);
    }
}

#[test]
fn only_the_ring_and_the_worker_name_the_runtime() {
    let mut wrong = Vec::new();
    for (room, path, code) in sources() {
        for runtime in ["monoio", "io_uring"] {
            let named = code.match_indices(runtime).any(|(at, _)| {
                let before = code[..at].chars().next_back();
                code[at + runtime.len()..].starts_with("::") && !before.is_some_and(is_name)
            });
            if named && room != "ring" && room != "worker" {
                wrong.push(format!("{path} names {runtime}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// An allocator's hooks cannot be written otherwise; they are in no release.
#[test]
fn only_the_ring_and_the_counting_allocator_are_unsafe() {
    let mut wrong = Vec::new();
    for (room, path, code) in sources() {
        let mut words = code.split(|c: char| !is_name(c));
        if words.any(|word| word == "unsafe") && !["ring", "allocations"].contains(&room.as_str()) {
            wrong.push(path);
        }
    }
    assert!(
        wrong.is_empty(),
        "unsafe outside the ring: {}",
        wrong.join(", ")
    );
}

#[test]
fn the_protocol_knows_no_socket_and_no_clock() {
    let mut files = Vec::new();
    source_files(&workspace_root().join("protocol/src"), &mut files);
    for file in files {
        let code = code_of(
            &fs::read_to_string(&file)
                .unwrap_or_else(|error| panic!("{}: {error}", file.display())),
        );
        for name in [
            "std::net::Tcp",
            "std::net::Udp",
            "std::time",
            "std::io",
            "std::fs",
            "std::thread",
            "unsafe ",
        ] {
            assert!(!code.contains(name), "{} names {name}", file.display());
        }
    }
}

/// The harness shares no code with what it measures, except where a part of that is what is measured: `micro` counts the pure
/// pieces, and `relay` is the ring alone.
#[test]
fn only_what_measures_a_part_of_the_engine_names_it() {
    let root = workspace_root().join("bench/src");
    let mut files = Vec::new();
    source_files(&root, &mut files);
    let (micro, relay) = (root.join("micro"), root.join("relay.rs"));
    for file in files {
        let code = code_of(
            &fs::read_to_string(&file)
                .unwrap_or_else(|error| panic!("{}: {error}", file.display())),
        );
        let names = |name: &str| code.contains(name);
        let rooms: &[&str] = if file.starts_with(&micro) {
            &["route", "observe"]
        } else if file == relay {
            &["ring"]
        } else {
            let named = names("ringway_engine") || names("ringway_protocol");
            assert!(!named, "{} names what it measures", file.display());
            &[]
        };
        for (at, root) in code.match_indices("ringway_engine::") {
            for room in first_names(code[at + root.len()..].trim_start()) {
                let may = rooms.contains(&room.as_str());
                assert!(may, "{} names the room {room}", file.display());
            }
        }
    }
}

#[test]
fn the_scanner_sees_what_it_must() {
    let code = code_of(
        "use crate::{observe, ring::{a, b}}; // crate::cli\nlet s = \"crate::admin\"; super::super::route::x();",
    );
    assert_eq!(
        rooms_named("upstream/pool.rs", &code),
        ["observe", "ring", "route"]
    );
    assert_eq!(
        rooms_named("route/mod.rs", "use super::upstream;"),
        ["upstream"]
    );
    assert_eq!(
        rooms_named("route/table.rs", "use super::settings;"),
        Vec::<String>::new()
    );
    assert_eq!(
        code_of("let a = '\"'; // x\nlet b = \"\\\"y\"; let c = '\\'';"),
        "let a = ; \nlet b = \"\"; let c = ;"
    );
}
