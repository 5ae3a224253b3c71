// What the two halves of the emulator know of each other.
#pragma once

namespace emulated {

// Keeps a text for tl_emulated_check and shows it on stderr; the error is what the next
// call that waits for the device returns.
void report(const char *text, cudaError_t error = cudaSuccess);
// Runs the launches that wait; says how the first that failed did.
cudaError_t flush();
void check_all_guards();

// Graphs: launches taken down instead of run, and run again. One capture at a time.
bool is_recording();
void begin_recording();
void *end_recording();
cudaError_t replay(void *launches);
void forget_recording(void *launches);

// While one lives, the device's memory can be read and written.
struct Access {
    Access();
    ~Access();
};

} // namespace emulated
