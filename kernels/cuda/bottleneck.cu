// The inverted bottleneck of a ConvNeXt block for C = 32 and 64, forward and backward: nothing of width 4C leaves the chip.
//
//   n = (x - mean) rstd g + b,  z = n W1 + b1,  h = gelu(z),  y = skip + scale (h W2 + b2)
//
//   with dy the gradient of y:  dh = (scale dy) W2^T,  dz = dh gelu'(z),  dn = dz W1^T,  dx from dn as in layer_norm.cu
//   dW1 = n^T dz,  db1 = sum of dz,  dW2 = scale h^T dy,  db2 = scale sum of dy,
//   dscale = sum of dy (h W2 + b2) = column sums of W2 (h^T dy), plus b2 sum of dy
//   dg = sum of dn (x - mean) rstd,  db = sum of dn                                        (sums over rows)
//
// x, skip, y, dy, dx: bf16 [R,C]. W1: bf16 [C,4C], W2: bf16 [4C,C]. Vectors and all gradients of parameters: fp32.
//
// One after another these layers move 19 R C bf16 forward and 35 R C backward; here it is 3 and 3. So the backward pass
// computes z again instead of reading it, and what bounds both is arithmetic: tensor cores, and an exponential and a quotient for
// each of 4 R C.
//
//   forward   a warp is 32 rows, from the load to the store in registers: normalised rows are the A fragments of the first
//             product, whose result is after GELU those of the second. Weights wait in shared memory; warps never meet.
//   backward  a block is ROWS rows at a time; a warp is 32 of the 4C hidden columns, and computes z and dz transposed, [hidden, row]:
//             so they are the A fragments of dW1^T and dW2, which stay in the warp's registers over all rows that the block
//             ever sees. dz also goes to shared memory, for dn sums over all warps. The next rows arrive meanwhile.
//             A block leaves one row of parts[blocks, 8CC + 8C]: dW1, dW2, db1, db2, dscale, dg, db; reduce.cu adds them up.
//
// Channels have no order in a product, so those of the forward pass lie such that a lane's are 8 neighbours (`slot`).
//
// Precision: n, h, dz and scale W2 are rounded to bf16 before the products that read them; z, dh and all sums are fp32; y and dx
// are rounded once.
#include "device.cuh"

// 1 / deviation of a row of C channels, of which each of LANES neighbours has N; takes the mean from them.
template <int C, int LANES, int N>
INLINE float centre(float (&values)[N], float& mean) {
    static_assert(LANES * N == C, "every channel is somebody's");
    float sum = 0, squares = 0;
#pragma unroll
    for (int k = 0; k < N; ++k) {
        sum += values[k];
    }
    mean = sum_over<LANES>(sum) / C;
#pragma unroll
    for (int k = 0; k < N; ++k) {
        values[k] -= mean;
        squares = fmaf(values[k], values[k], squares);
    }
    return rsqrtf(sum_over<LANES>(squares) / C + NORM_EPS);
}

// ---- forward ---------------------------------------------------------------------------------------------------------

constexpr int FORWARD_WARPS = 4;

// Where channels 8 v + 2 pair and the next lie among the columns of a product, for v < C / 8: lane q of a row holds those with
// v % 4 = q, as fragments hold columns 2 q, 2 q + 1 of every eight.
INLINE int slot(int v, int pair) { return v / 4 * 32 + pair * 8 + v % 4 * 2; }

