"""A stand-in for TensorRT's runtime on the stand-in for the driver. Enums and loggers are those of TensorRT for RTX."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorrt_rtx
from stand_in_driver import StandInDriver

from rvm_trt.contract import CHANNELS_LAST, TensorSpec

Arrays = Mapping[str, npt.NDArray[Any]]
Run = Callable[[Arrays], Arrays]
SCRATCH = 3 << 10


class StandInTensorRt:
    """Serves as the module ``tensorrt_rtx``, and with ``rtx=False`` as ``tensorrt``.

    Attributes:
        run: computes the outputs of the inputs, by name, all (N, C, H, W); without it, outputs become 1, 2, ….
        driver: where its memory is.
        tensors: of the only engine it knows.
        plans: what was loaded.
        refuses: names of calls that fail.
        kept: content of the runtime cache, which grows with every context.
        capturable: whether contexts say that a graph can be captured of them.
    """

    def __init__(self, driver: StandInDriver, tensors: Sequence[TensorSpec], *, rtx: bool = True) -> None:
        self.run: Run | None = None
        self.driver, self.rtx = driver, rtx
        self.tensors = list(tensors)
        self.plans: list[bytes] = []
        self.refuses: set[str] = set()
        self.kept = b""
        self.runs = 0
        self.capturable = True
        self.__version__ = "1.7.1.116" if rtx else "10.13.2.6"

    def __getattr__(self, name: str) -> Any:
        assert self.rtx or name not in ("CudaGraphStrategy", "ComputeCapability"), name
        return getattr(tensorrt_rtx, name)

    def Runtime(self, logger: Any) -> Any:  # noqa: N802
        assert isinstance(logger, tensorrt_rtx.ILogger)
        return _Runtime(self, logger)


class _Thing:
    """What the library makes. A call that is to be refused says so to the logger, as the library does."""

    def __init__(self, module: StandInTensorRt, logger: Any) -> None:
        self.module, self.logger = module, logger

    def refuses(self, call: str) -> bool:
        self.module.driver.check_context()
        if call in self.module.refuses:
            self.logger.log(tensorrt_rtx.ILogger.WARNING, "beside the point")
            self.logger.log(tensorrt_rtx.ILogger.ERROR, f"[standIn.cpp] {call} failed\n")
        return call in self.module.refuses


class _Runtime(_Thing):
    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        self.module.plans.append(plan)
        return None if self.refuses("deserialize_cuda_engine") else _Engine(self.module, self.logger)


class _Engine(_Thing):
    device_memory_size_v2 = SCRATCH

    @property
    def num_io_tensors(self) -> int:
        return len(self.module.tensors)

    def get_tensor_name(self, index: int) -> str:
        return self.module.tensors[index].name

    def get_tensor_mode(self, name: str) -> Any:
        return getattr(tensorrt_rtx.TensorIOMode, self._spec(name).direction.upper())

    def get_tensor_shape(self, name: str) -> Any:
        return tensorrt_rtx.Dims(self._spec(name).shape)

    def get_tensor_dtype(self, name: str) -> Any:
        return tensorrt_rtx.float16 if self._spec(name).dtype == "float16" else tensorrt_rtx.float32

    def get_tensor_format(self, name: str) -> Any:
        spec, formats = self._spec(name), tensorrt_rtx.TensorFormat
        last = formats.HWC8 if spec.dtype == "float16" else formats.HWC
        return last if spec.layout == CHANNELS_LAST else formats.LINEAR

    def get_tensor_location(self, name: str) -> Any:
        assert self._spec(name)
        return tensorrt_rtx.TensorLocation.DEVICE

    def create_runtime_config(self) -> Any:
        assert self.module.rtx
        return _Config(self.module, self.logger)

    def create_execution_context(self, how: Any) -> Any:
        managed = tensorrt_rtx.ExecutionContextAllocationStrategy.USER_MANAGED
        assert (how.strategy if self.module.rtx else how) == managed
        assert not self.module.rtx or (how.cache and how.cuda_graph_strategy.name == "DISABLED")
        self.module.kept += b"kernel "
        refused = self.refuses("create_execution_context")
        return None if refused else _Context(self.module, self.logger)

    def _spec(self, name: str) -> TensorSpec:
        return next(spec for spec in self.module.tensors if spec.name == name)


class _Config(_Thing):
    strategy = cache = cuda_graph_strategy = None

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> Any:
        return _Cache(self.module, self.logger)

    def set_runtime_cache(self, cache: Any) -> bool:
        self.cache = cache
        return not self.refuses("set_runtime_cache")


class _Cache(_Thing):
    def deserialize(self, content: bytes) -> bool:
        if self.refuses("deserialize"):
            return False
        self.module.kept = json.loads(content)["kept"].encode()
        return True

    def serialize(self) -> Any:
        self.module.driver.check_context()
        return memoryview(json.dumps({"kept": self.module.kept.decode()}).encode())


class _Context(_Thing):
    def __init__(self, module: StandInTensorRt, logger: Any) -> None:
        super().__init__(module, logger)
        self.addresses: dict[str, int] = {}
        self.memory = 0

    def set_device_memory(self, address: int, size: int) -> None:
        assert address % 256 == 0 and size >= SCRATCH
        self.module.driver.bytes_at(address, size, "memory")
        self.memory = address

    def set_tensor_address(self, name: str, address: int) -> bool:
        assert address % 256 == 0 and name in {spec.name for spec in self.module.tensors}
        self.addresses[name] = address
        return not self.refuses("set_tensor_address")

    def is_stream_capturable(self, stream: int) -> bool:
        assert self.module.rtx and type(stream) is int
        return self.module.capturable

    def execute_async_v3(self, stream: int) -> bool:
        assert (
            type(stream) is int
            and self.memory
            and self.addresses.keys() == {s.name for s in self.module.tensors}
        )
        if self.refuses("execute_async_v3"):
            return False
        states = self.addresses["r1i"], self.addresses["r1o"]
        self.module.driver.calls.append(("execute_async_v3", stream, *states))
        self.module.driver.enqueue(stream, self._run)
        return True

    def _run(self) -> None:
        module, arrays = self.module, {spec.name: self._array(spec) for spec in self.module.tensors}
        module.runs += 1
        outputs = {spec.name for spec in module.tensors if spec.direction == "output"}
        results = (
            {name: np.asarray(number) for number, name in enumerate(sorted(outputs), start=1)}
            if module.run is None
            else module.run({name: array for name, array in arrays.items() if name not in outputs})
        )
        for name in outputs:
            arrays[name][...] = results[name]

    def _array(self, spec: TensorSpec) -> npt.NDArray[Any]:
        """Returns a tensor as (N, C, H, W), however it lies in memory."""
        batch, channels, height, width = spec.shape
        memory = self.module.driver.bytes_at(
            self.addresses[spec.name], int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize, "memory"
        ).view(spec.dtype)
        if spec.layout == CHANNELS_LAST:
            return memory.reshape(batch, height, width, channels).transpose(0, 3, 1, 2)
        return memory.reshape(spec.shape)
