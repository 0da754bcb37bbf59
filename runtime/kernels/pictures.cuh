// Pictures in device memory, and reading and writing them four neighbouring pixels at a time.
//
// NV12 and P010 are a luma plane and a plane of interleaved Cb, Cr at half the width and height, rounded up.
// A chroma sample serves its 2x2 pixels as it is, and is written as their mean: what decoders' and encoders'
// own converters do at this speed, and a picture that goes from NV12 to NV12 keeps its chroma. (Interpolating
// left-sited chroma would read twice the samples to move colour edges by half a pixel.) P010 has its ten bits
// at the top of each 16; the six below are ignored, and written as 0. The alpha of RGBA frames is ignored.
//
// Rows may begin at any byte (P010: any even byte). Rows that begin at a multiple of 16 bytes move in whole
// words.
#pragma once

#include "colour.cuh"
#include "platform.cuh"

enum Format { RGB8, BGR8, RGBA8, NV12, P010 };

struct Picture {
    Byte *plane;  // packed pixels, or luma; null where there is no such picture
    Byte *chroma;
    int pitch, chroma_pitch;  // bytes from row to row
};

constexpr int GROUP = 4;  // pixels that one thread moves at once

__device__ constexpr bool is_subsampled(Format format) { return format == NV12 || format == P010; }

__device__ constexpr int bytes_per_pixel(Format format) {
    return format == RGBA8 ? 4 : format == NV12 ? 1 : format == P010 ? 2 : 3;
}

__device__ inline Byte *row_of(const Picture &picture, int y) {
    return picture.plane + static_cast<size_t>(y) * picture.pitch;
}

__device__ inline Byte *chroma_row_of(const Picture &picture, int y) {
    return picture.chroma + static_cast<size_t>(y) * picture.chroma_pitch;
}

template <int COUNT>
__device__ inline bool is_whole(const Byte *address, int bytes) {
    constexpr size_t alignment = COUNT == 3 ? 4 : 4 * COUNT;
    return bytes == 4 * COUNT && reinterpret_cast<size_t>(address) % alignment == 0;
}

// Reads the first `bytes` of COUNT little-endian words; the rest are 0.
template <int COUNT>
__device__ inline void load_words(const Byte *source, int bytes, Word (&words)[COUNT]) {
    if (!is_whole<COUNT>(source, bytes)) {
        // One word after the other, each in at the end: indices known to the compiler keep words in
        // registers.
#pragma unroll 1
        for (int i = 0; i < COUNT; ++i, bytes -= 4, source += 4) {
            Word word = 0;
#pragma unroll
            for (int k = 0; k < 4; ++k)
                if (k < bytes) word |= static_cast<Word>(__ldg(source + k)) << 8 * k;
#pragma unroll
            for (int k = 1; k < COUNT; ++k) words[k - 1] = words[k];
            words[COUNT - 1] = word;
        }
    } else if constexpr (COUNT == 4) {
        const uint4 all = __ldg(reinterpret_cast<const uint4 *>(source));
        words[0] = all.x, words[1] = all.y, words[2] = all.z, words[3] = all.w;
    } else if constexpr (COUNT == 2) {
        const uint2 all = __ldg(reinterpret_cast<const uint2 *>(source));
        words[0] = all.x, words[1] = all.y;
    } else {
#pragma unroll
        for (int i = 0; i < COUNT; ++i) words[i] = __ldg(reinterpret_cast<const Word *>(source) + i);
    }
}

// Writes the first `bytes` of COUNT little-endian words, and uses the words up.
template <int COUNT>
__device__ inline void store_words(Byte *target, int bytes, Word (&words)[COUNT]) {
    if (!is_whole<COUNT>(target, bytes)) {
#pragma unroll 1
        for (int i = 0; i < COUNT; ++i, bytes -= 4, target += 4) {
#pragma unroll
            for (int k = 0; k < 4; ++k)
                if (k < bytes) target[k] = static_cast<Byte>(words[0] >> 8 * k);
#pragma unroll
            for (int k = 1; k < COUNT; ++k) words[k - 1] = words[k];
        }
    } else if constexpr (COUNT == 4) {
        *reinterpret_cast<uint4 *>(target) = make_uint4(words[0], words[1], words[2], words[3]);
    } else if constexpr (COUNT == 2) {
        *reinterpret_cast<uint2 *>(target) = make_uint2(words[0], words[1]);
    } else {
#pragma unroll
        for (int i = 0; i < COUNT; ++i) reinterpret_cast<Word *>(target)[i] = words[i];
    }
}

// Sample `index` of a row of bytes, or of P010's ten bits, as a float.
template <bool WIDE> __device__ inline float sample_of(const Word *words, int index) {
    if constexpr (WIDE) return static_cast<float>(words[index / 2] >> (16 * (index % 2) + 6) & 0x3ffu);
    return static_cast<float>(words[index / 4] >> 8 * (index % 4) & 0xffu);
}

template <bool WIDE> __device__ inline void put_sample(Word *words, int index, Word value) {
    if constexpr (WIDE)
        words[index / 2] |= value << (16 * (index % 2) + 6);
    else
        words[index / 4] |= value << 8 * (index % 4);
}

// One pixel of a frame, in levels.
template <Format FORMAT>
__device__ inline Rgb read_pixel(const Picture &picture, const Decoding &decoding, int x, int y) {
    const Byte *pixel = row_of(picture, y) + static_cast<size_t>(x) * bytes_per_pixel(FORMAT);
    if constexpr (is_subsampled(FORMAT)) {
        constexpr int bytes = bytes_per_pixel(FORMAT);
        const Byte *pair = chroma_row_of(picture, y / 2) + static_cast<size_t>(x / 2) * 2 * bytes;
        Word codes[3] = {};
#pragma unroll
        for (int k = 0; k < bytes; ++k) {
            codes[0] |= static_cast<Word>(__ldg(pixel + k)) << 8 * k;
            codes[1] |= static_cast<Word>(__ldg(pair + k)) << 8 * k;
            codes[2] |= static_cast<Word>(__ldg(pair + bytes + k)) << 8 * k;
        }
        constexpr bool wide = FORMAT == P010;
        return decode(decoding, sample_of<wide>(codes, 0), sample_of<wide>(codes + 1, 0),
                      sample_of<wide>(codes + 2, 0));
    } else {
        const float a = __ldg(pixel), g = __ldg(pixel + 1), c = __ldg(pixel + 2);
        return FORMAT == BGR8 ? Rgb{c, g, a} : Rgb{a, g, c};
    }
}
