// Between layers: the mean over pixels, learned positions.
//
//   mean_pool   x[N,P,C] -> y[N,C], the mean over P; backward dx = dy / P
//   position    x[B,T,C] += pos[T,C]; backward dpos += sum over B of dx
//
// Activations: bf16. pos, dpos: fp32. A thread is an element of the output. Offsets of elements fit in 31 bits (the launcher checks).
//
// Precision: sums are fp32, taken in order; results are rounded once.
#include "device.cuh"

constexpr int THREADS = 256;

KERNEL(mean_pool_forward, THREADS)(const bf16* x, bf16* y, int n, int p, int c) {
    const int i = block() * THREADS + thread();
    if (i < n) {
        const size_t from = static_cast<size_t>(i / c) * p * c + i % c;
        float sum = 0;
        for (int pixel = 0; pixel < p; ++pixel) {
            sum += to_float(x[from + static_cast<size_t>(pixel) * c]);
        }
        y[i] = to_bf16(sum / p);
    }
}
REGISTER(mean_pool_forward)

KERNEL(mean_pool_backward, THREADS)(const bf16* dy, bf16* dx, int n, int p, int c) {
    const int i = block() * THREADS + thread();
    if (i < n) {
        dx[i] = to_bf16(to_float(dy[i / (p * c) * c + i % c]) / p);
    }
}
REGISTER(mean_pool_backward)

KERNEL(position_forward, THREADS)(bf16* x, const float* pos, int n, int length) {
    const int i = block() * THREADS + thread();
    if (i < n) {
        x[i] = to_bf16(to_float(x[i]) + pos[i % length]);
    }
}
REGISTER(position_forward)

KERNEL(position_backward, THREADS)(const bf16* dx, float* dpos, int sequences, int length) {
    const int i = block() * THREADS + thread();
    if (i < length) {
        float sum = 0;
        for (int b = 0; b < sequences; ++b) {
            sum += to_float(dx[static_cast<size_t>(b) * length + i]);
        }
        dpos[i] += sum;
    }
}
REGISTER(position_backward)
