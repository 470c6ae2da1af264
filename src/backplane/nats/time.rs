//! Times as servers write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: u64 = 86_400;

/// Parses `2026-11-27T05:47:22.562857586Z`.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hours, minutes, seconds] = numbers(time, ':')?;
    let is_valid =
        (1970..10_000).contains(&year) && (1..=12).contains(&month) && fraction.len() < 10;
    let nanoseconds = format!("{fraction:0<9}")
        .parse()
        .ok()
        .filter(|_| is_valid)?;
    let seconds = days(year, month, day) * DAY + hours * 3600 + minutes * 60 + seconds;
    UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds))
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let numbers: Option<Vec<u64>> = text
        .split(separator)
        .map(|part| part.parse().ok())
        .collect();
    let numbers: [u64; 3] = numbers?.try_into().ok()?;
    numbers
        .iter()
        .all(|number| *number < 10_000)
        .then_some(numbers)
}

/// Days from 1970 to a date. A year begins in March here, so that a leap day is its last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month < 3 { year - 1 } else { year };
    let days = (153 * ((month + 9) % 12) + 2) / 5 + day;
    // 1 March of year 0 was 719,468 days before 1970.
    365 * year + year / 4 - year / 100 + year / 400 + days - 719_469
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_its_nanoseconds() {
        for (text, seconds, nanoseconds) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("2000-02-29T23:59:59.5Z", 951_868_799, 500_000_000),
            ("2000-03-01T00:00:00Z", 951_868_800, 0),
            ("2026-11-27T05:47:22.562857586Z", 1_795_758_442, 562_857_586),
            ("2100-03-01T00:00:00.000000001Z", 4_107_542_400, 1),
        ] {
            let expected = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
            assert_eq!(parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn another_text_is_no_time() {
        for text in [
            "",
            "2026-11-27T05:47:22+01:00",
            "2026-11-27",
            "0001-01-01T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-27T05:47:22.1234567890Z",
            "99999999999999999-01-01T00:00:00Z",
            "2026-11-27T05:47Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
