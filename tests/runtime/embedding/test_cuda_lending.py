"""Frames on a GPU: the order between the caller's streams and ours, and how long what was lent is held.

The schedule drives the recording device of the verification, so that the checker and its random orders apply.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from cuda.bindings import driver as cuda_driver
from gpu_fakes import CaiArray, DlpackArray

from rvm_trt import Profile
from rvm_trt.errors import EngineError, FrameError, OptionError
from rvm_trt.runtime.cuda_driver import Driver
from rvm_trt.runtime.cuda_lending import CudaLending, lend_on_gpu
from rvm_trt.runtime.device import Event, Stream
from rvm_trt.runtime.schedule import Schedule
from rvm_trt.runtime.verification.checker import Rule, check
from rvm_trt.runtime.verification.executor import Executor
from rvm_trt.runtime.verification.program import Program, Waited
from rvm_trt.runtime.verification.stand_in import StandInStages, small_sizes
from rvm_trt.runtime.verification.virtual_device import Log, VirtualBorrowed, VirtualBuffer, VirtualDevice

PROFILE = Profile(width=16, height=16, ratio=1.0)
SHAPES = {"src": (16, 16, 3), "pha": (16, 16), "composite": (16, 16, 3)}
SIZES = replace(small_sizes(), source=768, outputs=(256, 768))
CALLER, PRODUCER, READER = 0x70, 0x80, 0x90


class AddressedDevice(VirtualDevice):
    """A recording device whose caller has memory at addresses and streams with handles, as on a GPU."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self.memory: dict[int, VirtualBuffer] = {}

    def lent_stream(self, handle: int) -> Stream:
        return Stream(f"stream {handle:#x}")

    def borrowed(self, name: str, size_bytes: int) -> Any:
        borrowed = VirtualBorrowed(name, size_bytes)
        return SimpleNamespace(
            buffer=borrowed.buffer, bind=lambda address: borrowed.bind(self.memory[address])
        )

    def place(self, name: str, index: int = 0) -> int:
        """Allocates the caller's memory for an array and returns its address."""
        address = 0x100000 * (1 + list(SHAPES).index(name)) + 0x1000000 * index
        self.memory[address] = self.allocate(f"{name} at {address:#x}", int(np.prod(SHAPES[name])))
        return address


class Application:
    """A lending on a recording device; ``behind`` says which events the GPU has passed."""

    def __init__(self) -> None:
        self.log = Log()
        self.device = AddressedDevice(self.log)
        self.schedule = Schedule(self.device, StandInStages(SIZES))
        self.behind = False
        self.activated = 0
        self.lending = CudaLending(
            self.device,
            PROFILE,
            ("pha", "composite"),
            ordinal=0,
            activate=self._activate,
            passed=lambda _event: self.behind,
        )
        self.places = {name: self.device.place(name) for name in SHAPES}

    def enqueue(self, arrays: dict[str, Any], stream: Any = CALLER) -> None:
        outputs = {name: arrays[name] for name in arrays if name != "src"}
        self.lending.enqueue(self.schedule, arrays["src"], outputs, stream)

    def arrays(self, **streams: int) -> dict[str, CaiArray]:
        return {
            name: CaiArray(SHAPES[name], address=address, stream=streams.get(name))
            for name, address in self.places.items()
        }

    def give(self, frame: int, stream: int) -> None:
        """Brings frame content into the source's memory, on a stream."""
        pinned = self.device.allocate(f"frame {frame}", 768)
        self.device.write(pinned, np.full(768, frame, np.uint8))
        self._copy(pinned, self.device.memory[self.places["src"]], stream)

    def take(self, frame: int, stream: int) -> None:
        """Takes the outputs away, on a stream."""
        for name in ("pha", "composite"):
            source = self.device.memory[self.places[name]]
            result = self.device.allocate(f"{name} of {frame}", source.size_bytes)
            self._copy(source, result, stream)

    def read_taken(self, frames: int, streams: Sequence[int]) -> Program:
        """Ends the streams, reads what was taken, and returns all that was recorded."""
        for stream in streams:
            event = self.device.event(f"end of {stream}")
            self.device.record(event, self.device.lent_stream(stream))
            self.device.synchronize(event)
        for frame in range(frames):
            for name in ("pha", "composite"):
                size = int(np.prod(SHAPES[name]))
                self.device.read(self.device.allocate(f"{name} of {frame}", size), f"{name} of {frame}")
        return self.log.program

    def _activate(self) -> None:
        self.activated += 1

    def _copy(self, source: VirtualBuffer, target: VirtualBuffer, stream: int) -> None:
        self.device.enqueue(self.device.copy(source.span(), target.span()), self.device.lent_stream(stream))