template <int C>
INLINE void forward(const bf16* x, const bf16* skip, const float* g, const float* b, const bf16* w1, const float* b1, const bf16* w2,
                    const float* b2, const float* scale, bf16* y, int rows) {
    constexpr int HIDDEN = 4 * C, THREADS = 32 * FORWARD_WARPS, STEPS = C / 16, VECTORS = C / 32;
    constexpr int EXPAND = HIDDEN + 8, CONTRACT = C + 8;
    CARVING;
    CARVE(bf16, expand, C * EXPAND);
    CARVE(bf16, contract, HIDDEN * CONTRACT);
    CARVE(float, gain, C);
    CARVE(float, shift, C);
    CARVE(float, bias, HIDDEN);
    CARVE(float, end_bias, C);
    CARVE(float, end_scale, C);
    for (int i = thread(); i < C * HIDDEN / 8; i += THREADS) {
        const int row = i / (HIDDEN / 8), column = i % (HIDDEN / 8) * 8;
        const int to = slot(row / 8, row % 8 / 2) + row % 2;
        store16(expand + to * EXPAND + column, load16(w1 + row * HIDDEN + column));
    }
    for (int i = thread(); i < HIDDEN * C / 8; i += THREADS) {
        const int row = i / (C / 8), v = i % (C / 8);
        const uint4 eight = load16(w2 + row * C + v * 8);
        bf16* to = contract + row * CONTRACT;
        store2(to + slot(v, 0), eight.x);
        store2(to + slot(v, 1), eight.y);
        store2(to + slot(v, 2), eight.z);
        store2(to + slot(v, 3), eight.w);
    }
    for (int i = thread(); i < HIDDEN; i += THREADS) {
        bias[i] = b1[i];
        if (i < C) {
            gain[i] = g[i], shift[i] = b[i], end_bias[i] = b2[i], end_scale[i] = scale[i];
        }
    }
    __syncthreads();

    const int q = lane() % 4, own = lane() / 4;
    for (int from = (block() * FORWARD_WARPS + warp()) * 32; from < rows;
         from += static_cast<int>(gridDim.x) * FORWARD_WARPS * 32) {
        // Normalised rows own + 8 r of the strip of 16 `m`.
        unsigned n[2][STEPS][4];
#pragma unroll
        for (int m = 0; m < 2; ++m) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                const int row = from + m * 16 + r * 8 + own;
                float values[VECTORS * 8], mean;
#pragma unroll
                for (int v = 0; v < VECTORS; ++v) {
                    const bf16* at = x + static_cast<size_t>(row) * C + v * 32 + q * 8;
                    float eight[8];
                    unpack8(row < rows ? load16(at) : make_uint4(0, 0, 0, 0), eight);
#pragma unroll
                    for (int k = 0; k < 8; ++k) {
                        values[v * 8 + k] = eight[k];
                    }
                }
                const float rstd = centre<C, 4>(values, mean);
#pragma unroll
                for (int v = 0; v < VECTORS; ++v) {
                    float gains[8], shifts[8];
                    load8(gain + v * 32 + q * 8, gains);
                    load8(shift + v * 32 + q * 8, shifts);
#pragma unroll
                    for (int k = 0; k < 8; k += 2) {
                        const float* two = values + v * 8 + k;
                        n[m][v * 2 + k / 4][k / 2 % 2 * 2 + r] = pair(fmaf(two[0] * rstd, gains[k], shifts[k]),
                                                                      fmaf(two[1] * rstd, gains[k + 1], shifts[k + 1]));
                    }
                }
            }
        }
        float out[2][STEPS * 2][4] = {};
#pragma unroll 1
        for (int hidden = 0; hidden < HIDDEN; hidden += 16) {
            float z[2][2][4];
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const float2 start = *reinterpret_cast<const float2*>(bias + hidden + half * 8 + q * 2);
#pragma unroll
                for (int m = 0; m < 2; ++m) {
                    z[m][half][0] = z[m][half][2] = start.x;
                    z[m][half][1] = z[m][half][3] = start.y;
                }
            }
#pragma unroll
            for (int s = 0; s < STEPS; ++s) {
                unsigned w[4];
                load_b<false>(w, expand, EXPAND, s * 16, hidden);
#pragma unroll
                for (int m = 0; m < 2; ++m) {
                    mma(z[m][0], n[m][s], w[0], w[1]);
                    mma(z[m][1], n[m][s], w[2], w[3]);
                }
            }
            unsigned h[2][4];
#pragma unroll
            for (int m = 0; m < 2; ++m) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const float* two = z[m][i / 2] + i % 2 * 2;
                    h[m][i] = pair(gelu(two[0]).value, gelu(two[1]).value);
                }
            }
#pragma unroll
            for (int s = 0; s < STEPS; ++s) {
                unsigned w[4];
                load_b<false>(w, contract, CONTRACT, hidden, s * 16);
#pragma unroll
                for (int m = 0; m < 2; ++m) {
                    mma(out[m][s * 2], h[m], w[0], w[1]);
                    mma(out[m][s * 2 + 1], h[m], w[2], w[3]);
                }
            }
        }
