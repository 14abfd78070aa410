// Depthwise 7x7 convolution, channels last, zero padding of 3: forward, backward to the data, backward to the taps.
//
//   y[n,h,w,c] = b[c] + sum over ky,kx of x[n,h+ky-3,w+kx-3,c] w[ky*7+kx,c]
//   dx: the same with the taps read backwards and no bias; added to what is there where `accumulate` (the residual stream)
//   dw[ky*7+kx,c] = sum of dy[n,h,w,c] x[n,h+ky-3,w+kx-3,c];  db = sum of dy
//
// x, y, dy, dx: bf16 [N,H,W,C]. w, b and their gradients: fp32 [49,C], [C].
//
// 24 FLOP a byte: bound by arithmetic, so what counts is multiplications for each load from shared memory. A block holds a tile
// of one image, 32 channels deep (64 bytes a pixel), with its border of 3 in shared memory; a thread owns two channels.
//
//   forward   a thread computes COLUMNS x 2 outputs in registers: of each of 8 input rows it loads COLUMNS + 6 pixels once and
//             multiplies them with up to 2 x 7 taps: 7 multiplications a load at COLUMNS = 8
//   taps      a thread owns one row of taps (ky), 7 x 2 sums in registers, and walks along rows of dy, COLUMNS at a time
//
// The sums of the taps run over many images: a block takes every gridDim.x-th tile and leaves one row of parts[.., 50 C] (49 taps,
// then the bias), which reduce.cu adds up. Channels that are not a multiple of 8 go to the plain kernels at the end.
//
// Precision: fp32 taps, products and sums; y and dx are rounded once.
#include "device.cuh"

constexpr int CHANNELS = 32;
constexpr int LANES = CHANNELS / 2;
constexpr int BORDER = 3;
constexpr int TAPS = 49;

struct Plane {
    int h, w, c;
};

// Which tile of which image, for a tile of HEIGHT x WIDTH.
template <int HEIGHT, int WIDTH>
struct Tile {
    int image, y, x;
    INLINE Tile(int index, Plane d) {
        const int across = (d.w + WIDTH - 1) / WIDTH, down = (d.h + HEIGHT - 1) / HEIGHT;
        image = index / (across * down);
        y = index / across % down * HEIGHT;
        x = index % across * WIDTH;
    }
};

// Rows y.. and columns x.. of an image's channels c.. to shared memory; zero outside the image.
template <int HEIGHT, int WIDTH, int THREADS>
INLINE void fetch(bf16* to, const bf16* from, Plane d, int image, int y, int x, int c) {
    constexpr int VECTORS = CHANNELS / 8;
    for (int i = thread(); i < HEIGHT * WIDTH * VECTORS; i += THREADS) {
        const int row = y + i / (WIDTH * VECTORS), column = x + i / VECTORS % WIDTH, channel = c + i % VECTORS * 8;
        const bool inside = row >= 0 && row < d.h && column >= 0 && column < d.w && channel < d.c;
        const size_t at = ((static_cast<size_t>(image) * d.h + row) * d.w + column) * d.c + channel;
        store16(to + i * 8, inside ? load16(from + at) : make_uint4(0, 0, 0, 0));
    }
}

// Two channels of one pixel of a tile.
INLINE float2 pixel(const bf16* tile, int index) { return load2(tile + index * CHANNELS + thread() % LANES * 2); }

INLINE void fma2(float2& sum, float2 a, float2 b) {
    sum.x = fmaf(a.x, b.x, sum.x);
    sum.y = fmaf(a.y, b.y, sum.y);
}

// FLIP: the taps backwards and no bias.
template <int HEIGHT, int WIDTH, int COLUMNS, bool FLIP>
INLINE void convolve(const bf16* x, const float* w, const float* b, bf16* y, bool accumulate, Plane d) {
    constexpr int ROWS = 2, STRIPS = WIDTH / COLUMNS, THREADS = LANES * STRIPS * (HEIGHT / ROWS);
    constexpr int PADDED = WIDTH + 2 * BORDER;
    SHARED(bf16, tile, (HEIGHT + 2 * BORDER) * PADDED * CHANNELS);
    SHARED(float2, taps, TAPS * LANES);
    const Tile<HEIGHT, WIDTH> at(block(), d);
    const int c = static_cast<int>(blockIdx.y) * CHANNELS;
    fetch<HEIGHT + 2 * BORDER, PADDED, THREADS>(tile, x, d, at.image, at.y - BORDER, at.x - BORDER, c);
    for (int i = thread(); i < TAPS * LANES; i += THREADS) {
        const int channel = c + i % LANES * 2, tap = FLIP ? TAPS - 1 - i / LANES : i / LANES;
        const bool inside = channel < d.c;
        taps[i] = inside ? make_float2(w[tap * d.c + channel], w[tap * d.c + channel + 1]) : make_float2(0, 0);
    }
    __syncthreads();

    const int own = thread() % LANES, strip = thread() / LANES % STRIPS * COLUMNS, row = thread() / (LANES * STRIPS) * ROWS;
    const int channel = c + own * 2;
    if (channel >= d.c) {
        return;
    }
    float2 sums[ROWS][COLUMNS];
    const float2 start = FLIP ? make_float2(0, 0) : make_float2(b[channel], b[channel + 1]);
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
#pragma unroll
        for (int i = 0; i < COLUMNS; ++i) {
            sums[r][i] = start;
        }
    }