def by_interface(application: Application, frames: int) -> Program:
    """The frame is made on one stream, the outputs are read on another; `enqueue` is given a third."""
    for frame in range(frames):
        application.give(frame, PRODUCER)
        application.enqueue(application.arrays(src=PRODUCER, pha=READER, composite=READER))
        application.take(frame, READER)
    return application.read_taken(frames, (CALLER, PRODUCER, READER))


def by_address(application: Application, frames: int) -> Program:
    """All is done on one stream of the caller's."""
    for frame in range(frames):
        application.give(frame, CALLER)
        application.enqueue(dict(application.places))
        application.take(frame, CALLER)
    return application.read_taken(frames, (CALLER,))


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.mark.parametrize("run", [by_interface, by_address])
def test_no_race_with_what_the_caller_does_before_and_after(run: Any, application: Application) -> None:
    assert check(run(application, 5)) == []


@pytest.mark.parametrize("run", [by_interface, by_address])
def test_every_order_gives_the_same_bytes(run: Any, application: Application) -> None:
    executor = Executor(run(application, 5))
    expected = executor.run(None)
    assert len(expected) == 10
    assert len(set(expected.values())) == 10  # each frame has something of its own to show
    for seed in range(100):
        assert executor.run(seed) == expected


def test_each_wait_between_the_streams_is_needed(application: Application) -> None:
    program = by_interface(application, 4)
    ours = ("lent", "passed")
    waits = [
        (entry.stream, entry.event.partition(".")[0])
        for entry in program
        if isinstance(entry, Waited) and entry.event.partition(".")[0] in ours
    ]
    places = set(waits)
    assert places == {
        (f"stream {CALLER:#x}", "lent"),
        (f"stream {PRODUCER:#x}", "passed"),
        (f"stream {READER:#x}", "passed"),
    }
    for stream, event in places:
        without = tuple(
            entry
            for entry in program
            if not (isinstance(entry, Waited) and entry.stream == stream and entry.event.startswith(event))
        )
        assert Rule.RACE in {finding.rule for finding in check(without)}, (stream, event)


def test_arrays_on_the_callers_own_stream_need_no_wait_of_their_own(application: Application) -> None:
    before = len(application.log.program)
    application.enqueue(application.arrays(src=CALLER, pha=CALLER))
    waits = [entry.event for entry in application.log.program[before:] if isinstance(entry, Waited)]
    assert not [event for event in waits if event == "lent" or event.startswith("passed")]


def test_default_streams_are_told_apart(application: Application) -> None:
    application.enqueue(application.arrays(src=2, pha=1), stream=None)
    waits = [entry for entry in application.log.program if isinstance(entry, Waited)]
    assert [entry.stream for entry in waits if entry.event == "lent"] == ["stream 0x1"]
    assert [entry.stream for entry in waits if entry.event.startswith("passed")] == ["stream 0x2"]


def test_dlpack_producers_order_their_work_before_ours(application: Application) -> None:
    arrays = {
        name: DlpackArray(SHAPES[name], address=address) for name, address in application.places.items()
    }
    application.enqueue(arrays, stream=SimpleNamespace(__cuda_stream__=lambda: (0, CALLER)))
    assert [array.streams for array in arrays.values()] == [[CALLER]] * 3


def test_what_was_lent_is_held_until_the_gpu_has_passed_it(application: Application) -> None:
    arrays: dict[str, Any] = {
        name: DlpackArray(SHAPES[name], address=address) for name, address in application.places.items()
    }
    interface = CaiArray(SHAPES["pha"], address=application.places["pha"])
    ending = weakref.ref(interface)
    application.enqueue({**arrays, "pha": interface})
    del interface
    for _ in range(3):  # the GPU lags: what it may still read is not given back
        application.enqueue(dict(application.places))
        gc.collect()
        assert [arrays[name].deleted for name in ("src", "composite")] == [0, 0]
        assert ending() is not None
    application.behind = True
    application.enqueue(dict(application.places))
    assert [arrays[name].deleted for name in ("src", "composite")] == [1, 1]
    assert ending() is None


def test_closing_gives_back_what_is_held(application: Application) -> None:
    array = DlpackArray(SHAPES["src"], address=application.places["src"])
    application.enqueue({**application.places, "src": array})
    application.schedule.close()
    for _ in range(2):
        application.lending.close()
        assert array.deleted == 1


