"""The sessions of a preview: made in the background while another runs, and closed, all on one thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from rvm_trt.errors import RvmTrtError, SessionError
from rvm_trt.runtime.preview.parts import MakeSession, Session, Tell


class Sessions:
    """Makes sessions on a thread of its own, one at a time; the latest wish counts. Use it with ``with``.

    Sessions are closed where they are made, and never on the main thread: OpenVINO gives the thread that opens a
    network a stack for signals, and frees it with the network. Closed on another thread, the next Ctrl-C would crash.

    Args:
        make: makes a session for a ratio.
    """

    def __init__(self, make: MakeSession) -> None:
        self._make = make
        self._listener: Callable[[], object] = _nobody
        self._lock = threading.Lock()
        self._cancelled = threading.Event()  # of the latest wish
        self._ready: Session | None = None
        self._doing: str | None = None
        self._problem: str | None = None
        self._wish: Future[None] | None = None
        self._released: list[Future[None]] = []
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="rvm-trt-preview-open")

    @property
    def doing(self) -> str | None:
        """What is being done for the latest wish; None where it is done."""
        return self._doing

    @property
    def problem(self) -> str | None:
        """Why the latest wish was not met; None where it was, or is not decided."""
        return self._problem

    @property
    def ready(self) -> bool:
        """Whether a session can be taken."""
        return self._ready is not None

    def listen(self, listener: Callable[[], object]) -> None:
        """Has a function called, from any thread, when something above has changed."""
        self._listener = listener

    def open(self, ratio: float, *, tell: Tell) -> Session:
        """Waits for a session, which is the caller's until it is given to `release`.

        Raises:
            RvmTrtError: it cannot be made.
        """
        cancelled = threading.Event()
        try:
            return self._executor.submit(self._made, ratio, tell, cancelled).result()
        finally:
            cancelled.set()  # where Ctrl-C ended the waiting

    def request(self, ratio: float) -> None:
        """Wishes for a session with a ratio, in place of an earlier wish."""
        self._forget()
        with self._lock:
            cancelled = self._cancelled = threading.Event()
            self._doing = f"Opening ratio {ratio:g}"
        self._wish = self._executor.submit(self._fulfil, ratio, cancelled)
        self._wish.add_done_callback(lambda _: self._listener())
        self._listener()

    def cancel(self) -> None:
        """Takes the wish back."""
        self._forget()
        self._listener()

    def take(self) -> Session | None:
        """Returns the session that is ready, which is the caller's until `release`; None where there is none."""
        with self._lock:
            session, self._ready = self._ready, None
        return session

    def release(self, session: Session) -> None:
        """Has a session closed, soon."""
        self._released.append(self._executor.submit(session.close))

    def check(self) -> None:
        """Raises what ended the making of the latest session and is no `RvmTrtError`, if anything did."""
        if self._wish is not None and self._wish.done():
            self._wish.result()

    def close(self) -> None:
        """Takes the wish back, and returns when every session is closed and the thread has ended.

        May be called twice. Raises what closing a session raised.
        """
        self._forget()
        self._executor.shutdown(wait=True)
        for released in self._released:
            released.result()

    def __enter__(self) -> Sessions:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _forget(self) -> None:
        with self._lock:
            self._cancelled.set()
            self._doing = self._problem = None
        unwanted = self.take()
        if unwanted is not None:
            self.release(unwanted)

    def _made(self, ratio: float, tell: Tell, cancelled: threading.Event) -> Session:
        session = self._make(ratio, tell=tell, cancelled=cancelled)
        if cancelled.is_set():
            session.close()
            raise SessionError(
                f"ratio {ratio:g}", got="a wish that was taken back", expected="one", todo="Wish again."
            )
        return session

    def _fulfil(self, ratio: float, cancelled: threading.Event) -> None:
        if cancelled.is_set():
            return
        try:
            session = self._made(ratio, lambda text: self._report(cancelled, doing=text), cancelled)
        except RvmTrtError as error:
            self._report(cancelled, problem=str(error))
            return
        with self._lock:
            wanted = not cancelled.is_set()
            if wanted:
                self._ready, self._doing = session, None
        if not wanted:
            session.close()

    def _report(
        self, cancelled: threading.Event, *, doing: str | None = None, problem: str | None = None
    ) -> None:
        with self._lock:
            if cancelled.is_set():
                return
            self._doing, self._problem = doing, problem
        self._listener()


def _nobody() -> None:
    """Hears nothing."""
