// A fiber: a stack of its own and the place where it stopped. Switching costs tens of nanoseconds on x86-64 (no system
// call); elsewhere ucontext does it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <unistd.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace emulator {

#if defined(__x86_64__)
// Saves the callee-saved registers on this stack, its top in *from, and goes on where `to` was left.
extern "C" void playhouse_switch_stack(void** from, void* to);
#endif

class Fiber {
   public:
    // A fiber without a stack stands for whoever calls `switch_to` first.
    Fiber() = default;
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;

    // Makes `entry` what runs at the next switch to this fiber. `entry` never returns.
    void start(void (*entry)()) {
        if (stack_ == nullptr) {
            allocate();
        }
#if defined(__x86_64__)
        void** top = reinterpret_cast<void**>(stack_ + SIZE);
        *--top = nullptr;  // where `entry` would return to; also keeps the alignment that functions expect
        *--top = reinterpret_cast<void*>(entry);
        for (int callee_saved = 0; callee_saved < 6; ++callee_saved) {
            *--top = nullptr;
        }
        top_ = top;
#else
        getcontext(&context_);
        context_.uc_stack.ss_sp = stack_;
        context_.uc_stack.ss_size = SIZE;
        context_.uc_link = nullptr;
        makecontext(&context_, entry, 0);
#endif
    }

    // Stops `this`, which is running, and goes on with `next`.
    void switch_to(Fiber& next) {
#if defined(__x86_64__)
        playhouse_switch_stack(&top_, next.top_);
#else
        swapcontext(&context_, &next.context_);
#endif
    }

   private:
    static constexpr size_t SIZE = 128 * 1024;

    // One page below the stack faults, so that a stack that is too deep is an error and not a corruption.
    void allocate() {
        const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        void* memory = mmap(nullptr, SIZE + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0) {
            std::perror("emulator: no memory for a fiber's stack");
            std::abort();
        }
        stack_ = static_cast<char*>(memory) + page;
    }

    char* stack_ = nullptr;
#if defined(__x86_64__)
    void* top_ = nullptr;
#else
    ucontext_t context_;
#endif
};

}  // namespace emulator
