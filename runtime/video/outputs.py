"""The outputs of one pass: all are checked before any work, and appear under their names together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from rvm_trt.errors import OptionError
from rvm_trt.runtime.video.journal_files import is_of_this_boot, read_finished
from rvm_trt.runtime.video.output import EncodeOptions, OutputFormat, OutputKind, OutputPlan, plan_output
from rvm_trt.runtime.video.output_place import real
from rvm_trt.runtime.video.placing import is_ours
from rvm_trt.runtime.video.sink import Sink, open_sink
from rvm_trt.runtime.video.source import Clip
from rvm_trt.runtime.video.stores import OutputStore, partial_folder


@dataclass(frozen=True, kw_only=True)
class Output:
    """One output of a pass.

    Attributes:
        path: as it was given.
        plan: the output, checked.
        options: how to encode it.
    """

    path: str | os.PathLike[str]
    plan: OutputPlan
    options: EncodeOptions


def plan_outputs(
    path: str | os.PathLike[str],
    *,
    kind: str | OutputKind | None,
    also: Mapping[str | OutputKind, str | os.PathLike[str]] | Mapping[str, str | os.PathLike[str]] | None,
    clip: Clip,
    options: EncodeOptions,
    overwrite: bool,
    resume: bool = False,
) -> tuple[Output, ...]:
    """Checks the outputs of a pass before any work, and leaves no trace.

    Args:
        path, kind: the first output, see `plan_output`.
        also: further outputs by kind. Each is coded as is usual for its suffix.
        clip: the source.
        options: how to encode the first; quality and sound hold for all.
        overwrite: whether what is there may be replaced.
        resume: whether an interrupted job is gone on with: what it has put in its place already may stand there,
            unless somebody has changed it since.

    Raises:
        VideoError: an output cannot be written, see `plan_output`.
        OptionError: two outputs have one kind or one path.
    """
    usual = replace(options, codec=None, premultiplied=None, raw_format=None)
    wanted = [(path, kind, options), *((where, name, usual) for name, where in (also or {}).items())]
    finished = read_finished(partial_folder(Path(path))) if resume else None
    seals = [] if finished is None else finished["outputs"]
    may_be_torn = finished is not None and not is_of_this_boot(finished)
    outputs: list[Output] = []
    for (where, name, how), seal in zip_longest(wanted, seals[: len(wanted)]):
        replaced = overwrite or is_ours(Path(where), seal, may_be_torn=may_be_torn)
        plan = plan_output(where, kind=name, source=clip.path, overwrite=replaced, options=how)
        for other in outputs:
            _check_distinct(plan, other.plan)
        outputs.append(Output(path=where, plan=plan, options=how))
    return tuple(outputs)


def open_sinks(
    stack: ExitStack,
    outputs: Sequence[Output],
    *,
    clip: Clip,
    stores: Sequence[OutputStore | None],
) -> tuple[Sink, ...]:
    """Opens the sinks of a pass on a stack; each output appears under its name when the stack is closed.

    Args:
        stack: closes them; whoever has called `Sink.finish` on all before that gets all or none.
        outputs: what `plan_outputs` gave.
        clip: the source.
        stores: what keeps the whole segments of each output, if anything.

    Raises:
        VideoError: an output cannot be opened.
        DependencyError: a library is not installed.
    """
    return tuple(
        stack.enter_context(
            open_sink(
                output.path,
                clip=clip,
                kind=output.plan.kind,
                options=output.options,
                overwrite=output.plan.overwrite,
                store=store,
            )
        )
        for output, store in zip(outputs, stores, strict=True)
    )


def can_be_kept(outputs: Sequence[Output]) -> bool:
    """Whether all outputs are of those that an interrupted job can go on with."""
    return all(output.plan.format is not OutputFormat.RAW for output in outputs)


def _check_distinct(plan: OutputPlan, other: OutputPlan) -> None:
    place, taken = real(plan.path), real(other.path)
    if plan.kind is other.kind:
        got = f"two of kind {plan.kind.value!r}"
    elif place == taken:
        got = f"two at {str(plan.path)!r}"
    elif taken in place.parents or place in taken.parents:
        got = f"{str(plan.path)!r} and {str(other.path)!r}, one in the other"
    else:
        return
    raise OptionError(
        "outputs",
        got=got,
        expected="outputs of different kinds at different places",
        todo="Leave one out, or give it another kind or path.",
    )
