"""The tables of the conditions of a run: machine, versions, weights, noise, and what could not run."""

from __future__ import annotations

from rvm_trt.benchmarks.report_tables import Table
from rvm_trt.benchmarks.report_text import (
    NONE,
    Json,
    footage_note,
    labels,
    missing,
    share,
    short_name,
)


def missing_table(document: Json) -> tuple[Table, ...]:
    """What did not run, and why."""
    rows = tuple((label, ", ".join(profiles), reason) for label, profiles, reason in missing(document))
    return (
        (
            Table(
                caption="Entrants that could not run here", columns=("entrant", "profiles", "why"), rows=rows
            ),
        )
        if rows
        else ()
    )


def noise_table(document: Json) -> tuple[Table, ...]:
    """The spread of everything that was timed, as the verdict on the noise saw it."""
    spread = document["noise"]["spread"]
    entrants = {name: label for entry in document["profiles"] for name, label in labels(entry).items()}
    kinds = list(dict.fromkeys(key.rpartition("/")[0] for key in spread))
    rows = tuple(
        (label, *(share(spread.get(f"{kind}/{name}")) for kind in kinds))
        for name, label in entrants.items()
        if any(f"{kind}/{name}" in spread for kind in kinds)
    )
    columns = ("entrant", *(f"{kind.replace('/', ', ')}#" for kind in kinds))
    return (
        Table(caption="Spread of the times, as the verdict on noise saw it", columns=columns, rows=rows),
    ) * bool(rows)


def conditions_tables(document: Json) -> tuple[Table, ...]:
    """Machine, versions, weights and schedule."""
    environment, weights, schedule = (document[key] for key in ("environment", "weights", "schedule"))
    machine = (
        ("date", document["date"]),
        ("processor", f"{environment['cpu']} (family/model {environment['cpu_family_model']})"),
        ("instructions", ", ".join(environment["cpu_flags"]) or NONE),
        ("cores online / usable", f"{environment['cores_online']} / {environment['cores_usable']}"),
        ("threads of each entrant", str(environment["threads_per_entrant"])),
        ("load average before", f"{environment['load_average']:.2f}"),
        ("memory", f"{environment['memory_bytes'] / 1e9:.1f} GB"),
        ("system", environment["os"]),
        ("Python", environment["python"]),
        ("commit", environment["commit"] or "unknown"),
    )
    packages = tuple((name, version or "not installed") for name, version in environment["packages"].items())
    made_with = (
        ("weights", f"{weights['file']}, {weights['origin']}"),
        ("SHA-256", weights["sha256"]),
        ("refiner", weights["refiner"].replace("_", " ")),
        *((key.replace("_", " "), str(value)) for key, value in schedule.items()),
        *((f"footage, {short_name(entry)}", footage_note(entry)) for entry in document["profiles"]),
    )
    return (
        Table(caption="Machine", columns=("what", "value"), rows=machine),
        Table(caption="Packages", columns=("package", "version"), rows=packages),
        Table(caption="Weights, footage and schedule", columns=("what", "value"), rows=made_with),
    )
