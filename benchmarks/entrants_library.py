"""Inference libraries as entrants: OpenVINO and ONNX Runtime on the full graph, states in place, no copies of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from rvm_trt.benchmarks.child import UnavailableError
from rvm_trt.benchmarks.entrants import Alpha, Entrant, Image, Matting, Settings, to_alpha16, to_picture
from rvm_trt.contract import STATE_INPUTS, STATE_OUTPUTS
from rvm_trt.engines.openvino_library import compile_network, fastest_precision, import_openvino
from rvm_trt.options import Precision
from rvm_trt.profile import Profile

Array = npt.NDArray[Any]
_TENSORRT = "TensorrtExecutionProvider"


class Runner(Protocol):
    """One graph in a library, with states that start at zero and stay where the library computes."""

    def bind(self, value: Array) -> Callable[[], None]:
        """Puts the graph's first input where it is computed; returns a call that runs one frame and waits."""

    def results(self) -> tuple[Array, ...]:
        """Returns the outputs of the last run but for the states, in host memory; valid until the next run."""


def make(settings: Settings) -> Entrant:
    """Returns the entrant of a library; raises `UnavailableError` where it cannot run here."""
    name, threads, profile = settings.entrant, settings.threads, settings.profile
    if name.startswith("openvino"):
        precision = Precision(name.removeprefix("openvino-"))
        if precision is Precision.BF16 and fastest_precision() is not Precision.BF16:
            raise UnavailableError(name, "this processor does not compute in bfloat16")
        return LibraryEntrant(
            settings, lambda graph: _OpenVino(graph, profile, precision=precision, threads=threads)
        )
    gpu = name == "onnxruntime-tensorrt"
    if gpu:
        _require_tensorrt(name)
    return LibraryEntrant(settings, lambda graph: _OnnxRuntime(graph, profile, threads=threads, gpu=gpu))


class LibraryEntrant:
    """A library on the full graph; for the frame protocol with the conversions in the graph."""

    def __init__(self, settings: Settings, load: Callable[[Path], Runner]) -> None:
        assert settings.graph is not None and settings.frame_graph is not None, "a library needs graphs"
        self._graph = settings.graph
        self._load = load
        self._frame_runner = load(settings.frame_graph)

    def composite(self, frame: Image) -> Image:
        """See `Entrant`."""
        self._frame_runner.bind(frame)()
        return self._frame_runner.results()[0]

    def matting(self) -> Matting:
        """See `Entrant`."""
        runner = self._load(self._graph)

        def matte(frame: Image) -> tuple[Alpha, Image]:
            runner.bind(_to_source(frame))()
            fgr, pha = runner.results()
            return to_alpha16(pha[0, 0]), to_picture(fgr[0])

        return matte

    def tensor_step(self, frame: Image) -> Callable[[], None]:
        """See `Entrant`."""
        return self._load(self._graph).bind(_to_source(frame))


class _OpenVino:
    def __init__(self, graph: Path, profile: Profile, *, precision: Precision, threads: int) -> None:
        self._openvino = import_openvino()
        hints = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": {Precision.FP32: "f32", Precision.BF16: "bf16"}[precision],
            "INFERENCE_NUM_THREADS": threads,
        }
        self._compiled = compile_network(str(graph), hints)
        self._first = self._compiled.input(0).any_name
        self._states = [[np.zeros(shape, np.float32) for shape in profile.state_shapes] for _ in range(2)]
        self._requests = [self._request(*self._states), self._request(*reversed(self._states))]

    def bind(self, value: Array) -> Callable[[], None]:
        self._bound = value  # the tensor is its memory, and does not keep it
        tensor = self._openvino.Tensor(value, shared_memory=True)
        for request in self._requests:
            request.set_tensor(self._first, tensor)

        def run() -> None:
            self._requests[0].infer()
            self._requests.reverse()

        return run

    def results(self) -> tuple[Array, ...]:
        last = self._requests[1]
        count = len(self._compiled.outputs) - len(STATE_OUTPUTS)
        return tuple(last.get_output_tensor(index).data for index in range(count))

    def _request(self, before: list[Array], after: list[Array]) -> Any:
        request = self._compiled.create_infer_request()
        for names, arrays in ((STATE_INPUTS, before), (STATE_OUTPUTS, after)):
            for name, array in zip(names, arrays, strict=True):
                request.set_tensor(name, self._openvino.Tensor(array, shared_memory=True))
        return request


class _OnnxRuntime:
    def __init__(self, graph: Path, profile: Profile, *, threads: int, gpu: bool) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        cpu = "CPUExecutionProvider"
        providers: list[Any] = [cpu]
        if gpu:
            providers = [(_TENSORRT, {"trt_fp16_enable": True}), "CUDAExecutionProvider", cpu]
        self._session = onnxruntime.InferenceSession(str(graph), options, providers=providers)
        if gpu and _TENSORRT not in self._session.get_providers():
            raise UnavailableError(
                "onnxruntime-tensorrt", "ONNX Runtime could not load its TensorRT provider"
            )
        self._device = "cuda" if gpu else "cpu"
        self._values = onnxruntime.OrtValue
        states = [[self._value(np.zeros(s, np.float32)) for s in profile.state_shapes] for _ in range(2)]
        self._bindings = [self._binding(*states), self._binding(*reversed(states))]

    def bind(self, value: Array) -> Callable[[], None]:
        placed, name = self._value(value), self._session.get_inputs()[0].name
        for binding in self._bindings:
            binding.bind_ortvalue_input(name, placed)

        def run() -> None:
            self._session.run_with_iobinding(self._bindings[0])
            self._bindings[0].synchronize_outputs()
            self._bindings.reverse()

        return run

    def results(self) -> tuple[Array, ...]:
        # On the CPU the library writes into these arrays themselves.
        on_host = self._device == "cpu"
        pairs = zip(self._arrays, self._results, strict=True)
        return tuple(array if on_host else value.numpy() for array, value in pairs)

    def _binding(self, before: list[Any], after: list[Any]) -> Any:
        binding = self._session.io_binding()
        for names, values, bind in (
            (STATE_INPUTS, before, binding.bind_ortvalue_input),
            (STATE_OUTPUTS, after, binding.bind_ortvalue_output),
        ):
            for name, value in zip(names, values, strict=True):
                bind(name, value)
        for name, value in zip(self._result_names, self._results, strict=True):
            binding.bind_ortvalue_output(name, value)
        return binding

    @cached_property
    def _result_names(self) -> list[str]:
        return [value.name for value in self._session.get_outputs() if value.name not in STATE_OUTPUTS]

    @cached_property
    def _arrays(self) -> list[Array]:
        outputs = {value.name: value for value in self._session.get_outputs()}
        types = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32}
        return [np.zeros(outputs[name].shape, types[outputs[name].type]) for name in self._result_names]

    @cached_property
    def _results(self) -> list[Any]:
        return [self._value(array) for array in self._arrays]

    def _value(self, array: Array) -> Any:
        return self._values.ortvalue_from_numpy(array, self._device, 0)


def _require_tensorrt(name: str) -> None:
    import onnxruntime

    if _TENSORRT not in onnxruntime.get_available_providers():
        raise UnavailableError(
            name, f"the installed ONNX Runtime {onnxruntime.__version__} has no TensorRT provider"
        )


def _to_source(frame: Image) -> npt.NDArray[np.float32]:
    planes = frame.transpose(2, 0, 1)[None].astype(np.float32)
    source: npt.NDArray[np.float32] = np.ascontiguousarray(planes) / np.float32(255)
    return source
