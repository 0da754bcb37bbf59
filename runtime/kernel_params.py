"""The parameters of the CUDA kernels, field by field as kernels/params.cuh has them, and how to launch each kernel.

Parameters are NumPy records of shape (), to be passed by value: a launch takes ``params.ctypes.data``. Pointers are
device addresses; they may be overwritten between launches, ``params["frame"]["plane"] = address``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rvm_trt.errors import FrameError, OptionError
from rvm_trt.profile import Profile
from rvm_trt.resample import upsample_taps
from rvm_trt.runtime.pixels import HD_VIDEO, Colour, PixelFormat

Params = npt.NDArray[np.void]

PICTURE = np.dtype([("plane", "u8"), ("chroma", "u8"), ("pitch", "i4"), ("chroma_pitch", "i4")], align=True)
DECODING = np.dtype(
    [(n, "f4") for n in ("scale", "bias", "chroma_centre", "red_cr", "green_cb", "green_cr", "blue_cb")],
    align=True,
)
ENCODING = np.dtype([("rows", "f4", (3, 4)), ("top", "f4")], align=True)
_SIZES = [(name, "i4") for name in ("width", "height", "low_width", "low_height")]
SAMPLE_PARAMS = np.dtype(
    [("frame", PICTURE), ("src", "u8"), *_SIZES, ("step", "f4"), ("decoding", DECODING)], align=True
)
HEAD_PARAMS = np.dtype(
    [(name, "u8") for name in ("hid", "src", "weights", "slope", "intercept")] + _SIZES[:2], align=True
)
COMPOSE_PARAMS = np.dtype(
    [
        *((name, PICTURE) for name in ("frame", "background", "pha", "fgr", "rgba", "composite")),
        ("slope", "u8"),
        ("intercept", "u8"),
        *_SIZES,
        ("step_x", "f4"),
        ("step_y", "f4"),
        ("colour", "f4", (3,)),
        ("premultiplied", "i4"),
        ("decoding", DECODING),
        ("encoding", ENCODING),
    ],
    align=True,
)

_BLOCK = (32, 8, 1)
_GROUP, _TILE_WIDTH, _TILE_HEIGHT = 4, 128, 8  # as in kernels/compose.cu
_BYTES_PER_COEFFICIENT = 32  # A and b, 4 channels each


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture in device memory, owned by the caller.

    Rows may begin at any byte (P010: at any even byte). Where addresses and pitches are multiples of 16 bytes, rows are
    read and written in whole words.

    Attributes:
        plane: address of the packed pixels, or of luma.
        pitch: bytes from row to row.
        chroma: address of the interleaved Cb, Cr of NV12 and P010.
        chroma_pitch: bytes from row to row of these.
    """

    plane: int
    pitch: int
    chroma: int = 0
    chroma_pitch: int = 0

    @classmethod
    def contiguous(cls, plane: int, pixel_format: PixelFormat, *, width: int, height: int) -> Picture:
        """Returns a picture without padding, whose chroma follows its luma."""
        pitch, chroma_pitch = pixel_format.row_bytes(width), pixel_format.chroma_row_bytes(width)
        chroma = plane + pitch * height if chroma_pitch else 0
        return cls(plane=plane, pitch=pitch, chroma=chroma, chroma_pitch=chroma_pitch)


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What ``compose`` writes, each where it is given: at least one.

    Attributes:
        pha: (H, W) uint8.
        fgr: RGB8.
        rgba: RGBA8: the foreground with alpha, its colours multiplied with alpha where ``premultiplied``.
        composite: the foreground over the background, in ``composite_format`` and, as codes, ``composite_colour``.
    """

    pha: Picture | None = None
    fgr: Picture | None = None
    rgba: Picture | None = None
    composite: Picture | None = None
    premultiplied: bool = False
    composite_format: PixelFormat = PixelFormat.RGB8
    composite_colour: Colour = HD_VIDEO


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How to launch a kernel: blocks, threads of a block, and bytes of dynamic shared memory."""

    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_bytes: int = 0


def sample_params(
    profile: Profile,
    *,
    frame: Picture,
    frame_format: PixelFormat = PixelFormat.RGB8,
    colour: Colour = HD_VIDEO,
    src: int,
) -> Params:
    """Returns the parameters of ``sample``, which writes ``src``, (3, h, w) planar, from one frame."""
    params = np.zeros((), SAMPLE_PARAMS)
    params["frame"] = _record(frame, frame_format, profile.width, "src")
    params["src"] = src
    _set_sizes(params, profile)
    params["step"] = 1.0 / profile.ratio
    params["decoding"] = colour.decoding(frame_format)
    return params


def head_params(profile: Profile, *, hid: int, src: int, weights: int, slope: int, intercept: int) -> Params:
    """Returns the parameters of ``head``, which writes A and b, (N, 4, h, w) float32, of the whole batch.

    Args:
        hid: (N, h, w, 16), channels last, at a multiple of 16 bytes.
        src: (N, 3, h, w) planar, of the type of ``hid``.
        weights: what `rvm_trt.runtime.head_weights.pack_head` returned.

    Raises:
        OptionError: ``hid`` is not at a multiple of 16 bytes.
    """
    if hid % 16:
        raise OptionError(
            "hid", got=f"address {hid:#x}", expected="a multiple of 16", todo="Align the buffer."
        )
    params = np.zeros((), HEAD_PARAMS)
    for name, address in zip(HEAD_PARAMS.names or (), (hid, src, weights, slope, intercept), strict=False):
        params[name] = address
    params["width"], params["height"] = profile.low_width, profile.low_height
    return params


