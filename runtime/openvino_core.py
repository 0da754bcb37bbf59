"""The core on the CPU: OpenVINO runs an engine with two sets of states, written in turn."""

from __future__ import annotations

from types import ModuleType, TracebackType

import numpy as np
import numpy.typing as npt

from rvm_trt.contract import STATE_INPUTS, STATE_OUTPUTS
from rvm_trt.engines.artifact import Engine
from rvm_trt.engines.openvino_library import HINTS, import_openvino
from rvm_trt.errors import EngineError

Array = npt.NDArray[np.float32]


class OpenVinoCore:
    """One core engine in memory, with its input, its results and its states.

    All arrays belong to it and keep their addresses. State set ``k`` is read and set ``1 − k`` written by request
    ``k``; the requests run in turn, so that input and output never share an address.

    Args:
        engine: a core engine of the ``cpu`` backend.
        threads: threads that one run may use.

    Raises:
        DependencyError: OpenVINO is not installed.
        EngineError: OpenVINO cannot run the engine here.
    """

    def __init__(self, engine: Engine, *, threads: int) -> None:
        openvino = import_openvino()
        profile = engine.profile
        self.src: Array = np.zeros((1, 3, profile.low_height, profile.low_width), np.float32)
        self.slope: Array = np.zeros((1, 4, profile.low_height, profile.low_width), np.float32)
        self.intercept: Array = np.zeros_like(self.slope)
        self._states = tuple(
            [np.zeros(shape, np.float32) for shape in profile.state_shapes] for _ in range(2)
        )
        self._current = 0
        hints = {**HINTS, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        try:
            compiled = openvino.Core().compile_model(str(engine.file(".xml")), "CPU", hints)
            self._requests = [compiled.create_infer_request() for _ in range(2)]
            for index, request in enumerate(self._requests):
                self._bind(openvino, request, index)
        except RuntimeError as error:
            raise EngineError(
                str(engine.path),
                got=f"OpenVINO's refusal: {str(error).splitlines()[-1]}",
                expected="an engine that OpenVINO runs on this CPU",
                todo="Build the engine again on this machine.",
            ) from None

    def run(self) -> None:
        """Runs the network on ``src`` and the current states; fills ``slope``, ``intercept`` and the next states."""
        self._requests[self._current].infer()
        self._current = 1 - self._current

    def reset(self) -> None:
        """Sets the states to zero, as before a first frame."""
        for state in self._states[self._current]:
            state.fill(0)

    def states(self) -> tuple[Array, ...]:
        """Returns the current states as borrowed arrays, valid until the next run."""
        return tuple(self._states[self._current])

    def close(self) -> None:
        """Releases the engine. May be called twice."""
        self._requests = []

    def __enter__(self) -> OpenVinoCore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _bind(self, openvino: ModuleType, request: object, index: int) -> None:
        bound = {
            "src": self.src,
            "A": self.slope,
            "b": self.intercept,
            **dict(zip(STATE_INPUTS, self._states[index], strict=True)),
            **dict(zip(STATE_OUTPUTS, self._states[1 - index], strict=True)),
        }
        for name, array in bound.items():
            request.set_tensor(name, openvino.Tensor(array, shared_memory=True))  # type: ignore[attr-defined]
