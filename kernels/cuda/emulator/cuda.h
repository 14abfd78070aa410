// CUDA as a `.cu` file of this folder sees it, on a CPU: force-included before the file when it is compiled as C++.
//
// A thread is a fiber (fiber.h), a block's threads take turns (schedule.cpp), and every access to shared or global memory goes
// through a checker (memory.cpp) because the file is compiled with -fsanitize=thread and *we* are the sanitizer's runtime.
// What CUDA leaves undefined is an error here, with kernel, block, thread and line:
//
//   memory    out of bounds, misaligned, shared memory read before it is written, cp.async read before it is waited for
//   races     two threads at one address, one of them writing, with no barrier between; two blocks likewise
//   barriers  not all threads of the block arrive, or at different lines; lanes of a warp apart at a warp operation
//
// Blocks and threads run in an order drawn from the launch's seed. Warp operations take the full mask only.
#pragma once
#include <cmath>
#include <cstring>
#include <utility>

#define PLAYHOUSE_EMULATOR 1
#define __device__
#define __global__
#define __forceinline__ inline __attribute__((always_inline))
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)

struct uint2 {
    unsigned x, y;
} __attribute__((aligned(8)));
struct uint4 {
    unsigned x, y, z, w;
} __attribute__((aligned(16)));
struct float2 {
    float x, y;
} __attribute__((aligned(8)));
struct float4 {
    float x, y, z, w;
} __attribute__((aligned(16)));
struct dim3 {
    unsigned x, y, z;
};

inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

extern dim3 threadIdx, blockIdx, blockDim, gridDim;

inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned __float_as_uint(float x) {
    unsigned bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}
inline float __uint_as_float(unsigned bits) {
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}
// 32 bits of `high` and `low` together, from bit `by` of `low` on.
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
    return static_cast<unsigned>((static_cast<unsigned long long>(high) << 32 | low) >> by % 32);
}
// Byte i of the result is the one of `x` (0 to 3) and `y` (4 to 7) that hexadecimal digit i of `from` names.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned from) {
    const unsigned long long both = static_cast<unsigned long long>(y) << 32 | x;
    unsigned bytes = 0;
    for (unsigned i = 0; i < 4; ++i) {
        bytes |= static_cast<unsigned>(both >> 8 * (from >> 4 * i & 7) & 0xff) << 8 * i;
    }
    return bytes;
}
inline float __expf(float x) { return std::exp(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

namespace emulator {

// Where a kernel called; the defaults are the caller's.
struct Place {
    const char* file;
    int line;
};
#define PLAYHOUSE_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

void block_barrier(Place place);
void warp_barrier(Place place);
unsigned shuffle(unsigned value, unsigned source_lane, Place place);
unsigned ballot(bool vote, Place place);
void mma_m16n8k16_bf16(float c[4], const unsigned a[4], const unsigned b[2], Place place);
void ldmatrix_x4(unsigned r[4], const void* row, bool transposed, Place place);
void cp_async_16(void* shared, const void* global);
void cp_async_commit();
void cp_async_wait(int groups_left);
void check_alignment(const void* address, unsigned bytes);
void* shared_array(const char* name, size_t bytes, Place place);
// One of the arrays that share what the launch asked for beyond the static 48 KiB.
void* carved_array(const char* name, size_t bytes, Place place);
[[noreturn]] void fault_at(Place place, const char* message);

// What a kernel's parameter is in the launch's list of arguments.
enum class Slot : unsigned char { pointer = 'p', integer = 'i', real = 'f' };
struct Argument {
    Slot slot;
    unsigned long long bits;
};
template <class T>
struct Parameter;
template <class T>
struct Parameter<T*> {
    static constexpr Slot slot = Slot::pointer;
    static T* take(const Argument& a) { return reinterpret_cast<T*>(a.bits); }
};
template <>
struct Parameter<int> {
    static constexpr Slot slot = Slot::integer;
    static int take(const Argument& a) { return static_cast<int>(a.bits); }
};
template <>
struct Parameter<float> {
    static constexpr Slot slot = Slot::real;
    static float take(const Argument& a) { return __uint_as_float(static_cast<unsigned>(a.bits)); }
};

// A kernel by name: its block size, the kinds of its parameters, and how to call it.
struct Kernel {
    const char* name;
    unsigned threads;
    const Slot* slots;
    unsigned slot_count;
    void (*function)();
    void (*call)(void (*function)(), const Argument* arguments);
    const Kernel* next;
};
extern const Kernel* kernels;

template <class... T, size_t... I>
void call_kernel(void (*function)(), const Argument* a, std::index_sequence<I...>) {
    reinterpret_cast<void (*)(T...)>(function)(Parameter<T>::take(a[I])...);
}
template <class... T>
Kernel describe(const char* name, unsigned threads, void (*function)(T...)) {
    static const Slot slots[] = {Parameter<T>::slot...};
    return {name, threads, slots, sizeof...(T), reinterpret_cast<void (*)()>(function),
            [](void (*f)(), const Argument* a) { call_kernel<T...>(f, a, std::index_sequence_for<T...>()); }, kernels};
}
struct Registration {
    Kernel kernel;
    template <class F>
    Registration(const char* name, unsigned threads, F* function) : kernel(describe(name, threads, function)) {
        kernels = &kernel;
    }
};

}  // namespace emulator

inline void __syncthreads(PLAYHOUSE_HERE) { emulator::block_barrier({file, line}); }
inline void playhouse_full_mask(unsigned mask, emulator::Place place) {
    if (mask != 0xffffffffu) {
        emulator::fault_at(place, "a warp operation with a partial mask, which is not emulated");
    }
}
inline void __syncwarp(unsigned mask = 0xffffffffu, PLAYHOUSE_HERE) {
    playhouse_full_mask(mask, {file, line});
    emulator::warp_barrier({file, line});
}
inline unsigned __shfl_sync(unsigned mask, unsigned value, int lane, PLAYHOUSE_HERE) {
    playhouse_full_mask(mask, {file, line});
    return emulator::shuffle(value, static_cast<unsigned>(lane) % 32, {file, line});
}
inline float __shfl_sync(unsigned mask, float value, int lane, PLAYHOUSE_HERE) {
    return __uint_as_float(__shfl_sync(mask, __float_as_uint(value), lane, file, line));
}
inline unsigned __shfl_xor_sync(unsigned mask, unsigned value, int lanes, PLAYHOUSE_HERE) {
    return __shfl_sync(mask, value, static_cast<int>(threadIdx.x % 32) ^ lanes, file, line);
}
inline float __shfl_xor_sync(unsigned mask, float value, int lanes, PLAYHOUSE_HERE) {
    return __shfl_sync(mask, value, static_cast<int>(threadIdx.x % 32) ^ lanes, file, line);
}
inline unsigned __ballot_sync(unsigned mask, bool vote, PLAYHOUSE_HERE) {
    playhouse_full_mask(mask, {file, line});
    return emulator::ballot(vote, {file, line});
}
inline bool __any_sync(unsigned mask, bool vote, PLAYHOUSE_HERE) { return __ballot_sync(mask, vote, file, line) != 0; }
inline bool __all_sync(unsigned mask, bool vote, PLAYHOUSE_HERE) {
    return __ballot_sync(mask, vote, file, line) == 0xffffffffu;
}
