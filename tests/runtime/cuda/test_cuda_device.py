"""The GPU as a device, on a stand-in for CUDA's driver."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuda.bindings import driver as real
from cuda.pathfinder import DynamicLibNotFoundError
from stand_in_driver import StandInDriver

from rvm_trt.errors import DependencyError, EngineError, OptionError
from rvm_trt.runtime.cuda import CudaDevice
from rvm_trt.runtime.cuda_driver import Driver
from rvm_trt.runtime.cuda_gpu import Gpu
from rvm_trt.runtime.cuda_operation import CudaOperation

R = real.CUresult
SIZE = 48
RAMP = np.arange(SIZE, dtype=np.uint8)


@pytest.fixture
def driver() -> StandInDriver:
    return StandInDriver()


@pytest.fixture
def device(driver: StandInDriver) -> CudaDevice:
    return CudaDevice(Gpu(Driver(driver)))


def calls_of(driver: StandInDriver, act: Callable[[], None]) -> list[str]:
    before = len(driver.calls)
    act()
    return [call[0] for call in driver.calls[before:]]


def test_bytes_go_through_a_gpu_and_back(device: CudaDevice) -> None:
    inlet, (outlet,), stream = device.inlet("a", SIZE), device.outlets("b", SIZE, 1), device.stream("s")
    inlet.write(RAMP.reshape(4, -1))
    inlet.release()
    device.enqueue(inlet.upload, stream)
    device.enqueue(device.copy(inlet.buffer.span(0, 32), outlet.buffer.span(16, 48)), stream)
    device.enqueue(device.fill(outlet.buffer.span(0, 16)), stream)
    device.enqueue(outlet.download, stream)
    device.finish()
    np.testing.assert_array_equal(outlet.array, [*[0] * 16, *range(32)])


def test_ways_out_that_are_made_together_share_the_memory_of_the_gpu(
    driver: StandInDriver, device: CudaDevice
) -> None:
    first, second = device.outlets("b", SIZE, 2)
    assert first.buffer is second.buffer
    assert not np.shares_memory(first.array, second.array)
    assert sorted(driver.live.values()) == ["memory", "pinned", "pinned"]


def test_a_frame_makes_one_call_of_the_driver_for_each_call_of_the_device(
    driver: StandInDriver, device: CudaDevice
) -> None:
    inlet, (outlet,), stream = device.inlet("a", SIZE), device.outlets("b", SIZE, 1), device.stream("s")
    event, copy = device.event("e"), device.copy(inlet.buffer.span(), outlet.buffer.span())
    fill = device.fill(outlet.buffer.span())
    device.enqueue(inlet.upload, stream)  # adopts the thread
    for operation, expected in (
        (inlet.upload, "cuMemcpyHtoDAsync"),
        (copy, "cuMemcpyDtoDAsync"),
        (fill, "cuMemsetD8Async"),
        (outlet.download, "cuMemcpyDtoHAsync"),
        (device.graph("g", (copy, fill), stream), "cuGraphLaunch"),
    ):
        assert calls_of(driver, lambda: device.enqueue(operation, stream)) == [expected]  # noqa: B023
    assert calls_of(driver, lambda: device.record(event, stream)) == ["cuEventRecord"]
    assert calls_of(driver, lambda: device.wait(stream, event)) == ["cuStreamWaitEvent"]


def test_memory_that_is_lent_is_used_from_the_next_enqueue_on(
    driver: StandInDriver, device: CudaDevice
) -> None:
    lent, stream = device.borrowed("lent", SIZE), device.stream("s")
    first, second = device.buffer("first", SIZE), device.buffer("second", SIZE)
    fill, argument = device.fill(lent.buffer.span(8, 16)), np.zeros((), np.uint64)
    lent.buffer.keep_in(argument, 8)
    assert argument == 0
    for buffer in (first, second):
        lent.bind(buffer.address)
        device.enqueue(fill, stream)
        assert argument == buffer.address + 8
    assert [call[0] for call in driver.named("cuMemsetD8Async")] == [first.address + 8, second.address + 8]


def test_a_graph_is_captured_without_running_and_launches_what_was_captured(
    driver: StandInDriver, device: CudaDevice
) -> None:
    stream = device.stream("s")
    source, target = device.inlet("a", SIZE), device.buffer("b", SIZE)
    parts = (device.fill(target.span(0, 8)), device.copy(source.buffer.span(8), target.span(8)))
    source.write(RAMP)
    device.enqueue(source.upload, stream)
    fresh = driver.bytes_at(target.address, SIZE).copy()

    made: list[Any] = []
    names = calls_of(driver, lambda: made.append(device.graph("g", parts, stream)))
    assert [name for name in names if name != "cuCtxSetCurrent"] == [
        "cuStreamBeginCapture",
        "cuMemsetD8Async",
        "cuMemcpyDtoDAsync",
        "cuStreamEndCapture",
        "cuGraphInstantiate",
        "cuGraphDestroy",
        "cuGraphUpload",
    ]
    np.testing.assert_array_equal(driver.bytes_at(target.address, SIZE), fresh)
    (graph,) = made
    assert graph.parts == parts
    assert graph.reads == (source.buffer.span(8),)
    assert graph.writes == (target.span(0, 8), target.span(8))
    device.enqueue(graph, stream)
    np.testing.assert_array_equal(driver.bytes_at(target.address, SIZE), [*[0] * 8, *range(8, SIZE)])


def test_what_cannot_be_captured_is_launched_in_turn(driver: StandInDriver, device: CudaDevice) -> None:
    stream, buffer = device.stream("s"), device.buffer("b", SIZE)
    fill = device.fill(buffer.span())
    shy = CudaOperation(name="shy", launch=fill.launch, is_capturable=lambda _: False)
    graph = device.graph("g", (fill, shy), stream)
    assert calls_of(driver, lambda: device.enqueue(graph, stream)).count("cuMemsetD8Async") == 2
    assert not list(driver.named("cuStreamBeginCapture"))


def test_a_failure_in_a_part_that_is_launched_in_turn_is_not_passed_over(
    driver: StandInDriver, device: CudaDevice
) -> None:
    stream, buffer = device.stream("s"), device.buffer("b", SIZE)
    shy = CudaOperation(name="shy", launch=device.fill(buffer.span()).launch, is_capturable=lambda _: False)
    graph = device.graph("g", (shy, shy), stream)
    device.enqueue(graph, stream)
    driver.fail_at = len(driver.calls)
    with pytest.raises(EngineError, match=r"^g: got CUDA_ERROR_OUT_OF_MEMORY"):
        device.enqueue(graph, stream)


def test_a_capture_that_fails_leaves_the_stream_as_it_was(driver: StandInDriver, device: CudaDevice) -> None:
    stream, buffer = device.stream("s"), device.buffer("b", SIZE)
    fill = device.fill(buffer.span())

    def fail(_stream: Any) -> tuple[Any]:
        return (R.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,)

    with pytest.raises(EngineError, match=r"^bad: got CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"):
        device.graph("g", (fill, CudaOperation(name="bad", launch=fail)), stream)
    device.enqueue(fill, stream)
    assert not driver.bytes_at(buffer.address, SIZE).any()
    assert "graph" not in driver.live.values()


@pytest.mark.parametrize(
    ("code", "todo"),
    [
        (R.CUDA_ERROR_OUT_OF_MEMORY, "smaller profile"),
        (R.CUDA_ERROR_ILLEGAL_ADDRESS, "compute-sanitizer"),
        (R.CUDA_ERROR_INVALID_HANDLE, "primary context"),
        (R.CUDA_ERROR_UNKNOWN, "documentation"),
    ],
)
def test_an_error_says_what_the_driver_calls_it_and_what_to_do(
    driver: StandInDriver, device: CudaDevice, code: Any, todo: str
) -> None:
    stream, event, buffer = device.stream("s"), device.event("e"), device.buffer("b", SIZE)
    fill = device.fill(buffer.span())
    driver.failure = code
    device.enqueue(fill, stream)
    for subject, act in (
        ("fill b", lambda: device.enqueue(fill, stream)),
        ("record e on s", lambda: device.record(event, stream)),
        ("wait for e on s", lambda: device.wait(stream, event)),
    ):
        driver.fail_at = len(driver.calls)
        with pytest.raises(EngineError) as caught:
            act()
        assert caught.value.subject == subject
        assert caught.value.got == f"{code.name} (text of {code.name})"
        assert todo in caught.value.todo
    driver.fail_at = len(driver.calls) + 1  # the first makes the context current
    with pytest.raises(EngineError, match=f"^synchronize e: got {code.name}"):
        device.synchronize(event)


def test_another_thread_may_go_on_with_the_device(device: CudaDevice) -> None:
    stream, event, buffer = device.stream("s"), device.event("e"), device.buffer("b", SIZE)
    fill = device.fill(buffer.span())
    device.enqueue(fill, stream)
    for act in (
        lambda: device.enqueue(fill, stream),
        lambda: device.record(event, stream),
        lambda: device.wait(stream, event),
        lambda: device.synchronize(event),
        device.finish,
        lambda: device.buffer("c", SIZE),
        device.close,
    ):
        failures: list[BaseException] = []

        def run(act: Callable[[], Any] = act, failures: list[BaseException] = failures) -> None:
            try:
                act()
            except EngineError as error:
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        assert not failures


def test_closing_destroys_everything_once(driver: StandInDriver) -> None:
    gpu = Gpu(Driver(driver))
    device = CudaDevice(gpu)
    stream, buffer = device.stream("s"), device.buffer("b", SIZE)
    device.event("e")
    device.inlet("a", SIZE)
    device.outlets("c", SIZE, 2)
    device.graph("g", (device.fill(buffer.span()),), stream)
    assert len(driver.live) == 9
    for _ in range(2):
        device.close()
        gpu.close()
        assert not driver.live
        assert driver.retained == 0


def test_page_locked_memory_lives_as_long_as_an_array_of_it(driver: StandInDriver) -> None:
    gpu = Gpu(Driver(driver))
    device = CudaDevice(gpu)
    stream = device.stream("s")
    (outlet,) = device.outlets("b", SIZE, 1)
    device.enqueue(device.fill(outlet.buffer.span()), stream)
    device.enqueue(outlet.download, stream)
    kept = outlet.array[4:12].reshape(2, 4)
    device.close()
    gpu.close()
    del outlet
    driver.current.clear()  # as on a thread that never used the GPU
    assert list(driver.live.values()) == ["pinned"]
    np.testing.assert_array_equal(kept, 0)
    del kept
    assert not driver.live
    assert driver.retained == 0
    assert not driver.current.get(threading.get_ident())  # as it was


@pytest.mark.parametrize("ordinal", [-1, 2])
def test_a_gpu_that_is_not_there_is_named(ordinal: int) -> None:
    with pytest.raises(OptionError, match=rf"GPU: got number {ordinal}, expected a number from 0 to 1"):
        Gpu(Driver(StandInDriver(gpus=2)), ordinal)


def test_a_gpu_that_is_too_old_is_refused() -> None:
    driver = StandInDriver(capability=(7, 0))
    with pytest.raises(EngineError, match=r"Stand-in RTX: got compute capability 7\.0, expected 7\.5"):
        Gpu(Driver(driver))
    assert driver.retained == 0


def test_a_machine_without_a_driver_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_flags: int) -> Any:
        raise DynamicLibNotFoundError("libcuda.so.1")

    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", SimpleNamespace(cuInit=missing))
    with pytest.raises(EngineError, match=r"got no NVIDIA driver on this machine.*backend 'cpu'"):
        Driver.load()


def test_a_driver_without_a_gpu_is_told_what_to_do(
    monkeypatch: pytest.MonkeyPatch, driver: StandInDriver
) -> None:
    driver.fail_at, driver.failure = 0, R.CUDA_ERROR_NO_DEVICE
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", driver)
    with pytest.raises(EngineError, match=r"CUDA_ERROR_NO_DEVICE.*nvidia-smi"):
        Driver.load()


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", None)
    with pytest.raises(DependencyError, match=r"CUDA session: .*rvm-trt\[cuda\]"):
        Driver.load()
