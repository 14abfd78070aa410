// What follows a matrix product where cuBLASLt has no epilogue for it, and what precedes its backward pass.
//
//   bias        y = z + b (also in fp32)           gelu    pre = z + b,  y = gelu(pre)
//   residual    y = skip + z + b                   scale   y = skip + scale pre
//   gelu_backward          dx = dx gelu'(pre)
//   layer_scale_backward   dpre = scale dy;  dscale = sum over rows of dy pre
//   bias_backward          db = sum over rows of dy
//
// z, skip, pre, y and their gradients: bf16 [M,N]. b, scale and their gradients: fp32 [N]. y may be skip or z.
// A thread takes W neighbours of a row: 8, which are 16 bytes, where N is a multiple of 8, and else 1 (a head's logits). Memory-bound.
//
// Sums over rows: `side` threads of a block are neighbours in a row, the others other rows; each row of blocks leaves a row of
// parts[gridDim.y, N], which reduce.cu adds up.
//
// Precision: fp32; every result is rounded once (gelu from pre before its rounding).
#include "device.cuh"

constexpr int THREADS = 256;

// x = p[0..W], and back.
template <int W, typename T>
INLINE void load(const T* p, float (&x)[W]) {
    if constexpr (W == 8) {
        load8(p, x);
    } else {
        x[0] = to_float(p[0]);
    }
}

template <int W>
INLINE void store(bf16* p, const float (&x)[W]) {
    if constexpr (W == 8) {
        store8(p, x);
    } else {
        p[0] = to_bf16(x[0]);
    }
}

// This thread's first element of `n`, or -1.
template <int W>
INLINE int own(int n) {
    const int index = block() * THREADS + thread();
    return index < n / W ? index * W : -1;
}

template <int W>
INLINE void bias(const bf16* z, const float* b, bf16* y, int n, int cols) {
    const int i = own<W>(n);
    if (i < 0) {
        return;
    }
    float x[W], add[W];
    load(z + i, x);
    load(b + i % cols, add);
#pragma unroll
    for (int k = 0; k < W; ++k) {
        x[k] += add[k];
    }
    store(y + i, x);
}

template <int W>
INLINE void bias_gelu(const bf16* z, const float* b, bf16* pre, bf16* y, int n, int cols) {
    const int i = own<W>(n);
    if (i < 0) {
        return;
    }
    float x[W], add[W];
    load(z + i, x);
    load(b + i % cols, add);
#pragma unroll
    for (int k = 0; k < W; ++k) {
        x[k] += add[k];
    }
    store(pre + i, x);
#pragma unroll
    for (int k = 0; k < W; ++k) {
        x[k] = gelu(x[k]).value;
    }
    store(y + i, x);
}

template <int W>
INLINE void residual(const bf16* z, const float* b, const bf16* skip, bf16* y, int n, int cols) {
    const int i = own<W>(n);
    if (i < 0) {
        return;
    }
    float x[W], add[W], stream[W];
    load(z + i, x);
    load(b + i % cols, add);
    load(skip + i, stream);
#pragma unroll
    for (int k = 0; k < W; ++k) {
        x[k] = stream[k] + x[k] + add[k];
    }
    store(y + i, x);
}

// Layer scale of what `bias`, or cuBLASLt's epilogue of the same meaning, has left.
template <int W>
INLINE void scaled(const bf16* pre, const bf16* skip, const float* scale, bf16* y, int n, int cols) {
    const int i = own<W>(n);
    if (i < 0) {
        return;
    }
    float x[W], factor[W], stream[W];
    load(pre + i, x);
    load(scale + i % cols, factor);
    load(skip + i, stream);
#pragma unroll
    for (int k = 0; k < W; ++k) {
        x[k] = stream[k] + factor[k] * x[k];
    }
    store(y + i, x);
}

template <int W>
INLINE void undo_gelu(bf16* dx, const bf16* pre, int n) {
    const int i = own<W>(n);
    if (i < 0) {
        return;
    }
    float gradient[W], x[W];
    load(dx + i, gradient);
    load(pre + i, x);
#pragma unroll
    for (int k = 0; k < W; ++k) {
        gradient[k] *= gelu(x[k]).slope;
    }
    store(dx + i, gradient);
}

