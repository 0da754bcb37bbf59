"""The words of a bench report: numbers as they are printed, and the sentences at its top, all from the document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rvm_trt.profile import Profile

Json = Mapping[str, Any]
NONE = "–"
PROTOCOLS = ("frame", "tensor")
_PAPER_FPS = {(1920, 1080, 0.25): 104.0, (3840, 2160, 0.125): 76.0}
PAPER_LABEL = "RVM paper, GTX 1080 Ti, FP32, tensor protocol"


@dataclass(frozen=True, kw_only=True)
class Highlight:
    """The figures of one profile that matter most.

    Attributes:
        title: the profile in words.
        fps: of our fastest engine, frame to frame.
        entrant: its label.
        facts: each with what it says and its number.
    """

    title: str
    fps: str
    entrant: str
    facts: tuple[tuple[str, str], ...]


def ms(value: float | None) -> str:
    """Milliseconds with about three digits."""
    if value is None:
        return NONE
    return f"{value:.{3 if value < 1 else 2 if value < 10 else 1}f}"


def fps(value: float | None) -> str:
    """Frames a second."""
    return NONE if value is None else f"{value:.{0 if value >= 1000 else 1}f}"


def times(value: float | None) -> str:
    """A ratio."""
    return NONE if value is None else f"{value:.2f}×"


def share(value: float | None) -> str:
    """A part of one, in per cent."""
    return NONE if value is None else f"{value:.0%}"


def error(value: float | None) -> str:
    """An error, to four places."""
    if value is None:
        return NONE
    if value == 0:
        return "0"
    return "<0.0001" if value < 0.00005 else f"{value:.4f}"


def megabytes(value: float | None) -> str:
    """Bytes in megabytes."""
    return NONE if value is None else f"{value / 1e6:.0f}"


def seconds(value: float | None) -> str:
    """Seconds with two places."""
    return NONE if value is None else f"{value:.2f}"


def short_name(entry: Json) -> str:
    """A profile's name for a heading: HD, 4K."""
    name = str(entry["name"])
    return name.upper() if len(name) <= 2 else name


def profile_title(entry: Json) -> str:
    """A profile in words: name, size and ratio."""
    profile = entry["profile"]
    return f"{short_name(entry)}, {profile['width']}×{profile['height']}, ratio {profile['ratio']:g}"


def paper_fps(entry: Json) -> float | None:
    """The paper's figure for a profile; None where it has none."""
    profile = Profile.from_json(entry["profile"])
    if profile.variant.value != "mobilenetv3" or profile.batch != 1:
        return None
    return _PAPER_FPS.get((profile.width, profile.height, profile.ratio))


def paper_note(entry: Json, protocol: str) -> tuple[str, ...]:
    """What the paper's figure is, and is not, beside a protocol's; nothing where there is none."""
    known = paper_fps(entry)
    if known is None:
        return ()
    abstract = " (in its abstract; 74 in its table)" if known == 76 else ""
    apart = "another machine" if protocol == "tensor" else "another machine and another protocol"
    return (
        f"For orientation only: RVM's authors report {known:g} FPS{abstract} on a GTX 1080 Ti in FP32, tensor protocol "
        f"(arXiv 2108.11515). That is {apart}.",
    )


def timed(entry: Json, protocol: str) -> list[Json]:
    """The entrants of a profile that were measured in a protocol."""
    return [entrant for entrant in entry["entrants"] if entrant[protocol] is not None]


def labels(entry: Json) -> dict[str, str]:
    """What people call each entrant."""
    return {entrant["name"]: entrant["label"] for entrant in entry["entrants"]}


def fastest(entry: Json, group: str) -> Json | None:
    """The entrant of a group with the most frames a second, frame to frame; None where none of it ran."""
    ran = [entrant for entrant in timed(entry, "frame") if entrant["group"] == group]
    return max(ran, key=lambda entrant: float(entrant["frame"]["fps"]), default=None)


def highlights(document: Json) -> tuple[Highlight, ...]:
    """The figures that matter most, for each profile in which an engine of ours ran."""
    return tuple(found for entry in document["profiles"] for found in _highlight(entry))


