"""``python -m rvm_trt.runtime.verification``: proves the schedule, or draws its timeline.

check [--seeds N] [--random N] [--engine DIR]
timeline --gpu "RTX 4090" --profile 4k [--depth 3] [--process] [--page-locked] [-o out.svg]
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rvm_trt.errors import RvmTrtError
from rvm_trt.profile import Profile
from rvm_trt.runtime.verification.checker import check
from rvm_trt.runtime.verification.gantt import draw
from rvm_trt.runtime.verification.gpu_model import gpus, named_gpu
from rvm_trt.runtime.verification.mutations import Verdict, judge, mutations
from rvm_trt.runtime.verification.real_stages import engine_stages, real_stages
from rvm_trt.runtime.verification.recording import MakeStages, record, stand_ins
from rvm_trt.runtime.verification.scenario import Scenario, random_scenario, scenarios
from rvm_trt.runtime.verification.timeline import model

_ORDERS_A_RANDOM_SCENARIO = 3
_MUTATION_SEEDS = 12


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns 1 where something was found."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except RvmTrtError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _check(options: argparse.Namespace) -> int:
    start = time.perf_counter()
    wrong = _prove("every scenario, stand-in stages", scenarios(), stand_ins, options.seeds)
    chance = random.Random(0)
    any_scenarios = [random_scenario(chance.randint) for _ in range(options.random)]
    wrong += _prove("random scenarios, stand-in stages", any_scenarios, stand_ins, _ORDERS_A_RANDOM_SCENARIO)
    wrong += _prove(
        "every scenario, CPU kernels and OpenVINO", scenarios(), real_stages, max(1, options.seeds // 6)
    )
    with ExitStack() as stack:
        if options.engine:
            stages = stack.enter_context(engine_stages(options.engine))
            chosen = [scenario for scenario in scenarios() if scenario.lanes == stages.sizes.lanes]
            wrong += _prove(
                f"CPU kernels and the engine {options.engine.name}", chosen, lambda _: stages, seeds=2
            )
    print()
    escaped = _mutate(min(options.seeds, _MUTATION_SEEDS))
    print(f"\n{time.perf_counter() - start:.0f} s")
    if wrong or escaped:
        print(f"FAILED: {wrong} scenarios with findings, {escaped} mutations that nothing caught")
        return 1
    print(
        "The schedule has no finding, every order gave the serial run's bytes, and every mutation was caught."
    )
    return 0


def _prove(title: str, chosen: Sequence[Scenario], make_stages: MakeStages, seeds: int) -> int:
    """Checks and executes scenarios; prints the sum, and every scenario that is wrong. Returns how many are."""
    wrong = calls = 0
    for scenario in chosen:
        recording = record(scenario, make_stages)
        calls += len(recording.program)
        found = [str(finding) for finding in check(recording.program, limit=3)]
        found += [text for text in (recording.mismatch(seed) for seed in (None, *range(seeds))) if text][:3]
        if found:
            wrong += 1
            print(f"{scenario.name} {scenario}" if scenario.name == "random" else scenario.name)
            for text in found:
                print(f"    {text}")
    verdict = f"{wrong} WRONG" if wrong else "no finding, all bytes equal"
    print(f"{title}: {len(chosen)} scenarios, {calls} calls, {len(chosen) * seeds} random orders: {verdict}")
    return wrong


def _mutate(seeds: int) -> int:
    """Prints the table of mutations; returns how many escaped."""
    recordings = [(scenario, record(scenario)) for scenario in scenarios()]
    verdicts = [judge(mutation, recordings, seeds=seeds) for mutation in mutations()]
    print(f"{'mutation':<52}{'caught by':<11}first finding")
    for verdict in verdicts:
        print(_row(verdict))
    escaped = sum(verdict.caught_by == "nothing" for verdict in verdicts)
    print(f"{len(verdicts)} mutations, {len(verdicts) - escaped} caught")
    return escaped


def _row(verdict: Verdict) -> str:
    caught = "NOTHING" if verdict.caught_by == "nothing" else verdict.caught_by
    return f"{verdict.mutation:<52}{caught:<11}{verdict.checker or verdict.executor}"


def _timeline(options: argparse.Namespace) -> int:
    timeline = model(
        Profile.named(options.profile),
        named_gpu(options.gpu),
        outputs=tuple(options.outputs.split(",")),
        depth=options.depth,
        overlap=not options.process,
        host_copies=not options.page_locked,
    )
    print(timeline.title)
    print(f"modelled, not measured: {timeline.fps:.0f} FPS, latency {timeline.latency_s * 1e3:.2f} ms")
    print("at work: " + ", ".join(f"{name} {share:.0%}" for name, share in sorted(timeline.busy.items())))
    if options.output:
        draw(timeline, options.output)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rvm_trt.runtime.verification",
        description="Proves or models the schedule without a GPU.",
    )
    commands = parser.add_subparsers(required=True)
    checks = commands.add_parser("check", help="check, execute in random orders, mutate")
    checks.add_argument("--seeds", type=int, default=100, help="random orders of each scenario")
    checks.add_argument("--random", type=int, default=1000, help="random scenarios, three orders each")
    checks.add_argument("--engine", type=Path, help="also execute on this CPU engine")
    checks.set_defaults(run=_check)
    times = commands.add_parser("timeline", help="model a run on a GPU")
    times.add_argument("--gpu", required=True, help=", ".join(gpus()))
    times.add_argument("--profile", required=True, help="a named profile")
    times.add_argument("--outputs", default="composite", help="separated by commas (default: composite)")
    times.add_argument("--depth", type=int, default=2, help="frames under way (default: 2)")
    times.add_argument("--process", action="store_true", help="one frame at a time")
    times.add_argument("--page-locked", action="store_true", help="frames are in page-locked memory already")
    times.add_argument("-o", "--output", type=Path, help="draw it: .png or .svg")
    times.set_defaults(run=_timeline)
    return parser


if __name__ == "__main__":
    sys.exit(main())
