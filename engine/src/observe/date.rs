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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn imf(unix_seconds: u64) -> String {
        String::from_utf8(DateCache::default().text(unix_seconds).to_vec()).expect("a date is text")
    }

    fn rfc3339_text(unix_millis: u64) -> String {
        String::from_utf8(Rfc3339Cache::default().text(unix_millis).to_vec())
            .expect("a date is text")
    }

    #[test]
    fn the_example_of_rfc_9110_comes_out() {
        assert_eq!(imf(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn leap_days_and_ends_of_years_are_right() {
        assert_eq!(imf(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(imf(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(imf(1_709_251_199), "Thu, 29 Feb 2024 23:59:59 GMT");
        assert_eq!(imf(1_709_251_200), "Fri, 01 Mar 2024 00:00:00 GMT");
        assert_eq!(imf(1_798_761_599), "Thu, 31 Dec 2026 23:59:59 GMT");
        assert_eq!(imf(4_107_542_400), "Mon, 01 Mar 2100 00:00:00 GMT");
    }

    #[test]
    fn milliseconds_are_three_digits() {
        assert_eq!(rfc3339_text(1_709_251_199_007), "2024-02-29T23:59:59.007Z");
        assert_eq!(rfc3339_text(0), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn the_common_logs_date_comes_out() {
        assert_eq!(
            CommonLogCache::default().text(971_211_336),
            b"10/Oct/2000:20:55:36 +0000"
        );
    }

    #[test]
    fn times_beyond_the_year_9999_are_its_last_second() {
        assert_eq!(imf(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(&rfc3339_text(u64::MAX)[..20], "9999-12-31T23:59:59.");
    }

    #[test]
    fn a_cache_follows_the_clock_forwards_and_back() {
        let mut cache = Rfc3339Cache::default();
        assert_eq!(cache.text(1_500), b"1970-01-01T00:00:01.500Z");
        assert_eq!(cache.text(1_999), b"1970-01-01T00:00:01.999Z");
        assert_eq!(cache.text(2_000), b"1970-01-01T00:00:02.000Z");
        assert_eq!(cache.text(1), b"1970-01-01T00:00:00.001Z");
    }

    /// Days since 1970 by counting years and months.
    fn reference_days(year: u64, month: usize, day: u64) -> u64 {
        let by = |year: u64, divisor| year.is_multiple_of(divisor);
        let leap = |year| (by(year, 4) && !by(year, 100)) || by(year, 400);
        let lengths = |year| {
            [
                31,
                if leap(year) { 29 } else { 28 },
                31,
                30,
                31,
                30,
                31,
                31,
                30,
                31,
                30,
                31,
            ]
        };
        let years: u64 = (1970..year)
            .map(|year| if leap(year) { 366 } else { 365 })
            .sum();
        years + lengths(year)[..month - 1].iter().sum::<u64>() + day - 1
    }

    proptest! {
        #[test]
        fn dates_count_back_to_their_days(unix_seconds in 0..=UNIX_SECONDS_MAX) {
            let at = Civil::at(unix_seconds);
            let days = reference_days(at.year, at.month, at.day);
            let time = at.hour * 3600 + at.minute * 60 + at.second;
            prop_assert_eq!(days * SECONDS_PER_DAY + time, unix_seconds);
        }
    }
}
