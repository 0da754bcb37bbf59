"""The serial run: one frame after the other, one set of states, every operation at once. What all orders must equal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rvm_trt.runtime.cpu import CpuBorrowed, CpuDevice, memory_of
from rvm_trt.runtime.device import Buffer, Bytes, Operation, Span, Stream
from rvm_trt.runtime.stages import Background, Stages, Tensors


class SerialRun:
    """The videos of one engine's lanes, frame by frame. It shares nothing with the schedule but the stages."""

    def __init__(self, stages: Stages, *, spill_suppression: bool = True) -> None:
        sizes = self.sizes = stages.sizes
        lanes = range(sizes.lanes)
        self._device, self._stream = CpuDevice(), Stream("serial")
        self._state, self._next_state, coefficients, hidden = (
            self._tensors(name, each)
            for name, each in (
                ("state", sizes.state),
                ("next", sizes.state),
                ("coefficients", sizes.coefficients),
                ("hidden", (sizes.hidden,) if sizes.hidden else ()),
            )
        )
        src = self._device.buffer("src", sizes.src * sizes.lanes)
        self._sources = [CpuBorrowed("source", sizes.source) for _ in lanes]
        self._images = [self._device.buffer("background", sizes.background) for _ in lanes]
        self._backgrounds = [Background(image.span() if sizes.background else None) for image in self._images]
        self._outputs = [self._device.buffer("output", sum(sizes.outputs)) for _ in lanes]
        self._operations: list[Operation] = [
            stages.sample(self._sources[lane].buffer.span(), src.part(lane, sizes.lanes)) for lane in lanes
        ]
        self._operations.append(
            stages.core(
                "core",
                src=src,
                state=self._state,
                next_state=self._next_state,
                results=hidden or coefficients,
            )
        )
        if hidden:
            self._operations.append(stages.head(src=src, hidden=hidden[0], coefficients=coefficients))
        if not spill_suppression:
            shares = [tensor.part(lane, sizes.lanes) for tensor in coefficients for lane in lanes]
            self._operations += [
                self._device.fill(Span(share.buffer, share.start, share.start + share.size_bytes * 3 // 4))
                for share in shares
            ]
        self._operations += [
            stages.compose(
                source=self._sources[lane].buffer.span(),
                coefficients=tuple(tensor.part(lane, sizes.lanes) for tensor in coefficients),
                background=self._backgrounds[lane],
                outputs=_divide(self._outputs[lane], sizes.outputs),
            )
            for lane in lanes
        ]
        self._run_once()  # as the schedule's warm-up does
        self.reset()

    def frame(self, frames: Sequence[Bytes]) -> list[bytes]:
        """Returns the outputs of one frame of each lane."""
        for source, frame in zip(self._sources, frames, strict=True):
            frozen = frame.view()
            frozen.flags.writeable = False  # the kernels' type, as in the schedule
            source.bind(frozen)
        for operation in self._operations:
            self._device.enqueue(operation, self._stream)
        for state, after in zip(self._state, self._next_state, strict=True):
            np.copyto(memory_of(state.span()), memory_of(after.span()))
        return [memory_of(output.span()).tobytes() for output in self._outputs]

    def reset(self, lane: int | None = None) -> None:
        """Sets the states of a lane, or of all, to zero."""
        for index in range(self.sizes.lanes) if lane is None else (lane,):
            for span in self._lane(index):
                memory_of(span).fill(0)

    def state(self, lane: int = 0) -> bytes:
        """Returns a lane's states."""
        return b"".join(memory_of(span).tobytes() for span in self._lane(lane))

    def restore(self, state: bytes, lane: int = 0) -> None:
        """Sets a lane's states."""
        start = 0
        for span in self._lane(lane):
            memory_of(span)[:] = np.frombuffer(state[start : start + span.size_bytes], np.uint8)
            start += span.size_bytes

    def set_background(
        self, *, image: Bytes | None = None, colour: tuple[int, int, int] | None = None, lane: int = 0
    ) -> None:
        """Sets what is behind a lane."""
        self._backgrounds[lane].colour = colour
        if image is not None:
            np.copyto(memory_of(self._images[lane].span()), image)

    def _run_once(self) -> None:
        self.frame([np.zeros(self.sizes.source, np.uint8)] * self.sizes.lanes)

    def _lane(self, lane: int) -> list[Span]:
        return [tensor.part(lane, self.sizes.lanes) for tensor in self._state]

    def _tensors(self, name: str, sizes: Sequence[int]) -> Tensors:
        return tuple(self._device.buffer(name, size * self.sizes.lanes) for size in sizes)


def _divide(buffer: Buffer, sizes: Sequence[int]) -> tuple[Span, ...]:
    spans, start = [], 0
    for size in sizes:
        spans.append(buffer.span(start, start + size))
        start += size
    return tuple(spans)
