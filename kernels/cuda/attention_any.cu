// Causal self-attention over packed QKV for any T and head size, forward and backward: the fallback of attention.cu, which has
// the formulas and the layouts.
//
// A block is one row of one (sequence, head): query i in the forward pass and for dQ, key j for dK and dV. Its 4 warps share the
// row's scores. probs and ds, fp32 [B,NH,T,T], are scratch memory: the forward pass leaves P in probs (zero above the diagonal),
// the backward pass computes it again.
//
// Precision: everything in fp32; y and dqkv are rounded once.
#include "device.cuh"

constexpr int THREADS = 128;

struct Place {
    size_t width;   // elements of a timestep of y
    size_t qkv;     // this head's first query in qkv
    size_t y;       // and in y
    size_t square;  // and in probs
    int row;
};

INLINE Place place(int t, int heads, int head_size) {
    const int which = block() / t;
    const size_t width = static_cast<size_t>(heads) * head_size;
    const size_t first = static_cast<size_t>(which / heads) * t * width, own = static_cast<size_t>(which % heads) * head_size;
    return {width, 3 * first + own, first + own, static_cast<size_t>(which) * t * t, block() % t};
}

// The block's sum, in every thread; warps are added in order.
INLINE float block_sum(float x, float* shared) {
    x = sum_over<32>(x);
    __syncthreads();
    if (lane() == 0) {
        shared[warp()] = x;
    }
    __syncthreads();
    return shared[0] + shared[1] + shared[2] + shared[3];
}

INLINE float block_max(float x, float* shared) {
    x = max_over<32>(x);
    __syncthreads();
    if (lane() == 0) {
        shared[warp()] = x;
    }
    __syncthreads();
    return fmaxf(fmaxf(shared[0], shared[1]), fmaxf(shared[2], shared[3]));
}

INLINE float dot(const bf16* a, const bf16* b, int n) {
    float sum = 0;
    for (int c = 0; c < n; ++c) {
        sum += to_float(a[c]) * to_float(b[c]);
    }
    return sum;
}

// probs[i, 0..T] = softmax of query i's scores. Leaves the block's threads in step.
INLINE void softmax_row(const bf16* qkv, float* probs, const Place& at, int t, int head_size, float* shared) {
    const int i = at.row;
    const float scale = rsqrtf(static_cast<float>(head_size));
    const bf16* query = qkv + at.qkv + static_cast<size_t>(i) * 3 * at.width;
    float largest = -INFINITY;
    for (int j = thread(); j <= i; j += THREADS) {
        const float s = scale * dot(query, qkv + at.qkv + (static_cast<size_t>(j) * 3 + 1) * at.width, head_size);
        probs[j] = s;
        largest = fmaxf(largest, s);
    }
    largest = block_max(largest, shared);
    float total = 0;
    for (int j = thread(); j <= i; j += THREADS) {
        const float e = __expf(probs[j] - largest);
        probs[j] = e;
        total += e;
    }
    const float share = 1 / block_sum(total, shared);
    for (int j = thread(); j < t; j += THREADS) {
        probs[j] = j <= i ? probs[j] * share : 0;
    }
    __syncthreads();
}

KERNEL(attention_forward_any, THREADS)(const bf16* qkv, bf16* y, float* probs, int t, int heads, int head_size) {
    SHARED(float, shared, 4);
    const Place at = place(t, heads, head_size);
    float* p = probs + at.square + static_cast<size_t>(at.row) * t;
    softmax_row(qkv, p, at, t, head_size, shared);
    for (int c = thread(); c < head_size; c += THREADS) {
        float sum = 0;
        for (int j = 0; j <= at.row; ++j) {
            sum += p[j] * to_float(qkv[at.qkv + (static_cast<size_t>(j) * 3 + 2) * at.width + c]);
        }
        y[at.y + at.row * at.width + c] = to_bf16(sum);
    }
}
REGISTER(attention_forward_any)

// dQ, and the rows of probs and ds that dK and dV need.
KERNEL(attention_backward_any_queries, THREADS)
(const bf16* dy, const bf16* qkv, bf16* dqkv, float* probs, float* ds, int t, int heads, int head_size) {
    SHARED(float, shared, 4);
    const Place at = place(t, heads, head_size);
    const int i = at.row;
    float* p = probs + at.square + static_cast<size_t>(i) * t;
    float* d = ds + at.square + static_cast<size_t>(i) * t;
    softmax_row(qkv, p, at, t, head_size, shared);
    float sum = 0;
    for (int j = thread(); j <= i; j += THREADS) {
        const bf16* value = qkv + at.qkv + (static_cast<size_t>(j) * 3 + 2) * at.width;
        d[j] = dot(dy + at.y + i * at.width, value, head_size);
        sum += p[j] * d[j];
    }
    const float mean = block_sum(sum, shared);
    const float scale = rsqrtf(static_cast<float>(head_size));
    for (int j = thread(); j <= i; j += THREADS) {
        d[j] = p[j] * (d[j] - mean) * scale;
    }
    __syncthreads();
    for (int c = thread(); c < head_size; c += THREADS) {
        float dq = 0;
        for (int j = 0; j <= i; ++j) {
            dq += d[j] * to_float(qkv[at.qkv + (static_cast<size_t>(j) * 3 + 1) * at.width + c]);
        }
        dqkv[at.qkv + static_cast<size_t>(i) * 3 * at.width + c] = to_bf16(dq);
    }
}
REGISTER(attention_backward_any_queries)

KERNEL(attention_backward_any_keys, THREADS)
(const bf16* dy, const bf16* qkv, bf16* dqkv, const float* probs, const float* ds, int t, int heads, int head_size) {
    const Place at = place(t, heads, head_size);
    const int j = at.row;
    for (int c = thread(); c < head_size; c += THREADS) {
        float dk = 0, dv = 0;
        for (int i = j; i < t; ++i) {
            const size_t seen = at.square + static_cast<size_t>(i) * t + j;
            dk += ds[seen] * to_float(qkv[at.qkv + static_cast<size_t>(i) * 3 * at.width + c]);
            dv += probs[seen] * to_float(dy[at.y + i * at.width + c]);
        }
        dqkv[at.qkv + (static_cast<size_t>(j) * 3 + 1) * at.width + c] = to_bf16(dk);
        dqkv[at.qkv + (static_cast<size_t>(j) * 3 + 2) * at.width + c] = to_bf16(dv);
    }
}
REGISTER(attention_backward_any_keys)
