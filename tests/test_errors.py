"""Every error reads the same way, and falls under the base that callers catch."""

from __future__ import annotations

import inspect

import pytest

import rvm_trt
from rvm_trt import errors
from rvm_trt.errors import DependencyError, FrameError, OptionError, RvmTrtError, SessionError

KINDS = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__
]
PLAIN = [kind for kind in KINDS if kind is not DependencyError]


@pytest.mark.parametrize("kind", PLAIN)
def test_the_message_says_subject_got_expected_and_what_to_do(kind: type[RvmTrtError]) -> None:
    error = kind("src", got="(720, 1280, 3) uint8", expected="(1080, 1920, 3)", todo="Resize the frame.")
    assert str(error) == "src: got (720, 1280, 3) uint8, expected (1080, 1920, 3). Resize the frame."
    assert (error.subject, error.got, error.expected, error.todo) == (
        "src",
        "(720, 1280, 3) uint8",
        "(1080, 1920, 3)",
        "Resize the frame.",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_caught_by_the_one_base(kind: type[Exception]) -> None:
    assert issubclass(kind, rvm_trt.RvmTrtError)


def test_errors_are_also_the_builtin_that_callers_expect() -> None:
    assert issubclass(OptionError, ValueError)
    assert issubclass(FrameError, ValueError)
    assert issubclass(SessionError, RuntimeError)
    assert issubclass(DependencyError, ImportError)


def test_a_missing_package_is_told_with_the_command_that_brings_it() -> None:
    error = DependencyError("numba", extra="cpu", stage="CPU session")
    assert str(error) == (
        "CPU session: got no package 'numba', expected the extra 'cpu' to be installed. "
        'Run: pip install "rvm-trt[cpu]".'
    )
