// Groups of four pixels in a row: from a picture to levels and back.
#pragma once

#include "pictures.cuh"

// The two Cb, Cr pairs under a group; nothing for packed formats.
template <Format FORMAT> struct ChromaPairs {
    static constexpr int words_per_group = FORMAT == P010 ? 2 : 1;
    Word words[words_per_group];
};

// Bytes of the Cb, Cr pairs under `count` pixels.
template <Format FORMAT> __device__ inline int chroma_bytes(int count) {
    return (count + 1) / 2 * 2 * bytes_per_pixel(FORMAT);
}

template <Format FORMAT>
__device__ inline void load_chroma(const Picture &picture, int x, int y, int count,
                                   ChromaPairs<FORMAT> &pairs) {
    if constexpr (is_subsampled(FORMAT))
        load_words(chroma_row_of(picture, y / 2) + static_cast<size_t>(x) * bytes_per_pixel(FORMAT),
                   chroma_bytes<FORMAT>(count), pairs.words);
}

// Reads `count` pixels at (x, y); the others of the group are as if their bytes were 0.
template <Format FORMAT>
__device__ inline void load_group(const Picture &picture, const Decoding &decoding,
                                  const ChromaPairs<FORMAT> &chroma, int x, int y, int count,
                                  Rgb (&pixels)[GROUP]) {
    constexpr int size = bytes_per_pixel(FORMAT);
    constexpr bool wide = FORMAT == P010;
    Word words[size] = {};
    load_words(row_of(picture, y) + static_cast<size_t>(x) * size, count * size, words);
#pragma unroll
    for (int i = 0; i < GROUP; ++i) {
        if constexpr (is_subsampled(FORMAT)) {
            const int cb = i / 2 * 2;
            pixels[i] = decode(decoding, sample_of<wide>(words, i), sample_of<wide>(chroma.words, cb),
                               sample_of<wide>(chroma.words, cb + 1));
        } else {
            const float a = sample_of<false>(words, size * i), g = sample_of<false>(words, size * i + 1),
                        c = sample_of<false>(words, size * i + 2);
            pixels[i] = FORMAT == BGR8 ? Rgb{c, g, a} : Rgb{a, g, c};
        }
    }
}

// Writes `count` pixels at (x, y): all of them in packed formats, luma in the others.
template <Format FORMAT>
__device__ inline void store_group(const Picture &picture, const Encoding &encoding, int x, int y, int count,
                                   const Rgb (&pixels)[GROUP]) {
    constexpr int size = bytes_per_pixel(FORMAT);
    Word words[size] = {};
#pragma unroll
    for (int i = 0; i < GROUP; ++i) {
        if constexpr (is_subsampled(FORMAT)) {
            put_sample<FORMAT == P010>(words, i, encode(encoding, 0, pixels[i]));
        } else {
            put_sample<false>(words, size * i, quantise(FORMAT == BGR8 ? pixels[i].b : pixels[i].r));
            put_sample<false>(words, size * i + 1, quantise(pixels[i].g));
            put_sample<false>(words, size * i + 2, quantise(FORMAT == BGR8 ? pixels[i].r : pixels[i].b));
        }
    }
    store_words(row_of(picture, y) + static_cast<size_t>(x) * size, count * size, words);
}

// Writes the pairs under `count` pixels at column x of the two rows from y, from the means of their pixels.
template <Format FORMAT>
__device__ inline void store_chroma(const Picture &picture, const Encoding &encoding, int x, int y, int count,
                                    const Rgb (&means)[GROUP / 2]) {
    ChromaPairs<FORMAT> pairs = {};
#pragma unroll
    for (int i = 0; i < GROUP; ++i)
        put_sample<FORMAT == P010>(pairs.words, i, encode(encoding, 1 + i % 2, means[i / 2]));
    store_words(chroma_row_of(picture, y / 2) + static_cast<size_t>(x) * bytes_per_pixel(FORMAT),
                chroma_bytes<FORMAT>(count), pairs.words);
}
