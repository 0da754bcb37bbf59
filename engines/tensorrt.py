"""Plans of TensorRT, and of TensorRT for RTX, which needs no GPU to build: one builder for both libraries."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rvm_trt.contract import CHANNELS_LAST, LINEAR, TensorSpec
from rvm_trt.engines.tensorrt_library import Library, has_gpu
from rvm_trt.engines.tensorrt_options import TensorRtOptions
from rvm_trt.errors import EngineError, OptionError
from rvm_trt.files import atomic_file

# Where there is no GPU, the builder adds the first to whatever else went wrong. The second is said where another
# builder or runtime lives in the process; each still writes to its own logger.
_NOISE = ("CUDA driver version is insufficient", "logger passed into")


@dataclass(frozen=True, kw_only=True)
class BuiltPlan:
    """A plan and what was said while it was built.

    Attributes:
        plan: the serialised engine, with weights.
        layers: the layers and kernels of the engine as the library's inspector gives them, in JSON; None from a
            library that chooses its kernels when the plan is loaded.
        log: the library's warnings, and with ``tactic_log`` what it said about the kernels it tried.
    """

    plan: bytes
    layers: str | None
    log: tuple[str, ...]


def build_plan(
    network: bytes,
    *,
    library: Library,
    options: TensorRtOptions,
    tensors: Sequence[TensorSpec],
    progress: Callable[[str], None] | None = None,
) -> BuiltPlan:
    """Builds a plan from an ONNX graph, in exactly the precision that the graph has.

    TensorRT for RTX gives equal plans for equal graphs and options, but for the order in which a plan lists its
    outputs: that order follows the addresses of its objects in memory. It has no effect on a run.

    Args:
        network: the ONNX file's content, weights included.
        library: see `load_library`.
        options: see `TensorRtOptions`.
        tensors: the inputs and outputs that the graph must have, in any order.
        progress: called with one line of text as the builder enters each phase for the first time, perhaps from
            another thread. An exception that it raises ends the build, and is raised here.

    Raises:
        OptionError: the options ask for what the library does not have, or the timing cache is of another GPU.
        EngineError: there is no GPU where the library needs one, or the library refused the graph; the message
            gives its words.
    """
    library.check(options)
    if library.needs_gpu and not has_gpu():
        raise EngineError(
            library.name,
            got="no NVIDIA GPU with a working driver",
            expected="the GPU to build for",
            todo="Build on the machine that is to run the engine, or with backend 'tensorrt-rtx'.",
        )
    messages = _Messages(tactics=options.tactic_log)
    logger = _make_logger(library.module, messages)
    builder = _make_builder(library, logger, messages)
    definition = builder.create_network(1 << int(library.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    # TensorRT-RTX 1.7's parser reads the network after it is freed, and crashes now and then. Never freed, it cannot;
    # builds run in a process of their own, which returns the memory.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(definition))
    parser = _parse(network, definition, library, logger)  # owns memory that the build reads
    _check_tensors(definition, tensors)
    _lay_out(definition, library.module, tensors)
    config = _configure(builder, library, options)
    monitor = _make_monitor(library.module, library.name, progress)
    config.progress_monitor = monitor
    cache = None if options.timing_cache is None else _TimingCache(config, options.timing_cache)
    plan = builder.build_serialized_network(definition, config)
    del parser
    if monitor.stopped is not None:
        raise monitor.stopped
    if plan is None:
        raise _refusal(library, "build", messages.errors)
    content = bytes(plan)
    if cache is not None:
        cache.save()
    layers = _inspect(content, library, logger, messages) if library.needs_gpu else None
    return BuiltPlan(plan=content, layers=layers, log=tuple(messages.log))


@dataclass(kw_only=True)
class _Messages:
    """What the library said."""

    tactics: bool
    errors: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def hear(self, severity: str, message: str) -> None:
        failed = severity.endswith("ERROR")
        if failed:
            self.errors.append(message)
        if not _is_noise(message) and (
            failed or severity == "WARNING" or (self.tactics and "actic" in message)
        ):
            self.log.append(message)


def _make_logger(module: Any, messages: _Messages) -> Any:
    class Logger(module.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            messages.hear(severity.name, message)

    return Logger()


def _make_monitor(module: Any, library: str, progress: Callable[[str], None] | None) -> Any:
    class Monitor(module.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)
            self.stopped: BaseException | None = None
            self._entered: set[str] = set()

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:  # noqa: ARG002
            if progress is None or self.stopped is not None or phase in self._entered:
                return
            self._entered.add(phase)
            try:
                progress(f"{library}: {phase}")
            except BaseException as error:  # noqa: BLE001 - the library would swallow it: raised after the build
                self.stopped = error

        def step_complete(self, phase: str, step: int) -> bool:  # noqa: ARG002
            return self.stopped is None

        def phase_finish(self, phase: str) -> None:
            pass

    return Monitor()


def _make_builder(library: Library, logger: Any, messages: _Messages) -> Any:
    try:
        return library.module.Builder(logger)
    except TypeError:  # what the bindings make of a null pointer
        raise _refusal(library, "builder", messages.errors) from None


def _parse(content: bytes, network: Any, library: Library, logger: Any) -> Any:
    parser = library.module.OnnxParser(network, logger)
    if not parser.parse(content):
        errors = [_words(parser.get_error(index)) for index in range(parser.num_errors)]
        raise _refusal(library, "graph", errors)
    return parser


def _words(error: Any) -> str:
    where = f"node '{error.node_name()}' ({error.node_operator()}): " if error.node_operator() else ""
    return f"{where}{error.code().name}: {error.desc()}"


def _refusal(library: Library, subject: str, errors: Sequence[str]) -> EngineError:
    lines = [line.strip() for error in errors for line in error.splitlines() if line.strip()]
    causes = [line for line in lines if not _is_noise(line)] or lines
    return EngineError(
        subject,
        got=f"the refusal of {library.name} {library.version}: {'; '.join(causes) or 'no reason was given'}",
        expected="a graph and options that it can build",
        todo="Export the graph again with this version of rvm-trt, or change the option that the message names.",
    )


def _is_noise(line: str) -> bool:
    return any(noise in line for noise in _NOISE)


def _check_tensors(network: Any, expected: Sequence[TensorSpec]) -> None:
    got = {tensor.name: _spec(tensor, direction) for tensor, direction in _tensors(network)}
    wanted = {spec.name: replace(spec, layout=LINEAR) for spec in expected}  # a graph knows no layouts
    found = [_describe(got[name]) for name in got if got[name] != wanted.get(name)]
    missing = [_describe(wanted[name]) for name in wanted if got.get(name) != wanted[name]]
    if found or missing:
        raise EngineError(
            "graph",
            got="; ".join(found) or "no such tensor",
            expected="; ".join(missing) or "no more tensors than the profile has",
            todo="Export the graph again for this profile and precision.",
        )


def _tensors(network: Any) -> Iterator[tuple[Any, str]]:
    yield from ((network.get_input(index), "input") for index in range(network.num_inputs))
    yield from ((network.get_output(index), "output") for index in range(network.num_outputs))


def _lay_out(network: Any, module: Any, tensors: Sequence[TensorSpec]) -> None:
    """Fixes the layout of every input and output, so that no builder chooses one that the runtime does not know."""
    wanted = {spec.name: spec for spec in tensors}
    for tensor, _ in _tensors(network):
        spec = wanted[tensor.name]
        # HWC8 fills channels up to a multiple of 8: `hid` has 16, so that it is plain channels-last.
        last = "HWC8" if spec.dtype == "float16" else "HWC"
        form = last if spec.layout == CHANNELS_LAST else "LINEAR"
        tensor.allowed_formats = 1 << int(getattr(module.TensorFormat, form))


def _spec(tensor: Any, direction: str) -> TensorSpec:
    dtype = {"FLOAT": "float32", "HALF": "float16"}.get(tensor.dtype.name, tensor.dtype.name.lower())
    return TensorSpec(name=tensor.name, shape=tuple(tensor.shape), dtype=dtype, direction=direction)


def _describe(spec: TensorSpec) -> str:
    return f"{spec.direction} {spec.name} {spec.shape} {spec.dtype}"


def _configure(builder: Any, library: Library, options: TensorRtOptions) -> Any:
    module, config = library.module, builder.create_builder_config()
    config.profiling_verbosity = module.ProfilingVerbosity.DETAILED
    # TF32 is on by default and keeps 10 of FP32's 23 bits: FP32, in islands as well, is to be FP32.
    config.clear_flag(module.BuilderFlag.TF32)
    if library.builds_ahead_of_time:
        # The runtime captures the network in a graph, so a run must never allocate.
        config.set_flag(module.BuilderFlag.REQUIRE_USER_ALLOCATION)
        config.num_compute_capabilities = len(options.targets)
        for index, target in enumerate(options.targets):
            capability = getattr(module.ComputeCapability, target.replace("sm_", "SM"))
            config.set_compute_capability(capability, index)
    if options.workspace_bytes is not None:
        config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, options.workspace_bytes)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.max_aux_streams is not None:
        config.max_aux_streams = options.max_aux_streams
    if options.hardware_compatibility != "none":
        level = options.hardware_compatibility.upper()
        config.hardware_compatibility_level = getattr(module.HardwareCompatibilityLevel, level)
    return config


class _TimingCache:
    """Measured kernel times, from a file and back to it."""

    def __init__(self, config: Any, path: Path) -> None:
        self._config, self._path = config, path
        self._loaded = self._read()
        self._cache = self._create(self._loaded)
        if not config.set_timing_cache(self._cache, False):
            raise self._foreign()

    def save(self) -> None:
        """Writes the file, with what other builds have put there meanwhile."""
        current = self._read()
        if current != self._loaded and not self._cache.combine(self._create(current), False):
            raise self._foreign()
        with atomic_file(self._path) as temporary:
            temporary.write_bytes(self._cache.serialize())

    def _read(self) -> bytes:
        return self._path.read_bytes() if self._path.is_file() else b""

    def _create(self, content: bytes) -> Any:
        cache = self._config.create_timing_cache(content)
        if cache is None:
            raise self._foreign()
        return cache

    def _foreign(self) -> OptionError:
        return OptionError(
            "timing_cache",
            got=f"{self._path}, which is damaged or of another GPU or version of TensorRT",
            expected="a timing cache of this GPU, or no file yet",
            todo="Name another file, or remove this one.",
        )


def _inspect(plan: bytes, library: Library, logger: Any, messages: _Messages) -> str:
    engine = library.module.Runtime(logger).deserialize_cuda_engine(plan)
    if engine is None:
        raise _refusal(library, "plan", messages.errors)
    inspector = engine.create_engine_inspector()
    return str(inspector.get_engine_information(library.module.LayerInformationFormat.JSON))
