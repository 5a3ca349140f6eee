//! What the pieces of a request's path cost, in instructions.
//!
//! Question: did a change make a piece cheaper or dearer? Instructions are counted by valgrind's callgrind, so that the
//! answer is the same on a noisy machine, and again tomorrow. Baseline: an earlier run, as `--json` wrote it.
//! Noise: none from run to run of one binary. Another compiler, allocator or C library counts differently, and so does
//! another CPU where a library chooses its code by what the CPU can do; callgrind shows one that ends at AVX2.
//! What it leaves out: cache misses, wrong guesses of branches, the kernel.
//!
//! The one place of this crate that names the engine: pure pieces only, nothing that reads or writes.

mod callgrind;
mod pieces;
mod table;

use std::{env, fs, path::PathBuf, process::Command};

pub use pieces::{NAMES, run_piece};
pub use table::{Row, to_json, to_text};

use callgrind::Count;

/// How often the two runs of a piece repeat it. With as many digits, so that reading them costs the same.
const TIMES: [u64; 2] = [1000, 2000];

/// The valgrind that is taken where none is named.
pub const VALGRIND: &str = "valgrind";

/// Counts the pieces called `names`, all by default, each in processes of its own under `valgrind`. `say` is told which
/// one is next.
pub fn run(
    names: &[String],
    valgrind: &str,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Row>, String> {
    let counter = Counter::new(valgrind)?;
    pieces::PIECES
        .iter()
        .filter(|piece| names.is_empty() || names.iter().any(|name| name == piece.name))
        .map(|piece| {
            say(piece.name);
            let whole = counter.each(piece.name)?;
            let without = match piece.without {
                Some(without) => counter.each(without)?,
                None => 0.0,
            };
            Ok(Row {
                name: piece.name,
                what: piece.what,
                instructions: whole - without,
            })
        })
        .collect()
}

/// A valgrind, and the file that its callgrind writes; the file goes with this.
struct Counter<'a> {
    valgrind: &'a str,
    file: PathBuf,
}

impl<'a> Counter<'a> {
    fn new(valgrind: &'a str) -> Result<Self, String> {
        if let Err(error) = Command::new(valgrind).arg("--version").output() {
            return Err(format!(
                "micro counts instructions with valgrind, and {valgrind} does not start: {error} (Debian's package is \
                 valgrind)"
            ));
        }
        let name = format!("ringway-bench-micro-{}", std::process::id());
        let file = env::temp_dir().join(name);
        match fs::File::create_new(&file) {
            Ok(_) => Ok(Self { valgrind, file }),
            Err(error) => Err(format!("{}: {error}", file.display())),
        }
    }

    /// Instructions of one repetition: what the run with more of them took more. All else is the same in both.
    fn each(&self, name: &str) -> Result<f64, String> {
        let mut counts = [Count::default(); 2];
        for (count, times) in counts.iter_mut().zip(TIMES) {
            *count = Count {
                times,
                instructions: self.instructions(name, times)?,
            };
        }
        callgrind::each(counts)
    }

    /// Instructions of a whole process that repeats a piece so often.
    fn instructions(&self, name: &str, times: u64) -> Result<u64, String> {
        let own = env::current_exe().map_err(|error| format!("where is this binary: {error}"))?;
        let output = Command::new(self.valgrind)
            .arg("--tool=callgrind")
            .arg(format!("--callgrind-out-file={}", self.file.display()))
            .arg(own)
            .args(["micro", "--run", name, "--times", &times.to_string()])
            .output()
            .map_err(|error| format!("starting {}: {error}", self.valgrind))?;
        if !output.status.success() {
            let printed = String::from_utf8_lossy(&output.stderr);
            let status = output.status;
            return Err(format!(
                "{name} under valgrind: {status}\n{}",
                printed.trim_end()
            ));
        }
        fs::read_to_string(&self.file)
            .map_err(|error| error.to_string())
            .and_then(|text| callgrind::instructions(&text))
            .map_err(|error| format!("what callgrind wrote to {}: {error}", self.file.display()))
    }
}

impl Drop for Counter<'_> {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning.
        let _ = fs::remove_file(&self.file);
    }
}
