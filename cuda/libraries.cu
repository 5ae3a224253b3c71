// NVIDIA's libraries, found and loaded at first use: nothing of them is needed to
// build.
#include "launch.cuh"

#include <dlfcn.h>

#include <cstring>
#include <map>
#include <mutex>
#include <string>

namespace {

// Versions that our declarations hold for, the newest first.
struct Library {
    const char *name;
    const char *files[3];
};
const Library libraries[] = {
    {"cublasLt", {"libcublasLt.so.13", "libcublasLt.so.12", nullptr}},
    {"cudnn", {"libcudnn.so.9", nullptr, nullptr}},
    {"nccl", {"libnccl.so.2", nullptr, nullptr}},
};

std::mutex mutex;
std::string folders;
std::map<std::string, void *> loaded;

// A library that the process has already (another package's) is found by its name
// alone.
void *open_file(const char *file) {
#ifdef TL_CUDA_EMULATED
    void *handle = nullptr; // without a device only a test's own libraries will do
#else
    void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);
#endif
    for (size_t begin = 0; handle == nullptr && begin < folders.size();) {
        const size_t end = std::min(folders.find(':', begin), folders.size());
        const std::string path = folders.substr(begin, end - begin) + "/" + file;
        handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
        begin = end + 1;
    }
    return handle;
}

void *open_library(const char *name) {
    for (const Library &library : libraries)
        if (std::strcmp(library.name, name) == 0)
            for (const char *file : library.files)
                if (void *handle = file ? open_file(file) : nullptr) return handle;
    return nullptr;
}

} // namespace

namespace tl {

void *library_function(const char *library, const char *name) {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = loaded.find(library);
    void *handle = found != loaded.end() ? found->second
                                         : (loaded[library] = open_library(library));
    return handle == nullptr ? nullptr : dlsym(handle, name);
}

} // namespace tl

extern "C" void tl_cuda_set_library_path(const char *path) {
    const std::lock_guard<std::mutex> lock(mutex);
    folders = path;
    for (auto entry = loaded.begin(); entry != loaded.end();)
        entry = entry->second == nullptr ? loaded.erase(entry) : std::next(entry);
}
