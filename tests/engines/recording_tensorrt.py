"""TensorRT for RTX dressed as TensorRT: it records what is set, and plays the parts that need a GPU."""

from __future__ import annotations

import json
from typing import Any

import tensorrt_rtx

FOREIGN = b"of another GPU"
LAYERS = json.dumps({"Layers": [{"Name": "first"}]})
_PLAYED = ("create_timing_cache", "set_timing_cache", "set_memory_pool_limit", "hardware_compatibility_level")


class RecordingTensorRt:
    """Stands in for the module ``tensorrt``: every name is that of TensorRT for RTX but for the few below.

    Attributes:
        calls: what the builder's configuration was told, in order: a name and its arguments or value.
        deserialised: plans that were given to the runtime.
        loads: whether the runtime takes a plan.
        starts: whether a builder can be made.
    """

    __version__ = "10.13.2.6"

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.deserialised: list[bytes] = []
        self.loads = True
        self.starts = True

    def __getattr__(self, name: str) -> Any:
        return getattr(tensorrt_rtx, name)

    def Builder(self, logger: Any) -> Any:  # noqa: N802
        if not self.starts:
            logger.log(tensorrt_rtx.ILogger.ERROR, "CUDA initialization failure with error: 3")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        return _Builder(tensorrt_rtx.Builder(logger), self)

    def OnnxParser(self, network: Any, logger: Any) -> Any:  # noqa: N802
        return tensorrt_rtx.OnnxParser(network, logger)

    def Runtime(self, logger: Any) -> Any:  # noqa: N802
        return _Runtime(logger, self)

    def values(self, name: str) -> list[Any]:
        """What was recorded under a name."""
        return [call[1:] for call in self.calls if call[0] == name]


class _Builder:
    def __init__(self, real: Any, module: RecordingTensorRt) -> None:
        self._real, self._module = real, module

    def create_network(self, flags: int) -> Any:
        self._module.calls.append(("create_network", flags))
        return self._real.create_network(flags)

    def create_builder_config(self) -> Any:
        return _Config(self._real.create_builder_config(), self._module.calls)

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        self._module.calls.append(("build_serialized_network",))
        return self._real.build_serialized_network(network, config.real)


class _Config:
    """Records every call and every attribute that is set; the real one gets what a machine without a GPU takes."""

    def __init__(self, real: Any, calls: list[tuple[Any, ...]]) -> None:
        object.__setattr__(self, "real", real)
        object.__setattr__(self, "_calls", calls)

    def __setattr__(self, name: str, value: Any) -> None:
        self._calls.append((name, value))
        if name not in _PLAYED:
            setattr(self.real, name, value)

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self._calls.append((name, *arguments))
            if name == "create_timing_cache":
                return None if arguments == (b"damaged",) else TimingCache(*arguments)
            if name == "set_timing_cache":
                return arguments[0].content != FOREIGN
            return None if name in _PLAYED else getattr(self.real, name)(*arguments)

        return call


class TimingCache:
    """Its content is what it was made from, what was combined into it, and the word ``timed``."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def combine(self, other: TimingCache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        self.content += other.content
        return FOREIGN not in other.content

    def serialize(self) -> bytes:
        return self.content + b" timed"


class _Runtime:
    def __init__(self, logger: Any, module: RecordingTensorRt) -> None:
        self._logger, self._module = logger, module

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        self._module.deserialised.append(plan)
        if self._module.loads:
            return self
        self._logger.log(tensorrt_rtx.ILogger.ERROR, "the plan has another version")
        return None

    def create_engine_inspector(self) -> Any:
        return self

    def get_engine_information(self, form: Any) -> str:
        assert form == tensorrt_rtx.LayerInformationFormat.JSON
        return LAYERS
