"""The stages of a frame on the CPU: numba kernels at frame size, OpenVINO for the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rvm_trt.contract import HIDDEN, HIDDEN_CHANNELS, STATE_INPUTS, STATE_OUTPUTS
from rvm_trt.errors import DependencyError
from rvm_trt.profile import Profile
from rvm_trt.resample import downsample_taps, upsample_taps
from rvm_trt.runtime.bands import Bands
from rvm_trt.runtime.cpu import CpuOperation, memory_of
from rvm_trt.runtime.device import Buffer, Operation, Span
from rvm_trt.runtime.frames import OUTPUTS
from rvm_trt.runtime.head_weights import pack_head
from rvm_trt.runtime.stages import OUTPUT_CHANNELS, Background, Sizes, Tensors, stage_sizes

Array = npt.NDArray[np.float32]


class CpuCore(Protocol):
    """A network on the CPU that makes execution contexts."""

    def context(self, tensors: Mapping[str, npt.NDArray[Any]]) -> Callable[[], None]:
        """Returns a call that runs the network on these tensors, which keep their addresses. uint16 is bfloat16."""

    def close(self) -> None:
        """Releases the network. May be called twice."""


class CpuStages:
    """`Stages` on the CPU. What it makes runs on `CpuBuffer` memory, one operation at a time: schedules that
    share these stages belong to one thread together.

    Args:
        core: the network, which is closed with the stages.
        profile: what the network was built for.
        outputs: names of the outputs that ``compose`` writes.
        threads: threads of the kernels.
        head: weights of the head, for a network that ends at its hidden features; None for one that gives ``A`` and
            ``b`` itself.
        half: whether the hidden features are bfloat16, else float32.

    Raises:
        DependencyError: numba is not installed.
    """

    def __init__(
        self,
        core: CpuCore,
        profile: Profile,
        *,
        outputs: Sequence[str],
        threads: int,
        head: Mapping[str, npt.NDArray[Any]] | None = None,
        half: bool = False,
    ) -> None:
        try:
            from rvm_trt.runtime import kernels_cpu, kernels_cpu_head
        except ImportError:
            raise DependencyError("numba", extra="cpu", stage="CPU session") from None
        self._hidden_type = np.dtype(np.uint16 if half else np.uint32)  # bits, not numbers
        channels = HIDDEN_CHANNELS if head is not None else 0
        sizes = stage_sizes(profile, outputs, hidden_channels=channels)
        self.sizes: Sizes = replace(sizes, hidden=sizes.hidden * self._hidden_type.itemsize // 4)
        self._profile = profile
        self._outputs = tuple(outputs)
        self._kernels = kernels_cpu
        self._core = core
        self._contexts = 0
        self._bands = Bands(threads)
        rows, columns = (downsample_taps(side, profile.ratio) for side in (profile.height, profile.width))
        self._down = (rows.first, rows.second, rows.weight, columns.first, columns.second, columns.weight)
        rows = upsample_taps(profile.low_height, profile.height)
        columns = upsample_taps(profile.low_width, profile.width)
        self._up = (rows.first, rows.second, rows.weight, columns.first, columns.second, columns.weight)
        self._scratch = kernels_cpu.compose_scratch(threads, profile.width)
        if head is not None:
            refiner = profile.refiner if profile.uses_refiner else None
            self._head_kernel = kernels_cpu_head.head
            self._head_weights = kernels_cpu_head.head_arguments(pack_head(head, refiner=refiner), refiner)
            self._head_scratch = kernels_cpu_head.head_scratch(threads, profile.low_width)

    def sample(self, source: Span, target: Span) -> Operation:
        """See `Stages.sample`."""
        low_height, low_width = self._profile.low_height, self._profile.low_width
        planes = memory_of(target).view(np.float32).reshape(3, low_height, low_width)
        return CpuOperation(
            name="sample",
            reads=(source,),
            writes=(target,),
            work=lambda frame: self._bands.run(self._kernels.sample, low_height, frame, *self._down, planes),
            arguments=lambda: (self._rows(source, 3),),
        )

    def core(
        self, name: str, *, src: Buffer, state: Tensors, next_state: Tensors, results: Tensors
    ) -> Operation:
        """See `Stages.core`."""
        profile, shapes = self._profile, self._profile.state_shapes
        low = (profile.low_height, profile.low_width)
        made: dict[str, npt.NDArray[Any]] = (
            {HIDDEN: self._features(results[0])}
            if self.sizes.hidden
            else {
                name: _tensor(buffer, (profile.batch, 4, *low))
                for name, buffer in zip("Ab", results, strict=True)
            }
        )
        tensors: dict[str, npt.NDArray[Any]] = {
            "src": _tensor(src, (profile.batch, 3, *low)),
            **made,
            **dict(zip(STATE_INPUTS, map(_tensor, state, shapes), strict=True)),
            **dict(zip(STATE_OUTPUTS, map(_tensor, next_state, shapes), strict=True)),
        }
        self._contexts += 1
        before, after = (tuple(tensor.span() for tensor in tensors) for tensors in (state, next_state))
        return CpuOperation(
            name=name,
            reads=(src.span(), *before),
            writes=(*after, *(tensor.span() for tensor in results)),
            context=f"context {self._contexts}",
            state=(before, after),
            work=self._core.context(tensors),
        )

    def head(self, *, src: Buffer, hidden: Buffer, coefficients: Tensors) -> Operation:
        """See `Stages.head`."""
        profile = self._profile
        low = (profile.low_height, profile.low_width)
        features = self._features(hidden)
        pictures = _tensor(src, (profile.batch, 3, *low))
        slopes, intercepts = (_tensor(buffer, (profile.batch, 4, *low)) for buffer in coefficients)

        def work() -> None:
            for lane in zip(features, pictures, slopes, intercepts, strict=True):
                feature, picture, slope, intercept = lane
                self._bands.run(
                    self._head_kernel,
                    profile.low_height,
                    feature,
                    picture,
                    *self._head_weights,
                    slope,
                    intercept,
                    *self._head_scratch,
                )

        return CpuOperation(
            name="head",
            reads=(src.span(), hidden.span()),
            writes=tuple(buffer.span() for buffer in coefficients),
            work=work,
        )

    def compose(
        self,
        *,
        source: Span,
        coefficients: tuple[Span, ...],
        background: Background,
        outputs: tuple[Span, ...],
    ) -> Operation:
        """See `Stages.compose`."""
        image = background.image
        low = (4, self._profile.low_height, self._profile.low_width)
        slope, intercept = (memory_of(span).view(np.float32).reshape(low) for span in coefficients)
        named = dict(zip(self._outputs, outputs, strict=True))

        def arguments() -> tuple[Any, ...]:
            colour = background.colour
            behind = (
                self._rows(image, 3)
                if image is not None and colour is None
                else np.tile(np.array(colour or (0, 0, 0), np.uint8), self._profile.width)[None]
            )
            images = (self._rows(named.get(name), OUTPUT_CHANNELS[name]) for name in OUTPUTS)
            return self._rows(source, 3), behind, *images

        def work(frame: Any, behind: Any, *images: Any) -> None:
            self._bands.run(
                self._kernels.compose,
                self._profile.height,
                frame,
                slope,
                intercept,
                *self._up,
                behind,
                *images,
                *self._scratch,
            )

        return CpuOperation(
            name="compose",
            reads=(source, *coefficients, *((image,) if image is not None else ())),
            writes=outputs,
            work=work,
            arguments=arguments,
        )

    def close(self) -> None:
        """Releases the engine and the threads. May be called twice."""
        self._core.close()
        self._bands.close()

    def __enter__(self) -> CpuStages:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _features(self, buffer: Buffer) -> npt.NDArray[Any]:
        """Returns hidden features as the kernel takes them, (N, 16, h, w): bits, not numbers."""
        low = (self._profile.low_height, self._profile.low_width)
        return memory_of(buffer.span()).view(self._hidden_type).reshape(-1, HIDDEN_CHANNELS, *low)

    def _rows(self, span: Span | None, channels: int) -> npt.NDArray[np.uint8]:
        """Returns an image as the kernels take it, (H, W·channels); without rows where there is none."""
        if span is None:
            return np.empty((0, self._profile.width * channels), np.uint8)
        return memory_of(span).reshape(-1, self._profile.width * channels)


def _tensor(buffer: Buffer, shape: tuple[int, ...]) -> Array:
    return memory_of(buffer.span()).view(np.float32).reshape(shape)
