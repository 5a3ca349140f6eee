//! What callgrind writes, and what two counts say of one repetition.
//!
//! The format is valgrind's (manual, "Callgrind Format Specification"): lines `key: value` at the start and end, costs
//! between them.

/// What one run took.
#[derive(Debug, Copy, Clone, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// How often it repeated the piece.
    pub(super) times: u64,
    /// Instructions of the whole process.
    pub(super) instructions: u64,
}

/// Instructions of the whole process, from its output file.
pub(super) fn instructions(text: &str) -> Result<u64, String> {
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .map(str::trim)
    };
    let events = value("events").ok_or("it has no line `events:`")?;
    // One program's output is in one part here: `totals:` counts it whole.
    let totals = value("totals").ok_or("it has no line `totals:`")?;
    let at = events
        .split_whitespace()
        .position(|event| event == "Ir")
        .ok_or_else(|| format!("no instructions among the events `{events}`"))?;
    let count = totals.split_whitespace().nth(at).unwrap_or_default();
    count
        .parse()
        .map_err(|_| format!("not a count of instructions: `{totals}`"))
}

/// Instructions of one repetition, from runs that repeated it less and more often.
pub(super) fn each([less, more]: [Count; 2]) -> Result<f64, String> {
    let instructions = more.instructions.checked_sub(less.instructions);
    match (more.times.checked_sub(less.times), instructions) {
        (Some(times @ 1..), Some(instructions)) => Ok(instructions as f64 / times as f64),
        _ => Err(format!(
            "{} repetitions took {} instructions and {} took {}: these were not runs of the same program",
            less.times, less.instructions, more.times, more.instructions
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
# callgrind format
version: 1
creator: callgrind-3.19.0
pid: 4711
cmd:  ringway-bench micro --run x --times 1000
part: 1


desc: I1 cache:
desc: Timerange: Basic block 0 - 2345
desc: Trigger: Program termination

positions: line
events: Ir
summary: 123456


ob=(1) /usr/bin/x
fl=(1) x.c
fn=(1) main
10 3
calls=1 20
10 123453

totals: 123456
";

    #[test]
    fn the_total_is_read() {
        assert_eq!(instructions(OUTPUT), Ok(123_456));
    }

    #[test]
    fn instructions_are_found_among_other_events() {
        let output = "events: Dr Ir Dw\n1 2 3 4\ntotals: 5 6 7\n";
        assert_eq!(instructions(output), Ok(6));
    }

    #[test]
    fn output_without_a_total_is_refused() {
        for output in [
            "",
            "events: Ir\n",
            "events: Dr\ntotals: 5\n",
            "events: Dr Ir\ntotals: 5\n",
            "events: Ir\ntotals: many\n",
        ] {
            assert!(instructions(output).is_err(), "{output}");
        }
    }

    fn count(times: u64, instructions: u64) -> Count {
        Count {
            times,
            instructions,
        }
    }

    #[test]
    fn what_both_runs_have_cancels() {
        assert_eq!(
            each([count(1000, 900_000), count(2000, 1_150_500)]),
            Ok(250.5)
        );
        assert_eq!(each([count(1000, 900_000), count(2000, 900_000)]), Ok(0.0));
    }

    #[test]
    fn runs_that_cannot_be_compared_are_refused() {
        assert!(each([count(1000, 900_000), count(2000, 899_999)]).is_err());
        assert!(each([count(1000, 900_000), count(1000, 900_000)]).is_err());
        assert!(each([count(2000, 900_000), count(1000, 900_000)]).is_err());
    }
}
