// Runs the CUDA kernels on the CPU. `driver layout` prints the layout of the parameters, `driver taps`
// bilinear positions, and `driver launches` reads launches from standard input and writes every buffer back:
// see cuda_host.py for the format.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "shim.h"

#include "groups.cuh"
#include "params.cuh"
#include "taps.cuh"

using Kernel = void (*)(const void *params);

// Includes every variant, in a namespace of its own, and lists them in `kernels`.
#include "variants.inc"

namespace {

struct Sizes {
    int64_t variant, grid[3], block[3], shared, params, buffers, pointers;
};

struct Pointer {
    int64_t at, buffer, offset;
};

template <class T> bool read(T *target, size_t count = 1) {
    return std::fread(target, sizeof(T), count, stdin) == count;
}

template <class T> void must_read(T *target, size_t count = 1) {
    if (!read(target, count)) std::abort();
}

// Every thread of a block goes through all blocks. Barriers keep them in the same one, and between two of
// them the shared memory turns into NaNs, as nothing may be left over from another block.
void run_thread(const Sizes &sizes, const void *params, unsigned thread) {
    blockDim = {unsigned(sizes.block[0]), unsigned(sizes.block[1]), unsigned(sizes.block[2])};
    threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / blockDim.x / blockDim.y};
    for (unsigned z = 0; z < sizes.grid[2]; ++z)
        for (unsigned y = 0; y < sizes.grid[1]; ++y)
            for (unsigned x = 0; x < sizes.grid[0]; ++x) {
                if (thread == 0 && sizes.shared)
                    std::memset(shim::dynamic_shared, 0xff, size_t(sizes.shared));
                pthread_barrier_wait(&shim::barrier);
                blockIdx = {x, y, z};
                kernels[sizes.variant](params);
                pthread_barrier_wait(&shim::barrier);
            }
}

void run(const Sizes &sizes, const void *params) {
    const std::unique_ptr<void, void (*)(void *)> shared(std::malloc(size_t(sizes.shared)), std::free);
    shim::dynamic_shared = shared.get();
    const unsigned count = unsigned(sizes.block[0] * sizes.block[1] * sizes.block[2]);
    pthread_barrier_init(&shim::barrier, nullptr, count);
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < count; ++i) threads.emplace_back(run_thread, std::cref(sizes), params, i);
    for (std::thread &thread : threads) thread.join();
    pthread_barrier_destroy(&shim::barrier);
}

// Each buffer is an allocation of exactly its size, so that the sanitizer sees the first byte beside it.
void run_launches() {
    for (Sizes sizes; read(&sizes);) {
        std::vector<unsigned char> params(size_t(sizes.params));
        must_read(params.data(), params.size());
        std::vector<std::vector<unsigned char>> buffers;
        for (int64_t i = 0; i < sizes.buffers; ++i) {
            int64_t size;
            must_read(&size);
            buffers.emplace_back(size_t(size));
            must_read(buffers.back().data(), size_t(size));
        }
        for (int64_t i = 0; i < sizes.pointers; ++i) {
            Pointer pointer;
            must_read(&pointer);
            const unsigned char *address = buffers.at(size_t(pointer.buffer)).data() + pointer.offset;
            std::memcpy(params.data() + pointer.at, &address, sizeof address);
        }
        run(sizes, params.data());
        for (const auto &buffer : buffers) std::fwrite(buffer.data(), 1, buffer.size(), stdout);
    }
}

void print_taps() {
    struct {
        int64_t target, size;
        double step;
    } axis;
    while (read(&axis))
        for (int i = 0; i < axis.target; ++i) {
            const Tap tap = tap_at(i, float(axis.step), int(axis.size));
            std::fwrite(&tap, sizeof tap, 1, stdout);
        }
}

#define FIELD(type, name) \
    std::printf(#type " " #name " %zu %zu\n", offsetof(type, name), sizeof(type::name))
#define RECORD(type) std::printf(#type " - %zu %zu\n", sizeof(type), alignof(type))

void print_layout() {
#include "fields.inc"
}

}  // namespace

int main(int count, char **arguments) {
    const char *task = count > 1 ? arguments[1] : "";
    if (!std::strcmp(task, "layout")) print_layout();
    else if (!std::strcmp(task, "taps")) print_taps();
    else if (!std::strcmp(task, "launches")) run_launches();
    else return 2;
}
