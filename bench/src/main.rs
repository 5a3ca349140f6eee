//! The command `ringway-bench`.

fn main() -> std::process::ExitCode {
    ringway_bench::cli::main()
}
