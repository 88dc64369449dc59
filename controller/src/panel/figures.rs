//! Figures as people read them.

/// Bytes per second in bits per second, the unit of lines.
pub(super) fn rate(bytes: u64) -> String {
    let mut bits = bytes as f64 * 8.0;
    for unit in ["bit/s", "kbit/s", "Mbit/s"] {
        if bits < 999.5 {
            return format!("{} {unit}", three_digits(bits));
        }
        bits /= 1000.0;
    }
    format!("{} Gbit/s", three_digits(bits))
}

/// An amount of bytes.
pub(super) fn amount(bytes: u64) -> String {
    let mut amount = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if amount < 999.5 {
            return format!("{} {unit}", three_digits(amount));
        }
        amount /= 1000.0;
    }
    format!("{} TB", three_digits(amount))
}

/// Microseconds in milliseconds.
pub(super) fn latency(microseconds: u32) -> String {
    format!("{} ms", three_digits(f64::from(microseconds) / 1000.0))
}

fn three_digits(value: f64) -> String {
    match value {
        value if value < 0.05 => "0".to_owned(),
        value if value < 9.995 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_their_unit() {
        for (bytes, text) in [
            (0, "0 bit/s"),
            (1, "8.0 bit/s"),
            (125, "1.0 kbit/s"),
            (124_950, "1.0 Mbit/s"),
            (1_250_000, "10 Mbit/s"),
            (1_250_000_000, "10 Gbit/s"),
        ] {
            assert_eq!(rate(bytes), text);
        }
        assert_eq!(amount(0), "0 B");
        assert_eq!(amount(1_250_000), "1.2 MB");
        assert_eq!(amount(12_500_000_000_000), "12 TB");
        assert_eq!(latency(350), "0.3 ms");
        assert_eq!(latency(12_345), "12 ms");
    }
}
