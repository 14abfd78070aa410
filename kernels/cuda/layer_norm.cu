// Layer normalisation over the columns of x[R,C], forward and backward.
//
//   xh = (x - mean) rstd,  y = xh g + b,  rstd = 1 / sqrt(var + 1e-5)
//   dx = rstd (dy g - mean(dy g) - xh mean(dy g xh)),  dg = sum over R of dy xh,  db = sum over R of dy
//
// x, y, dy, dx: bf16. g, b, mean, rstd and the gradients of g and b: fp32.
//
// With the `width` of the pictures whose pixels the rows are, y and dy are 2x2 patches: what the product between two stages of the
// encoder reads and gives back, so that the norm in x's order is never in memory. With 0 their rows lie as those of x. A row is in one
// piece either way: loads and stores stay as wide.
//
// A row belongs to LANES neighbouring lanes, each of which keeps CHUNKS x 8 columns in registers: one read and one write of
// memory, and narrow rows (the encoder's 32 to 256 channels) still fill a warp. The variance is that of x - mean, from
// registers: no cancellation. Rows that fit no instance (C not a multiple of 8, or above 1,024) take a warp each and are read
// three times, from L1 after the first.
//
// dg and db: each block sums its rows in registers and writes one row of parts[blocks, 2 C]; reduce.cu adds them up.
//
// Precision: fp32 sums; y and dx are rounded once (dx twice where it accumulates: it was bf16 before).
#include "device.cuh"

constexpr int THREADS = 128;

// One row's columns of this lane: chunk i holds columns (i * LANES + lane) * 8 .. + 8.
template <int LANES, int CHUNKS>
struct Row {
    INLINE static int lane() { return thread() % LANES; }
    INLINE static int column(int chunk) { return (chunk * LANES + lane()) * 8; }
};

// Where this row of x[N,H,W,C] lies in y[N,H/2,W/2,4C] (order ky,kx,c), counted in rows of C. H is even: lines of all pictures go in pairs.
INLINE int placed(int row, int width) {
    if (width == 0) {
        return row;
    }
    const int line = row / width, column = row % width;
    return (line / 2 * (width / 2) + column / 2) * 4 + line % 2 * 2 + column % 2;
}

template <int LANES, int CHUNKS>
INLINE void forward(const bf16* x, const float* g, const float* b, bf16* y, float* mean, float* rstd, int rows, int cols,
                    int width) {
    using Own = Row<LANES, CHUNKS>;
    const int row = block() * (THREADS / LANES) + thread() / LANES;
    const bool valid = row < rows;
    const size_t at = static_cast<size_t>(row) * cols;
    float v[CHUNKS][8];
    float sum = 0;
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
        const bool inside = valid && Own::column(i) < cols;
        unpack8(inside ? load16(x + at + Own::column(i)) : make_uint4(0, 0, 0, 0), v[i]);
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            sum += v[i][k];
        }
    }
    const float m = sum_over<LANES>(sum) / cols;
    float squares = 0;
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            const float d = v[i][k] - m;
            squares += Own::column(i) < cols ? d * d : 0;
        }
    }
    const float r = rsqrtf(sum_over<LANES>(squares) / cols + NORM_EPS);
    if (!valid) {
        return;
    }
    if (Own::lane() == 0) {
        mean[row] = m;
        rstd[row] = r;
    }
    const int to = placed(row, width);
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
        const int column = Own::column(i);
        if (column < cols) {
            float gain[8], shift[8];
            load8(g + column, gain);
            load8(b + column, shift);
#pragma unroll
            for (int k = 0; k < 8; ++k) {
                v[i][k] = (v[i][k] - m) * r * gain[k] + shift[k];
            }
            store8(y + static_cast<size_t>(to) * cols + column, v[i]);
        }
    }
}

