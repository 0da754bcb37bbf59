// compose: frame, A, b and background to every requested output, in one pass.
//
// Compiled with -DFRAME_FORMAT=<Format> and -DCOMPOSITE_FORMAT=<Format>. A block makes 128x8 pixels: it first
// interpolates A and b along y into shared memory, 32 bytes for each low-resolution column and row that it
// needs, then along x for each pixel. A thread makes four neighbouring pixels, of two rows where frame or
// composite shares chroma between rows. Outputs must not overlap what is read.
#include "groups.cuh"
#include "params.cuh"
#include "taps.cuh"

constexpr int ROWS = is_subsampled(FRAME_FORMAT) || is_subsampled(COMPOSITE_FORMAT) ? 2 : 1;
constexpr int TILE_WIDTH = 128, TILE_HEIGHT = 8;
constexpr int THREADS = TILE_WIDTH / GROUP * (TILE_HEIGHT / ROWS);  // TILE_WIDTH / GROUP of them in a row

// A block's A and b, interpolated along y: TILE_HEIGHT rows of the `count` low-resolution columns from
// `first` on.
struct Tile {
    Four *slope, *intercept;
    int first, count;
};

__device__ inline Tile tile_of(const ComposeParams &p, Four *memory, int left) {
    const int right = min(left + TILE_WIDTH, p.width) - 1;
    const int first = tap_at(left, p.step_x, p.low_width).first;
    const int count = tap_at(right, p.step_x, p.low_width).second - first + 1;
    return {memory, memory + TILE_HEIGHT * count, first, count};
}

__device__ inline Four load_four(const float *planes, size_t area, size_t upper, size_t lower, float weight) {
    Four four;
#pragma unroll
    for (int c = 0; c < 4; ++c)
        four.at[c] = lerp(__ldg(planes + c * area + upper), __ldg(planes + c * area + lower), weight);
    return four;
}

// Fills the tile, which begins at row `top` of the frame. All threads of the block take part.
__device__ inline void fill(const ComposeParams &p, const Tile &tile, int top) {
    const size_t area = static_cast<size_t>(p.low_width) * p.low_height;
    for (int y = threadIdx.y; y < TILE_HEIGHT && top + y < p.height; y += blockDim.y) {
        const Tap row = tap_at(top + y, p.step_y, p.low_height);
        for (int x = threadIdx.x; x < tile.count; x += blockDim.x) {
            const size_t upper = static_cast<size_t>(row.first) * p.low_width + tile.first + x;
            const size_t lower = static_cast<size_t>(row.second) * p.low_width + tile.first + x;
            tile.slope[y * tile.count + x] = load_four(p.slope, area, upper, lower, row.weight);
            tile.intercept[y * tile.count + x] = load_four(p.intercept, area, upper, lower, row.weight);
        }
    }
}

__device__ inline Four mix(const Four &a, const Four &b, float weight) {
    Four four;
#pragma unroll
    for (int c = 0; c < 4; ++c) four.at[c] = lerp(a.at[c], b.at[c], weight);
    return four;
}

// Turns pixels into foreground, and gives their alpha; both in levels. `row` is counted from the tile's
// first.
__device__ inline void matte(const ComposeParams &p, const Tile &tile, int x, int row, Rgb (&pixels)[GROUP],
                             float (&alpha)[GROUP]) {
#pragma unroll
    for (int i = 0; i < GROUP; ++i) {
        const Tap tap = tap_at(min(x + i, p.width - 1), p.step_x, p.low_width);
        const int left = row * tile.count + tap.first - tile.first, right = left + tap.second - tap.first;
        const Four A = mix(tile.slope[left], tile.slope[right], tap.weight);
        const Four b = mix(tile.intercept[left], tile.intercept[right], tap.weight);
        Rgb &pixel = pixels[i];
        const float mean = (pixel.r + pixel.g + pixel.b) * (1.0f / 3.0f);
        alpha[i] = clamp_level(A.at[3] * mean + b.at[3] * 255.0f);
        pixel = {clamp_level(A.at[0] * pixel.r + b.at[0] * 255.0f + pixel.r),
                 clamp_level(A.at[1] * pixel.g + b.at[1] * 255.0f + pixel.g),
                 clamp_level(A.at[2] * pixel.b + b.at[2] * 255.0f + pixel.b)};
    }
}

