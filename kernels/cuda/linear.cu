// What follows a matrix product where cuBLASLt has no epilogue for it, and what precedes its backward pass.
//
//   bias        y = z + b (also in fp32)           gelu    pre = z + b,  y = gelu(pre)
//   residual    y = skip + z + b                   scale   y = skip + scale pre
//   gelu_backward          dx = dx gelu'(pre)
//   layer_scale_backward   dpre = scale dy;  dscale = sum over rows of dy pre
//   bias_backward          db = sum over rows of dy
//
// with gelu(x) = x / 2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
//
// z, skip, pre, y and their gradients: bf16 [M,N]. b, scale and their gradients: fp32 [N]. y may be skip or z, and gelu_backward is in place.
// A thread is one element of a row: neighbours in memory are neighbours in a warp. Sums over rows: a thread is a column and
// takes every gridDim.y-th row; each row of blocks leaves a row of parts[gridDim.y, N], which reduce.cu adds up.
//
// Precision: fp32; every result is rounded once (gelu from pre before its rounding).
#include "device.cuh"

constexpr int THREADS = 256;

struct Gelu {
    float value, slope;
};

INLINE Gelu gelu(float x) {
    constexpr float ROOT = 0.7978845608f, CUBE = 0.044715f;
    const float t = tanhf(ROOT * (x + CUBE * x * x * x));
    return {0.5f * x * (1 + t), 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * ROOT * (1 + 3 * CUBE * x * x)};
}

// Rows along y, in turns if there are more than blocks.
#define FOR_ROWS(row, rows) \
    for (int row = static_cast<int>(blockIdx.y); row < rows; row += static_cast<int>(gridDim.y))

KERNEL(linear_bias, THREADS)(const bf16* z, const float* b, bf16* y, int rows, int cols) {
    const int c = block() * THREADS + thread();
    FOR_ROWS(row, rows) {
        const size_t i = static_cast<size_t>(row) * cols + c;
        if (c < cols) {
            y[i] = to_bf16(to_float(z[i]) + b[c]);
        }
    }
}
REGISTER(linear_bias)

// For a result that is kept in fp32, in place.
KERNEL(linear_bias_exact, THREADS)(float* y, const float* b, int rows, int cols) {
    const int c = block() * THREADS + thread();
    FOR_ROWS(row, rows) {
        if (c < cols) {
            y[static_cast<size_t>(row) * cols + c] += b[c];
        }
    }
}
REGISTER(linear_bias_exact)

// Layer scale of what linear_bias, or cuBLASLt's epilogue of the same meaning, has left.
KERNEL(linear_scale, THREADS)(const bf16* pre, const bf16* skip, const float* scale, bf16* y, int rows, int cols) {
    const int c = block() * THREADS + thread();
    FOR_ROWS(row, rows) {
        const size_t i = static_cast<size_t>(row) * cols + c;
        if (c < cols) {
            y[i] = to_bf16(to_float(skip[i]) + scale[c] * to_float(pre[i]));
        }
    }
}
REGISTER(linear_scale)

KERNEL(linear_gelu, THREADS)(const bf16* z, const float* b, bf16* pre, bf16* y, int rows, int cols) {
    const int c = block() * THREADS + thread();
    FOR_ROWS(row, rows) {
        const size_t i = static_cast<size_t>(row) * cols + c;
        if (c < cols) {
            const float x = to_float(z[i]) + b[c];
            pre[i] = to_bf16(x);
            y[i] = to_bf16(gelu(x).value);
        }
    }
}
REGISTER(linear_gelu)

KERNEL(linear_residual, THREADS)(const bf16* z, const float* b, const bf16* skip, bf16* y, int rows, int cols) {
    const int c = block() * THREADS + thread();
    FOR_ROWS(row, rows) {
        const size_t i = static_cast<size_t>(row) * cols + c;
        if (c < cols) {
            y[i] = to_bf16(to_float(skip[i]) + to_float(z[i]) + b[c]);
        }
    }
}
REGISTER(linear_residual)

KERNEL(gelu_backward, THREADS)(bf16* dx, const bf16* pre, int n) {
    const int i = block() * THREADS + thread();
    if (i < n) {
        dx[i] = to_bf16(to_float(dx[i]) * gelu(to_float(pre[i])).slope);
    }
}
REGISTER(gelu_backward)

KERNEL(layer_scale_backward, THREADS)
(const bf16* dy, const bf16* pre, const float* scale, bf16* dpre, float* parts, int rows, int cols) {
    const int c = block() * THREADS + thread();
    float sum = 0;
    FOR_ROWS(row, rows) {
        const size_t i = static_cast<size_t>(row) * cols + c;
        if (c < cols) {
            const float gradient = to_float(dy[i]);
            sum = fmaf(gradient, to_float(pre[i]), sum);
            dpre[i] = to_bf16(scale[c] * gradient);
        }
    }
    if (c < cols) {
        parts[static_cast<size_t>(blockIdx.y) * cols + c] = sum;
    }
}
REGISTER(layer_scale_backward)

KERNEL(bias_backward, THREADS)(const bf16* dy, float* parts, int rows, int cols) {
    const int c = block() * THREADS + thread();
    float sum = 0;
    FOR_ROWS(row, rows) {
        if (c < cols) {
            sum += to_float(dy[static_cast<size_t>(row) * cols + c]);
        }
    }
    if (c < cols) {
        parts[static_cast<size_t>(blockIdx.y) * cols + c] = sum;
    }
}
REGISTER(bias_backward)