def compose_params(
    profile: Profile,
    *,
    frame: Picture,
    frame_format: PixelFormat = PixelFormat.RGB8,
    colour: Colour = HD_VIDEO,
    slope: int,
    intercept: int,
    background: Picture | tuple[int, int, int] = (0, 0, 0),
    outputs: Outputs,
) -> Params:
    """Returns the parameters of ``compose``, which writes the outputs of one frame.

    Args:
        slope, intercept: A and b of this frame, (4, h, w) float32.
        background: an RGB8 picture of the frame's size, such as a frame of another video, or (R, G, B) in 0..255.
        outputs: what to write; nothing of it may overlap what is read.

    Raises:
        FrameError: a picture's pitch or address cannot be right.
        OptionError: no output is given.
    """
    params = np.zeros((), COMPOSE_PARAMS)
    params["frame"] = _record(frame, frame_format, profile.width, "src")
    if isinstance(background, Picture):
        params["background"] = _record(background, PixelFormat.RGB8, profile.width, "background")
    else:
        params["colour"] = background
    _set_outputs(params, outputs, profile.width)
    params["slope"], params["intercept"] = slope, intercept
    _set_sizes(params, profile)
    params["step_x"] = profile.low_width / profile.width
    params["step_y"] = profile.low_height / profile.height
    params["decoding"] = colour.decoding(frame_format)
    params["encoding"] = outputs.composite_colour.encoding(outputs.composite_format)
    return params


def sample_launch(profile: Profile) -> Launch:
    """Returns how to launch ``sample`` for one frame."""
    return _one_thread_each(profile, depth=1)


def head_launch(profile: Profile) -> Launch:
    """Returns how to launch ``head`` for the whole batch."""
    return _one_thread_each(profile, depth=profile.batch)


def compose_launch(
    profile: Profile, frame_format: PixelFormat, composite_format: PixelFormat = PixelFormat.RGB8
) -> Launch:
    """Returns how to launch ``compose`` compiled for these formats for one frame."""
    rows = 2 if frame_format.is_subsampled or composite_format.is_subsampled else 1
    columns = upsample_taps(profile.low_width, profile.width)
    left = np.arange(0, profile.width, _TILE_WIDTH)
    right = np.minimum(left + _TILE_WIDTH, profile.width) - 1
    most = int((columns.second[right].astype(int) - columns.first[left]).max()) + 1
    return Launch(
        grid=(left.size, -(-profile.height // _TILE_HEIGHT), 1),
        block=(_TILE_WIDTH // _GROUP, _TILE_HEIGHT // rows, 1),
        shared_bytes=most * _TILE_HEIGHT * _BYTES_PER_COEFFICIENT,
    )


def _one_thread_each(profile: Profile, *, depth: int) -> Launch:
    width, height, _ = _BLOCK
    grid = (-(-profile.low_width // width), -(-profile.low_height // height), depth)
    return Launch(grid=grid, block=_BLOCK)


def _set_sizes(params: Params, profile: Profile) -> None:
    for name, _ in _SIZES:
        params[name] = getattr(profile, name)


def _set_outputs(params: Params, outputs: Outputs, width: int) -> None:
    formats = {
        "pha": None,
        "fgr": PixelFormat.RGB8,
        "rgba": PixelFormat.RGBA8,
        "composite": outputs.composite_format,
    }
    wanted = {name: picture for name in formats if (picture := getattr(outputs, name)) is not None}
    if not wanted:
        raise OptionError("outputs", got="none", expected="at least one", todo="Name the outputs you need.")
    for name, picture in wanted.items():
        params[name] = _record(picture, formats[name], width, name)
    params["premultiplied"] = outputs.premultiplied


def _record(
    picture: Picture, pixel_format: PixelFormat | None, width: int, subject: str
) -> tuple[int, int, int, int]:
    """Returns the fields of ``Picture`` in kernels/pictures.cuh; without a format, pixels are single bytes."""
    if pixel_format is None:
        _check_plane(subject, picture.plane, picture.pitch, least=width)
        return picture.plane, 0, picture.pitch, 0
    unit = 2 if pixel_format is PixelFormat.P010 else 1
    _check_plane(subject, picture.plane, picture.pitch, least=pixel_format.row_bytes(width), unit=unit)
    if pixel_format.is_subsampled:
        least = pixel_format.chroma_row_bytes(width)
        _check_plane(f"chroma of {subject}", picture.chroma, picture.chroma_pitch, least=least, unit=unit)
    return picture.plane, picture.chroma, picture.pitch, picture.chroma_pitch


def _check_plane(subject: str, address: int, pitch: int, *, least: int, unit: int = 1) -> None:
    if address <= 0 or not least <= pitch < 2**31 or address % unit or pitch % unit:
        units = f", both multiples of {unit}" if unit > 1 else ""
        raise FrameError(
            subject,
            got=f"address {address:#x} and a pitch of {pitch} bytes",
            expected=f"an address, and a pitch of at least {least} bytes{units}",
            todo="Give the address and the pitch of every plane of the picture.",
        )
