// Sums of partial sums: each of up to seven gradients += the sum over rows of its columns of parts[R,C].
//
// The second half of every parameter gradient: blocks of the first half write one row each, and here they are added in order. A row
// holds the gradients one after another, so that one launch adds them all.
//
// Block: 32 columns x 8 rows of threads. Thread (r, c) adds rows r, r + 8, ...; then the 8 are added in order.
// Precision: fp32.
#include "device.cuh"

// Where column `at` of a row goes, or how far it lies behind this gradient.
INLINE void find(float*& to, int& at, float* gradient, int columns) {
    if (to == nullptr) {
        to = at < columns ? gradient + at : nullptr;
        at -= columns;
    }
}

// Gradients that are not there have no columns.
KERNEL(add_rows, 256)
(const float* parts, int rows, float* a, int a_columns, float* b, int b_columns, float* c, int c_columns, float* d, int d_columns,
 float* e, int e_columns, float* f, int f_columns, float* g, int g_columns) {
    SHARED(float, sums, 256);
    const int columns = a_columns + b_columns + c_columns + d_columns + e_columns + f_columns + g_columns;
    const int column = block() * 32 + lane();
    float sum = 0;
    if (column < columns) {
        for (int r = warp(); r < rows; r += 8) {
            sum += parts[static_cast<size_t>(r) * columns + column];
        }
    }
    sums[thread()] = sum;
    __syncthreads();
    if (warp() == 0 && column < columns) {
        for (int r = 1; r < 8; ++r) {
            sum += sums[r * 32 + lane()];
        }
        float* to = nullptr;
        int at = column;
        find(to, at, a, a_columns);
        find(to, at, b, b_columns);
        find(to, at, c, c_columns);
        find(to, at, d, d_columns);
        find(to, at, e, e_columns);
        find(to, at, f, f_columns);
        find(to, at, g, g_columns);
        *to += sum;
    }
}
REGISTER(add_rows)