// The groups' sums of one thing, added over the block in order of rows, to part[C].
template <int LANES, int CHUNKS>
INLINE void add_groups(const float (&own)[CHUNKS][8], float* shared, float* part, int cols) {
    constexpr int WIDTH = LANES * CHUNKS * 8;
    const int group = thread() / LANES;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < CHUNKS; ++i) {
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            shared[group * WIDTH + Row<LANES, CHUNKS>::column(i) + k] = own[i][k];
        }
    }
    __syncthreads();
    for (int column = thread(); column < cols; column += THREADS) {
        float sum = 0;
        for (int other = 0; other < THREADS / LANES; ++other) {
            sum += shared[other * WIDTH + column];
        }
        part[column] = sum;
    }
}

template <int LANES, int CHUNKS>
INLINE void backward(const bf16* dy, const bf16* x, const float* g, const float* mean, const float* rstd, bf16* dx, float* parts,
                     int rows, int cols, int width, int accumulate) {
    using Own = Row<LANES, CHUNKS>;
    constexpr int ROWS = THREADS / LANES;
    SHARED(float, shared, THREADS * CHUNKS * 8);
    float dg[CHUNKS][8] = {}, db[CHUNKS][8] = {};
    for (int first_row = block() * ROWS; first_row < rows; first_row += static_cast<int>(gridDim.x) * ROWS) {
        const int row = first_row + thread() / LANES;
        const bool valid = row < rows;
        const size_t at = static_cast<size_t>(row) * cols, from = static_cast<size_t>(placed(row, width)) * cols;
        const float m = valid ? mean[row] : 0, r = valid ? rstd[row] : 0;
        uint4 raw_x[CHUNKS], raw_dy[CHUNKS];
        float sum = 0, sum_xh = 0;
#pragma unroll
        for (int i = 0; i < CHUNKS; ++i) {
            const int column = Own::column(i);
            const bool inside = valid && column < cols;
            raw_x[i] = inside ? load16(x + at + column) : make_uint4(0, 0, 0, 0);
            raw_dy[i] = inside ? load16(dy + from + column) : make_uint4(0, 0, 0, 0);
            float v[8], d[8], gain[8] = {};
            unpack8(raw_x[i], v);
            unpack8(raw_dy[i], d);
            if (inside) {
                load8(g + column, gain);
            }
#pragma unroll
            for (int k = 0; k < 8; ++k) {
                // Outside, d is 0: nothing is added.
                const float xh = (v[k] - m) * r;
                dg[i][k] += d[k] * xh;
                db[i][k] += d[k];
                sum += d[k] * gain[k];
                sum_xh += d[k] * gain[k] * xh;
            }
        }
        const float mean_g = sum_over<LANES>(sum) / cols, mean_gx = sum_over<LANES>(sum_xh) / cols;
#pragma unroll
        for (int i = 0; i < CHUNKS; ++i) {
            const int column = Own::column(i);
            if (valid && column < cols) {
                float v[8], d[8], gain[8], out[8] = {};
                unpack8(raw_x[i], v);
                unpack8(raw_dy[i], d);
                load8(g + column, gain);
                if (accumulate) {
                    load8(dx + at + column, out);
                }
#pragma unroll
                for (int k = 0; k < 8; ++k) {
                    out[k] += r * (d[k] * gain[k] - mean_g - (v[k] - m) * r * mean_gx);
                }
                store8(dx + at + column, out);
            }
        }
    }
    float* part = parts + static_cast<size_t>(blockIdx.x) * 2 * cols;
    add_groups<LANES, CHUNKS>(dg, shared, part, cols);
    add_groups<LANES, CHUNKS>(db, shared, part + cols, cols);
}

