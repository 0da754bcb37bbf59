"""A GPU as a device: every call of the frame loop is one call of CUDA's driver with arguments that stand ready.

The tests run all of it against a stand-in for the driver; on a GPU it has not run yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from threading import get_ident
from typing import Any, TypeVar, cast

import numpy as np

from rvm_trt.errors import EngineError
from rvm_trt.runtime.cuda_gpu import Gpu, Module, Owned, PinnedMemory
from rvm_trt.runtime.cuda_operation import CudaBuffer, CudaOperation, Launch, address_of, in_turn
from rvm_trt.runtime.device import Bytes, Event, Operation, Span, Stream

_T = TypeVar("_T", Owned, Module, PinnedMemory)


class CudaStream(Stream):
    """A stream of the driver's."""

    def __init__(self, name: str, handle: Any) -> None:
        super().__init__(name)
        self.handle = handle


class CudaEvent(Event):
    """An event of the driver's."""

    def __init__(self, name: str, handle: Any) -> None:
        super().__init__(name)
        self.handle = handle


class CudaInlet:
    """Page-locked memory, a buffer, and the upload between them."""

    def __init__(self, gpu: Gpu, pinned: PinnedMemory, buffer: CudaBuffer, upload: Launch) -> None:
        self.buffer = buffer
        self.upload = CudaOperation(name=f"upload {buffer.name}", writes=(buffer.span(),), launch=upload)
        self._gpu = gpu
        self._pinned = pinned

    def write(self, array: Bytes) -> None:
        """Copies an array into the page-locked memory."""
        self._gpu.activate()
        np.copyto(self._pinned.array, array.reshape(-1))

    def release(self) -> None:
        """The array was copied."""


class CudaOutlet:
    """A buffer, page-locked memory, and the download between them."""

    def __init__(self, name: str, pinned: PinnedMemory, buffer: CudaBuffer, download: Launch) -> None:
        self.buffer = buffer
        self.download = CudaOperation(name=f"download {name}", reads=(buffer.span(),), launch=download)
        self._pinned = pinned

    @property
    def array(self) -> Bytes:
        """The page-locked memory."""
        return self._pinned.array


class CudaBorrowed:
    """A buffer without memory. Operations on it must not be enqueued before `bind`."""

    def __init__(self, gpu: Gpu, name: str, size_bytes: int) -> None:
        self.buffer = CudaBuffer(name, size_bytes, 0)
        self._gpu = gpu

    def bind(self, memory: int) -> None:
        """Stands for the memory at an address of the GPU's."""
        self._gpu.activate()
        self.buffer.refer(memory)


