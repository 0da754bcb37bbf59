"""The caller of `Schedule.enqueue`: an application with a stream and device memory of its own."""

from __future__ import annotations

from rvm_trt.runtime.device import Bytes, Operation, Stream
from rvm_trt.runtime.stages import Sizes
from rvm_trt.runtime.verification.virtual_device import Log, VirtualBuffer, VirtualDevice


class Caller:
    """A stream of the application's own, with a frame's room in device memory, used again for every frame."""

    def __init__(self, log: Log, name: str, sizes: Sizes) -> None:
        lanes = range(sizes.lanes)
        self._device = VirtualDevice(log, video=name)
        self.stream: Stream = self._device.stream("caller")
        self.sources = [self._device.allocate(f"lent.{lane}", sizes.source) for lane in lanes]
        self.outputs = [
            [self._device.allocate(f"given.{lane}.{i}", size) for i, size in enumerate(sizes.outputs)]
            for lane in lanes
        ]
        self._results: list[tuple[str, VirtualBuffer]] = []

    def give(self, frames: list[Bytes]) -> None:
        """Brings a frame into device memory, in the order of the stream."""
        for lane, frame in enumerate(frames):
            pinned = self._fresh(frame.size)
            self._device.write(pinned, frame)
            self._run(self._device.copy(pinned.span(), self.sources[lane].span(), name="give"))

    def take(self, label: str) -> None:
        """Takes the outputs away, and wipes."""
        for lane, outputs in enumerate(self.outputs):
            for index, output in enumerate(outputs):
                result = self._fresh(output.size_bytes)
                self._run(self._device.copy(output.span(), result.span(), name="take"))
                self._results.append((_result_key(label, lane, index), result))
        self.wipe()

    def wipe(self) -> None:
        """Overwrites frame and outputs, in the order of the stream."""
        for buffer in (*self.sources, *(output for outputs in self.outputs for output in outputs)):
            self._run(self._device.fill(buffer.span()))

    def expect(self, label: str, outputs: list[bytes]) -> dict[str, bytes]:
        """Returns what must be found in the results of a frame."""
        expected = {}
        for lane, whole in enumerate(outputs):
            start = 0
            for index, output in enumerate(self.outputs[lane]):
                expected[_result_key(label, lane, index)] = whole[start : start + output.size_bytes]
                start += output.size_bytes
        return expected

    def read_results(self) -> None:
        """Waits for the stream and reads all that was taken."""
        with self._device.log.calling("caller", "end"):
            self._device.finish()
            for key, result in self._results:
                self._device.read(result, key)

    def _fresh(self, size_bytes: int) -> VirtualBuffer:
        return self._device.allocate(f"caller's memory.{len(self._device.log.entries)}", size_bytes)

    def _run(self, operation: Operation) -> None:
        self._device.enqueue(operation, self.stream)


def _result_key(label: str, lane: int, index: int) -> str:
    return f"{label}, lane {lane}, output {index} in the caller's memory"
