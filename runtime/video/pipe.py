"""Bounded hand-over between two threads: `Prefetch` reads ahead of its user, `Worker` works behind its user.

Each owns one thread. An error in the thread is kept by its future and raised to the caller at the next call;
`close` wakes whoever waits, and returns only when the thread has ended.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from types import TracebackType
from typing import Generic, TypeVar

from rvm_trt.errors import SessionError

_T = TypeVar("_T")


class ChannelClosedError(Exception):
    """The other side has gone: nothing more can be put or got."""


class Channel(Generic[_T]):
    """A bounded queue between two threads that either side can close, which wakes the other.

    Args:
        capacity: how many items it holds before `put` waits.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[_T] = deque()
        self._changed = threading.Condition()
        self._finished = False
        self._unsettled = 0

    @property
    def is_finished(self) -> bool:
        """Whether nothing more can be put."""
        return self._finished

    def put(self, item: _T) -> None:
        """Adds an item, waiting for room; raises `ChannelClosedError` once the channel has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._finished or len(self._items) < self._capacity)
            if self._finished:
                raise ChannelClosedError
            self._items.append(item)
            self._unsettled += 1
            self._changed.notify_all()

    def get(self) -> _T:
        """Takes the oldest item, waiting for one; raises `ChannelClosedError` when no more will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._finished or bool(self._items))
            if not self._items:
                raise ChannelClosedError
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def settle(self) -> None:
        """Says that an item which was got is done with."""
        with self._changed:
            self._unsettled -= 1
            self._changed.notify_all()

    def join(self) -> None:
        """Waits until all items are done with, or the channel is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._unsettled <= 0)

    def finish(self) -> None:
        """Ends the input; what is in the channel can still be got."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()

    def close(self) -> None:
        """Ends the input and drops what is in the channel."""
        with self._changed:
            self._finished = True
            self._items.clear()
            self._unsettled = 0
            self._changed.notify_all()


class Prefetch(Generic[_T]):
    """Iterates an iterable on a thread of its own, at most ``depth`` items ahead. Iterate it once.

    The items come in order; the iterable's error is raised after the last item before it. A generator is
    started, resumed and closed on the one thread.

    Args:
        iterable: what to read ahead.
        depth: how many items may wait.
        name: the thread's name.

    Attributes:
        busy_s: how long the iterable has worked.
    """

    def __init__(self, iterable: Iterable[_T], *, depth: int, name: str) -> None:
        self.busy_s = 0.0
        self._iterable = iterable
        self._channel: Channel[_T] = Channel(depth)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._future = self._executor.submit(self._run)

    def __enter__(self) -> Prefetch[_T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[_T]:
        while True:
            try:
                item = self._channel.get()
            except ChannelClosedError:
                self._future.result()
                return
            yield item

    def close(self) -> None:
        """Stops reading and joins the thread. May be called twice."""
        self._channel.close()
        self._executor.shutdown(wait=True)

    def _run(self) -> None:
        try:
            with closing(_generator(self._iterable)) as items, suppress(ChannelClosedError):
                start = time.perf_counter()
                for item in items:
                    self.busy_s += time.perf_counter() - start
                    self._channel.put(item)
                    start = time.perf_counter()
        finally:
            self._channel.finish()


class Worker(Generic[_T]):
    """Runs ``consume`` on each item that is put, in order, on a thread of its own.

    At most ``depth`` items wait while one is consumed. Once ``consume`` has raised, the next `put` or
    `finish` raises that error.

    Args:
        consume: called with each item, on the worker's thread.
        depth: how many items may wait before `put` blocks.
        name: the thread's name.

    Attributes:
        busy_s: how long ``consume`` has worked.
    """

    def __init__(self, consume: Callable[[_T], None], *, depth: int, name: str) -> None:
        self.busy_s = 0.0
        self._consume = consume
        self._channel: Channel[_T] = Channel(depth)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._future = self._executor.submit(self._run)

    def __enter__(self) -> Worker[_T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def put(self, item: _T) -> None:
        """Hands over an item, waiting for room.

        Raises:
            SessionError: the worker is finished or closed.
            BaseException: whatever ``consume`` raised on an earlier item.
        """
        try:
            self._channel.put(item)
        except ChannelClosedError:
            self._future.result()
            raise SessionError(
                "sink", got="a frame after the end", expected="an open sink", todo="Open a new sink."
            ) from None

    def drain(self) -> None:
        """Waits until every item that was put is consumed; raises what ``consume`` raised."""
        self._channel.join()
        if self._channel.is_finished:  # the thread has ended, or is about to
            self._future.result()

    def finish(self) -> None:
        """Waits until every item is consumed; raises what ``consume`` raised."""
        self._channel.finish()
        self._future.result()

    def close(self) -> None:
        """Drops what waits and joins the thread. May be called twice."""
        self._channel.close()
        self._executor.shutdown(wait=True)

    def _run(self) -> None:
        try:
            with suppress(ChannelClosedError):
                while True:
                    item = self._channel.get()
                    start = time.perf_counter()
                    self._consume(item)
                    self.busy_s += time.perf_counter() - start
                    self._channel.settle()
        finally:
            self._channel.close()


def _generator(iterable: Iterable[_T]) -> Generator[_T, None, None]:
    # A generator whatever the iterable is, so that the thread which ran it can close it too.
    yield from iterable
