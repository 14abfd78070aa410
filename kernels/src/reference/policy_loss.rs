//! The policy's loss: cross-entropy of every component and KL to a reference.

/// What [`policy_loss`] returns, per token except for dlogits.
#[derive(Debug, Default)]
pub struct Loss {
    /// Gradient of sum of weight * nll + kl_weight * kl, [N, sum K].
    pub dlogits: Vec<f64>,
    /// Sum of the components' cross-entropies, [N].
    pub nll: Vec<f64>,
    /// Sum of the components' KL(pi || ref), [N]; 0 without a reference.
    pub kl: Vec<f64>,
    /// Sum of the components' entropies, [N].
    pub entropy: Vec<f64>,
}

fn log_softmax(x: &[f64]) -> Vec<f64> {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let lse = max + x.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
    x.iter().map(|x| x - lse).collect()
}

/// logits and reference [N, sum K], actions [N, heads], weight and kl_weight [N].
pub fn policy_loss(
    logits: &[f64],
    reference: Option<&[f64]>,
    actions: &[u8],
    weight: &[f64],
    kl_weight: Option<&[f64]>,
    heads: &[usize],
) -> Loss {
    let width: usize = heads.iter().sum();
    let mut out = Loss::default();
    for (i, row) in logits.chunks_exact(width).enumerate() {
        let (mut nll, mut kl, mut entropy, mut at) = (0.0, 0.0, 0.0, 0);
        for (h, k) in heads.iter().enumerate() {
            let log_p = log_softmax(&row[at..at + k]);
            let log_r = reference.map(|r| log_softmax(&r[i * width + at..][..*k]));
            let action = usize::from(actions[i * heads.len() + h]);
            let p: Vec<f64> = log_p.iter().map(|l| l.exp()).collect();
            let ratio = |j: usize| log_r.as_ref().map_or(0.0, |r| log_p[j] - r[j]);
            let component_kl: f64 = (0..*k).map(|j| p[j] * ratio(j)).sum();
            nll -= log_p[action];
            kl += component_kl;
            entropy -= (0..*k).map(|j| p[j] * log_p[j]).sum::<f64>();
            for (j, p) in p.iter().enumerate() {
                let hit = if j == action { 1.0 } else { 0.0 };
                let beta = kl_weight.map_or(0.0, |w| w[i]);
                out.dlogits.push(weight[i] * (p - hit) + beta * p * (ratio(j) - component_kl));
            }
            at += k;
        }
        out.nll.push(nll);
        out.kl.push(kl);
        out.entropy.push(entropy);
    }
    out
}
