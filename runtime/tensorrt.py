"""A plan of TensorRT or TensorRT for RTX: loaded, checked against its manifest once, and run in contexts.

The tests run this against a stand-in for the library, and read names and defaults from the real TensorRT for RTX; on a
GPU it has not run yet.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from rvm_trt.contract import CHANNELS_LAST, STATE_OUTPUTS, TensorSpec
from rvm_trt.engines.artifact import Engine
from rvm_trt.engines.tensorrt_library import Library
from rvm_trt.errors import EngineError
from rvm_trt.options import Backend
from rvm_trt.runtime.cuda_gpu import Gpu
from rvm_trt.runtime.tensorrt_plan import choose_plan, read_file
from rvm_trt.runtime.tensorrt_runtime_cache import CacheFile

_DTYPES = {"FLOAT": "float32", "HALF": "float16"}


class TensorRtNetwork:
    """A core engine on a GPU.

    Args:
        engine: as `Engine.load` verified it.
        library: that of its backend.
        gpu: where to run it; it must stay open until the network is closed.

    Attributes:
        results: names of the outputs that are no states, in the order of the contract.

    Raises:
        EngineError: no plan fits the GPU, the library refuses it, or its tensors are not those of the manifest.
    """

    def __init__(self, engine: Engine, library: Library, gpu: Gpu) -> None:
        self._gpu, self._library = gpu, library
        self._owned = ExitStack()
        manifest = engine.manifest
        outputs = [spec.name for spec in manifest.tensors if spec.direction == "output"]
        self.results: tuple[str, ...] = tuple(name for name in outputs if name not in STATE_OUTPUTS)
        self._names = {spec.name for spec in manifest.tensors}
        plan = choose_plan(engine, gpu)
        self._subject = str(plan)
        self._messages: list[str] = []
        gpu.activate()  # the library makes all it needs in the context that is current
        self._logger = _make_logger(library.module, self._messages)
        self._runtime = library.module.Runtime(self._logger)
        self._engine: Any = None
        self._config: Any = None
        self._cache: CacheFile | None = None
        try:
            self._engine = self._runtime.deserialize_cuda_engine(read_file(plan))
            if self._engine is None:
                built = f"{library.name} {manifest.backend_version}"
                raise self._refusal(f"a plan for this GPU; {built} built it", "Build the engine again here.")
            self._check_tensors(manifest.tensors)
            if library.backend is Backend.TENSORRT_RTX:
                self._configure(CacheFile.of(manifest.files[plan.name], gpu, library))
        except BaseException:
            self.close()  # the error's traceback would keep the engine alive longer than the GPU's context
            raise

    def context(self, addresses: Mapping[str, int]) -> TensorRtContext:
        """Returns an execution context of its own, with memory of its own.

        Args:
            addresses: of every tensor by name, multiples of 256.

        Raises:
            EngineError: the library refuses, or there is no memory left.
        """
        self._gpu.activate()
        # Our own memory: then nothing is allocated by a run, which could not be captured in a graph.
        managed = self._library.module.ExecutionContextAllocationStrategy.USER_MANAGED
        size = self._engine.device_memory_size_v2
        memory = self._owned.enter_context(self._gpu.memory(size)) if size else None
        made = TensorRtContext(
            self._engine.create_execution_context(managed if self._config is None else self._config),
            self._library,
            self._refusal,
        )
        self._owned.callback(made.close)  # before its memory
        if memory is not None:
            made.work_in(memory.address, size)
        for name in sorted(self._names):
            made.bind(name, addresses[name])
        return made

    def close(self) -> None:
        """Keeps what was compiled on disk, and releases contexts and engine. May be called twice.

        Where it cannot be kept it is compiled again next time: that is a warning, not an error of a job that is done.
        """
        try:
            if self._cache is not None:
                self._gpu.activate()
                _keep(self._cache)
        finally:
            self._cache = self._config = None  # each before what it was made from
            self._owned.close()
            self._engine = None
            self._runtime = None

    def _configure(self, cache: CacheFile) -> None:
        module = self._library.module
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(
            module.ExecutionContextAllocationStrategy.USER_MANAGED
        )
        config.cuda_graph_strategy = module.CudaGraphStrategy.DISABLED  # the schedule captures graphs itself
        kernels = config.create_runtime_cache()
        cache.load(kernels)
        if not config.set_runtime_cache(kernels):
            raise self._refusal("its own runtime cache", "Report the message.")
        self._config, self._cache = config, cache

    def _check_tensors(self, expected: tuple[TensorSpec, ...]) -> None:
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        got = {name: self._describe(name) for name in names}
        wanted = {spec.name: _describe(spec) for spec in expected}
        differences = [
            f"{name}: {got.get(name, 'missing')}, expected {wanted.get(name, 'no such tensor')}"
            for name in sorted({*got, *wanted})
            if got.get(name) != wanted.get(name)
        ]
        if differences:
            raise EngineError(
                self._subject,
                got="; ".join(differences),
                expected="the tensors of its manifest",
                todo="Build the engine again.",
            )

    def _describe(self, name: str) -> str:
        engine, location = self._engine, self._library.module.TensorLocation
        dtype = engine.get_tensor_dtype(name).name
        words = [
            engine.get_tensor_mode(name).name.lower(),
            str(tuple(engine.get_tensor_shape(name))),
            _DTYPES.get(dtype, dtype.lower()),
            engine.get_tensor_format(name).name,
        ]
        return " ".join(
            words if engine.get_tensor_location(name) == location.DEVICE else [*words, "on the host"]
        )

    def _refusal(self, expected: str, todo: str) -> EngineError:
        """Returns the error of what the library refused, with what it said since the last one."""
        said = "; ".join(self._messages) or "no reason was given"
        self._messages.clear()
        return EngineError(
            self._subject,
            got=f"the refusal of {self._library.name} {self._library.version}: {said}",
            expected=expected,
            todo=todo,
        )


class TensorRtContext:
    """An execution context with all its addresses set. Calling it with a stream's handle enqueues one run."""

    def __init__(self, context: Any, library: Library, refusal: Callable[[str, str], EngineError]) -> None:
        if context is None:
            raise refusal("an execution context", "End other programs on this GPU, or report the message.")
        self._context, self._refusal = context, refusal
        self._asks_capturable = library.backend is Backend.TENSORRT_RTX

    def work_in(self, address: int, size_bytes: int) -> None:
        """Gives it memory to work in."""
        self._context.set_device_memory(address, size_bytes)

    def bind(self, name: str, address: int) -> None:
        """Sets a tensor's address; raises `EngineError` where the library refuses it."""
        if not self._context.set_tensor_address(name, address):
            raise self._refusal(f"memory for {name!r}", "Report the message.")

    def __call__(self, stream: Any) -> tuple[int]:
        """Enqueues one run, and returns the driver's code for success.

        Raises:
            EngineError: the library refuses.
        """
        if not self._context.execute_async_v3(int(stream)):
            raise self._refusal("a run of the network", "Report the message.")
        return (0,)

    def is_capturable(self, stream: Any) -> bool:
        """Whether a graph can be captured of a run; TensorRT's own networks of fixed shapes can all be."""
        return not self._asks_capturable or self._context.is_stream_capturable(int(stream))

    def close(self) -> None:
        """Releases the context. May be called twice."""
        self._context = None


def _keep(cache: CacheFile) -> None:
    try:
        cache.save()
    except EngineError as error:
        warnings.warn(str(error), RuntimeWarning, stacklevel=3)


def _describe(spec: TensorSpec) -> str:
    last = "HWC8" if spec.dtype == "float16" else "HWC"  # 16 channels: HWC8 adds none
    form = last if spec.layout == CHANNELS_LAST else "LINEAR"
    return f"{spec.direction} {spec.shape} {spec.dtype} {form}"


def _make_logger(module: Any, messages: list[str]) -> Any:
    class Logger(module.ILogger):  # type: ignore[misc]
        """Keeps what the library says of errors."""

        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity.name.endswith("ERROR"):
                messages.append(message.strip())

    return Logger()
