// The optimiser: global norm of the gradients, and one AdamW step on fp32 master weights.
//
//   norm = sqrt(sum of g^2);  g' = g min(1, clip / (norm + 1e-6))
//   m = beta1 m + (1 - beta1) g';  v = beta2 v + (1 - beta2) g'^2
//   p = p (1 - lr decay) - lr (m correct1) / (sqrt(v correct2) + eps);  half = bf16(p)
//
// p, g, m, v: fp32. half: the bf16 copy of p that matrix products read. What changes with the step is on the device, so that a
// captured graph can be launched again: step[3] = lr, correct1 = 1 / (1 - beta1^t), correct2 = 1 / (1 - beta2^t).
//
// A thread is an element; memory-bound (30 bytes an element), so nothing more is tried. The norm is two stages: each block sums
// every gridDim.x-th run of 256 elements, then one block adds the blocks' sums in order of threads.
//
// Precision: fp32. A norm that is not finite reaches the weights, where training looks for it.
#include "device.cuh"

// The block's sum, in thread 0.
INLINE float block_sum(float x) {
    SHARED(float, sums, 8);
    x = sum_over<32>(x);
    if (lane() == 0) {
        sums[warp()] = x;
    }
    __syncthreads();
    float total = 0;
    for (int i = 0; i < 8; ++i) {
        total += sums[i];
    }
    return total;
}

KERNEL(grad_norm_parts, 256)(const float* g, float* parts, int n) {
    float sum = 0;
    for (long long i = static_cast<long long>(block()) * 256 + thread(); i < n; i += static_cast<long long>(gridDim.x) * 256) {
        sum = fmaf(g[i], g[i], sum);
    }
    sum = block_sum(sum);
    if (thread() == 0) {
        parts[block()] = sum;
    }
}
REGISTER(grad_norm_parts)

KERNEL(grad_norm, 256)(const float* parts, float* norm, int n) {
    float sum = 0;
    for (int i = thread(); i < n; i += 256) {
        sum += parts[i];
    }
    sum = block_sum(sum);
    if (thread() == 0) {
        norm[0] = sqrtf(sum);
    }
}
REGISTER(grad_norm)

KERNEL(adamw, 256)
(float* p, const float* g, float* m, float* v, bf16* half, const float* norm, const float* step, float beta1, float beta2, float eps,
 float weight_decay, float clip, int n) {
    const int i = block() * 256 + thread();
    if (i >= n) {
        return;
    }
    const float ratio = clip / (norm[0] + 1e-6f), lr = step[0];
    const float gradient = g[i] * (ratio > 1 ? 1 : ratio);
    const float first_moment = beta1 * m[i] + (1 - beta1) * gradient;
    const float second_moment = beta2 * v[i] + (1 - beta2) * gradient * gradient;
    const float moved = lr * (first_moment * step[1]) / (sqrtf(second_moment * step[2]) + eps);
    const float next = p[i] * (1 - lr * weight_decay) - moved;
    m[i] = first_moment;
    v[i] = second_moment;
    p[i] = next;
    half[i] = to_bf16(next);
}
REGISTER(adamw)
