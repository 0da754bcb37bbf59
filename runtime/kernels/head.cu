// head: the decoder's hidden channels and the low-resolution image to A and b, all in single precision.
//
// Compiled with -DREFINER=<DEEP, FAST or NONE> and -DELEMENT=<Half or float>. With y = project(hid) =
// [residual, pha] and x = [src, mean_rgb(src)], 4 channels each, and box a 3x3 filter with weights of its own
// per channel:
//     cov = box(xy) - box(x)box(y), var = box(xx) - box(x)^2, b = box(y) - A·box(x)
//     DEEP: A = mlp([cov, var, hid]), 24 -> 16 -> 16 -> 4, ReLU between
//     FAST: A = cov / (var + 1e-5)
//     NONE: A = 0, b = y
// A block makes 32x8 pixels from x and y of 34x10. Outside the picture both are 0: the box pads y, not hid.
//
// The weights are one float array in the order of `Offset`, matrices row by row, one row per output channel
// (rvm_trt.runtime.head_weights packs it). Every part begins at a multiple of four floats.
#include "params.cuh"

enum Refiner { NONE, FAST, DEEP };

enum Offset {
    PROJECT_WEIGHT = 0,                    // (4, 16)
    PROJECT_BIAS = PROJECT_WEIGHT + 64,    // (4,)
    BOX_WEIGHT = PROJECT_BIAS + 4,         // (4, 3, 3)
    MLP_0_WEIGHT = BOX_WEIGHT + 36,        // (16, 24)
    MLP_0_BIAS = MLP_0_WEIGHT + 384,       // (16,)
    MLP_1_WEIGHT = MLP_0_BIAS + 16,        // (16, 16)
    MLP_1_BIAS = MLP_1_WEIGHT + 256,       // (16,)
    MLP_2_WEIGHT = MLP_1_BIAS + 16,        // (4, 16)
    MLP_2_BIAS = MLP_2_WEIGHT + 64,        // (4,)
    WEIGHTS = MLP_2_BIAS + 4,
};

constexpr int HIDDEN = 16, TILE_WIDTH = 32, TILE_HEIGHT = 8;
constexpr int HALO_WIDTH = TILE_WIDTH + 2, HALO_HEIGHT = TILE_HEIGHT + 2;
constexpr int USED_WEIGHTS = REFINER == DEEP ? WEIGHTS : REFINER == FAST ? MLP_0_WEIGHT : BOX_WEIGHT;

template <int IN, int OUT, bool RELU>
__device__ inline void dense(const Four *weights, const Four *bias, const float (&input)[IN],
                             float (&output)[OUT]) {
#pragma unroll
    for (int j = 0; j < OUT; ++j) {
        float sum = bias[j / 4].at[j % 4];
#pragma unroll
        for (int i = 0; i < IN; i += 4) {
            const Four four = weights[(j * IN + i) / 4];
#pragma unroll
            for (int k = 0; k < 4; ++k) sum += four.at[k] * input[i + k];
        }
        output[j] = RELU ? fmaxf(sum, 0.0f) : sum;
    }
}

__device__ inline void load_hidden(const Half *source, float *target) {
    const uint4 *quads = reinterpret_cast<const uint4 *>(source);
#pragma unroll
    for (int i = 0; i < HIDDEN / 8; ++i) {
        const uint4 quad = __ldg(quads + i);
        const Word words[4] = {quad.x, quad.y, quad.z, quad.w};
#pragma unroll
        for (int k = 0; k < 8; ++k)
            target[8 * i + k] = to_float(Half{static_cast<unsigned short>(words[k / 2] >> 16 * (k % 2))});
    }
}

__device__ inline void load_hidden(const float *source, float *target) {
    const float4 *quads = reinterpret_cast<const float4 *>(source);
#pragma unroll
    for (int i = 0; i < HIDDEN / 4; ++i) {
        const float4 quad = __ldg(quads + i);
        target[4 * i] = quad.x, target[4 * i + 1] = quad.y;
        target[4 * i + 2] = quad.z, target[4 * i + 3] = quad.w;
    }
}

__device__ inline size_t pixel_of(const HeadParams &p, int x, int y) {
    return (static_cast<size_t>(blockIdx.z) * p.height + y) * p.width + x;
}

__device__ inline Four project(const HeadParams &p, const Four *weights, int x, int y) {
    float hidden[HIDDEN];
    load_hidden(static_cast<const ELEMENT *>(p.hid) + pixel_of(p, x, y) * HIDDEN, hidden);
    Four result;
    dense<HIDDEN, 4, false>(weights + PROJECT_WEIGHT / 4, weights + PROJECT_BIAS / 4, hidden, result.at);
    return result;
}

// [src, mean_rgb(src)]
__device__ inline Four image_at(const HeadParams &p, int x, int y) {
    const size_t area = static_cast<size_t>(p.width) * p.height;
    const ELEMENT *source =
        static_cast<const ELEMENT *>(p.src) + 3 * blockIdx.z * area + static_cast<size_t>(y) * p.width + x;
    Four image;
#pragma unroll
    for (int c = 0; c < 3; ++c) image.at[c] = to_float(source[c * area]);
    image.at[3] = (image.at[0] + image.at[1] + image.at[2]) * (1.0f / 3.0f);
    return image;
}

