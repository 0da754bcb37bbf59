"""The command behind ``make verify-schedule``."""

from __future__ import annotations

from pathlib import Path

import pytest

from rvm_trt.runtime.schedule import Schedule
from rvm_trt.runtime.slots import Work
from rvm_trt.runtime.verification.__main__ import main


def test_a_sound_schedule_passes_with_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--seeds", "2", "--random", "5"]) == 0
    printed = capsys.readouterr().out
    assert "no finding, all bytes equal" in printed
    assert "delete in: wait ran" in printed
    assert "every mutation was caught" in printed


def test_a_schedule_without_one_of_its_waits_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_a_wait(self: Schedule, work: Work) -> None:
        device, index = self._device, self._turn
        turn = self._turns[index]
        for operation in work.sample[index]:
            device.enqueue(operation, self._in)
        device.record(self._sampled, self._in)
        self._run_network(turn, index)
        device.wait(self._out, turn.ran)
        for operation in work.compose[index]:
            device.enqueue(operation, self._out)
        device.record(turn.composed, self._out)

    monkeypatch.setattr(Schedule, "_matte", without_a_wait)
    assert main(["check", "--seeds", "2", "--random", "1"]) == 1
    printed = capsys.readouterr().out
    assert "FAILED" in printed
    assert "no event orders in behind net" in printed


def test_a_schedule_with_a_wait_too_many_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = Schedule._matte

    def with_a_wait_more(self: Schedule, work: Work) -> None:
        self._device.wait(self._out, self._sampled)  # of the frame before: `ran` covers it
        real(self, work)

    monkeypatch.setattr(Schedule, "_matte", with_a_wait_more)
    assert main(["check", "--seeds", "1", "--random", "1"]) == 1
    printed = capsys.readouterr().out
    assert [line.split("  ")[0] for line in printed.splitlines() if "NOTHING" in line] == [
        "delete out: wait sampled",
        "too late: out: wait sampled",
    ]


def test_a_timeline_is_printed_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "timeline.svg"
    command = ["timeline", "--gpu", "RTX 4090", "--profile", "4k", "--depth", "3", "-o", str(path)]
    assert main(command) == 0
    assert "modelled, not measured" in capsys.readouterr().out
    assert path.stat().st_size > 1000


def test_user_errors_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["timeline", "--gpu", "abacus", "--profile", "hd"]) == 1
    assert capsys.readouterr().err.startswith("error: gpu: got 'abacus'")
