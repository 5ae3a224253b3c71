// Page-locked memory of the host that is handed out again.
#ifndef TENSORLIB_PINNED_CUH
#define TENSORLIB_PINNED_CUH

#include "launch.cuh"

namespace tl {

// A copy that nobody waits for reads the host's memory here on a stream of the current
// device; pinned memory will not be handed out again before that is done.
cudaError_t note_reader(const void *source, cudaStream_t stream);

} // namespace tl

#endif // TENSORLIB_PINNED_CUH
