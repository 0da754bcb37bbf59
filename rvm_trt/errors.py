"""The errors of rvm-trt: one message form, one base class.

Every message names the subject, what was got, what was expected, and what to do:
``src: got (720, 1280, 3) uint8, expected (1080, 1920, 3) for profile 'hd'. Resize the frame or build '720p'.``
"""

from __future__ import annotations


class RvmTrtError(Exception):
    """Base of every error that a user can cause and mend.

    Args:
        subject: what the error is about: a tensor, an option, a file.
        got: what was found.
        expected: what would have been right.
        todo: what to do about it, as one or more whole sentences.
    """

    def __init__(self, subject: str, *, got: str, expected: str, todo: str) -> None:
        self.subject = subject
        self.got = got
        self.expected = expected
        self.todo = todo
        super().__init__(f"{subject}: got {got}, expected {expected}. {todo}")


class OptionError(RvmTrtError, ValueError):
    """An option, a profile name or a command-line value is not usable."""


class FrameError(RvmTrtError, ValueError):
    """A frame, a background or a state tensor has the wrong shape, dtype or layout."""


class SessionError(RvmTrtError, RuntimeError):
    """A session was used out of turn: closed, empty, or full."""


class CheckpointError(RvmTrtError):
    """A checkpoint is unreadable or does not fit the network."""


class WeightsError(RvmTrtError):
    """Weights could not be found, fetched or converted."""


class ExportError(RvmTrtError):
    """A graph could not be exported, or is not one of ours."""


class EngineError(RvmTrtError):
    """An engine on disk is missing, damaged, foreign, or cannot run here."""


class VideoError(RvmTrtError):
    """A video or image folder could not be read or written."""


class DependencyError(RvmTrtError, ImportError):
    """A stage needs a package that is not installed.

    Args:
        package: the package as it is installed.
        extra: the extra of rvm-trt that brings it.
        stage: what needs it, as a noun.
    """

    def __init__(self, package: str, *, extra: str, stage: str) -> None:
        super().__init__(
            stage,
            got=f"no package {package!r}",
            expected=f"the extra {extra!r} to be installed",
            todo=f'Run: pip install "rvm-trt[{extra}]".',
        )