#pragma unroll
    for (int from = 0; from < ROWS + 6; ++from) {
        float2 line[COLUMNS + 6];
#pragma unroll
        for (int i = 0; i < COLUMNS + 6; ++i) {
            line[i] = pixel(tile, (row + from) * PADDED + strip + i);
        }
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
            if (from >= r && from < r + 7) {
#pragma unroll
                for (int kx = 0; kx < 7; ++kx) {
                    const float2 tap = taps[((from - r) * 7 + kx) * LANES + own];
#pragma unroll
                    for (int i = 0; i < COLUMNS; ++i) {
                        fma2(sums[r][i], line[i + kx], tap);
                    }
                }
            }
        }
    }
    const int left_x = d.w - at.x - strip, left_y = d.h - at.y - row;
    const size_t out = ((static_cast<size_t>(at.image) * d.h + at.y + row) * d.w + at.x + strip) * d.c + channel;
    // All loads before the first store, so that they wait for memory together.
    if (FLIP && accumulate) {
        unsigned old[ROWS][COLUMNS];
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
#pragma unroll
            for (int i = 0; i < COLUMNS; ++i) {
                const bf16* place = y + out + (static_cast<size_t>(r) * d.w + i) * d.c;
                old[r][i] = r < left_y && i < left_x ? *reinterpret_cast<const unsigned*>(place) : 0;
            }
        }
#pragma unroll
        for (int r = 0; r < ROWS; ++r) {
#pragma unroll
            for (int i = 0; i < COLUMNS; ++i) {
                sums[r][i].x += first(old[r][i]);
                sums[r][i].y += second(old[r][i]);
            }
        }
    }
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
#pragma unroll
        for (int i = 0; i < COLUMNS; ++i) {
            if (r < left_y && i < left_x) {
                bf16* place = y + out + (static_cast<size_t>(r) * d.w + i) * d.c;
                store2(place, pair(sums[r][i].x, sums[r][i].y));
            }
        }
    }
}

// parts[gridDim.x, 50 C]: the taps' and the bias's sums over every gridDim.x-th of `tiles` tiles.
template <int HEIGHT, int WIDTH, int COLUMNS>
INLINE void correlate(const bf16* dy, const bf16* x, float* parts, Plane d, int tiles) {
    constexpr int SPLIT = 2, THREADS = LANES * 7 * SPLIT, PADDED = WIDTH + 2 * BORDER;
    SHARED(bf16, tile, (HEIGHT + 2 * BORDER) * PADDED * CHANNELS);
    SHARED(bf16, grads, HEIGHT * WIDTH * CHANNELS);
    // Two threads share a row of taps and take every other row of dy: half a warp each, so that ky is one for a warp.
    const int own = thread() % LANES, split = thread() / LANES % SPLIT, ky = thread() / (LANES * SPLIT);
    const int c = static_cast<int>(blockIdx.y) * CHANNELS;
    float2 sums[7] = {}, bias = make_float2(0, 0);
    for (int index = block(); index < tiles; index += static_cast<int>(gridDim.x)) {
        const Tile<HEIGHT, WIDTH> at(index, d);
        __syncthreads();
        fetch<HEIGHT + 2 * BORDER, PADDED, THREADS>(tile, x, d, at.image, at.y - BORDER, at.x - BORDER, c);
        fetch<HEIGHT, WIDTH, THREADS>(grads, dy, d, at.image, at.y, at.x, c);
        __syncthreads();
        for (int row = split; row < HEIGHT; row += SPLIT) {
            for (int strip = 0; strip < WIDTH; strip += COLUMNS) {
                float2 line[COLUMNS + 6], grad[COLUMNS];
#pragma unroll
                for (int i = 0; i < COLUMNS + 6; ++i) {
                    line[i] = pixel(tile, (row + ky) * PADDED + strip + i);
                }
#pragma unroll
                for (int i = 0; i < COLUMNS; ++i) {
                    grad[i] = pixel(grads, row * WIDTH + strip + i);
                    bias.x += grad[i].x;
                    bias.y += grad[i].y;
                }
#pragma unroll
                for (int kx = 0; kx < 7; ++kx) {
#pragma unroll
                    for (int i = 0; i < COLUMNS; ++i) {
                        fma2(sums[kx], line[i + kx], grad[i]);
                    }
                }
            }
        }
    }
    // The other half of the warp has the other rows of dy.
    const int channel = c + own * 2;
    float* part = parts + static_cast<size_t>(blockIdx.x) * (TAPS + 1) * d.c;
#pragma unroll
    for (int kx = 0; kx < 8; ++kx) {
        float2 sum = kx < 7 ? sums[kx < 7 ? kx : 0] : bias;
        sum.x += __shfl_xor_sync(ALL_LANES, sum.x, LANES);
        sum.y += __shfl_xor_sync(ALL_LANES, sum.y, LANES);
        if (split == 0 && channel < d.c && (kx < 7 || ky == 0)) {
            const int row = kx < 7 ? ky * 7 + kx : TAPS;
            part[static_cast<size_t>(row) * d.c + channel] = sum.x;
            part[static_cast<size_t>(row) * d.c + channel + 1] = sum.y;
        }
    }
}