#pragma unroll
        for (int m = 0; m < 2; ++m) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                const int row = from + m * 16 + r * 8 + own;
                if (row < rows) {
#pragma unroll
                    for (int v = 0; v < VECTORS; ++v) {
                        const int c = v * 32 + q * 8;
                        const size_t at = static_cast<size_t>(row) * C + c;
                        float values[8], scales[8], biases[8];
                        load8(skip + at, values);
                        load8(end_scale + c, scales);
                        load8(end_bias + c, biases);
#pragma unroll
                        for (int k = 0; k < 8; ++k) {
                            values[k] = fmaf(scales[k], out[m][v * 4 + k / 2][r * 2 + k % 2] + biases[k], values[k]);
                        }
                        store8(y + at, values);
                    }
                }
            }
        }
    }
}

// ---- backward --------------------------------------------------------------------------------------------------------

// Starts copying rows first.. to shared memory; zeros after the last.
template <int C, int ROWS>
INLINE void fetch(bf16* to, const bf16* from, int first, int rows) {
    constexpr int VECTORS = C / 8, THREADS = 4 * C, PITCH = C + 8;
#pragma unroll
    for (int i = thread(); i < ROWS * VECTORS; i += THREADS) {
        const int row = i / VECTORS, column = i % VECTORS * 8;
        if (first + row < rows) {
            copy_async16(to + row * PITCH + column, from + static_cast<size_t>(first + row) * C + column);
        } else {
            store16(to + row * PITCH + column, make_uint4(0, 0, 0, 0));
        }
    }
}

// dx of rows first.. from dn; a row is C / 8 lanes.
template <int C, int ROWS>
INLINE void input_gradient(bf16* dx, const bf16* x, const float* dn, const float* g, const float* means, const float* rstds, int first,
                           int rows) {
    constexpr int LANES = C / 8, THREADS = 4 * C, PITCH = C + 8, FLAT = C + 8;
    const int c = thread() % LANES * 8;
#pragma unroll
    for (int row = thread() / LANES; row < ROWS; row += THREADS / LANES) {
        float values[8], d[8], gains[8], sum = 0, sum_xh = 0;
        load8(x + row * PITCH + c, values);
        load8(g + c, gains);
        load8(dn + row * FLAT + c, d);
        const float mean = means[row], rstd = rstds[row];
#pragma unroll
        for (int k = 0; k < 8; ++k) {
            values[k] = (values[k] - mean) * rstd;
            d[k] *= gains[k];
            sum += d[k];
            sum_xh = fmaf(d[k], values[k], sum_xh);
        }
        const float mean_d = sum_over<LANES>(sum) / C, mean_dxh = sum_over<LANES>(sum_xh) / C;
        if (first + row < rows) {
#pragma unroll
            for (int k = 0; k < 8; ++k) {
                d[k] = rstd * (d[k] - mean_d - values[k] * mean_dxh);
            }
            store8(dx + static_cast<size_t>(first + row) * C + c, d);
        }
    }
}

// The block's row of parts, in the order that the head of this file gives. Sums of dy, for dg and for db of each group of rows are in
// by_group; column sums of W2 (h^T dy) of each warp go to by_warp.
template <int C, int GROUPS>
INLINE void leave(float* parts, const float (&dw1)[2][C / 8][4], const float (&dw2)[2][C / 8][4], const float (&db1)[2][2],
                  const bf16* w2, const float* b2, const float* scale, float* by_warp, const float* by_group) {
    constexpr int HIDDEN = 4 * C, WARPS = HIDDEN / 32;
    float* part = parts + static_cast<size_t>(block()) * (2 * C * HIDDEN + HIDDEN + 4 * C);
    float* const part_dw2 = part + C * HIDDEN;
    float* const part_db1 = part_dw2 + C * HIDDEN;
    float* const vectors = part_db1 + HIDDEN;
    const int q = lane() % 4, own = lane() / 4, first_hidden = warp() * 32;
#pragma unroll
    for (int t = 0; t < C / 8; ++t) {
        const int at = t * 8 + q * 2;
        float2 column_sum = make_float2(0, 0);
#pragma unroll
        for (int m = 0; m < 2; ++m) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                const int hidden = first_hidden + m * 16 + r * 8 + own;
                const float2 w = load2(w2 + hidden * C + at), sum = make_float2(dw2[m][t][r * 2], dw2[m][t][r * 2 + 1]);
                column_sum.x = fmaf(w.x, sum.x, column_sum.x);
                column_sum.y = fmaf(w.y, sum.y, column_sum.y);
                *reinterpret_cast<float2*>(part_dw2 + hidden * C + at) = make_float2(scale[at] * sum.x, scale[at + 1] * sum.y);
                part[at * HIDDEN + hidden] = dw1[m][t][r * 2];
                part[(at + 1) * HIDDEN + hidden] = dw1[m][t][r * 2 + 1];
            }
        }
        // Over the lanes with the same columns.
