//! What a misspelt word was probably meant to be.

/// The candidate that is closest to `word`, if it is close enough to be a slip of the finger.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(word.len()).div_ceil(3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// The end of an error message: `; did you mean ...?`, or all candidates when none is close.
pub fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    match nearest(word, candidates.iter().copied()) {
        Some(meant) => format!("; did you mean `{meant}`?"),
        None if candidates.is_empty() => "; there are none".to_owned(),
        None => format!("; there are: {}", candidates.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_slips_and_lists_the_rest() {
        let stages = ["play", "curated", "pretrain"];
        assert_eq!(nearest("curatde", stages), Some("curated"));
        assert_eq!(nearest("Pretrian", stages), Some("pretrain"));
        assert_eq!(nearest("evaluate", stages), None);
        assert_eq!(hint("plya", stages), "; did you mean `play`?");
        assert_eq!(hint("evaluate", stages), "; there are: play, curated, pretrain");
        assert_eq!(hint("x", []), "; there are none");
    }
}
