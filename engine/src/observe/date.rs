//! Dates as text, from a time that is passed in: IMF-fixdate for Date fields, RFC 3339 and the common log's for lines.
//!
//! Each cache keeps one second's text, so that a busy worker formats a date once a second. Nothing here reads a clock.
//! Invariant: years end at 9999; a later time is written as the last second of that year.

/// Length of an IMF-fixdate (RFC 9110 §5.6.7).
const IMF_BYTES: usize = 29;
/// Length of `2026-01-02T03:04:05.678Z`.
const RFC3339_BYTES: usize = 24;
/// Length of `02/Jan/2026:03:04:05 +0000`.
const COMMON_LOG_BYTES: usize = 26;

/// 9999-12-31T23:59:59Z, the last second that four digits of a year can say.
const UNIX_SECONDS_MAX: u64 = 253_402_300_799;

const SECONDS_PER_DAY: u64 = 86_400;
const WEEKDAYS: [&[u8; 3]; 7] = [b"Sun", b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat"];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// The value of a Date field, cached for a second.
#[derive(Debug, Clone)]
pub struct DateCache {
    second: u64,
    text: [u8; IMF_BYTES],
}

impl Default for DateCache {
    fn default() -> Self {
        Self {
            second: 0,
            text: imf_fixdate(0),
        }
    }
}

impl DateCache {
    /// `Sun, 06 Nov 1994 08:49:37 GMT`.
    #[inline]
    pub fn text(&mut self, unix_seconds: u64) -> &[u8] {
        if unix_seconds != self.second {
            self.second = unix_seconds;
            self.text = imf_fixdate(unix_seconds);
        }
        &self.text
    }
}

/// A log line's time in RFC 3339, UTC, with milliseconds; all but the last three digits cached for a second.
#[derive(Debug, Clone)]
pub struct Rfc3339Cache {
    second: u64,
    text: [u8; RFC3339_BYTES],
}

impl Default for Rfc3339Cache {
    fn default() -> Self {
        Self {
            second: 0,
            text: rfc3339(0),
        }
    }
}

impl Rfc3339Cache {
    /// `2026-01-02T03:04:05.678Z`.
    #[inline]
    pub fn text(&mut self, unix_millis: u64) -> &[u8] {
        let second = unix_millis / 1000;
        if second != self.second {
            self.second = second;
            self.text = rfc3339(second);
        }
        put_digits(&mut self.text[20..23], unix_millis % 1000);
        &self.text
    }
}

/// A log line's time as the common log format has it, cached for a second.
#[derive(Debug, Clone)]
pub struct CommonLogCache {
    second: u64,
    text: [u8; COMMON_LOG_BYTES],
}

impl Default for CommonLogCache {
    fn default() -> Self {
        Self {
            second: 0,
            text: common_log(0),
        }
    }
}

impl CommonLogCache {
    /// `02/Jan/2026:03:04:05 +0000`.
    #[inline]
    pub fn text(&mut self, unix_seconds: u64) -> &[u8] {
        if unix_seconds != self.second {
            self.second = unix_seconds;
            self.text = common_log(unix_seconds);
        }
        &self.text
    }
}

/// A UTC date and time of day.
struct Civil {
    year: u64,
    /// 1 to 12.
    month: usize,
    /// 1 to 31.
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
    /// 0 is Sunday.
    weekday: usize,
}

impl Civil {
    /// After Howard Hinnant's `civil_from_days`: eras of 400 years, years that begin in March so that the leap day
    /// comes last.
    fn at(unix_seconds: u64) -> Self {
        let unix_seconds = unix_seconds.min(UNIX_SECONDS_MAX);
        let days = unix_seconds / SECONDS_PER_DAY;
        let time = unix_seconds % SECONDS_PER_DAY;
        // Days since 0000-03-01.
        let shifted = days + 719_468;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        Self {
            year: era * 400 + year_of_era + u64::from(month <= 2),
            month: month as usize,
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            hour: time / 3600,
            minute: time / 60 % 60,
            second: time % 60,
            // 1970-01-01 was a Thursday.
            weekday: ((days + 4) % 7) as usize,
        }
    }
}

fn imf_fixdate(unix_seconds: u64) -> [u8; IMF_BYTES] {
    let at = Civil::at(unix_seconds);
    let mut text = *b"Sun, 06 Nov 1994 08:49:37 GMT";
    text[0..3].copy_from_slice(WEEKDAYS[at.weekday]);
    put_digits(&mut text[5..7], at.day);
    text[8..11].copy_from_slice(MONTHS[at.month - 1]);
    put_digits(&mut text[12..16], at.year);
    put_time(&mut text[17..25], &at);
    text
}

fn rfc3339(unix_seconds: u64) -> [u8; RFC3339_BYTES] {
    let at = Civil::at(unix_seconds);
    let mut text = *b"1970-01-01T00:00:00.000Z";
    put_digits(&mut text[0..4], at.year);
    put_digits(&mut text[5..7], at.month as u64);
    put_digits(&mut text[8..10], at.day);
    put_time(&mut text[11..19], &at);
    text
}

fn common_log(unix_seconds: u64) -> [u8; COMMON_LOG_BYTES] {
    let at = Civil::at(unix_seconds);
    let mut text = *b"01/Jan/1970:00:00:00 +0000";
    put_digits(&mut text[0..2], at.day);
    text[3..6].copy_from_slice(MONTHS[at.month - 1]);
    put_digits(&mut text[7..11], at.year);
    put_time(&mut text[12..20], &at);
    text
}

/// `hh:mm:ss`, the colons being there.
fn put_time(space: &mut [u8], at: &Civil) {
    put_digits(&mut space[0..2], at.hour);
    put_digits(&mut space[3..5], at.minute);
    put_digits(&mut space[6..8], at.second);
}

/// The last `space.len()` decimal digits of `value`.
fn put_digits(space: &mut [u8], mut value: u64) {
    for digit in space.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}
