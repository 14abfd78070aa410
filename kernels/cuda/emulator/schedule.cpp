// A launch: blocks one after another, the threads of a block as fibers that take turns at barriers.
//
// The seed chooses who is next: 0 the thread that has been ready longest, 1 the one that became ready last, others draw lots.
// A launch ends with a message when nobody is ready and somebody is not done (deadlock), when threads meet at different
// barriers (divergence), or when an access is not legal (memory.cpp).
#include "emulator.h"
#include <algorithm>
#include <memory>

#if defined(__x86_64__)
asm(R"(
.text
.globl playhouse_switch_stack
.type playhouse_switch_stack,@function
playhouse_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size playhouse_switch_stack, .-playhouse_switch_stack
)");
#endif

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

const Kernel* kernels = nullptr;
Thread* running = nullptr;
Clock clock_now;

namespace {

struct Warp {
    unsigned arrived = 0;
    const char* operation = "";
    Place place = {"", 0};
};

struct Launch {
    const Kernel* kernel = nullptr;
    const Argument* arguments = nullptr;
    uint64_t seed = 0;
    uint64_t random = 0;
    Fiber scheduler;
    std::vector<std::unique_ptr<Thread>> threads;
    std::vector<Warp> warps;
    std::vector<unsigned> ready;  // oldest first
    size_t ready_from = 0;        // those before it have run
    unsigned done = 0;
    unsigned at_barrier = 0;
    Place barrier = {"", 0};
    std::string error;
};
Launch now;

uint64_t draw(uint64_t end) {
    now.random ^= now.random << 13;
    now.random ^= now.random >> 7;
    now.random ^= now.random << 17;
    return now.random % end;
}

void thread_main() {
    now.kernel->call(now.kernel->function, now.arguments);
    if (!running->group.empty()) {
        fault("", "ends with a cp.async that was not committed");
    }
    if (!running->groups.empty()) {
        fault("", "ends with a cp.async that was not waited for");
    }
    running->state = Thread::State::done;
    ++now.done;
    running->fiber.switch_to(now.scheduler);
    std::abort();
}

void make_ready(Thread& thread) {
    thread.state = Thread::State::ready;
    now.ready.push_back(thread.index);
}

// Gives way to the scheduler until somebody makes this thread ready again.
void stop(Thread& self, Thread::State state) {
    self.state = state;
    self.fiber.switch_to(now.scheduler);
}

unsigned next_ready() {
    const size_t count = now.ready.size() - now.ready_from;
    if (now.seed == 0) {
        return now.ready[now.ready_from++];
    }
    const size_t chosen = now.seed == 1 ? now.ready.size() - 1 : now.ready_from + draw(count);
    std::swap(now.ready[chosen], now.ready.back());
    const unsigned index = now.ready.back();
    now.ready.pop_back();
    return index;
}

// "threads 0..31 wait for a block barrier at f.cu:3", one sentence for each place, in order of threads.
std::string who_waits_where() {
    std::string text;
    for (size_t i = 0; i < now.threads.size();) {
        const Thread& first = *now.threads[i];
        size_t end = i;
        const auto alike = [&](const Thread& t) {
            return t.state == first.state && (t.state == Thread::State::done ||
                                              (t.place.line == first.place.line && t.operation == first.operation));
        };
        while (end < now.threads.size() && alike(*now.threads[end])) {
            ++end;
        }
        text += text.empty() ? "" : "; ";
        text += end - i == 1 ? "thread " + std::to_string(i)
                             : "threads " + std::to_string(i) + ".." + std::to_string(end - 1);
        const bool one = end - i == 1;
        text += first.state == Thread::State::done
                    ? (one ? " has ended" : " have ended")
                    : std::string(one ? " waits" : " wait") + " for " + first.operation + " at " + in_words(first.place);
        i = end;
    }
    return text;
}

std::string run_block() {
    now.ready.clear();
    now.ready_from = 0;
    now.done = 0;
    now.at_barrier = 0;
    clock_now.block_barriers = 0;
    clock_now.warp_barriers.assign(now.warps.size(), 0);
    for (Warp& warp : now.warps) {
        warp = Warp();
    }
    for (auto& thread : now.threads) {
        thread->segment = 0;
        thread->groups.clear();
        thread->group.clear();
        thread->fiber.start(thread_main);
        make_ready(*thread);
    }
    begin_block();
    while (now.ready_from < now.ready.size()) {
        running = now.threads[next_ready()].get();
        threadIdx = {running->index, 0, 0};
        now.scheduler.switch_to(running->fiber);
        if (!now.error.empty()) {
            running = nullptr;
            return now.error;
        }
    }
    running = nullptr;
    if (now.done < now.threads.size()) {
        return where_now() + ": deadlock: " + who_waits_where();
    }
    for (const std::string& wrong : {check_red_zones(), check_carved()}) {
        if (!wrong.empty()) {
            return where_now() + ": " + wrong;
        }
    }
    return "";
}

}  // namespace

