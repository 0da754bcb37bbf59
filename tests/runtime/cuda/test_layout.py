"""What Python and the kernels must agree on: the layout of parameters and weights, positions, colours."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from cuda_host import RECORDS, HostKernels
from cuda_memory import FIRST_ADDRESS

from rvm_trt.errors import EngineError, FrameError, OptionError
from rvm_trt.options import Refiner
from rvm_trt.profile import Profile
from rvm_trt.resample import Taps, downsample_taps, upsample_taps
from rvm_trt.runtime.head_weights import HEAD_LAYOUT, HEAD_SIZE, head_names, pack_head
from rvm_trt.runtime.kernel_cache import SOURCES
from rvm_trt.runtime.kernel_params import (
    Outputs,
    Picture,
    compose_launch,
    compose_params,
    head_launch,
    head_params,
    sample_launch,
    sample_params,
)
from rvm_trt.runtime.kernel_variants import all_variants, compose_variant
from rvm_trt.runtime.pixels import Colour, ColourMatrix, ColourRange, PixelFormat

HD = Profile.named("hd")
# The worst for single precision: sides near each other, and near the limit.
CLOSE = [(16384, 16383), (16384, 16380), (9001, 9000), (1919, 1277), (333, 200)]


def test_records_have_the_layout_of_the_kernels_structs(host: HostKernels) -> None:
    expected = []
    for name, record in RECORDS.items():
        for field in record.names or ():
            kind, offset = record.fields[field][:2]
            expected.append(f"{name} {field} {offset} {kind.itemsize}")
        expected.append(f"{name} - {record.itemsize} {record.alignment}")
    assert host.ask("layout").decode().splitlines() == expected


def test_positions_equal_the_tables_bit_for_bit(host: HostKernels) -> None:
    profiles = [Profile.named(name) for name in Profile.names()]
    profiles += [Profile(width=161, height=97, ratio=0.6), Profile(width=417, height=235, ratio=0.6)]
    profiles += [Profile.for_size(width=w, height=h) for w, h in ((561, 333), (1023, 767), (16384, 9001))]
    axes: list[tuple[int, float, Taps]] = []
    for profile in profiles:
        for size, low in ((profile.width, profile.low_width), (profile.height, profile.low_height)):
            axes.append((size, 1 / profile.ratio, downsample_taps(size, profile.ratio)))
            axes.append((low, low / size, upsample_taps(low, size)))
    axes += [(low, low / size, upsample_taps(low, size)) for size, low in CLOSE]
    asked = b"".join(struct.pack("<qqd", taps.first.size, size, step) for size, step, taps in axes)
    record = np.dtype([("first", "i4"), ("second", "i4"), ("weight", "f4")])
    got = np.frombuffer(host.ask("taps", asked), record)
    for name in ("first", "second", "weight"):
        expected = np.concatenate([getattr(taps, name) for _, _, taps in axes])
        np.testing.assert_array_equal(got[name], expected, err_msg=name)


def test_parameters_hold_what_was_given() -> None:
    frame = Picture.contiguous(4096, PixelFormat.NV12, width=1920, height=1080)
    assert (frame.chroma, frame.chroma_pitch) == (4096 + 1920 * 1080, 1920)
    params = sample_params(HD, frame=frame, frame_format=PixelFormat.NV12, src=512)
    assert params["frame"]["chroma"] == frame.chroma
    assert [params[name] for name in ("src", "width", "height", "low_width", "low_height", "step")] == [
        512, 1920, 1080, 480, 270, 4.0,
    ]  # fmt: skip


def test_launches_cover_every_pixel() -> None:
    profile = Profile(width=1921, height=1083, ratio=0.25, batch=3)
    assert (sample_launch(profile).grid, head_launch(profile).grid) == ((15, 34, 1), (15, 34, 3))
    packed = compose_launch(profile, PixelFormat.RGB8)
    shared = compose_launch(profile, PixelFormat.RGB8, PixelFormat.P010)
    assert (packed.grid, packed.block) == ((16, 136, 1), (32, 8, 1))
    assert (shared.grid, shared.block) == ((16, 136, 1), (32, 4, 1))


@pytest.mark.parametrize("name", [*Profile.names(), "whole"])
def test_shared_memory_fits_every_gpu(name: str) -> None:
    profile = Profile(width=1920, height=1080, ratio=1.0) if name == "whole" else Profile.named(name)
    assert compose_launch(profile, PixelFormat.RGB8).shared_bytes <= 48 * 1024


@pytest.mark.parametrize("matrix", ColourMatrix)
@pytest.mark.parametrize("colour_range", ColourRange)
@pytest.mark.parametrize("pixel_format", [PixelFormat.NV12, PixelFormat.P010])
def test_encoding_undoes_decoding(
    matrix: ColourMatrix, colour_range: ColourRange, pixel_format: PixelFormat
) -> None:
    colour = Colour(matrix=matrix, range=colour_range)
    rows, top = colour.encoding(pixel_format)
    assert top == (1023 if pixel_format is PixelFormat.P010 else 255)
    scale, bias, centre, red_cr, green_cb, green_cr, blue_cb = colour.decoding(pixel_format)
    rgb = np.array([[255, 255, 255], [0, 0, 0], [10, 200, 90]], float)
    y, cb, cr = (np.column_stack([rgb, np.ones(3)]) @ rows.T).T
    cb, cr, y = cb - centre, cr - centre, y * scale + bias
    np.testing.assert_allclose(
        np.column_stack([y + red_cr * cr, y + green_cb * cb + green_cr * cr, y + blue_cb * cb]),
        rgb,
        atol=1e-9,
    )


@pytest.mark.parametrize(
    ("picture", "pixel_format", "subject"),
    [
        (Picture(plane=0, pitch=6000), PixelFormat.RGB8, "src"),
        (Picture(plane=64, pitch=5759), PixelFormat.RGB8, "src"),
        (Picture(plane=64, pitch=1920), PixelFormat.NV12, "chroma of src"),
        (Picture(plane=64, pitch=1920, chroma=64, chroma_pitch=1919), PixelFormat.NV12, "chroma of src"),
        (Picture(plane=65, pitch=3840, chroma=64, chroma_pitch=3840), PixelFormat.P010, "src"),
        (Picture(plane=64, pitch=3841, chroma=64, chroma_pitch=3840), PixelFormat.P010, "src"),
    ],
)
def test_impossible_pictures_are_refused(picture: Picture, pixel_format: PixelFormat, subject: str) -> None:
    with pytest.raises(FrameError) as caught:
        sample_params(HD, frame=picture, frame_format=pixel_format, src=64)
    assert caught.value.subject == subject


def test_impossible_requests_are_refused() -> None:
    frame = Picture.contiguous(FIRST_ADDRESS, PixelFormat.RGB8, width=1920, height=1080)
    with pytest.raises(OptionError, match=r"^outputs: got none"):
        compose_params(HD, frame=frame, slope=64, intercept=64, outputs=Outputs())
    with pytest.raises(FrameError, match=r"^pha: "):
        outputs = Outputs(pha=Picture(plane=64, pitch=1919))
        compose_params(HD, frame=frame, slope=64, intercept=64, outputs=outputs)
    with pytest.raises(OptionError, match=r"^hid: "):
        head_params(HD, hid=72, src=64, weights=64, slope=64, intercept=64)
    with pytest.raises(OptionError, match=r"^composite format: "):
        compose_variant(PixelFormat.RGB8, PixelFormat.RGBA8)
    with pytest.raises(OptionError, match=r"^matrix: "):
        Colour(matrix="bt470")  # type: ignore[arg-type]


def test_variants_have_names_of_their_own_and_a_source() -> None:
    variants = all_variants()
    assert len({variant.name for variant in variants}) == len(variants) == 36
    assert all((SOURCES / variant.source).is_file() for variant in variants)


def test_sources_stay_readable() -> None:
    for path in SOURCES.iterdir():
        lines = path.read_text().splitlines()
        assert len(lines) < 300, path.name
        assert max(len(line) for line in lines) <= 110, path.name


def weights(refiner: Refiner | None) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(5)
    return {name: generator.standard_normal(HEAD_LAYOUT[name]) for name in head_names(refiner)}


def test_weights_lie_in_the_order_of_the_kernel() -> None:
    given = weights(Refiner.DEEP)
    packed = pack_head(given, refiner=Refiner.DEEP)
    assert packed.dtype == np.float32
    assert packed.size == HEAD_SIZE == 844
    source = (SOURCES / "head.cu").read_text()
    start = 0
    for name, shape in HEAD_LAYOUT.items():
        assert start % 4 == 0
        word = name.replace(".", "_").upper()
        assert f" {word} = " in source or f" {word}," in source
        np.testing.assert_array_equal(
            packed[start : start + given[name].size], given[name].astype(np.float32).ravel()
        )
        start += int(np.prod(shape))


@pytest.mark.parametrize("refiner", [Refiner.FAST, None])
def test_without_learned_weights_the_box_is_the_mean(refiner: Refiner | None) -> None:
    packed = pack_head(weights(refiner), refiner=refiner)
    np.testing.assert_array_equal(packed[68:104], np.float32(1 / 9))


def test_wrong_weights_are_refused() -> None:
    given = weights(Refiner.DEEP)
    with pytest.raises(EngineError, match=r"^head weights: "):
        pack_head(given, refiner=Refiner.FAST)
    with pytest.raises(EngineError, match=r"^mlp\.0\.weight: got shape"):
        pack_head({**given, "mlp.0.weight": given["mlp.0.weight"].T}, refiner=Refiner.DEEP)
    given["box.weight"][0, 0, 0] = np.nan
    with pytest.raises(EngineError, match=r"^box\.weight: "):
        pack_head(given, refiner=Refiner.DEEP)
