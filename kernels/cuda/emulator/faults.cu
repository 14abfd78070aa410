// Kernels with one fault each, and the kernel without it: the emulator's own test (src/cuda/tests/faults.rs looks for the
// comments that name the faults).
#include "device.cuh"

// y[64] = x[64] backwards, through shared memory.
KERNEL(reverse, 64)(const float* x, float* y) {
    SHARED(float, tile, 64);
    tile[thread()] = x[thread()];
    __syncthreads();
    y[thread()] = tile[63 - thread()];
}
REGISTER(reverse)

KERNEL(missing_barrier, 64)(const float* x, float* y) {
    SHARED(float, tile, 64);
    tile[thread()] = x[thread()];
    y[thread()] = tile[63 - thread()];  // fault: missing_barrier
}
REGISTER(missing_barrier)

// Written once before and once after: the old value is there, and only the order is wrong.
KERNEL(missing_second_barrier, 64)(const float* x, float* y) {
    SHARED(float, tile, 64);
    tile[thread()] = x[thread()];
    __syncthreads();
    y[thread()] = tile[63 - thread()];
    tile[thread()] = 0;  // fault: missing_second_barrier
    __syncthreads();
    y[thread()] += tile[thread()];
}
REGISTER(missing_second_barrier)

KERNEL(missing_warp_barrier, 32)(const float* x, float* y) {
    SHARED(float, tile, 32);
    tile[lane()] = x[lane()];
    const float other = __shfl_xor_sync(ALL_LANES, x[lane()], 1);  // waits, but does not order memory
    y[lane()] = tile[31 - lane()] + other;  // fault: missing_warp_barrier
}
REGISTER(missing_warp_barrier)

KERNEL(divergent_barrier, 64)(const float* x, float* y) {
    SHARED(float, tile, 64);
    tile[thread()] = x[thread()];
    if (warp() == 0) {
        __syncthreads();
        y[thread()] = tile[63 - thread()];
    } else {
        __syncthreads();
        y[thread()] = tile[63 - thread()];
    }
}
REGISTER(divergent_barrier)

KERNEL(barrier_not_for_all, 64)(const float* x, float* y) {
    SHARED(float, tile, 64);
    tile[thread()] = x[thread()];
    if (thread() < 63) {
        __syncthreads();  // fault: barrier_not_for_all
        y[thread()] = tile[63 - thread()];
    }
}
REGISTER(barrier_not_for_all)

KERNEL(divergent_shuffle, 32)(const float* x, float* y) {
    if (lane() != 7) {
        y[lane()] = __shfl_xor_sync(ALL_LANES, x[lane()], 1);  // fault: divergent_shuffle
    }
}
REGISTER(divergent_shuffle)

KERNEL(shared_overrun, 64)(const float* x, float* y) {
    SHARED(float, tile, 64);
    tile[thread() + 1] = x[thread()];  // fault: shared_overrun
    __syncthreads();
    y[thread()] = tile[thread()];
}
REGISTER(shared_overrun)

KERNEL(shared_unwritten, 64)(const float* x, float* y) {
    SHARED(float, tile, 64);
    if (thread() != 5) {
        tile[thread()] = x[thread()];
    }
    __syncthreads();
    y[thread()] = tile[63 - thread()];  // fault: shared_unwritten
}
REGISTER(shared_unwritten)

// n elements; the bound lets one too many through.
KERNEL(off_by_one, 64)(const float* x, float* y, int n) {
    const int i = block() * 64 + thread();
    if (i <= n) {
        y[i] = x[i];  // fault: off_by_one
    }
}
REGISTER(off_by_one)

KERNEL(before_the_start, 64)(const float* x, float* y) {
    y[thread()] = x[thread() - 1];  // fault: before_the_start
}
REGISTER(before_the_start)

// Every block writes the same row.
KERNEL(blocks_collide, 64)(const float* x, float* y) {
    y[thread()] = x[thread()];  // fault: blocks_collide
}
REGISTER(blocks_collide)

KERNEL(misaligned, 32)(const bf16* x, bf16* y) {
    float v[8];
    load8(x + lane() * 4, v);  // fault: misaligned
    store8(y + lane() * 8, v);
}
REGISTER(misaligned)

KERNEL(copy_not_waited_for, 32)(const bf16* x, bf16* y) {
    SHARED(bf16, tile, 256);
    copy_async16(tile + lane() * 8, x + lane() * 8);
    __syncthreads();
    y[lane()] = tile[lane() * 8];  // fault: copy_not_waited_for
}
REGISTER(copy_not_waited_for)

KERNEL(wild_pointer, 32)(const float* x, float* y) {
    const float* nowhere = lane() == 3 ? nullptr : x;
    y[lane()] = *nowhere;
}
REGISTER(wild_pointer)

// c[16,8] = a[16,16] @ b[16,8] by the tensor-core path: ldmatrix both ways, mma.
KERNEL(product, 32)(const bf16* a, const bf16* b, float* c, int transposed) {
    SHARED(bf16, left, 16 * 24);
    SHARED(bf16, right, 16 * 24);
    for (int i = lane(); i < 256; i += 32) {
        const int row = i / 16, column = i % 16;
        left[transposed ? column * 24 + row : row * 24 + column] = a[i];
        // The second B tile repeats the first.
        right[transposed ? column * 24 + row : row * 24 + column] = b[row * 8 + column % 8];
    }
    __syncwarp();
    unsigned fa[4], fb[4];
    if (transposed) {
        load_a<true>(fa, left, 24, 0, 0);
        load_b<true>(fb, right, 24, 0, 0);
    } else {
        load_a<false>(fa, left, 24, 0, 0);
        load_b<false>(fb, right, 24, 0, 0);
    }
    float sum[4] = {}, again[4] = {};
    mma(sum, fa, fb[0], fb[1]);
    mma(again, fa, fb[2], fb[3]);
    for (int i = 0; i < 4; ++i) {
        const int row = lane() / 4 + i / 2 * 8, column = lane() % 4 * 2 + i % 2;
        c[row * 8 + column] = sum[i] == again[i] ? sum[i] : __uint_as_float(0x7fc00000u);
    }
}
REGISTER(product)
