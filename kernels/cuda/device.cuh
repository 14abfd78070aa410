// What all kernels share: bf16, vector loads, reductions, tensor-core fragments.
//
// No header of the CUDA toolkit is needed, so NVRTC compiles this from the text in the binary. The few instructions that
// have no C++ name have a second body for the emulator (emulator/cuda.h).
//
// Letters and rules of `playhouse-kernels`: activations are bf16, sums are fp32, parameters and their gradients are fp32.
// Sums are taken in an order that depends on the shape alone; there are no atomics. Offsets are 64-bit.
#pragma once

// A kernel is written KERNEL(name, threads of a block)(parameters) { body } REGISTER(name). The launcher asks the compiled kernel
// for its number of threads, so that it is written once, here. Blocks are one-dimensional. A third
// argument says how many of them must fit a multiprocessor, where the compiler would guess how many are good.
#if !defined(PLAYHOUSE_EMULATOR)
#define KERNEL(name, ...) extern "C" __global__ void __launch_bounds__(__VA_ARGS__) name
#define REGISTER(name)
#define SHARED(type, name, count) __shared__ __align__(16) type name[count]
// Shared memory beyond 48 KiB, of which a launch says how many bytes it needs: CARVING once, then CARVE for each array.
#define CARVING                                           \
    extern __shared__ __align__(16) unsigned char whole[]; \
    unsigned carved = 0
#define CARVE(type, name, count)                                 \
    type* const name = reinterpret_cast<type*>(whole + carved);  \
    carved += (sizeof(type) * (count) + 15) / 16 * 16
#define PLAYHOUSE_HERE int = 0
#define INFINITY __int_as_float(0x7f800000)
#else
#define KERNEL(name, threads, ...)          \
    constexpr int name##_threads = threads; \
    extern "C" void name
#define REGISTER(name) static emulator::Registration register_##name(#name, name##_threads, name);
// A static shared array of at most 48 KiB with the others; 16-byte aligned.
#define SHARED(type, name, count) \
    type* const name = static_cast<type*>(emulator::shared_array(#name, sizeof(type) * (count), {__FILE__, __LINE__}))
#define CARVING
#define CARVE(type, name, count) \
    type* const name = static_cast<type*>(emulator::carved_array(#name, sizeof(type) * (count), {__FILE__, __LINE__}))
#endif

#define INLINE __device__ __forceinline__

constexpr unsigned ALL_LANES = 0xffffffffu;

INLINE int thread() { return static_cast<int>(threadIdx.x); }
INLINE int block() { return static_cast<int>(blockIdx.x); }
INLINE int lane() { return thread() % 32; }
INLINE int warp() { return thread() / 32; }

// ---- bf16 ------------------------------------------------------------------------------------------------------------

struct bf16 {
    unsigned short bits;
};

INLINE float to_float(bf16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }
INLINE float to_float(float x) { return x; }

// Two neighbours in one register: the first in the low half.
INLINE float first(unsigned pair) { return __uint_as_float(pair << 16); }
INLINE float second(unsigned pair) { return __uint_as_float(pair & 0xffff0000u); }

// Rounds to nearest, ties to even.
INLINE bf16 to_bf16(float x) {
    bf16 y;
#if defined(PLAYHOUSE_EMULATOR)
    const unsigned bits = __float_as_uint(x);
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    y.bits = static_cast<unsigned short>(nan ? 0x7fff : (bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
#else
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
#endif
    return y;
}

INLINE unsigned pair(float low, float high) {
#if defined(PLAYHOUSE_EMULATOR)
    return to_bf16(low).bits | static_cast<unsigned>(to_bf16(high).bits) << 16;
#else
    unsigned both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
#endif
}

// ---- layers ----------------------------------------------------------------------------------------------------------

// Added to the variance of a layer norm.
constexpr float NORM_EPS = 1e-5f;

struct Gelu {
    float value, slope;
};

// x s and its derivative, where s = 1 / (1 + exp(-2 u)) and u = sqrt(2/pi) (x + 0.044715 x^3): the tanh form, as s = (1 + tanh u) / 2.
// The exponential is the hardware's. Its tanh would do with one instruction, but is off by 2^-11, which the slope beyond |x| = 4
// multiplies.
INLINE Gelu gelu(float x) {
    constexpr float TWICE = 2 * 0.7978845608f, CUBE = 0.044715f;
    const float square = x * x;
    const float s = __fdividef(1, 1 + __expf(-x * fmaf(TWICE * CUBE, square, TWICE))), value = x * s;
    return {value, fmaf(value * (1 - s), fmaf(3 * TWICE * CUBE, square, TWICE), s)};
}

// ---- vectors of 16 bytes ---------------------------------------------------------------------------------------------

INLINE uint4 load16(const void* p) {
#if defined(PLAYHOUSE_EMULATOR)
    emulator::check_alignment(p, 16);
#endif
    return *static_cast<const uint4*>(p);
}

INLINE void store16(void* p, uint4 v) {
#if defined(PLAYHOUSE_EMULATOR)
    emulator::check_alignment(p, 16);
#endif
    *static_cast<uint4*>(p) = v;
}

INLINE void unpack8(uint4 v, float (&x)[8]) {
    x[0] = first(v.x), x[1] = second(v.x), x[2] = first(v.y), x[3] = second(v.y);
    x[4] = first(v.z), x[5] = second(v.z), x[6] = first(v.w), x[7] = second(v.w);
}

INLINE uint4 pack8(const float (&x)[8]) {
    return make_uint4(pair(x[0], x[1]), pair(x[2], x[3]), pair(x[4], x[5]), pair(x[6], x[7]));
}

// p[0..8] as floats; p is a multiple of 16 bytes.
INLINE void load8(const bf16* p, float (&x)[8]) { unpack8(load16(p), x); }
INLINE void load8(const float* p, float (&x)[8]) {
    const uint4 a = load16(p), b = load16(p + 4);
    x[0] = __uint_as_float(a.x), x[1] = __uint_as_float(a.y), x[2] = __uint_as_float(a.z), x[3] = __uint_as_float(a.w);
    x[4] = __uint_as_float(b.x), x[5] = __uint_as_float(b.y), x[6] = __uint_as_float(b.z), x[7] = __uint_as_float(b.w);
}
INLINE void store8(bf16* p, const float (&x)[8]) { store16(p, pack8(x)); }

// Two neighbours.
INLINE float2 load2(const bf16* p) {
    const unsigned both = *reinterpret_cast<const unsigned*>(p);
    return make_float2(first(both), second(both));
}
INLINE void store2(bf16* p, unsigned both) { *reinterpret_cast<unsigned*>(p) = both; }

// ---- warps -----------------------------------------------------------------------------------------------------------

// The sum over groups of LANES neighbouring lanes, in every lane; a butterfly, so all lanes have the same bits.
template <int LANES>
INLINE float sum_over(float x) {
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) {
        x += __shfl_xor_sync(ALL_LANES, x, step);
    }
    return x;
}

template <int LANES>
INLINE float max_over(float x) {
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2) {
        x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, step));
    }
    return x;
}

// ---- tensor cores ----------------------------------------------------------------------------------------------------
//
// Lane 4 g + q of a warp holds, as pairs of bf16 with neighbouring k, or as neighbouring columns of fp32:
//
//   A[16][16]  a0 (g, 2q)  a1 (g+8, 2q)  a2 (g, 2q+8)  a3 (g+8, 2q+8)
//   B[16][8]   b0 (2q, g)  b1 (2q+8, g)
//   C[16][8]   c0 c1 (g, 2q)  c2 c3 (g+8, 2q)

// c += a @ b.
INLINE void mma(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, PLAYHOUSE_HERE) {
#if defined(PLAYHOUSE_EMULATOR)
    const unsigned b[2] = {b0, b1};
    emulator::mma_m16n8k16_bf16(c, a, b, {file, line});
#else
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}

// Four 8x8 matrices from shared memory: lanes 8 i .. 8 i + 7 give the rows of matrix i (16 bytes each). Lane 4 g + q gets of each
// matrix the elements (g, 2q) and (g, 2q+1), or transposed (2q, g) and (2q+1, g).
template <bool TRANSPOSED>
INLINE void ldmatrix(unsigned (&r)[4], const bf16* row, PLAYHOUSE_HERE) {
#if defined(PLAYHOUSE_EMULATOR)
    emulator::ldmatrix_x4(r, row, TRANSPOSED, {file, line});
#else
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
    if (TRANSPOSED) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(address)
                     : "memory");
    } else {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(address)
                     : "memory");
    }
