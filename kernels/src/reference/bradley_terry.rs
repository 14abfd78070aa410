//! The Bradley-Terry loss with centering.

/// scores[P,2] (chosen, rejected), label[P] -> (loss[P], dscores[P,2] of the mean loss).
pub fn bradley_terry(scores: &[f64], label: &[f64], centering: f64) -> (Vec<f64>, Vec<f64>) {
    let mut loss = Vec::new();
    let mut dscores = Vec::new();
    for (pair, label) in scores.chunks_exact(2).zip(label) {
        let (d, sum) = (pair[0] - pair[1], pair[0] + pair[1]);
        let chosen = 1.0 / (1.0 + (-d).exp());
        // -ln s(d) = ln(1 + e^-d), written without overflow.
        let minus_ln = |d: f64| (-d).max(0.0) + (-d.abs()).exp().ln_1p();
        loss.push(label * minus_ln(d) + (1.0 - label) * minus_ln(-d) + centering * sum * sum);
        let pairs = (scores.len() / 2) as f64;
        dscores.push((chosen - label + 2.0 * centering * sum) / pairs);
        dscores.push((label - chosen + 2.0 * centering * sum) / pairs);
    }
    (loss, dscores)
}
