// Frames of the codec `fast`, from packed bytes to pixels. schemas/src/fast_frame.rs has the format.
//
//   packed   u32 at[N]: image n begins at byte 16 at[n] of `packed`, or is black where at[n] = 0. Then the images themselves
//   pixels   u8 [N,S,S,3], S a multiple of 4
//
// Rows of a strip of 16 columns lie one after another and have as many bytes as their codes say, so where a row begins is the
// sum of all rows before it. That sum is needed for the first row of each strip only: from there a strip finds its own way.
//
//   a warp is an image      lanes add up the codes of eight strips; that says where each strip begins
//                           then lane 4 s + q walks down columns 4 q .. 4 q + 4 of strip s, and adds differences to the row above
//   four neighbours         are half a group, at most 32 bits of it, in one register: taken apart, signed, added and coloured as
//                           four bytes at once
//   four rows               are loaded together, for none of their addresses waits for another's bytes, and turned around in
//                           shared memory, so that a warp's stores are 128 bytes each
//
// A group with fields of b bits has b bytes: one number is both. Lengths of a row's six groups are kept in fields of 6 bits, of
// its three planes side by side.
//
// No address depends on what the bytes say without being cut to the last word: an image that is not one gives pixels that mean
// nothing.
//
// What bounds it: of 8,192 frames of 128x128, 165 MB are read and 403 MB written, 0.13 ms of an H200's memory. But four pixels
// take about 160 instructions, nearly all on integers, which are 0.2 ms at one a cycle and twice that at the rate of integers;
// and a load of a warp looks up eight lines of the first cache, 0.3 ms for all. So the instructions bound it, and about half a
// millisecond is to be expected. Nothing of this has been measured.
#include "device.cuh"

constexpr int THREADS = 128;
constexpr int WARPS = THREADS / 32;
constexpr int ROWS = 4;
// Of a strip, and strips that a warp walks down together.
constexpr int COLUMNS = 16;
constexpr int STRIPS = 8;
// Words of so many pixels of a row.
constexpr int WORDS = STRIPS * COLUMNS * 3 / 4;
constexpr unsigned HEADER_WORDS = 4;
constexpr unsigned CODE_BITS = 18;
// Every second of six codes of 3 bits, and one for each of them.
constexpr unsigned SECOND = 070707;
constexpr unsigned ONES = 010101;

struct Packed {
    const unsigned* words;
    // The last word that another one follows.
    unsigned last;

    // 32 bits from bit `bit` of word `first` on.
    INLINE unsigned bits(unsigned first, unsigned bit) const {
        const unsigned i = first + bit / 32, word = i < last ? i : last;
        return __funnelshift_r(words[word], words[word + 1], bit % 32);
    }
};

// Bytes of three groups, in fields of 6 bits, of their codes at every second place.
INLINE unsigned lengths(unsigned codes) {
    const unsigned c = codes & SECOND;
    return c + ((c | c >> 1 | c >> 2) & ONES);
}

// Four fields of b bits each, as four bytes with their signs.
INLINE unsigned spread(unsigned fields, unsigned b) {
    const unsigned one = 1u << b, pair = one * one - 1, single = (one - 1) * 0x10001u;
    const unsigned two = (fields & pair) | (fields >> 2 * b & pair) << 16;
    const unsigned four = (two & single) | (two >> b & single) << 8;
    // Fields of no bits have no sign.
    const unsigned negative = four >> ((b - 1) % 32) & 0x01010101u;
    return four | negative * (256 - one);
}

// Four sums of bytes.
INLINE unsigned add4(unsigned a, unsigned b) {
    return ((a & 0x7f7f7f7fu) + (b & 0x7f7f7f7fu)) ^ ((a ^ b) & 0x80808080u);
}

// Four pixels as three words in the order of memory.
INLINE void interleave(unsigned red, unsigned green, unsigned blue, unsigned (&out)[3]) {
    const unsigned low = __byte_perm(red, green, 0x5140), high = __byte_perm(red, green, 0x7362);
    out[0] = __byte_perm(low, blue, 0x2410);
    out[1] = __byte_perm(__byte_perm(low, blue, 0x0053), high, 0x5410);
    out[2] = __byte_perm(high, blue, 0x7326);
}