// The box filter's sums around one pixel, with y = 0 and x = 0 outside the picture.
struct Statistics {
    Four x, y, xx, xy;
};

__device__ inline Statistics filter(const Four *box, const Four *image, const Four *output) {
    Statistics sums = {};
#pragma unroll
    for (int k = 0; k < 9; ++k) {
        const int at = k / 3 * HALO_WIDTH + k % 3;
        const Four x = image[at], y = output[at];
#pragma unroll
        for (int c = 0; c < 4; ++c) {
            const float weight = box[(9 * c + k) / 4].at[(9 * c + k) % 4];
            sums.x.at[c] += weight * x.at[c];
            sums.y.at[c] += weight * y.at[c];
            sums.xx.at[c] += weight * (x.at[c] * x.at[c]);
            sums.xy.at[c] += weight * (x.at[c] * y.at[c]);
        }
    }
    return sums;
}

__device__ inline Four slope_of(const HeadParams &p, const Four *weights, const Statistics &s, int x, int y) {
    float input[8 + HIDDEN];
#pragma unroll
    for (int c = 0; c < 4; ++c) {
        input[c] = s.xy.at[c] - s.x.at[c] * s.y.at[c];
        input[4 + c] = s.xx.at[c] - s.x.at[c] * s.x.at[c];
    }
    Four slope;
    if constexpr (REFINER == DEEP) {
        float first[16], second[16];
        load_hidden(static_cast<const ELEMENT *>(p.hid) + pixel_of(p, x, y) * HIDDEN, input + 8);
        dense<24, 16, true>(weights + MLP_0_WEIGHT / 4, weights + MLP_0_BIAS / 4, input, first);
        dense<16, 16, true>(weights + MLP_1_WEIGHT / 4, weights + MLP_1_BIAS / 4, first, second);
        dense<16, 4, false>(weights + MLP_2_WEIGHT / 4, weights + MLP_2_BIAS / 4, second, slope.at);
    } else {
#pragma unroll
        for (int c = 0; c < 4; ++c) slope.at[c] = input[c] / (input[4 + c] + 1e-5f);
    }
    return slope;
}

__device__ inline void store_planes(const HeadParams &p, float *planes, int x, int y, const Four &values) {
    const size_t area = static_cast<size_t>(p.width) * p.height;
    float *target = planes + 4 * blockIdx.z * area + static_cast<size_t>(y) * p.width + x;
#pragma unroll
    for (int c = 0; c < 4; ++c) target[c * area] = values.at[c];
}

// The block is TILE_WIDTH x TILE_HEIGHT threads.
KERNEL(256) head(const HeadParams p) {
    __shared__ Four weights[USED_WEIGHTS / 4];
    const int thread = threadIdx.y * TILE_WIDTH + threadIdx.x;
    for (int i = thread; i < USED_WEIGHTS; i += TILE_WIDTH * TILE_HEIGHT)
        weights[i / 4].at[i % 4] = __ldg(p.weights + i);
    __syncthreads();
    const int x = blockIdx.x * TILE_WIDTH + threadIdx.x, y = blockIdx.y * TILE_HEIGHT + threadIdx.y;
    if constexpr (REFINER == NONE) {
        if (x >= p.width || y >= p.height) return;
        store_planes(p, p.slope, x, y, Four{});
        store_planes(p, p.intercept, x, y, project(p, weights, x, y));
    } else {
        __shared__ Four image[HALO_HEIGHT * HALO_WIDTH], output[HALO_HEIGHT * HALO_WIDTH];
        for (int i = thread; i < HALO_HEIGHT * HALO_WIDTH; i += TILE_WIDTH * TILE_HEIGHT) {
            const int column = static_cast<int>(blockIdx.x) * TILE_WIDTH + i % HALO_WIDTH - 1;
            const int row = static_cast<int>(blockIdx.y) * TILE_HEIGHT + i / HALO_WIDTH - 1;
            const bool inside = column >= 0 && column < p.width && row >= 0 && row < p.height;
            image[i] = inside ? image_at(p, column, row) : Four{};
            output[i] = inside ? project(p, weights, column, row) : Four{};
        }
        __syncthreads();
        if (x >= p.width || y >= p.height) return;
        const int corner = threadIdx.y * HALO_WIDTH + threadIdx.x;
        const Statistics sums = filter(weights + BOX_WEIGHT / 4, image + corner, output + corner);
        const Four slope = slope_of(p, weights, sums, x, y);
        Four intercept;
#pragma unroll
        for (int c = 0; c < 4; ++c) intercept.at[c] = sums.y.at[c] - slope.at[c] * sums.x.at[c];
        store_planes(p, p.slope, x, y, slope);
        store_planes(p, p.intercept, x, y, intercept);
    }
}
