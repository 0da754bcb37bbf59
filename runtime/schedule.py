"""The schedule: how frames pass through three streams of a device, the network serial, everything else beside it.

    in : upload → source[s] · wait ran[t] · sample → src[t] · record sampled
    net: wait sampled, composed[t] · core (and head, and fill): state[t] → state[1−t], coefficients[t] · record ran[t]
    out: wait ran[t] · compose → output · record composed[t] · download → slot s · record ready[s]

Frame n takes turn t = n mod 2 of the network, frame h from the host takes slot s = h mod depth. The wait for ``ran[t]``
on ``in`` sees the record of frame n−2 (src is free), on ``out`` that of frame n (coefficients are there).

Nothing waits for a slot: `submit` refuses a frame while ``depth`` frames wait, so the slot's last frame was collected,
and `collect` has synchronized ``ready``, behind which lie that frame's upload, its last read of the source and its
download. The pinned memory of both ends is therefore free, and so is the source.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from rvm_trt.errors import RvmTrtError, SessionError
from rvm_trt.runtime.device import Bytes, Device, Operation, Stream
from rvm_trt.runtime.slots import Turn, Work, make_loan, make_slots, make_staging, make_turns
from rvm_trt.runtime.stages import Background, Sizes, Stages


class Schedule:
    """Runs the frames of one video, or of as many videos in step as the engine has lanes, on one device.

    Frames come from the host (`submit`, `collect`: nothing is waited for but in `collect`), or lie in the caller's
    device memory (`enqueue`: nothing is waited for at all); the two may be mixed. Independent videos take a schedule
    and a device each, and may share the stages: every schedule has execution contexts of its own.

    Args:
        device: a device of its own; the schedule closes it.
        stages: the engine's operations; the caller closes them, after the schedule.
        depth: frames from the host that may be under way, at least 1. Two overlap the network with all else; three
            also hide what the host does between frames, for one frame more of latency.
        spill_suppression: whether the foreground is the network's; else it is the frame itself, to the byte.

    A schedule belongs to one thread at a time.
    """

    def __init__(
        self, device: Device, stages: Stages, *, depth: int = 2, spill_suppression: bool = True
    ) -> None:
        self.sizes: Sizes = stages.sizes
        self.depth = depth
        self.waiting = 0  # frames submitted and not collected
        self._device = device
        self._in, self._net, self._out = (device.stream(name) for name in ("in", "net", "out"))
        self._sampled, self._kept, self._restored, self._shown = (
            device.event(name) for name in ("sampled", "kept", "restored", "shown")
        )
        lanes = range(self.sizes.lanes)
        behind = self.sizes.background
        self._images = tuple(device.inlet(f"background.{lane}", behind) for lane in lanes) if behind else ()
        self._backgrounds = tuple(
            Background(self._images[lane].buffer.span() if behind else None) for lane in lanes
        )
        self._staging = make_staging(device, self.sizes)
        self._turns = make_turns(device, stages, self._staging, spill_suppression=spill_suppression)
        self._slots = make_slots(device, stages, self._turns, self._backgrounds, depth)
        self._loan = make_loan(device, stages, self._turns, self._backgrounds)
        self._networks: tuple[tuple[Operation, ...], ...] = tuple(turn.network for turn in self._turns)
        self._submitted = 0
        self._turn = 0
        self._closed = False
        self._warm_up()

    def submit(self, frames: Sequence[Bytes]) -> None:
        """Enqueues one frame of each lane from host memory, which is the caller's again on return.

        Where this raises, the streams are finished and the states are as before: the frame did not happen.

        Args:
            frames: by lane, contiguous uint8 arrays of ``sizes.source`` bytes.

        Raises:
            SessionError: ``depth`` frames wait already.
        """
        self.check_room()
        device, slot = self._device, self._slots[self._submitted % self.depth]
        try:
            for inlet, frame in zip(slot.inlets, frames, strict=True):
                inlet.write(frame)
                device.enqueue(inlet.upload, self._in)
            self._matte(slot.work)
            for outlet in slot.outlets:
                device.enqueue(outlet.download, self._out)
            device.record(slot.ready, self._out)
        except BaseException:
            with suppress(RvmTrtError):  # the first error is the one to tell
                device.finish()
            raise
        finally:
            for inlet in slot.inlets:
                inlet.release()
        self._turn = 1 - self._turn
        self._submitted += 1
        self.waiting += 1

    def check_room(self) -> None:
        """Raises `SessionError` where `submit` would for want of room."""
        if self.waiting == self.depth:
            raise SessionError(
                "submit",
                got=f"{self.depth} mattes waiting",
                expected=f"at most {self.depth - 1}",
                todo="Collect a matte before you submit the next frame.",
            )

    def collect(self) -> int:
        """Waits for the oldest frame that was submitted and not collected, and returns its slot.

        Raises:
            SessionError: there is none.
        """
        if not self.waiting:
            raise SessionError(
                "collect", got="no matte waiting", expected="at least one", todo="Submit a frame first."
            )
        index = (self._submitted - self.waiting) % self.depth
        self._device.synchronize(self._slots[index].ready)
        self.waiting -= 1
        return index

    def output(self, slot: int, lane: int = 0) -> Bytes:
        """Returns the host memory of a slot: all outputs of a lane, one after the other, (n,) uint8.

        What `collect` found there stands until the slot's next frame is submitted, ``depth`` frames later.
        """
        return self._slots[slot].outlets[lane].array

    def discard(self) -> None:
        """Drops the frames that wait; their states stay. The host waits for them: their slots are used again."""
        if self.waiting:
            self._device.synchronize(self._slots[(self._submitted - 1) % self.depth].ready)
        self.waiting = 0

    def enqueue(self, sources: Sequence[Any], outputs: Sequence[Sequence[Any]], stream: Stream) -> None:
        """Enqueues one frame of each lane from and to the caller's device memory, in the order of its stream.

        What stands in ``stream`` so far comes first; what is put there later finds the outputs written and the
        source read. The host waits for nothing. Where this raises, the streams are finished and the states are as
        before.

        Args:
            sources: by lane, as `Borrowed.bind` takes it: ``sizes.source`` bytes.
            outputs: by lane and output, as `Borrowed.bind` takes it: ``sizes.outputs`` bytes.
            stream: the caller's, of the same device.
        """
        device, loan = self._device, self._loan
        for source, memory in zip(loan.sources, sources, strict=True):
            source.bind(memory)
        for lane, memories in zip(loan.outputs, outputs, strict=True):
            for output, memory in zip(lane, memories, strict=True):
                output.bind(memory)
        try:
            device.record(loan.given, stream)
            device.wait(self._in, loan.given)
            self._matte(loan.work)
            device.wait(stream, self._turns[self._turn].composed)
        except BaseException:
            with suppress(RvmTrtError):  # the first error is the one to tell
                device.finish()
            raise
        self._turn = 1 - self._turn

    def reset(self, lane: int | None = None) -> None:
        """Sets the states of a lane, or of all, to zero for the next frame. Frames under way are not touched."""
        self._device.activate()
        zero = self._turns[self._turn].zero
        for operations in zero if lane is None else (zero[lane],):
            for operation in operations:
                self._device.enqueue(operation, self._net)

    def state(self, lane: int = 0) -> Bytes:
        """Returns a copy of a lane's states after the last frame: all tensors, one after the other, (n,) uint8.

        The host waits for the network.
        """
        device, outlet = self._device, self._staging.outlet
        device.activate()
        for operation in self._turns[self._turn].keep[lane]:
            device.enqueue(operation, self._net)
        device.enqueue(outlet.download, self._net)
        device.record(self._kept, self._net)
        device.synchronize(self._kept)
        kept: Bytes = outlet.array.copy()
        return kept

    def restore(self, state: Bytes, lane: int = 0) -> None:
        """Sets a lane's states for the next frame, as `state` gave them. Frames under way are not touched."""
        device, inlet = self._device, self._staging.inlet
        device.synchronize(self._restored)  # the upload before this one
        inlet.write(state)
        device.enqueue(inlet.upload, self._net)
        device.record(self._restored, self._net)
        for operation in self._turns[self._turn].put[lane]:
            device.enqueue(operation, self._net)
        inlet.release()

    def set_background(
        self, *, image: Bytes | None = None, colour: tuple[int, int, int] | None = None, lane: int = 0
    ) -> None:
        """Sets what is behind a lane from the next frame on.

        Args:
            image: of ``sizes.background`` bytes. Devices without memory of their own read it for as long as it is
                in use, so it must not change. It has no effect where no output shows a background.
            colour: (R, G, B) in 0..255, in place of an image.
        """
        self._backgrounds[lane].colour = colour
        if image is not None and self._images:
            device = self._device
            device.synchronize(self._shown)  # the upload before this one
            self._images[lane].write(image)
            device.enqueue(self._images[lane].upload, self._out)
            device.record(self._shown, self._out)

    def close(self) -> None:
        """Ends the streams and releases the device. May be called twice."""
        if self._closed:
            return
        self._closed = True
        try:
            self._device.finish()
        finally:
            self._device.close()

    def _matte(self, work: Work) -> None:
        """Enqueues a frame from its source to its outputs, and what they need of each other."""
        device, index = self._device, self._turn
        turn = self._turns[index]
        device.wait(self._in, turn.ran)
        for operation in work.sample[index]:
            device.enqueue(operation, self._in)
        device.record(self._sampled, self._in)
        self._run_network(turn, index)
        device.wait(self._out, turn.ran)
        for operation in work.compose[index]:
            device.enqueue(operation, self._out)
        device.record(turn.composed, self._out)

    def _run_network(self, turn: Turn, index: int) -> None:
        device = self._device
        device.wait(self._net, self._sampled)
        device.wait(self._net, turn.composed)
        for operation in self._networks[index]:
            device.enqueue(operation, self._net)
        device.record(turn.ran, self._net)

    def _warm_up(self) -> None:
        """Runs everything once, captures the network of each turn, and leaves states of zero.

        No video has begun, so the states are scratch memory still.
        """
        black = [np.zeros(self.sizes.source, np.uint8)] * self.sizes.lanes
        for _ in self._turns:
            self.submit(black)
            self.collect()
        self._networks = tuple(
            (self._device.graph(f"network.{index}", turn.network, self._net),)
            for index, turn in enumerate(self._turns)
        )
        self._submitted = 0
        self.reset()
