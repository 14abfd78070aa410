// Sums of partial sums: out[C] += sum over rows of parts[R,C].
//
// The second half of every parameter gradient: blocks of the first half write one row each, and here they are added in order.
//
// Block: 32 columns x 8 rows of threads. Thread (r, c) adds rows r, r + 8, ...; then the 8 are added in order.
// Precision: fp32.
#include "device.cuh"

// parts[rows, stride], of which the columns from..from+cols are summed.
KERNEL(add_rows, 256)(const float* parts, float* out, int rows, int cols, int stride, int from) {
    SHARED(float, sums, 256);
    const int column = block() * 32 + lane();
    float sum = 0;
    if (column < cols) {
        for (int r = warp(); r < rows; r += 8) {
            sum += parts[static_cast<size_t>(r) * stride + from + column];
        }
    }
    sums[thread()] = sum;
    __syncthreads();
    if (warp() == 0 && column < cols) {
        for (int r = 1; r < 8; ++r) {
            sum += sums[r * 32 + lane()];
        }
        out[column] += sum;
    }
}
REGISTER(add_rows)
