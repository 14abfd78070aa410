// What the parts of the emulator know of each other. Kernels see only cuda.h.
//
//   host process                      this process
//   alloc, write, read, launch  ->    main.cpp      the requests, one after another
//                                     schedule.cpp  a launch: blocks, threads as fibers, barriers
//                                     warp.cpp      shuffles, mma, ldmatrix, cp.async
//                                     memory.cpp    areas, bounds, initialisation, races; the sanitizer's entry points
#pragma once
#include "cuda.h"
#include "fiber.h"
#include <cstdint>
#include <string>
#include <vector>

namespace emulator {

// ---- schedule.cpp ----------------------------------------------------------------------------------------------------

struct Copy {
    void* shared;
    const void* global;
    const void* pc;
};

struct Thread {
    enum class State { ready, at_block_barrier, at_warp_operation, done };

    Fiber fiber;
    unsigned index = 0;
    State state = State::ready;
    // Why it waits, and where.
    const char* operation = "";
    Place place = {"", 0};
    // What a warp operation reads from and writes to this lane.
    void* lane = nullptr;
    // Index of the accesses since its last barrier in the table of segments (memory.cpp); 0: none yet.
    uint32_t segment = 0;
    // cp.async: groups that were committed, and the one being filled.
    std::vector<std::vector<Copy>> groups;
    std::vector<Copy> group;
};

// The running thread; null between blocks.
extern Thread* running;
// What orders accesses: blocks in order of execution, barriers of the block so far, __syncwarp of each warp so far.
// (A shuffle waits for all lanes, but CUDA does not let it order memory.)
struct Clock {
    uint32_t block = 0;
    uint32_t block_barriers = 0;
    std::vector<uint32_t> warp_barriers;
};
extern Clock clock_now;

// Stops the running thread until all threads of its block, or all lanes of its warp, have come to the same operation at
// the same place; then `apply`, if any, is given what each lane passed.
void wait_for_block(Place place);
void wait_for_warp(const char* operation, Place place, void* lane, void (*apply)(void* const lanes[32]));
// Threads of the running warp, by lane.
Thread& thread_of_lane(unsigned lane);

// Runs a kernel to its end. Empty, or what went wrong.
// `shared` is what its blocks carve arrays from, in bytes.
std::string launch(const Kernel& kernel, dim3 grid, size_t shared, const Argument* arguments, uint64_t seed);

// Ends the launch with a message; the place in words ("file:line") may be empty.
[[noreturn]] void fault(const std::string& place, const std::string& message);
// "kernel: block (x, y, z), thread t", or nothing when no thread runs.
std::string where_now();
std::string in_words(Place place);

// ---- memory.cpp ------------------------------------------------------------------------------------------------------

// A range of addresses that kernels may touch: a buffer, or a shared array of the running block.
void* add_buffer(const std::string& name, size_t bytes);
// Checks that the range is inside one buffer; false otherwise.
bool is_inside_a_buffer(const void* address, size_t bytes);
// Forgets shared arrays of the launch before; begins a block: shared memory is poisoned and uninitialised.
void begin_launch(size_t shared);
void begin_block();
// Empty if the block has carved all that the launch asked for; a message otherwise.
std::string check_carved();
// Every byte between the areas still has its fill; a message otherwise.
std::string check_red_zones();
// One access of `thread`; faults when it is not legal. `pc` is the address after the accessing instruction.
void access(Thread& thread, const void* address, size_t bytes, bool write, const void* pc);
// "file:line" of the instruction before `pc`, by addr2line; the bare address without it.
std::string line_of(const void* pc);

}  // namespace emulator
