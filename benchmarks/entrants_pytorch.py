"""PyTorch as entrants: the baseline as the original's users call it, and what they can turn on to make it faster.

On a GPU all of them run there: the frame is copied to it and the composite back.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from rvm_trt.benchmarks.child import UnavailableError
from rvm_trt.benchmarks.entrants import BACKGROUND, BASELINE, Alpha, Entrant, Image, Matting, Settings
from rvm_trt.export.checkpoint import load_checkpoint
from rvm_trt.export.model import MattingNetwork
from rvm_trt.export.onnx_graph import load_network

Step = Callable[..., tuple[Tensor, ...]]


def make(settings: Settings) -> Entrant:
    """Returns the PyTorch entrant of some settings; raises `UnavailableError` where it cannot run here."""
    torch.set_num_threads(settings.threads)
    return Eager(settings) if settings.entrant == BASELINE else Tuned(settings)


class Eager:
    """The baseline: eager, FP32, at the profile's ratio, composited as the original's documentation does."""

    def __init__(self, settings: Settings) -> None:
        self._device = _device()
        self._ratio = settings.profile.ratio
        self._network = _network(settings).to(self._device)
        self._background = torch.tensor(BACKGROUND, dtype=torch.float32).view(1, 3, 1, 1) / 255
        self._background = self._background.to(self._device)
        self._states: list[Tensor | None] = [None] * 4

    def composite(self, frame: Image) -> Image:
        """See `Entrant`."""
        with torch.inference_mode():
            fgr, pha, *self._states = self._network(self._source(frame), *self._states, self._ratio)
            # As the original's documentation composites; torch.lerp would do it in one pass (see LOG.md).
            blended = (fgr * pha + self._background * (1 - pha)).mul_(255).round_()
            image: Image = blended[0].permute(1, 2, 0).to(torch.uint8).contiguous().cpu().numpy()
        return image

    def matting(self) -> Matting:
        """See `Entrant`."""
        states: list[Tensor | None] = [None] * 4

        def matte(frame: Image) -> tuple[Alpha, Image]:
            with torch.inference_mode():
                fgr, pha, *states[:] = self._network(self._source(frame), *states, self._ratio)
            return _pictures(fgr, pha)

        return matte

    def tensor_step(self, frame: Image) -> Callable[[], None]:
        """See `Entrant`."""
        src = self._source(frame)
        states: list[Tensor | None] = [None] * 4

        def step() -> None:
            with torch.inference_mode():
                _, _, *states[:] = self._network(src, *states, self._ratio)
            _wait(self._device)

        return step

    def _source(self, frame: Image) -> Tensor:
        source = torch.from_numpy(frame).to(self._device)
        return source.permute(2, 0, 1)[None].contiguous().float().div_(255)


class Tuned:
    """One thing turned on. Frame in, composite out is one module, so that what optimises modules sees all of it."""

    def __init__(self, settings: Settings) -> None:
        self._kind = settings.entrant.removeprefix("pytorch-")
        if self._kind == "compile" and not shutil.which("g++"):
            raise UnavailableError(
                settings.entrant, "torch.compile needs a C++ compiler, and g++ was not found"
            )
        self._device = _device()
        self._low = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self._kind)
        layout = torch.channels_last if self._kind == "channels-last" else torch.contiguous_format
        network = _network(settings).to(self._device, memory_format=layout)  # type: ignore[call-overload]
        self._network_module = _NetworkStep(network, settings.profile.ratio)
        self._layout = layout
        self._zeros = [torch.zeros(shape, device=self._device) for shape in settings.profile.state_shapes]
        height, width = settings.profile.height, settings.profile.width
        self._example = torch.zeros((height, width, 3), dtype=torch.uint8, device=self._device)
        frame_module = _FrameStep(self._network_module, layout).to(self._device)
        self._frame_step = self._prepared(frame_module, self._example)
        self._states = self._zeros

    def composite(self, frame: Image) -> Image:
        """See `Entrant`."""
        with self._mode():
            result, *self._states = self._frame_step(torch.from_numpy(frame).to(self._device), *self._states)
            image: Image = result.cpu().numpy()
        return image

    def matting(self) -> Matting:
        """See `Entrant`."""
        states, step = list(self._zeros), self._network_step

        def matte(frame: Image) -> tuple[Alpha, Image]:
            with self._mode():
                fgr, pha, *states[:] = step(self._source(frame), *states)
            return _pictures(fgr, pha)

        return matte

    def tensor_step(self, frame: Image) -> Callable[[], None]:
        """See `Entrant`."""
        src, states, network = self._source(frame), list(self._zeros), self._network_step

        def step() -> None:
            with self._mode():
                _, _, *states[:] = network(src, *states)
            _wait(self._device)

        return step

    @cached_property
    def _network_step(self) -> Step:
        return self._prepared(self._network_module, self._source(self._example.cpu().numpy()))

    def _source(self, frame: Image) -> Tensor:
        return _to_source(torch.from_numpy(frame).to(self._device), self._layout)

    def _prepared(self, module: nn.Module, example: Tensor) -> Step:
        if self._kind == "scripted":
            # torch.jit.script does not take a network that slices its layers; traced, the graph is the same.
            with self._mode(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of shapes that become constants, as they are here
                traced = torch.jit.trace(  # type: ignore[no-untyped-call]
                    module.eval(), (example, *self._zeros), check_trace=False
                )
                frozen: Step = torch.jit.freeze(traced)
                return frozen
        if self._kind == "compile":
            step: Step = torch.compile(module, dynamic=False)
            states = self._zeros
            for _ in range(2):  # the states that come out may lie otherwise in memory than zeros do
                with self._mode():
                    states = list(step(example, *states)[-4:])
            return step
        return module

    @contextmanager
    def _mode(self) -> Iterator[None]:
        low = self._low or torch.bfloat16
        with torch.no_grad(), torch.autocast(self._device.type, low, enabled=self._low is not None):
            yield


class _NetworkStep(nn.Module):
    def __init__(self, network: MattingNetwork, ratio: float) -> None:
        super().__init__()
        self.network = network
        self.ratio = ratio

    def forward(self, src: Tensor, r1: Tensor, r2: Tensor, r3: Tensor, r4: Tensor) -> tuple[Tensor, ...]:
        results: tuple[Tensor, ...] = self.network(src, r1, r2, r3, r4, self.ratio)
        return results


class _FrameStep(nn.Module):
    background: Tensor

    def __init__(self, step: _NetworkStep, layout: torch.memory_format) -> None:
        super().__init__()
        self.step = step
        self.layout = layout
        self.register_buffer(
            "background", torch.tensor(BACKGROUND, dtype=torch.float32).view(1, 3, 1, 1) / 255
        )

    def forward(self, frame: Tensor, r1: Tensor, r2: Tensor, r3: Tensor, r4: Tensor) -> tuple[Tensor, ...]:
        fgr, pha, *states = self.step(_to_source(frame, self.layout), r1, r2, r3, r4)
        blended = torch.lerp(self.background, fgr.float(), pha.float()).mul(255).round().to(torch.uint8)
        return (blended[0].permute(1, 2, 0).contiguous(), *states)


def _to_source(frame: Tensor, layout: torch.memory_format) -> Tensor:
    return frame.permute(2, 0, 1)[None].contiguous(memory_format=layout).float().div(255)


def _network(settings: Settings) -> MattingNetwork:
    assert settings.checkpoint is not None, "PyTorch needs the checkpoint"
    return load_network(load_checkpoint(settings.checkpoint), settings.profile)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _pictures(fgr: Tensor, pha: Tensor) -> tuple[Alpha, Image]:
    alpha = (pha[0, 0].float() * 65535).round().to(torch.int32).cpu().numpy().astype(np.uint16)
    picture: Image = (
        (fgr[0].float() * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
    )
    return alpha, picture