#pragma unroll
        for (int lanes = 4; lanes < 32; lanes *= 2) {
            column_sum.x += __shfl_xor_sync(ALL_LANES, column_sum.x, lanes);
            column_sum.y += __shfl_xor_sync(ALL_LANES, column_sum.y, lanes);
        }
        if (own == 0) {
            *reinterpret_cast<float2*>(by_warp + warp() * C + at) = column_sum;
        }
    }
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
            const float sum = sum_over<4>(db1[m][r]);
            if (q == 0) {
                part_db1[first_hidden + m * 16 + r * 8 + own] = sum;
            }
        }
    }
    __syncthreads();
    if (thread() < C) {
        float sums[3] = {}, through_w2 = 0;
        for (int other = 0; other < GROUPS; ++other) {
#pragma unroll
            for (int i = 0; i < 3; ++i) {
                sums[i] += by_group[(other * 3 + i) * C + thread()];
            }
        }
        for (int other = 0; other < WARPS; ++other) {
            through_w2 += by_warp[other * C + thread()];
        }
        float* to = vectors + thread();
        to[0] = scale[thread()] * sums[0];
        to[C] = fmaf(b2[thread()], sums[0], through_w2);
        to[2 * C] = sums[1];
        to[3 * C] = sums[2];
    }
}

