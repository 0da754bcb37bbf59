"""The core on the CPU: OpenVINO compiles an engine once and runs it in as many contexts as are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rvm_trt.engines.artifact import Engine
from rvm_trt.engines.openvino_library import HINTS, compile_network, import_openvino
from rvm_trt.errors import EngineError

Array = npt.NDArray[np.float32]


class OpenVinoCore:
    """One network in memory.

    Args:
        model: an ``openvino.Model``, or the path of one.
        threads: threads that one run may use.
        subject: what an error names.

    Raises:
        DependencyError: OpenVINO is not installed.
        EngineError: OpenVINO cannot run the model here.
    """

    def __init__(self, model: Any, *, threads: int, subject: str = "model") -> None:
        self._openvino = import_openvino()
        self._subject = subject
        hints = {**HINTS, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        try:
            self._compiled = compile_network(model, hints)
        except RuntimeError as error:
            raise self._refusal(error) from None

    @classmethod
    def load(cls, engine: Engine, *, threads: int) -> OpenVinoCore:
        """Compiles a core engine of the ``cpu`` backend; raises as the constructor does."""
        return cls(str(engine.file(".xml")), threads=threads, subject=str(engine.path))

    def context(self, tensors: Mapping[str, Array]) -> Callable[[], None]:
        """Returns a call that runs the network on these tensors, in a context of its own.

        Args:
            tensors: every input and output by name. Their memory must outlive the core, at the same address.

        Raises:
            EngineError: a tensor does not fit the network.
        """
        try:
            request = self._compiled.create_infer_request()
            for name, array in tensors.items():
                request.set_tensor(name, self._tensor(array))
        except RuntimeError as error:
            raise self._refusal(error) from None

        def run() -> None:
            request.infer()

        return run

    def _tensor(self, array: npt.NDArray[Any]) -> Any:
        types = {np.dtype(np.uint16): self._openvino.Type.bf16, np.dtype(np.uint32): self._openvino.Type.f32}
        if array.dtype not in types:
            return self._openvino.Tensor(array, shared_memory=True)
        return self._openvino.Tensor(array, array.shape, types[array.dtype])

    def close(self) -> None:
        """Releases the network, but for contexts that are still referred to. May be called twice."""
        self._compiled = None

    def _refusal(self, error: RuntimeError) -> EngineError:
        return EngineError(
            self._subject,
            got=f"OpenVINO's refusal: {_last_line(str(error))}",
            expected="an engine that OpenVINO runs on this CPU",
            todo="Build the engine again on this machine.",
        )


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no reason given")
