// The patch stem: 4x4/4 patches of u8 pixels, normalised, times a matrix; forward and backward to the weights.
//
//   y[r,c] = b[c] + sum over k of (pixel[r,k] / 127.5 - 1) w[k,c],  k = (ky*4 + kx)*3 + channel, 48 of them
//   dw[k,c] = sum over r of (pixel[r,k] / 127.5 - 1) dy[r,c];  db[c] = sum over r of dy[r,c]
//
// pixels: u8 [N,S,S,3]. y, dy: bf16 [N,(S/4)^2,C]. w, b and their gradients: fp32 [48,C], [C].
//
// A pixel is normalised without an error: pixel / 127.5 - 1 = (2 pixel - 255) / 255, and the odd number in the numerator has at
// most 8 bits, as many as a bf16. So the tensor cores multiply integers, and 1/255 comes last.
//
//   forward   a block is 64 patches x 64 channels: 4 warps of 16 patches; patches and weights wait in shared memory
//   backward  a block is 64 channels and every gridDim.x-th run of 64 patches; warp i has 16 of the channels. It leaves a row of
//             parts[gridDim.x, 49 C] (48 weights, then the bias), which reduce.cu adds up
//
// Precision: w is rounded to bf16 for the product; sums in fp32; y is rounded once.
#include "device.cuh"

constexpr int THREADS = 128;
constexpr int PATCHES = 64;
constexpr int CHANNELS = 64;
constexpr int TAPS = 48;
constexpr int PATCH_PITCH = TAPS + 8;
constexpr int CHANNEL_PITCH = CHANNELS + 8;

// Patches first.. as odd integers, row by row; zero beyond the last.
INLINE void fetch_patches(bf16* to, const unsigned char* pixels, int first, int rows, int size) {
    const int side = size / 4;
    // Four pixels of one row of a patch are 12 bytes, at an address that is a multiple of 4.
    for (int i = thread(); i < PATCHES * 4 * 3; i += THREADS) {
        const int row = first + i / 12, ky = i / 3 % 4, word = i % 3;
        unsigned four = 0;
        if (row < rows) {
            const size_t line = (static_cast<size_t>(row / (side * side)) * size + row / side % side * 4 + ky) * size;
            four = *reinterpret_cast<const unsigned*>(pixels + (line + row % side * 4) * 3 + word * 4);
        }
        bf16* out = to + i / 12 * PATCH_PITCH + ky * 12 + word * 4;
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            const int odd = 2 * static_cast<int>(four >> (8 * k) & 0xff) - 255;
            out[k] = to_bf16(row < rows ? static_cast<float>(odd) : 0);
        }
    }
}

KERNEL(stem_forward, THREADS)
(const unsigned char* pixels, const float* w, const float* b, bf16* y, int rows, int size, int channels) {
    SHARED(bf16, patches, PATCHES * PATCH_PITCH);
    SHARED(bf16, weights, TAPS * CHANNEL_PITCH);
    const int first = block() * PATCHES, c = static_cast<int>(blockIdx.y) * CHANNELS;
    fetch_patches(patches, pixels, first, rows, size);
    for (int i = thread(); i < TAPS * CHANNELS; i += THREADS) {
        const int k = i / CHANNELS, column = c + i % CHANNELS;
        weights[k * CHANNEL_PITCH + i % CHANNELS] = to_bf16(column < channels ? w[k * channels + column] : 0);
    }
    __syncthreads();
    const int own = warp() * 16;
    float sums[CHANNELS / 8][4] = {};
#pragma unroll
    for (int k = 0; k < TAPS; k += 16) {
        unsigned fa[4];
        load_a<false>(fa, patches, PATCH_PITCH, own, k);
#pragma unroll
        for (int n = 0; n < CHANNELS; n += 16) {
            unsigned fb[4];
            load_b<false>(fb, weights, CHANNEL_PITCH, k, n);
            mma(sums[n / 8], fa, fb[0], fb[1]);
            mma(sums[n / 8 + 1], fa, fb[2], fb[3]);
        }
    }
#pragma unroll
    for (int n = 0; n < CHANNELS / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const int row = first + own + lane() / 4 + i / 2 * 8, column = c + n * 8 + lane() % 4 * 2 + i % 2;
            if (row < rows && column < channels) {
                y[static_cast<size_t>(row) * channels + column] = to_bf16(b[column] + sums[n][i] * (1 / 255.0f));
            }
        }
    }
}
REGISTER(stem_forward)

KERNEL(stem_backward, THREADS)
(const bf16* dy, const unsigned char* pixels, float* parts, int rows, int size, int channels) {
    SHARED(bf16, patches, PATCHES * PATCH_PITCH);
    SHARED(bf16, grads, PATCHES * CHANNEL_PITCH);
    const int c = static_cast<int>(blockIdx.y) * CHANNELS, own = warp() * 16;
    float sums[TAPS / 16][2][4] = {}, bias = 0;
    for (int first = block() * PATCHES; first < rows; first += static_cast<int>(gridDim.x) * PATCHES) {
        __syncthreads();
        fetch_patches(patches, pixels, first, rows, size);
        for (int i = thread(); i < PATCHES * CHANNELS; i += THREADS) {
            const int row = first + i / CHANNELS, column = c + i % CHANNELS;
            const bool inside = row < rows && column < channels;
            grads[i / CHANNELS * CHANNEL_PITCH + i % CHANNELS] =
                inside ? dy[static_cast<size_t>(row) * channels + column] : to_bf16(0);
        }
        __syncthreads();
#pragma unroll
        for (int r = 0; r < PATCHES; r += 16) {
            unsigned fb[4];
            load_b<false>(fb, grads, CHANNEL_PITCH, r, own);
#pragma unroll
            for (int k = 0; k < TAPS; k += 16) {
                unsigned fa[4];
                load_a<true>(fa, patches, PATCH_PITCH, k, r);
                mma(sums[k / 16][0], fa, fb[0], fb[1]);
                mma(sums[k / 16][1], fa, fb[2], fb[3]);
            }
        }
        if (thread() < CHANNELS) {
            for (int r = 0; r < PATCHES; ++r) {
                bias += to_float(grads[r * CHANNEL_PITCH + thread()]);
            }
        }
    }
    float* part = parts + static_cast<size_t>(blockIdx.x) * (TAPS + 1) * channels;
#pragma unroll
    for (int k = 0; k < TAPS / 16; ++k) {
#pragma unroll
        for (int n = 0; n < 2; ++n) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int row = k * 16 + lane() / 4 + i / 2 * 8, column = c + own + n * 8 + lane() % 4 * 2 + i % 2;
                if (column < channels) {
                    part[static_cast<size_t>(row) * channels + column] = sums[k][n][i] * (1 / 255.0f);
                }
            }
        }
    }
    if (thread() < CHANNELS && c + thread() < channels) {
        part[static_cast<size_t>(TAPS) * channels + c + thread()] = bias;
    }
}
REGISTER(stem_backward)
