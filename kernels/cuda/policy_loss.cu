// Cross-entropy of every action component at once, with the exact KL to a reference; forward and backward in one pass.
//
//   nll = sum over components of -ln p[a];  kl = sum of KL(p || r);  entropy = sum of -p ln p
//   dlogits[j] = weight (p_j - [j = a]) + kl_weight p_j (ln p_j - ln r_j - KL of the component)
//
// logits, reference, dlogits: bf16 [N, K], K the sum of the components' cardinalities. actions: u8 [N, heads]. weight, kl_weight,
// nll, kl, entropy: fp32 [N]. starts: i32 [heads + 1], where each component's logits begin, K at the end. Without a reference
// both `reference` and `kl_weight` are null.
//
// A warp is a token, a lane a component (lanes take turns when there are more than 32): a component has so few values that a
// lane's own loop needs no exchange, and a row is one or two cache lines, so the gaps between lanes cost nothing.
//
// Precision: fp32; dlogits is rounded once.
#include "device.cuh"

// The largest of x[0..n] and ln of the sum of exponentials: ln p_j = x_j - result.
INLINE float log_sum(const bf16* x, int n) {
    float largest = -INFINITY;
    for (int j = 0; j < n; ++j) {
        largest = fmaxf(largest, to_float(x[j]));
    }
    float sum = 0;
    for (int j = 0; j < n; ++j) {
        sum += expf(to_float(x[j]) - largest);
    }
    return largest + logf(sum);
}

KERNEL(policy_loss, 128)
(const bf16* logits, const bf16* reference, const unsigned char* actions, const float* weight, const float* kl_weight, const int* starts,
 bf16* dlogits, float* nll, float* kl, float* entropy, int tokens, int heads) {
    const int token = block() * 4 + warp();
    if (token >= tokens) {
        return;
    }
    const size_t row = static_cast<size_t>(token) * starts[heads];
    const float beta = kl_weight == nullptr ? 0 : kl_weight[token];
    float own_nll = 0, own_kl = 0, own_entropy = 0;
    for (int head = lane(); head < heads; head += 32) {
        const size_t at = row + starts[head];
        const int n = starts[head + 1] - starts[head];
        const int action = actions[static_cast<size_t>(token) * heads + head];
        const float log_p = log_sum(logits + at, n);
        const float log_r = reference == nullptr ? 0 : log_sum(reference + at, n);
        float divergence = 0;
        for (int j = 0; j < n; ++j) {
            const float ln = to_float(logits[at + j]) - log_p, p = expf(ln);
            own_entropy -= p * ln;
            divergence += reference == nullptr ? 0 : p * (ln - (to_float(reference[at + j]) - log_r));
            own_nll -= j == action ? ln : 0;
        }
        own_kl += divergence;
        for (int j = 0; j < n; ++j) {
            const float ln = to_float(logits[at + j]) - log_p, p = expf(ln);
            float gradient = weight[token] * (p - (j == action ? 1 : 0));
            if (reference != nullptr) {
                gradient += beta * p * (ln - (to_float(reference[at + j]) - log_r) - divergence);
            }
            dlogits[at + j] = to_bf16(gradient);
        }
    }
    own_nll = sum_over<32>(own_nll);
    own_kl = sum_over<32>(own_kl);
    own_entropy = sum_over<32>(own_entropy);
    if (lane() == 0) {
        nll[token] = own_nll;
        kl[token] = own_kl;
        entropy[token] = own_entropy;
    }
}
REGISTER(policy_loss)
