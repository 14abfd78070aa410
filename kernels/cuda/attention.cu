// Causal self-attention over packed QKV for T <= 32 and head sizes 32, 64 and 128, forward and backward.
//
//   S = Q K^T / sqrt(HS), causal;  P = softmax(S);  O = P V
//   dP = dO V^T;  dS = P (dP - rowsum(P dP)) / sqrt(HS);  dQ = dS K;  dK = dS^T Q;  dV = P^T dO
//
// qkv, dqkv: bf16 [B,T,3,NH,HS]. y, dy: bf16 [B,T,NH*HS]. Nothing else is kept: the backward pass computes P again, which at this
// length is cheaper than reading it.
//
// A block is one (sequence, head): the whole problem fits in its shared memory, so the softmax is plain and nothing is tiled.
// Products are mma.m16n8k16; a row of S lies in four neighbouring lanes. Rows of shared matrices are padded by 16 bytes, so that
// the eight rows of an ldmatrix lie in different banks. Rows T..32 are zero, and never stored.
//
//   forward   2 warps, 16 queries each
//   backward  4 warps: 16 queries (then 16 keys) x half of the head. Both warps of 16 queries compute their S and dP.
//
// Precision: products of bf16 in fp32; P and dS are rounded to bf16 before the products that read them; y and dqkv once at the end.
#include "device.cuh"

constexpr int T = 32;
constexpr int STRIP = 16;

// Columns of a padded row in shared memory.
template <int HS>
constexpr int PITCH = HS + 8;
// And of a padded T x T matrix.
constexpr int SQUARE = T + 8;

// Starts copying rows 0..t of from[t, HS] (`stride` elements apart) to shared memory, and clears the others.
template <int HS, int THREADS>
INLINE void fetch(bf16* to, const bf16* from, int t, size_t stride) {
    constexpr int VECTORS = HS / 8;
    for (int i = thread(); i < T * VECTORS; i += THREADS) {
        const int row = i / VECTORS, column = i % VECTORS * 8;
        if (row < t) {
            copy_async16(to + row * PITCH<HS> + column, from + row * stride + column);
        } else {
            store16(to + row * PITCH<HS> + column, make_uint4(0, 0, 0, 0));
        }
    }
}

// Rows 0..t of shared memory to global memory.
template <int HS, int THREADS>
INLINE void put(bf16* to, const bf16* from, int t, size_t stride) {
    constexpr int VECTORS = HS / 8;
    for (int i = thread(); i < t * VECTORS; i += THREADS) {
        const int row = i / VECTORS, column = i % VECTORS * 8;
        store16(to + row * stride + column, load16(from + row * PITCH<HS> + column));
    }
}

// s[16, 32] = a[row.., HS] @ b[32, HS]^T, without the columns above the diagonal's tiles.
template <int HS>
INLINE void scores(float (&s)[4][4], const bf16* a, const bf16* b, int row) {
#pragma unroll
    for (int k = 0; k < HS; k += 16) {
        unsigned fa[4];
        load_a<false>(fa, a, PITCH<HS>, row, k);
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            if (half * STRIP <= row) {
                unsigned fb[4];
                load_b<true>(fb, b, PITCH<HS>, k, half * STRIP);
                mma(s[half * 2], fa, fb[0], fb[1]);
                mma(s[half * 2 + 1], fa, fb[2], fb[3]);
            }
        }
    }
}

// Element i of tile `n` of a [16, 32] fragment: its row below `row`, and its column.
INLINE int row_of(int i) { return lane() / 4 + i / 2 * 8; }
INLINE int column_of(int n, int i) { return n * 8 + lane() % 4 * 2 + i % 2; }