template <int C, int ROWS>
INLINE void backward(const bf16* dy, const bf16* x, const float* g, const float* b, const bf16* w1, const float* b1, const bf16* w2,
                     const float* b2, const float* scale, bf16* dx, float* parts, int rows) {
    constexpr int HIDDEN = 4 * C, THREADS = HIDDEN, WARPS = THREADS / 32, STEPS = C / 16;
    constexpr int PITCH = C + 8, EXPAND = HIDDEN + 8, ACROSS = ROWS + 8, FLAT = C + 8;
    CARVING;
    CARVE(bf16, xs, 2 * ROWS * PITCH);
    CARVE(bf16, dys, 2 * ROWS * PITCH);
    CARVE(bf16, normalised, ROWS * PITCH);
    CARVE(bf16, expand, C * EXPAND);
    CARVE(bf16, dz, HIDDEN * ACROSS);
    CARVE(float, dn, ROWS * FLAT);
    CARVE(float, means, ROWS);
    CARVE(float, rstds, ROWS);
    const int q = lane() % 4, own = lane() / 4, first_hidden = warp() * 32;

    for (int i = thread(); i < C * HIDDEN / 8; i += THREADS) {
        const int row = i / (HIDDEN / 8), column = i % (HIDDEN / 8) * 8;
        store16(expand + row * EXPAND + column, load16(w1 + row * HIDDEN + column));
    }
    // scale W2, the A fragments of dh^T = (scale W2) dy^T. There are registers for those of 48 channels; the last ones wait in
    // shared memory.
    constexpr int KEPT = STEPS < 3 ? STEPS : 3;
    CARVE(uint4, last, (STEPS - KEPT) * 2 * THREADS);
    uint4 contract[2][KEPT];
#pragma unroll
    for (int m = 0; m < 2; ++m) {
#pragma unroll
        for (int s = 0; s < STEPS; ++s) {
            unsigned fragment[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int hidden = first_hidden + m * 16 + i % 2 * 8 + own, c = s * 16 + i / 2 * 8 + q * 2;
                const float2 w = load2(w2 + hidden * C + c);
                fragment[i] = pair(w.x * scale[c], w.y * scale[c + 1]);
            }
            (s < KEPT ? contract[m][min(s, KEPT - 1)] : last[m * THREADS + thread()]) =
                make_uint4(fragment[0], fragment[1], fragment[2], fragment[3]);
        }
    }
    const int step = static_cast<int>(gridDim.x) * ROWS;
    int first = block() * ROWS;
    if (first < rows) {
        fetch<C, ROWS>(xs, x, first, rows);
        fetch<C, ROWS>(dys, dy, first, rows);
    }
    float dw1[2][STEPS * 2][4] = {}, dw2[2][STEPS * 2][4] = {}, db1[2][2] = {};
    // Of channels 2 (thread % (C / 2)) and the next, over every GROUPS-th row.
    constexpr int GROUPS = THREADS / (C / 2);
    const int column = thread() % (C / 2) * 2, group = thread() / (C / 2);
    float2 sum_dy = make_float2(0, 0), dgain = make_float2(0, 0), dshift = make_float2(0, 0);

    for (int turn = 0; first < rows; first += step, turn ^= 1) {
        const bf16* now_x = xs + turn * ROWS * PITCH;
        const bf16* now_dy = dys + turn * ROWS * PITCH;
        wait_copies();
        // All of these rows are there, and nobody reads the ones before any more.
        __syncthreads();
        if (first + step < rows) {
            fetch<C, ROWS>(xs + (turn ^ 1) * ROWS * PITCH, x, first + step, rows);
            fetch<C, ROWS>(dys + (turn ^ 1) * ROWS * PITCH, dy, first + step, rows);
        }
        // n: a row is C / 8 lanes.
        constexpr int LANES = C / 8;
        const int c = thread() % LANES * 8;
#pragma unroll
        for (int row = thread() / LANES; row < ROWS; row += THREADS / LANES) {
            float values[8], gains[8], shifts[8], mean;
            load8(now_x + row * PITCH + c, values);
            load8(g + c, gains);
            load8(b + c, shifts);
            const float rstd = centre<C, LANES>(values, mean);
#pragma unroll
            for (int k = 0; k < 8; ++k) {
                values[k] = fmaf(values[k] * rstd, gains[k], shifts[k]);
            }
            store8(normalised + row * PITCH + c, values);
            if (c == 0) {
                means[row] = mean;
                rstds[row] = rstd;
            }
        }
        __syncthreads();

        // Sixteen rows at a time: z and dh, then dz, and what they add to dW1 and dW2.
#pragma unroll 1
        for (int strip = 0; strip < ROWS; strip += 16) {
            float z[2][2][4], dh[2][2][4] = {};
#pragma unroll
            for (int i = 0; i < 16; ++i) {
                z[i / 8][i / 4 % 2][i % 4] = b1[first_hidden + i / 8 * 16 + i % 4 / 2 * 8 + own];
            }
#pragma unroll
            for (int s = 0; s < STEPS; ++s) {
                unsigned across[4];
                load_b<true>(across, normalised, PITCH, s * 16, strip);
#pragma unroll
                for (int m = 0; m < 2; ++m) {
                    unsigned w[4];
                    load_a<true>(w, expand, EXPAND, first_hidden + m * 16, s * 16);
                    mma(z[m][0], w, across[0], across[1]);
                    mma(z[m][1], w, across[2], across[3]);
                }
                load_b<true>(across, now_dy, PITCH, s * 16, strip);
#pragma unroll
                for (int m = 0; m < 2; ++m) {
                    const uint4 four = s < KEPT ? contract[m][min(s, KEPT - 1)] : last[m * THREADS + thread()];
                    const unsigned w[4] = {four.x, four.y, four.z, four.w};
                    mma(dh[m][0], w, across[0], across[1]);
                    mma(dh[m][1], w, across[2], across[3]);
                }
            }
            unsigned h[2][4], d[2][4];
#pragma unroll
            for (int m = 0; m < 2; ++m) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    // Two rows of one hidden column, as they lie in the fragments of a result and of an operand alike.
                    const float* two = z[m][i / 2] + i % 2 * 2;
                    const float* grads = dh[m][i / 2] + i % 2 * 2;
                    const Gelu at = gelu(two[0]), next = gelu(two[1]);
                    const float dz_at = grads[0] * at.slope, dz_next = grads[1] * next.slope;
                    db1[m][i % 2] += dz_at + dz_next;
                    h[m][i] = pair(at.value, next.value);
                    d[m][i] = pair(dz_at, dz_next);
                    const int hidden = first_hidden + m * 16 + i % 2 * 8 + own;
                    store2(dz + hidden * ACROSS + strip + i / 2 * 8 + q * 2, d[m][i]);
                }
            }
#pragma unroll
            for (int s = 0; s < STEPS; ++s) {
                unsigned along[4];
                load_b<false>(along, now_dy, PITCH, strip, s * 16);
#pragma unroll
                for (int m = 0; m < 2; ++m) {
                    mma(dw2[m][s * 2], h[m], along[0], along[1]);
                    mma(dw2[m][s * 2 + 1], h[m], along[2], along[3]);
                }
                load_b<false>(along, normalised, PITCH, strip, s * 16);
#pragma unroll
                for (int m = 0; m < 2; ++m) {
                    mma(dw1[m][s * 2], d[m], along[0], along[1]);
                    mma(dw1[m][s * 2 + 1], d[m], along[2], along[3]);
                }
            }
        }
        __syncthreads();

        // dn: a warp has sixteen of the rows, and the columns are shared by those that have the same.
        constexpr int SHARERS = WARPS / (ROWS / 16), COLUMNS = C / SHARERS;
        const int strip = warp() / SHARERS * 16, from = warp() % SHARERS * COLUMNS;
        float sums[COLUMNS / 8][4] = {};
