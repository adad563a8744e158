//! Sizes as people write them: `64KiB`, `100MiB`, `1GiB`.

const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// Reads a size in bytes. `None` if it is anything else, or overflows.
pub fn parse(text: &str) -> Option<u64> {
    let (name, unit) = UNITS.iter().find(|(name, _)| text.ends_with(name))?;
    let number = text.strip_suffix(name)?;
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(*unit)
}

/// Writes a size so that [`parse`] reads the same; parts of a KiB are cut.
pub fn format(bytes: u64) -> String {
    let fits = |(_, unit): &&(&str, u64)| bytes >= *unit && bytes.is_multiple_of(*unit);
    let (name, unit) = UNITS.iter().find(fits).unwrap_or(&("KiB", 1 << 10));
    format!("{}{name}", bytes / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read() {
        assert_eq!(parse("64KiB"), Some(64 << 10));
        assert_eq!(parse("100MiB"), Some(100 << 20));
        assert_eq!(parse("2GiB"), Some(2 << 30));
        for wrong in [
            "",
            "5",
            "KiB",
            "5 MiB",
            "-5MiB",
            "+5MiB",
            "5MB",
            "5Mi",
            "1.5GiB",
            "99999999999999999GiB",
        ] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn what_is_written_reads_the_same() {
        for bytes in [
            0,
            1 << 10,
            64 << 10,
            100 << 20,
            1 << 30,
            (1 << 30) + (1 << 20),
        ] {
            assert_eq!(parse(&format(bytes)), Some(bytes));
        }
        assert_eq!(format(1536 << 10), "1536KiB");
    }
}
