// Attention of one new timestep a lane over a cache of keys and values, for rollouts.
//
// qkv: bf16 [B,3,NH,HS] of the new timestep, whose index in lane b is positions[b] < T. cache: bf16 [B,2,T,NH,HS], 0 = K, 1 = V: the
// new key and value are stored, then the query attends to 0..=positions[b]. y: bf16 [B,NH*HS]. scores: fp32 [B,NH,T], scratch.
//
// A block is one (lane, head). A warp takes every fourth key, its lanes neighbouring channels; then a thread is a channel of y and
// goes through the scores by itself: they are few, and every thread of a warp reads the same one.
//
// Precision: fp32; y is rounded once.
#include "device.cuh"

constexpr int THREADS = 128;

KERNEL(attention_decode, THREADS)
(const bf16* qkv, bf16* cache, bf16* y, float* scores, const int* positions, int t, int heads, int head_size) {
    const int lane_of_batch = block() / heads, head = block() % heads, position = positions[lane_of_batch];
    const size_t width = static_cast<size_t>(heads) * head_size, own = static_cast<size_t>(head) * head_size;
    const bf16* query = qkv + lane_of_batch * 3 * width + own;
    bf16* keys = cache + static_cast<size_t>(lane_of_batch) * 2 * t * width + own;
    bf16* values = keys + static_cast<size_t>(t) * width;
    float* s = scores + static_cast<size_t>(block()) * t;
    for (int c = thread(); c < head_size; c += THREADS) {
        keys[position * width + c] = query[width + c];
        values[position * width + c] = query[2 * width + c];
    }
    __syncthreads();
    const float scale = rsqrtf(static_cast<float>(head_size));
    for (int j = warp(); j <= position; j += THREADS / 32) {
        float sum = 0;
        for (int c = lane(); c < head_size; c += 32) {
            sum = fmaf(to_float(query[c]), to_float(keys[j * width + c]), sum);
        }
        sum = sum_over<32>(sum);
        if (lane() == 0) {
            s[j] = sum * scale;
        }
    }
    __syncthreads();
    float largest = -INFINITY;
    for (int j = 0; j <= position; ++j) {
        largest = fmaxf(largest, s[j]);
    }
    for (int c = thread(); c < head_size; c += THREADS) {
        float total = 0, sum = 0;
        for (int j = 0; j <= position; ++j) {
            const float e = __expf(s[j] - largest);
            total += e;
            sum = fmaf(e, to_float(values[j * width + c]), sum);
        }
        y[lane_of_batch * width + own + c] = to_bf16(sum / total);
    }
}
REGISTER(attention_decode)
