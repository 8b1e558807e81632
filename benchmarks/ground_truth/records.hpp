// Layout of the record files; benchmarks/records.py has the same as numpy types.
#pragma once

#include "wire.hpp"

struct FileHeader {
    char magic[8];
    int64_t requests, sends;
    int64_t dropped;          // requests that came after the preallocated memory was full
    int64_t offset_start_ns;  // CLOCK_REALTIME − CLOCK_MONOTONIC, before and after
    int64_t offset_end_ns;
};

// What the server did. All `_ns` are CLOCK_MONOTONIC.
struct ServedRequest {
    char id[64];               // X-Request-Id, cut to 63 characters
    int64_t arrival_ns;        // kernel's time of the request's last byte (user-space if it gave none)
    int64_t arrival_user_ns;   // when the server read it
    int64_t service_ns;        // when it got its slot
    int64_t first_send, sends; // its rows of Send
    int32_t streamed, kernel_time, finished, tokens;
};

struct Send {
    int64_t planned_ns;
    int64_t before_ns, after_ns;  // around send(); a send that the socket could not take at once: until all was out
    int32_t chunks;               // content-bearing chunks in it
    int32_t deferred;             // 1: the socket's buffer was full
};

// What the reference client saw.
struct SeenRequest {
    int64_t job, slot;
    int64_t start_ns;
    int64_t end_kernel_ns, end_user_ns;
    int64_t first_chunk, chunks;  // its rows of SeenChunk
    int64_t reconnects;
};

struct SeenChunk {
    int64_t kernel_ns, user_ns;
    int64_t merged;  // 1: another content chunk came in the same read, after this one
};
