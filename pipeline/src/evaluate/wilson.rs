//! Shares of counts, with Wilson's 95% interval.

use serde::Serialize;

/// `count` of `of`, with the interval that holds the true share 95 times in 100.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// How many.
    pub count: u64,
    /// Of how many.
    pub of: u64,
    /// `count / of`; 0 of 0 is 0.
    pub share: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Share {
    /// Wilson's score interval (1927): right near 0 and 1 and for small counts, where p +- 1.96 s is not.
    pub fn new(count: u64, of: u64) -> Self {
        // The normal distribution's 97.5% point.
        const Z: f64 = 1.959_963_984_540_054;
        if of == 0 {
            return Share { count, of, share: 0.0, low: 0.0, high: 1.0 };
        }
        let n = of as f64;
        let share = count as f64 / n;
        let scale = 1.0 / (1.0 + Z * Z / n);
        let centre = scale * (share + Z * Z / (2.0 * n));
        let half = scale * Z * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
        // At 0 and n the formula's ends are exactly 0 and 1, up to rounding.
        let low = if count == 0 { 0.0 } else { (centre - half).max(0.0) };
        let high = if count == of { 1.0 } else { (centre + half).min(1.0) };
        Share { count, of, share, low, high }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(share: Share, low: f64, high: f64) {
        assert!((share.low - low).abs() < 5e-4, "{share:?} low {low}");
        assert!((share.high - high).abs() < 5e-4, "{share:?} high {high}");
    }

    #[test]
    fn known_intervals() {
        // Published tables: p = 0.5 and 0.9 at n = 100, 300, 1000; 100 of 100; 0 of 10; Newcombe's 81 of 263.
        close(Share::new(50, 100), 0.4038, 0.5962);
        close(Share::new(150, 300), 0.4438, 0.5562);
        close(Share::new(500, 1000), 0.4691, 0.5309);
        close(Share::new(90, 100), 0.8256, 0.9448);
        close(Share::new(270, 300), 0.8609, 0.9291);
        close(Share::new(100, 100), 0.9630, 1.0);
        close(Share::new(0, 10), 0.0, 0.2775);
        close(Share::new(81, 263), 0.2553, 0.3662);
    }

    #[test]
    fn the_interval_is_symmetric_in_success_and_failure() {
        let (few, many) = (Share::new(7, 40), Share::new(33, 40));
        assert!((few.low - (1.0 - many.high)).abs() < 1e-12 && (few.high - (1.0 - many.low)).abs() < 1e-12);
        assert_eq!(Share::new(0, 0), Share { count: 0, of: 0, share: 0.0, low: 0.0, high: 1.0 });
    }
}
