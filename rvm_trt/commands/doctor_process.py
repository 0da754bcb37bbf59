"""Runs the doctor's checks in processes of their own: a library that crashes or hangs ends up as a finding."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rvm_trt.commands.doctor_finding import Checks, Finding, Place, State, one_line
from rvm_trt.commands.doctor_gpu import gpu_checks, kernel_checks, tensorrt_checks
from rvm_trt.commands.doctor_machine import (
    camera_checks,
    disk_checks,
    engine_checks,
    video_checks,
    virtual_camera_checks,
    weights_checks,
)
from rvm_trt.commands.doctor_packages import (
    bench_checks,
    cpu_checks,
    export_checks,
    preview_checks,
    python_checks,
)

GROUPS: Mapping[str, tuple[str, Callable[[], Checks]]] = {
    "python": ("Python and rvm-trt", python_checks),
    "cpu": ("Engines on the CPU", cpu_checks),
    "export": ("Weights to graph", export_checks),
    "gpu": ("NVIDIA GPU", gpu_checks),
    "tensorrt": ("TensorRT, one of the two for a GPU", tensorrt_checks),
    "kernels": ("CUDA kernels", kernel_checks),
    "video": ("Video", video_checks),
    "preview": ("Preview in the browser", preview_checks),
    "cameras": ("Cameras", camera_checks),
    "virtual-cameras": ("Virtual cameras", virtual_camera_checks),
    "bench": ("Benchmark", bench_checks),
    "disk": ("Disk", disk_checks),
    "weights": ("Weights in the cache", weights_checks),
    "engines": ("Engines", engine_checks),
}
_TIMEOUT_S = 120.0
_MODULE = "rvm_trt.commands.doctor_process"


def examine(groups: Sequence[str], place: Place) -> dict[str, list[Finding]]:
    """Returns the findings of each group, in order. Nothing that is broken makes this raise."""
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        findings = pool.map(lambda group: _examine_group(group, place), groups)
        return dict(zip(groups, findings, strict=True))


def _examine_group(group: str, place: Place) -> list[Finding]:
    waiting, found = list(GROUPS[group][1]()), list[Finding]()
    while waiting:
        done, findings, ending = _run_child(group, waiting, place)
        found += findings
        waiting = waiting[done:]
        if ending and waiting:  # it died in the first of those that are left
            found.append(Finding(name=waiting.pop(0), state=State.BROKEN, text=ending))
    return found


def _run_child(group: str, names: Sequence[str], place: Place) -> tuple[int, list[Finding], str]:
    """Returns how many checks came to their end, what they found, and how the process ended if not well."""
    request = {"group": group, "names": names, **{key: str(value) for key, value in vars(place).items()}}
    command = [sys.executable, "-m", _MODULE, json.dumps(request)]
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=_TIMEOUT_S
        )
        output, ending = done.stdout, "" if done.returncode == 0 else _ending(done)
    except subprocess.TimeoutExpired as late:
        output, ending = late.stdout or b"", f"gives no answer within {_TIMEOUT_S:.0f} s"
    except OSError as error:
        output, ending = b"", f"no process can be started: {one_line(error)}"
    answers = [json.loads(line) for line in output.splitlines() if line.endswith(b"]")]
    findings = [
        Finding(**{**fields, "state": State(fields["state"])}) for answer in answers for fields in answer
    ]
    return len(answers), findings, ending


def _ending(done: subprocess.CompletedProcess[bytes]) -> str:
    if done.returncode < 0:
        return f"crashes the process that uses it ({signal.Signals(-done.returncode).name})"
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return f"ends the process that uses it (exit code {done.returncode}): {lines[-1] if lines else ''}"[:300]


def main() -> int:
    """Runs the checks that the request names, and prints a line of JSON for each: the list of its findings."""
    request = json.loads(sys.argv[1])
    group, names = request.pop("group"), request.pop("names")
    place = Place(**{key: Path(value) for key, value in request.items()})
    # What libraries print must not come between.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with answers:
        for name in names:
            findings = [
                {**vars(finding), "state": finding.state.value} for finding in _run(group, name, place)
            ]
            print(json.dumps(findings), file=answers, flush=True)
    return 0


def _run(group: str, name: str, place: Place) -> list[Finding]:
    try:
        return list(GROUPS[group][1]()[name](place))
    except (Exception, SystemExit) as error:  # noqa: BLE001, whatever a broken library does is what is asked
        return [Finding(name=name, state=State.BROKEN, text=f"cannot be examined: {one_line(error)}")]


if __name__ == "__main__":
    sys.exit(main())