__device__ inline void store_alpha(const Picture &target, int x, int y, int count,
                                   const float (&alpha)[GROUP]) {
    Word words[1] = {};
#pragma unroll
    for (int i = 0; i < GROUP; ++i) put_sample<false>(words, i, quantise(alpha[i]));
    store_words(row_of(target, y) + x, count, words);
}

__device__ inline void store_rgba(const ComposeParams &p, int x, int y, int count, const Rgb (&pixels)[GROUP],
                                  const float (&alpha)[GROUP]) {
    Word words[GROUP];
#pragma unroll
    for (int i = 0; i < GROUP; ++i) {
        const float scale = p.premultiplied ? alpha[i] * (1.0f / 255.0f) : 1.0f;
        words[i] = quantise(pixels[i].r * scale) | quantise(pixels[i].g * scale) << 8 |
                   quantise(pixels[i].b * scale) << 16 | quantise(alpha[i]) << 24;
    }
    store_words(row_of(p.rgba, y) + static_cast<size_t>(x) * 4, 4 * count, words);
}

// Lays the foreground over the background, in place.
__device__ inline void blend(const ComposeParams &p, int x, int y, int count, const float (&alpha)[GROUP],
                             Rgb (&pixels)[GROUP]) {
    Rgb behind[GROUP];
    if (p.background.plane) {
        load_group<RGB8>(p.background, p.decoding, ChromaPairs<RGB8>{}, x, y, count, behind);
    } else {
#pragma unroll
        for (int i = 0; i < GROUP; ++i) behind[i] = {p.colour[0], p.colour[1], p.colour[2]};
    }
#pragma unroll
    for (int i = 0; i < GROUP; ++i) {
        const float opacity = alpha[i] * (1.0f / 255.0f);
        pixels[i] = {behind[i].r + (pixels[i].r - behind[i].r) * opacity,
                     behind[i].g + (pixels[i].g - behind[i].g) * opacity,
                     behind[i].b + (pixels[i].b - behind[i].b) * opacity};
    }
}

__device__ inline void add_to_means(const Rgb (&pixels)[GROUP], int count, float rows,
                                    Rgb (&means)[GROUP / 2]) {
#pragma unroll
    for (int i = 0; i < GROUP; ++i) {
        if (i >= count) continue;
        const int columns = min(count - i / 2 * 2, 2);  // an odd width's last column is alone
        const float share = 1.0f / (rows * columns);
        Rgb &mean = means[i / 2];
        mean = {mean.r + pixels[i].r * share, mean.g + pixels[i].g * share, mean.b + pixels[i].b * share};
    }
}

KERNEL(THREADS) compose(const ComposeParams p) {
    DYNAMIC_SHARED(Four, memory);
    const int tile_top = blockIdx.y * TILE_HEIGHT;
    const Tile tile = tile_of(p, memory, blockIdx.x * TILE_WIDTH);
    fill(p, tile, tile_top);
    __syncthreads();
    const int x = blockIdx.x * TILE_WIDTH + threadIdx.x * GROUP, top = tile_top + threadIdx.y * ROWS;
    if (x >= p.width || top >= p.height) return;
    const int count = min(GROUP, p.width - x), rows = min(ROWS, p.height - top);
    ChromaPairs<FRAME_FORMAT> chroma = {};
    load_chroma(p.frame, x, top, count, chroma);
    Rgb means[GROUP / 2] = {};
#pragma unroll 1
    for (int y = top; y < top + rows; ++y) {
        Rgb pixels[GROUP];
        float alpha[GROUP];
        load_group<FRAME_FORMAT>(p.frame, p.decoding, chroma, x, y, count, pixels);
        matte(p, tile, x, y - tile_top, pixels, alpha);
        if (p.pha.plane) store_alpha(p.pha, x, y, count, alpha);
        if (p.fgr.plane) store_group<RGB8>(p.fgr, p.encoding, x, y, count, pixels);
        if (p.rgba.plane) store_rgba(p, x, y, count, pixels, alpha);
        if (!p.composite.plane) continue;
        blend(p, x, y, count, alpha, pixels);
        store_group<COMPOSITE_FORMAT>(p.composite, p.encoding, x, y, count, pixels);
        if constexpr (is_subsampled(COMPOSITE_FORMAT)) add_to_means(pixels, count, rows, means);
    }
    if constexpr (is_subsampled(COMPOSITE_FORMAT))
        if (p.composite.plane) store_chroma<COMPOSITE_FORMAT>(p.composite, p.encoding, x, top, count, means);
}
