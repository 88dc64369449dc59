//! Moments as people write them: RFC 3339, shown in UTC. Everywhere else a moment is a number of seconds since 1970.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A moment as it is shown, in UTC to the second. What lies beyond the year 9999, which RFC 3339 cannot write, stays a number.
pub(crate) fn utc(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok();
    let moment = moment.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    moment
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| seconds.to_string())
}

/// Reads a moment: as it is shown, at any offset from UTC, or as seconds since 1970. Parts of seconds are cut off.
///
/// # Errors
/// What was expected, where it is neither.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok();
    moment
        .and_then(|moment| u64::try_from(moment.unix_timestamp()).ok())
        .ok_or_else(|| {
            "expected a time since 1970, such as 2026-01-31T12:00:00Z, or seconds".to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_the_calendar_has_them_and_read_again() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), text);
            assert_eq!(parse(text), Ok(seconds));
            assert_eq!(parse(&seconds.to_string()), Ok(seconds));
        }
        assert_eq!(utc(u64::MAX), u64::MAX.to_string());
    }

    #[test]
    fn other_offsets_are_read_and_what_is_no_moment_is_refused() {
        assert_eq!(parse("2024-02-29T02:00:00.9+02:00"), Ok(1_709_164_800));
        for text in [
            "",
            "yesterday",
            "2024-02-30T00:00:00Z",
            "-1",
            "1969-12-31T23:59:59Z",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
