// A C++ program that embeds Python and mattes frames it owns: they go in without a copy, and the results come back as a
// view of the session's memory, or are written straight into the program's own.
//
//   make -C examples/cpp PYTHON=$PWD/.venv/bin/python
//   build/matte ENGINE WIDTH HEIGHT FRAMES.rgb OUT.ppm
//
// FRAMES.rgb holds raw RGB frames, as `ffmpeg -i clip.mp4 -pix_fmt rgb24 clip.rgb` writes them.
#include <pybind11/embed.h>
#include <pybind11/numpy.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <vector>

namespace py = pybind11;
using Pixels = std::vector<std::uint8_t>;

// A NumPy array on memory of ours. Naming a base, None here, is what keeps pybind11 from copying.
static py::array_t<std::uint8_t> view(Pixels& pixels, const std::vector<py::ssize_t>& shape) {
    return py::array_t<std::uint8_t>(shape, pixels.data(), py::none());
}

static int run(char** argv) {
    const py::ssize_t width = std::stol(argv[2]), height = std::stol(argv[3]);
    Pixels frame(3 * width * height), composite(frame.size()), alpha(width * height);
    std::ifstream frames(argv[4], std::ios::binary);

    using namespace py::literals;
    py::object session = py::module_::import("rvm_trt").attr("MattingSession")(
        argv[1], "outputs"_a = py::make_tuple("pha", "composite"), "background"_a = py::make_tuple(120, 255, 155));
    py::object source = view(frame, {height, width, 3});  // made once: every frame is read into the same memory
    py::dict outputs("pha"_a = view(alpha, {height, width}), "composite"_a = view(composite, {height, width, 3}));

    int count = 0;
    double total_ms = 0;
    while (frames.read(reinterpret_cast<char*>(frame.data()), frame.size())) {
        const auto start = std::chrono::steady_clock::now();
        if (count == 0) {
            // One way: the result is a view of the session's memory, valid until the second frame after it.
            const auto matte = session.attr("process")(source);
            const py::array_t<std::uint8_t> seen(matte.attr("composite"));
            composite.assign(seen.data(), seen.data() + seen.size());
        } else {
            session.attr("enqueue")(source, outputs);  // the other: straight into our own memory
        }
        total_ms += std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
        ++count;
    }
    session.attr("close")();
    std::printf("%d frames of %zdx%zd, %.2f ms per frame\n", count, width, height, count ? total_ms / count : 0.0);

    std::ofstream picture(argv[5], std::ios::binary);  // the last frame's composite
    picture << "P6 " << width << ' ' << height << " 255\n";
    picture.write(reinterpret_cast<const char*>(composite.data()), composite.size());
    return count && picture.flush() ? 0 : 1;
}

int main(int argc, char** argv) {
    if (argc != 6) {
        std::fprintf(stderr, "usage: %s ENGINE WIDTH HEIGHT FRAMES.rgb OUT.ppm\n", argv[0]);
        return 2;
    }
    PyConfig config;
    PyConfig_InitPythonConfig(&config);
    config.parse_argv = 0;
    PyConfig_SetBytesString(&config, &config.program_name, PYTHON);  // the virtual environment with rvm_trt
    py::scoped_interpreter python(&config);
    try {
        return run(argv);
    } catch (const py::error_already_set& error) {  // errors of rvm_trt say what to do
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