class CudaDevice:
    """A `Device` on a GPU, whose primary context it makes current on every thread that calls it.

    Args:
        gpu: which one; it must stay open until the device is closed.
    """

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._driver = gpu.driver
        self._owned = ExitStack()
        self._streams: list[CudaStream] = []
        self._thread = 0
        module = gpu.driver.module
        self._record, self._wait, self._synchronize = (
            module.cuEventRecord,
            module.cuStreamWaitEvent,
            module.cuEventSynchronize,
        )

    def buffer(self, name: str, size_bytes: int) -> CudaBuffer:
        """See `Device.buffer`."""
        memory = self._own(self._gpu.memory(size_bytes))
        return CudaBuffer(name, size_bytes, int(memory.handle))

    def borrowed(self, name: str, size_bytes: int) -> CudaBorrowed:
        """See `Device.borrowed`; memory is an address."""
        return CudaBorrowed(self._gpu, name, size_bytes)

    def inlet(self, name: str, size_bytes: int) -> CudaInlet:
        """See `Device.inlet`."""
        buffer = self.buffer(name, size_bytes)
        pinned = self._own(self._gpu.pinned(size_bytes))
        copy = self._driver.module.cuMemcpyHtoDAsync
        target, source = buffer.address, pinned.address
        return CudaInlet(self._gpu, pinned, buffer, lambda stream: copy(target, source, size_bytes, stream))

    def outlets(self, name: str, size_bytes: int, count: int) -> tuple[CudaOutlet, ...]:
        """See `Device.outlets`; they share one buffer."""
        buffer = self.buffer(name, size_bytes)
        return tuple(self._outlet(f"{name}.{index}", buffer) for index in range(count))

    def stream(self, name: str) -> CudaStream:
        """See `Device.stream`."""
        stream = CudaStream(name, self._own(self._gpu.stream()).handle)
        self._streams.append(stream)
        return stream

    def lent_stream(self, handle: int) -> CudaStream:
        """Returns a stream of the caller's by its handle; 0 and 1 are the default stream, 2 that of the thread."""
        return CudaStream(f"stream {handle:#x}", self._driver.module.CUstream(handle))

    def event(self, name: str) -> CudaEvent:
        """See `Device.event`."""
        return CudaEvent(name, self._own(self._gpu.event()).handle)

    def fill(self, target: Span) -> CudaOperation:
        """See `Device.fill`."""
        fill, size = self._driver.module.cuMemsetD8Async, target.size_bytes
        return CudaOperation(
            name=f"fill {target.buffer.name}",
            writes=(target,),
            launch=lambda stream: fill(address_of(target), 0, size, stream),
        )

    def copy(self, source: Span, target: Span) -> CudaOperation:
        """See `Device.copy`."""
        copy, size = self._driver.module.cuMemcpyDtoDAsync, target.size_bytes
        return CudaOperation(
            name=f"copy {source.buffer.name} to {target.buffer.name}",
            reads=(source,),
            writes=(target,),
            launch=lambda stream: copy(address_of(target), address_of(source), size, stream),
        )

    def graph(self, name: str, operations: Sequence[Operation], stream: Stream) -> CudaOperation:
        """See `Device.graph`. Where one of them cannot be captured, the result launches them one after the other."""
        self._gpu.activate()
        calls, handle = cast(Sequence[CudaOperation], operations), cast(CudaStream, stream).handle
        if all(call.is_capturable(handle) for call in calls):
            launch = self._launch_of(self._capture(calls, stream), handle)
        else:
            launch = in_turn(calls)
        return CudaOperation(
            name=name,
            reads=tuple(span for call in calls for span in call.reads),
            writes=tuple(span for call in calls for span in call.writes),
            parts=tuple(calls),
            launch=launch,
        )

    def activate(self) -> None:
        """See `Device.activate`."""
        self._adopt_thread()

    def enqueue(self, operation: Operation, stream: Stream) -> None:
        """See `Device.enqueue`."""
        if get_ident() != self._thread:
            self._adopt_thread()
        (code,) = operation.launch(stream.handle)  # type: ignore[attr-defined]
        if code:
            raise self._driver.error(operation.name, code)

    def record(self, event: Event, stream: Stream) -> None:
        """See `Device.record`."""
        if get_ident() != self._thread:
            self._adopt_thread()
        (code,) = self._record(event.handle, stream.handle)  # type: ignore[attr-defined]
        if code:
            raise self._driver.error(f"record {event.name} on {stream.name}", code)

    def wait(self, stream: Stream, event: Event) -> None:
        """See `Device.wait`."""
        if get_ident() != self._thread:
            self._adopt_thread()
        (code,) = self._wait(stream.handle, event.handle, 0)  # type: ignore[attr-defined]
        if code:
            raise self._driver.error(f"wait for {event.name} on {stream.name}", code)

    def synchronize(self, event: Event) -> None:
        """See `Device.synchronize`."""
        self._adopt_thread()
        (code,) = self._synchronize(cast(CudaEvent, event).handle)
        if code:
            raise self._driver.error(f"synchronize {event.name}", code)

    def finish(self) -> None:
        """See `Device.finish`."""
        self._adopt_thread()
        failures = []
        for stream in self._streams:
            try:
                self._driver.ask("cuStreamSynchronize", stream.handle)
            except EngineError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def close(self) -> None:
        """See `Device.close`. Page-locked memory that an array still refers to is released with that array."""
        self._streams.clear()
        self._owned.close()

    def _own(self, owned: _T) -> _T:
        self._owned.callback(owned.close)
        return owned

    def _adopt_thread(self) -> None:
        self._gpu.activate()
        self._thread = get_ident()

    def _outlet(self, name: str, buffer: CudaBuffer) -> CudaOutlet:
        size = buffer.size_bytes
        pinned = self._own(self._gpu.pinned(size))
        copy = self._driver.module.cuMemcpyDtoHAsync
        target, source = pinned.address, buffer.address
        return CudaOutlet(name, pinned, buffer, lambda stream: copy(target, source, size, stream))

    def _capture(self, operations: Sequence[CudaOperation], stream: Stream) -> Owned:
        """Returns the graph of operations; the stream is as it was, also where this raises."""
        handle, module = cast(CudaStream, stream).handle, self._driver.module
        # Other threads, of other libraries too, may go on allocating meanwhile.
        mode = module.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._driver.ask("cuStreamBeginCapture", handle, mode)
        try:
            for operation in operations:
                self.enqueue(operation, stream)
        except BaseException:
            code, graph = module.cuStreamEndCapture(handle)
            if not code:
                Owned(self._gpu, graph, "cuGraphDestroy").close()
            raise
        return Owned(self._gpu, self._driver.ask("cuStreamEndCapture", handle), "cuGraphDestroy")

    def _launch_of(self, graph: Owned, stream: Any) -> Launch:
        with graph:
            ready = self._driver.ask("cuGraphInstantiate", graph.handle, 0)
            handle = self._own(Owned(self._gpu, ready, "cuGraphExecDestroy")).handle
        self._driver.ask("cuGraphUpload", handle, stream)  # or the first frame would
        launch = self._driver.module.cuGraphLaunch
        return lambda stream: cast(tuple[Any], launch(handle, stream))