#define INSTANCE(name, lanes, chunks)                                                                                        \
    KERNEL(layer_norm_forward_##name, THREADS)                                                                               \
    (const bf16* x, const float* g, const float* b, bf16* y, float* mean, float* rstd, int rows, int cols, int width) {      \
        forward<lanes, chunks>(x, g, b, y, mean, rstd, rows, cols, width);                                                   \
    }                                                                                                                        \
    REGISTER(layer_norm_forward_##name)                                                                                      \
    KERNEL(layer_norm_backward_##name, THREADS)                                                                              \
    (const bf16* dy, const bf16* x, const float* g, const float* mean, const float* rstd, bf16* dx, float* parts, int rows,  \
     int cols, int width, int accumulate) {                                                                                  \
        backward<lanes, chunks>(dy, x, g, mean, rstd, dx, parts, rows, cols, width, accumulate);                             \
    }                                                                                                                        \
    REGISTER(layer_norm_backward_##name)
// By the largest number of columns.
INSTANCE(32, 4, 1)
INSTANCE(64, 8, 1)
INSTANCE(128, 16, 1)
INSTANCE(256, 32, 1)
INSTANCE(512, 32, 2)
INSTANCE(1024, 32, 4)

// Any number of columns: a warp a row.
KERNEL(layer_norm_forward_any, THREADS)
(const bf16* x, const float* g, const float* b, bf16* y, float* mean, float* rstd, int rows, int cols, int width) {
    const int row = block() * (THREADS / 32) + warp();
    if (row >= rows) {
        return;
    }
    const size_t at = static_cast<size_t>(row) * cols;
    float sum = 0;
    for (int c = lane(); c < cols; c += 32) {
        sum += to_float(x[at + c]);
    }
    const float m = sum_over<32>(sum) / cols;
    float squares = 0;
    for (int c = lane(); c < cols; c += 32) {
        const float d = to_float(x[at + c]) - m;
        squares += d * d;
    }
    const float r = rsqrtf(sum_over<32>(squares) / cols + NORM_EPS);
    if (lane() == 0) {
        mean[row] = m;
        rstd[row] = r;
    }
    const size_t to = static_cast<size_t>(placed(row, width)) * cols;
    for (int c = lane(); c < cols; c += 32) {
        y[to + c] = to_bf16((to_float(x[at + c]) - m) * r * g[c] + b[c]);
    }
}
REGISTER(layer_norm_forward_any)

// dx alone.
KERNEL(layer_norm_backward_any, THREADS)
(const bf16* dy, const bf16* x, const float* g, const float* mean, const float* rstd, bf16* dx, int rows, int cols,
 int width, int accumulate) {
    const int row = block() * (THREADS / 32) + warp();
    if (row >= rows) {
        return;
    }
    const size_t at = static_cast<size_t>(row) * cols, from = static_cast<size_t>(placed(row, width)) * cols;
    const float m = mean[row], r = rstd[row];
    float sum = 0, sum_xh = 0;
    for (int c = lane(); c < cols; c += 32) {
        const float d = to_float(dy[from + c]) * g[c];
        sum += d;
        sum_xh += d * (to_float(x[at + c]) - m) * r;
    }
    const float mean_g = sum_over<32>(sum) / cols, mean_gx = sum_over<32>(sum_xh) / cols;
    for (int c = lane(); c < cols; c += 32) {
        const float xh = (to_float(x[at + c]) - m) * r;
        const float old = accumulate ? to_float(dx[at + c]) : 0;
        dx[at + c] = to_bf16(old + r * (to_float(dy[from + c]) * g[c] - mean_g - xh * mean_gx));
    }
}
REGISTER(layer_norm_backward_any)

// parts[gridDim.y, 2 C]: a thread a column, over every gridDim.y-th row.
KERNEL(layer_norm_backward_any_parameters, THREADS)
(const bf16* dy, const bf16* x, const float* mean, const float* rstd, float* parts, int rows, int cols, int width) {
    const int c = block() * THREADS + thread();
    if (c >= cols) {
        return;
    }
    float dg = 0, db = 0;
    for (int row = static_cast<int>(blockIdx.y); row < rows; row += static_cast<int>(gridDim.y)) {
        const float d = to_float(dy[static_cast<size_t>(placed(row, width)) * cols + c]);
        dg += d * (to_float(x[static_cast<size_t>(row) * cols + c]) - mean[row]) * rstd[row];
        db += d;
    }
    float* part = parts + static_cast<size_t>(blockIdx.y) * 2 * cols;
    part[c] = dg;
    part[cols + c] = db;
}
REGISTER(layer_norm_backward_any_parameters)
