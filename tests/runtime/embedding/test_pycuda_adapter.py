"""The adapter for PyCUDA, against a stand-in with the names and the rules of its interface (2026.1)."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from rvm_trt.errors import DependencyError, OptionError
from rvm_trt.runtime.pycuda_adapter import primary_context


class StandIn(ModuleType):
    """``pycuda.driver``: init first; a retained context is not current before it is pushed."""

    def __init__(self) -> None:
        super().__init__("pycuda.driver")
        self.calls: list[str] = []
        self.stack: list[Any] = []
        self.gpus = 2
        module = self

        class Context:
            def __init__(self, number: int) -> None:
                self.number = number

            def push(self) -> None:
                module.calls.append(f"push {self.number}")
                module.stack.append(self)

            @staticmethod
            def pop() -> None:
                module.calls.append(f"pop {module.stack.pop().number}")

        class Device:
            def __init__(self, number: int) -> None:
                assert module.calls, "init was not called"
                self.number = number

            @staticmethod
            def count() -> int:
                assert module.calls, "init was not called"
                return module.gpus

            def retain_primary_context(self) -> Context:
                module.calls.append(f"retain {self.number}")
                return Context(self.number)

        self.Context, self.Device = Context, Device

    def init(self) -> None:
        self.calls.append("init")


@pytest.fixture
def pycuda(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    module = StandIn()
    package = ModuleType("pycuda")
    package.driver = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", module)
    return module


def test_the_primary_context_is_current_within(pycuda: StandIn) -> None:
    with primary_context(1) as context:
        assert pycuda.stack == [context]
        assert context.number == 1
    assert pycuda.calls == ["init", "retain 1", "push 1", "pop 1"]


def test_the_context_before_is_current_again_after_an_error(pycuda: StandIn) -> None:
    with primary_context(0) as outer:
        with pytest.raises(RuntimeError, match="of the application"), primary_context(1):
            raise RuntimeError("of the application")
        assert pycuda.stack == [outer]


@pytest.mark.parametrize(("gpus", "words"), [(2, "a number from 0 to 1"), (0, "any GPU, but there is none")])
def test_other_gpus_are_refused(gpus: int, words: str, pycuda: StandIn) -> None:
    pycuda.gpus = gpus
    with pytest.raises(OptionError, match=f"GPU: got number 2, expected {words}"), primary_context(2):
        pass
    assert pycuda.calls == ["init"]


def test_without_pycuda_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    with pytest.raises(DependencyError, match="no package 'pycuda'"), primary_context():
        pass
