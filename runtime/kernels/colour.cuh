// Colours in levels: red, green and blue as floats in 0..255, whatever the picture's own format is.
#pragma once

#include "platform.cuh"

struct Rgb {
    float r, g, b;
};

// From codes to levels: luma = code · scale + bias; chroma codes less their centre are weighed and added to
// it.
struct Decoding {
    float scale, bias, chroma_centre;
    float red_cr, green_cb, green_cr, blue_cb;
};

// From levels to codes: each of Y, Cb, Cr is (r, g, b, 1) times its row, rounded, and clamped to 0..top.
struct Encoding {
    float rows[3][4];
    float top;
};

__device__ inline float clamp_level(float value) { return fminf(fmaxf(value, 0.0f), 255.0f); }

// Nearest, half up. Takes 0..255 only: a NaN has become 0 in clamp_level.
__device__ inline Word quantise(float level) { return static_cast<Word>(level + 0.5f); }

__device__ inline Rgb decode(const Decoding &d, float luma, float cb, float cr) {
    const float y = luma * d.scale + d.bias;
    const float u = cb - d.chroma_centre, v = cr - d.chroma_centre;
    return {clamp_level(y + d.red_cr * v), clamp_level(y + d.green_cb * u + d.green_cr * v),
            clamp_level(y + d.blue_cb * u)};
}

// Component 0, 1 or 2 is Y, Cb or Cr.
__device__ inline Word encode(const Encoding &e, int component, const Rgb &colour) {
    const float *row = e.rows[component];
    const float code = row[0] * colour.r + row[1] * colour.g + row[2] * colour.b + row[3];
    return static_cast<Word>(fminf(fmaxf(code + 0.5f, 0.0f), e.top));
}
