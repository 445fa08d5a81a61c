//! Times as zTOCs write them: RFC 3339 text with up to nine decimals.

use std::fmt;
use std::str::FromStr;

/// A moment to the nanosecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Seconds since 1970; negative before.
    pub seconds: i64,
    /// Nanoseconds after `seconds`, below 10^9.
    pub nanoseconds: u32,
}

/// The text is no RFC 3339 time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed time")]
pub struct MalformedTime;

const DAY_SECONDS: i64 = 86_400;
/// Days from 1 March of year 0 to 1 January 1970.
const EPOCH_DAYS: i64 = 719_468;
/// Days of 400 years, after which the calendar repeats.
const ERA_DAYS: i64 = 146_097;

/// Days since 1970 of a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * ERA_DAYS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - EPOCH_DAYS
}

/// Year, month and day; the inverse of [`days`].
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH_DAYS;
    let (era, day_of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / (ERA_DAYS - 1)) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = (shifted_month + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted_month + 2) / 5 + 1)
}

impl Timestamp {
    /// The text, in UTC and without trailing zeros; nothing outside the years 0 to 9999, which the text
    /// cannot say.
    pub(crate) fn text(self) -> Option<String> {
        let (year, ..) = date(self.seconds.div_euclid(DAY_SECONDS).clamp(-10_000_000, 10_000_000));
        ((0..=9999).contains(&year) && self.nanoseconds < 1_000_000_000).then(|| self.to_string())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.seconds.div_euclid(DAY_SECONDS));
        let second = self.seconds.rem_euclid(DAY_SECONDS);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanoseconds != 0 {
            let decimals = format!("{:09}", self.nanoseconds);
            write!(f, ".{}", decimals.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl FromStr for Timestamp {
    type Err = MalformedTime;

    /// Any RFC 3339 time with up to nine decimals, in any zone.
    fn from_str(text: &str) -> Result<Self, MalformedTime> {
        parse(text.as_bytes()).ok_or(MalformedTime)
    }
}

/// Takes a number of exactly `digits` digits between `low` and `high`.
fn number(text: &mut &[u8], digits: usize, low: i64, high: i64) -> Option<i64> {
    let (head, rest) = text.split_at_checked(digits)?;
    *text = rest;
    let value = head
        .iter()
        .try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))?;
    (low..=high).contains(&value).then_some(value)
}

fn literal(text: &mut &[u8], byte: u8) -> Option<()> {
    *text = text.strip_prefix(&[byte])?;
    Some(())
}

fn parse(mut text: &[u8]) -> Option<Timestamp> {
    let text = &mut text;
    let year = number(text, 4, 0, 9999)?;
    literal(text, b'-')?;
    let month = number(text, 2, 1, 12)?;
    literal(text, b'-')?;
    let day = number(text, 2, 1, 31)?;
    let day_count = days(year, month, day);
    if date(day_count) != (year, month, day) {
        return None; // 30 February and the like
    }
    literal(text, b'T')?;
    let hour = number(text, 2, 0, 23)?;
    literal(text, b':')?;
    let minute = number(text, 2, 0, 59)?;
    literal(text, b':')?;
    let second = number(text, 2, 0, 59)?;
    let mut nanoseconds = 0;
    if literal(text, b'.').is_some() {
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return None;
        }
        nanoseconds = number(text, digits, 0, 999_999_999)? * 10_i64.pow(9 - digits as u32);
    }
    let east_seconds = match text {
        [b'Z'] => 0,
        [sign @ (b'+' | b'-'), zone @ ..] => {
            let mut zone: &[u8] = zone;
            let hours = number(&mut zone, 2, 0, 23)?;
            literal(&mut zone, b':')?;
            let minutes = number(&mut zone, 2, 0, 59)?;
            if !zone.is_empty() {
                return None;
            }
            (hours * 3600 + minutes * 60) * if *sign == b'-' { -1 } else { 1 }
        }
        _ => return None,
    };
    let seconds = day_count * DAY_SECONDS + hour * 3600 + minute * 60 + second - east_seconds;
    Some(Timestamp { seconds, nanoseconds: nanoseconds as u32 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times() {
        for (text, seconds, nanoseconds) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("2000-02-29T23:59:59.5Z", 951_868_799, 500_000_000),
            ("1969-12-31T23:59:59.999999999Z", -1, 999_999_999),
            ("0001-01-01T00:00:00Z", -62_135_596_800, 0),
            ("9999-12-31T23:59:59Z", 253_402_300_799, 0),
            ("2024-03-01T09:30:00.123Z", 1_709_285_400, 123_000_000),
        ] {
            let time = Timestamp { seconds, nanoseconds };
            assert_eq!(text.parse(), Ok(time), "{text}");
            assert_eq!(time.text().as_deref(), Some(text));
        }
        let there = "2024-03-01T18:30:00.123+09:00".parse::<Timestamp>().unwrap();
        assert_eq!(there.to_string(), "2024-03-01T09:30:00.123Z");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "2024-03-01",
            "2024-03-01T09:30:00",
            "2024-02-30T09:30:00Z",
            "2024-13-01T09:30:00Z",
            "2024-03-01T24:30:00Z",
            "2024-03-01T09:30:00.Z",
            "2024-03-01T09:30:00.1234567890Z",
            "2024-03-01T09:30:00+0900",
            "2024-03-01T09:30:00Z ",
            "+024-03-01T09:30:00Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(MalformedTime), "{text:?}");
        }
        for seconds in [i64::MIN, i64::MAX, 253_402_300_800, -62_167_219_201] {
            assert_eq!(Timestamp { seconds, nanoseconds: 0 }.text(), None, "{seconds}");
        }
    }

    proptest! {
        #[test]
        fn times_come_back(seconds in -62_167_219_200..253_402_300_800_i64, nanoseconds in 0..1_000_000_000_u32) {
            let time = Timestamp { seconds, nanoseconds };
            prop_assert_eq!(time.text().unwrap().parse(), Ok(time));
        }

        #[test]
        fn garbage_never_panics(text in "[0-9TZ:.+-]{0,40}") {
            let _ = text.parse::<Timestamp>();
        }
    }
}
