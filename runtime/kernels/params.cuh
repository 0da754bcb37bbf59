// What each kernel takes, by value. rvm_trt.runtime.kernel_params builds these; a test compares every offset.
#pragma once

#include "colour.cuh"
#include "pictures.cuh"

struct SampleParams {
    Picture frame;  // (height, width)
    void *src;      // out: planar (3, low_height, low_width) of ELEMENT, in 0..1
    int width, height, low_width, low_height;
    float step;  // frame pixels per low-resolution pixel: 1 / ratio
    Decoding decoding;
};

struct HeadParams {
    const void *hid;       // (N, height, width, 16) of ELEMENT, at a multiple of 16 bytes
    const void *src;       // (N, 3, height, width) of ELEMENT
    const float *weights;  // see head.cu, at a multiple of 16 bytes
    float *slope;          // out: A, (N, 4, height, width)
    float *intercept;      // out: b, (N, 4, height, width)
    int width, height;     // low resolution; N is the grid's depth
};

struct ComposeParams {
    Picture frame;                          // (height, width)
    Picture background;                     // RGB8 of the frame's size; without a plane, the colour is meant
    Picture pha, fgr, rgba, composite;      // out: those without a plane are left out
    const float *slope, *intercept;         // A and b, planar (4, low_height, low_width)
    int width, height, low_width, low_height;
    float step_x, step_y;  // low-resolution pixels per frame pixel: low_width / width, low_height / height
    float colour[3];       // background in levels
    int premultiplied;     // whether the colours of rgba are multiplied with alpha
    Decoding decoding;     // of the frame
    Encoding encoding;     // of the composite
};