// The causal softmax of s / sqrt(HS) by rows, in place.
template <int HS>
INLINE void softmax(float (&s)[4][4], int row) {
    const float scale = rsqrtf(static_cast<float>(HS));
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float largest = -INFINITY, total = 0;
#pragma unroll
        for (int n = 0; n < 4; ++n) {
#pragma unroll
            for (int i = half * 2; i < half * 2 + 2; ++i) {
                s[n][i] = column_of(n, i) <= row + row_of(i) ? s[n][i] * scale : -INFINITY;
                largest = fmaxf(largest, s[n][i]);
            }
        }
        largest = max_over<4>(largest);
#pragma unroll
        for (int n = 0; n < 4; ++n) {
#pragma unroll
            for (int i = half * 2; i < half * 2 + 2; ++i) {
                s[n][i] = __expf(s[n][i] - largest);
                total += s[n][i];
            }
        }
        const float share = 1 / sum_over<4>(total);
#pragma unroll
        for (int n = 0; n < 4; ++n) {
            s[n][half * 2] *= share;
            s[n][half * 2 + 1] *= share;
        }
    }
}

// The A fragment of columns k..k+16 of a [16, 32] result: accumulators and operands share one layout.
INLINE void as_operand(unsigned (&a)[4], const float (&s)[4][4], int k) {
    const int n = k / 8;
    a[0] = pair(s[n][0], s[n][1]);
    a[1] = pair(s[n][2], s[n][3]);
    a[2] = pair(s[n + 1][0], s[n + 1][1]);
    a[3] = pair(s[n + 1][2], s[n + 1][3]);
}

// The result's pairs to rows row.. and columns column.. of a matrix in shared memory.
template <int N>
INLINE void store(bf16* to, int pitch, const float (&c)[N][4], int row, int column) {
#pragma unroll
    for (int n = 0; n < N; ++n) {
#pragma unroll
        for (int i = 0; i < 4; i += 2) {
            const int at = (row + row_of(i)) * pitch + column + column_of(n, i);
            store2(to + at, pair(c[n][i], c[n][i + 1]));
        }
    }
}

template <int HS>
INLINE void forward(const bf16* qkv, bf16* y, int t, int heads) {
    constexpr int THREADS = 64;
    SHARED(bf16, q, T * PITCH<HS>);
    SHARED(bf16, k, T * PITCH<HS>);
    SHARED(bf16, v, T * PITCH<HS>);
    const size_t width = static_cast<size_t>(heads) * HS;
    const int sequence = block() / heads, head = block() % heads;
    const bf16* own = qkv + sequence * t * 3 * width + head * HS;
    fetch<HS, THREADS>(q, own, t, 3 * width);
    fetch<HS, THREADS>(k, own + width, t, 3 * width);
    fetch<HS, THREADS>(v, own + 2 * width, t, 3 * width);
    wait_copies();
    __syncthreads();

    const int row = warp() * STRIP;
    float s[4][4] = {};
    scores<HS>(s, q, k, row);
    softmax<HS>(s, row);
    float out[HS / 8][4] = {};
#pragma unroll
    for (int j = 0; j < T; j += 16) {
        if (j <= row) {
            unsigned p[4];
            as_operand(p, s, j);
#pragma unroll
            for (int c = 0; c < HS; c += 16) {
                unsigned fb[4];
                load_b<false>(fb, v, PITCH<HS>, j, c);
                mma(out[c / 8], p, fb[0], fb[1]);
                mma(out[c / 8 + 1], p, fb[2], fb[3]);
            }
        }
    }
    // A warp alone reads its rows of q, and has: they take its rows of y.
    __syncwarp();
    store(q, PITCH<HS>, out, row, 0);
    __syncthreads();
    put<HS, THREADS>(y + sequence * t * width + head * HS, q, t, width);
}

