//! The `ringway` binary.

#[cfg(feature = "count-allocations")]
mod allocations;

fn main() -> std::process::ExitCode {
    ringway_engine::cli::main()
}
