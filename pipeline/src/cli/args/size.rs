//! Sizes as people write them.

/// `2GiB`, `512MB`, `1000000`: bytes.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: usize =
        text[..digits].parse().map_err(|_| "a size is a whole number with a unit, as in 2GiB".to_owned())?;
    let unit: usize = match text[digits..].trim().to_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        other => return Err(format!("the unit `{other}` is not known; use B, KB, MB, GB, KiB, MiB or GiB")),
    };
    number
        .checked_mul(unit)
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "a size is more than nothing and fits in memory".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("2GiB"), Ok(2 << 30));
        assert_eq!(size("1500"), Ok(1500));
        assert!(size("GiB").is_err() && size("1 parsec").is_err() && size("0").is_err());
        assert!(size("99999999999GiB").is_err());
    }
}
