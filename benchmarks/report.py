"""Reports of the frame-to-frame benchmark: the result file and its table in Markdown."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rvm_trt.benchmarks.environment import cpu_slug
from rvm_trt.errors import OptionError
from rvm_trt.files import atomic_file

RESULTS = Path("benchmarks/results")


def default_output() -> Path:
    """Returns the result file of this processor."""
    return RESULTS / f"frame-to-frame-{cpu_slug()}.json"


def write_result(result: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Writes a result as JSON, whole or not at all, one round of samples to a line."""
    with atomic_file(path) as temporary:
        temporary.write_text(_indented(result) + "\n", encoding="utf-8")
    return Path(path)


def read_result(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns a result file's content; raises `OptionError` where it is none."""
    try:
        result = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _no_result(path, str(error)) from None
    if not isinstance(result, dict) or result.get("benchmark") != "frame-to-frame":
        raise _no_result(path, "other JSON")
    return result


def markdown_table(result: Mapping[str, Any]) -> str:
    """Returns the result as a Markdown table, with the facts that it needs below it."""
    lines = [
        "| profile | entrant | ms per frame (quartiles) | FPS | beside PyTorch | alpha MAD ×1e3 | max |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for entry in result["profiles"]:
        lines += [_row(entry, name, entrant) for name, entrant in entry["entrants"].items()]
    return "\n".join([*lines, "", *_notes(result)])


def ratios_of_profiles(result: Mapping[str, Any]) -> dict[str, float]:
    """Returns for each entrant how much a frame of the last profile costs beside one of the first."""
    first, last = result["profiles"][0], result["profiles"][-1]
    if first is last:
        return {}
    return {
        name: last["entrants"][name]["median_ms"] / first["entrants"][name]["median_ms"]
        for name in first["entrants"]
        if name in last["entrants"]
    }


def _row(entry: Mapping[str, Any], name: str, entrant: Mapping[str, Any]) -> str:
    profile = entry["profile"]
    error = entrant["alpha_error"]
    lower, upper = entrant["quartiles_ms"]
    cells = [
        f"{entry['name']} ({profile['width']}×{profile['height']}, ratio {profile['ratio']:g})",
        "PyTorch fp32, eager" if name == "pytorch" else name,
        f"{entrant['median_ms']:.1f} ({lower:.1f}–{upper:.1f})",
        f"{1e3 / entrant['median_ms']:.1f}",
        f"{entrant['speedup']:.2f}×",
        "reference" if error is None else f"{error['mad_e3']:.3f}",
        "" if error is None else f"{error['max']:.3f}",
    ]
    return f"| {' | '.join(cells)} |"


def _notes(result: Mapping[str, Any]) -> list[str]:
    environment, weights = result["environment"], result["weights"]
    entry = result["profiles"][0]
    footage = entry["footage"]
    width, height = footage["native_size"]
    counted = next(iter(entry["entrants"].values()))["frames"]
    notes = [
        f"{environment['cpu']}, {environment['threads_per_entrant']} threads each; medians of {counted} frames in "
        f"{result['schedule']['rounds']} interleaved rounds, from uint8 frame to composited uint8 frame.",
        f"Footage: {footage['clip']}, {footage['frames']} frames"
        + (f", upscaled or cropped from {width}×{height}." if footage["scaled"] else "."),
        f"Weights: {weights['origin']}, {weights['refiner'].replace('_', ' ')}.",
    ]
    ratios = ratios_of_profiles(result)
    if ratios:
        first, last = result["profiles"][0]["name"], result["profiles"][-1]["name"]
        costs = ", ".join(f"{value:.2f} times ({name})" for name, value in ratios.items())
        notes.append(f"A {last} frame costs, beside a {first} frame: {costs}.")
    return [*notes, *_memory_note(result["memory"])]


def _memory_note(memory: Mapping[str, Any] | None) -> list[str]:
    if memory is None:
        return []
    loaded = "with" if memory["torch_loaded"] else "without"
    return [
        f"Memory at {memory['profile']} ({memory['entrant']}, {loaded} PyTorch loaded): peak "
        f"{memory['peak_bytes'] / 1e6:.0f} MB; {memory['frames']} frames changed the resident size by "
        f"{memory['growth_bytes'] / 1e6:+.1f} MB."
    ]


def _indented(result: Mapping[str, Any]) -> str:
    # json's indent puts each number on a line of its own: thousands of lines in every diff.
    text = json.dumps(_packed(result), indent=1)
    return text.replace('"\\u0000', "").replace('\\u0000"', "")


def _packed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _packed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        if all(isinstance(item, (int, float)) for item in value):
            return f"\0{json.dumps(list(value))}\0"
        return [_packed(item) for item in value]
    return value


def _no_result(path: str | os.PathLike[str], got: str) -> OptionError:
    return OptionError(
        str(path), got=got, expected="a result of 'rvm-trt bench'", todo="Measure again: rvm-trt bench."
    )
