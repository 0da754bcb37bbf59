// sample: a frame of any format to the network's input, reading only the pixels that the bilinear downsample
// needs.
//
// Compiled with -DFRAME_FORMAT=<Format> and -DELEMENT=<Half or float>. One thread makes one low-resolution
// pixel. Each of the four pixels it reads becomes RGB, clamped, before they are averaged, as if the whole
// frame had been converted.
#include "params.cuh"
#include "taps.cuh"

KERNEL(256) sample(const SampleParams p) {
    const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= p.low_width || y >= p.low_height) return;
    const Tap column = tap_at(x, p.step, p.width), row = tap_at(y, p.step, p.height);
    const Rgb a = read_pixel<FRAME_FORMAT>(p.frame, p.decoding, column.first, row.first);
    const Rgb b = read_pixel<FRAME_FORMAT>(p.frame, p.decoding, column.second, row.first);
    const Rgb c = read_pixel<FRAME_FORMAT>(p.frame, p.decoding, column.first, row.second);
    const Rgb d = read_pixel<FRAME_FORMAT>(p.frame, p.decoding, column.second, row.second);
    const float levels[3] = {
        lerp(lerp(a.r, c.r, row.weight), lerp(b.r, d.r, row.weight), column.weight),
        lerp(lerp(a.g, c.g, row.weight), lerp(b.g, d.g, row.weight), column.weight),
        lerp(lerp(a.b, c.b, row.weight), lerp(b.b, d.b, row.weight), column.weight),
    };
    const size_t area = static_cast<size_t>(p.low_width) * p.low_height;
    ELEMENT *target = static_cast<ELEMENT *>(p.src) + static_cast<size_t>(y) * p.low_width + x;
#pragma unroll
    for (int channel = 0; channel < 3; ++channel)
        assign(target[channel * area], levels[channel] * (1.0f / 255.0f));
}