def summary(document: Json) -> tuple[str, ...]:
    """The report in a few sentences."""
    environment, schedule = document["environment"], document["schedule"]
    first = (
        f"Robust Video Matting on {environment['cpu']}, {environment['threads_per_entrant']} threads each: "
        f"{schedule['rounds']} interleaved rounds of up to {schedule['frames_per_round']} frames, every entrant in a "
        "process of its own, medians."
    )
    used_gpus = sorted({e["gpu"]["name"] for p in document["profiles"] for e in p["entrants"] if e["gpu"]})
    last = f"GPU: {', '.join(used_gpus)}." if used_gpus else "Nothing in this report was measured on a GPU."
    return (" ".join([first, *(_sentence(entry) for entry in document["profiles"])]), last)


def noise_title(document: Json) -> str:
    """The verdict on the run's noise."""
    return "This run was noisy" if document["noise"]["noisy"] else "Noise"


def footage_note(entry: Json) -> str:
    """What was shown to the entrants, and whether its size is its own."""
    footage = entry["footage"]
    width, height = footage["native_size"]
    scaled = f", upscaled or cropped from {width}×{height}" if footage["scaled"] else ""
    return f"Footage: {footage['clip']} ({footage['credit']}), {footage['frames']} frames{scaled}."


def missing(document: Json) -> Iterator[tuple[str, Sequence[str], str]]:
    """What did not run: label, profiles and reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for entry in document["profiles"]:
        for entrant in entry["entrants"]:
            if entrant["unavailable"]:
                key = (entrant["label"], entrant["unavailable"])
                reasons.setdefault(key, []).append(short_name(entry))
    for (label, reason), profiles in reasons.items():
        yield label, profiles, reason


def _highlight(entry: Json) -> Iterator[Highlight]:
    ours = fastest(entry, "rvm-trt")
    if ours is None:
        return
    facts = []
    for other in _rivals(entry):
        facts.append(
            (f"beside {other['label']} ({fps(other['frame']['fps'])} FPS)", times(_ratio(ours, other)))
        )
    facts.append(("latency p50 / p99, ms", f"{ms(ours['frame']['p50_ms'])} / {ms(ours['frame']['p99_ms'])}"))
    if ours["accuracy"]:
        facts.append(("alpha MAD ×1e3 / largest error", _accuracy(ours["accuracy"])))
    yield Highlight(
        title=profile_title(entry),
        fps=fps(ours["frame"]["fps"]),
        entrant=ours["label"],
        facts=tuple(facts),
    )


def _rivals(entry: Json) -> list[Json]:
    """The baseline, and the fastest library."""
    baseline, library = entry["entrants"][0], fastest(entry, "library")
    return [other for other in (baseline, library) if other is not None and other["frame"] is not None]


def _sentence(entry: Json) -> str:
    ours = fastest(entry, "rvm-trt")
    if ours is None:
        return f"At {short_name(entry)} no engine of rvm-trt ran."
    text = f"Frame to frame at {short_name(entry)}, {ours['label']} reaches {fps(ours['frame']['fps'])} FPS"
    against = [
        f"{_ratio(ours, other):.2f} times {other['label']} ({fps(other['frame']['fps'])})"
        for other in _rivals(entry)
    ]
    text += ", " + " and ".join(against) if against else ""
    accuracy = ours["accuracy"]
    if accuracy is None:
        return f"{text}; its alpha was not compared."
    return (
        f"{text}; over {accuracy['frames']} frames its alpha differs from the FP32 reference's by "
        f"{accuracy['mad_e3'] / 1e3:.2g} on average and {accuracy['max']:.2g} at the worst pixel, of 1."
    )


def _ratio(ours: Json, other: Json) -> float:
    # Of medians, as ``beside_pytorch`` is: the frames a second are rounded.
    return float(other["frame"]["median_ms"]) / float(ours["frame"]["median_ms"])


def _accuracy(accuracy: Json) -> str:
    return f"{error(accuracy['mad_e3'])} / {error(accuracy['max'])}"