// By the width of the tile; the height fills the block.
#define INSTANCE(name, height, width, columns, taps_height)                                                        \
    KERNEL(depthwise_forward_##name, LANES*(width / columns) * (height / 2))                                       \
    (const bf16* x, const float* w, const float* b, bf16* y, int h, int wide, int c) {                             \
        convolve<height, width, columns, false>(x, w, b, y, false, {h, wide, c});                                  \
    }                                                                                                              \
    REGISTER(depthwise_forward_##name)                                                                             \
    KERNEL(depthwise_backward_##name, LANES*(width / columns) * (height / 2))                                      \
    (const bf16* dy, const float* w, bf16* dx, int h, int wide, int c, int accumulate) {                           \
        convolve<height, width, columns, true>(dy, w, nullptr, dx, accumulate != 0, {h, wide, c});                 \
    }                                                                                                              \
    REGISTER(depthwise_backward_##name)                                                                            \
    KERNEL(depthwise_taps_##name, LANES * 14)                                                                      \
    (const bf16* dy, const bf16* x, float* parts, int tiles, int h, int wide, int c) {                             \
        correlate<taps_height, width, columns>(dy, x, parts, {h, wide, c}, tiles);                                 \
    }                                                                                                              \
    REGISTER(depthwise_taps_##name)
INSTANCE(32, 8, 32, 8, 4)
INSTANCE(16, 16, 16, 8, 8)
INSTANCE(8, 8, 8, 8, 8)
INSTANCE(4, 4, 4, 4, 4)

// Any number of channels: a thread an output.
INLINE void convolve_any(const bf16* x, const float* w, const float* b, bf16* y, bool accumulate, int elements, Plane d) {
    const int index = block() * 256 + thread();
    if (index >= elements) {
        return;
    }
    const int c = index % d.c, column = index / d.c % d.w, row = index / d.c / d.w % d.h;
    float sum = b == nullptr ? 0 : b[c];
    for (int ky = 0; ky < 7; ++ky) {
        for (int kx = 0; kx < 7; ++kx) {
            const int from_row = row + ky - BORDER, from_column = column + kx - BORDER;
            if (from_row >= 0 && from_row < d.h && from_column >= 0 && from_column < d.w) {
                const int tap = ky * 7 + kx;
                const long long from = index + (static_cast<long long>(ky - BORDER) * d.w + kx - BORDER) * d.c;
                sum = fmaf(to_float(x[from]), w[(b == nullptr ? TAPS - 1 - tap : tap) * d.c + c], sum);
            }
        }
    }
    y[index] = to_bf16(accumulate ? to_float(y[index]) + sum : sum);
}

KERNEL(depthwise_forward_any, 256)
(const bf16* x, const float* w, const float* b, bf16* y, int elements, int h, int wide, int c) {
    convolve_any(x, w, b, y, false, elements, {h, wide, c});
}
REGISTER(depthwise_forward_any)

KERNEL(depthwise_backward_any, 256)
(const bf16* dy, const float* w, bf16* dx, int elements, int h, int wide, int c, int accumulate) {
    convolve_any(dy, w, nullptr, dx, accumulate != 0, elements, {h, wide, c});
}
REGISTER(depthwise_backward_any)

// parts[gridDim.y, 50 C]: a thread an element of a row, over every gridDim.y-th image.
KERNEL(depthwise_taps_any, 256)(const bf16* dy, const bf16* x, float* parts, int images, int h, int wide, int c) {
    const int index = block() * 256 + thread();
    if (index >= (TAPS + 1) * c) {
        return;
    }
    const int channel = index % c, tap = index / c, ky = tap / 7 - BORDER, kx = tap % 7 - BORDER;
    float sum = 0;
    for (int image = static_cast<int>(blockIdx.y); image < images; image += static_cast<int>(gridDim.y)) {
        for (int row = 0; row < h; ++row) {
            for (int column = 0; column < wide; ++column) {
                const size_t at = (static_cast<size_t>(image) * h + row) * wide + column;
                const float grad = to_float(dy[at * c + channel]);
                if (tap == TAPS) {
                    sum += grad;
                } else if (row + ky >= 0 && row + ky < h && column + kx >= 0 && column + kx < wide) {
                    const long long from = static_cast<long long>(at) + ky * wide + kx;
                    sum = fmaf(grad, to_float(x[from * c + channel]), sum);
                }
            }
        }
    }
    parts[static_cast<size_t>(blockIdx.y) * (TAPS + 1) * c + index] = sum;
}
REGISTER(depthwise_taps_any)
