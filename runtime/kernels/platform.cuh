// What differs between a GPU and the host build of the tests: entry points and half precision.
//
// NVRTC comes without cuda_fp16.h, so that halves are bit patterns here, converted by the GPU's own
// instructions. The tests' host build defines the macros and the two conversions itself.
#pragma once

using Byte = unsigned char;
using Word = unsigned int;

struct Half {
    unsigned short bits;
};

struct alignas(16) Four {
    float at[4];
};

#ifdef __CUDACC__
#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads)
#define DYNAMIC_SHARED(type, name) extern __shared__ type name[]  // its size is the launch's

__device__ inline float to_float(Half value) {
    float result;
    asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(value.bits));
    return result;
}

__device__ inline void assign(Half &target, float value) {
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(target.bits) : "f"(value));
}
#endif

__device__ inline float to_float(float value) { return value; }

__device__ inline void assign(float &target, float value) { target = value; }
