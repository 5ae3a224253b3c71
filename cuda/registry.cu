// The kernel files' tables, one after the other.
#include "tensorlib/cuda.h"

extern "C" const tl_cuda_entry *tl_cuda_entries(int family, int *count) {
    using Entries = const tl_cuda_entry *(*)(int *);
#define TL_CUDA_NAME(name) tl_cuda_##name##_entries,
    static const Entries families[] = {TL_CUDA_FAMILIES(TL_CUDA_NAME) nullptr};
#undef TL_CUDA_NAME
    *count = 0;
    const int known = static_cast<int>(sizeof families / sizeof families[0]) - 1;
    return family < known ? families[family](count) : nullptr;
}
