// Matrix products as the kernel families ask for them; matmul.cu chooses who computes
// them.
#pragma once

#include "numbers.cuh"

namespace tl {

// c = start + a @ b for every matrix of a batch, where start is c itself (accumulate),
// or rows that are all `bias`, or zeros. Strides are in elements, of any sign or zero.
struct MatrixProduct {
    int dtype; // tl_dtype
    int64_t m, n, k;
    const void *a;
    int64_t a_row, a_col, a_batch = 0;
    const void *b;
    int64_t b_row, b_col, b_batch = 0;
    void *c;
    int64_t c_row, c_col = 1, c_batch = 0;
    const void *bias = nullptr; // n elements
    int64_t batch = 1;
    bool accumulate = false;
};

// By whichever kernel or library is quickest; on the current stream.
tl_status multiply(const MatrixProduct &p);

// By cuBLASLt; TL_DECLINED without it and for what it does not take.
bool have_cublaslt();
tl_status cublaslt_multiply(const MatrixProduct &p);

// How a column-major library takes a matrix stored by rows: 'N' as it is, 'T' where its
// columns are the runs, 0 where it must be copied first. ld: elements from run to run.
inline char leading(int64_t rows, int64_t cols, int64_t row, int64_t col, int64_t *ld) {
    if ((col == 1 || cols == 1) && (row >= cols || rows == 1)) {
        *ld = row > cols && rows > 1 ? row : cols;
        return 'N';
    }
    if ((row == 1 || rows == 1) && (col >= rows || cols == 1)) {
        *ld = col > rows && cols > 1 ? col : rows;
        return 'T';
    }
    return 0;
}

} // namespace tl
