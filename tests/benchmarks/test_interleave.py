"""Workers take turns, and none outlives the measurement, however it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from rvm_trt.benchmarks import child
from rvm_trt.benchmarks.child import BenchmarkError, UnavailableError, Worker
from rvm_trt.benchmarks.interleave import interleave, started
from rvm_trt.benchmarks.timings import Schedule, Timing, Turn
from rvm_trt.errors import OptionError

# Speaks the protocol without matting: writes down when it works, and takes `ms` for each frame.
FAKE = """
import json, sys, time
name, ms, log = sys.argv[1], float(sys.argv[2]), sys.argv[3]
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    (protocol, count), = json.loads(line).items()
    start = time.monotonic()
    time.sleep(0.02)
    with open(log, "a") as file:
        file.write(json.dumps([name, start, time.monotonic()]) + "\\n")
    use = {"wall_s": count / 100, "cpu_s": count / 50, "peak_bytes": count, "gpu": None, "energy_j": None,
           "energy_source": None}
    times = None if (protocol, name) == ("tensor", "b") else [ms + i for i in range(count)]
    print(json.dumps({"ms": times, "use": use}), flush=True)
"""
READY = "import sys; print('{\"ready\": true}', flush=True); sys.stdin.readline(); "
QUICK = Schedule(rounds=3, frames_per_round=4, warm_up_frames=1, rest_s=0.0, timeout_s=20.0)


def fake(name: str, ms: float, log: Path) -> list[str]:
    return [sys.executable, "-c", FAKE, name, str(ms), str(log)]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_turns_never_overlap_and_each_round_starts_with_another(tmp_path: Path) -> None:
    log = tmp_path / "log"
    commands = {name: fake(name, ms, log) for name, ms in (("a", 10.0), ("b", 20.0), ("c", 30.0))}
    told: list[str] = []
    with started(commands, timeout_s=20.0) as field:
        workers = dict(field.workers)
        timings = interleave(field, QUICK, tell=told.append)
    turns = [json.loads(line) for line in log.read_text().splitlines()]
    assert [name for name, *_ in turns[:3]] == ["a", "b", "c"]  # warm-up
    assert [name for name, *_ in turns[3:]] == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert all(before[2] <= after[1] for before, after in pairwise(turns))
    assert [turn.samples_ms for turn in timings["b"].turns] == [(20.0, 21.0, 22.0, 23.0)] * 3
    assert told == ["Round 1 of 3", "Round 2 of 3", "Round 3 of 3"]
    assert set(field.start_ms) == {"a", "b", "c"}
    assert all(gone(worker.pid) for worker in workers.values())


def test_what_processes_took_is_added_up(tmp_path: Path) -> None:
    with started({"a": fake("a", 10.0, tmp_path / "log")}, timeout_s=20.0) as field:
        timing = interleave(field, QUICK)["a"]
    assert timing.first_ms == 10.0
    assert timing.use is not None
    facts = timing.use.to_json(frames=len(timing.samples_ms), threads=4)
    assert (facts["cpu_ms_per_frame"], facts["cpu_utilisation"]) == (20.0, 0.5)


def test_who_has_no_such_protocol_is_not_among_the_results(tmp_path: Path) -> None:
    commands = {name: fake(name, 10.0, tmp_path / "log") for name in ("a", "b")}
    with started(commands, timeout_s=20.0) as field:
        assert set(interleave(field, QUICK, protocol="tensor")) == {"a"}
        assert set(interleave(field, QUICK)) == {"a", "b"}


@pytest.mark.parametrize(
    ("death", "message"),
    [
        ("print('no such luck', file=sys.stderr); sys.exit(3)", r"exit code 3 \(no such luck\)"),
        ("import os; os.kill(os.getpid(), 9)", "signal 9"),
        ('print(\'{"error": "src: got nothing."}\', flush=True)', "src: got nothing, expected an answer"),
        ("print('hello', flush=True)", "hello"),
        ("print('{\"ms\": [1.0, 2.0]}', flush=True)", "expected 1 times"),
    ],
)
def test_a_failing_worker_is_one_clear_error_and_no_child_is_left(
    tmp_path: Path, death: str, message: str
) -> None:
    commands = {"good": fake("good", 1.0, tmp_path / "log"), "bad": [sys.executable, "-c", READY + death]}
    pids = []
    with pytest.raises(BenchmarkError, match=message) as caught, started(commands) as field:
        pids = [worker.pid for worker in field.workers.values()]
        interleave(field, QUICK)
    assert caught.value.subject == "worker 'bad'"
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (READY + "sys.exit(3)", "Its end with exit code 3."),
        ("import json; print(json.dumps({'unavailable': 'there is no GPU'}))", "There is no GPU."),
        ("import sys; sys.exit('no such library')", "Its end with exit code 1 (no such library)."),
    ],
)
def test_who_is_not_required_leaves_with_a_reason_and_the_others_go_on(
    tmp_path: Path, code: str, reason: str
) -> None:
    commands = {"good": fake("good", 1.0, tmp_path / "log"), "bad": [sys.executable, "-c", code]}
    with started(commands, required=("good",), timeout_s=20.0) as field:
        timings = interleave(field, QUICK)
        assert set(timings) == set(field.workers) == {"good"}
    assert field.failures == {"bad": reason}


def test_an_unavailable_worker_that_is_required_is_an_error() -> None:
    code = "import json; print(json.dumps({'unavailable': 'there is no GPU'}))"
    with (
        pytest.raises(UnavailableError, match="entrant 'one': got there is no GPU"),
        started({"one": [sys.executable, "-c", code]}),
    ):
        pass


def test_a_worker_that_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="worker 'ghost'"):
        Worker([str(tmp_path / "no-such-program")], name="ghost", log=tmp_path / "log")


def test_a_silent_and_stubborn_worker_is_given_up_and_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_QUIT_S", 0.3)
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('{}', flush=True); "
    worker = Worker(
        [sys.executable, "-c", stubborn + "time.sleep(600)"], name="stubborn", log=tmp_path / "log"
    )
    with pytest.raises(BenchmarkError, match=r"no answer for 0\.5 s"), worker:
        worker.answer(timeout_s=20)
        worker.ask({"run": 1}, timeout_s=0.5)
    assert gone(worker.pid)
    worker.close()


def test_the_times_of_an_entrant_beside_the_baselines() -> None:
    timing = Timing(
        turns=tuple(Turn(samples_ms=turn) for turn in ((4.0, 1.0), (3.0, 2.0), (5.0,))), first_ms=9.0
    )
    baseline = Timing(turns=(Turn(samples_ms=(6.0, 6.0)),), first_ms=6.0)
    assert timing.to_json(baseline=baseline) == {
        "median_ms": 3.0,
        "quartiles_ms": [2.0, 4.0],
        "p50_ms": 3.0,
        "p95_ms": 4.8,
        "p99_ms": 4.96,
        "fps": 333.333,
        "frames": 5,
        "samples_ms": [[4.0, 1.0], [3.0, 2.0], [5.0]],
        "beside_pytorch": 2.0,
    }
    assert baseline.to_json(baseline=None)["beside_pytorch"] is None


@pytest.mark.parametrize(("frame_ms", "frames"), [(10.0, 8), (300.0, 5), (5000.0, 2)])
def test_slow_entrants_have_shorter_turns(frame_ms: float, frames: int) -> None:
    assert Schedule(frames_per_round=8, turn_s=1.5).turn_frames(frame_ms) == frames
    assert Schedule(frames_per_round=8).turn_frames(frame_ms) == 8


@pytest.mark.parametrize("count", ["rounds", "frames_per_round", "warm_up_frames"])
def test_a_schedule_without_rounds_or_frames_is_refused(count: str) -> None:
    with pytest.raises(OptionError, match=f"{count}: got 0"):
        Schedule(**{count: 0})


def test_stray_prints_stay_off_the_protocol() -> None:
    code = (
        "import os; from rvm_trt.benchmarks.worker import open_protocol; answers = open_protocol(); "
        "print('stray', flush=True); os.write(1, b'from C'); answers.write('{}'); answers.flush()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "{}"
    assert "stray" in done.stderr
    assert "from C" in done.stderr
