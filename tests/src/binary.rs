//! The `ringway` that is tried: built once per test process, with the fault and the figures that a test may ask for.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What no release has: a header that makes a connection panic, and a count of what workers allocate.
const FEATURES: &str = "fault-injection,count-allocations";

/// The workspace's root.
pub fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a member of a workspace")
}

/// Where the binary is; built on the first call, in the profile of the tests themselves.
///
/// It has the features in `FEATURES`, so it goes to a directory of its own and never takes the place of the one that a user
/// built. What it has in common with that one is not compiled again: only the final artifacts are kept apart.
pub fn ringway_binary() -> &'static Path {
    // A build that failed once is not tried again by every other test.
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match BINARY.get_or_init(build) {
        Ok(binary) => binary,
        Err(why) => panic!("{why}"),
    }
}

fn build() -> Result<PathBuf, String> {
    let target = target_dir();
    let artifacts = target.join("e2e");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--package", "ringway-engine"])
        .args(["--bin", "ringway", "--features", FEATURES])
        .arg("--manifest-path")
        .arg(workspace_root().join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&artifacts)
        .env("CARGO_BUILD_BUILD_DIR", &target);
    let profile = if cfg!(debug_assertions) {
        "debug"
    } else {
        cargo.arg("--release");
        "release"
    };
    let output = cargo
        .output()
        .map_err(|error| format!("starting cargo: {error}"))?;
    if !output.status.success() {
        let printed = String::from_utf8_lossy(&output.stderr);
        return Err(format!("building ringway:\n{printed}"));
    }
    let binary = artifacts.join(profile).join("ringway");
    if !binary.is_file() {
        return Err(format!("cargo built no {}", binary.display()));
    }
    Ok(binary)
}

/// The target directory this test was built into: `TARGET/PROFILE/deps/TEST`.
fn target_dir() -> PathBuf {
    let test = env::current_exe().expect("a process knows its own file");
    test.ancestors()
        .nth(3)
        .expect("cargo puts tests into TARGET/PROFILE/deps")
        .to_owned()
}