#pragma unroll 2
        for (int hidden = 0; hidden < HIDDEN; hidden += 16) {
            unsigned a[4];
            load_a<true>(a, dz, ACROSS, strip, hidden);
#pragma unroll
            for (int n = 0; n < COLUMNS; n += 16) {
                unsigned w[4];
                load_b<true>(w, expand, EXPAND, hidden, from + n);
                mma(sums[n / 8], a, w[0], w[1]);
                mma(sums[n / 8 + 1], a, w[2], w[3]);
            }
        }
#pragma unroll
        for (int n = 0; n < COLUMNS / 8; ++n) {
#pragma unroll
            for (int r = 0; r < 2; ++r) {
                float* to = dn + (strip + r * 8 + own) * FLAT + from + n * 8 + q * 2;
                *reinterpret_cast<float2*>(to) = make_float2(sums[n][r * 2], sums[n][r * 2 + 1]);
            }
        }
        __syncthreads();

        input_gradient<C, ROWS>(dx, now_x, dn, g, means, rstds, first, rows);
        // Sums over rows, a thread two columns. Rows after the last have dy = 0, and so dn = 0.
#pragma unroll 2
        for (int row = group; row < ROWS; row += GROUPS) {
            const float2 d = *reinterpret_cast<const float2*>(dn + row * FLAT + column);
            const float2 value = load2(now_x + row * PITCH + column), dy2 = load2(now_dy + row * PITCH + column);
            const float mean = means[row], rstd = rstds[row];
            sum_dy.x += dy2.x, sum_dy.y += dy2.y;
            dshift.x += d.x, dshift.y += d.y;
            dgain.x = fmaf(d.x, (value.x - mean) * rstd, dgain.x);
            dgain.y = fmaf(d.y, (value.y - mean) * rstd, dgain.y);
        }
    }

    __syncthreads();
    // Where dn and dz were.
    static_assert(WARPS * C <= ROWS * FLAT && 3 * GROUPS * C * 2 <= HIDDEN * ACROSS, "the last sums fit where they wait");
    float* const by_group = reinterpret_cast<float*>(dz) + group * 3 * C + column;
    *reinterpret_cast<float2*>(by_group) = sum_dy;
    *reinterpret_cast<float2*>(by_group + C) = dgain;
    *reinterpret_cast<float2*>(by_group + 2 * C) = dshift;
    leave<C, GROUPS>(parts, dw1, dw2, db1, w2, b2, scale, dn, reinterpret_cast<float*>(dz));
}

// ---- kernels ---------------------------------------------------------------------------------------------------------

#define INSTANCE(c, rows_at_once)                                                                                               \
    KERNEL(bottleneck_forward_##c, 32 * FORWARD_WARPS)                                                                         \
    (const bf16* x, const bf16* skip, const float* g, const float* b, const bf16* w1, const float* b1, const bf16* w2,         \
     const float* b2, const float* scale, bf16* y, int rows) {                                                                 \
        forward<c>(x, skip, g, b, w1, b1, w2, b2, scale, y, rows);                                                             \
    }                                                                                                                          \
    REGISTER(bottleneck_forward_##c)                                                                                           \
    KERNEL(bottleneck_backward_##c, 4 * c, 1)                                                                                  \
    (const bf16* dy, const bf16* x, const float* g, const float* b, const bf16* w1, const float* b1, const bf16* w2,           \
     const float* b2, const float* scale, bf16* dx, float* parts, int rows) {                                                  \
        backward<c, rows_at_once>(dy, x, g, b, w1, b1, w2, b2, scale, dx, parts, rows);                                        \
    }                                                                                                                          \
    REGISTER(bottleneck_backward_##c)
// Rows at once of a backward pass: what fits 99 KiB of shared memory.
INSTANCE(32, 64)
INSTANCE(64, 32)