def test_a_gpu_that_keeps_up_needs_one_event(application: Application) -> None:
    made: list[str] = []
    event = application.device.event
    application.device.event = lambda name: made.append(name) or event(name)  # type: ignore[assignment, func-returns-value]
    application.behind = True
    for _ in range(20):
        application.enqueue(application.arrays(src=PRODUCER))
    assert made == ["passed.0"]


GOOD = {name: 0x100000 * (1 + index) for index, name in enumerate(SHAPES)}
REFUSED: dict[str, tuple[dict[str, Any], Any, type[Exception], str]] = {
    "no memory": ({**GOOD, "pha": "text"}, CALLER, FrameError, "pha: got"),
    "overlap": ({**GOOD, "pha": GOOD["src"] + 700}, CALLER, FrameError, "pha: got memory that src"),
    "same": ({**GOOD, "composite": GOOD["pha"]}, CALLER, FrameError, "uses too"),
    "stream": (GOOD, "stream", OptionError, "stream: got"),
    "missing": ({"src": GOOD["src"], "pha": GOOD["pha"]}, CALLER, OptionError, "outputs: got pha"),
    "unknown": ({**GOOD, "fgr": 1}, CALLER, OptionError, "memory for each of pha, composite"),
}


@pytest.mark.parametrize(("arrays", "stream", "kind", "words"), REFUSED.values(), ids=REFUSED)
def test_a_call_that_is_refused_does_nothing(
    arrays: Any, stream: Any, kind: type[Exception], words: str, application: Application
) -> None:
    before = application.log.program
    with pytest.raises(kind, match=words):
        application.enqueue(arrays, stream)
    assert application.log.program == before


def test_outputs_must_be_named(application: Application) -> None:
    with pytest.raises(OptionError, match="outputs: got list"):
        application.lending.enqueue(application.schedule, 0x100000, [0x200000], CALLER)  # type: ignore[arg-type]


class StandInDriver:
    """The one function of the driver that lending calls itself."""

    CUresult = cuda_driver.CUresult

    def __init__(self) -> None:
        self.code = cuda_driver.CUresult.CUDA_SUCCESS
        self.asked: list[Any] = []

    def cuEventQuery(self, event: Any) -> tuple[Any]:  # noqa: N802
        self.asked.append(event)
        return (self.code,)

    def cuGetErrorString(self, code: Any) -> tuple[Any, bytes]:  # noqa: N802
        return self.CUresult.CUDA_SUCCESS, f"text of {code.name}".encode()


def test_on_a_gpu_events_are_asked_for_without_waiting(application: Application) -> None:
    module, array = (
        StandInDriver(),
        DlpackArray(SHAPES["src"], address=application.places["src"], device=(2, 1)),
    )
    activated: list[bool] = []
    gpu: Any = SimpleNamespace(ordinal=1, driver=Driver(module), activate=lambda: activated.append(True))
    application.device.event = _event_with_handle  # type: ignore[method-assign, assignment]
    lending = lend_on_gpu(application.device, gpu, PROFILE, ("pha", "composite"))  # type: ignore[arg-type]
    outputs = {name: application.places[name] for name in ("pha", "composite")}
    lending.enqueue(application.schedule, array, outputs, CALLER)
    module.code = cuda_driver.CUresult.CUDA_ERROR_NOT_READY
    lending.enqueue(application.schedule, application.places["src"], outputs, CALLER)
    assert array.deleted == 0
    module.code = cuda_driver.CUresult.CUDA_SUCCESS
    lending.enqueue(application.schedule, application.places["src"], outputs, CALLER)
    assert array.deleted == 1
    assert module.asked == ["handle of passed.0"] * 2
    assert len(activated) == 3


def test_a_frame_that_failed_on_the_gpu_is_reported_at_the_next(application: Application) -> None:
    module = StandInDriver()
    gpu: Any = SimpleNamespace(ordinal=0, driver=Driver(module), activate=lambda: None)
    application.device.event = _event_with_handle  # type: ignore[method-assign, assignment]
    lending = lend_on_gpu(application.device, gpu, PROFILE, ("pha", "composite"))  # type: ignore[arg-type]
    arrays = application.arrays()
    outputs = {name: arrays[name] for name in ("pha", "composite")}
    lending.enqueue(application.schedule, arrays["src"], outputs, CALLER)
    module.code = cuda_driver.CUresult.CUDA_ERROR_ILLEGAL_ADDRESS
    with pytest.raises(EngineError, match="a frame before this one: got CUDA_ERROR_ILLEGAL_ADDRESS"):
        lending.enqueue(application.schedule, arrays["src"], outputs, CALLER)


def _event_with_handle(name: str) -> Event:
    event = Event(name)
    event.handle = f"handle of {name}"  # type: ignore[attr-defined]
    return event