#endif
}

// The fragment of A[16][16] = m[row.., k..], where m is stored row by row (or, transposed, k by k: A[i][k] = m[k][i]).
template <bool TRANSPOSED>
INLINE void load_a(unsigned (&a)[4], const bf16* m, int stride, int row, int k, PLAYHOUSE_HERE) {
    const int i = lane() % 8, matrix = lane() / 8;
    const int r = row + matrix % 2 * 8, c = k + matrix / 2 * 8;
#if defined(PLAYHOUSE_EMULATOR)
    ldmatrix<TRANSPOSED>(a, TRANSPOSED ? m + (c + i) * stride + r : m + (r + i) * stride + c, file, line);
#else
    ldmatrix<TRANSPOSED>(a, TRANSPOSED ? m + (c + i) * stride + r : m + (r + i) * stride + c);
#endif
}

// The fragments of two neighbouring B[16][8] = m[k.., column..], where m is stored k by k (or, transposed, column by column:
// B[k][n] = m[n][k]): b[0], b[1] of the first, b[2], b[3] of the second.
template <bool TRANSPOSED>
INLINE void load_b(unsigned (&b)[4], const bf16* m, int stride, int k, int column, PLAYHOUSE_HERE) {
    const int i = lane() % 8, matrix = lane() / 8;
    const int r = k + matrix % 2 * 8, c = column + matrix / 2 * 8;
#if defined(PLAYHOUSE_EMULATOR)
    ldmatrix<!TRANSPOSED>(b, TRANSPOSED ? m + (c + i) * stride + r : m + (r + i) * stride + c, file, line);
#else
    ldmatrix<!TRANSPOSED>(b, TRANSPOSED ? m + (c + i) * stride + r : m + (r + i) * stride + c);
#endif
}

// ---- asynchronous copies ---------------------------------------------------------------------------------------------

// 16 bytes from global to shared memory, on their way until `wait_copies`; other threads need a barrier after it.
INLINE void copy_async16(void* shared, const void* global) {
#if defined(PLAYHOUSE_EMULATOR)
    emulator::cp_async_16(shared, global);
#else
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(global) : "memory");
#endif
}

// Waits for all copies of this thread.
INLINE void wait_copies() {
#if defined(PLAYHOUSE_EMULATOR)
    emulator::cp_async_commit();
    emulator::cp_async_wait(0);
#else
    asm volatile("cp.async.commit_group;\n\tcp.async.wait_group 0;" ::: "memory");
#endif
}