// parts[gridDim.y, cols] = sums over rows of dy; or, where SCALE, of dy pre, and dpre = scale dy.
template <int W, bool SCALE>
INLINE void sum_rows(const bf16* dy, const bf16* pre, const float* scale, bf16* dpre, float* parts, int rows, int cols, int side) {
    SHARED(float, sums, THREADS * W);
    const int first = block() * side * W, c = first + thread() % side * W;
    const int slots = THREADS / side, step = static_cast<int>(gridDim.y) * slots;
    float sum[W] = {};
    if (c < cols) {
        float factor[W] = {};
        if (SCALE) {
            load(scale + c, factor);
        }
        for (int row = static_cast<int>(blockIdx.y) * slots + thread() / side; row < rows; row += step) {
            const size_t at = static_cast<size_t>(row) * cols + c;
            float gradient[W];
            load(dy + at, gradient);
            if (SCALE) {
                float z[W];
                load(pre + at, z);
#pragma unroll
                for (int k = 0; k < W; ++k) {
                    sum[k] = fmaf(gradient[k], z[k], sum[k]);
                    gradient[k] *= factor[k];
                }
                store(dpre + at, gradient);
            } else {
#pragma unroll
                for (int k = 0; k < W; ++k) {
                    sum[k] += gradient[k];
                }
            }
        }
    }
#pragma unroll
    for (int k = 0; k < W; ++k) {
        sums[thread() * W + k] = sum[k];
    }
    __syncthreads();
    // Now a thread is a column, and adds what the block's rows have of it.
    if (thread() < side * W && first + thread() < cols) {
        float total = 0;
        for (int slot = 0; slot < slots; ++slot) {
            total += sums[slot * side * W + thread()];
        }
        parts[static_cast<size_t>(blockIdx.y) * cols + first + thread()] = total;
    }
}

#define INSTANCE(name, w)                                                                                                     \
    KERNEL(linear_bias_##name, THREADS)(const bf16* z, const float* b, bf16* y, int n, int cols) {                            \
        bias<w>(z, b, y, n, cols);                                                                                            \
    }                                                                                                                         \
    REGISTER(linear_bias_##name)                                                                                              \
    KERNEL(linear_gelu_##name, THREADS)(const bf16* z, const float* b, bf16* pre, bf16* y, int n, int cols) {                 \
        bias_gelu<w>(z, b, pre, y, n, cols);                                                                                  \
    }                                                                                                                         \
    REGISTER(linear_gelu_##name)                                                                                              \
    KERNEL(linear_residual_##name, THREADS)(const bf16* z, const float* b, const bf16* skip, bf16* y, int n, int cols) {      \
        residual<w>(z, b, skip, y, n, cols);                                                                                  \
    }                                                                                                                         \
    REGISTER(linear_residual_##name)                                                                                          \
    KERNEL(linear_scale_##name, THREADS)(const bf16* pre, const bf16* skip, const float* scale, bf16* y, int n, int cols) {   \
        scaled<w>(pre, skip, scale, y, n, cols);                                                                              \
    }                                                                                                                         \
    REGISTER(linear_scale_##name)                                                                                             \
    KERNEL(gelu_backward_##name, THREADS)(bf16* dx, const bf16* pre, int n) { undo_gelu<w>(dx, pre, n); }                     \
    REGISTER(gelu_backward_##name)                                                                                            \
    KERNEL(layer_scale_backward_##name, THREADS)                                                                              \
    (const bf16* dy, const bf16* pre, const float* scale, bf16* dpre, float* parts, int rows, int cols, int side) {           \
        sum_rows<w, true>(dy, pre, scale, dpre, parts, rows, cols, side);                                                     \
    }                                                                                                                         \
    REGISTER(layer_scale_backward_##name)                                                                                     \
    KERNEL(bias_backward_##name, THREADS)(const bf16* dy, float* parts, int rows, int cols, int side) {                       \
        sum_rows<w, false>(dy, nullptr, nullptr, nullptr, parts, rows, cols, side);                                           \
    }                                                                                                                         \
    REGISTER(bias_backward_##name)
INSTANCE(8, 8)
INSTANCE(any, 1)

// For a result that is kept in fp32, in place: few columns.
KERNEL(linear_bias_exact, THREADS)(float* y, const float* b, int n, int cols) {
    const int i = own<1>(n);
    if (i >= 0) {
        y[i] += b[i % cols];
    }
}
REGISTER(linear_bias_exact)
