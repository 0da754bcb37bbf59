// CUDA for g++: just enough to run runtime/kernels/*.cu on the CPU, one real thread for each thread of a
// block.
#pragma once

#include <pthread.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define __device__
#define __shared__ static  // blocks run one after the other
#define KERNEL(threads) static void
#define DYNAMIC_SHARED(type, name) type *name = static_cast<type *>(shim::dynamic_shared)

struct uint3 {
    unsigned int x, y, z;
};
struct alignas(8) uint2 {
    unsigned int x, y;
};
struct alignas(16) uint4 {
    unsigned int x, y, z, w;
};
struct alignas(16) float4 {
    float x, y, z, w;
};

inline uint2 make_uint2(unsigned int x, unsigned int y) { return {x, y}; }
inline uint4 make_uint4(unsigned int x, unsigned int y, unsigned int z, unsigned int w) {
    return {x, y, z, w};
}

inline thread_local uint3 threadIdx, blockIdx, blockDim;

namespace shim {
inline void *dynamic_shared;
inline pthread_barrier_t barrier;
}  // namespace shim

inline void __syncthreads() { pthread_barrier_wait(&shim::barrier); }

template <class T> inline T __ldg(const T *address) { return *address; }

// The program is compiled with -ffp-contract=off: each of these rounds.
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }

using std::fmaxf;
using std::fminf;
using std::max;
using std::min;

#include "platform.cuh"

inline float to_float(Half value) {
    _Float16 number;
    std::memcpy(&number, &value.bits, sizeof number);
    return static_cast<float>(number);
}

inline void assign(Half &target, float value) {
    const _Float16 number = static_cast<_Float16>(value);
    std::memcpy(&target.bits, &number, sizeof number);
}
