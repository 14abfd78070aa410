// The emulated device as a process: requests on standard input, answers on standard output, little-endian.
//
//   request   a  bytes u64, name             answer  address u64
//             w  address u64, bytes           answer  -
//             r  address u64, count u64       answer  the bytes
//             l  kernel name, grid 3 x u32, shared bytes u32, seed u64, arguments u32, each kind u8 (p, i, f) and bits u64
//                                             answer  -
//   names and bytes are a u64 count and what it counts
//   answer    ok u8 (1 or 0), then a u64 count and the answer or the error's text
#include "emulator.h"
#include <csignal>

using namespace emulator;

namespace {

void take(void* to, size_t bytes) {
    if (std::fread(to, 1, bytes, stdin) != bytes) {
        std::exit(0);
    }
}
template <class T>
T take() {
    T value;
    take(&value, sizeof value);
    return value;
}
std::string take_text() {
    std::string text(take<uint64_t>(), '\0');
    take(text.data(), text.size());
    return text;
}

void answer(bool ok, const void* data, uint64_t bytes) {
    const unsigned char status = ok ? 1 : 0;
    std::fwrite(&status, 1, 1, stdout);
    std::fwrite(&bytes, sizeof bytes, 1, stdout);
    std::fwrite(data, 1, bytes, stdout);
    std::fflush(stdout);
}
void answer(const std::string& error) { answer(error.empty(), error.data(), error.size()); }

// The kernel's own crash: a wild pointer, a fiber's stack, or a loop without an end. The process says so and ends.
void on_signal(int signal, siginfo_t* info, void*) {
    char at[32];
    std::snprintf(at, sizeof at, "%p", info->si_addr);
    const std::string what = signal == SIGALRM ? "runs for more than two minutes" : "wild access at " + std::string(at);
    answer(running == nullptr ? "emulator: " + what : where_now() + ": " + what);
    _exit(0);
}

void catch_signals() {
    static char stack[1 << 16];
    stack_t alternative = {};
    alternative.ss_sp = stack;
    alternative.ss_size = sizeof stack;
    sigaltstack(&alternative, nullptr);
    struct sigaction action = {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    for (int signal : {SIGSEGV, SIGBUS, SIGALRM}) {
        sigaction(signal, &action, nullptr);
    }
}

const Kernel* kernel_called(const std::string& name) {
    for (const Kernel* kernel = kernels; kernel != nullptr; kernel = kernel->next) {
        if (name == kernel->name) {
            return kernel;
        }
    }
    return nullptr;
}

std::string run_launch() {
    const std::string name = take_text();
    const unsigned x = take<uint32_t>(), y = take<uint32_t>(), z = take<uint32_t>();
    const size_t shared = take<uint32_t>();
    const uint64_t seed = take<uint64_t>();
    std::vector<Argument> arguments(take<uint32_t>());
    for (Argument& argument : arguments) {
        argument.slot = static_cast<Slot>(take<unsigned char>());
        argument.bits = take<uint64_t>();
    }
    const Kernel* kernel = kernel_called(name);
    if (kernel == nullptr) {
        return "no kernel is called " + name;
    }
    if (kernel->threads % 32 != 0 || kernel->threads > 1024) {
        return name + ": blocks of " + std::to_string(kernel->threads) + " threads; whole warps, at most 1024, are emulated";
    }
    if (x == 0 || y == 0 || z == 0 || x > 0x7fffffff || y > 65535 || z > 65535) {
        return name + ": a grid that CUDA refuses";
    }
    if (arguments.size() != kernel->slot_count) {
        return name + ": " + std::to_string(arguments.size()) + " arguments, it takes " + std::to_string(kernel->slot_count);
    }
    for (size_t i = 0; i < arguments.size(); ++i) {
        if (arguments[i].slot != kernel->slots[i]) {
            return name + ": argument " + std::to_string(i) + " is of kind " + static_cast<char>(arguments[i].slot) +
                   ", it takes " + static_cast<char>(kernel->slots[i]);
        }
    }
    alarm(120);
    std::string error = launch(*kernel, {x, y, z}, shared, arguments.data(), seed);
    alarm(0);
    return error;
}

}  // namespace

int main() {
    catch_signals();
    for (;;) {
        const char request = take<char>();
        if (request == 'a') {
            const uint64_t bytes = take<uint64_t>();
            const uint64_t address = reinterpret_cast<uintptr_t>(add_buffer(take_text(), bytes));
            answer(true, &address, sizeof address);
        } else if (request == 'w') {
            void* address = reinterpret_cast<void*>(take<uint64_t>());
            const std::string bytes = take_text();
            const bool inside = is_inside_a_buffer(address, bytes.size());
            if (inside) {
                std::memcpy(address, bytes.data(), bytes.size());
            }
            answer(inside ? "" : "write: not inside a buffer");
        } else if (request == 'r') {
            void* address = reinterpret_cast<void*>(take<uint64_t>());
            const uint64_t bytes = take<uint64_t>();
            if (is_inside_a_buffer(address, bytes)) {
                answer(true, address, bytes);
            } else {
                answer("read: not inside a buffer");
            }
        } else if (request == 'l') {
            answer(run_launch());
        } else {
            answer(std::string("no request is called ") + request);
        }
    }
}
