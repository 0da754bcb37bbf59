"""Stages that cost nothing: small integer arithmetic in place of kernels and network, different for every input.

What they give depends on every byte that they read, in its place, and on every frame before, so that one byte from
another frame shows in all that follow. They also have a head, which the network on the CPU has not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rvm_trt.runtime.cpu import CpuOperation, memory_of
from rvm_trt.runtime.device import Buffer, Bytes, Operation, Span
from rvm_trt.runtime.stages import Background, Sizes, Tensors


class StandInStages:
    """`Stages` on `CpuBuffer` memory.

    Args:
        sizes: of the memory.
    """

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self._contexts = 0

    def sample(self, source: Span, target: Span) -> Operation:
        """See `Stages.sample`."""
        return _operation("sample", (source,), (target,))

    def core(
        self, name: str, *, src: Buffer, state: Tensors, next_state: Tensors, results: Tensors
    ) -> Operation:
        """See `Stages.core`."""
        self._contexts += 1
        lanes = self.sizes.lanes
        before, after = (tuple(tensor.span() for tensor in tensors) for tensors in (state, next_state))
        reads, writes = (src.span(), *before), (*after, *(tensor.span() for tensor in results))
        return CpuOperation(
            name=name,
            reads=reads,
            writes=writes,
            context=f"context {self._contexts}",
            state=(before, after),
            work=lambda *arrays: _mix(arrays[: len(reads)], arrays[len(reads) :], lanes),
            arguments=lambda: tuple(map(memory_of, (*reads, *writes))),
        )

    def head(self, *, src: Buffer, hidden: Buffer, coefficients: Tensors) -> Operation:
        """See `Stages.head`."""
        return _operation(
            "head",
            (src.span(), hidden.span()),
            tuple(tensor.span() for tensor in coefficients),
            lanes=self.sizes.lanes,
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
        reads = (source, *coefficients)

        def arguments() -> tuple[Any, ...]:
            colour = background.colour
            behind = (
                memory_of(image) if image is not None and colour is None else np.array(colour or 0, np.uint8)
            )
            return (*map(memory_of, reads), behind.reshape(-1)), tuple(map(memory_of, outputs))

        return CpuOperation(
            name="compose",
            reads=(*reads, *((image,) if image is not None else ())),
            writes=outputs,
            work=_mix,
            arguments=arguments,
        )

    def close(self) -> None:
        """Nothing to release."""


def small_sizes(*, lanes: int = 1, head: bool = False) -> Sizes:
    """Returns sizes of a few bytes, all different."""
    return Sizes(
        lanes=lanes,
        source=12,
        src=8,
        state=(6, 5, 4, 3),
        coefficients=(7, 9),
        hidden=10 if head else 0,
        outputs=(4, 11),
        background=13,
    )


def _operation(name: str, reads: tuple[Span, ...], writes: tuple[Span, ...], *, lanes: int = 1) -> Operation:
    return CpuOperation(
        name=name,
        reads=reads,
        writes=writes,
        work=lambda *arrays: _mix(arrays[: len(reads)], arrays[len(reads) :], lanes),
        arguments=lambda: tuple(map(memory_of, (*reads, *writes))),
    )


def _mix(reads: tuple[Bytes, ...], writes: tuple[Bytes, ...], lanes: int = 1) -> None:
    """Fills ``writes`` with what depends on every byte of ``reads``, each lane by itself."""
    for lane in range(lanes):
        digest = 17
        for array in reads:
            part = array[lane * array.size // lanes : (lane + 1) * array.size // lanes]
            digest = (digest * 1000003 + int.from_bytes(part.tobytes(), "little")) % _PRIME
        for array in writes:
            size = array.size // lanes
            digest = digest * 48271 % _PRIME
            values = np.frombuffer((digest * _SPREAD % (1 << 8 * size)).to_bytes(size, "little"), np.uint8)
            array[lane * size : (lane + 1) * size] = values


_PRIME = (1 << 61) - 1
_SPREAD = 0x9E3779B97F4A7C15F39CC0605CEDC8341082276BF3A27251F86C6A11D0C18E95
