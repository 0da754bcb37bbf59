"""The stages of a frame on a GPU: our kernels at frame size and for the head, TensorRT for the network.

The tests run all of it against stand-ins for the driver and for TensorRT, with the kernels compiled for the CPU; on a
GPU it has not run yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from rvm_trt.contract import HIDDEN, HIDDEN_CHANNELS, STATE_INPUTS, STATE_OUTPUTS
from rvm_trt.profile import Profile
from rvm_trt.runtime.cuda_gpu import Gpu
from rvm_trt.runtime.cuda_operation import CudaBuffer, CudaOperation, Launch, address_of
from rvm_trt.runtime.device import Buffer, Operation, Span
from rvm_trt.runtime.head_weights import pack_head
from rvm_trt.runtime.kernel_cache import compile_kernel
from rvm_trt.runtime.kernel_params import Launch as Geometry
from rvm_trt.runtime.kernel_params import (
    Outputs,
    Params,
    Picture,
    compose_launch,
    compose_params,
    head_launch,
    head_params,
    sample_launch,
    sample_params,
)
from rvm_trt.runtime.kernel_variants import KernelVariant, compose_variant, head_variant, sample_variant
from rvm_trt.runtime.pixels import PixelFormat
from rvm_trt.runtime.stages import OUTPUT_CHANNELS, Background, Sizes, Tensors, stage_sizes

_FRAME = PixelFormat.RGB8
_SOMEWHERE = 256  # stands in for addresses that `CudaBuffer.keep_in` writes


class NetworkContext(Protocol):
    """A way to run a network, with its memory in place."""

    def __call__(self, stream: Any) -> tuple[Any]:
        """Enqueues one run, and returns what the driver's functions return."""

    def is_capturable(self, stream: Any) -> bool:
        """Whether a graph can be captured of a run."""


class CudaNetwork(Protocol):
    """A network on a GPU that makes execution contexts."""

    @property
    def results(self) -> tuple[str, ...]:
        """Names of the outputs that are no states: ``hid``, or ``A`` and ``b``."""

    def context(self, addresses: Mapping[str, int]) -> NetworkContext:
        """Returns a context with the address of every tensor."""

    def close(self) -> None:
        """Releases the network. May be called twice."""


