//! Measures of a preference model over pairs: accuracy, log loss, calibration.

use crate::softmax::{sigmoid, softplus};

/// Bins of confidence between 0.5 and 1.
const BINS: usize = 10;

/// Sums over measured pairs.
#[derive(Clone, Debug, Default)]
pub(crate) struct PairMeter {
    pairs: f64,
    log_loss: f64,
    decided: f64,
    correct: f64,
    margin: f64,
    /// Of each bin: pairs, summed confidence, summed correctness.
    bins: [[f64; 3]; BINS],
}

impl PairMeter {
    /// Adds one pair with its scores and P(chosen is better).
    pub fn add(&mut self, chosen: f64, rejected: f64, label: f64) {
        let d = chosen - rejected;
        self.pairs += 1.0;
        self.log_loss += label * softplus(-d) + (1.0 - label) * softplus(d);
        self.margin += d;
        if label == 0.5 {
            return; // A tie has no right side.
        }
        let correct = match d {
            0.0 => 0.5,
            d if (d > 0.0) == (label > 0.5) => 1.0,
            _ => 0.0,
        };
        self.decided += 1.0;
        self.correct += correct;
        let confidence = sigmoid(d.abs());
        let bin = (((confidence - 0.5) * 2.0 * BINS as f64) as usize).min(BINS - 1);
        for (sum, x) in self.bins[bin].iter_mut().zip([1.0, confidence, correct]) {
            *sum += x;
        }
    }

    /// Metrics so far, and starts over. `ece` is the expected calibration error over ten bins of confidence.
    pub fn take(&mut self) -> Vec<(String, f64)> {
        let this = std::mem::take(self);
        let (pairs, decided) = (this.pairs.max(1.0), this.decided.max(1.0));
        let ece = this.bins.iter().map(|[_, confidence, correct]| (confidence - correct).abs()).sum::<f64>() / decided;
        [
            ("loss", this.log_loss / pairs),
            ("accuracy", this.correct / decided),
            ("correct", this.correct),
            ("pairs", this.decided),
            ("ties", this.pairs - this.decided),
            ("ece", ece),
            ("margin", this.margin / pairs),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_agree_with_hand_sums() {
        let mut meter = PairMeter::default();
        meter.add(2.0, 0.0, 1.0); // right
        meter.add(0.0, 1.0, 1.0); // wrong
        meter.add(1.0, 1.0, 1.0); // undecided
        meter.add(3.0, 0.0, 0.5); // a tie
        meter.add(0.0, 2.0, 0.0); // right: the rejected one is better
        let m: std::collections::BTreeMap<_, _> = meter.take().into_iter().collect();
        assert_eq!((m["correct"], m["pairs"], m["ties"]), (2.5, 4.0, 1.0));
        assert_eq!(m["accuracy"], 0.625);
        let loss =
            (2.0 * softplus(-2.0) + softplus(1.0) + softplus(0.0) + (softplus(3.0) + softplus(-3.0)) / 2.0) / 5.0;
        assert!((m["loss"] - loss).abs() < 1e-12);
        // Two pairs at s(2), right; one at s(1), wrong; one at 0.5, half right.
        let ece = (2.0 * (1.0 - sigmoid(2.0)) + sigmoid(1.0) + 0.0) / 4.0;
        assert!((m["ece"] - ece).abs() < 1e-12, "{} {ece}", m["ece"]);
        assert_eq!(meter.take()[0].1, 0.0);
    }
}