KERNEL(frames_decode, THREADS)
(const unsigned* __restrict__ words, unsigned* __restrict__ pixels, int images, int size, int count) {
    SHARED(unsigned, turned, WARPS * ROWS * WORDS);
    const int image = block() * WARPS + warp();
    if (image >= images) {
        return;
    }
    const Packed packed = {words, static_cast<unsigned>(count) - 2};
    const int line = size / 4 * 3;
    unsigned* out = pixels + static_cast<size_t>(image) * size * line;
    const unsigned at = words[image];
    if (at == 0) {
        for (int i = lane(); i < size * line; i += 32) {
            out[i] = 0;
        }
        return;
    }
    unsigned* own = turned + warp() * ROWS * WORDS;
    const unsigned body = at * 4 + HEADER_WORDS;
    const int strips = (size + COLUMNS - 1) / COLUMNS, quad = lane() % 4;
    // Bytes from `body` to the first group of the strips that come now. Codes of a multiple of four rows end with a byte.
    unsigned start = static_cast<unsigned>(strips * size) * CODE_BITS / 8;

    for (int first = 0; first < strips; first += STRIPS) {
        const int strip = first + lane() / 4;
        const unsigned codes = static_cast<unsigned>(strip * size) * CODE_BITS;
        unsigned bytes = 0;
        // Unrolled, it makes the assembler take 128 registers, with which a third as many warps fit.
#pragma unroll 1
        for (int y = quad; y < size; y += 4) {
            const unsigned six = packed.bits(body, codes + static_cast<unsigned>(y) * CODE_BITS);
            const unsigned planes = lengths(six) + lengths(six >> 3);
            bytes += (planes * ONES >> 12) & 63;
        }
        bytes += __shfl_xor_sync(ALL_LANES, bytes, 1);
        bytes += __shfl_xor_sync(ALL_LANES, bytes, 2);
        unsigned group = start;
        for (int s = 0; s < STRIPS; ++s) {
            const unsigned other = __shfl_sync(ALL_LANES, bytes, 4 * s);
            group += s < lane() / 4 ? other : 0;
            start += other;
        }

        // Green, red - green and blue - green of four columns in the row above.
        unsigned planes[3] = {};
        for (int top = 0; top < size; top += ROWS) {
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
                const unsigned six = packed.bits(body, codes + static_cast<unsigned>(top + r) * CODE_BITS);
                const unsigned low = lengths(six), high = lengths(six >> 3);
                // Of a product with ONES, each field is the sum of those up to it.
                const unsigned sums = (low + high) * ONES, before = sums << 6;
                const unsigned mine = quad < 2 ? low : high, begins = quad < 2 ? before : before + low;
#pragma unroll
                for (int p = 0; p < 3; ++p) {
                    const unsigned b = mine >> 6 * p & 63, from = group + (begins >> 6 * p & 63);
                    const unsigned fields = packed.bits(body, 8 * from + (quad % 2 == 0 ? 0 : 4 * b));
                    planes[p] = add4(planes[p], spread(fields, b));
                }
                group += sums >> 12 & 63;
                unsigned three[3];
                interleave(add4(planes[1], planes[0]), planes[0], add4(planes[2], planes[0]), three);
#pragma unroll
                for (int i = 0; i < 3; ++i) {
                    own[r * WORDS + lane() * 3 + i] = three[i];
                }
            }
            __syncwarp();
            const int from = first * COLUMNS / 4 * 3;
#pragma unroll
            for (int r = 0; r < ROWS; ++r) {
#pragma unroll
                for (int k = 0; k < WORDS / 32; ++k) {
                    const int i = k * 32 + lane();
                    if (from + i < line) {
                        out[static_cast<size_t>(top + r) * line + from + i] = own[r * WORDS + i];
                    }
                }
            }
            __syncwarp();
        }
    }
}
REGISTER(frames_decode)
