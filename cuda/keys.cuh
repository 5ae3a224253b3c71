// Caches keyed by everything that a choice depends on, compared and hashed as bytes: a
// key is a struct without padding, whose size is a multiple of 8.
#pragma once

#include <cstdint>
#include <cstring>

namespace tl {

template <typename Key> struct SameBytes {
    bool operator()(const Key &a, const Key &b) const {
        return std::memcmp(&a, &b, sizeof a) == 0;
    }
};

template <typename Key> struct HashOfBytes {
    size_t operator()(const Key &key) const {
        uint64_t words[sizeof(Key) / 8], hash = 0;
        std::memcpy(words, &key, sizeof words);
        for (const uint64_t word : words)
            hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15), hash ^= hash >> 32;
        return static_cast<size_t>(hash);
    }
};

} // namespace tl
