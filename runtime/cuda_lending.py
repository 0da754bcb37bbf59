"""Frames in the caller's memory on a GPU: in the order of its stream, and held as long as the GPU uses them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from typing import Protocol, cast

from rvm_trt.profile import Profile
from rvm_trt.runtime.cuda import CudaDevice, CudaEvent
from rvm_trt.runtime.cuda_driver import Driver
from rvm_trt.runtime.cuda_gpu import Gpu
from rvm_trt.runtime.device import Device, Event, Stream
from rvm_trt.runtime.device_arrays import Lent, Wanted, read_lent
from rvm_trt.runtime.lending import check_apart, paired, wanted_outputs, wanted_source
from rvm_trt.runtime.schedule import Schedule
from rvm_trt.runtime.streams import stream_handle


class LentStreams(Device, Protocol):
    """A device that takes streams of the caller's."""

    def lent_stream(self, handle: int) -> Stream:
        """Returns a stream of the caller's by its handle."""


class CudaLending:
    """Frames in arrays on a GPU.

    The caller's stream waits for the streams that the arrays' owners use them in (``stream`` of the CUDA array
    interface; DLPack producers do it themselves), the schedule waits for the caller's stream, then that stream waits
    for the schedule, and the owners' streams for it.

    What was lent is held until the GPU has passed the frame, and released by a later call, or by `close`. The host
    waits for nothing.

    Args:
        device: as `CudaDevice`.
        profile: what the engine was built for.
        outputs: names, in the schedule's order.
        ordinal: of the GPU.
        activate: makes the GPU's primary context current: the default streams are those of the current context.
        passed: whether a recorded event lies behind, without waiting for it.
    """

    def __init__(
        self,
        device: LentStreams,
        profile: Profile,
        outputs: Sequence[str],
        *,
        ordinal: int,
        activate: Callable[[], None],
        passed: Callable[[Event], bool],
    ) -> None:
        self._device = device
        self._activate = activate
        self._wanted = wanted_outputs(profile, outputs)
        self._source = wanted_source(profile)
        self._ordinal = ordinal
        self._passed = passed
        self._ready = device.event("lent")
        self._held: deque[tuple[Event, tuple[object, ...]]] = deque()
        self._spare: list[Event] = []

    def enqueue(self, schedule: Schedule, src: object, outputs: Mapping[str, object], stream: object) -> None:
        """See `MattingSession.enqueue`."""
        self._activate()
        self._release()
        handle = stream_handle(stream)
        pairs = [(src, self._source), *paired(outputs, self._wanted)]
        lents = [read_lent(thing, w, ordinal=self._ordinal, stream=handle) for thing, w in pairs]
        check_apart({w.name: _extent(lent, w) for lent, (_, w) in zip(lents, pairs, strict=True)})
        owners = dict.fromkeys(lent.stream for lent in lents if lent.stream not in (None, handle))
        caller = self._device.lent_stream(handle)
        streams = [self._device.lent_stream(owner) for owner in owners if owner is not None]
        for owner in streams:
            self._device.record(self._ready, owner)
            self._device.wait(caller, self._ready)
        addresses = [lent.address for lent in lents]
        things = tuple(lent.keep for lent in lents if lent.keep is not None)
        # Plain addresses: the caller keeps the memory, and no stream but its own was named.
        event = self._event() if things else None
        schedule.enqueue(addresses[:1], (addresses[1:],), caller)
        if event is not None:
            self._hold(event, things, caller, streams)

    def close(self) -> None:
        """Releases what is held. The schedule's streams are finished."""
        self._held.clear()

    def _event(self) -> Event:
        return self._spare.pop() if self._spare else self._device.event(f"passed.{len(self._held)}")

    def _hold(
        self, event: Event, things: tuple[object, ...], caller: Stream, owners: Sequence[Stream]
    ) -> None:
        self._held.append((event, things))
        self._device.record(event, caller)
        for owner in owners:
            self._device.wait(owner, event)

    def _release(self) -> None:
        while self._held and self._passed(self._held[0][0]):
            self._spare.append(self._held.popleft()[0])


def lend_on_gpu(device: CudaDevice, gpu: Gpu, profile: Profile, outputs: Sequence[str]) -> CudaLending:
    """Returns the lending of a schedule on a GPU; ``device`` is the schedule's own, on ``gpu``."""
    return CudaLending(
        device,
        profile,
        outputs,
        ordinal=gpu.ordinal,
        activate=gpu.activate,
        passed=partial(_has_passed, gpu.driver),
    )


def _has_passed(driver: Driver, event: Event) -> bool:
    (code,) = driver.module.cuEventQuery(cast(CudaEvent, event).handle)
    if code and code != driver.module.CUresult.CUDA_ERROR_NOT_READY:
        raise driver.error("a frame before this one", code)
    return not code


def _extent(lent: Lent, wanted: Wanted) -> tuple[int, int]:
    return lent.address, lent.address + prod(wanted.shape)
