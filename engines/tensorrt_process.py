"""Builds one TensorRT plan in a process of its own, so that a crash stays outside and its memory comes back.

A plan's order of outputs follows addresses in memory: in a fresh process they nearly always repeat, and equal inputs
then give equal bytes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from rvm_trt.contract import TensorSpec
from rvm_trt.engines.tensorrt import BuiltPlan, build_plan
from rvm_trt.engines.tensorrt_library import load_library
from rvm_trt.engines.tensorrt_options import TensorRtOptions
from rvm_trt.errors import EngineError, OptionError, RvmTrtError
from rvm_trt.options import Backend

_MODULE = "rvm_trt.engines.tensorrt_process"


def build_in_process(
    network: Path,
    plan: Path,
    *,
    backend: Backend,
    options: TensorRtOptions,
    tensors: Sequence[TensorSpec],
    progress: Callable[[str], None] | None = None,
) -> None:
    """Builds ``plan`` from the ONNX file ``network``; with enterprise TensorRT also ``layers.json`` beside it.

    Raises:
        OptionError, EngineError: as `rvm_trt.engines.tensorrt.build_plan`, or the process died.
    """
    request = {
        "network": str(network),
        "plan": str(plan),
        "backend": backend.value,
        "options": {
            **asdict(options),
            "timing_cache": None if options.timing_cache is None else str(options.timing_cache),
        },
        "tensors": [spec.to_json() for spec in tensors],
    }
    with subprocess.Popen(
        [sys.executable, "-m", _MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        with suppress(BrokenPipeError):  # it died before it read: its exit code tells
            process.stdin.write(json.dumps(request))
            process.stdin.close()
        answers = [json.loads(line) for line in _lines(process.stdout, progress)]
    if process.returncode != 0:
        raise _failure(answers[-1] if answers else None, process.returncode)


def _lines(stream: object, progress: Callable[[str], None] | None) -> list[str]:
    answers = []
    for line in stream:  # type: ignore[attr-defined]
        if line.startswith("{"):
            answers.append(line)
        elif progress is not None and line.strip():
            progress(line.strip())
    return answers


def _failure(answer: dict[str, str] | None, code: int) -> RvmTrtError:
    if answer is None:
        return EngineError(
            "builder",
            got=f"a process that ended with code {code}",
            expected="a plan",
            todo="Build again; if it happens again, report it with the message above.",
        )
    kind = OptionError if answer.pop("kind") == "OptionError" else EngineError
    return kind(answer["subject"], got=answer["got"], expected=answer["expected"], todo=answer["todo"])


def _main() -> int:
    request = json.load(sys.stdin)
    options = request["options"]
    cache = options["timing_cache"]
    try:
        built = build_plan(
            Path(request["network"]).read_bytes(),
            library=load_library(Backend(request["backend"])),
            options=TensorRtOptions(
                **{
                    **options,
                    "targets": tuple(options["targets"]),
                    "timing_cache": None if cache is None else Path(cache),
                }
            ),
            tensors=[TensorSpec.from_json(entry) for entry in request["tensors"]],
            progress=lambda text: print(text, flush=True),
        )
        _write(built, Path(request["plan"]))
    except RvmTrtError as error:
        facts = {name: getattr(error, name) for name in ("subject", "got", "expected", "todo")}
        print(json.dumps({"kind": type(error).__name__, **facts}), flush=True)
        return 1
    return 0


def _write(built: BuiltPlan, plan: Path) -> None:
    try:
        plan.write_bytes(built.plan)
        if built.layers is not None:
            (plan.parent / "layers.json").write_text(built.layers, encoding="utf-8")
        if built.log:
            plan.with_suffix(".log").write_text("\n".join(built.log) + "\n", encoding="utf-8")
    except OSError as error:
        raise EngineError(
            plan.name,
            got=error.strerror or str(error),
            expected="a folder with room to write the engine",
            todo="Make room, or choose another folder for the engines.",
        ) from None


if __name__ == "__main__":
    sys.exit(_main())
