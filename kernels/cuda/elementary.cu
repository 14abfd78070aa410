// What has no arithmetic to speak of: fill, dst += alpha src, fp32 to bf16.
//
// Activations are bf16, everything else fp32: each operator but the last has a kernel for either. A thread is an element;
// memory-bound.
//
// Precision: fp32; bf16 results are rounded once.
#include "device.cuh"

constexpr int THREADS = 256;

KERNEL(fill, THREADS)(float* x, float value, int n) {
    const int i = block() * THREADS + thread();
    if (i < n) {
        x[i] = value;
    }
}
REGISTER(fill)

KERNEL(fill_bf16, THREADS)(bf16* x, float value, int n) {
    const int i = block() * THREADS + thread();
    if (i < n) {
        x[i] = to_bf16(value);
    }
}
REGISTER(fill_bf16)

KERNEL(add_scaled, THREADS)(const float* src, float* dst, float alpha, int n) {
    const int i = block() * THREADS + thread();
    if (i < n) {
        dst[i] += alpha * src[i];
    }
}
REGISTER(add_scaled)

KERNEL(add_scaled_bf16, THREADS)(const bf16* src, bf16* dst, float alpha, int n) {
    const int i = block() * THREADS + thread();
    if (i < n) {
        dst[i] = to_bf16(to_float(dst[i]) + alpha * to_float(src[i]));
    }
}
REGISTER(add_scaled_bf16)

KERNEL(round_to_bf16, THREADS)(const float* src, bf16* dst, int n) {
    const int i = block() * THREADS + thread();
    if (i < n) {
        dst[i] = to_bf16(src[i]);
    }
}
REGISTER(round_to_bf16)
