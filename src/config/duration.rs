//! Durations as people write them: `500ms`, `90s`, `1h30m`, `7d`.

use std::time::Duration;

const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Reads a duration; parts may follow each other. `None` if it is anything else, or overflows.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(letters)?;
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let part = number.parse::<u64>().ok()?.checked_mul(*millis)?;
        total = total.checked_add(part)?;
        rest = tail;
    }
    Some(Duration::from_millis(total))
}

/// Writes a duration so that [`parse`] reads the same: `1h30m`, `0s`. Parts of a millisecond are cut.
pub fn format(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, size) in UNITS.iter().rev() {
        let count = millis / size;
        if count > 0 {
            text.push_str(&count.to_string());
            text.push_str(unit);
            millis %= size;
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read() {
        assert_eq!(parse("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse("1h30m"), Some(Duration::from_mins(90)));
        assert_eq!(parse("7d"), Some(Duration::from_hours(7 * 24)));
        assert_eq!(parse("0s"), Some(Duration::ZERO));
        for wrong in [
            "",
            "5",
            "h",
            "5 m",
            "-5m",
            "5mm",
            "1.5h",
            "5m3",
            "99999999999999999d",
            "٣h",
        ] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_written_reads_the_same() {
        for seconds in [0, 1, 59, 60, 3600, 5400, 86_400, 100_000] {
            let duration = Duration::from_secs(seconds);
            assert_eq!(parse(&format(duration)), Some(duration));
        }
    }
}
