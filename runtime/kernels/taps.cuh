// Bilinear positions, bit for bit those of rvm_trt.resample: align_corners=False, clamped at both edges.
#pragma once

struct Tap {
    int first, second;
    float weight;  // of `second`
};

// Where position `index` of the target reads in a source of `size` samples; `step` is source samples per
// target sample. Each operation rounds on its own, as NumPy's do: a fused multiply-add would move positions
// by an ulp.
__device__ inline Tap tap_at(int index, float step, int size) {
    const float centre = __fsub_rn(__fmul_rn(__fadd_rn(static_cast<float>(index), 0.5f), step), 0.5f);
    const float position = fmaxf(centre, 0.0f);
    Tap tap;
    tap.first = min(static_cast<int>(position), size - 1);
    tap.second = min(tap.first + 1, size - 1);
    // Exact. At the far edge both taps are the last sample, so that the weight has no effect there.
    tap.weight = fminf(position - static_cast<float>(tap.first), 1.0f);
    return tap;
}

__device__ inline float lerp(float a, float b, float weight) { return a + weight * (b - a); }