template <int HS>
INLINE void backward(const bf16* dy, const bf16* qkv, bf16* dqkv, int t, int heads) {
    constexpr int THREADS = 128, HALF = HS / 2;
    SHARED(bf16, q, T * PITCH<HS>);
    SHARED(bf16, k, T * PITCH<HS>);
    SHARED(bf16, v, T * PITCH<HS>);
    SHARED(bf16, dout, T * PITCH<HS>);
    SHARED(bf16, p, T * SQUARE);
    SHARED(bf16, ds, T * SQUARE);
    const size_t width = static_cast<size_t>(heads) * HS;
    const int sequence = block() / heads, head = block() % heads;
    const size_t at = sequence * t * 3 * width + head * HS;
    fetch<HS, THREADS>(q, qkv + at, t, 3 * width);
    fetch<HS, THREADS>(k, qkv + at + width, t, 3 * width);
    fetch<HS, THREADS>(v, qkv + at + 2 * width, t, 3 * width);
    fetch<HS, THREADS>(dout, dy + sequence * t * width + head * HS, t, width);
    wait_copies();
    __syncthreads();

    const int row = warp() % 2 * STRIP, column = warp() / 2 * HALF;
    const float scale = rsqrtf(static_cast<float>(HS));
    float s[4][4] = {}, dp[4][4] = {};
    scores<HS>(s, q, k, row);
    softmax<HS>(s, row);
    scores<HS>(dp, dout, v, row);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float dot = 0;
#pragma unroll
        for (int n = 0; n < 4; ++n) {
            dot += s[n][half * 2] * dp[n][half * 2] + s[n][half * 2 + 1] * dp[n][half * 2 + 1];
        }
        dot = sum_over<4>(dot);
#pragma unroll
        for (int n = 0; n < 4; ++n) {
#pragma unroll
            for (int i = half * 2; i < half * 2 + 2; ++i) {
                dp[n][i] = s[n][i] * (dp[n][i] - dot) * scale;
            }
        }
    }
    if (column == 0) {
        store(p, SQUARE, s, row, 0);
        store(ds, SQUARE, dp, row, 0);
    }

    float dq[HALF / 8][4] = {}, dk[HALF / 8][4] = {}, dv[HALF / 8][4] = {};
#pragma unroll
    for (int j = 0; j < T; j += 16) {
        if (j <= row) {
            unsigned fa[4];
            as_operand(fa, dp, j);
#pragma unroll
            for (int c = 0; c < HALF; c += 16) {
                unsigned fb[4];
                load_b<false>(fb, k, PITCH<HS>, j, column + c);
                mma(dq[c / 8], fa, fb[0], fb[1]);
                mma(dq[c / 8 + 1], fa, fb[2], fb[3]);
            }
        }
    }
    __syncthreads();
    // Keys row.. are seen by queries from `row` on.
#pragma unroll
    for (int i = 0; i < T; i += 16) {
        if (i >= row) {
            unsigned fp[4], fs[4];
            load_a<true>(fp, p, SQUARE, row, i);
            load_a<true>(fs, ds, SQUARE, row, i);
#pragma unroll
            for (int c = 0; c < HALF; c += 16) {
                unsigned fb[4];
                load_b<false>(fb, dout, PITCH<HS>, i, column + c);
                mma(dv[c / 8], fp, fb[0], fb[1]);
                mma(dv[c / 8 + 1], fp, fb[2], fb[3]);
                load_b<false>(fb, q, PITCH<HS>, i, column + c);
                mma(dk[c / 8], fs, fb[0], fb[1]);
                mma(dk[c / 8 + 1], fs, fb[2], fb[3]);
            }
        }
    }
    // Everything has been read: the inputs' places take the gradients, to be stored in whole rows.
    __syncthreads();
    store(q, PITCH<HS>, dq, row, column);
    store(k, PITCH<HS>, dk, row, column);
    store(v, PITCH<HS>, dv, row, column);
    __syncthreads();
    put<HS, THREADS>(dqkv + at, q, t, 3 * width);
    put<HS, THREADS>(dqkv + at + width, k, t, 3 * width);
    put<HS, THREADS>(dqkv + at + 2 * width, v, t, 3 * width);
}

#define INSTANCE(head_size)                                                                               \
    KERNEL(attention_forward_##head_size, 64)(const bf16* qkv, bf16* y, int t, int heads) {               \
        forward<head_size>(qkv, y, t, heads);                                                             \
    }                                                                                                     \
    REGISTER(attention_forward_##head_size)                                                               \
    KERNEL(attention_backward_##head_size, 128)                                                           \
    (const bf16* dy, const bf16* qkv, bf16* dqkv, int t, int heads) {                                     \
        backward<head_size>(dy, qkv, dqkv, t, heads);                                                     \
    }                                                                                                     \
    REGISTER(attention_backward_##head_size)
INSTANCE(32)
INSTANCE(64)
INSTANCE(128)