class CudaStages:
    """`Stages` on a GPU. What it makes runs on `CudaBuffer` memory.

    Args:
        gpu: where; closed with the stages. Devices on it are made with ``CudaDevice(stages.gpu)``.
        network: the core; closed with the stages.
        profile: what it was built for.
        outputs: names of the outputs that ``compose`` writes.
        half: whether the network's tensors are float16, else float32.
        head: weights of the head, for a network that ends at its hidden features.

    Raises:
        DependencyError: NVRTC is not installed.
        EngineError: the weights do not fit, or the driver or NVRTC refuses. ``gpu`` and ``network`` stay open then.
    """

    def __init__(
        self,
        gpu: Gpu,
        network: CudaNetwork,
        profile: Profile,
        *,
        outputs: Sequence[str],
        half: bool,
        head: Mapping[str, npt.NDArray[Any]] | None,
    ) -> None:
        if half and HIDDEN not in network.results:
            raise ValueError("a network in half must end at its hidden features: compose reads float32")
        self.gpu = gpu
        self._network = network
        self._profile = profile
        self._outputs = tuple(outputs)
        self.sizes: Sizes = stage_sizes(
            profile,
            outputs,
            element_bytes=2 if half else 4,
            hidden_channels=HIDDEN_CHANNELS if HIDDEN in network.results else 0,
        )
        self._contexts = 0
        with ExitStack() as owned:
            self._owned = owned
            self._sample = self._load(sample_variant(_FRAME, half=half))
            self._compose = self._load(compose_variant(_FRAME))
            if head is not None:
                refiner = profile.refiner if profile.uses_refiner else None
                self._head = self._load(head_variant(refiner, half=half))
                weights = pack_head(head, refiner=refiner)
                self._weights = owned.enter_context(gpu.memory(weights.nbytes))
                gpu.upload(weights.view(np.uint8), self._weights)
            self._owned = owned.pop_all()

    def sample(self, source: Span, target: Span) -> Operation:
        """See `Stages.sample`."""
        params = sample_params(self._profile, frame=self._picture(3, _SOMEWHERE), src=address_of(target))
        _keep(params["frame"]["plane"], source)
        return CudaOperation(
            name="sample",
            reads=(source,),
            writes=(target,),
            launch=self._launch(self._sample, sample_launch(self._profile), params),
        )

    def core(
        self, name: str, *, src: Buffer, state: Tensors, next_state: Tensors, results: Tensors
    ) -> Operation:
        """See `Stages.core`."""
        tensors = {
            "src": src,
            **dict(zip(STATE_INPUTS, state, strict=True)),
            **dict(zip(STATE_OUTPUTS, next_state, strict=True)),
            **dict(zip(self._network.results, results, strict=True)),
        }
        context = self._network.context({key: address_of(buffer.span()) for key, buffer in tensors.items()})
        self._contexts += 1
        before, after = (tuple(tensor.span() for tensor in states) for states in (state, next_state))
        return CudaOperation(
            name=name,
            reads=(src.span(), *before),
            writes=(*after, *(tensor.span() for tensor in results)),
            context=f"context {self._contexts}",
            state=(before, after),
            launch=context,
            is_capturable=context.is_capturable,
        )

    def head(self, *, src: Buffer, hidden: Buffer, coefficients: Tensors) -> Operation:
        """See `Stages.head`."""
        slope, intercept = coefficients
        params = head_params(
            self._profile,
            hid=address_of(hidden.span()),
            src=address_of(src.span()),
            weights=self._weights.address,
            slope=address_of(slope.span()),
            intercept=address_of(intercept.span()),
        )
        return CudaOperation(
            name="head",
            reads=(src.span(), hidden.span()),
            writes=(slope.span(), intercept.span()),
            launch=self._launch(self._head, head_launch(self._profile), params),
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
        slope, intercept = coefficients
        image = background.image
        behind = (0, 0, 0) if image is None else self._picture(3, address_of(image))
        written = {name: self._picture(OUTPUT_CHANNELS[name], _SOMEWHERE) for name in self._outputs}
        params = compose_params(
            self._profile,
            frame=self._picture(3, _SOMEWHERE),
            slope=address_of(slope),
            intercept=address_of(intercept),
            background=behind,
            outputs=Outputs(
                pha=written.get("pha"),
                fgr=written.get("fgr"),
                rgba=written.get("rgba"),
                composite=written.get("composite"),
            ),
        )
        for name, span in (("frame", source), *zip(self._outputs, outputs, strict=True)):
            _keep(params[name]["plane"], span)
        launch = self._launch(self._compose, compose_launch(self._profile, _FRAME), params)
        return CudaOperation(
            name="compose",
            reads=(source, *coefficients, *((image,) if image is not None else ())),
            writes=outputs,
            launch=_showing(background, params, launch),
        )

    def close(self) -> None:
        """Releases the network, the kernels and the GPU. May be called twice."""
        with ExitStack() as ending:
            ending.callback(self.gpu.close)
            ending.callback(self._owned.close)
            ending.callback(self._network.close)

    def __enter__(self) -> CudaStages:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _picture(self, channels: int, address: int) -> Picture:
        """Returns a picture of the frame's size, without padding."""
        return Picture(plane=address, pitch=self._profile.width * channels)

    def _load(self, variant: KernelVariant) -> Any:
        kernel = compile_kernel(variant, sm=self.gpu.sm)
        return self._owned.enter_context(self.gpu.module(kernel.cubin)).function(variant.entry)

    def _launch(self, kernel: Any, geometry: Geometry, params: Params) -> Launch:
        """Returns the launch of a kernel with what stands in ``params`` when it is enqueued."""
        pointers = np.array([params.ctypes.data], np.uint64)
        launch, shape = self.gpu.driver.module.cuLaunchKernel, (*geometry.grid, *geometry.block)
        shared, address = geometry.shared_bytes, int(pointers.ctypes.data)

        def enqueue(stream: Any, _alive: Any = (params, pointers)) -> tuple[Any]:
            return cast(tuple[Any], launch(kernel, *shape, shared, stream, address, 0))

        return enqueue


def _keep(place: npt.NDArray[Any], span: Span) -> None:
    cast(CudaBuffer, span.buffer).keep_in(place, span.start)


def _showing(background: Background, params: Params, launch: Launch) -> Launch:
    """Returns a launch of ``compose`` with what the background shows when it is enqueued."""
    image = int(params["background"]["plane"])
    plane, colour = params["background"]["plane"], params["colour"]
    shown: object = None

    def enqueue(stream: Any) -> tuple[Any]:
        nonlocal shown
        if background.colour is not shown:
            shown = background.colour
            plane[...] = image if shown is None else 0
            colour[...] = background.colour or 0
        return launch(stream)

    return enqueue
