// What lanes do together, by the layouts of the PTX manual, and asynchronous copies.
#include "emulator.h"

namespace emulator {

namespace {

float from_bf16(unsigned bits) { return __uint_as_float(bits << 16); }

struct Shuffle {
    unsigned value, source, result;
};

struct Vote {
    bool vote;
    unsigned result;
};

struct Mma {
    float* c;
    const unsigned* a;
    const unsigned* b;
};

struct Matrices {
    unsigned* r;
    const void* row;
    bool transposed;
    const void* pc;
};

void check_alignment(const void* address, unsigned bytes, const void* pc) {
    if (reinterpret_cast<uintptr_t>(address) % bytes != 0) {
        fault(line_of(pc), "an address that is not a multiple of " + std::to_string(bytes) + " bytes");
    }
}

void apply_mma(void* const lanes[32]) {
    // Lane 4 g + q holds, as pairs of neighbouring k (A, B) or neighbouring columns (C):
    //   A[16][16]  a0 (g, 2q)  a1 (g+8, 2q)  a2 (g, 2q+8)  a3 (g+8, 2q+8)
    //   B[16][8]   b0 (2q, g)  b1 (2q+8, g)          C[16][8]  c0 c1 (g, 2q)  c2 c3 (g+8, 2q)
    float a[16][16], b[16][8];
    for (unsigned lane = 0; lane < 32; ++lane) {
        const Mma& m = *static_cast<const Mma*>(lanes[lane]);
        const unsigned g = lane / 4, k = lane % 4 * 2;
        for (unsigned half = 0; half < 2; ++half) {
            const auto pick = [half](unsigned pair) { return from_bf16(half == 0 ? pair & 0xffff : pair >> 16); };
            a[g][k + half] = pick(m.a[0]);
            a[g + 8][k + half] = pick(m.a[1]);
            a[g][k + 8 + half] = pick(m.a[2]);
            a[g + 8][k + 8 + half] = pick(m.a[3]);
            b[k + half][g] = pick(m.b[0]);
            b[k + 8 + half][g] = pick(m.b[1]);
        }
    }
    for (unsigned lane = 0; lane < 32; ++lane) {
        const Mma& m = *static_cast<const Mma*>(lanes[lane]);
        for (unsigned i = 0; i < 4; ++i) {
            const unsigned row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
            float sum = m.c[i];
            for (unsigned k = 0; k < 16; ++k) {
                sum += a[row][k] * b[k][column];
            }
            m.c[i] = sum;
        }
    }
}

void apply_ldmatrix(void* const lanes[32]) {
    unsigned short matrices[4][8][8];
    for (unsigned lane = 0; lane < 32; ++lane) {
        const Matrices& m = *static_cast<const Matrices*>(lanes[lane]);
        access(thread_of_lane(lane), m.row, 16, false, m.pc);
        std::memcpy(matrices[lane / 8][lane % 8], m.row, 16);
    }
    for (unsigned lane = 0; lane < 32; ++lane) {
        const Matrices& m = *static_cast<const Matrices*>(lanes[lane]);
        const unsigned g = lane / 4, q = lane % 4 * 2;
        for (unsigned i = 0; i < 4; ++i) {
            const unsigned low = m.transposed ? matrices[i][q][g] : matrices[i][g][q];
            const unsigned high = m.transposed ? matrices[i][q + 1][g] : matrices[i][g][q + 1];
            m.r[i] = low | high << 16;
        }
    }
}

}  // namespace

void block_barrier(Place place) { wait_for_block(place); }

void warp_barrier(Place place) {
    wait_for_warp("__syncwarp", place, nullptr, [](void* const*) {
        ++clock_now.warp_barriers[running->index / 32];
        for (unsigned lane = 0; lane < 32; ++lane) {
            thread_of_lane(lane).segment = 0;
        }
    });
}

unsigned shuffle(unsigned value, unsigned source_lane, Place place) {
    Shuffle mine = {value, source_lane, 0};
    wait_for_warp("a shuffle", place, &mine, [](void* const lanes[32]) {
        for (unsigned lane = 0; lane < 32; ++lane) {
            Shuffle& s = *static_cast<Shuffle*>(lanes[lane]);
            s.result = static_cast<const Shuffle*>(lanes[s.source])->value;
        }
    });
    return mine.result;
}

unsigned ballot(bool vote, Place place) {
    Vote mine = {vote, 0};
    wait_for_warp("a vote", place, &mine, [](void* const lanes[32]) {
        unsigned votes = 0;
        for (unsigned lane = 0; lane < 32; ++lane) {
            votes |= static_cast<const Vote*>(lanes[lane])->vote ? 1u << lane : 0u;
        }
        for (unsigned lane = 0; lane < 32; ++lane) {
            static_cast<Vote*>(lanes[lane])->result = votes;
        }
    });
    return mine.result;
}

void mma_m16n8k16_bf16(float c[4], const unsigned a[4], const unsigned b[2], Place place) {
    Mma mine = {c, a, b};
    wait_for_warp("mma", place, &mine, apply_mma);
}

void ldmatrix_x4(unsigned r[4], const void* row, bool transposed, Place place) {
    const void* pc = __builtin_return_address(0);
    check_alignment(row, 16, pc);
    Matrices mine = {r, row, transposed, pc};
    wait_for_warp("ldmatrix", place, &mine, apply_ldmatrix);
}

void cp_async_16(void* shared, const void* global) {
    const void* pc = __builtin_return_address(0);
    check_alignment(shared, 16, pc);
    check_alignment(global, 16, pc);
    access(*running, global, 16, false, pc);
    running->group.push_back({shared, global, pc});
}

void cp_async_commit() {
    running->groups.push_back(running->group);
    running->group.clear();
}

// Nothing arrives before it is waited for: a kernel that reads early reads what CUDA may give it, the old bytes.
void cp_async_wait(int groups_left) {
    auto& groups = running->groups;
    while (groups.size() > static_cast<size_t>(groups_left)) {
        for (const Copy& copy : groups.front()) {
            access(*running, copy.shared, 16, true, copy.pc);
            std::memcpy(copy.shared, copy.global, 16);
        }
        groups.erase(groups.begin());
    }
}

void check_alignment(const void* address, unsigned bytes) { check_alignment(address, bytes, __builtin_return_address(0)); }

}  // namespace emulator