std::string in_words(Place place) {
    const std::string file = place.file;
    return file.substr(file.rfind('/') + 1) + ":" + std::to_string(place.line);
}

std::string where_now() {
    const auto index = [](dim3 i) {
        return "(" + std::to_string(i.x) + ", " + std::to_string(i.y) + ", " + std::to_string(i.z) + ")";
    };
    std::string text = std::string(now.kernel->name) + ": block " + index(blockIdx);
    return running == nullptr ? text : text + ", thread " + std::to_string(running->index);
}

void fault(const std::string& place, const std::string& message) {
    now.error = where_now() + (place.empty() ? "" : ", " + place) + ": " + message;
    running->fiber.switch_to(now.scheduler);
    std::abort();
}

void fault_at(Place place, const char* message) { fault(in_words(place), message); }

Thread& thread_of_lane(unsigned lane) { return *now.threads[running->index / 32 * 32 + lane]; }

void wait_for_block(Place place) {
    Thread& self = *running;
    self.operation = "a block barrier";
    self.place = place;
    if (now.at_barrier == 0) {
        now.barrier = place;
    } else if (now.barrier.line != place.line || std::strcmp(now.barrier.file, place.file) != 0) {
        fault(in_words(place), "divergent barrier: other threads of the block wait at " + in_words(now.barrier));
    }
    if (++now.at_barrier < now.threads.size()) {
        stop(self, Thread::State::at_block_barrier);
        return;
    }
    now.at_barrier = 0;
    ++clock_now.block_barriers;
    for (auto& thread : now.threads) {
        thread->segment = 0;
        if (thread.get() != &self) {
            make_ready(*thread);
        }
    }
}

void wait_for_warp(const char* operation, Place place, void* lane, void (*apply)(void* const lanes[32])) {
    Thread& self = *running;
    self.operation = operation;
    self.place = place;
    self.lane = lane;
    Warp& warp = now.warps[self.index / 32];
    if (warp.arrived == 0) {
        warp.operation = operation;
        warp.place = place;
    } else if (warp.operation != operation || warp.place.line != place.line || std::strcmp(warp.place.file, place.file) != 0) {
        fault(in_words(place), std::string("divergent warp: at ") + operation + " while other lanes wait for " +
                                   warp.operation + " at " + in_words(warp.place));
    }
    if (++warp.arrived < 32) {
        stop(self, Thread::State::at_warp_operation);
        return;
    }
    warp.arrived = 0;
    if (apply != nullptr) {
        void* lanes[32];
        for (unsigned i = 0; i < 32; ++i) {
            lanes[i] = thread_of_lane(i).lane;
        }
        apply(lanes);
    }
    for (unsigned i = 0; i < 32; ++i) {
        Thread& other = thread_of_lane(i);
        if (&other != &self) {
            make_ready(other);
        }
    }
}

std::string launch(const Kernel& kernel, dim3 grid, size_t shared, const Argument* arguments, uint64_t seed) {
    now.kernel = &kernel;
    now.arguments = arguments;
    now.seed = seed;
    now.random = seed * 0x9e3779b97f4a7c15u + 1;
    now.error.clear();
    while (now.threads.size() < kernel.threads) {
        now.threads.push_back(std::make_unique<Thread>());
        now.threads.back()->index = static_cast<unsigned>(now.threads.size() - 1);
    }
    now.threads.resize(kernel.threads);
    now.warps.resize(kernel.threads / 32);
    gridDim = grid;
    blockDim = {kernel.threads, 1, 1};
    blockIdx = {0, 0, 0};
    begin_launch(shared);

    std::vector<dim3> blocks;
    for (unsigned z = 0; z < grid.z; ++z) {
        for (unsigned y = 0; y < grid.y; ++y) {
            for (unsigned x = 0; x < grid.x; ++x) {
                blocks.push_back({x, y, z});
            }
        }
    }
    if (seed == 1) {
        std::reverse(blocks.begin(), blocks.end());
    } else if (seed > 1) {
        for (size_t i = blocks.size(); i > 1; --i) {
            std::swap(blocks[i - 1], blocks[draw(i)]);
        }
    }
    for (clock_now.block = 0; clock_now.block < blocks.size(); ++clock_now.block) {
        blockIdx = blocks[clock_now.block];
        std::string error = run_block();
        if (!error.empty()) {
            return error;
        }
    }
    return "";
}

}  // namespace emulator
