"""Workers take turns, and none outlives the measurement, however it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from rvm_trt.benchmarks import interleave as module
from rvm_trt.benchmarks.interleave import BenchmarkError, Schedule, Timing, Worker, interleave, started
from rvm_trt.errors import OptionError

# Speaks the protocol without matting: writes down when it works, and takes `ms` for each frame.
FAKE = """
import json, sys, time
name, ms, log = sys.argv[1], float(sys.argv[2]), sys.argv[3]
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    count = json.loads(line)["run"]
    start = time.monotonic()
    time.sleep(0.02)
    with open(log, "a") as file:
        file.write(json.dumps([name, start, time.monotonic()]) + "\\n")
    print(json.dumps({"ms": [ms + i for i in range(count)]}), flush=True)
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
    with started(commands, timeout_s=20) as workers:
        timings = interleave(workers, QUICK, tell=told.append)
    turns = [json.loads(line) for line in log.read_text().splitlines()]
    assert "".join(name for name, _, _ in turns) == "abc" + "abc" + "bca" + "cab"
    assert all(before[2] <= after[1] for before, after in pairwise(turns))
    assert timings["b"].samples_ms == ((20.0, 21.0, 22.0, 23.0),) * 3
    assert told == ["Round 1 of 3", "Round 2 of 3", "Round 3 of 3"]
    assert all(gone(worker.pid) for worker in workers.values())


@pytest.mark.parametrize(
    ("death", "message"),
    [
        ("print('no such luck', file=sys.stderr); sys.exit(3)", r"exit code 3 \(no such luck\)"),
        ("import os; os.kill(os.getpid(), 9)", "signal 9"),
        ('print(\'{"error": "src: got nothing."}\', flush=True)', "src: got nothing, expected an answer"),
        ("print('hello', flush=True)", "hello"),
        ("print('{\"ms\": [1.0]}', flush=True)", "expected 4 times"),
    ],
)
def test_a_failing_worker_is_one_clear_error_and_no_child_is_left(
    tmp_path: Path, death: str, message: str
) -> None:
    commands = {"good": fake("good", 1.0, tmp_path / "log"), "bad": [sys.executable, "-c", READY + death]}
    schedule = Schedule(rounds=1, frames_per_round=4, warm_up_frames=0, rest_s=0.0, timeout_s=20.0)
    pids = []
    with pytest.raises(BenchmarkError, match=message) as caught, started(commands) as workers:
        pids = [worker.pid for worker in workers.values()]
        interleave(workers, schedule)
    assert caught.value.subject == "worker 'bad'"
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


def test_a_worker_that_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="worker 'ghost'"):
        Worker([str(tmp_path / "no-such-program")], name="ghost", log=tmp_path / "log")


def test_a_silent_and_stubborn_worker_is_given_up_and_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_QUIT_S", 0.3)
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('{}', flush=True); "
    worker = Worker(
        [sys.executable, "-c", stubborn + "time.sleep(600)"], name="stubborn", log=tmp_path / "log"
    )
    with pytest.raises(BenchmarkError, match=r"no answer for 0\.5 s"), worker:
        worker.answer(timeout_s=20)
        worker.ask({"run": 1}, timeout_s=0.5)
    assert gone(worker.pid)
    worker.close()


def test_quartiles() -> None:
    timing = Timing(samples_ms=((4.0, 1.0), (3.0, 2.0), (5.0,)))
    assert timing.quartiles_ms() == (2.0, 3.0, 4.0)
    assert timing.to_json() == {
        "median_ms": 3.0,
        "quartiles_ms": [2.0, 4.0],
        "frames": 5,
        "samples_ms": [[4.0, 1.0], [3.0, 2.0], [5.0]],
    }


def test_a_schedule_without_rounds_is_refused() -> None:
    with pytest.raises(OptionError, match="rounds: got 0"):
        Schedule(rounds=0)


def test_stray_prints_stay_off_the_protocol() -> None:
    code = (
        "import os; from rvm_trt.benchmarks.worker import open_protocol; answers = open_protocol(); "
        "print('stray', flush=True); os.write(1, b'from C'); answers.write('{}'); answers.flush()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "{}"
    assert "stray" in done.stderr
    assert "from C" in done.stderr
