//! Durations and sizes as they are written: a whole number and a unit.

use std::time::Duration;

use super::error::{Wrong, nearest, quoted};

const DURATION_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

const SIZE_UNITS: [(&str, u64); 5] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// `"250ms"`, `"10s"`, `"5m"`, `"24h"`.
pub(super) fn duration(text: &str) -> Result<Duration, Wrong> {
    quantity(text, "duration", "10s", &DURATION_UNITS).map(Duration::from_millis)
}

/// `"64MiB"`, `"1GiB"`, or bytes without a unit.
pub(super) fn size(text: &str) -> Result<u64, Wrong> {
    if let Ok(bytes) = text.parse() {
        return Ok(bytes);
    }
    quantity(text, "size", "64MiB", &SIZE_UNITS)
}

/// The shortest way to write it: the largest unit that divides it.
pub(super) fn show_duration(value: Duration) -> String {
    let millis = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    show(millis, &DURATION_UNITS)
}

/// The shortest way to write it: the largest unit that divides it.
pub(super) fn show_size(bytes: u64) -> String {
    if bytes == 0 {
        return "0".to_owned();
    }
    show(bytes, &SIZE_UNITS)
}

fn show(value: u64, units: &[(&str, u64)]) -> String {
    let (unit, scale) = units
        .iter()
        .rev()
        .find(|(_, scale)| value.is_multiple_of(*scale))
        .unwrap_or(&units[0]);
    format!("{}{unit}", value / scale)
}

fn quantity(text: &str, what: &str, example: &str, units: &[(&str, u64)]) -> Result<u64, Wrong> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
    let list = names.join(", ");
    if number.is_empty() {
        return Err(
            Wrong::new(format!("{} is not a {what}", quoted(text))).help(format!(
                "a {what} is a whole number and a unit ({list}), like \"{example}\""
            )),
        );
    }
    if unit.is_empty() {
        return Err(
            Wrong::new(format!("the {what} {} has no unit", quoted(text)))
                .help(format!("the units are {list}: like \"{example}\"")),
        );
    }
    let Some((_, scale)) = units.iter().find(|(name, _)| *name == unit) else {
        let wrong = Wrong::new(format!("{} is not a unit of a {what}", quoted(unit)));
        let meant = meant(unit, &names).map(|name| format!("did you mean \"{number}{name}\"?"));
        return Err(wrong.help(meant.unwrap_or_else(|| {
            format!("write a whole number and one of {list}, like \"{example}\"")
        })));
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(*scale))
        .ok_or_else(|| Wrong::new(format!("the {what} {} is too large", quoted(text))))
}

/// The unit most likely meant: `sec` is `s`, `mb` is `MiB`.
fn meant<'a>(unit: &str, names: &[&'a str]) -> Option<&'a str> {
    let unit = unit.trim().to_lowercase();
    let common = match unit.as_str() {
        "k" | "kb" => "KiB",
        "mb" => "MiB",
        "g" | "gb" => "GiB",
        "t" | "tb" => "TiB",
        "sec" | "secs" | "second" | "seconds" => "s",
        "min" | "mins" | "minute" | "minutes" => "m",
        "hour" | "hours" | "hr" => "h",
        "millis" | "msec" => "ms",
        "m" => "MiB",
        other => other,
    };
    let exact = names.iter().find(|name| name.eq_ignore_ascii_case(common));
    let alike = || {
        (unit.chars().count() > 1)
            .then(|| nearest(&unit, names.iter().copied()))
            .flatten()
    };
    let whole = unit.chars().all(|c| c.is_ascii_alphabetic()) && !unit.is_empty();
    exact
        .copied()
        .or_else(|| if whole { alike() } else { None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("24h"), Ok(Duration::from_secs(86_400)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        let help = |text| duration(text).unwrap_err().help.unwrap_or_default();
        assert!(help("10").contains("10s"));
        assert_eq!(help("10sec"), "did you mean \"10s\"?");
        assert_eq!(help("10S"), "did you mean \"10s\"?");
        assert_eq!(help("3 min"), "did you mean \"3m\"?");
        assert!(help("1.5s").contains("whole number"));
        assert!(help("-1s").contains("whole number"));
        assert!(help("").contains("whole number"));
        assert!(help("soon").contains("whole number"));
        let huge = duration("99999999999999999999h").unwrap_err();
        assert!(huge.message.contains("too large"));
        assert!(duration("5124095576030432h").is_err());
    }

    #[test]
    fn sizes_are_binary_and_may_be_plain_bytes() {
        assert_eq!(size("65536"), Ok(65_536));
        assert_eq!(size("1B"), Ok(1));
        assert_eq!(size("8KiB"), Ok(8_192));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        assert_eq!(size("2TiB"), Ok(2 << 40));
        let help = |text| size(text).unwrap_err().help.unwrap_or_default();
        assert_eq!(help("64MB"), "did you mean \"64MiB\"?");
        assert_eq!(help("64M"), "did you mean \"64MiB\"?");
        assert_eq!(help("64k"), "did you mean \"64KiB\"?");
        assert_eq!(help("1mib"), "did you mean \"1MiB\"?");
        assert!(size("99999999TiB").is_err());
    }

    #[test]
    fn what_is_shown_is_read_back() {
        for millis in [0, 1, 999, 1_000, 1_500, 60_000, 3_600_000, 86_400_000] {
            let value = Duration::from_millis(millis);
            assert_eq!(duration(&show_duration(value)), Ok(value));
        }
        for bytes in [0, 1, 1023, 1024, 65_536, 1 << 20, (1 << 30) + 1, u64::MAX] {
            assert_eq!(size(&show_size(bytes)), Ok(bytes));
        }
        assert_eq!(show_size(64 << 20), "64MiB");
        assert_eq!(show_duration(Duration::from_secs(90)), "90s");
    }
}
