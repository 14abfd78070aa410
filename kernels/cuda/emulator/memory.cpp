// Memory that kernels may touch, and a check of every access.
//
// All of it lies in one reserved region: buffers in its first half, shared arrays in its second, with red zones between.
// The compiler, asked to look for data races, calls __tsan_read4(address) and its like before every access that could be
// seen by another thread. Those functions are ours. Outside the region (stacks, constants) they return at once.
//
// Every 2 bytes have a cell: who wrote them last, and two who read them since. "Who" is a segment: a thread between two
// barriers. Two accesses of different threads, one of them a write, must have a barrier between:
//
//   same block   __syncthreads, or __syncwarp if they are in one warp
//   two blocks   none can help within a launch
#include "emulator.h"
#include <algorithm>
#include <cstdint>

namespace emulator {

namespace {

constexpr size_t REGION = size_t(8) << 30;
constexpr size_t RED_ZONE = 256;
// bf16 and f32 read NaN from either, and no kernel writes it by chance over a whole red zone.
constexpr int UNWRITTEN = 0xff;
constexpr int RED = 0xfd;
// What a kernel may have without asking the driver for more.
constexpr size_t SHARED_LIMIT = 48 * 1024;
// And what a launch may ask for: what every GPU since Ampere has. (The large ones have more.)
constexpr size_t CARVED_LIMIT = 99 * 1024;

struct Event {
    uint32_t segment = 0;
    uint32_t pc = 0;
};
struct Cell {
    Event write, reads[2];
};
struct Segment {
    uint32_t block, block_barriers, warp_barriers, thread;
};
struct Area {
    char* base;
    size_t bytes;
    bool shared;
    std::string name;
    Place place;
    std::vector<Cell> cells;
    bool carved = false;
};

char* region = nullptr;
std::vector<Area> areas;      // by address: buffers, then shared arrays
size_t buffers = 0;           // the first so many of `areas`
std::vector<Segment> segments;
size_t carvable = 0;          // bytes that this launch asked for
uint32_t first_segment = 1;   // of this launch; earlier ones are ordered before everything

void reserve() {
    if (region != nullptr) {
        return;
    }
    void* memory =
        mmap(nullptr, REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        std::perror("emulator: no address space");
        std::abort();
    }
    region = static_cast<char*>(memory);
}

// The area that the address is in, or is nearest to from above; null if there is none below.
Area* find(const char* address) {
    static size_t last = 0;
    if (last < areas.size() && address >= areas[last].base && address < areas[last].base + areas[last].bytes) {
        return &areas[last];
    }
    const auto after = std::upper_bound(areas.begin(), areas.end(), address,
                                        [](const char* a, const Area& area) { return a < area.base; });
    if (after == areas.begin()) {
        return nullptr;
    }
    last = static_cast<size_t>(after - areas.begin()) - 1;
    return &areas[last];
}

Area make_area(char* after, size_t bytes, bool shared, const std::string& name, Place place) {
    const size_t whole = (bytes + 15) / 16 * 16;
    char* base = after + RED_ZONE;
    std::memset(after, RED, RED_ZONE);
    std::memset(base, UNWRITTEN, bytes);
    std::memset(base + bytes, RED, whole - bytes + RED_ZONE);
    return {base, bytes, shared, name, place, std::vector<Cell>((bytes + 1) / 2), false};
}

char* end_of(const Area& area) { return area.base + (area.bytes + 15) / 16 * 16 + RED_ZONE; }

std::string size_and_verb(size_t bytes, bool write) {
    return std::string(write ? "writes " : "reads ") + std::to_string(bytes) + " byte" + (bytes == 1 ? "" : "s");
}

std::string name_of(const Area& area) {
    return area.shared ? "shared array `" + area.name + "` (" + in_words(area.place) + ")" : "`" + area.name + "`";
}

[[noreturn]] void out_of_bounds(const char* address, size_t bytes, bool write, const void* pc) {
    // Nearest of the area below and the one above.
    const Area* below = find(address);
    const Area* above = below == nullptr ? &areas.front() : below + 1 < areas.data() + areas.size() ? below + 1 : nullptr;
    const size_t past = below == nullptr ? SIZE_MAX : static_cast<size_t>(address - below->base);
    const bool before =
        above != nullptr && (below == nullptr || static_cast<size_t>(above->base - address) < past - below->bytes + 1);
    const Area& area = before ? *above : *below;
    const long long at = address - area.base;
    fault(line_of(pc), size_and_verb(bytes, write) + " at byte " + std::to_string(at) + " of " + name_of(area) +
                           ", which has " + std::to_string(area.bytes));
}

bool is_ordered(Event before, const Thread& thread) {
    if (before.segment < first_segment) {
        return true;
    }
    const Segment& s = segments[before.segment - first_segment];
    if (s.block != clock_now.block) {
        return false;
    }
    return s.thread == thread.index || s.block_barriers < clock_now.block_barriers ||
           (s.thread / 32 == thread.index / 32 && s.warp_barriers < clock_now.warp_barriers[thread.index / 32]);
}

[[noreturn]] void race(const Area& area, size_t byte, size_t bytes, bool write, const void* pc, Event before, bool wrote) {
    const Segment& s = segments[before.segment - first_segment];
    const std::string other =
        s.block == clock_now.block ? "thread " + std::to_string(s.thread) : "another block's thread " + std::to_string(s.thread);
    fault(line_of(pc), "race: " + size_and_verb(bytes, write) + " at byte " + std::to_string(byte) + " of " + name_of(area) +
                           ", which " + other + (wrote ? " wrote at " : " read at ") +
                           line_of(reinterpret_cast<const void*>(uintptr_t(before.pc))) + " with no barrier between");
}

void check_cells(Area& area, Thread& thread, size_t from, size_t bytes, bool write, const void* pc) {
    if (thread.segment == 0) {
        segments.push_back({clock_now.block, clock_now.block_barriers, clock_now.warp_barriers[thread.index / 32], thread.index});
        thread.segment = first_segment + static_cast<uint32_t>(segments.size()) - 1;
    }
    const Event me = {thread.segment, static_cast<uint32_t>(reinterpret_cast<uintptr_t>(pc))};
    for (size_t i = from / 2; i <= (from + bytes - 1) / 2; ++i) {
        Cell& cell = area.cells[i];
        if (!write && cell.reads[0].segment == me.segment) {
            continue;
        }
        if (!write && area.shared && cell.write.segment == 0) {
            fault(line_of(pc), size_and_verb(bytes, false) + " at byte " + std::to_string(from) + " of " + name_of(area) +
                                   ", which nobody has written");
        }
        if (!is_ordered(cell.write, thread)) {
            race(area, from, bytes, write, pc, cell.write, true);
        }
        if (!write) {
            cell.reads[is_ordered(cell.reads[0], thread) ? 0 : 1] = me;
            continue;
        }
        for (const Event& read : cell.reads) {
            if (!is_ordered(read, thread)) {
                race(area, from, bytes, true, pc, read, false);
            }
        }
        cell = {me, {}};
    }
}

}  // namespace

void* add_buffer(const std::string& name, size_t bytes) {
    reserve();
    areas.resize(buffers);
    areas.push_back(make_area(buffers == 0 ? region : end_of(areas.back()), bytes, false, name, {"", 0}));
    ++buffers;
    return areas.back().base;
}

bool is_inside_a_buffer(const void* address, size_t bytes) {
    const char* a = static_cast<const char*>(address);
    const Area* area = find(a);
    return area != nullptr && !area->shared && a + bytes <= area->base + area->bytes;
}

void begin_launch(size_t shared) {
    reserve();
    carvable = shared;
    areas.resize(buffers);
    first_segment += static_cast<uint32_t>(segments.size());
    segments.clear();
}

void begin_block() { areas.resize(buffers); }

namespace {

size_t whole(size_t bytes) { return (bytes + 15) / 16 * 16; }

// The running block's array of that name and line, made if it is not there; `limit` is for all of its sort.
void* array(const char* name, size_t bytes, Place place, bool carved, size_t limit) {
    size_t used = whole(bytes);
    for (size_t i = buffers; i < areas.size(); ++i) {
        const Area& area = areas[i];
        if (area.place.line == place.line && area.name == name && std::strcmp(area.place.file, place.file) == 0) {
            return area.base;
        }
        used += area.carved == carved ? whole(area.bytes) : 0;
    }
    if (used > limit) {
        fault(in_words(place), "shared arrays of " + std::to_string(used) + " bytes; a block has " + std::to_string(limit));
    }
    areas.push_back(make_area(areas.size() == buffers ? region + REGION / 2 : end_of(areas.back()), bytes, true, name, place));
    areas.back().carved = carved;
    return areas.back().base;
}

}  // namespace

void* shared_array(const char* name, size_t bytes, Place place) { return array(name, bytes, place, false, SHARED_LIMIT); }

void* carved_array(const char* name, size_t bytes, Place place) {
    return array(name, bytes, place, true, std::min(carvable, CARVED_LIMIT));
}

std::string check_carved() {
    size_t used = 0;
    for (const Area& area : areas) {
        used += area.carved ? whole(area.bytes) : 0;
    }
    return used == carvable ? "" : "the launch asks for " + std::to_string(carvable) + " bytes of shared memory, and " +
                                       std::to_string(used) + " are carved";
}

std::string check_red_zones() {
    const auto intact = [](const char* from, const char* to) {
        return std::all_of(from, to, [](char c) { return static_cast<unsigned char>(c) == RED; });
    };
    for (const Area& area : areas) {
        if (!intact(area.base - RED_ZONE, area.base) || !intact(area.base + area.bytes, end_of(area))) {
            return "the red zone around " + name_of(area) + " was written";
        }
    }
    return "";
}

void access(Thread& thread, const void* address, size_t bytes, bool write, const void* pc) {
    const char* a = static_cast<const char*>(address);
    if (a < region || a >= region + REGION) {
        return;
    }
    if (bytes <= 16 && reinterpret_cast<uintptr_t>(a) % bytes != 0) {
        fault(line_of(pc), size_and_verb(bytes, write) + " at an address that is not a multiple of their number");
    }
    Area* area = find(a);
    if (area == nullptr || a + bytes > area->base + area->bytes) {
        out_of_bounds(a, bytes, write, pc);
    }
    check_cells(*area, thread, static_cast<size_t>(a - area->base), bytes, write, pc);
}

std::string line_of(const void* pc) {
    char command[96];
    const unsigned long long instruction = reinterpret_cast<uintptr_t>(pc) - 1;
    std::snprintf(command, sizeof command, "addr2line -i -e /proc/%d/exe 0x%llx 2>/dev/null", int(getpid()), instruction);
    std::string inner, kernel;
    if (FILE* pipe = popen(command, "r")) {
        char text[4096];
        while (std::fgets(text, sizeof text, pipe) != nullptr) {
            std::string line = text;
            line = line.substr(line.rfind('/') + 1);
            line = line.substr(0, line.find_first_of(" \n"));  // addr2line may add "(discriminator n)"
            inner = inner.empty() ? line : inner;
            if (kernel.empty() && line.find(".cu:") != std::string::npos) {
                kernel = line;
            }
        }
        pclose(pipe);
    }
    if (inner.empty()) {
        std::snprintf(command, sizeof command, "instruction 0x%llx", instruction);
        return command;
    }
    return kernel.empty() || kernel == inner ? inner : kernel + " (" + inner + ")";
}

}  // namespace emulator

// ---- the sanitizer's entry points ------------------------------------------------------------------------------------

#define ACCESS(name, bytes, write)                                                                \
    extern "C" void __tsan_##name(void* address) {                                                \
        if (emulator::running != nullptr) {                                                       \
            emulator::access(*emulator::running, address, bytes, write, __builtin_return_address(0)); \
        }                                                                                         \
    }
#define ACCESSES(bytes)                      \
    ACCESS(read##bytes, bytes, false)        \
    ACCESS(write##bytes, bytes, true)        \
    ACCESS(unaligned_read##bytes, bytes, false) \
    ACCESS(unaligned_write##bytes, bytes, true)
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)
extern "C" void __tsan_read_range(void* address, size_t bytes) {
    if (emulator::running != nullptr) {
        emulator::access(*emulator::running, address, bytes, false, __builtin_return_address(0));
    }
}
extern "C" void __tsan_write_range(void* address, size_t bytes) {
    if (emulator::running != nullptr) {
        emulator::access(*emulator::running, address, bytes, true, __builtin_return_address(0));
    }
}
extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}
